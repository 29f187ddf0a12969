//! The target for the object dumps of `vim-cmd`.

use std::fmt::Write;

use super::esxi::line_is_inside;
use super::{fields, said, size, text};
use crate::esxi::vimdump::{self, Value};
use crate::steps::setting::in_dump;

pub(super) const SEEDS: &[&str] = &[
    "Listsummary:\n\n(vim.host.Summary) {\n   host = 'vim.HostSystem:ha-host',\n   hardware = (vim.host.Summary.HardwareSummary) {\n      otherIdentifyingInfo = (vim.host.SystemIdentificationInfo) [\n         (vim.host.SystemIdentificationInfo) {\n            identifierValue = \"\",\n         }\n      ],\n      memorySize = 8589328384\n   },\n   runtime = (vim.host.RuntimeInfo) {\n      inMaintenanceMode = false,\n      bootTime = \"2026-11-22T08:00:00.123456Z\",\n      affinity = (vim.vm.AffinityInfo) null,\n   },\n   config = <unset>,\n   load = 0.25,\n}\n",
    "(a) [ (b) { key = \"K\", value = \"say \\\"hi\\\" or \"ho\"\nand, go\" }, 'x', 5 ]\n",
];

/// A dump: what is read, printed and read again is the same.
pub(super) fn vimdump(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let dump = vimdump::parse(&text);
    match &dump {
        Ok(dump) => {
            let mut printed = String::new();
            if plain(dump) && matches!(dump, Value::Object { .. } | Value::List(_)) {
                print(dump, &mut printed);
                let again = vimdump::parse(&printed);
                assert!(again.as_ref() == Ok(dump), "{dump:?} printed as {printed:?} became {again:?}");
            }
            for name in ["key", "value", "bootTime", "inMaintenanceMode"] {
                let found = dump.find(name).map(Value::text);
                assert!(found.is_none_or(|found| found.len() <= text.len()));
            }
            let _ = (dump.get("0.key"), dump.get("runtime.bootTime"), dump.get(""), dump.get("."));
            let json = dump.to_json().to_string();
            assert!(json.len() <= 8 * text.len() + 64, "{} bytes became {} of JSON", text.len(), json.len());
        }
        Err(error) => line_is_inside(error, &text),
    }
    said(&dump)
}

pub(super) const SETTINGS: &[&str] = &[
    "DCUI.Access\x00(vim.option.OptionValue) [\n   (vim.option.OptionValue) {\n      key = \"Config.Etc.issue\", \n      value = \"say \\\"hi\\\"\nand go\n\"\n   }, \n   (vim.option.OptionValue) {\n      dynamicType = <unset>, \n      key = \"DCUI.Access\", \n      value = \"root\", \n   }\n]\n",
    "Security.AccountLockFailures\x00(vim.option.OptionValue) [\n   (vim.option.OptionValue) {\n      key = \"Security.AccountLockFailures\", \n      value = 5\n   }\n]\n",
];

/// A dump of hostd's settings: the key asked for, and the dump. A value comes from the item of just that key.
pub(super) fn settings(bytes: &[u8]) -> usize {
    let [key, dump] = fields(bytes);
    let found = in_dump(&dump, &key);
    if let Some(value) = &found {
        assert!(value.text().len() <= dump.len() && dump.contains("key"));
        let read = vimdump::parse(&dump);
        let all = read.iter().flat_map(|all| all.items());
        let keys = all.filter(|item| item.get("key").and_then(Value::as_str) == Some(&*key)).count();
        assert!(keys > 0, "{key:?} is not in {dump:?}");
    }
    size(&found)
}

/// Whether it can be printed without ambiguity: where a quoted text ends is told by what may follow it, so names must
/// be words, and elements of a list must begin like values.
fn plain(value: &Value) -> bool {
    match value {
        Value::List(items) => items.iter().all(plain) && (items.len() < 2 || items.iter().all(begins_like_a_value)),
        Value::Object { members, .. } => members.iter().all(|(name, value)| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && plain(value)
        }),
        _ => true,
    }
}

fn begins_like_a_value(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Ref(_) | Value::Object { .. } | Value::List(_) | Value::Unset)
}

fn print(value: &Value, out: &mut String) {
    let quoted = |text: &str, mark: char| {
        let mut out = String::from(mark);
        for c in text.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                '\r' => out.push_str("\\r"),
                c if c == mark => out.extend(['\\', c]),
                c => out.push(c),
            }
        }
        out.push(mark);
        out
    };
    match value {
        Value::Unset => out.push_str("<unset>"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.to_string()),
        Value::Text(text) => out.push_str(&quoted(text, '"')),
        Value::Ref(text) => out.push_str(&quoted(text, '\'')),
        Value::Word(word) => out.push_str(word),
        Value::List(items) => {
            out.push_str("(x) [\n");
            for (n, item) in items.iter().enumerate() {
                print(item, out);
                out.push_str(if n + 1 < items.len() { ",\n" } else { "\n" });
            }
            out.push(']');
        }
        Value::Object { kind, members } => {
            let _ = writeln!(out, "({kind}) {{");
            for (n, (name, value)) in members.iter().enumerate() {
                let _ = write!(out, "{name} = ");
                print(value, out);
                out.push_str(if n + 1 < members.len() { ",\n" } else { "\n" });
            }
            out.push('}');
        }
    }
}
