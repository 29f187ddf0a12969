//! Processes as the kernel tells them (proc(5)). A process is known by number, start time and boot: numbers are given
//! out again. One that has ended but was not collected by its parent (a zombie) is dead.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// Clock ticks a second in /proc: 100 on x86 and ARM (`getconf CLK_TCK`).
const TICKS: u64 = 100;

/// A process that cannot be taken for another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks after the machine's boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
    /// The machine's boot (`/proc/sys/kernel/random/boot_id`).
    pub boot: String,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It lives.
    Alive,
    /// It has ended; its parent has not collected it yet.
    Zombie,
    /// It has ended.
    Gone,
    /// Its number belongs to another process, or is of another boot.
    Other,
}

/// What a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it started, its children's not counted.
    pub cpu: Duration,
    /// Memory in use, in bytes.
    pub rss: u64,
}

/// Some fields of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 3.
    pub state: char,
    /// Fields 14 and 15: user and system time.
    pub ticks: u64,
    /// Field 22.
    pub start: u64,
}

impl Stat {
    /// Whether the process has ended.
    fn is_dead(self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Reads `/proc/PID/stat`. The second field is the program's name in parentheses and may itself hold anything.
pub(super) fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    // The state was field 3, so the next is field 4.
    let number = |field: Option<&str>| field?.parse::<u64>().ok();
    let user = number(fields.nth(14 - 4))?;
    let system = number(fields.next())?;
    let start = number(fields.nth(22 - 16))?;
    Some(Stat { state, ticks: user.saturating_add(system), start })
}

fn stat(pid: u32) -> Option<Stat> {
    // The name need not be UTF-8.
    parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

impl Identity {
    /// The living process of this number; none when there is none, or a zombie.
    pub fn of(pid: u32) -> Option<Self> {
        let stat = stat(pid).filter(|s| !s.is_dead())?;
        Some(Self { pid, start: stat.start, boot: boot_id() })
    }

    /// What became of it.
    pub fn look(&self) -> Liveness {
        if self.boot != boot_id() {
            return Liveness::Other;
        }
        match stat(self.pid) {
            None => Liveness::Gone,
            Some(stat) if stat.start != self.start => Liveness::Other,
            Some(stat) if stat.is_dead() => Liveness::Zombie,
            Some(_) => Liveness::Alive,
        }
    }

    /// Whether it lives.
    pub fn is_alive(&self) -> bool {
        self.look() == Liveness::Alive
    }

    /// When it started; none when the kernel does not tell.
    pub fn since(&self) -> Option<SystemTime> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = text.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(boot) + ticks(self.start))
    }

    /// Sends it a signal; false when it had ended. Nobody else can get it: the handle is taken before the process is
    /// looked at (pidfd_open(2), Linux 5.3).
    pub(super) fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            other => other?,
        };
        if !self.is_alive() {
            return Ok(false);
        }
        match pidfd_send_signal(handle, signal) {
            Err(rustix::io::Errno::SRCH) => Ok(false),
            other => Ok(other.map(|()| true)?),
        }
    }
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS))
}

/// What a living process uses; none when it has ended.
pub fn usage(pid: u32) -> Option<Usage> {
    let cpu = ticks(stat(pid)?.ticks);
    let status = String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/status")).ok()?).into_owned();
    // A zombie has no such line.
    let rss = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = rss.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Usage { cpu, rss: kib.saturating_mul(1024) })
}

/// The command line of a process; empty when it has ended or is a zombie.
pub(super) fn command_line(pid: u32) -> Vec<OsString> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|b| *b == 0).map(|arg| OsString::from_vec(arg.to_vec())).collect()
}

/// Whether an argument holds `marker` whole: `/run/h1.qmp` is not in `/run/h1.qmp2` nor in `/x/run/h1.qmp`. QEMU's
/// options write a comma twice.
pub(super) fn carries(args: &[OsString], marker: &str) -> bool {
    let holds = |arg: &[u8], marker: &[u8]| {
        !marker.is_empty()
            && arg.windows(marker.len()).enumerate().any(|(at, part)| {
                let before = at.checked_sub(1).map(|i| arg[i]);
                let after = arg.get(at + marker.len());
                part == marker
                    && matches!(before, None | Some(b'=' | b':' | b','))
                    && matches!(after, None | Some(b','))
            })
    };
    let doubled = marker.replace(',', ",,");
    let forms = [marker.as_bytes(), doubled.as_bytes()];
    args.iter().any(|arg| forms.iter().any(|form| holds(arg.as_encoded_bytes(), form)))
}

/// The file name of the program that a process runs now; none when it has ended or is not ours to see.
pub(super) fn program(pid: u32) -> Option<String> {
    let path = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let name = path.file_name()?.to_string_lossy().into_owned();
    // After an upgrade the running program's file is gone.
    Some(name.strip_suffix(" (deleted)").unwrap_or(&name).to_owned())
}

/// A program on the PATH.
pub(super) fn on_path(name: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// Programs that become the one they start: between fork and exec a guest is one of these.
const STARTERS: &[&str] = &["setsid", "ip", "busybox"];

/// Whether a process runs `wanted` (or is just about to) with `marker` among its arguments.
pub(super) fn is_marked(pid: u32, wanted: &Path, marker: &str) -> bool {
    let args = command_line(pid);
    if !carries(&args, marker) {
        return false;
    }
    let Some(name) = program(pid) else { return false };
    // A link such as /usr/bin/kvm is another name of the same program.
    let file = if wanted.components().count() == 1 { on_path(wanted.as_os_str()) } else { None };
    let real = fs::canonicalize(file.as_deref().unwrap_or(wanted)).unwrap_or_else(|_| wanted.to_owned());
    // NixOS renames a wrapped program so.
    let name = name.strip_prefix('.').and_then(|n| n.strip_suffix("-wrapped")).unwrap_or(&name);
    let is_it = |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy() == name);
    is_it(wanted) || is_it(&real) || (STARTERS.contains(&name) && args.iter().any(|a| a == wanted.as_os_str()))
}

/// Living processes that run `wanted` with `marker` among their arguments, the oldest first.
pub(super) fn find_marked(wanted: &Path, marker: &str) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let own = std::process::id();
    let mut found: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own && is_marked(*pid, wanted, marker))
        .filter_map(Identity::of)
        .collect();
    found.sort_by_key(|identity| (identity.start, identity.pid));
    found
}

/// A process that has files of a folder among its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stray {
    /// Who it is.
    pub identity: Identity,
    /// The file name of its program.
    pub program: String,
    /// Its command line.
    pub args: Vec<OsString>,
}

/// Living processes of this user's that have files below `dir` among their arguments, this one left out: when a lab's
/// journal is gone, its runtime folder still tells what belongs to it. Whoever looks at such a file (`tail`, `socat`)
/// is among them, so show them and let the user choose.
pub fn strays(dir: &Path) -> Vec<Stray> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut folder = dir.as_os_str().as_encoded_bytes().to_vec();
    folder.push(b'/');
    let own = std::process::id();
    let mut found: Vec<_> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter_map(|pid| {
            let args = command_line(pid);
            let names = args.iter().any(|arg| {
                let arg = arg.as_encoded_bytes();
                arg.windows(folder.len()).enumerate().any(|(at, part)| {
                    let before = at.checked_sub(1).map(|i| arg[i]);
                    part == folder && matches!(before, None | Some(b'=' | b':' | b','))
                })
            });
            let program = names.then(|| program(pid)).flatten()?;
            Some(Stray { identity: Identity::of(pid)?, program, args })
        })
        .collect();
    found.sort_by_key(|stray| (stray.identity.start, stray.identity.pid));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn args(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_stat_line_is_read_whatever_the_program_is_called() {
        let line = "11781 (a) R 1 (b) S 1 11781 11781 0 -1 4194560 1 2 3 4 70 30 9 9 20 0 3 0 123456 1 2";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', ticks: 100, start: 123456 }));
        assert_eq!(parse_stat("1 (x) Z 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn this_process_is_alive_and_another_start_is_another_process() {
        let me = Identity::of(std::process::id()).unwrap();
        assert_eq!(me.look(), Liveness::Alive);
        assert!(me.since().unwrap() <= SystemTime::now() + Duration::from_secs(2));
        assert_eq!(Identity { start: me.start + 1, ..me.clone() }.look(), Liveness::Other);
        assert_eq!(Identity { boot: "another".into(), ..me.clone() }.look(), Liveness::Other);
        assert_eq!(Identity { pid: u32::MAX, ..me.clone() }.look(), Liveness::Gone);
        assert!(usage(me.pid).unwrap().rss > 100_000);
        assert!(!Identity { start: me.start + 1, ..me }.signal(Signal::KILL).unwrap(), "not ours, not signalled");
    }

    #[test]
    fn an_uncollected_child_is_dead() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while stat(child.id()).unwrap().state != 'Z' && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let zombie = Identity { pid: child.id(), start: stat(child.id()).unwrap().start, boot: boot_id() };
        assert_eq!(zombie.look(), Liveness::Zombie);
        assert_eq!(Identity::of(child.id()), None);
        assert_eq!(usage(child.id()), None);
        child.wait().unwrap();
        assert_eq!(zombie.look(), Liveness::Gone);
    }

    #[test]
    fn a_marker_is_found_whole_or_not_at_all() {
        let line = args(&["qemu", "-qmp", "unix:/run/a/h1.qmp,server=on,wait=off"]);
        assert!(carries(&line, "/run/a/h1.qmp"));
        for other in ["/run/a/h1.qm", "/run/a/h1", "a/h1.qmp", "/run/a/h11.qmp", ""] {
            assert!(!carries(&line, other), "{other}");
        }
        assert!(carries(&args(&["hub", "/run/a/hub"]), "/run/a/hub"));
        assert!(carries(&args(&["qemu", "-qmp", "unix:/r/a,,b/h1.qmp,server=on"]), "/r/a,b/h1.qmp"));
        assert!(carries(&args(&["q", "-chardev", "socket,path=/r/m,server=on"]), "/r/m"));
    }

    #[test]
    fn somebody_who_only_names_the_socket_is_not_the_guest() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("h1.qmp");
        // As a user who looks after the socket would.
        let mut child = std::process::Command::new("sleep").arg("60").arg("--").env_clear().spawn().unwrap();
        let mut tail = std::process::Command::new("tail")
            .args(["-F", "--pid", &child.id().to_string()])
            .arg(&marker)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let marker = marker.to_str().unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        while !carries(&command_line(tail.id()), marker) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let as_qemu = find_marked(Path::new("/usr/bin/qemu-system-x86_64"), marker);
        let as_tail = find_marked(Path::new("tail"), marker);
        let strays = strays(dir.path());
        let id = tail.id();
        for child in [&mut child, &mut tail] {
            let _ = child.kill();
            let _ = child.wait();
        }
        assert_eq!(as_qemu, []);
        assert_eq!(as_tail.iter().map(|i| i.pid).collect::<Vec<_>>(), [id]);
        assert_eq!(strays.iter().map(|s| (s.identity.pid, s.program.as_str())).collect::<Vec<_>>(), [(id, "tail")]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,100}") {
            let _ = parse_stat(&text);
        }
    }
}
