//! Bridges, taps, addresses and MTUs, made with `ip`.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::link::{address_of, link};
use super::place::staging_name;
use super::{AddressInfo, NetError, Place, check_interface_name};

/// A Linux bridge without spanning tree, which forwards from its first moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Where, and whose.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// Its MTU in bytes; none: the kernel's choice (the least of its ports').
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
}

/// A tap, for `-netdev tap,ifname=...,script=no,downscript=no`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tap {
    /// Where, and whose.
    pub place: Place,
    /// Its name.
    pub name: String,
    /// The Linux bridge that it is a port of; none for a port of Open vSwitch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Its MTU in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The user (numeric id) that may open it besides root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<u32>,
}

/// An address on an interface.
///
/// Look with [`Address::already_there`] before it is journalled: what the machine has had all along is not ours to
/// remove. As a second sign, an IPv4 address on an interface that is not the lab's bears a label, `<interface>:ep`
/// (if the name leaves room for it); IPv6 knows no labels, there the journal's word must do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// Where, and whose.
    pub place: Place,
    /// The interface.
    pub link: String,
    /// The address with the length of its network.
    pub address: IpNet,
}

/// Another MTU on an interface that is not the lab's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mtu {
    /// Where, and whose.
    pub place: Place,
    /// The interface.
    pub link: String,
    /// The MTU wanted, in bytes.
    pub mtu: u32,
    /// The MTU that it had, to be put back.
    pub before: u32,
}

impl Bridge {
    /// Makes it, or sets it as wanted.
    pub fn make(&self) -> Result<(), NetError> {
        let Self { place, name, .. } = self;
        let kind = "type bridge stp_state 0 forward_delay 0";
        let mut lines = vec![format!("link set dev {name} {kind}")];
        lines.extend(self.mtu.map(|mtu| format!("link set dev {name} mtu {mtu}")));
        lines.push(format!("link set dev {name} up"));
        ensure(place, "bridge", name, Some("bridge"), |new| format!("link add dev {new} {kind}"), &lines)
    }

    /// Removes it; its ports stay, without a master.
    pub fn unmake(&self) -> Result<(), NetError> {
        remove(&self.place, "bridge", &self.name)
    }
}

impl Tap {
    /// Makes it, or sets it as wanted.
    pub fn make(&self) -> Result<(), NetError> {
        let Self { place, name, .. } = self;
        let mut lines = Vec::new();
        lines.extend(self.mtu.map(|mtu| format!("link set dev {name} mtu {mtu}")));
        if let Some(master) = &self.master {
            check_interface_name(master)?;
            if link(place, master)?.is_none() {
                let wanted = format!("tap `{name}`");
                return Err(NetError::Absent { what: "bridge", name: master.clone(), wanted });
            }
            lines.push(format!("link set dev {name} master {master}"));
        }
        lines.push(format!("link set dev {name} up"));
        let user = self.user.map(|u| format!(" user {u}")).unwrap_or_default();
        ensure(place, "tap", name, Some("tun"), |new| format!("tuntap add dev {new} mode tap{user}"), &lines)
    }

    /// Removes it, also under a QEMU that has it open.
    pub fn unmake(&self) -> Result<(), NetError> {
        remove(&self.place, "tap", &self.name)
    }
}

impl Address {
    /// Whether the interface has this address now: then it is not to be journalled.
    pub fn already_there(&self) -> Result<bool, NetError> {
        Ok(link(&self.place, &self.link)?.is_some() && address_of(&self.place, &self.link, &self.address)?.is_some())
    }

    /// The label, if one is possible.
    fn label(&self) -> Option<String> {
        let label = format!("{}:ep", self.link);
        (self.address.addr().is_ipv4() && label.len() <= 15).then_some(label)
    }

    /// Whether an address found there was made by us.
    fn is_ours(&self, found: &AddressInfo, on_our_link: bool) -> bool {
        on_our_link || self.label().is_none_or(|ours| found.label.as_deref() == Some(&ours))
    }

    fn not_ours(&self) -> NetError {
        NetError::NotOurs {
            what: "address",
            name: format!("{} on {}", self.address, self.link),
            lab: self.place.lab.clone(),
            owner: "it bears no label of esxprep".into(),
            advice: "it serves the lab as it is: leave it out of the lab file, or choose another address",
        }
    }

    /// Adds it.
    pub fn make(&self) -> Result<(), NetError> {
        self.place.check()?;
        check_interface_name(&self.link)?;
        self.place.settle();
        let Some(on) = link(&self.place, &self.link)? else {
            let wanted = format!("address {}", self.address);
            return Err(NetError::Absent { what: "interface", name: self.link.clone(), wanted });
        };
        if let Some(found) = address_of(&self.place, &self.link, &self.address)? {
            return if self.is_ours(&found, on.is_of(&self.place.lab)) { Ok(()) } else { Err(self.not_ours()) };
        }
        let mut line = format!("addr add {} dev {}", self.address, self.link);
        if let Some(label) = self.label() {
            line += &format!(" label {label}");
        }
        if self.address.addr().is_ipv6() {
            // Duplicate detection would make the address unusable for its first seconds.
            line += " nodad";
        }
        self.place.ip_batch(&[line])
    }

    /// Removes it, and nothing else of the interface.
    pub fn unmake(&self) -> Result<(), NetError> {
        self.place.check()?;
        check_interface_name(&self.link)?;
        self.place.settle();
        let Some(on) = link(&self.place, &self.link)? else { return Ok(()) };
        let Some(found) = address_of(&self.place, &self.link, &self.address)? else { return Ok(()) };
        if !self.is_ours(&found, on.is_of(&self.place.lab)) {
            return Err(self.not_ours());
        }
        match self.place.ip_batch(&[format!("addr del {} dev {}", self.address, self.link)]) {
            Err(_) if !self.already_there()? => Ok(()),
            other => other,
        }
    }
}

impl Mtu {
    /// Looks at what the interface has now; nothing if it already has that MTU.
    pub fn wanted(place: &Place, name: &str, mtu: u32) -> Result<Option<Self>, NetError> {
        let Some(on) = link(place, name)? else {
            return Err(NetError::Absent { what: "interface", name: name.to_owned(), wanted: format!("MTU {mtu}") });
        };
        let made = Self { place: place.clone(), link: name.to_owned(), mtu, before: on.mtu };
        Ok((on.mtu != mtu).then_some(made))
    }

    /// Sets it.
    pub fn make(&self) -> Result<(), NetError> {
        self.set(self.mtu)
    }

    /// Puts the former MTU back, unless somebody has set another one since.
    pub fn unmake(&self) -> Result<(), NetError> {
        self.place.settle();
        match link(&self.place, &self.link)? {
            Some(on) if on.mtu == self.mtu => self.set(self.before),
            _ => Ok(()),
        }
    }

    fn set(&self, mtu: u32) -> Result<(), NetError> {
        self.place.check()?;
        check_interface_name(&self.link)?;
        self.place.ip_batch(&[format!("link set dev {} mtu {mtu}", self.link)])
    }
}

/// Makes an interface that bears the lab's sign before it bears its name, then sets what is wanted of it.
fn ensure(
    place: &Place,
    what: &'static str,
    name: &str,
    kind: Option<&str>,
    add: impl Fn(&str) -> String,
    then: &[String],
) -> Result<(), NetError> {
    place.check()?;
    check_interface_name(name)?;
    place.settle();
    let mut lines = Vec::new();
    match link(place, name)? {
        Some(found) if !found.is_of(&place.lab) || found.kind() != kind => {
            return Err(found.not_ours(what, &place.lab));
        }
        Some(_) => {}
        None => {
            let staged = staging_name(&place.lab, name);
            if link(place, &staged)?.is_some() {
                lines.push(format!("link del dev {staged}"));
            }
            lines.push(add(&staged));
            lines.push(format!("link set dev {staged} alias {}", place.sign()));
            lines.push(format!("link set dev {staged} name {name}"));
        }
    }
    lines.extend(then.iter().cloned());
    place.ip_batch(&lines)
}

/// Removes an interface of the lab, and what a killed run may have left of it.
fn remove(place: &Place, what: &'static str, name: &str) -> Result<(), NetError> {
    place.check()?;
    check_interface_name(name)?;
    place.settle();
    let staged = staging_name(&place.lab, name);
    if link(place, &staged)?.is_some() {
        delete(place, &staged)?;
    }
    match link(place, name)? {
        None => Ok(()),
        Some(found) if !found.is_of(&place.lab) => Err(found.not_ours(what, &place.lab)),
        Some(_) => delete(place, name),
    }
}

fn delete(place: &Place, name: &str) -> Result<(), NetError> {
    match place.ip_batch(&[format!("link del dev {name}")]) {
        // Gone in between: that was the aim.
        Err(_) if link(place, name)?.is_none() => Ok(()),
        other => other,
    }
}
