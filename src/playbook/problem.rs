//! Problems in YAML files: a message, the place with the offending text, and what was meant. Every other module
//! of this room reports through [`Problem`], so that all of them look the same on a terminal and in a log.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use regex::Regex;

/// A file as read, with a copy for showing in which values of password keys are blanked.
pub struct SourceFile {
    name: String,
    text: Arc<str>,
    shown: Arc<str>,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceFile").field(&self.name).finish()
    }
}

static SECRET_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?mi)((?:^|[\s,{"'])[a-z_]*(?:password|passphrase|secret|password_hash|passwd|token|pass|pwd)["']?\s*:[ \t]+)([^\s{#][^\n]*)"#).ok()
});

const SECRET_WORDS: &[&str] = &["password", "passphrase", "secret", "password_hash", "passwd", "token"];

/// Whether a key of this name holds a secret: its value is blanked wherever a file is shown. A misspelt one does
/// too: it is where an error shows the line.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let last = key.rsplit(['_', '-', '.']).next().unwrap_or_default();
    SECRET_WORDS.iter().any(|word| key.ends_with(word))
        || matches!(last, "pass" | "pwd" | "pw")
        || [("password", 2), ("passphrase", 3), ("password_hash", 3), ("secret", 1)]
            .iter()
            .any(|(word, most)| [last, &key].iter().any(|k| strsim::damerau_levenshtein(word, k) <= *most))
}

fn blank(text: &str, range: Range<usize>, out: &mut String) {
    for c in text[range].chars() {
        // Bytes stay bytes, so that offsets into the true text are offsets into this one.
        if c == '\n' { out.push(c) } else { out.extend(std::iter::repeat_n('*', c.len_utf8())) }
    }
}

impl SourceFile {
    /// A file of this name and text.
    pub fn new(name: impl Into<String>, text: impl Into<Arc<str>>) -> Arc<Self> {
        let text: Arc<str> = text.into();
        let mut shown = String::with_capacity(text.len());
        let mut done = 0;
        if let Some(pattern) = SECRET_LINE.as_ref() {
            for found in pattern.captures_iter(&text) {
                let Some(value) = found.get(2) else { continue };
                // A place to read the secret from is no secret.
                if value.as_str().contains("{{") {
                    continue;
                }
                shown.push_str(&text[done..value.start()]);
                blank(&text, value.range(), &mut shown);
                done = value.end();
            }
        }
        shown.push_str(&text[done..]);
        // What would move a terminal's cursor is shown as `?`, a byte for a byte; a carriage return, which mostly ends a
        // line, as a blank.
        let visible = |c: char| !steers(c) || matches!(c, '\n' | '\t');
        if !shown.chars().all(visible) {
            let marks = |c: char| match c {
                c if visible(c) => String::from(c),
                '\r' => " ".to_owned(),
                c => "?".repeat(c.len_utf8()),
            };
            shown = shown.chars().map(marks).collect();
        }
        Arc::new(Self { name: printable(name.into()), shown: shown.into(), text })
    }

    /// The same file with these byte ranges blanked wherever it is shown.
    pub fn hiding(self: &Arc<Self>, ranges: &[Range<usize>]) -> Arc<Self> {
        let mut shown = String::with_capacity(self.shown.len());
        let mut done = 0;
        for range in ranges.iter().filter(|r| r.start <= r.end && r.end <= self.shown.len()) {
            if range.start >= done && self.shown.is_char_boundary(range.start) && self.shown.is_char_boundary(range.end)
            {
                shown.push_str(&self.shown[done..range.start]);
                blank(&self.shown, range.clone(), &mut shown);
                done = range.end;
            }
        }
        shown.push_str(&self.shown[done..]);
        Arc::new(Self { name: self.name.clone(), text: self.text.clone(), shown: shown.into() })
    }

    /// Its name, as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A place in a file.
#[derive(Clone)]
pub struct Span {
    /// The file.
    pub file: Arc<SourceFile>,
    /// First byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place())
    }
}

impl Span {
    /// A place; offsets are brought into the file and onto character boundaries.
    pub fn new(file: &Arc<SourceFile>, range: Range<usize>) -> Self {
        let text = file.text();
        let floor = |mut i: usize| {
            i = i.min(text.len());
            while !text.is_char_boundary(i) {
                i -= 1;
            }
            i
        };
        let start = floor(range.start);
        Self { file: file.clone(), start, end: floor(range.end).max(start) }
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.file.text()[..self.start].matches('\n').count() + 1
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        let before = &self.file.text()[..self.start];
        before[before.rfind('\n').map_or(0, |n| n + 1)..].chars().count() + 1
    }

    /// `file:line:column`.
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.file.name(), self.line(), self.column())
    }

    /// The part of it that is on its first line: where a long block begins says enough.
    fn first_line(&self) -> Self {
        let end = self.text().find(['\r', '\n']).map_or(self.end, |n| self.start + n);
        Self { file: self.file.clone(), start: self.start, end }
    }

    /// The text at this place.
    pub fn text(&self) -> &str {
        &self.file.text()[self.start..self.end]
    }
}

/// Whether a character could steer a terminal or turn the order of the text around it.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Without what would move a terminal's cursor.
fn printable(text: String) -> String {
    if text.contains(|c: char| steers(c) && c != '\n') {
        text.chars().map(|c| if steers(c) && c != '\n' { '?' } else { c }).collect()
    } else {
        text
    }
}

/// One problem.
#[derive(Debug)]
pub struct Problem {
    message: String,
    labels: Vec<(Span, String)>,
    help: Option<String>,
    source: Option<NamedSource<Arc<str>>>,
}

impl Problem {
    /// A problem at a place; `label` says what is wrong there in a few words.
    pub fn at(span: &Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Self {
            message: printable(message.into()),
            source: Some(NamedSource::new(span.file.name(), span.file.shown.clone())),
            labels: vec![(span.first_line(), printable(label.into()))],
            help: None,
        }
    }

    /// A problem that is in no file: a command line argument, a file that cannot be read.
    pub fn nowhere(message: impl Into<String>) -> Self {
        Self { message: printable(message.into()), labels: Vec::new(), help: None, source: None }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        let help = printable(help.into());
        self.help = Some(match self.help.take() {
            Some(before) => format!("{before}\n{help}"),
            None => help,
        });
        self
    }

    /// Adds what to do, if there is something.
    #[must_use]
    pub fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Points at a second place. One in another file is named in the help text.
    #[must_use]
    pub fn also(mut self, span: &Span, label: impl Into<String>) -> Self {
        let label = printable(label.into());
        match self.labels.first() {
            Some((first, _)) if Arc::ptr_eq(&first.file.text, &span.file.text) => {
                self.labels.push((span.first_line(), label));
                self
            }
            _ => self.help(format!("{label}: {}", span.place())),
        }
    }

    /// The place, if there is one.
    pub fn span(&self) -> Option<&Span> {
        self.labels.first().map(|(span, _)| span)
    }

    /// What is wrong, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Without colours or drawings: `file:line:column: message`, the offending line, the help.
    pub fn plain(&self) -> String {
        let mut out = match self.span() {
            Some(span) => format!("{}: {}", span.place(), self.message),
            None => self.message.clone(),
        };
        if let Some(help) = &self.help {
            for line in help.lines() {
                out.push_str("\n  ");
                out.push_str(line);
            }
        }
        out
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|h| Box::new(h) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().enumerate().map(|(i, (span, label))| {
            let label = (!label.is_empty()).then(|| label.clone());
            let range = (span.start, span.end - span.start);
            if i == 0 {
                LabeledSpan::new_primary_with_span(label, range)
            } else {
                LabeledSpan::new_with_span(label, range)
            }
        })))
    }
}

/// Most problems that are drawn at a time: nobody reads more at once.
const MOST_DRAWN: usize = 50;

/// One or more problems in YAML files, each with file, line, column and the offending line.
#[derive(Debug, thiserror::Error)]
pub struct Problems(pub Vec<miette::Report>);

impl From<Vec<Problem>> for Problems {
    fn from(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|p| p.span().map(|s| (s.file.name().to_owned(), s.start)));
        // A file that is included twice, or a loop, finds the same thing again.
        problems.dedup_by_key(|p| (p.span().map(|s| (s.file.name().to_owned(), s.start)), p.message.clone()));
        Self(problems.into_iter().map(miette::Report::new).collect())
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![miette::Report::new(problem)])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plain())
    }
}

impl Problems {
    /// Without colours or drawings: one `file:line:column: message` each, help indented below.
    pub fn plain(&self) -> String {
        let one = |r: &miette::Report| r.downcast_ref::<Problem>().map_or_else(|| r.to_string(), Problem::plain);
        self.0.iter().map(one).collect::<Vec<_>>().join("\n")
    }

    /// With the offending lines drawn, `width` columns wide.
    pub fn drawn(&self, colour: bool, width: usize) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(width).with_links(false);
        let mut out = String::new();
        for report in self.0.iter().take(MOST_DRAWN) {
            if handler.render_report(&mut out, report.as_ref()).is_err() {
                out.push_str(&report.to_string());
            }
        }
        if self.0.len() > MOST_DRAWN {
            out.push_str(&format!("  ... and {} more problems\n", self.0.len() - MOST_DRAWN));
        }
        out
    }
}

/// The known word nearest to a misspelt one.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&lower, &k.to_lowercase()), strsim::jaro_winkler(&lower, k), k))
        .filter(|(distance, likeness, k)| {
            *distance <= (k.len().max(word.len()) / 3).max(1) || (*likeness > 0.9 && *distance <= 4)
        })
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, k)| k)
}

/// "did you mean `x`?", or else the words that would do.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None => format!("{what}: {}", known.join(", ")),
    }
}
