//! The transport over russh: connect (through jump hosts too), check the host key, log in, channels.

mod auth;
mod channel;
mod connection;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use self::connection::Connection;
use super::chain::{self, Settings};
use super::{Connector, Shell, Target, TransportError};

/// Makes SSH sessions. Cheap to make and to share.
#[derive(Debug, Clone, Default)]
pub struct RusshConnector {
    settings: Settings,
}

impl RusshConnector {
    /// With keepalives every 15 s; a peer that answers none of 3 is given up after a minute.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another agent socket than the one in `SSH_AUTH_SOCK`.
    pub fn with_agent(mut self, socket: impl Into<PathBuf>) -> Self {
        self.settings.agent = Some(socket.into());
        self
    }

    /// How often a silent peer is asked for a sign of life, and how many questions may stay without an answer.
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
impl Connector for RusshConnector {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
        chain::connect::<Connection>(&self.settings, target).await
    }

    async fn listening(&self, target: &Target, within: Duration) -> bool {
        chain::listening::<Connection>(&self.settings, target, within).await
    }
}
