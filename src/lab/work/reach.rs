//! Proof that the hosts of a lab reach each other: no two VMkernel interfaces have one MAC address, and every host gets
//! an answer from the next one on every network that they share.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::prove::ask;
use super::session::{Session, WorkError};
use crate::esxi::{Command, forms};
use crate::lab::plan::{GuestAddress, Host};
use crate::lab::spec::NetworkKind;

/// What one host says of its VMkernel interfaces.
struct Interfaces {
    /// Interface and MAC.
    macs: Vec<(String, String)>,
    /// IPv4 addresses.
    addresses: Vec<String>,
}

/// Looks at all hosts; says what was seen.
///
/// # Errors
/// Two interfaces with one MAC, or a host that does not answer another.
pub async fn prove(session: &Arc<Session>, hosts: &[Host]) -> Result<Option<String>, WorkError> {
    let mut seen = BTreeMap::new();
    for host in hosts {
        seen.insert(host.name.clone(), interfaces(session, host).await?);
    }
    let macs = seen.iter().flat_map(|(host, i)| i.macs.iter().map(move |(vmk, mac)| (host.as_str(), vmk, mac)));
    let shared = shared_macs(macs);
    if !shared.is_empty() {
        return Err(WorkError::said(format!(
            "{}. On one network the switch sends frames now to the one and now to the other, and pings get lost. A clone \
             keeps the MAC addresses of the host that it was cloned from: apply playbooks/clone-fixup.yml, or a step \
             `vmknic: {{name: ..., mac: hardware}}`, which makes the interface anew",
            shared.join("; ")
        )));
    }
    let mut said = Vec::new();
    for network in session.plan.networks.iter().filter(|n| n.kind != NetworkKind::Nat) {
        let on: Vec<(&Host, String)> = hosts
            .iter()
            .filter_map(|host| {
                let nic = host.nics.iter().find(|nic| nic.network == network.name)?;
                let GuestAddress::Static { address, .. } = &nic.address else { return None };
                let address = address.addr().to_string();
                // An address of the plan that no playbook has given to an interface is nobody's.
                seen.get(&host.name)?.addresses.contains(&address).then_some((host, address))
            })
            .collect();
        if on.len() < 2 {
            continue;
        }
        for (at, (host, _)) in on.iter().enumerate() {
            let (other, address) = &on[(at + 1) % on.len()];
            let ping = Command::new("vmkping -c 3").arg(address);
            ask(session, host, &ping).await.map_err(|e| {
                WorkError::said(format!(
                    "{} does not reach {} at {address} on network {}: {e}",
                    host.name, other.name, network.name
                ))
            })?;
        }
        said.push(format!("{} hosts reach each other on {}", on.len(), network.name));
    }
    said.push(format!("{} VMkernel interfaces, no MAC twice", seen.values().map(|i| i.macs.len()).sum::<usize>()));
    Ok(Some(said.join(", ")))
}

async fn interfaces(session: &Session, host: &Host) -> Result<Interfaces, WorkError> {
    let odd = |command: &Command, e: &dyn std::fmt::Display| {
        WorkError::said(format!("{}: `{}` printed something else: {e}", host.name, command.text()))
    };
    let list = Command::esxcli("network ip interface list");
    let records = forms::records(&ask(session, host, &list).await?).map_err(|e| odd(&list, &e))?;
    let macs = records
        .into_iter()
        .filter_map(|(_, record)| Some((record.get("Name")?.clone(), record.get("MAC Address")?.to_lowercase())))
        .collect();
    let get = Command::esxcli("network ip interface ipv4 get");
    let rows = forms::table(&ask(session, host, &get).await?).map_err(|e| odd(&get, &e))?;
    let addresses = rows.iter().filter_map(|row| row.get("IPv4 Address").cloned()).collect();
    Ok(Interfaces { macs, addresses })
}

/// MAC addresses that more than one interface has, in words.
fn shared_macs<'a>(all: impl Iterator<Item = (&'a str, &'a String, &'a String)>) -> Vec<String> {
    let mut by_mac: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (host, vmk, mac) in all {
        by_mac.entry(mac).or_default().push(format!("{vmk} of {host}"));
    }
    by_mac
        .into_iter()
        .filter(|(_, who)| who.len() > 1)
        .map(|(mac, who)| format!("{} have one MAC address, {mac}", who.join(" and ")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_macs_are_named() {
        let all = [
            ("esx1", "vmk0", "52:54:00:00:00:01"),
            ("esx2", "vmk0", "52:54:00:00:00:01"),
            ("esx2", "vmk1", "52:54:00:00:00:02"),
        ]
        .map(|(h, v, m)| (h, v.to_owned(), m.to_owned()));
        let shared = shared_macs(all.iter().map(|(h, v, m)| (*h, v, m)));
        assert_eq!(shared, ["vmk0 of esx1 and vmk0 of esx2 have one MAC address, 52:54:00:00:00:01"]);
        assert!(shared_macs(all[1..].iter().map(|(h, v, m)| (*h, v, m))).is_empty());
    }
}
