//! Stopping, step by step: the power button, QEMU's `quit`, SIGTERM, SIGKILL. Every failure on the way falls to the next
//! step, and is told.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::time::sleep;

use super::{GuestError, Identity, Process, failed};
use crate::lab::qmp::Qmp;

/// How long the monitor may take to greet.
const GREETING: Duration = Duration::from_secs(3);
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// How long each step may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopPlan {
    /// For the guest to shut down after its power button; none to go without. Not verified: that ESXi heeds QEMU's
    /// button (a clean stop of a nested ESXi 7.0 host was reported to take 28 s, confidence medium); who has an SSH
    /// session may rather ask there first.
    pub graceful: Option<Duration>,
    /// For QEMU to end after `quit`, and after SIGTERM: it writes its disks back.
    pub quit: Duration,
    /// For the kernel to end it after SIGKILL.
    pub kill: Duration,
}

impl Default for StopPlan {
    fn default() -> Self {
        Self { graceful: Some(Duration::from_secs(120)), quit: Duration::from_secs(15), kill: Duration::from_secs(15) }
    }
}

impl StopPlan {
    /// Without asking the guest.
    pub fn forced() -> Self {
        Self { graceful: None, ..Self::default() }
    }
}

/// A step of stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopStep {
    /// The power button.
    Powerdown,
    /// QEMU's `quit`.
    Quit,
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

/// What ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It had ended before.
    NotRunning,
    /// This step.
    By(StopStep),
}

/// A step that did not do, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The step.
    pub step: StopStep,
    /// Why the next one was needed.
    pub reason: String,
}

/// How a guest was stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// What ended it.
    pub how: How,
    /// How long it took.
    pub took: Duration,
    /// Steps that did not do.
    pub notes: Vec<Note>,
}

/// Stops a guest. `qmp` is its monitor, when the caller holds it: QEMU serves one client at a time. Without it one is
/// made at `socket`. `note` hears of each step that did not do, when it happens.
pub async fn stop(
    process: &Process,
    socket: &Path,
    qmp: Option<Qmp>,
    plan: &StopPlan,
    mut note: impl FnMut(&Note),
) -> Result<Stopped, GuestError> {
    let began = Instant::now();
    let mut notes = Vec::new();
    let Some(identity) = process.find() else {
        // Sockets of one that crashed, and a number that is somebody else's, are `unmake`'s to judge.
        process.unmake()?;
        return Ok(Stopped { how: How::NotRunning, took: began.elapsed(), notes });
    };
    let mut fell = |step, reason: String| {
        let it = Note { step, reason };
        note(&it);
        notes.push(it);
    };
    let how = 'ended: {
        let qmp = match qmp.filter(|qmp| !qmp.is_closed()) {
            Some(qmp) => Ok(qmp),
            None => Qmp::connect(socket, GREETING).await,
        };
        match qmp {
            Ok(qmp) => {
                if let Some(limit) = plan.graceful {
                    match press(&identity, &qmp, limit).await {
                        Ok(Pressed::Ended) => break 'ended How::By(StopStep::Powerdown),
                        // QEMU was told to stay (`-no-shutdown`): the guest is down all the same.
                        Ok(Pressed::GuestDown) => {
                            let _ = qmp.quit().await;
                            if gone_within(&identity, plan.quit).await {
                                break 'ended How::By(StopStep::Powerdown);
                            }
                        }
                        Err(reason) => fell(StopStep::Powerdown, reason),
                    }
                }
                match qmp.quit().await {
                    Ok(()) if gone_within(&identity, plan.quit).await => break 'ended How::By(StopStep::Quit),
                    Ok(()) => fell(StopStep::Quit, format!("QEMU did not end within {:?}", plan.quit)),
                    Err(_) if gone_within(&identity, LOOK).await => break 'ended How::By(StopStep::Quit),
                    Err(e) => fell(StopStep::Quit, e.to_string()),
                }
            }
            Err(e) => fell(if plan.graceful.is_some() { StopStep::Powerdown } else { StopStep::Quit }, e.to_string()),
        }
        for (step, signal, limit) in
            [(StopStep::Term, Signal::TERM, plan.quit), (StopStep::Kill, Signal::KILL, plan.kill)]
        {
            let path = format!("/proc/{}", identity.pid);
            let sent = identity.signal(signal).map_err(failed("end", Path::new(&path)))?;
            if !sent || gone_within(&identity, limit).await {
                break 'ended How::By(step);
            }
            fell(step, format!("it did not end within {limit:?}"));
        }
        return Err(GuestError::Unkillable { name: process.name.clone(), pid: identity.pid, waited: plan.kill });
    };
    process.remove_leftovers()?;
    Ok(Stopped { how, took: began.elapsed(), notes })
}

enum Pressed {
    Ended,
    GuestDown,
}

/// Presses the power button and waits for what comes of it; else why nothing did.
async fn press(identity: &Identity, qmp: &Qmp, limit: Duration) -> Result<Pressed, String> {
    let mut events = qmp.events();
    let status = qmp.status().await.map_err(|e| e.to_string())?;
    match status.status.as_str() {
        "running" => {}
        // A guest that stands still hears no button.
        "paused" | "suspended" => qmp.cont().await.map_err(|e| e.to_string())?,
        "shutdown" => return Ok(Pressed::GuestDown),
        other => return Err(format!("the guest does not run (QEMU says {other})")),
    }
    qmp.powerdown().await.map_err(|e| e.to_string())?;
    let down = async {
        loop {
            match events.next().await {
                Some(event) if event.name == "SHUTDOWN" => return Pressed::GuestDown,
                // With `-no-shutdown` there is a STOP and the state tells.
                Some(event) if event.name == "STOP" => {
                    if qmp.status().await.is_ok_and(|s| s.status == "shutdown") {
                        return Pressed::GuestDown;
                    }
                }
                Some(_) => {}
                None => return Pressed::Ended,
            }
        }
    };
    let pressed = tokio::time::timeout(limit, down).await.map_err(|_| {
        format!("the guest did not shut down within {limit:?} of its power button: it ignores it, or takes longer")
    })?;
    // After SHUTDOWN QEMU ends by itself, unless it was told to stay.
    if gone_within(identity, Duration::from_secs(2)).await { Ok(Pressed::Ended) } else { Ok(pressed) }
}

/// Waits until the process has ended.
async fn gone_within(identity: &Identity, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if !identity.is_alive() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
}
