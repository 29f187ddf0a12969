//! `esxprep facts`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::hosts::{Failure, HostArgs, Simulated};
use super::record::{About, RecordArgs};
use crate::engine::host::HostError;
use crate::engine::identify::identify;
use crate::engine::replay::hosts_of;
use crate::fixture::gather::gather;
use crate::inventory::{Host, Inventory};
use crate::transport::{Connector, Connectors, ReplayConnector};

/// `esxprep facts`.
#[derive(Debug, Args)]
pub struct FactsArgs {
    /// Hosts, as `[user@]host[:port]`, or names in the inventory or the fixture; all of it when none is given.
    names: Vec<String>,
    /// Recorded hosts instead: a file, or a folder of such files. No network.
    #[arg(long, value_name = "FILE|DIR", conflicts_with_all = ["inventory", "sim", "record"])]
    fixture: Option<PathBuf>,
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
    let recorded = args.fixture.is_some();
    if args.hosts.inventory.is_none() && args.hosts.sim.is_none() && !recorded && !args.names.is_empty() {
        args.hosts.inventory = Some(args.names.join(","));
        args.names.clear();
    }
    if let Err(failure) = args.hosts.spell_limit() {
        return failure.show();
    }
    let runtime = if recorded {
        // Without an I/O driver there is no network, and a paused clock does not wait.
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .map_err(|e| format!("cannot start: {e}"))
    } else {
        super::runtime()
    };
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    let shown = match &args.fixture {
        Some(path) => from_fixtures(path, &args).map(|hosts| runtime.block_on(show(hosts, args.json))),
        None => runtime.block_on(from_hosts(&args)),
    };
    match shown {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.show(),
    }
}

/// Hosts to ask, each with what makes its sessions.
type Asked = Vec<(Arc<dyn Connector>, Host)>;

async fn from_hosts(args: &FactsArgs) -> Result<u8, Failure> {
    args.record.check()?;
    let mut inventory = args.hosts.inventory(&args.names)?;
    let sim = Simulated::start(args.hosts.sim_options(None)).await?;
    if let Some(running) = &sim.0 {
        inventory = args.hosts.simulated(running.hosts())?;
    }
    let connector: Arc<dyn Connector> = Arc::new(Connectors::default());
    let hosts = inventory.select(&args.names, args.hosts.limit.as_deref()).map_err(Failure::Problems)?;
    let about = About { mode: "facts".into(), ..About::default() };
    let recording = args.record.begin(&connector, hosts.iter().map(|h| (*h).clone()).collect(), about);
    let connector = recording.as_ref().map_or(connector, |r| r.connector());
    let code = show(hosts.into_iter().map(|host| (connector.clone(), host.clone())).collect(), args.json).await;
    sim.stop().await;
    if let Some(recording) = recording {
        recording.finish(Vec::new(), false, !args.json);
    }
    Ok(code)
}

fn from_fixtures(path: &Path, args: &FactsArgs) -> Result<Asked, Failure> {
    let (files, _) = gather(path).map_err(|e| Failure::Text(e.to_string()))?;
    let all = Inventory { hosts: files.iter().flat_map(|f| hosts_of(&f.fixture)).collect(), warnings: Vec::new() };
    let chosen = all.select(&args.names, args.hosts.limit.as_deref()).map_err(Failure::Problems)?;
    let chosen: Vec<&str> = chosen.iter().map(|h| h.name.as_str()).collect();
    let mut asked: Asked = Vec::new();
    for file in &files {
        let connector: Arc<dyn Connector> = Arc::new(ReplayConnector::new(&file.fixture));
        let hosts = hosts_of(&file.fixture).into_iter().filter(|h| chosen.contains(&h.name.as_str()));
        asked.extend(hosts.map(|host| (connector.clone(), host)));
    }
    Ok(asked)
}

async fn show(hosts: Asked, json: bool) -> u8 {
    let (mut shown, mut failed, mut unreachable) = (0, 0, 0);
    for (connector, host) in hosts {
        match identify(connector, host.target.clone()).await {
            Ok(facts) => {
                shown += 1;
                if json {
                    let mut value = serde_json::json!(&facts);
                    if let Some(map) = value.as_object_mut() {
                        map.insert("host".into(), host.name.clone().into());
                    }
                    super::print_json(format!("{value}\n"));
                } else {
                    super::print(format!("{}\n{}\n", host.name, facts.describe()));
                }
            }
            Err(error) => {
                match error {
                    HostError::Transport(_) => unreachable += 1,
                    _ => failed += 1,
                }
                tell!("error: {}: {error}", host.name);
            }
        }
    }
    match (shown + failed, failed + unreachable) {
        (_, 0) => 0,
        (0, _) => 4,
        _ => 1,
    }
}
