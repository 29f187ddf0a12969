//! `esxprep schema` and `esxprep steps`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

/// `esxprep schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// What it describes.
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// A playbook.
    Playbook,
    /// An inventory.
    Inventory,
    /// A lab file.
    Lab,
    /// A line of `--output json`.
    Events,
}

/// Prints a schema, made from the types that read the files.
pub fn schema(args: &SchemaArgs) -> ExitCode {
    let value = match args.what {
        What::Playbook => crate::playbook::schema(),
        What::Inventory => crate::inventory::schema(),
        What::Lab => crate::lab::spec::schema(),
        What::Events => schemars::schema_for!(crate::engine::events::Event).to_value(),
    };
    match serde_json::to_string_pretty(&value) {
        Ok(text) => super::print_json(text + "\n"),
        Err(error) => super::fail(&error.to_string()),
    }
}

/// `esxprep steps`.
#[derive(Debug, Args)]
pub struct StepsArgs {
    /// One kind; all when none is given.
    kind: Option<String>,
    /// The whole reference as Markdown (`docs/steps.md` is this).
    #[arg(long, conflicts_with = "kind")]
    markdown: bool,
}

/// Prints the reference of the kinds of step.
pub fn steps(args: &StepsArgs) -> ExitCode {
    if args.markdown {
        return super::print(crate::steps::reference::markdown());
    }
    match &args.kind {
        None => {
            let line = |kind: &crate::steps::Kind| format!("{:<16} {}\n", kind.name, kind.about);
            super::print(crate::steps::kinds().iter().map(line).collect::<String>())
        }
        Some(name) => match crate::steps::kind(name) {
            Some(kind) => super::print(crate::steps::reference::one(kind)),
            None => super::fail(&format!("there is no kind of step named {name:?}; `esxprep steps` lists them")),
        },
    }
}
