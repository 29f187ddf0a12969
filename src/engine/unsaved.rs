//! Hosts on which an earlier run changed something and was lost before it could save: their next boot would forget what
//! this run finds in place. The journal knows.

use std::collections::BTreeSet;

use super::events::{Event, EventKind};
use super::journal::{RunState, StateDir};

/// Runs looked at, the newest first.
const RUNS: usize = 50;

/// How the note begins that a run leaves when it could not save and goes on.
pub(super) const NOT_SAVED: &str = "the configuration was not saved";

/// Those of these hosts whose newest run that changed them may not have saved it; `now` is the present run. Each journal
/// is read once, however many hosts there are, and only those of runs that did not end well.
pub(super) fn find(state: &StateDir, hosts: &BTreeSet<String>, now: &str) -> BTreeSet<String> {
    let mut open = hosts.clone();
    let mut unsaved = BTreeSet::new();
    let Ok(runs) = state.newest() else { return unsaved };
    for run in runs.filter(|run| run.meta.mode == "apply" && run.meta.run != now).take(RUNS) {
        if open.is_empty() {
            break;
        }
        let of: Vec<String> = run.meta.hosts.iter().filter(|host| open.contains(*host)).cloned().collect();
        if of.is_empty() || run.state == RunState::Running {
            continue;
        }
        if matches!(run.state, RunState::Finished(0 | 3)) {
            open.retain(|host| !run.meta.hosts.contains(host));
            continue;
        }
        let events = state.load(&run.meta.run).map(|run| run.events).unwrap_or_default();
        for host in of {
            let Some(saved) = saved(&events, &host) else { continue };
            open.remove(&host);
            if !saved {
                unsaved.insert(host);
            }
        }
    }
    unsaved
}

/// Whether a run saved what it changed on a host; `None`: it tells nothing about that.
fn saved(events: &[Event], host: &str) -> Option<bool> {
    let (mut changed, mut finished, mut lost) = (false, false, false);
    for event in events {
        match &event.kind {
            EventKind::Making { host: of, .. } if of == host => changed = true,
            EventKind::HostFailed { host: of, .. } if of == host => lost = true,
            EventKind::Note { host: Some(of), text } if of == host => lost |= text.starts_with(NOT_SAVED),
            EventKind::HostFinished(result) if result.host == host => finished = true,
            _ => {}
        }
    }
    match (finished && !lost, changed) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::HostResult;
    use super::super::journal::{Journal, NewRun};
    use super::*;

    fn making() -> EventKind {
        let (kind, name) = ("setting".into(), "n".into());
        EventKind::Making { host: "esx1".into(), step: 1, kind, name, changes: Vec::new() }
    }

    fn finished() -> EventKind {
        EventKind::HostFinished(HostResult { host: "esx1".into(), ..HostResult::default() })
    }

    fn failed() -> EventKind {
        EventKind::HostFailed { host: "esx1".into(), error: "lost".into(), unreachable: false }
    }

    fn note(text: &str) -> EventKind {
        EventKind::Note { host: Some("esx1".into()), text: text.into() }
    }

    /// What is found behind runs with these events and exit codes (none: killed), oldest first.
    fn behind(runs: &[(&[EventKind], Option<i32>)]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let mut last = String::new();
        for (events, code) in runs {
            let new = NewRun { mode: "apply".into(), hosts: vec!["esx1".into(), "esx2".into()], ..NewRun::default() };
            // Runs of one moment are told apart by chance: until one is the later.
            let mut journal: Journal = loop {
                let journal = state.create(&new).unwrap();
                if journal.run() > last.as_str() {
                    break journal;
                }
                std::fs::remove_dir_all(journal.dir()).unwrap();
            };
            last = journal.run().to_owned();
            events.iter().for_each(|kind| journal.append(&[Event::now("r", kind.clone())]).unwrap());
            match code {
                Some(code) => journal.finish(*code).unwrap(),
                None => drop(journal),
            }
        }
        let hosts = ["esx1", "esx2"].map(String::from).into();
        let found = find(&state, &hosts, "now");
        assert!(!found.contains("esx2"));
        found.contains("esx1")
    }

    #[test]
    fn what_was_changed_and_then_lost_is_not_saved() {
        assert!(behind(&[(&[making()], None)]), "killed");
        assert!(behind(&[(&[making(), failed(), finished()], Some(1))]), "lost");
        let text = format!("{NOT_SAVED}: why");
        assert!(behind(&[(&[making(), note(&text), finished()], Some(1))]), "could not save");
        assert!(!behind(&[(&[failed(), finished()], Some(1))]), "nothing was changed");
        assert!(!behind(&[(&[making(), note("x"), finished()], Some(1))]), "only a step failed: it was saved");
        assert!(!behind(&[(&[making(), finished()], Some(0))]));
        assert!(!behind(&[]));
    }

    #[test]
    fn the_newest_run_that_tells_counts() {
        let lost: (&[EventKind], _) = (&[making(), failed(), finished()], Some(1));
        assert!(!behind(&[lost, (&[finished()], Some(0))]), "saved by the next");
        assert!(behind(&[lost, (&[failed(), finished()], Some(4))]), "the next was not let in");
        assert!(behind(&[(&[finished()], Some(0)), lost]));
    }
}
