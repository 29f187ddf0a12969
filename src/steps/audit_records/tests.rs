//! Tests of the `audit_records` step.

use super::*;
use crate::steps::testing::{Host, bad, step, texts};

const GET: &str = "esxcli system auditrecords get";
const SCRATCH: &str = "vim-cmd hostsvc/advopt/view ScratchConfig.CurrentScratchLocation";
const V70: Version = Version::new(7, 0);
const V80: Version = Version::new(8, 0);

/// In the form of the example in the guide for 7.0; the labels are the properties' names with blanks.
fn said(stored: bool, sent: bool, capacity: u32, directory: &str) -> String {
    format!(
        "   Audit Record Remote Transmission Active: {sent}\n   Audit Record Storage Active: {stored}\n   Audit Record Storage Capacity: {capacity}\n   Audit Record Storage Directory: {directory}\n"
    )
}

fn factory() -> String {
    said(false, false, 4, "/scratch/auditLog")
}

fn changes(version: Version, args: serde_json::Value, get: &str) -> Vec<Change> {
    Host::with(version, &[(GET, get)]).compare(step(&KIND, args).as_ref()).unwrap()
}

/// What takes the changes back on a host in the state after them.
fn undone(version: Version, made: &[Change], after: &str) -> Vec<String> {
    let undo = made.iter().rev().filter_map(|change| change.undo.clone());
    undo.flat_map(|undo| texts(&changes(version, undo.args, after))).collect()
}

#[test]
fn on_8_0_each_control_is_one_command_and_comes_back() {
    let after = said(true, true, 100, "/scratch/auditLog");
    for (args, wanted, back) in [
        (json!({"capacity": 100}), "esxcli system auditrecords local set --size=100", None),
        (
            json!({"local": true}),
            "esxcli system auditrecords local enable",
            Some("esxcli system auditrecords local disable"),
        ),
        (
            json!({"remote": true}),
            "esxcli system auditrecords remote enable",
            Some("esxcli system auditrecords remote disable"),
        ),
    ] {
        let made = changes(V80, args.clone(), &factory());
        assert_eq!(texts(&made), [wanted]);
        assert!(changes(V80, args, &after).is_empty());
        assert_eq!(undone(V80, &made, &after).first().map(String::as_str), back);
    }
    // A larger storage is right, and one of 4 is not although it is on.
    assert!(changes(V80, json!({"capacity": 100}), &said(true, true, 200, "/x")).is_empty());
    assert_eq!(changes(V80, json!({"capacity": 100}), &said(true, true, 4, "/x")).len(), 1);
}

#[test]
fn on_7_0_room_comes_first_and_the_log_service_reads_again_once() {
    let args = json!({"capacity": 100, "local": true, "remote": true});
    let made = changes(V70, args.clone(), &factory());
    assert_eq!(
        texts(&made),
        [
            "esxcli system auditrecords local set --size=100",
            "esxcli system auditrecords local enable",
            "esxcli system auditrecords remote enable",
            "esxcli system syslog reload"
        ]
    );
    // What a host of 7.0 reports after a reboot.
    let rebooted = said(true, true, 4, "/scratch/auditLog");
    assert!(changes(V70, args, &rebooted).is_empty());
    assert_eq!(
        undone(V70, &made, &rebooted),
        [
            "esxcli system auditrecords remote disable",
            "esxcli system syslog reload",
            "esxcli system auditrecords local disable",
            "esxcli system syslog reload"
        ]
    );
    // The label of another edition.
    let other = rebooted.replace("Audit Record Remote Transmission Active", "Audit Remote Host Enabled");
    assert!(changes(V70, json!({"remote": true}), &other).is_empty());
}

#[test]
fn a_storage_that_is_on_is_switched_off_to_be_moved() {
    let to = "/vmfs/volumes/ds/audit";
    let args = json!({"directory": to, "local": true});
    let on = said(true, false, 100, "/scratch/auditLog");
    let made = changes(V80, args.clone(), &on);
    assert_eq!(
        texts(&made),
        [
            "esxcli system auditrecords local disable",
            "esxcli system auditrecords local set --directory=/vmfs/volumes/ds/audit",
            "esxcli system auditrecords local enable"
        ]
    );
    let after = said(true, false, 100, to);
    assert!(changes(V80, args.clone(), &after).is_empty());
    assert_eq!(undone(V80, &made, &after)[1], "esxcli system auditrecords local set --directory=/scratch/auditLog");
    // Off: it moves, then it is switched on; to be switched off: that comes first.
    assert_eq!(
        texts(&changes(V80, args, &factory())),
        [
            "esxcli system auditrecords local set --directory=/vmfs/volumes/ds/audit",
            "esxcli system auditrecords local enable"
        ]
    );
    assert_eq!(
        texts(&changes(V80, json!({"directory": to, "local": false}), &on)),
        [
            "esxcli system auditrecords local disable",
            "esxcli system auditrecords local set --directory=/vmfs/volumes/ds/audit"
        ]
    );
}

#[test]
fn a_directory_in_memory_is_a_finding() {
    let args = json!({"persistent": true, "directory": ""});
    let want = step(&KIND, args.clone());
    let value = |at: &str| {
        format!(
            "(vim.option.OptionValue) [\n   (vim.option.OptionValue) {{\n      key = \"ScratchConfig.CurrentScratchLocation\", \n      value = \"{at}\"\n   }}\n]\n"
        )
    };
    let host = |at: &str| Host::with(V80, &[(GET, &factory()), (SCRATCH, &value(at))]);
    let disk = host("/vmfs/volumes/5f0/.locker");
    let seen = Seen { host: &disk.facts, outputs: &disk.outputs, artifacts: &Default::default() };
    assert_eq!(want.more_reads(&seen), [scratch()]);
    assert!(disk.compare(want.as_ref()).unwrap().is_empty());
    let found = host("/tmp/scratch").compare(want.as_ref()).unwrap();
    assert!(found[0].by_hand.is_some() && found[0].actions.is_empty());
    // Elsewhere the path itself tells.
    assert!(changes(V80, args.clone(), &said(true, true, 100, "/vmfs/volumes/ds/audit")).is_empty());
    assert_eq!(changes(V80, args, &said(true, true, 100, "/var/log/audit")).len(), 1);
    let given = json!({"persistent": true, "directory": "/vmfs/volumes/ds/audit"});
    assert_eq!(texts(&changes(V80, given, &factory())).len(), 1);
}

#[test]
fn what_the_site_does_not_say_and_old_releases_are_no_pass() {
    let open = step(&KIND, json!({"directory": null}));
    let said = Host::with(V80, &[(GET, &factory())]).compare(open.as_ref());
    assert!(matches!(said, Err(StepError::NotJudged(why)) if why.contains("/scratch/auditLog")));
    let unknown = "Error: Unknown command or namespace system auditrecords get\n";
    let old = Host::with(Version::new(6, 7), &[]).fails(&get(), unknown);
    let local = step(&KIND, json!({"local": true}));
    assert!(matches!(old.compare(local.as_ref()), Err(StepError::NotApplicable(why)) if why.contains("7.0")));
    let odd = Host::with(V80, &[(GET, "   Audit Record Storage Active: maybe\n")]);
    assert!(matches!(odd.compare(local.as_ref()), Err(StepError::Unreadable { .. })));
    assert!(bad(&KIND, json!({})).contains("nothing"));
    assert!(bad(&KIND, json!({"directory": "logs"})).contains("absolute"));
}
