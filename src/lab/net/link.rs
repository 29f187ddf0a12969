//! Interfaces and addresses as `ip -j` shows them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

use super::{NetError, Place};

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LinkInfo {
    /// Its name.
    pub ifname: String,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its MAC address, if it has one.
    #[serde(default)]
    pub address: Option<String>,
    /// Its alias: the sign of its maker.
    #[serde(default)]
    pub ifalias: Option<String>,
    /// The bridge that it is a port of.
    #[serde(default)]
    pub master: Option<String>,
    /// `UP`, `BROADCAST`, ...
    #[serde(default)]
    pub flags: Vec<String>,
    #[serde(default)]
    linkinfo: Kind,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Kind {
    #[serde(default)]
    info_kind: Option<String>,
}

/// Whose an interface is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A lab of esxprep.
    Lab(String),
    /// Somebody else's; the alias if it has one.
    Other(Option<String>),
}

impl LinkInfo {
    /// Whose it is, by its alias.
    pub fn owner(&self) -> Owner {
        match self.ifalias.as_deref().and_then(|a| a.strip_prefix("esxprep:")) {
            Some(lab) => Owner::Lab(lab.to_owned()),
            None => Owner::Other(self.ifalias.clone()),
        }
    }

    /// Whether it is of this lab.
    pub fn is_of(&self, lab: &str) -> bool {
        matches!(self.owner(), Owner::Lab(l) if l == lab)
    }

    /// Whether it is switched on.
    pub fn is_up(&self) -> bool {
        self.flags.iter().any(|f| f == "UP")
    }

    /// `bridge`, `tun`, `veth`, ..., if it is no plain device.
    pub fn kind(&self) -> Option<&str> {
        self.linkinfo.info_kind.as_deref()
    }

    pub(super) fn not_ours(&self, what: &'static str, lab: &str) -> NetError {
        let owner = match self.owner() {
            Owner::Lab(other) => format!("it is of lab `{other}`"),
            Owner::Other(Some(alias)) => format!("its alias is `{alias}`"),
            Owner::Other(None) => "it bears no sign of esxprep".into(),
        };
        NetError::NotOurs {
            what,
            name: self.ifname.clone(),
            lab: lab.to_owned(),
            owner,
            advice: "choose another name in the lab file, or remove it yourself if nobody needs it",
        }
    }
}

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressInfo {
    /// The address with the length of its network.
    pub address: IpNet,
    /// Its label (IPv4 only): the sign of its maker.
    pub label: Option<String>,
}

/// Reads `ip -j -d link show`.
pub fn parse_links(json: &[u8]) -> Result<Vec<LinkInfo>, String> {
    // No interface at all is an empty text, not an empty list.
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(json).map_err(|e| e.to_string())
}

/// Reads `ip -j addr show`: the addresses of one interface.
pub fn parse_addresses(json: &[u8], link: &str) -> Result<Vec<AddressInfo>, String> {
    #[derive(Deserialize)]
    struct Interface {
        #[serde(default)]
        ifname: String,
        #[serde(default)]
        addr_info: Vec<Info>,
    }
    #[derive(Deserialize)]
    struct Info {
        local: Option<IpAddr>,
        #[serde(default)]
        prefixlen: u8,
        label: Option<String>,
    }
    if json.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<Interface> = serde_json::from_slice(json).map_err(|e| e.to_string())?;
    let infos = all.into_iter().filter(|i| i.ifname == link).flat_map(|i| i.addr_info);
    Ok(infos
        .filter_map(|i| Some(AddressInfo { address: IpNet::new(i.local?, i.prefixlen).ok()?, label: i.label }))
        .collect())
}

/// All interfaces of the place.
pub fn links(place: &Place) -> Result<Vec<LinkInfo>, NetError> {
    let args = ["-j", "-d", "link", "show"];
    parse_links(&place.ip(&args)?).map_err(|problem| unreadable(&args, problem))
}

/// An interface of the place, if it is there.
pub fn link(place: &Place, name: &str) -> Result<Option<LinkInfo>, NetError> {
    if !place.exists() {
        return Ok(None);
    }
    // Asked for all: a missing one is then no error, and an error is an error.
    Ok(links(place)?.into_iter().find(|l| l.ifname == name))
}

/// The addresses of an interface.
pub fn addresses(place: &Place, link: &str) -> Result<Vec<AddressInfo>, NetError> {
    let args = ["-j", "addr", "show"];
    parse_addresses(&place.ip(&args)?, link).map_err(|problem| unreadable(&args, problem))
}

/// This address on this interface, if it is there.
pub fn address_of(place: &Place, link: &str, address: &IpNet) -> Result<Option<AddressInfo>, NetError> {
    Ok(addresses(place, link)?.into_iter().find(|a| a.address == *address))
}

fn unreadable(args: &[&str], problem: String) -> NetError {
    NetError::Output { command: super::place::shown("ip", args), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ip -j -d link show` of iproute2 6.1 prints them, shortened.
    const LINKS: &[u8] = br#"[{"ifindex":1,"ifname":"lo","flags":["LOOPBACK","UP"],"mtu":65536,"link_type":"loopback",
        "address":"00:00:00:00:00:00"},{"ifindex":2,"ifname":"br0","flags":["BROADCAST"],"mtu":1500,
        "linkinfo":{"info_kind":"bridge","info_data":{"stp_state":0}},"ifalias":"esxprep:demo"},
        {"ifindex":3,"ifname":"tap0","flags":[],"mtu":9000,"master":"br0","ifalias":"mine"}]"#;

    #[test]
    fn the_alias_tells_the_owner() {
        let links = parse_links(LINKS).unwrap();
        assert_eq!(links[0].owner(), Owner::Other(None));
        assert!(links[1].is_of("demo") && !links[1].is_of("dem"));
        assert_eq!((links[1].kind(), links[1].is_up()), (Some("bridge"), false));
        assert_eq!(links[2].master.as_deref(), Some("br0"));
        let refused = links[2].not_ours("tap", "demo").to_string();
        assert!(refused.contains("alias is `mine`"), "{refused}");
        assert_eq!(parse_links(b"\n").unwrap(), []);
        assert!(parse_links(b"Device \"x\" does not exist").is_err());
    }

    #[test]
    fn addresses_come_with_their_label() {
        let json = br#"[{},{"ifname":"br0","addr_info":[
            {"family":"inet","local":"10.0.0.1","prefixlen":24,"label":"br0:ep"},
            {"family":"inet6","local":"fd00::1","prefixlen":64}]},
            {"ifname":"br1","addr_info":[{"family":"inet","local":"10.0.0.2","prefixlen":24,"label":"br1"}]}]"#;
        let found = parse_addresses(json, "br0").unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].address, "10.0.0.1/24".parse().unwrap());
        assert_eq!(found[0].label.as_deref(), Some("br0:ep"));
        assert_eq!(found[1].label, None);
    }
}
