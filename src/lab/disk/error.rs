//! What can go wrong with disks.

use std::io;
use std::path::{Path, PathBuf};

use super::How;

/// Why a disk could not be made, removed or read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// `qemu-img` cannot be started.
    #[error("cannot start {}: {source}; install QEMU's disk tools (package qemu-utils)", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// `qemu-img` said no.
    #[error("`{command}` failed ({status}): {stderr}")]
    QemuImg {
        /// The command line, for reading.
        command: String,
        /// Its exit status.
        status: String,
        /// All that it said.
        stderr: String,
    },
    /// Another process has the disk open.
    #[error("{} is in use by another process: {said}; stop the machine that runs from it first", path.display())]
    InUse {
        /// The disk.
        path: PathBuf,
        /// What `qemu-img` said.
        said: String,
    },
    /// The output of `qemu-img` is not what was expected.
    #[error("cannot read the output of `{command}`: {problem}; is it QEMU 7.2 or later?")]
    Output {
        /// The command line, for reading.
        command: String,
        /// What the reader said.
        problem: String,
    },
    /// It exists and this lab did not make it: neither overwritten nor removed.
    #[error("{} is not of lab `{lab}` ({owner}); it was left as it is: move it away or name another path", path.display())]
    NotOurs {
        /// What exists.
        path: PathBuf,
        /// The lab that asked.
        lab: String,
        /// Whose it is, as far as can be seen.
        owner: String,
    },
    /// The lab made it, and it is not what is wanted now.
    #[error("{} is there, but {problem}; `esxprep lab rebuild` makes it anew, its contents are then gone", path.display())]
    Differs {
        /// The disk.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// The base is not there.
    #[error("the base {} is not there; make it first, or name another one", path.display())]
    NoBase {
        /// The base.
        path: PathBuf,
    },
    /// Disks stand on the base.
    #[error("{} is the base of {}; remove those first", path.display(), users.join(", "))]
    BaseInUse {
        /// The base.
        path: PathBuf,
        /// What stands on it.
        users: Vec<String>,
    },
    /// The base was written to although disks stand on it.
    #[error("the base {} was altered since disks were first made on it ({problem}): they are damaged; rebuild {}", path.display(), users.join(", "))]
    BaseChanged {
        /// The base.
        path: PathBuf,
        /// What is different.
        problem: String,
        /// What stands on it.
        users: Vec<String>,
    },
    /// The way of cloning that was asked for is not possible.
    #[error("a {how} of {} is not possible: {reason}; {advice}", base.display())]
    CannotClone {
        /// The base.
        base: PathBuf,
        /// The way.
        how: How,
        /// Why not.
        reason: String,
        /// What to do next.
        advice: &'static str,
    },
    /// A disk would become smaller.
    #[error("{} has {now} bytes and cannot shrink to {wanted}: what lies behind would be lost; make a new disk", path.display())]
    Shrink {
        /// The disk.
        path: PathBuf,
        /// Its size in bytes.
        now: u64,
        /// The size wanted.
        wanted: u64,
    },
    /// A path, a size or a name that cannot be.
    #[error("`{value}` cannot be {what}: {problem}")]
    Bad {
        /// What it should be.
        what: &'static str,
        /// The value.
        value: String,
        /// Why not.
        problem: &'static str,
    },
    /// A folder that is to go holds something that is not known.
    #[error("the folder {} still holds {}; remove what is no longer needed", path.display(), names.join(", "))]
    NotEmpty {
        /// The folder.
        path: PathBuf,
        /// The first few names in it.
        names: Vec<String>,
    },
    /// Another process works on the base's register.
    #[error("{} has been locked by another esxprep for {seconds} s; wait for it or end it", path.display())]
    Locked {
        /// The base.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The register of a base cannot be read.
    #[error("{} is damaged: {problem}; it lists what stands on a base: put it right, or remove it if nothing does", path.display())]
    Register {
        /// The register.
        path: PathBuf,
        /// What the reader said.
        problem: String,
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

impl DiskError {
    /// Whether the thing exists but is another's: a teardown may then forget it, since this lab never had it.
    pub fn is_not_ours(&self) -> bool {
        matches!(self, Self::NotOurs { .. })
    }

    pub(super) fn io<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source: source.into() }
    }
}
