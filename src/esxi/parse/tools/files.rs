//! Files and folders: cat of known configuration files, ls, stat, checksums, du.

use serde_json::{Map, Value};

use super::form_labels::{Labels, nest};
use super::form_ruled;
use super::form_sheet::pieces;
use super::text::{self, Line, compiled, numbered, put};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// `cat` and the like. A file of one of the known kinds is read by its form: `/etc/vmware/esx.conf` an object of its
/// paths, sshd_config, resolv.conf, ntp.conf and vmx files objects of their keywords (a keyword that comes again
/// makes an array), passwd, group and hosts rows. Any other file: its lines.
pub fn cat(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let files: Vec<&str> = run.args.iter().map(String::as_str).filter(|a| !a.starts_with('-')).collect();
    let file = files.last().copied().unwrap_or("");
    let base = file.rsplit('/').next().unwrap_or("");
    let searched = matches!(run.program.as_str(), "grep" | "egrep" | "fgrep");
    let several = files.len() > if searched { 2 } else { 1 }
        || run.args.iter().any(|a| {
            a.starts_with('-') && (a.contains('r') || a.contains('n') || a.contains('c') || a.contains('o')) && searched
        });
    if several {
        return text::sentences(run, text);
    }
    let lines = text::lines(run, text);
    // `cat /system/...` inside of vsish prints a node
    let node = lines.first().is_some_and(|l| l.body().ends_with('{') && !l.body().starts_with('{'))
        && lines.get(1).is_some_and(|l| l.body().contains(':'));
    if node && !searched && !base.contains('.') {
        return super::vsish::read(run, text);
    }
    match base {
        "esx.conf" => assignments(run, text, searched),
        "sshd_config" | "ssh_config" | "resolv.conf" | "ntp.conf" | "chrony.conf" | "nsswitch.conf" => {
            directives(run, text)
        }
        "passwd" | "group" | "shells" if file.starts_with("/etc/") => {
            Ok(data(run, text).iter().map(|l| numbered(l.body().split(':'))).collect())
        }
        "hosts" => Ok(data(run, text).iter().map(|l| numbered(l.body().split_whitespace())).collect()),
        "boot.cfg" | "config.ini" => assignments(run, text, searched),
        _ if base.ends_with(".vmx") || base.ends_with(".vmsd") => assignments(run, text, searched),
        _ if base.ends_with(".vmdk") => descriptor(run, text),
        _ if base.ends_with(".json") || lines.first().is_some_and(|l| super::form_json::begins(l.body())) => {
            match super::form_json::read(&text::all_lines(run, text)) {
                Ok(value) => Ok(value),
                Err(_) => text::sentences(run, text),
            }
        }
        _ if base.contains(".log") => text::sentences(run, text),
        // other files of `KEY=value` lines
        _ if lines.len() > 1 && !run.filtered() => match super::form_any::pairs(&lines, false) {
            Some(map) => Ok(Value::Object(map)),
            None => text::sentences(run, text),
        },
        _ => text::sentences(run, text),
    }
}

/// The descriptor of a virtual disk: its `name = value` lines as an object, its extents under `_rows`.
fn descriptor(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let mut map = Map::new();
    let mut rows = Vec::new();
    let lines = data(run, text);
    let extent = compiled(&[r#"(RW|RDONLY|NOACCESS) (\d+) (\S+)(?: "(.*?)")?(?: (\d+))?"#]);
    for line in &lines {
        if let Some(found) = extent.iter().find_map(|p| p.captures(line.body())) {
            rows.push(numbered(found.iter().skip(1).flatten().map(|m| m.as_str())));
        } else if let Some((name, value)) = line.body().split_once('=') {
            put(&mut map, name.trim(), super::form_any::unquoted(value.trim()).into());
        } else {
            return text::sentences(run, text);
        }
    }
    if !rows.is_empty() {
        map.insert("_rows".into(), Value::Array(rows));
    }
    if map.is_empty() { text::sentences(run, text) } else { Ok(Value::Object(map)) }
}

/// The lines of a file that say something.
fn data<'a>(run: &Invocation, text: &'a str) -> Vec<Line<'a>> {
    text::lines(run, text).into_iter().filter(|l| !l.body().starts_with('#')).collect()
}

/// `name = value` lines; quotes around a value are notation.
fn assignments(run: &Invocation, text: &str, searched: bool) -> Result<Value, FormError> {
    let mut map = Map::new();
    for line in data(run, text) {
        match line.body().split_once('=') {
            Some((name, value)) if !name.trim().is_empty() => {
                let value = value.trim();
                let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                put(&mut map, name.trim(), bare.into());
            }
            _ if run.filtered() || searched => return text::sentences(run, text),
            _ => return line.fail("not `name = value`"),
        }
    }
    Ok(Value::Object(map))
}

/// `keyword value` lines.
fn directives(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let mut map = Map::new();
    for line in data(run, text) {
        let (name, value) = line.body().split_once(char::is_whitespace).unwrap_or((line.body(), ""));
        put(&mut map, name, value.trim().into());
    }
    Ok(Value::Object(map))
}

/// `ls`: names as an array; with `-l` rows without headings (mode, links, user, group, size, time, name); the line
/// `total 4` is a row `total` in front. Several folders are blocks with their rows under `_rows`.
pub fn ls(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let mode = |l: &&Line| {
        l.body().starts_with(['-', 'd', 'l', 'c', 'b', 's', 'p'])
            && l.body().get(1..4).is_some_and(|m| m.chars().all(|c| "rwx-".contains(c)))
    };
    let long = run.program == "ll"
        || run.args.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains('l'))
        || lines.len() > 1 && lines.iter().filter(mode).count() * 2 > lines.len();
    let names_only = run.args.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains('1'));
    // several folders: each below a line with its name and a colon
    let folder = |l: &Line| {
        l.body().ends_with(':')
            && (l.body().starts_with(['/', '.']) || lines.first() == Some(l))
            && !l.body().contains(" -> ")
            && l.indent() < 2
    };
    let mut blocks: Vec<(Option<String>, Option<String>, Vec<Value>)> = vec![(None, None, Vec::new())];
    let row = compiled(&[
        r"(?:(\d+)\s+)?([-dlbcpsDT?][-rwxsStT?.+]{9,10})\s+(\d+)\s+(\S+)\s+(\S+)\s+(\d[\d.]*[KMGTkB]*|\d+,\s*\d+)\s+([A-Z][a-z]{2}\s+\d+\s+[\d:]+(?:\s\d{4})?|\d{4}-\d\d-\d\d [\d:.]+(?: [+-]\d{4})?|[A-Z][a-z]{2} [A-Z][a-z]{2}\s+\d+ [\d:]+ \d{4})\s+(\S.*)",
    ]);
    for line in &lines {
        let body = line.body();
        if folder(line) && (long || lines.len() > 1) {
            blocks.push((Some(body.to_owned()), None, Vec::new()));
            continue;
        }
        let Some((_, total, rows)) = blocks.last_mut() else { continue };
        if let Some(count) =
            body.strip_prefix("total ").filter(|c| c.chars().all(|c| c.is_ascii_digit() || ".KMGT".contains(c)))
        {
            *total = Some(count.to_owned());
        } else if !long {
            // a pattern of a terminal: several names a line
            match lines.iter().any(|l| l.body().contains("  ")) && !names_only && !run.filtered() {
                true => rows.extend(body.split("  ").map(str::trim).filter(|n| !n.is_empty()).map(Value::from)),
                false => rows.push(body.into()),
            }
        } else if let Some(found) = row.iter().find_map(|p| p.captures(body)) {
            rows.push(numbered(found.iter().skip(1).flatten().map(|m| m.as_str())));
        } else if body.starts_with("ls: ") {
            // what it could not list
            rows.push(body.into());
        } else if mode(&line) {
            // a date or a size of another form: the name is all behind the eighth word
            rows.push(numbered(first_words(body, 8)));
        } else if run.filtered() {
            rows.push(numbered(pieces(body)));
        } else {
            return line.fail("not a row of `ls -l`");
        }
    }
    if blocks.len() > 1 && blocks[0].2.is_empty() && blocks[0].1.is_none() {
        blocks.remove(0);
    }
    if let [(None, total, rows)] = blocks.as_mut_slice() {
        // the line `total 4` is a row of its own
        let total = total.take().map(|t| Value::Object(Map::from_iter([("total".to_owned(), Value::from(t))])));
        return Ok(total.into_iter().chain(std::mem::take(rows)).collect());
    }
    let made = blocks.into_iter().map(|(heading, total, rows)| {
        let mut map = Map::new();
        if let Some(heading) = heading {
            map.insert("_heading".into(), heading.into());
        }
        if let Some(total) = total {
            map.insert("total".into(), total.into());
        }
        map.insert("_rows".into(), Value::Array(rows));
        Value::Object(map)
    });
    Ok(Value::Array(made.collect()))
}

/// The first words, one a cell, and the rest as the last cell.
fn first_words(body: &str, count: usize) -> Vec<&str> {
    let mut cells = Vec::new();
    let mut rest = body.trim();
    while cells.len() < count
        && let Some((word, after)) = rest.split_once(char::is_whitespace)
    {
        cells.push(word);
        rest = after.trim_start();
    }
    cells.push(rest);
    cells
}

/// `stat`: its labels; `Access` comes twice.
pub fn stat(run: &Invocation, text: &str) -> Result<Value, FormError> {
    const STAT: Labels = Labels {
        inner: &["Size", "Blocks", "IO Block", "Inode", "Links", "Access", "Uid", "Gid", "Device type"],
        equals: false,
    };
    let lines = text::lines(run, text);
    if !lines.iter().any(|l| l.body().starts_with("File:")) {
        return match lines.first() {
            // `-c` prints what was asked for
            Some(first) if !run.filtered() && !run.args.iter().any(|a| a.starts_with('-')) => {
                first.fail("no `File:` line of `stat`")
            }
            _ => text::sentences(run, text),
        };
    }
    let mut all: Vec<Map<String, Value>> = Vec::new();
    for line in &lines {
        if line.body().starts_with("File:") {
            all.push(Map::new());
        }
        let labels = STAT.labels(line.body());
        match all.last_mut() {
            Some(map) if !labels.is_empty() => {
                for (label, value) in labels {
                    put(map, label, value.into());
                }
            }
            _ if run.filtered() => return text::sentences(run, text),
            _ => return line.fail("not a line of labels of `stat`"),
        }
    }
    Ok(if all.len() == 1 { all.remove(0).into() } else { all.into_iter().map(Value::Object).collect() })
}

/// Checksums: the sum and the file.
pub fn sums(run: &Invocation, text: &str) -> Result<Value, FormError> {
    text::patterned(run, text, &[r"([0-9a-fA-F]{16,})\s+\*?(\S.*)", r"([0-9a-fA-F]{16,})", r"(\S.*): (OK|FAILED.*)"])
}

/// `du`: the size and the path.
pub fn du(run: &Invocation, text: &str) -> Result<Value, FormError> {
    text::patterned(run, text, &[r"(\d[\d.]*[KMGTPkB]*)\s+(\S.*)"])
}

/// Labels nested by indentation, as `smbiosDump` and `net-dvs -l` print them; a text without labels: its lines.
pub fn tree(run: &Invocation, text: &str) -> Result<Value, FormError> {
    const TREE: Labels = Labels { inner: &[], equals: true };
    let lines = text::lines(run, text);
    if lines.get(1).is_some_and(|l| form_ruled::is_ruler(l.body()))
        && let Some(rows) = form_ruled::read(&lines)
    {
        return Ok(Value::Array(rows));
    }
    if !lines.iter().any(|l| TREE.split(l.body()).is_some()) {
        return text::sentences(run, text);
    }
    if run.program == "smbiosDump"
        && let Some(value) = structures(&lines)
    {
        return Ok(value);
    }
    let nodes = nest(&lines);
    if nodes.iter().all(|n| TREE.split(n.line.body()).is_none() && !n.under.is_empty()) {
        return TREE.read(&lines);
    }
    let mut map = Map::new();
    TREE.fill(&mut map, &nodes, 0);
    Ok(Value::Object(map))
}

/// `smbiosDump`: a structure is a line `Name: #handle` with deeper lines below it, in a paste that lost its indentation
/// a name that ends with `Info` or its type. One is an object, several are an array; the line stands under `_heading`
/// and as a label. What stands above the first one stays a heading of its own.
fn structures(lines: &[Line]) -> Option<Value> {
    const FORM: Labels = Labels { inner: &[], equals: false };
    let begins = |n: usize| {
        let line = &lines[n];
        let Some((name, value)) = line.body().split_once(": #") else { return false };
        let handle = !value.is_empty() && value.chars().all(|c| c.is_ascii_digit());
        let named = name.ends_with(" Info") || name.contains("(Type ") || name.contains("(type ");
        let above = lines.get(n + 1).is_some_and(|next| next.indent() > line.indent());
        handle && (above || named)
    };
    let starts: Vec<usize> = (0..lines.len()).filter(|n| begins(*n)).collect();
    let first = *starts.first()?;
    let mut blocks = Vec::new();
    for (n, start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(lines.len());
        let body = lines[*start].body();
        let mut map = Map::from_iter([("_heading".to_owned(), Value::from(body))]);
        if let Some((name, value)) = FORM.split(body) {
            map.insert(name.to_owned(), value.into());
        }
        FORM.fill(&mut map, &nest(&lines[start + 1..end]), 1);
        blocks.push(Value::Object(map));
    }
    if first > 0 {
        let above = lines[..first].iter().map(Line::body).collect::<Vec<_>>().join("\n");
        blocks.insert(0, Value::Object(Map::from_iter([("_heading".to_owned(), above.into())])));
    }
    Some(if blocks.len() == 1 { blocks.remove(0) } else { Value::Array(blocks) })
}
