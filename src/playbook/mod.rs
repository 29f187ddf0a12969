//! The YAML of a playbook: load, include, check, and bind steps to one host's variables, facts and registered
//! values. No I/O to hosts.

mod bind;
mod check;
mod load;
mod names;
mod problem;
mod rollout;
mod scalar;
mod schema;
mod steps;
mod template;
#[cfg(test)]
mod tests;
pub(crate) mod typed;
mod vars;
mod waiver;
pub(crate) mod yaml;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

pub use problem::{Problem, Problems, SourceFile, Span};
pub(crate) use problem::{did_you_mean, is_secret_key, nearest};
pub use rollout::{Batch, Rollout, Serial};
pub(crate) use scalar::is_template;
pub use schema::schema;
pub(crate) use template::MOST_TEXT;
pub(crate) use vars::plain_vars;
pub use vars::{merge_vars, parse_extra};
pub use waiver::{Waiver, read_waivers, today};

use crate::esxi::{Command, HostFacts};
use crate::steps::{Kind, Step};

/// A loaded and checked playbook.
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
    /// How a run goes through many hosts.
    pub rollout: Rollout,
    /// The baseline whose controls the steps with an `id` are.
    pub baseline: Option<String>,
    /// Controls that are accepted as they are.
    pub waivers: Vec<Waiver>,
    /// The steps, includes already in place.
    pub steps: Vec<StepDef>,
    /// Asserts are made by this kind.
    expectation: Option<&'static Kind>,
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
    /// The control that it is (part of), for example `ESXI-80-000005`. A control that fails does not end the work on its
    /// host.
    pub id: Option<String>,
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
    /// What was written, for `bind`.
    detail: steps::Detail,
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
    /// Whether what differs is changed; otherwise it is judged only.
    pub fix: bool,
}

impl Playbook {
    /// Loads a playbook and everything it includes, and reports every problem found. `extra` are the names of
    /// variables known from elsewhere (inventory, `-e`).
    pub fn load(path: &Path, extra: &BTreeSet<String>) -> Result<Self, Problems> {
        load::load(path, extra, &load::Kinds::product()).map_err(Problems::from)
    }

    /// Loads a playbook from text, as if it were the file `path`; includes are relative to it.
    pub fn from_text(path: &Path, text: &str, extra: &BTreeSet<String>) -> Result<Self, Problems> {
        let root = yaml::parse_bytes(&path.display().to_string(), text.as_bytes())?;
        load::load_root(path, &root, extra, &load::Kinds::product()).map_err(Problems::from)
    }

    /// The text of the playbook and of every file that its steps come from.
    pub fn text(&self) -> String {
        let mut seen: Vec<*const SourceFile> = Vec::new();
        let mut text = std::fs::read_to_string(&self.path).unwrap_or_default();
        for step in &self.steps {
            let file = std::sync::Arc::as_ptr(&step.span().file);
            if !seen.contains(&file) {
                seen.push(file);
                text.push('\n');
                text.push_str(step.span().file.text());
            }
        }
        text
    }

    /// Binds a step: evaluates `when` and `for_each`, renders templates, checks the types. A loop gives one
    /// [`Bound`] an item, and an empty one none.
    pub fn bind(&self, step: &StepDef, scope: &Scope<'_>) -> Result<Vec<Bound>, Problems> {
        bind::bind(self, step, scope).map_err(Problems::from)
    }
}

/// A text as shown in a message: one line, not too long.
fn problem_text(text: &str) -> String {
    let line = text.trim().replace('\n', "\\n");
    if line.chars().count() > 60 { line.chars().take(57).collect::<String>() + "..." } else { line }
}

impl StepDef {
    /// A command of this step with the step's own limit.
    pub fn limited(&self, command: Command) -> Command {
        match self.timeout {
            Some(limit) => command.timeout(limit),
            None => command,
        }
    }

    /// The step's name as written, if it has one.
    pub fn title(&self) -> Option<String> {
        self.detail.name.as_ref().and_then(|n| n.scalar()).map(|s| s.text.clone())
    }

    /// Where the step is written: its file, line and column.
    pub fn span(&self) -> &Span {
        &self.detail.key
    }
}

impl std::fmt::Debug for Playbook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Playbook")
            .field("name", &self.name)
            .field("path", &self.path)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for StepDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepDef").field("number", &self.number).field("kind", &self.kind.name).finish_non_exhaustive()
    }
}
