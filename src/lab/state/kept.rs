//! Small records that are replaced whole or not at all: a temporary file beside them, on the disk, moved into place.

use std::fs;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{StateError, failed};

/// One record of type `T` in one JSON file.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    path: PathBuf,
    kind: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Kept<T> {
    /// The record in this file. Nothing is read yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), kind: PhantomData }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept, if something is.
    pub fn load(&self) -> Result<Option<T>, StateError> {
        let bytes = match fs::read(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("read", &self.path))?,
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| StateError::Damaged {
            path: self.path.clone(),
            problem: e.to_string(),
            fix: "remove it to begin anew",
        })
    }

    /// Keeps a value; it is on the disk when this returns. The folder is made when it is missing.
    pub fn save(&self, value: &T) -> Result<(), StateError> {
        let mut text = serde_json::to_vec_pretty(value).map_err(|e| failed("write", &self.path)(io::Error::from(e)))?;
        text.push(b'\n');
        replace(&self.path, &text, 0o600)
    }

    /// Changes what is kept, or the default when nothing is, and gives it back.
    pub fn update(&self, change: impl FnOnce(&mut T)) -> Result<T, StateError>
    where
        T: Default,
    {
        let mut value = self.load()?.unwrap_or_default();
        change(&mut value);
        self.save(&value)?;
        Ok(value)
    }

    /// Forgets it. Nothing kept is no error.
    pub fn remove(&self) -> Result<(), StateError> {
        remove(&self.path)
    }
}

/// A password in a file that only its owner can read.
#[derive(Debug, Clone)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// The secret in this file. Nothing is read yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The secret, if it is there, without a final line feed. One that others can read is refused.
    pub fn load(&self) -> Result<Option<SecretString>, StateError> {
        let meta = match fs::metadata(&self.0) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(failed("look at", &self.0))?,
        };
        if meta.mode() & 0o077 != 0 {
            return Err(StateError::Exposed { path: self.0.clone(), mode: meta.mode() & 0o777 });
        }
        let text = fs::read_to_string(&self.0).map_err(failed("read", &self.0))?;
        Ok(Some(SecretString::from(text.strip_suffix('\n').unwrap_or(&text).to_owned())))
    }

    /// Keeps a secret, mode 0600.
    pub fn save(&self, secret: &SecretString) -> Result<(), StateError> {
        replace(&self.0, format!("{}\n", secret.expose_secret()).as_bytes(), 0o600)
    }

    /// Removes it. Nothing kept is no error.
    pub fn remove(&self) -> Result<(), StateError> {
        remove(&self.0)
    }
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Replaces a file whole or not at all; on the disk, name and all, when this returns.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), StateError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        fs::create_dir_all(dir)?;
        // Only its owner can read a temporary file; it is removed when a step fails.
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(dir)?;
        file.write_all(content)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(failed("write", path))?;
    sync_dir_of(path)
}

/// Makes a new name last: fsync of the folder.
pub(super) fn sync_dir_of(path: &Path) -> Result<(), StateError> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_record_is_kept_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::<BTreeMap<String, u32>>::at(dir.path().join("deep/er/ports.json"));
        assert_eq!(kept.load().unwrap(), None);
        kept.update(|m| {
            m.insert("h1".into(), 1);
        })
        .unwrap();
        let both = kept
            .update(|m| {
                m.insert("h2".into(), 2);
            })
            .unwrap();
        assert_eq!(kept.load().unwrap().unwrap(), both);
        assert_eq!(both.len(), 2);
        let names: Vec<_> = fs::read_dir(kept.path().parent().unwrap()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
        kept.remove().unwrap();
        kept.remove().unwrap();
        assert_eq!(kept.load().unwrap(), None);
    }

    #[test]
    fn a_damaged_record_says_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        fs::write(&path, "{").unwrap();
        let error = Kept::<u32>::at(&path).load().unwrap_err().to_string();
        assert!(error.contains("x.json") && error.contains("remove it"), "{error}");
    }

    #[test]
    fn a_secret_that_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let secret = SecretFile::at(dir.path().join("password"));
        assert!(secret.load().unwrap().is_none());
        secret.save(&SecretString::from("VMware1!\nx".to_owned())).unwrap();
        assert_eq!(fs::metadata(secret.path()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(secret.load().unwrap().unwrap().expose_secret(), "VMware1!\nx");
        fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(secret.load(), Err(StateError::Exposed { mode: 0o644, .. })));
    }
}
