//! What `esxcli --formatter=xml` prints: `output`, `root`, then lists, structures with named fields, and values.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};

use super::FormError;

enum Open {
    List(Vec<Value>),
    Structure(Map<String, Value>),
    Field(String, Option<Value>),
    /// `output`, `root` and anything unknown: passes the value inside on.
    Shell(Option<Value>),
    /// `string`, `integer`, `boolean` and the like.
    Leaf(String),
}

/// The whole answer: an array for a list, an object for a structure, a text for a bare value.
///
/// # Errors
/// What is no XML, or ends in the middle.
pub fn value(text: &str) -> Result<Value, FormError> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Open> = vec![Open::Shell(None)];
    let failed = |at: u64, problem: &'static str| {
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
        let before = text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count();
        FormError { line: before + 1, problem, text: text.lines().nth(before).unwrap_or("").to_owned() }
    };
    let mut seen = false;
    loop {
        let event = reader.read_event().map_err(|_| failed(reader.error_position(), "not well-formed XML"))?;
        let at = reader.buffer_position();
        match event {
            Event::Eof => break,
            Event::Start(tag) => {
                seen = true;
                if open.len() > 200 {
                    return Err(failed(at, "XML nested too deeply"));
                }
                open.push(begin(&tag));
            }
            Event::Empty(tag) => {
                seen = true;
                let value = end(begin(&tag));
                give(&mut open, value);
            }
            Event::End(_) => {
                let Some(done) = open.pop().filter(|_| !open.is_empty()) else {
                    return Err(failed(at, "a closing tag that nothing opened"));
                };
                let value = end(done);
                give(&mut open, value);
            }
            Event::Text(part) => {
                if let Some(Open::Leaf(text)) = open.last_mut() {
                    text.push_str(&part);
                } else if !part.trim().is_empty() {
                    return Err(failed(at, "text between the XML elements"));
                }
            }
            Event::CData(part) => {
                if let Some(Open::Leaf(text)) = open.last_mut() {
                    text.push_str(&part);
                }
            }
            Event::GeneralRef(name) => {
                let resolved = match name.resolve_char_ref() {
                    Ok(Some(c)) => Some(c),
                    _ => match &*name {
                        "amp" => Some('&'),
                        "lt" => Some('<'),
                        "gt" => Some('>'),
                        "quot" => Some('"'),
                        "apos" => Some('\''),
                        _ => None,
                    },
                };
                let c = resolved.ok_or_else(|| failed(at, "an unknown reference in the XML"))?;
                if let Some(Open::Leaf(text)) = open.last_mut() {
                    text.push(c);
                }
            }
            _ => {}
        }
    }
    match open.pop() {
        Some(Open::Shell(value)) if open.is_empty() && seen => Ok(value.unwrap_or(Value::Array(Vec::new()))),
        _ => Err(failed(text.len() as u64, "the XML ends in the middle")),
    }
}

fn begin(tag: &BytesStart<'_>) -> Open {
    match tag.local_name().as_ref() {
        "list" => Open::List(Vec::new()),
        "structure" => Open::Structure(Map::new()),
        "field" => {
            let name = tag.attributes().flatten().find(|a| a.key.as_ref() == "name");
            Open::Field(name.map(|a| unescape(&a.value)).unwrap_or_default(), None)
        }
        "output" | "root" => Open::Shell(None),
        _ => Open::Leaf(String::new()),
    }
}

fn unescape(text: &str) -> String {
    quick_xml::escape::unescape(text).map_or_else(|_| text.to_owned(), std::borrow::Cow::into_owned)
}

/// A finished element: its value, and the name of the field that it is.
fn end(open: Open) -> (Option<String>, Option<Value>) {
    match open {
        Open::List(items) => (None, Some(Value::Array(items))),
        Open::Structure(map) => (None, Some(Value::Object(map))),
        Open::Field(name, value) => (Some(name), Some(value.unwrap_or_else(|| Value::String(String::new())))),
        Open::Shell(value) => (None, value),
        Open::Leaf(text) => (None, Some(Value::String(text.trim().to_owned()))),
    }
}

fn give(open: &mut [Open], (name, value): (Option<String>, Option<Value>)) {
    let Some(value) = value else { return };
    match open.last_mut() {
        Some(Open::List(items)) => items.push(value),
        Some(Open::Structure(map)) => _ = map.insert(name.unwrap_or_default(), value),
        Some(Open::Field(_, slot) | Open::Shell(slot)) => *slot = Some(value),
        Some(Open::Leaf(_)) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_structures_and_references() {
        let text = "<?xml version=\"1.0\"?>\n<output xmlns=\"http://x/\">\n<root>\n<list type=\"structure\"><structure typeName=\"A\"><field name=\"N\"><string>a &amp; b &#65;</string></field><field name=\"L\"><list type=\"string\"><string>x</string><string></string></list></field></structure></list></root>\n</output>\n";
        assert_eq!(value(text).unwrap(), json!([{"N": "a & b A", "L": ["x", ""]}]));
        assert_eq!(value("<output><root><string>Enabled</string></root></output>").unwrap(), json!("Enabled"));
        assert_eq!(value("<output><root/></output>").unwrap(), json!([]));
        assert!(value("<output><root>").is_err());
        assert!(value("Error: no\n").is_err());
    }
}
