//! `esxprep test`: playbooks tried on recorded hosts, and compared with what is expected of them.

mod judge;
mod show;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use self::judge::{Case, Judged};
use super::hosts::Failure;
use super::options::KeptOptions;
use crate::engine::events::Event;
use crate::engine::{Mode, RunOptions};
use crate::fixture::gather::{FixtureFile, gather};
use crate::fixture::trial::{claimed, recorded_mode, tried};
use crate::fixture::{Fixture, HostFixture};
use crate::playbook::Playbook;
use crate::report::{OutputKind, ReportOptions};

/// Shown below the options.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    every playbook did with every host what is expected
  1    something differs, a step failed that was not expected to, or a fixture does not know a command
  2    usage, or a file that does not validate; nothing was tried";

/// `esxprep test`.
#[derive(Debug, Clone, Args)]
pub struct TestArgs {
    /// Playbooks.
    #[arg(required = true)]
    playbooks: Vec<PathBuf>,
    /// A file of recorded hosts, or a folder of such files.
    #[arg(short, long, value_name = "FILE|DIR", required = true)]
    fixture: PathBuf,
    /// What is expected [default: the fixture's `expect PLAYBOOK` section, else expected/PLAYBOOK/HOST.txt beside the
    /// playbook].
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write down what happened as what is expected, and show what that changes.
    #[arg(long)]
    update: bool,
    /// With --update: write down the commands that only look, too.
    #[arg(long, requires = "update")]
    reads: bool,
    /// Try `apply`, whatever the fixture was recorded with [default: that, or apply].
    #[arg(long, conflicts_with_all = ["check", "verify"])]
    apply: bool,
    /// Try `apply --check` instead.
    #[arg(long, conflicts_with = "verify")]
    check: bool,
    /// Try `verify` instead.
    #[arg(long)]
    verify: bool,
    /// Set a variable: KEY=VALUE with the value as YAML, or @FILE.yml; wins over the fixture's.
    #[arg(short = 'e', long = "extra-var", value_name = "KEY=VALUE")]
    extra: Vec<String>,
    #[command(flatten)]
    options: KeptOptions,
    /// Leave aside the mode and the options that the fixture was recorded with.
    #[arg(long)]
    own_options: bool,
    /// Only these hosts: names or globs, comma-separated; `!x` leaves x out.
    #[arg(long, value_name = "PATTERN")]
    limit: Option<String>,
    /// A host of which nothing is expected counts as a failure.
    #[arg(long)]
    strict: bool,
    /// human, json, junit[=FILE] or html[=FILE]; comma-separated, at most one without a file. json are the events of
    /// the replayed runs, as `apply --output json` prints them.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    output: Vec<OutputKind>,
}

/// Everything that came of the command.
#[derive(Default)]
struct Results {
    cases: Vec<Judged>,
    /// Pairs that were not tried: playbook, host, why.
    left_out: Vec<(String, String, String)>,
    /// Events of each run, with the playbook's name.
    runs: Vec<(String, Vec<Event>)>,
}

/// Tries playbooks on recorded hosts.
pub fn test(args: &TestArgs) -> ExitCode {
    let report = ReportOptions::detect(false, false);
    let reports = match show::Reports::new(&args.output, report) {
        Ok(reports) => reports,
        Err(error) => return super::fail(&error),
    };
    let started = std::time::Instant::now();
    let results = match all(args) {
        Ok(results) => results,
        Err(failure) => return failure.show(),
    };
    let failed = results.cases.iter().any(|c| c.failed(args.strict));
    if let Err(error) = reports.write(&results, args.strict, started.elapsed()) {
        return super::fail(&format!("cannot write the report: {error}"));
    }
    ExitCode::from(u8::from(failed))
}

fn all(args: &TestArgs) -> Result<Results, Failure> {
    let text = |e: &dyn std::fmt::Display| Failure::Text(e.to_string());
    let extra = crate::playbook::parse_extra(&args.extra).map_err(Failure::Problems)?;
    let (files, skipped) = gather(&args.fixture).map_err(|e| text(&e))?;
    for file in skipped {
        tell!("warning: {} is left out: it does not begin with `esxprep fixture 1`", file.display());
    }
    for file in &files {
        let ended = |h: &&HostFixture| h.meta.get("ended").is_some_and(|how| how == "interrupted");
        let hosts: Vec<&str> = file.fixture.hosts.iter().filter(ended).map(|h| h.name.as_str()).collect();
        if !hosts.is_empty() {
            tell!(
                "warning: {} was recorded in a run that was interrupted: of {} nothing is known from there on, and what \
                 comes then is not what a host would do",
                file.path.display(),
                hosts.join(", ")
            );
        }
    }
    if files.iter().all(|f| f.fixture.hosts.is_empty()) {
        return Err(Failure::Text(format!("{} has no recorded hosts", args.fixture.display())));
    }
    let mut results = Results::default();
    // Everything that can be wrong with a file is found before anything is tried.
    let mut planned = Vec::new();
    for path in &args.playbooks {
        for file in &files {
            let mut known: BTreeSet<String> = extra.keys().cloned().collect();
            known.extend(file.fixture.hosts.iter().flat_map(|h| h.vars.keys().cloned()));
            let playbook = match Playbook::load(path, &known) {
                Ok(playbook) => playbook,
                Err(problems) => {
                    tell!("with the variables of {} and of -e:", file.path.display());
                    return Err(Failure::Problems(problems));
                }
            };
            let (hosts, left_out) = claimed(&file.fixture, &playbook, args.limit.as_deref());
            let name = crate::fixture::trial::stem(path);
            results.left_out.extend(left_out.into_iter().map(|(host, why)| (name.clone(), host, why)));
            if !hosts.is_empty() {
                let mut options = options(args, file)?;
                options.extra_vars.clone_from(&extra);
                planned.push((path, file, playbook, hosts, options));
            }
        }
    }
    let pairs: usize = planned.iter().map(|(.., hosts, _)| hosts.len()).sum();
    if pairs == 0 {
        let whys: Vec<String> =
            results.left_out.iter().map(|(playbook, host, why)| format!("\n  {playbook} with {host}: {why}")).collect();
        return Err(Failure::Text(format!("nothing is left to try:{}", whys.concat())));
    }
    if args.expect.is_some() && pairs > 1 {
        return Err(Failure::Text(format!(
            "--expect takes the expectation of one playbook with one host, and {pairs} would be tried; choose one with --limit, or \
             leave --expect out: expectations stand beside the playbook"
        )));
    }
    let mut cases = Vec::new();
    for (path, file, _, hosts, options) in &planned {
        for host in hosts {
            cases.push(Case::find(path, file, &host.name, options.mode, args.expect.as_deref(), args.update)?);
        }
    }
    let mut cases = cases.into_iter();
    for (path, file, playbook, hosts, options) in planned {
        let count = hosts.len();
        let fixture = only(file, hosts);
        let tried = tried(&fixture, playbook, options).map_err(|e| Failure::Text(format!("cannot start: {e}")))?;
        for case in cases.by_ref().take(count) {
            results.cases.push(case.judge(&tried, args.update, args.reads)?);
        }
        results.runs.push((crate::fixture::trial::stem(path), tried.seen.events));
    }
    Ok(results)
}

fn mode(args: &TestArgs, fixture: &Fixture) -> Mode {
    match (args.check, args.verify) {
        (true, _) => Mode::Check,
        (_, true) => Mode::Verify,
        _ if args.apply || args.own_options => Mode::Apply,
        _ => recorded_mode(fixture),
    }
}

/// The options of a run with this fixture: those of the command line, else those that it was recorded with.
fn options(args: &TestArgs, file: &FixtureFile) -> Result<RunOptions, Failure> {
    // A replayed run downloads nothing: what it shows of this folder is where the recorded run kept its downloads.
    let mut options = RunOptions::new(mode(args, &file.fixture), crate::engine::cache_dir());
    let hosts = &file.fixture.hosts;
    let recorded = match hosts.iter().find_map(|h| h.meta.get("options").filter(|_| !args.own_options)) {
        Some(line) => KeptOptions::parse(line)
            .map_err(|e| Failure::Text(format!("{}: the line `options: {line}`: {e}", file.path.display())))?,
        None => KeptOptions::default(),
    };
    args.options.clone().over(recorded).tell(&mut options);
    // Only a recording of a whole run has its id.
    if !args.own_options && !args.options.limits_failures() && hosts.iter().any(|h| h.meta.contains_key("run")) {
        let begun = hosts.iter().filter(|h| h.meta.get("begun").is_none_or(|b| b != "no"));
        options.begun = Some(begun.map(|h| h.name.clone()).collect());
    }
    for host in hosts.iter().filter(|_| !args.own_options) {
        let Some(line) = host.meta.get("resumed") else { continue };
        let steps = serde_json::from_str(line)
            .map_err(|e| Failure::Text(format!("{}: the line `resumed: {line}`: {e}", file.path.display())))?;
        options.resumed.insert(host.name.clone(), steps);
    }
    Ok(options)
}

/// The fixture with these hosts alone.
fn only(file: &FixtureFile, hosts: Vec<HostFixture>) -> Fixture {
    Fixture { hosts, artifacts: file.fixture.artifacts.clone(), path: Some(file.path.clone()) }
}
