//! The sign that tells whose a file or folder is, and how a thing gets its name only when it is whole and signed.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, XattrFlags, getxattr, renameat_with, setxattr};
use rustix::io::Errno;

use super::DiskError;

/// The extended attribute that holds the lab's name.
const ATTRIBUTE: &str = "user.esxprep.lab";

/// The lab that made a file or folder; nothing if none did (or it lost its sign in a copy).
///
/// The sign is an extended attribute. Where the file system has none, it is a small file beside it that names the
/// inode, so that another file that has come under the same name is not taken for ours.
pub fn owner_of(path: &Path) -> Result<Option<String>, DiskError> {
    let mut buffer = [0; 256];
    match getxattr(path, ATTRIBUTE, &mut buffer[..]) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&buffer[..length]).into_owned())),
        Err(Errno::NODATA) => Ok(None),
        Err(Errno::NOTSUP) => owner_beside(path),
        Err(e) => Err(DiskError::io("read the sign of", path)(e)),
    }
}

fn owner_beside(path: &Path) -> Result<Option<String>, DiskError> {
    let beside = beside(path, "esxprep-sign");
    let text = match fs::read_to_string(&beside) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(DiskError::io("read", &beside))?,
    };
    let meta = fs::symlink_metadata(path).map_err(DiskError::io("look at", path))?;
    Ok(text.split_once(' ').filter(|(inode, _)| *inode == meta.ino().to_string()).map(|(_, lab)| lab.trim().to_owned()))
}

/// Signs `part`, which will become `path`.
fn sign(part: &Path, path: &Path, lab: &str) -> Result<(), DiskError> {
    match setxattr(part, ATTRIBUTE, lab.as_bytes(), XattrFlags::empty()) {
        Err(Errno::NOTSUP) => {
            let inode = fs::symlink_metadata(part).map_err(DiskError::io("look at", part))?.ino();
            let beside = beside(path, "esxprep-sign");
            fs::write(&beside, format!("{inode} {lab}\n")).map_err(DiskError::io("write", &beside))
        }
        other => other.map_err(DiskError::io("sign", part)),
    }
}

/// A name beside `path`, of this kind.
pub(super) fn beside(path: &Path, kind: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{kind}"));
    path.with_file_name(name)
}

/// The name under which a lab makes `path`: nobody else's.
pub(super) fn part_of(path: &Path, lab: &str) -> PathBuf {
    beside(path, &format!("{lab}.esxprep-part"))
}

/// Removes what a killed run left half made, and waits for a `qemu-img` of it that still writes there.
pub(super) fn sweep(path: &Path, lab: &str) -> Result<(), DiskError> {
    let part = part_of(path, lab);
    crate::lab::net::proc::settle(&["qemu-img"], &part.display().to_string());
    remove(&part)
}

/// Signs what was made under its part name and gives it its name; one that exists is not replaced.
pub(super) fn finish(path: &Path, lab: &str) -> Result<(), DiskError> {
    let part = part_of(path, lab);
    sign(&part, path, lab)?;
    let renamed = match renameat_with(CWD, &part, CWD, path, RenameFlags::NOREPLACE) {
        // A file system that does not know how not to replace: a second name is made only where none is.
        Err(Errno::INVAL) => fs::hard_link(&part, path).and_then(|()| fs::remove_file(&part)),
        other => other.map_err(io::Error::from),
    };
    match renamed {
        Err(e) if e.kind() == ErrorKind::AlreadyExists => {
            remove_signs(path)?;
            Err(not_ours(path, lab)?)
        }
        other => other.map_err(DiskError::io("give its name to", path)),
    }
}

/// Whether `path` is there and of the lab; another's is an error.
pub(super) fn is_ours(path: &Path, lab: &str) -> Result<bool, DiskError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        // A link would be followed to what is not ours.
        Ok(meta) if meta.is_symlink() => return Err(not_ours(path, lab)?),
        other => other.map_err(DiskError::io("look at", path))?,
    };
    if owner_of(path)?.as_deref() == Some(lab) { Ok(true) } else { Err(not_ours(path, lab)?) }
}

fn not_ours(path: &Path, lab: &str) -> Result<DiskError, DiskError> {
    let owner = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => "it is a symbolic link".to_owned(),
        _ => owner_of(path)?.map_or("it bears no sign of esxprep".into(), |other| format!("it is of lab `{other}`")),
    };
    Ok(DiskError::NotOurs { path: path.to_owned(), lab: lab.to_owned(), owner })
}

/// Removes a file; done at once if there is none.
pub(super) fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(()),
        other => other.map_err(DiskError::io("remove", path)),
    }
}

/// Removes what else was made for `path`: its half-made self and its sign.
pub(super) fn remove_signs(path: &Path) -> Result<(), DiskError> {
    remove(&beside(path, "esxprep-sign"))
}

/// Whether a thing can be made there: an absolute path with a file name, and a lab with a plain name.
pub(super) fn check(path: &Path, lab: &str) -> Result<(), DiskError> {
    let bad = |problem| DiskError::Bad { what: "a disk's path", value: path.display().to_string(), problem };
    if !path.is_absolute() {
        return Err(bad("it must be absolute: what stands on it is read from elsewhere"));
    }
    if path.file_name().is_none() {
        return Err(bad("it names no file"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if lab.is_empty() || lab.len() > 64 || !lab.chars().all(plain) {
        let problem = "1 to 64 letters, digits, `.`, `_` and `-` can be";
        return Err(DiskError::Bad { what: "a lab's name", value: lab.to_owned(), problem });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_gets_its_name_once_it_is_signed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.qcow2");
        let part = part_of(&path, "demo");
        fs::write(&part, "x").unwrap();
        finish(&path, "demo").unwrap();
        assert!(!part.exists());
        assert_eq!(owner_of(&path).unwrap().as_deref(), Some("demo"));
        assert!(is_ours(&path, "demo").unwrap());
        let error = is_ours(&path, "other").unwrap_err();
        assert!(error.is_not_ours() && error.to_string().contains("of lab `demo`"), "{error}");
    }

    #[test]
    fn what_exists_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.qcow2");
        fs::write(&path, "theirs").unwrap();
        fs::write(part_of(&path, "demo"), "ours").unwrap();
        let error = finish(&path, "demo").unwrap_err();
        assert!(error.is_not_ours() && error.to_string().contains("no sign"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[test]
    fn a_link_is_never_ours() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("d"), dir.path().join("l"));
        fs::write(part_of(&path, "demo"), "x").unwrap();
        finish(&path, "demo").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(is_ours(&link, "demo").unwrap_err().to_string().contains("symbolic link"));
        assert!(!is_ours(&dir.path().join("none"), "demo").unwrap());
    }

    #[test]
    fn a_sign_beside_is_of_one_inode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d");
        fs::write(&path, "x").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        let sign = beside(&path, "esxprep-sign");
        fs::write(&sign, format!("{inode} demo\n")).unwrap();
        assert_eq!(owner_beside(&path).unwrap().as_deref(), Some("demo"));
        fs::write(&sign, format!("{} demo\n", inode + 1)).unwrap();
        assert_eq!(owner_beside(&path).unwrap(), None);
    }

    #[test]
    fn paths_and_labs_that_cannot_be() {
        assert!(check(Path::new("/a/b"), "demo").is_ok());
        for (path, lab) in [("a/b", "demo"), ("/", "demo"), ("/a", ""), ("/a", "a/b"), ("/a", "a b")] {
            assert!(check(Path::new(path), lab).is_err(), "{path} {lab}");
        }
    }
}
