use super::super::Artifacts;
use super::*;
use crate::esxi::{Outputs, Version, recorded};

/// No full `system module list` was recorded: built with its three columns.
fn modules(rows: &[(&str, bool, bool)]) -> String {
    let mut t = "Name                 Is Loaded  Is Enabled\n-------------------  ---------  ----------\n".to_owned();
    for (name, loaded, enabled) in rows {
        t.push_str(&format!("{name:<19}  {loaded:>9}  {enabled:>10}\n"));
    }
    t
}

/// The recorded rows went through grep, which lost the ruler: put back here, columns as in the heading.
fn parameters(file: &str) -> String {
    let text = recorded(file);
    let (head, rows) = text.split_once('\n').unwrap();
    format!("{head}\n---------------------  ------------  -----  -----------\n{rows}")
}

const LRO: &str = include_str!("../../../fixtures/transcripts/6.0/module-parameters-list-grep-lro.txt");
const INTMODE: &str = include_str!("../../../fixtures/transcripts/6.0/module-parameters-list-grep-intmode.txt");

fn run(json: serde_json::Value, version: &str, list_text: &str, parameters: &str) -> Result<Vec<Change>, StepError> {
    let step = (KIND.parse)(json.clone()).unwrap();
    let mut outputs = Outputs::default();
    outputs.insert(&list(), Output::ok(list_text));
    let name = json["name"].as_str().unwrap();
    outputs.insert(&Command::esxcli("system module parameters list").opt("-m", name), Output::ok(parameters));
    let (host, artifacts) = (HostFacts::example(version.parse::<Version>().unwrap()), Artifacts::default());
    for read in step.reads(&host) {
        assert!(outputs.get(&read).is_some(), "{read}");
    }
    step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &artifacts })
}

fn action(c: &Change) -> &str {
    match &c.actions[..] {
        [Action::Run(c)] => c.text(),
        _ => panic!("{c:?}"),
    }
}

#[test]
fn disabling_a_disk_driver_is_fine_on_6_5_and_refused_on_7() {
    for name in ["vmw_ahci", "vmkusb"] {
        let list = modules(&[(name, true, true)]);
        let json = serde_json::json!({"name": name, "enabled": false});
        for version in ["6.5", "6.7"] {
            let c = run(json.clone(), version, &list, "").unwrap();
            assert_eq!(action(&c[0]), format!("esxcli system module set -m {name} -e false"));
            assert!(c[0].effect.reboot);
        }
        for version in ["7.0", "8.0.3", "9.0"] {
            let e = run(json.clone(), version, &list, "").unwrap_err().to_string();
            assert!(e.contains("i_know_this_may_lose_the_boot_disk") && e.contains("helps on older"), "{e}");
            let sure = serde_json::json!({"name": name, "enabled": false, "i_know_this_may_lose_the_boot_disk": true});
            assert_eq!(run(sure, version, &list, "").unwrap().len(), 1);
            // Off already: nothing to refuse.
            assert!(run(json.clone(), version, &modules(&[(name, false, false)]), "").unwrap().is_empty());
        }
    }
    assert!(BOOT_DRIVERS.iter().all(|d| !d.source.is_empty()));
}

#[test]
fn disabled_but_loaded_waits_for_the_reboot() {
    let json = serde_json::json!({"name": "x", "enabled": false});
    let c = run(json, "6.5", &modules(&[("x", true, false)]), "").unwrap();
    assert!(c[0].actions.is_empty() && c[0].effect.reboot);
    let json = serde_json::json!({"name": "x", "enabled": false, "loaded": false});
    let c = run(json, "6.5", &modules(&[("x", true, true)]), "").unwrap();
    assert_eq!((action(&c[0]), action(&c[1])), ("esxcli system module set -m x -e false", "vmkload_mod -u x"));
    assert!(!c[0].effect.reboot);
    let json = serde_json::json!({"name": "x", "enabled": true});
    assert!(run(json, "6.5", &modules(&[("x", false, true)]), "").unwrap().is_empty());
}

#[test]
fn parameters_are_merged_because_set_replaces_them_all() {
    let both = format!("{}{}", parameters(LRO), recorded(INTMODE).split_once('\n').unwrap().1);
    let list = modules(&[("ixgbe", true, true)]);
    let set = |extra: serde_json::Value| {
        let mut json = serde_json::json!({"name": "ixgbe"});
        json.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        run(json, "6.0", &list, &both)
    };
    assert!(set(serde_json::json!({"parameters": {"LRO": 0}})).unwrap().is_empty());
    assert!(set(serde_json::json!({"parameters": "IntMode=0 LRO=0", "replace": true})).unwrap().is_empty());
    let c = set(serde_json::json!({"parameters": {"IntMode": "2,2"}})).unwrap();
    assert_eq!(action(&c[0]), "esxcli system module parameters set -m ixgbe -p 'LRO=0 IntMode=2,2'");
    assert_eq!((c[0].before.as_str(), c[0].effect.reboot), ("LRO=0 IntMode=0", true));
    let c = set(serde_json::json!({"parameters": {"IntMode": true}, "replace": true})).unwrap();
    assert_eq!(action(&c[0]), "esxcli system module parameters set -m ixgbe -p IntMode=1");
    let e = set(serde_json::json!({"parameters": {"IntMod": 1}})).unwrap_err().to_string();
    assert!(e.contains("did you mean IntMode"), "{e}");
}

#[test]
fn a_missing_module_is_an_error_or_fine() {
    let list = modules(&[("vmkusb", true, true)]);
    let e = run(serde_json::json!({"name": "vmkusbb", "enabled": true}), "7.0", &list, "").unwrap_err().to_string();
    assert!(e.contains("did you mean vmkusb") && e.contains("missing_ok"), "{e}");
    let json = serde_json::json!({"name": "nope", "enabled": false, "missing_ok": true});
    assert!(run(json, "7.0", &list, "").unwrap().is_empty());
}

#[test]
fn nonsense_is_refused() {
    for json in [
        serde_json::json!({"name": "a"}),
        serde_json::json!({"name": "a b", "enabled": true}),
        serde_json::json!({"name": "a", "enabled": false, "loaded": true}),
        serde_json::json!({"name": "a", "parameters": "x"}),
        serde_json::json!({"name": "a", "parameters": {"x": "1 y=2"}}),
        serde_json::json!({"name": "a", "enabled": "perhaps"}),
    ] {
        assert!((KIND.parse)(json.clone()).is_err(), "{json}");
    }
}

/// What the step that takes a change back does on a host that lists this.
fn back(change: &Change, version: &str, list: &str, parameters: &str) -> Vec<Change> {
    let undo = change.undo.as_ref().unwrap();
    assert_eq!(undo.kind, KIND.name);
    run(undo.args.clone(), version, list, parameters).unwrap()
}

#[test]
fn every_change_is_taken_back() {
    let on = modules(&[("vmw_ahci", true, true)]);
    let off = modules(&[("vmw_ahci", true, false)]);
    let change = run(serde_json::json!({"name": "vmw_ahci", "enabled": false}), "6.5", &on, "").unwrap().remove(0);
    let undone = back(&change, "6.5", &off, "");
    assert_eq!(action(&undone[0]), "esxcli system module set -m vmw_ahci -e true");
    // Nothing rebooted yet: it is still loaded.
    assert!(!undone[0].effect.reboot);
    assert!(back(&change, "6.5", &modules(&[("vmw_ahci", false, false)]), "")[0].effect.reboot);
    // Where the driver cannot be done without, it was done without.
    let without = modules(&[("vmw_ahci", false, false)]);
    let change = run(serde_json::json!({"name": "vmw_ahci", "enabled": true}), "8.0", &without, "").unwrap().remove(0);
    let undone = back(&change, "8.0", &on, "");
    assert_eq!(action(&undone[0]), "esxcli system module set -m vmw_ahci -e false");

    // Disabled and unloaded: taken back from the end, loading comes first and needs it enabled.
    let json = serde_json::json!({"name": "x", "enabled": false, "loaded": false});
    let changes = run(json, "6.5", &modules(&[("x", true, true)]), "").unwrap();
    let undone = back(&changes[1], "6.5", &modules(&[("x", false, false)]), "");
    assert_eq!(
        undone.iter().map(action).collect::<Vec<_>>(),
        ["esxcli system module set -m x -e true", "esxcli system module load -m x"]
    );
    assert!(!undone[0].effect.reboot);
    assert!(back(&changes[0], "6.5", &modules(&[("x", true, true)]), "").is_empty());
    let load =
        run(serde_json::json!({"name": "x", "loaded": true}), "6.5", &modules(&[("x", false, true)]), "").unwrap();
    assert_eq!(action(&back(&load[0], "6.5", &modules(&[("x", true, true)]), "")[0]), "vmkload_mod -u x");
}

#[test]
fn parameters_go_back_in_their_order_and_to_none_at_all() {
    let rows = |lro: &str, int: &str| {
        let row = |name: &str, value: &str| format!("{name:<21}  {:<12}  {value:<5}  what it is\n", "int");
        let head = "Name                   Type          Value  Description\n---------------------  ------------  -----  -----------\n";
        format!("{head}{}{}", row("LRO", lro), row("IntMode", int))
    };
    let list = modules(&[("ixgbe", true, true)]);
    for (lro, int, text) in [("0", "0", "'LRO=0 IntMode=0'"), ("", "", "''"), ("", "2,2", "IntMode=2,2")] {
        let json = serde_json::json!({"name": "ixgbe", "parameters": {"IntMode": 7, "LRO": 1}});
        let change = run(json, "6.0", &list, &rows(lro, int)).unwrap().remove(0);
        let undone = back(&change, "6.0", &list, &rows("1", "7"));
        assert_eq!(action(&undone[0]), format!("esxcli system module parameters set -m ixgbe -p {text}"));
        assert!(undone[0].effect.reboot && back(&change, "6.0", &list, &rows(lro, int)).is_empty());
    }
}
