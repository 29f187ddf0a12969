//! The first round trip: is this ESXi, which one, when did it boot, will changes last, what runs on it.

use std::sync::Arc;
use std::time::Duration;

use super::host::HostError;
use super::session::Session;
use crate::esxi::facts::Hardware;
use crate::esxi::failure::{Class, failure};
use crate::esxi::forms::{self, FormError};
use crate::esxi::{Command, HostFacts, Output, Outputs, Version, vimdump};
use crate::transport::{Connector, Target};

/// Why a host cannot be worked on, found by looking at it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentifyError {
    /// Not an ESXi host.
    #[error("this is not an ESXi host: {what}. Nothing was changed; check the address in the inventory")]
    NotEsxi {
        /// What it says it is.
        what: String,
    },
    /// ESXi, but its version could not be read.
    #[error("`vmware -vl` printed {text:?}, in which no version and build were found")]
    NoVersion {
        /// What it printed.
        text: String,
    },
}

/// The commands of the first round trip.
#[derive(Debug, Clone)]
pub struct Identify {
    vmware: Command,
    uname: Command,
    os_release: Command,
    bootbank: Command,
    bootbank_disk: Command,
    summary: Command,
    vms: Command,
    connection: Command,
    leftovers: Command,
}

impl Default for Identify {
    fn default() -> Self {
        Self {
            vmware: Command::new("vmware -vl"),
            uname: Command::new("uname -a"),
            os_release: Command::new("cat /etc/os-release 2>/dev/null"),
            bootbank: Command::new("ls -l /bootbank"),
            bootbank_disk: Command::new("vmkfstools -P /bootbank"),
            summary: Self::summary(),
            vms: Command::esxcli("vm process list"),
            connection: Command::new(r#"echo "$SSH_CONNECTION""#),
            leftovers: super::leftovers::list(),
        }
    }
}

impl Identify {
    /// The command whose answer proves that hostd is up, and holds the boot time.
    pub fn summary() -> Command {
        Command::new("vim-cmd hostsvc/hostsummary")
    }

    /// All of them, for one batch.
    pub fn commands(&self) -> Vec<Command> {
        [
            &self.vmware,
            &self.uname,
            &self.os_release,
            &self.bootbank,
            &self.bootbank_disk,
            &self.summary,
            &self.vms,
            &self.connection,
            &self.leftovers,
        ]
        .map(Clone::clone)
        .to_vec()
    }

    /// Those whose answer another boot may change, but for the host summary: whoever waits for hostd has it already.
    pub fn after_reboot(&self) -> Vec<Command> {
        [&self.vmware, &self.uname, &self.bootbank, &self.bootbank_disk, &self.vms, &self.connection]
            .map(Clone::clone)
            .to_vec()
    }

    /// Those that hostd answers.
    pub fn of_hostd(&self) -> Vec<Command> {
        vec![self.summary.clone(), self.vms.clone()]
    }

    /// The facts in their outputs.
    pub fn facts(&self, seen: &Outputs) -> Result<HostFacts, IdentifyError> {
        let text = |c: &Command| seen.get(c).map_or("", |o| o.stdout.as_str());
        let vmware = text(&self.vmware);
        let uname = text(&self.uname).trim();
        if !vmware.contains("VMware ESX") {
            let pretty = text(&self.os_release)
                .lines()
                .find_map(|l| l.strip_prefix("PRETTY_NAME="))
                .map(|v| v.trim_matches('"').to_owned());
            let what = match (pretty, uname) {
                (Some(name), _) => format!("it says it is {name}"),
                (None, "") => "it knows neither `vmware` nor `uname`".to_owned(),
                (None, uname) => format!("`uname -a` says {uname:?}"),
            };
            return Err(IdentifyError::NotEsxi { what });
        }
        let (version, build) =
            version_and_build(vmware).ok_or_else(|| IdentifyError::NoVersion { text: vmware.trim().to_owned() })?;
        let release = vmware.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default().to_owned();
        let summary =
            seen.get(&self.summary).filter(|o| failure(o).is_none()).and_then(|o| vimdump::parse(&o.stdout).ok());
        let maintenance = summary.as_ref().and_then(|s| s.find("inMaintenanceMode")).and_then(vimdump::Value::as_bool);
        let bootbank = link_target(text(&self.bootbank)).unwrap_or_default();
        let on_disk = seen.get(&self.bootbank_disk).is_some_and(spans_a_disk);
        let session: Vec<&str> = text(&self.connection).split_whitespace().collect();
        Ok(HostFacts {
            version,
            build,
            release,
            hostname: uname.split_whitespace().nth(1).unwrap_or_default().to_owned(),
            boot_time: summary.as_ref().and_then(boot_time_in).unwrap_or_default(),
            maintenance: maintenance == Some(true),
            persistent: on_disk && bootbank.starts_with("/vmfs/volumes/"),
            bootbank,
            running_vms: running_vms(seen.get(&self.vms)),
            session_address: session.get(2).map(|a| (*a).to_owned()),
            client_address: session.first().map(|a| (*a).to_owned()),
            managed: summary.as_ref().and_then(|s| s.find("managementServerIp")).map(|ip| !ip.text().is_empty()),
            hardware: summary.as_ref().map(hardware).unwrap_or_default(),
            leftovers: text(&self.leftovers).lines().filter(|l| l.starts_with('/')).map(str::to_owned).collect(),
        })
    }

    /// Whether hostd did not answer one of the commands that need it.
    pub fn hostd_down(&self, seen: &Outputs) -> bool {
        [&self.summary, &self.vms]
            .iter()
            .any(|c| seen.get(c).and_then(failure).is_some_and(|f| f.class == Class::HostdDown))
    }
}

/// Logs in to a host, identifies it and leaves. A transport error means that it was not reached or let nobody in.
pub async fn identify(connector: Arc<dyn Connector>, target: Target) -> Result<HostFacts, HostError> {
    let mut session = Session::open(connector, target, Duration::from_secs(60)).await?;
    let identify = Identify::default();
    let commands = identify.commands();
    let outputs = session.read(&commands, &mut |_| {}).await;
    session.close().await;
    let mut seen = Outputs::default();
    for (command, output) in commands.iter().zip(outputs?) {
        seen.insert(command, output);
    }
    identify.facts(&seen).map_err(|e| HostError::Stopped(e.to_string()))
}

/// `VMware ESXi 6.5.0 build-5969303` (recorded on 5.0 to 8.0).
fn version_and_build(text: &str) -> Option<(Version, u64)> {
    let line = text.lines().find(|l| l.contains("build-"))?;
    let (left, build) = line.split_once("build-")?;
    let version = left.split_whitespace().last()?.parse().ok()?;
    Some((version, build.trim().parse().ok()?))
}

/// The target in `ls -l` of a symbolic link.
fn link_target(text: &str) -> Option<String> {
    text.lines().find_map(|l| l.split_once(" -> ")).map(|(_, target)| target.trim().trim_end_matches('/').to_owned())
}

/// Whether `vmkfstools -P` shows a partition of a disk (recorded on 5.x and 7.0: `Partitions spanned (on "disks"):`).
/// A `/bootbank` that points into a RAM disk has none (that output is not recorded anywhere).
fn spans_a_disk(output: &Output) -> bool {
    failure(output).is_none()
        && output
            .stdout
            .lines()
            .skip_while(|l| !l.trim_start().starts_with("Partitions spanned"))
            .nth(1)
            .is_some_and(|l| l.trim().contains(':'))
}

/// The boot time in a host summary.
pub(super) fn boot_time(summary: &str) -> Option<String> {
    boot_time_in(&vimdump::parse(summary).ok()?)
}

/// `<unset>` while hostd does not know it yet.
fn boot_time_in(summary: &vimdump::Value) -> Option<String> {
    summary.find("bootTime").map(vimdump::Value::text).filter(|time| !time.is_empty())
}

/// What a host summary says of the hardware.
fn hardware(summary: &vimdump::Value) -> Hardware {
    let field = |key: &str| summary.find("hardware").and_then(|h| h.get(key));
    let word = |key: &str| field(key).map(vimdump::Value::text).unwrap_or_default();
    let number = |key: &str| field(key).and_then(vimdump::Value::as_i64);
    let small = |key: &str| number(key).and_then(|n| u32::try_from(n).ok());
    Hardware {
        vendor: word("vendor"),
        model: word("model"),
        cpu: word("cpuModel"),
        cores: small("numCpuCores"),
        memory: number("memorySize").and_then(|n| u64::try_from(n).ok()),
        nics: small("numNics"),
        uuid: word("uuid"),
    }
}

/// Display names in `esxcli vm process list`.
fn running_vms(output: Option<&Output>) -> Vec<String> {
    // No error text has such a label, and a name may look like an error: the labels alone decide.
    let text = output.map_or("", |o| o.stdout.as_str());
    of_running_vms(text, "Display Name").unwrap_or_default()
}

/// One value of every virtual machine in `esxcli vm process list`: a block for each, its name as the title.
pub(super) fn of_running_vms(text: &str, label: &str) -> Result<Vec<String>, FormError> {
    let all = forms::records(text)?;
    Ok(all.into_iter().filter_map(|(_, mut record)| record.swap_remove(label)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pairs: &[(&str, &str)]) -> Outputs {
        let mut all = Outputs::default();
        for (command, text) in pairs {
            all.insert(&Command::raw(*command), Output::ok(*text));
        }
        all
    }

    #[test]
    fn a_healthy_host() {
        let facts = Identify::default()
            .facts(&seen(&[
                ("vmware -vl", "VMware ESXi 6.5.0 build-5969303\nVMware ESXi 6.5.0 Update 1\n"),
                ("uname -a", "VMkernel esx7.lab 6.5.0 #1 SMP Release build-5969303 x86_64 ESXi\n"),
                ("ls -l /bootbank", "lrwxrwxrwx 1 root root 49 Nov 22 08:00 /bootbank -> /vmfs/volumes/f3512b78-bf3b7cad-7894-c76c8646a5b6\n"),
                ("vmkfstools -P /bootbank", "vfat-0.04 file system spanning 1 partitions.\nUUID: x\nPartitions spanned (on \"disks\"):\n\tnaa.600605b0:5\nIs Native Snapshot Capable: NO\n"),
                ("vim-cmd hostsvc/hostsummary", "(vim.host.Summary) {\n   runtime = (vim.host.RuntimeInfo) {\n      inMaintenanceMode = false,\n      bootTime = \"2026-11-22T08:00:00Z\",\n   }\n}\n"),
                ("echo \"$SSH_CONNECTION\"", "10.0.0.5 50000 10.0.0.11 22\n"),
            ]))
            .unwrap();
        assert_eq!((facts.version, facts.build), (Version::new(6, 5), 5_969_303));
        assert_eq!(facts.release, "VMware ESXi 6.5.0 Update 1");
        assert_eq!(facts.hostname, "esx7.lab");
        assert!(facts.persistent && !facts.maintenance);
        assert_eq!(facts.boot_time, "2026-11-22T08:00:00Z");
        assert_eq!(facts.session_address.as_deref(), Some("10.0.0.11"));
        assert_eq!(facts.client_address.as_deref(), Some("10.0.0.5"));
    }

    #[test]
    fn a_vcenter_is_told_by_its_address() {
        let managed = |member: &str| {
            let summary = format!("(vim.host.Summary) {{\n   rebootRequired = false, \n{member}}}\n");
            let texts = [
                ("vmware -vl", "VMware ESXi 8.0.3 build-24674464\n"),
                ("vim-cmd hostsvc/hostsummary", summary.as_str()),
            ];
            Identify::default().facts(&seen(&texts)).unwrap().managed
        };
        assert_eq!(managed("   managementServerIp = \"192.0.2.9\", \n"), Some(true));
        assert_eq!(managed("   managementServerIp = <unset>, \n"), Some(false));
        assert_eq!(managed(""), None);
    }

    #[test]
    fn running_machines_recorded_on_6_7() {
        let text = crate::esxi::recorded(include_str!("../../fixtures/transcripts/6.7/vm-process-list.txt"));
        let names = of_running_vms(&text, "Display Name").unwrap();
        assert_eq!(names.len(), text.matches("World ID").count());
        assert!(names.iter().all(|name| text.contains(&format!("Display Name: {name}\n"))), "{names:?}");
        assert!(of_running_vms(&text, "Config File").unwrap().iter().all(|f| f.ends_with(".vmx")));
        assert_eq!(of_running_vms("", "Config File").unwrap(), Vec::<String>::new());
        assert!(of_running_vms("  no label", "Config File").is_err());
    }

    #[test]
    fn a_bootbank_in_memory_does_not_last() {
        let facts = Identify::default()
            .facts(&seen(&[
                ("vmware -vl", "VMware ESXi 6.5.0 build-5969303\n"),
                ("ls -l /bootbank", "lrwxrwxrwx 1 root root 4 Nov 22 08:00 /bootbank -> /tmp\n"),
            ]))
            .unwrap();
        assert!(!facts.persistent);
        assert_eq!(facts.bootbank, "/tmp");
    }

    #[test]
    fn a_virtual_machine_called_like_a_label_is_one() {
        let text = "Display Name: x\n   World ID: 7\n   Display Name: Display Name: x\n\nvm2\n   Display Name: vm2\n";
        assert_eq!(running_vms(Some(&Output::ok(text))), ["Display Name: x", "vm2"]);
        for name in ["Error: x", "Usage: esxcli", "Connect to localhost failed"] {
            let text = format!("{name}\n   World ID: 7\n   Display Name: {name}\n");
            assert_eq!(running_vms(Some(&Output::ok(text))), [name]);
        }
    }

    #[test]
    fn another_system_is_named() {
        let error = Identify::default()
            .facts(&seen(&[
                ("uname -a", "Linux box 6.1\n"),
                ("cat /etc/os-release 2>/dev/null", "PRETTY_NAME=\"Debian GNU/Linux 12\"\n"),
            ]))
            .unwrap_err();
        assert!(error.to_string().contains("Debian GNU/Linux 12"), "{error}");
    }
}
