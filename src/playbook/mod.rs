//! The YAML of a playbook: load, include, check, and bind steps to one host's variables, facts and registered
//! values. No I/O to hosts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use crate::esxi::HostFacts;
use crate::steps::{Kind, Step};

/// A loaded and checked playbook.
#[derive(Debug)]
pub struct Playbook {
    /// Its name, or the file's stem.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// Host patterns; empty means every host of the inventory.
    pub hosts: Vec<String>,
    /// Release lines that it is made for (`"6.5"`); empty means any. Checked before anything is changed.
    pub esxi: Vec<String>,
    /// Its variables.
    pub vars: IndexMap<String, Value>,
    /// What to do with steps that ask for a reboot.
    pub reboot: RebootPolicy,
    /// What to do when virtual machines run and the host must be rebooted or enter maintenance mode.
    pub on_running_vms: OnRunningVms,
    /// The steps, includes already in place.
    pub steps: Vec<StepDef>,
}

/// When to reboot for steps that ask for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RebootPolicy {
    /// Once at each `reboot` step and at the end, if anything asked for it.
    #[default]
    Auto,
    /// Never; what waits for a reboot is reported.
    Never,
}

/// What to do with running virtual machines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRunningVms {
    /// Refuse, naming them.
    #[default]
    Fail,
    /// Shut their guests down and wait.
    Shutdown,
    /// Suspend them.
    Suspend,
}

/// A step as written, before it is bound to a host.
pub struct StepDef {
    /// Number in the playbook, from 1.
    pub number: usize,
    /// Its kind.
    pub kind: &'static Kind,
    /// Its tags.
    pub tags: Vec<String>,
    /// The name under which its result is kept.
    pub register: Option<String>,
    /// How often it is tried again after a failure.
    pub retries: u32,
    /// Pause between tries.
    pub delay: Duration,
    /// Limit for each of its commands.
    pub timeout: Option<Duration>,
    /// Registered names that its templates and conditions use.
    pub uses_registered: BTreeSet<String>,
}

/// What a step's templates can see.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Variables: the playbook's, then the inventory's for this host, then `-e`, later ones winning.
    pub vars: &'a IndexMap<String, Value>,
    /// Facts of the host, as `host.version`, `host.build`, `host.hostname` ...
    pub facts: &'a HostFacts,
    /// The host's name in the inventory, as `inventory_hostname`.
    pub inventory_name: &'a str,
    /// Registered values by name.
    pub registered: &'a IndexMap<String, Value>,
}

/// A step (or one item of its loop) bound to a host.
#[derive(Debug)]
pub struct Bound {
    /// Its rendered name, or the step's own summary.
    pub name: String,
    /// The step, or why it is skipped.
    pub what: Result<Box<dyn Step>, String>,
    /// What must hold after the step.
    pub expect: Vec<Box<dyn Step>>,
}

/// One or more problems in YAML files, each with file, line, column and the offending line.
#[derive(Debug, thiserror::Error)]
#[error("{} problem(s) in the playbook or inventory", .0.len())]
pub struct Problems(pub Vec<miette::Report>);

impl Playbook {
    /// Loads a playbook and everything it includes, and reports every problem found. `extra` are the names of
    /// variables known from elsewhere (inventory, `-e`).
    pub fn load(path: &Path, extra: &BTreeSet<String>) -> Result<Self, Problems> {
        let _ = (path, extra);
        Err(Problems(Vec::new()))
    }

    /// Binds a step: evaluates `when` and `for_each`, renders templates, checks the types.
    pub fn bind(&self, step: &StepDef, scope: &Scope<'_>) -> Result<Vec<Bound>, Problems> {
        let _ = (step, scope);
        Err(Problems(Vec::new()))
    }
}

impl std::fmt::Debug for StepDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepDef").field("number", &self.number).field("kind", &self.kind.name).finish_non_exhaustive()
    }
}
