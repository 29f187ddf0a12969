//! Memory and CPUs: what the guests want, what there is, with the sums shown.

use super::examine::accelerator;
use super::facts::QEMU_OVERHEAD_MIB;
use super::parse::{Cpu, meminfo};
use super::{Area, Confidence, Finding, Level, Machine, Need};

/// Terms of a sum that are shown one by one.
const SHOWN_TERMS: usize = 6;

/// `h1 8192 + h2 8192`; beyond a handful the rest are one term.
pub(super) fn terms(terms: &[(String, u64)], show: impl Fn(u64) -> String) -> String {
    let mut shown: Vec<String> =
        terms.iter().take(SHOWN_TERMS).map(|(name, value)| format!("{name} {}", show(*value))).collect();
    if terms.len() > SHOWN_TERMS {
        let rest = terms[SHOWN_TERMS..].iter().fold(0u64, |sum, (_, value)| sum.saturating_add(*value));
        shown.push(format!("{} more {}", terms.len() - SHOWN_TERMS, show(rest)));
    }
    shown.join(" + ")
}

/// Memory.
pub(super) fn memory(machine: &Machine, need: &Need) -> Vec<Finding> {
    let mib = |name: &str| machine.meminfo.as_deref().and_then(|text| meminfo(text, name)).map(|kib| kib / 1024);
    let (Some(available), Some(total)) = (mib("MemAvailable"), mib("MemTotal")) else {
        return vec![
            Finding::new(
                "budget.memory",
                Area::Budget,
                Level::Warning,
                "/proc/meminfo cannot be read, or has no MemAvailable",
                "whether the guests fit is not known",
            )
            .advice("mount /proc"),
        ];
    };
    let swap = mib("SwapFree").unwrap_or(0);
    let has = format!(
        "{available} MiB of {total} are available, {}",
        if swap > 0 { format!("{swap} MiB of swap are free") } else { "there is no swap".to_owned() }
    );
    let mut findings = Vec::new();
    if need.guests.is_empty() {
        findings.push(Finding::good("budget.memory", Area::Budget, has));
    } else {
        let list: Vec<(String, u64)> = need.guests.iter().map(|g| (g.name.clone(), g.memory_mib)).collect();
        let guests = need.guests.len() as u64;
        let wanted = list.iter().fold(guests * QEMU_OVERHEAD_MIB, |sum, (_, mib)| sum.saturating_add(*mib));
        let sum = format!(
            "{} + {guests} x {QEMU_OVERHEAD_MIB} for QEMU = {wanted} MiB wanted; {has}",
            terms(&list, |mib| mib.to_string())
        );
        let (level, why) = if wanted > available.saturating_add(swap) {
            (Level::Error, format!("{} MiB too much: the kernel would kill a guest", wanted - available - swap))
        } else if wanted > available {
            (
                Level::Warning,
                format!("{} MiB more than is available: guests would be swapped out and crawl", wanted - available),
            )
        } else if wanted > available / 10 * 9 {
            (Level::Warning, "little is left for everything else on this machine".to_owned())
        } else {
            (Level::Ok, String::new())
        };
        let finding = Finding::new("budget.memory", Area::Budget, level, sum, why)
            .known("QEMU's own memory as seen on QEMU 10.0.2 (39 to 62 MiB), rounded up", Confidence::High);
        findings.push(if level == Level::Ok {
            finding
        } else {
            finding.advice("give the hosts less memory, run fewer of them, or stop what else takes memory here")
        });
    }
    findings.extend(pages(machine, need));
    findings
}

fn pages(machine: &Machine, need: &Need) -> Vec<Finding> {
    let mut findings = Vec::new();
    let text = machine.meminfo.as_deref().unwrap_or_default();
    if let (Some(count @ 1..), Some(kib)) = (meminfo(text, "HugePages_Total"), meminfo(text, "Hugepagesize")) {
        findings.push(
            Finding::new(
                "budget.hugepages",
                Area::Budget,
                Level::Note,
                format!("{} MiB are set aside as huge pages ({count} x {kib} KiB)", count.saturating_mul(kib) / 1024),
                "guests of esxprep do not use them, and nothing else can use that memory",
            )
            .advice("`sysctl vm.nr_hugepages=0` gives it back, if nobody else wants it"),
        );
    }
    let thp = machine.thp.as_deref().and_then(|t| t.split_once('[')?.1.split_once(']')).map(|(chosen, _)| chosen);
    if let (Some("never"), false) = (thp, need.guests.is_empty()) {
        findings.push(
            Finding::new(
                "budget.transparent_hugepages",
                Area::Budget,
                Level::Note,
                "transparent huge pages are switched off",
                "guests run somewhat slower: QEMU asks for huge pages and gets none",
            )
            .advice("`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled` as root")
            .known("from memory; not measured", Confidence::Low),
        );
    }
    findings
}

/// CPUs.
pub(super) fn cpus(machine: &Machine, need: &Need) -> Vec<Finding> {
    let count = machine.cpuinfo.as_deref().map_or(0, |text| Cpu::parse(text).count) as u64;
    if need.guests.is_empty() || count == 0 {
        return Vec::new();
    }
    let list: Vec<(String, u64)> = need.guests.iter().map(|g| (g.name.clone(), u64::from(g.vcpus))).collect();
    let wanted: u64 = list.iter().map(|(_, n)| n).sum();
    let ratio = wanted as f64 / count as f64;
    let seen = format!("{} = {wanted} virtual CPUs on {count} ({ratio:.1} each)", terms(&list, |n| n.to_string()));
    let (level, why) = if ratio > 4.0 {
        (
            Level::Warning,
            "guests wait for each other; time limits of installers and of ESXi's own services may be missed",
        )
    } else if ratio > 1.0 {
        (Level::Note, "guests share CPUs: fine while they idle, slow while they install")
    } else {
        (Level::Ok, "")
    };
    let mut findings = vec![
        Finding::new("budget.cpus", Area::Budget, level, seen, why)
            .known("a rule of thumb; not measured with ESXi", Confidence::Low),
    ];
    if let Some(last) = findings.last_mut().filter(|f| f.level == Level::Warning) {
        last.fix = Some("run fewer hosts at a time, or give them fewer CPUs (ESXi wants 2)".to_owned());
    }
    for guest in need.guests.iter().filter(|g| u64::from(g.vcpus) > count) {
        findings.push(
            Finding::new(
                "budget.guest_cpus",
                Area::Budget,
                Level::Warning,
                format!("{} has {} CPUs, this machine {count}", guest.name, guest.vcpus),
                "a guest's CPUs then wait for each other while they hold locks, which is much slower than fewer CPUs",
            )
            .advice(format!("give it {count} or fewer"))
            .known("follows from how guests lock; not measured", Confidence::Low),
        );
    }
    if accelerator(machine).accel == "tcg" {
        findings.push(
            Finding::new(
                "budget.emulated",
                Area::Budget,
                Level::Note,
                "guests run with software emulation",
                "a stand-in guest takes about 8 seconds of CPU to boot instead of less than one",
            )
            .known("seen on QEMU 10.0.2", Confidence::High),
        );
    }
    findings
}
