//! Subcommands that look and change nothing, and the doctor.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::up::{open_failure, standing};
use super::{Done, LabName, text};
use crate::esxi::Version;
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
    let undo_file = work::doctor_undo_file().map_err(text)?;
    if args.undo {
        return undo(&undo_file);
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
        return fix(&report, &undo_file);
    }
    super::super::print(if args.json { doctor::json(&report) + "\n" } else { doctor::human(&report) });
    Ok(u8::from(report.failed()))
}

fn fix(report: &doctor::Report, undo_file: &Path) -> Done {
    let fixes = doctor::fixes(&report.findings);
    if fixes.is_empty() {
        println!("there is nothing that --fix could change");
        return Ok(u8::from(report.failed()));
    }
    let mut failed = false;
    print!("{}", doctor::announce(&fixes, rustix::process::geteuid().is_root()));
    for applied in doctor::apply(&fixes, &mut doctor::RealHands::new(), undo_file).map_err(text)? {
        println!("{applied}");
        failed |= !applied.done();
    }
    println!("`esxprep lab doctor --undo` puts everything back");
    Ok(u8::from(failed))
}

fn undo(undo_file: &Path) -> Done {
    let mut failed = false;
    let undone = doctor::undo(&mut doctor::RealHands::new(), undo_file).map_err(text)?;
    if undone.is_empty() {
        println!("there is nothing to put back");
    }
    for one in undone {
        println!("{one}");
        failed |= !one.done();
    }
    Ok(u8::from(failed))
}

/// Runs `lab plan`.
pub fn plan(args: PlanArgs) -> Done {
    let wanted = Wanted { qemu: args.qemu.qemu.clone(), ..args.lab.wanted() };
    let opened = work::open(&wanted).map_err(open_failure)?;
    let program = opened.qemu.path.display().to_string();
    let shown = if args.json {
        plan::render::json(&opened.plan, &program) + "\n"
    } else {
        plan::render::human(&opened.plan, &program, args.why)
    };
    super::super::print(shown);
    Ok(if opened.plan.blockers().next().is_some() { 1 } else { 0 })
}

/// Runs `lab validate`.
pub fn validate(args: &ValidateArgs) -> Done {
    let opened = work::open(&args.lab.wanted()).map_err(open_failure)?;
    let hosts = opened.plan.hosts.len();
    let networks = opened.plan.networks.len();
    println!("{}: ok, {hosts} host(s), {networks} network(s)", opened.lab.path.display());
    for note in &opened.plan.notes {
        let place = note.place.as_deref().map(|p| format!("{p}: ")).unwrap_or_default();
        println!("  {place}{}", note.text);
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
    let found = install::lint::lint(&script, args.esxi);
    let worst = found.iter().any(|p| p.severity == install::lint::Severity::Error);
    for problem in &found {
        println!("{}:{problem}", args.file.display());
    }
    if found.is_empty() {
        println!("{}: ok for ESXi {}", args.file.display(), args.esxi.line());
    }
    Ok(if worst { 2 } else { 0 })
}

/// Runs `lab status`.
pub async fn status(args: StatusArgs) -> Done {
    let (place, kept) = standing(&args.lab)?;
    let all = work::status(&place, &kept).await.map_err(text)?;
    let shown = if args.json {
        serde_json::to_string_pretty(&all).map_err(text)? + "\n"
    } else {
        work::table(&kept.plan, &all)
    };
    super::super::print(shown);
    Ok(0)
}

/// Runs `lab inventory`.
pub fn inventory(args: &LabName) -> Done {
    let (place, _) = standing(args)?;
    println!("{}", place.dir().join("inventory.yml").display());
    Ok(0)
}
