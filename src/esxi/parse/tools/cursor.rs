//! A place in the joined lines of an output, for the readers of nested forms: dumps of objects, JSON and its likes.

use super::text::Line;
use crate::esxi::forms::FormError;

/// Whether a line only says that others were left out.
pub fn left_out(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(','), "..." | "...." | "[...]" | "…" | "<snip>" | "[snip]")
}

/// A place in a text that was made of lines.
pub struct Cursor<'a> {
    /// The lines, joined with line ends.
    pub text: &'a str,
    /// The place, in bytes.
    pub at: usize,
    /// The lines, for errors.
    pub lines: &'a [Line<'a>],
}

impl<'a> Cursor<'a> {
    /// The beginning of a text.
    pub fn new(text: &'a str, lines: &'a [Line<'a>]) -> Self {
        Self { text, at: 0, lines }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Whether the text ended inside of something, as `head` and a partial copy leave it.
    pub fn over(&self) -> bool {
        self.rest().is_empty()
    }

    /// An error in the line of this place.
    pub fn fail<T>(&self, problem: &'static str) -> Result<T, FormError> {
        let before = self.text.get(..self.at).unwrap_or("").matches('\n').count();
        match self.lines.get(before).or(self.lines.last()) {
            Some(line) => line.fail(problem),
            None => Err(FormError { line: 1, problem, text: String::new() }),
        }
    }

    /// Passes blanks, and lines of dots where somebody left a part out.
    pub fn blanks(&mut self) {
        loop {
            self.at += self.rest().len() - self.rest().trim_start().len();
            let line = self.rest().lines().next().unwrap_or("");
            if !left_out(line) {
                return;
            }
            self.at += line.len();
        }
    }

    /// Takes a word if it comes next.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    /// Takes everything up to the first of these characters, which is not taken.
    pub fn until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(stop).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }
}
