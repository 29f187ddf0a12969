//! How the hosts of a lab are logged in to: addresses, the root password, and the lab's own known_hosts.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use secrecy::SecretString;

use super::session::WorkError;
use crate::inventory::{self, Inventory};
use crate::lab::plan::{Endpoint, GuestAddress, Host, Plan};
use crate::lab::spec::PasswordSource;
use crate::lab::state::{Place, SecretFile};
use crate::transport::target::Credential;

/// Letters and digits of a generated password, without those that look alike.
const LETTERS: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// The file with the lab's generated root password.
pub fn password_file(place: &Place) -> SecretFile {
    SecretFile::at(place.dir().join("root-password"))
}

/// Makes the root password if the lab generates it and there is none yet.
///
/// # Errors
/// The lab's folder cannot be written.
pub fn ensure_password(place: &Place, plan: &Plan) -> Result<(), WorkError> {
    let generated = plan.hosts.iter().any(|h| h.root_password == PasswordSource::Generated);
    let file = password_file(place);
    if !generated || file.load()?.is_some() {
        return Ok(());
    }
    // Four kinds of character: ESXi's default rule asks for three (documented for 6.0 to 8.0).
    let letter = |_| char::from(LETTERS[rand::random_range(0..LETTERS.len())]);
    let password = format!("{}-{}7k", (0..12).map(letter).collect::<String>(), (0..4).map(letter).collect::<String>());
    Ok(file.save(&SecretString::from(password))?)
}

/// The known_hosts file of one host: its own, so that a rebuilt host takes its key with it.
pub fn known_hosts_of(place: &Place, host: &str) -> PathBuf {
    place.host(host).join("known_hosts")
}

/// Where SSH of a host answers; none while nobody knows.
pub fn ssh_of(host: &Host) -> Option<(String, u16)> {
    match &host.ssh {
        Endpoint::Forward { port } => Some((Ipv4Addr::LOCALHOST.to_string(), *port)),
        Endpoint::Address { address, port } => Some((address.to_string(), *port)),
        Endpoint::Unknown => None,
    }
}

/// The inventory of a lab, for every command that takes one. It holds no password, only where to find it.
pub fn inventory_text(place: &Place, plan: &Plan) -> String {
    // A JSON string is a YAML double-quoted string.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let mut yaml = format!("# The hosts of lab {}; written by `esxprep lab`.\nhosts:\n", plan.lab);
    for host in &plan.hosts {
        let Some((address, port)) = ssh_of(host) else { continue };
        let known = known_hosts_of(place, &host.name);
        // Only the first contact may be with a key that nobody has seen.
        let first = std::fs::metadata(&known).map_or(true, |m| m.len() == 0);
        let password = match &host.root_password {
            PasswordSource::Generated => {
                format!("{{file: {}}}", quoted(&password_file(place).path().display().to_string()))
            }
            PasswordSource::Env(name) => format!("{{env: {}}}", quoted(name)),
            PasswordSource::File(path) => format!("{{file: {}}}", quoted(path)),
            PasswordSource::Command(command) => format!("{{command: {}}}", quoted(command)),
            PasswordSource::Prompt(_) => "{prompt: true}".to_owned(),
        };
        let of_nic = |nic: &crate::lab::plan::Nic| match &nic.address {
            GuestAddress::Static { address, .. } => quoted(&address.to_string()),
            GuestAddress::Dhcp | GuestAddress::None => quoted(""),
        };
        let addresses: Vec<String> = host.nics.iter().map(of_nic).collect();
        let macs: Vec<String> = host.nics.iter().map(|n| quoted(&n.mac)).collect();
        yaml.push_str(&format!(
            "  {}:\n    address: {}\n    port: {port}\n    user: root\n    password: {password}\n    known_hosts: {}\n    \
             accept_new: {first}\n",
            quoted(&host.name),
            quoted(&address),
            quoted(&known.display().to_string()),
        ));
        // Its sshd signs with SHA-1 only (seen on 6.0).
        if host.esxi.starts_with("6.0") {
            yaml.push_str("    algorithms: legacy\n");
        }
        yaml.push_str(&format!(
            "    vars: {{lab_name: {}, lab_host: {}, lab_number: {}, lab_macs: [{}], lab_addresses: [{}]}}\n",
            quoted(&plan.lab),
            quoted(&host.name),
            host.number + 1,
            macs.join(", "),
            addresses.join(", ")
        ));
    }
    yaml
}

/// The hosts of a lab as an inventory, their secrets read.
///
/// # Errors
/// A secret that cannot be read.
pub fn inventory(place: &Place, plan: &Plan) -> Result<Inventory, WorkError> {
    let name = place.dir().join("inventory.yml");
    Inventory::parse(&inventory_text(place, plan), &name.display().to_string())
        .map_err(|problems| WorkError::said(problems.plain()))
}

/// One host of the inventory.
///
/// # Errors
/// A secret that cannot be read, or a host whose address nobody knows.
pub fn target_of(place: &Place, plan: &Plan, host: &str) -> Result<inventory::Host, WorkError> {
    let mut one = plan.clone();
    one.hosts.retain(|h| h.name == host);
    inventory(place, &one)?.hosts.into_iter().next().ok_or_else(|| {
        WorkError::said(format!(
            "{host} gets its address from a DHCP server that esxprep does not know: give it an `address:` in the lab \
             file, or a first NIC on a network of type nat"
        ))
    })
}

/// The root password of a host.
///
/// # Errors
/// It cannot be read.
pub fn root_password(place: &Place, plan: &Plan, host: &str) -> Result<SecretString, WorkError> {
    let target = target_of(place, plan, host)?.target;
    target
        .credentials
        .into_iter()
        .find_map(|c| match c {
            Credential::Password(password) => Some(password),
            _ => None,
        })
        .ok_or_else(|| WorkError::said(format!("{host} has no root password")))
}
