//! Lists and single controls, for a terminal.

use std::fmt::Write;

use serde::Serialize;

use super::compare::{Comparison, Item};
use super::{Baseline, Control, all};

/// Everything known of one concept: what each baseline asks of it.
#[derive(Debug, Serialize)]
pub struct Known {
    /// The concept.
    pub concept: String,
    /// The controls, each with its baseline.
    pub controls: Vec<Asked>,
}

/// A control in its baseline.
#[derive(Debug, Serialize)]
pub struct Asked {
    /// The baseline.
    pub baseline: String,
    /// What it asks of this concept; a control that is several in one asks other things too.
    pub asks: String,
    /// The control.
    pub control: Control,
}

/// Everything known of a control, or of a concept, by its id or name; nothing if there is none.
pub fn known(name: &str) -> Vec<Known> {
    let concepts: Vec<String> = match super::control(name) {
        Some((_, control)) => control.asks().into_iter().map(|(concept, _)| concept.to_owned()).collect(),
        None => vec![name.to_owned()],
    };
    let about = |concept: String| {
        let mut controls = Vec::new();
        for baseline in all() {
            for control in &baseline.controls {
                for (_, asks) in control.asks().into_iter().filter(|(c, _)| *c == concept) {
                    let asks = asks.to_owned();
                    controls.push(Asked { baseline: baseline.name.clone(), asks, control: control.clone() });
                }
            }
        }
        Known { concept, controls }
    };
    concepts.into_iter().map(about).filter(|k| !k.controls.is_empty()).collect()
}

/// What is known, for a terminal.
pub fn text(known: &[Known]) -> String {
    let mut out = String::new();
    for (i, k) in known.iter().enumerate() {
        let _ = writeln!(out, "{}{}", if i == 0 { "" } else { "\n" }, k.concept);
        for asked in &k.controls {
            one(&mut out, asked);
        }
    }
    out
}

fn one(out: &mut String, asked: &Asked) {
    let c = &asked.control;
    let _ = writeln!(out, "\n{} in {}: {}", c.id, asked.baseline, c.title);
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<11} {value}");
        }
    };
    let severity = match &c.priority {
        Some(priority) => format!("{priority}, counted as {}", c.severity.word()),
        None => format!("{} ({})", c.severity.word(), c.severity.category()),
    };
    line("severity", &severity);
    line("versions", &c.versions.join(", "));
    line("target", &c.target);
    line("asks", &asked.asks);
    line("reads as", c.reads_as.as_deref().unwrap_or_default());
    line("outcome", c.outcome.word());
    line("why", c.why.as_deref().unwrap_or_default());
    line("step", &c.kind);
    line("needs", &c.needs.join(", "));
    line("look", c.look.as_deref().unwrap_or_default());
    line("change", c.change.as_deref().unwrap_or_default());
    line("note", c.note.as_deref().unwrap_or_default());
    line("group", c.group.as_deref().unwrap_or_default());
    line("rule", c.rule.as_deref().unwrap_or_default());
    line("CCIs", &c.ccis.join(", "));
    line("confidence", c.confidence.word());
    line("source", &c.source);
}

/// All baselines.
pub fn baselines() -> String {
    all().map(|b| format!("{:<10} {:>3} controls  {} ({})\n", b.name, b.controls.len(), b.title, b.edition())).collect()
}

/// The controls of a baseline.
pub fn list(baseline: &Baseline) -> String {
    let width = baseline.controls.iter().map(|c| c.id.len()).max().unwrap_or(0);
    let line = |c: &Control| {
        format!("{:<width$}  {:<6}  {:<10}  {}: {}\n", c.id, c.severity.word(), c.outcome.word(), c.title, c.desired)
    };
    baseline.controls.iter().map(line).collect()
}

/// Two baselines side by side.
pub fn differences(d: &Comparison) -> String {
    let mut out = format!("{} and {}: {} the same, {} with another value\n", d.a, d.b, d.same, d.differ.len());
    for x in &d.differ {
        let both = match (&x.both, x.as_bound) {
            (Some(value), true) => format!("{value} (read as a bound: stricter is no worse)"),
            (Some(value), false) => value.clone(),
            (None, _) => "nothing satisfies both".into(),
        };
        let _ = writeln!(out, "\n{}", x.concept);
        let _ = writeln!(out, "  {:<10} {} ({})", d.a, x.a.desired, x.a.id);
        let _ = writeln!(out, "  {:<10} {} ({})", d.b, x.b.desired, x.b.id);
        let _ = writeln!(out, "  {:<10} {both}", "both");
    }
    for (name, only) in [(&d.a, &d.only_a), (&d.b, &d.only_b)] {
        if !only.is_empty() {
            let _ = writeln!(out, "\nonly in {name}:");
        }
        for Item { id, concept, title, desired, .. } in only {
            let _ = writeln!(out, "  {concept}: {title}: {desired} ({id})");
        }
    }
    out
}

/// The id or concept that is most like a misspelt one.
pub fn nearest(name: &str) -> Option<&'static str> {
    let of = |c: &'static Control| [c.id.as_str(), c.concept.as_str()];
    let wanted = name.to_lowercase();
    all()
        .flat_map(|b| &b.controls)
        .flat_map(of)
        .map(|known| (strsim::damerau_levenshtein(&wanted, &known.to_lowercase()), known))
        .filter(|(distance, _)| *distance <= name.len() / 3)
        .min()
        .map(|(_, known)| known)
}
