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
/// Redraws a second at most.
const REDRAWS: u8 = 10;

/// The bars of a run.
pub(super) struct Bars {
    multi: MultiProgress,
    total: ProgressBar,
    color: bool,
    steps: usize,
    hosts: usize,
    failed: usize,
    finished: usize,
    running: IndexMap<String, Running>,
    /// Steps ended on hosts that are finished or not, for the total.
    ended: u64,
}

/// A host that is being worked on.
#[derive(Default)]
struct Running {
    bar: Option<ProgressBar>,
    steps: BTreeSet<usize>,
    doing: String,
    part: Option<(u64, u64)>,
}

impl Bars {
    /// Nothing is drawn before the first event.
    pub fn new(options: &ReportOptions) -> Self {
        Self::on(ProgressDrawTarget::stderr_with_hz(REDRAWS), options)
    }

    /// On any target (tests draw nowhere).
    pub fn on(target: ProgressDrawTarget, options: &ReportOptions) -> Self {
        let multi = MultiProgress::with_draw_target(target);
        let total = ProgressBar::no_length();
        Self {
            multi,
            total,
            color: options.color,
            steps: 0,
            hosts: 0,
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
            EventKind::HostRebooting { host, .. } => self.doing(host, "rebooting".to_owned(), None),
            EventKind::HostBack { host, .. } => self.doing(host, "back after the reboot".to_owned(), None),
            EventKind::Step(step) => {
                self.failed += usize::from(step.status == Status::Failed);
                let running = self.running.entry(step.host.clone()).or_default();
                if running.steps.insert(step.step) {
                    self.ended += 1;
                }
                running.doing = one_line(&step.name).into_owned();
                running.part = None;
            }
            EventKind::HostFinished(result) => self.end(&result.host),
            EventKind::HostFailed { host, .. } => self.end(host),
            EventKind::RunFinished { .. } => self.clear(),
            EventKind::Note { .. } | EventKind::Control(_) | EventKind::Making { .. } => {}
        }
    }

    fn doing(&mut self, host: &str, doing: String, part: Option<(u64, u64)>) {
        let running = self.running.entry(host.to_owned()).or_default();
        running.doing = doing;
        running.part = part.filter(|(_, length)| *length > 0);
    }

    fn end(&mut self, host: &str) {
        // A host that was lost may still be said to be finished: count it once.
        let Some(running) = self.running.shift_remove(host) else { return };
        if let Some(bar) = running.bar {
            bar.finish_and_clear();
            self.multi.remove(&bar);
        }
        // Steps that a lost host never came to are over too.
        self.ended += self.steps.saturating_sub(running.steps.len()) as u64;
        self.finished += 1;
    }

    /// Draws.
    pub fn tick(&mut self) {
        let mut shown = self.running.values().filter(|r| r.bar.is_some()).count();
        let (steps, color) = (self.steps, self.color);
        for (host, running) in &mut self.running {
            if running.bar.is_none() && shown < MOST_HOSTS {
                let bar = self.multi.insert_before(&self.total, ProgressBar::new_spinner());
                let template =
                    if color { "{spinner:.cyan} {prefix:.bold}  {wide_msg}" } else { "{spinner} {prefix}  {wide_msg}" };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style.tick_chars("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ "));
                }
                bar.set_prefix(one_line(host).into_owned());
                running.bar = Some(bar);
                shown += 1;
            }
            if let Some(bar) = &running.bar {
                let part = running.part.map(|(at, of)| format!(" {}%", at.min(of) * 100 / of)).unwrap_or_default();
                bar.set_message(format!("{:>2}/{steps}  {}{part}", running.steps.len(), running.doing));
                bar.tick();
            }
        }
        let mut message = format!("{}/{} done", self.finished, count(self.hosts, "host"));
        if self.failed > 0 {
            message.push_str(&format!("  {} failed", self.failed));
        }
        if self.running.len() > shown {
            message.push_str(&format!("  and {} more running", self.running.len() - shown));
        }
        self.total.set_position(self.ended);
        self.total.set_message(message);
        self.total.tick();
    }

    /// Takes the bars away while `write` writes lines, then puts them back below.
    pub fn above(&self, write: impl FnOnce()) {
        self.multi.suspend(write);
    }

    /// Takes the bars away for good.
    pub fn clear(&mut self) {
        for (_, running) in self.running.drain(..) {
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
            }
        }
        self.total.finish_and_clear();
        // Fails only where the terminal is gone.
        let _ = self.multi.clear();
    }

    /// Host lines on the screen and the total's position.
    #[cfg(test)]
    pub fn state(&self) -> (usize, u64, String) {
        let shown = self.running.values().filter(|r| r.bar.is_some()).count();
        (shown, self.total.position(), self.total.message())
    }
}
