//! Changes of neighbouring steps are made in one round trip, and reported as if each had been made alone.

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};

/// Ten steps that all differ on a fresh host.
const TEN: &str = "\
steps:
  - setting: {key: Mem.ShareForceSalting, value: 1}
  - setting: {key: UserVars.DcuiTimeOut, value: 601}
  - setting: {key: UserVars.ESXiShellTimeOut, value: 602}
  - setting: {key: UserVars.SuppressShellWarning, value: 1}
  - setting: {key: Net.BlockGuestBPDU, value: 0}
  - setting: {key: UserVars.ESXiShellInteractiveTimeOut, value: 603}
  - firewall: {ruleset: ftpClient, enabled: true}
  - portgroup: {name: Lab Two, vswitch: vSwitch0, vlan: 12}
  - portgroup: {name: Lab One, vswitch: vSwitch0, vlan: 11}
  - syslog: {loghost: 'tcp://192.0.2.9:514'}
";

/// Over one channel: on a busy machine these hosts would look slow, and reads be spread, which costs round trips.
fn apply(home: &Home, sim: &SimHosts, playbook: &str, code: i32) -> Ran {
    let playbook = home.write("p.yml", playbook);
    let inventory = std::fs::read_to_string(sim.inventory()).unwrap();
    let one =
        home.write("one-channel.yml", &inventory.replace("    user: root\n", "    user: root\n    channels: 1\n"));
    home.run(&["apply", arg(&playbook), "-i", arg(&one), "--output", "json"]).exits(code)
}

fn statuses(ran: &Ran) -> Vec<String> {
    ran.of("step").iter().map(|s| s["status"].as_str().unwrap().to_owned()).collect()
}

fn round_trips(ran: &Ran) -> u64 {
    let host: &Value = &ran.of("host_finished")[0];
    host["round_trips"].as_u64().unwrap()
}

fn value(home: &Home, sim: &SimHosts, option: &str) -> String {
    let all = sim.on_host(home, &format!("esxcli system settings advanced list -o {option}"));
    let line = all.lines().find(|l| l.trim().starts_with("Int Value:")).unwrap().to_owned();
    line.trim().trim_start_matches("Int Value:").trim().to_owned()
}

#[test]
fn ten_changes_cost_few_round_trips() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let ran = apply(&home, &sim, TEN, 0);
    assert_eq!(statuses(&ran), ["changed"; 10], "{}", ran.all());
    // Who it is, what it is like; settings and firewall, what they are now; port groups, and what they are now; syslog,
    // by itself since hosts open its port in the firewall themselves, and what it is now; save.
    assert!(round_trips(&ran) <= 5, "{} round trips\n{}", round_trips(&ran), ran.all());
    // What will be made, and how it is taken back, is said for each before the first is reported.
    let events: Vec<String> = ran.events().iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect();
    let first = events.iter().position(|e| e == "step").unwrap();
    assert!(events[..first].iter().filter(|e| *e == "making").count() >= 6, "{events:?}");
    // What the host is like is known from the run before: what will be read of it is asked for along with who it is.
    let again = apply(&home, &sim, TEN, 0);
    assert_eq!(statuses(&again), ["ok"; 10], "{}", again.all());
    assert_eq!(round_trips(&again), 1, "{}", again.all());
    // Nor does another playbook cost more than that, what it changes, and the save.
    let other = TEN
        .replace("60", "70")
        .replace("vlan: 1", "vlan: 2")
        .replace("  - syslog: {loghost: 'tcp://192.0.2.9:514'}\n", "");
    let ran = apply(&home, &sim, &other, 0);
    assert_eq!(statuses(&ran).iter().filter(|s| *s == "changed").count(), 5, "{}", ran.all());
    assert_eq!(round_trips(&ran), 2, "{}", ran.all());
}

#[test]
fn what_is_remembered_of_a_host_is_only_a_guess() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let playbook = "steps:\n  - setting: {key: UserVars.DcuiTimeOut, value: \"{{ 700 if host.version is version('<', '7.0') else 601 }}\"}\n\
               \x20 - module: {name: vmkusb, enabled: true}\n  - ntp: {servers: [192.0.2.1]}\n";
    let first = apply(&home, &sim, playbook, 0);
    let known = std::fs::read_dir(home.path("state/esxprep/known")).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&known).unwrap();
    assert!(text.contains("8.0.") && apply(&home, &sim, playbook, 0).of("step").len() == 3, "{text}");
    // Another release at the same address, and a file that is no more than half there.
    for kept in [text.replace("8.0.", "6.5."), text[..text.len() / 2].to_owned()] {
        std::fs::write(&known, kept).unwrap();
        let ran = apply(&home, &sim, playbook, 0);
        assert_eq!(statuses(&ran), ["ok"; 3], "{}", ran.all());
        assert_eq!(ran.of("host_connected"), {
            let mut same = first.of("host_connected");
            for (event, now) in same.iter_mut().zip(ran.of("host_connected")) {
                event["time"] = now["time"].clone();
                event["run"] = now["run"].clone();
            }
            same
        });
        assert_eq!(std::fs::read_to_string(&known).unwrap(), text, "it is known again");
    }
}

#[test]
fn settings_are_made_in_one_round_trip() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let mut playbook = String::from("steps:\n");
    for (key, value) in [
        ("Mem.ShareForceSalting", 1),
        ("UserVars.DcuiTimeOut", 601),
        ("UserVars.ESXiShellTimeOut", 602),
        ("UserVars.SuppressShellWarning", 1),
        ("Net.BlockGuestBPDU", 0),
        ("UserVars.ESXiShellInteractiveTimeOut", 603),
        ("Security.AccountLockFailures", 4),
    ] {
        playbook.push_str(&format!("  - setting: {{key: {key}, value: {value}}}\n"));
    }
    let ran = apply(&home, &sim, &playbook, 0);
    assert!(statuses(&ran).iter().all(|s| s == "changed"), "{}", ran.all());
    // Who it is, what it is like, the changes, what it is like now, save.
    assert!(round_trips(&ran) <= 3, "{} round trips\n{}", round_trips(&ran), ran.all());
}

#[test]
fn a_change_that_fails_stops_those_behind_it() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--fault", "fail=settings advanced set.*DcuiTimeOut:no such thing"]);
    let ran = apply(&home, &sim, TEN, 1);
    assert_eq!(statuses(&ran), ["changed", "failed"], "{}", ran.all());
    let error = ran.of("step")[1]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("no such thing"), "{error}");
    assert_eq!(value(&home, &sim, "/Mem/ShareForceSalting"), "1");
    assert_eq!(value(&home, &sim, "/UserVars/ESXiShellTimeOut"), "0", "it began behind a change that failed");
}

#[test]
fn a_lost_connection_among_changes_says_what_is_not_known() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--fault", "drop-after=settings advanced set.*DcuiTimeOut"]);
    let ran = apply(&home, &sim, TEN, 1);
    assert_eq!(statuses(&ran), ["changed", "failed"], "{}", ran.all());
    let steps = ran.of("step");
    let error = steps[1]["error"].as_str().unwrap();
    assert!(error.contains("the change is in place") && error.contains("run this again"), "{error}");
    let notes: Vec<String> = ran.of("note").iter().map(|n| n["text"].as_str().unwrap().to_owned()).collect();
    assert!(notes.iter().any(|n| n.contains("may be made or not")), "{notes:?}");
    let again = apply(&home, &sim, TEN, 0);
    assert_eq!(statuses(&again)[..2], ["ok", "ok"], "{}", again.all());
    assert_eq!(statuses(&apply(&home, &sim, TEN, 0)), ["ok"; 10]);
}

#[test]
fn steps_about_the_same_thing_are_made_one_after_the_other() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let playbook = "\
steps:
  - setting: {key: UserVars.DcuiTimeOut, value: 601}
  - setting: {key: UserVars.DcuiTimeOut, value: 602}
  - setting: {key: UserVars.DcuiTimeOut, value: 602}
  - setting: {key: UserVars.ESXiShellTimeOut, value: 603}
";
    let ran = apply(&home, &sim, playbook, 0);
    assert_eq!(statuses(&ran), ["changed", "changed", "ok", "changed"], "{}", ran.all());
    assert_eq!(value(&home, &sim, "/UserVars/DcuiTimeOut"), "602");
}

#[test]
fn an_agent_that_restarts_among_the_changes_is_waited_for() {
    for moment in ["^esxcli system settings advanced set", "^esxcli system settings advanced list"] {
        let home = Home::new();
        let sim = SimHosts::start(&home, "8.0", 1, &["--fault", &format!("hostd-restart={moment}")]);
        let ran = apply(&home, &sim, TEN, 0);
        assert_eq!(statuses(&ran), ["changed"; 10], "{moment}: {}", ran.all());
        assert_eq!(statuses(&apply(&home, &sim, TEN, 0)), ["ok"; 10], "{moment}");
    }
}
