//! `lab.yml`: what a lab is made of, as written. Defaults that depend on the version are the rule base's
//! ([`crate::lab::rules`]) and come in with the plan ([`crate::lab::plan`]).

mod check;
mod load;
mod schema;
#[cfg(test)]
mod tests;
mod words;

use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use schema::schema;
pub use words::{AddressWish, ForwardWish, Hosts, NicWish, PasswordSource, Release, Size, StageDisks, Words};

use crate::playbook::yaml::Node;
use crate::playbook::{Problems, Span};

/// A lab as written, checked for everything that can be checked without a QEMU.
#[derive(Debug, Clone)]
pub struct Lab {
    /// Its name.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Networks, in order; the defaults of a lab without any are in here too.
    pub networks: IndexMap<String, NetworkWish>,
    /// Hosts, in order.
    pub hosts: IndexMap<String, HostWish>,
    /// The file's tree, for places in messages.
    root: Node,
}

/// A host as written: the lab's settings with its own on top.
#[derive(Debug, Clone)]
pub struct HostWish {
    /// What is wanted of it. Paths in it are as written: see [`Lab::resolve`].
    pub settings: Settings,
}

/// What may be said of a host; at the top of the file it is said of all of them.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The ESXi version, such as "6.5" or "8.0.3"; without it, the ISO's own.
    pub esxi: Option<Release>,
    /// The installer's ISO, relative to this file. It is only read.
    pub iso: Option<String>,
    /// What runs in the machine.
    pub guest: Option<Guest>,
    /// Virtual CPUs.
    #[schemars(range(min = 1, max = 255))]
    pub cpus: Option<u32>,
    /// Memory, such as 8GiB.
    pub memory: Option<Size>,
    /// What runs the guest's instructions.
    pub accel: Option<AccelWish>,
    /// QEMU's CPU model with flags, instead of the one chosen.
    pub cpu: Option<String>,
    /// The chipset.
    pub machine: Option<MachineWish>,
    /// BIOS or UEFI. Cannot change after the installation.
    pub firmware: Option<FirmwareWish>,
    /// How the kickstart gets to the installer.
    pub install: Option<Delivery>,
    /// More words for the installer's boot line.
    pub boot_options: Option<Words>,
    /// Where root's password comes from; without it one is generated and kept in the lab's folder.
    pub root_password: Option<PasswordSource>,
    /// Public keys for root: files (relative to this file) or keys as they are.
    pub ssh_keys: Option<Words>,
    /// Whether the screen is offered.
    pub console: Option<Console>,
    /// The boot disk.
    pub boot_disk: Option<DiskWish>,
    /// More disks, in order.
    pub data_disks: Option<Vec<DiskWish>>,
    /// NICs, in order; the first is for management and gives vmk0 its MAC.
    pub nics: Option<Vec<NicWish>>,
    /// The address of vmk0 with its prefix (192.168.101.11/24), or `dhcp`.
    pub address: Option<AddressWish>,
    /// The way out for vmk0.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// Name servers.
    pub nameservers: Option<Vec<std::net::Ipv4Addr>>,
    /// Playbooks to apply once the host runs on its last hardware, relative to this file.
    pub apply: Option<Words>,
    /// Hardware after hardware; the last one stays.
    pub stages: Option<Vec<StageWish>>,
    /// Another host whose disks this one starts from, instead of an installation of its own.
    pub clone_from: Option<String>,
    /// How the disks are copied.
    pub clone: Option<CloneMode>,
}

/// What runs in the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// ESXi.
    #[default]
    Esxi,
    /// esxprep's own small Linux that plays ESXi: for trying a lab, and for tests.
    Standin,
}

/// What runs the guest's instructions, as wished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AccelWish {
    /// KVM where it can run the guest, else software if the guest is the stand-in.
    #[default]
    Auto,
    /// KVM or nothing.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// The chipset, as wished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MachineWish {
    /// What the rule base says.
    #[default]
    Auto,
    /// i440fx with IDE.
    Pc,
    /// ICH9.
    Q35,
}

/// The firmware, as wished.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FirmwareWish {
    /// What the rule base says.
    #[default]
    Auto,
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// The firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// How the kickstart gets to the installer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// What the rule base says.
    #[default]
    Auto,
    /// Inside a rebuilt ISO.
    Iso,
    /// Over HTTP from a server on loopback; only the boot line in the ISO changes.
    Http,
    /// On a USB stick, beside the ISO as it is.
    Usb,
    /// The boot line is typed, beside the ISO as it is.
    Keys,
}

/// Whether the screen is offered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Console {
    /// Only as screenshots.
    #[default]
    None,
    /// VNC on a unix socket.
    Vnc,
}

/// How the disks of a clone are copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CloneMode {
    /// The cheapest that the file system allows.
    #[default]
    Auto,
    /// A qcow2 file with the other's disk behind it.
    Linked,
    /// A copy that shares blocks.
    Reflink,
    /// A copy.
    Full,
}

/// A disk, as wished.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiskWish {
    /// How large, such as 40GiB or 1TiB. Thin: it takes what is written.
    pub size: Option<Size>,
    /// Where it is attached in the end.
    pub bus: Option<Bus>,
    /// Its serial number, at most 20 letters, digits, `-` or `_`; without it one is derived.
    #[schemars(length(min = 1, max = 20))]
    pub serial: Option<String>,
    /// Whether it says that it does not rotate (vSAN cache tiers want that).
    pub ssd: Option<bool>,
    /// An image that it starts from, relative to this file. It is only read.
    pub image: Option<String>,
}

/// A disk controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// PIIX IDE, on `pc` only.
    Ide,
    /// SATA.
    Ahci,
    /// USB 3.
    Usb,
    /// NVMe.
    Nvme,
    /// VMware's paravirtual SCSI.
    Pvscsi,
}

/// A model of NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NicModel {
    /// Intel 82540EM.
    E1000,
    /// Intel 82574L.
    E1000e,
    /// VMware's paravirtual NIC.
    Vmxnet3,
    /// Intel 82576.
    Igb,
    /// virtio: known here to be refused with a reason.
    Virtio,
    /// Realtek 8139: known here to be refused with a reason.
    Rtl8139,
}

/// A network, as wished.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkWish {
    /// What carries it.
    #[serde(rename = "type")]
    pub kind: NetworkKind,
    /// The address of this machine on it, with its prefix: `bridge` and `ovs`.
    pub address: Option<Ipv4NetText>,
    /// Where the hosts' addresses come from, if this machine has none on it.
    pub subnet: Option<Ipv4NetText>,
    /// The address of the first host; the next ones count up from it.
    pub first: Option<std::net::Ipv4Addr>,
    /// Bytes in a frame's body: 1500 or up to 9000.
    #[schemars(range(min = 576, max = 9000))]
    pub mtu: Option<u16>,
    /// Of Open vSwitch.
    pub datapath: Option<Datapath>,
    /// The VLAN of ports that have none of their own: `ovs` and `hub`.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// `nat`: guests reach nothing outside; forwards still work.
    pub isolated: bool,
}

/// What carries a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NetworkKind {
    /// QEMU's own: each guest alone behind this machine, ports forwarded. No root.
    #[default]
    Nat,
    /// A Linux bridge and taps. Root.
    Bridge,
    /// An Open vSwitch bridge and taps. Root.
    Ovs,
    /// A switch inside esxprep. No root; this machine is not on it.
    Hub,
}

/// Of Open vSwitch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Datapath {
    /// Kernel module.
    #[default]
    Kernel,
    /// No kernel module.
    Userspace,
}

/// TCP or UDP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// One hardware of a host, as wished. What it does not say is as the host's own settings say.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StageWish {
    /// Its name.
    pub name: Option<String>,
    /// The chipset.
    pub machine: Option<MachineWish>,
    /// Where the boot disk is attached.
    pub boot_disk: Option<Bus>,
    /// Where the data disks are attached: a bus, `none`, or one of these for each disk.
    pub data_disks: Option<StageDisks>,
    /// Playbooks to apply in it, relative to this file.
    pub apply: Option<Words>,
}

/// An IPv4 network or an address in it, with its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4NetText(pub Ipv4Net);

impl Lab {
    /// Loads a lab file. All problems are reported, each with its place.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        load::load(path).map_err(Problems::from)
    }

    /// Loads a lab from text, as if it were the file `path`.
    pub fn from_text(path: &Path, text: &str) -> Result<Self, Problems> {
        let root = crate::playbook::yaml::parse_bytes(&path.display().to_string(), text.as_bytes())?;
        load::load_root(path, &root).map_err(Problems::from)
    }

    /// A path as written in the file, relative to the file's folder; `~/` is left to the shell.
    pub fn resolve(&self, written: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(written)
    }

    /// The nearest thing in the file on the way to a place: what a message about it points at.
    pub fn span(&self, way: &[&str]) -> Span {
        load::span(&self.root, way)
    }

    /// The place of a host's setting: its own, or the lab's, or the host's name, or the key `hosts`.
    pub fn host_span(&self, host: &str, way: &[&str]) -> Span {
        load::host_span(&self.root, host, way)
    }

    /// All playbooks that it names, resolved, each once, with the place of its first use.
    pub fn playbooks(&self) -> IndexMap<PathBuf, Span> {
        let mut all = IndexMap::new();
        for (name, host) in &self.hosts {
            let mut add = |words: &Option<Words>, way: &[&str]| {
                for (i, word) in words.iter().flat_map(|w| &w.0).enumerate() {
                    let at = || self.host_span(name, &[way, &[i.to_string().as_str()]].concat());
                    all.entry(self.resolve(word)).or_insert_with(at);
                }
            };
            add(&host.settings.apply, &["apply"]);
            for (i, stage) in host.settings.stages.iter().flatten().enumerate() {
                add(&stage.apply, &["stages", &i.to_string(), "apply"]);
            }
        }
        all
    }

    /// All ISOs that it names, resolved.
    pub fn isos(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> =
            self.hosts.values().filter_map(|h| h.settings.iso.as_deref()).map(|i| self.resolve(i)).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl Bus {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ide => "ide",
            Self::Ahci => "ahci",
            Self::Usb => "usb",
            Self::Nvme => "nvme",
            Self::Pvscsi => "pvscsi",
        }
    }
}

impl NicModel {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Vmxnet3 => "vmxnet3",
            Self::Igb => "igb",
            Self::Virtio => "virtio",
            Self::Rtl8139 => "rtl8139",
        }
    }
}

impl Guest {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Esxi => "esxi",
            Self::Standin => "standin",
        }
    }
}

impl NetworkKind {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nat => "nat",
            Self::Bridge => "bridge",
            Self::Ovs => "ovs",
            Self::Hub => "hub",
        }
    }

    /// Whether NICs on it are attached through a tap.
    pub fn has_taps(self) -> bool {
        matches!(self, Self::Bridge | Self::Ovs)
    }
}

impl Protocol {
    /// Its word in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
