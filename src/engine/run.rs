//! One run over many hosts: batches, forks, the failure limit, interruption, and the run's exit code.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::artifacts::{ArtifactStore, foreseen};
use super::down::Down;
use super::events::{Event, EventKind};
use super::host::{HostError, HostOutcome, run_host};
use super::journal::{HostLock, StateDir};
use crate::esxi::HostFacts;
use crate::fixture::RecordedArtifact;
use crate::fixture::secrets::SecretBook;
use crate::inventory::Host;
use crate::playbook::{Batch, Playbook, Serial};
use crate::transport::Connector;

/// What a run may do to hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Make hosts match.
    Apply,
    /// Say what `apply` would do.
    Check,
    /// Say whether hosts match.
    Verify,
}

impl Mode {
    /// The word in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Check => "check",
            Self::Verify => "verify",
        }
    }
}

/// Steps that an earlier run ended well, by host: number and name.
pub type Resumed = HashMap<String, BTreeSet<(usize, String)>>;

/// Hosts at the same time, when nobody says. A host costs one descriptor, under 300 KiB and mostly waiting: 50 of them
/// keep two cores busy with key exchange and stay far below the usual limit of 1024 descriptors, while a jump host or a
/// slow uplink is not flooded with a thousand logins at once.
pub const FORKS: usize = 50;

/// Everything that a run can be told.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What may be done.
    pub mode: Mode,
    /// Hosts at the same time.
    pub forks: usize,
    /// Hosts a batch; all when `None`. When the sizes differ, or with an order, a batch of which every host failed is
    /// the last.
    pub serial: Option<Serial>,
    /// After so many failed hosts no other begins.
    pub max_failures: Option<Batch>,
    /// So many hosts may be down at the same time because of this run (rebooting, in maintenance mode).
    pub max_down: Option<Batch>,
    /// Names of the hosts to be done first, second and so on; all others come last.
    pub order: Vec<BTreeSet<String>>,
    /// Only steps with one of these tags (`always` counts as all), when not empty.
    pub tags: Vec<String>,
    /// No steps with one of these tags.
    pub skip_tags: Vec<String>,
    /// Variables from the command line.
    pub extra_vars: IndexMap<String, Value>,
    /// Limit for a command that has none of its own.
    pub command_timeout: Duration,
    /// Limit from the reboot command to a host that is ready.
    pub reboot_timeout: Duration,
    /// How long a host may go on answering after the reboot command before it is looked at again.
    pub down_timeout: Duration,
    /// How long hostd may take once SSH answers.
    pub agent_timeout: Duration,
    /// How long virtual machines may take to stop.
    pub vm_timeout: Duration,
    /// Never reboot, whatever the playbook says.
    pub no_reboot: bool,
    /// Change hosts that will forget it, too.
    pub allow_unsaved: bool,
    /// Where downloads are kept.
    pub cache: PathBuf,
    /// Steps to leave out because an earlier run ended them well.
    pub resumed: Resumed,
    /// The hosts that a recorded run began: in its replay these begin, whenever the others fail.
    pub begun: Option<BTreeSet<String>>,
}

impl RunOptions {
    /// The defaults for a mode.
    pub fn new(mode: Mode, cache: PathBuf) -> Self {
        Self {
            mode,
            forks: FORKS,
            serial: None,
            max_failures: None,
            max_down: None,
            order: Vec::new(),
            tags: Vec::new(),
            skip_tags: Vec::new(),
            extra_vars: IndexMap::new(),
            command_timeout: Duration::from_secs(300),
            reboot_timeout: Duration::from_secs(1200),
            down_timeout: Duration::from_secs(90),
            agent_timeout: Duration::from_secs(300),
            vm_timeout: Duration::from_secs(300),
            no_reboot: false,
            allow_unsaved: false,
            cache,
            resumed: Resumed::new(),
            begun: None,
        }
    }

    /// Whether a step with these tags takes part.
    pub fn selected(&self, tags: &[String]) -> bool {
        let has = |wanted: &[String]| tags.iter().any(|t| wanted.contains(t));
        (self.tags.is_empty() || has(&self.tags) || tags.iter().any(|t| t == "always")) && !has(&self.skip_tags)
    }
}

/// What all hosts of a run share.
pub struct Context {
    /// The playbook.
    pub playbook: Playbook,
    /// The options.
    pub options: RunOptions,
    /// Makes sessions.
    pub connector: Arc<dyn Connector>,
    /// Set when the user interrupts.
    pub cancel: CancellationToken,
    /// Downloads and inspected files.
    pub artifacts: ArtifactStore,
    /// Secrets of the run, for its recording or its replay.
    pub secrets: Arc<SecretBook>,
    /// The day of the run, UTC, `2027-06-30`: waivers end on one.
    pub today: String,
    run: String,
    events: mpsc::UnboundedSender<Event>,
    sent: AtomicU64,
    kept: Option<watch::Receiver<u64>>,
    lock_hosts: bool,
    /// Leave to be down, if that is limited; known when the run begins.
    down: OnceLock<Option<Down>>,
    /// The run's hosts.
    names: OnceLock<BTreeSet<String>>,
    /// Why the way in to hosts may be closed: looked up once, by the first host that is not reached.
    closed: OnceLock<HashMap<String, String>>,
    /// On which hosts an earlier run may not have saved: looked up once, by the first host that is reached.
    unsaved: OnceLock<BTreeSet<String>>,
}

impl Context {
    /// `events` gets everything that happens; `run` is the run's id.
    pub fn new(
        playbook: Playbook,
        options: RunOptions,
        connector: Arc<dyn Connector>,
        cancel: CancellationToken,
        run: String,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        let artifacts = ArtifactStore::new(&playbook.path, options.cache.clone());
        let secrets = Arc::default();
        let today = crate::playbook::today();
        Self {
            playbook,
            options,
            connector,
            cancel,
            artifacts,
            secrets,
            today,
            run,
            events,
            sent: AtomicU64::new(0),
            kept: None,
            lock_hosts: true,
            down: OnceLock::new(),
            names: OnceLock::new(),
            closed: OnceLock::new(),
            unsaved: OnceLock::new(),
        }
    }

    /// The same with a journal that says how many events it holds: [`Context::journalled`] waits for it.
    pub fn with_journal(mut self, kept: watch::Receiver<u64>) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The same with a book in which the secrets of steps are noted as they are bound.
    pub fn with_secrets(mut self, book: Arc<SecretBook>) -> Self {
        self.secrets = book;
        self
    }

    /// Sends an event. Nobody listening any more is no reason to stop a change.
    pub fn emit(&self, kind: EventKind) {
        if self.events.send(Event::now(&self.run, kind)).is_ok() {
            self.sent.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Why the way in to a host may be closed, as the journals of earlier runs tell; nothing for a run without a journal.
    pub(super) fn closed(&self, host: &str) -> Option<String> {
        let names = self.names.get()?;
        let look = || self.state().map(|state| super::closed::explain(&state, names)).unwrap_or_default();
        self.closed.get_or_init(look).get(host).cloned()
    }

    /// Whether an earlier run may have left changes on this host that the next boot forgets.
    pub(super) fn is_unsaved(&self, host: &str) -> bool {
        let Some(names) = self.names.get() else { return false };
        let look = || self.state().map(|state| super::unsaved::find(&state, names, self.run_id())).unwrap_or_default();
        self.unsaved.get_or_init(look).contains(host)
    }

    /// Leave to be down, where that is limited. In a replay nobody waits for another: each host does what it did.
    pub(super) fn down(&self) -> Option<Down> {
        self.down.get().cloned().flatten().filter(|_| self.options.begun.is_none())
    }

    /// Where the journals of earlier runs are, for a run that keeps one itself.
    pub(super) fn state(&self) -> Option<StateDir> {
        self.kept.as_ref().and_then(|_| StateDir::locate().ok())
    }

    /// Where what hosts are like is kept from one run to the next; nowhere for hosts that no other run can know of.
    pub(super) fn remembers(&self) -> Option<StateDir> {
        self.state().filter(|_| self.lock_hosts)
    }

    /// Whether the playbook is made for such a host.
    pub(super) fn is_for(&self, facts: &HostFacts) -> bool {
        let (wanted, line) = (&self.playbook.esxi, facts.version.line());
        wanted.is_empty() || wanted.iter().any(|w| *w == line || facts.version.to_string() == *w)
    }

    /// Waits until all that was emitted so far is in the journal, if one is kept. A journal that ended does not hold
    /// a change up.
    pub(super) async fn journalled(&self) {
        let sent = self.sent.load(Ordering::SeqCst);
        if let Some(kept) = &self.kept {
            let _ = kept.clone().wait_for(|kept| *kept >= sent).await;
        }
    }

    /// The same for a replayed run: inputs come from the recording and never from the network, and no host is locked,
    /// since none is there.
    pub fn replaying(mut self, recorded: &[RecordedArtifact]) -> Self {
        self.artifacts.replay(recorded);
        self.without_lock()
    }

    /// Takes no lock on the hosts: for hosts that no other run can know of.
    pub fn without_lock(mut self) -> Self {
        self.lock_hosts = false;
        self
    }

    /// The run's id.
    pub fn run_id(&self) -> &str {
        &self.run
    }

    /// An error when the user interrupted.
    pub(super) fn interrupted(&self) -> Result<(), HostError> {
        if self.cancel.is_cancelled() { Err(HostError::Interrupted) } else { Ok(()) }
    }

    /// Waits, or ends at once when interrupted.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), HostError> {
        tokio::select! {
            () = self.cancel.cancelled() => Err(HostError::Interrupted),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    /// Why a step is left out because of an earlier run, if it is.
    pub(super) fn resumed(&self, host: &str, number: usize, name: &str) -> Option<String> {
        let steps = self.options.resumed.get(host)?;
        steps.contains(&(number, name.to_owned())).then(|| "done by the resumed run".to_owned())
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOutcome {
    /// Every host that was begun.
    pub hosts: Vec<HostOutcome>,
    /// Hosts that were not begun (interrupted, too many failures).
    pub not_begun: usize,
    /// The process's exit code, as the contract says.
    pub exit_code: u8,
}

/// What the playbook needs from this machine is not there or damaged: nothing was touched.
const EXIT_NOT_VALID: u8 = 2;

/// Runs the playbook on all hosts.
pub async fn run(ctx: Arc<Context>, hosts: Vec<Host>) -> RunOutcome {
    let started = Instant::now();
    ctx.emit(EventKind::RunStarted {
        playbook: ctx.playbook.name.clone(),
        mode: ctx.options.mode.word().to_owned(),
        hosts: hosts.iter().map(|h| h.name.clone()).collect(),
        steps: ctx.playbook.steps.len(),
    });
    let total = hosts.len();
    // Set once: a context is of one run.
    let _ = ctx.names.set(hosts.iter().map(|h| h.name.clone()).collect());
    let _ = ctx.down.set(ctx.options.max_down.map(|most| Down::new(most.size(total))));
    let inputs = foreseen(&ctx.playbook, &hosts, &ctx.options);
    let first = hosts.first().map(|h| h.name.clone()).unwrap_or_default();
    if let Err(error) = ctx.artifacts.prepare(&inputs, &ctx, &first).await {
        ctx.emit(EventKind::Note { host: None, text: format!("{error}. No host was touched") });
        let seconds = started.elapsed().as_secs_f64();
        ctx.emit(EventKind::RunFinished { hosts: total, ok: 0, changed: 0, failed: 0, unreachable: 0, seconds });
        return RunOutcome { hosts: Vec::new(), not_begun: total, exit_code: EXIT_NOT_VALID };
    }
    let mut outcomes: Vec<HostOutcome> = Vec::with_capacity(total);
    let forks = Arc::new(Semaphore::new(ctx.options.forks.max(1)));
    let failures = Arc::new(AtomicU64::new(0));
    let most_failures = ctx.options.max_failures.map(|most| most.size(total) as u64);
    let groups = in_order(hosts, &ctx.options.order);
    let sizes: Vec<usize> = groups.iter().map(Vec::len).collect();
    let serial = ctx.options.serial.clone().unwrap_or_default();
    let cautious = serial.is_canary() || !ctx.options.order.is_empty();
    let mut left = groups.into_iter().flatten();
    for batch in serial.plan(&sizes) {
        if stop(&ctx, &failures, most_failures) {
            break;
        }
        let before = outcomes.len();
        let mut tasks = JoinSet::new();
        for host in left.by_ref().take(batch) {
            // The fork is taken here and not in the task: hosts begin in their order.
            let fork = forks.clone().acquire_owned().await;
            if stop(&ctx, &failures, most_failures) {
                break;
            }
            if ctx.options.begun.as_ref().is_some_and(|begun| !begun.contains(&host.name)) {
                continue;
            }
            let (ctx, failures) = (ctx.clone(), failures.clone());
            tasks.spawn(async move {
                let _fork = fork;
                let outcome = locked(ctx, host).await;
                if outcome.failed {
                    failures.fetch_add(1, Ordering::SeqCst);
                }
                outcome
            });
        }
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => ctx.emit(EventKind::Note { host: None, text: format!("a defect in esxprep: {error}") }),
            }
        }
        let these = &outcomes[before..];
        // An interruption has its own words, and a replay does what the recorded run did.
        let counts = cautious && ctx.options.begun.is_none() && !ctx.cancel.is_cancelled();
        if counts && outcomes.len() < total && !these.is_empty() && these.iter().all(|o| o.failed) {
            let text = "every host of this batch failed: no other is begun".to_owned();
            ctx.emit(EventKind::Note { host: None, text });
            break;
        }
    }
    let not_begun = total - outcomes.len();
    if not_begun > 0 {
        ctx.emit(EventKind::Note { host: None, text: format!("{not_begun} host(s) were not begun") });
    }
    let sum = |f: fn(&HostOutcome) -> usize| outcomes.iter().map(f).sum::<usize>();
    ctx.emit(EventKind::RunFinished {
        hosts: total,
        ok: sum(|o| o.result.ok),
        changed: sum(|o| o.result.changed),
        failed: sum(|o| o.result.failed),
        unreachable: sum(|o| usize::from(o.unreachable)),
        seconds: started.elapsed().as_secs_f64(),
    });
    let exit_code = exit_code(&ctx, &outcomes, not_begun);
    RunOutcome { hosts: outcomes, not_begun, exit_code }
}

/// Two runs on one host would undo each other: one lock a host on this machine.
async fn locked(ctx: Arc<Context>, host: Host) -> HostOutcome {
    let name = host.name.clone();
    let lock = match ctx.options.mode {
        Mode::Apply if ctx.lock_hosts => {
            HostLock::acquire(&name, &host.target.address, host.target.port, &ctx.run).map(Some)
        }
        _ => Ok(None),
    };
    match lock {
        Ok(lock) => {
            let outcome = run_host(ctx, host).await;
            drop(lock);
            outcome
        }
        Err(error) => {
            ctx.emit(EventKind::HostFailed { host: name.clone(), error: error.to_string(), unreachable: false });
            let result = super::events::HostResult { host: name, ..Default::default() };
            ctx.emit(EventKind::HostFinished(result.clone()));
            HostOutcome { result, unreachable: false, failed: true }
        }
    }
}

/// The hosts by the order that is asked for, each group in the order of the inventory; those of no group come last.
fn in_order(hosts: Vec<Host>, order: &[BTreeSet<String>]) -> Vec<Vec<Host>> {
    let mut groups: Vec<Vec<Host>> = vec![Vec::new(); order.len() + 1];
    for host in hosts {
        let at = order.iter().position(|names| names.contains(&host.name)).unwrap_or(order.len());
        groups[at].push(host);
    }
    groups
}

fn stop(ctx: &Context, failures: &AtomicU64, most: Option<u64>) -> bool {
    // Which hosts had begun before another failed was a matter of time; a replay has another one.
    let too_many = ctx.options.begun.is_none() && most.is_some_and(|most| failures.load(Ordering::SeqCst) >= most);
    too_many || ctx.cancel.is_cancelled()
}

fn exit_code(ctx: &Context, outcomes: &[HostOutcome], not_begun: usize) -> u8 {
    if ctx.cancel.is_cancelled() {
        return 130;
    }
    let unreachable = outcomes.iter().filter(|o| o.unreachable).count();
    if unreachable > 0 && unreachable == outcomes.len() {
        return 4;
    }
    if not_begun > 0 || outcomes.iter().any(|o| o.failed || o.result.failed > 0) {
        return 1;
    }
    let pending = |o: &HostOutcome| match ctx.options.mode {
        // What only a person can change is still to be changed.
        Mode::Apply => o.result.by_hand > 0,
        Mode::Check | Mode::Verify => o.result.changed > 0,
    };
    if outcomes.iter().any(pending) { 3 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_choose_steps() {
        let mut options = RunOptions::new(Mode::Apply, PathBuf::new());
        let tags = |t: &[&str]| t.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert!(options.selected(&tags(&[])));
        options.tags = tags(&["net"]);
        assert!(options.selected(&tags(&["net", "x"])));
        assert!(options.selected(&tags(&["always"])));
        assert!(!options.selected(&tags(&["x"])));
        options.skip_tags = tags(&["x"]);
        assert!(!options.selected(&tags(&["net", "x"])));
    }
}
