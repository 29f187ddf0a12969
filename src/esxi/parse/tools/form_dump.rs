//! The object dumps of `vim-cmd` as JSON of printed texts: `(vim.host.Summary) {`, `key = value,`, lists in
//! brackets. Quotes are notation and left out; everything else stays as printed, `<unset>` too. An object's type
//! stands under `_type`, a line such as `Listsummary:` in front under `_heading`.

use serde_json::{Map, Value};

use super::cursor::{Cursor, left_out};
use super::text::{Line, put};
use crate::esxi::forms::FormError;
use crate::esxi::vimdump::ends_value;

/// Deeper nesting than this is refused; hostd's own objects stay below 12.
const DEPTH: usize = 64;

/// Whether a dump begins on one of the lines.
pub fn is_dump(lines: &[Line]) -> bool {
    lines.iter().any(|l| starts(l.body()))
}

fn starts(body: &str) -> bool {
    body.strip_prefix('(').and_then(|r| r.split_once(')')).is_some_and(|(kind, rest)| {
        let rest = rest.trim();
        !kind.is_empty()
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':'))
            && (rest.is_empty() || rest.starts_with(['{', '[']))
    })
}

/// Reads a dump, or several one after another (then an array). Lines in front are headings.
pub fn read(lines: &[Line]) -> Result<Value, FormError> {
    let Some(first) = lines.iter().position(|l| starts(l.body())) else {
        return match lines.first() {
            Some(line) => line.fail("no `(type) {` or `(type) [` at the beginning of a line"),
            None => Ok(Value::Array(Vec::new())),
        };
    };
    let text = lines[first..].iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
    let mut reader = Reader { cursor: Cursor::new(&text, &lines[first..]) };
    let mut all = Vec::new();
    loop {
        reader.cursor.blanks();
        if reader.cursor.rest().is_empty() {
            break;
        }
        // a closing bracket too many, of a copy that begins or leaves out inside
        if !all.is_empty() && (reader.cursor.take("}") || reader.cursor.take("]") || reader.cursor.take(",")) {
            continue;
        }
        if !all.is_empty() && !reader.cursor.rest().starts_with(['(', '{', '[']) {
            return reader.cursor.fail("text behind the end of a dump");
        }
        all.push(reader.value(0)?);
        reader.cursor.blanks();
        reader.cursor.take(",");
    }
    let heading = lines[..first].iter().map(Line::body).filter(|b| !b.is_empty()).collect::<Vec<_>>().join("\n");
    let value = if all.len() == 1 { all.pop().unwrap_or_default() } else { Value::Array(all) };
    Ok(match value {
        Value::Object(map) if !heading.is_empty() => {
            Value::Object(std::iter::once(("_heading".to_owned(), heading.into())).chain(map).collect())
        }
        other => other,
    })
}

/// Reads what `grep -A` and `tail` left of a dump: it begins inside of an object, and further objects open in it.
pub fn inside(lines: &[Line]) -> Option<Value> {
    let lines: Vec<Line> = lines.iter().filter(|l| !l.blank() && l.body() != "--").copied().collect();
    let member = |l: &Line| l.body().split_once(" = ").is_some_and(|(name, _)| !name.contains([' ', '(', '"']));
    let opens = |l: &Line| member(l) && l.body().contains(" = (") && l.body().ends_with(['{', '[']);
    if !lines.first().is_some_and(member) || !lines.iter().any(opens) {
        return None;
    }
    let text = lines.iter().map(|l| l.text).collect::<Vec<_>>().join("\n");
    let text = format!("{{\n{text}");
    let mut reader = Reader { cursor: Cursor::new(&text, &lines) };
    let value = reader.object("", 0).ok()?;
    let rest = reader.cursor.rest();
    rest.trim_matches([' ', '\n', ',', '}', ']']).is_empty().then_some(value)
}

/// Reads what a filter left of a dump: `key = value,` lines. A key that comes again begins another object; brackets
/// alone are notation.
pub fn members(lines: &[Line]) -> Option<Value> {
    let mut objects: Vec<Map<String, Value>> = Vec::new();
    for line in lines.iter().filter(|l| !l.blank()) {
        let body = line.body();
        if body.trim_matches(['{', '}', '[', ']', ',', ' ']).is_empty() || starts(body) {
            continue;
        }
        let (key, value) = body.split_once(" = ").or_else(|| body.strip_suffix(" =").map(|k| (k, "")))?;
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return None;
        }
        let value = value.trim().trim_end_matches(',').trim();
        let bare = [('"', '"'), ('\'', '\'')].iter().find_map(|(a, b)| value.strip_prefix(*a)?.strip_suffix(*b));
        let value = Value::from(bare.unwrap_or(value));
        match objects.last_mut() {
            Some(last) if !last.contains_key(key) => put(last, key, value),
            _ => objects.push(Map::from_iter([(key.to_owned(), value)])),
        }
    }
    match objects.len() {
        0 => None,
        1 => objects.pop().map(Value::Object),
        _ => Some(objects.into_iter().map(Value::Object).collect()),
    }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Value, FormError> {
        if depth > DEPTH {
            return self.cursor.fail("nested too deep");
        }
        self.cursor.blanks();
        if self.cursor.take("<unset>") {
            return Ok("<unset>".into());
        }
        if self.cursor.take("(") {
            let kind = self.cursor.until(|c| c == ')' || c == '\n').trim();
            if !self.cursor.take(")") {
                return self.cursor.fail("a type is not closed");
            }
            self.cursor.blanks();
            return match self.cursor.rest().as_bytes().first() {
                Some(b'{') => self.object(kind, depth),
                Some(b'[') => self.list(depth),
                _ => self.value(depth + 1),
            };
        }
        match self.cursor.rest().as_bytes().first() {
            None => self.cursor.fail("the text ends where a value should be"),
            Some(b'{') => self.object("", depth),
            Some(b'[') => self.list(depth),
            Some(mark @ (b'"' | b'\'')) => self.quoted(char::from(*mark)).map(|s| s.trim().into()),
            Some(_) => match self.cursor.until(|c| matches!(c, ',' | '\n' | '}' | ']')).trim() {
                // a page that took `<unset>` for a tag
                "" if self.cursor.rest().starts_with(',') => Ok("".into()),
                "" => self.cursor.fail("no value"),
                word => Ok(word.into()),
            },
        }
    }

    fn object(&mut self, kind: &str, depth: usize) -> Result<Value, FormError> {
        self.cursor.take("{");
        let mut map = Map::new();
        if !kind.is_empty() {
            map.insert("_type".into(), kind.into());
        }
        loop {
            self.cursor.blanks();
            if self.cursor.take("}") || self.cursor.over() {
                return Ok(Value::Object(map));
            }
            let name = self.cursor.until(|c| matches!(c, '=' | '\n' | '}' | '{')).trim();
            if name.is_empty() || name.contains(' ') || !self.cursor.take("=") {
                return self.cursor.fail("a member without `name = `");
            }
            self.cursor.blanks();
            if self.cursor.over() {
                return Ok(Value::Object(map));
            }
            let value = self.value(depth + 1)?;
            put(&mut map, name, value);
            self.cursor.blanks();
            self.cursor.take(",");
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, FormError> {
        self.cursor.take("[");
        let mut items = Vec::new();
        loop {
            self.cursor.blanks();
            if self.cursor.take("]") || self.cursor.over() {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.cursor.blanks();
            self.cursor.take(",");
        }
    }

    /// A quoted text. A quote ends it only where a value can end, so that a bare quote inside does not; a line break
    /// and an escaped quote are the ones of the value.
    fn quoted(&mut self, mark: char) -> Result<String, FormError> {
        let start = self.cursor.at + 1;
        let rest = self.cursor.text.get(start..).unwrap_or("");
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if c == mark && !escaped && ends(&rest[at + 1..]) {
                self.cursor.at = start + at + 1;
                return Ok(unescape(&rest[..at], mark));
            }
            escaped = false;
        }
        // the last line of what `head` left
        if !rest.contains('\n') {
            self.cursor.at = self.cursor.text.len();
            return Ok(unescape(rest, mark));
        }
        self.cursor.fail("a text is not closed")
    }
}

/// Whether a value may have ended in front of this text; also in front of a line of dots for a part that was left out.
fn ends(rest: &str) -> bool {
    ends_value(rest) || {
        let rest = rest.strip_prefix(',').unwrap_or(rest).trim_start_matches([' ', '\t', '\r']);
        rest.starts_with('\n') && left_out(rest.trim_start().lines().next().unwrap_or(""))
    }
}

/// Only an escaped quote is resolved: a Windows path's backslashes are printed single.
fn unescape(text: &str, mark: char) -> String {
    text.replace(&format!("\\{mark}"), &mark.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::parse::{Invocation, tools::text};

    fn dump(text: &str) -> Result<Value, FormError> {
        read(&text::all_lines(&Invocation::default(), text))
    }

    #[test]
    fn values_stay_as_printed() {
        let text = "Listsummary:\n\n(vim.vm.Summary) {\n   vm = 'vim.VirtualMachine:7',\n   n = 007,\n   t = true, \n   note = \"a \"b\"\n\nc\",\n   l = (string) [\n      \"x\",\n      \"y\"\n   ],\n   e = (vim.A) [],\n   u = <unset>,\n   z = (vim.B) null\n}\n";
        assert_eq!(
            dump(text).unwrap(),
            json!({"_heading": "Listsummary:", "_type": "vim.vm.Summary", "vm": "vim.VirtualMachine:7", "n": "007",
                "t": "true", "note": "a \"b\"\n\nc", "l": ["x", "y"], "e": [], "u": "<unset>", "z": "null"})
        );
        assert_eq!(dump("(a) {\n k = 1\n}\n(a) {\n k = 2\n}\n").unwrap().as_array().unwrap().len(), 2);
        assert_eq!(dump("(a) {\n k = 1,\n...\n b = (c) [\n (c) {\n d = \"x y").unwrap()["b"][0]["d"], "x y");
        // What a page left of `<unset>`, and a part left out behind a text.
        assert_eq!(dump("(a) {\n u = ,\n k = 1\n}\n").unwrap(), json!({"_type": "a", "u": "", "k": "1"}));
        assert_eq!(dump("(a) {\n m = \"HS22 -[7]-\",\n...\n").unwrap(), json!({"_type": "a", "m": "HS22 -[7]-"}));
        assert_eq!(dump("(a) {\n k = 1\n}\noops\n").unwrap_err().line, 4);
        assert!(dump(&"(a) [".repeat(5000)).is_err());
    }

    #[test]
    fn filtered_members() {
        let lines = |t| members(&text::all_lines(&Invocation::default(), t));
        assert_eq!(lines("   a = \"x, y\",\n   b = 1,\n").unwrap(), json!({"a": "x, y", "b": "1"}));
        assert_eq!(lines("a = 1,\na = 2\n").unwrap(), json!([{"a": "1"}, {"a": "2"}]));
        assert_eq!(lines("no member\n"), None);
        let lines = |t| inside(&text::all_lines(&Invocation::default(), t));
        assert_eq!(lines("  a = 1,\n  b = (x) [\n  (y) {\n").unwrap(), json!({"a": "1", "b": [{"_type": "y"}]}));
        assert_eq!(lines("  a = 1,\n  b = 2\n"), None);
    }
}
