//! Kinds of step about the network: what they change and take back on every release, and what they refuse.

use super::common::{Home, reachable};
use super::kinds::{RELEASES, complaint, converges, host, run};

#[test]
fn network_kinds_make_change_and_remove() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        converges(
            &home,
            &sim,
            release,
            &[
                (
                    "vswitch: {name: vSwitch9, uplinks: [vmnic1], mtu: 9000, cdp: both, security: {promiscuous: true, mac_changes: false, forged_transmits: false}}",
                    "vSwitch9",
                ),
                ("portgroup: {name: Lab 9, vswitch: vSwitch9, vlan: 9, security: {promiscuous: false}}", "Lab 9"),
                ("vmknic: {name: vmk9, portgroup: Lab 9, mtu: 9000, ipv4: {address: 10.9.0.11/24}}", "10.9.0.11/24"),
                ("vmotion: {vmknic: vmk9}", "VMotion"),
                ("vmknic_tags: {vmknic: vmk9, tags: [vsan, provisioning]}", "vSphereProvisioning"),
                ("nic: {name: vmnic1, speed: 100, duplex: full}", "100 Mbit/s full"),
                ("hostname: {fqdn: esx9.lab.example}", "esx9.lab.example"),
                ("dns: {servers: [192.0.2.53, 192.0.2.54], search: [lab.example]}", "192.0.2.53, 192.0.2.54"),
                ("firewall: {ruleset: syslog, enabled: true, allowed: [192.0.2.0/24, 10.0.0.5]}", "192.0.2.0/24"),
            ],
        );
        // Other values, and the opposite of what can be switched.
        converges(
            &home,
            &sim,
            release,
            &[
                (
                    "vswitch: {name: vSwitch9, uplinks: [], mtu: 1600, cdp: listen, security: {promiscuous: false}}",
                    "1600",
                ),
                ("portgroup: {name: Lab 9, vlan: 4095, security: inherit}", "4095"),
                ("vmknic: {name: vmk9, mtu: 1500, ipv4: {address: 10.9.0.12/25}, enabled: false}", "10.9.0.12/25"),
                ("vmotion: {vmknic: vmk9, enabled: false}", "VMotion"),
                ("vmknic_tags: {vmknic: vmk9, tags: [provisioning], exclusive: true}", "VSAN"),
                ("nic: {name: vmnic1, speed: auto}", "auto"),
                ("hostname: {host: esx1, domain: ''}", "esx1"),
                ("dns: {servers: [192.0.2.54], search: []}", "lab.example"),
                ("firewall: {ruleset: syslog, enabled: false, allowed: all}", "all"),
            ],
        );
        converges(&home, &sim, release, &[("vmknic: {name: vmk9, state: absent}", "vmk9")]);
        converges(&home, &sim, release, &[("portgroup: {name: Lab 9, state: absent}", "Lab 9")]);
        converges(
            &home,
            &sim,
            release,
            &[("vswitch: {name: vSwitch9, state: absent}", "vSwitch9"), ("nic: {name: vmnic1, link: down}", "down")],
        );
        converges(&home, &sim, release, &[("nic: {name: vmnic1, link: up}", "up")]);
    }
}

#[test]
fn network_kinds_say_why_they_refuse() {
    let home = Home::new();
    for release in ["6.5", "8.0"] {
        let mut complaints = Vec::new();
        let sim = host(&home, release, &[]);
        for (step, says) in [
            ("vswitch: {name: vSwitch9, uplinks: [vmnic0]}", &["vmnic0", "vSwitch0"][..]),
            ("vswitch: {name: vSwitch8, uplinks: [vmnic77]}", &["vmnic77", "vmnic0"]),
            ("vswitch: {name: vSwitch0, uplinks: []}", &["vmnic0", "session"]),
            ("vswitch: {name: vSwitch0, state: absent}", &["vSwitch0", "session"]),
            ("portgroup: {name: Management Network, state: absent}", &["Management Network", "vmk0"]),
            ("portgroup: {name: VM Network, vswitch: vSwitch1}", &["VM Network", "vSwitch0"]),
            ("portgroup: {name: New, vswitch: vSwitch7}", &["vSwitch7"]),
            ("vmknic: {name: vmk0, state: absent}", &["vmk0", "session"]),
            ("vmknic: {name: vmk5, portgroup: Nowhere}", &["Nowhere"]),
            ("vmknic_tags: {vmknic: vmk0, tags: [vmotion], exclusive: true}", &["anagement", "vmk0"]),
            ("vmotion: {vmknic: vmk7}", &["vmk7"]),
            ("nic: {name: vmnic0, link: down}", &["vmnic0", "session"]),
            ("nic: {name: vmnic9, link: up}", &["vmnic9"]),
            ("firewall: {ruleset: ntpclient, enabled: true}", &["ntpclient", "ntpClient"]),
            ("firewall: {ruleset: sshServer, allowed: [192.0.2.0/24]}", &["sshServer", "127.0.0.1", "allow_lockout"]),
            ("firewall: {ruleset: sshServer, enabled: false}", &["sshServer", "allow_lockout"]),
        ] {
            complaints.extend(complaint(&home, &sim, release, step, says));
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
        // Nothing of it was done.
        run(
            &home,
            &sim,
            &["verify"],
            &[
                "vswitch: {name: vSwitch8, state: absent}",
                "vswitch: {name: vSwitch0, uplinks: [vmnic0]}",
                "vmknic: {name: vmk5, state: absent}",
                "firewall: {ruleset: sshServer, enabled: true, allowed: all}",
            ],
        )
        .exits(0);
    }
}

#[test]
fn narrowing_the_way_in_keeps_ours_and_runs_last() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let steps = [
            "firewall: {ruleset: sshServer, allowed: [127.0.0.0/8, 192.0.2.7]}",
            "setting: {key: UserVars.SuppressShellWarning, value: 1}",
        ];
        let ran = run(&home, &sim, &["apply"], &steps).exits(0);
        let order: Vec<_> = ran.of("step").iter().map(|s| s["kind"].as_str().unwrap().to_owned()).collect();
        assert_eq!(order, ["setting", "firewall"], "{release}: {}", ran.all());
        let again = run(&home, &sim, &["apply"], &steps).exits(0);
        assert_eq!(again.of("host_finished")[0]["ok"], 2, "{release}: {}", again.all());
        let listed = sim.on_host(&home, "esxcli network firewall ruleset allowedip list -r sshServer | tail -n 1");
        assert!(listed.contains("127.0.0.0/8") && listed.contains("192.0.2.7"), "{release}: {listed}");
        // It was saved: a reboot keeps it.
        run(&home, &sim, &["apply"], &["reboot: {when: always}"]).exits(0);
        run(&home, &sim, &["verify"], &steps).exits(0);
    }
}
