//! The changes of neighbouring steps in one round trip. They are planned together, sent as one chain in which each
//! command begins only behind quiet ones, with what shows their state behind it; then each step is judged and reported
//! in its place as if it had been made alone.
//!
//! Only what looking in between could tell nothing new of goes together: no step of a chain compares what another one in
//! it may alter ([`Altered`], [`Step::about`]). Only calls of esxcli and vim-cmd go together: an init script leaves a daemon behind
//! that holds the output open, and a chain waits for the end of it.

use std::collections::VecDeque;

use super::host::{HostError, HostRun};
use super::observe::{Altered, Coming, is_call_of, reads};
use super::reboot::saving;
use super::run::Mode;
use super::session::InTurn;
use crate::esxi::{Command, Output};
use crate::steps::{Action, Change, Seen, Step, StepError};
use crate::transport::TransportError;

/// The most commands in a chain: an interruption waits for its end, and a call may take a second.
const MOST: usize = 20;

/// What a step came to before its turn.
pub(super) struct Planned {
    pub compared: Result<Vec<Change>, StepError>,
    /// What its commands answered, if they were sent already.
    pub ahead: Option<Ahead>,
}

/// Commands that were sent before their step's turn.
pub(super) struct Ahead {
    /// The answers of those that began, in order. Those behind them were not sent, or never began.
    pub answers: VecDeque<Result<Output, TransportError>>,
    /// What shows the step's state was read after all of them.
    pub read_again: bool,
}

impl Ahead {
    /// How long they took.
    pub fn seconds(&self) -> f64 {
        self.answers.iter().flatten().map(|output| output.seconds).sum()
    }
}

/// What a step would do in a chain.
enum Part {
    /// It asks the host for nothing now.
    None,
    /// Nothing of it is to be made.
    Settled(Result<Vec<Change>, StepError>),
    /// These changes, with these commands.
    Makes(Vec<Change>, Vec<Command>),
    /// It goes by itself.
    Alone,
}

/// A step of a chain, perhaps one with nothing to make.
struct Member<'a> {
    index: usize,
    step: &'a dyn Step,
    reads: Vec<Command>,
    changes: Vec<Change>,
    commands: Vec<Command>,
}

impl Member<'_> {
    /// What is going on while its changes are made.
    fn doing(&self) -> String {
        let acting = self.changes.iter().filter(|change| !change.actions.is_empty());
        acting.map(|change| change.summary.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Whether neither this step's changes nor the other's have to do with what the other compares.
    fn goes_with(&self, step: &dyn Step, reads: &[Command]) -> bool {
        let apart = self.step.about().is_apart_from(&step.about());
        let alters = |by: &dyn Step, reads: &[Command]| {
            let mut altered = Altered::default();
            altered.by(by);
            reads.iter().any(|read| altered.reaches(read.text()))
        };
        apart || !alters(self.step, reads) && !alters(step, &self.reads)
    }
}

/// Whether a command leaves nothing behind that holds its output open, and means the same between others.
fn may_be_chained(command: &Command) -> bool {
    is_one_call(command) && command.stdin_bytes().is_none() && !command.is_secret()
}

/// One call of esxcli or vim-cmd, and nothing of the shell's around it. Not verified: that no such call leaves a process
/// behind that keeps its output open; a chain would wait for it until the command's time limit.
pub(super) fn is_one_call(command: &Command) -> bool {
    is_call_of(&["esxcli", "vim-cmd"], command.text())
}

/// The commands of these changes, if they can be part of a chain.
fn chainable(changes: &[Change]) -> Option<Vec<Command>> {
    let plain = |c: &Change| c.by_hand.is_none() && c.cleanup.is_empty() && !c.effect.maintenance;
    let actions = || changes.iter().flat_map(|change| &change.actions);
    let commands: Option<Vec<Command>> = actions()
        .map(|action| match action {
            Action::Run(command) if may_be_chained(command) => Some(command.clone()),
            _ => None,
        })
        .collect();
    commands.filter(|all| !all.is_empty() && changes.iter().all(plain))
}

impl HostRun {
    /// Plans the next step, and if it is one of a chain, makes the chain. What is found out is left in `coming`.
    pub(super) async fn plan_ahead(&mut self, coming: &mut [Coming<'_>]) -> Result<(), HostError> {
        let Some(first) = coming.first() else { return Ok(()) };
        if first.planned.is_some() || self.ctx.options.mode != Mode::Apply {
            return Ok(());
        }
        let (changes, commands) = match self.part(first).await {
            Part::None | Part::Alone => return Ok(()),
            Part::Settled(compared) => {
                coming[0].planned = Some(Planned { compared, ahead: None });
                return Ok(());
            }
            Part::Makes(changes, commands) => (changes, commands),
        };
        let members = self.chain(coming, changes, commands).await;
        let plans: Vec<(usize, Planned)> = self.make_chain(coming, members).await?;
        for (index, planned) in plans {
            coming[index].planned = Some(planned);
        }
        Ok(())
    }

    /// The steps at the beginning of `coming` whose changes go together; the first one's are given.
    async fn chain<'c>(
        &self,
        coming: &'c [Coming<'_>],
        changes: Vec<Change>,
        commands: Vec<Command>,
    ) -> Vec<Member<'c>> {
        let mut members: Vec<Member<'c>> = Vec::new();
        let mut length = 0;
        let mut next = Some((0, Part::Makes(changes, commands)));
        while let Some((index, part)) = next {
            let Coming { bound, .. } = &coming[index];
            let plan = match part {
                Part::Makes(changes, commands) => Some((changes, commands)),
                // Of what is right already, later changes must not make something else before it was looked at.
                Part::Settled(_) => Some((Vec::new(), Vec::new())),
                Part::None => None,
                Part::Alone => break,
            };
            if let (Ok(step), Some((changes, commands))) = (&bound.what, plan) {
                let step = step.as_ref();
                let reads = step.reads(&self.facts);
                length += commands.len();
                let fits = length <= MOST || members.is_empty();
                if !fits || !members.iter().all(|member| member.goes_with(step, &reads)) {
                    break;
                }
                members.push(Member { index, step, reads, changes, commands });
            }
            let index = index + 1;
            next = match coming.get(index) {
                Some(coming) => Some((index, self.part(coming).await)),
                None => None,
            };
        }
        members
    }

    /// What a step would do, if everything needed to tell is known.
    async fn part(&self, next: &Coming<'_>) -> Part {
        let Coming { def, bound, .. } = next;
        let Some(step) = self.takes_part(next).filter(|step| !step.ends_ssh()) else { return Part::None };
        let plain = def.retries == 0 && def.timeout.is_none() && bound.expect.is_empty() && bound.fix;
        if !plain
            || self.waived(def).is_some()
            || step.barrier().is_some()
            || !step.verifiable()
            || step.proved_by_reboot()
            || !(self.facts.persistent || self.ctx.options.allow_unsaved)
        {
            return Part::Alone;
        }
        let unread = |read: &Command| self.observed.get(read).is_none();
        if reads(step, &self.facts).0.iter().any(unread) {
            return Part::Alone;
        }
        let artifacts = self.ctx.artifacts.prepared(&step.inputs()).await;
        let seen = Seen { host: &self.facts, outputs: &self.observed, artifacts: &artifacts };
        if step.more_reads(&seen).iter().any(unread) {
            return Part::Alone;
        }
        match step.compare(&seen) {
            Ok(changes) if changes.iter().all(|change| change.actions.is_empty()) => Part::Settled(Ok(changes)),
            Ok(changes) => match chainable(&changes) {
                // What only planning needs must be known, too; there are steps that plan without.
                Some(commands) if !step.only_to_plan(&self.facts).iter().any(unread) => Part::Makes(changes, commands),
                _ => Part::Alone,
            },
            Err(_) => Part::Alone,
        }
    }

    /// Sends a chain, and reads again what shows the state of its steps.
    async fn make_chain(
        &mut self,
        coming: &[Coming<'_>],
        members: Vec<Member<'_>>,
    ) -> Result<Vec<(usize, Planned)>, HostError> {
        self.ctx.interrupted()?;
        for member in &members {
            let Coming { def, bound, .. } = &coming[member.index];
            self.announce(def.number, def.kind.name, &bound.name, &member.changes);
            self.dirty |= member.changes.iter().any(|c| !c.actions.is_empty() && !c.effect.transient);
        }
        self.ctx.journalled().await;
        let commands: Vec<Command> = members.iter().flat_map(|member| member.commands.iter().cloned()).collect();
        let acting: Vec<&Member<'_>> = members.iter().filter(|member| !member.commands.is_empty()).collect();
        // What is read behind them shows the host as they leave it, however far they come.
        let mut looks: Vec<Command> = Vec::new();
        for member in &acting {
            self.forget(member.step);
            looks.extend(reads(member.step, &self.facts).0);
        }
        let last = members.last().map_or(0, |member| member.index + 1);
        looks.extend(self.foresee(None, &coming[last..]).await);
        let looks = self.unknown(looks);
        let mut doing = match acting.as_slice() {
            [one] => one.doing(),
            all => format!("making the changes of {} steps", all.len()),
        };
        let saves = self.ends_with(&acting, &coming[last..]).await.then(saving);
        if saves.is_some() {
            doing.push_str(", saving the configuration to the boot bank");
        }
        self.phase(doing.clone());
        let mut done = self.counted(doing, commands.len());
        let sent = self.session.change_in_turn(&commands, &looks, saves.as_ref(), &mut done).await;
        let InTurn { made, read, last, mut broken } = sent;
        let lost = broken.is_some();
        let mut outputs = made.into_iter();
        let mut plans = Vec::new();
        let mut behind = members.into_iter();
        for member in behind.by_ref() {
            let wanted = member.commands.len();
            let mut answers: VecDeque<_> = outputs.by_ref().take(wanted).map(Ok).collect();
            let whole = answers.len() == wanted;
            if !whole {
                answers.extend(broken.take().map(Err));
            }
            if !answers.is_empty() {
                let ahead = Some(Ahead { answers, read_again: whole && !lost });
                plans.push((member.index, Planned { compared: Ok(member.changes), ahead }));
            }
            if !whole {
                break;
            }
        }
        if lost {
            let sent = behind.filter(|member| !member.commands.is_empty());
            let unknown: Vec<&str> = sent.map(|member| coming[member.index].bound.name.as_str()).collect();
            if !unknown.is_empty() {
                self.note(format!(
                    "sent together with the change that has no answer, so they may be made or not: {}. Running this again tells",
                    unknown.join(", ")
                ));
            }
            return Ok(plans);
        }
        // A save that did not work is tried again at the end, and said then.
        if let Some(output) = last.filter(|output| output.code == 0) {
            self.saved(&output)?;
        }
        if read.is_empty() {
            self.observe(looks).await?;
        } else {
            self.noted_along(looks, read);
        }
        Ok(plans)
    }

    /// Whether these changes are the host's last, as far as can be told, so that it may save behind them.
    async fn ends_with(&self, acting: &[&Member<'_>], rest: &[Coming<'_>]) -> bool {
        let changes = || acting.iter().flat_map(|member| &member.changes);
        if self.more_to_come
            || !self.facts.persistent
            || self.entered_maintenance
            || !self.reboot_reasons.is_empty()
            || changes().any(|change| change.effect.reboot)
            || changes().all(|change| change.effect.transient)
        {
            return false;
        }
        for next in rest {
            let closes = next.bound.what.as_ref().is_ok_and(|step| step.ends_ssh());
            if closes || !matches!(self.part(next).await, Part::None | Part::Settled(_)) {
                return false;
            }
        }
        true
    }
}
