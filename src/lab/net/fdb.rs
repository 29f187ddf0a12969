//! Equal MAC addresses, found in a bridge's own table.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::place::run;
use super::{NetError, Place};

/// A MAC address that answers at several ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MacClash {
    /// The address.
    pub mac: String,
    /// The ports, sorted; or the NICs of the lab that share it.
    pub ports: Vec<String>,
}

/// Which MACs are at more than one place: learned by the bridge at one port (`bridge -j fdb show`) and known to
/// be the NIC of another (`wanted`: MAC and port, as the lab plans them), or planned twice.
///
/// A bridge keeps one port for a MAC, the last seen. So two guests with one MAC show as a MAC that is learned at a
/// port which is not its owner's; that is the sign looked for here.
pub fn duplicate_macs(fdb_json: &[u8], wanted: &[(String, String)]) -> Result<Vec<MacClash>, String> {
    #[derive(Deserialize)]
    struct Entry {
        mac: String,
        #[serde(default)]
        ifname: String,
        #[serde(default)]
        state: String,
    }
    let entries: Vec<Entry> = match fdb_json.trim_ascii() {
        [] => Vec::new(),
        json => serde_json::from_slice(json).map_err(|e| e.to_string())?,
    };
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (mac, port) in wanted {
        places.entry(mac.to_ascii_lowercase()).or_default().insert(port.clone());
    }
    // A tap's own address and multicast groups are permanent: they are no guests.
    for entry in entries.into_iter().filter(|e| e.state != "permanent" && e.state != "static") {
        places.entry(entry.mac.to_ascii_lowercase()).or_default().insert(entry.ifname);
    }
    Ok(places
        .into_iter()
        .filter(|(_, ports)| ports.len() > 1)
        .map(|(mac, ports)| MacClash { mac, ports: ports.into_iter().collect() })
        .collect())
}

/// The table of the bridges in a place, as JSON: `bridge -j fdb show`.
pub fn fdb(place: &Place) -> Result<Vec<u8>, NetError> {
    let mut args: Vec<&str> = Vec::new();
    if let Some(netns) = &place.netns {
        args.extend(["-n", netns]);
    }
    args.extend(["-j", "fdb", "show"]);
    run("bridge", &args, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FDB: &[u8] = br#"[{"mac":"33:33:00:00:00:01","ifname":"tap0","flags":["self"],"state":"permanent"},
        {"mac":"52:54:00:12:34:56","ifname":"tap1","flags":[],"master":"br0","state":""},
        {"mac":"52:54:00:aa:bb:02","ifname":"tap1","flags":[],"master":"br0","state":""}]"#;

    fn planned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn a_mac_at_a_port_of_another_is_a_clash() {
        let wanted = planned(&[("52:54:00:12:34:56", "tap0"), ("52:54:00:AA:BB:02", "tap1")]);
        let clashes = duplicate_macs(FDB, &wanted).unwrap();
        let ports = vec!["tap0".to_owned(), "tap1".to_owned()];
        assert_eq!(clashes, [MacClash { mac: "52:54:00:12:34:56".into(), ports }]);
    }

    #[test]
    fn planned_twice_is_a_clash_without_any_bridge() {
        let wanted = planned(&[("52:54:00:12:34:56", "h1/nic0"), ("52:54:00:12:34:56", "h2/nic0")]);
        assert_eq!(duplicate_macs(b"", &wanted).unwrap().len(), 1);
        assert_eq!(duplicate_macs(b"[]", &wanted[..1]).unwrap(), []);
        assert!(duplicate_macs(b"x", &[]).is_err());
    }
}
