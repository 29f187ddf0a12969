//! The event loop of a session's thread: libssh2 in its non-blocking mode, all channels in turn.
//!
//! libssh2 holds one outgoing packet at a time. A call that could not send all of it must be made again before any
//! other can send; so whatever "would block" stays on its list and is tried again, whoever waits for it or not.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::BlockDirections;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::code;
use super::pipe::{Outlet, pipe};
use super::worker::{Command, Desk, Thread};
use crate::transport::TransportError;
use crate::transport::auth::Closed;
use crate::transport::link::{Message, NotOpened, Pipe, SHELL};

/// Passes over all channels before new orders are looked at.
const PASSES: usize = 32;

/// Calls that write before others get their turn.
const WRITES: usize = 64;

/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// What tasks ask of the thread.
pub(super) enum Order {
    Open { what: What, reply: oneshot::Sender<Result<Pipe, NotOpened>> },
    Data { id: u64, bytes: Vec<u8>, place: OwnedSemaphorePermit },
    Eof { id: u64 },
    Close { id: u64 },
    Bye,
}

/// What a channel is for.
#[derive(Debug, Clone)]
pub(super) enum What {
    Command(String),
    /// A TCP connection from the host to somewhere else.
    Tunnel(String, u16),
}

/// Asking a silent peer for a sign of life.
pub(super) struct Keepalive {
    interval: Duration,
    silence: Duration,
}

impl Keepalive {
    pub(super) fn new(interval: Duration, max: usize) -> Self {
        // libssh2 counts in seconds and sends none sooner than after two.
        let interval = Duration::from_secs(interval.as_secs_f64().ceil().max(2.0) as u64);
        Self { interval, silence: interval * (u32::try_from(max).unwrap_or(3) + 1) }
    }
}

/// Serves channels until the connection ends or nobody wants it.
pub(super) fn run(thread: &Thread, session: &ssh2::Session, keepalive: Keepalive, desk: &Desk) {
    session.set_blocking(false);
    session.set_keepalive(true, u32::try_from(keepalive.interval.as_secs()).unwrap_or(15));
    let mut pump = Pump {
        thread,
        session,
        desk,
        channels: Vec::new(),
        opening: VecDeque::new(),
        next_id: 0,
        heard: Instant::now(),
        ask_at: Instant::now() + keepalive.interval,
        keepalive,
    };
    let why = pump.serve();
    pump.finish(why);
}

/// The connection is at an end: why, unless it was wanted.
struct Over(Option<Closed>);

impl From<ssh2::Error> for Over {
    fn from(error: ssh2::Error) -> Self {
        Over(Some(match code::of(&error) {
            code::SOCKET_DISCONNECT => Closed::ByServer(None),
            code::SOCKET_RECV | code::SOCKET_SEND => Closed::Lost("the connection was closed".to_owned()),
            _ => Closed::Lost(error.message().to_owned()),
        }))
    }
}

struct Pump<'a> {
    thread: &'a Thread,
    session: &'a ssh2::Session,
    desk: &'a Desk,
    channels: Vec<Line>,
    opening: VecDeque<Opening>,
    next_id: u64,
    heard: Instant,
    ask_at: Instant,
    keepalive: Keepalive,
}

/// An open channel.
struct Line {
    id: u64,
    channel: ssh2::Channel,
    outlet: Outlet,
    room: Arc<Semaphore>,
    out: VecDeque<(Vec<u8>, usize, Option<OwnedSemaphorePermit>)>,
    /// A packet of this channel may be half on its way.
    in_flight: bool,
    eof: Eof,
    closing: bool,
    /// The far side has closed, and that was passed on.
    told: bool,
    gone: bool,
}

#[derive(PartialEq, Eq)]
enum Eof {
    NotYet,
    Wanted,
    Sent,
}

/// A channel that is being opened; libssh2 opens one after the other.
struct Opening {
    what: What,
    stage: Stage,
    reply: oneshot::Sender<Result<Pipe, NotOpened>>,
}

enum Stage {
    Open,
    Exec(ssh2::Channel),
    /// The server takes no command, and libssh2 asks only once on a channel: to another one, with a shell.
    GiveUp(ssh2::Channel),
    OpenAgain,
    Shell(ssh2::Channel),
}

impl Pump<'_> {
    fn serve(&mut self) -> Option<Closed> {
        loop {
            match self.turn() {
                Ok(()) => {}
                Err(Over(why)) => return why,
            }
        }
    }

    fn turn(&mut self) -> Result<(), Over> {
        self.thread.wakes.forget();
        self.take_orders()?;
        let mut moved = false;
        for _ in 0..PASSES {
            moved = self.open_next()?;
            for index in 0..self.channels.len() {
                moved |= self.channels[index].step(self.session)?;
            }
            self.channels.retain(|line| !line.gone);
            if !moved {
                break;
            }
            self.heard = Instant::now();
        }
        if moved { Ok(()) } else { self.wait() }
    }

    fn take_orders(&mut self) -> Result<(), Over> {
        loop {
            if self.thread.end.is_left() {
                return Err(Over(None));
            }
            match self.thread.orders.try_recv() {
                Ok(Command::Order(Order::Open { what, reply })) => {
                    self.opening.push_back(Opening { what, stage: Stage::Open, reply });
                }
                Ok(Command::Order(Order::Data { id, bytes, place })) => {
                    if let Some(line) = self.line(id).filter(|line| !line.closing) {
                        line.out.push_back((bytes, 0, Some(place)));
                    }
                }
                Ok(Command::Order(Order::Eof { id })) => {
                    if let Some(line) = self.line(id).filter(|line| line.eof == Eof::NotYet) {
                        line.eof = Eof::Wanted;
                    }
                }
                Ok(Command::Order(Order::Close { id })) => {
                    if let Some(line) = self.line(id) {
                        line.give_up();
                    }
                }
                Ok(Command::Order(Order::Bye)) => {
                    self.say_goodbye();
                    return Err(Over(None));
                }
                Ok(Command::Job(job)) => drop(job),
                Ok(Command::Serve(..)) => {}
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Over(None)),
            }
        }
    }

    fn line(&mut self, id: u64) -> Option<&mut Line> {
        self.channels.iter_mut().find(|line| line.id == id)
    }

    /// Goes on with the first of those that are being opened; true when something moved.
    fn open_next(&mut self) -> Result<bool, Over> {
        let Some(mut opening) = self.opening.pop_front() else { return Ok(false) };
        if matches!(opening.stage, Stage::Open) && opening.reply.is_closed() && !self.outbound() {
            // Nobody waits. A request that is half on its way must be finished all the same; then this comes again.
            if self.session.is_blocking() || opening.untouched {
                return Ok(true);
            }
        }
        let _ = &mut opening;
        Ok(false)
    }

    fn outbound(&self) -> bool {
        matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }
}
