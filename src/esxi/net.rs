//! What the network commands print, as typed data: columns and labels are found by their words, so that one
//! reader serves every release, and what a release does not print is absent instead of wrong.

use std::net::Ipv4Addr;

use serde::Serialize;

use super::command::Command;
use super::forms::{self, FormError, Record};
use super::mac::Mac;

/// The TCP/IP stack that every host has.
pub const DEFAULT_NETSTACK: &str = "defaultTcpipStack";

/// A network output that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The text does not have its form.
    #[error(transparent)]
    Form(#[from] FormError),
    /// A column or label is missing.
    #[error("{item} has no `{label}`")]
    Missing {
        /// Which row or record.
        item: String,
        /// The label.
        label: &'static str,
    },
    /// A value is not what its label promises.
    #[error("`{label}` of {item} is {value:?}")]
    Value {
        /// Which row or record.
        item: String,
        /// The label.
        label: &'static str,
        /// What stands there.
        value: String,
    },
}

/// A VMkernel network interface, from `esxcli network ip interface list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vmknic {
    /// Name, for example `vmk0`.
    pub name: String,
    /// Its MAC address; absent only where the host prints none.
    pub mac: Option<Mac>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// The switch: a vSwitch's name, or a distributed switch's port set.
    pub portset: String,
    /// The port group; empty on a distributed or opaque switch (`N/A`).
    pub portgroup: String,
    /// The TCP/IP stack. Absent labels (5.0) read as the default stack.
    pub netstack: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// The distributed switch that it is on, if it is on one.
    pub dvs: Option<String>,
}

/// How an interface gets its IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum AddressType {
    /// Set by hand.
    Static,
    /// By DHCP.
    Dhcp,
    /// It has none.
    None,
    /// A word that this reader does not know.
    Other(String),
}

/// The IPv4 settings of an interface, from `esxcli network ip interface ipv4 get`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ipv4 {
    /// The interface.
    pub name: String,
    /// The address; absent where none is set (`0.0.0.0` or `N/A`).
    pub address: Option<Ipv4Addr>,
    /// The netmask, likewise.
    pub netmask: Option<Ipv4Addr>,
    /// Where it comes from.
    pub kind: AddressType,
    /// The gateway; absent where none is set (`0.0.0.0`).
    pub gateway: Option<Ipv4Addr>,
    /// Whether this release prints a Gateway column at all (6.x and later do, 5.x does not).
    pub knows_gateway: bool,
    /// Whether DHCP also sets the DNS servers.
    pub dhcp_dns: bool,
}

/// A physical NIC, from `esxcli network nic list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Nic {
    /// Name, for example `vmnic0`.
    pub name: String,
    /// The module that drives it.
    pub driver: String,
    /// Whether it is switched on; `None` on 5.x, which prints only the link.
    pub admin_up: Option<bool>,
    /// Whether there is a link.
    pub link_up: bool,
    /// Speed in Mbit/s; 0 without a link.
    pub speed: u32,
    /// Whether the link is full duplex.
    pub full_duplex: bool,
    /// The hardware address.
    pub mac: Option<Mac>,
    /// MTU in bytes.
    pub mtu: u32,
}

/// A standard switch, from `esxcli network vswitch standard list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Vswitch {
    /// Name, for example `vSwitch0`.
    pub name: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// CDP status: `down`, `listen`, `advertise` or `both`.
    pub cdp: String,
    /// Uplinks in the order printed, which is not the order of teaming.
    pub uplinks: Vec<String>,
}

/// A port group of a standard switch, from `esxcli network vswitch standard portgroup list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Portgroup {
    /// Name; blanks at its ends cannot be seen in a table.
    pub name: String,
    /// The vSwitch.
    pub vswitch: String,
    /// How many ports are in use.
    pub clients: u32,
    /// VLAN: 0 none, 4095 all.
    pub vlan: u16,
}

/// A route, from `esxcli network ip route ipv4 list`. The form is from public logs, not from a recording of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// `default`, or a network's address.
    pub network: String,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// The gateway; absent for a network that is on the link.
    pub gateway: Option<Ipv4Addr>,
    /// The interface.
    pub interface: String,
    /// `MANUAL` or `DHCP`.
    pub source: String,
}

/// The three security settings of a vSwitch or a port group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Security {
    /// Promiscuous mode is accepted.
    pub promiscuous: bool,
    /// MAC address changes are accepted.
    pub mac_changes: bool,
    /// Forged transmits are accepted.
    pub forged_transmits: bool,
    /// Which of the three a port group sets itself, in this order; `None` where the text does not say so, as that of a
    /// vSwitch.
    pub overrides: Option<[bool; 3]>,
}

impl Security {
    /// Promiscuous mode, MAC address changes, forged transmits.
    pub fn values(&self) -> [bool; 3] {
        [self.promiscuous, self.mac_changes, self.forged_transmits]
    }
}

/// A firewall ruleset's switch, from `esxcli network firewall ruleset list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ruleset {
    /// Name, for example `sshServer`.
    pub name: String,
    /// Whether its ports are open.
    pub enabled: bool,
    /// Whether a person may say who may use it; `None` where the release has no such column (before 8.0 U2).
    pub addresses_configurable: Option<bool>,
}

/// Who may use a ruleset, from `esxcli network firewall ruleset allowedip list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AllowedIps {
    /// The ruleset.
    pub ruleset: String,
    /// Addresses and networks; `None` is everybody.
    pub addresses: Option<Vec<String>>,
}

/// The firewall as a whole, from `esxcli network firewall get`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Firewall {
    /// Whether what no ruleset names passes.
    pub passes_by_default: bool,
    /// Whether the firewall is on.
    pub enabled: bool,
}

fn cell<'a>(record: &'a Record, item: &str, label: &'static str) -> Result<&'a str, ReadError> {
    record.get(label).map(String::as_str).ok_or_else(|| ReadError::Missing { item: item.to_owned(), label })
}

fn number<T: std::str::FromStr>(record: &Record, item: &str, label: &'static str) -> Result<T, ReadError> {
    let text = cell(record, item, label)?;
    text.parse().map_err(|_| ReadError::Value { item: item.to_owned(), label, value: text.to_owned() })
}

fn flag(record: &Record, item: &str, label: &'static str) -> Result<bool, ReadError> {
    let text = cell(record, item, label)?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "up" | "full" => Ok(true),
        "false" | "down" | "half" => Ok(false),
        _ => Err(ReadError::Value { item: item.to_owned(), label, value: text.to_owned() }),
    }
}

/// An address; `0.0.0.0`, `N/A` and nothing mean none.
fn address(record: &Record, item: &str, label: &'static str) -> Result<Option<Ipv4Addr>, ReadError> {
    let text = cell(record, item, label)?;
    if text.is_empty() || text.eq_ignore_ascii_case("n/a") {
        return Ok(None);
    }
    match text.parse::<Ipv4Addr>() {
        Ok(a) => Ok((!a.is_unspecified()).then_some(a)),
        Err(_) => Err(ReadError::Value { item: item.to_owned(), label, value: text.to_owned() }),
    }
}

fn mac(record: &Record) -> Option<Mac> {
    record.get("MAC Address").and_then(|t| t.parse().ok())
}

fn known(text: Option<&String>) -> Option<&String> {
    text.filter(|t| !t.is_empty() && !t.eq_ignore_ascii_case("n/a"))
}

/// A comma list; nothing is an empty list.
pub fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|p| !p.is_empty()).map(str::to_owned).collect()
}

fn named(title: &str, record: &Record) -> String {
    record.get("Name").map_or_else(|| title.to_owned(), Clone::clone)
}

/// Reads `network ip interface list` (recorded on 9.0; older releases print fewer labels).
pub fn vmknics(text: &str) -> Result<Vec<Vmknic>, ReadError> {
    let mut out = Vec::new();
    for (title, r) in forms::records(text)? {
        let name = named(&title, &r);
        out.push(Vmknic {
            mac: mac(&r),
            enabled: flag(&r, &name, "Enabled")?,
            portset: known(r.get("Portset")).cloned().unwrap_or_default(),
            portgroup: known(r.get("Portgroup")).cloned().unwrap_or_default(),
            netstack: known(r.get("Netstack Instance")).cloned().unwrap_or_else(|| DEFAULT_NETSTACK.to_owned()),
            mtu: number(&r, &name, "MTU")?,
            dvs: known(r.get("VDS Name")).cloned(),
            name,
        });
    }
    Ok(out)
}

/// Reads `network ip interface ipv4 get` and `... ipv4 address list` (recorded on 6.7 and later).
pub fn ipv4(text: &str) -> Result<Vec<Ipv4>, ReadError> {
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let name = cell(&r, "a row", "Name")?.to_owned();
        let kind = match cell(&r, &name, "Address Type")?.to_ascii_uppercase().as_str() {
            "STATIC" => AddressType::Static,
            "DHCP" => AddressType::Dhcp,
            "NONE" | "N/A" | "" => AddressType::None,
            other => AddressType::Other(other.to_owned()),
        };
        let knows_gateway = r.contains_key("Gateway");
        out.push(Ipv4 {
            address: address(&r, &name, "IPv4 Address")?,
            netmask: address(&r, &name, "IPv4 Netmask")?,
            kind,
            gateway: if knows_gateway { address(&r, &name, "Gateway")? } else { None },
            knows_gateway,
            dhcp_dns: r.contains_key("DHCP DNS") && flag(&r, &name, "DHCP DNS")?,
            name,
        });
    }
    Ok(out)
}

/// Reads `network nic list`: one `Link` column on 5.x, `Admin Status` and `Link Status` from 6.0.
pub fn nics(text: &str) -> Result<Vec<Nic>, ReadError> {
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let name = cell(&r, "a row", "Name")?.to_owned();
        let two = r.contains_key("Admin Status");
        out.push(Nic {
            driver: r.get("Driver").cloned().unwrap_or_default(),
            admin_up: if two { Some(flag(&r, &name, "Admin Status")?) } else { None },
            link_up: flag(&r, &name, if two { "Link Status" } else { "Link" })?,
            speed: number(&r, &name, "Speed")?,
            full_duplex: flag(&r, &name, "Duplex")?,
            mac: mac(&r),
            mtu: number(&r, &name, "MTU")?,
            name,
        });
    }
    Ok(out)
}

/// Reads `network vswitch standard list` (recorded on 6.7 and later).
pub fn vswitches(text: &str) -> Result<Vec<Vswitch>, ReadError> {
    let mut out = Vec::new();
    for (title, r) in forms::records(text)? {
        let name = named(&title, &r);
        out.push(Vswitch {
            mtu: number(&r, &name, "MTU")?,
            cdp: cell(&r, &name, "CDP Status")?.to_owned(),
            uplinks: comma_list(cell(&r, &name, "Uplinks")?),
            name,
        });
    }
    Ok(out)
}

/// Reads `network vswitch standard portgroup list` (recorded on 6.7 and later).
pub fn portgroups(text: &str) -> Result<Vec<Portgroup>, ReadError> {
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let name = cell(&r, "a row", "Name")?.to_owned();
        out.push(Portgroup {
            vswitch: cell(&r, &name, "Virtual Switch")?.to_owned(),
            clients: number(&r, &name, "Active Clients")?,
            vlan: number(&r, &name, "VLAN ID")?,
            name,
        });
    }
    Ok(out)
}

/// Reads `network ip route ipv4 list`.
pub fn routes(text: &str) -> Result<Vec<Route>, ReadError> {
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let network = cell(&r, "a row", "Network")?;
        let network = if network == "0.0.0.0" { "default" } else { network }.to_owned();
        out.push(Route {
            netmask: number(&r, &network, "Netmask")?,
            gateway: address(&r, &network, "Gateway")?,
            interface: cell(&r, &network, "Interface")?.to_owned(),
            source: r.get("Source").cloned().unwrap_or_default(),
            network,
        });
    }
    Ok(out)
}

/// Reads `network ip netstack list`: the names of the TCP/IP stacks (recorded with the default one alone).
pub fn netstacks(text: &str) -> Result<Vec<String>, ReadError> {
    Ok(forms::records(text)?
        .into_iter()
        .map(|(title, r)| r.get("Key").or_else(|| r.get("Name")).cloned().unwrap_or(title))
        .collect())
}

/// Reads `network ip interface tag get`: `   Tags: Management, VMotion`. No recording of it was found, so the
/// label may have any indent, and nothing after it means no tags. Not verified.
pub fn tags(text: &str) -> Result<Vec<String>, ReadError> {
    labelled_list(text, "Tags")
}

/// Reads a list that stands after one label on one line: `DNSServers: a, b` (recorded on 5.0 without its
/// leading blanks), `DNSSearch Domains: a`. The label's blanks and case do not matter.
pub fn labelled_list(text: &str, label: &'static str) -> Result<Vec<String>, ReadError> {
    let plain = |s: &str| s.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_ascii_lowercase();
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(':')
            && plain(name) == plain(label)
        {
            return Ok(comma_list(value));
        }
    }
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    Err(ReadError::Missing { item: "the output".into(), label })
}

/// Reads `policy security get` of a vSwitch or a port group. Labels as the catalogue of public scripts has
/// them; no full recording was found. Their case is left open: scripts of the command's properties have `OverrideVswitch`.
pub fn security(text: &str) -> Result<Security, ReadError> {
    let r = forms::record(text)?;
    let overridden = |label: &str| {
        let found = r.iter().find(|(k, _)| k.eq_ignore_ascii_case(label));
        found.map(|(_, v)| v.eq_ignore_ascii_case("true"))
    };
    let overrides = [
        overridden("Override vSwitch Allow Promiscuous"),
        overridden("Override vSwitch Allow MAC Address Change"),
        overridden("Override vSwitch Allow Forged Transmits"),
    ];
    Ok(Security {
        promiscuous: flag(&r, "the policy", "Allow Promiscuous")?,
        mac_changes: flag(&r, "the policy", "Allow MAC Address Change")?,
        forged_transmits: flag(&r, "the policy", "Allow Forged Transmits")?,
        overrides: match overrides {
            [Some(p), Some(m), Some(f)] => Some([p, m, f]),
            _ => None,
        },
    })
}

/// Reads `network firewall ruleset list` (recorded on 5.0 to 6.0; on 8.0 U2 with two columns more).
pub fn rulesets(text: &str) -> Result<Vec<Ruleset>, ReadError> {
    const CONFIGURABLE: &str = "Allowed IP configurable";
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let name = cell(&r, "a row", "Name")?.to_owned();
        let says = r.contains_key(CONFIGURABLE);
        out.push(Ruleset {
            enabled: flag(&r, &name, "Enabled")?,
            addresses_configurable: if says { Some(flag(&r, &name, CONFIGURABLE)?) } else { None },
            name,
        });
    }
    Ok(out)
}

/// Reads `network firewall ruleset allowedip list`: `All` or a comma list for each ruleset. Not recorded; the
/// columns are those of the vendor's example of 6.7 and of public notes.
pub fn allowed_ips(text: &str) -> Result<Vec<AllowedIps>, ReadError> {
    let mut out = Vec::new();
    for r in forms::table(text)? {
        let ruleset = cell(&r, "a row", "Ruleset")?.to_owned();
        let list = comma_list(cell(&r, &ruleset, "Allowed IP Addresses")?);
        let all = list.iter().any(|a| a.eq_ignore_ascii_case("all"));
        out.push(AllowedIps { ruleset, addresses: (!all).then_some(list) });
    }
    Ok(out)
}

/// Reads `network firewall get` (recorded on 5.0).
pub fn firewall(text: &str) -> Result<Firewall, ReadError> {
    let r = forms::record(text)?;
    Ok(Firewall {
        passes_by_default: cell(&r, "the firewall", "Default Action")?.eq_ignore_ascii_case("pass"),
        enabled: flag(&r, "the firewall", "Enabled")?,
    })
}

/// Appends an option whose value is a free name. esxcli takes a value that begins with `-` for an option, so
/// such a name goes in by the long option joined with `=`; every other name by the short one.
pub fn name_opt(command: Command, short: &'static str, long: &'static str, value: &str) -> Command {
    command.opt(if value.starts_with('-') { long } else { short }, value)
}

#[cfg(test)]
#[path = "net_tests.rs"]
mod tests;
