//! `lab freeze` and `lab thaw`: the memory of a whole lab on its disks, and back in seconds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;

use super::host::ready;
use super::open::Kept;
use super::record::record;
use super::session::{Session, WorkError, Working};
use super::{machine, networks};
use crate::lab::events::LabKind;
use crate::lab::guest::{self, Frozen, StopPlan};
use crate::lab::plan::{Host, Stage};
use crate::lab::qmp::Qmp;
use crate::lab::state::{self, Place};

/// The name under which a lab's memory is kept on its disks.
const TAG: &str = "esxprep-frozen";
/// For a monitor to answer.
const MONITOR: Duration = Duration::from_secs(10);
/// For the memory of one host to be saved: gigabytes onto a slow disk.
const SAVE: Duration = Duration::from_secs(1800);

/// What is kept of a frozen host.
pub fn frozen(place: &Place, host: &str) -> state::Kept<Frozen> {
    state::Kept::at(place.host(host).join("frozen.json"))
}

/// Freezes all hosts that run: all stand still first, so that none misses another.
///
/// # Errors
/// None runs, or the lab is being worked on.
pub async fn freeze(place: Place, kept: Kept, working: Working) -> Result<u8, WorkError> {
    let session = Session::begin(place, kept.plan, kept.qemu, "freeze", working)?;
    let hosts: Vec<Host> = session.plan.hosts.iter().filter(|h| machine::runs(&session, &h.name)).cloned().collect();
    if hosts.is_empty() {
        session.finished(0, 0);
        return Err(WorkError::said("no host of the lab runs: there is nothing to freeze"));
    }
    let result = freeze_all(&session, &hosts).await;
    let failed = if result.is_ok() { 0 } else { hosts.len() };
    session.finished(hosts.len() - failed, failed);
    result.map(|()| 0)
}

async fn freeze_all(session: &Arc<Session>, hosts: &[Host]) -> Result<(), WorkError> {
    let mut monitors = Vec::new();
    for host in hosts {
        let stage = machine::stage_started(&session.place, host)?;
        let qmp = Qmp::connect(&stage.machine.qmp, MONITOR).await;
        let qmp = qmp.map_err(|source| guest::GuestError::Qmp { name: host.name.clone(), source })?;
        monitors.push((host, stage, qmp));
    }
    let go_on = async |monitors: &[(&Host, &Stage, Qmp)]| {
        for (_, _, qmp) in monitors {
            let _ = qmp.cont().await;
        }
    };
    for (host, _, qmp) in &monitors {
        if let Err(source) = qmp.stop().await {
            go_on(&monitors).await;
            return Err(guest::GuestError::Qmp { name: host.name.clone(), source }.into());
        }
    }
    for (host, stage, qmp) in &monitors {
        let done = session
            .phase(Some(&host.name), "freeze", async {
                let line = machine::line(&stage.machine);
                let frozen_now = guest::freeze(&host.name, qmp, &line, TAG, &stage.name, SAVE).await?;
                let said = format!("{} MiB of memory saved", frozen_now.bytes >> 20);
                frozen(&session.place, &host.name).save(&frozen_now)?;
                Ok(((), Some(said)))
            })
            .await;
        if let Err(error) = done {
            // A lab that is half frozen runs on.
            for (host, _, _) in &monitors {
                let _ = frozen(&session.place, &host.name).remove();
            }
            go_on(&monitors).await;
            return Err(error);
        }
    }
    drop(monitors);
    for host in hosts {
        machine::stop(session, host, &StopPlan::forced()).await?;
    }
    Ok(())
}

/// Brings frozen hosts back.
///
/// # Errors
/// Nothing is frozen, a machine that is another one now, the lab is being worked on.
pub async fn thaw(place: Place, kept: Kept, working: Working) -> Result<u8, WorkError> {
    let session = Session::begin(place, kept.plan, kept.qemu, "thaw", working)?;
    let mut hosts = Vec::new();
    for host in &session.plan.hosts {
        if let Some(frozen) = frozen(&session.place, &host.name).load()? {
            hosts.push((host.clone(), frozen));
        }
    }
    if hosts.is_empty() {
        session.finished(0, 0);
        return Err(WorkError::said("no host of the lab is frozen; `esxprep lab freeze` freezes it while it runs"));
    }
    session.phase(None, "networks", async { Ok(((), networks::make(&session).await?)) }).await?;
    let count = hosts.len();
    let result = try_join_all(hosts.iter().map(|(host, frozen)| thaw_one(&session, host, frozen))).await;
    match &result {
        Ok(_) => session.finished(count, 0),
        Err(error) => {
            session.emit(LabKind::LabHostFailed { host: "-".into(), error: error.to_string() });
            session.finished(0, count);
        }
    }
    Ok(if result.is_ok() { 0 } else { 1 })
}

async fn thaw_one(session: &Arc<Session>, host: &Host, was: &Frozen) -> Result<(), WorkError> {
    if machine::runs(session, &host.name) {
        return Err(WorkError::said(format!(
            "{} runs: what it did since would be lost; `esxprep lab stop` it first",
            host.name
        )));
    }
    let stage = host.stages.iter().find(|s| s.name == was.stage).ok_or_else(|| {
        WorkError::said(format!("{} was frozen in stage `{}`, which the lab has no more", host.name, was.stage))
    })?;
    session
        .phase(Some(&host.name), "thaw", async {
            machine::forget(session, &host.name)?;
            let mut launch = machine::launch(session, host, stage);
            launch.args = guest::thaw_args(&host.name, was, &launch.args, None)?;
            let started = machine::spawn(session, host, &launch).await?;
            let of = |source| WorkError::from(guest::GuestError::Qmp { name: host.name.clone(), source });
            if !started.qmp.status().await.map_err(of)?.running {
                started.qmp.cont().await.map_err(of)?;
            }
            record(&session.place, &host.name).update(|r| {
                r.running = Some(stage.name.clone());
                r.line = Some(machine::line_digest(&stage.machine));
            })?;
            super::host::wait_for_ssh(session, host, stage, &started.qmp).await?;
            // What it does from now on is on its disks alone: this memory must never meet them again.
            frozen(&session.place, &host.name).remove()?;
            if let Err(error) = started.qmp.delvm(&was.tag, SAVE).await {
                session.note(Some(&host.name), format!("its saved memory still takes room on its disk: {error}"));
            }
            Ok(((), Some(format!("frozen {}", was.time))))
        })
        .await?;
    ready(session, host);
    Ok(())
}
