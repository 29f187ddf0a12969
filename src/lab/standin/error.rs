//! Why the stand-in could not be prepared, said so that a stranger knows what to do next.

use std::io;
use std::path::{Path, PathBuf};

/// What went wrong while the stand-in's parts were made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StandinError {
    /// File work failed.
    #[error("stand-in guest: cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// No usable kernel.
    #[error(
        "stand-in guest: no Linux kernel with the needed drivers ({tried}). Set ESXPREP_STANDIN_KERNEL to a folder with \
         vmlinuz-VERSION and lib/modules/VERSION of a distribution's general kernel (Debian: linux-image-amd64, unpacked \
         with dpkg-deb -x; not the cloud kernel), or run scripts/standin-kernel"
    )]
    NoKernel {
        /// Every place that was looked at and why it was no use.
        tried: String,
    },
    /// The kernel image cannot be used.
    #[error("stand-in guest: {}: {reason}; use another kernel (ESXPREP_STANDIN_KERNEL)", path.display())]
    Kernel {
        /// The image or module.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A program of this machine is missing.
    #[error("stand-in guest: the program {name:?} is not on this machine: {advice}")]
    MissingProgram {
        /// Its name.
        name: &'static str,
        /// What to install.
        advice: &'static str,
    },
    /// A program of this machine failed.
    #[error("stand-in guest: {command} failed ({status}): {stderr}")]
    Program {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// An ESXi release that the simulator does not know.
    #[error("stand-in guest: there is no simulated ESXi {given:?}: choose 6.0, 6.5, 6.7, 7.0 or 8.0")]
    Release {
        /// What was asked for.
        given: String,
    },
    /// There is no cache folder to be had.
    #[error("stand-in guest: no cache folder: set HOME or XDG_CACHE_HOME")]
    NoCache,
}

/// Gives an I/O error the action and the path.
pub(super) trait IoContext<T> {
    /// `action` is a verb that fits "cannot ... PATH".
    fn doing(self, action: &'static str, path: &Path) -> Result<T, StandinError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, StandinError> {
        self.map_err(|source| StandinError::Io { action, path: path.to_path_buf(), source })
    }
}
