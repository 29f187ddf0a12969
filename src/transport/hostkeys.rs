//! Is this the host it claims to be? An own matcher over known_hosts, because the SSH library's misses `@revoked`,
//! patterns, tab-separated lines and the difference between "never seen" and "seen with another key".

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use hmac::{Hmac, KeyInit, Mac};
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::{Algorithm, HashAlg, PublicKey};
use sha1::Sha1;

use super::algorithms::same_type;
use super::target::HostKeyCheck;

/// Only one task at a time writes to a known_hosts file.
static WRITING: Mutex<()> = Mutex::new(());

/// What is known of one host's keys, and how strict to be.
#[derive(Debug)]
pub struct Policy {
    address: String,
    port: u16,
    pin: Option<Pin>,
    known: Vec<Known>,
    store: Option<PathBuf>,
    accept_new: bool,
}

#[derive(Debug)]
enum Pin {
    Key(Box<PublicKey>),
    Fingerprint(String),
}

/// A line of a known_hosts file that speaks of the host.
#[derive(Debug)]
struct Known {
    file: PathBuf,
    line: usize,
    marker: Option<Marker>,
    key: PublicKey,
}

/// An accepted key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// On record, or pinned.
    Known,
    /// Not on record yet: to be stored.
    New,
}

/// A key that was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Fingerprints, file and line, and what to do.
    pub detail: String,
    /// A fingerprint is pinned and this is not it: the host may have another key that is.
    pub other_key_may_do: bool,
}

impl Policy {
    /// Reads what is needed to judge the key of `address`:`port`. The error is a text for the user.
    pub fn new(check: &HostKeyCheck, address: &str, port: u16) -> Result<Self, String> {
        let pin = check.pin.as_deref().map(parse_pin).transpose()?;
        let own = home().map(|home| home.join(".ssh/known_hosts"));
        let store = check.known_hosts.first().cloned().or_else(|| own.clone());
        let files: Vec<PathBuf> = if check.known_hosts.is_empty() {
            own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_known_hosts")]).collect()
        } else {
            check.known_hosts.clone()
        };
        let mut known = Vec::new();
        for file in &files {
            read_file(file, address, port, &mut known)?;
        }
        Ok(Self { address: address.to_owned(), port, pin, known, store, accept_new: check.accept_new })
    }

    /// The types of the keys on record: to be asked for first.
    pub fn types(&self) -> Vec<Algorithm> {
        match &self.pin {
            Some(Pin::Key(key)) => vec![key.algorithm()],
            _ => self.known.iter().filter(|known| known.marker.is_none()).map(|known| known.key.algorithm()).collect(),
        }
    }

    /// Judges a key that the server has proved to own.
    pub fn check(&self, key: &PublicKey) -> Result<Accepted, Rejected> {
        let shown = describe(key);
        let same = |known: &&Known| known.key.key_data() == key.key_data();
        if let Some(revoked) = self.known.iter().filter(|known| known.marker == Some(Marker::Revoked)).find(same) {
            return Err(Rejected::final_word(format!(
                "{shown} is marked @revoked in {}. Whoever answers there holds a key that must not be trusted",
                revoked.place()
            )));
        }
        match &self.pin {
            Some(Pin::Key(pin)) if pin.key_data() == key.key_data() => return Ok(Accepted::Known),
            Some(Pin::Fingerprint(pin)) if *pin == fingerprint(key) => return Ok(Accepted::Known),
            Some(pin) => {
                let pinned = match pin {
                    Pin::Key(pin) => describe(pin),
                    Pin::Fingerprint(pin) => pin.clone(),
                };
                return Err(Rejected {
                    detail: format!(
                        "the server shows {shown}, but {pinned} is pinned. If the host was reinstalled, replace \
                         the pinned key; if not, somebody may be in between"
                    ),
                    other_key_may_do: matches!(pin, Pin::Fingerprint(_)),
                });
            }
            None => {}
        }
        let plain: Vec<&Known> = self.known.iter().filter(|known| known.marker.is_none()).collect();
        if plain.iter().any(same) {
            return Ok(Accepted::Known);
        }
        let on_record =
            plain.iter().find(|known| same_type(&known.key.algorithm(), &key.algorithm())).or(plain.first());
        if let Some(known) = on_record {
            return Err(Rejected::final_word(format!(
                "it has changed: the server shows {shown}, but {} is on record in {}. If the host was reinstalled, \
                 remove that line (`ssh-keygen -R '{}' -f '{}'`) and connect once with --accept-new; if not, \
                 somebody may be in between",
                describe(&known.key),
                known.place(),
                self.name(),
                known.file.display(),
            )));
        }
        if self.accept_new {
            return Ok(Accepted::New);
        }
        let authority = self.known.iter().find(|known| known.marker == Some(Marker::CertAuthority));
        let note = authority.map_or(String::new(), |known| {
            format!(
                " ({} trusts it through a certificate authority; esxprep does not ask for host certificates)",
                known.place()
            )
        });
        Err(Rejected::final_word(format!(
            "the server shows {shown}, and nothing is on record for {}{note}. Compare the fingerprint with the \
             host's own (on its console: ssh-keygen -l -f on the .pub file of its host key), then run once with \
             --accept-new, or pin it in the inventory",
            self.name(),
        )))
    }

    /// Adds an accepted key to the first known_hosts file. The error is a text for the user.
    pub fn store(&self, key: &PublicKey) -> Result<(), String> {
        let Some(file) = &self.store else {
            return Err("no known_hosts file to store the accepted key in (no home directory)".to_owned());
        };
        let openssh = key.to_openssh().map_err(|error| format!("cannot write the accepted key: {error}"))?;
        // The comment that may follow type and data is not wanted.
        let key_text = openssh.split(' ').take(2).collect::<Vec<_>>().join(" ");
        append(file, &format!("{} {key_text}\n", self.name()))
            .map_err(|error| format!("cannot store the accepted key in {}: {error}", file.display()))
    }

    fn name(&self) -> String {
        names(&self.address, self.port)
    }
}

impl Rejected {
    fn final_word(detail: String) -> Self {
        Self { detail, other_key_may_do: false }
    }
}

impl Known {
    fn place(&self) -> String {
        format!("{} line {}", self.file.display(), self.line)
    }
}

/// `SHA256:...`, as OpenSSH prints it.
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

fn describe(key: &PublicKey) -> String {
    format!("the {} key {}", key.algorithm(), fingerprint(key))
}

/// Whether a text can be a pinned host key: what is wrong with it if not.
pub fn check_pin(text: &str) -> Result<(), String> {
    parse_pin(text).map(|_| ())
}

fn parse_pin(text: &str) -> Result<Pin, String> {
    let text = text.trim();
    if let Some(hash) = text.strip_prefix("SHA256:") {
        // 32 bytes in base64.
        let hash = hash.trim_end_matches('=');
        if hash.len() != 43 || !hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/') {
            return Err(format!(
                "the pinned key `{text}` is no SHA-256 fingerprint: it has 43 characters after the colon"
            ));
        }
        return Ok(Pin::Fingerprint(text.trim_end_matches('=').to_owned()));
    }
    PublicKey::from_openssh(text).map(|key| Pin::Key(Box::new(key))).map_err(|error| {
        format!(
            "the pinned key `{text}` is neither `SHA256:...` nor an OpenSSH public key (`ssh-... AAAA...`): {error}"
        )
    })
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// The name under which known_hosts files speak of a host.
fn names(address: &str, port: u16) -> String {
    let address = address.to_lowercase();
    if port == 22 { address } else { format!("[{address}]:{port}") }
}

fn read_file(file: &Path, address: &str, port: u16, known: &mut Vec<Known>) -> Result<(), String> {
    let text = match fs::read(file) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
    };
    let name = names(address, port);
    for (index, line) in text.lines().enumerate() {
        // The parser wants single blanks; files have tabs too.
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.is_empty() || fields[0].starts_with('#') {
            continue;
        }
        let keep = if fields[0].starts_with('@') { 4 } else { 3 };
        let line_text = fields[..fields.len().min(keep)].join(" ");
        let Ok(entry) = line_text.parse::<Entry>() else {
            tracing::debug!("{} line {}: not understood, ignored", file.display(), index + 1);
            continue;
        };
        if matches(entry.host_patterns(), &name) {
            known.push(Known {
                file: file.to_owned(),
                line: index + 1,
                marker: entry.marker().copied(),
                key: entry.public_key().clone(),
            });
        }
    }
    Ok(())
}

fn matches(patterns: &HostPatterns, name: &str) -> bool {
    match patterns {
        HostPatterns::HashedName { salt, hash } => Hmac::<Sha1>::new_from_slice(salt).is_ok_and(|mut mac| {
            mac.update(name.as_bytes());
            mac.verify_slice(hash).is_ok()
        }),
        HostPatterns::Patterns(list) => {
            let mut found = false;
            for pattern in list {
                let (negated, pattern) = match pattern.strip_prefix('!') {
                    Some(rest) => (true, rest),
                    None => (false, pattern.as_str()),
                };
                if glob(pattern.to_lowercase().as_bytes(), name.as_bytes()) {
                    if negated {
                        return false;
                    }
                    found = true;
                }
            }
            found
        }
    }
}

/// `*` and `?`, as OpenSSH does it: brackets are ordinary characters.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            star = Some((star_p, star_t + 1));
            p = star_p + 1;
            t = star_t + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// One write at the end of the file, made with its folder (0600, 0700) when it is missing.
fn append(file: &Path, line: &str) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    let _one_at_a_time = WRITING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut handle = fs::OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
    let mut text = line.to_owned();
    if handle.metadata()?.len() > 0 {
        handle.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        handle.read_exact(&mut last)?;
        if last[0] != b'\n' {
            text.insert(0, '\n');
        }
    }
    // Two hosts of a run may share an address, or two connections ask at once: once is enough.
    let mut present = String::new();
    handle.seek(SeekFrom::Start(0))?;
    let _ = handle.read_to_string(&mut present);
    if present.lines().any(|other| other == line.trim_end()) {
        return Ok(());
    }
    handle.write_all(text.as_bytes())
}

#[cfg(test)]
#[path = "hostkeys_tests.rs"]
mod tests;
