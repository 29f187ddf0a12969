//! What a session needs of an SSH library: a logged-in connection that opens channels. Everything above it (frames,
//! channels side by side, deadlines, uploads) is written once; everything below is one library's.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout};

use super::{Target, TransportError};

/// The program behind a channel that carries frames.
pub(super) const SHELL: &str = "/bin/sh";

/// How much later than its channels a connection may be seen to end.
const MOMENT: Duration = Duration::from_millis(500);

/// Makes logged-in connections, again and again for one session: see [`chain`](super::chain).
#[async_trait]
pub(super) trait Dial: Send + Sync {
    /// Connects, through all jumps, checks every host key and logs in everywhere.
    async fn dial(&self, target: &Target) -> Result<Arc<dyn Link>, TransportError>;
}

/// A logged-in connection. Dropping it ends it without a goodbye.
#[async_trait]
pub(super) trait Link: Send + Sync {
    /// The name used in reports.
    fn host(&self) -> &str;

    /// Whether it has ended.
    fn is_closed(&self) -> bool;

    /// Why it ended, if it has.
    fn reason(&self) -> String;

    /// Opens a channel and starts `command` on it; on a server that takes no command, the login's own shell, which
    /// is told to become it. There is no time limit: see [`open_within`].
    async fn open(&self, command: &str) -> Result<Pipe, NotOpened>;

    /// Opens a channel and asks for [`SHELL`] on it, without waiting for the server's consent where the library can do
    /// without: what is written to it travels with the request. [`Message::NoCommand`] may come then.
    async fn shell(&self) -> Result<Pipe, NotOpened> {
        self.open(SHELL).await
    }

    /// Says goodbye to the server and to those in between.
    async fn bye(&self);
}

/// The two directions of a channel.
pub(super) struct Pipe {
    pub(super) read: Box<dyn PipeRead>,
    pub(super) write: Arc<dyn PipeWrite>,
}

/// What comes from the far side.
#[async_trait]
pub(super) trait PipeRead: Send {
    /// The next message; `None` when the channel or the connection has ended.
    async fn wait(&mut self) -> Option<Message>;
}

/// What goes to the far side. Whether dropping it closes the channel is up to the library: see [`PipeWrite::close`].
#[async_trait]
pub(super) trait PipeWrite: Send + Sync {
    /// Sends bytes as fast as the far side takes them. The error is a text for the user.
    async fn data(&self, bytes: Vec<u8>) -> Result<(), String>;

    /// Says that no more bytes come.
    async fn eof(&self) -> Result<(), String>;

    /// Asks the processes to end; false where the library has no way to.
    async fn signal(&self, signal: Ask) -> bool;

    /// Closes the channel: nothing of it is wanted any more.
    async fn close(&self);
}

/// A signal for the processes of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Term,
    Kill,
}

/// One message of a channel.
#[derive(Debug)]
pub(super) enum Message {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    Code(u32),
    Signal(String),
    /// The server starts no command: nothing has run on this channel, and nothing will.
    NoCommand,
    Close,
}

/// Why there is no channel.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The server allows no further one.
    Refused(String),
    /// The connection or the shell is at fault.
    Failed(TransportError),
}

impl NotOpened {
    /// The connection ended instead.
    pub(super) fn lost(link: &dyn Link, what: &str) -> Self {
        Self::Failed(TransportError::Lost {
            host: link.host().to_owned(),
            during: format!("while opening a channel: {} ({what})", link.reason()),
        })
    }
}

/// [`Link::open`], with a time limit.
pub(super) async fn open_within(link: &dyn Link, command: &str, limit: Duration) -> Result<Pipe, NotOpened> {
    within(link, link.open(command), limit).await
}

/// An answer, or the error that none came in time.
pub(super) async fn within(
    link: &dyn Link,
    opening: impl Future<Output = Result<Pipe, NotOpened>>,
    limit: Duration,
) -> Result<Pipe, NotOpened> {
    match timeout(limit, opening).await {
        Ok(result) => result,
        Err(_) => Err(NotOpened::lost(link, &format!("no answer within {} s", limit.as_secs_f32()))),
    }
}

/// Whether the connection has ended, asked when a channel of it has, for no reason that was told: the channel can hear of
/// it a moment earlier, and what is lost is not what the host ended.
pub(super) async fn has_ended(link: &dyn Link) -> bool {
    let until = Instant::now() + MOMENT;
    while !link.is_closed() && Instant::now() < until {
        sleep(Duration::from_millis(5)).await;
    }
    link.is_closed()
}

/// The far side does not behave like a shell.
pub(super) fn protocol(link: &dyn Link, detail: String) -> TransportError {
    TransportError::Protocol { host: link.host().to_owned(), detail }
}
