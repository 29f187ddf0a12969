//! `esxprep apply` and `esxprep verify`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::hosts::{Failure, HostArgs, Simulated};
use super::options::line_of;
use super::record::{About, RecordArgs, Recording};
use crate::engine::events::Event;
use crate::engine::journal::{Journal, NewRun};
use crate::engine::{Batch, Context, Mode, RunOptions, Serial};
use crate::inventory::{Host, Inventory};
use crate::playbook::{Playbook, Rollout};
use crate::report::{OutputKind, ReportOptions, Reporter};
use crate::transport::target::Library;
use crate::transport::{Connector, Connectors};

/// Arguments that `apply` and `verify` share.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    #[command(flatten)]
    hosts: HostArgs,
    /// Show before → after of every change.
    #[arg(long)]
    diff: bool,
    /// Only steps with one of these tags.
    #[arg(long, value_name = "T", value_delimiter = ',')]
    tags: Vec<String>,
    /// No steps with one of these tags.
    #[arg(long, value_name = "T", value_delimiter = ',')]
    skip_tags: Vec<String>,
    /// Work on so many hosts at the same time.
    #[arg(long, value_name = "N", default_value_t = crate::engine::FORKS as u16, value_parser = clap::value_parser!(u16).range(1..))]
    forks: u16,
    /// Finish one batch of hosts before the next: a number, a percentage such as 20%, or a list of which the last one
    /// repeats (1,5,20%).
    #[arg(long, value_name = "N|N%,...")]
    serial: Option<Serial>,
    /// Begin no other host once so many have failed: a number, or a percentage of the run's hosts.
    #[arg(long, value_name = "N|N%", value_parser = Batch::of_failures)]
    max_failures: Option<Batch>,
    /// Finish the hosts of the first of these groups before those of the next; all other hosts come last.
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    order: Vec<String>,
    /// Set a variable: KEY=VALUE with the value as YAML, or @FILE.yml; wins over all files.
    #[arg(short = 'e', long = "extra-var", value_name = "KEY=VALUE")]
    extra: Vec<String>,
    /// Leave out steps that an earlier run ended well: its id, the beginning of it, or `last`.
    #[arg(long, value_name = "RUN")]
    resume: Option<String>,
    /// More waivers: a file with a list of `id`, `reason`, `until`, and perhaps `hosts`.
    #[arg(long, value_name = "FILE")]
    waivers: Vec<PathBuf>,
    #[command(flatten)]
    record: RecordArgs,
    /// human, json, junit[=FILE], html[=FILE]; of controls also ckl=FILE, cklb=FILE, xccdf=FILE, one file a host
    /// ({host} is its name); comma-separated, at most one without a file.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    output: Vec<OutputKind>,
    /// Time limit of a command whose step sets none.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    command_timeout: Duration,
    /// How long the management agent (hostd) may take once SSH answers.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    agent_timeout: Duration,
}

/// `esxprep apply`.
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The playbook.
    #[arg(required_unless_present = "undo")]
    playbook: Option<PathBuf>,
    #[command(flatten)]
    run: RunArgs,
    /// Take an earlier run back: bring every value that it changed back to what it was before. Its id, the beginning of
    /// it, or `last`.
    #[arg(long, value_name = "RUN", conflicts_with_all = ["playbook", "resume"])]
    undo: Option<String>,
    /// Change nothing; say what would be changed (exit code 3 if anything).
    #[arg(long)]
    check: bool,
    /// Never reboot; say what waits for it.
    #[arg(long)]
    no_reboot: bool,
    /// Time limit from the reboot to a host that is ready again.
    #[arg(long, value_name = "TIME", default_value = "20m", value_parser = humantime::parse_duration)]
    reboot_timeout: Duration,
    /// Never more than so many hosts down at the same time: rebooting, or in maintenance mode. A number or a percentage.
    #[arg(long, value_name = "N|N%")]
    max_down: Option<Batch>,
    /// Change even hosts that forget it at their next boot (no boot bank on a disk).
    #[arg(long)]
    allow_unsaved: bool,
}

/// `esxprep verify`.
#[derive(Debug, Clone, Args)]
pub struct VerifyArgs {
    /// The playbook.
    playbook: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

/// What hosts are to be.
enum Wanted {
    /// As a playbook says.
    Playbook(PathBuf),
    /// As they were before a run.
    Undo(String),
}

/// Runs `apply`.
pub fn apply(args: ApplyArgs) -> ExitCode {
    let mode = if args.check { Mode::Check } else { Mode::Apply };
    let mut options = RunOptions::new(mode, crate::engine::cache_dir());
    options.no_reboot = args.no_reboot;
    options.reboot_timeout = args.reboot_timeout;
    options.allow_unsaved = args.allow_unsaved;
    options.max_down = args.max_down;
    let what = match (args.undo, args.playbook) {
        (Some(run), _) => Wanted::Undo(run),
        (None, playbook) => Wanted::Playbook(playbook.unwrap_or_default()),
    };
    run(args.run, what, options)
}

/// Runs `verify`.
pub fn verify(args: VerifyArgs) -> ExitCode {
    run(args.run, Wanted::Playbook(args.playbook), RunOptions::new(Mode::Verify, crate::engine::cache_dir()))
}

fn run(args: RunArgs, what: Wanted, mut options: RunOptions) -> ExitCode {
    options.forks = usize::from(args.forks);
    options.serial.clone_from(&args.serial);
    options.max_failures = args.max_failures;
    options.tags.clone_from(&args.tags);
    options.skip_tags.clone_from(&args.skip_tags);
    options.command_timeout = args.command_timeout;
    options.agent_timeout = args.agent_timeout;
    let descriptors = raise_descriptors();
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return super::fail(&error),
    };
    match runtime.block_on(checked(args, what, options, descriptors)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.show(),
    }
}

/// Everything that can be wrong is found before any host is touched; then the run.
async fn checked(
    mut args: RunArgs,
    what: Wanted,
    mut options: RunOptions,
    descriptors: Option<u64>,
) -> Result<u8, Failure> {
    args.record.check()?;
    args.hosts.spell_limit()?;
    options.extra_vars = crate::playbook::parse_extra(&args.extra).map_err(Failure::Problems)?;
    let mut inventory = args.hosts.inventory(&[])?;
    let mut known: BTreeSet<String> = options.extra_vars.keys().cloned().collect();
    known.extend(inventory.hosts.iter().flat_map(|h| h.vars.keys().cloned()));
    if args.hosts.sim.is_some() {
        known.insert(crate::sim::sample::VARIABLE.to_owned());
    }
    let mut playbook = match &what {
        Wanted::Undo(run) => taking_back(run)?,
        Wanted::Playbook(path) => Playbook::load(path, &known).map_err(Failure::Problems)?,
    };
    for file in &args.waivers {
        playbook.waivers.extend(crate::playbook::read_waivers(file).map_err(Failure::Problems)?);
    }
    let controls = playbook.steps.iter().filter_map(|step| step.id.as_deref());
    crate::report::fits(&args.output, playbook.baseline.as_deref(), controls).map_err(Failure::Text)?;
    if let Some(run) = &args.resume {
        let recorded = Journal::load(run).map_err(|e| Failure::Text(e.to_string()))?;
        options.resumed = recorded.done().into_iter().map(|(host, done)| (host, done.steps)).collect();
    }
    let sim = Simulated::start(args.hosts.sim_options(playbook.esxi.first().map(String::as_str))).await?;
    if let Some(running) = &sim.0 {
        inventory = args.hosts.simulated(running.hosts())?;
    }
    let patterns = if args.hosts.sim.is_some() { &[][..] } else { &playbook.hosts };
    let selected: Vec<Host> = inventory
        .select(patterns, args.hosts.limit.as_deref())
        .map_err(Failure::Problems)?
        .into_iter()
        .cloned()
        .collect();
    // As with `hosts`: simulated hosts are in no group.
    let order = if args.hosts.sim.is_some() { &[][..] } else { &playbook.rollout.order };
    roll_out(&mut options, &args.order, order, &playbook.rollout, &inventory)?;
    if args.hosts.sim.is_none() {
        warn_of_descriptors(&selected, options.forks, descriptors);
    }
    let code = journalled(&args, options, playbook, selected).await;
    sim.stop().await;
    code
}

/// What the playbook says about many hosts and the command line does not.
fn roll_out(
    options: &mut RunOptions,
    order: &[String],
    playbook_order: &[String],
    said: &Rollout,
    inventory: &Inventory,
) -> Result<(), Failure> {
    options.serial = options.serial.take().or_else(|| said.serial.clone());
    options.max_failures = options.max_failures.or(said.max_failures);
    options.max_down = options.max_down.or(said.max_down);
    let (order, whence) = if order.is_empty() { (playbook_order, "order") } else { (order, "--order") };
    for group in order {
        let hosts = inventory.select(std::slice::from_ref(group), None).map_err(|_| {
            Failure::Text(format!(
                "{whence}: `{group}` matches no host and no group of the inventory; `{whence}` takes groups, in the order in which \
                 they are done"
            ))
        })?;
        options.order.push(hosts.into_iter().map(|h| h.name.clone()).collect());
    }
    Ok(())
}

/// Lets this process have as many descriptors as it may (each host needs some), and says how many that are. Not more than
/// 65536: programs that it starts inherit it, and some of them go through all of them.
fn raise_descriptors() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX).min(65_536);
    match now.current {
        Some(current) if current < most => {
            let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: now.maximum });
            Some(if raised.is_ok() { most } else { current })
        }
        current => current,
    }
}

/// Says when there are too few descriptors for so many hosts at the same time.
fn warn_of_descriptors(hosts: &[Host], forks: usize, descriptors: Option<u64>) {
    let Some(may) = descriptors else { return };
    // A socket a session, a jump host is one too; libssh2 needs four. The rest is for files, the journal, the runtime.
    let each = if hosts.iter().any(|h| h.target.library == Library::Libssh2) { 4 } else { 1 };
    let needs = (forks.min(hosts.len()) * each + 64) as u64;
    if needs > may {
        tell!(
            "warning: {} hosts at the same time need about {needs} descriptors, and this process may have {may}: raise the limit \
             (`ulimit -n {needs}`), or use --forks {}",
            forks.min(hosts.len()),
            (may.saturating_sub(64) / each as u64).max(1)
        );
    }
}

/// The playbook that takes a run back.
fn taking_back(run: &str) -> Result<Playbook, Failure> {
    let recorded = Journal::load(run).map_err(|e| Failure::Text(e.to_string()))?;
    let plan = crate::engine::undo::plan(&recorded);
    for left in &plan.left {
        tell!("warning: esxprep cannot take this back: {left}");
    }
    if plan.steps == 0 {
        let run = &recorded.meta.run;
        return Err(Failure::Text(format!(
            "run {run} changed nothing that can be taken back; `esxprep log {run}` shows it"
        )));
    }
    let path = PathBuf::from(format!("undo-{}.yml", recorded.meta.run));
    let mut playbook = Playbook::from_text(&path, &plan.playbook, &BTreeSet::new()).map_err(Failure::Problems)?;
    playbook.hosts = plan.hosts.into_iter().collect();
    Ok(playbook)
}

async fn journalled(args: &RunArgs, options: RunOptions, playbook: Playbook, hosts: Vec<Host>) -> Result<u8, Failure> {
    let new = NewRun {
        playbook: playbook.path.clone(),
        name: playbook.name.clone(),
        argv: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        mode: options.mode.word().to_owned(),
        hosts: hosts.iter().map(|h| h.name.clone()).collect(),
        resumes: args.resume.clone(),
    };
    let journal =
        Journal::create(&new).map_err(|e| Failure::Text(format!("cannot keep a journal of this run: {e}")))?;
    let report = ReportOptions::detect(args.diff, options.mode != Mode::Apply);
    let reporter = crate::report::for_outputs(&args.output, &report)
        .map_err(|e| Failure::Text(format!("cannot write the report: {e}")))?;
    let cancel = CancellationToken::new();
    let (events, received) = mpsc::unbounded_channel();
    let run = journal.run().to_owned();
    let id = run.clone();
    let (total, argv) = (hosts.len(), new.argv.clone());
    let connector: Arc<dyn Connector> = Arc::new(Connectors::default());
    let recording = recording(args, &connector, &playbook, &options, &hosts, &run);
    let connector = recording.as_ref().map_or(connector, |r| r.connector());
    let book = recording.as_ref().map(|r| r.book.clone()).unwrap_or_default();
    let (keeps, kept) = watch::channel(0);
    let ctx = Context::new(playbook, options, connector, cancel.clone(), run, events).with_secrets(book);
    let ctx = ctx.with_journal(kept);
    let ctx = Arc::new(ctx);
    let human = !args.output.iter().any(|o| o.on_stdout() && *o != OutputKind::Human);
    let watch = tokio::spawn(interrupts(cancel, ctx.clone(), recording.clone(), human));
    let reporting = tokio::spawn(report_events(received, reporter, journal, keeps));
    let outcome = crate::engine::run(ctx.clone(), hosts).await;
    let artifacts = ctx.artifacts.recordable().await;
    watch.abort();
    let _ = watch.await;
    // The report ends when nobody can send events any more.
    drop(ctx);
    // The run is over whatever the journal says: a full disk here must not change the exit code.
    match reporting.await.map(|journal| journal.finish(i32::from(outcome.exit_code))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tell!("warning: the journal could not be finished: {error}"),
        Err(error) => tell!("warning: a defect in esxprep, the report ended early: {error}"),
    }
    let undone = outcome.not_begun > 0 || outcome.hosts.iter().any(|o| o.failed || o.result.failed > 0);
    if undone && total > 1 && human && args.hosts.inventory.is_some() && outcome.exit_code != super::EXIT_USAGE {
        say!("Only the hosts that are not done: {}", super::limit::again(&argv, &id));
    }
    if let Some(recording) = recording {
        recording.finish(artifacts, outcome.exit_code == INTERRUPTED, human);
    }
    Ok(outcome.exit_code)
}

/// The exit code of an interrupted run.
const INTERRUPTED: u8 = 130;

/// Begins the recording, if one is wanted.
fn recording(
    args: &RunArgs,
    connector: &Arc<dyn Connector>,
    playbook: &Playbook,
    options: &RunOptions,
    hosts: &[Host],
    run: &str,
) -> Option<Arc<Recording>> {
    let with_extra = |host: &Host| {
        let mut host = host.clone();
        host.vars.extend(options.extra_vars.clone());
        host
    };
    let name = playbook.path.file_name().map(|n| n.to_string_lossy().into_owned());
    let about = About {
        mode: options.mode.word().to_owned(),
        options: line_of(options),
        resumed: options.resumed.clone(),
        run: Some(run.to_owned()),
        playbook: name.or_else(|| Some(playbook.name.clone())),
        text: playbook.text(),
    };
    let recording = args.record.begin(connector, hosts.iter().map(with_extra).collect(), about)?;
    recording.note_playbook(playbook);
    Some(recording)
}

/// Hands every event to the journal and the reporter until the engine is done.
async fn report_events(
    mut received: mpsc::UnboundedReceiver<Event>,
    mut reporter: Box<dyn Reporter>,
    mut journal: Journal,
    keeps: watch::Sender<u64>,
) -> Journal {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let mut told = false;
    let mut events = Vec::new();
    loop {
        tokio::select! {
            // What came meanwhile is kept together: many hosts that end at once are one wait for the disk.
            count = received.recv_many(&mut events, 256) => {
                if count == 0 {
                    break;
                }
                if let Err(error) = journal.append(&events)
                    && !told
                {
                    told = true;
                    tell!("warning: the journal cannot be written: {error}");
                }
                keeps.send_modify(|kept| *kept += count as u64);
                events.drain(..).for_each(|event| reporter.event(&event));
            }
            _ = tick.tick() => reporter.tick(),
        }
    }
    if let Err(error) = reporter.finish() {
        tell!("warning: the report could not be finished: {error}");
    }
    journal
}

/// The first interrupt ends the run after the change in hand; the second ends it now.
async fn interrupts(cancel: CancellationToken, ctx: Arc<Context>, recording: Option<Arc<Recording>>, human: bool) {
    let mut terminate = match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(_) => return,
    };
    for again in [false, true] {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        if again {
            tell!("interrupted again: stopping at once; what was under way may be half done, run it again to go on");
            if let Some(recording) = &recording {
                let artifacts = tokio::time::timeout(Duration::from_secs(1), ctx.artifacts.recordable()).await;
                recording.finish(artifacts.unwrap_or_default(), true, human);
            }
            std::process::exit(i32::from(INTERRUPTED));
        }
        tell!("interrupted: finishing the change in hand (again to stop at once)");
        cancel.cancel();
    }
}
