//! Changes to the interface that carries the session: the session is really cut, the host really moves, and what
//! nobody confirms is taken back by the host.

use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};

/// Simulated hosts that are quick, with further arguments.
fn quick(home: &Home, version: &str, more: &[&str]) -> SimHosts {
    let mut args = vec!["--boot-ms", "300", "--hostd-ms", "200"];
    args.extend(more);
    SimHosts::start(home, version, 1, &args)
}

/// The inventory with another address in it.
fn at(home: &Home, sim: &SimHosts, old: &str, new: &str) -> PathBuf {
    let text = std::fs::read_to_string(&sim.inventory).unwrap();
    assert!(text.contains(old), "{text}");
    home.write("moved.yml", &text.replace(old, new))
}

fn step(ran: &Ran, number: usize) -> Value {
    ran.of("step").get(number).cloned().unwrap_or_else(|| panic!("{}", ran.all()))
}

fn notes(ran: &Ran) -> String {
    ran.of("note").iter().filter_map(|n| n["text"].as_str()).collect::<Vec<_>>().join("\n")
}

/// What must survive the recreation of vmk0.
fn lasting(home: &Home, sim: &SimHosts) -> String {
    let all = sim.on_host(
        home,
        "esxcli network ip interface list -N defaultTcpipStack; esxcli network ip interface ipv4 get -i vmk0; \
         esxcli network ip interface tag get -i vmk0; esxcli network ip route ipv4 list",
    );
    assert!(all.contains("Portgroup: Management Network"), "{all}");
    all.lines().filter(|l| !l.contains("MAC Address") && !l.contains("Port ID")).collect::<Vec<_>>().join("\n")
}

/// Waits until nothing (or something) takes connections there.
fn wait_for(address: &str, port: u64, open: bool, within: Duration) {
    let until = Instant::now() + within;
    let place = format!("{address}:{port}").parse().unwrap();
    while TcpStream::connect_timeout(&place, Duration::from_millis(200)).is_ok() != open {
        assert!(Instant::now() < until, "{place} open: {}", !open);
        std::thread::sleep(Duration::from_millis(3));
    }
}

const HARDWARE: &str = "steps:\n  - vmknic: {name: vmk0, mac: hardware, recreate_confirm: 15}\n";

#[test]
fn vmk0_of_a_clone_is_recreated_with_the_mac_of_its_nic_and_keeps_everything_else() {
    let home = Home::new();
    let sim = quick(&home, "8.0", &["--fault", "cloned", "--management-address", "127.23.1.11"]);
    assert_eq!(sim.hosts[0]["address"], "127.23.1.11");
    let before = home.write("before.yml", "steps:\n  - vmknic: {name: vmk0, mtu: 1400}\n  - vmotion: {vmknic: vmk0}\n");
    home.run(&["apply", arg(&before), "-i", sim.inventory()]).exits(0);
    let was = lasting(&home, &sim);
    assert!(was.contains("MTU: 1400") && was.contains("VMotion") && was.contains("127.23.1.1 "), "{was}");
    let nic = sim.on_host(&home, "esxcli network nic list | grep ^vmnic0");
    assert!(nic.contains("52:54:00:c1:00:01"), "{nic}");

    let playbook = home.write("mac.yml", HARDWARE);
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(3);
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    let change = &step(&ran, 0)["changes"][0];
    assert!(change["before"].as_str().unwrap().contains("52:54:00:e5:00:01"), "{change}");
    assert!(change["after"].as_str().unwrap().contains("52:54:00:c1:00:01"), "{change}");
    assert!(notes(&ran).contains("logged in again at 127.23.1.11 and confirmed"), "{}", ran.all());

    let macs = sim.on_host(&home, "esxcli network ip interface list | grep 'MAC Address'");
    assert_eq!(macs.trim(), "MAC Address: 52:54:00:c1:00:01");
    assert_eq!(lasting(&home, &sim), was);
    let again = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(again.of("host_finished")[0]["changed"], 0, "{}", again.all());
    assert_eq!(sim.on_host(&home, "ls -a /tmp | grep -c esxprep").trim(), "0");
}

#[test]
fn a_clone_on_6_5_gets_its_mac_by_the_reboot() {
    let ran = clone_fixup("6.5");
    // FollowHardwareMac has done it.
    assert!(!notes(&ran).contains("logged in again"), "{}", ran.all());
}

#[test]
fn a_clone_on_8_0_has_vmk0_recreated_after_the_reboot() {
    let ran = clone_fixup("8.0");
    assert!(notes(&ran).contains("logged in again"), "{}", ran.all());
}

fn clone_fixup(version: &str) -> Ran {
    let home = Home::new();
    let sim = quick(&home, version, &["--fault", "cloned"]);
    let playbook = "playbooks/clone-fixup.yml";
    let uuid = "grep ^/system/uuid /etc/vmware/esx.conf";
    let old = sim.on_host(&home, uuid);
    let ran = home.run(&["apply", playbook, "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(ran.of("host_finished")[0]["reboots"], 1, "{}", ran.all());
    let macs = sim.on_host(&home, "esxcli network ip interface list | grep 'MAC Address'");
    assert_eq!(macs.trim(), "MAC Address: 52:54:00:c1:00:01");
    let new = sim.on_host(&home, uuid);
    assert!(new != old && new.contains("525400c10001"), "{old} -> {new}");
    home.run(&["verify", playbook, "-i", sim.inventory()]).exits(0);
    let again = home.run(&["apply", playbook, "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(again.of("host_finished")[0]["changed"], 0, "{}", again.all());
    ran
}

fn move_to(address: &str) -> String {
    format!(
        "steps:\n  - vmknic:\n      name: vmk0\n      recreate_confirm: 15\n      ipv4: {{address: {address}/24}}\n  - setting: {{key: UserVars.SuppressShellWarning, value: 1}}\n"
    )
}

#[test]
fn a_new_management_address_is_confirmed_there_and_the_old_one_is_gone() {
    let home = Home::new();
    let sim = quick(&home, "7.0", &["--management-address", "127.23.2.11"]);
    let playbook = home.write("move.yml", &move_to("127.23.2.12"));
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert!(notes(&ran).contains("logged in again at 127.23.2.12"), "{}", ran.all());
    // The step after it went on over the new address.
    assert_eq!(step(&ran, 1)["status"], "changed", "{}", ran.all());

    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(4);
    let moved = at(&home, &sim, "127.23.2.11", "127.23.2.12");
    home.run(&["verify", arg(&playbook), "-i", arg(&moved)]).exits(0);
    // It was saved, too.
    let reboot = home.write("reboot.yml", "steps:\n  - reboot: always\n");
    home.run(&["apply", arg(&reboot), "-i", arg(&moved)]).exits(0);
    home.run(&["verify", arg(&playbook), "-i", arg(&moved)]).exits(0);
}

#[test]
fn a_new_address_of_a_host_that_known_hosts_knows_needs_no_new_trust() {
    let home = Home::new();
    let sim = quick(&home, "7.0", &["--management-address", "127.23.3.11"]);
    std::fs::create_dir_all(home.path(".ssh")).unwrap();
    let host = &sim.hosts[0];
    home.write(".ssh/known_hosts", &format!("[127.23.3.11]:{} {}\n", host["port"], host["host_key"].as_str().unwrap()));
    let text = std::fs::read_to_string(&sim.inventory).unwrap();
    let unpinned: String = text.lines().filter(|l| !l.contains("host_key:")).map(|l| format!("{l}\n")).collect();
    let inventory = home.write("unpinned.yml", &unpinned);
    let playbook = home.write("move.yml", &move_to("127.23.3.12"));
    home.run(&["apply", arg(&playbook), "-i", arg(&inventory)]).exits(0);
}

#[test]
fn an_address_at_which_nobody_can_log_in_is_taken_back_by_the_host() {
    let home = Home::new();
    let sim = quick(&home, "6.7", &["--management-address", "127.23.4.11", "--fault", "deaf=127.23.4.12"]);
    let was = lasting(&home, &sim);
    let playbook = home.write("move.yml", &move_to("127.23.4.12"));
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let failed = step(&ran, 0);
    assert_eq!(failed["status"], "failed");
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("127.23.4.12") && error.contains("put the old state back"), "{error}");
    // The steps behind it were not begun.
    assert_eq!(ran.of("step").len(), 1, "{}", ran.all());
    assert_eq!(lasting(&home, &sim), was);
    assert_eq!(sim.on_host(&home, "ls -a /tmp | grep -c esxprep").trim(), "0");
}

/// Kills a run between the cut of its session and its confirmation.
fn killed_at_the_cut(home: &Home, sim: &SimHosts, playbook: &str) {
    let (address, port) = (sim.hosts[0]["address"].as_str().unwrap(), sim.hosts[0]["port"].as_u64().unwrap());
    let mut child = home
        .command(&["apply", playbook, "-i", sim.inventory()])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for(address, port, false, Duration::from_secs(20));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killed_before_the_confirmation_the_host_takes_the_new_address_back() {
    let home = Home::new();
    let sim = quick(&home, "8.0", &["--management-address", "127.23.5.11"]);
    let was = lasting(&home, &sim);
    let playbook = home.write("move.yml", &move_to("127.23.5.12"));
    killed_at_the_cut(&home, &sim, arg(&playbook));
    wait_for("127.23.5.11", sim.hosts[0]["port"].as_u64().unwrap(), true, Duration::from_secs(40));
    assert_eq!(lasting(&home, &sim), was);

    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(step(&ran, 0)["status"], "changed", "{}", ran.all());
    let moved = at(&home, &sim, "127.23.5.11", "127.23.5.12");
    home.run(&["verify", arg(&playbook), "-i", arg(&moved)]).exits(0);
}

#[test]
fn a_change_that_waits_for_a_killed_run_is_settled_by_the_next_one() {
    let home = Home::new();
    let playbook = home.write("mac.yml", HARDWARE);
    // vmk0 is away for a moment only: a slow esxcli makes it long enough to be seen.
    let more = ["--management-address", "127.23.6.21", "--fault", "cloned", "--esxcli-ms", "60"];
    let slow = quick(&home, "8.0", &more);
    killed_at_the_cut(&home, &slow, arg(&playbook));
    let started = Instant::now();
    wait_for("127.23.6.21", slow.hosts[0]["port"].as_u64().unwrap(), true, Duration::from_secs(40));
    let ran = home.run(&["apply", arg(&playbook), "-i", slow.inventory(), "--output", "json"]).exits(0);
    assert!(notes(&ran).contains("detached change of an earlier run"), "{}", ran.all());
    // Past the time at which the host would have taken it back, it is still there.
    std::thread::sleep(Duration::from_secs(18).saturating_sub(started.elapsed()));
    home.run(&["verify", arg(&playbook), "-i", slow.inventory()]).exits(0);
    assert_eq!(slow.on_host(&home, "ls -a /tmp | grep -c esxprep").trim(), "0");
}
