//! Which QEMU is installed. Versions are compared as numbers: 10.0 is later than 8.1 (a well-known launcher answered
//! "6.0.0 or newer is required, detected 10.1.0").

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A version of QEMU. Orders by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QemuVersion {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number.
    pub micro: u16,
}

impl QemuVersion {
    /// The oldest one that lines are made for: Ubuntu 22.04 has it.
    pub const OLDEST: Self = Self::new(6, 2);

    /// A version without a third number.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, micro: 0 }
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// Why there is no usable QEMU.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// Not in PATH.
    #[error(
        "{0} is not in PATH; install QEMU (Debian, Ubuntu: qemu-system-x86; Fedora: qemu-system-x86-core) or give its path"
    )]
    Missing(String),
    /// It does not run.
    #[error("{} cannot be run: {why}", path.display())]
    Run {
        /// The program.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It ran and said something else.
    #[error("`{} --version` says {said:?}, which is no version of QEMU; is it another program?", path.display())]
    Foreign {
        /// The program.
        path: PathBuf,
        /// Its first line.
        said: String,
    },
    /// Too old.
    #[error("{} is QEMU {version}, and {} or later is needed; install a newer one or give its path", path.display(), QemuVersion::OLDEST)]
    Old {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: QemuVersion,
    },
}

/// The text has no version of QEMU in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no version in {0:?}")]
pub struct NoVersion(pub String);

impl FromStr for QemuVersion {
    type Err = NoVersion;

    /// Reads `10.0.2`, `8.2.2-rc1`, or what `--version` prints: `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let none = || NoVersion(text.lines().next().unwrap_or_default().to_owned());
        let word = match text.split_once("emulator version ") {
            Some((_, rest)) => rest.split_whitespace().next().unwrap_or_default(),
            None if text.trim_start().starts_with(|c: char| c.is_ascii_digit()) => text.trim(),
            None => return Err(none()),
        };
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        let mut numbers = word[..end].split('.').filter(|n| !n.is_empty()).map(|n| n.parse::<u16>());
        let mut next = || numbers.next().transpose().map_err(|_| none());
        let major = next()?.ok_or_else(none)?;
        let minor = next()?.ok_or_else(none)?;
        Ok(Self { major, minor, micro: next()?.unwrap_or(0) })
    }
}

/// An installed QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// Its version.
    pub version: QemuVersion,
}

/// The name of the program.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// Where a program of this name is, in these folders (as in PATH).
pub fn find_in(program: &str, path: &str) -> Option<PathBuf> {
    let usable = |p: &PathBuf| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(p).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
    };
    path.split(':').filter(|d| !d.is_empty()).map(|d| Path::new(d).join(program)).find(usable)
}

/// Finds QEMU (the given one, or the one in PATH) and asks for its version.
pub fn probe(given: Option<&Path>) -> Result<Qemu, QemuError> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => find_in(PROGRAM, &std::env::var("PATH").unwrap_or_default())
            .ok_or_else(|| QemuError::Missing(PROGRAM.into()))?,
    };
    let run = |why: String| QemuError::Run { path: path.clone(), why };
    let output = Command::new(&path).arg("--version").stdin(Stdio::null()).output().map_err(|e| run(e.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        return Err(run(format!("{}: {}", output.status, error.lines().next().unwrap_or("it said nothing"))));
    }
    let version: QemuVersion =
        said.parse().map_err(|NoVersion(said)| QemuError::Foreign { path: path.clone(), said })?;
    if version < QemuVersion::OLDEST {
        return Err(QemuError::Old { path, version });
    }
    Ok(Qemu { path, version })
}

/// Where distributions put OVMF without Secure Boot: code, and the template of its variables. Debian's was tried; the
/// others are from their package lists (not verified, medium).
const OVMF: &[(&str, &str)] = &[
    // Debian, Ubuntu
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    // Fedora
    ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),
    // Arch
    ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    // openSUSE
    ("usr/share/qemu/ovmf-x86_64-code.bin", "usr/share/qemu/ovmf-x86_64-vars.bin"),
];

/// OVMF below a root folder (`/`): code, and the template of its variables.
pub fn find_ovmf(root: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut below = OVMF.iter().map(|(code, vars)| (root.join(code), root.join(vars)));
    below.find(|(code, vars)| code.is_file() && vars.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers() {
        let v = |t: &str| t.parse::<QemuVersion>().unwrap();
        assert!(v("10.0.2") > v("8.1.0"));
        assert!(v("8.10") > v("8.9.9"));
        assert_eq!(v("9.2"), QemuVersion { major: 9, minor: 2, micro: 0 });
    }

    #[test]
    fn reads_what_distributions_print() {
        let cases = [
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright", "10.0.2"),
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\n", "7.2.22"),
            ("QEMU emulator version 6.2.0 (Debian 1:6.2+dfsg-2ubuntu6.24)\n", "6.2.0"),
            ("QEMU emulator version 9.1.3 (qemu-9.1.3-2.fc41)", "9.1.3"),
            ("QEMU emulator version 10.1.0-rc2 (v10.1.0-rc2-12-gabcdef)", "10.1.0"),
            ("QEMU emulator version 8.2.2", "8.2.2"),
        ];
        for (text, wanted) in cases {
            assert_eq!(text.parse::<QemuVersion>().unwrap().to_string(), wanted);
        }
    }

    #[test]
    fn refuses_other_programs() {
        for text in [
            "",
            "VirtualBox 7.0",
            "QEMU emulator version unknown",
            "QEMU emulator version 9",
            "qemu-img version 10.0.2",
        ] {
            assert!(text.parse::<QemuVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn says_what_it_tried() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("qemu");
        let script = |text: &str| {
            use std::os::unix::fs::PermissionsExt;
            std::fs::write(&program, text).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        assert!(matches!(probe(Some(&program)), Err(QemuError::Run { .. })));
        script("#!/bin/sh\necho 'QEMU emulator version 5.2.0'\n");
        assert!(probe(Some(&program)).unwrap_err().to_string().contains("6.2.0 or later"));
        script("#!/bin/sh\necho hello\n");
        assert!(probe(Some(&program)).unwrap_err().to_string().contains("\"hello\""));
        script("#!/bin/sh\necho 'QEMU emulator version 10.1.0 (x)'\n");
        assert_eq!(probe(Some(&program)).unwrap().version, QemuVersion::new(10, 1));
        assert_eq!(find_in("qemu", &format!("/nowhere::{}", dir.path().display())), Some(program));
        assert_eq!(find_in("qemu-none", "/usr/bin"), None);
    }

    #[test]
    fn ovmf_is_found_with_both_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let put = |file: &str| {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        put("usr/share/OVMF/OVMF_CODE_4M.fd");
        assert_eq!(find_ovmf(dir.path()), None, "without variables it is of no use");
        let code = put("usr/share/edk2/ovmf/OVMF_CODE.fd");
        let vars = put("usr/share/edk2/ovmf/OVMF_VARS.fd");
        assert_eq!(find_ovmf(dir.path()), Some((code, vars)));
    }
}
