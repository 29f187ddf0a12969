//! One file a subcommand: arguments in, call, exit code out.

/// A line on standard error, for people.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::tell(&format!($($text)*)) };
}
/// A line on standard output, for people.
macro_rules! say {
    ($($text:tt)*) => { { let _ = $crate::cli::print(format!("{}\n", format_args!($($text)*))); } };
}

mod apply;
mod bundle;
mod facts;
mod harden;
mod hosts;
mod lab;
mod limit;
mod log;
mod man;
mod options;
mod parse;
mod record;
mod schema;
mod sim;
mod standin_guest;
mod test;
mod validate;

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Usage errors, and files that do not validate: nothing was touched.
const EXIT_USAGE: u8 = 2;

/// Shown below the list of subcommands.
const START: &str = "Try it without a host: esxprep apply playbooks/nested-lab.yml --sim 2";
/// Shown below the options of what runs a playbook, and in the manual page.
const EXIT_CODES: &str = "\
Exit codes:
  0    all hosts match
  1    a step failed, or a host was lost
  2    usage, or a file that does not validate; nothing was touched
  3    with --check or verify: changes pending
  4    no host could be reached or logged in to
  130  interrupted; run it again to go on";

/// Brings VMware ESXi hosts from just installed to exactly as written down, over nothing but SSH.
#[derive(Debug, Parser)]
#[command(name = "esxprep", version, about, max_term_width = 110, disable_help_subcommand = true, after_help = START)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Write a debug log to this file (its verbosity: RUST_LOG).
    #[arg(long, global = true, display_order = 900, value_name = "FILE", env = "ESXPREP_LOG_FILE")]
    log_file: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make hosts match a playbook, and prove that they do.
    #[command(after_help = EXIT_CODES)]
    Apply(Box<apply::ApplyArgs>),
    /// Look whether every host matches the playbook; change nothing.
    #[command(after_help = EXIT_CODES)]
    Verify(Box<apply::VerifyArgs>),
    /// Check playbooks and an inventory; no host is touched.
    Validate(validate::ValidateArgs),
    /// Try playbooks on recorded hosts and compare with what is expected; no network.
    #[command(after_help = test::EXIT_CODES)]
    Test(Box<test::TestArgs>),
    /// Log in and show version, build, boot time, boot bank and running VMs.
    Facts(facts::FactsArgs),
    /// Run simulated ESXi hosts behind a real SSH server.
    Sim(sim::SimArgs),
    /// Nested ESXi hosts under QEMU: from an installer ISO to a configured, networked lab, and back to nothing.
    Lab(lab::LabArgs),
    /// Hardening baselines: their controls, where they differ, how much of them is covered.
    Harden(harden::HardenArgs),
    /// Look into an offline bundle or a VIB.
    Bundle(bundle::BundleArgs),
    /// Show what a run did; without RUN, list the runs.
    Log(log::LogArgs),
    /// Turn what an ESXi command printed (on standard input) into JSON.
    #[command(after_help = parse::EXIT_CODES)]
    Parse(parse::ParseArgs),
    /// Print a JSON Schema of playbooks, inventories or events.
    Schema(schema::SchemaArgs),
    /// Print the reference of the kinds of step.
    Steps(schema::StepsArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Parses the command line, calls the subcommand and returns its exit code.
pub fn main() -> ExitCode {
    // `ssh` runs this program to be given a lab's password (`lab ssh`).
    if let Ok(asked) = std::env::var(crate::lab::work::ASKPASS_VARIABLE) {
        return match crate::lab::work::askpass(&asked) {
            Ok(password) => raw(password + "\n"),
            Err(error) => fail(&error.to_string()),
        };
    }
    // Not one of clap's subcommands: completions would offer even a hidden one.
    if std::env::args_os().nth(1).is_some_and(|word| word == standin_guest::WORD) {
        return standin_guest::run();
    }
    if std::env::args_os().nth(1).is_some_and(|word| word == lab::HUB) {
        return lab::hub();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    if let Err(error) = start_log(cli.log_file.as_deref()) {
        return fail(&error);
    }
    if keeps_secrets(&cli.command) {
        no_core_dumps();
    }
    match cli.command {
        Command::Apply(args) => apply::apply(*args),
        Command::Verify(args) => apply::verify(*args),
        Command::Validate(args) => validate::validate(&args),
        Command::Test(args) => test::test(&args),
        Command::Facts(args) => facts::facts(args),
        Command::Sim(args) => sim::sim(args),
        Command::Lab(args) => lab::lab(args),
        Command::Harden(args) => harden::harden(&args),
        Command::Bundle(args) => bundle::bundle(&args),
        Command::Log(args) => log::log(&args),
        Command::Parse(args) => parse::parse(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Steps(args) => schema::steps(&args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "esxprep", &mut script);
            raw(&script)
        }
        Command::Man => match man() {
            Ok(page) => raw(&page),
            Err(error) => fail(&format!("cannot write the manual page: {error}")),
        },
    }
}

/// A command line that is none, or a question about it: clap's own text, but for what an argument holds.
fn unparsed(error: &clap::Error) -> ExitCode {
    let strange = |arg: std::ffi::OsString| arg.to_string_lossy().contains(crate::report::steers);
    if std::env::args_os().any(strange) {
        tell(error.render().to_string().trim_end());
    } else {
        // Nothing else can be done about a terminal that is gone.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_USAGE))
}

/// Whether a command reads passwords.
fn keeps_secrets(command: &Command) -> bool {
    matches!(
        command,
        Command::Apply(_) | Command::Verify(_) | Command::Facts(_) | Command::Validate(_) | Command::Lab(_)
    )
}

/// Keeps the memory of this process out of core dumps, and from other processes of the same user: passwords are in it.
/// Programs that it starts are as they always were (execve(2) sets it back).
fn no_core_dumps() {
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!("core dumps of this process cannot be forbidden: {error}");
    }
}

fn man() -> std::io::Result<Vec<u8>> {
    let mut page = Vec::new();
    man::page(Cli::command(), &mut page)?;
    Ok(page)
}

/// Writes text for people to standard output: here and in [`tell`] is the edge where nothing that came from outside may
/// steer a terminal.
fn print(text: impl AsRef<str>) -> ExitCode {
    raw(crate::report::shown(text.as_ref(), console::colors_enabled()).as_bytes())
}

/// Writes JSON to standard output.
fn print_json(text: impl AsRef<str>) -> ExitCode {
    raw(crate::report::json_shown(text.as_ref()).as_bytes())
}

/// Writes a line for people to standard error. That nobody reads it is no error.
fn tell(text: &str) {
    let text = crate::report::shown(text, console::colors_enabled_stderr());
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes to standard output as it is. A reader that has seen enough (`| head`) is no error.
fn raw(bytes: impl AsRef<[u8]>) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&format!("cannot write to standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Prints an error and returns the exit code for it.
fn fail(message: &str) -> ExitCode {
    tell(&format!("error: {message}"));
    ExitCode::from(EXIT_USAGE)
}

/// The runtime for everything that waits for hosts.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| format!("cannot start: {e}"))
}

fn start_log(file: Option<&std::path::Path>) -> Result<(), String> {
    let Some(path) = file else { return Ok(()) };
    // Its owner's alone: it tells hosts, users and commands.
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| format!("cannot write the log {}: {e}", path.display()))?;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("esxprep=debug,russh=info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::sync::Mutex::new(file)).init();
    Ok(())
}
