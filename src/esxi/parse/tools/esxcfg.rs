//! The esxcfg-* tools for networking, options and modules.

use serde_json::{Map, Value};

use super::form_sheet::{Readers, Sheet, col, opt};
use super::text::{self, Line, compiled};
use super::{form_labels::Labels, form_tree};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// Letters that are not hexadecimal stand where a source blanked an address out.
const MAC: &str = r"(?:[0-9A-Za-z*]{1,2}:){5,19}[0-9A-Za-z*]{1,2}|N/A";
const NUM: &str = r"-?\d+";
const WORD: &str = r"\S+";
const REST: &str = r"\S.*";
/// `0000:4b:00.0`, `4b:00.0` of older releases, or nothing known.
const PCI: &str = r"[0-9a-fA-F]+:[0-9a-fA-F:]+\.[0-9a-fA-F]+|Pseudo|Management|N/A";

/// `esxcfg-vmknic -l`. Headings recorded: two forms (with and without opaque networks, with and without NetStack).
const VMKNIC: Sheet = Sheet {
    columns: &[
        col("Interface", r"\S+"),
        opt("Port Group/DVPort/Opaque Network", r"\S.*?"),
        opt("Port Group/DVPort", r"\S.*?"),
        opt("Port Group", r"\S.*?"),
        col("IP Family", r"IPv[46]"),
        opt("IP Address", r"[0-9a-fA-FxX*.:]+(?:%\S+)?(?:/\d+)?|N/A"),
        opt("Netmask", r"(?:[\dxX*]+\.){3}[\dxX*]+|\d+|N/A"),
        opt("Broadcast", r"(?:[\dxX*]+\.){3}[\dxX*]+|N/A"),
        col("MAC Address", MAC),
        col("MTU", r"\d+"),
        opt("TSO MSS", r"\d+"),
        col("Enabled", r"true|false"),
        opt("Type", r"[A-Za-z][A-Za-z_]*(?:, ?[A-Za-z]+)*"),
        opt("NetStack", r"\S+"),
    ],
    sets: &[&[
        "Interface",
        "Port Group/DVPort/Opaque Network",
        "IP Family",
        "IP Address",
        "Netmask",
        "Broadcast",
        "MAC Address",
        "MTU",
        "TSO MSS",
        "Enabled",
        "Type",
        "NetStack",
    ]],
};

const BOOL: &str = r"(?i:true|false|yes|no|N/A)";

/// `esxcfg-nics -e` of hosts with NSX (not verified on a host).
const ENS: Sheet = Sheet {
    columns: &[
        col("Name", WORD),
        opt("Driver", WORD),
        opt("ENS Capable", BOOL),
        opt("ENS Driven", BOOL),
        opt("ENS Unsupported", BOOL),
        opt("INTR Capable", BOOL),
        opt("INTR Enabled", BOOL),
        opt("MAC Address", MAC),
        opt("Description", REST),
    ],
    sets: &[],
};

/// `esxcfg-nics -l`.
const NICS: Sheet = Sheet {
    columns: &[
        col("Name", WORD),
        opt("PCI", PCI),
        opt("Driver", WORD),
        col("Link", r"Up|Down|N/A"),
        opt("Speed", r"\d+ ?[GM]bps|N/A|Auto"),
        opt("Duplex", r"Full|Half|N/A|Auto"),
        opt("MAC Address", MAC),
        opt("MTU", r"\d+|N/A"),
        opt("Description", REST),
    ],
    sets: &[&["Name", "PCI", "Driver", "Link", "Speed", "Duplex", "MAC Address", "MTU", "Description"]],
};

const SWITCH: Sheet = Sheet {
    columns: &[
        col("Switch Name", r"\S.*"),
        col("DVS Name", r"\S.*"),
        col("Num Ports", NUM),
        col("Used Ports", NUM),
        col("Configured Ports", NUM),
        col("MTU", NUM),
        opt("Uplinks", r"[A-Za-z][^\s]*"),
    ],
    sets: &[],
};

const PORT_GROUP: Sheet = Sheet {
    columns: &[
        col("PortGroup Name", r"\S.*"),
        col("VLAN ID", NUM),
        col("Used Ports", NUM),
        opt("Uplinks", r"[A-Za-z][^\s]*"),
    ],
    sets: &[],
};

const DVPORT: Sheet =
    Sheet { columns: &[col("DVPort ID", WORD), col("In Use", r"[01]|true|false"), opt("Client", REST)], sets: &[] };

/// `esxcfg-route -l`.
const ROUTE: Sheet = Sheet {
    columns: &[
        col("Network", r"default|::|\S*[\d.:]\S*"),
        opt("Netmask", WORD),
        opt("Gateway", r"Local Subnet|[0-9a-fA-F.:]+|N/A|\S+"),
        opt("Interface", r"[A-Za-z]+\d\S*"),
        opt("Source", r"\S+"),
    ],
    sets: &[&["Network", "Netmask", "Gateway", "Interface"]],
};

/// `vmkload_mod -l`, `esxcfg-module -l`: 4.x printed addresses, later releases a count and a size.
const MODULES: Sheet = Sheet {
    columns: &[
        col("Name", WORD),
        col("R/O Addr", r"0x\S+|\S+"),
        col("R/W Addr", r"0x\S+|\S+"),
        col("Length", r"0x\S+|\d+"),
        col("ID", r"\d+"),
        col("Loaded", r"Yes|No|\S+"),
        col("Used", r"\d+"),
        col("Size (kb)", r"\d+"),
        col("Size(kb)", r"\d+"),
        opt("Used by", REST),
    ],
    sets: &[&["Name", "Used", "Size (kb)"]],
};

/// `esxcfg-dumppart -l`.
const DUMPPART: Sheet = Sheet {
    columns: &[
        col("VM Kernel Name", WORD),
        opt("Console Name", r"/\S+|N/A|\S+"),
        col("Is Active", r"(?i:yes|no|true|false)"),
        col("Is Configured", r"(?i:yes|no|true|false)"),
    ],
    sets: &[&["VM Kernel Name", "Console Name", "Is Active", "Is Configured"]],
};

fn sheet(sheet: &Sheet, run: &Invocation, text: &str) -> Result<Value, FormError> {
    sheet.read(&text::lines(run, text), run.filtered()).map(Value::Array)
}

/// One of `options` is among the arguments; short ones can be bundled (`-lx`).
pub fn asks(run: &Invocation, long: &str, short: char) -> bool {
    run.args.iter().any(|a| {
        a == long
            || a.starts_with('-')
                && !a.starts_with("--")
                && a.chars().skip(1).all(char::is_alphabetic)
                && a.contains(short)
    })
}

/// `esxcfg-vmknic`: the table of `-l`, else what was said.
pub fn vmknic(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if asks(run, "--list", 'l') { sheet(&VMKNIC, run, text) } else { text::sentences(run, text) }
}

/// `esxcfg-nics`: the table of `-l`, else what was said.
pub fn nics(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let headed = |sheet: &Sheet| lines.first().is_some_and(|l| sheet.is_heading(l.text));
    if lines.first().is_some_and(|l| l.text.contains("ENS ")) && headed(&ENS) {
        return sheet(&ENS, run, text);
    }
    if asks(run, "--list", 'l') || headed(&NICS) { sheet(&NICS, run, text) } else { text::sentences(run, text) }
}

/// `esxcfg-vswitch -l`: an array of switches in the printed order, each with its columns and an array of its port
/// groups (of its ports, for a distributed switch) under `_rows`.
pub fn vswitch(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if !asks(run, "--list", 'l') {
        return text::sentences(run, text);
    }
    let lines = text::lines(run, text);
    let mut switches: Vec<Map<String, Value>> = Vec::new();
    let mut readers = Readers::default();
    let mut heading: Option<Line> = None;
    let mut inner: Option<(Line, &Sheet)> = None;
    for line in &lines {
        if SWITCH.is_heading(line.text) && line.text.contains(" Name") && !line.text.contains("PortGroup") {
            (heading, inner) = (Some(*line), None);
        } else if PORT_GROUP.is_heading(line.text) {
            inner = Some((*line, &PORT_GROUP));
        } else if DVPORT.is_heading(line.text) {
            inner = Some((*line, &DVPORT));
        } else if let (Some((head, form)), Some(switch)) = (inner, switches.last_mut()) {
            if let (Some(reader), Some(Value::Array(all))) = (readers.of(form, head.text), switch.get_mut("_rows")) {
                all.push(reader.row(line)?);
            }
        } else if let Some(head) = heading {
            if let Some(reader) = readers.of(&SWITCH, head.text)
                && let Value::Object(mut row) = reader.row(line)?
            {
                row.insert("_rows".into(), Value::Array(Vec::new()));
                switches.push(row);
            }
        } else if run.filtered() {
            return Ok(lines.iter().map(|l| text::numbered(super::form_sheet::pieces(l.body()))).collect());
        } else {
            return line.fail("a row before any heading line `Switch Name ...`, `DVS Name ...`");
        }
    }
    Ok(switches.into_iter().map(Value::Object).collect())
}

/// `esxcfg-route`: the routes of `-l` with the line above their table left out; the default gateway otherwise.
pub fn route(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let table = text::lines(run, text).iter().take(2).any(|l| ROUTE.is_heading(l.text));
    if !asks(run, "--list", 'l') && !table {
        return gateways(run, text);
    }
    let lines: Vec<Line> = text::lines(run, text)
        .into_iter()
        .filter(|l| !(l.body().ends_with(':') && l.body().contains("outes")))
        .collect();
    ROUTE.read(&lines, run.filtered()).map(Value::Array)
}

/// `VMkernel default gateway is ADDRESS`, with IPv6 a second line: an object keyed by the words in front.
fn gateways(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let pair = |l: &Line| l.body().split_once(" is ").map(|(a, b)| (format!("{a} is"), b.trim().to_owned()));
    let pairs: Option<Vec<_>> = lines.iter().map(pair).collect();
    match pairs {
        Some(pairs) if !pairs.is_empty() && lines.iter().all(|l| l.body().contains("gateway is ")) => {
            Ok(Value::Object(pairs.into_iter().map(|(k, v)| (k, v.into())).collect()))
        }
        _ => text::sentences(run, text),
    }
}

/// `esxcfg-advcfg`: `Value of NAME is VALUE` becomes an object; `-l` rows of path, type and description.
pub fn advcfg(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if asks(run, "--list", 'l') {
        return text::patterned(run, text, &[r"(/\S+)\s+\[([^\]]*)\]\s*:\s*(.*)"]);
    }
    let lines = text::lines(run, text);
    let mut map = Map::new();
    for line in &lines {
        let Some((name, value)) = line
            .body()
            .strip_prefix("Value of ")
            .and_then(|r| r.split_once(" is ").or_else(|| r.strip_suffix(" is").map(|n| (n, ""))))
        else {
            // `-q` prints the value alone
            if asks(run, "--get", 'g') && !asks(run, "--quiet", 'q') && !run.filtered() {
                return line.fail("not `Value of NAME is VALUE`");
            }
            return text::sentences(run, text);
        };
        text::put(&mut map, name.trim(), value.trim().into());
    }
    if map.is_empty() { text::sentences(run, text) } else { Ok(Value::Object(map)) }
}

/// `esxcfg-module`: `-l` a table, `-g` an object, `-i` labels, `-q` a list.
pub fn module(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if let [pattern] = compiled(&[r"(\S+) enabled = (\S+) options = '?(.*?)'?"]).as_slice()
        && lines.first().is_some_and(|l| pattern.is_match(l.body()))
    {
        let mut rows = Vec::new();
        for line in &lines {
            let Some(found) = pattern.captures(line.body()) else {
                return line.fail("not `NAME enabled = N options = '...'`");
            };
            let mut map = Map::new();
            for (n, key) in ["_heading", "enabled", "options"].iter().enumerate() {
                map.insert((*key).to_owned(), found.get(n + 1).map_or("", |m| m.as_str()).into());
            }
            rows.push(Value::Object(map));
        }
        return Ok(if rows.len() == 1 { rows.remove(0) } else { Value::Array(rows) });
    }
    if asks(run, "--get-options", 'g')
        && !run.filtered()
        && let Some(first) = lines.first()
    {
        return first.fail("not `NAME enabled = N options = '...'`");
    }
    if lines.first().is_some_and(|l| l.body().ends_with("module information")) || asks(run, "--info", 'i') {
        return module_info(run, text);
    }
    if asks(run, "--list", 'l') || lines.first().is_some_and(|l| MODULES.is_heading(l.text)) {
        return sheet(&MODULES, run, text);
    }
    text::list(run, text)
}

/// `vmkload_mod`: `-l` a table, `-s` labels.
pub fn vmkload_mod(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if lines.first().is_some_and(|l| l.body().ends_with("module information")) || asks(run, "--showinfo", 's') {
        return module_info(run, text);
    }
    if asks(run, "--list", 'l') || asks(run, "--listmods", 'l') {
        return sheet(&MODULES, run, text);
    }
    text::sentences(run, text)
}

/// A module's labels. Under `Parameters` each name has its type, and its description as a second element; the
/// description can itself hold colons, so that depth decides and not form.
fn module_info(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let mut map = Map::new();
    let mut part: Option<(String, usize)> = None;
    let mut parameter: Option<(String, usize)> = None;
    let labels = Labels::default();
    for line in &lines {
        let (body, indent) = (line.body(), line.indent());
        if body.ends_with("module information") && map.is_empty() {
            map.insert("_heading".into(), body.into());
            continue;
        }
        let inside = part.as_ref().is_some_and(|(_, depth)| indent > *depth);
        match (&part, labels.split(body)) {
            (Some((name, _)), Some((label, value))) if inside && name == "Parameters" => {
                let Some(Value::Object(all)) = map.get_mut(name) else { continue };
                match &parameter {
                    Some((last, depth)) if indent > *depth => describe(all, last, body),
                    _ => {
                        all.insert(label.to_owned(), value.into());
                        parameter = Some((label.to_owned(), indent));
                    }
                }
            }
            (Some((name, _)), _) if inside && name == "Parameters" => {
                let Some(Value::Object(all)) = map.get_mut(name) else { continue };
                match &parameter {
                    Some((last, _)) => describe(all, last, body),
                    None => return line.fail("a description without its parameter"),
                }
            }
            (Some((name, _)), _) if inside => {
                if let Some(Value::Array(all)) = map.get_mut(name) {
                    all.push(body.into());
                }
            }
            (_, Some(("Parameters", ""))) => {
                map.insert("Parameters".into(), Value::Object(Map::new()));
                (part, parameter) = (Some(("Parameters".into(), indent)), None);
            }
            (_, Some((label, ""))) => {
                map.insert(label.to_owned(), Value::Array(Vec::new()));
                part = Some((label.to_owned(), indent));
            }
            (_, Some((label, value))) => {
                part = None;
                text::put(&mut map, label, value.into());
            }
            (_, None) if run.filtered() => text::put(&mut map, "_lines", body.into()),
            (_, None) => return line.fail("neither a label with its value, nor an element of a list"),
        }
    }
    Ok(Value::Object(map))
}

fn describe(all: &mut Map<String, Value>, name: &str, text: &str) {
    if let Some(value) = all.get_mut(name) {
        match value {
            Value::Array(parts) => parts.push(text.into()),
            one => *one = Value::Array(vec![one.take(), text.into()]),
        }
    }
}

/// `esxcfg-dumppart`: the table of `-l`, labels or sentences otherwise.
pub fn dumppart(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if asks(run, "--list", 'l') {
        return match lines.first() {
            Some(first) if run.filtered() || DUMPPART.is_heading(first.text) => sheet(&DUMPPART, run, text),
            Some(first) => first.fail("the heading line of this command's table is missing"),
            None => text::sentences(run, text),
        };
    }
    text::sentences(run, text)
}

/// `esxcfg-nas`: its lines; `-l` says of each volume where it comes from.
pub fn nas(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if asks(run, "--list", 'l') {
        text::only(run, text, &[r"\S.* is .* from .*"], "not `NAME is SHARE from HOST ...`")?;
    }
    text::sentences(run, text)
}

/// `esxcfg-info`: the dotted tree; a single value for `-u`, `-b` and `-e`.
pub fn info(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let tree = |l: &Line| l.text.contains("|----") || l.text.contains("\\==+") || l.body().starts_with('+');
    if lines.iter().any(tree) {
        return form_tree::read(&lines, run.filtered());
    }
    match lines.as_slice() {
        [] | [_] => text::sentences(run, text),
        _ if run.filtered() => text::sentences(run, text),
        [_, second, ..] => second.fail("neither the tree that this command prints, nor a single value"),
    }
}
