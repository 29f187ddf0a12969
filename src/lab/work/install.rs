//! The unattended installation of one host: the kickstart with its final MAC, its way into the installer, and the
//! watch until the installer reboots.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::ExposeSecret;

use super::host::aside;
use super::session::{Session, WorkError};
use super::{access, disks, machine};
use crate::esxi::Version;
use crate::esxi::mac::Mac;
use crate::lab::guest::StopPlan;
use crate::lab::install::bootcfg::{self, BootOptions};
use crate::lab::install::keys::{self, Step};
use crate::lab::install::remaster::{IsoCache, KS_ON_CD, RemasterSpec, Xorriso};
use crate::lab::install::screen::Screen;
use crate::lab::install::serve::{Fetches, KsServer, USER_NETWORK_HOST};
use crate::lab::install::usb::{KS_ON_STICK, ks_stick};
use crate::lab::install::watch::{self, History, Report, WatchOptions, Watcher};
use crate::lab::install::{crypt, iso, ks};
use crate::lab::plan::{Accel, Backend, GuestAddress, Host, Install, Stage, StageKind};
use crate::lab::qmp::Qmp;
use crate::lab::spec::{Delivery, Guest};
use crate::lab::state::Kept;
use crate::lab::thing::Thing;

/// Between two looks at a machine that installs.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks at its screen.
const SCREEN: Duration = Duration::from_secs(10);
/// How much slower than with KVM software emulation is taken to be, for the limits of a stall.
const EMULATED: f64 = 10.0;
/// Bytes of rebuilt ISOs that are kept for later labs.
const CACHE: u64 = 20 << 30;

/// What holds the kickstart while the installer runs.
struct Handed {
    /// Serves it.
    server: Option<KsServer>,
    /// Typed at the boot loader.
    typed: Option<String>,
    /// What was done, for people.
    said: String,
}

/// Installs a host that has an installer; one that starts from an image has none.
///
/// # Errors
/// What the installer says, or does not say any more, with its likely cause.
pub async fn install(session: &Arc<Session>, host: &Host) -> Result<(), WorkError> {
    let stage = host.stages.iter().find(|s| s.kind == StageKind::Install);
    let (Some(install), Some(stage)) = (&host.install, stage) else { return Ok(()) };
    let stage = &disks::installing(&session.plan, host, stage);
    let name = host.name.as_str();
    let report = format!("esxprep{:08x}", rand::random::<u32>());
    let handed = session
        .phase(Some(name), "kickstart", async {
            let handed = hand_over(session, host, install, &report).await?;
            let said = handed.said.clone();
            Ok((handed, Some(said)))
        })
        .await?;
    session
        .phase(Some(name), "install", async {
            let said = run(session, host, stage, handed, report).await?;
            Ok(((), said))
        })
        .await
}

/// The install script of a host.
///
/// # Errors
/// No root password, or something that the release's installer would refuse.
pub fn script(session: &Session, host: &Host, install: &Install, report: &str) -> Result<String, WorkError> {
    let password = access::root_password(&session.place, &session.plan, &host.name)?;
    let hash = crypt::hash_password(password.expose_secret()).map_err(WorkError::said)?;
    let nic = host.nics.first().ok_or_else(|| WorkError::said(format!("{} has no NIC", host.name)))?;
    let mac: Mac = nic.mac.parse().map_err(|_| WorkError::said(format!("{} is no MAC address", nic.mac)))?;
    let mut network = ks::KsNetwork::dhcp(mac);
    if let GuestAddress::Static { address, gateway, nameservers } = &nic.address {
        network.address = ks::Address::Static {
            ip: address.addr(),
            netmask: address.netmask(),
            gateway: *gateway,
            nameservers: nameservers.clone(),
        };
    }
    network.hostname = Some(host.name.clone());
    let mut spec = ks::KsSpec::new(release(host)?, hash, network);
    spec.ssh_keys = public_keys(host)?;
    spec.report = Some(report.to_owned());
    spec.unsupported_cpu = install.install_options.iter().any(|o| o.text.contains("forceunsupportedinstall"));
    spec.render().map_err(|e| WorkError::said(format!("{}: {e}", host.name)))
}

fn release(host: &Host) -> Result<Version, WorkError> {
    host.esxi.parse().map_err(|_| WorkError::said(format!("{} is no version of ESXi", host.esxi)))
}

/// Keys as they are, or read from the files that are named.
fn public_keys(host: &Host) -> Result<Vec<String>, WorkError> {
    let mut keys = Vec::new();
    for word in &host.ssh_keys {
        if word.starts_with("ssh-") || word.starts_with("ecdsa-") || word.starts_with("sk-") {
            keys.push(word.clone());
            continue;
        }
        let text =
            std::fs::read_to_string(word).map_err(|e| WorkError::said(format!("cannot read the key {word}: {e}")))?;
        keys.extend(text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned));
    }
    Ok(keys)
}

fn boot_options(install: &Install, ks: Option<String>) -> BootOptions {
    let words = install.boot_options.iter().flat_map(|o| o.text.split_whitespace());
    let extra = words.filter(|w| !w.starts_with("ks=")).map(str::to_owned).collect();
    BootOptions { ks, keep_cdrom_boot: false, system_media_size: None, extra }
}

async fn hand_over(session: &Arc<Session>, host: &Host, install: &Install, report: &str) -> Result<Handed, WorkError> {
    let text = script(session, host, install, report)?;
    let mut server = None;
    let ks = match install.delivery {
        Delivery::Iso | Delivery::Auto => KS_ON_CD.to_owned(),
        Delivery::Usb => KS_ON_STICK.to_owned(),
        Delivery::Http | Delivery::Keys => {
            // Behind QEMU's own network 127.0.0.1 is reached; elsewhere our address on the bridge.
            let nat = host.nics.first().is_some_and(|n| matches!(n.backend, Backend::User { .. }));
            let bind = match install.server {
                Some(address) if !nat => address,
                _ => Ipv4Addr::LOCALHOST,
            };
            let content = text.clone().into_bytes();
            let started = KsServer::start_on((bind, 0).into(), content, Fetches::UntilStopped).await;
            let started = started.map_err(WorkError::said)?;
            let url = started.url_via(install.server.unwrap_or(USER_NETWORK_HOST));
            server = Some(started);
            url
        }
    };
    if let (Delivery::Usb, Some(path)) = (install.delivery, &install.stick) {
        let (path, image) = (path.clone(), ks_stick(&text).map_err(WorkError::said)?);
        aside(session, host, move |session, host| {
            let thing = Thing::File { host: Some(host.name.clone()), path: path.clone() };
            session.make(thing, || write(&path, &image))
        })
        .await?;
    }
    let mut said = match install.delivery {
        Delivery::Iso | Delivery::Auto => "inside a rebuilt ISO".to_owned(),
        Delivery::Http => "over HTTP on loopback, with a token that is good once".to_owned(),
        Delivery::Usb => "on a USB stick".to_owned(),
        Delivery::Keys => "typed at the boot loader, fetched over HTTP".to_owned(),
    };
    let options = boot_options(install, Some(ks.clone()));
    if install.rebuild {
        let within = matches!(install.delivery, Delivery::Iso | Delivery::Auto).then_some(text);
        let spec = RemasterSpec { ks: within, boot: options.clone(), rock_ridge: true };
        let (original, cd) = (install.iso.clone(), install.cd.clone());
        let kept = aside(session, host, move |session, host| {
            let original =
                original.ok_or_else(|| WorkError::said(format!("{} has no ISO to install from", host.name)))?;
            rebuild(session, host, &original, &spec, &cd)
        })
        .await?;
        said.push_str(if kept { ", from the cache" } else { ", its boot records compared with the original's" });
    }
    let typed = match install.delivery {
        Delivery::Keys => Some(line_to_type(install, &options)?),
        _ => None,
    };
    Ok(Handed { server, typed, said })
}

/// The whole boot line, since what stands there is deleted first.
fn line_to_type(install: &Install, options: &BootOptions) -> Result<String, WorkError> {
    let own = match &install.iso {
        Some(path) => iso::inspect_without_hash(path).map_err(WorkError::said)?.kernelopt,
        None => Vec::new(),
    };
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    bootcfg::compose_kernelopt(&own, options).map_err(WorkError::said)
}

/// Rebuilds an ISO into the user's cache and links it to where the machine looks for it; true if it was there.
fn rebuild(session: &Session, host: &Host, original: &Path, spec: &RemasterSpec, cd: &Path) -> Result<bool, WorkError> {
    let info = iso::inspect(original).map_err(WorkError::said)?;
    let cache = IsoCache::new(crate::engine::cache_dir().join("isos"));
    let (rebuilt, kept) = cache.get(Xorriso::find, &info, spec).map_err(WorkError::said)?;
    // The newest are kept; that one cannot be evicted costs disk space only.
    let _ = cache.evict(CACHE);
    let thing = Thing::File { host: Some(host.name.clone()), path: cd.to_owned() };
    session.make(thing, || {
        let failed = |e| WorkError::said(format!("cannot link {} to the rebuilt ISO: {e}", cd.display()));
        match std::fs::remove_file(cd) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        std::os::unix::fs::symlink(&rebuilt.path, cd).map_err(failed)
    })?;
    Ok(kept)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), WorkError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    // It holds the hash of the root password.
    let write = || {
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(bytes)
    };
    write().map_err(|e: std::io::Error| WorkError::said(format!("cannot write {}: {e}", path.display())))
}

/// Runs the installer until it reboots.
async fn run(
    session: &Arc<Session>,
    host: &Host,
    stage: &Stage,
    handed: Handed,
    report: String,
) -> Result<Option<String>, WorkError> {
    let (qmp, _) = machine::start(session, host, stage).await?;
    let mut events = qmp.events();
    let slowness = if stage.machine.accel == Accel::Tcg { EMULATED } else { 1.0 };
    if let Some(line) = &handed.typed {
        type_line(&qmp, host, line, slowness).await?;
    }
    let times: Kept<History> = Kept::at(crate::engine::cache_dir().join("install-times.json"));
    let options = WatchOptions {
        release: release(host)?,
        report: (host.guest == Guest::Esxi).then_some(report),
        history: times.load().ok().flatten().unwrap_or_default(),
        slowness,
        installed_before: false,
    };
    let mut watching = Watching {
        watcher: Watcher::new(options),
        began: Instant::now(),
        serial: 0,
        screen: Instant::now(),
        shot: host.folder.join("install-screen"),
    };
    let mut rebooted = false;
    let mut fetched = 0;
    loop {
        tokio::select! {
            () = qmp.closed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        let mut reports = watching.serial(&stage.machine.serial_log);
        while let Some(event) = next_now(&mut events).await {
            // `-no-reboot`: a guest that resets itself ends QEMU, with this reason.
            rebooted |= event.name == "SHUTDOWN" && event.data["reason"] == "guest-reset";
            reports.extend(watching.saw(watch::Event::Qmp(&event.name)));
        }
        if let Some(server) = &handed.server
            && server.sent() > fetched
        {
            fetched = server.sent();
            reports.extend(watching.saw(watch::Event::ScriptFetched));
        }
        if rebooted {
            break;
        }
        if qmp.is_closed() {
            reports.extend(watching.saw(watch::Event::Exited(None)));
        } else {
            reports.extend(watching.look(&qmp, host).await);
            reports.extend(watching.saw(watch::Event::Tick));
        }
        tell(session, host, &qmp, reports).await?;
        if qmp.is_closed() {
            return Err(WorkError::said(format!(
                "{}: QEMU ended, but not because the installer rebooted; {}",
                host.name,
                machine::last_words(&stage.machine.serial_log)
            )));
        }
    }
    // `-no-reboot` ends QEMU by itself; it is not to be asked anything meanwhile.
    let _ = tokio::time::timeout(Duration::from_secs(20), qmp.closed()).await;
    drop(qmp);
    tokio::time::sleep(Duration::from_millis(100)).await;
    machine::stop(session, host, &StopPlan::forced()).await?;
    machine::forget(session, &host.name)?;
    let _ = times.update(|t| t.add(watching.watcher.took()));
    Ok(None)
}

/// The next event that is there already.
async fn next_now(events: &mut crate::lab::qmp::Events) -> Option<crate::lab::qmp::Event> {
    tokio::time::timeout(Duration::from_millis(1), events.next()).await.ok().flatten()
}

struct Watching {
    watcher: Watcher,
    began: Instant,
    /// Bytes of the serial log seen so far.
    serial: u64,
    /// When the screen was last looked at.
    screen: Instant,
    shot: PathBuf,
}

impl Watching {
    fn saw(&mut self, event: watch::Event<'_>) -> Vec<Report> {
        self.watcher.saw(event, self.began.elapsed())
    }

    fn serial(&mut self, log: &Path) -> Vec<Report> {
        use std::io::{Read, Seek, SeekFrom};
        let mut new = Vec::new();
        let mut read = || -> std::io::Result<()> {
            let mut file = std::fs::File::open(log)?;
            file.seek(SeekFrom::Start(self.serial))?;
            file.take(1 << 20).read_to_end(&mut new).map(drop)
        };
        // A log that is not there yet has nothing to say.
        if read().is_err() || new.is_empty() {
            return Vec::new();
        }
        self.serial += new.len() as u64;
        self.saw(watch::Event::Serial(&new))
    }

    async fn look(&mut self, qmp: &Qmp, host: &Host) -> Vec<Report> {
        use std::os::unix::fs::MetadataExt;
        let mut reports = Vec::new();
        if let Some(disk) = host.disks.first()
            && let Ok(meta) = std::fs::metadata(&disk.file)
        {
            reports.extend(self.saw(watch::Event::DiskBytes(meta.blocks() * 512)));
        }
        if host.guest == Guest::Esxi && self.screen.elapsed() >= SCREEN {
            self.screen = Instant::now();
            if let Ok(shot) = qmp.screendump(&self.shot).await
                && let Ok(bytes) = std::fs::read(&shot.path)
                && let Ok(screen) = Screen::decode(&bytes)
            {
                reports.extend(self.saw(watch::Event::Screen(&screen, Some(&shot.path))));
            }
        }
        reports
    }
}

/// Tells what the watcher has to say; a failure ends the installation, a stall is told and waited out.
async fn tell(session: &Session, host: &Host, qmp: &Qmp, reports: Vec<Report>) -> Result<(), WorkError> {
    for report in reports {
        match report {
            Report::Entered { phase, usual, .. } => {
                let usual = usual.map(|u| format!(" (usually {} s)", u.as_secs())).unwrap_or_default();
                session.note(Some(&host.name), format!("install: {phase}{usual}"));
            }
            Report::NoMarker => session.note(
                Some(&host.name),
                "the installer rebooted without the word that its script would have written on the serial port",
            ),
            Report::Stalled(stall) => {
                // The screen says more than all else.
                let screen = match qmp.screendump(&host.folder.join("stalled")).await {
                    Ok(shot) => format!("\n  screen: {}", shot.path.display()),
                    Err(_) => String::new(),
                };
                session.note(Some(&host.name), format!("{stall}{screen}"));
            }
            Report::Failed(stall) => return Err(WorkError::said(format!("{}: {stall}", host.name))),
            Report::RebootedAgain { .. } | Report::Done(_) => {}
        }
    }
    Ok(())
}

/// Types a boot line, looking at the screen before and after.
async fn type_line(qmp: &Qmp, host: &Host, line: &str, slowness: f64) -> Result<(), WorkError> {
    let stem = host.folder.join("typing");
    let look = async || -> Result<Screen, WorkError> {
        let shot = qmp.screendump(&stem).await.map_err(WorkError::said)?;
        let bytes = std::fs::read(&shot.path).map_err(WorkError::said)?;
        Screen::decode(&bytes).map_err(WorkError::said)
    };
    let mut before = look().await?;
    for step in keys::type_boot_line(line, slowness).map_err(WorkError::said)? {
        match step {
            Step::WaitForScreen { what, most } => {
                let deadline = Instant::now() + most;
                loop {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    let now = look().await?;
                    if keys::is_ready(&before, &now) {
                        before = now;
                        break;
                    }
                    before = now;
                    if Instant::now() > deadline {
                        return Err(WorkError::said(format!("{}: {what} did not come", host.name)));
                    }
                }
            }
            Step::Press { chords, hold, pause } => {
                for chord in chords {
                    qmp.press(&chord, hold).await.map_err(WorkError::said)?;
                    tokio::time::sleep(pause).await;
                }
            }
            Step::MustChange { what } => {
                tokio::time::sleep(Duration::from_millis(300)).await;
                let now = look().await?;
                if !keys::has_changed(&before, &now) {
                    return Err(WorkError::said(format!(
                        "{}: {what}, but the screen did not change; the keys were lost. Another delivery needs no typing",
                        host.name
                    )));
                }
                before = now;
            }
        }
    }
    Ok(())
}
