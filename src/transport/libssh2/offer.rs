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

/// Names by kind: key exchanges, host keys, ciphers, MACs.
type Lists = [Vec<String>; 4];

/// What this side offers, and what it could offer in another profile.
pub(super) struct Offer {
    now: Lists,
    ever: Lists,
}

const KINDS: [(&[MethodType], AlgorithmKind); 4] = [
    (&[MethodType::Kex], AlgorithmKind::Kex),
    (&[MethodType::HostKey], AlgorithmKind::Key),
    (&[MethodType::CryptCs, MethodType::CryptSc], AlgorithmKind::Cipher),
    (&[MethodType::MacCs, MethodType::MacSc], AlgorithmKind::Mac),
];

fn names(wanted: &Preferred) -> Lists {
    [
        wanted.kex.iter().map(|name| name.as_ref().to_owned()).collect(),
        wanted.key.iter().map(ToString::to_string).collect(),
        wanted.cipher.iter().map(|name| name.as_ref().to_owned()).collect(),
        wanted.mac.iter().map(|name| name.as_ref().to_owned()).collect(),
    ]
}

/// Makes libssh2 offer what a profile wants, in its order. The error is libssh2's.
pub(super) fn make(session: &ssh2::Session, wanted: &Preferred) -> Result<Offer, ssh2::Error> {
    let (mut now, mut ever) = (names(wanted), names(&algorithms::preferred(Algorithms::Legacy, &[], &[])));
    for ((methods, _), (now, ever)) in KINDS.iter().zip(now.iter_mut().zip(&mut ever)) {
        for method in *methods {
            let has = session.supported_algs(*method)?;
            now.retain(|name| has.contains(&name.as_str()));
            ever.retain(|name| has.contains(&name.as_str()));
            session.method_pref(*method, &now.join(","))?;
        }
    }
    Ok(Offer { now, ever })
}

/// A kind of which nothing is shared, and what to say about it.
pub(super) struct NotShared {
    pub(super) of_host_keys: bool,
    pub(super) what: String,
    pub(super) detail: String,
}

/// What is not shared; `None` when every kind is.
pub(super) fn explain(offer: &Offer, theirs: &[Vec<String>], profile: Algorithms) -> Option<NotShared> {
    let [kex, key, cipher_out, cipher_in, mac_out, mac_in, ..] = theirs else { return None };
    let asked = [(0, kex), (1, key), (2, cipher_out), (2, cipher_in), (3, mac_out), (3, mac_in)];
    let shared = |ours: &[String], theirs: &[String]| {
        ours.iter().any(|name| theirs.contains(name) && !algorithms::is_extension(name))
    };
    let (index, theirs) = asked.into_iter().find(|(index, theirs)| !shared(&offer.now[*index], theirs))?;
    let (_, kind) = &KINDS[index];
    let ours: Vec<String> = offer.now[index].iter().filter(|name| !algorithms::is_extension(name)).cloned().collect();
    let (what, mut detail) = algorithms::explain(kind, &ours, theirs, profile);
    if !shared(&offer.ever[index], theirs)
        && let Some(needs) = algorithms::profile_with(kind, theirs)
    {
        let as_well = match needs {
            Algorithms::Legacy if profile != Algorithms::Legacy => " and `algorithms: legacy`",
            _ => "",
        };
        detail = format!(
            "the server offers {}; this build of libssh2 has none of them (it offers {}), russh has: write \
             `transport: russh`{as_well} for it in the inventory",
            theirs.join(", "),
            ours.join(", ")
        );
    }
    Some(NotShared { of_host_keys: matches!(kind, AlgorithmKind::Key), what, detail })
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
        let [kex, key, cipher, mac] = make(&session, &algorithms::preferred(Algorithms::Esxi, &[], &[])).unwrap().now;
        assert_eq!(key.first().map(String::as_str), Some("ecdsa-sha2-nistp256"));
        for (list, name) in [
            (&kex, "ecdh-sha2-nistp256"),
            (&kex, "kex-strict-c-v00@openssh.com"),
            (&cipher, "aes256-gcm@openssh.com"),
            (&mac, "hmac-sha2-256"),
        ] {
            assert!(list.contains(&name.to_owned()), "{name}: {list:?}");
        }
        let old = ["diffie-hellman-group14-sha1", "ssh-rsa", "aes128-cbc", "aes128-cbc", "hmac-sha1", "hmac-sha1"];
        let theirs: Vec<Vec<String>> = old.iter().map(|name| vec![(*name).to_owned()]).collect();
        let legacy = make(&session, &algorithms::preferred(Algorithms::Legacy, &[], &[])).unwrap();
        let NotShared { what, detail, .. } = explain(&legacy, &theirs, Algorithms::Legacy).unwrap();
        assert!(what == "key exchange" && detail.contains("transport: russh"), "{detail}");
        assert!(!detail.contains("algorithms: legacy"), "{detail}");
        let esxi = make(&session, &algorithms::preferred(Algorithms::Esxi, &[], &[])).unwrap();
        let NotShared { detail, .. } = explain(&esxi, &theirs, Algorithms::Esxi).unwrap();
        assert!(detail.contains("`transport: russh` and `algorithms: legacy`"), "{detail}");
        // What libssh2 has in another profile needs no other library.
        let mut cbc = theirs.clone();
        (cbc[0], cbc[1]) = (vec!["ecdh-sha2-nistp256".to_owned()], vec!["ecdsa-sha2-nistp256".to_owned()]);
        let NotShared { what, detail, .. } = explain(&esxi, &cbc, Algorithms::Esxi).unwrap();
        assert!(what == "cipher" && detail.contains("algorithms: legacy"), "{detail}");
        assert!(!detail.contains("russh"), "{detail}");
    }
}
