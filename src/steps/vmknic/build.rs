//! Making an interface: the commands, in the order in which they must run.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::esxi::Command;
use crate::esxi::mac::Mac;
use crate::esxi::net::{self, AddressType, DEFAULT_NETSTACK, Ipv4};

use super::super::network::{tolerated, word};
use super::{Addressing, network_opt};

/// An interface as a whole: enough to make it anew.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Build {
    pub(super) portgroup: String,
    pub(super) mac: Option<Mac>,
    pub(super) mtu: Option<u32>,
    pub(super) netstack: String,
    pub(super) ipv4: Addressing,
    pub(super) dhcp_dns: bool,
    pub(super) gateway_option: bool,
    pub(super) enabled: bool,
    pub(super) tags: Vec<String>,
    /// Network (`default`, or address and prefix) and gateway.
    pub(super) routes: Vec<(String, Ipv4Addr)>,
}

pub(super) fn remove(name: &str) -> Command {
    Command::esxcli("network ip interface remove").opt("-i", name)
}

/// Sets the address; with DHCP also who says the DNS servers, if that is said.
pub(super) fn set_ipv4(name: &str, ipv4: &Addressing, dhcp_dns: Option<bool>, gateway_option: bool) -> Command {
    let set = Command::esxcli("network ip interface ipv4 set").opt("-i", name);
    match ipv4 {
        Addressing::None => set.words("-t none"),
        Addressing::Dhcp => match dhcp_dns {
            Some(dns) => set.words("-t dhcp").opt("-P", word(dns)),
            None => set.words("-t dhcp"),
        },
        Addressing::Static { address, netmask, gateway } => {
            let set = set.words("-t static").opt("-I", address.to_string()).opt("-N", netmask.to_string());
            match gateway.filter(|_| gateway_option) {
                Some(g) => set.opt("-g", g.to_string()),
                None => set,
            }
        }
    }
}

/// Adds or removes a route. A route that is there already, or gone already because its interface went, is no
/// failure: reading again decides.
pub(super) fn route(verb: &'static str, network: &str, gateway: Ipv4Addr, netstack: &str) -> Command {
    let command =
        Command::esxcli("network ip route ipv4").words(verb).opt("-n", network).opt("-g", gateway.to_string());
    let command = if netstack == DEFAULT_NETSTACK { command } else { network_opt(command, netstack) };
    tolerated(&command)
}

impl Build {
    /// The commands that make it, when it is not there.
    pub(super) fn commands(&self, name: &str) -> Vec<Command> {
        let add = Command::esxcli("network ip interface add").opt("-i", name);
        let mut add = net::name_opt(add, "-p", "--portgroup-name", &self.portgroup);
        if let Some(mac) = self.mac {
            add = add.opt("-M", mac.to_string());
        }
        if let Some(mtu) = self.mtu {
            add = add.opt("-m", mtu.to_string());
        }
        if self.netstack != DEFAULT_NETSTACK {
            add = network_opt(add, &self.netstack);
        }
        let mut out = vec![add];
        if self.ipv4 != Addressing::None {
            out.push(set_ipv4(name, &self.ipv4, self.dhcp_dns.then_some(true), self.gateway_option));
        }
        for tag in &self.tags {
            out.push(Command::esxcli("network ip interface tag add").opt("-i", name).opt("-t", tag));
        }
        for (network, gateway) in &self.routes {
            out.push(route("add", network, *gateway, &self.netstack));
        }
        if !self.enabled {
            out.push(Command::esxcli("network ip interface set").opt("-i", name).words("-e false"));
        }
        out
    }
}

/// The IPv4 settings as they are.
pub(super) fn current(row: Option<&Ipv4>) -> Addressing {
    match row {
        Some(Ipv4 { kind: AddressType::Dhcp, .. }) => Addressing::Dhcp,
        Some(Ipv4 { address: Some(address), netmask: Some(netmask), gateway, .. }) => {
            Addressing::Static { address: *address, netmask: *netmask, gateway: *gateway }
        }
        _ => Addressing::None,
    }
}

/// Whether the settings are as wanted, the gateway left aside.
pub(super) fn same_address(now: &Addressing, want: &Addressing) -> bool {
    match (now, want) {
        (Addressing::Static { address: a, netmask: m, .. }, Addressing::Static { address: b, netmask: n, .. }) => {
            (a, m) == (b, n)
        }
        (a, b) => a == b,
    }
}

pub(super) fn on_link(address: Ipv4Addr, netmask: Ipv4Addr, gateway: Ipv4Addr) -> bool {
    Ipv4Net::with_netmask(address, netmask).is_ok_and(|n| n.contains(&gateway))
}
