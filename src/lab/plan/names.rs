//! Names and numbers that are derived, so that they are the same on every run: MACs, UUIDs, serial numbers, names of
//! interfaces, ports.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use super::ForwardKey;
use crate::esxi::mac::Mac;
use crate::lab::spec::{ForwardWish, Lab, NetworkKind, NicWish, Protocol};

/// Longest name of a network interface on Linux (IFNAMSIZ less its end).
pub const MOST_IFNAME: usize = 15;
/// Longest path of a unix socket (108 bytes less its end).
pub const MOST_SOCKET: usize = 107;
/// First part of every interface that a lab makes: what `gc` looks for.
pub const IF_PREFIX: &str = "ep";
/// First port that forwards get, and how many there are: below what Linux gives to connections (32768).
const PORTS: (u16, u16) = (20_000, 10_000);

/// A hash of some words. The words cannot be mistaken for others that join to the same text.
fn hash(words: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for word in words {
        hasher.update((word.len() as u64).to_be_bytes());
        hasher.update(word.as_bytes());
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A MAC of a NIC: 52:54:00 and three bytes of a hash of lab, host and NIC. `attempt` counts up where another has it.
pub fn mac(lab: &str, host: &str, nic: usize, attempt: u32) -> String {
    let number = nic.to_string();
    let again = attempt.to_string();
    let mut words = vec!["mac", lab, host, number.as_str()];
    if attempt > 0 {
        words.push(&again);
    }
    let h = hash(&words);
    format!("52:54:00:{:02x}:{:02x}:{:02x}", h[0], h[1], h[2])
}

/// MACs of all NICs of a lab. Those in the file are kept; a derived one that another has gives way to the next.
pub fn macs(lab: &Lab) -> BTreeMap<(String, usize), String> {
    let mut all = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (host, nics) in all_nics(lab) {
        for (i, nic) in nics.iter().enumerate() {
            if let Some(mac) = nic.mac.as_ref().and_then(|m| m.parse::<Mac>().ok()) {
                taken.insert(mac.to_string());
                all.insert((host.to_owned(), i), mac.to_string());
            }
        }
    }
    for (host, nics) in all_nics(lab) {
        for i in 0..nics.len() {
            let key = (host.to_owned(), i);
            if all.contains_key(&key) {
                continue;
            }
            // 16 million of them and at most 512 NICs: the first attempts settle it.
            let free = (0..1000).map(|attempt| mac(&lab.name, host, i, attempt)).find(|m| !taken.contains(m));
            if let Some(mac) = free {
                taken.insert(mac.clone());
                all.insert(key, mac);
            }
        }
    }
    all
}

/// A mainboard's UUID, of the form for hashes (version 8).
pub fn uuid(lab: &str, host: &str) -> String {
    let mut h = hash(&["uuid", lab, host]);
    h[6] = (h[6] & 0x0f) | 0x80;
    h[8] = (h[8] & 0x3f) | 0x80;
    let text = hex(&h[..16]);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

/// A disk's serial number, 14 characters.
pub fn serial(lab: &str, host: &str, disk: &str) -> String {
    format!("EP{}", hex(&hash(&["disk", lab, host, disk])[..6]).to_uppercase())
}

/// A disk's world wide name: NAA 3, locally assigned.
pub fn wwn(lab: &str, host: &str, disk: &str) -> u64 {
    let h = hash(&["wwn", lab, host, disk]);
    let number = h[..8].iter().fold(0u64, |n, b| (n << 8) | u64::from(*b));
    (number >> 4) | 0x3000_0000_0000_0000
}

/// A name of an interface, at most 15 characters: a prefix, the start of a word that people know, and a hash.
fn ifname(kind: &str, shown: &str, words: &[&str]) -> String {
    let hash = hex(&hash(words)[..3]);
    let room = MOST_IFNAME - IF_PREFIX.len() - kind.len() - 1 - hash.len() - 1;
    // Names are ASCII letters, digits and `-`: bytes are characters.
    let shown = shown.get(..room.min(shown.len())).unwrap_or_default().trim_end_matches('-');
    format!("{IF_PREFIX}{kind}-{shown}-{hash}")
}

/// The bridge of a network.
pub fn bridge(lab: &str, network: &str) -> String {
    ifname("b", network, &["bridge", lab, network])
}

/// The tap of a NIC.
pub fn tap(lab: &str, host: &str, nic: usize) -> String {
    ifname("t", host, &["tap", lab, host, &nic.to_string()])
}

/// The port of a NIC on a hub: the host's name and the NIC's number where that fits.
pub fn port(lab: &str, host: &str, nic: usize) -> String {
    let plain = format!("{host}-{nic}");
    if plain.len() <= MOST_IFNAME { plain } else { ifname("p", host, &["port", lab, host, &nic.to_string()]) }
}

/// The NICs of every host: those in the file, or one on each network.
pub fn all_nics(lab: &Lab) -> Vec<(&str, Vec<NicWish>)> {
    let one = |network: &String| NicWish { network: Some(network.clone()), ..NicWish::default() };
    let of_host = |nics: &Option<Vec<NicWish>>| match nics {
        Some(nics) => nics
            .iter()
            .map(|n| {
                let network = n.network.clone().or_else(|| lab.networks.keys().next().cloned());
                NicWish { network, ..n.clone() }
            })
            .collect(),
        None => lab.networks.keys().map(one).collect(),
    };
    lab.hosts.iter().map(|(name, host)| (name.as_str(), of_host(&host.settings.nics))).collect()
}

/// What is forwarded to a NIC: SSH and HTTPS to the first one behind `nat`, and what the file says.
pub fn forwards(lab: &Lab, nics: &[NicWish], number: usize) -> Vec<(String, ForwardWish)> {
    let is_nat = |nic: &NicWish| {
        let network = nic.network.as_ref().and_then(|n| lab.networks.get(n));
        network.is_some_and(|n| n.kind == NetworkKind::Nat)
    };
    let Some(nic) = nics.get(number).filter(|n| is_nat(n)) else { return Vec::new() };
    let mut all: Vec<ForwardWish> = Vec::new();
    if nics.iter().position(is_nat) == Some(number) {
        for guest in [22, 443] {
            let own = nic.forwards.iter().find(|f| f.guest == guest && f.protocol == Protocol::Tcp);
            all.push(own.copied().unwrap_or(ForwardWish { guest, host: None, protocol: Protocol::Tcp }));
        }
    }
    for forward in &nic.forwards {
        if !all.contains(forward) {
            all.push(*forward);
        }
    }
    let name = |f: &ForwardWish| match (f.guest, f.protocol) {
        (22, Protocol::Tcp) => "ssh".to_owned(),
        (443, Protocol::Tcp) => "https".to_owned(),
        (port, Protocol::Tcp) => port.to_string(),
        (port, Protocol::Udp) => format!("{port}/udp"),
    };
    all.into_iter().map(|f| (name(&f), f)).collect()
}

/// Chooses a port of this machine for every forward. Ports in the file stay; ports of an earlier run (`previous`) stay
/// unless they are `busy` now; the others are derived from lab, host and port, and step aside where something is there.
/// `busy` must not hold the ports of this lab's own running machines.
pub fn choose_ports(
    lab: &Lab,
    busy: &BTreeSet<u16>,
    previous: &BTreeMap<ForwardKey, u16>,
) -> BTreeMap<ForwardKey, u16> {
    let mut wanted = Vec::new();
    for (host, nics) in all_nics(lab) {
        for nic in 0..nics.len() {
            for (_, forward) in forwards(lab, &nics, nic) {
                let key =
                    ForwardKey { host: host.to_owned(), nic, protocol: forward.protocol, guest_port: forward.guest };
                wanted.push((key, forward.host));
            }
        }
    }
    let mut chosen = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (key, port) in &wanted {
        if let Some(port) = port {
            taken.insert(*port);
            chosen.insert(key.clone(), *port);
        }
    }
    for (key, _) in &wanted {
        let kept = previous.get(key).filter(|p| !busy.contains(p) && !taken.contains(p));
        if let (false, Some(port)) = (chosen.contains_key(key), kept) {
            taken.insert(*port);
            chosen.insert(key.clone(), *port);
        }
    }
    for (key, _) in wanted {
        if chosen.contains_key(&key) {
            continue;
        }
        let number = key.guest_port.to_string();
        let h = hash(&["port", &lab.name, &key.host, &key.nic.to_string(), key.protocol.name(), &number]);
        let start = u16::from_be_bytes([h[0], h[1]]) % PORTS.1;
        let free =
            (0..PORTS.1).map(|i| PORTS.0 + (start + i) % PORTS.1).find(|p| !busy.contains(p) && !taken.contains(p));
        if let Some(port) = free {
            taken.insert(port);
            chosen.insert(key, port);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn lab(text: &str) -> Lab {
        Lab::from_text(Path::new("x.yml"), text).unwrap()
    }

    #[test]
    fn macs_are_stable_distinct_and_local() {
        let lab = lab("name: x\nesxi: \"8.0\"\nhosts: 64\n");
        let all = macs(&lab);
        assert_eq!(all.len(), 128);
        assert_eq!(all.values().collect::<BTreeSet<_>>().len(), 128);
        assert!(all.values().all(|m| m.starts_with("52:54:00:")));
        assert_eq!(all, macs(&lab));
        // A host that is added or moved changes nothing of the others.
        assert_eq!(all[&("esx1".to_owned(), 0)], mac("x", "esx1", 0, 0));
        assert_ne!(mac("x", "esx1", 0, 0), mac("xe", "sx1", 0, 0));
        assert_ne!(mac("x", "esx1", 0, 0), mac("y", "esx1", 0, 0));
    }

    #[test]
    fn a_derived_mac_gives_way_to_one_in_the_file() {
        let derived = mac("x", "a", 0, 0);
        let text =
            format!("name: x\nesxi: \"8.0\"\nhosts:\n  a:\n  b: {{nics: [{{mac: \"{}\"}}]}}\n", derived.to_uppercase());
        let all = macs(&lab(&text));
        assert_eq!(all[&("b".to_owned(), 0)], derived);
        assert_eq!(all[&("a".to_owned(), 0)], mac("x", "a", 0, 1));
    }

    #[test]
    fn names_of_interfaces_fit_and_differ() {
        let long = "a-very-long-name-of-a-host-here";
        for name in ["a", "abcd-", long] {
            assert!(tap("lab", name, 7).len() <= MOST_IFNAME, "{}", tap("lab", name, 7));
            assert!(bridge("lab", name).len() <= MOST_IFNAME);
            assert!(tap("lab", name, 0).starts_with("ept-"));
            assert!(port("lab", name, 7).len() <= MOST_IFNAME);
        }
        assert_eq!(port("lab", "esx1", 1), "esx1-1");
        assert_ne!(tap("lab", "esx1", 0), tap("lab", "esx1", 1));
        assert_ne!(tap("lab", "esx1", 0), tap("lab2", "esx1", 0));
        assert_ne!(tap("lab", &format!("{long}1"), 0), tap("lab", &format!("{long}2"), 0));
    }

    #[test]
    fn serials_wwns_and_uuids_have_their_form() {
        assert_eq!(serial("x", "esx1", "boot").len(), 14);
        assert_ne!(serial("x", "esx1", "boot"), serial("x", "esx1", "data0"));
        assert_eq!(wwn("x", "esx1", "boot") >> 60, 3);
        let uuid = uuid("x", "esx1");
        assert_eq!(uuid.len(), 36);
        assert_eq!(&uuid[14..15], "8");
    }

    #[test]
    fn ports_are_kept_and_step_aside() {
        let two = lab("name: x\nesxi: \"8.0\"\nhosts: 2\n");
        let none = BTreeSet::new();
        let first = choose_ports(&two, &none, &BTreeMap::new());
        assert_eq!(first.len(), 4, "SSH and HTTPS of two hosts");
        assert_eq!(first.values().collect::<BTreeSet<_>>().len(), 4);
        assert!(first.values().all(|p| (20_000..30_000).contains(p)));
        // Kept over runs, even if something took the place that it would step aside for.
        assert_eq!(choose_ports(&two, &none, &first), first);
        let (key, port) = first.iter().next().unwrap();
        let busy = BTreeSet::from([*port]);
        let second = choose_ports(&two, &busy, &first);
        assert_ne!(second[key], *port);
        assert_eq!(second.iter().filter(|(k, p)| first[*k] == **p).count(), 3);
        // And the new one is kept although the old one is free again.
        assert_eq!(choose_ports(&two, &none, &second), second);
    }

    #[test]
    fn ports_in_the_file_win_over_kept_ones() {
        let fixed = lab("name: x\nesxi: \"8.0\"\nhosts: {a: {nics: [{forwards: [20022:22, 902]}]}}\n");
        let key = |port| ForwardKey { host: "a".into(), nic: 0, protocol: Protocol::Tcp, guest_port: port };
        let ports = choose_ports(&fixed, &BTreeSet::from([20022]), &BTreeMap::from([(key(22), 3), (key(443), 20022)]));
        assert_eq!(ports[&key(22)], 20022);
        assert_ne!(ports[&key(443)], 20022);
        assert_eq!(ports.len(), 3);
    }
}
