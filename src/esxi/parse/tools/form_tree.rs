//! The dotted tree of `esxcfg-info`: `|----System UUID......value` and `\==+Network : ` with deeper lines under it.
//! A branch is an object under its name, a branch or a leaf that comes again makes an array.

use serde_json::{Map, Value};

use super::text::{Line, put};
use crate::esxi::forms::FormError;

enum Kind<'a> {
    Leaf(&'a str, &'a str),
    Branch(&'a str),
}

/// Reads the tree; behind a filter, parts of it.
pub fn read(lines: &[Line], filtered: bool) -> Result<Value, FormError> {
    let mut stack: Vec<(usize, String, Map<String, Value>)> = Vec::new();
    let mut top = Map::new();
    let mut blocks: Vec<Map<String, Value>> = Vec::new();
    let mut last: Option<String> = None;
    for line in lines {
        let depth = line.text.find(['|', '\\', '+']);
        let kind = depth.and_then(|at| kind(&line.text[at..]));
        let (Some(depth), Some(kind)) = (depth, kind) else {
            // a value over several lines: a command line, a description
            let at = stack.last_mut().map_or(&mut top, |s| &mut s.2);
            match last.as_ref().and_then(|k| at.get_mut(k)) {
                Some(Value::String(value)) => {
                    value.push('\n');
                    value.push_str(line.body());
                    continue;
                }
                _ => return line.fail("neither `|----name....value` nor `\\==+name :`"),
            }
        };
        while stack.last().is_some_and(|s| s.0 >= depth) {
            close(&mut stack, &mut top);
        }
        match kind {
            Kind::Branch(_) if stack.len() > 200 => return line.fail("nested too deep"),
            Kind::Branch(name) => {
                last = None;
                stack.push((depth, name.to_owned(), Map::new()));
            }
            Kind::Leaf(name, value) => {
                last = Some(name.to_owned());
                if filtered && stack.is_empty() && top.contains_key(name) {
                    blocks.push(std::mem::take(&mut top));
                }
                put(stack.last_mut().map_or(&mut top, |s| &mut s.2), name, value.into());
            }
        }
    }
    while !stack.is_empty() {
        close(&mut stack, &mut top);
    }
    if blocks.is_empty() {
        return Ok(Value::Object(top));
    }
    blocks.push(top);
    Ok(blocks.into_iter().map(Value::Object).collect())
}

fn close(stack: &mut Vec<(usize, String, Map<String, Value>)>, top: &mut Map<String, Value>) {
    if let Some((_, name, map)) = stack.pop() {
        put(stack.last_mut().map_or(top, |s| &mut s.2), &name, Value::Object(map));
    }
}

fn kind(text: &str) -> Option<Kind<'_>> {
    if let Some(rest) = text.strip_prefix("\\==+").or_else(|| text.strip_prefix('+'))
        && let Some(name) = rest.trim().strip_suffix(':')
    {
        return Some(Kind::Branch(name.trim()));
    }
    let rest = text.strip_prefix("|----")?;
    // names are padded with dots to a fixed width; a long one has fewer dots, down to none
    let dots = rest.find("...").or_else(|| rest.find(".."));
    Some(match dots {
        Some(at) => Kind::Leaf(rest[..at].trim(), rest[at..].trim_start_matches('.').trim()),
        None => match rest.split_once('.') {
            Some((name, value)) => Kind::Leaf(name.trim(), value.trim()),
            None => Kind::Leaf(rest.trim(), ""),
        },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::parse::Invocation;

    fn tree(text: &str, filtered: bool) -> Result<Value, FormError> {
        read(&super::super::text::lines(&Invocation::default(), text), filtered)
    }

    #[test]
    fn branches_nest_and_repeat() {
        assert_eq!(tree("Host\n", false).unwrap_err().line, 1);
        let text = "   \\==+Host : \n      |----Name.....esx1\n      \\==+Nic : \n         |----MTU....1500\n         |----Empty.....\n      \\==+Nic : \n         |----MTU....9000\n      |----Last....x\n";
        assert_eq!(
            tree(text, false).unwrap(),
            json!({"Host": {"Name": "esx1", "Nic": [{"MTU": "1500", "Empty": ""}, {"MTU": "9000"}], "Last": "x"}})
        );
        assert_eq!(tree("|----A..1\n    |----A..2\n", true).unwrap(), json!([{"A": "1"}, {"A": "2"}]));
    }
}
