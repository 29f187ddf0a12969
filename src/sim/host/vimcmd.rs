//! vim-cmd: object dumps in its own notation, task names, services, hostd's options.
//!
//! The notation (`(vim.host.Summary) {`, `key = value, `, `<unset>`) is documented and partly recorded; full dumps
//! of hostsummary and hostconfig were not recorded, so they hold the parts that tools read.

use super::cmd::system::maintenance;
use super::cmd::{is_ipv4, timestamp};
use super::factory::hardening::service;
use super::state::{HostState, Release};
use super::{Answer, Call, Effect, advopt, dump, hostconfig};

pub(super) fn run(state: &mut HostState, call: &Call<'_>) -> Answer {
    let mut words: Vec<&str> = call.argv.iter().skip(1).map(String::as_str).collect();
    let mut user = "root";
    // Options stand in front; of those with a value only the user is of interest.
    while let Some(option) = words.first().filter(|w| w.starts_with('-')) {
        let takes = ["-U", "-P", "-H", "-C"].contains(option);
        if *option == "-U" {
            user = words.get(1).copied().unwrap_or("");
        }
        words.drain(..words.len().min(if takes { 2 } else { 1 }));
    }
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
        "hostsvc/hostconfig" => hostconfig::config(state, call),
        "hostsvc/advopt/view" => advopt::view(state, call, args),
        "hostsvc/advopt/update" => advopt::update(state, call, args),
        "hostsvc/advopt/settings" => Answer::out(dump::print(state.release, &advopt::all(state, call))),
        "hostsvc/advopt/options" => advopt::definitions(state, call),
        "vimsvc/auth/lockdown_is_enabled" => Answer::out(format!("{}\n", state.guard.lockdown != "lockdownDisabled")),
        "vimsvc/auth/lockdown_mode_enter" => lockdown(state, user, true),
        "vimsvc/auth/lockdown_mode_exit" => lockdown(state, user, false),
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
pub(super) fn fault(kind: &str, message: &str) -> Answer {
    Answer::coded(
        format!(
            "({kind}) {{\n   faultCause = (vmodl.MethodFault) null, \n   faultMessage = <unset>\n   msg = \"{message}\"\n}}\n"
        ),
        1,
    )
}

fn firmware_uuid(hex: &str) -> String {
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn summary(state: &HostState) -> String {
    let nested = [
        "(vim.host.Summary) {".to_owned(),
        "   host = 'vim.HostSystem:ha-host', ".into(),
        "   hardware = (vim.host.Summary.HardwareSummary) {".into(),
        "      vendor = \"QEMU\", ".into(),
        "      model = \"Standard PC (i440FX + PIIX, 1996)\", ".into(),
        // The firmware's UUID (vSphere API, `HostHardwareSummary.uuid`), not the one that ESXi made at its installation.
        format!("      uuid = \"{}\", ", firmware_uuid(&state.bios_uuid)),
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
        // Which server: an address of the documents'.
        format!("   managementServerIp = {}, ", if state.guard.vcenter { "\"192.0.2.250\"" } else { "<unset>" }),
        "   maxEVCModeKey = <unset>, ".into(),
        "   currentEVCModeKey = <unset>".into(),
        "}".into(),
    ];
    let old = state.release < Release::V67;
    nested.iter().filter(|l| !(old && l.contains("inQuarantineMode"))).map(|l| format!("{l}\n")).collect()
}

/// Normal lockdown mode, on and off. Silent (recorded on 5.x). A host that no vCenter Server manages refuses: the
/// fault is the one of the API's documents; that vim-cmd meets it, and who may call, is not verified.
fn lockdown(state: &mut HostState, user: &str, on: bool) -> Answer {
    if !state.guard.vcenter {
        return fault("vim.fault.DisableAdminNotSupported", "");
    }
    if user != "dcui" {
        return fault("vim.fault.NoPermission", "Permission to perform this operation was denied.");
    }
    let (now, next) = (state.guard.lockdown.clone(), if on { "lockdownNormal" } else { "lockdownDisabled" });
    if on && now != "lockdownDisabled" {
        return fault("vim.fault.AdminDisabled", "");
    }
    if !on && now == "lockdownDisabled" {
        return fault("vim.fault.AdminNotDisabled", "");
    }
    state.guard.lockdown = next.into();
    if on { Answer::default().with(Effect::LockedDown) } else { Answer::default() }
}

fn policy(state: &mut HostState, script: &str, word: &str) -> Answer {
    if let Some(service) = state.service_mut(script) {
        service.policy = word.into();
    }
    Answer::default()
}

/// From 8.0 U2 on a ruleset that a person cannot switch follows its service (documented).
fn follow(state: &mut HostState, script: &str, on: bool) {
    if state.release < Release::V80 {
        return;
    }
    for name in service(script).map(|s| s.rulesets.clone()).unwrap_or_default() {
        if super::factory::firewall::shipped(name).is_some_and(|r| !r.switchable)
            && let Some(ruleset) = state.firewall.rulesets.iter_mut().find(|r| r.name == name)
        {
            ruleset.enabled = on;
        }
    }
}

/// Starts or stops a service.
pub(super) fn switch(state: &mut HostState, script: &str, on: bool) -> Answer {
    let Some(service) = state.service_mut(script) else { return Answer::default() };
    let changed = service.running != on;
    service.running = on;
    if changed {
        follow(state, script, on);
    }
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
