//! Tests of the `ntp` step.

use super::*;
use crate::esxi::{Version, recorded};
use crate::steps::testing::Host;

fn step(json: serde_json::Value) -> Ntp {
    serde_json::from_value(json).unwrap()
}

fn compare(step: &Ntp, version: Version, outputs: &[(&str, &str)]) -> Vec<Change> {
    Host::with(version, outputs).compare(step).unwrap()
}

fn actions(changes: &[Change]) -> Vec<String> {
    let text = |a: &Action| match a {
        Action::Run(c) => c.text().to_owned(),
        Action::Upload { source: Source::Bytes(b), path, mode } => {
            format!("{path} {mode:o}\n{}", String::from_utf8_lossy(b))
        }
        other => panic!("{other:?}"),
    };
    changes.iter().flat_map(|c| &c.actions).map(text).collect()
}

const V70: Version = Version::new(7, 0);
const V65: Version = Version::new(6, 5);

#[test]
fn recorded_on_7_0_it_is_as_wanted_whatever_the_order() {
    let get = recorded(include_str!("../../../fixtures/transcripts/7.0/system-ntp-get.txt"));
    let outputs = [("esxcli system ntp get", get.as_str())];
    let same = step(json!({"servers": ["2.nl.pool.org", "1.nl.pool.org", "3.NL.pool.org"], "enabled": true}));
    assert_eq!(same.reads(&HostFacts::example(V70)).len(), 1);
    assert!(compare(&same, V70, &outputs).is_empty());
    let other = step(json!({"servers": ["a.example", "b.example"], "enabled": false}));
    let changes = compare(&other, V70, &outputs);
    assert_eq!(
        actions(&changes),
        ["esxcli system ntp set -s a.example -s b.example", "esxcli system ntp set -e false"]
    );
    assert_eq!(changes[0].before, "1.nl.pool.org, 2.nl.pool.org, 3.nl.pool.org");
}

#[test]
fn before_7_0_the_file_keeps_its_other_lines() {
    let conf =
        "restrict default nomodify\nserver old.example iburst\nserver keep.example prefer\ndriftfile /etc/ntp.drift\n";
    let list = "ntpd   off\n";
    let outputs =
        [("cat /etc/ntp.conf", conf), ("chkconfig --list", list), ("/etc/init.d/ntpd status", "ntpd is not running")];
    let ntp = step(json!({"servers": ["keep.example", "new.example"], "enabled": true}));
    let changes = compare(&ntp, V65, &outputs);
    let wanted =
        "restrict default nomodify\nserver keep.example prefer\nserver new.example\ndriftfile /etc/ntp.drift\n";
    assert_eq!(
        actions(&changes),
        [format!("/etc/ntp.conf 1644\n{wanted}").as_str(), "chkconfig ntpd on", "/etc/init.d/ntpd start"]
    );
    let after = [
        ("cat /etc/ntp.conf", wanted),
        ("chkconfig --list", "ntpd   on\n"),
        ("/etc/init.d/ntpd status", "ntpd is running"),
    ];
    assert!(compare(&ntp, V65, &after).is_empty());
    // A running daemon has to read the file again.
    let running = [("cat /etc/ntp.conf", conf), after[1], after[2]];
    assert_eq!(actions(&compare(&ntp, V65, &running))[1], "/etc/init.d/ntpd restart");
}

#[test]
fn a_file_without_servers_gets_them_and_clocks_are_left_alone() {
    let servers = ["a".to_owned()];
    assert_eq!(rewritten("", &servers), "server a\n");
    assert_eq!(rewritten("server 127.127.1.0\n", &servers), "server 127.127.1.0\nserver a\n");
    assert_eq!(rewritten("server b\nserver c\n", &servers), "server a\n");
}

#[test]
fn nonsense_is_refused() {
    for bad in [
        json!({}),
        json!({"servers": ["a"], "no_servers": true}),
        json!({"servers": ["a b"]}),
        json!({"servers": ["-x"]}),
    ] {
        assert!(serde_json::from_value::<Ntp>(bad).is_err());
    }
}

const NTP: &str = "esxcli system ntp get";
const HOSTCONFIG: &str = "vim-cmd hostsvc/hostconfig";

fn get(enabled: bool, level: &str, servers: &str) -> String {
    format!("   Enabled: {enabled}\n   Loglevel: {level}\n   Servers: {servers}\n")
}

fn told(ntpd: (bool, &str), ptpd: (bool, &str)) -> String {
    super::super::service::tests::hostconfig(&[("ntpd", ntpd.0, ntpd.1), ("ptpd", ptpd.0, ptpd.1)])
}

fn back(changes: &[Change], version: Version, after: &[(&str, &str)]) -> Vec<String> {
    let undo = changes.iter().rev().map(|c| c.undo.clone().expect("this change can be taken back"));
    undo.flat_map(|undo| {
        let step = crate::steps::testing::step(crate::steps::kind(&undo.kind).unwrap(), undo.args);
        actions(&Host::with(version, after).compare(step.as_ref()).unwrap())
    })
    .collect()
}

#[test]
fn servers_that_the_site_has_not_given_are_no_pass() {
    for open in [json!(null), json!(""), json!([]), json!([""])] {
        let open = step(json!({"servers": open, "enabled": true}));
        let found = compare(&open, V70, &[(NTP, &get(false, "warning", ""))]);
        assert!(found.len() == 1 && found[0].by_hand.is_some(), "{found:?}");
        // The service is set right first; then the servers are for a person.
        let made = compare(&open, V70, &[(NTP, &get(false, "warning", "a.example"))]);
        assert_eq!(actions(&made), ["esxcli system ntp set -e true"]);
        let right = Host::with(V70, &[(NTP, &get(true, "warning", "a.example"))]).compare(&open);
        assert!(matches!(right, Err(StepError::NotJudged(why)) if why.contains("a.example")));
    }
}

#[test]
fn on_7_0_the_list_comes_back_also_an_empty_one() {
    let want = step(json!({"servers": ["n.example"], "enabled": true}));
    let after = get(true, "warning", "n.example");
    let made = compare(&want, V70, &[(NTP, &get(false, "warning", "b.example, a.example"))]);
    assert_eq!(
        back(&made, V70, &[(NTP, &after)]),
        ["esxcli system ntp set -e false", "esxcli system ntp set -s b.example -s a.example"]
    );
    let made = compare(&want, V70, &[(NTP, &get(false, "warning", ""))]);
    assert_eq!(back(&made, V70, &[(NTP, &after)]), ["esxcli system ntp set -e false", "esxcli system ntp set --reset"]);
    let louder = get(true, "info", "n.example");
    assert_eq!(
        back(&made[..1], V70, &[(NTP, &louder)]),
        ["esxcli system ntp set --reset", "esxcli system ntp set -l info"]
    );
    let none = step(json!({"no_servers": true}));
    assert!(compare(&none, V70, &[(NTP, &get(false, "warning", ""))]).is_empty());
}

#[test]
fn before_7_0_the_file_and_both_halves_come_back() {
    let conf = "server old.example iburst\ndriftfile /etc/ntp.drift\n";
    let before = [
        ("cat /etc/ntp.conf", conf),
        ("chkconfig --list", "ntpd   off\n"),
        ("/etc/init.d/ntpd status", "ntpd is running"),
    ];
    let made = compare(&step(json!({"servers": ["new.example"], "enabled": true})), V65, &before);
    let after = [
        ("cat /etc/ntp.conf", "server new.example\ndriftfile /etc/ntp.drift\n"),
        ("chkconfig --list", "ntpd   on\n"),
        before[2],
    ];
    assert_eq!(
        back(&made, V65, &after),
        ["chkconfig ntpd off", &format!("/etc/ntp.conf 1644\n{conf}"), "/etc/init.d/ntpd restart"]
    );
    let same = step(json!({ "conf": conf }));
    assert!(compare(&same, V65, &before).is_empty());
}

#[test]
fn hostd_tells_whether_it_runs() {
    let want = step(json!({"servers": ["a.example"], "enabled": true, "by": "hostd"}));
    assert_eq!(want.reads(&HostFacts::example(V70)).len(), 2);
    let get = get(true, "warning", "a.example");
    let on = |running| told((running, "on"), (false, "off"));
    assert!(compare(&want, V70, &[(NTP, &get), (HOSTCONFIG, &on(true))]).is_empty());
    let host = Host::with(V70, &[(NTP, &get), (HOSTCONFIG, &on(false))]);
    let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &Default::default() };
    assert!(want.more_reads(&seen).contains(&status("ntpd")));
    let made = host.compare(&want).unwrap();
    assert_eq!(actions(&made), ["/etc/init.d/ntpd start"]);
    assert_eq!(back(&made, V70, &[(NTP, &get), (HOSTCONFIG, &on(true))]), ["/etc/init.d/ntpd stop"]);

    let conf = "server a.example\n";
    let old = [("cat /etc/ntp.conf", conf), (HOSTCONFIG, &told((true, "off"), (false, "off")))];
    let made = compare(&want, V65, &old);
    assert_eq!(actions(&made), ["chkconfig ntpd on"]);
    assert_eq!(back(&made, V65, &[("cat /etc/ntp.conf", conf), (HOSTCONFIG, &on(true))]), ["chkconfig ntpd off"]);
    // A hostd that does not tell.
    let silent = Host::with(V65, &[old[0], (HOSTCONFIG, "(a) {\n}\n")]);
    let seen = Seen { host: &silent.facts, outputs: &silent.outputs, artifacts: &Default::default() };
    assert!(want.more_reads(&seen).contains(&status("ntpd")) && want.more_reads(&seen).contains(&list()));
}

#[test]
fn time_from_ptp_is_for_a_person() {
    let want = step(json!({"servers": null, "enabled": true, "by": "hostd", "or_ptp": true}));
    let none = get(false, "warning", "");
    let host = |ptpd| Host::with(V70, &[(NTP, &none), (HOSTCONFIG, &told((false, "off"), ptpd))]);
    assert!(matches!(host((true, "on")).compare(&want), Err(StepError::NotJudged(why)) if why.contains("PTP")));
    for ptpd in [(true, "off"), (false, "on")] {
        assert!(host(ptpd).compare(&want).unwrap()[0].by_hand.is_some());
    }
    assert!(serde_json::from_value::<Ntp>(json!({"enabled": true, "or_ptp": true})).is_err());
}
