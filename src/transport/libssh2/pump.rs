//! The event loop of a session's thread: libssh2 in its non-blocking mode, all channels in turn.
//!
//! libssh2 holds one outgoing packet at a time. A call that could not send all of it must be made again before any
//! other can send; so whatever "would block" stays on its list and is tried again, whoever waits for it or not.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::BlockDirections;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::code;
use super::line::Line;
use super::pipe::pipe;
use super::worker::{Command, Desk, Thread};
use crate::transport::TransportError;
use crate::transport::auth::Closed;
use crate::transport::link::{NotOpened, Pipe, SHELL};

/// Passes over all channels before new orders are looked at.
const PASSES: usize = 32;

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

/// Serves channels until the connection ends or nobody wants it. `own` is the descriptor that libssh2 uses.
pub(super) fn run(thread: &Thread, session: &ssh2::Session, own: &mut OwnedFd, keepalive: Keepalive, desk: &Desk) {
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
    let over = pump.serve();
    if over.cut {
        pump.last_words(own);
    }
    pump.finish(over.why);
}

/// The connection is at an end: why, unless it was wanted.
pub(super) struct Over {
    why: Option<Closed>,
    /// It just ended: what came before may not have been read yet.
    cut: bool,
}

impl Over {
    pub(super) fn new(why: Option<Closed>) -> Self {
        Self { why, cut: false }
    }
}

impl From<ssh2::Error> for Over {
    fn from(error: ssh2::Error) -> Self {
        let code = code::of(&error);
        let why = match code {
            code::SOCKET_DISCONNECT => Closed::ByServer(None),
            code::SOCKET_RECV | code::SOCKET_SEND => Closed::Lost("the connection was closed".to_owned()),
            _ => Closed::Lost(error.message().to_owned()),
        };
        Over { why: Some(why), cut: matches!(code, code::SOCKET_RECV | code::SOCKET_SEND) }
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

/// A channel that is being opened; libssh2 opens one after the other.
struct Opening {
    what: What,
    stage: Stage,
    started: bool,
    /// It became the login's own shell, not the command.
    shell: bool,
    host: String,
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
    fn serve(&mut self) -> Over {
        loop {
            if let Err(over) = self.turn() {
                return over;
            }
        }
    }

    /// libssh2 reads all that has arrived before it hands any of it out, and when the end of the connection is among
    /// it, it hands out nothing: the answer to a command that cuts the connection would be lost. So its descriptor is
    /// made to be one on which nothing happens, and it is asked again.
    fn last_words(&mut self, own: &mut OwnedFd) {
        let Ok((idle, _other)) = UnixStream::pair() else { return };
        if idle.set_nonblocking(true).is_err() || rustix::io::dup2(&idle, own).is_err() {
            return;
        }
        for line in &mut self.channels {
            while line.read(self.session).unwrap_or(false) {}
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
                return Err(Over::new(None));
            }
            match self.thread.orders.try_recv() {
                Ok(Command::Order(Order::Open { what, reply })) => {
                    let host = self.thread.host.clone();
                    let stage = Stage::Open;
                    self.opening.push_back(Opening { what, stage, started: false, shell: false, host, reply });
                }
                Ok(Command::Order(Order::Data { id, bytes, place })) => {
                    if let Some(line) = self.line(id) {
                        line.push(bytes, Some(place));
                    }
                }
                Ok(Command::Order(Order::Eof { id })) => {
                    if let Some(line) = self.line(id) {
                        line.end_input();
                    }
                }
                Ok(Command::Order(Order::Close { id })) => {
                    if let Some(line) = self.line(id) {
                        line.give_up();
                    }
                }
                Ok(Command::Order(Order::Bye)) => {
                    self.say_goodbye();
                    return Err(Over::new(None));
                }
                Ok(Command::Job(job)) => drop(job),
                Ok(Command::Serve(..)) => {}
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Over::new(None)),
            }
        }
    }

    fn line(&mut self, id: u64) -> Option<&mut Line> {
        self.channels.iter_mut().find(|line| line.id == id)
    }

    /// Goes on with the first of those that are being opened; true when something moved.
    fn open_next(&mut self) -> Result<bool, Over> {
        let Some(mut opening) = self.opening.pop_front() else { return Ok(false) };
        if !opening.started && opening.reply.is_closed() {
            return Ok(true); // nobody waits for it any more
        }
        opening.started = true;
        match opening.step(self.session) {
            Ok(Step::Blocked(stage)) => {
                opening.stage = stage;
                self.opening.push_front(opening);
                Ok(false)
            }
            Ok(Step::Next(stage)) => {
                opening.stage = stage;
                self.opening.push_front(opening);
                Ok(true)
            }
            Ok(Step::Open(channel)) => {
                self.next_id += 1;
                let (pipe, outlet, room) = pipe(self.next_id, self.desk);
                let mut line = Line::new(self.next_id, channel, outlet, room);
                if let (true, What::Command(command)) = (opening.shell, &opening.what)
                    && command != SHELL
                {
                    // Whoever opens this waits for a first word before sending more: what a shell has read ahead of
                    // `exec` would be lost.
                    line.push(format!("exec {command}\n").into_bytes(), None);
                }
                self.channels.push(line);
                // If nobody waits any more, dropping the pipe closes the channel.
                let _ = opening.reply.send(Ok(pipe));
                Ok(true)
            }
            Ok(Step::Refused(reason)) => {
                let _ = opening.reply.send(Err(reason));
                Ok(true)
            }
            Err(over) => {
                self.opening.push_front(opening); // gets its answer at the end
                Err(over)
            }
        }
    }

    /// Waits until something can be done.
    fn wait(&mut self) -> Result<(), Over> {
        let now = Instant::now();
        let outbound = matches!(self.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both);
        let listening = !self.opening.is_empty() || self.channels.iter().any(|line| !line.is_full());
        if !listening {
            self.heard = now; // not its silence but ours
        }
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, listening);
        interest.set(PollFlags::OUT, outbound);
        let until = self.ask_at.min(self.heard + self.keepalive.silence).saturating_duration_since(now);
        let pause = Timespec {
            tv_sec: i64::try_from(until.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(until.subsec_nanos()),
        };
        let mut waiting = vec![PollFd::new(&self.thread.wakes, PollFlags::IN)];
        if !interest.is_empty() {
            waiting.push(PollFd::from_borrowed_fd(self.thread.wire.as_fd(), interest));
        }
        match poll(&mut waiting, Some(&pause)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Over::new(Some(Closed::Lost(error.to_string())))),
        }
        let happened = waiting.get(1).map_or(PollFlags::empty(), PollFd::revents);
        drop(waiting);
        let now = Instant::now();
        if happened.contains(PollFlags::IN) {
            self.heard = now;
        } else if now >= self.heard + self.keepalive.silence {
            return Err(Over::new(Some(Closed::Lost("the host gave no sign of life".to_owned()))));
        }
        if now >= self.ask_at {
            self.ask_at = now + self.keepalive.interval;
            // A keepalive that goes out in part only would block all else for ever: libssh2 makes it on its stack.
            if !outbound && self.writable() {
                self.session.keepalive_send()?;
            }
        }
        Ok(())
    }

    fn writable(&self) -> bool {
        let mut waiting = [PollFd::from_borrowed_fd(self.thread.wire.as_fd(), PollFlags::OUT)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut waiting, Some(&at_once)).is_ok() && waiting[0].revents().contains(PollFlags::OUT)
    }

    fn say_goodbye(&self) {
        let deadline = Instant::now() + GOODBYE;
        while let Err(error) = self.session.disconnect(Some(ssh2::DisconnectCode::ByApplication), "", None) {
            if code::of(&error) != code::EAGAIN || Instant::now() >= deadline {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Tells everyone.
    fn finish(self, why: Option<Closed>) {
        // First the reason: who learns of the end of a channel asks for it.
        self.thread.end.set(why);
        self.thread.wire.shutdown();
        let lost = |what: &str| {
            NotOpened::Failed(TransportError::Lost {
                host: self.thread.host.clone(),
                during: format!("while opening a channel: {} ({what})", self.thread.end.reason()),
            })
        };
        for opening in self.opening {
            let _ = opening.reply.send(Err(lost("it was not opened")));
        }
        for line in &self.channels {
            line.cut();
        }
        while let Ok(command) = self.thread.orders.try_recv() {
            if let Command::Order(Order::Open { reply, .. }) = command {
                let _ = reply.send(Err(lost("it was not opened")));
            }
        }
    }
}

enum Step {
    Blocked(Stage),
    Next(Stage),
    Open(ssh2::Channel),
    Refused(NotOpened),
}

impl Opening {
    fn step(&mut self, session: &ssh2::Session) -> Result<Step, Over> {
        let refused = |error: &ssh2::Error| {
            let text = error.message();
            let reason = text.strip_prefix("Channel open failure (").and_then(|rest| rest.strip_suffix(')'));
            Step::Refused(NotOpened::Refused(reason.unwrap_or(text).to_owned()))
        };
        let stage = std::mem::replace(&mut self.stage, Stage::Open);
        match stage {
            Stage::Open | Stage::OpenAgain => {
                let again = matches!(stage, Stage::OpenAgain);
                let opened = match &self.what {
                    What::Command(_) => session.channel_session(),
                    What::Tunnel(host, port) => session.channel_direct_tcpip(host, *port, None),
                };
                match (opened, &self.what) {
                    (Ok(channel), What::Tunnel(..)) => Ok(Step::Open(channel)),
                    (Ok(channel), What::Command(_)) if again => Ok(Step::Next(Stage::Shell(channel))),
                    (Ok(channel), What::Command(_)) => Ok(Step::Next(Stage::Exec(channel))),
                    (Err(error), _) => match code::of(&error) {
                        code::EAGAIN => Ok(Step::Blocked(if again { Stage::OpenAgain } else { Stage::Open })),
                        code::CHANNEL_FAILURE => Ok(refused(&error)),
                        _ => Err(error.into()),
                    },
                }
            }
            Stage::Exec(mut channel) => {
                let What::Command(command) = &self.what else { return Ok(Step::Open(channel)) };
                match channel.exec(command) {
                    Ok(()) => Ok(Step::Open(channel)),
                    Err(error) => match code::of(&error) {
                        code::EAGAIN => Ok(Step::Blocked(Stage::Exec(channel))),
                        code::CHANNEL_REQUEST_DENIED => Ok(Step::Next(Stage::GiveUp(channel))),
                        _ => Err(error.into()),
                    },
                }
            }
            Stage::GiveUp(mut channel) => match channel.close() {
                Err(error) if code::of(&error) == code::EAGAIN => Ok(Step::Blocked(Stage::GiveUp(channel))),
                _ => Ok(Step::Next(Stage::OpenAgain)),
            },
            Stage::Shell(mut channel) => match channel.shell() {
                Ok(()) => {
                    self.shell = true;
                    Ok(Step::Open(channel))
                }
                Err(error) => match code::of(&error) {
                    code::EAGAIN => Ok(Step::Blocked(Stage::Shell(channel))),
                    code::CHANNEL_REQUEST_DENIED => Ok(Step::Refused(NotOpened::Failed(TransportError::Protocol {
                        host: self.host.clone(),
                        detail: "it refuses both a command and a shell".to_owned(),
                    }))),
                    _ => Err(error.into()),
                },
            },
        }
    }
}
