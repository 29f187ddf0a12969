//! What this room makes on the machine, for the journal.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::proc::{self, Identity, Liveness};
use super::{GuestError, failed};

/// What a process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A QEMU.
    Guest,
    /// Anything else: a hub, a switch, a server.
    Helper,
}

/// A process that esxprep starts. Journalled without identity before it is started (the marker finds it again), and
/// with it afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is for.
    pub kind: Kind,
    /// The host's or helper's name.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// A text that no other process has among its arguments: a guest's monitor socket.
    pub marker: String,
    /// Who it is, once it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Sockets and pid files that it leaves when it is killed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<PathBuf>,
}

/// Something that this room makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Thing {
    /// A process; made by [`super::spawn`] and [`super::spawn_helper`].
    Process(Process),
    /// A unix socket that outlives its process.
    Socket {
        /// Its path.
        path: PathBuf,
    },
}

/// Time for QEMU to write its disks back after SIGTERM.
const TERM_LIMIT: Duration = Duration::from_secs(15);
/// Time for the kernel to end a process after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(15);

impl Process {
    /// The living process, if there is one: the one that was recorded, else one that carries the marker.
    pub fn find(&self) -> Option<Identity> {
        let recorded = self.identity.clone().filter(|i| i.is_alive() && self.is_it(i.pid));
        recorded.or_else(|| proc::find_marked(&self.program, &self.marker).into_iter().next())
    }

    fn is_it(&self, pid: u32) -> bool {
        // Whatever its program is called by now: some distributions start QEMU by a wrapper of another name.
        proc::carries(&proc::command_line(pid), &self.marker)
    }

    /// Ends it at once: SIGTERM, which makes QEMU write its disks back, then SIGKILL; then removes what it left. The
    /// guest is not asked; [`super::stop`] does that. Blocks up to 30 seconds. One that is not there is no error.
    pub fn unmake(&self) -> Result<(), GuestError> {
        // Twice, for a guest started by hand with the same monitor is found by its marker alone.
        while let Some(identity) = self.find() {
            self.end(&identity)?;
        }
        if let Some(identity) = &self.identity {
            // One that is just ending has no command line any more.
            let deadline = Instant::now() + KILL_LIMIT;
            while identity.is_alive() && proc::command_line(identity.pid).is_empty() && Instant::now() < deadline {
                sleep(Duration::from_millis(5));
            }
        }
        // A recorded process that lives but does not carry the marker is not what was started: refuse to touch it.
        if let Some(identity) = self.identity.as_ref().filter(|i| i.look() == Liveness::Alive) {
            let why = format!("its command line does not hold {}", self.marker);
            return Err(GuestError::NotOurs { name: self.name.clone(), pid: identity.pid, why });
        }
        self.remove_leftovers()
    }

    fn end(&self, identity: &Identity) -> Result<(), GuestError> {
        for (signal, limit) in [(Signal::TERM, TERM_LIMIT), (Signal::KILL, KILL_LIMIT)] {
            let path = PathBuf::from(format!("/proc/{}", identity.pid));
            if !identity.signal(signal).map_err(failed("end", &path))? {
                return Ok(());
            }
            let deadline = Instant::now() + limit;
            while identity.is_alive() {
                if Instant::now() >= deadline {
                    break;
                }
                sleep(Duration::from_millis(5));
            }
            if !identity.is_alive() {
                return Ok(());
            }
        }
        Err(GuestError::Unkillable { name: self.name.clone(), pid: identity.pid, waited: KILL_LIMIT })
    }

    /// Removes sockets and pid files of a process that has ended.
    pub(super) fn remove_leftovers(&self) -> Result<(), GuestError> {
        self.leftovers.iter().try_for_each(|path| remove_leftover(path))
    }
}

impl Thing {
    /// Unmakes it; something that is not there is no error, something that is not ours is one.
    pub fn unmake(&self) -> Result<(), GuestError> {
        match self {
            Self::Process(process) => process.unmake(),
            Self::Socket { path } => remove_leftover(path),
        }
    }
}

/// Removes a socket or a small file such as a pid file; a folder or a link is not what QEMU leaves.
fn remove_leftover(path: &Path) -> Result<(), GuestError> {
    let kind = match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("look at", path))?.file_type(),
    };
    if !kind.is_socket() && !kind.is_file() {
        let source = io::Error::other("it is neither a socket nor a file, so it is not what esxprep made");
        return Err(failed("remove", path)(source));
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(dir: &Path) -> Process {
        Process {
            kind: Kind::Helper,
            name: "hub".into(),
            program: "sleep".into(),
            marker: dir.join("hub").to_str().unwrap().into(),
            identity: None,
            leftovers: vec![dir.join("hub")],
        }
    }

    #[test]
    fn things_keep_their_form_in_the_journal() {
        let dir = Path::new("/r");
        let mut process = process(dir);
        process.identity = Some(Identity { pid: 7, start: 9, boot: "b".into() });
        let text = serde_json::to_string(&Thing::Process(process.clone())).unwrap();
        assert_eq!(
            text,
            r#"{"what":"process","kind":"helper","name":"hub","program":"sleep","marker":"/r/hub","identity":{"pid":7,"start":9,"boot":"b"},"leftovers":["/r/hub"]}"#
        );
        assert_eq!(serde_json::from_str::<Thing>(&text).unwrap(), Thing::Process(process));
    }

    #[test]
    fn unmaking_what_is_not_there_is_fine_any_number_of_times() {
        let dir = tempfile::tempdir().unwrap();
        let process = process(dir.path());
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("hub")).unwrap());
        process.unmake().unwrap();
        assert!(!dir.path().join("hub").exists());
        process.unmake().unwrap();
        Thing::Socket { path: dir.path().join("hub") }.unmake().unwrap();
    }

    #[test]
    fn a_living_process_without_the_marker_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let mut process = process(dir.path());
        process.identity = Identity::of(child.id());
        let error = process.unmake().unwrap_err();
        assert!(matches!(error, GuestError::NotOurs { .. }), "{error}");
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(alive, "it was ended all the same");
    }

    #[test]
    fn a_folder_in_the_place_of_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Thing::Socket { path: dir.path().to_owned() }.unmake().is_err());
        assert!(dir.path().exists());
    }
}
