//! The transport over libssh2 and OpenSSL: a second, independent implementation behind the same traits. Everything
//! above channels is shared with the other one; libssh2 itself is a blocking library with one lock a session, so
//! each session has a thread of its own, which no task ever waits for by blocking.

mod auth;
mod connection;
mod line;
mod offer;
mod pipe;
mod pump;
mod wire;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use self::connection::Connection;
use super::chain::{self, Settings};
use super::{Connector, Shell, Target, TransportError};

/// Error codes of libssh2 (`libssh2.h`; the crate does not export them).
mod code {
    pub(super) const SOCKET_SEND: i32 = -7;
    pub(super) const TIMEOUT: i32 = -9;
    pub(super) const SOCKET_DISCONNECT: i32 = -13;
    pub(super) const PASSWORD_EXPIRED: i32 = -15;
    pub(super) const AUTHENTICATION_FAILED: i32 = -18;
    pub(super) const PUBLICKEY_UNVERIFIED: i32 = -19;
    pub(super) const CHANNEL_FAILURE: i32 = -21;
    pub(super) const CHANNEL_REQUEST_DENIED: i32 = -22;
    pub(super) const CHANNEL_CLOSED: i32 = -26;
    pub(super) const CHANNEL_EOF_SENT: i32 = -27;
    pub(super) const EAGAIN: i32 = -37;
    pub(super) const SOCKET_RECV: i32 = -43;

    /// The number of an error.
    pub(super) fn of(error: &ssh2::Error) -> i32 {
        match error.code() {
            ssh2::ErrorCode::Session(code) | ssh2::ErrorCode::SFTP(code) => code,
        }
    }

    /// Whether the connection is at fault.
    pub(super) fn is_socket(code: i32) -> bool {
        matches!(code, SOCKET_SEND | TIMEOUT | SOCKET_DISCONNECT | SOCKET_RECV)
    }
}

/// Makes SSH sessions over libssh2. Cheap to make and to share.
#[derive(Debug, Clone, Default)]
pub struct Libssh2Connector {
    settings: Settings,
}

impl Libssh2Connector {
    /// With keepalives every 15 s; a peer that is silent for a minute is given up.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another agent socket than the one in `SSH_AUTH_SOCK`.
    pub fn with_agent(mut self, socket: impl Into<PathBuf>) -> Self {
        self.settings.agent = Some(socket.into());
        self
    }

    /// How often a peer is asked for a sign of life (libssh2 knows no less than 2 s), and how many questions may
    /// stay without an answer.
    pub fn with_keepalive(mut self, interval: Duration, max: usize) -> Self {
        self.settings.keepalive = interval;
        self.settings.keepalive_max = max;
        self
    }

    /// How long the commands of a batch may take together, as far as can be told, before they are spread over more
    /// channels than one (400 ms unless set).
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }
}

#[async_trait]
impl Connector for Libssh2Connector {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
        chain::connect::<Connection>(&self.settings, target).await
    }

    async fn listening(&self, target: &Target, within: Duration) -> bool {
        chain::listening::<Connection>(&self.settings, target, within).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::target::HostKeyCheck;

    fn threads() -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        tasks
            .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "libssh2\n"))
            .count()
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_leaves_no_thread() {
        let _alone = worker::tests::ALONE.lock().await;
        assert_eq!(threads_after(Duration::from_secs(5)).await, 0);
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut target = Target::new("esx1", "127.0.0.1");
        target.port = silent.local_addr().unwrap().port();
        target.host_key = HostKeyCheck { known_hosts: vec![folder.path().join("known")], ..HostKeyCheck::default() };
        let connector = Libssh2Connector::new();
        let waiting = {
            let (connector, target) = (connector.clone(), target.clone());
            tokio::spawn(async move { connector.connect(&target).await.map(drop) })
        };
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(threads(), 1);
        waiting.abort();
        assert_eq!(threads_after(Duration::from_secs(5)).await, 0);
        target.connect_timeout = Duration::from_millis(300);
        let error = connector.connect(&target).await.err().unwrap();
        assert!(matches!(error, TransportError::Lost { .. }), "{error}");
        assert_eq!(threads_after(Duration::from_secs(5)).await, 0);
    }

    /// How many are left, at once when there are none.
    async fn threads_after(limit: Duration) -> usize {
        let deadline = tokio::time::Instant::now() + limit;
        while threads() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        threads()
    }
}
