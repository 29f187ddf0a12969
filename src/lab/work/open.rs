//! From what the user names to a plan: the lab's file or its name, this machine's facts, the ports that are free.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::session::WorkError;
use crate::lab::doctor;
use crate::lab::guest;
use crate::lab::plan::{self, Facts, ForwardKey, Plan, Vendor};
use crate::lab::qemu::{self, Qemu};
use crate::lab::spec::{Guest, Lab, NetworkKind};
use crate::lab::state::{self, Place};
use crate::lab::thing::Thing;
use crate::playbook::Problems;

/// What the user says of a lab.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Its file or its name.
    pub lab: Option<String>,
    /// The folder that labs are kept in.
    pub home: Option<PathBuf>,
    /// The QEMU to use; none: the one in PATH.
    pub qemu: Option<PathBuf>,
}

/// A lab that was found.
#[derive(Debug)]
pub struct Found {
    /// Its folders.
    pub place: Place,
    /// Its file, if that is known.
    pub file: Option<PathBuf>,
    /// The lab, if its file was named.
    pub lab: Option<Lab>,
}

/// A lab with its plan for this machine.
#[derive(Debug)]
pub struct Opened {
    /// As written.
    pub lab: Lab,
    /// Its folders.
    pub place: Place,
    /// The QEMU.
    pub qemu: Qemu,
    /// What the doctor says of this machine and the lab.
    pub report: doctor::Report,
    /// The plan.
    pub plan: Plan,
}

/// What is kept of a lab beside its journal, so that it can be worked on without its file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// The lab's file.
    pub file: PathBuf,
    /// What was planned last.
    pub plan: Plan,
    /// The QEMU that it runs on.
    pub qemu: PathBuf,
}

/// Why a lab cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Problems in its file.
    #[error("{}", .0.plain())]
    Problems(Problems),
    /// Anything else.
    #[error(transparent)]
    Work(#[from] WorkError),
}

impl From<Problems> for OpenError {
    fn from(problems: Problems) -> Self {
        Self::Problems(problems)
    }
}

impl From<state::StateError> for OpenError {
    fn from(error: state::StateError) -> Self {
        Self::Work(error.into())
    }
}

/// The record of what was planned last.
pub fn kept_plan(place: &Place) -> state::Kept<Kept> {
    state::Kept::at(place.dir().join("plan.json"))
}

/// Finds the lab that is meant: a file, a name of a lab that was up before, `lab.yml` here, or the only lab there is.
///
/// # Errors
/// None or several could be meant, or the file does not validate.
pub fn find(wanted: &Wanted) -> Result<Found, OpenError> {
    let home = wanted.home.as_deref();
    let from_file = |path: &Path| -> Result<Found, OpenError> {
        let lab = Lab::load(path)?;
        let place = Place::find(&lab.name, home)?;
        Ok(Found { place, file: Some(path.to_owned()), lab: Some(lab) })
    };
    let from_name = |name: &str| -> Result<Found, OpenError> {
        let place = Place::find(name, home)?;
        if !place.exists() {
            let labs = Place::all(home)?;
            let known = match labs.is_empty() {
                true => "there is none yet".to_owned(),
                false => format!("there are {}", labs.join(", ")),
            };
            return Err(WorkError::said(format!(
                "there is no lab file {name} and no lab of that name ({known}); give the path of a lab file"
            ))
            .into());
        }
        let file = kept_plan(&place).load()?.map(|kept| kept.file);
        Ok(Found { place, file, lab: None })
    };
    match wanted.lab.as_deref() {
        Some(lab) => {
            let path = Path::new(lab);
            let like_file = lab.contains('/') || lab.ends_with(".yml") || lab.ends_with(".yaml");
            if path.is_file() || like_file { from_file(path) } else { from_name(lab) }
        }
        None if Path::new("lab.yml").is_file() => from_file(Path::new("lab.yml")),
        None => match Place::all(home)?.as_slice() {
            [one] => from_name(one),
            [] => Err(WorkError::said("which lab? There is no lab.yml here; give the path of a lab file").into()),
            many => Err(WorkError::said(format!("which lab? There are {}; name one", many.join(", "))).into()),
        },
    }
}

/// The plan of a lab as it was made last.
///
/// # Errors
/// It never came that far, or the record is damaged.
pub fn standing_plan(place: &Place) -> Result<Kept, WorkError> {
    kept_plan(place).load()?.ok_or_else(|| {
        WorkError::said(format!("lab {} was never up; `esxprep lab up LAB.yml` brings it up", place.name()))
    })
}

/// Opens a lab and plans it for this machine. Nothing is changed.
///
/// # Errors
/// Problems in the file, no QEMU.
pub fn open(wanted: &Wanted) -> Result<Opened, OpenError> {
    let found = find(wanted)?;
    let lab = match (found.lab, &found.file) {
        (Some(lab), _) => lab,
        (None, Some(file)) => Lab::load(file)?,
        (None, None) => {
            return Err(
                WorkError::said(format!("the file of lab {} is not known; give its path", found.place.name())).into()
            );
        }
    };
    let place = found.place;
    let earlier = kept_plan(&place).load()?;
    if let Some(kept) = &earlier
        && !same_file(&kept.file, &lab.path)
        && kept.file.exists()
    {
        return Err(WorkError::said(format!(
            "there is a lab {} already, made from {}; give this one another `name:`",
            place.name(),
            kept.file.display()
        ))
        .into());
    }
    let qemu = qemu::probe(wanted.qemu.as_deref()).map_err(WorkError::said)?;
    let machine = gather(place.dir());
    let carries = doctor::accelerator(&machine);
    let (isos, unreadable) = isos(&lab);
    let ports = choose(&lab, earlier.as_ref().map(|kept| &kept.plan));
    let facts = Facts {
        qemu: qemu.version,
        kvm: carries.accel == "kvm",
        cpu: processor(&machine),
        folder: place.dir().to_owned(),
        runtime: place.runtime().to_owned(),
        ports,
        standin_iso: None,
        standin: Some(super::standin::placeholder()),
        ovmf: qemu::find_ovmf(Path::new("/")),
        isos,
        playbooks: plan::look_at_playbooks(&lab),
    };
    let mut plan = plan::plan(&lab, &facts)?;
    plan.notes.extend(unreadable);
    let report = doctor::report(&machine, &need(&plan, &running(&place)?));
    Ok(Opened { lab, place, qemu, report, plan })
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// Ports for forwards: those of the last time where they are still free or our own, else free ones.
fn choose(lab: &Lab, earlier: Option<&Plan>) -> BTreeMap<ForwardKey, u16> {
    let mut previous = BTreeMap::new();
    for host in earlier.iter().flat_map(|p| &p.hosts) {
        for (nic, card) in host.nics.iter().enumerate() {
            for forward in &card.forwards {
                let key = ForwardKey {
                    host: host.name.clone(),
                    nic,
                    protocol: forward.protocol,
                    guest_port: forward.guest_port,
                };
                previous.insert(key, forward.host_port);
            }
        }
    }
    let mut busy = listening();
    busy.retain(|port| !previous.values().any(|own| own == port));
    plan::choose_ports(lab, &busy, &previous)
}

/// TCP ports that somebody listens on (`/proc/net/tcp`: the port is hexadecimal, state 0A is "listen").
fn listening() -> BTreeSet<u16> {
    let port = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, state) = (words.next()?, words.nth(1)?);
        (state == "0A").then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok()).flatten()
    };
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().filter_map(port).collect::<Vec<_>>())
        .collect()
}

fn gather(folder: &Path) -> doctor::Machine {
    let programs = doctor::Programs::default();
    // The folder need not be there yet: its file system is that of the nearest one above it.
    let there = folder.ancestors().find(|p| p.is_dir());
    doctor::gather(Path::new("/"), &programs, there)
}

/// What the doctor says of this machine alone.
pub fn look_at_machine(wanted: &Wanted) -> doctor::Report {
    let home = wanted.home.clone().unwrap_or_else(|| PathBuf::from("."));
    doctor::report(&gather(&home), &doctor::Need::default())
}

fn processor(machine: &doctor::Machine) -> plan::Cpu {
    let cpuinfo = machine.cpuinfo.as_deref().unwrap_or_default();
    let number = |key: &str| -> Option<u32> {
        let line = cpuinfo.lines().find(|l| l.split(':').next().is_some_and(|k| k.trim() == key))?;
        line.split(':').nth(1)?.trim().parse().ok()
    };
    let vendor = vendor(cpuinfo);
    let known = number("cpu family").zip(number("model"));
    let legacy = known.is_some_and(|(family, model)| match vendor {
        Vendor::Intel => family == 6 && DROPPED_INTEL.contains(&model),
        Vendor::Amd => family <= DROPPED_AMD_FAMILY,
        Vendor::Other => false,
    });
    plan::Cpu { vendor, hybrid: matches!(&machine.hybrid, (Some(_), Some(_))), legacy }
}

/// Models of Intel's family 6 that 7.0 or 8.0 refuses to install on without `allowLegacyCPU=true`: Westmere, Sandy and
/// Ivy Bridge. From the vendor's lists of discontinued processors as people quote them; not verified, medium confidence.
const DROPPED_INTEL: &[u32] = &[0x25, 0x2a, 0x2c, 0x2d, 0x2f, 0x3a, 0x3e];
/// AMD's families up to Bulldozer's; not verified, medium confidence.
const DROPPED_AMD_FAMILY: u32 = 0x15;

fn vendor(cpuinfo: &str) -> Vendor {
    if cpuinfo.contains("GenuineIntel") {
        Vendor::Intel
    } else if cpuinfo.contains("AuthenticAMD") {
        Vendor::Amd
    } else {
        Vendor::Other
    }
}

/// The versions that the lab's ISOs say they have, and a blocker for each that cannot be read.
fn isos(lab: &Lab) -> (BTreeMap<PathBuf, crate::esxi::Version>, Vec<plan::Note>) {
    let (mut versions, mut notes) = (BTreeMap::new(), Vec::new());
    for path in lab.isos() {
        match crate::lab::install::iso::inspect_without_hash(&path) {
            Ok(info) => drop(versions.insert(path, info.version)),
            Err(error) => notes.push(plan::Note {
                weight: plan::Weight::Blocker,
                host: None,
                text: error.to_string(),
                place: Some(lab.span(&["iso"]).place()),
                why: Vec::new(),
            }),
        }
    }
    (versions, notes)
}

/// The hosts of a lab whose machines run.
fn running(place: &Place) -> Result<BTreeSet<String>, state::StateError> {
    let standing = state::Journal::<Thing>::read(&place.journal())?;
    Ok(standing
        .into_iter()
        .filter_map(|(_, thing)| match thing {
            Thing::Process { host: Some(host), thing: guest::Thing::Process(process) } => {
                process.find().is_some().then_some(host)
            }
            _ => None,
        })
        .collect())
}

/// What the doctor is asked for a plan. Hosts that run already have what they need.
fn need(plan: &Plan, running: &BTreeSet<String>) -> doctor::Need {
    let mut need = doctor::Need::default();
    for host in &plan.hosts {
        let runs = running.contains(&host.name);
        if let Some(stage) = host.last() {
            need.guests.push(doctor::GuestNeed {
                name: host.name.clone(),
                memory_mib: if runs { 0 } else { stage.machine.memory },
                vcpus: stage.machine.cpus,
                esxi: (host.guest == Guest::Esxi).then(|| host.esxi.clone()),
            });
        }
        if runs {
            continue;
        }
        for disk in &host.disks {
            need.disks.push(doctor::DiskNeed { name: format!("{} {}", host.name, disk.id), now: 0, worst: disk.size });
        }
        for nic in &host.nics {
            let owner = format!("{} {}", host.name, nic.id);
            need.macs.push(doctor::MacNeed { mac: nic.mac.clone(), owner });
            for forward in &nic.forwards {
                let purpose = format!("{} of {}", forward.name, host.name);
                need.ports.push(doctor::PortNeed { port: forward.host_port, purpose });
            }
        }
        need.builds_iso |= host.install.as_ref().is_some_and(|i| i.rebuild);
    }
    need.networks = plan
        .networks
        .iter()
        .map(|n| match n.kind {
            NetworkKind::Nat => doctor::NetworkKind::User,
            NetworkKind::Bridge => doctor::NetworkKind::Bridge,
            NetworkKind::Ovs => doctor::NetworkKind::Ovs,
            NetworkKind::Hub => doctor::NetworkKind::Sockets,
        })
        .collect();
    need
}
