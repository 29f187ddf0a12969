//! One authenticated connection, and the ones it goes through.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use russh::client::{self, DisconnectReason, Handle};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, ChannelOpenFailure, Disconnect};
use tokio::io::BufReader;
use tokio::time::{sleep, timeout};

use super::auth::Peer;
use super::channel;
use crate::transport::chain::{self, Hop, Settings, Stream};
use crate::transport::connect::{self, Failure, Handshake};
use crate::transport::hostkeys::{Accepted, Policy, Rejected};
use crate::transport::link::{Link, NotOpened, Pipe};
use crate::transport::logins::Given;
use crate::transport::{Target, TransportError, algorithms, auth};

/// A logged-in connection; it keeps those alive that it goes through.
pub(super) struct Connection {
    pub(super) handle: Handle<Client>,
    /// The name used in reports.
    pub(super) host: String,
    end: End,
    via: Option<Box<Connection>>,
}

impl Hop for Connection {
    async fn hop(
        settings: &Settings,
        via: Option<Self>,
        target: &Target,
        given: &Given,
    ) -> Result<Self, TransportError> {
        let through = Through { settings, via: via.as_ref() };
        let peer = connect::hop(&through, target, settings.agent.as_deref(), given).await?;
        Ok(Self { handle: peer.handle, host: target.name.clone(), end: peer.end, via: via.map(Box::new) })
    }

    async fn stream(via: Option<&Self>, target: &Target) -> Result<Box<dyn Stream>, TransportError> {
        let Some(jump) = via else { return Ok(Box::new(connect::tcp(target).await?)) };
        let open =
            jump.handle.channel_open_direct_tcpip(target.address.clone(), u32::from(target.port), "127.0.0.1", 0);
        match timeout(target.connect_timeout, open).await.map_err(|_| connect::too_late(target))? {
            Ok(channel) => Ok(Box::new(channel.into_stream())),
            Err(russh::Error::ChannelOpenFailure(ChannelOpenFailure::AdministrativelyProhibited)) => {
                Err(connect::forbids(target, &jump.host))
            }
            Err(russh::Error::ChannelOpenFailure(failure)) => {
                Err(connect::no_further(target, &jump.host, failure.description()))
            }
            Err(error) => Err(TransportError::Lost {
                host: jump.host.clone(),
                during: format!("while jumping to {}: {} ({error})", target.name, jump.reason()),
            }),
        }
    }

    fn via(&self) -> Option<&Self> {
        self.via.as_deref()
    }

    async fn part(&self) {
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
    }
}

#[async_trait]
impl Link for Connection {
    fn host(&self) -> &str {
        &self.host
    }

    fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    fn reason(&self) -> String {
        match self.end.get() {
            Some(closed) => closed.to_string(),
            None if self.handle.is_closed() => "the connection was closed".to_owned(),
            None => "the server closed the channel".to_owned(),
        }
    }

    async fn open(&self, command: &str) -> Result<Pipe, NotOpened> {
        channel::open(self, command).await
    }

    async fn shell(&self) -> Result<Pipe, NotOpened> {
        channel::shell(self).await
    }

    async fn bye(&self) {
        chain::bye(self).await;
    }
}

/// How to get to a host: straight, or through the last jump.
struct Through<'a> {
    settings: &'a Settings,
    via: Option<&'a Connection>,
}

impl Handshake for Through<'_> {
    type Peer = Peer;

    async fn shake_hands(
        &self,
        target: &Target,
        policy: &Arc<Policy>,
        without: &[Algorithm],
    ) -> Result<(Peer, PublicKey, Accepted), Failure> {
        let settings = self.settings;
        // The library reads the length of a packet and then the packet; a host's answers are many small ones.
        let stream = BufReader::new(Connection::stream(self.via, target).await?);
        let (interval, questions) = settings.keepalive_of(target);
        let silence = interval * (u32::try_from(questions).unwrap_or(3) + 2);
        let config = client::Config {
            preferred: algorithms::preferred(target.algorithms, &policy.types(), without),
            gex: algorithms::group_exchange(),
            nodelay: true,
            keepalive_interval: Some(interval),
            keepalive_max: questions,
            // While a write is stuck in a full socket keepalives are not looked at; this is.
            inactivity_timeout: Some(silence),
            ..client::Config::default()
        };
        let seen = Seen::default();
        let client = Client { policy: Arc::clone(policy), seen: seen.clone(), accepted: None };
        let connected =
            match timeout(target.connect_timeout, client::connect_stream(Arc::new(config), stream, client)).await {
                Ok(connected) => connected,
                Err(_) => return Err(Failure::Other(connect::no_key_exchange(target))),
            };
        match connected {
            Ok(handle) => {
                let key = seen.key.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some((key, accepted)) = key else {
                    return Err(Failure::Other(connect::broken_key_exchange(target, "it showed no key")));
                };
                Ok((Peer { handle, end: seen.end, algorithms: target.algorithms }, key, accepted))
            }
            Err(ClientError::Key { rejected, algorithm }) => Err(Failure::Key { rejected, algorithm }),
            Err(ClientError::Ssh(russh::Error::NoCommonAlgo { kind, ours, theirs })) => {
                let host = target.name.clone();
                if matches!(kind, AlgorithmKind::Key) && !without.is_empty() {
                    let detail = "the server has no further key".to_owned();
                    return Err(Failure::Other(TransportError::HostKey { host, detail }));
                }
                let (what, detail) = algorithms::explain(&kind, &ours, &theirs, target.algorithms);
                Err(Failure::Other(TransportError::NoCommonAlgorithm { host, what, detail }))
            }
            Err(ClientError::Ssh(error)) => {
                Err(Failure::Other(connect::broken_key_exchange(target, &error.to_string())))
            }
        }
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
    pub(super) fn get(&self) -> Option<auth::Closed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, closed: auth::Closed) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(closed);
    }

    /// Waits a moment for the reason to be known.
    pub(super) async fn soon(&self) -> Option<auth::Closed> {
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
            DisconnectReason::ReceivedDisconnect(info) => auth::Closed::ByServer(Some(info.message)),
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
