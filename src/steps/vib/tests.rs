use super::super::Artifacts;
use super::*;
use crate::esxi::bundle::{Software, testvib::TestVib};
use crate::esxi::{Outputs, Version, recorded};

const LIST_5: &str = include_str!("../../../fixtures/transcripts/5.x/vib-list-head-3.txt");
const LIST_7: &str = include_str!("../../../fixtures/transcripts/7.0/vib-list-vendor-mix.txt");
const FS_67: &str = include_str!("../../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt");

struct Host {
    outputs: Outputs,
    artifacts: Artifacts,
    facts: HostFacts,
}

impl Host {
    fn new(list: &str) -> Self {
        let mut h = Self {
            outputs: Outputs::default(),
            artifacts: Artifacts::default(),
            facts: HostFacts::example(Version::new(6, 5)),
        };
        h.says(list_command(), list);
        h.says(pending_command(), "");
        h.says(acceptance_command(), "PartnerSupported\n");
        h.says(filesystems_command(), &recorded(FS_67));
        h.says(ramdisks_command(), "Ramdisk                   Size      Used Available Use% Mounted on\ntmp                       256M       12K      255M   0% --\n");
        h
    }

    fn says(&mut self, command: Command, text: &str) {
        self.outputs.insert(&command, Output::ok(text));
    }

    fn file(mut self, path: &str, size: u64, vibs: &[TestVib]) -> Self {
        let bytes: Vec<u8> = if vibs.len() == 1 { vibs[0].bytes() } else { crate::esxi::bundle::testvib::bundle(vibs) };
        let software: Software = crate::esxi::bundle::inspect(std::io::Cursor::new(bytes)).unwrap();
        let artifact = Artifact {
            path: format!("/book/{path}").into(),
            sha256: "ab".repeat(32),
            size,
            software: Some(software),
            ..Artifact::default()
        };
        self.artifacts.insert(Input::File(path.into()), artifact);
        self
    }

    fn compare(&self, step: &dyn Step) -> Result<Vec<Change>, StepError> {
        for read in step.reads(&self.facts) {
            assert!(self.outputs.get(&read).is_some(), "no output for {read}");
        }
        crate::steps::testing::compare(step, &self.facts, &self.outputs, &self.artifacts)
    }
}

fn step(json: serde_json::Value) -> Box<dyn Step> {
    (KIND.parse)(json).unwrap()
}

fn texts(change: &Change) -> Vec<String> {
    change
        .actions
        .iter()
        .map(|a| match a {
            Action::Run(c) => c.text().to_owned(),
            Action::Upload { path, .. } => format!("upload {path}"),
            Action::Detached(_) => "detached".into(),
        })
        .collect()
}

#[test]
fn present_and_at_least_on_two_releases() {
    for (list, name, newer) in [(LIST_5, "lsiprovider", "500.04.V0.33"), (LIST_7, "ixgben", "1.12.4")] {
        let host = Host::new(&recorded(list));
        assert!(host.compare(&*step(serde_json::json!({"name": name}))).unwrap().is_empty());
        let e = host.compare(&*step(serde_json::json!({"name": name, "at_least": newer}))).unwrap_err().to_string();
        assert!(e.contains("no `from`") && e.contains(newer), "{e}");
        assert!(host.compare(&*step(serde_json::json!({"name": "nope", "state": "absent"}))).unwrap().is_empty());
        let gone = host.compare(&*step(serde_json::json!({"name": name, "state": "absent"}))).unwrap();
        assert_eq!(texts(&gone[0]), [format!("esxcli software vib remove -n {name}")]);
    }
}

#[test]
fn an_update_is_uploaded_installed_and_cleaned_up() {
    let made = TestVib::new("ixgben", "1.13.0-1").level("certified");
    let host = Host::new(&recorded(LIST_7)).file("x/my driver.vib", 1 << 20, &[made]);
    let s = step(serde_json::json!({"from": "x/my driver.vib"}));
    let changes = host.compare(&*s).unwrap();
    assert_eq!(
        texts(&changes[0]),
        [
            "upload /tmp/esxprep-abababababab-my_driver.vib",
            "esxcli software vib install -v /tmp/esxprep-abababababab-my_driver.vib"
        ]
    );
    assert_eq!((changes[0].before.as_str(), changes[0].after.as_str()), ("1.12.3.0-1OEM.700.1.0.15843807", "1.13.0-1"));
    assert_eq!(changes[0].cleanup[0].text(), "rm -f /tmp/esxprep-abababababab-my_driver.vib");
    // The version before would need its file.
    assert!(changes[0].undo.is_none());
    let new = Host::new(&recorded(LIST_7)).file("n.vib", 1000, &[TestVib::new("new", "1-1").level("partner")]);
    let undo = new.compare(&*step(serde_json::json!({"from": "n.vib"}))).unwrap()[0].undo.clone().unwrap();
    assert_eq!(undo, Undo::step("vib", serde_json::json!({"name": "new", "state": "absent"})).unwrap());
    let there = Host::new(&recorded(LIST_7).replace("ixgben ", "new    "));
    assert_eq!(texts(&there.compare(&*step(undo.args)).unwrap()[0]), ["esxcli software vib remove -n new"]);
}

#[test]
fn a_host_that_has_it_is_sent_nothing() {
    let made = TestVib::new("itp_tools", "2.0.8").level("partner");
    let host = Host::new(&recorded(LIST_7)).file("t.vib", 1000, &[made]);
    assert!(host.compare(&*step(serde_json::json!({"from": "t.vib"}))).unwrap().is_empty());
}

#[test]
fn a_big_bundle_goes_to_the_emptiest_datastore_and_only_what_is_missing_is_named() {
    let vibs = [TestVib::new("itp_tools", "1.0.0").level("partner"), TestVib::new("new", "1-1").level("partner")];
    let host = Host::new(&recorded(LIST_7)).file("b.zip", 200 << 20, &vibs);
    let c = &host.compare(&*step(serde_json::json!({"from": "b.zip"}))).unwrap()[0];
    let dir = "/vmfs/volumes/5bc7459f-967eeb48-b3f7-20677cd9a16c/.esxprep";
    assert_eq!(
        texts(c),
        [
            format!("mkdir -p {dir}"),
            format!("upload {dir}/esxprep-abababababab-b.zip"),
            format!("esxcli software vib install -d {dir}/esxprep-abababababab-b.zip -n new"),
        ]
    );
    assert_eq!(c.cleanup.len(), 2);
    let mut full = Host::new(&recorded(LIST_7)).file("b.zip", 200 << 20, &vibs);
    full.says(filesystems_command(), "");
    let e = full.compare(&*step(serde_json::json!({"from": "b.zip"}))).unwrap_err().to_string();
    assert!(e.contains("no place on the host"), "{e}");
}

#[test]
fn a_downgrade_needs_a_word() {
    let made = TestVib::new("ixgben", "1.0.0-1").level("certified");
    let host = Host::new(&recorded(LIST_7)).file("old.vib", 1000, &[made]);
    let json = serde_json::json!({"from": "old.vib", "version": "1.0.0-1"});
    let e = host.compare(&*step(json)).unwrap_err().to_string();
    assert!(e.contains("downgrade") && e.contains("allow_downgrade"), "{e}");
    let json = serde_json::json!({"from": "old.vib", "version": "1.0.0", "allow_downgrade": true});
    assert_eq!(host.compare(&*step(json)).unwrap().len(), 1);
    let json = serde_json::json!({"name": "ixgben", "from": "old.vib", "at_least": "2.0"});
    let e = host.compare(&*step(json)).unwrap_err().to_string();
    assert!(e.contains("holds ixgben 1.0.0-1"), "{e}");
}

#[test]
fn a_level_below_the_hosts_is_found_before_the_upload() {
    let host = Host::new(&recorded(LIST_7)).file("c.vib", 1000, &[TestVib::new("mine", "1-1")]);
    let e = host.compare(&*step(serde_json::json!({"from": "c.vib"}))).unwrap_err().to_string();
    assert!(e.contains("nothing was uploaded") && e.contains("acceptance: {level: CommunitySupported}"), "{e}");
    let changes = host.compare(&*step(serde_json::json!({"from": "c.vib", "no_sig_check": true}))).unwrap();
    assert!(texts(&changes[0])[1].ends_with("--no-sig-check"));
    let changes =
        host.compare(&*step(serde_json::json!({"from": "c.vib", "acceptance": "CommunitySupported"}))).unwrap();
    assert_eq!(texts(&changes[0]), ["esxcli software acceptance set --level=CommunitySupported"]);
    assert_eq!(changes.len(), 2);
    assert_eq!(changes[0].undo, Undo::step("acceptance", serde_json::json!({"level": "PartnerSupported"})));
}

#[test]
fn a_pending_image_only_waits_for_the_reboot() {
    let made = TestVib { maintenance: true, ..TestVib::new("new", "1-1").level("partner") };
    let mut host = Host::new(&recorded(LIST_7)).file("n.vib", 1000, &[made]);
    let s = step(serde_json::json!({"from": "n.vib"}));
    assert!(host.compare(&*s).unwrap()[0].effect.maintenance);
    let next = "Name    Version  Vendor  Acceptance Level  Install Date\n------  -------  ------  ----------------  ------------\nnew     1-1      Test    PartnerSupported  2026-11-22\n";
    host.says(pending_command(), next);
    let c = host.compare(&*s).unwrap();
    assert!(c[0].actions.is_empty() && c[0].effect.reboot && c[0].summary.contains("waits for the reboot"));
    let gone = host.compare(&*step(serde_json::json!({"name": "ixgben", "state": "absent"}))).unwrap();
    assert!(gone[0].actions.is_empty() && gone[0].effect.reboot);
}

#[test]
fn the_host_reads_by_itself() {
    let host = Host::new(&recorded(LIST_7));
    let s = step(
        serde_json::json!({"name": "ixgben", "at_least": "2.0", "from": "http://depot.example/i.vib", "on_host": true}),
    );
    assert!(s.inputs().is_empty());
    assert_eq!(texts(&host.compare(&*s).unwrap()[0]), ["esxcli software vib update -v http://depot.example/i.vib"]);
    let s =
        step(serde_json::json!({"name": "new", "from": "/vmfs/volumes/ds 1/b.zip", "on_host": true, "live": false}));
    assert_eq!(
        texts(&host.compare(&*s).unwrap()[0]),
        ["esxcli software vib install -d '/vmfs/volumes/ds 1/b.zip' -n new --no-live-install"]
    );
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_reason() {
    for (json, part) in [
        (serde_json::json!({"state": "absent"}), "name"),
        (serde_json::json!({"name": "a", "version": "1", "at_least": "2"}), "not both"),
        (serde_json::json!({"name": "a", "from": "x.vib", "on_host": true}), "absolute path"),
        (serde_json::json!({"name": "a", "from": "http://x/b.zip", "on_host": true}), "offline bundle behind a URL"),
        (serde_json::json!({"from": "/x.vib", "on_host": true}), "give the VIB's `name`"),
        (serde_json::json!({"name": "a", "sha256": "12"}), "64 hex"),
        (serde_json::json!({"name": "a", "versoin": "1"}), "unknown field"),
        (serde_json::json!({}), "give the `name`"),
    ] {
        let e = (KIND.parse)(json.clone()).unwrap_err().to_string();
        assert!(e.contains(part), "{json}: {e}");
    }
}

#[test]
fn a_wrong_digest_or_a_web_page_is_not_installed() {
    let mut host = Host::new(&recorded(LIST_7)).file("n.vib", 1000, &[TestVib::new("new", "1-1")]);
    let e =
        host.compare(&*step(serde_json::json!({"from": "n.vib", "sha256": "cd".repeat(32)}))).unwrap_err().to_string();
    assert!(e.contains("SHA-256"), "{e}");
    let page = Artifact { not_software: Some("it is a web page".into()), ..Artifact::default() };
    host.artifacts.insert(Input::File("p.vib".into()), page);
    let e = host.compare(&*step(serde_json::json!({"from": "p.vib"}))).unwrap_err().to_string();
    assert!(e.contains("web page"), "{e}");
}

#[test]
fn answers_are_judged() {
    let s = step(serde_json::json!({"name": "a"}));
    let action = Command::esxcli("software vib install").opt("-v", "/tmp/a.vib");
    let judge = |text: &str, code| s.judge(&action, &Output { code, ..Output::ok(text) });
    let done = recorded(include_str!("../../../fixtures/transcripts/7.0/vib-install-downgrade-ok.txt"));
    assert!(judge(&done, 0).unwrap().reboot);
    let done = recorded(include_str!("../../../fixtures/transcripts/6.5/vib-install-v-custom-fw.txt"));
    assert_eq!(judge(&done, 0).unwrap(), Verdict::default());
    let refused =
        recorded(include_str!("../../../fixtures/transcripts/5.x/vib-install-dependencyerror-acceptance.txt"));
    let e = judge(&refused, 1).unwrap_err().to_string();
    assert!(
        e.contains("acceptance level is community") && e.contains("`acceptance` step") && e.contains("esxupdate.log"),
        "{e}"
    );
    // Built in the recorded form: the VIB is there already.
    let skipped = "Installation Result\n   Message: Host is not changed.\n   Reboot Required: false\n   VIBs Installed: \n   VIBs Removed: \n   VIBs Skipped: A_bootbank_a_1-1\n";
    let v = judge(skipped, 0).unwrap();
    assert_eq!(v.changed, Some(false));
    assert!(v.note.unwrap().contains("A_bootbank_a_1-1"));
    let waiting = skipped.replace("Host is not changed.", "Live installation skipped: a reboot is pending.");
    assert!(judge(&waiting, 0).unwrap_err().to_string().contains("`reboot` step"));
    assert!(judge("", 1).unwrap().note.is_some());
    assert!(judge("what?\n", 0).is_err());
}

/// The kinds of this room: their examples load, and their schemas know every key of the example.
#[test]
fn examples_load() {
    use crate::steps::{acceptance, account, authorized_key, file, module};
    for kind in [KIND, acceptance::KIND, account::KIND, authorized_key::KIND, file::KIND, module::KIND] {
        let list: Vec<indexmap::IndexMap<String, serde_json::Value>> = serde_saphyr::from_str(kind.example).unwrap();
        let value = list[0][kind.name].clone();
        let step = (kind.parse)(value.clone()).unwrap();
        assert!(!step.summary().is_empty());
        let mut generator = schemars::SchemaGenerator::default();
        let schema = serde_json::to_value((kind.schema)(&mut generator)).unwrap();
        for key in value.as_object().unwrap().keys() {
            assert!(schema["properties"].get(key).is_some(), "{}: {key}", kind.name);
        }
        assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
    }
}

#[test]
fn a_bundle_with_two_versions_gives_the_one_asked_for() {
    let two = [TestVib::new("new", "1.0-1").level("partner"), TestVib::new("new", "2.0-1").level("partner")];
    let host = Host::new(&recorded(LIST_7)).file("b.zip", 1000, &two);
    for (json, want) in [
        (serde_json::json!({"name": "new", "from": "b.zip"}), "new:2.0-1"),
        (serde_json::json!({"name": "new", "from": "b.zip", "version": "1.0"}), "new:1.0-1"),
    ] {
        let c = host.compare(&*step(json)).unwrap();
        assert!(texts(&c[0])[1].ends_with(&format!("-n {want}")), "{:?}", texts(&c[0]));
    }
}
