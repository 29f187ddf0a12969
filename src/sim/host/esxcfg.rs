//! The old tools: esxcfg-vmknic, esxcfg-nics, esxcfg-vswitch, esxcfg-module, esxcfg-advcfg, vmkload_mod.

use super::cmd;
use super::cmd::network::broadcast;
use super::cmd::nics::link_of;
use super::cmd::vswitch::{active, total_ports, used_ports};
use super::state::HostState;
use super::tools::args;
use super::{Answer, Call};

/// Recorded with long names unpadded; widths of the heading line.
pub(super) fn esxcfg_vmknic(state: &mut HostState, call: &Call<'_>) -> Answer {
    if !args(call).contains(&"-l") {
        return Answer::coded(
            "esxcfg-vmknic <options> [[<portgroup>]]\n   -l|--list           List VMkernel nics and their settings.\n",
            1,
        );
    }
    let mut out = String::from(
        "Interface  Port Group/DVPort/Opaque Network        IP Family IP Address                              Netmask         Broadcast       MAC Address       MTU     TSO MSS   Enabled Type                NetStack            \n",
    );
    for v in &state.net.vmks {
        let none = v.kind == "NONE";
        let shown = |text: &str| if none { "N/A".to_owned() } else { text.to_owned() };
        out.push_str(&format!(
            "{:<10} {:<39} {:<9} {:<39} {:<15} {:<15} {:<17} {:<7} {:<9} {:<7} {:<19} {:<20}\n",
            v.name,
            v.portgroup,
            "IPv4",
            shown(&v.address),
            shown(&v.netmask),
            shown(&broadcast(&v.address, &v.netmask)),
            v.mac,
            v.mtu,
            65535,
            v.enabled,
            v.kind,
            v.netstack
        ));
        out.push_str(&format!(
            "{:<10} {:<39} {:<9} {:<39} {:<15} {:<15} {:<17} {:<7} {:<9} {:<7} {:<19} {:<20}\n",
            v.name,
            v.portgroup,
            "IPv6",
            link_local(&v.mac),
            "64",
            "",
            v.mac,
            v.mtu,
            65535,
            v.enabled,
            "STATIC, PREFERRED",
            v.netstack
        ));
    }
    Answer::out(out)
}

/// The link-local address that a MAC gives (EUI-64).
fn link_local(mac: &str) -> String {
    let b: Vec<u16> = mac.split(':').filter_map(|p| u16::from_str_radix(p, 16).ok()).collect();
    match b.as_slice() {
        [a, b, c, d, e, f] => {
            format!("fe80::{:x}:{:x}:{:x}:{:x}", ((a ^ 2) << 8) | b, (c << 8) | 0xff, 0xfe00 | d, (e << 8) | f)
        }
        _ => "fe80::".into(),
    }
}

pub(super) fn esxcfg_nics(state: &mut HostState, call: &Call<'_>) -> Answer {
    if !args(call).contains(&"-l") {
        return Answer::coded(
            "esxcfg-nics <options> [nic]\n   -l|--list           Print the list of NICs and their settings.\n",
            1,
        );
    }
    let mut out =
        String::from("Name    PCI          Driver      Link Speed      Duplex MAC Address       MTU    Description\n");
    for n in &state.nics {
        let (link, speed, duplex) = link_of(n);
        out.push_str(&format!(
            "{:<7} {:<12} {:<11} {:<4} {:<10} {:<6} {:<17} {:<6} {}\n",
            n.name,
            n.pci,
            n.driver,
            if link { "Up" } else { "Down" },
            format!("{speed}Mbps"),
            duplex,
            n.mac,
            n.mtu,
            n.description
        ));
    }
    Answer::out(out)
}

pub(super) fn esxcfg_vswitch(state: &mut HostState, call: &Call<'_>) -> Answer {
    if !args(call).contains(&"-l") {
        return Answer::coded(
            "esxcfg-vswitch [options] [vswitch[:ports]]\n   -l|--list           List all the virtual switches.\n",
            1,
        );
    }
    let mut parts = Vec::new();
    for v in &state.net.vswitches {
        let uplinks = v.uplinks.join(",");
        let mut text = format!(
            "Switch Name      Num Ports   Used Ports  Configured Ports  MTU     Uplinks   \n{:<16} {:<11} {:<11} {:<17} {:<7} {uplinks}\n\n  PortGroup Name                            VLAN ID  Used Ports  Uplinks   \n",
            v.name,
            total_ports(state),
            used_ports(state, v),
            v.ports,
            v.mtu
        );
        for p in state.net.portgroups.iter().rev().filter(|p| p.vswitch == v.name) {
            text.push_str(&format!("  {:<41} {:<8} {:<11} {uplinks}\n", p.name, p.vlan, active(state, p)));
        }
        parts.push(text);
    }
    Answer::out(parts.join("\n") + "\n")
}

/// Recorded: `icen enabled = 1 options = 'vmdq=1,2'`.
pub(super) fn esxcfg_module(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    let name = words.last().copied().unwrap_or("");
    let found = state.modules.iter_mut().find(|m| m.name == name);
    match (words.as_slice(), found) {
        (["-l" | "--list"], _) => Answer::out(vmkload_list(state)),
        (["-g" | "--get-options", _], Some(m)) => {
            Answer::out(format!("{} enabled = {} options = '{}'\n", m.name, i32::from(m.enabled), m.params))
        }
        (["-e" | "--enable", _], Some(m)) => {
            m.enabled = true;
            Answer::default()
        }
        (["-d" | "--disable", _], Some(m)) => {
            m.enabled = false;
            Answer::default()
        }
        (["-s" | "--set-options", options, _], Some(m)) => {
            m.params = (*options).to_owned();
            Answer::default()
        }
        (["-g" | "-e" | "-d" | "-s", ..], None) => Answer::coded(format!("Unable to find module {name}\n"), 1),
        _ => Answer::coded(
            "esxcfg-module <options> [module]\n   -g|--get-options    Get the options for a module and whether it is enabled.\n",
            1,
        ),
    }
}

/// `-g` and `-s` name only the last part of the path, `-q` prints the value alone (recorded).
pub(super) fn esxcfg_advcfg(state: &mut HostState, call: &Call<'_>) -> Answer {
    let all = args(call);
    let quiet = all.iter().any(|w| *w == "-q" || *w == "--quiet");
    let words: Vec<&str> = all.iter().copied().filter(|w| *w != "-q" && *w != "--quiet").collect();
    let name = |path: &str| {
        super::factory::tables::advanced(path).map_or(path, |o| o.path).rsplit('/').next().unwrap_or(path).to_owned()
    };
    match words.as_slice() {
        ["-g" | "--get", path] => match state.advanced(path) {
            Some(value) if quiet => Answer::out(format!("{value}\n")),
            Some(value) => Answer::out(format!("Value of {} is {value}\n", name(path))),
            None => Answer::coded(format!("Exception occured: Unable to find option {}\n", name(path)), 1),
        },
        ["-s" | "--set", value, path] => match cmd::settings::change(state, path, Some(value)) {
            Ok(_) if quiet => Answer::default(),
            Ok(value) => Answer::out(format!("Value of {} is {value}\n", name(path))),
            Err(text) => Answer::coded(format!("Exception occured: {text}\n"), 1),
        },
        ["-l" | "--list"] => Answer::out(
            super::factory::tables::ADVANCED
                .iter()
                .filter(|o| o.default(state.release).is_some())
                .map(|o| format!("{} [{}] : {}\n", o.path, if o.integer { "Integer" } else { "String" }, o.description))
                .collect::<String>(),
        ),
        _ => Answer::coded(
            "Usage: esxcfg-advcfg <options> [<adv cfg Path>]\n   -g|--get            Get the value of the config option\n   -s|--set <value>    Set the value of the config option\n",
            1,
        ),
    }
}

pub(super) fn esxcfg_info(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    if words.contains(&"-u") {
        let h = state.bios_uuid.to_uppercase();
        return Answer::out(format!("{}-{}-{}-{}-{}\n", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..]));
    }
    Answer::out(format!(
        "+System : \n   |----System UUID.................................................{}\n   |----Boot Time...................................................{}\n",
        state.uuid,
        cmd::timestamp(state.boot_time)
    ))
}

/// The table of loaded modules: name, uses, size in kB (6.5; exact padding not certain).
fn vmkload_list(state: &HostState) -> String {
    let mut out = String::from("Name                     Used  Size (kb) \n");
    for m in state.modules.iter().filter(|m| m.loaded) {
        out.push_str(&format!("{:<24} {:<5} {:<10}\n", m.name, 1 + m.name.len() % 5, 16 + m.name.len() * 12));
    }
    out
}

pub(super) fn vmkload_mod(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words = args(call);
    match words.as_slice() {
        ["-l" | "--list"] => Answer::out(vmkload_list(state)),
        ["-u" | "--unload", name] => match state.modules.iter_mut().find(|m| m.name == *name) {
            Some(m) if m.loaded => {
                m.loaded = false;
                Answer::out(format!("Module {name} successfully unloaded\n"))
            }
            _ => Answer::coded(format!("vmkload_mod: Can not remove module {name}: module not found\n"), 1),
        },
        [name] if !name.starts_with('-') => match state.modules.iter_mut().find(|m| m.name == *name) {
            Some(m) if !m.loaded => {
                m.loaded = true;
                Answer::out(format!("Module {name} loaded successfully\n"))
            }
            Some(_) => Answer::coded(format!("vmkload_mod: Can not load module {name}: module is already loaded\n"), 1),
            None => Answer::coded(format!("vmkload_mod: Can not load module {name}: No such file or directory\n"), 1),
        },
        _ => Answer::coded("Usage: vmkload_mod [options] [<executable file> | <module name>]\n", 1),
    }
}
