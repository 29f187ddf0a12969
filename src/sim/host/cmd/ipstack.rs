//! `esxcli network ip netstack`, `route` and `dns`.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{Route, Vmknic};
use super::is_ipv4;
use super::network::missing;

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("network ip netstack list", "This command will list the VMkernel tcpip instances.", &[], netstack_list),
    Cmd::new(
        "network ip netstack add",
        "Create a new VMkernel tcpip instance.",
        &["N netstack s! The network stack instance.", "d disabled f Create the netstack instance in disabled state."],
        netstack_add,
    ),
    Cmd::new(
        "network ip netstack remove",
        "This command will remove a netstack instance",
        &["N netstack s! The network stack instance."],
        netstack_remove,
    ),
    Cmd::new(
        "network ip route ipv4 list",
        "List configured IPv4 routes",
        &["N netstack s The network stack instance."],
        route_list,
    ),
    Cmd::new(
        "network ip route ipv4 add",
        "Add IPv4 route to the VMkernel.",
        &[
            "g gateway s! The Ipv4 address of the gateway through which a route to be added.",
            "n network s! The Ipv4 network (cidr) to be added.",
            "N netstack s The network stack instance.",
        ],
        route_add,
    ),
    Cmd::new(
        "network ip route ipv4 remove",
        "Remove IPv4 route from the VMkernel.",
        &[
            "g gateway s! The Ipv4 address of the gateway through which a route to be removed.",
            "n network s! The Ipv4 network (cidr) to be removed.",
            "N netstack s The network stack instance.",
        ],
        route_remove,
    ),
    Cmd::new(
        "network ip dns server list",
        "Print a list of the DNS server currently configured on the system in the order in which they will be used.",
        &["N netstack s The network stack instance."],
        dns_list,
    ),
    Cmd::new(
        "network ip dns server add",
        "Add a new DNS server to the end of the list of DNS servers to use for this ESXi host.",
        &["s server s! The IP address of the DNS server to add.", "N netstack s The network stack instance."],
        dns_add,
    ),
    Cmd::new(
        "network ip dns server remove",
        "Remove a DNS server from the list of DNS servers to use for this ESXi host.",
        &[
            "s server s The IP address of the DNS server to remove.",
            "a all f Remove all DNS servers.",
            "N netstack s The network stack instance.",
        ],
        dns_remove,
    ),
    Cmd::new(
        "network ip dns search list",
        "List the search domains currently configured on the ESXi host.",
        &["N netstack s The network stack instance."],
        search_list,
    ),
    Cmd::new(
        "network ip dns search add",
        "Add a search domain to the list of domains to be searched.",
        &[
            "d domain s! The string name of a domain to add to the list of search domains.",
            "N netstack s The network stack instance.",
        ],
        search_add,
    ),
    Cmd::new(
        "network ip dns search remove",
        "Remove a search domain from the list of domains to be searched.",
        &["d domain s! The string name of a domain to remove.", "N netstack s The network stack instance."],
        search_remove,
    ),
];

const DEFAULT_STACK: &str = "defaultTcpipStack";
const STACKS: [&str; 3] = [DEFAULT_STACK, "vmotion", "vSphereProvisioning"];

fn netstack_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::List(
        ctx.state
            .net
            .netstacks
            .iter()
            .map(|n| Rec::titled("NetStackInstance", n.clone()).with("Key", n).with("Name", n).with("State", 4660_i64))
            .collect(),
    )
}

fn netstack_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("netstack");
    if ctx.state.net.netstacks.iter().any(|n| n == name) {
        return Reply::fault(format!("Unable to create netstack instance {name}: Already exists"));
    }
    ctx.state.net.netstacks.push(name.to_owned());
    let known = |n: &String| STACKS.iter().position(|s| s == n).unwrap_or(STACKS.len());
    ctx.state.net.netstacks.sort_by_key(known);
    Reply::Nothing
}

fn netstack_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("netstack");
    if name == "defaultTcpipStack" || ctx.state.net.vmks.iter().any(|v| v.netstack == name) {
        return Reply::fault(format!("Unable to remove netstack instance {name}: Busy"));
    }
    let before = ctx.state.net.netstacks.len();
    ctx.state.net.netstacks.retain(|n| n != name);
    ctx.state.net.routes.retain(|r| r.netstack != name);
    if ctx.state.net.netstacks.len() == before { missing(name) } else { Reply::Nothing }
}

fn cidr(text: &str) -> Option<(String, String)> {
    if text.eq_ignore_ascii_case("default") {
        return Some(("default".into(), "0.0.0.0".into()));
    }
    let (network, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok().filter(|b| *b <= 32)?;
    let address = u32::from(network.parse::<std::net::Ipv4Addr>().ok()?);
    let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
    if bits == 0 {
        return Some(("default".into(), "0.0.0.0".into()));
    }
    Some((std::net::Ipv4Addr::from(address & mask).to_string(), std::net::Ipv4Addr::from(mask).to_string()))
}

/// The stack that a command is about; a stack that is not there is an error (its words are not recorded).
fn stack_of<'a>(ctx: &Ctx<'_, '_>, args: &'a Args) -> Result<&'a str, Reply> {
    let stack = args.get("netstack").unwrap_or(DEFAULT_STACK);
    if ctx.state.net.netstacks.iter().any(|n| n == stack) { Ok(stack) } else { Err(missing(stack)) }
}

fn route_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let stack = match stack_of(ctx, args) {
        Ok(stack) => stack,
        Err(reply) => return reply,
    };
    let row = |network: &str, mask: &str, gateway: &str, interface: &str, source: &str| {
        Rec::new("IpRoute")
            .with("Network", network)
            .with("Netmask", mask)
            .with("Gateway", gateway)
            .with("Interface", interface)
            .with("Source", source)
    };
    let mut rows = Vec::new();
    let vmks: Vec<&Vmknic> =
        ctx.state.net.vmks.iter().filter(|v| v.enabled && v.kind != "NONE" && v.netstack == stack).collect();
    if !ctx.state.net.routes.iter().any(|r| r.netstack == stack && r.network == "default")
        && let Some(v) = vmks.iter().find(|v| v.gateway != "0.0.0.0")
    {
        rows.push(row("default", "0.0.0.0", &v.gateway, &v.name, if v.kind == "DHCP" { "DHCP" } else { "MANUAL" }));
    }
    for r in ctx.state.net.routes.iter().filter(|r| r.netstack == stack) {
        rows.push(row(&r.network, &r.netmask, &r.gateway, &r.interface, &r.source));
    }
    for v in vmks {
        let (a, m) = (v.address.parse::<std::net::Ipv4Addr>(), v.netmask.parse::<std::net::Ipv4Addr>());
        if let (Ok(a), Ok(m)) = (a, m) {
            let network = std::net::Ipv4Addr::from(u32::from(a) & u32::from(m)).to_string();
            rows.push(row(&network, &v.netmask, "0.0.0.0", &v.name, "MANUAL"));
        }
    }
    Reply::Table(rows)
}

fn route_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let stack = match stack_of(ctx, args) {
        Ok(stack) => stack,
        Err(reply) => return reply,
    };
    let (gateway, network) = (args.need("gateway"), args.need("network"));
    let Some((net, mask)) = cidr(network).filter(|_| is_ipv4(gateway)) else {
        return Reply::fault(format!("Invalid route: network {network}, gateway {gateway}"));
    };
    let same = |r: &Route| r.netstack == stack && r.network == net && r.netmask == mask && r.gateway == gateway;
    if ctx.state.net.routes.iter().any(same) {
        return Reply::fault(format!("Unable to add route {network} via {gateway}: Already exists"));
    }
    let of_stack: Vec<&Vmknic> = ctx.state.net.vmks.iter().filter(|v| v.netstack == stack).collect();
    let reaches = of_stack.iter().find(|v| on_link(v, gateway)).or(of_stack.first());
    let interface = reaches.map(|v| v.name.clone()).unwrap_or_default();
    if net == "default" {
        ctx.state.net.routes.retain(|r| r.netstack != stack || r.network != "default");
    }
    ctx.state.net.routes.push(Route {
        netstack: stack.into(),
        network: net,
        netmask: mask,
        gateway: gateway.into(),
        interface,
        source: "MANUAL".into(),
    });
    Reply::Nothing
}

/// Whether a gateway is in the network of an interface.
fn on_link(vmk: &Vmknic, gateway: &str) -> bool {
    let number = |text: &str| text.parse::<std::net::Ipv4Addr>().map(u32::from).ok();
    match (number(&vmk.address), number(&vmk.netmask), number(gateway)) {
        (Some(address), Some(mask), Some(gateway)) => mask != 0 && address & mask == gateway & mask,
        _ => false,
    }
}

fn route_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let stack = match stack_of(ctx, args) {
        Ok(stack) => stack,
        Err(reply) => return reply,
    };
    let (gateway, network) = (args.need("gateway"), args.need("network"));
    let before = ctx.state.net.routes.len();
    if let Some((net, mask)) = cidr(network) {
        let gone = |r: &Route| r.netstack == stack && r.network == net && r.netmask == mask && r.gateway == gateway;
        ctx.state.net.routes.retain(|r| !gone(r));
    }
    if ctx.state.net.routes.len() == before {
        return Reply::fault(format!("Unable to remove route {network} via {gateway}: Not found"));
    }
    Reply::Nothing
}

/// The files follow the state, as hostd writes them.
fn write_resolv(ctx: &Ctx<'_, '_>) {
    let _ = std::fs::write(ctx.call.path("/etc/resolv.conf"), ctx.state.resolv_conf());
}

fn dns_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::One(Rec::new("DnsServer").with("DNSServers", &ctx.state.net.dns))
}

fn dns_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let server = args.need("server");
    if server.parse::<std::net::IpAddr>().is_err() {
        return Reply::fault(format!("Invalid IP address {server}"));
    }
    if ctx.state.net.dns.iter().any(|d| d == server) {
        return Reply::fault(format!("DNS server {server} is already in the list"));
    }
    ctx.state.net.dns.push(server.to_owned());
    write_resolv(ctx);
    Reply::Nothing
}

fn dns_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let server = args.need("server");
    let before = ctx.state.net.dns.len();
    ctx.state.net.dns.retain(|d| d != server && !args.has("all"));
    if ctx.state.net.dns.len() == before && !args.has("all") {
        return Reply::fault(format!("DNS server {server} is not in the list"));
    }
    write_resolv(ctx);
    Reply::Nothing
}

fn search_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::One(Rec::new("DnsSearch").with("DNSSearch Domains", &ctx.state.net.search))
}

fn search_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let domain = args.need("domain");
    if ctx.state.net.search.iter().any(|d| d == domain) {
        return Reply::fault(format!("Domain {domain} is already in the list"));
    }
    ctx.state.net.search.push(domain.to_owned());
    write_resolv(ctx);
    Reply::Nothing
}

fn search_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let domain = args.need("domain");
    let before = ctx.state.net.search.len();
    ctx.state.net.search.retain(|d| d != domain);
    if ctx.state.net.search.len() == before {
        return Reply::fault(format!("Domain {domain} is not in the list"));
    }
    write_resolv(ctx);
    Reply::Nothing
}
