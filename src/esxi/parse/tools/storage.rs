//! The storage tools: esxcfg-scsidevs, esxcfg-mpath, esxcfg-volume, partedUtil, vmkfstools, df, vdf.

use serde_json::{Map, Value};

use super::esxcfg::asks;
use super::form_labels::{Labels, nest};
use super::form_sheet::{Readers, Sheet, col, opt};
use super::text::{self, Line, compiled};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// `esxcfg-scsidevs -c`: `Multipath PluginDisplay Name` run together in the heading line (recorded on 5.0).
const COMPACT: Sheet = Sheet {
    columns: &[
        col("Device UID", r"\S+"),
        col("Device Type", r"[A-Za-z]\S*(?: [A-Za-z]+)*"),
        opt("Console Device", r"/\S.*?|N/A"),
        col("Size", r"\d+ ?[KMGT]?B"),
        opt("Multipath Plugin", r"[A-Za-z_]\S*"),
        opt("Plugin", r"[A-Za-z_]\S*"),
        opt("Display Name", r"\S.*"),
    ],
    sets: &[&["Device UID", "Device Type", "Console Device", "Size", "Multipath Plugin", "Display Name"]],
};

const DF: Sheet = Sheet {
    columns: &[
        col("Filesystem", r"\S+"),
        col("Bytes", SIZE),
        col("Size", SIZE),
        col("1K-blocks", SIZE),
        col("1M-blocks", SIZE),
        col("1024-blocks", SIZE),
        col("512-blocks", SIZE),
        col("Inodes", SIZE),
        col("Used", SIZE),
        col("Free", SIZE),
        col("Available", SIZE),
        col("Avail", SIZE),
        col("Use%", PERCENT),
        col("Used%", PERCENT),
        col("IUse%", PERCENT),
        col("Capacity", PERCENT),
        opt("Mounted on", r"/.*|\S.*"),
    ],
    sets: &[&["Filesystem", "Bytes", "Used", "Available", "Use%", "Mounted on"]],
};
const SIZE: &str = r"-?\d[\d.,]*[KMGTPkB]?B?|-";
const PERCENT: &str = r"-?\d+%|-";

const RAMDISK: Sheet = Sheet {
    columns: &[
        col("Ramdisk", r"\S+"),
        col("Tardisk", r"\S+"),
        col("Size", SIZE),
        col("Space", SIZE),
        col("Used", SIZE),
        col("Available", SIZE),
        col("Use%", PERCENT),
        opt("Mounted on", r"\S.*|--"),
    ],
    sets: &[],
};

const DEVICE: Labels = Labels {
    inner: &[
        "Model",
        "Revis",
        "Is Pseudo",
        "Status",
        "Is Removable",
        "Is SSD",
        "Is Offline",
        "Is Local",
        "Is RDM Capable",
        "Is Perennially Reserved",
        "Queue Full Sample Size",
        "Is Boot Device",
        "Devfs Path",
    ],
    equals: false,
};

/// `esxcfg-scsidevs`: `-c` a table, `-l` blocks, `-a`, `-m`, `-A` rows without headings.
pub fn scsidevs(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if asks(run, "--list", 'l')
        || run.args.iter().any(|a| a == "-d" || a == "--device") && !asks(run, "--compact-list", 'c')
    {
        return blocks(&DEVICE, run, &lines);
    }
    if asks(run, "--compact-list", 'c') {
        return COMPACT.read(&lines, run.filtered()).map(Value::Array);
    }
    if asks(run, "--hbas", 'a') {
        // the PCI address is missing for software adapters (recorded on 5.5: esxcfg-scsidevs-a-many)
        let adapter =
            r"(\S+)\s+(\S+)\s+(link-\S+|unbound|online|offline|unknown|\S+)\s+(\S+)\s+(\([0-9a-fA-F:.]*\))?\s*(.*)";
        return text::patterned(run, text, &[adapter]);
    }
    if asks(run, "--vmfs", 'm') {
        return text::patterned(
            run,
            text,
            &[r"(\S+)\s+(\S+)\s+(\S+)\s+(\d+)\s+(.*)", r"(\S+)\s+(\S+)\s+(\S+)\s+(\d+)"],
        );
    }
    if asks(run, "--hba-device-list", 'A') {
        return text::words(run, text);
    }
    text::sentences(run, text)
}

/// Labelled blocks under heading lines; behind a filter also labels whose heading is gone.
fn blocks(labels: &Labels, run: &Invocation, lines: &[Line]) -> Result<Value, FormError> {
    let value = match labels.read(lines) {
        Ok(value) => value,
        Err(_) if run.filtered() => return Ok(lines.iter().map(|l| labelled_line(labels, l)).collect()),
        Err(e) => return Err(e),
    };
    // a list of devices stays a list when there is one
    Ok(match value {
        Value::Object(map) if map.contains_key("_heading") && !run.filtered() => Value::Array(vec![Value::Object(map)]),
        other => other,
    })
}

fn labelled_line(labels: &Labels, line: &Line) -> Value {
    let found = labels.labels(line.body());
    if found.is_empty() {
        return text::numbered([line.body()]);
    }
    let mut map = Map::new();
    for (label, value) in found {
        text::put(&mut map, label, value.into());
    }
    Value::Object(map)
}

/// `esxcfg-mpath`: `-b` blocks of paths under a device's line, `-l` blocks of labels, `-L` rows without headings.
pub fn mpath(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if asks(run, "--list-paths", 'L') || asks(run, "--list-compact", 'L') || asks(run, "--list-map", 'm') {
        // a path that no plugin claimed says `no device`
        let row = |l: &Line| {
            let joined = l.body().replacen(" no device ", " no\u{a0}device ", 1);
            let cells: Vec<String> = joined.split(' ').map(|c| c.replace('\u{a0}', " ")).collect();
            text::numbered(cells.iter().map(|c| c.trim()).filter(|c| !c.is_empty()))
        };
        return Ok(lines.iter().map(row).collect());
    }
    if asks(run, "--list-brief", 'b') {
        return brief(run, &lines);
    }
    if asks(run, "--list", 'l') || run.has("-P") || run.has("--path") {
        const PATH: Labels = Labels { inner: &["Channel", "Target", "LUN"], equals: false };
        return blocks(&PATH, run, &lines);
    }
    text::sentences(run, text)
}

/// `naa.X : Name` and below it one line a path: `vmhba2:C0:T2:L0 LUN:0 state:active fc Adapter: ... Target: ...`.
/// A path is an object: the name and the transport without a label are `_1` and `_2`.
fn brief(run: &Invocation, lines: &[Line]) -> Result<Value, FormError> {
    let path = compiled(&[
        r"(\S+) LUN:\s*(\d+)\s+state:\s*(\S+)\s+(\S+)\s+Adapter:\s*(.*?)\s+Target:\s*(.*)",
        r"(\S+) LUN:\s*(\d+)\s+state:\s*(\S+)\s*(.*)",
    ]);
    let mut devices: Vec<Map<String, Value>> = Vec::new();
    for line in lines {
        let Some(found) = path.iter().find_map(|p| p.captures(line.body())) else {
            if !line.body().contains(" : ") && !run.filtered() {
                return line.fail("neither `DEVICE : NAME`, nor a path with `LUN:` and `state:`");
            }
            let mut device = Map::new();
            device.insert("_heading".into(), line.body().into());
            if let Some((name, display)) = line.body().split_once(" : ") {
                device.insert(name.trim().into(), display.trim().into());
            }
            device.insert("_rows".into(), Value::Array(Vec::new()));
            devices.push(device);
            continue;
        };
        let mut row = Map::new();
        for (n, key) in ["_1", "LUN", "state", "_2", "Adapter", "Target"].iter().enumerate() {
            if let Some(cell) = found.get(n + 1).map(|m| m.as_str().trim()).filter(|c| !c.is_empty()) {
                row.insert((*key).to_owned(), if n > 3 { names(cell) } else { cell.into() });
            }
        }
        if devices.is_empty() && run.filtered() {
            devices.push(Map::from_iter([("_rows".to_owned(), Value::Array(Vec::new()))]));
        }
        match devices.last_mut().and_then(|d| d.get_mut("_rows")) {
            Some(Value::Array(rows)) => rows.push(row.into()),
            _ => return line.fail("a path without its device's line above"),
        }
    }
    Ok(devices.into_iter().map(Value::Object).collect())
}

/// `WWNN: a WWPN: b` as an object, any other text as it is.
fn names(cell: &str) -> Value {
    // some copies lost the blank behind a colon
    let both = cell.strip_prefix("WWNN:").and_then(|rest| rest.split_once("WWPN:"));
    match both.map(|(node, port)| (node.trim(), port.trim())) {
        Some((node, port)) if !node.contains(' ') && !port.contains(' ') => Value::Object(Map::from_iter([
            ("WWNN".to_owned(), Value::from(node)),
            ("WWPN".to_owned(), Value::from(port)),
        ])),
        _ => cell.into(),
    }
}

/// `esxcfg-volume`: the labelled blocks of `-l`, else what was said.
pub fn volume(run: &Invocation, text: &str) -> Result<Value, FormError> {
    const VOLUME: Labels = Labels { inner: &["range"], equals: false };
    let lines = text::lines(run, text);
    if !asks(run, "--list", 'l') {
        return text::sentences(run, text);
    }
    if !lines.iter().any(|l| VOLUME.split(l.body()).is_some()) {
        text::only(run, text, &["Scanning.*"], "neither a label with its value, nor a line about scanning")?;
        return text::sentences(run, text);
    }
    if let Some(line) = lines.iter().find(|l| VOLUME.split(l.body()).is_some())
        && !run.filtered()
        && !line.body().contains("UUID/label")
    {
        return line.fail("not the `VMFS UUID/label` of a volume, which comes first");
    }
    // 6.x and later say `Scanning for VMFS-6 host activity (...).` before a volume: it becomes the block's heading
    let mut all: Vec<Map<String, Value>> = Vec::new();
    let mut scanned: Option<Value> = None;
    for line in &lines {
        let labels = VOLUME.labels(line.body());
        let Some((first, _)) = labels.first() else {
            if !line.body().starts_with("Scanning") && !run.filtered() {
                return line.fail("neither a label with its value, nor a line about scanning");
            }
            scanned = Some(line.body().into());
            continue;
        };
        // one volume has several extents
        let again = all.last().is_none_or(|m| m.contains_key(*first)) && !first.starts_with("Extent");
        if again || all.is_empty() {
            all.push(scanned.take().map(|s| ("_heading".to_owned(), s)).into_iter().collect());
        }
        if let Some(map) = all.last_mut() {
            for (label, value) in labels {
                text::put(map, label, value.into());
            }
        }
    }
    Ok(all.into_iter().map(Value::Object).collect())
}

/// `partedUtil`: `showGuids` a table, the partition tables rows without headings, all else what was said.
pub fn parted_util(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let verb = run.args.first().map_or("", String::as_str);
    if verb.eq_ignore_ascii_case("showGuids") {
        const GUIDS: Sheet = Sheet {
            columns: &[col("Partition Type", r"\S.*?"), col("GUID", r"[0-9A-Fa-f]{32}")],
            sets: &[&["Partition Type", "GUID"]],
        };
        return GUIDS.read(&lines, run.filtered()).map(Value::Array);
    }
    let table =
        ["getptbl", "get", "setptbl", "set", "getUsableSectors", "mklabel", "add", "delete", "resize", "fixGpt", "fix"];
    if !table.iter().any(|t| verb.eq_ignore_ascii_case(t)) {
        return text::sentences(run, text);
    }
    let row = |l: &Line| {
        let cells: Vec<&str> = l.body().split_whitespace().collect();
        let numbers = cells.iter().take(2).all(|c| c.chars().all(|c| c.is_ascii_digit()));
        (cells.len() >= 2 && numbers)
            || cells.len() == 1 && matches!(cells[0], "gpt" | "msdos" | "unknown" | "bsd" | "loop" | "mac" | "sun")
    };
    match lines.iter().find(|l| !row(l)) {
        None => text::words(run, text),
        Some(_) if run.filtered() => text::words(run, text),
        Some(_) if verb.starts_with("fix") => text::sentences(run, text),
        Some(line) => line.fail("neither a partition table's kind, nor a row of numbers"),
    }
}

/// `vmkfstools -P`: labels under the line about the file system; `Capacity` is printed without a colon. All else
/// what was said.
pub fn vmkfstools(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let queries =
        run.args.iter().any(|a| a.starts_with("-P") || a.starts_with("--queryfs") || a == "-Ph" || a == "-hP");
    if !queries && !lines.first().is_some_and(|l| l.body().contains("file system spanning")) {
        // `-q` of a raw device mapping: a sentence and the device
        let Some(device) = lines.iter().find_map(|l| l.body().strip_prefix("Maps to:")) else {
            return text::sentences(run, text);
        };
        let said: Vec<&str> = lines.iter().map(Line::body).filter(|l| !l.starts_with("Maps to:")).collect();
        let mut map = Map::new();
        if !said.is_empty() {
            map.insert("_heading".into(), said.join("\n").into());
        }
        map.insert("Maps to".into(), device.trim().into());
        return Ok(Value::Object(map));
    }
    let labels = Labels::default();
    let mut map = Map::new();
    for node in nest(&lines) {
        let body = node.line.body();
        let capacity = body.strip_prefix("Capacity ").filter(|r| r.starts_with(|c: char| c.is_ascii_digit()));
        if body.contains("file system spanning") {
            map.insert("_heading".into(), body.into());
            labels.fill(&mut map, &node.under, 1);
        } else if let Some(value) = capacity {
            text::put(&mut map, "Capacity", value.trim().into());
        } else if labels.split(body).is_some() {
            labels.fill(&mut map, std::slice::from_ref(&node), 1);
        } else if let Some((_, value)) =
            map.iter_mut().rfind(|(k, v)| k.starts_with("Partitions spanned") && v.as_str().is_none_or(str::is_empty))
        {
            // the indentation was lost: the lines under the label are the partitions
            match value {
                Value::Array(all) => all.push(body.into()),
                other => *other = Value::Array(vec![body.into()]),
            }
        } else if run.filtered() {
            text::put(&mut map, "_lines", body.into());
        } else {
            return node.line.fail("neither a label with its value, nor a partition");
        }
    }
    Ok(Value::Object(map))
}

/// `df`: its table.
pub fn df(run: &Invocation, text: &str) -> Result<Value, FormError> {
    const SIZES: Sheet =
        Sheet { columns: DF.columns, sets: &[&["Filesystem", "Size", "Used", "Available", "Use%", "Mounted on"]] };
    const OTHERS: Sheet = Sheet { columns: DF.columns, sets: &[] };
    // rows whose headings a filter took away: the option says what they were
    let form = match run.args.iter().find(|a| a.starts_with('-')) {
        None => DF,
        Some(flags) if flags.contains('h') => SIZES,
        Some(_) => OTHERS,
    };
    let lines = text::lines(run, text);
    // what it says about a volume that does not answer stands above the table
    match lines.iter().position(|l| DF.is_heading(l.text)) {
        Some(at) if at > 0 => {
            let said: Vec<Value> = lines[..at].iter().map(|l| l.body().into()).collect();
            let rows = form.read(&lines[at..], run.filtered())?;
            Ok(Value::Object(Map::from_iter([
                ("_lines".to_owned(), Value::Array(said)),
                ("_rows".to_owned(), Value::Array(rows)),
            ])))
        }
        _ => form.read(&lines, run.filtered()).map(Value::Array),
    }
}

/// `vdf`: the rows of its tables one after another, each keyed by the headings of its own table: `Tardisk`,
/// `Ramdisk`, and without `-h` df's own above them.
pub fn vdf(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let mut rows = Vec::new();
    let mut readers = Readers::default();
    let mut part: Option<(Line, &Sheet)> = None;
    for line in &lines {
        let name = line.body().split_whitespace().next().unwrap_or("");
        if line.body().chars().all(|c| c == '-') {
            continue;
        }
        if ["Tardisk", "Ramdisk", "Filesystem"].contains(&name) {
            part = Some((*line, if name == "Filesystem" { &DF } else { &RAMDISK }));
            continue;
        }
        let Some((head, form)) = part else {
            if run.filtered() {
                return text::words(run, text);
            }
            return line.fail("a row before the heading line `Tardisk ...` or `Ramdisk ...`");
        };
        match readers.of(form, head.text) {
            Some(reader) => rows.push(reader.row(line)?),
            None => return head.fail("not the heading line of a table of this command"),
        }
    }
    Ok(Value::Array(rows))
}
