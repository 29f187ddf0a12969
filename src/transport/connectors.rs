//! Which library carries a session: asked for by each target, chosen here and nowhere else.

use std::time::Duration;

use async_trait::async_trait;

use super::connect::unreachable;
use super::target::Library;
use super::{Connector, RusshConnector, Shell, Target, TransportError};

/// Makes sessions over the library that the target asks for. Jump hosts are reached over the library of the target
/// behind them.
#[derive(Debug, Clone, Default)]
pub struct Connectors {
    russh: RusshConnector,
    #[cfg(feature = "libssh2")]
    libssh2: super::Libssh2Connector,
}

impl Connectors {
    fn of(&self, library: Library) -> Result<&dyn Connector, String> {
        match library {
            Library::Russh => Ok(&self.russh),
            #[cfg(feature = "libssh2")]
            Library::Libssh2 => Ok(&self.libssh2),
            #[cfg(not(feature = "libssh2"))]
            Library::Libssh2 => library.check().map(|()| &self.russh as &dyn Connector),
        }
    }
}

#[async_trait]
impl Connector for Connectors {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
        self.of(target.library).map_err(|reason| unreachable(target, reason))?.connect(target).await
    }

    async fn listening(&self, target: &Target, within: Duration) -> bool {
        match self.of(target.library) {
            Ok(connector) => connector.listening(target, within).await,
            Err(_) => false,
        }
    }
}
