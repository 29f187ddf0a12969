//! The main job: two hosts from fresh install to configured, once; then nothing left to do.

use super::common::{Home, SimHosts, arg};

#[test]
fn one_command_configures_two_simulated_hosts_with_one_reboot_each() {
    let home = Home::new();
    let ran = home.run(&["apply", "playbooks/nested-lab.yml", "--sim", "2", "--output", "json"]).exits(0);
    let finished = ran.of("host_finished");
    assert_eq!(finished.len(), 2, "{}", ran.all());
    for host in &finished {
        assert_eq!(host["reboots"], 1, "{host}");
        assert_eq!(host["failed"], 0, "{host}");
        assert!(host["changed"].as_u64().unwrap() >= 5, "{host}");
    }
    assert_eq!(ran.of("host_rebooting").len(), 2);
    assert_eq!(ran.of("host_back").len(), 2);
    let connected = ran.of("host_connected");
    assert!(connected.iter().all(|c| c["version"] == "6.5.0"), "{connected:?}");
    assert!(ran.of("run_finished")[0]["changed"].as_u64().unwrap() >= 10);
}

#[test]
fn a_second_run_has_nothing_to_do_and_a_setting_changed_behind_its_back_is_found() {
    let home = Home::new();
    let state = home.path("sim");
    let sim = SimHosts::start(&home, "6.5", 2, &["--state", arg(&state)]);
    let playbook = "playbooks/nested-lab.yml";
    home.run(&["apply", playbook, "-i", sim.inventory()]).exits(0);

    let check = home.run(&["apply", playbook, "-i", sim.inventory(), "--check", "--output", "json"]).exits(0);
    for host in check.of("host_finished") {
        assert_eq!(host["changed"], 0, "{host}");
        assert_eq!(host["reboots"], 0, "{host}");
        assert!(host["round_trips"].as_u64().unwrap() <= 3, "{host}");
    }
    home.run(&["verify", playbook, "-i", sim.inventory()]).exits(0);

    // Kept hosts come back as they were left: the changes were saved.
    sim.stop();
    let sim = SimHosts::start(&home, "6.5", 2, &["--state", arg(&state)]);
    home.run(&["verify", playbook, "-i", sim.inventory()]).exits(0);

    let behind = home.write("behind.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 0}\n");
    home.run(&["apply", arg(&behind), "-i", sim.inventory(), "--limit", "esx1"]).exits(0);
    let drift = home.run(&["verify", playbook, "-i", sim.inventory(), "--output", "json"]).exits(3);
    let differing: Vec<_> = drift.of("step").into_iter().filter(|s| s["status"] == "would_change").collect();
    assert_eq!(differing.len(), 1, "{}", drift.all());
    assert_eq!(differing[0]["host"], "esx1");
    assert!(differing[0]["changes"][0]["summary"].as_str().unwrap().contains("SuppressShellWarning"));
    let human = home.run(&["verify", playbook, "-i", sim.inventory()]).exits(3);
    assert!(human.stdout.contains("SuppressShellWarning"), "{}", human.all());
}

#[test]
fn every_ready_playbook_is_valid() {
    let home = Home::new();
    let mut args = vec!["validate".to_owned()];
    for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yml") {
            args.push(path.to_str().unwrap().to_owned());
        }
    }
    assert!(args.len() >= 5);
    home.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
}

#[test]
fn ready_playbooks_converge_on_every_line_they_are_for() {
    let home = Home::new();
    for version in ["6.5", "6.7", "7.0", "8.0"] {
        let sim = SimHosts::start(&home, version, 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
        for playbook in ["playbooks/vmotion.yml", "playbooks/clone-fixup.yml"] {
            let first = home.run(&["apply", playbook, "-i", sim.inventory()]);
            assert_eq!(first.code, 0, "{playbook} on {version}: {}", first.all());
            let again = home.run(&["verify", playbook, "-i", sim.inventory()]);
            assert_eq!(again.code, 0, "{playbook} again on {version}: {}", again.all());
        }
        let args = [
            "apply",
            "playbooks/vmotion.yml",
            "-i",
            sim.inventory(),
            "-e",
            "vmknic=vmk1",
            "-e",
            "vmotion_ip=10.9.0.11/24",
            "-e",
            "vlan=9",
        ];
        home.run(&args).exits(0);
        home.run(&args).exits(0);
        sim.stop();
    }
}

#[test]
fn check_says_what_apply_would_do_and_does_nothing() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &[]);
    for _ in 0..2 {
        let check = home
            .run(&["apply", "playbooks/nested-lab.yml", "-i", sim.inventory(), "--check", "--diff", "--output", "json"])
            .exits(3);
        let steps = check.of("step");
        let would = steps.iter().filter(|s| s["status"] == "would_change").count();
        assert!(would >= 5, "{}", check.all());
        assert!(check.of("host_rebooting").is_empty());
    }
}

#[test]
fn a_journal_is_kept_shown_and_resumed() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let playbook = home.write(
        "two.yml",
        "name: Two\nsteps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - name: breaks\n    run: {command: 'test -e /tmp/go', expect: {exit: [0]}}\n",
    );
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    let list = home.run(&["log"]).exits(0);
    assert!(list.stdout.contains("Two"), "{}", list.all());
    let shown = home.run(&["log", "last"]).exits(0);
    assert!(shown.stdout.contains("breaks") && shown.stdout.contains("failed"), "{}", shown.all());
    sim.on_host(&home, "touch /tmp/go");
    // `last` is now the run of `on_host`: resume the one that failed, by its id.
    let id = list
        .stdout
        .lines()
        .find(|l| l.contains("Two"))
        .and_then(|l| l.split_whitespace().find(|w| w.starts_with("20")))
        .unwrap()
        .to_owned();
    let resumed =
        home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--resume", &id, "--output", "json"]).exits(0);
    let steps = resumed.of("step");
    assert_eq!(steps[0]["status"], "skipped", "{}", resumed.all());
    assert_eq!(steps[1]["status"], "changed", "{}", resumed.all());
}

#[test]
fn verify_does_not_judge_what_reading_cannot_show() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let playbook =
        home.write("p.yml", "steps:\n  - run: touch /tmp/x\n  - run: {command: touch /tmp/y, creates: /tmp/y}\n");
    let ran = home.run(&["verify", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(3);
    let statuses: Vec<_> = ran.of("step").iter().map(|s| s["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(statuses, ["skipped", "would_change"], "{}", ran.all());
    assert_eq!(sim.on_host(&home, "ls /tmp").trim(), "");
}
