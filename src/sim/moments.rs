//! Faults that have their moment: at the so-manieth thing that a host is asked for, or at the first that matches.
//!
//! What a host is asked for is counted from 1 over all of its connections and boots: every command line of an SSH exec
//! request (a shell that is asked for does not count), every script that such a shell is given on standard input, and
//! every program of ESXi that any of these calls. Where a script ends, the simulator knows only from clients that mark
//! it as esxprep does, by a line with 32 hexadecimal digits and a number that the shell is told to print: the text of any
//! other client is passed on when its input ends.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;
use regex::bytes::Regex as Bytes;

use super::SimError;
use super::error::IoContext;
use super::fault::Kind;
use super::machine::SimHost;

/// What happens when the moment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The connections are cut, and nothing of it runs.
    CutBefore,
    /// It runs; half of its output is sent, then the connections are cut.
    CutWithin,
    /// It runs; the connections are cut when its output has been sent.
    CutAfter,
    /// It does not run as long as there are connections.
    HoldBefore,
    /// It runs, and its end is not told.
    HoldAfter,
    /// The connections stay and say no word any more.
    Stall,
    /// The management agent restarts.
    RestartAgent,
}

impl Act {
    /// All of them.
    pub(crate) const ALL: [Act; 7] =
        [Act::CutBefore, Act::CutWithin, Act::CutAfter, Act::HoldBefore, Act::HoldAfter, Act::Stall, Act::RestartAgent];

    /// The fault's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Act::CutBefore => "cut-before",
            Act::CutWithin => "cut-within",
            Act::CutAfter => "cut-after",
            Act::HoldBefore => "hold-before",
            Act::HoldAfter => "hold-after",
            Act::Stall => "stall",
            Act::RestartAgent => "hostd-restart",
        }
    }
}

/// When a fault has its moment. Once.
#[derive(Debug, Clone)]
pub(crate) enum When {
    /// At the so-manieth thing, from 1.
    Nth(usize),
    /// At the first that matches.
    Is(Regex),
}

/// What is asked for, in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Exec,
    Script,
    Program,
}

/// The file in which everything is written down that hosts are asked for.
#[derive(Debug)]
pub(crate) struct Log(Mutex<File>);

impl Log {
    /// Only for its owner: scripts may hold passwords. Replaces a file that is there.
    pub(crate) fn create(path: &Path) -> Result<Log, SimError> {
        use std::os::unix::fs::OpenOptionsExt;
        let _ = std::fs::remove_file(path);
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Ok(Log(Mutex::new(file.doing("write", path)?)))
    }

    fn line(&self, line: &serde_json::Value) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            tracing::error!(%error, "the log of the simulated hosts cannot be written");
        }
    }
}

/// How far a host is.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    asked: AtomicUsize,
    /// The next piece of output is halved, and the connections cut.
    halve: AtomicBool,
}

impl SimHost {
    /// Whether anything here wants to know one script of a shell from the next.
    pub(crate) fn counts(&self) -> bool {
        self.options.log.is_some() || self.has(|fault| matches!(fault, Kind::At(..)))
    }

    /// Counts one thing that the host is asked for, and says what becomes of it.
    pub(crate) fn asked(&self, what: Asked, text: &str) -> Option<Act> {
        let number = self.moments.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let act = self.faults.iter().enumerate().find_map(|(fault, kind)| match kind {
            Kind::At(act, When::Nth(nth)) if *nth == number => Some(*act),
            Kind::At(act, When::Is(regex)) if regex.is_match(text) && self.once(fault) => Some(*act),
            _ => None,
        });
        self.told(|| {
            let kind = match what {
                Asked::Exec => "exec",
                Asked::Script => "script",
                Asked::Program => "program",
            };
            serde_json::json!({
                "host": self.label, "number": number, "kind": kind, "text": text, "fault": act.map(Act::name),
            })
        });
        if act == Some(Act::RestartAgent) {
            self.restart_agent();
        }
        act
    }

    /// Says in the log that something waits and will not go on while its client is there.
    pub(crate) fn held(&self) {
        self.told(|| serde_json::json!({"host": self.label, "held": true}));
    }

    fn told(&self, line: impl FnOnce() -> serde_json::Value) {
        if let Some(log) = &self.log {
            log.line(&line());
        }
    }

    /// The next piece of output is sent by half.
    pub(crate) fn halve_next(&self) {
        self.moments.halve.store(true, Ordering::SeqCst);
    }

    /// Whether this piece of output is the one that is halved.
    pub(crate) fn halves(&self) -> bool {
        self.moments.halve.swap(false, Ordering::SeqCst)
    }

    /// Waits until no client is connected any more, or the host is off for good.
    pub(crate) async fn without_clients(&self) {
        while !self.end.is_cancelled() && self.connected_now() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn restart_agent(&self) {
        let mut inner = self.inner();
        if inner.hostd_at.is_some() {
            inner.hostd_at = Some(Instant::now() + Duration::from_millis(self.options.hostd_ms));
        }
    }
}

/// The end of a script as a client marks it on the way in: it tells the shell to print a line of digits twice.
const END_GIVEN: &str = "\n[0-9a-f]{32} [0-9]{1,20}\" >&2[^\n]*\n";
/// The same line as the shell prints it on standard output.
const END_SAID: &str = "\n[0-9a-f]{32} [0-9]{1,20} [0-9]{1,10}\n";
/// Longer than either.
const MARK: usize = 256;

/// Cuts a stream behind every mark.
pub(crate) struct Pieces {
    mark: Option<Bytes>,
    buffer: Vec<u8>,
    searched: usize,
}

impl Pieces {
    /// Scripts on standard input.
    pub(crate) fn given() -> Pieces {
        Pieces::new(END_GIVEN)
    }

    /// Their output.
    pub(crate) fn said() -> Pieces {
        Pieces::new(END_SAID)
    }

    fn new(mark: &str) -> Pieces {
        Pieces { mark: Bytes::new(mark).ok(), buffer: Vec::new(), searched: 0 }
    }

    /// Takes more in.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece that ends with a mark.
    pub(crate) fn next(&mut self) -> Option<Vec<u8>> {
        let Some(end) = self.mark.as_ref().and_then(|mark| mark.find_at(&self.buffer, self.searched)).map(|m| m.end())
        else {
            self.searched = self.buffer.len().saturating_sub(MARK);
            return None;
        };
        self.searched = 0;
        let rest = self.buffer.split_off(end);
        Some(std::mem::replace(&mut self.buffer, rest))
    }

    /// What is there without a mark.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_with_their_marks_however_they_come() {
        let nonce = "0123456789abcdef0123456789abcdef";
        let one =
            format!("( eval ' :'\n) </dev/null\necho \"\n{nonce} 0 $?\" && echo \"\n{nonce} 0\" >&2 || exit 141\n");
        let two = one.replace(" 0", " 12");
        let text = format!("{one}{two}rest");
        for size in [1, 7, 64, text.len()] {
            let (mut pieces, mut seen) = (Pieces::given(), Vec::new());
            for bytes in text.as_bytes().chunks(size) {
                pieces.push(bytes);
                while let Some(piece) = pieces.next() {
                    seen.push(String::from_utf8(piece).unwrap());
                }
            }
            assert_eq!(seen, [one.clone(), two.clone()]);
            assert_eq!(pieces.rest(), b"rest");
        }
        let mut said = Pieces::said();
        said.push(format!("hello\n{nonce} 3 0\nmore").as_bytes());
        assert_eq!(said.next().unwrap(), format!("hello\n{nonce} 3 0\n").as_bytes());
        assert!(said.next().is_none());
    }
}
