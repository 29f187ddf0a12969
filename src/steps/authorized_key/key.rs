//! Lines of an `authorized_keys` file.

use std::fmt;

/// A public key's line: options, type, blob, comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Options in front, as written.
    pub options: String,
    /// For example `ssh-rsa`.
    pub kind: String,
    /// The base64 text.
    pub blob: String,
    /// The comment.
    pub comment: String,
    /// Length of an RSA modulus in bits.
    pub rsa_bits: Option<u32>,
}

const KINDS: [&str; 8] = [
    "ssh-rsa",
    "ssh-dss",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

impl Key {
    /// Parses one line and checks that the type in front is the one inside the blob.
    pub fn parse(line: &str) -> Result<Self, String> {
        let line = line.trim();
        if line.contains("PRIVATE KEY") {
            return Err("this is a private key; give the public one (the file that ends in .pub)".into());
        }
        let words = words(line);
        let Some(at) = words.iter().position(|w| KINDS.contains(w)) else {
            return Err(format!("no known key type in it; a public key begins with one of: {}", KINDS.join(", ")));
        };
        let kind = words[at];
        let blob = *words.get(at + 1).ok_or("the key's base64 text is missing")?;
        let bytes = base64(blob).ok_or("the key's base64 text is damaged (cut short, or broken over lines?)")?;
        let (inner, rest) = field(&bytes).ok_or("the key's base64 text is cut short")?;
        if inner != kind.as_bytes() {
            return Err(format!("the line says {kind}, the key inside is {:?}", String::from_utf8_lossy(inner)));
        }
        let mut rsa_bits = None;
        let mut left = rest;
        let mut fields = 0;
        while !left.is_empty() {
            let (f, more) = field(left).ok_or("the key's base64 text is cut short")?;
            fields += 1;
            if kind == "ssh-rsa" && fields == 2 {
                let n: &[u8] = f.strip_prefix(&[0]).unwrap_or(f);
                rsa_bits = n.first().map(|b| n.len() as u32 * 8 - b.leading_zeros());
            }
            left = more;
        }
        if fields == 0 || kind == "ssh-rsa" && rsa_bits.is_none() {
            return Err("the key's base64 text is cut short".into());
        }
        Ok(Self {
            options: words[..at].join(" "),
            kind: kind.into(),
            blob: blob.into(),
            comment: words[at + 2..].join(" "),
            rsa_bits,
        })
    }

    /// Whether a line of a file holds this key, whatever its options and comment.
    pub fn is_in(&self, line: &str) -> bool {
        let words = words(line.trim());
        !line.trim_start().starts_with('#')
            && words
                .windows(2)
                .any(|w| w[0] == self.kind && w[1].trim_end_matches('=') == self.blob.trim_end_matches('='))
    }

    /// Type and comment: enough for a person to know it.
    pub fn shown(&self) -> String {
        let tail: String = self.blob.chars().rev().skip_while(|c| *c == '=').take(8).collect();
        let tail: String = tail.chars().rev().collect();
        format!("{} ...{tail} {}", self.kind, self.comment).trim_end().to_owned()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [&self.options, &self.kind, &self.blob, &self.comment];
        let parts: Vec<&str> = parts.iter().map(|s| s.as_str()).filter(|s| !s.is_empty()).collect();
        f.write_str(&parts.join(" "))
    }
}

/// Splits at blanks outside quotes (options may hold quoted commands).
fn words(line: &str) -> Vec<&str> {
    let (mut out, mut start, mut quoted) = (Vec::new(), None, false);
    for (i, c) in line.char_indices() {
        if c == '"' {
            quoted = !quoted;
        }
        match (c.is_whitespace() && !quoted, start) {
            (true, Some(s)) => {
                out.push(&line[s..i]);
                start = None;
            }
            (false, None) => start = Some(i),
            _ => {}
        }
    }
    out.extend(start.map(|s| &line[s..]));
    out
}

/// One length-prefixed field and the rest.
fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.bytes() {
        let v = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(v);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (text.len() % 4 != 1).then_some(out)
}
