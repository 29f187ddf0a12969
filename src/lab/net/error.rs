//! What can go wrong with networks.

use std::io;
use std::path::PathBuf;

/// Why something of a network could not be made, removed or read.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// A program is not installed, or cannot be started.
    #[error("cannot start `{program}`: {source}; install the package that holds it ({package})")]
    Start {
        /// The program.
        program: String,
        /// The package's name on Debian.
        package: &'static str,
        /// What came back.
        source: io::Error,
    },
    /// A program said no.
    #[error("`{command}` failed ({status}): {stderr}")]
    Command {
        /// The command line, for reading.
        command: String,
        /// Its exit status.
        status: String,
        /// All that it said.
        stderr: String,
    },
    /// A program's output is not what was expected.
    #[error("cannot read the output of `{command}`: {problem}; is it a version that knows this form of output?")]
    Output {
        /// The command line, for reading.
        command: String,
        /// What the reader said.
        problem: String,
    },
    /// A name that cannot be an interface's, a lab's or a namespace's.
    #[error("`{name}` cannot be the name of {what}: {problem}")]
    BadName {
        /// Of what.
        what: &'static str,
        /// The name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A unix socket's path is too long.
    #[error("the socket path {} has {length} bytes, the limit is {limit}; use a shorter folder for the lab's sockets", path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its bytes.
        length: usize,
        /// The most bytes.
        limit: usize,
    },
    /// It exists and somebody else made it: neither altered nor removed.
    #[error("{what} `{name}` is not of lab `{lab}` ({owner}); it was left as it is: {advice}")]
    NotOurs {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// The lab that asked.
        lab: String,
        /// Whose it is, as far as can be seen.
        owner: String,
        /// What to do next.
        advice: &'static str,
    },
    /// Something that must be there first is not.
    #[error("{what} `{name}` is not there, so {wanted} cannot be made; make it first, or name another in the lab file")]
    Absent {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
        /// What was wanted.
        wanted: String,
    },
    /// The backend cannot do it.
    #[error("{what}: {problem}; {advice}")]
    Impossible {
        /// What was wanted.
        what: String,
        /// Why it cannot be.
        problem: &'static str,
        /// What to do next.
        advice: &'static str,
    },
    /// Processes still live in a namespace.
    #[error("network namespace `{name}` still holds processes {pids:?}; stop them first")]
    Busy {
        /// The namespace.
        name: String,
        /// Their ids.
        pids: Vec<u32>,
    },
    /// Open vSwitch took the row and could not carry it out.
    #[error("Open vSwitch could not set up `{name}`: {problem}; {advice}")]
    Ovs {
        /// The bridge or port.
        name: String,
        /// What it wrote into the row.
        problem: String,
        /// What to do next.
        advice: &'static str,
    },
    /// A process did not come up.
    #[error("{what} did not start within {seconds} s: {problem}; its log: {}", log.display())]
    NotStarted {
        /// Which process.
        what: &'static str,
        /// How long it was waited for.
        seconds: u64,
        /// What is known.
        problem: String,
        /// Its log.
        log: PathBuf,
    },
    /// A process does not go away.
    #[error("{what} (process {pid}) does not end, even killed; look at it with `ps {pid}`")]
    NotStopped {
        /// Which process.
        what: &'static str,
        /// Its id.
        pid: u32,
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
    /// The switch of esxprep says no.
    #[error(transparent)]
    Hub(#[from] super::hub::HubError),
}

impl NetError {
    /// Whether the thing exists but is another's: a teardown may then forget it, since this lab never had it.
    pub fn is_not_ours(&self) -> bool {
        matches!(self, Self::NotOurs { .. })
    }

    pub(super) fn io(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}
