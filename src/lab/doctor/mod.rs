//! `lab doctor`: can this machine carry the lab, and if not, what to change.
//!
//! Looking and judging are apart. [`gather`] takes raw facts into a [`Machine`] and judges nothing; [`examine`] is a
//! pure function of a [`Machine`] and a [`Need`]. A [`Fix`] is data too: [`apply`] carries it out with the value before
//! it in an undo file first, and [`undo`] puts everything back.

mod budget;
mod examine;
mod facts;
mod fix;
mod gather;
mod hands;
mod kvm;
mod machine;
mod network;
mod parameters;
mod parse;
mod qemu;
mod render;
mod storage;
#[cfg(test)]
mod tests;
mod undo;

use serde::Serialize;

pub use examine::{accelerator, examine, report};
pub use facts::{QemuTrap, Tool, qemu_traps, tools};
pub use fix::{Applied, FixError, Outcome, announce, apply, fixes};
pub use gather::{Commands, Programs, gather};
pub use hands::{Hands, RealHands};
pub use machine::{DevKvm, FolderFacts, Holder, Machine, ModuleFacts, Said, Space};
pub use parse::QemuVersion;
pub use render::{applied_text, human, json, undone_text};
pub use undo::{Undone, UndoneHow, undo};

/// What a lab wants of the machine. Everything empty asks about the machine alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Need {
    /// The virtual machines.
    pub guests: Vec<GuestNeed>,
    /// Their disks.
    pub disks: Vec<DiskNeed>,
    /// TCP ports that will be listened on.
    pub ports: Vec<PortNeed>,
    /// MACs that the guests will have, any spelling with colons or dashes.
    pub macs: Vec<MacNeed>,
    /// How the guests are connected.
    pub networks: Vec<NetworkKind>,
    /// Whether any NIC is a vmxnet3 on a tap or on a datagram socket; some QEMU versions have a trap there.
    pub vmxnet3: bool,
    /// Whether an ISO will be rebuilt (xorriso).
    pub builds_iso: bool,
    /// The oldest QEMU that will do, `(major, minor)`.
    pub qemu_at_least: Option<(u32, u32)>,
}

/// One virtual machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestNeed {
    /// Its name in lab.yml.
    pub name: String,
    /// Its memory, MiB.
    pub memory_mib: u64,
    /// Its virtual CPUs.
    pub vcpus: u32,
    /// The ESXi version (`8.0`), or nothing for the stand-in guest, which needs no hardware virtualisation.
    pub esxi: Option<String>,
}

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskNeed {
    /// Host and disk, as in lab.yml.
    pub name: String,
    /// What it takes when it is made, bytes (a thin disk next to nothing; a full copy all of it).
    pub now: u64,
    /// What it can grow to, bytes: its virtual size.
    pub worst: u64,
}

/// One TCP port to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortNeed {
    /// The port.
    pub port: u16,
    /// What for (`SSH of h1`).
    pub purpose: String,
}

/// One MAC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacNeed {
    /// The address.
    pub mac: String,
    /// Whose (`h1 vmnic0`).
    pub owner: String,
}

/// How guests are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// QEMU's user network with forwards; no root.
    User,
    /// Sockets between the guests; no root.
    Sockets,
    /// Taps on a Linux bridge; root.
    Bridge,
    /// Taps on Open vSwitch; root.
    Ovs,
}

/// What a finding is about; findings are grouped by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The processor.
    Processor,
    /// The kernel's KVM modules and their parameters.
    Kvm,
    /// QEMU.
    Qemu,
    /// Memory and CPUs to share out.
    Budget,
    /// Room for disks, and the file system under them.
    Disk,
    /// Bridges, taps, MACs.
    Network,
    /// TCP ports.
    Ports,
    /// Programs that are called.
    Tools,
}

impl Area {
    /// As a heading.
    pub fn words(self) -> &'static str {
        match self {
            Self::Processor => "Processor",
            Self::Kvm => "KVM",
            Self::Qemu => "QEMU",
            Self::Budget => "Memory and CPUs",
            Self::Disk => "Disk",
            Self::Network => "Network",
            Self::Ports => "Ports",
            Self::Tools => "Programs",
        }
    }
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is wrong.
    Note,
    /// It may work, or work badly.
    Warning,
    /// It will not work.
    Error,
}

impl Level {
    /// As shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "ERROR",
        }
    }
}

/// How well the fact behind a finding is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Measured, or told by two independent first-hand sources.
    High,
    /// Told by one first-hand source.
    Medium,
    /// Follows from other facts, or hearsay; not verified.
    Low,
}

impl Confidence {
    /// As shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low, not verified",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name (`kvm.nested`).
    pub id: String,
    /// What it is about.
    pub area: Area,
    /// How bad.
    pub level: Level,
    /// What was seen.
    pub seen: String,
    /// Why it matters; empty for what is as it should be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// What to do, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What `--fix` does about it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<Fix>,
    /// Where the fact behind it comes from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// How well it is known.
    pub confidence: Confidence,
}

/// A change that `--fix` can make and `--undo` takes back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Fix {
    /// Write a kernel module's parameter now; it lasts until the module is loaded again.
    Parameter {
        /// The module (`kvm`).
        module: String,
        /// Its parameter (`ignore_msrs`).
        parameter: String,
        /// The value to write (`1`).
        value: String,
    },
    /// Put `options MODULE PARAMETER=VALUE` into `/etc/modprobe.d/esxprep.conf`, for later boots.
    Modprobe {
        /// The module.
        module: String,
        /// Its parameter.
        parameter: String,
        /// The value.
        value: String,
    },
    /// Unload a module and load it again with this parameter. Refused while a virtual machine uses it.
    Reload {
        /// The module (`kvm_intel`).
        module: String,
        /// Its parameter (`nested`).
        parameter: String,
        /// The value.
        value: String,
    },
    /// Set "no copy on write" on an empty folder, so that disks made in it inherit it.
    NoCow {
        /// The folder.
        folder: std::path::PathBuf,
    },
}

/// What carries the guests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Accelerator {
    /// `kvm` or `tcg`, as QEMU's `-accel` takes it.
    pub accel: &'static str,
    /// Whether real ESXi can run on it.
    pub esxi: bool,
    /// Why it is this one.
    pub because: String,
}

/// How many findings of each level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// As they should be.
    pub ok: usize,
    /// Worth knowing.
    pub notes: usize,
    /// May work.
    pub warnings: usize,
    /// Will not work.
    pub errors: usize,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What will carry the guests.
    pub accelerator: Accelerator,
    /// The findings, by area.
    pub findings: Vec<Finding>,
    /// How many of each level.
    pub totals: Totals,
}

/// Looks at this machine and says what is found. `folder` is where the lab's files will be.
pub fn diagnose(need: &Need, folder: Option<&std::path::Path>) -> Report {
    report(&gather(std::path::Path::new("/"), &Programs::default(), folder), need)
}

impl Report {
    /// Whether something will not work.
    pub fn failed(&self) -> bool {
        self.totals.errors > 0
    }
}
