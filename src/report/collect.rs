//! What a run's events come to, by host: the ground of the final table, of JUnit and of HTML.

use indexmap::IndexMap;

use crate::engine::events::{ControlEvent, Event, EventKind, HostResult, Status, StepEvent};
use crate::hardening::{self, Baseline};

/// Tells what is known of a baseline by its name.
pub(super) type Lookup = fn(&str) -> Option<&'static Baseline>;

/// Where titles, severities and the identifiers of DISA come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts(pub Lookup);

impl Default for Facts {
    fn default() -> Self {
        Self(hardening::baseline)
    }
}

/// A run as far as its events tell.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub run: String,
    pub playbook: String,
    pub mode: String,
    pub steps: usize,
    pub started: String,
    /// Time of the last event.
    pub last: String,
    /// In the order of the run's start, then of appearance.
    pub hosts: IndexMap<String, HostRecord>,
    /// Notes on the whole run.
    pub notes: Vec<String>,
    /// Wall time, when the run ended in order.
    pub seconds: Option<f64>,
    /// What is known of baselines.
    pub facts: Facts,
}

/// One host.
#[derive(Debug, Default)]
pub(super) struct HostRecord {
    pub address: Option<String>,
    pub version: Option<String>,
    pub build: u64,
    /// Time of the first event.
    pub since: Option<String>,
    /// Time of its end.
    pub ended: Option<String>,
    /// With the time at which each ended.
    pub steps: Vec<(String, StepEvent)>,
    /// What became of its controls.
    pub controls: Vec<ControlEvent>,
    pub reboots: Vec<Reboot>,
    pub notes: Vec<String>,
    pub error: Option<HostError>,
    pub result: Option<HostResult>,
}

/// Why a host was given up.
#[derive(Debug, Clone)]
pub(super) struct HostError {
    pub text: String,
    pub unreachable: bool,
}

/// A reboot, with the times of the command and of the host's return.
#[derive(Debug, Clone)]
pub(super) struct Reboot {
    pub from: String,
    pub to: Option<String>,
    pub seconds: Option<f64>,
    pub reasons: Vec<String>,
}

impl Collected {
    /// Takes the next event in.
    pub fn event(&mut self, event: &Event) {
        self.last.clone_from(&event.time);
        if self.run.is_empty() {
            self.run.clone_from(&event.run);
            self.started.clone_from(&event.time);
        }
        match &event.kind {
            EventKind::RunStarted { playbook, mode, hosts, steps } => {
                self.playbook.clone_from(playbook);
                self.mode.clone_from(mode);
                self.steps = *steps;
                for host in hosts {
                    self.hosts.entry(host.clone()).or_default();
                }
            }
            EventKind::HostConnecting { host, address } => self.host(host, event).address = Some(address.clone()),
            EventKind::HostConnected { host, version, build } => {
                let record = self.host(host, event);
                record.version = Some(version.clone());
                record.build = *build;
            }
            EventKind::Step(step) => {
                self.host(&step.host, event).steps.push((event.time.clone(), step.clone()));
            }
            EventKind::Control(control) => self.host(&control.host, event).controls.push(control.clone()),
            EventKind::HostRebooting { host, reasons } => self.host(host, event).reboots.push(Reboot {
                from: event.time.clone(),
                to: None,
                seconds: None,
                reasons: reasons.clone(),
            }),
            EventKind::HostBack { host, seconds } => {
                if let Some(reboot) = self.host(host, event).reboots.last_mut() {
                    reboot.to = Some(event.time.clone());
                    reboot.seconds = Some(*seconds);
                }
            }
            EventKind::HostFinished(result) => {
                let record = self.host(&result.host, event);
                record.ended = Some(event.time.clone());
                record.result = Some(result.clone());
            }
            EventKind::HostFailed { host, error, unreachable } => {
                self.host(host, event).error = Some(HostError { text: error.clone(), unreachable: *unreachable });
            }
            EventKind::Note { host: Some(host), text } => self.host(host, event).notes.push(text.clone()),
            EventKind::Note { host: None, text } => self.notes.push(text.clone()),
            EventKind::Phase { host, .. } | EventKind::Making { host, .. } => {
                self.host(host, event);
            }
            EventKind::RunFinished { seconds, .. } => self.seconds = Some(*seconds),
        }
    }

    fn host(&mut self, name: &str, event: &Event) -> &mut HostRecord {
        let record = self.hosts.entry(name.to_owned()).or_default();
        record.since.get_or_insert_with(|| event.time.clone());
        record
    }

    /// Whether the run changes nothing (`check`, `verify`).
    pub fn read_only(&self) -> bool {
        matches!(self.mode.as_str(), "check" | "verify")
    }
}

impl HostRecord {
    /// The host's own account, or, where the run broke off before it, what the steps add up to.
    pub fn result(&self, name: &str) -> HostResult {
        if let Some(result) = &self.result {
            return result.clone();
        }
        let count = |wanted: &[Status]| self.steps.iter().filter(|(_, s)| wanted.contains(&s.status)).count();
        HostResult {
            host: name.to_owned(),
            ok: count(&[Status::Ok]),
            changed: count(&[Status::Changed, Status::WouldChange]),
            failed: count(&[Status::Failed]),
            skipped: count(&[Status::Skipped]),
            reboots: self.reboots.iter().filter(|r| r.to.is_some()).count(),
            ..HostResult::default()
        }
    }
}
