//! Rebuilt ISOs, kept by what they were made of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::{RemasterError, RemasterSpec, Xorriso, remaster};
use crate::lab::install::iso::{IsoInfo, inspect, inspect_without_hash};

/// The name of what a spec makes of an ISO: everything that alters the result is in it.
pub fn cache_key(iso_sha256: &str, spec: &RemasterSpec) -> String {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        // With lengths, so that no two different specs give the same bytes.
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(b"esxprep rebuilt ISO 1");
    part(iso_sha256.as_bytes());
    match &spec.ks {
        Some(ks) => {
            part(b"ks");
            part(ks.as_bytes());
        }
        None => part(b"no ks"),
    }
    part(format!("{:?}", spec.boot).as_bytes());
    part(&[u8::from(spec.rock_ridge)]);
    crate::lab::install::iso::hex(&hash.finalize())
}

/// A folder of rebuilt ISOs.
#[derive(Debug, Clone)]
pub struct IsoCache {
    folder: PathBuf,
}

impl IsoCache {
    /// The cache in this folder; it is made when something is stored.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Where the ISO for a key is or would be.
    pub fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.iso"))
    }

    /// The rebuilt ISO, from the cache or made now, and whether it was there. `original` must have its hash (from
    /// [`inspect`]); without it, it is looked at again. Two that make the same one at once both succeed.
    pub fn get(
        &self,
        xorriso: impl FnOnce() -> Result<Xorriso, RemasterError>,
        original: &IsoInfo,
        spec: &RemasterSpec,
    ) -> Result<(IsoInfo, bool), RemasterError> {
        let hashed;
        let original = if original.sha256.is_empty() {
            hashed = inspect(&original.path)?;
            &hashed
        } else {
            original
        };
        let path = self.path(&cache_key(&original.sha256, spec));
        // Only whole files are ever renamed to such a name; one that cannot be read all the same is made again.
        if path.exists()
            && let Ok(info) = inspect_without_hash(&path)
        {
            touch(&path);
            return Ok((info, true));
        }
        Ok((remaster(&xorriso()?, original, spec, &path)?, false))
    }

    /// Removes the ISOs that were not used for longest until the rest takes at most `keep` bytes; says which went.
    /// Also removes what a killed run left behind half-made, if it is older than a day.
    pub fn evict(&self, keep: u64) -> Result<Vec<PathBuf>, RemasterError> {
        let io = |doing, path: &Path| {
            let path = path.to_owned();
            move |source| RemasterError::Io { doing, path, source }
        };
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(io("list", &self.folder))?,
        };
        let mut isos: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        let mut gone = Vec::new();
        for entry in entries {
            let entry = entry.map_err(io("list", &self.folder))?;
            let path = entry.path();
            // Another process may remove it meanwhile.
            let Ok(meta) = fs::symlink_metadata(&path) else { continue };
            let time = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = entry.file_name().to_string_lossy().into_owned();
            let day_old = time.elapsed().is_ok_and(|age| age.as_secs() > 24 * 3600);
            if meta.is_dir() && name.starts_with(".esxprep-iso-") && day_old {
                fs::remove_dir_all(&path).map_err(io("remove", &path))?;
                gone.push(path);
            } else if meta.is_file() && is_key(&name) {
                isos.push((time, meta.len(), path));
            }
        }
        isos.sort();
        let mut total: u64 = isos.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in isos {
            if total <= keep {
                break;
            }
            match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(io("remove", &path))?,
            }
            total -= size;
            gone.push(path);
        }
        Ok(gone)
    }
}

/// Whether a file name is one of this cache: nothing else is ever removed.
fn is_key(name: &str) -> bool {
    name.strip_suffix(".iso").is_some_and(|key| key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Marks a file as used now; that it cannot be marked does not matter.
fn touch(path: &Path) {
    if let Ok(file) = fs::File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_alters_the_iso_alters_its_name() {
        let base = RemasterSpec::with_ks("accepteula\n");
        let mut all = vec![cache_key("a", &base), cache_key("b", &base)];
        let mut with = |change: &dyn Fn(&mut RemasterSpec)| {
            let mut spec = base.clone();
            change(&mut spec);
            all.push(cache_key("a", &spec));
        };
        with(&|s| s.ks = Some("accepteula".into()));
        with(&|s| s.ks = None);
        with(&|s| s.boot.ks = Some("usb:/KS.CFG".into()));
        with(&|s| s.boot.keep_cdrom_boot = true);
        with(&|s| s.boot.system_media_size = Some("min".into()));
        with(&|s| s.boot.extra.push("logPort=com1".into()));
        with(&|s| s.rock_ridge = false);
        let unique: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(unique.len(), all.len());
        assert_eq!(cache_key("a", &base), cache_key("a", &base.clone()));
        assert!(is_key(&format!("{}.iso", all[0])));
    }

    #[test]
    fn eviction_takes_the_oldest_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let cache = IsoCache::new(dir.path().join("cache"));
        assert!(cache.evict(0).unwrap().is_empty(), "no folder");
        fs::create_dir_all(&cache.folder).unwrap();
        let names: Vec<PathBuf> = ["a", "b", "c"].iter().map(|n| cache.path(&n.repeat(64))).collect();
        for (age, name) in [300, 200, 100].iter().zip(&names) {
            fs::write(name, [0; 100]).unwrap();
            let time = SystemTime::now() - std::time::Duration::from_secs(*age);
            fs::File::options().append(true).open(name).unwrap().set_modified(time).unwrap();
        }
        let other = cache.folder.join("mine.iso");
        fs::write(&other, [0; 5000]).unwrap();
        touch(&names[0]);
        assert_eq!(cache.evict(250).unwrap(), [names[1].clone()]);
        assert_eq!(cache.evict(0).unwrap(), [names[2].clone(), names[0].clone()]);
        assert!(other.exists(), "a file of another name is not ours");
    }
}
