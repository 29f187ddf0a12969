//! Starting: a session of its own, so that neither Ctrl+C nor the end of esxprep reaches the guest; its number known at
//! once, because `setsid` and `ip netns exec` become the program that they start.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::hints::{hint, said};
use super::proc::{carries, find_marked, on_path};
use super::{GuestError, Identity, Kind, Process, failed, log};
use crate::lab::qmp::{Qmp, QmpError};

/// A guest to be started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The host's name.
    pub name: String,
    /// QEMU.
    pub program: PathBuf,
    /// Its arguments. One of them must make a monitor at [`Self::qmp`].
    pub args: Vec<OsString>,
    /// The network namespace that it runs in, by its name for `ip netns`.
    pub netns: Option<String>,
    /// The folder that relative paths in the arguments are taken from.
    pub dir: PathBuf,
    /// esxprep's own monitor socket: also the mark by which the process is known again.
    pub qmp: PathBuf,
    /// Where QEMU's own messages go.
    pub log: PathBuf,
    /// The guest's serial log, which QEMU writes: moved aside before the start.
    pub serial: Option<PathBuf>,
    /// How many old logs of each kind stay.
    pub keep_logs: usize,
    /// Other sockets and pid files that QEMU makes, such as the user's monitor.
    pub leftovers: Vec<PathBuf>,
    /// How long QEMU may take until its monitor answers. It is some 0.1 s on an idle machine, 1.6 s were seen on an
    /// overloaded one; loading saved memory comes on top.
    pub ready_within: Duration,
}

/// A helper process to be started: a hub, a switch, a server.
#[derive(Debug, Clone)]
pub struct Helper {
    /// Its name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments. One of them must hold [`Self::marker`].
    pub args: Vec<OsString>,
    /// The network namespace that it runs in.
    pub netns: Option<String>,
    /// The folder it runs in.
    pub dir: PathBuf,
    /// What no other process has among its arguments, such as its socket's path.
    pub marker: String,
    /// Where its output goes.
    pub log: PathBuf,
    /// How many old logs stay.
    pub keep_logs: usize,
    /// Sockets and pid files that it makes.
    pub leftovers: Vec<PathBuf>,
}

/// A guest whose process is there, but whose monitor may not answer yet.
#[derive(Debug)]
pub struct Spawned {
    child: tokio::process::Child,
    process: Process,
    launch: Launch,
    log_from: u64,
    began: Instant,
}

/// A guest that runs, with its monitor.
#[derive(Debug)]
pub struct Started {
    /// Its process, with who it is.
    pub process: Process,
    /// Its monitor.
    pub qmp: Qmp,
    /// From the call to the monitor's answer.
    pub took: Duration,
}

impl Launch {
    /// The process that this would become, to be journalled before it is started.
    pub fn process(&self) -> Process {
        let mut leftovers = vec![self.qmp.clone()];
        leftovers.extend(self.leftovers.iter().cloned());
        Process {
            kind: Kind::Guest,
            name: self.name.clone(),
            program: self.program.clone(),
            marker: self.qmp.to_string_lossy().into_owned(),
            identity: None,
            leftovers,
        }
    }
}

impl Helper {
    /// The process that this would become, to be journalled before it is started.
    pub fn process(&self) -> Process {
        Process {
            kind: Kind::Helper,
            name: self.name.clone(),
            program: self.program.clone(),
            marker: self.marker.clone(),
            identity: None,
            leftovers: self.leftovers.clone(),
        }
    }
}

/// Starts a guest and waits for its monitor: [`spawn`] and [`Spawned::ready`] in one.
pub async fn start(launch: &Launch) -> Result<Started, GuestError> {
    spawn(launch)?.ready().await
}

/// Starts a guest's process; must be called within a tokio runtime. Journal [`Launch::process`] before, and
/// [`Spawned::process`] after it: a kill in between leaves a process that its marker finds.
pub fn spawn(launch: &Launch) -> Result<Spawned, GuestError> {
    let began = Instant::now();
    let process = launch.process();
    let what = What {
        process,
        args: &launch.args,
        netns: launch.netns.as_deref(),
        dir: &launch.dir,
        log: &launch.log,
        serial: launch.serial.as_deref(),
        keep_logs: launch.keep_logs,
    };
    let (child, process, log_from) = what.spawn()?;
    Ok(Spawned { child, process, launch: launch.clone(), log_from, began })
}

/// Starts a helper; must be called within a tokio runtime. It is the caller's to find out when it is ready; one that
/// has ended within `grace` is an error that holds what it said.
pub async fn spawn_helper(helper: &Helper, grace: Duration) -> Result<Process, GuestError> {
    let what = What {
        process: helper.process(),
        args: &helper.args,
        netns: helper.netns.as_deref(),
        dir: &helper.dir,
        log: &helper.log,
        serial: None,
        keep_logs: helper.keep_logs,
    };
    let (mut child, process, log_from) = what.spawn()?;
    match tokio::time::timeout(grace, child.wait()).await {
        Err(_) => Ok(process),
        Ok(_) => Err(refused(&process, &helper.log, log_from)),
    }
}

/// What guests and helpers have in common.
struct What<'a> {
    process: Process,
    args: &'a [OsString],
    netns: Option<&'a str>,
    dir: &'a Path,
    log: &'a Path,
    serial: Option<&'a Path>,
    keep_logs: usize,
}

impl What<'_> {
    fn spawn(self) -> Result<(tokio::process::Child, Process, u64), GuestError> {
        let mut process = self.process;
        check_free(&process, self.args)?;
        // What a killed predecessor left would be taken for the new one's.
        process.remove_leftovers()?;
        for log in [Some(self.log), self.serial].into_iter().flatten() {
            log::rotate(log, self.keep_logs)?;
        }
        let (mut file, _) = log::open(self.log)?;
        let line = command_line(setsid().as_deref(), self.netns, &process.program, self.args);
        let shown: Vec<_> = line.iter().map(|word| shell_words::quote(&word.to_string_lossy()).into_owned()).collect();
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
        writeln!(file, "# {now} {}", shown.join(" ")).map_err(failed("write", self.log))?;
        let log_from = file.metadata().map_err(failed("look at", self.log))?.len();
        let errors = file.try_clone().map_err(failed("open", self.log))?;
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(self.dir).stdin(Stdio::null()).stdout(file).stderr(errors);
        if setsid().is_none() {
            // Not a session, but out of the reach of the terminal's signals.
            command.process_group(0);
        }
        let child = tokio::process::Command::from(command).spawn().map_err(|source| {
            let fix = match (source.kind(), self.dir.is_dir()) {
                (_, false) => "its folder is missing",
                (std::io::ErrorKind::NotFound, _) => "is it installed?",
                _ => "look at its permissions and at this machine's limits (`ulimit -a`)",
            };
            GuestError::Spawn { name: process.name.clone(), program: PathBuf::from(&line[0]), source, fix }
        })?;
        // It is our child, so its number is its own even when it has ended already.
        process.identity = child.id().and_then(Identity::of);
        Ok((child, process, log_from))
    }
}

/// Refuses when the process runs already, or could not be known again.
fn check_free(process: &Process, args: &[OsString]) -> Result<(), GuestError> {
    let (name, marker) = (process.name.clone(), process.marker.clone());
    if !carries(args, &marker) {
        return Err(GuestError::NoMarker { name, marker });
    }
    if args.iter().any(|arg| arg == "-daemonize" || arg == "--daemonize") {
        return Err(GuestError::Daemonize { name });
    }
    match find_marked(&process.program, &marker).first() {
        Some(other) => Err(GuestError::Running { name, pid: other.pid }),
        None => Ok(()),
    }
}

/// The words of the command: each of the programs in front replaces itself by the next.
fn command_line(setsid: Option<&Path>, netns: Option<&str>, program: &Path, args: &[OsString]) -> Vec<OsString> {
    let mut line: Vec<OsString> = Vec::new();
    line.extend(setsid.map(|path| path.as_os_str().to_owned()));
    if let Some(netns) = netns {
        line.extend(["ip", "netns", "exec", netns].map(OsString::from));
    }
    line.push(program.as_os_str().to_owned());
    line.extend(args.iter().cloned());
    line
}

/// `setsid` of util-linux, or of busybox.
fn setsid() -> Option<PathBuf> {
    on_path(OsStr::new("setsid"))
}

fn refused(process: &Process, log: &Path, from: u64) -> GuestError {
    let program = process.program.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let said = said(&log::since(log, from), &program);
    GuestError::Refused { name: process.name.clone(), hint: hint(&said), said, program, log: log.to_owned() }
}

/// Why waiting for the monitor ended.
enum Waiting {
    Ended,
    Qmp(QmpError),
}

impl From<QmpError> for Waiting {
    fn from(error: QmpError) -> Self {
        Self::Qmp(error)
    }
}

impl Spawned {
    /// The process, with who it is, for the journal.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Waits until the monitor answers. A guest that ended instead is told with its own words; one that does not
    /// answer in time is ended.
    pub async fn ready(mut self) -> Result<Started, GuestError> {
        let child = &mut self.child;
        let alive = || match child.try_wait() {
            Ok(None) => Ok(()),
            _ => Err(Waiting::Ended),
        };
        let limit = self.launch.ready_within;
        let connected = Qmp::connect_when_ready(&self.launch.qmp, limit, alive).await;
        let problem = match connected {
            Ok(qmp) => match (qmp.peer(), self.process.identity.as_ref()) {
                (Some(peer), Some(own)) if peer != own.pid => {
                    format!("the monitor belongs to another process, {peer}")
                }
                _ => return Ok(Started { process: self.process, qmp, took: self.began.elapsed() }),
            },
            Err(Waiting::Ended) => return Err(refused(&self.process, &self.launch.log, self.log_from)),
            // It ended while it was asked.
            Err(Waiting::Qmp(QmpError::Lost { .. })) if self.ends_soon().await => {
                return Err(refused(&self.process, &self.launch.log, self.log_from));
            }
            Err(Waiting::Qmp(e)) => e.to_string(),
        };
        // What this run made and cannot use, it takes back.
        let pid = self.process.identity.as_ref().map_or(0, |i| i.pid);
        if let Some(identity) = &self.process.identity {
            let _ = identity.signal(Signal::KILL);
        }
        let _ = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await;
        let _ = self.process.remove_leftovers();
        Err(GuestError::NotReady { name: self.process.name, pid, waited: limit, log: self.launch.log, problem })
    }

    async fn ends_soon(&mut self) -> bool {
        tokio::time::timeout(Duration::from_secs(2), self.child.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_becomes_the_program() {
        let line = command_line(Some(Path::new("/usr/bin/setsid")), Some("lab"), Path::new("qemu"), &["-S".into()]);
        assert_eq!(line, ["/usr/bin/setsid", "ip", "netns", "exec", "lab", "qemu", "-S"]);
        assert_eq!(command_line(None, None, Path::new("qemu"), &[]), ["qemu"]);
    }

    fn helper(dir: &Path, args: &[&str]) -> Helper {
        Helper {
            name: "hub".into(),
            program: "sh".into(),
            args: args.iter().map(OsString::from).collect(),
            netns: None,
            dir: dir.to_owned(),
            marker: dir.join("hub").to_str().unwrap().into(),
            log: dir.join("hub.log"),
            keep_logs: 2,
            leftovers: vec![],
        }
    }

    #[tokio::test]
    async fn a_helper_that_ends_is_told_with_its_words() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("hub");
        let it = helper(dir.path(), &["-c", "echo sh: no such port >&2; exit 3", marker.to_str().unwrap()]);
        let error = spawn_helper(&it, Duration::from_secs(60)).await.unwrap_err();
        let GuestError::Refused { said, .. } = &error else { panic!("{error}") };
        assert_eq!(said, "no such port");
        assert!(std::fs::read_to_string(&it.log).unwrap().contains("exit 3"), "the log says what was started");
    }

    #[tokio::test]
    async fn a_helper_without_its_marker_or_program_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let it = helper(dir.path(), &["-c", "sleep 60"]);
        assert!(matches!(spawn_helper(&it, Duration::ZERO).await, Err(GuestError::NoMarker { .. })));
        let mut it = helper(dir.path(), &[dir.path().join("hub").to_str().unwrap()]);
        it.program = "/nowhere/qemu".into();
        let error = spawn_helper(&it, Duration::from_secs(60)).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/qemu"), "{error}");
    }

    #[tokio::test]
    async fn a_helper_runs_in_its_own_session_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("hub");
        let it = helper(dir.path(), &["-c", "while :; do sleep 1; done", marker.to_str().unwrap()]);
        let process = spawn_helper(&it, Duration::from_millis(300)).await.unwrap();
        let pid = process.identity.as_ref().unwrap().pid;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let session = stat[stat.rfind(')').unwrap()..].split(' ').nth(4).unwrap().to_owned();
        let again = spawn_helper(&it, Duration::ZERO).await;
        if let Err(e) = process.unmake() {
            let _ = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status();
            panic!("{e}");
        }
        assert_eq!(session, pid.to_string());
        assert!(matches!(again, Err(GuestError::Running { pid: other, .. }) if other == pid), "{again:?}");
        assert!(!process.identity.unwrap().is_alive());
    }
}
