//! What happens in a run, as data. Reporters, the journal and `--output json` read these and nothing else.

use serde::{Deserialize, Serialize};

/// One event. Serialized as one JSON object a line: `event`, `time` (RFC 3339), `run`, then the kind's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Event {
    /// When, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The run's id.
    pub run: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// An event of this run, now.
    pub fn now(run: &str, kind: EventKind) -> Self {
        Self { time: now_rfc3339(), run: run.to_owned(), kind }
    }

    /// The event as one line of JSON without its line end: `event`, `time` and `run` first, then the kind's
    /// fields. Control characters that JSON would leave bare (DEL, C1) are escaped: the line may go to a terminal.
    pub fn to_line(&self) -> serde_json::Result<String> {
        line_of(serde_json::to_value(self)?)
    }

    /// The line for everybody's eyes, as on standard output: how a change is taken back is for the journal, which only
    /// its owner can read, since a file's earlier contents may be anything.
    pub fn to_shown_line(&self) -> serde_json::Result<String> {
        if !matches!(self.kind, EventKind::Making { .. }) {
            return self.to_line();
        }
        let mut event = self.clone();
        if let EventKind::Making { changes, .. } = &mut event.kind {
            changes.iter_mut().for_each(|change| change.undo = None);
        }
        event.to_line()
    }
}

/// An event's value as a line: see [`Event::to_line`].
pub(crate) fn line_of(event: serde_json::Value) -> serde_json::Result<String> {
    let mut fields = match event {
        serde_json::Value::Object(fields) => fields,
        other => return serde_json::to_string(&other),
    };
    let mut ordered = serde_json::Map::with_capacity(fields.len());
    for key in ["event", "time", "run"] {
        if let Some(value) = fields.shift_remove(key) {
            ordered.insert(key.to_owned(), value);
        }
    }
    ordered.extend(fields);
    let line = serde_json::to_string(&ordered)?;
    if !line.contains(|c| ('\u{7f}'..='\u{9f}').contains(&c)) {
        return Ok(line);
    }
    // Outside of strings JSON is ASCII, so every such character is inside one and may be escaped.
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        match c {
            '\u{7f}'..='\u{9f}' => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

/// The time now, RFC 3339, UTC, with milliseconds: `2026-11-22T18:45:01.250Z`.
pub fn now_rfc3339() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}

/// Kinds of event. The first group is a contract; the second is for people watching and may grow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// The run begins.
    RunStarted {
        /// The playbook's name.
        playbook: String,
        /// `apply`, `check` or `verify`.
        mode: String,
        /// Names of all hosts.
        hosts: Vec<String>,
        /// Number of steps in the playbook (before loops).
        steps: usize,
    },
    /// Logged in and identified.
    HostConnected {
        /// Host.
        host: String,
        /// For example `6.5.0`.
        version: String,
        /// Build number.
        build: u64,
    },
    /// A step ended on a host.
    Step(StepEvent),
    /// The host was told to reboot.
    HostRebooting {
        /// Host.
        host: String,
        /// What asked for it.
        reasons: Vec<String>,
    },
    /// The reboot is proved and the management agent answers.
    HostBack {
        /// Host.
        host: String,
        /// From the reboot command to ready.
        seconds: f64,
    },
    /// What became of a control on a host, all its steps together: sent when the work on the host is over.
    Control(ControlEvent),
    /// Nothing more will happen on this host.
    HostFinished(HostResult),
    /// The run ended.
    RunFinished {
        /// Number of hosts.
        hosts: usize,
        /// Steps that matched already, over all hosts.
        ok: usize,
        /// Steps that changed something (or would).
        changed: usize,
        /// Steps that failed.
        failed: usize,
        /// Hosts that could not be reached or logged in to, or were lost.
        unreachable: usize,
        /// Wall time.
        seconds: f64,
    },

    /// Connecting begins.
    HostConnecting {
        /// Host.
        host: String,
        /// Address and port.
        address: String,
    },
    /// A step is about to change the host: what is there before, and how to bring it back. It is in the journal before
    /// the first command is sent, so a run that is killed can be taken back as well.
    Making {
        /// Host.
        host: String,
        /// Number of the step in the playbook.
        step: usize,
        /// Kind of step.
        kind: String,
        /// Name of the step.
        name: String,
        /// What will be changed.
        changes: Vec<ChangeShown>,
    },
    /// Where a host is between step events.
    Phase {
        /// Host.
        host: String,
        /// For example `reading 14 outputs`, `uploading esx-ui.vib`, `waiting for hostd`.
        doing: String,
        /// Done so far, where it can be counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<u64>,
        /// Of how many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
    },
    /// Something a person should know that is no failure.
    Note {
        /// Host, or none for the whole run.
        host: Option<String>,
        /// One line.
        text: String,
    },
    /// A host could not be used (any more): not reached, refused, lost.
    HostFailed {
        /// Host.
        host: String,
        /// The whole error text.
        error: String,
        /// Whether the login never succeeded (exit code 4 when true for every host).
        unreachable: bool,
    },
}

impl EventKind {
    /// Gives the host of the event another name.
    pub fn rename_host(&mut self, name: impl Fn(&str) -> String) {
        match self {
            Self::RunStarted { hosts, .. } => hosts.iter_mut().for_each(|host| *host = name(host)),
            Self::HostConnected { host, .. }
            | Self::HostRebooting { host, .. }
            | Self::HostBack { host, .. }
            | Self::HostConnecting { host, .. }
            | Self::Phase { host, .. }
            | Self::Making { host, .. }
            | Self::HostFailed { host, .. }
            | Self::Note { host: Some(host), .. } => *host = name(host),
            Self::Step(step) => step.host = name(&step.host),
            Self::Control(control) => control.host = name(&control.host),
            Self::HostFinished(result) => result.host = name(&result.host),
            Self::RunFinished { .. } | Self::Note { host: None, .. } => {}
        }
    }
}

/// One step's result on one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct StepEvent {
    /// Host.
    pub host: String,
    /// Number of the step in the playbook, from 1; a loop's items share it.
    pub step: usize,
    /// Kind, for example `vib`.
    pub kind: String,
    /// The step's name, or its summary.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// What changed, or would.
    pub changes: Vec<ChangeShown>,
    /// Time for the step on this host.
    pub seconds: f64,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why it was skipped, or what else is worth knowing (`waits for the reboot`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The control that the step is (part of).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What the step says of its control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<ControlVerdict>,
}

/// What was found of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlVerdict {
    /// It has no meaning on this host.
    NotApplicable,
    /// Read, and as asked.
    Pass,
    /// Not read, or what was read does not tell: a person must look.
    NotJudged,
    /// Read, and not as asked.
    Fail,
}

/// A control on a host, all its steps together: the worst verdict counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ControlEvent {
    /// Host.
    pub host: String,
    /// The control's id, for example `ESXI-80-000005`.
    pub id: String,
    /// The name of its first step.
    pub name: String,
    /// The baseline that the playbook names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// What was found.
    pub verdict: ControlVerdict,
    /// Whether this run changed something for it.
    #[serde(default)]
    pub changed: bool,
    /// It is configured and counts from the next boot on: not what runs now.
    #[serde(default)]
    pub pending_reboot: bool,
    /// Whether what fails is left to a person: esxprep cannot, or was not told enough.
    #[serde(default)]
    pub by_hand: bool,
    /// What was found, what is wanted, why it is not judged, what to do.
    pub details: Vec<String>,
    /// Why it is accepted as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiver: Option<WaiverShown>,
}

/// Why a control is accepted as it is on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct WaiverShown {
    /// The reason given.
    pub reason: String,
    /// The last day of it, `2027-06-30`.
    pub until: String,
    /// Whether that day is over: then the waiver counts for nothing any more.
    pub expired: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Matched already.
    Ok,
    /// Changed and verified.
    Changed,
    /// With `--check` or `verify`: differs.
    WouldChange,
    /// `when` was false, or a tag left it out.
    Skipped,
    /// Failed.
    Failed,
}

/// A change as people see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChangeShown {
    /// One line.
    pub summary: String,
    /// Value before.
    pub before: String,
    /// Value after.
    pub after: String,
    /// The commands that make it, secrets left out; none when a person must, or the next boot does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// What only a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<String>,
    /// The step that takes it back, in the event `making`: what `apply --undo` runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<crate::steps::Undo>,
}

/// What a run came to on one host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostResult {
    /// Host.
    pub host: String,
    /// Steps that matched already.
    pub ok: usize,
    /// Steps changed, or that would change.
    pub changed: usize,
    /// Steps failed.
    pub failed: usize,
    /// Steps skipped.
    pub skipped: usize,
    /// Steps of an `apply` that found what only a person can change.
    #[serde(default)]
    pub by_hand: usize,
    /// Reboots done.
    pub reboots: usize,
    /// Commands sent to the host.
    pub commands: u64,
    /// Round trips after the login.
    pub round_trips: u64,
    /// Wall time.
    pub seconds: f64,
}
