//! A run with controls, in the forms of report that show them among other things.

use std::sync::LazyLock;

use super::collect::Facts;
use super::sink::Sink;
use super::tests::Shared;
use super::*;
use crate::engine::events::{
    ChangeShown, ControlEvent, ControlVerdict, EventKind, HostResult, Status, StepEvent, WaiverShown,
};
use crate::hardening::{self, Baseline, Control, Severity};

/// Text that wants to be markup, to end a section, to steer a terminal.
pub const NASTY: &str = "<b>&amp;</b> ]]> \"quoted\" 'it' \u{1b}[31m\u{0} naïve – 日本 \u{202e}txt";

/// A small STIG.
static SAMPLE: LazyLock<Baseline> = LazyLock::new(|| {
    let any = hardening::baseline("stig-8.0").unwrap();
    let control = |n: usize, severity| Control {
        id: format!("TEST-{n}"),
        title: format!("Title {n} <of> ours"),
        severity,
        group: Some(format!("V-10{n}")),
        rule: Some(format!("SV-10{n}r{n}_rule")),
        srg: Some("SRG-OS-000021-VMM-000050".into()),
        ccis: vec!["CCI-000044".into(), "CCI-000045".into()],
        look: Some(format!("look {n} > \"there\"")),
        change: Some(format!("change {n} & <more>")),
        ..any.controls[0].clone()
    };
    let severities = [Severity::Low, Severity::High, Severity::Medium];
    Baseline {
        title: "A STIG for tests".into(),
        version: "2".into(),
        release: Some("3".into()),
        date: Some("2025-04-02".into()),
        stig_id: Some("Test_STIG".into()),
        stig_title: Some("Test Security Technical Implementation Guide".into()),
        controls: (0..10).map(|n| control(n, severities[n % 3])).collect(),
        ..any.clone()
    }
});

/// It, by its name.
pub fn sample(name: &str) -> Option<&'static Baseline> {
    (name == "stig-test").then(|| &*SAMPLE)
}

fn at(seconds: f64, kind: EventKind) -> Event {
    Event { time: format!("2026-11-22T18:45:{seconds:06.3}Z"), run: "20261122-184501-7f3a".into(), kind }
}

fn control(host: &str, n: usize, verdict: ControlVerdict, details: &[&str]) -> ControlEvent {
    ControlEvent {
        host: host.into(),
        id: format!("TEST-{n}"),
        name: format!("Step {n}"),
        baseline: Some("stig-test".into()),
        verdict,
        changed: false,
        pending_reboot: false,
        by_hand: false,
        details: details.iter().map(|d| (*d).to_owned()).collect(),
        waiver: None,
    }
}

fn waiver(expired: bool) -> Option<WaiverShown> {
    let until = if expired { "2026-01-31" } else { "2027-06-30" };
    Some(WaiverShown { reason: "no log host <here>".into(), until: until.into(), expired })
}

fn step(host: &str, n: usize, status: Status, error: Option<&str>) -> Event {
    let undo = crate::steps::Undo::step("setting", serde_json::json!({"key": "secret-undo"}));
    let change = ChangeShown { summary: "K".into(), before: "1".into(), after: "2".into(), undo, ..Default::default() };
    at(
        2.0,
        EventKind::Step(StepEvent {
            host: host.into(),
            step: n + 1,
            kind: "setting".into(),
            name: format!("Step {n}"),
            status,
            changes: if status == Status::Changed { vec![change] } else { Vec::new() },
            seconds: 0.25,
            error: error.map(Into::into),
            note: None,
            id: (n < 100).then(|| format!("TEST-{n}")),
            verdict: None,
        }),
    )
}

/// Three hosts: one with everything, one that passes, one that was never reached.
pub fn story() -> Vec<Event> {
    use ControlVerdict::{Fail, NotApplicable, NotJudged, Pass};
    let hosts = ["esx1", "esx2.lab.example", "esx3"].map(String::from).to_vec();
    let mut events = vec![
        at(0.0, EventKind::RunStarted { playbook: "STIG & more".into(), mode: "apply".into(), hosts, steps: 9 }),
        at(0.1, EventKind::HostConnecting { host: "esx1".into(), address: "192.0.2.11:22".into() }),
        at(0.1, EventKind::HostConnecting { host: "esx2.lab.example".into(), address: "[2001:db8::2]:22".into() }),
        at(0.4, EventKind::HostConnected { host: "esx1".into(), version: "8.0.3".into(), build: 24022510 }),
        step("esx1", 100, Status::Ok, None),
        step("esx1", 2, Status::Failed, Some("hostd said no")),
        step("esx1", 5, Status::Changed, None),
        step("esx1", 8, Status::Failed, Some("could not be read")),
    ];
    let everything = [
        control("esx1", 0, Fail, &[NASTY, "second line"]),
        ControlEvent { by_hand: true, ..control("esx1", 1, Fail, &["Secure Boot: \"off\" -> \"on\"; switch it on"]) },
        ControlEvent { waiver: waiver(true), ..control("esx1", 2, Fail, &["hostd said no"]) },
        ControlEvent {
            waiver: waiver(false),
            ..control("esx1", 3, Fail, &["no log host; waived until 2027-06-30: no log host <here>"])
        },
        ControlEvent { pending_reboot: true, changed: true, ..control("esx1", 4, Fail, &["TPM mode"]) },
        ControlEvent { changed: true, ..control("esx1", 5, Pass, &["K: \"1\" -> \"2\""]) },
        control("esx1", 6, NotApplicable, &["ESXi 7.0 has no such key"]),
        control("esx1", 7, NotJudged, &["ask the site which accounts it wants"]),
        control("esx1", 8, NotJudged, &["could not be read"]),
    ];
    events.extend(everything.into_iter().map(|c| at(3.0, EventKind::Control(c))));
    events.push(at(3.1, finished("esx1", [2, 1, 2, 0])));
    events.extend((0..9).map(|n| at(3.2, EventKind::Control(control("esx2.lab.example", n, Pass, &[])))));
    events.push(at(3.3, finished("esx2.lab.example", [9, 0, 0, 0])));
    let lost = "not judged: the work on this host ended before: no route";
    events.extend((0..9).map(|n| at(4.0, EventKind::Control(control("esx3", n, NotJudged, &[lost])))));
    let error = "no route".to_owned();
    events.push(at(4.0, EventKind::HostFailed { host: "esx3".into(), error, unreachable: true }));
    events.push(at(4.1, finished("esx3", [0, 0, 0, 0])));
    events.push(at(
        5.0,
        EventKind::RunFinished { hosts: 3, ok: 11, changed: 1, failed: 2, unreachable: 1, seconds: 5.0 },
    ));
    events
}

fn finished(host: &str, [ok, changed, failed, skipped]: [usize; 4]) -> EventKind {
    EventKind::HostFinished(HostResult { host: host.into(), ok, changed, failed, skipped, ..HostResult::default() })
}

fn human(events: &[Event], options: &ReportOptions) -> String {
    let shared = Shared::default();
    let mut human = Human::new(shared.clone(), options);
    human.run.facts = Facts(sample);
    events.iter().for_each(|e| human.event(e));
    human.finish().unwrap();
    shared.text()
}

#[test]
fn people_read_what_fails_first_and_passes_are_counted() {
    let text = human(&story(), &ReportOptions::plain());
    let expected = "
Controls of esx1 (A STIG for tests): 1 pass (1 of them fixed), 3 fail, 1 pending reboot, 1 waived, 1 not applicable, 2 not judged
  high    TEST-1  fail            Title 1 <of> ours
    Secure Boot: \"off\" -> \"on\"; switch it on
  medium  TEST-2  fail            Title 2 <of> ours
    hostd said no
    waiver expired on 2026-01-31, so this counts again: no log host <here>
  low     TEST-0  fail            Title 0 <of> ours
    <b>&amp;</b> ]]> \"quoted\" 'it' \\x1b[31m\\x00 naïve – 日本 \\u{202e}txt; second line
  high    TEST-4  pending reboot  Title 4 <of> ours
    TPM mode
  high    TEST-7  not judged      Title 7 <of> ours
    ask the site which accounts it wants
  medium  TEST-8  not judged      Title 8 <of> ours
    could not be read
  low     TEST-3  waived          Title 3 <of> ours
    no log host
    waived until 2027-06-30: no log host <here>
  medium  TEST-5  fixed           Title 5 <of> ours
    K: \"1\" -> \"2\"

Controls of esx2.lab.example (A STIG for tests): 9 pass, 0 fail

Controls of esx3 (A STIG for tests): 0 pass, 0 fail, 9 not judged
  -       9 controls  not judged
    not judged: the work on this host ended before: no route

Controls of all 3 hosts: 10 pass (1 of them fixed), 3 fail, 1 pending reboot, 1 waived, 1 not applicable, 11 not judged
";
    assert!(text.contains(expected), "{text}");
    assert!(
        text.contains(
            "\nControls: 3 controls failed, 1 waits for a reboot and 11 must be judged by a person.\nJournal: "
        ),
        "{text}"
    );
    assert!(!text.contains("secret-undo") && !text.contains("step 3, setting"), "{text}");
}

#[test]
fn all_of_it_with_diff_and_in_colour_where_wanted() {
    let text = human(&story(), &ReportOptions { diff: true, ..ReportOptions::plain() });
    assert!(
        text.contains("  low     TEST-6  not applicable  Title 6 <of> ours\n    ESXi 7.0 has no such key\n"),
        "{text}"
    );
    assert!(text.contains("\n    second line\n") && text.matches("  pass            Title").count() == 9, "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains("secret-undo"));

    let text = human(&story(), &ReportOptions { color: true, width: 80, ..ReportOptions::plain() });
    assert!(
        text.contains("\u{1b}[31m\u{1b}[1mfail\u{1b}[0m") && text.contains("\u{1b}[35mpending reboot\u{1b}[0m"),
        "{text}"
    );
    let long = text.lines().find(|l| l.contains("&amp;")).unwrap();
    assert!(long.ends_with('…') && console::measure_text_width(long) <= 80, "{long}");
}

#[test]
fn the_last_sentence_does_not_say_that_hosts_match_where_a_person_is_left_with_something() {
    let verdict = ControlEvent { by_hand: true, ..control("esx1", 1, ControlVerdict::Fail, &["off"]) };
    let run = |mode: &str, control: ControlEvent, by_hand: usize, changed: usize| {
        let mut step = step("esx1", 1, Status::WouldChange, None);
        if let EventKind::Step(step) = &mut step.kind {
            step.changes = vec![ChangeShown { by_hand: Some("do it".into()), ..ChangeShown::default() }];
        }
        let hosts = vec!["esx1".into()];
        let result = HostResult { host: "esx1".into(), ok: 2, by_hand, changed, ..HostResult::default() };
        human(
            &[
                at(0.0, EventKind::RunStarted { playbook: "p".into(), mode: mode.into(), hosts, steps: 1 }),
                step,
                at(1.0, EventKind::Control(control)),
                at(1.0, EventKind::HostFinished(result)),
                at(2.0, EventKind::RunFinished { hosts: 1, ok: 0, changed, failed: 0, unreachable: 0, seconds: 1.0 }),
            ],
            &ReportOptions::plain(),
        )
    };
    let text = run("apply", verdict.clone(), 1, 0);
    assert!(text.contains("\n1 step is left to a person in 1.0 s. The findings above say what to do.\n"), "{text}");
    assert!(text.contains("\nControls: 1 control failed.\n"), "{text}");
    let text = run("verify", verdict, 0, 1);
    assert!(text.contains("\n1 of 1 host differs: 1 step left to a person. `--diff`"), "{text}");
    let text = run("verify", control("esx1", 1, ControlVerdict::Pass, &[]), 0, 0);
    assert!(text.contains("Nothing to change on the host (2 steps ok in 1.0 s).\nEvery control was judged"), "{text}");
}

#[test]
fn junit_has_a_case_for_each_control() {
    use quick_xml::events::Event as Xml;
    let shared = Shared::default();
    let mut junit = Junit::new(Sink::Memory(shared.clone()));
    junit.run.facts = Facts(sample);
    story().iter().for_each(|e| junit.event(e));
    junit.finish().unwrap();
    let text = shared.text();
    let mut reader = quick_xml::Reader::from_str(&text);
    let (mut case, mut found, mut suites) = (String::new(), Vec::new(), Vec::new());
    loop {
        match reader.read_event().unwrap() {
            Xml::Start(e) | Xml::Empty(e) => {
                let attribute = |name: &str| {
                    let value = e.try_get_attribute(name).unwrap()?;
                    Some(quick_xml::escape::unescape(&value.value).unwrap().into_owned())
                };
                let name = || attribute("name").unwrap();
                match e.name().as_ref() {
                    "testsuite" => suites.push(
                        ["tests", "failures", "errors", "skipped"]
                            .map(|n| attribute(n).unwrap().parse::<usize>().unwrap()),
                    ),
                    "testcase" => case = format!("{} {}", attribute("classname").unwrap(), name()),
                    element @ ("failure" | "error" | "skipped" | "system-out") if case.starts_with("esx1.") => {
                        let kind = attribute("type").unwrap_or_default();
                        found.push(format!("{case}: {element} {kind} {}", attribute("message").unwrap_or_default()));
                    }
                    _ => {}
                }
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    // Nine controls, the one step that is no control; for the host that was not reached, one that says so.
    assert_eq!(suites, [[10, 4, 1, 3], [9, 0, 0, 0], [10, 0, 1, 9]]);
    assert_eq!(
        found,
        [
            "esx1.low TEST-0 Title 0 <of> ours: failure finding <b>&amp;</b> ]]> \"quoted\" 'it' \\x1b[31m\\x00 naïve – 日本 \\u{202e}txt",
            "esx1.high TEST-1 Title 1 <of> ours: failure finding Secure Boot: \"off\" -> \"on\"; switch it on",
            "esx1.medium TEST-2 Title 2 <of> ours: failure failed hostd said no",
            "esx1.low TEST-3 Title 3 <of> ours: skipped  waived: waived until 2027-06-30: no log host <here>",
            "esx1.high TEST-4 Title 4 <of> ours: failure pending reboot TPM mode",
            "esx1.medium TEST-5 Title 5 <of> ours: system-out  ",
            "esx1.low TEST-6 Title 6 <of> ours: skipped  not applicable: ESXi 7.0 has no such key",
            "esx1.high TEST-7 Title 7 <of> ours: skipped  not judged: ask the site which accounts it wants",
            "esx1.medium TEST-8 Title 8 <of> ours: error failed could not be read",
        ]
    );
}

fn html(events: &[Event]) -> String {
    let shared = Shared::default();
    let mut html = Html::new(Sink::Memory(shared.clone()));
    html.run.facts = Facts(sample);
    events.iter().for_each(|e| html.event(e));
    html.finish().unwrap();
    shared.text()
}

#[test]
fn the_page_has_a_row_a_control_and_a_column_a_host() {
    let page = html(&story());
    assert_eq!(page.matches("<tr data-outcomes=").count(), 9);
    assert!(
        page.contains("<th scope=\"col\">esx1</th><th scope=\"col\">esx2.lab.example</th><th scope=\"col\">esx3</th>")
    );
    // The worst first: a high finding.
    let rows: Vec<&str> = page.split("<tr data-outcomes=").skip(1).collect();
    assert!(rows[0].starts_with("\"c-fail c-pass c-unjudged\" data-severity=\"high\">"), "{}", rows[0]);
    assert!(rows[0].contains("<span class=\"mono\">TEST-1</span> Title 1 &lt;of&gt; ours"), "{}", rows[0]);
    assert!(page.contains("data-outcome=\"c-unjudged\" aria-pressed=\"false\"><b>11</b> not judged</button>"));
    assert!(page.contains(
        "<span class=\"expired\">waiver expired on 2026-01-31, so this counts again: no log host &lt;here&gt;"
    ));
    assert!(page.contains("&lt;b&gt;&amp;amp;&lt;&#x2f;b&gt; ]]&gt;") && !page.contains("<b>&amp;"), "escaped");
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}') && !page.contains("secret-undo"));
    assert!(page.contains("<p class=\"headline failed\">2 of 3 hosts need attention</p>"));
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("url("));

    // Without the trouble of hosts, the controls are the headline.
    let mut calm = story();
    calm.retain(|e| !matches!(&e.kind, EventKind::HostFailed { .. }));
    for event in &mut calm {
        if let EventKind::HostFinished(result) = &mut event.kind {
            result.failed = 0;
        }
    }
    assert!(html(&calm).contains("<p class=\"headline failed\">3 controls fail on 1 of 3 hosts</p>"));
}

#[test]
fn a_page_without_controls_has_no_section_of_them() {
    let mut events = story();
    events.retain(|e| !matches!(&e.kind, EventKind::Control(_)));
    let page = html(&events);
    assert!(!page.contains("class=\"controls\"") && !page.contains("data-outcomes"));
}

#[test]
fn events_of_controls_are_json_lines() {
    let shared = Shared::default();
    let mut json = Json::new(shared.clone());
    story().iter().for_each(|e| json.event(e));
    json.finish().unwrap();
    let back: Vec<Event> = shared.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(back, story());
}
