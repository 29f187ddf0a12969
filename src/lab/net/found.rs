//! What bears a lab's sign on this machine, whether or not a journal knows of it: for a sweep after a journal was lost.

use std::fs;

use super::link::links;
use super::ovs::{Ovs, bridges_of_labs, system_ovs_answers};
use super::{Bridge, Datapath, LinkInfo, NetError, Netns, OvsBridge, Owner, Place, Tap, Thing};

/// Something that bears a sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The lab.
    pub lab: String,
    /// The thing, as far as its removal needs it.
    pub thing: Thing,
}

/// All namespaces, bridges and taps that bear a lab's sign, and the bridges in the machine's Open vSwitch. In the
/// order of their making: to be removed from behind. Ports of a bridge go with it; addresses go with their
/// interface, those on interfaces of others are not found.
pub fn found() -> Result<Vec<Found>, NetError> {
    let mut all = Vec::new();
    let mut names: Vec<String> = match fs::read_dir("/run/netns") {
        Ok(entries) => entries.filter_map(|e| e.ok()?.file_name().into_string().ok()).collect(),
        Err(_) => Vec::new(),
    };
    names.sort();
    for name in names {
        // Another's lab does not matter for looking, only the name does.
        let place = Place::netns("any", &name);
        if !place.exists() || place.check().is_err() {
            continue;
        }
        // A namespace may go at any moment.
        let Ok(inside) = links(&place) else { continue };
        for link in &inside {
            match link.owner() {
                Owner::Lab(lab) if link.ifname == "lo" => {
                    let netns = Netns { lab: lab.clone(), name: name.clone() };
                    all.push(Found { lab, thing: Thing::Netns(netns) });
                }
                Owner::Lab(lab) => all.extend(interface(link, lab, Some(&name))),
                Owner::Other(_) => {}
            }
        }
    }
    for link in links(&Place::host("any"))? {
        if let Owner::Lab(lab) = link.owner() {
            all.extend(interface(&link, lab, None));
        }
    }
    if system_ovs_answers() {
        for (lab, name) in bridges_of_labs(&Ovs::System)? {
            let place = Place::host(&lab);
            let thing = OvsBridge { place, ovs: Ovs::System, name, datapath: Datapath::default(), mtu: None };
            // Its own interface was found as one of an unknown kind.
            all.push(Found { lab, thing: Thing::OvsBridge(thing) });
        }
    }
    Ok(all)
}

fn interface(link: &LinkInfo, lab: String, netns: Option<&str>) -> Option<Found> {
    let place = Place { lab: lab.clone(), netns: netns.map(Into::into) };
    let name = link.ifname.clone();
    let thing = match link.kind() {
        Some("bridge") => Thing::Bridge(Bridge { place, name, mtu: None }),
        Some("tun") => Thing::Tap(Tap { place, name, master: None, mtu: None, user: None }),
        _ => return None,
    };
    Some(Found { lab, thing })
}
