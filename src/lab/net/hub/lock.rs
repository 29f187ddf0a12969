//! The lock of a switch's folder: a running switch holds it, and who ends one takes it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::HubError;

/// A folder's lock: whose it is.
pub(super) enum Lock {
    /// No folder.
    NoFolder,
    /// Nobody's; now ours, while the file is open.
    Free(File),
    /// Another's; its process id, unless it is just about to write it.
    Held(Option<u32>),
}

/// Its file, which has the process id of a running switch in it.
pub(super) fn lock_file(dir: &Path) -> PathBuf {
    dir.join("hub.lock")
}

/// Takes the lock if nobody has it.
pub(super) fn take(dir: &Path) -> Result<Lock, HubError> {
    let path = lock_file(dir);
    loop {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = match options.open(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Lock::NoFolder),
            other => other.map_err(HubError::io("open", &path))?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(HubError::io("lock", &path)(e)),
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
                return Ok(Lock::Held(pid));
            }
        }
        // Removed between opening and locking: a lock on a file that nobody finds any more is none.
        let locked = file.metadata().map_err(HubError::io("look at", &path))?.ino();
        if fs::metadata(&path).is_ok_and(|found| found.ino() == locked) {
            return Ok(Lock::Free(file));
        }
    }
}
