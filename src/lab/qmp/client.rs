//! The connection: one task owns the socket; handles ask it, events go to all who listen.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::QmpError;
use super::wire::{Event, Incoming, Lines, parse_line};

/// How long a command may take unless the call says otherwise. QEMU answers in milliseconds; a machine with more
/// guests than cores was seen to take 1.6 s for the first answer.
pub const USUAL_LIMIT: Duration = Duration::from_secs(30);
/// Longest time between two looks at a socket.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Events kept for a listener that is behind.
const EVENTS_KEPT: usize = 256;

/// A version of QEMU, compared as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct QemuVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// A QEMU's monitor. Copies share one connection; it is closed with the last of them.
#[derive(Clone)]
pub struct Qmp {
    requests: mpsc::Sender<Request>,
    // The task alone keeps the channel open: with it ends the stream.
    events: broadcast::WeakSender<Event>,
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    peer: Option<u32>,
    version: QemuVersion,
    package: String,
    /// How the connection ended, once it has.
    end: std::sync::OnceLock<String>,
}

struct Request {
    command: String,
    arguments: Option<Value>,
    answer: oneshot::Sender<Result<Value, Refusal>>,
}

struct Refusal {
    class: String,
    desc: String,
}

impl fmt::Debug for Qmp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qmp").field("path", &self.shared.path).field("version", &self.shared.version).finish()
    }
}

impl Qmp {
    /// Connects, and waits `limit` for the greeting. Who gets no greeting is not alone on this monitor.
    pub async fn connect(path: &Path, limit: Duration) -> Result<Self, QmpError> {
        let deadline = Instant::now() + limit;
        loop {
            match UnixStream::connect(path).await {
                Ok(stream) => return Self::greet(path, stream, deadline, limit).await,
                Err(e) if e.kind() != io::ErrorKind::WouldBlock || Instant::now() >= deadline => {
                    return Err(no_qemu(path, &e, limit));
                }
                Err(_) => sleep(PAUSE_MAX).await,
            }
        }
    }

    /// Connects as soon as somebody listens on the socket, looking every few milliseconds until `limit` is over.
    /// `alive` says whether it is worth waiting on: when it gives a reason, that is the end.
    pub async fn connect_when_ready<E: From<QmpError>>(
        path: &Path,
        limit: Duration,
        mut alive: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        let deadline = Instant::now() + limit;
        let mut pause = Duration::from_millis(1);
        loop {
            alive()?;
            match UnixStream::connect(path).await {
                Ok(stream) => return Ok(Self::greet(path, stream, deadline, limit).await?),
                Err(e) if Instant::now() >= deadline => return Err(no_qemu(path, &e, limit).into()),
                Err(_) => sleep(pause).await,
            }
            // A QEMU is there after some 50 ms; a slow one need not be asked so often.
            pause = (pause * 33 / 32).min(PAUSE_MAX);
        }
    }

    async fn greet(path: &Path, stream: UnixStream, deadline: Instant, limit: Duration) -> Result<Self, QmpError> {
        let peer = stream.peer_cred().ok().and_then(|cred| u32::try_from(cred.pid()?).ok());
        let (mut read, mut write) = stream.into_split();
        let mut lines = Lines::default();
        let odd = |problem: String| QmpError::Odd { doing: "the greeting".into(), problem };
        let first = timeout_at(deadline, next(&mut read, &mut lines)).await.map_err(|_| no_greeting(path, limit))?;
        let (version, package) = match first.map_err(|reason| lost(path, "the greeting", reason))? {
            Incoming::Greeting { version: (major, minor, micro), package } => {
                (QemuVersion { major, minor, micro }, package)
            }
            other => return Err(odd(format!("it is {other:?}"))),
        };
        let hello = json!({"execute": "qmp_capabilities", "id": 0});
        let talk = async {
            write.write_all(format!("{hello}\n").as_bytes()).await.map_err(|e| e.to_string())?;
            loop {
                // Events may come before the answer.
                match next(&mut read, &mut lines).await? {
                    Incoming::Return { id: Some(0), .. } => return Ok(()),
                    Incoming::Error { desc, .. } => return Err(desc),
                    _ => {}
                }
            }
        };
        let silent = |_| QmpError::Silent { doing: "qmp_capabilities".into(), waited: limit };
        timeout_at(deadline, talk).await.map_err(silent)?.map_err(|reason| lost(path, "qmp_capabilities", reason))?;

        let (requests, inbox) = mpsc::channel(16);
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        let end = std::sync::OnceLock::new();
        let shared = Arc::new(Shared { path: path.to_owned(), peer, version, package, end });
        let handle = Self { requests, events: events.downgrade(), shared: shared.clone() };
        tokio::spawn(Task { read, write, lines, inbox, events, shared }.run());
        Ok(handle)
    }

    /// QEMU's version, as it said in its greeting.
    pub fn version(&self) -> QemuVersion {
        self.shared.version
    }

    /// The distribution's words about the version; may be empty.
    pub fn package(&self) -> &str {
        &self.shared.package
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The process that made the socket, as the kernel knows it: QEMU.
    pub fn peer(&self) -> Option<u32> {
        self.shared.peer
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Waits until the connection has ended: QEMU is gone, or going.
    pub async fn closed(&self) {
        self.requests.closed().await;
    }

    /// Events from now on.
    pub fn events(&self) -> Events {
        // After the end: a channel on which nothing comes any more.
        let receiver = self.events.upgrade().map_or_else(|| broadcast::channel(1).1, |events| events.subscribe());
        Events { receiver }
    }

    /// Carries out a command and gives its answer, within [`USUAL_LIMIT`].
    pub async fn execute(&self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        self.execute_within(command, arguments, USUAL_LIMIT).await
    }

    /// Carries out a command within a time limit. After the limit QEMU may still do it; its answer is dropped.
    pub async fn execute_within(&self, command: &str, arguments: Value, limit: Duration) -> Result<Value, QmpError> {
        let (answer, result) = oneshot::channel();
        let arguments = Some(arguments).filter(|a| !a.is_null());
        let request = Request { command: command.to_owned(), arguments, answer };
        let asked = async {
            self.requests.send(request).await.map_err(|_| ())?;
            result.await.map_err(|_| ())
        };
        match timeout(limit, asked).await {
            Err(_) => Err(QmpError::Silent { doing: command.to_owned(), waited: limit }),
            Ok(Err(())) => {
                let reason = self.shared.end.get().cloned().unwrap_or_else(|| "it was closed".to_owned());
                Err(lost(&self.shared.path, command, reason))
            }
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(Refusal { class, desc }))) => Err(QmpError::Refused { doing: command.to_owned(), class, desc }),
        }
    }
}

/// Events of one monitor, from when this was made. It does not keep the connection open.
#[derive(Debug)]
pub struct Events {
    receiver: broadcast::Receiver<Event>,
}

impl Events {
    /// The next event; none when the connection has ended. A listener that is far behind misses the oldest ones.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event of this name.
    pub async fn next_of(&mut self, name: &str) -> Option<Event> {
        loop {
            let event = self.next().await?;
            if event.name == name {
                return Some(event);
            }
        }
    }
}

/// What owns the socket.
struct Task {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    lines: Lines,
    inbox: mpsc::Receiver<Request>,
    events: broadcast::Sender<Event>,
    shared: Arc<Shared>,
}

impl Task {
    async fn run(mut self) {
        let mut waiting: HashMap<u64, oneshot::Sender<Result<Value, Refusal>>> = HashMap::new();
        let mut next_id = 1;
        let end = loop {
            tokio::select! {
                request = self.inbox.recv() => {
                    // The last handle is gone.
                    let Some(request) = request else { break "it was closed".to_owned() };
                    let mut line = json!({"execute": request.command, "id": next_id});
                    if let Some(arguments) = request.arguments {
                        line["arguments"] = arguments;
                    }
                    waiting.insert(next_id, request.answer);
                    next_id += 1;
                    if let Err(e) = self.write.write_all(format!("{line}\n").as_bytes()).await {
                        break e.to_string();
                    }
                    // Whoever gave up waiting is forgotten.
                    waiting.retain(|_, answer| !answer.is_closed());
                }
                incoming = next(&mut self.read, &mut self.lines) => match incoming {
                    Err(reason) => break reason,
                    Ok(Incoming::Return { id, value }) => {
                        if let Some(answer) = id.and_then(|id| waiting.remove(&id)) {
                            let _ = answer.send(Ok(value));
                        }
                    }
                    Ok(Incoming::Error { id, class, desc }) => {
                        if let Some(answer) = id.and_then(|id| waiting.remove(&id)) {
                            let _ = answer.send(Err(Refusal { class, desc }));
                        }
                    }
                    Ok(Incoming::Event(event)) => {
                        // Nobody listening is no error.
                        let _ = self.events.send(event);
                    }
                    Ok(Incoming::Greeting { .. }) => {}
                },
            }
        };
        // Said before the channels close: who waits on them asks for it.
        let _ = self.shared.end.set(end);
    }
}

/// The next message. Safe to drop half-way: what was read stays in `lines`.
async fn next(read: &mut OwnedReadHalf, lines: &mut Lines) -> Result<Incoming, String> {
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(line) = lines.next_line().map_err(|e| e.to_string())? {
            if let Some(message) = parse_line(&line).map_err(|e| e.to_string())? {
                return Ok(message);
            }
        }
        match read.read(&mut buffer).await {
            Ok(0) => return Err("QEMU closed it".to_owned()),
            Ok(n) => lines.feed(&buffer[..n]),
            Err(e) => return Err(e.to_string()),
        }
    }
}

fn no_greeting(path: &Path, waited: Duration) -> QmpError {
    QmpError::NoGreeting { path: path.to_owned(), waited }
}

fn no_qemu(path: &Path, error: &io::Error, waited: Duration) -> QmpError {
    // The queue before the monitor holds one or two who wait (seen on QEMU 10.0.2), and is full.
    if error.kind() == io::ErrorKind::WouldBlock {
        return no_greeting(path, waited);
    }
    QmpError::NoQemu { path: path.to_owned(), reason: error.to_string(), kind: error.kind() }
}

fn lost(path: &Path, doing: &str, reason: String) -> QmpError {
    QmpError::Lost { path: path.to_owned(), doing: doing.to_owned(), reason }
}
