//! Events in, files out: read back with the parsers of others, and held against the forms' own rules.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::Value;

use super::*;
use crate::hardening::Baseline;
use crate::report::collect::Facts;
use crate::report::control_tests::{sample, story};

/// The files of a story, with their names, in a folder of their own.
fn files(format: Format, name: &str, events: &[Event]) -> (tempfile::TempDir, io::Result<()>) {
    let dir = tempfile::tempdir().unwrap();
    let result = write(format, &dir.path().join(name), events, sample);
    (dir, result)
}

fn write(format: Format, path: &Path, events: &[Event], lookup: Lookup) -> io::Result<()> {
    let mut reporter = Checklists::new(format, path.to_owned()).unwrap();
    reporter.run.facts = Facts(lookup);
    events.iter().for_each(|e| reporter.event(e));
    reporter.finish()
}

fn names(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// An element as a test looks at it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

impl Element {
    fn parse(text: &str) -> Self {
        use quick_xml::events::Event as Xml;
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_end_names = true;
        let mut stack = vec![Element::default()];
        let open = |e: &quick_xml::events::BytesStart<'_>| Element {
            name: e.name().as_ref().to_owned(),
            attributes: e
                .attributes()
                .map(|a| {
                    let a = a.unwrap();
                    let value = quick_xml::escape::unescape(&a.value).unwrap().into_owned();
                    (a.key.as_ref().to_owned(), value)
                })
                .collect(),
            ..Element::default()
        };
        loop {
            match reader.read_event().unwrap() {
                Xml::Start(e) => stack.push(open(&e)),
                Xml::Empty(e) => stack.last_mut().unwrap().children.push(open(&e)),
                Xml::End(_) => {
                    let done = stack.pop().unwrap();
                    stack.last_mut().unwrap().children.push(done);
                }
                Xml::Text(t) => stack.last_mut().unwrap().text.push_str(&t.into_inner()),
                Xml::GeneralRef(r) => {
                    let entity = format!("&{};", &*r.into_inner());
                    stack.last_mut().unwrap().text.push_str(&quick_xml::escape::unescape(&entity).unwrap());
                }
                Xml::Eof => break,
                Xml::Decl(_) | Xml::Comment(_) => {}
                other => panic!("{other:?}"),
            }
        }
        let mut root = stack.pop().unwrap();
        assert!(stack.is_empty() && root.children.len() == 1);
        root.children.remove(0)
    }

    fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Element> + use<'a> {
        self.children.iter().filter(|c| c.name == name).collect::<Vec<_>>().into_iter()
    }

    fn get(&self, path: &str) -> &Element {
        let mut at = self;
        for name in path.split('/') {
            at = at.all(name).next().unwrap_or_else(|| panic!("no {name} in {}", at.name));
        }
        at
    }

    fn order(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.children.iter().map(|c| c.name.as_str()).collect();
        names.dedup();
        names
    }

    fn attribute(&self, name: &str) -> &str {
        &self.attributes.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no {name}")).1
    }

    /// The pairs of a CKL.
    fn pair<'a>(&'a self, outer: &'a str, key: &str, value: &str, wanted: &str) -> Vec<&'a str> {
        let pairs = self.all(outer).filter(|p| p.get(key).text == wanted);
        pairs.map(|p| p.children.iter().find(|c| c.name == value).map_or("", |c| c.text.as_str())).collect()
    }

    fn of(&self, attribute: &str) -> Vec<&str> {
        self.pair("STIG_DATA", "VULN_ATTRIBUTE", "ATTRIBUTE_DATA", attribute)
    }
}

const WRITTEN: &str = "<b>&amp;</b> ]]> \"quoted\" 'it' \\x1b[31m\\x00 naïve – 日本 \\u{202e}txt";

#[test]
fn a_ckl_reads_back_with_every_control_of_the_stig() {
    let (dir, result) = files(Format::Ckl, "lab.ckl", &story());
    result.unwrap();
    assert_eq!(names(dir.path()), ["lab-esx1.ckl", "lab-esx2.lab.example.ckl", "lab-esx3.ckl"]);
    let text = read(dir.path(), "lab-esx1.ckl");
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!--esxprep"), "{text}");
    let root = Element::parse(&text);
    // The schema's order.
    assert_eq!((root.name.as_str(), root.order()), ("CHECKLIST", vec!["ASSET", "STIGS"]));
    let asset = [
        "ROLE",
        "ASSET_TYPE",
        "HOST_NAME",
        "HOST_IP",
        "HOST_MAC",
        "HOST_FQDN",
        "TARGET_COMMENT",
        "TECH_AREA",
        "TARGET_KEY",
        "WEB_OR_DATABASE",
        "WEB_DB_SITE",
        "WEB_DB_INSTANCE",
    ];
    assert_eq!(root.get("ASSET").order(), asset);
    let of = |name: &str| root.get("ASSET").get(name).text.as_str();
    assert_eq!((of("HOST_NAME"), of("HOST_IP"), of("HOST_FQDN"), of("ROLE")), ("esx1", "192.0.2.11", "", "None"));
    let stig = root.get("STIGS/iSTIG");
    assert_eq!(stig.order(), ["STIG_INFO", "VULN"]);
    let info = |name: &str| stig.get("STIG_INFO").pair("SI_DATA", "SID_NAME", "SID_DATA", name).concat();
    assert_eq!((info("stigid"), info("version")), ("Test_STIG".into(), "2".into()));
    assert_eq!(info("releaseinfo"), "Release: 3 Benchmark Date: 02 Apr 2025");

    let vulns: Vec<&Element> = stig.all("VULN").collect();
    assert_eq!(vulns.len(), 10, "nine of the run, and the one that no step is for");
    let tail = ["STIG_DATA", "STATUS", "FINDING_DETAILS", "COMMENTS", "SEVERITY_OVERRIDE", "SEVERITY_JUSTIFICATION"];
    assert!(vulns.iter().all(|v| v.order() == tail));
    let allowed = [
        "CCI_REF",
        "Check_Content",
        "Check_Content_Ref",
        "Class",
        "Documentable",
        "False_Negatives",
        "False_Positives",
        "Fix_Text",
        "Group_Title",
        "IA_Controls",
        "Mitigation_Control",
        "Mitigations",
        "Potential_Impact",
        "Responsibility",
        "Rule_ID",
        "Rule_Title",
        "Rule_Ver",
        "STIGRef",
        "Security_Override_Guidance",
        "Severity",
        "Third_Party_Tools",
        "Vuln_Discuss",
        "Vuln_Num",
        "Weight",
        "TargetKey",
        "STIG_UUID",
        "LEGACY_ID",
    ];
    for data in vulns.iter().flat_map(|v| v.all("STIG_DATA")) {
        assert_eq!(data.order(), ["VULN_ATTRIBUTE", "ATTRIBUTE_DATA"]);
        assert!(allowed.contains(&data.get("VULN_ATTRIBUTE").text.as_str()));
    }
    let status: Vec<&str> = vulns.iter().map(|v| v.get("STATUS").text.as_str()).collect();
    assert_eq!(
        status,
        [
            "Open",
            "Open",
            "Open",
            "Open",
            "Open",
            "NotAFinding",
            "Not_Applicable",
            "Not_Reviewed",
            "Not_Reviewed",
            "Not_Reviewed"
        ]
    );
    let first = vulns[0];
    assert_eq!(
        (first.of("Vuln_Num"), first.of("Rule_ID"), first.of("Rule_Ver")),
        (vec!["V-100"], vec!["SV-100r0_rule"], vec!["TEST-0"])
    );
    assert_eq!((first.of("Severity"), first.of("CCI_REF")), (vec!["low"], vec!["CCI-000044", "CCI-000045"]));
    assert_eq!((first.of("Rule_Title"), first.of("Fix_Text")), (vec!["Title 0 <of> ours"], vec!["change 0 & <more>"]));
    let finding = |n: usize| vulns[n].get("FINDING_DETAILS").text.as_str();
    let comment = |n: usize| vulns[n].get("COMMENTS").text.as_str();
    assert_eq!(
        finding(0),
        format!(
            "Judged by esxprep {} on 2026-11-22T18:45:03.100Z (apply, run 20261122-184501-7f3a; ESXi 8.0.3 build 24022510).\n\
             It is not as asked.\n{WRITTEN}\nsecond line",
            env!("CARGO_PKG_VERSION")
        )
    );
    assert_eq!(comment(0), "");
    assert_eq!(comment(1), "esxprep does not change this: a person must.");
    assert_eq!(comment(2), "Waiver expired on 2026-01-31, so this counts again: no log host <here>.");
    assert_eq!(comment(3), "Waived until 2027-06-30: no log host <here>.");
    assert!(finding(4).contains("it counts from the next boot on") && comment(4).starts_with("Reboot"));
    assert!(finding(5).contains("This run changed it"));
    assert!(finding(7).starts_with("Not judged by esxprep") && comment(7) == "ask the site which accounts it wants");
    assert!(finding(8).ends_with("\ncould not be read") && comment(8).is_empty());
    assert!(comment(9).starts_with("Not judged: the playbook has no step for it"));
    assert!(!text.contains("secret-undo"));

    // The host that was not reached: nothing of it is judged, and nothing passes.
    let lost = Element::parse(&read(dir.path(), "lab-esx3.ckl"));
    let vulns = lost.get("STIGS/iSTIG");
    assert!(vulns.all("VULN").all(|v| v.get("STATUS").text == "Not_Reviewed"));
    assert!(vulns.all("VULN").take(9).all(|v| v.get("COMMENTS").text.contains("no route")));
}

#[test]
fn a_cklb_reads_back() {
    let (dir, result) = files(Format::Cklb, "{host}.cklb", &story());
    result.unwrap();
    assert_eq!(names(dir.path()), ["esx1.cklb", "esx2.lab.example.cklb", "esx3.cklb"]);
    let value: Value = serde_json::from_str(&read(dir.path(), "esx2.lab.example.cklb")).unwrap();
    assert_eq!(value["cklb_version"], "1.0");
    let target = &value["target_data"];
    assert_eq!((&target["host_name"], &target["ip_address"]), (&"esx2.lab.example".into(), &"2001:db8::2".into()));
    assert_eq!((&target["fqdn"], &target["mac_address"]), (&"esx2.lab.example".into(), &"".into()));

    let value: Value = serde_json::from_str(&read(dir.path(), "esx1.cklb")).unwrap();
    let stig = &value["stigs"][0];
    assert_eq!(
        (&stig["stig_id"], &stig["size"], &stig["display_name"]),
        (&"Test_STIG".into(), &10.into(), &"Test".into())
    );
    let rules = stig["rules"].as_array().unwrap();
    let status: Vec<&str> = rules.iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(
        status,
        [
            "open",
            "open",
            "open",
            "open",
            "open",
            "not_a_finding",
            "not_applicable",
            "not_reviewed",
            "not_reviewed",
            "not_reviewed"
        ]
    );
    assert_eq!((&rules[0]["rule_id"], &rules[0]["rule_id_src"]), (&"SV-100r0".into(), &"SV-100r0_rule".into()));
    assert_eq!((&rules[0]["group_id"], &rules[0]["rule_version"]), (&"V-100".into(), &"TEST-0".into()));
    assert_eq!(rules[0]["stig_uuid"], stig["uuid"]);
    assert!(rules[0]["finding_details"].as_str().unwrap().ends_with(&format!("{WRITTEN}\nsecond line")));
    assert_eq!(rules[3]["comments"], "Waived until 2027-06-30: no log host <here>.");
    // What a viewer opens all the time must be there, and of one kind, in each rule.
    for rule in rules {
        for list in ["ccis", "legacy_ids", "group_tree"] {
            assert!(rule[list].is_array(), "{list}");
        }
        assert!(rule["overrides"].is_object() && rule["check_content_ref"].is_object());
        for text in ["uuid", "severity", "weight", "rule_title", "group_title", "check_content", "fix_text", "comments"]
        {
            assert!(rule[text].is_string(), "{text}");
        }
    }
}

#[test]
fn xccdf_reads_back_and_keeps_the_order_of_its_schema() {
    let (dir, result) = files(Format::Xccdf, "results.xml", &story());
    result.unwrap();
    let text = read(dir.path(), "results-esx1.xml");
    let root = Element::parse(&text);
    assert_eq!(root.attribute("xmlns"), "http://checklists.nist.gov/xccdf/1.2");
    assert_eq!(root.attribute("id"), "xccdf_mil.disa.stig_benchmark_Test_STIG");
    assert_eq!(root.order(), ["status", "title", "description", "plain-text", "version", "Group", "TestResult"]);
    let rules: Vec<&str> = root.all("Group").map(|g| g.get("Rule").attribute("id")).collect();
    assert_eq!((rules.len(), rules[0]), (10, "xccdf_mil.disa.stig_rule_SV-100r0_rule"));
    assert_eq!(root.get("Group").attribute("id"), "xccdf_mil.disa.stig_group_V-100");
    assert_eq!(root.get("Group/Rule").order(), ["version", "title", "ident", "fixtext", "check"]);

    let test = root.get("TestResult");
    assert_eq!(
        test.order(),
        ["benchmark", "title", "remark", "target", "target-address", "target-facts", "rule-result", "score"]
    );
    assert_eq!(test.attribute("id"), "xccdf_esxprep_testresult_20261122-184501-7f3a-esx1");
    assert_eq!(
        (test.attribute("start-time"), test.attribute("end-time")),
        ("2026-11-22T18:45:00.100Z", "2026-11-22T18:45:03.100Z")
    );
    assert_eq!((test.get("target").text.as_str(), test.get("target-address").text.as_str()), ("esx1", "192.0.2.11"));
    let results: Vec<&Element> = test.all("rule-result").collect();
    assert!(results.iter().map(|r| r.attribute("idref")).eq(rules), "every result is of a rule of the file");
    let words: Vec<&str> = results.iter().map(|r| r.get("result").text.as_str()).collect();
    assert_eq!(
        words,
        ["fail", "fail", "fail", "fail", "fail", "pass", "notapplicable", "notchecked", "notchecked", "notselected"]
    );
    assert!(results[0].get("message").text.ends_with(&format!("{WRITTEN}\nsecond line")));
    assert_eq!(results[3].get("check/check-content/e:comment").text, "Waived until 2027-06-30: no log host <here>.");
    let score = test.get("score");
    assert_eq!((score.text.as_str(), score.attribute("maximum")), ("1", "6"));
}

#[test]
fn controls_of_no_stig_get_identifiers_of_ours() {
    let mut events = story();
    for event in &mut events {
        if let EventKind::Control(control) = &mut event.kind {
            control.baseline = None;
            control.id = control.id.replace("TEST-7", "a/ü").replace("TEST-8", "a_?");
        }
    }
    let (dir, result) = files(Format::Xccdf, "r.xml", &events);
    result.unwrap();
    let root = Element::parse(&read(dir.path(), "r-esx1.xml"));
    assert_eq!(root.attribute("id"), "xccdf_esxprep_benchmark_STIG___more");
    let rules: Vec<&str> = root.all("Rule").map(|r| r.attribute("id")).collect();
    assert_eq!(rules[6..], ["xccdf_esxprep_rule_TEST-6", "xccdf_esxprep_rule_a__", "xccdf_esxprep_rule_a__.2"]);
    assert_eq!(root.get("Rule/title").text, "Step 0");
    assert_eq!(root.get("Rule").attribute("severity"), "unknown");
}

#[test]
fn a_host_is_written_when_it_is_finished_and_what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut reporter = Checklists::new(Format::Ckl, dir.path().join("c.ckl")).unwrap();
    reporter.run.facts = Facts(sample);
    let events = story();
    let first = events.iter().position(|e| matches!(e.kind, EventKind::HostFinished(_))).unwrap();
    events[..=first].iter().for_each(|e| reporter.event(e));
    assert_eq!(names(dir.path()), ["c-esx1.ckl"], "killed now, the run has its file");
    std::fs::write(dir.path().join("c-esx3.ckl"), "of yesterday").unwrap();
    let error = reporter.finish().unwrap_err().to_string();
    assert!(error.contains("no ckl was written for esx2.lab.example, esx3: the run ended before"), "{error}");
    assert!(error.contains("c-esx3.ckl is of an earlier run"), "{error}");

    // Interrupted in the middle of a host: what was judged of it is written.
    let half: Vec<Event> = events
        .iter()
        .filter(|e| !matches!(e.kind, EventKind::HostFinished(_) | EventKind::RunFinished { .. }))
        .cloned()
        .collect();
    let (dir, result) = files(Format::Cklb, "c.cklb", &half);
    result.unwrap();
    assert_eq!(names(dir.path()).len(), 3, "and no temporary file stays");
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_and_the_others_are_written() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("c-esx1.ckl")).unwrap();
    let error = write(Format::Ckl, &dir.path().join("c.ckl"), &story(), sample).unwrap_err().to_string();
    assert!(error.contains("c-esx1.ckl"), "{error}");
    assert_eq!(names(dir.path()), ["c-esx1.ckl", "c-esx2.lab.example.ckl", "c-esx3.ckl"]);
}

#[test]
fn the_same_events_give_the_same_files() {
    for format in [Format::Ckl, Format::Cklb, Format::Xccdf] {
        let (one, _) = files(format, "x", &story());
        let (two, _) = files(format, "x", &story());
        assert_eq!(read(one.path(), "x-esx1"), read(two.path(), "x-esx1"));
    }
}

#[test]
fn what_no_checklist_can_hold_is_refused_before() {
    let kind = |text: &str| text.parse::<OutputKind>().unwrap();
    let (ckl, xccdf, html) = (kind("ckl=a"), kind("xccdf=a"), kind("html=a"));
    let fits = |kinds: &[&OutputKind], baseline: Option<&str>, ids: &[&str]| {
        let kinds: Vec<OutputKind> = kinds.iter().map(|k| (*k).clone()).collect();
        fits_with(sample, &kinds, baseline, ids.iter().copied())
    };
    assert_eq!(fits(&[&html], None, &[]), Ok(()));
    assert_eq!(fits(&[&ckl, &xccdf], Some("stig-test"), &["TEST-1", "TEST-1", "TEST-2"]), Ok(()));
    assert_eq!(fits(&[&xccdf], None, &["MINE-1"]), Ok(()));
    let error = |kinds: &[&OutputKind], baseline, ids: &[&str]| fits(kinds, baseline, ids).unwrap_err();
    assert!(error(&[&xccdf], None, &[]).contains("a control is a step with an `id`"));
    assert!(error(&[&html, &ckl], None, &["TEST-1"]).contains("add `baseline: stig-8.0`"));
    assert!(
        error(&[&kind("cklb=a")], Some("scg-8"), &["x"])
            .contains("`--output cklb=FILE` is the checklist of a STIG, and the baseline scg-8 has no rules")
    );
    let strangers = error(&[&xccdf, &ckl], Some("stig-test"), &["TEST-1", "A", "B", "C", "D", "E", "F"]);
    assert!(strangers.contains("cannot hold A, B, C, D, E and 1 more: stig-test has no such rule"), "{strangers}");
    // A guide with titles and severities, and without DISA's rules.
    static GUIDE: LazyLock<Baseline> =
        LazyLock::new(|| Baseline { stig_id: None, ..sample("stig-test").unwrap().clone() });
    let guide: Lookup = |_| Some(&*GUIDE);
    assert!(fits_with(guide, &[ckl], Some("9.x"), ["TEST-1"].into_iter()).is_err());
}

#[test]
fn checklists_want_a_file() {
    let error = |text: &str| text.parse::<OutputKind>().unwrap_err();
    assert!(error("ckl").contains("write `ckl=FILE`, with `{host}`"));
    assert!(error("cklb=").contains("no file after the `=`"));
    assert!(!"xccdf=a.xml".parse::<OutputKind>().unwrap().on_stdout());
}
