//! A text of which only its looks are known: a program that no family of its own reads, a file, an `echo`.

use serde_json::{Map, Value};

use super::form_labels::Labels;
use super::text::{self, Line, put};
use super::{form_json, form_ruled};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// JSON as its value, a table with a ruler as rows, `KEY=value` lines and `Label: value` lines as an object, all
/// else as lines.
pub fn read(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let Some(first) = lines.first() else { return Ok("".into()) };
    if form_json::begins(first.body())
        && let Ok(value) = form_json::read(&text::all_lines(run, text))
    {
        return Ok(value);
    }
    if let Some(rows) = barred(&lines) {
        return Ok(Value::Array(rows));
    }
    if let Some(rows) = form_ruled::read(&lines) {
        return Ok(Value::Array(rows));
    }
    if let Some(map) = pairs(&lines, true) {
        return Ok(Value::Object(map));
    }
    let lines: Vec<Line> = lines.into_iter().filter(|l| !form_ruled::is_ruler(l.body())).collect();
    match labelled(&lines) {
        Some(value) => Ok(value),
        None => text::sentences(run, text),
    }
}

/// A table whose cells are parted by bars, the headings first (`lsof`, `storcli`).
fn barred(lines: &[Line]) -> Option<Vec<Value>> {
    let cells =
        |l: &Line| -> Vec<String> { l.body().trim_matches('|').split('|').map(|c| c.trim().to_owned()).collect() };
    let (head, rows) = lines.split_first()?;
    let names = cells(head);
    let full: Vec<&Line> = rows.iter().filter(|l| !form_ruled::is_ruler(l.body())).collect();
    let fits = names.len() > 2 && names.iter().all(|n| !n.is_empty()) && !full.is_empty();
    if !fits || !full.iter().all(|l| l.body().matches('|').count() == head.body().matches('|').count()) {
        return None;
    }
    let row = |l: &&Line| {
        let mut map = Map::new();
        for (name, cell) in names.iter().zip(cells(l)) {
            put(&mut map, name, cell.into());
        }
        Value::Object(map)
    };
    Some(full.iter().map(row).collect())
}

/// `KEY=value` lines and nothing else; quotes around a value are notation, `#` begins a comment. `spaced` allows blanks
/// in the name where there are some around the equals sign.
pub fn pairs(lines: &[Line], spaced: bool) -> Option<Map<String, Value>> {
    let mut map = Map::new();
    for line in lines.iter().filter(|l| !l.body().starts_with('#')) {
        let (name, value) = line.body().split_once('=')?;
        let blank = spaced && name.ends_with(' ') && value.starts_with(' ');
        let (name, value) = (name.trim(), value.trim());
        let words = name.split_whitespace().count();
        let plain = (words == 1 || words < 5 && words > 0 && blank) && !name.contains(['"', '\'', '(', '<']);
        if !plain {
            return None;
        }
        put(&mut map, name, unquoted(value).into());
    }
    (!map.is_empty()).then_some(map)
}

/// A value without the quotes around it.
pub fn unquoted(value: &str) -> &str {
    [('"', '"'), ('\'', '\'')].iter().find_map(|(a, b)| value.strip_prefix(*a)?.strip_suffix(*b)).unwrap_or(value)
}

/// Lines that are all `Label: value`, perhaps below one heading line or nested; `None` for anything else.
pub fn labelled(lines: &[Line]) -> Option<Value> {
    const FORM: Labels = Labels { inner: &[], equals: false };
    let label = |l: &Line| FORM.split(l.body()).is_some_and(|(name, _)| is_label(name));
    let labels = lines.iter().filter(|l| label(l)).count();
    // a heading line in front of several labels; lines without a label only below one
    let headed = labels > 1 && lines.first().is_some_and(|l| !label(l));
    let body = if headed { &lines[1..] } else { lines };
    let mut depth = usize::MAX;
    for line in body {
        match label(line) {
            true => depth = line.indent(),
            false if line.indent() > depth => {}
            false => return None,
        }
    }
    if labels == 0 || body.len() > labels * 3 {
        return None;
    }
    FORM.read(lines).ok()
}

/// Whether a text in front of a colon can be a label: words, not a time, an address, a path or a log line's head.
fn is_label(name: &str) -> bool {
    name.len() <= 48
        && name.split_whitespace().count() <= 6
        && name.starts_with(|c: char| c.is_alphabetic() || c == '[')
        && !name.contains(['/', '"', '\'', '=', '`'])
        && !name.contains("](")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn by_its_looks() {
        for (text, expected) in [
            ("", json!("")),
            ("done\n", json!("done")),
            ("A=1\nB=\"x = y\"\n", json!({"A": "1", "B": "x = y"})),
            ("CLI Version = 1\nStatus = a b\n", json!({"CLI Version": "1", "Status": "a b"})),
            ("driver : igb\nbus-info:\n", json!({"driver": "igb", "bus-info": ""})),
            ("{\"a\": 1}\n", json!({"a": "1"})),
            ("A  B  C\n-------\n1  2  3\n", json!([{"A": "1", "B": "2", "C": "3"}])),
            ("2024-01-01T00:00:00Z cpu0: x\nb\n", json!(["2024-01-01T00:00:00Z cpu0: x", "b"])),
            (
                "Set for a:\n\tModes: x\n\t      y\n\tLink: up\n",
                json!({"Set for a": {"Modes": ["x", "y"], "Link": "up"}}),
            ),
            ("A b | C | D\n-----\n1 | x y | 3\n", json!([{"A b": "1", "C": "x y", "D": "3"}])),
            ("Nothing: to\nsee here\n", json!(["Nothing: to", "see here"])),
        ] {
            assert_eq!(read(&Invocation::default(), text).unwrap(), expected, "{text}");
        }
    }
}
