//! `audit_records`: whether a host keeps audit records, and whether it sends them to its log hosts.
//!
//! Room and directory come before the storage is switched on: records of the small default storage may fill the RAM
//! disk that holds /var. Options and labels are those of hardening guides for 7.0 and 8.0.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{record, truth};
use super::sysargs::Given;
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::{Command, HostFacts, Output, Version, vimdump};

/// The kind.
pub const KIND: Kind = Kind {
    name: "audit_records",
    about: "Audit records: kept on the host, sent to the log hosts (7.0 and later)",
    example: "\
- audit_records:
    capacity: 100
    local: true
    remote: true
",
    parse: parse_as::<AuditRecords>,
    schema: |generator| generator.subschema_for::<AuditSpec>(),
};

/// Audit records of the host. Sending them needs log hosts: that is a `syslog` step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditSpec {
    /// Whether records are kept on the host.
    #[serde(default)]
    local: Option<bool>,
    /// Whether records are sent to the log hosts.
    #[serde(default)]
    remote: Option<bool>,
    /// How much room they have at least, in MiB. A storage never shrinks, so more than this is right.
    #[serde(default)]
    capacity: Option<u32>,
    /// The directory of the storage, an absolute path. Changing it switches a storage that is on off and on again.
    #[serde(default, deserialize_with = "super::sysargs::given")]
    #[schemars(with = "Option<String>")]
    directory: Given<String>,
    /// The storage must be where it outlives a reboot. Without `directory`, one that is not is for a person.
    #[serde(default)]
    persistent: Option<bool>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "AuditSpec")]
pub struct AuditRecords {
    local: Option<bool>,
    remote: Option<bool>,
    capacity: Option<u32>,
    directory: Given<String>,
    persistent: bool,
}

impl TryFrom<AuditSpec> for AuditRecords {
    type Error = String;

    fn try_from(spec: AuditSpec) -> Result<Self, String> {
        let AuditSpec { local, remote, capacity, directory, persistent } = spec;
        if let Given::Value(dir) = &directory
            && !dir.starts_with('/')
        {
            return Err(format!("{dir:?} is not an absolute path, such as /vmfs/volumes/datastore1/audit"));
        }
        let persistent = persistent.unwrap_or_default();
        if local.is_none() && remote.is_none() && capacity.is_none() && directory == Given::No && !persistent {
            return Err("nothing is asked for: give `local`, `remote`, `capacity`, `directory` or `persistent`".into());
        }
        Ok(Self { local, remote, capacity, directory, persistent })
    }
}

fn get() -> Command {
    Command::esxcli("system auditrecords get")
}

/// Where /scratch is: a directory of a volume, or one in memory.
fn scratch() -> Command {
    Command::new("vim-cmd hostsvc/advopt/view ScratchConfig.CurrentScratchLocation")
}

/// The labels are the properties' names in hardening guides for 7.0 and 8.0, with blanks. Of the output itself nothing
/// is at hand: not verified.
const SINCE: Version = Version::new(7, 0);
const STORED: &str = "Audit Record Storage Active";
const CAPACITY: &str = "Audit Record Storage Capacity";
const DIRECTORY: &str = "Audit Record Storage Directory";
/// The second is what an edition of the guide for 7.0 prints in its example.
const SENT: [&str; 2] = ["Audit Record Remote Transmission Active", "Audit Remote Host Enabled"];

/// What the host says.
struct Now {
    stored: bool,
    sent: bool,
    capacity: u32,
    directory: String,
}

impl Now {
    fn of(seen: &Seen<'_>) -> Result<Self, StepError> {
        let record = record(seen, &get(), "keeping audit records", SINCE)?;
        let sent = SENT.into_iter().find(|label| record.contains_key(*label)).unwrap_or(SENT[0]);
        // A unit after the number is tolerated.
        let number = record.get(CAPACITY).and_then(|v| v.split_whitespace().next()?.parse().ok());
        Ok(Self {
            stored: truth(&record, STORED, &get())?,
            sent: truth(&record, sent, &get())?,
            capacity: number
                .ok_or_else(|| StepError::unreadable(&get(), format!("no `{CAPACITY}:` with a number of MiB")))?,
            directory: record.get(DIRECTORY).cloned().unwrap_or_default(),
        })
    }

    /// Whether there is room enough. 7.0 reports 4 after a reboot although all files of a larger storage are there, so
    /// on 7.0 that number says something only while nothing is kept.
    fn has_room(&self, want: u32, version: Version) -> bool {
        const SMALLEST: u32 = 4;
        self.capacity >= want || version < Version::new(8, 0) && self.stored && self.capacity >= SMALLEST
    }
}

fn same_path(a: &str, b: &str) -> bool {
    a.trim_end_matches('/') == b.trim_end_matches('/')
}

fn shown(text: &str) -> String {
    if text.is_empty() { "none" } else { text }.to_owned()
}

fn yes_no(yes: bool) -> String {
    if yes { "on" } else { "off" }.to_owned()
}

fn switch(local: bool, on: bool) -> Action {
    Action::Run(Command::esxcli(match (local, on) {
        (true, true) => "system auditrecords local enable",
        (true, false) => "system auditrecords local disable",
        (false, true) => "system auditrecords remote enable",
        (false, false) => "system auditrecords remote disable",
    }))
}

impl AuditRecords {
    fn switched(&self, local: bool, now: bool, want: Option<bool>) -> Option<Change> {
        let want = want.filter(|want| *want != now)?;
        let (summary, key) = if local { ("kept on the host", "local") } else { ("sent to the log hosts", "remote") };
        Some(Change {
            summary: format!("audit records {summary}"),
            before: yes_no(now),
            after: yes_no(want),
            actions: vec![switch(local, want)],
            undo: Undo::step("audit_records", json!({ key: now })),
            ..Change::default()
        })
    }

    /// The storage elsewhere: that is refused while it is on.
    fn moved(&self, now: &Now, stored: bool) -> Result<Option<Change>, StepError> {
        let want = match &self.directory {
            Given::Value(want) if !same_path(&now.directory, want) => want,
            _ => return Ok(None),
        };
        let mut actions = vec![Action::Run(Command::esxcli("system auditrecords local set").opt("--directory", want))];
        if stored {
            actions.insert(0, switch(true, false));
            actions.push(switch(true, true));
        }
        Ok(Some(Change {
            summary: "directory of the audit records".into(),
            before: shown(&now.directory),
            after: want.clone(),
            actions,
            undo: Some(&now.directory)
                .filter(|dir| dir.starts_with('/'))
                .and_then(|dir| Undo::step("audit_records", json!({ "directory": dir }))),
            ..Change::default()
        }))
    }

    /// Whether the storage outlives a reboot.
    fn lasts(&self, now: &Now, seen: &Seen<'_>) -> Result<bool, StepError> {
        if !self.at_scratch(now) {
            return Ok(now.directory.starts_with("/vmfs/volumes/"));
        }
        let output = seen.output(&scratch())?;
        let dump = vimdump::parse(&output.stdout).map_err(|e| StepError::unreadable(&scratch(), e))?;
        let at = dump.find("value").and_then(|v| v.as_str()).unwrap_or_default();
        if at.is_empty() {
            return Err(StepError::unreadable(&scratch(), "no `value` that tells where /scratch is"));
        }
        Ok(at.starts_with("/vmfs/volumes/"))
    }

    fn at_scratch(&self, now: &Now) -> bool {
        now.directory == "/scratch" || now.directory.starts_with("/scratch/")
    }

    fn judged(&self, now: &Now, seen: &Seen<'_>, changes: &mut Vec<Change>) -> Result<(), StepError> {
        if self.persistent && !self.lasts(now, seen)? {
            changes.push(Change::finding(
                "storage of the audit records",
                format!("{}, which a reboot empties", shown(&now.directory)),
                "a directory on a datastore",
                "give `directory` a path below /vmfs/volumes, or give the host a scratch location on a disk",
            ));
        }
        if self.directory == Given::Empty && !self.persistent && changes.is_empty() {
            return Err(StepError::NotJudged(format!(
                "audit records are kept in {}; whether that is the right directory is for a person, or give `directory`",
                shown(&now.directory)
            )));
        }
        Ok(())
    }
}

impl Step for AuditRecords {
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(local) = self.local {
            parts.push(if local { "kept on the host".to_owned() } else { "not kept on the host".to_owned() });
        }
        if let Some(remote) = self.remote {
            parts.push(if remote { "sent to the log hosts".to_owned() } else { "not sent".to_owned() });
        }
        parts.extend(self.capacity.map(|n| format!("{n} MiB")));
        match &self.directory {
            Given::Value(dir) => parts.push(format!("in {dir}")),
            _ if self.persistent => parts.push("on persistent storage".to_owned()),
            _ => {}
        }
        format!("audit records {}", parts.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        let asks = self.persistent && Now::of(seen).is_ok_and(|now| self.at_scratch(&now));
        if asks { vec![scratch()] } else { Vec::new() }
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system auditrecords", "esxcli system syslog"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = Now::of(seen)?;
        let mut changes = Vec::new();
        // A storage that shall be off anyway is switched off before it moves, one that shall be on after.
        let local = self.switched(true, now.stored, self.local);
        let off_first = local.is_some() && now.stored;
        let (first, then) = if off_first { (local, None) } else { (None, local) };
        changes.extend(first);
        let moved = self.moved(&now, now.stored && !off_first)?;
        let moves = moved.is_some();
        changes.extend(moved);
        if let Some(want) = self.capacity
            && !now.has_room(want, seen.host.version)
        {
            let set = Command::esxcli("system auditrecords local set").opt("--size", want.to_string());
            changes.push(Change {
                summary: "room for audit records".into(),
                before: format!("{} MiB", now.capacity),
                after: format!("{want} MiB"),
                actions: vec![Action::Run(set)],
                // Nothing: the storage grows, and never shrinks again.
                undo: None,
                ..Change::default()
            });
        }
        changes.extend(then);
        changes.extend(self.switched(false, now.sent, self.remote));
        // The guide for 7.0 has the log service read its settings again, that for 8.0 says that they act at once.
        if seen.host.version < Version::new(8, 0)
            && let Some(last) = changes.last_mut()
        {
            last.actions.push(Action::Run(Command::esxcli("system syslog reload")));
        }
        if !moves {
            self.judged(&now, seen, &mut changes)?;
        }
        Ok(changes)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        Now::of(seen).map_or(serde_json::Value::Null, |now| {
            json!({"local": now.stored, "remote": now.sent, "capacity": now.capacity, "directory": now.directory})
        })
    }
}

#[cfg(test)]
mod tests;
