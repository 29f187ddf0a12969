//! `lab status`: what every host does, asked of its process and of QEMU.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::access;
use super::open::Kept;
use super::record::record;
use super::session::WorkError;
use crate::lab::disk::QemuImg;
use crate::lab::guest::{self, Kind, State};
use crate::lab::plan::{Host, Plan};
use crate::lab::state::{Journal, Place};
use crate::lab::thing::Thing;

/// For a monitor to answer.
const MONITOR: Duration = Duration::from_secs(2);

/// What one host does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HostStatus {
    /// The host.
    pub host: String,
    /// `running`, `paused` or what else QEMU says, `dead` (it ended by itself), `stopped`, `frozen`, `never started`.
    pub state: String,
    /// How far it is: `not installed`, `installed`, a stage, `ready`.
    pub phase: String,
    /// Its QEMU's process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// For how long it has run, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up_seconds: Option<u64>,
    /// Processor time since it started, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Memory that its process takes here, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// What its disks take here, in bytes.
    pub disk: u64,
    /// What its disks look like to it, in bytes.
    pub disk_virtual: u64,
    /// Where SSH answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh: Option<String>,
    /// Forwards: port here and port there.
    pub ports: Vec<(u16, u16)>,
    /// The management NIC's MAC.
    pub mac: String,
}

/// Looks at every host. The lab may be worked on meanwhile.
///
/// # Errors
/// The journal cannot be read.
pub async fn status(place: &Place, kept: &Kept) -> Result<Vec<HostStatus>, WorkError> {
    let standing = Journal::<Thing>::read(&place.journal())?;
    let mut all = Vec::new();
    for host in &kept.plan.hosts {
        all.push(one(place, host, &standing).await);
    }
    Ok(all)
}

async fn one(place: &Place, host: &Host, standing: &[(u64, Thing)]) -> HostStatus {
    let process = standing.iter().rev().find_map(|(_, thing)| match thing {
        Thing::Process { host: Some(of), thing: guest::Thing::Process(process) }
            if *of == host.name && process.kind == Kind::Guest =>
        {
            Some(process)
        }
        _ => None,
    });
    let known = record(place, &host.name).load().ok().flatten().unwrap_or_default();
    let frozen = place.host(&host.name).join("frozen.json").exists();
    let mut status = HostStatus {
        host: host.name.clone(),
        state: if frozen {
            "frozen"
        } else if known.running.is_some() {
            "stopped"
        } else {
            "never started"
        }
        .to_owned(),
        phase: match (&known.installed, known.ready, &known.running) {
            (None, _, _) => "not installed".to_owned(),
            (Some(_), true, _) => "ready".to_owned(),
            (Some(_), false, Some(stage)) => format!("stage {stage}"),
            (Some(_), false, None) => "installed".to_owned(),
        },
        pid: None,
        up_seconds: None,
        cpu_seconds: None,
        memory: None,
        disk: 0,
        disk_virtual: 0,
        ssh: access::ssh_of(host).map(|(address, port)| format!("{address}:{port}")),
        ports: host.nics.iter().flat_map(|n| &n.forwards).map(|f| (f.host_port, f.guest_port)).collect(),
        mac: host.nics.first().map(|n| n.mac.clone()).unwrap_or_default(),
    };
    for disk in &host.disks {
        if let Ok(usage) = QemuImg::default().usage(&disk.file) {
            status.disk += usage.actual_bytes;
            status.disk_virtual += usage.virtual_bytes;
        }
    }
    let Some(process) = process else { return status };
    let Some(identity) = process.find() else {
        status.state = "dead".into();
        return status;
    };
    status.state = "running".into();
    status.pid = Some(identity.pid);
    status.up_seconds = identity.since().and_then(|s| SystemTime::now().duration_since(s).ok()).map(|d| d.as_secs());
    if let Some(usage) = guest::usage(identity.pid) {
        status.cpu_seconds = Some(usage.cpu.as_secs_f64());
        status.memory = Some(usage.rss);
    }
    // The user's monitor: esxprep's own may be in the hands of whoever works on the lab just now.
    if let Ok(stage) = super::machine::stage_started(place, host)
        && let State::Running { status: Some(said), .. } =
            guest::look(process, &stage.machine.qmp_user, MONITOR).await.state
    {
        status.state = said.status;
    }
    status
}

/// The table for people.
pub fn table(plan: &Plan, all: &[HostStatus]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["HOST", "STATE", "PHASE", "SSH", "PORTS", "UP", "CPU", "MEMORY", "DISK", "PID"]);
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    for host in all {
        let dash = || "-".to_owned();
        table.add_row([
            host.host.clone(),
            host.state.clone(),
            host.phase.clone(),
            host.ssh.clone().unwrap_or_else(dash),
            match host.ports.is_empty() {
                true => dash(),
                false => host.ports.iter().map(|(h, g)| format!("{h}→{g}")).collect::<Vec<_>>().join(" "),
            },
            host.up_seconds.map_or_else(dash, |s| format!("{s} s")),
            host.cpu_seconds.map_or_else(dash, |s| format!("{s:.0} s")),
            host.memory.map_or_else(dash, mib),
            format!("{} of {} GiB", mib(host.disk), host.disk_virtual >> 30),
            host.pid.map_or_else(dash, |p| p.to_string()),
        ]);
    }
    format!("Lab {}\n{table}\n", plan.lab)
}
