//! One reader per form of output, not one per command: dash-ruled tables, `Label: value` records, lists of
//! records under a title line.

use indexmap::IndexMap;

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

/// More columns, or more characters of headings, than any table of ESXi has (the widest known have some 20 columns
/// and 250 characters). Every row repeats the headings: without a limit a short text could fill the memory.
const MAX_COLUMNS: usize = 100;
const MAX_HEADINGS: usize = 4096;

fn fail<T>(line: usize, problem: &'static str, text: &str) -> Result<T, FormError> {
    Err(FormError { line, problem, text: text.to_owned() })
}

/// A table with a heading line and a ruler of dashes. An empty list prints nothing at all: no rows.
///
/// Cells are cut where the ruler's gaps are, because names contain blanks and cells can be empty; a cell wider
/// than its ruler (seen where a source edited a name) pushes the rest of its row, which is followed as far
/// as the gaps allow.
pub fn table(text: &str) -> Result<Vec<Record>, FormError> {
    let lines: Vec<(usize, &str)> =
        text.lines().map(|l| l.trim_end_matches('\r')).enumerate().filter(|(_, l)| !l.trim().is_empty()).collect();
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let is_ruler = |l: &str| l.contains("--") && l.chars().all(|c| c == '-' || c == ' ');
    let Some(at) = lines.iter().position(|(_, l)| is_ruler(l)) else {
        return fail(lines[0].0 + 1, "no ruler of dashes under a heading line", lines[0].1);
    };
    if at != 1 {
        return fail(lines[at].0 + 1, "the ruler must be the second line", lines[at].1);
    }
    let ruler: Vec<char> = lines[1].1.chars().collect();
    let mut columns: Vec<(usize, usize)> = Vec::new();
    for (i, c) in ruler.iter().enumerate() {
        match columns.last_mut() {
            Some(last) if *c == '-' && last.1 == i => last.1 = i + 1,
            _ if *c == '-' => columns.push((i, i + 1)),
            _ => {}
        }
    }
    let heading: Vec<char> = lines[0].1.chars().collect();
    let names: Vec<String> = cells(&heading, &columns);
    if names.len() > MAX_COLUMNS || names.iter().map(String::len).sum::<usize>() > MAX_HEADINGS {
        return fail(lines[0].0 + 1, "more columns or longer headings than any table has", lines[0].1);
    }
    if names.iter().any(String::is_empty) {
        return fail(lines[0].0 + 1, "a column has no heading", lines[0].1);
    }
    let mut rows = Vec::new();
    for (_, line) in &lines[2..] {
        let chars: Vec<char> = line.chars().collect();
        rows.push(names.iter().cloned().zip(cells(&chars, &columns)).collect());
    }
    Ok(rows)
}

/// Cuts a line at the columns' starts; the last cell takes the rest.
fn cells(line: &[char], columns: &[(usize, usize)]) -> Vec<String> {
    let mut out = Vec::with_capacity(columns.len());
    for (n, (start, _)) in columns.iter().enumerate() {
        let end = columns.get(n + 1).map_or(line.len(), |next| next.0).min(line.len());
        let start = (*start).min(end);
        out.push(line[start..end].iter().collect::<String>().trim().to_owned());
    }
    out
}

/// One record of `Label: value` lines; nested labels are joined as `Outer/Inner`. A title line without a
/// colon in front is allowed and kept out.
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
pub fn records(text: &str) -> Result<Vec<(String, Record)>, FormError> {
    let mut out: Vec<(String, Record)> = Vec::new();
    let mut outer: Option<(usize, String)> = None;
    let mut first_label: Option<String> = None;
    for (n, line) in text.lines().map(|l| l.trim_end_matches('\r')).enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let indent = line.chars().take_while(|c| *c == ' ').count();
        let body = line.trim();
        if indent == 0 {
            out.push((body.to_owned(), Record::new()));
            outer = None;
            first_label = None;
            continue;
        }
        let (label, value) = match body.split_once(": ").or_else(|| body.strip_suffix(':').map(|l| (l, ""))) {
            Some((label, value)) => (label.trim(), value.trim()),
            None => {
                // A hard-wrapped value, or a nested line without a label: it belongs to the value before it.
                match out.last_mut().and_then(|(_, r)| r.last_mut()) {
                    Some((_, value)) => {
                        if !value.is_empty() {
                            value.push(' ');
                        }
                        value.push_str(body);
                        continue;
                    }
                    None => return fail(n + 1, "neither a title, nor `Label: value`", line),
                }
            }
        };
        if out.is_empty() {
            out.push((String::new(), Record::new()));
        }
        let top = outer.as_ref().is_none_or(|(depth, _)| indent <= *depth);
        let key = if top { label.to_owned() } else { format!("{}/{label}", outer.as_ref().map_or("", |(_, o)| o)) };
        if top {
            outer = value.is_empty().then(|| (indent, label.to_owned()));
            match &first_label {
                None => first_label = Some(label.to_owned()),
                Some(first) if first == label => {
                    out.push((out.last().map_or(String::new(), |o| o.0.clone()), Record::new()))
                }
                Some(_) => {}
            }
        }
        if let Some((_, record)) = out.last_mut() {
            record.insert(key, value.to_owned());
        }
    }
    Ok(out)
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
    fn a_short_text_cannot_fill_the_memory_with_columns() {
        let bomb =
            |columns: usize| format!("{}\n{}\n{}", "aa ".repeat(columns), "-- ".repeat(columns), "x\n".repeat(6000));
        assert!(table(&bomb(4000)).unwrap_err().problem.contains("columns"));
        assert_eq!(table(&bomb(20)).unwrap().len(), 6000);
        assert!(table(&format!("{}\n--\nx\n", "a".repeat(9000))).is_err());
    }
}
