//! What became of the controls of a run, ready to be shown: with titles and severities, waivers counted in, sorted.

use std::collections::BTreeMap;

use super::collect::{Collected, HostRecord};
use super::text::block;
use crate::engine::events::{ControlEvent, ControlVerdict, Status};
use crate::hardening::{Baseline, Control, Severity};

/// What people are told of a control. The order is that of the lists: what needs attention first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Outcome {
    /// Not as asked, and it counts.
    Fail,
    /// Configured, and counts from the next boot on.
    Pending,
    /// Nobody knows: a person must look.
    NotJudged,
    /// Not as asked, and accepted as it is.
    Waived,
    /// As asked, because this run changed it.
    Fixed,
    /// As asked.
    Pass,
    /// It has no meaning on this host.
    NotApplicable,
}

impl Outcome {
    /// All of them, in the order of the totals.
    pub const ALL: [Self; 7] =
        [Self::Pass, Self::Fixed, Self::Fail, Self::Pending, Self::Waived, Self::NotApplicable, Self::NotJudged];

    fn of(event: &ControlEvent) -> Self {
        match event.verdict {
            ControlVerdict::Fail if event.waiver.as_ref().is_some_and(|w| !w.expired) => Self::Waived,
            ControlVerdict::Fail if event.pending_reboot => Self::Pending,
            ControlVerdict::Fail => Self::Fail,
            ControlVerdict::NotJudged => Self::NotJudged,
            ControlVerdict::NotApplicable => Self::NotApplicable,
            ControlVerdict::Pass if event.changed => Self::Fixed,
            ControlVerdict::Pass => Self::Pass,
        }
    }

    /// For people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Pending => "pending reboot",
            Self::NotJudged => "not judged",
            Self::Waived => "waived",
            Self::Fixed => "fixed",
            Self::Pass => "pass",
            Self::NotApplicable => "not applicable",
        }
    }
}

/// A control on a host.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub event: &'a ControlEvent,
    pub facts: Option<&'a Control>,
    pub outcome: Outcome,
    /// A step of it failed: something went wrong, it is no matter of the host's settings alone.
    pub broken: bool,
}

impl Shown<'_> {
    /// What the control asks: the baseline's title, else the name of its first step.
    pub fn title(&self) -> &str {
        self.facts.map(|f| f.title.as_str()).filter(|t| !t.is_empty()).unwrap_or(&self.event.name)
    }

    pub fn severity(&self) -> Option<Severity> {
        self.facts.map(|f| f.severity)
    }

    /// What was found, what is wanted, what to do: one or more lines. The waiver is said apart from it.
    pub fn found(&self) -> String {
        let waived = self.event.waiver.as_ref().map(|w| format!("waived until {}: {}", w.until, w.reason));
        let waived = waived.as_deref().unwrap_or_default();
        let details = self.event.details.iter().map(|detail| {
            let rest = detail.strip_suffix(waived).unwrap_or(detail);
            if rest.len() < detail.len() { rest.strip_suffix("; ").unwrap_or(rest) } else { rest }
        });
        details.filter(|d| !d.is_empty()).map(block).collect::<Vec<_>>().join("\n")
    }

    /// What is to be said of its waiver, in one sentence.
    pub fn waiver(&self) -> Option<String> {
        let waiver = self.event.waiver.as_ref()?;
        let (reason, until) = (block(&waiver.reason), block(&waiver.until));
        Some(match (waiver.expired, self.event.verdict) {
            (true, ControlVerdict::Fail) => format!("waiver expired on {until}, so this counts again: {reason}"),
            (true, _) => format!("waiver expired on {until}: {reason}"),
            (false, ControlVerdict::Pass | ControlVerdict::NotApplicable) => {
                format!("waived until {until}, and no longer needed: {reason}")
            }
            (false, _) => format!("waived until {until}: {reason}"),
        })
    }
}

/// The baselines that a run names.
pub(super) type Baselines = BTreeMap<String, &'static Baseline>;

/// What is known of the baselines that the run's controls are of.
pub(super) fn baselines(run: &Collected) -> Baselines {
    let mut all = Baselines::new();
    for control in run.hosts.values().flat_map(|h| &h.controls) {
        let Some(name) = &control.baseline else { continue };
        if !all.contains_key(name)
            && let Some(found) = (run.facts.0)(name)
        {
            all.insert(name.clone(), found);
        }
    }
    all
}

/// The controls of a host in the order in which they were told: that of the playbook.
pub(super) fn shown<'a>(host: &'a HostRecord, known: &'a Baselines) -> Vec<Shown<'a>> {
    let broken = |id: &str| host.steps.iter().any(|(_, s)| s.status == Status::Failed && s.id.as_deref() == Some(id));
    host.controls
        .iter()
        .map(|event| Shown {
            facts: event.baseline.as_ref().and_then(|b| known.get(b)).and_then(|b| b.control(&event.id)),
            outcome: Outcome::of(event),
            broken: broken(&event.id),
            event,
        })
        .collect()
}

/// What needs attention first, and of that the worst; else the order of the playbook.
pub(super) fn sort(controls: &mut [Shown<'_>]) {
    controls.sort_by_key(|c| (c.outcome, std::cmp::Reverse(c.severity())));
}

/// How many of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally([usize; 7]);

impl Tally {
    pub fn of(controls: &[Shown<'_>]) -> Self {
        let mut tally = Self::default();
        controls.iter().for_each(|c| tally.0[c.outcome as usize] += 1);
        tally
    }

    pub fn add(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a += b);
    }

    pub fn get(&self, outcome: Outcome) -> usize {
        self.0[outcome as usize]
    }

    /// `58 pass (2 of them fixed), 3 fail, 1 waived`: none of what there is none of, but passes and fails always.
    pub fn sentence(&self) -> String {
        let mut parts = Vec::new();
        for outcome in Outcome::ALL {
            let n = self.get(outcome);
            match outcome {
                Outcome::Pass => {
                    let fixed = self.get(Outcome::Fixed);
                    let fixed_said = if fixed > 0 { format!(" ({fixed} of them fixed)") } else { String::new() };
                    parts.push(format!("{} pass{fixed_said}", n + fixed));
                }
                Outcome::Fixed => {}
                Outcome::Fail => parts.push(format!("{n} fail")),
                _ if n > 0 => parts.push(format!("{n} {}", outcome.word())),
                _ => {}
            }
        }
        parts.join(", ")
    }
}
