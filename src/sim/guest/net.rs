//! VMkernel interfaces made real: each is a macvlan interface of Linux, on the card that is its uplink or on a VLAN of it,
//! with the MAC address, MTU and address that the simulated host has for it.
//!
//! A macvlan may not have the MAC address of the card below it, and vmk0 usually has: so the cards get another one, which
//! never goes out, because nothing but the macvlans uses them. What is to be done is a pure list of `ip` commands.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use crate::sim::host::{Lease, VmkLink};

/// What an interface is made of; another value means another interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Carrier {
    mac: String,
    /// Linux's name of what is below; `None`: nothing.
    parent: Option<String>,
}

/// What Linux has now.
#[derive(Debug, Default)]
pub(super) struct Net {
    /// Linux's names of the cards by PCI place, with their own MAC addresses.
    cards: BTreeMap<String, (String, String)>,
    prepared: BTreeSet<String>,
    /// Cards and VLANs with their MTU.
    parents: BTreeMap<String, i64>,
    made: BTreeMap<String, Carrier>,
    mtus: BTreeMap<String, i64>,
    addressed: BTreeMap<String, Addressing>,
    leases: BTreeMap<String, Lease>,
}

/// Addresses and routes of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Addressing {
    address: Option<(String, String)>,
    gateway: Option<String>,
    routes: Vec<(String, String, String)>,
}

type Line = Vec<String>;

fn line(words: &[&str]) -> Line {
    words.iter().map(|word| (*word).to_string()).collect()
}

/// The number of ones at the front of a netmask.
pub(super) fn prefix(netmask: &str) -> u32 {
    netmask.parse::<Ipv4Addr>().map_or(24, |mask| u32::from(mask).leading_ones())
}

/// Another MAC address of the same kind: one bit of the first byte is turned.
fn other_mac(mac: &str) -> String {
    let first = u8::from_str_radix(mac.get(..2).unwrap_or("02"), 16).unwrap_or(2);
    format!("{:02x}{}", first ^ 4, mac.get(2..).unwrap_or(":00:00:00:00:00"))
}

impl Net {
    /// `cards`: PCI place, Linux's name, own MAC address.
    pub(super) fn new(cards: impl IntoIterator<Item = (String, String, String)>) -> Net {
        let cards = cards.into_iter().map(|(place, name, mac)| (place, (name, mac))).collect();
        Net { cards, ..Net::default() }
    }

    /// The commands that bring Linux from what it has to `links`, except for addresses; noted as done.
    fn carriers(&mut self, links: &[VmkLink]) -> Vec<Line> {
        let mut lines = Vec::new();
        let wanted: BTreeMap<&str, Carrier> = links
            .iter()
            .map(|link| {
                let card = link.uplink.as_ref().and_then(|place| self.cards.get(place));
                // 4095 passes every tag on: for the host itself that is no VLAN.
                let parent = card.map(|(name, _)| match link.vlan {
                    0 | 4095 => name.clone(),
                    vlan => format!("{name}.{vlan}"),
                });
                (link.name.as_str(), Carrier { mac: link.mac.clone(), parent })
            })
            .collect();
        let stale: Vec<String> = self
            .made
            .iter()
            .filter(|(name, carrier)| wanted.get(name.as_str()) != Some(carrier))
            .map(|(name, _)| name.clone())
            .collect();
        for name in stale {
            lines.push(line(&["link", "del", &name]));
            self.made.remove(&name);
            self.mtus.remove(&name);
            self.addressed.remove(&name);
            self.leases.remove(&name);
        }
        for link in links {
            let Some((card, mac)) = link.uplink.as_ref().and_then(|place| self.cards.get(place)).cloned() else {
                continue;
            };
            if self.prepared.insert(card.clone()) {
                lines.push(line(&["link", "set", &card, "down"]));
                lines.push(line(&["link", "set", &card, "address", &other_mac(&mac)]));
                lines.push(line(&["link", "set", &card, "up"]));
            }
            let mtu = links.iter().filter(|l| l.uplink == link.uplink).map(|l| l.uplink_mtu.max(l.mtu)).max();
            let mtu = mtu.unwrap_or(1500);
            if self.parents.insert(card.clone(), mtu).unwrap_or(1500) != mtu {
                lines.push(line(&["link", "set", &card, "mtu", &mtu.to_string()]));
            }
            let parent = wanted.get(link.name.as_str()).and_then(|carrier| carrier.parent.clone());
            if let Some(vlan) = parent.filter(|parent| *parent != card) {
                match self.parents.insert(vlan.clone(), mtu) {
                    None => {
                        let tag = link.vlan.to_string();
                        lines.push(line(&["link", "add", "link", &card, "name", &vlan, "type", "vlan", "id", &tag]));
                        lines.push(line(&["link", "set", &vlan, "up"]));
                    }
                    Some(old) if old != mtu => {
                        lines.push(line(&["link", "set", &vlan, "mtu", &mtu.to_string()]));
                    }
                    Some(_) => {}
                }
            }
        }
        for link in links {
            let Some(carrier) = wanted.get(link.name.as_str()) else { continue };
            let name = link.name.as_str();
            if !self.made.contains_key(name) {
                match &carrier.parent {
                    Some(parent) => {
                        lines.push(line(&["link", "add", "link", parent, "name", name, "type", "macvlan"]));
                    }
                    None => lines.push(line(&["link", "add", "name", name, "type", "dummy"])),
                }
                lines.push(line(&["link", "set", name, "address", &carrier.mac]));
                lines.push(line(&["link", "set", name, "up"]));
                self.made.insert(name.into(), carrier.clone());
            }
            if self.mtus.insert(name.into(), link.mtu) != Some(link.mtu) {
                lines.push(line(&["link", "set", name, "mtu", &link.mtu.to_string()]));
            }
        }
        lines
    }

    /// The commands for addresses and routes; noted as done.
    fn addresses(&mut self, links: &[VmkLink]) -> Vec<Line> {
        let mut lines = Vec::new();
        for link in links {
            let wanted = Addressing {
                address: link.address.clone(),
                gateway: link.gateway.clone(),
                routes: link.routes.clone(),
            };
            let name = link.name.as_str();
            if self.addressed.get(name) == Some(&wanted) {
                continue;
            }
            lines.push(line(&["addr", "flush", "dev", name]));
            if let Some((address, netmask)) = &wanted.address {
                let text = format!("{address}/{}", prefix(netmask));
                lines.push(line(&["addr", "add", &text, "dev", name]));
                if let Some(gateway) = &wanted.gateway {
                    lines.push(line(&["route", "replace", "default", "via", gateway, "dev", name]));
                }
                for (network, netmask, gateway) in &wanted.routes {
                    let text = format!("{network}/{}", prefix(netmask));
                    lines.push(line(&["route", "replace", &text, "via", gateway, "dev", name]));
                }
            }
            self.addressed.insert(name.into(), wanted);
        }
        lines
    }

    /// Brings Linux in line. Answers leases that the state does not show yet: interface and lease, `None`: no answer.
    pub(super) fn follow(&mut self, links: &[VmkLink]) -> Vec<(String, Option<Lease>)> {
        for words in self.carriers(links) {
            ip(&words);
        }
        let mut news = Vec::new();
        for link in links.iter().filter(|link| link.dhcp) {
            match self.leases.get(&link.name) {
                Some(lease) if link.address.as_ref().is_some_and(|(address, _)| *address == lease.address) => {}
                Some(lease) => news.push((link.name.clone(), Some(lease.clone()))),
                // Asked once for each interface: nobody may be there, and every command would wait again.
                None => {
                    let lease = dhcp(&link.name);
                    self.leases.insert(link.name.clone(), lease.clone().unwrap_or_default());
                    news.push((link.name.clone(), lease));
                }
            }
        }
        self.leases.retain(|name, _| links.iter().any(|link| link.dhcp && link.name == *name));
        // With news, the caller comes back with links that show them.
        if news.is_empty() {
            for words in self.addresses(links) {
                ip(&words);
                // As ESXi does, so that whoever knew the address with another MAC learns of it.
                if let ["addr", "add", address, "dev", name] = words.iter().map(String::as_str).collect::<Vec<_>>()[..]
                {
                    announce(address, name);
                }
            }
        }
        news
    }
}

fn ip(words: &[String]) {
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output();
    let reason = match output {
        Ok(output) if output.status.success() => return,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_string(),
        Err(error) => error.to_string(),
    };
    super::say(&format!("NETWORK ip {}: {reason}", words.join(" ")));
}

/// Tells the network which MAC address has `address` (with its prefix) now. Does not wait.
fn announce(address: &str, interface: &str) {
    let address = address.split('/').next().unwrap_or_default();
    let child = Command::new("arping")
        .args(["-U", "-c", "2", "-w", "2", "-q", "-I", interface, address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = child {
        std::thread::spawn(move || child.wait());
    }
}

/// What udhcpc runs: it writes what it was given to a file.
const SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || [ \"$1\" = renew ] || exit 0\n\
    printf '%s\\n' \"$ip\" \"$subnet\" \"${router%% *}\" \"$dns\" > \"/run/lease-$interface\"\n";

/// Asks for a lease, up to a few seconds.
pub(super) fn dhcp(interface: &str) -> Option<Lease> {
    let script = std::path::Path::new("/run/udhcpc.sh");
    if !script.exists() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(script, SCRIPT).ok()?;
        std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755)).ok()?;
    }
    let answer = format!("/run/lease-{interface}");
    let _ = std::fs::remove_file(&answer);
    let _ = Command::new("udhcpc")
        .args(["-i", interface, "-n", "-q", "-f", "-T", "1", "-t", "6", "-s", "/run/udhcpc.sh"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    parse_lease(&std::fs::read_to_string(answer).ok()?)
}

fn parse_lease(text: &str) -> Option<Lease> {
    let mut lines = text.lines().map(str::trim);
    let address = lines.next().filter(|address| address.parse::<Ipv4Addr>().is_ok())?.to_string();
    let netmask = lines.next().filter(|mask| !mask.is_empty()).unwrap_or("255.255.255.0").to_string();
    let gateway = lines.next().unwrap_or_default().to_string();
    let dns = lines.next().unwrap_or_default().split_whitespace().map(String::from).collect();
    Some(Lease { address, netmask, gateway, dns })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(name: &str, mac: &str) -> VmkLink {
        VmkLink {
            name: name.into(),
            mac: mac.into(),
            uplink: Some("0000:00:03.0".into()),
            uplink_mtu: 1500,
            vlan: 0,
            mtu: 1500,
            dhcp: false,
            address: Some(("10.0.2.15".into(), "255.255.255.0".into())),
            gateway: Some("10.0.2.2".into()),
            routes: Vec::new(),
        }
    }

    fn net() -> Net {
        Net::new([("0000:00:03.0".to_string(), "eth0".to_string(), "52:54:00:aa:bb:01".to_string())])
    }

    fn all(net: &mut Net, links: &[VmkLink]) -> Vec<String> {
        let mut lines = net.carriers(links);
        lines.extend(net.addresses(links));
        lines.iter().map(|words| words.join(" ")).collect()
    }

    #[test]
    fn an_interface_with_the_cards_own_mac_is_made_once() {
        let mut net = net();
        let links = [link("vmk0", "52:54:00:aa:bb:01")];
        assert_eq!(
            all(&mut net, &links),
            [
                "link set eth0 down",
                "link set eth0 address 56:54:00:aa:bb:01",
                "link set eth0 up",
                "link add link eth0 name vmk0 type macvlan",
                "link set vmk0 address 52:54:00:aa:bb:01",
                "link set vmk0 up",
                "link set vmk0 mtu 1500",
                "addr flush dev vmk0",
                "addr add 10.0.2.15/24 dev vmk0",
                "route replace default via 10.0.2.2 dev vmk0",
            ]
        );
        assert!(all(&mut net, &links).is_empty(), "nothing changed, nothing is done");
    }

    #[test]
    fn changes_touch_only_what_changed() {
        let mut net = net();
        let mut links = vec![link("vmk0", "52:54:00:aa:bb:01"), link("vmk1", "00:50:56:60:00:01")];
        links[1].gateway = None;
        links[1].vlan = 7;
        let first = all(&mut net, &links);
        assert!(first.contains(&"link add link eth0 name eth0.7 type vlan id 7".to_string()), "{first:?}");
        assert!(first.contains(&"link add link eth0.7 name vmk1 type macvlan".to_string()), "{first:?}");
        links[1].mtu = 9000;
        links[1].uplink_mtu = 9000;
        assert_eq!(
            all(&mut net, &links),
            ["link set eth0 mtu 9000", "link set eth0.7 mtu 9000", "link set vmk1 mtu 9000"]
        );
        links[1].address = Some(("10.0.3.15".into(), "255.255.0.0".into()));
        assert_eq!(all(&mut net, &links), ["addr flush dev vmk1", "addr add 10.0.3.15/16 dev vmk1"]);
        // Deleted and added again: another MAC address, so another interface.
        links[0].mac = "00:50:56:61:00:01".into();
        let again = all(&mut net, &links);
        assert_eq!(again[0], "link del vmk0");
        assert!(again.contains(&"link set vmk0 address 00:50:56:61:00:01".to_string()), "{again:?}");
        assert_eq!(all(&mut net, &links[..1]), ["link del vmk1", "link set eth0 mtu 1500"]);
    }

    #[test]
    fn a_switch_without_an_uplink_still_carries_an_interface() {
        let mut alone = link("vmk1", "00:50:56:60:00:01");
        alone.uplink = None;
        assert_eq!(all(&mut net(), &[alone])[0], "link add name vmk1 type dummy");
    }

    #[test]
    fn a_lease_is_read() {
        let lease = parse_lease("10.0.2.15\n255.255.255.0\n10.0.2.2\n10.0.2.3 10.0.2.4\n").unwrap();
        assert_eq!((lease.address.as_str(), lease.gateway.as_str()), ("10.0.2.15", "10.0.2.2"));
        assert_eq!(lease.dns, ["10.0.2.3", "10.0.2.4"]);
        assert_eq!(parse_lease("\n"), None);
        assert_eq!(prefix("255.255.254.0"), 23);
    }
}
