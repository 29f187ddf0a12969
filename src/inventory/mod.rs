//! Hosts and how to log in to them.

mod credentials;
mod file;
mod list;
mod schema;
mod secret;
mod select;
mod ssh_config;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::Value;

use crate::playbook::{Problem, Problems};
use crate::transport::Target;

pub use schema::schema;

/// The hosts of a run.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Hosts in the order of the file.
    pub hosts: Vec<Host>,
    /// What a person should know but what stops nothing: passwords in plain text, files that others can read.
    /// Never holds a secret.
    pub warnings: Vec<String>,
}

/// One host.
#[derive(Debug, Clone)]
pub struct Host {
    /// Name in the inventory.
    pub name: String,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Its variables: defaults, groups', its own, later ones winning.
    pub vars: IndexMap<String, Value>,
    /// Where and how to log in. Secrets are read when this is made, unless the host was left out.
    pub target: Target,
}

/// What of the person's own surroundings matters; tests bring their own.
pub(crate) struct Surroundings<'a> {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// The local user, for jump hosts without one.
    pub user: Option<String>,
    /// Environment variables.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// Asks for a secret without echo.
    pub ask: &'a dyn Fn(&str) -> std::io::Result<String>,
    /// Patterns of the hosts that are wanted, each list narrowing the ones before; none: all. Only their secrets
    /// are read.
    pub wanted: Vec<Vec<String>>,
}

impl Surroundings<'static> {
    fn real() -> Self {
        let env = |name: &str| std::env::var(name).ok();
        Self {
            home: etcetera::home_dir().ok(),
            user: env("USER").or_else(|| env("LOGNAME")),
            env: &|name| std::env::var(name).ok(),
            ask: &secret::ask,
            wanted: Vec::new(),
        }
    }
}

impl Surroundings<'_> {
    /// A path with `~/` resolved, relative ones against `base`.
    fn path(&self, text: &str, base: &Path) -> PathBuf {
        match (text.strip_prefix("~/"), &self.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => base.join(text),
        }
    }
}

impl Inventory {
    /// Loads `-i`: a YAML file, or a comma-separated list of `[user@]host[:port]`. Secrets are read now, so that
    /// a missing one stops the run before any host is touched.
    pub fn load(spec: &str) -> Result<Self, Problems> {
        Self::load_in(spec, &Surroundings::real())
    }

    /// Loads `-i` for the hosts that these patterns and this limit leave ([`Inventory::select`] with them). The others
    /// are in it too, without passwords and passphrases: nothing is read, asked or run for them.
    ///
    /// # Errors
    /// As [`Inventory::load`]; a pattern that matches nothing is left to `select`.
    pub fn load_for(spec: &str, patterns: &[String], limit: Option<&str>) -> Result<Self, Problems> {
        let lists = [patterns.to_vec(), limit.map(str::to_owned).into_iter().collect()];
        let wanted = lists.into_iter().filter(|l| !l.is_empty()).collect();
        Self::load_in(spec, &Surroundings { wanted, ..Surroundings::real() })
    }

    /// Loads an inventory from YAML text; `name` stands for the file in messages, relative files are looked for
    /// in the current folder.
    pub fn parse(text: &str, name: &str) -> Result<Self, Problems> {
        Self::parse_in(text, name, &Surroundings::real())
    }

    pub(crate) fn parse_in(text: &str, name: &str, around: &Surroundings<'_>) -> Result<Self, Problems> {
        let root = crate::playbook::yaml::parse_bytes(name, text.as_bytes())?;
        file::load_root(Path::new(name), &root, around)
    }

    pub(crate) fn load_in(spec: &str, around: &Surroundings<'_>) -> Result<Self, Problems> {
        let path = Path::new(spec);
        if path.exists() {
            return file::load(path, around);
        }
        let file_like =
            spec.ends_with(".yml") || spec.ends_with(".yaml") || (spec.contains('/') && !spec.contains(','));
        if file_like {
            let problem = Problem::nowhere(format!("there is no inventory file {spec}"));
            return Err(problem.help("-i takes a YAML file, or a list: -i esx1,root@192.0.2.12:2222").into());
        }
        list::load(spec, around)
    }

    /// Names of all variables that any host has: what a playbook may use beside its own.
    pub fn var_names(&self) -> BTreeSet<String> {
        self.hosts.iter().flat_map(|h| h.vars.keys().cloned()).collect()
    }

    /// The hosts that match patterns (none: all), narrowed by `limit`, in the order of the inventory.
    ///
    /// A pattern is a host, a group, `all`, a glob (`esx*`), or several joined by `,` or `:`; `!pattern` takes
    /// hosts out again. A pattern that matches nothing is an error.
    pub fn select(&self, patterns: &[String], limit: Option<&str>) -> Result<Vec<&Host>, Problems> {
        select::select(self, patterns, limit)
    }
}
