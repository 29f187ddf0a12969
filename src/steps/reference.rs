//! The reference of the kinds of step, made from the same types that read the YAML.

use std::fmt::Write;

use serde_json::Value;

use super::{Kind, kinds};

/// All kinds as one Markdown page.
pub fn markdown() -> String {
    let mut page = String::from(
        "# Kinds of step\n\nMade by `esxprep steps --markdown` from the types that read the YAML.\n\nEvery step also takes `name`, `when`, `tags`, \
         `for_each`, `retries`, `delay`, `timeout`, `register` and `expect`: see [playbooks.md](playbooks.md).\n\n",
    );
    for kind in kinds() {
        let _ = writeln!(page, "- [`{0}`](#{0}) {1}", kind.name, kind.about);
    }
    for kind in kinds() {
        page.push('\n');
        page.push_str(&one(kind));
    }
    page
}

/// One kind as Markdown.
pub fn one(kind: &Kind) -> String {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = (kind.schema)(&mut generator).to_value();
    let definitions = Value::Object(generator.take_definitions(true).into_iter().collect());
    let mut text = format!("## {}\n\n{}\n\n```yaml\n{}\n```\n\n", kind.name, kind.about, kind.example.trim_end());
    let schema = resolve(&schema, &definitions);
    if let Some(about) = schema.get("description").and_then(Value::as_str) {
        let _ = writeln!(text, "{}\n", about.trim());
    }
    let mut rows = Vec::new();
    keys(schema, &definitions, "", &mut rows, 0);
    if !rows.is_empty() {
        text.push_str("| key | value | |\n| --- | --- | --- |\n");
        for (key, value, about) in rows {
            let _ = writeln!(text, "| `{key}` | {value} | {about} |");
        }
    }
    text
}

type Row = (String, String, String);

fn keys(schema: &Value, definitions: &Value, prefix: &str, rows: &mut Vec<Row>, depth: usize) {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let about = property.get("description").or_else(|| resolve(property, definitions).get("description"));
        let mut about =
            about.and_then(Value::as_str).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        if let Some(default) = property.get("default").filter(|d| !d.is_null()) {
            let _ = write!(about, " Default: `{default}`.");
        }
        if required.contains(&name.as_str()) {
            about.push_str(" Required.");
        }
        let key = format!("{prefix}{name}");
        rows.push((key.clone(), shape(property, definitions), about.trim().replace('|', "\\|")));
        let inner = resolve(property, definitions);
        if depth < 2 && inner.get("properties").is_some() {
            keys(inner, definitions, &format!("{key}."), rows, depth + 1);
        }
    }
    for part in ["anyOf", "oneOf"] {
        for choice in schema.get(part).and_then(Value::as_array).into_iter().flatten() {
            let choice = resolve(choice, definitions);
            if depth < 2 && choice.get("properties").is_some() {
                keys(choice, definitions, prefix, rows, depth + 1);
            }
        }
    }
}

fn resolve<'a>(schema: &'a Value, definitions: &'a Value) -> &'a Value {
    let direct = schema.get("$ref").or_else(|| {
        // `Option<T>` is `anyOf: [T, null]`.
        let choices = schema.get("anyOf")?.as_array()?;
        match choices.as_slice() {
            [one, null] if null.get("type").and_then(Value::as_str) == Some("null") => one.get("$ref"),
            _ => None,
        }
    });
    match direct.and_then(Value::as_str).and_then(|r| r.rsplit('/').next()) {
        Some(name) => definitions.get(name).unwrap_or(schema),
        None => schema,
    }
}

/// What a value may be, in a few words.
fn shape(schema: &Value, definitions: &Value) -> String {
    let schema = resolve(schema, definitions);
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words
            .iter()
            .map(|w| format!("`{}`", w.as_str().map_or_else(|| w.to_string(), str::to_owned)))
            .collect::<Vec<_>>()
            .join(" or ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned));
    }
    for part in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(part).and_then(Value::as_array) {
            let mut words: Vec<String> = Vec::new();
            for word in choices.iter().map(|c| shape(c, definitions)).filter(|w| w != "null") {
                if !words.contains(&word) {
                    words.push(word);
                }
            }
            return words.join(" or ");
        }
    }
    let word = |w: &str| match w {
        "array" => match schema.get("items") {
            Some(items) => format!("list of {}", shape(items, definitions)),
            None => "list".to_owned(),
        },
        "object" => "mapping".to_owned(),
        "string" => "text".to_owned(),
        "boolean" => "`true` or `false`".to_owned(),
        "integer" => "whole number".to_owned(),
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(one)) => word(one),
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|w| *w != "null").map(word).collect::<Vec<_>>().join(" or ")
        }
        _ => "any value".to_owned(),
    }
}
