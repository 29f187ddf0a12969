//! Reading: one round trip for all that is not known, and comparing with it.

use super::events::EventKind;
use super::host::{HostError, HostRun};
use crate::esxi::{Command, Outputs};
use crate::playbook::{Bound, StepDef};
use crate::steps::{Change, Seen, Step, StepError};
use crate::transport::TransportError;

impl HostRun {
    /// Binds the steps of a segment, and reads in one round trip what they need and is not known.
    pub(super) async fn observe_segment<'d>(
        &mut self,
        segment: Vec<&'d StepDef>,
    ) -> Result<Vec<(&'d StepDef, Vec<Bound>)>, HostError> {
        let mut reads = Vec::new();
        let mut inputs = Vec::new();
        let mut steps = Vec::with_capacity(segment.len());
        for def in segment {
            let bound = self.bind(def)?;
            if self.ctx.options.selected(&def.tags) {
                for bound in &bound {
                    if let Ok(step) = &bound.what {
                        reads.extend(step.reads(&self.facts).into_iter().map(|c| def.limited(c)));
                        inputs.extend(step.inputs());
                        reads.extend(bound.expect.iter().flat_map(|e| e.reads(&self.facts)));
                    }
                }
            }
            steps.push((def, bound));
        }
        self.ctx.artifacts.prepare(&inputs, &self.ctx, &self.host.name).await.map_err(HostError::Stopped)?;
        self.observe(reads).await?;
        Ok(steps)
    }

    /// Reads what is not fresh among these commands. A lost connection is opened again once: reads change nothing.
    pub(super) async fn observe(&mut self, commands: Vec<Command>) -> Result<(), HostError> {
        let mut wanted: Vec<Command> = Vec::new();
        for command in commands {
            if self.observed.get(&command).is_none() && !wanted.iter().any(|w| w.text() == command.text()) {
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
            self.observed.insert(command, output);
        }
        Ok(())
    }

    /// Forgets what a step's changes may have altered: its own reads, and what it says that it influences.
    pub(super) fn forget(&mut self, step: &dyn Step) {
        match step.influences() {
            None => self.observed = Outputs::default(),
            Some(beginnings) => {
                let own = step.reads(&self.facts);
                self.observed.retain(|text| {
                    // Only plain esxcli commands have known subjects; a shell command may read anything.
                    let plain = text.starts_with("esxcli ") && !text.contains(['|', ';', '&', '$', '`', '\n', '<']);
                    plain && !own.iter().any(|c| c.text() == text) && !beginnings.iter().any(|b| text.starts_with(b))
                });
            }
        }
    }

    /// Reads again what is older than the last change, and compares.
    pub(super) async fn look(&mut self, step: &dyn Step) -> Result<Result<Vec<Change>, StepError>, HostError> {
        let reads = step.reads(&self.facts);
        self.observe(reads.clone()).await?;
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        Ok(step.compare(&Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts }))
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
