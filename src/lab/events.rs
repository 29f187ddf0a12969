//! What happens to a lab, as data: one stream of events that people, scripts and the timing history read.

use serde::{Deserialize, Serialize};

use crate::engine::events::{Event, EventKind};

/// One event of a lab. Serialized as one JSON object a line, in the same envelope as a playbook's events: `event`,
/// `time` (RFC 3339), `run`, then the kind's fields. The events of playbooks that a lab applies stand between them as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LabEvent {
    /// When, RFC 3339 with milliseconds, UTC.
    pub time: String,
    /// The run's id.
    pub run: String,
    /// What happened.
    #[serde(flatten)]
    pub kind: LabKind,
}

/// Kinds of event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum LabKind {
    /// The work on a lab begins.
    LabStarted {
        /// The lab's name.
        lab: String,
        /// `up`, `down`, `rebuild`, ...
        action: String,
        /// Names of its hosts.
        hosts: Vec<String>,
        /// The lab's folder.
        folder: String,
    },
    /// A phase of a host, or of the whole lab, begins or ends.
    LabPhase {
        /// The host; none: the whole lab.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// What is done, as `network`, `disks`, `install`, `boot ide`, `apply ide`, `prove usb`.
        phase: String,
        /// How it stands.
        status: PhaseStatus,
        /// How long it took, in seconds; when it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seconds: Option<f64>,
        /// How long it usually takes, in seconds: the median of earlier runs on this machine.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usual: Option<f64>,
        /// What was chosen and why, or what went wrong.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// Something a person should know that is no failure.
    LabNote {
        /// The host; none: the whole lab.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// One line.
        text: String,
    },
    /// A host runs as written.
    LabHostReady {
        /// The host.
        host: String,
        /// The address for SSH.
        address: String,
        /// The port for SSH.
        port: u16,
        /// Where its web interface answers, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        https: Option<String>,
        /// The management NIC's MAC address, as planned.
        mac: String,
        /// The hardware it runs on.
        stage: String,
    },
    /// A host did not get there.
    LabHostFailed {
        /// The host.
        host: String,
        /// The whole error text.
        error: String,
    },
    /// The work on the lab ended.
    LabFinished {
        /// The lab's name.
        lab: String,
        /// What was done.
        action: String,
        /// Hosts that are as wanted.
        ready: usize,
        /// Hosts that are not.
        failed: usize,
        /// Wall time.
        seconds: f64,
    },
}

/// How a phase stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseStatus {
    /// It begins.
    Started,
    /// It ended well.
    Done,
    /// It was done by an earlier run.
    Kept,
    /// It failed.
    Failed,
}

/// What a reporter of a lab gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Happening {
    /// An event of the lab itself.
    Lab(LabEvent),
    /// An event of a playbook that the lab applies.
    Playbook(Event),
}

impl Happening {
    /// The event as one line of JSON without its line end.
    ///
    /// # Errors
    /// None that was ever seen: all fields are plain data.
    pub fn to_line(&self) -> serde_json::Result<String> {
        match self {
            Self::Playbook(event) => event.to_shown_line(),
            Self::Lab(event) => crate::engine::events::line_of(serde_json::to_value(event)?),
        }
    }

    /// The host it is about.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Lab(event) => match &event.kind {
                LabKind::LabPhase { host, .. } | LabKind::LabNote { host, .. } => host.as_deref(),
                LabKind::LabHostReady { host, .. } | LabKind::LabHostFailed { host, .. } => Some(host),
                LabKind::LabStarted { .. } | LabKind::LabFinished { .. } => None,
            },
            Self::Playbook(event) => match &event.kind {
                EventKind::Step(step) => Some(&step.host),
                EventKind::Control(control) => Some(&control.host),
                EventKind::HostFinished(result) => Some(&result.host),
                EventKind::HostConnected { host, .. }
                | EventKind::HostRebooting { host, .. }
                | EventKind::HostBack { host, .. }
                | EventKind::HostConnecting { host, .. }
                | EventKind::Phase { host, .. }
                | EventKind::Making { host, .. }
                | EventKind::HostFailed { host, .. } => Some(host),
                EventKind::Note { host, .. } => host.as_deref(),
                EventKind::RunStarted { .. } | EventKind::RunFinished { .. } => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_begins_with_the_envelope_and_is_read_back() {
        let event = LabEvent {
            time: "2026-01-02T03:04:05.678Z".into(),
            run: "r1".into(),
            kind: LabKind::LabPhase {
                host: Some("esx1".into()),
                phase: "install".into(),
                status: PhaseStatus::Done,
                seconds: Some(1.5),
                usual: None,
                detail: Some("a \u{9b} in it".into()),
            },
        };
        let line = Happening::Lab(event.clone()).to_line().unwrap();
        assert!(
            line.starts_with(r#"{"event":"lab_phase","time":"2026-01-02T03:04:05.678Z","run":"r1","host":"esx1""#),
            "{line}"
        );
        assert!(!line.contains('\u{9b}') && !line.contains("usual"), "{line}");
        assert_eq!(serde_json::from_str::<LabEvent>(&line).unwrap(), event);
    }
}
