//! Whether ESXi can run here at all: the processor's flag, the module that uses it, its parameters, `/dev/kvm`.

use super::examine::wants_esxi;
use super::facts::{PARAMETERS, Parameter};
use super::fix::OUR_FILE;
use super::parse::{Cpu, group_name, modprobe_options, truth};
use super::{Area, Confidence, DevKvm, Finding, Fix, Level, Machine, ModuleFacts, Need};

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
fn level(need: &Need, level: Level) -> Level {
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
    // The parameters of a module that cannot carry ESXi decide nothing.
    if let Some((_, name)) = virtualisation.filter(|(_, m)| is_loaded(machine, m)) {
        let wanted = PARAMETERS.iter().filter(|p| p.module == "kvm" || p.module == name);
        findings.extend(wanted.map(|p| parameter(machine, need, p)));
        findings.extend(apicv(machine));
    } else {
        findings.extend(idle_parameters(machine, &cpu));
    }
    findings
}

/// The parameters where no module can carry ESXi: shown, so that nobody looks for them, and not judged.
fn idle_parameters(machine: &Machine, cpu: &Cpu<'_>) -> Option<Finding> {
    let likely = match cpu.virtualisation() {
        Some((_, module)) => module,
        None if matches!(cpu.vendor, "AuthenticAMD" | "HygonGenuine") => "kvm_amd",
        None => "kvm_intel",
    };
    let wanted = PARAMETERS.iter().filter(|p| p.module == "kvm" || p.module == likely);
    let list: Vec<String> = wanted
        .map(|p| {
            let value = machine.kvm_modules.get(p.module).and_then(|m| m.parameters.get(p.name));
            match value {
                Some(Some(value)) => format!("{}.{} = {value}", p.module, p.name),
                Some(None) => format!("{}.{} may not be read", p.module, p.name),
                None => format!("{}.{} is absent", p.module, p.name),
            }
        })
        .collect();
    (!list.is_empty()).then(|| {
        Finding::new(
            "kvm.parameters",
            Area::Kvm,
            Level::Note,
            list.join(", "),
            format!("they decide nothing while {likely} is not at work"),
        )
    })
}

fn module(machine: &Machine, need: &Need, virtualisation: Option<(&str, &str)>) -> Finding {
    let mut loaded: Vec<&str> = machine.kvm_modules.keys().map(String::as_str).collect();
    loaded.extend(listed(machine).filter(|m| *m == "kvm" || m.starts_with("kvm_")));
    loaded.sort_unstable();
    loaded.dedup();
    let list = if loaded.is_empty() { "no module of KVM".to_owned() } else { loaded.join(", ") };
    let Some((flag, module)) = virtualisation else {
        let pvm = if loaded.contains(&"kvm_pvm") {
            "; kvm_pvm runs guests without the processor's help and gives them no virtualisation of their own"
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
                "seen on a machine with kvm_pvm, where QEMU's own choice of KVM would have been wrong",
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
            "the module kvm makes this device whether or not the processor can run a guest; QEMU must be told \
             `-accel tcg` here, or it takes KVM",
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

/// A file of modprobe.d that sets the parameter, and to what.
fn configured(machine: &Machine, parameter: &Parameter) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, text) in &machine.modprobe_d {
        let options = modprobe_options(text, parameter.module).into_iter().filter(|(name, _)| name == parameter.name);
        found.extend(options.map(|(_, value)| (path.display().to_string(), value)));
    }
    found
}

fn parameter(machine: &Machine, need: &Need, wanted: &Parameter) -> Finding {
    let id = format!("kvm.{}", wanted.name);
    let full = format!("{}.{}", wanted.module, wanted.name);
    let value = if wanted.on { "1" } else { "0" };
    let known = |finding: Finding| finding.known(wanted.source, wanted.confidence);
    let Some(facts) = machine.kvm_modules.get(wanted.module) else {
        let seen = format!("/sys/module/{} is not there, so {full} cannot be read", wanted.module);
        return known(Finding::new(
            &id,
            Area::Kvm,
            Level::Note,
            seen,
            "nothing is known of it; that is not an error by itself",
        ));
    };
    let Some(now) = facts.parameters.get(wanted.name) else {
        let kernel = machine.kernel.as_deref().unwrap_or("of unknown version");
        let seen = format!("{full} is absent: this kernel ({kernel}) has no such parameter");
        return known(Finding::new(
            &id,
            Area::Kvm,
            Level::Note,
            seen,
            "older and newer kernels name their parameters differently; absent is not wrong",
        ));
    };
    let Some(now) = now else {
        let seen = format!("{full} may not be read by this user");
        return known(
            Finding::new(&id, Area::Kvm, Level::Note, seen, wanted.why).advice("run `lab doctor` as root to see it"),
        );
    };
    let set = configured(machine, wanted);
    let disagree = set.iter().find(|(_, value)| truth(value).is_some_and(|v| v != wanted.on));
    match truth(now) {
        Some(v) if v == wanted.on => right(machine, facts, wanted, &id, &format!("{full} = {now}"), &set, disagree),
        None => {
            let seen = format!("{full} = `{now}`, which is neither yes nor no");
            known(Finding::new(&id, Area::Kvm, Level::Note, seen, wanted.why))
        }
        Some(_) => {
            let mut finding = known(Finding::new(
                &id,
                Area::Kvm,
                level(need, wanted.level),
                format!("{full} = {now}, wanted {value}"),
                wanted.why,
            ));
            if finding.level == Level::Note && wanted.level != Level::Note {
                return finding;
            }
            let mut words = Vec::new();
            if wanted.live {
                words.push(format!("write {value} to /sys/module/{}/parameters/{}", wanted.module, wanted.name));
                finding.fixes.push(Fix::Parameter {
                    module: wanted.module.to_owned(),
                    parameter: wanted.name.to_owned(),
                    value: value.to_owned(),
                });
            }
            lasting(machine, facts, wanted, value, disagree, &mut words, &mut finding.fixes);
            if !wanted.live {
                reload(facts, wanted, value, disagree, &mut words, &mut finding.fixes);
            }
            finding.advice(words.join("; "))
        }
    }
}

/// The value is right now; will it be after the next boot?
fn right(
    machine: &Machine,
    facts: &ModuleFacts,
    wanted: &Parameter,
    id: &str,
    seen: &str,
    set: &[(String, String)],
    disagree: Option<&(String, String)>,
) -> Finding {
    let value = if wanted.on { "1" } else { "0" };
    if let Some((file, other)) = disagree {
        let seen = format!("{seen} now, but {file} says {}={other}", wanted.name);
        return Finding::new(
            id,
            Area::Kvm,
            Level::Warning,
            seen,
            format!("the next load of the module may bring it back: {}", wanted.why),
        )
        .advice(format!("change that line of {file}; esxprep does not touch other people's files"))
        .known(wanted.source, wanted.confidence);
    }
    let on_cmdline = machine.cmdline.as_deref().is_some_and(|line| {
        line.split_whitespace()
            .any(|word| word.split_once('=').is_some_and(|(k, _)| k == format!("{}.{}", wanted.module, wanted.name)))
    });
    if wanted.by_default || on_cmdline || !set.is_empty() {
        let where_from = set.last().map(|(file, _)| format!(" (also in {file})")).unwrap_or_default();
        return Finding::good(id, Area::Kvm, format!("{seen}{where_from}")).known(wanted.source, wanted.confidence);
    }
    let mut finding = Finding::new(
        id,
        Area::Kvm,
        Level::Note,
        format!("{seen} now, but nothing sets it for later boots"),
        "it was written by hand, and the next boot forgets it",
    )
    .known(wanted.source, wanted.confidence);
    let mut words = Vec::new();
    lasting(machine, facts, wanted, value, None, &mut words, &mut finding.fixes);
    finding.advice(words.join("; "))
}

/// For later boots: our own file, unless another file disagrees or the module is part of the kernel.
fn lasting(
    machine: &Machine,
    facts: &ModuleFacts,
    wanted: &Parameter,
    value: &str,
    disagree: Option<&(String, String)>,
    words: &mut Vec<String>,
    fixes: &mut Vec<Fix>,
) {
    let ours = format!("/{OUR_FILE}");
    if facts.built_in() {
        words.push(format!(
            "for later boots add {}.{}={value} to the kernel's command line: the module is built into this kernel and reads no \
             modprobe.d",
            wanted.module, wanted.name
        ));
    } else if let Some((file, other)) = disagree.filter(|(file, _)| *file != ours) {
        words.push(format!(
            "{file} says {}={other}: change that line by hand; esxprep does not touch other people's files",
            wanted.name
        ));
    } else if configured(machine, wanted).is_empty() || disagree.is_some() {
        words.push(format!("for later boots put `options {} {}={value}` into {ours}", wanted.module, wanted.name));
        fixes.push(Fix::Modprobe {
            module: wanted.module.to_owned(),
            parameter: wanted.name.to_owned(),
            value: value.to_owned(),
        });
    }
}

fn reload(
    facts: &ModuleFacts,
    wanted: &Parameter,
    value: &str,
    disagree: Option<&(String, String)>,
    words: &mut Vec<String>,
    fixes: &mut Vec<Fix>,
) {
    if facts.built_in() {
        words.push("it takes effect at the next boot".to_owned());
        return;
    }
    let users = facts.refcnt.as_deref().and_then(|n| n.trim().parse::<u64>().ok());
    match users {
        Some(0) if disagree.is_none_or(|(file, _)| *file == format!("/{OUR_FILE}")) => {
            words.push(format!("then load {0} again (`modprobe -r {0} && modprobe {0}`); no virtual machine uses it now", wanted.module));
            fixes.push(Fix::Reload {
                module: wanted.module.to_owned(),
                parameter: wanted.name.to_owned(),
                value: value.to_owned(),
            });
        }
        Some(0) => words.push(format!("then load {0} again (`modprobe -r {0} && modprobe {0}`)", wanted.module)),
        Some(n) => words.push(format!(
            "{} is in use ({n} virtual machines or other users), and a module in use cannot be loaded again: shut those down and \
             run `lab doctor --fix` again, or boot again",
            wanted.module
        )),
        None => words.push(format!("then load {} again, or boot again; whether a virtual machine uses it is not known", wanted.module)),
    }
}

/// Older recipes switched it off; that is worth a try when guests hang, and no more.
fn apicv(machine: &Machine) -> Option<Finding> {
    let now = machine.kvm_modules.get("kvm_intel")?.parameters.get("enable_apicv")?.as_deref()?;
    (truth(now) == Some(true)).then(|| {
        Finding::new(
            "kvm.enable_apicv",
            Area::Kvm,
            Level::Note,
            format!("kvm_intel.enable_apicv = {now}"),
            "older recipes for nested ESXi switched it off, newer ones do not mention it",
        )
        .advice("leave it; only if nested guests hang, try `options kvm_intel enable_apicv=0` in modprobe.d")
        .known("one public recipe for old kernels", Confidence::Medium)
    })
}
