//! The judgement: facts and needs in, findings out. No I/O.

use super::parse::{Cpu, truth};
use super::{Accelerator, Area, Confidence, DevKvm, Finding, Level, Machine, Need, Report, Totals};
use super::{budget, kvm, network, qemu, storage};

impl Finding {
    /// Something is as it should be.
    pub(super) fn good(id: &str, area: Area, seen: impl Into<String>) -> Self {
        Self::new(id, area, Level::Ok, seen, "")
    }

    pub(super) fn new(id: &str, area: Area, level: Level, seen: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            id: id.to_owned(),
            area,
            level,
            seen: seen.into(),
            why: why.into(),
            fix: None,
            fixes: Vec::new(),
            source: String::new(),
            confidence: Confidence::High,
        }
    }

    pub(super) fn advice(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(super) fn known(mut self, source: &str, confidence: Confidence) -> Self {
        self.source = source.to_owned();
        self.confidence = confidence;
        self
    }
}

/// Whether real ESXi is wanted: a lab with an ESXi host, or no lab at all, which asks what the machine can do.
pub(super) fn wants_esxi(need: &Need) -> bool {
    need.guests.is_empty() || need.guests.iter().any(|guest| guest.esxi.is_some())
}

/// What carries the guests, and whether real ESXi can run on it. A `/dev/kvm` that opens is the last thing asked, not
/// the first: it opens on machines whose processor can do nothing with it, and QEMU would choose KVM there.
pub fn accelerator(machine: &Machine) -> Accelerator {
    let tcg = |because: String| Accelerator { accel: "tcg", esxi: false, because };
    let Some(cpuinfo) = &machine.cpuinfo else {
        return tcg("/proc/cpuinfo cannot be read, so nothing is known of the processor".to_owned());
    };
    let Some((flag, module)) = Cpu::parse(cpuinfo).virtualisation() else {
        return tcg("the processor shows neither vmx nor svm".to_owned());
    };
    if !kvm::is_loaded(machine, module) {
        return tcg(format!("the processor has {flag}, but the kernel module {module} is not loaded"));
    }
    if machine.dev_kvm != DevKvm::Opens {
        return tcg("/dev/kvm cannot be opened".to_owned());
    }
    if machine.qemu_accels.text().is_some_and(|text| !text.split_whitespace().any(|word| word == "kvm")) {
        return tcg("this QEMU was built without KVM".to_owned());
    }
    let nested = machine.kvm_modules.get(module).and_then(|m| m.parameters.get("nested")).cloned().flatten();
    match nested.as_deref().map(truth) {
        Some(Some(true)) => Accelerator {
            accel: "kvm",
            esxi: true,
            because: format!("the processor has {flag}, {module} is loaded with nested virtualisation, /dev/kvm opens"),
        },
        Some(_) => Accelerator {
            accel: "kvm",
            esxi: false,
            because: format!("KVM works, but {module} is loaded without nested virtualisation"),
        },
        None => Accelerator {
            accel: "kvm",
            esxi: true,
            because: format!(
                "the processor has {flag}, {module} is loaded, /dev/kvm opens; whether nesting is on is not known"
            ),
        },
    }
}

/// Everything there is to say, by area, the worst first within each.
pub fn examine(machine: &Machine, need: &Need) -> Vec<Finding> {
    let mut findings = kvm::processor(machine, need);
    findings.extend(kvm::modules(machine, need));
    findings.extend(qemu::version(machine, need));
    findings.extend(budget::memory(machine, need));
    findings.extend(budget::cpus(machine, need));
    findings.extend(storage::disks(machine, need));
    findings.extend(network::networks(machine, need));
    findings.extend(network::macs(machine, need));
    findings.extend(network::ports(machine, need));
    findings.extend(qemu::programs(machine, need));
    findings.sort_by_key(|f| (f.area, std::cmp::Reverse(f.level)));
    findings
}

/// The findings with what follows from them.
pub fn report(machine: &Machine, need: &Need) -> Report {
    let findings = examine(machine, need);
    let mut totals = Totals::default();
    for finding in &findings {
        match finding.level {
            Level::Ok => totals.ok += 1,
            Level::Note => totals.notes += 1,
            Level::Warning => totals.warnings += 1,
            Level::Error => totals.errors += 1,
        }
    }
    Report { accelerator: accelerator(machine), findings, totals }
}
