//! `esxcli network nic` and the list of VMs on the network.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply, V};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{Nic, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "network nic list",
        "This command will list the Physical NICs currently installed and loaded on the system.",
        &[],
        list,
    ),
    Cmd::new(
        "network nic get",
        "Get the generic configuration of a network device",
        &[
            "n nic-name s! The name of the NIC to configured. This must be one of the cards listed in the nic list command.",
        ],
        get,
    ),
    Cmd::new(
        "network nic set",
        "Set the general options for the specified ethernet device.",
        &[
            "n nic-name s! The name of the NIC to configured.",
            "a auto f Set the speed and duplexity to auto-negotiate.",
            "S speed i Set the speed of the device in Mbps.",
            "D duplex s The duplex to set this NIC to. Acceptable values are : [full, half]",
            "l message-level i The driver message level.",
        ],
        set,
    ),
    Cmd::new(
        "network nic up",
        "Bring the specified network device up.",
        &["n nic-name s! The name of the NIC to be configured."],
        up,
    ),
    Cmd::new(
        "network nic down",
        "Bring down the specified network device.",
        &["n nic-name s! The name of the NIC to be configured."],
        down,
    ),
    Cmd::new(
        "network nic stats get",
        "Get NIC statistics for a given interface.",
        &["n nic-name s! Name of the NIC to get statistics from."],
        stats,
    ),
    Cmd::new("network vm list", "List networking information for the VM's that have active ports.", &[], vm_list),
];

pub(in super::super) fn words(up: bool) -> &'static str {
    if up { "Up" } else { "Down" }
}

/// Speed and duplex as shown: 0 and Half without a link.
pub(in super::super) fn link_of(nic: &Nic) -> (bool, i64, &str) {
    if nic.up && nic.link { (true, nic.speed, nic.duplex.as_str()) } else { (false, 0, "Half") }
}

fn list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let newest = ctx.release() >= Release::V80;
    Reply::Table(
        ctx.state
            .nics
            .iter()
            .map(|n| {
                let (link, speed, duplex) = link_of(n);
                Rec::new("Nic")
                    .with("Name", &n.name)
                    .with("PCI Device", &n.pci)
                    .with("Driver", &n.driver)
                    .with("Admin Status", words(n.up))
                    .with("Link Status", words(link))
                    .with("Speed", speed)
                    .with("Duplex", duplex)
                    .with("MAC Address", &n.mac)
                    .with("MTU", n.mtu)
                    .with("Description", &n.description)
                    .with("~Link", words(link))
                    .when(newest, "~DPUId", "N/A")
            })
            .collect(),
    )
}

fn none(name: &str) -> Reply {
    Reply::fault(format!("Unable to find the NIC {name}: No such device"))
}

/// Fields recorded on 6.5 (and half of them on 6.0); 8.0 adds Backing DPUId.
fn get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    let Some(n) = ctx.state.nics.iter().find(|n| n.name == args.need("nic-name")) else {
        return none(args.need("nic-name"));
    };
    let full = release > Release::V60;
    let (link, ..) = link_of(n);
    let modes = if n.speed >= 10_000 {
        "1000BaseT/Full, 10000BaseT/Full"
    } else {
        "Auto, 10BaseT/Half, 10BaseT/Full, 100BaseT/Half, 100BaseT/Full, 1000BaseT/Full"
    };
    let bus = match n.pci.rsplit_once('.') {
        Some((head, function)) => format!("{head}:{function}"),
        None => n.pci.clone(),
    };
    let modes: Vec<String> = modes.split(", ").map(str::to_owned).collect();
    let driver = Rec::new("DriverInfo")
        .with("Bus Info", bus)
        .with("Driver", &n.driver)
        .with("Firmware Version", "N/A")
        .with("Version", super::super::factory::builds::of(release).full);
    Reply::One(
        Rec::new("NicInfo")
            // As ethtool's line of that name: a fixed speed is not negotiated, so that is not advertised (not verified).
            .when(full, "Advertised Auto Negotiation", n.auto)
            .with("Advertised Link Modes", modes)
            // ne1000 says false although it negotiates (recorded on 6.5: network-nic-get).
            .with("Auto Negotiation", n.auto && n.driver != "ne1000")
            .when(release >= Release::V80, "Backing DPUId", "N/A")
            .with("Cable Type", "Twisted Pair")
            .with("Current Message Level", if full { -1_i64 } else { 7 })
            .with("Driver Info", V::R(driver))
            .with("Link Detected", link)
            .with("Link Status", words(link))
            .with("Name", &n.name)
            .with("PHYAddress", 0_i64)
            .with("Pause Autonegotiate", false)
            .with("Pause RX", false)
            .with("Pause TX", false)
            .with("Supported Ports", "TP")
            .with("Supports Auto Negotiation", true)
            .with("Supports Pause", false)
            .with("Supports Wakeon", true)
            .with("Transceiver", if full { "" } else { "internal" })
            .when(full, "Virtual Address", &n.virtual_mac)
            .with("Wakeon", if full { "MagicPacket(tm)" } else { "None" }),
    )
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("nic-name");
    let Some(n) = ctx.state.nics.iter_mut().find(|n| n.name == name) else { return none(name) };
    if args.has("auto") {
        if args.has("speed") || args.has("duplex") {
            return Reply::fault("Auto-negotiation cannot be combined with speed and duplex");
        }
        n.auto = true;
        return Reply::Nothing;
    }
    match (args.int("speed"), args.get("duplex")) {
        (Some(speed), Some(duplex)) => {
            let duplex = match duplex.to_ascii_lowercase().as_str() {
                "full" => "Full",
                "half" => "Half",
                other => return Reply::fault(format!("Invalid duplex {other}")),
            };
            if ![10, 100, 1000, 2500, 5000, 10_000, 25_000, 40_000, 100_000].contains(&speed)
                || speed > n.speed.max(10_000)
            {
                return Reply::fault(format!("Unable to set speed {speed} on {name}: Not supported"));
            }
            n.auto = false;
            n.speed = speed;
            n.duplex = duplex.into();
            Reply::Nothing
        }
        (None, None) => Reply::Nothing,
        _ => Reply::fault("Speed and duplex have to be given together"),
    }
}

fn change(ctx: &mut Ctx<'_, '_>, args: &Args, up: bool) -> Reply {
    let name = args.need("nic-name");
    match ctx.state.nics.iter_mut().find(|n| n.name == name) {
        Some(n) => {
            n.up = up;
            Reply::Nothing
        }
        None => none(name),
    }
}

fn up(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    change(ctx, args, true)
}

fn down(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    change(ctx, args, false)
}

fn stats(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("nic-name");
    if !ctx.state.nics.iter().any(|n| n.name == name) {
        return none(name);
    }
    let up = i64::try_from(ctx.call.now.saturating_sub(ctx.state.boot_time)).unwrap_or(0);
    let mut rec = Rec::titled("NicStats", format!("NIC statistics for {name}"))
        .with("Packets received", up * 3)
        .with("Packets sent", up * 2)
        .with("Bytes received", up * 611)
        .with("Bytes sent", up * 402);
    for label in [
        "Receive packets dropped",
        "Transmit packets dropped",
        "Multicast packets received",
        "Broadcast packets received",
        "Multicast packets sent",
        "Broadcast packets sent",
        "Total receive errors",
        "Receive length errors",
        "Receive over errors",
        "Receive CRC errors",
        "Receive frame errors",
        "Receive FIFO errors",
        "Receive missed errors",
        "Total transmit errors",
        "Transmit aborted errors",
        "Transmit carrier errors",
        "Transmit FIFO errors",
        "Transmit heartbeat errors",
        "Transmit window errors",
    ] {
        rec = rec.with(label, 0_i64);
    }
    Reply::One(rec)
}

fn vm_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Table(
        ctx.state
            .vms
            .iter()
            .filter(|v| v.power == "on")
            .map(|v| {
                Rec::new("VM")
                    .with("World ID", v.world)
                    .with("Name", &v.name)
                    .with("Num Ports", 1_i64)
                    .with("Networks", "VM Network")
            })
            .collect(),
    )
}
