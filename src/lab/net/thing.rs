//! What the networks of a lab make on a machine, one value a thing, as the journal keeps it.

use serde::{Deserialize, Serialize};

use super::NetError;
pub use super::hub::HubProcess;
pub use super::iface::{Address, Bridge, Mtu, Tap};
pub use super::netns::Netns;
pub use super::ovs::{OvsBridge, OvsPort, OvsServer};

/// A thing that was or will be made. [`Thing::make`] may be called any number of times, and so may
/// [`Thing::unmake`]: of something absent it is done at once, of something that is another's it is refused
/// ([`NetError::is_not_ours`]).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Thing {
    /// A named network namespace.
    Netns(Netns),
    /// A Linux bridge.
    Bridge(Bridge),
    /// A tap.
    Tap(Tap),
    /// An address on an interface, which may be somebody else's.
    Address(Address),
    /// Another MTU on an interface that was there before.
    Mtu(Mtu),
    /// An Open vSwitch of the lab's own.
    OvsServer(OvsServer),
    /// A bridge of an Open vSwitch.
    OvsBridge(OvsBridge),
    /// A port on such a bridge.
    OvsPort(OvsPort),
    /// The process of esxprep's own switch.
    Hub(HubProcess),
}

impl Thing {
    /// Makes it; if it is there and ours, it is set as wanted.
    pub fn make(&self) -> Result<(), NetError> {
        match self {
            Self::Netns(t) => t.make(),
            Self::Bridge(t) => t.make(),
            Self::Tap(t) => t.make(),
            Self::Address(t) => t.make(),
            Self::Mtu(t) => t.make(),
            Self::OvsServer(t) => t.make(),
            Self::OvsBridge(t) => t.make(),
            Self::OvsPort(t) => t.make(),
            Self::Hub(t) => t.make(),
        }
    }

    /// Removes exactly what [`Thing::make`] adds.
    pub fn unmake(&self) -> Result<(), NetError> {
        match self {
            Self::Netns(t) => t.unmake(),
            Self::Bridge(t) => t.unmake(),
            Self::Tap(t) => t.unmake(),
            Self::Address(t) => t.unmake(),
            Self::Mtu(t) => t.unmake(),
            Self::OvsServer(t) => t.unmake(),
            Self::OvsBridge(t) => t.unmake(),
            Self::OvsPort(t) => t.unmake(),
            Self::Hub(t) => t.unmake(),
        }
    }

    /// Why making it takes root; nothing if it does not.
    pub fn needs_root(&self) -> Option<String> {
        let what = match self {
            Self::Netns(t) => format!("network namespace {}", t.name),
            Self::Bridge(t) => format!("bridge {}", t.name),
            Self::Tap(t) => format!("tap {}", t.name),
            Self::Address(t) => format!("address {} on {}", t.address, t.link),
            Self::Mtu(t) => format!("MTU {} on {}", t.mtu, t.link),
            Self::OvsServer(_) => "an Open vSwitch of the lab's own".into(),
            Self::OvsBridge(t) => format!("Open vSwitch bridge {}", t.name),
            Self::OvsPort(t) => format!("Open vSwitch port {} on {}", t.port, t.bridge),
            Self::Hub(_) => return None,
        };
        Some(what)
    }
}

/// Which of these things take root to make, said before anything is made. Looks at nothing.
pub fn needs_root(things: &[Thing]) -> Vec<String> {
    things.iter().filter_map(Thing::needs_root).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Place;
    use super::*;

    #[test]
    fn a_thing_survives_the_journal() {
        let bridge = Thing::Bridge(Bridge { place: Place::netns("demo", "ns"), name: "br0".into(), mtu: Some(9000) });
        let text = serde_json::to_string(&bridge).unwrap();
        assert_eq!(text, r#"{"what":"bridge","place":{"lab":"demo","netns":"ns"},"name":"br0","mtu":9000}"#);
        assert_eq!(serde_json::from_str::<Thing>(&text).unwrap(), bridge);
        let address = Thing::Address(Address {
            place: Place::host("demo"),
            link: "br0".into(),
            address: "192.168.101.1/24".parse().unwrap(),
        });
        let text = serde_json::to_string(&address).unwrap();
        assert_eq!(serde_json::from_str::<Thing>(&text).unwrap(), address);
    }

    #[test]
    fn what_takes_root_is_said() {
        let tap = Tap { place: Place::host("demo"), name: "t0".into(), master: None, mtu: None, user: None };
        let said = needs_root(&[Thing::Tap(tap)]);
        assert_eq!(said, ["tap t0"]);
    }
}
