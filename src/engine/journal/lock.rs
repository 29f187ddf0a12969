//! One run at a time on a host: two that change the same ESXi host would undo each other's work, and one of them
//! would reboot it under the other. Held by the kernel (`flock`), so a killed run leaves no stale lock. It holds
//! among the runs of one state directory, that is, of one user on one control machine.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{JournalError, StateDir, make_private_dir, private_file};

/// Why a host cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run works on it.
    #[error(
        "{host} ({address}:{port}) is being worked on by run {run} (process {pid}); wait for it to end, or stop it"
    )]
    Busy {
        /// Name of the host.
        host: String,
        /// Its address.
        address: String,
        /// Its port.
        port: u16,
        /// The other run's process, 0 if it is not known yet.
        pid: u32,
        /// The other run.
        run: String,
    },
    /// The lock's file cannot be used.
    #[error("cannot lock {host} with {}: {source}; set ESXPREP_STATE_DIR to a folder that can be written", path.display())]
    Io {
        /// Name of the host.
        host: String,
        /// The lock's file.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// There is no place for locks.
    #[error(transparent)]
    State(#[from] JournalError),
}

/// A host that this run alone works on, until it is dropped.
#[derive(Debug)]
pub struct HostLock {
    file: File,
}

/// What a lock's file says of its owner.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    run: String,
}

impl HostLock {
    /// Takes the host for this run, in the usual state directory; never waits.
    pub fn acquire(host: &str, address: &str, port: u16, run: &str) -> Result<Self, LockError> {
        StateDir::locate()?.lock_host(host, address, port, run)
    }
}

impl StateDir {
    /// Takes a host for a run; never waits. The file stays after the lock is gone: removing it would let two runs
    /// hold two files of one name.
    pub fn lock_host(&self, host: &str, address: &str, port: u16, run: &str) -> Result<HostLock, LockError> {
        let dir = self.path().join("locks");
        make_private_dir(&dir)?;
        let path = dir.join(format!("{}_{port}.lock", file_name(address)));
        let failed = |source| LockError::Io { host: host.to_owned(), path: path.clone(), source };
        let mut file =
            private_file().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // Its owner may be writing it just now.
                let _ = file.read_to_string(&mut text);
                let owner: Owner = serde_json::from_str(&text).unwrap_or_default();
                let run = if owner.run.is_empty() { "(starting)".to_owned() } else { owner.run };
                return Err(LockError::Busy {
                    host: host.to_owned(),
                    address: address.to_owned(),
                    port,
                    pid: owner.pid,
                    run,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let owner = Owner { pid: std::process::id(), run: run.to_owned() };
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(serde_json::to_string(&owner)?.as_bytes())
        };
        write(&mut file).map_err(failed)?;
        Ok(HostLock { file })
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        // Closing the file unlocks it anyway; emptied, it does not name a run that is over.
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

/// An address as a file name: letters, digits, `.` and `-` stay, the rest becomes `%xx`, so no two are alike.
pub(super) fn file_name(address: &str) -> String {
    address
        .to_ascii_lowercase()
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' => char::from(b).to_string(),
            b => format!("%{b:02x}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_make_harmless_names() {
        assert_eq!(file_name("ESX1.lab"), "esx1.lab");
        assert_eq!(file_name("fe80::1%eth0"), "fe80%3a%3a1%25eth0");
        assert_eq!(file_name("../../etc"), "..%2f..%2fetc");
    }
}
