//! Tables with a heading line and no ruler. Cells are found by their shape first (an address, a number, a speed),
//! because headings do not always stand over their cells and can run together: `esxcfg-scsidevs -c` prints
//! `Multipath PluginDisplay Name` (recorded on 5.0). Where shapes do not decide, the headings' places do.

use std::collections::HashMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::text::{Line, numbered};
use crate::esxi::forms::FormError;

/// A column that a table can have.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The heading as printed.
    pub name: &'static str,
    /// What a cell looks like, as a pattern without groups that capture.
    pub shape: &'static str,
    /// Whether the cell can be empty.
    pub optional: bool,
}

/// A column whose cells are never empty.
pub const fn col(name: &'static str, shape: &'static str) -> Column {
    Column { name, shape, optional: false }
}

/// A column whose cells can be empty.
pub const fn opt(name: &'static str, shape: &'static str) -> Column {
    Column { name, shape, optional: true }
}

/// A heading found in a heading line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    name: String,
    /// The first character's place.
    at: usize,
    known: Option<usize>,
}

/// The tables of one command: every heading of every release, and the sequences known for rows without headings.
#[derive(Debug, Clone, Copy)]
pub struct Sheet {
    /// Every heading that any release prints, with the shape of its cells.
    pub columns: &'static [Column],
    /// The heading sequences known in full, for rows whose heading line a filter removed.
    pub sets: &'static [&'static [&'static str]],
}

impl Sheet {
    /// The rows under a heading line, as objects.
    ///
    /// Without a heading line: the one known sequence that all rows fit gives the keys; else, behind a filter, the
    /// keys are `_1`, `_2`, ...; else it is an error.
    pub fn read(&self, lines: &[Line], filtered: bool) -> Result<Vec<Value>, FormError> {
        let Some(first) = lines.first() else { return Ok(Vec::new()) };
        if let Some(headings) = self.headings(first.text) {
            let mut rows = Vec::new();
            let reader = Reader::new(self, headings);
            for line in &lines[1..] {
                if crate::esxi::forms::table::is_ruler(line.body()) {
                    return line.fail("a ruler of dashes, where the command prints none");
                }
                // a heading line again: the same table twice in one paste
                if line.body() == first.body() {
                    continue;
                }
                rows.push(reader.row(line)?);
            }
            return Ok(rows);
        }
        let mut fitting = self.sets.iter().filter_map(|set| {
            let reader = Reader::new(self, self.set(set));
            lines.iter().map(|l| reader.by_shape(l.body())).collect::<Option<Vec<Value>>>()
        });
        match (fitting.next(), fitting.next()) {
            (Some(rows), None) => Ok(rows),
            (Some(rows), Some(_)) if filtered => Ok(rows.into_iter().map(without_names).collect()),
            _ if filtered => Ok(lines.iter().map(|l| numbered(pieces(l.body()))).collect()),
            _ => first.fail("the heading line of this command's table is missing"),
        }
    }

    /// A reader of the rows under a heading line; `None` when it is none.
    pub fn reader(&self, heading: &str) -> Option<Reader> {
        Some(Reader::new(self, self.headings(heading)?))
    }

    /// Whether a line is a heading line of this sheet.
    pub fn is_heading(&self, line: &str) -> bool {
        self.headings(line).is_some()
    }

    fn set(&self, names: &[&str]) -> Vec<Found> {
        let known = |n: &str| self.columns.iter().position(|c| c.name == n);
        names.iter().map(|n| Found { name: (*n).to_owned(), at: 0, known: known(n) }).collect()
    }

    /// The headings in a line, when it is a heading line: the first and at least two (or all) known, not fewer known
    /// ones than others, and a third of those that are always filled: `Name` and `MTU` stand over many a table.
    fn headings(&self, line: &str) -> Option<Vec<Found>> {
        let chars: Vec<char> = line.chars().collect();
        let mut found: Vec<Found> = Vec::new();
        let mut at = 0;
        while at < chars.len() {
            if chars[at].is_whitespace() {
                at += 1;
                continue;
            }
            if let Some((known, len)) = self.known_at(&chars, at) {
                let name = chars[at..at + len].iter().collect::<String>();
                found.push(Found { name, at, known: Some(known) });
                at += len;
                continue;
            }
            let start = at;
            while at < chars.len()
                && !(chars[at].is_whitespace() && chars.get(at + 1).is_none_or(|c| c.is_whitespace()))
                && !(at > start && chars[at - 1].is_whitespace() && self.known_at(&chars, at).is_some())
            {
                at += 1;
            }
            let name = chars[start..at].iter().collect::<String>().trim().to_owned();
            found.push(Found { name, at: start, known: None });
        }
        let known = found.iter().filter(|f| f.known.is_some()).count();
        // A sheet can hold the headings of several tables (`vdf`).
        let always = self.columns.iter().filter(|c| !c.optional).count();
        let first = found.first().is_some_and(|f| f.known.is_some());
        (first && known >= 2 && known * 2 >= found.len() && known * 3 >= always
            || known == 1 && found.len() == 1 && self.columns.len() == 1)
            .then_some(found)
    }

    /// The longest known heading at a place, with its length. It ends where a blank, the line's end or another
    /// heading's capital letter comes.
    fn known_at(&self, chars: &[char], at: usize) -> Option<(usize, usize)> {
        // a blank of a heading printed as an underscore is the same heading
        let same = |(have, want): (&char, char)| *have == want || *have == '_' && want == ' ';
        let fits = |name: &str| {
            let end = at + name.chars().count();
            chars.get(at..end).is_some_and(|have| have.iter().zip(name.chars()).all(same))
                && chars.get(end).is_none_or(|c| c.is_whitespace() || c.is_uppercase())
        };
        let fitting = self.columns.iter().enumerate().filter(|(_, c)| fits(c.name));
        fitting.map(|(n, c)| (n, c.name.chars().count())).max_by_key(|(_, len)| *len)
    }
}

/// Readers by their heading lines: a text with many small tables has few different ones.
#[derive(Default)]
pub struct Readers(HashMap<String, Reader>);

impl Readers {
    /// The reader for a heading line of a sheet.
    pub fn of(&mut self, sheet: &Sheet, heading: &str) -> Option<&Reader> {
        if !self.0.contains_key(heading) {
            self.0.insert(heading.to_owned(), sheet.reader(heading)?);
        }
        self.0.get(heading)
    }
}

/// A row's keys `_1`, `_2`, ... instead of its headings; empty cells stay.
fn without_names(row: Value) -> Value {
    match row {
        Value::Object(map) => {
            Value::Object(map.into_iter().enumerate().map(|(n, (_, v))| (format!("_{}", n + 1), v)).collect())
        }
        other => other,
    }
}

/// Cells parted by two blanks or more; by any white space where there are no two blanks.
pub fn pieces(line: &str) -> Vec<&str> {
    let apart: Vec<&str> = line.split("  ").map(str::trim).filter(|p| !p.is_empty()).collect();
    if apart.len() > 1 { apart } else { line.split_whitespace().collect() }
}

/// Reads rows under one heading line.
pub struct Reader {
    headings: Vec<Found>,
    pattern: Option<Regex>,
    /// What a cell of each heading looks like; `None` for a heading that is not known.
    cells: Vec<Option<(Regex, bool)>>,
}

impl Reader {
    fn new(sheet: &Sheet, headings: Vec<Found>) -> Self {
        let mut pattern = String::from("^");
        for (n, heading) in headings.iter().enumerate() {
            let column = heading.known.and_then(|k| sheet.columns.get(k));
            let (shape, optional) = column.map_or((r"\S+(?: \S+)*", true), |c| (c.shape, c.optional));
            let gap = if n == 0 { "" } else { r"\s+" };
            let end = if optional { "?" } else { "" };
            pattern.push_str(&format!("(?:{gap}({shape})){end}"));
        }
        let cell = |h: &Found| {
            let column = sheet.columns.get(h.known?)?;
            Some((Regex::new(&format!("^(?:{})$", column.shape)).ok()?, column.optional))
        };
        Self { cells: headings.iter().map(cell).collect(), headings, pattern: Regex::new(&format!("{pattern}$")).ok() }
    }

    /// By place where every cell then looks as it should; else by shape; else by place or by number of cells.
    ///
    /// # Errors
    /// A row that fits in none of these ways.
    pub fn row(&self, line: &Line) -> Result<Value, FormError> {
        let placed = self.by_place(line.text);
        if let Some(row) = placed.as_ref().filter(|row| self.looks_right(row)) {
            return Ok(row.clone());
        }
        match self.by_shape(line.body()).or(placed).or_else(|| self.by_count(line.body())) {
            Some(row) => Ok(row),
            None => line.fail("a row that does not fit the headings"),
        }
    }

    /// Whether each cell of a known heading has its shape, or is empty where it may be.
    fn looks_right(&self, row: &Value) -> bool {
        let Value::Object(map) = row else { return false };
        map.len() == self.headings.len()
            && map.values().zip(&self.cells).all(|(value, cell)| match (value.as_str(), cell) {
                (Some(""), Some((_, optional))) => *optional,
                (Some(text), Some((shape, _))) => shape.is_match(text),
                (_, None) => true,
                (None, _) => false,
            })
    }

    /// As many cells as headings, where blanks part them without doubt.
    fn by_count(&self, body: &str) -> Option<Value> {
        let apart: Vec<&str> = body.split("  ").map(str::trim).filter(|p| !p.is_empty()).collect();
        let words: Vec<&str> = body.split_whitespace().collect();
        let cells = [apart, words].into_iter().find(|c| c.len() == self.headings.len())?;
        let mut row = Map::new();
        for (heading, cell) in self.headings.iter().zip(cells) {
            super::text::put(&mut row, &heading.name, cell.into());
        }
        Some(Value::Object(row))
    }

    fn by_shape(&self, body: &str) -> Option<Value> {
        let found = self.pattern.as_ref()?.captures(body)?;
        let mut row = Map::new();
        for (n, heading) in self.headings.iter().enumerate() {
            let cell = found.get(n + 1).map_or("", |m| m.as_str().trim());
            super::text::put(&mut row, &heading.name, cell.into());
        }
        Some(Value::Object(row))
    }

    /// Cells cut where the headings begin, when every cut falls between words.
    fn by_place(&self, line: &str) -> Option<Value> {
        let chars: Vec<char> = line.chars().collect();
        let mut row = Map::new();
        for (n, heading) in self.headings.iter().enumerate() {
            let start = heading.at.min(chars.len());
            let end = self.headings.get(n + 1).map_or(chars.len(), |next| next.at).min(chars.len());
            if n > 0 && start < chars.len() && !chars.get(start.wrapping_sub(1)).is_some_and(|c| c.is_whitespace()) {
                return None;
            }
            let from = if n == 0 { 0 } else { start };
            let cell = chars.get(from..end)?.iter().collect::<String>();
            super::text::put(&mut row, &heading.name, cell.trim().into());
        }
        Some(Value::Object(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::parse::Invocation;

    const SHEET: Sheet = Sheet {
        columns: &[col("Name", r"\S.*?"), col("Size", r"\d+MB"), opt("Plug In", r"[A-Z]+"), opt("Note", r"\S.*")],
        sets: &[&["Name", "Size", "Plug In", "Note"]],
    };

    fn rows(text: &str, filtered: bool) -> Result<Vec<Value>, FormError> {
        SHEET.read(&super::super::text::lines(&Invocation::default(), text), filtered)
    }

    #[test]
    fn headings_can_run_together_and_cells_stand_elsewhere() {
        let got = rows("Name      Size Plug InNote\na b 5MB NMP x y\nc   7MB\n", false).unwrap();
        assert_eq!(got[0], serde_json::json!({"Name": "a b", "Size": "5MB", "Plug In": "NMP", "Note": "x y"}));
        assert_eq!(got[1]["Note"], "");
    }

    #[test]
    fn rows_without_headings() {
        assert_eq!(rows("a 5MB NMP x\n", true).unwrap()[0]["Size"], "5MB");
        assert_eq!(rows("a  five\n", true).unwrap()[0]["_2"], "five");
        assert_eq!(rows("a  five\n", false).unwrap_err().line, 1);
    }

    #[test]
    fn a_new_heading_is_read_by_its_place() {
        let got = rows("Name  Size  New One  Note\nab    5MB   x y      z\n", false).unwrap();
        assert_eq!(got[0]["New One"], "x y");
    }
}
