//! The first round trip with a host: who it is. What the first steps will probably read of it, judging by what it was
//! like at the last run, is asked for along with that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::events::EventKind;
use super::host::{AGENT_PAUSE, HostError, HostRun, next_segment};
use super::identify::Identify;
use super::observe::Coming;
use super::run::Context;
use super::session::Session;
use crate::esxi::{Command, HostFacts, Output, Outputs};
use crate::inventory::Host;
use crate::playbook::StepDef;

/// The outputs of commands.
type Along = (Vec<Command>, Vec<Output>);

impl HostRun {
    /// Identifies the host. One that is not ESXi, or not of a line that the playbook is for, ends here.
    pub(super) async fn identify(
        ctx: Arc<Context>,
        host: Host,
        mut session: Session,
    ) -> Result<Self, (HostError, Session)> {
        let state = ctx.remembers();
        let (address, port) = (host.target.address.clone(), host.target.port);
        let mut likely = Vec::new();
        if let Some(known) = state.as_ref().and_then(|state| state.known(&address, port)) {
            let guess = Self::new(ctx.clone(), host.clone(), session, known);
            likely = guess.likely_reads().await;
            session = guess.session;
        }
        let identify = Identify::default();
        let asked = Self::ask(&ctx, &mut session, &identify, identify.commands(), Outputs::default(), likely).await;
        let (facts, (commands, outputs)) = match asked {
            Ok(asked) => asked,
            Err(error) => return Err((error, session)),
        };
        ctx.emit(EventKind::HostConnected {
            host: host.name.clone(),
            version: facts.version.to_string(),
            build: facts.build,
        });
        if !ctx.is_for(&facts) {
            let error = HostError::Stopped(format!(
                "this host runs ESXi {} and the playbook is made for {} (its key `esxi`). Nothing was changed",
                facts.version,
                ctx.playbook.esxi.join(", ")
            ));
            return Err((error, session));
        }
        if let Some(state) = state {
            state.keep_known(&address, port, &facts);
        }
        let mut run = Self::new(ctx, host, session, facts);
        run.noted_along(commands, outputs);
        Ok(run)
    }

    /// What the first steps will read, if the host is as it is taken to be. A wrong guess costs a read; what is missing
    /// is read later. Nothing is sent that carries a secret: the host is not identified yet.
    async fn likely_reads(&self) -> Vec<Command> {
        if !self.ctx.is_for(&self.facts) {
            return Vec::new();
        }
        let mut queue: VecDeque<&StepDef> = self.ctx.playbook.steps.iter().collect();
        let mut coming = Vec::new();
        for def in next_segment(&mut queue) {
            // The same error comes again when it counts.
            let bound = self.would_bind(def).unwrap_or_default();
            coming.extend(bound.into_iter().map(|bound| Coming::new(def, bound)));
        }
        let mut likely = self.unknown(self.foresee(None, &coming).await);
        let identify = Identify::default().commands();
        likely.retain(|c| !c.is_secret() && !identify.iter().any(|known| known.text() == c.text()));
        likely
    }

    /// The facts after a reboot, of which this host summary proved that it was one.
    pub(super) async fn facts_again(&mut self, summary: Output) -> Result<HostFacts, HostError> {
        let identify = Identify::default();
        let mut seen = Outputs::default();
        seen.insert(&Identify::summary(), summary);
        let commands = identify.after_reboot();
        let asked = Self::ask(&self.ctx, &mut self.session, &identify, commands, seen, Vec::new()).await?;
        Ok(asked.0)
    }

    /// Identifies the host; waits for a management agent that is still starting. `along` is read in the same round trip,
    /// and its outputs are given if the agent was there then.
    async fn ask(
        ctx: &Context,
        session: &mut Session,
        identify: &Identify,
        mut commands: Vec<Command>,
        mut seen: Outputs,
        mut along: Vec<Command>,
    ) -> Result<(HostFacts, Along), HostError> {
        let deadline = Instant::now() + ctx.options.agent_timeout;
        let mut pause = Duration::from_millis(500);
        loop {
            let all = [commands.as_slice(), along.as_slice()].concat();
            let mut outputs = session.read(&all, &mut |_| {}).await?;
            let more = outputs.split_off(commands.len().min(outputs.len()));
            for (command, output) in commands.iter().zip(outputs) {
                seen.insert(command, output);
            }
            let facts = identify.facts(&seen).map_err(|e| HostError::Stopped(e.to_string()))?;
            if !identify.hostd_down(&seen) {
                return Ok((facts, (along, more)));
            }
            if Instant::now() >= deadline {
                return Err(HostError::Stopped(format!(
                    "SSH answers, but the management agent (hostd) did not within {} s. See /var/log/hostd.log on the host; \
                     `/etc/init.d/hostd restart` starts it again",
                    ctx.options.agent_timeout.as_secs()
                )));
            }
            ctx.pause(pause).await?;
            pause = (pause * 2).min(AGENT_PAUSE);
            // What does not come from hostd is known.
            commands = identify.of_hostd();
            along = Vec::new();
        }
    }
}
