//! Never more than so many hosts down: who may reboot or enter maintenance mode, and who waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use super::events::EventKind;
use super::host::{HostError, HostRun};

/// How many hosts may be down at the same time because of this run, and which are.
#[derive(Debug, Clone)]
pub struct Down {
    most: usize,
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Hosts that are down, or that may go down.
    held: usize,
    /// Of these, the ones whose work ended before they were back.
    gone: BTreeSet<String>,
}

/// Why a host is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was told to reboot.
    Reboot,
    /// It is in maintenance mode.
    Maintenance,
}

/// The leave of one host to be down. It is given back when this is dropped, unless the host is down still: then nobody
/// else gets it.
#[derive(Debug)]
pub(super) struct Slot {
    host: String,
    down: Down,
    reasons: Vec<Reason>,
}

impl Slot {
    /// From now on the host is down.
    pub fn goes(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// It is back from this; whether nothing keeps it down any more.
    pub fn is_back(&mut self, reason: Reason) -> bool {
        self.reasons.retain(|r| *r != reason);
        self.reasons.is_empty()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (host, still) = (std::mem::take(&mut self.host), !self.reasons.is_empty());
        self.down.state.send_modify(|state| match still {
            true => {
                state.gone.insert(host);
            }
            false => state.held -= 1,
        });
    }
}

impl Down {
    /// At most so many, at least one.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), state: Arc::new(watch::Sender::new(State::default())) }
    }

    /// Waits for leave to be down. `waits` is told once how many hosts are down, if it has to wait.
    ///
    /// # Errors
    /// When all leave is with hosts that did not come back: nobody will give it back any more.
    pub(super) async fn slot(&self, host: &str, waits: impl Fn(usize)) -> Result<Slot, String> {
        let mut changes = self.state.subscribe();
        let mut told = false;
        loop {
            let mut taken = false;
            let mut gone = None;
            self.state.send_if_modified(|state| {
                taken = state.held < self.most;
                state.held += usize::from(taken);
                if state.gone.len() >= self.most {
                    gone = Some(state.gone.iter().cloned().collect::<Vec<_>>().join(", "));
                }
                false
            });
            if taken {
                return Ok(Slot { host: host.to_owned(), down: self.clone(), reasons: Vec::new() });
            }
            if let Some(gone) = gone {
                return Err(format!(
                    "this host may not go down: {} may be down at the same time (--max-down), and {gone} did not come back. Nothing \
                     was done here that needs it; the changes made so far stay and are saved. Bring the hosts back that are \
                     down, then run this again",
                    match self.most {
                        1 => "one host".to_owned(),
                        n => format!("{n} hosts"),
                    }
                ));
            }
            if !std::mem::replace(&mut told, true) {
                waits(self.most);
            }
            if changes.changed().await.is_err() {
                return Err("a defect in esxprep: nobody can say any more how many hosts are down".to_owned());
            }
        }
    }
}

impl HostRun {
    /// Waits until this host may be down, if that is limited. An interruption ends the wait.
    pub(super) async fn may_go_down(&mut self) -> Result<(), HostError> {
        let Some(down) = self.ctx.down().filter(|_| self.slot.is_none()) else { return Ok(()) };
        let waited = AtomicBool::new(false);
        let (ctx, host) = (self.ctx.clone(), self.host.name.clone());
        let waits = |n: usize| {
            waited.store(true, Ordering::Relaxed);
            let verb = if n == 1 { "host is" } else { "hosts are" };
            let doing = format!("waits: {n} {verb} down");
            ctx.emit(EventKind::Phase { host: host.clone(), doing, position: None, length: None });
        };
        let slot = tokio::select! {
            biased;
            () = self.ctx.cancel.cancelled() => return Err(HostError::Interrupted),
            slot = down.slot(&self.host.name, waits) => slot.map_err(HostError::Stopped)?,
        };
        self.slot = Some(slot);
        // A shell that had nothing to do for long may have been closed by the host (ESXiShellInteractiveTimeOut).
        if waited.load(Ordering::Relaxed) && self.session.run(&crate::esxi::Command::new("true")).await.is_err() {
            self.session.reopen(None).await?;
        }
        Ok(())
    }

    /// Notes that the host goes down now.
    pub(super) fn goes_down(&mut self, reason: Reason) {
        if let Some(slot) = &mut self.slot {
            slot.goes(reason);
        }
    }

    /// Notes that it is back; another one may go down when nothing else keeps it down.
    pub(super) fn is_back(&mut self, reason: Reason) {
        if self.slot.as_mut().is_some_and(|slot| slot.is_back(reason)) {
            self.slot = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_goes_down_when_one_is_back_and_nobody_hangs_for_one_that_never_is() {
        let down = Down::new(1);
        let mut first = down.slot("esx1", |_| panic!("there is room")).await.unwrap();
        first.goes(Reason::Reboot);
        first.goes(Reason::Maintenance);
        let (told, asked) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let other = down.clone();
        let second = tokio::spawn(async move {
            other.slot("esx2", move |n| told.lock().unwrap().take().unwrap().send(n).unwrap()).await
        });
        assert_eq!(asked.await.unwrap(), 1);
        assert!(!first.is_back(Reason::Reboot), "it is in maintenance mode still");
        assert!(first.is_back(Reason::Maintenance));
        assert!(!second.is_finished());
        drop(first);
        let mut second = second.await.unwrap().unwrap();

        // The second never comes back: who waits, and who comes later, hears so.
        second.goes(Reason::Reboot);
        let (told, asked) = tokio::sync::oneshot::channel();
        let told = std::sync::Mutex::new(Some(told));
        let other = down.clone();
        let third = tokio::spawn(async move {
            other.slot("esx3", move |n| told.lock().unwrap().take().unwrap().send(n).unwrap()).await
        });
        asked.await.unwrap();
        drop(second);
        let error = third.await.unwrap().unwrap_err();
        assert!(error.contains("esx2 did not come back") && error.contains("one host"), "{error}");
        assert!(down.slot("esx4", |_| ()).await.is_err());
    }

    #[tokio::test]
    async fn leave_that_was_not_used_is_given_back() {
        let down = Down::new(2);
        let (a, b) = (down.slot("a", |_| ()).await.unwrap(), down.slot("b", |_| ()).await.unwrap());
        drop((a, b));
        assert_eq!(down.state.borrow().held, 0);
    }
}
