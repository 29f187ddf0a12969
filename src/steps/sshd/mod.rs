//! `sshd`: keywords of the SSH server's configuration.
//!
//! From 8.0 on esxcli holds them: `esxcli system ssh server config`. Before, they stand in `/etc/ssh/sshd_config`; on
//! 7.0 the server itself says what counts (`sshd -T`), on older releases the file is judged. The file is edited on this
//! side and sent as a whole.

pub mod config;
mod rules;

#[cfg(test)]
mod tests;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use self::config::Set;
use super::accept::Accept;
use super::file::{Listed, look};
use super::service::status;
use super::sysargs::Scalar;
use super::{Action, Change, Effect, Kind, Seen, Source, Step, StepError, Undo, parse_as};
use crate::esxi::failure::{Class, failure};
use crate::esxi::services::is_running;
use crate::esxi::{Command, HostFacts, Output, Version};

/// The kind.
pub const KIND: Kind = Kind {
    name: "sshd",
    about: "Keywords of the SSH server's configuration, without locking esxprep out",
    example: "\
- sshd: {key: ciphers, value: \"aes256-gcm@openssh.com,aes256-ctr\", accept: {subset_of: [aes256-gcm@openssh.com, aes256-ctr]}}
",
    parse: parse_as::<Sshd>,
    schema: |generator| generator.subschema_for::<SshdSpec>(),
};

/// One keyword (`key` with `value`, or `absent: true`), or several at once (`values`).
///
/// A keyword that no line sets differs from every value, on 8.0 and later and up to 6.7: what is configured is judged,
/// not what the server does by itself. On 7.0 the server is asked, and what it does counts.
///
/// What may end esxprep's own way in (`PermitRootLogin no`, `AllowGroups`, no way to log in by password ...) is done last, when
/// everything before succeeded; what certainly does (ciphers of which esxprep has none, `AllowUsers` without the user
/// of the session) is refused.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SshdSpec {
    /// The keyword as in sshd_config(5), in any case: `banner`, `PermitTunnel`.
    #[serde(default)]
    key: Option<String>,
    /// The value wanted: a word, a number, `yes` or `no`. Empty: the keyword alone, as in `AcceptEnv` without a name.
    #[serde(default)]
    value: Option<Scalar>,
    /// What passes besides `value`. Without a `value` (empty counts as none then) the keyword is only judged.
    #[serde(default)]
    accept: Option<Accept>,
    /// Several keywords: name and value.
    #[serde(default)]
    values: IndexMap<String, Scalar>,
    /// The keyword is not to be set; on 8.0 and later it is put back to what ESXi ships.
    #[serde(default)]
    absent: bool,
    /// Make the change although esxprep, as it is set up, cannot log in after it.
    #[serde(default)]
    i_know_this_may_lock_esxprep_out: bool,
}

/// What a keyword is to be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    To(String),
    Absent,
    /// Nobody said what to set; `accept` alone judges.
    Judged,
}

impl Wanted {
    fn value(&self) -> Option<&str> {
        if let Self::To(value) = self { Some(value) } else { None }
    }
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SshdSpec")]
pub struct Sshd {
    wanted: Vec<(String, Wanted)>,
    accept: Option<Accept>,
    anyway: bool,
}

/// Where a release keeps the keywords.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `esxcli system ssh server config`: 8.0 and later.
    Esxcli,
    /// The file, and what the server makes of it: 7.0.
    Effective,
    /// The file.
    File,
}

const PATH: &str = "/etc/ssh/sshd_config";
/// The sticky bit: such files below /etc are saved to the boot bank.
const STICKY: u32 = 0o1000;

/// The STIG for 7.0 asks the server, those for 6.7 and 8.0 the file and esxcli.
fn form(version: Version) -> Form {
    if version >= Version::new(8, 0) {
        Form::Esxcli
    } else if version >= Version::new(7, 0) {
        Form::Effective
    } else {
        Form::File
    }
}

fn list() -> Command {
    Command::esxcli("system ssh server config list")
}

fn file() -> Command {
    Command::new("cat /etc/ssh/sshd_config")
}

fn listing() -> Command {
    Command::new("ls -ld /etc/ssh/sshd_config && sha256sum /etc/ssh/sshd_config")
}

fn server_says() -> Command {
    Command::new("/usr/lib/vmware/openssh/bin/sshd -T")
}

fn user() -> Command {
    Command::new("id -un")
}

/// `yes` and `no` as sshd has them, whatever YAML made of them.
fn text(value: &Scalar) -> String {
    match value {
        Scalar::Bool(b) => if *b { "yes" } else { "no" }.to_owned(),
        other => other.to_string().trim().to_owned(),
    }
}

impl TryFrom<SshdSpec> for Sshd {
    type Error = String;

    fn try_from(spec: SshdSpec) -> Result<Self, String> {
        if let Some(accept) = &spec.accept {
            accept.check()?;
            if spec.key.is_none() || spec.absent {
                return Err("`accept` goes with one `key`, and not with `absent: true`".into());
            }
        }
        let given = spec.value.as_ref().map(text).filter(|v| spec.accept.is_none() || !v.is_empty());
        let mut wanted: Vec<(String, Wanted)> = Vec::new();
        match (spec.key, given, spec.absent) {
            (Some(key), Some(value), false) => wanted.push((key, Wanted::To(value))),
            (Some(key), None, true) => wanted.push((key, Wanted::Absent)),
            (Some(key), None, false) if spec.accept.is_some() => wanted.push((key, Wanted::Judged)),
            (Some(_), Some(_), true) => return Err("give `value` or `absent: true`, not both".into()),
            (Some(_), None, false) => return Err("`key` needs a `value`, `accept`, or `absent: true`".into()),
            (None, None, false) if !spec.values.is_empty() => {}
            (None, None, false) => return Err("give `key` and `value`, or `values`".into()),
            (None, ..) => return Err("`value` and `absent` need a `key`".into()),
        }
        wanted.extend(spec.values.iter().map(|(key, value)| (key.clone(), Wanted::To(text(value)))));
        for (n, (key, value)) in wanted.iter().enumerate() {
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
                return Err(format!("{key:?} is not a keyword of sshd_config; write it like PermitTunnel"));
            }
            if !rules::has_one_value(key) {
                return Err(format!(
                    "{key} has no single value that could be set; put the whole of {PATH} in place with a `file` step"
                ));
            }
            if wanted[..n].iter().any(|(k, _)| k.eq_ignore_ascii_case(key)) {
                return Err(format!("{key} is given twice"));
            }
            if let Some(value) = value.value().filter(|v| !config::is_value(v)) {
                return Err(format!("{value:?} cannot stand behind {key} on one line of {PATH}"));
            }
        }
        Ok(Self { wanted, accept: spec.accept, anyway: spec.i_know_this_may_lock_esxprep_out })
    }
}

/// What a host says of the keywords.
#[derive(Debug, Clone, Copy)]
enum Said<'a> {
    Rows(&'a [crate::esxi::forms::Record]),
    /// The file, and what the server prints if it was asked and could say.
    Text(&'a str, Option<&'a str>),
}

impl Said<'_> {
    /// What a keyword is set to; `None`: nothing sets it.
    fn found(&self, key: &str) -> Result<Option<String>, StepError> {
        match self {
            Self::Rows(rows) => {
                let row = rows.iter().find(|r| r.get("Key").is_some_and(|k| k.eq_ignore_ascii_case(key)));
                // An empty value and no row at all: the server's own default.
                Ok(row.and_then(|r| r.get("Value")).filter(|v| !v.is_empty()).cloned())
            }
            Self::Text(_, Some(server)) if config::effective(server, key).is_some() => {
                Ok(config::effective(server, key))
            }
            // The server does not print keywords of lists that are empty, nor some of ESXi's own.
            Self::Text(text, server) => match config::set_in(text, key) {
                Set::To(value) => Ok(Some(value)),
                Set::Absent if server.is_some() && config::adds_up(key) => Ok(Some(String::new())),
                Set::Absent => Ok(None),
                Set::Unsure => Err(StepError::NotJudged(format!(
                    "{PATH} includes other files, which may set {key} first; look at them, or run `{}` on the host",
                    server_says().text()
                ))),
            },
        }
    }
}

/// `cat` of the file; a failure of it is an error.
fn file_text<'a>(seen: &Seen<'a>) -> Result<&'a str, StepError> {
    let output = seen.raw(&file())?;
    if output.code == 0 {
        return Ok(&output.stdout);
    }
    let said = format!("{} {}", output.stdout.trim(), output.stderr.trim());
    Err(StepError::Command {
        command: file().shown().to_owned(),
        message: if said.trim().is_empty() { format!("exit code {}", output.code) } else { said.trim().to_owned() },
        advice: Some(format!("Without {PATH} nothing can be said of the SSH server; put ESXi's own file back.")),
    })
}

/// What the server prints; `None` when there is no such program.
fn server_text<'a>(seen: &Seen<'a>) -> Result<Option<&'a str>, StepError> {
    let output = seen.raw(&server_says())?;
    let said = format!("{} {}", output.stdout, output.stderr);
    if output.code == 0 && !output.stdout.trim().is_empty() {
        return Ok(Some(&output.stdout));
    }
    if output.code == 0 || output.code == 127 || said.contains("not found") || said.contains("No such file") {
        return Ok(None);
    }
    Err(StepError::Command {
        command: server_says().shown().to_owned(),
        message: said.split_whitespace().collect::<Vec<_>>().join(" "),
        advice: Some(format!("The SSH server does not accept its own {PATH}: mend the line that it names.")),
    })
}

/// A value for a message.
fn shown(value: Option<&str>) -> String {
    value
        .map_or_else(|| "not set".to_owned(), |v| if v.is_empty() { "set to nothing".to_owned() } else { v.to_owned() })
}

impl Sshd {
    fn passes(&self, wanted: &Wanted, found: Option<&str>, said: &Said<'_>) -> bool {
        let accepted = self.accept.as_ref().zip(found).is_some_and(|(accept, f)| accept.passes(f));
        accepted
            || match (wanted, found) {
                (Wanted::To(value), Some(found)) => config::same(value, found),
                // esxcli does not tell an empty value from none.
                (Wanted::To(value), None) => value.is_empty() && matches!(said, Said::Rows(_)),
                (Wanted::Absent, found) => found.is_none(),
                (Wanted::Judged, _) => false,
            }
    }

    /// Refuses what would lock esxprep out.
    fn guard(&self, key: &str, wanted: &Wanted, seen: &Seen<'_>) -> Result<(), StepError> {
        let Some(value) = wanted.value().filter(|_| !self.anyway) else { return Ok(()) };
        let mut name = "root".to_owned();
        if rules::needs_user(key) {
            let output = seen.raw(&user())?;
            // Without an answer: the user that esxprep logs in as unless it is told another.
            name = output.stdout.split_whitespace().next().unwrap_or("root").to_owned();
        }
        rules::check(key, value, &name).map_err(|why| {
            StepError::Refused(format!(
                "sshd {key} {value}: {why}, so that nothing could log in to take it back. Change the value; if you do \
                 have another way in, write `i_know_this_may_lock_esxprep_out: true`"
            ))
        })
    }

    /// The arguments that set a keyword to a value that was there.
    fn back(&self, key: &str, value: &str) -> serde_json::Value {
        let mut args = json!({"key": key, "value": value});
        if rules::check(key, value, "root").is_err()
            && let Some(args) = args.as_object_mut()
        {
            args.insert("i_know_this_may_lock_esxprep_out".to_owned(), json!(true));
        }
        args
    }

    fn finding(&self, key: &str, found: Option<&str>) -> Change {
        let after = self.accept.as_ref().map(Accept::describe).unwrap_or_default();
        let advice = format!("the playbook does not say what {key} shall be here: give the step a `value`");
        Change::finding(format!("sshd {key}"), shown(found), after, advice)
    }

    fn by_esxcli(&self, key: &str, wanted: &Wanted, found: Option<&str>) -> Change {
        let set = Command::esxcli("system ssh server config set").opt("-k", key.to_ascii_lowercase());
        let action = match wanted.value().filter(|v| !v.is_empty()) {
            Some(value) if value.starts_with('-') => set.opt("--value", value),
            Some(value) => set.opt("-v", value),
            // That `--reset` puts the shipped value back, and takes out what ESXi does not ship, is not verified.
            None => set.words("--reset"),
        };
        let undo = match found {
            Some(value) => self.back(key, value),
            None => json!({"key": key, "absent": true}),
        };
        Change {
            summary: format!("sshd {key}"),
            before: shown(found),
            after: shown(wanted.value()),
            actions: vec![Action::Run(action)],
            undo: Undo::step(KIND.name, undo),
            ..Change::default()
        }
    }

    /// One change of the file for all that differs.
    fn by_file(&self, differs: &[(&str, &Wanted, Option<String>)], seen: &Seen<'_>) -> Result<Change, StepError> {
        let text = file_text(seen)?;
        let (listed, sum) = look(seen, &listing(), PATH)?
            .ok_or_else(|| StepError::Refused(format!("{PATH} is not there any more; put ESXi's own file back")))?;
        let sum = sum.split_whitespace().next().unwrap_or("");
        let digest: String = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
        if sum != digest {
            return Err(StepError::Refused(format!(
                "{PATH} has bytes that are no text, or changed while it was read: nothing was written. Run this again; if it \
                 stays so, edit the file on the host"
            )));
        }
        let new =
            differs.iter().fold(text.to_owned(), |text, (key, wanted, _)| config::edited(&text, key, wanted.value()));
        if new == text {
            return Err(StepError::Refused(format!(
                "{PATH} says {} already, and the SSH server does something else: another file that is included, or the way \
                 it is started, wins. Look at the whole of `{}` on the host",
                differs.iter().map(|d| format!("{} {}", d.0, shown(d.1.value()))).collect::<Vec<_>>().join(", "),
                server_says().text()
            )));
        }
        let mut actions = vec![Action::Upload {
            source: Source::Bytes(new.clone().into_bytes()),
            path: PATH.into(),
            mode: listed.mode | STICKY,
        }];
        // Up to 7.0 inetd starts a server for each login, so that the next one has the new file anyway: not verified. A
        // restart of the listener ends no session (the words of one are recorded on 6.7: initd-ssh-restart).
        let state = seen.raw(&status("SSH"))?;
        let runs = is_running(&format!("{}\n{}", state.stdout, state.stderr)) == Some(true);
        if runs {
            actions.push(Action::Run(Command::new("/etc/init.d/SSH restart")));
        }
        let line = |found: fn(&(&str, &Wanted, Option<String>)) -> String| match differs {
            [one] => found(one),
            all => all.iter().map(|d| format!("{} {}", d.0, found(d))).collect::<Vec<_>>().join(", "),
        };
        Ok(Change {
            summary: format!("sshd {}", differs.iter().map(|d| d.0).collect::<Vec<_>>().join(", ")),
            before: line(|d| shown(d.2.as_deref())),
            after: line(|d| shown(d.1.value())),
            actions,
            effect: Effect { restarts: runs.then(|| "SSH".to_owned()), ..Effect::default() },
            undo: self.file_undo(differs, text, &new, listed),
            ..Change::default()
        })
    }

    /// The keywords' own lines as they were, if that gives the same bytes; else the whole file.
    fn file_undo(
        &self,
        differs: &[(&str, &Wanted, Option<String>)],
        old: &str,
        new: &str,
        listed: Listed,
    ) -> Option<Undo> {
        let written: Vec<Option<&str>> = differs.iter().map(|(key, ..)| config::written(old, key)).collect();
        let back =
            differs.iter().zip(&written).fold(new.to_owned(), |text, (d, value)| config::edited(&text, d.0, *value));
        let saved = listed.mode & STICKY != 0;
        // A value as this sshd wrote it may be one that the step would refuse to take.
        let sayable = written.iter().flatten().all(|v| config::is_value(v));
        if back == old && saved && sayable {
            match (differs, written.as_slice()) {
                ([(key, ..)], [Some(value)]) => return Undo::step(KIND.name, self.back(key, value)),
                ([(key, ..)], [None]) => return Undo::step(KIND.name, json!({"key": key, "absent": true})),
                (_, all) if all.iter().all(Option::is_some) => {
                    let values: serde_json::Map<String, serde_json::Value> =
                        differs.iter().zip(all).map(|(d, v)| (d.0.to_owned(), json!(v))).collect();
                    let args = json!({"values": values, "i_know_this_may_lock_esxprep_out": true});
                    return Undo::step(KIND.name, args);
                }
                _ => {}
            }
        }
        let mode = format!("{:04o}", listed.mode);
        Undo::step("file", json!({"path": PATH, "content": old, "mode": mode, "persist": saved}))
    }
}

impl Step for Sshd {
    fn summary(&self) -> String {
        let one = |(key, wanted): &(String, Wanted)| match wanted {
            Wanted::To(value) => format!("sshd {key} {value}").trim_end().to_owned(),
            Wanted::Absent => format!("sshd without {key}"),
            Wanted::Judged => {
                format!("sshd {key} is {}", self.accept.as_ref().map(Accept::describe).unwrap_or_default())
            }
        };
        match self.wanted.as_slice() {
            [first] => one(first),
            [first, rest @ ..] => format!("{} and {} more keywords", one(first), rest.len()),
            [] => String::new(),
        }
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        let first = match form(host.version) {
            Form::Esxcli => vec![list()],
            Form::Effective => vec![server_says(), file()],
            Form::File => vec![file()],
        };
        first.into_iter().chain(self.only_to_plan(host)).collect()
    }

    fn only_to_plan(&self, host: &HostFacts) -> Vec<Command> {
        let mut out = Vec::new();
        let sets = self.wanted.iter().any(|(_, w)| *w != Wanted::Judged);
        if sets && form(host.version) != Form::Esxcli {
            out.extend([listing(), status("SSH")]);
        }
        if self.wanted.iter().any(|(key, w)| w.value().is_some() && rules::needs_user(key)) {
            out.push(user());
        }
        out
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let rows;
        let said = match form(seen.host.version) {
            Form::Esxcli => {
                let output = seen.raw(&list())?;
                if failure(output).is_some_and(|f| f.class == Class::UnknownCommand) {
                    return Err(StepError::NotApplicable(format!(
                        "ESXi {} has no `{}`; 8.0 and later have it, and older releases {PATH}",
                        seen.host.version,
                        list().text()
                    )));
                }
                rows = seen.table(&list())?;
                Said::Rows(&rows)
            }
            Form::Effective => Said::Text(file_text(seen)?, server_text(seen)?),
            Form::File => Said::Text(file_text(seen)?, None),
        };
        let mut changes = Vec::new();
        let mut differs = Vec::new();
        for (key, wanted) in &self.wanted {
            let found = match (&said, wanted) {
                // The server prints its defaults too: whether a line is there only the file tells.
                (Said::Text(text, _), Wanted::Absent) => {
                    config::has(text, key).then(|| config::written(text, key).map(config::normal).unwrap_or_default())
                }
                _ => said.found(key)?,
            };
            if self.passes(wanted, found.as_deref(), &said) {
                continue;
            }
            if *wanted == Wanted::Judged {
                changes.push(self.finding(key, found.as_deref()));
                continue;
            }
            self.guard(key, wanted, seen)?;
            match said {
                Said::Rows(_) => changes.push(self.by_esxcli(key, wanted, found.as_deref())),
                Said::Text(..) => differs.push((key.as_str(), wanted, found)),
            }
        }
        if !differs.is_empty() {
            changes.push(self.by_file(&differs, seen)?);
        }
        Ok(changes)
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // FipsMode is the same switch; the file and the server's answer are no esxcli commands and read again anyway.
        Some(&["esxcli system ssh", "esxcli system security fips140"])
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let rows = seen.table(&list()).unwrap_or_default();
        let said = match form(seen.host.version) {
            Form::Esxcli => Some(Said::Rows(&rows)),
            Form::Effective => file_text(seen).ok().map(|text| Said::Text(text, server_text(seen).ok().flatten())),
            Form::File => file_text(seen).ok().map(|text| Said::Text(text, None)),
        };
        let found = |key: &str| said.and_then(|s| s.found(key).ok()).flatten();
        let values: serde_json::Map<String, serde_json::Value> =
            self.wanted.iter().filter_map(|(key, _)| Some((key.clone(), found(key)?.into()))).collect();
        json!({ "value": values.values().next(), "values": values })
    }

    fn ends_ssh(&self) -> bool {
        self.wanted.iter().any(|(key, wanted)| match wanted {
            Wanted::Judged => false,
            other => rules::is_door(key, other.value(), self.anyway),
        })
    }
}
