//! `-i a,b`: hosts without a file.

use std::path::Path;

use indexmap::IndexMap;

use super::credentials::{Maker, Wanted};
use super::{Host, Inventory, Surroundings};
use crate::playbook::{Problem, Problems};

/// `[user@]host[:port]`; IPv6 bare, or in brackets with a port.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// User, if given.
    pub user: Option<String>,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port, if given.
    pub port: Option<u16>,
}

impl Spot {
    /// Parses one.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => {
                return Err("a password does not belong on the command line; put it into an inventory file as \
                            {env: NAME}, {file: PATH}, {command: \"...\"} or {prompt: true}"
                    .into());
            }
            Some(("", _)) => return Err(format!("`{text}` has no user before the @")),
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let number = |port: &str| {
            port.parse::<u16>().ok().filter(|p| *p != 0).ok_or_else(|| format!("`{port}` is not a port (1 to 65535)"))
        };
        let (host, port) = if let Some(inner) = rest.strip_prefix('[') {
            let (host, after) = inner.split_once(']').ok_or_else(|| format!("`{text}` lacks its `]`"))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(number(port)?)),
                None if after.is_empty() => (host, None),
                None => return Err(format!("`{after}` after the bracket is no port")),
            }
        } else if rest.matches(':').count() > 1 {
            (rest, None)
        } else if let Some((host, port)) = rest.split_once(':') {
            (host, Some(number(port)?))
        } else {
            (rest, None)
        };
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']' | ',')) {
            return Err(format!("`{text}` is not [user@]host[:port]"));
        }
        Ok(Self { user, host: host.to_owned(), port })
    }

    /// Its name in reports: as written, without the user.
    pub fn name(&self) -> String {
        match self.port {
            Some(port) if self.host.contains(':') => format!("[{}]:{port}", self.host),
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }
}

/// Hosts of a list.
pub fn load(spec: &str, around: &Surroundings<'_>) -> Result<Inventory, Problems> {
    let mut problems = Vec::new();
    let mut inventory = Inventory::default();
    let mut maker = match Maker::new(around, Path::new(""), None) {
        Ok(maker) => maker,
        Err(why) => return Err(Problem::nowhere(why).into()),
    };
    for part in spec.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let spot = match Spot::parse(part) {
            Ok(spot) => spot,
            Err(why) => {
                problems.push(Problem::nowhere(format!("-i: {why}")));
                continue;
            }
        };
        let name = spot.name();
        if inventory.hosts.iter().any(|h| h.name == name) {
            problems.push(Problem::nowhere(format!("-i names {name} twice")));
            continue;
        }
        let wanted = Wanted { address: Some(spot.host.clone()), port: spot.port, user: spot.user, ..Wanted::default() };
        match maker.target(&name, &spot.host, &wanted) {
            Ok(target) => {
                inventory.hosts.push(Host { name, groups: Vec::new(), vars: IndexMap::new(), target });
            }
            Err(mut found) => problems.append(&mut found),
        }
    }
    if inventory.hosts.is_empty() && problems.is_empty() {
        problems.push(
            Problem::nowhere("-i names no host").help("-i takes a YAML file, or a list: -i esx1,root@192.0.2.12:2222"),
        );
    }
    inventory.warnings = maker.warnings();
    if problems.is_empty() { Ok(inventory) } else { Err(problems.into()) }
}
