//! Whether ESXi can run here at all: the processor's flag, the module that uses it, `/dev/kvm`.

use super::examine::wants_esxi;
use super::parameters::parameters;
use super::parse::{Cpu, group_name};
use super::{Area, Confidence, DevKvm, Finding, Level, Machine, ModuleFacts, Need};

const LOOKED: &str = "read from this machine";
const TCG_ONLY: &str = "nested virtualisation is impossible on this machine, so real ESXi cannot run here; the stand-in guest \
                        can, with software emulation (`-accel tcg`)";

/// Whether a module is there, loaded or built in. `/proc/modules` is absent where a kernel cannot load modules, and
/// `/sys/module` shows a built-in module only when it has parameters; either is proof.
pub(super) fn is_loaded(machine: &Machine, module: &str) -> bool {
    machine.kvm_modules.contains_key(module) || listed(machine).any(|name| name == module)
}

fn listed(machine: &Machine) -> impl Iterator<Item = &str> {
    let lines = machine.modules.as_deref().unwrap_or_default().lines();
    lines.filter_map(|line| line.split_whitespace().next())
}

/// An error for labs with real ESXi is no more than worth knowing where there are stand-in guests only.
pub(super) fn level(need: &Need, level: Level) -> Level {
    if wants_esxi(need) { level } else { level.min(Level::Note) }
}

/// The processor.
pub(super) fn processor(machine: &Machine, need: &Need) -> Vec<Finding> {
    let Some(text) = &machine.cpuinfo else {
        return vec![
            Finding::new(
                "cpu.virtualisation",
                Area::Processor,
                level(need, Level::Error),
                "/proc/cpuinfo cannot be read",
                "without it nothing is known of the processor, and KVM is not used",
            )
            .advice("mount /proc"),
        ];
    };
    let cpu = Cpu::parse(text);
    let name = match (cpu.model, cpu.vendor) {
        ("", "") => "a processor of unknown make".to_owned(),
        (model, vendor) => format!("{model} ({vendor}), {} CPUs", cpu.count),
    };
    let mut findings = vec![match cpu.virtualisation() {
        Some((flag, _)) => Finding::good("cpu.virtualisation", Area::Processor, format!("{name}: has {flag}"))
            .known(LOOKED, Confidence::High),
        None => no_virtualisation(&cpu, &name, need),
    }];
    if let Some((flag, _)) = cpu.virtualisation() {
        findings.extend(second_level(&cpu, flag, need));
        if cpu.flags.contains("hypervisor") {
            findings.push(
                Finding::new(
                    "cpu.virtual_machine",
                    Area::Processor,
                    Level::Note,
                    "this machine is itself virtual",
                    "guests inside nested ESXi are then three levels deep: slow, and seldom tried by anyone",
                )
                .known("follows from the flag `hypervisor`; not tried", Confidence::Low),
            );
        }
    }
    findings.extend(hybrid(machine, need));
    let clock = machine.clocksource.as_deref().map(str::trim);
    if let (Some(clock), true, Some(_)) = (clock.filter(|c| *c != "tsc"), wants_esxi(need), cpu.virtualisation()) {
        findings.push(
            Finding::new(
                "cpu.clocksource",
                Area::Processor,
                Level::Warning,
                format!("the kernel's clock is `{clock}`, not `tsc`"),
                "the kernel found the processor's time stamp counter unreliable; guests that use it may lose time",
            )
            .advice("look in the kernel's log for why (`dmesg | grep -i tsc`)")
            .known("follows from how KVM gives guests the time; not verified with ESXi", Confidence::Low),
        );
    }
    findings
}

fn no_virtualisation(cpu: &Cpu<'_>, name: &str, need: &Need) -> Finding {
    let amd = matches!(cpu.vendor, "AuthenticAMD" | "HygonGenuine");
    let (flag, module, firmware) = if amd { ("svm", "kvm_amd", "SVM") } else { ("vmx", "kvm_intel", "VT-x") };
    let other = if amd { "vmx" } else { "svm" };
    let inside = cpu.flags.contains("hypervisor");
    let seen = if inside {
        format!(
            "{name}: no `{flag}` among its flags, nor `{other}`; the flag `hypervisor` is there, so this machine is itself virtual"
        )
    } else {
        format!("{name}: no `{flag}` among its flags, nor `{other}`")
    };
    let why = format!(
        "KVM runs guests with the processor's own virtualisation, and this one shows none: {TCG_ONLY}. Real ESXi under \
         software emulation is not known to work anywhere"
    );
    let fix = if inside {
        format!(
            "switch nested virtualisation on in the hypervisor that runs this machine (KVM: {module} nested=1 and \
             `-cpu host`; VMware: \"Expose hardware assisted virtualization to the guest OS\"; a cloud: a kind of machine that \
             offers it, or bare metal), or use a physical machine. Nothing on this machine itself can change it"
        )
    } else {
        format!(
            "switch {firmware} on in the firmware's setup and boot again; if it is not offered there, use another machine"
        )
    };
    let fix = if wants_esxi(need) {
        fix
    } else {
        format!("nothing for this lab, which has stand-in guests only. For real ESXi: {fix}")
    };
    Finding::new("cpu.virtualisation", Area::Processor, level(need, Level::Error), seen, why)
        .advice(fix)
        .known(LOOKED, Confidence::High)
}

/// ept and npt, as the processor shows them. On Intel newer kernels have them in a line of their own.
fn second_level(cpu: &Cpu<'_>, flag: &str, need: &Need) -> Option<Finding> {
    let pages = if flag == "vmx" { "ept" } else { "npt" };
    let has = cpu.flags.contains(pages) || cpu.vmx_flags.contains(pages);
    if has {
        return Some(Finding::good(
            "cpu.second_level",
            Area::Processor,
            format!("has {pages} (page tables of guests in hardware)"),
        ));
    }
    Some(
        Finding::new(
            "cpu.second_level",
            Area::Processor,
            level(need, Level::Warning),
            format!("no {pages} among the flags"),
            "page tables of guests are then kept in software: nested guests are slow, and 64-bit ones may not start",
        )
        .advice("if this machine is virtual, let its hypervisor pass the processor through (`-cpu host`); else use a newer one")
        .known("the article that this tool began with, and one more public recipe", Confidence::Medium),
    )
}

fn hybrid(machine: &Machine, need: &Need) -> Option<Finding> {
    let seen = match &machine.hybrid {
        (Some(fast), Some(small)) => {
            format!("two kinds of cores: performance {}, efficiency {}", fast.trim(), small.trim())
        }
        _ if machine.capacities.len() > 1 => {
            format!("cores of different capacity ({})", machine.capacities.join(", "))
        }
        _ => return None,
    };
    Some(
        Finding::new(
            "cpu.hybrid",
            Area::Processor,
            level(need, Level::Warning),
            seen,
            "ESXi compares its CPUs when it boots and shows a purple screen (\"fatal CPU mismatch\") when they differ",
        )
        .advice(
            "boot ESXi with cpuUniformityHardCheckPanic=FALSE, in the installer and in the installed system, or keep a guest's \
             CPUs on cores of one kind",
        )
        .known("two public reports", Confidence::High),
    )
}

/// The modules, their parameters and the device.
pub(super) fn modules(machine: &Machine, need: &Need) -> Vec<Finding> {
    let cpu = machine.cpuinfo.as_deref().map(Cpu::parse).unwrap_or_default();
    let virtualisation = cpu.virtualisation();
    let mut findings = vec![module(machine, need, virtualisation)];
    findings.push(device(machine, need, virtualisation.is_some_and(|(_, m)| is_loaded(machine, m))));
    findings.extend(parameters(machine, need, &cpu));
    findings
}

fn module(machine: &Machine, need: &Need, virtualisation: Option<(&str, &str)>) -> Finding {
    let mut loaded: Vec<&str> = machine.kvm_modules.keys().map(String::as_str).collect();
    loaded.extend(listed(machine).filter(|m| *m == "kvm" || m.starts_with("kvm_")));
    loaded.sort_unstable();
    loaded.dedup();
    let list = if loaded.is_empty() { "no module of KVM".to_owned() } else { loaded.join(", ") };
    let Some((flag, module)) = virtualisation else {
        let pvm = if loaded.contains(&"kvm_pvm") {
            "; kvm_pvm does without it, but gives guests no virtualisation of their own"
        } else {
            ""
        };
        let seen = match loaded.iter().find(|m| matches!(**m, "kvm_intel" | "kvm_amd")) {
            Some(module) => format!("the kernel has {list}, but the processor shows no flag for {module}"),
            None => format!("the kernel has {list}, but neither kvm_intel nor kvm_amd"),
        };
        let why = format!("only kvm_intel and kvm_amd carry ESXi, and they need the processor's flag{pvm}");
        return Finding::new("kvm.module", Area::Kvm, level(need, Level::Error), seen, why)
            .advice("first the processor (above); no module can stand in for it")
            .known(
                "seen on a machine with kvm_pvm; what that module does is from its public description, not tried",
                Confidence::High,
            );
    };
    if is_loaded(machine, module) {
        let built_in = machine.kvm_modules.get(module).is_some_and(ModuleFacts::built_in);
        let how = if built_in { " (built into the kernel)" } else { "" };
        return Finding::good("kvm.module", Area::Kvm, format!("{module} is loaded{how}"));
    }
    if !machine.sys_module && machine.modules.is_none() {
        return Finding::new(
            "kvm.module",
            Area::Kvm,
            level(need, Level::Warning),
            "neither /sys/module nor /proc/modules can be read",
            format!("whether {module} is loaded is not known, and KVM is not used"),
        )
        .advice("mount /sys; in a container, ask outside of it");
    }
    Finding::new(
        "kvm.module",
        Area::Kvm,
        level(need, Level::Error),
        format!("the processor has {flag}, but {module} is not loaded (the kernel has {list})"),
        "without it guests run with software emulation only, in which ESXi is not known to work",
    )
    .advice(format!(
        "`modprobe {module}` as root; where that says \"Operation not supported\", virtualisation is switched off in the \
         firmware's setup; where it says \"not found\", the kernel's package for modules is missing, or another version of \
         the kernel is running than is installed (boot again)"
    ))
    .known(LOOKED, Confidence::High)
}

fn device(machine: &Machine, need: &Need, carried: bool) -> Finding {
    let finding = |level, seen: String, why: &str| Finding::new("kvm.device", Area::Kvm, level, seen, why);
    match &machine.dev_kvm {
        DevKvm::Opens if carried => Finding::good("kvm.device", Area::Kvm, "/dev/kvm opens"),
        DevKvm::Opens => finding(
            Level::Note,
            "/dev/kvm opens, which proves nothing".to_owned(),
            "the device says nothing of the processor (kvm_pvm makes it too); QEMU must be told `-accel tcg` here, or it \
             takes KVM",
        )
        .known("seen on a machine without svm, where it opened and QEMU would have chosen it", Confidence::High),
        DevKvm::Absent => {
            let bad = if carried { level(need, Level::Error) } else { Level::Note };
            finding(bad, "there is no /dev/kvm".to_owned(), "QEMU reaches KVM through it")
                .advice("in a container, pass the device in; else load kvm_intel or kvm_amd")
        }
        DevKvm::Denied { mode, gid } => {
            let group = machine.group_file.as_deref().and_then(|file| group_name(file, *gid));
            let bad = if carried { level(need, Level::Error) } else { Level::Note };
            let named = group.map_or_else(|| format!("group {gid}"), |g| format!("group {g}"));
            let seen = format!("/dev/kvm may not be opened by this user (mode {mode:o}, {named})");
            // A group can help only if it may read and write, and root's is nobody's to join.
            let fix = match group.filter(|_| mode & 0o060 == 0o060 && *gid != 0) {
                Some(_) if machine.groups.contains(gid) => {
                    "this user is in that group, so something else forbids it: an ACL, or a sandbox".to_owned()
                }
                Some(group) => format!("`usermod -aG {group} USER` as root, then log in again"),
                None => "give the device a group that may use it: a udev rule `KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"`, or \
                         for now `setfacl -m u:USER:rw /dev/kvm` as root"
                    .to_owned(),
            };
            finding(bad, seen, "QEMU runs as this user and reaches KVM through it").advice(fix)
        }
        DevKvm::Fails(error) => {
            let bad = if carried { level(need, Level::Error) } else { Level::Note };
            finding(bad, format!("/dev/kvm cannot be opened: {error}"), "QEMU reaches KVM through it")
                .advice("look in the kernel's log (`dmesg | grep -i kvm`); in a container, the device must be allowed")
        }
    }
}
