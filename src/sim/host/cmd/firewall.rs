//! `esxcli network firewall`.

use super::super::Effect;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::firewall::{rules, shipped};
use super::super::state::Release;

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("network firewall get", "Get the firewall status.", &[], get),
    Cmd::new(
        "network firewall set",
        "Set firewall enabled status and default action.",
        &[
            "d default-action b Set to true to set defaultaction PASS, set to false to DROP.",
            "e enabled b Set to true to enable the firewall, set to false to disable the firewall.",
        ],
        set,
    ),
    Cmd::new("network firewall refresh", "Load ruleset configuration for firewall.", &[], nothing),
    Cmd::new("network firewall load", "Load firewall module and rulesets configuration.", &[], load),
    Cmd::new("network firewall unload", "Allow unload firewall module.", &[], unload),
    Cmd::new(
        "network firewall ruleset list",
        "List the rulesets in firewall.",
        &["r ruleset-id s The label of the ruleset."],
        list,
    ),
    Cmd::new(
        "network firewall ruleset set",
        "Set firewall ruleset status (allowedAll flag and enabled status).",
        &[
            "a allowed-all b Set to true to allowed all ip, set to false to use allowed ip list.",
            "e enabled b Set to true to enable ruleset, set to false to disable it.",
            "r ruleset-id s! The label of the ruleset.",
        ],
        ruleset_set,
    ),
    Cmd::new(
        "network firewall ruleset allowedip list",
        "list allowed ip addresses for rulesets.",
        &["r ruleset-id s The label of the ruleset."],
        ip_list,
    ),
    Cmd::new(
        "network firewall ruleset allowedip add",
        "Add allowed ip address/range to the ruleset ruleset.",
        &["i ip-address s! Allowed ip address/range for the ruleset.", "r ruleset-id s! The label of the ruleset."],
        ip_add,
    ),
    Cmd::new(
        "network firewall ruleset allowedip remove",
        "Remove allowed ip address/range from the ruleset.",
        &["i ip-address s! Allowed ip address/range for the ruleset.", "r ruleset-id s! The label of the ruleset."],
        ip_remove,
    ),
    Cmd::new(
        "network firewall ruleset rule list",
        "List the rules of each ruleset in firewall.",
        &["r ruleset-id s The label of the ruleset."],
        rule_list,
    ),
];

fn missing(name: &str) -> Reply {
    Reply::fault(format!("Invalid ruleset id {name}"))
}

fn get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let f = &ctx.state.firewall;
    Reply::One(
        Rec::new("Firewall")
            .with("Default Action", if f.pass { "PASS" } else { "DROP" })
            .with("Enabled", f.enabled)
            .with("Loaded", f.loaded),
    )
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let f = &mut ctx.state.firewall;
    f.pass = args.bool("default-action").unwrap_or(f.pass);
    f.enabled = args.bool("enabled").unwrap_or(f.enabled);
    ctx.effects.push(Effect::FirewallChanged);
    Reply::Nothing
}

fn nothing(_: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Nothing
}

fn load(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    ctx.state.firewall.loaded = true;
    ctx.effects.push(Effect::FirewallChanged);
    Reply::Nothing
}

fn unload(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    ctx.state.firewall.loaded = false;
    ctx.effects.push(Effect::FirewallChanged);
    Reply::Nothing
}

/// 8.0 U2 and later have two columns more (recorded on 8.0 U2b).
fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let newest = ctx.release() >= Release::V80;
    let wanted = args.get("ruleset-id");
    let rows: Vec<Rec> = ctx
        .state
        .firewall
        .rulesets
        .iter()
        .filter(|r| wanted.is_none_or(|w| r.name == w))
        .map(|r| {
            let known = shipped(&r.name);
            Rec::new("FirewallRuleset")
                .with("Name", &r.name)
                .with("Enabled", r.enabled)
                .when(newest, "Enable/Disable configurable", known.is_none_or(|s| s.switchable))
                .when(newest, "Allowed IP configurable", known.is_none_or(|s| s.limitable))
        })
        .collect();
    if rows.is_empty() { missing(wanted.unwrap_or("")) } else { Reply::Table(rows) }
}

/// From 8.0 U2 on a ruleset that belongs to a service of the system refuses: the words for addresses are recorded,
/// those for switching it follow them and are not verified.
fn owned(ctx: &Ctx<'_, '_>, name: &str, addresses: bool) -> Option<Reply> {
    let shipped = shipped(name).filter(|_| ctx.release() >= Release::V80)?;
    match addresses {
        true if !shipped.limitable => Some(Reply::fault(
            "Invalid operation requested: Can not change allowed ip list this ruleset, it is owned by system service.",
        )),
        false if !shipped.switchable => Some(Reply::fault(
            "Invalid operation requested: Can not enable or disable this ruleset, it is owned by system service.",
        )),
        _ => None,
    }
}

fn ruleset_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("ruleset-id");
    let now = ctx.state.firewall.rulesets.iter().find(|r| r.name == name).map(|r| r.enabled);
    if args.bool("enabled").is_some_and(|on| now.is_some_and(|now| now != on))
        && let Some(refusal) = owned(ctx, name, false)
    {
        return refusal;
    }
    if args.has("allowed-all")
        && let Some(refusal) = owned(ctx, name, true)
    {
        return refusal;
    }
    ctx.effects.push(Effect::FirewallChanged);
    let Some(r) = ctx.state.firewall.rulesets.iter_mut().find(|r| r.name == name) else { return missing(name) };
    if let Some(enabled) = args.bool("enabled") {
        r.enabled = enabled;
    }
    match args.bool("allowed-all") {
        // Recorded on 6.x; the exit code was not.
        Some(true) if r.all => Reply::Say("Already allowed all ip".into()),
        Some(all) => {
            r.all = all;
            Reply::Nothing
        }
        None => Reply::Nothing,
    }
}

fn ip_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let wanted = args.get("ruleset-id");
    let rows: Vec<Rec> = ctx
        .state
        .firewall
        .rulesets
        .iter()
        .filter(|r| wanted.is_none_or(|w| r.name == w))
        .map(|r| {
            let ips = if r.all { vec!["All".to_owned()] } else { r.ips.clone() };
            Rec::new("AllowedIp").with("Ruleset", &r.name).with("Allowed IP Addresses", ips)
        })
        .collect();
    if rows.is_empty() { missing(wanted.unwrap_or("")) } else { Reply::Table(rows) }
}

fn valid_network(text: &str) -> bool {
    let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
    match address.parse::<std::net::IpAddr>() {
        Ok(ip) => bits.is_none_or(|b| b.parse::<u8>().is_ok_and(|b| b <= if ip.is_ipv4() { 32 } else { 128 })),
        Err(_) => false,
    }
}

fn ip_add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (name, ip) = (args.need("ruleset-id"), args.need("ip-address"));
    if let Some(refusal) = owned(ctx, name, true) {
        return refusal;
    }
    ctx.effects.push(Effect::FirewallChanged);
    let Some(r) = ctx.state.firewall.rulesets.iter_mut().find(|r| r.name == name) else { return missing(name) };
    if !valid_network(ip) {
        return Reply::fault(format!("Invalid IP address {ip}"));
    }
    if r.all {
        // That it is refused is documented, the words are not recorded.
        return Reply::fault("Please set allowedAll flag to false first");
    }
    if r.ips.iter().any(|i| i == ip) {
        return Reply::fault("Ip address already exist");
    }
    r.ips.push(ip.to_owned());
    Reply::Nothing
}

fn ip_remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (name, ip) = (args.need("ruleset-id"), args.need("ip-address"));
    if let Some(refusal) = owned(ctx, name, true) {
        return refusal;
    }
    ctx.effects.push(Effect::FirewallChanged);
    let Some(r) = ctx.state.firewall.rulesets.iter_mut().find(|r| r.name == name) else { return missing(name) };
    let before = r.ips.len();
    r.ips.retain(|i| i != ip);
    if r.ips.len() == before { Reply::fault("Ip address does not exist") } else { Reply::Nothing }
}

fn rule_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let wanted = args.get("ruleset-id");
    if wanted.is_some_and(|w| !ctx.state.firewall.rulesets.iter().any(|r| r.name == w)) {
        return missing(wanted.unwrap_or(""));
    }
    let mut rows = Vec::new();
    for r in ctx.state.firewall.rulesets.iter().filter(|r| wanted.is_none_or(|w| r.name == w)) {
        for &[direction, protocol, kind, begin, end] in rules(&r.name) {
            rows.push(
                Rec::new("FirewallRule")
                    .with("Ruleset", &r.name)
                    .with("Direction", direction)
                    .with("Protocol", protocol)
                    .with("Port Type", kind)
                    .with("Port Begin", begin.parse::<i64>().unwrap_or(0))
                    .with("Port End", end.parse::<i64>().unwrap_or(0)),
            );
        }
    }
    Reply::Table(rows)
}
