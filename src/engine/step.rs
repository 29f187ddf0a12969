//! One step on one host: compare, act, verify, expect, register.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::act::Acted;
use super::events::{ChangeShown, EventKind, Status, StepEvent};
use super::host::{HostError, HostRun};
use super::observe::Coming;
use super::run::Mode;
use crate::esxi::{Command, Output, Outputs};
use crate::playbook::{Bound, StepDef};
use crate::steps::{Change, Seen, Step};

/// How a step ended, for the report.
#[derive(Default)]
pub(super) struct Ended {
    pub status: Option<Status>,
    pub changes: Vec<ChangeShown>,
    pub seconds: f64,
    pub error: Option<String>,
    pub note: Option<String>,
}

impl Ended {
    pub fn failed(error: String) -> Self {
        Self { status: Some(Status::Failed), error: Some(error), ..Self::default() }
    }

    pub fn skipped(reason: String) -> Self {
        Self { status: Some(Status::Skipped), note: Some(reason), ..Self::default() }
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

/// What still differs, as an error says it.
pub(super) fn differing<'a>(changes: impl IntoIterator<Item = &'a Change>) -> String {
    let line = |c: &Change| format!("{}: is {:?}, wanted {:?}", c.summary, c.before, c.after);
    changes.into_iter().map(line).collect::<Vec<_>>().join("; ")
}

impl HostRun {
    /// One bound step: compare, act, verify, expect, register; tried again as often as it says.
    /// What has to be read for it is read together with what the steps that are `coming` need.
    pub(super) async fn step(&mut self, def: &StepDef, bound: Bound, coming: &[Coming<'_>]) -> Result<(), HostError> {
        let started = Instant::now();
        let resumed = self.resumed(def, &bound);
        let Bound { name, what, expect } = bound;
        let (number, kind) = (def.number, def.kind.name);
        let left_out = |run: &mut Self, reason: String| {
            run.register(def, Status::Skipped, Value::Null);
            run.ended(number, kind, &name, Ended::skipped(reason));
        };
        if !self.ctx.options.selected(&def.tags) {
            left_out(self, "left out by tags".to_owned());
            return Ok(());
        }
        let step = match what {
            Ok(step) => step,
            Err(reason) => {
                left_out(self, reason);
                return Ok(());
            }
        };
        if let Some(already) = resumed {
            left_out(self, already);
            return Ok(());
        }
        self.ctx.interrupted()?;
        if let Some(barrier) = step.barrier() {
            let ended = self.barrier(&name, &barrier).await?;
            self.ended(number, kind, &name, ended);
            return Ok(());
        }
        if self.ctx.options.mode == Mode::Verify && !step.verifiable() {
            left_out(self, "not judged: reading cannot show whether it was done".to_owned());
            return Ok(());
        }
        // A limit or another try is for the step's own commands.
        let coming = if def.retries > 0 || def.timeout.is_some() { &[] } else { coming };
        let mut tries = def.retries;
        loop {
            self.session.limit_commands(def.timeout);
            let tried = self.attempt(step.as_ref(), &expect, coming).await;
            self.session.limit_commands(None);
            match tried? {
                Ok(done) => {
                    let status = match (done.changes.is_empty() || done.nothing_changed, self.ctx.options.mode) {
                        (true, _) => Status::Ok,
                        (false, Mode::Apply) => Status::Changed,
                        (false, _) => Status::WouldChange,
                    };
                    self.register(def, status, done.registered);
                    if done.waits && step.verifiable() && self.ctx.options.mode == Mode::Apply {
                        self.waiting.push(Waiting { step, number, kind, name: name.clone() });
                    }
                    let changes = if status == Status::Ok { Vec::new() } else { shown(&done.changes) };
                    let (note, seconds) = (Some(done.notes.join("; ")), started.elapsed().as_secs_f64());
                    self.ended(
                        number,
                        kind,
                        &name,
                        Ended { status: Some(status), changes, seconds, note, error: None },
                    );
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
                    left_out(self, format!("cannot be told before the changes above are made: {}", failed.error));
                    return Ok(());
                }
                Err(failed) => {
                    let seconds = started.elapsed().as_secs_f64();
                    let changes = shown(&failed.changes);
                    self.ended(number, kind, &name, Ended { changes, seconds, ..Ended::failed(failed.error) });
                    return Err(HostError::StepFailed);
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

    /// One try of a step.
    async fn attempt(
        &mut self,
        step: &dyn Step,
        expect: &[Box<dyn Step>],
        coming: &[Coming<'_>],
    ) -> Result<Result<Done, Failed>, HostError> {
        let changes = match self.look_ahead(step, coming).await? {
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
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        let seen = Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts };
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
            self.forget(step);
        }
        if step.verifiable() && !step.proved_by_reboot() && acts {
            let left =
                self.look(step).await?.map_err(|e| Acted::Failed(format!("after the change, looking again: {e}")))?;
            let still: Vec<&Change> = left.iter().filter(|c| !(c.actions.is_empty() && c.effect.reboot)).collect();
            if !still.is_empty() {
                return Err(Acted::Failed(format!(
                    "the commands ran, but reading again shows that it still differs: {}",
                    differing(still)
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
        let count = match status {
            Status::Ok => &mut self.result.ok,
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
        }));
    }
}
