//! What a killed run left on a host: a detached change that waits for its confirmation, staged files, maintenance
//! mode, changes that nobody saved. The first round trip lists it, so that a host with nothing costs nothing.

use std::time::Duration;

use tokio::time::Instant;

use super::events::EventKind;
use super::host::{HostError, HostRun};
use super::journal::{RunInfo, RunState, StateDir};
use super::run::Mode;
use crate::esxi::command::quote;
use crate::esxi::{Command, Outputs};
use crate::transport::TransportError;

/// Says that esxprep entered maintenance mode and has not left it yet. In a RAM disk: a reboot forgets it.
pub(super) const MAINTENANCE: &str = "/tmp/.esxprep-maintenance";

/// The kind in the event that tells of it.
pub(super) const MAINTENANCE_KIND: &str = "maintenance";

/// Whether the newest run that changed this host, before `now`, was killed or lost the host after it had entered
/// maintenance mode: where the host rebooted meanwhile, [`MAINTENANCE`] is gone and the mode is not.
fn left_in_maintenance(state: &StateDir, host: &str, now: &str) -> bool {
    let runs = state.list().unwrap_or_default();
    let before = |run: &&RunInfo| {
        run.meta.mode == "apply" && run.meta.run != now && run.meta.hosts.iter().any(|name| name == host)
    };
    let Some(last) = runs.iter().find(before) else { return false };
    let events = state.load(&last.meta.run).map(|run| run.events).unwrap_or_default();
    let entered = events.iter().any(|event| {
        matches!(&event.kind, EventKind::Making { host: of, step: 0, kind, .. } if of == host && kind == MAINTENANCE_KIND)
    });
    // A host that was not lost is left as it was found, however its work ended.
    let lost =
        || events.iter().any(|event| matches!(&event.kind, EventKind::HostFailed { host: of, .. } if of == host));
    entered && (last.state == RunState::Killed || lost())
}

/// How long a detached change of another run may take until it is made or taken back.
const SETTLE: Duration = Duration::from_secs(150);

/// Lists what may be left. Uploads write `NAME.esxprep-*.part` beside their target; VIBs are staged in /tmp or in a
/// folder of their own on a datastore.
pub(super) fn list() -> Command {
    Command::raw(
        "ls -d /tmp/.esxprep-* /tmp/esxprep-*.vib /tmp/esxprep-*.zip /vmfs/volumes/*/.esxprep/* /tmp/*.esxprep-*.part \
         /etc/*.esxprep-*.part /etc/*/*.esxprep-*.part 2>/dev/null || true",
    )
}

/// Removes a file that no process uses: an installer has its name among its arguments, an upload lets it grow.
fn remove_file(path: &str) -> Command {
    let path = quote(path);
    Command::raw(format!(
        "f={path}; a=$(wc -c <\"$f\"); case $f in *.part) sleep 3;; esac; \
         if ps -c 2>/dev/null | grep -v grep | grep -qF \"${{f##*/}}\" || ps | grep -v grep | grep -qF \"${{f##*/}}\" || \
         [ \"$a\" != \"$(wc -c <\"$f\")\" ]; then echo busy; else rm -f \"$f\"; rmdir \"${{f%/*}}\" 2>/dev/null; echo gone; fi"
    ))
}

/// Ends a detached change that is over, or confirms one that is made: whoever reads this has logged in after it.
/// Prints what it came to, or `running` while the change itself is still under way.
fn settle(folder: &str) -> Command {
    let folder = quote(folder);
    Command::raw(format!(
        "d={folder}; s=$(cat $d/state 2>/dev/null); \
         if [ \"$s\" = made ]; then touch $d/confirm; i=0; \
         while [ $i -lt 5 ] && [ \"$(cat $d/state)\" = made ]; do sleep 1; i=$((i+1)); done; s=$(cat $d/state); fi; \
         case \"$s\" in confirmed|failed|rolledback) rm -rf $d; echo $s;; \
         *) if [ \"$(date +%s)\" -gt \"$(cat $d/until 2>/dev/null || echo 0)\" ]; then rm -rf $d; echo stale; else echo running; fi;; esac"
    ))
}

impl HostRun {
    /// Clears away what a killed run left, before anything is read: a change that waits for its confirmation would
    /// otherwise be taken back under this run.
    pub(super) async fn clear_leftovers(&mut self) -> Result<(), HostError> {
        if self.ctx.options.mode != Mode::Apply {
            return Ok(());
        }
        if !self.facts.leftovers.is_empty() {
            // What was read along with them may be what they made of it.
            self.observed = Outputs::default();
        }
        let marked = self.facts.leftovers.iter().any(|path| path == MAINTENANCE);
        if self.facts.maintenance && !marked {
            let state = self.ctx.state();
            if state.is_some_and(|state| left_in_maintenance(&state, &self.host.name, self.ctx.run_id())) {
                self.note("an earlier run entered maintenance mode and was stopped: it is left at the end".into());
                self.entered_maintenance = true;
            }
        }
        if self.ctx.is_unsaved(&self.host.name) {
            self.note("an earlier run was stopped before it could save what it had changed: it is saved now".into());
            self.dirty = true;
        }
        for path in std::mem::take(&mut self.facts.leftovers) {
            if path == MAINTENANCE {
                if self.facts.maintenance {
                    self.note("an earlier run entered maintenance mode and was stopped: it is left at the end".into());
                    self.entered_maintenance = true;
                } else {
                    self.session.change(&Command::new("rm -f").arg(MAINTENANCE)).await?;
                }
            } else if path.starts_with("/tmp/.esxprep-") {
                self.settle_change(&path).await?;
            } else {
                let said = self.session.change(&remove_file(&path)).await?.stdout;
                let what = if said.contains("gone") { "removed" } else { "in use by another run, left alone" };
                self.note(format!("left by an earlier run: {path}: {what}"));
            }
        }
        Ok(())
    }

    async fn settle_change(&mut self, folder: &str) -> Result<(), HostError> {
        let deadline = Instant::now() + SETTLE;
        loop {
            let said = match self.session.change(&settle(folder)).await {
                Ok(output) => output.stdout,
                // The change that is under way cut this session.
                Err(TransportError::Lost { .. }) if Instant::now() < deadline => {
                    self.session.close().await;
                    self.ctx.pause(Duration::from_secs(1)).await?;
                    if self.session.listening(None, Duration::from_secs(2)).await {
                        self.session.reopen(None).await?;
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let what = match said.trim() {
                "running" if Instant::now() < deadline => {
                    self.phase("waiting for a detached change of an earlier run");
                    self.ctx.pause(Duration::from_secs(1)).await?;
                    continue;
                }
                "running" => {
                    return Err(HostError::Stopped(format!(
                        "a detached change of another run is under way ({folder} on the host) and did not end within {} s. Run this \
                         again later, or restart the host from its console",
                        SETTLE.as_secs()
                    )));
                }
                "confirmed" => "was made and is confirmed now: this login proves that the host can be reached",
                "rolledback" | "failed" => "was taken back by the host",
                _ => "ended long ago",
            };
            self.note(format!("a detached change of an earlier run {what}"));
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Event;
    use super::super::journal::NewRun;
    use super::*;

    #[test]
    fn only_the_last_run_and_only_one_that_was_killed_left_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::at(dir.path());
        let new = |host: &str| NewRun { mode: "apply".into(), hosts: vec![host.into()], ..NewRun::default() };
        let entered = |host: &str| {
            let kind = EventKind::Making {
                host: host.into(),
                step: 0,
                kind: MAINTENANCE_KIND.into(),
                name: String::new(),
                changes: Vec::new(),
            };
            Event::now("r", kind)
        };
        assert!(!left_in_maintenance(&state, "esx1", "now"));
        let mut killed = state.create(&new("esx1")).unwrap();
        killed.append(&[entered("esx1")]).unwrap();
        let this = killed.run().to_owned();
        // A run that is under way is no killed one.
        assert!(!left_in_maintenance(&state, "esx1", "now"));
        drop(killed);
        assert!(left_in_maintenance(&state, "esx1", "now"));
        assert!(!left_in_maintenance(&state, "esx2", "now") && !left_in_maintenance(&state, "esx1", &this));
        // Runs of one second are told apart by chance: until one is the later.
        loop {
            let later = state.create(&new("esx1")).unwrap();
            let is_later = later.run() > this.as_str();
            later.finish(0).unwrap();
            if is_later {
                break;
            }
        }
        assert!(!left_in_maintenance(&state, "esx1", "now"));
    }
}
