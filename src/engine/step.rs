//! One step on one host: compare, act, verify, expect, register.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::act::Acted;
use super::ahead::{Ahead, Planned};
use super::events::{ChangeShown, ControlVerdict, EventKind, Status, StepEvent};
use super::host::{HostError, HostRun};
use super::observe::Coming;
use super::run::Mode;
use crate::esxi::{Command, Output, Outputs};
use crate::playbook::{Bound, StepDef};
use crate::steps::{Action, Change, Seen, Step, StepError};

/// How a step ended, for the report.
#[derive(Default)]
pub(super) struct Ended {
    pub status: Option<Status>,
    pub changes: Vec<ChangeShown>,
    pub seconds: f64,
    pub error: Option<String>,
    pub note: Option<String>,
    /// What it says of its control; nothing when the step took no part in the run.
    pub verdict: Option<ControlVerdict>,
    /// It is configured and counts from the next boot on.
    pub pending_reboot: bool,
}

impl Ended {
    pub fn failed(error: String) -> Self {
        Self {
            status: Some(Status::Failed),
            error: Some(error),
            verdict: Some(ControlVerdict::Fail),
            ..Self::default()
        }
    }

    pub fn skipped(reason: String) -> Self {
        Self { status: Some(Status::Skipped), note: Some(reason), ..Self::default() }
    }

    fn judged(self, verdict: ControlVerdict) -> Self {
        Self { verdict: Some(verdict), ..self }
    }
}

/// A step that waits for the reboot to be proved.
pub(super) struct Waiting {
    pub step: Box<dyn Step>,
    pub number: usize,
    pub kind: &'static str,
    pub name: String,
}

/// What a step came to.
#[derive(Default)]
struct Done {
    changes: Vec<Change>,
    notes: Vec<String>,
    registered: Value,
    waits: bool,
    nothing_changed: bool,
    /// What is left for a person to judge after the changes.
    unjudged: Option<String>,
}

/// Why a try failed.
struct Failed {
    error: String,
    changes: Vec<Change>,
    /// Nothing was found out about the step's state: no more than "not judged".
    unseen: bool,
}

impl Failed {
    fn after(error: String, changes: Vec<Change>) -> Self {
        Self { error, changes, unseen: false }
    }
}

/// Whose try it is.
struct About<'a> {
    number: usize,
    kind: &'a str,
    name: &'a str,
    /// What differs is changed.
    acts: bool,
    /// What differs is to be changed, now or by another run; if not, it is a finding.
    fix: bool,
    /// Later steps may use what it found.
    registers: bool,
}

/// How a try ended that is no failure.
enum Tried {
    Done(Done),
    /// The step has no meaning on this host, or cannot tell.
    Aside(ControlVerdict, String),
}

fn shown_change(change: &Change) -> ChangeShown {
    let command = |action: &Action| match action {
        Action::Run(command) => vec![command.shown().to_owned()],
        Action::Upload { path, .. } => vec![format!("(upload) {path}")],
        Action::Detached(detached) => detached.commands.iter().map(|c| c.shown().to_owned()).collect(),
    };
    ChangeShown {
        summary: change.summary.clone(),
        before: change.before.clone(),
        after: change.after.clone(),
        commands: change.actions.iter().flat_map(command).collect(),
        by_hand: change.by_hand.clone(),
        undo: None,
    }
}

fn shown(changes: &[Change]) -> Vec<ChangeShown> {
    changes.iter().map(shown_change).collect()
}

/// What still differs, as an error says it.
pub(super) fn differing<'a>(changes: impl IntoIterator<Item = &'a Change>) -> String {
    let line = |c: &Change| format!("{}: is {:?}, wanted {:?}", c.summary, c.before, c.after);
    changes.into_iter().map(line).collect::<Vec<_>>().join("; ")
}

impl HostRun {
    /// One bound step: compare, act, verify, expect, register; tried again as often as it says.
    /// What has to be read for it is read together with what the steps that are `coming` need.
    pub(super) async fn step(&mut self, next: Coming<'_>, coming: &[Coming<'_>]) -> Result<(), HostError> {
        let started = Instant::now();
        let Coming { def, bound, mut planned } = next;
        let resumed = self.resumed(def, &bound);
        let Bound { name, what, expect, fix } = bound;
        let (number, kind) = (def.number, def.kind.name);
        let left_out = |run: &mut Self, reason: String, verdict: Option<ControlVerdict>| {
            run.register(def, Status::Skipped, Value::Null);
            run.ended(number, kind, &name, Ended { verdict, ..Ended::skipped(reason) });
        };
        if !self.ctx.options.selected(&def.tags) {
            left_out(self, "left out by tags".to_owned(), None);
            return Ok(());
        }
        let step = match what {
            Ok(step) => step,
            Err(reason) => {
                left_out(self, reason, Some(ControlVerdict::NotApplicable));
                return Ok(());
            }
        };
        if let Some(already) = resumed {
            left_out(self, already, Some(ControlVerdict::NotJudged));
            return Ok(());
        }
        let ahead = planned.as_ref().and_then(|planned| planned.ahead.as_ref()).map_or(0.0, Ahead::seconds);
        // What was made ahead is reported, whatever the user wants now.
        if planned.as_ref().is_none_or(|planned| planned.ahead.is_none()) {
            self.ctx.interrupted()?;
        }
        if let Some(barrier) = step.barrier() {
            let ended = self.barrier(&name, &barrier).await?;
            self.ended(number, kind, &name, ended);
            return Ok(());
        }
        if self.ctx.options.mode == Mode::Verify && !step.verifiable() {
            let reason = "not judged: reading cannot show whether it was done".to_owned();
            left_out(self, reason, Some(ControlVerdict::NotJudged));
            return Ok(());
        }
        let waived = self.waived(def);
        // A limit or another try is for the step's own commands.
        let coming = if def.retries > 0 || def.timeout.is_some() { &[] } else { coming };
        let mut tries = def.retries;
        loop {
            self.session.limit_commands(def.timeout);
            let acts = self.ctx.options.mode == Mode::Apply && waived.is_none() && fix;
            let registers = def.register.is_some();
            let about = About { number, kind, name: &name, acts, fix, registers };
            let tried = self.attempt(step.as_ref(), &expect, coming, &about, planned.take()).await;
            self.session.limit_commands(None);
            match tried? {
                Ok(Tried::Aside(verdict, why)) => {
                    // A step that is no control asks for nothing where it has no meaning.
                    match (verdict, def.id.is_some()) {
                        (ControlVerdict::NotApplicable, false) => {
                            self.register(def, Status::Ok, Value::Null);
                            self.ended(number, kind, &name, Ended { note: Some(why), ..Ended::default() });
                        }
                        _ => left_out(self, why, Some(verdict)),
                    }
                    return Ok(());
                }
                Ok(Tried::Done(mut done)) => {
                    let nothing = done.changes.is_empty() || (done.nothing_changed && acts);
                    let differs = !nothing;
                    let status = match (differs, waived) {
                        (false, _) => Status::Ok,
                        (true, Some(why)) => {
                            done.notes.push(why);
                            Status::Skipped
                        }
                        (true, None) if acts && done.changes.iter().any(|c| c.by_hand.is_none()) => Status::Changed,
                        (true, None) => Status::WouldChange,
                    };
                    self.register(def, status, done.registered);
                    let left = |c: &Change| c.by_hand.is_some() || !acts;
                    let by_hand = done.changes.iter().any(|c| c.by_hand.is_some());
                    let waits = (acts && done.waits) || done.changes.iter().all(Change::waits);
                    let pending_reboot = differs && waits && !by_hand;
                    let fails = differs && (pending_reboot || done.changes.iter().any(left));
                    if done.waits && step.verifiable() && acts {
                        self.waiting.push(Waiting { step, number, kind, name: name.clone() });
                    }
                    let ended = Ended {
                        status: Some(status),
                        changes: if differs { shown(&done.changes) } else { Vec::new() },
                        seconds: ahead + started.elapsed().as_secs_f64(),
                        note: Some(done.notes.join("; ")),
                        error: None,
                        verdict: Some(match (fails, done.unjudged) {
                            (true, _) => ControlVerdict::Fail,
                            (false, Some(_)) => ControlVerdict::NotJudged,
                            (false, None) => ControlVerdict::Pass,
                        }),
                        pending_reboot,
                    };
                    self.ended(number, kind, &name, ended);
                    return Ok(());
                }
                Err(failed) if tries > 0 => {
                    let first = failed.error.lines().next().unwrap_or("");
                    self.note(format!("{name}: {first}; trying again ({tries} left)"));
                    tries -= 1;
                    self.observed = Outputs::default();
                    self.ctx.pause(def.delay).await?;
                }
                // With nothing made, a step may look at a host on which what it builds on is not there yet.
                Err(failed) if self.ctx.options.mode == Mode::Check && self.result.changed > 0 => {
                    let reason = format!("cannot be told before the changes above are made: {}", failed.error);
                    left_out(self, reason, Some(ControlVerdict::NotJudged));
                    return Ok(());
                }
                Err(failed) => {
                    let seconds = ahead + started.elapsed().as_secs_f64();
                    let changes = shown(&failed.changes);
                    let verdict = if failed.unseen { ControlVerdict::NotJudged } else { ControlVerdict::Fail };
                    let ended = Ended { changes, seconds, ..Ended::failed(failed.error).judged(verdict) };
                    self.ended(number, kind, &name, ended);
                    // One control in trouble is no reason not to judge the others.
                    return if def.id.is_some() { Ok(()) } else { Err(HostError::StepFailed) };
                }
            }
        }
    }

    /// Why a step need not be done: the run that this one resumes did it. A value that later steps use must be read
    /// again.
    pub(super) fn resumed(&self, def: &StepDef, bound: &Bound) -> Option<String> {
        if def.register.is_some() {
            return None;
        }
        self.ctx.resumed(&self.host.name, def.number, &bound.name)
    }

    /// Why a control is not changed on this host although it may differ.
    pub(super) fn waived(&self, def: &StepDef) -> Option<String> {
        let waiver = super::controls::waiver(&self.ctx.playbook.waivers, def.id.as_deref()?, &self.host.name)?;
        let valid = !waiver.expired(&self.ctx.today);
        valid.then(|| format!("waived until {}: {}", waiver.until, waiver.reason))
    }

    /// One try of a step.
    async fn attempt(
        &mut self,
        step: &dyn Step,
        expect: &[Box<dyn Step>],
        coming: &[Coming<'_>],
        about: &About<'_>,
        planned: Option<Planned>,
    ) -> Result<Result<Tried, Failed>, HostError> {
        let (compared, mut ahead) = match planned {
            Some(planned) => (planned.compared, planned.ahead),
            None => (self.look_ahead(step, coming).await?, None),
        };
        let changes = match compared {
            Ok(changes) => changes,
            Err(error @ StepError::NotApplicable(_)) => {
                return Ok(Ok(Tried::Aside(ControlVerdict::NotApplicable, error.to_string())));
            }
            Err(error @ StepError::NotJudged(_)) => {
                return Ok(Ok(Tried::Aside(ControlVerdict::NotJudged, error.to_string())));
            }
            Err(error) => {
                // A refusal or an expectation that does not hold has looked; an answer that cannot be read has not.
                let unseen = matches!(error, StepError::Command { .. } | StepError::Unreadable { .. });
                return Ok(Err(Failed { error: error.to_string(), changes: Vec::new(), unseen }));
            }
        };
        let mut done = Done { changes, ..Done::default() };
        if !about.fix {
            for change in done.changes.iter_mut().filter(|c| c.by_hand.is_none()) {
                change.actions.clear();
                change.effect.reboot = false;
                change.by_hand = Some("left as it is, since the step's `fix` is false".to_owned());
            }
        }
        let mut ran = Vec::new();
        let makes = done.changes.iter().any(|c| c.by_hand.is_none());
        if makes && about.acts {
            if ahead.is_none() {
                self.announce(about.number, about.kind, about.name, &done.changes);
                self.ctx.journalled().await;
            }
            match self.make(step, &mut done, &mut ran, ahead.as_mut()).await {
                Ok(()) => {}
                Err(Acted::Failed(error)) => return Ok(Err(Failed::after(error, done.changes))),
                Err(Acted::Host(error)) => return Err(error),
            }
        } else if self.ctx.options.mode != Mode::Apply && done.changes.iter().any(|c| c.effect.reboot) {
            self.reboot_reasons.push(step.summary());
            let waits = done.changes.iter().all(Change::waits);
            done.notes.push(if waits { "configured, waits for a reboot" } else { "needs a reboot" }.to_owned());
        }
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        let seen = Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts };
        if about.registers {
            done.registered = step.register(&seen, &ran);
        }
        if self.ctx.options.mode == Mode::Apply || done.changes.is_empty() {
            for check in expect {
                if let Err(error) = self.look(check.as_ref()).await? {
                    return Ok(Err(Failed::after(format!("expected after the step: {error}"), done.changes)));
                }
            }
        }
        Ok(Ok(Tried::Done(done)))
    }

    /// Says what will be changed and what takes it back. The journal must have it before anything is changed.
    pub(super) fn announce(&self, step: usize, kind: &str, name: &str, changes: &[Change]) {
        let made: Vec<ChangeShown> = changes
            .iter()
            .filter(|change| !change.actions.is_empty())
            .map(|change| ChangeShown { undo: change.undo.clone(), ..shown_change(change) })
            .collect();
        if made.is_empty() {
            return;
        }
        self.ctx.emit(EventKind::Making {
            host: self.host.name.clone(),
            step,
            kind: kind.to_owned(),
            name: name.to_owned(),
            changes: made,
        });
    }

    /// Acts, then reads again: what still differs is a failure, what only waits for the reboot is not.
    async fn make(
        &mut self,
        step: &dyn Step,
        done: &mut Done,
        ran: &mut Vec<(Command, Output)>,
        mut ahead: Option<&mut Ahead>,
    ) -> Result<(), Acted> {
        let acts = done.changes.iter().any(|c| !c.actions.is_empty());
        if acts && !self.facts.persistent && !self.ctx.options.allow_unsaved {
            return Err(Acted::Failed(self.forgetful()));
        }
        let mut reboot = false;
        let mut any_changed = false;
        for change in done.changes.iter().filter(|c| c.by_hand.is_none()) {
            let verdict = self.act(step, change, ran, ahead.as_deref_mut()).await?;
            reboot |= verdict.reboot || change.effect.reboot;
            done.notes.extend(verdict.note);
            any_changed |= verdict.changed != Some(false);
        }
        done.nothing_changed = !any_changed;
        if acts && !ahead.is_some_and(|ahead| ahead.read_again) {
            self.forget(step);
        }
        if step.verifiable() && !step.proved_by_reboot() && acts {
            let left = match self.look(step).await? {
                Ok(left) => left,
                // What could be changed is as wanted; the rest only a person can judge.
                Err(StepError::NotJudged(why)) => {
                    done.notes.push(why.clone());
                    done.unjudged = Some(why);
                    Vec::new()
                }
                Err(e) => return Err(Acted::Failed(format!("after the change, looking again: {e}"))),
            };
            let still: Vec<&Change> = left.iter().filter(|c| !c.waits() && c.by_hand.is_none()).collect();
            if !still.is_empty() {
                return Err(Acted::Failed(format!(
                    "the commands ran, but reading again shows that it still differs: {}",
                    differing(still)
                )));
            }
            reboot |= left.iter().any(Change::waits);
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

    fn register(&mut self, def: &StepDef, status: Status, more: Value) {
        let Some(name) = &def.register else { return };
        let changed = matches!(status, Status::Changed | Status::WouldChange);
        let mut value = json!({"changed": changed, "skipped": status == Status::Skipped, "failed": false});
        if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
            value.extend(more);
        }
        self.registered.insert(name.clone(), value);
    }

    /// Counts and reports a step's end.
    pub(super) fn ended(&mut self, step: usize, kind: &str, name: &str, ended: Ended) {
        let status = ended.status.unwrap_or(Status::Ok);
        let id = self.ctx.playbook.steps.get(step.wrapping_sub(1)).and_then(|def| def.id.clone());
        if let Some(id) = &id {
            self.controls.ended(id, step, name, &ended);
        }
        let left = ended.changes.iter().any(|c| c.by_hand.is_some());
        let apply = self.ctx.options.mode == Mode::Apply;
        self.result.by_hand += usize::from(apply && left && status != Status::Skipped);
        let count = match status {
            Status::Ok => &mut self.result.ok,
            // A finding for a person is counted by itself.
            Status::WouldChange if apply => &mut self.uncounted,
            Status::Changed | Status::WouldChange => &mut self.result.changed,
            Status::Skipped => &mut self.result.skipped,
            Status::Failed => &mut self.result.failed,
        };
        *count += 1;
        self.ctx.emit(EventKind::Step(StepEvent {
            host: self.host.name.clone(),
            step,
            kind: kind.to_owned(),
            name: name.to_owned(),
            status,
            changes: ended.changes,
            seconds: ended.seconds,
            error: ended.error,
            note: ended.note.filter(|n| !n.is_empty()),
            verdict: ended.verdict.filter(|_| id.is_some()),
            id,
        }));
    }
}
