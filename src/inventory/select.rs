//! Host patterns.

use std::collections::BTreeSet;

use regex::Regex;

use super::{Host, Inventory};
use crate::playbook::{Problem, Problems, nearest};

/// The hosts that match; see [`Inventory::select`].
pub fn select<'i>(
    inventory: &'i Inventory,
    patterns: &[String],
    limit: Option<&str>,
) -> Result<Vec<&'i Host>, Problems> {
    let mut problems = Vec::new();
    let mut chosen = matching(inventory, patterns, "hosts", &mut problems);
    if let Some(limit) = limit {
        let narrowed = matching(inventory, &[limit.to_owned()], "--limit", &mut problems);
        chosen.retain(|name| narrowed.contains(name));
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let hosts: Vec<&Host> = inventory.hosts.iter().filter(|h| chosen.contains(h.name.as_str())).collect();
    if hosts.is_empty() {
        let all = patterns.iter().map(String::as_str).chain(limit).collect::<Vec<_>>().join(", ");
        let problem = if inventory.hosts.is_empty() {
            Problem::nowhere("the inventory has no hosts")
        } else {
            Problem::nowhere(format!("no host is left after `{all}`"))
                .help(format!("known hosts: {}", names(inventory).join(", ")))
        };
        return Err(problem.into());
    }
    Ok(hosts)
}

/// The names of the hosts that all lists of patterns leave; a pattern that matches nothing leaves none.
pub fn narrowed(inventory: &Inventory, lists: &[Vec<String>]) -> BTreeSet<String> {
    let mut left: BTreeSet<&str> = names(inventory).into_iter().collect();
    for patterns in lists {
        let chosen = matching(inventory, patterns, "", &mut Vec::new());
        left.retain(|name| chosen.contains(name));
    }
    left.into_iter().map(str::to_owned).collect()
}

fn names(inventory: &Inventory) -> Vec<&str> {
    inventory.hosts.iter().map(|h| h.name.as_str()).collect()
}

fn matching<'i>(
    inventory: &'i Inventory,
    patterns: &[String],
    what: &str,
    problems: &mut Vec<Problem>,
) -> BTreeSet<&'i str> {
    let mut parts = Vec::new();
    for pattern in patterns {
        for piece in pattern.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            // A name with a port or an IPv6 address has colons of its own.
            if piece.strip_prefix('!').unwrap_or(piece).contains(':')
                && !find(inventory, piece.trim_start_matches('!')).is_empty()
            {
                parts.push(piece);
            } else {
                parts.extend(piece.split(':').filter(|p| !p.is_empty()));
            }
        }
    }
    let only_exclusions = parts.iter().all(|p| p.starts_with('!'));
    let mut chosen: BTreeSet<&str> =
        if only_exclusions { names(inventory).into_iter().collect() } else { BTreeSet::new() };
    let (out, into): (Vec<&str>, Vec<&str>) = parts.into_iter().partition(|p| p.starts_with('!'));
    for part in into.iter().chain(&out) {
        let (pattern, exclude) = match part.strip_prefix('!') {
            Some(rest) => (rest, true),
            None => (*part, false),
        };
        let found = find(inventory, pattern);
        if found.is_empty() {
            problems.push(unmatched(inventory, pattern, what));
        }
        for name in found {
            if exclude {
                chosen.remove(name)
            } else {
                chosen.insert(name)
            };
        }
    }
    chosen
}

fn find<'i>(inventory: &'i Inventory, pattern: &str) -> Vec<&'i str> {
    let glob = glob(pattern);
    let fits = |text: &str| text == pattern || glob.as_ref().is_some_and(|g| g.is_match(text));
    let hosts = inventory.hosts.iter();
    hosts
        .filter(|h| pattern == "all" || fits(&h.name) || h.groups.iter().any(|g| fits(g)))
        .map(|h| h.name.as_str())
        .collect()
}

fn glob(pattern: &str) -> Option<Regex> {
    if !pattern.contains(['*', '?']) {
        return None;
    }
    let escaped = regex::escape(pattern).replace(r"\*", ".*").replace(r"\?", ".");
    Regex::new(&format!("^{escaped}$")).ok()
}

fn unmatched(inventory: &Inventory, pattern: &str, what: &str) -> Problem {
    let hosts = names(inventory);
    let groups: BTreeSet<&str> = inventory.hosts.iter().flat_map(|h| &h.groups).map(String::as_str).collect();
    let all = hosts.iter().copied().chain(groups.iter().copied());
    let near = nearest(pattern, all).map(|n| format!("did you mean `{n}`?"));
    let problem = Problem::nowhere(format!("{what}: `{pattern}` matches no host and no group")).maybe_help(near);
    if groups.is_empty() {
        problem.help(format!("hosts: {}", hosts.join(", ")))
    } else {
        problem.help(format!(
            "hosts: {}; groups: {}",
            hosts.join(", "),
            groups.into_iter().collect::<Vec<_>>().join(", ")
        ))
    }
}
