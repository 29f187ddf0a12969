//! Tests of the `syslog` step.

use serde_json::json;

use super::*;
use crate::esxi::{Version, recorded};
use crate::steps::testing::{Host, texts};

fn step(json: serde_json::Value) -> Syslog {
    serde_json::from_value(json).unwrap()
}

fn compare(step: &Syslog, outputs: &[(&str, &str)]) -> Result<Vec<Change>, StepError> {
    Host::with(Version::new(6, 5), outputs).compare(step)
}

const GET: &str = "esxcli system syslog config get";
const VOLUMES: &str = "esxcli storage filesystem list";

#[test]
fn hosts_recorded_on_6_5_are_compared_as_a_set() {
    let two = recorded(include_str!("../../../fixtures/transcripts/6.5/system-syslog-config-get-two-hosts.txt"));
    let one = recorded(include_str!("../../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
    let both = step(json!({"loghost": ["udp://192.168.1.106", "tcp://10.0.0.6:5004"]}));
    assert!(compare(&both, &[(GET, &two)]).unwrap().is_empty());
    let changes = compare(&both, &[(GET, &one)]).unwrap();
    assert_eq!(
        texts(&changes),
        [
            "esxcli system syslog config set --loghost=udp://192.168.1.106,tcp://10.0.0.6:5004",
            "esxcli system syslog reload"
        ]
    );
    assert_eq!(changes[0].before, "loghost udp://192.168.1.106:514");
    let none = step(json!({"loghost": []}));
    assert_eq!(texts(&compare(&none, &[(GET, &one)]).unwrap())[0], "esxcli system syslog config set --loghost=''");
    assert!(compare(&none, &[(GET, "   Remote Host: <none>\n")]).unwrap().is_empty());
}

#[test]
fn several_settings_are_one_call_and_one_reload() {
    let one = recorded(include_str!("../../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
    let many = step(json!({"check_ssl_certs": true, "rotate": 8, "size": 2048, "unique": false}));
    let changes = compare(&many, &[(GET, &one)]).unwrap();
    assert_eq!(
        texts(&changes),
        ["esxcli system syslog config set --check-ssl-certs=true --default-size=2048", "esxcli system syslog reload"]
    );
    // The label of newer releases, and the indent that the recorded copy lost.
    let newer = "   Check SSL Certs: true\n   Local Logging Default Rotation Size: 2048\n   Local Logging Default Rotations: 8\n   Log To Unique Subdirectory: false\n";
    assert!(compare(&many, &[(GET, newer)]).unwrap().is_empty());
}

#[test]
fn a_setting_that_the_release_lacks_is_an_error_that_lists_what_it_has() {
    let one = recorded(include_str!("../../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
    let said = compare(&step(json!({"level": "info"})), &[(GET, &one)]).unwrap_err().to_string();
    assert!(said.contains("6.5.0") && said.contains("Log Level") && said.contains("Enforce SSLCertificates"), "{said}");
}

#[test]
fn a_directory_is_the_same_by_name_and_by_uuid() {
    let volumes = recorded(include_str!("../../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"));
    let now = "   Local Log Output: /vmfs/volumes/5bc7459f-967eeb48-b3f7-20677cd9a16c/logs\n";
    let dir = |d: &str| step(json!({ "logdir": d }));
    let outputs = [(GET, now), (VOLUMES, volumes.as_str())];
    assert_eq!(dir("[VMs] logs").reads(&HostFacts::example(Version::new(6, 7))).len(), 2);
    assert!(compare(&dir("[VMs] logs"), &outputs).unwrap().is_empty());
    assert!(compare(&dir("/vmfs/volumes/VMs/logs/"), &outputs).unwrap().is_empty());
    assert_eq!(
        texts(&compare(&dir("[VMs] /other"), &outputs).unwrap())[0],
        "esxcli system syslog config set --logdir='[VMs] /other'"
    );
    let scratch = [(GET, "   Local Log Output: /scratch/log\n"), outputs[1]];
    assert!(compare(&dir("[] /scratch/log"), &scratch).unwrap().is_empty());
}

#[test]
fn hosts_without_a_protocol_and_nonsense_are_refused_with_the_right_spelling() {
    let error = |j: serde_json::Value| serde_json::from_value::<Syslog>(j).unwrap_err().to_string();
    assert!(error(json!({"loghost": "10.0.0.1"})).contains("udp://10.0.0.1:514"));
    assert!(error(json!({"loghost": "http://10.0.0.1"})).contains("udp, tcp and ssl"));
    assert!(error(json!({"loghost": "udp://x:port"})).contains("udp://logs"));
    assert!(serde_json::from_value::<Syslog>(json!({"loghost": "udp://[2001:db8::1]:514"})).is_ok());
    assert!(error(json!({"logdir": "logs"})).contains("[datastore1]"));
    assert!(error(json!({})).contains("nothing"));
}

const RECORDED: &str = include_str!("../../../fixtures/transcripts/6.5/system-syslog-config-get.txt");
const FILTER: &str = "esxcli system syslog config logfilter get";
const V80: Version = Version::new(8, 0);

/// A host of 8.0 in the labels of the hardening guides, as installed.
fn installed() -> String {
    "   Check SSL Certs: true\n   Default Network Retry Timeout: 180\n   Local Log Output: /scratch/log\n   Local Log Output Is Configured: false\n   Local Log Output Is Persistent: true\n   Local Logging Default Rotation Size: 1024\n   Local Logging Default Rotations: 8\n   Log Level: error\n   Log To Unique Subdirectory: false\n   Remote Host: <none>\n   Strict X509Compliance: false\n".to_owned()
}

fn on_8(args: serde_json::Value, get: &str) -> Result<Vec<Change>, StepError> {
    let volumes = recorded(include_str!("../../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"));
    let off = "   Log Filtering Enabled: false\n";
    Host::with(V80, &[(GET, get), (VOLUMES, &volumes), (FILTER, off)]).compare(&step(args))
}

#[test]
fn every_setting_comes_back_as_it_was_also_what_was_not_set() {
    for (args, after, wanted, back) in [
        (
            json!({"level": "info"}),
            ("Log Level: error", "Log Level: info"),
            "esxcli system syslog config set --log-level=info",
            "esxcli system syslog config set --log-level=error",
        ),
        (
            json!({"strict_x509": true}),
            ("Strict X509Compliance: false", "Strict X509Compliance: true"),
            "esxcli system syslog config set --x509-strict=true",
            "esxcli system syslog config set --x509-strict=false",
        ),
        (
            json!({"loghost": ["ssl://b:1514", "ssl://a:1514"]}),
            ("Remote Host: <none>", "Remote Host: ssl://a:1514,ssl://b:1514"),
            "esxcli system syslog config set --loghost=ssl://b:1514,ssl://a:1514",
            "esxcli system syslog config set --reset=loghost",
        ),
        (
            json!({"logdir": "[VMs] logs"}),
            (
                "Local Log Output: /scratch/log\n   Local Log Output Is Configured: false",
                "Local Log Output: [VMs] logs\n   Local Log Output Is Configured: true",
            ),
            "esxcli system syslog config set --logdir='[VMs] logs'",
            "esxcli system syslog config set --reset=logdir",
        ),
    ] {
        let made = on_8(args.clone(), &installed()).unwrap();
        assert_eq!(texts(&made), [wanted, "esxcli system syslog reload"]);
        let state = installed().replace(after.0, after.1);
        assert!(on_8(args, &state).unwrap().is_empty(), "{state}");
        let undo = made[0].undo.clone().unwrap();
        assert_eq!(undo.kind, "syslog");
        assert_eq!(texts(&on_8(undo.args.clone(), &state).unwrap()), [back, "esxcli system syslog reload"]);
        assert!(on_8(undo.args, &installed()).unwrap().is_empty());
    }
}

#[test]
fn several_settings_come_back_in_one_step() {
    let now = recorded(RECORDED).replace("udp://192.168.1.106:514", "10.1.1.1,tcp://b:514");
    let args = json!({"loghost": "udp://c", "check_ssl_certs": true, "rotate": 10, "unique": true});
    let made = compare(&step(args), &[(GET, &now)]).unwrap();
    let undo = made[0].undo.clone().unwrap().args;
    assert_eq!(
        undo,
        json!({"loghost": ["10.1.1.1", "tcp://b:514"], "as_printed": true, "check_ssl_certs": false, "rotate": 8, "unique": false})
    );
    assert!(compare(&step(undo.clone()), &[(GET, &now)]).unwrap().is_empty());
    let after = "Enforce SSLCertificates: true\nLocal Log Output: /scratch/log\nLocal Logging Default Rotations: 10\nLog To Unique Subdirectory: true\nRemote Host: udp://c\n";
    assert_eq!(
        texts(&compare(&step(undo), &[(GET, after)]).unwrap())[0],
        "esxcli system syslog config set --loghost=10.1.1.1,tcp://b:514 --logdir-unique=false --check-ssl-certs=false --default-rotate=8"
    );
}

#[test]
fn filters_are_a_command_of_their_own_with_the_same_reload() {
    let host = |on: bool| {
        let said = format!("   Log Filtering Enabled: {on}\n");
        Host::with(V80, &[(GET, &installed()), (FILTER, &said)])
    };
    let off = step(json!({"filtering": false}));
    assert!(host(false).compare(&off).unwrap().is_empty());
    let made = host(true).compare(&off).unwrap();
    assert_eq!(
        texts(&made),
        ["esxcli system syslog config logfilter set --log-filtering-enabled=false", "esxcli system syslog reload"]
    );
    let undo = step(made[0].undo.clone().unwrap().args);
    assert!(host(false).actions(&undo)[0].ends_with("--log-filtering-enabled=true"));
    let both = step(json!({"filtering": false, "level": "info"}));
    assert_eq!(host(true).actions(&both).len(), 3);
    let unknown = "Error: Unknown command or namespace system syslog config logfilter get\n";
    let old = Host::with(Version::new(6, 7), &[(GET, &installed())]).fails(&filter_get(), unknown);
    assert!(matches!(old.compare(&off), Err(StepError::NotApplicable(_))));
}

#[test]
fn a_log_directory_in_memory_is_for_a_person_unless_one_is_given() {
    let lost = installed().replace("Persistent: true", "Persistent: false");
    for args in [json!({"persistent": true}), json!({"persistent": true, "logdir": ""})] {
        assert!(on_8(args.clone(), &installed()).unwrap().is_empty());
        let found = on_8(args, &lost).unwrap();
        assert!(found.len() == 1 && found[0].by_hand.is_some() && found[0].actions.is_empty());
    }
    let given = json!({"persistent": true, "logdir": "[VMs] logs"});
    let made = on_8(given.clone(), &lost).unwrap();
    assert!(made.len() == 1 && made[0].by_hand.is_none());
    // It is there, and still not on a disk.
    let still = lost.replace("/scratch/log", "[VMs] logs");
    assert!(on_8(given, &still).unwrap()[0].by_hand.is_some());
    let silent = installed().replace("   Local Log Output Is Persistent: true\n", "");
    assert!(matches!(on_8(json!({"persistent": true}), &silent), Err(StepError::NotJudged(_))));
}

#[test]
fn log_hosts_that_the_site_has_not_given_are_no_pass() {
    for open in [json!(null), json!(""), json!([""])] {
        let args = json!({"loghost": open});
        let found = on_8(args.clone(), &installed()).unwrap();
        assert!(found.len() == 1 && found[0].by_hand.is_some(), "{found:?}");
        let some = installed().replace("<none>", "udp://192.0.2.9:514");
        assert!(matches!(on_8(args, &some), Err(StepError::NotJudged(why)) if why.contains("192.0.2.9")));
    }
    let open = json!({"logdir": null});
    assert!(matches!(on_8(open, &installed()), Err(StepError::NotJudged(why)) if why.contains("/scratch/log")));
    // With the rest right, the open part is not hidden; with the rest wrong, that is set first.
    let mixed = json!({"loghost": null, "level": "info"});
    let some = installed().replace("<none>", "udp://192.0.2.9:514");
    assert_eq!(texts(&on_8(mixed.clone(), &some).unwrap()).len(), 2);
    let right = some.replace("Log Level: error", "Log Level: info");
    assert!(matches!(on_8(mixed, &right), Err(StepError::NotJudged(_))));
    let kept = json!({"loghost": null, "persistent": true});
    assert!(matches!(on_8(kept, &some), Err(StepError::NotJudged(_))));
}

#[test]
fn what_is_about_tls_has_no_meaning_without_it() {
    let args = json!({"strict_x509": true, "tls_only": true});
    for plain in ["<none>", "udp://a:514", "tcp://a:1514"] {
        let now = installed().replace("<none>", plain);
        assert!(matches!(on_8(args.clone(), &now), Err(StepError::NotApplicable(why)) if why.contains("ssl://")));
    }
    let tls = installed().replace("<none>", "udp://a:514,SSL://b:1514");
    assert_eq!(on_8(args.clone(), &tls).unwrap().len(), 1);
    let strict = tls.replace("Compliance: false", "Compliance: true");
    assert!(on_8(args, &strict).unwrap().is_empty());
}

#[test]
fn a_label_of_a_later_release_makes_it_not_applicable_and_half_an_output_does_not() {
    let level = step(json!({"level": "info"}));
    let old = compare(&level, &[(GET, &recorded(RECORDED))]);
    assert!(matches!(old, Err(StepError::NotApplicable(why)) if why.contains("7.0.1")));
    let half = compare(&level, &[(GET, "   Remote Host: <none>\n")]);
    assert!(matches!(half, Err(StepError::Unreadable { .. })));
    let newer = installed().replace("Log Level", "Level Of Log");
    assert!(matches!(on_8(json!({"level": "info"}), &newer), Err(StepError::Unreadable { .. })));
}
