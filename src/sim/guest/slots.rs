//! The host's saved state on its boot disk: two places that are written in turn, each with a header that proves it whole,
//! so that a write that was cut off leaves the state before it.
//!
//! No file system and no partition table: whatever was on the disk is overwritten where the slots are. A header is
//! magic (16 bytes), sequence number (8, little endian), length (8), SHA-256 of the payload (32), SHA-256 of the header up
//! to here (32). The payload follows 4096 bytes later.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 16] = b"ESXPREP-STANDIN1";
/// Where the two slots begin.
const PLACES: [u64; 2] = [1 << 20, 33 << 20];
const BODY: u64 = 4096;
/// The largest payload.
pub(super) const ROOM: usize = (32 << 20) - 4096;
const SIGNED: usize = 64;
const HEADER: usize = SIGNED + 32;

/// A whole slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) number: u64,
    place: usize,
    pub(super) payload: Vec<u8>,
}

pub(super) fn header(number: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.extend(Sha256::digest(payload));
    let sum = Sha256::digest(&bytes);
    bytes.extend(sum);
    bytes
}

/// A header's sequence number, length and payload digest, if it is one and whole.
pub(super) fn parse(bytes: &[u8]) -> Option<(u64, usize, &[u8])> {
    if !bytes.starts_with(MAGIC) || *Sha256::digest(bytes.get(..SIGNED)?) != *bytes.get(SIGNED..HEADER)? {
        return None;
    }
    let number = u64::from_le_bytes(bytes[16..24].try_into().ok()?);
    let length = usize::try_from(u64::from_le_bytes(bytes[24..32].try_into().ok()?)).ok()?;
    (length <= ROOM).then(|| (number, length, &bytes[32..SIGNED]))
}

fn read(disk: &File, place: usize) -> io::Result<Option<Slot>> {
    let mut bytes = vec![0; HEADER];
    match disk.read_exact_at(&mut bytes, PLACES[place]) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let Some((number, length, digest)) = parse(&bytes) else { return Ok(None) };
    let mut payload = vec![0; length];
    disk.read_exact_at(&mut payload, PLACES[place] + BODY)?;
    let whole = *Sha256::digest(&payload) == *digest;
    Ok(whole.then_some(Slot { number, place, payload }))
}

/// The newest whole slot; `None`: nothing was ever saved here.
pub(super) fn newest(disk: &File) -> io::Result<Option<Slot>> {
    let mut best: Option<Slot> = None;
    for place in 0..PLACES.len() {
        if let Some(slot) = read(disk, place)?
            && best.as_ref().is_none_or(|known| known.number < slot.number)
        {
            best = Some(slot);
        }
    }
    Ok(best)
}

/// Writes the next state over the older slot. The header goes last, when the payload is on the disk.
pub(super) fn write(disk: &File, payload: &[u8]) -> io::Result<u64> {
    if payload.len() > ROOM {
        return Err(io::Error::other(format!("the saved state has {} bytes, {ROOM} fit", payload.len())));
    }
    let (number, place) = newest(disk)?.map_or((1, 0), |slot| (slot.number + 1, 1 - slot.place));
    disk.write_all_at(payload, PLACES[place] + BODY)?;
    disk.sync_all()?;
    disk.write_all_at(&header(number, payload), PLACES[place])?;
    disk.sync_all()?;
    Ok(number)
}

/// Makes a disk one that nothing was saved on.
pub(super) fn erase(disk: &File) -> io::Result<()> {
    for place in PLACES {
        disk.write_all_at(&[0; HEADER], place)?;
    }
    disk.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(80 << 20).unwrap();
        file
    }

    #[test]
    fn the_newest_counts_and_the_one_before_stays() {
        let disk = disk();
        assert_eq!(newest(&disk).unwrap(), None);
        for (number, text) in [(1, "one"), (2, "two"), (3, "three")] {
            assert_eq!(write(&disk, text.as_bytes()).unwrap(), number);
            assert_eq!(newest(&disk).unwrap().unwrap().payload, text.as_bytes());
        }
        // The third write is torn: what it overwrote is gone, what came before is there.
        disk.write_all_at(b"X", PLACES[0] + BODY + 2).unwrap();
        let slot = newest(&disk).unwrap().unwrap();
        assert_eq!((slot.number, slot.payload.as_slice()), (2, b"two".as_slice()));
        assert_eq!(write(&disk, b"four").unwrap(), 3);
        assert_eq!(newest(&disk).unwrap().unwrap().payload, b"four");
    }

    #[test]
    fn a_torn_header_and_a_small_disk_are_nothing() {
        let disk = disk();
        write(&disk, b"state").unwrap();
        disk.write_all_at(b"\xff", PLACES[0] + 20).unwrap();
        assert_eq!(newest(&disk).unwrap(), None);
        write(&disk, b"state").unwrap();
        erase(&disk).unwrap();
        assert_eq!(newest(&disk).unwrap(), None);
        let small = tempfile::tempfile().unwrap();
        small.set_len(1000).unwrap();
        assert_eq!(newest(&small).unwrap(), None);
        assert!(write(&disk, &vec![0; ROOM + 1]).is_err());
    }
}
