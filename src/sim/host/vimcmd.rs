//! vim-cmd: object dumps in its own notation, task names, services, hostd's options.
//!
//! The notation (`(vim.host.Summary) {`, `key = value, `, `<unset>`) is documented and partly recorded; full dumps
//! of hostsummary and hostconfig were not recorded, so they hold the parts that tools read.

use super::cmd::system::maintenance;
use super::cmd::{is_ipv4, timestamp};
use super::factory::tables;
use super::state::{HostState, Release, Service};
use super::{Answer, Call, Effect};

pub(super) fn run(state: &mut HostState, call: &Call<'_>) -> Answer {
    let words: Vec<&str> = call.argv.iter().skip(1).map(String::as_str).collect();
    if !call.hostd_up {
        return Answer::coded("Connect to localhost failed: Connection failure\n", 1);
    }
    let Some((command, args)) = words.split_first() else {
        return Answer::out(
            "Commands available under /:\nhbrsvc/       internalsvc/  solo/         vmsvc/\nhostsvc/      proxysvc/     vimsvc/       help\n",
        );
    };
    match *command {
        "hostsvc/hostsummary" => Answer::out(summary(state)),
        "hostsvc/hostconfig" => Answer::out(config(state)),
        "hostsvc/advopt/view" => view(state, args),
        "hostsvc/advopt/update" => update(state, args),
        "hostsvc/advopt/settings" => settings(state),
        "hostsvc/enable_ssh" => policy(state, "SSH", "on"),
        "hostsvc/disable_ssh" => policy(state, "SSH", "off"),
        "hostsvc/start_ssh" => switch(state, "SSH", true),
        "hostsvc/stop_ssh" => switch(state, "SSH", false),
        "hostsvc/enable_esx_shell" => policy(state, "ESXShell", "on"),
        "hostsvc/disable_esx_shell" => policy(state, "ESXShell", "off"),
        "hostsvc/start_esx_shell" => switch(state, "ESXShell", true),
        "hostsvc/stop_esx_shell" => switch(state, "ESXShell", false),
        "hostsvc/maintenance_mode_enter" => mode(state, call, true),
        "hostsvc/maintenance_mode_exit" => mode(state, call, false),
        "hostsvc/vmotion/vnic_set" => vnic(state, args, true),
        "hostsvc/vmotion/vnic_unset" => vnic(state, args, false),
        "hostsvc/vmotion/netconfig_get" => Answer::out(netconfig(state)),
        "hostsvc/firmware/sync_config" => {
            if state.boot_disk_visible() {
                Answer::default().with(Effect::Save)
            } else {
                Answer::coded("Unable to sync configuration.\n", 1)
            }
        }
        "hostsvc/runtimeinfo" => Answer::out(summary(state)),
        "vmsvc/getallvms" => Answer::out(all_vms(state)),
        "vmsvc/power.getstate" => with_vm(state, args, |vm| {
            let text = match vm.as_str() {
                "on" => "Powered on",
                "suspended" => "Suspended",
                _ => "Powered off",
            };
            Ok(format!("Retrieved runtime info\n{text}\n"))
        }),
        "vmsvc/power.on" => power(state, args, "off", "on", "Powering on VM:\n"),
        "vmsvc/power.off" => power(state, args, "on", "off", "Powering off VM:\n"),
        "vmsvc/power.shutdown" => power(state, args, "on", "off", ""),
        "vmsvc/power.suspend" => power(state, args, "on", "suspended", "Suspending VM:\n"),
        other => Answer::coded(format!("Invalid command '{other}'.\n"), 1),
    }
}

/// A fault in vim-cmd's notation. The shape is documented, the fields of each fault are built.
fn fault(kind: &str, message: &str) -> Answer {
    Answer::coded(
        format!(
            "({kind}) {{\n   faultCause = (vmodl.MethodFault) null, \n   faultMessage = <unset>\n   msg = \"{message}\"\n}}\n"
        ),
        1,
    )
}

fn summary(state: &HostState) -> String {
    let nested = [
        "(vim.host.Summary) {".to_owned(),
        "   host = 'vim.HostSystem:ha-host', ".into(),
        "   hardware = (vim.host.Summary.HardwareSummary) {".into(),
        "      vendor = \"QEMU\", ".into(),
        "      model = \"Standard PC (i440FX + PIIX, 1996)\", ".into(),
        format!("      uuid = \"{}\", ", state.uuid),
        "      otherIdentifyingInfo = <unset>, ".into(),
        "      memorySize = 8589398016, ".into(),
        "      cpuModel = \"Intel(R) Xeon(R) CPU E31220 @ 3.10GHz\", ".into(),
        "      cpuMhz = 3093, ".into(),
        "      numCpuPkgs = 1, ".into(),
        "      numCpuCores = 4, ".into(),
        "      numCpuThreads = 4, ".into(),
        format!("      numNics = {}, ", state.nics.len()),
        "      numHBAs = 2".into(),
        "   }, ".into(),
        "   runtime = (vim.host.RuntimeInfo) {".into(),
        "      connectionState = \"connected\", ".into(),
        "      powerState = \"poweredOn\", ".into(),
        "      standbyMode = <unset>, ".into(),
        format!("      inMaintenanceMode = {}, ", state.maintenance),
        "      inQuarantineMode = <unset>, ".into(),
        format!("      bootTime = \"{}Z\", ", timestamp(state.boot_time)),
        "      healthSystemRuntime = <unset>, ".into(),
        "      dasHostState = <unset>, ".into(),
        "      vsanRuntimeInfo = <unset>".into(),
        "   }, ".into(),
        "   config = (vim.host.Summary.ConfigSummary) {".into(),
        format!("      name = \"{}\", ", state.fqdn()),
        "      port = 902, ".into(),
        "      product = (vim.AboutInfo) {".into(),
        "         name = \"VMware ESXi\", ".into(),
        format!("         fullName = \"VMware ESXi {} build-{}\", ", state.full, state.build),
        format!("         version = \"{}\", ", state.full),
        format!("         build = \"{}\"", state.build),
        "      }, ".into(),
        format!("      vmotionEnabled = {}, ", state.net.vmks.iter().any(|v| v.tags.iter().any(|t| t == "VMotion"))),
        "      faultToleranceEnabled = false".into(),
        "   }, ".into(),
        "   quickStats = <unset>, ".into(),
        "   overallStatus = \"green\", ".into(),
        format!("   rebootRequired = {}, ", state.pending.is_some()),
        "   customValue = <unset>, ".into(),
        "   managementServerIp = <unset>, ".into(),
        "   maxEVCModeKey = <unset>, ".into(),
        "   currentEVCModeKey = <unset>".into(),
        "}".into(),
    ];
    let old = state.release < Release::V67;
    nested.iter().filter(|l| !(old && l.contains("inQuarantineMode"))).map(|l| format!("{l}\n")).collect()
}

fn service_dump(s: &Service) -> String {
    format!(
        "         (vim.host.Service) {{\n            key = \"{}\", \n            label = \"{}\", \n            required = false, \n            uninstallable = false, \n            running = {}, \n            ruleset = <unset>, \n            policy = \"{}\"\n         }}",
        s.key, s.label, s.running, s.policy
    )
}

fn config(state: &HostState) -> String {
    let services: Vec<String> = state.services.iter().filter(|s| !s.key.is_empty()).map(service_dump).collect();
    let vnics: Vec<String> = state
        .net
        .vmks
        .iter()
        .map(|v| {
            format!(
                "         (vim.host.VirtualNic) {{\n            device = \"{}\", \n            portgroup = \"{}\", \n            spec = (vim.host.VirtualNic.Specification) {{\n               ip = (vim.host.IpConfig) {{\n                  dhcp = {}, \n                  ipAddress = \"{}\", \n                  subnetMask = \"{}\"\n               }}, \n               mac = \"{}\", \n               mtu = {}\n            }}\n         }}",
                v.name, v.portgroup, v.kind == "DHCP", v.address, v.netmask, v.mac, v.mtu
            )
        })
        .collect();
    format!(
        "(vim.host.ConfigInfo) {{\n   host = 'vim.HostSystem:ha-host', \n   product = (vim.AboutInfo) {{\n      name = \"VMware ESXi\", \n      version = \"{}\", \n      build = \"{}\"\n   }}, \n   network = (vim.host.NetworkInfo) {{\n      vnic = (vim.host.VirtualNic) [\n{}\n      ]\n   }}, \n   service = (vim.host.ServiceInfo) {{\n      service = (vim.host.Service) [\n{}\n      ]\n   }}\n}}\n",
        state.full,
        state.build,
        vnics.join(", \n"),
        services.join(", \n"),
    )
}

/// The value of an option of hostd, or of an advanced option of the VMkernel under its dotted name, or of a
/// kernel setting below `VMkernel.Boot.`, with the kind of value.
fn option(state: &HostState, key: &str) -> Option<(&'static str, String)> {
    if let Some(name) = key.strip_prefix("VMkernel.Boot.") {
        let setting = tables::kernel(name)?;
        let default = setting.default(state.release)?;
        let value = state.kernel.get(setting.name).map_or_else(|| default.to_owned(), |k| k.configured.clone());
        let kind = match setting.kind {
            "Bool" => "bool",
            "uint32" => "int",
            _ => "string",
        };
        return Some((kind, value));
    }
    if let Some(o) = tables::hostd(key) {
        return Some((o.kind, state.hostd_option(key)?));
    }
    let path = format!("/{}", key.replacen('.', "/", 1));
    let o = tables::advanced(&path)?;
    Some((if o.integer { "long" } else { "string" }, state.advanced(o.path)?))
}

fn dump(state: &HostState, key: &str, indent: &str) -> Option<String> {
    let (kind, value) = option(state, key)?;
    let value = match kind {
        "bool" => value.to_ascii_lowercase(),
        "string" => format!("\"{value}\""),
        _ => value,
    };
    let unset =
        if state.release < Release::V67 { format!("{indent}   dynamicType = <unset>,\n") } else { String::new() };
    let comma = if state.release < Release::V67 { ", " } else { "" };
    Some(format!(
        "{indent}(vim.option.OptionValue) {{\n{unset}{indent}   key = \"{key}\", \n{indent}   value = {value}{comma}\n{indent}}}"
    ))
}

fn unknown(key: &str) -> Answer {
    fault("vim.fault.InvalidName", &format!("The name '{key}' is invalid."))
}

fn view(state: &HostState, args: &[&str]) -> Answer {
    let Some(key) = args.first() else {
        return Answer::coded("Insufficient arguments.\nUsage: advopt/view key\n", 1);
    };
    match dump(state, key, "   ") {
        Some(text) => Answer::out(format!("(vim.option.OptionValue) [\n{text}\n]\n")),
        None => unknown(key),
    }
}

fn settings(state: &HostState) -> Answer {
    let mut keys: Vec<String> = tables::HOSTD.iter().map(|o| o.key.to_owned()).collect();
    keys.extend(tables::ADVANCED.iter().map(|o| o.path[1..].replacen('/', ".", 1)));
    keys.sort();
    let all: Vec<String> = keys.iter().filter_map(|k| dump(state, k, "   ")).collect();
    Answer::out(format!("(vim.option.OptionValue) [\n{}\n]\n", all.join(", \n")))
}

/// `advopt/update KEY TYPE VALUE`. A type word that is not the option's is a fault (its text is built).
fn update(state: &mut HostState, args: &[&str]) -> Answer {
    let [key, kind, rest @ ..] = args else {
        return Answer::coded("Insufficient arguments.\nUsage: advopt/update key type value\n", 1);
    };
    let value = rest.first().copied().unwrap_or("");
    let Some((wanted, _)) = option(state, key) else { return unknown(key) };
    let number = |k: &str| k == "int" || k == "long";
    let fits = match *kind {
        "int" | "long" => number(wanted) && value.parse::<i64>().is_ok(),
        "bool" => wanted == "bool" && matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
        "string" => wanted == "string",
        _ => false,
    };
    // hostd tells int from long: its own options are int, the VMkernel's are long.
    let fits = fits && !(number(wanted) && *kind != wanted);
    if !fits {
        return fault("vmodl.fault.InvalidArgument", &format!("A specified parameter was not correct: {key}"));
    }
    if let Some(name) = key.strip_prefix("VMkernel.Boot.") {
        let default = tables::kernel(name).and_then(|k| k.default(state.release)).unwrap_or("").to_owned();
        let name = tables::kernel(name).map_or(name, |k| k.name).to_owned();
        let entry = state
            .kernel
            .entry(name)
            .or_insert_with(|| super::state::KernelValue { configured: default.clone(), runtime: default });
        entry.configured = value.to_owned();
        return Answer::default();
    }
    if let Some(o) = tables::hostd(key) {
        let default = o.default(state.release).unwrap_or("");
        let value = match (o.kind, value.to_ascii_lowercase().as_str()) {
            ("bool", "true") => "True".to_owned(),
            ("bool", _) => "False".to_owned(),
            _ => value.to_owned(),
        };
        if value == default {
            state.hostd.remove(*key);
        } else {
            state.hostd.insert((*key).to_owned(), value);
        }
        if *key == "Syslog.global.logHost" {
            state.syslog.insert("loghost".into(), rest.first().copied().unwrap_or("").to_owned());
        }
        return Answer::default();
    }
    let path = format!("/{}", key.replacen('.', "/", 1));
    match super::cmd::settings::change(state, &path, Some(value)) {
        Ok(_) => Answer::default(),
        Err(_) => fault("vmodl.fault.InvalidArgument", &format!("A specified parameter was not correct: {key}")),
    }
}

fn policy(state: &mut HostState, script: &str, word: &str) -> Answer {
    if let Some(service) = state.service_mut(script) {
        service.policy = word.into();
    }
    Answer::default()
}

/// Starts or stops a service.
pub(super) fn switch(state: &mut HostState, script: &str, on: bool) -> Answer {
    let Some(service) = state.service_mut(script) else { return Answer::default() };
    let changed = service.running != on;
    service.running = on;
    match (script, changed, on) {
        ("SSH", true, true) => Answer::default().with(Effect::SshStarted),
        ("SSH", true, false) => Answer::default().with(Effect::SshStopped),
        _ => Answer::default(),
    }
}

/// Up to 6.0 a task name in quotes (recorded on 4.1 and 5.0), nothing later; with running VMs the sentence of 6.7.
fn mode(state: &mut HostState, call: &Call<'_>, on: bool) -> Answer {
    match maintenance(state, on) {
        Ok(()) if state.release == Release::V60 => {
            let verb = if on { "enter" } else { "exit" };
            Answer::out(format!(
                "'vim.Task:haTask-ha-host-vim.HostSystem.{verb}MaintenanceMode-{}'\n",
                call.now % 1_000_000_000
            ))
        }
        Ok(()) => Answer::default(),
        Err(text) if text.starts_with("Operation") => Answer::coded(format!("{text}\n"), 1),
        Err(_) => fault("vim.fault.InvalidState", "The operation is not allowed in the current state."),
    }
}

fn vnic(state: &mut HostState, args: &[&str], on: bool) -> Answer {
    let name = args.first().copied().unwrap_or("");
    if !state.net.vmks.iter().any(|v| v.name == name) {
        return fault("vmodl.fault.InvalidArgument", &format!("A specified parameter was not correct: {name}"));
    }
    for vmk in state.net.vmks.iter_mut().filter(|v| v.name == name) {
        vmk.tags.retain(|t| t != "VMotion");
        if on {
            vmk.tags.push("VMotion".into());
            vmk.tags.sort_by_key(|t| super::cmd::network::TAGS.iter().position(|k| k == t));
        }
    }
    Answer::default()
}

fn netconfig(state: &HostState) -> String {
    let selected = state.net.vmks.iter().find(|v| v.tags.iter().any(|t| t == "VMotion") && is_ipv4(&v.address));
    let candidates: Vec<String> =
        state.net.vmks.iter().map(|v| format!("      (vim.host.VirtualNic) {{\n         device = \"{}\", \n         key = \"VMotionConfig.vmotion.key-vim.host.VirtualNic-{}\"\n      }}", v.name, v.name)).collect();
    let chosen = selected
        .map_or_else(|| "<unset>".into(), |v| format!("\"VMotionConfig.vmotion.key-vim.host.VirtualNic-{}\"", v.name));
    format!(
        "(vim.host.VMotionSystem.NetConfig) {{\n   candidateVnic = (vim.host.VirtualNic) [\n{}\n   ], \n   selectedVnic = {chosen}\n}}\n",
        candidates.join(", \n")
    )
}

/// Name and file widen the columns of their rows; the header does not line up (recorded).
fn all_vms(state: &HostState) -> String {
    let mut out =
        "Vmid    Name                 File                      Guest OS          Version   Annotation\n".to_owned();
    let hardware = ["vmx-11", "vmx-13", "vmx-15", "vmx-19", "vmx-21"][state.release.column()];
    for vm in &state.vms {
        let file = format!("[datastore1] {0}/{0}.vmx", vm.name);
        out.push_str(&format!(
            "{:<7}{:<9}{file:<30}{:<24}{hardware}              \n",
            vm.id,
            format!("{}   ", vm.name),
            "otherLinux64Guest"
        ));
    }
    out
}

fn with_vm(state: &HostState, args: &[&str], go: impl Fn(&String) -> Result<String, String>) -> Answer {
    let id = args.first().and_then(|a| a.parse::<u32>().ok());
    match state.vms.iter().find(|v| Some(v.id) == id) {
        Some(vm) => match go(&vm.power) {
            Ok(text) => Answer::out(text),
            Err(text) => Answer::coded(text, 1),
        },
        None => Answer::coded(format!("Unable to find a VM corresponding to \"{}\"\n", args.first().unwrap_or(&"")), 1),
    }
}

fn power(state: &mut HostState, args: &[&str], from: &str, to: &str, text: &str) -> Answer {
    let check = with_vm(state, args, |power| {
        if power == from || (from == "off" && power == "suspended") {
            Ok(text.to_owned())
        } else {
            Err(format!("{text}Power operation failed\n"))
        }
    });
    if check.code == 0
        && let Some(id) = args.first().and_then(|a| a.parse::<u32>().ok())
    {
        for vm in state.vms.iter_mut().filter(|v| v.id == id) {
            vm.power = to.to_owned();
        }
    }
    check
}
