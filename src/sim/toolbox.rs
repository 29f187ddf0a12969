//! The programs in a simulated host's root directory that are not ESXi's own: busybox where the machine has one, as on
//! the real host, and the machine's own tools where it has not. Built once per simulator, linked into every root.
//!
//! A distribution's busybox may be built to prefer its own applets to anything on the PATH, and then `uname` or `df`
//! would answer for the real machine. The private copy made here has those few applets renamed in its table, which
//! must stay sorted. Where that is not possible, the machine's own `sh` is the shell and busybox only supplies tools.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::SimError;
use super::error::IoContext;

/// Folders in which a program of the machine is looked for.
const PLACES: &[&str] = &["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Tools that ESXi's busybox has (as far as sessions recorded on real hosts use them) and that cannot harm the machine.
const TOOLS: &str = "[ [[ ash awk base64 basename bunzip2 bzip2 cat chgrp chmod chown cksum clear cmp cp cut date dd diff \
    dirname du echo egrep env expr false fgrep find fold grep gunzip gzip head hexdump id kill less ln logger ls md5sum \
    mkdir mkfifo mktemp more mv nc nohup od paste printf pwd readlink realpath rev rm rmdir sed seq setsid sh sha1sum \
    sha256sum sha512sum sleep sort split stat stty sum sync tac tail tar tee test time timeout touch tr true truncate \
    tty uniq unxz unzip usleep vi wc wget which who whoami xargs xxd xz yes zcat";

/// Applets that are never wanted inside, whatever the simulator answers itself.
const NEVER: &[&str] = &[
    "reboot", "poweroff", "halt", "init", "insmod", "rmmod", "modprobe", "mount", "umount", "chroot", "hostname",
    "uname", "df", "uptime", "free", "ps",
];

/// A tree of tools, ready to be linked into roots.
#[derive(Debug)]
pub(crate) struct Toolbox {
    dir: PathBuf,
    links: Vec<String>,
}

/// The file that the machine would run for `name`, symlinks followed.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    PLACES.iter().map(|place| Path::new(place).join(name)).find(|path| path.is_file())
}

impl Toolbox {
    /// Collects the tools below `dir`. `ours` are the programs that the simulator answers, which no tool may hide.
    pub(crate) fn build(dir: &Path, ours: &[&str], use_busybox: bool) -> Result<Toolbox, SimError> {
        let ours: BTreeSet<&str> = ours.iter().filter_map(|path| path.rsplit('/').next()).collect();
        let bin = dir.join("bin");
        fs::create_dir_all(&bin).doing("create", &bin)?;
        let mut links = Vec::new();
        let mut shell_is_busybox = false;
        if let Some(busybox) = find_program("busybox").filter(|_| use_busybox) {
            let applets = applets(&busybox);
            let mut image = fs::read(&busybox).doing("read", &busybox)?;
            shell_is_busybox = hide_applets(&mut image, &applets, &ours);
            let copy = bin.join("busybox");
            fs::write(&copy, &image).doing("write", &copy)?;
            executable(&copy)?;
            copy_libraries(&busybox, dir)?;
            links = TOOLS
                .split_whitespace()
                .filter(|name| applets.iter().any(|applet| applet == name) && !ours.contains(name))
                .filter(|name| shell_is_busybox || !["sh", "ash"].contains(name))
                .map(String::from)
                .collect();
        }
        for name in TOOLS.split_whitespace() {
            if links.iter().any(|link| link == name) || ours.contains(name) {
                continue;
            }
            match name {
                "sh" => {
                    let shell = ["dash", "sh", "bash"].iter().find_map(|name| find_program(name));
                    let shell = shell
                        .ok_or(SimError::MissingProgram { name: "sh".into(), advice: "install busybox or dash" })?;
                    copy_program(&shell, &bin.join("sh"), dir)?;
                }
                "nohup" => script(&bin.join("nohup"), "trap '' HUP\nexec \"$@\"\n")?,
                "[[" | "ash" | "time" => {}
                _ => {
                    if let Some(path) = find_program(name) {
                        copy_program(&path, &bin.join(name), dir)?;
                    }
                }
            }
        }
        if shell_is_busybox {
            links.push("sh".into());
            links.dedup();
        }
        Ok(Toolbox { dir: dir.to_path_buf(), links })
    }

    /// Puts the tools into a root directory: hard links where the file system allows it, else copies.
    pub(crate) fn install(&self, root: &Path) -> Result<(), SimError> {
        link_tree(&self.dir, root)?;
        for name in &self.links {
            let link = root.join("bin").join(name);
            match symlink("/bin/busybox", &link) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(error).doing("create the link", &link);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn executable(path: &Path) -> Result<(), SimError> {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).doing("set the mode of", path)
}

/// Writes an executable script for the host's own `/bin/sh`.
pub(crate) fn script(path: &Path, body: &str) -> Result<(), SimError> {
    fs::write(path, format!("#!/bin/sh\n{body}")).doing("write", path)?;
    executable(path)
}

fn link_tree(from: &Path, to: &Path) -> Result<(), SimError> {
    fs::create_dir_all(to).doing("create", to)?;
    for entry in fs::read_dir(from).doing("list", from)?.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            link_tree(&source, &target)?;
        } else if fs::hard_link(&source, &target).is_err() {
            fs::copy(&source, &target).doing("copy", &source)?;
        }
    }
    Ok(())
}

/// The applets of a busybox, in the order of its table.
fn applets(busybox: &Path) -> Vec<String> {
    let output = Command::new(busybox).arg("--list").output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect()
}

/// Renames the applets that must not answer. False if the table was not found or a name has no room in the order.
fn hide_applets(image: &mut [u8], applets: &[String], ours: &BTreeSet<&str>) -> bool {
    if applets.is_empty() {
        return false;
    }
    let table: Vec<u8> = applets.iter().flat_map(|name| name.bytes().chain([0])).collect();
    let Some(start) = image.windows(table.len()).position(|window| window == table) else { return false };
    let mut at = start;
    let mut before = String::new();
    for (i, name) in applets.iter().enumerate() {
        let mut current = name.clone();
        if ours.contains(name.as_str()) || NEVER.contains(&name.as_str()) {
            let after = applets.get(i + 1).map(String::as_str).unwrap_or("\u{7f}");
            let Some(other) = neighbour(name, &before, after) else { return false };
            image[at..at + name.len()].copy_from_slice(other.as_bytes());
            current = other;
        }
        at += name.len() + 1;
        before = current;
    }
    true
}

/// A name of the same length, strictly between its neighbours, that nobody types.
fn neighbour(name: &str, before: &str, after: &str) -> Option<String> {
    let stem = &name[..name.len().checked_sub(1)?];
    (b'0'..=b'z')
        .rev()
        .filter(u8::is_ascii_alphanumeric)
        .map(|last| format!("{stem}{}", char::from(last)))
        .find(|other| other != name && before < other.as_str() && other.as_str() < after)
}

fn copy_program(from: &Path, to: &Path, tree: &Path) -> Result<(), SimError> {
    fs::copy(from, to).doing("copy", from)?;
    executable(to)?;
    copy_libraries(from, tree)
}

/// Copies what the dynamic loader would need, to the same paths below `tree`.
fn copy_libraries(program: &Path, tree: &Path) -> Result<(), SimError> {
    let Ok(output) = Command::new("ldd").arg(program).output() else { return Ok(()) };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = tree.join(library.trim_start_matches('/'));
        if target.exists() || !Path::new(library).is_file() {
            continue;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).doing("create", folder)?;
        }
        fs::copy(library, &target).doing("copy", Path::new(library))?;
        executable(&target)?;
    }
    Ok(())
}

/// Adds one program of the machine, with its libraries, to a root. False if the machine has none of these.
pub(crate) fn add_program(candidates: &[&str], root: &Path, target: &str) -> Result<bool, SimError> {
    let Some(from) = candidates.iter().map(Path::new).find(|path| path.is_file()) else { return Ok(false) };
    let to = root.join(target.trim_start_matches('/'));
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).doing("create", folder)?;
    }
    copy_program(from, &to, root)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renamed_applets_keep_the_table_sorted() {
        let applets: Vec<String> = ["dd", "devmem", "df", "diff", "uname", "uncompress"].map(String::from).to_vec();
        let mut image = b"xx\0dd\0devmem\0df\0diff\0uname\0uncompress\0yy".to_vec();
        assert!(hide_applets(&mut image, &applets, &BTreeSet::from(["df", "uname"])));
        let text = String::from_utf8(image).unwrap();
        let names: Vec<&str> = text.trim_start_matches("xx\0").trim_end_matches("\0yy").split('\0').collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(!names.contains(&"df") && !names.contains(&"uname") && names.contains(&"diff"));
        assert!(!hide_applets(&mut b"nothing".to_vec(), &applets, &BTreeSet::new()));
    }
}
