//! Bodies for fuzz targets: what the kernel and a guest's serial port say. Each gives the size of the answer, as
//! `src/fuzzing` wants it. Not part of the library's interface.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::hints;
use super::ports::listeners;
use super::proc::{carries, parse_stat};
use super::serial::{Cutter, LINE_MAX, Line, clean};
use crate::lab::qmp::Protocol;

/// A serial log: the lines do not depend on where it was cut, lose no byte, and can be shown.
///
/// # Panics
/// If one of these does not hold.
pub(crate) fn serial(bytes: &[u8]) -> usize {
    let lines = |size: usize| -> Vec<Line> {
        let mut cutter = Cutter::default();
        let mut found = Vec::new();
        for piece in bytes.chunks(size) {
            cutter.feed(piece);
            found.extend(std::iter::from_fn(|| cutter.next_line()));
        }
        found.extend(cutter.rest());
        found
    };
    let whole = lines(bytes.len().max(1));
    assert_eq!(whole, lines(7), "cut differently, read differently");
    let mut offset = 0;
    for (number, line) in whole.iter().enumerate() {
        assert!(line.offset == offset || number == 0, "a gap before {line:?}");
        offset = whole.get(number + 1).map_or(bytes.len() as u64, |next| next.offset);
        assert!(offset - line.offset <= LINE_MAX as u64 && !line.text.chars().any(char::is_control), "{line:?}");
    }
    assert!(!clean(bytes).chars().any(char::is_control));
    whole.iter().map(|line| line.text.len()).sum()
}

/// A line of `/proc/PID/stat`, `/proc/net/tcp`, QEMU's last words, and a command line (words parted by NUL) that may hold a marker.
///
/// # Panics
/// If the two readers of a stat line see another start time in it.
pub(crate) fn proc(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let (stat, net) = (parse_stat(&text), crate::lab::net::fuzzing::started(&text));
    if let (Some(stat), Some(start)) = (stat, net) {
        assert_eq!(stat.start, start, "two readers, two start times");
    }
    let args: Vec<OsString> = bytes.split(|b| *b == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect();
    let found = ["/run/e/x/h1.qmp", "", "a,b", "="].map(|marker| carries(&args, marker));
    assert!(!found[1], "an empty marker is nowhere");
    let listeners = [Protocol::Tcp, Protocol::Udp].map(|protocol| listeners(&text, protocol));
    let words = hints::said(&text, "qemu-system-x86_64");
    assert!(!words.contains('\n'), "{words:?}");
    crate::fuzzing::size(&(stat, found, listeners)) + hints::explained(&words).len()
}
