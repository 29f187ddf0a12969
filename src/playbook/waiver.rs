//! Waivers: controls that a site accepts as they are, with a reason and a last day.

use std::collections::BTreeMap;
use std::path::Path;

use super::problem::{Problem, Problems, did_you_mean};
use super::steps::{control_id, text_of, words};
use super::yaml::{self, Node, NodeValue};

/// A control that is accepted as it is: it is judged and never changed, and what it fails does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The control's id.
    pub id: String,
    /// Why.
    pub reason: String,
    /// The last day of it, `2027-06-30` (UTC).
    pub until: String,
    /// Names of hosts, with `*` for any part of one; empty means all.
    pub hosts: Vec<String>,
}

const KEYS: &[&str] = &["id", "reason", "until", "hosts"];

impl Waiver {
    /// Whether it is about this control on this host, over or not.
    pub fn is_about(&self, id: &str, host: &str) -> bool {
        self.id == id && (self.hosts.is_empty() || self.hosts.iter().any(|pattern| like(pattern, host)))
    }

    /// Whether its last day is before `today` (`2027-07-01`).
    pub fn expired(&self, today: &str) -> bool {
        // Dates of this form sort as text.
        self.until.as_str() < today
    }
}

/// Today, UTC, as `2027-06-30`.
pub fn today() -> String {
    humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string().chars().take(10).collect()
}

/// The waivers of a file: a list, or a mapping with the key `waivers`.
pub fn read_waivers(path: &Path) -> Result<Vec<Waiver>, Problems> {
    let root = yaml::read(path, &path.display().to_string()).map_err(Problems::from)?;
    let list_node = root.map().and_then(|map| map.get("waivers")).map_or(&root, |entry| &entry.node);
    let mut problems = Vec::new();
    let found = list(list_node, &mut problems);
    if problems.is_empty() { Ok(found) } else { Err(problems.into()) }
}

/// The waivers of a list.
pub fn list(node: &Node, problems: &mut Vec<Problem>) -> Vec<Waiver> {
    let NodeValue::Seq(items) = &node.value else {
        if !node.is_null() {
            problems.push(
                Problem::at(&node.span, "`waivers` wants a list", format!("this is {}", node.describe()))
                    .help("each with `id`, `reason` and `until`: `- {id: ESXI-80-000114, reason: no log host, until: 2027-06-30}`"),
            );
        }
        return Vec::new();
    };
    let mut seen: BTreeMap<(String, Vec<String>), ()> = BTreeMap::new();
    let mut found = Vec::new();
    for item in items {
        let Some(waiver) = one(item, problems) else { continue };
        if seen.insert((waiver.id.clone(), waiver.hosts.clone()), ()).is_some() {
            problems.push(Problem::at(&item.span, format!("{} is waived twice", waiver.id), "a second time"));
        }
        found.push(waiver);
    }
    found
}

fn one(node: &Node, problems: &mut Vec<Problem>) -> Option<Waiver> {
    let Some(map) = node.map() else {
        problems.push(Problem::at(&node.span, "a waiver is a mapping", format!("this is {}", node.describe())));
        return None;
    };
    for (key, entry) in map.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
        let help = did_you_mean(key, KEYS.iter().copied(), "known keys");
        problems.push(Problem::at(&entry.key, format!("a waiver has no key `{key}`"), "unknown key").help(help));
    }
    let mut get = |key: &str, why: &str| {
        let node_of = map.get(key).map(|e| &e.node);
        if node_of.is_none() {
            problems.push(Problem::at(&node.span, format!("a waiver needs `{key}`"), "here").help(why.to_owned()));
        }
        node_of
    };
    let id = get("id", "the id of the control, such as ESXI-80-000114");
    let reason = get("reason", "why the control is accepted as it is; the report shows it");
    let until = get("until", "the last day on which it is accepted, such as 2027-06-30");
    let id = control_id(id?, "id", problems);
    let reason = text_of(reason?, "reason", problems);
    let until_node = until?;
    let until = text_of(until_node, "until", problems).and_then(|text| {
        let day = humantime::parse_rfc3339_weak(&format!("{text} 00:00:00")).is_ok() && text.len() == 10;
        if !day {
            problems.push(
                Problem::at(&until_node.span, "`until` wants a day", format!("this is `{text}`"))
                    .help("write it as year-month-day: 2027-06-30"),
            );
        }
        day.then_some(text)
    });
    let hosts = map.get("hosts").map(|e| words(&e.node, "hosts", problems)).unwrap_or_default();
    Some(Waiver { id: id?, reason: reason?, until: until?, hosts })
}

/// Whether a name fits a pattern in which `*` stands for any text.
fn like(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Waiver>, String> {
        let root = yaml::parse_bytes("w.yml", text.as_bytes()).unwrap();
        let mut problems = Vec::new();
        let found = list(&root, &mut problems);
        if problems.is_empty() { Ok(found) } else { Err(Problems::from(problems).to_string()) }
    }

    #[test]
    fn a_waiver_has_a_reason_and_a_last_day() {
        let found = read("- {id: A-1, reason: no log host, until: 2027-06-30}\n- {id: A-2, reason: r, until: 2027-01-01, hosts: esx*}").unwrap();
        assert_eq!(found.len(), 2);
        assert!(found[0].is_about("A-1", "any") && !found[0].is_about("A-2", "any"));
        assert!(found[1].is_about("A-2", "esx7") && !found[1].is_about("A-2", "other"));
        assert!(!found[0].expired("2027-06-30") && found[0].expired("2027-07-01") && !found[0].expired("2026-12-31"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        for (text, said) in [
            ("- {id: A-1, until: 2027-06-30}", "reason"),
            ("- {id: A-1, reason: r}", "until"),
            ("- {id: A-1, reason: r, until: soon}", "day"),
            ("- {id: A-1, reason: r, until: 2027-02-30}", "day"),
            ("- {id: A 1, reason: r, until: 2027-06-30}", "id of a control"),
            ("- {id: A-1, reason: r, until: 2027-06-30, host: x}", "hosts"),
            ("- {id: A-1, reason: r, until: 2027-06-30}\n- {id: A-1, reason: r, until: 2027-06-30}", "twice"),
            ("A-1", "list"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_match_whole_names() {
        assert!(like("esx1", "esx1") && !like("esx1", "esx12") && !like("esx1", "aesx1"));
        assert!(like("*", "x") && like("*1", "esx1") && like("e*x*1", "esxx1") && !like("e*y*1", "esx1"));
        assert!(!like("a*a", "a"));
    }
}
