//! The playbooks and the data say the same: read as text and YAML, whatever kinds of step there are.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::playbook::yaml::Node;

const PLAYBOOKS: &[&str] = &["stig-8.0", "stig-7.0", "stig-6.7", "scg-8", "scg-7"];

/// Keys of a step that are not its kind.
const COMMON: &[&str] = &["name", "id", "when", "fix"];

struct Playbook {
    text: String,
    root: Node,
}

/// One step: its control, its kind and the kind's arguments.
struct Written<'a> {
    id: Option<&'a str>,
    kind: &'a str,
    args: &'a Node,
}

fn read(name: &str) -> Playbook {
    let path = format!("{}/playbooks/hardening/{name}.yml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let root = yaml::parse_bytes(&path, text.as_bytes()).unwrap_or_else(|p| panic!("{path}: {p:?}"));
    Playbook { text, root }
}

impl Playbook {
    fn scalar(&self, key: &str) -> &str {
        &self.root.map().unwrap()[key].node.scalar().unwrap().text
    }

    fn steps(&self) -> Vec<Written<'_>> {
        self.root.map().unwrap()["steps"].node.seq().unwrap().iter().map(written).collect()
    }
}

fn written(node: &Node) -> Written<'_> {
    let map = node.map().unwrap();
    let (kind, entry) = map.iter().find(|(k, _)| !COMMON.contains(&k.as_str())).unwrap();
    Written { id: text(node, "id"), kind, args: &entry.node }
}

fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.map()?.get(key)?.node.scalar().map(|s| s.text.as_str())
}

/// Baseline, its playbook.
fn pairs() -> Vec<(&'static Baseline, Playbook)> {
    PLAYBOOKS.iter().map(|name| (baseline(name).unwrap(), read(name))).collect()
}

#[test]
fn every_control_has_a_step_and_every_id_is_a_control() {
    for (b, p) in pairs() {
        assert_eq!(p.scalar("baseline"), b.name);
        assert_eq!(b.playbook, Some(format!("playbooks/hardening/{}.yml", b.name)));
        assert!(b.versions.iter().any(|v| v == p.scalar("esxi")), "{}", b.name);
        let steps = p.steps();
        let ids: BTreeSet<&str> = steps.iter().filter_map(|s| s.id).collect();
        let known: BTreeSet<&str> = b.controls.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, known, "{}", b.name);
        for s in &steps {
            assert!(s.id.is_some() || s.kind == "reboot", "{}: a step of `{}` without an id", b.name, s.kind);
        }
    }
}

#[test]
fn what_the_data_says_of_a_control_is_what_its_steps_do() {
    for (b, p) in pairs() {
        for c in &b.controls {
            let steps = p.steps();
            let kinds: BTreeSet<&str> = steps.iter().filter(|s| s.id == Some(&c.id)).map(|s| s.kind).collect();
            assert!(kinds.contains(c.kind.as_str()), "{}: the data says `{}`, the steps are {kinds:?}", c.id, c.kind);
            // The exception list of lockdown mode does not show: that kind tells at least where it has no meaning.
            let judges = kinds.iter().any(|k| *k != "manual") && c.concept != "lockdown-exception-users";
            assert_eq!(judges, c.outcome != Outcome::NotJudged, "{}: {} with {kinds:?}", c.id, c.outcome.word());
        }
    }
}

#[test]
fn the_first_step_of_a_control_has_its_title() {
    for (b, p) in pairs() {
        let mut seen = BTreeMap::new();
        for node in p.root.map().unwrap()["steps"].node.seq().unwrap() {
            if let (Some(id), Some(name)) = (text(node, "id"), text(node, "name")) {
                seen.entry(id.to_owned()).or_insert_with(|| name.to_owned());
            }
        }
        for c in &b.controls {
            assert_eq!(seen[&c.id], c.title, "{}", c.id);
        }
    }
}

/// What a step would set must be what the control asks: the data and the playbooks are written in two places.
#[test]
fn what_a_step_sets_is_what_the_control_asks() {
    let mut compared = 0;
    for (b, p) in pairs() {
        for s in p.steps() {
            let (Some(id), "setting" | "sshd") = (s.id, s.kind) else { continue };
            let Some(value) = s.args.map().unwrap().get("value").filter(|v| !v.node.is_null()) else { continue };
            let value = &value.node.scalar().unwrap().text;
            if value.contains("{{") {
                continue;
            }
            let control = b.control(id).unwrap();
            let passes = Desired::parse(&control.desired).passes(value);
            assert_eq!(passes, Some(true), "{id} asks for {} and the step sets {value}", control.desired);
            let key = text(s.args, "key").unwrap();
            let target = control.target.trim_start_matches('/').replace('/', ".");
            assert!(key.eq_ignore_ascii_case(&target), "{id}: {key} and {target}");
            compared += 1;
        }
    }
    assert!(compared > 120, "only {compared} values were compared");
}

/// The grammar of a step's `accept`, as far as it is a range or a list, is what the data says.
#[test]
fn what_a_step_accepts_is_no_more_than_the_control_does() {
    for (b, p) in pairs() {
        for s in p.steps() {
            let (Some(id), "setting" | "sshd") = (s.id, s.kind) else { continue };
            let control = b.control(id).unwrap();
            let asked = [Some(control.desired.as_str()), control.reads_as.as_deref()];
            let passes =
                |value: &str| asked.iter().flatten().any(|text| Desired::parse(text).passes(value) == Some(true));
            let Some(accept) = s.args.map().unwrap().get("accept") else { continue };
            for (key, entry) in accept.node.map().unwrap() {
                match key.as_str() {
                    "min" | "max" => {
                        let n: i64 = entry.node.scalar().unwrap().text.parse().unwrap();
                        let beyond = if key == "min" { n - 1 } else { n + 1 };
                        assert!(passes(&n.to_string()) && !passes(&beyond.to_string()), "{id}: {key} {n}");
                    }
                    "subset_of" | "set_of" => {
                        let all = entry.node.seq().unwrap().iter().map(|n| n.scalar().unwrap().text.as_str());
                        let all: Vec<&str> = all.collect();
                        assert!(passes(&all.join(",")), "{id}");
                        assert!(!passes(&format!("{},more", all.join(","))), "{id}");
                        assert_eq!(passes(all[0]), key == "subset_of", "{id}");
                    }
                    "contains" => assert!(passes(&entry.node.scalar().unwrap().text), "{id}"),
                    "none_of" => {}
                    other => panic!("{id}: nothing checks `{other}`"),
                }
            }
        }
    }
}

#[test]
fn the_order_is_a_safe_one() {
    for (b, p) in pairs() {
        let steps = p.steps();
        let at = |concept: &str| {
            let ids: Vec<&str> = b
                .controls
                .iter()
                .filter(|c| c.asks().iter().any(|(x, _)| *x == concept))
                .map(|c| c.id.as_str())
                .collect();
            let found: Vec<usize> = steps
                .iter()
                .enumerate()
                .filter(|(_, s)| s.id.is_some_and(|i| ids.contains(&i)))
                .map(|(n, _)| n)
                .collect();
            found.first().copied().zip(found.last().copied())
        };
        let before = |first: &str, then: &str| {
            if let (Some((_, end)), Some((start, _))) = (at(first), at(then)) {
                assert!(end <= start, "{}: {first} comes after {then}", b.name);
            }
        };
        before("logs-persistent", "logs-audit-local");
        before("logs-audit-persistent", "logs-audit-local");
        before("logs-audit-local-capacity", "logs-audit-local");
        before("timekeeping-sources", "host-certificate");
        before("lockdown-mode", "deactivate-ssh");
        before("firewall-restrict-access", "lockdown-mode");
        before("shell-timeout", "lockdown-mode");
        let barrier = steps.iter().position(|s| s.kind == "reboot").unwrap();
        assert_eq!(steps.iter().filter(|s| s.kind == "reboot").count(), 1, "{}: one reboot", b.name);
        for door in ["firewall-restrict-access", "shell-timeout", "lockdown-mode", "deactivate-ssh", "ssh-root-login"] {
            assert!(at(door).is_none_or(|(first, _)| first > barrier), "{}: {door} before the reboot", b.name);
        }
        for waits in ["tls-profile", "tls-protocols", "vib-trusted-binaries", "tpm-configuration", "reverse-proxy-fips"]
        {
            assert!(at(waits).is_none_or(|(_, last)| last < barrier), "{}: {waits} after the reboot", b.name);
        }
        assert_eq!(at("deactivate-ssh").unwrap().1, steps.len() - 1, "{}: SSH is the last door", b.name);
    }
}

/// By default nothing closes the way in, and nothing is passed off as the site's.
#[test]
fn every_variable_is_explained_and_used_and_closes_nothing_by_default() {
    for (b, p) in pairs() {
        let vars = p.root.map().unwrap()["vars"].node.map().unwrap();
        let lines: Vec<&str> = p.text.lines().collect();
        for (name, entry) in vars {
            let line = lines.iter().position(|l| l.starts_with(&format!("  {name}:"))).unwrap();
            assert!(lines[line - 1].trim_start().starts_with("# "), "{}: `{name}` has no comment", b.name);
            let used = p.text.matches(name.as_str()).count();
            assert!(used > 1, "{}: nothing uses `{name}`", b.name);
            if ["close_ssh", "refuse_root", "remove_root_keys"].contains(&name.as_str()) {
                assert_eq!(entry.node.scalar().unwrap().text, "false", "{}: {name}", b.name);
            }
            if name == "lockdown" {
                assert_eq!(entry.node.scalar().unwrap().text, "", "{}", b.name);
            }
        }
        let banner = &vars["banner"].node.scalar().unwrap().text;
        match b.family {
            Family::Stig => assert!(banner.starts_with("You are accessing a U.S. Government "), "{}", b.name),
            Family::Scg => assert!(banner.is_empty(), "{}", b.name),
        }
    }
}

/// The ways in are only judged until a variable says otherwise.
#[test]
fn the_ways_in_are_closed_by_a_variable_only() {
    for (b, p) in pairs() {
        for (concept, variable) in [
            ("deactivate-ssh", "close_ssh"),
            ("ssh-root-login", "refuse_root"),
            ("ssh-root-keys", "remove_root_keys"),
            ("lockdown-mode", "lockdown == 'normal'"),
        ] {
            for c in b.controls.iter().filter(|c| c.concept == concept) {
                for node in p.root.map().unwrap()["steps"].node.seq().unwrap() {
                    if text(node, "id") == Some(&c.id) {
                        assert_eq!(text(node, "fix"), Some(format!("{{{{ {variable} }}}}").as_str()), "{}", c.id);
                    }
                }
            }
        }
    }
}
