//! How a simulated host's processes are kept apart from the machine: in a root directory of their own and, where the
//! machine allows it, in process and mount namespaces of their own.
//!
//! With namespaces a host has a first process, and a reboot is its end: the kernel then ends every other process of the
//! host, detached ones too. `reboot(2)`, `kill -1` and the like reach nobody outside. `/tmp` is a real tmpfs of the RAM
//! disk's size, so an upload that is too large fails with "No space left on device". The first process waits on a pipe
//! from this program, so that nothing is left behind even if this program is killed.
//!
//! Where namespaces are refused (root in an ordinary container) plain chroot is used: processes are found by their root
//! directory, and the size of `/tmp` is held only as a limit on the size of a file, and only when it was set smaller.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::SimError;
use super::toolbox::find_program;

/// Size of the /tmp RAM disk on ESXi 6.x and later: 256 MB (vdf -h recorded on 6.x).
pub(crate) const TMP_BYTES: u64 = 256 << 20;

/// How processes get their own root on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Process and mount namespaces; with `user`, a user namespace around them (no privileges needed).
    Namespaces { user: bool },
    /// Only `chroot`, as root.
    Chroot,
}

/// The way that worked on this machine.
static MODE: OnceLock<Mode> = OnceLock::new();

const INIT: &str = r#"
set -e
mount -t tmpfs -o "size=$SIZE,mode=1777,nosuid" tmpfs "$R/tmp"
[ -z "$STORE" ] || mount -t tmpfs -o "size=$STORE_SIZE,mode=1777,nosuid" tmpfs "$R/vmfs/volumes/$STORE"
for d in null zero urandom; do : > "$R/dev/$d"; mount --bind "/dev/$d" "$R/dev/$d"; done
read -r pid rest < /proc/self/stat
echo "$pid"
exec chroot "$R" /bin/sh -c 'cat > /dev/null; :'
"#;

/// Room for files.
#[derive(Debug, Clone)]
pub(crate) struct Sizes {
    /// Bytes of /tmp.
    pub(crate) tmp: u64,
    /// A datastore (by UUID) that is a RAM disk too, and its bytes. With plain chroot it is as it is.
    pub(crate) store: Option<(String, u64)>,
}

/// A powered-on host's processes.
#[derive(Debug)]
pub(crate) struct Running {
    mode: Mode,
    root: PathBuf,
    tmp_bytes: u64,
    init: Option<Child>,
    init_pid: i32,
}

impl Running {
    /// Starts the first process. Blocking: a few milliseconds. `root` must hold a shell and `/dev`, `/tmp`.
    pub(crate) fn start(root: &Path, sizes: Sizes, plain_chroot: bool) -> Result<Running, SimError> {
        if !is_own_root(root) {
            return Err(SimError::Jail { tried: format!("{} is not a directory of its own", root.display()) });
        }
        if plain_chroot {
            return Running::start_in(Mode::Chroot, root, &sizes).map_err(|tried| SimError::Jail { tried });
        }
        if let Some(mode) = MODE.get() {
            return Running::start_in(*mode, root, &sizes).map_err(|tried| SimError::Jail { tried });
        }
        let modes: &[Mode] = if rustix::process::geteuid().is_root() {
            &[Mode::Namespaces { user: false }, Mode::Namespaces { user: true }, Mode::Chroot]
        } else {
            &[Mode::Namespaces { user: true }]
        };
        let mut tried = Vec::new();
        for mode in modes {
            match Running::start_in(*mode, root, &sizes) {
                Ok(running) => {
                    let _ = MODE.set(*mode);
                    return Ok(running);
                }
                Err(error) => tried.push(format!("{mode:?}: {error}")),
            }
        }
        Err(SimError::Jail { tried: tried.join("; ") })
    }

    fn start_in(mode: Mode, root: &Path, sizes: &Sizes) -> Result<Running, String> {
        let tmp_bytes = sizes.tmp;
        let mut running = Running { mode, root: root.to_path_buf(), tmp_bytes, init: None, init_pid: 0 };
        if let Mode::Namespaces { user } = mode {
            let mut command = Command::new(program("unshare")?);
            command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("R", root);
            command.env("SIZE", tmp_bytes.to_string()).current_dir("/");
            if let Some((uuid, bytes)) = &sizes.store {
                command.env("STORE", uuid).env("STORE_SIZE", bytes.to_string());
            }
            if user {
                command.args(["--user", "--map-root-user"]);
            }
            command.args(["--mount", "--pid", "--fork", "--kill-child", "--", "/bin/sh", "-c", INIT]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().map_err(|error| error.to_string())?;
            let mut line = String::new();
            if let Some(stdout) = child.stdout.take() {
                let _ = BufReader::new(stdout).read_line(&mut line);
            }
            running.init_pid = line.trim().parse().unwrap_or(0);
            if running.init_pid == 0 {
                let _ = child.kill();
                let mut message = String::new();
                if let Some(mut stderr) = child.stderr.take() {
                    let _ = stderr.read_to_string(&mut message);
                }
                let _ = child.wait();
                return Err(message.trim().replace('\n', ", "));
            }
            drop(child.stderr.take());
            running.init = Some(child);
        }
        running.probe()?;
        Ok(running)
    }

    /// Whether the first process has changed its root. Until then whatever joins it is in the machine's own root.
    fn inside(&self) -> bool {
        same_directory(&self.root, &self.view())
    }

    /// The first process says its number shortly before it changes its root: sessions may start only afterwards.
    fn probe(&self) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            if !self.inside() {
                if Instant::now() > deadline {
                    return Err("its first process did not change its root".into());
                }
                std::thread::sleep(Duration::from_millis(2));
                continue;
            }
            let output = self.command(&["sh", "-c", "exit 7"])?.stdin(Stdio::null()).output();
            match output {
                Ok(output) if output.status.code() == Some(7) => return Ok(()),
                other if Instant::now() > deadline || self.mode == Mode::Chroot => {
                    return Err(match other {
                        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
                        Err(error) => error.to_string(),
                    });
                }
                _ => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    /// Size of the /tmp RAM disk in bytes.
    pub(crate) fn tmp_bytes(&self) -> u64 {
        self.tmp_bytes
    }

    /// The host's file system as its own processes see it, /tmp included.
    pub(crate) fn view(&self) -> PathBuf {
        match self.mode {
            Mode::Namespaces { .. } => PathBuf::from(format!("/proc/{}/root", self.init_pid)),
            Mode::Chroot => self.root.clone(),
        }
    }

    /// A command that runs inside, with no environment yet. The first word is looked up on the inner PATH.
    pub(crate) fn command(&self, argv: &[&str]) -> Result<Command, String> {
        let mut command = match self.mode {
            Mode::Namespaces { user } => {
                let mut command = Command::new(program("nsenter")?);
                command.arg("--target").arg(self.init_pid.to_string()).args(["--mount", "--pid", "--root", "--wd"]);
                if user {
                    command.args(["--user", "--preserve-credentials"]);
                }
                command.arg("--").args(argv);
                command
            }
            Mode::Chroot => {
                let mut command = Command::new(program("chroot")?);
                command.arg(&self.root);
                if self.tmp_bytes < TMP_BYTES {
                    let limit = format!("ulimit -f {}; exec \"$@\"", self.tmp_bytes.div_ceil(512));
                    command.args(["/bin/sh", "-c", &limit, "sh"]);
                }
                command.args(argv);
                command
            }
        };
        command.env_clear().env("PATH", "/bin:/sbin:/usr/bin:/usr/sbin").env("HOME", "/").current_dir("/");
        Ok(command)
    }

    /// Ends every process of the host. Blocking, normally a few milliseconds.
    pub(crate) fn kill(&mut self) {
        if let Some(mut init) = self.init.take() {
            let _ = init.kill();
            let _ = init.wait();
            let gone = PathBuf::from(format!("/proc/{}/root/bin", self.init_pid));
            let deadline = Instant::now() + Duration::from_secs(2);
            while gone.exists() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        for _ in 0..3 {
            if kill_by_root(&self.root) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn program(name: &str) -> Result<PathBuf, String> {
    find_program(name).ok_or_else(|| format!("this machine has no {name} (util-linux, coreutils)"))
}

/// Whether two paths lead to one directory; false when either leads nowhere.
fn same_directory(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()));
    let first = place(one);
    first.is_some() && first == place(other)
}

/// Whether a directory can be a simulated host's root. The machine's own root never is: every process has that one.
fn is_own_root(root: &Path) -> bool {
    root.is_absolute() && root.parent().is_some() && !same_directory(root, Path::new("/"))
}

/// Kills the processes whose root directory is `root`: nothing but this simulator's own has it. Says how many.
fn kill_by_root(root: &Path) -> usize {
    let Ok(root) = root.canonicalize() else { return 0 };
    if !is_own_root(&root) {
        return 0;
    }
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let mut killed = 0;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if fs::read_link(entry.path().join("root")).is_ok_and(|link| link == root)
            && let Some(pid) = Pid::from_raw(pid)
            && kill_process(pid, Signal::KILL).is_ok()
        {
            killed += 1;
        }
    }
    killed
}

#[cfg(test)]
mod tests {
    use super::*;

    // No `Running` is made here: dropping one ends the processes in its root.
    #[test]
    fn directories_are_told_apart_by_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        assert!(same_directory(dir.path(), &dir.path().join(".")));
        assert!(!same_directory(dir.path(), Path::new("/")));
        assert!(!same_directory(&dir.path().join("nowhere"), &dir.path().join("nowhere")));
        // A process that has not changed its root (this one) is not inside.
        assert!(!same_directory(dir.path(), Path::new("/proc/self/root")));
    }

    #[test]
    fn only_a_directory_below_the_machines_root_has_processes_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        assert!(is_own_root(dir.path()));
        assert!(!is_own_root(Path::new("/")));
        assert!(!is_own_root(Path::new("")));
    }
}
