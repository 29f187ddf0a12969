//! Where two baselines ask for different values, and what satisfies both.

use std::collections::BTreeSet;

use indexmap::IndexSet;
use serde::Serialize;

use super::{Baseline, Control, Desired};

/// Two baselines side by side.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// The first baseline.
    pub a: String,
    /// The second.
    pub b: String,
    /// How many concepts both ask the same of.
    pub same: usize,
    /// Concepts with another value.
    pub differ: Vec<Difference>,
    /// What only the first asks.
    pub only_a: Vec<Item>,
    /// What only the second asks.
    pub only_b: Vec<Item>,
}

/// One concept with two values.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The concept.
    pub concept: String,
    /// What the first baseline asks.
    pub a: Item,
    /// What the second asks.
    pub b: Item,
    /// What satisfies both; none: nothing does.
    pub both: Option<String>,
    /// It does so only if a guide's number is read as a bound: stricter is no worse.
    pub as_bound: bool,
}

/// What a control asks about one concept.
#[derive(Debug, Clone, Serialize)]
pub struct Item {
    /// The concept.
    pub concept: String,
    /// The control.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What it asks for.
    pub desired: String,
    /// What passes too if its number is read as a bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reads_as: Option<String>,
}

/// Compares two baselines, concept by concept.
pub fn compare(a: &Baseline, b: &Baseline) -> Comparison {
    let (left, right) = (items(a), items(b));
    let concepts: BTreeSet<&str> = right.iter().map(|i| i.concept.as_str()).collect();
    let mut result = Comparison {
        a: a.name.clone(),
        b: b.name.clone(),
        same: 0,
        differ: Vec::new(),
        only_a: left.iter().filter(|i| !concepts.contains(i.concept.as_str())).cloned().collect(),
        only_b: Vec::new(),
    };
    for item in right {
        let Some(mine) = left.iter().find(|i| i.concept == item.concept) else {
            result.only_b.push(item);
            continue;
        };
        if Desired::parse(&mine.desired) == Desired::parse(&item.desired) {
            result.same += 1;
            continue;
        }
        let (both, as_bound) = agree(mine, &item);
        result.differ.push(Difference {
            concept: item.concept.clone(),
            a: mine.clone(),
            b: item,
            both: both.map(|d| d.to_string()),
            as_bound,
        });
    }
    result
}

/// What satisfies both, and whether that takes reading a number as a bound.
fn agree(a: &Item, b: &Item) -> (Option<Desired>, bool) {
    let by_the_letter = Desired::parse(&a.desired).both(&Desired::parse(&b.desired));
    if by_the_letter.is_some() {
        return (by_the_letter, false);
    }
    let loose = |i: &Item| Desired::parse(i.reads_as.as_deref().unwrap_or(&i.desired));
    let both = loose(a).both(&loose(b));
    let as_bound = both.is_some();
    (both, as_bound)
}

/// What a baseline asks, in order, each concept once.
fn items(baseline: &Baseline) -> Vec<Item> {
    let mut seen = BTreeSet::new();
    let of = |c: &Control| -> Vec<Item> {
        let item = |(concept, desired): (&str, &str)| Item {
            concept: concept.to_owned(),
            id: c.id.clone(),
            title: c.title.clone(),
            desired: desired.to_owned(),
            reads_as: c.reads_as.clone(),
        };
        c.asks().into_iter().map(item).collect()
    };
    baseline.controls.iter().flat_map(of).filter(|i| seen.insert(i.concept.clone())).collect()
}

/// A concept on which baselines do not agree by the letter.
#[derive(Debug, Serialize)]
pub struct Contradiction {
    /// The concept.
    pub concept: String,
    /// What each baseline asks, in the order given; none: nothing.
    pub asked: Vec<Option<String>>,
    /// What satisfies all of them if numbers are read as bounds; none: nothing does.
    pub all: Option<String>,
}

/// The concepts that these baselines cannot all have by the letter.
pub fn contradictions(baselines: &[&Baseline]) -> Vec<Contradiction> {
    let asked: Vec<Vec<Item>> = baselines.iter().map(|b| items(b)).collect();
    let concepts: IndexSet<&str> = asked.iter().flatten().map(|i| i.concept.as_str()).collect();
    let one = |concept: &str| {
        let found: Vec<Option<&Item>> = asked.iter().map(|items| items.iter().find(|i| i.concept == concept)).collect();
        let fold = |of: &dyn Fn(&Item) -> Desired| {
            let mut all: Vec<Desired> = found.iter().flatten().map(|i| of(i)).collect();
            let first = all.pop()?;
            all.iter().try_fold(first, |sum, next| sum.both(next))
        };
        if fold(&|i| Desired::parse(&i.desired)).is_some() {
            return None;
        }
        let all = fold(&|i| Desired::parse(i.reads_as.as_deref().unwrap_or(&i.desired)));
        Some(Contradiction {
            concept: concept.to_owned(),
            asked: found.iter().map(|i| i.map(|i| i.desired.clone())).collect(),
            all: all.map(|d| d.to_string()),
        })
    };
    concepts.into_iter().filter_map(one).collect()
}

/// The contradictions of these baselines as a table in Markdown. docs/hardening.md holds it.
pub fn markdown(baselines: &[&Baseline]) -> String {
    let names: Vec<String> = baselines.iter().map(|b| format!("`{}`", b.name)).collect();
    let mut out =
        format!("| concept | {} | satisfies all |\n| --- |{}\n", names.join(" | "), " --- |".repeat(names.len() + 1));
    for c in contradictions(baselines) {
        let asked: Vec<String> =
            c.asked.iter().map(|a| a.as_ref().map_or_else(|| "-".to_owned(), |a| format!("`{a}`"))).collect();
        let all = c.all.map_or_else(|| "nothing".to_owned(), |all| format!("`{all}`"));
        out.push_str(&format!("| {} | {} | {all} |\n", c.concept, asked.join(" | ")));
    }
    out
}
