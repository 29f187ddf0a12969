//! Tests of the `service` step.

use super::*;
use crate::esxi::recorded;
use crate::steps::testing::{Host, texts};

fn step(json: serde_json::Value) -> Service {
    serde_json::from_value(json).unwrap()
}

fn compare(step: &Service, version: Version, outputs: &[(&str, &str)]) -> Result<Vec<Change>, StepError> {
    Host::with(version, outputs).compare(step)
}

const LIST: &str = "hostd                   on\nSSH                     off\nESXShell                off\nslpd                    on\nntpd                    off\n";
const V65: Version = Version::new(6, 5);
const V70: Version = Version::new(7, 0);

#[test]
fn ssh_goes_through_hostd_and_is_idempotent() {
    let said = recorded(include_str!("../../../fixtures/transcripts/6.7/initd-ssh-restart.txt"));
    let (off, on) = said.split_once('\n').unwrap();
    let ssh = step(json!({"name": "TSM-SSH", "running": true, "at_boot": true}));
    let reads: Vec<String> = ssh.reads(&HostFacts::example(V65)).iter().map(|c| c.text().to_owned()).collect();
    assert_eq!(reads, ["chkconfig --list", "/etc/init.d/SSH status"]);
    let changes = compare(&ssh, V65, &[("chkconfig --list", LIST), ("/etc/init.d/SSH status", off)]).unwrap();
    assert_eq!(texts(&changes), ["vim-cmd hostsvc/enable_ssh", "vim-cmd hostsvc/start_ssh"]);
    assert_eq!((changes[1].before.as_str(), changes[1].after.as_str()), ("stopped", "running"));
    assert!(changes[1].effect.transient && !changes[0].effect.transient);
    let list = LIST.replace("SSH                     off", "SSH                     on");
    assert!(compare(&ssh, V65, &[("chkconfig --list", &list), ("/etc/init.d/SSH status", on)]).unwrap().is_empty());
}

#[test]
fn only_stopping_ssh_ends_the_way_in() {
    assert!(step(json!({"name": "ssh", "running": false})).ends_ssh());
    assert!(!step(json!({"name": "ssh", "at_boot": false})).ends_ssh());
    assert!(!step(json!({"name": "shell", "running": false})).ends_ssh());
}

#[test]
fn hostd_recorded_on_5_1_runs() {
    let status = recorded(include_str!("../../../fixtures/transcripts/5.x/initd-hostd-status.txt"));
    let outputs = [("chkconfig --list", LIST), ("/etc/init.d/hostd status", status.as_str())];
    let hostd = step(json!({"name": "hostd", "running": true, "at_boot": true}));
    assert!(compare(&hostd, V65, &outputs).unwrap().is_empty());
    let stop = step(json!({"name": "hostd", "running": false}));
    assert_eq!(texts(&compare(&stop, V65, &outputs).unwrap()), ["/etc/init.d/hostd stop"]);
}

#[test]
fn ntpd_is_switched_by_esxcli_from_7_0_on_only() {
    let ntpd = step(json!({"name": "ntpd", "running": true, "at_boot": true}));
    let outputs = [
        ("chkconfig --list", LIST),
        ("/etc/init.d/ntpd status", "ntpd is not running"),
        ("esxcli system ntp get", "   Enabled: false\n   Loglevel: warning\n   Servers: \n"),
    ];
    let at = |v| texts(&compare(&ntpd, v, &outputs).unwrap());
    assert_eq!(at(V70), ["esxcli system ntp set -e true", "/etc/init.d/ntpd start"]);
    assert_eq!(at(V65), ["chkconfig ntpd on", "/etc/init.d/ntpd start"]);
    assert!(!ntpd.reads(&HostFacts::example(V65)).iter().any(|c| c.text().contains("esxcli")));
    let get = recorded(include_str!("../../../fixtures/transcripts/7.0/system-ntp-get.txt"));
    let boot = step(json!({"name": "ntp", "at_boot": true}));
    assert!(compare(&boot, V70, &[("chkconfig --list", LIST), ("esxcli system ntp get", &get)]).unwrap().is_empty());
}

#[test]
fn an_unknown_service_or_text_is_an_error_that_says_so() {
    let misspelt = step(json!({"name": "slpdd", "at_boot": false}));
    let said = compare(&misspelt, V65, &[("chkconfig --list", LIST)]).unwrap_err().to_string();
    assert!(said.contains("slpdd") && said.contains("Nearest: slpd"), "{said}");
    let slpd = step(json!({"name": "slpd", "running": false}));
    let odd = [("chkconfig --list", LIST), ("/etc/init.d/slpd status", "who knows")];
    assert!(compare(&slpd, V65, &odd).unwrap_err().to_string().contains("who knows"));
    let missing = Output { stderr: "sh: /etc/init.d/slpdd: not found".into(), code: 127, ..Output::default() };
    let host = Host::with(V65, &[("chkconfig --list", LIST)]).ends(&status("slpdd"), missing);
    let said = host.compare(&step(json!({"name": "slpdd", "running": true})));
    assert!(said.unwrap_err().to_string().contains("no /etc/init.d/slpdd"));
    assert!(serde_json::from_value::<Service>(json!({"name": "ssh"})).is_err());
    assert!(serde_json::from_value::<Service>(json!({"name": "a; reboot", "running": true})).is_err());
}

#[test]
fn stopping_what_is_stopped_is_no_failure_but_a_refusal_is() {
    let stop = start_or_stop("slpd", false);
    let said = |text: &str| Output { stdout: text.into(), code: 1, ..Output::default() };
    assert!(judge(&stop, &said("slpd is not running")).is_ok());
    let error = judge(&stop, &said("Failed to stop slpd")).unwrap_err().to_string();
    assert!(error.contains("CIMSLP"), "{error}");
}

/// What hostd tells, in the form of its other objects: key, running, policy.
pub(crate) fn hostconfig(services: &[(&str, bool, &str)]) -> String {
    let one = |(key, running, policy): &(&str, bool, &str)| {
        format!(
            "         (vim.host.Service) {{\n            key = \"{key}\", \n            label = \"{key}\", \n            required = false, \n            uninstallable = false, \n            running = {running}, \n            ruleset = (string) [\n               \"sshServer\"\n            ], \n            policy = \"{policy}\", \n            sourcePackage = (vim.host.Service.SourcePackage) {{\n               sourcePackageName = \"esx-base\", \n               description = \"This VIB contains all of the base functionality of vSphere ESXi.\"\n            }}\n         }}"
        )
    };
    let all: Vec<String> = services.iter().map(one).collect();
    format!(
        "(vim.host.ConfigInfo) {{\n   host = 'vim.HostSystem:ha-host', \n   firewall = (vim.host.FirewallInfo) {{\n      ruleset = (vim.host.Ruleset) [\n         (vim.host.Ruleset) {{\n            key = \"CIMSLP\", \n            service = \"slpd\", \n            enabled = true\n         }}\n      ]\n   }}, \n   service = (vim.host.ServiceInfo) {{\n      service = (vim.host.Service) [\n{}\n      ]\n   }}, \n   lockdownMode = \"lockdownDisabled\"\n}}\n",
        all.join(", \n")
    )
}

const HOSTCONFIG: &str = "vim-cmd hostsvc/hostconfig";
const V80: Version = Version::new(8, 0);

/// The commands that take changes back, from a host in the state after them.
fn undone(changes: &[Change], after: &Host) -> Vec<String> {
    let undo = changes.iter().rev().map(|change| change.undo.clone().expect("this change can be taken back"));
    undo.flat_map(|undo| {
        assert_eq!(undo.kind, "service");
        texts(&after.compare(&step(undo.args)).unwrap())
    })
    .collect()
}

#[test]
fn hostd_tells_both_halves_of_every_service_in_one_answer() {
    let open = hostconfig(&[("TSM", true, "on"), ("TSM-SSH", true, "on"), ("slpd", false, "off")]);
    let shut = hostconfig(&[("TSM", false, "off"), ("TSM-SSH", false, "off"), ("slpd", false, "off")]);
    let off = |name| step(json!({"name": name, "running": false, "at_boot": false, "by": "hostd"}));
    let (open, shut) = (Host::with(V80, &[(HOSTCONFIG, &open)]), Host::with(V80, &[(HOSTCONFIG, &shut)]));
    for (name, disable, stop, enable, start) in [
        ("ssh", "disable_ssh", "stop_ssh", "enable_ssh", "start_ssh"),
        ("shell", "disable_esx_shell", "stop_esx_shell", "enable_esx_shell", "start_esx_shell"),
    ] {
        let step = off(name);
        assert_eq!(step.reads(&open.facts).iter().map(Command::text).collect::<Vec<_>>(), [HOSTCONFIG]);
        let made = open.compare(&step).unwrap();
        assert_eq!(texts(&made), [format!("vim-cmd hostsvc/{disable}"), format!("vim-cmd hostsvc/{stop}")]);
        assert_eq!((made[0].before.as_str(), made[1].before.as_str()), ("on", "running"));
        assert!(shut.compare(&step).unwrap().is_empty());
        assert_eq!(undone(&made, &shut), [format!("vim-cmd hostsvc/{start}"), format!("vim-cmd hostsvc/{enable}")]);
        for change in &made {
            let back = self::step(change.undo.clone().unwrap().args);
            assert!(open.compare(&back).unwrap().is_empty());
        }
        let seen = Seen { host: &open.facts, outputs: &open.outputs, artifacts: &Default::default() };
        assert!(step.more_reads(&seen).is_empty());
    }
    assert!(open.compare(&off("slpd")).unwrap().is_empty());
}

#[test]
fn hostd_is_asked_again_by_the_init_script_where_it_need_not_have_noticed() {
    let slpd = step(json!({"name": "slpd", "running": false, "at_boot": false, "by": "hostd"}));
    let told = hostconfig(&[("slpd", true, "on")]);
    let mut host = Host::with(Version::new(6, 7), &[(HOSTCONFIG, &told)]);
    let more = |host: &Host| {
        let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &Default::default() };
        slpd.more_reads(&seen).iter().map(|c| c.text().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(more(&host), ["chkconfig --list", "/etc/init.d/slpd status"]);
    // Nothing more was to be had: hostd's word counts.
    let wanted = ["chkconfig slpd off", "/etc/init.d/slpd stop"];
    assert_eq!(host.actions(&slpd), wanted);
    host = host.says(&list(), "slpd   on\n").says(&status("slpd"), "slpd is running");
    let made = host.compare(&slpd).unwrap();
    assert_eq!(texts(&made), wanted);
    host = host.says(&list(), "slpd   off\n").says(&status("slpd"), "slpd is not running");
    assert!(host.compare(&slpd).unwrap().is_empty());
    host = host.says(&hostconfig_read(), hostconfig(&[("slpd", false, "off")]));
    assert_eq!(undone(&made, &host), ["/etc/init.d/slpd start", "chkconfig slpd on"]);
    assert!(more(&host).is_empty());
}

fn hostconfig_read() -> Command {
    super::hostconfig()
}

#[test]
fn automatic_is_neither_on_nor_off_and_is_not_brought_back() {
    let told = hostconfig(&[("ntpd", true, "automatic")]);
    let host = Host::with(V80, &[(HOSTCONFIG, &told), ("chkconfig --list", "ntpd   on\n")]);
    let on = step(json!({"name": "ntpd", "at_boot": true, "by": "hostd"}));
    let made = host.compare(&on).unwrap();
    assert_eq!((made[0].before.as_str(), made[0].undo.is_none()), ("automatic", true));
    assert_eq!(texts(&made), ["esxcli system ntp set -e true"]);
}

#[test]
fn what_hostd_does_not_tell_the_init_script_does() {
    let slpd = step(json!({"name": "slpd", "running": false, "at_boot": false, "by": "hostd", "missing_ok": true}));
    let stopped = [("chkconfig --list", LIST), ("/etc/init.d/slpd status", "slpd is not running")];
    for told in ["(vim.host.ConfigInfo) {\n   name = 1\n}\n", "Failed to login", "(vim.host.ServiceInfo) {\n"] {
        let host = Host::with(V65, &[(HOSTCONFIG, told), stopped[0], stopped[1]]);
        let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &Default::default() };
        assert_eq!(slpd.more_reads(&seen).len(), 2, "{told}");
        assert_eq!(host.actions(&slpd), ["chkconfig slpd off"], "{told}");
    }
    // Before hostd was read nothing more is asked.
    let nothing = Host::with(V65, &[]);
    let seen = Seen { host: &nothing.facts, outputs: &nothing.outputs, artifacts: &Default::default() };
    assert!(slpd.more_reads(&seen).is_empty());
}

#[test]
fn a_service_that_the_host_does_not_have_is_right_only_where_that_is_said() {
    let told = hostconfig(&[("ntpd", true, "on")]);
    let without = LIST.replace("slpd", "xxxx");
    let missing = Output { stderr: "sh: /etc/init.d/slpd: not found".into(), code: 127, ..Output::default() };
    for by in ["init", "hostd"] {
        let host = Host::with(V80, &[(HOSTCONFIG, &told), ("chkconfig --list", &without)])
            .ends(&status("slpd"), missing.clone());
        let slpd =
            |ok: bool| step(json!({"name": "slpd", "running": false, "at_boot": false, "by": by, "missing_ok": ok}));
        assert!(matches!(host.compare(&slpd(true)), Err(StepError::NotApplicable(why)) if why.contains("slpd")));
        assert!(matches!(host.compare(&slpd(false)), Err(StepError::Refused(_))));
    }
}

#[test]
fn without_hostd_the_halves_come_back_as_well() {
    let outputs = [("chkconfig --list", LIST), ("/etc/init.d/slpd status", "slpd is running")];
    let slpd = step(json!({"name": "slpd", "running": false, "at_boot": false}));
    let made = compare(&slpd, V65, &outputs).unwrap();
    let off = LIST.replace("slpd                    on", "slpd                    off");
    let after = Host::with(V65, &[("chkconfig --list", &off), ("/etc/init.d/slpd status", "slpd is not running")]);
    assert_eq!(undone(&made, &after), ["/etc/init.d/slpd start", "chkconfig slpd on"]);
    // The words of sfcbd, recorded on 6.5.
    let said = recorded(include_str!("../../../fixtures/transcripts/6.5/initd-sfcbd-status-stopped.txt"));
    assert_eq!(is_running(&said), Some(false));
    let said = recorded(include_str!("../../../fixtures/transcripts/6.5/initd-sfcbd-status-running.txt"));
    assert_eq!(is_running(&said), Some(true));
}

#[test]
fn a_cim_server_that_is_switched_off_does_not_start() {
    let said = recorded(include_str!("../../../fixtures/transcripts/6.5/initd-sfcbd-start-disabled.txt"));
    let start = start_or_stop("sfcbd-watchdog", true);
    let refused = judge(&start, &Output { stdout: said, code: 0, ..Output::default() });
    assert!(refused.unwrap_err().to_string().contains("cim"));
}
