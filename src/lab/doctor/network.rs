//! Who may make networks, which MACs are taken, who holds a port.

use std::collections::{BTreeMap, BTreeSet};

use super::parse::{CAP_NET_ADMIN, CAP_NET_BIND_SERVICE, FdbEntry, Link, Listener, Neighbour};
use super::parse::{has_capability, is_multicast, json_list, listeners, mac};
use super::{Area, Confidence, Finding, Level, Machine, Need, NetworkKind, Said};

fn may(machine: &Machine, capability: u32) -> bool {
    match &machine.self_status {
        Some(status) => has_capability(status, capability),
        None => machine.uid == 0,
    }
}

/// What the wanted networks need of this user and this kernel.
pub(super) fn networks(machine: &Machine, need: &Need) -> Vec<Finding> {
    let taps = need.networks.iter().any(|n| matches!(n, NetworkKind::Bridge | NetworkKind::Ovs));
    let wanted: BTreeSet<NetworkKind> = need.networks.iter().copied().collect();
    let words: Vec<&str> = wanted
        .iter()
        .map(|kind| match kind {
            NetworkKind::User => "user (forwards)",
            NetworkKind::Sockets => "sockets between guests",
            NetworkKind::Bridge => "taps on a bridge",
            NetworkKind::Ovs => "taps on Open vSwitch",
        })
        .collect();
    if !taps {
        if wanted.is_empty() {
            return Vec::new();
        }
        return vec![Finding::good("network.rights", Area::Network, format!("{}: no root needed", words.join(", ")))];
    }
    let mut findings = vec![if may(machine, CAP_NET_ADMIN) {
        Finding::good("network.rights", Area::Network, format!("{}: this user may make them", words.join(", ")))
    } else {
        Finding::new(
            "network.rights",
            Area::Network,
            Level::Error,
            format!("{}: this user may not make them (no CAP_NET_ADMIN)", words.join(", ")),
            "taps and switches are made in the kernel, which takes root",
        )
        .advice("run `lab up` as root, or use networks of kind user and sockets, which need no root")
        .known("seen on Linux 6.18", Confidence::High)
    }];
    if !machine.tun {
        findings.push(
            Finding::new(
                "network.tun",
                Area::Network,
                Level::Error,
                "there is no /dev/net/tun",
                "taps are made through it",
            )
            .advice("`modprobe tun` as root; in a container, pass the device in"),
        );
    }
    if wanted.contains(&NetworkKind::Ovs) && !machine.ovs_module {
        findings.push(
            Finding::new(
                "network.ovs_datapath",
                Area::Network,
                Level::Note,
                "the kernel module openvswitch is not loaded",
                "Open vSwitch then switches in its own process (datapath_type=netdev): slower, but with VLANs and MTU all the same",
            )
            .advice("`modprobe openvswitch` as root, if this kernel has it")
            .known("seen with Open vSwitch 3.1 without the module", Confidence::High),
        );
    }
    findings
}

/// What a program listed, or a finding that says why there is no list.
fn list<T: serde::de::DeserializeOwned>(said: &Said, command: &str, findings: &mut Vec<Finding>) -> Vec<T> {
    let problem = match said {
        Said::Text(text) => match json_list(text) {
            Ok(list) => return list,
            Err(e) => format!("what `{command}` prints is not understood: {e}"),
        },
        Said::Failed(why) => format!("`{command}` failed: {why}"),
        Said::Missing => format!("`{command}` is not installed"),
        Said::NotAsked => return Vec::new(),
    };
    findings.push(
        Finding::new(
            "network.not_seen",
            Area::Network,
            Level::Note,
            problem,
            "equal MACs on this machine's bridges cannot be seen",
        )
        .advice("install iproute2 (4.15 or later for its JSON)"),
    );
    Vec::new()
}

/// MACs: wanted twice, taken already, or seen twice (the mark of cloned hosts).
pub(super) fn macs(machine: &Machine, need: &Need) -> Vec<Finding> {
    let mut findings = Vec::new();
    let links: Vec<Link> = list(&machine.links, "ip -j link", &mut findings);
    let fdb: Vec<FdbEntry> = list(&machine.fdb, "bridge -j fdb", &mut findings);
    let neighbours: Vec<Neighbour> = list(&machine.neighbours, "ip -j neigh", &mut findings);
    let before = findings.len();
    findings.extend(wanted_twice(need));
    findings.extend(taken(need, &links, &fdb, &neighbours));
    // The first look's problem, if any, is said already.
    let later: Vec<FdbEntry> =
        machine.fdb_later.iter().flat_map(|said| list(said, "bridge -j fdb", &mut Vec::new())).collect();
    findings.extend(two_ports(&fdb, &later));
    findings.extend(two_addresses(&neighbours));
    if findings.len() == before && before == 0 {
        let wanted = if need.macs.is_empty() {
            String::new()
        } else {
            format!("; none of the {} wanted is in use", need.macs.len())
        };
        findings.push(Finding::good(
            "network.macs",
            Area::Network,
            format!("no equal MACs on bridges or among neighbours{wanted}"),
        ));
    }
    findings
}

fn wanted_twice(need: &Need) -> Vec<Finding> {
    let mut owners: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut findings = Vec::new();
    for wanted in &need.macs {
        match mac(&wanted.mac) {
            Some(mac) if is_multicast(&mac) => findings.push(
                Finding::new(
                    "network.mac_multicast",
                    Area::Network,
                    Level::Error,
                    format!("{mac} of {} is a group address", wanted.owner),
                    "the lowest bit of a MAC's first byte means a group; switches do not learn such senders",
                )
                .advice("make the first byte even (52:54:00:... is usual)"),
            ),
            Some(mac) => owners.entry(mac).or_default().push(&wanted.owner),
            None => findings.push(
                Finding::new(
                    "network.mac_form",
                    Area::Network,
                    Level::Error,
                    format!("`{}` of {} is no MAC", wanted.mac, wanted.owner),
                    "a MAC is twelve hexadecimal digits",
                )
                .advice("write it as 52:54:00:12:34:56"),
            ),
        }
    }
    for (mac, owners) in owners.into_iter().filter(|(_, owners)| owners.len() > 1) {
        findings.push(
            Finding::new(
                "network.mac_wanted_twice",
                Area::Network,
                Level::Error,
                format!("{mac} is wanted by {}", owners.join(" and ")),
                "two machines with one MAC on a network take each other's frames: no ping gets through between them",
            )
            .advice("leave `mac:` out, and each NIC gets one of its own")
            .known("measured on a bridge with two guests: 0 of 5 pings either way", Confidence::High),
        );
    }
    findings
}

fn taken(need: &Need, links: &[Link], fdb: &[FdbEntry], neighbours: &[Neighbour]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for wanted in &need.macs {
        let Some(address) = mac(&wanted.mac) else { continue };
        let is = |text: &str| mac(text).is_some_and(|m| m == address);
        // A tap has a MAC of its own, so an interface with this one is no guest of ours.
        let own: Vec<&str> =
            links.iter().filter(|l| l.address.as_deref().is_some_and(is)).map(|l| l.ifname.as_str()).collect();
        if !own.is_empty() {
            findings.push(
                Finding::new(
                    "network.mac_taken",
                    Area::Network,
                    Level::Error,
                    format!(
                        "{address}, wanted for {}, is the MAC of this machine's own {}",
                        wanted.owner,
                        own.join(" and ")
                    ),
                    "two machines with one MAC on a network take each other's frames",
                )
                .advice("leave `mac:` out, and the NIC gets one of its own")
                .known("measured on a bridge with two guests: 0 of 5 pings either way", Confidence::High),
            );
            continue;
        }
        let mut places: BTreeSet<String> = BTreeSet::new();
        places.extend(
            fdb.iter()
                .filter(|e| e.master.is_some() && is(&e.mac))
                .map(|e| format!("port {} of {}", e.ifname, e.master.as_deref().unwrap_or_default())),
        );
        let seen = neighbours.iter().filter(|n| n.lladdr.as_deref().is_some_and(is));
        places.extend(seen.map(|n| format!("neighbour {} on {}", n.dst, n.dev)));
        if !places.is_empty() {
            let places: Vec<String> = places.into_iter().collect();
            findings.push(
                Finding::new(
                    "network.mac_taken",
                    Area::Network,
                    Level::Warning,
                    format!("{address}, wanted for {}, is there already: {}", wanted.owner, places.join(", ")),
                    "if that is another machine, the two take each other's frames; if it is this lab, running or just gone, all is well",
                )
                .advice("see whose it is (`bridge fdb`, `ip neigh`); give the NIC another `mac:` if it is not this lab's")
                .known("the effect was measured on a bridge", Confidence::High),
            );
        }
    }
    findings
}

/// One MAC on two ports of one bridge. The kernel keeps one port a MAC and VLAN, so what shows is a MAC that moved
/// between two looks, or that differs by VLAN.
fn two_ports(fdb: &[FdbEntry], later: &[FdbEntry]) -> Vec<Finding> {
    /// The ports that have a MAC, with the VLANs there.
    type Ports<'a> = BTreeMap<&'a str, BTreeSet<Option<u32>>>;
    let mut seen: BTreeMap<(&str, String), Ports<'_>> = BTreeMap::new();
    for entry in fdb.iter().chain(later) {
        let (Some(bridge), Some(address)) = (entry.master.as_deref(), mac(&entry.mac)) else { continue };
        if is_multicast(&address) {
            continue;
        }
        // A bridge's own permanent entry for itself is no second port.
        if entry.ifname == bridge && entry.state.as_deref() == Some("permanent") {
            continue;
        }
        seen.entry((bridge, address)).or_default().entry(&entry.ifname).or_default().insert(entry.vlan);
    }
    let mut findings = Vec::new();
    for ((bridge, address), ports) in seen.into_iter().filter(|(_, ports)| ports.len() > 1) {
        let apart = ports.values().all(|v| !v.contains(&None))
            && ports.values().map(BTreeSet::len).sum::<usize>()
                == ports.values().flatten().collect::<BTreeSet<_>>().len();
        let names: Vec<&str> = ports.keys().copied().collect();
        findings.push(
            Finding::new(
                "network.mac_two_ports",
                Area::Network,
                if apart { Level::Note } else { Level::Warning },
                format!("bridge {bridge} has {address} on ports {}{}", names.join(" and "), if apart { ", in different VLANs" } else { "" }),
                "the mark of cloned hosts: machines with one MAC take each other's frames, and answers reach whoever spoke last",
            )
            .advice("give each machine its own MAC; an ESXi clone keeps vmk0's old one until vmk0 is removed and added again")
            .known("measured on a bridge with two guests of one MAC", Confidence::High),
        );
    }
    findings
}

/// Two IPv4 addresses with one MAC. (An IPv6 host has several addresses by nature.)
fn two_addresses(neighbours: &[Neighbour]) -> Vec<Finding> {
    let mut seen: BTreeMap<(&str, String), BTreeSet<&str>> = BTreeMap::new();
    for neighbour in neighbours.iter().filter(|n| !n.dst.contains(':') && !n.state.iter().any(|s| s == "FAILED")) {
        if let Some(address) = neighbour.lladdr.as_deref().and_then(mac) {
            seen.entry((&neighbour.dev, address)).or_default().insert(&neighbour.dst);
        }
    }
    let mut findings = Vec::new();
    for ((device, address), ips) in seen.into_iter().filter(|(_, ips)| ips.len() > 1) {
        let ips: Vec<&str> = ips.into_iter().collect();
        findings.push(
            Finding::new(
                "network.mac_two_addresses",
                Area::Network,
                Level::Warning,
                format!("{} on {device} all have MAC {address}", ips.join(" and ")),
                "the mark of cloned hosts: pings between them get lost, and some from here do too. One machine with several \
                 addresses, or a router that answers for others, looks the same and is well",
            )
            .advice("if they are two machines, give each its own MAC; on an ESXi clone remove vmk0 and add it again")
            .known("measured on a bridge with two guests of one MAC: 3 of 3 pings to one, 1 of 3 to the other", Confidence::High),
        );
    }
    findings
}

/// Who holds a port.
fn holder(machine: &Machine, listener: &Listener) -> String {
    match machine.sockets.get(&listener.inode).map(Vec::as_slice) {
        Some(holders @ [_, ..]) => {
            let names: Vec<String> = holders.iter().map(|h| format!("{} (process {})", h.name, h.pid)).collect();
            names.join(", ")
        }
        _ if machine.uid == 0 => {
            format!("a process of user {} in another namespace, or the kernel itself", listener.uid)
        }
        _ => format!("a process of user {} (root can see which)", listener.uid),
    }
}

/// Ports.
pub(super) fn ports(machine: &Machine, need: &Need) -> Vec<Finding> {
    let texts: Vec<&str> = [&machine.tcp, &machine.tcp6].into_iter().flatten().map(String::as_str).collect();
    if need.ports.is_empty() {
        return Vec::new();
    }
    let listening: Vec<Listener> = texts.iter().flat_map(|text| listeners(text)).collect();
    let first_free = machine.unprivileged_ports.as_deref().and_then(|t| t.trim().parse::<u16>().ok()).unwrap_or(1024);
    let mut findings = Vec::new();
    let mut purposes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for wanted in &need.ports {
        purposes.entry(wanted.port).or_default().push(&wanted.purpose);
    }
    let mut free = Vec::new();
    for (port, purposes) in purposes {
        let before = findings.len();
        let purpose = purposes.join(" and ");
        if purposes.len() > 1 {
            findings.push(
                Finding::new(
                    "ports.wanted_twice",
                    Area::Ports,
                    Level::Error,
                    format!("port {port} is wanted for {purpose}"),
                    "one port, one listener",
                )
                .advice("give them different ports, or leave the port out and a free one is chosen"),
            );
        }
        for listener in listening.iter().filter(|l| l.port == port) {
            let held =
                format!("port {port} ({purpose}) on {} is held by {}", listener.address, holder(machine, listener));
            findings.push(if listener.blocks_loopback() {
                Finding::new(
                    "ports.held",
                    Area::Ports,
                    Level::Error,
                    held,
                    "QEMU would say no more than \"Could not set up host forwarding rule\"",
                )
                .advice("stop it, or take another port")
                .known("QEMU's message as reported by users of several launchers", Confidence::High)
            } else {
                Finding::new(
                    "ports.held_elsewhere",
                    Area::Ports,
                    Level::Note,
                    held,
                    "forwards listen on 127.0.0.1, which is another address",
                )
            });
        }
        if port < first_free && !may(machine, CAP_NET_BIND_SERVICE) {
            findings.push(
                Finding::new(
                    "ports.privileged",
                    Area::Ports,
                    Level::Error,
                    format!("port {port} ({purpose}) is below {first_free}"),
                    "such ports are for root, or who has CAP_NET_BIND_SERVICE",
                )
                .advice(format!(
                    "take a port from {first_free} up (8443 instead of 443), run as root, or `sysctl net.ipv4.ip_unprivileged_port_start={port}` as root"
                ))
                .known("ip(7)", Confidence::High),
            );
        }
        if findings.len() == before {
            free.push(port.to_string());
        }
    }
    if texts.is_empty() {
        findings.push(
            Finding::new(
                "ports.not_seen",
                Area::Ports,
                Level::Warning,
                "/proc/net/tcp cannot be read",
                "who holds which port is not known",
            )
            .advice("mount /proc"),
        );
    } else if !free.is_empty() {
        findings.push(Finding::good("ports.free", Area::Ports, format!("free: {}", free.join(", "))));
    }
    findings
}
