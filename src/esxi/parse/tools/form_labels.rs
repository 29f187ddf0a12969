//! `Label: value` lines nested by their indentation, with lists of bare lines under a label. Several labels can
//! stand on one line (`Vendor: X   Model: Y   Revis: Z`): the family names those.

use serde_json::{Map, Value};

use super::text::{Line, put};
use crate::esxi::forms::FormError;

/// How label lines of one command look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Labels {
    /// Labels that can follow another one's value on the same line.
    pub inner: &'static [&'static str],
    /// Labels are also parted from values by ` = `.
    pub equals: bool,
}

/// A line and the deeper lines under it.
#[derive(Debug, Clone)]
pub struct Node<'a> {
    /// The line.
    pub line: Line<'a>,
    /// Lines that are indented deeper.
    pub under: Vec<Node<'a>>,
}

/// The lines as a tree of their indentation. Nesting deeper than 60 is not followed further.
pub fn nest<'a>(lines: &[Line<'a>]) -> Vec<Node<'a>> {
    fn level<'a>(lines: &[Line<'a>], at: &mut usize, depth: usize) -> Vec<Node<'a>> {
        let mut out: Vec<Node<'a>> = Vec::new();
        let Some(first) = lines.get(*at) else { return out };
        let indent = first.indent();
        while let Some(line) = lines.get(*at) {
            if line.indent() < indent && depth > 0 {
                break;
            }
            if line.indent() > indent && depth < 60 {
                let under = level(lines, at, depth + 1);
                if let Some(last) = out.last_mut() {
                    last.under.extend(under);
                }
                continue;
            }
            out.push(Node { line: *line, under: Vec::new() });
            *at += 1;
        }
        out
    }
    level(lines, &mut 0, 0)
}

impl Labels {
    /// The label and the value of a line.
    pub fn split<'a>(&self, body: &'a str) -> Option<(&'a str, &'a str)> {
        let colon = body
            .match_indices(':')
            .map(|(at, _)| at)
            .find(|at| body[at + 1..].is_empty() || body[at + 1..].starts_with([' ', '\t']));
        let equals =
            if self.equals { body.find(" = ").or_else(|| body.strip_suffix(" =").map(str::len)) } else { None };
        let (at, len) = match (colon, equals) {
            (Some(c), Some(e)) if e < c => (e, 3),
            (Some(c), _) => (c, 1),
            (None, Some(e)) => (e, 3),
            (None, None) => return None,
        };
        let label = body[..at].trim();
        (!label.is_empty()).then(|| (label, body.get(at + len..).unwrap_or("").trim()))
    }

    /// All labels of a line: the first one, and those of `inner` behind it.
    pub fn labels<'a>(&self, body: &'a str) -> Vec<(&'a str, &'a str)> {
        let Some((label, value)) = self.split(body) else { return Vec::new() };
        let mut cuts: Vec<(usize, &str)> = Vec::new();
        for name in self.inner {
            for (at, _) in value.match_indices(name) {
                let free = at == 0 || value[..at].ends_with([' ', '\t']);
                if free
                    && value[at + name.len()..].starts_with(':')
                    && !cuts.iter().any(|(c, n)| *c <= at && at < c + n.len())
                {
                    cuts.push((at, name));
                }
            }
        }
        cuts.sort_unstable();
        let mut out = vec![(label, value[..cuts.first().map_or(value.len(), |c| c.0)].trim())];
        for (n, (at, name)) in cuts.iter().enumerate() {
            let end = cuts.get(n + 1).map_or(value.len(), |c| c.0);
            let from = (at + name.len() + 1).min(end);
            out.push((&value[*at..at + name.len()], value[from..end].trim()));
        }
        out
    }

    /// The value of a label: its text; an object when labels stand below it (its own text under `_value`); an array
    /// when bare lines do (its own text first).
    fn value(&self, text: &str, under: &[Node], depth: usize) -> Value {
        if under.is_empty() || depth > 60 {
            return text.into();
        }
        if under.iter().all(|n| self.split(n.line.body()).is_none() && n.under.is_empty()) {
            let own = (!text.is_empty()).then(|| Value::from(text));
            return own.into_iter().chain(under.iter().map(|n| n.line.body().into())).collect();
        }
        let mut map = Map::new();
        if !text.is_empty() {
            map.insert("_value".into(), text.into());
        }
        self.fill(&mut map, under, depth + 1);
        Value::Object(map)
    }

    /// Puts the labels of some lines into an object; a bare line with lines below it is a label of its own.
    pub fn fill(&self, map: &mut Map<String, Value>, nodes: &[Node], depth: usize) {
        for node in nodes {
            let labels = self.labels(node.line.body());
            match labels.as_slice() {
                [] if node.under.is_empty() => put(map, "_lines", node.line.body().into()),
                [] => put(map, node.line.body(), self.value("", &node.under, depth)),
                [first @ .., last] => {
                    for (label, value) in first {
                        put(map, label, (*value).into());
                    }
                    put(map, last.0, self.value(last.1, &node.under, depth));
                }
            }
        }
    }

    /// Blocks: one object, or an array of several. A bare outermost line is a heading when labels follow, below it or,
    /// where a paste lost the indentation, behind it. A first label that comes again at the outermost level begins
    /// another block. Any other bare line behind a label goes on with that label's value.
    pub fn read(&self, lines: &[Line]) -> Result<Value, FormError> {
        let nodes = nest(lines);
        let mut blocks: Vec<Map<String, Value>> = Vec::new();
        let mut first_label: Option<String> = None;
        let mut last_label: Option<String> = None;
        let mut headed = false;
        for (n, node) in nodes.iter().enumerate() {
            let labels = self.labels(node.line.body());
            let next = nodes.get(n + 1).and_then(|next| self.split(next.line.body())).map(|l| l.0);
            match labels.first() {
                None => {
                    let heading = !node.under.is_empty()
                        || next.is_some() && first_label.as_deref().is_none_or(|first| Some(first) == next);
                    if heading {
                        let mut map = Map::from_iter([("_heading".to_owned(), Value::from(node.line.body()))]);
                        self.fill(&mut map, &node.under, 1);
                        blocks.push(map);
                        (last_label, headed) = (None, true);
                        continue;
                    }
                    let before = last_label.as_ref().and_then(|l| blocks.last_mut()?.get_mut(l));
                    if !before.is_some_and(|value| go_on(value, node.line.body())) {
                        return node.line.fail("neither a label with its value, nor a heading");
                    }
                }
                Some((label, _)) => {
                    if blocks.is_empty() || first_label.as_deref() == Some(label) && !headed {
                        blocks.push(Map::new());
                    }
                    headed = false;
                    first_label.get_or_insert_with(|| (*label).to_owned());
                    last_label = labels.last().map(|l| l.0.to_owned());
                    if let Some(map) = blocks.last_mut() {
                        self.fill(map, std::slice::from_ref(node), 1);
                    }
                }
            }
        }
        Ok(match blocks.len() {
            1 => blocks.pop().map(Value::Object).unwrap_or_default(),
            _ => blocks.into_iter().map(Value::Object).collect(),
        })
    }
}

/// A bare line behind a label: the wrapped rest of a value in brackets, or an element of a list that lost its
/// indentation. Whether it can be one of these.
fn go_on(value: &mut Value, text: &str) -> bool {
    match value {
        Value::Array(all) => all.push(text.into()),
        Value::String(s) if s.is_empty() => *value = Value::Array(vec![text.into()]),
        Value::String(s) if text.starts_with('(') => {
            s.push(' ');
            s.push_str(text);
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::parse::Invocation;

    fn read(labels: Labels, text: &str) -> Result<Value, FormError> {
        labels.read(&super::super::text::lines(&Invocation::default(), text))
    }

    #[test]
    fn blocks_nested_labels_lists_and_several_labels_on_a_line() {
        let labels = Labels { inner: &["Model", "Is SSD"], equals: false };
        let got = read(
            labels,
            "a.1\n  Vendor: X Y  Model: Z\n  Names:\n     vml.1\nb.2\n  Local: true Is SSD: false\n  In:\n    A: 1\n",
        );
        assert_eq!(
            got.unwrap(),
            json!([
                {"_heading": "a.1", "Vendor": "X Y", "Model": "Z", "Names": ["vml.1"]},
                {"_heading": "b.2", "Local": "true", "Is SSD": "false", "In": {"A": "1"}}
            ])
        );
    }

    #[test]
    fn a_label_again_begins_a_block_and_bare_lines_are_errors() {
        assert_eq!(read(Labels::default(), "A: 1\nB: 2\nA: 3\n").unwrap(), json!([{"A": "1", "B": "2"}, {"A": "3"}]));
        assert_eq!(read(Labels::default(), "A: 1\nB: c:d\n").unwrap(), json!({"A": "1", "B": "c:d"}));
        assert_eq!(read(Labels::default(), "A: 1\noops\n").unwrap_err().line, 2);
        let eq = Labels { equals: true, ..Labels::default() };
        assert_eq!(read(eq, "A = x: y\n").unwrap(), json!({"A": "x: y"}));
    }
}
