//! Copies of files: with shared blocks, or whole with their holes.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{IFlags, SeekFrom, ioctl_ficlone, ioctl_getflags, ioctl_setflags, seek};
use rustix::io::Errno;

use super::DiskError;

/// How much is read at once.
const BLOCK: usize = 1 << 20;

/// Makes `to`, which must not exist, share all blocks of `from`.
///
/// btrfs shares blocks only between files that are both NOCOW or both not (EINVAL otherwise; `cp --reflink` into an
/// ordinary folder fails so). The flag can be set on a file that is still empty: that is done here.
pub(super) fn reflink(from: &Path, to: &Path) -> Result<(), DiskError> {
    let source = File::open(from).map_err(DiskError::io("open", from))?;
    let target = new_file(to)?;
    let nocow = |file: &File| ioctl_getflags(file).is_ok_and(|f| f.contains(IFlags::NOCOW));
    let wanted = nocow(&source);
    if wanted != nocow(&target) {
        set_nocow(&target, wanted).map_err(DiskError::io("set NOCOW of", to))?;
    }
    ioctl_ficlone(&target, &source).map_err(DiskError::io("share the base's blocks with", to))
}

/// Copies `from` to `to`, which must not exist; holes stay holes, and no block is shared.
pub(super) fn full(from: &Path, to: &Path, nocow: bool) -> Result<(), DiskError> {
    let source = File::open(from).map_err(DiskError::io("open", from))?;
    let length = source.metadata().map_err(DiskError::io("look at", from))?.len();
    let target = new_file(to)?;
    if nocow {
        // What is asked for speed is no reason to fail.
        let _ = set_nocow(&target, true);
    }
    target.set_len(length).map_err(DiskError::io("write", to))?;
    let mut at = 0;
    while let Some((start, end)) = next_data(&source, at, length).map_err(DiskError::io("read", from))? {
        copy_range(&source, &target, start, end).map_err(DiskError::io("copy the base to", to))?;
        at = end;
    }
    target.sync_data().map_err(DiskError::io("write", to))
}

/// Turns copying on write off or on for an empty file or folder.
pub(super) fn set_nocow(file: &File, on: bool) -> io::Result<()> {
    let mut flags = ioctl_getflags(file)?;
    flags.set(IFlags::NOCOW, on);
    Ok(ioctl_setflags(file, flags)?)
}

fn new_file(path: &Path) -> Result<File, DiskError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600).open(path).map_err(DiskError::io("create", path))
}

/// Where the next piece that is no hole begins and ends.
fn next_data(file: &File, at: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= length {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Err(Errno::NXIO) => return Ok(None),
        // A file system without holes.
        Err(Errno::INVAL) => return Ok(Some((at, length))),
        other => other?,
    };
    Ok(Some((start, seek(file, SeekFrom::Hole(start))?)))
}

fn copy_range(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    while at < end {
        let want = BLOCK.min(usize::try_from(end - at).unwrap_or(BLOCK));
        let got = from.read_at(&mut block[..want], at)?;
        if got == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was copied"));
        }
        to.write_all_at(&block[..got], at)?;
        at += got as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_data_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(&[7; 5000], 3 << 20).unwrap();
        file.write_all_at(&[9; 1], (40 << 20) + 1).unwrap();
        full(&from, &to, false).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 4 << 20, "the holes were filled");
        assert!(full(&from, &to, false).is_err(), "a file was overwritten");
    }

    #[test]
    fn an_empty_file_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        File::create(&from).unwrap();
        full(&from, &to, false).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().len(), 0);
    }
}
