//! Errors in the words of the tools themselves: the shell, busybox, partedUtil, esxcfg-*, vim-cmd, vmkfstools, vsish.
//! Exit codes are often not known, so the text decides.

use super::fault;
use crate::esxi::failure::{Class, Failure};
use crate::esxi::output::Output;
use crate::esxi::parse::Invocation;

/// Programs that print what a file or an argument holds: nothing in it is an error of theirs but their own words.
const CONTENT: &[&str] = &[
    "cat",
    "more",
    "less",
    "head",
    "tail",
    "grep",
    "egrep",
    "fgrep",
    "zcat",
    "zgrep",
    "xz",
    "strings",
    "sort",
    "uniq",
    "awk",
    "sed",
    "cut",
    "tr",
    "dmesg",
    "echo",
    "printf",
    "jq",
    "hexdump",
    "xxd",
    "od",
    "vi",
    "get",
    "base64",
    "tee",
    "logger",
    "env",
    "printenv",
    "set",
    "diff",
    "history",
    "esxcfg-info",
];

/// Programs that print what they found, and an error for each thing that they did not: an answer when anything was
/// found.
const LOOKING: &[&str] = &["ls", "ll", "find", "du", "df", "stat", "ps", "lsof", "readlink", "which", "wc"];

/// Programs whose sentences are what they did, one by one; a sentence about a failure is not the command's failure.
const TELLING: &[&str] = &[
    "ping",
    "ping6",
    "vmkping",
    "services.sh",
    "vm-support",
    "tcpdump-uw",
    "pktcap-uw",
    "esxtop",
    "resxtop",
    "traceroute",
    "openssl",
    "curl",
];

/// The failure in what a tool printed; `None` when it is an answer.
pub fn failed(run: &Invocation, output: &Output) -> Option<Failure> {
    let on_error_stream = output.stdout.trim().is_empty();
    let text = if on_error_stream { &output.stderr } else { &output.stdout };
    if let Some(found) = told(run, text) {
        return Some(found);
    }
    let quiet_code = output.code == 0
        // a search that found nothing, a difference, a service that is stopped, a host that does not answer
        || run.filtered() && output.stderr.trim().is_empty()
        || output.code == 1 && ["grep", "egrep", "fgrep", "zgrep", "diff", "cmp", "test", "["].contains(&name(run))
        || run.program.contains("init.d/") && run.has("status")
        || TELLING.contains(&name(run)) && !on_error_stream
        || name(run) == "voma" && text.contains("Total Errors Found");
    if quiet_code {
        return None;
    }
    let said = joined(&[output.stdout.as_str(), output.stderr.as_str()]);
    Some(match (output.code, said.is_empty()) {
        (127, _) => Failure { class: Class::NotFound, message: said },
        (code, true) => Failure { class: Class::Other, message: format!("exit code {code} and no message") },
        _ => Failure { class: class_of(&said).unwrap_or(Class::Other), message: said },
    })
}

fn name(run: &Invocation) -> &str {
    run.program.rsplit('/').next().unwrap_or("")
}

fn joined(parts: &[&str]) -> String {
    parts.iter().flat_map(|p| p.split_whitespace()).collect::<Vec<_>>().join(" ")
}

/// The failure in a text.
///
/// Sources: recorded on 5.0: partedutil-fix-error, partedutil-setptbl-error, services-sh-restart; on 4.1:
/// esxcfg-nics-a-error; of 7.0 or 8.0: iperf3-operation-not-permitted. The other forms are taken from VMware's
/// knowledge base articles about these tools and not verified on a host.
pub fn told(run: &Invocation, text: &str) -> Option<Failure> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let first = *lines.first()?;
    let name = name(run);
    let all = |class| Some(Failure { class, message: joined(&lines) });
    // Content can hold anything: there all lines must be errors.
    let content = CONTENT.contains(&name);
    if let Some(found) = shell(first).filter(|_| !content || lines.iter().all(|l| shell(l).is_some())) {
        return all(found);
    }
    let crashed = lines.iter().position(|l| *l == "Traceback (most recent call last):");
    if let Some(at) = crashed.filter(|at| !content || *at == 0 && lines.len() < 40) {
        let last = lines.last().filter(|_| at + 1 < lines.len()).unwrap_or(&first);
        return Some(Failure { class: Class::Crashed, message: joined(&[last]) });
    }
    let died = ["Segmentation fault", "Illegal instruction", "Bus error", "Aborted", "Killed", "core dumped"];
    if lines.len() == 1 && died.iter().any(|d| first.starts_with(d)) {
        return all(Class::Crashed);
    }
    if content || LOOKING.contains(&name) {
        return if lines.iter().all(|l| own(name, l)) {
            all(class_of(first).unwrap_or(Class::Fault))
        } else if own(name, first) && (first.contains("invalid option") || first.contains("unrecognized option")) {
            // the usage follows
            Some(Failure { class: Class::Usage, message: joined(&[first]) })
        } else {
            None
        };
    }
    if lines.iter().any(|l| l.starts_with("Connect to localhost failed") || l.starts_with("Failed to connect to hostd"))
    {
        return all(Class::HostdDown);
    }
    let asked = run.args.iter().any(|a| matches!(a.as_str(), "--help" | "-h" | "-?" | "help" | "-help"));
    if !asked && ["Usage:", "usage:", "USAGE:"].iter().any(|u| first.starts_with(u)) {
        return all(Class::UsageText);
    }
    // An error in the program's own name, perhaps with the usage behind it.
    if let Some(bad) = lines.iter().find(|l| own(name, l)) {
        let usage = bad.contains("option") || bad.contains("argument") || bad.contains("applet not found");
        let class = class_of(bad).unwrap_or(if usage { Class::Usage } else { Class::Fault });
        let said: Vec<&str> = lines.iter().filter(|l| own(name, l)).copied().collect();
        return (!TELLING.contains(&name) || said.len() == lines.len())
            .then(|| Failure { class, message: joined(&said) });
    }
    if run.program.contains("init.d/") {
        return (first.starts_with("This operation is not supported") || first.starts_with("Errors:"))
            .then(|| Failure { class: Class::Fault, message: joined(&lines) });
    }
    let message = match name {
        // a question that was asked and answered
        "partedUtil" if lines.iter().any(|l| l.contains("Fix/Ignore")) => None,
        "partedUtil" => from(&lines, |l| begins(l, PARTED) || l.contains(": No such file")),
        "vmkfstools" => only(&lines, vmkfstools),
        "vim-cmd" | "vmware-vim-cmd" => return vim_cmd(run, text, &lines),
        "vsish" => from(&lines, |l| {
            l.starts_with("VSISH") && l.contains("():")
                || l.starts_with("Invalid ")
                || l.starts_with("Unknown command")
                || lines.len() < 4 && l.ends_with(": No such file or directory")
        }),
        "voma" if !lines.iter().any(|l| l.starts_with("Total Errors Found")) => from(&lines, |l| {
            l.contains("actively heartbeating hosts")
                || begins(l, &["Failed", "Unable", "ERROR", "Error", "Could not", "Cannot", "Invalid", "No such"])
                || l.contains(" failed")
        }),
        "voma" => None,
        "fdisk" => from(&lines, |l| l.contains("fdisk command is deprecated") || l.contains("Cannot open")),
        "ping" | "ping6" | "vmkping" => {
            let answered = lines.iter().any(|l| l.contains("ping statistics") || l.contains(" bytes from "));
            let bad = |l: &str| begins(l, &["Unknown ", "Invalid ", "Failed ", "Cannot "]) || l.contains("failed");
            if answered { None } else { from(&lines, bad) }
        }
        "nc" => first.contains(" failed: ").then(|| joined(&lines)),
        "openssl" => {
            let bad = begins(first, &["unable to load", "Can't open", "Error ", "Could not", "Unable to"])
                || first.contains(":error:") && !first.contains("verify error");
            bad.then(|| joined(&lines))
        }
        "ssh" | "scp" | "sftp" => from(&lines, |l| {
            l.contains("Permission denied (")
                || l.starts_with("Connection closed by")
                || l.contains("Connection refused")
        }),
        _ if TELLING.contains(&name) => None,
        _ if name.starts_with("esxcfg-")
            || name.starts_with("vicfg-")
            || name == "vmkload_mod"
            || name == "vmkchdev" =>
        {
            if name.starts_with("esxcfg-") && first.starts_with("esxcfg-") && first.contains(['<', '[']) {
                return all(Class::UsageText);
            }
            let ends = |l: &str| {
                lines.len() == 1
                    && [" already exists", " not found", " does not exist", " failed", " is in use", " is busy"]
                        .iter()
                        .any(|e| l.trim_end_matches('.').ends_with(e))
            };
            let bad = |l: &str| {
                begins(l, ESXCFG) || ends(l) || l.contains("invalid option") || l.contains("unrecognized option")
            };
            lines.iter().any(|l| bad(l)).then(|| joined(&lines))
        }
        // Everything else: a short text whose first line says so.
        _ => (lines.len() <= 12 && (begins(first, SENTENCES) || lines.len() == 1 && ends_badly(first)))
            .then(|| joined(&lines)),
    };
    message.map(|message| Failure { class: class_of(&message).unwrap_or(Class::Fault), message })
}

/// The lines from the first one on that says it.
fn from(lines: &[&str], bad: impl Fn(&str) -> bool) -> Option<String> {
    lines.iter().position(|l| bad(l)).map(|at| joined(&lines[at..]))
}

/// Only the lines that say it; the whole text when it is short.
fn only(lines: &[&str], bad: impl Fn(&str) -> bool) -> Option<String> {
    let said: Vec<&str> = lines.iter().filter(|l| bad(l)).copied().collect();
    (!said.is_empty()).then(|| joined(if lines.len() < 5 { lines } else { &said }))
}

fn begins(line: &str, list: &[&str]) -> bool {
    list.iter().any(|w| line.starts_with(w))
}

const PARTED: &[&str] =
    &["Error", "Unable to ", "Unsupported ", "Invalid ", "Unknown ", "Failed ", "Can't ", "Cannot "];

const ESXCFG: &[&str] = &[
    "Error",
    "Exception occured",
    "Exception occurred",
    "Unable to ",
    "Invalid ",
    "Can't ",
    "Cannot ",
    "Could not ",
    "Failed to ",
    "Failed: ",
    "No such ",
    "Unknown ",
    "Insufficient ",
    "You must ",
    "vmkload_mod: Can not ",
];

const SENTENCES: &[&str] = &[
    "Error:",
    "ERROR:",
    "error:",
    "Error ",
    "ERROR ",
    "Errors:",
    "Failed to ",
    "Failed: ",
    "FAILED",
    "Unable to ",
    "Could not ",
    "Couldn't ",
    "Cannot ",
    "Can't ",
    "can't ",
    "Can not ",
    "Invalid ",
    "Unknown ",
    "No such ",
    "Permission denied",
    "Operation not ",
    "Not supported",
    "Unsupported ",
    "Unrecognized ",
    "Insufficient ",
    "Exception",
    "Connection refused",
    "You do not have",
    "Access denied",
    "[Errno",
    "IOError",
    "OSError",
    "Missing ",
];

fn ends_badly(line: &str) -> bool {
    let line = line.trim_end_matches(['.', '!']);
    [
        "No such file or directory",
        "Permission denied",
        "Operation not permitted",
        "Device or resource busy",
        "Read-only file system",
        "No space left on device",
        "Connection refused",
        "Connection timed out",
        "Invalid argument",
        "applet not found",
        "Input/output error",
    ]
    .iter()
    .any(|end| line.ends_with(end))
}

/// `-sh: foo: not found`, `/bin/sh: foo: Permission denied`, `sh: line 1: foo: command not found`,
/// `env: can't execute 'python'`, `foo: applet not found`.
fn shell(line: &str) -> Option<Class> {
    let (who, rest) = line.split_once(": ")?;
    if rest.ends_with("applet not found") {
        return Some(Class::NotFound);
    }
    // `x.sh: line 3: foo: not found`
    if let Some((number, what)) = rest.strip_prefix("line ").and_then(|r| r.split_once(": "))
        && number.chars().all(|c| c.is_ascii_digit())
        && (what.ends_with("not found") || what.ends_with("Permission denied") || what.starts_with("syntax error"))
    {
        return Some(if what.ends_with("not found") { Class::NotFound } else { Class::Fault });
    }
    let shell = who.trim_start_matches('-').rsplit('/').next().unwrap_or("");
    if !matches!(shell, "sh" | "ash" | "bash" | "dash" | "busybox" | "zsh" | "env" | "sudo" | "exec" | "time" | "ksh") {
        return None;
    }
    let ends = |all: &[&str]| all.iter().any(|e| rest.ends_with(e));
    if ends(&["Permission denied", "Operation not permitted"]) {
        Some(Class::PermissionDenied)
    } else if ends(&["not found", "No such file or directory"]) || rest.contains("can't execute") {
        Some(Class::NotFound)
    } else if ends(&["Exec format error", "Is a directory", "Read-only file system", "No space left on device"])
        || rest.contains("syntax error")
        || rest.contains("can't create")
        || rest.contains("can't open")
        || rest.contains("bad interpreter")
        || rest.starts_with("can't ")
    {
        Some(Class::Fault)
    } else {
        None
    }
}

/// Whether a line is `NAME: what: why` of this program (`ll` is an alias of `ls`).
fn own(name: &str, line: &str) -> bool {
    // what busybox calls itself there
    let name = match name {
        "ll" => "ls",
        "zcat" | "gunzip" if line.starts_with("gzip: ") => "gzip",
        "egrep" | "fgrep" if line.starts_with("grep: ") => "grep",
        name => name,
    };
    let rest = match line.strip_prefix(name) {
        Some(rest) => rest,
        // busybox names the folder too
        None => match line.split_once(": ") {
            Some((who, _)) if who.starts_with('/') && who.rsplit('/').next() == Some(name) => &line[who.len()..],
            _ => return false,
        },
    };
    let Some(rest) = rest.strip_prefix(": ") else { return false };
    let low = rest.to_ascii_lowercase();
    REASONS.iter().any(|w| low.contains(w)) && !low.starts_with("warning")
}

const REASONS: &[&str] = &[
    "no such",
    "can't ",
    "cannot ",
    "can not ",
    "couldn't ",
    "could not ",
    "unable to ",
    "denied",
    "not permitted",
    "read-only",
    "busy",
    "invalid",
    "unrecognized",
    "unknown",
    "bad ",
    "is a directory",
    "not a directory",
    "file exists",
    "no space left",
    "i/o error",
    "input/output error",
    "not implemented",
    "failed",
    "error",
    "short read",
    "corrupt",
    "unexpected",
    "not found",
    "does not exist",
    "refused",
    "timed out",
    "unreachable",
    "not supported",
    "too large",
    "too long",
    "too many",
    "cross-device",
    "stale",
    "not empty",
    "missing",
    "requires",
    "omitting",
    "are the same file",
    "not set",
    "no route",
    "resolve",
    "quota",
    "illegal",
    "overflow",
    "truncated",
    "must be",
    "must have",
    "needs ",
    "no process",
];

/// The class that a system's error text belongs to, where it is more than a fault.
fn class_of(text: &str) -> Option<Class> {
    let low = text.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| low.contains(w));
    if has(&["incorrect user name or password", "login failed", "invalid login", "not authenticated"]) {
        Some(Class::Login)
    } else if has(&["permission denied", "access denied", "not permitted", "do not have permission"]) {
        Some(Class::PermissionDenied)
    } else if has(&[
        "connection refused",
        "connection failure",
        "connection timed out",
        "no route to host",
        "connection closed by",
    ]) {
        Some(Class::Connection)
    } else if has(&["invalid option", "unrecognized option", "unknown option", "requires an argument"]) {
        Some(Class::Usage)
    } else if has(&["command not found", "applet not found"]) {
        Some(Class::NotFound)
    } else {
        None
    }
}

fn vmkfstools(l: &str) -> bool {
    begins(l, &["Failed", "Error", "Could not ", "Unable to ", "Cannot ", "Can't ", "Invalid ", "Unknown ", "No such "])
        || [" Failed: ", " failed: ", " failed (", "() failed", " failed to open", "Failed to open"]
            .iter()
            .any(|w| l.contains(w))
        || l.starts_with("DiskLib_") && l.contains("ailed")
        || l.trim_end_matches('.').ends_with("No such file or directory")
        || l.ends_with("invalid option")
        || l.contains("requires an argument")
}

fn vim_cmd(run: &Invocation, text: &str, lines: &[&str]) -> Option<Failure> {
    let first = *lines.first()?;
    let whole = joined(lines);
    if let Some(found) = fault::found(run, text) {
        return Some(found);
    }
    let low = first.to_ascii_lowercase();
    if ["vim.fault.", "vmodl.fault.", "vmodl.methodfault"].iter().any(|w| low.starts_with(w)) {
        return Some(Failure { class: Class::Fault, message: whole });
    }
    if begins(first, &["Invalid command", "Insufficient arguments", "Unknown command", "Invalid option"]) {
        return Some(Failure { class: Class::Usage, message: whole });
    }
    if first.starts_with("Vmid") || first.starts_with('(') || lines.len() > 8 {
        return None;
    }
    let bad = |l: &str| {
        begins(
            l,
            &[
                "Unable to ",
                "Failed to ",
                "Error: ",
                "Error ",
                "Login failed",
                "Operation timed out",
                "Not found",
                "Invalid argument",
                "Could not ",
                "Cannot ",
                "Can't ",
                "No such ",
                "Permission denied",
                "Exception",
                "Operation failed",
                "Not supported",
                "The operation is not",
                "Connection ",
            ],
        ) || [" failed", " failed.", " failed!", " failed:"].iter().any(|e| l.ends_with(e))
            || l.contains(" failed: ") && !l.contains(" = ")
    };
    if !lines.iter().any(|l| bad(l)) {
        return None;
    }
    let starting = ["503 service", "connection refused", "connection failure"];
    let class = match whole.to_ascii_lowercase() {
        low if low.contains("failed to login") && starting.iter().any(|w| low.contains(w)) => Class::HostdDown,
        low => class_of(&low).unwrap_or(Class::Fault),
    };
    Some(Failure { class, message: whole })
}

/// A failure in a text that does not have the form of an answer.
pub fn sentence(text: &str) -> Option<Failure> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let first = *lines.first()?;
    let bad =
        begins(first, SENTENCES) || ends_badly(first) || [" failed", " failed."].iter().any(|e| first.ends_with(e));
    (lines.len() <= 30 && bad)
        .then(|| Failure { class: class_of(first).unwrap_or(Class::Fault), message: joined(&lines) })
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
