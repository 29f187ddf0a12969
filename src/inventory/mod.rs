//! Hosts and how to log in to them.

use std::path::Path;

use indexmap::IndexMap;
use serde_json::Value;

use crate::playbook::Problems;
use crate::transport::Target;

/// The hosts of a run.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Hosts in the order of the file.
    pub hosts: Vec<Host>,
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
    /// Where and how to log in. Secrets are read when this is made.
    pub target: Target,
}

impl Inventory {
    /// Loads `-i`: a YAML file, or a comma-separated list of `[user@]host[:port]`.
    pub fn load(spec: &str) -> Result<Self, Problems> {
        let _ = Path::new(spec);
        Err(Problems(Vec::new()))
    }
}
