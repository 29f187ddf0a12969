use super::*;
use crate::esxi::{Version, recorded};
use crate::steps::step::{Artifacts, Undo};
use crate::steps::testing::{self, *};
use serde_json::{Value, json};

fn policy(values: [bool; 3], overrides: Option<[bool; 3]>) -> String {
    let [p, m, f] = values;
    let mut text =
        format!("   Allow Promiscuous: {p}\n   Allow MAC Address Change: {m}\n   Allow Forged Transmits: {f}\n");
    if let Some([p, m, f]) = overrides {
        text += &format!(
            "   Override Vswitch Allow Promiscuous: {p}\n   Override Vswitch Allow MAC Address Change: {m}\n   Override Vswitch Allow Forged Transmits: {f}\n"
        );
    }
    text
}

const OPEN: [bool; 3] = [false, true, true];
const SHUT: [bool; 3] = [false; 3];
const INHERITS: Option<[bool; 3]> = Some([false; 3]);

/// The switches and port groups recorded on 6.7: vSwitch0 with "Management VMkernel", vSwitch1 with "Server Network".
fn six(
    zero: [bool; 3],
    one: [bool; 3],
    management: (&[bool; 3], Option<[bool; 3]>),
    server: (&[bool; 3], Option<[bool; 3]>),
) -> Host {
    Host::recorded_on_6_7()
        .says(
            &network::vswitch_list(),
            recorded(include_str!("../../../fixtures/transcripts/6.7/network-vswitch-standard-list.txt")),
        )
        .says(
            &network::portgroup_list(),
            recorded(include_str!("../../../fixtures/transcripts/6.7/network-vswitch-standard-portgroup-list.txt")),
        )
        .says(&vswitch::security_get("vSwitch0"), policy(zero, None))
        .says(&vswitch::security_get("vSwitch1"), policy(one, None))
        .says(&portgroup::security_get("Management VMkernel"), policy(*management.0, management.1))
        .says(&portgroup::security_get("Server Network"), policy(*server.0, server.1))
}

fn all(json: Value) -> Box<dyn Step> {
    step(&KIND, json)
}

fn reject_all() -> Box<dyn Step> {
    all(json!({"promiscuous": false, "mac_changes": false, "forged_transmits": false}))
}

const SET_PG: &str = "esxcli network vswitch standard portgroup policy security set -p";
const SET_VS: &str = "esxcli network vswitch standard policy security set -v";

#[test]
fn what_is_read_is_what_the_lists_name() {
    let host = six(OPEN, OPEN, (&OPEN, INHERITS), (&OPEN, INHERITS));
    let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &Artifacts::default() };
    let more: Vec<String> = reject_all().more_reads(&seen).iter().map(|c| c.text().to_owned()).collect();
    assert_eq!(
        more,
        [
            "esxcli network vswitch standard policy security get -v vSwitch0",
            "esxcli network vswitch standard policy security get -v vSwitch1",
            "esxcli network vswitch standard portgroup policy security get -p 'Management VMkernel'",
            "esxcli network vswitch standard portgroup policy security get -p 'Server Network'",
        ]
    );
    // Nothing is asked for while the lists are not there.
    let empty = Host::new(Version::new(8, 0), "192.0.2.11");
    let seen = Seen { host: &empty.facts, outputs: &empty.outputs, artifacts: &Artifacts::default() };
    assert!(reject_all().more_reads(&seen).is_empty());
}

#[test]
fn a_port_group_that_inherits_needs_no_command_of_its_own() {
    let s = reject_all();
    let host = six(OPEN, SHUT, (&OPEN, INHERITS), (&SHUT, INHERITS));
    let changes = host.compare(&*s).unwrap();
    assert_eq!(texts(&changes), [format!("{SET_VS} vSwitch0 -m false -f false")]);
    assert_eq!(changes[0].summary, "security policy of vSwitch vSwitch0, inherited by Management VMkernel");
    assert_eq!(changes[0].before, "MAC address changes true, forged transmits true");
    let after = six(SHUT, SHUT, (&SHUT, INHERITS), (&SHUT, INHERITS));
    assert!(after.compare(&*s).unwrap().is_empty());
    // Its own right values are right on a vSwitch that is not asked about.
    let only = all(json!({"forged_transmits": false, "every": ["portgroups"]}));
    assert!(six(OPEN, OPEN, (&SHUT, Some([true; 3])), (&SHUT, Some([true; 3]))).compare(&*only).unwrap().is_empty());
}

#[test]
fn an_own_value_is_given_back_when_nothing_else_changes_by_it() {
    let s = reject_all();
    let server = [true, true, true];
    let host = six(SHUT, OPEN, (&SHUT, INHERITS), (&server, Some([true, false, false])));
    assert_eq!(
        host.actions(&*s),
        [format!("{SET_VS} vSwitch1 -m false -f false"), format!("{SET_PG} 'Server Network' -u")]
    );
    // One control of three: another own value must not be lost, whichever way.
    let forged = all(json!({"forged_transmits": false}));
    let host = six(SHUT, OPEN, (&SHUT, INHERITS), (&[true, false, true], Some([true, true, true])));
    assert_eq!(
        host.actions(&*forged),
        [format!("{SET_VS} vSwitch1 -f false"), format!("{SET_PG} 'Server Network' -f false")]
    );
    let host = six(SHUT, SHUT, (&SHUT, INHERITS), (&[false, false, true], Some([true, true, true])));
    assert_eq!(host.actions(&*forged), [format!("{SET_PG} 'Server Network' -u")]);
    // A vSwitch that nobody makes right cannot be inherited from.
    let only = all(json!({"forged_transmits": false, "every": ["portgroups"]}));
    let host = six(SHUT, OPEN, (&SHUT, INHERITS), (&OPEN, INHERITS));
    assert_eq!(host.actions(&*only), [format!("{SET_PG} 'Server Network' -f false")]);
}

#[test]
fn a_text_that_does_not_say_what_is_its_own_still_fails() {
    let s = reject_all();
    let host = six(SHUT, SHUT, (&SHUT, None), (&OPEN, None));
    let changes = host.compare(&*s).unwrap();
    assert_eq!(texts(&changes), [format!("{SET_PG} 'Server Network' -u")]);
    assert_eq!(changes[0].undo, None);
}

#[test]
fn every_kind_of_object_alone_and_wrong_arguments() {
    let host = six(OPEN, OPEN, (&OPEN, Some([false, true, true])), (&OPEN, INHERITS));
    let s = all(json!({"mac_changes": false, "every": ["vswitches"]}));
    assert_eq!(s.reads(&host.facts).len(), 1);
    assert_eq!(host.actions(&*s), [format!("{SET_VS} vSwitch0 -m false"), format!("{SET_VS} vSwitch1 -m false")]);
    for (json, word) in [
        (json!({}), "promiscuous"),
        (json!({"promiscuous": false, "every": []}), "every"),
        (json!({"promiscuous": false, "every": ["switches"]}), "portgroups"),
        (json!({"promiscous": false}), "promiscous"),
    ] {
        assert!(bad(&KIND, json).contains(word), "{word}");
    }
}

#[test]
fn no_standard_switch_is_nothing_to_judge() {
    let host = Host::new(Version::new(8, 0), "192.0.2.11")
        .says(&network::vswitch_list(), "")
        .says(&network::portgroup_list(), "");
    assert!(matches!(host.compare(&*reject_all()), Err(StepError::NotApplicable(_))));
    let host = host.fails(&network::vswitch_list(), "Error: Unknown command or namespace network vswitch\n\n");
    assert!(matches!(host.compare(&*reject_all()), Err(StepError::NotApplicable(_))));
    let host = six(OPEN, OPEN, (&OPEN, INHERITS), (&OPEN, INHERITS))
        .fails(&vswitch::security_get("vSwitch1"), "Unable to find vSwitch vSwitch1: Not found\n");
    assert!(matches!(host.compare(&*reject_all()), Err(StepError::Command { .. })));
}

fn undone(undo: Option<Undo>) -> Box<dyn Step> {
    let undo = undo.unwrap();
    step(crate::steps::kind(&undo.kind).unwrap(), undo.args)
}

#[test]
fn what_was_before_comes_back() {
    let server = [true, true, true];
    let own = Some([true, false, true]);
    let before = six(SHUT, OPEN, (&SHUT, INHERITS), (&server, own));
    let changes = before.compare(&*reject_all()).unwrap();
    let after = six(SHUT, SHUT, (&SHUT, INHERITS), (&SHUT, INHERITS));
    let undos: Vec<Box<dyn Step>> = changes.into_iter().map(|c| undone(c.undo)).collect();
    assert_eq!(after.actions(&*undos[0]), [format!("{SET_VS} vSwitch1 -m true -f true")]);
    assert_eq!(after.actions(&*undos[1]), [format!("{SET_PG} 'Server Network' -o true -f true")]);
    assert!(undos.iter().all(|u| before.compare(&**u).unwrap().is_empty()), "nothing left to undo");
    // A value of its own that another step gave since then goes.
    let more = six(SHUT, OPEN, (&SHUT, INHERITS), (&server, Some([true, true, true])));
    assert_eq!(
        more.actions(&*undos[1]),
        [format!("{SET_PG} 'Server Network' -u"), format!("{SET_PG} 'Server Network' -o true -f true")]
    );
    // Set on the port group itself: it inherited before.
    let only = all(json!({"forged_transmits": false, "every": ["portgroups"]}));
    let change = six(SHUT, OPEN, (&SHUT, INHERITS), (&OPEN, INHERITS)).compare(&*only).unwrap().remove(0);
    let after = six(SHUT, OPEN, (&SHUT, INHERITS), (&[false, true, false], Some([false, false, true])));
    assert_eq!(after.actions(&*undone(change.undo)), [format!("{SET_PG} 'Server Network' -u")]);
}

#[test]
fn names_with_blanks_and_quotes() {
    let name = "VM's lab  net";
    let host = Host::new(Version::new(8, 0), "192.0.2.11")
        .says(&network::vswitch_list(), testing::vswitch("my switch", 1500, "listen", "vmnic0", name))
        .says(&network::portgroup_list(), testing::portgroups(&[&[name, "my switch", "0", "0"]]))
        .says(&vswitch::security_get("my switch"), policy(SHUT, None))
        .says(&portgroup::security_get(name), policy([true, false, false], Some([true, false, false])));
    assert_eq!(host.actions(&*reject_all()), [format!("{SET_PG} 'VM'\\''s lab  net' -u")]);
}
