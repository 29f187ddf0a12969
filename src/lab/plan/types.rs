//! What a plan is made of. All of it is plain data: it can be saved, compared and shown, and making it does no I/O.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::lab::rules::RuleId;
use crate::lab::spec::{
    Bus, CloneMode, Console, Datapath, Delivery, Firmware, Guest, NetworkKind, NicModel, PasswordSource, Protocol,
};

/// Everything that `lab up` will make, host by host and stage by stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The lab's name.
    pub lab: String,
    /// The folder with its disks, logs and keys; kept between runs.
    pub folder: PathBuf,
    /// The short private folder with its sockets and pid files; gone after `down`.
    pub runtime: PathBuf,
    /// The QEMU that the lines are made for.
    pub qemu: String,
    /// Networks that hosts are attached to, in the order of the file.
    pub networks: Vec<Network>,
    /// Hosts, in the order of the file; a host comes after the one that it is cloned from.
    pub hosts: Vec<Host>,
    /// What a person should know, and what stops `up`.
    pub notes: Vec<Note>,
}

/// How much a note weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Good to know.
    Info,
    /// It may not work.
    Warning,
    /// `up` must not start: something is missing on this machine or in the file. The plan can still be looked at.
    Blocker,
}

/// A remark on the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// How much it weighs.
    pub weight: Weight,
    /// The host it is about; none: all.
    pub host: Option<String>,
    /// What it says.
    pub text: String,
    /// `file:line:column` of what caused it, if something in the file did.
    pub place: Option<String>,
    /// The rules behind it.
    pub why: Vec<RuleId>,
}

/// A network of the lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Network {
    /// Its name in the file.
    pub name: String,
    /// What carries it.
    pub kind: NetworkKind,
    /// The interface on this machine: the Linux bridge, or the Open vSwitch bridge and its internal port. At most
    /// 15 characters, derived from the lab and the network. None for `nat` and `hub`.
    pub bridge: Option<String>,
    /// The address that the bridge gets on this machine.
    pub address: Option<Ipv4Net>,
    /// Where the guests' addresses come from.
    pub subnet: Option<Ipv4Net>,
    /// Bytes; none: 1500, and nothing is set.
    pub mtu: Option<u16>,
    /// For Open vSwitch.
    pub datapath: Option<Datapath>,
    /// The tag of ports that have none of their own.
    pub vlan: Option<u16>,
    /// `nat`: guests reach nothing outside, forwards still work.
    pub isolated: bool,
    /// One for each NIC attached, in the order of hosts and NICs.
    pub ports: Vec<Port>,
    /// The hub's own folder, in the runtime folder; none for other kinds.
    pub hub: Option<PathBuf>,
    /// Whether root is needed to make it (a tap, a bridge).
    pub needs_root: bool,
}

/// One NIC's end in a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// The host.
    pub host: String,
    /// The NIC's number, from 0.
    pub nic: usize,
    /// Its name, at most 15 characters: the tap, or the hub's port.
    pub name: String,
    /// The guest's address on it.
    pub mac: String,
    /// How QEMU is attached.
    pub backend: Backend,
    /// Untagged VLAN of this port.
    pub vlan: Option<u16>,
    /// VLANs that pass tagged; empty and no `vlan`: all.
    pub trunks: Vec<u16>,
}

/// What a NIC is attached to on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Backend {
    /// QEMU's own network (slirp): no root, forwards only.
    User {
        /// Its subnet; none: QEMU's 10.0.2.0/24.
        subnet: Option<Ipv4Net>,
        /// The guest that forwards go to.
        guest: Ipv4Addr,
        /// `restrict=on`.
        isolated: bool,
    },
    /// A tap that is there before QEMU starts.
    Tap {
        /// Its name, at most 15 characters.
        ifname: String,
        /// `vnet_hdr=off` is on the line: without it vmxnet3 hands the guest short frames (rule `vmxnet3-tap-vnet-hdr`).
        vnet_hdr_off: bool,
    },
    /// Datagrams over two unix sockets, to the hub inside esxprep.
    Dgram {
        /// Bound by QEMU.
        local: PathBuf,
        /// Bound by the hub.
        remote: PathBuf,
    },
}

/// A host of the lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// Its place in the file, from 0.
    pub number: usize,
    /// ESXi, or the stand-in.
    pub guest: Guest,
    /// The version, three numbers (`6.5.0`).
    pub esxi: String,
    /// Its folder, in the lab's folder.
    pub folder: PathBuf,
    /// Of the virtual mainboard; derived, the same in every stage.
    pub uuid: String,
    /// The same in every stage.
    pub firmware: Firmware,
    /// Boot disk first.
    pub disks: Vec<Disk>,
    /// NIC 0 is the management NIC: vmk0 gets its MAC and address.
    pub nics: Vec<Nic>,
    /// How it is installed; none: it starts from an image or is a clone. The stand-in is installed as ESXi is, from an
    /// ISO of its own.
    pub install: Option<Install>,
    /// The host that it is cloned from.
    pub clone_from: Option<CloneOf>,
    /// Where the root password comes from.
    pub root_password: PasswordSource,
    /// Public keys for root, or files with them (absolute).
    pub ssh_keys: Vec<String>,
    /// How SSH reaches it: address and port on this machine's side.
    pub ssh: Endpoint,
    /// How its web interface is reached.
    pub https: Endpoint,
    /// Hardware after hardware, the install first; the last one stays.
    pub stages: Vec<Stage>,
}

/// A host that starts as a copy of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloneOf {
    /// The other.
    pub host: String,
    /// How the disks are copied.
    pub mode: CloneMode,
}

/// Where a service of a guest answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Endpoint {
    /// On 127.0.0.1, through a forward.
    Forward {
        /// The port on this machine.
        port: u16,
    },
    /// On the guest's own address.
    Address {
        /// The guest's address.
        address: Ipv4Addr,
        /// The guest's port.
        port: u16,
    },
    /// Not known before it runs: the guest asks a DHCP server of the network.
    Unknown,
}

/// A disk of a host. Its file, size, serial and WWN are the same in every stage; only the bus differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    /// `boot`, `data0`, `data1` ...: also its node name in QEMU.
    pub id: String,
    /// A qcow2 file in the host's folder.
    pub file: PathBuf,
    /// Bytes.
    pub size: u64,
    /// At most 20 characters.
    pub serial: String,
    /// World wide name, locally assigned (NAA 3); given on buses that have such a thing.
    pub wwn: u64,
    /// It says that it does not rotate.
    pub ssd: bool,
    /// An image that it starts from, copied or linked; none: empty.
    pub image: Option<PathBuf>,
}

/// A NIC of a host, the same in every stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    /// `net0`, `net1` ...: its id in QEMU.
    pub id: String,
    /// The network.
    pub network: String,
    /// The emulated card.
    pub model: NicModel,
    /// Lower case, with colons. Derived from lab, host and number unless the file gives one.
    pub mac: String,
    /// PCI slot on the root bus.
    pub slot: u8,
    /// What it is attached to.
    pub backend: Backend,
    /// Ports of this machine that lead to it.
    pub forwards: Vec<Forward>,
    /// The address that the guest has on it.
    pub address: GuestAddress,
    /// Bytes; none: 1500.
    pub mtu: Option<u16>,
}

/// A guest's address on a NIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum GuestAddress {
    /// It asks.
    Dhcp,
    /// It is told.
    Static {
        /// Address and prefix.
        address: Ipv4Net,
        /// The way out.
        gateway: Option<Ipv4Addr>,
        /// Name servers.
        nameservers: Vec<Ipv4Addr>,
    },
    /// Nothing is configured on this NIC by the lab; a playbook may.
    None,
}

/// A port of 127.0.0.1 that leads to a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forward {
    /// `ssh`, `https`, or the guest's port as text.
    pub name: String,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// On this machine.
    pub host_port: u16,
    /// In the guest.
    pub guest_port: u16,
}

/// An unattended installation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Install {
    /// How the kickstart gets in; never `auto`.
    pub delivery: Delivery,
    /// The ISO as given, or the stand-in's own; none: that one is not made yet.
    pub iso: Option<PathBuf>,
    /// The ISO in the drive: the given one, or the one that is rebuilt for this host.
    pub cd: PathBuf,
    /// Whether `cd` must be made.
    pub rebuild: bool,
    /// The FAT image for `delivery: usb`.
    pub stick: Option<PathBuf>,
    /// Words for the installer's boot line, without `ks=` (which the delivery decides) and `runweasel`.
    pub boot_options: Vec<Reasoned>,
    /// Words for the `install` line of the kickstart.
    pub install_options: Vec<Reasoned>,
    /// What must be in the kickstart, such as `reboot --noeject`.
    pub reboot: Reasoned,
    /// With `delivery: http` (or `keys`), the address under which the guest reaches this machine: behind `nat` the
    /// server listens on 127.0.0.1, else on this very address.
    pub server: Option<Ipv4Addr>,
    /// Whether Ed25519 keys are refused by the installed sshd.
    pub no_ed25519: bool,
}

/// A word with the rules behind it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reasoned {
    /// The word.
    pub text: String,
    /// The rules behind it.
    pub why: Vec<RuleId>,
}

/// One hardware that the host runs on, and what is done there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `install`, or its name in the file; `run` where none is given.
    pub name: String,
    /// What happens in it.
    pub kind: StageKind,
    /// The virtual machine.
    pub machine: Machine,
    /// Playbooks to apply once it answers, in order (absolute).
    pub apply: Vec<PathBuf>,
    /// Ids of the disks that the guest must see here.
    pub expect_disks: Vec<String>,
}

/// What happens in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StageKind {
    /// The installer runs; its reboot ends QEMU.
    Install,
    /// The installed system runs.
    Boot,
}

/// A virtual machine, complete: [`crate::lab::argv::argv`] makes the line of it and adds nothing of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `LAB/HOST`, as `-name`.
    pub name: String,
    /// Mainboard UUID.
    pub uuid: String,
    /// Chipset.
    pub chipset: Chipset,
    /// `-accel`.
    pub accel: Accel,
    /// `-cpu`.
    pub cpu: String,
    /// Virtual CPUs, one socket.
    pub cpus: u32,
    /// MiB.
    pub memory: u64,
    /// OVMF's two files; none: SeaBIOS.
    pub uefi: Option<Uefi>,
    /// Attached disks.
    pub disks: Vec<DiskSlot>,
    /// CD drive.
    pub cd: Option<Cd>,
    /// A FAT image as USB stick, on UHCI.
    pub stick: Option<PathBuf>,
    /// NICs.
    pub nics: Vec<Nic>,
    /// Kernel given by QEMU itself: the stand-in.
    pub kernel: Option<DirectKernel>,
    /// Our QMP socket.
    pub qmp: PathBuf,
    /// The user's QMP socket: a second client on one socket hangs (seen on QEMU 10.0.2).
    pub qmp_user: PathBuf,
    /// First serial port: a unix socket that a console can attach to.
    pub serial: PathBuf,
    /// What the first serial port said, appended.
    pub serial_log: PathBuf,
    /// Written by QEMU.
    pub pidfile: PathBuf,
    /// Socket of the screen, if asked for.
    pub vnc: Option<PathBuf>,
    /// Whether a reboot of the guest ends QEMU.
    pub exit_on_reboot: bool,
    /// Topic (see [`crate::lab::rules`]) to the rules that decided it; `lab-file` where the file says so.
    pub why: BTreeMap<String, Vec<RuleId>>,
}

/// The emulated chipset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chipset {
    /// i440fx with PIIX IDE.
    Pc,
    /// ICH9, no IDE.
    Q35,
}

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The CPU.
    Kvm,
    /// Software: the stand-in alone is known to work.
    Tcg,
}

/// UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uefi {
    /// Read only, shared.
    pub code: PathBuf,
    /// The template that the host's own variables start from.
    pub vars_template: PathBuf,
    /// The host's own, a qcow2 file: a raw one that is written to would forbid memory snapshots.
    pub vars: PathBuf,
}

/// A disk on a bus.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DiskSlot {
    /// The disk.
    pub disk: Disk,
    /// Where it is attached.
    pub bus: Bus,
    /// Place in the order of booting; none: not bootable.
    pub bootindex: Option<u32>,
}

/// A CD drive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cd {
    /// The image.
    pub file: PathBuf,
    /// IDE or AHCI.
    pub bus: Bus,
    /// Place in the order of booting.
    pub bootindex: Option<u32>,
}

/// A Linux kernel that QEMU loads itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectKernel {
    /// `-kernel`.
    pub kernel: PathBuf,
    /// `-initrd`.
    pub initrd: PathBuf,
    /// `-append`.
    pub append: String,
}

/// Which forward a port is for: stable over runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ForwardKey {
    /// The host.
    pub host: String,
    /// The NIC's number.
    pub nic: usize,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// In the guest.
    pub guest_port: u16,
}

impl Plan {
    /// What stops `up`.
    pub fn blockers(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|n| n.weight == Weight::Blocker)
    }

    /// A host by name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|h| h.name == name)
    }

    /// A network by name.
    pub fn network(&self, name: &str) -> Option<&Network> {
        self.networks.iter().find(|n| n.name == name)
    }

    /// Whether anything in it needs root.
    pub fn needs_root(&self) -> bool {
        self.networks.iter().any(|n| n.needs_root)
    }
}

impl Host {
    /// The hardware that stays.
    pub fn last(&self) -> Option<&Stage> {
        self.stages.last()
    }

    /// How its screen is offered.
    pub fn console(&self) -> Console {
        if self.stages.iter().any(|s| s.machine.vnc.is_some()) { Console::Vnc } else { Console::None }
    }
}

impl Chipset {
    /// QEMU's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pc => "pc",
            Self::Q35 => "q35",
        }
    }
}

impl Accel {
    /// QEMU's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}
