//! The controls of a run for people: for each host what fails, what waits, what nobody knows; passes are counted.

use console::Style;

use super::ReportOptions;
use super::collect::{Collected, HostRecord};
use super::controls::{self, Baselines, Outcome, Shown, Tally};
use super::lines::{Lines, width};
use super::text::{count, one_line};

/// So many controls that are not judged for the same reason are one line: the host could not be reached.
const TOO_MANY: usize = 4;
/// Columns before the text of a finding.
const INDENT: usize = 4;
/// A finding is never cut to less than this.
const SHORTEST: usize = 60;

/// All hosts' controls, each host with a head of its own and a blank line before it; nothing without controls.
pub(super) fn render(run: &Collected, options: &ReportOptions, lines: &Lines) -> String {
    let known = controls::baselines(run);
    let mut out = String::new();
    let mut sum = Tally::default();
    let mut hosts = 0;
    for (name, host) in run.hosts.iter().filter(|(_, h)| !h.controls.is_empty()) {
        let mut all = controls::shown(host, &known);
        controls::sort(&mut all);
        let tally = Tally::of(&all);
        out.push_str(&format!("\n{}\n", head(name, host, &known, &tally, lines)));
        list(&all, options, lines, &mut out);
        sum.add(tally);
        hosts += 1;
    }
    if hosts > 1 {
        let said = format!("Controls of all {hosts} hosts:");
        out.push_str(&format!("\n{} {}\n", lines.bold(&said), sum.sentence()));
    }
    out
}

/// `Controls of esx1 (DISA STIG ..., V2R3): 58 pass, 3 fail`.
fn head(name: &str, host: &HostRecord, known: &Baselines, tally: &Tally, lines: &Lines) -> String {
    let baseline = host.controls.iter().find_map(|c| c.baseline.as_ref());
    let of = match baseline {
        Some(name) => match known.get(name).map(|b| b.title.as_str()).filter(|t| !t.is_empty()) {
            Some(title) => format!(" ({})", one_line(title)),
            None => format!(" ({})", one_line(name)),
        },
        None => String::new(),
    };
    format!("{} {}", lines.bold(&format!("Controls of {}{of}:", one_line(name))), tally.sentence())
}

fn list(all: &[Shown<'_>], options: &ReportOptions, lines: &Lines, out: &mut String) {
    // Passes and what has no meaning here ask for nothing: they are counted, and listed for those who want all.
    let listed: Vec<_> =
        all.iter().filter(|c| options.diff || !matches!(c.outcome, Outcome::Pass | Outcome::NotApplicable)).collect();
    let id_width = listed.iter().map(|c| width(&one_line(&c.event.id))).max().unwrap_or(0).min(40);
    for control in &listed {
        let alike = if control.outcome == Outcome::NotJudged { same(&listed, control) } else { 0 };
        if alike >= TOO_MANY && !options.diff {
            // Said once for all of them.
            if !std::ptr::eq(first(&listed, control), *control) {
                continue;
            }
            out.push_str(&row("-", &count(alike, "control"), control.outcome, "", id_width, lines));
        } else {
            let severity = control.severity().map_or("-", |s| s.word());
            let title = one_line(control.title());
            out.push_str(&row(severity, &one_line(&control.event.id), control.outcome, &title, id_width, lines));
        }
        finding(control, options, lines, out);
    }
}

/// How many of the list are not judged for the same reason.
fn same(listed: &[&Shown<'_>], control: &Shown<'_>) -> usize {
    listed.iter().filter(|c| alike(c, control)).count()
}

fn first<'a, 'b>(listed: &[&'a Shown<'b>], control: &'a Shown<'b>) -> &'a Shown<'b> {
    listed.iter().find(|c| alike(c, control)).copied().unwrap_or(control)
}

fn alike(a: &Shown<'_>, b: &Shown<'_>) -> bool {
    a.outcome == b.outcome && a.event.details == b.event.details && a.event.waiver == b.event.waiver
}

/// `  high    ESXI-80-000005  fail            Lock a local account ...`.
fn row(severity: &str, id: &str, outcome: Outcome, title: &str, id_width: usize, lines: &Lines) -> String {
    let pad = |text: &str, to: usize| " ".repeat(to.saturating_sub(width(text)));
    let word = outcome.word();
    let line = format!(
        "  {severity}{}  {id}{}  {}{}  {title}",
        pad(severity, "medium".len()),
        pad(id, id_width),
        lines.paint(style(outcome), word),
        pad(word, "not applicable".len()),
    );
    line.trim_end().to_owned() + "\n"
}

/// What was found, on one line that fits the terminal, all of it with `--diff`; the waiver below.
fn finding(control: &Shown<'_>, options: &ReportOptions, lines: &Lines, out: &mut String) {
    let found = control.found();
    let indent = " ".repeat(INDENT);
    if options.diff {
        found.lines().for_each(|l| out.push_str(&format!("{indent}{l}\n")));
    } else if !found.is_empty() {
        let line = found.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
        out.push_str(&format!("{indent}{}\n", cut(&line, options)));
    }
    if let Some(waiver) = control.waiver() {
        let style = match control.event.waiver.as_ref().is_some_and(|w| w.expired) {
            true => Style::new().red(),
            false => Style::new().dim(),
        };
        out.push_str(&format!("{indent}{}\n", lines.paint(style, &one_line(&waiver))));
    }
}

/// The text as far as the terminal is wide; whole where no terminal is.
fn cut(line: &str, options: &ReportOptions) -> String {
    let room = usize::from(options.width).saturating_sub(INDENT).max(SHORTEST);
    if options.width == 0 || width(line) <= room {
        return line.to_owned();
    }
    console::truncate_str(line, room, "…").into_owned()
}

fn style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Fail => Style::new().red().bold(),
        Outcome::Pending => Style::new().magenta(),
        Outcome::NotJudged => Style::new().cyan(),
        Outcome::Waived => Style::new().yellow(),
        Outcome::Fixed | Outcome::Pass => Style::new().green(),
        Outcome::NotApplicable => Style::new().dim(),
    }
}

/// One more sentence for the end: what the controls came to; nothing without controls.
pub(super) fn closing(run: &Collected) -> String {
    let known = Baselines::new();
    let (mut fails, mut pending, mut unjudged) = (0, 0, 0);
    for host in run.hosts.values() {
        let tally = Tally::of(&controls::shown(host, &known));
        fails += tally.get(Outcome::Fail);
        pending += tally.get(Outcome::Pending);
        unjudged += tally.get(Outcome::NotJudged);
    }
    if run.hosts.values().all(|h| h.controls.is_empty()) {
        return String::new();
    }
    let mut parts = Vec::new();
    if fails > 0 {
        parts.push(format!("{} failed", count(fails, "control")));
    }
    if pending > 0 {
        parts.push(format!("{pending} {} for a reboot", if pending == 1 { "waits" } else { "wait" }));
    }
    if unjudged > 0 {
        parts.push(format!("{unjudged} must be judged by a person"));
    }
    match parts.as_slice() {
        [] => "Every control was judged and passes, is waived or does not apply.\n".to_owned(),
        [one] => format!("Controls: {one}.\n"),
        [many @ .., last] => format!("Controls: {} and {last}.\n", many.join(", ")),
    }
}
