//! `esxprep bundle inspect`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

/// `esxprep bundle`.
#[derive(Debug, Args)]
pub struct BundleArgs {
    #[command(subcommand)]
    command: BundleCommand,
}

#[derive(Debug, Subcommand)]
enum BundleCommand {
    /// Show the VIBs in a file, their claims, and whether the payloads match their digests.
    Inspect {
        /// An offline bundle (zip) or a VIB.
        file: PathBuf,
        /// JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
}

/// Inspects a file.
pub fn bundle(args: &BundleArgs) -> ExitCode {
    let BundleCommand::Inspect { file, json } = &args.command;
    if !file.is_file() {
        return super::fail(&format!("there is no file {}", file.display()));
    }
    let software = match crate::engine::prepare::inspect_file(file) {
        Ok(software) => software,
        Err(error) => {
            tell!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    if *json {
        match serde_json::to_string_pretty(&software) {
            Ok(text) => return super::print_json(text + "\n"),
            Err(error) => return super::fail(&error.to_string()),
        }
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header([
        "VIB",
        "Version",
        "Vendor",
        "Claims",
        "Signed",
        "Live install",
        "Maintenance mode",
        "Payload bytes",
    ]);
    let cell = |text: &str| crate::report::one_line(text).into_owned();
    for vib in &software.vibs {
        table.add_row([
            cell(&vib.name),
            cell(&vib.version),
            cell(&vib.vendor),
            cell(&vib.acceptance),
            if vib.unsigned { "no" } else { "yes (not checked)" }.to_owned(),
            if vib.live_install { "yes" } else { "no: needs a reboot" }.to_owned(),
            if vib.maintenance_mode { "needed" } else { "not needed" }.to_owned(),
            vib.payload_bytes.to_string(),
        ]);
    }
    let warnings: String = software.warnings.iter().map(|w| format!("warning: {w}\n")).collect();
    super::print(format!("{table}\n{warnings}"))
}
