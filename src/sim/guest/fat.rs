//! A reader of FAT12, FAT16 and FAT32, as far as a kickstart on a USB stick needs it: names of 8.3 characters, with or
//! without a partition table. Layout: Microsoft's "FAT: General Overview of On-Disk Format".

use std::io::{self, Read, Seek, SeekFrom};

/// A kickstart is a small file.
const LARGEST: u32 = 1 << 20;

/// The numbers of a volume.
#[derive(Debug, Clone, Copy)]
struct Volume {
    /// Bytes from the start of the device.
    start: u64,
    sector: u64,
    cluster: u64,
    fat: u64,
    /// First sector and bytes of the fixed root folder; 0 bytes on FAT32.
    root: u64,
    root_bytes: u64,
    root_cluster: u32,
    data: u64,
    /// 12, 16 or 32.
    bits: u32,
}

fn half(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 2).and_then(|b| b.try_into().ok()).map_or(0, |b| u64::from(u16::from_le_bytes(b)))
}

fn word(bytes: &[u8], at: usize) -> u64 {
    half(bytes, at) | half(bytes, at + 2) << 16
}

fn bytes_at(device: &mut (impl Read + Seek), place: u64, count: usize) -> io::Result<Vec<u8>> {
    device.seek(SeekFrom::Start(place))?;
    let mut bytes = vec![0; count];
    device.read_exact(&mut bytes)?;
    Ok(bytes)
}

impl Volume {
    fn parse(boot: &[u8], start: u64) -> Option<Volume> {
        let sector = half(boot, 11);
        let per_cluster = u64::from(*boot.get(13)?);
        if !matches!(boot[0], 0xeb | 0xe9)
            || !matches!(sector, 512 | 1024 | 2048 | 4096)
            || !per_cluster.is_power_of_two()
            || half(boot, 14) == 0
        {
            return None;
        }
        let (reserved, fats, entries) = (half(boot, 14), u64::from(boot[16]), half(boot, 17));
        let pick = |small: u64, large: u64| if small == 0 { large } else { small };
        let fat_sectors = pick(half(boot, 22), word(boot, 36));
        let total = pick(half(boot, 19), word(boot, 32));
        let root = reserved + fats * fat_sectors;
        let root_bytes = entries * 32;
        let data = root + root_bytes.div_ceil(sector);
        let clusters = total.checked_sub(data)? / per_cluster;
        let bits = match clusters {
            // A length of the table in the newer field says FAT32, however small the volume.
            _ if half(boot, 22) == 0 => 32,
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        Some(Volume {
            start,
            sector,
            cluster: per_cluster * sector,
            fat: reserved,
            root,
            root_bytes,
            root_cluster: if bits == 32 { u32::try_from(word(boot, 44)).ok()? } else { 0 },
            data,
            bits,
        })
    }

    /// The cluster after this one, `None` at the end of a chain.
    fn next(&self, device: &mut (impl Read + Seek), cluster: u32) -> io::Result<Option<u32>> {
        let table = self.start + self.fat * self.sector;
        let number = u64::from(cluster);
        let (next, end) = match self.bits {
            12 => {
                let pair = half(&bytes_at(device, table + number + number / 2, 2)?, 0);
                let value = if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 };
                (u32::try_from(value).unwrap_or(0), 0xff7)
            }
            16 => (u32::try_from(half(&bytes_at(device, table + number * 2, 2)?, 0)).unwrap_or(0), 0xfff7),
            _ => {
                let value = word(&bytes_at(device, table + number * 4, 4)?, 0) & 0x0fff_ffff;
                (u32::try_from(value).unwrap_or(0), 0x0fff_fff7)
            }
        };
        Ok((2..end).contains(&next).then_some(next))
    }

    fn chain(&self, device: &mut (impl Read + Seek), first: u32, limit: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let mut cluster = Some(first).filter(|first| *first >= 2);
        while let Some(number) = cluster {
            if content.len() as u64 >= limit {
                break;
            }
            let place = self.start + self.data * self.sector + (u64::from(number) - 2) * self.cluster;
            content.extend(bytes_at(device, place, usize::try_from(self.cluster).map_err(io::Error::other)?)?);
            cluster = self.next(device, number)?;
        }
        Ok(content)
    }

    fn root_folder(&self, device: &mut (impl Read + Seek)) -> io::Result<Vec<u8>> {
        if self.bits == 32 {
            return self.chain(device, self.root_cluster, u64::from(LARGEST));
        }
        let count = usize::try_from(self.root_bytes).map_err(io::Error::other)?;
        bytes_at(device, self.start + self.root * self.sector, count)
    }
}

/// Where a volume may begin: the device itself, then the four partitions of its table.
fn volume(device: &mut (impl Read + Seek)) -> io::Result<Option<Volume>> {
    let first = bytes_at(device, 0, 512)?;
    if let Some(volume) = Volume::parse(&first, 0) {
        return Ok(Some(volume));
    }
    if half(&first, 510) != 0xaa55 {
        return Ok(None);
    }
    for entry in 0..4 {
        let start = word(&first, 446 + entry * 16 + 8) * 512;
        if start == 0 {
            continue;
        }
        let Ok(boot) = bytes_at(device, start, 512) else { continue };
        if let Some(volume) = Volume::parse(&boot, start) {
            return Ok(Some(volume));
        }
    }
    Ok(None)
}

/// First cluster, length, whether it is a folder.
fn find(folder: &[u8], wanted: &str) -> Option<(u32, u32, bool)> {
    for entry in folder.chunks_exact(32) {
        match entry[0] {
            0 => return None,
            0xe5 => continue,
            // A part of a long name, or the volume's label.
            _ if entry[11] & 8 != 0 => continue,
            _ => {}
        }
        let part = |range: std::ops::Range<usize>| String::from_utf8_lossy(&entry[range]).trim_end().to_string();
        let (name, extension) = (part(0..8), part(8..11));
        let name = if extension.is_empty() { name } else { format!("{name}.{extension}") };
        if name.eq_ignore_ascii_case(wanted) {
            let cluster = half(entry, 26) | half(entry, 20) << 16;
            return Some((u32::try_from(cluster).ok()?, u32::try_from(word(entry, 28)).ok()?, entry[11] & 16 != 0));
        }
    }
    None
}

/// The content of a file, `None` if there is none of that name or the device holds no FAT volume.
pub(super) fn read(device: &mut (impl Read + Seek), path: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(volume) = volume(device)? else { return Ok(None) };
    let mut folder = volume.root_folder(device)?;
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let Some((cluster, length, is_folder)) = find(&folder, part) else { return Ok(None) };
        match (parts.peek().is_some(), is_folder) {
            (true, true) => folder = volume.chain(device, cluster, u64::from(LARGEST))?,
            (false, false) if length <= LARGEST => {
                let mut content = volume.chain(device, cluster, u64::from(length))?;
                if content.len() < length as usize {
                    return Err(io::Error::other(format!("{path} is cut short on the stick")));
                }
                content.truncate(length as usize);
                return Ok(Some(content));
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A volume with `KS.CFG` in the root, in two clusters that do not touch, and `SUB/B.CFG`.
    fn image(bits: u32, start: usize, text: &[u8]) -> Vec<u8> {
        let clusters: usize = match bits {
            12 => 1000,
            16 => 5000,
            _ => 66_000,
        };
        let fat_sectors: usize = if bits == 32 { 600 } else { 40 };
        let root_sectors = if bits == 32 { 0 } else { 2 };
        let total = 1 + fat_sectors + root_sectors + clusters;
        let mut volume = vec![0; total * 512];
        volume[0] = 0xeb;
        volume[11..13].copy_from_slice(&512_u16.to_le_bytes());
        volume[13] = 1;
        volume[14] = 1;
        volume[16] = 1;
        volume[17..19].copy_from_slice(&(u16::try_from(root_sectors).unwrap() * 16).to_le_bytes());
        volume[32..36].copy_from_slice(&u32::try_from(total).unwrap().to_le_bytes());
        if bits == 32 {
            volume[36..40].copy_from_slice(&u32::try_from(fat_sectors).unwrap().to_le_bytes());
            volume[44..48].copy_from_slice(&2_u32.to_le_bytes());
        } else {
            volume[22..24].copy_from_slice(&u16::try_from(fat_sectors).unwrap().to_le_bytes());
        }
        let mut link = |from: usize, to: u32| match bits {
            12 => {
                let place = 512 + from + from / 2;
                let old = u16::from_le_bytes([volume[place], volume[place + 1]]);
                let to = u16::try_from(to & 0xfff).unwrap();
                let new = if from.is_multiple_of(2) { (old & 0xf000) | to } else { (old & 0xf) | (to << 4) };
                volume[place..place + 2].copy_from_slice(&new.to_le_bytes());
            }
            16 => volume[512 + from * 2..514 + from * 2]
                .copy_from_slice(&u16::try_from(to & 0xffff).unwrap().to_le_bytes()),
            _ => volume[512 + from * 4..516 + from * 4].copy_from_slice(&to.to_le_bytes()),
        };
        link(2, 0x0fff_ffff);
        link(3, 9);
        link(9, 0x0fff_ffff);
        link(5, 0x0fff_ffff);
        link(6, 0x0fff_ffff);
        let data = (1 + fat_sectors + root_sectors) * 512;
        let cluster = |number: usize| data + (number - 2) * 512;
        let root = if bits == 32 { cluster(2) } else { (1 + fat_sectors) * 512 };
        let mut entry = |place: usize, name: &[u8; 11], kind: u8, first: u16, length: usize| {
            volume[place..place + 11].copy_from_slice(name);
            volume[place + 11] = kind;
            volume[place + 26..place + 28].copy_from_slice(&first.to_le_bytes());
            volume[place + 28..place + 32].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        };
        entry(root, b"KSTICK     ", 8, 0, 0);
        entry(root + 32, b"\xe5S      CFG", 0, 3, 4);
        entry(root + 64, b"KS      CFG", 0, 3, text.len());
        entry(root + 96, b"SUB        ", 16, 5, 0);
        entry(cluster(5), b"B       CFG", 0, 6, 3);
        let (one, two) = text.split_at(512);
        volume[cluster(3)..cluster(3) + 512].copy_from_slice(one);
        volume[cluster(9)..cluster(9) + two.len()].copy_from_slice(two);
        volume[cluster(6)..cluster(6) + 3].copy_from_slice(b"abc");
        let mut device = vec![0; start * 512];
        if start > 0 {
            device[446 + 8..446 + 12].copy_from_slice(&u32::try_from(start).unwrap().to_le_bytes());
            device[510..512].copy_from_slice(&[0x55, 0xaa]);
        }
        device.extend(volume);
        device
    }

    #[test]
    fn files_are_read_from_each_kind_with_and_without_partitions() {
        let text: Vec<u8> = (0..700_u32).map(|n| b'a' + u8::try_from(n % 23).unwrap()).collect();
        for bits in [12, 16, 32] {
            for start in [0, 63] {
                let mut device = io::Cursor::new(image(bits, start, &text));
                assert_eq!(read(&mut device, "/KS.CFG").unwrap().as_deref(), Some(text.as_slice()), "FAT{bits}");
                assert_eq!(read(&mut device, "/sub/b.cfg").unwrap().as_deref(), Some(b"abc".as_slice()));
                assert_eq!(read(&mut device, "/NONE.CFG").unwrap(), None);
                assert_eq!(read(&mut device, "/SUB").unwrap(), None);
            }
        }
    }

    /// QEMU makes a FAT16 disk with a partition table out of a folder.
    #[test]
    fn a_volume_made_by_another_program_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, path) = (dir.path().join("tree"), dir.path().join("stick.img"));
        std::fs::create_dir_all(tree.join("SUB")).unwrap();
        std::fs::write(tree.join("KS.CFG"), "accepteula\n".repeat(2000)).unwrap();
        std::fs::write(tree.join("SUB/a long name.txt"), "x").unwrap();
        std::fs::write(tree.join("SUB/B.CFG"), "abc").unwrap();
        let made = std::process::Command::new("qemu-img")
            .args(["convert", "-f", "vvfat", "-O", "raw"])
            .arg(format!("fat:{}", tree.display()))
            .arg(&path)
            .output()
            .expect("this test needs qemu-img (qemu-utils)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut device = std::fs::File::open(&path).unwrap();
        assert_eq!(read(&mut device, "/KS.CFG").unwrap().unwrap(), "accepteula\n".repeat(2000).as_bytes());
        assert_eq!(read(&mut device, "/SUB/B.CFG").unwrap().as_deref(), Some(b"abc".as_slice()));
        assert_eq!(read(&mut device, "/NONE.CFG").unwrap(), None);
    }

    #[test]
    fn an_empty_device_holds_nothing() {
        assert_eq!(read(&mut io::Cursor::new(vec![0; 4096]), "/KS.CFG").unwrap(), None);
    }
}
