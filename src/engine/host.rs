//! One host, from login to its result: the segments of a playbook, one step after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;
use tokio::time::Instant;

use super::controls::Controls;
use super::down::Slot;
use super::events::{ControlVerdict, EventKind, HostResult};
use super::observe::Coming;
use super::run::{Context, Mode};
use super::session::Session;
use super::step::{Ended, Waiting};
use super::unsaved::NOT_SAVED;
use crate::esxi::{HostFacts, Outputs};
use crate::inventory::Host;
use crate::playbook::{Bound, Scope, StepDef};
use crate::transport::TransportError;

/// The longest pause between two looks whether hostd answers.
pub(super) const AGENT_PAUSE: Duration = Duration::from_secs(2);

/// How often it is told how far a batch is.
const TOLD: u64 = 10;

/// The note on a host whose work was interrupted.
pub const INTERRUPTED: &str = "interrupted; run it again to go on";

/// Why work on a host ended early.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The connection failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Something else; the text is complete.
    #[error("{0}")]
    Stopped(String),
    /// A step failed and was reported already.
    #[error("a step failed")]
    StepFailed,
    /// The run was interrupted.
    #[error("interrupted")]
    Interrupted,
}

/// How a host ended.
#[derive(Debug, Clone, PartialEq)]
pub struct HostOutcome {
    /// The counters.
    pub result: HostResult,
    /// Never logged in to.
    pub unreachable: bool,
    /// Stopped by an error, of a step or of the host.
    pub failed: bool,
}

/// The work on one host.
pub(super) struct HostRun {
    pub(super) ctx: Arc<Context>,
    pub(super) host: Host,
    pub(super) session: Session,
    pub(super) facts: HostFacts,
    pub(super) reboot_reasons: Vec<String>,
    pub(super) result: HostResult,
    /// Something was changed that is not saved yet.
    pub(super) dirty: bool,
    /// Other steps follow those that were read together.
    pub(super) more_to_come: bool,
    /// Leave to be down, while this host may be.
    pub(super) slot: Option<Slot>,
    /// esxprep entered maintenance mode and must leave it.
    pub(super) entered_maintenance: bool,
    /// Outputs that show the host as it is now.
    pub(super) observed: Outputs,
    /// The last output of each command since the boot, stale or not: to guess what is worth reading, never to act on.
    pub(super) last_seen: Outputs,
    pub(super) registered: IndexMap<String, Value>,
    vars: IndexMap<String, Value>,
    pub(super) waiting: Vec<Waiting>,
    /// What was found of the playbook's controls.
    pub(super) controls: Controls,
    /// Steps that no counter of the result counts.
    pub(super) uncounted: usize,
    /// Words made by [`HostRun::unique`].
    words: u64,
}

/// Runs the playbook on one host and reports everything as events.
pub(super) async fn run_host(ctx: Arc<Context>, host: Host) -> HostOutcome {
    let started = Instant::now();
    let name = host.name.clone();
    ctx.emit(EventKind::HostConnecting {
        host: name.clone(),
        address: format!("{}:{}", host.target.address, host.target.port),
    });
    let mut outcome = HostOutcome {
        result: HostResult { host: name.clone(), ..HostResult::default() },
        unreachable: false,
        failed: false,
    };
    let connected = tokio::select! {
        biased;
        () = ctx.cancel.cancelled() => Err(HostError::Interrupted),
        connected = Session::open(ctx.connector.clone(), host.target.clone(), ctx.options.command_timeout) => connected.map_err(HostError::from),
    };
    let mut controls = Controls::default();
    let ended = match connected {
        Err(error) => {
            outcome.unreachable = matches!(error, HostError::Transport(_));
            Err(error)
        }
        Ok(session) => match HostRun::identify(ctx.clone(), host, session).await {
            Err((error, mut session)) => {
                outcome.result.commands = session.cost().commands;
                outcome.result.round_trips = session.cost().round_trips;
                session.close().await;
                Err(error)
            }
            Ok(mut run) => {
                let ended = run.work().await;
                let ended = run.finish(ended).await;
                run.session.close().await;
                let cost = run.session.cost();
                outcome.result = run.result.clone();
                controls = std::mem::take(&mut run.controls);
                outcome.result.commands = cost.commands;
                outcome.result.round_trips = cost.round_trips;
                ended
            }
        },
    };
    let why = ended.as_ref().err().map(|error| format!("not judged: the work on this host ended before: {error}"));
    for control in controls.events(
        &ctx.playbook,
        &name,
        |tags| ctx.options.selected(tags),
        why.as_deref().unwrap_or_default(),
        &ctx.today,
    ) {
        ctx.emit(EventKind::Control(control));
    }
    if let Err(error) = ended {
        outcome.failed = true;
        match &error {
            HostError::StepFailed => {}
            HostError::Interrupted => {
                ctx.emit(EventKind::Note { host: Some(name.clone()), text: INTERRUPTED.into() });
            }
            error => {
                let closed = if outcome.unreachable { ctx.closed(&name) } else { None };
                ctx.emit(EventKind::HostFailed {
                    host: name.clone(),
                    error: closed.map_or_else(|| error.to_string(), |why| format!("{error}\n{why}")),
                    unreachable: outcome.unreachable,
                });
            }
        }
    }
    outcome.result.seconds = started.elapsed().as_secs_f64();
    ctx.emit(EventKind::HostFinished(outcome.result.clone()));
    outcome
}

impl HostRun {
    /// A host that nothing was done on yet.
    pub(super) fn new(ctx: Arc<Context>, host: Host, session: Session, facts: HostFacts) -> Self {
        let vars = crate::playbook::merge_vars(&ctx.playbook.vars, &host.vars, &ctx.options.extra_vars);
        Self {
            result: HostResult { host: host.name.clone(), ..HostResult::default() },
            ctx,
            host,
            session,
            facts,
            reboot_reasons: Vec::new(),
            dirty: false,
            more_to_come: false,
            slot: None,
            entered_maintenance: false,
            observed: Outputs::default(),
            last_seen: Outputs::default(),
            registered: IndexMap::new(),
            vars,
            waiting: Vec::new(),
            controls: Controls::default(),
            uncounted: 0,
            words: 0,
        }
    }

    /// All steps: first those that leave the way in open, at the very end those that close it.
    async fn work(&mut self) -> Result<(), HostError> {
        self.clear_leftovers().await?;
        let ctx = self.ctx.clone();
        let mut queue: VecDeque<&StepDef> = ctx.playbook.steps.iter().collect();
        let mut last: VecDeque<Coming<'_>> = VecDeque::new();
        while !queue.is_empty() {
            let mut coming: VecDeque<Coming<'_>> = self.observe_segment(next_segment(&mut queue)).await?.into();
            loop {
                self.more_to_come = !queue.is_empty() || !last.is_empty();
                self.plan_ahead(coming.make_contiguous()).await?;
                let Some(next) = coming.pop_front() else { break };
                if next.bound.what.as_ref().is_ok_and(|s| s.ends_ssh()) {
                    last.push_back(next);
                    continue;
                }
                let (def, boot) = (next.def, self.result.reboots);
                self.step(next, coming.make_contiguous()).await?;
                if self.result.reboots != boot {
                    coming = self.bind_again(def, coming)?;
                }
            }
        }
        if self.ctx.options.mode == Mode::Apply {
            self.save().await?;
            self.reboot_if_asked(None).await?;
            // Before the way in is closed: what is left for the end may not be possible any more then.
            if self.entered_maintenance && !last.is_empty() {
                self.leave_maintenance().await?;
                self.dirty = true;
                self.save().await?;
            }
        }
        while let Some(next) = last.pop_front() {
            let Coming { def, bound, .. } = &next;
            // Whoever has to come back for what failed needs the way in.
            if self.result.failed > 0 && self.ctx.options.mode == Mode::Apply && bound.what.is_ok() && bound.fix {
                let note = format!("left open: {} steps before failed", self.result.failed);
                let ended = Ended { verdict: Some(ControlVerdict::NotJudged), ..Ended::skipped(note) };
                self.ended(def.number, def.kind.name, &bound.name, ended);
                continue;
            }
            self.step(next, last.make_contiguous()).await?;
        }
        Ok(())
    }

    /// What must happen however the work ended: save, leave maintenance mode.
    async fn finish(&mut self, ended: Result<(), HostError>) -> Result<(), HostError> {
        if self.ctx.options.mode != Mode::Apply {
            return ended;
        }
        let lost = matches!(&ended, Err(HostError::Transport(_)));
        let mut left = Ok(());
        if self.entered_maintenance && !lost {
            left = self.leave_maintenance().await;
            // A host that lost its power now would come back in maintenance mode.
            self.dirty = true;
        }
        if self.dirty && !lost {
            let saved = self.save().await;
            match (&ended, saved) {
                (Ok(()), saved) => left.and(saved)?,
                (Err(_), Err(error)) => self.note(format!("{NOT_SAVED}: {error}. The next run does it")),
                _ => {}
            }
        }
        if !self.reboot_reasons.is_empty() && !lost {
            let why = self.reboot_reasons.join("; ");
            self.note(format!("a reboot is still needed: {why}"));
        }
        ended
    }

    /// A reboot brings new facts: binds what comes after the step at which it was. The rest of that step's own loop
    /// stays as it is.
    fn bind_again<'d>(
        &mut self,
        at: &StepDef,
        coming: VecDeque<Coming<'d>>,
    ) -> Result<VecDeque<Coming<'d>>, HostError> {
        let (mut again, rest): (VecDeque<_>, VecDeque<_>) = coming.into_iter().partition(|c| c.def.number == at.number);
        let mut defs: Vec<&StepDef> = rest.into_iter().map(|next| next.def).collect();
        defs.dedup_by_key(|def| def.number);
        for def in defs {
            again.extend(self.bind(def)?.into_iter().map(|bound| Coming::new(def, bound)));
        }
        Ok(again)
    }

    /// A step as it would be on this host as it is now.
    pub(super) fn would_bind(&self, def: &StepDef) -> Result<Vec<Bound>, HostError> {
        let scope = Scope {
            vars: &self.vars,
            facts: &self.facts,
            inventory_name: &self.host.name,
            registered: &self.registered,
        };
        self.ctx.playbook.bind(def, &scope).map_err(|problems| {
            HostError::Stopped(format!("step {} cannot be used on this host:\n{problems}", def.number))
        })
    }

    /// Binds a step to this host as it is now.
    pub(super) fn bind(&mut self, def: &StepDef) -> Result<Vec<Bound>, HostError> {
        let bound = self.would_bind(def);
        for (item, what) in bound.iter().flatten().enumerate() {
            for (part, value) in what.what.iter().flat_map(|step| step.secrets()) {
                let item = if item == 0 { String::new() } else { format!(", item {}", item + 1) };
                let label = format!("step {}{item} {}.{part}", def.number, def.kind.name);
                self.ctx.secrets.note(&self.host.name, &label, &value);
            }
        }
        if let Err(error) = &bound {
            self.ended(def.number, def.kind.name, def.kind.name, Ended::failed(error.to_string()));
            return Err(HostError::StepFailed);
        }
        bound
    }

    /// A word that no other run and no other change on this host uses.
    pub(super) fn unique(&mut self) -> String {
        self.words += 1;
        format!("{}-{}", self.ctx.run_id(), self.words - 1)
    }

    pub(super) fn note(&self, text: String) {
        self.ctx.emit(EventKind::Note { host: Some(self.host.name.clone()), text });
    }

    /// To be called at the end of each of so many commands: tells how far it is, about ten times. Not by the clock, or a
    /// replay would tell something else.
    pub(super) fn counted(&self, doing: String, total: usize) -> impl FnMut(usize) + Send + use<> {
        let (ctx, host) = (self.ctx.clone(), self.host.name.clone());
        let mut ended = 0_u64;
        let every = (total as u64 / TOLD).max(1);
        move |_| {
            ended += 1;
            if ended < total as u64 && !ended.is_multiple_of(every) {
                return;
            }
            ctx.emit(EventKind::Phase {
                host: host.clone(),
                doing: doing.clone(),
                position: Some(ended),
                length: Some(total as u64),
            });
        }
    }

    pub(super) fn phase(&self, doing: impl Into<String>) {
        self.ctx.emit(EventKind::Phase {
            host: self.host.name.clone(),
            doing: doing.into(),
            position: None,
            length: None,
        });
    }
}

/// The longest run of steps of which none needs a value that another one in it registers: they read together.
pub(super) fn next_segment<'a>(queue: &mut VecDeque<&'a StepDef>) -> Vec<&'a StepDef> {
    let mut segment: Vec<&StepDef> = Vec::new();
    while let Some(next) = queue.front() {
        let needs_one = segment.iter().filter_map(|s| s.register.as_ref()).any(|r| next.uses_registered.contains(r));
        if needs_one {
            break;
        }
        segment.extend(queue.pop_front());
    }
    segment
}
