//! Differences of an interface that do not need a new one.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::esxi::Command;

use super::super::network;
use super::super::step::{Action, Change, StepError, Undo};
use super::build::{current, route, same_address, set_ipv4};
use super::plan::{
    Observed, actions, as_it_is, default_route, gateway_option, keep_gateway, new_default_route, old_routes,
    readdressed,
};
use super::{Addressing, Vmknic, undo};

/// Differences that do not need a new interface.
pub(super) fn in_place(want: &Vmknic, seen: &Observed<'_>) -> Result<Vec<Change>, StepError> {
    let name = want.name.as_str();
    let Some(now) = seen.faces.vmknic(name) else { return Ok(Vec::new()) };
    let mut changes = Vec::new();
    let set = || Command::esxcli("network ip interface set").opt("-i", name);
    if let Some(mtu) = want.mtu.map(|m| m.bytes()).filter(|m| *m != now.mtu) {
        changes.push(Change {
            summary: format!("MTU of {name}"),
            before: now.mtu.to_string(),
            after: mtu.to_string(),
            actions: vec![Action::Run(set().opt("-m", mtu.to_string()))],
            undo: Undo::step("vmknic", json!({"name": name, "mtu": now.mtu})),
            ..Change::default()
        });
    }
    if let Some(enabled) = want.enabled.filter(|e| *e != now.enabled) {
        let shown = |e: bool| if e { "enabled" } else { "disabled" }.to_owned();
        changes.push(Change {
            summary: format!("state of {name}"),
            before: shown(now.enabled),
            after: shown(enabled),
            actions: vec![Action::Run(set().opt("-e", network::word(enabled)))],
            undo: Undo::step("vmknic", json!({"name": name, "enabled": now.enabled})),
            ..Change::default()
        });
    }
    changes.extend(addressing(want, seen));
    Ok(changes)
}

fn addressing(want: &Vmknic, seen: &Observed<'_>) -> Option<Change> {
    let name = want.name.as_str();
    let (wanted, now) = (want.ipv4.as_ref()?, seen.faces.vmknic(name)?);
    let row = seen.faces.ipv4_of(name);
    let old = current(row);
    let gateway_option = gateway_option(seen, row);
    let address_differs = !same_address(&old, wanted);
    let default = default_route(seen).filter(|r| r.interface == name).and_then(|r| r.gateway);
    let (column_differs, route_differs) = match (wanted, &old) {
        (Addressing::Static { gateway: Some(g), .. }, old) => {
            let column = if let Addressing::Static { gateway, .. } = old { *gateway } else { None };
            let route = seen.stack_routes.is_some() && !new_default_route(want, seen, Some(name)).is_empty();
            (gateway_option && column != Some(*g), route && default != Some(*g))
        }
        _ => (false, false),
    };
    let dns = row.is_some_and(|r| r.dhcp_dns);
    let dns_differs = *wanted == Addressing::Dhcp && want.dhcp_dns.is_some_and(|d| d != dns);
    if !address_differs && !column_differs && !route_differs && !dns_differs {
        return None;
    }
    let target = keep_gateway(wanted, &old);
    let mut commands = Vec::new();
    let mut rollback = Vec::new();
    if address_differs || column_differs || dns_differs {
        commands.push(set_ipv4(name, &target, want.dhcp_dns, gateway_option));
        rollback.push(set_ipv4(name, &old, dns.then_some(true), gateway_option));
    }
    let mine = old_routes(seen, name);
    let mut new_default = None;
    if let (true, Addressing::Static { gateway: Some(g), .. }) = (route_differs || address_differs, &target) {
        // A default route that DHCP set goes with the lease.
        let by_hand = mine.iter().find(|(n, _)| n == "default").map(|(_, g)| *g);
        if let Some(old) = by_hand.filter(|o| o != g) {
            commands.push(route("remove", "default", old, &now.netstack));
            rollback.push(route("remove", "default", *g, &now.netstack));
        }
        let replaces = !new_default_route(want, seen, Some(name)).is_empty();
        new_default = replaces.then_some(*g);
        if by_hand != Some(*g) && replaces {
            commands.push(route("add", "default", *g, &now.netstack));
        }
    }
    // Another network drops the routes over it; the way back needs them all.
    rollback.extend(mine.iter().map(|(n, g)| route("add", n, *g, &now.netstack)));
    let shown = |ipv4: String, dns: Option<bool>| match dns {
        Some(dns) if dns_differs => format!("{ipv4}, DNS servers {}", if dns { "by DHCP too" } else { "by hand" }),
        _ => ipv4,
    };
    let is = as_it_is(seen, now, row);
    let routes = undo::routes_in_place(&is, &target, new_default);
    let back = readdressed(want, seen, &is, &target, &routes).as_it_was().map(|mut args| {
        args.insert("name".into(), json!(name));
        Value::Object(args)
    });
    Some(Change {
        summary: format!("IPv4 of {name}"),
        before: shown(with_default(&old, default), Some(dns)),
        after: shown(target.to_string(), want.dhcp_dns),
        actions: actions(want, seen, commands, rollback, &target),
        undo: back.and_then(|args| Undo::step("vmknic", args)),
        ..Change::default()
    })
}

/// Before, with the default route where the release prints no gateway of the interface.
fn with_default(ipv4: &Addressing, default: Option<Ipv4Addr>) -> String {
    match (ipv4, default) {
        (Addressing::Static { address, netmask, gateway: None }, Some(g)) => {
            Addressing::Static { address: *address, netmask: *netmask, gateway: Some(g) }.to_string()
        }
        _ => ipv4.to_string(),
    }
}
