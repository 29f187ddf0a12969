//! `esxcli system module`: what is enabled counts at the next boot, what is loaded is what runs.
//!
//! The columns of the list are documented; no full list was recorded.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{HostState, Module};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "system module list",
        "List the VMkernel modules that the system knows about.",
        &[
            "e enabled b List the enabled / disabled VMkernel modules.",
            "l loaded b List the loaded / not loaded VMkernel modules.",
        ],
        list,
    ),
    Cmd::new(
        "system module get",
        "Show information for a given VMkernel module.",
        &["m module s! The name of the VMkernel module to get information for."],
        get,
    ),
    Cmd::new(
        "system module set",
        "Allow enabling and disabling a given VMkernel module.",
        &[
            "m module s! The name of the VMkernel module to set options for.",
            "e enabled b! Set to true to enable the module, set to false to disable the module.",
            "f force f Skip the VMkernel module validity checks.",
        ],
        set,
    ),
    Cmd::new(
        "system module load",
        "Load a VMkernel module with the given name if it is enabled.",
        &[
            "m module s! The name of the VMkernel module to load.",
            "f force f Ignore safety checks and force the loading of a VMkernel module.",
        ],
        load,
    ),
    Cmd::new(
        "system module parameters list",
        "List the parameters supported for a given VMkernel module along with any defined parameter values.",
        &["m module s! The name of the VMkernel module to get the option string for."],
        parameters_list,
    ),
    Cmd::new(
        "system module parameters set",
        "Allow setting of VMkernel module load time parameters when the given VMkernel module is loaded.",
        &[
            "m module s! The name of the VMkernel module to set options for.",
            "p parameter-string s! Set the parameters for the specified module to the given string.",
            "a append f When this option is specified, new parameters are appended to existing parameters.",
            "f force f Skip the VMkernel module validity checks.",
        ],
        parameters_set,
    ),
];

/// Name, type, description.
type Parameter = (&'static str, &'static str, &'static str);

/// Parameters per module: name, type, description. ixgbe's are recorded on 6.0, the others a small selection.
const PARAMETERS: &[(&str, &[Parameter])] = &[
    (
        "ixgbe",
        &[
            ("IntMode", "array of int", "Change Interrupt Mode (0=Legacy, 1=MSI, 2=MSI-X), default 2"),
            ("LRO", "array of int", "Large Receive Offload (0,1), default 1 = on"),
            (
                "max_vfs",
                "array of int",
                "Number of Virtual Functions: 0 = disable (default), 1-63 = enable this many VFs",
            ),
        ],
    ),
    (
        "ixgben",
        &[
            ("DRSS", "array of int", "DefQueue RSS state: 0 = disable, 1 = enable"),
            ("RSS", "array of int", "NetQueue RSS state: 0 = disable, 1 = enable"),
            ("max_vfs", "array of int", "Maximum number of VFs to be enabled (0..63)"),
        ],
    ),
    ("ne1000", &[("TSO", "array of int", "TCP Segmentation Offload: 0 = disable, 1 = enable")]),
    ("nvmxnet3", &[("disable_lro", "int", "Disable large receive offload")]),
    (
        "e1000",
        &[
            ("RxDescriptors", "array of int", "Number of receive descriptors"),
            ("TxDescriptors", "array of int", "Number of transmit descriptors"),
        ],
    ),
    ("nvme", &[("io_cpl_queue_num", "int", "NVMe number of IO completion queue")]),
    ("nvme_pcie", &[("nvmePCIEDebugMask", "int", "NVMe PCIe driver debug mask")]),
    ("vmw_ahci", &[("ahci_msi", "int", "Use message signalled interrupts")]),
    ("vmkusb", &[("xhci_debug", "int", "Debug level of the xHCI part")]),
    (
        "vmkusb_nic_fling",
        &[("usbBusFullScanOnBootEnabled", "int", "Enable USB Bus full scan on system boot: 0 No (Default), 1 Yes")],
    ),
    ("iscsi_vmk", &[("iscsivmk_LunQDepth", "int", "Maximum outstanding commands per LUN")]),
    ("tcpip4", &[("ipv6", "int", "Enable IPv6 support")]),
    ("nfsclient", &[]),
];

fn parameters(module: &str) -> &'static [Parameter] {
    PARAMETERS.iter().find(|p| p.0 == module).map_or(&[], |p| p.1)
}

/// The words of a missing module are not recorded.
fn unknown(name: &str) -> Reply {
    Reply::fault(format!("Unable to find module {name}"))
}

pub(in super::super) fn find<'a>(state: &'a HostState, name: &str) -> Option<&'a Module> {
    state.modules.iter().find(|m| m.name == name)
}

fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    Reply::Table(
        ctx.state
            .modules
            .iter()
            .filter(|m| args.bool("enabled").is_none_or(|e| m.enabled == e))
            .filter(|m| args.bool("loaded").is_none_or(|l| m.loaded == l))
            .map(|m| {
                Rec::new("ModuleSummary")
                    .with("Name", &m.name)
                    .with("Is Loaded", m.loaded)
                    .with("Is Enabled", m.enabled)
            })
            .collect(),
    )
}

fn get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let Some(module) = find(ctx.state, args.need("module")) else { return unknown(args.need("module")) };
    let vib = ctx.state.image.vibs.iter().find(|v| v.name.replace('-', "_") == module.name.replace('-', "_"));
    let vib = vib.or_else(|| ctx.state.image.vibs.iter().find(|v| v.name == "esx-base"));
    let level = vib.map_or("certified", |v| match v.level.as_str() {
        "VMwareAccepted" => "accepted",
        "PartnerSupported" => "partner",
        "CommunitySupported" => "community",
        _ => "certified",
    });
    // The label is that of hardening material, the words for the two states are not verified.
    let signed = if level == "community" { "Unsigned" } else { "VMware Signed" };
    Reply::One(
        Rec::new("ModuleInfo")
            .with("Module", &module.name)
            .with("Module File", format!("/usr/lib/vmware/vmkmod/{}", module.name))
            .with("License", "VMware(r)")
            .with("Version", vib.map(|v| v.version.clone()).unwrap_or_default())
            .with("Build Type", "release")
            .with("Provided Namespaces", "")
            .with("Required Namespaces", "com.vmware.vmkapi@v2_2_0_0")
            .with("Containing VIB", vib.map(|v| v.name.clone()).unwrap_or_default())
            .with("VIB Acceptance Level", level)
            .with("Signed Status", signed),
    )
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("module");
    let enabled = args.bool("enabled").unwrap_or(true);
    match ctx.state.modules.iter_mut().find(|m| m.name == name) {
        Some(module) => {
            module.enabled = enabled;
            Reply::Nothing
        }
        None => unknown(name),
    }
}

fn load(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("module");
    match ctx.state.modules.iter_mut().find(|m| m.name == name) {
        None => unknown(name),
        Some(m) if m.loaded => Reply::fault(format!("Unable to load module {name}: Busy")),
        Some(m) if !m.enabled && !args.has("force") => {
            Reply::fault(format!("Unable to load module {name}: module is disabled"))
        }
        Some(m) => {
            m.loaded = true;
            Reply::Nothing
        }
    }
}

fn parameters_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("module");
    let Some(module) = find(ctx.state, name) else { return unknown(name) };
    let value = |wanted: &str| {
        module.params.split_whitespace().filter_map(|p| p.split_once('=')).find(|p| p.0 == wanted).map_or("", |p| p.1)
    };
    let mut rows: Vec<_> = parameters(name).to_vec();
    rows.sort_unstable();
    Reply::Table(
        rows.into_iter()
            .map(|(n, kind, text)| {
                Rec::new("ModuleParameter")
                    .with("Name", n)
                    .with("Type", kind)
                    .with("Value", value(n))
                    .with("Description", text)
            })
            .collect(),
    )
}

/// Sets the whole string, or appends; a parameter that the module does not have is refused.
fn parameters_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("module");
    let text = args.need("parameter-string");
    let force = args.has("force");
    let known = parameters(name);
    let Some(module) = ctx.state.modules.iter_mut().find(|m| m.name == name) else { return unknown(name) };
    if !force {
        for word in text.split_whitespace() {
            let key = word.split('=').next().unwrap_or(word);
            if !known.iter().any(|p| p.0 == key) {
                return Reply::fault(format!(
                    "Unable to set module parameters: {key}: invalid parameter for module {name}"
                ));
            }
        }
    }
    module.params = if args.has("append") && !module.params.is_empty() {
        format!("{} {text}", module.params)
    } else {
        text.to_owned()
    };
    Reply::Nothing
}
