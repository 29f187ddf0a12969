//! The report for people and for programs.

use std::fmt::Write as _;

use super::{Accelerator, Applied, Area, Finding, Level, Outcome, Report, Undone, UndoneHow};

/// As wide as a level's word.
const LEVEL_WIDTH: usize = 9;

/// For people: grouped by area, each level as a word, no colour. `width` in columns; `sources` adds where each fact comes
/// from.
pub fn human(report: &Report, width: usize, sources: bool) -> String {
    let width = width.clamp(50, 120);
    let mut out = String::new();
    wrapped(&mut out, "", "", &verdict(&report.accelerator), width);
    let mut area: Option<Area> = None;
    for finding in &report.findings {
        if area != Some(finding.area) {
            area = Some(finding.area);
            let _ = writeln!(out, "\n{}", finding.area.words());
        }
        one(&mut out, finding, width, sources);
    }
    out.push('\n');
    wrapped(&mut out, "", "", &totals(report), width);
    out
}

/// The one thing most people ask.
fn verdict(accelerator: &Accelerator) -> String {
    let because = &accelerator.because;
    match (accelerator.accel, accelerator.esxi) {
        ("kvm", true) => format!("Real ESXi can run on this machine, with KVM: {because}."),
        ("kvm", false) => format!("Nested ESXi could start no virtual machine here: {because}."),
        _ => format!(
            "Real ESXi cannot run on this machine as it is: {because}. The stand-in guest can, with software emulation \
             (`-accel tcg`)."
        ),
    }
}

fn one(out: &mut String, finding: &Finding, width: usize, sources: bool) {
    let level = format!("  {:<LEVEL_WIDTH$}", finding.level.word());
    let indent = " ".repeat(level.len());
    wrapped(out, &level, &indent, &finding.seen, width);
    let mut part = |name: &str, text: &str| {
        if !text.is_empty() {
            wrapped(out, &format!("{indent}{name}: "), &format!("{indent}  "), text, width);
        }
    };
    part("why", &finding.why);
    part("do", finding.fix.as_deref().unwrap_or_default());
    if !finding.fixes.is_empty() {
        let fixes: Vec<String> = finding.fixes.iter().map(super::Fix::words).collect();
        part("--fix", &fixes.join("; "));
    }
    if sources && !finding.source.is_empty() {
        part("known from", &format!("{} (confidence: {})", finding.source, finding.confidence.word()));
    }
}

fn totals(report: &Report) -> String {
    let t = report.totals;
    let count = |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    let line = format!(
        "{}, {}, {}, {} as it should be.",
        count(t.errors, "error", "errors"),
        count(t.warnings, "warning", "warnings"),
        count(t.notes, "note", "notes"),
        t.ok
    );
    let fixable = report.findings.iter().filter(|f| !f.fixes.is_empty()).count();
    let bad = report.findings.iter().any(|f| f.level != Level::Ok);
    match (fixable, bad) {
        (0, true) => format!("{line} None of it is something that --fix can change."),
        (0, false) => line,
        (n, _) => format!(
            "{line} `esxprep lab doctor --fix` changes what it can about {}; `--undo` takes that back.",
            count(n, "of them", "of them")
        ),
    }
}

/// What `--fix` did, a line each.
pub fn applied_text(applied: &[Applied]) -> String {
    let mut out = String::new();
    for Applied { fix, outcome } in applied {
        let words = fix.words();
        let _ = match outcome {
            Outcome::Done => writeln!(out, "done        {words}"),
            Outcome::AlreadySo => writeln!(out, "already so  {words}"),
            Outcome::Failed(e) => writeln!(out, "NOT DONE    {words}: {e}"),
        };
    }
    out
}

/// What `--undo` did, a line each.
pub fn undone_text(undone: &[Undone]) -> String {
    if undone.is_empty() {
        return "There is nothing to take back.\n".to_owned();
    }
    let mut out = String::new();
    for Undone { fix, how } in undone {
        let words = fix.words();
        let _ = match how {
            UndoneHow::Restored => writeln!(out, "taken back  {words}"),
            UndoneHow::AlreadySo => writeln!(out, "was so      {words}: nothing to take back"),
            UndoneHow::LeftAlone(why) => writeln!(out, "left        {words}: {why}"),
            UndoneHow::Failed(e) => writeln!(out, "NOT YET     {words}: {e}"),
        };
    }
    out
}

/// Breaks a text at spaces; the first line begins with `first`, the others with `rest`.
fn wrapped(out: &mut String, first: &str, rest: &str, text: &str, width: usize) {
    let mut line = first.to_owned();
    let mut empty = true;
    // What came from a program's output must not move the cursor.
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in clean.split_whitespace() {
        if !empty && line.chars().count() + 1 + word.chars().count() > width {
            let _ = writeln!(out, "{line}");
            line = rest.to_owned();
            empty = true;
        }
        if !empty {
            line.push(' ');
        }
        line.push_str(word);
        empty = false;
    }
    let _ = writeln!(out, "{}", line.trim_end());
}

/// For programs: the [`Report`] as JSON. Keys and ids are kept from version to version; new ones may be added.
///
/// # Errors
/// When serde_json refuses, which no report makes it do.
pub fn json(report: &Report) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(report)
}
