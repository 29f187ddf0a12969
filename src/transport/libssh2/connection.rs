//! One authenticated connection over libssh2, and the ones it goes through.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use async_trait::async_trait;
use russh::keys::{Algorithm, PublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::auth::Peer;
use super::pump::{Order, What};
use super::wire::Wire;
use super::worker::Worker;
use super::{code, offer};
use crate::transport::algorithms;
use crate::transport::chain::{self, Hop, Settings, Stream};
use crate::transport::connect::{self, Failure, Handshake};
use crate::transport::hostkeys::{Accepted, Policy};
use crate::transport::link::{Link, Message, NotOpened, Pipe};
use crate::transport::logins::Given;
use crate::transport::{Target, TransportError};

/// Bytes carried through a jump host in one go.
const PIECE: usize = 32 * 1024;

/// A logged-in connection; it keeps those alive that it goes through.
pub(super) struct Connection {
    worker: Worker,
    host: String,
    via: Option<Box<Connection>>,
}

impl Hop for Connection {
    async fn hop(
        settings: &Settings,
        via: Option<Self>,
        target: &Target,
        given: &Given,
    ) -> Result<Self, TransportError> {
        let peer = connect::hop(&Through { via: via.as_ref() }, target, settings.agent.as_deref(), given).await?;
        let (interval, questions) = settings.keepalive_of(target);
        peer.worker.serve(interval, questions);
        Ok(Self { worker: peer.worker, host: target.name.clone(), via: via.map(Box::new) })
    }

    async fn stream(via: Option<&Self>, target: &Target) -> Result<Box<dyn Stream>, TransportError> {
        let Some(jump) = via else { return Ok(Box::new(connect::tcp(target).await?)) };
        let near = tokio::net::UnixStream::from_std(tunnel(jump, target).await?);
        Ok(Box::new(near.map_err(|error| connect::system(target, &error))?))
    }

    fn via(&self) -> Option<&Self> {
        self.via.as_deref()
    }

    async fn part(&self) {
        self.worker.desk.order(Order::Bye);
    }
}

impl Connection {
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
        chain::bye(self).await;
    }
}

/// A byte stream to the target for a session's thread.
async fn wire(via: Option<&Connection>, target: &Target) -> Result<Wire, TransportError> {
    Ok(match via {
        None => {
            let stream = connect::tcp(target).await?.into_std();
            Wire::Tcp(stream.map_err(|error| connect::system(target, &error))?)
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
    let io_failed = |error: std::io::Error| connect::system(target, &error);
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
                    && let Ok(stream) = Connection::stream(self.via, target).await
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
