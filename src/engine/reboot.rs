//! Saving to the boot bank, and a reboot that is proved: another boot time, and hostd answering.

use std::time::Duration;

use tokio::time::Instant;

use super::down::Reason;
use super::events::{ChangeShown, EventKind, Status};
use super::host::{AGENT_PAUSE, HostError, HostRun};
use super::run::Mode;
use super::step::{Ended, differing};
use crate::esxi::failure::failure;
use crate::esxi::{Command, Output, Outputs};
use crate::playbook::RebootPolicy;
use crate::steps::Barrier;
use crate::transport::TransportError;

/// Saves, and prints whether the saved state is newer than it was. Source: KB 313072, `/sbin/auto-backup.sh`.
const SAVE: &str = "old=$(ls -l /bootbank/state.tgz 2>/dev/null | cksum); sum=$(cksum </bootbank/state.tgz 2>/dev/null); \
     /sbin/auto-backup.sh || exit 1; [ -s /bootbank/state.tgz ] || { echo 'no /bootbank/state.tgz'; exit 2; }; \
     if [ \"$old\" != \"$(ls -l /bootbank/state.tgz | cksum)\" ] || [ \"$sum\" != \"$(cksum </bootbank/state.tgz)\" ]; \
     then echo esxprep:newer; else echo esxprep:same; fi";

/// The command that saves.
pub(super) fn saving() -> Command {
    Command::new(SAVE)
}

/// What to do about a login that does not work any more.
const COMING_UP: &str = "The host may not take logins yet: wait a few minutes and run this again, it goes on where it stopped. If it \
     refuses then too, look at its console and at /var/log/auth.log; a locked account opens again by itself (after 15 minutes \
     unless Security.AccountUnlockTime says otherwise)";

/// How long a host may take after a reboot until it sees the disk that it booted from.
const BOOT_DISK: Duration = Duration::from_secs(30);

/// How long a host whose answer to `reboot` was not seen may go on answering before it is asked again.
const UNANSWERED: Duration = Duration::from_secs(30);

impl HostRun {
    /// Writes the running configuration to the boot bank and looks that it is there.
    ///
    /// `auto-backup.sh` exits quietly when no file differs, so an unchanged archive is no error by itself.
    pub(super) async fn save(&mut self) -> Result<(), HostError> {
        if !self.dirty {
            return Ok(());
        }
        self.dirty = false;
        if !self.facts.persistent {
            self.note(
                "nothing was saved: the host has no boot bank on a disk, the next boot forgets these changes".into(),
            );
            return Ok(());
        }
        self.phase("saving the configuration to the boot bank");
        let output = self.session.change(&saving()).await?;
        self.saved(&output)
    }

    /// What the command that saves came to.
    pub(super) fn saved(&mut self, output: &Output) -> Result<(), HostError> {
        self.dirty = false;
        if output.code != 0 {
            return Err(HostError::Stopped(format!(
                "/sbin/auto-backup.sh did not save the configuration: {} {}. The changes are active but would be forgotten at the next boot",
                output.stdout.trim(),
                output.stderr.trim()
            )));
        }
        if output.stdout.contains("esxprep:same") {
            self.note("/sbin/auto-backup.sh found nothing that was not saved yet".into());
        }
        Ok(())
    }

    /// Reboots and waits until the host is back, by proof. The session is a new one afterwards.
    pub(super) async fn reboot(&mut self, reasons: &[String], timeout: Duration) -> Result<(), HostError> {
        self.empty_of_vms("reboot").await?;
        if self.facts.boot_time.is_empty() {
            return Err(HostError::Stopped(
                "the boot time is not known, so a reboot could not be proved; not rebooting".into(),
            ));
        }
        let old = self.facts.boot_time.clone();
        let machine = self.facts.hardware.uuid.clone();
        self.ctx.emit(EventKind::HostRebooting { host: self.host.name.clone(), reasons: reasons.to_vec() });
        self.goes_down(Reason::Reboot);
        let started = Instant::now();
        let deadline = started + timeout;
        let mut answered = self.ask_for_reboot().await?;
        let patience = if answered { self.ctx.options.down_timeout } else { UNANSWERED };
        let down = self.wait_until_down(patience, deadline).await?;
        let mut last = String::from(if down { "port 22 did not answer" } else { "it went on answering" });
        let mut pause = Duration::from_millis(250);
        let summary = loop {
            if Instant::now() >= deadline {
                return Err(HostError::Stopped(format!(
                    "{} did not come back from its reboot within {} s ({last}). Look at its console; when it is up again, run this again: \
                     it goes on where it stopped",
                    self.host.name,
                    timeout.as_secs()
                )));
            }
            if self.session.listening(None, Duration::from_secs(3)).await {
                match self.session.reopen(None).await {
                    Ok(()) => match self.boot_time_now(deadline).await? {
                        Some((now, summary)) if now != old => break summary,
                        // The connection may have been lost before the command came through.
                        Some(_) if !answered => {
                            self.note("the host has not heard that it shall reboot: asking again".into());
                            self.ask_for_reboot().await?;
                            answered = true;
                            self.wait_until_down(self.ctx.options.down_timeout, deadline).await?;
                            continue;
                        }
                        Some(_) => {
                            last = "it answers, but its boot time is still the old one: it has not gone down".into();
                            self.session.close().await;
                            // Each look costs a login; a host on its way down does not need many.
                            pause = Duration::from_secs(3);
                        }
                        None => last = "SSH answers, but the management agent (hostd) does not".into(),
                    },
                    // A right password can be refused while a host comes up. Each attempt counts towards the lock of the
                    // account, so it is a person who says when to try again.
                    Err(error @ (TransportError::Refused { .. } | TransportError::Credential { .. })) => {
                        return Err(HostError::Stopped(format!("after the reboot: {error}. {COMING_UP}")));
                    }
                    Err(error @ TransportError::HostKey { .. }) => {
                        return Err(HostError::Stopped(format!("after the reboot: {error}")));
                    }
                    Err(error) => last = error.to_string(),
                }
            }
            self.ctx.pause(pause.min(deadline.saturating_duration_since(Instant::now()))).await?;
            pause = (pause * 2).min(Duration::from_secs(5));
        };
        let had_its_disk = self.facts.persistent;
        // SSH may answer before the boot disk is seen; a host that does not see it at all is the next step's error.
        let until = Instant::now() + BOOT_DISK;
        loop {
            self.facts = self.facts_again(summary.clone()).await?;
            if !had_its_disk || self.facts.persistent || Instant::now() >= until {
                break;
            }
            self.phase("waiting for the boot disk");
            self.ctx.pause(Duration::from_millis(500)).await?;
        }
        // Not verified: that the firmware's UUID in the host summary is the same after every boot of a host.
        let now = self.facts.hardware.uuid.as_str();
        if !machine.is_empty() && !now.is_empty() && now != machine {
            return Err(HostError::Stopped(format!(
                "after the reboot another machine answers in place of {}: its UUID is {now}, before it was {machine}. Nothing was changed on it. Look which host has the address; if it is the right one with other hardware, run this again",
                self.host.name
            )));
        }
        self.is_back(Reason::Reboot);
        self.ctx.emit(EventKind::HostBack { host: self.host.name.clone(), seconds: started.elapsed().as_secs_f64() });
        Ok(())
    }

    /// Sends `reboot`, which works without maintenance mode and saves the configuration (KB 313072), and ends the
    /// session. Whether it was answered: the connection may end before, that is how a reboot looks, and so does a
    /// connection that was lost on the way there.
    async fn ask_for_reboot(&mut self) -> Result<bool, HostError> {
        let said = self.session.change(&Command::new("reboot").timeout(Duration::from_secs(60))).await;
        if let Some(f) = said.as_ref().ok().and_then(failure) {
            self.is_back(Reason::Reboot);
            return Err(HostError::Stopped(format!("`reboot` failed: {}", f.said())));
        }
        self.session.close().await;
        match said {
            Ok(_) => Ok(true),
            Err(TransportError::Lost { .. } | TransportError::TimedOut { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until nothing answers any more, at most half of the time: a quick host can be missed going down.
    async fn wait_until_down(&mut self, patience: Duration, deadline: Instant) -> Result<bool, HostError> {
        let half = deadline.saturating_duration_since(Instant::now()) / 2;
        let enough = Instant::now() + patience.min(half);
        while Instant::now() < enough {
            if !self.session.listening(None, Duration::from_secs(2)).await {
                return Ok(true);
            }
            self.phase("rebooting: waiting until it goes down");
            self.ctx.pause(Duration::from_millis(200)).await?;
        }
        Ok(false)
    }

    /// hostd's boot time as soon as it answers, and the summary that has it; `None` when the connection ends while waiting.
    async fn boot_time_now(&mut self, deadline: Instant) -> Result<Option<(String, Output)>, HostError> {
        let command = super::identify::Identify::summary();
        let mut pause = Duration::from_millis(500);
        while Instant::now() < deadline {
            match self.session.run(&command).await {
                Ok(output) if failure(&output).is_none() => {
                    if let Some(time) = super::identify::boot_time(&output.stdout) {
                        return Ok(Some((time, output)));
                    }
                }
                Ok(_) => {}
                // A host on its way down may still take a login, and have no shell for it any more.
                Err(
                    TransportError::Lost { .. } | TransportError::TimedOut { .. } | TransportError::Protocol { .. },
                ) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
            self.phase("rebooting: waiting for the management agent");
            self.ctx.pause(pause).await?;
            pause = (pause * 2).min(AGENT_PAUSE);
        }
        Ok(None)
    }

    /// A `reboot` step: only when something asked for it, or always.
    pub(super) async fn barrier(&mut self, name: &str, barrier: &Barrier) -> Result<Ended, HostError> {
        let Barrier::Reboot { always, timeout } = barrier;
        let started = Instant::now();
        if !*always && self.reboot_reasons.is_empty() {
            return Ok(Ended::default());
        }
        let change = ChangeShown {
            summary: "reboot".into(),
            before: "running".into(),
            after: "rebooted".into(),
            ..ChangeShown::default()
        };
        let mut ended = Ended { status: Some(Status::WouldChange), changes: vec![change], ..Ended::default() };
        if self.ctx.options.mode != Mode::Apply {
            self.reboot_reasons.clear();
            return Ok(ended);
        }
        if self.ctx.options.no_reboot {
            return Ok(Ended::skipped("not rebooted: --no-reboot".into()));
        }
        if self.reboot_reasons.is_empty() {
            self.reboot_reasons.push(name.to_owned());
        }
        self.save().await?;
        self.reboot_if_asked(Some(*timeout)).await?;
        ended.status = Some(Status::Changed);
        ended.seconds = started.elapsed().as_secs_f64();
        Ok(ended)
    }

    /// Reboots if anything asked for it and the playbook does not forbid it, then proves what waited for it.
    pub(super) async fn reboot_if_asked(&mut self, timeout: Option<Duration>) -> Result<(), HostError> {
        if self.reboot_reasons.is_empty() || (self.ctx.playbook.reboot == RebootPolicy::Never && timeout.is_none()) {
            return Ok(());
        }
        if self.ctx.options.no_reboot {
            return Ok(());
        }
        // What asked for the reboot stays noted while this host waits: it may wait in vain.
        self.may_go_down().await?;
        let reasons = std::mem::take(&mut self.reboot_reasons);
        self.reboot(&reasons, timeout.unwrap_or(self.ctx.options.reboot_timeout)).await?;
        self.result.reboots += 1;
        self.observed = Outputs::default();
        self.last_seen = Outputs::default();
        self.dirty = false;
        let waiting = std::mem::take(&mut self.waiting);
        self.observe_all(waiting.iter().map(|w| w.step.as_ref())).await?;
        for waiting in waiting {
            let left = self.look(waiting.step.as_ref()).await?;
            let id = self.ctx.playbook.steps.get(waiting.number.wrapping_sub(1)).and_then(|def| def.id.clone());
            let error = match left {
                Ok(left) if left.iter().all(|c| c.by_hand.is_some()) => {
                    if let Some(id) = &id {
                        self.controls.proved(id, waiting.number, &waiting.name);
                    }
                    continue;
                }
                Ok(left) => format!("after the reboot it differs again: {}", differing(&left)),
                Err(error) => format!("after the reboot, looking again: {error}"),
            };
            // It was counted as changed when its commands ran.
            self.result.changed = self.result.changed.saturating_sub(1);
            if let Some(id) = &id {
                self.controls.disproved(id, waiting.number, &waiting.name);
            }
            self.ended(waiting.number, waiting.kind, &waiting.name, Ended::failed(error));
            if id.is_none() {
                return Err(HostError::StepFailed);
            }
        }
        Ok(())
    }
}
