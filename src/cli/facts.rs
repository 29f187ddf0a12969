//! `esxprep facts`.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::hosts::{Failure, HostArgs, Simulated};
use super::record::{About, RecordArgs};
use crate::engine::host::HostError;
use crate::engine::identify::identify;
use crate::transport::{Connector, RusshConnector};

/// `esxprep facts`.
#[derive(Debug, Args)]
pub struct FactsArgs {
    /// Hosts, as `[user@]host[:port]`, or names in the inventory; all of the inventory when none is given.
    names: Vec<String>,
    #[command(flatten)]
    hosts: HostArgs,
    /// One JSON object a host.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    record: RecordArgs,
}

/// Reads and shows the facts of hosts.
pub fn facts(mut args: FactsArgs) -> ExitCode {
    if args.hosts.inventory.is_none() && args.hosts.sim.is_none() && !args.names.is_empty() {
        args.hosts.inventory = Some(args.names.join(","));
        args.names.clear();
    }
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(show(&args)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.show(),
    }
}

async fn show(args: &FactsArgs) -> Result<u8, Failure> {
    args.record.check()?;
    let mut inventory = args.hosts.inventory()?;
    let sim = Simulated::start(args.hosts.sim_options(None)).await?;
    if let Some(running) = &sim.0 {
        inventory = args.hosts.simulated(running.hosts())?;
    }
    let hosts = inventory.select(&args.names, args.hosts.limit.as_deref()).map_err(Failure::Problems)?;
    let connector: Arc<dyn Connector> = Arc::new(RusshConnector::default());
    let about = About { mode: "facts".into(), ..About::default() };
    let recording = args.record.begin(&connector, hosts.iter().map(|h| (*h).clone()).collect(), about);
    let connector = recording.as_ref().map_or(connector, |r| r.connector());
    let (mut shown, mut failed, mut unreachable) = (0, 0, 0);
    for host in hosts {
        match identify(connector.clone(), host.target.clone()).await {
            Ok(facts) => {
                shown += 1;
                if args.json {
                    let mut value = serde_json::to_value(&facts).map_err(|e| Failure::Text(e.to_string()))?;
                    if let Some(map) = value.as_object_mut() {
                        map.insert("host".into(), host.name.clone().into());
                    }
                    super::print(format!("{value}\n"));
                } else {
                    super::print(format!("{}\n{}\n", host.name, facts.describe()));
                }
            }
            Err(error) => {
                match error {
                    HostError::Transport(_) => unreachable += 1,
                    _ => failed += 1,
                }
                eprintln!("error: {}: {error}", host.name);
            }
        }
    }
    sim.stop().await;
    if let Some(recording) = recording {
        recording.finish(Vec::new(), !args.json);
    }
    Ok(match (shown + failed, failed + unreachable) {
        (_, 0) => 0,
        (0, _) => 4,
        _ => 1,
    })
}
