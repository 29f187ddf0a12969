//! What a switch is told when it starts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{FaultConfig, HubError};
use crate::lab::net::place::{check_interface_name, check_socket_path};

/// A switch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The lab it belongs to.
    pub lab: String,
    /// The folder of its sockets, of this switch alone. Its path must be short.
    pub dir: PathBuf,
    /// Its ports.
    #[serde(default)]
    pub ports: Vec<PortConfig>,
    /// Seconds after which a MAC that was not seen is forgotten.
    #[serde(default = "default_ageing")]
    pub ageing_s: u64,
    /// A capture from the first frame on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
}

/// A capture in the pcap format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// The file; it must not exist.
    pub file: PathBuf,
    /// What comes from and goes to this port; none: what comes from any port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// The most bytes of the file; the capture ends there.
    #[serde(default = "default_capture")]
    pub max_bytes: u64,
}

/// A port: one NIC of one guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortConfig {
    /// Its name, and that of its sockets (at most 15 bytes).
    pub name: String,
    /// Its VLANs.
    #[serde(default)]
    pub vlan: VlanMode,
    /// What goes wrong with frames to this port.
    #[serde(default)]
    pub faults: FaultConfig,
}

/// The VLANs of a port, as Open vSwitch's `vlan_mode`, `tag` and `trunks` have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "kebab-case")]
pub enum VlanMode {
    /// Frames without tag, in this VLAN (1 to 4094). Tagged frames from the guest are dropped, whatever their VLAN.
    Access {
        /// The VLAN.
        tag: u16,
    },
    /// Frames with tags of these VLANs; empty: of all. 0 stands for frames without a tag.
    Trunk {
        /// The VLANs.
        #[serde(default)]
        vlans: Vec<u16>,
    },
    /// A trunk whose frames without tag belong to one VLAN, and whose frames of that VLAN have no tag.
    NativeUntagged {
        /// That VLAN.
        tag: u16,
        /// The others; empty: all.
        #[serde(default)]
        vlans: Vec<u16>,
    },
}

impl Default for VlanMode {
    /// A trunk of all VLANs, as a port of Open vSwitch that was told nothing.
    fn default() -> Self {
        Self::Trunk { vlans: Vec::new() }
    }
}

fn default_ageing() -> u64 {
    300
}

fn default_capture() -> u64 {
    1 << 30
}

impl VlanMode {
    /// From `tag` and `trunks` as of Open vSwitch: a tag makes an access port, and `trunks` is then not looked at.
    pub fn of(tag: Option<u16>, trunks: &[u16]) -> Self {
        match tag {
            Some(tag) => Self::Access { tag },
            None => Self::Trunk { vlans: trunks.to_vec() },
        }
    }

    fn check(&self) -> Result<(), String> {
        let tag = |tag: u16| match tag {
            1..=4094 => Ok(()),
            _ => Err(format!("VLAN {tag} cannot be; 1 to 4094 can")),
        };
        match self {
            Self::Access { tag: t } => tag(*t),
            Self::Trunk { vlans } => vlans.iter().filter(|v| **v != 0).try_for_each(|v| tag(*v)),
            Self::NativeUntagged { tag: t, vlans } => vlans.iter().chain([t]).try_for_each(|v| tag(*v)),
        }
    }
}

impl Config {
    /// A switch without ports.
    pub fn new(lab: impl Into<String>, dir: impl Into<PathBuf>) -> Self {
        Self { lab: lab.into(), dir: dir.into(), ports: Vec::new(), ageing_s: default_ageing(), capture: None }
    }

    /// Whether the switch can be: names, VLANs, lengths of paths.
    pub fn check(&self) -> Result<(), HubError> {
        check_path(&self.control())?;
        for (n, port) in self.ports.iter().enumerate() {
            port.check(&self.dir)?;
            if self.ports[..n].iter().any(|p| p.name == port.name) {
                return Err(HubError::Port { port: port.name.clone(), problem: "there are two of this name".into() });
            }
        }
        Ok(())
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.dir.join("hub.sock")
    }

    /// Where the configuration lies for the process.
    pub fn file(&self) -> PathBuf {
        self.dir.join("hub.json")
    }

    /// What the process says.
    pub fn log(&self) -> PathBuf {
        self.dir.join("hub.log")
    }
}

impl PortConfig {
    /// A port that sees all VLANs and loses nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), vlan: VlanMode::default(), faults: FaultConfig::default() }
    }

    /// The socket that the switch receives at and the guest sends to.
    pub fn hub_socket(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.h", self.name))
    }

    /// The socket that the guest receives at.
    pub fn guest_socket(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{}.g", self.name))
    }

    /// The value of QEMU's `-netdev` for the guest's side. Either side may start first and may start again.
    pub fn netdev(&self, dir: &Path, id: &str) -> String {
        // QEMU reads two commas as one.
        let path = |p: PathBuf| p.display().to_string().replace(',', ",,");
        format!(
            "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            path(self.guest_socket(dir)),
            path(self.hub_socket(dir))
        )
    }

    pub(super) fn check(&self, dir: &Path) -> Result<(), HubError> {
        let wrong = |problem: String| HubError::Port { port: self.name.clone(), problem };
        check_interface_name(&self.name).map_err(|e| wrong(e.to_string()))?;
        if self.name == "hub" {
            return Err(wrong("this name is the switch's own".into()));
        }
        check_path(&self.hub_socket(dir))?;
        self.vlan.check().map_err(wrong)?;
        self.faults.check().map_err(wrong)
    }
}

fn check_path(path: &Path) -> Result<(), HubError> {
    check_socket_path(path).map_err(|e| HubError::Path(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_back() {
        let mut config = Config::new("demo", "/run/x");
        config.ports.push(PortConfig { vlan: VlanMode::Access { tag: 10 }, ..PortConfig::new("h1-0") });
        let text = serde_json::to_string(&config).unwrap();
        assert!(text.contains(r#""vlan":{"mode":"access","tag":10}"#), "{text}");
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let config = |port: PortConfig| Config { ports: vec![port], ..Config::new("demo", "/run/x") };
        let refused = |port| config(port).check().unwrap_err().to_string();
        let vlan = |vlan| PortConfig { vlan, ..PortConfig::new("p") };
        assert!(refused(vlan(VlanMode::Access { tag: 0 })).contains("1 to 4094"));
        assert!(refused(vlan(VlanMode::Trunk { vlans: vec![0, 4095] })).contains("4095"));
        assert!(refused(PortConfig::new("a-name-much-too-long")).contains("limit is 15"));
        assert!(refused(PortConfig::new("hub")).contains("own"));
        assert!(config(vlan(VlanMode::Trunk { vlans: vec![0, 10] })).check().is_ok());
        let twice = Config { ports: vec![PortConfig::new("p"); 2], ..Config::new("demo", "/run/x") };
        assert!(twice.check().unwrap_err().to_string().contains("two of this name"));
        let deep = Config { ports: vec![PortConfig::new("p")], ..Config::new("demo", format!("/{}", "d".repeat(110))) };
        assert!(deep.check().unwrap_err().to_string().contains("shorter folder"));
    }

    #[test]
    fn the_netdev_mirrors_the_sockets() {
        let netdev = PortConfig::new("h1-0").netdev(Path::new("/run/a,b"), "n0");
        let wanted =
            "dgram,id=n0,local.type=unix,local.path=/run/a,,b/h1-0.g,remote.type=unix,remote.path=/run/a,,b/h1-0.h";
        assert_eq!(netdev, wanted);
    }
}
