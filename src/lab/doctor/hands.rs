//! What `--fix` and `--undo` do to the machine, one small act each, behind a trait so that a test can stop between any
//! two of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::gather::{Commands, Programs, nocow, set_nocow};

/// The acts.
pub trait Hands {
    /// Whether acts that take root will be let through.
    fn is_root(&self) -> bool;
    /// Writes a value into a file of /sys that is there.
    fn write(&mut self, path: &Path, value: &str) -> io::Result<()>;
    /// Puts a whole file in place, at once: a reader sees the old text or the new one.
    fn replace(&mut self, path: &Path, text: &str) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes a folder.
    fn make_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Removes a folder if it is empty.
    fn remove_folder(&mut self, path: &Path) -> io::Result<()>;
    /// Runs a program to its end; what it complained of otherwise.
    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<(), String>;
    /// The attribute "no copy on write" of a folder.
    fn nocow(&self, folder: &Path) -> io::Result<bool>;
    /// Sets or clears it.
    fn set_nocow(&mut self, folder: &Path, on: bool) -> io::Result<()>;
}

/// This machine.
#[derive(Debug, Default)]
pub struct RealHands {
    programs: Programs,
}

impl Hands for RealHands {
    fn is_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }

    fn write(&mut self, path: &Path, value: &str) -> io::Result<()> {
        // The kernel takes one write, and there is nothing to create or cut off.
        OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
    }

    fn replace(&mut self, path: &Path, text: &str) -> io::Result<()> {
        replace_file(path, text.as_bytes(), 0o644)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        remove_file(path)
    }

    fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn remove_folder(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn run(&mut self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let file = self.programs.find(program).ok_or_else(|| format!("{program} is not installed"))?;
        let output = Command::new(file)
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot be started: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("{}: {said}", output.status)) }
    }

    fn nocow(&self, folder: &Path) -> io::Result<bool> {
        nocow(folder)
    }

    fn set_nocow(&mut self, folder: &Path, on: bool) -> io::Result<()> {
        set_nocow(folder, on)
    }
}

/// The name under which a file's new text is written before it takes the file's place. Fixed, so that what a killed run
/// left is overwritten by the next; not `*.conf`, so that modprobe does not read it.
fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Writes a file beside the real one, to the disk, and renames it. A file that is there keeps its mode.
pub(super) fn replace_file(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mode = fs::metadata(path).map_or(mode, |m| m.permissions().mode() & 0o7777);
    let draft = draft(path);
    remove_one(&draft)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    // The umask had its say at creation.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder(path)
}

/// Removes a file and any draft of it, and has the disk know.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    remove_one(&draft(path))?;
    remove_one(path)?;
    sync_folder(path)
}

/// Removes what a killed run left beside the file.
pub(super) fn remove_draft(path: &Path) -> io::Result<()> {
    remove_one(&draft(path))
}

fn remove_one(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}
