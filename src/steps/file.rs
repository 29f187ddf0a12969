//! `file`: a file with these contents and permissions, saved over a reboot where that is possible.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::sysargs::Pattern;
use super::{Action, Change, Effect, Input, Kind, Seen, Source, Step, StepError, Undo, parse_as};
use crate::esxi::command::quote;
use crate::esxi::{Command, HostFacts, Output};

pub(super) mod lines;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "file",
    about: "A file has these contents and permissions, lacks or has certain lines, or is absent",
    example: "- file: {path: /etc/motd, content: \"managed by esxprep\\n\", mode: \"0644\"}\n",
    parse: parse_as::<File>,
    schema: <Spec as JsonSchema>::json_schema,
};

/// The sticky bit: on ESXi the mark of a file below /etc that goes into the saved state.
const STICKY: u32 = 0o1000;

/// Puts a file on the host.
///
/// ESXi's root file system is in memory. What lasts: datastores, the boot banks, and files below /etc that carry
/// the sticky bit (`T` in `ls -l`), which are saved into the boot bank. So below /etc the bit is added to the mode unless `persist:
/// false`. A file anywhere else (/tmp, /var, /opt, /usr ...) is gone after a reboot. Earlier contents come back by undo
/// where they were looked at: with `without_lines` and with empty `content`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// Absolute path on the host. Missing directories above it are made.
    pub path: String,
    /// The whole contents.
    #[serde(default)]
    pub content: Option<String>,
    /// The same as `content`.
    #[serde(default)]
    pub contents: Option<String>,
    /// A file beside the playbook with the contents.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Lines that must not be there, as a regular expression: they are taken out, the rest stays as it is. A file that
    /// is not there has none.
    #[serde(default)]
    pub without_lines: Option<Pattern>,
    /// A line that must be there, as a regular expression. Judged only.
    #[serde(default)]
    pub contains: Option<Pattern>,
    /// Permissions in octal, quoted: `"0644"`. Default: as they are; `0644` for a new file.
    #[serde(default, deserialize_with = "mode")]
    #[schemars(with = "Option<String>")]
    pub mode: Option<u32>,
    /// Whether the file is to be there.
    #[serde(default)]
    pub state: State,
    /// Survive a reboot. Default: true below /etc.
    #[serde(default)]
    pub persist: Option<bool>,
}

/// Present or absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// There.
    #[default]
    Present,
    /// Not there.
    Absent,
}

/// The desired state of one file.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Spec")]
pub struct File(Spec);

fn mode<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Text(String),
        Other(serde::de::IgnoredAny),
    }
    let fail = |text: String| serde::de::Error::custom(text);
    match Option::<Raw>::deserialize(d)? {
        None => Ok(None),
        Some(Raw::Other(_)) => Err(fail(
            "`mode` must be in quotes, like \"0644\": a bare number is decimal in one YAML and octal in another".into(),
        )),
        Some(Raw::Text(t)) => match u32::from_str_radix(t.trim_start_matches("0o"), 8) {
            Ok(m) if m <= 0o7777 => Ok(Some(m)),
            _ => Err(fail(format!("`mode` {t:?} is not an octal mode like \"0644\""))),
        },
    }
}

/// Makes a folder. Not where a datastore should be that is not mounted: what is written there would be in memory, and in
/// the datastore's way later.
fn make_folder(folder: &str) -> Command {
    let make = Command::new("mkdir -p").arg(folder);
    let Some(below) = folder.strip_prefix("/vmfs/volumes/") else { return make };
    let name = below.split('/').next().unwrap_or_default();
    let volume = quote(&format!("/vmfs/volumes/{name}"));
    let say = quote(&format!("there is no datastore at /vmfs/volumes/{name}: see `esxcli storage filesystem list`"));
    Command::raw(format!("[ -d {volume} ] || {{ echo {say} >&2; exit 1; }}; {}", make.text()))
}

/// Whether what is written below this path is on a disk anyway.
fn on_disk(path: &str) -> bool {
    ["/vmfs/volumes/", "/bootbank/", "/altbootbank/", "/scratch/", "/locker/", "/productLocker/", "/store/"]
        .iter()
        .any(|p| path.starts_with(p))
}

/// Refuses what is no plain absolute path.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') || path.contains('\n') {
        return Err(format!("`path` {path:?} must be the absolute path of a file on the host"));
    }
    if path.split('/').any(|p| p == "..") {
        return Err(format!("`path` {path:?} must not contain `..`"));
    }
    Ok(())
}

impl TryFrom<Spec> for File {
    type Error = String;

    fn try_from(mut spec: Spec) -> Result<Self, String> {
        check_path(&spec.path)?;
        if spec.content.is_some() && spec.contents.is_some() {
            return Err("`content` and `contents` are the same: give one".into());
        }
        spec.content = spec.content.or(spec.contents.take());
        let lines = [spec.without_lines.is_some(), spec.contains.is_some()].into_iter().filter(|given| *given).count();
        if lines > 0 {
            if lines > 1
                || spec.content.is_some()
                || spec.from.is_some()
                || spec.mode.is_some()
                || spec.persist.is_some()
                || spec.state == State::Absent
            {
                return Err("`without_lines` and `contains` each go with `path` alone".into());
            }
            return Ok(Self(spec));
        }
        match (spec.state, &spec.content, &spec.from) {
            (State::Absent, None, None) if spec.mode.is_none() => {}
            (State::Absent, ..) => return Err("`state: absent` takes neither `content`, `from` nor `mode`".into()),
            (_, Some(_), Some(_)) => return Err("give either `content` or `from`, not both".into()),
            (_, None, None) if spec.mode.is_none() => {
                return Err("say what is wanted of the file: `content`, `from`, `mode` or `state: absent`".into());
            }
            _ => {}
        }
        if spec.persist == Some(true) && !spec.path.starts_with("/etc/") && !on_disk(&spec.path) {
            return Err(format!(
                "{} cannot survive a reboot: only files below /etc and on datastores do. Use such a path, or leave `persist` out",
                spec.path
            ));
        }
        Ok(Self(spec))
    }
}

/// The first line of `ls -ld`: kind of file and mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listed {
    pub kind: char,
    pub mode: u32,
}

/// Reads the mode out of an `ls -l` line such as `-rw------T    1 root ...`.
pub(super) fn listed(line: &str) -> Option<Listed> {
    let word: Vec<char> = line.split_whitespace().next()?.chars().collect();
    if word.len() < 10 {
        return None;
    }
    let mut mode = 0;
    for (i, c) in word[1..10].iter().enumerate() {
        let bit = 1 << (8 - i);
        let special = [STICKY << 2, STICKY << 1, STICKY][i / 3];
        match (c, i % 3) {
            ('-', _) => {}
            ('r', 0) | ('w', 1) | ('x', 2) => mode |= bit,
            ('s' | 't', 2) => mode |= bit | special,
            ('S' | 'T', 2) => mode |= special,
            _ => return None,
        }
    }
    Some(Listed { kind: word[0], mode })
}

/// What a read of `ls -ld PATH && ...` found: `None` when there is no such file, else the line's meaning and the
/// rest of the output.
pub(super) fn look<'a>(seen: &Seen<'a>, command: &Command, path: &str) -> Result<Option<(Listed, &'a str)>, StepError> {
    let output = seen.raw(command)?;
    let said = format!("{}{}", output.stdout, output.stderr);
    if output.code != 0 && said.contains("No such file") {
        return Ok(None);
    }
    let (line, rest) = output.stdout.split_once('\n').unwrap_or((output.stdout.as_str(), ""));
    match listed(line) {
        Some(l) if l.kind == '-' && output.code == 0 => Ok(Some((l, rest))),
        Some(l) if l.kind == 'l' => Err(StepError::Refused(format!(
            "{path} is a symbolic link ({}): name the file itself, so that the link is not replaced",
            line.split_once(" -> ").map_or("its target was not shown", |(_, t)| t)
        ))),
        Some(l) if l.kind == 'd' => Err(StepError::Refused(format!("{path} is a directory"))),
        _ => Err(StepError::Command {
            command: command.shown().to_owned(),
            message: if said.trim().is_empty() { format!("exit code {}", output.code) } else { said.trim().to_owned() },
            advice: None,
        }),
    }
}

impl File {
    /// Whether its text is looked at, and not its digest alone.
    fn by_text(&self) -> bool {
        self.0.without_lines.is_some() || self.0.contains.is_some() || self.0.content.as_deref() == Some("")
    }

    fn read(&self) -> Command {
        let ls = Command::new("ls -ld").arg(&self.0.path);
        if self.by_text() { ls.words("&& cat") } else { ls.words("&& sha256sum") }.arg(&self.0.path)
    }

    fn input(&self) -> Option<Input> {
        self.0.from.clone().map(Input::File)
    }

    fn persist(&self) -> bool {
        self.0.path.starts_with("/etc/") && self.0.persist != Some(false)
    }

    /// Mode wanted of a file that has this one now; `None`: whatever it is.
    fn mode(&self, now: Option<u32>) -> Option<u32> {
        match (self.0.mode, now, self.persist()) {
            (Some(m), _, true) => Some(m | STICKY),
            (Some(m), _, false) => Some(m),
            (None, Some(now), true) => Some(now | STICKY),
            (None, Some(_), false) => None,
            (None, None, true) => Some(0o644 | STICKY),
            (None, None, false) => Some(0o644),
        }
    }

    /// What is to be in it: source and SHA-256.
    fn wanted(&self, seen: &Seen<'_>) -> Result<Option<(Source, String)>, StepError> {
        if let Some(text) = &self.0.content {
            return Ok(Some((Source::Bytes(text.clone().into_bytes()), digest(text))));
        }
        let Some(input) = self.input() else { return Ok(None) };
        let shown = self.0.from.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
        let a = seen.artifacts.get(&input).ok_or(StepError::NotRead { command: shown })?;
        Ok(Some((Source::File(a.path.clone()), a.sha256.clone())))
    }
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

impl Step for File {
    fn summary(&self) -> String {
        let path = &self.0.path;
        match (self.0.state, &self.0.without_lines, &self.0.contains) {
            (State::Absent, ..) => format!("no file {path}"),
            (_, Some(pattern), _) => format!("file {path} without lines like {pattern}"),
            (_, _, Some(pattern)) => format!("file {path} with a line like {pattern}"),
            _ => format!("file {path}"),
        }
    }

    fn inputs(&self) -> Vec<Input> {
        self.input().into_iter().collect()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![self.read()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let path = &self.0.path;
        let now = look(seen, &self.read(), path)?;
        // Only what is saved with the state needs saving.
        let effect = Effect { transient: !path.starts_with("/etc/"), ..Effect::default() };
        if self.0.state == State::Absent {
            return Ok(now
                .map(|_| Change {
                    summary: format!("remove {path}"),
                    before: "present".into(),
                    after: "absent".into(),
                    actions: vec![Action::Run(Command::new("rm -f").arg(path))],
                    effect,
                    // No undo: only its digest was read, not what was in it.
                    ..Change::default()
                })
                .into_iter()
                .collect());
        }
        if self.by_text()
            && let Some(changes) = self.compare_text(now, effect.clone())?
        {
            return Ok(changes);
        }
        let wanted = self.wanted(seen)?;
        let printed = |rest: &str| rest.split_whitespace().next().unwrap_or("").to_owned();
        let sha_now = now.map(|(_, rest)| if self.by_text() { digest(rest) } else { printed(rest) });
        let mode_now = now.map(|(l, _)| l.mode);
        if wanted.is_none() && now.is_none() {
            return Err(StepError::Refused(format!(
                "{path} is not there, and the step has neither `content` nor `from`"
            )));
        }
        let mode = self.mode(mode_now);
        let mut changes = Vec::new();
        if let Some((source, sha)) = wanted
            && sha_now.as_deref() != Some(sha.as_str())
        {
            let mut actions = Vec::new();
            if now.is_none()
                && let Some((parent, _)) = path.rsplit_once('/').filter(|(p, _)| !p.is_empty())
            {
                actions.push(Action::Run(make_folder(parent)));
            }
            let mode = mode.or(mode_now).unwrap_or(0o644);
            actions.push(Action::Upload { source, path: path.clone(), mode });
            changes.push(Change {
                summary: format!("{} {path}", if now.is_some() { "replace" } else { "create" }),
                before: sha_now.map_or("absent".into(), |s| format!("sha256 {}", short(&s))),
                after: format!("sha256 {}, mode {mode:04o}", short(&sha)),
                actions,
                effect,
                // Of a file that was there only the digest was read. Directories that were made stay.
                undo: Undo::step("file", serde_json::json!({ "path": path, "state": "absent" }))
                    .filter(|_| now.is_none()),
                ..Change::default()
            });
        } else if let (Some(now), Some(mode)) = (mode_now, mode)
            && now != mode
        {
            let why = if now | STICKY == mode { " (so that it is saved)" } else { "" };
            changes.push(Change {
                summary: format!("mode of {path}{why}"),
                before: format!("{now:04o}"),
                after: format!("{mode:04o}"),
                actions: vec![Action::Run(Command::new("chmod").arg(format!("{mode:04o}")).arg(path))],
                effect,
                undo: Undo::step("file", lines::as_it_is(path, None, now)),
                ..Change::default()
            });
        }
        Ok(changes)
    }

    /// Taking keys away may take esxprep's own.
    fn ends_ssh(&self) -> bool {
        self.0.path.starts_with("/etc/ssh/keys-") && (self.0.state == State::Absent || self.by_text())
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let now = look(seen, &self.read(), &self.0.path).ok().flatten();
        serde_json::json!({ "path": self.0.path, "existed": now.is_some() })
    }
}

#[cfg(test)]
mod tests;
