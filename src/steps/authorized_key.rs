//! `authorized_key`: a public key that may log in over SSH.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::file::lines::{as_it_is, earlier};
use super::{Action, Change, Input, Kind, Seen, Source, Step, StepError, Undo, file, parse_as};
use crate::esxi::{Command, HostFacts, Version};

mod key;
#[cfg(test)]
mod tests;

pub use key::Key;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "authorized_key",
    about: "A public key may log in over SSH, or may not",
    example: "- authorized_key: {user: root, key: \"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOHXtU2+xuHlJPlf8eIW9eqlVijADgx4vm4l2SQ6nVoXs5KKyCl/uDwtXxTQTOpu44j+//07UH8Crt+nAcV1qZQ= admin@lab\"}\n",
    parse: parse_as::<AuthorizedKey>,
    schema: <Spec as JsonSchema>::json_schema,
};

/// Mode of the file: for its owner only, and with the sticky bit, so that it is saved over a reboot
/// (recorded on 7.0: ls-authorized-keys-sticky).
const MODE: u32 = 0o1600;

/// Puts a public key into `/etc/ssh/keys-USER/authorized_keys`.
///
/// Other keys stay unless `exclusive`. ESXi 8.0 and later (and 7.0 Update 3, as far as known) run their SSH server in FIPS mode, which
/// silently refuses Ed25519 keys: use ECDSA (`ssh-keygen -t ecdsa`) or RSA.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The local user.
    #[serde(default = "root")]
    pub user: String,
    /// The public key, one line: `ecdsa-sha2-nistp256 AAAA... comment`.
    #[serde(default)]
    pub key: Option<String>,
    /// A file beside the playbook with one or more public keys.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Whether the key may log in.
    #[serde(default)]
    pub state: file::State,
    /// Remove every other key.
    #[serde(default)]
    pub exclusive: bool,
    /// Put an Ed25519 key on a host whose SSH server is expected to refuse it (FIPS mode switched off by hand).
    #[serde(default)]
    pub allow_ed25519: bool,
}

fn root() -> String {
    "root".into()
}

/// The desired state of one user's key.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Spec")]
pub struct AuthorizedKey {
    spec: Spec,
    keys: Vec<Key>,
}

impl TryFrom<Spec> for AuthorizedKey {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        if spec.user.is_empty()
            || !spec.user.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
            || spec.user.starts_with('.')
        {
            return Err("`user` is the name of a local user".into());
        }
        let keys = match (&spec.key, &spec.from) {
            (Some(_), Some(_)) | (None, None) => return Err("give either `key` or `from`".into()),
            (Some(key), None) => parse(key)?,
            (None, Some(_)) => Vec::new(),
        };
        if spec.exclusive && spec.state == file::State::Absent {
            return Err("`exclusive` goes with `state: present`".into());
        }
        Ok(Self { spec, keys })
    }
}

/// The keys of a text, one a line; comments and empty lines are left out.
fn parse(text: &str) -> Result<Vec<Key>, String> {
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let keys: Vec<Key> = lines.map(Key::parse).collect::<Result<_, _>>()?;
    if keys.is_empty() { Err("there is no key in it".into()) } else { Ok(keys) }
}

impl AuthorizedKey {
    fn directory(&self) -> String {
        format!("/etc/ssh/keys-{}", self.spec.user)
    }

    fn path(&self) -> String {
        format!("{}/authorized_keys", self.directory())
    }

    fn read(&self) -> Command {
        Command::new("ls -ld").arg(self.path()).words("&& cat").arg(self.path())
    }

    fn keys(&self, seen: &Seen<'_>) -> Result<Vec<Key>, StepError> {
        let Some(from) = &self.spec.from else { return Ok(self.keys.clone()) };
        let shown = from.display();
        let artifact = seen
            .artifacts
            .get(&Input::File(from.clone()))
            .ok_or_else(|| StepError::NotRead { command: shown.to_string() })?;
        let text = artifact
            .text
            .as_deref()
            .ok_or_else(|| StepError::Refused(format!("{shown} is no text file with public keys")))?;
        parse(text).map_err(|e| StepError::Refused(format!("{shown}: {e}")))
    }

    /// Refuses keys that this release's SSH server refuses without a word.
    fn usable(&self, key: &Key, version: Version) -> Result<(), StepError> {
        // FIPS mode of sshd is on by default at least in 7.0 Update 3, 8.0 and 9.0; 7.0 before Update 3 is not known.
        let fips = version >= Version { major: 7, minor: 0, patch: 3 };
        let refuse = |text: String| Err(StepError::Refused(text));
        if key.kind.contains("ed25519") && fips && !self.spec.allow_ed25519 {
            return refuse(format!(
                "the SSH server of ESXi {version} runs in FIPS mode and refuses Ed25519 keys without a word, even when they are listed: {}. Make another key with `ssh-keygen -t ecdsa` (or `-t rsa -b 3072`); if FIPS mode is off on this host, write `allow_ed25519: true`",
                key.shown()
            ));
        }
        if key.kind == "ssh-dss" && version >= Version::new(6, 5) {
            return refuse(format!(
                "ESXi takes no DSA keys since 6.0 Update 2: {}. Make another key with `ssh-keygen -t ecdsa`",
                key.shown()
            ));
        }
        if let Some(bits) = key.rsa_bits.filter(|b| *b < 2048)
            && fips
        {
            return refuse(format!(
                "FIPS mode needs RSA keys of 2048 bits or more; this one has {bits}: {}",
                key.shown()
            ));
        }
        Ok(())
    }
}

impl Step for AuthorizedKey {
    fn summary(&self) -> String {
        let which = match (&self.spec.from, &self.keys[..]) {
            (Some(from), _) => from.display().to_string(),
            (_, [one]) => one.shown(),
            (_, many) => format!("{} keys", many.len()),
        };
        let word = if self.spec.state == file::State::Absent { "no authorized key" } else { "authorized key" };
        format!("{word} of {}: {which}", self.spec.user)
    }

    fn inputs(&self) -> Vec<Input> {
        self.spec.from.iter().map(|p| Input::File(p.clone())).collect()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![self.read()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (path, keys) = (self.path(), self.keys(seen)?);
        let now = file::look(seen, &self.read(), &path)?;
        let lines: Vec<&str> = now.map(|(_, text)| text.lines().collect()).unwrap_or_default();
        let holds_key = |l: &str| !l.trim().is_empty() && !l.trim_start().starts_with('#');
        let wanted = |l: &str| keys.iter().any(|k| k.is_in(l));
        let (mut target, mut what): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        if self.spec.state == file::State::Absent {
            target.extend(lines.iter().filter(|l| !wanted(l)).map(|l| (*l).to_owned()));
            what.extend(
                keys.iter().filter(|k| lines.iter().any(|l| k.is_in(l))).map(|k| format!("remove {}", k.shown())),
            );
        } else {
            let keep = |l: &&&str| !self.spec.exclusive || wanted(l) || !holds_key(l);
            target.extend(lines.iter().filter(keep).map(|l| (*l).to_owned()));
            let gone = lines.len() - target.len();
            for key in &keys {
                if !lines.iter().any(|l| key.is_in(l)) {
                    self.usable(key, seen.host.version)?;
                    target.push(key.to_string());
                    what.push(format!("add {}", key.shown()));
                }
            }
            if gone > 0 {
                what.push(format!("remove {gone} other(s)"));
            }
        }
        let count = |lines: &[&str]| format!("{} key(s)", lines.iter().filter(|l| holds_key(l)).count());
        let mut changes = Vec::new();
        if !what.is_empty() {
            let text: String = target.iter().map(|l| format!("{l}\n")).collect();
            let after: Vec<&str> = target.iter().map(String::as_str).collect();
            let mut actions = Vec::new();
            if now.is_none() {
                actions.push(Action::Run(Command::new("mkdir -p").arg(self.directory())));
            }
            // The file as it was; a folder that was made stays.
            let undo = match now {
                Some((listed, text)) => earlier(&path, text, listed.mode),
                None => Undo::step("file", serde_json::json!({ "path": path, "state": "absent" })),
            };
            // Written beside it and moved into place, so a broken connection leaves the old keys.
            actions.push(Action::Upload { source: Source::Bytes(text.into_bytes()), path, mode: MODE });
            changes.push(Change {
                summary: format!("authorized keys of {}: {}", self.spec.user, what.join(", ")),
                before: count(&lines),
                after: count(&after),
                actions,
                undo,
                ..Change::default()
            });
        } else if let Some((l, _)) = now.filter(|(l, _)| l.mode != MODE)
            && self.spec.state == file::State::Present
        {
            changes.push(Change {
                summary: format!("mode of {path} (for the owner only, saved over a reboot)"),
                before: format!("{:04o}", l.mode),
                after: format!("{MODE:04o}"),
                actions: vec![Action::Run(Command::new("chmod").arg(format!("{MODE:04o}")).arg(&path))],
                undo: Undo::step("file", as_it_is(&path, None, l.mode)),
                ..Change::default()
            });
        }
        Ok(changes)
    }
}
