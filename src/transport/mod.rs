//! How commands reach a host. Knows nothing of ESXi: it carries command text, bytes and exit codes.

pub mod algorithms;
mod auth;
pub mod error;
pub mod frame;
pub mod hostkeys;
pub mod ssh;
pub mod target;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

pub use error::TransportError;
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

    /// Sends bytes into `path` on the host: written beside it, compared by SHA-256 there, mode set, moved into
    /// place. `progress` gets bytes sent so far. Leaves no partial file behind, whatever happens.
    async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError>;

    /// What this session has cost so far.
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
}
