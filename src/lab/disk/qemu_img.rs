//! `qemu-img`: argument vectors in, its JSON out.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;

use super::DiskError;

/// The program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuImg {
    program: PathBuf,
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Info {
    /// `qcow2`, `raw`, `vmdk`, ...
    pub format: String,
    /// What the guest sees, in bytes.
    pub virtual_size: u64,
    /// What it takes on the disk, in bytes.
    #[serde(default)]
    pub actual_size: u64,
    /// The image it stands on, absolute where `qemu-img` could work that out.
    #[serde(default, rename = "full-backing-filename")]
    pub backing: Option<PathBuf>,
    /// As it is written in the image.
    #[serde(default, rename = "backing-filename")]
    pub backing_as_written: Option<PathBuf>,
    /// The format of the image it stands on.
    #[serde(default, rename = "backing-filename-format")]
    pub backing_format: Option<String>,
    /// Its internal snapshots.
    #[serde(default)]
    pub snapshots: Vec<Snapshot>,
    /// Whether it was not closed properly.
    #[serde(default, rename = "dirty-flag")]
    pub dirty: bool,
}

/// An internal snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// Its number in the image.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Bytes of the machine's memory in it; 0: of the disk alone.
    #[serde(default)]
    pub vm_state_size: u64,
    /// When it was made, in seconds since 1970.
    #[serde(default)]
    pub date_sec: i64,
}

/// What `qemu-img check` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// Clusters that are wrong: contents may be lost.
    #[serde(default)]
    pub corruptions: u64,
    /// Clusters that are lost space, and harmless.
    #[serde(default)]
    pub leaks: u64,
    /// Errors of the check itself.
    #[serde(default)]
    pub check_errors: u64,
}

/// What a disk takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What the guest sees, in bytes.
    pub virtual_bytes: u64,
    /// What it takes on the disk, in bytes.
    pub actual_bytes: u64,
}

/// An image to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create<'a> {
    /// Its path, which is overwritten if it exists: callers give one of their own.
    pub path: &'a Path,
    /// `qcow2`, `raw`, ...
    pub format: &'a str,
    /// Bytes; none with a backing file: as that one.
    pub size: Option<u64>,
    /// Whether btrfs is not to copy on write; elsewhere it does nothing.
    pub nocow: bool,
    /// The image it stands on, and its format. Absolute, since it is read from where the new one lies.
    pub backing: Option<(&'a Path, &'a str)>,
}

impl Default for QemuImg {
    /// The one that the shell would find.
    fn default() -> Self {
        Self { program: "qemu-img".into() }
    }
}

impl Check {
    /// Whether contents may be lost.
    pub fn is_damaged(&self) -> bool {
        self.corruptions > 0 || self.check_errors > 0
    }
}

impl QemuImg {
    /// This one.
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into() }
    }

    /// What an image is. Also while a machine runs from it: the answer may then be a moment old.
    pub fn info(&self, path: &Path) -> Result<Info, DiskError> {
        self.read_info(path, true)
    }

    /// As [`QemuImg::info`], refused while a machine may write to it.
    pub fn info_unused(&self, path: &Path) -> Result<Info, DiskError> {
        self.read_info(path, false)
    }

    fn read_info(&self, path: &Path, shared: bool) -> Result<Info, DiskError> {
        let mut args: Vec<OsString> = ["info", "--output=json"].map(Into::into).into();
        if shared {
            args.push("-U".into());
        }
        args.push(path.into());
        let out = self.run(path, &args)?;
        serde_json::from_slice(&out).map_err(|e| self.unreadable(&args, e))
    }

    /// What a disk takes, for showing.
    pub fn usage(&self, path: &Path) -> Result<Usage, DiskError> {
        let info = self.info(path)?;
        Ok(Usage { virtual_bytes: info.virtual_size, actual_bytes: info.actual_size })
    }

    /// Makes an image, thin.
    pub fn create(&self, new: &Create<'_>) -> Result<(), DiskError> {
        self.run(new.path, &create_args(new)).map(drop)
    }

    /// Copies an image with all that it stands on into one that stands on nothing. Internal snapshots stay behind.
    pub fn convert(
        &self,
        from: &Path,
        from_format: &str,
        to: &Path,
        format: &str,
        nocow: bool,
    ) -> Result<(), DiskError> {
        let mut args: Vec<OsString> = ["convert", "-q", "-f", from_format, "-O", format].map(Into::into).into();
        if nocow {
            args.extend(["-o", "nocow=on"].map(Into::into));
        }
        args.extend([from.into(), to.into()]);
        self.run(from, &args).map(drop)
    }

    /// Makes a disk larger. Smaller is refused.
    pub fn grow(&self, path: &Path, size: u64) -> Result<(), DiskError> {
        let info = self.info_unused(path)?;
        if size < info.virtual_size {
            return Err(DiskError::Shrink { path: path.to_owned(), now: info.virtual_size, wanted: size });
        }
        let size = size.to_string();
        let mut args: Vec<OsString> = ["resize", "-q", "-f", &info.format].map(Into::into).into();
        args.extend([path.into(), size.into()]);
        self.run(path, &args).map(drop)
    }

    /// Looks for damage.
    pub fn check(&self, path: &Path) -> Result<Check, DiskError> {
        let args: Vec<OsString> = vec!["check".into(), "--output=json".into(), path.into()];
        let out = self.output(&args)?;
        // 2 is damage, 3 are leaks: both come with a report.
        match out.status.code() {
            Some(0 | 2 | 3) => serde_json::from_slice(&out.stdout).map_err(|e| self.unreadable(&args, e)),
            _ => Err(self.failed(path, &args, &out)),
        }
    }

    /// The internal snapshots.
    pub fn snapshots(&self, path: &Path) -> Result<Vec<Snapshot>, DiskError> {
        Ok(self.info(path)?.snapshots)
    }

    /// Makes an internal snapshot. Names are not used twice: `qemu-img` itself would take a second one.
    pub fn snapshot_create(&self, path: &Path, name: &str) -> Result<(), DiskError> {
        if self.info_unused(path)?.snapshots.iter().any(|s| s.name == name) {
            let problem = "there is one of this name; remove it first";
            return Err(DiskError::Bad { what: "the name of a snapshot", value: name.to_owned(), problem });
        }
        self.snapshot("-c", path, name)
    }

    /// Goes back to an internal snapshot: what was written since is gone.
    pub fn snapshot_apply(&self, path: &Path, name: &str) -> Result<(), DiskError> {
        self.snapshot("-a", path, name)
    }

    /// Removes an internal snapshot; done at once if there is none of this name.
    pub fn snapshot_delete(&self, path: &Path, name: &str) -> Result<(), DiskError> {
        if self.info_unused(path)?.snapshots.iter().all(|s| s.name != name) {
            return Ok(());
        }
        self.snapshot("-d", path, name)
    }

    fn snapshot(&self, what: &str, path: &Path, name: &str) -> Result<(), DiskError> {
        let bad = |problem| DiskError::Bad { what: "the name of a snapshot", value: name.to_owned(), problem };
        if name.is_empty() || name.len() > 127 {
            return Err(bad("1 to 127 bytes can be"));
        }
        // `qemu-img` takes a number for the id of another snapshot.
        if name.starts_with('-') || name.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad("it must not begin with `-` nor be a number"));
        }
        self.run(path, &["snapshot".into(), what.into(), name.into(), path.into()]).map(drop)
    }

    fn run(&self, path: &Path, args: &[OsString]) -> Result<Vec<u8>, DiskError> {
        let out = self.output(args)?;
        if out.status.success() { Ok(out.stdout) } else { Err(self.failed(path, args, &out)) }
    }

    fn output(&self, args: &[OsString]) -> Result<Output, DiskError> {
        let mut command = Command::new(&self.program);
        command.args(args).env("LC_ALL", "C").stdin(Stdio::null());
        command.output().map_err(|source| DiskError::Start { program: self.program.clone(), source })
    }

    fn failed(&self, path: &Path, args: &[OsString], out: &Output) -> DiskError {
        let stderr = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        // Seen on QEMU 7.2 and 10.0: `Failed to get "write" lock`, `Failed to get shared "write" lock`.
        if stderr.contains("Failed to get") && stderr.contains("lock") {
            return DiskError::InUse { path: path.to_owned(), said: stderr };
        }
        DiskError::QemuImg { command: self.shown(args), status: out.status.to_string(), stderr }
    }

    fn unreadable(&self, args: &[OsString], e: serde_json::Error) -> DiskError {
        DiskError::Output { command: self.shown(args), problem: e.to_string() }
    }

    fn shown(&self, args: &[OsString]) -> String {
        let words = args.iter().map(|a| a.to_string_lossy().into_owned());
        shell_words::join(std::iter::once(self.program.display().to_string()).chain(words))
    }
}

fn create_args(new: &Create<'_>) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["create", "-q", "-f", new.format].map(Into::into).into();
    if new.nocow {
        args.extend(["-o", "nocow=on"].map(Into::into));
    }
    if let Some((backing, format)) = new.backing {
        // Without `-F` QEMU 6.1 and later refuse, since a format that is guessed is a way in for the guest.
        args.extend(["-b".into(), backing.into(), "-F".into(), format.into()]);
    }
    args.push(new.path.into());
    args.extend(new.size.map(|s| s.to_string().into()));
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_clone() {
        let new = Create {
            path: Path::new("/d/a.qcow2"),
            format: "qcow2",
            size: Some(1 << 40),
            nocow: true,
            backing: Some((Path::new("/b/base.raw"), "raw")),
        };
        let args: Vec<_> = create_args(&new).iter().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(args.join(" "), "create -q -f qcow2 -o nocow=on -b /b/base.raw -F raw /d/a.qcow2 1099511627776");
    }

    #[test]
    fn the_report_of_qemu_10_is_read() {
        let json = r#"{"children":[],"backing-filename-format":"qcow2","virtual-size":1099511627776,
            "filename":"b.qcow2","cluster-size":65536,"format":"qcow2","actual-size":212992,
            "snapshots":[{"icount":0,"vm-clock-nsec":0,"name":"s1","date-sec":1795887155,"date-nsec":1,
            "vm-clock-sec":0,"id":"1","vm-state-size":0}],
            "full-backing-filename":"/x/a.qcow2","backing-filename":"a.qcow2","dirty-flag":false}"#;
        let info: Info = serde_json::from_str(json).unwrap();
        assert_eq!((info.virtual_size, info.actual_size), (1 << 40, 212_992));
        assert_eq!(info.backing.as_deref(), Some(Path::new("/x/a.qcow2")));
        assert_eq!(info.snapshots[0].name, "s1");
        let plain: Info = serde_json::from_str(r#"{"virtual-size":512,"format":"raw"}"#).unwrap();
        assert_eq!((plain.backing, plain.dirty), (None, false));
    }

    #[test]
    fn a_missing_program_is_said() {
        let error = QemuImg::at("/nowhere/qemu-img").info(Path::new("/x")).unwrap_err().to_string();
        assert!(error.contains("/nowhere/qemu-img") && error.contains("qemu-utils"), "{error}");
    }
}
