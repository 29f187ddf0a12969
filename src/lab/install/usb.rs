//! A small FAT16 image with the install script on it, for a USB stick (`ks=usb:/KS.CFG`): the way that needs no
//! rebuilt ISO. Written from Microsoft's public FAT specification (fatgen103): one partitionless volume, no sub-folders,
//! 8.3 names in capitals. The same content gives the same bytes.

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Sectors of a cluster.
const CLUSTER: usize = 4;
/// Sectors of the image: 16 MiB. FAT16 needs 4085 clusters at least, else a reader takes it for FAT12.
const SECTORS: usize = 32_768;
/// Reserved sectors: the boot sector.
const RESERVED: usize = 1;
/// Entries of the root folder.
const ROOT_ENTRIES: usize = 512;
/// Sectors of the root folder.
const ROOT_SECTORS: usize = ROOT_ENTRIES * 32 / SECTOR;
/// Sectors of each of the two tables: two bytes a cluster, rounded up.
const FAT_SECTORS: usize = (SECTORS / CLUSTER + 2) * 2 / SECTOR + 1;
/// First sector of the data.
const DATA: usize = RESERVED + 2 * FAT_SECTORS + ROOT_SECTORS;
/// Clusters of the data.
const CLUSTERS: usize = (SECTORS - DATA) / CLUSTER;
/// Noon of 1 January 2024: a fixed time keeps the bytes the same.
const DATE: u16 = (44 << 9) | (1 << 5) | 1;
const TIME: u16 = 12 << 11;

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsbError {
    /// Not a name of 8 and 3 characters.
    #[error("`{0}` is not a FAT name: up to 8 and 3 capital letters, digits, `-` and `_`, parted by a dot")]
    Name(String),
    /// The same name twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// More than fits.
    #[error("the files take {needed} clusters and the stick has {CLUSTERS}; install scripts have a few kilobytes")]
    Full {
        /// Clusters needed.
        needed: usize,
    },
    /// Too many files.
    #[error("{0} files; the root folder takes {most}", most = ROOT_ENTRIES - 1)]
    TooMany(usize),
}

/// The image of a stick with these files in its root folder. 16 MiB, nearly all zeros: write it sparse.
pub fn fat16_image(label: &str, files: &[(&str, &[u8])]) -> Result<Vec<u8>, UsbError> {
    let needed = files.iter().map(|(_, data)| data.len().div_ceil(CLUSTER * SECTOR)).sum();
    if needed > CLUSTERS {
        return Err(UsbError::Full { needed });
    }
    if files.len() >= ROOT_ENTRIES {
        return Err(UsbError::TooMany(files.len()));
    }
    let volume = padded_name(label, 11, 0).ok_or_else(|| UsbError::Name(label.to_owned()))?;
    let mut image = vec![0; SECTORS * SECTOR];
    boot_sector(&mut image, &volume, serial(files));
    let mut table = vec![0xfff8u16, 0xffff];
    let mut root = vec![entry(&volume, 0x08, 0, 0)];
    for (name, data) in files {
        let short = short_name(name).ok_or_else(|| UsbError::Name((*name).to_owned()))?;
        if root.iter().skip(1).any(|other| other[..11] == short) {
            return Err(UsbError::Twice((*name).to_owned()));
        }
        let first = if data.is_empty() { 0 } else { table.len() };
        let count = data.len().div_ceil(CLUSTER * SECTOR);
        for n in 0..count {
            let next = if n + 1 == count { 0xffff } else { table.len() as u16 + 1 };
            table.push(next);
        }
        if first > 0 {
            let at = (DATA + (first - 2) * CLUSTER) * SECTOR;
            image[at..at + data.len()].copy_from_slice(data);
        }
        root.push(entry(&short, 0x20, first as u16, data.len() as u32));
    }
    let table: Vec<u8> = table.iter().flat_map(|cluster| cluster.to_le_bytes()).collect();
    for copy in 0..2 {
        let at = (RESERVED + copy * FAT_SECTORS) * SECTOR;
        image[at..at + table.len()].copy_from_slice(&table);
    }
    let root = root.concat();
    let at = (RESERVED + 2 * FAT_SECTORS) * SECTOR;
    image[at..at + root.len()].copy_from_slice(&root);
    Ok(image)
}

/// The stick for an install script: `KS.CFG`.
pub fn ks_stick(ks: &str) -> Result<Vec<u8>, UsbError> {
    fat16_image("ESXPREP-KS", &[("KS.CFG", ks.as_bytes())])
}

/// What to write on the boot line for [`ks_stick`].
pub const KS_ON_STICK: &str = "usb:/KS.CFG";

fn boot_sector(image: &mut [u8], label: &[u8; 11], serial: u32) {
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &[0xeb, 0x3c, 0x90]);
    put(3, b"ESXPREP ");
    put(11, &(SECTOR as u16).to_le_bytes());
    put(13, &[CLUSTER as u8]);
    put(14, &(RESERVED as u16).to_le_bytes());
    put(16, &[2]);
    put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
    put(19, &(SECTORS as u16).to_le_bytes());
    put(21, &[0xf8]);
    put(22, &(FAT_SECTORS as u16).to_le_bytes());
    put(24, &32u16.to_le_bytes());
    put(26, &4u16.to_le_bytes());
    put(36, &[0x80, 0, 0x29]);
    put(39, &serial.to_le_bytes());
    put(43, label);
    put(54, b"FAT16   ");
    // A machine that boots from it hangs here instead of running garbage.
    put(62, &[0xf4, 0xeb, 0xfd]);
    put(510, &[0x55, 0xaa]);
}

/// The volume's number, from the content (FNV-1a).
fn serial(files: &[(&str, &[u8])]) -> u32 {
    let bytes = files.iter().flat_map(|(name, data)| name.bytes().chain(data.iter().copied()));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn entry(name: &[u8; 11], attributes: u8, cluster: u16, size: u32) -> [u8; 32] {
    let mut entry = [0; 32];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    for at in [14, 22] {
        entry[at..at + 2].copy_from_slice(&TIME.to_le_bytes());
        entry[at + 2..at + 4].copy_from_slice(&DATE.to_le_bytes());
    }
    entry[18..20].copy_from_slice(&DATE.to_le_bytes());
    entry[26..28].copy_from_slice(&cluster.to_le_bytes());
    entry[28..32].copy_from_slice(&size.to_le_bytes());
    entry
}

fn short_name(name: &str) -> Option<[u8; 11]> {
    let (stem, extension) = name.split_once('.').unwrap_or((name, ""));
    let mut short = padded_name(stem, 8, 0)?;
    if !extension.is_empty() {
        let end = padded_name(extension, 3, 8)?;
        short[8..].copy_from_slice(&end[8..]);
    }
    Some(short)
}

fn padded_name(text: &str, most: usize, at: usize) -> Option<[u8; 11]> {
    let good = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > most || !text.bytes().all(good) {
        return None;
    }
    let mut name = [b' '; 11];
    name[at..at + text.len()].copy_from_slice(text.as_bytes());
    Some(name)
}

#[cfg(test)]
#[path = "usb_tests.rs"]
mod tests;
