//! Kinds of step about the host itself: settings, modules, services, accounts, files, maintenance mode.

use super::common::{Home, Ran, reachable};
use super::kinds::{RELEASES, complaint, converges, host, refused, run};

const KEY: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOHXtU2+xuHlJPlf8eIW9eqlVijADgx4vm4l2SQ6nVoXs5KKyCl/uDwtXxTQTOpu44j+//07UH8Crt+nAcV1qZQ= admin@lab";
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsSi0t8pCtGvcXkOHZsPVJUsqZmw5gNDvTTwQxHq8jF me@desk";
const HASH: &str = "$6$abcdefgh$Bf5NdpXyR0XDmSlkTcE9pp0c5WnJDIEiRSxRVr2FZ1pPrqNCNxuCLQ7rFj1rtmR5VYiD6bVjwbtZMTTmnYVBn.";

#[test]
fn system_kinds_make_and_take_back() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let key = format!("authorized_key: {{user: root, key: \"{KEY}\"}}");
        let account =
            format!("account: {{name: backup, description: Backup user, role: ReadOnly, password_hash: \"{HASH}\"}}");
        // The datastore keeps the file over the reboot that the module and the boot option ask for.
        let made = "/vmfs/volumes/datastore1/made";
        let create = format!("run: {{command: touch {made}, creates: {made}}}");
        let delete = format!("run: {{command: rm {made}, unless: test ! -e {made}}}");
        converges(
            &home,
            &sim,
            release,
            &[
                (
                    "setting: {values: {Net.FollowHardwareMac: 0, UserVars.SuppressShellWarning: 1, Security.AccountLockFailures: 3, Config.HostAgent.log.level: warning}}",
                    "SuppressShellWarning",
                ),
                ("setting: {key: VMkernel.Boot.netNetqueueEnabled, value: false}", "netNetqueueEnabled"),
                ("module: {name: iscsi_vmk, enabled: false}", "iscsi_vmk"),
                ("ntp: {servers: [192.0.2.1, 192.0.2.2], enabled: true}", "192.0.2.1, 192.0.2.2"),
                ("service: {name: snmpd, at_boot: false}", "snmpd"),
                ("service: {name: shell, running: true, at_boot: true}", "ESXShell"),
                (
                    "syslog: {loghost: [\"ssl://logs.example.com:1514\"], rotate: 12, size: 2048}",
                    "ssl://logs.example.com:1514",
                ),
                (&account, "backup"),
                (&key, "admin@lab"),
                ("file: {path: /etc/motd.lab, content: \"managed\\n\", mode: \"0640\"}", "/etc/motd.lab"),
                ("acceptance: {level: CommunitySupported}", "CommunitySupported"),
                ("datastore: {name: datastore1, min_free: 1MB}", ""),
                ("maintenance: {enabled: true}", "maintenance mode"),
                (&create, made),
                (
                    "assert: {command: esxcli network ip interface list, where: {Name: vmk0}, field: MTU, value: 1500}",
                    "",
                ),
            ],
        );
        assert_eq!(sim.on_host(&home, "cat /etc/motd.lab").trim(), "managed", "{release}");
        assert!(sim.on_host(&home, "cat /etc/shadow").contains(&format!("backup:{HASH}:")), "{release}");
        converges(
            &home,
            &sim,
            release,
            &[
                ("setting: {key: UserVars.SuppressShellWarning, default: true}", "SuppressShellWarning"),
                ("setting: {key: VMkernel.Boot.netNetqueueEnabled, default: true}", "netNetqueueEnabled"),
                ("module: {name: iscsi_vmk, enabled: true}", "iscsi_vmk"),
                ("ntp: {servers: [192.0.2.3], enabled: false}", "192.0.2.3"),
                ("service: {name: TSM, running: false, at_boot: false}", "ESXShell"),
                ("service: {name: snmpd, at_boot: true}", "snmpd"),
                ("syslog: {loghost: [], rotate: 8}", "none"),
                ("account: {name: backup, state: absent}", "backup"),
                (&key.replace("user: root", "user: root, state: absent"), "admin@lab"),
                ("file: {path: /etc/motd.lab, state: absent}", "/etc/motd.lab"),
                ("acceptance: {level: PartnerSupported}", "PartnerSupported"),
                ("datastore: {name: no-such-datastore, visible: false}", ""),
                ("maintenance: {enabled: false}", "maintenance mode"),
                (&delete, "rm "),
                ("assert: {command: esxcli network ip interface list, where: {Name: vmk7}, absent: true}", ""),
            ],
        );
        assert!(!sim.on_host(&home, "cat /etc/shadow").contains("backup:"), "{release}");
    }
}

#[test]
fn system_kinds_say_why_they_refuse() {
    let home = Home::new();
    for release in RELEASES.into_iter().filter(reachable) {
        let mut complaints = Vec::new();
        let sim = host(&home, release, &[]);
        let ed25519 = format!("authorized_key: {{key: \"{ED25519}\"}}");
        for (step, says) in [
            (
                "setting: {key: UserVars.SuppressShellWarnin, value: 1}",
                &["UserVars.SuppressShellWarning", "missing_ok"][..],
            ),
            ("setting: {key: UserVars.SuppressShellWarning, value: 7}", &["7", "0", "1"]),
            ("setting: {key: Mem.ShareForceSalting, value: lots}", &["lots", "number"]),
            ("setting: {key: VMkernel.Boot.noSuchThing, value: true}", &["noSuchThing"]),
            ("setting: {key: Security.NoSuchThing, value: 1}", &["Security.NoSuchThing"]),
            ("module: {name: vmkusbb, enabled: false}", &["vmkusbb", "missing_ok"]),
            ("service: {name: ntpdd, running: true}", &["ntpdd", "ntpd"]),
            ("datastore: {name: datastore2}", &["datastore2", "datastore1"]),
            ("datastore: {name: datastore1, min_free: 900TB}", &["datastore1", "free"]),
            ("datastore: {disk: naa.1234}", &["naa.1234"]),
            ("account: {name: backup, role: Nobody}", &["Nobody"]),
            (
                "assert: {command: esxcli network ip interface list, where: {Name: vmk0}, field: MTU, value: 9000}",
                &["MTU", "1500", "9000"],
            ),
            (
                "assert: {command: esxcli network ip interface list, where: {Name: vmk0}, field: Mtu2, value: 1}",
                &["Mtu2"],
            ),
            (
                "assert: {command: esxcli network ip interface list, where: {Name: vmk5}, field: MTU, value: 1}",
                &["vmk5"],
            ),
            (
                "assert: {command: esxcli system version get, field: Product, matches: Windows}",
                &["Windows", "VMware ESXi"],
            ),
            ("assert: {command: echo red, equals: green}", &["red", "green"]),
            ("assert: {command: echo red, not_matches: r.d}", &["r.d"]),
            ("assert: {command: esxcli no such thing, matches: x}", &["esxcli no such thing"]),
            ("run: {command: echo oops; exit 3}", &["3", "oops"]),
            ("run: {command: echo oops, expect: {stdout: fine}}", &["fine", "oops"]),
            ("run: {command: echo oops, expect: {not_stdout: oops}}", &["oops"]),
        ] {
            complaints.extend(complaint(&home, &sim, release, step, says));
        }
        if release == "8.0" {
            complaints.extend(complaint(
                &home,
                &sim,
                release,
                &ed25519,
                &["FIPS", "ssh-keygen -t ecdsa", "allow_ed25519"],
            ));
        }
        if ["7.0", "8.0"].contains(&release) {
            for module in ["vmw_ahci", "vmkusb"] {
                let step = format!("module: {{name: {module}, enabled: false}}");
                complaints.extend(complaint(
                    &home,
                    &sim,
                    release,
                    &step,
                    &[module, release, "i_know_this_may_lose_the_boot_disk"],
                ));
            }
        }
        assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
        run(
            &home,
            &sim,
            &["verify"],
            &["setting: {key: UserVars.SuppressShellWarning, value: 0}", "acceptance: {level: PartnerSupported}"],
        )
        .exits(0);
    }
}

#[test]
fn the_way_around_a_refusal_works() {
    let home = Home::new();
    let sim = host(&home, "8.0", &[]);
    let ed25519 = format!("authorized_key: {{key: \"{ED25519}\", allow_ed25519: true}}");
    run(
        &home,
        &sim,
        &["apply"],
        &[
            &ed25519,
            "module: {name: vmkusb, enabled: false, i_know_this_may_lose_the_boot_disk: true}",
            "module: {name: no_such_module, enabled: true, missing_ok: true}",
            "setting: {key: UserVars.NoSuchThing, value: 1, missing_ok: true}",
        ],
    )
    .exits(0);
    assert!(sim.on_host(&home, "cat /etc/ssh/keys-root/authorized_keys").contains("me@desk"));
}

/// Everything that a run leaves on this machine: what it printed, and its journal.
fn left_behind(home: &Home, ran: &Ran) -> String {
    fn walk(dir: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, text);
            } else {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(&path).unwrap()));
            }
        }
    }
    let mut text = ran.all();
    let state = home.path("state");
    assert!(state.exists());
    walk(&state, &mut text);
    text
}

#[test]
fn a_password_hash_is_never_shown() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let account = |hash: &str, more: &str| format!("account: {{name: backup, password_hash: \"{hash}\"{more}}}");
        let other = HASH.replace("abcdefgh", "ijklmnop");
        for (step, args, code) in [
            (account(HASH, ""), vec!["apply", "--check", "--diff"], 3),
            (account(HASH, ""), vec!["apply", "--diff"], 0),
            (account(&other, ""), vec!["verify", "--diff"], 3),
            (account(&other, ""), vec!["apply", "--diff"], 0),
            (account(&other, ", role: NoSuchRole"), vec!["apply", "--diff"], 1),
        ] {
            let ran = run(&home, &sim, &args, &[&step]).exits(code);
            let text = left_behind(&home, &ran);
            for secret in ["abcdefgh", "ijklmnop", "Bf5NdpXyR0", "nYVBn"] {
                assert!(!text.contains(secret), "{release}: {secret} after {args:?}");
            }
            assert!(text.contains("backup"), "{release}: {}", ran.all());
        }
        assert!(sim.on_host(&home, "cat /etc/shadow").contains(&other), "{release}");
    }
}

#[test]
fn stopping_ssh_runs_last_and_is_verified_through_the_open_session() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let steps = ["service: {name: ssh, running: false}", "setting: {key: UserVars.SuppressShellWarning, value: 1}"];
        let ran = run(&home, &sim, &["apply"], &steps).exits(0);
        let events = ran.of("step");
        let order: Vec<_> = events.iter().map(|s| s["kind"].as_str().unwrap()).collect();
        assert_eq!(order, ["setting", "service"], "{release}: {}", ran.all());
        assert_eq!(events[1]["status"], "changed", "{release}: {}", ran.all());
        let next = run(&home, &sim, &["verify"], &steps).exits(4);
        let failed = &next.of("host_failed")[0];
        assert_eq!(failed["unreachable"], true, "{release}: {failed}");
    }
}

#[test]
fn a_level_stricter_than_what_is_installed_is_refused_by_name() {
    let home = Home::new();
    let sim = host(&home, "6.7", &[]);
    std::fs::write(home.path("x.vib"), super::vib::TestVib::new("lab-tool", "1.0-1").bytes()).unwrap();
    run(&home, &sim, &["apply"], &["vib: {from: x.vib, acceptance: CommunitySupported}"]).exits(0);
    let error = refused(&home, &sim, &["acceptance: {level: PartnerSupported}"]);
    assert!(error.contains("lab-tool") && error.contains("PartnerSupported"), "{error}");
}
