//! Subcommands for one host.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::up::standing;
use super::{Done, HostName, text};
use crate::lab::guest;
use crate::lab::plan::{Host, Machine};
use crate::lab::qmp::{Forward, Qmp};
use crate::lab::work::{self, Kept};

/// For a monitor to answer.
const MONITOR: Duration = Duration::from_secs(5);
/// Ctrl-]: leaves the console, as in telnet and virsh.
const LEAVE: u8 = 0x1d;

/// `esxprep lab ssh`.
#[derive(Debug, Args)]
pub struct SshArgs {
    #[command(flatten)]
    host: HostName,
    /// A command to run there, and options for `ssh` before it.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// `esxprep lab screenshot`.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    #[command(flatten)]
    host: HostName,
    /// The PNG file [default: screen.png in the host's folder].
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `esxprep lab ports`.
#[derive(Debug, Args)]
pub struct PortsArgs {
    #[command(subcommand)]
    what: Ports,
}

#[derive(Debug, Subcommand)]
enum Ports {
    /// List a host's forwards.
    List(HostName),
    /// Forward another port of 127.0.0.1 until the host is stopped.
    Add {
        /// The guest's port, or HERE:GUEST.
        port: String,
        #[command(flatten)]
        host: HostName,
    },
    /// Take a forward away.
    Remove {
        /// The port of this machine.
        port: u16,
        #[command(flatten)]
        host: HostName,
    },
}

/// `esxprep lab snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(subcommand)]
    what: Snapshots,
}

#[derive(Debug, Subcommand)]
enum Snapshots {
    /// List snapshots.
    List(super::LabName),
    /// Take one of all disks of all hosts; running hosts are asked through QEMU.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        lab: super::LabName,
    },
    /// Go back to one; no host may run.
    Revert {
        /// Its name.
        name: String,
        #[command(flatten)]
        lab: super::LabName,
    },
    /// Remove one.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        lab: super::LabName,
    },
}

struct One {
    kept: Kept,
    host: Host,
    place: crate::lab::state::Place,
}

impl One {
    fn find(name: &HostName) -> Result<Self, super::Failure> {
        let (place, kept) = standing(&name.lab)?;
        let host = work::chosen(&kept.plan, std::slice::from_ref(&name.host)).map_err(text)?.remove(0).clone();
        Ok(Self { kept, host, place })
    }

    /// The machine that it was last started as.
    fn machine(&self) -> Result<&Machine, super::Failure> {
        let stage = work::stage_started(&self.place, &self.host).map_err(text)?;
        Ok(&stage.machine)
    }

    async fn qmp(&self) -> Result<Qmp, super::Failure> {
        let machine = self.machine()?;
        Qmp::connect(&machine.qmp, MONITOR)
            .await
            .map_err(|e| text(format!("{}: {e}; does it run? (`esxprep lab status`)", self.host.name)))
    }
}

/// Runs `lab ssh`: this process becomes `ssh`.
pub async fn ssh(args: SshArgs) -> Done {
    let one = One::find(&args.host)?;
    let target = work::target_of(&one.place, &one.kept.plan, &one.host.name).map_err(text)?.target;
    let known = work::known_hosts_of(&one.place, &one.host.name);
    let mut ssh = std::process::Command::new("ssh");
    ssh.arg("-p").arg(target.port.to_string());
    ssh.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
    ssh.args(["-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"]);
    // The host's own name in messages, and the password without a prompt where the lab knows it.
    let helper = work::Askpass::for_host(&one.place, &one.kept.plan, &one.host.name).map_err(text)?;
    helper.set(&mut ssh);
    ssh.arg(format!("root@{}", target.address)).args(&args.command);
    Err(text(format!("cannot run ssh: {}; is the OpenSSH client installed?", ssh.exec())))
}

/// Runs `lab console`.
pub async fn console(args: HostName) -> Done {
    let one = One::find(&args)?;
    let path = one.machine()?.serial.clone();
    let mut stream = UnixStream::connect(&path)
        .await
        .map_err(|e| text(format!("{}: cannot attach to {}: {e}; does it run?", one.host.name, path.display())))?;
    tell!("attached to {}; Ctrl-] leaves", one.host.name);
    let raw = work::RawTerminal::enter();
    let (mut input, mut output) = (tokio::io::stdin(), tokio::io::stdout());
    let (mut typed, mut said) = ([0u8; 1024], [0u8; 8192]);
    let result: std::io::Result<()> = async {
        let mut open = true;
        loop {
            tokio::select! {
                n = input.read(&mut typed), if open => match n? {
                    // A pipe that ended is no reason to stop listening.
                    0 => open = false,
                    n => match typed[..n].iter().position(|b| *b == LEAVE) {
                        Some(at) => {
                            stream.write_all(&typed[..at]).await?;
                            return Ok(());
                        }
                        None => stream.write_all(&typed[..n]).await?,
                    },
                },
                n = stream.read(&mut said) => match n? {
                    0 => return Ok(()),
                    n => {
                        output.write_all(&said[..n]).await?;
                        output.flush().await?;
                    }
                },
            }
        }
    }
    .await;
    drop(raw);
    result.map_err(|e| text(format!("the console ended: {e}")))?;
    // A read from a terminal cannot be given up; the process ends here.
    std::process::exit(0)
}

/// Runs `lab screenshot`.
pub async fn screenshot(args: ScreenshotArgs) -> Done {
    let one = One::find(&args.host)?;
    let qmp = one.qmp().await?;
    let stem = match &args.output {
        Some(path) => std::path::absolute(path).map_err(text)?.with_extension(""),
        None => one.host.folder.join("screen"),
    };
    let shot = qmp.screendump(&stem).await.map_err(text)?;
    let png = work::as_png(&shot.path).map_err(text)?;
    say!("{}", png.display());
    Ok(0)
}

/// Runs `lab ports`.
pub async fn ports(args: PortsArgs) -> Done {
    match args.what {
        Ports::List(host) => {
            let one = One::find(&host)?;
            let qmp = one.qmp().await?;
            for (netdev, forward) in guest::list_ports(&one.host.name, &qmp).await.map_err(text)? {
                say!("{netdev}  {forward}");
            }
        }
        Ports::Add { port, host } => {
            let one = One::find(&host)?;
            let (here, there) = match port.split_once(':') {
                Some((here, there)) => (here.parse().map_err(text)?, there.parse().map_err(text)?),
                None => (work::free_port().map_err(text)?, port.parse::<u16>().map_err(text)?),
            };
            let qmp = one.qmp().await?;
            let (netdev, forward) = user_forward(&one.host, here, there)?;
            guest::add_port(&one.host.name, &qmp, &netdev, &forward).await.map_err(text)?;
            say!("127.0.0.1:{here} leads to port {there} of {}, until it is stopped", one.host.name);
        }
        Ports::Remove { port, host } => {
            let one = One::find(&host)?;
            let qmp = one.qmp().await?;
            let (netdev, forward) = user_forward(&one.host, port, 0)?;
            guest::remove_port(&one.host.name, &qmp, &netdev, &forward).await.map_err(text)?;
            say!("127.0.0.1:{port} leads nowhere any more");
        }
    }
    Ok(0)
}

/// The forward of a host's first NIC that has any.
fn user_forward(host: &Host, here: u16, there: u16) -> Result<(String, Forward), super::Failure> {
    let nic =
        host.nics.iter().find(|n| matches!(n.backend, crate::lab::plan::Backend::User { .. })).ok_or_else(|| {
            text(format!("{} has no NIC on a network of type nat: it is reached at its own address", host.name))
        })?;
    let forward = Forward::local(here, there);
    Ok((nic.id.clone(), forward))
}

/// Runs `lab snapshot`.
pub async fn snapshot(args: SnapshotArgs) -> Done {
    let (lab, name) = match &args.what {
        Snapshots::List(lab) => (lab, None),
        Snapshots::Create { name, lab } | Snapshots::Revert { name, lab } | Snapshots::Delete { name, lab } => {
            (lab, Some(name.as_str()))
        }
    };
    let (place, kept) = standing(lab)?;
    let _lock = crate::lab::state::Lock::take(&place, "lab snapshot").map_err(text)?;
    for host in &kept.plan.hosts {
        let disks: Vec<PathBuf> = host.disks.iter().map(|d| d.file.clone()).filter(|f| f.exists()).collect();
        let running = match work::stage_started(&place, host) {
            Ok(stage) => Qmp::connect(&stage.machine.qmp, MONITOR).await.ok(),
            Err(_) => None,
        };
        let name = name.unwrap_or_default();
        match &args.what {
            Snapshots::List(_) => {
                for found in guest::list(&disks).await.map_err(text)? {
                    let disk = found.disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    say!("{}  {disk}  {}", host.name, found.snapshot.name);
                }
            }
            Snapshots::Create { .. } => guest::create(name, &disks, running.as_ref()).await.map_err(text)?,
            Snapshots::Revert { .. } if running.is_some() => {
                return Err(text(format!("{} runs: `esxprep lab stop` the lab first", host.name)));
            }
            Snapshots::Revert { .. } => guest::revert(name, &disks).await.map_err(text)?,
            Snapshots::Delete { .. } => {
                guest::delete(name, &disks, running.as_ref()).await.map_err(text)?;
            }
        }
    }
    Ok(0)
}
