//! A run's journal on disk: what it was asked to do, and every event, written as it happens. It is what
//! `esxprep log` shows, what `--resume` goes on from, and all that is left of a run that was killed.
//!
//! Under the state directory: `runs/<run>/meta.json`, `runs/<run>/events.jsonl`, `locks/<address>_<port>.lock`,
//! `known/<address>_<port>.json`.

mod known;
mod lock;
mod meta;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::events::{Event, EventKind, HostResult, Status};

pub use lock::{HostLock, LockError};
pub use meta::{RunMeta, new_run_id, redact_argv};

/// Runs kept; older ones go when a new one begins.
const KEPT_RUNS: usize = 200;
/// The variable that names another state directory.
pub const STATE_DIR_VARIABLE: &str = "ESXPREP_STATE_DIR";

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No home directory and no variable.
    #[error("no place for the journal: there is no home directory; set ESXPREP_STATE_DIR to a folder")]
    NoPlace,
    /// A file operation failed.
    #[error("cannot {doing} {}: {source}; set ESXPREP_STATE_DIR to a folder that can be written", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What came back.
        source: io::Error,
    },
    /// `meta.json` is not what this version writes.
    #[error("{} is damaged or from another version: {problem}; remove its folder to forget that run", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        problem: String,
    },
    /// No run of this name.
    #[error("no run `{wanted}` in {}; `esxprep log` lists the runs", state.display())]
    NoSuchRun {
        /// What was asked for.
        wanted: String,
        /// The state directory.
        state: PathBuf,
    },
    /// More than one run begins so.
    #[error("`{wanted}` is the beginning of several runs: {}; write more of it", runs.join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The runs, the newest first.
        runs: Vec<String>,
    },
}

/// What a run is asked to do, known when it begins.
#[derive(Debug, Clone, Default)]
pub struct NewRun {
    /// The playbook's file.
    pub playbook: PathBuf,
    /// Its name.
    pub name: String,
    /// The command line; values of `-e` and passwords in addresses are taken out before it is stored.
    pub argv: Vec<String>,
    /// `apply`, `check` or `verify`.
    pub mode: String,
    /// Names of the hosts.
    pub hosts: Vec<String>,
    /// The run that this one goes on from (`--resume`).
    pub resumes: Option<String>,
}

/// Where esxprep keeps what it must remember between runs.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// The journal of the run that is going on.
#[derive(Debug)]
pub struct Journal {
    dir: PathBuf,
    meta: RunMeta,
    events: File,
}

/// A run as the list shows it.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// What it was asked to do, and its end.
    pub meta: RunMeta,
    /// How far it is.
    pub state: RunState,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Its process lives.
    Running,
    /// It ended with this exit code.
    Finished(i32),
    /// Its process ended without saying so.
    Killed,
}

/// A run read back.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// What it was asked to do, and its end.
    pub meta: RunMeta,
    /// Its events in order.
    pub events: Vec<Event>,
    /// Lines that could not be read: cut by the kill, or events of a newer version.
    pub unreadable: usize,
    /// The run that it went on from, if that is still there.
    pub earlier: Option<Box<Recorded>>,
}

/// What is done on a host, for `--resume`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostDone {
    /// The whole playbook went through without a failure.
    pub finished: bool,
    /// Number and name of the steps that ended `ok` or `changed`.
    pub steps: BTreeSet<(usize, String)>,
}

impl StateDir {
    /// `$ESXPREP_STATE_DIR`, else `$XDG_STATE_HOME/esxprep`, else `~/.local/state/esxprep`.
    pub fn locate() -> Result<Self, JournalError> {
        if let Some(dir) = std::env::var_os(STATE_DIR_VARIABLE).filter(|d| !d.is_empty()) {
            return Ok(Self(PathBuf::from(dir)));
        }
        let base = etcetera::base_strategy::Xdg::new().map_err(|_| JournalError::NoPlace)?;
        let state = base.state_dir().ok_or(JournalError::NoPlace)?;
        Ok(Self(state.join("esxprep")))
    }

    /// In this folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Begins a run's journal, and removes the oldest ones.
    pub fn create(&self, new: &NewRun) -> Result<Journal, JournalError> {
        let runs = self.0.join("runs");
        make_private_dir(&runs)?;
        self.prune(KEPT_RUNS.saturating_sub(1));
        // The name is random, but a folder of that name is the one thing that must not be shared.
        let mut run = new_run_id();
        for _ in 0..16 {
            match DirBuilder::new().mode(0o700).create(runs.join(&run)) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => run = new_run_id(),
                Err(e) => return Err(problem("create", &runs.join(&run))(e)),
                Ok(()) => break,
            }
        }
        let dir = runs.join(&run);
        let path = dir.join("events.jsonl");
        let events = private_file().append(true).create_new(true).open(&path).map_err(problem("create", &path))?;
        // Held while this process lives: that is how others tell a running run from a killed one.
        events.lock().map_err(problem("lock", &path))?;
        let journal = Journal { meta: RunMeta::new(run, new), dir, events };
        journal.save_meta()?;
        Ok(journal)
    }

    /// All runs, the newest first. Folders that cannot be read are left out.
    pub fn list(&self) -> Result<Vec<RunInfo>, JournalError> {
        Ok(self.newest()?.collect())
    }

    /// The same, each read when it is asked for.
    pub fn newest(&self) -> Result<impl Iterator<Item = RunInfo>, JournalError> {
        let runs = self.0.join("runs");
        Ok(self.names()?.into_iter().rev().filter_map(move |run| {
            let dir = runs.join(run);
            let meta = RunMeta::load(&dir.join("meta.json")).ok()?;
            let state = match meta.exit_code {
                Some(code) => RunState::Finished(code),
                None if in_use(&dir.join("events.jsonl")) => RunState::Running,
                None => RunState::Killed,
            };
            Some(RunInfo { meta, state })
        }))
    }

    /// The run of this name, or the one whose name begins so, or `last`.
    pub fn load(&self, wanted: &str) -> Result<Recorded, JournalError> {
        self.load_chain(wanted, 16)
    }

    fn load_chain(&self, wanted: &str, depth: u8) -> Result<Recorded, JournalError> {
        let dir = self.0.join("runs").join(self.find(wanted)?);
        let meta = RunMeta::load(&dir.join("meta.json"))?;
        let path = dir.join("events.jsonl");
        // The kill may have cut a character in two.
        let bytes = fs::read(&path).map_err(problem("read", &path))?;
        let mut unreadable = 0;
        let mut events = Vec::new();
        for line in bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(event) => events.push(event),
                Err(_) => unreadable += 1,
            }
        }
        let earlier = meta.resumes.as_deref().filter(|_| depth > 0);
        let earlier = earlier.and_then(|run| self.load_chain(run, depth - 1).ok()).map(Box::new);
        Ok(Recorded { meta, events, unreadable, earlier })
    }

    fn find(&self, wanted: &str) -> Result<String, JournalError> {
        let names = self.names()?;
        let missing = || JournalError::NoSuchRun { wanted: wanted.to_owned(), state: self.0.clone() };
        if wanted == "last" {
            return names.last().cloned().ok_or_else(missing);
        }
        let mut found: Vec<_> = names.into_iter().filter(|n| !wanted.is_empty() && n.starts_with(wanted)).collect();
        if found.len() > 1 && !found.iter().any(|n| n == wanted) {
            found.reverse();
            found.truncate(5);
            return Err(JournalError::Ambiguous { wanted: wanted.to_owned(), runs: found });
        }
        found.into_iter().next().ok_or_else(missing)
    }

    /// Names of the runs' folders, the oldest first.
    fn names(&self) -> Result<Vec<String>, JournalError> {
        let runs = self.0.join("runs");
        let entries = match fs::read_dir(&runs) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(problem("list", &runs))?,
        };
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| meta::is_run_id(name))
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes the oldest runs but `keep`, never one whose process lives. What cannot be removed stays: a full
    /// journal is no reason not to run.
    fn prune(&self, keep: usize) {
        let Ok(names) = self.names() else { return };
        for name in &names[..names.len().saturating_sub(keep)] {
            let dir = self.0.join("runs").join(name);
            if !in_use(&dir.join("events.jsonl")) {
                let _ = fs::remove_dir_all(dir);
            }
        }
    }
}

impl Journal {
    /// Begins a journal in the usual place.
    pub fn create(new: &NewRun) -> Result<Self, JournalError> {
        StateDir::locate()?.create(new)
    }

    /// All runs in the usual place, the newest first.
    pub fn list() -> Result<Vec<RunInfo>, JournalError> {
        StateDir::locate()?.list()
    }

    /// A run in the usual place: its name, a unique beginning of it, or `last`.
    pub fn load(wanted: &str) -> Result<Recorded, JournalError> {
        StateDir::locate()?.load(wanted)
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.meta.run
    }

    /// The run's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds events. They are in the file when this returns, and on the disk when one of them ends a host or the run.
    pub fn append(&mut self, events: &[Event]) -> Result<(), JournalError> {
        let path = self.dir.join("events.jsonl");
        let mut lines = String::new();
        for event in events {
            lines.push_str(&event.to_line().map_err(|e| problem("write", &path)(e.into()))?);
            lines.push('\n');
        }
        // One write: a kill cuts at most one line.
        self.events.write_all(lines.as_bytes()).map_err(problem("write", &path))?;
        let ends = |event: &Event| matches!(event.kind, EventKind::HostFinished(_) | EventKind::RunFinished { .. });
        if events.iter().any(ends) {
            self.events.sync_data().map_err(problem("write", &path))?;
        }
        Ok(())
    }

    /// Ends the journal with the run's exit code.
    pub fn finish(mut self, exit_code: i32) -> Result<(), JournalError> {
        self.events.sync_data().map_err(problem("write", &self.dir.join("events.jsonl")))?;
        self.meta.finished = Some(super::events::now_rfc3339());
        self.meta.exit_code = Some(exit_code);
        self.save_meta()
    }

    /// Whole or not at all: a temporary file moved into place.
    fn save_meta(&self) -> Result<(), JournalError> {
        let path = self.dir.join("meta.json");
        let save = || -> io::Result<()> {
            // Only its owner can read a temporary file.
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(serde_json::to_string_pretty(&self.meta)?.as_bytes())?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        save().map_err(problem("write", &path))
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // Closing would do, were it not for a child process that is just being started with a copy of the handle.
        let _ = self.events.unlock();
    }
}

impl Recorded {
    /// How far each host came, over this run and those it went on from. A run that changes nothing gets nothing done.
    pub fn done(&self) -> BTreeMap<String, HostDone> {
        let mut done = self.earlier.as_ref().map(|e| e.done()).unwrap_or_default();
        if self.meta.mode != "apply" {
            return done;
        }
        for event in &self.events {
            match &event.kind {
                EventKind::RunStarted { hosts, .. } => {
                    hosts.iter().for_each(|h| {
                        done.entry(h.clone()).or_default();
                    });
                }
                EventKind::Step(step) => {
                    let host = done.entry(step.host.clone()).or_default();
                    let key = (step.step, step.name.clone());
                    match step.status {
                        Status::Ok | Status::Changed => host.steps.insert(key),
                        // The last word on a step counts: it may have been tried again.
                        Status::Failed | Status::WouldChange => host.steps.remove(&key),
                        Status::Skipped => false,
                    };
                    if step.status == Status::Failed {
                        host.finished = false;
                    }
                }
                EventKind::HostFinished(result) => {
                    done.entry(result.host.clone()).or_default().finished = result.failed == 0;
                }
                _ => {}
            }
        }
        for event in &self.events {
            if let EventKind::HostFailed { host, .. } = &event.kind {
                done.entry(host.clone()).or_default().finished = false;
            }
        }
        done
    }

    /// The hosts that are not done: a step or the host failed, they were not reached, lost, interrupted, or never begun.
    /// In the order of the run.
    pub fn undone(&self) -> Vec<String> {
        let mut done = BTreeSet::new();
        let mut not = BTreeSet::new();
        for event in &self.events {
            match &event.kind {
                EventKind::HostFinished(result) if result.failed == 0 => {
                    done.insert(result.host.as_str());
                }
                EventKind::HostFinished(HostResult { host, .. }) | EventKind::HostFailed { host, .. } => {
                    not.insert(host.as_str());
                }
                EventKind::Note { host: Some(host), text } if text == super::host::INTERRUPTED => {
                    not.insert(host.as_str());
                }
                _ => {}
            }
        }
        let undone = |host: &&String| !done.contains(host.as_str()) || not.contains(host.as_str());
        self.meta.hosts.iter().filter(undone).cloned().collect()
    }
}

/// Whether another process, or another handle of this one, holds the file's lock.
fn in_use(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
}

/// A folder (and those above it) that only its owner can look into.
fn make_private_dir(path: &Path) -> Result<(), JournalError> {
    let mode = 0o700;
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(problem("create", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(problem("protect", path))
}

/// Options for a file that only its owner can read.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn problem(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError::Io { doing, path, source }
}
