//! Text that came from a host is not to be trusted: an escape sequence in a VIB's name must not reach the user's
//! terminal, nor a control character the CI's XML parser.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character could steer a terminal or turn the order of the text around it.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with everything that steers a terminal written out (`\x1b`, `\u{202e}`), line ends and tabs as spaces.
pub fn one_line(text: &str) -> Cow<'_, str> {
    clean(text, false)
}

/// The same for text of several lines: line ends stay, a carriage return before one goes, tabs become spaces.
pub fn block(text: &str) -> Cow<'_, str> {
    clean(text, true)
}

/// A text as it may go to a terminal, at the very edge: line ends and tabs stay, with `color` also the colours (SGR
/// sequences) that reports paint with; whatever else steers a terminal is written out. What came from outside has gone
/// through [`one_line`] or [`block`] before; this is for what has not.
pub fn shown(text: &str, color: bool) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let paint = if color { sgr(rest) } else { 0 };
        if paint > 0 {
            out.push_str(&rest[..paint]);
            rest = &rest[paint..];
            continue;
        }
        match c {
            '\n' | '\t' => out.push(c),
            c if steers(c) => written(c, &mut out),
            c => out.push(c),
        }
        rest = &rest[c.len_utf8()..];
    }
    Cow::Owned(out)
}

/// The length of the colour sequence that a text begins with, in bytes; 0 if there is none.
fn sgr(text: &str) -> usize {
    let Some(inside) = text.strip_prefix("\x1b[") else { return 0 };
    match inside.find(|c: char| !c.is_ascii_digit() && c != ';') {
        Some(end) if inside[end..].starts_with('m') => 2 + end + 1,
        _ => 0,
    }
}

/// JSON as it may go to a terminal: serde escapes what is below U+0020 in strings, this also DEL, the controls from
/// U+0080 on and what turns the order of text. It says the same to whoever reads it as JSON.
pub fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        // All of them are in the basic plane: one escape each.
        if steers(c) && c != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A character written out.
fn written(c: char, out: &mut String) {
    let _ = match u32::from(c) {
        code if code < 0x100 => write!(out, "\\x{code:02x}"),
        code => write!(out, "\\u{{{code:04x}}}"),
    };
}

fn clean(text: &str, lines: bool) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && !(lines && c == '\n')) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            '\n' if lines => out.push('\n'),
            '\n' | '\t' => out.push(' '),
            c if steers(c) => written(c, &mut out),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The text without characters that XML 1.0 cannot hold, not even escaped, and without what steers a terminal: a report
/// on standard output may be looked at.
pub(super) fn xml(text: &str) -> Cow<'_, str> {
    let legal = |c: char| {
        matches!(c, '\t' | '\n')
            || !steers(c) && matches!(c, '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
    };
    if text.chars().all(legal) { Cow::Borrowed(text) } else { text.chars().filter(|c| legal(*c)).collect() }
}

/// A count with its noun: `1 step`, `2 steps`.
pub(super) fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// A time span for people: `0.4 s`, `12.3 s`, `2 min 05 s`.
pub(super) fn span(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "? s".to_owned();
    }
    if seconds < 99.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_written_out() {
        assert_eq!(one_line("a\x1b[2Jb\x07"), "a\\x1b[2Jb\\x07");
        assert_eq!(one_line("c1 \u{9b}31m del \u{7f}"), "c1 \\x9b31m del \\x7f");
        assert_eq!(one_line("abc\u{202e}txt"), "abc\\u{202e}txt");
        assert_eq!(one_line("two\nlines\tand tab"), "two lines and tab");
        assert_eq!(block("two\r\nlines\rover"), "two\nlines\\x0dover");
        assert!(matches!(block("nothing\nspecial → here"), Cow::Borrowed(_)));
    }

    #[test]
    fn nothing_steers_the_terminal_at_the_edge() {
        let text = "a\x1b[1;31mred\x1b[0m\x1b]0;title\x07\x1b[2J\u{9b}m\rb\u{202e}\tc\nd\x1b[";
        assert_eq!(
            shown(text, false),
            "a\\x1b[1;31mred\\x1b[0m\\x1b]0;title\\x07\\x1b[2J\\x9bm\\x0db\\u{202e}\tc\nd\\x1b["
        );
        let painted = shown(text, true);
        assert!(painted.starts_with("a\x1b[1;31mred\x1b[0m\\x1b]0;title\\x07\\x1b[2J\\x9bm"), "{painted:?}");
        assert_eq!(painted.matches('\x1b').count(), 2);
        assert!(matches!(shown("two\nlines\t→", false), Cow::Borrowed(_)));
    }

    #[test]
    fn json_says_the_same_and_shows_nothing_raw() {
        let value = serde_json::json!({"a\u{9b}": "b\u{202e}\x1b[2J\u{7f}\u{85}é\u{2028}"});
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = json(&text);
            assert!(!safe.contains(|c| steers(c) && c != '\n'), "{safe:?}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
        }
    }

    #[test]
    fn xml_loses_what_it_cannot_hold() {
        assert_eq!(xml("a\x1b[0m\u{0}b\nc\u{fffe}\u{9b}\rd\u{202e}"), "a[0mb\ncd");
    }

    #[test]
    fn spans_read_well() {
        let shown: Vec<_> = [0.04, 12.34, 99.96, 125.2, 3_725.0, -1.0].into_iter().map(span).collect();
        assert_eq!(shown, ["0.0 s", "12.3 s", "1 min 40 s", "2 min 05 s", "1 h 02 min", "? s"]);
    }
}
