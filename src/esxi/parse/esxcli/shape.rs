//! From forms to JSON.

use serde_json::{Map, Value};

use crate::esxi::forms::FormError;
use crate::esxi::forms::blocks::{Block, Entry};
use crate::esxi::forms::spread::{self, Sheet};
use crate::esxi::forms::table::{Table, is_ruler, known_tables, laid};
use crate::esxi::forms::text::{Piece, expanded, label, lines, pieces};

/// The error that a text is not what was expected, with its first line.
pub fn refuse<T>(text: &str, problem: &'static str) -> Result<T, FormError> {
    match lines(text).first() {
        Some(line) => Err(line.error(problem)),
        None => Err(FormError { line: 1, problem, text: String::new() }),
    }
}

/// A bare value: a string, or an array of strings for several lines.
pub fn bare(text: &str) -> Value {
    let all = lines(text);
    match all.as_slice() {
        [one] => one.body.into(),
        many => many.iter().map(|l| Value::from(l.body)).collect(),
    }
}

/// A table, and its headings. Several tables with the same headings are one; others become an array of objects with
/// `_heading` and `rows`.
pub fn table_json(text: &str, cut: bool, known: &[&[&str]]) -> Result<(Value, Vec<String>), FormError> {
    let mut all = known_tables(text, cut, known)?;
    let headings = all.first().map(|t| t.headings.clone()).unwrap_or_default();
    if all.iter().all(|t| t.headings == headings && t.title.is_none()) {
        let rows = all.into_iter().flat_map(|t| t.rows).collect();
        return Ok((rows_of(Table { title: None, headings: headings.clone(), rows }, known), headings));
    }
    if let [one] = all.as_mut_slice() {
        let table = std::mem::take(one);
        return Ok((rows_of(table, known), headings));
    }
    let parts = all.into_iter().map(|t| {
        let mut map = Map::new();
        map.insert("_heading".into(), t.title.clone().unwrap_or_default().into());
        map.insert("rows".into(), rows_of(t, known));
        Value::Object(map)
    });
    Ok((parts.collect(), headings))
}

fn rows_of(table: Table, known: &[&[&str]]) -> Value {
    let width = table.rows.first().map_or(0, Vec::len);
    let headings = match () {
        () if !table.headings.is_empty() => table.headings,
        () => fitting(width, known).unwrap_or_else(|| numbered(width)),
    };
    table.rows.into_iter().map(|row| object(&headings, row)).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("_{n}")).collect()
}

/// The one known heading line with as many headings as there are cells.
fn fitting(count: usize, known: &[&[&str]]) -> Option<Vec<String>> {
    let mut fit = known.iter().filter(|k| k.len() == count);
    let found = fit.next().filter(|_| fit.next().is_none())?;
    Some(found.iter().map(|h| (*h).to_owned()).collect())
}

fn object(headings: &[String], row: Vec<String>) -> Value {
    let mut map = Map::new();
    for (n, cell) in row.into_iter().enumerate() {
        let mut key = headings.get(n).cloned().unwrap_or_else(|| format!("_{}", n + 1));
        while map.contains_key(&key) {
            key.push_str(&format!(" ({})", n + 1));
        }
        map.insert(key, cell.into());
    }
    Value::Object(map)
}

/// Headings, and where each begins and ends.
type Placed = (Vec<String>, Vec<(usize, usize)>);

/// The heading line that a first line is, when it has all the headings that the command prints, and where each stands.
/// Runs of blanks in it can be one blank where the whole line is known.
fn heading_line(text: &str, must: &[&str], known: &[&[&str]]) -> Option<Placed> {
    let line = lines(text).into_iter().next()?;
    if let Some(headings) = spread::spelled(line.raw, known).filter(|h| h.len() > 1) {
        let places = spread::placed(line.raw, &headings)?;
        return Some((headings, places));
    }
    let first = pieces(line.raw);
    let heads = |m: &&str| first.iter().any(|p| p.text == *m);
    (first.len() > 1 && !must.is_empty() && first[0].text == must[0] && must.iter().all(heads))
        .then(|| first.iter().map(|p| (p.text.clone(), (p.start, p.end))).unzip())
}

/// Whether rows without a ruler begin with the heading line of the command.
pub fn has_headings(text: &str, must: &[&str], known: &[&[&str]]) -> bool {
    heading_line(text, must, known).is_some()
}

/// Rows under a heading line whose ruler is missing.
fn under(text: &str, headings: &[String], places: &[(usize, usize)]) -> Option<Value> {
    let all: Vec<_> = lines(text).into_iter().skip(1).filter(|l| !is_ruler(l.raw)).collect();
    let n = headings.len();
    let mut rows: Vec<Option<Vec<String>>> = Vec::new();
    for line in &all {
        let run = pieces(&expanded(line.raw));
        let joined = |row: &Vec<String>| {
            run.len() < n
                && run.iter().any(|p| {
                    let at = row.iter().position(|c| *c == p.text).unwrap_or(0);
                    p.text.contains(' ') && places.get(at + 1).is_some_and(|next| p.end > next.0)
                })
        };
        rows.push(laid(&run, places).filter(|row| !joined(row)));
    }
    let mut sheet = Sheet::new(headings, None, false);
    rows.iter().flatten().for_each(|row| sheet.learn(row));
    let open: Vec<_> = all.iter().zip(&rows).filter(|(_, r)| r.is_none()).map(|(l, _)| spread::words(l.raw)).collect();
    let mut found = sheet.rows(&open).into_iter();
    let rows = rows.into_iter().map(|row| row.or_else(|| found.next().flatten()));
    rows.map(|row| row.map(|row| object(headings, row))).collect::<Option<Vec<_>>>().map(Value::Array)
}

/// Most rows without a heading line for which known ones are tried.
const MOST_ROWS: usize = 2000;

/// Rows without heading line and ruler, under the one known heading line whose kinds of values all cells have.
pub fn unheaded(text: &str, known: &[&[&str]]) -> Option<Value> {
    let all: Vec<_> = lines(text).iter().filter(|l| !is_ruler(l.raw)).map(|l| spread::words(l.raw)).collect();
    if all.len() > MOST_ROWS {
        return None;
    }
    let mut fit: Option<(i32, Vec<Value>)> = None;
    let mut alike = false;
    for headings in known {
        let headings: Vec<String> = headings.iter().map(|h| (*h).to_owned()).collect();
        let mut sheet = Sheet::new(&headings, None, false);
        let Some(rows) = sheet.rows(&all).into_iter().collect::<Option<Vec<_>>>() else { continue };
        // Every row has most of its cells, and of at least two of them it is known that they belong there.
        let kinds: Option<Vec<i32>> = rows
            .iter()
            .map(|row| {
                let empty = row.iter().filter(|c| c.is_empty()).count();
                Some(sheet.kinds(row)).filter(|k| *k >= 2 && empty * 3 <= row.len()).map(|k| k * 2 - empty as i32)
            })
            .collect();
        let Some(score) = kinds.map(|k| k.iter().sum::<i32>()) else { continue };
        alike = fit.as_ref().is_some_and(|(best, _)| *best == score);
        if fit.as_ref().is_none_or(|(best, _)| score > *best) {
            fit = Some((score, rows.into_iter().map(|row| object(&headings, row)).collect()));
        }
    }
    fit.filter(|_| !alike).map(|(_, rows)| Value::Array(rows))
}

/// Rows without a ruler, as a filter leaves them: two or more blanks part the cells. A first line that has all the
/// headings that the command prints is the heading line; otherwise the known heading line with as many headings.
///
/// # Errors
/// Rows under a heading line whose cells cannot be told apart.
pub fn rows_json(text: &str, must: &[&str], known: &[&[&str]], words: bool) -> Result<Value, FormError> {
    if let Some((headings, places)) = heading_line(text, must, known) {
        return match under(text, &headings, &places) {
            Some(rows) => Ok(rows),
            None => refuse(text, "headings over cells that cannot be told apart"),
        };
    }
    if let Some(rows) = told(text) {
        return Ok(rows);
    }
    if words && let Some(found) = spaced(text) {
        return Ok(found);
    }
    let all: Vec<Vec<Piece>> =
        lines(text).iter().filter(|l| !is_ruler(l.raw)).map(|l| pieces(l.raw)).filter(|p| !p.is_empty()).collect();
    if !all.iter().all(|run| fitting(run.len(), known).is_some())
        && let Some(found) = unheaded(text, known)
    {
        return Ok(found);
    }
    let row = |run: &Vec<Piece>| {
        let headings = fitting(run.len(), known).unwrap_or_else(|| numbered(run.len()));
        object(&headings, run.iter().map(|p| p.text.clone()).collect())
    };
    Ok(all.iter().map(row).collect())
}

/// Rows under a first line that is no known heading line, but two of its headings say what their cells hold, and every
/// row holds it.
fn told(text: &str) -> Option<Value> {
    let line = lines(text).into_iter().next()?;
    let first = pieces(line.raw);
    let (headings, places): Placed = first.iter().map(|p| (p.text.clone(), (p.start, p.end))).unzip();
    let sheet = Sheet::new(&headings, None, false);
    let rows = under(text, &headings, &places)?;
    let cells = |row: &Value| -> Vec<String> {
        row.as_object().map_or_else(Vec::new, |m| m.values().map(|v| v.as_str().unwrap_or("").to_owned()).collect())
    };
    let all = rows.as_array().filter(|r| !r.is_empty())?;
    (headings.len() > 2 && all.iter().all(|row| sheet.kinds(&cells(row)) >= 2)).then_some(rows)
}

/// Cells that a filter parted by single blanks (`awk '{print $1, $2}'`), where the ruler line counts them and every
/// line has as many words.
fn spaced(text: &str) -> Option<Value> {
    let all = lines(text);
    let at = all.iter().position(|l| is_ruler(l.raw)).filter(|at| *at == 1)?;
    let words = |l: &str| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let headings = words(all[at - 1].body);
    let count = words(all[at].body).len();
    if headings.len() != count || !all[at + 1..].iter().all(|l| words(l.body).len() == count) {
        return None;
    }
    Some(all[at + 1..].iter().map(|l| object(&headings, words(l.body))).collect())
}

/// Blocks: an array, or one object where only one was printed and the command does not list. With `labelled`, a
/// heading line that is itself `Label: value` gives that label too.
pub fn blocks_json(blocks: Vec<Block>, many: bool, labelled: bool) -> Value {
    let mut all: Vec<Value> = blocks.into_iter().map(|b| block_json(b, labelled)).collect();
    match all.len() {
        0 if !many => Value::Object(Map::new()),
        1 if !many => all.remove(0),
        _ => Value::Array(all),
    }
}

fn block_json(block: Block, labelled: bool) -> Value {
    let mut map = Map::new();
    if let Some(heading) = block.heading {
        if labelled && let Some((name, value)) = label(&heading).filter(|(_, v)| !v.is_empty()) {
            map.insert("_heading".into(), heading.as_str().into());
            map.insert(name.to_owned(), value.into());
        } else {
            map.insert("_heading".into(), heading.into());
        }
    }
    for (name, entry) in block.entries {
        let value = match entry {
            Entry::Text(text) => text.into(),
            Entry::List(items) => items.into_iter().map(Value::from).collect(),
            Entry::Blocks(nested) => blocks_json(nested, false, false),
        };
        map.insert(name, value);
    }
    Value::Object(map)
}

/// The JSON in a text (debug lines may stand before it), every value as its printed text. Python's own literals
/// are read too.
pub fn json(text: &str) -> Result<Value, FormError> {
    let start = lines(text).into_iter().find(|l| l.body.starts_with(['[', '{', '"']));
    let Some(start) = start else { return refuse(text, "no JSON") };
    let body: Vec<&str> = text.lines().skip(start.number - 1).collect();
    let body = body.join("\n");
    let parsed = serde_json::from_str(&body).or_else(|_| serde_json::from_str(&from_python(&body)));
    parsed.map(texts).or_else(|_| refuse(text, "not well-formed JSON"))
}

/// `True`, `False` and `None` outside of quotes in JSON's spelling.
fn from_python(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut quoted = false;
    while let Some(c) = rest.chars().next() {
        if c == '\\' && quoted {
            let two: String = rest.chars().take(2).collect();
            out.push_str(&two);
            rest = &rest[two.len()..];
            continue;
        }
        quoted ^= c == '"';
        let word =
            [("True", "true"), ("False", "false"), ("None", "\"\"")].into_iter().find(|(p, _)| rest.starts_with(p));
        match word.filter(|_| !quoted) {
            Some((python, json)) => {
                out.push_str(json);
                rest = &rest[python.len()..];
            }
            None => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    out
}

fn texts(value: Value) -> Value {
    match value {
        Value::Null => "".into(),
        Value::Bool(b) => b.to_string().into(),
        Value::Number(n) => n.to_string().into(),
        Value::String(s) => s.trim().into(),
        Value::Array(items) => items.into_iter().map(texts).collect(),
        Value::Object(map) => map.into_iter().map(|(k, v)| (k, texts(v))).collect(),
    }
}
