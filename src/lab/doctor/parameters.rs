//! Parameters of KVM's modules: what each is, what nested ESXi wants, and how to have it now and for later boots.

use super::facts::{PARAMETERS, Parameter};
use super::fix::OUR_FILE;
use super::kvm::{is_loaded, level};
use super::parse::{Cpu, modprobe_options, truth};
use super::{Area, Confidence, Finding, Fix, Level, Machine, ModuleFacts, Need};

/// The parameters. Those of a module that cannot carry ESXi decide nothing, and are shown unjudged.
pub(super) fn parameters(machine: &Machine, need: &Need, cpu: &Cpu<'_>) -> Vec<Finding> {
    let Some((_, name)) = cpu.virtualisation().filter(|(_, m)| is_loaded(machine, m)) else {
        return idle_parameters(machine, cpu).into_iter().collect();
    };
    let wanted = PARAMETERS.iter().filter(|p| p.module == "kvm" || p.module == name);
    let mut findings: Vec<Finding> = wanted.map(|p| parameter(machine, need, p)).collect();
    findings.extend(apicv(machine));
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
