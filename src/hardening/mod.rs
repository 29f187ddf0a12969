//! The baselines as data: what each of their controls asks of a host, how sure that is, and what this program does
//! about it. The playbooks in `playbooks/hardening` are what a host is judged by; this is what they are named after.

pub mod compare;
pub mod coverage;
pub mod desired;
#[cfg(test)]
mod playbook_tests;
pub mod show;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

pub use desired::Desired;

use crate::playbook::typed::{self, Draft};
use crate::playbook::{Problems, yaml};

/// Name and text of every baseline, in the order in which they are shown.
const FILES: &[(&str, &str)] = &[
    ("stig-8.0", include_str!("../../data/hardening/stig-8.0.yml")),
    ("stig-7.0", include_str!("../../data/hardening/stig-7.0.yml")),
    ("stig-6.7", include_str!("../../data/hardening/stig-6.7.yml")),
    ("scg-8", include_str!("../../data/hardening/scg-8.yml")),
    ("scg-7", include_str!("../../data/hardening/scg-7.yml")),
    ("9.x", include_str!("../../data/hardening/9.x.yml")),
];

/// A baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Its name, as a playbook's `baseline:` gives it: `stig-8.0`.
    pub name: String,
    /// Its title, in our words.
    pub title: String,
    /// Who publishes it.
    pub publisher: String,
    /// Which family it belongs to.
    pub family: Family,
    /// Releases of ESXi that it is about, as `major.minor`.
    pub versions: Vec<String>,
    /// The edition that was read: a STIG's version (`2`), another guide's own label.
    pub version: String,
    /// A STIG's release within its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// The day of the edition, as `year-month-day`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// The name by which STIG viewers know the benchmark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stig_id: Option<String>,
    /// The benchmark's own title, which STIG viewers show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stig_title: Option<String>,
    /// The playbook that judges a host by it, in this project; none: it is data only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbook: Option<String>,
    /// Its controls, in the order of the publisher.
    pub controls: Vec<Control>,
}

/// A family of baselines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Security Technical Implementation Guides of DISA, and the guides that become one.
    Stig,
    /// Security Configuration Guides of the vendor.
    Scg,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// CAT III.
    Low,
    /// CAT II.
    Medium,
    /// CAT I.
    High,
}

impl Severity {
    /// As in a file: `high`.
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// As DISA counts it: `CAT I`.
    pub fn category(self) -> &'static str {
        match self {
            Self::High => "CAT I",
            Self::Medium => "CAT II",
            Self::Low => "CAT III",
        }
    }
}

/// What this program does about a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Judged and fixed.
    Fixed,
    /// Judged, wholly or in half; a fix needs hardware, secrets, a person, or a decision that is the user's.
    Judged,
    /// Nothing on the host says it.
    NotJudged,
}

impl Outcome {
    /// For people: `not judged`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Judged => "judged",
            Self::NotJudged => "not judged",
        }
    }
}

/// How sure the commands and values of a control are. None of it says that a real host was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The publisher's file gives the shell form, or a captured output shows it.
    Sourced,
    /// Same key or namespace as in the publisher's file; the shell form is built from it.
    Derived,
    /// Something about it is not known and needs a look at a real host.
    Open,
}

impl Confidence {
    /// As in a file: `derived`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sourced => "sourced",
            Self::Derived => "derived",
            Self::Open => "open",
        }
    }
}

/// One control of a baseline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Its id in the baseline: `ESXI-80-000005`, `esxi-8.account-lockout`.
    pub id: String,
    /// What it asks, in our words.
    pub title: String,
    /// How bad a finding is. Guides with priorities: P0 is high, P1 medium, everything else low.
    pub severity: Severity,
    /// The guide's own priority, where it has priorities and no severities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
    /// DISA's group (`V-258728`), which STIG viewers need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// DISA's rule (`SV-258728r958388_rule`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The requirement that the rule is for (`SRG-OS-...`), which STIG viewers show as the group's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srg: Option<String>,
    /// Control correlation identifiers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ccis: Vec<String>,
    /// What it is about, the same in every baseline.
    pub concept: String,
    /// What it asks, concept by concept, where it is several in one.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub parts: IndexMap<String, String>,
    /// Releases of ESXi that it applies to, as `major.minor`.
    pub versions: Vec<String>,
    /// The kind of step that judges it.
    pub kind: String,
    /// The setting, keyword, service or object that it is about.
    pub target: String,
    /// What it asks for; see [`Desired`] for the grammar.
    pub desired: String,
    /// What passes too if a guide's number is read as "at most" (or "at least"): a stricter host is no worse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_as: Option<String>,
    /// What this program does about it.
    pub outcome: Outcome,
    /// Why it is not fixed, or not judged, and what a person does instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What a fix needs: a reboot, maintenance mode, a value of the site ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// How to look by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,
    /// How to change it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// What else is good to know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How sure the commands and values are.
    pub confidence: Confidence,
    /// Where it is from: a public repository and a path in it.
    pub source: String,
}

impl Control {
    /// What it asks, by concept: one, or the parts of a control that is several in one.
    pub fn asks(&self) -> Vec<(&str, &str)> {
        if self.parts.is_empty() {
            return vec![(&self.concept, &self.desired)];
        }
        self.parts.iter().map(|(concept, desired)| (concept.as_str(), desired.as_str())).collect()
    }
}

impl Baseline {
    /// Reads one.
    pub fn parse(name: &str, text: &str) -> Result<Self, Problems> {
        let root = yaml::parse_bytes(name, text.as_bytes())?;
        let draft = Draft {
            node: &root,
            key: None,
            what: "the baseline".into(),
            value: typed::constant(&root),
            unknown: Default::default(),
        };
        let outcome = typed::read(draft, &|value| serde_path_to_error::deserialize::<_, Self>(value));
        match outcome.value {
            Some(baseline) => Ok(baseline),
            None => Err(outcome.problems.into()),
        }
    }

    /// A control by its id.
    pub fn control(&self, id: &str) -> Option<&Control> {
        self.controls.iter().find(|c| c.id == id)
    }

    /// Edition for people: `V2R3`, `803-20260612-01`.
    pub fn edition(&self) -> String {
        match &self.release {
            Some(release) => format!("V{}R{release}", self.version),
            None => self.version.clone(),
        }
    }

    /// Whether STIG viewers know it: a STIG with the identifiers of DISA.
    pub fn is_stig(&self) -> bool {
        self.stig_id.is_some() && self.controls.iter().any(|c| c.rule.is_some())
    }

    /// The title that STIG viewers show.
    pub fn viewer_title(&self) -> &str {
        self.stig_title.as_ref().unwrap_or(&self.title)
    }

    /// The edition in the words of STIG viewers: `Release: 3 Benchmark Date: 02 Apr 2025`.
    pub fn release_info(&self) -> String {
        let release = self.release.as_deref().unwrap_or("1");
        match self.date.as_deref().and_then(day) {
            Some(date) => format!("Release: {release} Benchmark Date: {date}"),
            // Readers look for the word after the number.
            None => format!("Release: {release} Benchmark Date: unknown"),
        }
    }
}

/// `2025-04-02` as `02 Apr 2025`.
fn day(date: &str) -> Option<String> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{day} {month} {year}"))
}

/// Those that can be read: all, as a test makes sure.
static BASELINES: LazyLock<BTreeMap<&str, Baseline>> = LazyLock::new(|| {
    let read = |(name, text): &(&'static str, &str)| Some((*name, Baseline::parse(&format!("{name}.yml"), text).ok()?));
    FILES.iter().filter_map(read).collect()
});

/// A baseline by its name.
pub fn baseline(name: &str) -> Option<&'static Baseline> {
    BASELINES.get(name)
}

/// The names of all baselines, in the order in which they are shown.
pub fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name)
}

/// All baselines, in the order in which they are shown.
pub fn all() -> impl Iterator<Item = &'static Baseline> {
    names().filter_map(baseline)
}

/// A control by its id, in whichever baseline it is. Ids are unique over all baselines.
pub fn control(id: &str) -> Option<(&'static Baseline, &'static Control)> {
    all().find_map(|b| b.control(id).map(|c| (b, c)))
}
