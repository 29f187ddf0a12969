//! Faults of hostd as `vim-cmd` prints them: a dump `(vim.fault.NAME) {`, alone or behind a sentence.

use serde_json::Value;

use super::form_dump;
use super::text::{self, Line};
use crate::esxi::failure::{Class, Failure};
use crate::esxi::parse::Invocation;

/// A fault with more messages than this says the same again and again.
const MOST: usize = 20;

/// The fault in an answer: on its first line, below a sentence (`Powering on VM:`), or at a sentence's end
/// (`Power on failed: (vim.fault.InvalidPowerState) {`). A fault inside of another dump is part of the answer.
pub fn found(run: &Invocation, text: &str) -> Option<Failure> {
    let lines = text::all_lines(run, text);
    let mut before = 0;
    for (n, line) in lines.iter().enumerate().filter(|(_, l)| !l.blank()) {
        let body = line.body();
        if let Some((said, name)) = opens(body) {
            let rest: Vec<Line> = std::iter::once(Line { no: line.no, text: &body[said..] })
                .chain(lines[n + 1..].iter().copied())
                .collect();
            return Some(failure(name, &rest));
        }
        before += 1;
        if before > 3 || body.starts_with('(') || body.contains(" = ") {
            return None;
        }
    }
    None
}

/// Where in a line a fault's dump begins, and the fault's name.
fn opens(body: &str) -> Option<(usize, &str)> {
    let at = body.find("(vim.").or_else(|| body.find("(vmodl."))?;
    let name = body[at + 1..].split_once(')')?.0;
    let is_fault = name.contains(".fault.") || name.to_ascii_lowercase().contains("methodfault");
    let sentence = at == 0 || body[..at].trim_end().ends_with(':') || body[..at].contains("failed");
    (is_fault && sentence && !body[..at].contains(" = ")).then_some((at, name))
}

fn failure(name: &str, lines: &[Line]) -> Failure {
    let mut said: Vec<String> = Vec::new();
    match form_dump::read(lines) {
        Ok(value) => messages(&value, 0, &mut said),
        Err(_) => by_line(lines, &mut said),
    }
    if said.is_empty() {
        by_line(lines, &mut said);
    }
    let short = name.rsplit('.').next().unwrap_or(name);
    let class = match short {
        "NoPermission" | "RestrictedVersion" | "SecurityError" => Class::PermissionDenied,
        "InvalidLogin" | "NotAuthenticated" => Class::Login,
        "HostConnectFault" | "HostNotConnected" | "HostNotReachable" => Class::Connection,
        _ => Class::Fault,
    };
    let said = said.join(" ");
    Failure { class, message: if said.is_empty() { name.to_owned() } else { format!("{name}: {said}") } }
}

/// The texts under `msg`, `message` and `localizedMessage`, outermost first, each once.
fn messages(value: &Value, depth: usize, out: &mut Vec<String>) {
    let mut add = |text: &str| {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if !matches!(text.as_str(), "" | "<unset>" | "null" | "None") && out.len() < MOST && !out.contains(&text) {
            out.push(text);
        }
    };
    match value {
        Value::Object(map) if depth < 8 => {
            for key in ["msg", "localizedMessage", "message"] {
                if let Some(Value::String(text)) = map.get(key) {
                    add(text);
                }
            }
            map.values().for_each(|v| messages(v, depth + 1, out));
        }
        Value::Array(all) if depth < 8 => all.iter().for_each(|v| messages(v, depth + 1, out)),
        _ => {}
    }
}

/// The same of a dump that is damaged: `msg = "..."` lines.
fn by_line(lines: &[Line], out: &mut Vec<String>) {
    for key in ["msg = ", "localizedMessage = ", "message = "] {
        for value in lines.iter().filter_map(|l| l.body().strip_prefix(key)) {
            let value = value.trim_end_matches([',', '}', ' ']).trim();
            let value = value.strip_prefix(['"', '\'']).unwrap_or(value);
            let value = value.strip_suffix(['"', '\'']).unwrap_or(value);
            if !matches!(value, "" | "<unset>" | "null" | "None") && out.len() < MOST && !out.iter().any(|o| o == value)
            {
                out.push(value.to_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<(String, String)> {
        found(&Invocation::default(), text).map(|f| (f.class.name(), f.message))
    }

    #[test]
    fn alone_and_behind_sentences() {
        let two = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(
            said("Doing it:\n(vim.fault.Bad) {\n  faultCause = (vmodl.MethodFault) null,\n  msg = \"no \"x\"\",\n}\n"),
            two("fault", "vim.fault.Bad: no \"x\"")
        );
        assert_eq!(
            said(
                "It failed: (vim.fault.NoPermission) {\n   faultMessage = (a) [\n (a) {\n  message = \"one\ntwo.\n\"\n }\n ],\n   msg = <unset>\n}\n"
            ),
            two("permission_denied", "vim.fault.NoPermission: one two.")
        );
        assert_eq!(said("(vmodl.fault.SystemError) {\n   reason = \"x\"\n"), two("fault", "vmodl.fault.SystemError"));
        assert_eq!(said("(vim.TaskInfo) {\n   error = (vim.fault.NotFound) {\n   }\n}\n"), None);
        assert_eq!(said("Title:\n(vim.A) {\n   e = (vim.fault.NotFound) {\n   }\n}\n"), None);
        assert_eq!(said("all is well\n"), None);
    }
}
