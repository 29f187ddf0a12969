//! How a VMkernel interface is written in a playbook.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::Duration;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::esxi::mac::Mac;
use crate::esxi::net::DEFAULT_NETSTACK;

use super::super::network::{Mtu, VmknicName};

/// A VMkernel network interface. What is left out stays as it is.
///
/// Another MAC address, port group or TCP/IP stack means that the interface is removed and added again with
/// everything else that it had: MTU, IPv4 address, gateway and routes, tags. IPv6 addresses set by hand are not
/// put back. The interface that carries the session is recreated detached on the host: unless esxprep logs in
/// again within `recreate_confirm` seconds, the host puts the old one back. With DHCP a new MAC address can
/// bring another address; then nobody can confirm, and the old interface comes back: make a reservation first.
///
/// Interfaces on distributed switches can be checked, but not recreated.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vmknic {
    /// Name, for example `vmk1`.
    pub(super) name: VmknicName,
    /// Whether it is there. Removing the one that carries the session is refused.
    #[serde(default)]
    pub(super) state: Presence,
    /// The port group of a standard switch. Needed to create the interface.
    pub(super) portgroup: Option<String>,
    /// The vSwitch on which the port group must be: refused when it is on another.
    pub(super) vswitch: Option<String>,
    /// `dhcp`, `none`, or an address with its mask and perhaps a gateway.
    pub(super) ipv4: Option<Addressing>,
    /// With `ipv4: dhcp`: whether DHCP says the DNS servers too.
    pub(super) dhcp_dns: Option<bool>,
    /// MTU in bytes, 1280 to 9190.
    pub(super) mtu: Option<Mtu>,
    /// TCP/IP stack, for example `vmotion`; made if it is not there. Stacks exist since ESXi 5.5 (not verified).
    pub(super) netstack: Option<String>,
    /// `hardware`, or an address. `hardware` is the address of the physical NIC that is the first uplink (the one
    /// with the lowest number) of the interface's vSwitch. It matters where the network outside lets only that
    /// address through: nested hosts and cloned ones.
    pub(super) mac: Option<MacWanted>,
    /// Whether it is enabled.
    pub(super) enabled: Option<bool>,
    /// Seconds that the host waits for esxprep to log in again before it puts the old interface back, 15 to 3600.
    #[serde(default)]
    pub(super) recreate_confirm: Confirm,
}

impl Vmknic {
    /// The TCP/IP stack, when it is named and not the default one.
    pub(super) fn named_stack(&self) -> Option<&str> {
        self.netstack.as_deref().filter(|s| *s != DEFAULT_NETSTACK)
    }

    /// Whether the routing table matters: for a gateway, or because recreating would lose routes.
    pub(super) fn wants_routes(&self) -> bool {
        self.ipv4.is_some() || self.mac.is_some() || self.portgroup.is_some() || self.netstack.is_some()
    }
}

/// Whether something is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// It is there.
    #[default]
    Present,
    /// It is not.
    Absent,
}

/// Seconds until an unconfirmed change is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u64")]
pub(super) struct Confirm(#[schemars(range(min = 15, max = 3600))] u64);

impl Default for Confirm {
    fn default() -> Self {
        Self(120)
    }
}

impl Confirm {
    pub(super) fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl TryFrom<u64> for Confirm {
    type Error = String;

    fn try_from(seconds: u64) -> Result<Self, String> {
        if (15..=3600).contains(&seconds) {
            Ok(Self(seconds))
        } else {
            Err(format!("{seconds} is not 15 to 3600 seconds"))
        }
    }
}

/// The MAC address that an interface shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", description = "`hardware`, or an address such as `00:50:56:12:34:56`.")]
pub enum MacWanted {
    /// That of the first uplink of its vSwitch.
    Hardware,
    /// This one.
    Given(Mac),
}

impl<'de> Deserialize<'de> for MacWanted {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        if text == "hardware" {
            return Ok(Self::Hardware);
        }
        text.parse().map(Self::Given).map_err(|e| de::Error::custom(format!("{e}, or `hardware`")))
    }
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "AddressingWritten")]
pub enum Addressing {
    /// No address.
    None,
    /// By DHCP.
    Dhcp,
    /// Set by hand.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// The netmask.
        netmask: Ipv4Addr,
        /// The gateway; `None`: as it is.
        gateway: Option<Ipv4Addr>,
    },
}

/// `dhcp`, `none`, or an address with its mask and perhaps a gateway.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // only its schema is used
enum AddressingWritten {
    /// By DHCP, or no address.
    Word(Word),
    /// Set by hand.
    Static(StaticWritten),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Word {
    /// By DHCP.
    Dhcp,
    /// No address.
    None,
}

/// An address set by hand. The mask is said once: as `address: 10.0.0.5/24`, as `netmask` or as `prefix`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StaticWritten {
    /// The address, `10.0.0.5` or `10.0.0.5/24`.
    address: String,
    /// The netmask, `255.255.255.0`.
    netmask: Option<Ipv4Addr>,
    /// Bits of the network, `24`.
    prefix: Option<u8>,
    /// The gateway. In the default TCP/IP stack it also becomes the default route when that goes over this
    /// interface, or when there is none; a gateway of its own for a further interface needs a release with
    /// `ipv4 set -g` (a Gateway column in `ipv4 get`).
    gateway: Option<Ipv4Addr>,
}

impl TryFrom<StaticWritten> for Addressing {
    type Error = String;

    fn try_from(w: StaticWritten) -> Result<Self, String> {
        let (address, in_address) = match w.address.split_once('/') {
            Some((a, bits)) => {
                let bits = bits.parse::<u8>().map_err(|_| format!("{:?} has no prefix after its slash", w.address))?;
                (a, Some(bits))
            }
            None => (w.address.as_str(), None),
        };
        let address: Ipv4Addr = address.parse().map_err(|_| format!("{address:?} is not an IPv4 address"))?;
        let net = match (in_address.or(w.prefix), w.netmask) {
            (Some(_), Some(_)) => return Err("say the mask once: in `address`, as `netmask` or as `prefix`".into()),
            (Some(_), None) if in_address.is_some() && w.prefix.is_some() => {
                return Err("say the mask once: in `address`, as `netmask` or as `prefix`".into());
            }
            (Some(bits), None) => {
                Ipv4Net::new(address, bits).map_err(|_| format!("{bits} is not a prefix (0 to 32)"))?
            }
            (None, Some(mask)) => {
                Ipv4Net::with_netmask(address, mask).map_err(|_| format!("{mask} is not a netmask"))?
            }
            (None, None) => return Err(format!("the mask is missing: write `address: {address}/24` or `netmask`")),
        };
        let ends = net.prefix_len() < 31 && (address == net.network() || address == net.broadcast());
        // 127.0.0.x is a mistake; the rest of 127.0.0.0/8 is where simulated hosts have addresses.
        let localhost = address.octets().starts_with(&[127, 0, 0]);
        if ends || address.is_unspecified() || address.is_multicast() || localhost {
            return Err(format!("{net} is not an address that an interface can have"));
        }
        if let Some(gateway) = w.gateway {
            if !net.contains(&gateway) {
                return Err(format!("the gateway {gateway} is not in the network {}", net.trunc()));
            }
            if gateway == address {
                return Err(format!("the gateway {gateway} is the interface's own address"));
            }
        }
        Ok(Self::Static { address, netmask: net.netmask(), gateway: w.gateway })
    }
}

impl<'de> Deserialize<'de> for Addressing {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Addressing;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`dhcp`, `none` or {address, netmask, gateway}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Addressing, E> {
                match text {
                    "dhcp" => Ok(Addressing::Dhcp),
                    "none" => Ok(Addressing::None),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Addressing, A::Error> {
                let written = StaticWritten::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Addressing::try_from(written).map_err(de::Error::custom)
            }
        }
        d.deserialize_any(Either)
    }
}

impl fmt::Display for Addressing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no IPv4 address"),
            Self::Dhcp => f.write_str("DHCP"),
            Self::Static { address, netmask, gateway } => {
                match Ipv4Net::with_netmask(*address, *netmask) {
                    Ok(net) => write!(f, "{net}")?,
                    Err(_) => write!(f, "{address} mask {netmask}")?,
                }
                gateway.map_or(Ok(()), |g| write!(f, ", gateway {g}"))
            }
        }
    }
}
