//! One page that says what a run did: it carries its style and script in itself, so it can be mailed or kept.

use std::io;
use std::time::SystemTime;

use minijinja::Environment;
use serde::Serialize;

use super::Reporter;
use super::collect::{Collected, HostRecord};
use super::diff::unified;
use super::matrix::Matrix;
use super::sink::Sink;
use super::text::{block, span};
use crate::engine::events::{ChangeShown, Event, HostResult, Status};

/// Narrowest segment of a timeline, percent of its width: below it nobody sees it.
const NARROWEST: f64 = 0.25;

/// Gathers the run and writes the page at its end.
pub struct Html {
    sink: Sink,
    pub(super) run: Collected,
}

#[derive(Serialize)]
struct Page<'a> {
    run: &'a str,
    playbook: &'a str,
    mode: &'a str,
    started: String,
    took: String,
    ended: bool,
    headline: String,
    tone: &'static str,
    total: HostResult,
    total_cells: Vec<Cell>,
    controls: Option<Matrix>,
    hosts: Vec<HostPart>,
    notes: &'a [String],
    version: &'static str,
    ticks: Vec<Tick>,
}

#[derive(Serialize)]
struct HostPart {
    name: String,
    about: String,
    tone: &'static str,
    fate: &'static str,
    error: Option<String>,
    notes: Vec<String>,
    #[serde(skip)]
    result: HostResult,
    cells: Vec<Cell>,
    took: String,
    timeline: Vec<Segment>,
    steps: Vec<StepPart>,
}

/// A number of the table, with its colour.
#[derive(Serialize)]
struct Cell {
    n: u64,
    class: &'static str,
}

#[derive(Serialize)]
struct StepPart {
    number: usize,
    kind: String,
    name: String,
    status: &'static str,
    took: String,
    note: Option<String>,
    error: Option<String>,
    changes: Vec<ChangePart>,
}

#[derive(Serialize)]
struct ChangePart {
    summary: String,
    before: String,
    after: String,
    diff: Vec<DiffLine>,
}

#[derive(Serialize)]
struct DiffLine {
    class: &'static str,
    text: String,
}

/// A part of a host's time, in percent of the run's.
#[derive(Debug, Serialize)]
struct Segment {
    class: &'static str,
    left: f64,
    width: f64,
    title: String,
}

#[derive(Serialize)]
struct Tick {
    left: f64,
    label: String,
}

/// Seconds since the run's start, from the events' times.
struct Clock {
    start: Option<SystemTime>,
    total: f64,
}

impl Html {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, run: Collected::default() }
    }

    fn render(&self) -> io::Result<String> {
        let mut env = Environment::new();
        // The name's ending switches the escaping on: nothing from a host becomes markup.
        env.add_template("report.html", include_str!("report.html")).map_err(io::Error::other)?;
        let template = env.get_template("report.html").map_err(io::Error::other)?;
        let page = template.render(minijinja::value::Serde(self.page())).map_err(io::Error::other)?;
        // Neither a browser nor a terminal that is shown the page may be steered by a name.
        Ok(super::shown(&page, false).into_owned())
    }

    fn page(&self) -> Page<'_> {
        let run = &self.run;
        let clock = Clock::new(run);
        let hosts: Vec<_> = run.hosts.iter().map(|(name, host)| host_part(name, host, &clock)).collect();
        let mut total = HostResult::default();
        for host in &hosts {
            total.ok += host.result.ok;
            total.changed += host.result.changed;
            total.failed += host.result.failed;
            total.skipped += host.result.skipped;
            total.reboots += host.result.reboots;
            total.commands += host.result.commands;
            total.round_trips += host.result.round_trips;
        }
        let controls = Matrix::new(run);
        let bad = hosts.iter().filter(|h| h.tone == "failed").count();
        let (tone, headline) = if hosts.is_empty() {
            ("ok", "No host was selected".to_owned())
        } else if run.seconds.is_none() {
            ("failed", "The run broke off".to_owned())
        } else if bad > 0 {
            ("failed", format!("{bad} of {} need attention", super::text::count(hosts.len(), "host")))
        } else if let Some(controls) = controls.as_ref().filter(|c| c.fails > 0) {
            let verb = if controls.fails == 1 { "fails" } else { "fail" };
            let on = format!("on {} of {}", controls.failing, super::text::count(hosts.len(), "host"));
            ("failed", format!("{} {verb} {on}", super::text::count(controls.fails, "control")))
        } else if let Some(controls) = controls.as_ref().filter(|c| c.unjudged > 0) {
            ("changed", format!("No control fails; {} must be judged by a person", controls.unjudged))
        } else if controls.is_some() {
            ("ok", "No control fails".to_owned())
        } else if run.read_only() && total.changed > 0 {
            ("changed", format!("{} would change", super::text::count(total.changed, "step")))
        } else if total.changed > 0 {
            ("changed", format!("All hosts match: {} changed", super::text::count(total.changed, "step")))
        } else {
            ("ok", "All hosts matched already".to_owned())
        };
        Page {
            run: &run.run,
            playbook: &run.playbook,
            mode: &run.mode,
            started: run.started.split('.').next().unwrap_or_default().replace('T', " "),
            took: span(clock.total),
            ended: run.seconds.is_some(),
            headline,
            tone,
            controls,
            total_cells: cells(&total),
            total,
            hosts,
            notes: &run.notes,
            version: env!("CARGO_PKG_VERSION"),
            ticks: clock.ticks(),
        }
    }
}

impl Reporter for Html {
    fn event(&mut self, event: &Event) {
        self.run.event(event);
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.write(&self.render()?)
    }
}

fn host_part(name: &str, host: &HostRecord, clock: &Clock) -> HostPart {
    let result = host.result(name);
    let fate = match &host.error {
        Some(e) if e.unreachable => "unreachable",
        Some(_) => "lost",
        None if host.result.is_none() => "not finished",
        None if result.failed > 0 => "failed",
        None => "",
    };
    let tone = match () {
        () if !fate.is_empty() => "failed",
        () if result.changed > 0 => "changed",
        () => "ok",
    };
    let mut about = host.version.as_ref().map(|v| format!("ESXi {v} build {}", host.build)).unwrap_or_default();
    if let Some(address) = &host.address {
        about = if about.is_empty() { address.clone() } else { format!("{about} · {address}") };
    }
    HostPart {
        name: name.to_owned(),
        about,
        tone,
        fate,
        error: host.error.as_ref().map(|e| block(&e.text).into_owned()),
        notes: host.notes.iter().map(|n| block(n).into_owned()).collect(),
        took: span(result.seconds),
        cells: cells(&result),
        result,
        timeline: timeline(host, clock),
        steps: host
            .steps
            .iter()
            .map(|(_, step)| StepPart {
                number: step.step,
                kind: step.kind.clone(),
                name: block(&step.name).into_owned(),
                status: status_class(step.status),
                took: if step.seconds < 0.05 { String::new() } else { span(step.seconds) },
                note: step.note.as_deref().map(|n| block(n).into_owned()),
                error: step.error.as_deref().map(|e| block(e).into_owned()),
                changes: step.changes.iter().map(change_part).collect(),
            })
            .collect(),
    }
}

/// The counts in the order of the table's columns.
fn cells(r: &HostResult) -> Vec<Cell> {
    let cell = |n: u64, class: &'static str| Cell { n, class: if n == 0 { "zero" } else { class } };
    vec![
        cell(r.ok as u64, ""),
        cell(r.changed as u64, "hit changed"),
        cell(r.failed as u64, "hit failed"),
        cell(r.skipped as u64, ""),
        cell(r.reboots as u64, ""),
        cell(r.commands, ""),
        cell(r.round_trips, ""),
    ]
}

fn change_part(change: &ChangeShown) -> ChangePart {
    let (before, after) = (block(&change.before), block(&change.after));
    let several = before.contains('\n') || after.contains('\n');
    let diff = if several { unified(&before, &after) } else { Vec::new() };
    let line = |text: String| {
        let class = match text.as_bytes().first() {
            Some(b'-') => "gone",
            Some(b'+') => "new",
            Some(b'@') => "at",
            _ => "",
        };
        DiffLine { class, text }
    };
    ChangePart {
        summary: block(&change.summary).into_owned(),
        before: before.into_owned(),
        after: after.into_owned(),
        diff: diff.into_iter().map(line).collect(),
    }
}

/// Steps and reboots as parts of the run's time. A step is drawn up to the moment at which it ended.
fn timeline(host: &HostRecord, clock: &Clock) -> Vec<Segment> {
    let mut segments = Vec::new();
    for reboot in &host.reboots {
        let Some(from) = clock.at(&reboot.from) else { continue };
        let to = match (&reboot.to, reboot.seconds) {
            (Some(to), _) => clock.at(to).unwrap_or(from),
            (None, Some(seconds)) => from + seconds,
            // It never came back.
            (None, None) => clock.total,
        };
        let end = if reboot.to.is_some() { "" } else { ", not back" };
        let why = if reboot.reasons.is_empty() { String::new() } else { format!(" for {}", reboot.reasons.join(", ")) };
        let title = format!("reboot{why}: {}{end}", span((to - from).max(0.0)));
        segments.extend(clock.segment("reboot", from, to, title));
    }
    for (ended, step) in &host.steps {
        let Some(to) = clock.at(ended) else { continue };
        let title = format!(
            "{}. {} {}: {}, {}",
            step.step,
            step.kind,
            step.name,
            status_class(step.status).replace('_', " "),
            span(step.seconds)
        );
        segments.extend(clock.segment(status_class(step.status), to - step.seconds, to, block(&title).into_owned()));
    }
    segments
}

fn status_class(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Changed => "changed",
        Status::WouldChange => "would_change",
        Status::Skipped => "skipped",
        Status::Failed => "failed",
    }
}

impl Clock {
    fn new(run: &Collected) -> Self {
        let start = humantime::parse_rfc3339(&run.started).ok();
        let mut clock = Self { start, total: 0.0 };
        clock.total = run.seconds.unwrap_or(0.0).max(clock.at(&run.last).unwrap_or(0.0));
        clock
    }

    /// Seconds from the run's start to this time.
    fn at(&self, time: &str) -> Option<f64> {
        let time = humantime::parse_rfc3339(time).ok()?;
        Some(time.duration_since(self.start?).map_or(0.0, |d| d.as_secs_f64()))
    }

    fn segment(&self, class: &'static str, from: f64, to: f64, title: String) -> Option<Segment> {
        if self.total <= 0.0 || !from.is_finite() || !to.is_finite() {
            return None;
        }
        let percent = |seconds: f64| (seconds / self.total * 100.0).clamp(0.0, 100.0);
        let (left, right) = (percent(from), percent(to));
        let width = (right - left).max(NARROWEST);
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        Some(Segment { class, left: round(left.min(100.0 - width)), width: round(width), title })
    }

    /// Four marks with round times or nearly so.
    fn ticks(&self) -> Vec<Tick> {
        let rough = self.total / 5.0;
        if !rough.is_finite() || rough <= 0.0 {
            return Vec::new();
        }
        let nice = [0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0];
        let every = nice.into_iter().find(|n| *n >= rough).unwrap_or(rough);
        (0..)
            .map(|n| f64::from(n) * every)
            .take_while(|at| *at < self.total * 0.97)
            .map(|at| Tick { left: (at / self.total * 1e5).round() / 1000.0, label: label(at) })
            .collect()
    }
}

/// A mark's label: `0`, `30 s`, `2 min`.
fn label(seconds: f64) -> String {
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 60.0 => format!("{s} s"),
        s if s % 60.0 == 0.0 => format!("{} min", s / 60.0),
        s => format!("{:.0}:{:02.0} min", (s / 60.0).floor(), s % 60.0),
    }
}
