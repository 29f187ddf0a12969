//! SHA-512 crypt (`$6$`) of a root password: the install script then holds no clear text. The hashing is the
//! `sha-crypt` crate's; the encoding of the digest is written from Ulrich Drepper's public specification.

use sha_crypt::{Params, sha512_crypt};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Longest salt that counts.
const SALT: usize = 16;

/// Why a password cannot be hashed, or a hash cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptError {
    /// An empty password.
    #[error("the root password is empty; the installer refuses that")]
    Empty,
    /// A character that cannot be in it.
    #[error("the root password holds a line feed or a NUL byte, which nobody could type")]
    Unprintable,
    /// A salt with other characters than `./0-9A-Za-z`.
    #[error("`{0}` is no salt: one to 16 of the characters ./0-9A-Za-z")]
    Salt(String),
    /// The crate refused the parameters; never seen.
    #[error("cannot hash the root password: {0}")]
    Parameters(String),
}

/// The hash of `password` with a random salt.
pub fn hash_password(password: &str) -> Result<String, CryptError> {
    let bytes: [u8; SALT] = rand::random();
    let salt: String = bytes.iter().map(|b| char::from(ALPHABET[usize::from(b & 63)])).collect();
    hash_with_salt(password, &salt)
}

/// The hash of `password` with this salt: the same input gives the same install script, so that a cache can work.
pub fn hash_with_salt(password: &str, salt: &str) -> Result<String, CryptError> {
    if password.is_empty() {
        return Err(CryptError::Empty);
    }
    if password.contains(['\n', '\r', '\0']) {
        return Err(CryptError::Unprintable);
    }
    if salt.is_empty() || salt.len() > SALT || !salt.bytes().all(|b| ALPHABET.contains(&b)) {
        return Err(CryptError::Salt(salt.to_owned()));
    }
    let rounds = Params::RECOMMENDED_ROUNDS;
    let params = Params::new(rounds).map_err(|e| CryptError::Parameters(e.to_string()))?;
    let digest = sha512_crypt(password.as_bytes(), salt.as_bytes(), params);
    Ok(format!("$6${salt}${}", encode(&digest)))
}

/// Whether this is a hash that the installer takes: `$6$salt$` and 86 characters, with or without `rounds=`.
pub fn is_sha512_crypt(hash: &str) -> bool {
    let Some(rest) = hash.strip_prefix("$6$") else { return false };
    let rest = match rest.strip_prefix("rounds=") {
        Some(after) => match after.split_once('$') {
            Some((rounds, rest)) if rounds.parse::<u32>().is_ok() => rest,
            _ => return false,
        },
        None => rest,
    };
    let plain = |text: &str| text.bytes().all(|b| ALPHABET.contains(&b));
    matches!(rest.split_once('$'), Some((salt, digest))
        if salt.len() <= SALT && plain(salt) && digest.len() == 86 && plain(digest))
}

/// The digest in crypt's order: bytes n, n+21 and n+42 (rotated by one each time) as four characters, least
/// significant first; the last byte alone as two.
fn encode(digest: &[u8; 64]) -> String {
    let mut out = String::with_capacity(86);
    let mut put = |mut value: u32, characters: usize| {
        for _ in 0..characters {
            out.push(char::from(ALPHABET[(value & 63) as usize]));
            value >>= 6;
        }
    };
    for n in 0..21 {
        let at = |k: usize| u32::from(digest[n + 21 * ((k + n) % 3)]);
        put(at(0) << 16 | at(1) << 8 | at(2), 4);
    }
    put(u32::from(digest[63]), 2);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl passwd -6 -salt SALT PASSWORD` (OpenSSL 3.0) and compared with `mkpasswd -m sha-512`.
    const KNOWN: &[(&str, &str, &str)] = &[
        (
            "VMware1!",
            "abcdefgh",
            "$6$abcdefgh$gGBmDnLQUc7X.EBIKowb1D9aTj.Os8M3ugSq/i9D/fQCkrN3HulO.schvxn1pyfuGN2yHa4KWM7KxtoM2UM220",
        ),
        ("a", "x", "$6$x$6Zqbz8j5rMHIeJ1ujjjFXuZXSa/VORj.fVUEQcJc.rjR9.wCKlhZuymRQLtIEzcxNmqwX/fRNvM45BbvFayY51"),
        (
            "päss wörd ☃",
            "0123456789./ABCD",
            "$6$0123456789./ABCD$ByFBB8UwYxUhTmuhfIyImh1QCV7S6QxywAZVdtDofu5DG8cvPy/lIfXuxmpx/YZARmTl22/q3oi/jRWPBsZVl0",
        ),
        (
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            "longpass",
            "$6$longpass$/4xFcgTCycsYeY7gW/xPXTYIiepkfl39R/KxsmefCs4Vva54QMCuW/zAUI1YHaLkFHa7JScfz/4JiE3TirGyc/",
        ),
        (
            "64 characters of password are the block of a SHA-512 half, sure!",
            "sixtyfour",
            "$6$sixtyfour$YitsgumnhRp6PNbOQB618FYiCij3jPY9F1V/o9WHKqjT4d8Aqgx0/LTHq/10lCNrP.ZU5emie0qUmvprDd3NZ/",
        ),
        // From the specification.
        (
            "Hello world!",
            "saltstring",
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
        ),
    ];

    #[test]
    fn known_hashes() {
        for (password, salt, hash) in KNOWN {
            assert_eq!(hash_with_salt(password, salt).unwrap(), *hash, "{password} {salt}");
            assert!(is_sha512_crypt(hash));
        }
    }

    #[test]
    fn salts_are_random_and_bad_input_is_refused() {
        let (a, b) = (hash_password("VMware1!").unwrap(), hash_password("VMware1!").unwrap());
        assert_ne!(a, b);
        assert!(is_sha512_crypt(&a) && is_sha512_crypt(&b), "{a} {b}");
        assert_eq!(hash_password(""), Err(CryptError::Empty));
        assert_eq!(hash_password("a\nb"), Err(CryptError::Unprintable));
        assert_eq!(hash_with_salt("a", "sal$"), Err(CryptError::Salt("sal$".into())));
    }

    #[test]
    fn other_hashes_are_not_taken() {
        let good = hash_with_salt("x", "abc").unwrap();
        assert!(is_sha512_crypt(&good.replace("$6$", "$6$rounds=5000$")));
        for bad in ["", "$6$", "$1$abc$xyz", &good[..good.len() - 1], &good.replace("$6$", "$5$"), "VMware1!"] {
            assert!(!is_sha512_crypt(bad), "{bad}");
        }
    }
}
