//! russh beside libssh2: the same hosts, the same work, in turns. `cargo bench --features libssh2 --bench transports`.
//!
//! Simulated hosts for logins and runs, OpenSSH's server for uploads and single commands. Memory and threads are those
//! of the built binary, watched from outside. Nothing is asserted; ratios are what to compare.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use esxprep::inventory::Inventory;
use esxprep::sim::{Options, Sim, inventory_yaml};
use esxprep::transport::target::Library;
use esxprep::transport::{Connector, Connectors, Payload, Target};

#[path = "../tests/transport_support/mod.rs"]
mod transport_support;

mod support;
use support::{Outcome, median, only_builds, watched};
use transport_support::{Sshd, request};

/// Runs of each measurement; the median counts. The first round only warms up.
const RUNS: usize = 5;

/// Bytes of an upload.
const UPLOAD: usize = 200 * 1024 * 1024;

const LIBRARIES: [(Library, &str); 2] = [(Library::Russh, "russh"), (Library::Libssh2, "libssh2")];

/// All hosts at the same time: seconds until the last has a shell.
async fn logins(inventory: &Inventory, library: Library) -> Outcome<f64> {
    let started = Instant::now();
    let connectors = Connectors::default();
    let mut tasks = tokio::task::JoinSet::new();
    for host in &inventory.hosts {
        let target = Target { library, ..host.target.clone() };
        let connectors = connectors.clone();
        tasks.spawn(async move { connectors.connect(&target).await });
    }
    let mut shells = Vec::new();
    while let Some(done) = tasks.join_next().await {
        shells.push(done??);
    }
    let took = started.elapsed().as_secs_f64();
    for mut shell in shells {
        shell.close().await;
    }
    Ok(took)
}

/// Of a run of the binary: seconds, the most resident memory in MiB, the most threads.
fn apply(dir: &Path, library: &str) -> Outcome<[f64; 3]> {
    let run = watched(
        Command::new(env!("CARGO_BIN_EXE_esxprep"))
            .args(["apply", "--forks", "20", "--transport", library, "-i"])
            .arg(dir.join("hosts.yml"))
            .arg(dir.join("site.yml"))
            .env("HOME", dir)
            .env("XDG_STATE_HOME", dir.join("state"))
            .env("XDG_CACHE_HOME", dir.join("cache"))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .stdout(Stdio::null()),
    )?;
    Ok([run.seconds, run.memory, run.threads])
}

/// Against OpenSSH: seconds of a login, milliseconds of one more command, MiB/s of an upload with its checksums.
async fn openssh(sshd: &Sshd, library: Library) -> Outcome<[f64; 3]> {
    let target = Target { library, ..sshd.target() };
    let started = Instant::now();
    let mut shell = Connectors::default().connect(&target).await?;
    let login = started.elapsed().as_secs_f64();
    let mut commands = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        shell.batch(&[request("true")], &mut |_| {}).await?;
        commands.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    let data = Payload::Bytes(vec![7; UPLOAD]);
    let started = Instant::now();
    shell.upload(&data, &sshd.path("uploaded").to_string_lossy(), 0o600, &mut |_| {}).await?;
    let rate = (UPLOAD / 1024 / 1024) as f64 / started.elapsed().as_secs_f64();
    shell.close().await;
    Ok([login, median(commands), rate])
}

/// One line: both libraries and the ratio.
fn line(what: &str, unit: &str, values: [Vec<f64>; 2]) {
    let [russh, libssh2] = values.map(median);
    println!("{what:<38} {unit:<6} {russh:>10.3} {libssh2:>10.3} {:>10.2}", libssh2 / russh);
}

async fn simulated(hosts: usize) -> Outcome<()> {
    let sim = Sim::start(Options { hosts, version: "8.0".into(), hostd_ms: 0, ..Options::default() }).await?;
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    let mut steps = String::from("steps:\n");
    for _ in 0..20 {
        steps.push_str("  - setting: {key: UserVars.SuppressShellWarning, value: 0}\n");
        steps.push_str("  - portgroup: {name: VM Network, vswitch: vSwitch0, vlan: 0}\n");
        steps.push_str("  - module: {name: vmkusb, enabled: true}\n");
    }
    std::fs::write(dir.join("site.yml"), steps)?;
    let list = dir.join("hosts.yml");
    std::fs::write(&list, inventory_yaml(sim.hosts()))?;
    std::fs::set_permissions(&list, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let inventory = Inventory::load(&list.to_string_lossy())?;
    let mut values: [[Vec<f64>; 2]; 4] = Default::default();
    for round in 0..=RUNS {
        for (index, (library, name)) in LIBRARIES.into_iter().enumerate() {
            let login = logins(&inventory, library).await?;
            let [seconds, memory, threads] = tokio::task::block_in_place(|| apply(dir, name))?;
            if round > 0 {
                for (value, all) in [login, seconds, memory, threads].into_iter().zip(&mut values) {
                    all[index].push(value);
                }
            }
        }
    }
    sim.stop().await;
    let names = [
        ("login of all at once", "s"),
        ("no-op apply, 60 steps", "s"),
        ("its memory at most", "MiB"),
        ("its threads at most", ""),
    ];
    for ((what, unit), values) in names.into_iter().zip(values) {
        line(&format!("simulated, {hosts:>2}: {what}"), unit, values);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    if only_builds() {
        return Ok(());
    }
    println!("{:<45} {:>10} {:>10} {:>10}", format!("median of {RUNS}"), "russh", "libssh2", "ratio");
    for hosts in [1, 20] {
        simulated(hosts).await?;
    }
    let sshd = Sshd::start("");
    let mut values: [[Vec<f64>; 2]; 3] = Default::default();
    for round in 0..=RUNS {
        for (index, (library, _)) in LIBRARIES.into_iter().enumerate() {
            let measured = openssh(&sshd, library).await?;
            if round > 0 {
                for (value, all) in measured.into_iter().zip(&mut values) {
                    all[index].push(value);
                }
            }
        }
    }
    let names = [("login", "s"), ("one more command", "ms"), ("upload with its checksums", "MiB/s")];
    for ((what, unit), values) in names.into_iter().zip(values) {
        line(&format!("OpenSSH: {what}"), unit, values);
    }
    Ok(())
}
