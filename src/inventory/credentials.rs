//! From what is wanted of a host to a [`Target`]: secrets opened, ssh_config asked, jump hosts resolved.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Surroundings;
use super::list::Spot;
use super::secret::{Source, Vault};
use super::ssh_config::Config;
use crate::playbook::{Problem, Span, did_you_mean};
use crate::transport::Target;
use crate::transport::target::{Algorithms, Credential, HostKeyCheck, Library};

/// A secret that is wanted.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Where it comes from.
    pub source: Source,
    /// Where that is written.
    pub at: Span,
    /// The defaults or the group that it is written in, if not the host's own.
    pub shared: Option<String>,
}

/// What the inventory says of a host, defaults and groups merged in.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Address or DNS name.
    pub address: Option<String>,
    /// TCP port.
    pub port: Option<u16>,
    /// User.
    pub user: Option<String>,
    /// Password and where it is written.
    pub password: Option<Secret>,
    /// Private key files, with where they are written.
    pub keys: Vec<(String, Span)>,
    /// Passphrase of the keys.
    pub passphrase: Option<Secret>,
    /// Use the agent: yes, no, or only without other credentials.
    pub agent: Option<bool>,
    /// The only accepted host key.
    pub host_key: Option<String>,
    /// known_hosts files.
    pub known_hosts: Vec<String>,
    /// Accept unknown host keys.
    pub accept_new: bool,
    /// Jump hosts, nearest first, with where they are written.
    pub jumps: Option<(Vec<String>, Span)>,
    /// Algorithm profile.
    pub algorithms: Algorithms,
    /// The library that carries the session.
    pub library: Library,
    /// Shell channels.
    pub channels: Option<usize>,
    /// Limit for connecting.
    pub connect_timeout: Option<Duration>,
    /// Limit for silence.
    pub silence_timeout: Option<Duration>,
}

/// Most jump hosts on the way to one host.
const MAX_JUMPS: usize = 8;

/// Makes targets.
pub struct Maker<'a> {
    around: &'a Surroundings<'a>,
    base: &'a Path,
    vault: Vault<'a>,
    config: Config,
    /// Hosts of the inventory by name, for jumps.
    pub known: BTreeMap<String, Wanted>,
    /// Whether secrets are left alone: those of hosts that are not wanted.
    pub closed: bool,
    warnings: Vec<String>,
}

impl<'a> Maker<'a> {
    /// A maker; relative files are looked for in `base`.
    pub fn new(around: &'a Surroundings<'a>, base: &'a Path, ssh_config: Option<&str>) -> Result<Self, String> {
        let path = ssh_config.map(|p| around.path(p, base));
        Ok(Self {
            around,
            base,
            vault: Vault::new(around, base),
            config: Config::read(path.as_deref(), around)?,
            known: BTreeMap::new(),
            closed: false,
            warnings: Vec::new(),
        })
    }

    /// What a person should know.
    pub fn warnings(mut self) -> Vec<String> {
        self.warnings.append(&mut self.vault.warnings);
        self.warnings
    }

    /// The target of a host. `alias` is looked up in ssh_config.
    pub fn target(&mut self, name: &str, alias: &str, wanted: &Wanted) -> Result<Target, Vec<Problem>> {
        self.at_depth(name, alias, wanted, &mut vec![name.to_owned()])
    }

    fn at_depth(
        &mut self,
        name: &str,
        alias: &str,
        wanted: &Wanted,
        chain: &mut Vec<String>,
    ) -> Result<Target, Vec<Problem>> {
        let own = self.config.of(alias, self.around);
        let mut problems = Vec::new();
        let address = match &wanted.address {
            // An address that is the alias itself says nothing that ssh_config could not say better.
            Some(address) if address != alias => address.clone(),
            _ => own.address.clone().unwrap_or_else(|| alias.to_owned()),
        };
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(&address).to_owned();
        let mut target = Target::new(name, address);
        target.port = wanted.port.or(own.port).unwrap_or(22);
        target.user = wanted.user.clone().or(own.user.clone()).unwrap_or_else(|| target.user.clone());
        target.algorithms = wanted.algorithms;
        target.library = wanted.library;
        target.channels = wanted.channels.unwrap_or(target.channels).max(1);
        target.silence_timeout = wanted.silence_timeout;
        target.connect_timeout = wanted.connect_timeout.unwrap_or(target.connect_timeout);
        target.host_key = HostKeyCheck {
            pin: wanted.host_key.clone(),
            known_hosts: if wanted.known_hosts.is_empty() {
                own.known_hosts.clone()
            } else {
                wanted.known_hosts.iter().map(|p| self.around.path(p, self.base)).collect()
            },
            accept_new: wanted.accept_new,
        };
        self.credentials(&mut target, wanted, &own.keys, &mut problems);
        let (jumps, at) = match &wanted.jumps {
            Some((jumps, at)) => (jumps.clone(), Some(at)),
            None => (own.jumps, None),
        };
        for jump in jumps.iter().filter(|j| !j.eq_ignore_ascii_case("none")) {
            match self.jump(jump, at, chain) {
                Ok(mut hops) => target.jumps.append(&mut hops),
                Err(mut found) => problems.append(&mut found),
            }
        }
        if problems.is_empty() { Ok(target) } else { Err(problems) }
    }

    fn credentials(&mut self, target: &mut Target, wanted: &Wanted, own: &[PathBuf], problems: &mut Vec<Problem>) {
        let own_name = format!("{}@{}", target.user, target.name);
        let closed = self.closed;
        let mut open = |secret: &Option<Secret>, what: &str| {
            let secret = secret.as_ref().filter(|_| !closed)?;
            let what = format!("{what} of {}", secret.shared.as_ref().unwrap_or(&own_name));
            self.vault.open(&secret.source, &what, &secret.at).unwrap_or_else(|problem| {
                problems.push(*problem);
                None
            })
        };
        let passphrase =
            if wanted.keys.is_empty() && own.is_empty() { None } else { open(&wanted.passphrase, "key passphrase") };
        let password = open(&wanted.password, "password");
        if let Some(Secret { source: Source::Plain(_), at, .. }) = &wanted.password
            && !is_loopback(&target.address)
            && !closed
        {
            let warning = format!(
                "{}: a password in plain text; {{env: NAME}}, {{file: PATH}}, {{command: \"...\"}} or {{prompt: true}} keep it out of the file",
                at.place()
            );
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        for (file, at) in &wanted.keys {
            let path = self.around.path(file, self.base);
            if !path.is_file() {
                let problem = Problem::at(at, format!("there is no key file {}", path.display()), "this file");
                problems.push(problem.help("relative paths start at the inventory's folder; `~/` is your home"));
            }
            target.credentials.push(Credential::Key { path, passphrase: passphrase.clone() });
        }
        if wanted.agent == Some(true) {
            target.credentials.push(Credential::Agent);
        }
        target.credentials.extend(password.map(Credential::Password));
        if !target.credentials.is_empty() || wanted.password.is_some() {
            return;
        }
        // Nothing was said: what ssh itself would try, in its order.
        if wanted.agent != Some(false) && (self.around.env)("SSH_AUTH_SOCK").is_some_and(|s| !s.is_empty()) {
            target.credentials.push(Credential::Agent);
        }
        let usual = ["id_ed25519", "id_ecdsa", "id_rsa"];
        let usual = self.around.home.iter().flat_map(|home| usual.map(|name| home.join(".ssh").join(name)));
        let files: Vec<PathBuf> = if own.is_empty() { usual.collect() } else { own.to_vec() };
        for path in files.into_iter().filter(|p| p.is_file()) {
            target.credentials.push(Credential::Key { path, passphrase: passphrase.clone() });
        }
    }

    fn jump(&mut self, text: &str, at: Option<&Span>, chain: &mut Vec<String>) -> Result<Vec<Target>, Vec<Problem>> {
        let problem = |message: String, label: &str| match at {
            Some(at) => Problem::at(at, message, label),
            None => Problem::nowhere(format!("ssh_config: {message}")),
        };
        if chain.iter().any(|n| n == text) {
            chain.push(text.to_owned());
            let found =
                problem("jump hosts lead back to where they started".into(), "a circle").help(chain.join(" -> "));
            chain.pop();
            return Err(vec![found]);
        }
        if chain.len() > MAX_JUMPS {
            return Err(vec![problem(format!("more than {MAX_JUMPS} jump hosts in a row"), "too many")]);
        }
        chain.push(text.to_owned());
        let made = match self.known.get(text).cloned() {
            Some(wanted) => self.at_depth(text, text, &wanted, chain),
            None => match Spot::parse(text) {
                Ok(spot) => {
                    let wanted = Wanted {
                        port: spot.port,
                        // A jump host is rarely an ESXi host: without a user, the local one, as ssh does.
                        user: spot.user.or_else(|| {
                            let own = self.config.of(&spot.host, self.around).user;
                            own.or_else(|| self.around.user.clone())
                        }),
                        ..Wanted::default()
                    };
                    self.at_depth(&spot.host, &spot.host, &wanted, chain)
                }
                Err(why) => {
                    let names = self.known.keys().map(String::as_str);
                    let help = did_you_mean(text, names, "hosts of the inventory");
                    Err(vec![problem(format!("jump host: {why}"), "not a host").help(help)])
                }
            },
        };
        chain.pop();
        let mut target = made?;
        let mut hops = std::mem::take(&mut target.jumps);
        hops.push(target);
        Ok(hops)
    }
}

/// Whether an address is this machine's own.
pub fn is_loopback(address: &str) -> bool {
    address == "localhost" || address.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}
