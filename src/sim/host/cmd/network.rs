//! `esxcli network ip`: VMkernel interfaces, addresses, tags, stacks, routes, DNS.

use super::super::Effect;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{HostState, Release, Vmknic};
use super::{is_ipv4, is_mac};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "network ip interface list",
        "This command will list the VMkernel network interfaces currently known to the system.",
        &["N netstack s The network stack instance."],
        list,
    ),
    Cmd::new(
        "network ip interface add",
        "Add a new VMkernel network interface.",
        &[
            "i interface-name s The name of the VMkernel network interface to create. This name must be in the form vmkX.",
            "M mac-address s Set the MAC address for the newly created VMkernel network interface.",
            "m mtu i Set the MTU setting for a given VMkernel network interface on creation.",
            "N netstack s The network stack instance.",
            "p portgroup-name s The name of the vswitch port group to add this VMkernel network interface to.",
        ],
        add,
    ),
    Cmd::new(
        "network ip interface remove",
        "Remove a VMkernel network interface from the ESXi host.",
        &[
            "i interface-name s The name of the VMkernel network interface to remove.",
            "p portgroup-name s The name of the vswitch port group to delete this VMkernel network interface from.",
        ],
        remove,
    ),
    Cmd::new(
        "network ip interface set",
        "This command sets the enabled status and MTU size of a given IP interface",
        &[
            "i interface-name s! The name of the interface to apply the configurations.",
            "e enabled b Set to true to enable the interface, set to false to disable it.",
            "m mtu i The MTU size of the IP interface.",
        ],
        set,
    ),
    Cmd::new(
        "network ip interface ipv4 get",
        "List IPv4 addresses of the VMkernel network interfaces",
        &[
            "i interface-name s Limit the output of this command to a single interface.",
            "N netstack s The network stack instance.",
        ],
        ipv4_get,
    ),
    Cmd::new(
        "network ip interface ipv4 address list",
        "List the IPv4 addresses assigned to VMkernel network interfaces.",
        &[
            "i interface-name s Limit the output of this command to a single interface.",
            "N netstack s The network stack instance.",
        ],
        ipv4_get,
    ),
    Cmd::new(
        "network ip interface ipv4 set",
        "Configure IPv4 setting for a given VMkernel network interface.",
        &[
            "i interface-name s! The name of the VMkernel network interface to set IPv4 settings for.",
            "t type s! IPv4 Address type : dhcp, none or static",
            "I ipv4 s The static IPv4 address for this interface.",
            "N netmask s The static IPv4 netmask for this interface.",
            "g gateway s The default gateway for this interface.",
            "P peer-dns b A boolean value to indicate if the system should use the DNS settings published via DHCPv4.",
        ],
        ipv4_set,
    ),
    Cmd::new(
        "network ip interface tag get",
        "Gets the tags set on the given VMkernel network interface.",
        &["i interface-name s! Name of vmknic whose tags are to be read"],
        tag_get,
    ),
    Cmd::new(
        "network ip interface tag add",
        "Adds a tag on a given VMkernel network interface.",
        &["i interface-name s! Name of vmknic on which a tag is to be added", "t tagname s! Tag name"],
        tag_add,
    ),
    Cmd::new(
        "network ip interface tag remove",
        "Removes a tag on a given VMkernel network interface.",
        &["i interface-name s! Name of vmknic on which a tag is to be removed", "t tagname s! Tag name"],
        tag_remove,
    ),
];

/// The tags a VMkernel interface can carry.
pub(in super::super) const TAGS: [&str; 7] = [
    "Management",
    "VMotion",
    "faultToleranceLogging",
    "vSphereReplication",
    "vSphereReplicationNFC",
    "vSphereProvisioning",
    "VSAN",
];

pub(super) fn missing(name: &str) -> Reply {
    Reply::fault(format!("Unable to find interface {name}: Not found"))
}

/// The next generated address: VMware's prefix, then numbers that no other host of this set gets.
fn generated_mac(state: &mut HostState) -> String {
    state.net.generated += 1;
    if let Some(digits) = state.machine_digits() {
        let number = digits.wrapping_add(state.net.generated as usize);
        return format!("00:50:56:6{:x}:{:02x}:{:02x}", digits >> 4 & 0xf, number >> 8 & 0xff, number & 0xff);
    }
    format!(
        "00:50:56:6{:x}:{:02x}:{:02x}",
        state.net.generated >> 8 & 0xf,
        state.index & 0xff,
        state.net.generated & 0xff
    )
}

fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    Reply::List(
        ctx.state
            .net
            .vmks
            .iter()
            .filter(|v| args.get("netstack").is_none_or(|n| v.netstack == n))
            .map(|v| {
                let switch =
                    ctx.state.net.portgroups.iter().find(|p| p.name == v.portgroup).map_or("", |p| p.vswitch.as_str());
                Rec::titled("NetworkInterface", v.name.clone())
                    .with("Name", &v.name)
                    .with("MAC Address", &v.mac)
                    .with("Enabled", v.enabled)
                    .with("Portset", switch)
                    .with("Portgroup", &v.portgroup)
                    .with("Netstack Instance", &v.netstack)
                    .with("VDS Name", "N/A")
                    .with("VDS UUID", "N/A")
                    .with("VDS Port", "N/A")
                    .with("VDS Connection", -1_i64)
                    .with("Opaque Network ID", "N/A")
                    .with("Opaque Network Type", "N/A")
                    .with("External ID", "N/A")
                    .with("MTU", v.mtu)
                    .with("TSO MSS", 65_535_i64)
                    .when(release >= Release::V67, "RXDispQueue Size", if release >= Release::V80 { 4_i64 } else { 2 })
                    .with("Port ID", v.port_id)
            })
            .collect(),
    )
}

fn add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = match args.get("interface-name") {
        Some(name) => name.to_owned(),
        None => (0..256)
            .map(|n| format!("vmk{n}"))
            .find(|n| ctx.state.net.vmks.iter().all(|v| v.name != *n))
            .unwrap_or_default(),
    };
    if name.strip_prefix("vmk").is_none_or(|n| n.parse::<u8>().is_err()) {
        return Reply::fault(format!("Invalid interface name {name}: the name must be in the form vmkX"));
    }
    if ctx.state.net.vmks.iter().any(|v| v.name == name) {
        return Reply::fault(format!("Failed to add interface {name}: Already exists"));
    }
    let Some(portgroup) = args.get("portgroup-name") else {
        return Reply::fault("A port group or a DVPort has to be given");
    };
    if !ctx.state.net.portgroups.iter().any(|p| p.name == portgroup) {
        return Reply::fault(format!("Unable to find port group {portgroup}: Not found"));
    }
    if let Some(other) = ctx.state.net.vmks.iter().find(|v| v.portgroup == portgroup) {
        return Reply::fault(format!("A VMkernel interface ({}) already exists on port group {portgroup}", other.name));
    }
    let mtu = args.int("mtu").unwrap_or(1500);
    if !(1280..=9190).contains(&mtu) {
        return Reply::fault(format!("Invalid MTU {mtu}"));
    }
    let netstack = args.get("netstack").unwrap_or("defaultTcpipStack");
    if !ctx.state.net.netstacks.iter().any(|n| n == netstack) {
        return Reply::fault(format!("Unable to find netstack instance {netstack}: Not found"));
    }
    let mac = match args.get("mac-address") {
        Some(mac) if !is_mac(mac) => return Reply::fault(format!("Invalid MAC address {mac}")),
        Some(mac) => mac.to_ascii_lowercase(),
        None => generated_mac(ctx.state),
    };
    let port_id =
        33_554_436 + i64::try_from(ctx.state.net.vmks.len()).unwrap_or(0) + i64::from(ctx.state.net.generated);
    ctx.state.net.vmks.push(Vmknic {
        name,
        portgroup: portgroup.to_owned(),
        mac,
        enabled: true,
        mtu,
        netstack: netstack.to_owned(),
        kind: "NONE".into(),
        address: "0.0.0.0".into(),
        netmask: "0.0.0.0".into(),
        gateway: "0.0.0.0".into(),
        dhcp_dns: false,
        tags: Vec::new(),
        port_id,
    });
    ctx.state.net.vmks.sort_by_key(|v| v.name.trim_start_matches("vmk").parse::<u32>().unwrap_or(u32::MAX));
    ctx.effects.push(Effect::AddressesChanged);
    Reply::Nothing
}

fn remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let found = match (args.get("interface-name"), args.get("portgroup-name")) {
        (Some(name), _) => ctx.state.net.vmks.iter().position(|v| v.name == name),
        (None, Some(group)) => ctx.state.net.vmks.iter().position(|v| v.portgroup == group),
        (None, None) => return Reply::fault("An interface name or a port group name has to be given"),
    };
    let Some(at) = found else { return missing(args.get("interface-name").unwrap_or(args.need("portgroup-name"))) };
    let gone = ctx.state.net.vmks.remove(at);
    ctx.state.net.routes.retain(|r| r.netstack != gone.netstack || r.interface != gone.name);
    ctx.effects.push(Effect::AddressesChanged);
    Reply::Nothing
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("interface-name");
    let Some(vmk) = ctx.state.net.vmks.iter().find(|v| v.name == name) else { return missing(name) };
    if let Some(mtu) = args.int("mtu") {
        let switch = ctx.state.net.portgroups.iter().find(|p| p.name == vmk.portgroup).map(|p| p.vswitch.clone());
        let limit = ctx.state.net.vswitches.iter().find(|v| Some(&v.name) == switch.as_ref()).map_or(9190, |v| v.mtu);
        if !(1280..=9190).contains(&mtu) {
            return Reply::fault(format!("Invalid MTU {mtu}"));
        }
        if mtu > limit {
            return Reply::fault(format!(
                "Unable to set MTU to {mtu} on {name}: the virtual switch has an MTU of {limit}"
            ));
        }
    }
    let mut changed = false;
    if let Some(vmk) = ctx.state.net.vmks.iter_mut().find(|v| v.name == name) {
        if let Some(mtu) = args.int("mtu") {
            vmk.mtu = mtu;
        }
        if let Some(enabled) = args.bool("enabled") {
            changed = vmk.enabled != enabled;
            vmk.enabled = enabled;
        }
    }
    if changed {
        ctx.effects.push(Effect::AddressesChanged);
    }
    Reply::Nothing
}

pub(in super::super) fn broadcast(address: &str, netmask: &str) -> String {
    match (address.parse::<std::net::Ipv4Addr>(), netmask.parse::<std::net::Ipv4Addr>()) {
        (Ok(a), Ok(m)) if !a.is_unspecified() => std::net::Ipv4Addr::from(u32::from(a) | !u32::from(m)).to_string(),
        _ => "0.0.0.0".into(),
    }
}

fn ipv4_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if let Some(name) = args.get("interface-name")
        && !ctx.state.net.vmks.iter().any(|v| v.name == name)
    {
        return missing(name);
    }
    Reply::Table(
        ctx.state
            .net
            .vmks
            .iter()
            .filter(|v| args.get("interface-name").is_none_or(|n| v.name == n))
            .filter(|v| args.get("netstack").is_none_or(|n| v.netstack == n))
            .map(|v| {
                Rec::new("IPv4Interface")
                    .with("Name", &v.name)
                    .with("IPv4 Address", &v.address)
                    .with("IPv4 Netmask", &v.netmask)
                    .with("IPv4 Broadcast", broadcast(&v.address, &v.netmask))
                    .with("Address Type", &v.kind)
                    .with("Gateway", &v.gateway)
                    .with("DHCP DNS", v.dhcp_dns)
            })
            .collect(),
    )
}

/// The default gateway of a stack is one; an interface shows the gateway of its subnet or its own.
fn ipv4_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("interface-name");
    let index = ctx.state.index;
    let Some(number) = ctx.state.net.vmks.iter().position(|v| v.name == name) else { return missing(name) };
    let (address, netmask) = (args.get("ipv4"), args.get("netmask"));
    match args.need("type").to_ascii_lowercase().as_str() {
        "static" => {
            let (Some(address), Some(netmask)) = (address, netmask) else {
                return Reply::fault("An IPv4 address and a netmask have to be given for a static address");
            };
            let mask = netmask.parse::<std::net::Ipv4Addr>().map(u32::from);
            if !is_ipv4(address) || !mask.is_ok_and(|m| m != 0 && m.leading_ones() + m.trailing_zeros() == 32) {
                return Reply::fault(format!("Invalid IPv4 address or netmask: {address} {netmask}"));
            }
            if args.get("gateway").is_some_and(|g| !is_ipv4(g)) {
                return Reply::fault(format!("Invalid gateway: {}", args.need("gateway")));
            }
            if ctx.state.net.vmks.iter().any(|v| v.name != name && v.kind != "NONE" && v.address == address) {
                return Reply::fault(format!("Unable to set address {address}: Address already in use"));
            }
            let vmk = &mut ctx.state.net.vmks[number];
            let same = vmk.address == address && vmk.netmask == netmask && vmk.kind == "STATIC";
            vmk.kind = "STATIC".into();
            vmk.address = address.into();
            vmk.netmask = netmask.into();
            vmk.dhcp_dns = false;
            if let Some(gateway) = args.get("gateway") {
                vmk.gateway = gateway.into();
            }
            if !same {
                ctx.effects.push(Effect::AddressesChanged);
            }
        }
        "dhcp" => {
            if address.is_some() || netmask.is_some() {
                return Reply::fault("An IPv4 address and a netmask can only be given for a static address");
            }
            let vmk = &mut ctx.state.net.vmks[number];
            // The lab's DHCP server: the same lease for vmk0 as at installation, one in another range for others.
            let lease =
                if number == 0 { format!("192.0.2.{}", 10 + index) } else { format!("198.51.100.{}", 10 + index) };
            if vmk.kind != "DHCP" || vmk.address != lease {
                vmk.kind = "DHCP".into();
                vmk.address = lease;
                vmk.netmask = "255.255.255.0".into();
                vmk.gateway = if number == 0 { "192.0.2.1".into() } else { "0.0.0.0".into() };
                ctx.effects.push(Effect::AddressesChanged);
            }
            vmk.dhcp_dns = args.bool("peer-dns").unwrap_or(vmk.dhcp_dns);
        }
        "none" => {
            let vmk = &mut ctx.state.net.vmks[number];
            vmk.kind = "NONE".into();
            vmk.address = "0.0.0.0".into();
            vmk.netmask = "0.0.0.0".into();
            vmk.gateway = "0.0.0.0".into();
            ctx.effects.push(Effect::AddressesChanged);
        }
        other => return Reply::fault(format!("Invalid type {other}: valid types are dhcp, none and static")),
    }
    Reply::Nothing
}

fn tag_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    match ctx.state.net.vmks.iter().find(|v| v.name == args.need("interface-name")) {
        Some(v) => Reply::One(Rec::new("InterfaceTag").with("Tags", &v.tags)),
        None => missing(args.need("interface-name")),
    }
}

fn tag_change(ctx: &mut Ctx<'_, '_>, args: &Args, on: bool) -> Reply {
    let (name, tag) = (args.need("interface-name"), args.need("tagname"));
    let Some(tag) = TAGS.iter().find(|t| t.eq_ignore_ascii_case(tag)) else {
        return Reply::fault(format!("Invalid tag {tag}: valid tags are {}", TAGS.join(", ")));
    };
    let Some(vmk) = ctx.state.net.vmks.iter_mut().find(|v| v.name == name) else { return missing(name) };
    let has = vmk.tags.iter().any(|t| t == tag);
    if on && !has {
        vmk.tags.push((*tag).to_owned());
        vmk.tags.sort_by_key(|t| TAGS.iter().position(|k| k == t));
    }
    if !on && !has {
        return Reply::fault(format!("Tag {tag} is not set on {name}"));
    }
    if !on {
        vmk.tags.retain(|t| t != tag);
    }
    Reply::Nothing
}

fn tag_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    tag_change(ctx, args, true)
}

fn tag_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    tag_change(ctx, args, false)
}
