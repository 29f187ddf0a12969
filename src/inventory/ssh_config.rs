//! What `~/.ssh/config` says of a host, for everything that the inventory leaves open.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use ssh2_config::{ParseRule, SshConfig};

use super::Surroundings;

/// What it says of one host.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Alias {
    /// `HostName`.
    pub address: Option<String>,
    /// `Port`.
    pub port: Option<u16>,
    /// `User`.
    pub user: Option<String>,
    /// `IdentityFile`.
    pub keys: Vec<PathBuf>,
    /// `ProxyJump`, nearest first.
    pub jumps: Vec<String>,
    /// `UserKnownHostsFile`.
    pub known_hosts: Vec<PathBuf>,
}

/// A parsed ssh_config, or none.
pub struct Config(Option<SshConfig>);

impl Config {
    /// Reads `path`, or the user's own file if there is one. Only a file that was asked for must be there.
    pub fn read(path: Option<&Path>, around: &Surroundings<'_>) -> Result<Self, String> {
        let own = around.home.as_ref().map(|h| h.join(".ssh/config"));
        let Some(file) = path.map(Path::to_owned).or_else(|| own.filter(|p| p.is_file())) else {
            return Ok(Self(None));
        };
        let shown = file.display();
        let mut reader = BufReader::new(File::open(&file).map_err(|e| format!("cannot read {shown}: {e}"))?);
        let mut config = SshConfig::default();
        if let Some(home) = &around.home {
            config = config.home_dir(home.clone());
        }
        config
            .parse(&mut reader, ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS)
            .map(|c| Self(Some(c)))
            .map_err(|e| format!("{shown}: {e}"))
    }

    /// What it says of a host.
    pub fn of(&self, host: &str, around: &Surroundings<'_>) -> Alias {
        let Some(config) = &self.0 else { return Alias::default() };
        let found = config.query(host);
        let expand = |text: &str, address: &str| text.replace("%h", address).replace("%n", host);
        let address = found.host_name.as_deref().map(|a| expand(a, host));
        let home = |p: &str| around.path(&expand(p, address.as_deref().unwrap_or(host)), Path::new(""));
        // ssh2-config keeps what it has no field for under its lower-case name.
        let known_hosts = [&found.unsupported_fields, &found.ignored_fields]
            .into_iter()
            .flat_map(|fields| fields.iter())
            .find(|(name, _)| name.eq_ignore_ascii_case("UserKnownHostsFile"))
            .map(|(_, values)| values.iter().flat_map(|v| v.split_whitespace()).map(home).collect())
            .unwrap_or_default();
        Alias {
            port: found.port,
            user: found.user.clone(),
            keys: found.identity_file.iter().flatten().map(|p| home(&p.to_string_lossy())).collect(),
            jumps: found.proxy_jump.iter().flatten().filter(|j| !j.eq_ignore_ascii_case("none")).cloned().collect(),
            known_hosts,
            address,
        }
    }
}
