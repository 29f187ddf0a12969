//! Forwards of a running guest. QEMU says of a port that it cannot have it, never why: that is found out here.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;

use super::{GuestError, on};
use crate::lab::qmp::{Forward, Protocol, Qmp};

/// Ports below this need root, unless the system says otherwise.
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Adds a forward to a running guest's user network, and looks that it listens.
pub async fn add_port(name: &str, qmp: &Qmp, netdev: &str, forward: &Forward) -> Result<(), GuestError> {
    check_port(forward)?;
    qmp.add_forward(netdev, forward).await.map_err(on(name))?;
    let here = |f: &Forward| {
        (f.host_address, f.host_port, f.protocol) == (forward.host_address, forward.host_port, forward.protocol)
    };
    if qmp.forwards().await.map_err(on(name))?.iter().any(|(id, f)| id == netdev && here(f)) {
        return Ok(());
    }
    Err(refuse(forward, "QEMU took it and does not listen on it; its log may say more".to_owned()))
}

/// Takes a forward away from a running guest. Connections through it live on.
pub async fn remove_port(name: &str, qmp: &Qmp, netdev: &str, forward: &Forward) -> Result<(), GuestError> {
    qmp.remove_forward(netdev, forward).await.map_err(on(name))
}

/// The forwards of a running guest, with their netdevs.
pub async fn list_ports(name: &str, qmp: &Qmp) -> Result<Vec<(String, Forward)>, GuestError> {
    qmp.forwards().await.map_err(on(name))
}

/// Refuses a port that cannot be listened on now, with who holds it.
fn check_port(forward: &Forward) -> Result<(), GuestError> {
    let address = SocketAddr::new(IpAddr::V4(forward.host_address), forward.host_port);
    let bound = match forward.protocol {
        Protocol::Tcp => TcpListener::bind(address).map(drop),
        Protocol::Udp => UdpSocket::bind(address).map(drop),
    };
    let Err(error) = bound else { return Ok(()) };
    let why = match error.kind() {
        std::io::ErrorKind::AddrInUse => match holder(forward.protocol, forward.host_address, forward.host_port) {
            Some((pid, program)) => format!("process {pid} ({program}) has it; take another port, or end that one"),
            None => "another process has it; take another port".to_owned(),
        },
        std::io::ErrorKind::PermissionDenied if forward.host_port < FIRST_UNPRIVILEGED => {
            format!(
                "ports below {FIRST_UNPRIVILEGED} need root (net.ipv4.ip_unprivileged_port_start); take a higher one"
            )
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    };
    Err(refuse(forward, why))
}

fn refuse(forward: &Forward, why: String) -> GuestError {
    GuestError::Port { address: forward.host_address.to_string(), port: forward.host_port, why }
}

/// The process that listens on a port of this machine, and its program; none when nobody does, or it is not ours to
/// see.
pub fn holder(protocol: Protocol, address: Ipv4Addr, port: u16) -> Option<(u32, String)> {
    let tables: &[&str] = match protocol {
        Protocol::Tcp => &["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => &["/proc/net/udp", "/proc/net/udp6"],
    };
    let sockets: Vec<_> = tables
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|text| listeners(&text, protocol))
        .filter(|l| l.port == port)
        .filter(|l| l.address.is_none_or(|a| a == address || a.is_unspecified() || address.is_unspecified()))
        .map(|l| format!("socket:[{}]", l.inode))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let pids = fs::read_dir("/proc").ok()?.filter_map(|e| e.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let has = |pid: &u32| {
        let Ok(handles) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        handles
            .filter_map(|handle| fs::read_link(handle.ok()?.path()).ok())
            .any(|target| sockets.iter().any(|socket| Path::new(socket) == target))
    };
    let pid = pids.into_iter().find(has)?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned();
    Some((pid, program))
}

/// A socket that listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// None for IPv6, which may take IPv4 as well.
    address: Option<Ipv4Addr>,
    port: u16,
    inode: u64,
}

/// Reads `/proc/net/tcp` and its like (proc(5)): addresses are hexadecimal in the machine's order of bytes.
pub(super) fn listeners(text: &str, protocol: Protocol) -> Vec<Listener> {
    // TCP_LISTEN; an unconnected UDP socket is in state 7.
    let state = match protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let (local, found, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
            let (address, port) = local.split_once(':')?;
            let port = u16::from_str_radix(port, 16).ok()?;
            let address = (address.len() == 8).then(|| u32::from_str_radix(address, 16).ok()).flatten();
            let address = address.map(|a| Ipv4Addr::from(a.to_ne_bytes()));
            (*found == state).then_some(Listener { address, port, inode: inode.parse().ok()? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0\n\
            \x20  1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 12346 1 0 100 0 0 10 0\n\
            \x20  2: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 77 1\n";
        assert_eq!(
            listeners(text, Protocol::Tcp),
            [
                Listener { address: Some(Ipv4Addr::LOCALHOST), port: 8080, inode: 12345 },
                Listener { address: None, port: 22, inode: 77 },
            ]
        );
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (pid, _) = holder(Protocol::Tcp, Ipv4Addr::LOCALHOST, port).unwrap();
        assert_eq!(pid, std::process::id());
        let error = check_port(&Forward::local(port, 22)).unwrap_err().to_string();
        assert!(error.contains(&format!("process {pid} (")), "{error}");
        drop(socket);
        // A process that another test is just starting holds a copy of the socket until its own program begins.
        let is_free = || {
            check_port(&Forward::local(port, 22)).is_ok() && holder(Protocol::Tcp, Ipv4Addr::LOCALHOST, port).is_none()
        };
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !is_free() {
            assert!(std::time::Instant::now() < until, "{port} is still held");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let mut forward = Forward::local(20022, 22);
        forward.host_address = Ipv4Addr::new(192, 0, 2, 1);
        let error = check_port(&forward).unwrap_err().to_string();
        assert!(error.contains("does not have that address"), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let _ = listeners(&text, Protocol::Tcp);
        }
    }
}
