//! One event as the lines that people and `grep` read: host, a word, the rest; details indented below.

use console::Style;

use super::text::{block, count, one_line, span};
use super::{ReportOptions, diff};
use crate::engine::events::{ChangeShown, Event, EventKind, Status, StepEvent};

/// Longest value shown within a line; longer ones are for `--diff`.
const LONGEST_VALUE: usize = 60;
/// Steps faster than this show no time.
const WORTH_A_TIME: f64 = 1.0;

/// How lines are laid out: columns as wide as the run needs.
#[derive(Debug, Clone)]
pub(super) struct Lines {
    options: ReportOptions,
    host_width: usize,
    word_width: usize,
    /// Too many hosts for a line a step: then a host has one line, at its end, beside what failed.
    many: bool,
    /// A line a step, however many hosts there are.
    full: bool,
}

/// More hosts than these are told host by host instead of step by step, and summed up in the table where nothing happened.
pub(super) const MANY_HOSTS: usize = 25;

impl Lines {
    /// Before the run's first event.
    pub fn new(options: &ReportOptions) -> Self {
        Self { options: *options, host_width: 4, word_width: "unreachable".len(), many: false, full: false }
    }

    /// The same with a line a step, however many hosts there are.
    pub fn in_full(self) -> Self {
        Self { full: true, ..self }
    }

    /// Columns wide enough for these hosts.
    pub fn columns(&mut self, hosts: &[String]) {
        self.host_width = hosts.iter().map(|h| width(&one_line(h))).max().unwrap_or(0).clamp(4, 40);
    }

    /// The event's lines, each with its line end; empty when it says nothing to people.
    pub fn event(&mut self, event: &Event) -> String {
        match &event.kind {
            EventKind::RunStarted { playbook, mode, hosts, steps } => {
                self.columns(hosts);
                self.many = hosts.len() > MANY_HOSTS && !self.full;
                if self.options.check || mode != "apply" {
                    self.word_width = "would-change".len();
                }
                format!(
                    "{} {}: {}, {}, run {}\n",
                    self.bold(&one_line(mode)),
                    self.bold(&one_line(playbook)),
                    count(*steps, "step"),
                    count(hosts.len(), "host"),
                    one_line(&event.run)
                )
            }
            EventKind::HostConnected { .. } | EventKind::HostRebooting { .. } | EventKind::HostBack { .. }
                if self.many =>
            {
                String::new()
            }
            EventKind::Step(step) if self.many && !self.options.diff && step.status != Status::Failed => String::new(),
            EventKind::HostConnected { host, version, build } => {
                self.line(host, "connected", Style::new(), &format!("ESXi {} build {build}", one_line(version)))
            }
            EventKind::Step(step) => self.step(step),
            EventKind::Control(_) | EventKind::Making { .. } => String::new(),
            EventKind::HostRebooting { host, reasons } => {
                let reasons: Vec<_> = reasons.iter().map(|r| one_line(r)).collect();
                let why = if reasons.is_empty() { String::new() } else { format!("for {}", reasons.join(", ")) };
                self.line(host, "rebooting", Style::new().magenta(), &why)
            }
            EventKind::HostBack { host, seconds } => {
                self.line(host, "back", Style::new().magenta(), &format!("after {}", span(*seconds)))
            }
            EventKind::HostFinished(result) => {
                let mut text = format!("in {}", span(result.seconds));
                if self.many {
                    let changed = if self.word_width > "unreachable".len() { "would change" } else { "changed" };
                    for (number, word) in [
                        (result.ok, "ok"),
                        (result.changed, changed),
                        (result.failed, "failed"),
                        (result.reboots, "rebooted"),
                    ] {
                        if number > 0 {
                            text.push_str(&format!(", {number} {word}"));
                        }
                    }
                }
                self.line(&result.host, "done", Style::new().bold(), &text)
            }
            EventKind::HostFailed { host, error, unreachable } => {
                let word = if *unreachable { "unreachable" } else { "lost" };
                let text = block(error);
                let mut lines = text.lines();
                let mut out = self.line(host, word, Style::new().red().bold(), lines.next().unwrap_or_default());
                lines.for_each(|l| out.push_str(&indented(l)));
                out
            }
            EventKind::Note { host, text } => {
                let text = block(text);
                let mut lines = text.lines();
                let host = host.as_deref().unwrap_or("-");
                let mut out = self.line(host, "note", Style::new().cyan(), lines.next().unwrap_or_default());
                lines.for_each(|l| out.push_str(&indented(l)));
                out
            }
            EventKind::HostConnecting { .. } | EventKind::Phase { .. } | EventKind::RunFinished { .. } => String::new(),
        }
    }

    fn step(&self, step: &StepEvent) -> String {
        let (word, style) = status_word(step.status);
        let mut text = format!("{:<9}  {}", one_line(&step.kind), one_line(&step.name));
        if !self.options.diff {
            text.push_str(&inline(step));
        }
        if let Some(note) = &step.note {
            text.push_str(&format!(" - {}", one_line(note)));
        }
        if step.seconds >= WORTH_A_TIME {
            text.push_str(&format!(" [{}]", span(step.seconds)));
        }
        let mut out = self.line(&step.host, word, style, &text);
        if self.options.diff {
            step.changes.iter().for_each(|c| self.details(c, &mut out));
        }
        if let Some(error) = &step.error {
            block(error).lines().for_each(|l| out.push_str(&indented(l)));
        }
        out
    }

    /// A change with its values: on one line, or as a small unified diff.
    fn details(&self, change: &ChangeShown, out: &mut String) {
        let (before, after) = (block(&change.before), block(&change.after));
        let summary = one_line(&change.summary);
        let (gone, new) = (Style::new().red(), Style::new().green());
        if !before.contains('\n') && !after.contains('\n') {
            let value = |text: &str, style: Style| match text {
                "" => "(none)".to_owned(),
                text => self.paint(style, text),
            };
            let values = match (before.is_empty(), after.is_empty()) {
                (true, true) => String::new(),
                _ => format!(": {} → {}", value(&before, gone), value(&after, new)),
            };
            out.push_str(&indented(&format!("{summary}{values}")));
            return;
        }
        out.push_str(&indented(&format!("{summary}:")));
        for line in diff::unified(&before, &after) {
            let style = match line.as_bytes().first() {
                Some(b'-') => gone.clone(),
                Some(b'+') => new.clone(),
                Some(b'@') => Style::new().cyan(),
                _ => Style::new(),
            };
            out.push_str(&indented(&format!("  {}", self.paint(style, &line))));
        }
    }

    /// `host  word  text`, without blanks at the end.
    pub fn line(&self, host: &str, word: &str, style: Style, text: &str) -> String {
        let host = one_line(host);
        let pad = |text: &str, to: usize| " ".repeat(to.saturating_sub(width(text)));
        let left = format!(
            "{host}{}  {}{}  {text}",
            pad(&host, self.host_width),
            self.paint(style, word),
            pad(word, self.word_width)
        );
        format!("{}\n", left.trim_end())
    }

    /// Whether lines are painted.
    pub fn colored(&self) -> bool {
        self.options.color
    }

    pub fn bold(&self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// Coloured where colours are wanted.
    pub fn paint(&self, style: Style, text: &str) -> String {
        if self.options.color { style.force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }
}

/// The word for a status, in its colour.
pub(super) fn status_word(status: Status) -> (&'static str, Style) {
    match status {
        Status::Ok => ("ok", Style::new().green()),
        Status::Changed => ("changed", Style::new().yellow()),
        Status::WouldChange => ("would-change", Style::new().yellow()),
        Status::Skipped => ("skipped", Style::new().dim()),
        Status::Failed => ("failed", Style::new().red().bold()),
    }
}

/// What changed, as far as it fits behind the step's name.
fn inline(step: &StepEvent) -> String {
    let change = match step.changes.as_slice() {
        [] => return String::new(),
        [change] => change,
        many => return format!(" ({})", count(many.len(), "change")),
    };
    let said = step.name.contains(&change.summary) || change.summary.is_empty();
    let summary = if said { String::new() } else { format!(": {}", one_line(&change.summary)) };
    let fits = |v: &str| !v.contains('\n') && width(v) <= LONGEST_VALUE;
    let or_none = |v: &'_ str| if v.is_empty() { "none".to_owned() } else { one_line(v).into_owned() };
    let (before, after) = (change.before.trim_end(), change.after.trim_end());
    if (before.is_empty() && after.is_empty()) || !fits(before) || !fits(after) {
        return summary;
    }
    format!("{summary} ({} → {})", or_none(before), or_none(after))
}

/// A line of details.
pub(super) fn indented(line: &str) -> String {
    format!("    {line}").trim_end().to_owned() + "\n"
}

/// Columns of a text.
pub(super) fn width(text: &str) -> usize {
    console::measure_text_width(text)
}
