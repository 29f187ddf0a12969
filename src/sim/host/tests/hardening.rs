//! What hardening reads and changes: recorded outputs, each command's effect, and its trap.

use super::*;

/// What the checks of the STIGs and of the vendor's guides run, on the releases that have it.
const CHECKS: &[(&str, &str)] = &[
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd hostsvc/advopt/view Security.AccountLockFailures"),
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd hostsvc/advopt/view DCUI.Access"),
    ("6.7 7.0 8.0", "vim-cmd hostsvc/advopt/view Security.PasswordMaxDays"),
    ("6.7 7.0 8.0", "vim-cmd hostsvc/advopt/view Config.HostAgent.vmacore.soap.sessionTimeout"),
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd hostsvc/advopt/settings"),
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd hostsvc/advopt/options"),
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd hostsvc/hostconfig"),
    ("6.0 6.5 6.7 7.0 8.0", "vim-cmd -U dcui vimsvc/auth/lockdown_is_enabled"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli system welcomemsg get"),
    ("6.5 6.7 7.0 8.0", "esxcli system wbem get"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli system snmp get"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli iscsi adapter list"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli hardware trustedboot get"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli system coredump partition get"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli system coredump network get"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli network ip netstack list"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli network firewall ruleset list -r CIMSLP"),
    ("6.0 6.5 6.7 7.0 8.0", "esxcli system module get -m vmkernel"),
    ("6.0 6.5 6.7 7.0 8.0", "/usr/lib/vmware/openssh/bin/sshd -T"),
    ("6.0 6.5 6.7 7.0 8.0", "openssl x509 -in /etc/vmware/ssl/rui.crt -noout -issuer"),
    ("6.0 6.5 6.7 7.0 8.0", "/usr/lib/vmware/secureboot/bin/secureBoot.py -s"),
    ("6.7 7.0 8.0", "esxcli system security fips140 ssh get"),
    ("6.7 7.0", "esxcli system security fips140 rhttpproxy get"),
    ("7.0 8.0", "esxcli system auditrecords get"),
    ("7.0 8.0", "esxcli system syslog config logfilter get"),
    ("7.0 8.0", "esxcli system settings encryption get"),
    ("7.0 8.0", "esxcli system settings encryption recovery list"),
    ("7.0 8.0", "esxcli system security keypersistence get"),
    ("8.0", "esxcli system ssh server config list -k banner"),
    ("8.0", "esxcli system tls server get --show-profile-defaults --show-current-boot-profile"),
    ("8.0", "esxcli system settings advanced list -o /User/execInstalledOnly"),
];

#[test]
fn every_check_is_answered_where_the_release_has_it() {
    for version in ["6.0", "6.5", "6.7", "7.0", "8.0"] {
        let mut h = Host::new(version);
        for (releases, line) in CHECKS {
            let (text, code) = h.run(line);
            assert_eq!(code == 0, releases.split(' ').any(|r| r == version), "{version}: {line}: {text}");
        }
    }
}

#[test]
fn recorded_outputs_come_back() {
    let mut h = Host::new("8.0");
    let said = |h: &mut Host, line: &str| h.run(line).0;
    let ruleset = output(include_str!("firewall-ruleset-list-8.0u2b.txt"));
    assert_eq!(said(&mut h, "esxcli network firewall ruleset list"), ruleset);
    assert_eq!(said(&mut h, "esxcli system snmp get"), output(include_str!("snmp-get-unset.txt")));
    let encryption = output(include_str!("encryption-get-none.txt"));
    assert_eq!(said(&mut h, "esxcli system settings encryption get"), encryption);

    let mut h = Host::new("6.5");
    assert_eq!(said(&mut h, "esxcli system wbem get"), output(include_str!("wbem-get-6.5.txt")));
    assert_eq!(said(&mut h, "/etc/init.d/sfcbd-watchdog status"), "sfcbd is not running\n");
    let start = said(&mut h, "/etc/init.d/sfcbd-watchdog start");
    assert!(start.ends_with("\nsfcbd-init: sfcbd not started, administratively disabled.\n"), "{start}");

    let mut h = Host::new("6.0");
    let software = output(include_str!("../../../../fixtures/transcripts/5.x/iscsi-software-set-enabled.txt"));
    assert_eq!(said(&mut h, "esxcli iscsi software set -e true"), software);
    h.state.guard.iscsi[0].name = "vmhba37".into();
    let adapters = output(include_str!("../../../../fixtures/transcripts/5.x/iscsi-adapter-list.txt"));
    assert_eq!(trimmed(&said(&mut h, "esxcli iscsi adapter list")), trimmed(&adapters));
    let place = "/vmfs/volumes/57017270-43f7d020-b2d0-b8ac6f929c2c/.locker";
    h.quiet(&format!("vim-cmd hostsvc/advopt/update ScratchConfig.ConfiguredScratchLocation string {place}"));
    assert_eq!(
        said(&mut h, "vim-cmd hostsvc/advopt/view ScratchConfig.ConfiguredScratchLocation"),
        output(include_str!("../../../../fixtures/transcripts/5.x/advopt-view-scratch.txt"))
    );
}

#[test]
fn hostds_options_have_types_and_other_faces() {
    let mut h = Host::new("8.0");
    let view = |h: &mut Host, key: &str| h.run(&format!("vim-cmd hostsvc/advopt/view {key}")).0;
    for (key, right, wrong) in [
        ("Security.PasswordHistory", "int 7", "long 7"),
        ("Config.HostAgent.plugins.solo.enableMob", "bool true", "string true"),
        ("UserVars.DcuiTimeOut", "long 120", "int 120"),
        ("DCUI.Access", "string root,a", "bool true"),
    ] {
        assert_eq!(h.run(&format!("vim-cmd hostsvc/advopt/update {key} {wrong}")).1, 1, "{key}");
        h.quiet(&format!("vim-cmd hostsvc/advopt/update {key} {right}"));
    }
    assert!(view(&mut h, "Config.HostAgent.plugins.solo.enableMob").contains("      value = true\n"));
    assert!(view(&mut h, "DCUI.Access").contains("      key = \"DCUI.Access\",\n      value = \"root,a\"\n"));
    let all = h.run("vim-cmd hostsvc/advopt/settings").0;
    for line in [
        "key = \"Security.PasswordHistory\",\n      value = 7\n",
        "key = \"UserVars.DcuiTimeOut\",\n      value = 120\n",
    ] {
        assert!(all.contains(line), "{line}");
    }
    let update = |h: &mut Host, key: &str, text: &str| {
        assert_eq!(h.answer(&["vim-cmd", "hostsvc/advopt/update", key, "string", text]).code, 0);
    };
    update(&mut h, "Config.Etc.issue", "Keep out.\nReally.");
    assert_eq!(std::fs::read_to_string(h.root.path().join("etc/issue")).unwrap(), "Keep out.\nReally.");
    h.put("/etc/issue", b"Other\n");
    assert!(view(&mut h, "Config.Etc.issue").contains("value = \"Other\n\"\n"));
    update(&mut h, "Annotations.WelcomeMessage", "Hello there");
    assert_eq!(h.run("esxcli system welcomemsg get").0, "Hello there\n");
    assert_eq!(h.answer(&["esxcli", "system", "welcomemsg", "set", "-m", "I've read"]).code, 0);
    assert!(view(&mut h, "Annotations.WelcomeMessage").contains("value = \"I've read\"\n"));
    // Only vim-cmd has them.
    let (text, code) = h.run("esxcli system settings advanced list -o /Security/PasswordHistory");
    assert!(code == 1 && text.contains("Unable to find option PasswordHistory"), "{text}");
    h.quiet("vim-cmd hostsvc/advopt/update Syslog.global.logCheckSSLCerts bool false");
    assert!(view(&mut h, "Syslog.global.certificate.checkSSLCerts").contains("value = false\n"));
    h.quiet("vim-cmd hostsvc/advopt/update Syslog.global.certificate.checkSSLCerts bool true");
    assert!(h.state.hostd.keys().all(|k| !k.contains("SSLCerts")), "as it was");
}

#[test]
fn sshd_has_one_file_and_its_first_line_wins() {
    let mut h = Host::new("8.0");
    let file = |h: &Host| std::fs::read_to_string(h.root.path().join("etc/ssh/sshd_config")).unwrap();
    let row = |h: &mut Host, key: &str| {
        let text = h.run(&format!("esxcli system ssh server config list -k {key}")).0;
        text.lines().nth(2).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let fresh = file(&h);
    assert_eq!(row(&mut h, "banner"), "banner /etc/issue");
    h.quiet("esxcli system ssh server config set -k banner -v /etc/other");
    h.quiet("esxcli system ssh server config set -k maxsessions -v 1");
    assert_eq!(
        (row(&mut h, "banner").as_str(), row(&mut h, "maxsessions").as_str()),
        ("banner /etc/other", "maxsessions 1")
    );
    assert!(file(&h).contains("\nbanner /etc/other\n") && !file(&h).contains("/etc/issue"));
    h.quiet("esxcli system ssh server config set -k banner -r");
    h.quiet("esxcli system ssh server config set -k maxsessions -r");
    assert_eq!((row(&mut h, "maxsessions").as_str(), file(&h)), ("", fresh), "nothing is left");
    assert_eq!(h.run("esxcli system ssh server config set -k nonsense -v 1").1, 1);
    assert_eq!(h.run("esxcli system ssh server config set -k banner").1, 1);
    h.quiet("esxcli system security fips140 ssh set -e false");
    assert_eq!(
        (row(&mut h, "fipsmode").as_str(), h.run("esxcli system security fips140 ssh get").0.as_str()),
        ("fipsmode no", "   Enabled: false\n")
    );

    let mut h = Host::new("7.0");
    let asked = |h: &mut Host, key: &str| {
        let text = h.run("/usr/lib/vmware/openssh/bin/sshd -T").0;
        text.lines().find(|l| l.starts_with(&format!("{key} "))).unwrap_or_default().to_owned()
    };
    assert_eq!(asked(&mut h, "banner"), "banner /etc/issue");
    assert_eq!(asked(&mut h, "ignorerhosts"), "ignorerhosts yes", "sshd's own default");
    assert_eq!(asked(&mut h, "allowtcpforwarding"), "allowtcpforwarding yes");
    let old = file(&h);
    h.put("/etc/ssh/sshd_config", format!("{old}Banner none\nMatch User x\nAllowTcpForwarding no\n").as_bytes());
    assert_eq!(asked(&mut h, "banner"), "banner /etc/issue", "a second line changes nothing");
    assert_eq!(asked(&mut h, "allowtcpforwarding"), "allowtcpforwarding yes", "a Match block is not for everybody");
    h.put("/etc/ssh/sshd_config", format!("GatewayPorts no\n{}AllowTcpForwarding no\n", old.trim_end()).as_bytes());
    assert_eq!(asked(&mut h, "allowtcpforwarding"), "allowtcpforwarding yes", "glued to the last line");
    h.put("/etc/ssh/sshd_config", b"Nonsense yes\n");
    let (text, code) = h.run("/usr/lib/vmware/openssh/bin/sshd -T");
    assert!(code == 255 && text.contains("line 1: Bad configuration option: Nonsense"), "{text}");
}

#[test]
fn syslog_runs_after_a_reload_and_audit_storage_only_grows() {
    let mut h = Host::new("8.0");
    let line = |h: &mut Host, label: &str| {
        let text = h.run("esxcli system syslog config get").0;
        text.lines().find_map(|l| l.trim().strip_prefix(&format!("{label}: ")).map(str::to_owned)).unwrap()
    };
    let audit = |h: &mut Host| h.run("esxcli system auditrecords get").0;
    for (label, value) in [
        ("Log Level", "error"),
        ("Strict X509Compliance", "false"),
        ("Check SSL Certs", "true"),
        ("Remote Host", "<none>"),
    ] {
        assert_eq!(line(&mut h, label), value);
    }
    h.quiet("esxcli system syslog config set --loghost=ssl://log.lab.test:1514 --log-level=info --x509-strict=true");
    assert_eq!((line(&mut h, "Log Level").as_str(), line(&mut h, "Strict X509Compliance").as_str()), ("info", "true"));
    assert_eq!(h.state.guard.syslog_running["Remote Host"], "<none>", "configured is not running");
    h.quiet("esxcli system syslog reload");
    assert_eq!(h.state.guard.syslog_running["Remote Host"], "ssl://log.lab.test:1514");
    assert!(h.run("vim-cmd hostsvc/advopt/view Syslog.global.logHost").0.contains("\"ssl://log.lab.test:1514\""));
    h.quiet("vim-cmd hostsvc/advopt/update Syslog.global.logHost string udp://other:514");
    assert_eq!(
        (line(&mut h, "Remote Host").as_str(), h.state.guard.syslog_running["Remote Host"].as_str()),
        ("udp://other:514", "udp://other:514")
    );
    for bad in ["--loghost=http://x", "--loghost=a,b,c,d,e,f", "--logdir=[nowhere]/x", "--log-level=loud"] {
        assert_eq!(h.run(&format!("esxcli system syslog config set {bad}")).1, 1, "{bad}");
    }
    h.quiet("esxcli system syslog config set --logdir=[datastore1]/logs");
    let uuid = h.state.stores[0].uuid.clone();
    assert_eq!(line(&mut h, "Local Log Output"), format!("/vmfs/volumes/{uuid}/logs"));
    assert_eq!(line(&mut h, "Local Log Output Is Configured"), "true");
    h.quiet("esxcli system syslog config set --reset=all");
    assert_eq!(line(&mut h, "Remote Host"), "<none>");

    h.quiet("esxcli system syslog config logfilter set --log-filtering-enabled=true");
    assert_eq!(h.run("esxcli system syslog config logfilter get").0, "   Log Filtering Enabled: true\n");
    assert!(
        audit(&mut h)
            .contains("   Audit Record Storage Capacity: 4\n   Audit Record Storage Directory: /scratch/auditLog\n")
    );
    h.quiet("esxcli system auditrecords local set --size=100");
    for bad in ["--size=50", "--size=2000", "--directory=/nowhere"] {
        assert_eq!(h.run(&format!("esxcli system auditrecords local set {bad}")).1, 1, "{bad}");
    }
    h.quiet("esxcli system auditrecords local enable");
    h.quiet("esxcli system auditrecords remote enable");
    assert_eq!(h.run("esxcli system auditrecords local set --directory=/scratch/other").1, 1, "not while it is in use");
    assert_eq!(h.run("vim-cmd hostsvc/advopt/update Syslog.global.auditRecord.storageCapacity int 4").1, 1);
    assert!(audit(&mut h).starts_with("   Audit Record Remote Transmission Active: true\n   Audit Record Storage Active: true\n   Audit Record Storage Capacity: 100\n"));
    h.quiet("esxcli system auditrecords local disable");
    h.quiet("esxcli system auditrecords local set --directory=/scratch/other");

    let mut h = Host::new("7.0");
    assert!(h.run("esxcli system syslog config get").0.contains("   Enforce SSLCertificates: true\n"), "the old label");
}

#[test]
fn services_have_two_halves() {
    let mut h = Host::new("8.0");
    let half = |h: &mut Host, key: &str| {
        let text = h.run("vim-cmd hostsvc/hostconfig").0;
        let block =
            text.split("(vim.host.Service) {").find(|b| b.contains(&format!("key = \"{key}\""))).unwrap().to_owned();
        let field = |name: &str| {
            block.split(&format!(" {name} = ")).nth(1).unwrap().split([',', '\n']).next().unwrap().to_owned()
        };
        (field("running"), field("policy"))
    };
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(half(&mut h, "TSM-SSH"), pair("true", "\"on\""));
    for key in ["sfcbd-watchdog", "snmpd"] {
        assert_eq!(half(&mut h, key), pair("false", "\"on\""), "stopped, and it starts with the host");
    }
    h.quiet("vim-cmd hostsvc/disable_ssh");
    assert_eq!(half(&mut h, "TSM-SSH"), pair("true", "\"off\""));
    assert_eq!(h.answer(&["vim-cmd", "hostsvc/stop_ssh"]).effects, [Effect::SshStopped]);
    assert_eq!(half(&mut h, "TSM-SSH"), pair("false", "\"off\""));
    let dump = h.run("vim-cmd hostsvc/hostconfig").0;
    assert!(
        dump.contains("   adminDisabled = false,\n   lockdownMode = \"lockdownDisabled\",\n")
            && dump.contains("\n   dateTimeInfo = (vim.host.DateTimeInfo) {\n")
    );

    assert_eq!(h.run("/etc/init.d/sfcbd-watchdog start").1, 1, "administratively disabled");
    h.quiet("esxcli system wbem set --enable true");
    assert_eq!(half(&mut h, "sfcbd-watchdog"), pair("true", "\"on\""));
    assert!(h.run("esxcli network firewall ruleset list -r CIMHttpsServer").0.contains("CIMHttpsServer     true"));
    h.quiet("esxcli system wbem set --enable false");
    assert!(h.run("esxcli system wbem get").0.contains("   Enabled: false\n"));
    h.quiet("esxcli system snmp set -e yes -c public");
    assert!(h.run("esxcli system snmp get").0.contains("   Communities: public\n   Enable: true\n"));
    assert!(h.run("/etc/init.d/snmpd status").0.contains("is running"));
    h.reboot();
    assert_eq!(half(&mut h, "snmpd"), pair("true", "\"on\""));
    h.quiet("esxcli system snmp set -r");
    assert!(
        h.run("esxcli system snmp get").0.contains("   Enable: false\n") && !h.state.service("snmpd").unwrap().running
    );

    let mut h = Host::new("6.7");
    let slp =
        |h: &mut Host| h.run("chkconfig --list").0.lines().find(|l| l.starts_with("slpd")).unwrap().ends_with("on");
    h.state.set_slp_busy();
    assert!(slp(&mut h) && h.run("/etc/init.d/slpd status").0.contains("is running"));
    assert_eq!(h.run("/etc/init.d/slpd stop").1, 1, "in use");
    h.quiet("esxcli network firewall ruleset set -r CIMSLP -e 0");
    h.quiet("chkconfig slpd off");
    h.reboot();
    assert!(!slp(&mut h) && h.run("/etc/init.d/slpd status").0.contains("is not running"));
}

#[test]
fn lockdown_needs_a_vcenter_and_shuts_people_out() {
    let mut h = Host::new("8.0");
    let enter = ["vim-cmd", "-U", "dcui", "vimsvc/auth/lockdown_mode_enter"];
    let (text, code) = h.run(&enter.join(" "));
    assert!(code == 1 && text.starts_with("(vim.fault.DisableAdminNotSupported) {\n"), "{text}");
    assert!(h.run("vim-cmd hostsvc/hostsummary").0.contains("   managementServerIp = <unset>"));
    h.state.set_managed();
    assert!(h.run("vim-cmd hostsvc/hostsummary").0.contains("   managementServerIp = \"192.0.2.250\""));
    assert_eq!(h.run("vim-cmd vimsvc/auth/lockdown_mode_enter").1, 1, "only as dcui");
    assert!(h.state.may_log_in("root"));
    assert_eq!(h.answer(&enter).effects, [Effect::LockedDown]);
    assert_eq!(h.run("vim-cmd -U dcui vimsvc/auth/lockdown_is_enabled").0, "true\n");
    assert!(
        h.run("vim-cmd hostsvc/hostconfig")
            .0
            .contains("   adminDisabled = true,\n   lockdownMode = \"lockdownNormal\",\n")
    );
    assert!(!h.state.may_log_in("root"));
    h.state.add_lockdown_exception("root");
    assert!(h.state.may_log_in("root"));
    h.reboot();
    assert_eq!(h.run("vim-cmd -U dcui vimsvc/auth/lockdown_is_enabled").0, "true\n");
    h.quiet("vim-cmd -U dcui vimsvc/auth/lockdown_mode_exit");
    assert_eq!(h.run("vim-cmd -U dcui vimsvc/auth/lockdown_is_enabled").0, "false\n");

    let row = |h: &mut Host| {
        h.run("esxcli system account list").0.lines().find(|l| l.starts_with("dcui")).unwrap().to_owned()
    };
    assert!(row(&mut h).ends_with("true"));
    h.quiet("esxcli system account set -i dcui -s false");
    h.quiet("esxcli system account set -i root -s false");
    assert!(row(&mut h).ends_with("false") && !h.state.may_log_in("dcui") && h.state.may_log_in("root"));
}

#[test]
fn the_firewall_decides_who_may_connect() {
    let mut h = Host::new("8.0");
    let (inside, outside) = ("192.0.2.7".parse().unwrap(), "198.51.100.7".parse().unwrap());
    let may = |h: &Host| (h.state.ssh_allowed_from(inside), h.state.ssh_allowed_from(outside));
    assert_eq!(may(&h), (true, true));
    assert_eq!(
        h.run("esxcli network firewall ruleset allowedip add -r sshServer -i 192.0.2.0/24").1,
        1,
        "all are allowed"
    );
    h.quiet("esxcli network firewall ruleset set -r sshServer -a false");
    assert_eq!(may(&h), (false, false), "nobody until the first address");
    h.quiet("esxcli network firewall ruleset allowedip add -r sshServer -i 192.0.2.0/24");
    assert_eq!(may(&h), (true, false));
    assert!(h.run("vim-cmd hostsvc/hostconfig").0.contains("network = \"192.0.2.0\",\n"));
    h.quiet("esxcli network firewall set --enabled false");
    assert_eq!(may(&h), (true, true));
    h.quiet("esxcli network firewall set --enabled true");
    h.quiet("esxcli network firewall ruleset set -r sshServer -e false");
    assert_eq!(may(&h), (false, false));
    // A ruleset that belongs to a service of the system.
    let owned = h.run("esxcli network firewall ruleset set -r nfsClient -a false");
    assert_eq!(owned, ("Invalid operation requested: Can not change allowed ip list this ruleset, it is owned by system service.\n".into(), 1));
    assert_eq!(h.run("esxcli network firewall ruleset set -r vMotion -e false").1, 1);
    h.quiet("esxcli network firewall ruleset set -r vMotion -e true");
    let mut h = Host::new("7.0");
    h.quiet("esxcli network firewall ruleset set -r nfsClient -a false");
    h.quiet("esxcli network firewall ruleset set -r vMotion -e false");
}

#[test]
fn the_reboot_class() {
    let mut h = Host::new("8.0");
    let tls = |h: &mut Host, more: &str| {
        let text = h.run(&format!("esxcli system tls server get{more}")).0;
        let value = |l: &str| text.lines().find_map(|t| t.trim().strip_prefix(l).map(str::to_owned)).unwrap();
        (value("Profile: "), value("Reboot Required: "))
    };
    let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(tls(&mut h, " --show-current-boot-profile"), both("COMPATIBLE", "false"));
    assert_eq!(h.run("esxcli system tls server set -p NIST_2024").1, 1, "maintenance mode");
    h.quiet("esxcli system maintenanceMode set -e true");
    h.quiet("esxcli system tls server set -p NIST_2024");
    assert_eq!(tls(&mut h, ""), both("NIST_2024", "true"));
    assert_eq!(tls(&mut h, " --show-current-boot-profile"), both("COMPATIBLE", "true"));
    h.reboot();
    assert_eq!(tls(&mut h, " --show-current-boot-profile --show-profile-defaults"), both("NIST_2024", "false"));

    for bad in ["--mode=TPM", "--require-secure-boot=true", "--require-exec-installed-only=true", "--mode=X"] {
        assert_eq!(h.run(&format!("esxcli system settings encryption set {bad}")).1, 1, "{bad}");
    }
    assert_eq!(h.run("esxcli system security keypersistence enable").1, 1, "no TPM");
    h.state.set_tpm();
    assert!(h.run("esxcli hardware trustedboot get").0.contains("   Tpm Present: true\n"));
    h.quiet("esxcli system settings encryption set --mode=TPM");
    assert_eq!(h.run("esxcli system settings encryption set --mode=NONE").1, 1, "not left again");
    assert_eq!(h.run("esxcli system settings encryption recovery list").0.lines().count(), 3);
    assert_eq!(
        h.run("esxcli system settings encryption set --require-exec-installed-only=true").1,
        1,
        "the kernel's option first"
    );
    let untouched = Host::new("8.0").state.kernel;
    h.quiet("esxcli system settings kernel set -s entropySources -v 1");
    h.quiet("esxcli system settings kernel set -s entropySources -v 0");
    assert!(h.state.can_boot() && h.state.kernel == untouched, "as it was");
    h.quiet("esxcli system settings encryption set --require-secure-boot=true");
    assert_eq!(h.run("/usr/lib/vmware/secureboot/bin/secureBoot.py -s").0, "Disabled\n");
    assert!(!h.state.can_boot(), "Secure Boot is off in the firmware");
    h.state.set_secure_boot();
    assert!(h.state.can_boot());
    assert_eq!(h.run("/usr/lib/vmware/secureboot/bin/secureBoot.py -s").0, "Enabled\n");
    h.quiet("esxcli system settings kernel set -s execInstalledOnly -v TRUE");
    h.reboot();
    h.quiet("esxcli system settings encryption set --require-exec-installed-only=true");
    h.quiet("esxcli system security keypersistence enable");
    h.quiet("esxcli system security keypersistence disable --remove-all-stored-keys");
    assert_eq!(h.run("esxcli system security keypersistence get").0, "   Enabled: false\n");
    h.quiet("esxcli system settings kernel set -s execInstalledOnly -v FALSE");
    assert!(!h.state.can_boot(), "the seal wants the option");
}

#[test]
fn chap_core_dumps_and_certificates() {
    let mut h = Host::new("6.7");
    assert_eq!(h.run("esxcli iscsi adapter auth chap get --adapter=vmhba64 --direction=uni").1, 1);
    h.state.add_iscsi_adapter();
    let level = |h: &mut Host, way: &str| {
        let text = h.run(&format!("esxcli iscsi adapter auth chap get --adapter=vmhba64 --direction={way}")).0;
        text.lines().find_map(|l| l.trim().strip_prefix("Level: ").map(str::to_owned)).unwrap()
    };
    assert_eq!((level(&mut h, "uni"), level(&mut h, "mutual")), ("prohibited".into(), "prohibited".into()));
    let set = |way: &str| {
        format!(
            "esxcli iscsi adapter auth chap set --adapter=vmhba64 --direction={way} --authname=a --secret=0123456789ab --level=required"
        )
    };
    assert_eq!(h.run(&set("mutual")).1, 1, "the other direction first");
    h.quiet(&set("uni"));
    h.quiet(&set("mutual"));
    assert_eq!((level(&mut h, "uni"), level(&mut h, "mutual")), ("required".into(), "required".into()));
    assert!(!serde_json::to_string(&h.state).unwrap().contains("0123456789ab"), "a secret is not kept");

    let dump = |h: &mut Host| h.run("esxcli system coredump partition get").0;
    let name = h.state.guard.dump.partition.clone();
    assert_eq!(dump(&mut h), format!("   Active: {name}\n   Configured: {name}\n"));
    h.quiet("esxcli system coredump partition set -u");
    assert_eq!(dump(&mut h), "   Active: \n   Configured: \n");
    assert_eq!(h.run(&format!("esxcli system coredump partition set -p {name} -e true")).1, 1, "two calls");
    h.quiet(&format!("esxcli system coredump partition set -p {name}"));
    h.quiet("esxcli system coredump partition set -e true");
    assert_eq!(dump(&mut h), format!("   Active: {name}\n   Configured: {name}\n"));
    assert_eq!(h.run("esxcli system coredump network set -e true").1, 1, "no server");
    h.quiet("esxcli system coredump network set -v vmk0 -i 192.0.2.9 -o 6500");
    h.quiet("esxcli system coredump network set -e true");
    assert!(h.run("esxcli system coredump network get").0.starts_with("   Enabled: true\n   Host VNic: vmk0\n"));

    let issuer = "openssl x509 -in /etc/vmware/ssl/rui.crt -noout -issuer";
    assert_eq!(h.run(issuer), ("issuer= /O=VMware Installer\n".into(), 0));
    assert_eq!(Host::new("8.0").run(issuer).0, "issuer=O = VMware Installer\n");
    h.put("/etc/vmware/ssl/rui.crt", b"nothing");
    assert_eq!(h.run(issuer).1, 1);
}
