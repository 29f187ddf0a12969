//! What `esxcli --formatter=keyvalue` prints: `structure[0].Nic.Name.string=vmnic0`, one value a line.

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::FormError;
use super::text::lines;

/// A value while it grows.
#[derive(Debug, Default)]
struct Node {
    text: Option<String>,
    fields: IndexMap<String, Node>,
    items: Option<IndexMap<usize, Node>>,
}

/// The whole answer: an array for a list, an object for a structure, a text for a bare value.
///
/// # Errors
/// A line that is not `path=value`.
pub fn value(text: &str) -> Result<Value, FormError> {
    let mut root = Node::default();
    for line in lines(text) {
        let bad = || line.error("not `path=value`");
        let (path, value) = line.body.split_once('=').ok_or_else(bad)?;
        let path = path.trim();
        let empty = path.strip_suffix("[]");
        let steps: Vec<&str> = empty.unwrap_or(path).split('.').collect();
        if steps.iter().any(|s| s.is_empty() || s.contains(' ')) {
            return Err(bad());
        }
        grow(&mut root, &steps, value.trim(), empty.is_some()).ok_or_else(bad)?;
    }
    Ok(finish(root))
}

/// Follows a path: `type[3]` is an item, `type` at the end the value, else `TypeName.Field`.
fn grow(root: &mut Node, steps: &[&str], value: &str, empty: bool) -> Option<()> {
    let mut node = root;
    let mut steps = steps.iter();
    // A path that ends without the kind of its value would lose it.
    let mut kept = empty || value.is_empty();
    while let Some(step) = steps.next() {
        if let Some((_, index)) = step.strip_suffix(']').and_then(|s| s.split_once('[')) {
            let index: usize = index.parse().ok()?;
            node = node.items.get_or_insert_default().entry(index).or_default();
            continue;
        }
        match steps.next() {
            Some(field) => node = node.fields.entry((*field).to_owned()).or_default(),
            None if empty => _ = node.items.get_or_insert_default(),
            None => {
                node.text = Some(value.to_owned());
                kept = true;
            }
        }
    }
    kept.then_some(())
}

fn finish(node: Node) -> Value {
    if let Some(items) = node.items {
        return Value::Array(items.into_values().map(finish).collect());
    }
    match node.text {
        Some(text) if node.fields.is_empty() => Value::String(text),
        _ => Value::Object(node.fields.into_iter().map(|(k, v)| (k, finish(v))).collect::<Map<_, _>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_become_lists_structures_and_values() {
        // Built in the shape that the client's own keyvalue code prints.
        let text = "structure[0].VirtualSwitch.Name.string=vSwitch0\nstructure[0].VirtualSwitch.Portgroups.string[0].string=a=b\nstructure[0].VirtualSwitch.Portgroups.string[1].string=c\nstructure[0].VirtualSwitch.Uplinks.string[] = \n";
        assert_eq!(value(text).unwrap(), json!([{"Name": "vSwitch0", "Portgroups": ["a=b", "c"], "Uplinks": []}]));
        assert_eq!(value("VersionGet.Version.string=8.0.3\n").unwrap(), json!({"Version": "8.0.3"}));
        assert_eq!(value("string=Enabled\n").unwrap(), json!("Enabled"));
        assert_eq!(value("structure[] = \n").unwrap(), json!([]));
        assert_eq!(value("a.b.string=1\nsomething else\n").unwrap_err().line, 2);
    }
}
