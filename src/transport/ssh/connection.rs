//! One authenticated connection, and the ones it goes through.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, ChannelOpenFailure, Disconnect};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::transport::hostkeys::{Accepted, Policy, Rejected};
use crate::transport::{Target, TransportError, algorithms, auth};

/// How many host key types are tried to find the one whose fingerprint is pinned.
const PIN_ATTEMPTS: usize = 4;

/// What all connections of a connector share.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) agent: Option<PathBuf>,
    pub(super) keepalive: Duration,
    pub(super) keepalive_max: usize,
}

/// A logged-in connection; it keeps those alive that it goes through.
pub(super) struct Connection {
    pub(super) handle: Handle<Client>,
    /// The name used in reports.
    pub(super) host: String,
    end: End,
    via: Option<Box<Connection>>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Connection {
    /// Connects, through all jumps, and logs in everywhere.
    pub(super) async fn establish(settings: &Settings, target: &Target) -> Result<Self, TransportError> {
        let mut via = jumps(settings, target).await?;
        let mut connection = Self::hop(settings, via.as_ref(), target).await?;
        connection.via = via.take().map(Box::new);
        Ok(connection)
    }

    async fn hop(settings: &Settings, via: Option<&Connection>, target: &Target) -> Result<Self, TransportError> {
        let host = target.name.clone();
        let known_as = target.host_key_alias.as_deref().unwrap_or(&target.address);
        let policy = Policy::new(&target.host_key, known_as, target.port)
            .map(Arc::new)
            .map_err(|detail| TransportError::HostKey { host: host.clone(), detail })?;
        let mut without = Vec::new();
        let mut first_rejection = None;
        for _ in 0..PIN_ATTEMPTS {
            let stream = reach(via, target).await?;
            match shake_hands(settings, target, stream, &policy, &without).await {
                Ok((mut handle, seen)) => {
                    let login = auth::login(&mut handle, target, settings.agent.as_deref(), &seen.end);
                    match timeout(target.connect_timeout, login).await {
                        Ok(result) => result?,
                        Err(_) => {
                            let during =
                                format!("during the login: no answer within {} s", target.connect_timeout.as_secs());
                            return Err(TransportError::Lost { host, during });
                        }
                    }
                    // Only now: an address where nobody can log in may be a slip, and is not put on record.
                    store(&policy, &seen, &host)?;
                    return Ok(Self { handle, host, end: seen.end, via: None });
                }
                Err(Failure::Key { rejected, algorithm }) if rejected.other_key_may_do => {
                    // Only a fingerprint is pinned: the host may have the pinned key under another type.
                    first_rejection.get_or_insert(rejected.detail);
                    without.push(algorithm);
                }
                Err(Failure::Key { rejected, .. }) => {
                    return Err(TransportError::HostKey { host, detail: rejected.detail });
                }
                Err(Failure::Other(error)) => {
                    return Err(match first_rejection {
                        Some(detail) => TransportError::HostKey { host, detail },
                        None => error,
                    });
                }
            }
        }
        let detail = first_rejection.unwrap_or_else(|| "no key type is left to ask for".to_owned());
        Err(TransportError::HostKey { host, detail })
    }

    /// Why it ended, if it has.
    pub(super) fn reason(&self) -> String {
        match self.end.get() {
            Some(auth::Closed::ByServer(message)) => format!("the server hung up, saying \"{message}\""),
            Some(auth::Closed::NoMethodLeft) => "the server takes no login that is known here".to_owned(),
            Some(auth::Closed::Lost(reason)) => reason,
            None if self.handle.is_closed() => "the connection was closed".to_owned(),
            None => "the server closed the channel".to_owned(),
        }
    }

    /// Says goodbye to the server and to those in between.
    pub(super) async fn bye(&self) {
        let mut hop = Some(self);
        while let Some(connection) = hop {
            let _ = connection.handle.disconnect(Disconnect::ByApplication, "", "").await;
            // The goodbye must be on its way before the tunnel under it is closed.
            let deadline = Instant::now() + Duration::from_millis(200);
            while !connection.handle.is_closed() && Instant::now() < deadline {
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
        let mut connection = Connection::hop(settings, via.as_ref(), jump).await?;
        connection.via = via.take().map(Box::new);
        via = Some(connection);
    }
    Ok(via)
}

/// Whether something behind `target` says that it speaks SSH.
pub(super) async fn banner(settings: &Settings, target: &Target) -> bool {
    let Ok(via) = jumps(settings, target).await else { return false };
    let Ok(mut stream) = reach(via.as_ref(), target).await else { return false };
    // Other lines may come before the version line (RFC 4253, 4.2).
    let mut seen = Vec::new();
    let mut piece = [0; 256];
    while seen.len() < 8192 {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return false,
            Ok(n) => seen.extend_from_slice(&piece[..n]),
        }
        if seen.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"SSH-")) {
            return true;
        }
    }
    false
}

fn shown(target: &Target) -> String {
    if target.address.contains(':') {
        format!("[{}]:{}", target.address, target.port)
    } else {
        format!("{}:{}", target.address, target.port)
    }
}

async fn reach(via: Option<&Connection>, target: &Target) -> Result<Box<dyn Stream>, TransportError> {
    let unreachable =
        |reason: String| TransportError::Unreachable { host: target.name.clone(), address: shown(target), reason };
    let limit = target.connect_timeout;
    let too_late = || {
        unreachable(format!(
            "no answer within {} s: is the address right, is a firewall in between?",
            limit.as_secs_f32()
        ))
    };
    let Some(jump) = via else {
        let connect = TcpStream::connect((target.address.as_str(), target.port));
        let stream = timeout(limit, connect).await.map_err(|_| too_late())?.map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::ConnectionRefused => ": nothing listens there; is the SSH service running?",
                _ => "",
            };
            unreachable(format!("{error}{advice}"))
        })?;
        // Without this each command waits for the other side's delayed acknowledgement: 50 ms instead of 2.
        stream.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        return Ok(Box::new(stream));
    };
    let open = jump.handle.channel_open_direct_tcpip(target.address.clone(), u32::from(target.port), "127.0.0.1", 0);
    match timeout(limit, open).await.map_err(|_| too_late())? {
        Ok(channel) => Ok(Box::new(channel.into_stream())),
        Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {
            Err(unreachable(format!(
                "the jump host {} forbids forwarding (AllowTcpForwarding or PermitOpen in its sshd_config)",
                jump.host
            )))
        }
        Err(russh::Error::ChannelOpenFailure(failure)) => {
            Err(unreachable(format!("the jump host {} cannot connect to it ({})", jump.host, failure.description())))
        }
        Err(error) => Err(TransportError::Lost {
            host: jump.host.clone(),
            during: format!("while jumping to {}: {} ({error})", target.name, jump.reason()),
        }),
    }
}

enum Failure {
    Key { rejected: Rejected, algorithm: Algorithm },
    Other(TransportError),
}

async fn shake_hands(
    settings: &Settings,
    target: &Target,
    stream: Box<dyn Stream>,
    policy: &Arc<Policy>,
    without: &[Algorithm],
) -> Result<(Handle<Client>, Seen), Failure> {
    let silence = settings.keepalive * (u32::try_from(settings.keepalive_max).unwrap_or(3) + 2);
    let config = client::Config {
        preferred: algorithms::preferred(target.algorithms, &policy.types(), without),
        gex: algorithms::group_exchange(),
        nodelay: true,
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: settings.keepalive_max,
        // While a write is stuck in a full socket keepalives are not looked at; this is.
        inactivity_timeout: Some(silence),
        ..client::Config::default()
    };
    let seen = Seen::default();
    let client = Client { policy: Arc::clone(policy), seen: seen.clone(), accepted: None };
    let host = || target.name.clone();
    let connected =
        match timeout(target.connect_timeout, client::connect_stream(Arc::new(config), stream, client)).await {
            Ok(connected) => connected,
            Err(_) => {
                let during =
                    format!("during the key exchange: no answer within {} s", target.connect_timeout.as_secs_f32());
                return Err(Failure::Other(TransportError::Lost { host: host(), during }));
            }
        };
    match connected {
        Ok(handle) => Ok((handle, seen)),
        Err(ClientError::Key { rejected, algorithm }) => Err(Failure::Key { rejected, algorithm }),
        Err(ClientError::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
            if matches!(kind, AlgorithmKind::Key) && !without.is_empty() {
                let detail = "the server has no further key".to_owned();
                return Err(Failure::Other(TransportError::HostKey { host: host(), detail }));
            }
            let (what, detail) = algorithms::explain(&kind, &ours, &theirs, target.algorithms);
            Err(Failure::Other(TransportError::NoCommonAlgorithm { host: host(), what, detail }))
        }
        Err(ClientError::Ssh(error)) => {
            let during =
                format!("during the key exchange ({error}): is it an SSH server that has no room, or none at all?");
            Err(Failure::Other(TransportError::Lost { host: host(), during }))
        }
    }
}

fn store(policy: &Policy, seen: &Seen, host: &str) -> Result<(), TransportError> {
    let key = seen.key.lock().unwrap_or_else(PoisonError::into_inner).take();
    match key {
        Some((key, Accepted::New)) => {
            policy.store(&key).map_err(|detail| TransportError::HostKey { host: host.to_owned(), detail })
        }
        _ => Ok(()),
    }
}

/// What the handler leaves for the rest to read.
#[derive(Debug, Clone, Default)]
struct Seen {
    key: Arc<Mutex<Option<(PublicKey, Accepted)>>>,
    end: End,
}

#[derive(Debug, Clone, Default)]
pub(super) struct End(Arc<Mutex<Option<auth::Closed>>>);

impl End {
    fn get(&self) -> Option<auth::Closed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, closed: auth::Closed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed);
    }
}

impl auth::Ending for End {
    async fn closed(&self) -> Option<auth::Closed> {
        for _ in 0..100 {
            if let Some(closed) = self.get() {
                return Some(closed);
            }
            sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

/// russh's callbacks.
pub(super) struct Client {
    policy: Arc<Policy>,
    seen: Seen,
    accepted: Option<PublicKey>,
}

#[derive(Debug)]
pub(super) enum ClientError {
    Key { rejected: Rejected, algorithm: Algorithm },
    Ssh(russh::Error),
}

impl From<russh::Error> for ClientError {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl client::Handler for Client {
    type Error = ClientError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, ClientError> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false); // never asked for
        };
        if let Some(accepted) = &self.accepted {
            // A later key exchange of the same connection: nothing may change now.
            return Ok(accepted.key_data() == key.key_data());
        }
        match self.policy.check(key) {
            Ok(accepted) => {
                self.accepted = Some(key.clone());
                *self.seen.key.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.clone(), accepted));
                Ok(true)
            }
            Err(rejected) => Err(ClientError::Key { rejected, algorithm: key.algorithm() }),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<ClientError>) -> Result<(), ClientError> {
        self.seen.end.set(match reason {
            DisconnectReason::ReceivedDisconnect(info) => auth::Closed::ByServer(info.message),
            DisconnectReason::Error(ClientError::Ssh(russh::Error::NoAuthMethod)) => auth::Closed::NoMethodLeft,
            DisconnectReason::Error(ClientError::Ssh(
                russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout,
            )) => auth::Closed::Lost("the host gave no sign of life".to_owned()),
            DisconnectReason::Error(ClientError::Ssh(error)) => auth::Closed::Lost(error.to_string()),
            DisconnectReason::Error(ClientError::Key { rejected, .. }) => auth::Closed::Lost(rejected.detail),
        });
        Ok(())
    }
}
