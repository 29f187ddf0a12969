//! Making one change: its actions in order, its cleanup whatever happens, and what a lost connection means.

use std::time::Duration;

use tokio::time::Instant;

use super::ahead::{Ahead, is_one_call};
use super::detached::{DetachedScript, Progress};
use super::down::Reason;
use super::events::{ChangeShown, EventKind};
use super::host::{HostError, HostRun};
use super::observe::hostd_is_down;
use crate::esxi::{Command, Output, Outputs};
use crate::playbook::OnRunningVms;
use crate::steps::{Action, Change, Detached, Source, Step, Undo, Verdict};
use crate::transport::{Payload, TransportError};

/// Why a change was not made.
pub(super) enum Acted {
    /// The step failed; the host can go on being used.
    Failed(String),
    /// Work on the host is over.
    Host(HostError),
}

impl From<HostError> for Acted {
    fn from(error: HostError) -> Self {
        Self::Host(error)
    }
}

impl HostRun {
    /// Makes one change.
    pub(super) async fn act(
        &mut self,
        step: &dyn Step,
        change: &Change,
        ran: &mut Vec<(Command, Output)>,
        ahead: Option<&mut Ahead>,
    ) -> Result<Verdict, Acted> {
        if change.effect.maintenance && !change.actions.is_empty() {
            self.enter_maintenance().await?;
        }
        let acted = self.actions(step, change, ran, ahead).await;
        let lost = matches!(
            &acted,
            Err(Acted::Host(HostError::Transport(error))) if !matches!(error, TransportError::NotRecorded { .. })
        );
        if lost && self.session.reopen(None).await.is_err() {
            return acted;
        }
        for command in &change.cleanup {
            // Best effort: the change's own result matters more than a file in a RAM disk.
            if let Err(error) = self.session.change(command).await {
                self.note(format!("could not clean up with `{command}`: {error}"));
            }
        }
        if let (true, Err(Acted::Host(error))) = (lost, &acted) {
            let there = match self.in_place(step).await {
                Some(true) => "Looked again over a new connection: the change is in place",
                Some(false) => "Looked again over a new connection: the change is not in place",
                None => "It could not be looked at again",
            };
            self.dirty = true;
            return Err(Acted::Failed(format!(
                "{error}, while making the change {:?}. {there}; run this again to go on",
                change.summary
            )));
        }
        acted
    }

    async fn actions(
        &mut self,
        step: &dyn Step,
        change: &Change,
        ran: &mut Vec<(Command, Output)>,
        mut ahead: Option<&mut Ahead>,
    ) -> Result<Verdict, Acted> {
        let mut all = Verdict::default();
        let mut any = false;
        for action in &change.actions {
            match action {
                Action::Run(command) => {
                    let output = match ahead.as_mut().and_then(|ahead| ahead.answers.pop_front()) {
                        // What was made ahead was counted as not saved then, and may be saved by now.
                        Some(answer) => answer,
                        None => {
                            self.phase(change.summary.clone());
                            self.dirty |= !change.effect.transient;
                            self.session.change(command).await
                        }
                    };
                    let mut output = output.map_err(transport)?;
                    // A call that found no hostd had no effect; of a line of several, others may have had.
                    if is_one_call(command) && hostd_is_down(&output) && self.hostd_is_back().await? {
                        self.dirty |= !change.effect.transient;
                        output = self.session.change(command).await.map_err(transport)?;
                        if let Some(ahead) = ahead.as_mut() {
                            ahead.read_again = false;
                        }
                    }
                    let verdict = step.judge(command, &output).map_err(|e| Acted::Failed(e.to_string()))?;
                    ran.push((command.clone(), output));
                    all.reboot |= verdict.reboot;
                    all.note = all.note.or(verdict.note);
                    // One action that changed something is a change, whatever the others say.
                    all.changed = if any { all.changed.filter(|c| !c).and(verdict.changed) } else { verdict.changed };
                    any = true;
                }
                Action::Upload { source, path, mode } => {
                    self.dirty |= !change.effect.transient;
                    self.upload(source, path, *mode).await?;
                }
                Action::Detached(detached) => self.detached(change, detached).await?,
            }
        }
        Ok(all)
    }

    async fn upload(&mut self, source: &Source, path: &str, mode: u32) -> Result<(), Acted> {
        let (payload, length) = match source {
            Source::Bytes(bytes) => (Payload::Bytes(bytes.clone()), bytes.len() as u64),
            Source::File(file) => {
                let length = match self.ctx.artifacts.size(file).await {
                    Some(length) => length,
                    None => std::fs::metadata(file)
                        .map(|m| m.len())
                        .map_err(|e| Acted::Failed(format!("cannot read {} on this machine: {e}", file.display())))?,
                };
                (Payload::File(file.clone()), length)
            }
        };
        let ctx = self.ctx.clone();
        let host = self.host.name.clone();
        let doing = format!("uploading {path}");
        let mut progress = move |sent| {
            ctx.emit(EventKind::Phase {
                host: host.clone(),
                doing: doing.clone(),
                position: Some(sent),
                length: Some(length),
            });
        };
        match self.session.upload(&payload, path, mode, &mut progress).await {
            Ok(()) => Ok(()),
            Err(error @ TransportError::Upload { .. }) => Err(Acted::Failed(error.to_string())),
            Err(error) => Err(transport(error)),
        }
    }

    /// A change that may cut the session: starts it, logs in again, confirms. Not confirmed = the host takes
    /// it back by itself.
    async fn detached(&mut self, change: &Change, detached: &Detached) -> Result<(), Acted> {
        let script = DetachedScript::new(detached, &self.unique());
        let before = self.session.target().address.clone();
        // A new address is where the host will be, unless we come in through a forwarded port.
        let after = match &detached.new_address {
            Some(new) if self.is_direct(&before).await => Some(new.clone()),
            _ => None,
        };
        self.phase(format!(
            "{} (detached, with a rollback after {} s)",
            change.summary,
            detached.confirm_within.as_secs()
        ));
        self.dirty = true;
        let started = self.session.change(&script.start()).await.map_err(transport)?;
        if started.code != 0 {
            return Err(Acted::Failed(format!("could not start the detached change: {}", started.stderr.trim())));
        }
        self.session.close().await;
        // The host needs time for the change and for taking it back: about a second a command.
        let limit = detached.confirm_within + Duration::from_secs(60);
        let deadline = Instant::now() + limit;
        let mut last = String::from("nothing answered");
        let mut addresses = vec![after.clone().unwrap_or_else(|| before.clone())];
        if after.is_some() {
            addresses.push(before.clone());
        }
        // Whoever refused us there (another host's address?) is not asked again: logins can be locked.
        let mut refused: Vec<String> = Vec::new();
        let mut why = None;
        // An interruption does not end this: the change is confirmed or taken back first.
        // The script sleeps a second before it begins: a login before that would see the old state.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        while Instant::now() < deadline {
            for address in addresses.iter().filter(|a| !refused.contains(a)).cloned().collect::<Vec<_>>() {
                if !self.session.listening(Some(&address), Duration::from_secs(2)).await {
                    continue;
                }
                match self.session.reopen(Some(&address)).await {
                    Ok(()) => {}
                    Err(error @ (TransportError::Refused { .. } | TransportError::HostKey { .. })) => {
                        last = error.to_string();
                        why = Some(last.clone());
                        refused.push(address);
                        continue;
                    }
                    Err(error) => {
                        last = error.to_string();
                        continue;
                    }
                }
                match self.session.run(&script.ask()).await {
                    Ok(answer) => match DetachedScript::progress(&answer.stdout) {
                        Progress::Made => return self.confirm(&script, detached, &address, why.as_deref()).await,
                        Progress::Confirmed => return Ok(()),
                        Progress::Failed(said) => {
                            let _ = self.session.change(&script.tidy()).await;
                            return Err(Acted::Failed(format!(
                                "the change failed on the host and was taken back: {said}"
                            )));
                        }
                        Progress::RolledBack => {
                            return Err(self.rolled_back(&script, detached, &before, why.as_deref()).await);
                        }
                        Progress::Unknown => {
                            return Err(Acted::Failed(
                                "the host has no trace of the change any more: it restarted meanwhile. Run this again"
                                    .into(),
                            ));
                        }
                        Progress::Running => last = format!("logged in at {address}, the change is still running"),
                    },
                    Err(error) => last = error.to_string(),
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err(Acted::Host(HostError::Stopped(format!(
            "after the change {:?} the host did not answer within {} s ({last}). It takes the change back by itself when nobody confirms; \
             if it stays away, look at its console (DCUI)",
            change.summary,
            limit.as_secs()
        ))))
    }

    /// Whether the address that we connect to is the host's own, with no port forwarding in between. A name is
    /// when it stands for the address at which the session came in, or is known only to a jump host.
    async fn is_direct(&self, address: &str) -> bool {
        let Some(own) = self.facts.session_address.as_deref() else { return false };
        let own = own.strip_prefix("::ffff:").unwrap_or(own);
        if address == own {
            return true;
        }
        if address.parse::<std::net::IpAddr>().is_ok() {
            return false;
        }
        self.session.addresses().await.is_none_or(|found| found.iter().any(|a| a.to_string() == own))
    }

    async fn confirm(
        &mut self,
        script: &DetachedScript,
        detached: &Detached,
        address: &str,
        why: Option<&str>,
    ) -> Result<(), Acted> {
        let answer = self.session.change(&script.confirm()).await.map_err(transport)?;
        match DetachedScript::progress(&answer.stdout) {
            Progress::Confirmed => {
                let _ = self.session.change(&script.tidy()).await;
                self.note(format!("logged in again at {address} and confirmed the change"));
                if detached.new_address.is_some() {
                    self.facts.session_address.clone_from(&detached.new_address);
                }
                Ok(())
            }
            _ => Err(self.rolled_back(script, detached, address, why).await),
        }
    }

    async fn rolled_back(
        &mut self,
        script: &DetachedScript,
        detached: &Detached,
        address: &str,
        why: Option<&str>,
    ) -> Acted {
        let _ = self.session.change(&script.tidy()).await;
        let wanted = detached.new_address.as_deref().unwrap_or(address);
        Acted::Failed(format!(
            "nobody could log in at {wanted} within {} s, so the host put the old state back{}. Check the VLAN, the uplink and the \
             address, and run this again",
            detached.confirm_within.as_secs(),
            why.map_or_else(String::new, |w| format!(" ({w})"))
        ))
    }

    /// Enters maintenance mode for a change that needs it, unless the host is in it.
    async fn enter_maintenance(&mut self) -> Result<(), Acted> {
        if self.entered_maintenance && self.facts.maintenance {
            return Ok(());
        }
        // A step may have entered or left it since the facts were read. Entered by one it is not ours to leave.
        let now = self.session.run(&Command::esxcli("system maintenanceMode get")).await.map_err(transport)?;
        if now.stdout.trim().eq_ignore_ascii_case("enabled") {
            self.facts.maintenance = true;
            return Ok(());
        }
        self.may_go_down().await?;
        self.empty_of_vms("enter maintenance mode").await?;
        self.phase("entering maintenance mode");
        // Whatever the step itself influences: this is seen in many places.
        self.observed = Outputs::default();
        let command = Command::esxcli("system maintenanceMode set -e true").timeout(self.ctx.options.reboot_timeout);
        // Whoever takes a killed run back, or goes on after one that was killed while the host rebooted, knows by this.
        self.ctx.emit(EventKind::Making {
            host: self.host.name.clone(),
            step: 0,
            kind: super::leftovers::MAINTENANCE_KIND.to_owned(),
            name: "maintenance mode for what needs it".to_owned(),
            changes: vec![ChangeShown {
                summary: "maintenance mode".into(),
                before: "off".into(),
                after: "on until the end".into(),
                commands: vec![command.shown().to_owned()],
                undo: Undo::step("maintenance", serde_json::json!({"enabled": false})),
                ..ChangeShown::default()
            }],
        });
        self.ctx.journalled().await;
        // Before it is entered: whatever ends this run from here on, the next one knows that leaving it is its business.
        let marker = Command::new("touch").arg(super::leftovers::MAINTENANCE);
        self.session.change(&marker).await.map_err(transport)?;
        self.goes_down(Reason::Maintenance);
        let output = self.session.change(&command).await.map_err(transport)?;
        if let Some(failure) = crate::esxi::failure::failure(&output) {
            self.is_back(Reason::Maintenance);
            let _ = self.session.change(&Command::new("rm -f").arg(super::leftovers::MAINTENANCE)).await;
            return Err(Acted::Failed(format!("`{command}` failed: {}", failure.said())));
        }
        self.facts.maintenance = true;
        self.entered_maintenance = true;
        Ok(())
    }

    /// Leaves the maintenance mode that esxprep entered.
    pub(super) async fn leave_maintenance(&mut self) -> Result<(), HostError> {
        let command = Command::esxcli("system maintenanceMode set -e false");
        let output = self.session.change(&command).await?;
        self.entered_maintenance = false;
        self.facts.maintenance = false;
        let _ = self.session.change(&Command::new("rm -f").arg(super::leftovers::MAINTENANCE)).await;
        match crate::esxi::failure::failure(&output) {
            // Leaving it twice is an error on some releases; out is out.
            Some(f) if !f.message.contains("already") => {
                Err(HostError::Stopped(format!("`{command}` failed: {}", f.said())))
            }
            _ => {
                self.is_back(Reason::Maintenance);
                Ok(())
            }
        }
    }

    /// The configuration files of the virtual machines that run now. An answer that cannot be read is not "none".
    async fn running_vms(&mut self) -> Result<Vec<String>, HostError> {
        let list = Command::esxcli("vm process list");
        let output = self.session.run(&list).await?;
        let unknown = |problem: String| {
            HostError::Stopped(format!(
                "`{list}` does not say which virtual machines run: {problem}. Nothing is switched off"
            ))
        };
        if let Some(failure) = crate::esxi::failure::failure(&output) {
            return Err(unknown(failure.message));
        }
        super::identify::of_running_vms(&output.stdout, "Config File").map_err(|error| unknown(error.to_string()))
    }

    /// Makes sure that no virtual machine runs, as the playbook's `on_running_vms` says.
    pub(super) async fn empty_of_vms(&mut self, wish: &str) -> Result<(), HostError> {
        let names = |files: &[String]| {
            files
                .iter()
                .filter_map(|f| f.rsplit('/').next())
                .map(|f| f.trim_end_matches(".vmx"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let mut now = self.running_vms().await?;
        if now.is_empty() {
            return Ok(());
        }
        let (verb, word) = match self.ctx.playbook.on_running_vms {
            OnRunningVms::Fail => {
                return Err(HostError::Stopped(format!(
                    "virtual machines run on this host: {}. To {wish} they must not. Shut them down, or set `on_running_vms: shutdown` \
                     or `suspend` in the playbook. The changes made so far stay and are saved",
                    names(&now)
                )));
            }
            OnRunningVms::Shutdown => (Command::new("vim-cmd vmsvc/power.shutdown"), "shutting down"),
            OnRunningVms::Suspend => (Command::new("vim-cmd vmsvc/power.suspend"), "suspending"),
        };
        let mut refused: Vec<(String, String)> = Vec::new();
        let inventory = self.session.run(&Command::new("vim-cmd vmsvc/getallvms")).await?.stdout;
        for file in &now {
            // `[datastore1] VM1/VM1.vmx` in the inventory is `/vmfs/volumes/<uuid>/VM1/VM1.vmx` in the process list.
            let tail: Vec<&str> = file.rsplitn(3, '/').take(2).collect();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("/");
            let id = inventory
                .lines()
                .find(|l| l.contains(&format!("] {tail}")))
                .and_then(|l| l.split_whitespace().next())
                .filter(|id| id.chars().all(|c| c.is_ascii_digit()));
            let Some(id) = id else {
                return Err(HostError::Stopped(format!(
                    "cannot find the virtual machine {file} in `vim-cmd vmsvc/getallvms`; power it off yourself"
                )));
            };
            let said = self.session.change(&verb.clone().arg(id)).await?;
            if let Some(failure) = crate::esxi::failure::failure(&said) {
                refused.push((file.clone(), failure.said()));
            }
        }
        if !refused.is_empty() {
            // One that went off by itself meanwhile refuses, too.
            now = self.running_vms().await?;
            refused.retain(|(file, _)| now.contains(file));
        }
        if let Some((file, message)) = refused.first() {
            return Err(HostError::Stopped(format!(
                "{word} the virtual machine {} failed: {message}. A guest without VMware Tools does not shut down on request; stop it \
                 yourself, or set `on_running_vms: suspend`. The changes made so far stay and are saved",
                names(std::slice::from_ref(file))
            )));
        }
        let deadline = Instant::now() + self.ctx.options.vm_timeout;
        let mut pause = Duration::from_millis(250);
        while !now.is_empty() {
            if Instant::now() > deadline {
                return Err(HostError::Stopped(format!(
                    "virtual machines still run after {} s of {word}: {}. A guest without VMware Tools does not shut down on request",
                    self.ctx.options.vm_timeout.as_secs(),
                    names(&now)
                )));
            }
            self.phase(format!("{word} {}", names(&now)));
            self.ctx.pause(pause).await?;
            pause = (pause * 2).min(Duration::from_secs(3));
            now = self.running_vms().await?;
        }
        Ok(())
    }
}

/// A transport error in the middle of a change. One that only concerns this command fails the step.
fn transport(error: TransportError) -> Acted {
    match error {
        TransportError::TimedOut { .. } => Acted::Failed(format!(
            "{error}. Whether it took effect is not known; run this again, it looks before it acts"
        )),
        error => Acted::Host(HostError::Transport(error)),
    }
}
