//! A whole run against recorded hosts: the same engine, steps and events, no network, and a clock that does not wait.

use std::sync::Arc;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_util::sync::CancellationToken;

use super::events::Event;
use super::run::{Context, RunOptions, RunOutcome, run};
use crate::fixture::secrets::SecretBook;
use crate::fixture::{Fixture, HostFixture, Unknown};
use crate::inventory::Host;
use crate::playbook::Playbook;
use crate::transport::replay::Sent;
use crate::transport::{Connector, ReplayConnector, Target};

/// What a replayed run came to.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// As of any run.
    pub outcome: RunOutcome,
    /// All events in order. Of one host they come in the order in which they were recorded.
    pub events: Vec<Event>,
    /// What each host was asked, in order, by name.
    pub sent: Vec<(String, Vec<Sent>)>,
    /// Everything that was asked and has no answer in the fixture. With anything here the outcome says little.
    pub unknown: Vec<Unknown>,
}

/// The hosts of a fixture as an inventory would give them: name, address, port, variables.
pub fn hosts_of(fixture: &Fixture) -> Vec<Host> {
    fixture.hosts.iter().map(host_of).collect()
}

fn host_of(host: &HostFixture) -> Host {
    let at = host.meta.get("address").map_or(host.name.as_str(), String::as_str);
    let (address, port) =
        at.rsplit_once(':').and_then(|(address, port)| Some((address, port.parse::<u16>().ok()?))).unwrap_or((at, 22));
    let mut target = Target::new(&host.name, address.trim_matches(['[', ']']));
    target.port = port;
    Host { name: host.name.clone(), groups: Vec::new(), vars: SecretBook::default().fill_vars(host), target }
}

/// Runs a playbook against the hosts of a fixture. The run's id is the recorded one (meta `run` of the first host that has
/// it), else `replay`. Nothing is locked, journalled, downloaded or looked up, and no real time is spent waiting.
///
/// Blocking, with a runtime of its own: not to be called from inside another one. Errors come from making that runtime.
pub fn replayed(fixture: &Fixture, playbook: Playbook, options: RunOptions) -> std::io::Result<Replayed> {
    let (outcome, connector, mut received) =
        replay_through(fixture, playbook, options, |connector, _, events| (Arc::new(connector), events))?;
    let mut all = Vec::new();
    while let Ok(event) = received.try_recv() {
        all.push(event);
    }
    let names = || fixture.hosts.iter().map(|host| host.name.clone());
    Ok(Replayed {
        outcome,
        events: all,
        sent: names().map(|name| (name.clone(), connector.sent(&name))).collect(),
        unknown: names().flat_map(|name| connector.unknown(&name)).collect(),
    })
}

/// [`replayed`] with something between the engine and the recorded hosts: `between` gets their connector, the run's id
/// and the run's events, and gives the connector that the engine uses, and anything that is wanted back at the end.
pub fn replay_through<T>(
    fixture: &Fixture,
    playbook: Playbook,
    options: RunOptions,
    between: impl FnOnce(ReplayConnector, &str, UnboundedReceiver<Event>) -> (Arc<dyn Connector>, T),
) -> std::io::Result<(RunOutcome, ReplayConnector, T)> {
    // Without an I/O driver: anything that wanted the network would fail loudly. Paused: nothing waits.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let book = Arc::new(SecretBook::default());
    let recorded = ReplayConnector::new(fixture).with_secrets(book.clone());
    let id = fixture.hosts.iter().find_map(|host| host.meta.get("run").cloned()).unwrap_or_else(|| "replay".to_owned());
    let (events, received) = mpsc::unbounded_channel();
    let (connector, wanted) = between(recorded.clone(), &id, received);
    let ctx = Context::new(playbook, options, connector, CancellationToken::new(), id, events)
        .replaying(&fixture.artifacts)
        .with_secrets(book);
    let outcome = runtime.block_on(run(Arc::new(ctx), hosts_of(fixture)));
    Ok((outcome, recorded, wanted))
}
