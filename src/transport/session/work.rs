//! The commands of one batch, and who runs them.
//!
//! Where commands are quick, one channel gets them all at once: one turn, whatever the line. That they are slow shows
//! while they run; then more channels are opened, and what waits behind others can be taken over from the end. A
//! command that was sent cannot be called back, so only those that change nothing are taken over: should both channels
//! get to it, the first answer counts, and a channel that has nothing else left is closed. On a host that is known to
//! be slow, what does not start at once is not sent before a channel is free.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::channel::{Event, NoWord, ShellChannel};
use crate::transport::link::{Link, NotOpened};
use crate::transport::{Reply, Request, TransportError};

/// How much text waits on the way to a shell, in bytes: enough for any usual batch.
const AHEAD: usize = 1024 * 1024;

/// What became of one worker.
pub(super) enum Outcome {
    Idle(Box<ShellChannel>),
    /// All had their answers while its channel still had commands.
    Left,
    /// There is no channel for it.
    Refused,
    /// The server starts no command; nothing has run.
    NoCommand,
    Broken(TransportError),
}

/// An answer as a worker hands it on.
pub(super) struct Answer {
    pub(super) index: usize,
    pub(super) reply: Reply,
    /// Its time is the host's alone: the command began when the one before it ended.
    pub(super) exact: bool,
}

/// What commands take on a host.
#[derive(Default)]
pub(super) struct Usual {
    seconds: f64,
    commands: u32,
}

impl Usual {
    pub(super) fn note(&mut self, answer: &Answer) {
        if answer.exact {
            self.seconds += answer.reply.seconds;
            self.commands += 1;
        }
    }

    /// Whether so many commands are known to take longer than this, one after the other.
    pub(super) fn exceeds(&self, commands: usize, patience: Duration) -> bool {
        self.commands > 0 && self.seconds / f64::from(self.commands) * commands as f64 > patience.as_secs_f64()
    }
}

/// How a batch gets on, as seen from the session.
pub(super) struct Pace {
    patience: Duration,
    began: Instant,
    /// When to ask again whether it is slow.
    pub(super) look: Instant,
    left: usize,
    answers: usize,
}

impl Pace {
    pub(super) fn new(requests: usize, patience: Duration) -> Self {
        let began = Instant::now();
        Self { patience, began, look: began + patience, left: requests, answers: 0 }
    }

    pub(super) fn answered(&mut self) {
        self.left = self.left.saturating_sub(1);
        self.answers += 1;
    }

    /// Whether nothing has come yet.
    pub(super) fn nothing(&self) -> bool {
        self.answers == 0
    }

    /// Whether what is left will take longer than it is worth waiting for, if it goes on like this. Nothing can be
    /// told before the shell has begun.
    pub(super) fn is_slow(&mut self, begun: bool) -> bool {
        let now = Instant::now();
        if !begun {
            (self.began, self.look) = (now, now + self.patience);
            return false;
        }
        self.look = now + self.patience / 4;
        let elapsed = now - self.began;
        let each = elapsed.as_secs_f64() / self.answers.max(1) as f64;
        elapsed >= self.patience && each * self.left as f64 > self.patience.as_secs_f64()
    }
}

/// One batch, shared by the workers of its channels.
pub(super) struct Work {
    link: Arc<dyn Link>,
    requests: Vec<Request>,
    workers: usize,
    /// So many at the beginning run each only if the one before was quiet.
    in_turn: usize,
    /// For a shell's first word.
    limit: Duration,
    board: Mutex<Board>,
    begun: AtomicBool,
    over: CancellationToken,
}

#[derive(Default)]
struct Board {
    /// Not sent yet.
    unsent: VecDeque<usize>,
    /// Sent to the first channel, changes nothing, and taken over by nobody; in the order in which it was sent.
    behind: VecDeque<usize>,
    /// Where the first channel is.
    at: usize,
    answered: Vec<bool>,
    left: usize,
}

impl Work {
    /// For so many workers at first; with one, all that may be is sent at once.
    pub(super) fn new(
        link: Arc<dyn Link>,
        requests: Vec<Request>,
        workers: usize,
        in_turn: usize,
        limit: Duration,
    ) -> Self {
        let board = Board {
            unsent: (0..requests.len()).collect(),
            behind: VecDeque::new(),
            at: 0,
            answered: vec![false; requests.len()],
            left: requests.len(),
        };
        let (begun, over) = (AtomicBool::new(false), CancellationToken::new());
        Self { link, requests, workers, in_turn, limit, board: Mutex::new(board), begun, over }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a shell has said its first word.
    pub(super) fn begun(&self) -> bool {
        self.begun.load(Ordering::SeqCst)
    }

    /// How many requests another channel could still take.
    pub(super) fn waiting(&self) -> usize {
        let board = self.board();
        let behind = board.behind.iter().filter(|index| **index > board.at && !board.answered[**index]);
        board.unsent.len() + behind.count()
    }

    /// What a channel gets in one go: all of it where there is one channel, else three quarters, evenly. The rest goes
    /// to whoever is ready first, so that a slow command does not hold up those behind it.
    fn first_share(&self) -> usize {
        if self.workers <= 1 { self.requests.len() } else { (self.requests.len() * 3).div_ceil(4 * self.workers) }
    }

    /// The next `share` requests for a channel that has none under way.
    fn begin(&self) -> Vec<usize> {
        let share = self.first_share();
        let mut board = self.board();
        let mut taken = Vec::new();
        let mut size = 0;
        while let Some(&index) = board.unsent.front() {
            let request = &self.requests[index];
            size += request.script.len() + request.stdin.as_ref().map_or(0, Vec::len);
            if taken.len() == share || (size > AHEAD && !taken.is_empty()) {
                break;
            }
            board.unsent.pop_front();
            taken.push(index);
        }
        if taken.is_empty() {
            // One that runs and one that waits, so that the shell never waits for the network.
            let over = [board.take_over(), board.take_over()];
            taken.extend(over.into_iter().flatten());
        } else if self.workers <= 1 {
            board.behind.extend(taken.iter().filter(|index| !self.requests[**index].changes));
        }
        taken
    }

    /// For a channel with one request under way, or none.
    fn more(&self) -> Vec<usize> {
        let mut board = self.board();
        if board.unsent.is_empty() {
            return board.take_over().into_iter().collect();
        }
        let share = board.unsent.len().div_ceil(2 * self.workers);
        board.unsent.drain(..share).collect()
    }

    /// Notes an answer and what comes next on its channel; false when there was an answer already.
    fn answer(&self, index: usize, next: Option<usize>) -> bool {
        let mut board = self.board();
        if self.workers <= 1 && index == board.at {
            board.at = next.unwrap_or(usize::MAX);
        }
        if std::mem::replace(&mut board.answered[index], true) {
            return false;
        }
        board.left -= 1;
        if board.left == 0 {
            self.over.cancel();
        }
        true
    }

    /// One worker: on this shell, or on a new one.
    pub(super) async fn through(
        self: Arc<Self>,
        shell: Option<ShellChannel>,
        results: mpsc::UnboundedSender<Answer>,
    ) -> Outcome {
        let mut shell = match shell {
            Some(shell) => shell,
            None => {
                let opened = tokio::select! {
                    opened = ShellChannel::open(self.link.as_ref(), true, self.limit) => opened,
                    () = self.over.cancelled() => return Outcome::Left,
                };
                match opened {
                    Ok(shell) => shell,
                    Err(NotOpened::Refused(_)) => return Outcome::Refused,
                    Err(NotOpened::Failed(error)) => return Outcome::Broken(error),
                }
            }
        };
        let mut flying: VecDeque<(usize, Instant)> = VecDeque::new();
        let mut share = self.begin();
        let mut last_end: Option<Instant> = None;
        if share.iter().any(|index| self.requests[*index].secret || self.requests[*index].changes) {
            // Not to what may be no shell at all, and answers with what it was told.
            match self.ready(&mut shell).await {
                Ok(at) => last_end = Some(at),
                Err(outcome) => return outcome,
            }
        }
        loop {
            for index in share {
                let request = &self.requests[index];
                let queued = if index < self.in_turn {
                    shell.send_in_turn(&request.script, index == 0)
                } else {
                    shell.send(&request.script, request.stdin.as_deref())
                };
                if let Err(error) = queued {
                    return self.protocol(format!("{}: {error}", request.shown()));
                }
                flying.push_back((index, Instant::now()));
            }
            let Some(&(index, sent)) = flying.front() else { return Outcome::Idle(Box::new(shell)) };
            let last = match last_end {
                Some(last) => last,
                // What was sent is under way already.
                None => match self.ready(&mut shell).await {
                    Ok(at) => at,
                    Err(outcome) => return outcome,
                },
            };
            let request = &self.requests[index];
            let start = sent.max(last);
            let next = tokio::select! {
                biased;
                next = timeout_at(start + request.timeout, shell.next()) => next,
                () = self.over.cancelled() => {
                    // What it still runs is known from another channel. Closed, the shell ends after that command.
                    tokio::spawn(shell.abandon());
                    return Outcome::Left;
                }
            };
            match next {
                Ok(Event::Done(done, at)) => {
                    flying.pop_front();
                    let seconds = at.saturating_duration_since(start).as_secs_f64();
                    last_end = Some(at);
                    if self.answer(index, flying.front().map(|(index, _)| *index)) {
                        let reply = Reply { stdout: done.stdout, stderr: done.stderr, code: done.code, seconds };
                        let _ = results.send(Answer { index, reply, exact: last >= sent });
                    }
                    share = if flying.len() <= 1 { self.more() } else { Vec::new() };
                }
                Ok(Event::Ended(how)) => {
                    let how = if self.link.is_closed() {
                        format!("{} ({how})", self.link.reason())
                    } else {
                        format!("the shell on the host is gone, {how}")
                    };
                    return Outcome::Broken(TransportError::Lost {
                        host: self.link.host().to_owned(),
                        during: format!("while `{}` was running: {how}", request.shown()),
                    });
                }
                Ok(Event::NoCommand) => return self.protocol("the server took back that a shell may run".to_owned()),
                Ok(Event::Garbled(error)) => {
                    shell.abandon().await;
                    return self.protocol(format!("`{}`: {error}", request.shown()));
                }
                Err(_) => {
                    shell.abandon().await;
                    return Outcome::Broken(TransportError::TimedOut {
                        host: self.link.host().to_owned(),
                        command: request.shown(),
                        seconds: request.timeout.as_secs(),
                    });
                }
            }
        }
    }

    async fn ready(&self, shell: &mut ShellChannel) -> Result<Instant, Outcome> {
        match shell.ready(self.link.as_ref(), self.limit).await {
            Ok(at) => {
                self.begun.store(true, Ordering::SeqCst);
                Ok(at)
            }
            Err(NoWord::NoCommand) => Err(Outcome::NoCommand),
            Err(NoWord::Failed(error)) => Err(Outcome::Broken(error)),
        }
    }

    fn protocol(&self, detail: String) -> Outcome {
        Outcome::Broken(TransportError::Protocol { host: self.link.host().to_owned(), detail })
    }
}

impl Board {
    /// The last of what waits behind others.
    fn take_over(&mut self) -> Option<usize> {
        while let Some(index) = self.behind.pop_back() {
            if index <= self.at {
                self.behind.clear();
            } else if !self.answered[index] {
                return Some(index);
            }
        }
        None
    }
}
