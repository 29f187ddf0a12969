//! The two directions of a channel, as tasks see them: everything goes through the session's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};

use super::pump::Order;
use super::wire::Waker;
use super::worker::Desk;
use crate::transport::link::{Ask, Message, Pipe, PipeRead, PipeWrite};

/// How much may wait for its reader, in bytes, before the channel is not read any more.
const WAITING: usize = 4 * 1024 * 1024;

/// How many pieces may wait for the far side of a channel.
const PIECES: usize = 4;

/// The thread's side of a channel's reader.
#[derive(Debug)]
pub(super) struct Outlet {
    messages: mpsc::UnboundedSender<Message>,
    fill: Arc<Fill>,
}

#[derive(Debug, Default)]
struct Fill {
    waiting: AtomicUsize,
    stalled: AtomicBool,
}

impl Outlet {
    /// Whether the reader is so far behind that nothing more should be read; it wakes the thread when it catches up.
    pub(super) fn is_full(&self) -> bool {
        if self.fill.waiting.load(Ordering::SeqCst) < WAITING {
            return false;
        }
        self.fill.stalled.store(true, Ordering::SeqCst);
        // It may have caught up in between, and then it has not seen the mark.
        self.fill.waiting.load(Ordering::SeqCst) >= WAITING && !self.messages.is_closed()
    }

    /// A reader that is gone misses nothing.
    pub(super) fn say(&self, message: Message) {
        self.fill.waiting.fetch_add(size(&message), Ordering::SeqCst);
        let _ = self.messages.send(message);
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Stdout(data) | Message::Stderr(data) => data.len(),
        _ => 0,
    }
}

struct Reader {
    messages: mpsc::UnboundedReceiver<Message>,
    fill: Arc<Fill>,
    waker: Arc<Waker>,
}

#[async_trait]
impl PipeRead for Reader {
    async fn wait(&mut self) -> Option<Message> {
        let message = self.messages.recv().await?;
        let before = self.fill.waiting.fetch_sub(size(&message), Ordering::SeqCst);
        if before - size(&message) < WAITING / 2 && self.fill.stalled.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
        Some(message)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.messages.close();
        self.waker.wake();
    }
}

struct Writer {
    id: u64,
    desk: Desk,
    room: Arc<Semaphore>,
}

#[async_trait]
impl PipeWrite for Writer {
    async fn data(&self, bytes: Vec<u8>) -> Result<(), String> {
        let closed = || "its channel was closed".to_owned();
        let place = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        if self.desk.order(Order::Data { id: self.id, bytes, place }) { Ok(()) } else { Err(closed()) }
    }

    async fn eof(&self) -> Result<(), String> {
        self.desk.order(Order::Eof { id: self.id });
        Ok(())
    }

    async fn signal(&self, _: Ask) -> bool {
        false // libssh2 can, the crate ssh2 cannot
    }

    async fn close(&self) {
        self.desk.order(Order::Close { id: self.id });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.desk.order(Order::Close { id: self.id });
    }
}

/// Both ends of a new channel: what tasks get, and what the thread keeps (its reader, and the room for pieces).
pub(super) fn pipe(id: u64, desk: &Desk) -> (Pipe, Outlet, Arc<Semaphore>) {
    let (messages, received) = mpsc::unbounded_channel();
    let (fill, room) = (Arc::new(Fill::default()), Arc::new(Semaphore::new(PIECES)));
    let read = Reader { messages: received, fill: Arc::clone(&fill), waker: Arc::clone(&desk.waker) };
    let write = Writer { id, desk: desk.clone(), room: Arc::clone(&room) };
    (Pipe { read: Box::new(read), write: Arc::new(write) }, Outlet { messages, fill }, room)
}
