//! Which algorithms libssh2 offers: the same lists as the other transport, as far as this build of libssh2 has them
//! (SHA-1 is switched off in the one that the crate brings along). libssh2 says only that nothing is shared; what
//! the server has is then read from its own first packet, which is not encrypted.

use std::io;
use std::time::Duration;

use russh::{AlgorithmKind, Preferred};
use ssh2::MethodType;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::transport::algorithms;
use crate::transport::target::Algorithms;

/// How long the server may take to say what it has, after it has been seen to talk.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest first packet that is read, in bytes; RFC 4253 asks for 35,000.
const PACKET: usize = 35_000;

/// What this side offers, by kind.
pub(super) struct Offer {
    pub(super) kex: Vec<String>,
    pub(super) key: Vec<String>,
    pub(super) cipher: Vec<String>,
    pub(super) mac: Vec<String>,
}

/// Makes libssh2 offer what a profile wants, in its order. The error is libssh2's.
pub(super) fn make(session: &ssh2::Session, wanted: &Preferred) -> Result<Offer, ssh2::Error> {
    let choose = |kinds: &[MethodType], names: Vec<String>| -> Result<Vec<String>, ssh2::Error> {
        let mut chosen = Vec::new();
        for kind in kinds {
            let has = session.supported_algs(*kind)?;
            chosen = names.iter().filter(|name| has.contains(&name.as_str())).cloned().collect();
            session.method_pref(*kind, &chosen.join(","))?;
        }
        Ok(chosen)
    };
    Ok(Offer {
        kex: choose(&[MethodType::Kex], wanted.kex.iter().map(|name| name.as_ref().to_owned()).collect())?,
        key: choose(&[MethodType::HostKey], wanted.key.iter().map(ToString::to_string).collect())?,
        cipher: choose(
            &[MethodType::CryptCs, MethodType::CryptSc],
            wanted.cipher.iter().map(|name| name.as_ref().to_owned()).collect(),
        )?,
        mac: choose(
            &[MethodType::MacCs, MethodType::MacSc],
            wanted.mac.iter().map(|name| name.as_ref().to_owned()).collect(),
        )?,
    })
}

/// The kind of which nothing is shared, and what to say about it; `None` when every kind is shared.
pub(super) fn explain(
    offer: &Offer,
    theirs: &[Vec<String>],
    profile: Algorithms,
) -> Option<(AlgorithmKind, String, String)> {
    let [kex, key, cipher_out, cipher_in, mac_out, mac_in, ..] = theirs else { return None };
    let kinds = [
        (AlgorithmKind::Kex, &offer.kex, kex),
        (AlgorithmKind::Key, &offer.key, key),
        (AlgorithmKind::Cipher, &offer.cipher, cipher_out),
        (AlgorithmKind::Cipher, &offer.cipher, cipher_in),
        (AlgorithmKind::Mac, &offer.mac, mac_out),
        (AlgorithmKind::Mac, &offer.mac, mac_in),
    ];
    let (kind, ours, theirs) = kinds
        .into_iter()
        .find(|(_, ours, theirs)| !ours.iter().any(|name| theirs.contains(name) && !algorithms::is_extension(name)))?;
    let ours: Vec<String> = ours.iter().filter(|name| !algorithms::is_extension(name)).cloned().collect();
    let (what, mut detail) = algorithms::explain(&kind, &ours, theirs, profile);
    if algorithms::any_profile_has(&kind, theirs) {
        detail.push_str(
            "; this build of libssh2 has none of them in any profile: write `transport: russh` for it as well, or \
             leave `transport` out",
        );
    }
    Some((kind, what, detail))
}

/// The name lists of the server's first packet, in the order of RFC 4253, 7.1; `None` when it says something else.
pub(super) async fn theirs<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) -> Option<Vec<Vec<String>>> {
    timeout(PATIENCE, read(stream)).await.ok()?.ok()
}

async fn read<S: AsyncRead + AsyncWrite + Unpin + Send>(stream: S) -> io::Result<Vec<Vec<String>>> {
    let mut stream = BufReader::new(stream);
    stream.get_mut().write_all(b"SSH-2.0-esxprep\r\n").await?;
    let mut seen = 0;
    loop {
        let mut line = Vec::new();
        let n = (&mut stream).take(8192).read_until(b'\n', &mut line).await?;
        seen += n;
        if n == 0 || seen > 8192 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if line.starts_with(b"SSH-") {
            break;
        }
    }
    let length = usize::try_from(stream.read_u32().await?).unwrap_or(usize::MAX);
    if !(2..=PACKET).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await?;
    lists(&packet).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Padding length, message number 20, a cookie of 16 bytes, then ten lists.
fn lists(packet: &[u8]) -> Option<Vec<Vec<String>>> {
    if packet.get(1) != Some(&20) {
        return None;
    }
    let mut rest = packet.get(18..)?;
    let mut all = Vec::new();
    for _ in 0..10 {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let text = std::str::from_utf8(after.get(..length)?).ok()?;
        all.push(text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect());
        rest = &after[length..];
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(names: &[&str]) -> Vec<u8> {
        let mut packet = vec![4, 20];
        packet.extend([0; 16]);
        for list in names {
            packet.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            packet.extend(list.as_bytes());
        }
        packet
    }

    #[test]
    fn the_first_packet_is_read_and_a_damaged_one_is_not() {
        let whole = packet(&["a,b", "c", "d", "d", "e", "e", "none", "none", "", ""]);
        let read = lists(&whole).unwrap();
        assert_eq!(read[0], ["a", "b"]);
        assert_eq!((read.len(), read[9].len()), (10, 0));
        for end in 0..whole.len() {
            assert_eq!(lists(&whole[..end]), None);
        }
        assert_eq!(lists(&[4, 21]), None);
    }

    #[test]
    fn a_profile_is_offered_as_far_as_libssh2_goes() {
        let session = ssh2::Session::new().unwrap();
        let offer = make(&session, &algorithms::preferred(Algorithms::Esxi, &[], &[])).unwrap();
        assert_eq!(offer.key.first().map(String::as_str), Some("ecdsa-sha2-nistp256"));
        assert!(offer.kex.contains(&"ecdh-sha2-nistp256".to_owned()), "{:?}", offer.kex);
        assert!(offer.kex.contains(&"kex-strict-c-v00@openssh.com".to_owned()), "{:?}", offer.kex);
        assert!(offer.cipher.contains(&"aes256-gcm@openssh.com".to_owned()), "{:?}", offer.cipher);
        assert!(offer.mac.contains(&"hmac-sha2-256".to_owned()), "{:?}", offer.mac);
        let old = ["diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "aes128-cbc", "hmac-sha1", "hmac-sha1"];
        let theirs: Vec<Vec<String>> = old.iter().map(|name| vec![(*name).to_owned()]).collect();
        let legacy = make(&session, &algorithms::preferred(Algorithms::Legacy, &[], &[])).unwrap();
        let (kind, _, detail) = explain(&legacy, &theirs, Algorithms::Legacy).unwrap();
        assert!(matches!(kind, AlgorithmKind::Kex) && detail.contains("transport: russh"), "{detail}");
    }
}
