//! `lab down`, `stop`, `rebuild` and `gc`: what was made goes, backwards, any number of times.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;

use super::open::{Kept, kept_plan};
use super::record::record;
use super::session::{Session, WorkError, Working, blocking};
use super::{access, machine};
use crate::lab::events::LabKind;
use crate::lab::guest::StopPlan;
use crate::lab::plan::{Host, Plan};
use crate::lab::state::Place;
use crate::lab::thing::{Thing, ThingError};

/// Files of a lab beside its hosts.
const LAB_FILES: &[&str] = &["plan.json", "inventory.yml", "root-password"];
/// Beginnings of names of files in a host's folder that esxprep makes.
const HOST_FILES: &[&str] = &[
    "record.json",
    "frozen.json",
    "known_hosts",
    "qemu.log",
    "serial.log",
    "stalled",
    "install-screen",
    "typing",
    "screen",
    ".new-",
];

/// A plan of nothing, for a lab that never came as far as having one.
fn no_plan(place: &Place) -> Plan {
    Plan {
        lab: place.name().to_owned(),
        folder: place.dir().to_owned(),
        runtime: place.runtime().to_owned(),
        qemu: String::new(),
        networks: Vec::new(),
        hosts: Vec::new(),
        notes: Vec::new(),
    }
}

/// Takes a lab down: everything that was made goes, its disks too.
///
/// # Errors
/// The lab is being worked on.
pub async fn down(place: Place, working: Working) -> Result<u8, WorkError> {
    // A damaged record must not keep a lab standing: the journal knows what was made.
    let kept = kept_plan(&place).load().ok().flatten();
    let (plan, qemu) = kept.map_or_else(|| (no_plan(&place), PathBuf::new()), |kept| (kept.plan, kept.qemu));
    let session = Session::begin(place, plan, qemu, "down", working)?;
    let count = session.plan.hosts.len();
    let failed = match session.phase(None, "teardown", teardown(&session)).await {
        Ok(failed) => failed,
        Err(WorkError::Interrupted) => {
            session.finished(0, count);
            return Ok(130);
        }
        Err(error) => return Err(error),
    };
    let left = if failed == 0 { remove_files(&session)? } else { Vec::new() };
    for path in &left {
        session.note(None, format!("{} stays: esxprep did not make what is in it", path.display()));
    }
    session.finished(count, failed);
    Ok(if failed == 0 { 0 } else { 1 })
}

async fn teardown(session: &Arc<Session>) -> Result<(usize, Option<String>), WorkError> {
    let (unmade, failed) = unmake(session, |_| true).await?;
    let said = format!("{unmade} things gone");
    Ok((failed, Some(said)))
}

/// Unmakes the things that `which` says, backwards; how many are gone, and how many are not.
async fn unmake(
    session: &Arc<Session>,
    which: impl Fn(&Thing) -> bool + Send + 'static,
) -> Result<(usize, usize), WorkError> {
    let working = session.clone();
    let result = blocking(move || {
        let result = working.journal().unmake_some(which, |thing| match thing.unmake() {
            // What is another's was never the lab's: it is forgotten.
            Err(ThingError::Net(e)) if e.is_not_ours() => Ok(()),
            Err(ThingError::Disk(e)) if e.is_not_ours() => Ok(()),
            other => other,
        });
        Ok(result)
    })
    .await?;
    for (_, thing, error) in &result.failed {
        session.emit(LabKind::LabNote { host: thing.host().map(str::to_owned), text: format!("not gone: {error}") });
    }
    if let Some(error) = &result.unwritten {
        session.note(None, format!("the journal could not be written: {error}"));
    }
    Ok((result.unmade, result.failed.len()))
}

/// Removes what is kept beside the journal, and the folders; those that hold something else.
fn remove_files(session: &Session) -> Result<Vec<PathBuf>, WorkError> {
    let hosts = session.place.dir().join("hosts");
    let mut left = Vec::new();
    for folder in fs::read_dir(&hosts).into_iter().flatten().flatten().map(|e| e.path()) {
        remove_host_files(&folder);
        if folder.is_dir() && fs::remove_dir(&folder).is_err() {
            left.push(folder);
        }
    }
    let _ = fs::remove_dir(&hosts);
    left.extend(session.remove_all(LAB_FILES)?);
    left.retain(|path| *path != hosts);
    Ok(left)
}

fn remove(path: &Path) -> Result<(), WorkError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(WorkError::said(format!("cannot remove {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

fn remove_host_files(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if HOST_FILES.iter().any(|begin| name.starts_with(begin)) {
            // What cannot be removed is seen when the folder cannot.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Stops hosts, all when none is named: the guest is asked first.
///
/// # Errors
/// The lab is being worked on, or there is no such host.
pub async fn stop(
    place: Place,
    kept: Kept,
    hosts: &[String],
    plan: StopPlan,
    working: Working,
) -> Result<u8, WorkError> {
    let session = Session::begin(place, kept.plan, kept.qemu, "stop", working)?;
    let hosts = chosen(&session.plan, hosts)?;
    let results = join_all(hosts.iter().map(|host| {
        let (session, plan) = (session.clone(), plan.clone());
        async move {
            let stopped = session
                .phase(Some(&host.name), "stop", async {
                    let how = machine::stop(&session, host, &plan).await?;
                    Ok(((), Some(how.unwrap_or_else(|| "it did not run".to_owned()))))
                })
                .await;
            if let Err(error) = &stopped {
                session.emit(LabKind::LabHostFailed { host: host.name.clone(), error: error.to_string() });
            }
            stopped.is_ok()
        }
    }))
    .await;
    let failed = results.iter().filter(|ok| !**ok).count();
    session.finished(results.len() - failed, failed);
    Ok(if failed == 0 { 0 } else { 1 })
}

/// The hosts that are meant.
///
/// # Errors
/// There is no such host.
pub fn chosen<'p>(plan: &'p Plan, names: &[String]) -> Result<Vec<&'p Host>, WorkError> {
    if names.is_empty() {
        return Ok(plan.hosts.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            plan.host(name).ok_or_else(|| {
                let known: Vec<&str> = plan.hosts.iter().map(|h| h.name.as_str()).collect();
                WorkError::said(format!("there is no host {name} in the lab; its hosts are {}", known.join(", ")))
            })
        })
        .collect()
}

/// Removes one host with its disks and what is known of it, so that `up` makes it anew.
///
/// # Errors
/// The lab is being worked on; clones stand on its disk.
pub async fn rebuild(place: Place, kept: Kept, host: &str, working: Working) -> Result<bool, WorkError> {
    let of_it = |h: &&Host| h.clone_from.as_ref().is_some_and(|c| c.host == host);
    let clones: Vec<&str> = kept.plan.hosts.iter().filter(of_it).map(|h| h.name.as_str()).collect();
    if !clones.is_empty() {
        return Err(WorkError::said(format!(
            "{host} cannot be made anew: {} stand on its disk. Rebuild those, or take the lab down and up again",
            clones.join(", ")
        )));
    }
    let session = Session::begin(place, kept.plan, kept.qemu, "rebuild", working)?;
    chosen(&session.plan, &[host.to_owned()])?;
    let name = host.to_owned();
    let failed = session
        .phase(Some(host), "remove", async {
            let of = name.clone();
            let (unmade, failed) = unmake(&session, move |thing| {
                // Folders stay: the host comes back.
                thing.host() == Some(of.as_str()) && !matches!(thing, Thing::Folder { .. })
            })
            .await?;
            Ok((failed, Some(format!("{unmade} things gone"))))
        })
        .await?;
    if failed == 0 {
        record(&session.place, host).remove()?;
        remove(&access::known_hosts_of(&session.place, host))?;
        remove(&session.place.host(host).join("frozen.json"))?;
    }
    session.finished(usize::from(failed == 0), failed);
    Ok(failed == 0)
}
