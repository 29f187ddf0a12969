//! Programs that hardening asks: the check for Secure Boot, and `openssl x509` for the issuer of a certificate.

use super::state::{HostState, Release};
use super::tools::args;
use super::{Answer, Call};

/// `/usr/lib/vmware/secureboot/bin/secureBoot.py -s` prints one word (documented); what `-c` prints is not verified.
pub(super) fn secure_boot(state: &mut HostState, call: &Call<'_>) -> Answer {
    match args(call).first() {
        Some(&"-s") => Answer::out(if state.guard.secure_boot { "Enabled\n" } else { "Disabled\n" }),
        Some(&"-c") => {
            let bad = state.image.vibs.iter().find(|v| v.level == "CommunitySupported");
            match bad {
                None => Answer::out(
                    "Secure boot can be enabled: All vib signatures verified. All tardisks validated. All acceptance levels validated\n",
                ),
                Some(vib) => Answer::coded(
                    format!(
                        "Secure boot CANNOT be enabled: Failed to verify signatures of the following vib(s): [{}].\n",
                        vib.name
                    ),
                    1,
                ),
            }
        }
        _ => Answer::coded("usage: secureBoot.py [-h] [-a | -c | -s]\n", 2),
    }
}

/// `openssl x509 -in FILE -noout -issuer` and `-subject`; nothing else of openssl.
pub(super) fn openssl(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let after = |name: &str| words.iter().position(|w| *w == name).and_then(|at| words.get(at + 1)).copied();
    if words.first() != Some(&"x509") {
        return Answer::err("openssl: only `x509 -in FILE -noout -issuer` is simulated\n", 1);
    }
    let Some(path) = after("-in") else { return Answer::err("unable to load certificate\n", 1) };
    let Ok(text) = std::fs::read_to_string(call.path(path)) else {
        return Answer::err(
            format!("Can't open {path} for reading, No such file or directory\nunable to load certificate\n"),
            1,
        );
    };
    let own = text.trim() == state.certificate().trim();
    let names = match (own, der(&text).as_deref().and_then(names)) {
        // The certificate that the installer makes is text that only looks like one: see factory/files.rs.
        (true, _) => {
            let subject = [("C", "US"), ("ST", "California"), ("L", "Palo Alto"), ("O", "VMware, Inc")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()));
            let mut subject = subject.to_vec();
            subject.push(("OU".into(), "VMware ESX Server Default Certificate".into()));
            subject.push(("CN".into(), state.fqdn()));
            (vec![("O".to_owned(), "VMware Installer".to_owned())], subject)
        }
        (false, Some(names)) => names,
        (false, None) => return Answer::err("unable to load certificate\n", 1),
    };
    // OpenSSL 1.0.2 (up to 7.0) writes `/O=X`, 3.0 (8.0) `O = X`.
    let shown = |name: &[(String, String)]| -> String {
        if state.release >= Release::V80 {
            let quoted = |v: &str| if v.contains(',') { format!("\"{v}\"") } else { v.to_owned() };
            name.iter().map(|(k, v)| format!("{k} = {}", quoted(v))).collect::<Vec<_>>().join(", ")
        } else {
            format!(" {}", name.iter().map(|(k, v)| format!("/{k}={v}")).collect::<String>())
        }
    };
    let mut out = String::new();
    for word in &words {
        match *word {
            "-issuer" => out.push_str(&format!("issuer={}\n", shown(&names.0))),
            "-subject" => out.push_str(&format!("subject={}\n", shown(&names.1))),
            _ => {}
        }
    }
    Answer::out(out)
}

/// The bytes of the first certificate in a PEM file.
fn der(text: &str) -> Option<Vec<u8>> {
    let body = text.split("-----BEGIN CERTIFICATE-----").nth(1)?.split("-----END").next()?;
    let mut out = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for c in body.bytes().filter(|c| !c.is_ascii_whitespace() && *c != b'=') {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        have += 6;
        if have >= 8 {
            have -= 8;
            out.push((bits >> have & 255) as u8);
        }
    }
    Some(out)
}

/// Tag, content and what follows of the first element.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 128 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 127);
        let head = rest.get(..count).filter(|_| count <= 4)?;
        (head.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)), rest.get(count..)?)
    };
    Some((tag, rest.get(..length)?, rest.get(length..)?))
}

type Name = Vec<(String, String)>;

/// A distinguished name: short names as openssl has them.
fn name(mut bytes: &[u8]) -> Option<Name> {
    let mut out = Vec::new();
    while !bytes.is_empty() {
        let (_, set, rest) = element(bytes)?;
        bytes = rest;
        let (_, pair, _) = element(set)?;
        let (_, oid, value) = element(pair)?;
        let (_, value, _) = element(value)?;
        let short = match oid {
            [0x55, 4, 3] => "CN",
            [0x55, 4, 6] => "C",
            [0x55, 4, 7] => "L",
            [0x55, 4, 8] => "ST",
            [0x55, 4, 10] => "O",
            [0x55, 4, 11] => "OU",
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1] => "emailAddress",
            [0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 0x19] => "DC",
            _ => "UNDEF",
        };
        out.push((short.to_owned(), String::from_utf8_lossy(value).into_owned()));
    }
    Some(out)
}

/// Issuer and subject of a certificate (RFC 5280: version, serial, algorithm, issuer, validity, subject).
fn names(bytes: &[u8]) -> Option<(Name, Name)> {
    let (0x30, certificate, _) = element(bytes)? else { return None };
    let (0x30, mut rest, _) = element(certificate)? else { return None };
    if rest.first() == Some(&0xa0) {
        rest = element(rest)?.2;
    }
    let rest = element(element(rest)?.2)?.2;
    let (0x30, issuer, rest) = element(rest)? else { return None };
    let (0x30, subject, _) = element(element(rest)?.2)? else { return None };
    Some((name(issuer)?, name(subject)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_certificate() {
        // SEQUENCE { SEQUENCE { [0], serial, algorithm, issuer O=A, validity, subject CN=b } }, made by hand.
        let rdn = |oid: u8, text: &str| {
            let value = [&[0x0c, text.len() as u8], text.as_bytes()].concat();
            let pair = [&[6, 3, 0x55, 4, oid][..], &value].concat();
            let pair = [&[0x30, pair.len() as u8][..], &pair].concat();
            let set = [&[0x31, pair.len() as u8][..], &pair].concat();
            [&[0x30, set.len() as u8][..], &set].concat()
        };
        let body =
            [&[0xa0, 3, 2, 1, 2, 2, 1, 7, 0x30, 0][..], &rdn(10, "U.S. Government"), &[0x30, 0], &rdn(3, "b")].concat();
        let tbs = [&[0x30, body.len() as u8][..], &body].concat();
        let whole = [&[0x30, tbs.len() as u8][..], &tbs].concat();
        let (issuer, subject) = names(&whole).unwrap();
        assert_eq!(issuer, [("O".to_owned(), "U.S. Government".to_owned())]);
        assert_eq!(subject, [("CN".to_owned(), "b".to_owned())]);
        for cut in 0..whole.len() {
            assert!(names(&whole[..cut]).is_none());
        }
        assert_eq!(
            der("-----BEGIN CERTIFICATE-----\nMAMC\nAQc=\n-----END CERTIFICATE-----\n").unwrap(),
            [0x30, 3, 2, 1, 7]
        );
    }
}
