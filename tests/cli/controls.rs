//! Controls: four results, waivers, findings, failures that do not end a host, and taking a run back.

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};

/// The verdict of each control, in the order of the events.
fn verdicts(ran: &Ran) -> Vec<(String, String)> {
    let word = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    ran.of("control").iter().map(|c| (word(&c["id"]), word(&c["verdict"]))).collect()
}

fn pairs(all: &[(String, String)]) -> Vec<(&str, &str)> {
    all.iter().map(|(id, verdict)| (id.as_str(), verdict.as_str())).collect()
}

const BOOK: &str = "\
baseline: stig-8.0
waivers:
  - {id: C-WAIVED, reason: only a lab, until: 2999-12-31}
  - {id: C-EXPIRED, reason: was a lab, until: 2020-01-01}
steps:
  - {name: right already, id: C-PASS, setting: {key: UserVars.DcuiTimeOut, value: 600}}
  - {name: no such setting, id: C-ERROR, setting: {key: Net.NoSuchThing, value: 1}}
  - {name: waived, id: C-WAIVED, setting: {key: UserVars.HostClientSessionTimeout, value: 600}}
  - {name: waived no longer, id: C-EXPIRED, setting: {key: UserVars.SuppressHyperthreadWarning, value: 1}}
  - {name: judged only, id: C-JUDGED, fix: false, setting: {key: Net.FollowHardwareMac, value: 1}}
  - {name: another release, id: C-OTHER, when: host.version == '6.0.0', setting: {key: Net.FollowHardwareMac, value: 1}}
  - {name: two halves, id: C-TWO, setting: {key: UserVars.DcuiTimeOut, value: 600}}
  - {name: two halves, id: C-TWO, setting: {key: Mem.ShareForceSalting, value: 1}}
";

#[test]
fn each_control_has_one_of_four_results_and_none_ends_the_host() {
    let home = Home::new();
    let book = home.write("book.yml", BOOK);
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let before = home.run(&["verify", arg(&book), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let expected = [
        ("C-PASS", "pass"),
        ("C-ERROR", "fail"),
        ("C-WAIVED", "fail"),
        ("C-EXPIRED", "fail"),
        ("C-JUDGED", "fail"),
        ("C-OTHER", "not_applicable"),
        ("C-TWO", "fail"),
    ];
    assert_eq!(pairs(&verdicts(&before)), expected, "{}", before.all());
    let controls = before.of("control");
    assert_eq!(controls[2]["waiver"]["expired"], false);
    assert_eq!(controls[3]["waiver"]["expired"], true);
    assert_eq!(controls[4]["by_hand"], true);
    assert_eq!(controls[0]["baseline"], "stig-8.0");

    let ran = home.run(&["apply", arg(&book), "-i", sim.inventory(), "--output", "json"]).exits(1);
    let after = verdicts(&ran);
    let expected = [
        ("C-PASS", "pass"),
        ("C-ERROR", "fail"),
        ("C-WAIVED", "fail"),
        ("C-EXPIRED", "pass"),
        ("C-JUDGED", "fail"),
        ("C-OTHER", "not_applicable"),
        ("C-TWO", "pass"),
    ];
    assert_eq!(pairs(&after), expected, "{}", ran.all());
    let finished = &ran.of("host_finished")[0];
    assert_eq!((&finished["changed"], &finished["failed"], &finished["by_hand"]), (&2.into(), &1.into(), &1.into()));
    let kept = sim.on_host(
        &home,
        "esxcli system settings advanced list -o /UserVars/HostClientSessionTimeout | grep '  Int Value'",
    );
    assert!(kept.contains("900"), "a waived control is not changed: {kept}");
}

#[test]
fn a_finding_for_a_person_is_exit_code_3_and_a_waiver_from_a_file_ends_it() {
    let home = Home::new();
    let book = home.write(
        "book.yml",
        "steps:\n  - {id: A-1, fix: \"{{ fix }}\", setting: {key: Net.FollowHardwareMac, value: 1}}\n",
    );
    let waivers = home.write("waivers.yml", "- {id: A-1, reason: nested, until: 2999-12-31, hosts: esx*}\n");
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let run = |args: &[&str], code: i32| {
        let mut all = vec![args[0], arg(&book), "-i", sim.inventory(), "--output", "json"];
        all.extend(&args[1..]);
        home.run(&all).exits(code)
    };
    let ran = run(&["apply", "-e", "fix=false"], 3);
    assert_eq!(ran.of("step")[0]["status"], "would_change");
    assert_eq!(ran.of("making").len(), 0);
    run(&["verify", "-e", "fix=false"], 3);
    run(&["apply", "-e", "fix=false", "--waivers", arg(&waivers)], 0);
    run(&["verify", "-e", "fix=true", "--waivers", arg(&waivers)], 0);
    run(&["apply", "-e", "fix=true"], 0);
    run(&["verify", "-e", "fix=false"], 0);
    let said = home.run(&["verify", arg(&book), "-i", sim.inventory(), "-e", "fix=perhaps"]).exits(1);
    assert!(said.stdout.contains("`fix` wants true or false"), "{}", said.all());
    let bad = home.write("bad.yml", "- {id: A-1, reason: nested}\n");
    let said = run(&["verify", "-e", "fix=true", "--waivers", arg(&bad)], 2);
    assert!(said.stderr.contains("until"), "{}", said.all());
}

#[test]
fn a_door_stays_open_when_something_before_it_failed() {
    let home = Home::new();
    let book = home.write(
        "book.yml",
        "steps:\n  - {id: D-1, service: {name: ssh, running: false}}\n  - {id: D-2, setting: {key: Net.NoSuchThing, value: 1}}\n",
    );
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let ran = home.run(&["apply", arg(&book), "-i", sim.inventory(), "--output", "json"]).exits(1);
    assert_eq!(pairs(&verdicts(&ran)), [("D-1", "not_judged"), ("D-2", "fail")], "{}", ran.all());
    assert!(sim.on_host(&home, "echo still here").contains("still here"));
}

#[test]
fn a_run_is_taken_back_by_its_journal() {
    let home = Home::new();
    let book = home.write(
        "book.yml",
        "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - setting: {key: Net.FollowHardwareMac, value: 1}\n",
    );
    let sim = SimHosts::start(&home, "8.0", 2, &[]);
    let applied =
        home.run(&["apply", arg(&book), "-i", sim.inventory(), "--limit", "esx1", "--output", "json"]).exits(0);
    let first = applied.of("run_started")[0]["run"].as_str().unwrap().to_owned();
    let undo = ["apply", "-i", sim.inventory(), "--undo", "last", "--output", "json"];
    let check: Vec<&str> = undo.iter().copied().chain(["--check"]).collect();
    let would = home.run(&check).exits(3);
    assert_eq!(would.of("run_started")[0]["hosts"], serde_json::json!(["esx1"]), "{}", would.all());
    let shown = would.of("step");
    assert_eq!(shown.len(), 2);
    assert!(shown[0]["changes"][0]["summary"].as_str().unwrap().contains("FollowHardwareMac"), "{}", would.all());
    // The check was a run as well; the one before it is meant.
    home.run(&["apply", "-i", sim.inventory(), "--undo", &first]).exits(0);
    home.run(&["verify", arg(&book), "-i", sim.inventory(), "--limit", "esx1"]).exits(3);
    let value =
        |key: &str| sim.on_host(&home, &format!("esxcli system settings advanced list -o {key} | grep '  Int Value'"));
    assert!(value("/UserVars/SuppressShellWarning").contains('0') && value("/Net/FollowHardwareMac").contains('0'));
    // What is back already stays as it is, and what nobody ran cannot be taken back.
    let again = home.run(&["apply", "-i", sim.inventory(), "--undo", &first, "--output", "json"]).exits(0);
    assert_eq!(again.of("host_finished")[0]["changed"], 0);
    assert!(home.run(&["apply", "-i", sim.inventory(), "--undo", "2001"]).exits(2).stderr.contains("no run"));
}
