//! Bases: images that others stand on. Such a one is read-only and counted in a register beside it, for as long as
//! something stands on it; then it gets its former mode back and the register goes.
//!
//! The register is altered under a lock on the base (`flock`; QEMU's own locks are of another kind and are not
//! met by it on local file systems; NFS: not verified, there the two may meet). The order of steps is such that a
//! kill between any two leaves at worst an entry too many, which the next call finds and drops.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::facts::real_base;
use super::sign::{beside, is_ours, remove, remove_signs};
use super::{DiskError, QemuImg};

/// How long another esxprep may hold a base.
const PATIENCE: Duration = Duration::from_secs(60);
/// The mode of a base that something stands on.
const READ_ONLY: u32 = 0o444;

/// Who holds a base.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Holder {
    /// A disk that stands on it.
    Disk {
        /// Its path, absolute.
        path: PathBuf,
        /// Its lab.
        lab: String,
    },
    /// A lab that wants it kept, whether or not something stands on it.
    Pin {
        /// The lab.
        lab: String,
    },
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verified {
    /// Who holds the base.
    pub holders: Vec<Holder>,
    /// Entries that were not true, and were dropped.
    pub dropped: Vec<Holder>,
    /// Disks that stand on it and were not listed.
    pub added: Vec<Holder>,
}

/// The file beside the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Register {
    /// The base's mode before it was protected.
    mode_before: u32,
    /// The base as it was then: it must not alter.
    size: u64,
    modified_s: i64,
    modified_ns: i64,
    holders: Vec<Holder>,
}

/// A base whose register nobody else alters, until this goes.
pub(super) struct Locked {
    path: PathBuf,
    file: File,
    register: Option<Register>,
}

impl Holder {
    fn shown(&self) -> String {
        match self {
            Self::Disk { path, lab } => format!("{} (lab `{lab}`)", path.display()),
            Self::Pin { lab } => format!("lab `{lab}`, which keeps it"),
        }
    }

    /// A disk that is no more holds nothing.
    fn is_there(&self) -> bool {
        match self {
            Self::Disk { path, .. } => fs::symlink_metadata(path).is_ok(),
            Self::Pin { .. } => true,
        }
    }
}

impl Locked {
    /// Locks the base and reads its register; entries of disks that are no more are dropped.
    pub fn new(base: &Path) -> Result<Self, DiskError> {
        let path = real_base(base)?;
        let file = File::open(&path).map_err(DiskError::io("open", &path))?;
        let until = Instant::now() + PATIENCE;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(20))
                }
                Err(TryLockError::WouldBlock) => return Err(DiskError::Locked { path, seconds: PATIENCE.as_secs() }),
                Err(TryLockError::Error(e)) => return Err(DiskError::io("lock", &path)(e)),
            }
        }
        // A kill within its writing.
        remove_if_permitted(&unfinished(&path))?;
        let register = read(&path)?;
        let mut locked = Self { path, file, register };
        locked.forget_the_gone()?;
        Ok(locked)
    }

    /// Drops the disks that are no more: a run was killed between removing one and saying so here.
    fn forget_the_gone(&mut self) -> Result<(), DiskError> {
        let Some(mut register) = self.register.take() else { return Ok(()) };
        let before = register.holders.len();
        register.holders.retain(Holder::is_there);
        if register.holders.len() == before && before > 0 {
            self.register = Some(register);
            return Ok(());
        }
        let kept = register.clone();
        match self.keep(register) {
            // Another user's base: who may alter it will do so.
            Err(DiskError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                self.register = Some(kept);
                Ok(())
            }
            other => other,
        }
    }

    /// The base without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn holders(&self) -> &[Holder] {
        self.register.as_ref().map_or(&[], |r| &r.holders)
    }

    /// Protects the base and lists one more that holds it. The register comes first: the mode that it names is then
    /// the true one, whenever a kill comes.
    pub fn add(&mut self, holder: Holder) -> Result<(), DiskError> {
        let meta = self.file.metadata().map_err(DiskError::io("look at", &self.path))?;
        match &self.register {
            Some(register) if !register.holders.is_empty() => self.check_unaltered(register, &meta)?,
            _ => {}
        }
        let former = self.register.as_ref().map(|r| r.mode_before);
        let mut holders = self.register.take().map(|r| r.holders).unwrap_or_default();
        if !holders.contains(&holder) {
            holders.push(holder);
            holders.sort();
        }
        let mode_before = former.unwrap_or(meta.mode() & 0o7777);
        let register = Register {
            mode_before,
            size: meta.len(),
            modified_s: meta.mtime(),
            modified_ns: meta.mtime_nsec(),
            holders,
        };
        write(&self.path, &register)?;
        self.register = Some(register);
        if meta.mode() & 0o222 != 0 {
            self.set_mode(READ_ONLY)?;
        }
        Ok(())
    }

    /// Lists one less. With the last one the base gets its mode back, then the register goes.
    pub fn remove(&mut self, holder: &Holder) -> Result<(), DiskError> {
        let Some(mut register) = self.register.take() else { return Ok(()) };
        register.holders.retain(|h| h != holder);
        self.keep(register)
    }

    fn keep(&mut self, register: Register) -> Result<(), DiskError> {
        if register.holders.is_empty() {
            self.set_mode(register.mode_before)?;
            return remove(&register_of(&self.path));
        }
        write(&self.path, &register)?;
        self.register = Some(register);
        Ok(())
    }

    fn set_mode(&self, mode: u32) -> Result<(), DiskError> {
        self.file.set_permissions(Permissions::from_mode(mode)).map_err(DiskError::io("set the mode of", &self.path))
    }

    fn check_unaltered(&self, register: &Register, meta: &fs::Metadata) -> Result<(), DiskError> {
        let problem = if meta.len() != register.size {
            format!("it had {} bytes and has {}", register.size, meta.len())
        } else if (meta.mtime(), meta.mtime_nsec()) != (register.modified_s, register.modified_ns) {
            "it was written to".to_owned()
        } else {
            return Ok(());
        };
        Err(DiskError::BaseChanged { path: self.path.clone(), problem, users: shown(&register.holders) })
    }
}

fn shown(holders: &[Holder]) -> Vec<String> {
    holders.iter().map(Holder::shown).collect()
}

fn register_of(base: &Path) -> PathBuf {
    beside(base, "esxprep-users.json")
}

fn read(base: &Path) -> Result<Option<Register>, DiskError> {
    let path = register_of(base);
    match fs::read(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(DiskError::io("read", &path)(e)),
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(register) => Ok(Some(register)),
            Err(e) => Err(DiskError::Register { path, problem: e.to_string() }),
        },
    }
}

/// Whole or not at all. Under the base's lock, so the name before the last is nobody else's.
fn write(base: &Path, register: &Register) -> Result<(), DiskError> {
    let (path, new) = (register_of(base), unfinished(base));
    let write = || -> io::Result<()> {
        // Other users' labs may stand on the same base: they must be able to read it.
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&new)?;
        serde_json::to_writer_pretty(&mut file, register)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, &path)
    };
    write().map_err(DiskError::io("write", &path))
}

fn remove_if_permitted(path: &Path) -> Result<(), DiskError> {
    match remove(path) {
        Err(DiskError::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => Ok(()),
        other => other,
    }
}

fn unfinished(base: &Path) -> PathBuf {
    beside(base, "esxprep-users.json.new")
}

/// Who holds a base now; nobody holds one that is not there.
pub fn users(base: &Path) -> Result<Vec<Holder>, DiskError> {
    match Locked::new(base) {
        Err(DiskError::NoBase { .. }) => Ok(Vec::new()),
        other => Ok(other?.holders().to_vec()),
    }
}

/// Keeps a base for a lab: read-only, and not to be removed.
pub fn pin(base: &Path, lab: &str) -> Result<(), DiskError> {
    Locked::new(base)?.add(Holder::Pin { lab: lab.to_owned() })
}

/// Keeps it no longer.
pub fn unpin(base: &Path, lab: &str) -> Result<(), DiskError> {
    match Locked::new(base) {
        Err(DiskError::NoBase { .. }) => Ok(()),
        other => other?.remove(&Holder::Pin { lab: lab.to_owned() }),
    }
}

/// Removes a base that the lab made, unless something stands on it. Done at once if it is not there.
pub fn remove_base(base: &Path, lab: &str) -> Result<(), DiskError> {
    if !is_ours(base, lab)? {
        return remove_signs(base);
    }
    let locked = Locked::new(base)?;
    if !locked.holders().is_empty() {
        return Err(DiskError::BaseInUse { path: base.to_owned(), users: shown(locked.holders()) });
    }
    remove(&register_of(locked.path()))?;
    remove(base)?;
    remove_signs(base)
}

/// Puts the register right by looking at the disks themselves: those listed, and those that may stand on the base
/// without being listed (`candidates`: path and lab). A disk that cannot be read stays listed: better a base too
/// many than one too few. Says [`DiskError::BaseChanged`] if the base was altered under its disks.
pub fn verify(base: &Path, candidates: &[(PathBuf, String)]) -> Result<Verified, DiskError> {
    let mut locked = match Locked::new(base) {
        Err(DiskError::NoBase { .. }) => return Ok(Verified::default()),
        other => other?,
    };
    let listed = read(&locked.path)?.map(|r| r.holders).unwrap_or_default();
    let stands = |path: &Path| QemuImg::default().info(path).map(|info| stands_on(&info.backing, &locked.path));
    let mut found = Verified::default();
    for holder in listed {
        let true_still = match &holder {
            Holder::Pin { .. } => true,
            Holder::Disk { path, .. } => holder.is_there() && stands(path).unwrap_or(true),
        };
        if true_still { &mut found.holders } else { &mut found.dropped }.push(holder);
    }
    for (path, lab) in candidates {
        let holder = Holder::Disk { path: path.clone(), lab: lab.clone() };
        if !found.holders.contains(&holder) && holder.is_there() && stands(path).unwrap_or(false) {
            found.added.push(holder);
        }
    }
    if let Some(mut register) = locked.register.take() {
        register.holders.clone_from(&found.holders);
        if register.holders.is_empty() && !found.added.is_empty() {
            // It stays protected; what it holds is said below.
            locked.register = Some(register);
        } else {
            locked.keep(register)?;
        }
    }
    for holder in &found.added {
        locked.add(holder.clone())?;
        found.holders.push(holder.clone());
    }
    found.holders.sort();
    if let Some(register) = &locked.register {
        let meta = locked.file.metadata().map_err(DiskError::io("look at", &locked.path))?;
        locked.check_unaltered(register, &meta)?;
    }
    Ok(found)
}

/// Whether an image's backing file is this base.
pub(super) fn stands_on(backing: &Option<PathBuf>, base: &Path) -> bool {
    let Some(backing) = backing else { return false };
    backing == base || fs::canonicalize(backing).is_ok_and(|real| real == base)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    fn base() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(dir.path()).unwrap().join("base.raw");
        fs::write(&base, [1; 512]).unwrap();
        fs::set_permissions(&base, Permissions::from_mode(0o640)).unwrap();
        (dir, base)
    }

    #[test]
    fn a_pinned_base_is_read_only_and_gets_its_mode_back() {
        let (dir, base) = base();
        pin(&base, "one").unwrap();
        pin(&base, "one").unwrap();
        pin(&base, "two").unwrap();
        assert_eq!(mode(&base), 0o444);
        assert_eq!(users(&base).unwrap().len(), 2);
        unpin(&base, "one").unwrap();
        assert_eq!(mode(&base), 0o444);
        unpin(&base, "two").unwrap();
        unpin(&base, "two").unwrap();
        assert_eq!(mode(&base), 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "the register was left");
    }

    #[test]
    fn disks_that_are_no_more_are_forgotten() {
        let (dir, base) = base();
        let disk = dir.path().join("d");
        fs::write(&disk, "").unwrap();
        let holder = Holder::Disk { path: disk.clone(), lab: "one".into() };
        Locked::new(&base).unwrap().add(holder.clone()).unwrap();
        assert_eq!(users(&base).unwrap(), [holder]);
        fs::remove_file(disk).unwrap();
        assert_eq!(users(&base).unwrap(), []);
        assert_eq!(mode(&base), 0o640);
        assert!(!register_of(&base).exists());
    }

    #[test]
    fn a_kill_between_register_and_mode_loses_no_mode() {
        let (_dir, base) = base();
        pin(&base, "one").unwrap();
        // As if the kill had come before the mode was set.
        fs::set_permissions(&base, Permissions::from_mode(0o640)).unwrap();
        pin(&base, "one").unwrap();
        assert_eq!(mode(&base), 0o444);
        unpin(&base, "one").unwrap();
        assert_eq!(mode(&base), 0o640);
    }

    #[test]
    fn an_altered_base_is_said_with_what_stands_on_it() {
        let (_dir, base) = base();
        pin(&base, "one").unwrap();
        fs::set_permissions(&base, Permissions::from_mode(0o640)).unwrap();
        fs::write(&base, [2; 1024]).unwrap();
        let error = pin(&base, "two").unwrap_err().to_string();
        assert!(error.contains("had 512 bytes and has 1024") && error.contains("lab `one`"), "{error}");
    }

    #[test]
    fn a_damaged_register_stops_everything() {
        let (_dir, base) = base();
        pin(&base, "one").unwrap();
        fs::write(register_of(&base), "{").unwrap();
        assert!(matches!(users(&base), Err(DiskError::Register { .. })));
        assert!(matches!(pin(&base, "two"), Err(DiskError::Register { .. })));
    }
}
