//! One esxprep at a time changes a lab. Held by the kernel (`flock`), so a killed one leaves no stale lock; the file
//! says who holds it, for the message to the others.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Place, StateError, failed, now};

/// Who holds a lock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process; 0 when it has not written its name yet.
    pub pid: u32,
    /// What it does, such as `lab up`.
    pub command: String,
    /// Since when, RFC 3339.
    pub since: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("another esxprep that is just starting");
        }
        write!(f, "`esxprep {}` (process {}, since {})", self.command, self.pid, self.since)
    }
}

/// A lab that this process alone changes, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lab; never waits. `command` is shown to those who come later. The lab's folder must be there.
    pub fn take(place: &Place, command: &str) -> Result<Self, StateError> {
        let path = place.lock_file();
        loop {
            let mut file = OpenOptions::new()
                .mode(0o600)
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed("open the lock", &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    return Err(StateError::Held { lab: place.name().to_owned(), holder: read(&mut file) });
                }
                Err(TryLockError::Error(e)) => return Err(failed("lock", &path)(e)),
            }
            // Between opening and locking, its last holder may have removed the file: then this lock is worth nothing.
            if !is_same(&file, &path) {
                continue;
            }
            let holder = Holder { pid: std::process::id(), command: command.to_owned(), since: now() };
            let write = |file: &mut File| -> io::Result<()> {
                file.set_len(0)?;
                file.seek(SeekFrom::Start(0))?;
                file.write_all(serde_json::to_string(&holder)?.as_bytes())
            };
            write(&mut file).map_err(failed("write the lock", &path))?;
            return Ok(Self { file, path });
        }
    }

    /// Who holds the lab, if somebody does.
    pub fn holder(place: &Place) -> Option<Holder> {
        let mut file = File::open(place.lock_file()).ok()?;
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)).then(|| read(&mut file))
    }

    /// Lets the lab go and removes the lock's file, when the lab itself goes.
    pub fn remove(self) -> Result<(), StateError> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", &self.path)(e)),
            _ => Ok(()),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing would do, were it not for a child that is just being started with a copy of the handle.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn read(file: &mut File) -> Holder {
    let mut text = String::new();
    // Its holder may be writing it just now.
    let _ = file.take(64 * 1024).read_to_string(&mut text);
    serde_json::from_str(&text).unwrap_or_default()
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(dir: &Path) -> Place {
        let place = Place::at("a", &dir.join("labs"), &dir.join("run")).unwrap();
        place.make().unwrap();
        place
    }

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        assert_eq!(Lock::holder(&place), None, "before there is a file");
        let lock = Lock::take(&place, "lab up").unwrap();
        let error = Lock::take(&place, "lab down").unwrap_err().to_string();
        assert!(error.contains("lab up") && error.contains(&std::process::id().to_string()), "{error}");
        assert_eq!(Lock::holder(&place).unwrap().pid, std::process::id());
        drop(lock);
        assert_eq!(Lock::holder(&place), None);
        Lock::take(&place, "lab down").unwrap().remove().unwrap();
        assert!(!place.lock_file().exists());
    }

    #[test]
    fn a_file_left_by_a_killed_process_locks_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        fs::write(place.lock_file(), r#"{"pid":1,"command":"lab up","since":"x"}"#).unwrap();
        assert_eq!(Lock::holder(&place), None);
        Lock::take(&place, "lab up").unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let place = place(dir.path());
        let old = Lock::take(&place, "lab down").unwrap();
        fs::remove_file(place.lock_file()).unwrap();
        assert!(!is_same(&old.file, &place.lock_file()));
        Lock::take(&place, "lab up").unwrap();
    }
}
