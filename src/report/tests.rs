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
    }
}

fn change(summary: &str, before: &str, after: &str) -> ChangeShown {
    ChangeShown { summary: summary.into(), before: before.into(), after: after.into() }
}

fn finished(host: &str, counts: [usize; 5], commands: u64, round_trips: u64, seconds: f64) -> EventKind {
    let [ok, changed, failed, skipped, reboots] = counts;
    EventKind::HostFinished(HostResult {
        host: host.into(),
        ok,
        changed,
        failed,
        skipped,
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

#[test]
fn show() {
    println!("{}", human(&story(), &ReportOptions::plain()));
    println!("{}", human(&story(), &ReportOptions { diff: true, ..ReportOptions::plain() }));
    std::fs::write("/tmp/sample.html", html(&story())).unwrap();
    std::fs::write("/tmp/sample.xml", junit(&story())).unwrap();
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
