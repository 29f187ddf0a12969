//! A writer of "newc" cpio archives, the format of an initramfs (Linux Documentation/driver-api/early-userspace/buffer-format).

use std::io::{self, Write};

const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Writes entries one after the other; all belong to root, and carry no time, so equal content gives equal bytes.
#[derive(Debug)]
pub(super) struct Cpio<W: Write> {
    out: W,
    inode: u32,
    at: usize,
}

impl<W: Write> Cpio<W> {
    pub(super) fn new(out: W) -> Cpio<W> {
        Cpio { out, inode: 0, at: 0 }
    }

    /// A folder; those above it must come first.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, FOLDER | 0o755, b"")
    }

    /// A file with permission bits.
    pub(super) fn file(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | mode, content)
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = u32::MAX;
        self.entry("TRAILER!!!", 0, b"")?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
        self.inode = self.inode.wrapping_add(1);
        let size = u32::try_from(content.len()).map_err(|_| io::Error::other("a file of 4 GiB or more"))?;
        let name = u32::try_from(path.len() + 1).map_err(|_| io::Error::other("a name that is too long"))?;
        let links = if mode & 0o170_000 == FOLDER { 2 } else { 1 };
        let mut header = String::from("070701");
        // inode, mode, uid, gid, links, mtime, size, device (2), device of a special file (2), name size, checksum
        for field in [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name, 0] {
            header.push_str(&format!("{field:08x}"));
        }
        self.write(header.as_bytes())?;
        self.write(path.as_bytes())?;
        self.write(b"\0")?;
        self.pad()?;
        self.write(content)?;
        self.pad()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.at += bytes.len();
        self.out.write_all(bytes)
    }

    fn pad(&mut self) -> io::Result<()> {
        let missing = self.at.next_multiple_of(4) - self.at;
        self.write(&[0; 4][..missing])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        let mut cpio = Cpio::new(Vec::new());
        cpio.folder("bin").unwrap();
        cpio.file("bin/tool", 0o755, b"#!/bin/sh\n").unwrap();
        cpio.link("bin/sh", "busybox").unwrap();
        cpio.finish().unwrap()
    }

    #[test]
    fn entries_are_aligned_and_the_trailer_ends() {
        let bytes = sample();
        assert_eq!(bytes.len() % 4, 0);
        assert!(bytes.starts_with(b"070701"));
        let at = |what: &[u8]| bytes.windows(what.len()).position(|window| window == what).unwrap();
        assert_eq!(at(b"#!/bin/sh\n") % 4, 0);
        assert!(at(b"bin/tool\0") < at(b"bin/sh\0") && at(b"bin/sh\0") < at(b"TRAILER!!!\0"));
        assert_eq!(bytes, sample(), "the same content gives the same bytes");
    }

    /// busybox and cpio read it: what they say is a second opinion.
    #[test]
    fn another_program_reads_it() {
        let Some(busybox) = super::super::cache::find_program("busybox") else {
            panic!("this test needs busybox (Debian: busybox-static)");
        };
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.cpio");
        std::fs::write(&archive, sample()).unwrap();
        let input = std::fs::File::open(&archive).unwrap();
        let output = std::process::Command::new(busybox).args(["cpio", "-t"]).stdin(input).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "bin\nbin/tool\nbin/sh\n");
    }
}
