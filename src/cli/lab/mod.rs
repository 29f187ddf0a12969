//! `esxprep lab ...`: nested ESXi hosts under QEMU.

mod look;
mod one;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::hosts::Failure;

/// `esxprep lab`.
#[derive(Debug, Args)]
pub struct LabArgs {
    #[command(subcommand)]
    command: LabCommand,
}

/// Which lab.
#[derive(Debug, Clone, Default, Args)]
pub struct LabName {
    /// The lab: its file, or its name once it was up [default: lab.yml here, else the only lab there is].
    #[arg(value_name = "LAB")]
    lab: Option<String>,
    #[command(flatten)]
    home: LabHome,
}

/// Where labs are kept.
#[derive(Debug, Clone, Default, Args)]
pub struct LabHome {
    /// The folder that labs are kept in [default: esxprep/labs in the user's data folder].
    #[arg(long, value_name = "DIR", env = "ESXPREP_LAB_HOME")]
    lab_home: Option<PathBuf>,
}

/// A host of a lab.
#[derive(Debug, Clone, Args)]
pub struct HostName {
    /// The host.
    host: String,
    #[command(flatten)]
    lab: LabName,
}

/// Which QEMU.
#[derive(Debug, Clone, Default, Args)]
pub struct QemuPath {
    /// The QEMU to use [default: qemu-system-x86_64 in PATH].
    #[arg(long, value_name = "PROGRAM", env = "ESXPREP_QEMU")]
    qemu: Option<PathBuf>,
}

/// How a command that works on a lab says what happens.
#[derive(Debug, Clone, Default, Args)]
pub struct Said {
    /// One event a line, as JSON, instead of lines for people.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Look whether this machine can run a lab; with --fix, mend what can be mended.
    Doctor(look::DoctorArgs),
    /// Say what `up` will do, with the exact QEMU command lines; no machine is touched.
    Plan(look::PlanArgs),
    /// Check a lab file, with everything that it names.
    Validate(look::ValidateArgs),
    /// Draw the lab's hosts and networks as SVG.
    Graph(look::GraphArgs),
    /// Check a kickstart file for the ESXi installer.
    LintKs(look::LintArgs),
    /// Bring a lab up: networks, disks, installation, stages, playbooks. Goes on where an earlier run was stopped.
    Up(up::UpArgs),
    /// Show every host: state, phase, ports, CPU, memory, disk.
    Status(look::StatusArgs),
    /// Log in to a host with this machine's `ssh`, or run a command there.
    Ssh(one::SshArgs),
    /// Attach to a host's serial console (Ctrl-] leaves).
    Console(HostName),
    /// Save a host's screen as PNG.
    Screenshot(one::ScreenshotArgs),
    /// Forward another port of this machine to a host, list forwards, or remove one.
    Ports(one::PortsArgs),
    /// Shut hosts down, and keep everything.
    Stop(up::StopArgs),
    /// Start hosts that are stopped, on their last hardware.
    Start(up::StartArgs),
    /// Snapshots of the disks of a stopped lab.
    Snapshot(one::SnapshotArgs),
    /// Save the memory of all running hosts and stop them.
    Freeze(up::FreezeArgs),
    /// Bring frozen hosts back in seconds.
    Thaw(up::FreezeArgs),
    /// Make one host anew: its disks go, the others stay.
    Rebuild(up::RebuildArgs),
    /// Take a lab down: everything that `up` made goes, backwards; may be repeated.
    Down(up::DownArgs),
    /// Find and remove what labs left behind whose folder is gone or that were killed.
    Gc(up::GcArgs),
    /// Where the inventory of a running lab is (`esxprep apply PLAYBOOK -i "$(esxprep lab inventory)"`).
    Inventory(LabName),
}

/// Runs `esxprep lab`.
pub fn lab(args: LabArgs) -> ExitCode {
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    let done = runtime.block_on(async {
        match args.command {
            LabCommand::Doctor(args) => look::doctor(args),
            LabCommand::Plan(args) => look::plan(args),
            LabCommand::Validate(args) => look::validate(&args),
            LabCommand::Graph(args) => look::graph(&args),
            LabCommand::LintKs(args) => look::lint(&args),
            LabCommand::Status(args) => look::status(args).await,
            LabCommand::Up(args) => up::up(args).await,
            LabCommand::Stop(args) => up::stop(args).await,
            LabCommand::Start(args) => up::start(args).await,
            LabCommand::Freeze(args) => up::freeze(args).await,
            LabCommand::Thaw(args) => up::thaw(args).await,
            LabCommand::Rebuild(args) => up::rebuild(args).await,
            LabCommand::Down(args) => up::down(args).await,
            LabCommand::Gc(args) => up::gc(args).await,
            LabCommand::Ssh(args) => one::ssh(args).await,
            LabCommand::Console(args) => one::console(args).await,
            LabCommand::Screenshot(args) => one::screenshot(args).await,
            LabCommand::Ports(args) => one::ports(args).await,
            LabCommand::Snapshot(args) => one::snapshot(args).await,
            LabCommand::Inventory(args) => look::inventory(&args),
        }
    });
    match done {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.show(),
    }
}

pub use crate::lab::work::HUB;

/// Runs the switch of a `hub` network, whose configuration is named after [`HUB`], until it is told to stop.
pub fn hub() -> ExitCode {
    use crate::lab::net::hub;
    let Some(config) = std::env::args_os().nth(2) else {
        return super::fail("the switch of a lab is started by `esxprep lab up` alone");
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(hub::run_from(std::path::Path::new(&config), hub::until_told())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error.to_string()),
    }
}

/// What every subcommand comes to: an exit code, or why nothing was begun.
type Done = Result<u8, Failure>;

/// A failure that is text.
fn text(error: impl std::fmt::Display) -> Failure {
    Failure::Text(error.to_string())
}
