//! A run over SSH beside its floors and its peers, side by side in one run: `cargo bench --bench fleet`, or of it only
//! some parts: `cargo bench --bench fleet -- login converged resources upload hosts=1000 rounds=5`. Nothing is asserted; ratios
//! are what to compare. `docs/performance.md` has the method.
//!
//! Needs OpenSSH's sshd, and Python with the package index for the peers; without those, or with `no-peers`, their lines are
//! left out.

#[path = "fleet/clients.rs"]
mod clients;
#[path = "../tests/cli/common.rs"]
#[allow(dead_code)]
mod common;
#[path = "fleet/hosts.rs"]
mod hosts;
#[path = "../tests/common/inside.rs"]
mod inside;
#[path = "fleet/parts.rs"]
mod parts;
#[path = "../tests/common/sixty.rs"]
mod sixty;
mod support;
#[path = "../tests/transport_support/mod.rs"]
mod transport_support;
#[path = "../tests/common/turns.rs"]
mod turns;

use std::fs;
use std::process::Command;

use clients::Peers;
use hosts::Front;
use support::{Outcome, only_builds};

const PARTS: [&str; 5] = ["login", "converged", "resources", "upload", "hosts"];
/// Hosts behind sshd, at most.
const FRONT: usize = 20;

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// What a program says about itself; `-V` of ssh goes to standard error.
fn version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map_or_else(
        |error| format!("{program}: {error}"),
        |output| {
            let said = [output.stdout, output.stderr].concat();
            String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
        },
    )
}

fn main() -> Outcome<()> {
    if only_builds() {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, inventory, trips] = &arguments[..]
        && flag == "--floor"
    {
        return clients::be_floor(inventory, trips.parse()?);
    }
    let mut many = 100;
    let mut rounds = 5;
    let mut compared = true;
    let mut wanted: Vec<&str> = Vec::new();
    for word in &arguments {
        if let Some(count) = word.strip_prefix("rounds=") {
            rounds = count.parse()?;
            continue;
        }
        if word == "no-peers" {
            compared = false;
            continue;
        }
        let part = word.split('=').next().unwrap_or_default();
        if !PARTS.contains(&part) {
            return Err(
                format!("{word} is no part; there are {}, hosts=N, rounds=N and no-peers", PARTS.join(", ")).into()
            );
        }
        if let Some(count) = word.strip_prefix("hosts=") {
            many = count.parse()?;
        }
        wanted.push(part);
    }
    let wants = |part: &str| wanted.is_empty() || wanted.contains(&part);

    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    println!(
        "{} processors,{}; Linux {}; {}; {}; {} build; load {}",
        std::thread::available_parallelism()?,
        model.trim_start_matches(['\t', ':']),
        version("uname", "-r"),
        version("ssh", "-V"),
        version(env!("CARGO_BIN_EXE_esxprep"), "--version"),
        if cfg!(debug_assertions) { "debug" } else { "release" },
        load(),
    );
    let peers = if compared && (wants("converged") || wants("resources")) {
        Peers::install()
            .inspect_err(|error| {
                let error = error.to_string();
                let reason: Vec<&str> = error.lines().collect();
                println!("no peers, as they could not be installed: {}", reason.last().unwrap_or(&""));
            })
            .ok()
    } else {
        None
    };
    if let Some(peers) = &peers {
        println!("{}", peers.versions);
    }
    if wants("login") || wants("converged") || wants("resources") || wants("upload") {
        let front = Front::start(if wants("resources") { FRONT } else { 1 });
        if wants("login") {
            parts::login(&front, rounds)?;
        }
        if wants("converged") {
            parts::converged(&front, peers.as_ref(), rounds)?;
        }
        if wants("resources") {
            parts::resources(&front, peers.as_ref(), &[1, FRONT], rounds)?;
        }
        if wants("upload") {
            parts::upload(&front, rounds)?;
        }
    }
    if wants("hosts") {
        parts::many(many, rounds)?;
    }
    println!("\nload {}", load());
    Ok(())
}
