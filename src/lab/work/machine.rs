//! Virtual machines of a plan: started in a stage, found again, stopped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::record::{record, short};
use super::session::{Session, WorkError};
use crate::lab::argv::{Style, argv};
use crate::lab::guest::{self, Kind, Launch, Process, Started, StopPlan};
use crate::lab::plan::{Host, Machine, Stage};
use crate::lab::qmp::Qmp;
use crate::lab::thing::Thing;

/// How many old logs of each kind stay.
const KEPT_LOGS: usize = 5;
/// For QEMU to answer on its monitor.
const READY: Duration = Duration::from_secs(60);
/// For the monitor of a guest that runs already.
const MONITOR: Duration = Duration::from_secs(10);

/// The command line of a machine: its words, without the program.
pub fn line(machine: &Machine) -> Vec<OsString> {
    argv(machine, Style::default()).into_iter().flat_map(|arg| arg.words).map(OsString::from).collect()
}

/// A digest of a command line: a machine that runs with another one is not the one that is wanted.
pub fn line_digest(machine: &Machine) -> String {
    let words = line(machine);
    let words: Vec<&[u8]> = words.iter().map(|w| w.as_encoded_bytes()).collect();
    short(&words)
}

/// How a host's machine is started in a stage.
pub fn launch(session: &Session, host: &Host, stage: &Stage) -> Launch {
    let machine = &stage.machine;
    let leftovers = [Some(&machine.qmp_user), Some(&machine.serial), Some(&machine.pidfile), machine.vnc.as_ref()];
    Launch {
        name: host.name.clone(),
        program: session.qemu.clone(),
        args: line(machine),
        netns: None,
        dir: host.folder.clone(),
        qmp: machine.qmp.clone(),
        log: host.folder.join("qemu.log"),
        serial: Some(machine.serial_log.clone()),
        keep_logs: KEPT_LOGS,
        leftovers: leftovers.into_iter().flatten().cloned().collect(),
        ready_within: READY,
    }
}

/// The process of a host's machine as the journal knows it.
pub fn process_of(session: &Session, host: &str) -> Option<(u64, Process)> {
    session.journal().standing().into_iter().rev().find_map(|(seq, thing)| match thing {
        Thing::Process { host: Some(of), thing: guest::Thing::Process(process) }
            if of == host && process.kind == Kind::Guest =>
        {
            Some((seq, process))
        }
        _ => None,
    })
}

/// Whether a host's machine runs.
pub fn runs(session: &Session, host: &str) -> bool {
    process_of(session, host).is_some_and(|(_, process)| process.find().is_some())
}

/// Starts a host in a stage. One that runs in it already is taken over; one that runs in another stage is stopped first.
///
/// # Errors
/// QEMU refused, or the one that runs does not answer.
pub async fn start(session: &Arc<Session>, host: &Host, stage: &Stage) -> Result<(Qmp, bool), WorkError> {
    let kept = record(&session.place, &host.name);
    let digest = line_digest(&stage.machine);
    if runs(session, &host.name) {
        let now = kept.load()?.unwrap_or_default();
        if now.running.as_deref() == Some(stage.name.as_str()) && now.line.as_deref() == Some(digest.as_str()) {
            let qmp = Qmp::connect(&stage.machine.qmp, MONITOR)
                .await
                .map_err(|source| guest::GuestError::Qmp { name: host.name.clone(), source })?;
            return Ok((qmp, true));
        }
        stop(session, host, &StopPlan::default()).await?;
    } else {
        forget(session, &host.name)?;
    }
    kept.update(|r| {
        r.running = Some(stage.name.clone());
        r.line = Some(digest);
    })?;
    // After a cold start its disks are others than those that its saved memory knew.
    let frozen = super::freeze::frozen(&session.place, &host.name);
    if frozen.load()?.is_some() {
        frozen.remove()?;
        session.note(Some(&host.name), "it was frozen and starts cold: what was in its memory is gone");
    }
    let started = spawn(session, host, &launch(session, host, stage)).await?;
    Ok((started.qmp, false))
}

/// Starts a machine: journalled before, and with its identity after.
///
/// # Errors
/// QEMU refused; then nothing of it stands.
pub async fn spawn(session: &Session, host: &Host, launch: &Launch) -> Result<Started, WorkError> {
    let thing = |process: &Process| Thing::Process {
        host: Some(host.name.clone()),
        thing: guest::Thing::Process(process.clone()),
    };
    let seq = session.journal().making(&thing(&launch.process()))?;
    let undo = |error: guest::GuestError| {
        if launch.process().unmake().is_ok() {
            let _ = session.journal().unmade(seq);
        }
        WorkError::from(error)
    };
    let spawned = guest::spawn(launch).map_err(undo)?;
    session.journal().made(seq, &thing(spawned.process()))?;
    spawned.ready().await.map_err(undo)
}

/// Takes a machine that has ended out of the journal, with what it left.
///
/// # Errors
/// Its leftovers cannot be removed.
pub fn forget(session: &Session, host: &str) -> Result<(), WorkError> {
    while let Some((seq, process)) = process_of(session, host) {
        process.unmake()?;
        session.journal().unmade(seq)?;
    }
    Ok(())
}

/// Stops a host's machine; says how, and nothing if it did not run.
///
/// # Errors
/// It did not end by any means.
pub async fn stop(session: &Session, host: &Host, plan: &StopPlan) -> Result<Option<String>, WorkError> {
    let Some((seq, process)) = process_of(session, &host.name) else { return Ok(None) };
    if process.find().is_none() {
        forget(session, &host.name)?;
        return Ok(None);
    }
    let socket = PathBuf::from(&process.marker);
    let stopped = guest::stop(&process, &socket, None, plan, |note| {
        session.note(Some(&host.name), format!("{:?} did not stop it: {}", note.step, note.reason));
    })
    .await?;
    session.journal().unmade(seq)?;
    Ok(Some(match stopped.how {
        guest::How::NotRunning => "it had ended".to_owned(),
        guest::How::By(step) => format!("by {step:?}").to_lowercase(),
    }))
}

/// What the end of a serial log says, for an error.
pub fn last_words(path: &Path) -> String {
    let lines = guest::last_lines(path, 12);
    if lines.is_empty() {
        return format!("its serial log {} is empty", path.display());
    }
    let shown: Vec<String> = lines.iter().map(|l| format!("    {}", crate::report::one_line(l))).collect();
    format!("the end of its serial log {}:\n{}", path.display(), shown.join("\n"))
}

/// Starts hosts on their last hardware and waits until they answer.
///
/// # Errors
/// The lab is being worked on, or there is no such host.
pub async fn start_hosts(
    place: crate::lab::state::Place,
    kept: super::open::Kept,
    hosts: &[String],
    working: super::session::Working,
) -> Result<u8, WorkError> {
    let session = Session::begin(place, kept.plan, kept.qemu, "start", working)?;
    let hosts = super::down::chosen(&session.plan, hosts)?;
    session.phase(None, "networks", async { Ok(((), super::networks::make(&session).await?)) }).await?;
    let results = futures_util::future::join_all(hosts.iter().map(|host| {
        let session = session.clone();
        async move {
            let started = start_one(&session, host).await;
            match &started {
                Ok(()) => super::host::ready(&session, host),
                Err(error) => session.emit(crate::lab::events::LabKind::LabHostFailed {
                    host: host.name.clone(),
                    error: error.to_string(),
                }),
            }
            started.is_ok()
        }
    }))
    .await;
    let failed = results.iter().filter(|ok| !**ok).count();
    session.finished(results.len() - failed, failed);
    Ok(if failed == 0 { 0 } else { 1 })
}

async fn start_one(session: &Arc<Session>, host: &Host) -> Result<(), WorkError> {
    let known = record(&session.place, &host.name).load()?.unwrap_or_default();
    let (true, Some(stage)) = (known.ready, host.last()) else {
        return Err(WorkError::said(format!("{} was never brought up; `esxprep lab up` does that", host.name)));
    };
    session
        .phase(Some(&host.name), &format!("boot {}", stage.name), async {
            let (qmp, _) = start(session, host, stage).await?;
            super::host::wait_for_ssh(session, host, stage, &qmp).await?;
            Ok(((), None))
        })
        .await
}

/// The stage that a host's machine was last started in.
///
/// # Errors
/// It was never started.
pub fn stage_started<'h>(place: &crate::lab::state::Place, host: &'h Host) -> Result<&'h Stage, WorkError> {
    let running = record(place, &host.name).load()?.unwrap_or_default().running;
    host.stages
        .iter()
        .find(|s| Some(&s.name) == running.as_ref())
        .ok_or_else(|| WorkError::said(format!("{} was never started", host.name)))
}
