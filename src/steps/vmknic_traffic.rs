//! Which traffic each VMkernel interface carries: by its tags, and by the TCP/IP stack that it is in.

use crate::esxi::Command;
use crate::esxi::net::{self, Vmknic};

use super::network;
use super::step::{Seen, StepError};

/// TCP/IP stacks whose interfaces carry a traffic without a tag, and the tag that means the same. The names are those
/// that the vendor's documentation has for `esxcli network ip netstack add` and for `interface add --netstack`.
pub(super) const STACKS: &[(&str, &str)] = &[("vmotion", "VMotion"), ("vSphereProvisioning", "vSphereProvisioning")];

/// An interface and the traffic that it carries, in ESXi's words.
#[derive(Debug, Clone)]
pub(super) struct Carrier {
    pub(super) vmknic: Vmknic,
    pub(super) traffic: Vec<String>,
}

impl Carrier {
    pub(super) fn carries(&self, tag: &str) -> bool {
        self.traffic.iter().any(|t| t.eq_ignore_ascii_case(tag))
    }
}

/// The first read: which interfaces there are.
pub(super) fn reads() -> Vec<Command> {
    vec![network::vmknic_list()]
}

/// The tags of each of them.
pub(super) fn more_reads(seen: &Seen<'_>) -> Vec<Command> {
    let faces = network::read(seen, &network::vmknic_list(), net::vmknics).unwrap_or_default();
    faces.iter().map(|v| network::tag_get(&v.name)).collect()
}

/// All interfaces with what they carry. A release without tags is one on which there is nothing to judge.
pub(super) fn observe(seen: &Seen<'_>) -> Result<Vec<Carrier>, StepError> {
    let mut all = Vec::new();
    for vmknic in network::read_here(seen, &network::vmknic_list(), net::vmknics)? {
        let mut traffic = network::read_here(seen, &network::tag_get(&vmknic.name), net::tags)?;
        if let Some((_, tag)) = STACKS.iter().find(|(stack, _)| *stack == vmknic.netstack)
            && !traffic.iter().any(|t| t.eq_ignore_ascii_case(tag))
        {
            traffic.push((*tag).to_owned());
        }
        all.push(Carrier { vmknic, traffic });
    }
    Ok(all)
}
