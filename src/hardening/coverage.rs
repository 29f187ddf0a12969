//! How much of each baseline is judged and fixed: counted from the data, never written by hand.

use std::fmt::Write;

use serde::Serialize;

use super::{Baseline, Outcome, all};

/// How much of a baseline is covered.
#[derive(Debug, Serialize)]
pub struct Coverage {
    /// The baseline.
    pub baseline: String,
    /// Its title.
    pub title: String,
    /// Its edition.
    pub edition: String,
    /// How many controls it has.
    pub controls: usize,
    /// Judged and fixed.
    pub fixed: usize,
    /// Judged only.
    pub judged: usize,
    /// Not judged.
    pub not_judged: usize,
    /// Every control that is not fixed, and why.
    pub rest: Vec<Rest>,
}

/// A control that is not fixed.
#[derive(Debug, Serialize)]
pub struct Rest {
    /// The control.
    pub id: String,
    /// What it asks.
    pub title: String,
    /// What is done about it.
    pub outcome: Outcome,
    /// Why no more, and what a person does.
    pub why: String,
}

/// The coverage of a baseline.
pub fn of(baseline: &Baseline) -> Coverage {
    let count = |outcome| baseline.controls.iter().filter(|c| c.outcome == outcome).count();
    let rest = baseline.controls.iter().filter(|c| c.outcome != Outcome::Fixed).map(|c| Rest {
        id: c.id.clone(),
        title: c.title.clone(),
        outcome: c.outcome,
        why: c.why.clone().unwrap_or_default(),
    });
    Coverage {
        baseline: baseline.name.clone(),
        title: baseline.title.clone(),
        edition: baseline.edition(),
        controls: baseline.controls.len(),
        fixed: count(Outcome::Fixed),
        judged: count(Outcome::Judged),
        not_judged: count(Outcome::NotJudged),
        rest: rest.collect(),
    }
}

/// The coverage of every baseline that a playbook judges by. What is data only covers nothing yet.
pub fn everything() -> Vec<Coverage> {
    all().filter(|b| b.playbook.is_some()).map(of).collect()
}

/// What is data only.
fn data_only() -> String {
    let line = |b: &Baseline| format!("{}: {} controls known, no playbook yet\n", b.name, b.controls.len());
    all().filter(|b| b.playbook.is_none()).map(line).collect()
}

/// As Markdown: a table of numbers, and one table a baseline of what is not fixed. docs/hardening.md holds it.
pub fn markdown() -> String {
    let mut out = String::from("| baseline | edition | controls | fixed | judged only | not judged |\n");
    out.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for c in everything() {
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} | {} |",
            c.baseline, c.edition, c.controls, c.fixed, c.judged, c.not_judged
        );
    }
    let _ = write!(out, "\n{}", data_only());
    for c in everything() {
        let _ = writeln!(out, "\n### What is not fixed: {}\n", c.baseline);
        out.push_str("| control | what it asks | | why, and what to do |\n| --- | --- | --- | --- |\n");
        for r in c.rest {
            let _ = writeln!(out, "| {} | {} | {} | {} |", r.id, r.title, r.outcome.word(), r.why);
        }
    }
    out
}

/// For a terminal.
pub fn text() -> String {
    let mut out =
        format!("{:<10} {:<15} {:>8} {:>6} {:>7} {:>11}\n", "", "edition", "controls", "fixed", "judged", "not judged");
    for c in everything() {
        let _ = writeln!(
            out,
            "{:<10} {:<15} {:>8} {:>6} {:>7} {:>11}",
            c.baseline, c.edition, c.controls, c.fixed, c.judged, c.not_judged
        );
    }
    let _ = write!(out, "\n{}", data_only());
    for c in everything() {
        let _ = writeln!(out, "\n{}, not fixed:", c.baseline);
        for r in c.rest {
            let _ = writeln!(out, "  {} ({}) {}\n      {}", r.id, r.outcome.word(), r.title, r.why);
        }
    }
    out
}
