//! Readers of the texts in a [`Machine`](super::Machine). None of them does I/O; a text that is not understood gives
//! nothing, never a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// `/proc/cpuinfo`, the first processor's block and how many there are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu<'a> {
    pub vendor: &'a str,
    pub model: &'a str,
    pub count: usize,
    pub flags: BTreeSet<&'a str>,
    /// The line `vmx flags`, which kernels since 5.9 or so have on Intel.
    pub vmx_flags: BTreeSet<&'a str>,
}

impl<'a> Cpu<'a> {
    pub fn parse(text: &'a str) -> Self {
        let mut cpu = Self::default();
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "processor" => cpu.count += 1,
                "vendor_id" if cpu.vendor.is_empty() => cpu.vendor = value,
                "model name" if cpu.model.is_empty() => cpu.model = value,
                "flags" if cpu.flags.is_empty() => cpu.flags = value.split_whitespace().collect(),
                "vmx flags" if cpu.vmx_flags.is_empty() => cpu.vmx_flags = value.split_whitespace().collect(),
                _ => {}
            }
        }
        cpu
    }

    /// The flag that lets KVM run machines here, and the module that does it.
    pub fn virtualisation(&self) -> Option<(&'static str, &'static str)> {
        [("vmx", "kvm_intel"), ("svm", "kvm_amd")].into_iter().find(|(flag, _)| self.flags.contains(flag))
    }
}

/// A number of `/proc/meminfo`, in its own unit: KiB, or pages for `HugePages_*`.
pub(super) fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A version of QEMU, compared as numbers: 10.0 is later than 8.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct QemuVersion {
    /// The first number.
    pub major: u32,
    /// The second.
    pub minor: u32,
    /// The third, 0 if there is none.
    pub micro: u32,
}

impl QemuVersion {
    /// From what `qemu-system-x86_64 --version` prints: the first line that has `version N.N`.
    pub fn parse(text: &str) -> Option<Self> {
        text.lines().find_map(|line| {
            let (_, rest) = line.split_once("version ")?;
            // A candidate is `10.1.0-rc2`; a build of a distribution has `(Debian 1:10.0.2+ds-2)` after it.
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let mut numbers = rest[..end].split('.').map(|n| n.parse::<u32>().ok());
            let major = numbers.next()??;
            let minor = numbers.next()??;
            Some(Self { major, minor, micro: numbers.next().flatten().unwrap_or(0) })
        })
    }

    /// Whether it is this version or later.
    pub fn at_least(self, (major, minor): (u32, u32)) -> bool {
        (self.major, self.minor) >= (major, minor)
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub address: IpAddr,
    pub port: u16,
    pub uid: u32,
    pub inode: u64,
}

impl Listener {
    /// Whether nothing else can listen on this port of 127.0.0.1: it is bound there, or to every address. (`::` takes
    /// IPv4 along unless the program asked for IPv6 only, which /proc does not show.)
    pub fn blocks_loopback(&self) -> bool {
        match self.address {
            IpAddr::V4(a) => a.is_unspecified() || a == Ipv4Addr::LOCALHOST,
            IpAddr::V6(a) => a.is_unspecified() || a.to_ipv4_mapped().is_some_and(|a| a == Ipv4Addr::LOCALHOST),
        }
    }
}

/// The listening sockets of `/proc/net/tcp` or `tcp6`.
pub(super) fn listeners(text: &str) -> Vec<Listener> {
    text.lines().filter_map(listener).collect()
}

fn listener(line: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    // 0A is TCP_LISTEN. Columns: number, local, remote, state, queues, timer, retransmits, uid, timeout, inode.
    if words.get(3) != Some(&"0A") {
        return None;
    }
    let (address, port) = words.get(1)?.split_once(':')?;
    Some(Listener {
        address: address_of(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: words.get(7)?.parse().ok()?,
        inode: words.get(9)?.parse().ok()?,
    })
}

/// The kernel prints each 32-bit word in the machine's own byte order; QEMU's x86 hosts are little-endian.
fn address_of(hex: &str) -> Option<IpAddr> {
    let word = |i: usize| {
        let text = hex.get(i * 8..i * 8 + 8)?;
        u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes)
    };
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let mut bytes = [0; 16];
            for i in 0..4 {
                bytes[i * 4..i * 4 + 4].copy_from_slice(&word(i)?);
            }
            Some(IpAddr::V6(Ipv6Addr::from(bytes)))
        }
        _ => None,
    }
}

/// A line of `/proc/self/mountinfo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub point: PathBuf,
    pub kind: String,
    pub options: String,
    pub super_options: String,
}

impl Mount {
    pub fn read_only(&self) -> bool {
        [&self.options, &self.super_options].iter().any(|o| o.split(',').any(|o| o == "ro"))
    }
}

/// The mount that a path is on: the longest mount point above it, the last of equals, which hides the others.
pub(super) fn mount_of(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<Mount> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let (left, right): (Vec<&str>, Vec<&str>) = (left.split(' ').collect(), right.split(' ').collect());
        let (Some(point), Some(options), Some(kind)) = (left.get(4), left.get(5), right.first()) else { continue };
        let point = PathBuf::from(unescape(point));
        let depth = |p: &Path| p.components().count();
        if path.starts_with(&point) && best.as_ref().is_none_or(|b| depth(&point) >= depth(&b.point)) {
            best = Some(Mount {
                point,
                kind: (*kind).to_owned(),
                options: (*options).to_owned(),
                super_options: right.get(2).copied().unwrap_or_default().to_owned(),
            });
        }
    }
    best
}

/// `\040` and the like.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        let octal = rest.get(..3).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (byte, octal) {
            (b'\\', Some(real)) => {
                out.push(real);
                bytes = &rest[3..];
            }
            _ => {
                out.push(byte);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Capability numbers of linux/capability.h.
pub(super) const CAP_NET_BIND_SERVICE: u32 = 10;
pub(super) const CAP_NET_ADMIN: u32 = 12;

/// Whether `/proc/self/status` shows this capability as effective.
pub(super) fn has_capability(status: &str, number: u32) -> bool {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    hex.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).is_some_and(|bits| bits >> number & 1 == 1)
}

/// The name of a group in `/etc/group`.
pub(super) fn group_name(file: &str, gid: u32) -> Option<&str> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(gid)).then_some(name)
    })
}

/// `vmx`/`nested` and friends: kernels print bools as `Y` and `N`, ints as `1` and `0`.
pub(super) fn truth(value: &str) -> Option<bool> {
    match value.trim() {
        "Y" | "y" | "1" => Some(true),
        "N" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// The options of one module in a file of modprobe.d, in order; `-` and `_` are the same in a module's name.
pub(super) fn modprobe_options(text: &str, module: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in joined.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("options") || words.next().is_none_or(|m| m.replace('-', "_") != module) {
            continue;
        }
        for word in words {
            let (name, value) = word.split_once('=').unwrap_or((word, "1"));
            found.push((name.to_owned(), value.trim_matches('"').to_owned()));
        }
    }
    found
}

/// A MAC as twelve lower-case digits with colons.
pub(super) fn mac(text: &str) -> Option<String> {
    let digits: Vec<char> = text.trim().chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if digits.len() != 12 || !digits.iter().all(char::is_ascii_hexdigit) {
        return None;
    }
    let pairs: Vec<String> = digits.chunks(2).map(|p| p.iter().collect::<String>().to_ascii_lowercase()).collect();
    Some(pairs.join(":"))
}

/// Whether a MAC names a group of machines.
pub(super) fn is_multicast(mac: &str) -> bool {
    mac.get(..2).and_then(|byte| u8::from_str_radix(byte, 16).ok()).is_some_and(|byte| byte & 1 == 1)
}

/// An interface of `ip -j link`.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    pub ifname: String,
    #[serde(default)]
    pub address: Option<String>,
}

/// An entry of `bridge -j fdb`.
#[derive(Debug, Deserialize)]
pub(super) struct FdbEntry {
    pub mac: String,
    pub ifname: String,
    #[serde(default)]
    pub master: Option<String>,
    #[serde(default)]
    pub vlan: Option<u32>,
    #[serde(default)]
    pub state: Option<String>,
}

/// An entry of `ip -j neigh`.
#[derive(Debug, Deserialize)]
pub(super) struct Neighbour {
    pub dst: String,
    pub dev: String,
    #[serde(default)]
    pub lladdr: Option<String>,
    #[serde(default)]
    pub state: Vec<String>,
}

/// What iproute2 prints with `-j`; it prints nothing at all where there is nothing to list.
pub(super) fn json_list<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(text).map_err(|e| e.to_string())
}

/// Whether a bridge has learned a MAC: an entry with a bridge that is not permanent.
pub(super) fn has_learned(fdb: &str) -> bool {
    let list: Vec<FdbEntry> = json_list(fdb).unwrap_or_default();
    list.iter().any(|e| e.master.is_some() && e.state.as_deref() != Some("permanent"))
}

/// `KEY=value` of os-release.
pub(super) fn os_release(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k, v.trim_matches('"'))).collect()
}
