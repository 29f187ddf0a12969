//! From a tree of YAML to a typed value: the type decides what a plain `no`, `0755` or `1.10` means, and every
//! error of serde comes back to the place in the file.
//!
//! The wanted types are known to serde alone. So values are first handed over as everybody reads them; where
//! serde refuses one, the scalar's other readings are tried at that path, and only if none fits is it an error.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};
use serde_path_to_error::Segment;

use super::problem::{Problem, Span, did_you_mean, is_secret_key, nearest};
use super::scalar;
use super::yaml::{Node, Style};

/// The error of a typed read.
pub type PathError = serde_path_to_error::Error<serde_json::Error>;

/// A step on the way from the root of a value to a part of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// A key of a mapping.
    Key(String),
    /// An item of a list, from 0.
    Item(usize),
}

/// The way from the root of a value to a part of it.
pub type Way = Vec<Part>;

/// A value ready to be read into a type.
pub struct Draft<'a> {
    /// Where it was written.
    pub node: &'a Node,
    /// The key that introduces it, labelled for problems of the whole.
    pub key: Option<&'a Span>,
    /// What it is, for messages: "`vmknic`".
    pub what: String,
    /// The value.
    pub value: Value,
    /// Parts that hold a placeholder, since their template cannot be rendered yet.
    pub unknown: BTreeSet<Way>,
}

/// What came of a draft: the typed value unless something in it is wrong or not known yet.
pub struct Outcome<T> {
    /// The typed value.
    pub value: Option<T>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// A node without templates as a value, as everybody reads it.
pub fn constant(node: &Node) -> Value {
    use super::yaml::NodeValue;
    match &node.value {
        NodeValue::Scalar(s) if s.style == Style::Plain => scalar::untyped(&s.text),
        NodeValue::Scalar(s) => Value::String(s.text.clone()),
        NodeValue::Seq(items) => Value::Array(items.iter().map(constant).collect()),
        NodeValue::Map(map) => {
            Value::Object(map.iter().map(|(k, e)| (k.clone(), keyed(k, &e.node, constant(&e.node)))).collect())
        }
    }
}

/// Permission bits stay digits as written, whatever they look like.
pub fn keyed(key: &str, node: &Node, value: Value) -> Value {
    match node.scalar() {
        Some(s) if key == "mode" && value.is_number() => Value::String(s.text.clone()),
        _ => value,
    }
}

/// Reads a draft into a type.
pub fn read<T>(draft: Draft<'_>, parse: &dyn Fn(Value) -> Result<T, PathError>) -> Outcome<T> {
    // Serde would take a list for the fields in the order of their declaration.
    if draft.value.is_array() {
        let problem = Problem::at(
            &draft.node.span,
            format!("{} wants a mapping of keys", draft.what),
            format!("this is {}", draft.node.describe()),
        );
        return Outcome { value: None, problems: vec![problem.help("write `key: value` pairs, each with its name")] };
    }
    let mut reader = Reader { draft, holes: Vec::new(), forgiven: BTreeSet::new(), problems: Vec::new() };
    let value = reader.run(parse);
    let complete = reader.problems.is_empty() && reader.holes.is_empty();
    Outcome { value: value.filter(|_| complete), problems: reader.problems }
}

struct Reader<'a> {
    draft: Draft<'a>,
    /// Mappings from which something was taken, so that what serde misses in them is no news.
    holes: Vec<Way>,
    /// Fields whose absence is our own doing.
    forgiven: BTreeSet<String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn run<T>(&mut self, parse: &dyn Fn(Value) -> Result<T, PathError>) -> Option<T> {
        // Each round removes or settles one part; the bound only guards against a type that never settles.
        for _ in 0..500 {
            let error = match parse(self.draft.value.clone()) {
                Ok(value) => return Some(value),
                Err(e) => e,
            };
            let mut way = way(&self.draft.value, error.path());
            let message = error.inner().to_string();
            if let Some((key, known)) = quoted_list(&message, "unknown field `") {
                if way.last() == Some(&Part::Key(key.clone())) {
                    way.pop();
                }
                self.unknown_key(&way, &key, &known);
                if !self.remove(&way, &key) {
                    return None;
                }
                continue;
            }
            if let Some((field, _)) = quoted_list(&message, "missing field `") {
                if !self.forgiven.contains(&field) {
                    self.missing(&way, &field);
                }
                return None;
            }
            let leaf = at(&self.draft.value, &way).is_some_and(|v| !v.is_object() && !v.is_array());
            if self.draft.unknown.iter().any(|u| way.starts_with(u)) {
                // Its value comes later, and so does its check.
                if !self.take(&way) {
                    return None;
                }
                continue;
            }
            if self.draft.unknown.iter().any(|u| u.starts_with(&way)) || self.holes.iter().any(|h| h.starts_with(&way))
            {
                return None;
            }
            if self.settle(&way, parse) {
                continue;
            }
            self.wrong(&way, &message, parse);
            if !leaf || !self.take(&way) {
                return None;
            }
        }
        None
    }

    /// Takes a part of a mapping out, so that the rest can be looked at.
    fn take(&mut self, way: &Way) -> bool {
        match way.split_last() {
            Some((Part::Key(key), parent)) => self.remove(&parent.to_vec(), key),
            _ => false,
        }
    }

    fn remove(&mut self, way: &Way, key: &str) -> bool {
        let Some(Value::Object(map)) = at_mut(&mut self.draft.value, way) else { return false };
        if map.shift_remove(key).is_none() {
            return false;
        }
        self.forgiven.insert(key.to_owned());
        self.holes.push(way.clone());
        true
    }

    /// Tries the other readings of the scalars at a path.
    fn settle<T>(&mut self, way: &Way, parse: &dyn Fn(Value) -> Result<T, PathError>) -> bool {
        let mut leaves = Vec::new();
        scalars(&self.draft.value, way, &mut leaves);
        if leaves.len() > 64 {
            return false;
        }
        if leaves.len() > 1 {
            return self.settle_together(way, leaves, parse);
        }
        for leaf in leaves {
            let Some(now) = at(&self.draft.value, &leaf).cloned() else { continue };
            for other in self.readings(&leaf, &now) {
                if self.accepts(&leaf, other.clone(), way, parse) {
                    put(&mut self.draft.value, &leaf, other);
                    return true;
                }
            }
        }
        false
    }

    /// Serde's untagged enums do not say which part they dislike: all readings of all scalars are tried together,
    /// within reason.
    fn settle_together<T>(
        &mut self,
        way: &Way,
        leaves: Vec<Way>,
        parse: &dyn Fn(Value) -> Result<T, PathError>,
    ) -> bool {
        const MOST_TRIALS: usize = 600;
        let mut choices: Vec<(Way, Vec<Value>)> = Vec::new();
        for leaf in leaves {
            let Some(now) = at(&self.draft.value, &leaf).cloned() else { continue };
            let mut all = self.readings(&leaf, &now);
            if !all.is_empty() {
                all.insert(0, now);
                choices.push((leaf, all));
            }
        }
        let trials = choices.iter().try_fold(1usize, |n, (_, all)| n.checked_mul(all.len())).unwrap_or(usize::MAX);
        for mut number in 1..trials.min(MOST_TRIALS) {
            let mut trial = self.draft.value.clone();
            for (leaf, all) in &choices {
                put(&mut trial, leaf, all[number % all.len()].clone());
                number /= all.len();
            }
            let better = match parse(trial.clone()) {
                Ok(_) => true,
                Err(e) => {
                    let now = self::way(&trial, e.path());
                    !now.starts_with(way) && !way.starts_with(&now)
                }
            };
            if better {
                self.draft.value = trial;
                return true;
            }
        }
        false
    }

    fn accepts<T>(
        &self,
        leaf: &Way,
        other: Value,
        failing: &Way,
        parse: &dyn Fn(Value) -> Result<T, PathError>,
    ) -> bool {
        let mut trial = self.draft.value.clone();
        put(&mut trial, leaf, other);
        match parse(trial.clone()) {
            Ok(_) => true,
            Err(e) => {
                let now = self::way(&trial, e.path());
                // Progress is an error elsewhere; one further up may be about the whole, found after this part.
                now != *failing && !now.starts_with(failing)
            }
        }
    }

    fn readings(&self, way: &Way, now: &Value) -> Vec<Value> {
        let Some((node, exact)) = locate(self.draft.node, way) else { return Vec::new() };
        let Some(written) = node.scalar() else { return Vec::new() };
        let rendered = !exact || scalar::is_template(&written.text);
        let text = match now {
            _ if !rendered => written.text.clone(),
            Value::String(s) => s.clone(),
            Value::Null => return Vec::new(),
            other => other.to_string(),
        };
        if !rendered && (written.style != Style::Plain || scalar::is_null(&text)) {
            return Vec::new();
        }
        let mode = matches!(way.last(), Some(Part::Key(k)) if k == "mode");
        let number = if mode { scalar::octal(&text) } else { scalar::integer(&text) };
        let mut all: Vec<Value> = Vec::new();
        all.extend(scalar::boolean(&text).map(Value::Bool));
        all.extend(number.map(Value::Number));
        all.extend(scalar::decimal(&text).filter(|_| !scalar::has_leading_zero(&text)).map(Value::Number));
        all.push(Value::String(text));
        all.retain(|v| v != now);
        all
    }

    fn unknown_key(&mut self, way: &Way, key: &str, known: &[String]) {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let span = key_span(self.draft.node, way, key).unwrap_or_else(|| self.whole());
        let what = match way.last() {
            None => self.draft.what.clone(),
            Some(Part::Key(k)) => format!("`{k}`"),
            Some(Part::Item(_)) => "this item".into(),
        };
        let problem = Problem::at(&span, format!("{what} has no key `{key}`"), "unknown key");
        self.problems.push(problem.help(did_you_mean(key, known.iter().copied(), "known keys")));
        // What was misspelt is not missing as well.
        self.forgiven.extend(nearest(key, known).map(str::to_owned));
    }

    fn missing(&mut self, way: &Way, field: &str) {
        let what = if way.is_empty() { self.draft.what.clone() } else { "this".into() };
        let span = self.place(way);
        let problem = Problem::at(&span, format!("{what} needs the key `{field}`"), format!("no `{field}` here"));
        let bare = way.is_empty() && self.draft.node.is_null();
        let help = bare.then(|| "nothing is indented below it: its arguments belong there".to_owned());
        self.problems.push(problem.maybe_help(help));
    }

    fn whole(&self) -> Span {
        self.draft.key.unwrap_or(&self.draft.node.span).clone()
    }

    fn place(&self, way: &Way) -> Span {
        if way.is_empty() {
            let written = self.draft.node.scalar().is_some_and(|s| !s.text.is_empty());
            return if written { self.draft.node.span.clone() } else { self.whole() };
        }
        match locate(self.draft.node, way) {
            Some((node, _)) if node.scalar().is_some_and(|s| s.text.is_empty()) || node.scalar().is_none() => {
                match way.last() {
                    Some(Part::Key(k)) => key_span(self.draft.node, &way[..way.len() - 1].to_vec(), k),
                    _ => None,
                }
                .unwrap_or_else(|| node.span.clone())
            }
            Some((node, _)) => node.span.clone(),
            None => self.whole(),
        }
    }

    fn wrong<T>(&mut self, way: &Way, message: &str, parse: &dyn Fn(Value) -> Result<T, PathError>) {
        let name = way.iter().rev().find_map(|p| if let Part::Key(k) = p { Some(k.as_str()) } else { None });
        let what = name.map_or_else(|| self.draft.what.clone(), |k| format!("`{k}`"));
        let secret = name.is_some_and(is_secret_key);
        let span = self.place(way);
        let located = locate(self.draft.node, way);
        let written = located.and_then(|(n, _)| n.scalar());
        let now = at(&self.draft.value, way);
        let shown = || match (located, now) {
            _ if secret => "the value given".into(),
            (Some((n, true)), _) if !n.scalar().is_some_and(|s| scalar::is_template(&s.text)) => n.describe(),
            (_, Some(Value::Array(_))) => "a list".into(),
            (_, Some(Value::Object(_))) => "a mapping".into(),
            (_, Some(Value::String(s))) => format!("`{}`", super::problem_text(s)),
            (_, Some(v)) => format!("`{v}`"),
            (_, None) => "nothing".into(),
        };
        if let Some((variant, known)) = quoted_list(message, "unknown variant `") {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let problem = Problem::at(&span, format!("{what} cannot be `{variant}`"), "unknown word");
            self.problems.push(problem.help(did_you_mean(&variant, known, "it can be")));
            return;
        }
        let plain = written.filter(|s| s.style == Style::Plain).map(|s| s.text.as_str());
        if let Some(text) = plain.filter(|t| scalar::has_leading_zero(t))
            && let Ok(digits) = text.trim_start_matches('0').replace('_', "").parse::<u64>()
            && self.accepts(way, Value::Number(Number::from(digits)), way, parse)
        {
            let octal = scalar::octal(text).map_or(String::new(), |n| format!(", or {n} if it is meant as octal"));
            let problem = Problem::at(&span, format!("{what}: is `{text}` octal or decimal?"), "a leading zero")
                .help(format!("YAML 1.1 and 1.2 disagree: write {digits} if it is meant as decimal{octal}"));
            self.problems.push(problem);
            return;
        }
        if let Some(text) = plain.filter(|t| scalar::is_base_sixty(t)).filter(|_| wants_number(message)) {
            let problem = Problem::at(&span, format!("{what} wants a number, and `{text}` is none"), "not a number")
                .help("YAML 1.1 reads it as a number to the base 60, YAML 1.2 as text: write the number itself");
            self.problems.push(problem);
            return;
        }
        let expected = message.rsplit_once("expected ").map(|(_, e)| wanted(e));
        let problem = match expected {
            Some(expected) if message.starts_with("invalid ") => {
                let label = if secret { "wrong type".into() } else { format!("this is {}", shown()) };
                Problem::at(&span, format!("{what} wants {expected}"), label)
            }
            _ if message.starts_with("data did not match any variant") => {
                Problem::at(&span, format!("{what}: this fits none of its forms"), "a key or a type is wrong in here")
                    .help("`esxprep schema playbook` describes every form")
            }
            // A type's own check says it in its own words.
            _ if secret => Problem::at(&span, format!("{what} is not valid"), "this value"),
            _ => Problem::at(&span, format!("{what}: {message}"), "here"),
        };
        let quoted = written.is_some_and(|s| {
            s.style == Style::Quoted
                && !scalar::is_template(&s.text)
                && (scalar::integer(&s.text).is_some() || scalar::boolean(&s.text).is_some())
        });
        let help = (quoted && message.starts_with("invalid type"))
            .then(|| "quotes make it text: remove them".to_owned())
            .or_else(|| {
                let text = located?.0.scalar().filter(|s| s.style == Style::Plain && s.text.is_empty());
                text.map(|_| "nothing is written after the colon: give a value, or remove the key".to_owned())
            });
        self.problems.push(problem.maybe_help(help));
    }
}

fn wants_number(message: &str) -> bool {
    message.rsplit_once("expected ").is_some_and(|(_, e)| e.starts_with(['u', 'i', 'f']) || e.contains("integer"))
}

/// Serde's words for types, in ours.
fn wanted(expected: &str) -> String {
    match expected.trim() {
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" | "u64" | "usize" | "u128" => "a whole number, not negative".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "a boolean" => "true or false".into(),
        "a string" | "string" | "str" => "text".into(),
        "a sequence" => "a list".into(),
        "a map" | "map" => "a mapping".into(),
        "string or map" => "a word or a mapping".into(),
        other if other.starts_with("struct ") || other.starts_with("variant ") => "a mapping of keys".into(),
        other => other.to_owned(),
    }
}

/// The first word in backquotes after `start`, and the ones after "expected".
fn quoted_list(message: &str, start: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix(start)?;
    let (word, rest) = rest.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    Some((word.to_owned(), known))
}

fn way(root: &Value, path: &serde_path_to_error::Path) -> Way {
    let mut out = Way::new();
    let mut here = Some(root);
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => {
                here = here.and_then(|v| v.get(index));
                out.push(Part::Item(*index));
            }
            Segment::Map { key } => {
                here = here.and_then(|v| v.get(key));
                out.push(Part::Key(key.clone()));
            }
            Segment::Enum { variant } => {
                let inner = here.and_then(|v| v.get(variant));
                if inner.is_some() {
                    here = inner;
                    out.push(Part::Key(variant.clone()));
                }
            }
            Segment::Unknown => break,
        }
    }
    out
}

fn at<'v>(root: &'v Value, way: &[Part]) -> Option<&'v Value> {
    way.iter().try_fold(root, |v, part| match part {
        Part::Key(k) => v.get(k),
        Part::Item(i) => v.get(i),
    })
}

fn at_mut<'v>(root: &'v mut Value, way: &[Part]) -> Option<&'v mut Value> {
    way.iter().try_fold(root, |v, part| match part {
        Part::Key(k) => v.get_mut(k),
        Part::Item(i) => v.get_mut(i),
    })
}

fn put(root: &mut Value, way: &[Part], value: Value) {
    if let Some(place) = at_mut(root, way) {
        *place = value;
    }
}

fn scalars(root: &Value, from: &Way, out: &mut Vec<Way>) {
    match at(root, from) {
        Some(Value::Object(map)) => map.keys().for_each(|k| scalars(root, &with(from, Part::Key(k.clone())), out)),
        Some(Value::Array(a)) => (0..a.len()).for_each(|i| scalars(root, &with(from, Part::Item(i)), out)),
        Some(_) => out.push(from.clone()),
        None => {}
    }
}

/// A way one part longer.
fn with(way: &Way, part: Part) -> Way {
    let mut longer = way.clone();
    longer.push(part);
    longer
}

/// The node of a part, and whether it is exactly that: a template that gave a list has no nodes inside.
fn locate<'n>(root: &'n Node, way: &[Part]) -> Option<(&'n Node, bool)> {
    let mut node = root;
    for part in way {
        let next = match part {
            Part::Key(k) => node.map().and_then(|m| m.get(k)).map(|e| &e.node),
            Part::Item(i) => node.seq().and_then(|s| s.get(*i)),
        };
        match next {
            Some(n) => node = n,
            None if node.scalar().is_some() => return Some((node, false)),
            None => return None,
        }
    }
    Some((node, true))
}

fn key_span(root: &Node, way: &Way, key: &str) -> Option<Span> {
    match locate(root, way)? {
        (node, true) => node.map()?.get(key).map(|e| e.key.clone()).or_else(|| Some(node.span.clone())),
        (node, false) => Some(node.span.clone()),
    }
}

/// An empty mapping, for a step that is named without arguments.
pub fn nothing() -> Value {
    Value::Object(Map::new())
}
