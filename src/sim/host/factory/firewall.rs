//! The firewall rulesets of a fresh host; see firewall.tsv for where they are from.

use std::sync::LazyLock;

use super::super::state::Release;
use super::tables::rows;

/// A ruleset as it ships.
#[derive(Debug)]
pub(in super::super) struct Shipped {
    pub name: &'static str,
    pub since: Release,
    old: bool,
    new: bool,
    /// Whether 8.0 lets a person switch it.
    pub switchable: bool,
    /// Whether 8.0 lets a person limit who may use it.
    pub limitable: bool,
    rules: Vec<[&'static str; 5]>,
}

impl Shipped {
    pub(in super::super) fn enabled(&self, release: Release) -> bool {
        if release >= Release::V80 { self.new } else { self.old }
    }
}

/// The rulesets, in the order a host lists them.
pub(in super::super) static RULESETS: LazyLock<Vec<Shipped>> = LazyLock::new(|| {
    rows(include_str!("firewall.tsv"))
        .map(|c| Shipped {
            name: c[0],
            since: Release::of(c[1]),
            old: c[2] == "true",
            new: c[3] == "true",
            switchable: c[4] == "true",
            limitable: c[5] == "true",
            rules: c[6]
                .split(';')
                .filter_map(|rule| <[&str; 5]>::try_from(rule.split(' ').collect::<Vec<_>>()).ok())
                .collect(),
        })
        .collect()
});

/// A ruleset by its name.
pub(in super::super) fn shipped(name: &str) -> Option<&'static Shipped> {
    RULESETS.iter().find(|s| s.name == name)
}

/// The rules of a ruleset.
pub(in super::super) fn rules(name: &str) -> &'static [[&'static str; 5]] {
    shipped(name).map_or(&[], |s| &s.rules)
}
