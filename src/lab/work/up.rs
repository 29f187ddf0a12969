//! `lab up`: networks, then every host side by side.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::host::{self, Shared};
use super::open::{Kept, Opened, kept_plan};
use super::session::{Session, WorkError, Working};
use super::{access, networks, reach, standin};
use crate::lab::doctor::Level;
use crate::lab::events::LabKind;

/// What `up` can be told.
#[derive(Debug, Clone, Default)]
pub struct UpOptions {
    /// Only these hosts; all when empty.
    pub hosts: Vec<String>,
    /// Begin even where the doctor says that it will not work.
    pub force: bool,
    /// How many hosts are installed at the same time; 0: by the number of processors.
    pub installs: usize,
}

/// Brings a lab up; the exit code: 0 all hosts are as written, 1 one is not, 130 interrupted.
///
/// # Errors
/// What keeps the work from beginning: the lab's lock, blockers in the plan, what the doctor found.
pub async fn up(mut opened: Opened, options: &UpOptions, working: Working) -> Result<u8, WorkError> {
    refuse(&opened, options)?;
    standin::fill(&mut opened.plan, &working).await?;
    let kept = Kept { file: absolute(&opened.lab.path), plan: opened.plan.clone(), qemu: opened.qemu.path.clone() };
    let notes: Vec<_> = opened.plan.notes.clone();
    let (place, qemu) = (opened.place.clone(), opened.qemu.path.clone());
    let session = Session::begin(place, opened.plan, qemu, "up", working)?;
    kept_plan(&session.place).save(&kept)?;
    for note in notes {
        session.note(note.host.as_deref(), note.text);
    }
    access::ensure_password(&session.place, &session.plan)?;
    let hosts: Vec<_> = session
        .plan
        .hosts
        .iter()
        .filter(|h| options.hosts.is_empty() || options.hosts.contains(&h.name))
        .cloned()
        .collect();
    let (count, begun) = (hosts.len(), hosts.clone());
    if let Err(error) = session.phase(None, "networks", async { Ok(((), networks::make(&session).await?)) }).await {
        session.finished(0, count);
        return if matches!(error, WorkError::Interrupted) { Ok(130) } else { Ok(1) };
    }
    let installs = match options.installs {
        0 => std::thread::available_parallelism().map_or(1, usize::from).div_ceil(2).max(2),
        n => n,
    };
    let shared = Arc::new(Shared::new(&session.plan, installs));
    // Hosts that are left out rest where they are.
    for left in session.plan.hosts.iter().filter(|h| !hosts.iter().any(|other| other.name == h.name)) {
        shared.left_out(&session, &left.name);
    }
    let mut tasks = JoinSet::new();
    for host in hosts {
        let (session, shared) = (session.clone(), shared.clone());
        tasks.spawn(async move {
            let name = host.name.clone();
            let result = host::up(session, host, shared.clone()).await;
            if result.is_err() {
                shared.failed(&name);
            }
            (name, result)
        });
    }
    let (mut ready, mut failed, mut interrupted) = (0, 0, false);
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((_, Ok(()))) => ready += 1,
            Ok((host, Err(error))) => {
                failed += 1;
                interrupted |= matches!(error, WorkError::Interrupted);
                session.emit(LabKind::LabHostFailed { host, error: error.to_string() });
            }
            Err(error) => {
                failed += 1;
                session.note(None, format!("a defect in esxprep: {error}"));
            }
        }
    }
    write_inventory(&session)?;
    if failed == 0 && ready > 1 {
        let proof = session.phase(None, "prove networks", async { Ok(((), reach::prove(&session, &begun).await?)) });
        match proof.await {
            Ok(()) => {}
            Err(WorkError::Interrupted) => interrupted = true,
            Err(_) => failed += 1,
        }
    }
    session.finished(ready, failed);
    Ok(match (interrupted, failed) {
        (true, _) => 130,
        (false, 0) => 0,
        _ => 1,
    })
}

/// Writes the lab's inventory, for `apply -i`.
///
/// # Errors
/// The lab's folder cannot be written.
pub fn write_inventory(session: &Session) -> Result<(), WorkError> {
    let path = session.place.dir().join("inventory.yml");
    let text = access::inventory_text(&session.place, &session.plan);
    let write = || -> std::io::Result<()> {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new_in(session.place.dir())?;
        file.write_all(text.as_bytes())?;
        file.persist(&path)?;
        Ok(())
    };
    write().map_err(|e| WorkError::said(format!("cannot write {}: {e}", path.display())))
}

/// What must not be begun: hosts that are not there, blockers of the plan, what the doctor says will not work.
///
/// # Errors
/// All of it, in words.
pub fn refuse(opened: &Opened, options: &UpOptions) -> Result<(), WorkError> {
    let unknown: Vec<&str> =
        options.hosts.iter().filter(|h| opened.plan.host(h).is_none()).map(String::as_str).collect();
    if !unknown.is_empty() {
        let known: Vec<&str> = opened.plan.hosts.iter().map(|h| h.name.as_str()).collect();
        return Err(WorkError::said(format!(
            "there is no host {} in the lab; its hosts are {}",
            unknown.join(", "),
            known.join(", ")
        )));
    }
    let mut reasons: Vec<String> = opened
        .plan
        .blockers()
        .map(|n| match &n.place {
            Some(place) => format!("{place}: {}", n.text),
            None => n.text.clone(),
        })
        .collect();
    if !options.force {
        let findings = opened.report.findings.iter().filter(|f| f.level == Level::Error);
        reasons.extend(findings.map(|f| {
            let fix = f.fix.as_deref().map(|f| format!(". {f}")).unwrap_or_default();
            format!("{}: {} ({}){fix}", f.id, f.seen, f.why)
        }));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let forced = if options.force { "" } else { "\n  (`esxprep lab doctor` says more; --force begins all the same)" };
    Err(WorkError::said(format!("the lab cannot be brought up here:\n  {}{forced}", reasons.join("\n  "))))
}

fn absolute(path: &std::path::Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
