//! What a lab made on this machine, written before it is made: processes, taps, disks, folders. A kill at any instant
//! leaves a file from which teardown knows everything that may exist.
//!
//! One JSON object a line, each on the disk before the call returns. A line without its end was never acknowledged,
//! so nothing was done on the strength of it: it is ignored, and cut off by the next line written.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::kept::{replace, sync_dir_of};
use super::{StateError, failed, now};

/// Lines beyond which a journal is rewritten with only what stands, when it is opened.
const MANY_LINES: usize = 2000;

/// What happened to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// It is about to be made: from here on it may exist.
    Making,
    /// It is made; the thing may say more than before (a process its pid).
    Made,
    /// It is gone.
    Unmade,
    /// It is not looked after any more, whether it exists or not.
    Forgot,
}

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry<T> {
    /// The thing's number, in order of making.
    pub seq: u64,
    /// When, RFC 3339.
    pub time: String,
    /// What happened.
    pub op: Op,
    /// The thing; absent when it is gone.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub thing: Option<T>,
}

/// A default that asks nothing of `T`.
fn none<T>() -> Option<T> {
    None
}

/// A line that this version cannot read. What it spoke of may still exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// Its number, from 1.
    pub line: usize,
    /// Its text, shortened.
    pub text: String,
    /// What the parser said.
    pub problem: String,
}

/// The journal of one lab, open for writing. Hold the lab's [`super::Lock`] meanwhile.
#[derive(Debug)]
pub struct Journal<T> {
    path: PathBuf,
    file: File,
    content: Content<T>,
}

/// What the lines add up to.
#[derive(Debug)]
struct Content<T> {
    standing: BTreeMap<u64, T>,
    damaged: Vec<Damaged>,
    next: u64,
    lines: usize,
    /// Length up to the last whole line, in bytes.
    whole: u64,
}

/// What came of a teardown.
#[derive(Debug)]
pub struct Teardown<T, E> {
    /// How many things are gone.
    pub unmade: usize,
    /// What could not be unmade, and why; it stays in the journal.
    pub failed: Vec<(u64, T, E)>,
    /// The journal could not be written: the things are gone all the same, and are only unmade once more next time.
    pub unwritten: Option<StateError>,
}

impl<T: Serialize + DeserializeOwned + Clone> Journal<T> {
    /// Opens the journal, or begins it. Its folder must be there.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let file = OpenOptions::new()
            .mode(0o600)
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed("open the journal", path))?;
        let bytes = fs::read(path).map_err(failed("read the journal", path))?;
        if bytes.is_empty() {
            sync_dir_of(path)?;
        }
        let mut journal = Self { path: path.to_owned(), file, content: parse(&bytes) };
        if journal.content.lines > MANY_LINES && journal.content.standing.len() < journal.content.lines / 4 {
            journal.compact()?;
        }
        Ok(journal)
    }

    /// What stands, without opening the journal for writing: no lock is needed. No journal, nothing stands.
    pub fn read(path: &Path) -> Result<Vec<(u64, T)>, StateError> {
        match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(failed("read the journal", path)(e)),
            Ok(bytes) => Ok(parse(&bytes).standing.into_iter().collect()),
        }
    }

    /// Writes that a thing is about to be made; its number. On the disk when this returns.
    pub fn making(&mut self, thing: &T) -> Result<u64, StateError> {
        let seq = self.content.next;
        self.append(seq, Op::Making, Some(thing))?;
        Ok(seq)
    }

    /// Writes that it is made, with what is known of it now.
    pub fn made(&mut self, seq: u64, thing: &T) -> Result<(), StateError> {
        self.append(seq, Op::Made, Some(thing))
    }

    /// Writes that it is gone.
    pub fn unmade(&mut self, seq: u64) -> Result<(), StateError> {
        self.append(seq, Op::Unmade, None)
    }

    /// Writes that it is looked after no more, whether it exists or not: it was handed to the user.
    pub fn forget(&mut self, seq: u64) -> Result<(), StateError> {
        self.append(seq, Op::Forgot, None)
    }

    /// What may exist, in the order of making. A thing whose making was interrupted is among it.
    pub fn standing(&self) -> Vec<(u64, T)> {
        self.content.standing.iter().map(|(seq, thing)| (*seq, thing.clone())).collect()
    }

    /// A thing that stands.
    pub fn get(&self, seq: u64) -> Option<&T> {
        self.content.standing.get(&seq)
    }

    /// Lines that this version cannot read: what they spoke of is not torn down. Never the last, torn one.
    pub fn damaged(&self) -> &[Damaged] {
        &self.content.damaged
    }

    /// Unmakes everything, the last first. Goes on past failures and tells them all; can be called any number of
    /// times. The journal is emptied when nothing stands.
    pub fn unmake_all<E>(&mut self, unmake: impl FnMut(&T) -> Result<(), E>) -> Teardown<T, E> {
        self.unmake_some(|_| true, unmake)
    }

    /// As [`Self::unmake_all`], but only what `which` says: one host's things.
    pub fn unmake_some<E>(
        &mut self,
        which: impl Fn(&T) -> bool,
        mut unmake: impl FnMut(&T) -> Result<(), E>,
    ) -> Teardown<T, E> {
        let mut result = Teardown { unmade: 0, failed: Vec::new(), unwritten: None };
        for (seq, thing) in self.backwards(which) {
            let done = unmake(&thing);
            self.note(seq, thing, done, &mut result);
        }
        self.tidy(&mut result);
        result
    }

    /// As [`Self::unmake_some`], for an `unmake` that waits.
    pub async fn unmake_some_async<E>(
        &mut self,
        which: impl Fn(&T) -> bool,
        mut unmake: impl AsyncFnMut(&T) -> Result<(), E>,
    ) -> Teardown<T, E> {
        let mut result = Teardown { unmade: 0, failed: Vec::new(), unwritten: None };
        for (seq, thing) in self.backwards(which) {
            let done = unmake(&thing).await;
            self.note(seq, thing, done, &mut result);
        }
        self.tidy(&mut result);
        result
    }

    fn backwards(&self, which: impl Fn(&T) -> bool) -> Vec<(u64, T)> {
        let standing = self.content.standing.iter().rev();
        standing.filter(|(_, thing)| which(thing)).map(|(seq, thing)| (*seq, thing.clone())).collect()
    }

    fn note<E>(&mut self, seq: u64, thing: T, done: Result<(), E>, result: &mut Teardown<T, E>) {
        match done {
            Ok(()) => {
                result.unmade += 1;
                // A full disk must not keep anything standing.
                if let Err(e) = self.unmade(seq) {
                    result.unwritten.get_or_insert(e);
                }
            }
            Err(e) => result.failed.push((seq, thing, e)),
        }
    }

    fn tidy<E>(&mut self, result: &mut Teardown<T, E>) {
        if self.content.standing.is_empty()
            && let Err(e) = self.compact()
        {
            result.unwritten.get_or_insert(e);
        }
    }

    /// Rewrites the journal with only what stands, whole or not at all. One with damaged lines is left as it is:
    /// they are the only trace of what they spoke of.
    pub fn compact(&mut self) -> Result<(), StateError> {
        if !self.content.damaged.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for (seq, thing) in &self.content.standing {
            let entry = Entry { seq: *seq, time: now(), op: Op::Made, thing: Some(thing) };
            text.extend(line(&entry).map_err(failed("write the journal", &self.path))?);
        }
        replace(&self.path, &text, 0o600)?;
        self.file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.path)
            .map_err(failed("open the journal", &self.path))?;
        self.content.lines = self.content.standing.len();
        self.content.whole = text.len() as u64;
        Ok(())
    }

    fn append(&mut self, seq: u64, op: Op, thing: Option<&T>) -> Result<(), StateError> {
        let entry = Entry { seq, time: now(), op, thing };
        let line = line(&entry).map_err(failed("write the journal", &self.path))?;
        let whole = self.content.whole;
        let mut write = || -> io::Result<()> {
            // What a kill or a full disk cut off goes first: a new line must not be glued to it.
            if self.file.metadata()?.len() != whole {
                self.file.set_len(whole)?;
            }
            self.file.seek(SeekFrom::Start(whole))?;
            self.file.write_all(&line)?;
            self.file.sync_data()
        };
        write().map_err(failed("write the journal", &self.path))?;
        self.content.whole += line.len() as u64;
        self.content.lines += 1;
        self.content.apply(seq, op, thing.cloned());
        Ok(())
    }
}

impl<T> Content<T> {
    fn apply(&mut self, seq: u64, op: Op, thing: Option<T>) {
        self.next = self.next.max(seq.saturating_add(1));
        match (op, thing) {
            (Op::Making | Op::Made, Some(thing)) => {
                self.standing.insert(seq, thing);
            }
            (Op::Making | Op::Made, None) => {}
            (Op::Unmade | Op::Forgot, _) => {
                self.standing.remove(&seq);
            }
        }
    }
}

fn line<T: Serialize>(entry: &Entry<T>) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(entry)?;
    text.push(b'\n');
    Ok(text)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Content<T> {
    let mut content = Content { standing: BTreeMap::new(), damaged: Vec::new(), next: 1, lines: 0, whole: 0 };
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    content.whole = whole as u64;
    for (number, text) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
        content.lines += 1;
        match serde_json::from_slice::<Entry<T>>(text) {
            Ok(entry) => content.apply(entry.seq, entry.op, entry.thing),
            Err(e) => {
                // Its number, if that much can be read, is not given out twice.
                if let Some(seq) =
                    serde_json::from_slice::<serde_json::Value>(text).ok().and_then(|v| v["seq"].as_u64())
                {
                    content.next = content.next.max(seq.saturating_add(1));
                }
                let text = String::from_utf8_lossy(text).trim_end().chars().take(200).collect();
                content.damaged.push(Damaged { line: number + 1, text, problem: e.to_string() });
            }
        }
    }
    content
}

/// Body of the fuzz target: any bytes as a journal. What a kill cut off changes nothing before it, and what stands is
/// written and read again as the same.
#[doc(hidden)]
pub(crate) fn fuzz<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> usize {
    let whole = parse::<T>(bytes);
    for cut in [bytes.len() / 3, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let lines = bytes[..cut].iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let (torn, clean) = (parse::<T>(&bytes[..cut]), parse::<T>(&bytes[..lines]));
        assert_eq!(torn.whole, lines as u64);
        assert!(torn.standing == clean.standing && torn.damaged == clean.damaged && torn.next == clean.next);
    }
    let mut text = Vec::new();
    for (seq, thing) in &whole.standing {
        assert!(*seq < whole.next || *seq == u64::MAX, "the number {seq} would be given twice");
        let entry = Entry { seq: *seq, time: String::new(), op: Op::Made, thing: Some(thing) };
        text.extend(line(&entry).unwrap_or_default());
    }
    let again = parse::<T>(&text);
    assert!(again.damaged.is_empty() && again.standing == whole.standing, "written and read again as another");
    text.len() + whole.damaged.iter().map(|damaged| damaged.text.len() + damaged.problem.len()).sum::<usize>()
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
