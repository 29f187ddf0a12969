//! SHA-512 crypt (`$6$`), the scheme of `/etc/shadow` on ESXi and Linux, so that a changed password is really asked for.
//!
//! Written from Ulrich Drepper's public specification "Unix crypt using SHA-256 and SHA-512"; the tests use its vectors.

use sha2::{Digest, Sha512};

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DEFAULT_ROUNDS: u32 = 5000;

/// The order in which the digest's bytes are written, three at a time.
const ORDER: [[usize; 3]; 21] = [
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];

/// `count` bytes made by repeating `block`.
fn spread(block: &[u8], count: usize) -> Vec<u8> {
    block.iter().copied().cycle().take(count).collect()
}

/// The hash of `password` with `salt` (at most 16 characters) in crypt's `$6$` form.
pub(crate) fn sha512_crypt(password: &str, salt: &str, rounds: Option<u32>) -> String {
    let key = password.as_bytes();
    let salt = &salt.as_bytes()[..salt.len().min(16)];
    let count = rounds.unwrap_or(DEFAULT_ROUNDS).clamp(1000, 999_999_999);

    let second = Sha512::new().chain_update(key).chain_update(salt).chain_update(key).finalize();
    let mut first = Sha512::new().chain_update(key).chain_update(salt);
    first.update(spread(&second, key.len()));
    let mut bits = key.len();
    while bits > 0 {
        if bits & 1 == 1 {
            first.update(second);
        } else {
            first.update(key);
        }
        bits >>= 1;
    }
    let mut digest = first.finalize();

    let mut keys = Sha512::new();
    for _ in 0..key.len() {
        keys.update(key);
    }
    let p = spread(&keys.finalize(), key.len());
    let mut salts = Sha512::new();
    for _ in 0..16 + usize::from(digest[0]) {
        salts.update(salt);
    }
    let s = spread(&salts.finalize(), salt.len());

    for round in 0..count {
        let mut hash = Sha512::new();
        if round % 2 == 1 {
            hash.update(&p);
        } else {
            hash.update(digest);
        }
        if round % 3 != 0 {
            hash.update(&s);
        }
        if round % 7 != 0 {
            hash.update(&p);
        }
        if round % 2 == 1 {
            hash.update(digest);
        } else {
            hash.update(&p);
        }
        digest = hash.finalize();
    }

    let mut text = String::from("$6$");
    if rounds.is_some() {
        text.push_str(&format!("rounds={count}$"));
    }
    text.push_str(&String::from_utf8_lossy(salt));
    text.push('$');
    let mut write = |value: u32, characters: usize| {
        let mut rest = value;
        for _ in 0..characters {
            text.push(char::from(ALPHABET[(rest & 63) as usize]));
            rest >>= 6;
        }
    };
    for [a, b, c] in ORDER {
        write(u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]), 4);
    }
    write(u32::from(digest[63]), 2);
    text
}

/// Whether `password` is the one of the shadow field `hash`. Fields of other schemes, `*` and `!` match nothing.
pub(crate) fn matches(password: &str, hash: &str) -> bool {
    let Some(rest) = hash.strip_prefix("$6$") else { return false };
    let (rounds, rest) = match rest.strip_prefix("rounds=").and_then(|r| r.split_once('$')) {
        Some((count, rest)) => (count.parse().ok(), rest),
        None => (None, rest),
    };
    let Some((salt, _)) = rest.split_once('$') else { return false };
    sha512_crypt(password, salt, rounds) == hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_specification() {
        for hash in [
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
        ] {
            assert!(matches("Hello world!", hash), "{hash}");
            assert!(!matches("Hello world?", hash));
        }
        assert!(!matches("", "*"));
        assert!(!matches("x", "$1$abc$def"));
    }
}
