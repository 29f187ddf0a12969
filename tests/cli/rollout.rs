//! Many hosts with care: the failed ones again, order, canaries, never too many down, one download for all.

use std::collections::BTreeSet;

use super::common::{Home, Ran, SimHosts, arg};

const SETTING: &str = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";

fn begun(ran: &Ran) -> Vec<String> {
    ran.of("host_connecting").iter().map(|e| e["host"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_hosts_that_a_run_left_undone_are_run_again() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 3, &["--fault", "fail=advanced set:No space left@esx2"]);
    let playbook = home.write("p.yml", SETTING);
    let run = |what: &str, more: &[&str]| home.run(&[&[what, arg(&playbook), "-i", sim.inventory()], more].concat());
    let none = run("apply", &["--limit", "@failed"]).exits(2);
    assert!(none.stderr.contains("no earlier run"), "{}", none.all());

    let first = run("apply", &["--forks", "1"]).exits(1);
    let again = first.stdout.lines().find(|l| l.starts_with("Only the hosts that are not done: ")).unwrap();
    let id = again.rsplit_once("@failed:").unwrap().1.to_owned();
    assert!(again.contains(" apply ") && again.contains(" -i "), "{again}");

    // One is left, and its inventory may have lost it.
    let text = std::fs::read_to_string(sim.inventory()).unwrap();
    let gone = home.write("gone.yml", &text.replace("  esx2:\n", "  esx9:\n"));
    let lost = home.run(&["verify", arg(&playbook), "-i", arg(&gone), "--limit", "@failed"]).exits(2);
    assert!(lost.stderr.contains("esx2") && lost.stderr.contains(&id), "{}", lost.all());
    let ran = run("verify", &["--limit", "@failed", "--output", "json"]).exits(3);
    assert_eq!(begun(&ran), ["esx2"], "{}", ran.all());

    // That run left nothing undone; the first one did still.
    let nothing = run("apply", &["--limit", "@failed"]).exits(0);
    assert!(nothing.stderr.contains("nothing to do"), "{}", nothing.all());
    run("verify", &["--limit", "@failed:nope"]).exits(2);
    let list = home.write("rack.txt", "esx1 # the first\nesx3\n");
    let limit = format!("@failed:{id},@{},!esx1", arg(&list));
    let ran = run("verify", &["--forks", "1", "--limit", &limit, "--output", "json"]).exits(3);
    assert_eq!(begun(&ran), ["esx2", "esx3"], "{}", ran.all());
}

#[test]
fn no_more_hosts_are_down_than_may_be() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 4, &[]);
    let playbook = home.write("p.yml", "max_down: 25%\nsteps:\n  - reboot: {when: always}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    let mut down = BTreeSet::new();
    for event in ran.events() {
        let host = event["host"].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str().unwrap() {
            "host_rebooting" => assert!(down.is_empty() && down.insert(host), "{down:?}: {event}"),
            "host_back" => assert!(down.remove(&host), "{event}"),
            _ => {}
        }
    }
    assert_eq!(ran.of("host_back").len(), 4, "{}", ran.all());
    let waits = ran.of("phase").iter().filter(|p| p["doing"] == "waits: 1 host is down").count();
    assert_eq!(waits, 3, "{}", ran.all());
}

#[test]
fn nobody_waits_for_a_host_that_does_not_come_back() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 3, &["--fault", "never-returns"]);
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always, timeout: 3s}\n");
    let args = ["apply", arg(&playbook), "-i", sim.inventory(), "--max-down", "1", "--output", "json"];
    let ran = home.run(&args).exits(1);
    assert_eq!(ran.of("host_rebooting").len(), 1, "{}", ran.all());
    let failed = ran.of("host_failed");
    let kept = |e: &&serde_json::Value| e["error"].as_str().unwrap().contains("this host may not go down");
    assert_eq!((failed.len(), failed.iter().filter(kept).count()), (3, 2), "{}", ran.all());
    assert_eq!(ran.of("host_finished").len(), 3, "{}", ran.all());
}

#[test]
fn groups_in_order_and_a_canary_that_fails_is_the_last() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 4, &["--fault", "fail=advanced set:No space left@esx3"]);
    let text = std::fs::read_to_string(sim.inventory()).unwrap();
    let inventory = home.write("groups.yml", &format!("{text}groups:\n  first: {{hosts: [esx3, esx4]}}\n"));
    let run = |text: &str, more: &[&str]| {
        let playbook = home.write("p.yml", text);
        home.run(&[&["apply", arg(&playbook), "-i", arg(&inventory), "--output", "json"], more].concat())
    };
    // One of the first group fails: without a limit the others have their turn, after it.
    let ran = run(&format!("order: [first]\n{SETTING}"), &[]).exits(1);
    let events = ran.events();
    let at = |kind: &str, host: &str| {
        let is = |e: &serde_json::Value| e["event"] == kind && e["host"] == host;
        events.iter().position(is).unwrap_or_else(|| panic!("{kind} {host}: {}", ran.all()))
    };
    for early in ["esx3", "esx4"] {
        for late in ["esx1", "esx2"] {
            assert!(at("host_finished", early) < at("host_connecting", late), "{}", ran.all());
        }
    }
    // The failures of the first group count for the next.
    let ran = run(SETTING, &["--order", "first", "--max-failures", "25%"]).exits(1);
    assert!(begun(&ran).iter().all(|h| h == "esx3" || h == "esx4"), "{}", ran.all());
    // A canary.
    let ran = run(&format!("order: first\nserial: [1, 50%]\n{SETTING}"), &[]).exits(1);
    assert_eq!(begun(&ran), ["esx3"], "{}", ran.all());
    // The command line wins.
    let ran = run(&format!("order: first\nserial: [1, 50%]\n{SETTING}"), &["--serial", "4"]).exits(1);
    assert_eq!(begun(&ran).len(), 4, "{}", ran.all());
    let ran = run(SETTING, &["--order", "frist"]).exits(2);
    assert!(ran.stderr.contains("--order") && ran.stderr.contains("frist"), "{}", ran.all());
}

#[test]
fn all_hosts_share_one_download_and_one_inspection() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 5, &[]);
    let (url, seen) = super::vib::serve(super::vib::TestVib::new("lab-tool", "1.0-1").bytes(), false);
    let step = format!("vib: {{name: lab-tool, from: \"{url}\", acceptance: CommunitySupported}}");
    let playbook = home.write("p.yml", &format!("steps:\n  - acceptance: {{level: CommunitySupported}}\n  - {step}\n"));
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(ran.of("host_finished").iter().filter(|h| h["changed"].as_u64() > Some(0)).count(), 5, "{}", ran.all());
    let requests = seen.lock().unwrap().clone();
    assert_eq!(requests.iter().filter(|r| r.starts_with("GET ")).count(), 1, "{requests:?}");
    let inspected = |p: &&serde_json::Value| p["doing"].as_str().is_some_and(|d| d.starts_with("inspecting"));
    assert_eq!(ran.of("phase").iter().filter(inspected).count(), 1, "{}", ran.all());
}
