//! The records of a lab besides its journal: ports that were chosen, how far each host is, how long phases take.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Times kept of each phase; the oldest go.
const KEPT_TIMES: usize = 20;

/// A forward from this machine into a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// What it is for: `ssh`, `https`, or the user's word.
    pub purpose: String,
    /// Address on this machine.
    pub address: String,
    /// Port on this machine.
    pub host: u16,
    /// Port in the guest.
    pub guest: u16,
}

/// Ports that were chosen, by host: the same after every start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ports(pub BTreeMap<String, Vec<Port>>);

impl Ports {
    /// The port on this machine for a host's purpose.
    pub fn of(&self, host: &str, purpose: &str) -> Option<&Port> {
        self.0.get(host)?.iter().find(|port| port.purpose == purpose)
    }

    /// Whether a port of this machine is given to some host.
    pub fn taken(&self, port: u16) -> bool {
        self.0.values().flatten().any(|p| p.host == port)
    }

    /// Sets a host's port; one of the same purpose is replaced.
    pub fn set(&mut self, host: &str, port: Port) {
        let ports = self.0.entry(host.to_owned()).or_default();
        ports.retain(|p| p.purpose != port.purpose);
        ports.push(port);
    }

    /// Takes a host's port of this purpose away.
    pub fn unset(&mut self, host: &str, purpose: &str) -> Option<Port> {
        let ports = self.0.get_mut(host)?;
        let at = ports.iter().position(|p| p.purpose == purpose)?;
        Some(ports.remove(at))
    }
}

/// How far a host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// The last stage that ended well.
    pub stage: String,
    /// When, RFC 3339.
    pub time: String,
    /// What the stage was made from (a digest): another one means that it must be done again.
    pub from: String,
}

/// How far each host is, by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stages(pub BTreeMap<String, Reached>);

impl Stages {
    /// Notes that a host's stage ended well, now.
    pub fn reach(&mut self, host: &str, stage: &str, from: &str) {
        let reached = Reached { stage: stage.to_owned(), time: super::now(), from: from.to_owned() };
        self.0.insert(host.to_owned(), reached);
    }

    /// Whether the host's last good stage is this one, made from the same.
    pub fn is_at(&self, host: &str, stage: &str, from: &str) -> bool {
        self.0.get(host).is_some_and(|r| r.stage == stage && r.from == from)
    }
}

/// How long each phase took in earlier runs, in seconds, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PhaseTimes(pub BTreeMap<String, Vec<f64>>);

impl PhaseTimes {
    /// Notes a phase that ended well.
    pub fn note(&mut self, phase: &str, took: Duration) {
        let times = self.0.entry(phase.to_owned()).or_default();
        times.push(took.as_secs_f64());
        let extra = times.len().saturating_sub(KEPT_TIMES);
        times.drain(..extra);
    }

    /// The usual time: the median of those kept, so that one run on a busy machine does not shift it. None before
    /// the first run.
    pub fn usual(&self, phase: &str) -> Option<Duration> {
        let mut times: Vec<f64> = self.0.get(phase)?.iter().copied().filter(|t| t.is_finite() && *t >= 0.0).collect();
        times.sort_by(f64::total_cmp);
        let (low, high) = (times.get(times.len().checked_sub(1)? / 2)?, times.get(times.len() / 2)?);
        Duration::try_from_secs_f64((low + high) / 2.0).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_time_is_the_median_of_the_last_runs() {
        let mut times = PhaseTimes::default();
        assert_eq!(times.usual("boot"), None);
        times.note("boot", Duration::from_secs(10));
        assert_eq!(times.usual("boot"), Some(Duration::from_secs(10)));
        times.note("boot", Duration::from_secs(12));
        assert_eq!(times.usual("boot"), Some(Duration::from_secs(11)));
        times.note("boot", Duration::from_secs(900));
        assert_eq!(times.usual("boot"), Some(Duration::from_secs(12)));
        for _ in 0..30 {
            times.note("boot", Duration::from_secs(1));
        }
        assert_eq!(times.0["boot"].len(), KEPT_TIMES);
        assert_eq!(times.usual("boot"), Some(Duration::from_secs(1)));
        times.0.insert("odd".into(), vec![f64::NAN, -1.0, f64::INFINITY]);
        assert_eq!(times.usual("odd"), None);
        times.0.insert("none".into(), vec![]);
        assert_eq!(times.usual("none"), None);
    }

    #[test]
    fn ports_are_replaced_by_purpose() {
        let mut ports = Ports::default();
        let port = |host| Port { purpose: "ssh".into(), address: "127.0.0.1".into(), host, guest: 22 };
        ports.set("h1", port(2201));
        ports.set("h2", port(2202));
        ports.set("h1", port(2203));
        assert_eq!(ports.of("h1", "ssh").unwrap().host, 2203);
        assert!(ports.taken(2202) && !ports.taken(2201));
        assert_eq!(ports.unset("h1", "ssh").unwrap().host, 2203);
        assert!(ports.unset("h1", "ssh").is_none() && ports.unset("h3", "ssh").is_none());
    }

    #[test]
    fn a_stage_made_from_something_else_is_not_reached() {
        let mut stages = Stages::default();
        stages.reach("h1", "install", "abc");
        assert!(stages.is_at("h1", "install", "abc"));
        assert!(!stages.is_at("h1", "install", "abd") && !stages.is_at("h1", "run", "abc"));
    }
}
