//! `esxprep sim`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::sim::{Fault, Options};

/// `esxprep sim`.
#[derive(Debug, Args)]
pub struct SimArgs {
    /// How many hosts.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=200))]
    hosts: u16,
    /// ESXi release line: 6.0, 6.5, 6.7, 7.0 or 8.0.
    #[arg(long, value_name = "V", default_value = "8.0")]
    version: String,
    /// Where to listen; the hosts take ports from PORT up, 0 takes free ones.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Write an inventory with which `apply -i FILE` works at once.
    #[arg(long, value_name = "FILE")]
    write_inventory: Option<PathBuf>,
    /// Keep the hosts in this folder over restarts.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Milliseconds added to every esxcli call.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    esxcli_ms: u64,
    /// Milliseconds that a boot takes until SSH answers.
    #[arg(long, value_name = "MS", default_value_t = Options::default().boot_ms)]
    boot_ms: u64,
    /// Milliseconds from SSH to a management agent (hostd) that answers.
    #[arg(long, value_name = "MS", default_value_t = Options::default().hostd_ms)]
    hostd_ms: u64,
    /// The root password [default: a new one].
    #[arg(long, value_name = "PASSWORD", env = "ESXPREP_SIM_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Sessions a connection may have (MaxSessions); 1 is what a 6.7 hardening rule asks for.
    #[arg(long, value_name = "N")]
    max_sessions: Option<usize>,
    /// Offer SFTP (needs the sftp-server of this machine).
    #[arg(long)]
    sftp: bool,
    /// Break something, NAME[=VALUE][@HOST]; `--help` lists what.
    #[arg(long, value_name = "SPEC", long_help = Fault::help())]
    fault: Vec<Fault>,
    /// Write down everything that the hosts are asked for, one JSON line each, numbered as the faults count it.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Listen also at the addresses of the hosts' vmknics that lie in 127.0.0.0/8.
    #[arg(long)]
    listen_on_vmknics: bool,
    /// A fixed vmk0 address in 127.0.0.0/8 for the first host, the next ones for the others. The hosts then listen
    /// at the addresses of their vmknics only, so that moving one moves the host.
    #[arg(long, value_name = "ADDR")]
    management_address: Option<std::net::Ipv4Addr>,
}

/// Runs simulated hosts until interrupted.
pub fn sim(args: SimArgs) -> ExitCode {
    let options = Options {
        hosts: usize::from(args.hosts),
        version: args.version,
        listen: args.listen,
        state: args.state,
        esxcli_ms: args.esxcli_ms,
        boot_ms: args.boot_ms,
        hostd_ms: args.hostd_ms,
        password: args.password,
        max_sessions: args.max_sessions,
        sftp: args.sftp,
        faults: args.fault,
        log: args.log,
        listen_on_vmknics: args.listen_on_vmknics,
        management_address: args.management_address,
        ..Options::default()
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(crate::sim::front::run(options, args.write_inventory)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(&error.to_string()),
    }
}
