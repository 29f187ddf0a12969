//! The values of one host: what is configured, what runs, and what a boot makes of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attach::Attached;
use super::factory::tables;
use super::guard::Guard;
pub(super) use super::values::*;

/// A state that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// No simulated host of this version.
    #[error("no simulated ESXi of version {0:?}: there are 6.0, 6.5, 6.7, 7.0 and 8.0")]
    UnknownVersion(String),
    /// The index does not fit the addresses the hosts are given.
    #[error("host number {0} is too high: the simulated hosts share one small network, 0 to 200 fit")]
    TooMany(usize),
}

/// What sshd of a release offers, by OpenSSH's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshdProfile {
    /// Key exchange methods.
    pub kex: Vec<&'static str>,
    /// Ciphers.
    pub ciphers: Vec<&'static str>,
    /// Message authentication codes.
    pub macs: Vec<&'static str>,
    /// Kinds of host key.
    pub host_keys: Vec<&'static str>,
    /// Whether the `password` method is offered beside keyboard-interactive.
    pub password_method: bool,
    /// Whether FIPS mode refuses Ed25519 user keys.
    pub fips: bool,
}

/// Configured and running values of one host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostState {
    pub(super) release: Release,
    pub(super) full: String,
    pub(super) build: u64,
    pub(super) update: i64,
    pub(super) patch: i64,
    pub(super) index: usize,
    pub(super) host: String,
    pub(super) domain: String,
    pub(super) uuid: String,
    pub(super) bios_uuid: String,
    pub(super) boot_time: u64,
    /// `ide`, `ahci` or `usb`: what the boot disk is attached to.
    pub(super) boot_bus: String,
    /// The disk is gone whatever the drivers say.
    pub(super) boot_lost: bool,
    /// The datastores are not mounted yet.
    #[serde(skip)]
    pub(super) stores_late: bool,
    pub(super) bootbanks: (String, String),
    pub(super) stores: Vec<Datastore>,
    pub(super) nics: Vec<Nic>,
    pub(super) modules: Vec<Module>,
    /// Advanced options that differ from their default, by path.
    pub(super) advanced: BTreeMap<String, String>,
    /// hostd's own options that differ from their default, by key.
    pub(super) hostd: BTreeMap<String, String>,
    /// Kernel settings that were touched; others have their default.
    pub(super) kernel: BTreeMap<String, KernelValue>,
    /// The acceptance level, in esxcli's word.
    pub(super) acceptance: String,
    pub(super) image: Image,
    /// The image in the other boot bank, active after the next boot.
    pub(super) pending: Option<Image>,
    pub(super) net: Network,
    pub(super) services: Vec<Service>,
    pub(super) firewall: Firewall,
    /// Syslog settings that hostd has no option for, by label, where they differ from their default.
    pub(super) syslog: BTreeMap<String, String>,
    pub(super) ntp_servers: Vec<String>,
    pub(super) ntp_loglevel: String,
    pub(super) accounts: Vec<Account>,
    pub(super) permissions: Vec<Permission>,
    pub(super) vms: Vec<Vm>,
    pub(super) maintenance: bool,
    pub(super) certificates: u32,
    #[serde(default)]
    pub(super) guard: Guard,
    /// Hardware that is really there; `None`: all of it is made up.
    #[serde(skip)]
    pub(super) attached: Option<Attached>,
}

impl HostState {
    /// What runs after a boot at `now`, given what was saved.
    ///
    /// Modules follow their enablement, kernel settings their configured value, a pending image becomes the
    /// image, services start by policy. vmk0 keeps the MAC it got at installation, whatever the NIC's MAC is
    /// now. With /Net/FollowHardwareMac=1 vmk0 takes its uplink's MAC on 6.x and 7.0; on 8.0.3 that was seen
    /// not to happen (a live report), so it does not here.
    #[must_use]
    pub fn boot(saved: &HostState, now: u64) -> HostState {
        let mut s = saved.clone();
        s.boot_time = now;
        if let Some(mut image) = s.pending.take() {
            std::mem::swap(&mut s.image, &mut image);
            s.bootbanks = (s.bootbanks.1.clone(), s.bootbanks.0.clone());
        }
        for value in s.kernel.values_mut() {
            value.runtime = value.configured.to_uppercase_if_bool();
        }
        s.forget_kernel_defaults();
        super::cmd::software::adopt_modules(&mut s);
        s.load_modules();
        let (managed, cim) = (s.guard.vcenter, s.guard.wbem);
        let snmp = s.guard.snmp.get("Enable").is_some_and(|v| v == "true");
        for service in &mut s.services {
            service.running = match service.policy.as_str() {
                "on" | "automatic" => match service.script.as_str() {
                    // These start with the host and end at once when there is nothing for them to do.
                    "vpxa" => managed,
                    "snmpd" => snmp,
                    "sfcbd-watchdog" | "wsman" => cim,
                    "xorg" => false,
                    _ => true,
                },
                _ => false,
            };
        }
        for vm in &mut s.vms {
            if vm.power == "on" {
                vm.power = "off".into();
            }
        }
        if s.release < Release::V80 && s.advanced("/Net/FollowHardwareMac").as_deref() == Some("1") {
            s.follow_hardware_mac();
        }
        s.boot_guard();
        s
    }

    /// A kernel setting that is configured and runs as it ships is no longer one that was touched.
    pub(super) fn forget_kernel_defaults(&mut self) {
        let release = self.release;
        self.kernel.retain(|name, value| {
            let default = tables::kernel(name).and_then(|k| k.default(release)).unwrap_or("");
            !value.configured.eq_ignore_ascii_case(default) || !value.runtime.eq_ignore_ascii_case(default)
        });
    }

    /// Which modules are loaded after a boot: enabled, with hardware to drive, and no native driver before them.
    pub(super) fn load_modules(&mut self) {
        let native = |list: &[Module], name: &str| list.iter().any(|m| m.name == name && m.enabled && m.present);
        let ahci = native(&self.modules, "vmw_ahci");
        let usb = native(&self.modules, "vmkusb");
        let (ne1000, igbn) = (native(&self.modules, "ne1000"), native(&self.modules, "igbn"));
        for module in &mut self.modules {
            let shadowed = match module.name.as_str() {
                "ahci" => ahci,
                "xhci" | "ehci-hcd" | "usb-uhci" | "usb" | "usb-storage" => usb,
                "e1000e" => ne1000,
                "igb" => igbn,
                _ => false,
            };
            module.loaded = module.enabled && module.present && !shadowed;
        }
    }

    fn follow_hardware_mac(&mut self) {
        let Some(vmk) = self.net.vmks.iter().find(|v| v.name == "vmk0") else { return };
        let switch = self.net.portgroups.iter().find(|p| p.name == vmk.portgroup).map(|p| p.vswitch.clone());
        let uplink = self
            .net
            .vswitches
            .iter()
            .find(|v| Some(&v.name) == switch.as_ref())
            .and_then(|v| v.uplinks.first().cloned());
        let mac = self.nics.iter().find(|n| Some(&n.name) == uplink.as_ref()).map(|n| n.mac.clone());
        if let (Some(mac), Some(vmk)) = (mac, self.net.vmks.iter_mut().find(|v| v.name == "vmk0")) {
            vmk.mac = mac;
        }
    }

    /// The short host name.
    pub fn name(&self) -> &str {
        &self.host
    }

    /// Three numbers, as `6.5.0`.
    pub fn version(&self) -> &str {
        &self.full
    }

    /// The build number.
    pub fn build(&self) -> u64 {
        self.build
    }

    /// When the host was started, in seconds since 1970.
    pub fn boot_time(&self) -> u64 {
        self.boot_time
    }

    /// Host name and domain, as far as there is one.
    pub fn fqdn(&self) -> String {
        if self.domain.is_empty() { self.host.clone() } else { format!("{}.{}", self.host, self.domain) }
    }

    pub(super) fn module_loaded(&self, name: &str) -> bool {
        self.modules.iter().any(|m| m.name == name && m.loaded)
    }

    /// Whether the running system sees the disk it booted from.
    ///
    /// IDE is always seen. On AHCI and USB it depends on the drivers: 6.5 sees nothing while the native driver
    /// (vmw_ahci, vmkusb) has the controller of the nested lab, and needs the old driver; 6.7 takes either;
    /// 7.0 and later have only the native one. A host without its disk runs from memory and saves nothing.
    pub fn boot_disk_visible(&self) -> bool {
        !self.boot_lost && self.bus_visible(&self.boot_bus)
    }

    /// Whether the running system sees disks on `bus`: `ide`, `ahci`, `usb`, `nvme` or `pvscsi`.
    pub(super) fn bus_visible(&self, bus: &str) -> bool {
        let (native, old) = match bus {
            "ahci" => ("vmw_ahci", "ahci"),
            "usb" => ("vmkusb", "usb-storage"),
            "nvme" => return self.module_loaded("nvme_pcie") || self.module_loaded("nvme"),
            "pvscsi" => return self.module_loaded("pvscsi"),
            _ => return true,
        };
        match self.release {
            Release::V60 | Release::V65 => self.module_loaded(old),
            Release::V67 => self.module_loaded(native) || self.module_loaded(old),
            Release::V70 | Release::V80 => self.module_loaded(native),
        }
    }

    /// Whether the boot disk is gone whatever the drivers say: for good, or until it is seen later.
    pub fn set_boot_disk_lost(&mut self, lost: bool) {
        self.boot_lost = lost;
    }

    /// Whether the datastores are still to be mounted.
    pub fn set_datastores_late(&mut self, late: bool) {
        self.stores_late = late;
    }

    /// The volumes that are mounted.
    pub(super) fn mounted(&self) -> impl Iterator<Item = &Datastore> {
        self.stores.iter().filter(|store| !(self.stores_late && store.kind.starts_with("VMFS")))
    }

    /// The host becomes another one: its firmware and its installation have UUIDs of their own, the same at every boot.
    pub fn become_another(&mut self) {
        self.uuid = self.uuid.chars().rev().collect::<String>().replace('-', "");
        let at = |from: usize, to: usize| self.uuid.get(from..to).unwrap_or_default().to_owned();
        self.bios_uuid.clone_from(&self.uuid);
        self.uuid = [at(0, 8), at(8, 12), at(12, 16), at(16, 20), at(20, 32)].join("-");
    }

    /// Attaches the boot disk to another controller: `ide`, `ahci` or `usb`. Counts from the next boot.
    pub fn set_boot_bus(&mut self, bus: &str) {
        self.boot_bus = bus.to_owned();
        self.mark_hardware();
    }

    /// Marks the modules whose hardware is there.
    pub(super) fn mark_hardware(&mut self) {
        let mut buses = vec![self.boot_bus.clone()];
        if let Some(attached) = &self.attached {
            buses.extend(attached.disks.iter().map(|disk| disk.bus.clone()));
            // A controller of these needs its driver even with no disk on it; q35 always has an AHCI one.
            let controllers = attached.controllers.iter().filter(|controller| controller.bus != "usb");
            buses.extend(controllers.map(|controller| controller.bus.clone()));
        }
        let has = |bus: &str| buses.iter().any(|known| known == bus);
        for module in &mut self.modules {
            match module.name.as_str() {
                "vmw_ahci" | "ahci" => module.present = has("ahci"),
                "usb-storage" => module.present = has("usb"),
                "nvme" | "nvme_pcie" => module.present = has("nvme"),
                "pvscsi" => module.present = has("pvscsi"),
                _ => {}
            }
        }
    }

    /// UUIDs of the volumes behind /bootbank and /altbootbank.
    pub fn bootbank_uuids(&self) -> (String, String) {
        self.bootbanks.clone()
    }

    /// Mounted VMFS datastores: name, UUID, free bytes. None when their disk is not seen.
    pub fn datastores(&self) -> Vec<(String, String, u64)> {
        if !self.boot_disk_visible() {
            return Vec::new();
        }
        self.mounted()
            .filter(|d| d.kind.starts_with("VMFS-"))
            .map(|d| (d.name.clone(), d.uuid.clone(), d.free))
            .collect()
    }

    /// IPv4 addresses of the VMkernel interfaces that are up.
    pub fn management_addresses(&self) -> Vec<String> {
        self.net.vmks.iter().filter(|v| v.enabled && v.kind != "NONE").map(|v| v.address.clone()).collect()
    }

    pub(super) fn service(&self, script: &str) -> Option<&Service> {
        self.services.iter().find(|s| s.script == script)
    }

    pub(super) fn service_mut(&mut self, script: &str) -> Option<&mut Service> {
        self.services.iter_mut().find(|s| s.script == script)
    }

    /// Whether TSM-SSH starts with the host.
    pub fn ssh_enabled_at_boot(&self) -> bool {
        self.service("SSH").is_some_and(|s| s.policy != "off")
    }

    /// Whether sshd takes connections now.
    pub fn ssh_running(&self) -> bool {
        self.service("SSH").is_some_and(|s| s.running)
    }

    /// Failed logins before an account is locked, and for how many seconds. 0 failures = never.
    pub fn lockout(&self) -> (u32, u64) {
        let number = |key: &str| self.hostd_option(key).and_then(|v| v.parse::<u64>().ok()).unwrap_or(0);
        let failures = u32::try_from(number("Security.AccountLockFailures")).unwrap_or(u32::MAX);
        (failures, number("Security.AccountUnlockTime"))
    }

    /// The value of an advanced VMkernel option, `None` for one this release does not have.
    pub(super) fn advanced(&self, path: &str) -> Option<String> {
        if path.eq_ignore_ascii_case("/Misc/HostName") {
            return Some(self.fqdn());
        }
        let option = tables::advanced(path)?;
        let default = option.default(self.release)?;
        Some(self.advanced.get(option.path).cloned().unwrap_or_else(|| default.to_owned()))
    }

    /// The value of one of hostd's own options, `None` for one this release does not have.
    pub(super) fn hostd_option(&self, key: &str) -> Option<String> {
        let option = tables::hostd(key)?;
        let default = option.default(self.release)?;
        if key == "ScratchConfig.CurrentScratchLocation" {
            // A directory on the first datastore, as the simulator makes it; in memory where there is none.
            let place = self.datastores().first().map(|d| format!("/vmfs/volumes/{}/.locker", d.1));
            return Some(place.unwrap_or_else(|| "/tmp/scratch".into()));
        }
        Some(self.hostd.get(key).cloned().unwrap_or_else(|| default.to_owned()))
    }

    /// The MAC address of a physical NIC changes, as it does when a disk is cloned into another machine.
    pub fn replace_nic_mac(&mut self, nic: &str, mac: &str) {
        if let Some(nic) = self.nics.iter_mut().find(|n| n.name == nic) {
            nic.mac = mac.to_lowercase();
        }
    }

    /// What stands in the second field of the account's line in /etc/shadow for this password: compare it with
    /// the file to check a login. Not a crypt(3) hash, and never the password itself.
    pub fn password_hash(account: &str, password: &str) -> String {
        super::cmd::accounts::hash(account, password)
    }

    /// Gives vmk0 a fixed address, as a person does on the console after the installation.
    pub fn set_management_address(&mut self, address: std::net::Ipv4Addr) {
        let [a, b, c, _] = address.octets();
        if let Some(vmk) = self.net.vmks.first_mut() {
            vmk.kind = "STATIC".into();
            vmk.address = address.to_string();
            vmk.netmask = "255.255.255.0".into();
            vmk.gateway = format!("{a}.{b}.{c}.1");
            vmk.dhcp_dns = false;
        }
    }

    /// Registers a virtual machine; one of this name is powered on or off.
    pub fn add_vm(&mut self, name: &str, running: bool) {
        if let Some(vm) = self.vms.iter_mut().find(|v| v.name == name) {
            vm.power = if running { "on" } else { "off" }.into();
            return;
        }
        let id = self.vms.iter().map(|v| v.id).max().unwrap_or(0) + 1;
        let power = if running { "on" } else { "off" };
        self.vms.push(Vm { id, name: name.into(), world: 2_100_000 + i64::from(id) * 37, power: power.into() });
    }

    /// What lies on the boot disk without any save: an installed VIB is written to a boot bank at once. The
    /// core calls this before it boots a host that was not saved.
    pub fn carry_disk(&self, saved: &mut HostState) {
        if self.boot_disk_visible() {
            saved.image = self.image.clone();
            saved.pending = self.pending.clone();
        }
        saved.nics.clone_from(&self.nics);
        saved.boot_bus.clone_from(&self.boot_bus);
        saved.boot_lost = self.boot_lost;
        saved.vms.clone_from(&self.vms);
        saved.mark_hardware();
    }
}

/// Kernel settings show a boolean in capitals once it runs (recorded on 5.5: `true` beside `TRUE`).
trait RuntimeCase {
    fn to_uppercase_if_bool(&self) -> String;
}

impl RuntimeCase for String {
    fn to_uppercase_if_bool(&self) -> String {
        if self.eq_ignore_ascii_case("true") || self.eq_ignore_ascii_case("false") {
            self.to_uppercase()
        } else {
            self.clone()
        }
    }
}
