//! `BOOT.CFG`, the boot loader's file: read and changed without touching anything else in it. Its order, comments,
//! line ends and unknown keys stay as they are, because the vendor's documentation says that any other line must
//! remain unchanged.

use std::fmt;

use super::{Confidence, Evidence};
use crate::esxi::Version;

/// Longest boot line, in bytes (vendor documentation of the boot options).
pub const MAX_BOOT_LINE: usize = 4096;
/// What stands between modules.
pub const MODULE_SEPARATOR: &str = " --- ";
/// Largest file read; real ones have 2 to 5 KiB.
pub const MAX_FILE: usize = 256 * 1024;

/// Why a boot file or a boot line cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootCfgError {
    /// More than [`MAX_FILE`].
    #[error("the boot file has {0} bytes; BOOT.CFG of an installer has a few thousand")]
    TooLarge(usize),
    /// Not text.
    #[error("the boot file is not text: byte {0} is not UTF-8")]
    NotText(usize),
    /// A key that every BOOT.CFG has is missing.
    #[error("the boot file has no `{0}=` line: this is not the BOOT.CFG of an ESXi installer")]
    Missing(&'static str),
    /// The boot line would be too long.
    #[error("the boot line would have {0} bytes, and ESXi takes at most {MAX_BOOT_LINE}: shorten what is added to it")]
    LineTooLong(usize),
    /// A word with what would break the line.
    #[error("`{0}` cannot stand on the boot line: it holds a blank, a quote or a control character")]
    BadWord(String),
    /// The installer's own script.
    #[error(
        "`ks={0}` is the installer's own script, whose root password is publicly known; write a script of your own"
    )]
    DefaultScript(String),
}

/// A boot file as lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootCfg {
    /// Each line with its line end.
    lines: Vec<String>,
}

impl BootCfg {
    /// Reads a boot file.
    pub fn parse(bytes: &[u8]) -> Result<Self, BootCfgError> {
        if bytes.len() > MAX_FILE {
            return Err(BootCfgError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| BootCfgError::NotText(e.valid_up_to()))?;
        Ok(Self { lines: text.split_inclusive('\n').map(str::to_owned).collect() })
    }

    /// The value of the first line with this key (letter case does not matter), without blanks around it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| value(line, key))
    }

    /// Sets a key: its first line keeps its place, spelling and line end; a missing one is added at the end.
    pub fn set(&mut self, key: &str, new: &str) {
        if let Some(line) = self.lines.iter_mut().find(|line| value(line, key).is_some()) {
            let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
            let name = line.split('=').next().unwrap_or(key);
            *line = format!("{name}={new}{end}");
            return;
        }
        let end = self.line_end();
        if let Some(last) = self.lines.last_mut()
            && !last.ends_with('\n')
        {
            last.push_str(end);
        }
        self.lines.push(format!("{key}={new}{end}"));
    }

    /// The line end of the file: that of its first line.
    fn line_end(&self) -> &'static str {
        if self.lines.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" }
    }

    /// The words of `kernelopt=`.
    pub fn kernelopt(&self) -> Vec<&str> {
        self.get("kernelopt").map(|line| line.split_ascii_whitespace().collect()).unwrap_or_default()
    }

    /// The modules, in order.
    pub fn modules(&self) -> Vec<&str> {
        let modules = self.get("modules").unwrap_or_default();
        modules.split("---").map(str::trim).filter(|module| !module.is_empty()).collect()
    }

    /// Version and build from `build=`, else from `title=`. The forms seen: `7.0.3-0.5.18825058`,
    /// `8.0.2-0.0.22380479`; older installers leave `build=` empty (not verified).
    pub fn version(&self) -> Option<(Version, Option<u32>)> {
        ["build", "title"].iter().find_map(|key| version_and_build(self.get(key)?))
    }

    /// Checks that this is an installer's file.
    pub fn check_installer(&self) -> Result<(), BootCfgError> {
        for key in ["kernel", "kernelopt", "modules"] {
            if self.get(key).is_none() {
                return Err(BootCfgError::Missing(key));
            }
        }
        Ok(())
    }

    /// The same file with another boot line.
    pub fn with_kernelopt(&self, line: &str) -> Result<Self, BootCfgError> {
        if line.len() > MAX_BOOT_LINE {
            return Err(BootCfgError::LineTooLong(line.len()));
        }
        if let Some(bad) = line.split(' ').find(|word| !is_boot_word(word)) {
            return Err(BootCfgError::BadWord(bad.to_owned()));
        }
        let mut new = self.clone();
        new.set("kernelopt", line);
        Ok(new)
    }
}

impl fmt::Display for BootCfg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| f.write_str(line))
    }
}

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (name, value) = line.split_once('=')?;
    name.trim().eq_ignore_ascii_case(key).then(|| value.trim())
}

/// A version such as `8.0.3` and a build such as `24022510` in a text; the build is the last long number in it.
pub fn version_and_build(text: &str) -> Option<(Version, Option<u32>)> {
    let words = text.split(|c: char| !c.is_ascii_digit() && c != '.');
    let (word, mut version) = words.clone().find_map(|word| {
        let word = word.trim_matches('.');
        let version = word.contains('.').then(|| word.parse::<Version>().ok()).flatten()?;
        (4..=20).contains(&version.major).then_some((word, version))
    })?;
    // Volume names say `8.0U3` for 8.0.3; before 7.0 an update did not change the third number.
    if version.major >= 7 && version.patch == 0 {
        let after = text.split_once(word).map_or("", |(_, after)| after);
        if let Some(update) = after.strip_prefix(['U', 'u']) {
            let digits = &update[..update.len() - update.trim_start_matches(|c: char| c.is_ascii_digit()).len()];
            version.patch = digits.parse().unwrap_or(0);
        }
    }
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| (5..=9).contains(&digits.len()));
    Some((version, numbers.filter_map(|digits| digits.parse().ok()).next_back()))
}

/// What is asked of the boot line of an unattended install.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootOptions {
    /// Where the install script is: `cdrom:/KS.CFG`, `usb:/KS.CFG`, `http://...`; none for a line without it.
    pub ks: Option<String>,
    /// Keep the installer's `cdromBoot`. Both camps report success; dropping it is the form used most.
    pub keep_cdrom_boot: bool,
    /// `systemMediaSize=`: `min`, `small`, `default`, `max` (7.0 Update 1c and later).
    pub system_media_size: Option<String>,
    /// More words, such as `logPort=com1` or `netdevice=52:54:00:...`; a word with `name=` replaces one of that name.
    pub extra: Vec<String>,
}

/// Puts a boot line together: the installer's own words first (without an old `ks=`), then what is asked for.
pub fn compose_kernelopt(original: &[&str], options: &BootOptions) -> Result<String, BootCfgError> {
    let mut words: Vec<String> = Vec::new();
    let name = |word: &str| word.split('=').next().unwrap_or_default().to_ascii_lowercase();
    let mut put = |word: &str| {
        words.retain(|old| name(old) != name(word));
        words.push(word.to_owned());
    };
    let own = original.iter().filter(|word| {
        let name = name(word);
        name != "ks" && (options.keep_cdrom_boot || name != "cdromboot")
    });
    // The installer itself is started by this word; the order of the rest is the installer's.
    put("runweasel");
    own.for_each(|word| {
        if name(word) != "runweasel" {
            put(word);
        }
    });
    if let Some(ks) = &options.ks {
        if ks.contains("etc/vmware/weasel/ks.cfg") {
            return Err(BootCfgError::DefaultScript(ks.clone()));
        }
        put(&format!("ks={ks}"));
    }
    if let Some(size) = &options.system_media_size {
        put(&format!("systemMediaSize={size}"));
    }
    options.extra.iter().for_each(|word| put(word));
    if let Some(bad) = words.iter().find(|word| !is_boot_word(word)) {
        return Err(BootCfgError::BadWord(bad.clone()));
    }
    let line = words.join(" ");
    if line.len() > MAX_BOOT_LINE { Err(BootCfgError::LineTooLong(line.len())) } else { Ok(line) }
}

fn is_boot_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\'')
}

/// A word of the boot line that the installer understands.
#[derive(Debug, Clone, Copy)]
pub struct BootWord {
    /// The word, with `=` if it takes a value.
    pub word: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// The first release line that has it.
    pub since: (u16, u16),
    /// Where that is known from.
    pub evidence: Evidence,
}

const DOCS: Evidence = Evidence { source: "vendor documentation of the boot options", confidence: Confidence::High };

/// The words that are used here, with what they are for.
pub const BOOT_WORDS: &[BootWord] = &[
    BootWord { word: "ks=", meaning: "where the install script is", since: (5, 0), evidence: DOCS },
    BootWord { word: "netdevice=", meaning: "the NIC that fetches the script, by MAC", since: (5, 0), evidence: DOCS },
    BootWord {
        word: "systemMediaSize=",
        meaning: "how much of the boot disk the system takes; `min` leaves room for a datastore",
        since: (7, 0),
        evidence: Evidence { source: "reported for 7.0 Update 1c and later, 8.0.3", confidence: Confidence::High },
    },
    BootWord {
        word: "allowLegacyCPU=",
        meaning: "starts on a processor that the release has dropped; must also stay on the installed system",
        since: (7, 0),
        evidence: Evidence { source: "several public reports on 7.0 to 9.1", confidence: Confidence::High },
    },
    BootWord {
        word: "cpuUniformityHardCheckPanic=",
        meaning: "FALSE: starts on a processor with two kinds of cores",
        since: (7, 0),
        evidence: Evidence { source: "several public reports on hybrid processors", confidence: Confidence::High },
    },
    BootWord {
        word: "logPort=",
        meaning: "com1: the system log on the serial port, where the watcher looks for the result",
        since: (6, 0),
        evidence: Evidence { source: "reported for nested 8.0.3", confidence: Confidence::Medium },
    },
    BootWord {
        word: "gdbPort=",
        meaning: "none: keeps the debugger off the serial port",
        since: (6, 0),
        evidence: Evidence { source: "reported for nested 8.0.3", confidence: Confidence::Medium },
    },
];

#[cfg(test)]
#[path = "bootcfg_tests.rs"]
mod tests;
