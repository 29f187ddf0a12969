//! What `vim-cmd` prints: object dumps, the table of virtual machines, snapshot trees, sentences.

use serde_json::{Map, Value};

use super::form_labels::Labels;
use super::form_sheet::{Sheet, col, opt};
use super::text::{self, Line, compiled, put};
use super::{form_dump, form_sheet};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// Reads by what was asked, and where that is open, by what is there.
pub fn read(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let verb = run.args.iter().find(|a| !a.starts_with('-')).map_or("", |a| a.trim_matches('/'));
    if verb == "vmsvc/getallvms" {
        return all_vms(run, text);
    }
    let lines = text::all_lines(run, text);
    let tree = lines.iter().any(|l| l.body().trim_start_matches('-').starts_with("|-"));
    if verb == "vmsvc/snapshot.get" || verb.starts_with("vmsvc/snapshot") && tree {
        return snapshots(run, &lines);
    }
    if let Some(value) = form_dump::inside(&lines) {
        return Ok(value);
    }
    if run.filtered() {
        if let Some(value) = form_dump::is_dump(&lines).then(|| form_dump::read(&lines).ok()).flatten() {
            return Ok(value);
        }
        return match form_dump::members(&lines) {
            Some(value) => Ok(value),
            None => text::sentences(run, text),
        };
    }
    if form_dump::is_dump(&lines) {
        return form_dump::read(&lines);
    }
    if verb == "vmsvc/get.datastores" || verb == "vmsvc/datastores" {
        return columns(&lines);
    }
    let full = text::lines(run, text);
    if full.first().is_some_and(|l| LUNS.is_heading(l.text)) {
        return LUNS.read(&full, run.filtered()).map(Value::Array);
    }
    if !DUMPS.contains(&verb)
        && let Some(value) = labels(&full)
    {
        return Ok(value);
    }
    match (form_dump::members(&lines), lines.first()) {
        (Some(value), _) => Ok(value),
        (None, Some(line)) if DUMPS.contains(&verb) => {
            line.fail("no object dump `(type) {`, which this command prints")
        }
        _ => text::sentences(run, text),
    }
}

/// `hostsvc/summary/scsilun` and `hostsvc/summary/hba` (not verified on a host).
const LUNS: Sheet = Sheet {
    columns: &[
        col("Device", r"\S+"),
        opt("Type", r"[a-z]\S*"),
        opt("Vendor", r"\S+"),
        opt("Model", r"\S.*?"),
        opt("UUID", r"[0-9a-fA-F]{16,}"),
        opt("Hba", r"vmhba\S*"),
        opt("Bus", r"\d+"),
        opt("Status", r"\S+"),
        opt("Driver", r"\S+"),
    ],
    sets: &[],
};

/// `Label: value` lines below or between sentences in which something else is said: `vimsvc/license --show`,
/// `hbrsvc/vmreplica.getState`. At least two labels, and below them `[name] = value`.
fn labels(lines: &[Line]) -> Option<Value> {
    const FORM: Labels = Labels { inner: &[], equals: true };
    let property = |b: &str| b.starts_with('[') && b.contains("] = ");
    let label = |l: &Line| {
        let name = l.body().split(':').next().unwrap_or("");
        let words = name.split_whitespace().count();
        property(l.body())
            || l.body().contains(':')
                && (1..=4).contains(&words)
                && name.len() < 40
                && name.starts_with(|c: char| c.is_alphabetic())
                && !name.contains(['=', '/', '(', '"'])
                && FORM.split(l.body()).is_some()
    };
    let (told, rest): (Vec<Line>, Vec<Line>) = lines.iter().partition(|l| !label(l) || sentence(l.body()));
    if rest.len() < 2 || told.len() > 4 || rest.iter().filter(|l| !property(l.body())).count() < 2 {
        return None;
    }
    let value = FORM.read(&rest).ok()?;
    let Value::Object(map) = value else { return Some(value) };
    // a list of names under labels is what `vim-cmd help` and its namespaces print
    if map.values().any(Value::is_array) {
        return None;
    }
    let said = told.iter().map(|l| l.body()).collect::<Vec<_>>().join("\n");
    let heading = (!said.is_empty()).then(|| ("_heading".to_owned(), Value::from(said)));
    Some(Value::Object(heading.into_iter().chain(map).collect()))
}

/// `Querying VM running replication state:`: a line that says what follows.
fn sentence(body: &str) -> bool {
    body.ends_with(':') && body.split_whitespace().count() > 2
}

/// Commands that answer with an object dump and nothing else.
const DUMPS: &[&str] = &[
    "hostsvc/advopt/options",
    "hostsvc/advopt/view",
    "hostsvc/datastore/info",
    "hostsvc/datastore/listsummary",
    "hostsvc/hosthardware",
    "hostsvc/hostsummary",
    "hostsvc/net/info",
    "hostsvc/runtimeinfo",
    "hostsvc/vmotion/netconfig_get",
    "vimsvc/auth/permissions",
    "vimsvc/auth/roles",
    "vimsvc/task_info",
    "vimsvc/task_list",
    "vmsvc/device.getdevices",
    "vmsvc/get.config",
    "vmsvc/get.guest",
    "vmsvc/get.networks",
    "vmsvc/get.runtime",
    "vmsvc/get.summary",
];

const HEADINGS: &[&str] = &["Vmid", "Name", "File", "Guest OS", "Version", "Annotation"];

/// `vmsvc/getallvms`. The heading line never stands over the cells; a name can hold blanks and brackets, and an
/// annotation goes on over lines (recorded: vmsvc-getallvms-blanks-brackets). `Skipping invalid VM` lines are kept
/// out of the rows.
fn all_vms(run: &Invocation, text: &str) -> Result<Value, FormError> {
    // the folder is what follows the last ` [datastore] ` that has two blanks in front, as the columns are padded
    let patterns = compiled(&[
        r"(\d+)\s+(.*?\S)\s{2,}(\[[^\]]*\] \S.*?\.vmt?x)\s+(?:([A-Za-z]\S*)\s+)?((?:vmx|\[Unknown)-?\S*)(?:\s+(\S.*))?",
        r"(\d+)\s+(.*\S)\s+(\[[^\[\]]*\] \S.*?\.vmt?x)\s+(?:([A-Za-z]\S*)\s+)?(vmx-\d+)(?:\s+(\S.*))?",
        r"(\d+)\s+(.*?\S)\s+(\[[^\]]*\] \S.*?|/\S.*?|\S+\.vmt?x)\s+(?:([A-Za-z]\S*)\s+)?(vmx-\d+)(?:\s+(\S.*))?",
    ]);
    let lines = text::all_lines(run, text);
    let heading = lines.iter().find(|l| !l.blank() && !skipped(l));
    let headed = heading.is_some_and(|l| l.body().starts_with("Vmid") && l.body().contains("Name"));
    let mut rows: Vec<Map<String, Value>> = Vec::new();
    let mut heads = 0;
    for line in &lines {
        let body = line.body();
        if heads == 0 && headed && Some(line) == heading {
            heads = 1;
            continue;
        }
        if skipped(line) {
            continue;
        }
        if let Some(found) = patterns.iter().find_map(|p| p.captures(body)) {
            let cells = HEADINGS.iter().enumerate();
            rows.push(
                cells
                    .map(|(n, k)| ((*k).to_owned(), found.get(n + 1).map_or("", |m| m.as_str().trim()).into()))
                    .collect(),
            );
            continue;
        }
        match rows.last_mut().and_then(|r| r.get_mut("Annotation")) {
            Some(Value::String(note)) => {
                note.push('\n');
                note.push_str(body);
            }
            _ if body.is_empty() => {}
            _ if run.filtered() => {
                return Ok(lines
                    .iter()
                    .filter(|l| !l.blank())
                    .map(|l| text::numbered(form_sheet::pieces(l.body())))
                    .collect());
            }
            _ => return line.fail("neither the headings `Vmid Name File ...`, nor a virtual machine"),
        }
    }
    for row in &mut rows {
        if let Some(Value::String(note)) = row.get_mut("Annotation") {
            *note = note.trim().to_owned();
        }
    }
    if rows.is_empty() && !headed && !run.filtered() && lines.iter().any(|l| !l.blank() && !skipped(l)) {
        return lines[0].fail("neither the headings `Vmid Name File ...`, nor a virtual machine");
    }
    Ok(rows.into_iter().map(Value::Object).collect())
}

fn skipped(line: &Line) -> bool {
    line.body().starts_with("Skipping invalid VM")
}

/// `vmsvc/snapshot.get`: one object a snapshot; its line `|-ROOT`, `--|-CHILD` as printed, with the dashes that say
/// how deep it is, under `_heading`.
fn snapshots(run: &Invocation, lines: &[Line]) -> Result<Value, FormError> {
    let mut all: Vec<Map<String, Value>> = Vec::new();
    let mut last: Option<String> = None;
    for line in lines {
        let body = line.body();
        let dashes = body.trim_start_matches('-');
        let title = body.ends_with("Snapshot:") || body.ends_with("Snapshots:");
        if all.is_empty() && title || body.is_empty() && last.is_none() {
            continue;
        }
        if dashes.starts_with("|-") {
            all.push(Map::from_iter([("_heading".to_owned(), Value::from(body))]));
            last = None;
            continue;
        }
        let label = (dashes.len() + 1 < body.len()).then(|| dashes.split_once(':')).flatten();
        match (label, &last) {
            (Some((label, value)), _) => {
                let label = label.trim();
                if all.last().is_none_or(|m| m.contains_key(label)) {
                    all.push(Map::new());
                }
                if let Some(map) = all.last_mut() {
                    put(map, label, value.trim().into());
                }
                last = Some(label.to_owned());
            }
            (None, Some(label)) => {
                if let Some(Value::String(value)) = all.last_mut().and_then(|m| m.get_mut(label)) {
                    value.push('\n');
                    value.push_str(body);
                }
            }
            (None, None) if run.filtered() => {
                return text::sentences(run, &lines.iter().map(|l| l.text).collect::<Vec<_>>().join("\n"));
            }
            (None, None) => return line.fail("neither `|-NAME`, nor `--Label : value`"),
        }
    }
    Ok(all.into_iter().map(Value::Object).collect())
}

/// `vmsvc/get.datastores`: names and values parted by blanks; a name that comes again begins another block.
fn columns(lines: &[Line]) -> Result<Value, FormError> {
    let mut blocks: Vec<Map<String, Value>> = Vec::new();
    for line in lines.iter().filter(|l| !l.blank()) {
        let (name, value) = line.body().split_once(char::is_whitespace).unwrap_or((line.body(), ""));
        match blocks.last_mut() {
            Some(last) if !last.contains_key(name) => put(last, name, value.trim().into()),
            _ => blocks.push(Map::from_iter([(name.to_owned(), value.trim().into())])),
        }
    }
    Ok(if blocks.len() == 1 { blocks.remove(0).into() } else { blocks.into_iter().map(Value::Object).collect() })
}
