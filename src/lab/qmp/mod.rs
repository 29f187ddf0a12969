//! QEMU's monitor: one connection over a unix socket, commands with their answers, events as a stream.
//!
//! [`wire`] reads lines and does no I/O, [`Qmp`] is the handle, [`keys`] says which keys make a text, and [`human`]
//! reads the answers of the older, human monitor, which reports failures as text of a success.

mod calls;
mod client;
pub mod human;
pub mod keys;
pub mod wire;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use calls::{BlockDevice, Image, ImageInfo, Job, ScreenFormat, Screenshot, Snapshot, Status};
pub use client::{Events, QemuVersion, Qmp, USUAL_LIMIT};
pub use human::{Forward, ForwardError, Protocol, UserConnection};
pub use wire::Event;

/// Why a monitor cannot be used, or what it answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QmpError {
    /// Nobody listens on the socket.
    #[error("no QEMU answers at {}: {reason}; it has ended, or is not started yet", path.display())]
    NoQemu {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        reason: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// Connected, but QEMU does not greet: it serves one client at a time on a monitor (seen on QEMU 10.0.2).
    #[error(
        "{} took the connection but did not greet within {waited:?}: another program is on this monitor (QEMU serves one at a time), or QEMU's process is stopped; close the other program, or use the second monitor",
        path.display()
    )]
    NoGreeting {
        /// The socket.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The connection ended.
    #[error("the connection to QEMU's monitor {} ended while `{doing}` was asked for: {reason}; QEMU has ended or was killed", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// The command that waited.
        doing: String,
        /// How it ended.
        reason: String,
    },
    /// No answer in time.
    #[error("QEMU did not answer `{doing}` within {waited:?}; it is overloaded or hangs, and may still carry it out")]
    Silent {
        /// The command.
        doing: String,
        /// How long was waited.
        waited: Duration,
    },
    /// QEMU answered with an error.
    #[error("QEMU refused `{doing}`: {desc} ({class})")]
    Refused {
        /// The command.
        doing: String,
        /// QEMU's class, such as `CommandNotFound` or `GenericError`.
        class: String,
        /// QEMU's words.
        desc: String,
    },
    /// The human monitor answered with words where silence means success.
    #[error("QEMU refused `{command}`: {said}")]
    HumanRefused {
        /// The command.
        command: String,
        /// QEMU's words.
        said: String,
    },
    /// An answer that is not what the protocol promises.
    #[error("QEMU's answer to `{doing}` is not understood: {problem}")]
    Odd {
        /// The command.
        doing: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A job ended with an error.
    #[error("QEMU's job {job} failed: {error}")]
    Job {
        /// The job.
        job: String,
        /// QEMU's words.
        error: String,
    },
    /// A character that no key of the US layout makes.
    #[error("the character {0:?} cannot be typed: no key of the US layout makes it")]
    NoKey(char),
    /// A name or path that would be something else inside a human monitor command.
    #[error("{0:?} cannot be used in a monitor command: letters, digits, `.`, `_` and `-` only")]
    BadWord(String),
}

impl QmpError {
    /// Whether the connection is gone, so that the process should be looked at.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost { .. } | Self::NoQemu { .. })
    }
}
