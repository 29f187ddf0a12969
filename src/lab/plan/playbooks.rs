//! What matters of a playbook before anything is started: for which versions it is, and which drivers it disables.
//! Only this much is read here; `up` loads the playbook itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::PlaybookFacts;
use crate::lab::spec::Lab;
use crate::playbook::yaml::{self, Node};

/// Reads every playbook that a lab names. Reads files, and nothing else.
pub fn look_at_playbooks(lab: &Lab) -> BTreeMap<PathBuf, PlaybookFacts> {
    let look = |path: PathBuf| {
        let shown = path.display().to_string();
        let facts = match yaml::read(&path, &shown) {
            Ok(root) => look_at(&root),
            Err(problems) => {
                let error = problems.first().map_or_else(|| format!("cannot read {shown}"), |p| p.message().to_owned());
                PlaybookFacts { error: Some(error), ..PlaybookFacts::default() }
            }
        };
        (path, facts)
    };
    lab.playbooks().into_keys().map(look).collect()
}

fn look_at(root: &Node) -> PlaybookFacts {
    let get = |node: &'_ Node, key: &str| node.map().and_then(|m| m.get(key)).map(|e| e.node.clone());
    let mut facts = PlaybookFacts::default();
    let text = |node: &Node| node.scalar().map(|s| s.text.clone());
    if let Some(esxi) = get(root, "esxi") {
        facts.releases = match esxi.seq() {
            Some(items) => items.iter().filter_map(text).collect(),
            None => text(&esxi).into_iter().collect(),
        };
    }
    let steps = get(root, "steps");
    for step in steps.iter().flat_map(|s| s.seq().unwrap_or_default()) {
        let Some(module) = get(step, "module") else { continue };
        let off = get(&module, "enabled")
            .and_then(|e| text(&e))
            .is_some_and(|e| matches!(e.as_str(), "false" | "no" | "off"));
        if off {
            facts.disables.extend(get(&module, "name").and_then(|n| text(&n)));
        }
    }
    facts
}
