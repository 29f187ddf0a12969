//! Text that came from a host is not to be trusted: an escape sequence in a VIB's name must not reach the user's
//! terminal, nor a control character the CI's XML parser.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character could steer a terminal or turn the order of the text around it.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with everything that steers a terminal written out (`\x1b`, `\u{202e}`), line ends and tabs as spaces.
pub fn one_line(text: &str) -> Cow<'_, str> {
    clean(text, false)
}

/// The same for text of several lines: line ends stay, a carriage return before one goes, tabs become spaces.
pub fn block(text: &str) -> Cow<'_, str> {
    clean(text, true)
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
            c if steers(c) && u32::from(c) < 0x100 => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if steers(c) => {
                let _ = write!(out, "\\u{{{:04x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The text without characters that XML 1.0 cannot hold, not even escaped.
pub(super) fn xml(text: &str) -> Cow<'_, str> {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}');
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
    fn xml_loses_what_it_cannot_hold() {
        assert_eq!(xml("a\x1b[0m\u{0}b\nc\u{fffe}"), "a[0mb\nc");
    }

    #[test]
    fn spans_read_well() {
        let shown: Vec<_> = [0.04, 12.34, 99.96, 125.2, 3_725.0, -1.0].into_iter().map(span).collect();
        assert_eq!(shown, ["0.0 s", "12.3 s", "1 min 40 s", "2 min 05 s", "1 h 02 min", "? s"]);
    }
}
