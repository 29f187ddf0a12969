//! What becomes of the controls of a playbook on one host: what their steps say, put together.

use indexmap::IndexMap;

use super::events::{ChangeShown, ControlEvent, ControlVerdict, Status, WaiverShown};
use super::step::Ended;
use crate::playbook::{Playbook, Waiver};

/// The controls of one host so far, in the playbook's order.
#[derive(Debug, Default)]
pub(super) struct Controls {
    found: IndexMap<String, Vec<Part>>,
}

/// What one step (or one item of its loop) says of its control.
#[derive(Debug, Clone)]
struct Part {
    step: usize,
    name: String,
    verdict: ControlVerdict,
    changed: bool,
    pending_reboot: bool,
    by_hand: bool,
    details: Vec<String>,
}

impl Controls {
    /// Notes how a step of a control ended.
    pub fn ended(&mut self, id: &str, step: usize, name: &str, ended: &Ended) {
        let Some(verdict) = ended.verdict else { return };
        let mut details: Vec<String> = ended.changes.iter().map(shown).collect();
        details.extend(ended.error.clone());
        details.extend(ended.note.clone().filter(|n| !n.is_empty()));
        let part = Part {
            step,
            name: name.to_owned(),
            verdict,
            changed: ended.status == Some(Status::Changed),
            pending_reboot: ended.pending_reboot,
            by_hand: ended.changes.iter().any(|c| c.by_hand.is_some()),
            details,
        };
        self.found.entry(id.to_owned()).or_default().push(part);
    }

    /// The reboot proved what a step had configured.
    pub fn proved(&mut self, id: &str, step: usize, name: &str) {
        for part in self.found.get_mut(id).into_iter().flatten() {
            if part.step == step && part.name == name && part.pending_reboot {
                part.pending_reboot = false;
                part.verdict = ControlVerdict::Pass;
            }
        }
    }

    /// The reboot showed that what a step had configured does not hold.
    pub fn disproved(&mut self, id: &str, step: usize, name: &str) {
        if let Some(parts) = self.found.get_mut(id) {
            parts.retain(|part| !(part.step == step && part.name == name && part.pending_reboot));
        }
    }

    /// One event a control. Controls whose steps were not all reached, because the work on the host ended before, are
    /// not judged.
    pub fn events(
        &self,
        playbook: &Playbook,
        host: &str,
        selected: impl Fn(&[String]) -> bool,
        ended: &str,
        today: &str,
    ) -> Vec<ControlEvent> {
        let mut all: IndexMap<&str, Vec<Part>> = IndexMap::new();
        for step in playbook.steps.iter().filter(|step| selected(&step.tags)) {
            let Some(id) = step.id.as_deref() else { continue };
            let parts = all.entry(id).or_default();
            let found = self.found.get(id).into_iter().flatten().filter(|part| part.step == step.number);
            let before = parts.len();
            parts.extend(found.cloned());
            // An empty loop has no result of its own; a step that was not reached has none either.
            if parts.len() == before && !ended.is_empty() {
                parts.push(Part {
                    step: step.number,
                    name: step.title().unwrap_or_else(|| step.kind.name.to_owned()),
                    verdict: ControlVerdict::NotJudged,
                    changed: false,
                    pending_reboot: false,
                    by_hand: false,
                    details: vec![ended.to_owned()],
                });
            }
        }
        all.into_iter()
            .filter_map(|(id, parts)| {
                let first = parts.first()?;
                let verdict = parts.iter().map(|p| p.verdict).max()?;
                let mut details: Vec<String> = Vec::new();
                for detail in parts.iter().filter(|p| p.verdict == verdict || p.changed).flat_map(|p| &p.details) {
                    if !details.contains(detail) {
                        details.push(detail.clone());
                    }
                }
                let failing = || parts.iter().filter(|p| p.verdict == ControlVerdict::Fail);
                Some(ControlEvent {
                    host: host.to_owned(),
                    id: id.to_owned(),
                    name: first.name.clone(),
                    baseline: playbook.baseline.clone(),
                    verdict,
                    changed: parts.iter().any(|p| p.changed),
                    pending_reboot: verdict == ControlVerdict::Fail && failing().all(|p| p.pending_reboot),
                    by_hand: failing().any(|p| p.by_hand),
                    details,
                    waiver: waiver(&playbook.waivers, id, host).map(|w| WaiverShown {
                        reason: w.reason.clone(),
                        until: w.until.clone(),
                        expired: w.expired(today),
                    }),
                })
            })
            .collect()
    }
}

/// The waiver of a control on a host: the one that lasts longest.
pub(super) fn waiver<'a>(waivers: &'a [Waiver], id: &str, host: &str) -> Option<&'a Waiver> {
    waivers.iter().filter(|w| w.is_about(id, host)).max_by(|a, b| a.until.cmp(&b.until))
}

fn shown(change: &ChangeShown) -> String {
    let advice = change.by_hand.as_ref().map_or_else(String::new, |advice| format!("; {advice}"));
    format!("{}: {:?} -> {:?}{advice}", change.summary, change.before, change.after)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn book() -> Playbook {
        let text = "baseline: b\nwaivers: [{id: B, reason: r, until: 2027-06-30}]\nsteps:\n\
                    - {name: one, id: A, maintenance: {enabled: false}}\n\
                    - {name: two, id: A, maintenance: {enabled: false}}\n\
                    - {name: three, id: B, tags: x, maintenance: {enabled: false}}\n";
        Playbook::from_text(Path::new("b.yml"), text, &BTreeSet::new()).unwrap()
    }

    fn ended(verdict: ControlVerdict, note: &str) -> Ended {
        Ended { verdict: Some(verdict), note: Some(note.into()), ..Ended::default() }
    }

    #[test]
    fn the_worst_step_of_a_control_counts() {
        let mut controls = Controls::default();
        controls.ended("A", 1, "one", &ended(ControlVerdict::Pass, "fine"));
        controls.ended("A", 2, "two", &ended(ControlVerdict::Fail, "bad"));
        controls.ended("B", 3, "three", &ended(ControlVerdict::NotApplicable, "old"));
        let events = controls.events(&book(), "esx1", |_| true, "", "2027-07-01");
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].verdict, events[0].details.as_slice()), (ControlVerdict::Fail, &["bad".to_owned()][..]));
        assert_eq!(events[1].verdict, ControlVerdict::NotApplicable);
        assert!(events[1].waiver.as_ref().unwrap().expired && events[0].waiver.is_none());
        assert!(!controls.events(&book(), "esx1", |_| true, "", "2027-06-30")[1].waiver.as_ref().unwrap().expired);
        // What no tag selects is no result.
        assert_eq!(controls.events(&book(), "esx1", |tags| tags.is_empty(), "", "2027-06-30").len(), 1);
    }

    #[test]
    fn a_step_that_was_not_reached_is_not_judged() {
        let mut controls = Controls::default();
        controls.ended("A", 1, "one", &ended(ControlVerdict::Pass, ""));
        let events = controls.events(&book(), "esx1", |_| true, "the host was lost", "2027-06-30");
        assert_eq!(events.iter().map(|e| e.verdict).collect::<Vec<_>>(), [ControlVerdict::NotJudged; 2]);
        assert_eq!(events[0].details, ["the host was lost"]);
    }

    #[test]
    fn a_pending_reboot_is_a_state_of_its_own() {
        let mut controls = Controls::default();
        controls.ended("A", 1, "one", &ended(ControlVerdict::Pass, ""));
        controls.ended("A", 2, "two", &Ended { pending_reboot: true, ..ended(ControlVerdict::Fail, "waits") });
        let events = controls.events(&book(), "esx1", |_| true, "", "2027-06-30");
        assert!(events[0].pending_reboot && events[0].verdict == ControlVerdict::Fail);
        controls.proved("A", 2, "two");
        let events = controls.events(&book(), "esx1", |_| true, "", "2027-06-30");
        assert!(!events[0].pending_reboot && events[0].verdict == ControlVerdict::Pass);
    }
}
