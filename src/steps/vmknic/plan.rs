//! From what an interface is to what it shall be.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::json;

use crate::esxi::failure::{Class, failure};
use crate::esxi::mac::Mac;
use crate::esxi::net::{self, DEFAULT_NETSTACK, Ipv4, Portgroup, Route};
use crate::esxi::{Command, Version};

use super::super::network::{self, Carrier, Interfaces};
use super::super::step::{Action, Change, Detached, Seen, StepError, Undo};
use super::build::{Build, current, on_link, remove};
use super::in_place::in_place;
use super::undo::{self, Readdressed};
use super::{Addressing, MacWanted, Presence, Vmknic, known, netstack_list, network_opt, planned, route_list};

/// Everything observed that a plan needs.
pub(super) struct Observed<'a> {
    pub(super) seen: &'a Seen<'a>,
    pub(super) faces: Interfaces,
    pub(super) portgroups: Vec<Portgroup>,
    pub(super) tags: Option<Vec<String>>,
    /// Routes of the default stack and, if one is named, of that.
    pub(super) routes: Vec<Route>,
    /// Routes of the stack that is wanted; `None` where the release cannot tell or the stack is not there yet.
    pub(super) stack_routes: Option<Vec<Route>>,
    pub(super) carrier: Carrier,
    pub(super) carries: bool,
}

pub(super) fn compare(want: &Vmknic, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
    let faces = Interfaces::observe(seen)?;
    let name = want.name.as_str();
    let exists = faces.vmknic(name).is_some();
    let mut unread = None;
    let tags = if exists { known(tags(seen, name), &mut unread)? } else { None };
    let carrier = faces.carrier(seen.host);
    let carries = exists
        && match &carrier {
            Carrier::Proven(n) => n == name,
            // Known tags say more than a guess by name.
            Carrier::Assumed(n) => match &tags {
                Some(t) => t.iter().any(|t| t.eq_ignore_ascii_case("management")) || faces.vmknics.len() == 1,
                None => n == name,
            },
            Carrier::Unknown => true,
        };
    if want.state == Presence::Absent {
        return planned(absent(want, seen, &faces, &carrier, carries)?, unread);
    }
    let mut all = Vec::new();
    let mut stack_routes = None;
    if want.wants_routes() {
        let default = known(routes(seen, None), &mut unread)?;
        stack_routes = match want.named_stack() {
            Some(stack) => known(routes(seen, Some(stack)), &mut unread)?,
            None => default.clone(),
        };
        all = default.into_iter().chain(want.named_stack().and_then(|_| stack_routes.clone())).flatten().collect();
    }
    let portgroups = known(network::portgroups(seen), &mut unread)?;
    let observed = Observed { seen, portgroups, faces, tags, routes: all, stack_routes, carrier, carries };
    let changes = if exists { differences(want, &observed) } else { create(want, &observed) }?;
    planned(changes, unread)
}

/// The tags; `None` where the release cannot tell.
fn tags(seen: &Seen<'_>, name: &str) -> Result<Option<Vec<String>>, StepError> {
    let command = network::tag_get(name);
    match failure(seen.raw(&command)?) {
        Some(f) if f.class == Class::UnknownCommand => Ok(None),
        _ => network::read(seen, &command, net::tags).map(Some),
    }
}

/// The routes; `None` where the release cannot tell, or where the stack is not there yet.
fn routes(seen: &Seen<'_>, stack: Option<&str>) -> Result<Option<Vec<Route>>, StepError> {
    let command = route_list(stack);
    match failure(seen.raw(&command)?) {
        Some(f) if f.class == Class::UnknownCommand || stack.is_some() => Ok(None),
        _ => network::read(seen, &command, net::routes).map(Some),
    }
}

fn absent(
    want: &Vmknic,
    seen: &Seen<'_>,
    faces: &Interfaces,
    carrier: &Carrier,
    carries: bool,
) -> Result<Vec<Change>, StepError> {
    let Some(now) = faces.vmknic(want.name.as_str()) else { return Ok(Vec::new()) };
    if carries {
        return Err(StepError::Refused(format!(
            "{} is not removed: {}. Log in over another interface first.",
            now.name,
            carrier.reason(seen.host)
        )));
    }
    Ok(vec![Change {
        summary: format!("VMkernel interface {}", now.name),
        before: format!("on {}", now.portgroup),
        after: "absent".into(),
        actions: vec![Action::Run(remove(&now.name))],
        // Its tags, routes and IPv6 addresses go with it, and one step does not say them all.
        undo: None,
        ..Change::default()
    }])
}

fn create(want: &Vmknic, seen: &Observed<'_>) -> Result<Vec<Change>, StepError> {
    let Some(portgroup) = &want.portgroup else {
        return Err(StepError::Refused(format!(
            "{} is not there, and without `portgroup` it cannot be made: name the port group that it belongs to.",
            want.name
        )));
    };
    let there = seen.portgroups.iter().find(|p| p.name == *portgroup);
    check_vswitch(want, there)?;
    let vswitch = there.map(|p| p.vswitch.as_str()).or(want.vswitch.as_deref());
    let build = Build {
        portgroup: portgroup.clone(),
        mac: wanted_mac(want, seen, vswitch)?,
        mtu: want.mtu.map(|m| m.bytes()),
        netstack: want.netstack.clone().unwrap_or_else(|| DEFAULT_NETSTACK.to_owned()),
        ipv4: want.ipv4.clone().unwrap_or(Addressing::None),
        dhcp_dns: want.dhcp_dns == Some(true),
        gateway_option: gateway_option(seen, None),
        enabled: want.enabled != Some(false),
        tags: Vec::new(),
        routes: new_default_route(want, seen, None),
    };
    let mut commands = missing_stack(want, seen)?;
    commands.extend(build.commands(want.name.as_str()));
    let note = if there.is_some() { String::new() } else { " (a port group that is not there yet)".to_owned() };
    Ok(vec![Change {
        summary: format!("VMkernel interface {}", want.name),
        before: "absent".into(),
        after: format!("on {portgroup}{note}, {}", build.ipv4),
        actions: network::run_all(commands),
        undo: Undo::step("vmknic", json!({"name": want.name.as_str(), "state": "absent"})),
        ..Change::default()
    }])
}

fn check_vswitch(want: &Vmknic, there: Option<&Portgroup>) -> Result<(), StepError> {
    match (&want.vswitch, there) {
        (Some(wanted), Some(p)) if *wanted != p.vswitch => Err(StepError::Refused(format!(
            "the port group {:?} is on {}, not on {wanted}: port group names are unique on a host, so move or rename \
             it first.",
            p.name, p.vswitch
        ))),
        _ => Ok(()),
    }
}

/// The MAC address that is wanted, if one is.
fn wanted_mac(want: &Vmknic, seen: &Observed<'_>, vswitch: Option<&str>) -> Result<Option<Mac>, StepError> {
    let mac = match want.mac {
        None => return Ok(None),
        Some(MacWanted::Given(mac)) => mac,
        Some(MacWanted::Hardware) => hardware_mac(want, seen, vswitch)?,
    };
    if let Some(other) = seen.faces.vmknics.iter().find(|v| v.mac == Some(mac) && v.name != want.name.as_str()) {
        return Err(StepError::Refused(format!(
            "{} cannot have the MAC address {mac}: {} on {} has it already.",
            want.name, other.name, other.portset
        )));
    }
    Ok(Some(mac))
}

fn hardware_mac(want: &Vmknic, seen: &Observed<'_>, vswitch: Option<&str>) -> Result<Mac, StepError> {
    let refused = |why: String| StepError::Refused(format!("`mac: hardware` for {}: {why}", want.name));
    let vswitch = vswitch.ok_or_else(|| {
        refused("its vSwitch is not known, because its port group is not there yet: name the `vswitch` too.".into())
    })?;
    let switches = network::vswitches(seen.seen)?;
    let switch = switches.iter().find(|s| s.name == vswitch).ok_or_else(|| {
        refused(format!("there is no standard switch {vswitch} (a distributed switch is not looked into)."))
    })?;
    let number = |n: &str| n.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().unwrap_or(u32::MAX);
    let uplink = switch
        .uplinks
        .iter()
        .min_by_key(|u| number(u))
        .ok_or_else(|| refused(format!("{vswitch} has no uplink, so there is no hardware address to take.")))?;
    network::nics(seen.seen)?
        .into_iter()
        .find(|n| n.name == *uplink)
        .and_then(|n| n.mac)
        .ok_or_else(|| refused(format!("the uplink {uplink} of {vswitch} is not in `esxcli network nic list`.")))
}

/// Whether `ipv4 set` has `-g`: releases that print a Gateway column do; without any row the version decides.
pub(super) fn gateway_option(seen: &Observed<'_>, row: Option<&Ipv4>) -> bool {
    row.or_else(|| seen.faces.ipv4.first()).map_or(seen.seen.host.version >= Version::new(6, 5), |r| r.knows_gateway)
}

fn missing_stack(want: &Vmknic, seen: &Observed<'_>) -> Result<Vec<Command>, StepError> {
    let Some(stack) = want.named_stack() else { return Ok(Vec::new()) };
    let there = network::read(seen.seen, &netstack_list(), net::netstacks)?;
    let add = || network_opt(Command::esxcli("network ip netstack add"), stack);
    Ok(if there.iter().any(|s| s == stack) { Vec::new() } else { vec![add()] })
}

/// The default route that a wanted gateway asks for: only when the stack has none, or has it over this interface.
pub(super) fn new_default_route(want: &Vmknic, seen: &Observed<'_>, name: Option<&str>) -> Vec<(String, Ipv4Addr)> {
    let Some(Addressing::Static { gateway: Some(gateway), .. }) = &want.ipv4 else { return Vec::new() };
    let default = default_route(seen);
    match default {
        Some(r) if name != Some(r.interface.as_str()) => Vec::new(),
        _ => vec![("default".to_owned(), *gateway)],
    }
}

pub(super) fn default_route<'a>(seen: &'a Observed<'_>) -> Option<&'a Route> {
    seen.stack_routes.as_ref().and_then(|r| r.iter().find(|r| r.network == "default"))
}

fn differences(want: &Vmknic, seen: &Observed<'_>) -> Result<Vec<Change>, StepError> {
    let name = want.name.as_str();
    let Some(now) = seen.faces.vmknic(name) else { return Ok(Vec::new()) };
    let row = seen.faces.ipv4_of(name);
    if seen.carries && want.enabled == Some(false) {
        return refuse_cut(want, seen, "disabled");
    }
    if seen.carries && want.ipv4 == Some(Addressing::None) && current(row) != Addressing::None {
        return refuse_cut(want, seen, "left without an address");
    }
    let portgroup = want.portgroup.as_ref().filter(|p| **p != now.portgroup);
    let target_group = seen.portgroups.iter().find(|p| p.name == *want.portgroup.as_ref().unwrap_or(&now.portgroup));
    check_vswitch(want, target_group)?;
    let vswitch = match portgroup {
        Some(_) => target_group.map(|p| p.vswitch.as_str()).or(want.vswitch.as_deref()),
        None => Some(now.portset.as_str()),
    };
    let mac = wanted_mac(want, seen, vswitch)?.filter(|m| now.mac != Some(*m));
    let netstack = want.netstack.as_ref().filter(|s| **s != now.netstack);

    let mut what = Vec::new();
    if let Some(m) = mac {
        what.push(("MAC address", now.mac.map_or_else(|| "none".to_owned(), |m| m.to_string()), m.to_string()));
    }
    if let Some(p) = portgroup {
        what.push(("port group", now.portgroup.clone(), p.clone()));
    }
    if let Some(s) = netstack {
        what.push(("TCP/IP stack", now.netstack.clone(), s.clone()));
    }
    if what.is_empty() {
        return in_place(want, seen);
    }

    if now.dvs.is_some() || now.portgroup.is_empty() {
        return Err(StepError::Refused(format!(
            "{name} has to be recreated for another {}, but it is on a distributed switch ({}): esxprep could not put \
             it back. Move it with vCenter.",
            what[0].0,
            now.dvs.as_deref().unwrap_or(&now.portset)
        )));
    }
    if let (Some(p), None) = (portgroup, target_group) {
        return Err(StepError::Refused(format!(
            "{name} cannot move to the port group {p:?}: there is none of that name on this host. Add a `portgroup` \
             step before this one (in a check run, what earlier steps would make is not there yet)."
        )));
    }
    let Some(tags) = &seen.tags else {
        return Err(StepError::Refused(format!(
            "{name} has to be recreated for another {}, but ESXi {} cannot tell its tags, so they would be lost.",
            what[0].0, seen.seen.host.version
        )));
    };
    let old = Build { tags: tags.clone(), ..as_it_is(seen, now, row) };
    let ipv4 = want.ipv4.as_ref().map_or_else(|| old.ipv4.clone(), |w| keep_gateway(w, &old.ipv4));
    let new = Build {
        portgroup: portgroup.cloned().unwrap_or_else(|| old.portgroup.clone()),
        mac: mac.or(old.mac),
        mtu: want.mtu.map(|m| m.bytes()).or(old.mtu),
        netstack: netstack.cloned().unwrap_or_else(|| old.netstack.clone()),
        routes: kept_routes(&old, &ipv4, new_default_route(want, seen, Some(name)), netstack.is_some()),
        enabled: want.enabled.unwrap_or(old.enabled),
        dhcp_dns: want.dhcp_dns.unwrap_or(old.dhcp_dns),
        ipv4,
        ..old.clone()
    };
    let mut commands = missing_stack(want, seen)?;
    commands.push(remove(name));
    commands.extend(new.commands(name));
    let mut rollback = vec![remove(name)];
    rollback.extend(old.commands(name));
    let part = |after: bool| {
        let side = |w: &(&str, String, String)| format!("{} {}", w.0, if after { &w.2 } else { &w.1 });
        what.iter().map(side).collect::<Vec<_>>().join(", ")
    };
    Ok(vec![Change {
        summary: format!("VMkernel interface {name}, recreated"),
        before: part(false),
        after: part(true),
        actions: actions(want, seen, commands, rollback, &new.ipv4),
        undo: undo::recreated(name, &old, &new, &readdressed(want, seen, &old, &new.ipv4, &new.routes)),
        ..Change::default()
    }])
}

/// The interface as a whole, but for its tags.
pub(super) fn as_it_is(seen: &Observed<'_>, now: &net::Vmknic, row: Option<&Ipv4>) -> Build {
    Build {
        portgroup: now.portgroup.clone(),
        mac: now.mac,
        mtu: Some(now.mtu),
        netstack: now.netstack.clone(),
        ipv4: current(row),
        dhcp_dns: row.is_some_and(|r| r.dhcp_dns),
        gateway_option: gateway_option(seen, row),
        enabled: now.enabled,
        tags: Vec::new(),
        routes: old_routes(seen, &now.name),
    }
}

pub(super) fn readdressed<'a>(
    want: &Vmknic,
    seen: &Observed<'_>,
    old: &'a Build,
    ipv4: &'a Addressing,
    routes: &'a [(String, Ipv4Addr)],
) -> Readdressed<'a> {
    let gateway = matches!(want.ipv4, Some(Addressing::Static { gateway: Some(_), .. }));
    let elsewhere = |r: &Route| r.network == "default" && r.interface != want.name.as_str();
    Readdressed { old, ipv4, routes, gateway, default_elsewhere: seen.routes.iter().any(elsewhere) }
}

fn refuse_cut(want: &Vmknic, seen: &Observed<'_>, what: &str) -> Result<Vec<Change>, StepError> {
    Err(StepError::Refused(format!(
        "{} is not {what}: {}. Log in over another interface first.",
        want.name,
        seen.carrier.reason(seen.seen.host)
    )))
}

/// A wanted address without a gateway keeps the one that is there, while the network still holds it.
pub(super) fn keep_gateway(want: &Addressing, old: &Addressing) -> Addressing {
    match (want, old) {
        (Addressing::Static { address, netmask, gateway: None }, Addressing::Static { gateway: Some(old), .. })
            if on_link(*address, *netmask, *old) =>
        {
            Addressing::Static { address: *address, netmask: *netmask, gateway: Some(*old) }
        }
        _ => want.clone(),
    }
}

/// Routes set by hand over this interface: they go when it goes.
pub(super) fn old_routes(seen: &Observed<'_>, name: &str) -> Vec<(String, Ipv4Addr)> {
    seen.routes
        .iter()
        .filter(|r| r.interface == name && !r.source.eq_ignore_ascii_case("dhcp"))
        .filter_map(|r| {
            let network = if r.network == "default" {
                r.network.clone()
            } else {
                Ipv4Net::with_netmask(r.network.parse().ok()?, r.netmask).ok()?.to_string()
            };
            Some((network, r.gateway?))
        })
        .collect()
}

/// The routes of the new interface: the old ones whose gateway its network still holds, with the default route
/// replaced when another is wanted. Another stack starts without the old stack's routes.
fn kept_routes(
    old: &Build,
    ipv4: &Addressing,
    default: Vec<(String, Ipv4Addr)>,
    other_stack: bool,
) -> Vec<(String, Ipv4Addr)> {
    let Addressing::Static { address, netmask, .. } = ipv4 else { return Vec::new() };
    let kept = old.routes.iter().filter(|(network, gateway)| {
        !other_stack && on_link(*address, *netmask, *gateway) && (network != "default" || default.is_empty())
    });
    kept.cloned().chain(default.clone()).collect()
}

/// Detached when the interface carries the session, plain otherwise.
pub(super) fn actions(
    want: &Vmknic,
    seen: &Observed<'_>,
    commands: Vec<Command>,
    rollback: Vec<Command>,
    after: &Addressing,
) -> Vec<Action> {
    if !seen.carries {
        return network::run_all(commands);
    }
    let new_address = match (after, &seen.carrier) {
        (Addressing::Static { address, .. }, Carrier::Proven(_)) => {
            let address = address.to_string();
            let same = seen
                .seen
                .host
                .session_address
                .as_deref()
                .is_some_and(|s| s.strip_prefix("::ffff:").unwrap_or(s) == address);
            (!same).then_some(address)
        }
        // Behind NAT, or with DHCP: the address to log in at is not known to change.
        _ => None,
    };
    vec![Action::Detached(Detached {
        commands,
        rollback,
        new_address,
        confirm_within: want.recreate_confirm.duration(),
    })]
}
