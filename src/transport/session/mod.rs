//! A session: commands spread over a few far shells of one connection, files sent over a channel of their own.

mod channel;
mod upload;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::channel::{Event, ShellChannel};
use super::frame::NOT_BEGUN;
use super::link::{Dial, Link, NotOpened};
use super::{Chained, Cost, Payload, Reply, Request, Shell, Target, TransportError};

/// How long a server may take to see that a channel has ended before it grants another.
const REOPEN: Duration = Duration::from_secs(2);

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
    timeout: Duration,
    cost: Cost,
}

impl Session {
    /// Opens the first shell and waits for its first word.
    pub(super) async fn start(dial: Arc<dyn Dial>, target: &Target) -> Result<Self, TransportError> {
        let mut session = Self {
            link: dial.dial(target).await?,
            dial,
            target: target.clone(),
            held_up: false,
            idle: Vec::new(),
            limit: target.channels.max(1),
            timeout: target.connect_timeout,
            cost: Cost::default(),
        };
        let mut shell = session.first_shell().await?;
        shell.ready(session.link.as_ref(), session.timeout).await?;
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
            match ShellChannel::open(self.link.as_ref(), self.timeout).await {
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
        let (all, failure) = self.work(requests, false, done).await?;
        let complete: Option<Vec<Reply>> = all.into_iter().collect();
        match (complete, failure) {
            // A channel that could not be had does no harm when the others did all the work.
            (Some(replies), _) => Ok(replies),
            (None, Some(error)) => Err(error),
            (None, None) => Err(self.unanswered()),
        }
    }

    fn unanswered(&self) -> TransportError {
        let detail = "a command was left without an answer".to_owned();
        TransportError::Protocol { host: self.link.host().to_owned(), detail }
    }

    /// The replies that came, by request, and why some did not. With `in_turn`: over one channel, as a chain.
    async fn work(
        &mut self,
        requests: &[Request],
        in_turn: bool,
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<(Vec<Option<Reply>>, Option<TransportError>), TransportError> {
        let host = self.link.host().to_owned();
        if let Some(bad) = requests.iter().find(|request| request.script.contains('\0')) {
            let detail = format!("{} holds a NUL byte, which no shell takes", bad.shown());
            return Err(TransportError::Protocol { host, detail });
        }
        let first = self.first_shell().await?;
        let wanted = if in_turn { 1 } else { Target::channels_for(self.limit, requests.len()) };
        let work = Arc::new(Work {
            host: host.clone(),
            link: Arc::clone(&self.link),
            requests: requests.to_vec(),
            queue: Mutex::new((0..requests.len()).collect()),
            workers: wanted,
            in_turn,
        });
        // Whoever drops this future half-way leaves commands behind that may hold their channels.
        let held_up_before = std::mem::replace(&mut self.held_up, true);
        let (results, mut replies) = mpsc::unbounded_channel();
        let mut workers: JoinSet<Outcome> = JoinSet::new();
        let share = work.first_share();
        {
            let (work, results) = (Arc::clone(&work), results.clone());
            workers.spawn(async move { work.through(first, share, results).await });
        }
        for _ in 1..wanted {
            let shell = self.idle.pop();
            let (work, results, limit) = (Arc::clone(&work), results.clone(), self.timeout);
            workers.spawn(async move {
                let shell = match shell {
                    Some(shell) => shell,
                    None => match ShellChannel::open(work.link.as_ref(), limit).await {
                        Ok(shell) => shell,
                        Err(NotOpened::Refused(_)) => return Outcome::Refused,
                        Err(NotOpened::Failed(error)) => return Outcome::Broken(error),
                    },
                };
                work.through(shell, share, results).await
            });
        }
        drop(results);

        let mut all: Vec<Option<Reply>> = vec![None; requests.len()];
        while let Some((index, reply)) = replies.recv().await {
            if reply.code != NOT_BEGUN {
                done(index);
            }
            all[index] = Some(reply);
        }
        let mut failure: Option<TransportError> = None;
        let mut refused = 0;
        let mut held_up = held_up_before;
        while let Some(outcome) = workers.join_next().await {
            match outcome {
                Ok(Outcome::Idle(shell)) => self.idle.push(*shell),
                Ok(Outcome::Refused) => refused += 1,
                Ok(Outcome::Broken(error)) => {
                    held_up |= matches!(error, TransportError::TimedOut { .. } | TransportError::Protocol { .. });
                    failure = Some(worse(failure, error));
                }
                Err(error) => {
                    let detail = format!("a task ended early: {error}");
                    failure = Some(worse(failure, TransportError::Protocol { host: host.clone(), detail }));
                }
            }
        }
        self.held_up = held_up;
        if refused > 0 {
            self.limit = (wanted - refused).max(1);
        }
        Ok((all, failure))
    }
}

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

    async fn in_turn(&mut self, requests: &[Request], done: &mut (dyn FnMut(usize) + Send)) -> Chained {
        if requests.is_empty() {
            return Chained::default();
        }
        self.cost.round_trips += 1;
        let mut chained = Chained::default();
        let (all, failure) = match self.work(requests, true, done).await {
            Ok(went) => went,
            Err(error) => return Chained { broken: Some(error), ..chained },
        };
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

/// What became of one worker.
enum Outcome {
    Idle(Box<ShellChannel>),
    Refused,
    Broken(TransportError),
}

/// One batch, shared by the workers of its channels.
struct Work {
    host: String,
    link: Arc<dyn Link>,
    requests: Vec<Request>,
    queue: Mutex<VecDeque<usize>>,
    workers: usize,
    /// One after the other, each only if the one before was quiet.
    in_turn: bool,
}

impl Work {
    /// What each channel gets in one go: all of it where there is one channel, else three quarters, evenly. The
    /// rest goes to whoever is ready first, so that a slow command does not hold up those behind it.
    fn first_share(&self) -> usize {
        if self.workers <= 1 { self.requests.len() } else { (self.requests.len() * 3).div_ceil(4 * self.workers) }
    }

    fn take(&self, share: usize) -> Vec<usize> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let share = share.min(queue.len());
        queue.drain(..share).collect()
    }

    fn next_share(&self) -> usize {
        let left = self.queue.lock().unwrap_or_else(PoisonError::into_inner).len();
        left.div_ceil(2 * self.workers)
    }

    async fn through(
        &self,
        mut shell: ShellChannel,
        first_share: usize,
        results: mpsc::UnboundedSender<(usize, Reply)>,
    ) -> Outcome {
        let mut flying: VecDeque<(usize, Instant)> = VecDeque::new();
        let mut last_end = Instant::now();
        let mut share = first_share;
        loop {
            for index in self.take(share) {
                let request = &self.requests[index];
                let queued = if self.in_turn {
                    shell.send_in_turn(&request.script, index == 0)
                } else {
                    shell.send(&request.script, request.stdin.as_deref())
                };
                if let Err(error) = queued {
                    return Outcome::Broken(TransportError::Protocol {
                        host: self.host.clone(),
                        detail: format!("{}: {error}", request.shown()),
                    });
                }
                flying.push_back((index, Instant::now()));
            }
            let Some(&(index, sent)) = flying.front() else { return Outcome::Idle(Box::new(shell)) };
            let request = &self.requests[index];
            let start = sent.max(last_end);
            match timeout_at(start + request.timeout, shell.next()).await {
                Ok(Event::Done(done, at)) => {
                    flying.pop_front();
                    let seconds = at.saturating_duration_since(start).as_secs_f64();
                    last_end = at;
                    let reply = Reply { stdout: done.stdout, stderr: done.stderr, code: done.code, seconds };
                    let _ = results.send((index, reply));
                    // The next ones are sent before the last has ended: the shell never waits for the network.
                    share = if flying.len() <= 1 { self.next_share() } else { 0 };
                }
                Ok(Event::Ended(how)) => {
                    let how = if self.link.is_closed() {
                        format!("{} ({how})", self.link.reason())
                    } else {
                        format!("the shell on the host is gone, {how}")
                    };
                    return Outcome::Broken(TransportError::Lost {
                        host: self.host.clone(),
                        during: format!("while `{}` was running: {how}", request.shown()),
                    });
                }
                Ok(Event::Garbled(error)) => {
                    shell.abandon().await;
                    return Outcome::Broken(TransportError::Protocol {
                        host: self.host.clone(),
                        detail: format!("`{}`: {error}", request.shown()),
                    });
                }
                Err(_) => {
                    shell.abandon().await;
                    return Outcome::Broken(TransportError::TimedOut {
                        host: self.host.clone(),
                        command: request.shown(),
                        seconds: request.timeout.as_secs(),
                    });
                }
            }
        }
    }
}
