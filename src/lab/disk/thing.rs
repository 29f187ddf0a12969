//! What the disks of a lab make on a machine, one value a thing, as the journal keeps it.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::base::{Holder, Locked, pin, remove_base, stands_on, unpin, users};
use super::facts::real_base;
use super::sign::{check, finish, is_ours, part_of, remove_signs, sweep};
use super::{Create, DiskError, How, Info, QemuImg, copy, fs_facts};

/// A thing that was or will be made. [`Thing::make`] may be called any number of times, and so may
/// [`Thing::unmake`]: of something absent it is done at once, of something that is another's it is refused
/// ([`DiskError::is_not_ours`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Thing {
    /// A folder.
    Folder(Folder),
    /// A new, empty disk.
    Disk(Disk),
    /// A clone of another disk.
    Clone(CloneDisk),
    /// A base that is kept.
    ReadOnlyBase(ReadOnlyBase),
}

/// How a thing came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Made {
    /// It is new.
    New,
    /// It was there from an earlier run, as it is wanted.
    Reused,
}

/// A folder that only its owner can look into. It goes only when it is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The lab.
    pub lab: String,
    /// Its path, absolute; the folder above it must be there.
    pub path: PathBuf,
}

/// A thin, empty disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// The lab.
    pub lab: String,
    /// Its path, absolute.
    pub path: PathBuf,
    /// `qcow2` or another format that `qemu-img` makes.
    #[serde(default = "qcow2")]
    pub format: String,
    /// Bytes that the guest sees.
    pub size: u64,
}

/// A clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneDisk {
    /// The lab.
    pub lab: String,
    /// Its path, absolute.
    pub path: PathBuf,
    /// The disk that it is a clone of, absolute.
    pub base: PathBuf,
    /// The base's format.
    pub base_format: String,
    /// The way, as [`super::choose`] gave it.
    pub how: How,
    /// Bytes that the guest sees; none: as the base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// A base that a lab wants kept although nothing may stand on it yet, such as an installed image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOnlyBase {
    /// The lab.
    pub lab: String,
    /// Its path, absolute.
    pub path: PathBuf,
}

fn qcow2() -> String {
    "qcow2".into()
}

impl Thing {
    /// Makes it, or finds it as wanted.
    pub fn make(&self) -> Result<Made, DiskError> {
        match self {
            Self::Folder(t) => t.make(),
            Self::Disk(t) => t.make(),
            Self::Clone(t) => t.make(),
            Self::ReadOnlyBase(t) => t.make(),
        }
    }

    /// Removes exactly what [`Thing::make`] adds.
    pub fn unmake(&self) -> Result<(), DiskError> {
        match self {
            Self::Folder(t) => t.unmake(),
            Self::Disk(t) => t.unmake(),
            Self::Clone(t) => t.unmake(),
            Self::ReadOnlyBase(t) => t.unmake(),
        }
    }
}

impl Folder {
    /// Makes it.
    pub fn make(&self) -> Result<Made, DiskError> {
        check(&self.path, &self.lab)?;
        if is_ours(&self.path, &self.lab)? {
            return Ok(Made::Reused);
        }
        let part = part_of(&self.path, &self.lab);
        remove_empty(&part)?;
        DirBuilder::new().mode(0o700).create(&part).map_err(DiskError::io("create the folder", &part))?;
        finish(&self.path, &self.lab)?;
        Ok(Made::New)
    }

    /// Makes new files in it NOCOW where that is of use (btrfs), so that whatever is copied into it is so too.
    pub fn set_nocow(&self) -> Result<bool, DiskError> {
        if !fs_facts(&self.path)?.wants_nocow() {
            return Ok(false);
        }
        let dir = File::open(&self.path).map_err(DiskError::io("open", &self.path))?;
        copy::set_nocow(&dir, true).map_err(DiskError::io("set NOCOW of", &self.path))?;
        Ok(true)
    }

    /// Removes it, if it is empty.
    pub fn unmake(&self) -> Result<(), DiskError> {
        check(&self.path, &self.lab)?;
        remove_empty(&part_of(&self.path, &self.lab))?;
        if is_ours(&self.path, &self.lab)? {
            remove_empty(&self.path)?;
            remove_signs(&self.path)?;
        }
        Ok(())
    }
}

fn remove_empty(dir: &Path) -> Result<(), DiskError> {
    match fs::remove_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::DirectoryNotEmpty => {
            let entries = fs::read_dir(dir).map_err(DiskError::io("list", dir))?;
            let names = entries.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).take(5);
            Err(DiskError::NotEmpty { path: dir.to_owned(), names: names.collect() })
        }
        other => other.map_err(DiskError::io("remove", dir)),
    }
}

impl Disk {
    /// Makes it. One of the lab with this format and size is taken as it is.
    pub fn make(&self) -> Result<Made, DiskError> {
        let Self { lab, path, format, size } = self;
        check(path, lab)?;
        if *size == 0 {
            let problem = "a disk without a byte is none";
            return Err(DiskError::Bad { what: "a disk's size", value: size.to_string(), problem });
        }
        if is_ours(path, lab)? {
            agrees(path, &QemuImg::default().info(path)?, format, Some(*size), None)?;
            return Ok(Made::Reused);
        }
        sweep(path, lab)?;
        let part = part_of(path, lab);
        let nocow = fs_facts(parent(path))?.wants_nocow();
        let new = Create { path: &part, format, size: Some(*size), nocow, backing: None };
        whole_or_nothing(path, lab, QemuImg::default().create(&new))
    }

    /// Removes it, unless something stands on it.
    pub fn unmake(&self) -> Result<(), DiskError> {
        check(&self.path, &self.lab)?;
        sweep(&self.path, &self.lab)?;
        remove_base(&self.path, &self.lab)
    }
}

impl CloneDisk {
    fn holder(&self) -> Holder {
        // Without links, so that it is found whichever way one comes.
        let path = match (fs::canonicalize(parent(&self.path)), self.path.file_name()) {
            (Ok(dir), Some(name)) => dir.join(name),
            _ => self.path.clone(),
        };
        Holder::Disk { path, lab: self.lab.clone() }
    }

    /// Makes it the way that was chosen. One of the lab that stands as wanted is taken as it is, contents and all.
    pub fn make(&self) -> Result<Made, DiskError> {
        check(&self.path, &self.lab)?;
        check(&self.base, &self.lab)?;
        if self.how == How::Linked {
            return self.make_linked();
        }
        let base = real_base(&self.base)?;
        if is_ours(&self.path, &self.lab)? {
            agrees(&self.path, &QemuImg::default().info(&self.path)?, &self.base_format, self.size, None)?;
            return Ok(Made::Reused);
        }
        let qemu_img = QemuImg::default();
        let info = qemu_img.info_unused(&base)?;
        self.check_format(&info)?;
        sweep(&self.path, &self.lab)?;
        whole_or_nothing(&self.path, &self.lab, self.copy(&base, &info))
    }

    fn copy(&self, base: &Path, info: &Info) -> Result<(), DiskError> {
        let qemu_img = QemuImg::default();
        let part = part_of(&self.path, &self.lab);
        let nocow = fs_facts(parent(&self.path))?.wants_nocow();
        match (self.how, &info.backing_as_written) {
            (How::Reflink, None) => copy::reflink(base, &part)?,
            (How::Reflink, Some(_)) => {
                let reason = "the base stands on another image itself".into();
                let advice = "leave the way out to have the best possible one";
                return Err(DiskError::CannotClone { base: base.to_owned(), how: self.how, reason, advice });
            }
            (_, None) => copy::full(base, &part, nocow)?,
            (_, Some(_)) => qemu_img.convert(base, &self.base_format, &part, &self.base_format, nocow)?,
        }
        match self.size.filter(|s| *s != info.virtual_size) {
            Some(size) => qemu_img.grow(&part, size),
            None => Ok(()),
        }
    }

    /// All under the base's lock: nobody removes the base, nor drops the entry of a disk that is not there yet.
    fn make_linked(&self) -> Result<Made, DiskError> {
        let mut base = Locked::new(&self.base)?;
        let qemu_img = QemuImg::default();
        let info = qemu_img.info_unused(base.path())?;
        self.check_format(&info)?;
        if let Some(size) = self.size.filter(|s| *s < info.virtual_size) {
            return Err(DiskError::Shrink { path: self.path.clone(), now: info.virtual_size, wanted: size });
        }
        if is_ours(&self.path, &self.lab)? {
            let size = self.size.or(Some(info.virtual_size));
            agrees(&self.path, &qemu_img.info(&self.path)?, "qcow2", size, Some(base.path()))?;
            base.add(self.holder())?;
            return Ok(Made::Reused);
        }
        base.add(self.holder())?;
        sweep(&self.path, &self.lab)?;
        let part = part_of(&self.path, &self.lab);
        let made = fs_facts(parent(&self.path)).and_then(|fs| {
            let backing = Some((base.path(), self.base_format.as_str()));
            let nocow = fs.wants_nocow();
            qemu_img.create(&Create { path: &part, format: "qcow2", size: self.size, nocow, backing })
        });
        let made = whole_or_nothing(&self.path, &self.lab, made);
        if made.is_err() {
            // The error that matters is the first.
            let _ = base.remove(&self.holder());
        }
        made
    }

    fn check_format(&self, base: &Info) -> Result<(), DiskError> {
        if base.format == self.base_format {
            return Ok(());
        }
        let problem = format!("its format is {}, not {}", base.format, self.base_format);
        Err(DiskError::Differs { path: self.base.clone(), problem })
    }

    /// Removes it, unless something stands on it in turn, and its entry at the base.
    pub fn unmake(&self) -> Result<(), DiskError> {
        check(&self.path, &self.lab)?;
        sweep(&self.path, &self.lab)?;
        if self.how != How::Linked {
            return remove_base(&self.path, &self.lab);
        }
        let mut base = match Locked::new(&self.base) {
            Err(DiskError::NoBase { .. }) => return remove_base(&self.path, &self.lab),
            other => other?,
        };
        remove_base(&self.path, &self.lab)?;
        base.remove(&self.holder())
    }
}

impl ReadOnlyBase {
    /// Keeps it.
    pub fn make(&self) -> Result<Made, DiskError> {
        check(&self.path, &self.lab)?;
        let pinned = users(&self.path)?.contains(&Holder::Pin { lab: self.lab.clone() });
        pin(&self.path, &self.lab)?;
        Ok(if pinned { Made::Reused } else { Made::New })
    }

    /// Keeps it no longer; the base itself stays.
    pub fn unmake(&self) -> Result<(), DiskError> {
        check(&self.path, &self.lab)?;
        unpin(&self.path, &self.lab)
    }
}

/// Gives what was made its name; what failed is swept away.
fn whole_or_nothing(path: &Path, lab: &str, made: Result<(), DiskError>) -> Result<Made, DiskError> {
    let made = made.and_then(|()| finish(path, lab));
    if made.is_err() {
        // The error that matters is the first.
        let _ = sweep(path, lab);
    }
    made.map(|()| Made::New)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Whether a disk that is there is what is wanted.
fn agrees(path: &Path, info: &Info, format: &str, size: Option<u64>, base: Option<&Path>) -> Result<(), DiskError> {
    let differs = |problem: String| Err(DiskError::Differs { path: path.to_owned(), problem });
    if info.format != format {
        return differs(format!("its format is {}, not {format}", info.format));
    }
    // Images count in sectors of 512 bytes.
    if let Some(size) = size.map(|s| s.next_multiple_of(512)).filter(|s| *s != info.virtual_size) {
        return differs(format!("it has {} bytes, not {size}", info.virtual_size));
    }
    match (base, &info.backing_as_written) {
        (None, None) => Ok(()),
        (None, Some(other)) => differs(format!("it stands on {}", other.display())),
        (Some(base), None) => differs(format!("it does not stand on {}", base.display())),
        (Some(base), Some(_)) if stands_on(&info.backing, base) => Ok(()),
        (Some(base), Some(other)) => differs(format!("it stands on {}, not on {}", other.display(), base.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_survives_the_journal() {
        let thing = Thing::Clone(CloneDisk {
            lab: "demo".into(),
            path: "/d/a.qcow2".into(),
            base: "/b.qcow2".into(),
            base_format: "qcow2".into(),
            how: How::Linked,
            size: None,
        });
        let text = serde_json::to_string(&thing).unwrap();
        let wanted = r#"{"what":"clone","lab":"demo","path":"/d/a.qcow2","base":"/b.qcow2","base_format":"qcow2","how":"linked"}"#;
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<Thing>(&text).unwrap(), thing);
    }

    #[test]
    fn a_folder_goes_only_when_it_is_empty_and_ours() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder { lab: "demo".into(), path: dir.path().join("lab") };
        assert_eq!(folder.make().unwrap(), Made::New);
        assert_eq!(folder.make().unwrap(), Made::Reused);
        fs::write(folder.path.join("x"), "").unwrap();
        assert!(folder.unmake().unwrap_err().to_string().contains("still holds x"));
        fs::remove_file(folder.path.join("x")).unwrap();
        folder.unmake().unwrap();
        folder.unmake().unwrap();
        fs::create_dir(&folder.path).unwrap();
        assert!(folder.make().unwrap_err().is_not_ours());
        assert!(folder.unmake().unwrap_err().is_not_ours());
        assert!(folder.path.is_dir());
    }

    #[test]
    fn what_was_half_made_is_swept_up() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk { lab: "demo".into(), path: dir.path().join("d.qcow2"), format: qcow2(), size: 512 };
        fs::write(part_of(&disk.path, "demo"), "half").unwrap();
        disk.unmake().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
