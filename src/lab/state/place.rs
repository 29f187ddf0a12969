//! Where a lab lives. Disks, logs and records are in its folder; sockets are in a second, short and private folder,
//! because a unix socket's path has at most 107 bytes and a home directory may be longer than that.
//!
//! The lab's folder says which its runtime folder is, so that an esxprep with another environment (cron, sudo, a second
//! login) finds the guests of the first.

use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};

use super::kept::replace;
use super::{Lock, StateError, failed};

/// The variable that names another folder for labs.
pub const LAB_HOME_VARIABLE: &str = "ESXPREP_LAB_HOME";
/// Longest path of a unix socket in bytes: `sun_path` has 108 with the final NUL (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;
/// The file in a runtime folder that says whose it is.
const OWNER_FILE: &str = "lab";
/// The file in a lab's folder that says where its runtime folder is.
const RUNTIME_FILE: &str = "runtime";

/// A lab's two folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    name: String,
    dir: PathBuf,
    runtime: PathBuf,
}

impl Place {
    /// The place of the lab of this name below `home`, else below `$ESXPREP_LAB_HOME`, else below
    /// `$XDG_DATA_HOME/esxprep/labs`. Nothing is created.
    pub fn find(name: &str, home: Option<&Path>) -> Result<Self, StateError> {
        let home = match home {
            Some(home) => home.to_owned(),
            None => labs_home()?,
        };
        Self::at(name, &home, &runtime_base())
    }

    /// With everything said: the lab's folder is `home/name`, its runtime folder is below `runtime_base`.
    pub fn at(name: &str, home: &Path, runtime_base: &Path) -> Result<Self, StateError> {
        check_name(name)?;
        let dir = real(&home.join(name)).map_err(failed("find", home))?;
        let recorded = fs::read(dir.join(RUNTIME_FILE)).ok().map(|path| PathBuf::from(OsString::from_vec(path)));
        // One that is gone (another boot) is of no use any more.
        let recorded = recorded.filter(|path| path.is_absolute() && path.is_dir());
        let runtime = recorded.unwrap_or_else(|| runtime_base.join(short_hash(&dir)));
        Ok(Self { name: name.to_owned(), dir, runtime })
    }

    /// Names of the labs below `home` (or the usual place), sorted.
    pub fn all(home: Option<&Path>) -> Result<Vec<String>, StateError> {
        let home = match home {
            Some(home) => home.to_owned(),
            None => labs_home()?,
        };
        let entries = match fs::read_dir(&home) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed("list", &home))?,
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok().filter(|e| e.path().is_dir())?.file_name().into_string().ok())
            .filter(|name| check_name(name).is_ok())
            .collect();
        names.sort();
        Ok(names)
    }

    /// Makes both folders where they are missing, readable by their owner alone. A runtime folder that is a
    /// symbolic link or somebody else's is refused: who owns it could put their own sockets there.
    pub fn make(&self) -> Result<(), StateError> {
        // A runtime folder with a long path is noticed here and not when the first guest starts.
        self.socket("0123456789abcdef.sock")?;
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).map_err(failed("create", &self.dir))?;
        if let Some(base) = self.runtime.parent() {
            make_own_dir(base)?;
        }
        make_own_dir(&self.runtime)?;
        let owner = self.runtime.join(OWNER_FILE);
        fs::write(&owner, self.dir.as_os_str().as_encoded_bytes()).map_err(failed("write", &owner))?;
        replace(&self.dir.join(RUNTIME_FILE), self.runtime.as_os_str().as_encoded_bytes(), 0o600)?;
        Ok(())
    }

    /// Removes the runtime folder if nothing but what esxprep put there is in it; true when it is gone.
    pub fn remove_runtime(&self) -> Result<bool, StateError> {
        match fs::symlink_metadata(&self.runtime) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(true),
            other => other.map_err(failed("look at", &self.runtime))?,
        };
        check_own_dir(&self.runtime)?;
        let others = fs::read_dir(&self.runtime)
            .map_err(failed("list", &self.runtime))?
            .filter_map(Result::ok)
            .any(|entry| entry.file_name() != OWNER_FILE);
        if others {
            return Ok(false);
        }
        let owner = self.runtime.join(OWNER_FILE);
        match fs::remove_file(&owner) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &owner)(e)),
            _ => {}
        }
        fs::remove_dir(&self.runtime).map_err(failed("remove", &self.runtime))?;
        // The folder above is shared by the user's labs: it goes with the last one.
        if let Some(base) = self.runtime.parent() {
            let _ = fs::remove_dir(base);
        }
        Ok(true)
    }

    /// Removes what esxprep keeps of a lab of which nothing stands any more: the runtime folder, these records (file
    /// names in the lab's folder), the journal if it is empty, the lock, and the folder itself. What else is in it
    /// stays, and with it the folder: its paths are given back.
    pub fn remove(&self, lock: Lock, records: &[&str]) -> Result<Vec<PathBuf>, StateError> {
        self.remove_runtime()?;
        let journal = self.journal();
        let empty = fs::metadata(&journal).is_ok_and(|meta| meta.len() == 0);
        let files = records.iter().copied().chain([RUNTIME_FILE]).map(|name| self.dir.join(name));
        for path in files.chain(empty.then_some(journal)) {
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &path)(e)),
                _ => {}
            }
        }
        let lock_file = self.lock_file();
        let mut left: Vec<_> = fs::read_dir(&self.dir)
            .map_err(failed("list", &self.dir))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| *path != lock_file)
            .collect();
        left.sort();
        if left.is_empty() {
            lock.remove()?;
            match fs::remove_dir(&self.dir) {
                // Another esxprep may have begun the lab anew, once the lock was gone.
                Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                    return Err(failed("remove", &self.dir)(e));
                }
                _ => {}
            }
        }
        Ok(left)
    }

    /// The lab's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its runtime folder, for sockets.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Whether the lab's folder is there.
    pub fn exists(&self) -> bool {
        self.dir.is_dir()
    }

    /// The journal of things made.
    pub fn journal(&self) -> PathBuf {
        self.dir.join("journal.jsonl")
    }

    /// The lock's file.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The folder of one host: its disks, logs and records.
    pub fn host(&self, host: &str) -> PathBuf {
        self.dir.join("hosts").join(host)
    }

    /// The path of a socket of this file name; checked against the kernel's limit.
    pub fn socket(&self, name: &str) -> Result<PathBuf, StateError> {
        let path = self.runtime.join(name);
        if path.as_os_str().len() > SOCKET_PATH_MAX { Err(StateError::SocketPath { path }) } else { Ok(path) }
    }
}

/// Runtime folders whose lab's folder is gone, for `gc`: (runtime folder, the lab's folder that it names).
pub(super) fn orphans(base: &Path) -> Vec<(PathBuf, PathBuf)> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let lab = PathBuf::from(fs::read_to_string(entry.path().join(OWNER_FILE)).ok()?);
            (!lab.exists()).then(|| (entry.path(), lab))
        })
        .collect();
    found.sort();
    found
}

impl Place {
    /// Runtime folders of this user whose lab's folder is gone: (runtime folder, the lab's folder that it names).
    pub fn orphans() -> Vec<(PathBuf, PathBuf)> {
        orphans(&runtime_base())
    }
}

/// `$ESXPREP_LAB_HOME`, else `$XDG_DATA_HOME/esxprep/labs`, else `~/.local/share/esxprep/labs`.
fn labs_home() -> Result<PathBuf, StateError> {
    if let Some(dir) = std::env::var_os(LAB_HOME_VARIABLE).filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    let base = etcetera::base_strategy::Xdg::new().map_err(|_| StateError::NoPlace)?;
    Ok(base.data_dir().join("esxprep").join("labs"))
}

/// `$XDG_RUNTIME_DIR/esxprep` when that folder is ours and lasts, else `/tmp/esxprep-<uid>`.
fn runtime_base() -> PathBuf {
    let xdg = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    match xdg.filter(|dir| lasts(dir)) {
        Some(dir) => dir.join("esxprep"),
        None => PathBuf::from(format!("/tmp/esxprep-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Whether sockets in a runtime folder live as long as guests do. After `sudo` it is another user's. `/run/user/<uid>`
/// is removed at the user's last logout (pam_systemd(8)) while guests live on, whose monitors nobody could reach then.
fn lasts(dir: &Path) -> bool {
    let own = |meta: fs::Metadata| meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw();
    dir.is_absolute() && !dir.starts_with("/run/user") && fs::metadata(dir).is_ok_and(own)
}

/// A name that is a file name, cannot climb out, and cannot be taken for an option.
fn check_name(name: &str) -> Result<(), StateError> {
    let why = if name.is_empty() {
        "it is empty"
    } else if name.len() > 64 {
        "it is too long"
    } else if name.starts_with(['.', '-']) {
        "it begins with `.` or `-`"
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        "it holds something else"
    } else {
        return Ok(());
    };
    Err(StateError::BadName { name: name.to_owned(), why })
}

/// The path without links, as far as it exists: a lab reached by two ways has one runtime folder.
fn real(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut there = path.as_path();
    loop {
        match fs::canonicalize(there) {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |dir, name| dir.join(name))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else { return Ok(path) };
        missing.push(name);
        there = parent;
    }
}

/// 8 hexadecimal digits for a folder.
fn short_hash(dir: &Path) -> String {
    Sha256::digest(dir.as_os_str().as_encoded_bytes()).iter().take(4).map(|b| format!("{b:02x}")).collect()
}

fn make_own_dir(path: &Path) -> Result<(), StateError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(failed("create", path)(e)),
    }
    check_own_dir(path)?;
    // Ours, so others were let in by mistake.
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed("protect", path))
}

fn check_own_dir(path: &Path) -> Result<(), StateError> {
    let meta = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let why = if meta.file_type().is_symlink() {
        "it is a symbolic link".to_owned()
    } else if !meta.is_dir() {
        "it is not a folder".to_owned()
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        format!("it belongs to user {}", meta.uid())
    } else {
        return Ok(());
    };
    Err(StateError::NotOurs { path: path.to_owned(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_climb_or_look_like_options_are_refused() {
        for bad in ["", "..", ".x", "-x", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for good in ["article", "two-node-8", "a.b_c", &"x".repeat(64)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_lab_reached_by_a_link_has_the_same_runtime_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (labs, link, run) = (dir.path().join("labs"), dir.path().join("link"), dir.path().join("run"));
        fs::create_dir(&labs).unwrap();
        std::os::unix::fs::symlink(&labs, &link).unwrap();
        let one = Place::at("a", &labs, &run).unwrap();
        assert_eq!(one, Place::at("a", &link, &run).unwrap(), "before the folder is made");
        one.make().unwrap();
        assert_eq!(one, Place::at("a", &link, &run).unwrap());
        assert_ne!(one.runtime(), Place::at("b", &labs, &run).unwrap().runtime());
        assert_eq!(Place::all(Some(&labs)).unwrap(), ["a"]);
    }

    #[test]
    fn folders_are_private_and_go_when_empty() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
        let place = Place::at("a", &dir.path().join("labs"), &run).unwrap();
        place.make().unwrap();
        for path in [&run, place.dir(), place.runtime()] {
            assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o700, "{}", path.display());
        }
        let socket = place.socket("h1.qmp").unwrap();
        fs::write(&socket, "").unwrap();
        assert!(!place.remove_runtime().unwrap(), "a socket is still there");
        fs::remove_file(&socket).unwrap();
        assert!(place.remove_runtime().unwrap());
        assert!(!run.exists());
        assert!(place.remove_runtime().unwrap(), "a second time");
    }

    #[test]
    fn a_lab_of_which_nothing_stands_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (labs, run) = (dir.path().join("labs"), dir.path().join("run"));
        let place = Place::at("a", &labs, &run).unwrap();
        place.make().unwrap();
        let foreign = place.dir().join("notes.txt");
        for file in [&foreign, &place.dir().join("ports.json"), &place.journal()] {
            fs::write(file, "").unwrap();
        }
        let lock = Lock::take(&place, "lab down").unwrap();
        assert_eq!(place.remove(lock, &["ports.json", "stages.json"]).unwrap(), std::slice::from_ref(&foreign));
        assert!(foreign.exists() && !run.exists());
        // A journal in which something stands is not thrown away.
        fs::write(place.journal(), "{}\n").unwrap();
        fs::remove_file(&foreign).unwrap();
        let lock = Lock::take(&place, "lab down").unwrap();
        assert_eq!(place.remove(lock, &[]).unwrap(), [place.journal()]);
        fs::remove_file(place.journal()).unwrap();
        let lock = Lock::take(&place, "lab down").unwrap();
        assert!(place.remove(lock, &[]).unwrap().is_empty());
        assert!(!place.exists());
    }

    #[test]
    fn another_environment_finds_the_same_runtime_folder_while_it_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (labs, run, other) = (dir.path().join("labs"), dir.path().join("run"), dir.path().join("other"));
        let place = Place::at("a", &labs, &run).unwrap();
        place.make().unwrap();
        assert_eq!(Place::at("a", &labs, &other).unwrap(), place);
        assert!(place.remove_runtime().unwrap());
        assert!(Place::at("a", &labs, &other).unwrap().runtime().starts_with(&other));
    }

    #[test]
    fn a_runtime_folder_that_does_not_last_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        assert!(lasts(dir.path()));
        for not in [Path::new("/run/user/0"), Path::new("relative"), &dir.path().join("none")] {
            assert!(!lasts(not), "{}", not.display());
        }
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            assert!(!lasts(dir.path()), "another user's");
        }
    }

    #[test]
    fn a_link_or_somebody_elses_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (labs, run) = (dir.path().join("labs"), dir.path().join("run"));
        std::os::unix::fs::symlink("/tmp", &run).unwrap();
        let error = Place::at("a", &labs, &run).unwrap().make().unwrap_err().to_string();
        assert!(error.contains("symbolic link"), "{error}");
        fs::remove_file(&run).unwrap();
        fs::write(&run, "").unwrap();
        assert!(Place::at("a", &labs, &run).unwrap().make().unwrap_err().to_string().contains("not a folder"));
        // Only root can give a folder away, and only root can test it.
        if rustix::process::geteuid().is_root() {
            fs::remove_file(&run).unwrap();
            fs::create_dir(&run).unwrap();
            std::os::unix::fs::chown(&run, Some(65534), None).unwrap();
            let error = Place::at("a", &labs, &run).unwrap().make().unwrap_err().to_string();
            assert!(error.contains("user 65534"), "{error}");
        }
    }

    #[test]
    fn a_socket_path_too_long_for_the_kernel_is_refused_early() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("x".repeat(100));
        let place = Place::at("a", dir.path(), &base).unwrap();
        let error = place.make().unwrap_err();
        assert!(matches!(error, StateError::SocketPath { .. }), "{error}");
        assert!(!place.exists(), "nothing was made");
        let short = PathBuf::from("/r");
        let place = Place::at("a", dir.path(), &short).unwrap();
        let room = SOCKET_PATH_MAX - place.runtime().as_os_str().len() - 1;
        assert!(place.socket(&"s".repeat(room)).is_ok());
        assert!(place.socket(&"s".repeat(room + 1)).is_err());
    }

    #[test]
    fn a_runtime_folder_without_its_lab_is_an_orphan() {
        let dir = tempfile::tempdir().unwrap();
        let (labs, run) = (dir.path().join("labs"), dir.path().join("run"));
        let place = Place::at("a", &labs, &run).unwrap();
        place.make().unwrap();
        assert!(orphans(&run).is_empty());
        fs::remove_dir_all(place.dir()).unwrap();
        assert_eq!(orphans(&run), [(place.runtime().to_owned(), place.dir().to_owned())]);
    }
}
