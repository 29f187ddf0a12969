//! The table as Markdown: the last part of docs/labs.md is this.

use std::fmt::Write;

use super::{Book, Confidence, Rule};

/// The line in docs/labs.md after which the table stands.
pub const MARK: &str = "<!-- from here on made of src/lab/rules/rules.yml -->";

/// All rules, those that were never seen first to last as in the file.
pub fn markdown(book: &Book) -> String {
    let (verified, all) = (book.rules().iter().filter(|r| r.verified.is_some()).count(), book.rules().len());
    let mut out = format!(
        "{MARK}\n\n{all} rules. Of {verified} of them something was seen by esxprep's makers, under QEMU and with the \
         stand-in; no ESXi was booted for any of them. The others stand on their source.\n\n\
         | rule | for | says | because | source | confidence |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for rule in book.rules() {
        let confidence = match rule.confidence {
            Confidence::High => "high",
            Confidence::Medium => "medium",
            Confidence::Low => "low",
        };
        let seen = rule.verified.as_ref().map_or("not verified".to_owned(), |v| format!("verified: {v}"));
        let cells = [
            format!("`{}`", rule.id),
            versions(rule),
            says(rule),
            rule.reason.clone(),
            rule.source.clone(),
            format!("{confidence}; {seen}"),
        ];
        let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}

fn versions(rule: &Rule) -> String {
    let mut parts = Vec::new();
    if !rule.esxi.is_any() {
        parts.push(format!("ESXi {}", rule.esxi));
    }
    if !rule.qemu.is_any() {
        parts.push(format!("QEMU {}", rule.qemu));
    }
    for (topic, words) in &rule.when {
        parts.push(format!("{topic} {}", words.words().join(" or ")));
    }
    parts.join(", ")
}

fn says(rule: &Rule) -> String {
    let pair = |p: &super::Pair| format!("{} `{}`", p.topic, p.value);
    let fix = rule.fix.as_ref().map(|f| format!("; instead: {f}")).unwrap_or_default();
    if let Some(p) = &rule.set {
        pair(p)
    } else if let Some(p) = &rule.add {
        format!("adds {}", pair(p))
    } else if let Some(p) = &rule.least {
        format!("at least {}", pair(p))
    } else if rule.refuse.is_some() {
        format!("refused{fix}")
    } else if rule.warn.is_some() {
        format!("warning{fix}")
    } else {
        "explains".into()
    }
}
