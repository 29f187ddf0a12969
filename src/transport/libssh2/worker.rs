//! The thread of a session. Before the login it runs one blocking call after the other; after it, the event loop of
//! `pump`. It ends when the connection ends, and dropping its handle ends the connection: libssh2's waiting returns
//! because the socket under it is shut down.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::pump::{self, Order};
use super::wire::{Number, Waker, Wakes, Wire, waker};
use crate::transport::auth::Closed;
use crate::transport::connect::{system, unreachable};
use crate::transport::{Target, TransportError};

/// The most sessions, and so threads, of this process at once.
const MOST: usize = 512;

static SESSIONS: Semaphore = Semaphore::const_new(MOST);

/// Stack of a session's thread, in bytes: libssh2 and OpenSSL need far less.
const STACK: usize = 512 * 1024;

type Job = Box<dyn FnOnce(&mut ssh2::Session) + Send>;

pub(super) enum Command {
    Job(Job),
    /// No more jobs: open the event loop. The desk is for the channels that it opens.
    Serve(pump::Keepalive, Desk),
    Order(Order),
}

/// Why a session ended; shared by all that ask.
#[derive(Debug, Default)]
pub(super) struct End {
    closed: AtomicBool,
    /// Nobody wants the session any more.
    left: AtomicBool,
    why: Mutex<Option<Closed>>,
}

impl End {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Whether the session is still wanted.
    pub(super) fn is_left(&self) -> bool {
        self.left.load(Ordering::SeqCst)
    }

    fn why(&self) -> Option<Closed> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, why: Option<Closed>) {
        if let Some(why) = why {
            self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        }
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(super) fn reason(&self) -> String {
        match self.why() {
            Some(closed) => closed.to_string(),
            None if self.is_closed() => "the connection was closed".to_owned(),
            None => "the server closed the channel".to_owned(),
        }
    }
}

/// Gives orders to a session's thread. Cheap to clone; does not keep the session alive.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    commands: Sender<Command>,
    pub(super) waker: Arc<Waker>,
}

impl Desk {
    /// False when the thread has ended.
    pub(super) fn order(&self, order: Order) -> bool {
        let sent = self.commands.send(Command::Order(order)).is_ok();
        self.waker.wake();
        sent
    }
}

/// A session's thread.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) desk: Desk,
    pub(super) wire: Arc<Wire>,
    /// What libssh2 reads from and writes to.
    pub(super) number: Number,
    pub(super) end: Arc<End>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end.left.store(true, Ordering::SeqCst);
        self.wire.shutdown();
        self.desk.waker.wake();
    }
}

impl Worker {
    /// Starts a thread for a byte stream to `target`.
    pub(super) async fn start(target: &Target, wire: Wire) -> Result<Self, TransportError> {
        let failed = |what: String| unreachable(target, what);
        let Ok(Ok(place)) = timeout(target.connect_timeout, SESSIONS.acquire()).await else {
            return Err(failed(format!(
                "{MOST} sessions over libssh2 are open at once, jump hosts counted: use a smaller --forks, or `--transport russh`"
            )));
        };
        let io_failed = |error: io::Error| system(target, &error);
        let session = ssh2::Session::new().map_err(|error| failed(format!("libssh2 does not start: {error}")))?;
        let (waker, wakes) = waker().map_err(io_failed)?;
        let (commands, orders) = channel();
        let desk = Desk { commands, waker: Arc::new(waker) };
        let own = wire.as_fd().try_clone_to_owned().map_err(io_failed)?;
        let number = Number(own.as_raw_fd());
        let (wire, end) = (Arc::new(wire), Arc::new(End::default()));
        let host = target.name.clone();
        let thread = Thread { wire: Arc::clone(&wire), end: Arc::clone(&end), host, orders, wakes };
        std::thread::Builder::new()
            .name("libssh2".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                thread.run(own, session);
                drop(place);
            })
            .map_err(io_failed)?;
        Ok(Self { desk, wire, number, end })
    }

    /// Runs a blocking call in the thread; `None` when the thread has ended. Whoever drops this leaves the call
    /// running until it is answered or the worker is dropped too.
    pub(super) async fn ask<T, F>(&self, job: F) -> Option<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut ssh2::Session) -> T + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |session| {
            let _ = answer.send(job(session));
        });
        self.desk.commands.send(Command::Job(job)).ok()?;
        self.desk.waker.wake();
        answered.await.ok()
    }

    /// Ends the time of blocking calls: from now on there are channels.
    pub(super) fn serve(&self, interval: Duration, max: usize) {
        let keepalive = pump::Keepalive::new(interval, max);
        let _ = self.desk.commands.send(Command::Serve(keepalive, self.desk.clone()));
        self.desk.waker.wake();
    }
}

/// What the thread owns beside the session.
pub(super) struct Thread {
    pub(super) wire: Arc<Wire>,
    pub(super) end: Arc<End>,
    pub(super) host: String,
    pub(super) orders: Receiver<Command>,
    pub(super) wakes: Wakes,
}

/// Marks the session as ended however the thread ends, a panic included.
struct MarksTheEnd {
    wire: Arc<Wire>,
    end: Arc<End>,
}

impl Drop for MarksTheEnd {
    fn drop(&mut self) {
        self.wire.shutdown();
        self.end.set(None);
    }
}

impl Thread {
    /// `own` is the descriptor that libssh2 knows by its number: it is closed after the session is freed.
    fn run(self, mut own: OwnedFd, mut session: ssh2::Session) {
        // Dropped before the session: freeing that must find a dead socket, or it would try to talk.
        let marks = MarksTheEnd { wire: Arc::clone(&self.wire), end: Arc::clone(&self.end) };
        loop {
            match self.orders.recv() {
                Ok(Command::Job(job)) => job(&mut session),
                Ok(Command::Serve(keepalive, desk)) => {
                    pump::run(&self, &session, &mut own, keepalive, &desk);
                    break;
                }
                Ok(Command::Order(_)) => {}
                Err(_) => break,
            }
        }
        drop(marks);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Tests that count this process's sessions take turns.
    pub(in crate::transport::libssh2) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    #[tokio::test]
    async fn one_session_too_many_is_told_and_has_its_place_when_another_ends() {
        let _alone = ALONE.lock().await;
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = || Wire::Tcp(std::net::TcpStream::connect(silent.local_addr().unwrap()).unwrap());
        let mut target = Target::new("esx1", "127.0.0.1");
        target.connect_timeout = Duration::from_millis(100);
        let others = SESSIONS.acquire_many(u32::try_from(MOST - 1).unwrap()).await.unwrap();
        let last = Worker::start(&target, wire()).await.unwrap();
        let error = Worker::start(&target, wire()).await.unwrap_err().to_string();
        assert!(error.contains("512 sessions") && error.contains("--forks"), "{error}");
        // It waits for its place as long as a connection may take.
        target.connect_timeout = Duration::from_secs(10);
        let (waiting, ()) = tokio::join!(Worker::start(&target, wire()), async { drop(last) });
        assert!(waiting.is_ok());
        drop(others);
    }
}
