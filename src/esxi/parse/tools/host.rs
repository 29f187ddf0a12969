//! Version, services, processes and devices: lspci, lsusb, chkconfig, ps, esxtop, ping, net-stats.

use serde_json::{Map, Value};

use super::form_labels::nest;
use super::form_sheet::{Sheet, col, opt};
use super::text::{self, Line, compiled, numbered, put};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// `lspci -p`.
const PCI: Sheet = Sheet {
    columns: &[
        col("Segm:Bu:De.F", r"[0-9a-fA-F]+:[0-9a-fA-F:]+\.[0-9a-fA-F]+"),
        col("Bus:S1.F", r"[0-9a-fA-F]+:[0-9a-fA-F:]+\.[0-9a-fA-F]+"),
        col("Bus:Sl.F", r"[0-9a-fA-F]+:[0-9a-fA-F:]+\.[0-9a-fA-F]+"),
        col("Vend:Dvid", r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}"),
        col("Subv:Subd", r"[0-9a-fA-F]{4}:[0-9a-fA-F]{4}"),
        opt("ISA/irq/Vect", r"\d*/\s*\d*/\s*(?:0x[0-9a-fA-F]+|\d*)"),
        opt("ISA/irq/Vec", r"\d*/\s*\d*/\s*(?:0x[0-9a-fA-F]+|\d*)"),
        opt("P", r"[A-D@\-?]"),
        opt("M", r"[A-Z\-?]"),
        opt("Module", r"[^\s\[]\S*"),
        opt("Name", r"\S.*"),
    ],
    sets: &[],
};

/// `net-stats -l`.
const PORTS: Sheet = Sheet {
    columns: &[
        col("PortNum", r"\d+"),
        col("Type", r"\d+"),
        col("SubType", r"\d+"),
        opt("SwitchName", r"\S.*?"),
        opt("MACAddress", r"(?:[0-9a-fA-F]{1,2}:){5}[0-9a-fA-F]{1,2}"),
        opt("ClientName", r"\S.*"),
    ],
    sets: &[&["PortNum", "Type", "SubType", "SwitchName", "MACAddress", "ClientName"]],
};

/// ESXi's own `ps`: the columns of its options.
const PS: Sheet = Sheet {
    columns: &[
        col("WID", r"\d+"),
        col("PID", r"\d+"),
        opt("CID", r"\d+"),
        opt("PGID", r"\d+"),
        opt("SID", r"\d+"),
        opt("PPID", r"\d+"),
        opt("GID", r"\d+"),
        opt("Process Name", r"\S+"),
        opt("World Name", r"\S+(?: \S+)*"),
        opt("WorldName", r"\S+(?: \S+)*"),
        opt("Name", r"\S+(?: \S+)*"),
        opt("Type", r"[A-Za-z]+"),
        opt("State", r"[A-Za-z]+"),
        opt("Wait", r"[A-Za-z]+"),
        opt("CPU", r"\d+"),
        opt("Time", r"[\d.:-]+"),
        opt("SecurityDomain", r"\S+"),
        opt("Security Domain", r"\S+"),
        opt("Command", r"\S.*"),
        opt("CommandLine", r"\S.*"),
        opt("COMMAND", r"\S.*"),
        opt("USER", r"\S+"),
        opt("TIME", r"\S+"),
    ],
    sets: &[],
};

/// `lspci`: `-p` a table; plain and `-n` rows without headings (address, class, device, name in brackets); `-v` a
/// block a device.
pub fn lspci(run: &Invocation, text: &str) -> Result<Value, FormError> {
    // the heading line goes on below
    let lines: Vec<Line> = text::lines(run, text).into_iter().filter(|l| l.body() != "Spawned bus").collect();
    let asks = |c| run.args.iter().any(|a| a.starts_with('-') && a.contains(c));
    let table = lines.first().is_some_and(|l| PCI.is_heading(l.text));
    if asks('p') || table {
        if !table {
            // the set without headings: the ones recorded on 7.0
            const BARE: Sheet = Sheet {
                columns: PCI.columns,
                sets: &[&["Segm:Bu:De.F", "Vend:Dvid", "Subv:Subd", "ISA/irq/Vect", "P", "M", "Module", "Name"]],
            };
            return BARE.read(&lines, run.filtered()).map(Value::Array);
        }
        return PCI.read(&lines, run.filtered()).map(Value::Array);
    }
    let patterns = compiled(&[
        r"([0-9a-fA-F:]+:[0-9a-fA-F]+\.[0-9a-fA-F]+)\s+(\S.*?): (.*?)\s*\[((?:[^\[\]]|\[[^\[\]]*\])*)\]",
        r"([0-9a-fA-F:]+:[0-9a-fA-F]+\.[0-9a-fA-F]+)\s+(\S.*?): (.*)",
        r"([0-9a-fA-F:]+:[0-9a-fA-F]+\.[0-9a-fA-F]+)\s+(\S.*)",
    ]);
    let cells = |l: &Line| {
        let found = patterns.iter().find_map(|p| p.captures(l.body()))?;
        Some(numbered(found.iter().skip(1).flatten().map(|m| m.as_str())))
    };
    let mut rows: Vec<Value> = Vec::new();
    for node in nest(&lines) {
        let mut row = match cells(&node.line) {
            Some(row) => row,
            None if run.filtered() => numbered([node.line.body()]),
            None => return node.line.fail("not `ADDRESS class: device`"),
        };
        if let (Value::Object(map), false) = (&mut row, node.under.is_empty()) {
            super::form_labels::Labels::default().fill(map, &node.under, 1);
        }
        rows.push(row);
    }
    Ok(Value::Array(rows))
}

/// `vmware -v`, `-l`: their lines, each with the product in front.
pub fn version(run: &Invocation, text: &str) -> Result<Value, FormError> {
    match text::lines(run, text).iter().find(|l| !l.body().starts_with("VMware ")) {
        Some(line) if !run.filtered() => line.fail("not `VMware ESXi ...`"),
        _ => text::sentences(run, text),
    }
}

/// `lsusb`: `Bus`, `Device` and `ID` as labels, the name under `_1`.
pub fn lsusb(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let pattern = compiled(&[r"Bus (\S+) Device (\S+): ID (\S+)\s*(.*)"]);
    let mut rows = Vec::new();
    for line in text::lines(run, text) {
        let Some(found) = pattern.iter().find_map(|p| p.captures(line.body())) else {
            if run.args.is_empty() && !run.filtered() {
                return line.fail("not `Bus N Device N: ID ...`");
            }
            return text::sentences(run, text);
        };
        let keys = ["Bus", "Device", "ID", "_1"].iter().enumerate();
        let row: Map<String, Value> =
            keys.map(|(n, k)| ((*k).to_owned(), found.get(n + 1).map_or("", |m| m.as_str()).into())).collect();
        rows.push(Value::Object(row));
    }
    Ok(Value::Array(rows))
}

/// `chkconfig`: the service and `on` or `off`.
pub fn chkconfig(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if run.args.iter().all(|a| a == "--list" || a == "-l") {
        text::only(run, text, &[r"\S+\s+(?:on|off)"], "neither on nor off behind the name of a service")?;
    }
    if text::lines(run, text).iter().all(|l| l.body().split_whitespace().count() == 2) {
        return text::patterned(run, text, &[r"(\S+)\s+(on|off)"]);
    }
    text::sentences(run, text)
}

/// `ps`: its table.
pub fn ps(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    // a tree of worlds has marks in front of the numbers
    if run.args.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains('J')) || run.has("--tree") {
        return text::list(run, text);
    }
    if run.filtered() && !lines.first().is_some_and(|l| PS.is_heading(l.text)) {
        return Ok(lines.iter().map(|l| numbered(super::form_sheet::pieces(l.body()))).collect());
    }
    PS.read(&lines, run.filtered()).map(Value::Array)
}

/// `net-stats -l`: its table; other options: its lines.
pub fn net_stats(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let table = text::lines(run, text).first().is_some_and(|l| PORTS.is_heading(l.text));
    if !run.has("-l") && !table {
        return super::form_any::read(run, text);
    }
    PORTS.read(&text::lines(run, text), run.filtered()).map(Value::Array)
}

/// `vmkchdev -l`: rows of address, IDs, owner and name; other options: its words.
pub fn vmkchdev(run: &Invocation, text: &str) -> Result<Value, FormError> {
    if run.has("-l") {
        text::only(run, text, &[r"[0-9a-fA-F:]+\.[0-9a-fA-F]+\s+\S+:\S+\s.*"], "not an address and IDs of a device")?;
    }
    text::words(run, text)
}

/// `ping`, `vmkping`: the first line under `_heading`, an object a reply under `_rows`, the statistics under their
/// own words, any other line under `_lines`.
pub fn ping(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    if !lines.iter().any(|l| {
        l.body().starts_with("PING") || l.body().contains("ping statistics") || l.body().contains("bytes from")
    }) {
        return match lines.first() {
            Some(first) if !run.filtered() && !first.body().contains(&run.program) => {
                first.fail("neither `PING ...`, nor replies, nor statistics")
            }
            _ => text::sentences(run, text),
        };
    }
    let reply = compiled(&[r"(\d+) bytes from (\S+)[:,]\s+((?:[a-z_]+=\S+(?: ms)?,?\s*)*)(.*)"]);
    let mut map = Map::new();
    let mut rows: Vec<Value> = Vec::new();
    let mut others: Vec<Value> = Vec::new();
    for line in &lines {
        let body = line.body();
        if body.starts_with("PING") && !map.contains_key("_heading") {
            map.insert("_heading".into(), body.into());
        } else if let Some(found) = reply.iter().find_map(|p| p.captures(body)) {
            let get = |n: usize| found.get(n).map_or("", |m| m.as_str());
            let mut row = Map::from_iter([("bytes".to_owned(), get(1).into()), ("from".to_owned(), get(2).into())]);
            let pairs = get(3).replace(" ms", "\u{1}ms");
            for (name, value) in pairs.split_whitespace().filter_map(|w| w.split_once('=')) {
                put(&mut row, name, value.replace('\u{1}', " ").trim_end_matches(',').into());
            }
            if !get(4).trim().is_empty() {
                row.insert("_1".into(), get(4).trim().into());
            }
            rows.push(Value::Object(row));
        } else if body.contains("packets transmitted") {
            for part in body.split(", ") {
                let (value, name) = part.split_once(' ').unwrap_or((part, ""));
                put(&mut map, name.trim(), value.into());
            }
        } else if let Some((name, value)) = body.split_once(" = ") {
            put(&mut map, name.trim(), value.trim().into());
        } else if body.starts_with("---") {
            map.insert("_statistics".into(), body.trim_matches(['-', ' ']).into());
        } else {
            others.push(body.into());
        }
    }
    map.insert("_rows".into(), Value::Array(rows));
    if !others.is_empty() {
        map.insert("_lines".into(), Value::Array(others));
    }
    Ok(Value::Object(map))
}

/// `esxtop -b`: comma-separated values in quotes, the first line the headings.
pub fn esxtop(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let Some(first) = lines.first() else { return Ok(Value::Array(Vec::new())) };
    if !first.body().starts_with('"') {
        if run.has("-b") && !run.filtered() {
            return first.fail("no headings in quotes, with which the batch mode begins");
        }
        return text::sentences(run, text);
    }
    let names = fields(first.body());
    let mut rows = Vec::new();
    for line in &lines[1..] {
        let cells = fields(line.body());
        if cells.len() != names.len() {
            return line.fail("another number of values than there are headings");
        }
        let mut map = Map::new();
        for (name, cell) in names.iter().zip(cells) {
            put(&mut map, name, cell.into());
        }
        rows.push(Value::Object(map));
    }
    Ok(Value::Array(rows))
}

/// The fields of a line of comma-separated values; a doubled quote inside quotes is one. A comma at the end of the
/// line, which esxtop prints, begins no field.
fn fields(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut field = String::new();
    let mut quoted = false;
    let mut chars = line.trim_end_matches(',').chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut field).trim().to_owned()),
            c => field.push(c),
        }
    }
    out.push(field.trim().to_owned());
    out
}
