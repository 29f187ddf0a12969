//! What a file system can do, found out by looking and trying.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, IFlags, access, ioctl_ficlone, ioctl_getflags, statfs, statvfs};

use super::{CloneFacts, DiskError, QemuImg};

/// The file systems that are told apart, by the magic numbers of linux/magic.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// btrfs: copies on write, which images of disks suffer from unless NOCOW is set.
    Btrfs,
    /// xfs.
    Xfs,
    /// ext2 to ext4.
    Ext,
    /// In memory.
    Tmpfs,
    /// Any other.
    Other,
}

/// A folder's file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsFacts {
    /// Which.
    pub kind: FsKind,
    /// Free bytes for this user.
    pub free_bytes: u64,
    /// Whether new files in the folder are NOCOW (`chattr +C`).
    pub nocow: bool,
}

/// Looks at the file system of an existing folder.
pub fn fs_facts(dir: &Path) -> Result<FsFacts, DiskError> {
    let fs = statfs(dir).map_err(DiskError::io("look at the file system of", dir))?;
    #[allow(clippy::unnecessary_cast)] // its type differs by architecture
    let kind = match fs.f_type as u32 {
        0x9123_683e => FsKind::Btrfs,
        0x5846_5342 => FsKind::Xfs,
        0xef53 => FsKind::Ext,
        0x0102_1994 => FsKind::Tmpfs,
        _ => FsKind::Other,
    };
    let space = statvfs(dir).map_err(DiskError::io("look at the file system of", dir))?;
    Ok(FsFacts { kind, free_bytes: space.f_bavail * space.f_frsize, nocow: is_nocow(dir) })
}

/// Whether a file or folder is NOCOW. Where the file system knows no such flags it is not.
pub fn is_nocow(path: &Path) -> bool {
    File::open(path).ok().and_then(|f| ioctl_getflags(f).ok()).is_some_and(|flags| flags.contains(IFlags::NOCOW))
}

impl FsFacts {
    /// Whether images should be made with `nocow=on`: on btrfs, where random writes into a file that is copied on
    /// write scatter it. It also turns off btrfs's checksums and compression for the file (reported, low confidence).
    pub fn wants_nocow(&self) -> bool {
        self.kind == FsKind::Btrfs
    }
}

/// Looks up what the choice of a way to clone `base` into the folder `dir` depends on. Refused while a machine
/// writes to the base.
pub fn clone_facts(base: &Path, dir: &Path) -> Result<CloneFacts, DiskError> {
    let base = real_base(base)?;
    let info = QemuImg::default().info_unused(&base)?;
    let fs = fs_facts(dir)?;
    // A chain is copied whole: at most what the guest sees.
    let copy_bytes = if info.backing_as_written.is_some() { info.virtual_size } else { info.actual_size };
    Ok(CloneFacts {
        format: info.format,
        virtual_bytes: info.virtual_size,
        copy_bytes,
        stands_on_another: info.backing_as_written.is_some(),
        has_snapshots: !info.snapshots.is_empty(),
        protectable: protectable(&base),
        reflink: can_reflink(&base, dir),
        free_bytes: fs.free_bytes,
        base,
    })
}

/// The base without symbolic links.
pub(super) fn real_base(base: &Path) -> Result<PathBuf, DiskError> {
    match fs::canonicalize(base) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(DiskError::NoBase { path: base.to_owned() }),
        other => other.map_err(DiskError::io("find", base)),
    }
}

fn protectable(base: &Path) -> Result<(), String> {
    let dir = base.parent().unwrap_or(Path::new("/"));
    if access(dir, Access::WRITE_OK).is_err() {
        return Err(format!("{} cannot be written, so the base's users cannot be counted there", dir.display()));
    }
    let meta = base.metadata().map_err(|e| e.to_string())?;
    let me = rustix::process::geteuid().as_raw();
    if me != 0 && meta.uid() != me && meta.mode() & 0o222 != 0 {
        return Err(format!(
            "the base belongs to another user ({}) and can be written, so it cannot be protected",
            meta.uid()
        ));
    }
    Ok(())
}

/// Tries it with a block of its own in the folder, since whether a file system shares blocks is a matter of how it
/// was made. A NOCOW base is no obstacle: the clone is made NOCOW before it gets its blocks.
fn can_reflink(base: &Path, dir: &Path) -> Result<(), String> {
    let name = |e: std::io::Error| format!("{} cannot be tried: {e}", dir.display());
    let device = |p: &Path| p.metadata().map(|m| m.dev()).map_err(name);
    let same = device(base)? == device(dir)?;
    let btrfs = |p: &Path| statfs(p).is_ok_and(|fs| is_btrfs(&fs));
    // The subvolumes of one btrfs have numbers of their own; whether it is one is seen when it is done.
    let one_btrfs = btrfs(base) && btrfs(dir);
    if !same && !one_btrfs {
        return Err(format!("{} is on another file system than the base", dir.display()));
    }
    let mut from = tempfile::tempfile_in(dir).map_err(name)?;
    from.write_all(&[1; 4096]).map_err(name)?;
    let to = tempfile::tempfile_in(dir).map_err(name)?;
    ioctl_ficlone(&to, &from).map_err(|e| format!("the file system of {} shares no blocks ({e})", dir.display()))
}

fn is_btrfs(fs: &rustix::fs::StatFs) -> bool {
    #[allow(clippy::unnecessary_cast)] // its type differs by architecture
    let magic = fs.f_type as u32;
    magic == 0x9123_683e
}
