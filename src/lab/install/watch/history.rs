//! How long phases take: usual times from earlier runs, and the limits where there are none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Phase;
use crate::lab::install::{Confidence, Evidence};

/// Times kept of a phase.
const KEPT: usize = 20;

/// What a phase may take on a machine with KVM.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The phase.
    pub phase: Phase,
    /// What it takes usually.
    pub usual: Duration,
    /// Without any change for so long, it is stalled.
    pub quiet: Duration,
    /// Longer than so long is told, even if something moves.
    pub most: Duration,
    /// Where that is known from.
    pub evidence: Evidence,
}

const GUESS: Evidence = Evidence { source: "estimate; not verified", confidence: Confidence::Low };
const PEERS: Evidence = Evidence {
    source: "public reports of nested installs: about 10 minutes for the install, 1 for a boot, 30 allowed",
    confidence: Confidence::Medium,
};

const fn limit_of(phase: Phase, usual: u64, quiet: u64, most: u64, evidence: Evidence) -> Limit {
    let seconds = Duration::from_secs;
    Limit { phase, usual: seconds(usual), quiet: seconds(quiet), most: seconds(most), evidence }
}

/// The limits by phase.
pub const LIMITS: [Limit; 8] = [
    limit_of(Phase::Firmware, 8, 60, 120, GUESS),
    limit_of(Phase::LoadingModules, 45, 120, 300, GUESS),
    limit_of(Phase::Installer, 120, 180, 600, GUESS),
    // An IDE disk was seen to stand still for five minutes at 27 % (6.5).
    limit_of(Phase::Copying, 360, 420, 1800, PEERS),
    limit_of(Phase::Installed, 20, 120, 180, GUESS),
    limit_of(Phase::Rebooting, 15, 60, 120, GUESS),
    limit_of(Phase::Booting, 90, 300, 900, PEERS),
    limit_of(Phase::SshUp, 1, 3600, 3600, GUESS),
];

pub(super) fn limit(phase: Phase) -> &'static Limit {
    LIMITS.iter().find(|limit| limit.phase == phase).unwrap_or(&LIMITS[0])
}

/// Times of earlier runs, by phase; written to disk by the caller.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Seconds of each phase, the newest last.
    times: BTreeMap<Phase, Vec<f64>>,
}

impl History {
    /// Adds a run.
    pub fn add(&mut self, took: &[(Phase, Duration)]) {
        for (phase, time) in took {
            let times = self.times.entry(*phase).or_default();
            times.push(time.as_secs_f64());
            let surplus = times.len().saturating_sub(KEPT);
            times.drain(..surplus);
        }
    }

    /// The median time of a phase. A file may hold anything: what is no time does not count.
    pub fn usual(&self, phase: Phase) -> Option<Duration> {
        let mut times: Vec<f64> =
            self.times.get(&phase)?.iter().copied().filter(|t| t.is_finite() && (0.0..1e7).contains(t)).collect();
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).map(|seconds| Duration::from_secs_f64(*seconds))
    }
}
