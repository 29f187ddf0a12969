use super::*;
use crate::esxi::recorded;
use crate::steps::testing::{self, *};
use proptest::prelude::*;
use serde_json::json;

/// Port groups as recorded on 6.7, the session on "Management VMkernel".
fn six(groups: Option<String>) -> Host {
    let recorded_groups =
        recorded(include_str!("../../../fixtures/transcripts/6.7/network-vswitch-standard-portgroup-list.txt"));
    Host::recorded_on_6_7().says(&network::portgroup_list(), groups.unwrap_or(recorded_groups))
}

fn policy(values: [bool; 3], overrides: [bool; 3]) -> String {
    let [p, m, f] = values;
    let [a, b, c] = overrides;
    format!(
        "   Allow Promiscuous: {p}\n   Allow MAC Address Change: {m}\n   Allow Forged Transmits: {f}\n   Override vSwitch Allow Promiscuous: {a}\n   Override vSwitch Allow MAC Address Change: {b}\n   Override vSwitch Allow Forged Transmits: {c}\n"
    )
}

#[test]
fn vlan_on_recorded_lists() {
    let s = step(&KIND, json!({"name": "Server Network", "vswitch": "vSwitch1", "vlan": 30}));
    assert_eq!(six(None).actions(&*s), ["esxcli network vswitch standard portgroup set -p 'Server Network' -v 30"]);
    let after = testing::portgroups(&[&["Server Network", "vSwitch1", "3", "30"]]);
    assert!(six(Some(after)).compare(&*s).unwrap().is_empty());
    let late =
        recorded(include_str!("../../../fixtures/transcripts/unknown/network-vswitch-standard-portgroup-list.txt"));
    let trunk = step(&KIND, json!({"name": "VM_VLAN3", "vlan": 4095}));
    assert_eq!(
        six(Some(late.clone())).actions(&*trunk),
        ["esxcli network vswitch standard portgroup set -p VM_VLAN3 -v 4095"]
    );
    assert!(six(Some(late)).compare(&*step(&KIND, json!({"name": "VM_VLAN3", "vlan": 3}))).unwrap().is_empty());
}

#[test]
fn the_sessions_vlan_is_changed_detached() {
    let s = step(&KIND, json!({"name": "Management VMkernel", "vlan": 7}));
    assert_eq!(
        six(None).actions(&*s),
        [
            "detached: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 7",
            "rollback: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 0",
        ]
    );
    let mut nat = six(None);
    nat.facts.session_address = None;
    assert!(nat.actions(&*s)[0].starts_with("detached"));
    let gone = step(&KIND, json!({"name": "Management VMkernel", "state": "absent"}));
    assert!(six(None).refusal(&*gone).contains("vmk1 carries this session (10.130.2.122)"));
}

#[test]
fn made_removed_and_on_another_switch() {
    let s = step(&KIND, json!({"name": "Management", "vswitch": "vSwitch0", "vlan": 5}));
    assert_eq!(
        six(None).actions(&*s),
        [
            "esxcli network vswitch standard portgroup add -p Management -v vSwitch0",
            "esxcli network vswitch standard portgroup set -p Management -v 5",
        ]
    );
    let s = step(&KIND, json!({"name": "Server Network", "state": "absent"}));
    assert_eq!(
        six(None).actions(&*s),
        ["esxcli network vswitch standard portgroup remove -p 'Server Network' -v vSwitch1"]
    );
    assert!(six(None).compare(&*step(&KIND, json!({"name": "x", "state": "absent"}))).unwrap().is_empty());
    let s = step(&KIND, json!({"name": "Server Network", "vswitch": "vSwitch0"}));
    assert!(six(None).refusal(&*s).contains("is on vSwitch1, not on vSwitch0"));
    assert!(six(None).refusal(&*step(&KIND, json!({"name": "new"}))).contains("without `vswitch`"));
}

#[test]
fn security_of_its_own_and_inherited() {
    let own =
        step(&KIND, json!({"name": "Server Network", "security": {"promiscuous": true, "forged_transmits": true}}));
    let get = security_get("Server Network");
    let host = six(None).says(&get, policy([false, true, true], [false; 3]));
    assert_eq!(
        host.actions(&*own),
        ["esxcli network vswitch standard portgroup policy security set -p 'Server Network' -o true -f true"]
    );
    let after = six(None).says(&get, policy([true, true, true], [true, false, true]));
    assert!(after.compare(&*own).unwrap().is_empty());
    let inherit = step(&KIND, json!({"name": "Server Network", "security": "inherit"}));
    assert_eq!(
        after.actions(&*inherit),
        ["esxcli network vswitch standard portgroup policy security set -p 'Server Network' -u"]
    );
    assert!(host.compare(&*inherit).unwrap().is_empty());
    // Some of its own, and the rest inherited: nothing but all can be given back.
    let some = json!({"name": "Server Network", "security": {"forged_transmits": true, "others_inherit": true}});
    let some = step(&KIND, some);
    let set = "esxcli network vswitch standard portgroup policy security set -p 'Server Network'";
    assert_eq!(after.actions(&*some), [format!("{set} -u"), format!("{set} -f true")]);
    assert_eq!(host.actions(&*some), [format!("{set} -f true")]);
    let right = six(None).says(&get, policy([false, true, true], [false, false, true]));
    assert!(right.compare(&*some).unwrap().is_empty());
    // The other spelling of the labels counts; none at all is no answer.
    let other =
        six(None).says(&get, policy([true; 3], [true, false, false]).replace("Override vSwitch", "Override Vswitch"));
    assert_eq!(other.actions(&*inherit), [format!("{set} -u")]);
    let none = policy([true; 3], [true; 3]).lines().take(3).map(|l| format!("{l}\n")).collect::<String>();
    let said = six(None).says(&get, none).compare(&*inherit).unwrap_err().to_string();
    assert!(said.contains("the port group's own"), "{said}");
    let new = step(&KIND, json!({"name": "n", "vswitch": "vSwitch1", "security": {"promiscuous": false}}));
    let host = six(None).fails(&security_get("n"), "Unable to find portgroup n\n");
    assert_eq!(host.actions(&*new)[1], "esxcli network vswitch standard portgroup policy security set -p n -o false");
}

#[test]
fn what_was_before_comes_back() {
    let get = security_get("Server Network");
    let before = six(None).says(&get, policy([true, false, true], [true, false, false]));
    let s = json!({"name": "Server Network", "vlan": 30, "security": {"promiscuous": false, "mac_changes": true}});
    let changes = before.compare(&*step(&KIND, s)).unwrap();
    let undos: Vec<_> = changes.into_iter().map(|c| step(&KIND, c.undo.unwrap().args)).collect();
    let set = "esxcli network vswitch standard portgroup";
    let after = six(Some(testing::portgroups(&[&["Server Network", "vSwitch1", "3", "30"]])))
        .says(&get, policy([false, true, true], [true, true, false]));
    assert_eq!(after.actions(&*undos[0]), [format!("{set} set -p 'Server Network' -v 0")]);
    assert_eq!(
        after.actions(&*undos[1]),
        [
            format!("{set} policy security set -p 'Server Network' -u"),
            format!("{set} policy security set -p 'Server Network' -o true"),
        ]
    );
    assert!(undos.iter().all(|u| before.compare(&**u).unwrap().is_empty()));
    // Made: gone again. Removed: its teaming is known to no step.
    let made = json!({"name": "n", "vswitch": "vSwitch1", "security": {"promiscuous": false}});
    let host = six(None).fails(&security_get("n"), "Unable to find portgroup n\n");
    let absent = json!({"name": "n", "state": "absent"});
    let changes = host.compare(&*step(&KIND, made)).unwrap();
    assert!(changes.len() == 2 && changes.iter().all(|c| c.undo.as_ref().is_some_and(|u| u.args == absent)));
    let gone = step(&KIND, json!({"name": "Server Network", "state": "absent"}));
    assert_eq!(six(None).compare(&*gone).unwrap()[0].undo, None);
}

#[test]
fn wrong_arguments() {
    for (json, word) in [
        (json!({"name": "a", "vlan": 4096}), "4095"),
        (json!({"name": " a"}), "blank"),
        (json!({"name": ""}), "empty"),
        (json!({"name": "a", "security": "inherited"}), "`inherit`"),
        (json!({"name": "a", "security": {"promisc": true}}), "promisc"),
    ] {
        let text = bad(&KIND, json);
        assert!(text.contains(word), "{word}: {text}");
    }
}

proptest! {
    #[test]
    fn any_name_is_one_word_and_found_again(name in "[!-~][ -~]{0,20}[!-~]") {
        let s = step(&KIND, json!({"name": name.clone(), "vswitch": "vSwitch0"}));
        let actions = six(None).actions(&*s);
        let words = shell_words::split(&actions[0]).unwrap();
        let value = words.iter().any(|w| *w == name || *w == format!("--portgroup-name={name}"));
        prop_assert!(value, "{:?}", words);
        let listed = testing::portgroups(&[&["Management Network", "vSwitch0", "1", "0"], &[&name, "vSwitch0", "0", "0"]]);
        prop_assert!(six(Some(listed)).compare(&*s).unwrap().is_empty());
    }
}
