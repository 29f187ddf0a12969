//! The El Torito boot catalogue.

use std::fmt;

use super::{SECTOR, le32, text};

/// What firmware a boot entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Platform {
    /// An x86 BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// Another platform id.
    Other(u8),
}

/// One entry of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BootEntry {
    /// The firmware it is for.
    pub platform: Platform,
    /// Whether it is marked bootable.
    pub bootable: bool,
    /// Emulation: 0 none, 1 to 3 a floppy, 4 a hard disk.
    pub media: u8,
    /// Where the BIOS loads it, 0 for the usual 0x7c0.
    pub load_segment: u16,
    /// 512-byte sectors that the firmware loads.
    pub sectors: u16,
    /// Its first 2048-byte sector.
    pub sector: u32,
}

/// The boot catalogue.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BootRecords {
    /// The catalogue's own sector.
    pub catalog_sector: u32,
    /// The id string, usually empty.
    pub id: String,
    /// Entries in order.
    pub entries: Vec<BootEntry>,
}

impl fmt::Display for BootEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let platform = match self.platform {
            Platform::Bios => "BIOS".to_owned(),
            Platform::Uefi => "UEFI".to_owned(),
            Platform::Other(id) => format!("platform {id}"),
        };
        let mark = if self.bootable { "" } else { ", not bootable" };
        write!(
            f,
            "{platform}, emulation {}, load segment {:#x}, {} sectors{mark}",
            self.media, self.load_segment, self.sectors
        )
    }
}

impl BootRecords {
    /// Whether there is a bootable entry for this firmware.
    pub fn boots(&self, platform: Platform) -> bool {
        self.entries.iter().any(|e| e.bootable && e.platform == platform)
    }

    /// What differs in what the firmware sees. Sectors may move when an ISO is written again, so they do not count.
    pub fn differences(&self, after: &Self) -> Vec<String> {
        let mut out = Vec::new();
        for n in 0..self.entries.len().max(after.entries.len()) {
            let shown = |e: Option<&BootEntry>| e.map_or_else(|| "nothing".to_owned(), ToString::to_string);
            let (before, after) = (shown(self.entries.get(n)), shown(after.entries.get(n)));
            if before != after {
                out.push(format!("boot entry {}: {before} -> {after}", n + 1));
            }
        }
        out
    }
}

fn platform(id: u8) -> Platform {
    match id {
        0 => Platform::Bios,
        0xef => Platform::Uefi,
        other => Platform::Other(other),
    }
}

/// Reads the catalogue from one sector: 64 slots of 32 bytes.
pub(super) fn parse(sector: u32, data: &[u8], len: u64) -> Result<BootRecords, String> {
    let slots: Vec<&[u8]> = data.chunks_exact(32).collect();
    let Some((first, rest)) = slots.split_first() else { return Err("its boot catalogue is empty".into()) };
    if first[0] != 1 || first[30..32] != [0x55, 0xaa] {
        return Err("its boot catalogue has no validation entry".into());
    }
    let sum = first.chunks_exact(2).fold(0u16, |sum, w| sum.wrapping_add(u16::from_le_bytes([w[0], w[1]])));
    if sum != 0 {
        return Err("the checksum of its boot catalogue is wrong".into());
    }
    let mut records = BootRecords { catalog_sector: sector, id: text(&first[4..28]), entries: Vec::new() };
    let mut add = |platform, slot: &[u8]| {
        let entry = BootEntry {
            platform,
            bootable: slot[0] == 0x88,
            media: slot[1] & 0x0f,
            load_segment: u16::from_le_bytes([slot[2], slot[3]]),
            sectors: u16::from_le_bytes([slot[6], slot[7]]),
            sector: le32(slot, 8),
        };
        if u64::from(entry.sector) * SECTOR >= len {
            return Err(format!("a boot entry points to sector {}, behind the end", entry.sector));
        }
        records.entries.push(entry);
        Ok(())
    };
    let mut slots = rest.iter();
    if let Some(slot) = slots.next() {
        add(platform(first[1]), slot)?;
    }
    while let Some(header) = slots.next() {
        // 0x90: a section of another platform; 0x91: the last one.
        if !matches!(header[0], 0x90 | 0x91) {
            break;
        }
        for slot in slots.by_ref().take(usize::from(u16::from_le_bytes([header[2], header[3]]))) {
            // 0x44 extends the entry before it.
            if slot[0] != 0x44 {
                add(platform(header[1]), slot)?;
            }
        }
        if header[0] == 0x91 {
            break;
        }
    }
    Ok(records)
}
