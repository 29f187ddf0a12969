//! Whether a text is an error that the command itself printed, told by the text alone: exit codes and standard
//! error are often not known.

use super::family::Invocation;
use crate::esxi::failure::{Class, Failure, failure, incomplete};
use crate::esxi::forms::text::{label, lines};
use crate::esxi::output::Output;

/// Programs that print what is in files: whatever stands there is no error of theirs.
const PRINTERS: [&str; 16] = [
    "cat", "tail", "head", "grep", "egrep", "fgrep", "zcat", "zgrep", "less", "more", "dmesg", "sed", "awk", "strings",
    "echo", "printf",
];

/// A failure that nothing else can be mistaken for.
pub fn reported(output: &Output, invocation: &Invocation) -> Option<Failure> {
    let filtered = invocation.filtered();
    if let Some(found) = of_program(output, &invocation.program) {
        return Some(found);
    }
    if PRINTERS.contains(&invocation.program.as_str()) && output.code == 0 {
        return None;
    }
    let both = format!("{}\n{}", output.stdout, output.stderr);
    let make = |class, message: &str| Some(Failure { class, message: message.trim().to_owned() });
    for line in both.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Connect to ")
            && let Some((host, _)) = rest.split_once(" failed")
        {
            let local = ["localhost", "127.0.0.1", "::1"].contains(&host);
            return make(if local { Class::HostdDown } else { Class::Connection }, line);
        }
        if shell(line) {
            let denied = line.ends_with("Permission denied");
            return make(if denied { Class::PermissionDenied } else { Class::NotFound }, line);
        }
        if line == "Traceback (most recent call last):" || line.starts_with("Got no data from process") {
            let last = both.lines().rev().map(str::trim).find(|l| !l.is_empty()).unwrap_or(line);
            return make(Class::Crashed, last);
        }
    }
    let text = output.stdout.trim_start_matches(['\r', '\n']);
    let first = text.lines().find(|l| !l.trim().is_empty()).unwrap_or("");
    if let Some(found) = dumped(text) {
        return Some(found);
    }
    if let Some(name) = first.trim().strip_prefix('[').and_then(|r| r.strip_suffix(']'))
        && (name.ends_with("Error")
            || name.ends_with("Exception")
            || name.ends_with("Warning")
            || name.starts_with("Errno"))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')
    {
        let rest: Vec<&str> = text
            .lines()
            .map(str::trim)
            .skip_while(|l| l.is_empty())
            .skip(1)
            .filter(|l| !l.is_empty() && !l.starts_with("Please refer to the log file"))
            .collect();
        return make(Class::Software(name.replace(' ', "")), &rest.join(" "));
    }
    if first.trim_start().starts_with("Error: ") || first.trim() == "Error:" || first.trim() == "Errors:" {
        let unindented = Output { stdout: text.trim_start().to_owned(), stderr: String::new(), code: 1, seconds: 0.0 };
        return failure(&unindented).map(joined);
    }
    if first.trim_start().starts_with("Usage: ") && text.contains("cmd") {
        return make(Class::UsageText, &incomplete(first));
    }
    let said = |l: &str| low_starts(l, STARTS) || low_has(l, PARTS);
    if text.trim().is_empty()
        && let Some(line) = output.stderr.lines().map(str::trim).find(|l| !l.is_empty())
        && said(line)
    {
        return make(class_of(line), &output.stderr.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    // `grep` that found nothing ends with 1.
    if output.code != 0 && !(filtered && output.stderr.trim().is_empty()) {
        let found = failure(output)?;
        let class = match found.class {
            Class::Other if said(first) => class_of(first),
            Class::Other if said(&output.stderr) => class_of(&output.stderr),
            class => class,
        };
        return Some(Failure { class, message: found.message });
    }
    None
}

/// What the shell and the system say, word by word, at the end of a line.
const SYSTEM: [&str; 20] = [
    "Permission denied",
    "No such file or directory",
    "Device or resource busy",
    "No space left on device",
    "Is a directory",
    "Not a directory",
    "Read-only file system",
    "Input/output error",
    "Operation not permitted",
    "Cannot allocate memory",
    "File exists",
    "Directory not empty",
    "Invalid argument",
    "Bad file descriptor",
    "Function not implemented",
    "Connection refused",
    "Connection timed out",
    "Network is unreachable",
    "No route to host",
    "Text file busy",
];

/// What the program itself, or the shell in its place, says: `cp: can't open 'x': Device or resource busy`,
/// `esxcli: command not found`, `Segmentation fault`, `Suspend failed`.
fn of_program(output: &Output, program: &str) -> Option<Failure> {
    let text = if output.stdout.trim().is_empty() { &output.stderr } else { &output.stdout };
    let all: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).take(400).collect();
    let (first, last) = (*all.first()?, *all.last()?);
    let make = |class, message: String| Some(Failure { class, message });
    let name = program.rsplit('/').next().unwrap_or(program);
    let died =
        ["Segmentation fault", "Killed", "Out of memory", "Bus error", "Aborted", "Terminated", "Illegal instruction"];
    let bare = first.split(" (core dumped)").next().unwrap_or(first).trim_end_matches('.');
    if all.len() == 1 && died.contains(&bare) {
        return make(Class::Crashed, first.to_owned());
    }
    if let Some((who, rest)) = first.split_once(": ")
        && !who.is_empty()
        && who.rsplit('/').next() == Some(name)
    {
        if all.len() == 1 && ["not found", "command not found"].contains(&rest) {
            return make(Class::NotFound, first.to_owned());
        }
        let system = |l: &str| SYSTEM.iter().any(|s| l.ends_with(s));
        let own = |l: &str| l.split_once(": ").is_some_and(|(w, _)| w.rsplit('/').next() == Some(name));
        let option = low_starts(rest, &["invalid option", "unrecognized option", "unknown option", "option requires"]);
        if option || all.iter().all(|l| own(l)) && all.iter().all(|l| system(l) || low_has(l, &["can't ", "cannot "])) {
            let class = if option { Class::Usage } else { class_of(first) };
            let said = if option { &all[..1] } else { &all[..all.len().min(20)] };
            return make(class, said.join(" "));
        }
    }
    if name == "vim-cmd" {
        // `Powering on VM:` and what became of it.
        let acts =
            ["suspend", "power on", "power off", "reset", "shutdown", "reboot", "revert", "destroy", "unregister"];
        let failed = |l: &str| {
            let low = l.to_ascii_lowercase();
            acts.iter().any(|a| low.strip_prefix(a).is_some_and(|r| r.starts_with(" failed")))
        };
        if all.len() <= 3 && failed(last) && !last.contains('{') {
            return make(Class::Fault, last.to_owned());
        }
        let said = ["operation timed out", "failed to login: ", "not connected", "operation failed"];
        if all.len() <= 2 && low_starts(first, &said) {
            let class = if low_starts(first, &["failed to login"]) { Class::Login } else { Class::Fault };
            return make(class, all.join(" "));
        }
    }
    None
}

/// A failure in a text that does not have the form of an answer: a sentence that says that something went wrong.
pub fn sentence(text: &str) -> Option<Failure> {
    let all = lines(text);
    let first = all.first()?;
    if !sounds_failed(first.body) || all.len() > 30 {
        return None;
    }
    let message: Vec<&str> = all.iter().map(|l| l.body).collect();
    Some(Failure { class: class_of(first.body), message: message.join(" ") })
}

/// Whether the first line of a text is such a sentence, and not the heading of a block.
pub fn begins_failed(text: &str) -> bool {
    let all = lines(text);
    let Some(first) = all.first() else { return false };
    if all.get(1).is_some_and(|n| n.indent > first.indent && label(n.body).is_some()) {
        return false;
    }
    // Labels, perhaps without their indentation: `Fault Domain Id: x`, `Reason: not supported`.
    let labels = first.indent > 0 || all.len() > 1 && all.iter().all(|l| label(l.body).is_some());
    if let Some((name, _)) = label(first.body)
        && labels
    {
        return low_starts(name, PLAIN) || name.to_ascii_lowercase().ends_with(" error");
    }
    low_starts(first.body, STARTS) || first.body.split_whitespace().count() > 3 && low_has(first.body, PARTS)
}

/// Beginnings that no label has.
const PLAIN: &[&str] = &["failed to ", "unable to ", "could not ", "couldn't ", "cannot ", "can't ", "error"];

/// Whether a line says that something went wrong.
pub fn sounds_failed(line: &str) -> bool {
    low_starts(line, STARTS) || low_has(line, PARTS)
}

const STARTS: &[&str] = &[
    "failed to ",
    "failed:",
    "failed.",
    "unable to ",
    "could not ",
    "couldn't ",
    "cannot ",
    "can't ",
    "can not ",
    "invalid ",
    "unknown ",
    "no such ",
    "not found",
    "error ",
    "error:",
    "errors:",
    "sysinfo error",
    "permission denied",
    "access denied",
    "operation not ",
    "not supported",
    "insufficient ",
    "you do not have",
    "missing ",
    "unrecognized ",
    "unsupported ",
    "exception",
    "runtime error",
    "timed out",
    "a general system error",
    "operation failed",
    "the operation is not",
    "the operation failed",
    "not enough ",
    "no space left",
    "connection refused",
    "connection failure",
    "device or resource busy",
    "memoryerror",
    "maintenance mode is already",
    "(vim.fault.",
    "(vmodl.fault.",
    "operation timed out",
    "http error ",
    "out of memory",
    "segmentation fault",
    "vim.fault",
    "vmodl.fault",
    "unexpected ",
    "unhandled ",
    "malformed ",
    "bad parameter",
    "no value ",
    "there is no ",
    "no matching ",
    "nothing found",
    "login failed",
    "not authenticated",
    "the specified ",
    "the requested ",
    "an error ",
    "an unknown error",
    "instance of ",
    "internal error",
    "message: unable",
    "not implemented",
    "[errno",
];

const PARTS: &[&str] = &[
    " not found",
    " does not exist",
    "doesn't exist",
    "not supported",
    " failed",
    "failed:",
    " not enabled",
    " is not valid",
    " is invalid",
    "unable to ",
    "could not ",
    " cannot ",
    "cannot be ",
    "error:",
    "errno ",
    " denied",
    " not permitted",
    " already exists",
    " in use",
    " is busy",
    " timed out",
    " refused",
    " not allowed",
    " not loaded",
    "no such ",
    "not implemented",
    " not available",
    "unsupported",
    " not installed",
    " exceeded",
    " is not configured",
    "not a valid",
    " unreachable",
    " is not running",
    "incorrect user name or password",
    "is not in maintenance mode",
    " error ",
    " is not a ",
    "no match",
    " aborted",
    " exception",
    " is missing",
];

fn low_starts(line: &str, list: &[&str]) -> bool {
    let low = line.trim_start().to_ascii_lowercase();
    list.iter().any(|w| low.starts_with(w))
}

fn low_has(line: &str, list: &[&str]) -> bool {
    let low = line.to_ascii_lowercase();
    list.iter().any(|w| low.contains(w))
}

fn class_of(line: &str) -> Class {
    let has = |parts: &[&str]| low_has(line, parts);
    match () {
        () if has(&["incorrect user name or password", "login failed", "invalid login", "not authenticated"]) => {
            Class::Login
        }
        () if has(&["permission denied", "access denied", "not permitted", "do not have permission"]) => {
            Class::PermissionDenied
        }
        () if has(&["connection refused", "connection failure", "connection timed out"]) => Class::Connection,
        () if has(&["interpreter", "command not found"]) => Class::NotFound,
        () => Class::Fault,
    }
}

/// `sh: x: not found` and its like.
fn shell(line: &str) -> bool {
    let Some((who, rest)) = line.split_once(": ") else { return false };
    let name = who.trim_start_matches('-').rsplit('/').next().unwrap_or("");
    ["sh", "ash", "bash", "dash", "busybox", "zsh"].contains(&name)
        && ["not found", "Permission denied", "No such file or directory"].iter().any(|w| rest.ends_with(w))
}

/// A fault as pyVmomi prints it: `(vim.fault.NotFound) {`, perhaps behind what the command was about to do
/// (`Powering on VM:`, `Reset failed: (vim.fault...) {`).
fn dumped(text: &str) -> Option<Failure> {
    let mut lines = text.lines().map(str::trim).filter(|l| !l.is_empty()).take(3);
    let opens = lines.find(|l| l.ends_with('{') || l.contains(['=', ',']) || l.starts_with('('))?;
    let behind = &opens[opens.find('(')?..];
    let before = &opens[..opens.len() - behind.len()];
    if !(before.is_empty() || before.trim_end().ends_with(':') && !before.contains('=')) {
        return None;
    }
    let name = behind.strip_prefix('(')?.split_once(')')?.0;
    if !name.contains(".fault.") {
        return None;
    }
    let value = |key: &str| {
        text.lines().map(str::trim).find_map(|l| {
            let value = l.strip_prefix(key)?.trim_start().strip_prefix('=')?.trim().trim_end_matches(',').trim_end();
            // Quotes inside are not escaped: only the outermost pair goes.
            let bare = ['"', '\''].iter().find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q)).unwrap_or(value);
            (!bare.is_empty() && bare != "<unset>" && bare != "None").then(|| bare.to_owned())
        })
    };
    let said = value("msg").or_else(|| value("reason"));
    Some(Failure { class: Class::Fault, message: said.map_or_else(|| name.to_owned(), |s| format!("{name}: {s}")) })
}

fn joined(found: Failure) -> Failure {
    Failure { message: found.message.split_whitespace().collect::<Vec<_>>().join(" "), ..found }
}
