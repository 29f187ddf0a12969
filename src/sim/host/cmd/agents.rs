//! The agents that hardening switches off: CIM (`system wbem`), SNMP, iSCSI authentication; and where core dumps go.
//!
//! Recorded: `wbem get` (6.5), `snmp get` of a host where nothing was set up, `snmp set --help`, `iscsi adapter list`,
//! `iscsi software`, `coredump partition get` (6.0). Labels of `coredump network get` and `chap get` are from public
//! scripts, that 6.0 has no `system wbem` is from memory, and no refusal was recorded: not verified.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply, V};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::hardening::SNMP;
use super::super::state::{HostState, Release};
use super::super::vimcmd;
use super::storage::boot_device;

const ADAPTER: &str = "A adapter s! The iSCSI adapter name.";
const DIRECTION: &str = "d direction s The direction of CHAP authentication [uni, mutual].";

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("system wbem get", "Display WBEM Agent configuration.", &[], wbem_get).since(Release::V65),
    Cmd::new(
        "system wbem set",
        "Set up ESX Generic CIM Agent.",
        &["e enable b Start or stop the WBEM services.", "r reset f Restore WBEM configuration to factory settings."],
        wbem_set,
    )
    .since(Release::V65),
    Cmd::new("system snmp get", "Get SNMP Configuration.", &[], snmp_get),
    Cmd::new(
        "system snmp set",
        "This command allows the user to set up ESX SNMP agent.",
        &[
            "a authentication s Set default authentication protocol. Values: none, MD5, SHA1",
            "c communities s Set up to ten communities each no more than 64 characters.",
            "e enable b Start or stop SNMP service. Values: [yes|no, true|false, 0|1]",
            "E engineid s Set SNMPv3 engine id.",
            "y hwsrc s Where to source hardware events from IPMI sensors or CIM Indications.",
            "s largestorage b Support large storage.",
            "l loglevel s System Agent syslog logging level: debug|info|warning|error",
            "n notraps s Comma separated list of trap oids for traps not to be sent by agent.",
            "p port i Set UDP port to poll snmp agent on. The default is udp/161.",
            "x privacy s Set default privacy protocol. Values: none, AES128",
            "R remote-users s Set up to five inform user ids.",
            "r reset f Return agent configuration to factory defaults",
            "C syscontact s System contact string as presented in sysContact.0.",
            "L syslocation s System location string as presented in sysLocation.0.",
            "t targets s Set up to three targets to send SNMPv1 traps to.",
            "u users s Set up to five local users.",
            "i v3targets s Set up to three SNMPv3 notification targets.",
        ],
        snmp_set,
    ),
    Cmd::new("iscsi software get", "Software iSCSI information.", &[], software_get),
    Cmd::new(
        "iscsi software set",
        "Enable or disable software iSCSI.",
        &["e enabled b! Enable or disable the module."],
        software_set,
    ),
    Cmd::new("iscsi adapter list", "List the iSCSI adapters.", &["A adapter s The iSCSI adapter name."], adapters),
    Cmd::new("iscsi adapter auth chap get", "Get the iSCSI CHAP authentication.", &[ADAPTER, DIRECTION], chap_get),
    Cmd::new(
        "iscsi adapter auth chap set",
        "Set the iSCSI CHAP authentication.",
        &[
            ADAPTER,
            DIRECTION,
            "N authname s CHAP authentication name.",
            "S secret p CHAP authentication password.",
            "l level s CHAP authentication level [prohibited, discouraged, preferred, required].",
            "D default f Restore inheritance.",
        ],
        chap_set,
    ),
    Cmd::new("system coredump partition get", "Get the current active and configured dump partition.", &[], dump_get),
    Cmd::new("system coredump partition list", "List all of the partitions that can take a dump.", &[], dump_list),
    Cmd::new(
        "system coredump partition set",
        "Set the specific VMkernel dump partition for this system.",
        &[
            "e enable b Enable or disable the VMkernel dump partition.",
            "p partition s The name of the partition to use.",
            "s smart f Choose a partition by itself.",
            "u unconfigure f Set the dump partition to an unconfigured state.",
        ],
        dump_set,
    ),
    Cmd::new("system coredump network get", "Get the currently configured network coredump.", &[], net_get),
    Cmd::new(
        "system coredump network set",
        "Set the parameters used for network core dump.",
        &[
            "e enable b Enable network dump.",
            "v interface-name s An active interface to be used for the network core dump.",
            "i server-ip s IP address of the core dump server.",
            "j server-ipv4 s IPv4 address of the core dump server.",
            "o server-port i Port on which the core dump server is listening.",
        ],
        net_set,
    ),
];

fn wbem_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::One(
        Rec::new("WBEMAgentConfiguration")
            .with("Authorization Model", "password")
            .with("Enabled", ctx.state.guard.wbem)
            .with("Loglevel", "warning")
            .with("Port", 5989_i64)
            .with("WSManagement Service", true),
    )
}

/// Switches the agent and what runs; what starts with the host is a thing of its own.
fn wbem_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let Some(on) = args.bool("enable").or_else(|| args.has("reset").then_some(false)) else { return Reply::Nothing };
    ctx.state.guard.wbem = on;
    for script in ["sfcbd-watchdog", "wsman"] {
        vimcmd::switch(ctx.state, script, on);
    }
    Reply::Nothing
}

fn snmp_value(state: &HostState, label: &str) -> String {
    let default = SNMP.iter().find(|s| s.label == label).map_or("", |s| s.default);
    state.guard.snmp.get(label).cloned().unwrap_or_else(|| default.to_owned())
}

fn snmp_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let mut rec = Rec::new("SnmpGet");
    for line in SNMP.iter() {
        let text = snmp_value(ctx.state, line.label);
        rec.fields.push((
            line.label,
            match line.kind {
                "b" => V::B(text == "true"),
                "i" => V::I(text.parse().unwrap_or(0)),
                _ => V::S(text),
            },
        ));
    }
    Reply::One(rec)
}

fn snmp_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if args.has("reset") {
        ctx.state.guard.snmp.clear();
    }
    let protocols: [(&str, &[&str]); 4] = [
        ("authentication", &["", "none", "MD5", "SHA1"]),
        ("privacy", &["", "none", "AES128"]),
        ("loglevel", &["debug", "info", "warning", "error"]),
        ("hwsrc", &["indications", "sensors"]),
    ];
    for (option, words) in protocols {
        if let Some(word) = args.get(option).filter(|w| !words.contains(w)) {
            return Reply::fault(format!("Invalid value '{word}' for --{option}"));
        }
    }
    for line in SNMP.iter() {
        let text = match args.get(line.option) {
            Some(_) if line.kind == "b" => args.bool(line.option).unwrap_or(false).to_string(),
            Some("reset") => String::new(),
            Some(text) => text.to_owned(),
            None => continue,
        };
        if text == line.default {
            ctx.state.guard.snmp.remove(line.label);
        } else {
            ctx.state.guard.snmp.insert(line.label.to_owned(), text);
        }
    }
    let on = snmp_value(ctx.state, "Enable") == "true";
    if on && snmp_value(ctx.state, "Engineid").is_empty() {
        let id = format!("00000063000000a1{:08x}", ctx.state.index);
        ctx.state.guard.snmp.insert("Engineid".into(), id);
    }
    vimcmd::switch(ctx.state, "snmpd", on);
    Reply::Nothing
}

fn software_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say((!ctx.state.guard.iscsi.is_empty()).to_string())
}

fn software_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if args.bool("enabled").unwrap_or(false) {
        ctx.state.add_iscsi_adapter();
        return Reply::Say("Software iSCSI Enabled".into());
    }
    ctx.state.guard.iscsi.clear();
    Reply::Say("Software iSCSI Disabled".into())
}

fn adapters(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let wanted = args.get("adapter");
    Reply::Table(
        ctx.state
            .guard
            .iscsi
            .iter()
            .filter(|a| wanted.is_none_or(|w| w == a.name))
            .map(|a| {
                Rec::new("IscsiAdapter")
                    .with("Adapter", &a.name)
                    .with("Driver", "iscsi_vmk")
                    .with("State", "online")
                    .with("UID", format!("iscsi.{}", a.name))
                    .with("Description", "iSCSI Software Adapter")
            })
            .collect(),
    )
}

fn chap_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("adapter");
    let direction = args.get("direction").unwrap_or("uni");
    let Some(adapter) = ctx.state.guard.iscsi.iter().find(|a| a.name == name) else {
        return Reply::fault(format!("Cannot find the iSCSI adapter {name}"));
    };
    let chap = match direction {
        "uni" => &adapter.uni,
        "mutual" => &adapter.mutual,
        other => return Reply::fault(format!("Invalid direction {other}")),
    };
    Reply::One(Rec::new("IscsiChap").with("Direction", direction).with("Name", &chap.name).with("Level", &chap.level))
}

/// Mutual CHAP needs the other direction to be required (documented). The secret is checked for its length and
/// kept nowhere.
fn chap_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("adapter");
    let mutual = args.get("direction") == Some("mutual");
    let Some(adapter) = ctx.state.guard.iscsi.iter_mut().find(|a| a.name == name) else {
        return Reply::fault(format!("Cannot find the iSCSI adapter {name}"));
    };
    let level = args.get("level").unwrap_or("prohibited");
    if args.has("default") {
        let chap = if mutual { &mut adapter.mutual } else { &mut adapter.uni };
        (chap.name, chap.level) = (String::new(), "prohibited".into());
        return Reply::Nothing;
    }
    if !["prohibited", "discouraged", "preferred", "required"].contains(&level) {
        return Reply::fault(format!("Invalid CHAP level {level}"));
    }
    if level != "prohibited" && (args.get("authname").is_none() || args.get("secret").is_none()) {
        return Reply::fault("CHAP needs --authname and --secret");
    }
    if args.get("secret").is_some_and(|s| !(12..=255).contains(&s.len())) {
        return Reply::fault("The CHAP secret must have at least 12 characters");
    }
    if mutual && level != "prohibited" && (level != "required" || adapter.uni.level != "required") {
        return Reply::fault("Mutual CHAP needs the level required in both directions");
    }
    let chap = if mutual { &mut adapter.mutual } else { &mut adapter.uni };
    chap.level = level.to_owned();
    chap.name = if level == "prohibited" { String::new() } else { args.get("authname").unwrap_or("").to_owned() };
    if !mutual && level != "required" {
        (adapter.mutual.name, adapter.mutual.level) = (String::new(), "prohibited".into());
    }
    Reply::Nothing
}

fn dump_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let dump = &ctx.state.guard.dump;
    let active = if dump.active { dump.partition.as_str() } else { "" };
    Reply::One(Rec::new("CoreDumpPartition").with("Active", active).with("Configured", &dump.partition))
}

/// The partitions that could take a dump: the installer makes one up to 6.7.
fn candidates(state: &HostState) -> Vec<String> {
    if state.release < Release::V70 { vec![format!("{}:9", boot_device(state))] } else { Vec::new() }
}

fn dump_list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let dump = ctx.state.guard.dump.clone();
    Reply::Table(
        candidates(ctx.state)
            .into_iter()
            .map(|name| {
                let path = format!("/vmfs/devices/disks/{name}");
                let configured = dump.partition == name;
                Rec::new("CoreDumpPartitionInfo")
                    .with("Name", name)
                    .with("Path", path)
                    .with("Active", configured && dump.active)
                    .with("Configured", configured)
            })
            .collect(),
    )
}

fn dump_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let known = candidates(ctx.state);
    let dump = &mut ctx.state.guard.dump;
    if args.has("unconfigure") {
        dump.partition.clear();
        dump.active = false;
        return Reply::Nothing;
    }
    if let Some(name) = args.get("partition") {
        if args.has("enable") {
            return Reply::fault("A partition cannot be set and enabled in one call");
        }
        if !known.iter().any(|k| k == name) {
            return Reply::fault(format!("Unable to find a dump partition {name}"));
        }
        dump.partition = name.to_owned();
        return Reply::Nothing;
    }
    match args.bool("enable") {
        Some(false) => dump.active = false,
        Some(true) => {
            if args.has("smart")
                && dump.partition.is_empty()
                && let Some(first) = known.first()
            {
                dump.partition.clone_from(first);
            }
            if dump.partition.is_empty() {
                return Reply::fault("Unable to enable the dump partition: none is configured");
            }
            dump.active = true;
        }
        None => return Reply::fault("Nothing to set"),
    }
    Reply::Nothing
}

fn net_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let dump = &ctx.state.guard.dump;
    Reply::One(
        Rec::new("CoreDumpNetwork")
            .with("Enabled", dump.network)
            .with("Host VNic", &dump.interface)
            .with("Is Using IPv6", false)
            .with("Network Server IP", &dump.server)
            .with("Network Server Port", dump.port),
    )
}

fn net_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if let Some(on) = args.bool("enable") {
        let dump = &mut ctx.state.guard.dump;
        if on && dump.server.is_empty() {
            return Reply::fault("Unable to enable the network core dump: no server is configured");
        }
        dump.network = on;
        return Reply::Nothing;
    }
    let vmk = args.get("interface-name").unwrap_or("");
    let server = args.get("server-ip").or_else(|| args.get("server-ipv4")).unwrap_or("");
    if !ctx.state.net.vmks.iter().any(|v| v.name == vmk) {
        return Reply::fault(format!("Invalid interface {vmk}"));
    }
    if !super::is_ipv4(server) {
        return Reply::fault(format!("Invalid server address {server}"));
    }
    let dump = &mut ctx.state.guard.dump;
    dump.interface = vmk.to_owned();
    dump.server = server.to_owned();
    dump.port = args.int("server-port").unwrap_or(6500);
    Reply::Nothing
}
