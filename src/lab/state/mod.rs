//! What a lab keeps on disk: its folders, its lock, the journal of everything it made on this machine, and small
//! records. All of it survives a kill at any instant; nothing here says what runs (that is asked of the processes).

pub(crate) mod journal;
mod kept;
mod lock;
mod place;
mod records;

use std::io;
use std::path::{Path, PathBuf};

pub use journal::{Damaged, Entry, Journal, Op, Teardown};
pub use kept::{Kept, SecretFile};
pub use lock::{Holder, Lock};
pub use place::{LAB_HOME_VARIABLE, Place, SOCKET_PATH_MAX};
pub use records::{PhaseTimes, Port, Ports, Reached, Stages};

/// Why something of a lab's state cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// No home directory and no variable.
    #[error("no place for labs: there is no home directory; set {LAB_HOME_VARIABLE} to a folder")]
    NoPlace,
    /// A lab's name that cannot be a folder's name.
    #[error("`{name}` cannot be a lab's name: {why}; use letters, digits, `-`, `_` and `.`, at most 64 of them")]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The runtime folder belongs to somebody else, or is not a folder.
    #[error("{} cannot hold the lab's sockets: {why}; remove it, or set XDG_RUNTIME_DIR to a folder of yours", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A socket's path that the kernel would refuse.
    #[error(
        "the socket's path {} has {} bytes and Linux takes at most {SOCKET_PATH_MAX}; set XDG_RUNTIME_DIR to a folder with a shorter path",
        path.display(), path.as_os_str().len()
    )]
    SocketPath {
        /// The path.
        path: PathBuf,
    },
    /// Another process works on the lab.
    #[error("lab `{lab}` is being worked on by {holder}; wait for it to end, or stop it")]
    Held {
        /// The lab.
        lab: String,
        /// Who.
        holder: Holder,
    },
    /// A record that this version cannot read.
    #[error("{} is damaged or from another version: {problem}; {fix}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
        /// What to do.
        fix: &'static str,
    },
    /// A secret that others can read.
    #[error("{} can be read by others (mode {mode:03o}); change its password and `chmod 600` it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file operation failed.
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
fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { doing, path, source }
}

/// Now, as RFC 3339 in UTC with milliseconds.
fn now() -> String {
    humantime::format_rfc3339_millis(std::time::SystemTime::now()).to_string()
}
