//! Running virtual machines and maintenance mode: nothing is switched off that the playbook does not allow, and a host
//! is left in the mode in which it was found.

use std::path::PathBuf;

use super::common::{Home, Ran, SimHosts, arg};

const QUICK: [&str; 4] = ["--boot-ms", "300", "--hostd-ms", "200"];

fn quick(home: &Home, version: &str, more: &[&str]) -> SimHosts {
    SimHosts::start(home, version, 1, &[&QUICK, more].concat())
}

/// One change that needs no reboot, then a reboot.
fn change_and_reboot(home: &Home, policy: &str) -> PathBuf {
    home.write(
        "reboot.yml",
        &format!("{policy}steps:\n  - setting: {{key: UserVars.SuppressShellWarning, value: 1}}\n  - reboot: always\n"),
    )
}

fn vms(home: &Home, sim: &SimHosts) -> String {
    sim.on_host(home, "vim-cmd vmsvc/power.getstate 1 | tail -n 1; esxcli vm process list | grep -c 'World ID'")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn maintenance(home: &Home, sim: &SimHosts) -> String {
    sim.on_host(home, "esxcli system maintenanceMode get").trim().to_owned()
}

#[test]
fn a_reboot_is_refused_while_virtual_machines_run_and_what_was_done_is_kept() {
    let home = Home::new();
    let sim = quick(&home, "7.0", &["--fault", "vm=web 1", "--fault", "vm=db"]);
    let playbook = change_and_reboot(&home, "");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let error = ran.of("host_failed")[0]["error"].as_str().unwrap().to_owned();
    for part in ["web 1", "db", "on_running_vms"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(ran.of("step")[0]["status"], "changed", "{}", ran.all());
    assert!(ran.of("host_rebooting").is_empty(), "{}", ran.all());
    assert_eq!(vms(&home, &sim), "Powered on 2");
    // It was saved: a reboot by somebody else does not lose it.
    let other = home.write("other.yml", "on_running_vms: suspend\nsteps:\n  - reboot: always\n");
    home.run(&["apply", arg(&other), "-i", sim.inventory()]).exits(0);
    let setting = home.write("s.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n");
    home.run(&["verify", arg(&setting), "-i", sim.inventory()]).exits(0);
}

#[test]
fn virtual_machines_are_shut_down_or_suspended_when_the_playbook_says_so() {
    for (policy, state) in [("shutdown", "Powered off 0"), ("suspend", "Suspended 0")] {
        let home = Home::new();
        let sim = quick(&home, "6.7", &["--fault", "vm=web", "--fault", "vm=db"]);
        let playbook = change_and_reboot(&home, &format!("on_running_vms: {policy}\n"));
        let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
        assert_eq!(ran.of("host_finished")[0]["reboots"], 1, "{}", ran.all());
        assert_eq!(vms(&home, &sim), state, "{policy}");
    }
}

#[test]
fn a_guest_that_does_not_shut_down_stops_the_run_by_name() {
    let home = Home::new();
    let fault = "fail=vmsvc/power.shutdown:(vim.fault.ToolsUnavailable) { msg = \"VMware Tools is not running\" }";
    let sim = quick(&home, "6.5", &["--fault", "vm=old-guest", "--fault", fault]);
    let playbook = change_and_reboot(&home, "on_running_vms: shutdown\n");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("old-guest") && ran.all().contains("Tools"), "{}", ran.all());
    assert_eq!(vms(&home, &sim), "Powered on 1");
}

/// A Host Client that says it needs maintenance mode, and a playbook that installs it.
fn wants_maintenance(home: &Home, policy: &str) -> PathBuf {
    let vib = esxprep::sim::sample::host_client().unwrap();
    // Of the same length, so that the archive stays whole.
    let (old, new) = ("<maintenance-mode>false</maintenance-mode>", "<maintenance-mode>true</maintenance-mode >");
    let at = vib.windows(old.len()).position(|w| w == old.as_bytes()).unwrap();
    let changed = [&vib[..at], new.as_bytes(), &vib[at + old.len()..]].concat();
    std::fs::write(home.path("needs.vib"), changed).unwrap();
    home.write("vib.yml", &format!("{policy}steps:\n  - vib: {{name: esx-ui, from: needs.vib}}\n"))
}

fn told(ran: &Ran, word: &str) -> bool {
    ran.of("phase").iter().any(|p| p["doing"].as_str().is_some_and(|d| d.contains(word)))
}

#[test]
fn maintenance_mode_is_entered_for_a_vib_that_needs_it_and_left_again() {
    let home = Home::new();
    let sim = quick(&home, "6.5", &[]);
    let playbook = wants_maintenance(&home, "");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert!(told(&ran, "entering maintenance mode"), "{}", ran.all());
    assert_eq!(ran.of("step")[0]["status"], "changed", "{}", ran.all());
    assert_eq!(maintenance(&home, &sim), "Disabled");
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(0);
    assert_eq!(sim.on_host(&home, "ls -a /tmp | grep -c esxprep").trim(), "0");
}

#[test]
fn maintenance_mode_is_left_when_the_install_fails_and_no_file_stays() {
    let home = Home::new();
    let sim = quick(&home, "6.5", &["--fault", "fail=vib install:[InstallationError] There was an error"]);
    let playbook = wants_maintenance(&home, "");
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    assert!(told(&ran, "entering maintenance mode"), "{}", ran.all());
    assert_eq!(maintenance(&home, &sim), "Disabled");
    assert_eq!(sim.on_host(&home, "ls -a /tmp | grep -c esxprep").trim(), "0");
}

#[test]
fn a_host_that_was_in_maintenance_mode_stays_in_it() {
    let home = Home::new();
    let sim = quick(&home, "6.5", &[]);
    sim.on_host(&home, "esxcli system maintenanceMode set -e true");
    let playbook = wants_maintenance(&home, "");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    assert_eq!(maintenance(&home, &sim), "Enabled");
}

#[test]
fn a_maintenance_step_before_such_a_vib_is_respected() {
    let home = Home::new();
    let sim = quick(&home, "7.0", &[]);
    wants_maintenance(&home, "");
    let playbook =
        home.write("both.yml", "steps:\n  - maintenance: {enabled: true}\n  - vib: {name: esx-ui, from: needs.vib}\n");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    assert_eq!(maintenance(&home, &sim), "Enabled");
}

#[test]
fn maintenance_mode_waits_for_no_virtual_machine_that_may_not_be_stopped() {
    let home = Home::new();
    let sim = quick(&home, "6.5", &["--fault", "vm=web"]);
    let ran = home.run(&["apply", arg(&wants_maintenance(&home, "")), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("web") && ran.all().contains("enter maintenance mode"), "{}", ran.all());
    assert_eq!((vms(&home, &sim).as_str(), maintenance(&home, &sim).as_str()), ("Powered on 1", "Disabled"));
    let allowed = wants_maintenance(&home, "on_running_vms: suspend\n");
    home.run(&["apply", arg(&allowed), "-i", sim.inventory()]).exits(0);
    assert_eq!((vms(&home, &sim).as_str(), maintenance(&home, &sim).as_str()), ("Suspended 0", "Disabled"));
}
