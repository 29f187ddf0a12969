//! One reader per form of output, not one per command: dash-ruled tables, `Label: value` records, lists of
//! records under a title line, and what esxcli's formatters print.
//!
//! [`table()`], [`record`] and [`records`] are the flat views that steps use.

pub mod blocks;
pub mod csv;
pub mod keyvalue;
pub mod spread;
pub mod table;
pub mod text;
pub mod xml;

use indexmap::IndexMap;

pub use blocks::{Block, Entry, Shape};

/// One row or record: headings or labels as printed, values trimmed.
pub type Record = IndexMap<String, String>;

/// The text does not have the form that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: {text:?}")]
pub struct FormError {
    /// 1-based line in the output.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
    /// The line itself.
    pub text: String,
}

/// A table with a heading line and a ruler of dashes, as a host printed it. An empty list prints nothing at all: no rows.
///
/// # Errors
/// What [`table::exact`] says.
pub fn table(text: &str) -> Result<Vec<Record>, FormError> {
    let Some(table) = table::exact(text)? else { return Ok(Vec::new()) };
    Ok(table.rows.into_iter().map(|row| table.headings.iter().cloned().zip(row).collect()).collect())
}

fn fail<T>(line: usize, problem: &'static str, text: &str) -> Result<T, FormError> {
    Err(FormError { line, problem, text: text.to_owned() })
}

/// One record of `Label: value` lines; nested labels are joined as `Outer/Inner`. A title line without a
/// colon in front is allowed and kept out.
///
/// # Errors
/// What [`records`] says, and several records.
pub fn record(text: &str) -> Result<Record, FormError> {
    let mut all = records(text)?;
    match all.len() {
        0 => Ok(Record::new()),
        1 => Ok(all.remove(0).1),
        _ => fail(1, "several records where one was expected", text.lines().next().unwrap_or("")),
    }
}

/// Records under unindented title lines: `(title, record)`. A record without a title has an empty one.
/// An untitled list (as `settings advanced list` prints) is parted by its first label coming again.
///
/// # Errors
/// What [`blocks::blocks`] says.
pub fn records(text: &str) -> Result<Vec<(String, Record)>, FormError> {
    let mut out: Vec<(String, Record)> = Vec::new();
    for block in blocks::blocks(text, Shape { exact: true, ..Shape::default() })? {
        let title = block.heading.clone().unwrap_or_else(|| out.last().map_or(String::new(), |o| o.0.clone()));
        let mut record = Record::new();
        flatten(&mut record, "", block);
        out.push((title, record));
    }
    Ok(out)
}

fn flatten(record: &mut Record, outer: &str, block: Block) {
    for (label, entry) in block.entries {
        let key = if outer.is_empty() { label } else { format!("{outer}/{label}") };
        match entry {
            Entry::Text(text) => _ = record.insert(key, text),
            Entry::List(items) => _ = record.insert(key, items.join(" ")),
            Entry::Blocks(nested) => {
                record.insert(key.clone(), String::new());
                for block in nested {
                    flatten(record, &key, block);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_keep_empty_cells_and_blanks_in_names() {
        // 6.7/storage-filesystem-list-empty-names, shortened to two rows
        let text = "\
Mount Point                                        Volume Name  UUID                                 Mounted  Type             Size          Free
-------------------------------------------------  -----------  -----------------------------------  -------  ------  -------------  ------------
/vmfs/volumes/5bc7459f-967eeb48-b3f7-20677cd9a16c  VMs          5bc7459f-967eeb48-b3f7-20677cd9a16c     true  VMFS-6  1192121860096  556500254720
/vmfs/volumes/ddae0775-664c51a1-87b5-6510bda38aac               ddae0775-664c51a1-87b5-6510bda38aac     true  vfat        261853184     261844992
";
        let rows = table(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["Volume Name"], "");
        assert_eq!(rows[1]["Type"], "vfat");
        assert_eq!(rows[0]["Free"], "556500254720");
    }

    #[test]
    fn records_have_titles_and_nested_labels() {
        let text = "vmk0\n   Name: vmk0\n   Beacon Required By: \n   Uplinks: vmnic0\n\nvmk1\n   Name: vmk1\n";
        let all = records(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].1["Beacon Required By"], "");
        assert_eq!(all[1].0, "vmk1");
        let nested = record("   Driver Info:\n         Driver: ne1000\n   Link Detected: true\n").unwrap();
        assert_eq!(nested["Driver Info/Driver"], "ne1000");
        assert_eq!(nested["Link Detected"], "true");
    }

    #[test]
    fn an_untitled_list_is_parted_by_its_first_label() {
        let all = records("   Path: /A\n   Int Value: 1\n\n   Path: /B\n   Int Value: 2\n").unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].1["Path"], "/B");
    }

    #[test]
    fn what_is_no_table_is_an_error_with_its_line() {
        assert_eq!(table("hello\nworld\n").unwrap_err().line, 1);
        assert!(table("").unwrap().is_empty());
    }

    #[test]
    fn nothing_vanishes_from_a_cell() {
        // A NUL is a character like others; where it stands, the next columns stand too.
        let ascii = "Name  MAC      MTU\n----  -------  ----\na     70\0b\0c   1500\n";
        let row = &table(ascii).unwrap()[0];
        assert_eq!((row["MAC"].as_str(), row["MTU"].as_str()), ("70\0b\0c", "1500"));
        // Padded by bytes, as 5.x does, with a wide blank at the end of a cell.
        let bytes = "Name  MAC      MTU\n----  -------  ----\né    70\u{2003}    1500\n";
        let row = &table(bytes).unwrap()[0];
        assert_eq!((row["Name"].as_str(), row["MAC"].as_str(), row["MTU"].as_str()), ("é", "70", "1500"));
    }

    #[test]
    fn a_row_with_empty_cells_is_no_further_line_of_the_row_above() {
        let text = "\
Name                          Type    Value  Description
----------------------------  ------  -----  ---------------------------------
someFlagsWithALongName        uint32  0      Flags with some words behind them
anotherNameThatIsAsLongAsThe  String         Another text
";
        for rows in [tables_of(text), table::exact(text).unwrap().unwrap().rows] {
            assert_eq!(rows.len(), 2);
            assert_eq!(rows[1], ["anotherNameThatIsAsLongAsThe", "String", "", "Another text"]);
        }
    }

    fn tables_of(text: &str) -> Vec<Vec<String>> {
        table::tables(text, false).unwrap().remove(0).rows
    }
}
