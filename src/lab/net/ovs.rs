//! Open vSwitch: the machine's own if one runs, else one of the lab's, with bridges and ports in it.

mod server;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::link::link;
use super::place::{run, shown};
use super::{NetError, Place, check_interface_name, proc};

pub use server::OvsServer;

/// Seconds that `ovs-vsctl` may wait for the switch: without a limit it waits for ever for one that hangs.
const TIMEOUT: &str = "--timeout=30";
/// The key of the lab's sign in `external_ids`.
const SIGN: &str = "esxprep";

/// Which Open vSwitch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ovs {
    /// The machine's.
    System,
    /// The lab's own, in this folder.
    Private(PathBuf),
}

/// Where frames are switched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Datapath {
    /// In the kernel, by its module `openvswitch`.
    Kernel,
    /// In `ovs-vswitchd`: needs no kernel module, and is slower.
    #[default]
    Userspace,
}

/// A bridge of an Open vSwitch; an interface of the same name comes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsBridge {
    /// Where, and whose.
    pub place: Place,
    /// The switch.
    pub ovs: Ovs,
    /// The bridge's name.
    pub name: String,
    /// Where frames are switched.
    pub datapath: Datapath,
    /// The MTU of the bridge's own interface, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A port of such a bridge: an interface that is there already, such as a tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OvsPort {
    /// Where, and whose.
    pub place: Place,
    /// The switch.
    pub ovs: Ovs,
    /// The bridge.
    pub bridge: String,
    /// The interface.
    pub port: String,
    /// The VLAN of an access port (1 to 4094).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<u16>,
    /// The VLANs of a trunk; empty without `tag`: all. 0 stands for frames without a tag.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trunks: Vec<u16>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// Whether the machine's Open vSwitch answers.
pub fn system_ovs_answers() -> bool {
    run("ovs-vsctl", &["--timeout=5", "--no-wait", "show"], None).is_ok()
}

impl Ovs {
    fn vsctl(&self, args: &[String]) -> Result<Vec<u8>, NetError> {
        let mut argv = vec![TIMEOUT.to_owned()];
        if let Self::Private(dir) = self {
            argv.push(format!("--db={}", server::database_address(dir)));
        }
        argv.extend(args.iter().cloned());
        run("ovs-vsctl", &argv, None)
    }

    /// Whether there is a switch to ask at all.
    fn answers(&self) -> bool {
        match self {
            Self::System => system_ovs_answers(),
            Self::Private(dir) => server::is_running(dir),
        }
    }

    /// Waits for what a killed run of the lab had begun.
    fn settle(place: &Place) {
        place.settle();
        proc::settle(&["ovs-vsctl"], &sign_of(place));
    }

    /// The lab whose sign a row bears: nothing if there is no such row, an empty name if it bears none.
    fn lab_of(&self, table: &str, name: &str) -> Result<Option<String>, NetError> {
        let args = ["--format=json", "--columns=external_ids", "find", table].map(str::to_owned);
        let mut args = args.to_vec();
        args.push(format!("name={name}"));
        parse_sign(&self.vsctl(&args)?)
            .map_err(|problem| NetError::Output { command: shown("ovs-vsctl", &args), problem })
    }

    /// The folder of the private one.
    pub fn dir(&self) -> Option<&Path> {
        match self {
            Self::System => None,
            Self::Private(dir) => Some(dir),
        }
    }

    /// What the switch wrote into an interface's row, if it could not set it up.
    fn interface_error(&self, name: &str) -> Result<Option<String>, NetError> {
        let args = ["--if-exists", "get", "interface", name, "error"].map(str::to_owned);
        let said = String::from_utf8_lossy(&self.vsctl(&args)?).trim().trim_matches('"').to_owned();
        Ok((!said.is_empty() && said != "[]").then_some(said))
    }
}

/// The bridges that bear a lab's sign: lab and name.
pub(super) fn bridges_of_labs(ovs: &Ovs) -> Result<Vec<(String, String)>, NetError> {
    let names = ovs.vsctl(&["list-br".to_owned()])?;
    let mut found = Vec::new();
    for name in String::from_utf8_lossy(&names).lines() {
        if let Some(lab) = ovs.lab_of("bridge", name)?.filter(|lab| !lab.is_empty()) {
            found.push((lab, name.to_owned()));
        }
    }
    Ok(found)
}

/// Reads `ovs-vsctl --format=json --columns=external_ids find ...`: `{"data":[[["map",[["key","value"]]]]],...}`.
pub(super) fn parse_sign(json: &[u8]) -> Result<Option<String>, String> {
    let value: Value = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let rows = value["data"].as_array().ok_or("there is no `data` in it")?;
    let Some(row) = rows.first() else { return Ok(None) };
    let pairs = row[0][1].as_array().ok_or("`external_ids` is no map")?;
    let sign = pairs.iter().find(|p| p[0] == SIGN).and_then(|p| p[1].as_str());
    Ok(Some(sign.unwrap_or_default().to_owned()))
}

/// The sign as `ovs-vsctl` sets it.
fn sign_of(place: &Place) -> String {
    format!("external_ids:{SIGN}={}", place.lab)
}

fn not_ours(what: &'static str, name: &str, place: &Place, owner: &str) -> NetError {
    let owner = match owner {
        "" => "its external_ids hold no sign of esxprep".to_owned(),
        lab => format!("it is of lab `{lab}`"),
    };
    let advice = "choose another name in the lab file, or remove it yourself if nobody needs it";
    NetError::NotOurs { what, name: name.to_owned(), lab: place.lab.clone(), owner, advice }
}

impl OvsBridge {
    /// Makes it, or sets it as wanted.
    pub fn make(&self) -> Result<(), NetError> {
        let Self { place, ovs, name, .. } = self;
        place.check()?;
        check_interface_name(name)?;
        Ovs::settle(place);
        match ovs.lab_of("bridge", name)? {
            Some(lab) if lab != place.lab => return Err(not_ours("Open vSwitch bridge", name, place, &lab)),
            Some(_) => {}
            None => {
                // An interface of this name that is no bridge of the switch would be taken over.
                if let Some(found) = link(place, name)? {
                    return Err(found.not_ours("interface", &place.lab));
                }
            }
        }
        let kind = if self.datapath == Datapath::Kernel { "system" } else { "netdev" };
        // One transaction: there is no moment in which the bridge bears no sign.
        let mut args = ["--may-exist", "add-br", name, "--", "set", "bridge", name].map(str::to_owned).to_vec();
        args.extend([format!("datapath_type={kind}"), "fail_mode=standalone".into(), "stp_enable=false".into()]);
        args.push(sign_of(place));
        if let Some(mtu) = self.mtu {
            args.extend(["--", "set", "interface", name].map(str::to_owned));
            args.push(format!("mtu_request={mtu}"));
        }
        ovs.vsctl(&args)?;
        let there = link(place, name)?.is_some();
        if let Some(problem) = ovs.interface_error(name)?.or((!there).then(|| "its interface is not there".into())) {
            self.unmake()?;
            let advice = match self.datapath {
                Datapath::Kernel => "load the kernel module (`modprobe openvswitch`), or set `datapath: userspace`",
                Datapath::Userspace => "look into ovs-vswitchd.log",
            };
            return Err(NetError::Ovs { name: name.clone(), problem, advice });
        }
        place.ip_batch(&[format!("link set dev {name} alias {}", place.sign()), format!("link set dev {name} up")])
    }

    /// Removes it; its ports go with it, their interfaces stay.
    pub fn unmake(&self) -> Result<(), NetError> {
        let Self { place, ovs, name, .. } = self;
        place.check()?;
        check_interface_name(name)?;
        Ovs::settle(place);
        if !ovs.answers() {
            return Ok(());
        }
        match ovs.lab_of("bridge", name)? {
            None => Ok(()),
            Some(lab) if lab != place.lab => Err(not_ours("Open vSwitch bridge", name, place, &lab)),
            Some(_) => ovs.vsctl(&["--if-exists", "del-br", name].map(str::to_owned)).map(drop),
        }
    }
}

impl OvsPort {
    /// Adds it, or sets it as wanted.
    pub fn make(&self) -> Result<(), NetError> {
        let Self { place, ovs, bridge, port, .. } = self;
        place.check()?;
        check_interface_name(bridge)?;
        check_interface_name(port)?;
        if link(place, port)?.is_none() {
            let wanted = format!("a port of `{bridge}`");
            return Err(NetError::Absent { what: "interface", name: port.clone(), wanted });
        }
        Ovs::settle(place);
        if let Some(lab) = ovs.lab_of("port", port)?.filter(|lab| *lab != place.lab) {
            return Err(not_ours("Open vSwitch port", port, place, &lab));
        }
        ovs.vsctl(&self.make_args())?;
        if let Some(problem) = ovs.interface_error(port)? {
            self.unmake()?;
            let advice = "is the interface in the network that this switch lives in?";
            return Err(NetError::Ovs { name: port.clone(), problem, advice });
        }
        Ok(())
    }

    fn make_args(&self) -> Vec<String> {
        let Self { bridge, port, .. } = self;
        // Removed and added in one transaction, so that it leaves another bridge and former settings behind.
        let words = ["--if-exists", "del-port", port, "--", "add-port", bridge, port, "--", "set", "port", port];
        let mut args = words.map(str::to_owned).to_vec();
        args.push(sign_of(&self.place));
        args.extend(self.tag.map(|tag| format!("tag={tag}")));
        if !self.trunks.is_empty() {
            let trunks: Vec<_> = self.trunks.iter().map(u16::to_string).collect();
            args.push(format!("trunks={}", trunks.join(",")));
        }
        if let Some(mtu) = self.mtu {
            args.extend(["--", "set", "interface", port].map(str::to_owned));
            args.push(format!("mtu_request={mtu}"));
        }
        args
    }

    /// Removes the port; its interface stays.
    pub fn unmake(&self) -> Result<(), NetError> {
        let Self { place, ovs, port, .. } = self;
        place.check()?;
        check_interface_name(port)?;
        Ovs::settle(place);
        if !ovs.answers() {
            return Ok(());
        }
        match ovs.lab_of("port", port)? {
            None => Ok(()),
            Some(lab) if lab != place.lab => Err(not_ours("Open vSwitch port", port, place, &lab)),
            Some(_) => ovs.vsctl(&["--if-exists", "del-port", port].map(str::to_owned)).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sign_is_read() {
        let row = |ids: &str| format!(r#"{{"data":[[["map",[{ids}]]]],"headings":["external_ids"]}}"#);
        assert_eq!(parse_sign(row(r#"["esxprep","demo"]"#).as_bytes()).unwrap(), Some("demo".into()));
        assert_eq!(parse_sign(row(r#"["other","x"]"#).as_bytes()).unwrap(), Some(String::new()));
        assert_eq!(parse_sign(br#"{"data":[],"headings":["external_ids"]}"#).unwrap(), None);
        assert!(parse_sign(b"{}").is_err());
    }

    #[test]
    fn a_port_is_set_in_one_transaction() {
        let mut port = OvsPort {
            place: Place::host("demo"),
            ovs: Ovs::System,
            bridge: "br0".into(),
            port: "t0".into(),
            tag: Some(10),
            trunks: Vec::new(),
            mtu: Some(9000),
        };
        assert_eq!(
            port.make_args().join(" "),
            "--if-exists del-port t0 -- add-port br0 t0 -- set port t0 external_ids:esxprep=demo tag=10 \
             -- set interface t0 mtu_request=9000"
        );
        (port.tag, port.mtu, port.trunks) = (None, None, vec![10, 20]);
        assert!(port.make_args().join(" ").ends_with("external_ids:esxprep=demo trunks=10,20"));
    }
}
