//! Everything that can keep the simulator from running, said so that a stranger knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// Why a simulated host could not be started or kept running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimError {
    /// A release that the simulator does not know.
    #[error("there is no simulated ESXi {given}: choose 6.0, 6.5, 6.7, 7.0 or 8.0")]
    Version {
        /// What was asked for.
        given: String,
    },
    /// A fault specification that cannot be read.
    #[error("fault {given:?}: {reason}; known faults: {known}")]
    Fault {
        /// What was given.
        given: String,
        /// What is wrong with it.
        reason: String,
        /// The list of faults.
        known: String,
    },
    /// Options that contradict each other or the machine.
    #[error("{0}")]
    Options(String),
    /// File work on the real machine failed.
    #[error("simulated host: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No address to listen on.
    #[error(
        "simulated host: cannot listen on {address}: {source}; choose another --listen ADDR:PORT (port 0 = any free one)"
    )]
    Listen {
        /// The address tried.
        address: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The machine allows neither chroot nor user namespaces.
    #[error(
        "the simulated host's shell needs a root directory of its own, and this machine allows none of the ways to get one \
         ({tried}). Run as root or in a container whose root may chroot, or allow user namespaces: \
         sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04 and later), sysctl user.max_user_namespaces=10000"
    )]
    Jail {
        /// What was tried and what came back.
        tried: String,
    },
    /// A program that the simulator needs is missing.
    #[error("the simulated host needs the program {name:?} of this machine, which is not there: {advice}")]
    MissingProgram {
        /// Its name.
        name: String,
        /// What to install.
        advice: &'static str,
    },
    /// The state directory holds something that cannot be read.
    #[error("state of simulated host {host} in {}: {reason}; remove that directory to start fresh", path.display())]
    State {
        /// The host.
        host: String,
        /// Where.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Host keys could not be made or read.
    #[error("SSH host keys of simulated host {host}: {reason}")]
    Keys {
        /// The host.
        host: String,
        /// What is wrong.
        reason: String,
    },
}

/// Gives an I/O error the action and the path.
pub(crate) trait IoContext<T> {
    /// `action` is a verb that fits "cannot ... PATH".
    fn doing(self, action: &'static str, path: &Path) -> Result<T, SimError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, SimError> {
        self.map_err(|source| SimError::Io { action, path: path.to_path_buf(), source })
    }
}
