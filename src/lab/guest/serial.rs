//! The guest's serial log. QEMU writes it; here it is read while it grows: in lines, bounded, whatever bytes a guest
//! sends.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{GuestError, failed};

/// Longest line given, in bytes; the rest of a longer one comes as the next.
pub const LINE_MAX: usize = 4096;
/// How often a file that does not grow is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes read at once.
const PIECE: usize = 64 * 1024;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Its text, without control sequences.
    pub text: String,
    /// Whether its end was there: a prompt has none.
    pub whole: bool,
}

/// A text found in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which of the texts, by its place in the list.
    pub which: usize,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Where it ends: search on from here.
    pub end: u64,
}

/// A reader that follows a log. The file need not be there yet; one that was moved aside and begun anew is read from its
/// beginning.
#[derive(Debug)]
pub struct Serial {
    path: PathBuf,
    cutter: Cutter,
}

/// Cuts bytes into lines; pure.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: VecDeque<u8>,
}

impl Cutter {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// Where the next byte to be fed is in the file.
    fn end(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    pub(super) fn next_line(&mut self) -> Option<Line> {
        let end = self.buffer.iter().take(LINE_MAX).position(|b| *b == b'\n');
        match end {
            Some(end) => Some(self.take(end + 1, true)),
            None if self.buffer.len() >= LINE_MAX => Some(self.take(LINE_MAX, false)),
            None => None,
        }
    }

    /// What is there of a line that has not ended.
    pub(super) fn rest(&mut self) -> Option<Line> {
        (!self.buffer.is_empty()).then(|| self.take(self.buffer.len(), false))
    }

    fn take(&mut self, length: usize, whole: bool) -> Line {
        let bytes: Vec<u8> = self.buffer.drain(..length).collect();
        let offset = self.offset;
        self.offset += length as u64;
        Line { offset, text: clean(&bytes), whole }
    }
}

impl Serial {
    /// Follows a log from a place in it; 0 is its beginning.
    pub fn follow(path: impl Into<PathBuf>, offset: u64) -> Self {
        Self { path: path.into(), cutter: Cutter { offset, buffer: VecDeque::new() } }
    }

    /// Where reading has come to, in bytes: what was given out, and not what is waiting for its line's end.
    pub fn offset(&self) -> u64 {
        self.cutter.offset
    }

    /// The next line, waited for. Safe to drop half-way.
    pub async fn next(&mut self) -> Result<Line, GuestError> {
        loop {
            if let Some(line) = self.cutter.next_line() {
                return Ok(line);
            }
            if !self.read()? {
                sleep(LOOK).await;
            }
        }
    }

    /// The next line that is there already; none when there is no more. With `rest`, also the beginning of a line that
    /// has not ended, as a prompt is.
    pub fn try_next(&mut self, rest: bool) -> Result<Option<Line>, GuestError> {
        loop {
            if let Some(line) = self.cutter.next_line() {
                return Ok(Some(line));
            }
            if !self.read()? {
                return Ok(if rest { self.cutter.rest() } else { None });
            }
        }
    }

    /// Waits until one of these texts is in the log, from where reading is now; none when the time is over.
    pub async fn wait_for(&mut self, texts: &[&str], limit: Duration) -> Result<Option<Found>, GuestError> {
        let deadline = Instant::now() + limit;
        let mut from = self.cutter.offset;
        loop {
            if let Some(found) = search(&self.path, from, texts)? {
                self.cutter = Cutter { offset: found.end, buffer: VecDeque::new() };
                return Ok(Some(found));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            // What was searched is not searched again, but a text may lie across its end.
            let longest = texts.iter().map(|t| t.len()).max().unwrap_or(0) as u64;
            let length = length(&self.path)?;
            from = if length < from { 0 } else { from.max(length.saturating_sub(longest)) };
            sleep(LOOK).await;
        }
    }

    /// Reads on; false when there is nothing new.
    fn read(&mut self) -> Result<bool, GuestError> {
        let at = self.cutter.end();
        let length = length(&self.path)?;
        if length < at {
            self.cutter = Cutter::default();
            return Ok(length > 0);
        }
        let bytes = piece(&self.path, at)?;
        self.cutter.feed(&bytes);
        Ok(!bytes.is_empty())
    }
}

/// The first of these texts in a log, from a place on. They are compared as bytes, control sequences and all.
pub fn search(path: &Path, from: u64, texts: &[&str]) -> Result<Option<Found>, GuestError> {
    let longest = texts.iter().map(|t| t.len()).max().unwrap_or(0);
    let mut at = if length(path)? < from { 0 } else { from };
    loop {
        let bytes = piece(path, at)?;
        if let Some(found) = first(&bytes, at, texts) {
            return Ok(Some(found));
        }
        // The last bytes are looked at again with what follows them.
        let step = bytes.len().saturating_sub(longest.saturating_sub(1));
        if bytes.len() < PIECE || step == 0 {
            return Ok(None);
        }
        at += step as u64;
    }
}

/// The text that comes first; of two at one place the longer.
fn first(bytes: &[u8], at: u64, texts: &[&str]) -> Option<Found> {
    let found = texts.iter().enumerate().filter(|(_, text)| !text.is_empty()).filter_map(|(which, text)| {
        let place = bytes.windows(text.len()).position(|part| part == text.as_bytes())?;
        Some((place, text.len(), which))
    });
    let (place, length, which) = found.min_by_key(|(place, length, which)| (*place, usize::MAX - length, *which))?;
    let offset = at + place as u64;
    Some(Found { which, offset, end: offset + length as u64 })
}

/// The last lines of a log, for messages; empty when there is none. At most `count`, out of its last 64 KiB.
pub fn last_lines(path: &Path, count: usize) -> Vec<String> {
    let Ok(length) = length(path) else { return Vec::new() };
    let from = length.saturating_sub(PIECE as u64);
    let Ok(bytes) = piece(path, from) else { return Vec::new() };
    let mut cutter = Cutter::default();
    cutter.feed(&bytes);
    let mut lines = VecDeque::new();
    while let Some(line) = cutter.next_line().or_else(|| cutter.rest()) {
        if line.text.trim().is_empty() {
            continue;
        }
        lines.push_back(line.text);
        if lines.len() > count {
            lines.pop_front();
        }
    }
    lines.into()
}

/// Bytes of a serial line as text that can be shown: no control sequences, and of a line that was overwritten (`\r`)
/// what was written last.
pub fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.trim_end_matches(['\n', '\r']).chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                // CSI: parameters, then one letter.
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                // OSC: up to BEL or ESC \.
                Some(']') => {
                    while let Some(c) = chars.next() {
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                // Character sets: one more.
                Some('(' | ')' | '#') => {
                    chars.next();
                }
                _ => {}
            },
            '\r' => out.clear(),
            '\t' => out.push(' '),
            '\u{8}' => {
                out.pop();
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

/// The file's length; 0 when it is not there yet.
fn length(path: &Path) -> Result<u64, GuestError> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(meta.len()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(e) => Err(failed("look at", path)(e)),
    }
}

/// Up to [`PIECE`] bytes from a place; none when the file is not there yet.
fn piece(path: &Path, at: u64) -> Result<Vec<u8>, GuestError> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(failed("open", path))?,
    };
    let mut bytes = Vec::new();
    let mut read = || -> io::Result<()> {
        file.seek(SeekFrom::Start(at))?;
        file.by_ref().take(PIECE as u64).read_to_end(&mut bytes)?;
        Ok(())
    };
    read().map_err(failed("read", path))?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "serial_tests.rs"]
mod tests;
