//! Binds a step to one host: conditions, loops, templates, types.

use indexmap::IndexMap;
use serde_json::Value;

use super::check::at_place;
use super::problem::{Problem, Span};
use super::scalar::{boolean, is_template};
use super::template::{self, Context};
use super::typed::{self, Draft, Part, PathError, Way};
use super::vars::Resolver;
use super::yaml::{Entry, Node, NodeValue, Style};
use super::{Bound, Playbook, Scope, StepDef};
use crate::steps::{Kind, Step};

/// How a kind reads its arguments.
pub fn reading(kind: &'static Kind) -> impl Fn(Value) -> Result<Box<dyn Step>, PathError> {
    move |value| (kind.parse)(value)
}

/// Renders the templates of a tree. With `known`, only those whose names are all known; the rest is noted.
pub fn draft<'a>(
    node: &'a Node,
    key: Option<&'a Span>,
    what: String,
    resolver: &mut Resolver<'_>,
    known: Option<&dyn Fn(&str) -> bool>,
    problems: &mut Vec<Problem>,
) -> Draft<'a> {
    let mut draft = Draft { node, key, what, value: Value::Null, unknown: Default::default() };
    let value = if node.is_null() {
        typed::nothing()
    } else {
        fill(node, &mut Way::new(), resolver, known, &mut draft, problems)
    };
    draft.value = value;
    draft
}

fn fill(
    node: &Node,
    way: &mut Way,
    resolver: &mut Resolver<'_>,
    known: Option<&dyn Fn(&str) -> bool>,
    draft: &mut Draft<'_>,
    problems: &mut Vec<Problem>,
) -> Value {
    match &node.value {
        NodeValue::Scalar(s) if is_template(&s.text) => {
            let ready = match known {
                None => true,
                Some(known) => template::uses(&s.text, false).is_ok_and(|uses| uses.iter().all(|u| known(&u.path[0]))),
            };
            if ready {
                match resolver.render(&s.text) {
                    Ok(value) => return value,
                    Err(fault) => problems.push(at_place(node, fault)),
                }
            }
            draft.unknown.insert(way.clone());
            Value::String("unknown".into())
        }
        NodeValue::Scalar(_) => typed::constant(node),
        NodeValue::Seq(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(i, n)| {
                    way.push(Part::Item(i));
                    let value = fill(n, way, resolver, known, draft, problems);
                    way.pop();
                    value
                })
                .collect(),
        ),
        NodeValue::Map(map) => Value::Object(
            map.iter()
                .map(|(k, e)| {
                    way.push(Part::Key(k.clone()));
                    let value = fill(&e.node, way, resolver, known, draft, problems);
                    way.pop();
                    (k.clone(), typed::keyed(k, &e.node, value))
                })
                .collect(),
        ),
    }
}

/// Binds a step.
pub fn bind(book: &Playbook, step: &StepDef, scope: &Scope<'_>) -> Result<Vec<Bound>, Vec<Problem>> {
    let detail = &step.detail;
    let values = |entries: &IndexMap<String, Entry>| -> IndexMap<String, Value> {
        entries.iter().map(|(k, e)| (k.clone(), typed::constant(&e.node))).collect()
    };
    let (given, defaults) = (values(&detail.given), values(&detail.defaults));
    let mut fixed: Context = scope.registered.iter().map(|(k, v)| (k.clone(), template::value(v))).collect();
    fixed.insert("host".into(), template::value(scope.facts));
    fixed.insert("inventory_hostname".into(), minijinja::Value::from(scope.inventory_name));
    let mut resolver = Resolver::new(vec![&given, scope.vars, &defaults], fixed);

    let of_item = |node: &Node| {
        let text = node.scalar().map(|s| s.text.as_str()).unwrap_or_default();
        template::uses(text, true)
            .is_ok_and(|uses| uses.iter().any(|u| u.path[0] == detail.loop_var || u.path[0] == "item_index"))
    };
    let looping = detail.for_each.is_some();
    for node in detail.conditions.iter().filter(|n| !looping || !of_item(n)) {
        if let Some(why) = unmet(node, &mut resolver)? {
            return Ok(vec![skipped(step, &mut resolver, why)]);
        }
    }
    let Some(over) = &detail.for_each else {
        return one(book, step, &mut resolver, None).map(|bound| vec![bound]);
    };
    let mut bound = Vec::new();
    let mut problems = Vec::new();
    'items: for (index, item) in items(over, &mut resolver)?.into_iter().enumerate() {
        resolver.fix(&detail.loop_var, template::value(&item));
        resolver.fix("item_index", minijinja::Value::from(index));
        for node in detail.conditions.iter().filter(|n| of_item(n)) {
            match unmet(node, &mut resolver) {
                Ok(None) => {}
                Ok(Some(why)) => {
                    let mut skip = skipped(step, &mut resolver, why);
                    mark(&mut skip.name, detail.name.as_ref(), &detail.loop_var, &item);
                    bound.push(skip);
                    continue 'items;
                }
                Err(mut found) => {
                    problems.append(&mut found);
                    continue 'items;
                }
            }
        }
        match one(book, step, &mut resolver, Some(&item)) {
            Ok(one) => bound.push(one),
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() { Ok(bound) } else { Err(problems) }
}

fn skipped(step: &StepDef, resolver: &mut Resolver<'_>, why: String) -> Bound {
    let raw = step.detail.name.as_ref().and_then(|n| n.scalar()).map(|s| s.text.clone());
    // The name of a step that does not run may use what only a step that runs would have.
    let name = step.detail.name.as_ref().and_then(|n| title(n, resolver).ok());
    Bound {
        name: name.or(raw).unwrap_or_else(|| step.kind.name.to_owned()),
        what: Err(why),
        expect: Vec::new(),
        fix: true,
    }
}

fn title(node: &Node, resolver: &mut Resolver<'_>) -> Result<String, Vec<Problem>> {
    let text = node.scalar().map(|s| s.text.as_str()).unwrap_or_default();
    if !is_template(text) {
        return Ok(text.to_owned());
    }
    match resolver.render(text).map_err(|f| vec![at_place(node, f)])? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

/// Whether a step changes what differs.
fn fixes(node: &Node, resolver: &mut Resolver<'_>) -> Result<bool, Vec<Problem>> {
    let text = node.scalar().map(|s| s.text.as_str()).unwrap_or_default();
    if !is_template(text) {
        return Ok(boolean(text).unwrap_or(true));
    }
    let value = resolver.render(text).map_err(|f| vec![at_place(node, f)])?;
    let word = value.as_str().and_then(boolean).or_else(|| value.as_bool());
    word.ok_or_else(|| {
        let shown = super::problem_text(&value.to_string());
        vec![Problem::at(&node.span, "`fix` wants true or false", format!("this is {shown}"))]
    })
}

/// Tells the items of a loop apart where the step's name does not.
fn mark(name: &mut String, node: Option<&Node>, loop_var: &str, item: &Value) {
    let Some(text) = node.and_then(|n| n.scalar()).map(|s| s.text.as_str()) else { return };
    let tells =
        template::uses(text, false).is_ok_and(|u| u.iter().any(|u| u.path[0] == loop_var || u.path[0] == "item_index"));
    if !tells {
        let shown = match item {
            Value::String(s) => super::problem_text(s),
            other => super::problem_text(&other.to_string()),
        };
        name.push_str(&format!(" [{shown}]"));
    }
}

/// Why a condition does not hold.
fn unmet(node: &Node, resolver: &mut Resolver<'_>) -> Result<Option<String>, Vec<Problem>> {
    let text = node.scalar().map(|s| s.text.trim()).unwrap_or_default();
    let value = resolver.eval(text).map_err(|f| vec![at_place(node, f)])?;
    let holds = match value.as_str() {
        // `-e strict=false` in quotes is a text, and every text but the empty one is "true": that trap is closed.
        Some(word) => match boolean(word) {
            Some(b) => b,
            None if word.is_empty() => false,
            None => {
                let problem = Problem::at(
                    &node.span,
                    "a condition wants true or false",
                    format!("this is the text `{}`", super::problem_text(word)),
                );
                return Err(vec![problem.help("compare it with something: `name == 'value'`")]);
            }
        },
        None => value.is_true(),
    };
    Ok((!holds).then(|| format!("when: {text} is false")))
}

/// What a loop goes over.
pub fn items(node: &Node, resolver: &mut Resolver<'_>) -> Result<Vec<Value>, Vec<Problem>> {
    let value = match &node.value {
        NodeValue::Scalar(s) if s.style == Style::Plain && !is_template(&s.text) || !is_template(&s.text) => resolver
            .eval(&s.text)
            .and_then(|v| {
                serde_json::to_value(v).map_err(|e| template::Fault {
                    message: e.to_string(),
                    range: 0..s.text.len(),
                    help: None,
                })
            })
            .map_err(|f| vec![at_place(node, f)])?,
        _ => {
            let mut problems = Vec::new();
            let draft = draft(node, None, "`for_each`".into(), resolver, None, &mut problems);
            if !problems.is_empty() {
                return Err(problems);
            }
            draft.value
        }
    };
    match value {
        Value::Array(items) => Ok(items),
        Value::Object(map) => {
            Ok(map.into_iter().map(|(key, value)| serde_json::json!({"key": key, "value": value})).collect())
        }
        other => {
            let shown = super::problem_text(&other.to_string());
            let problem = Problem::at(&node.span, "`for_each` wants a list or a mapping", format!("this is {shown}"));
            Err(vec![problem])
        }
    }
}

fn one(
    book: &Playbook,
    step: &StepDef,
    resolver: &mut Resolver<'_>,
    item: Option<&Value>,
) -> Result<Bound, Vec<Problem>> {
    let detail = &step.detail;
    let mut problems = Vec::new();
    let mut read = |node: &Node, key: Option<&Span>, kind: &'static Kind, what: String, resolver: &mut Resolver<'_>| {
        let before = problems.len();
        let draft = draft(node, key, what, resolver, None, &mut problems);
        let outcome = typed::read(draft, &reading(kind));
        problems.extend(outcome.problems);
        if outcome.value.is_none() && problems.len() == before {
            problems.push(Problem::at(key.unwrap_or(&node.span), "these arguments do not fit together", "here"));
        }
        outcome.value
    };
    let made = read(&detail.args, Some(&detail.key), step.kind, format!("`{}`", step.kind.name), resolver);
    let expect: Vec<Option<Box<dyn Step>>> = detail
        .expect
        .iter()
        .map(|node| book.expectation.and_then(|kind| read(node, None, kind, "`expect`".into(), resolver)))
        .collect();
    let name = match &detail.name {
        Some(node) => match title(node, resolver) {
            Ok(mut name) => {
                if let Some(item) = item {
                    mark(&mut name, Some(node), &detail.loop_var, item);
                }
                Some(name)
            }
            Err(mut found) => {
                problems.append(&mut found);
                None
            }
        },
        None => None,
    };
    let fix = match detail.fix.as_ref().map(|node| fixes(node, resolver)) {
        None => true,
        Some(Ok(fix)) => fix,
        Some(Err(mut found)) => {
            problems.append(&mut found);
            true
        }
    };
    match made {
        Some(made) if problems.is_empty() => Ok(Bound {
            fix,
            name: name.unwrap_or_else(|| made.summary()),
            what: Ok(made),
            expect: expect.into_iter().flatten().collect(),
        }),
        _ => Err(problems),
    }
}
