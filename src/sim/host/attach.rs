//! Hardware that is really there, for a simulated host inside a virtual machine: its NICs, controllers and disks take the
//! place of those that the simulator makes up.

use serde::{Deserialize, Serialize};

use super::state::{Datastore, HostState, Nic, Release};

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedNic {
    /// Its place, as `0000:00:03.0`.
    pub pci: String,
    /// PCI vendor in four hex digits.
    pub vendor: String,
    /// PCI device in four hex digits.
    pub device: String,
    /// Its own MAC address.
    pub mac: String,
    /// Whether the link is up.
    pub link: bool,
}

/// A storage controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedController {
    /// `ide`, `ahci`, `usb`, `nvme` or `pvscsi`.
    pub bus: String,
    /// Its place.
    pub pci: String,
}

/// A disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedDisk {
    /// `ide`, `ahci`, `usb`, `nvme` or `pvscsi`.
    pub bus: String,
    /// The place of its controller.
    pub pci: String,
    /// Model as the drive says it.
    pub model: String,
    /// Serial number, empty where there is none.
    pub serial: String,
    /// Size in MiB.
    pub mib: u64,
    /// Whether the drive says that nothing turns in it.
    pub ssd: bool,
    /// Whether the host was booted from it.
    pub boot: bool,
}

/// All of it, in the order of PCI places.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attached {
    /// Network cards.
    pub nics: Vec<AttachedNic>,
    /// Storage controllers.
    pub controllers: Vec<AttachedController>,
    /// Disks.
    pub disks: Vec<AttachedDisk>,
}

/// PCI vendor and device, driver modules with the preferred one first, Mb/s, text of `esxcli network nic list`. Which
/// driver a release has is in the list of modules. Bindings of ne1000 and igbn: from memory, not verified.
const NIC_DRIVERS: &[(&str, &str, &[&str], i64, &str)] = &[
    ("8086", "100e", &["e1000"], 1000, "Intel Corporation 82540EM Gigabit Ethernet Controller"),
    ("8086", "10d3", &["ne1000", "e1000e"], 1000, "Intel Corporation 82574L Gigabit Network Connection"),
    ("8086", "10c9", &["igbn", "igb"], 1000, "Intel Corporation 82576 Gigabit Network Connection"),
    ("15ad", "07b0", &["nvmxnet3", "vmxnet3"], 10000, "VMware Inc. vmxnet3 Virtual Ethernet Controller"),
];

/// How a new host is set up by an installer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// ESXi release: 6.0, 6.5, 6.7, 7.0 or 8.0.
    pub release: String,
    /// Host name, with or without a domain.
    pub hostname: String,
    /// The NIC of vmk0, as `vmnic0`; vmk0 gets its MAC address.
    pub nic: String,
    /// Address, netmask and gateway of vmk0; `None`: DHCP.
    pub address: Option<(String, String, String)>,
    /// Name servers.
    pub dns: Vec<String>,
    /// VLAN of the management port group, 0: none.
    pub vlan: i64,
    /// Whether there is a port group for virtual machines.
    pub vm_portgroup: bool,
}

/// What a VMkernel interface needs of the machine below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmkLink {
    /// vmk0, vmk1, ...
    pub name: String,
    /// Its MAC address.
    pub mac: String,
    /// The PCI place of the NIC that carries it; `None`: its switch has no uplink.
    pub uplink: Option<String>,
    /// The uplink's MTU.
    pub uplink_mtu: i64,
    /// The VLAN of its port group, 0: none.
    pub vlan: i64,
    /// Its own MTU.
    pub mtu: i64,
    /// Whether it gets its address by DHCP.
    pub dhcp: bool,
    /// Address and netmask; `None`: it has none, or waits for DHCP.
    pub address: Option<(String, String)>,
    /// The default gateway if it leads over this interface. Gateways of other TCP/IP stacks are left out: Linux has one.
    pub gateway: Option<String>,
    /// Other routes over it: network, netmask, gateway.
    pub routes: Vec<(String, String, String)>,
}

/// An address given by a DHCP server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lease {
    /// The address.
    pub address: String,
    /// Its netmask.
    pub netmask: String,
    /// The gateway, empty if none was given.
    pub gateway: String,
    /// Name servers.
    pub dns: Vec<String>,
}

fn unset(address: &str) -> bool {
    address.is_empty() || address == "0.0.0.0"
}

impl HostState {
    /// Puts this hardware in the place of what the state had. Counts from the next [`HostState::boot`].
    ///
    /// A NIC whose driver is missing or disabled does not appear. vmnics are numbered by PCI place; that ESXi keeps the
    /// names of cards that were moved is not modelled.
    pub fn attach(&mut self, hardware: &Attached) {
        if let Some(boot) = hardware.disks.iter().find(|disk| disk.boot) {
            self.boot_bus.clone_from(&boot.bus);
        }
        self.attached = Some(hardware.clone());
        self.mark_hardware();
        let old = std::mem::take(&mut self.nics);
        for card in &hardware.nics {
            let known = NIC_DRIVERS.iter().find(|row| row.0 == card.vendor && row.1 == card.device);
            let Some((_, _, drivers, speed, description)) = known else { continue };
            for module in self.modules.iter_mut().filter(|module| drivers.contains(&module.name.as_str())) {
                module.present = true;
            }
            let driver = drivers.iter().find(|name| self.modules.iter().any(|m| m.enabled && m.name == **name));
            let Some(driver) = driver else { continue };
            let number = self.nics.len();
            let kept = old.get(number);
            self.nics.push(Nic {
                name: format!("vmnic{number}"),
                pci: card.pci.clone(),
                driver: (*driver).to_owned(),
                mac: card.mac.to_lowercase(),
                virtual_mac: format!("00:50:56:5{number}:{}", &card.mac.to_lowercase()[12..]),
                up: kept.is_none_or(|nic| nic.up),
                link: card.link,
                speed: *speed,
                duplex: "Full".into(),
                auto: true,
                mtu: kept.map_or(1500, |nic| nic.mtu),
                description: (*description).to_owned(),
                pci_id: (card.vendor.clone(), card.device.clone()),
            });
        }
    }

    /// A host as an installer leaves it on this hardware: SSH is off, vmk0 has the MAC address of its NIC.
    ///
    /// # Errors
    /// Says why a host cannot be installed: an unknown release, no network card that the release can drive.
    pub fn installed(setup: &Setup, hardware: &Attached) -> Result<HostState, String> {
        let index = hardware.nics.first().map_or(0, |nic| number_from(&nic.mac) % 200);
        let mut state = HostState::factory(&setup.release, index).map_err(|error| error.to_string())?;
        state.attach(hardware);
        state.load_modules();
        let mac = state
            .nics
            .iter()
            .find(|nic| nic.name == setup.nic)
            .map(|nic| nic.mac.clone())
            .ok_or_else(|| format!("no network adapter {} with a driver in this release", setup.nic))?;
        let (host, domain) = setup.hostname.split_once('.').unwrap_or((&setup.hostname, ""));
        state.host = host.to_owned();
        state.domain = domain.to_owned();
        state.net.search = if domain.is_empty() { Vec::new() } else { vec![domain.to_owned()] };
        state.net.dns.clone_from(&setup.dns);
        for switch in &mut state.net.vswitches {
            switch.uplinks = vec![setup.nic.clone()];
            switch.failover.active = vec![setup.nic.clone()];
        }
        for group in &mut state.net.portgroups {
            if group.name == "Management Network" {
                group.vlan = setup.vlan;
            }
        }
        if !setup.vm_portgroup {
            state.net.portgroups.retain(|group| group.name != "VM Network");
        }
        if let Some(vmk) = state.net.vmks.first_mut() {
            vmk.mac = mac;
            vmk.dhcp_dns = setup.address.is_none();
            vmk.kind = if setup.address.is_some() { "STATIC" } else { "DHCP" }.into();
            let (address, netmask, gateway) = setup.address.clone().unwrap_or_default();
            vmk.address = if address.is_empty() { "0.0.0.0".into() } else { address };
            vmk.netmask = if netmask.is_empty() { "0.0.0.0".into() } else { netmask };
            vmk.gateway = if gateway.is_empty() { "0.0.0.0".into() } else { gateway };
        }
        for service in state.services.iter_mut().filter(|service| service.script == "SSH") {
            service.policy = "off".into();
            service.running = false;
        }
        if let Some(boot) = hardware.disks.iter().find(|disk| disk.boot) {
            size_datastore(&mut state.stores, state.release, boot.mib << 20);
        }
        Ok(state)
    }

    /// Why the installer of this release would not use the disk at `at` of the attached ones, if so.
    pub fn refuses_disk(&self, at: usize) -> Option<String> {
        let disk = self.attached.as_ref()?.disks.get(at)?;
        if !self.bus_visible(&disk.bus) {
            return Some(format!("no driver of this release sees a disk on {}", disk.bus));
        }
        // Reported for 8.0 (32 GB boot disk); documented minimum of 6.x: 1 GB; 7.0: 32 GB documented, 4 GB in the
        // notes of its first release and not enforced as far as reports go.
        let least = match self.release {
            Release::V60 | Release::V65 | Release::V67 => 1024,
            Release::V70 => 4 * 1024,
            Release::V80 => 32 * 1000 * 1000 * 1000 / (1 << 20),
        };
        (disk.mib < least).then(|| match self.release {
            Release::V80 => "the disk device does not support OSDATA: it is smaller than 32 GB".to_owned(),
            _ => format!("the disk is smaller than {least} MiB"),
        })
    }

    /// Whether the release's installer finds a kickstart on a CD on this bus. Seen on 7.0 and 8.0.3: not on QEMU's AHCI
    /// controller ("cannot find kickstart file on cd-rom"); the older ones are not reported.
    pub fn installer_reads_cd_on(&self, bus: &str) -> bool {
        self.release < Release::V70 || bus != "ahci"
    }

    /// Whether the release's installer tries to eject the CD at its reboot and waits for a key. Seen on 7.0 under QEMU.
    pub fn installer_waits_after_eject(&self) -> bool {
        self.release >= Release::V70
    }

    /// Names and PCI places of the NICs that have a driver.
    pub fn vmnics(&self) -> Vec<(String, String)> {
        self.nics.iter().map(|nic| (nic.name.clone(), nic.pci.clone())).collect()
    }

    /// The name of the NIC that a kickstart or a boot option means: vmnicN or a MAC address.
    pub fn vmnic(&self, device: &str) -> Option<String> {
        let same = |nic: &&Nic| nic.name == device || nic.mac.eq_ignore_ascii_case(device);
        self.nics.iter().find(same).map(|nic| nic.name.clone())
    }

    /// Names of the attached disks, in their order.
    pub fn disk_names(&self) -> Vec<String> {
        let mut numbers = std::collections::BTreeMap::<&str, usize>::new();
        let disks = self.attached.iter().flat_map(|attached| &attached.disks);
        disks
            .map(|disk| {
                let number = numbers.entry(&disk.bus).or_default();
                *number += 1;
                disk.name(*number - 1)
            })
            .collect()
    }

    /// The VMkernel interfaces that are enabled, with what carries them.
    pub fn vmk_links(&self) -> Vec<VmkLink> {
        let mut gateways: Vec<&str> = Vec::new();
        self.net
            .vmks
            .iter()
            .filter(|vmk| vmk.enabled)
            .map(|vmk| {
                let group = self.net.portgroups.iter().find(|group| group.name == vmk.portgroup);
                let switch =
                    group.and_then(|group| self.net.vswitches.iter().find(|switch| switch.name == group.vswitch));
                let place = |name: &String| self.nics.iter().find(|nic| nic.name == *name && nic.up).map(|n| &n.pci);
                let uplink = switch.and_then(|switch| {
                    let order = switch.failover.active.iter().chain(&switch.failover.standby).chain(&switch.uplinks);
                    order.filter(|name| switch.uplinks.contains(name)).find_map(place).cloned()
                });
                let has_address = vmk.kind != "NONE" && !unset(&vmk.address);
                // The default gateway of a stack leads over the first interface that has one.
                let leads = vmk.netstack == "defaultTcpipStack"
                    && !unset(&vmk.gateway)
                    && !gateways.contains(&vmk.netstack.as_str());
                if leads {
                    gateways.push(&vmk.netstack);
                }
                VmkLink {
                    name: vmk.name.clone(),
                    mac: vmk.mac.clone(),
                    uplink,
                    uplink_mtu: switch.map_or(1500, |switch| switch.mtu),
                    vlan: group.map_or(0, |group| group.vlan),
                    mtu: vmk.mtu,
                    dhcp: vmk.kind == "DHCP",
                    address: has_address.then(|| (vmk.address.clone(), vmk.netmask.clone())),
                    gateway: leads.then(|| vmk.gateway.clone()),
                    routes: self
                        .net
                        .routes
                        .iter()
                        .filter(|route| route.interface == vmk.name && !unset(&route.gateway))
                        .map(|route| (route.network.clone(), route.netmask.clone(), route.gateway.clone()))
                        .collect(),
                }
            })
            .collect()
    }

    /// Notes what a DHCP server gave to an interface. `None`: it gave nothing.
    pub fn set_lease(&mut self, vmk: &str, lease: Option<&Lease>) {
        let Some(vmk) = self.net.vmks.iter_mut().find(|v| v.name == vmk && v.kind == "DHCP") else { return };
        let none = Lease::default();
        let lease = lease.unwrap_or(&none);
        let shown = |text: &str| if text.is_empty() { "0.0.0.0".to_owned() } else { text.to_owned() };
        vmk.address = shown(&lease.address);
        vmk.netmask = shown(&lease.netmask);
        vmk.gateway = shown(&lease.gateway);
        if vmk.dhcp_dns && !lease.dns.is_empty() {
            self.net.dns.clone_from(&lease.dns);
        }
    }

    /// Digits for generated MAC addresses that differ from machine to machine, even between clones of one disk.
    pub(super) fn machine_digits(&self) -> Option<usize> {
        self.attached.as_ref()?.nics.first().map(|nic| number_from(&nic.mac))
    }
}

/// A number below 65536 that depends on every digit of a MAC address.
fn number_from(mac: &str) -> usize {
    mac.bytes().fold(7_usize, |sum, byte| (sum * 31 + usize::from(byte)) % 65_521)
}

/// What is left for datastore1 on a boot disk of this size. Below 7.0 the system takes 7.5 GiB; since 7.0 it takes up to
/// 138 GB, and a datastore is made only behind that; as the stand-in's disks are small, 33 GiB stand for it.
fn size_datastore(stores: &mut Vec<Datastore>, release: Release, disk: u64) {
    let system = if release >= Release::V70 { 33_u64 << 30 } else { 15 << 29 };
    match disk.checked_sub(system).filter(|rest| *rest >= 1 << 30) {
        Some(rest) => {
            for store in stores.iter_mut().filter(|store| store.name == "datastore1") {
                store.size = rest & !0xf_ffff;
                store.free = store.size - (store.size / 20).min(1_510_998_016);
            }
        }
        None => stores.retain(|store| store.name != "datastore1"),
    }
}

impl AttachedDisk {
    /// Its name in ESXi, as `t10.ATA_____QEMU_HARDDISK___...`: made of model and serial, so it moves with the disk.
    pub(super) fn name(&self, number: usize) -> String {
        let padded = |text: &str, width: usize| format!("{:_<width$}", text.replace(' ', "_"));
        match self.bus.as_str() {
            "usb" => format!("mpx.vmhba32:C0:T0:L{number}"),
            "pvscsi" => format!("mpx.vmhba2:C0:T{number}:L0"),
            "nvme" => format!("t10.NVMe____{}{}00000001", padded(&self.model, 40), padded(&self.serial, 20)),
            _ => format!("t10.ATA_____{}{}", padded(&self.model, 40), padded(&self.serial, 20)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hardware(bus: &str, device: (&str, &str), gib: u64) -> Attached {
        Attached {
            nics: vec![AttachedNic {
                pci: "0000:00:03.0".into(),
                vendor: device.0.into(),
                device: device.1.into(),
                mac: "52:54:00:AA:bb:01".into(),
                link: true,
            }],
            controllers: vec![AttachedController { bus: bus.into(), pci: "0000:00:05.0".into() }],
            disks: vec![AttachedDisk {
                bus: bus.into(),
                pci: "0000:00:05.0".into(),
                model: "QEMU HARDDISK".into(),
                serial: "QM00001".into(),
                mib: gib << 10,
                ssd: false,
                boot: true,
            }],
        }
    }

    fn setup(release: &str) -> Setup {
        Setup {
            release: release.into(),
            hostname: "h1.lab.test".into(),
            nic: "vmnic0".into(),
            address: Some(("10.0.2.15".into(), "255.255.255.0".into(), "10.0.2.2".into())),
            dns: Vec::new(),
            vlan: 0,
            vm_portgroup: true,
        }
    }

    const E1000: (&str, &str) = ("8086", "100e");
    const VMXNET3: (&str, &str) = ("15ad", "07b0");

    #[test]
    fn vmk0_keeps_the_mac_of_the_installation_and_ssh_is_off() {
        let first = hardware("ide", E1000, 16);
        let state = HostState::installed(&setup("6.5"), &first).unwrap();
        assert_eq!(state.fqdn(), "h1.lab.test");
        assert!(!state.ssh_enabled_at_boot());
        let mut moved = state.clone();
        let mut other = hardware("ide", E1000, 16);
        other.nics[0].mac = "52:54:00:00:00:02".into();
        moved.attach(&other);
        let up = HostState::boot(&moved, 1);
        assert_eq!(up.vmk_links()[0].mac, "52:54:00:aa:bb:01", "the clone keeps the MAC of the original");
        assert_eq!(up.nics[0].mac, "52:54:00:00:00:02");
        assert_eq!(up.vmk_links()[0].gateway.as_deref(), Some("10.0.2.2"));
    }

    #[test]
    fn the_disk_of_6_5_on_ahci_appears_once_its_driver_is_off() {
        let mut state = HostState::installed(&setup("6.5"), &hardware("ide", E1000, 16)).unwrap();
        let ahci = hardware("ahci", E1000, 16);
        state.attach(&ahci);
        assert!(!HostState::boot(&state, 1).boot_disk_visible());
        for module in state.modules.iter_mut().filter(|m| m.name == "vmw_ahci") {
            module.enabled = false;
        }
        assert!(HostState::boot(&state, 2).boot_disk_visible());
        let fresh = HostState::installed(&setup("6.5"), &ahci).unwrap();
        assert!(fresh.refuses_disk(0).is_some_and(|why| why.contains("ahci")));
        assert!(HostState::installed(&setup("7.0"), &hardware("ahci", VMXNET3, 40)).unwrap().refuses_disk(0).is_none());
    }

    #[test]
    fn drivers_that_a_release_lacks_leave_no_nic() {
        assert!(HostState::installed(&setup("7.0"), &hardware("ahci", E1000, 40)).is_err());
        let state = HostState::installed(&setup("8.0"), &hardware("ahci", VMXNET3, 40)).unwrap();
        assert_eq!(state.nics[0].driver, "nvmxnet3");
        let old = HostState::installed(&setup("6.0"), &hardware("ide", VMXNET3, 40)).unwrap();
        assert_eq!(old.nics[0].driver, "vmxnet3");
    }

    #[test]
    fn small_disks_are_refused_by_8_and_leave_no_datastore() {
        let small = HostState::installed(&setup("8.0"), &hardware("ahci", VMXNET3, 16)).unwrap();
        assert!(small.refuses_disk(0).is_some_and(|why| why.contains("OSDATA")));
        assert!(small.datastores().is_empty());
        let large = HostState::installed(&setup("6.7"), &hardware("ide", E1000, 16)).unwrap();
        assert!(large.stores.iter().any(|store| store.name == "datastore1" && store.size < 9 << 30));
    }

    #[test]
    fn a_lease_is_shown_and_can_be_lost() {
        let mut dhcp = setup("6.7");
        dhcp.address = None;
        let mut state = HostState::installed(&dhcp, &hardware("ide", E1000, 16)).unwrap();
        assert!(state.vmk_links()[0].address.is_none() && state.vmk_links()[0].dhcp);
        let lease = Lease {
            address: "10.0.2.15".into(),
            netmask: "255.255.255.0".into(),
            gateway: "10.0.2.2".into(),
            dns: vec!["10.0.2.3".into()],
        };
        state.set_lease("vmk0", Some(&lease));
        assert_eq!(state.management_addresses(), ["10.0.2.15"]);
        state.set_lease("vmk0", None);
        assert!(state.vmk_links()[0].address.is_none());
    }
}
