//! Usage texts, for a command that asked for one.

use serde_json::{Map, Value};

use crate::esxi::forms::text::{Line, lines};
use crate::esxi::parse::Invocation;
use crate::esxi::parse::invocation::Esxcli;

/// The usage text as an object, when the command asked for it with `--help` or `-?` and the text is one:
/// `Usage` as text, each further section as an object of names and what is said about them.
pub fn asked(invocation: &Invocation, text: &str) -> Option<Value> {
    if !Esxcli::new(&invocation.args).help {
        return None;
    }
    let mut all = lines(text);
    let least = all.iter().map(|l| l.indent).min()?;
    all.iter_mut().for_each(|l| l.indent -= least);
    if !all.first()?.body.starts_with("Usage:") {
        return None;
    }
    let mut out = Map::new();
    let mut section = String::new();
    for line in &all {
        if line.indent == 0
            && let Some((name, rest)) = line.body.split_once(':')
            && !name.contains(['-', '|'])
        {
            section = name.to_owned();
            let value = match rest.trim() {
                "" => Value::Object(Map::new()),
                text => text.into(),
            };
            out.insert(section.clone(), value);
            continue;
        }
        add(out.entry(section.clone()).or_insert_with(|| Map::new().into()), line);
    }
    Some(out.into())
}

/// One line of a section: a name at its left edge, and what is said about it behind two blanks or further down.
fn add(section: &mut Value, line: &Line<'_>) {
    let Value::Object(map) = section else {
        if let Value::String(text) = section {
            text.push(' ');
            text.push_str(line.body);
        }
        return;
    };
    if line.indent > 6 {
        if let Some((_, Value::String(text))) = map.iter_mut().next_back() {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line.body);
        }
        return;
    }
    // `-i|--id=<str>         User ID`, `-f|--fast  ...`, `add   ...`; a long name has a line of its own.
    let at = line.body.find("  ").or_else(|| {
        let end = line.body.find("> ").filter(|_| line.body.starts_with('-'))?;
        Some(end + 1)
    });
    let (name, about) = at.map_or((line.body, ""), |i| line.body.split_at(i));
    map.insert(name.trim().to_owned(), about.trim().into());
}
