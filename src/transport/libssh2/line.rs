//! An open channel of a session's thread: what waits to be sent, and how far its two directions have come.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use ssh2::BlockDirections;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::code;
use super::pipe::Outlet;
use super::pump::Over;
use crate::transport::auth::Closed;
use crate::transport::link::Message;

/// Bytes read in one go.
const PIECE: usize = 32 * 1024;

/// Calls that write before others get their turn.
const WRITES: usize = 64;

/// An open channel.
pub(super) struct Line {
    pub(super) id: u64,
    channel: ssh2::Channel,
    outlet: Outlet,
    room: Arc<Semaphore>,
    out: VecDeque<Outgoing>,
    /// A packet of this channel may be half on its way.
    in_flight: bool,
    eof: Eof,
    closing: bool,
    /// The far side has closed, and that was passed on.
    told: bool,
    /// It is closed on both sides: nothing is left to do for it.
    pub(super) gone: bool,
}

/// Bytes that wait to be sent.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Gives the sender room for more when all of it is sent.
    _place: Option<OwnedSemaphorePermit>,
}

#[derive(PartialEq, Eq)]
enum Eof {
    NotYet,
    Wanted,
    Sent,
}

impl Line {
    pub(super) fn new(id: u64, channel: ssh2::Channel, outlet: Outlet, room: Arc<Semaphore>) -> Self {
        Self {
            id,
            channel,
            outlet,
            room,
            out: VecDeque::new(),
            in_flight: false,
            eof: Eof::NotYet,
            closing: false,
            told: false,
            gone: false,
        }
    }

    /// Queues bytes; `place` is held until they are sent.
    pub(super) fn push(&mut self, bytes: Vec<u8>, place: Option<OwnedSemaphorePermit>) {
        if !self.closing {
            self.out.push_back(Outgoing { bytes, sent: 0, _place: place });
        }
    }

    /// No more bytes come after those that wait.
    pub(super) fn end_input(&mut self) {
        if self.eof == Eof::NotYet {
            self.eof = Eof::Wanted;
        }
    }

    /// Whether its reader is too far behind to be given more.
    pub(super) fn is_full(&self) -> bool {
        self.outlet.is_full()
    }

    /// The connection has ended: nobody waits for room any more.
    pub(super) fn cut(&self) {
        self.room.close();
    }

    /// Nothing of it is wanted any more. What is half on its way goes out all the same.
    pub(super) fn give_up(&mut self) {
        self.closing = true;
        self.room.close();
        self.out.truncate(usize::from(self.in_flight));
    }

    /// Does what can be done without waiting; true when something moved.
    pub(super) fn step(&mut self, session: &ssh2::Session) -> Result<bool, Over> {
        let mut moved = self.write(session)?;
        if self.eof == Eof::Wanted && self.out.is_empty() && !self.closing {
            match self.channel.send_eof() {
                Ok(()) => {
                    self.eof = Eof::Sent;
                    moved = true;
                }
                Err(error) if code::of(&error) == code::EAGAIN => {}
                Err(error) => return Err(error.into()),
            }
        }
        moved |= self.read(session)?;
        // After reading: `eof` is true only when nothing is left to read.
        if !self.told && self.channel.eof() {
            match self.channel.wait_close() {
                Ok(()) => {
                    self.tell_end();
                    moved = true;
                }
                Err(error) if code::of(&error) == code::EAGAIN => {}
                Err(error) => return Err(error.into()),
            }
        }
        if (self.closing || self.told) && self.out.is_empty() {
            match self.channel.close() {
                Err(error) if code::of(&error) == code::EAGAIN => {}
                Err(error) if code::is_socket(code::of(&error)) => return Err(error.into()),
                _ => {
                    if !self.told {
                        self.tell_end();
                    }
                    self.gone = true;
                    moved = true;
                }
            }
        }
        Ok(moved)
    }

    /// How it ended: libssh2 gives exit code 0 for a process that was killed, so the signal is asked for first.
    fn tell_end(&mut self) {
        let signal = self.channel.exit_signal().ok().and_then(|signal| signal.exit_signal);
        match (signal, self.channel.exit_status()) {
            (Some(name), _) => self.outlet.say(Message::Signal(name)),
            (None, Ok(status)) => self.outlet.say(Message::Code(u32::try_from(status).unwrap_or(255))),
            (None, Err(_)) => {}
        }
        self.outlet.say(Message::Close);
        self.told = true;
        self.give_up();
    }

    fn write(&mut self, session: &ssh2::Session) -> Result<bool, Over> {
        let mut moved = false;
        for _ in 0..WRITES {
            let Some(first) = self.out.front_mut() else { break };
            if first.sent == first.bytes.len() {
                self.out.pop_front();
                moved = true;
                continue;
            }
            match self.channel.write(&first.bytes[first.sent..]) {
                Ok(0) => break,
                Ok(n) => {
                    self.in_flight = false;
                    first.sent += n;
                    moved = true;
                    if self.closing {
                        self.out.clear();
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let directions = session.block_directions();
                    self.in_flight = matches!(directions, BlockDirections::Outbound | BlockDirections::Both);
                    if self.closing && !self.in_flight {
                        self.out.clear();
                    }
                    break;
                }
                Err(_) => {
                    let over = ssh2::Error::last_session_error(session);
                    match over {
                        Some(error) if !matches!(code::of(&error), code::CHANNEL_CLOSED | code::CHANNEL_EOF_SENT) => {
                            return Err(error.into());
                        }
                        _ => self.give_up(),
                    }
                    self.in_flight = false;
                    self.out.clear();
                    break;
                }
            }
        }
        Ok(moved)
    }

    /// Takes in what has arrived, as far as its reader wants it; true when something had.
    pub(super) fn read(&mut self, session: &ssh2::Session) -> Result<bool, Over> {
        let mut moved = false;
        let mut piece = vec![0; PIECE];
        for stream in [0, ssh2::EXTENDED_DATA_STDERR] {
            while !self.outlet.is_full() {
                match self.channel.stream(stream).read(&mut piece) {
                    Ok(0) => break,
                    Ok(n) => {
                        let data = piece[..n].to_vec();
                        self.outlet.say(if stream == 0 { Message::Stdout(data) } else { Message::Stderr(data) });
                        moved = true;
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => {
                        return Err(ssh2::Error::last_session_error(session)
                            .map_or_else(|| Over::new(Some(Closed::Lost(error.to_string()))), Over::from));
                    }
                }
            }
        }
        Ok(moved)
    }
}
