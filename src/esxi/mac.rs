//! Ethernet addresses, because a VMkernel interface whose address is not the physical NIC's is the reason why
//! nested and cloned hosts lose their network.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address of one interface. Prints in ESXi's form, lower case with colons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

/// The text was not an address that an interface can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMac {
    /// Not six pairs of hex digits.
    #[error("{0:?} is not a MAC address; write it like \"00:50:56:12:34:56\"")]
    Form(String),
    /// The multicast bit is set: no interface can send from such an address.
    #[error("{0:?} has the multicast bit set (the first byte is odd): an interface cannot have it")]
    Multicast(String),
    /// All zeros.
    #[error("{0:?} is the empty MAC address: an interface cannot have it")]
    Zero(String),
}

impl Mac {
    /// Whether it is from VMware's own range 00:50:56, in which ESXi generates addresses for every VMkernel
    /// interface after the installer's vmk0 (`esxcfg-vmknic -l` recorded on 7.0).
    pub fn is_vmware(self) -> bool {
        self.0[..3] == [0x00, 0x50, 0x56]
    }
}

impl FromStr for Mac {
    type Err = BadMac;

    fn from_str(text: &str) -> Result<Self, BadMac> {
        let bad = || BadMac::Form(text.to_owned());
        let separator = if text.contains('-') { '-' } else { ':' };
        let pairs: Vec<&str> = text.trim().split(separator).collect();
        let mut bytes = [0u8; 6];
        if pairs.len() != bytes.len() {
            return Err(bad());
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            if pair.len() != 2 || !pair.chars().all(|c| c.is_ascii_hexdigit()) {
                return Err(bad());
            }
            *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
        }
        if bytes == [0; 6] {
            return Err(BadMac::Zero(text.to_owned()));
        }
        if bytes[0] & 1 == 1 {
            return Err(BadMac::Multicast(text.to_owned()));
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl serde::Serialize for Mac {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_separators_and_prints_one_form() {
        let m: Mac = "00-50-56-AB-cd-0f".parse().unwrap();
        assert_eq!(m.to_string(), "00:50:56:ab:cd:0f");
        assert_eq!(m, "00:50:56:ab:cd:0f".parse().unwrap());
        assert!(m.is_vmware());
        assert!(!"20:67:7c:d9:a1:6c".parse::<Mac>().unwrap().is_vmware());
    }

    #[test]
    fn refuses_what_no_interface_can_have() {
        assert!(matches!("01:50:56:00:00:01".parse::<Mac>(), Err(BadMac::Multicast(_))));
        assert!(matches!("ff:ff:ff:ff:ff:ff".parse::<Mac>(), Err(BadMac::Multicast(_))));
        assert!(matches!("00:00:00:00:00:00".parse::<Mac>(), Err(BadMac::Zero(_))));
        for bad in ["", "00:50:56:00:00", "00:50:56:00:00:01:02", "0:50:56:00:00:011", "00:50:56:00:00:+1", "hardware"]
        {
            assert!(matches!(bad.parse::<Mac>(), Err(BadMac::Form(_))), "{bad}");
        }
    }
}
