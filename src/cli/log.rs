//! `esxprep log`.

use std::process::ExitCode;

use clap::Args;

use crate::engine::journal::Journal;
use crate::report::{ReportOptions, render_list, render_run};

/// `esxprep log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// A run's id, its beginning, or `last`.
    run: Option<String>,
    /// Show before → after of every change.
    #[arg(long)]
    diff: bool,
    /// The stored events, one JSON object a line.
    #[arg(long, requires = "run")]
    json: bool,
}

/// Lists runs, or shows one.
pub fn log(args: &LogArgs) -> ExitCode {
    let Some(run) = &args.run else {
        return match Journal::list() {
            Ok(runs) => super::print(render_list(&runs, &ReportOptions::detect(false, false))),
            Err(error) => super::fail(&error.to_string()),
        };
    };
    match Journal::load(run) {
        Ok(journal) if args.json => {
            let lines: Result<String, _> = journal.events.iter().map(|e| e.to_line().map(|line| line + "\n")).collect();
            match lines {
                Ok(lines) => super::print_json(lines),
                Err(error) => super::fail(&error.to_string()),
            }
        }
        Ok(journal) => {
            let options = ReportOptions::detect(args.diff, false);
            super::print(render_run(&journal, &options))
        }
        Err(error) => super::fail(&error.to_string()),
    }
}
