//! Everything that a lab makes on a machine, one value a thing, as its journal keeps it.

use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::{disk, guest, net};

/// A thing that a lab made or is about to make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Thing {
    /// A part of a network.
    Net {
        /// Which.
        #[serde(rename = "of")]
        thing: net::Thing,
    },
    /// A disk or what belongs to one.
    Disk {
        /// The host; none: the whole lab's.
        host: Option<String>,
        /// Which.
        #[serde(rename = "of")]
        thing: disk::Thing,
    },
    /// A process.
    Process {
        /// The host; none: the whole lab's.
        host: Option<String>,
        /// Which.
        #[serde(rename = "of")]
        thing: guest::Thing,
    },
    /// A file that can be made again: a rebuilt ISO's link, firmware variables, a stick.
    File {
        /// The host; none: the whole lab's.
        host: Option<String>,
        /// Where.
        path: PathBuf,
    },
    /// A folder; it goes when nothing is left in it.
    Folder {
        /// The host; none: the whole lab's.
        host: Option<String>,
        /// Where.
        path: PathBuf,
    },
}

/// A thing that could not be unmade.
#[derive(Debug, thiserror::Error)]
pub enum ThingError {
    /// A part of a network.
    #[error(transparent)]
    Net(#[from] net::NetError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] disk::DiskError),
    /// A process.
    #[error(transparent)]
    Process(#[from] guest::GuestError),
    /// A file.
    #[error("cannot remove {}: {source}", path.display())]
    Remove {
        /// Which.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
}

impl Thing {
    /// The host that it belongs to; none: the whole lab.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Net { .. } => None,
            Self::Disk { host, .. }
            | Self::Process { host, .. }
            | Self::File { host, .. }
            | Self::Folder { host, .. } => host.as_deref(),
        }
    }

    /// Removes it; of something absent it is done at once, of something that is another's it is refused.
    ///
    /// # Errors
    /// What stays, and why.
    pub fn unmake(&self) -> Result<(), ThingError> {
        let gone = |path: &PathBuf, result: io::Result<()>| match result {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(ThingError::Remove { path: path.clone(), source })
            }
            _ => Ok(()),
        };
        match self {
            Self::Net { thing } => Ok(thing.unmake()?),
            Self::Disk { thing, .. } => Ok(thing.unmake()?),
            Self::Process { thing, .. } => Ok(thing.unmake()?),
            Self::File { path, .. } => gone(path, fs::remove_file(path)),
            Self::Folder { path, .. } => match fs::remove_dir(path) {
                // What a user put there stays, and so does the folder.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
                other => gone(path, other),
            },
        }
    }
}
