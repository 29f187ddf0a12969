//! What a run without changes costs, as a ratio to the floor: the same reads through OpenSSH's client in one login,
//! and a bare login by the transport. All in one run on one machine; nothing is asserted. `docs/performance.md` has
//! the method.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::engine::identify::Identify;
use esxprep::esxi::{HostFacts, Version};
use esxprep::inventory::Inventory;
use esxprep::playbook::{Playbook, Scope};
use esxprep::sim::{HostInfo, Options, Sim, inventory_yaml};
use esxprep::transport::{Connector, RusshConnector};
use indexmap::IndexMap;

#[path = "../tests/common/sixty.rs"]
mod sixty;
mod support;
use sixty::sixty_steps;
use support::{Outcome, median, only_builds};

/// Runs of each measurement; the median counts.
const RUNS: usize = 5;

/// The script with every read that the run makes, each once.
fn reads(playbook: &Path) -> Outcome<(String, usize)> {
    let book = Playbook::load(playbook, &BTreeSet::new())?;
    let facts = HostFacts::example(Version::new(8, 0));
    let mut commands: Vec<String> = Identify::default().commands().iter().map(|c| c.text().to_owned()).collect();
    let none = IndexMap::new();
    let scope = Scope { vars: &book.vars, facts: &facts, inventory_name: "esx1", registered: &none };
    for step in &book.steps {
        for bound in book.bind(step, &scope)? {
            if let Ok(step) = bound.what {
                commands.extend(step.reads(&facts).iter().map(|c| c.text().to_owned()));
            }
        }
    }
    let mut seen = BTreeSet::new();
    commands.retain(|c| seen.insert(c.clone()));
    Ok((commands.join("\n") + "\n", commands.len()))
}

/// OpenSSH's client: all hosts at the same time, one login each, the script on standard input.
fn openssh(folder: &Path, hosts: &[HostInfo], script: &str) -> Outcome<Duration> {
    let started = Instant::now();
    let mut children = Vec::new();
    for host in hosts {
        let mut child = Command::new("ssh")
            .args(["-F", "/dev/null", "-T", "-o", "PreferredAuthentications=password,keyboard-interactive"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR", "-p", &host.port.to_string()])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", folder.join("known_hosts").display()))
            .arg(format!("{}@{}", host.user, host.address))
            .arg("sh -s")
            .env("SSH_ASKPASS", folder.join(format!("askpass-{}", host.name)))
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        child.stdin.take().ok_or("no standard input")?.write_all(script.as_bytes())?;
        children.push(child);
    }
    for mut child in children {
        // 255 is ssh's own failure; the script ends with that of its last read.
        if child.wait()?.code().is_none_or(|code| code == 255) {
            return Err("ssh could not log in".into());
        }
    }
    Ok(started.elapsed())
}

fn esxprep(folder: &Path, command: &[&str]) -> Outcome<Duration> {
    let started = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_esxprep"))
        .args(command)
        .args(["--forks", "20", "-i"])
        .arg(folder.join("hosts.yml"))
        .env("HOME", folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        Ok(started.elapsed())
    } else {
        Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// The transport alone: TCP, keys, password, one shell; all hosts at the same time.
async fn logins(inventory: &Inventory) -> Outcome<Duration> {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for host in &inventory.hosts {
        let target = host.target.clone();
        tasks.spawn(async move { RusshConnector::default().connect(&target).await.map(drop) });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(started.elapsed())
}

async fn measure(hosts: usize, esxcli_ms: u64) -> Outcome<String> {
    let sim =
        Sim::start(Options { hosts, version: "8.0".into(), esxcli_ms, hostd_ms: 0, ..Options::default() }).await?;
    let folder = tempfile::tempdir()?;
    let dir = folder.path();
    std::fs::write(dir.join("hosts.yml"), inventory_yaml(sim.hosts()))?;
    std::fs::set_permissions(dir.join("hosts.yml"), std::fs::Permissions::from_mode(0o600))?;
    let playbook = dir.join("sixty.yml");
    std::fs::write(&playbook, sixty_steps())?;
    let mut known = String::new();
    for host in sim.hosts() {
        let _ = writeln!(known, "[{}]:{} {}", host.address, host.port, host.host_key);
        let askpass = dir.join(format!("askpass-{}", host.name));
        std::fs::write(&askpass, format!("#!/bin/sh\necho '{}'\n", host.password))?;
        std::fs::set_permissions(&askpass, std::fs::Permissions::from_mode(0o700))?;
    }
    std::fs::write(dir.join("known_hosts"), known)?;
    let inventory = Inventory::load(&dir.join("hosts.yml").to_string_lossy())?;
    let (script, commands) = reads(&playbook)?;

    let path = playbook.to_string_lossy().into_owned();
    let (mut login, mut ssh, mut apply) = (Vec::new(), Vec::new(), Vec::new());
    // Taken in turns, so that what else the machine does falls on all alike. The first round only warms up.
    for round in 0..=RUNS {
        let times = (
            logins(&inventory).await?,
            tokio::task::block_in_place(|| openssh(dir, sim.hosts(), &script))?,
            tokio::task::block_in_place(|| esxprep(dir, &["apply", &path]))?,
        );
        if round > 0 {
            login.push(times.0.as_secs_f64());
            ssh.push(times.1.as_secs_f64());
            apply.push(times.2.as_secs_f64());
        }
    }
    sim.stop().await;
    let (login, ssh, apply) = (median(login), median(ssh), median(apply));
    Ok(format!(
        "{hosts:>5} {esxcli_ms:>9} {commands:>9} {login:>9.3} {ssh:>9.3} {apply:>9.3} {:>10.2} {:>12.2}",
        apply / ssh,
        apply / login
    ))
}

#[tokio::main]
async fn main() -> Outcome<()> {
    if only_builds() {
        return Ok(());
    }
    println!("no-op apply of 60 steps, seconds (median of {RUNS}); ratios to the floors");
    println!("hosts esxcli_ms    reads     login       ssh   esxprep  / ssh      / login");
    for hosts in [1, 20] {
        for esxcli_ms in [0, 100] {
            println!("{}", measure(hosts, esxcli_ms).await?);
        }
    }
    Ok(())
}
