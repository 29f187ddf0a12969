//! The step that brings an interface back to what it is before a change.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};

use super::super::step::Undo;
use super::Addressing;
use super::build::{Build, on_link};

/// An interface before and after a change, as far as IPv4 is concerned.
pub(super) struct Readdressed<'a> {
    /// What it had.
    pub(super) old: &'a Build,
    /// What it gets.
    pub(super) ipv4: &'a Addressing,
    /// The routes by hand over it that are there afterwards.
    pub(super) routes: &'a [(String, Ipv4Addr)],
    /// Whether the change says a gateway.
    pub(super) gateway: bool,
    /// Whether the stack's default route goes over another interface.
    pub(super) default_elsewhere: bool,
}

impl Readdressed<'_> {
    /// Whether anything about IPv4 differs afterwards.
    fn differs(&self) -> bool {
        self.old.ipv4 != *self.ipv4
            || !self.lost().is_empty()
            || self.routes.iter().any(|r| !self.old.routes.contains(r))
    }

    fn lost(&self) -> Vec<&(String, Ipv4Addr)> {
        self.old.routes.iter().filter(|r| !self.routes.contains(r)).collect()
    }

    /// `ipv4` and `dhcp_dns` of the step that brings it back. `None` where no step says it: routes by hand that go
    /// with the network, a gateway where there was none, a default route beside the interface's own gateway.
    pub(super) fn as_it_was(&self) -> Option<Map<String, Value>> {
        let mut args = Map::new();
        let said = match &self.old.ipv4 {
            Addressing::Static { address, netmask, gateway } => {
                let default = self.old.routes.iter().find(|(n, _)| n == "default").map(|(_, g)| *g);
                let gateway = match (*gateway, self.old.gateway_option) {
                    (Some(g), _) if default == Some(g) || default.is_none() && self.default_elsewhere => Some(g),
                    (Some(_), _) => return None,
                    // A release that shows no gateway of an interface: the default route is its gateway.
                    (None, false) if default.is_some() => default,
                    (None, _) if self.gateway => return None,
                    (None, _) => None,
                };
                if self.lost().into_iter().any(|(n, g)| n != "default" || Some(*g) != gateway) {
                    return None;
                }
                let net = Ipv4Net::with_netmask(*address, *netmask).ok()?;
                match gateway {
                    Some(g) => json!({"address": net.to_string(), "gateway": g}),
                    None => json!({"address": net.to_string()}),
                }
            }
            _ if !self.lost().is_empty() => return None,
            Addressing::Dhcp => {
                args.insert("dhcp_dns".into(), json!(self.old.dhcp_dns));
                json!("dhcp")
            }
            Addressing::None => json!("none"),
        };
        args.insert("ipv4".into(), said);
        Some(args)
    }
}

/// The routes by hand that stay when an interface gets other IPv4 settings in place.
pub(super) fn routes_in_place(old: &Build, target: &Addressing, default: Option<Ipv4Addr>) -> Vec<(String, Ipv4Addr)> {
    let Addressing::Static { address, netmask, .. } = target else { return Vec::new() };
    let stays = |(network, gateway): &&(String, Ipv4Addr)| {
        on_link(*address, *netmask, *gateway) && (network != "default" || default.is_none())
    };
    let kept = old.routes.iter().filter(stays).cloned();
    kept.chain(default.map(|g| ("default".to_owned(), g))).collect()
}

/// What brings back an interface that is made anew. A TCP/IP stack that was made for it stays.
pub(super) fn recreated(name: &str, old: &Build, new: &Build, ipv4: &Readdressed<'_>) -> Option<Undo> {
    let mut args = Map::from_iter([("name".to_owned(), json!(name))]);
    if old.mac != new.mac {
        args.insert("mac".into(), json!(old.mac?.to_string()));
    }
    if old.portgroup != new.portgroup {
        args.insert("portgroup".into(), json!(old.portgroup));
    }
    if old.netstack != new.netstack {
        args.insert("netstack".into(), json!(old.netstack));
    }
    if old.mtu != new.mtu {
        args.insert("mtu".into(), json!(old.mtu?));
    }
    if old.enabled != new.enabled {
        args.insert("enabled".into(), json!(old.enabled));
    }
    if ipv4.differs() || old.netstack != new.netstack || old.dhcp_dns != new.dhcp_dns {
        args.extend(ipv4.as_it_was()?);
    }
    Undo::step("vmknic", Value::Object(args))
}
