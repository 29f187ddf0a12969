//! The parts of a host's state: what a NIC, a module, a VIB, a port group ... is made of.

use serde::{Deserialize, Serialize};

/// A line of releases; the order is the order in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Release {
    V60,
    V65,
    V67,
    V70,
    V80,
}

impl Release {
    pub(super) fn column(self) -> usize {
        self as usize
    }

    /// The release of a cell of a table; what is not a release counts as the newest.
    pub(super) fn of(text: &str) -> Release {
        match text {
            "6.0" => Release::V60,
            "6.5" => Release::V65,
            "6.7" => Release::V67,
            "7.0" => Release::V70,
            _ => Release::V80,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nic {
    pub name: String,
    pub pci: String,
    pub driver: String,
    pub mac: String,
    /// The generated address that `nic get` shows.
    pub virtual_mac: String,
    pub up: bool,
    pub link: bool,
    pub speed: i64,
    pub duplex: String,
    pub auto: bool,
    pub mtu: i64,
    pub description: String,
    pub pci_id: (String, String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Module {
    pub name: String,
    pub loaded: bool,
    pub enabled: bool,
    /// The parameters as configured: one string, as esx.conf keeps it.
    pub params: String,
    /// Drives hardware that is there (a module without hardware is listed and not loaded).
    pub present: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KernelValue {
    pub configured: String,
    pub runtime: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vib {
    pub name: String,
    pub version: String,
    /// `bootbank` or `locker`.
    pub kind: String,
    /// The vendor as `vib list` prints it.
    pub vendor: String,
    /// `VMwareCertified` ...
    pub level: String,
    pub installed: String,
    pub created: String,
    pub summary: String,
    pub description: String,
    pub depends: Vec<String>,
    pub conflicts: Vec<String>,
    pub replaces: Vec<String>,
    pub provides: Vec<String>,
    pub maintenance: bool,
    pub live_install: bool,
    pub live_remove: bool,
    pub overlay: bool,
    pub stateless: bool,
    pub tags: Vec<String>,
    pub payloads: Vec<String>,
    /// Kernel modules it brings.
    pub modules: Vec<String>,
}

impl Vib {
    /// `Vendor_type_name_version`, as messages and results name a VIB.
    pub(super) fn id(&self) -> String {
        format!("{}_{}_{}_{}", self.vendor, self.kind, self.name, self.version)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Image {
    pub profile: String,
    pub vendor: String,
    pub modified: String,
    pub vibs: Vec<Vib>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(super) struct Security {
    pub promiscuous: bool,
    pub mac_change: bool,
    pub forged: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failover {
    pub load_balancing: String,
    pub detection: String,
    pub notify: bool,
    pub failback: bool,
    pub active: Vec<String>,
    pub standby: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vswitch {
    pub name: String,
    pub ports: i64,
    pub mtu: i64,
    pub cdp: String,
    pub uplinks: Vec<String>,
    pub security: Security,
    pub failover: Failover,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Portgroup {
    pub name: String,
    pub vswitch: String,
    pub vlan: i64,
    pub vm_clients: i64,
    /// `None` where the virtual switch's value holds.
    pub promiscuous: Option<bool>,
    pub mac_change: Option<bool>,
    pub forged: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vmknic {
    pub name: String,
    pub portgroup: String,
    pub mac: String,
    pub enabled: bool,
    pub mtu: i64,
    pub netstack: String,
    /// `STATIC`, `DHCP` or `NONE`.
    pub kind: String,
    pub address: String,
    pub netmask: String,
    pub gateway: String,
    pub dhcp_dns: bool,
    pub tags: Vec<String>,
    pub port_id: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Route {
    /// Its TCP/IP stack: each has a routing table of its own.
    pub netstack: String,
    pub network: String,
    pub netmask: String,
    pub gateway: String,
    pub interface: String,
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Network {
    pub vswitches: Vec<Vswitch>,
    pub portgroups: Vec<Portgroup>,
    pub vmks: Vec<Vmknic>,
    pub netstacks: Vec<String>,
    pub dns: Vec<String>,
    pub search: Vec<String>,
    pub routes: Vec<Route>,
    /// Counts generated MAC addresses, so that none comes twice.
    pub generated: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Service {
    /// The init script.
    pub script: String,
    /// hostd's name for it, empty for what hostd does not list.
    pub key: String,
    pub label: String,
    /// `on`, `off` or `automatic`.
    pub policy: String,
    pub running: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ruleset {
    pub name: String,
    pub enabled: bool,
    pub all: bool,
    pub ips: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Firewall {
    pub enabled: bool,
    pub loaded: bool,
    pub pass: bool,
    pub rulesets: Vec<Ruleset>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub id: String,
    pub description: String,
    pub shell: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Permission {
    pub principal: String,
    pub group: bool,
    pub role: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vm {
    pub id: u32,
    pub name: String,
    pub world: i64,
    /// `on`, `off` or `suspended`.
    pub power: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Datastore {
    pub name: String,
    pub uuid: String,
    pub kind: String,
    pub size: u64,
    pub free: u64,
    pub partition: u32,
}
