//! What a guest does, asked of its process and of QEMU.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::{GuestError, Identity, Process, Started, on};
use crate::lab::qmp::{Qmp, QmpError, Status};

/// What a guest does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Its process lives.
    Running {
        /// Its process.
        identity: Identity,
        /// Since when.
        since: Option<SystemTime>,
        /// What QEMU says of it, when it answers.
        status: Option<Status>,
    },
    /// It was started and its process has ended without being told to.
    Dead,
    /// It is not started.
    Gone,
}

/// A look at a guest.
#[derive(Debug)]
pub struct Sight {
    /// What it does.
    pub state: State,
    /// Its monitor, when it answers.
    pub qmp: Option<Qmp>,
    /// Why the monitor of a living process does not answer.
    pub problem: Option<QmpError>,
}

/// Looks at a guest. `limit` is how long its monitor may take.
pub async fn look(process: &Process, qmp: &Path, limit: Duration) -> Sight {
    let Some(identity) = process.find() else {
        let state = if process.identity.is_some() { State::Dead } else { State::Gone };
        return Sight { state, qmp: None, problem: None };
    };
    let asked = async {
        let qmp = Qmp::connect(qmp, limit).await?;
        let status = qmp.status().await?;
        Ok::<_, QmpError>((qmp, status))
    };
    let (qmp, status, problem) = match asked.await {
        Ok((qmp, status)) => (Some(qmp), Some(status), None),
        Err(e) => (None, None, Some(e)),
    };
    // It may have ended while it was asked.
    if !identity.is_alive() {
        return Sight { state: State::Dead, qmp: None, problem };
    }
    let since = identity.since();
    Sight { state: State::Running { identity, since, status }, qmp, problem }
}

/// Takes a guest over that an earlier esxprep started; none when it does not run. The process that comes back has its
/// identity, even if the earlier esxprep was killed before it could write it down.
pub async fn adopt(process: &Process, qmp: &Path, limit: Duration) -> Result<Option<Started>, GuestError> {
    let began = Instant::now();
    let Some(identity) = process.find() else { return Ok(None) };
    // One that was only just started has no socket yet.
    let alive = || if identity.is_alive() { Ok(()) } else { Err(None) };
    match Qmp::connect_when_ready(qmp, limit, alive).await.map_err(|e: Option<QmpError>| e) {
        Ok(qmp) => {
            if let Some(peer) = qmp.peer().filter(|peer| *peer != identity.pid) {
                let why = format!("its monitor is served by process {peer}");
                return Err(GuestError::NotOurs { name: process.name.clone(), pid: identity.pid, why });
            }
            let process = Process { identity: Some(identity), ..process.clone() };
            Ok(Some(Started { process, qmp, took: began.elapsed() }))
        }
        Err(None) => Ok(None),
        Err(Some(e)) => Err(on(&process.name)(e)),
    }
}
