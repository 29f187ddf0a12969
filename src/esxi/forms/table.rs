//! Tables under a ruler of dashes.
//!
//! Cells are cut where the ruler's gaps are, because names contain blanks and cells can be empty. A row that does
//! not keep to the ruler (a source replaced a name, lost blanks in front, or counted bytes instead of characters:
//! 5.x and 6.0 pad by bytes) is laid over the columns by its own gaps.

use super::FormError;
use super::text::{Line, Piece, lines, pieces};

/// A table: headings as printed, and the cells of each row in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// A line of its own above the heading line.
    pub title: Option<String>,
    /// Headings; empty when only the ruler was printed.
    pub headings: Vec<String>,
    /// Rows, each with one cell per column.
    pub rows: Vec<Vec<String>>,
}

/// Headings whose texts may go on in a line of their own: descriptions that contain line breaks.
const PROSE: [&str; 6] = ["Description", "Message", "Impact", "Help", "Summary", "Detail"];

/// More columns, or more bytes of headings, than any table of ESXi has (the widest known have some 20 columns and 250
/// characters). Every row repeats the headings: without a limit a short text could fill the memory.
const MAX_COLUMNS: usize = 100;
const MAX_HEADINGS: usize = 4096;

/// Whether a line is a ruler: runs of dashes and nothing else.
pub fn is_ruler(line: &str) -> bool {
    line.contains("--") && line.chars().all(|c| c == '-' || c.is_whitespace())
}

/// Every table in a text; none when nothing was printed.
///
/// # Errors
/// A text without a ruler, a ruler without a heading line (unless `cut`: a filter may have taken it), and a line
/// that no column can hold.
pub fn tables(text: &str, cut: bool) -> Result<Vec<Table>, FormError> {
    let all = lines(text);
    let Some(first) = all.first() else { return Ok(Vec::new()) };
    let rulers: Vec<usize> = (0..all.len()).filter(|i| is_ruler(all[*i].raw)).collect();
    let Some(&at) = rulers.first() else {
        return Err(first.error("no ruler of dashes under a heading line"));
    };
    if at > 1
        && let Some(joined) = unwrap(&all, at)
    {
        return tables(&joined, cut);
    }
    if at == 0 && !cut {
        return Err(first.error("a ruler of dashes without a heading line"));
    }
    // A second ruler starts another table; its heading line, and a title parted by a blank line, are above it.
    let mut out = Vec::new();
    let mut from = 0;
    for (n, &ruler) in rulers.iter().enumerate() {
        let end = match rulers.get(n + 1) {
            None => all.len(),
            Some(&next) => {
                let titled = next >= 2 && next - 2 > ruler && is_title(&all[next - 2], &all[next]) && {
                    let l = &all[next - 2];
                    l.after_blank
                };
                next.saturating_sub(if titled { 2 } else { 1 }).max(ruler + 1)
            }
        };
        out.push(one(&all[from..end], ruler - from, cut)?);
        from = end;
    }
    Ok(out)
}

fn is_title(line: &Line<'_>, ruler: &Line<'_>) -> bool {
    pieces(line.raw).len() == 1 && pieces(ruler.raw).len() > 1
}

fn one(all: &[Line<'_>], at: usize, cut: bool) -> Result<Table, FormError> {
    let ruler = &all[at];
    let columns = columns(ruler.raw);
    if columns.len() > MAX_COLUMNS {
        return Err(ruler.error("more columns than any table has"));
    }
    let mut table = Table::default();
    match at {
        0 if cut => {}
        0 => return Err(ruler.error("a ruler of dashes without a heading line")),
        1 => {}
        2 if is_title(&all[0], ruler) && (all[1].after_blank || all[0].body.ends_with(':')) => {
            table.title = Some(all[0].body.to_owned());
        }
        _ => return Err(ruler.error("the ruler must be the second line")),
    }
    if at > 0 {
        let line = &all[at - 1];
        table.headings = cells(line.raw, &columns).ok_or_else(|| line.error("headings that do not fit the ruler"))?;
        if table.headings.iter().any(String::is_empty) {
            return Err(line.error("a column has no heading"));
        }
        if table.headings.iter().map(String::len).sum::<usize>() > MAX_HEADINGS {
            return Err(line.error("longer headings than any table has"));
        }
    }
    let prose = table.headings.last().is_some_and(|h| PROSE.contains(&h.as_str()));
    for line in &all[at + 1..] {
        let run = pieces(line.raw);
        let single = columns.len() > 1 && run.len() == 1;
        let (last, before) = (columns[columns.len() - 1], columns[columns.len().saturating_sub(2)]);
        let previous = table.rows.last_mut().and_then(|r| r.last_mut());
        if single && (run[0].start >= before.1 && run[0].start >= last.0.saturating_sub(1)) {
            // The last column goes on under itself.
            let Some(cell) = previous else { return Err(line.error("a cell without a row")) };
            join(cell, &run[0].text);
            continue;
        }
        match cells(line.raw, &columns) {
            Some(row) if !(single && run[0].end > columns[1].0) => table.rows.push(row),
            found => {
                if prose
                    && single
                    && !line.after_blank
                    && let Some(cell) = previous
                {
                    join(cell, &run[0].text);
                    continue;
                }
                match found.filter(|_| !single) {
                    Some(row) => table.rows.push(row),
                    None => return Err(line.error("a line that does not fit the columns of the table")),
                }
            }
        }
    }
    Ok(table)
}

fn join(cell: &mut String, more: &str) {
    if !cell.is_empty() {
        cell.push(' ');
    }
    cell.push_str(more);
}

/// First and last-but-one position of each run of dashes, in characters.
fn columns(ruler: &str) -> Vec<(usize, usize)> {
    let mut out: Vec<(usize, usize)> = Vec::new();
    for (i, c) in ruler.chars().enumerate() {
        match out.last_mut() {
            Some(last) if c == '-' && last.1 == i => last.1 = i + 1,
            _ if c == '-' => out.push((i, i + 1)),
            _ => {}
        }
    }
    out
}

/// Cuts a line into one cell per column; `None` when it does not fit at all.
pub fn cells(line: &str, columns: &[(usize, usize)]) -> Option<Vec<String>> {
    if columns.is_empty() {
        return None;
    }
    let chars: Vec<char> = line.chars().collect();
    if let Some(row) = ruled(&chars, columns, usize::MAX) {
        return Some(row);
    }
    if !line.is_ascii() {
        // Positions counted in bytes: every character is as wide as its bytes.
        let wide: Vec<char> =
            line.chars().flat_map(|c| std::iter::once(c).chain(std::iter::repeat_n('\0', c.len_utf8() - 1))).collect();
        if let Some(row) = ruled(&wide, columns, usize::MAX) {
            return Some(row);
        }
    }
    // A ruler that was made shorter in its place: two blanks before the next column are enough.
    if let Some(row) = ruled(&chars, columns, 2) {
        return Some(row);
    }
    laid(&pieces(line), columns)
}

/// The cells where every gap of the ruler is blank in the line too: all of it, or so many characters at its end.
fn ruled(chars: &[char], columns: &[(usize, usize)], gap: usize) -> Option<Vec<String>> {
    let blank = |i: usize| chars.get(i).is_none_or(|c| c.is_whitespace());
    if !(0..columns[0].0).all(blank)
        || !columns.windows(2).all(|w| (w[0].1.max(w[1].0.saturating_sub(gap))..w[1].0).all(blank))
    {
        return None;
    }
    let end = |n: usize| columns.get(n + 1).map_or(chars.len(), |next| next.0).min(chars.len());
    let cell = |n: usize, start: usize| {
        let text: String = chars[start.min(end(n))..end(n)].iter().filter(|c| **c != '\0').collect();
        text.trim().to_owned()
    };
    Some(columns.iter().enumerate().map(|(n, c)| cell(n, c.0)).collect())
}

/// Lays the pieces of a line over the columns in their order, so that they move as little as possible. A piece
/// that is wider than its column pushes those behind it.
pub fn laid(run: &[Piece], columns: &[(usize, usize)]) -> Option<Vec<String>> {
    let (n, m) = (columns.len(), run.len());
    if m == 0 {
        return None;
    }
    let mut row = vec![String::new(); n];
    if m == n {
        for (cell, piece) in row.iter_mut().zip(run) {
            *cell = piece.text.clone();
        }
        return Some(row);
    }
    if m > n {
        // A cell contains several blanks: each piece goes to the column that it lies in.
        let mut at = 0;
        for (i, piece) in run.iter().enumerate() {
            while at + 1 < n && piece.start + 1 >= columns[at + 1].0 && m - i >= 1 {
                at += 1;
            }
            join(&mut row[at], &piece.text);
        }
        return Some(row);
    }
    // best[j]: cost, shift and choice when the piece is laid on column j.
    type State = Option<(i64, i64, Vec<usize>)>;
    let mut best: Vec<State> = vec![None; n];
    for (i, piece) in run.iter().enumerate() {
        let mut next: Vec<State> = vec![None; n];
        for j in i..=(n - (m - i)) {
            let (left, right) = (piece.start as i64 - columns[j].0 as i64, piece.end as i64 - columns[j].1 as i64);
            let before: Vec<(i64, i64, Vec<usize>)> = match i {
                0 => vec![(0, 0, Vec::new())],
                _ => best[..j].iter().flatten().cloned().collect(),
            };
            for (cost, shift, chosen) in before {
                let moved = [(left, 0), (right, 0), (left, shift), (right, shift)]
                    .into_iter()
                    .map(|(by, from)| ((by - from).abs(), by))
                    .min()?;
                let total = cost + moved.0;
                if next[j].as_ref().is_none_or(|(c, _, _)| total < *c) {
                    let mut chosen = chosen;
                    chosen.push(j);
                    let wider = (piece.end - piece.start) as i64 - (columns[j].1 - columns[j].0) as i64;
                    next[j] = Some((total, if wider > 0 { left.max(0) + wider } else { moved.1 }, chosen));
                }
            }
        }
        best = next;
    }
    let (_, _, chosen) = best.into_iter().flatten().min_by_key(|(cost, _, _)| *cost)?;
    for (piece, j) in run.iter().zip(chosen) {
        row[j] = piece.text.clone();
    }
    Some(row)
}

/// Joins what a terminal broke at its width: heading line, ruler and rows each on several lines.
fn unwrap(all: &[Line<'_>], at: usize) -> Option<String> {
    let width = all[0].width();
    let rulers = all[at..].iter().take_while(|l| is_ruler(l.raw)).count();
    if rulers < at || !(40..=400).contains(&width) {
        return None;
    }
    let whole = |l: &Line<'_>| l.width() == width;
    if !all[..at - 1].iter().all(whole) || !all[at..at + rulers - 1].iter().all(whole) {
        return None;
    }
    let mut out = String::new();
    let mut parts = 0;
    for (i, line) in all.iter().enumerate() {
        out.push_str(line.raw);
        parts += 1;
        if !(whole(line) && parts < rulers && i + 1 < all.len()) {
            out.push('\n');
            parts = 0;
        }
    }
    Some(out)
}
