//! Bodies for fuzz targets: any bytes go to the readers of this room. Each gives the size of the answer, as
//! `src/fuzzing` wants it. Not part of the library's interface.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use super::bootcfg::{BootCfg, BootOptions, compose_kernelopt};
use super::iso::{self, Iso};
use super::lint::{LintOptions, lint, problems};
use super::screen::Screen;
use super::serve;
use super::watch::{Event, History, WatchOptions, Watcher};
use crate::esxi::Version;

/// An ISO image: descriptors, folders, boot catalogue, inspection.
pub fn iso(bytes: &[u8]) -> usize {
    let path = Path::new("fuzz.iso");
    match Iso::new(Cursor::new(bytes), path) {
        Ok(mut iso) => {
            let walked = format!("{:?}", iso.walk()).len();
            let boot = format!("{:?}", iso.boot_records()).len();
            walked + boot + format!("{:?}", iso::look(&mut iso, path)).len()
        }
        Err(error) => error.to_string().len(),
    }
}

/// A BOOT.CFG: what is read is written back as it was, and a changed boot line reads back.
///
/// # Panics
/// If one of these does not hold.
pub fn bootcfg(bytes: &[u8]) -> usize {
    let Ok(cfg) = BootCfg::parse(bytes) else { return 0 };
    assert_eq!(cfg.to_string().as_bytes(), bytes, "unchanged text");
    let options = BootOptions { ks: Some("cdrom:/KS.CFG".into()), ..BootOptions::default() };
    if let Ok(line) = compose_kernelopt(&cfg.kernelopt(), &options)
        && let Ok(new) = cfg.with_kernelopt(&line)
    {
        assert_eq!(new.get("kernelopt"), Some(line.as_str()));
        assert_eq!(new.modules(), if cfg.get("modules").is_some() { cfg.modules() } else { Vec::new() });
    }
    format!("{:?} {:?}", cfg.version(), cfg.modules()).len()
}

/// An install script through the linter, for a few releases.
///
/// # Panics
/// If a finding points outside the text.
pub fn lint_ks(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let mut size = 0;
    for release in [Some(Version::new(6, 5)), Some(Version::new(8, 0)), None] {
        let options = LintOptions { release, qemu: true, secure_boot: None };
        let found = lint(&text, &options);
        for finding in &found {
            assert!(text.get(finding.range.clone()).is_some(), "{finding:?}");
        }
        // One answer at a time: nobody asks for three.
        size = size.max(problems("ks.cfg", &text, &found).iter().map(|p| p.plain().len()).sum::<usize>());
    }
    size
}

/// A screen dump.
pub fn screen(bytes: &[u8]) -> usize {
    match Screen::decode(bytes) {
        Ok(screen) => screen.rgb.len() + format!("{:?}", screen.look()).len(),
        Err(error) => error.to_string().len(),
    }
}

/// A request to the HTTP server.
pub fn http_head(bytes: &[u8]) -> usize {
    format!("{:?}", serve::parse_request(bytes)).len()
}

/// A serial log, in pieces, through the watcher.
pub fn console(bytes: &[u8]) -> usize {
    let mut watcher = Watcher::new(WatchOptions {
        release: Version::new(8, 0),
        report: Some("abc".into()),
        history: History::default(),
        slowness: 1.0,
        installed_before: false,
    });
    let mut size = 0;
    for (n, piece) in bytes.chunks(97).enumerate() {
        let reports = watcher.saw(Event::Serial(piece), Duration::from_secs(n as u64));
        size += format!("{reports:?}").len();
    }
    size + watcher.console().last(1000).concat().len()
}
