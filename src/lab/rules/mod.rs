//! What works per ESXi version and QEMU version: one table, `rules.yml`, and the questions that the plan asks of it.
//!
//! The program has no facts of its own about ESXi under QEMU: it knows topics ("machine", "nic", "boot_size" ...), and
//! the table says what they are, what they must not be, and why.

mod range;
pub mod reference;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use range::Range;

use crate::esxi::Version;
use crate::lab::qemu::QemuVersion;
use crate::playbook::typed::{self, Draft};
use crate::playbook::{Problems, yaml};

/// The name of a rule. [`LAB_FILE`] stands for "the lab file says so".
pub type RuleId = String;

/// Instead of a rule, where the lab file itself decides.
pub const LAB_FILE: &str = "lab-file";

/// A rule of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its name.
    pub id: RuleId,
    /// Versions of ESXi that it is for.
    #[serde(default)]
    pub esxi: Range,
    /// Versions of QEMU that it is for.
    #[serde(default)]
    pub qemu: Range,
    /// What else must hold: topic, and the values that it may have.
    #[serde(default)]
    pub when: BTreeMap<String, OneOf>,
    /// Topic and what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<Pair>,
    /// Topic and one more word for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<Pair>,
    /// Topic and the smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least: Option<Pair>,
    /// It does not work; the topic that a message is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refuse: Option<String>,
    /// It may not work; the topic that a message is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warn: Option<String>,
    /// The part of the command line that it explains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<String>,
    /// Why, for people.
    pub reason: String,
    /// What to do instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// Where the fact is from.
    pub source: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// What esxprep's makers saw themselves; none: not verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<String>,
}

/// How sure a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// Measured, or seen by two sources.
    High,
    /// Seen by one source.
    Medium,
    /// Inferred, or hearsay.
    Low,
}

/// One topic with its value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "IndexMap<String, String>", into = "IndexMap<String, String>")]
pub struct Pair {
    /// The topic.
    pub topic: String,
    /// The value.
    pub value: String,
}

impl TryFrom<IndexMap<String, String>> for Pair {
    type Error = String;

    fn try_from(map: IndexMap<String, String>) -> Result<Self, String> {
        let mut all = map.into_iter();
        match (all.next(), all.next()) {
            (Some((topic, value)), None) => Ok(Self { topic, value }),
            _ => Err("a rule says one thing".into()),
        }
    }
}

impl From<Pair> for IndexMap<String, String> {
    fn from(pair: Pair) -> Self {
        Self::from([(pair.topic, pair.value)])
    }
}

/// A value or several.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOf {
    /// Only this.
    One(String),
    /// Any of these.
    Any(Vec<String>),
}

impl OneOf {
    /// The values.
    pub fn words(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Any(words) => words,
        }
    }
}

/// What a question is about: the versions, and what is known of each topic.
#[derive(Debug, Clone)]
pub struct Case {
    /// The ESXi that runs, or that the stand-in plays.
    pub esxi: Version,
    /// The QEMU that runs it.
    pub qemu: QemuVersion,
    /// Topic and value.
    pub known: BTreeMap<&'static str, String>,
}

impl Case {
    /// The same case, with one thing more known.
    #[must_use]
    pub fn with(&self, topic: &'static str, value: impl Into<String>) -> Self {
        let mut more = self.clone();
        more.known.insert(topic, value.into());
        more
    }

    /// Sets what is known of a topic.
    pub fn know(&mut self, topic: &'static str, value: impl Into<String>) {
        self.known.insert(topic, value.into());
    }
}

impl Rule {
    /// Whether it is about this case. What a rule asks about and nobody knows does not hold.
    pub fn holds(&self, case: &Case) -> bool {
        let numbers = [case.esxi.major, case.esxi.minor, case.esxi.patch];
        self.esxi.contains(numbers)
            && self.qemu.contains([case.qemu.major, case.qemu.minor, case.qemu.micro])
            && self
                .when
                .iter()
                .all(|(topic, words)| case.known.get(topic.as_str()).is_some_and(|value| words.words().contains(value)))
    }

    /// Topics that it asks about.
    pub fn asks(&self) -> BTreeSet<&str> {
        self.when.keys().map(String::as_str).collect()
    }

    /// `id (confidence, verified or not)`.
    pub fn standing(&self) -> String {
        let confidence = match self.confidence {
            Confidence::High => "high",
            Confidence::Medium => "medium",
            Confidence::Low => "low",
        };
        match &self.verified {
            Some(seen) => format!("confidence {confidence}; verified: {seen}"),
            None => format!("confidence {confidence}; not verified"),
        }
    }
}

/// The table.
#[derive(Debug, Default)]
pub struct Book {
    rules: Vec<Rule>,
    by_id: BTreeMap<RuleId, usize>,
    /// Why it could not be read; a test keeps this from happening.
    pub broken: Option<String>,
}

static BOOK: LazyLock<Book> = LazyLock::new(|| match Book::parse("rules.yml", include_str!("rules.yml")) {
    Ok(book) => book,
    Err(problems) => Book { broken: Some(problems.plain()), ..Book::default() },
});

/// The table that is built in.
pub fn book() -> &'static Book {
    &BOOK
}

impl Book {
    /// Reads a table.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let root = yaml::parse_bytes(name, text.as_bytes())?;
        let mut problems = Vec::new();
        let mut book = Self::default();
        for node in root.seq().unwrap_or_default() {
            let draft = Draft {
                node,
                key: None,
                what: "the rule".into(),
                value: typed::constant(node),
                unknown: BTreeSet::new(),
            };
            let outcome = typed::read(draft, &|value| serde_path_to_error::deserialize::<_, Rule>(value));
            problems.extend(outcome.problems);
            if let Some(rule) = outcome.value {
                book.by_id.insert(rule.id.clone(), book.rules.len());
                book.rules.push(rule);
            }
        }
        if problems.is_empty() { Ok(book) } else { Err(problems.into()) }
    }

    /// All rules, in order.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// A rule by name.
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.by_id.get(id).and_then(|i| self.rules.get(*i))
    }

    /// What a topic is in this case: the first rule that says so.
    pub fn choose(&self, topic: &str, case: &Case) -> Option<(&str, &Rule)> {
        let said = |r: &'_ Rule| r.set.as_ref().is_some_and(|p| p.topic == topic) && r.holds(case);
        self.rules.iter().find(|r| said(r)).and_then(|r| r.set.as_ref().map(|p| (p.value.as_str(), r)))
    }

    /// All words for a topic in this case.
    pub fn words(&self, topic: &str, case: &Case) -> Vec<(&str, &Rule)> {
        let said = |r: &&Rule| r.holds(case);
        let word = |r: &'_ Rule| r.add.as_ref().filter(|p| p.topic == topic).is_some();
        self.rules
            .iter()
            .filter(|r| word(r))
            .filter(said)
            .filter_map(|r| r.add.as_ref().map(|p| (p.value.as_str(), r)))
            .collect()
    }

    /// The smallest value of a topic in this case.
    pub fn least(&self, topic: &str, case: &Case) -> Option<(&str, &Rule)> {
        let said = |r: &'_ Rule| r.least.as_ref().is_some_and(|p| p.topic == topic) && r.holds(case);
        self.rules.iter().find(|r| said(r)).and_then(|r| r.least.as_ref().map(|p| (p.value.as_str(), r)))
    }

    /// Refusals and warnings that ask about the topic `about` (or about nothing, if it is empty) and hold.
    pub fn remarks(&self, about: &str, case: &Case) -> Vec<&Rule> {
        self.rules
            .iter()
            .filter(|r| r.refuse.is_some() || r.warn.is_some())
            .filter(|r| {
                let asks = r.asks();
                if about.is_empty() {
                    asks.is_empty() || asks == BTreeSet::from(["guest"])
                } else {
                    asks.contains(about)
                }
            })
            .filter(|r| r.holds(case))
            .collect()
    }
}
