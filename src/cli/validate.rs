//! `esxprep validate`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::hosts::Failure;
use crate::inventory::Inventory;
use crate::playbook::Playbook;

/// `esxprep validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Playbooks.
    #[arg(required = true)]
    playbooks: Vec<PathBuf>,
    /// Check this inventory too (its secrets are read); its variables count as known.
    #[arg(short, long, value_name = "INVENTORY")]
    inventory: Option<String>,
    /// A variable that `apply` will be given: KEY=VALUE or @FILE.yml.
    #[arg(short = 'e', long = "extra-var", value_name = "KEY=VALUE")]
    extra: Vec<String>,
}

/// Loads everything, shows every problem; exit code 2 if there is any.
pub fn validate(args: &ValidateArgs) -> ExitCode {
    let mut known = BTreeSet::new();
    let mut failed = None;
    match crate::playbook::parse_extra(&args.extra) {
        Ok(vars) => known.extend(vars.into_keys()),
        Err(problems) => failed = Some(Failure::Problems(problems).show()),
    }
    if let Some(spec) = &args.inventory {
        match Inventory::load(spec) {
            Ok(inventory) => known.extend(inventory.hosts.into_iter().flat_map(|h| h.vars.into_keys())),
            Err(problems) => {
                failed = Some(Failure::Problems(problems).show());
                tell!("note: the inventory's variables are not known, so playbooks are checked without them\n");
            }
        }
    }
    for path in &args.playbooks {
        match Playbook::load(path, &known) {
            Ok(playbook) => {
                super::print(format!("{}: ok, {} steps\n", path.display(), playbook.steps.len()));
            }
            Err(problems) => failed = Some(Failure::Problems(problems).show()),
        }
    }
    failed.unwrap_or(ExitCode::SUCCESS)
}
