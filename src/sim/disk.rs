//! What a simulated host keeps and what it forgets: the boot bank (saved state) and the datastores stay, everything else
//! below its root is made anew at each boot, as on ESXi, whose root file system is in memory.
//!
//! Only files below /etc that carry the sticky bit are saved, with the configuration, by `auto-backup.sh` and by a clean
//! shutdown (KB 342062, KB 313072).

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::SimError;
use super::error::IoContext;
use super::host::HostState;
use super::shim;
use super::toolbox::{Toolbox, add_program};

const STICKY: u32 = 0o1000;

/// Folders of a fresh root.
const FOLDERS: &[&str] = &[
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/lib/vmware",
    "etc/init.d",
    "etc/ssh",
    "etc/vmware",
    "etc/rc.local.d",
    "tmp",
    "var/log",
    "var/run",
    "var/lock",
    "var/tmp",
    "var/spool/cron/crontabs",
    "opt",
    "dev",
    "proc",
    "locker/packages",
    "vmfs/volumes",
    "vmfs/devices/disks",
];

/// The folder of one host on the real machine.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    dir: PathBuf,
}

impl Disk {
    /// `dir` is made if it is not there.
    pub(crate) fn open(dir: PathBuf) -> Result<Disk, SimError> {
        fs::create_dir_all(&dir).doing("create", &dir)?;
        Ok(Disk { dir })
    }

    /// The host's root directory.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A file beside the root that the host cannot see.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn bootbank(&self) -> PathBuf {
        self.dir.join("bootbank")
    }

    /// The saved configuration, if the host was ever installed.
    pub(crate) fn load(&self, host: &str) -> Result<Option<HostState>, SimError> {
        let (bank, old) = (self.bootbank(), self.dir.join("bootbank.old"));
        if !bank.exists() && old.exists() {
            fs::rename(&old, &bank).doing("restore", &bank)?;
        }
        let path = bank.join("state.json");
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).doing("read", &path)?;
        serde_json::from_str(&text).map(Some).map_err(|error| SimError::State {
            host: host.into(),
            path: self.dir.clone(),
            reason: error.to_string(),
        })
    }

    /// Writes the configuration and the sticky files below /etc of `root` to the boot bank, all or nothing.
    pub(crate) fn save(&self, state: &HostState) -> Result<(), SimError> {
        let (bank, new, old) = (self.bootbank(), self.dir.join("bootbank.new"), self.dir.join("bootbank.old"));
        let _ = fs::remove_dir_all(&new);
        fs::create_dir_all(&new).doing("create", &new)?;
        let json = self.json(state)?;
        let path = new.join("state.json");
        fs::write(&path, &json).doing("write", &path)?;
        copy_sticky(&self.root().join("etc"), &new.join("etc"))?;
        let _ = fs::remove_dir_all(&old);
        if bank.exists() {
            fs::rename(&bank, &old).doing("move away", &bank)?;
        }
        fs::rename(&new, &bank).doing("put in place", &bank)?;
        let _ = fs::remove_dir_all(&old);
        self.write_state_tgz(state, &json)
    }

    fn json(&self, state: &HostState) -> Result<Vec<u8>, SimError> {
        serde_json::to_vec_pretty(state).map_err(|error| SimError::State {
            host: state.name().into(),
            path: self.dir.clone(),
            reason: error.to_string(),
        })
    }

    /// Replaces the saved configuration without touching the saved files.
    pub(crate) fn write_state(&self, state: &HostState) -> Result<(), SimError> {
        let (path, new) = (self.bootbank().join("state.json"), self.bootbank().join("state.json.new"));
        fs::write(&new, self.json(state)?).doing("write", &new)?;
        fs::rename(&new, &path).doing("put in place", &path)
    }

    /// Gives root another password in the saved configuration of a host that is off.
    pub(crate) fn set_root_hash(&self, hash: &str) -> Result<(), SimError> {
        let path = self.bootbank().join("etc/shadow");
        let text = fs::read_to_string(&path).unwrap_or_default();
        write_file(&self.bootbank(), "/etc/shadow", with_hash(&text, "root", hash).as_bytes(), 0o1600)
    }

    /// The file by which people see that something was saved. Its content is this simulator's own.
    fn write_state_tgz(&self, state: &HostState, json: &[u8]) -> Result<(), SimError> {
        let path = self.root().join("vmfs/volumes").join(state.bootbank_uuids().0).join("state.tgz");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let bytes = gzip.write_all(json).and_then(|()| gzip.finish()).doing("compress", &path)?;
        if path.parent().is_some_and(Path::exists) { fs::write(&path, bytes).doing("write", &path) } else { Ok(()) }
    }

    /// Makes the root directory for a boot from `state`. `root_hash` is root's entry of a fresh /etc/shadow.
    pub(crate) fn rebuild(
        &self,
        state: &HostState,
        toolbox: &Toolbox,
        root_hash: &str,
        sftp: bool,
    ) -> Result<(), SimError> {
        let root = self.root();
        clear(&root)?;
        for folder in FOLDERS {
            let path = root.join(folder);
            fs::create_dir_all(&path).doing("create", &path)?;
        }
        for (folder, mode) in [("tmp", 0o1777), ("var/tmp", 0o1777)] {
            let path = root.join(folder);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).doing("set the mode of", &path)?;
        }
        toolbox.install(&root)?;
        let null = root.join("dev/null");
        if mknodat(CWD, &null, FileType::CharacterDevice, Mode::from_raw_mode(0o666), rustix::fs::makedev(1, 3))
            .is_err()
        {
            fs::write(&null, b"").doing("write", &null)?;
        }
        let _ = fs::set_permissions(&null, fs::Permissions::from_mode(0o666));
        self.volumes(state, &root)?;
        write_file(&root, "/etc/passwd", b"root:x:0:0:Administrator:/:/bin/sh\n", 0o1644)?;
        write_file(&root, "/etc/group", b"root:x:0:root\n", 0o1644)?;
        write_file(&root, "/etc/shadow", b"root:*:13358:0:99999:7:::\n", 0o1600)?;
        for (path, content, mode) in state.factory_files() {
            write_file(&root, &path, &content, mode)?;
        }
        let shadow = root.join("etc/shadow");
        let text = fs::read_to_string(&shadow).doing("read", &shadow)?;
        write_file(&root, "/etc/shadow", with_hash(&text, "root", root_hash).as_bytes(), 0o1600)?;
        copy_sticky(&self.bootbank().join("etc"), &root.join("etc"))?;
        if sftp {
            let candidates =
                ["/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server"];
            if !add_program(&candidates, &root, SFTP_SERVER)? {
                return Err(SimError::MissingProgram {
                    name: "sftp-server".into(),
                    advice: "install OpenSSH's server, or start the simulator without SFTP",
                });
            }
        }
        let bank = root.join("vmfs/volumes").join(state.bootbank_uuids().0);
        if bank.is_dir() && !bank.join("state.tgz").exists() {
            self.write_state_tgz(state, &self.json(state)?)?;
        }
        shim::install(&root)
    }

    /// What became visible after the boot: volumes are put in their place, and the links lead there.
    pub(crate) fn volumes_again(&self, state: &HostState) -> Result<(), SimError> {
        let root = self.root();
        for name in ["bootbank", "altbootbank", "scratch", "productLocker"] {
            let _ = fs::remove_file(root.join(name));
        }
        let volumes = root.join("vmfs/volumes");
        for entry in fs::read_dir(&volumes).doing("list", &volumes)?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
                fs::remove_file(entry.path()).doing("remove", &entry.path())?;
            }
        }
        self.volumes(state, &root)
    }

    /// Boot banks and datastores, and the names under which they are found. Volumes on a disk that the host does not see
    /// are put aside until it does.
    fn volumes(&self, state: &HostState, root: &Path) -> Result<(), SimError> {
        let (volumes, hidden) = (root.join("vmfs/volumes"), self.dir.join("hidden"));
        fs::create_dir_all(&hidden).doing("create", &hidden)?;
        let (bank, other) = state.bootbank_uuids();
        let stores = state.datastores();
        let mut seen: Vec<&str> = stores.iter().map(|(_, uuid, _)| uuid.as_str()).collect();
        if state.boot_disk_visible() {
            seen.extend([bank.as_str(), other.as_str()]);
        }
        for entry in fs::read_dir(&volumes).doing("list", &volumes)?.flatten() {
            if !entry.file_name().to_str().is_some_and(|name| seen.contains(&name)) {
                let aside = hidden.join(entry.file_name());
                fs::rename(entry.path(), &aside).doing("put aside", &entry.path())?;
            }
        }
        for uuid in seen {
            let dir = volumes.join(uuid);
            if !dir.exists() && fs::rename(hidden.join(uuid), &dir).is_err() {
                fs::create_dir_all(&dir).doing("create", &dir)?;
            }
        }
        for (uuid, name, boots) in [(&bank, "bootbank", true), (&other, "altbootbank", false)] {
            let link = root.join(name);
            if !state.boot_disk_visible() {
                symlink("/tmp", &link).doing("create the link", &link)?;
                continue;
            }
            let cfg = volumes.join(uuid).join("boot.cfg");
            if !cfg.exists() {
                let (state, updated) = if boots { ("0", 1) } else { ("3", 0) };
                let text = format!("bootstate={state}\ntitle=Loading VMware ESXi\nupdated={updated}\n");
                fs::write(&cfg, text).doing("write", &cfg)?;
            }
            symlink(format!("/vmfs/volumes/{uuid}"), &link).doing("create the link", &link)?;
        }
        let mut scratch = "/tmp/scratch".to_string();
        for (name, uuid, _) in &stores {
            let link = volumes.join(name);
            symlink(uuid, &link).doing("create the link", &link)?;
            if scratch == "/tmp/scratch" {
                let locker = volumes.join(uuid).join(".locker");
                fs::create_dir_all(&locker).doing("create", &locker)?;
                scratch = format!("/vmfs/volumes/{uuid}/.locker");
            }
        }
        for (name, target) in [("scratch", scratch.as_str()), ("productLocker", "/locker/packages")] {
            let link = root.join(name);
            symlink(target, &link).doing("create the link", &link)?;
        }
        Ok(())
    }
}

/// Where sshd finds its SFTP server (sshd_config recorded on 8.0.2).
pub(crate) const SFTP_SERVER: &str = "/usr/lib/vmware/openssh/bin/sftp-server";

/// Removes everything below `root` except the volumes.
fn clear(root: &Path) -> Result<(), SimError> {
    let keep = [root.join("vmfs"), root.join("vmfs/volumes")];
    for folder in [root, keep[0].as_path()] {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            if keep.contains(&path) {
                continue;
            }
            let is_folder = path.symlink_metadata().is_ok_and(|m| m.is_dir());
            if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.doing("remove", &path)?;
        }
    }
    // Links to datastores are made anew; the datastores themselves stay.
    for entry in fs::read_dir(&keep[1]).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_symlink()) {
            fs::remove_file(entry.path()).doing("remove", &entry.path())?;
        }
    }
    Ok(())
}

fn write_file(root: &Path, path: &str, content: &[u8], mode: u32) -> Result<(), SimError> {
    let target = root.join(path.trim_start_matches('/'));
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).doing("create", folder)?;
    }
    let _ = fs::remove_file(&target);
    fs::write(&target, content).doing("write", &target)?;
    fs::set_permissions(&target, fs::Permissions::from_mode(mode)).doing("set the mode of", &target)
}

/// Copies the files with the sticky bit, mode and all.
fn copy_sticky(from: &Path, to: &Path) -> Result<(), SimError> {
    let Ok(entries) = fs::read_dir(from) else { return Ok(()) };
    for entry in entries.flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let Ok(meta) = source.symlink_metadata() else { continue };
        if meta.is_dir() {
            copy_sticky(&source, &target)?;
        } else if meta.is_file() && meta.permissions().mode() & STICKY != 0 {
            fs::create_dir_all(to).doing("create", to)?;
            let bytes = fs::read(&source).doing("read", &source)?;
            let _ = fs::remove_file(&target);
            fs::write(&target, bytes).doing("write", &target)?;
            fs::set_permissions(&target, meta.permissions()).doing("set the mode of", &target)?;
        }
    }
    Ok(())
}

/// The shadow file with another hash for `user`; a line is added if there is none.
fn with_hash(shadow: &str, user: &str, hash: &str) -> String {
    let mut found = false;
    let mut lines: Vec<String> = shadow
        .lines()
        .map(|line| match line.split(':').collect::<Vec<_>>().as_mut_slice() {
            fields if fields.len() > 1 && fields[0] == user => {
                found = true;
                fields[1] = hash;
                fields.join(":")
            }
            _ => line.to_string(),
        })
        .collect();
    if !found {
        lines.push(format!("{user}:{hash}:13358:0:99999:7:::"));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_replaced_in_its_own_line() {
        let text = with_hash("root:old:1::\nvpxuser:x:1::\n", "root", "$6$new");
        assert_eq!(text, "root:$6$new:1::\nvpxuser:x:1::\n");
        assert_eq!(with_hash("", "root", "h"), "root:h:13358:0:99999:7:::\n");
    }

    #[test]
    fn only_sticky_files_are_copied() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("etc"), dir.path().join("saved"));
        write_file(dir.path(), "/etc/a", b"1", 0o1644).unwrap();
        write_file(dir.path(), "/etc/deep/b", b"2", 0o644).unwrap();
        write_file(dir.path(), "/etc/deep/c", b"3", 0o1600).unwrap();
        copy_sticky(&from, &to).unwrap();
        assert!(to.join("a").exists() && to.join("deep/c").exists() && !to.join("deep/b").exists());
        assert_eq!(to.join("deep/c").metadata().unwrap().permissions().mode() & 0o7777, 0o1600);
    }
}
