//! Taking a run back: from its journal, a playbook of the steps that bring the values before back, the last change
//! first. It goes through the engine like any playbook, so every step is compared, made, verified and journalled, and
//! what is back already stays as it is.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::events::{ChangeShown, EventKind};
use super::journal::Recorded;
use crate::steps::Undo;

/// What taking a run back comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct UndoPlan {
    /// The playbook, as text that [`crate::playbook::Playbook::from_text`] reads.
    pub playbook: String,
    /// The hosts that the run changed.
    pub hosts: BTreeSet<String>,
    /// Number of steps in it.
    pub steps: usize,
    /// What esxprep cannot take back: host, change and the value before.
    pub left: Vec<String>,
}

/// One change that was begun: on which host, by which kind of step.
struct Begun<'a> {
    host: &'a str,
    step: usize,
    kind: &'a str,
    change: &'a ChangeShown,
}

/// The playbook that takes a run, and the runs that it went on from, back.
pub fn plan(run: &Recorded) -> UndoPlan {
    let mut begun = Vec::new();
    collect(run, &mut begun);
    let mut plan = UndoPlan { playbook: String::new(), hosts: BTreeSet::new(), steps: 0, left: Vec::new() };
    let mut steps: Vec<Value> = Vec::new();
    // Maintenance mode, in which changes were made, is left after they are taken back.
    let (modes, changes): (Vec<Begun<'_>>, Vec<Begun<'_>>) = begun.into_iter().rev().partition(|b| b.step == 0);
    for Begun { host, kind, change, .. } in changes.into_iter().chain(modes) {
        // What has no commands was made before, or is for a person; a reboot is nothing to take back.
        if change.commands.is_empty() || kind == "reboot" {
            continue;
        }
        plan.hosts.insert(host.to_owned());
        match &change.undo {
            Some(Undo { kind, args }) => {
                let step = json!({
                    "name": raw(&format!("back to {:?}: {}", change.before, change.summary)),
                    "when": format!("inventory_hostname == {}", json!(host)),
                    kind.as_str(): literal(args),
                });
                // A try that was repeated began the same change again.
                if steps.last() != Some(&step) {
                    steps.push(step);
                }
            }
            None => plan
                .left
                .push(format!("{host}: {} (before: {:?}, now: {:?})", change.summary, change.before, change.after)),
        }
    }
    plan.steps = steps.len();
    let name = format!("undo of {}", run.meta.run);
    plan.playbook = json!({ "name": raw(&name), "steps": steps }).to_string();
    plan
}

/// The changes in the order in which they were begun.
fn collect<'a>(run: &'a Recorded, begun: &mut Vec<Begun<'a>>) {
    if let Some(earlier) = &run.earlier {
        collect(earlier, begun);
    }
    for event in &run.events {
        if let EventKind::Making { host, step, kind, changes, .. } = &event.kind {
            begun.extend(changes.iter().map(|change| Begun { host, step: *step, kind, change }));
        }
    }
}

/// A text that no template is looked for in.
fn raw(text: &str) -> String {
    if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
        return text.to_owned();
    }
    // Each mark by itself, as a text that prints it.
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        out.push_str("{{ '{' }}");
        rest = &rest[at + 1..];
    }
    out + rest
}

/// Arguments whose texts are just those texts.
fn literal(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(raw(text)),
        Value::Array(items) => items.iter().map(literal).collect(),
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), literal(value))).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use indexmap::IndexMap;

    use super::super::events::Event;
    use super::super::journal::RunMeta;
    use super::*;
    use crate::esxi::{HostFacts, Version};
    use crate::playbook::{Playbook, Scope};

    fn making(host: &str, summary: &str, before: &str, undo: Option<Undo>) -> Event {
        let change = ChangeShown {
            summary: summary.into(),
            before: before.into(),
            after: "x".into(),
            commands: vec!["esxcli ...".into()],
            undo,
            ..ChangeShown::default()
        };
        let kind = EventKind::Making {
            host: host.into(),
            step: 1,
            kind: "setting".into(),
            name: "n".into(),
            changes: vec![change],
        };
        Event::now("r", kind)
    }

    fn recorded(events: Vec<Event>) -> Recorded {
        let meta = RunMeta::new("20261128-r".into(), &crate::engine::journal::NewRun::default());
        Recorded { meta, events, unreadable: 0, earlier: None }
    }

    fn set(key: &str, value: &str) -> Option<Undo> {
        Undo::step("setting", json!({"key": key, "value": value}))
    }

    /// What the plan's steps are on a host.
    fn bound(plan: &UndoPlan, host: &str) -> Vec<String> {
        let book = Playbook::from_text(Path::new("undo.yml"), &plan.playbook, &BTreeSet::new()).unwrap();
        let facts = HostFacts::example(Version::new(8, 0));
        let none = IndexMap::new();
        let scope = Scope { vars: &none, facts: &facts, inventory_name: host, registered: &none };
        let steps = book.steps.iter().flat_map(|s| book.bind(s, &scope).unwrap());
        steps.filter_map(|b| b.what.ok()).map(|step| step.summary()).collect()
    }

    #[test]
    fn the_last_change_goes_first_and_each_host_gets_its_own() {
        let run = recorded(vec![
            making("esx1", "a", "1", set("Net.A", "1")),
            making("esx1", "a", "2", set("Net.A", "2")),
            making("esx\"2", "b", "0", set("Net.B", "0")),
        ]);
        let plan = plan(&run);
        assert_eq!((plan.steps, plan.left.len(), plan.hosts.len()), (3, 0, 2));
        assert_eq!(bound(&plan, "esx1"), ["Net.A = 2", "Net.A = 1"]);
        assert_eq!(bound(&plan, "esx\"2"), ["Net.B = 0"]);
        assert!(bound(&plan, "esx3").is_empty());
    }

    #[test]
    fn texts_that_look_like_templates_stay_texts() {
        for text in ["{{ 7 * 7 }}", "{% raw %}x{% endraw %}", "{# gone #}", "{{{", "a { b", "}} {{"] {
            let plan = plan(&recorded(vec![making("h", text, text, set("Config.Etc.issue", text))]));
            assert_eq!(bound(&plan, "h"), [format!("Config.Etc.issue = {text}")]);
        }
    }

    #[test]
    fn what_cannot_be_taken_back_is_said() {
        let plan = plan(&recorded(vec![making("h", "password of ops", "(secret)", None)]));
        assert_eq!(plan.steps, 0);
        assert!(plan.left[0].contains("password of ops"), "{:?}", plan.left);
    }
}
