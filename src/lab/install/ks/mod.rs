//! The install script: what it should do as data, and its text for a release.

pub mod grammar;
#[cfg(test)]
#[path = "../ks_tests.rs"]
mod tests;
mod text;

use std::net::Ipv4Addr;

use super::crypt::is_sha512_crypt;
use crate::esxi::Version;
use crate::esxi::mac::Mac;

pub use text::{marker_line, result_marker};

/// Which disk the system goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallDisk {
    /// `--firstdisk`, or `--firstdisk=local,vmw_ahci` with a filter: kinds, model or vendor text, driver names.
    First(Vec<String>),
    /// `--disk=NAME`: a device name such as `t10.ATA_____QEMU_HARDDISK____...` or `mpx.vmhba0:C0:T0:L0`.
    Named(String),
}

/// What happens to a datastore that is already on that disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldVmfs {
    /// `--overwritevmfs`: it is destroyed. What a fresh lab disk needs, so that a second attempt works too.
    Overwrite,
    /// `--preservevmfs`.
    Preserve,
}

/// How the management interface gets its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// By DHCP.
    Dhcp,
    /// A fixed address.
    Static {
        /// The address.
        ip: Ipv4Addr,
        /// Its netmask.
        netmask: Ipv4Addr,
        /// The gateway.
        gateway: Option<Ipv4Addr>,
        /// Name servers, at most two.
        nameservers: Vec<Ipv4Addr>,
    },
}

/// The management network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KsNetwork {
    /// The NIC, by the MAC that the host keeps: vmk0 takes it at install and keeps it (reported for 6.5 to 8.0.3).
    pub mac: Mac,
    /// Its address.
    pub address: Address,
    /// The host's name.
    pub hostname: Option<String>,
    /// The VLAN of the management network.
    pub vlan: Option<u16>,
    /// Make the port group `VM Network`.
    pub vm_portgroup: bool,
}

/// A datastore on another disk than the system's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KsDatastore {
    /// Its name.
    pub name: String,
    /// The disk's device name; none for the first one that fits.
    pub disk: Option<String>,
}

/// What an unattended install should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KsSpec {
    /// The release that is installed.
    pub release: Version,
    /// The root password as SHA-512 crypt, see [`hash_password`](super::crypt::hash_password).
    pub root_password_hash: String,
    /// The keyboard, one of [`grammar::KEYBOARDS`].
    pub keyboard: Option<String>,
    /// Where to install.
    pub disk: InstallDisk,
    /// What to do with a datastore on it.
    pub old_vmfs: OldVmfs,
    /// Make no datastore on the boot disk.
    pub no_vmfs_on_disk: bool,
    /// Install on a processor that the release has dropped. The boot line needs `allowLegacyCPU=true` as well.
    pub unsupported_cpu: bool,
    /// A licence key; no use on 9.0 and later.
    pub licence: Option<String>,
    /// The management network.
    pub network: KsNetwork,
    /// More datastores.
    pub datastores: Vec<KsDatastore>,
    /// SSH on, also after reboots.
    pub ssh: bool,
    /// The ESXi shell on, also after reboots.
    pub shell: bool,
    /// The warnings about SSH and the customer experience programme off.
    pub quiet_warnings: bool,
    /// root's SSH public keys, one line each.
    pub ssh_keys: Vec<String>,
    /// A word of letters and digits that tells this install from others; with it the script reports on the serial
    /// port (the boot line needs `logPort=com1`), see [`result_marker`].
    pub report: Option<String>,
    /// More lines among the commands, as they are.
    pub extra: Vec<String>,
    /// More lines for %firstboot, as they are.
    pub firstboot: Vec<String>,
}

impl KsSpec {
    /// An install on the first disk, with SSH and the shell on and the warnings off.
    pub fn new(release: Version, root_password_hash: impl Into<String>, network: KsNetwork) -> Self {
        Self {
            release,
            root_password_hash: root_password_hash.into(),
            keyboard: None,
            disk: InstallDisk::First(Vec::new()),
            old_vmfs: OldVmfs::Overwrite,
            no_vmfs_on_disk: false,
            unsupported_cpu: false,
            licence: None,
            network,
            datastores: Vec::new(),
            ssh: true,
            shell: true,
            quiet_warnings: true,
            ssh_keys: Vec::new(),
            report: None,
            extra: Vec::new(),
            firstboot: Vec::new(),
        }
    }

    /// The script's text, ready for the installer. Everything that would give a script that the installer refuses
    /// or that breaks out of its line is an error.
    pub fn render(&self) -> Result<String, KsError> {
        self.check()?;
        Ok(text::render(self))
    }

    fn line(&self) -> grammar::Line {
        (self.release.major, self.release.minor)
    }

    fn check(&self) -> Result<(), KsError> {
        if !is_sha512_crypt(&self.root_password_hash) {
            return Err(KsError::PasswordHash);
        }
        if let Some(keyboard) = &self.keyboard
            && !grammar::KEYBOARDS.contains(&keyboard.as_str())
        {
            return Err(KsError::Keyboard(keyboard.clone()));
        }
        match &self.disk {
            InstallDisk::First(filter) => filter.iter().try_for_each(|f| word("the disk filter", f))?,
            InstallDisk::Named(name) => word("the disk's name", name)?,
        }
        for datastore in &self.datastores {
            word("the datastore's name", &datastore.name)?;
            datastore.disk.iter().try_for_each(|disk| word("the datastore's disk", disk))?;
            if datastore.disk.is_some()
                && matches!(&self.disk, InstallDisk::Named(d) if Some(d) == datastore.disk.as_ref())
            {
                return Err(KsError::SameDisk(datastore.name.clone()));
            }
        }
        if let Some(key) = &self.licence {
            word("the licence key", key)?;
            if self.line() >= (9, 0) {
                return Err(KsError::Licence);
            }
        }
        self.network.check()?;
        self.ssh_keys.iter().try_for_each(|key| check_ssh_key(key, self.release))?;
        if let Some(report) = &self.report
            && (report.is_empty() || report.len() > 64 || !report.bytes().all(|b| b.is_ascii_alphanumeric()))
        {
            return Err(KsError::Report(report.clone()));
        }
        for line in self.extra.iter().chain(&self.firstboot) {
            // A section would swallow what comes after it, a delimiter would end what it is in.
            let section = grammar::SECTIONS.iter().any(|section| line.trim_start().starts_with(section.name));
            if line.contains(['\n', '\r', '\0']) || section || line.trim() == text::LOCAL_DELIMITER {
                return Err(KsError::Line(line.clone()));
            }
        }
        Ok(())
    }
}

impl KsNetwork {
    /// By DHCP on the NIC with this MAC.
    pub fn dhcp(mac: Mac) -> Self {
        Self { mac, address: Address::Dhcp, hostname: None, vlan: None, vm_portgroup: true }
    }

    fn check(&self) -> Result<(), KsError> {
        if let Some(name) = &self.hostname {
            let label = |l: &str| {
                !l.is_empty()
                    && l.len() <= 63
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !l.starts_with('-')
                    && !l.ends_with('-')
            };
            if name.len() > 253 || !name.split('.').all(label) {
                return Err(KsError::Hostname(name.clone()));
            }
        }
        if let Some(vlan) = self.vlan.filter(|vlan| *vlan > 4095) {
            return Err(KsError::Vlan(vlan));
        }
        if let Address::Static { ip, netmask, gateway, nameservers } = &self.address {
            let mask = u32::from(*netmask);
            if mask.leading_ones() + mask.trailing_zeros() != 32 || mask == 0 {
                return Err(KsError::Netmask(*netmask));
            }
            if let Some(gateway) = gateway
                && (u32::from(*gateway) & mask != u32::from(*ip) & mask || gateway == ip)
            {
                return Err(KsError::Gateway { ip: *ip, netmask: *netmask, gateway: *gateway });
            }
            if nameservers.len() > 2 {
                return Err(KsError::Nameservers(nameservers.len()));
            }
        }
        Ok(())
    }
}

/// Why there is no script.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KsError {
    /// Not SHA-512 crypt.
    #[error("the root password must be a SHA-512 crypt hash ($6$salt$...): `openssl passwd -6` makes one")]
    PasswordHash,
    /// Not a keyboard of the installer.
    #[error("the installer knows no keyboard `{0}`; it knows {list}", list = grammar::KEYBOARDS.join(", "))]
    Keyboard(String),
    /// A value that would not stay one word.
    #[error("{what} `{value}` has a blank, a quote or a control character in it")]
    Word {
        /// What it is.
        what: &'static str,
        /// It.
        value: String,
    },
    /// A datastore on the system's disk.
    #[error("datastore `{0}` is on the disk that ESXi is installed to; the installer refuses that")]
    SameDisk(String),
    /// A licence on 9.0 and later.
    #[error(
        "9.0 and later take no licence key from the install script; leave it out (the host runs in evaluation mode)"
    )]
    Licence,
    /// Not a host name.
    #[error("`{0}` is not a host name: letters, digits and dashes, parts of at most 63 parted by dots")]
    Hostname(String),
    /// Not a VLAN.
    #[error("VLAN {0}: it must be 0 to 4095")]
    Vlan(u16),
    /// Not a netmask.
    #[error("{0} is not a netmask")]
    Netmask(Ipv4Addr),
    /// A gateway that is not reachable.
    #[error("the gateway {gateway} is not in the network of {ip} with netmask {netmask}")]
    Gateway {
        /// The host's address.
        ip: Ipv4Addr,
        /// Its netmask.
        netmask: Ipv4Addr,
        /// The gateway.
        gateway: Ipv4Addr,
    },
    /// More than two.
    #[error("{0} name servers; the installer takes at most two")]
    Nameservers(usize),
    /// Not a public key line.
    #[error("not an SSH public key: {0}; it is one line such as `ecdsa-sha2-nistp256 AAAA... comment`")]
    SshKey(String),
    /// A key that the release's sshd refuses without a word.
    #[error(
        "an Ed25519 key does not work on ESXi {release}: {reason} ({source_text}); make another one with \
         `ssh-keygen -t ecdsa -b 384`"
    )]
    Ed25519 {
        /// The release.
        release: Version,
        /// Why.
        reason: &'static str,
        /// Where that is known from.
        source_text: &'static str,
    },
    /// Not a word of letters and digits.
    #[error("`{0}` cannot mark a result: one to 64 letters and digits")]
    Report(String),
    /// More than a line.
    #[error("an extra line holds a line feed or a NUL byte or begins a section: {0:?}; give each line on its own")]
    Line(String),
}

fn word(what: &'static str, value: &str) -> Result<(), KsError> {
    let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'\\' | b'#' | b',');
    if value.is_empty() || !value.bytes().all(good) {
        return Err(KsError::Word { what, value: value.to_owned() });
    }
    Ok(())
}

/// Kinds of SSH keys and whether FIPS mode knows them.
const KEY_TYPES: &[(&str, bool)] = &[
    ("ssh-rsa", true),
    ("ecdsa-sha2-nistp256", true),
    ("ecdsa-sha2-nistp384", true),
    ("ecdsa-sha2-nistp521", true),
    ("ssh-ed25519", false),
    ("sk-ssh-ed25519@openssh.com", false),
];

/// Checks one line of a public key for a release.
pub fn check_ssh_key(key: &str, release: Version) -> Result<(), KsError> {
    let bad = |why: &str| KsError::SshKey(why.to_owned());
    if key.contains(['\n', '\r', '\0']) || key.chars().any(char::is_control) {
        return Err(bad("it has more than one line or a control character"));
    }
    let mut words = key.split_ascii_whitespace();
    let kind = words.next().ok_or_else(|| bad("it is empty"))?;
    let Some((_, fips)) = KEY_TYPES.iter().find(|(name, _)| *name == kind) else {
        let why = if key.contains("PRIVATE KEY") { "this is a private key" } else { "it begins with no known kind" };
        return Err(bad(why));
    };
    let body = words.next().ok_or_else(|| bad("nothing follows its kind"))?;
    if body.len() < 32 || !body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=')) {
        return Err(bad("its second word is not base64"));
    }
    let behaviour = grammar::behaviour((release.major, release.minor));
    if !fips && !behaviour.ed25519 {
        return Err(KsError::Ed25519 { release, reason: behaviour.reason, source_text: behaviour.evidence.source });
    }
    Ok(())
}
