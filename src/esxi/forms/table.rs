//! Tables under a ruler of dashes.
//!
//! Cells are cut where the ruler's gaps are, because names contain blanks and cells can be empty. A row that does
//! not keep to the ruler (a source replaced a name, lost blanks in front, or counted bytes instead of characters:
//! 5.x and 6.0 pad by bytes) is laid over the columns by its own gaps.

use super::FormError;
use super::spread::{self, PROSE, Sheet};
use super::text::{Line, Piece, expanded, lines, pieces};

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
    known_tables(text, cut, &[])
}

/// The table in a text that came straight from a host; none when nothing was printed. Nothing that copies do to a table
/// is made good: a row stands under its ruler, or has a cell for every column.
///
/// # Errors
/// A text without a ruler as its second line, and a line that does not keep to it.
pub fn exact(text: &str) -> Result<Option<Table>, FormError> {
    let all = lines(text);
    let Some(first) = all.first() else { return Ok(None) };
    let Some(at) = all.iter().position(|l| is_ruler(l.raw)) else {
        return Err(first.error("no ruler of dashes under a heading line"));
    };
    if at != 1 {
        return Err(all[at].error("the ruler must be the second line"));
    }
    let columns = columns(all[1].raw);
    if columns.is_empty() || columns.len() > MAX_COLUMNS {
        return Err(first.error("more columns than any table has"));
    }
    let row = |line: &Line<'_>| {
        under(line.raw, &columns).or_else(|| {
            let own = pieces(line.raw);
            (own.len() == columns.len()).then(|| own.into_iter().map(|p| p.text).collect())
        })
    };
    let headings = row(first).ok_or_else(|| first.error("headings that do not fit the ruler"))?;
    if headings.iter().any(String::is_empty) {
        return Err(first.error("a column has no heading"));
    }
    if headings.iter().map(String::len).sum::<usize>() > MAX_HEADINGS {
        return Err(first.error("longer headings than any table has"));
    }
    let rows = all[2..]
        .iter()
        .map(|line| row(line).ok_or_else(|| line.error("a line that does not fit the columns of the table")));
    Ok(Some(Table { title: None, headings, rows: rows.collect::<Result<_, _>>()? }))
}

/// [`tables`], where the heading lines are known that the command prints on some release: they help to read copies
/// whose runs of blanks became one.
///
/// # Errors
/// As [`tables`].
pub fn known_tables(text: &str, cut: bool, known: &[&[&str]]) -> Result<Vec<Table>, FormError> {
    let all = lines(text);
    let Some(first) = all.first() else { return Ok(Vec::new()) };
    let rulers: Vec<usize> = (0..all.len()).filter(|i| is_ruler(all[*i].raw)).collect();
    let Some(&at) = rulers.first() else {
        return Err(first.error("no ruler of dashes under a heading line"));
    };
    if at > 1
        && let Some(joined) = unwrap(&all, at)
    {
        return known_tables(&joined, cut, known);
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
        out.push(one(&all[from..end], ruler - from, cut, known)?);
        from = end;
    }
    Ok(out)
}

fn is_title(line: &Line<'_>, ruler: &Line<'_>) -> bool {
    pieces(line.raw).len() == 1 && pieces(ruler.raw).len() > 1
}

fn one(all: &[Line<'_>], at: usize, cut: bool, known: &[&[&str]]) -> Result<Table, FormError> {
    let ruler = &all[at];
    let mut columns = columns(&expanded(ruler.raw));
    if columns.len() > MAX_COLUMNS {
        return Err(ruler.error("more columns than any table has"));
    }
    let mut table = Table::default();
    let mut top = 0;
    match at {
        0 if cut => {}
        0 => return Err(ruler.error("a ruler of dashes without a heading line")),
        2 if is_title(&all[0], ruler) && (all[1].after_blank || all[0].body.ends_with(':')) => {
            table.title = Some(all[0].body.to_owned());
            top = 1;
        }
        1..=3 => {}
        _ => return Err(ruler.error("the ruler must be the second line")),
    }
    let rows = &all[at + 1..];
    let flat = flat(&columns, &all[top..at], rows);
    let mut trusted = true;
    if at > 0 {
        let line = &all[at - 1];
        let own = pieces(line.raw);
        if at - top > 1 {
            table.headings =
                stacked(&all[top..at], &columns).ok_or_else(|| ruler.error("the ruler must be the second line"))?;
        } else if columns.len() == 1
            && own.len() == 1
            && let Some(headings) = spread::spelled(line.raw, known).filter(|h| h.len() > 1)
        {
            // One unbroken line of dashes under headings whose blanks became one.
            let mut sheet = Sheet::new(&headings, None, headings.last().is_some_and(|h| PROSE.contains(&h.as_str())));
            let words: Vec<_> = rows.iter().map(|l| spread::words(l.raw)).collect();
            for (row, line) in sheet.rows(&words).into_iter().zip(rows) {
                table.rows.push(row.ok_or_else(|| line.error("cells that cannot be told apart: blanks are missing"))?);
            }
            table.headings = headings;
            return Ok(table);
        } else if own.len() > columns.len() && (columns.len() == 1 || !fits(line.raw, &columns)) {
            // One unbroken line of dashes (localcli), or fewer runs than headings: the headings say the columns.
            columns = own.iter().map(|p| (p.start, p.end)).collect();
            table.headings = own.into_iter().map(|p| p.text).collect();
            trusted = false;
        } else if flat {
            let widths: Vec<usize> = columns.iter().map(|c| c.1 - c.0).collect();
            let words: Vec<_> = rows.iter().map(|l| spread::words(l.raw)).collect();
            table.headings = spread::headings(line.body, &widths, &words, known)
                .ok_or_else(|| line.error("headings whose columns cannot be told: blanks are missing"))?;
        } else {
            table.headings = cells(line.raw, &columns)
                .filter(|h| h.iter().all(|h| !h.is_empty()))
                .or_else(|| spread::spelled(line.raw, known).filter(|h| h.len() == columns.len()))
                .or_else(|| cells(line.raw, &columns))
                .ok_or_else(|| line.error("headings that do not fit the ruler"))?;
        }
        if table.headings.iter().any(String::is_empty) {
            return Err(line.error("a column has no heading"));
        }
        if table.headings.iter().map(String::len).sum::<usize>() > MAX_HEADINGS {
            return Err(line.error("longer headings than any table has"));
        }
    }
    let prose = table.headings.last().is_some_and(|h| PROSE.contains(&h.as_str()));
    if flat && at > 0 {
        let widths = columns.iter().map(|c| c.1 - c.0).collect();
        let mut sheet = Sheet::new(&table.headings, Some(widths), prose);
        let words: Vec<_> = rows.iter().map(|l| spread::words(l.raw)).collect();
        for (row, line) in sheet.rows(&words).into_iter().zip(rows) {
            table.rows.push(row.ok_or_else(|| line.error("cells that cannot be told apart: blanks are missing"))?);
        }
        return Ok(table);
    }
    let columns = columns.as_slice();
    // Rows that do not keep to the columns are spread by what the others hold.
    let mut later: Vec<(usize, &Line<'_>)> = Vec::new();
    let mut tails: Vec<usize> = Vec::new();
    for line in rows {
        let run = pieces(line.raw);
        let single = columns.len() > 1 && run.len() == 1;
        let (last, before) = (columns[columns.len() - 1], columns[columns.len().saturating_sub(2)]);
        let previous = table.rows.last_mut();
        if single && (run[0].start >= before.1 && run[0].start >= last.0.saturating_sub(1)) {
            // The last column goes on under itself.
            let Some(cell) = previous.and_then(|r| r.last_mut()) else {
                return Err(line.error("a cell without a row"));
            };
            go_on(cell, &run[0].text, &table.headings, columns.len() - 1);
            continue;
        }
        let placed = if trusted { ruled_any(line.raw, columns) } else { None };
        if let (Some(row), Some(previous)) = (&placed, table.rows.last_mut())
            && !line.after_blank
            && goes_on(row, previous, &tails, columns)
        {
            for (n, cell) in row.iter().enumerate().filter(|(_, c)| !c.is_empty()) {
                go_on(&mut previous[n], cell, &table.headings, n);
                tails[n] = cell.chars().count();
            }
            continue;
        }
        let fitting = placed.or_else(|| loose(line.raw, &run, columns, trusted));
        match fitting {
            Some(row) if !(single && run[0].end > columns[1].0) => {
                tails = row.iter().map(|c| c.chars().count()).collect();
                table.rows.push(row);
            }
            found => {
                if prose
                    && single
                    && !line.after_blank
                    && let Some(cell) = table.rows.last_mut().and_then(|r| r.last_mut())
                {
                    join(cell, &run[0].text);
                    continue;
                }
                match found.filter(|_| !single) {
                    Some(row) => {
                        tails = row.iter().map(|c| c.chars().count()).collect();
                        table.rows.push(row);
                    }
                    None => {
                        later.push((table.rows.len(), line));
                        tails = vec![0; columns.len()];
                        table.rows.push(vec![String::new(); columns.len()]);
                    }
                }
            }
        }
    }
    if let Some((_, first)) = later.first() {
        if table.headings.is_empty() {
            return Err(first.error("a line that does not fit the columns of the table"));
        }
        let mut sheet = Sheet::new(&table.headings, None, prose);
        let open: Vec<usize> = later.iter().map(|(n, _)| *n).collect();
        for (n, row) in table.rows.iter().enumerate() {
            if open.binary_search(&n).is_err() {
                sheet.learn(row);
            }
        }
        let words: Vec<_> = later.iter().map(|(_, l)| spread::words(l.raw)).collect();
        for (row, (n, line)) in sheet.rows(&words).into_iter().zip(&later) {
            table.rows[*n] = row
                .filter(|_| spread::words(line.raw).len() > 1)
                .ok_or_else(|| line.error("a line that does not fit the columns of the table"))?;
        }
    }
    Ok(table)
}

/// Whether the blanks of a table became one: between its dashes, its headings and its cells, in every line.
fn flat(columns: &[(usize, usize)], headings: &[Line<'_>], rows: &[Line<'_>]) -> bool {
    let one = |l: &Line<'_>| pieces(l.raw).len() == 1;
    columns.len() > 1
        && headings.len() == 1
        && columns.windows(2).all(|w| w[1].0 == w[0].1 + 1)
        && headings.iter().chain(rows).all(one)
        && !(kept(&headings[0], columns, true) && rows.iter().all(|l| kept(l, columns, false)))
}

/// Whether a line keeps to columns that one blank parts. A heading line has all its cells; several words that all
/// stand in one cell may as well be the cells of several columns.
fn kept(line: &Line<'_>, columns: &[(usize, usize)], headings: bool) -> bool {
    anchored(&line.raw.chars().collect::<Vec<_>>(), columns).is_some_and(|row| {
        let filled = row.iter().filter(|c| !c.is_empty()).count();
        if headings { filled == row.len() } else { filled > 1 || !line.body.contains(' ') }
    })
}

/// Whether a line has one cell between the gaps of the ruler for every column.
fn fits(line: &str, columns: &[(usize, usize)]) -> bool {
    ruled_any(line, columns).is_some_and(|row| row.iter().all(|c| !c.is_empty()))
}

/// Headings on several lines above the ruler, joined column by column.
fn stacked(all: &[Line<'_>], columns: &[(usize, usize)]) -> Option<Vec<String>> {
    if columns.len() < 2 {
        return None;
    }
    let mut out = vec![String::new(); columns.len()];
    for line in all {
        for (heading, part) in out.iter_mut().zip(ruled_any(line.raw, columns)?) {
            if !part.is_empty() {
                join(heading, &part);
            }
        }
    }
    // A title over a heading line is no heading.
    let last = ruled_any(all.last()?.raw, columns)?;
    (last.iter().filter(|c| !c.is_empty()).count() * 2 > columns.len()).then_some(out)
}

/// Whether a line goes on with the cells above it: each of its first words found no room there any more.
fn goes_on(row: &[String], previous: &[String], tails: &[usize], columns: &[(usize, usize)]) -> bool {
    let filled = |cells: &[String]| cells.iter().filter(|c| !c.is_empty()).count();
    if row.len() < 3 || filled(row) * 2 > row.len() || filled(row) + 1 >= filled(previous) || tails.len() < row.len() {
        return false;
    }
    let plain = |c: &str| c.parse::<f64>().is_ok() || ["true", "false"].iter().any(|w| c.eq_ignore_ascii_case(w));
    row.iter().enumerate().filter(|(_, cell)| !cell.is_empty()).all(|(n, cell)| {
        let first = cell.split(' ').next().map_or(0, |w| w.chars().count());
        let width = columns[n].1 - columns[n].0;
        // A short name is not broken: a row of nothing but a name is a row. Nor are numbers, types and states: a row
        // with one of these under its name is a row whose other cells are empty (`system settings kernel list`).
        let least = if n == 0 { 16 } else { 1 };
        let named = !row[0].is_empty() && n > 0 && width < 12;
        !named && tails[n] >= least && tails[n] + 1 + first > width && !(plain(cell) && plain(&previous[n]))
    })
}

/// Adds a further line to a cell. Names have no blanks where they were broken; texts do.
fn go_on(cell: &mut String, more: &str, headings: &[String], column: usize) {
    let heading = headings.get(column).map_or("", String::as_str);
    let name = ["NQN", "Name", "UID", "UUID", "Path", "ID", "Device", "Address"].iter().any(|w| heading.ends_with(w));
    let joint = cell.ends_with([':', '.', '-', '_', '/', '#', '@', ',']) || more.starts_with([':', '.', '_', '/', '#']);
    if name && joint && !more.contains(' ') {
        cell.push_str(more);
    } else {
        join(cell, more);
    }
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
    ruled_any(line, columns).or_else(|| loose(line, &pieces(line), columns, true))
}

/// The cells of a line that keeps to the ruler.
fn ruled_any(line: &str, columns: &[(usize, usize)]) -> Option<Vec<String>> {
    if columns.is_empty() {
        return None;
    }
    if line.contains('\t') {
        // Tabs in the place of blanks, or of the gaps between the cells: only the first keep the columns.
        let wide: Vec<char> = expanded(line).chars().collect();
        return ruled(&wide, columns, usize::MAX).filter(|row| !row.iter().any(|c| c.contains("  ")));
    }
    if let Some(row) = under(line, columns) {
        return Some(row);
    }
    let chars: Vec<char> = line.chars().collect();
    // A ruler that was made shorter in its place: two blanks before the next column are enough.
    ruled(&chars, columns, 2).or_else(|| anchored(&chars, columns))
}

/// The cells of a line that is blank in every gap of the ruler.
fn under(line: &str, columns: &[(usize, usize)]) -> Option<Vec<String>> {
    let chars: Vec<char> = line.chars().collect();
    if let Some(row) = ruled(&chars, columns, usize::MAX) {
        return Some(row);
    }
    // A NUL below stands for the rest of a wide character, so a line that has its own cannot be read this way.
    if line.is_ascii() || line.contains('\0') {
        return None;
    }
    // Positions counted in bytes: every character is as wide as its bytes.
    let wide = line.chars().flat_map(|c| std::iter::once(c).chain(std::iter::repeat_n('\0', c.len_utf8() - 1)));
    let row = ruled(&wide.collect::<Vec<char>>(), columns, usize::MAX)?;
    Some(row.into_iter().map(|cell| cell.replace('\0', "").trim().to_owned()).collect())
}

/// The cells of a line that does not: its pieces laid over the columns. No piece can be the cells of two columns.
fn loose(line: &str, run: &[Piece], columns: &[(usize, usize)], trusted: bool) -> Option<Vec<String>> {
    let n = columns.len();
    let row = laid(run, columns)?;
    if run.len() >= n {
        return Some(row);
    }
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let joined = run.iter().any(|piece| {
        let column = row.iter().position(|c| *c == piece.text).unwrap_or(0);
        piece.text.contains(' ')
            && columns.get(column + 1).is_some_and(|next| piece.end > next.0 && row[column + 1].is_empty())
    });
    match () {
        () if !joined && (trusted || words.len() == run.len()) => Some(row),
        () => (words.len() == n).then_some(words),
    }
}

/// The cells where one blank before every column is enough, because each cell begins where the dashes begin or ends
/// where they end.
fn anchored(chars: &[char], columns: &[(usize, usize)]) -> Option<Vec<String>> {
    let row = ruled(chars, columns, 1)?;
    let blank = |i: usize| chars.get(i).is_none_or(|c| c.is_whitespace());
    let held = |n: usize| {
        let (start, end) = columns[n];
        row[n].is_empty() || !blank(start) || (end > 0 && !blank(end - 1) && blank(end))
    };
    (0..columns.len()).all(held).then_some(row)
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
        let text: String = chars[start.min(end(n))..end(n)].iter().collect();
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
    if let Some(columns) = shifted(run, columns) {
        for (piece, n) in run.iter().zip(columns) {
            row[n] = piece.text.clone();
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

/// The columns of pieces that all begin as far from where their columns begin, but for the first.
fn shifted(run: &[Piece], columns: &[(usize, usize)]) -> Option<Vec<usize>> {
    if run.len() < 4 || columns.len() > 40 {
        return None;
    }
    let starts: Vec<i64> = columns.iter().map(|c| c.0 as i64).collect();
    let mut by: Vec<i64> = starts[1..].iter().map(|s| run[1].start as i64 - s).collect();
    by.sort_by_key(|d| d.abs());
    by.into_iter().find_map(|d| {
        let rest: Option<Vec<usize>> =
            run[1..].iter().map(|p| starts.binary_search(&(p.start as i64 - d)).ok()).collect();
        let rest = rest?;
        let first = (run[0].start as i64 - starts[0]).abs() <= d.abs();
        (first && rest[0] > 0).then(|| std::iter::once(0).chain(rest).collect())
    })
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
