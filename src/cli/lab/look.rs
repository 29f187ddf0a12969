//! Subcommands that look and change nothing, and the doctor.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::up::{open_failure, standing};
use super::{Done, LabName, text};
use crate::esxi::Version;
use crate::lab::rules::book;
use crate::lab::work::{self, Wanted};
use crate::lab::{doctor, graph, install, plan};

/// `esxprep lab doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    lab: LabName,
    /// Make the changes that it proposes, the values before them kept.
    #[arg(long, conflicts_with = "undo")]
    fix: bool,
    /// Put back what --fix changed.
    #[arg(long)]
    undo: bool,
    /// Say where each fact comes from and how sure it is.
    #[arg(long)]
    sources: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    qemu: super::QemuPath,
}

/// `esxprep lab plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    lab: LabName,
    /// Explain every argument and refusal: its rule, reason, source and how sure it is.
    #[arg(long)]
    why: bool,
    /// As JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    qemu: super::QemuPath,
}

/// `esxprep lab validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    lab: LabName,
}

/// `esxprep lab graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(flatten)]
    lab: LabName,
    /// Write it here instead of to standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `esxprep lab lint-ks`.
#[derive(Debug, Args)]
pub struct LintArgs {
    /// The kickstart file.
    file: PathBuf,
    /// The ESXi version that will read it, such as 8.0.
    #[arg(long, value_name = "VERSION")]
    esxi: Version,
}

/// `esxprep lab status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    lab: LabName,
    /// As JSON, one array.
    #[arg(long)]
    json: bool,
}

/// Runs `lab doctor`.
pub fn doctor(args: DoctorArgs) -> Done {
    if args.undo {
        return undo();
    }
    let wanted = Wanted { qemu: args.qemu.qemu.clone(), ..args.lab.wanted() };
    // Without a lab the machine alone is looked at.
    let opened = match work::find(&wanted) {
        Ok(found) if found.lab.is_some() || found.file.is_some() => Some(work::open(&wanted).map_err(open_failure)?),
        Ok(_) => None,
        Err(error) if wanted.lab.is_some() => return Err(open_failure(error)),
        Err(_) => None,
    };
    let report = match opened {
        Some(opened) => opened.report,
        None => work::look_at_machine(&wanted),
    };
    if args.fix {
        return fix(&report);
    }
    if args.json {
        super::super::print_json(doctor::json(&report).map_err(text)? + "\n");
    } else {
        super::super::print(doctor::human(&report, width(), args.sources));
    }
    Ok(u8::from(report.failed()))
}

/// Columns of the terminal.
fn width() -> usize {
    usize::from(console::Term::stdout().size().1)
}

/// Where --fix keeps the values before it.
fn undo_file() -> Result<PathBuf, super::Failure> {
    let state = crate::engine::journal::StateDir::locate().map_err(text)?;
    Ok(state.path().join("doctor-undo.json"))
}

fn fix(report: &doctor::Report) -> Done {
    let fixes = doctor::fixes(&report.findings);
    super::super::print(doctor::announce(&fixes, rustix::process::geteuid().is_root()));
    if fixes.is_empty() {
        return Ok(u8::from(report.failed()));
    }
    let mut failed = false;
    let file = undo_file()?;
    for applied in doctor::apply(Path::new("/"), &file, &fixes, &mut doctor::RealHands::default()).map_err(text)? {
        let (word, why) = match applied.outcome {
            doctor::Outcome::Done => ("done", String::new()),
            doctor::Outcome::AlreadySo => ("so already", String::new()),
            doctor::Outcome::Failed(error) => {
                failed = true;
                ("FAILED", format!(": {error}"))
            }
        };
        say!("{word:<11}{}{why}", applied.fix.words());
    }
    Ok(u8::from(failed))
}

fn undo() -> Done {
    let mut failed = false;
    let undone = doctor::undo(Path::new("/"), &undo_file()?, &mut doctor::RealHands::default()).map_err(text)?;
    if undone.is_empty() {
        say!("there is nothing to put back");
    }
    for one in undone {
        let (word, why) = match one.how {
            doctor::UndoneHow::Restored => ("put back", String::new()),
            doctor::UndoneHow::AlreadySo => ("so already", String::new()),
            doctor::UndoneHow::LeftAlone(now) => ("left alone", format!(": {now}")),
            doctor::UndoneHow::Failed(error) => {
                failed = true;
                ("FAILED", format!(": {error}"))
            }
        };
        say!("{word:<11}{}{why}", one.fix.words());
    }
    Ok(u8::from(failed))
}

/// Runs `lab plan`.
pub fn plan(args: PlanArgs) -> Done {
    let wanted = Wanted { qemu: args.qemu.qemu.clone(), ..args.lab.wanted() };
    let opened = work::open(&wanted).map_err(open_failure)?;
    let program = opened.qemu.path.display().to_string();
    let show = plan::render::Show { program: &program, why: args.why, ..plan::render::Show::default() };
    if args.json {
        super::super::print_json(format!("{:#}\n", plan::render::json(&opened.plan, book(), show)));
    } else {
        super::super::print(plan::render::human(&opened.plan, book(), show));
    }
    Ok(if opened.plan.blockers().next().is_some() { 1 } else { 0 })
}

/// Runs `lab validate`.
pub fn validate(args: &ValidateArgs) -> Done {
    let opened = work::open(&args.lab.wanted()).map_err(open_failure)?;
    let hosts = opened.plan.hosts.len();
    let networks = opened.plan.networks.len();
    say!("{}: ok, {hosts} host(s), {networks} network(s)", opened.lab.path.display());
    for note in &opened.plan.notes {
        let place = note.place.as_deref().map(|p| format!("{p}: ")).unwrap_or_default();
        say!("  {place}{}", note.text);
    }
    Ok(0)
}

/// Runs `lab graph`.
pub fn graph(args: &GraphArgs) -> Done {
    let opened = work::open(&args.lab.wanted()).map_err(open_failure)?;
    let svg = graph::svg(&opened.plan);
    match &args.output {
        None => {
            super::super::print(svg);
        }
        Some(path) => {
            let write = || std::fs::File::create(path)?.write_all(svg.as_bytes());
            write().map_err(|e| text(format!("cannot write {}: {e}", path.display())))?;
        }
    }
    Ok(0)
}

/// Runs `lab lint-ks`.
pub fn lint(args: &LintArgs) -> Done {
    let read = std::fs::read_to_string(&args.file);
    let script = read.map_err(|e| text(format!("cannot read {}: {e}", args.file.display())))?;
    let found = install::lint::lint(&script, &install::lint::LintOptions::qemu(args.esxi));
    let name = args.file.display().to_string();
    for (finding, problem) in found.iter().zip(install::lint::problems(&name, &script, &found)) {
        let text = problem.plain();
        let (first, rest) = text.split_once('\n').map_or((text.as_str(), None), |(first, rest)| (first, Some(rest)));
        say!("{first} [{}]", finding.code);
        rest.into_iter().for_each(|rest| say!("{rest}"));
    }
    if found.is_empty() {
        say!("{name}: ok for ESXi {}", args.esxi.line());
    }
    let worst = found.iter().any(|f| f.severity == install::lint::Severity::Error);
    Ok(if worst { 2 } else { 0 })
}

/// Runs `lab status`.
pub async fn status(args: StatusArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    let all = work::status(&place, &kept).await.map_err(text)?;
    if args.json {
        super::super::print_json(serde_json::to_string_pretty(&all).map_err(text)? + "\n");
    } else {
        super::super::print(work::table(&kept.plan, &all));
    }
    Ok(0)
}

/// Runs `lab inventory`.
pub fn inventory(args: &LabName) -> Done {
    let (place, _) = standing(args)?;
    say!("{}", place.dir().join("inventory.yml").display());
    Ok(0)
}
