//! A host's TCP side: where sshd listens, which connections there are, and what becomes of them when a vmknic goes.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fault::Kind;
use super::machine::SimHost;
use super::sshd;

/// Sockets by address: listening, or bound but not listening so that nobody else takes the port meanwhile.
#[derive(Default)]
pub(super) struct Listeners {
    open: HashMap<SocketAddr, (CancellationToken, JoinHandle<()>)>,
    reserved: HashMap<SocketAddr, TcpSocket>,
}

impl Listeners {
    /// With one port taken and nobody listening.
    pub(super) fn holding(address: SocketAddr, socket: TcpSocket) -> Listeners {
        Listeners { open: HashMap::new(), reserved: HashMap::from([(address, socket)]) }
    }

    /// Gives the ports back that are taken and not listened on.
    pub(super) fn let_go(&mut self) {
        self.reserved.clear();
    }
}

/// Takes a port without listening on it.
pub(super) fn reserve(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// One open connection.
pub(super) struct Open {
    number: u64,
    /// The vmknic address it came in over.
    address: String,
    /// Where it came from.
    pub(super) peer: IpAddr,
    /// Who logged in, empty before.
    pub(super) user: String,
    token: CancellationToken,
    /// Cancelled: it says no word any more.
    mute: CancellationToken,
}

/// What a connection hears of what becomes of it.
pub(crate) struct Fate {
    /// Its number on this host.
    pub(crate) number: u64,
    /// The vmknic address it came in over.
    pub(crate) address: String,
    /// Cancelled: it is cut.
    pub(crate) cut: CancellationToken,
    /// Cancelled: it stays, and neither hears nor says anything.
    pub(crate) mute: CancellationToken,
}

impl Open {
    fn copy(&self) -> Open {
        let (address, user) = (self.address.clone(), self.user.clone());
        Open { address, user, token: self.token.clone(), mute: self.mute.clone(), ..*self }
    }
}

impl SimHost {
    /// Brings listeners and connections in line with sshd and the vmknics: a connection whose address is gone is cut.
    pub(super) async fn follow_addresses(self: &Arc<Self>) {
        let (running, on, addresses) = {
            let inner = self.inner();
            let running = inner.state.ssh_running() && inner.running.is_some();
            (running, inner.on.clone(), inner.state.management_addresses())
        };
        let mut wanted = Vec::new();
        if running && !addresses.is_empty() {
            if self.options.management_address.is_none() {
                wanted.push(self.address);
            }
            if self.options.listen_on_vmknics || self.options.management_address.is_some() {
                let loopback = addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok()).filter(IpAddr::is_loopback);
                let loopback = loopback.filter(|ip| !self.has(|f| matches!(f, Kind::Deaf(deaf) if deaf == ip)));
                wanted.extend(loopback.map(|ip| SocketAddr::new(ip, self.address.port())));
            }
        }
        self.cut_connections(|open| !addresses.contains(&open.address));
        self.close_listeners(|address| !wanted.contains(address)).await;
        let mut listeners = self.listeners.lock().await;
        if on.is_cancelled() {
            // The power went meanwhile.
            return;
        }
        for address in wanted {
            if listeners.open.contains_key(&address) {
                continue;
            }
            let socket = match listeners.reserved.remove(&address) {
                Some(socket) => Ok(socket),
                None => reserve(address),
            };
            match socket.and_then(|socket| socket.listen(128)) {
                Ok(listener) => {
                    let token = on.child_token();
                    let task = tokio::spawn(sshd::accept(Arc::clone(self), listener, token.clone(), on.clone()));
                    listeners.open.insert(address, (token, task));
                }
                Err(error) => {
                    tracing::error!(%error, host = self.label, "the simulated host cannot listen on {address}")
                }
            }
        }
    }

    pub(super) async fn close_listeners(&self, unwanted: impl Fn(&SocketAddr) -> bool) {
        let mut listeners = self.listeners.lock().await;
        let gone: Vec<SocketAddr> = listeners.open.keys().filter(|a| unwanted(a)).copied().collect();
        for address in gone {
            if let Some((token, task)) = listeners.open.remove(&address) {
                token.cancel();
                let _ = task.await;
            }
            if address == self.address
                && let Ok(socket) = reserve(address)
            {
                listeners.reserved.insert(address, socket);
            }
        }
    }

    pub(super) fn cut_connections(&self, lost: impl Fn(&Open) -> bool) {
        self.inner().connections.retain(|open| {
            let keep = !lost(open);
            if !keep {
                open.token.cancel();
            }
            keep
        });
    }

    /// Cuts what `lost` still says after `wait`.
    pub(super) fn cut_later(
        self: &Arc<Self>,
        wait: std::time::Duration,
        lost: impl Fn(&SimHost, &Open) -> bool + Send + 'static,
    ) {
        let host = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = host.end.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            let doomed: Vec<u64> = {
                let open: Vec<Open> = host.inner().connections.iter().map(Open::copy).collect();
                open.iter().filter(|open| lost(&host, open)).map(|open| open.number).collect()
            };
            host.cut_connections(|open| doomed.contains(&open.number));
        });
    }

    /// Whether the firewall lets SSH in from there.
    pub(super) fn lets_in(&self, peer: IpAddr) -> bool {
        self.with_state(|state, _| state.ssh_allowed_from(peer))
    }

    /// Notes who logged in over a connection.
    pub(super) fn logged_in(&self, number: u64, user: &str) {
        for open in self.inner().connections.iter_mut().filter(|open| open.number == number) {
            open.user = user.to_owned();
        }
    }

    /// Cuts every connection, with no goodbye.
    pub(crate) fn cut_all(&self) {
        self.cut_connections(|_| true);
    }

    /// Notes a connection. Its server address is the vmknic it would have come in over.
    pub(crate) fn connected(&self, local: IpAddr, peer: IpAddr, on: &CancellationToken) -> Fate {
        let mut inner = self.inner();
        let addresses = inner.state.management_addresses();
        let local = local.to_string();
        let address = match addresses.first() {
            Some(first) if !addresses.contains(&local) => first.clone(),
            _ => local,
        };
        let token = on.child_token();
        inner.next_connection += 1;
        let number = inner.next_connection;
        let mute = CancellationToken::new();
        let fate = Fate { number, address: address.clone(), cut: token.clone(), mute: mute.clone() };
        inner.connections.push(Open { number, address, peer, user: String::new(), token, mute });
        fate
    }

    /// Every connection stays, and says no word any more.
    pub(crate) fn mute_all(&self) {
        for open in &self.inner().connections {
            open.mute.cancel();
        }
    }

    /// Whether any client is connected that could still be told something.
    pub(crate) fn connected_now(&self) -> bool {
        self.inner().connections.iter().any(|open| !open.token.is_cancelled() && !open.mute.is_cancelled())
    }

    pub(crate) fn disconnected(&self, number: u64) {
        self.inner().connections.retain(|open| open.number != number);
    }
}
