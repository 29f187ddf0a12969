//! From an address to a logged-in connection, as far as it is the same for every SSH library: reach it, check the
//! host key by our own rules, log in, remember an accepted key.

use std::path::Path;
use std::sync::Arc;

use russh::keys::{Algorithm, PublicKey};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::auth::{self, Server};
use super::hostkeys::{Accepted, Policy, Rejected};
use super::logins::Given;
use super::{Target, TransportError};

/// How many host key types are tried to find the one whose fingerprint is pinned.
const PIN_ATTEMPTS: usize = 4;

/// The key exchange did not end well.
pub(super) enum Failure {
    /// The host key was not accepted.
    Key { rejected: Rejected, algorithm: Algorithm },
    /// Anything else.
    Other(TransportError),
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        Self::Other(error)
    }
}

/// What one SSH library does on the way to a connection.
pub(super) trait Handshake: Sync {
    /// A connection whose host key has been accepted.
    type Peer: Server;

    /// Opens a byte stream to the target and exchanges keys on it; host key types in `without` are not asked for.
    fn shake_hands(
        &self,
        target: &Target,
        policy: &Arc<Policy>,
        without: &[Algorithm],
    ) -> impl Future<Output = Result<(Self::Peer, PublicKey, Accepted), Failure>> + Send;
}

/// Connects and logs in.
pub(super) async fn hop<H: Handshake>(
    library: &H,
    target: &Target,
    agent: Option<&Path>,
    given: &Given,
) -> Result<H::Peer, TransportError> {
    let host = target.name.clone();
    let known_as = target.host_key_alias.as_deref().unwrap_or(&target.address);
    let policy = Policy::new(&target.host_key, known_as, target.port)
        .map(Arc::new)
        .map_err(|detail| TransportError::HostKey { host: host.clone(), detail })?;
    let mut without = Vec::new();
    let mut first_rejection = None;
    for _ in 0..PIN_ATTEMPTS {
        match library.shake_hands(target, &policy, &without).await {
            Ok((mut peer, key, accepted)) => {
                match timeout(target.connect_timeout, auth::login(&mut peer, target, agent, given)).await {
                    Ok(result) => result?,
                    Err(_) => {
                        let during =
                            format!("during the login: no answer within {} s", target.connect_timeout.as_secs_f32());
                        return Err(TransportError::Lost { host, during });
                    }
                }
                // Only now: an address where nobody can log in may be a slip, and is not put on record.
                if accepted == Accepted::New {
                    policy.store(&key).map_err(|detail| TransportError::HostKey { host, detail })?;
                }
                return Ok(peer);
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

/// Nothing answers at the target's address.
pub(super) fn unreachable(target: &Target, reason: String) -> TransportError {
    TransportError::Unreachable { host: target.name.clone(), address: target.socket(), reason }
}

/// This machine itself has no means for a connection.
pub(super) fn system(target: &Target, error: &std::io::Error) -> TransportError {
    let advice = if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
        ": too many hosts at once for what this process may hold open; use a smaller --forks or a larger `ulimit -n`"
    } else {
        ""
    };
    unreachable(target, format!("{error}{advice}"))
}

/// Nothing answered in time.
pub(super) fn too_late(target: &Target) -> TransportError {
    unreachable(
        target,
        format!(
            "no answer within {} s: is the address right, is a firewall in between?",
            target.connect_timeout.as_secs_f32()
        ),
    )
}

/// The jump host will not forward.
pub(super) fn forbids(target: &Target, jump: &str) -> TransportError {
    unreachable(
        target,
        format!("the jump host {jump} forbids forwarding (AllowTcpForwarding or PermitOpen in its sshd_config)"),
    )
}

/// The jump host gets no further.
pub(super) fn no_further(target: &Target, jump: &str, why: &str) -> TransportError {
    unreachable(target, format!("the jump host {jump} cannot connect to it ({why})"))
}

/// The key exchange took too long.
pub(super) fn no_key_exchange(target: &Target) -> TransportError {
    let during = format!("during the key exchange: no answer within {} s", target.connect_timeout.as_secs_f32());
    TransportError::Lost { host: target.name.clone(), during }
}

/// The key exchange failed, but not for want of an algorithm.
pub(super) fn broken_key_exchange(target: &Target, error: &str) -> TransportError {
    let during = format!("during the key exchange ({error}): is it an SSH server that has no room, or none at all?");
    TransportError::Lost { host: target.name.clone(), during }
}

/// A TCP connection without anything in between.
pub(super) async fn tcp(target: &Target) -> Result<TcpStream, TransportError> {
    let connect = TcpStream::connect((target.address.as_str(), target.port));
    let stream = timeout(target.connect_timeout, connect).await.map_err(|_| too_late(target))?.map_err(|error| {
        if error.kind() != std::io::ErrorKind::ConnectionRefused {
            return system(target, &error);
        }
        unreachable(target, format!("{error}: nothing listens there; is the SSH service running?"))
    })?;
    // Without this each command waits for the other side's delayed acknowledgement: 50 ms instead of 2.
    stream.set_nodelay(true).map_err(|error| system(target, &error))?;
    Ok(stream)
}

/// Whether what is at the other end says that it speaks SSH.
pub(super) async fn says_ssh(stream: &mut (dyn AsyncRead + Unpin + Send)) -> bool {
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
