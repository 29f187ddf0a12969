//! JSON, and what looks like it: vsish's Python mode and `vdq` print hexadecimal numbers, commas before closing
//! brackets and none between members, strings over several lines with bare quotes in them. Every scalar becomes the
//! text that was printed.

use serde_json::{Map, Value};

use super::cursor::Cursor;
use super::text::{Line, put};
use crate::esxi::forms::FormError;

/// Deeper nesting than this is refused.
const DEPTH: usize = 64;

/// Whether the first line looks like the beginning of such a text.
pub fn begins(first: &str) -> bool {
    let rest = first.trim_start_matches(['[', '{']).trim_start();
    first.starts_with(['{', '['])
        && (rest.is_empty() || rest.starts_with(['"', ']', '}']) || rest.starts_with(|c: char| c.is_ascii_digit()))
        && !(first.starts_with('[') && rest.contains(']') && !rest.ends_with([']', ',']))
}

/// Reads one value, or several one after another (then an array). A text that ends inside is read as far as it goes.
pub fn read(lines: &[Line]) -> Result<Value, FormError> {
    let text = lines.iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
    let mut reader = Almost { cursor: Cursor::new(&text, lines) };
    let mut all = Vec::new();
    loop {
        reader.cursor.blanks();
        if reader.cursor.rest().is_empty() {
            break;
        }
        if !reader.cursor.rest().starts_with(['{', '[']) {
            return reader.cursor.fail("text behind the closing bracket");
        }
        all.push(reader.value(0)?);
        reader.cursor.blanks();
        reader.cursor.take(",");
    }
    Ok(if all.len() == 1 { all.remove(0) } else { Value::Array(all) })
}

struct Almost<'a> {
    cursor: Cursor<'a>,
}

impl Almost<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, FormError> {
        if depth > DEPTH {
            return self.cursor.fail("nested too deep");
        }
        self.cursor.blanks();
        if self.cursor.take("{") {
            let mut map = Map::new();
            loop {
                self.cursor.blanks();
                if self.cursor.take("}") || self.cursor.rest().is_empty() {
                    return Ok(Value::Object(map));
                }
                let name = self.string(':')?;
                self.cursor.blanks();
                if !self.cursor.take(":") {
                    return self.cursor.fail("a name without a colon behind it");
                }
                self.cursor.blanks();
                if self.cursor.rest().is_empty() {
                    return Ok(Value::Object(map));
                }
                let value = self.value(depth + 1)?;
                put(&mut map, &name, value);
                self.cursor.blanks();
                self.cursor.take(",");
            }
        }
        if self.cursor.take("[") {
            let mut items = Vec::new();
            loop {
                self.cursor.blanks();
                if self.cursor.take("]") || self.cursor.rest().is_empty() {
                    return Ok(Value::Array(items));
                }
                items.push(self.value(depth + 1)?);
                self.cursor.blanks();
                self.cursor.take(",");
            }
        }
        if self.cursor.rest().starts_with('"') {
            return self.string(',').map(|s| s.trim().into());
        }
        let rest = self.cursor.rest();
        let end = rest.find([',', '\n', '}', ']']).unwrap_or(rest.len());
        let word = rest[..end].trim();
        if word.is_empty() {
            return self.cursor.fail("no value");
        }
        self.cursor.at += end;
        Ok(word.into())
    }

    /// A string ends at a quote that `next`, a bracket, the text's end or, on another line, another name follows.
    fn string(&mut self, next: char) -> Result<String, FormError> {
        if !self.cursor.take("\"") {
            return self.cursor.fail("no opening quote");
        }
        let rest = self.cursor.rest();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if c == '"' && !escaped {
                let after = rest[at + 1..].trim_start();
                let parted = rest[at + 1..].trim_start_matches([' ', '\t', '\r']).starts_with('\n');
                if after.is_empty()
                    || after.starts_with([next, '}', ']'])
                    || parted && after.starts_with('"') && next == ','
                {
                    self.cursor.at += at + 1;
                    let raw = &rest[..at];
                    // an escape is resolved where the whole text has only escapes that JSON has
                    let plain = raw.contains('\\').then(|| serde_json::from_str(&format!("\"{raw}\"")).ok()).flatten();
                    return Ok(plain.unwrap_or_else(|| raw.to_owned()));
                }
            }
            escaped = false;
        }
        self.cursor.fail("a string is not closed")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::parse::{Invocation, tools::text};

    fn json(text: &str) -> Result<Value, FormError> {
        read(&text::all_lines(&Invocation::default(), text))
    }

    #[test]
    fn almost_json() {
        assert_eq!(json("{\"a\" : 1,\n\"b\" : 0x2,\n}\n").unwrap(), json!({"a": "1", "b": "0x2"}));
        assert_eq!(
            json("[\n {\n  \"N\" : \"x\"\n\"M\": \"y\",\n },\n\n {\n  \"N\" : \"\",\n },\n]\n").unwrap(),
            json!([{"N": "x", "M": "y"}, {"N": ""}])
        );
        assert_eq!(json("{\"a\": \"x \\\"y\\\"\", \"b\": 0.30}").unwrap(), json!({"a": "x \"y\"", "b": "0.30"}));
        assert_eq!(json("{\n\"a\": [\n1,\n...\n2\n").unwrap(), json!({"a": ["1", "2"]}));
        assert_eq!(json("{\"a\": 1}\noops\n").unwrap_err().line, 2);
        assert!(json(&"[\n".repeat(5000)).is_err());
        assert!(
            begins("[") && begins("{\"a\" : 1,") && begins("[]") && !begins("[200] Sending") && !begins("[a@b:~] x")
        );
    }
}
