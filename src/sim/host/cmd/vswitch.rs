//! `esxcli network vswitch standard`: virtual switches, port groups, uplinks, policies.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{Failover, HostState, Portgroup, Release, Security, Vswitch};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "network vswitch standard list",
        "List the virtual switches current on the ESXi host.",
        &["v vswitch-name s Limit the output of this command to a single vswitch."],
        list,
    ),
    Cmd::new(
        "network vswitch standard add",
        "Add a new virtual switch to the ESXi networking system.",
        &[
            "v vswitch-name s! The name of the virtual switch to create.",
            "P ports i The number of ports to to give this newly created virtual switch.",
        ],
        add,
    ),
    Cmd::new(
        "network vswitch standard remove",
        "Remove a virtual switch from the ESXi networking system.",
        &["v vswitch-name s! The name of the virtual switch to remove."],
        remove,
    ),
    Cmd::new(
        "network vswitch standard set",
        "This command sets the MTU size and CDP status of a given virtual switch.",
        &[
            "v vswitch-name s! The name of virtual switch to apply the configurations.",
            "m mtu i The MTU size of the specified virtual switch.",
            "c cdp-status s The CDP status of the given virtual switch. It can be 'down', 'listen', 'advertise' or 'both'",
        ],
        set,
    ),
    Cmd::new(
        "network vswitch standard uplink add",
        "Add an uplink to the given virtual switch.",
        &[
            "u uplink-name s! The name of the uplink to be added to the virtual switch.",
            "v vswitch-name s! The name of the virtual switch to add an uplink to.",
        ],
        uplink_add,
    ),
    Cmd::new(
        "network vswitch standard uplink remove",
        "Remove an uplink from a given virtual switch.",
        &[
            "u uplink-name s! The name of the uplink to be removed from the virtual switch.",
            "v vswitch-name s! The name of the virtual switch to remove an uplink from.",
        ],
        uplink_remove,
    ),
    Cmd::new(
        "network vswitch standard portgroup list",
        "List all of the port groups currently on the system.",
        &[],
        pg_list,
    ),
    Cmd::new(
        "network vswitch standard portgroup add",
        "Allows the addition of a standard port group to a virtual switch.",
        &[
            "p portgroup-name s! The name of the port group to add",
            "v vswitch-name s! The virtual switch to add the port group to.",
        ],
        pg_add,
    ),
    Cmd::new(
        "network vswitch standard portgroup remove",
        "Remove a port group from the given virtual switch",
        &[
            "p portgroup-name s! The name of the port group to remove",
            "v vswitch-name s! The virtual switch to remove the port group from.",
        ],
        pg_remove,
    ),
    Cmd::new(
        "network vswitch standard portgroup set",
        "Set the vlan id for the given port group",
        &[
            "p portgroup-name s! The name of the port group to set vlan id for.",
            "v vlan-id i The vlan id for this port group. This value is in the range (0 - 4095)",
        ],
        pg_set,
    ),
    Cmd::new(
        "network vswitch standard policy security get",
        "Get the Security Policy governing the given virtual switch.",
        &["v vswitch-name s! The name of the virtual switch to use when fetching the network policy."],
        security_get,
    ),
    Cmd::new(
        "network vswitch standard policy security set",
        "Set the security policy for a given virtual switch",
        &[
            "v vswitch-name s! The name of the virtual switch to use when setting the network policy.",
            "f allow-forged-transmits b Allow ports on the virtual switch to send packets with forged source information.",
            "m allow-mac-change b Allow ports on the virtual switch to change their MAC address.",
            "p allow-promiscuous b Allow ports on the virtual switch to enter promiscuous mode.",
        ],
        security_set,
    ),
    Cmd::new(
        "network vswitch standard policy failover get",
        "Get the failover policy settings governing the given virtual switch",
        &["v vswitch-name s! The name of the virtual switch to use when fetching the switch failover policy."],
        failover_get,
    ),
    Cmd::new(
        "network vswitch standard policy failover set",
        "Configure the Failover policy for a virtual switch.",
        &[
            "v vswitch-name s! The name of the virtual switch to use when setting the switch failover policy.",
            "a active-uplinks s Configure the list of active adapters and their failover order.",
            "s standby-uplinks s Configure the list of standby adapters and their failover order.",
            "b failback b Configure whether a NIC will be used immediately when it comes back in service after a failover",
            "f failure-detection s Set the method of determining how a network outage is detected.",
            "l load-balancing s Set the load balancing policy for this policy.",
            "n notify-switches b Indicate whether to send a notification to physical switches on failover",
        ],
        failover_set,
    ),
    Cmd::new(
        "network vswitch standard portgroup policy security get",
        "Get the security policy of a port group.",
        &["p portgroup-name s! Port group to get the security policy for"],
        pg_security_get,
    ),
    Cmd::new(
        "network vswitch standard portgroup policy security set",
        "Set the security policy for a given port group",
        &[
            "p portgroup-name s! Port group to set security policy for.",
            "f allow-forged-transmits b Allow ports on the virtual switch to send packets with forged source information.",
            "m allow-mac-change b Allow ports on the virtual switch to change their MAC address.",
            "o allow-promiscuous b Allow ports on the virtual switch to enter promiscuous mode.",
            "u use-vswitch f Reset all values to use parent vSwitch values.",
        ],
        pg_security_set,
    ),
    Cmd::new(
        "network vswitch standard portgroup policy failover get",
        "Get the network failover policy settings governing the given port group",
        &["p portgroup-name s! The name of the port group to use when fetching the port group failover policy."],
        pg_failover_get,
    ),
];

fn no_switch(name: &str) -> Reply {
    Reply::fault(format!("Unable to find vSwitch {name}: Not found"))
}

fn no_group(name: &str) -> Reply {
    Reply::fault(format!("Unable to find portgroup {name}: Not found"))
}

fn switch<'a>(state: &'a mut HostState, name: &str) -> Option<&'a mut Vswitch> {
    state.net.vswitches.iter_mut().find(|v| v.name == name)
}

/// Ports in use: one for the switch itself, two for an uplink, one for each client.
pub(in super::super) fn used_ports(state: &HostState, switch: &Vswitch) -> i64 {
    let groups: Vec<&Portgroup> = state.net.portgroups.iter().filter(|p| p.vswitch == switch.name).collect();
    let clients: i64 = groups.iter().map(|p| active(state, p)).sum();
    1 + 2 * i64::try_from(switch.uplinks.len()).unwrap_or(0) + clients
}

/// Clients of a port group: VMkernel interfaces and powered-on VMs.
pub(in super::super) fn active(state: &HostState, group: &Portgroup) -> i64 {
    let vmks = state.net.vmks.iter().filter(|v| v.portgroup == group.name && v.enabled).count();
    let vms = if group.name == "VM Network" { state.vms.iter().filter(|v| v.power == "on").count() } else { 0 };
    i64::try_from(vmks + vms).unwrap_or(0) + group.vm_clients
}

/// Ports a host has in all, by release (recorded values of hosts of the size; they depend on the memory).
pub(in super::super) fn total_ports(state: &HostState) -> i64 {
    if state.release >= Release::V70 { 2816 } else { 4736 }
}

fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if let Some(name) = args.get("vswitch-name")
        && switch(ctx.state, name).is_none()
    {
        return no_switch(name);
    }
    let state = &*ctx.state;
    Reply::List(
        state
            .net
            .vswitches
            .iter()
            .filter(|v| args.get("vswitch-name").is_none_or(|n| v.name == n))
            .map(|v| {
                // The newest port group stands first (recorded: VM Network before Management Network).
                let groups: Vec<String> =
                    state.net.portgroups.iter().rev().filter(|p| p.vswitch == v.name).map(|p| p.name.clone()).collect();
                Rec::titled("VSwitch", v.name.clone())
                    .with("Name", &v.name)
                    .with("Class", if state.release >= Release::V67 { "cswitch" } else { "etherswitch" })
                    .with("Num Ports", total_ports(state))
                    .with("Used Ports", used_ports(state, v))
                    .with("Configured Ports", v.ports)
                    .with("MTU", v.mtu)
                    .with("CDP Status", &v.cdp)
                    .with("Beacon Enabled", false)
                    .with("Beacon Interval", 1_i64)
                    .with("Beacon Threshold", 3_i64)
                    .with("Beacon Required By", Vec::new())
                    .with("Uplinks", &v.uplinks)
                    .with("Portgroups", groups)
            })
            .collect(),
    )
}

fn add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    if switch(ctx.state, name).is_some() {
        return Reply::fault(format!("Unable to create vSwitch {name}: Already exists"));
    }
    let Some(ports) = Some(args.int("ports").unwrap_or(128)).filter(|p| (1..=4096).contains(p)) else {
        return Reply::fault("The number of ports must be between 1 and 4096");
    };
    let permissive = ctx.release() < Release::V70;
    ctx.state.net.vswitches.push(Vswitch {
        name: name.to_owned(),
        ports,
        mtu: 1500,
        cdp: "listen".into(),
        uplinks: Vec::new(),
        security: Security { promiscuous: false, mac_change: permissive, forged: permissive },
        failover: Failover {
            load_balancing: "srcport".into(),
            detection: "link".into(),
            notify: true,
            failback: true,
            active: Vec::new(),
            standby: Vec::new(),
        },
    });
    Reply::Nothing
}

fn remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    if switch(ctx.state, name).is_none() {
        return no_switch(name);
    }
    let busy = ctx.state.net.portgroups.iter().any(|p| p.vswitch == name && active(ctx.state, p) > 0);
    if busy {
        return Reply::fault(format!("Unable to remove vSwitch {name}: Busy"));
    }
    ctx.state.net.vswitches.retain(|v| v.name != name);
    ctx.state.net.portgroups.retain(|p| p.vswitch != name);
    Reply::Nothing
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    if switch(ctx.state, name).is_none() {
        return no_switch(name);
    }
    let mtu = args.int("mtu");
    if mtu.is_some_and(|m| !(1280..=9190).contains(&m)) {
        return Reply::fault(format!("Invalid MTU {}: valid values are 1280 to 9190", mtu.unwrap_or(0)));
    }
    let cdp = args.get("cdp-status");
    if cdp.is_some_and(|c| !["down", "listen", "advertise", "both"].contains(&c)) {
        return Reply::fault(format!("Invalid CDP status {}", cdp.unwrap_or("")));
    }
    if let Some(v) = switch(ctx.state, name) {
        v.mtu = mtu.unwrap_or(v.mtu);
        if let Some(c) = cdp {
            v.cdp = c.to_owned();
        }
        let (uplinks, mtu) = (v.uplinks.clone(), v.mtu);
        for nic in ctx.state.nics.iter_mut().filter(|n| uplinks.contains(&n.name)) {
            nic.mtu = mtu;
        }
    }
    Reply::Nothing
}

fn uplink_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (nic, name) = (args.need("uplink-name"), args.need("vswitch-name"));
    if switch(ctx.state, name).is_none() {
        return no_switch(name);
    }
    if !ctx.state.nics.iter().any(|n| n.name == nic) {
        return Reply::fault(format!("Unable to find uplink {nic}: Not found"));
    }
    if let Some(owner) = ctx.state.net.vswitches.iter().find(|v| v.uplinks.iter().any(|u| u == nic)) {
        return Reply::fault(format!("Unable to add uplink {nic}: it is already used by {}", owner.name));
    }
    if let Some(v) = switch(ctx.state, name) {
        // The newest stands first (recorded: Uplinks: vmnic3, vmnic2, vmnic1).
        v.uplinks.insert(0, nic.to_owned());
        v.failover.active.push(nic.to_owned());
        let mtu = v.mtu;
        for n in ctx.state.nics.iter_mut().filter(|n| n.name == nic) {
            n.mtu = mtu;
        }
    }
    Reply::Nothing
}

fn uplink_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (nic, name) = (args.need("uplink-name"), args.need("vswitch-name"));
    let Some(v) = switch(ctx.state, name) else { return no_switch(name) };
    if !v.uplinks.iter().any(|u| u == nic) {
        return Reply::fault(format!("Unable to remove uplink {nic} from {name}: Not found"));
    }
    v.uplinks.retain(|u| u != nic);
    v.failover.active.retain(|u| u != nic);
    v.failover.standby.retain(|u| u != nic);
    Reply::Nothing
}

fn pg_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let mut groups: Vec<&Portgroup> = ctx.state.net.portgroups.iter().collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Reply::Table(
        groups
            .into_iter()
            .map(|p| {
                Rec::new("PortGroup")
                    .with("Name", &p.name)
                    .with("Virtual Switch", &p.vswitch)
                    .with("Active Clients", active(ctx.state, p))
                    .with("VLAN ID", p.vlan)
            })
            .collect(),
    )
}

fn pg_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (group, name) = (args.need("portgroup-name"), args.need("vswitch-name"));
    if switch(ctx.state, name).is_none() {
        return no_switch(name);
    }
    if ctx.state.net.portgroups.iter().any(|p| p.name == group) {
        return Reply::fault(format!("Unable to add portgroup {group}: Already exists"));
    }
    if group.is_empty() {
        return Reply::fault("A port group needs a name");
    }
    ctx.state.net.portgroups.push(Portgroup {
        name: group.to_owned(),
        vswitch: name.to_owned(),
        vlan: 0,
        vm_clients: 0,
        promiscuous: None,
        mac_change: None,
        forged: None,
    });
    Reply::Nothing
}

fn pg_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (group, name) = (args.need("portgroup-name"), args.need("vswitch-name"));
    let Some(found) = ctx.state.net.portgroups.iter().find(|p| p.name == group && p.vswitch == name) else {
        return no_group(group);
    };
    if active(ctx.state, found) > 0 || ctx.state.net.vmks.iter().any(|v| v.portgroup == group) {
        return Reply::fault(format!("Unable to remove portgroup {group}: Busy"));
    }
    ctx.state.net.portgroups.retain(|p| p.name != group);
    Reply::Nothing
}

fn pg_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let group = args.need("portgroup-name");
    let vlan = args.int("vlan-id");
    if vlan.is_some_and(|v| !(0..=4095).contains(&v)) {
        return Reply::fault(format!("Invalid VLAN ID {}: valid values are 0 to 4095", vlan.unwrap_or(0)));
    }
    match ctx.state.net.portgroups.iter_mut().find(|p| p.name == group) {
        Some(p) => {
            p.vlan = vlan.unwrap_or(p.vlan);
            Reply::Nothing
        }
        None => no_group(group),
    }
}

fn security_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    let Some(v) = switch(ctx.state, name) else { return no_switch(name) };
    Reply::One(
        Rec::new("SecurityPolicy")
            .with("Allow Promiscuous", v.security.promiscuous)
            .with("Allow MAC Address Change", v.security.mac_change)
            .with("Allow Forged Transmits", v.security.forged),
    )
}

fn security_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    let Some(v) = switch(ctx.state, name) else { return no_switch(name) };
    v.security.promiscuous = args.bool("allow-promiscuous").unwrap_or(v.security.promiscuous);
    v.security.mac_change = args.bool("allow-mac-change").unwrap_or(v.security.mac_change);
    v.security.forged = args.bool("allow-forged-transmits").unwrap_or(v.security.forged);
    Reply::Nothing
}

fn unused(state: &Vswitch) -> Vec<String> {
    state
        .uplinks
        .iter()
        .filter(|u| !state.failover.active.contains(u) && !state.failover.standby.contains(u))
        .cloned()
        .collect()
}

fn failover_record(v: &Vswitch, kind: &'static str) -> Rec {
    Rec::new(kind)
        .with("Load Balancing", &v.failover.load_balancing)
        .with("Network Failure Detection", &v.failover.detection)
        .with("Notify Switches", v.failover.notify)
        .with("Failback", v.failover.failback)
        .with("Active Adapters", &v.failover.active)
        .with("Standby Adapters", &v.failover.standby)
        .with("Unused Adapters", unused(v))
}

fn failover_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    match switch(ctx.state, name) {
        Some(v) => Reply::One(failover_record(v, "FailoverPolicy")),
        None => no_switch(name),
    }
}

fn failover_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("vswitch-name");
    let Some(v) = switch(ctx.state, name) else { return no_switch(name) };
    let split =
        |text: &str| text.split(',').map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
    let mut next = v.failover.clone();
    if let Some(list) = args.get("active-uplinks") {
        next.active = split(list);
        next.standby.retain(|u| !next.active.contains(u));
    }
    if let Some(list) = args.get("standby-uplinks") {
        next.standby = split(list);
        if !args.has("active-uplinks") {
            next.active.retain(|u| !next.standby.contains(u));
        }
    }
    if let Some(odd) = next.active.iter().chain(&next.standby).find(|u| !v.uplinks.contains(u)) {
        return Reply::fault(format!("Uplink {odd} is not connected to {name}"));
    }
    if let Some(word) = args.get("load-balancing") {
        if !["explicit", "iphash", "mac", "portid"].contains(&word) {
            return Reply::fault(format!("Invalid load balancing policy {word}"));
        }
        next.load_balancing = match word {
            "portid" => "srcport",
            "mac" => "srcmac",
            other => other,
        }
        .into();
    }
    if let Some(word) = args.get("failure-detection") {
        if !["beacon", "link"].contains(&word) {
            return Reply::fault(format!("Invalid failure detection {word}"));
        }
        next.detection = word.into();
    }
    next.failback = args.bool("failback").unwrap_or(next.failback);
    next.notify = args.bool("notify-switches").unwrap_or(next.notify);
    v.failover = next;
    Reply::Nothing
}

fn group_switch(state: &HostState, group: &str) -> Option<(Portgroup, Vswitch)> {
    let p = state.net.portgroups.iter().find(|p| p.name == group)?;
    let v = state.net.vswitches.iter().find(|v| v.name == p.vswitch)?;
    Some((p.clone(), v.clone()))
}

fn pg_security_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let group = args.need("portgroup-name");
    let Some((p, v)) = group_switch(ctx.state, group) else { return no_group(group) };
    Reply::One(
        Rec::new("PortgroupSecurityPolicy")
            .with("Allow Promiscuous", p.promiscuous.unwrap_or(v.security.promiscuous))
            .with("Allow MAC Address Change", p.mac_change.unwrap_or(v.security.mac_change))
            .with("Allow Forged Transmits", p.forged.unwrap_or(v.security.forged))
            .with("Override vSwitch Allow Promiscuous", p.promiscuous.is_some())
            .with("Override vSwitch Allow MAC Address Change", p.mac_change.is_some())
            .with("Override vSwitch Allow Forged Transmits", p.forged.is_some()),
    )
}

fn pg_security_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let group = args.need("portgroup-name");
    let Some(p) = ctx.state.net.portgroups.iter_mut().find(|p| p.name == group) else { return no_group(group) };
    if args.has("use-vswitch") {
        p.promiscuous = None;
        p.mac_change = None;
        p.forged = None;
    }
    p.promiscuous = args.bool("allow-promiscuous").or(p.promiscuous);
    p.mac_change = args.bool("allow-mac-change").or(p.mac_change);
    p.forged = args.bool("allow-forged-transmits").or(p.forged);
    Reply::Nothing
}

fn pg_failover_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let group = args.need("portgroup-name");
    let Some((_, v)) = group_switch(ctx.state, group) else { return no_group(group) };
    let mut rec = failover_record(&v, "PortgroupFailoverPolicy");
    for label in [
        "Override Vswitch Load Balancing",
        "Override Vswitch Network Failure Detection",
        "Override Vswitch Notify Switches",
        "Override Vswitch Failback",
        "Override Vswitch Uplinks",
    ] {
        rec = rec.with(label, false);
    }
    Reply::One(rec)
}
