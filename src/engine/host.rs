//! One host, from login to its result: the segments of a playbook, one step after the other.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::act::Acted;
use super::events::{ChangeShown, EventKind, HostResult, Status, StepEvent};
use super::identify::Identify;
use super::run::{Context, Mode};
use super::session::Session;
use crate::esxi::{Command, HostFacts, Output, Outputs};
use crate::inventory::Host;
use crate::playbook::{Bound, RebootPolicy, Scope, StepDef};
use crate::steps::{Barrier, Change, Seen, Step, StepError};
use crate::transport::TransportError;

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

/// An output and the state of the host (counted in changes) that it shows.
struct Observed {
    generation: u64,
    output: Output,
}

/// A step that waits for the reboot to be proved.
struct Waiting {
    step: Box<dyn Step>,
    number: usize,
    kind: &'static str,
    name: String,
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
    /// esxprep entered maintenance mode and must leave it.
    pub(super) entered_maintenance: bool,
    observed: HashMap<String, Observed>,
    generation: u64,
    registered: IndexMap<String, Value>,
    vars: IndexMap<String, Value>,
    waiting: Vec<Waiting>,
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
                outcome.result.commands = cost.commands;
                outcome.result.round_trips = cost.round_trips;
                ended
            }
        },
    };
    if let Err(error) = ended {
        outcome.failed = true;
        match &error {
            HostError::StepFailed => {}
            HostError::Interrupted => {
                ctx.emit(EventKind::Note {
                    host: Some(name.clone()),
                    text: "interrupted; run it again to go on".into(),
                });
            }
            error => ctx.emit(EventKind::HostFailed {
                host: name.clone(),
                error: error.to_string(),
                unreachable: outcome.unreachable,
            }),
        }
    }
    outcome.result.seconds = started.elapsed().as_secs_f64();
    ctx.emit(EventKind::HostFinished(outcome.result.clone()));
    outcome
}

impl HostRun {
    /// The first round trip. A host that is not ESXi, or not of a line that the playbook is for, ends here.
    async fn identify(ctx: Arc<Context>, host: Host, mut session: Session) -> Result<Self, (HostError, Session)> {
        let facts = match Self::read_facts(&ctx, &mut session).await {
            Ok(facts) => facts,
            Err(error) => return Err((error, session)),
        };
        ctx.emit(EventKind::HostConnected {
            host: host.name.clone(),
            version: facts.version.to_string(),
            build: facts.build,
        });
        let line = facts.version.line();
        let wanted = &ctx.playbook.esxi;
        if !wanted.is_empty() && !wanted.iter().any(|w| *w == line || facts.version.to_string() == *w) {
            let error = HostError::Stopped(format!(
                "this host runs ESXi {} and the playbook is made for {} (its key `esxi`). Nothing was changed",
                facts.version,
                wanted.join(", ")
            ));
            return Err((error, session));
        }
        let vars = crate::playbook::merge_vars(&ctx.playbook.vars, &host.vars, &ctx.options.extra_vars);
        Ok(Self {
            result: HostResult { host: host.name.clone(), ..HostResult::default() },
            ctx,
            host,
            session,
            facts,
            reboot_reasons: Vec::new(),
            dirty: false,
            entered_maintenance: false,
            observed: HashMap::new(),
            generation: 0,
            registered: IndexMap::new(),
            vars,
            waiting: Vec::new(),
        })
    }

    /// Identifies the host; waits for a management agent that is still starting.
    pub(super) async fn read_facts(ctx: &Context, session: &mut Session) -> Result<HostFacts, HostError> {
        let identify = Identify::default();
        let commands = identify.commands();
        let deadline = Instant::now() + ctx.options.agent_timeout;
        loop {
            let outputs = session.read(&commands, &mut |_| {}).await?;
            let mut seen = Outputs::default();
            for (command, output) in commands.iter().zip(outputs) {
                seen.insert(command, output);
            }
            let facts = identify.facts(&seen).map_err(|e| HostError::Stopped(e.to_string()))?;
            if !identify.hostd_down(&seen) {
                return Ok(facts);
            }
            if Instant::now() >= deadline {
                return Err(HostError::Stopped(format!(
                    "SSH answers, but the management agent (hostd) did not within {} s. See /var/log/hostd.log on the host; \
                     `/etc/init.d/hostd restart` starts it again",
                    ctx.options.agent_timeout.as_secs()
                )));
            }
            ctx.pause(Duration::from_millis(500)).await?;
        }
    }

    /// All steps: first those that leave the way in open, at the very end those that close it.
    async fn work(&mut self) -> Result<(), HostError> {
        self.clear_leftovers().await?;
        let ctx = self.ctx.clone();
        let mut queue: VecDeque<&StepDef> = ctx.playbook.steps.iter().collect();
        let mut last: Vec<(&StepDef, Bound)> = Vec::new();
        while !queue.is_empty() {
            let segment = next_segment(&mut queue);
            self.observe_segment(&segment).await?;
            for def in segment {
                for bound in self.bind(def)? {
                    let is_last = bound.what.as_ref().is_ok_and(|s| s.ends_ssh());
                    if is_last {
                        last.push((def, bound));
                    } else {
                        self.step(def, bound).await?;
                    }
                }
            }
        }
        if self.ctx.options.mode == Mode::Apply {
            self.save().await?;
            self.reboot_if_asked(None).await?;
        }
        for (def, bound) in last {
            self.step(def, bound).await?;
        }
        Ok(())
    }

    /// What must happen however the work ended: save, leave maintenance mode.
    async fn finish(&mut self, ended: Result<(), HostError>) -> Result<(), HostError> {
        if self.ctx.options.mode != Mode::Apply {
            return ended;
        }
        let lost = matches!(&ended, Err(HostError::Transport(_)));
        if self.dirty && !lost {
            let saved = self.save().await;
            if ended.is_ok() {
                saved?;
            }
        }
        if self.entered_maintenance && !lost {
            let left = self.leave_maintenance().await;
            if ended.is_ok() {
                left?;
            }
        }
        if !self.reboot_reasons.is_empty() && !lost {
            let why = self.reboot_reasons.join("; ");
            self.note(format!("a reboot is still needed: {why}"));
        }
        ended
    }

    /// Binds a step to this host as it is now.
    fn bind(&mut self, def: &StepDef) -> Result<Vec<Bound>, HostError> {
        let scope = Scope {
            vars: &self.vars,
            facts: &self.facts,
            inventory_name: &self.host.name,
            registered: &self.registered,
        };
        let bound = self.ctx.playbook.bind(def, &scope).map_err(|problems| {
            HostError::Stopped(format!("step {} cannot be used on this host:\n{problems}", def.number))
        });
        if let Err(error) = &bound {
            self.emit_step(
                def.number,
                def.kind.name,
                def.kind.name.to_owned(),
                Status::Failed,
                Vec::new(),
                0.0,
                Some(error.to_string()),
                None,
            );
            return Err(HostError::StepFailed);
        }
        bound
    }

    /// One round trip for every read of a segment that is not fresh.
    async fn observe_segment(&mut self, segment: &[&StepDef]) -> Result<(), HostError> {
        let mut reads = Vec::new();
        let mut inputs = Vec::new();
        for def in segment {
            if !self.ctx.options.selected(&def.tags) {
                continue;
            }
            for bound in self.bind(def)? {
                if let Ok(step) = &bound.what {
                    reads.extend(step.reads(&self.facts));
                    inputs.extend(step.inputs());
                    reads.extend(bound.expect.iter().flat_map(|e| e.reads(&self.facts)));
                }
            }
        }
        self.ctx.artifacts.prepare(&inputs, &self.ctx, &self.host.name).await.map_err(HostError::Stopped)?;
        self.observe(reads).await
    }

    /// Reads what is not fresh among these commands. A lost connection is opened again once: reads change nothing.
    pub(super) async fn observe(&mut self, commands: Vec<Command>) -> Result<(), HostError> {
        let mut wanted: Vec<Command> = Vec::new();
        for command in commands {
            let fresh = self.observed.get(command.text()).is_some_and(|o| o.generation == self.generation);
            if !fresh && !wanted.iter().any(|w| w.text() == command.text()) {
                wanted.push(command);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        self.ctx.interrupted()?;
        let doing = match wanted.as_slice() {
            [one] => format!("reading `{one}`"),
            all => format!("reading {} outputs", all.len()),
        };
        let total = wanted.len() as u64;
        let ctx = self.ctx.clone();
        let name = self.host.name.clone();
        let mut ended = 0;
        let mut done = move |_| {
            ended += 1;
            ctx.emit(EventKind::Phase {
                host: name.clone(),
                doing: doing.clone(),
                position: Some(ended),
                length: Some(total),
            });
        };
        let outputs = match self.session.read(&wanted, &mut done).await {
            Err(TransportError::Lost { .. }) => {
                self.session.reopen(None).await?;
                self.session.read(&wanted, &mut done).await?
            }
            other => other?,
        };
        for (command, output) in wanted.iter().zip(outputs) {
            self.observed.insert(command.text().to_owned(), Observed { generation: self.generation, output });
        }
        Ok(())
    }

    /// Everything observed, as steps look at it.
    fn outputs(&self, commands: &[Command]) -> Outputs {
        let mut all = Outputs::default();
        for command in commands {
            if let Some(observed) = self.observed.get(command.text()) {
                all.insert(command, observed.output.clone());
            }
        }
        all
    }

    /// Reads again what is older than the last change, and compares.
    async fn look(&mut self, step: &dyn Step) -> Result<Result<Vec<Change>, StepError>, HostError> {
        let reads = step.reads(&self.facts);
        self.observe(reads.clone()).await?;
        let outputs = self.outputs(&reads);
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        Ok(step.compare(&Seen { host: &self.facts, outputs: &outputs, artifacts: &artifacts }))
    }

    /// Whether a step's state is what it wants now; `None` when it cannot be read.
    pub(super) async fn in_place(&mut self, step: &dyn Step) -> Option<bool> {
        self.generation += 1;
        match self.look(step).await {
            Ok(Ok(changes)) => Some(changes.iter().all(|c| c.actions.is_empty())),
            _ => None,
        }
    }

    /// One bound step: compare, act, verify, expect, register; tried again as often as it says.
    async fn step(&mut self, def: &StepDef, bound: Bound) -> Result<(), HostError> {
        let started = Instant::now();
        let Bound { name, what, expect } = bound;
        let report = |run: &mut Self, status, changes, error: Option<String>, note| {
            run.emit_step(
                def.number,
                def.kind.name,
                name.clone(),
                status,
                changes,
                started.elapsed().as_secs_f64(),
                error,
                note,
            );
        };
        if !self.ctx.options.selected(&def.tags) {
            report(self, Status::Skipped, Vec::new(), None, Some("left out by tags".to_owned()));
            return Ok(());
        }
        let step = match what {
            Ok(step) => step,
            Err(reason) => {
                self.register(def, json!({"changed": false, "skipped": true, "failed": false}), Value::Null);
                report(self, Status::Skipped, Vec::new(), None, Some(reason));
                return Ok(());
            }
        };
        // A value that later steps use must be read again.
        if let Some(already) = self.ctx.resumed(&self.host.name, def.number, &name)
            && def.register.is_none()
        {
            report(self, Status::Skipped, Vec::new(), None, Some(already));
            return Ok(());
        }
        self.ctx.interrupted()?;
        if let Some(barrier) = step.barrier() {
            return self.barrier(def, &name, &barrier).await;
        }
        let mut tries = def.retries + 1;
        loop {
            tries -= 1;
            self.session.limit_commands(def.timeout);
            let tried = self.attempt(step.as_ref(), &expect).await;
            self.session.limit_commands(None);
            let tried = tried?;
            match tried {
                Ok(done) => {
                    let status = match (done.changes.is_empty() || done.nothing_changed, self.ctx.options.mode) {
                        (true, _) => Status::Ok,
                        (false, Mode::Apply) => Status::Changed,
                        (false, _) => Status::WouldChange,
                    };
                    let changed = !matches!(status, Status::Ok);
                    self.register(def, json!({"changed": changed, "skipped": false, "failed": false}), done.registered);
                    let note = done.notes.join("; ");
                    if done.waits && step.verifiable() && self.ctx.options.mode == Mode::Apply {
                        self.waiting.push(Waiting {
                            step,
                            number: def.number,
                            kind: def.kind.name,
                            name: name.clone(),
                        });
                    }
                    report(
                        self,
                        status,
                        if changed { shown(&done.changes) } else { Vec::new() },
                        None,
                        Some(note).filter(|n| !n.is_empty()),
                    );
                    return Ok(());
                }
                Err(failed) if tries > 0 => {
                    self.note(format!(
                        "{name}: {}; trying again ({tries} left)",
                        failed.error.lines().next().unwrap_or("")
                    ));
                    self.generation += 1;
                    self.ctx.pause(def.delay).await?;
                }
                Err(failed) => {
                    report(self, Status::Failed, shown(&failed.changes), Some(failed.error), None);
                    return Err(HostError::StepFailed);
                }
            }
        }
    }

    /// One try of a step.
    async fn attempt(&mut self, step: &dyn Step, expect: &[Box<dyn Step>]) -> Result<Result<Done, Failed>, HostError> {
        let changes = match self.look(step).await? {
            Ok(changes) => changes,
            Err(error) => return Ok(Err(Failed { error: error.to_string(), changes: Vec::new() })),
        };
        let mut done = Done { changes, ..Done::default() };
        let mut ran = Vec::new();
        if !done.changes.is_empty() && self.ctx.options.mode == Mode::Apply {
            match self.make(step, &mut done, &mut ran).await {
                Ok(()) => {}
                Err(Acted::Failed(error)) => return Ok(Err(Failed { error, changes: done.changes })),
                Err(Acted::Host(error)) => return Err(error),
            }
        } else if done.changes.iter().any(|c| c.effect.reboot) {
            self.reboot_reasons.push(step.summary());
            done.notes.push("needs a reboot".to_owned());
        }
        let reads = step.reads(&self.facts);
        let outputs = self.outputs(&reads);
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        let seen = Seen { host: &self.facts, outputs: &outputs, artifacts: &artifacts };
        done.registered = step.register(&seen, &ran);
        if self.ctx.options.mode == Mode::Apply || done.changes.is_empty() {
            for check in expect {
                if let Err(error) = self.look(check.as_ref()).await? {
                    return Ok(Err(Failed {
                        error: format!("expected after the step: {error}"),
                        changes: done.changes,
                    }));
                }
            }
        }
        Ok(Ok(done))
    }

    /// Acts, then reads again: what still differs is a failure, what only waits for the reboot is not.
    async fn make(&mut self, step: &dyn Step, done: &mut Done, ran: &mut Vec<(Command, Output)>) -> Result<(), Acted> {
        let acts = done.changes.iter().any(|c| !c.actions.is_empty());
        if acts && !self.facts.persistent && !self.ctx.options.allow_unsaved {
            return Err(Acted::Failed(self.forgetful()));
        }
        let mut reboot = false;
        let mut any_changed = false;
        for change in &done.changes {
            let verdict = self.act(step, change, ran).await?;
            reboot |= verdict.reboot || change.effect.reboot;
            done.notes.extend(verdict.note);
            any_changed |= verdict.changed != Some(false);
            self.dirty |= !change.actions.is_empty() && !change.effect.transient;
        }
        done.nothing_changed = !any_changed;
        if acts {
            self.generation += 1;
        }
        if step.verifiable() && !step.proved_by_reboot() && acts {
            let left =
                self.look(step).await?.map_err(|e| Acted::Failed(format!("after the change, looking again: {e}")))?;
            let still: Vec<&Change> = left.iter().filter(|c| !(c.actions.is_empty() && c.effect.reboot)).collect();
            if !still.is_empty() {
                let lines: Vec<String> =
                    still.iter().map(|c| format!("{}: is {:?}, wanted {:?}", c.summary, c.before, c.after)).collect();
                return Err(Acted::Failed(format!(
                    "the commands ran, but reading again shows that it still differs: {}",
                    lines.join("; ")
                )));
            }
            reboot |= !left.is_empty();
        }
        if reboot {
            done.waits = true;
            self.reboot_reasons.push(step.summary());
            done.notes.push("waits for the reboot".to_owned());
        }
        Ok(())
    }

    /// What a host says that would forget everything.
    fn forgetful(&self) -> String {
        let at = if self.facts.bootbank.is_empty() { "missing" } else { &self.facts.bootbank };
        format!(
            "this host would forget the change at its next boot: /bootbank points to {at}, which is not on a disk. It booted without \
             seeing its own boot disk (on 6.5 typically because a driver such as vmw_ahci hides it). Nothing was changed. Give the boot \
             disk a controller that the host can see (IDE, for a nested host), reboot, check `ls -l /bootbank`, and run this again; \
             --allow-unsaved applies the playbook all the same"
        )
    }

    async fn barrier(&mut self, def: &StepDef, name: &str, barrier: &Barrier) -> Result<(), HostError> {
        let Barrier::Reboot { always, timeout } = barrier;
        let started = Instant::now();
        let needed = *always || !self.reboot_reasons.is_empty();
        let change = ChangeShown { summary: "reboot".into(), before: "running".into(), after: "rebooted".into() };
        let status = match (needed, self.ctx.options.mode) {
            (false, _) => Status::Ok,
            (true, Mode::Apply) => {
                if *always && self.reboot_reasons.is_empty() {
                    self.reboot_reasons.push(name.to_owned());
                }
                self.save().await?;
                self.reboot_if_asked(Some(*timeout)).await?;
                Status::Changed
            }
            (true, _) => {
                self.reboot_reasons.clear();
                Status::WouldChange
            }
        };
        let changes = if needed { vec![change] } else { Vec::new() };
        self.emit_step(
            def.number,
            def.kind.name,
            name.to_owned(),
            status,
            changes,
            started.elapsed().as_secs_f64(),
            None,
            None,
        );
        Ok(())
    }

    /// Reboots if anything asked for it and the playbook does not forbid it, then proves what waited for it.
    async fn reboot_if_asked(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        if self.reboot_reasons.is_empty() || (self.ctx.playbook.reboot == RebootPolicy::Never && timeout.is_none()) {
            return Ok(());
        }
        if self.ctx.options.no_reboot {
            return Ok(());
        }
        let reasons = std::mem::take(&mut self.reboot_reasons);
        self.reboot(&reasons, timeout.unwrap_or(self.ctx.options.reboot_timeout)).await?;
        self.result.reboots += 1;
        self.generation += 1;
        self.dirty = false;
        for waiting in std::mem::take(&mut self.waiting) {
            let left = self.look(waiting.step.as_ref()).await?;
            let error = match left {
                Ok(left) if left.is_empty() => continue,
                Ok(left) => {
                    let lines: Vec<String> = left
                        .iter()
                        .map(|c| format!("{}: is {:?}, wanted {:?}", c.summary, c.before, c.after))
                        .collect();
                    format!("after the reboot it differs again: {}", lines.join("; "))
                }
                Err(error) => format!("after the reboot, looking again: {error}"),
            };
            // It was counted as changed when its commands ran.
            self.result.changed = self.result.changed.saturating_sub(1);
            self.emit_step(
                waiting.number,
                waiting.kind,
                waiting.name,
                Status::Failed,
                Vec::new(),
                0.0,
                Some(error),
                None,
            );
            return Err(HostError::StepFailed);
        }
        Ok(())
    }

    fn register(&mut self, def: &StepDef, state: Value, more: Value) {
        let Some(name) = &def.register else { return };
        let mut value = state;
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        self.registered.insert(name.clone(), value);
    }

    pub(super) fn note(&self, text: String) {
        self.ctx.emit(EventKind::Note { host: Some(self.host.name.clone()), text });
    }

    pub(super) fn phase(&self, doing: impl Into<String>) {
        self.ctx.emit(EventKind::Phase {
            host: self.host.name.clone(),
            doing: doing.into(),
            position: None,
            length: None,
        });
    }

    #[allow(clippy::too_many_arguments)] // one event, one call: a struct would only repeat StepEvent
    fn emit_step(
        &mut self,
        step: usize,
        kind: &str,
        name: String,
        status: Status,
        changes: Vec<ChangeShown>,
        seconds: f64,
        error: Option<String>,
        note: Option<String>,
    ) {
        let count = match status {
            Status::Ok => &mut self.result.ok,
            Status::Changed | Status::WouldChange => &mut self.result.changed,
            Status::Skipped => &mut self.result.skipped,
            Status::Failed => &mut self.result.failed,
        };
        *count += 1;
        let host = self.host.name.clone();
        self.ctx.emit(EventKind::Step(StepEvent {
            host,
            step,
            kind: kind.to_owned(),
            name,
            status,
            changes,
            seconds,
            error,
            note,
        }));
    }
}

/// What a step came to.
#[derive(Default)]
struct Done {
    changes: Vec<Change>,
    notes: Vec<String>,
    registered: Value,
    waits: bool,
    nothing_changed: bool,
}

/// Why a try failed.
struct Failed {
    error: String,
    changes: Vec<Change>,
}

fn shown(changes: &[Change]) -> Vec<ChangeShown> {
    changes
        .iter()
        .map(|c| ChangeShown { summary: c.summary.clone(), before: c.before.clone(), after: c.after.clone() })
        .collect()
}

/// The longest run of steps of which none needs a value that another one in it registers: they read together.
fn next_segment<'a>(queue: &mut VecDeque<&'a StepDef>) -> Vec<&'a StepDef> {
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
