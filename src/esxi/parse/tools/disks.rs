//! Tools around disks that print sentences with a table or a result in them: fdisk, voma, vdq.

use serde_json::{Map, Value};

use super::form_sheet::{Readers, Sheet, col, opt};
use super::text::{self, Line, put};
use super::{form_any, form_ruled};
use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// The two partition tables that fdisk printed: of an MBR, and of a GPT (5.0 to 5.5; not verified on a host).
const PARTITIONS: Sheet = Sheet {
    columns: &[
        col("Device", r"/?\S+"),
        opt("Boot", r"\*"),
        col("Number", r"\d+"),
        col("Start (sector)", r"\d+"),
        col("End (sector)", r"\d+"),
        col("Start", r"\d+"),
        col("End", r"\d+"),
        col("Blocks", r"\d+[+-]?"),
        opt("Size", r"\d[\d.]*(?: ?[KMGTP]i?B?)?"),
        col("Code", r"[0-9A-Fa-f]{4}"),
        col("Id", r"[0-9a-fA-F]{1,2}"),
        opt("System", r"\S.*"),
        opt("Name", r"\S.*"),
    ],
    sets: &[],
};

/// `fdisk -l`: the partitions under `_rows`, and what is said about the disks as labels and under `_lines`.
pub fn fdisk(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let mut map = Map::new();
    let mut rows = Vec::new();
    let mut readers = Readers::default();
    let mut heading: Option<Line> = None;
    for line in &lines {
        if PARTITIONS.is_heading(line.text) {
            heading = Some(*line);
            continue;
        }
        let begins = |c: char| c.is_ascii_digit() || c == '/';
        let reader = heading.filter(|_| line.body().starts_with(begins)).and_then(|h| readers.of(&PARTITIONS, h.text));
        match reader.and_then(|r| r.row(line).ok()) {
            Some(row) => rows.push(row),
            _ => {
                // another disk
                heading = None;
                put(&mut map, "_lines", line.body().into());
            }
        }
    }
    if rows.is_empty() && heading.is_none() {
        let disk = |l: &Line| l.body().contains("isk") || l.body().contains("GPT");
        return match lines.first() {
            Some(first) if run.has("-l") && !run.filtered() && !lines.iter().any(disk) => {
                first.fail("neither a disk nor a table of partitions")
            }
            _ => text::sentences(run, text),
        };
    }
    if let Some(one @ Value::String(_)) = map.get_mut("_lines") {
        *one = Value::Array(vec![one.take()]);
    }
    map.insert("_rows".into(), Value::Array(rows));
    Ok(Value::Object(map))
}

/// `voma`: its lines under `_lines`, the results (`Total Errors Found: 0`) as labels beside them.
pub fn voma(run: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = text::lines(run, text);
    let mut map = Map::new();
    let mut said = Vec::new();
    for line in &lines {
        match line.body().split_once(':') {
            Some((label, value)) if label.starts_with("Total ") => put(&mut map, label.trim(), value.trim().into()),
            _ => said.push(Value::from(line.body())),
        }
    }
    if map.is_empty() {
        return text::sentences(run, text);
    }
    map.insert("_lines".into(), Value::Array(said));
    Ok(Value::Object(map))
}

/// `vmkiscsi-tool`, `vicfg-iscsi`: the parameters of `-W` as rows, labels as an object, all else as lines.
pub fn iscsi(run: &Invocation, text: &str) -> Result<Value, FormError> {
    const PARAMETERS: Sheet = Sheet {
        columns: &[
            col("Parameter", r"\S+"),
            opt("Min/List", r"\S+"),
            opt("Max", r"\S+"),
            opt("Current", r"\S+"),
            opt("Settable", r"\S+"),
            opt("Inherit", r"\S+"),
        ],
        sets: &[],
    };
    let lines: Vec<Line> = text::lines(run, text).into_iter().filter(|l| !form_ruled::is_ruler(l.body())).collect();
    match lines.iter().position(|l| PARAMETERS.is_heading(l.text)) {
        Some(at) => PARAMETERS.read(&lines[at..], run.filtered()).map(Value::Array),
        None => match lines.first() {
            Some(first) if run.has("-W") && !run.filtered() => {
                first.fail("no heading line `Parameter ... Current ...`")
            }
            _ => form_any::read(run, text),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_between_sentences() {
        let run = Invocation::default();
        let text = "Disk /d/a: 5 sectors, 1.0M\nLogical sector size: 512\n\nNumber  Start (sector)    End (sector)  Size       Code  Name\n   1            2048        20000       19.9M   0700\n   2            30000       40000       1.0 GiB   FB00  my name\n";
        assert_eq!(
            fdisk(&run, text).unwrap(),
            json!({"_lines": ["Disk /d/a: 5 sectors, 1.0M", "Logical sector size: 512"], "_rows": [
                {"Number": "1", "Start (sector)": "2048", "End (sector)": "20000", "Size": "19.9M", "Code": "0700", "Name": ""},
                {"Number": "2", "Start (sector)": "30000", "End (sector)": "40000", "Size": "1.0 GiB", "Code": "FB00", "Name": "my name"}]})
        );
        let text = "Device Boot Start End Blocks Id System\n/d/ap1 * 1 9 9+ fb VMFS\n/d/ap2 10 19 9 5 Ext x\nDisk /d/b doesn't contain a valid partition table\n";
        assert_eq!(
            fdisk(&run, text).unwrap(),
            json!({"_lines": ["Disk /d/b doesn't contain a valid partition table"], "_rows": [
                {"Device": "/d/ap1", "Boot": "*", "Start": "1", "End": "9", "Blocks": "9+", "Id": "fb", "System": "VMFS"},
                {"Device": "/d/ap2", "Boot": "", "Start": "10", "End": "19", "Blocks": "9", "Id": "5", "System": "Ext x"}]})
        );
        assert_eq!(
            voma(&run, "Phase 1: Checking\n\nTotal Errors Found: 3\n").unwrap(),
            json!({"Total Errors Found": "3", "_lines": ["Phase 1: Checking"]})
        );
        assert_eq!(
            iscsi(&run, "=====\nParameter   Min/List  Max  Current  Settable\n-------\na_b   OFF   N/A  OFF  Yes\n")
                .unwrap(),
            json!([{"Parameter": "a_b", "Min/List": "OFF", "Max": "N/A", "Current": "OFF", "Settable": "Yes"}])
        );
        assert_eq!(iscsi(&run, "A Name   : iqn.x:y\nAlias  :\n").unwrap(), json!({"A Name": "iqn.x:y", "Alias": ""}));
    }
}
