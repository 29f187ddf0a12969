//! A rebuilt installer ISO: the vendor's with the install script and both boot files replaced, made by xorriso, compared
//! with the original in what a firmware sees, read back with the reader of [`iso`](super::iso), and kept by content.

mod build;
mod cache;

use std::io;
use std::path::PathBuf;

use super::bootcfg::{BootCfgError, BootOptions};
use super::iso::IsoError;

pub use build::{Xorriso, remaster, verify, xorriso_argv};
pub use cache::{IsoCache, cache_key};

/// What the rebuilt ISO should hold.
#[derive(Debug, Clone)]
pub struct RemasterSpec {
    /// The install script's text; none for delivery by HTTP or stick, where only the boot line changes.
    pub ks: Option<String>,
    /// The boot line.
    pub boot: BootOptions,
    /// Whether Rock Ridge names are written. Both camps report success; without them the installer's CD file system
    /// has fewer ways to see another name than `/KS.CFG`.
    pub rock_ridge: bool,
}

/// The install script's path in the ISO; 8.3 and capitals, as all other names there.
pub const KS_PATH: &str = "/KS.CFG";
/// What to write on the boot line for a script at [`KS_PATH`].
pub const KS_ON_CD: &str = "cdrom:/KS.CFG";

impl RemasterSpec {
    /// The script inside the ISO.
    pub fn with_ks(ks: impl Into<String>) -> Self {
        Self {
            ks: Some(ks.into()),
            boot: BootOptions { ks: Some(KS_ON_CD.into()), ..BootOptions::default() },
            rock_ridge: true,
        }
    }

    /// Only the boot line changed: the script comes from `ks` (`http://...`, `usb:/KS.CFG`).
    pub fn boot_line_only(ks: impl Into<String>) -> Self {
        Self { ks: None, boot: BootOptions { ks: Some(ks.into()), ..BootOptions::default() }, rock_ridge: true }
    }
}

/// Why there is no rebuilt ISO.
#[derive(Debug, thiserror::Error)]
pub enum RemasterError {
    /// The original cannot be used, or the result cannot be read back.
    #[error(transparent)]
    Iso(#[from] IsoError),
    /// The boot line cannot be made.
    #[error(transparent)]
    BootCfg(#[from] BootCfgError),
    /// xorriso is not there.
    #[error(
        "xorriso is not installed, and without it no ISO can be rebuilt; install the package `xorriso`, or hand the \
         install script over another way: on a USB stick (`kickstart: usb`), typed at the vanilla ISO's boot line"
    )]
    NoXorriso,
    /// xorriso said no.
    #[error("xorriso failed ({status}); its last words: {stderr}\ncommand: {command}")]
    Xorriso {
        /// Exit code or signal.
        status: String,
        /// The end of its standard error.
        stderr: String,
        /// The command.
        command: String,
    },
    /// What a firmware sees is not the same any more.
    #[error("the rebuilt ISO would not boot as the original does, so it was thrown away: {}", .0.join("; "))]
    BootRecords(Vec<String>),
    /// Something in the result is not what it should be.
    #[error("the rebuilt ISO is not what was asked for, so it was thrown away: {0}")]
    Verify(String),
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
