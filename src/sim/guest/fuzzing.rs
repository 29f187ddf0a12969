//! Bodies for fuzz targets: what the stand-in guest reads of its CD, its stick, its disk and the launcher's server. Each
//! gives the size of the answer, as `src/fuzzing` wants it. Not part of the library's interface.

use std::io::{Cursor, Write};

use super::options::{BootCfg, Words};
use super::{bundle, cd, fat, http, kickstart, slots};
use crate::fuzzing::{said, size};

/// Paths that are looked for on a CD and on a stick.
const PATHS: [&str; 3] = ["/BOOT.CFG", "/EFI/BOOT/BOOT.CFG", "/KS.CFG"];

/// An installer's CD: as it is, and behind the sixteen sectors that come before the first descriptor.
pub(crate) fn disc(bytes: &[u8]) -> usize {
    let image = crate::fuzzing::behind_system_area(bytes);
    let mut all = 0;
    for image in [bytes, image.as_slice()] {
        for path in PATHS {
            match cd::read(&mut Cursor::new(image), path) {
                Ok(file) => all += file.map_or(0, |file| file.len()),
                Err(error) => all += error.to_string().len(),
            }
        }
    }
    all
}

/// A stick with a FAT file system. What is found on it is no longer than a kickstart may be.
///
/// # Panics
/// If it is longer.
pub(crate) fn stick(bytes: &[u8]) -> usize {
    let mut all = 0;
    for path in ["/KS.CFG", "/SUB/B.CFG"] {
        match fat::read(&mut Cursor::new(bytes), path) {
            // A chain may go round: up to this limit the answer may be longer than the stick.
            Ok(file) => assert!(file.is_none_or(|file| file.len() <= 1 << 20)),
            Err(error) => all += error.to_string().len(),
        }
    }
    all
}

/// A kickstart, a BOOT.CFG with boot words, and an answer of the HTTP server that holds one.
///
/// # Panics
/// If an error of the kickstart names a line that is not there.
pub(crate) fn script(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let script = kickstart::parse(&text, "ks.cfg");
    if let Err(super::GuestError::Kickstart { line, .. }) = &script {
        assert!(*line <= text.lines().count(), "line {line}");
    }
    let cfg = BootCfg::parse(&text);
    let words = Words::of(&cfg.kernelopt, &text);
    let answer = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
    assert_eq!(http::body(answer.as_bytes()).as_deref(), Ok(text.as_ref()));
    said(&script)
        + size(&(cfg.release(), words.nic(), words.serial_log(), http::split(&text)))
        + said(&http::body(bytes))
}

/// A saved state: a slot's header, with and without the right checksum, and the files in it. They land in the folder
/// and nowhere else.
///
/// # Panics
/// If they do not, or if a header that was just made is not read.
pub(crate) fn saved(bytes: &[u8]) -> usize {
    let header = slots::header(bytes.len() as u64, bytes);
    let read = slots::parse(&header).map(|(number, length, _)| (number, length));
    assert_eq!(read, Some((bytes.len() as u64, bytes.len())));
    let mut all = size(&slots::parse(bytes));
    let Ok(dir) = tempfile::tempdir() else { return all };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let _ = gzip.write_all(bytes);
    for state in [bytes.to_vec(), gzip.finish().unwrap_or_default()] {
        if let Err(error) = bundle::unpack(&state, &dir.path().join("host")) {
            all += error.to_string().len();
        }
    }
    let entries = std::fs::read_dir(dir.path()).map(Iterator::count).unwrap_or_default();
    assert!(entries <= 1, "something lies beside the folder");
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fuzzing::{behind_system_area, images};

    /// Seeds that are damaged from the start would only try the first error.
    #[test]
    fn the_seeds_are_read() {
        let disc = behind_system_area(&images::discs()[0]);
        for path in PATHS {
            assert!(cd::read(&mut Cursor::new(&disc), path).unwrap().is_some_and(|file| !file.is_empty()), "{path}");
        }
        for stick in images::sticks() {
            assert_eq!(fat::read(&mut Cursor::new(&stick), "/KS.CFG").unwrap().map(|file| file.len()), Some(700));
            assert_eq!(fat::read(&mut Cursor::new(&stick), "/sub/b.cfg").unwrap().as_deref(), Some(&b"hello"[..]));
        }
        let dir = tempfile::tempdir().unwrap();
        bundle::unpack(&images::states()[1], dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("bootbank/etc/shadow")).unwrap(), b"root:x");
    }
}
