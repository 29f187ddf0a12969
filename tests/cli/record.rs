//! Recordings: what they must not hold, and that their replay comes to the same end without a network.

use std::path::Path;

use serde_json::Value;

use esxprep::engine::replay::replayed;
use esxprep::engine::{Mode, RunOptions};
use esxprep::fixture::Fixture;
use esxprep::playbook::Playbook;

use super::common::{Home, Ran, SimHosts, arg};

const PASSWORD: &str = "Corr3ct-H0rse!Battery";
const PASSPHRASE: &str = "staple under the Oak 99";
const HASH: &str =
    "$6$pepperpot$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

/// An event without what differs from run to run: times.
fn timeless(mut event: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.retain(|key, _| key != "time" && key != "seconds");
                map.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut event);
    event
}

/// Events by host: hosts of a run do not wait for each other.
fn by_host(events: impl IntoIterator<Item = Value>) -> Vec<(String, Vec<Value>)> {
    let mut hosts: Vec<(String, Vec<Value>)> = Vec::new();
    for event in events.into_iter().map(timeless) {
        let host = event["host"].as_str().unwrap_or("").to_owned();
        match hosts.iter_mut().find(|(name, _)| *name == host) {
            Some((_, all)) => all.push(event),
            None => hosts.push((host, vec![event])),
        }
    }
    hosts.sort_by(|a, b| a.0.cmp(&b.0));
    hosts
}

/// Replays a recording with the engine's clock and no network at all, and compares every event.
#[track_caller]
fn replays_alike(home: &Home, fixture: &Path, playbook: &Path, mode: Mode, recorded: &Ran) {
    let fixture = Fixture::load(fixture).unwrap();
    let known = fixture.hosts.iter().flat_map(|h| h.vars.keys().cloned()).collect();
    let playbook = Playbook::load(playbook, &known).unwrap_or_else(|p| panic!("{p}"));
    let again = replayed(&fixture, playbook, RunOptions::new(mode, home.path("replay-cache"))).unwrap();
    assert!(again.unknown.is_empty(), "{:?}", again.unknown);
    let events = again.events.iter().map(|e| serde_json::from_str(&e.to_shown_line().unwrap()).unwrap());
    let (live, replay) = (by_host(recorded.events()), by_host(events));
    assert_eq!(live.len(), replay.len());
    for ((name, live), (_, replay)) in live.iter().zip(&replay) {
        for (n, (a, b)) in live.iter().zip(replay).enumerate() {
            assert_eq!(a, b, "event {n} of {name}");
        }
        assert_eq!(live.len(), replay.len(), "{name}: {live:#?}\n{replay:#?}");
    }
    assert_eq!(i32::from(again.outcome.exit_code), recorded.code);
}

/// Records a run on simulated hosts and replays it.
#[track_caller]
fn round(playbook: &str, more: &[&str], mode: Mode, code: i32) -> String {
    let home = Home::new();
    let file = home.path("host.fixture");
    let command = if mode == Mode::Verify { "verify" } else { "apply" };
    let mut args = vec![command, playbook, "--sim", "1", "--output", "json", "--record", arg(&file)];
    args.extend(more);
    let ran = home.run(&args).exits(code);
    replays_alike(&home, &file, Path::new(playbook), mode, &ran);
    std::fs::read_to_string(&file).unwrap()
}

#[test]
fn a_nested_lab_replays_alike() {
    let text = round("playbooks/nested-lab.yml", &["--sim-version", "6.5"], Mode::Apply, 0);
    assert!(text.starts_with("esxprep fixture 1\n# Recorded from 1 host(s)"), "{}", &text[..200]);
    assert!(text.contains("esxprep test nested-lab.yml --fixture") && text.contains("host esx1\n"));
    // Simulated hosts are made up: nothing of them is replaced.
    assert!(text.contains("Redaction: default; nothing had to be replaced"), "{}", &text[..400]);
}

#[test]
fn a_check_and_a_verify_replay_alike() {
    round("playbooks/nested-lab.yml", &["--sim-version", "6.5", "--check"], Mode::Check, 3);
    round("playbooks/nested-lab.yml", &["--sim-version", "6.5"], Mode::Verify, 3);
}

#[test]
fn the_host_client_and_vmotion_replay_alike() {
    round("playbooks/host-client.yml", &["--sim-version", "6.5"], Mode::Apply, 0);
    round("playbooks/vmotion.yml", &["--sim-version", "7.0", "-e", "vmknic=vmk1"], Mode::Apply, 0);
}

#[test]
fn clones_replay_alike() {
    round("playbooks/clone-fixup.yml", &["--sim-version", "6.7", "--sim-fault", "cloned"], Mode::Apply, 0);
}

#[test]
fn two_hosts_and_a_failing_step_replay_alike() {
    let home = Home::new();
    let playbook = home.write(
        "fails.yml",
        "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - run: {command: 'echo no such luck >&2; exit 7'}\n  - setting: {key: UserVars.SuppressShellWarning, value: 0}\n",
    );
    let file = home.path("two.fixture");
    let ran = home.run(&["apply", arg(&playbook), "--sim", "2", "--output", "json", "--record", arg(&file)]).exits(1);
    replays_alike(&home, &file, &playbook, Mode::Apply, &ran);
    let fixture = Fixture::load(&file).unwrap();
    assert_eq!(fixture.hosts.len(), 2);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

const ACCOUNTS: &str = "\
steps:
  - name: The hash given here
    account: {name: root, password_hash: '$6$pepperpot$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/'}
  - name: It is there now
    account: {name: root, password_hash: '$6$pepperpot$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/'}
  - name: Another one from a variable
    account: {name: root, password_hash: \"{{ root_hash }}\"}
  - name: A command with a secret
    run: {command: \"cat >/tmp/pin && echo welcome {{ pin }}\", stdin: \"{{ pin }}\", secret: true, expect: {stdout: welcome}}
  - name: What must not be seen
    run: {command: \"cat /tmp/pin /etc/shadow; echo 'staple under the Oak 99 and Corr3ct-H0rse!Battery'\", read_only: true}
";

#[test]
fn a_recording_holds_no_secret_and_no_hash_of_one() {
    let other = HASH.replace("pepperpot", "saltmine").replace("qFmFH", "zZmZH");
    let sha = |text: &str| {
        use std::io::Write;
        let mut child = std::process::Command::new("sha256sum")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
    };
    for redact in ["none", "default", "strict"] {
        let home = Home::new();
        let sim = SimHosts::start(&home, "7.0", 1, &["--password", PASSWORD]);
        let key = home.path("key");
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ecdsa", "-N", PASSPHRASE, "-f", arg(&key)])
            .status()
            .unwrap();
        assert!(made.success());
        let host = &sim.hosts[0];
        let inventory = home.write(
            "own.yml",
            &format!(
                "hosts:\n  esx1: {{address: {}, port: {}, password: {{env: LAB_PASSWORD}}, key: {}, passphrase: {{env: LAB_PASSPHRASE}}, host_key: {}}}\n",
                host["address"],
                host["port"],
                arg(&key),
                host["host_key"]
            ),
        );
        let playbook = home.write("accounts.yml", ACCOUNTS);
        let file = home.path("accounts.fixture");
        let output = home
            .command(&[
                "apply",
                arg(&playbook),
                "-i",
                arg(&inventory),
                "--output",
                "json",
                "--record",
                arg(&file),
                "--redact",
                redact,
                "-e",
                &format!("root_hash={other}"),
                "-e",
                "pin=Zx81-4711-q",
            ])
            .env("LAB_PASSWORD", PASSWORD)
            .env("LAB_PASSPHRASE", PASSPHRASE)
            .output()
            .unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
        .exits(0);
        let text = std::fs::read_to_string(&file).unwrap();
        for secret in
            [PASSWORD, PASSPHRASE, HASH, &other, "qFmFH.bQmm", "zZmZH.bQmm", "pepperpot", "saltmine", "Zx81-4711-q"]
        {
            assert!(!text.contains(secret), "{redact}: {secret} is in\n{text}");
            for hashed in [sha(secret), sha(&format!("{secret}\n"))] {
                assert!(!text.contains(&hashed), "{redact}: a hash of {secret} is in\n{text}");
            }
        }
        let statuses: Vec<String> =
            ran.of("step").iter().map(|e| e["status"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(statuses, ["changed", "ok", "changed", "changed", "ok"], "{}", ran.all());
        replays_alike(&home, &file, &playbook, Mode::Apply, &ran);
        sim.stop();
    }
}

#[test]
fn facts_are_recorded_and_the_place_is_checked_first() {
    let home = Home::new();
    let file = home.path("facts.fixture");
    let ran = home.run(&["facts", "--sim", "1", "--sim-version", "6.7", "--json", "--record", arg(&file)]).exits(0);
    serde_json::from_str::<Value>(ran.stdout.trim()).unwrap();
    assert!(ran.stderr.contains("recorded into"), "{}", ran.all());
    let fixture = Fixture::load(&file).unwrap();
    assert_eq!(fixture.hosts[0].meta["version"], "6.7.0");
    // Again over itself is right, over anything else is not.
    let again = home.run(&["facts", "--sim", "1", "--record", arg(&file)]).exits(0);
    assert!(again.stdout.trim_end().lines().last().unwrap().starts_with("recorded into"), "{}", again.all());
    let foreign = home.write("notes.txt", "do not lose this");
    for (place, said) in [(arg(&foreign), "is no esxprep fixture"), ("/nowhere/at/all", "cannot write the recording")] {
        let ran = home.run(&["facts", "--sim", "1", "--record", place]).exits(2);
        assert!(ran.stderr.contains(said), "{}", ran.all());
    }
    assert_eq!(std::fs::read_to_string(&foreign).unwrap(), "do not lose this");
    home.run(&["facts", "--sim", "1", "--redact", "strict"]).exits(2);
}

/// The binary in a network name space of its own: not even the loopback is up there. Needs root, and says so.
#[track_caller]
fn offline(home: &Home, args: &[&str]) -> Ran {
    let whole = home.command(args);
    let mut command = std::process::Command::new("unshare");
    command.arg("-n").arg(whole.get_program()).args(whole.get_args());
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    for (key, value) in whole.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let output = command.output().expect("this test needs `unshare` (util-linux)");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.starts_with("unshare:"), "this test needs root, to take the network away: {stderr}");
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr,
    }
}

/// Records with one process and replays with another one that has no network: the same events, the same exit code.
#[track_caller]
fn two_processes(home: &Home, playbook: &str, how: &[&str], code: i32, replayed: i32) -> Ran {
    let file = home.path("two-processes.fixture");
    let mut args = vec![how[0], playbook];
    args.extend(&how[1..]);
    args.extend(["--output", "json", "--record", arg(&file)]);
    let live = home.run(&args).exits(code);
    let again = offline(home, &["test", playbook, "--fixture", arg(&file), "--output", "json"]).exits(replayed);
    assert_eq!(by_host(live.events()), by_host(again.events()), "{how:?}\n{}", again.stderr);
    again
}

#[test]
fn another_process_without_a_network_replays_it() {
    let home = Home::new();
    for (version, playbook, more) in [
        ("6.5", "playbooks/nested-lab.yml", &[][..]),
        ("7.0", "playbooks/host-client.yml", &[]),
        ("8.0", "playbooks/clone-fixup.yml", &["--sim-fault", "cloned"]),
        ("6.0", "playbooks/vmotion.yml", &["-e", "vmknic=vmk1", "--redact", "strict"]),
    ] {
        let mut how = vec!["apply", "--sim", "1", "--sim-version", version];
        how.extend(more);
        if super::common::reachable(&version) {
            two_processes(&home, playbook, &how, 0, 0);
        }
    }
}

#[test]
fn the_options_of_the_run_come_with_the_recording() {
    let home = Home::new();
    let fails = home.write(
        "fails.yml",
        "steps:\n  - setting: {key: Net.FollowHardwareMac, value: 1}\n    tags: [one]\n\
         \x20 - run: {command: 'echo no such luck >&2; exit 7'}\n    tags: [two]\n",
    );
    let lab = "playbooks/nested-lab.yml";
    for (playbook, more, code, replayed) in [
        (arg(&fails), &["apply", "--sim", "1", "--tags", "one"][..], 0, 0),
        (arg(&fails), &["apply", "--sim", "1", "--skip-tags", "two,three"], 0, 0),
        (arg(&fails), &["apply", "--sim", "3", "--serial", "1", "--max-failures", "1"], 1, 1),
        (arg(&fails), &["apply", "--sim", "4", "--forks", "2", "--max-failures", "1"], 1, 1),
        (arg(&fails), &["verify", "--sim", "1", "--tags", "one"], 3, 0),
        (arg(&fails), &["apply", "--sim", "1", "--sim-fault", "reject-password"], 4, 1),
        (arg(&fails), &["apply", "--sim", "1", "--sim-fault", "hang=advanced list", "--command-timeout", "2s"], 1, 1),
        (arg(&fails), &["apply", "--sim", "1", "--sim-fault", "drop-after=advanced set"], 1, 1),
        (lab, &["apply", "--sim", "1", "--no-reboot"], 0, 0),
        (lab, &["apply", "--sim", "1", "--sim-fault", "lost-boot-disk"], 1, 1),
        (lab, &["apply", "--sim", "1", "--sim-fault", "lost-boot-disk", "--allow-unsaved"], 1, 1),
    ] {
        two_processes(&home, playbook, more, code, replayed);
    }
    // What is given wins; nothing at all is left of them when that is asked for.
    let file = home.path("one.fixture");
    home.run(&["apply", arg(&fails), "--sim", "1", "--tags", "one", "--record", arg(&file)]).exits(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\n  options: --tags one\n"));
    let statuses = |more: &[&str], code: i32| {
        let mut args = vec!["test", arg(&fails), "--fixture", arg(&file), "--output", "json"];
        args.extend(more);
        let ran = home.run(&args).exits(code);
        let all = ran.of("step").iter().map(|e| e["status"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        (all.join(" "), ran.stderr)
    };
    assert_eq!(statuses(&[], 0).0, "changed skipped");
    assert_eq!(statuses(&["--check"], 0).0, "would_change skipped");
    assert_eq!(statuses(&["--skip-tags", "one,two"], 0).0, "skipped skipped");
    let (_, said) = statuses(&["--own-options"], 1);
    assert!(said.contains("NOT KNOWN") && said.contains("exit 7"), "{said}");
    // A line that is none is an error before anything is tried.
    let text = std::fs::read_to_string(&file).unwrap().replace("--tags one", "--tagz one");
    std::fs::write(&file, text).unwrap();
    let (_, said) = statuses(&[], 2);
    assert!(said.contains("options: --tagz one") && said.contains("--tagz"), "{said}");
}

#[test]
fn a_resumed_run_replays_without_the_steps_that_were_done_before() {
    let home = Home::new();
    let text = |code: u8| {
        format!(
            "steps:\n  - {{name: First, setting: {{key: Net.FollowHardwareMac, value: 1}}}}\n\
             \x20 - {{name: Second, run: {{command: 'exit {code}', changed_when: false}}}}\n"
        )
    };
    let playbook = home.write("site.yml", &text(7));
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let file = home.path("resumed.fixture");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    home.write("site.yml", &text(0));
    let again = ["apply", arg(&playbook), "-i", sim.inventory(), "--resume", "last", "--output", "json"];
    let live = home.run(&[&again[..], &["--record", arg(&file)]].concat()).exits(0);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\n  resumed: [[1,\"First\"]]\n"));
    let replay = |more: &[&str]| {
        let args = ["test", arg(&playbook), "--fixture", arg(&file), "--output", "json"];
        home.run(&[&args[..], more].concat())
    };
    let replayed = replay(&[]).exits(0);
    assert_eq!(by_host(live.events()), by_host(replayed.events()), "{}", replayed.all());
    assert_eq!(replayed.of("step")[0]["status"], "skipped");
    // Without it the first step is looked at, and the recording knows nothing of that.
    assert!(replay(&["--own-options"]).exits(1).stderr.contains("NOT KNOWN"));
}

#[test]
fn hosts_that_cannot_be_reached_and_files_of_this_machine() {
    let home = Home::new();
    std::fs::create_dir(home.path("anna")).unwrap();
    home.write("anna/own.conf", "one\n");
    std::fs::create_dir(home.path("lab")).unwrap();
    home.write("lab/beside.conf", "two\n");
    let playbook = home.write(
        "lab/files.yml",
        "steps:\n  - file: {path: /etc/own.conf, from: \"{{ own }}\"}\n  - file: {path: /etc/beside.conf, from: beside.conf}\n",
    );
    let file = home.path("files.fixture");
    let own = format!("own={}", arg(&home.path("anna/own.conf")));
    home.run(&["apply", arg(&playbook), "--sim", "1", "-e", &own, "--record", arg(&file)]).exits(0);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("anna") && !text.contains(arg(home.dir.path())), "{text}");
    // Without the files, from another place.
    std::fs::remove_dir_all(home.path("anna")).unwrap();
    std::fs::remove_file(home.path("lab/beside.conf")).unwrap();
    std::fs::rename(home.path("lab"), home.path("elsewhere")).unwrap();
    let moved = home.path("elsewhere/files.yml");
    let ran = offline(&home, &["test", arg(&moved), "--fixture", arg(&file), "--output", "json"]).exits(0);
    let all: Vec<Value> = ran.of("step").iter().map(|e| e["status"].clone()).collect();
    assert_eq!(all, ["changed", "changed"], "{}", ran.all());
    let inventory = home.write("dead.yml", "hosts:\n  esx1: {address: 127.0.0.1, port: 9, password: {env: HOME}}\n");
    let again = two_processes(&home, arg(&moved), &["apply", "-i", arg(&inventory), "-e", "own=beside.conf"], 2, 1);
    assert!(again.stderr.contains("beside.conf"), "{}", again.all());
    home.write("elsewhere/beside.conf", "two\n");
    let again = two_processes(&home, arg(&moved), &["apply", "-i", arg(&inventory), "-e", "own=beside.conf"], 4, 1);
    assert!(again.stderr.contains("Connection refused"), "{}", again.all());
}
