//! A session: commands on one far shell, over a few shells of the same connection where they are slow, files sent over
//! a channel of their own.

mod channel;
mod sums;
mod upload;
mod work;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use self::channel::ShellChannel;
use self::work::{Answer, Outcome, Pace, Usual, Work};
use super::frame::NOT_BEGUN;
use super::link::{Dial, Link, NotOpened};
use super::{Chained, Cost, Payload, Reply, Request, Shell, Target, TransportError};

/// How long a server may take to see that a channel has ended before it grants another.
const REOPEN: Duration = Duration::from_secs(2);

/// Waiting for less than so many turns is no reason to open another channel.
const TURNS: u32 = 4;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A logged-in session over any library's connection.
pub(super) struct Session {
    link: Arc<dyn Link>,
    dial: Arc<dyn Dial>,
    target: Target,
    /// A command that did not end may hold a channel for as long as it likes.
    held_up: bool,
    /// Shells that wait for work.
    idle: Vec<ShellChannel>,
    /// How many channels the target's settings and the server allow, as far as is known.
    limit: usize,
    /// The server starts a shell but no command.
    shell_only: bool,
    /// How long commands may take together before they are spread over more channels; at least a few turns.
    patience: Duration,
    /// What commands take on this host, as seen so far.
    usual: Usual,
    timeout: Duration,
    cost: Cost,
}

impl Session {
    /// Opens the channel of the first shell. The shell's first word comes with the answers to the first batch.
    pub(super) async fn start(
        dial: Arc<dyn Dial>,
        target: &Target,
        patience: Duration,
    ) -> Result<Self, TransportError> {
        let mut session = Self {
            link: dial.dial(target).await?,
            dial,
            target: target.clone(),
            held_up: false,
            idle: Vec::new(),
            limit: target.channels.max(1),
            shell_only: false,
            patience,
            usual: Usual::default(),
            timeout: target.connect_timeout,
            cost: Cost::default(),
        };
        let asked = Instant::now();
        let shell = session.first_shell().await?;
        session.patience = patience.max(TURNS * asked.elapsed());
        session.idle.push(shell);
        Ok(session)
    }

    /// An idle shell, or a new one. A server that allows one channel may still be busy ending the last.
    async fn first_shell(&mut self) -> Result<ShellChannel, TransportError> {
        self.idle.retain_mut(ShellChannel::alive);
        if !self.idle.is_empty() {
            return Ok(self.idle.remove(0));
        }
        let deadline = Instant::now() + REOPEN;
        loop {
            match ShellChannel::open(self.link.as_ref(), self.shell_only, self.timeout).await {
                Ok(shell) => return Ok(shell),
                Err(NotOpened::Failed(error)) => return Err(error),
                Err(NotOpened::Refused(reason)) => self.make_room(deadline, &reason).await?,
            }
        }
    }

    /// After a refusal: waits a little, or connects anew, or says that there will be none.
    async fn make_room(&mut self, deadline: Instant, reason: &str) -> Result<(), TransportError> {
        if Instant::now() < deadline {
            sleep(Duration::from_millis(50)).await;
            return Ok(());
        }
        if self.held_up {
            return self.connect_again().await;
        }
        Err(TransportError::Protocol {
            host: self.link.host().to_owned(),
            detail: format!(
                "the server grants no channel ({reason}); an earlier command may still hold the only one it allows \
                 (MaxSessions 1)"
            ),
        })
    }

    /// A server with `MaxSessions 1` counts a channel until its process has ended, and OpenSSH passes no signal to
    /// root's processes: behind a command that does not end, only another connection helps. It logs in with what
    /// has been accepted before.
    async fn connect_again(&mut self) -> Result<(), TransportError> {
        self.held_up = false;
        let fresh = self.dial.dial(&self.target).await?;
        self.idle.clear();
        let old = std::mem::replace(&mut self.link, fresh);
        let _ = timeout(GOODBYE, old.bye()).await;
        Ok(())
    }

    /// Ends all idle shells and waits until the server has seen it.
    async fn end_shells(&mut self) {
        for shell in self.idle.drain(..) {
            shell.finish().await;
        }
    }

    /// Runs requests without counting them.
    async fn run(
        &mut self,
        requests: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Reply>, TransportError> {
        let (all, failure) = self.work(requests, 0, done).await?;
        let complete: Option<Vec<Reply>> = all.into_iter().collect();
        match (complete, failure) {
            // A channel that could not be had does no harm when the others did all the work.
            (Some(replies), _) => Ok(replies),
            (None, failure) => Err(failure.unwrap_or_else(|| self.unanswered())),
        }
    }

    fn unanswered(&self) -> TransportError {
        let detail = "a command was left without an answer".to_owned();
        TransportError::Protocol { host: self.link.host().to_owned(), detail }
    }

    /// Runs requests, the first `in_turn` of them as a chain; with a chain, all on one channel.
    async fn work(
        &mut self,
        requests: &[Request],
        in_turn: usize,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Worked, TransportError> {
        let host = self.link.host().to_owned();
        if let Some(bad) = requests.iter().find(|request| request.script.contains('\0')) {
            let detail = format!("{} holds a NUL byte, which no shell takes", bad.shown());
            return Err(TransportError::Protocol { host, detail });
        }
        if let Some(worked) = self.once(requests, in_turn, done).await? {
            return Ok(worked);
        }
        // None of it has run: the channel that it was sent to never had a process.
        self.shell_only = true;
        let detail = "it refuses both a command and a shell".to_owned();
        self.once(requests, in_turn, done).await?.ok_or(TransportError::Protocol { host, detail })
    }

    /// Runs requests; `None` when nothing has run since the server starts no command.
    async fn once(
        &mut self,
        requests: &[Request],
        in_turn: usize,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Option<Worked>, TransportError> {
        let host = self.link.host().to_owned();
        let first = self.first_shell().await?;
        let slow = in_turn == 0 && self.usual.exceeds(requests.len(), self.patience);
        let most = if in_turn > 0 { 1 } else { Target::channels_for(self.limit, requests.len()) };
        let workers = if slow { most } else { 1 };
        let work = Arc::new(Work::new(Arc::clone(&self.link), requests.to_vec(), workers, in_turn, self.timeout));
        // Whoever drops this future half-way leaves commands behind that may hold their channels.
        let held_up_before = std::mem::replace(&mut self.held_up, true);
        let (results, mut replies) = mpsc::unbounded_channel();
        let mut workers: JoinSet<Outcome> = JoinSet::new();
        workers.spawn(Arc::clone(&work).through(Some(first), results.clone()));
        let (mut channels, mut more) = (1, if slow { most - 1 } else { 0 });
        let mut all: Vec<Option<Reply>> = vec![None; requests.len()];
        let mut pace = Pace::new(requests.len(), self.patience);
        let mut failure: Option<TransportError> = None;
        let mut refused = 0;
        let mut held_up = held_up_before;
        loop {
            channels += more;
            for _ in 0..std::mem::take(&mut more) {
                workers.spawn(Arc::clone(&work).through(self.idle.pop(), results.clone()));
            }
            let outcome = tokio::select! {
                biased;
                Some(answer) = replies.recv() => {
                    pace.answered();
                    self.usual.note(&answer);
                    let Answer { index, reply, .. } = answer;
                    if reply.code != NOT_BEGUN {
                        done(index);
                    }
                    all[index] = Some(reply);
                    continue;
                }
                outcome = workers.join_next() => outcome,
                () = sleep_until(pace.look), if channels == 1 && most > 1 => {
                    if pace.is_slow(work.begun()) {
                        more = work.waiting().min(most - 1);
                    }
                    continue;
                }
            };
            match outcome {
                None => break,
                Some(Ok(Outcome::Idle(shell))) => self.idle.push(*shell),
                Some(Ok(Outcome::Left)) => {}
                Some(Ok(Outcome::Refused)) => refused += 1,
                Some(Ok(Outcome::NoCommand)) if channels == 1 && pace.nothing() => {
                    self.held_up = held_up;
                    return Ok(None);
                }
                Some(Ok(Outcome::NoCommand)) => {
                    let detail = "the server starts no further shell".to_owned();
                    failure = Some(worse(failure, TransportError::Protocol { host: host.clone(), detail }));
                }
                Some(Ok(Outcome::Broken(error))) => {
                    held_up |= matches!(error, TransportError::TimedOut { .. } | TransportError::Protocol { .. });
                    failure = Some(worse(failure, error));
                }
                Some(Err(error)) => {
                    let detail = format!("a task ended early: {error}");
                    failure = Some(worse(failure, TransportError::Protocol { host: host.clone(), detail }));
                }
            }
        }
        self.held_up = held_up;
        if refused > 0 {
            self.limit = (channels - refused).max(1);
        }
        Ok(Some((all, failure)))
    }
}

/// The replies that came, by request, and what kept the others away.
type Worked = (Vec<Option<Reply>>, Option<TransportError>);

#[async_trait]
impl Shell for Session {
    async fn batch(
        &mut self,
        requests: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Reply>, TransportError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        self.cost.commands += requests.len() as u64;
        self.cost.round_trips += 1;
        self.run(requests, done).await
    }

    async fn in_turn(
        &mut self,
        requests: &[Request],
        behind: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Chained {
        let mut chained = Chained::default();
        if requests.is_empty() {
            return chained;
        }
        self.cost.round_trips += 1;
        let apart = self.limit > 1 && self.usual.exceeds(behind.len(), self.patience);
        let together = [requests, if apart { &[] } else { behind }].concat();
        let mut counted = |index| {
            if index < requests.len() {
                done(index);
            }
        };
        let (mut all, failure) = match self.work(&together, requests.len(), &mut counted).await {
            Ok(worked) => worked,
            Err(error) => (vec![None], Some(error)),
        };
        let read = all.split_off(requests.len().min(all.len()));
        for reply in all {
            match reply {
                Some(reply) if reply.code == NOT_BEGUN => break,
                Some(reply) => chained.replies.push(reply),
                None => {
                    chained.broken = Some(failure.unwrap_or_else(|| self.unanswered()));
                    self.cost.commands += 1;
                    break;
                }
            }
        }
        self.cost.commands += chained.replies.len() as u64;
        if apart && chained.broken.is_none() {
            chained.behind = self.batch(behind, &mut |_| {}).await.unwrap_or_default();
        } else {
            self.cost.commands += read.iter().flatten().count() as u64;
            chained.behind = read.into_iter().collect::<Option<_>>().unwrap_or_default();
        }
        chained
    }

    async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError> {
        upload::upload(self, payload, path, mode, progress).await
    }

    fn cost(&self) -> Cost {
        self.cost
    }

    async fn close(&mut self) {
        let shells = std::mem::take(&mut self.idle);
        let link = Arc::clone(&self.link);
        let _ = timeout(GOODBYE, async move {
            drop(shells);
            link.bye().await;
        })
        .await;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Without a goodbye the tasks of the connection would live on as long as the server keeps it.
        if let (false, Ok(runtime)) = (self.link.is_closed(), tokio::runtime::Handle::try_current()) {
            let link = Arc::clone(&self.link);
            runtime.spawn(async move {
                let _ = timeout(GOODBYE, link.bye()).await;
            });
        }
    }
}

/// The error that says more: a time limit before what came of it.
fn worse(first: Option<TransportError>, second: TransportError) -> TransportError {
    match first {
        Some(first @ TransportError::TimedOut { .. }) => first,
        Some(first) if !matches!(second, TransportError::TimedOut { .. }) => first,
        _ => second,
    }
}
