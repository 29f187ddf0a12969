//! What a lab does, for people and for scripts: lines as they happen, live phases below them on a terminal, and at the
//! end how to reach each host.

use std::io::{self, Write};
use std::time::Instant;

use console::Style;
use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ReportOptions;
use super::lines::Lines;
use super::sink::Stream;
use super::text::{block, count, one_line, span};
use crate::engine::events::EventKind;
use crate::lab::events::{Happening, LabKind, PhaseStatus};

/// Redraws a second at most.
const REDRAWS: u8 = 10;
/// Phases faster than this, in seconds, say no time.
const WORTH_A_TIME: f64 = 0.1;

/// Reads what happens to a lab and shows it somehow.
pub trait LabReporter: Send {
    /// Takes what happens next.
    fn happens(&mut self, what: &Happening);

    /// Moves what moves; called some ten times a second.
    fn tick(&mut self) {}

    /// Nothing more happens. A closed pipe is a quiet end, no error.
    ///
    /// # Errors
    /// What could not be written.
    fn finish(&mut self) -> io::Result<()>;
}

/// The reporter: one JSON object a line, or lines for people.
pub fn lab_reporter(json: bool, options: &ReportOptions) -> Box<dyn LabReporter> {
    if json {
        return Box::new(LabJson { out: Stream::new(io::stdout()) });
    }
    let mut human = LabHuman::new(io::stdout(), options);
    human.live = options.terminal.then(|| Live::on(ProgressDrawTarget::stderr_with_hz(REDRAWS), options.color));
    Box::new(human)
}

/// One event a line.
struct LabJson<W> {
    out: Stream<W>,
}

impl<W: Write + Send> LabReporter for LabJson<W> {
    fn happens(&mut self, what: &Happening) {
        // Strings and numbers only: an event always has its JSON.
        if let Ok(line) = what.to_line() {
            self.out.put(&(super::json_shown(&line).into_owned() + "\n"));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.finish()
    }
}

/// Lines for people.
pub(super) struct LabHuman<W> {
    out: Stream<W>,
    lines: Lines,
    live: Option<Live>,
    ready: Vec<String>,
    lab: String,
}

impl<W: Write + Send> LabHuman<W> {
    pub(super) fn new(out: W, options: &ReportOptions) -> Self {
        Self { out: Stream::new(out), lines: Lines::new(options), live: None, ready: Vec::new(), lab: String::new() }
    }

    fn put(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = &*super::shown(text, self.lines.colored());
        match &self.live {
            Some(live) => live.multi.suspend(|| self.out.put(text)),
            None => self.out.put(text),
        }
    }

    fn lab_line(&mut self, kind: &LabKind) -> String {
        match kind {
            LabKind::LabStarted { lab, action, hosts, folder } => {
                self.lab = one_line(lab).into_owned();
                self.lines.columns(hosts);
                let title = self.lines.bold(&format!("{} {}", one_line(action), one_line(lab)));
                format!("{title}: {}, in {}\n", count(hosts.len(), "host"), one_line(folder))
            }
            LabKind::LabPhase { host, phase, status, seconds, usual, detail } => {
                let host = host.as_deref().unwrap_or("-");
                let (word, style) = match status {
                    // A phase that begins is on the live lines; without them it says so, since it may take minutes.
                    PhaseStatus::Started if self.live.is_some() => return String::new(),
                    PhaseStatus::Started => ("begins", Style::new().dim()),
                    PhaseStatus::Done => ("done", Style::new().green()),
                    PhaseStatus::Kept => ("kept", Style::new().green().dim()),
                    PhaseStatus::Failed => ("failed", Style::new().red().bold()),
                };
                let mut text = one_line(phase).into_owned();
                let usually = usual.filter(|u| *u >= WORTH_A_TIME).map(|u| format!("usually {}", span(u)));
                let took = seconds.filter(|s| *s >= WORTH_A_TIME).map(span);
                match (took, usually) {
                    (Some(took), Some(usually)) => text.push_str(&format!(" in {took} ({usually})")),
                    (Some(took), None) => text.push_str(&format!(" in {took}")),
                    (None, Some(usually)) => text.push_str(&format!(" ({usually})")),
                    (None, None) => {}
                }
                let detail = detail.as_deref().map(block).unwrap_or_default();
                let mut more = detail.lines();
                if *status != PhaseStatus::Failed
                    && let Some(first) = more.next()
                {
                    text.push_str(&format!(": {first}"));
                }
                let mut out = self.lines.line(host, word, style, &text);
                more.for_each(|l| out.push_str(&super::lines::indented(l)));
                out
            }
            LabKind::LabNote { host, text } => {
                let text = block(text);
                let mut more = text.lines();
                let first = more.next().unwrap_or_default();
                let mut out = self.lines.line(host.as_deref().unwrap_or("-"), "note", Style::new().cyan(), first);
                more.for_each(|l| out.push_str(&super::lines::indented(l)));
                out
            }
            LabKind::LabHostReady { host, address, port, https, mac, stage } => {
                let https = https.as_deref().map(|u| format!(", {}", one_line(u))).unwrap_or_default();
                self.ready.push(format!(
                    "  {}: esxprep lab ssh {} {}   (root@{} port {port}{https})\n",
                    one_line(host),
                    one_line(host),
                    self.lab,
                    one_line(address),
                ));
                self.lines.line(
                    host,
                    "ready",
                    Style::new().green().bold(),
                    &format!("on {}, MAC {}", one_line(stage), one_line(mac)),
                )
            }
            LabKind::LabHostFailed { host, error } => {
                let text = block(error);
                let mut more = text.lines();
                let first = more.next().unwrap_or_default();
                let mut out = self.lines.line(host, "failed", Style::new().red().bold(), first);
                more.for_each(|l| out.push_str(&super::lines::indented(l)));
                out
            }
            LabKind::LabFinished { lab, action, ready, failed, seconds } => {
                let mut out = String::new();
                if !self.ready.is_empty() {
                    out.push_str(&format!("\n{}\n", self.lines.bold("How to reach them:")));
                    self.ready.drain(..).for_each(|line| out.push_str(&line));
                }
                let hosts = match failed {
                    0 => count(*ready, "host"),
                    n => format!("{} ready, {n} failed", count(*ready, "host")),
                };
                out.push_str(&format!("{} {}: {hosts}, {}.\n", one_line(action), one_line(lab), span(*seconds)));
                out
            }
        }
    }
}

impl<W: Write + Send> LabReporter for LabHuman<W> {
    fn happens(&mut self, what: &Happening) {
        if let Some(live) = &mut self.live {
            live.happens(what);
        }
        let text = match what {
            Happening::Lab(event) => self.lab_line(&event.kind),
            // The lab says itself which playbook it applies.
            Happening::Playbook(event) if matches!(event.kind, EventKind::RunStarted { .. }) => String::new(),
            Happening::Playbook(event) => self.lines.event(event),
        };
        self.put(&text);
    }

    fn tick(&mut self) {
        if let Some(live) = &mut self.live {
            live.tick();
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        if let Some(live) = self.live.take() {
            live.clear();
        }
        self.out.finish()
    }
}

/// One line for each host that something is done for, below the others.
struct Live {
    multi: MultiProgress,
    color: bool,
    running: IndexMap<String, Doing>,
}

struct Doing {
    bar: ProgressBar,
    phase: String,
    detail: String,
    usual: Option<f64>,
    since: Instant,
}

impl Live {
    fn on(target: ProgressDrawTarget, color: bool) -> Self {
        Self { multi: MultiProgress::with_draw_target(target), color, running: IndexMap::new() }
    }

    fn happens(&mut self, what: &Happening) {
        match what {
            Happening::Lab(event) => match &event.kind {
                LabKind::LabPhase { host, phase, status, usual, .. } => {
                    let host = host.as_deref().unwrap_or("-");
                    match status {
                        PhaseStatus::Started => self.begin(host, phase, *usual),
                        _ => self.end(host),
                    }
                }
                LabKind::LabHostReady { host, .. } | LabKind::LabHostFailed { host, .. } => self.end(host),
                _ => {}
            },
            Happening::Playbook(event) => {
                let Some(doing) = what.host().and_then(|h| self.running.get_mut(h)) else { return };
                match &event.kind {
                    EventKind::Phase { doing: text, .. } => doing.detail = one_line(text).into_owned(),
                    EventKind::Step(step) => doing.detail = one_line(&step.name).into_owned(),
                    EventKind::HostRebooting { .. } => doing.detail = "rebooting".into(),
                    _ => {}
                }
            }
        }
    }

    fn begin(&mut self, host: &str, phase: &str, usual: Option<f64>) {
        self.end(host);
        let bar = self.multi.add(ProgressBar::new_spinner());
        let template =
            if self.color { "{spinner:.cyan} {prefix:.bold}  {wide_msg}" } else { "{spinner} {prefix}  {wide_msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
        }
        bar.set_prefix(one_line(host).into_owned());
        let phase = one_line(phase).into_owned();
        self.running.insert(host.to_owned(), Doing { bar, phase, detail: String::new(), usual, since: Instant::now() });
    }

    fn end(&mut self, host: &str) {
        if let Some(doing) = self.running.shift_remove(host) {
            doing.bar.finish_and_clear();
            self.multi.remove(&doing.bar);
        }
    }

    fn tick(&mut self) {
        for doing in self.running.values() {
            let usual = doing.usual.map(|u| format!(", usually {}", span(u))).unwrap_or_default();
            let detail = if doing.detail.is_empty() { String::new() } else { format!("  {}", doing.detail) };
            let since = span(doing.since.elapsed().as_secs_f64());
            doing.bar.set_message(format!("{}  {since}{usual}{detail}", doing.phase));
            doing.bar.tick();
        }
    }

    fn clear(self) {
        self.running.values().for_each(|doing| doing.bar.finish_and_clear());
        // Fails only where the terminal is gone.
        let _ = self.multi.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::events::LabEvent;

    fn shown(kinds: &[LabKind]) -> String {
        let mut out = Vec::new();
        let mut human = LabHuman::new(&mut out, &ReportOptions::plain());
        for kind in kinds {
            human.happens(&Happening::Lab(LabEvent { time: String::new(), run: "r".into(), kind: kind.clone() }));
        }
        human.finish().unwrap();
        drop(human);
        String::from_utf8(out).unwrap()
    }

    fn phase(host: Option<&str>, status: PhaseStatus, detail: Option<&str>) -> LabKind {
        LabKind::LabPhase {
            host: host.map(str::to_owned),
            phase: "install".into(),
            status,
            seconds: (status != PhaseStatus::Started).then_some(62.04),
            usual: Some(60.0),
            detail: detail.map(str::to_owned),
        }
    }

    #[test]
    fn phases_have_their_time_and_the_usual_one() {
        let text = shown(&[
            LabKind::LabStarted {
                lab: "two".into(),
                action: "up".into(),
                hosts: vec!["esx1".into(), "a-long-name".into()],
                folder: "/x".into(),
            },
            phase(Some("esx1"), PhaseStatus::Started, None),
            phase(Some("esx1"), PhaseStatus::Done, Some("from the cache\nsecond line")),
            phase(None, PhaseStatus::Failed, Some("the reason\nis long \u{1b}[2J")),
        ]);
        assert_eq!(
            text,
            "up two: 2 hosts, in /x\n\
             esx1         begins       install (usually 60.0 s)\n\
             esx1         done         install in 62.0 s (usually 60.0 s): from the cache\n    second line\n\
             -            failed       install in 62.0 s (usually 60.0 s)\n    the reason\n    is long \\x1b[2J\n"
        );
    }

    #[test]
    fn the_end_says_how_to_reach_each_host() {
        let ready = LabKind::LabHostReady {
            host: "esx1".into(),
            address: "127.0.0.1".into(),
            port: 2201,
            https: Some("https://127.0.0.1:8443/".into()),
            mac: "52:54:00:00:00:01".into(),
            stage: "run".into(),
        };
        let end =
            |failed| LabKind::LabFinished { lab: "two".into(), action: "up".into(), ready: 1, failed, seconds: 3.0 };
        let start = LabKind::LabStarted { lab: "two".into(), action: "up".into(), hosts: vec![], folder: "/x".into() };
        let text = shown(&[start, ready, end(1)]);
        assert!(
            text.contains("esx1: esxprep lab ssh esx1 two   (root@127.0.0.1 port 2201, https://127.0.0.1:8443/)"),
            "{text}"
        );
        assert!(text.ends_with("up two: 1 host ready, 1 failed, 3.0 s.\n"), "{text}");
        assert!(shown(&[end(0)]).ends_with("up two: 1 host, 3.0 s.\n"));
    }
}
