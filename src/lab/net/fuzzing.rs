//! Bodies for fuzz targets: what `ip`, `bridge` and `ovs-vsctl` print, frames of guests, and requests to the switch.
//! Each gives the size of the answer, as `src/fuzzing` wants it. Not part of the library's interface.

use std::path::PathBuf;
use std::time::Duration;

use super::hub::{Config, Mac, PortConfig, PortId, Reply, Request, Switch, VlanMode};
use super::{duplicate_macs, ovs, parse_addresses, parse_links, proc};
use crate::fuzzing::{said, size};

/// The start time in `/proc/PID/stat`, as this room reads it.
pub(crate) fn started(stat: &str) -> Option<u64> {
    proc::parse_stat(stat)
}

/// JSON of iproute2 and Open vSwitch.
///
/// # Panics
/// If an address of another interface is given, or a clash of one port with itself.
pub(crate) fn tables(bytes: &[u8]) -> usize {
    let links = parse_links(bytes);
    let mut all = said(&links);
    for link in links.iter().flatten() {
        all += size(&(link.owner(), link.is_up(), link.kind()));
        all += link.not_ours("tap", "demo").to_string().len();
    }
    let wanted = [("52:54:00:00:00:01".to_owned(), "tap1".to_owned()), ("AA:bb".to_owned(), "tap2".to_owned())];
    let clashes = duplicate_macs(bytes, &wanted);
    for clash in clashes.iter().flatten() {
        assert!(clash.ports.len() > 1 && clash.ports.is_sorted(), "{clash:?}");
    }
    all + said(&clashes) + said(&parse_addresses(bytes, "br0")) + said(&ovs::parse_sign(bytes))
}

/// Most frames of one input: each may be flooded to every port.
const FRAMES: usize = 2000;

/// Frames of guests through the switch: each is a byte for the port, one for its length, and so many bytes. None comes
/// back to its port, and none is delivered shorter than Ethernet's least length or with other addresses.
///
/// # Panics
/// If one of these does not hold.
pub(crate) fn frames(bytes: &[u8]) -> usize {
    let mut switch = Switch::new(Duration::from_secs(300));
    let modes = [
        VlanMode::default(),
        VlanMode::Access { tag: 10 },
        VlanMode::Trunk { vlans: vec![0, 10, 20] },
        VlanMode::NativeUntagged { tag: 10, vlans: vec![20, 4094] },
    ];
    for (number, vlan) in modes.into_iter().enumerate() {
        switch.add_port(&PortConfig { vlan, ..PortConfig::new(format!("p{number}")) });
    }
    let (mut rest, mut all) = (bytes, 0);
    for number in 0..FRAMES {
        let [port, length, after @ ..] = rest else { break };
        let (frame, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let from = PortId(u32::from(port % 5));
        let now = Duration::from_millis(number as u64 * 400);
        for (to, delivered) in switch.frame(from, frame, now) {
            assert!(to != from && to < PortId(4), "from {from:?} to {to:?}");
            assert!(delivered.len() >= 60 && delivered.len() <= frame.len().max(60) + 4);
            assert_eq!(delivered[..12], frame[..12], "other addresses");
            all += delivered.len();
        }
        if port % 16 == 15 {
            switch.remove_port(PortId(u32::from(length % 4)));
        }
    }
    all + size(&switch.take_events()) + size(&switch.table(Duration::from_secs(1)).len())
}

/// A request, a reply and a configuration of the switch, and a MAC: what is read is written and read again as the same.
///
/// # Panics
/// If it is not.
pub(crate) fn control(bytes: &[u8]) -> usize {
    let mut all = 0;
    for line in bytes.split(|b| *b == b'\n') {
        if let Ok(request) = serde_json::from_slice::<Request>(line) {
            let text = serde_json::to_vec(&request).unwrap_or_default();
            assert_eq!(serde_json::from_slice::<Request>(&text).ok().as_ref(), Some(&request));
            all += text.len();
            if let Request::AddPort { port } = request {
                all += checked(Config { ports: vec![port], ..Config::new("demo", "/run/e/x") });
            }
        }
        if let Ok(reply) = serde_json::from_slice::<Reply>(line) {
            let text = serde_json::to_vec(&reply).unwrap_or_default();
            assert_eq!(serde_json::from_slice::<Reply>(&text).ok(), Some(reply));
            all += text.len();
        }
        if let Ok(mac) = String::from_utf8_lossy(line).parse::<Mac>() {
            assert_eq!(mac.to_string().parse(), Ok(mac));
        }
    }
    if let Ok(config) = serde_json::from_slice::<Config>(bytes) {
        all += checked(config);
    }
    all
}

/// A configuration that passes is one that can run: each of its ports' sockets lies in its folder.
fn checked(config: Config) -> usize {
    let answer = config.check();
    if answer.is_ok() {
        for port in &config.ports {
            let parent = port.hub_socket(&config.dir).parent().map(PathBuf::from);
            assert_eq!(parent.as_ref(), Some(&config.dir), "{port:?} leads out of the folder");
            assert!(port.netdev(&config.dir, "n0").starts_with("dgram,id=n0,"));
        }
    }
    said(&answer)
}
