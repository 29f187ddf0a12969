//! What goes wrong ends in an error that a stranger understands, with the right exit code, and nothing half done.

use super::common::{Home, SimHosts, arg};

const SETTING: &str = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";

#[test]
fn a_host_that_lost_its_boot_disk_is_not_changed() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &["--fault", "lost-boot-disk"]);
    let playbook = home.write("p.yml", SETTING);
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let step = &ran.of("step")[0];
    assert_eq!(step["status"], "failed");
    let error = step["error"].as_str().unwrap();
    assert!(error.contains("/bootbank") && error.contains("forget"), "{error}");
    // Nothing was changed: it would still be changed.
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(3);
}

#[test]
fn a_wrong_password_is_tried_once() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let good = std::fs::read_to_string(&sim.inventory).unwrap();
    let password = sim.hosts[0]["password"].as_str().unwrap();
    let bad = home.write("bad.yml", &good.replace(password, "not-the-password"));
    let playbook = home.write("p.yml", SETTING);
    for _ in 0..4 {
        let ran = home.run(&["apply", arg(&playbook), "-i", arg(&bad)]).exits(4);
        assert!(ran.all().contains("refused the login"), "{}", ran.all());
        assert!(!ran.all().contains("not-the-password"), "{}", ran.all());
    }
    // Five failures would lock the account: four runs were four attempts, and the right password still works.
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(3);
}

#[test]
fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let home = Home::new();
    let first = SimHosts::start(&home, "8.0", 1, &[]);
    let pinned = std::fs::read_to_string(&first.inventory).unwrap();
    let old = first.hosts[0].clone();
    first.stop();
    let other = SimHosts::start(&home, "8.0", 1, &[]);
    let new = &other.hosts[0];
    // The old pin with the new host's place and password.
    let inventory = home.write(
        "old-pin.yml",
        &pinned
            .replace(&old["port"].to_string(), &new["port"].to_string())
            .replace(old["password"].as_str().unwrap(), new["password"].as_str().unwrap()),
    );
    let playbook = home.write("p.yml", SETTING);
    let ran = home.run(&["apply", arg(&playbook), "-i", arg(&inventory)]).exits(4);
    assert!(ran.all().matches("SHA256:").count() >= 2, "{}", ran.all());
}

#[test]
fn a_connection_dropped_in_the_middle_of_a_change_says_what_it_left() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--fault", "drop-after=settings advanced set"]);
    let playbook = home.write("p.yml", SETTING);
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let failed: Vec<_> = ran.of("step").into_iter().filter(|s| s["status"] == "failed").collect();
    let error = failed[0]["error"].as_str().unwrap();
    assert!(error.contains("lost") && error.contains("Looked again"), "{error}");
    // Run again: it converges.
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(0);
}

#[test]
fn a_connection_dropped_in_the_middle_of_an_upload_leaves_no_part_of_the_file() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--fault", "drop-after=sha256sum"]);
    let playbook = home.write("p.yml", "steps:\n  - file: {path: /etc/motd.lab, content: \"hello\\n\"}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]);
    if ran.code != 0 {
        assert_eq!(ran.code, 1, "{}", ran.all());
    }
    assert_eq!(sim.on_host(&home, "ls -a /etc | grep -c 'motd.lab.*part'").trim(), "0");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    assert_eq!(sim.on_host(&home, "cat /etc/motd.lab").trim(), "hello");
}

#[test]
fn a_host_that_never_comes_back_is_said_so_after_the_limit() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &["--fault", "never-returns"]);
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always, timeout: 3s}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("did not come back"), "{}", ran.all());
}

#[test]
fn a_reboot_that_did_not_happen_is_not_believed() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &["--fault", "no-reboot"]);
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always, timeout: 4s}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("did not come back") && ran.all().contains("boot time"), "{}", ran.all());
}

#[test]
fn running_virtual_machines_and_other_systems_are_respected() {
    let home = Home::new();
    let playbook = home.write("p.yml", SETTING);
    // Nothing listens there.
    let ran = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9"]).exits(4);
    assert!(ran.all().contains("127.0.0.1:9"), "{}", ran.all());
    // A playbook for another line.
    let other = home.write("q.yml", "esxi: \"6.5\"\nsteps:\n  - reboot: {when: always}\n");
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let ran = home.run(&["apply", arg(&other), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("made for 6.5"), "{}", ran.all());
}

#[test]
fn disabling_the_only_disk_driver_is_refused_on_7() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "7.0", 1, &[]);
    let playbook = home.write("p.yml", "steps:\n  - module: {name: vmw_ahci, enabled: false}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("vmw_ahci") && ran.all().contains("7.0"), "{}", ran.all());
}

#[test]
fn one_session_a_connection_is_enough() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.7", 1, &["--max-sessions", "1"]);
    let playbook = home.write("p.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - file: {path: /etc/motd.lab, content: \"x\\n\"}\n  - vswitch: {name: vSwitch0, mtu: 1500}\n  - dns: {servers: [192.0.2.53]}\n");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(0);
}

#[test]
fn a_vib_that_is_not_there_is_found_before_any_host_is_touched() {
    let home = Home::new();
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always}\n  - vib: {name: x, from: nope.vib}\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9", "--output", "json"]).exits(2);
    assert!(ran.of("host_connecting").is_empty(), "{}", ran.all());
    assert!(ran.of("note")[0]["text"].as_str().unwrap().contains("nope.vib"), "{}", ran.all());
    let human = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9"]).exits(2);
    assert!(human.stdout.contains("1 of 1 host not begun"), "{}", human.all());
}
