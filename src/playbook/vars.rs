//! Variables: where they come from, which one wins, and their values where one refers to another.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::problem::{Problem, Problems, SourceFile};
use super::scalar::{is_template, switch_word};
use super::template::{self, Context, Fault};
use super::typed::constant;
use super::yaml::{Entry, Node, NodeValue, Style};

/// Names that templates know without anybody setting them.
pub const RESERVED: &[&str] = &["host", "inventory_hostname", "item", "item_index", "loop", "true", "false", "none"];

/// Merges variables: the playbook's, the inventory's for one host, then those of `-e`; later ones win.
pub fn merge_vars(
    playbook: &IndexMap<String, Value>,
    inventory: &IndexMap<String, Value>,
    extra: &IndexMap<String, Value>,
) -> IndexMap<String, Value> {
    let mut all = playbook.clone();
    for (name, value) in inventory.iter().chain(extra) {
        all.insert(name.clone(), value.clone());
    }
    all
}

/// The variables of `-e KEY=VALUE` (a YAML scalar, list or mapping) and `-e @FILE` (a mapping in YAML).
pub fn parse_extra(args: &[String]) -> Result<IndexMap<String, Value>, Problems> {
    let mut all = IndexMap::new();
    let mut problems = Vec::new();
    for arg in args {
        if let Some(path) = arg.strip_prefix('@') {
            match super::yaml::read(std::path::Path::new(path), path) {
                Ok(node) => match node.map() {
                    Some(map) => all.extend(plain_vars(map, &mut problems)),
                    None => problems.push(
                        Problem::at(
                            &node.span,
                            "a file of variables is a mapping of names and values",
                            "not a mapping",
                        )
                        .help("write one `name: value` a line"),
                    ),
                },
                Err(mut found) => problems.append(&mut found),
            }
            continue;
        }
        let Some((name, value)) = arg.split_once('=') else {
            problems.push(
                Problem::nowhere(format!("`-e {arg}` sets no variable"))
                    .help("write -e NAME=VALUE, or -e @FILE for a file of variables"),
            );
            continue;
        };
        if let Some(why) = bad_name(name) {
            problems.push(Problem::nowhere(format!("`-e {arg}`: {why}")));
            continue;
        }
        if value.trim().is_empty() {
            all.insert(name.to_owned(), Value::String(String::new()));
            continue;
        }
        // A template and a text with `: ` in it are no YAML of their own; take them as they are.
        if is_template(value) {
            all.insert(name.to_owned(), Value::String(value.to_owned()));
            continue;
        }
        match super::yaml::parse(&SourceFile::new(format!("-e {name}"), value)) {
            Ok(node) => {
                switch_words(&node, name, &mut problems);
                all.insert(name.to_owned(), constant(&node));
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    if problems.is_empty() { Ok(all) } else { Err(problems.into()) }
}

/// Why a name cannot be a variable's.
pub fn bad_name(name: &str) -> Option<String> {
    let mut chars = name.chars();
    let word = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !word {
        let better: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        return Some(format!("`{name}` cannot be used in a template; letters, digits and `_` can: `{better}`"));
    }
    RESERVED.contains(&name).then(|| format!("`{name}` is taken: templates have it from esxprep"))
}

/// Reads a mapping of variables, with a problem for each bad name and each word that could be two things.
pub fn plain_vars(map: &IndexMap<String, Entry>, problems: &mut Vec<Problem>) -> IndexMap<String, Value> {
    for (name, entry) in map {
        if let Some(why) = bad_name(name) {
            problems.push(Problem::at(&entry.key, why, "this name"));
        }
        switch_words(&entry.node, name, problems);
    }
    map.iter().map(|(name, entry)| (name.clone(), constant(&entry.node))).collect()
}

/// Plain `no`, `yes`, `on`, `off` where nothing says what is wanted: nobody can know, so the writer must.
pub fn switch_words(node: &Node, name: &str, problems: &mut Vec<Problem>) {
    match &node.value {
        NodeValue::Scalar(s) => {
            if let Some(value) = switch_word(&s.text).filter(|_| s.style == Style::Plain) {
                let text = &s.text;
                let problem = Problem::at(
                    &node.span,
                    format!("`{name}`: is `{text}` the word or {value}?"),
                    "YAML 1.1 and 1.2 disagree",
                );
                problems.push(problem.help(format!("write {value}, or \"{text}\" in quotes if the word is meant")));
            }
        }
        NodeValue::Seq(items) => items.iter().for_each(|n| switch_words(n, name, problems)),
        NodeValue::Map(map) => map.iter().for_each(|(k, e)| switch_words(&e.node, k, problems)),
    }
}

/// Gives templates their names, resolving variables that refer to others when they are asked for.
pub struct Resolver<'a> {
    /// Layers of variables, the first that has a name wins.
    pub layers: Vec<&'a IndexMap<String, Value>>,
    /// What is no variable: host, registered values, the loop's item. Loses against nothing.
    pub fixed: Context,
    done: BTreeMap<String, minijinja::Value>,
    open: Vec<String>,
}

impl<'a> Resolver<'a> {
    /// A resolver over layers of variables.
    pub fn new(layers: Vec<&'a IndexMap<String, Value>>, fixed: Context) -> Self {
        Self { layers, fixed, done: BTreeMap::new(), open: Vec::new() }
    }

    /// Sets a fixed name. What was resolved before may have used its old value, and is forgotten.
    pub fn fix(&mut self, name: &str, value: minijinja::Value) {
        self.fixed.insert(name.to_owned(), value);
        self.done.clear();
    }

    /// Renders a template.
    pub fn render(&mut self, text: &str) -> Result<Value, Fault> {
        let context = self.context(text, false)?;
        template::render(text, &context)
    }

    /// Evaluates an expression.
    pub fn eval(&mut self, text: &str) -> Result<minijinja::Value, Fault> {
        let context = self.context(text, true)?;
        template::eval(text, &context)
    }

    fn context(&mut self, text: &str, expression: bool) -> Result<Context, Fault> {
        let uses = template::uses(text, expression).map_err(|mut faults| faults.swap_remove(0))?;
        let mut context = Context::new();
        for used in uses {
            let name = &used.path[0];
            if context.contains_key(name) {
                continue;
            }
            let found = self.value(name).map_err(|mut f| {
                f.range = used.range.clone();
                f
            })?;
            if let Some(value) = found {
                context.insert(name.clone(), value);
            }
        }
        Ok(context)
    }

    fn value(&mut self, name: &str) -> Result<Option<minijinja::Value>, Fault> {
        if let Some(value) = self.fixed.get(name).or_else(|| self.done.get(name)) {
            return Ok(Some(value.clone()));
        }
        let Some(raw) = self.layers.iter().find_map(|layer| layer.get(name)).cloned() else { return Ok(None) };
        if let Some(first) = self.open.iter().position(|n| n == name) {
            let chain: Vec<&str> = self.open[first..].iter().map(String::as_str).chain([name]).collect();
            return Err(Fault {
                message: format!("variables refer to each other in a circle: {}", chain.join(" -> ")),
                range: 0..0,
                help: None,
            });
        }
        self.open.push(name.to_owned());
        let value = self.rendered(raw).map_err(|mut f| {
            if !f.message.starts_with("var") {
                f.message = format!("variable `{name}`: {}", f.message);
            }
            f
        });
        self.open.pop();
        let value = template::value(value?);
        self.done.insert(name.to_owned(), value.clone());
        Ok(Some(value))
    }

    fn rendered(&mut self, raw: Value) -> Result<Value, Fault> {
        Ok(match raw {
            Value::String(text) if is_template(&text) => self.render(&text)?,
            Value::Array(items) => Value::Array(items.into_iter().map(|v| self.rendered(v)).collect::<Result<_, _>>()?),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(k, v)| Ok((k, self.rendered(v)?))).collect::<Result<_, Fault>>()?)
            }
            other => other,
        })
    }
}

/// Calls `found` for every key in a tree that has a template: keys are taken as they are.
pub fn template_keys(node: &Node, found: &mut dyn FnMut(&str, &super::Span)) {
    match &node.value {
        NodeValue::Scalar(_) => {}
        NodeValue::Seq(items) => items.iter().for_each(|n| template_keys(n, found)),
        NodeValue::Map(map) => map.iter().for_each(|(key, entry)| {
            if is_template(key) {
                found(key, &entry.key);
            }
            template_keys(&entry.node, found);
        }),
    }
}

/// Calls `found` for every scalar in a tree that has a template.
pub fn templates<'n>(node: &'n Node, found: &mut dyn FnMut(&'n Node, &'n str)) {
    match &node.value {
        NodeValue::Scalar(s) if is_template(&s.text) => found(node, &s.text),
        NodeValue::Scalar(_) => {}
        NodeValue::Seq(items) => items.iter().for_each(|n| templates(n, found)),
        NodeValue::Map(map) => map.values().for_each(|e| templates(&e.node, found)),
    }
}
