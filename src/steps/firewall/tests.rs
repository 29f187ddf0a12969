use super::*;
use crate::esxi::{Version, recorded};
use crate::steps::testing::*;
use serde_json::json;

/// A ruleset list in the form recorded on 5.0 and 6.0.
fn rulesets(rows: &[&[&str; 2]]) -> String {
    let rows: Vec<&[&str]> = rows.iter().map(|r| r.as_slice()).collect();
    table(&["Name", "Enabled"], &rows)
}

fn allowed(rows: &[&[&str; 2]]) -> String {
    let rows: Vec<&[&str]> = rows.iter().map(|r| r.as_slice()).collect();
    table(&["Ruleset", "Allowed IP Addresses"], &rows)
}

/// The session comes from 192.0.2.200.
fn host(ssh: &str, ntp: &str) -> Host {
    Host::new(Version::new(7, 0), "192.0.2.11")
        .says(&ruleset_list(), rulesets(&[&["sshServer", "true"], &["ntpClient", "false"]]))
        .says(&allowed_list(), allowed(&[&["sshServer", ssh], &["ntpClient", ntp]]))
        .says(&get(), recorded(include_str!("../../../fixtures/transcripts/5.x/network-firewall-get.txt")))
}

#[test]
fn recorded_rulesets_of_5_0_and_6_0() {
    let five = recorded(include_str!("../../../fixtures/transcripts/5.x/firewall-ruleset-list-r.txt"));
    let open = step(&KIND, json!({"ruleset": "remoteSerialPort", "enabled": true}));
    let h = Host::new(Version::new(5, 0), "192.0.2.11").says(&ruleset_list(), five.clone());
    assert_eq!(h.actions(&*open), ["esxcli network firewall ruleset set -r remoteSerialPort -e true"]);
    let h = Host::new(Version::new(5, 0), "192.0.2.11").says(&ruleset_list(), five.replace("false", " true"));
    assert!(h.compare(&*open).unwrap().is_empty());
    let six = recorded(include_str!("../../../fixtures/transcripts/6.0/firewall-ruleset-list-gdbserver.txt"));
    let h = Host::new(Version::new(6, 0), "192.0.2.11").says(&ruleset_list(), six);
    let close = step(&KIND, json!({"ruleset": "gdbserver", "enabled": false}));
    assert_eq!(h.actions(&*close), ["esxcli network firewall ruleset set -r gdbserver -e false"]);
    let other = step(&KIND, json!({"ruleset": "gdbServer", "enabled": false}));
    assert!(h.refusal(&*other).contains("the nearest name is gdbserver"));
}

#[test]
fn allowed_addresses_of_another_ruleset() {
    let s = step(&KIND, json!({"ruleset": "ntpClient", "enabled": true, "allowed": ["10.0.0.0/8", "192.0.2.5"]}));
    assert_eq!(
        host("All", "All").actions(&*s),
        [
            "esxcli network firewall ruleset set -r ntpClient -a false",
            "esxcli network firewall ruleset allowedip add -r ntpClient -i 10.0.0.0/8",
            "esxcli network firewall ruleset allowedip add -r ntpClient -i 192.0.2.5",
            "esxcli network firewall ruleset set -r ntpClient -e true",
        ]
    );
    assert!(!s.ends_ssh());
    let s = step(&KIND, json!({"ruleset": "ntpClient", "allowed": ["10.0.0.0/8", "192.0.2.5"]}));
    assert_eq!(
        host("All", "192.0.2.5, 172.16.0.1").actions(&*s),
        [
            "esxcli network firewall ruleset allowedip add -r ntpClient -i 10.0.0.0/8",
            "esxcli network firewall ruleset allowedip remove -r ntpClient -i 172.16.0.1",
        ]
    );
    assert!(host("All", "192.0.2.5/32, 10.0.0.0/8").compare(&*s).unwrap().is_empty());
    let all = step(&KIND, json!({"ruleset": "ntpClient", "allowed": "all"}));
    assert_eq!(
        host("All", "10.0.0.1").actions(&*all),
        [
            "esxcli network firewall ruleset set -r ntpClient -a true",
            "{ esxcli network firewall ruleset allowedip remove -r ntpClient -i 10.0.0.1 || true; }",
        ]
    );
    assert!(host("All", "All").compare(&*all).unwrap().is_empty());
}

#[test]
fn the_way_in_is_narrowed_only_around_ourselves() {
    let ours = step(&KIND, json!({"ruleset": "sshServer", "allowed": ["192.0.2.0/24"]}));
    assert!(ours.ends_ssh());
    assert_eq!(
        host("All", "All").actions(&*ours),
        [
            "detached: esxcli network firewall ruleset set -r sshServer -a false",
            "detached: { esxcli network firewall ruleset allowedip add -r sshServer -i 192.0.2.0/24 || true; }",
            "rollback: esxcli network firewall ruleset set -r sshServer -a true",
        ]
    );
    assert_eq!(
        host("192.0.2.200", "All").actions(&*ours),
        [
            "detached: esxcli network firewall ruleset allowedip add -r sshServer -i 192.0.2.0/24",
            "detached: { esxcli network firewall ruleset allowedip remove -r sshServer -i 192.0.2.200 || true; }",
            "rollback: esxcli network firewall ruleset allowedip add -r sshServer -i 192.0.2.200",
            "rollback: esxcli network firewall ruleset allowedip remove -r sshServer -i 192.0.2.0/24",
        ]
    );
    assert!(host("192.0.2.0/24", "All").compare(&*ours).unwrap().is_empty());
    let theirs = json!({"ruleset": "sshServer", "allowed": ["10.0.0.0/8"]});
    assert!(host("All", "All").refusal(&*step(&KIND, theirs.clone())).contains("192.0.2.200"));
    let mut unknown = host("All", "All");
    unknown.facts.client_address = None;
    assert!(unknown.refusal(&*ours).contains("not known"));
    let mut wanted = theirs;
    wanted["allow_lockout"] = json!(true);
    assert_eq!(
        host("All", "All").actions(&*step(&KIND, wanted)),
        [
            "esxcli network firewall ruleset set -r sshServer -a false && { esxcli network firewall ruleset allowedip add -r sshServer -i 10.0.0.0/8 || true; }"
        ]
    );
}

#[test]
fn closing_ssh_needs_a_word() {
    let s = step(&KIND, json!({"ruleset": "sshServer", "enabled": false}));
    assert!(s.ends_ssh());
    assert!(host("All", "All").refusal(&*s).contains("allow_lockout"));
    let s = step(&KIND, json!({"ruleset": "sshServer", "enabled": false, "allow_lockout": true}));
    assert_eq!(host("All", "All").actions(&*s), ["esxcli network firewall ruleset set -r sshServer -e false"]);
    assert!(!step(&KIND, json!({"ruleset": "sshServer", "enabled": true, "allowed": "all"})).ends_ssh());
}

#[test]
fn the_firewall_as_a_whole() {
    let off = recorded(include_str!("../../../fixtures/transcripts/5.x/network-firewall-get.txt"))
        .replace("Enabled: true", "Enabled: false")
        .replace("DROP", "PASS");
    let on = step(&KIND, json!({"enabled": true, "default_action": "drop"}));
    assert!(on.ends_ssh());
    assert!(host("All", "All").compare(&*on).unwrap().is_empty());
    let h = host("192.0.2.0/24", "All").says(&get(), off.clone());
    assert_eq!(
        h.actions(&*on),
        [
            "detached: esxcli network firewall set -d false -e true",
            "rollback: esxcli network firewall set -d true -e false"
        ]
    );
    let closed = host("10.0.0.1", "All").says(&get(), off.clone());
    assert!(closed.refusal(&*on).contains("192.0.2.200"));
    let closed = h.says(&ruleset_list(), rulesets(&[&["sshServer", "false"]]));
    assert!(closed.refusal(&*on).contains("would not get in again"));
    let open = step(&KIND, json!({"enabled": false, "default_action": "pass"}));
    assert!(!open.ends_ssh());
    assert_eq!(host("All", "All").actions(&*open), ["esxcli network firewall set -d true -e false"]);
    assert!(host("All", "All").says(&get(), off).compare(&*open).unwrap().is_empty());
}

#[test]
fn already_allowed_is_no_failure() {
    let said =
        recorded(include_str!("../../../fixtures/transcripts/unknown/firewall-ruleset-set-already-allowed-all.txt"));
    let s = step(&KIND, json!({"ruleset": "snmp", "allowed": "all"}));
    let output = Output { stdout: said, code: 1, ..Output::default() };
    let verdict = s.judge(&ruleset_list(), &output).unwrap();
    assert_eq!(verdict.note.as_deref(), Some("Already allowed all ip"));
    let output = Output { stdout: "Invalid ruleset\n".into(), code: 1, ..Output::default() };
    assert!(s.judge(&ruleset_list(), &output).is_err());
}

#[test]
fn wrong_arguments() {
    for (json, word) in [
        (json!({}), "ruleset"),
        (json!({"allowed": "all"}), "belongs to a ruleset"),
        (json!({"ruleset": "ssh", "default_action": "drop"}), "as a whole"),
        (json!({"ruleset": "ssh"}), "enabled"),
        (json!({"ruleset": "ssh", "allowed": []}), "nobody"),
        (json!({"ruleset": "ssh", "allowed": ["10.0.0.5/24"]}), "10.0.0.0/24"),
        (json!({"ruleset": "ssh", "allowed": ["home"]}), "allowed"),
        (json!({"ruleset": "ssh", "allowed": "everyone"}), "`all`"),
        (json!({"ruleset": "ssh", "enable": true}), "enable"),
        (json!({"every_enabled": true, "ruleset": "ssh"}), "alone"),
        (json!({"every_enabled": false}), "only be true"),
        (json!({"allowed_ips": ["10.0.0.0/8"], "enabled": true}), "every_enabled"),
        (json!({"every_enabled": true, "allowed_ips": ["0.0.0.0/0"]}), "everybody"),
        (json!({"every_enabled": true, "allowed_ips": ["10.0.0.5/24"]}), "10.0.0.0/24"),
    ] {
        let text = bad(&KIND, json);
        assert!(text.contains(word), "{word}: {text}");
    }
}

/// The whole list recorded on 8.0 U2 or U2b, every ruleset open to everybody but for what is said.
fn eight(list: &str, but: &[(&str, &str)]) -> Host {
    let list = recorded(list);
    let names: Vec<&str> = list.lines().skip(2).filter_map(|l| l.split_whitespace().next()).collect();
    let rows: Vec<[&str; 2]> =
        names.iter().map(|n| [*n, but.iter().find(|(name, _)| name == n).map_or("All", |(_, a)| *a)]).collect();
    let rows: Vec<&[&str; 2]> = rows.iter().collect();
    Host::new(Version::new(8, 0), "192.0.2.11")
        .says(&allowed_list(), allowed(&rows))
        .says(&ruleset_list(), list.clone())
}

const U2: &str = include_str!("../../../fixtures/transcripts/8.0/firewall-ruleset-list-u2.txt");
const U2B: &str = include_str!("../../../fixtures/transcripts/8.0/firewall-ruleset-list-u2b.txt");

/// The same with every ruleset narrowed that is open on 8.0 U2 and that a person may narrow.
const NARROW: &[(&str, &str)] = &[
    ("sshServer", "10.0.0.0/8"),
    ("dns", "10.0.0.1"),
    ("updateManager", "10.0.0.1, 10.0.0.2"),
    ("faultTolerance", "10.0.0.0/8"),
    ("webAccess", "10.0.0.0/8"),
    ("vSphereClient", "2001:db8::/64"),
    ("WOL", "10.0.0.0/8"),
];

#[test]
fn every_open_ruleset_is_judged_on_recorded_8_0_u2() {
    let judge = step(&KIND, json!({"every_enabled": true, "allowed_ips": null}));
    assert!(!judge.ends_ssh());
    let found = eight(U2, &[]).compare(&*judge).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].before,
        "open to everybody: sshServer, dns, updateManager, faultTolerance, webAccess, vSphereClient, WOL"
    );
    assert!(found[0].actions.is_empty() && found[0].by_hand.as_ref().unwrap().contains("allowed_ips"));
    // What the system owns is not asked about, what is closed is nobody's.
    assert!(eight(U2, NARROW).compare(&*judge).unwrap().is_empty());
    // On U2b a person may change most of them again.
    let found = eight(U2B, NARROW).compare(&*judge).unwrap();
    assert!(found[0].before.contains("dhcp, CIMHttpServer, vpxHeartbeats, vMotion"), "{}", found[0].before);
    // A list that is everybody, by one network or by two halves.
    for everybody in ["0.0.0.0/0", "10.0.0.0/8, ::/0", "0.0.0.0/1, 128.0.0.0/1"] {
        let mut rows = NARROW.to_vec();
        rows[1] = ("dns", everybody);
        assert_eq!(eight(U2, &rows).compare(&*judge).unwrap()[0].before, "open to everybody: dns");
    }
}

#[test]
fn every_open_ruleset_is_limited_in_one_line_each() {
    let s =
        step(&KIND, json!({"every_enabled": true, "allowed_ips": ["10.0.0.0/8", "2001:db8::5"], "except": ["dns"]}));
    assert!(s.ends_ssh());
    let mut rows = NARROW.to_vec();
    rows.retain(|(name, _)| !["sshServer", "dns", "WOL"].contains(name));
    let host = eight(U2, &rows);
    let changes = host.compare(&*s).unwrap();
    let fw = "esxcli network firewall ruleset";
    assert_eq!(
        texts(&changes),
        [
            format!("detached: {fw} set -r sshServer -a false"),
            format!("detached: {{ {fw} allowedip add -r sshServer -i 10.0.0.0/8 || true; }}"),
            format!("detached: {{ {fw} allowedip add -r sshServer -i 2001:db8::5 || true; }}"),
            format!("detached: {{ {fw} allowedip add -r sshServer -i 192.0.2.200 || true; }}"),
            format!("rollback: {fw} set -r sshServer -a true"),
            format!(
                "trap '' HUP PIPE; {fw} set -r WOL -a false && {{ {fw} allowedip add -r WOL -i 10.0.0.0/8 || {fw} allowedip list \
                 --ruleset-id=WOL | grep -qwF -e 10.0.0.0/8; }} && {{ {fw} allowedip add -r WOL -i 2001:db8::5 || {fw} \
                 allowedip list --ruleset-id=WOL | grep -qwF -e 2001:db8::5; }} || {{ {fw} set -r WOL -a true; false; }}"
            ),
        ]
    );
    assert!(changes[0].summary.contains("with 192.0.2.200, where this session comes from"), "{}", changes[0].summary);
    // What is left out on purpose stays a finding.
    assert_eq!(changes[2].before, "open to everybody: dns");
    assert!(changes[2].by_hand.as_ref().unwrap().contains("`except`"));
    let after = eight(U2, &[NARROW, &[("dns", "All")]].concat());
    let rest = after.compare(&*step(&KIND, json!({"every_enabled": true, "allowed_ips": ["172.16.0.0/12"]}))).unwrap();
    assert!(rest.is_empty(), "a list of its own is kept: {rest:?}");

    // The session's own address is in the list already; without one nobody risks the way in.
    let near = step(&KIND, json!({"every_enabled": true, "allowed_ips": ["192.0.2.0/24"]}));
    let mut host = eight(U2, &NARROW[1..]);
    assert_eq!(host.actions(&*near).len(), 3);
    host.facts.client_address = None;
    let found = host.compare(&*near).unwrap();
    assert!(found[0].actions.is_empty() && found[0].by_hand.as_ref().unwrap().contains("allow_lockout"));
    // Without touching the way in it is no door.
    let other = json!({"every_enabled": true, "allowed_ips": ["10.0.0.0/8"], "except": ["sshServer"]});
    assert!(!step(&KIND, other).ends_ssh());
}

#[test]
fn a_line_of_several_commands_fails_by_its_exit_code() {
    let s = step(&KIND, json!({"every_enabled": true, "allowed_ips": ["10.0.0.0/8"]}));
    let refused = "Invalid operation requested: Can not change allowed ip list this ruleset, it is owned by system \
                   service.\nAlready allowed all ip\n";
    let line = Command::raw("a && b || { c; false; }");
    let output = Output { stdout: refused.into(), code: 1, ..Output::default() };
    assert!(s.judge(&line, &output).unwrap_err().to_string().contains("owned by system service"));
    assert!(s.judge(&line, &Output::ok("Ip address already exist\n")).is_ok());
}

fn undone(change: &Change) -> Box<dyn Step> {
    let undo = change.undo.clone().unwrap();
    assert_eq!(undo.kind, "firewall");
    step(&KIND, undo.args)
}

#[test]
fn what_was_before_comes_back() {
    let fw = "esxcli network firewall ruleset";
    // Open or closed.
    let s = step(&KIND, json!({"ruleset": "ntpClient", "enabled": true}));
    let change = host("All", "All").compare(&*s).unwrap().remove(0);
    let after = host("All", "All").says(&ruleset_list(), rulesets(&[&["sshServer", "true"], &["ntpClient", "true"]]));
    assert_eq!(after.actions(&*undone(&change)), [format!("{fw} set -r ntpClient -e false")]);
    // Who may use it: all, a list, and nobody, which no step says.
    let s = step(&KIND, json!({"ruleset": "ntpClient", "allowed": ["10.0.0.0/8"]}));
    let change = host("All", "All").compare(&*s).unwrap().remove(0);
    assert_eq!(
        host("All", "10.0.0.0/8").actions(&*undone(&change)),
        [
            format!("{fw} set -r ntpClient -a true"),
            format!("{{ {fw} allowedip remove -r ntpClient -i 10.0.0.0/8 || true; }}"),
        ]
    );
    let change = host("All", "192.0.2.5, 172.16.0.0/12").compare(&*s).unwrap().remove(0);
    assert_eq!(
        host("All", "10.0.0.0/8").actions(&*undone(&change)),
        [
            format!("{fw} allowedip add -r ntpClient -i 192.0.2.5"),
            format!("{fw} allowedip add -r ntpClient -i 172.16.0.0/12"),
            format!("{fw} allowedip remove -r ntpClient -i 10.0.0.0/8"),
        ]
    );
    assert_eq!(host("All", "").compare(&*s).unwrap()[0].undo, None);
    // Every open one, the way in too.
    let s = step(&KIND, json!({"every_enabled": true, "allowed_ips": ["192.0.2.0/24"]}));
    let changes = host("All", "All").compare(&*s).unwrap();
    assert_eq!(changes.len(), 1, "the closed ones stay as they are");
    assert_eq!(
        host("192.0.2.0/24", "All").actions(&*undone(&changes[0])),
        [
            format!("{fw} set -r sshServer -a true"),
            format!("{{ {fw} allowedip remove -r sshServer -i 192.0.2.0/24 || true; }}"),
        ]
    );
    // The firewall as a whole: what differed, and no more.
    let get_text = recorded(include_str!("../../../fixtures/transcripts/5.x/network-firewall-get.txt"));
    let pass = host("192.0.2.0/24", "All").says(&get(), get_text.replace("DROP", "PASS"));
    let change = pass.compare(&*step(&KIND, json!({"enabled": true, "default_action": "drop"}))).unwrap().remove(0);
    assert_eq!(change.undo.as_ref().unwrap().args, json!({"default_action": "pass"}));
    assert_eq!(host("All", "All").actions(&*undone(&change)), ["esxcli network firewall set -d true"]);
    // With the same word about being locked out.
    let s = step(&KIND, json!({"ruleset": "sshServer", "enabled": false, "allow_lockout": true}));
    let change = host("All", "All").compare(&*s).unwrap().remove(0);
    assert_eq!(change.undo.unwrap().args["allow_lockout"], true);
}
