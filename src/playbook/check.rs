//! What can be known of a playbook before any host is: every name in every template, the order of registered
//! values, and the types of all arguments that do not depend on a host.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde_json::Value;

use super::bind::{draft, items, reading};
use super::problem::{Problem, Span, nearest};
use super::scalar::switch_word;
use super::steps::Detail;
use super::template::{self, Context, Fault, Use};
use super::typed;
use super::vars::{RESERVED, Resolver, template_keys, templates};
use super::yaml::{Entry, Node, NodeValue};
use super::{Playbook, StepDef};
use crate::esxi::{HostFacts, Version};

/// Names of host facts, in the order of [`HostFacts`].
pub fn fact_names() -> Vec<String> {
    match serde_json::to_value(HostFacts::example(Version::new(6, 5))) {
        Ok(Value::Object(map)) => map.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

/// A template's problem at its place in the file.
pub fn at_place(node: &Node, fault: Fault) -> Problem {
    Problem::at(&node.inside(fault.range), fault.message, "here").maybe_help(fault.help)
}

struct Checker<'a> {
    vars: &'a IndexMap<String, Entry>,
    values: &'a IndexMap<String, Value>,
    extra: &'a BTreeSet<String>,
    facts: Vec<String>,
    /// Registered name -> numbers of the steps that register it.
    registered: BTreeMap<String, Vec<usize>>,
}

/// Checks all steps, and notes for each which registered values it needs.
pub fn check(
    book: &mut Playbook,
    vars: &IndexMap<String, Entry>,
    register_spans: &[Option<Span>],
    extra: &BTreeSet<String>,
    problems: &mut Vec<Problem>,
) {
    let mut registered: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (step, span) in book.steps.iter().zip(register_spans) {
        let (Some(name), Some(span)) = (&step.register, span) else { continue };
        if vars.contains_key(name) || extra.contains(name) {
            let problem = Problem::at(span, format!("`{name}` is a variable already"), "registered here");
            problems.push(problem.help("give the result of the step another name"));
        }
        registered.entry(name.clone()).or_default().push(step.number);
    }
    let checker = Checker { vars, values: &book.vars, extra, facts: fact_names(), registered };
    for (name, entry) in vars {
        checker.variable(name, entry, problems);
    }
    let mut needs = Vec::new();
    for step in &book.steps {
        needs.push(checker.step(step, book.expectation, problems));
    }
    for (step, needs) in book.steps.iter_mut().zip(needs) {
        step.uses_registered = needs;
    }
}

impl Checker<'_> {
    fn variable(&self, name: &str, entry: &Entry, problems: &mut Vec<Problem>) {
        if let Some(circle) = self.circle(name, &mut vec![name.to_owned()]) {
            // Reported once, at the first of its names in the file.
            if circle.iter().filter_map(|n| self.vars.get_index_of(n)).min() == self.vars.get_index_of(name) {
                let problem = Problem::at(&entry.key, "variables refer to each other in a circle", "one of them");
                problems.push(problem.help(circle.join(" -> ")));
            }
        }
        templates(&entry.node, &mut |node, text| match template::uses(text, false) {
            Err(faults) => problems.extend(faults.into_iter().map(|f| at_place(node, f))),
            Ok(uses) => {
                for used in uses {
                    let root = used.path[0].as_str();
                    if matches!(root, "item" | "item_index") {
                        problems.push(self.no_loop(node, &used));
                    } else if !self.vars.contains_key(root)
                        && !self.extra.contains(root)
                        && !self.registered.contains_key(root)
                    {
                        self.unknown(node, &used, &[], problems);
                    }
                }
            }
        });
    }

    fn circle(&self, name: &str, chain: &mut Vec<String>) -> Option<Vec<String>> {
        for next in self.uses_of(&self.vars.get(name)?.node) {
            if chain.first() == Some(&next) {
                chain.push(next);
                return Some(chain.clone());
            }
            if chain.contains(&next) || chain.len() > 64 {
                continue;
            }
            chain.push(next.clone());
            let found = self.circle(&next, chain);
            if found.is_some() {
                return found;
            }
            chain.pop();
        }
        None
    }

    fn uses_of(&self, node: &Node) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        templates(node, &mut |_, text| {
            names.extend(template::uses(text, false).into_iter().flatten().map(|u| u.path[0].clone()));
        });
        names
    }

    fn no_loop(&self, node: &Node, used: &Use) -> Problem {
        let name = &used.path[0];
        let problem =
            Problem::at(&node.inside(used.range.clone()), format!("`{name}` is only known in a loop"), "no loop here");
        problem.help("give the step a `for_each`")
    }

    /// Reports a name that nothing defines; facts of the host are known by name.
    fn unknown(&self, node: &Node, used: &Use, more: &[&str], problems: &mut Vec<Problem>) {
        let name = used.path[0].as_str();
        let span = node.inside(used.range.clone());
        match name {
            "inventory_hostname" => return,
            "host" => {
                if let Some(fact) = used.path.get(1).filter(|f| !self.facts.contains(f) && !used.soft) {
                    let problem = Problem::at(&span, format!("there is no fact `host.{fact}`"), "unknown fact");
                    problems.push(problem.help(match nearest(fact, self.facts.iter().map(String::as_str)) {
                        Some(near) => format!("did you mean `host.{near}`?"),
                        None => format!("facts of a host: {}", self.facts.join(", ")),
                    }));
                }
                return;
            }
            _ if used.soft => return,
            _ => {}
        }
        let known = self.vars.keys().map(String::as_str).chain(self.extra.iter().map(String::as_str));
        let known = known.chain(self.registered.keys().map(String::as_str)).chain(more.iter().copied());
        let known = known.chain(["host", "inventory_hostname"]);
        let help = match switch_word(name) {
            Some(value) => format!("an expression knows true and false: write {value}"),
            None => match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("define it under `vars:`, in the inventory, or with -e {name}=..."),
            },
        };
        problems.push(Problem::at(&span, format!("the variable `{name}` is not defined"), "not defined").help(help));
    }

    /// Names behind a name: a variable that refers to others stands for them.
    fn behind(&self, name: &str, detail: &Detail, seen: &mut BTreeSet<String>) {
        if !seen.insert(name.to_owned()) || self.extra.contains(name) {
            return;
        }
        let entry = detail.given.get(name).or_else(|| self.vars.get(name)).or_else(|| detail.defaults.get(name));
        for next in entry.map(|e| self.uses_of(&e.node)).unwrap_or_default() {
            self.behind(&next, detail, seen);
        }
    }

    fn step(
        &self,
        step: &StepDef,
        expectation: Option<&'static crate::steps::Kind>,
        problems: &mut Vec<Problem>,
    ) -> BTreeSet<String> {
        let detail = &step.detail;
        let mut needs = BTreeSet::new();
        let mut look = |node: &Node, text: &str, expression: bool, in_loop: bool| match template::uses(text, expression)
        {
            Err(faults) => problems.extend(faults.into_iter().map(|f| at_place(node, f))),
            Ok(uses) => {
                for used in uses {
                    self.used(node, &used, step, in_loop, &mut needs, problems);
                }
            }
        };
        let looping = detail.for_each.is_some();
        for node in &detail.conditions {
            if let Some(s) = node.scalar() {
                look(node, &s.text, true, looping);
            }
        }
        for entry in detail.given.values().chain(detail.defaults.values()) {
            templates(&entry.node, &mut |node, text| look(node, text, false, looping));
        }
        match &detail.for_each {
            Some(node) if node.scalar().is_some_and(|s| !super::is_template(&s.text)) => {
                if let Some(s) = node.scalar() {
                    look(node, &s.text, true, false);
                }
            }
            Some(node) => templates(node, &mut |node, text| look(node, text, false, false)),
            None => {}
        }
        for node in detail.name.iter().chain(&detail.fix).chain([&detail.args]).chain(&detail.expect) {
            templates(node, &mut |node, text| look(node, text, false, looping));
        }
        for node in [&detail.args].into_iter().chain(&detail.expect) {
            template_keys(node, &mut |key, span| {
                let problem = Problem::at(span, format!("`{key}`: templates work in values, not in keys"), "a key");
                problems.push(problem);
            });
        }
        if let Some(node) = detail.for_each.as_ref().filter(|n| n.scalar().is_none()) {
            super::vars::switch_words(node, "for_each", problems);
        }
        self.types(step, expectation, problems);
        needs
    }

    fn used(
        &self,
        node: &Node,
        used: &Use,
        step: &StepDef,
        in_loop: bool,
        needs: &mut BTreeSet<String>,
        problems: &mut Vec<Problem>,
    ) {
        let detail = &step.detail;
        let name = used.path[0].as_str();
        if name == detail.loop_var && detail.for_each.is_some() || name == "item_index" || name == "item" {
            let own = name == detail.loop_var || name == "item_index";
            if in_loop && own {
                return;
            }
            if detail.for_each.is_some() && !own {
                let problem =
                    Problem::at(&node.inside(used.range.clone()), "this loop's item has another name", "not `item`");
                problems.push(problem.help(format!("`loop_var` calls it `{}`", detail.loop_var)));
            } else if !used.soft {
                problems.push(self.no_loop(node, used));
            }
            return;
        }
        let mut behind = BTreeSet::new();
        self.behind(name, detail, &mut behind);
        for registered in behind.iter().filter(|n| self.registered.contains_key(*n)) {
            let by = &self.registered[registered];
            if by.iter().any(|number| *number < step.number) {
                needs.insert(registered.clone());
                continue;
            }
            if used.soft {
                continue;
            }
            let number = by.first().copied().unwrap_or_default();
            let when = if number == step.number {
                "this step itself".to_owned()
            } else {
                format!("step {number}, which comes later")
            };
            let via = if registered == name { String::new() } else { format!(" (which `{name}` refers to)") };
            let problem = Problem::at(
                &node.inside(used.range.clone()),
                format!("`{registered}`{via} is registered by {when}"),
                "not known yet",
            );
            problems.push(problem.help("a value is known to the steps after the one that registers it"));
        }
        let known = self.vars.contains_key(name)
            || self.extra.contains(name)
            || detail.given.contains_key(name)
            || detail.defaults.contains_key(name)
            || self.registered.contains_key(name);
        if !known {
            let more: Vec<&str> = detail.given.keys().chain(detail.defaults.keys()).map(String::as_str).collect();
            let more: Vec<&str> = match &detail.for_each {
                Some(_) => more.into_iter().chain([detail.loop_var.as_str(), "item_index"]).collect(),
                None => more,
            };
            self.unknown(node, used, &more, problems);
        }
    }

    /// Checks the types of what is known now.
    fn types(&self, step: &StepDef, expectation: Option<&'static crate::steps::Kind>, problems: &mut Vec<Problem>) {
        let detail = &step.detail;
        let given: IndexMap<String, Value> =
            detail.given.iter().map(|(k, e)| (k.clone(), typed::constant(&e.node))).collect();
        let defaults: IndexMap<String, Value> =
            detail.defaults.iter().map(|(k, e)| (k.clone(), typed::constant(&e.node))).collect();
        let known = |name: &str| {
            let mut behind = BTreeSet::new();
            self.behind(name, detail, &mut behind);
            behind.iter().all(|n| {
                !self.extra.contains(n)
                    && !self.registered.contains_key(n)
                    && !RESERVED.contains(&n.as_str())
                    && (given.contains_key(n) || self.values.contains_key(n) || defaults.contains_key(n))
                    && self.circle(n, &mut vec![n.clone()]).is_none()
            })
        };
        let mut resolver = Resolver::new(vec![&given, self.values, &defaults], Context::new());
        if let Some(node) = &detail.for_each {
            let (mut named, own) = (true, |n: &str| n == detail.loop_var || n == "item_index");
            let mut look = |text: &str, expression: bool| {
                named &= template::uses(text, expression).is_ok_and(|uses| uses.iter().all(|u| known(&u.path[0])));
            };
            match node.scalar() {
                Some(s) if !super::is_template(&s.text) => look(&s.text, true),
                _ => templates(node, &mut |_, text| look(text, false)),
            }
            let may_run = detail.conditions.iter().filter_map(|n| n.scalar()).all(|s| {
                template::uses(&s.text, true).is_ok_and(|uses| {
                    uses.iter().any(|u| own(&u.path[0]))
                        || uses.iter().all(|u| known(&u.path[0])) && resolver.eval(&s.text).is_ok_and(|v| v.is_true())
                })
            });
            if named
                && may_run
                && let Err(found) = items(node, &mut resolver)
            {
                problems.extend(found);
                return;
            }
        }
        let items: Vec<Option<Value>> = match &detail.for_each {
            Some(Node { value: NodeValue::Seq(items), .. }) if items.len() <= 50 => items
                .iter()
                .map(|n| {
                    let mut plain = true;
                    templates(n, &mut |_, _| plain = false);
                    plain.then(|| typed::constant(n))
                })
                .collect(),
            _ => vec![None],
        };
        for (index, item) in items.into_iter().enumerate() {
            let in_loop = item.is_some();
            if let Some(item) = item {
                resolver.fix(&detail.loop_var, template::value(&item));
                resolver.fix("item_index", minijinja::Value::from(index));
            }
            let known = |name: &str| (in_loop && (name == detail.loop_var || name == "item_index")) || known(name);
            // A default that only a condition keeps from being used need not fit.
            let runs = detail.conditions.iter().filter_map(|n| n.scalar()).all(|s| {
                template::uses(&s.text, true).is_ok_and(|uses| uses.iter().all(|u| known(&u.path[0])))
                    && resolver.eval(&s.text).is_ok_and(|v| v.is_true())
            });
            let known = |name: &str| runs && known(name);
            let what = format!("`{}`", step.kind.name);
            let parts = [(&detail.args, Some(&detail.key), step.kind, what)].into_iter();
            let expects = detail.expect.iter().filter_map(|n| expectation.map(|k| (n, None, k, "`expect`".to_owned())));
            for (node, key, kind, what) in parts.chain(expects) {
                let draft = draft(node, key, what, &mut resolver, Some(&known), problems);
                problems.extend(typed::read(draft, &reading(kind)).problems);
            }
        }
        if expectation.is_none()
            && let Some(node) = detail.expect.first()
        {
            problems.push(Problem::at(
                &node.span,
                "expectations need the kind of step `assert`, and there is none",
                "here",
            ));
        }
    }
}
