//! Subcommands that change a lab.

use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Done, HostName, LabHome, LabName, Said, text};
use crate::cli::hosts::Failure;
use crate::lab::events::Happening;
use crate::lab::guest::StopPlan;
use crate::lab::work::{self, OpenError, UpOptions, Wanted, Working};
use crate::report::{LabReporter, ReportOptions, lab_reporter};

/// `esxprep lab up`.
#[derive(Debug, Args)]
pub struct UpArgs {
    #[command(flatten)]
    lab: LabName,
    /// Only these hosts.
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Begin even where the doctor says that it will not work.
    #[arg(long)]
    force: bool,
    /// How many hosts are installed at the same time [default: half the processors, at least 2].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    installs: usize,
    /// human or json.
    #[arg(long, value_name = "KIND", default_value = "human")]
    output: Output,
    #[command(flatten)]
    qemu: super::QemuPath,
}

/// How events are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// Lines for people.
    #[default]
    Human,
    /// One event a line.
    Json,
}

/// `esxprep lab stop`.
#[derive(Debug, Args)]
pub struct StopArgs {
    #[command(flatten)]
    lab: LabName,
    /// Only these hosts.
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Do not ask the guests: as if the power went.
    #[arg(long)]
    force: bool,
    /// How long a guest may take to shut down.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    said: Said,
}

/// `esxprep lab start`.
#[derive(Debug, Args)]
pub struct StartArgs {
    #[command(flatten)]
    lab: LabName,
    /// Only these hosts.
    #[arg(long = "host", value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    #[command(flatten)]
    said: Said,
}

/// `esxprep lab freeze` and `thaw`.
#[derive(Debug, Args)]
pub struct FreezeArgs {
    #[command(flatten)]
    lab: LabName,
    #[command(flatten)]
    said: Said,
}

/// `esxprep lab rebuild`.
#[derive(Debug, Args)]
pub struct RebuildArgs {
    #[command(flatten)]
    host: HostName,
    /// Begin even where the doctor says that it will not work.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    said: Said,
    #[command(flatten)]
    qemu: super::QemuPath,
}

/// `esxprep lab down`.
#[derive(Debug, Args)]
pub struct DownArgs {
    #[command(flatten)]
    lab: LabName,
    #[command(flatten)]
    said: Said,
}

/// `esxprep lab gc`.
#[derive(Debug, Args)]
pub struct GcArgs {
    #[command(flatten)]
    home: LabHome,
    /// Remove what was found; without it, it is only named.
    #[arg(long)]
    remove: bool,
}

impl LabName {
    /// What it asks for, with the QEMU in PATH.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { lab: self.lab.clone(), home: self.home.lab_home.clone(), qemu: None }
    }
}

pub(super) fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::Problems(problems) => Failure::Problems(problems),
        OpenError::Work(error) => text(error),
    }
}

/// Does work on a lab while its events are shown, and an interrupt ends it after what is in hand.
async fn shown(json: bool, action: impl AsyncFnOnce(Working) -> Result<u8, work::WorkError>) -> Done {
    let (events, received) = mpsc::unbounded_channel();
    let working = Working { events, cancel: CancellationToken::new() };
    let reporter = lab_reporter(json, &ReportOptions::detect(false, false));
    let showing = tokio::spawn(show(received, reporter));
    let watching = tokio::spawn(interrupts(working.cancel.clone()));
    let result = action(working).await;
    watching.abort();
    if let Ok(Err(error)) = showing.await {
        tell!("warning: {error}");
    }
    match result {
        Err(work::WorkError::Interrupted) => Ok(130),
        other => other.map_err(text),
    }
}

async fn show(
    mut received: mpsc::UnboundedReceiver<Happening>,
    mut reporter: Box<dyn LabReporter>,
) -> std::io::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            event = received.recv() => match event {
                Some(event) => reporter.happens(&event),
                None => break,
            },
            _ = tick.tick() => reporter.tick(),
        }
    }
    reporter.finish()
}

/// The first interrupt ends the work after what is in hand; the second ends it now.
async fn interrupts(cancel: CancellationToken) {
    let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) else { return };
    for again in [false, true] {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if again {
            tell!(
                "interrupted again: stopping at once; the journal knows what was made, so `lab up` or `lab down` go on"
            );
            std::process::exit(130);
        }
        tell!("interrupted: finishing what is in hand (again to stop at once)");
        cancel.cancel();
    }
}

/// Runs `lab up`.
pub async fn up(args: UpArgs) -> Done {
    let wanted = Wanted { qemu: args.qemu.qemu.clone(), ..args.lab.wanted() };
    let opened = work::open(&wanted).map_err(open_failure)?;
    let options = UpOptions { hosts: args.hosts, force: args.force, installs: args.installs };
    shown(args.output == Output::Json, async |working| work::up(opened, &options, working).await).await
}

/// Runs `lab stop`.
pub async fn stop(args: StopArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    let graceful = (!args.force).then_some(args.timeout);
    let plan = StopPlan { graceful, ..StopPlan::default() };
    shown(args.said.json, async |working| work::stop(place, kept, &args.hosts, plan, working).await).await
}

/// Runs `lab start`.
pub async fn start(args: StartArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    shown(args.said.json, async |working| work::start_hosts(place, kept, &args.hosts, working).await).await
}

/// Runs `lab freeze`.
pub async fn freeze(args: FreezeArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    shown(args.said.json, async |working| work::freeze(place, kept, working).await).await
}

/// Runs `lab thaw`.
pub async fn thaw(args: FreezeArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    shown(args.said.json, async |working| work::thaw(place, kept, working).await).await
}

/// Runs `lab rebuild`.
pub async fn rebuild(args: RebuildArgs) -> Done {
    let wanted = Wanted { qemu: args.qemu.qemu.clone(), ..args.host.lab.wanted() };
    // Whether it can be brought up again is known before anything of it goes.
    let opened = work::open(&wanted).map_err(open_failure)?;
    let (place, kept) = standing(&args.host.lab)?;
    let host = args.host.host;
    let options = UpOptions { hosts: vec![host.clone()], force: args.force, installs: 1 };
    work::refuse(&opened, &options).map_err(text)?;
    shown(args.said.json, async |working: Working| {
        if !work::rebuild(place, kept, &host, working.clone()).await? {
            return Ok(1);
        }
        work::up(opened, &options, working).await
    })
    .await
}

/// Runs `lab down`.
pub async fn down(args: DownArgs) -> Done {
    let found = match work::find(&args.lab.wanted()) {
        Ok(found) => found,
        Err(error) => return Err(open_failure(error)),
    };
    if !found.place.exists() {
        say!("lab {} is not there: nothing to take down", found.place.name());
        return Ok(0);
    }
    shown(args.said.json, async |working| work::down(found.place, working).await).await
}

/// Runs `lab gc`.
pub async fn gc(args: GcArgs) -> Done {
    let found = work::gc(args.home.lab_home.as_deref(), args.remove).map_err(text)?;
    for line in &found {
        say!("{line}");
    }
    if found.is_empty() {
        say!("nothing is left behind");
    } else if !args.remove {
        say!("`esxprep lab gc --remove` removes them");
    }
    Ok(0)
}

/// The lab that is meant, as it was planned last.
pub(super) fn standing(lab: &LabName) -> Result<(crate::lab::state::Place, work::Kept), Failure> {
    let found = work::find(&lab.wanted()).map_err(open_failure)?;
    let kept = work::standing_plan(&found.place).map_err(text)?;
    Ok((found.place, kept))
}
