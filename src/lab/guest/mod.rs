//! A guest as a process: started so that it outlives esxprep, recognised again after esxprep was killed, stopped step
//! by step, and what it leaves on disk: logs, snapshots, frozen memory.
//!
//! What a guest does is asked of its process and of QEMU, never of a file that says what it once did.

mod freeze;
#[doc(hidden)]
pub(crate) mod fuzzing;
mod hints;
mod log;
mod ports;
mod proc;
mod serial;
mod snapshot;
mod start;
mod state;
mod stop;
mod thing;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use freeze::{Frozen, check_thaw, digest, freeze, hardware, thaw, thaw_args};
pub use log::rotate;
pub use ports::{add_port, holder, list_ports, remove_port};
pub use proc::{Identity, Liveness, Stray, Usage, strays, usage};
pub use serial::{Found, Line, Serial, clean, last_lines, search};
pub use snapshot::{DiskSnapshot, create, delete, list, revert};
pub use start::{Helper, Launch, Spawned, Started, spawn, spawn_helper, start};
pub use state::{Sight, State, adopt, look};
pub use stop::{How, Note, StopPlan, StopStep, Stopped, stop};
pub use thing::{Kind, Process, Thing};

use super::qmp::QmpError;

/// Why a guest cannot be had as wanted.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A program could not be started at all.
    #[error("{name}: cannot start {}: {source}; {fix}", program.display())]
    Spawn {
        /// The guest or helper.
        name: String,
        /// The program.
        program: PathBuf,
        /// What came back.
        source: io::Error,
        /// What to do.
        fix: &'static str,
    },
    /// QEMU, or a helper, ended instead of starting.
    #[error("{name}: {program} did not start: {said}{}; its log is {}, the command line `esxprep lab plan` shows", hint.map(|h| format!(" ({h})")).unwrap_or_default(), log.display())]
    Refused {
        /// The guest or helper.
        name: String,
        /// The program's file name.
        program: String,
        /// Its own words, on one line.
        said: String,
        /// What they mean, when that is known.
        hint: Option<&'static str>,
        /// Its log.
        log: PathBuf,
    },
    /// It lives but does not answer.
    #[error("{name}: QEMU (process {pid}) runs but its monitor did not answer within {waited:?}; it was ended again; its log is {}: {problem}", log.display())]
    NotReady {
        /// The guest.
        name: String,
        /// Its process.
        pid: u32,
        /// How long was waited.
        waited: Duration,
        /// Its log.
        log: PathBuf,
        /// What happened on the monitor.
        problem: String,
    },
    /// It runs already.
    #[error("{name} runs already (process {pid}); adopt it with `lab up`, or end it with `lab stop`")]
    Running {
        /// The guest or helper.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// The command line does not say where the monitor is.
    #[error("{name}: the command line does not hold {marker:?}, by which esxprep would know its process again")]
    NoMarker {
        /// The guest or helper.
        name: String,
        /// The text that is missing.
        marker: String,
    },
    /// `-daemonize` would part the process from its number.
    #[error(
        "{name}: `-daemonize` is among QEMU's arguments; esxprep puts it into a session of its own by itself, so leave it out"
    )]
    Daemonize {
        /// The guest or helper.
        name: String,
    },
    /// A process of that number is not the one that was started.
    #[error("{name}: process {pid} is not the one that esxprep started ({why}); it is left alone")]
    NotOurs {
        /// The guest or helper.
        name: String,
        /// The process.
        pid: u32,
        /// What is different.
        why: String,
    },
    /// It did not end by any means.
    #[error(
        "{name}: process {pid} is still there after SIGKILL and {waited:?}; it waits for a disk or a kernel (`cat /proc/{pid}/stack`)"
    )]
    Unkillable {
        /// The guest or helper.
        name: String,
        /// The process.
        pid: u32,
        /// How long was waited.
        waited: Duration,
    },
    /// Its memory cannot be saved.
    #[error("{name} cannot be frozen: {}", reasons.join("; "))]
    CannotFreeze {
        /// The guest.
        name: String,
        /// QEMU's words with what they mean.
        reasons: Vec<String>,
    },
    /// The frozen state does not fit the machine that would be started.
    #[error("{name} cannot be thawed from `{tag}`: the machine is not the one that was frozen: {}; start it cold, or go back to what it was", differences.join("; "))]
    ThawDiffers {
        /// The guest.
        name: String,
        /// The frozen state.
        tag: String,
        /// What differs.
        differences: Vec<String>,
    },
    /// A snapshot cannot be made, gone back to, or removed.
    #[error("snapshot `{snapshot}` of {}: {problem}", disk.display())]
    Snapshot {
        /// Its name.
        snapshot: String,
        /// The disk.
        disk: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A forward cannot be made.
    #[error("port {port} of {address} cannot be forwarded: {why}")]
    Port {
        /// The address.
        address: String,
        /// The port.
        port: u16,
        /// Why, and what to do.
        why: String,
    },
    /// The monitor.
    #[error("{name}: {source}")]
    Qmp {
        /// The guest.
        name: String,
        /// What happened.
        source: QmpError,
    },
    /// A file or a system call.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}

/// Wraps an I/O error with what was tried on which path.
fn failed(doing: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> GuestError {
    let path = path.to_owned();
    move |source| GuestError::Io { doing, path, source }
}

/// Wraps the monitor's error with the guest's name.
fn on(name: &str) -> impl Fn(QmpError) -> GuestError {
    let name = name.to_owned();
    move |source| GuestError::Qmp { name: name.clone(), source }
}
