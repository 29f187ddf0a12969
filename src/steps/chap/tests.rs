use super::super::testing::{Host, bad, step, texts, undone};
use super::*;
use crate::esxi::{Version, recorded};

const UNI: &str = "esxcli iscsi adapter auth chap get --adapter=vmhba37 --direction=uni";
const MUTUAL: &str = "esxcli iscsi adapter auth chap get --adapter=vmhba37 --direction=mutual";

/// Built in the form of other records of esxcli; no output was recorded.
fn said(direction: &str, level: &str) -> String {
    format!("   Direction: {direction}\n   Name: \n   Level: {level}\n")
}

fn host(uni: &str, mutual: &str) -> Host {
    let list = recorded(include_str!("../../../fixtures/transcripts/5.x/iscsi-adapter-list.txt"));
    let (uni, mutual) = (said("uni", uni), said("mutual", mutual));
    Host::with(Version::new(8, 0), &[(adapters().text(), &list), (UNI, &uni), (MUTUAL, &mutual)])
}

fn judged() -> Box<dyn Step> {
    step(&KIND, json!({"level": "required", "mutual_level": "required"}))
}

fn made() -> Box<dyn Step> {
    step(
        &KIND,
        json!({"level": "required", "name": "esx1", "secret": "it's one", "mutual_level": "required",
               "mutual_name": "array", "mutual_secret": "two"}),
    )
}

#[test]
fn judged_for_every_adapter_and_both_directions() {
    let host_ok = host("required", "required");
    let artifacts = super::super::Artifacts::default();
    let seen = Seen { host: &host_ok.facts, outputs: &host_ok.outputs, artifacts: &artifacts };
    assert_eq!(judged().more_reads(&seen).iter().map(Command::text).collect::<Vec<_>>(), [UNI, MUTUAL]);
    assert!(host_ok.compare(judged().as_ref()).unwrap().is_empty());
    let found = host("required", "prohibited").compare(judged().as_ref()).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].by_hand.as_deref().unwrap().contains("mutual_secret") && found[0].actions.is_empty());
    assert_eq!(host("preferred", "prohibited").compare(judged().as_ref()).unwrap().len(), 2);
    let none = Host::with(Version::new(8, 0), &[(adapters().text(), "")]);
    assert!(matches!(none.compare(judged().as_ref()), Err(StepError::NotApplicable(_))));
    let odd = host("required", "");
    assert!(odd.compare(judged().as_ref()).is_err());
}

#[test]
fn set_with_secrets_that_nobody_sees() {
    let changes = host("prohibited", "prohibited").compare(made().as_ref()).unwrap();
    assert_eq!(
        texts(&changes),
        [
            "IFS= read -r s && esxcli iscsi adapter auth chap set --adapter=vmhba37 --direction=uni --authname=esx1 --level=required --secret=\"$s\"",
            "IFS= read -r s && esxcli iscsi adapter auth chap set --adapter=vmhba37 --direction=mutual --authname=array --level=required --secret=\"$s\"",
        ]
    );
    let Action::Run(first) = &changes[0].actions[0] else { panic!() };
    assert_eq!(first.stdin_bytes(), Some(&b"it's one\n"[..]));
    let shown = format!("{changes:?} {:?} {}", made(), serde_json::to_string(&changes[0].undo).unwrap());
    assert!(!shown.contains("it's one") && !shown.contains("two"), "{shown}");
    assert_eq!(made().secrets().len(), 2);
    assert_eq!(
        undone(&host("required", "required"), &changes),
        [
            "esxcli iscsi adapter auth chap set --adapter=vmhba37 --direction=mutual --level=prohibited",
            "esxcli iscsi adapter auth chap set --adapter=vmhba37 --direction=uni --level=prohibited",
        ]
    );
    // What had a secret before does not come back.
    assert!(host("preferred", "prohibited").compare(made().as_ref()).unwrap()[0].undo.is_none());
}

#[test]
fn arguments_that_cannot_be() {
    assert!(bad(&KIND, json!({})).contains("level"));
    assert!(bad(&KIND, json!({"level": "required", "name": "x"})).contains("neither"));
    let same = json!({"level": "required", "name": "x", "secret": "s", "mutual_name": "y", "mutual_secret": "s"});
    assert!(bad(&KIND, same).contains("two"));
    // Variables that were not given.
    assert!((KIND.parse)(json!({"level": "required", "name": "", "secret": null})).is_ok());
}
