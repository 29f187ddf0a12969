//! The stand-in guest: a simulated ESXi host that has a whole (virtual) machine to itself, with real cards, disks and power.
//!
//! This is what runs inside a virtual machine of a lab that wants no VMware ISO. Linux below it only drives the hardware:
//! `hardware` reads it from /sys, `install` plays ESXi's installer, `slots` keeps the host's saved state on the boot disk,
//! `net` makes its VMkernel interfaces real, `below` ties them to the simulated host. Lines for people and for the
//! launcher's install watcher go to the serial console; docs/standin.md lists them.

mod bundle;
mod cd;
mod error;
mod fat;
#[doc(hidden)]
pub(crate) mod fuzzing;
mod hardware;
mod http;
mod install;
mod kickstart;
mod machine;
mod net;
mod options;
mod power;
mod slots;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use error::GuestError;

use super::host::HostState;
use super::machine::{SimHost, blocking};
use super::{Options, Sim};
use hardware::Found;
use machine::Machine;

/// Where the host lives while it runs: a file system in memory.
const BASE: &str = "/run/esx";
/// Script of a first boot, beside the host's root.
const FIRST_BOOT: &str = "firstboot";
/// What an administrator wants run at every boot (documented by VMware; replaced by kickstarts).
const LOCAL_SCRIPT: &str = "etc/rc.local.d/local.sh";

/// Says a line on the console.
fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Runs the guest: boots what is installed, or installs. Comes back only with an error; an installation that failed says so
/// on the console and waits.
///
/// # Errors
/// A host that could not be started.
pub async fn run() -> Result<(), GuestError> {
    let found = blocking(|| Ok(hardware::settle(Path::new("/sys"), Path::new("/dev")))).await?;
    for line in found.lines() {
        say(&line);
    }
    let installed = blocking({
        let found = found.clone();
        move || Ok(find_installed(&found))
    })
    .await?;
    match installed {
        Some((number, payload)) => boot(found, number, &payload).await,
        None => {
            power::watch(|| {
                say("POWER button: the installer goes off");
                machine::stop(false);
            });
            match blocking(move || Ok(install::install(&found, Path::new(BASE)))).await? {
                Ok(after) => {
                    if !after.waits {
                        say("REBOOT");
                        machine::stop(true);
                    } else {
                        say("WAITING installation complete: remove the installation media and press Enter to reboot");
                        enter();
                    }
                }
                Err(error) => say(&format!("INSTALL FAILED {error}")),
            }
            // The machine stays on, so that the console can be read; the power button works.
            std::future::pending().await
        }
    }
}

/// Restarts the machine when somebody presses Enter on the console.
fn enter() {
    std::thread::spawn(|| {
        let mut line = String::new();
        if std::io::stdin().read_line(&mut line).is_ok_and(|count| count > 0) {
            say("REBOOT");
            machine::stop(true);
        }
    });
}

/// The first disk with a saved state: its number and the state.
fn find_installed(found: &Found) -> Option<(usize, Vec<u8>)> {
    found.disks.iter().enumerate().find_map(|(number, disk)| {
        let file = std::fs::File::open(&disk.device).ok()?;
        slots::newest(&file).ok().flatten().map(|slot| (number, slot.payload))
    })
}

async fn boot(mut found: Found, number: usize, payload: &[u8]) -> Result<(), GuestError> {
    for (at, disk) in found.attached.disks.iter_mut().enumerate() {
        disk.boot = at == number;
    }
    let device = found.disks[number].device.clone();
    let dir = Path::new(BASE).join("host1");
    bundle::unpack(payload, &dir).map_err(|source| GuestError::Io {
        action: "unpack the saved state into",
        path: dir.clone(),
        source,
    })?;
    let machine = Arc::new(Machine::new(&found, dir.clone(), Some(device)));
    let options = Options {
        listen: std::net::SocketAddr::from(([0, 0, 0, 0], 22)),
        version: "8.0".into(),
        state: Some(PathBuf::from(BASE)),
        plain_chroot: true,
        below: Some(machine),
        ..Options::default()
    };
    let hostd = Duration::from_millis(options.hostd_ms);
    let sim = Sim::start(options).await?;
    let host = sim.hosts.first().cloned().ok_or_else(|| GuestError::Installer("no host was started".into()))?;
    let pressed = Arc::clone(&host);
    let runtime = tokio::runtime::Handle::current();
    power::watch(move || {
        say("POWER button: the host shuts down");
        let _entered = runtime.enter();
        pressed.power_down(Duration::ZERO, true);
    });
    local_script(&host, &dir.join("root").join(LOCAL_SCRIPT), hostd).await;
    first_boot(&host, &dir.join(FIRST_BOOT), hostd).await?;
    say(&host.with_state(|state, _| ready(state)));
    std::future::pending::<()>().await;
    drop(sim);
    Ok(())
}

/// Runs local.sh, as every boot does once hostd is there; on the first one before the kickstart's own script (reported
/// for 8.0.3: what that script writes into local.sh acts from the next boot on).
async fn local_script(host: &Arc<SimHost>, script: &Path, hostd: Duration) {
    let Ok(text) = std::fs::read_to_string(script) else { return };
    let acts = |line: &&str| !line.trim().is_empty() && !line.starts_with('#') && line.trim() != "exit 0";
    // The stock one does nothing, which takes no time.
    if text.lines().filter(acts).count() > 0 {
        run_script(host, "LOCAL", &text, hostd).await;
    }
}

/// Runs a script inside the host once hostd answers: scripts call vim-cmd. How it failed is said on the console.
async fn run_script(host: &Arc<SimHost>, name: &str, text: &str, hostd: Duration) {
    tokio::time::sleep(hostd + Duration::from_millis(200)).await;
    say(name);
    let output = match host.command(&["sh", "-c", text]) {
        Ok(command) => {
            let mut command = tokio::process::Command::from(command);
            command.stdin(std::process::Stdio::null()).output().await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error),
    };
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => say(&format!(
            "{name} script ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => say(&format!("{name} script did not run: {error}")),
    }
}

/// Runs the scripts that a kickstart left for the first boot, once, and saves.
async fn first_boot(host: &Arc<SimHost>, script: &Path, hostd: Duration) -> Result<(), GuestError> {
    let Ok(text) = std::fs::read_to_string(script) else { return Ok(()) };
    run_script(host, "FIRSTBOOT", &text, hostd).await;
    let _ = std::fs::remove_file(script);
    let saving = Arc::clone(host);
    blocking(move || {
        saving.save();
        Ok(())
    })
    .await?;
    Ok(())
}

fn ready(state: &HostState) -> String {
    let vmk0 = state.vmk_links().into_iter().find(|link| link.name == "vmk0");
    let (mac, address) =
        vmk0.map_or_else(Default::default, |link| (link.mac, link.address.map(|(address, _)| address)));
    format!(
        "READY {} version={} build={} bootdisk={} ssh={} vmk0={mac} address={}",
        state.fqdn(),
        state.version(),
        state.build(),
        if state.boot_disk_visible() { "visible" } else { "lost" },
        if state.ssh_running() { "on" } else { "off" },
        address.unwrap_or_else(|| "none".into()),
    )
}
