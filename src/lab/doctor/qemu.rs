//! QEMU's version with its traps, and the programs that are called.

use std::collections::BTreeSet;

use super::examine::wants_esxi;
use super::facts::{QEMU_TRIED, Tool, Touches, When, qemu_traps, tools};
use super::parse::{QemuVersion, mount_of, os_release};
use super::{Area, Confidence, Finding, Level, Machine, Need, NetworkKind, Said};

/// QEMU's version, with the traps that this lab can fall into.
pub(super) fn version(machine: &Machine, need: &Need) -> Vec<Finding> {
    let text = match &machine.qemu_version {
        Said::Text(text) => text,
        // `programs` has the package to install.
        Said::Missing | Said::NotAsked => return Vec::new(),
        Said::Failed(why) => {
            return vec![
                Finding::new(
                    "qemu.version",
                    Area::Qemu,
                    Level::Error,
                    format!("qemu-system-x86_64 --version failed: {why}"),
                    "no guest can start",
                )
                .advice("install the package again; the message names what is missing"),
            ];
        }
    };
    let Some(version) = QemuVersion::parse(text) else {
        let first = text.lines().next().unwrap_or_default();
        return vec![
            Finding::new(
                "qemu.version",
                Area::Qemu,
                Level::Warning,
                format!("QEMU's version is not understood: `{first}`"),
                "which of its known traps apply is not known",
            )
            .known("the form `version N.N.N` since QEMU 2", Confidence::High),
        ];
    };
    let oldest = need.qemu_at_least.unwrap_or(QEMU_TRIED.0);
    let mut findings = Vec::new();
    let (major, minor) = oldest;
    let (newest_major, newest_minor) = QEMU_TRIED.1;
    findings.push(if !version.at_least(oldest) {
        Finding::new(
            "qemu.version",
            Area::Qemu,
            Level::Error,
            format!("QEMU {version}, wanted {major}.{minor} or later"),
            "arguments and monitor commands that the lab uses are not there",
        )
        .advice("install a newer QEMU (Debian: from backports)")
        .known("command lines are tried on QEMU 7.2 and 10.0", Confidence::High)
    } else if version.at_least((newest_major, newest_minor + 1)) {
        Finding::new(
            "qemu.version",
            Area::Qemu,
            Level::Note,
            format!("QEMU {version}, later than what esxprep was tried on ({newest_major}.{newest_minor})"),
            "nothing is known to be wrong with it",
        )
        .known("command lines are tried on QEMU 7.2 and 10.0", Confidence::High)
    } else {
        Finding::good("qemu.version", Area::Qemu, format!("QEMU {version}"))
    });
    for trap in qemu_traps() {
        let has = trap.from.is_none_or(|v| version.at_least(v)) && trap.below.is_none_or(|v| !version.at_least(v));
        let touched = match trap.touches {
            Touches::All => true,
            Touches::Vmxnet3 => need.vmxnet3,
            Touches::Sockets => need.networks.contains(&NetworkKind::Sockets),
        };
        // Without a lab every trap is worth knowing; with one, only its own.
        let level = if touched { trap.level } else { Level::Note };
        if has && (touched || need.guests.is_empty()) {
            findings.push(
                Finding::new(trap.id, Area::Qemu, level, format!("QEMU {version} {}", trap.what), trap.why)
                    .advice(trap.fix)
                    .known(trap.source, trap.confidence),
            );
        }
    }
    findings.extend(accels(machine, need));
    findings
}

fn accels(machine: &Machine, need: &Need) -> Option<Finding> {
    let text = machine.qemu_accels.text()?;
    let list: Vec<&str> = text.lines().skip(1).map(str::trim).filter(|l| !l.is_empty()).collect();
    let kvm = list.contains(&"kvm");
    (!kvm).then(|| {
        Finding::new(
            "qemu.accelerators",
            Area::Qemu,
            if wants_esxi(need) { Level::Error } else { Level::Note },
            format!("QEMU was built with: {}; not with kvm", list.join(", ")),
            "ESXi needs KVM",
        )
        .advice("install the distribution's own QEMU for x86")
    })
}

fn wanted(tool: &Tool, machine: &Machine, need: &Need) -> bool {
    match tool.when {
        When::Always => true,
        When::Iso => need.builds_iso,
        When::Network(kind) => need.networks.contains(&kind),
        When::Xfs => machine
            .folder
            .as_ref()
            .zip(machine.mountinfo.as_deref())
            .is_some_and(|(folder, mounts)| mount_of(mounts, &folder.existing).is_some_and(|m| m.kind == "xfs")),
        // Findings that need it say so themselves.
        When::Fix => false,
    }
}

/// Programs that are missing, with the package of this distribution.
pub(super) fn programs(machine: &Machine, need: &Need) -> Vec<Finding> {
    let release = machine.os_release.as_deref().map(os_release).unwrap_or_default();
    let like = format!("{} {}", release.get("ID").unwrap_or(&""), release.get("ID_LIKE").unwrap_or(&""));
    let is = |names: &[&str]| like.split_whitespace().any(|word| names.contains(&word));
    let mut findings = Vec::new();
    let mut said = BTreeSet::new();
    let mut there = Vec::new();
    for tool in tools() {
        let needed = wanted(tool, machine, need);
        // Without a lab it is worth knowing what some labs will need.
        let optional = need.guests.is_empty() && !needed && !matches!(tool.when, When::Xfs | When::Fix);
        if !(needed || optional) || !said.insert(tool.program) {
            continue;
        }
        if machine.programs.contains_key(tool.program) {
            there.push(tool.program);
            continue;
        }
        let (debian, fedora, arch) = (tool.debian, tool.fedora, tool.arch);
        let fix = if is(&["debian", "ubuntu"]) {
            format!("`apt install {debian}`")
        } else if is(&["fedora", "rhel", "centos"]) {
            format!("`dnf install {fedora}`")
        } else if is(&["arch"]) {
            format!("`pacman -S {arch}`")
        } else {
            format!("install {debian} (Debian), {fedora} (Fedora) or {arch} (Arch)")
        };
        let level = if needed && tool.when != When::Xfs { Level::Error } else { Level::Note };
        let why = match (tool.when, needed) {
            (_, true) => format!("it {}", tool.purpose),
            (When::Iso, _) => format!("it {}; only labs that install ESXi need it", tool.purpose),
            _ => format!("it {}; only labs with such a network need it", tool.purpose),
        };
        findings.push(
            Finding::new("tools.missing", Area::Tools, level, format!("{} is not installed", tool.program), why)
                .advice(fix)
                .known(
                    "package names: Debian's as seen on Debian 12, others from their package lists",
                    Confidence::Medium,
                ),
        );
    }
    if !there.is_empty() {
        findings.push(Finding::good("tools.there", Area::Tools, there.join(", ")));
    }
    findings
}
