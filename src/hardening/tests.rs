use std::collections::BTreeSet;

use super::*;

#[test]
fn every_baseline_can_be_read() {
    let broken = |(name, text): &(&str, &str)| Baseline::parse(name, text).err().map(|problems| problems.plain());
    assert_eq!(FILES.iter().filter_map(broken).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(names().count(), all().count());
    for (name, b) in names().zip(all()) {
        assert_eq!(name, b.name);
    }
}

#[test]
fn the_baselines_have_the_controls_that_their_publishers_count() {
    let counts: Vec<(&str, usize)> = all().map(|b| (b.name.as_str(), b.controls.len())).collect();
    let known = [("stig-8.0", 76), ("stig-7.0", 75), ("stig-6.7", 73), ("scg-8", 75), ("scg-7", 54), ("9.x", 91)];
    assert_eq!(counts, known);
    let severities = |name| {
        let of = |s| baseline(name).into_iter().flat_map(|b| &b.controls).filter(|c| c.severity == s).count();
        (of(Severity::High), of(Severity::Medium), of(Severity::Low))
    };
    assert_eq!(severities("stig-8.0"), (4, 67, 5));
    assert_eq!(severities("stig-7.0"), (4, 65, 6));
    assert_eq!(severities("stig-6.7"), (6, 49, 18));
}

#[test]
fn at_least_as_much_is_covered_as_was_promised() {
    for (name, fixed, judged) in [("stig-8.0", 63, 11), ("stig-7.0", 61, 12)] {
        let c = coverage::of(baseline(name).unwrap());
        assert!(c.fixed >= fixed && c.fixed + c.judged >= fixed + judged, "{name}: {} {}", c.fixed, c.judged);
    }
}

#[test]
fn ids_are_unique_and_every_control_is_complete() {
    let mut ids = BTreeSet::new();
    for b in all() {
        for c in &b.controls {
            assert!(ids.insert(&c.id), "{} twice", c.id);
            assert!(!c.title.is_empty() && !c.source.is_empty() && !c.desired.is_empty(), "{}", c.id);
            assert!(c.title.len() < 80 && !c.title.ends_with('.'), "{}: {}", c.id, c.title);
            assert_eq!(c.why.is_some(), c.outcome != Outcome::Fixed, "{}: `why` goes with what is not fixed", c.id);
            assert_eq!(c.outcome == Outcome::NotJudged, c.look.is_none() && c.change.is_none(), "{}", c.id);
            assert!(c.versions.iter().all(|v| b.versions.contains(v)), "{}", c.id);
            assert!(c.concept.chars().all(|x| x.is_ascii_lowercase() || x.is_ascii_digit() || x == '-'), "{}", c.id);
            assert!(c.parts.is_empty() || c.parts.len() > 1, "{}", c.id);
            for (_, asks) in c.asks() {
                assert_eq!(Desired::parse(asks).to_string(), asks, "{}", c.id);
            }
            if b.name.starts_with("stig-") {
                assert!(c.group.as_ref().is_some_and(|g| g.starts_with("V-")), "{}", c.id);
                assert!(c.rule.as_ref().is_some_and(|r| r.starts_with("SV-") && r.ends_with("_rule")), "{}", c.id);
                assert!(!c.ccis.is_empty() && c.srg.is_some(), "{}", c.id);
            }
        }
    }
}

#[test]
fn a_concept_stands_once_in_a_baseline() {
    for b in all() {
        let mut seen = BTreeSet::new();
        for c in &b.controls {
            for (concept, _) in c.asks() {
                // 9.1 asks another password string and another TLS profile than 9.0.
                assert!(seen.insert(concept) || b.name == "9.x", "{}: {concept} twice", b.name);
            }
        }
    }
}

fn differ(a: &str, b: &str, concept: &str) -> (String, String, Option<String>) {
    let d = compare::compare(baseline(a).unwrap(), baseline(b).unwrap());
    let x = d.differ.into_iter().find(|x| x.concept == concept).unwrap_or_else(|| panic!("{concept} does not differ"));
    (x.a.desired, x.b.desired, x.both)
}

#[test]
fn one_set_of_numbers_serves_both_families_where_a_guide_means_at_most() {
    for (concept, stig, scg, both) in [
        ("shell-interactive-timeout", "120", "900", "120"),
        ("shell-timeout", "600", "900", "600"),
        ("dcui-timeout", "120", "600", "120"),
        ("host-client-session-timeout", "600", "900", "600"),
        ("account-lockout", "3", "5", "3"),
    ] {
        let found = differ("stig-7.0", "scg-7", concept);
        assert_eq!(found, (stig.into(), scg.into(), Some(both.into())), "{concept}");
    }
    assert_eq!(differ("stig-8.0", "scg-8", "account-password-history").2.as_deref(), Some("5"));
    assert_eq!(differ("stig-8.0", "scg-8", "account-auto-unlock-time").2.as_deref(), Some("900"));
}

#[test]
fn where_baselines_contradict_nothing_satisfies_both() {
    for concept in ["account-password-max-days", "account-password-policies", "api-soap-timeout", "logs-level-global"] {
        assert_eq!(differ("stig-8.0", "scg-8", concept).2, None, "{concept}");
    }
    assert_eq!(differ("stig-7.0", "scg-7", "account-password-max-days").2, None);
}

#[test]
fn a_comparison_has_two_sides() {
    for (a, b) in [("stig-8.0", "scg-8"), ("stig-7.0", "stig-8.0"), ("stig-6.7", "stig-7.0"), ("scg-7", "scg-8")] {
        let (a, b) = (baseline(a).unwrap(), baseline(b).unwrap());
        let (there, back) = (compare::compare(a, b), compare::compare(b, a));
        assert_eq!(there.same, back.same);
        assert_eq!(there.differ.len(), back.differ.len());
        assert_eq!((there.only_a.len(), there.only_b.len()), (back.only_b.len(), back.only_a.len()));
        let asked: usize = a.controls.iter().map(|c| c.asks().len()).sum();
        assert_eq!(there.same + there.differ.len() + there.only_a.len(), asked, "{} and {}", a.name, b.name);
    }
    // 8.0 has three controls for what is one in 7.0; each is compared with its part.
    let found = differ("stig-7.0", "stig-8.0", "logs-audit-local-capacity");
    assert_eq!(found, ("4..100".into(), "100".into(), Some("100".into())));
}

#[test]
fn a_control_is_shown_with_what_other_baselines_ask() {
    let known = show::known("ESXI-80-000068");
    let text = show::text(&known);
    for part in ["ESXI-80-000068", "ESXI-70-000041", "ESXI-67-000041", "esxi-7.shell-interactive-timeout", "1..900"] {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
    assert_eq!(show::known("shell-interactive-timeout").len(), 1);
    // One control, three concepts.
    assert_eq!(show::known("ESXI-70-000084").len(), 3);
    assert!(show::known("nothing-such").is_empty());
}

/// What stands between two marks in docs/hardening.md.
fn page(mark: &str) -> String {
    let page = include_str!("../../docs/hardening.md");
    let (start, end) = (format!("<!-- {mark} -->\n"), format!("<!-- /{mark} -->"));
    let from = page.find(&start).unwrap_or_else(|| panic!("no {start}")) + start.len();
    page[from..from + page[from..].find(&end).unwrap()].trim().to_owned()
}

#[test]
fn the_tables_of_the_page_are_those_of_the_data() {
    let coverage = coverage::markdown();
    assert!(page("coverage") == coverage.trim(), "docs/hardening.md must hold this:\n{coverage}");
    let all: Vec<&Baseline> = ["stig-7.0", "stig-8.0", "scg-7", "scg-8"].into_iter().filter_map(baseline).collect();
    let table = compare::markdown(&all);
    assert!(page("contradictions") == table.trim(), "docs/hardening.md must hold this:\n{table}");
}

#[test]
fn contradictions_are_what_no_letter_and_what_no_value_satisfies() {
    let all: Vec<&Baseline> = ["stig-7.0", "stig-8.0", "scg-7", "scg-8"].into_iter().filter_map(baseline).collect();
    let found = compare::contradictions(&all);
    let of = |concept: &str| found.iter().find(|c| c.concept == concept).map(|c| c.all.as_deref());
    assert_eq!(of("shell-interactive-timeout"), Some(Some("120")));
    assert_eq!(of("account-lockout"), Some(Some("3")));
    assert_eq!(of("account-password-max-days"), Some(None));
    assert_eq!(of("api-soap-timeout"), Some(None));
    // 900 is what every one of them takes by the letter.
    assert_eq!(of("account-auto-unlock-time"), None);
    assert_eq!(of("shell-warning"), None);
}

#[test]
fn an_edition_reads_as_stig_viewers_write_it() {
    let any = baseline("stig-8.0").unwrap();
    let edition = |release: Option<&str>, date: Option<&str>| {
        let (release, date) = (release.map(Into::into), date.map(Into::into));
        Baseline { release, date, ..any.clone() }.release_info()
    };
    assert_eq!(edition(Some("3"), Some("2025-04-02")), "Release: 3 Benchmark Date: 02 Apr 2025");
    assert_eq!(edition(None, Some("2025-13-02")), "Release: 1 Benchmark Date: unknown");
}
