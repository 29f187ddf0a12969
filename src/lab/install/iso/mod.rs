//! A read-only ISO 9660 reader, just enough to look into an installer ISO: the primary volume descriptor, directory
//! records (Rock Ridge names are understood, Joliet is not needed), and the El Torito boot catalogue. It reads by
//! seeking, never the whole file. Layout of the structures: ECMA-119 and the El Torito specification 1.0.
//!
//! Nothing in a file can make it loop or allocate without bound: directories are followed by the names of a path
//! or to a fixed depth, each extent is listed once, and every extent must lie inside the file.

mod boot;
mod identify;
mod inspect;
#[cfg(test)]
#[path = "../iso_tests.rs"]
mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

pub use boot::{BootEntry, BootRecords, Platform};
pub use inspect::{BootCfgFile, IsoInfo, VersionSource, inspect, inspect_without_hash};
pub(crate) use inspect::{hex, look};

/// Bytes of a sector.
pub const SECTOR: u64 = 2048;
/// Volume descriptors looked at; real ISOs have three or four.
const MAX_DESCRIPTORS: u64 = 64;
/// Largest directory read: 4 MiB are some 80000 short names.
const MAX_DIRECTORY: u32 = 4 * 1024 * 1024;
/// Deepest folder of a walk; ISO 9660 itself allows 8.
const MAX_DEPTH: usize = 16;
/// Most entries a walk gives.
const MAX_ENTRIES: usize = 100_000;
/// Most bytes of folders that a walk reads.
const MAX_WALK: u64 = 64 * 1024 * 1024;

/// Why an ISO cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IsoError {
    /// Opening, seeking or reading failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// No ISO 9660 file system in it.
    #[error("{} is not an ISO: it is {what}; {help}", path.display())]
    NotIso {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        what: String,
        /// What to do.
        help: String,
    },
    /// The volume is larger than the file.
    #[error(
        "{} is cut off: its volume has {expected} bytes and the file {actual}; download or copy it again and compare \
         the checksum with the vendor's",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the volume says.
        expected: u64,
        /// Bytes that are there.
        actual: u64,
    },
    /// A structure that cannot be.
    #[error("{} is damaged: {what}; download it again and compare the checksum", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The ISO has no file of this name.
    #[error("{} has no file {wanted}", path.display())]
    NoSuchFile {
        /// The ISO.
        path: PathBuf,
        /// The path in it.
        wanted: String,
    },
    /// An ISO, but not ESXi's installer.
    #[error("{} is an ISO, but not an ESXi installer: {what}; {help}", path.display())]
    NotEsxi {
        /// The ISO.
        path: PathBuf,
        /// What it is instead.
        what: String,
        /// What to do.
        help: String,
    },
}

/// A file or folder of an ISO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name as a reader shows it: the Rock Ridge name if there is one, else [`plain`](Self::plain).
    pub name: String,
    /// Its ISO 9660 name, without version number.
    pub plain: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// First sector.
    pub sector: u32,
    /// Bytes.
    pub size: u32,
    /// Whether more extents follow (a file over 4 GiB); such a file is not read.
    pub in_parts: bool,
}

/// An open ISO.
#[derive(Debug)]
pub struct Iso<R> {
    reader: R,
    path: PathBuf,
    len: u64,
    volume_id: String,
    volume_bytes: u64,
    root: (u32, u32),
    boot_catalog: Option<u32>,
}

impl Iso<File> {
    /// Opens the ISO at `path`; the error says what the file is if it is none.
    pub fn open(path: &Path) -> Result<Self, IsoError> {
        let io = |doing| move |source| IsoError::Io { doing, path: path.to_owned(), source };
        let file = File::open(path).map_err(io("open"))?;
        if file.metadata().map_err(io("look at"))?.is_dir() {
            return Err(IsoError::NotIso {
                path: path.to_owned(),
                what: "a folder".into(),
                help: "name the ISO file itself".into(),
            });
        }
        Self::new(file, path)
    }
}

impl<R: Read + Seek> Iso<R> {
    /// Reads the volume descriptors. `path` is only for messages.
    pub fn new(mut reader: R, path: &Path) -> Result<Self, IsoError> {
        let io = |source| IsoError::Io { doing: "read", path: path.to_owned(), source };
        let len = reader.seek(SeekFrom::End(0)).map_err(io)?;
        let mut iso = Self {
            reader,
            path: path.to_owned(),
            len,
            volume_id: String::new(),
            volume_bytes: 0,
            root: (0, 0),
            boot_catalog: None,
        };
        let mut primary = false;
        for number in 16..16 + MAX_DESCRIPTORS {
            if (number + 1) * SECTOR > len {
                break;
            }
            let sector = iso.read_at(number * SECTOR, SECTOR as usize)?;
            if &sector[1..6] != b"CD001" {
                break;
            }
            match sector[0] {
                0 if sector[7..].starts_with(b"EL TORITO SPECIFICATION") => {
                    iso.boot_catalog.get_or_insert(le32(&sector, 0x47));
                }
                1 if !primary => {
                    primary = true;
                    iso.volume_id = text(&sector[40..72]);
                    iso.volume_bytes = u64::from(le32(&sector, 80)) * SECTOR;
                    iso.root = (le32(&sector, 158), le32(&sector, 166));
                    let block = u16::from_le_bytes([sector[128], sector[129]]);
                    if u64::from(block) != SECTOR {
                        return Err(iso.damaged(format!("its blocks have {block} bytes; only 2048 are understood")));
                    }
                }
                255 => break,
                _ => {}
            }
        }
        if !primary {
            return Err(identify::not_an_iso(&mut iso.reader, path, len));
        }
        if iso.volume_bytes > len {
            return Err(IsoError::Truncated { path: path.to_owned(), expected: iso.volume_bytes, actual: len });
        }
        Ok(iso)
    }

    /// The volume's name, without the blanks at its end.
    pub fn volume_id(&self) -> &str {
        &self.volume_id
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no byte; never true of an ISO.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entries of the folder `path` (`/`, `/EFI/BOOT`), in their order on disk.
    pub fn list(&mut self, path: &str) -> Result<Vec<Entry>, IsoError> {
        let (sector, size) = match self.find(path)? {
            None => self.root,
            Some((_, entry)) if entry.folder => (entry.sector, entry.size),
            Some(_) => return Err(self.missing(path)),
        };
        self.folder(sector, size)
    }

    /// The entry at `path`, with the path as the ISO spells it. Letter case, a version number and a dot at the end
    /// do not matter: which of them an ISO shows depends on how it was made.
    pub fn lookup(&mut self, path: &str) -> Result<(String, Entry), IsoError> {
        self.find(path)?.ok_or_else(|| self.missing(path))
    }

    /// `None` is the root.
    fn find(&mut self, path: &str) -> Result<Option<(String, Entry)>, IsoError> {
        let mut place = self.root;
        let mut found: Option<(String, Entry)> = None;
        for (depth, name) in path.split('/').filter(|name| !name.is_empty()).enumerate() {
            if depth >= MAX_DEPTH || found.as_ref().is_some_and(|(_, entry)| !entry.folder) {
                return Err(self.missing(path));
            }
            let entry = self
                .folder(place.0, place.1)?
                .into_iter()
                .find(|e| e.name.eq_ignore_ascii_case(name) || e.plain.eq_ignore_ascii_case(name))
                .ok_or_else(|| self.missing(path))?;
            place = (entry.sector, entry.size);
            let above = found.map_or_else(String::new, |(above, _)| above);
            found = Some((format!("{above}/{}", entry.name), entry));
        }
        Ok(found)
    }

    /// The bytes of the file at `path`, which must not be longer than `limit`.
    pub fn read(&mut self, path: &str, limit: u32) -> Result<Vec<u8>, IsoError> {
        let (shown, entry) = self.lookup(path)?;
        if entry.folder || entry.in_parts {
            return Err(self.damaged(format!("{shown} is no plain file")));
        }
        if entry.size > limit {
            return Err(self.damaged(format!("{shown} has {} bytes, more than the {limit} it may have", entry.size)));
        }
        self.read_at(u64::from(entry.sector) * SECTOR, entry.size as usize)
    }

    /// Every file and folder with its path, folders before what is in them.
    pub fn walk(&mut self) -> Result<Vec<(String, Entry)>, IsoError> {
        let mut out = Vec::new();
        let mut seen = BTreeSet::from([self.root.0]);
        let mut todo = vec![(String::new(), self.root, 0usize)];
        let mut bytes = 0;
        while let Some((above, place, depth)) = todo.pop() {
            bytes += u64::from(place.1);
            if bytes > MAX_WALK {
                return Err(self.damaged(format!("its folders have more than {MAX_WALK} bytes")));
            }
            for entry in self.folder(place.0, place.1)? {
                if out.len() >= MAX_ENTRIES {
                    return Err(self.damaged(format!("it has more than {MAX_ENTRIES} files")));
                }
                let path = format!("{above}/{}", entry.name);
                // An extent that was listed before is a loop or a hard link: it adds nothing.
                if entry.folder && depth < MAX_DEPTH && seen.insert(entry.sector) {
                    todo.push((path.clone(), (entry.sector, entry.size), depth + 1));
                }
                out.push((path, entry));
            }
        }
        Ok(out)
    }

    /// The El Torito catalogue; `None` where the ISO does not boot.
    pub fn boot_records(&mut self) -> Result<Option<BootRecords>, IsoError> {
        let Some(sector) = self.boot_catalog else { return Ok(None) };
        let data = self.read_at(u64::from(sector) * SECTOR, SECTOR as usize)?;
        boot::parse(sector, &data, self.len).map(Some).map_err(|what| self.damaged(what))
    }

    fn folder(&mut self, sector: u32, size: u32) -> Result<Vec<Entry>, IsoError> {
        if size > MAX_DIRECTORY {
            return Err(self.damaged(format!("a folder has {size} bytes")));
        }
        let data = self.read_at(u64::from(sector) * SECTOR, size as usize)?;
        let mut entries = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let length = usize::from(data[at]);
            if length == 0 {
                // A record never crosses a sector: the rest of this one is empty.
                at = (at / SECTOR as usize + 1) * SECTOR as usize;
                continue;
            }
            let Some(record) = data.get(at..at + length) else {
                return Err(self.damaged(format!("a record at byte {at} of the folder in sector {sector} is cut off")));
            };
            at += length;
            match entry(record) {
                Some(entry) => entries.extend(entry),
                None => return Err(self.damaged(format!("the folder in sector {sector} has a record too short"))),
            }
        }
        Ok(entries)
    }

    fn read_at(&mut self, offset: u64, size: usize) -> Result<Vec<u8>, IsoError> {
        let end = offset.checked_add(size as u64).filter(|end| *end <= self.len);
        if end.is_none() {
            return Err(self.damaged(format!("it points to byte {offset} and {size} more, but has only {}", self.len)));
        }
        let mut data = vec![0; size];
        let io = |source| IsoError::Io { doing: "read", path: self.path.clone(), source };
        self.reader.seek(SeekFrom::Start(offset)).map_err(io)?;
        self.reader.read_exact(&mut data).map_err(io)?;
        Ok(data)
    }

    fn damaged(&self, what: String) -> IsoError {
        IsoError::Damaged { path: self.path.clone(), what }
    }

    fn missing(&self, wanted: &str) -> IsoError {
        IsoError::NoSuchFile { path: self.path.clone(), wanted: wanted.to_owned() }
    }
}

/// One directory record: `None` if it is too short, `Some(None)` for the folder itself and the one above.
#[allow(clippy::option_option)]
fn entry(record: &[u8]) -> Option<Option<Entry>> {
    let length = usize::from(*record.get(32)?);
    let name = record.get(33..33 + length)?;
    if matches!(name, [0 | 1]) {
        return Some(None);
    }
    let plain = text(name);
    let plain = plain.split_once(';').map_or(plain.as_str(), |(name, _)| name).trim_end_matches('.').to_owned();
    // System use begins after the name, at an even offset.
    let rock_ridge = record.get(33 + length + (1 - length % 2)..).and_then(rock_ridge_name);
    Some(Some(Entry {
        name: rock_ridge.unwrap_or_else(|| plain.clone()),
        plain,
        folder: record[25] & 2 != 0,
        in_parts: record[25] & 0x80 != 0,
        sector: le32(record, 2),
        size: le32(record, 10),
    }))
}

/// The name in Rock Ridge's `NM` entries; one that continues in another sector is not followed.
fn rock_ridge_name(mut area: &[u8]) -> Option<String> {
    let mut name = Vec::new();
    while let [a, b, length, _, ..] = *area {
        let entry = area.get(..usize::from(length)).filter(|entry| entry.len() >= 4)?;
        if [a, b] == *b"NM" {
            name.extend_from_slice(entry.get(5..)?);
        }
        area = &area[entry.len()..];
    }
    let name = text(&name);
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// Printable text; other bytes become `?`.
fn text(bytes: &[u8]) -> String {
    let shown = |b: &u8| if (b' '..=b'~').contains(b) { char::from(*b) } else { '?' };
    let end = bytes.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
    bytes[..end].iter().map(shown).collect()
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..at + 4) {
        Some([a, b, c, d]) => u32::from_le_bytes([*a, *b, *c, *d]),
        _ => 0,
    }
}
