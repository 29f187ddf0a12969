//! Reads and edits the text of an `sshd_config`, and reads what `sshd -T` prints. Pure.
//!
//! The rules are OpenSSH's (sshd_config(5) and its reader): keywords in any case; blanks, a `=` or both between keyword
//! and value; the first line of a keyword counts, but some keywords add up; what comes after `Match` is for some logins
//! only; `Include` (OpenSSH 8.2 and later) reads other files at its place.

use std::ops::Range;

/// Keywords of which every line counts, and whose values may all stand on one line (sshd_config(5)).
const ADDS_UP: &[&str] = &["acceptenv", "allowgroups", "allowusers", "denygroups", "denyusers"];

/// Values that mean the same; `sshd -T` prints the first of them (sshd_config(5): PermitRootLogin).
const SYNONYMS: &[(&str, &str)] = &[("without-password", "prohibit-password")];

/// What is set of a keyword for every login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// No line sets it.
    Absent,
    /// This, with one blank between words and without quotes. Empty: the bare keyword.
    To(String),
    /// Another file that is included may set it first.
    Unsure,
}

/// A line that sets something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry<'a> {
    keyword: &'a str,
    /// The value as written.
    value: &'a str,
    /// Where the line is, with its line break.
    line: Range<usize>,
    /// Where the value is; at the keyword's end for a bare keyword.
    at: Range<usize>,
    /// From the keyword's end over a `=`, if there is one.
    sign: Range<usize>,
}

/// The lines of a file that hold for every login.
#[derive(Debug, Default)]
struct Global<'a> {
    entries: Vec<Entry<'a>>,
    /// Entries before this count for certain: the place of the first `Include` or `Match`, or the text's end.
    head: usize,
    includes: bool,
}

fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\x0c')
}

/// Keyword, the place of what parts it from its value, and the place of the value, in a line without its line break;
/// `None`: it sets nothing.
fn parts(line: &str) -> Option<(&str, Range<usize>, Range<usize>)> {
    let start = line.len() - line.trim_start_matches(blank).len();
    let rest = &line[start..];
    if rest.is_empty() || rest.starts_with('#') {
        return None;
    }
    let length = rest.find(|c: char| blank(c) || c == '=' || c == '"').unwrap_or(rest.len());
    if length == 0 {
        return None;
    }
    let ends = start + length;
    let after = line[ends..].trim_start_matches(blank);
    let signed = after.strip_prefix('=');
    let sign = ends..signed.map_or(ends, |a| line.len() - a.len());
    let after = signed.map_or(after, |a| a.trim_start_matches(blank));
    let from = line.len() - after.len();
    let value = after[..comment(after)].trim_end_matches(blank);
    let at = if value.is_empty() { ends..ends } else { from..from + value.len() };
    Some((&rest[..length], sign, at))
}

/// Where a comment at the end of a value begins (OpenSSH 8.5 and later allow one): at a word that begins with `#`.
fn comment(value: &str) -> usize {
    let (mut quoted, mut begins) = (false, true);
    for (at, c) in value.char_indices() {
        match c {
            '#' if begins && !quoted => return at,
            '"' => quoted = !quoted,
            _ => {}
        }
        begins = blank(c);
    }
    value.len()
}

fn global(text: &str) -> Global<'_> {
    let mut all = Global { head: text.len(), ..Global::default() };
    let mut from = 0;
    for line in text.split_inclusive('\n') {
        let span = from..from + line.len();
        from = span.end;
        let body = line.strip_suffix('\n').unwrap_or(line);
        let Some((keyword, sign, at)) = parts(body) else { continue };
        let is = |word: &str| keyword.eq_ignore_ascii_case(word);
        if is("match") || is("include") {
            all.head = all.head.min(span.start);
            all.includes |= is("include");
            if is("match") {
                break;
            }
            continue;
        }
        all.entries.push(Entry {
            keyword,
            value: &body[at.clone()],
            at: span.start + at.start..span.start + at.end,
            sign: span.start + sign.start..span.start + sign.end,
            line: span,
        });
    }
    all
}

/// A value with one blank between its words and without quotes, as it is compared.
pub fn normal(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let (mut quoted, mut gap) = (false, false);
    for c in value.trim_matches(blank).chars() {
        match c {
            '"' => quoted = !quoted,
            c if blank(c) && !quoted => gap = true,
            c => {
                if gap {
                    out.push(' ');
                    gap = false;
                }
                out.push(c);
            }
        }
    }
    out
}

/// Whether two values set the same: numbers as numbers, `yes` and `no` in any case, synonyms, anything else exactly.
pub fn same(a: &str, b: &str) -> bool {
    let plain = |text: &str| {
        let text = normal(text);
        SYNONYMS.iter().find(|(_, other)| text.eq_ignore_ascii_case(other)).map_or(text, |(one, _)| (*one).to_owned())
    };
    let (a, b) = (plain(a), plain(b));
    let word = |text: &str| ["yes", "no", "without-password"].iter().any(|w| text.eq_ignore_ascii_case(w));
    match (a.parse::<i64>(), b.parse::<i64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ if word(&a) => a.eq_ignore_ascii_case(&b),
        _ => a == b,
    }
}

/// Whether every line of this keyword counts.
pub fn adds_up(key: &str) -> bool {
    ADDS_UP.iter().any(|k| key.eq_ignore_ascii_case(k))
}

/// Whether a text can be a value of one line: read again, it is the same text.
pub fn is_value(value: &str) -> bool {
    let line = format!("x {value}");
    let read = parts(&line).map(|(_, _, at)| &line[at]);
    !value.contains(|c: char| c.is_control() && c != '\t')
        && !value.starts_with('=')
        && value.matches('"').count().is_multiple_of(2)
        && read == Some(value.trim_matches(blank))
}

/// What a file sets a keyword to.
pub fn set_in(text: &str, key: &str) -> Set {
    let all = global(text);
    let own: Vec<&Entry<'_>> = all.entries.iter().filter(|e| e.keyword.eq_ignore_ascii_case(key)).collect();
    if all.includes && (adds_up(key) || own.first().is_none_or(|e| e.line.start >= all.head)) {
        return Set::Unsure;
    }
    match own.as_slice() {
        [] => Set::Absent,
        own if adds_up(key) => {
            let values = own.iter().map(|e| normal(e.value)).filter(|v| !v.is_empty());
            Set::To(values.collect::<Vec<_>>().join(" "))
        }
        [first, ..] => Set::To(normal(first.value)),
    }
}

/// The value of the only line of a keyword, as it is written; `None`: there is no line, or none that stands for all.
pub fn written<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let all = global(text);
    all.entries
        .iter()
        .find(|e| e.keyword.eq_ignore_ascii_case(key))
        .filter(|e| e.line.start < all.head)
        .map(|e| e.value)
}

/// Whether any line sets a keyword for every login.
pub fn has(text: &str, key: &str) -> bool {
    global(text).entries.iter().any(|e| e.keyword.eq_ignore_ascii_case(key))
}

/// The text with a keyword set to a value (an empty one: the bare keyword), or with no line that sets it. All other
/// lines stay byte for byte; a line that is there keeps its place, its spelling and its blanks. A new line goes before
/// the first `Match` or `Include`, else to the end.
pub fn edited(text: &str, key: &str, value: Option<&str>) -> String {
    let all = global(text);
    let own: Vec<&Entry<'_>> = all.entries.iter().filter(|e| e.keyword.eq_ignore_ascii_case(key)).collect();
    // Parts of the text that go, and what comes in their place; in the order of the text.
    let mut cuts: Vec<(Range<usize>, String)> = Vec::new();
    let first = value.and_then(|_| own.first().copied()).filter(|e| e.line.start < all.head);
    let others = own.iter().filter(|e| first.is_none_or(|f| f.line != e.line));
    if value.is_none() || adds_up(key) {
        cuts.extend(others.map(|e| (e.line.clone(), String::new())));
    }
    match (value.map(|v| v.trim_matches(blank)), first) {
        (None, _) => {}
        (Some(""), Some(entry)) if entry.at.is_empty() => {}
        (Some(""), Some(entry)) => cuts.push((entry.sign.start..entry.at.end, String::new())),
        (Some(v), Some(entry)) if entry.at.is_empty() => {
            // What follows may be a comment.
            let glued = text[entry.sign.end..].chars().next().is_some_and(|c| c != '\n' && !blank(c));
            cuts.push((entry.sign.clone(), format!(" {v}{}", if glued { " " } else { "" })));
        }
        // A quote may follow the keyword at once; other values may not.
        (Some(v), Some(entry)) if entry.at.start == entry.sign.start => cuts.push((entry.at.clone(), format!(" {v}"))),
        (Some(v), Some(entry)) => cuts.push((entry.at.clone(), v.to_owned())),
        (Some(v), None) => {
            // A last line without a line break would take the new one in.
            let glue = if all.head == text.len() && !text.is_empty() && !text.ends_with('\n') { "\n" } else { "" };
            let space = if v.is_empty() { "" } else { " " };
            cuts.push((all.head..all.head, format!("{glue}{key}{space}{v}\n")));
        }
    }
    cuts.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = String::with_capacity(text.len() + 64);
    let mut at = 0;
    for (range, instead) in cuts {
        out.push_str(&text[at..range.start]);
        out.push_str(&instead);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// What `sshd -T` prints of a keyword: a line with the keyword in lower case and the value that counts; several lines
/// for keywords that add up. `None`: this sshd does not print it.
pub fn effective(printed: &str, key: &str) -> Option<String> {
    let values: Vec<String> = printed
        .lines()
        .filter_map(|line| {
            let (keyword, _, at) = parts(line)?;
            keyword.eq_ignore_ascii_case(key).then(|| normal(&line[at]))
        })
        .collect();
    match values.as_slice() {
        [] => None,
        all if adds_up(key) => Some(all.join(" ")),
        [first, ..] => Some(first.clone()),
    }
}
