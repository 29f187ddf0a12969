//! The switch's process as a thing of the lab: started detached, found again, ended.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::lock::{self, Lock, lock_file};
use super::{Config, HubError, Reply, Request, ask};
use crate::lab::net::{NetError, check_lab_name, proc};

/// How long the process may take to start: an overloaded machine takes its time.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end by itself.
const STOP: Duration = Duration::from_secs(5);
const WHAT: &str = "the lab's switch";

/// A switch in a process of its own, which outlives the esxprep that started it. It may be asked to start and to
/// stop any number of times; at most one runs in a folder, held by a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HubProcess {
    /// The program: esxprep itself.
    pub program: PathBuf,
    /// Its arguments before the path of the configuration.
    pub args: Vec<String>,
    /// The switch.
    pub config: Config,
}

impl HubProcess {
    /// Starts it, unless it runs as wanted; one that runs with another configuration is started again.
    pub fn make(&self) -> Result<(), NetError> {
        self.check_owner()?;
        let config = &self.config;
        if matches!(lock::take(&self.config.dir)?, Lock::Held(_)) && self.written()?.as_ref() == Some(config) {
            // Perhaps it has only just begun; or it is ending, told so by a teardown that was killed.
            if self.wait(None)? {
                return Ok(());
            }
        }
        self.stop()?;
        let dir = &config.dir;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(HubError::io("create", dir))?;
        self.write()?;
        self.wait(Some(self.spawn()?)).map(|_| ())
    }

    /// Ends it and removes its files.
    pub fn unmake(&self) -> Result<(), NetError> {
        self.check_owner()?;
        let Some(lock) = self.stop()? else { return Ok(()) };
        let config = &self.config;
        // The configuration goes while the lock is held: a process that was just being started finds none and ends.
        remove(&config.file())?;
        let entries = fs::read_dir(&config.dir).map_err(HubError::io("list", &config.dir))?;
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".h") || name.ends_with(".g") || name.starts_with("hub.") && name != "hub.lock" {
                remove(&entry.path())?;
            }
        }
        remove(&lock_file(&config.dir))?;
        drop(lock);
        match fs::remove_dir(&config.dir) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(HubError::io("remove", &config.dir)(e).into())
            }
            _ => Ok(()),
        }
    }

    /// The id of the process that runs, if one does.
    pub fn pid(&self) -> Result<Option<u32>, NetError> {
        Ok(match lock::take(&self.config.dir)? {
            Lock::Held(pid) => pid,
            _ => None,
        })
    }

    fn check_owner(&self) -> Result<(), NetError> {
        check_lab_name(&self.config.lab)?;
        self.config.check()?;
        match self.written()? {
            Some(other) if other.lab != self.config.lab => Err(NetError::NotOurs {
                what: "switch in",
                name: self.config.dir.display().to_string(),
                lab: self.config.lab.clone(),
                owner: format!("it is of lab `{}`", other.lab),
                advice: "give each lab a folder of its own",
            }),
            _ => Ok(()),
        }
    }

    /// The configuration that lies in the folder; one that cannot be read is as none.
    fn written(&self) -> Result<Option<Config>, NetError> {
        let path = self.config.file();
        match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => Ok(serde_json::from_slice(&other.map_err(HubError::io("read", &path))?).ok()),
        }
    }

    fn write(&self) -> Result<(), NetError> {
        let path = self.config.file();
        let write = || -> io::Result<()> {
            let mut file = tempfile::Builder::new().prefix("hub.json.").tempfile_in(&self.config.dir)?;
            serde_json::to_writer_pretty(&mut file, &self.config)?;
            file.flush()?;
            file.persist(&path)?;
            Ok(())
        };
        Ok(write().map_err(HubError::io("write", &path))?)
    }

    fn spawn(&self) -> Result<std::process::Child, NetError> {
        let log = self.config.log();
        let mut options = OpenOptions::new();
        let out = options.create(true).append(true).mode(0o600).open(&log).map_err(HubError::io("open", &log))?;
        let also = out.try_clone().map_err(HubError::io("open", &log))?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .arg(self.config.file())
            .current_dir("/")
            // A Ctrl-C at the terminal is for esxprep alone.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(also)
            .spawn();
        Ok(child.map_err(HubError::io("start", &self.program))?)
    }

    /// Waits until the switch answers. False when it is another's (no `child`) and nobody holds its lock any more.
    fn wait(&self, mut child: Option<std::process::Child>) -> Result<bool, NetError> {
        let until = Instant::now() + START;
        loop {
            if matches!(ask(&self.config.control(), &Request::Stats), Ok(Reply::Stats(_))) {
                return Ok(true);
            }
            if child.is_none() && !matches!(lock::take(&self.config.dir)?, Lock::Held(_)) {
                return Ok(false);
            }
            let ended = child.as_mut().and_then(|c| c.try_wait().ok().flatten());
            if ended.is_some() || Instant::now() >= until {
                let log = self.config.log();
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
                let problem = ended.map_or(last.clone(), |status| format!("it ended ({status}): {last}"));
                return Err(NetError::NotStarted { what: WHAT, seconds: START.as_secs(), problem, log });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends what runs; the folder's lock, if there is a folder.
    fn stop(&self) -> Result<Option<File>, NetError> {
        let until = Instant::now() + START;
        loop {
            let pid = match lock::take(&self.config.dir)? {
                Lock::NoFolder => return Ok(None),
                Lock::Free(file) => return Ok(Some(file)),
                Lock::Held(pid) => pid,
            };
            // Without an id yet: it has the lock and is about to write it.
            if let Some(pid) = pid {
                let file = self.config.file().display().to_string();
                match proc::arguments(pid) {
                    // A process that ends has no arguments any more, some time before its files and its lock go.
                    ending if ending.is_empty() => {}
                    words if words.contains(&file) => proc::stop(WHAT, pid, STOP)?,
                    _ if proc::started(pid).is_none() => {}
                    _ => {
                        return Err(NetError::NotOurs {
                            what: "process",
                            name: pid.to_string(),
                            lab: self.config.lab.clone(),
                            owner: format!(
                                "it holds {} and was not started for it",
                                lock_file(&self.config.dir).display()
                            ),
                            advice: "end that process yourself",
                        });
                    }
                }
            }
            if Instant::now() >= until {
                return Err(NetError::NotStopped { what: WHAT, pid: pid.unwrap_or_default() });
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn remove(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(HubError::io("remove", path)),
    }
}
