//! A folder of files named by their content, each put in place in one step; and how programs of this machine are run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::StandinError;
use super::error::IoContext;

/// Names of what is removed when it was not wanted for [`KEEP`].
const PRUNED: &[&str] = &["initrd-", "installer-", "vmlinux-"];
const KEEP: Duration = Duration::from_secs(3 * 24 * 3600);

/// The cache folder.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// `dir`, or `esxprep/standin` in the user's cache folder; made if it is not there.
    pub(super) fn open(dir: Option<&Path>) -> Result<Cache, StandinError> {
        use etcetera::BaseStrategy;
        let dir = match dir {
            Some(dir) => dir.to_path_buf(),
            None => etcetera::choose_base_strategy()
                .map_err(|_| StandinError::NoCache)?
                .cache_dir()
                .join("esxprep")
                .join("standin"),
        };
        fs::create_dir_all(&dir).doing("create", &dir)?;
        let dir = dir.canonicalize().doing("find", &dir)?;
        Ok(Cache { dir })
    }

    /// A path in the cache.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new folder inside the cache, removed on drop: for what is made step by step.
    pub(super) fn scratch(&self) -> Result<tempfile::TempDir, StandinError> {
        tempfile::Builder::new().prefix(".new-").tempdir_in(&self.dir).doing("create a folder in", &self.dir)
    }

    /// The file `name`; if it is not there `make` writes it to the path it is given. Others see it whole or not at all.
    pub(super) fn file(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), StandinError>,
    ) -> Result<PathBuf, StandinError> {
        let path = self.path(name);
        if path.is_file() {
            // The time says when it was last wanted.
            if let Ok(file) = fs::File::options().append(true).open(&path) {
                let _ = file.set_modified(SystemTime::now());
            }
            return Ok(path);
        }
        self.prune();
        let scratch = self.scratch()?;
        let new = scratch.path().join("new");
        make(&new)?;
        fs::rename(&new, &path).doing("put in place", &path)?;
        Ok(path)
    }

    /// Removes what nobody asked for in days: each build of esxprep makes an initramfs, each kickstart an ISO.
    fn prune(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let time = entry.metadata().and_then(|meta| meta.modified());
            let old = time.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEEP));
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if old && PRUNED.iter().any(|start| name.starts_with(start)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// 16 hex digits of a digest: enough to tell contents of one cache apart.
pub(super) fn key(hasher: Sha256) -> String {
    hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The same of a file's bytes.
pub(super) fn key_of(bytes: &[u8]) -> String {
    key(Sha256::new().chain_update(bytes))
}

/// Runs a program to its end and returns what it printed.
pub(super) fn run(command: &mut Command, name: &'static str, advice: &'static str) -> Result<Vec<u8>, StandinError> {
    let shown = format!("{command:?}");
    let output = match command.stdin(std::process::Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StandinError::MissingProgram { name, advice });
        }
        Err(source) => return Err(StandinError::Io { action: "run", path: PathBuf::from(name), source }),
    };
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().rev().take(5).collect();
    let stderr = lines.into_iter().rev().collect::<Vec<_>>().join(" / ");
    Err(StandinError::Program { command: shown, status: output.status.to_string(), stderr })
}

/// The file that the machine would run for `name`.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    const PLACES: &[&str] = &["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_once_and_never_seen_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let failed = cache.file("x", |path| {
            fs::write(path, b"half").unwrap();
            Err(StandinError::NoCache)
        });
        assert!(failed.is_err() && !cache.path("x").exists());
        cache.file("x", |path| fs::write(path, b"whole").doing("write", path)).unwrap();
        let again = cache.file("x", |_| panic!("made twice")).unwrap();
        assert_eq!(fs::read(again).unwrap(), b"whole");
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "scratch folders are removed");
    }

    #[test]
    fn what_was_not_wanted_for_days_goes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(dir.path())).unwrap();
        let old = SystemTime::now() - KEEP - Duration::from_secs(60);
        for name in ["initrd-1.gz", "initrd-2.gz", "kernel"] {
            fs::write(cache.path(name), b"x").unwrap();
            fs::File::options().append(true).open(cache.path(name)).unwrap().set_modified(old).unwrap();
        }
        // One of them is wanted again before the next is made.
        cache.file("initrd-2.gz", |_| panic!("it is there")).unwrap();
        cache.file("initrd-3.gz", |path| fs::write(path, b"x").doing("write", path)).unwrap();
        let there = |name: &str| cache.path(name).exists();
        assert!(!there("initrd-1.gz") && there("initrd-2.gz") && there("initrd-3.gz") && there("kernel"));
    }

    #[test]
    fn a_failed_program_is_shown_with_its_words() {
        let error = run(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"]), "sh", "").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("no such luck") && text.contains('3'), "{text}");
        let missing = run(&mut Command::new("esxprep-no-such-program"), "nothing", "install it").unwrap_err();
        assert!(matches!(missing, StandinError::MissingProgram { .. }));
    }
}
