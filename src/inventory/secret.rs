//! Where a secret comes from, and reading it. Its value lives in `SecretString` from the first moment on.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use secrecy::SecretString;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use super::Surroundings;
use crate::playbook::{Problem, Span};

/// Where a secret comes from.
#[derive(Clone)]
pub enum Source {
    /// Written down.
    Plain(SecretString),
    /// An environment variable.
    Env(String),
    /// A file's content without its last line end.
    File(String),
    /// The first line that a command prints.
    Command(String),
    /// Asked on the terminal.
    Prompt,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str("a password in plain text"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {path}"),
            Self::Command(command) => write!(f, "command {command:?}"),
            Self::Prompt => f.write_str("the terminal"),
        }
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;
        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = Source;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or one of {env: NAME}, {file: PATH}, {command: \"...\"}, {prompt: true}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Source, E> {
                Ok(Source::Plain(SecretString::from(text.to_owned())))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Source, A::Error> {
                const KEYS: &[&str] = &["env", "file", "command", "prompt"];
                let Some(key) = map.next_key::<String>()? else {
                    return Err(de::Error::custom("an empty mapping names no source of a secret"));
                };
                let source = match key.as_str() {
                    "env" => Source::Env(map.next_value()?),
                    "file" => Source::File(map.next_value()?),
                    "command" => Source::Command(map.next_value()?),
                    "prompt" => {
                        if !map.next_value::<bool>()? {
                            return Err(de::Error::custom("`prompt: false` leaves no source of the secret"));
                        }
                        Source::Prompt
                    }
                    other => return Err(de::Error::unknown_field(other, KEYS)),
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(de::Error::custom("a secret comes from one place, and two are named"));
                }
                Ok(source)
            }
        }
        deserializer.deserialize_any(SourceVisitor)
    }
}

/// Reads secrets, each source once.
pub struct Vault<'a> {
    around: &'a Surroundings<'a>,
    base: &'a Path,
    /// What each source gave; `None` if it failed, which is told once.
    done: HashMap<String, Option<SecretString>>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

impl<'a> Vault<'a> {
    /// A vault that resolves relative files against `base`.
    pub fn new(around: &'a Surroundings<'a>, base: &'a Path) -> Self {
        Self { around, base, done: HashMap::new(), warnings: Vec::new() }
    }

    /// Reads a secret; `Ok(None)` if its source has failed before. `what` says what it is for ("password of esx1"); `at` is where it is asked for.
    pub fn open(&mut self, source: &Source, what: &str, at: &Span) -> Result<Option<SecretString>, Box<Problem>> {
        let id = match source {
            Source::Plain(secret) => return Ok(Some(secret.clone())),
            // One prompt in the defaults serves all hosts.
            Source::Prompt => format!("prompt at {}", at.place()),
            other => format!("{other:?}"),
        };
        if let Some(known) = self.done.get(&id) {
            return Ok(known.clone());
        }
        self.done.insert(id.clone(), None);
        let text = self.read(source, what).map_err(|(why, help)| {
            Box::new(Problem::at(at, format!("cannot get the {what}: {why}"), "asked for here").help(help))
        })?;
        if text.is_empty() {
            let problem = Problem::at(at, format!("the {what} is empty"), "asked for here");
            return Err(Box::new(problem.help(format!("{source:?} gave nothing"))));
        }
        let secret = SecretString::from(text);
        self.done.insert(id, Some(secret.clone()));
        Ok(Some(secret))
    }

    fn read(&mut self, source: &Source, what: &str) -> Result<String, (String, String)> {
        match source {
            Source::Plain(_) => Err(("it is written down".into(), String::new())),
            Source::Env(name) => (self.around.env)(name).ok_or_else(|| {
                (
                    format!("the environment variable {name} is not set"),
                    format!("set it for this run: {name}=... esxprep ..., or export it"),
                )
            }),
            Source::File(file) => {
                let path = self.around.path(file, self.base);
                let shown = path.display();
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| (format!("{shown}: {e}"), "create the file with mode 0600".to_owned()))?;
                if others_can_read(&path) {
                    self.warnings.push(format!("{shown} holds a secret and others can read it: chmod 600 {shown}"));
                }
                let text = text.strip_suffix('\n').unwrap_or(&text);
                Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
            }
            Source::Command(command) => {
                // Its standard error stays the terminal's: password managers ask there for their passphrase.
                let output = Command::new("/bin/sh")
                    .args(["-c", command])
                    .stdin(Stdio::inherit())
                    .stderr(Stdio::inherit())
                    .output()
                    .map_err(|e| (format!("`{command}` cannot be run: {e}"), "is /bin/sh there?".to_owned()))?;
                if !output.status.success() {
                    return Err((
                        format!("`{command}` ended with {}", output.status),
                        "run it in a terminal to see why; it must print the secret as its first line".into(),
                    ));
                }
                let text = String::from_utf8(output.stdout)
                    .map_err(|_| (format!("`{command}` printed something that is not UTF-8"), String::new()))?;
                Ok(text.lines().next().unwrap_or_default().to_owned())
            }
            Source::Prompt => (self.around.ask)(&format!("{what}: ")).map_err(|e| {
                (
                    format!("nobody can be asked: {e}"),
                    "run it in a terminal, or use {env: NAME}, {file: PATH} or {command: \"...\"}".to_owned(),
                )
            }),
        }
    }
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

/// Asks on the terminal, without echo.
pub fn ask(prompt: &str) -> std::io::Result<String> {
    let terminal = console::Term::stderr();
    if !terminal.is_term() {
        return Err(std::io::Error::other("there is no terminal"));
    }
    terminal.write_str(prompt)?;
    terminal.read_secure_line()
}
