//! What `vsish` prints: `Name {` blocks of `label:value` lines, the almost-JSON of its Python mode (hexadecimal
//! numbers, commas before closing brackets, strings over several lines), single values, names of nodes.

use serde_json::{Map, Value};

use super::text::{self, Line, put};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// Reads by the form of the text.
pub fn read(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines: Vec<Line> = text::all_lines(run, text)
        .into_iter()
        .filter(|l| !(l.body().starts_with("main():") && l.body().contains("deprecated")))
        .collect();
    let Some(first) = lines.iter().find(|l| !l.blank()) else { return Ok("".into()) };
    if first.body() == "{" || first.body().starts_with("{ \"") || first.body() == "[" {
        let body = lines.iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
        let mut reader = Almost { text: &body, at: 0, lines: &lines };
        let value = reader.value(0)?;
        reader.blanks();
        return if reader.rest().is_empty() { Ok(value) } else { reader.fail("text behind the closing bracket") };
    }
    if first.body().ends_with('{') {
        return blocks(&lines);
    }
    if run.filtered() && lines.iter().all(|l| l.blank() || l.body().contains(':')) {
        let mut map = Map::new();
        for (label, value) in lines.iter().filter_map(|l| l.body().split_once(':')) {
            put(&mut map, label.trim(), value.trim().into());
        }
        return Ok(Value::Object(map));
    }
    let node = run.has("ls") || lines.iter().all(|l| l.blank() || l.body().ends_with('/'));
    let many: Vec<Value> = lines.iter().filter(|l| !l.blank()).map(|l| l.body().into()).collect();
    Ok(if many.len() == 1 && !node { many.into_iter().next().unwrap_or_default() } else { Value::Array(many) })
}

/// `Name {`, `label:value`, `}`. A block inside has its name as label; a line without a colon goes on with the value
/// before it.
fn blocks(lines: &[Line]) -> Result<Value, FormError> {
    let mut stack: Vec<(String, Map<String, Value>, Option<String>)> = Vec::new();
    let mut done: Vec<Value> = Vec::new();
    for line in lines.iter().filter(|l| !l.blank()) {
        let body = line.body();
        if let Some(name) = body.strip_suffix('{') {
            // inside, `label:what it is {`
            let (label, heading) = match name.split_once(':') {
                Some((label, heading)) if !stack.is_empty() => (label.trim(), heading.trim()),
                _ => ("", name.trim()),
            };
            let (label, heading) = if label.is_empty() && !stack.is_empty() { (heading, "") } else { (label, heading) };
            let mut map = Map::new();
            if !heading.is_empty() {
                map.insert("_heading".into(), heading.into());
            }
            stack.push((label.to_owned(), map, None));
            continue;
        }
        if body == "}" || body == "}," {
            let Some((name, map, _)) = stack.pop() else { return line.fail("a closing bracket too many") };
            match stack.last_mut() {
                Some((_, outer, _)) => put(outer, &name, Value::Object(map)),
                None => done.push(Value::Object(map)),
            }
            continue;
        }
        let Some((_, map, last)) = stack.last_mut() else { return line.fail("text outside of the block") };
        // padded labels can hold a colon: `Volume: Unmap IOs      :6`
        match body.split_once("  :").or_else(|| body.split_once(':')) {
            Some((label, value)) if !label.trim().is_empty() && (last.is_none() || !label.starts_with('[')) => {
                put(map, label.trim(), value.trim().into());
                *last = Some(label.trim().to_owned());
            }
            _ => match last.as_ref().and_then(|l| map.get_mut(l)) {
                Some(Value::String(value)) => {
                    if !value.is_empty() {
                        value.push('\n');
                    }
                    value.push_str(body);
                }
                _ => put(map, "_lines", body.into()),
            },
        }
    }
    match (stack.is_empty(), done.len(), lines.last()) {
        (false, _, Some(line)) => line.fail("a block is not closed"),
        (_, 1, _) => Ok(done.remove(0)),
        _ => Ok(Value::Array(done)),
    }
}

/// A reader of what looks like JSON.
struct Almost<'a> {
    text: &'a str,
    at: usize,
    lines: &'a [Line<'a>],
}

impl<'a> Almost<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn fail<T>(&self, problem: &'static str) -> Result<T, FormError> {
        let before = self.text.get(..self.at).unwrap_or("").matches('\n').count();
        match self.lines.get(before).or(self.lines.last()) {
            Some(line) => line.fail(problem),
            None => Err(FormError { line: 1, problem, text: String::new() }),
        }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, mark: char) -> bool {
        let found = self.rest().starts_with(mark);
        if found {
            self.at += mark.len_utf8();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Result<Value, FormError> {
        if depth > 64 {
            return self.fail("nested too deep");
        }
        self.blanks();
        if self.take('{') {
            let mut map = Map::new();
            loop {
                self.blanks();
                if self.take('}') {
                    return Ok(Value::Object(map));
                }
                let name = self.string(':')?;
                self.blanks();
                if !self.take(':') {
                    return self.fail("a name without a colon behind it");
                }
                let value = self.value(depth + 1)?;
                put(&mut map, &name, value);
                self.blanks();
                self.take(',');
            }
        }
        if self.take('[') {
            let mut items = Vec::new();
            loop {
                self.blanks();
                if self.take(']') {
                    return Ok(Value::Array(items));
                }
                items.push(self.value(depth + 1)?);
                self.blanks();
                self.take(',');
            }
        }
        if self.rest().starts_with('"') {
            return self.string(',').map(|s| s.trim().into());
        }
        let rest = self.rest();
        let end = rest.find([',', '\n', '}', ']']).unwrap_or(rest.len());
        let word = rest[..end].trim();
        if word.is_empty() {
            return self.fail("no value");
        }
        self.at += end;
        Ok(word.into())
    }

    /// A string ends at a quote that `next`, a bracket or the text's end follows.
    fn string(&mut self, next: char) -> Result<String, FormError> {
        if !self.take('"') {
            return self.fail("no opening quote");
        }
        let rest = self.rest();
        for (at, _) in rest.match_indices('"') {
            let after = rest[at + 1..].trim_start();
            if after.is_empty() || after.starts_with([next, '}', ']']) {
                self.at += at + 1;
                return Ok(rest[..at].to_owned());
            }
        }
        self.fail("a string is not closed")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn blocks_almost_json_and_values() {
        let run = Invocation::default();
        let text = "Info {\n   ID: 2\n   Name:a:b\n   V: x    :6\n   Sub {\n      X:1\n   }\n   F:a filter {\n      L:[0]: 0x0\n      [1]: 0x1\n   }\n}\n";
        assert_eq!(
            read(&run, text).unwrap(),
            json!({"_heading": "Info", "ID": "2", "Name": "a:b", "V: x": "6", "Sub": {"X": "1"},
                "F": {"_heading": "a filter", "L": "[0]: 0x0\n[1]: 0x1"}})
        );
        let text = "{\n   \"a\" : 0x7,\n   \"b\" : [ 1, 2, ],\n   \"c\" : \"x\n\ny \"q\" z\n\",\n}\n";
        assert_eq!(read(&run, text).unwrap(), json!({"a": "0x7", "b": ["1", "2"], "c": "x\n\ny \"q\" z"}));
        assert_eq!(read(&run, "0\n").unwrap(), "0");
        assert_eq!(read(&run, "vmnic0/\n").unwrap(), json!(["vmnic0/"]));
        assert_eq!(read(&run, "A {\n  x:1\n").unwrap_err().line, 2);
        assert!(read(&run, &"[\n".repeat(5000)).is_err());
    }
}
