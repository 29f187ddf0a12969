//! The virtual machine as the simulated host sees it: cards and disks into its state, its state onto the boot disk, its
//! networks into Linux, its pings onto the wire, its reboots into real ones.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use super::hardware::Found;
use super::net::Net;
use super::{bundle, say, slots};
use crate::sim::Below;
use crate::sim::host::{Attached, HostState};

/// Restarts the machine or switches it off, at once.
pub(super) fn stop(restart: bool) {
    let word = if restart { "reboot" } else { "poweroff" };
    let _ = Command::new("sync").status();
    match Command::new(word).arg("-f").status() {
        // It takes a moment.
        Ok(status) if status.success() => std::thread::sleep(std::time::Duration::from_secs(30)),
        Ok(status) => say(&format!("cannot {word}: {status}")),
        Err(error) => say(&format!("cannot {word}: {error}")),
    }
}

/// See [`Below`].
#[derive(Debug)]
pub(super) struct Machine {
    /// The host's folder: boot bank, keys, root.
    dir: PathBuf,
    hardware: Attached,
    /// `None`: nothing can be saved.
    device: Option<PathBuf>,
    net: Mutex<Net>,
}

impl Machine {
    pub(super) fn new(found: &Found, dir: PathBuf, device: Option<PathBuf>) -> Machine {
        let cards = found.attached.nics.iter().zip(&found.interfaces);
        let cards = cards.map(|(nic, (place, name))| (place.clone(), name.clone(), nic.mac.clone()));
        let net = Mutex::new(Net::new(cards.collect::<Vec<_>>()));
        Machine { dir, hardware: found.attached.clone(), device, net }
    }
}

impl Below for Machine {
    fn attach(&self, state: &mut HostState) {
        state.attach(&self.hardware);
    }

    fn follow(&self, state: &mut HostState) {
        let mut net = self.net.lock().unwrap_or_else(PoisonError::into_inner);
        // A second round, when leases came.
        for _ in 0..2 {
            let news = net.follow(&state.vmk_links());
            for (vmk, lease) in &news {
                state.set_lease(vmk, lease.as_ref());
            }
            if news.is_empty() {
                break;
            }
        }
    }

    fn saved(&self) {
        let Some(device) = &self.device else { return };
        let write = || -> std::io::Result<u64> {
            let payload = bundle::pack(&self.dir)?;
            let disk = std::fs::OpenOptions::new().read(true).write(true).open(device)?;
            slots::write(&disk, &payload)
        };
        match write() {
            Ok(number) => say(&format!("SAVED {number}")),
            Err(error) => say(&format!("NOT SAVED {}: {error}", device.display())),
        }
    }

    fn program(&self, state: &HostState, argv: &[String]) -> Option<Command> {
        let name = argv.first()?.rsplit('/').next()?;
        if !matches!(name, "ping" | "vmkping") {
            return None;
        }
        let arguments = ping(&argv[1..], state)?;
        let mut command = Command::new("ping");
        command.args(arguments);
        Some(command)
    }

    fn reword(&self, text: &str) -> String {
        text.replace(": seq=", ": icmp_seq=")
    }

    fn go_down(&self, restart: bool) {
        say(if restart { "REBOOT" } else { "POWEROFF" });
        stop(restart);
    }
}

/// busybox's arguments for those of vmkping. `None`: the simulator answers, because the packet would not leave the host
/// (an unknown interface, too large to go unfragmented) or the target is no address.
fn ping(words: &[String], state: &HostState) -> Option<Vec<String>> {
    let (mut count, mut size, mut wait, mut whole) = ("3".to_string(), 56_i64, "2".to_string(), false);
    let (mut interface, mut target) = (None, None);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-I" => interface = Some(rest.next()?.clone()),
            "-c" => count = rest.next()?.clone(),
            "-s" => size = rest.next()?.parse().ok()?,
            "-W" => wait = rest.next()?.clone(),
            "-i" | "-t" | "-S" | "-N" => {
                rest.next()?;
            }
            "-d" => whole = true,
            word if word.starts_with(['-', '+']) => {}
            word => target = Some(word.to_string()),
        }
    }
    let target = target.filter(|target| target.parse::<std::net::Ipv4Addr>().is_ok())?;
    if count.parse::<u32>().is_err() || wait.parse::<u32>().is_err() || !(0..=65_000).contains(&size) {
        return None;
    }
    let links = state.vmk_links();
    let mtu = match &interface {
        Some(name) => links.iter().find(|link| link.name == *name)?.mtu,
        None => links.iter().map(|link| link.mtu).max()?,
    };
    if whole && size > mtu - 28 {
        return None;
    }
    let mut arguments = vec!["-c".into(), count, "-s".into(), size.to_string(), "-W".into(), wait];
    if let Some(interface) = interface {
        arguments.extend(["-I".to_string(), interface]);
    }
    arguments.push(target);
    Some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn pings_go_out_as_vmkping_means_them() {
        let state = HostState::factory("6.5", 0).unwrap();
        let asked = |line: &str| ping(&words(line), &state).map(|words| words.join(" "));
        assert_eq!(
            asked("++netstack=vmotion -I vmk0 -d -s 1472 -c 2 10.0.0.2").as_deref(),
            Some("-c 2 -s 1472 -W 2 -I vmk0 10.0.0.2")
        );
        assert_eq!(asked("10.0.0.2").as_deref(), Some("-c 3 -s 56 -W 2 10.0.0.2"));
        assert_eq!(asked("-d -s 1473 10.0.0.2"), None, "the simulator says that it is too long");
        assert_eq!(asked("-I vmk9 10.0.0.2"), None);
        assert_eq!(asked("-c 2;reboot 10.0.0.2"), None);
        assert_eq!(asked("-I vmk0 name.lab"), None);
    }
}
