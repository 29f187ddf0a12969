//! Through jump hosts to a target, and back: the part of a connection that is the same for every SSH library. A
//! connection owns the one that it goes through, so that none ends before those on top of it.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};

use super::connect;
use super::link::{Dial, Link};
use super::logins::{Given, Logins};
use super::session::Session;
use super::{Shell, Target, TransportError};

/// How long one connection's goodbye may take before those below it end.
const GOODBYE: Duration = Duration::from_millis(300);

/// Commands that take less than this together stay on one channel. A second one costs two turns and a process on the
/// host, and saves at most half of the time.
const PATIENCE: Duration = Duration::from_millis(400);

/// The shortest time of silence that says something.
const SHORTEST: Duration = Duration::from_secs(1);

/// How many questions for a sign of life may stay without an answer.
const QUESTIONS: u32 = 3;

/// What all connections of a connector share.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The agent's socket, when it is not the one in `SSH_AUTH_SOCK`.
    pub(super) agent: Option<PathBuf>,
    /// How often a silent peer is asked for a sign of life.
    pub(super) keepalive: Duration,
    /// How many of those questions may stay without an answer.
    pub(super) keepalive_max: usize,
    /// How long commands may take on one channel before others are opened.
    pub(super) patience: Duration,
    /// What came of the logins of all its connections.
    pub(super) logins: Logins,
}

impl Default for Settings {
    /// Given up after a minute of silence.
    fn default() -> Self {
        Self {
            agent: None,
            keepalive: Duration::from_secs(15),
            keepalive_max: QUESTIONS as usize,
            patience: PATIENCE,
            logins: Logins::default(),
        }
    }
}

impl Settings {
    /// How often a silent target is asked for a sign of life, and how many questions may stay without an answer: it is
    /// given up one interval later.
    pub(super) fn keepalive_of(&self, target: &Target) -> (Duration, usize) {
        match target.silence_timeout {
            Some(silence) => (silence.max(SHORTEST) / (QUESTIONS + 1), QUESTIONS as usize),
            None => (self.keepalive, self.keepalive_max),
        }
    }
}

/// A byte stream for a task.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A logged-in connection of one library; it keeps the one alive that it goes through.
pub(super) trait Hop: Link + Sized + 'static {
    /// Connects and logs in, through `via` or straight. A password is noted before it is given.
    fn hop(
        settings: &Settings,
        via: Option<Self>,
        target: &Target,
        given: &Given,
    ) -> impl Future<Output = Result<Self, TransportError>> + Send;

    /// A byte stream to the target, through `via` or straight.
    fn stream(
        via: Option<&Self>,
        target: &Target,
    ) -> impl Future<Output = Result<Box<dyn Stream>, TransportError>> + Send;

    /// What it goes through.
    fn via(&self) -> Option<&Self>;

    /// Says goodbye to its own server. Whether that is done shows in [`Link::is_closed`].
    fn part(&self) -> impl Future<Output = ()> + Send;
}

/// Makes connections of one library.
struct Dialler<C> {
    settings: Settings,
    makes: PhantomData<fn() -> C>,
}

#[async_trait]
impl<C: Hop> Dial for Dialler<C> {
    async fn dial(&self, target: &Target) -> Result<Arc<dyn Link>, TransportError> {
        let via = jumps(&self.settings, target).await?;
        let hop = async |given: Given| C::hop(&self.settings, via, target, &given).await;
        Ok(Arc::new(self.settings.logins.once(target, hop).await?))
    }
}

/// The chain of jump hosts up to, not with, the target.
async fn jumps<C: Hop>(settings: &Settings, target: &Target) -> Result<Option<C>, TransportError> {
    let mut via: Option<C> = None;
    for jump in &target.jumps {
        let before = via.take();
        let hop = async |given: Given| C::hop(settings, before, jump, &given).await;
        via = Some(settings.logins.once(jump, hop).await?);
    }
    Ok(via)
}

/// See [`Connector::connect`](super::Connector::connect).
pub(super) async fn connect<C: Hop>(settings: &Settings, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
    let dial = Dialler::<C> { settings: settings.clone(), makes: PhantomData };
    Ok(Box::new(Session::start(Arc::new(dial), target, settings.patience).await?))
}

/// See [`Connector::listening`](super::Connector::listening).
pub(super) async fn listening<C: Hop>(settings: &Settings, target: &Target, within: Duration) -> bool {
    let asking = async {
        let Ok(via) = jumps::<C>(settings, target).await else { return false };
        let Ok(mut stream) = C::stream(via.as_ref(), target).await else { return false };
        connect::says_ssh(&mut *stream).await
    };
    timeout(within, asking).await.unwrap_or(false)
}

/// Says goodbye to the far end first: each goodbye must be on its way before the tunnel under it is closed.
pub(super) async fn bye<C: Hop>(last: &C) {
    let mut hop = Some(last);
    while let Some(connection) = hop {
        connection.part().await;
        let deadline = Instant::now() + GOODBYE;
        while !connection.is_closed() && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        hop = connection.via();
    }
}
