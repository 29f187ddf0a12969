//! How commands reach a host. Knows nothing of ESXi: it carries command text, bytes and exit codes.

pub mod algorithms;
pub mod asked;
mod auth;
mod chain;
mod connect;
mod connectors;
pub mod error;
pub mod frame;
pub mod hostkeys;
#[cfg(feature = "libssh2")]
mod libssh2;
mod link;
mod logins;
pub mod progress;
pub mod record;
pub mod replay;
mod session;
pub mod ssh;
pub mod target;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroize;

pub use connectors::Connectors;
pub use error::TransportError;
#[cfg(feature = "libssh2")]
pub use libssh2::Libssh2Connector;
pub use replay::ReplayConnector;
pub use ssh::RusshConnector;
pub use target::Target;

/// One command for the far shell.
#[derive(Debug, Clone)]
pub struct Request {
    /// Text for `/bin/sh`, run in a subshell with `</dev/null` unless `stdin` is given.
    pub script: String,
    /// Bytes for its standard input.
    pub stdin: Option<Vec<u8>>,
    /// The longest time from the moment it starts on the host.
    pub timeout: Duration,
    /// Neither text, input nor output may be logged or recorded.
    pub secret: bool,
    /// It may alter the host. A transport does the same either way; a recording counts on it.
    pub changes: bool,
}

impl Drop for Request {
    /// The text and the input of a secret command do not stay in memory behind it.
    fn drop(&mut self) {
        if self.secret {
            self.script.zeroize();
            self.stdin.zeroize();
        }
    }
}

/// How much of a command is shown in an error, in characters.
const SHOWN: usize = 160;

impl Request {
    /// The command as an error may show it: the beginning of its first line, or a placeholder for a secret one.
    pub fn shown(&self) -> String {
        if self.secret {
            return "a secret command".to_owned();
        }
        let line = self.script.trim().lines().next().unwrap_or_default();
        let mut text: String = line.chars().take(SHOWN).collect();
        if text.len() < self.script.trim().len() {
            text.push_str(" ...");
        }
        text
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Exit code, always known: a command whose end was not seen is a [`TransportError`].
    pub code: i32,
    /// Seconds on the host as seen from here.
    pub seconds: f64,
}

impl Reply {
    /// Whether it ended with code 0 and without a word: only then may what was to follow begin unseen.
    pub fn is_quiet(&self) -> bool {
        self.code == 0 && self.stdout.is_empty() && self.stderr.is_empty()
    }
}

/// How a chain of commands went.
#[derive(Debug, Default)]
pub struct Chained {
    /// The replies of those that began and ended, in their order.
    pub replies: Vec<Reply>,
    /// The replies of what was asked behind the chain; all of them or none.
    pub behind: Vec<Reply>,
    /// What broke it off at the first command without a reply; whether later ones began is not known then.
    pub broken: Option<TransportError>,
}

/// Bytes for a file on the host.
#[derive(Debug, Clone)]
pub enum Payload {
    /// In memory.
    Bytes(Vec<u8>),
    /// A local file, streamed.
    File(PathBuf),
}

/// A logged-in session with one host.
#[async_trait]
pub trait Shell: Send + Sync {
    /// Runs commands that do not depend on each other: one round trip. Replies come in the order of the
    /// requests; `done` is called with the index of each as it ends.
    async fn batch(
        &mut self,
        requests: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Reply>, TransportError>;

    /// Runs commands one after the other, in one round trip: the next begins only when the last was
    /// [quiet](Reply::is_quiet). For commands that leave nothing running behind them: what a daemon keeps open would be
    /// waited for. Line feeds at the end of an output may be missing. Standard input is never given.
    ///
    /// What is asked `behind` it runs after it, however it ended: reads, in the same round trip unless they are better
    /// spread over channels. `done` is called for the chain's own requests.
    async fn in_turn(
        &mut self,
        requests: &[Request],
        behind: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Chained;

    /// Sends bytes into `path` on the host: written beside it, compared by SHA-256 there, mode set, moved into
    /// place. Leaves no partial file behind, whatever happens.
    ///
    /// `progress` gets the bytes sent so far: at each full 256 KiB, and at the end unless that is one; never for an
    /// empty file. So any two transports report the same ([`progress::Milestones`] does it).
    async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError>;

    /// What this session has cost so far. A batch that is not empty is one round trip, and a command for each of its
    /// requests, however it ends; an upload is a command and two round trips from the moment it has a channel.
    fn cost(&self) -> Cost;

    /// Ends the session politely; never fails.
    async fn close(&mut self);
}

/// Counters of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Commands sent.
    pub commands: u64,
    /// Times that something was sent and an answer awaited, after the login.
    pub round_trips: u64,
}

/// Makes sessions.
#[async_trait]
pub trait Connector: Send + Sync {
    /// Connects, checks the host key, logs in (each credential once) and opens a shell.
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError>;

    /// Whether something that speaks SSH listens there: TCP connect and the banner, no login.
    async fn listening(&self, target: &Target, within: Duration) -> bool;

    /// The addresses that the target's name has for this machine; `None` when the name is not known here.
    async fn addresses(&self, target: &Target) -> Option<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((target.address.as_str(), 0)).await.ok()?;
        Some(found.map(|address| address.ip().to_canonical()).collect())
    }
}
