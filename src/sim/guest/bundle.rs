//! A host's kept files as one run of bytes: what a boot bank is on a real host.
//!
//! A gzip stream of entries: length of the path (4 bytes, little endian), path, mode (4), length of the content (8), content.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

/// What is kept of a host's folder. The datastores are on the same disk, so they are kept too.
const KEPT: &[&str] = &["bootbank", "keys", "password", "firstboot", "root/vmfs/volumes", "hidden"];
/// Files in datastores that are larger are left out: the slots are small. So are the ones beyond the sum.
const LARGEST: u64 = 8 << 20;
const SUM: u64 = 24 << 20;
/// The most that a saved state is unpacked to: the sum, with room for what is kept beside the datastores.
const UNPACKED: u64 = 64 << 20;

/// Packs what is kept of the folder `dir`.
pub(super) fn pack(dir: &Path) -> io::Result<Vec<u8>> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut left = SUM;
    for name in KEPT {
        add(&mut out, dir, Path::new(name), &mut left)?;
    }
    out.finish()
}

fn add(out: &mut impl Write, dir: &Path, name: &Path, left: &mut u64) -> io::Result<()> {
    let path = dir.join(name);
    let Ok(meta) = path.symlink_metadata() else { return Ok(()) };
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(&path)?.flatten().map(|entry| name.join(entry.file_name())).collect();
        names.sort();
        return names.iter().try_for_each(|name| add(out, dir, name, left));
    }
    if !meta.is_file() || meta.len() > LARGEST.min(*left) {
        return Ok(());
    }
    *left -= meta.len();
    let content = fs::read(&path)?;
    let name = name.to_string_lossy();
    let length = u32::try_from(name.len()).map_err(|_| io::Error::other("a path that is too long"))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(name.as_bytes())?;
    out.write_all(&(meta.permissions().mode() & 0o7777).to_le_bytes())?;
    out.write_all(&(content.len() as u64).to_le_bytes())?;
    out.write_all(&content)
}

/// Unpacks into `dir`, which is made.
pub(super) fn unpack(bytes: &[u8], dir: &Path) -> io::Result<()> {
    let mut all = Vec::new();
    flate2::read::GzDecoder::new(bytes).take(UNPACKED + 1).read_to_end(&mut all)?;
    if all.len() as u64 > UNPACKED {
        return Err(io::Error::other(format!("the saved state unpacks to more than {UNPACKED} bytes")));
    }
    fs::create_dir_all(dir)?;
    let mut rest = all.as_slice();
    let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the saved state is cut short");
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (name, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(short)?;
        let (mode, after) = after.split_first_chunk::<4>().ok_or_else(short)?;
        let (size, after) = after.split_first_chunk::<8>().ok_or_else(short)?;
        let size = usize::try_from(u64::from_le_bytes(*size)).map_err(|_| short())?;
        let (content, after) = after.split_at_checked(size).ok_or_else(short)?;
        rest = after;
        let name = Path::new(std::str::from_utf8(name).map_err(io::Error::other)?);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::other(format!("{} leads out of the folder", name.display())));
        }
        let path = dir.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, content)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(u32::from_le_bytes(*mode)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_files_come_back_with_their_modes_and_others_do_not() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let put = |name: &str, content: &[u8], mode: u32| {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put("bootbank/etc/shadow", b"root:x", 0o1600);
        put("root/vmfs/volumes/1-2/a.txt", b"data", 0o644);
        put("root/vmfs/volumes/1-2/large", &vec![1; 9 << 20], 0o644);
        put("root/etc/motd", b"volatile", 0o644);
        unpack(&pack(from.path()).unwrap(), to.path()).unwrap();
        let shadow = to.path().join("bootbank/etc/shadow");
        assert_eq!(fs::read(&shadow).unwrap(), b"root:x");
        assert_eq!(shadow.metadata().unwrap().permissions().mode() & 0o7777, 0o1600);
        assert_eq!(fs::read(to.path().join("root/vmfs/volumes/1-2/a.txt")).unwrap(), b"data");
        assert!(!to.path().join("root/etc").exists() && !to.path().join("root/vmfs/volumes/1-2/large").exists());
    }

    #[test]
    fn a_path_out_of_the_folder_and_a_cut_are_refused() {
        let gzip = |bytes: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).unwrap();
            gzip.finish().unwrap()
        };
        let mut entry = 4_u32.to_le_bytes().to_vec();
        entry.extend(b"../x");
        entry.extend(0o644_u32.to_le_bytes());
        entry.extend(0_u64.to_le_bytes());
        let dir = tempfile::tempdir().unwrap();
        assert!(unpack(&gzip(&entry), &dir.path().join("in")).unwrap_err().to_string().contains("leads out"));
        assert!(unpack(&gzip(&entry[..10]), &dir.path().join("in")).is_err());
        // A few kilobytes that would fill the machine's memory.
        let large = gzip(&vec![0; UNPACKED as usize + 1]);
        assert!(unpack(&large, &dir.path().join("in")).unwrap_err().to_string().contains("unpacks to more"));
    }
}
