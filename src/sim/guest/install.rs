//! What ESXi's installer does, on the hardware that is there: boot options from the CD, a kickstart from CD, stick or web
//! server, a disk that the release can see, and a host written to it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::hardware::Found;
use super::kickstart::Kickstart;
use super::options::{BootCfg, Words};
use super::{FIRST_BOOT, GuestError, bundle, cd, fat, http, kickstart, net, say, slots};
use crate::sim::disk::Disk;
use crate::sim::host::{HostState, Setup, programs};
use crate::sim::keys::HostKeys;
use crate::sim::password;
use crate::sim::toolbox::Toolbox;

/// What happens after an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct After {
    /// The installer waits for a person.
    pub(super) waits: bool,
}

fn stop<T>(reason: impl Into<String>) -> Result<T, GuestError> {
    Err(GuestError::Installer(reason.into()))
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Installs as the boot options say. Blocking.
pub(super) fn install(found: &Found, base: &Path) -> Result<After, GuestError> {
    let cmdline = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let Some(cfg) = found.cds.iter().find_map(|cd| file_on_cd(&cd.device, "/BOOT.CFG")) else {
        return stop("no bootable device: no disk with a host on it, and no CD with a BOOT.CFG");
    };
    let cfg = BootCfg::parse(&cfg);
    let words = Words::of(&cfg.kernelopt, &cmdline);
    let Some(release) = cfg.release() else {
        return stop(format!("BOOT.CFG of the CD names no build: {:?}", cfg.build));
    };
    say(&format!("INSTALLER build={} options={}", cfg.build, cfg.kernelopt));
    let plain = plan(&release, found, &words, &Kickstart::default(), None)?;
    let Some(source) = words.get("ks") else {
        return stop("the installer waits for a person: there is no ks= among the boot options");
    };
    let script = kickstart::parse(&fetch(source, found, &words, &plain)?, source)?;
    for note in &script.notes {
        say(&format!("INSTALLER {note}"));
    }
    run_script("%pre", &script.pre, &words)?;
    let number = choose_disk(&plain, found, &script)?;
    let state = plan(&release, found, &words, &script, Some(number))?;
    let vmk0 = state.vmk_links().first().map(|link| link.mac.clone()).unwrap_or_default();
    let disk = &found.disks[number];
    if script.dry_run {
        say(&format!("DRYRUN the script is in order: disk={} vmk0={vmk0}", disk.name));
        return Ok(After { waits: true });
    }
    say(&format!("INSTALLING build={} disk={} bus={}", cfg.build, disk.name, found.attached.disks[number].bus));
    write(&state, &script, &disk.device, base)?;
    run_script("%post", &script.post, &words)?;
    say(&format!("INSTALLED build={} disk={} vmk0={vmk0}", cfg.build, disk.name));
    let waits = match script.reboot {
        None => true,
        Some(ejects) => ejects && state.installer_waits_after_eject(),
    };
    Ok(After { waits })
}

fn file_on_cd(device: &Path, path: &str) -> Option<String> {
    let mut disc = File::open(device).ok()?;
    cd::read(&mut disc, path).ok().flatten().map(text)
}

/// The host that would be installed; `number` is its boot disk.
fn plan(
    release: &str,
    found: &Found,
    words: &Words,
    script: &Kickstart,
    number: Option<usize>,
) -> Result<HostState, GuestError> {
    let mut hardware = found.attached.clone();
    for (at, disk) in hardware.disks.iter_mut().enumerate() {
        disk.boot = Some(at) == number;
    }
    let mut scout = HostState::factory(release, 0).map_err(|error| GuestError::Installer(error.to_string()))?;
    scout.attach(&hardware);
    let nics = scout.vmnics();
    let Some((first, _)) = nics.first() else {
        return stop(format!(
            "No Network Adapters: ESXi {release} has a driver for none of the {} cards of this machine",
            hardware.nics.len()
        ));
    };
    let nic = match script.network.device.clone().or_else(|| words.nic()) {
        None => first.clone(),
        Some(device) => match scout.vmnic(&device) {
            Some(name) => name,
            None => return stop(format!("network --device={device}: there is no such network adapter")),
        },
    };
    let setup = Setup {
        release: release.to_string(),
        hostname: script.network.hostname.clone().unwrap_or_else(|| "localhost".into()),
        nic,
        address: script.network.address.clone(),
        dns: script.network.nameservers.clone(),
        vlan: script.network.vlan,
        vm_portgroup: !script.network.no_vm_portgroup,
    };
    HostState::installed(&setup, &hardware).map_err(GuestError::Installer)
}

/// The text of the kickstart.
fn fetch(source: &str, found: &Found, words: &Words, state: &HostState) -> Result<String, GuestError> {
    if source.starts_with("http://") {
        bring_up_network(found, words, state)?;
        return http::get(source).map_err(GuestError::Installer);
    }
    let (kind, path) = source.split_once(':').unwrap_or((source, ""));
    let path = if path.is_empty() { "/KS.CFG" } else { path };
    let got = match kind {
        "cdrom" => found
            .cds
            .iter()
            .filter(|cd| state.installer_reads_cd_on(&cd.bus))
            .find_map(|cd| file_on_cd(&cd.device, path))
            .ok_or("cd-rom"),
        "usb" => found
            .disks
            .iter()
            .zip(&found.attached.disks)
            .filter(|(_, attached)| attached.bus == "usb")
            .find_map(|(disk, _)| fat::read(&mut File::open(&disk.device).ok()?, path).ok().flatten())
            .map(text)
            .ok_or("usb"),
        _ => return stop(format!("ks={source}: the stand-in reads cdrom:, usb: and http:// only")),
    };
    got.map_err(|place| GuestError::Installer(format!("cannot find kickstart file on {place} with path -- {path}")))
}

/// For a kickstart from a server: the address of the boot options, or DHCP.
fn bring_up_network(found: &Found, words: &Words, state: &HostState) -> Result<(), GuestError> {
    let wanted = words.nic().and_then(|device| state.vmnic(&device));
    let nics = state.vmnics();
    let place = nics.iter().find(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted == name));
    let interface =
        place.and_then(|(_, place)| found.interfaces.iter().find(|(known, _)| known == place)).map(|(_, name)| name);
    let Some(interface) = interface else { return stop("no network adapter for the kickstart") };
    let run = |arguments: &[&str]| Command::new("ip").args(arguments).stderr(Stdio::null()).status();
    let _ = run(&["link", "set", interface, "up"]);
    let lease = match words.get("ip") {
        Some(address) => crate::sim::host::Lease {
            address: address.to_string(),
            netmask: words.get("netmask").unwrap_or("255.255.255.0").to_string(),
            gateway: words.get("gateway").unwrap_or_default().to_string(),
            dns: Vec::new(),
        },
        None => match net::dhcp(interface) {
            Some(lease) => lease,
            None => {
                return stop(format!(
                    "no DHCP server answers on {interface}, and there is no ip= among the boot options"
                ));
            }
        },
    };
    let address = format!("{}/{}", lease.address, net::prefix(&lease.netmask));
    let _ = run(&["addr", "add", &address, "dev", interface]);
    if !lease.gateway.is_empty() {
        let _ = run(&["route", "add", "default", "via", &lease.gateway, "dev", interface]);
    }
    Ok(())
}

/// The disk to install on. USB disks come last among those that `--firstdisk` looks at.
fn choose_disk(state: &HostState, found: &Found, script: &Kickstart) -> Result<usize, GuestError> {
    let names = state.disk_names();
    let mut order: Vec<usize> = (0..found.disks.len()).collect();
    order.sort_by_key(|number| found.attached.disks[*number].bus == "usb");
    if let Some(wanted) = &script.disk {
        let Some(number) = names.iter().position(|name| name == wanted) else {
            return stop(format!("install --disk={wanted}: there is no such disk ({})", names.join(", ")));
        };
        order = vec![number];
    } else if !script.filter.is_empty() && !script.filter.iter().any(|word| matches!(word.as_str(), "local" | "remote"))
    {
        order.retain(|number| {
            let disk = &found.attached.disks[*number];
            script.filter.iter().any(|word| *word == disk.bus || disk.model.contains(word.as_str()))
        });
    } else if script.filter.first().is_some_and(|word| word == "usb") {
        order.reverse();
    }
    let mut reasons = Vec::new();
    for number in order {
        match state.refuses_disk(number) {
            Some(reason) => reasons.push(format!("{}: {reason}", found.disks[number].name)),
            None => {
                let device = &found.disks[number].device;
                let used = File::open(device).is_ok_and(|file| slots::newest(&file).ok().flatten().is_some());
                if used && !script.overwrite {
                    return stop(format!(
                        "{} holds a VMFS datastore: --overwritevmfs or --preservevmfs is needed",
                        found.disks[number].name
                    ));
                }
                return Ok(number);
            }
        }
    }
    stop(format!(
        "No eligible disks for the installation: {}",
        if reasons.is_empty() { "no disk is attached".into() } else { reasons.join("; ") }
    ))
}

/// Makes the host's files and writes them to the disk.
fn write(state: &HostState, script: &Kickstart, device: &Path, base: &Path) -> Result<(), GuestError> {
    let io = |action: &'static str, path: &Path| {
        let path = path.to_path_buf();
        move |source| GuestError::Io { action, path, source }
    };
    let dir = base.join("host1");
    let disk = Disk::open(dir.clone())?;
    let toolbox = Toolbox::build(&base.join("toolbox"), programs(), true)?;
    let hash = if script.crypted { script.password.clone() } else { password::hash(&script.password) };
    disk.rebuild(state, &toolbox, &hash, false)?;
    disk.save(state)?;
    HostKeys::load_or_make(&disk.beside("keys"), state.name())?;
    // The simulator makes up a password for a host that has none noted; here the boot bank has the real one's hash.
    let noted = disk.beside("password");
    fs::write(&noted, "set by the kickstart").map_err(io("write", &noted))?;
    if !script.first_boot.trim().is_empty() {
        let path = disk.beside(FIRST_BOOT);
        fs::write(&path, &script.first_boot).map_err(io("write", &path))?;
    }
    let payload = bundle::pack(&dir).map_err(io("pack", &dir))?;
    let file = fs::OpenOptions::new().read(true).write(true).open(device).map_err(io("open", device))?;
    slots::erase(&file).map_err(io("write to", device))?;
    slots::write(&file, &payload).map_err(io("write to", device))?;
    Ok(())
}

/// Runs a section of the kickstart in the installer. `vsish -e set /system/log TEXT` writes to the console there if the
/// log goes to the serial port, as ESXi's does.
fn run_script(section: &str, script: &str, words: &Words) -> Result<(), GuestError> {
    if script.trim().is_empty() {
        return Ok(());
    }
    let bin = Path::new("/run/installer");
    let target = if words.serial_log() { "/dev/console" } else { "/dev/null" };
    let vsish = format!("#!/bin/sh\n[ \"$1 $2 $3\" = '-e set /system/log' ] && shift 3 && echo \"$*\" > {target}\n");
    let io = |source| GuestError::Io { action: "write", path: bin.to_path_buf(), source };
    fs::create_dir_all(bin).map_err(io)?;
    fs::write(bin.join("vsish"), vsish).map_err(io)?;
    fs::set_permissions(bin.join("vsish"), fs::Permissions::from_mode(0o755)).map_err(io)?;
    let status = Command::new("sh")
        .args(["-c", script])
        .env("PATH", "/run/installer:/bin:/sbin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    if !status.is_ok_and(|status| status.success()) {
        say(&format!("INSTALLER {section} did not end well"));
    }
    Ok(())
}
