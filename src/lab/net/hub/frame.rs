//! Ethernet frames: addresses, the 802.1Q tag, padding.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, de};

/// Both addresses and the type.
pub(super) const HEADER: usize = 14;
/// Where the tag is.
const TAG_AT: usize = 12;
/// The least length of a frame without its checksum (IEEE 802.3).
pub(super) const LEAST: usize = 60;
/// The type of an 802.1Q tag.
const DOT1Q: [u8; 2] = [0x81, 0x00];

/// A MAC address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mac(pub [u8; 6]);

/// What an 802.1Q tag says: priority and VLAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tci(pub u16);

impl Tci {
    /// The VLAN; 0: none, only a priority.
    pub fn vlan(self) -> u16 {
        self.0 & 0xfff
    }

    /// The same priority in another VLAN.
    pub fn with_vlan(self, vlan: u16) -> Self {
        Self((self.0 & 0xf000) | (vlan & 0xfff))
    }
}

impl Mac {
    /// Whether it is a group's: multicast or broadcast.
    pub fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }

    /// Whether it is one of the addresses that a bridge never forwards: spanning tree, LLDP, pause (IEEE 802.1D).
    pub fn is_link_local(self) -> bool {
        self.0[..5] == [0x01, 0x80, 0xc2, 0x00, 0x00] && self.0[5] < 0x10
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no MAC address (52:54:00:12:34:56 is one)");
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mac {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A frame taken apart. Borrowed: nothing is copied to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub to: Mac,
    pub from: Mac,
    pub tag: Option<Tci>,
    /// Type and payload, behind the tag.
    rest: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Nothing if the bytes are too few for the addresses, the type and the tag they begin.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() < HEADER {
            return None;
        }
        let to = Mac(bytes[..6].try_into().ok()?);
        let from = Mac(bytes[6..12].try_into().ok()?);
        if bytes[TAG_AT..HEADER] != DOT1Q {
            return Some(Self { to, from, tag: None, rest: &bytes[TAG_AT..] });
        }
        if bytes.len() < HEADER + 4 {
            return None;
        }
        let tci = Tci(u16::from_be_bytes([bytes[14], bytes[15]]));
        Some(Self { to, from, tag: Some(tci), rest: &bytes[TAG_AT + 4..] })
    }

    /// Its bytes with or without a tag, before padding.
    pub fn length(&self, with_tag: bool) -> usize {
        TAG_AT + if with_tag { 4 } else { 0 } + self.rest.len()
    }

    /// The frame with this tag or none, padded with zeros to the least length.
    pub fn with_tag(&self, tag: Option<Tci>) -> Vec<u8> {
        let mut out = Vec::with_capacity((16 + self.rest.len()).max(LEAST));
        out.extend_from_slice(&self.to.0);
        out.extend_from_slice(&self.from.0);
        if let Some(Tci(tci)) = tag {
            out.extend_from_slice(&DOT1Q);
            out.extend_from_slice(&tci.to_be_bytes());
        }
        out.extend_from_slice(self.rest);
        if out.len() < LEAST {
            out.resize(LEAST, 0);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn macs_are_read_and_written() {
        let mac: Mac = "52:54:00:AA:bb:01".parse().unwrap();
        assert_eq!(mac.to_string(), "52:54:00:aa:bb:01");
        for bad in ["52:54:00:aa:bb", "52:54:00:aa:bb:01:02", "52:54:0:aa:bb:01", "g2:54:00:aa:bb:01", ""] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
        assert!("01:80:c2:00:00:0e".parse::<Mac>().unwrap().is_link_local());
        assert!(!"01:80:c2:00:00:10".parse::<Mac>().unwrap().is_link_local());
    }

    #[test]
    fn an_arp_request_is_padded_to_the_least_length() {
        let mut arp = vec![0xff; 6];
        arp.extend([0x52, 0x54, 0, 0, 0, 1, 0x08, 0x06]);
        arp.extend([7; 28]);
        assert_eq!(arp.len(), 42);
        let padded = Frame::parse(&arp).unwrap().with_tag(None);
        assert_eq!(padded.len(), 60);
        assert_eq!(padded[..42], arp);
        assert_eq!(padded[42..], [0; 18]);
    }

    #[test]
    fn what_is_cut_is_no_frame() {
        assert_eq!(Frame::parse(&[0; 13]), None);
        let mut tagged = vec![2; 12];
        tagged.extend([0x81, 0x00, 0x00, 0x0a, 0x08]);
        assert_eq!(Frame::parse(&tagged), None);
        tagged.push(0x00);
        assert_eq!(Frame::parse(&tagged).unwrap().tag, Some(Tci(10)));
    }

    proptest! {
        #[test]
        fn a_tag_put_on_comes_off(head in prop::array::uniform12(any::<u8>()), rest in prop::collection::vec(any::<u8>(), 48..200), tci: u16) {
            let bytes: Vec<u8> = head.iter().copied().chain([0x08, 0x00]).chain(rest).collect();
            let tagged = Frame::parse(&bytes).unwrap().with_tag(Some(Tci(tci)));
            prop_assert_eq!(tagged.len(), bytes.len() + 4);
            let again = Frame::parse(&tagged).unwrap();
            prop_assert_eq!(again.tag, Some(Tci(tci)));
            prop_assert_eq!(again.with_tag(None), bytes);
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(frame) = Frame::parse(&bytes) {
                prop_assert!(frame.with_tag(frame.tag).starts_with(&bytes));
            }
        }
    }
}
