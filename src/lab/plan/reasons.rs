//! Asking the table, and turning its refusals into problems at the line that caused them.

use std::collections::BTreeMap;

use super::{Note, Weight};
use crate::lab::rules::{Book, Case, LAB_FILE, Rule, RuleId};
use crate::lab::spec::Size;
use crate::playbook::{Problem, Span};

/// What is collected while a lab is planned.
pub struct Reasons<'a> {
    /// The table.
    pub book: &'a Book,
    /// What does not work.
    pub problems: Vec<Problem>,
    /// What is good to know.
    pub notes: Vec<Note>,
}

/// What decided the topics of a machine.
pub type Why = BTreeMap<String, Vec<RuleId>>;

/// Adds a rule to a topic, once.
pub fn because(why: &mut Why, topic: &str, rule: &str) {
    let rules = why.entry(topic.to_owned()).or_default();
    if !rules.iter().any(|r| r == rule) {
        rules.push(rule.to_owned());
    }
}

impl Reasons<'_> {
    /// The value of a topic that the file left open.
    pub fn choose(&self, topic: &str, case: &Case, why: &mut Why) -> Option<String> {
        let (value, rule) = self.book.choose(topic, case)?;
        because(why, topic, &rule.id);
        Some(value.to_owned())
    }

    /// A size that the file left open. The table's own sizes are read by a test.
    pub fn choose_size(&self, topic: &str, case: &Case, why: &mut Why) -> u64 {
        self.choose(topic, case, why).and_then(|v| v.parse::<Size>().ok()).map_or(0, |s| s.0)
    }

    /// Refuses a size below the least one.
    pub fn at_least(&mut self, topic: &str, what: &str, size: Size, case: &Case, at: &Span) {
        let Some((least, rule)) = self.book.least(topic, case) else { return };
        if least.parse::<Size>().is_ok_and(|least| size < least) {
            let problem = Problem::at(at, format!("{what} of {size} is too small: {}", rule.reason), "too small");
            self.problems.push(problem.help(format!("{least} or more")).help(stands(rule)));
        }
    }

    /// Every refusal and warning that asks about a topic. `at` says where a message about something belongs.
    pub fn remark(&mut self, about: &str, case: &Case, host: &str, at: &dyn Fn(&str) -> Span) {
        for rule in self.book.remarks(about, case) {
            self.apply(rule, host, at);
        }
    }

    /// The same, but for rules that ask about `but` as well.
    pub fn remark_unless(&mut self, about: &str, but: &str, case: &Case, host: &str, at: &dyn Fn(&str) -> Span) {
        for rule in self.book.remarks(about, case).into_iter().filter(|r| !r.asks().contains(but)) {
            self.apply(rule, host, at);
        }
    }

    /// The same, but only for rules that ask about `and` as well.
    pub fn remark_both(&mut self, about: &str, and: &str, case: &Case, host: &str, at: &dyn Fn(&str) -> Span) {
        for rule in self.book.remarks(about, case).into_iter().filter(|r| r.asks().contains(and)) {
            self.apply(rule, host, at);
        }
    }

    fn apply(&mut self, rule: &Rule, host: &str, at: &dyn Fn(&str) -> Span) {
        if let Some(topic) = &rule.refuse {
            let at = at(topic);
            let shown = at.text().lines().next().unwrap_or_default().trim().to_owned();
            let label = if shown.is_empty() { "here" } else { "refused" };
            let problem = Problem::at(&at, rule.reason.clone(), label).maybe_help(rule.fix.clone());
            self.problems.push(problem.help(stands(rule)));
        } else if let Some(topic) = &rule.warn {
            let text = match &rule.fix {
                Some(fix) => format!("{}: {fix}", rule.reason),
                None => rule.reason.clone(),
            };
            self.note(Weight::Warning, Some(host), text, Some(&at(topic)), vec![rule.id.clone()]);
        }
    }

    /// Adds a note; one that is there for another host is made one for all.
    pub fn note(&mut self, weight: Weight, host: Option<&str>, text: String, at: Option<&Span>, why: Vec<RuleId>) {
        let place = at.map(Span::place);
        if let Some(same) = self.notes.iter_mut().find(|n| n.text == text && n.place == place) {
            if same.host.as_deref() != host {
                same.host = None;
            }
            return;
        }
        self.notes.push(Note { weight, host: host.map(str::to_owned), text, place, why });
    }
}

/// What a rule stands on, in one line.
fn stands(rule: &Rule) -> String {
    format!("rule {} ({}); source: {}", rule.id, rule.standing(), rule.source)
}

/// The file's own word for a topic.
pub fn written(why: &mut Why, topic: &str) {
    because(why, topic, LAB_FILE);
}
