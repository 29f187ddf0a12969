//! A reader of ISO 9660, as far as files of an installer CD need it (ECMA-119). Names are compared without regard to case
//! and version (`BOOT.CFG;1`).

use std::io::{self, Read, Seek, SeekFrom};

const SECTOR: u64 = 2048;
/// Files of an installer that are read here are small.
const LARGEST: u32 = 4 << 20;

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn at(disc: &mut (impl Read + Seek), sector: u32, length: u32) -> io::Result<Vec<u8>> {
    if length > LARGEST {
        return Err(io::Error::other(format!("{length} bytes are more than is read of a CD")));
    }
    disc.seek(SeekFrom::Start(u64::from(sector) * SECTOR))?;
    let mut bytes = vec![0; length as usize];
    disc.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// One directory entry: place, length, whether it is a folder.
fn find(folder: &[u8], wanted: &str) -> Option<(u32, u32, bool)> {
    let mut position = 0_usize;
    while position < folder.len() {
        let length = usize::from(folder[position]);
        if length == 0 {
            // Entries do not cross sectors: the rest of this one is empty.
            position = (position / SECTOR as usize + 1) * SECTOR as usize;
            continue;
        }
        let entry = folder.get(position..position + length)?;
        let name = entry.get(33..33 + usize::from(*entry.get(32)?))?;
        let name = String::from_utf8_lossy(name).into_owned();
        let name = name.split(';').next().unwrap_or_default().trim_end_matches('.');
        if name.eq_ignore_ascii_case(wanted) {
            return Some((number(entry, 2)?, number(entry, 10)?, entry[25] & 2 != 0));
        }
        position += length;
    }
    None
}

/// The content of a file of the disc, `None` if there is no such file or the disc is none of ISO 9660.
pub(super) fn read(disc: &mut (impl Read + Seek), path: &str) -> io::Result<Option<Vec<u8>>> {
    let volume = at(disc, 16, SECTOR as u32)?;
    if volume.get(..6) != Some(b"\x01CD001") {
        return Ok(None);
    }
    let root = (number(&volume, 156 + 2), number(&volume, 156 + 10));
    let (Some(mut place), Some(mut length)) = root else { return Ok(None) };
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let folder = at(disc, place, length)?;
        match find(&folder, part) {
            Some((to, size, is_folder)) if is_folder == parts.peek().is_some() => (place, length) = (to, size),
            _ => return Ok(None),
        }
    }
    at(disc, place, length).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_disc_made_by_xorriso_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("EFI/BOOT")).unwrap();
        std::fs::write(tree.join("BOOT.CFG"), "build=1\n").unwrap();
        std::fs::write(tree.join("EFI/BOOT/BOOT.CFG"), "build=2\n").unwrap();
        for number in 0..60 {
            std::fs::write(tree.join(format!("FILE{number}.V00")), "x").unwrap();
        }
        let iso = dir.path().join("a.iso");
        let made = std::process::Command::new("xorriso")
            .args(["-no_rc", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "TEST", "-o"])
            .arg(&iso)
            .arg(&tree)
            .status()
            .expect("this test needs xorriso");
        assert!(made.success());
        let mut disc = std::fs::File::open(&iso).unwrap();
        assert_eq!(read(&mut disc, "/BOOT.CFG").unwrap().unwrap(), b"build=1\n");
        assert_eq!(read(&mut disc, "/efi/boot/boot.cfg").unwrap().unwrap(), b"build=2\n");
        assert_eq!(read(&mut disc, "/FILE59.V00").unwrap().unwrap(), b"x");
        assert_eq!(read(&mut disc, "/KS.CFG").unwrap(), None);
        assert_eq!(read(&mut disc, "/EFI").unwrap(), None);
    }

    #[test]
    fn something_else_is_no_disc() {
        assert_eq!(read(&mut io::Cursor::new(vec![0; 40 * 2048]), "/BOOT.CFG").unwrap(), None);
    }
}
