//! One step of a playbook as written: which key names its kind, and the keys that any step may have.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::load::Kinds;
use super::problem::{Problem, Span, did_you_mean, nearest};
use super::scalar;
use super::vars;
use super::yaml::{Entry, Node, NodeValue, Style};
use crate::steps::Kind;

/// What was written, kept for binding.
#[derive(Debug, Clone)]
pub struct Detail {
    /// The key that names the kind.
    pub key: Span,
    /// Its arguments.
    pub args: Node,
    /// The step's name.
    pub name: Option<Node>,
    /// Whether what differs is changed: true, false or a template.
    pub fix: Option<Node>,
    /// Conditions, those of includes first. All must hold.
    pub conditions: Vec<Node>,
    /// What to loop over.
    pub for_each: Option<Node>,
    /// The name of the loop's item.
    pub loop_var: String,
    /// Expectations, one mapping each.
    pub expect: Vec<Node>,
    /// Variables given by includes; they win over all others, like arguments of a function. Inner ones last.
    pub given: IndexMap<String, Entry>,
    /// Variables of an included file itself; all others win over them.
    pub defaults: IndexMap<String, Entry>,
}

/// Keys that any step may have.
pub const COMMON: &[&str] =
    &["name", "id", "fix", "when", "tags", "for_each", "loop_var", "retries", "delay", "timeout", "register", "expect"];
/// Keys of an include.
pub const INCLUDE: &[&str] = &["include", "name", "when", "tags", "vars"];

/// Words of other tools for ours.
const FOREIGN: &[(&str, &str)] = &[
    ("loop", "for_each"),
    ("with_items", "for_each"),
    ("foreach", "for_each"),
    ("if", "when"),
    ("until", "expect"),
    ("verify", "expect"),
    ("tag", "tags"),
    ("retry", "retries"),
    ("loop_control", "loop_var"),
];

/// The parts of a step that is not an include.
pub struct Written {
    /// Its kind.
    pub kind: &'static Kind,
    /// What is kept for binding.
    pub detail: Detail,
    /// Its tags.
    pub tags: Vec<String>,
    /// The control that it is (part of).
    pub id: Option<String>,
    /// The name of its result.
    pub register: Option<(String, Span)>,
    /// Tries after a failure.
    pub retries: u32,
    /// Pause between tries.
    pub delay: Duration,
    /// Limit of a command.
    pub timeout: Option<Duration>,
}

/// Reads a step. `None` when it is too broken to go on with; the problems say why.
pub fn read(node: &Node, kinds: &Kinds<'_>, problems: &mut Vec<Problem>) -> Option<Written> {
    let map = match &node.value {
        NodeValue::Map(map) if !map.is_empty() => map,
        NodeValue::Scalar(s) if s.style == Style::Plain && !node.is_null() => {
            // `- reboot`: a kind that needs no arguments.
            let Some(kind) = (kinds.find)(&s.text) else {
                problems.push(unknown_kind(&s.text, &node.span, kinds));
                return None;
            };
            let args = Node { span: node.span.clone(), value: NodeValue::Map(Arc::default()) };
            return Some(Written::new(kind, node.span.clone(), args));
        }
        _ => {
            let problem =
                Problem::at(&node.span, format!("a step is a mapping, and this is {}", node.describe()), "not a step");
            problems.push(problem.help("a step looks like this: `- vib: {name: esx-ui, path: esx-ui.vib}`"));
            return None;
        }
    };
    let mut found: Option<(&'static Kind, &Entry)> = None;
    let mut strange: Vec<(&str, &Span)> = Vec::new();
    for (key, entry) in map.iter() {
        if COMMON.contains(&key.as_str()) {
            continue;
        }
        match ((kinds.find)(key), &found) {
            (Some(kind), None) => found = Some((kind, entry)),
            (Some(kind), Some((first, at))) => {
                let problem = Problem::at(
                    &entry.key,
                    format!("a step does one thing, and this one names `{}` and `{}`", first.name, kind.name),
                    "a second kind",
                )
                .also(&at.key, "the first");
                problems.push(problem.help("make two steps of it: start this line with its own `- `"));
            }
            (None, _) => strange.push((key, &entry.key)),
        }
    }
    let Some((kind, args)) = found else {
        match strange.as_slice() {
            [] => problems.push(
                Problem::at(&node.span, "this step names no kind of step", "what should it do?")
                    .help(format!("kinds of steps: {}", kinds.names.join(", "))),
            ),
            all => all.iter().for_each(|(key, span)| problems.push(unknown_kind(key, span, kinds))),
        }
        return None;
    };
    for (key, span) in strange {
        let foreign = FOREIGN.iter().find(|(f, _)| *f == key).map(|(_, ours)| format!("here it is called `{ours}`"));
        let help = foreign
            .unwrap_or_else(|| did_you_mean(key, COMMON.iter().copied(), "besides its kind, a step has these keys"));
        let deeper = args.node.map().is_some_and(|m| m.is_empty()) || args.node.is_null();
        let mut problem = Problem::at(span, format!("a step has no key `{key}`"), "unknown key").help(help);
        if deeper {
            problem = problem.help(format!("an argument of `{}` must be indented below it", kind.name));
        }
        problems.push(problem);
    }
    let mut step = Written::new(kind, args.key.clone(), args.node.clone());
    step.common(map, problems);
    Some(step)
}

fn unknown_kind(name: &str, span: &Span, kinds: &Kinds<'_>) -> Problem {
    let problem = Problem::at(span, format!("there is no kind of step `{name}`"), "unknown");
    let near = nearest(name, kinds.names.iter().copied()).or_else(|| nearest(name, COMMON.iter().copied()));
    match FOREIGN.iter().find(|(f, _)| *f == name) {
        Some((_, ours)) => problem.help(format!("here it is called `{ours}`")),
        None => problem.help(match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("kinds of steps: {}", kinds.names.join(", ")),
        }),
    }
}

impl Written {
    fn new(kind: &'static Kind, key: Span, args: Node) -> Self {
        Self {
            kind,
            detail: Detail {
                key,
                args,
                name: None,
                fix: None,
                conditions: Vec::new(),
                for_each: None,
                loop_var: "item".into(),
                expect: Vec::new(),
                given: IndexMap::new(),
                defaults: IndexMap::new(),
            },
            tags: Vec::new(),
            id: None,
            register: None,
            retries: 0,
            delay: Duration::from_secs(5),
            timeout: None,
        }
    }

    fn common(&mut self, map: &IndexMap<String, Entry>, problems: &mut Vec<Problem>) {
        let get = |key: &str| map.get(key).map(|e| &e.node);
        self.detail.name = get("name").filter(|n| text_of(n, "name", problems).is_some()).cloned();
        self.detail.fix = get("fix").cloned();
        if let Some(node) = &self.detail.fix {
            let text = node.scalar().map(|s| s.text.as_str()).unwrap_or_default();
            if scalar::boolean(text).is_none() && !scalar::is_template(text) {
                let problem =
                    Problem::at(&node.span, "`fix` wants true or false", format!("this is {}", node.describe()));
                problems.push(problem.help("or a template that gives one: `\"{{ close_ssh }}\"`"));
            }
        }
        self.detail.conditions = get("when").map(|n| conditions(n, problems)).unwrap_or_default();
        self.id = get("id").and_then(|n| control_id(n, "id", problems));
        self.tags = get("tags").map(|n| words(n, "tags", problems)).unwrap_or_default();
        if let Some(node) = get("for_each") {
            if node.is_null() {
                problems.push(Problem::at(
                    &node.span,
                    "`for_each` wants a list, a mapping or an expression",
                    "nothing",
                ));
            } else {
                self.detail.for_each = Some(node.clone());
            }
        }
        if let Some(node) = get("loop_var")
            && let Some(name) = text_of(node, "loop_var", problems)
        {
            match vars::bad_name(&name) {
                Some(why) => problems.push(Problem::at(&node.span, format!("`loop_var`: {why}"), "this name")),
                None if get("for_each").is_none() => {
                    problems.push(Problem::at(
                        &node.span,
                        "`loop_var` names the item of a loop, and there is none",
                        "no `for_each`",
                    ));
                }
                None => self.detail.loop_var = name,
            }
        }
        if let Some(node) = get("retries") {
            match node.scalar().and_then(|s| scalar::integer(&s.text)).and_then(|n| n.as_u64()) {
                Some(n) if n <= 1000 => self.retries = n as u32,
                _ => problems.push(Problem::at(
                    &node.span,
                    "`retries` wants a whole number from 0 to 1000",
                    format!("this is {}", node.describe()),
                )),
            }
        }
        if let Some(d) = get("delay").and_then(|n| duration(n, "delay", problems)) {
            self.delay = d;
        }
        self.timeout = get("timeout").and_then(|n| duration(n, "timeout", problems));
        if let Some(node) = get("register")
            && let Some(name) = text_of(node, "register", problems)
        {
            match vars::bad_name(&name) {
                Some(why) => problems.push(Problem::at(&node.span, format!("`register`: {why}"), "this name")),
                None => self.register = Some((name, node.span.clone())),
            }
        }
        match get("expect").map(|n| (n, &n.value)) {
            None => {}
            Some((node, NodeValue::Map(_))) => self.detail.expect = vec![node.clone()],
            Some((_, NodeValue::Seq(items))) => {
                for item in items {
                    match item.map() {
                        Some(_) => self.detail.expect.push(item.clone()),
                        None => problems.push(Problem::at(
                            &item.span,
                            "an expectation is a mapping",
                            format!("this is {}", item.describe()),
                        )),
                    }
                }
            }
            Some((node, _)) => problems.push(
                Problem::at(
                    &node.span,
                    "`expect` wants a mapping or a list of mappings",
                    format!("this is {}", node.describe()),
                )
                .help("it takes the arguments of the `assert` step"),
            ),
        }
    }
}

/// The id of a control, as written in its baseline: a name without blanks.
pub fn control_id(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<String> {
    let id = text_of(node, key, problems)?;
    if id.is_empty() || id.contains(|c: char| c.is_whitespace() || c.is_control()) || scalar::is_template(&id) {
        let problem = Problem::at(&node.span, format!("`{key}` wants the id of a control"), "this is none");
        problems.push(problem.help("an id is one word, such as ESXI-80-000005; it cannot hold a template"));
        return None;
    }
    Some(id)
}

/// A text, or a problem.
pub fn text_of(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<String> {
    match node.scalar() {
        Some(s) if !node.is_null() => Some(s.text.clone()),
        _ => {
            problems.push(Problem::at(
                &node.span,
                format!("`{key}` wants text"),
                format!("this is {}", node.describe()),
            ));
            None
        }
    }
}

/// One word or a list of words, as written.
pub fn words(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Vec<String> {
    match &node.value {
        NodeValue::Seq(items) => items.iter().filter_map(|n| text_of(n, key, problems)).collect(),
        _ => text_of(node, key, problems).into_iter().collect(),
    }
}

/// A condition or a list of them.
pub fn conditions(node: &Node, problems: &mut Vec<Problem>) -> Vec<Node> {
    let items = match &node.value {
        NodeValue::Seq(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    items.iter().filter(|n| text_of(n, "when", problems).is_some()).cloned().collect()
}

/// Seconds as a number, or "30s", "5m".
pub fn duration(node: &Node, key: &str, problems: &mut Vec<Problem>) -> Option<Duration> {
    let text = node.scalar().map(|s| s.text.trim()).unwrap_or_default();
    let seconds = scalar::integer(text).or_else(|| scalar::decimal(text).filter(|_| !scalar::has_leading_zero(text)));
    let found = match seconds.and_then(|n| n.as_f64()) {
        Some(s) => Duration::try_from_secs_f64(s).ok(),
        None => humantime::parse_duration(text).ok(),
    };
    if found.is_none() {
        let problem = Problem::at(&node.span, format!("`{key}` wants a time"), format!("this is {}", node.describe()));
        problems.push(problem.help("write seconds as a number, or with a unit: 90, 30s, 5m, \"1h 30m\""));
    }
    found
}
