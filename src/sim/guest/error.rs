//! What can go wrong inside the stand-in guest.

use std::io;
use std::path::PathBuf;

use crate::sim::SimError;

/// Why the guest stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The simulated host could not be started.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// File or device work failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or device.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The installer stops, for a reason that ESXi's would stop for, in its words where they are known.
    #[error("{0}")]
    Installer(String),
    /// The kickstart cannot be used.
    #[error("kickstart {from}, line {line}: {reason}")]
    Kickstart {
        /// Where it came from.
        from: String,
        /// Line number from 1; 0: the script as a whole.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}
