//! Lines and pieces of a printed text: what every reader of a form looks at first.

use super::FormError;

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// 1-based number in the whole text.
    pub number: usize,
    /// Blanks in front; a tab counts as one.
    pub indent: usize,
    /// The line without blanks around it.
    pub body: &'a str,
    /// The line as printed, without its line break.
    pub raw: &'a str,
    /// Whether a blank line stands before it.
    pub after_blank: bool,
}

impl<'a> Line<'a> {
    /// How many characters the terminal showed.
    pub fn width(&self) -> usize {
        self.raw.chars().count()
    }

    /// The error that this line is.
    pub fn error(&self, problem: &'static str) -> FormError {
        FormError { line: self.number, problem, text: self.raw.to_owned() }
    }
}

/// The lines of a text that are not blank.
pub fn lines(text: &str) -> Vec<Line<'_>> {
    let mut out = Vec::new();
    let mut after_blank = false;
    for (n, raw) in text.lines().enumerate() {
        let raw = raw.trim_end_matches('\r');
        let body = raw.trim();
        if body.is_empty() {
            after_blank = true;
            continue;
        }
        let indent = raw.chars().take_while(|c| c.is_whitespace()).count();
        out.push(Line { number: n + 1, indent, body, raw, after_blank });
        after_blank = false;
    }
    out
}

/// A line with blanks up to every eighth character in the place of each tab, as terminals show it.
pub fn expanded(line: &str) -> std::borrow::Cow<'_, str> {
    if !line.contains('\t') {
        return line.into();
    }
    let mut out = String::with_capacity(line.len() + 16);
    let mut width = 0;
    for c in line.chars() {
        let count = if c == '\t' { 8 - width % 8 } else { 1 };
        width += count;
        out.extend(std::iter::repeat_n(if c == '\t' { ' ' } else { c }, count));
    }
    out.into()
}

/// A run of text in a line: where it starts and ends, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// First character.
    pub start: usize,
    /// Behind the last character.
    pub end: usize,
    /// The text.
    pub text: String,
}

/// The pieces of a line that two or more blanks, or a tab, part.
pub fn pieces(line: &str) -> Vec<Piece> {
    let chars: Vec<char> = line.chars().collect();
    let mut out: Vec<Piece> = Vec::new();
    let mut start: Option<usize> = None;
    let mut i = 0;
    let close = |out: &mut Vec<Piece>, from: usize, to: usize| {
        out.push(Piece { start: from, end: to, text: chars[from..to].iter().collect() });
    };
    while i < chars.len() {
        if chars[i].is_whitespace() {
            let run = chars[i..].iter().take_while(|c| c.is_whitespace()).count();
            let parts = run > 1 || chars[i] == '\t';
            if let Some(from) = start
                && (parts || i + run == chars.len())
            {
                close(&mut out, from, i);
                start = None;
            }
            i += run;
            continue;
        }
        start.get_or_insert(i);
        i += 1;
    }
    if let Some(from) = start {
        close(&mut out, from, chars.len());
    }
    out
}

/// The label and the value of `Label: value` or `Label:`; `None` for anything that does not look like one.
pub fn label(body: &str) -> Option<(&str, &str)> {
    let at = body.char_indices().find_map(|(i, c)| {
        let rest = &body[i..];
        (c == ':' && (rest.len() == 1 || rest[1..].starts_with([' ', '\t']))).then_some(i)
    })?;
    let (name, value) = (body[..at].trim(), body[at + 1..].trim());
    plausible(name).then_some((name, value))
}

/// `Label:value` where a source lost the blank. Only for places where nothing but a label can stand.
pub fn tight_label(body: &str) -> Option<(&str, &str)> {
    label(body).or_else(|| {
        let (name, value) = body.split_once(':')?;
        let words = name.chars().all(|c| c.is_ascii_alphabetic() || c == ' ');
        (words && plausible(name.trim())).then_some((name.trim(), value.trim()))
    })
}

fn plausible(name: &str) -> bool {
    let count = name.split_whitespace().count();
    (1..=12).contains(&count)
        && name.chars().count() <= 80
        && name.starts_with(|c: char| c.is_alphanumeric() || "(\"'_%#/.[<".contains(c))
        && !name.starts_with("==")
        && !name.contains(". ")
}
