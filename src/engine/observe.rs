//! Reading: one round trip for all that is not known and will be used, and comparing with it.
//!
//! An esxcli call costs about a second, so what is read is what counts: never what nobody looks at before it is stale.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ahead::Planned;
use super::host::{AGENT_PAUSE, HostError, HostRun};
use super::run::Mode;
use crate::esxi::failure::{Class, failure};
use crate::esxi::{Command, HostFacts, Output};
use crate::playbook::{Bound, StepDef};
use crate::steps::{Change, Seen, Step, StepError};
use crate::transport::TransportError;

/// A step that is bound and still to come.
pub(super) struct Coming<'d> {
    pub def: &'d StepDef,
    pub bound: Bound,
    /// What it came to, when that was found out already.
    pub planned: Option<Planned>,
}

impl<'d> Coming<'d> {
    pub fn new(def: &'d StepDef, bound: Bound) -> Self {
        Self { def, bound, planned: None }
    }
}

/// What the steps so far are expected to make stale.
#[derive(Default)]
pub(super) struct Altered {
    something: bool,
    everything: bool,
    beginnings: Vec<&'static str>,
}

impl Altered {
    pub fn by(&mut self, step: &dyn Step) {
        self.something = true;
        match step.influences() {
            None => self.everything = true,
            Some(beginnings) => self.beginnings.extend(beginnings),
        }
    }

    /// Whether the output of this command may be another one now. Only plain esxcli commands have known subjects; a
    /// shell command may read anything.
    pub fn reaches(&self, text: &str) -> bool {
        self.everything
            || !is_call_of(&["esxcli"], text) && self.something
            || self.beginnings.iter().any(|b| text.starts_with(b))
    }
}

/// One call of one of these programs, and nothing of the shell's around it.
pub(super) fn is_call_of(programs: &[&str], text: &str) -> bool {
    let begins = |program: &&str| text.strip_prefix(*program).is_some_and(|rest| rest.starts_with(' '));
    programs.iter().any(begins) && !text.contains(['|', ';', '&', '$', '`', '\n', '<', '>'])
}

/// What a step is expected to do.
#[derive(Default)]
struct Expected {
    /// It needs the reads that only planning needs.
    plans: bool,
    /// It changes the host.
    acts: bool,
}

/// The reads that show whether anything differs, and those that only planning a change needs.
pub(super) fn reads(step: &dyn Step, host: &HostFacts) -> (Vec<Command>, Vec<Command>) {
    let planning = step.only_to_plan(host);
    step.reads(host).into_iter().partition(|read| !planning.iter().any(|p| p.text() == read.text()))
}

/// Whether no change is left to be planned.
fn settled(compared: &Result<Vec<Change>, StepError>) -> bool {
    compared.as_ref().is_ok_and(|changes| changes.iter().all(Change::waits))
}

/// Whether the command got no further than to a hostd that does not answer: then it had no effect either.
pub(super) fn hostd_is_down(output: &Output) -> bool {
    failure(output).is_some_and(|failure| failure.class == Class::HostdDown)
}

impl HostRun {
    /// Binds the steps of a segment, and reads in one round trip what they need and is not known.
    pub(super) async fn observe_segment<'d>(
        &mut self,
        segment: Vec<&'d StepDef>,
    ) -> Result<Vec<Coming<'d>>, HostError> {
        let mut coming = Vec::with_capacity(segment.len());
        for def in segment {
            coming.extend(self.bind(def)?.into_iter().map(|bound| Coming::new(def, bound)));
        }
        let inputs: Vec<_> =
            coming.iter().filter_map(|next| self.takes_part(next)).flat_map(|step| step.inputs()).collect();
        self.ctx.artifacts.prepare(&inputs, &self.ctx, &self.host.name).await.map_err(HostError::Stopped)?;
        let reads = self.foresee(None, &coming).await;
        self.observe(reads).await?;
        self.follow(None, &coming).await?;
        Ok(coming)
    }

    /// The step, if this run has to do with it: its tags are chosen, it has a meaning on this host, and the run that this
    /// one resumes did not do it.
    pub(super) fn takes_part<'c>(&self, next: &'c Coming<'_>) -> Option<&'c dyn Step> {
        let Coming { def, bound, .. } = next;
        let step = bound.what.as_ref().ok()?.as_ref();
        (self.ctx.options.selected(&def.tags) && self.resumed(def, bound).is_none()).then_some(step)
    }

    /// Reads what only the outputs of the first reads tell, of `step` and of those that are coming, together, until
    /// nothing new is asked for.
    async fn follow(&mut self, step: Option<&dyn Step>, coming: &[Coming<'_>]) -> Result<(), HostError> {
        /// A read of a read of a read: no step needs more.
        const DEEPEST: usize = 4;
        for _ in 0..DEEPEST {
            let mut more: Vec<Command> = Vec::new();
            let others = coming.iter().filter_map(|next| self.takes_part(next));
            for step in step.into_iter().chain(others) {
                if reads(step, &self.facts).0.iter().any(|c| self.observed.get(c).is_none()) {
                    continue;
                }
                let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
                let seen = Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts };
                more.extend(step.more_reads(&seen).into_iter().filter(|c| self.observed.get(c).is_none()));
            }
            if more.is_empty() {
                break;
            }
            self.observe(more).await?;
        }
        Ok(())
    }

    /// What `step`, if one is given, and the steps after it will read, as far as it can be told now: up to the next
    /// reboot, and nothing that a change on the way there is expected to alter. What is expected may be wrong; then
    /// something is read once more or once too often, for a step compares only with what is not stale.
    pub(super) async fn foresee(&self, step: Option<&dyn Step>, coming: &[Coming<'_>]) -> Vec<Command> {
        let mut altered = Altered::default();
        if let Some(step) = step
            && self.expect(step).await.acts
        {
            altered.by(step);
        }
        let mut all: Vec<Command> = Vec::new();
        // Steps that close the way in run last.
        let closes = |c: &&Coming<'_>| c.bound.what.as_ref().is_ok_and(|s| s.ends_ssh());
        for next in coming.iter().filter(|c| !closes(c)).chain(coming.iter().filter(closes)) {
            let Coming { def, bound, .. } = next;
            let Some(step) = self.takes_part(next) else { continue };
            if step.barrier().is_some() && self.ctx.options.mode == Mode::Apply && !self.ctx.options.no_reboot {
                break;
            }
            if self.ctx.options.mode == Mode::Verify && !step.verifiable() {
                continue;
            }
            let expected = self.expect(step).await;
            let (shows, plans) = reads(step, &self.facts);
            let plans = plans.into_iter().filter(|_| expected.plans);
            all.extend(shows.into_iter().chain(plans).filter(|c| !altered.reaches(c.text())).map(|c| def.limited(c)));
            if expected.acts {
                altered.by(step);
            }
            let checks = bound.expect.iter().flat_map(|e| e.reads(&self.facts));
            all.extend(checks.filter(|c| !altered.reaches(c.text())));
            if altered.everything {
                break;
            }
        }
        all
    }

    /// What a step will do, judged by the last that was seen of the host, stale or not: only for choosing what to read.
    async fn expect(&self, step: &dyn Step) -> Expected {
        if reads(step, &self.facts).0.iter().any(|c| self.last_seen.get(c).is_none()) {
            return Expected::default();
        }
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        let compared = step.compare(&Seen { host: &self.facts, outputs: &self.last_seen, artifacts: &artifacts });
        let acts = match &compared {
            Ok(changes) => changes.iter().any(|c| !c.actions.is_empty()),
            Err(error) => matches!(error, StepError::NotRead { .. }),
        };
        Expected { plans: !settled(&compared), acts: acts && self.ctx.options.mode == Mode::Apply }
    }

    /// Reads together what shows whether any of these steps differs.
    pub(super) async fn observe_all<'s>(&mut self, steps: impl Iterator<Item = &'s dyn Step>) -> Result<(), HostError> {
        let all = steps.flat_map(|step| reads(step, &self.facts).0).collect();
        self.observe(all).await
    }

    /// Reads what is not fresh among these commands. A lost connection is opened again once: reads change nothing.
    pub(super) async fn observe(&mut self, commands: Vec<Command>) -> Result<(), HostError> {
        let wanted = self.unknown(commands);
        if wanted.is_empty() {
            return Ok(());
        }
        self.ctx.interrupted()?;
        let doing = match wanted.as_slice() {
            [one] => format!("reading `{one}`"),
            all => format!("reading {} outputs", all.len()),
        };
        let mut done = self.counted(doing, wanted.len());
        let mut outputs = match self.session.read(&wanted, &mut done).await {
            Err(TransportError::Lost { .. }) => {
                self.session.reopen(None).await?;
                self.session.read(&wanted, &mut done).await?
            }
            other => other?,
        };
        if outputs.iter().any(hostd_is_down) && self.hostd_is_back().await? {
            let missed = |(command, output): (&Command, &Output)| hostd_is_down(output).then(|| command.clone());
            let again: Vec<Command> = wanted.iter().zip(&outputs).filter_map(missed).collect();
            let mut answers = self.session.read(&again, &mut |_| {}).await?.into_iter();
            for output in outputs.iter_mut().filter(|output| hostd_is_down(output)) {
                if let Some(answer) = answers.next() {
                    *output = answer;
                }
            }
        }
        self.noted(&wanted, outputs);
        Ok(())
    }

    /// Those of these commands whose output is not known, each once.
    pub(super) fn unknown(&self, commands: Vec<Command>) -> Vec<Command> {
        let mut wanted: Vec<Command> = Vec::new();
        for command in commands {
            if self.observed.get(&command).is_none() && !wanted.iter().any(|w| w.text() == command.text()) {
                wanted.push(command);
            }
        }
        wanted
    }

    /// Keeps outputs that show the host as it is now.
    fn noted(&mut self, commands: &[Command], outputs: Vec<Output>) {
        for (command, output) in commands.iter().zip(outputs) {
            let output = Arc::new(output);
            self.last_seen.insert(command, output.clone());
            self.observed.insert(command, output);
        }
    }

    /// The same for what was read along with something else. Where hostd did not answer, it is read again when it is
    /// needed, and hostd waited for.
    pub(super) fn noted_along(&mut self, commands: Vec<Command>, outputs: Vec<Output>) {
        let answered = commands.into_iter().zip(outputs).filter(|(_, output)| !hostd_is_down(output));
        let (commands, outputs): (Vec<_>, Vec<_>) = answered.unzip();
        self.noted(&commands, outputs);
    }

    /// Waits for a management agent that restarts in the middle of the work, as long as for one that starts.
    pub(super) async fn hostd_is_back(&mut self) -> Result<bool, HostError> {
        let summary = super::identify::Identify::summary();
        let deadline = Instant::now() + self.ctx.options.agent_timeout;
        let mut pause = Duration::from_millis(250);
        while Instant::now() < deadline {
            self.phase("waiting for the management agent (hostd)");
            self.ctx.pause(pause).await?;
            pause = (pause * 2).min(AGENT_PAUSE);
            if !hostd_is_down(&self.session.run(&summary).await?) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets what a step's changes may have altered.
    pub(super) fn forget(&mut self, step: &dyn Step) {
        let mut altered = Altered::default();
        altered.by(step);
        self.observed.retain(|text| !altered.reaches(text));
    }

    /// Reads again what is older than the last change, and compares. Reads that only planning needs come second, when
    /// something differs.
    pub(super) async fn look(&mut self, step: &dyn Step) -> Result<Result<Vec<Change>, StepError>, HostError> {
        self.look_ahead(step, &[]).await
    }

    /// [`HostRun::look`]; whatever has to be read is read together with what the steps in `coming` will need.
    pub(super) async fn look_ahead(
        &mut self,
        step: &dyn Step,
        coming: &[Coming<'_>],
    ) -> Result<Result<Vec<Change>, StepError>, HostError> {
        let (shows, plans) = reads(step, &self.facts);
        self.read_ahead(step, shows, coming).await?;
        let compared = self.compare(step).await;
        if settled(&compared) || plans.is_empty() {
            return Ok(compared);
        }
        self.read_ahead(step, plans, coming).await?;
        Ok(self.compare(step).await)
    }

    async fn read_ahead(
        &mut self,
        step: &dyn Step,
        mut reads: Vec<Command>,
        coming: &[Coming<'_>],
    ) -> Result<(), HostError> {
        if reads.iter().all(|c| self.observed.get(c).is_some()) {
            return self.follow(Some(step), &[]).await;
        }
        if !coming.is_empty() {
            reads.extend(self.foresee(Some(step), coming).await);
        }
        self.observe(reads).await?;
        self.follow(Some(step), &[]).await
    }

    pub(super) async fn compare(&self, step: &dyn Step) -> Result<Vec<Change>, StepError> {
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        step.compare(&Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts })
    }

    /// Whether a step's state is what it wants now; `None` when it cannot be read.
    pub(super) async fn in_place(&mut self, step: &dyn Step) -> Option<bool> {
        self.forget(step);
        match self.look(step).await {
            Ok(Ok(changes)) => Some(changes.iter().all(|c| c.actions.is_empty())),
            _ => None,
        }
    }
}
