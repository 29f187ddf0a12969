//! Cuts a script into commands and sections.

use std::ops::Range;

/// A word with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    /// Without its quotes.
    pub text: String,
    /// With them.
    pub range: Range<usize>,
    /// Whether it began with a quote.
    pub quoted: bool,
}

/// A section with its body.
#[derive(Debug)]
pub(super) struct Section {
    /// The words of its first line.
    pub header: Vec<Word>,
    /// The bytes of its body.
    pub body: Range<usize>,
}

/// A script in pieces.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    /// Lines outside sections.
    pub commands: Vec<Vec<Word>>,
    /// Sections.
    pub sections: Vec<Section>,
    /// Places of quotes that are never closed.
    pub broken: Vec<(Range<usize>, &'static str)>,
}

/// Cuts a script. A line that begins with `%` starts a section, but `%include` is a command. In a body, only a line
/// that begins with one of the installer's section names starts another: scripts may begin lines with `%` themselves.
pub(super) fn scan(text: &str) -> Scanned {
    let mut out = Scanned::default();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let content = line.trim_end_matches(['\r', '\n']);
        let trimmed = content.trim_start();
        let in_body = !out.sections.is_empty();
        let header = trimmed.starts_with('%') && !trimmed.starts_with("%include");
        let known = ["%pre", "%post", "%firstboot"].iter().any(|name| trimmed.starts_with(name));
        // An indented word in a body is the script's own.
        if header && (!in_body || (known && trimmed.len() == content.len())) {
            let header = words(content, start, &mut out.broken);
            out.sections.push(Section { header, body: at..at });
        } else if let Some(section) = out.sections.last_mut() {
            section.body.end = at;
        } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
            let words = words(content, start, &mut out.broken);
            if !words.is_empty() {
                out.commands.push(words);
            }
        }
    }
    out
}

fn words(line: &str, start: usize, broken: &mut Vec<(Range<usize>, &'static str)>) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut current: Option<Word> = None;
    let mut quote: Option<(char, usize)> = None;
    for (n, c) in line.char_indices() {
        let here = start + n..start + n + c.len_utf8();
        match quote {
            Some((open, _)) if c == open => quote = None,
            None if c == '"' || c == '\'' => {
                quote = Some((c, here.start));
                current.get_or_insert(Word { text: String::new(), range: here.clone(), quoted: true });
            }
            None if c.is_whitespace() => {
                words.extend(current.take());
                continue;
            }
            None if c == '#' && current.is_none() => break,
            _ => {
                let word = current.get_or_insert(Word { text: String::new(), range: here.clone(), quoted: false });
                word.text.push(c);
            }
        }
        if let Some(word) = &mut current {
            word.range.end = here.end;
        }
    }
    if let Some((_, at)) = quote {
        broken.push((at..start + line.len(), "a quote that is never closed"));
    }
    words.extend(current);
    words
}
