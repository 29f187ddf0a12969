//! The printers: one answer in text, xml, csv or keyvalue, with the quirks of the releases.

use super::super::state::Release;
use super::model::{Rec, Reply, V, property};

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formatter {
    Text,
    Xml,
    Csv,
    KeyValue,
    Json,
}

/// Prints an answer. `fields`: the csv columns asked for with `--format-param=fields=`.
pub(super) fn print(reply: &Reply, formatter: Formatter, fields: &[String], release: Release) -> String {
    if let Reply::Fault(text) = reply {
        return ended(text.clone());
    }
    match formatter {
        Formatter::Text => ended(text(reply, release)),
        Formatter::Xml => xml(reply),
        Formatter::Csv => csv(reply, fields),
        Formatter::KeyValue => keyvalue(reply),
        Formatter::Json => json(reply),
    }
}

fn ended(mut text: String) -> String {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn primitive(value: &V) -> String {
    match value {
        V::S(s) => s.clone(),
        V::I(i) | V::Unit(i, _) => i.to_string(),
        V::B(b) => b.to_string(),
        V::L(list) => list.join(", "),
        V::R(_) => String::new(),
    }
}

fn shown(value: &V) -> String {
    match value {
        V::Unit(i, unit) => format!("{i} {unit}"),
        other => primitive(other),
    }
}

fn text(reply: &Reply, release: Release) -> String {
    match reply {
        Reply::Nothing | Reply::Fault(_) => String::new(),
        Reply::Say(word) => word.clone(),
        Reply::One(rec) => record_lines(rec).join("\n"),
        Reply::List(list) => list.iter().map(|r| record_lines(r).join("\n")).collect::<Vec<_>>().join("\n\n"),
        Reply::Table(rows) => table(rows, release),
    }
}

/// A record: the title line, then `Label: value`, indented by 3; nested records stand below, indented by 6 more.
fn record_lines(rec: &Rec) -> Vec<String> {
    let mut lines: Vec<String> = rec.header.iter().cloned().collect();
    for (label, value) in rec.fields.iter().filter(|(l, _)| !l.starts_with('~')) {
        let nested: Vec<String> = match value {
            V::R(inner) => record_lines(inner),
            _ => Vec::new(),
        };
        if nested.is_empty() {
            lines.push(format!("   {label}: {}", shown(value)));
        } else {
            lines.push(format!("   {label}: "));
            lines.extend(nested.into_iter().map(|l| format!("      {l}")));
        }
    }
    lines
}

/// A table. 6.x rules the last column by its widest cell, 7.0 and later a last column of text by its heading.
/// Up to 6.5 the last column is padded; 6.7 and later print no trailing blanks (recorded: network nic list of
/// 5.5 with them, of 6.7 without, by a source that kept the blanks of another command).
fn table(rows: &[Rec], release: Release) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let labels: Vec<&str> = first.fields.iter().map(|f| f.0).filter(|l| !l.starts_with('~')).collect();
    let cells: Vec<Vec<&V>> =
        rows.iter().map(|r| r.fields.iter().filter(|f| !f.0.starts_with('~')).map(|f| &f.1).collect()).collect();
    let right: Vec<bool> =
        (0..labels.len()).map(|i| cells.iter().any(|r| matches!(r.get(i), Some(V::I(_) | V::B(_))))).collect();
    let width: Vec<usize> = (0..labels.len())
        .map(|i| {
            cells
                .iter()
                .filter_map(|r| r.get(i))
                .map(|v| shown(v).chars().count())
                .fold(labels[i].chars().count(), usize::max)
        })
        .collect();
    let old = release < Release::V70;
    let line = |texts: Vec<String>| {
        let padded: Vec<String> = texts
            .into_iter()
            .enumerate()
            .map(|(i, text)| {
                let pad = " ".repeat(width[i].saturating_sub(text.chars().count()));
                if right[i] { pad + &text } else { text + &pad }
            })
            .collect();
        let joined = padded.join("  ");
        if release < Release::V67 { joined } else { joined.trim_end().to_owned() }
    };
    let mut out = vec![line(labels.iter().map(|l| (*l).to_owned()).collect())];
    let last = labels.len() - 1;
    let rule: Vec<String> = (0..labels.len())
        .map(|i| "-".repeat(if i == last && !right[i] && !old { labels[i].len() } else { width[i] }))
        .collect();
    out.push(rule.join("  "));
    for row in cells {
        out.push(line(row.into_iter().map(shown).collect()));
    }
    out.join("\n")
}

/// The fields by property name, sorted, as the machine forms have them.
fn sorted(rec: &Rec) -> Vec<(String, &V)> {
    let mut all: Vec<(String, &V)> = rec.fields.iter().map(|(l, v)| (property(l), v)).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn type_word(value: &V) -> &'static str {
    match value {
        V::I(_) | V::Unit(..) => "integer",
        V::B(_) => "boolean",
        _ => "string",
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn xml_rec(out: &mut Vec<String>, depth: usize, rec: &Rec) {
    let pad = |n: usize| "   ".repeat(n);
    out.push(format!("{}<structure typeName=\"{}\">", pad(depth), rec.type_name));
    for (name, value) in sorted(rec) {
        out.push(format!("{}<field name=\"{name}\">", pad(depth + 1)));
        match value {
            V::L(list) => {
                out.push(format!("{}<list type=\"string\">", pad(depth + 2)));
                out.extend(list.iter().map(|s| format!("{}<string>{}</string>", pad(depth + 3), escape(s))));
                out.push(format!("{}</list>", pad(depth + 2)));
            }
            V::R(inner) => xml_rec(out, depth + 2, inner),
            other => {
                let word = type_word(other);
                out.push(format!("{}<{word}>{}</{word}>", pad(depth + 2), escape(&primitive(other))));
            }
        }
        out.push(format!("{}</field>", pad(depth + 1)));
    }
    out.push(format!("{}</structure>", pad(depth)));
}

fn xml(reply: &Reply) -> String {
    let mut out = vec![
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>".to_owned(),
        "<output xmlns=\"http://www.vmware.com/Products/ESX/5.0/esxcli\">".to_owned(),
        "<root>".to_owned(),
    ];
    match reply {
        Reply::Nothing | Reply::Fault(_) => out.push("   <boolean>true</boolean>".into()),
        Reply::Say(word) => out.push(format!("   <string>{}</string>", escape(word))),
        Reply::One(rec) => xml_rec(&mut out, 1, rec),
        Reply::List(list) | Reply::Table(list) => {
            out.push("   <list type=\"structure\">".into());
            for rec in list {
                xml_rec(&mut out, 2, rec);
            }
            out.push("   </list>".into());
        }
    }
    out.extend(["</root>".to_owned(), "</output>".to_owned()]);
    out.join("\n") + "\n"
}

fn keyvalue_rec(out: &mut String, prefix: &str, rec: &Rec) {
    for (name, value) in sorted(rec) {
        let key = format!("{prefix}{}.{name}", rec.type_name);
        match value {
            V::L(list) if list.is_empty() => out.push_str(&format!("{key}.string[] = \n")),
            V::L(list) => {
                for (n, item) in list.iter().enumerate() {
                    out.push_str(&format!("{key}.string[{n}].string={}\n", item.replace('\n', "\\n")));
                }
            }
            V::R(inner) => keyvalue_rec(out, &format!("{key}."), inner),
            other => {
                let text = primitive(other).replace('\n', "\\n");
                out.push_str(&format!("{key}.{}={text}\n", type_word(other)));
            }
        }
    }
}

fn keyvalue(reply: &Reply) -> String {
    let mut out = String::new();
    match reply {
        Reply::Nothing | Reply::Fault(_) => out.push_str("boolean=true\n"),
        Reply::Say(word) => out.push_str(&format!("string={}\n", word.replace('\n', "\\n"))),
        Reply::One(rec) => keyvalue_rec(&mut out, "", rec),
        Reply::List(list) | Reply::Table(list) if list.is_empty() => out.push_str("structure[] = \n"),
        Reply::List(list) | Reply::Table(list) => {
            for (n, rec) in list.iter().enumerate() {
                keyvalue_rec(&mut out, &format!("structure[{n}]."), rec);
            }
        }
    }
    out
}

/// A cell: quoted when it holds a comma, a quote is doubled per level, line breaks are written as `\n`.
fn csv_cell(value: &V, level: usize) -> String {
    let quotes = "\"".repeat(level);
    let one = |text: &str, level: usize| {
        let quotes = "\"".repeat(level);
        let mut quoted = text.contains(',');
        let mut text = text.replace('\n', "\\n");
        if text.contains('"') {
            text = text.replace('"', &"\"".repeat(level * 2));
            quoted = true;
        }
        if quoted { format!("{quotes}{text}{quotes}") } else { text }
    };
    match value {
        V::L(list) if list.is_empty() => String::new(),
        V::L(list) => {
            let inner: String = list.iter().map(|s| one(s, level + 1) + ",").collect();
            format!("{quotes}{inner}{quotes}")
        }
        V::R(rec) => format!("{quotes}{}{quotes}", csv_rows(std::slice::from_ref(rec), &[], level + 1, false)),
        other => one(&primitive(other), level),
    }
}

fn csv_rows(list: &[Rec], fields: &[String], level: usize, header: bool) -> String {
    let mut out = String::new();
    let Some(first) = list.first() else { return out };
    let names: Vec<String> = if fields.is_empty() {
        sorted(first).into_iter().map(|f| f.0).collect()
    } else {
        fields.iter().map(|f| property(f)).filter(|f| first.fields.iter().any(|g| property(g.0) == *f)).collect()
    };
    if header {
        out.push_str(&(names.join(",") + ",\n"));
    }
    for rec in list {
        for name in &names {
            if let Some((_, value)) = rec.fields.iter().find(|f| property(f.0) == *name) {
                out.push_str(&csv_cell(value, level));
            }
            out.push(',');
        }
        out.push('\n');
    }
    out
}

fn csv(reply: &Reply, fields: &[String]) -> String {
    match reply {
        Reply::Nothing | Reply::Fault(_) => "true\n".into(),
        Reply::Say(word) => format!("{}\n", csv_cell(&V::S(word.clone()), 1)),
        Reply::One(rec) => csv_rows(std::slice::from_ref(rec), fields, 1, true),
        Reply::List(list) | Reply::Table(list) => csv_rows(list, fields, 1, true),
    }
}

fn json_value(value: &V) -> serde_json::Value {
    match value {
        V::I(i) | V::Unit(i, _) => (*i).into(),
        V::B(b) => (*b).into(),
        V::L(list) => list.clone().into(),
        V::R(rec) => json_rec(rec),
        V::S(s) => s.clone().into(),
    }
}

fn json_rec(rec: &Rec) -> serde_json::Value {
    sorted(rec).into_iter().map(|(k, v)| (k, json_value(v))).collect::<serde_json::Map<_, _>>().into()
}

fn json(reply: &Reply) -> String {
    let value: serde_json::Value = match reply {
        Reply::Nothing | Reply::Fault(_) => true.into(),
        Reply::Say(word) => word.clone().into(),
        Reply::One(rec) => json_rec(rec),
        Reply::List(list) | Reply::Table(list) => list.iter().map(json_rec).collect(),
    };
    format!("{value}\n")
}
