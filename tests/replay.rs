//! A run that is recorded against simulated hosts and replayed with no host at all: the same events, but for times.
//!
//! Needs Linux and either root or user namespaces, as the simulator does.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use esxprep::engine::events::Event;
use esxprep::engine::{Context, Mode, Replayed, RunOptions, RunOutcome, replayed, run};
use esxprep::fixture::{Ask, Fixture};
use esxprep::inventory::Inventory;
use esxprep::playbook::Playbook;
use esxprep::sim::{Options, Sim, inventory_yaml};
use esxprep::transport::RusshConnector;
use esxprep::transport::record::RecordingConnector;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What was recorded, and what the recorded run came to.
struct Session {
    fixture: Fixture,
    playbook: PathBuf,
    known: BTreeSet<String>,
    options: RunOptions,
    outcome: RunOutcome,
    events: Vec<Event>,
}

fn quick(version: &str, hosts: usize, faults: &[&str]) -> Options {
    Options {
        version: version.into(),
        hosts,
        boot_ms: 300,
        hostd_ms: 200,
        faults: faults.iter().map(|spec| spec.parse().unwrap()).collect(),
        ..Options::default()
    }
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(name)
}

/// Runs a playbook on simulated hosts, writes down what they say, and takes them away.
async fn record(playbook: &Path, sim: Options, mode: Mode, extra: &[(&str, &str)]) -> Session {
    let sim = Sim::start(sim).await.unwrap();
    let session = record_on(&sim, playbook, mode, extra).await;
    sim.stop().await;
    session
}

async fn record_on(sim: &Sim, path: &Path, mode: Mode, extra: &[(&str, &str)]) -> Session {
    let mut options = RunOptions::new(mode, std::env::temp_dir());
    options.extra_vars = extra.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))).collect();
    record_with(sim, path, options).await
}

async fn record_with(sim: &Sim, path: &Path, options: RunOptions) -> Session {
    let inventory = Inventory::parse(&inventory_yaml(sim.hosts()), "sim.yml").unwrap();
    let known: BTreeSet<String> = inventory.var_names().into_iter().chain(options.extra_vars.keys().cloned()).collect();
    let playbook = Playbook::load(path, &known).unwrap_or_else(|problems| panic!("{problems}"));
    let recorder = Arc::new(RecordingConnector::new(Arc::new(RusshConnector::default())));
    let (events, mut received) = mpsc::unbounded_channel();
    let id = "20261122-204501-9f3a".to_owned();
    let ctx = Context::new(playbook, options.clone(), recorder.clone(), CancellationToken::new(), id.clone(), events);
    let ctx = Arc::new(ctx.without_lock());
    let outcome = run(ctx.clone(), inventory.hosts.clone()).await;
    let mut fixture = Fixture { artifacts: ctx.artifacts.recordable().await, ..Fixture::default() };
    let mut recorded = recorder.recorded();
    for host in &inventory.hosts {
        let at = recorded.iter().position(|raw| raw.host.name == host.name).unwrap();
        let mut kept = recorded.swap_remove(at).host;
        kept.meta.insert("run".into(), id.clone());
        kept.vars = host.vars.clone();
        fixture.hosts.push(kept);
    }
    let mut all = Vec::new();
    while let Ok(event) = received.try_recv() {
        all.push(event);
    }
    // As a file, so that what is replayed is what a person could have read.
    let text = fixture.to_string();
    let fixture = Fixture::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Session { fixture, playbook: path.to_owned(), known, options, outcome, events: all }
}

impl Session {
    async fn replay(&self) -> Replayed {
        let playbook = Playbook::load(&self.playbook, &self.known).unwrap_or_else(|problems| panic!("{problems}"));
        let (fixture, options) = (self.fixture.clone(), self.options.clone());
        tokio::task::spawn_blocking(move || replayed(&fixture, playbook, options)).await.unwrap().unwrap()
    }

    /// Replays and compares everything.
    async fn replays_to_the_same(&self) -> Replayed {
        let again = self.replay().await;
        let said: Vec<String> = again.unknown.iter().map(ToString::to_string).collect();
        assert!(said.is_empty(), "{}\n{}", said.join("\n"), self.fixture);
        let (mut live, mut replay) = (by_host(&self.events), by_host(&again.events));
        assert_eq!(live.keys().collect::<BTreeSet<_>>(), replay.keys().collect::<BTreeSet<_>>());
        for (host, live) in live.drain() {
            let replay = replay.remove(&host).unwrap();
            for (number, (a, b)) in live.iter().zip(&replay).enumerate() {
                assert_eq!(a, b, "event {number} of {host:?}\n{}", self.fixture);
            }
            assert_eq!(live.len(), replay.len(), "{host:?}");
        }
        assert_eq!(again.outcome.exit_code, self.outcome.exit_code);
        again
    }

    fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event.to_line().unwrap().contains(&format!("{{\"event\":\"{kind}\""))).count()
    }
}

/// Events without their times, by host.
fn by_host(events: &[Event]) -> HashMap<Option<String>, Vec<Value>> {
    let mut all: HashMap<Option<String>, Vec<Value>> = HashMap::new();
    for event in events {
        let mut value = serde_json::to_value(event).unwrap();
        let fields = value.as_object_mut().unwrap();
        fields.remove("time");
        fields.remove("seconds");
        let host = fields.get("host").and_then(Value::as_str).map(str::to_owned);
        all.entry(host).or_default().push(value);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nested_lab_with_its_vib_and_its_reboot() {
    let session = record(&shipped("nested-lab.yml"), quick("6.5", 2, &[]), Mode::Apply, &[]).await;
    assert_eq!(session.outcome.exit_code, 0, "{:?}", session.events);
    assert_eq!(session.count("host_back"), 2);
    let vib = PathBuf::from(session.fixture.hosts[0].vars["host_client_vib"].as_str().unwrap());
    assert!(!vib.exists(), "the file is gone with the simulator: {}", vib.display());
    let start = Instant::now();
    let again = session.replays_to_the_same().await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let sent = &again.sent[0].1;
    assert!(sent.iter().any(|s| matches!(&s.ask, Ask::Upload(path) if path.ends_with(".vib"))));
    let changes: Vec<&Ask> = sent.iter().filter(|s| s.changes).map(|s| &s.ask).collect();
    let is = |ask: &Ask, text: &str| matches!(ask, Ask::Run { script, .. } if script.contains(text));
    assert!(changes.iter().any(|ask| is(ask, "esxcli system module set")), "{changes:?}");
    assert!(changes.iter().any(|ask| is(ask, "reboot")), "{changes:?}");
    assert!(!changes.iter().any(|ask| is(ask, " list")), "{changes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_whose_vmk0_moves_under_the_session() {
    for version in ["6.5", "8.0"] {
        let session = record(&shipped("clone-fixup.yml"), quick(version, 1, &["cloned"]), Mode::Apply, &[]).await;
        assert_eq!(session.outcome.exit_code, 0, "{:?}", session.events);
        let confirmed = session.events.iter().any(|e| e.to_line().unwrap().contains("logged in again"));
        assert_eq!(confirmed, version == "8.0");
        session.replays_to_the_same().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_playbook_checked_verified_and_applied() {
    let extra: [(&str, &[(&str, &str)]); 3] = [
        ("host-client.yml", &[]),
        ("vmotion.yml", &[("vmknic", "vmk1"), ("portgroup", "vMotion"), ("vmotion_ip", "10.0.9.11/24")]),
        ("clone-fixup.yml", &[]),
    ];
    for version in ["6.0", "7.0"] {
        for (name, extra) in extra {
            let sim = Sim::start(quick(version, 1, &[])).await.unwrap();
            for mode in [Mode::Check, Mode::Apply, Mode::Verify] {
                let session = record_on(&sim, &shipped(name), mode, extra).await;
                assert!([0, 3].contains(&session.outcome.exit_code), "{name} {version}: {:?}", session.events);
                session.replays_to_the_same().await;
            }
            sim.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_playbook_than_the_recorded_one_names_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let write = |nic: &str| {
        let path = dir.path().join(format!("{nic}.yml"));
        let command = format!("esxcli network nic get -n {nic}");
        std::fs::write(&path, format!("steps:\n  - run: {{command: {command}, read_only: true}}\n")).unwrap();
        path
    };
    let mut session = record(&write("vmnic0"), quick("7.0", 1, &[]), Mode::Apply, &[]).await;
    session.replays_to_the_same().await;
    session.playbook = write("vmnic9");
    let again = session.replay().await;
    assert_eq!(again.outcome.exit_code, 1);
    let said = again.unknown[0].to_string();
    assert!(said.contains("(asked: \"vmnic9\", known: \"vmnic0\")"), "{said}");
    let failed = again.events.iter().map(|e| e.to_line().unwrap()).find(|line| line.contains("host_failed")).unwrap();
    assert!(failed.contains("the fixture of esx1 has no answer to"), "{failed}");
}

/// One step on a 7.0 host with this fault, applied with quick limits: replays to the same, and its events hold the text.
async fn trouble(faults: &[&str], playbook: &str, code: u8, said: &str) -> Session {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.yml");
    std::fs::write(&path, playbook).unwrap();
    std::fs::write(dir.path().join("big.txt"), "0123456789abcde\n".repeat(60_000)).unwrap();
    let sim = Sim::start(quick("7.0", 1, faults)).await.unwrap();
    let mut options = RunOptions::new(Mode::Apply, std::env::temp_dir());
    options.command_timeout = Duration::from_secs(3);
    options.vm_timeout = Duration::from_secs(30);
    let session = record_with(&sim, &path, options).await;
    sim.stop().await;
    let lines: Vec<String> = session.events.iter().map(|event| event.to_line().unwrap()).collect();
    assert_eq!(session.outcome.exit_code, code, "{faults:?}: {}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains(said)), "{faults:?}: {}", lines.join("\n"));
    std::fs::remove_file(dir.path().join("big.txt")).unwrap();
    session.replays_to_the_same().await;
    session
}

const SETTING: &str = "steps:\n  - setting: {key: Net.FollowHardwareMac, value: 1}\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_goes_wrong_again() {
    let reboot = "on_running_vms: shutdown\nsteps:\n  - reboot: always\n";
    trouble(&["drop-after=settings advanced set"], SETTING, 1, "Looked again over a new connection").await;
    trouble(&["hang=settings advanced set"], SETTING, 1, "did not end within 3 s").await;
    trouble(&["hang=settings advanced list"], SETTING, 1, "did not end within 3 s").await;
    trouble(&["drop-after=settings advanced list"], SETTING, 0, "Net.FollowHardwareMac").await;
    trouble(&["fail=advanced set:no way"], SETTING, 1, "no way").await;
    trouble(&["reject-password"], SETTING, 4, "refused the login of root").await;
    trouble(&["change-host-key-on-reboot"], reboot, 1, "after the reboot: host key of esx1").await;
    trouble(&["vm=web"], reboot, 0, "shutting down web").await;
    trouble(&["slow-hostd=2500"], reboot, 0, "waiting for the management agent").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_reports_the_same_without_its_file() {
    let playbook = "steps:\n  - file: {path: /etc/motd.big, from: big.txt}\n";
    let session = trouble(&[], playbook, 0, "uploading /etc/motd.big").await;
    let lines = session.events.iter().map(|event| event.to_line().unwrap());
    let uploading: Vec<String> = lines.filter(|line| line.contains("\"doing\":\"uploading")).collect();
    assert_eq!(uploading.len(), 4, "{uploading:?}");
    assert!(uploading[3].contains("\"position\":960000"), "{uploading:?}");
    trouble(&["tmp-size=64K"], "steps:\n  - file: {path: /tmp/big, from: big.txt}\n", 1, "upload to esx1:/tmp/big")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_written_down_and_replays() {
    let hash = format!("$6$Very.Hidden$17{}", "a".repeat(84));
    let playbook = format!("steps:\n  - account: {{name: lab, role: Admin, password_hash: {hash}}}\n");
    let session = trouble(&[], &playbook, 0, "lab").await;
    let text = session.fixture.to_string();
    assert!(text.contains("\n@secret 1\n"), "{text}");
    assert!(!text.contains("Very.Hidden"), "{text}");
}
