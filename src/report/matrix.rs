//! The controls of a run for the page: one row a control, a column a host.

use std::cmp::Reverse;

use indexmap::IndexMap;
use serde::Serialize;

use super::collect::Collected;
use super::controls::{self, Outcome, Shown, Tally};
use super::text::block;

/// All controls of all hosts.
#[derive(Serialize)]
pub(super) struct Matrix {
    /// The baseline's title, where one is known.
    baseline: Option<String>,
    /// Hosts with controls: the columns.
    hosts: Vec<String>,
    /// How many of each outcome, over all hosts.
    counts: Vec<Count>,
    rows: Vec<Row>,
    /// Fails that count, over all hosts.
    pub fails: usize,
    /// Hosts with such a fail.
    pub failing: usize,
    /// Controls that a person must judge, over all hosts.
    pub unjudged: usize,
    /// Whether anybody knows how bad a finding is.
    severities: bool,
}

#[derive(Serialize)]
struct Count {
    class: &'static str,
    word: &'static str,
    n: usize,
}

#[derive(Serialize)]
struct Row {
    id: String,
    title: String,
    severity: &'static str,
    /// Classes of its outcomes, each once.
    outcomes: String,
    cells: Vec<Cell>,
    groups: Vec<Group>,
    open: bool,
}

/// What became of it on a host; nothing where the host has no such control.
#[derive(Serialize)]
struct Cell {
    class: &'static str,
    word: &'static str,
}

/// Hosts on which the same was found.
#[derive(Serialize)]
struct Group {
    class: &'static str,
    word: &'static str,
    hosts: String,
    found: String,
    waiver: Option<String>,
    expired: bool,
}

impl Matrix {
    /// Nothing without controls.
    pub fn new(run: &Collected) -> Option<Self> {
        let known = controls::baselines(run);
        let hosts: Vec<_> = run
            .hosts
            .iter()
            .filter(|(_, h)| !h.controls.is_empty())
            .map(|(name, host)| (name.as_str(), controls::shown(host, &known)))
            .collect();
        let mut tally = Tally::default();
        let mut by_id: IndexMap<&str, Vec<(usize, &Shown<'_>)>> = IndexMap::new();
        for (at, (_, all)) in hosts.iter().enumerate() {
            tally.add(Tally::of(all));
            for control in all {
                by_id.entry(&control.event.id).or_default().push((at, control));
            }
        }
        if by_id.is_empty() {
            return None;
        }
        by_id.sort_by(|_, a, _, b| rank(a).cmp(&rank(b)));
        let names: Vec<&str> = hosts.iter().map(|(name, _)| *name).collect();
        let mut there: Vec<Outcome> = Outcome::ALL.into_iter().filter(|o| tally.get(*o) > 0).collect();
        // What needs attention first.
        there.sort_unstable();
        let counts = there.into_iter().map(|o| Count { class: class(o), word: o.word(), n: tally.get(o) }).collect();
        Some(Self {
            baseline: known.values().map(|b| b.title.clone()).find(|t| !t.is_empty()),
            counts,
            fails: tally.get(Outcome::Fail),
            failing: hosts.iter().filter(|(_, all)| Tally::of(all).get(Outcome::Fail) > 0).count(),
            unjudged: tally.get(Outcome::NotJudged),
            severities: by_id.values().flatten().any(|(_, c)| c.severity().is_some()),
            rows: by_id.iter().map(|(id, all)| row(id, all, &names)).collect(),
            hosts: names.iter().map(|n| block(n).into_owned()).collect(),
        })
    }
}

/// The worst outcome on any host first, then the severity; what is the same stays in the playbook's order.
fn rank(all: &[(usize, &Shown<'_>)]) -> Option<(Outcome, Reverse<Option<crate::hardening::Severity>>)> {
    all.iter().map(|(_, c)| (c.outcome, Reverse(c.severity()))).min()
}

fn row(id: &str, all: &[(usize, &Shown<'_>)], names: &[&str]) -> Row {
    let mut outcomes: Vec<&str> = all.iter().map(|(_, c)| class(c.outcome)).collect();
    outcomes.sort_unstable();
    outcomes.dedup();
    let cell = |at: usize| match all.iter().find(|(host, _)| *host == at) {
        Some((_, c)) => Cell { class: class(c.outcome), word: c.outcome.word() },
        None => Cell { class: "", word: "" },
    };
    let mut groups: IndexMap<(Outcome, String, Option<String>, bool), Vec<&str>> = IndexMap::new();
    for (at, control) in all {
        let (found, waiver) = (control.found(), control.waiver());
        // A pass of which nothing more is to be said has its word in the table.
        if found.is_empty() && waiver.is_none() {
            continue;
        }
        let expired = control.event.waiver.as_ref().is_some_and(|w| w.expired);
        groups.entry((control.outcome, found, waiver, expired)).or_default().push(names[*at]);
    }
    groups.sort_by(|a, _, b, _| a.0.cmp(&b.0));
    let first = all.first().map(|(_, c)| *c);
    Row {
        id: block(id).into_owned(),
        title: first.map(|c| block(c.title()).into_owned()).unwrap_or_default(),
        severity: first.and_then(Shown::severity).map_or("", |s| s.word()),
        outcomes: outcomes.join(" "),
        cells: (0..names.len()).map(cell).collect(),
        open: names.len() == 1 && all.iter().any(|(_, c)| c.outcome <= Outcome::Waived),
        groups: groups
            .into_iter()
            .map(|((outcome, found, waiver, expired), hosts)| Group {
                class: class(outcome),
                word: outcome.word(),
                hosts: if names.len() > 1 { block(&hosts.join(", ")).into_owned() } else { String::new() },
                found,
                waiver,
                expired,
            })
            .collect(),
    }
}

/// The class of an outcome in the page.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "c-fail",
        Outcome::Pending => "c-pending",
        Outcome::NotJudged => "c-unjudged",
        Outcome::Waived => "c-waived",
        Outcome::Fixed => "c-fixed",
        Outcome::Pass => "c-pass",
        Outcome::NotApplicable => "c-na",
    }
}
