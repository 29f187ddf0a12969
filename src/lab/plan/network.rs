//! Networks, the addresses of guests on them, and whether all names fit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::names::{self, MOST_SOCKET};
use super::reasons::Reasons;
use super::{Backend, GuestAddress, Host, Network, Nic, Port, Shared};
use crate::lab::spec::{AddressWish, Guest, NetworkKind, NetworkWish};
use crate::playbook::Problem;

/// Addresses by host and NIC.
pub type Addresses = BTreeMap<(String, usize), GuestAddress>;

/// QEMU's own network, unless the file gives another: the guest's DHCP answer, the way out and the name server are the
/// same numbers in each (QEMU's documentation of `-netdev user`; seen on QEMU 10.0.2).
const NAT: ([u8; 4], u8) = ([10, 0, 2, 0], 24);

/// An address of a network by its number.
fn nth(net: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()).saturating_add(n))
}

/// The subnet of a `nat` network.
pub fn nat_subnet(network: &NetworkWish) -> Ipv4Net {
    let own = || Ipv4Net::new(NAT.0.into(), NAT.1).unwrap_or_default();
    network.subnet.map_or_else(own, |s| s.0.trunc())
}

/// This machine, as guests on the network see it.
pub fn this_machine(network: &NetworkWish) -> Option<Ipv4Addr> {
    match network.kind {
        NetworkKind::Nat => Some(nth(nat_subnet(network), 2)),
        _ => network.address.map(|a| a.0.addr()),
    }
}

/// Where guests' addresses come from.
fn room(network: &NetworkWish) -> Option<Ipv4Net> {
    network.address.or(network.subnet).map(|n| n.0)
}

/// The guests' addresses. Those in the file stay; others count up from the network's `first` (or its eleventh) by the
/// host's place in the file, past those that are taken.
pub fn addresses(shared: &Shared<'_>, reasons: &mut Reasons<'_>) -> Addresses {
    let lab = shared.lab;
    let wished = |host: &str, number: usize| {
        let settings = &lab.hosts.get(host)?.settings;
        let nic = shared.nics.iter().find(|(n, _)| *n == host)?.1.get(number)?;
        nic.address.or(if number == 0 { settings.address } else { None })
    };
    let all = || shared.nics.iter().flat_map(|(h, nics)| nics.iter().enumerate().map(move |(i, n)| (*h, i, n)));
    let mut taken: BTreeMap<&str, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for (host, i, nic) in all() {
        let network = nic.network.as_deref().unwrap_or_default();
        let of_network = taken.entry(network).or_default();
        of_network.extend(lab.networks.get(network).and_then(|n| n.address).map(|a| a.0.addr()));
        if let Some(AddressWish::Static(address)) = wished(host, i) {
            of_network.insert(address.addr());
        }
    }
    let mut found = Addresses::new();
    for (host, i, nic) in all() {
        let Some((name, network)) = nic.network.as_ref().and_then(|n| lab.networks.get_key_value(n)) else { continue };
        let Some(wish) = lab.hosts.get_full(host) else { continue };
        let settings = &wish.2.settings;
        let told = |address: Ipv4Net| {
            let nat = network.kind == NetworkKind::Nat;
            let out = this_machine(network);
            let names = if nat { vec![nth(nat_subnet(network), 3)] } else { Vec::new() };
            let first = i == 0;
            GuestAddress::Static {
                address,
                gateway: if first { settings.gateway.or(out) } else { None },
                nameservers: if first { settings.nameservers.clone().unwrap_or(names) } else { Vec::new() },
            }
        };
        let address = match (wished(host, i), network.kind, room(network)) {
            (Some(AddressWish::Static(address)), ..) => told(address),
            (Some(AddressWish::Dhcp), ..) => GuestAddress::Dhcp,
            (Some(AddressWish::None), ..) => GuestAddress::None,
            (None, NetworkKind::Nat, _) if i > 0 => GuestAddress::None,
            // QEMU's own DHCP server gives the same one; being told it saves the stand-in a second.
            (None, NetworkKind::Nat, _) if settings.guest == Some(Guest::Standin) => {
                let net = nat_subnet(network);
                told(Ipv4Net::new(nth(net, 15), net.prefix_len()).unwrap_or(net))
            }
            (None, NetworkKind::Nat, _) => GuestAddress::Dhcp,
            (None, _, None) => {
                if i == 0 {
                    GuestAddress::Dhcp
                } else {
                    GuestAddress::None
                }
            }
            (None, _, Some(room)) => {
                let first = network.first.unwrap_or_else(|| nth(room, 11));
                let start = u32::from(first).saturating_add(wish.0 as u32);
                let of_network = taken.entry(name.as_str()).or_default();
                let free = (start..u32::from(room.broadcast()))
                    .map(Ipv4Addr::from)
                    .find(|a| room.contains(a) && !of_network.contains(a));
                match free {
                    Some(free) => {
                        of_network.insert(free);
                        told(Ipv4Net::new(free, room.prefix_len()).unwrap_or(room))
                    }
                    None => {
                        let at = lab.span(&["networks", name, "first"]);
                        let problem = Problem::at(
                            &at,
                            format!("no address is left for `{host}` in {}", room.trunc()),
                            "too small",
                        );
                        reasons.problems.push(problem.help(format!("they count up from {first}, one for each host")));
                        GuestAddress::None
                    }
                }
            }
        };
        found.insert((host.to_owned(), i), address);
    }
    found
}

/// What a NIC is attached to, without what depends on its model.
pub fn backend(shared: &Shared<'_>, host: &str, number: usize, network: &str, address: &GuestAddress) -> Backend {
    let lab = shared.lab;
    let wish = lab.networks.get(network).cloned().unwrap_or_default();
    match wish.kind {
        NetworkKind::Nat => {
            let guest = match address {
                GuestAddress::Static { address, .. } => address.addr(),
                _ => nth(nat_subnet(&wish), 15),
            };
            Backend::User { subnet: wish.subnet.map(|s| s.0.trunc()), guest, isolated: wish.isolated }
        }
        NetworkKind::Bridge | NetworkKind::Ovs => {
            Backend::Tap { ifname: names::tap(&lab.name, host, number), vnet_hdr_off: false }
        }
        NetworkKind::Hub => {
            // The names that the hub gives to the sockets of its ports: `.g` is bound by the guest, `.h` by the hub.
            let port = names::port(&lab.name, host, number);
            let file = |end: &str| hub_folder(shared, network).join(format!("{port}.{end}"));
            Backend::Dgram { local: file("g"), remote: file("h") }
        }
    }
}

/// The folder of a network's hub.
fn hub_folder(shared: &Shared<'_>, network: &str) -> PathBuf {
    shared.facts.runtime.join(format!("{network}.hub"))
}

/// The networks with their ports.
pub fn networks(shared: &Shared<'_>, hosts: &[Host]) -> Vec<Network> {
    let lab = shared.lab;
    let mut in_order: Vec<&Host> = hosts.iter().collect();
    in_order.sort_by_key(|h| h.number);
    let port = |host: &Host, i: usize, nic: &Nic| {
        let wish = shared.nics.iter().find(|(n, _)| *n == host.name).and_then(|(_, nics)| nics.get(i));
        let network = lab.networks.get(&nic.network);
        let trunks = wish.map(|w| w.trunks.clone()).unwrap_or_default();
        let own = wish.and_then(|w| w.vlan);
        // A trunk has no untagged VLAN unless it is given one itself.
        let vlan = own.or(network.and_then(|n| n.vlan).filter(|_| trunks.is_empty()));
        let name = match &nic.backend {
            Backend::Tap { ifname, .. } => ifname.clone(),
            _ => names::port(&lab.name, &host.name, i),
        };
        Port { host: host.name.clone(), nic: i, name, mac: nic.mac.clone(), backend: nic.backend.clone(), vlan, trunks }
    };
    let one = |(name, wish): (&String, &NetworkWish)| Network {
        name: name.clone(),
        kind: wish.kind,
        bridge: wish.kind.has_taps().then(|| names::bridge(&lab.name, name)),
        address: wish.address.map(|a| a.0),
        subnet: match wish.kind {
            NetworkKind::Nat => Some(nat_subnet(wish)),
            _ => room(wish).map(|r| r.trunc()),
        },
        mtu: wish.mtu,
        datapath: (wish.kind == NetworkKind::Ovs).then(|| wish.datapath.unwrap_or_default()),
        vlan: wish.vlan,
        isolated: wish.isolated,
        ports: in_order
            .iter()
            .flat_map(|h| h.nics.iter().enumerate().map(move |(i, n)| (*h, i, n)))
            .filter(|(_, _, nic)| nic.network == *name)
            .map(|(host, i, nic)| port(host, i, nic))
            .collect(),
        hub: (wish.kind == NetworkKind::Hub).then(|| hub_folder(shared, name)),
        needs_root: wish.kind.has_taps(),
    };
    lab.networks.iter().map(one).filter(|n| !n.ports.is_empty()).collect()
}

/// Refuses what would be too long or there twice: socket paths, names of interfaces.
pub fn names_fit(shared: &Shared<'_>, hosts: &[Host], networks: &[Network], reasons: &mut Reasons<'_>) {
    let mut interfaces: BTreeMap<&str, String> = BTreeMap::new();
    let bridges =
        networks.iter().filter_map(|n| n.bridge.as_deref().map(|b| (b, format!("the bridge of `{}`", n.name))));
    let taps = networks.iter().flat_map(|n| &n.ports).filter_map(|p| match &p.backend {
        Backend::Tap { ifname, .. } => Some((ifname.as_str(), format!("the tap of NIC {} of `{}`", p.nic, p.host))),
        _ => None,
    });
    for (name, what) in bridges.chain(taps) {
        if let Some(other) = interfaces.insert(name, what.clone()) {
            let message = format!("{other} and {what} would both be called {name}");
            reasons.problems.push(Problem::nowhere(message).help("rename one of the hosts or networks"));
        }
    }
    let mut paths: Vec<&Path> = Vec::new();
    for host in hosts {
        for machine in host.stages.iter().map(|s| &s.machine) {
            paths.extend([&machine.qmp, &machine.qmp_user, &machine.serial].map(|p| p.as_path()));
            paths.extend(machine.vnc.as_deref());
        }
        for nic in &host.nics {
            if let Backend::Dgram { local, remote } = &nic.backend {
                paths.extend([local.as_path(), remote.as_path()]);
            }
        }
    }
    if let Some(longest) = paths.into_iter().max_by_key(|p| p.as_os_str().len())
        && longest.as_os_str().len() > MOST_SOCKET
    {
        let (path, length) = (longest.display(), longest.as_os_str().len());
        let problem = Problem::nowhere(format!("the socket {path} has {length} bytes, and Linux allows {MOST_SOCKET}"));
        let folder = shared.facts.runtime.display();
        reasons
            .problems
            .push(problem.help(format!("use a shorter folder than {folder} for sockets, or shorter names of hosts")));
    }
}
