//! What the doctor knows, as data: each fact with its reason, source and confidence.

use serde::Serialize;

use super::{Confidence, Level, NetworkKind};

/// When a program is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// By every lab.
    Always,
    /// Where an ISO is rebuilt.
    Iso,
    /// With this kind of network.
    Network(NetworkKind),
    /// Only to look at XFS.
    Xfs,
    /// For `--fix` on KVM's modules.
    Fix,
}

/// A program that is called, and the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Its name.
    pub program: &'static str,
    /// When it is needed.
    pub when: When,
    /// What for.
    pub purpose: &'static str,
    /// The package on Debian and Ubuntu. Seen on Debian 12.
    pub debian: &'static str,
    /// The package on Fedora and RHEL. From their package lists; not installed by us.
    pub fedora: &'static str,
    /// The package on Arch. From its package list; not installed by us.
    pub arch: &'static str,
}

const fn tool(program: &'static str, when: When, purpose: &'static str, packages: [&'static str; 3]) -> Tool {
    let [debian, fedora, arch] = packages;
    Tool { program, when, purpose, debian, fedora, arch }
}

const BRIDGE: When = When::Network(NetworkKind::Bridge);
const OVS: When = When::Network(NetworkKind::Ovs);
const OVS_PACKAGES: [&str; 3] = ["openvswitch-switch", "openvswitch", "openvswitch"];
const IPROUTE: [&str; 3] = ["iproute2", "iproute", "iproute2"];

static TOOLS: &[Tool] = &[
    tool(
        "qemu-system-x86_64",
        When::Always,
        "runs the guests",
        ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86"],
    ),
    tool("qemu-img", When::Always, "makes and clones disks", ["qemu-utils", "qemu-img", "qemu-img"]),
    tool("xorriso", When::Iso, "rebuilds the installer's ISO", ["xorriso", "xorriso", "libisoburn"]),
    tool("ip", BRIDGE, "makes bridges and taps", IPROUTE),
    tool("bridge", BRIDGE, "shows which MAC is on which port", IPROUTE),
    tool("ip", OVS, "makes taps", IPROUTE),
    tool("ovs-vsctl", OVS, "sets up Open vSwitch", OVS_PACKAGES),
    tool("ovsdb-server", OVS, "keeps Open vSwitch's settings", OVS_PACKAGES),
    tool("ovsdb-tool", OVS, "makes a private database for Open vSwitch", OVS_PACKAGES),
    tool("ovs-vswitchd", OVS, "switches frames", OVS_PACKAGES),
    tool("ovs-appctl", OVS, "shows Open vSwitch's MAC table", OVS_PACKAGES),
    tool("xfs_info", When::Xfs, "tells whether XFS has reflinks", ["xfsprogs", "xfsprogs", "xfsprogs"]),
    tool("modprobe", When::Fix, "loads KVM's modules again with other parameters", ["kmod", "kmod", "kmod"]),
];

/// Every program that is called.
pub fn tools() -> &'static [Tool] {
    TOOLS
}

/// What a trap of QEMU touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Touches {
    /// Every lab.
    All,
    /// Labs with a vmxnet3.
    Vmxnet3,
    /// Labs whose guests are connected by sockets.
    Sockets,
}

/// Something that is wrong with, or missing from, some versions of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QemuTrap {
    /// Stable name.
    pub id: &'static str,
    /// The first version that has it.
    pub from: Option<(u32, u32)>,
    /// The first version that no longer has it.
    pub below: Option<(u32, u32)>,
    /// What it touches.
    pub touches: Touches,
    /// How bad it is for a lab that it touches.
    pub level: Level,
    /// In a few words.
    pub what: &'static str,
    /// What happens.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// How well it is known.
    pub confidence: Confidence,
}

static QEMU_TRAPS: &[QemuTrap] = &[
    QemuTrap {
        id: "qemu.dgram",
        from: None,
        below: Some((7, 2)),
        touches: Touches::Sockets,
        level: Level::Error,
        what: "has no sockets between guests",
        why: "`-netdev dgram` and `-netdev stream`, which connect guests without root, came with QEMU 7.2",
        fix: "take QEMU 7.2 or later, or connect the guests by bridge or Open vSwitch",
        source: "QEMU's release notes; both are there in 7.2.22",
        confidence: Confidence::High,
    },
    QemuTrap {
        id: "qemu.screenshot",
        from: None,
        below: Some((7, 1)),
        touches: Touches::All,
        level: Level::Note,
        what: "takes screenshots as PPM, not PNG",
        why: "screendump writes PNG since QEMU 7.1; before that screenshots are PPM",
        fix: "take QEMU 7.1 or later if PNG is wanted",
        source: "QEMU's release notes, from memory",
        confidence: Confidence::Low,
    },
    QemuTrap {
        id: "qemu.vmxnet3_short_frames",
        from: Some((8, 1)),
        below: None,
        touches: Touches::Vmxnet3,
        level: Level::Warning,
        what: "hands short frames to a vmxnet3 unpadded",
        why: "since 8.1 vmxnet3 no longer pads short frames: a 42-byte ARP request reaches the guest with 50 bytes over a \
              tap and 42 over dgram, and ESXi drops what is under 60, so ARP goes unanswered",
        fix: "use e1000e (ESXi 6.5 and later), or vmxnet3 with `vnet_hdr=off` on a tap; never vmxnet3 on dgram or stream",
        source: "QEMU commit c445f200ad24; lengths seen on QEMU 10.0.2; that ESXi drops them is told by one source",
        confidence: Confidence::High,
    },
    QemuTrap {
        id: "qemu.vmxnet3_mtu",
        from: None,
        below: Some((7, 2)),
        touches: Touches::Vmxnet3,
        level: Level::Warning,
        what: "aborts when a guest sets MTU 9000 on vmxnet3",
        why: "before 7.2 QEMU aborts when a guest sets MTU 9000 on vmxnet3",
        fix: "take QEMU 7.2 or later, stay at MTU 1500, or use e1000e",
        source: "qemu-devel, August 2022; MTU 9000 survives in 7.2.22 and 10.0.2",
        confidence: Confidence::High,
    },
];

/// Every trap.
pub fn qemu_traps() -> &'static [QemuTrap] {
    QEMU_TRAPS
}

/// The oldest QEMU that command lines are tried on, and the newest.
pub(super) const QEMU_TRIED: ((u32, u32), (u32, u32)) = ((7, 2), (10, 0));

/// A parameter of a KVM module, and the value that nested ESXi wants.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parameter {
    pub module: &'static str,
    pub name: &'static str,
    pub on: bool,
    /// How bad another value is for real ESXi.
    pub level: Level,
    /// Whether writing the file in /sys is enough; otherwise the module must be loaded again.
    pub live: bool,
    /// Whether kernels have the wanted value without being asked, so that nothing need be written for later boots.
    pub by_default: bool,
    pub why: &'static str,
    pub source: &'static str,
    pub confidence: Confidence,
}

const NESTED: &str = "without it a guest sees no virtualisation of its own: nested ESXi can start no virtual machine";
const NESTED_SOURCE: &str = "every public recipe; on by default since Linux 4.20 (not verified)";
const PAGES: &str = "without it nested guests run without hardware page tables: slow, and 64-bit ones may not start";
const PAGES_SOURCE: &str = "the article that this tool began with, and one more public recipe";

pub(super) static PARAMETERS: &[Parameter] = &[
    Parameter {
        module: "kvm",
        name: "ignore_msrs",
        on: true,
        level: Level::Warning,
        live: true,
        by_default: false,
        why: "ESXi reads model-specific registers that KVM does not have; not ignored, that is a fault and a purple screen",
        source: "several public recipes",
        confidence: Confidence::High,
    },
    Parameter {
        module: "kvm",
        name: "report_ignored_msrs",
        on: false,
        level: Level::Note,
        live: true,
        by_default: false,
        why: "the kernel's log fills with the registers that were ignored; harmless otherwise",
        source: "several public recipes",
        confidence: Confidence::Medium,
    },
    Parameter {
        module: "kvm_intel",
        name: "nested",
        on: true,
        level: Level::Error,
        live: false,
        by_default: true,
        why: NESTED,
        source: NESTED_SOURCE,
        confidence: Confidence::High,
    },
    Parameter {
        module: "kvm_amd",
        name: "nested",
        on: true,
        level: Level::Error,
        live: false,
        by_default: true,
        why: NESTED,
        source: NESTED_SOURCE,
        confidence: Confidence::High,
    },
    Parameter {
        module: "kvm_intel",
        name: "ept",
        on: true,
        level: Level::Warning,
        live: false,
        by_default: true,
        why: PAGES,
        source: PAGES_SOURCE,
        confidence: Confidence::Medium,
    },
    Parameter {
        module: "kvm_amd",
        name: "npt",
        on: true,
        level: Level::Warning,
        live: false,
        by_default: true,
        why: PAGES,
        source: PAGES_SOURCE,
        confidence: Confidence::Medium,
    },
];

/// Memory that QEMU takes beside its guest's, MiB. Seen on QEMU 10.0.2: 39 for an idle machine, up to 62 with software
/// emulation; rounded up.
pub(super) const QEMU_OVERHEAD_MIB: u64 = 100;

/// What is said of a file system as a home for disks.
#[derive(Debug, Clone, Copy)]
pub(super) struct FileSystem {
    pub kinds: &'static [&'static str],
    pub level: Level,
    pub why: &'static str,
    pub fix: Option<&'static str>,
    pub source: &'static str,
    pub confidence: Confidence,
}

/// btrfs and xfs are looked at more closely and are not in this table.
pub(super) static FILE_SYSTEMS: &[FileSystem] = &[
    FileSystem {
        kinds: &["ext4", "ext3", "ext2"],
        level: Level::Ok,
        why: "no reflinks here: clones are overlays on a shared base (instant, 256 KiB) or full copies",
        fix: None,
        source: "seen on ext4 with qemu-img 10.0.2",
        confidence: Confidence::High,
    },
    FileSystem {
        kinds: &["tmpfs", "ramfs"],
        level: Level::Warning,
        why: "files here live in memory: disks add to the memory that guests take, and are gone after a reboot",
        fix: Some("choose a folder on a disk"),
        source: "tmpfs(5)",
        confidence: Confidence::High,
    },
    FileSystem {
        kinds: &["nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs", "fuse.glusterfs"],
        level: Level::Warning,
        why: "a file system on another machine: QEMU's locks on disks may not hold there, and disks are slow",
        fix: Some("choose a folder on a local disk"),
        source: "follows from how such file systems lock; not tried",
        confidence: Confidence::Low,
    },
    FileSystem {
        kinds: &["overlay", "aufs"],
        level: Level::Note,
        why: "a layered file system, as containers have: files may be gone with the container, and there are no reflinks",
        fix: Some("mount a volume for the lab's files"),
        source: "not tried",
        confidence: Confidence::Low,
    },
    FileSystem {
        kinds: &["vfat", "exfat", "msdos"],
        level: Level::Warning,
        why: "files of 4 GiB or more do not fit on FAT, there are no sparse files, and no unix sockets",
        fix: Some("choose a folder on a Linux file system"),
        source: "limits of FAT",
        confidence: Confidence::High,
    },
    FileSystem {
        kinds: &["zfs"],
        level: Level::Ok,
        why: "a copy-on-write file system with its own snapshots; clones here are overlays or full copies",
        fix: None,
        source: "not tried",
        confidence: Confidence::Low,
    },
];
