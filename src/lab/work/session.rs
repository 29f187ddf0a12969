//! One piece of work on a lab: its lock is held, what it makes is journalled before it is made, every phase is timed
//! and told.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::engine::events::{Event, now_rfc3339};
use crate::lab::events::{Happening, LabEvent, LabKind, PhaseStatus};
use crate::lab::plan::Plan;
use crate::lab::state::{Journal, Kept, Lock, PhaseTimes, Place, StateError};
use crate::lab::thing::{Thing, ThingError};

/// Why a piece of work did not end well.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// What the lab keeps on disk.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something made, or not made.
    #[error(transparent)]
    Thing(#[from] ThingError),
    /// A virtual machine.
    #[error(transparent)]
    Guest(#[from] crate::lab::guest::GuestError),
    /// A part of a network.
    #[error(transparent)]
    Net(#[from] crate::lab::net::NetError),
    /// A disk.
    #[error(transparent)]
    Disk(#[from] crate::lab::disk::DiskError),
    /// Interrupted; what was made is in the journal.
    #[error("interrupted; run it again to go on, or `esxprep lab down` to take the lab down")]
    Interrupted,
    /// Anything else: what was tried, what came back, what to do.
    #[error("{0}")]
    Said(String),
}

impl WorkError {
    /// An error in words.
    pub fn said(text: impl Display) -> Self {
        Self::Said(text.to_string())
    }
}

/// What work on a lab gets from outside.
#[derive(Debug, Clone)]
pub struct Working {
    /// Where events go.
    pub events: UnboundedSender<Happening>,
    /// Set when the user interrupts.
    pub cancel: CancellationToken,
}

/// The work under way.
#[derive(Debug)]
pub struct Session {
    /// The lab's folders.
    pub place: Place,
    /// What is to be made.
    pub plan: Plan,
    /// The QEMU that runs it.
    pub qemu: PathBuf,
    /// Interrupts and events.
    pub working: Working,
    run: String,
    action: &'static str,
    journal: Mutex<Journal<Thing>>,
    times: Mutex<Kept<PhaseTimes>>,
    lock: Mutex<Option<Lock>>,
    started: Instant,
}

impl Session {
    /// Takes the lab's lock, opens its journal and says that work begins.
    ///
    /// # Errors
    /// The lab is being worked on, or its folder cannot be written.
    pub fn begin(
        place: Place,
        plan: Plan,
        qemu: PathBuf,
        action: &'static str,
        working: Working,
    ) -> Result<Arc<Self>, WorkError> {
        place.make()?;
        let lock = Lock::take(&place, &format!("lab {action}"))?;
        let journal = Journal::open(&place.journal())?;
        let times = Kept::at(crate::engine::cache_dir().join("lab-times.json"));
        let session = Self {
            plan,
            qemu,
            working,
            run: crate::engine::journal::new_run_id(),
            action,
            journal: Mutex::new(journal),
            times: Mutex::new(times),
            lock: Mutex::new(Some(lock)),
            started: Instant::now(),
            place,
        };
        session.emit(LabKind::LabStarted {
            lab: session.place.name().to_owned(),
            action: action.to_owned(),
            hosts: session.plan.hosts.iter().map(|h| h.name.clone()).collect(),
            folder: session.place.dir().display().to_string(),
        });
        let damaged: Vec<String> = session
            .journal()
            .damaged()
            .iter()
            .map(|d| format!("line {} of {} cannot be read: {}", d.line, session.place.journal().display(), d.problem))
            .collect();
        damaged.into_iter().for_each(|text| session.note(None, text));
        Ok(Arc::new(session))
    }

    /// The run's id.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Sends an event. Nobody listening any more is no reason to stop.
    pub fn emit(&self, kind: LabKind) {
        let event = LabEvent { time: now_rfc3339(), run: self.run.clone(), kind };
        let _ = self.working.events.send(Happening::Lab(event));
    }

    /// Passes an event of a playbook on, as one of this run.
    pub fn pass(&self, mut event: Event) {
        event.run.clone_from(&self.run);
        let _ = self.working.events.send(Happening::Playbook(event));
    }

    /// Says something.
    pub fn note(&self, host: Option<&str>, text: impl Into<String>) {
        self.emit(LabKind::LabNote { host: host.map(str::to_owned), text: text.into() });
    }

    /// Says that all is done.
    pub fn finished(&self, ready: usize, failed: usize) {
        self.emit(LabKind::LabFinished {
            lab: self.place.name().to_owned(),
            action: self.action.to_owned(),
            ready,
            failed,
            seconds: self.started.elapsed().as_secs_f64(),
        });
    }

    /// An error when the user interrupted.
    ///
    /// # Errors
    /// [`WorkError::Interrupted`].
    pub fn interrupted(&self) -> Result<(), WorkError> {
        if self.working.cancel.is_cancelled() { Err(WorkError::Interrupted) } else { Ok(()) }
    }

    /// The journal. Never held over an await.
    pub fn journal(&self) -> MutexGuard<'_, Journal<Thing>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A phase: told when it begins and when it ends, and its time kept if it ended well. `work` gives its result and
    /// what to say of it.
    ///
    /// # Errors
    /// What `work` says, or the interrupt that ended it.
    pub async fn phase<T>(
        &self,
        host: Option<&str>,
        phase: &str,
        work: impl Future<Output = Result<(T, Option<String>), WorkError>>,
    ) -> Result<T, WorkError> {
        self.interrupted()?;
        let key = self.key(host, phase);
        let usual = self.usual(&key);
        let since = Instant::now();
        let told = |status, seconds, detail| {
            self.emit(LabKind::LabPhase {
                host: host.map(str::to_owned),
                phase: phase.to_owned(),
                status,
                seconds,
                usual,
                detail,
            });
        };
        told(PhaseStatus::Started, None, None);
        let result = tokio::select! {
            () = self.working.cancel.cancelled() => Err(WorkError::Interrupted),
            result = work => result,
        };
        let took = since.elapsed();
        match result {
            Ok((value, detail)) => {
                told(PhaseStatus::Done, Some(took.as_secs_f64()), detail);
                let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
                // A history that cannot be kept costs nobody their lab.
                let _ = times.update(|times| times.note(&key, took));
                Ok(value)
            }
            Err(error) => {
                told(PhaseStatus::Failed, Some(took.as_secs_f64()), host.is_none().then(|| error.to_string()));
                Err(error)
            }
        }
    }

    /// Says that a phase was done by an earlier run.
    pub fn kept(&self, host: &str, phase: &str, detail: &str) {
        self.emit(LabKind::LabPhase {
            host: Some(host.to_owned()),
            phase: phase.to_owned(),
            status: PhaseStatus::Kept,
            seconds: None,
            usual: None,
            detail: Some(detail.to_owned()),
        });
    }

    /// Phases are compared over all labs of this machine, by the version of the host.
    fn key(&self, host: Option<&str>, phase: &str) -> String {
        match host.and_then(|name| self.plan.host(name)) {
            Some(host) => format!("{} {}: {phase}", host.guest.name(), host.esxi),
            None => format!("lab: {phase}"),
        }
    }

    fn usual(&self, phase: &str) -> Option<f64> {
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        Some(times.load().ok()??.usual(phase)?.as_secs_f64())
    }

    /// Makes something: it is in the journal before `make` runs. A thing that stands already is made again, which
    /// every thing bears.
    ///
    /// # Errors
    /// What `make` says; the thing then stands in the journal, since part of it may be there.
    pub fn make<E: Into<WorkError>>(
        &self,
        thing: Thing,
        make: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), WorkError> {
        let seq = self.making(&thing)?;
        make().map_err(Into::into)?;
        self.journal().made(seq, &thing)?;
        Ok(())
    }

    /// Whether a thing stands in the journal.
    pub fn stands(&self, thing: &Thing) -> bool {
        self.journal().standing().iter().any(|(_, t)| t == thing)
    }

    /// Writes that a thing is about to be made, unless it stands already; its number.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn making(&self, thing: &Thing) -> Result<u64, WorkError> {
        let mut journal = self.journal();
        let standing = journal.standing().into_iter().find(|(_, t)| t == thing).map(|(seq, _)| seq);
        match standing {
            Some(seq) => Ok(seq),
            None => Ok(journal.making(thing)?),
        }
    }

    /// Removes what is kept of a lab of which nothing stands any more, the lock and the folder with it; what else is
    /// in it stays, and is given back.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove_all(&self, records: &[&str]) -> Result<Vec<PathBuf>, WorkError> {
        let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(lock.map_or(Ok(Vec::new()), |lock| self.place.remove(lock, records))?)
    }
}

/// Blocking work, off the threads that wait for hosts.
///
/// # Errors
/// What `work` says.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WorkError> + Send + 'static,
) -> Result<T, WorkError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(WorkError::said(format!("a defect in esxprep: {error}"))),
    }
}
