//! `esxprep sim`: hosts that run until they are interrupted, announced one JSON line each.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::error::IoContext;
use super::{Options, Sim, SimError, inventory_yaml};

/// Runs simulated hosts until SIGINT or SIGTERM.
///
/// Prints `{"event":"sim_host","name",...}` for each host on standard output once all of them answer, and before that
/// writes the inventory (mode 0600, replaced if it is there) if one is asked for.
///
/// # Errors
/// What [`Sim::start`] says, or that the inventory cannot be written.
pub async fn run(options: Options, write_inventory: Option<PathBuf>) -> Result<(), SimError> {
    let signals = |source| SimError::Options(format!("cannot wait for signals: {source}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(signals)?;
    let sim = tokio::select! {
        started = Sim::start(options) => started?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    let announced = announce(&sim, write_inventory);
    if announced.is_ok() {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    sim.stop().await;
    announced
}

fn announce(sim: &Sim, write_inventory: Option<PathBuf>) -> Result<(), SimError> {
    if let Some(path) = write_inventory {
        let _ = std::fs::remove_file(&path);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).doing("write", &path)?;
        file.write_all(inventory_yaml(sim.hosts()).as_bytes()).doing("write", &path)?;
    }
    let mut out = std::io::stdout().lock();
    for host in sim.hosts() {
        let line = serde_json::json!({
            "event": "sim_host", "name": host.name, "address": host.address, "port": host.port, "user": host.user,
            "password": host.password, "host_key": host.host_key, "version": host.version,
        });
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .doing("write to", std::path::Path::new("standard output"))?;
    }
    Ok(())
}
