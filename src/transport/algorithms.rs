//! Which algorithms are offered, by profile. One place, because the order decides how much a connection costs:
//! with group exchange before the NIST curves one login takes 0.76 s of CPU here instead of 1 ms (measured against
//! an OpenSSH server without curve25519), and with the NIST curves missing some servers cannot be reached at all.

use std::borrow::Cow;

use russh::client::GexParams;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{AlgorithmKind, Preferred, cipher, compression, kex, mac};

use super::auth::beginning;
use super::target::Algorithms;

const P256: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 };
const P384: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 };
const P521: Algorithm = Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 };
const RSA_512: Algorithm = Algorithm::Rsa { hash: Some(HashAlg::Sha512) };
const RSA_256: Algorithm = Algorithm::Rsa { hash: Some(HashAlg::Sha256) };
const RSA_SHA1: Algorithm = Algorithm::Rsa { hash: None };

/// Curves first: they cost nothing. Fixed groups before group exchange.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G14_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_GEX_SHA256,
];
const KEX_LEGACY: &[kex::Name] = &[kex::DH_G14_SHA1, kex::DH_GEX_SHA1, kex::DH_G1_SHA1];
const KEX_EXTENSIONS: &[kex::Name] = &[kex::EXTENSION_SUPPORT_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT];

const KEYS: &[Algorithm] = &[P256, P384, P521, RSA_512, RSA_256, Algorithm::Ed25519];
const KEYS_MODERN: &[Algorithm] = &[Algorithm::Ed25519, P256, P384, P521, RSA_512, RSA_256];

/// AES-GCM first: it is twice as fast as chacha20 where the processor has AES instructions.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR, cipher::AES_128_CTR, cipher::CHACHA20_POLY1305];
const CIPHERS_LEGACY: &[cipher::Name] = &[cipher::AES_256_CBC, cipher::AES_128_CBC, cipher::TRIPLE_DES_CBC];

const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM, mac::HMAC_SHA512_ETM, mac::HMAC_SHA256, mac::HMAC_SHA512];
const MACS_LEGACY: &[mac::Name] = &[mac::HMAC_SHA1];

/// What a profile offers. Host key algorithms of the types in `known` come first (or a server with several keys
/// shows one that is not on record); those in `without` are left out.
pub fn preferred(profile: Algorithms, known: &[Algorithm], without: &[Algorithm]) -> Preferred {
    let legacy = profile == Algorithms::Legacy;
    let join = |base: &[kex::Name]| {
        let mut list = base.to_vec();
        if legacy {
            list.extend_from_slice(KEX_LEGACY);
        }
        list.extend_from_slice(KEX_EXTENSIONS);
        list
    };
    let kex = match profile {
        // Group 14 has 2048 bits only.
        Algorithms::Modern => KEX.iter().filter(|name| **name != kex::DH_G14_SHA256).copied().collect(),
        Algorithms::Esxi | Algorithms::Legacy => KEX.to_vec(),
    };
    let mut keys = if profile == Algorithms::Modern { KEYS_MODERN.to_vec() } else { KEYS.to_vec() };
    let mut ciphers = CIPHERS.to_vec();
    let mut macs = MACS.to_vec();
    if legacy {
        keys.push(RSA_SHA1);
        ciphers.extend_from_slice(CIPHERS_LEGACY);
        macs.extend_from_slice(MACS_LEGACY);
    }
    keys.retain(|algorithm| !without.iter().any(|other| same_type(algorithm, other)));
    // Stable: within known and unknown types the profile's order stays.
    keys.sort_by_key(|algorithm| !known.iter().any(|other| same_type(algorithm, other)));
    Preferred {
        kex: Cow::Owned(join(&kex)),
        key: Cow::Owned(keys),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Owned(ciphers),
        mac: Cow::Owned(macs),
        compression: Cow::Borrowed(&[compression::NONE]),
    }
}

/// Group exchange: at least 2048 bits, 3072 preferred (the library's own 8192 costs a second of CPU).
pub fn group_exchange() -> GexParams {
    GexParams::new(2048, 3072, 8192).unwrap_or_default()
}

/// The same key type, whatever hash an RSA signature uses.
pub fn same_type(a: &Algorithm, b: &Algorithm) -> bool {
    a == b || matches!((a, b), (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }))
}

/// What to say when nothing is shared: the kind of algorithm, and both lists with the profile to try.
pub fn explain(kind: &AlgorithmKind, ours: &[String], theirs: &[String], profile: Algorithms) -> (String, String) {
    let what = match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key algorithm",
        AlgorithmKind::Cipher => "cipher",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    };
    let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { beginning(&names.join(", ")) };
    let helps = [Algorithms::Modern, Algorithms::Esxi, Algorithms::Legacy]
        .into_iter()
        .filter(|other| *other != profile)
        .find(|other| names(*other, kind).iter().any(|name| theirs.contains(name)));
    let advice = match helps {
        Some(Algorithms::Legacy) => {
            "it only has algorithms that are no longer safe; to use them for this host, write `algorithms: legacy` \
             for it in the inventory"
        }
        Some(Algorithms::Esxi) => "write `algorithms: esxi` for it in the inventory",
        Some(Algorithms::Modern) => "write `algorithms: modern` for it in the inventory",
        None => "no profile (modern, esxi, legacy) has any of them",
    };
    (what.to_owned(), format!("the server offers {}; esxprep offers {}; {advice}", list(theirs), list(ours)))
}

/// Whether a name in a list of key exchanges stands for an extension, not for a key exchange.
#[cfg(feature = "libssh2")]
pub(super) fn is_extension(name: &str) -> bool {
    KEX_EXTENSIONS.iter().any(|extension| extension.as_ref() == name)
}

/// The first profile in which russh has one of these.
#[cfg(feature = "libssh2")]
pub(super) fn profile_with(kind: &AlgorithmKind, theirs: &[String]) -> Option<Algorithms> {
    [Algorithms::Esxi, Algorithms::Modern, Algorithms::Legacy]
        .into_iter()
        .find(|profile| names(*profile, kind).iter().any(|name| theirs.contains(name)))
}

fn names(profile: Algorithms, kind: &AlgorithmKind) -> Vec<String> {
    let all = preferred(profile, &[], &[]);
    match kind {
        AlgorithmKind::Kex => {
            all.kex.iter().filter(|name| !KEX_EXTENSIONS.contains(name)).map(|name| name.as_ref().to_owned()).collect()
        }
        AlgorithmKind::Key => all.key.iter().map(ToString::to_string).collect(),
        AlgorithmKind::Cipher => all.cipher.iter().map(|name| name.as_ref().to_owned()).collect(),
        AlgorithmKind::Mac => all.mac.iter().map(|name| name.as_ref().to_owned()).collect(),
        AlgorithmKind::Compression => vec!["none".to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(profile: Algorithms, kind: AlgorithmKind, name: &str) -> Option<usize> {
        names(profile, &kind).iter().position(|other| other == name)
    }

    #[test]
    fn curves_come_before_group_exchange() {
        for profile in [Algorithms::Modern, Algorithms::Esxi, Algorithms::Legacy] {
            let curve = position(profile, AlgorithmKind::Kex, "ecdh-sha2-nistp256").unwrap();
            let group = position(profile, AlgorithmKind::Kex, "diffie-hellman-group-exchange-sha256").unwrap();
            assert!(curve < group, "{profile:?}");
        }
    }

    #[test]
    fn sha1_and_cbc_only_in_legacy() {
        for (kind, name) in [
            (AlgorithmKind::Kex, "diffie-hellman-group14-sha1"),
            (AlgorithmKind::Kex, "diffie-hellman-group1-sha1"),
            (AlgorithmKind::Key, "ssh-rsa"),
            (AlgorithmKind::Cipher, "aes128-cbc"),
            (AlgorithmKind::Cipher, "3des-cbc"),
            (AlgorithmKind::Mac, "hmac-sha1"),
        ] {
            for profile in [Algorithms::Modern, Algorithms::Esxi] {
                assert!(!names(profile, &kind).contains(&name.to_owned()), "{profile:?} {name}");
            }
            assert!(names(Algorithms::Legacy, &kind).contains(&name.to_owned()), "{name}");
        }
    }

    #[test]
    fn known_types_are_asked_for_first() {
        let first = |known: &[Algorithm]| preferred(Algorithms::Esxi, known, &[]).key[0].clone();
        assert_eq!(first(&[]), P256);
        assert_eq!(first(&[Algorithm::Ed25519]), Algorithm::Ed25519);
        assert_eq!(first(&[RSA_SHA1]), RSA_512);
        let rest = preferred(Algorithms::Legacy, &[], &[P256, RSA_512]).key;
        assert_eq!(rest.as_ref(), &[P384, P521, Algorithm::Ed25519]);
    }

    #[test]
    fn the_profile_that_would_help_is_named() {
        let theirs = vec!["diffie-hellman-group14-sha1".to_owned(), "diffie-hellman-group1-sha1".to_owned()];
        let ours = names(Algorithms::Esxi, &AlgorithmKind::Kex);
        let (what, detail) = explain(&AlgorithmKind::Kex, &ours, &theirs, Algorithms::Esxi);
        assert_eq!(what, "key exchange");
        assert!(detail.contains("algorithms: legacy") && detail.contains("group1-sha1") && detail.contains("nistp256"));
        let (_, detail) = explain(&AlgorithmKind::Cipher, &[], &["blowfish-cbc".to_owned()], Algorithms::Esxi);
        assert!(detail.contains("no profile"));
        let theirs = vec!["diffie-hellman-group14-sha256".to_owned()];
        let (_, detail) = explain(&AlgorithmKind::Kex, &[], &theirs, Algorithms::Modern);
        assert!(detail.contains("algorithms: esxi"));
    }

    #[test]
    fn group_exchange_is_not_the_librarys() {
        assert_eq!(group_exchange().preferred_group_size(), 3072);
        assert_eq!(group_exchange().min_group_size(), 2048);
    }
}
