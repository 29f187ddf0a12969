use std::io::Write;
use std::process::Stdio;

use super::super::Artifacts;
use super::*;
use crate::esxi::{Outputs, recorded};

const LIST: &str = include_str!("../../../fixtures/transcripts/6.7/system-account-list.txt");
const AFTER: &str = include_str!("../../../fixtures/transcripts/6.7/system-account-list-after-add.txt");
const PERMISSIONS: &str = include_str!("../../../fixtures/transcripts/6.7/system-permission-list.txt");
const HASH: &str = "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/";

/// The 8.0 form has one column more; it was not recorded.
fn list_8() -> String {
    let line = |a: &str, b: &str, c: &str| format!("{a:<8}  {b:<14}  {c:>12}\n");
    [
        line("User ID", "Description", "Shell Access"),
        line("--------", "--------------", "------------"),
        line("root", "Administrator", "true"),
        line("lawrence", "administrator", "true"),
    ]
    .concat()
}

fn run(json: serde_json::Value, version: &str, list: &str, hash_line: &str) -> Result<Vec<Change>, StepError> {
    let step = (KIND.parse)(json).unwrap();
    let host = HostFacts::example(version.parse().unwrap());
    let mut outputs = Outputs::default();
    outputs.insert(&accounts(), Output::ok(list));
    outputs.insert(&permissions(), Output::ok(recorded(PERMISSIONS)));
    for read in step.reads(&host) {
        if read.is_secret() {
            outputs.insert(&read, Output::ok(hash_line));
        }
    }
    let artifacts = Artifacts::default();
    step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &artifacts })
}

fn texts(changes: &[Change]) -> Vec<&str> {
    let actions = changes.iter().flat_map(|c| &c.actions);
    actions.map(|a| if let Action::Run(c) = a { c.text() } else { panic!() }).collect()
}

#[test]
fn added_described_and_given_a_role() {
    let json = serde_json::json!({"name": "lawrence", "description": "administrator", "role": "Admin"});
    let c = run(json.clone(), "6.7", &recorded(LIST), "").unwrap();
    assert_eq!(texts(&c), ["esxcli system account add -i lawrence --description=administrator"]);
    assert!(run(json, "6.7", &recorded(AFTER), "").unwrap().is_empty());
    let json = serde_json::json!({"name": "lawrence", "description": "-x y", "role": "ReadOnly"});
    let c = run(json, "6.7", &recorded(AFTER), "").unwrap();
    assert_eq!(
        texts(&c),
        [
            "esxcli system account set -i lawrence --description='-x y'",
            "esxcli system permission set -i lawrence -r ReadOnly"
        ]
    );
    let c = run(serde_json::json!({"name": "lawrence", "role": "none"}), "8.0", &list_8(), "").unwrap();
    assert_eq!(texts(&c), ["esxcli system permission unset -i lawrence"]);
}

#[test]
fn removed_with_its_permission() {
    let json = serde_json::json!({"name": "lawrence", "state": "absent"});
    let c = run(json, "6.7", &recorded(AFTER), "").unwrap();
    assert_eq!(texts(&c), ["esxcli system permission unset -i lawrence", "esxcli system account remove -i lawrence"]);
    let json = serde_json::json!({"name": "nobody", "state": "absent"});
    assert!(run(json, "6.7", &recorded(AFTER), "").unwrap().is_empty());
}

#[test]
fn shell_access_from_8_0_on() {
    let json = serde_json::json!({"name": "lawrence", "shell_access": false});
    let c = run(json.clone(), "8.0.3", &list_8(), "").unwrap();
    assert_eq!(texts(&c), ["esxcli system account set -i lawrence -s false"]);
    // Alone it has no meaning on older releases; beside others it is a wish that cannot be met.
    assert!(matches!(run(json.clone(), "7.0", &recorded(AFTER), ""), Err(StepError::NotApplicable(_))));
    let more = serde_json::json!({"name": "lawrence", "role": "Admin", "shell_access": false});
    assert!(matches!(run(more, "7.0", &recorded(AFTER), ""), Err(StepError::Refused(why)) if why.contains("8.0")));
    // ESXi's own accounts are not made.
    let own = serde_json::json!({"name": "vpxuser", "shell_access": false});
    assert!(matches!(run(own, "8.0.3", &list_8(), ""), Err(StepError::NotApplicable(_))));
    let undo = c[0].undo.clone().unwrap();
    let off = list_8().replace("administrator           true", "administrator          false");
    assert!(run(json, "8.0.3", &off, "").unwrap().is_empty());
    assert_eq!(texts(&run(undo.args, "8.0.3", &off, "").unwrap()), ["esxcli system account set -i lawrence -s true"]);
}

/// What taking back does on the host that the second list shows.
fn taken_back(changes: &[Change], list: &str) -> Vec<String> {
    let undo = |c: &Change| {
        let undo = c.undo.clone().unwrap_or_else(|| panic!("{}", c.summary));
        assert_eq!(undo.kind, "account");
        texts(&run(undo.args, "6.7", list, "").unwrap()).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    changes.iter().rev().flat_map(undo).collect()
}

#[test]
fn taken_back_exactly_or_not_at_all() {
    let json = serde_json::json!({"name": "lawrence", "description": "administrator", "role": "ReadOnly", "password_hash": HASH});
    let added = run(json.clone(), "6.7", &recorded(LIST), &format!("{}  -\n", "0".repeat(64))).unwrap();
    assert_eq!(added.len(), 3);
    let gone = ["esxcli system permission unset -i lawrence", "esxcli system account remove -i lawrence"];
    assert_eq!(taken_back(&added[..1], &recorded(AFTER)), gone);
    assert!(added.iter().all(|c| c.undo == added[0].undo));
    // Of an account that was there each value comes back, but for the password.
    let json = serde_json::json!({"name": "lawrence", "description": "new", "role": "none", "password_hash": HASH});
    let changed = run(json, "6.7", &recorded(AFTER), &format!("{}  -\n", "0".repeat(64))).unwrap();
    let undo: Vec<_> = changed.iter().map(|c| c.undo.as_ref().map(|u| u.args.clone())).collect();
    assert_eq!(
        undo,
        [
            Some(serde_json::json!({"name": "lawrence", "description": "administrator"})),
            None,
            Some(serde_json::json!({"name": "lawrence", "role": "Admin"})),
        ]
    );
    let after = recorded(AFTER).replace("lawrence  administrator", "lawrence  new          ");
    assert_eq!(
        taken_back(&changed[..1], &after),
        ["esxcli system account set -i lawrence --description=administrator"]
    );
    let removed = run(serde_json::json!({"name": "lawrence", "state": "absent"}), "6.7", &recorded(AFTER), "").unwrap();
    assert!(removed[0].undo.is_none());
}

#[test]
fn a_hash_is_compared_and_never_shown() {
    let json = serde_json::json!({"name": "root", "password_hash": HASH});
    let same = "a9a4f08c4b7c7c6b4fe1d8c9c05e0bff9e3a6c4f6f6d1a39b1e7a1d1f9a5b0c2  -\n";
    let c = run(json.clone(), "6.7", &recorded(LIST), same).unwrap();
    let Action::Run(command) = &c[0].actions[0] else { panic!() };
    assert!(command.is_secret() && !command.text().contains("salt"));
    assert_eq!(command.stdin_bytes(), Some(format!("{HASH}\n").as_bytes()));
    let step = (KIND.parse)(json.clone()).unwrap();
    assert!(!format!("{c:?} {step:?} {}", c[0].after).contains("saltsalt"));
    let digest: String = Sha256::digest(format!("{HASH}\n")).iter().map(|b| format!("{b:02x}")).collect();
    assert!(run(json, "6.7", &recorded(LIST), &format!("{digest}  -\n")).unwrap().is_empty());
    let failed = Output { code: 1, stderr: format!("awk: {HASH}"), ..Output::default() };
    let e = step.judge(command, &failed).unwrap_err().to_string();
    assert!(e.contains("unchanged") && !e.contains("saltsalt"), "{e}");
}

#[test]
fn bad_values_are_refused_without_repeating_them() {
    for (json, part) in [
        (serde_json::json!({"name": "root", "state": "absent"}), "belongs to ESXi"),
        (serde_json::json!({"name": "a;b"}), "user's name"),
        (serde_json::json!({"name": "a", "password_hash": "VMware1!"}), "openssl passwd -6"),
        (serde_json::json!({"name": "a", "password": "x"}), "unknown field"),
        (serde_json::json!({"name": "root", "role": "NoAccess"}), "nobody could log in"),
        (serde_json::json!({"name": "root", "shell_access": false}), "nobody could give it back"),
    ] {
        let e = (KIND.parse)(json).unwrap_err().to_string();
        assert!(e.contains(part) && !e.contains("VMware1!"), "{e}");
    }
}

/// The two scripts, tried with a real shell on a copy.
#[test]
fn the_scripts_really_read_and_write() {
    let dir = tempfile::tempdir().unwrap();
    let shadow = dir.path().join("shadow");
    let before = "root:$6$old$x:13358:0:99999:7:::\nrooty:*:13358:0:99999:7:::\ndcui:*:13358:0:99999:7:::\n";
    std::fs::write(&shadow, before).unwrap();
    let sh = |command: &Command| {
        let text = command.text().replace("/etc/shadow", shadow.to_str().unwrap());
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", &text])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(command.stdin_bytes().unwrap_or_default());
        drop(stdin);
        let out = child.wait_with_output().unwrap();
        (out.status.success(), String::from_utf8(out.stdout).unwrap())
    };
    let make = |name: &str| {
        Account(Spec { name: name.into(), ..serde_json::from_value(serde_json::json!({"name": "x"})).unwrap() })
    };
    let account = make("root");
    assert!(sh(&account.set_hash(&Hash(HASH.into()))).0);
    let after = std::fs::read_to_string(&shadow).unwrap();
    assert_eq!(after, before.replace("$6$old$x", HASH));
    let digest: String = Sha256::digest(format!("{HASH}\n")).iter().map(|b| format!("{b:02x}")).collect();
    assert!(sh(&account.hash_command()).1.starts_with(&digest));
    // A user who is not in it, or an empty hash: nothing is changed, nothing is left behind.
    assert!(!sh(&make("nobody").set_hash(&Hash(HASH.into()))).0);
    assert!(!sh(&account.set_hash(&Hash(String::new()))).0);
    assert_eq!(std::fs::read_to_string(&shadow).unwrap(), after);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
