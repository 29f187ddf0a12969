//! The story of a small run, in every form of report.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::sink::Sink;
use super::*;
use crate::engine::events::{ChangeShown, EventKind, HostResult, Status, StepEvent};

/// A writer whose text the test can read.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const RUN: &str = "20261122-184501-7f3a";

fn at(seconds: f64, kind: EventKind) -> Event {
    let minute = (seconds / 60.0) as u32;
    Event { time: format!("2026-11-22T18:{:02}:{:06.3}Z", 45 + minute, seconds % 60.0), run: RUN.into(), kind }
}

fn step(host: &str, number: usize, kind: &str, name: &str, status: Status) -> StepEvent {
    StepEvent {
        host: host.into(),
        step: number,
        kind: kind.into(),
        name: name.into(),
        status,
        changes: Vec::new(),
        seconds: 0.2,
        error: None,
        note: None,
        id: None,
        verdict: None,
    }
}

fn change(summary: &str, before: &str, after: &str) -> ChangeShown {
    ChangeShown { summary: summary.into(), before: before.into(), after: after.into(), ..ChangeShown::default() }
}

fn finished(host: &str, counts: [usize; 5], commands: u64, round_trips: u64, seconds: f64) -> EventKind {
    let [ok, changed, failed, skipped, reboots] = counts;
    EventKind::HostFinished(HostResult {
        host: host.into(),
        ok,
        changed,
        failed,
        skipped,
        by_hand: 0,
        reboots,
        commands,
        round_trips,
        seconds,
    })
}

/// Two hosts: one changes and reboots, the other fails at an upload; a third is never reached.
fn story() -> Vec<Event> {
    let hosts = ["esx1", "esx2", "esx-lab-3"].map(String::from).to_vec();
    let mut setting = step("esx1", 1, "setting", "Net.FollowHardwareMac", Status::Changed);
    setting.changes = vec![change("Net.FollowHardwareMac", "0", "1")];
    let mut module = step("esx1", 2, "module", "Leave the disk to the old driver", Status::Changed);
    module.changes =
        vec![change("module vmw_ahci", "enabled", "disabled"), change("module vmkusb", "enabled", "disabled")];
    module.note = Some("waits for the reboot".into());
    module.seconds = 1.84;
    let mut motd = step("esx1", 3, "file", "/etc/motd", Status::Changed);
    motd.changes = vec![change("/etc/motd", "Welcome\nto ESXi\n", "Welcome\nto the lab\n")];
    let mut vmotion = step("esx1", 4, "vmotion", "vmk1 carries vMotion", Status::Skipped);
    vmotion.note = Some("when: vmk1 is defined".into());
    let mut vib = step("esx2", 2, "vib", "esx-ui 1.43.8", Status::Failed);
    vib.error =
        Some("uploading esx-ui.vib to esx2: no space left on /tmp\nFree 12 MiB there, or set `stage_on`.".into());
    vib.seconds = 4.25;
    vec![
        at(0.0, EventKind::RunStarted { playbook: "Nested lab".into(), mode: "apply".into(), hosts, steps: 4 }),
        at(0.1, EventKind::HostConnecting { host: "esx1".into(), address: "192.0.2.11:22".into() }),
        at(0.1, EventKind::HostConnecting { host: "esx2".into(), address: "192.0.2.12:22".into() }),
        at(0.4, EventKind::HostConnected { host: "esx1".into(), version: "6.5.0".into(), build: 4564106 }),
        at(0.5, EventKind::HostConnected { host: "esx2".into(), version: "6.5.0".into(), build: 4564106 }),
        at(
            0.6,
            EventKind::Phase { host: "esx1".into(), doing: "reading 14 outputs".into(), position: None, length: None },
        ),
        at(1.0, EventKind::Step(setting)),
        at(2.9, EventKind::Step(module)),
        at(3.1, EventKind::Step(step("esx2", 1, "setting", "Net.FollowHardwareMac", Status::Ok))),
        at(3.2, EventKind::Step(motd)),
        at(3.3, EventKind::Step(vmotion)),
        at(7.4, EventKind::Step(vib)),
        at(7.5, finished("esx2", [1, 0, 1, 0, 0], 9, 4, 7.4)),
        at(
            8.0,
            EventKind::HostRebooting {
                host: "esx1".into(),
                reasons: vec!["module vmw_ahci".into(), "module vmkusb".into()],
            },
        ),
        at(
            9.0,
            EventKind::HostFailed {
                host: "esx-lab-3".into(),
                error: "connecting to 192.0.2.13:22: timed out after 10 s\nIs the host on, and is SSH enabled?".into(),
                unreachable: true,
            },
        ),
        at(98.0, EventKind::HostBack { host: "esx1".into(), seconds: 90.0 }),
        at(98.5, EventKind::Note { host: Some("esx1".into()), text: "state saved to the boot bank".into() }),
        at(99.0, finished("esx1", [0, 3, 0, 1, 1], 21, 6, 98.9)),
        at(99.1, EventKind::RunFinished { hosts: 3, ok: 1, changed: 3, failed: 1, unreachable: 1, seconds: 99.1 }),
    ]
}

fn human(events: &[Event], options: &ReportOptions) -> String {
    let shared = Shared::default();
    let mut human = Human::new(shared.clone(), options);
    events.iter().for_each(|e| human.event(e));
    human.finish().unwrap();
    shared.text()
}

fn junit(events: &[Event]) -> String {
    let shared = Shared::default();
    let mut junit = Junit::new(Sink::Memory(shared.clone()));
    events.iter().for_each(|e| junit.event(e));
    junit.finish().unwrap();
    shared.text()
}

fn html(events: &[Event]) -> String {
    let shared = Shared::default();
    let mut html = Html::new(Sink::Memory(shared.clone()));
    events.iter().for_each(|e| html.event(e));
    html.finish().unwrap();
    shared.text()
}

#[test]
fn plain_lines_of_a_run() {
    let expected = "\
apply Nested lab: 4 steps, 3 hosts, run 20261122-184501-7f3a
esx1       connected    ESXi 6.5.0 build 4564106
esx2       connected    ESXi 6.5.0 build 4564106
esx1       changed      setting    Net.FollowHardwareMac (0 → 1)
esx1       changed      module     Leave the disk to the old driver (2 changes) - waits for the reboot [1.8 s]
esx2       ok           setting    Net.FollowHardwareMac
esx1       changed      file       /etc/motd
esx1       skipped      vmotion    vmk1 carries vMotion - when: vmk1 is defined
esx2       failed       vib        esx-ui 1.43.8 [4.2 s]
    uploading esx-ui.vib to esx2: no space left on /tmp
    Free 12 MiB there, or set `stage_on`.
esx2       done         in 7.4 s
esx1       rebooting    for module vmw_ahci, module vmkusb
esx-lab-3  unreachable  connecting to 192.0.2.13:22: timed out after 10 s
    Is the host on, and is SSH enabled?
esx1       back         after 90.0 s
esx1       note         state saved to the boot bank
esx1       done         in 98.9 s

┌────────────────────────────────────────────────────────────────────────────────────────────────────────┐
│ host                      ok   changed   failed   skipped   reboots   commands   round trips   seconds │
╞════════════════════════════════════════════════════════════════════════════════════════════════════════╡
│ esx1                       0         3        0         1         1         21             6      98.9 │
│ esx2                       1         0        1         0         0          9             4       7.4 │
│ esx-lab-3 (unreachable)    0         0        0         0         0          0             0       0.0 │
│ total                      1         3        1         1         1         30            10      99.1 │
└────────────────────────────────────────────────────────────────────────────────────────────────────────┘

What failed:
  esx2  step 2, vib, esx-ui 1.43.8: uploading esx-ui.vib to esx2: no space left on /tmp
  esx-lab-3  not reached: connecting to 192.0.2.13:22: timed out after 10 s

1 step failed, 1 host not reached or lost in 99.1 s: 2 of 3 hosts need attention. \
Mend the cause, then go on with `esxprep apply ... --resume 20261122-184501-7f3a`.
Journal: esxprep log 20261122-184501-7f3a
";
    assert_eq!(human(&story(), &ReportOptions::plain()), expected);
}

#[test]
fn diff_shows_values_below_the_line() {
    let text = human(&story(), &ReportOptions { diff: true, ..ReportOptions::plain() });
    let expected = "\
esx1       changed      setting    Net.FollowHardwareMac
    Net.FollowHardwareMac: 0 → 1
esx1       changed      module     Leave the disk to the old driver - waits for the reboot [1.8 s]
    module vmw_ahci: enabled → disabled
    module vmkusb: enabled → disabled
esx2       ok           setting    Net.FollowHardwareMac
esx1       changed      file       /etc/motd
    /etc/motd:
      @@ -1,2 +1,2 @@
       Welcome
      -to ESXi
      +to the lab
esx1       skipped      vmotion    vmk1 carries vMotion - when: vmk1 is defined
";
    assert!(text.contains(expected), "{text}");
}

/// A run of one host and one step.
fn small(mode: &str, status: Status, changes: Vec<ChangeShown>) -> Vec<Event> {
    let counts = match status {
        Status::Ok => [1, 0, 0, 0, 0],
        _ => [0, 1, 0, 0, 0],
    };
    let step = StepEvent { changes, ..step("esx1", 1, "setting", "Follow the hardware", status) };
    let hosts = vec!["esx1".to_owned()];
    vec![
        at(0.0, EventKind::RunStarted { playbook: "Small".into(), mode: mode.into(), hosts, steps: 1 }),
        at(0.5, EventKind::Step(step)),
        at(1.0, finished("esx1", counts, 3, 2, 1.0)),
        at(
            1.0,
            EventKind::RunFinished {
                hosts: 1,
                ok: counts[0],
                changed: counts[1],
                failed: 0,
                unreachable: 0,
                seconds: 1.0,
            },
        ),
    ]
}

#[test]
fn the_last_sentence_says_what_happened_and_what_is_next() {
    let plain = ReportOptions::plain();
    let mac = || vec![change("Net.FollowHardwareMac", "", "1")];
    let check = human(&small("check", Status::WouldChange, mac()), &ReportOptions { check: true, ..plain });
    assert!(
        check.contains("esx1  would-change  setting    Follow the hardware: Net.FollowHardwareMac (none → 1)\n"),
        "{check}"
    );
    assert!(check.contains("would change   failed"), "{check}");
    assert!(check.contains("\n1 of 1 host differs: 1 step would change. `esxprep apply` without `--check`"), "{check}");

    let nothing = human(&small("apply", Status::Ok, vec![]), &plain);
    assert!(nothing.contains("\nNothing to do: the host matches already (1 step ok in 1.0 s).\n"), "{nothing}");
    assert!(!nothing.contains("│ total"), "one host needs no total");

    let changed = human(&small("apply", Status::Changed, mac()), &plain);
    assert!(changed.contains("\nNow the host matches: 1 step changed, 0 were right already in 1.0 s.\n"), "{changed}");

    let broken_off = human(&story()[..8], &plain);
    assert!(broken_off.contains("│ esx1 (not finished)         0         2 "), "{broken_off}");
    let sentence =
        "\nThe run broke off: 0 of 3 hosts finished. Go on with `esxprep apply ... --resume 20261122-184501-7f3a`.";
    assert!(broken_off.contains(sentence), "{broken_off}");
}

#[test]
fn nothing_from_a_host_steers_the_terminal() {
    let evil = "x\x1b]0;owned\x07\u{9b}2J\ry";
    let mut step = step(evil, 1, evil, evil, Status::Failed);
    step.changes = vec![change(evil, evil, &format!("{evil}\n{evil}"))];
    step.error = Some(format!("{evil}\n{evil}"));
    step.note = Some(evil.into());
    let mut events = story();
    events.insert(6, at(0.7, EventKind::Step(step)));
    events.insert(6, at(0.7, EventKind::Note { host: None, text: evil.into() }));
    events.insert(6, at(0.7, EventKind::HostFailed { host: evil.into(), error: evil.into(), unreachable: false }));
    events.insert(6, at(0.7, EventKind::HostConnected { host: evil.into(), version: evil.into(), build: 1 }));
    for diff in [false, true] {
        let text = human(&events, &ReportOptions { diff, ..ReportOptions::plain() });
        let bad: Vec<_> = text.chars().filter(|c| c.is_control() && *c != '\n').collect();
        assert!(bad.is_empty(), "{bad:?}");
        assert!(text.contains("x\\x1b]0;owned\\x07\\x9b2J\\x0dy"), "{text}");
    }
    // JSON may go to a terminal too; its reader still gets the very characters.
    let json = json(&events);
    assert!(!json.chars().any(|c| c.is_control() && c != '\n'));
    let back: Event = serde_json::from_str(json.lines().nth(6).unwrap()).unwrap();
    assert_eq!(back, events[6]);
}

#[test]
fn colours_only_where_wanted() {
    let plain = human(&story(), &ReportOptions::plain());
    let coloured = human(&story(), &ReportOptions { color: true, diff: false, ..ReportOptions::plain() });
    assert!(!plain.contains('\x1b'));
    assert!(coloured.contains("esx1       \x1b[33mchanged\x1b[0m      setting"), "{coloured:?}");
    assert_eq!(console::strip_ansi_codes(&coloured), plain);
}

fn json(events: &[Event]) -> String {
    let shared = Shared::default();
    let mut json = Json::new(shared.clone());
    events.iter().for_each(|e| json.event(e));
    json.finish().unwrap();
    shared.text()
}

#[test]
fn json_lines_come_back_and_keep_the_order_of_their_keys() {
    let text = json(&story());
    let back: Vec<Event> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(back, story());
    let kinds = [
        "run_started",
        "host_connecting",
        "host_connected",
        "phase",
        "step",
        "host_finished",
        "host_rebooting",
        "host_failed",
        "host_back",
        "note",
        "run_finished",
    ];
    for kind in kinds {
        let start = format!("{{\"event\":\"{kind}\",\"time\":\"2026-11-22T18:4");
        let line = text.lines().find(|l| l.starts_with(&start)).unwrap_or_else(|| panic!("no {kind} in {text}"));
        let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
        assert_eq!(value.keys().take(3).collect::<Vec<_>>(), ["event", "time", "run"]);
    }
    assert!(text.contains(
        "\"run\":\"20261122-184501-7f3a\",\"host\":\"esx1\",\"step\":1,\"kind\":\"setting\",\
         \"name\":\"Net.FollowHardwareMac\",\"status\":\"changed\",\
         \"changes\":[{\"summary\":\"Net.FollowHardwareMac\",\"before\":\"0\",\"after\":\"1\"}],\"seconds\":0.2}\n"
    ));
}

/// A writer that fails at once.
struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
    for (kind, quiet) in [(io::ErrorKind::BrokenPipe, true), (io::ErrorKind::StorageFull, false)] {
        let reporters: [Box<dyn Reporter>; 2] =
            [Box::new(Json::new(Broken(kind))), Box::new(Human::new(Broken(kind), &ReportOptions::plain()))];
        for mut reporter in reporters {
            story().iter().for_each(|e| reporter.event(e));
            assert_eq!(reporter.finish().is_ok(), quiet);
        }
    }
}

#[test]
fn junit_reads_back() {
    use quick_xml::events::Event as Xml;
    let mut events = story();
    if let EventKind::Step(step) = &mut events[11].kind {
        step.error = Some("esxcli said \u{1b}[31m<no> & \u{0}\"never\" ]]>".into());
    }
    let text = junit(&events);
    let mut reader = quick_xml::Reader::from_str(&text);
    reader.config_mut().trim_text(true);
    let (mut suites, mut cases, mut found, mut failure) = (Vec::new(), 0, Vec::new(), None);
    loop {
        match reader.read_event().unwrap() {
            Xml::Start(e) | Xml::Empty(e) => {
                let attribute = |name: &str| {
                    let value = e.try_get_attribute(name).unwrap()?;
                    Some(quick_xml::escape::unescape(&value.value).unwrap().into_owned())
                };
                let number = |name| attribute(name).unwrap().parse::<usize>().unwrap();
                match e.name().as_ref() {
                    "testsuites" => assert_eq!((number("tests"), number("failures"), number("errors")), (7, 1, 1)),
                    "testsuite" => suites.push((
                        attribute("name").unwrap(),
                        [number("tests"), number("failures"), number("errors"), number("skipped")],
                    )),
                    "testcase" => cases += 1,
                    "failure" => {
                        failure = attribute("message");
                        found.push("failure".to_owned());
                    }
                    name @ ("error" | "skipped") => found.push(name.to_owned()),
                    _ => {}
                }
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    let expected = [("esx1", [4, 0, 0, 1]), ("esx2", [2, 1, 0, 0]), ("esx-lab-3", [1, 0, 1, 0])];
    assert_eq!(suites, expected.map(|(n, c)| (n.to_owned(), c)));
    assert_eq!(cases, 7);
    assert_eq!(found, ["skipped", "failure", "error"]);
    assert_eq!(failure.unwrap(), "esxcli said [31m<no> & \"never\" ]]>");
    assert!(text.contains("<system-out>Net.FollowHardwareMac: 0 → 1\n</system-out>"), "{text}");
}

#[test]
fn junit_calls_drift_a_failure_only_when_it_was_asked_to_verify() {
    let changes = || vec![change("Net.FollowHardwareMac", "0", "1")];
    let verify = junit(&small("verify", Status::WouldChange, changes()));
    assert!(verify.contains("failures=\"1\""), "{verify}");
    assert!(verify.contains("<failure type=\"drift\" message=\"does not match the playbook\">Net.Follow"), "{verify}");
    let check = junit(&small("check", Status::WouldChange, changes()));
    assert!(check.contains("failures=\"0\"") && !check.contains("<failure"), "{check}");
}

#[test]
fn html_escapes_what_a_host_says_and_needs_nothing_from_outside() {
    let mut events = story();
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=y>";
    if let EventKind::Step(step) = &mut events[11].kind {
        step.error = Some(evil.into());
        step.name = evil.into();
        step.changes = vec![change(evil, evil, "a\n<b>")];
    }
    let page = html(&events);
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<b>\n"), "not escaped");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;"), "{page}");
    assert_eq!(page.matches("<script>").count(), 1, "only its own");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("url("));
    assert!(page.contains("prefers-color-scheme: dark"));
    assert!(page.contains("<p class=\"headline failed\">2 of 3 hosts need attention</p>"));
    // The reboot takes 90 of 99.1 seconds, from the eighth on.
    assert!(page.contains("<i class=\"reboot\" style=\"left:8.073%;width:90.817%\""), "{page}");
    assert!(page.contains("title=\"reboot for module vmw_ahci, module vmkusb: 90.0 s\""), "{page}");
    assert!(page.contains("<tr class=\"skipped\" data-status=\"skipped\">"));
}

#[test]
fn bars_stay_few_and_count_steps() {
    let options = ReportOptions::plain();
    let mut bars = bars::Bars::on(indicatif::ProgressDrawTarget::hidden(), &options);
    let hosts: Vec<String> = (0..200).map(|n| format!("esx{n}")).collect();
    bars.event(&at(
        0.0,
        EventKind::RunStarted { playbook: "p".into(), mode: "apply".into(), hosts: hosts.clone(), steps: 2 },
    ));
    for host in &hosts[..20] {
        bars.event(&at(0.0, EventKind::HostConnecting { host: host.clone(), address: "a".into() }));
        // A loop: two events, one step.
        bars.event(&at(0.1, EventKind::Step(step(host, 1, "file", "a", Status::Ok))));
        bars.event(&at(0.1, EventKind::Step(step(host, 1, "file", "b", Status::Ok))));
    }
    bars.tick();
    assert_eq!(bars.state(), (12, 20, "0/200 hosts done  and 8 more running".to_owned()));
    bars.event(&at(1.0, EventKind::HostFailed { host: "esx0".into(), error: "e".into(), unreachable: false }));
    bars.event(&at(1.0, finished("esx0", [1, 0, 0, 0, 0], 1, 1, 1.0)));
    bars.tick();
    assert_eq!(bars.state(), (12, 21, "1/200 hosts done  1 failed  and 7 more running".to_owned()));
}

#[test]
fn at_200_hosts_the_screen_shows_those_in_trouble_and_those_that_run_longest() {
    let mut bars = bars::Bars::on(indicatif::ProgressDrawTarget::hidden(), &ReportOptions::plain());
    let hosts: Vec<String> = (0..200).map(|n| format!("esx{n}")).collect();
    let started = EventKind::RunStarted { playbook: "p".into(), mode: "apply".into(), hosts: hosts.clone(), steps: 2 };
    bars.event(&at(0.0, started));
    for host in &hosts[..60] {
        bars.event(&at(0.0, EventKind::HostConnecting { host: host.clone(), address: "a".into() }));
    }
    for host in &hosts[..5] {
        bars.event(&at(0.5, EventKind::Step(step(host, 1, "file", "a", Status::Changed))));
        bars.event(&at(1.0, finished(host, [1, 1, 0, 0, 0], 1, 1, 1.0)));
    }
    bars.event(&at(1.0, EventKind::Step(step("esx40", 1, "file", "a", Status::Failed))));
    bars.event(&at(1.0, EventKind::Note { host: Some("esx50".into()), text: "x failed; trying again in 1s".into() }));
    bars.event(&at(1.0, EventKind::HostRebooting { host: "esx6".into(), reasons: Vec::new() }));
    let phase =
        |doing: &str| EventKind::Phase { host: "esx7".into(), doing: doing.into(), position: None, length: None };
    bars.event(&at(1.0, phase("waits: 1 host is down")));
    bars.tick();
    let longest: Vec<String> = (5..15).map(|n| format!("esx{n}")).collect();
    assert_eq!(bars.hosts_shown(), [&["esx40".to_owned(), "esx50".to_owned()][..], &longest[..]].concat());
    let line = "5/200 hosts done  5 changed  1 failed  1 rebooting  1 waiting  and 43 more running";
    assert_eq!(bars.state().2, line);
    bars.event(&at(2.0, phase("reading 3 outputs")));
    bars.event(&at(2.0, EventKind::HostBack { host: "esx6".into(), seconds: 1.0 }));
    bars.event(&at(2.0, EventKind::Step(step("esx50", 1, "file", "a", Status::Ok))));
    bars.tick();
    assert_eq!(bars.state().2, "5/200 hosts done  5 changed  1 failed  and 43 more running");
    assert_eq!(bars.hosts_shown()[..2], ["esx40", "esx5"]);
}

#[test]
fn at_200_hosts_each_has_one_line_and_the_table_counts_those_that_are_well() {
    let hosts: Vec<String> = (0..200).map(|n| format!("esx{n}")).collect();
    let started = EventKind::RunStarted { playbook: "p".into(), mode: "apply".into(), hosts: hosts.clone(), steps: 2 };
    let text = |changed: usize| {
        let mut events = vec![at(0.0, started.clone())];
        for (n, host) in hosts.iter().enumerate() {
            events.push(at(0.0, EventKind::HostConnected { host: host.clone(), version: "8.0.3".into(), build: 1 }));
            let (made, bad) = (usize::from(n > 0 && n <= changed), usize::from(n == 0));
            let status = [Status::Ok, Status::Changed, Status::Failed][made + 2 * bad];
            events.push(at(0.5, EventKind::Step(step(host, 1, "file", "a", status))));
            events.push(at(1.0, finished(host, [1 - made - bad, made, bad, 0, 0], 1, 1, 1.0)));
        }
        let end = EventKind::RunFinished { hosts: 200, ok: 0, changed: 0, failed: 1, unreachable: 0, seconds: 2.0 };
        events.push(at(2.0, end));
        human(&events, &ReportOptions::plain())
    };
    let few = text(3);
    // The head, a line a host and one for the failure, before the table.
    let lines = few.lines().take_while(|l| !l.is_empty()).count();
    assert!((202..210).contains(&lines), "{lines}: {few}");
    let row = |text: &str, name: &str| text.lines().any(|l| l.contains('│') && l.contains(&format!(" {name} ")));
    for there in ["esx0", "esx1", "esx3", "196 hosts as they were", "total"] {
        assert!(row(&few, there), "{there}: {few}");
    }
    assert!(!row(&few, "esx4"), "{few}");
    let many = text(100);
    for there in ["esx0", "100 hosts changed", "99 hosts as they were"] {
        assert!(row(&many, there), "{there}: {many}");
    }
    assert!(!row(&many, "esx1"), "{many}");
}

#[test]
fn forms_of_output_are_read() {
    assert_eq!("junit=a/b.xml".parse(), Ok(OutputKind::Junit(Some("a/b.xml".into()))));
    assert_eq!("html".parse(), Ok(OutputKind::Html(None)));
    assert_eq!("human".parse(), Ok(OutputKind::Human));
    assert!("json=x".parse::<OutputKind>().unwrap_err().contains("redirect"));
    assert!("html=".parse::<OutputKind>().is_err());
    assert!("xml".parse::<OutputKind>().unwrap_err().contains("human, json, junit[=FILE], html[=FILE]"));
}

#[test]
fn files_are_proved_before_and_appear_whole() {
    let dir = tempfile::tempdir().unwrap();
    let options = ReportOptions::plain();
    let nowhere = OutputKind::Junit(Some(dir.path().join("none/report.xml")));
    assert!(for_output(nowhere, &options).err().unwrap().to_string().contains("none/report.xml"));
    let twice = [OutputKind::Json, OutputKind::Html(None)];
    assert!(for_outputs(&twice, &options).err().unwrap().to_string().contains("standard output"));

    let path = dir.path().join("report.html");
    let mut reporter = for_output(OutputKind::Html(Some(path.clone())), &options).unwrap();
    story().iter().for_each(|e| reporter.event(e));
    assert!(!path.exists());
    reporter.finish().unwrap();
    assert!(std::fs::read_to_string(&path).unwrap().trim_end().ends_with("</html>"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_stored_run_looks_as_it_did_live() {
    use crate::engine::journal::{NewRun, StateDir};
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::at(dir.path());
    let new =
        NewRun { name: "Nested lab".into(), mode: "apply".into(), hosts: vec!["esx1".into()], ..NewRun::default() };
    let mut journal = state.create(&new).unwrap();
    let id = journal.run().to_owned();
    story().iter().for_each(|e| journal.append(std::slice::from_ref(e)).unwrap());
    journal.finish(1).unwrap();
    let plain = ReportOptions::plain();
    assert_eq!(render_run(&state.load("last").unwrap(), &plain), human(&story(), &plain));
    let list = render_list(&state.list().unwrap(), &plain);
    assert!(list.contains(&id) && list.contains("Nested lab") && list.contains(" failed "), "{list}");
    assert_eq!(render_list(&[], &plain), "No run is recorded yet.\n");
}
