//! What a plan needs to know beside the lab file. Gathered elsewhere, so that planning is a pure function.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{DirectKernel, ForwardKey};

/// What the plan needs to know of this machine.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The installed QEMU.
    pub qemu: crate::lab::qemu::QemuVersion,
    /// Whether nested virtualisation really works here (the doctor's verdict, not the mere presence of /dev/kvm).
    pub kvm: bool,
    /// The processor.
    pub cpu: Cpu,
    /// The lab's folder, absolute.
    pub folder: PathBuf,
    /// The folder for sockets, absolute and short: a socket's path has at most 107 bytes.
    pub runtime: PathBuf,
    /// Ports for forwards, from [`crate::lab::plan::choose_ports`].
    pub ports: BTreeMap<ForwardKey, u16>,
    /// The stand-in's kernel, as the host's name gives it: files that all share. `append` is completed by whoever
    /// makes the stand-in.
    pub standin: Option<DirectKernel>,
    /// The stand-in's own installer ISO, as it is; none: it is made for each host.
    pub standin_iso: Option<PathBuf>,
    /// OVMF: code and variables template.
    pub ovmf: Option<(PathBuf, PathBuf)>,
    /// Versions that ISOs say they have, by path as resolved by the spec.
    pub isos: BTreeMap<PathBuf, crate::esxi::Version>,
    /// What the lab's playbooks say, by path, from [`crate::lab::plan::look_at_playbooks`]. A playbook that is not in
    /// here is not checked.
    pub playbooks: BTreeMap<PathBuf, PlaybookFacts>,
}

/// What matters of a playbook before it is run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaybookFacts {
    /// Why it cannot be read.
    pub error: Option<String>,
    /// Release lines that it is made for; empty: any.
    pub releases: Vec<String>,
    /// Kernel modules that it disables.
    pub disables: Vec<String>,
}

/// The processor of this machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Who made it.
    pub vendor: Vendor,
    /// It has cores of two kinds.
    pub hybrid: bool,
    /// It is of a kind that ESXi 7 to 9 dropped.
    pub legacy: bool,
}

/// Who made the processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Vendor {
    /// VMX.
    Intel,
    /// SVM.
    Amd,
    /// Anything else.
    #[default]
    Other,
}
