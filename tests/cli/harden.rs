//! `esxprep harden`: for people and as JSON, and what it says to a misspelt name.

use super::common::Home;

fn json(args: &[&str]) -> serde_json::Value {
    let ran = Home::new().run(&[args, &["--output", "json"]].concat()).exits(0);
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}\n{}", ran.all()))
}

#[test]
fn baselines_and_their_controls_are_listed() {
    let home = Home::new();
    let all = home.run(&["harden", "list"]).exits(0).stdout;
    for name in ["stig-8.0", "stig-7.0", "stig-6.7", "scg-8", "scg-7", "9.x"] {
        assert!(all.lines().any(|l| l.starts_with(name)), "{all}");
    }
    let one = home.run(&["harden", "list", "stig-8.0"]).exits(0).stdout;
    assert_eq!(one.lines().count(), 76);
    assert!(one.lines().any(|l| l.starts_with("ESXI-80-000005") && l.contains("fixed")), "{one}");
    let value = json(&["harden", "list", "stig-8.0"]);
    assert_eq!(value["controls"].as_array().unwrap().len(), 76);
    assert_eq!(json(&["harden", "list"]).as_array().unwrap().len(), 6);
}

#[test]
fn a_control_is_shown_with_its_twins() {
    let shown = Home::new().run(&["harden", "show", "ESXI-80-000005"]).exits(0).stdout;
    for part in
        ["account-lockout", "ESXI-70-000005", "esxi-8.account-lockout", "V-258728", "Security.AccountLockFailures"]
    {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let value = json(&["harden", "show", "account-lockout"]);
    let controls = value[0]["controls"].as_array().unwrap();
    assert!(controls.iter().any(|c| c["baseline"] == "scg-7" && c["asks"] == "5"), "{value}");
    assert!(controls.iter().any(|c| c["baseline"] == "stig-8.0" && c["asks"] == "3"), "{value}");
}

#[test]
fn two_baselines_are_compared() {
    let shown = Home::new().run(&["harden", "diff", "stig-8.0", "scg-8"]).exits(0).stdout;
    assert!(shown.contains("nothing satisfies both"), "{shown}");
    let value = json(&["harden", "diff", "stig-7.0", "scg-7"]);
    let row = value["differ"].as_array().unwrap().iter().find(|d| d["concept"] == "dcui-timeout").unwrap();
    assert_eq!((&row["both"], &row["as_bound"]), (&"120".into(), &true.into()));
}

#[test]
fn coverage_is_counted_and_printed_as_the_page_has_it() {
    let home = Home::new();
    let value = json(&["harden", "coverage"]);
    let stig = value.as_array().unwrap().iter().find(|c| c["baseline"] == "stig-8.0").unwrap();
    assert!(stig["fixed"].as_u64().unwrap() >= 63 && stig["judged"].as_u64().unwrap() >= 11, "{stig}");
    let markdown = home.run(&["harden", "coverage", "--markdown"]).exits(0).stdout;
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/hardening.md")).unwrap();
    assert!(page.contains(markdown.trim()), "docs/hardening.md must hold this:\n{markdown}");
    assert!(home.run(&["harden", "coverage"]).exits(0).stdout.contains("not judged"));
}

#[test]
fn a_misspelt_name_is_answered_with_the_nearest() {
    let home = Home::new();
    let said = home.run(&["harden", "show", "ESXI-80-00005"]).exits(2).stderr;
    assert!(said.contains("ESXI-80-000005"), "{said}");
    let said = home.run(&["harden", "list", "stig-9"]).exits(2).stderr;
    assert!(said.contains("stig-8.0"), "{said}");
    home.run(&["harden", "coverage", "--markdown", "--output", "json"]).exits(2);
}
