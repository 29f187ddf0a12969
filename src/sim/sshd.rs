//! The SSH server of a simulated host: who may log in, with which algorithms, and what a channel may ask for.
//!
//! As ESXi's sshd (sshd_config recorded on 8.0.2): `/etc/issue` before the login, a password asked for
//! by keyboard-interactive in PAM's two rounds, the second one with no question; the `password` method only where the
//! release has it; no forwarding of any kind; ed25519 user keys refused in FIPS mode although they are listed.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::keys::Algorithm;
use russh::server::{Auth, Config, Handler, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet, Preferred, Pty, SshId};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::accounts::key_is_listed;
use super::disk::SFTP_SERVER;
use super::fault::Kind;
use super::machine::SimHost;
use super::session::{self, Job};
use super::wire::Wire;

/// OpenSSH's default for MaxSessions.
const MAX_SESSIONS: usize = 10;
/// OpenSSH's default for MaxAuthTries.
const MAX_AUTH_TRIES: usize = 6;

/// Takes connections until `stop`. Connections that came in stay until `on` ends: stopping sshd ends no session.
pub(crate) async fn accept(host: Arc<SimHost>, listener: TcpListener, stop: CancellationToken, on: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    tokio::spawn(serve(Arc::clone(&host), stream, peer, on.clone()));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
        }
    }
}

async fn serve(host: Arc<SimHost>, stream: TcpStream, peer: SocketAddr, on: CancellationToken) {
    let Ok(local) = stream.local_addr() else { return };
    let _ = stream.set_nodelay(true);
    if !host.lets_in(peer.ip()) {
        // The firewall of a real host drops the packets, and the client waits; here it hears of it at once.
        let _ = stream.set_zero_linger();
        return;
    }
    let fate = host.connected(local.ip(), peer.ip(), &on);
    let (number, address, token) = (fate.number, fate.address.clone(), fate.cut.clone());
    let sent = Arc::new(AtomicUsize::new(0));
    let wire = Wire::new(stream, &fate, &host.faults, Arc::clone(&sent));
    let config = Arc::new(config(&host));
    let connection = Connection {
        ssh_connection: format!("{} {} {address} 22", peer.ip(), peer.port()),
        host: Arc::clone(&host),
        number,
        round: Round::Start,
        channels: HashMap::new(),
        closed: HashMap::new(),
        open: Arc::new(AtomicUsize::new(0)),
        gone: token.child_token(),
        sent,
        user: String::new(),
    };
    let gone = connection.gone.clone();
    if let Ok(running) = russh::server::run_stream(config, wire, connection).await
        && let Err(error) = running.await
    {
        tracing::debug!(%error, host = host.label, "connection ended");
    }
    gone.cancel();
    host.disconnected(number);
}

/// A keyword of the host's own sshd_config: a new connection is served by a new sshd that reads it.
fn keyword(host: &SimHost, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(host.disk.root().join("etc/ssh/sshd_config")).ok()?;
    super::host::sshd_keyword(&text, key)
}

/// Names that russh knows, in the order of the profile.
fn known<T: for<'a> TryFrom<&'a str>>(names: &[&'static str]) -> Vec<T> {
    names.iter().filter_map(|name| T::try_from(name).ok()).collect()
}

/// The release's ciphers that the host's sshd_config names, in its order; all of them without a line.
fn ciphers(host: &SimHost, of_release: &[&'static str]) -> Vec<russh::cipher::Name> {
    match keyword(host, "Ciphers") {
        Some(list) => {
            let listed = list.split(',').filter(|name| of_release.contains(&name.trim()));
            listed.filter_map(|name| russh::cipher::Name::try_from(name.trim()).ok()).collect()
        }
        None => known(of_release),
    }
}

fn config(host: &SimHost) -> Config {
    let (profile, keys) = host.with_state(|state, keys| (state.sshd_profile(), keys.clone()));
    let mut kex: Vec<russh::kex::Name> = known(&profile.kex);
    kex.push(russh::kex::EXTENSION_SUPPORT_AS_SERVER);
    kex.push(russh::kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER);
    let key: Vec<Algorithm> = profile
        .host_keys
        .iter()
        .filter_map(|name| Algorithm::from_str(name).ok())
        .filter(|algorithm| !matches!(algorithm, Algorithm::Dsa))
        .collect();
    let ecdsa = key.iter().any(|algorithm| matches!(algorithm, Algorithm::Ecdsa { .. }));
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    methods.push(MethodKind::KeyboardInteractive);
    if host.options.password_method.unwrap_or(profile.password_method) {
        methods.push(MethodKind::Password);
    }
    Config {
        server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-OpenSSH_9.1")),
        methods,
        auth_rejection_time: Duration::from_millis(50),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: if ecdsa { vec![keys.ecdsa, keys.rsa] } else { vec![keys.rsa] },
        preferred: Preferred {
            kex: Cow::Owned(kex),
            key: Cow::Owned(key),
            host_key_certificates: Cow::Owned(Vec::new()),
            cipher: Cow::Owned(ciphers(host, &profile.ciphers)),
            mac: Cow::Owned(known(&profile.macs)),
            compression: Cow::Owned(vec![russh::compression::NONE]),
        },
        max_auth_attempts: MAX_AUTH_TRIES,
        // Room for 64 MB between the network and a program that reads slowly: a full queue stops the whole connection.
        channel_buffer_size: 2048,
        inactivity_timeout: None,
        nodelay: true,
        ..Config::default()
    }
}

/// Where keyboard-interactive is in PAM's two rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Round {
    Start,
    Asked,
    Passed,
}

/// What a channel was asked for before its program starts.
struct Waiting {
    channel: Channel<Msg>,
    pty: bool,
}

struct Connection {
    host: Arc<SimHost>,
    number: u64,
    ssh_connection: String,
    round: Round,
    channels: HashMap<ChannelId, Waiting>,
    /// Tells a channel's job that the client closed it.
    closed: HashMap<ChannelId, CancellationToken>,
    open: Arc<AtomicUsize>,
    gone: CancellationToken,
    /// Bytes sent so far.
    sent: Arc<AtomicUsize>,
    user: String,
}

impl Connection {
    fn max_sessions(&self) -> usize {
        let fault = self.host.faults.iter().find_map(|f| if let Kind::MaxSessions(n) = f { Some(*n) } else { None });
        fault.or(self.host.options.max_sessions).or_else(|| self.configured_sessions()).unwrap_or(MAX_SESSIONS)
    }

    /// MaxSessions as a hardening rule sets it in the host's own sshd_config.
    fn configured_sessions(&self) -> Option<usize> {
        keyword(&self.host, "MaxSessions")?.parse().ok()
    }

    /// Notes who logged in: the last user that was accepted is the one of the session.
    fn welcome(&mut self, user: &str) {
        self.user = user.to_string();
        self.host.logged_in(self.number, user);
    }

    /// Whether the user is one that sshd, lockdown mode and shell access let in at all.
    fn may(&self, user: &str, with_password: bool) -> bool {
        let root = keyword(&self.host, "PermitRootLogin").unwrap_or_default().to_ascii_lowercase();
        let root = match root.as_str() {
            "no" | "forced-commands-only" => false,
            "prohibit-password" | "without-password" => !with_password,
            _ => true,
        };
        (user != "root" || root) && self.host.with_state(|state, _| state.may_log_in(user))
    }

    /// Starts a job on a channel; a second one on the same channel is refused, as by OpenSSH.
    fn start(&mut self, id: ChannelId, argv: Argv, session: &mut Session) -> Result<(), russh::Error> {
        let Some(Waiting { channel, pty }) = self.channels.remove(&id) else {
            return session.channel_failure(id);
        };
        session.channel_success(id)?;
        let closed = self.gone.child_token();
        self.closed.insert(id, closed.clone());
        let job = Job {
            host: Arc::clone(&self.host),
            argv,
            pty,
            user: self.user.clone(),
            ssh_connection: self.ssh_connection.clone(),
            handle: session.handle(),
            closed,
            open: Arc::clone(&self.open),
            sent: Arc::clone(&self.sent),
        };
        tokio::spawn(session::run(job, channel));
        Ok(())
    }
}

/// What runs on a channel.
#[derive(Debug, Clone)]
pub(crate) enum Argv {
    /// A login shell, or `sh` on standard input without a terminal.
    Shell,
    /// A command line.
    Exec(String),
    /// The SFTP server.
    Sftp,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        let path = keyword(&self.host, "Banner").filter(|path| path.starts_with('/') && !path.contains(".."));
        let text = path.and_then(|path| std::fs::read_to_string(self.host.disk.root().join(&path[1..])).ok());
        Ok(text.filter(|text| !text.is_empty()))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        // russh asks whatever methods are on: keep to the release's.
        let on = self.host.with_state(|state, _| state.sshd_profile().password_method);
        if self.host.options.password_method.unwrap_or(on)
            && self.host.check_password(user, password).await
            && self.may(user, true)
        {
            self.welcome(user);
            return Ok(Auth::Accept);
        }
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let ask = |prompts| Auth::Partial { name: "".into(), instructions: "".into(), prompts };
        let answer = response.map(|mut answers| answers.next().map(|b| String::from_utf8_lossy(&b).into_owned()));
        match (answer, self.round) {
            (None, _) => {
                self.round = Round::Asked;
                Ok(ask(Cow::Owned(vec![("Password: ".into(), false)])))
            }
            (Some(Some(password)), Round::Asked)
                if self.host.check_password(user, &password).await && self.may(user, true) =>
            {
                self.round = Round::Passed;
                self.welcome(user);
                Ok(ask(Cow::Owned(Vec::new())))
            }
            (Some(None), Round::Passed) => Ok(Auth::Accept),
            _ => {
                self.round = Round::Start;
                Ok(Auth::reject())
            }
        }
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.accepts(user, offer.public_key, offer.algorithm) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(if self.accepts(user, key.public_key, key.algorithm) { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: russh::server::ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.open.load(Ordering::SeqCst) >= self.max_sessions() {
            // OpenSSH: "open failed".
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        self.channels.insert(channel.id(), Waiting { channel, pty: false });
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        if self.channels.remove(&channel).is_some() {
            self.open.fetch_sub(1, Ordering::SeqCst);
        }
        if let Some(closed) = self.closed.remove(&channel) {
            closed.cancel();
        }
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        match self.channels.get_mut(&channel) {
            Some(waiting) => {
                waiting.pty = true;
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        // No AcceptEnv in the recorded sshd_config.
        session.channel_failure(channel)
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        self.start(channel, Argv::Shell, session)
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.start(channel, Argv::Exec(String::from_utf8_lossy(data).into_owned()), session)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        if name == "sftp" && self.host.options.sftp {
            debug_assert!(SFTP_SERVER.starts_with('/'));
            return self.start(channel, Argv::Sftp, session);
        }
        session.channel_failure(channel)
    }
}

impl Connection {
    fn accepts(&mut self, user: &str, key: &russh::keys::PublicKey, algorithm: &Algorithm) -> bool {
        let fips = self.host.with_state(|state, _| state.sshd_profile().fips);
        let refused = matches!(algorithm, Algorithm::Ed25519 | Algorithm::Rsa { hash: None } | Algorithm::SkEd25519);
        if (fips && refused) || !key_is_listed(&self.host.disk.root(), user, key) || !self.may(user, false) {
            return false;
        }
        self.welcome(user);
        true
    }
}
