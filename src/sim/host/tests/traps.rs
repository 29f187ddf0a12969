//! Configured against running against saved, and the rules that a careless playbook breaks.

use super::*;

#[test]
fn the_ahci_story() {
    let mut h = Host::new("6.5");
    h.state.set_boot_bus("ahci");
    h.reboot();
    assert!(!h.state.boot_disk_visible(), "vmw_ahci has the controller");
    assert!(h.state.datastores().is_empty());
    let a = h.answer(&["/sbin/auto-backup.sh"]);
    assert!(a.effects.is_empty() && a.code != 0, "nowhere to save to");
    assert_ne!(h.run("vmkfstools -P /bootbank").1, 0);
    h.quiet("esxcli system module set -e false -m vmw_ahci");
    let row = |h: &mut Host| {
        h.run("esxcli system module list")
            .0
            .lines()
            .find(|l| l.starts_with("vmw_ahci"))
            .unwrap()
            .split_whitespace()
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(row(&mut h), ["true", "false"], "still loaded");
    h.reboot();
    assert_eq!(row(&mut h), ["false", "false"]);
    assert!(h.state.boot_disk_visible() && h.state.module_loaded("ahci"));

    let mut h = Host::new("7.0");
    assert!(h.state.boot_disk_visible());
    h.quiet("esxcli system module set -m vmw_ahci --enabled=n");
    let conf = std::fs::read_to_string(h.root.path().join("etc/vmware/esx.conf")).unwrap();
    assert!(conf.contains("/vmkernel/module/vmw_ahci.o/enabled = \"false\""));
    h.reboot();
    assert!(!h.state.boot_disk_visible(), "there is no other driver");
}

#[test]
fn kernel_settings_run_after_a_boot() {
    let mut h = Host::new("8.0");
    h.quiet("esxcli system settings kernel set -s execInstalledOnly -v true");
    let row = |h: &mut Host| {
        h.run("esxcli system settings kernel list -o execInstalledOnly").0.lines().nth(2).unwrap().to_owned()
    };
    let words = |t: String| t.split_whitespace().take(5).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(row(&mut h)), ["execInstalledOnly", "Bool", "true", "FALSE", "FALSE"]);
    h.reboot();
    assert_eq!(words(row(&mut h))[3], "TRUE");
    assert_eq!(h.run("esxcli system settings kernel set -s execInstalledOnly -v maybe").1, 1);
    assert_eq!(h.run("esxcli system settings kernel list -o nonsense").1, 1);
}

#[test]
fn vmk0_keeps_its_mac() {
    for (version, follows) in [("6.5", true), ("7.0", true), ("8.0", false)] {
        let mut h = Host::new(version);
        let old = h.state.net.vmks[0].mac.clone();
        h.state.replace_nic_mac("vmnic0", "52:54:00:AA:BB:CC");
        h.reboot();
        assert_eq!(h.state.net.vmks[0].mac, old, "a clone keeps the MAC of its installation");
        h.quiet("esxcli system settings advanced set -o /Net/FollowHardwareMac -i 1");
        assert_eq!(h.state.net.vmks[0].mac, old, "not before a boot");
        h.reboot();
        assert_eq!(h.state.net.vmks[0].mac == "52:54:00:aa:bb:cc", follows, "{version}");
    }
    let mut h = Host::new("8.0");
    let a = h.answer(&["esxcli", "network", "ip", "interface", "remove", "-i", "vmk0"]);
    assert_eq!(a.effects, [Effect::AddressesChanged]);
    assert!(h.state.management_addresses().is_empty());
    let add = |mac: &'static str| {
        ["esxcli", "network", "ip", "interface", "add", "-i", "vmk0", "-p", "Management Network", "-M", mac]
    };
    assert_eq!(h.answer(&add("01:00:00:00:00:00")).code, 1, "a group address");
    assert_eq!(h.answer(&add("52:54:00:aa:bb:cc")).code, 0);
    assert_eq!(h.answer(&add("52:54:00:aa:bb:cc")).code, 1, "the name is taken");
    h.quiet("esxcli network ip interface ipv4 set -i vmk0 -t static -I 192.0.2.77 -N 255.255.255.0 -g 192.0.2.1");
    assert_eq!(h.run("esxcli network ip interface tag get -i vmk0").0, "   Tags: \n", "a new vmknic manages nothing");
    h.quiet("esxcli network ip interface tag add -i vmk0 -t Management");
    h.quiet("esxcli network ip interface tag add -i vmk0 -t VMotion");
    assert_eq!(h.run("esxcli network ip interface tag get -i vmk0").0, "   Tags: Management, VMotion\n");
    assert!(h.run("esxcli network ip interface add -i vmk1 -p Nowhere").1 == 1);
}

#[test]
fn vibs_are_checked_in_the_hosts_order() {
    let mut h = Host::new("7.0");
    h.put("/tmp/x.vib", &vib(&MADE));
    let run = |h: &mut Host, more: &str| h.run(&format!("esxcli software vib install -v /tmp/x.vib{more}"));
    let (text, code) = run(&mut h, "");
    let recorded = output(include_str!("../../../../fixtures/transcripts/7.0/vib-install-d-no-sig-check-iperf.txt"));
    assert_eq!((text, code), (recorded.clone(), 0));
    assert!(h.run("esxcli software vib list").0.contains("\niperf "));
    let (text, code) = run(&mut h, "");
    assert!(
        code == 0
            && text.contains("VIBs Skipped: DAST_bootbank_iperf_2.0.5-1\n")
            && text.contains("VIBs Installed: \n"),
        "{text}"
    );
    h.quiet_remove("iperf");
    h.put("/tmp/b.zip", &bundle(&[vib(&MADE)]));
    assert_eq!(h.run("esxcli software vib install -d /tmp/b.zip --no-sig-check").0, recorded);
    h.quiet_remove("iperf");

    h.put("/tmp/x.vib", &vib(&Made { level: "community", signature: b"", ..MADE }));
    let (text, code) = run(&mut h, "");
    assert!(code == 1 && text.starts_with(" [AcceptanceConfigError]\n VIB DAST_bootbank_iperf_2.0.5-1's acceptance level is community, which is not compliant with the ImageProfile acceptance level partner\n To change"), "{text}");
    assert_eq!(
        h.run("esxcli software acceptance set --level=CommunitySupported").0,
        "Host acceptance level changed to 'CommunitySupported'.\n"
    );
    assert_eq!(run(&mut h, " --dry-run").1, 0);
    assert!(h.run("esxcli software vib get -n iperf").1 == 1, "a dry run changes nothing");
    assert_eq!(run(&mut h, "").1, 0);
    assert_eq!(h.run("esxcli software acceptance set --level=PartnerSupported").1, 1, "a community VIB is there");
    h.quiet_remove("iperf");

    h.put("/tmp/x.vib", &vib(&Made { signature: b"", ..MADE }));
    let (text, code) = run(&mut h, "");
    assert!(
        code == 1 && text.starts_with(" [InstallationError]\n") && text.contains("Could not find a trusted signer"),
        "{text}"
    );
    assert_eq!(run(&mut h, " --no-sig-check").1, 0);
    h.quiet_remove("iperf");

    let mut broken = vib(&MADE);
    let last = broken.len() - 4;
    broken[last] ^= 0xff;
    h.put("/tmp/x.vib", &broken);
    let (text, code) = run(&mut h, "");
    assert!(code == 1 && text.contains("checksum"), "{text}");

    h.put(
        "/tmp/x.vib",
        &vib(&Made {
            relations: "<depends><constraint name=\"esx-base\" relation=\"&gt;=\" version=\"8.0.0\"/></depends>",
            ..MADE
        }),
    );
    let (text, code) = run(&mut h, "");
    assert!(
        code == 1 && text.starts_with(" [DependencyError]\n") && text.contains("requires esx-base >= 8.0.0"),
        "{text}"
    );

    let (text, code) = h.run("esxcli software vib install -d missing.zip");
    assert!(
        code == 1 && text.starts_with(" [MetadataDownloadError]") && text.contains("/var/log/vmware/missing.zip"),
        "{text}"
    );
    assert!(h.run("esxcli software vib install -v missing.vib").0.contains("unknown url type"));
    let (text, code) = h.run("esxcli software vib remove -n nothing");
    assert!(code == 1 && text.starts_with(" [NoMatchError]"), "{text}");
    assert_eq!(h.run("esxcli software vib install -v http://127.0.0.1:1/x.vib").1, 1, "httpClient is off");
}

impl Host {
    fn quiet_remove(&mut self, name: &str) {
        let (text, code) = self.run(&format!("esxcli software vib remove -n {name}"));
        assert!(code == 0 && text.starts_with("Removal Result\n"), "{text}");
    }
}

#[test]
fn a_pending_image_waits_for_the_boot() {
    let mut h = Host::new("8.0");
    let upgrade =
        Made { name: "esx-ui", version: "2.19.0-99999999", vendor: "VMware", level: "certified", live: false, ..MADE };
    h.put("/tmp/x.vib", &vib(&upgrade));
    let (text, _) = h.run("esxcli software vib install -v /tmp/x.vib");
    assert_eq!(
        text,
        "Installation Result\n   Message: The update completed successfully, but the system needs to be rebooted for the changes to be effective.\n   VIBs Installed: VMware_bootbank_esx-ui_2.19.0-99999999\n   VIBs Removed: VMware_bootbank_esx-ui_2.18.0-23593406\n   VIBs Skipped: \n   Reboot Required: true\n   DPU Results: \n"
    );
    let version = |h: &mut Host, more: &str| {
        let list = h.run(&format!("esxcli software vib list{more}")).0;
        list.lines().find(|l| l.starts_with("esx-ui ")).unwrap().split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(version(&mut h, ""), "2.18.0-23593406");
    assert_eq!(version(&mut h, " --rebooting-image"), "2.19.0-99999999");
    assert!(h.run("vim-cmd hostsvc/hostsummary").0.contains("   rebootRequired = true, \n"));
    // An unclean stop loses the configuration and not the image on the disk.
    let mut saved = HostState::factory("8.0", 0).unwrap();
    h.quiet("esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1");
    h.state.carry_disk(&mut saved);
    h.state = HostState::boot(&saved, 1_800_000_000);
    assert_eq!(version(&mut h, ""), "2.19.0-99999999");
    assert!(
        h.run("esxcli system settings advanced list -o /UserVars/SuppressShellWarning").0.contains("   Int Value: 0\n")
    );
    // update: nothing older, nothing new; install: a downgrade is done.
    h.put("/tmp/x.vib", &vib(&Made { version: "2.1.0-1", live: true, ..upgrade }));
    assert!(
        h.run("esxcli software vib update -v /tmp/x.vib").0.contains("VIBs Skipped: VMware_bootbank_esx-ui_2.1.0-1\n")
    );
    assert!(h.run("esxcli software vib install -v /tmp/x.vib").0.contains("Reboot Required: false"));
    assert_eq!(version(&mut h, ""), "2.1.0-1");
}

#[test]
fn settings_refuse_what_does_not_fit() {
    let mut h = Host::new("6.7");
    for bad in ["-i 2", "-s on", "-i 0 -d", ""] {
        let line = format!("esxcli system settings advanced set -o /UserVars/SuppressShellWarning {bad}");
        assert_eq!(h.run(line.trim()).1, 1, "{bad}");
    }
    assert_eq!(h.run("esxcli system settings advanced list -d").0.matches("Path: ").count(), 1, "the host name alone");
    assert_eq!(
        h.run("esxcli system settings advanced list -o /Security/AccountLockFailures"),
        ("Unable to find option AccountLockFailures\n".into(), 1)
    );
    assert_eq!(h.state.lockout(), (5, 900));
    h.quiet("vim-cmd hostsvc/advopt/update Security.AccountLockFailures int 3");
    assert_eq!(h.state.lockout(), (3, 900));
    assert!(h.run("vim-cmd hostsvc/advopt/view Security.AccountLockFailures").0.contains("   value = 3\n"));
    assert_eq!(h.run("vim-cmd hostsvc/advopt/update Security.AccountLockFailures string 3").1, 1);
    assert_eq!(h.run("vim-cmd hostsvc/advopt/view No.Such").1, 1);
    assert_eq!(h.run("esxcfg-advcfg -s 1 /UserVars/SuppressShellWarning").0, "Value of SuppressShellWarning is 1\n");
    assert_eq!(h.run("esxcfg-advcfg -q -g /UserVars/SuppressShellWarning").0, "1\n");
    assert_eq!(h.run("vim-cmd hostsvc/advopt/view UserVars.SuppressShellWarning").0.matches("value = 1").count(), 1);
}

#[test]
fn services_run_and_start_apart() {
    let mut h = Host::new("6.7");
    let a = h.answer(&["/etc/init.d/SSH", "restart"]);
    assert_eq!(String::from_utf8(a.stdout).unwrap(), "SSH login disabled\nSSH login enabled\n");
    assert_eq!(h.answer(&["vim-cmd", "hostsvc/stop_ssh"]).effects, [Effect::SshStopped]);
    assert!(!h.state.ssh_running() && h.state.ssh_enabled_at_boot());
    h.reboot();
    assert!(h.state.ssh_running());
    h.quiet("chkconfig SSH off");
    assert!(h.state.ssh_running());
    assert_eq!(h.run("chkconfig --list SSH").0, "SSH                     off\n");
    h.reboot();
    assert!(!h.state.ssh_running());
    assert_eq!(h.answer(&["/etc/init.d/hostd", "restart"]).effects, [Effect::HostdRestart]);
}

#[test]
fn reboots_and_maintenance_mode() {
    let mut h = Host::new("7.0");
    h.state.add_vm("web", true);
    assert_eq!(h.run("esxcli system shutdown reboot -r test").1, 1, "not in maintenance mode");
    assert_eq!(h.run("vim-cmd hostsvc/maintenance_mode_enter"), ("Operation timed out.\n".into(), 1));
    assert_eq!(h.run("vim-cmd vmsvc/power.off 1").1, 0);
    assert_eq!(h.run("vim-cmd vmsvc/power.getstate 1").0, "Retrieved runtime info\nPowered off\n");
    h.quiet("esxcli system maintenanceMode set -e true");
    assert_eq!(
        h.run("esxcli system maintenanceMode set -e true"),
        ("Maintenance mode is already enabled.\n".into(), 1)
    );
    let a = h.answer(&["esxcli", "system", "shutdown", "reboot", "-r", "test", "-d", "10"]);
    assert_eq!(a.effects, [Effect::Reboot { after_ms: 10_000, save: true }]);
    assert_eq!(h.answer(&["reboot", "-f"]).effects, [Effect::Reboot { after_ms: 0, save: false }]);
}

#[test]
fn switch_rules() {
    let mut h = Host::new("8.0");
    h.quiet("esxcli network vswitch standard add -v vSwitch1");
    assert_eq!(h.run("esxcli network vswitch standard add -v vSwitch1").1, 1);
    assert_eq!(h.run("esxcli network vswitch standard uplink add -u vmnic0 -v vSwitch1").1, 1, "used by vSwitch0");
    h.quiet("esxcli network vswitch standard uplink add -u vmnic1 -v vSwitch1");
    h.quiet("esxcli network vswitch standard portgroup add -p Storage -v vSwitch1");
    assert_eq!(h.run("esxcli network vswitch standard portgroup set -p Storage -v 4096").1, 1);
    h.quiet("esxcli network vswitch standard portgroup set -p Storage -v 4095");
    assert_eq!(h.run("esxcli network vswitch standard set -v vSwitch1 -m 9191").1, 1);
    assert_eq!(h.run("esxcli network ip interface add -i vmk1 -p Storage -m 9000").1, 0);
    assert_eq!(h.run("esxcli network ip interface set -i vmk1 -m 8999").1, 1, "the switch has 1500");
    h.quiet("esxcli network vswitch standard set -v vSwitch1 -m 9000");
    assert_eq!(h.run("esxcli network vswitch standard portgroup remove -p Storage -v vSwitch1").1, 1, "in use");
    assert!(h.state.net.vmks[1].mac.starts_with("00:50:56:6"));
    h.quiet("esxcli network vswitch standard portgroup policy security set -p Storage -o true");
    let text = h.run("esxcli network vswitch standard portgroup policy security get -p Storage").0;
    assert!(
        text.contains("   Allow Promiscuous: true\n") && text.contains("   Override vSwitch Allow Promiscuous: true\n")
    );
    h.quiet("esxcli network vswitch standard portgroup policy security set -p Storage -u");
    assert!(
        h.run("esxcli network vswitch standard portgroup policy security get -p Storage")
            .0
            .starts_with("   Allow Promiscuous: false\n")
    );
}

#[test]
fn files_and_state_agree() {
    let mut h = Host::new("7.0");
    let read = |h: &Host, p: &str| std::fs::read_to_string(h.root.path().join(p)).unwrap();
    let before = read(&h, "etc/vmware/ssl/rui.crt");
    h.quiet("generate-certificates");
    assert_ne!(read(&h, "etc/vmware/ssl/rui.crt"), before);
    let a = h.answer(&["esxcli", "system", "account", "add", "-i", "ops", "-p", "Vm-ware.123x", "-c", "Vm-ware.123x"]);
    assert_eq!((a.code, a.effects), (0, vec![Effect::KeysChanged]));
    assert!(read(&h, "etc/passwd").contains("\nops:x:"));
    let shadow = read(&h, "etc/shadow");
    let word = HostState::password_hash("ops", "Vm-ware.123x");
    assert!(shadow.contains(&format!("\nops:{word}:")) && !shadow.contains("Vm-ware"));
    // A clone: without its line in esx.conf the boot makes a new UUID that ends in this machine's MAC.
    h.state.replace_nic_mac("vmnic0", "52:54:00:aa:bb:cc");
    let conf: String = read(&h, "etc/vmware/esx.conf")
        .lines()
        .filter(|l| !l.starts_with("/system/uuid"))
        .map(|l| format!("{l}\n"))
        .collect();
    h.put("/etc/vmware/esx.conf", conf.as_bytes());
    assert!(h.state.read_files(h.root.path()).unwrap());
    assert!(h.run("esxcli system uuid get").0.ends_with("-525400aabbcc\n"));
    assert!(read(&h, "etc/vmware/esx.conf").contains("/system/uuid = "));
    assert_eq!(h.state.release, Release::V70);
}

#[test]
fn every_tcpip_stack_has_its_own_routes() {
    let mut h = Host::new("6.7");
    h.quiet("esxcli network ip netstack add -N vmotion");
    h.quiet("esxcli network vswitch standard portgroup add -p Move -v vSwitch0");
    h.quiet("esxcli network ip interface add -i vmk1 -p Move -N vmotion");
    h.quiet("esxcli network ip interface ipv4 set -i vmk1 -t static -I 10.0.9.11 -N 255.255.255.0");
    let default = |h: &mut Host, stack: &str| {
        let (text, code) = h.run(&format!("esxcli network ip route ipv4 list -N {stack}"));
        assert_eq!(code, 0, "{text}");
        let line = text.lines().find(|l| l.starts_with("default")).map(str::to_owned).unwrap_or_default();
        line.split_whitespace().skip(2).take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = default(&mut h, "defaultTcpipStack");
    assert_eq!(before, ["192.0.2.1", "vmk0"]);
    assert!(default(&mut h, "vmotion").is_empty());
    h.quiet("esxcli network ip route ipv4 add -n default -g 10.0.9.1 -N vmotion");
    h.quiet("esxcli network ip route ipv4 add -n 10.7.0.0/16 -g 10.0.9.2 -N vmotion");
    assert_eq!(default(&mut h, "vmotion"), ["10.0.9.1", "vmk1"]);
    assert_eq!(default(&mut h, "defaultTcpipStack"), before, "the other stack has kept its own");
    assert!(!h.run("esxcli network ip route ipv4 list").0.contains("10.7.0.0"));
    // The same route in another stack is another route.
    assert_eq!(h.run("esxcli network ip route ipv4 remove -n 10.7.0.0/16 -g 10.0.9.2").1, 1);
    h.quiet("esxcli network ip route ipv4 remove -n 10.7.0.0/16 -g 10.0.9.2 -N vmotion");
    assert!(!h.run("esxcli network ip route ipv4 list -N vmotion").0.contains("10.7.0.0"));
    assert_eq!(h.run("esxcli network ip route ipv4 list -N nowhere").1, 1);
}
