//! What `vsish` prints: `Name {` blocks of `label:value` lines, the almost-JSON of its Python mode (hexadecimal
//! numbers, commas before closing brackets, strings over several lines), single values, names of nodes.

use serde_json::{Map, Value};

use super::form_json;
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
    if form_json::begins(first.body()) {
        return form_json::read(&lines);
    }
    if first.body().ends_with('{') {
        return blocks(&lines);
    }
    // some nodes print no brackets: a heading line and labels without a blank behind the colon
    let labels = |ls: &[Line]| {
        !ls.is_empty() && ls.iter().all(|l| l.body().split_once(':').is_some_and(|(name, _)| plain(name)))
    };
    let full: Vec<Line> = lines.iter().filter(|l| !l.blank()).copied().collect();
    if let [head, rest @ ..] = full.as_slice()
        && !run.has("ls")
        && (labels(&full) && (full.len() > 1 || run.filtered()) || labels(rest) && rest[0].indent() > head.indent())
    {
        let mut map = Map::new();
        if !labels(std::slice::from_ref(head)) {
            map.insert("_heading".into(), head.body().into());
        }
        for (label, value) in full.iter().filter_map(|l| l.body().split_once(':')) {
            put(&mut map, label.trim(), value.trim().into());
        }
        return Ok(Value::Object(map));
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

/// Whether a text in front of a colon is a label: words, not an address or a path.
fn plain(name: &str) -> bool {
    name.len() < 60 && name.starts_with(|c: char| c.is_alphabetic()) && !name.contains(['/', '[', '"'])
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
            if stack.len() > 64 {
                return line.fail("nested too deep");
            }
            stack.push((label.to_owned(), map, None));
            continue;
        }
        if body == "}" || body == "}," {
            // a copy that begins inside of a block has a closing bracket too many
            let Some((name, map, _)) = stack.pop() else { continue };
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
            // `-- Details` parts the statistics
            _ if body.starts_with("--") => put(map, "_lines", body.into()),
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
    // what `head` or a partial copy left: the blocks end with the text
    while let Some((name, map, _)) = stack.pop() {
        match stack.last_mut() {
            Some((_, outer, _)) => put(outer, &name, Value::Object(map)),
            None => done.push(Value::Object(map)),
        }
    }
    Ok(if done.len() == 1 { done.remove(0) } else { Value::Array(done) })
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
        assert_eq!(read(&run, "A {\n  x:1\n  b:c {\n  d:2\n").unwrap()["b"]["d"], "2");
        assert_eq!(read(&run, "A {\n  x:1\n}\noops\n").unwrap_err().line, 4);
        assert_eq!(
            read(&run, "A {\n  x:1\n  -- more\n  y:2\n}\n").unwrap(),
            json!({"_heading": "A", "x": "1", "_lines": "-- more", "y": "2"})
        );
        assert_eq!(
            read(&run, "A policy\n  ID: 1\n  Name:b\n").unwrap(),
            json!({"_heading": "A policy", "ID": "1", "Name": "b"})
        );
        assert!(read(&run, &"[\n".repeat(5000)).is_err());
    }
}
