//! The install script over HTTP from a server on 127.0.0.1, under a path that nobody can guess, for as many fetches as
//! agreed. A guest on QEMU's user network reaches it as 10.0.2.2 (QEMU's documentation of user networking).
//!
//! It answers `GET` and `HEAD` for one path and nothing else. Requests have at most [`MAX_HEAD`] bytes and [`HEAD_TIME`]
//! to arrive, and at most [`MAX_CONNECTIONS`] are open at a time, so that a hostile guest or neighbour costs little.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Most bytes of a request's head.
pub const MAX_HEAD: usize = 8 * 1024;
/// Time for a request's head to arrive.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for an answer to be taken.
const ANSWER_TIME: Duration = Duration::from_secs(30);
/// Time for the peer to close after it has its answer.
const LINGER: Duration = Duration::from_secs(2);
/// Connections open at a time.
pub const MAX_CONNECTIONS: usize = 16;
/// Requests kept in the log.
const MAX_LOG: usize = 1000;
/// The host as a guest on QEMU's user network sees it.
pub const USER_NETWORK_HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No port.
    #[error(
        "cannot listen on {addr} for the install script: {source}; leave the port out, so that any free one is taken"
    )]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What came back.
        source: io::Error,
    },
}

/// How often the script is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetches {
    /// So many times; then the server closes its port.
    Times(u32),
    /// Until it is stopped.
    UntilStopped,
}

/// What was done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The whole script was sent.
    Sent,
    /// Only its head was asked for.
    HeadOnly,
    /// The peer went away before it had everything; not counted.
    Broken,
    /// Another path, or a wrong token.
    NotFound,
    /// It was already fetched as often as agreed.
    Gone,
    /// Another method.
    Method,
    /// Not HTTP, too long, or too slow.
    Bad,
}

/// A request as logged. The path is not kept: it may hold the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// When it was answered.
    pub at: SystemTime,
    /// Who asked. A guest on the user network shows as 127.0.0.1.
    pub from: SocketAddr,
    /// The client's name of itself, at most 80 characters.
    pub agent: String,
    /// What was done.
    pub answer: Answer,
}

/// A running server; it stops when dropped.
#[derive(Debug)]
pub struct KsServer {
    addr: SocketAddr,
    path: String,
    shared: Arc<Shared>,
    done: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    path: String,
    content: Arc<[u8]>,
    fetches: Fetches,
    /// Sent, and being sent.
    taken: Mutex<(u32, u32)>,
    log: Mutex<Vec<Fetch>>,
    sent: watch::Sender<u32>,
}

impl KsServer {
    /// Serves `content` on a free port of 127.0.0.1.
    pub async fn start(content: impl Into<Arc<[u8]>>, fetches: Fetches) -> Result<Self, ServeError> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), content, fetches).await
    }

    /// Serves `content` on this address, for a guest that is not on the user network.
    pub async fn start_on(
        addr: SocketAddr,
        content: impl Into<Arc<[u8]>>,
        fetches: Fetches,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { addr, source };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let path = format!("/{:032x}/ks.cfg", rand::random::<u128>());
        let (sent, done) = watch::channel(0);
        let shared = Arc::new(Shared {
            path: path.clone(),
            content: content.into(),
            fetches,
            taken: Mutex::new((0, 0)),
            log: Mutex::new(Vec::new()),
            sent,
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { addr, path, shared, done, task })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address for the boot line of a guest on the user network, `http://10.0.2.2:PORT/TOKEN/ks.cfg`.
    pub fn url_for_guest(&self) -> String {
        self.url_via(USER_NETWORK_HOST)
    }

    /// The same for a guest that reaches this machine by another address.
    pub fn url_via(&self, host: Ipv4Addr) -> String {
        format!("http://{host}:{}{}", self.addr.port(), self.path)
    }

    /// What was asked and answered so far, oldest first.
    pub fn log(&self) -> Vec<Fetch> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often the whole script was sent.
    pub fn sent(&self) -> u32 {
        *self.done.borrow()
    }

    /// Waits until the script was sent `times` times.
    pub async fn wait_sent(&self, times: u32) {
        let mut done = self.done.clone();
        // The sender lives as long as this server.
        let _ = done.wait_for(|sent| *sent >= times).await;
    }

    /// Stops, also connections that are open.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for KsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = tokio::task::JoinSet::new();
    let mut sent = shared.sent.subscribe();
    let last = match shared.fetches {
        Fetches::Times(times) => times,
        Fetches::UntilStopped => u32::MAX,
    };
    loop {
        while open.try_join_next().is_some() {}
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let connection = tokio::select! {
            connection = listener.accept() => connection,
            // All agreed fetches are done: the port closes, what is still open may end.
            _ = sent.wait_for(|sent| *sent >= last) => break,
        };
        match connection {
            Ok((stream, from)) => {
                let shared = shared.clone();
                open.spawn(async move {
                    let (answer, agent) = serve(stream, &shared).await;
                    shared.log(from, agent, answer);
                    drop(slot);
                });
            }
            // Out of file descriptors, most likely: not worth giving up for.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

impl Shared {
    fn log(&self, from: SocketAddr, agent: String, answer: Answer) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= MAX_LOG {
            log.remove(0);
        }
        log.push(Fetch { at: SystemTime::now(), from, agent, answer });
        drop(log);
        if answer == Answer::Sent {
            self.sent.send_modify(|sent| *sent += 1);
        }
    }

    /// Takes one of the agreed fetches; false if there is none left.
    fn take(&self) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match self.fetches {
            Fetches::Times(times) if taken.0 + taken.1 >= times => false,
            _ => {
                taken.1 += 1;
                true
            }
        }
    }

    fn give_back(&self, sent: bool) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.1 -= 1;
        taken.0 += u32::from(sent);
    }
}

/// Gives a fetch back also when the task is stopped half way.
struct Taken<'a> {
    shared: &'a Shared,
    sent: bool,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.shared.give_back(self.sent);
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> (Answer, String) {
    let mut head = Vec::new();
    let request = match timeout(HEAD_TIME, read_head(&mut stream, &mut head)).await {
        Ok(Ok(request)) => request,
        Ok(Err(BadRequest::Closed)) => return (Answer::Bad, String::new()),
        Ok(Err(_)) => return (answer(&mut stream, "400 Bad Request", b"", false, Answer::Bad).await, String::new()),
        Err(_) => return (answer(&mut stream, "408 Request Timeout", b"", false, Answer::Bad).await, String::new()),
    };
    let agent = request.agent;
    let answered = match request.method {
        Method::Other => answer(&mut stream, "405 Method Not Allowed", b"", false, Answer::Method).await,
        _ if request.path != shared.path => answer(&mut stream, "404 Not Found", b"", false, Answer::NotFound).await,
        Method::Head => answer(&mut stream, "200 OK", &shared.content, true, Answer::HeadOnly).await,
        Method::Get if !shared.take() => answer(&mut stream, "410 Gone", b"", false, Answer::Gone).await,
        Method::Get => {
            let mut taken = Taken { shared, sent: false };
            let answered = answer(&mut stream, "200 OK", &shared.content, false, Answer::Sent).await;
            taken.sent = answered == Answer::Sent;
            answered
        }
    };
    (answered, agent)
}

async fn answer(stream: &mut TcpStream, status: &str, body: &[u8], head_only: bool, as_what: Answer) -> Answer {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nCache-Control: no-store\r\nConnection: \
         close\r\n\r\n",
        body.len()
    );
    let write = async {
        stream.write_all(head.as_bytes()).await?;
        if !head_only {
            stream.write_all(body).await?;
        }
        stream.shutdown().await
    };
    let done = matches!(timeout(ANSWER_TIME, write).await, Ok(Ok(())));
    // The peer closes when it has everything; closing first, with its bytes unread, would reset the connection and could
    // take the answer back. One that breaks it here did not get all.
    let drain = async {
        let mut rest = [0; 512];
        let mut left = MAX_HEAD;
        while left > 0 {
            match stream.read(&mut rest).await? {
                0 => break,
                n => left = left.saturating_sub(n),
            }
        }
        io::Result::Ok(())
    };
    let broken = !done || matches!(timeout(LINGER, drain).await, Ok(Err(_)));
    if broken && as_what == Answer::Sent { Answer::Broken } else { as_what }
}

/// A request that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub method: Method,
    pub path: String,
    pub agent: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadRequest {
    /// The peer closed or broke the connection.
    Closed,
    /// More than [`MAX_HEAD`].
    TooLong,
    /// Not HTTP.
    NotHttp,
}

async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> Result<Request, BadRequest> {
    let mut chunk = [0; 1024];
    loop {
        if let Some(request) = parse_request(head)? {
            return Ok(request);
        }
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Err(BadRequest::Closed),
            Ok(n) => head.extend_from_slice(&chunk[..n]),
        }
    }
}

/// Reads a request's head; `None` if it is not there completely.
pub(crate) fn parse_request(head: &[u8]) -> Result<Option<Request>, BadRequest> {
    let end = head.windows(4).position(|w| w == b"\r\n\r\n").or_else(|| head.windows(2).position(|w| w == b"\n\n"));
    let Some(end) = end.filter(|end| *end <= MAX_HEAD) else {
        return if head.len() > MAX_HEAD { Err(BadRequest::TooLong) } else { Ok(None) };
    };
    let text = std::str::from_utf8(&head[..end]).map_err(|_| BadRequest::NotHttp)?;
    let mut lines = text.lines();
    let first: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, version] = first.as_slice() else { return Err(BadRequest::NotHttp) };
    if !version.starts_with("HTTP/1.") {
        return Err(BadRequest::NotHttp);
    }
    let method = match *method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        _ => Method::Other,
    };
    // A proxy's form, `GET http://host/path`, has the path after the host.
    let path = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    let agent = lines
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("user-agent"))
        .map_or("", |(_, value)| value.trim());
    let agent = agent.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    Ok(Some(Request { method, path: path.to_owned(), agent }))
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
