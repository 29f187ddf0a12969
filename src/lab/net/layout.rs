//! From what a lab file asks of a network to the things that make it, in the order of their making.

use std::path::PathBuf;

use ipnet::IpNet;

use super::{
    Address, Bridge, Datapath, NetError, Netns, Ovs, OvsBridge, OvsPort, OvsServer, Place, Tap, Thing,
    check_interface_name,
};

/// What carries the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// A Linux bridge and taps.
    Bridge,
    /// Open vSwitch and taps.
    Ovs {
        /// Where frames are switched.
        datapath: Datapath,
        /// Where the lab's own switch would live.
        private_dir: PathBuf,
        /// Whether the machine's own Open vSwitch answers ([`super::system_ovs_answers`]).
        system_answers: bool,
    },
}

/// The VLANs of a NIC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vlan {
    /// The VLAN of an access port.
    pub tag: Option<u16>,
    /// The VLANs of a trunk.
    pub trunks: Vec<u16>,
}

/// A guest's NIC on the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The tap's name.
    pub tap: String,
    /// Its VLANs (Open vSwitch only).
    pub vlan: Vlan,
}

/// A network as wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Where, and whose. A namespace in it is made too, unless it is there already (`netns_exists`).
    pub place: Place,
    /// Whether somebody else's namespace of that name is to be used.
    pub netns_exists: bool,
    /// What carries it.
    pub backend: Backend,
    /// The bridge's name.
    pub bridge: String,
    /// Whether that bridge was there before and is somebody else's: it is then used, and neither set nor removed.
    pub bridge_exists: bool,
    /// Addresses for the machine on the bridge; none that it has already.
    pub addresses: Vec<IpNet>,
    /// MTU in bytes for bridge and taps.
    pub mtu: Option<u32>,
    /// The user (numeric id) that may open the taps besides root.
    pub user: Option<u32>,
    /// The NICs.
    pub nics: Vec<Attachment>,
}

/// The things that make a network, in order. Pure.
pub fn layout(request: &Request) -> Result<Vec<Thing>, NetError> {
    let Request { place, bridge, mtu, .. } = request;
    place.check()?;
    check_interface_name(bridge)?;
    let mut things = Vec::new();
    if let Some(name) = place.netns.clone().filter(|_| !request.netns_exists) {
        things.push(Thing::Netns(Netns { lab: place.lab.clone(), name }));
    }
    let ovs = match &request.backend {
        Backend::Bridge => {
            if !request.bridge_exists {
                things.push(Thing::Bridge(Bridge { place: place.clone(), name: bridge.clone(), mtu: *mtu }));
            }
            None
        }
        Backend::Ovs { datapath, private_dir, system_answers } => {
            // The machine's switch does not see interfaces in a namespace.
            let ovs = if place.netns.is_none() && *system_answers {
                Ovs::System
            } else {
                things.push(Thing::OvsServer(OvsServer { place: place.clone(), dir: private_dir.clone() }));
                Ovs::Private(private_dir.clone())
            };
            if !request.bridge_exists {
                things.push(Thing::OvsBridge(OvsBridge {
                    place: place.clone(),
                    ovs: ovs.clone(),
                    name: bridge.clone(),
                    datapath: *datapath,
                    mtu: *mtu,
                }));
            }
            Some(ovs)
        }
    };
    for address in &request.addresses {
        things.push(Thing::Address(Address { place: place.clone(), link: bridge.clone(), address: *address }));
    }
    for nic in &request.nics {
        check_interface_name(&nic.tap)?;
        let master = ovs.is_none().then(|| bridge.clone());
        let tap = Tap { place: place.clone(), name: nic.tap.clone(), master, mtu: *mtu, user: request.user };
        things.push(Thing::Tap(tap));
        match &ovs {
            Some(ovs) => things.push(Thing::OvsPort(OvsPort {
                place: place.clone(),
                ovs: ovs.clone(),
                bridge: bridge.clone(),
                port: nic.tap.clone(),
                tag: nic.vlan.tag,
                trunks: nic.vlan.trunks.clone(),
                mtu: *mtu,
            })),
            None if nic.vlan != Vlan::default() => {
                return Err(NetError::Impossible {
                    what: format!("VLANs on {}", nic.tap),
                    problem: "a Linux bridge of a lab keeps no VLANs apart",
                    advice: "set `backend: ovs`, or use esxprep's own switch",
                });
            }
            None => {}
        }
    }
    Ok(things)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(backend: Backend) -> Request {
        let nic = |tap: &str| Attachment { tap: tap.into(), vlan: Vlan::default() };
        Request {
            place: Place::netns("demo", "ns"),
            netns_exists: false,
            backend,
            bridge: "br0".into(),
            bridge_exists: false,
            addresses: vec!["10.0.0.1/24".parse().unwrap()],
            mtu: Some(9000),
            user: None,
            nics: vec![nic("t0"), nic("t1")],
        }
    }

    fn ovs(system_answers: bool) -> Backend {
        Backend::Ovs { datapath: Datapath::Userspace, private_dir: "/run/x".into(), system_answers }
    }

    fn kinds(things: &[Thing]) -> Vec<String> {
        let what = |t| serde_json::to_value(t).unwrap()["what"].as_str().unwrap().to_owned();
        things.iter().map(what).collect()
    }

    #[test]
    fn things_come_after_what_they_stand_on() {
        let made = layout(&request(Backend::Bridge)).unwrap();
        assert_eq!(kinds(&made), ["netns", "bridge", "address", "tap", "tap"]);
        let made = layout(&request(ovs(false))).unwrap();
        let wanted = ["netns", "ovs-server", "ovs-bridge", "address", "tap", "ovs-port", "tap", "ovs-port"];
        assert_eq!(kinds(&made), wanted);
    }

    #[test]
    fn the_machines_switch_serves_only_its_own_network() {
        let mut wanted = request(ovs(true));
        assert!(kinds(&layout(&wanted).unwrap()).contains(&"ovs-server".to_owned()));
        wanted.place.netns = None;
        assert_eq!(kinds(&layout(&wanted).unwrap())[0], "ovs-bridge");
    }

    #[test]
    fn a_bridge_of_others_is_only_used() {
        let mut wanted = request(Backend::Bridge);
        wanted.bridge_exists = true;
        assert_eq!(kinds(&layout(&wanted).unwrap()), ["netns", "address", "tap", "tap"]);
    }

    #[test]
    fn vlans_on_a_linux_bridge_are_refused() {
        let mut wanted = request(Backend::Bridge);
        wanted.nics[0].vlan.tag = Some(10);
        assert!(layout(&wanted).unwrap_err().to_string().contains("`backend: ovs`"));
    }
}
