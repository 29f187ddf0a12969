//! Whole labs of stand-in guests through the front door: the binary, real QEMU (software emulation), real SSH. Installed
//! from an ISO, staged from IDE to USB and AHCI, networked, killed, frozen, cloned, and taken down to nothing.
//!
//! As root with QEMU, xorriso, busybox, iproute2 and Open vSwitch; the kernel is downloaded by apt-get, once.

#[path = "lab/home.rs"]
mod home;

use home::Home;
use serde_json::Value;

/// Two hosts on one network, killed on the way up wherever it may hurt, then used in every way, then gone.
#[test]
fn a_lab_goes_from_nothing_to_running_through_kills_and_back_to_nothing() {
    let home = Home::new();
    let lab = home.lab("standin.yml");
    // Each is the beginning of something: esxprep is killed as soon as it says so.
    let kills: &[(&str, Option<&str>)] = &[
        ("networks", None),
        ("disks", Some("esx1")),
        ("kickstart", Some("esx2")),
        ("install", Some("esx1")),
        ("boot fix", Some("esx2")),
        ("apply fix", Some("esx1")),
        ("stop fix", Some("esx1")),
        ("boot run", Some("esx2")),
        ("apply run", Some("esx2")),
    ];
    for (phase, host) in kills {
        home.up_killed_at(&lab, phase, *host);
    }
    let up = home.run(&["lab", "up", &lab, "--output", "json"]).exits(0);
    let ready = up.of("lab_host_ready");
    assert_eq!(ready.len(), 2, "{}", up.all());
    assert_ne!(ready[0]["mac"], ready[1]["mac"]);
    let proof = up.phase("prove networks");
    assert!(proof["detail"].as_str().is_some_and(|d| d.contains("2 hosts reach each other on lan")), "{proof}");
    let finished = &up.of("lab_finished")[0];
    assert_eq!((&finished["ready"], &finished["failed"]), (&Value::from(2), &Value::from(0)));

    // It runs: once more changes nothing, and what was set is seen from outside by OpenSSH's own client.
    let again = home.run(&["lab", "up", &lab, "--output", "json"]).exits(0);
    assert!(again.of("step").iter().all(|s| s["status"] != "changed"), "{}", again.all());
    let said =
        home.run(&["lab", "ssh", "esx1", &lab, "--", "vmware -v; vmkping -c 2 10.9.0.12; echo ping $?"]).exits(0);
    assert!(said.stdout.contains("VMware ESXi 6.5.0") && said.stdout.contains("ping 0"), "{}", said.all());
    let inventory = home.run(&["lab", "inventory", &lab]).exits(0).stdout;
    let inventory = inventory.trim();
    home.run(&["apply", "playbooks/nested-lab.yml", "-i", inventory, "--check"]).exits(0);

    // A second host with the MAC of the first: the pings of both get lost, `up` heals it.
    let mac = home
        .ssh(&lab, "esx1", "esxcli network ip interface list")
        .lines()
        .map(str::trim)
        .fold((String::new(), String::new()), |(name, found), line| {
            match (line.strip_prefix("Name: "), line.strip_prefix("MAC Address: ")) {
                (Some(name), _) => (name.to_owned(), found),
                (_, Some(mac)) if name == "vmk1" => (name, mac.to_owned()),
                _ => (name, found),
            }
        })
        .1;
    home.ssh(
        &lab,
        "esx2",
        &format!(
            "esxcli network ip interface remove -i vmk1; esxcli network ip interface add -i vmk1 -p LAN -M {mac}; \
             esxcli network ip interface ipv4 set -i vmk1 -t static -I 10.9.0.12 -N 255.255.255.0"
        ),
    );
    let lost = home.ssh(&lab, "esx1", "vmkping -c 3 10.9.0.12; echo ping $?");
    assert!(lost.contains("ping 1"), "equal MACs on one network do not break pings here: {lost}");
    let healed = home.run(&["lab", "up", &lab, "--output", "json"]).exits(0);
    assert!(healed.of("step").iter().any(|s| s["kind"] == "vmknic" && s["status"] == "changed"), "{}", healed.all());
    assert!(home.ssh(&lab, "esx1", "vmkping -c 2 10.9.0.12; echo ping $?").contains("ping 0"));

    // Another port, while it runs.
    let added = home.run(&["lab", "ports", "add", "22", "esx1", &lab]).exits(0).stdout;
    let port: u16 = added.split([':', ' ']).find_map(|w| w.parse().ok()).unwrap();
    assert!(home::banner(port).starts_with("SSH-"), "{added}");
    home.run(&["lab", "ports", "remove", &port.to_string(), "esx1", &lab]).exits(0);
    let png = home.run(&["lab", "screenshot", "esx1", &lab]).exits(0).stdout;
    assert!(std::fs::read(png.trim()).unwrap().starts_with(b"\x89PNG"));

    // Frozen and back, with what only memory held.
    home.ssh(&lab, "esx2", "echo remembered > /tmp/mark");
    home.run(&["lab", "freeze", &lab]).exits(0);
    assert_eq!(home.states(&lab), ["frozen", "frozen"]);
    assert!(home.processes().iter().all(|p| !p.contains("qemu")), "{:?}", home.processes());
    home.run(&["lab", "thaw", &lab]).exits(0);
    assert_eq!(home.states(&lab), ["running", "running"]);
    assert_eq!(home.ssh(&lab, "esx2", "cat /tmp/mark").trim(), "remembered");

    // A guest that dies is seen to be dead, and comes back.
    home.kill_guest(&lab, "esx1");
    assert_eq!(home.states(&lab), ["dead", "running"]);
    home.run(&["lab", "up", &lab]).exits(0);
    assert_eq!(home.states(&lab), ["running", "running"]);
    home.run(&["lab", "stop", &lab]).exits(0);
    assert_eq!(home.states(&lab), ["stopped", "stopped"]);
    home.run(&["lab", "snapshot", "create", "before", &lab]).exits(0);
    assert!(home.run(&["lab", "snapshot", "list", &lab]).exits(0).stdout.contains("before"));
    home.run(&["lab", "snapshot", "revert", "before", &lab]).exits(0);
    home.run(&["lab", "snapshot", "delete", "before", &lab]).exits(0);
    home.run(&["lab", "start", &lab, "--host", "esx2"]).exits(0);
    assert_eq!(home.states(&lab), ["stopped", "running"]);

    home.run(&["lab", "down", &lab]).exits(0);
    home.nothing_left();
    home.run(&["lab", "down", &lab]).exits(0);
}

/// A boot disk on USB of a 6.5 that was not told to use its older driver: the host forgets everything, and the lab says
/// so before it changes anything.
#[test]
fn a_host_that_does_not_see_its_boot_disk_is_not_configured() {
    let home = Home::new();
    let lab = home.write_lab(
        "blind",
        "esxi: \"6.5\"\nguest: standin\nhosts: 1\ncpus: 1\nmemory: 384MiB\nboot_disk: {size: 1GiB, bus: usb}\n\
         stages:\n  - {name: seen, machine: pc, boot_disk: ide}\n  - {name: run, machine: q35, apply: nested-lab.yml}\n",
    );
    let up = home.run(&["lab", "up", &lab, "--output", "json"]).exits(1);
    let failed = &up.of("lab_host_failed")[0]["error"];
    let text = failed.as_str().unwrap_or_default();
    assert!(text.contains("does not see its boot disk") && text.contains("forgets every change"), "{}", up.all());
    assert!(up.of("step").is_empty(), "{}", up.all());
    // Without that look: what is set is gone after the next boot.
    home.ssh(
        &lab,
        "esx1",
        "esxcli system settings advanced set -o /UserVars/ESXiShellTimeOut -i 900; /sbin/auto-backup.sh; reboot",
    );
    home.waits_for_reboot(&lab, "esx1");
    let value = home.ssh(&lab, "esx1", "esxcli system settings advanced list -o /UserVars/ESXiShellTimeOut");
    assert!(value.lines().any(|l| l.trim() == "Int Value: 0"), "{value}");
    home.run(&["lab", "down", &lab]).exits(0);
    home.nothing_left();
}

/// A linked clone keeps the MAC of the host that it was cloned from, until its vmk0 is made anew.
#[test]
fn a_clone_keeps_its_mac_until_it_is_healed_and_can_be_rebuilt() {
    let home = Home::new();
    let text = |apply: &str| {
        format!(
            "esxi: \"6.5\"\nguest: standin\ncpus: 1\nmemory: 384MiB\nboot_disk: {{size: 1GiB, bus: ide}}\nmachine: pc\n\
             hosts:\n  esx1:\n  esx2: {{clone_from: esx1, clone: linked{apply}}}\n"
        )
    };
    let lab = home.write_lab("clones", &text(""));
    let up = home.run(&["lab", "up", &lab, "--output", "json"]).exits(1);
    let clone = up.phase("clone");
    assert!(clone["detail"].as_str().is_some_and(|d| d.contains("linked")), "{clone}");
    let proof = up.phase("prove networks");
    let said = proof["detail"].as_str().unwrap_or_default();
    assert!(said.contains("vmk0 of esx1 and vmk0 of esx2 have one MAC address"), "{proof}");
    // Both write to disks of their own that stand on one that nobody writes to.
    let base = home.host_file("clones", "esx1", "boot.base.qcow2");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&base).unwrap().permissions());
    assert_eq!(mode & 0o222, 0, "the base can be written to");

    let lab = home.write_lab("clones", &text(", apply: clone-fixup.yml"));
    home.run(&["lab", "up", &lab, "--output", "json"]).exits(0);
    let macs =
        ["esx1", "esx2"].map(|h| home.ssh(&lab, h, "esxcli network ip interface list -N defaultTcpipStack | grep MAC"));
    assert_ne!(macs[0], macs[1]);

    // The host that others stand on cannot be made anew, a clone can.
    let refused = home.run(&["lab", "rebuild", "esx1", &lab]).exits(2);
    assert!(refused.stderr.contains("esx2 stand on its disk"), "{}", refused.all());
    assert_eq!(home.states(&lab), ["running", "running"]);
    home.run(&["lab", "rebuild", "esx2", &lab]).exits(0);
    home.run(&["lab", "down", &lab]).exits(0);
    home.nothing_left();
}

/// Taps, a Linux bridge with an address, a userspace Open vSwitch with a VLAN: in a network namespace of the test's own.
#[test]
fn bridges_and_switches_are_made_used_and_taken_away_exactly() {
    let home = Home::in_netns();
    let lab = home.write_lab(
        "taps",
        "esxi: \"6.7\"\nguest: standin\nhosts: 1\ncpus: 1\nmemory: 384MiB\nmachine: pc\nboot_disk: {size: 1GiB, bus: ide}\n\
         networks:\n  mgmt: {type: bridge, address: 10.77.0.1/24, first: 10.77.0.11}\n  \
         lan: {type: ovs, datapath: userspace, vlan: 10, mtu: 9000}\nnics:\n  - {network: mgmt}\n  - {network: lan}\n",
    );
    let before = home.addresses();
    let up = home.run(&["lab", "up", &lab, "--output", "json"]).exits(0);
    let ready = &up.of("lab_host_ready")[0];
    assert_eq!((&ready["address"], &ready["port"]), (&Value::from("10.77.0.11"), &Value::from(22)));
    assert_ne!(home.addresses(), before);
    assert!(home.ssh(&lab, "esx1", "vmware -v").contains("6.7.0"));
    home.run(&["lab", "down", &lab]).exits(0);
    assert_eq!(home.addresses(), before);
    home.nothing_left();
}

/// Whatever was killed on its way up goes down to nothing.
#[test]
fn a_killed_lab_goes_down_to_nothing() {
    let home = Home::new();
    let lab = home.lab("standin.yml");
    for (phase, host) in
        [("networks", None), ("disks", Some("esx2")), ("kickstart", Some("esx1")), ("install", Some("esx2"))]
    {
        home.up_killed_at(&lab, phase, host);
        home.run(&["lab", "down", &lab]).exits(0);
        home.nothing_left();
    }
}

/// A lab that is written wrong is told so before anything is made.
#[test]
fn a_wrong_lab_makes_nothing() {
    let home = Home::new();
    let lab = home.write_lab("wrong", "esxi: \"7.0\"\nguest: standin\nnics:\n  - {model: e1000}\n");
    let up = home.run(&["lab", "up", &lab]);
    assert_eq!(up.code, 2, "{}", up.all());
    assert!(up.stderr.contains("e1000"), "{}", up.all());
    home.nothing_left();
    let unknown = home.run(&["lab", "status", "nothing-of-that-name"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.stderr.contains("no lab of that name"), "{}", unknown.all());
}
