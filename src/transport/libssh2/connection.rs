//! One authenticated connection over libssh2, and the ones it goes through.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use russh::keys::{Algorithm, PublicKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::auth::Peer;
use super::pump::{Order, What};
use super::wire::Wire;
use super::worker::Worker;
use super::{code, offer};
use crate::transport::algorithms;
use crate::transport::connect::{self, Failure, Handshake};
use crate::transport::hostkeys::{Accepted, Policy};
use crate::transport::link::{Dial, Link, Message, NotOpened, Pipe};
use crate::transport::{Target, TransportError};

/// How long saying goodbye may take, with the thread's own limit in it.
const GOODBYE: Duration = Duration::from_millis(300);

/// Bytes carried through a jump host in one go.
const PIECE: usize = 32 * 1024;

/// What all connections of a connector share.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) agent: Option<PathBuf>,
    pub(super) keepalive: Duration,
    pub(super) keepalive_max: usize,
}

/// A logged-in connection; it keeps those alive that it goes through.
pub(super) struct Connection {
    worker: Worker,
    host: String,
    via: Option<Box<Connection>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Connection {
    async fn hop(settings: &Settings, via: Option<Connection>, target: &Target) -> Result<Self, TransportError> {
        let peer = connect::hop(&Through { via: via.as_ref() }, target, settings.agent.as_deref()).await?;
        peer.worker.serve(settings.keepalive, settings.keepalive_max);
        Ok(Self { worker: peer.worker, host: target.name.clone(), via: via.map(Box::new) })
    }

    async fn channel(&self, what: What) -> Result<Pipe, NotOpened> {
        let (reply, answer) = oneshot::channel();
        let gone = || NotOpened::lost(self, "it is gone");
        if self.worker.end.is_closed() || !self.worker.desk.order(Order::Open { what, reply }) {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

#[async_trait]
impl Dial for Settings {
    async fn dial(&self, target: &Target) -> Result<Arc<dyn Link>, TransportError> {
        let via = jumps(self, target).await?;
        Ok(Arc::new(Connection::hop(self, via, target).await?))
    }
}

#[async_trait]
impl Link for Connection {
    fn host(&self) -> &str {
        &self.host
    }

    fn is_closed(&self) -> bool {
        self.worker.end.is_closed()
    }

    fn reason(&self) -> String {
        self.worker.end.reason()
    }

    async fn open(&self, command: &str) -> Result<Pipe, NotOpened> {
        self.channel(What::Command(command.to_owned())).await
    }

    async fn bye(&self) {
        let mut hop = Some(self);
        while let Some(connection) = hop {
            connection.worker.desk.order(Order::Bye);
            // The goodbye must be on its way before the tunnel under it is closed.
            let deadline = Instant::now() + GOODBYE;
            while !connection.worker.end.is_closed() && Instant::now() < deadline {
                sleep(Duration::from_millis(2)).await;
            }
            hop = connection.via.as_deref();
        }
    }
}

/// The chain of jump hosts up to, not with, the target.
async fn jumps(settings: &Settings, target: &Target) -> Result<Option<Connection>, TransportError> {
    let mut via: Option<Connection> = None;
    for jump in &target.jumps {
        via = Some(Connection::hop(settings, via.take(), jump).await?);
    }
    Ok(via)
}

/// Whether something behind `target` says that it speaks SSH.
pub(super) async fn banner(settings: &Settings, target: &Target) -> bool {
    let Ok(via) = jumps(settings, target).await else { return false };
    let Ok(mut stream) = stream(via.as_ref(), target).await else { return false };
    connect::says_ssh(&mut *stream).await
}

/// A byte stream to the target for a task.
async fn stream(via: Option<&Connection>, target: &Target) -> Result<Box<dyn Stream>, TransportError> {
    match via {
        None => Ok(Box::new(connect::tcp(target).await?)),
        Some(jump) => {
            let near = tunnel(jump, target).await?;
            let near = tokio::net::UnixStream::from_std(near)
                .map_err(|error| connect::unreachable(target, error.to_string()))?;
            Ok(Box::new(near))
        }
    }
}

/// A byte stream to the target for a session's thread.
async fn wire(via: Option<&Connection>, target: &Target) -> Result<Wire, TransportError> {
    Ok(match via {
        None => {
            let stream = connect::tcp(target).await?.into_std();
            Wire::Tcp(stream.map_err(|error| connect::unreachable(target, error.to_string()))?)
        }
        Some(jump) => Wire::Tunnel(tunnel(jump, target).await?),
    })
}

/// One end of a pair of sockets; what is written to it comes out at the target, carried by the jump host.
async fn tunnel(jump: &Connection, target: &Target) -> Result<UnixStream, TransportError> {
    let open = jump.channel(What::Tunnel(target.address.clone(), target.port));
    let pipe = match timeout(target.connect_timeout, open).await.map_err(|_| connect::too_late(target))? {
        Ok(pipe) => pipe,
        Err(NotOpened::Refused(reason)) if reason == "administratively prohibited" => {
            return Err(connect::forbids(target, &jump.host));
        }
        Err(NotOpened::Refused(reason)) => return Err(connect::no_further(target, &jump.host, &reason)),
        Err(NotOpened::Failed(_)) => {
            return Err(TransportError::Lost {
                host: jump.host.clone(),
                during: format!("while jumping to {}: {}", target.name, jump.reason()),
            });
        }
    };
    let io_failed = |error: std::io::Error| connect::unreachable(target, error.to_string());
    let (near, far) = UnixStream::pair().map_err(io_failed)?;
    near.set_nonblocking(true).map_err(io_failed)?;
    far.set_nonblocking(true).map_err(io_failed)?;
    let far = tokio::net::UnixStream::from_std(far).map_err(io_failed)?;
    carry(pipe, far);
    Ok(near)
}

/// Carries bytes in both directions until either side ends.
fn carry(pipe: Pipe, far: tokio::net::UnixStream) {
    let Pipe { mut read, write } = pipe;
    let (mut from, mut to) = far.into_split();
    tokio::spawn(async move {
        while let Some(message) = read.wait().await {
            match message {
                Message::Stdout(data) if to.write_all(&data).await.is_ok() => {}
                Message::Stderr(_) => {}
                _ => break,
            }
        }
        let _ = to.shutdown().await;
    });
    tokio::spawn(async move {
        let mut piece = vec![0; PIECE];
        while let Ok(n @ 1..) = from.read(&mut piece).await {
            if write.data(piece[..n].to_vec()).await.is_err() {
                break;
            }
        }
        write.close().await;
    });
}

/// How to get to a host: straight, or through the last jump.
struct Through<'a> {
    via: Option<&'a Connection>,
}

/// What the thread found at the end of the key exchange.
enum Shaken {
    Key(Vec<u8>),
    NoKeyTypeLeft,
    Failed { code: i32, text: String, offer: Option<offer::Offer> },
}

impl Handshake for Through<'_> {
    type Peer = Peer;

    async fn shake_hands(
        &self,
        target: &Target,
        policy: &Arc<Policy>,
        without: &[Algorithm],
    ) -> Result<(Peer, PublicKey, Accepted), Failure> {
        let worker = Worker::start(target, wire(self.via, target).await?).await?;
        let wanted = algorithms::preferred(target.algorithms, &policy.types(), without);
        let limit = u32::try_from(target.connect_timeout.as_millis()).unwrap_or(u32::MAX);
        let bytes = worker.number;
        let shaking = worker.ask(move |session| {
            let failed = |error: &ssh2::Error, offer| Shaken::Failed {
                code: code::of(error),
                text: error.message().to_owned(),
                offer,
            };
            session.set_timeout(limit);
            if wanted.key.is_empty() {
                return Shaken::NoKeyTypeLeft;
            }
            let offer = match offer::make(session, &wanted) {
                Ok(offer) => offer,
                Err(error) => return failed(&error, None),
            };
            session.set_tcp_stream(bytes);
            match session.handshake() {
                Ok(()) => match session.host_key() {
                    Some((key, _)) => Shaken::Key(key.to_vec()),
                    None => Shaken::NoKeyTypeLeft,
                },
                Err(error) => failed(&error, Some(offer)),
            }
        });
        let shaken = timeout(target.connect_timeout, shaking)
            .await
            .map_err(|_| Failure::Other(connect::no_key_exchange(target)))?
            .ok_or_else(|| Failure::Other(connect::broken_key_exchange(target, "its thread ended early")))?;
        let no_further_key = || {
            let detail = "the server has no further key".to_owned();
            Failure::Other(TransportError::HostKey { host: target.name.clone(), detail })
        };
        let key = match shaken {
            Shaken::Key(key) => key,
            Shaken::NoKeyTypeLeft => return Err(no_further_key()),
            Shaken::Failed { code, text, offer } => {
                // libssh2 does not say which kind of algorithm is not shared: ask the server itself.
                if let Some(offer) = offer
                    && !code::is_socket(code)
                    && let Ok(stream) = stream(self.via, target).await
                    && let Some(theirs) = offer::theirs(stream).await
                    && let Some(missing) = offer::explain(&offer, &theirs, target.algorithms)
                {
                    if missing.of_host_keys && !without.is_empty() {
                        return Err(no_further_key());
                    }
                    let (host, what, detail) = (target.name.clone(), missing.what, missing.detail);
                    return Err(Failure::Other(TransportError::NoCommonAlgorithm { host, what, detail }));
                }
                if code == code::TIMEOUT {
                    return Err(Failure::Other(connect::no_key_exchange(target)));
                }
                return Err(Failure::Other(connect::broken_key_exchange(target, &text)));
            }
        };
        let key = PublicKey::from_bytes(&key)
            .map_err(|error| Failure::Other(connect::broken_key_exchange(target, &error.to_string())))?;
        match policy.check(&key) {
            Ok(accepted) => Ok((Peer::new(worker), key, accepted)),
            Err(rejected) => Err(Failure::Key { rejected, algorithm: key.algorithm() }),
        }
    }
}
