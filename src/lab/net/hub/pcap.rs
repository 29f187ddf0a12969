//! Captures in the classic pcap format, which every reader of captures knows.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use super::{Capture, HubError, PortId};

/// Magic with microseconds, version 2.4, no zone, frames of up to 256 KiB, link type 1 (Ethernet).
const HEADER: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, 1];

/// A capture that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    file: BufWriter<File>,
    /// The port whose both directions are wanted.
    pub port: Option<PortId>,
    left: u64,
}

impl Writer {
    /// Makes the file; one that exists is not overwritten.
    pub fn create(capture: &Capture, port: Option<PortId>) -> Result<Self, HubError> {
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&capture.file);
        let mut file = BufWriter::new(file.map_err(HubError::io("create the capture", &capture.file))?);
        let header: Vec<u8> = HEADER.iter().flat_map(|w| w.to_le_bytes()).collect();
        file.write_all(&header).map_err(HubError::io("write to", &capture.file))?;
        Ok(Self { file, port, left: capture.max_bytes.saturating_sub(header.len() as u64) })
    }

    /// Adds a frame; `false` if the file has its size.
    pub fn write(&mut self, since_epoch: Duration, frame: &[u8]) -> io::Result<bool> {
        let size = 16 + frame.len() as u64;
        if size > self.left {
            return Ok(false);
        }
        self.left -= size;
        self.file.write_all(&record(since_epoch, frame))?;
        self.file.write_all(frame)?;
        Ok(true)
    }

    /// What was written so far is in the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn record(since_epoch: Duration, frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let words = [since_epoch.as_secs() as u32, since_epoch.subsec_micros(), length, length];
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_what_readers_expect_and_ends_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let capture = Capture { file: dir.path().join("a.pcap"), port: None, max_bytes: 24 + 76 };
        let mut writer = Writer::create(&capture, None).unwrap();
        assert!(writer.write(Duration::from_micros(5_000_007), &[9; 60]).unwrap());
        assert!(!writer.write(Duration::ZERO, &[9; 60]).unwrap());
        writer.flush().unwrap();
        let bytes = std::fs::read(&capture.file).unwrap();
        assert_eq!(bytes.len(), 100);
        assert_eq!(bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        assert_eq!(bytes[20..24], [1, 0, 0, 0]);
        assert_eq!(bytes[24..40], [5, 0, 0, 0, 7, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
        assert!(Writer::create(&capture, None).is_err(), "an old capture was overwritten");
    }
}
