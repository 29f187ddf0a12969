//! Live progress on a terminal: one bar for the run and one line for each host that is being worked on, never more
//! lines than fit a screen. No thread of its own: [`super::Reporter::tick`] moves it. With 200 hosts a bar and a
//! ticking thread each would cost a core's fifth; this costs a few lines ten times a second.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ReportOptions;
use super::text::{count, one_line};
use crate::engine::events::{Event, EventKind, Status};

/// Most host lines at a time; the total line counts the others.
const MOST_HOSTS: usize = 12;
/// Lines of the terminal that are left to the total line and to what was written before.
const OTHER_LINES: usize = 4;
/// Redraws a second at most.
const REDRAWS: u8 = 10;

/// The bars of a run.
pub(super) struct Bars {
    multi: MultiProgress,
    total: ProgressBar,
    /// The host lines, from the top; which hosts they show is chosen anew for each redraw.
    lines: Vec<ProgressBar>,
    color: bool,
    /// Whether the height of the terminal counts.
    measured: bool,
    steps: usize,
    hosts: usize,
    changed: usize,
    failed: usize,
    finished: usize,
    /// In the order in which they began: the longest running first.
    running: IndexMap<String, Running>,
    /// Steps ended on hosts that are finished or not, for the total.
    ended: u64,
}

/// A host that is being worked on.
#[derive(Default)]
struct Running {
    steps: BTreeSet<usize>,
    doing: String,
    part: Option<(u64, u64)>,
    /// A step failed, or is tried again.
    trouble: bool,
    changed: bool,
    failed: bool,
    at: At,
}

/// What keeps a host.
#[derive(Clone, Copy, Default, PartialEq)]
enum At {
    #[default]
    Work,
    Reboot,
    /// It waits for other hosts.
    Wait,
}

impl Bars {
    /// Nothing is drawn before the first event.
    pub fn new(options: &ReportOptions) -> Self {
        Self { measured: true, ..Self::on(ProgressDrawTarget::stderr_with_hz(REDRAWS), options) }
    }

    /// On any target (tests draw nowhere).
    pub fn on(target: ProgressDrawTarget, options: &ReportOptions) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let total = ProgressBar::no_length();
        Self {
            multi,
            total,
            lines: Vec::new(),
            color: options.color,
            measured: false,
            steps: 0,
            hosts: 0,
            changed: 0,
            failed: 0,
            finished: 0,
            running: IndexMap::new(),
            ended: 0,
        }
    }

    /// Takes an event in; nothing is drawn for it before the next tick.
    pub fn event(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { hosts, steps, .. } => {
                (self.steps, self.hosts) = (*steps, hosts.len());
                self.total = self.multi.add(ProgressBar::new((steps * hosts.len()) as u64));
                let template = match self.color {
                    true => "{bar:24.green/dim} {pos}/{len} steps  {msg}  {elapsed}",
                    false => "{bar:24} {pos}/{len} steps  {msg}  {elapsed}",
                };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    self.total.set_style(style.progress_chars("━╸─"));
                }
            }
            EventKind::HostConnecting { host, address } => {
                self.doing(host, format!("connecting to {}", one_line(address)), None);
            }
            EventKind::HostConnected { host, version, .. } => {
                self.doing(host, format!("connected, ESXi {}", one_line(version)), None);
            }
            EventKind::Phase { host, doing, position, length } => {
                self.doing(host, one_line(doing).into_owned(), position.zip(*length));
            }
            EventKind::HostRebooting { host, .. } => {
                self.doing(host, "rebooting".to_owned(), None);
                self.is_at(host, At::Reboot);
            }
            EventKind::HostBack { host, .. } => {
                self.doing(host, "back after the reboot".to_owned(), None);
                self.is_at(host, At::Work);
            }
            EventKind::Step(step) => {
                let running = self.running.entry(step.host.clone()).or_default();
                running.trouble = running.failed || step.status == Status::Failed;
                running.failed |= step.status == Status::Failed;
                running.changed |= matches!(step.status, Status::Changed | Status::WouldChange);
                if running.steps.insert(step.step) {
                    self.ended += 1;
                }
                running.doing = one_line(&step.name).into_owned();
                running.part = None;
            }
            EventKind::HostFinished(result) => self.end(&result.host),
            EventKind::HostFailed { host, .. } => {
                self.running.entry(host.clone()).or_default().failed = true;
            }
            EventKind::RunFinished { .. } => self.clear(),
            EventKind::Note { host: Some(host), text } if text.contains("trying again") => {
                self.running.entry(host.clone()).or_default().trouble = true;
            }
            EventKind::Note { .. } | EventKind::Control(_) | EventKind::Making { .. } => {}
        }
    }

    fn doing(&mut self, host: &str, doing: String, part: Option<(u64, u64)>) {
        let running = self.running.entry(host.to_owned()).or_default();
        let waits = doing.starts_with("waits: ");
        match running.at {
            At::Work if waits => running.at = At::Wait,
            At::Wait if !waits => running.at = At::Work,
            _ => {}
        }
        running.doing = doing;
        running.part = part.filter(|(_, length)| *length > 0);
    }

    fn is_at(&mut self, host: &str, at: At) {
        self.running.entry(host.to_owned()).or_default().at = at;
    }

    fn end(&mut self, host: &str) {
        let Some(running) = self.running.shift_remove(host) else { return };
        // Steps that a lost host never came to are over too.
        self.ended += self.steps.saturating_sub(running.steps.len()) as u64;
        self.finished += 1;
        self.failed += usize::from(running.failed);
        self.changed += usize::from(running.changed && !running.failed);
    }

    /// Host lines that fit the terminal as it is now.
    fn room(&self) -> usize {
        let height = if self.measured { usize::from(console::Term::stderr().size().0) } else { usize::MAX };
        MOST_HOSTS.min(height.saturating_sub(OTHER_LINES)).max(1)
    }

    /// The hosts to show: those in trouble, then those that run longest.
    fn chosen(&self, room: usize) -> Vec<(&String, &Running)> {
        let troubled = self.running.iter().filter(|(_, r)| r.trouble || r.failed);
        let others = self.running.iter().filter(|(_, r)| !r.trouble && !r.failed);
        troubled.chain(others).take(room).collect()
    }

    /// Draws.
    pub fn tick(&mut self) {
        let shown = self.running.len().min(self.room());
        for bar in self.lines.drain(shown.min(self.lines.len())..) {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        while self.lines.len() < shown {
            let bar = self.multi.insert_before(&self.total, ProgressBar::new_spinner());
            let template = match self.color {
                true => "{spinner:.cyan} {prefix:.bold}  {wide_msg}",
                false => "{spinner} {prefix}  {wide_msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
            }
            self.lines.push(bar);
        }
        for (bar, (host, running)) in self.lines.iter().zip(self.chosen(shown)) {
            let part = running.part.map(|(at, of)| format!(" {}%", at.min(of) * 100 / of)).unwrap_or_default();
            let trouble = if running.failed { "failed, " } else { "" };
            bar.set_prefix(one_line(host).into_owned());
            bar.set_message(format!("{:>2}/{}  {trouble}{}{part}", running.steps.len(), self.steps, running.doing));
            bar.tick();
        }
        self.total.set_position(self.ended);
        self.total.set_message(self.counts(shown));
        self.total.tick();
    }

    /// The run in one line.
    fn counts(&self, shown: usize) -> String {
        let mut message = format!("{}/{} done", self.finished, count(self.hosts, "host"));
        let at = |at: At| self.running.values().filter(|r| r.at == at).count();
        let failing = self.running.values().filter(|r| r.failed).count();
        for (number, word) in [
            (self.changed, "changed"),
            (self.failed + failing, "failed"),
            (at(At::Reboot), "rebooting"),
            (at(At::Wait), "waiting"),
        ] {
            if number > 0 {
                message.push_str(&format!("  {number} {word}"));
            }
        }
        if self.running.len() > shown {
            message.push_str(&format!("  and {} more running", self.running.len() - shown));
        }
        message
    }

    /// Takes the bars away while `write` writes lines, then puts them back below.
    pub fn above(&self, write: impl FnOnce()) {
        self.multi.suspend(write);
    }

    /// Takes the bars away for good.
    pub fn clear(&mut self) {
        self.running.clear();
        for bar in self.lines.drain(..) {
            bar.finish_and_clear();
        }
        self.total.finish_and_clear();
        // Fails only where the terminal is gone.
        let _ = self.multi.clear();
    }

    /// Host lines on the screen and the total's position.
    #[cfg(test)]
    pub fn state(&self) -> (usize, u64, String) {
        (self.lines.len(), self.total.position(), self.total.message())
    }

    /// The hosts on the screen, from the top.
    #[cfg(test)]
    pub fn hosts_shown(&self) -> Vec<String> {
        self.lines.iter().map(ProgressBar::prefix).collect()
    }
}
