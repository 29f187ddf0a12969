//! Tables with a ruler that does not show where cells begin: one unbroken line of dashes under the headings
//! (`nsxdp-cli`), or dashes around the headings themselves (`esxupdate query`).

use serde_json::{Map, Value};

use super::text::{Line, put};

/// A heading and the column where it begins.
struct Heading {
    name: String,
    at: usize,
}

/// Reads the rows when the text is such a table; `None` when it is not. Lines above the headings that are no row
/// end with a colon or stand alone: they are the heading of the table and left to the caller by `skip`.
pub fn read(lines: &[Line]) -> Option<Vec<Value>> {
    let [first, rest @ ..] = lines else { return None };
    let (headings, rows) = match (dashed(first.text), rest) {
        (Some(headings), rows) => (headings, rows),
        (None, [ruler, rows @ ..]) if is_ruler(ruler.body()) => (headings(first.text), rows),
        _ => return None,
    };
    // words with one blank between them can be a sentence over a line of dashes
    let gaps = first.body().split("  ").filter(|p| !p.trim().is_empty()).count();
    let even = || rows.iter().all(|l| l.body().split_whitespace().count() == headings.len() || is_ruler(l.body()));
    let sentence = headings.iter().any(|h| h.name.ends_with([':', ',', '.']));
    if headings.len() < 2 || sentence || dashed(first.text).is_none() && gaps * 3 < headings.len() && !even() {
        return None;
    }
    let mut out = Vec::new();
    for line in rows.iter().filter(|l| !is_ruler(l.body()) && l.body() != first.body()) {
        out.push(row(line.text, &headings)?);
    }
    Some(out)
}

/// Whether a line is nothing but dashes or equals signs, in one or several runs.
pub fn is_ruler(body: &str) -> bool {
    body.len() > 3 && body.chars().all(|c| matches!(c, '-' | '=' | ' ' | '+' | '|')) && body.contains(['-', '='])
}

/// `---Name--- ----Value----`: every run of text between dashes.
fn dashed(line: &str) -> Option<Vec<Heading>> {
    let mut out = Vec::new();
    let mut at = 0;
    // a cell begins and ends with dashes; headings themselves hold single blanks
    for piece in line.split_inclusive("- ") {
        let body = piece.trim();
        let name = body.trim_matches('-').trim();
        if name.is_empty() || !body.starts_with("--") || !body.ends_with("--") {
            return None;
        }
        out.push(Heading { name: name.to_owned(), at });
        at += piece.chars().count();
    }
    (!out.is_empty()).then_some(out)
}

/// Headings parted by blanks. A word in brackets belongs to the one before it (`Start (sector)`).
fn headings(line: &str) -> Vec<Heading> {
    let chars: Vec<char> = line.chars().collect();
    let mut out: Vec<Heading> = Vec::new();
    let mut at = 0;
    let mut gap = 2;
    while at < chars.len() {
        if chars[at].is_whitespace() {
            (at, gap) = (at + 1, gap + 1);
            continue;
        }
        let start = at;
        while at < chars.len() && !chars[at].is_whitespace() {
            at += 1;
        }
        let word: String = chars[start..at].iter().collect();
        match out.last_mut() {
            Some(last) if gap == 1 && word.contains('(') => {
                last.name.push(' ');
                last.name.push_str(&word);
            }
            _ => out.push(Heading { name: word, at: start }),
        }
        gap = 0;
    }
    joined(out, line)
}

/// Words with one blank between them are one heading where wider gaps part the others everywhere.
fn joined(words: Vec<Heading>, line: &str) -> Vec<Heading> {
    let apart = line.trim().split("  ").filter(|p| !p.trim().is_empty()).count();
    if apart < 3 || words.len() - apart > apart / 2 {
        return words;
    }
    let mut out: Vec<Heading> = Vec::new();
    for word in words {
        match out.last_mut() {
            Some(last) if last.at + last.name.chars().count() + 1 == word.at => {
                last.name.push(' ');
                last.name.push_str(&word.name);
            }
            _ => out.push(word),
        }
    }
    out
}

/// By place where every cut falls between words; else one word a cell, the rest in the last one.
fn row(line: &str, headings: &[Heading]) -> Option<Value> {
    let cells = by_place(line, headings).or_else(|| by_words(line, headings.len()))?;
    let mut map = Map::new();
    for (heading, cell) in headings.iter().zip(cells) {
        put(&mut map, &heading.name, cell.into());
    }
    Some(Value::Object(map))
}

fn by_place(line: &str, headings: &[Heading]) -> Option<Vec<String>> {
    let chars: Vec<char> = line.chars().collect();
    let mut cells = Vec::new();
    for (n, heading) in headings.iter().enumerate() {
        let from = if n == 0 { 0 } else { heading.at.min(chars.len()) };
        let to = headings.get(n + 1).map_or(chars.len(), |h| h.at).min(chars.len());
        if n > 0 && from < chars.len() && !chars[from - 1].is_whitespace() {
            return None;
        }
        cells.push(chars.get(from..to)?.iter().collect::<String>().trim().to_owned());
    }
    // the row stands under the headings only when its first cells do
    let full = cells.iter().filter(|c| !c.is_empty()).count();
    (full * 2 > headings.len()
        && !cells.first()?.is_empty()
        && !cells[..headings.len() - 1].iter().any(|c| c.contains("  ")))
    .then_some(cells)
}

fn by_words(line: &str, count: usize) -> Option<Vec<String>> {
    let apart: Vec<&str> = line.split("  ").map(str::trim).filter(|p| !p.is_empty()).collect();
    if apart.len() == count {
        return Some(apart.into_iter().map(str::to_owned).collect());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.len() + 1 < count || words.is_empty() {
        return None;
    }
    let mut cells: Vec<String> = words.iter().take(count - 1).map(|w| (*w).to_owned()).collect();
    cells.push(words.get(count - 1..).unwrap_or_default().join(" "));
    Some(cells)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::parse::{Invocation, tools::text};

    fn rows(text: &str) -> Option<Vec<Value>> {
        read(&text::lines(&Invocation::default(), text))
    }

    #[test]
    fn unbroken_rulers_and_headings_in_dashes() {
        assert_eq!(
            rows("portID   PID TxQ addr   Place here(a|b)\n-----------------\n77777777777 0   8   aa:bb  0 1 |2\n5   1   1   aa:cc  3 |4\n")
                .unwrap(),
            vec![
                json!({"portID": "77777777777", "PID": "0", "TxQ": "8", "addr": "aa:bb", "Place here(a|b)": "0 1 |2"}),
                json!({"portID": "5", "PID": "1", "TxQ": "1", "addr": "aa:cc", "Place here(a|b)": "3 |4"})
            ]
        );
        assert_eq!(
            rows("---Name of it-- ----When---- ---What---\nESX-1           2011-01-01   one: two  three\n").unwrap(),
            vec![json!({"Name of it": "ESX-1", "When": "2011-01-01", "What": "one: two  three"})]
        );
        assert_eq!(rows("a b\nc d\n"), None);
        assert_eq!(rows("SOME STATS: of mine\n ---------\n  Start Group ID   : 0\n"), None);
        assert_eq!(rows("Stats of the host\n---------\n  Start Group ID   : 0\n"), None);
        assert_eq!(rows("A B\n-----\n1 2\n").unwrap(), vec![json!({"A": "1", "B": "2"})]);
    }
}
