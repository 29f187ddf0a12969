//! Room for disks, with the sums shown, and the file system under them.

use std::path::Path;

use super::budget::terms;
use super::facts::FILE_SYSTEMS;
use super::parse::{Mount, mount_of};
use super::{Area, Confidence, Finding, Fix, FolderFacts, Level, Machine, Need, Said};

/// Bytes for people: two figures after the point at most, in binary units.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() < 0.05 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// Room and file system. Says nothing when no folder was asked for.
pub(super) fn disks(machine: &Machine, need: &Need) -> Vec<Finding> {
    let Some(folder) = &machine.folder else { return Vec::new() };
    let mut findings = Vec::new();
    let mount = machine.mountinfo.as_deref().and_then(|text| mount_of(text, &folder.existing));
    if mount.as_ref().is_some_and(Mount::read_only) || !folder.writable {
        let (why, fix) = if mount.as_ref().is_some_and(Mount::read_only) {
            ("its file system is mounted read-only", "choose another folder, or mount it writable")
        } else {
            ("this user may not write there", "choose another folder, or have its owner changed")
        };
        let seen = format!("{} cannot be written", folder.existing.display());
        findings.push(Finding::new("disk.writable", Area::Disk, Level::Error, seen, why).advice(fix));
    }
    findings.extend(room(folder, need));
    match mount {
        Some(mount) => findings.push(file_system(folder, &mount)),
        None => findings.push(Finding::new(
            "disk.file_system",
            Area::Disk,
            Level::Note,
            "/proc/self/mountinfo cannot be read",
            "which file system the disks will be on is not known",
        )),
    }
    findings
}

fn room(folder: &FolderFacts, need: &Need) -> Vec<Finding> {
    let place = folder.existing.display();
    let Some(space) = folder.space else {
        let seen = format!("free space of {place} cannot be read");
        return vec![Finding::new("disk.room", Area::Disk, Level::Warning, seen, "whether the disks fit is not known")];
    };
    let free = format!("{} of {} are free on {place}", bytes(space.available), bytes(space.total));
    if need.disks.is_empty() {
        return vec![Finding::good("disk.room", Area::Disk, free)];
    }
    let list = |value: fn(&super::DiskNeed) -> u64| -> (Vec<(String, u64)>, u64) {
        let list: Vec<(String, u64)> = need.disks.iter().map(|d| (d.name.clone(), value(d))).collect();
        let sum = list.iter().fold(0u64, |sum, (_, n)| sum.saturating_add(*n));
        (list, sum)
    };
    let (now, now_sum) = list(|d| d.now);
    let (worst, worst_sum) = list(|d| d.worst.max(d.now));
    let at_once = format!("{} = {} at once; {free}", terms(&now, bytes), bytes(now_sum));
    let first = if now_sum > space.available {
        let why = format!("{} too much: the disks cannot even be made", bytes(now_sum - space.available));
        Finding::new("disk.room", Area::Disk, Level::Error, at_once, why)
            .advice("free some, choose a folder on a larger disk, or let the disks be linked clones instead of copies")
    } else {
        Finding::good("disk.room", Area::Disk, at_once)
    };
    let grown = format!("{} = {} if every disk fills up; {free}", terms(&worst, bytes), bytes(worst_sum));
    let second = if worst_sum > space.available {
        let why = format!(
            "{} more than there is: disks are thin and grow as guests write; when the file system is full, QEMU stops a \
             guest at its next write",
            bytes(worst_sum - space.available)
        );
        Finding::new("disk.growth", Area::Disk, Level::Warning, grown, why)
            .advice("keep an eye on free space, or make the data disks smaller")
    } else {
        Finding::good("disk.growth", Area::Disk, grown)
    };
    vec![first.known("", Confidence::High), second.known("", Confidence::High)]
}

fn file_system(folder: &FolderFacts, mount: &Mount) -> Finding {
    let place = folder.existing.display();
    let kind = mount.kind.as_str();
    let id = "disk.file_system";
    match kind {
        "btrfs" => return btrfs(folder, mount),
        "xfs" => {
            let reflink = match &folder.xfs_info {
                Said::Text(text) if text.contains("reflink=1") => Some(true),
                Said::Text(text) if text.contains("reflink=0") => Some(false),
                _ => None,
            };
            return match reflink {
                Some(true) => Finding::good(id, Area::Disk, format!("{place} is on xfs with reflinks: full clones take no time and no space"))
                    .known("seen on xfs with cp --reflink", Confidence::High),
                Some(false) => Finding::new(
                    id,
                    Area::Disk,
                    Level::Note,
                    format!("{place} is on xfs without reflinks"),
                    "clones are overlays on a shared base or full copies",
                )
                .advice("reflinks need `mkfs.xfs -m reflink=1`, the default since xfsprogs 5.1 (not verified); they cannot be added later"),
                None => Finding::new(
                    id,
                    Area::Disk,
                    Level::Note,
                    format!("{place} is on xfs; whether it has reflinks is not known"),
                    "clones are made the way that turns out to work",
                )
                .advice("`xfs_info` of its mount point shows `reflink=1` or `reflink=0`"),
            };
        }
        _ => {}
    }
    match FILE_SYSTEMS.iter().find(|fs| fs.kinds.contains(&kind)) {
        Some(fs) => {
            let seen = format!("{place} is on {kind}");
            let seen = if fs.level == Level::Ok { format!("{seen}; {}", fs.why) } else { seen };
            let why = if fs.level == Level::Ok { "" } else { fs.why };
            let mut finding = Finding::new(id, Area::Disk, fs.level, seen, why).known(fs.source, fs.confidence);
            finding.fix = fs.fix.map(str::to_owned);
            finding
        }
        None => Finding::new(
            id,
            Area::Disk,
            Level::Note,
            format!("{place} is on {kind}"),
            "nothing is known of it as a home for disks; clones are made the way that turns out to work",
        ),
    }
}

/// Copy on write under a disk image makes it crawl and fall into pieces. `nodatacow` as a mount option does for all.
fn btrfs(folder: &FolderFacts, mount: &Mount) -> Finding {
    let place = folder.existing.display();
    let id = "disk.btrfs_nocow";
    let source = "seen on btrfs with qemu-img 10.0.2; that images with copy on write get slow is told by many";
    let whole = [&mount.options, &mount.super_options].iter().any(|o| o.split(',').any(|o| o == "nodatacow"));
    if whole || folder.nocow == Some(true) {
        let how = if whole { "mounted nodatacow" } else { "the folder has the attribute C" };
        let inherits = if folder.exists || whole { "" } else { ", and what is made in it inherits that" };
        return Finding::good(id, Area::Disk, format!("{place} is on btrfs, {how}{inherits}; reflinks work inside it"))
            .known(source, Confidence::High);
    }
    let mut finding = Finding::new(
        id,
        Area::Disk,
        Level::Note,
        format!("{place} is on btrfs with copy on write"),
        "every write to a disk image goes to a new place, which gets slow. esxprep makes each disk with nocow=on, but such a \
         file cannot be a reflink of one in a folder without the attribute; in a folder that has it, both work. The price is \
         btrfs's checksums and compression for these files",
    )
    .known(source, Confidence::High);
    let path = shown(&folder.path);
    if folder.exists && folder.empty {
        finding.fixes.push(Fix::NoCow { folder: folder.existing.clone() });
        return finding.advice(format!("`chattr +C {path}`, now that it is empty"));
    }
    let words = if folder.exists {
        format!(
            "{path} is not empty, and files in it keep what they have: `chattr +C` a new folder and move the disks into it"
        )
    } else {
        format!("`mkdir -p {path} && chattr +C {path}` before the lab's first disk is made")
    };
    finding.advice(words)
}

fn shown(path: &Path) -> String {
    shell_words::quote(&path.to_string_lossy()).into_owned()
}
