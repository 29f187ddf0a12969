//! One host of a lab, from nothing to what is written: disks, installation, stage after stage.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::record::{install_digest, record, stage_digest};
use super::session::{Session, WorkError, blocking};
use super::{disks, install, machine, prove};
use crate::engine::Mode;
use crate::lab::events::LabKind;
use crate::lab::guest::StopPlan;
use crate::lab::plan::{Endpoint, Host, Plan, Stage, StageKind};
use crate::lab::qmp::Qmp;

/// For SSH to answer after a start: a nested host takes minutes, an emulated stand-in on a busy machine one or two.
const BOOT: Duration = Duration::from_secs(900);

/// What hosts that come up side by side share.
#[derive(Debug)]
pub struct Shared {
    /// How many are installed at the same time.
    pub installs: Semaphore,
    /// How far each host's disks are, for those that are cloned from it, and for those that must wait for their clones.
    rest: BTreeMap<String, watch::Sender<Rest>>,
}

/// How far a host's disks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Not yet there.
    Pending,
    /// Installed or cloned.
    There,
    /// They will not be there.
    Failed,
}

impl Shared {
    /// For the hosts of a plan.
    pub fn new(plan: &Plan, installs: usize) -> Self {
        let rest = plan.hosts.iter().map(|h| (h.name.clone(), watch::Sender::new(Rest::Pending))).collect();
        Self { installs: Semaphore::new(installs), rest }
    }

    fn tell(&self, host: &str, rest: Rest) {
        if let Some(sender) = self.rest.get(host) {
            sender.send_if_modified(|now| {
                *now == Rest::Pending && {
                    *now = rest;
                    true
                }
            });
        }
    }

    /// Says of a host that is left out whether its disks are there.
    pub fn left_out(&self, session: &Session, host: &str) {
        let there = record(&session.place, host).load().ok().flatten().is_some_and(|r| r.installed.is_some());
        self.tell(host, if there { Rest::There } else { Rest::Failed });
    }

    /// Says that a host does not come up: nobody waits for it any more.
    pub fn failed(&self, host: &str) {
        self.tell(host, Rest::Failed);
    }

    /// Waits until a host's disks are there; false if they will never be.
    async fn wait(&self, host: &str) -> bool {
        let Some(sender) = self.rest.get(host) else { return false };
        let mut seen = sender.subscribe();
        seen.wait_for(|rest| *rest != Rest::Pending).await.is_ok_and(|rest| *rest == Rest::There)
    }
}

/// Brings one host up. Goes on where an earlier run was stopped.
///
/// # Errors
/// What did not work, in words; what was made stands in the journal.
pub async fn up(session: Arc<Session>, host: Host, shared: Arc<Shared>) -> Result<(), WorkError> {
    let name = host.name.as_str();
    let kept = record(&session.place, name);
    let from = install_digest(&host);
    let known = kept.load()?.unwrap_or_default();
    if let Some(installed) = &known.installed
        && *installed != from
    {
        return Err(WorkError::said(format!(
            "{name} was installed from something else than the lab file says now; `esxprep lab rebuild {name}` makes \
             it anew (its disks go)"
        )));
    }
    if known.installed.is_none() {
        // What an interrupted installation left on the disks is worth nothing.
        machine::stop(&session, &host, &StopPlan::forced()).await?;
        match &host.clone_from {
            Some(clone) => {
                let other = original(&session, &clone.host, &shared).await?;
                session.phase(Some(name), "clone", disks::clone(&session, &host, &other, clone.mode)).await?;
            }
            None => {
                session.phase(Some(name), "disks", disks::make(&session, &host)).await?;
                let _turn = shared.installs.acquire().await;
                install::install(&session, &host).await?;
                if disks::is_cloned(&session.plan, name) {
                    session.phase(Some(name), "base", disks::stand_on_base(&session, &host)).await?;
                }
            }
        }
        kept.update(|r| {
            r.installed = Some(from);
            r.stages.clear();
            r.running = None;
        })?;
    } else {
        session.kept(name, if host.clone_from.is_some() { "clone" } else { "install" }, "by an earlier run");
    }
    let stages: Vec<&Stage> = host.stages.iter().filter(|s| s.kind == StageKind::Boot).collect();
    let done = kept.load()?.unwrap_or_default();
    shared.tell(name, Rest::There);
    // A host that others are cloned from starts only when their disks are made.
    for other in session.plan.hosts.iter().filter(|h| h.clone_from.as_ref().is_some_and(|c| c.host == name)) {
        shared.wait(&other.name).await;
        session.interrupted()?;
    }
    let count = stages.len();
    for (at, stage) in stages.iter().enumerate() {
        let last = at + 1 == count;
        let digest = stage_digest(stage)?;
        if !last && done.stages.get(&stage.name) == Some(&digest) && !machine_is_in(&session, &host, stage)? {
            session.kept(name, &format!("stage {}", stage.name), "by an earlier run");
            continue;
        }
        run_stage(&session, &host, stage, at.checked_sub(1).map(|before| stages[before])).await?;
        if !last {
            session
                .phase(Some(name), &format!("stop {}", stage.name), async {
                    let how = machine::stop(&session, &host, &StopPlan::default()).await?;
                    Ok(((), how))
                })
                .await?;
        }
        kept.update(|r| {
            r.stages.insert(stage.name.clone(), digest);
        })?;
    }
    kept.update(|r| r.ready = true)?;
    ready(&session, &host);
    Ok(())
}

/// Starts a host in a stage, proves what the stage before it set, applies what this one sets.
async fn run_stage(
    session: &Arc<Session>,
    host: &Host,
    stage: &Stage,
    before: Option<&Stage>,
) -> Result<(), WorkError> {
    let name = host.name.as_str();
    session
        .phase(Some(name), &format!("boot {}", stage.name), async {
            let (qmp, taken_over) = machine::start(session, host, stage).await?;
            wait_for_ssh(session, host, stage, &qmp).await?;
            let facts = prove::who(session, host).await?;
            let note = if taken_over { ", ran already" } else { "" };
            Ok(((), Some(format!("ESXi {} build {}{note}", facts.version, facts.build))))
        })
        .await?;
    session
        .phase(Some(name), &format!("prove {}", stage.name), async {
            let mut said = prove::hardware(session, host, stage).await?;
            for path in before.iter().flat_map(|s| &s.apply) {
                prove::playbook(session, host, path, Mode::Verify).await?;
                said.push_str(&format!(", what {} set is still there", shown(path)));
            }
            Ok(((), Some(said)))
        })
        .await?;
    if !stage.apply.is_empty() {
        session
            .phase(Some(name), &format!("apply {}", stage.name), async {
                let mut changed = 0;
                for path in &stage.apply {
                    changed += prove::playbook(session, host, path, Mode::Apply).await?;
                }
                Ok(((), Some(format!("{changed} step(s) changed"))))
            })
            .await?;
    }
    Ok(())
}

fn shown(path: &std::path::Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Waits for SSH, or for the end of the machine.
pub async fn wait_for_ssh(session: &Session, host: &Host, stage: &Stage, qmp: &Qmp) -> Result<(), WorkError> {
    let result = prove::answers(session, host, BOOT, || {
        qmp.is_closed().then(|| {
            WorkError::said(format!(
                "{}: QEMU ended while it booted in stage `{}`; {}",
                host.name,
                stage.name,
                machine::last_words(&stage.machine.serial_log)
            ))
        })
    })
    .await;
    match result {
        Err(WorkError::Said(text)) if !qmp.is_closed() => {
            let screen = match qmp.screendump(&host.folder.join("stalled")).await {
                Ok(shot) => format!("\nits screen: {}", shot.path.display()),
                Err(_) => String::new(),
            };
            Err(WorkError::said(format!("{text}; {}{screen}", machine::last_words(&stage.machine.serial_log))))
        }
        other => other,
    }
}

/// Whether a host's machine runs in this stage.
fn machine_is_in(session: &Session, host: &Host, stage: &Stage) -> Result<bool, WorkError> {
    let running = record(&session.place, &host.name).load()?.unwrap_or_default().running;
    Ok(running.as_deref() == Some(stage.name.as_str()) && machine::runs(session, &host.name))
}

/// The host that is cloned, once its disks are there.
async fn original(session: &Session, of: &str, shared: &Shared) -> Result<Host, WorkError> {
    let host = session.plan.host(of).cloned();
    match host {
        Some(host) if shared.wait(of).await => Ok(host),
        Some(_) => Err(WorkError::said(format!("{of}, which it is cloned from, did not come up"))),
        None => Err(WorkError::said(format!("there is no host {of} to clone"))),
    }
}

/// Says how the host is reached.
pub fn ready(session: &Session, host: &Host) {
    let (address, port) = super::access::ssh_of(host).unwrap_or_default();
    let https = match &host.https {
        Endpoint::Forward { port } => Some(format!("https://127.0.0.1:{port}/")),
        Endpoint::Address { address, port: 443 } => Some(format!("https://{address}/")),
        Endpoint::Address { address, port } => Some(format!("https://{address}:{port}/")),
        Endpoint::Unknown => None,
    };
    session.emit(LabKind::LabHostReady {
        host: host.name.clone(),
        address,
        port,
        https,
        mac: host.nics.first().map(|n| n.mac.clone()).unwrap_or_default(),
        stage: host.last().map(|s| s.name.clone()).unwrap_or_default(),
    });
}

/// Blocking work with a host, off the threads that wait.
///
/// # Errors
/// What `work` says.
pub async fn aside<T: Send + 'static>(
    session: &Arc<Session>,
    host: &Host,
    work: impl FnOnce(&Session, &Host) -> Result<T, WorkError> + Send + 'static,
) -> Result<T, WorkError> {
    let (session, host) = (session.clone(), host.clone());
    blocking(move || work(&session, &host)).await
}
