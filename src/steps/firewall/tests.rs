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
    assert_eq!(host("All", "10.0.0.1").actions(&*all), ["esxcli network firewall ruleset set -r ntpClient -a true"]);
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
    ] {
        let text = bad(&KIND, json);
        assert!(text.contains(word), "{word}: {text}");
    }
}
