//! Where and how to log in.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Everything needed to reach one host.
#[derive(Debug, Clone)]
pub struct Target {
    /// The name used in reports.
    pub name: String,
    /// Address or DNS name.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// User, usually `root`.
    pub user: String,
    /// Tried in this order, each once.
    pub credentials: Vec<Credential>,
    /// How the host key is checked.
    pub host_key: HostKeyCheck,
    /// The address under which known_hosts knows the host, when that is not the one to connect to (OpenSSH's
    /// HostKeyAlias): a host that was given another address while we were on it keeps its key.
    pub host_key_alias: Option<String>,
    /// Which library carries the session.
    pub library: Library,
    /// Which algorithms are offered.
    pub algorithms: Algorithms,
    /// Hosts to jump through, nearest first.
    pub jumps: Vec<Target>,
    /// Limit for TCP connect, key exchange and login, each.
    pub connect_timeout: Duration,
    /// How long a host may give no sign of life before the connection is given up, a second at least; `None`: as the
    /// connector is set.
    pub silence_timeout: Option<Duration>,
    /// How many shell channels reads may be spread over where one is slow (1 where the server allows one).
    pub channels: usize,
}

impl Target {
    /// A target with the defaults: user root, port 22, known_hosts checked, no credentials yet.
    pub fn new(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            address: address.into(),
            port: 22,
            user: "root".into(),
            credentials: Vec::new(),
            host_key: HostKeyCheck::default(),
            host_key_alias: None,
            library: Library::default(),
            algorithms: Algorithms::default(),
            jumps: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            silence_timeout: None,
            channels: 4,
        }
    }

    /// Address and port as people write them: `192.0.2.1:22`, `[2001:db8::1]:22`.
    pub fn socket(&self) -> String {
        if self.address.contains(':') {
            format!("[{}]:{}", self.address, self.port)
        } else {
            format!("{}:{}", self.address, self.port)
        }
    }

    /// Over how many channels so many slow requests are spread; a third one costs more than two short commands.
    pub(super) fn channels_for(channels: usize, requests: usize) -> usize {
        if requests <= 2 { 1 } else { channels.clamp(1, requests.div_ceil(2)) }
    }
}

/// The library that speaks SSH.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Library {
    /// russh: Rust alone.
    #[default]
    Russh,
    /// libssh2 with OpenSSL.
    Libssh2,
}

impl Library {
    /// Whether this build has it: what to do if not.
    pub fn check(self) -> Result<(), String> {
        if self == Self::Russh || cfg!(feature = "libssh2") {
            return Ok(());
        }
        Err("`transport: libssh2` is asked for, but this esxprep was built without libssh2. Build one that has it \
             (cargo build --release --features libssh2; it needs OpenSSL's headers: libssl-dev and pkg-config), or \
             use `--transport russh`"
            .to_owned())
    }
}

/// A way to prove who we are.
#[derive(Debug, Clone)]
pub enum Credential {
    /// By keyboard-interactive where offered, else by the password method; one attempt in all.
    Password(SecretString),
    /// A private key file, perhaps encrypted.
    Key {
        /// The file.
        path: PathBuf,
        /// For an encrypted key.
        passphrase: Option<SecretString>,
    },
    /// Every key of the agent at `SSH_AUTH_SOCK`.
    Agent,
}

/// How a host key is checked. Nothing turns it off.
#[derive(Debug, Clone, Default)]
pub struct HostKeyCheck {
    /// The only accepted key, in OpenSSH form (`ssh-ed25519 AAAA...`) or as `SHA256:...` fingerprint.
    pub pin: Option<String>,
    /// known_hosts files to look in; empty: the user's.
    pub known_hosts: Vec<PathBuf>,
    /// Accept and store the key of a host that is not known yet.
    pub accept_new: bool,
}

/// Profiles of algorithms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Algorithms {
    /// Current algorithms only.
    Modern,
    /// Modern, with the NIST curves before group exchange, as ESXi 6.5 to 9.0 offers.
    #[default]
    Esxi,
    /// Adds SHA-1 and CBC for hosts before 6.5; only when the inventory says so.
    Legacy,
}
