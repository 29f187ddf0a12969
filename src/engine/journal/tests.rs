//! Journals that end well, that are killed in the middle, and that others read at the same time.

use super::*;
use crate::engine::events::{HostResult, StepEvent};

const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

fn state() -> (tempfile::TempDir, StateDir) {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path().join("state"));
    (dir, state)
}

fn new_run() -> NewRun {
    NewRun {
        playbook: "lab.yml".into(),
        name: "Lab".into(),
        argv: ["esxprep", "apply", "lab.yml", "-e", "password=hunter2"].map(String::from).to_vec(),
        mode: "apply".into(),
        hosts: vec!["esx1".into(), "esx2".into()],
        resumes: None,
    }
}

fn step(host: &str, number: usize, name: &str, status: Status) -> EventKind {
    EventKind::Step(StepEvent {
        host: host.into(),
        step: number,
        kind: "setting".into(),
        name: name.into(),
        status,
        changes: Vec::new(),
        seconds: 0.5,
        error: None,
        note: None,
        id: None,
        verdict: None,
    })
}

fn finished(host: &str, failed: usize) -> EventKind {
    EventKind::HostFinished(HostResult { host: host.into(), failed, ..HostResult::default() })
}

fn write(journal: &mut Journal, kinds: Vec<EventKind>) -> Vec<Event> {
    let run = journal.run().to_owned();
    let events: Vec<_> = kinds.into_iter().map(|kind| Event::now(&run, kind)).collect();
    journal.append(&events).unwrap();
    events
}

#[test]
fn undone_are_hosts_that_failed_were_lost_interrupted_or_never_begun() {
    let (_dir, state) = state();
    let hosts = ["well", "failed", "lost", "interrupted", "killed", "never"].map(String::from).to_vec();
    let mut journal = state.create(&NewRun { hosts, ..new_run() }).unwrap();
    let run = journal.run().to_owned();
    let note = |host: &str, text: &str| EventKind::Note { host: Some(host.into()), text: text.into() };
    let events = vec![
        finished("well", 0),
        note("well", "something"),
        finished("failed", 1),
        EventKind::HostFailed { host: "lost".into(), error: "e".into(), unreachable: true },
        finished("lost", 0),
        note("interrupted", crate::engine::host::INTERRUPTED),
        finished("interrupted", 0),
        step("killed", 1, "a", Status::Ok),
    ];
    write(&mut journal, events);
    assert_eq!(state.load(&run).unwrap().undone(), ["failed", "lost", "interrupted", "killed", "never"]);
}

#[test]
fn a_run_is_written_listed_and_read_back() {
    let (_dir, state) = state();
    let mut journal = state.create(&new_run()).unwrap();
    let run = journal.run().to_owned();
    let events = write(&mut journal, vec![step("esx1", 1, "a", Status::Ok), finished("esx1", 0)]);

    // Readable while it goes on.
    assert_eq!(state.load(&run).unwrap().events, events);
    assert_eq!(state.list().unwrap()[0].state, RunState::Running);
    journal.finish(3).unwrap();

    let list = state.list().unwrap();
    assert_eq!((list.len(), list[0].state), (1, RunState::Finished(3)));
    let meta = &list[0].meta;
    assert_eq!((meta.run.as_str(), meta.name.as_str(), meta.hosts.len()), (run.as_str(), "Lab", 2));
    assert!(meta.playbook.is_absolute() && meta.finished.as_deref() >= Some(meta.started.as_str()));

    let kept = fs::read_to_string(state.path().join("runs").join(&run).join("meta.json")).unwrap();
    assert!(!kept.contains("hunter2") && kept.contains("password=***"), "{kept}");
}

#[test]
fn only_the_owner_can_read_it() {
    let (_dir, state) = state();
    let journal = state.create(&new_run()).unwrap();
    let _lock = state.lock_host("esx1", "192.0.2.11", 22, journal.run()).unwrap();
    let mode = |path: PathBuf| fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(state.path().join("runs")), 0o700);
    assert_eq!(mode(state.path().join("locks")), 0o700);
    assert_eq!(mode(journal.dir().to_owned()), 0o700);
    assert_eq!(mode(journal.dir().join("meta.json")), 0o600);
    assert_eq!(mode(journal.dir().join("events.jsonl")), 0o600);
    assert_eq!(mode(state.path().join("locks/192.0.2.11_22.lock")), 0o600);
}

#[test]
fn a_killed_run_keeps_all_but_the_cut_line() {
    let (_dir, state) = state();
    let mut journal = state.create(&new_run()).unwrap();
    let events = write(&mut journal, vec![step("esx1", 1, "a", Status::Changed), step("esx1", 2, "→", Status::Ok)]);
    let path = journal.dir().join("events.jsonl");
    let run = journal.run().to_owned();
    drop(journal);
    // Every cut of the last line, also in the middle of a character.
    let whole = fs::read(&path).unwrap();
    let last = whole[..whole.len() - 1].iter().rposition(|b| *b == b'\n').unwrap() + 1;
    for cut in last + 1..whole.len() - 1 {
        fs::write(&path, &whole[..cut]).unwrap();
        let run = state.load("last").unwrap();
        assert_eq!((run.events.as_slice(), run.unreadable), (&events[..1], 1), "cut at {cut}");
    }
    // An event of a later version is left out, the ones after it are not.
    let unknown = b"{\"event\":\"host_cloned\",\"time\":\"t\",\"run\":\"r\"}\n";
    fs::write(&path, [&whole[..last], unknown, &whole[last..]].concat()).unwrap();
    let loaded = state.load(&run).unwrap();
    assert_eq!((loaded.events, loaded.unreadable), (events, 1));
    assert_eq!(state.list().unwrap()[0].state, RunState::Killed);
}

#[test]
fn runs_are_found_by_a_unique_beginning() {
    let (_dir, state) = state();
    assert!(matches!(state.load("last"), Err(JournalError::NoSuchRun { .. })));
    assert!(state.list().unwrap().is_empty());
    let runs = state.path().join("runs");
    for run in ["20260101-000000-aaaa", "20260101-000000-abcd", "20260303-120000-0001"] {
        let journal = state.create(&new_run()).unwrap();
        let (from, mut meta) = (journal.dir().to_owned(), journal.meta.clone());
        meta.run = run.to_owned();
        fs::write(from.join("meta.json"), serde_json::to_string(&meta).unwrap()).unwrap();
        drop(journal);
        fs::rename(from, runs.join(run)).unwrap();
    }
    fs::create_dir(runs.join("not-a-run")).unwrap();
    assert_eq!(state.load("last").unwrap().meta.run, "20260303-120000-0001");
    assert_eq!(state.load("202603").unwrap().meta.run, "20260303-120000-0001");
    assert_eq!(state.load("20260101-000000-ab").unwrap().meta.run, "20260101-000000-abcd");
    let error = state.load("20260101").unwrap_err().to_string();
    assert!(error.contains("20260101-000000-abcd, 20260101-000000-aaaa"), "{error}");
    assert!(matches!(state.load("2025"), Err(JournalError::NoSuchRun { .. })));
    assert!(matches!(state.load(""), Err(JournalError::NoSuchRun { .. })));
    let newest_first: Vec<_> = state.list().unwrap().into_iter().map(|r| r.meta.run).collect();
    assert_eq!(newest_first, ["20260303-120000-0001", "20260101-000000-abcd", "20260101-000000-aaaa"]);
}

#[test]
fn old_runs_go_but_never_a_running_one() {
    let (_dir, state) = state();
    let runs = state.path().join("runs");
    let alive = state.create(&new_run()).unwrap();
    let alive_name = "20200101-000000-0000";
    fs::rename(alive.dir(), runs.join(alive_name)).unwrap();
    for n in 1..=5 {
        let journal = state.create(&new_run()).unwrap();
        fs::rename(journal.dir(), runs.join(format!("2020010{n}-000001-0000"))).unwrap();
    }
    fs::create_dir(runs.join("keep-me")).unwrap();
    state.prune(2);
    assert_eq!(state.names().unwrap(), [alive_name, "20200104-000001-0000", "20200105-000001-0000"]);
    assert!(runs.join("keep-me").exists());
    drop(alive);
    state.prune(2);
    assert_eq!(state.names().unwrap(), ["20200104-000001-0000", "20200105-000001-0000"]);
}

#[test]
fn resume_knows_what_is_done_over_several_runs() {
    let (_dir, state) = state();
    let mut first = state.create(&new_run()).unwrap();
    let first_run = first.run().to_owned();
    write(
        &mut first,
        vec![
            step("esx1", 1, "a", Status::Ok),
            step("esx1", 2, "b", Status::Changed),
            finished("esx1", 0),
            step("esx2", 1, "a", Status::Changed),
            step("esx2", 2, "b", Status::Failed),
            finished("esx2", 1),
            step("esx3", 1, "a", Status::Ok),
            EventKind::HostFailed { host: "esx3".into(), error: "lost".into(), unreachable: false },
            finished("esx3", 0),
        ],
    );
    first.finish(1).unwrap();
    let done = state.load(&first_run).unwrap().done();
    let steps = |list: &[(usize, &str)]| list.iter().map(|(n, name)| (*n, (*name).to_owned())).collect::<BTreeSet<_>>();
    assert_eq!(done["esx1"], HostDone { finished: true, steps: steps(&[(1, "a"), (2, "b")]) });
    assert_eq!(done["esx2"], HostDone { finished: false, steps: steps(&[(1, "a")]) });
    assert_eq!(done["esx3"], HostDone { finished: false, steps: steps(&[(1, "a")]) });

    let mut second = state.create(&NewRun { resumes: Some(first_run), ..new_run() }).unwrap();
    write(
        &mut second,
        vec![step("esx2", 2, "b", Status::Changed), step("esx2", 3, "c", Status::Failed), finished("esx2", 1)],
    );
    let done = state.load(second.run()).unwrap().done();
    assert!(done["esx1"].finished);
    assert_eq!(done["esx2"], HostDone { finished: false, steps: steps(&[(1, "a"), (2, "b")]) });

    // A check gets nothing done, whatever it says.
    let mut check = state.create(&NewRun { mode: "check".into(), ..new_run() }).unwrap();
    write(&mut check, vec![step("esx1", 1, "a", Status::Ok), finished("esx1", 0)]);
    assert!(state.load(check.run()).unwrap().done().is_empty());
}

#[test]
fn a_host_has_one_run_at_a_time() {
    let (_dir, state) = state();
    let lock = state.lock_host("esx1", "192.0.2.11", 22, "run-one").unwrap();
    let error = state.lock_host("esx1", "192.0.2.11", 22, "run-two").unwrap_err();
    let LockError::Busy { pid, run, .. } = &error else { panic!("{error}") };
    assert_eq!((*pid, run.as_str()), (std::process::id(), "run-one"));
    assert!(error.to_string().starts_with("esx1 (192.0.2.11:22) is being worked on by run run-one"), "{error}");
    // Another port is another (simulated) host.
    state.lock_host("esx2", "192.0.2.11", 2222, "run-two").unwrap();
    drop(lock);
    state.lock_host("esx1", "192.0.2.11", 22, "run-two").unwrap();
}

/// Not a test of its own: the other process of the test below.
#[test]
fn helper_holds_a_lock_and_a_journal() {
    let Some(path) = std::env::var_os("ESXPREP_TEST_HOLD") else { return };
    let state = StateDir::at(path);
    let journal = state.create(&new_run()).unwrap();
    let _lock = state.lock_host("esx1", "192.0.2.11", 22, journal.run()).unwrap();
    fs::write(state.path().join("ready"), journal.run()).unwrap();
    std::thread::sleep(WAIT);
}

#[test]
fn another_process_is_seen_and_its_death_frees_the_host() {
    let (_dir, state) = state();
    fs::create_dir_all(state.path()).unwrap();
    let mut other = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::journal::tests::helper_holds_a_lock_and_a_journal"])
        .env("ESXPREP_TEST_HOLD", state.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let start = std::time::Instant::now();
    let its_run = loop {
        match fs::read_to_string(state.path().join("ready")) {
            Ok(run) if !run.is_empty() => break run,
            _ => assert!(start.elapsed() < WAIT, "the other process did not start"),
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    };
    let busy = state.lock_host("esx1", "192.0.2.11", 22, "mine");
    let listed = state.list().unwrap()[0].state;
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(matches!(busy, Err(LockError::Busy { pid, run, .. }) if pid == other.id() && run == its_run));
    assert_eq!(listed, RunState::Running);
    assert_eq!(state.list().unwrap()[0].state, RunState::Killed);
    state.lock_host("esx1", "192.0.2.11", 22, "mine").unwrap();
}
