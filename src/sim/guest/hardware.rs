//! What is in the machine, read from /sys: cards, controllers, disks and CD drives, each with its place and driver.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::sim::host::{Attached, AttachedController, AttachedDisk, AttachedNic};

/// Linux driver → the bus that disks behind it are on, as the simulated host calls it.
const BUS_DRIVERS: &[(&str, &str)] = &[
    ("ata_piix", "ide"),
    ("ahci", "ahci"),
    ("usb-storage", "usb"),
    ("uas", "usb"),
    ("nvme", "nvme"),
    ("vmw_pvscsi", "pvscsi"),
];
/// How long nothing may have changed before the hardware is taken as complete, and the longest wait.
const QUIET: Duration = Duration::from_millis(1200);
const LONGEST: Duration = Duration::from_secs(20);

/// A disk as Linux has it; the same number in [`Attached::disks`] is the same disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// As `sda`.
    pub(super) name: String,
    /// As `/dev/sda`.
    pub(super) device: PathBuf,
    pub(super) bytes: u64,
}

/// A CD drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cd {
    pub(super) device: PathBuf,
    pub(super) bus: String,
}

/// All hardware.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Found {
    pub(super) attached: Attached,
    pub(super) disks: Vec<Disk>,
    pub(super) cds: Vec<Cd>,
    /// Linux interfaces by place: `0000:00:03.0` → `eth0`.
    pub(super) interfaces: Vec<(String, String)>,
    /// Linux drivers of the interfaces, in the same order.
    pub(super) drivers: Vec<String>,
    /// USB mass storage interfaces, whether their disk has appeared or not.
    storage_interfaces: usize,
}

impl Found {
    /// Lines for the console.
    pub(super) fn lines(&self) -> Vec<String> {
        let disks = self.disks.iter().zip(&self.attached.disks).map(|(disk, attached)| {
            let serial = if attached.serial.is_empty() { "-" } else { &attached.serial };
            format!("DISK {} {} {} serial={serial} pci={}", disk.name, disk.bytes, attached.bus, attached.pci)
        });
        let cds = self.cds.iter().map(|cd| format!("CD {} {}", cd.device.display(), cd.bus));
        let nics = self.attached.nics.iter().zip(self.interfaces.iter().zip(&self.drivers));
        let nics = nics.map(|(nic, ((_, name), driver))| format!("NIC {name} {} {driver} pci={}", nic.mac, nic.pci));
        disks.chain(cds).chain(nics).collect()
    }
}

/// Reads until nothing changes any more: USB devices appear when they like.
pub(super) fn settle(sys: &Path, dev: &Path) -> Found {
    let start = Instant::now();
    let mut last = read(sys, dev);
    let mut since = Instant::now();
    loop {
        let usb = last.attached.controllers.iter().any(|controller| controller.bus == "usb");
        let complete = last.disks_on("usb") + last.cds_on("usb") >= last.storage_interfaces;
        if (complete && (!usb || since.elapsed() >= QUIET)) || start.elapsed() >= LONGEST {
            return last;
        }
        std::thread::sleep(Duration::from_millis(50));
        let now = read(sys, dev);
        if now != last {
            last = now;
            since = Instant::now();
        }
    }
}

impl Found {
    fn disks_on(&self, bus: &str) -> usize {
        self.attached.disks.iter().filter(|disk| disk.bus == bus).count()
    }

    fn cds_on(&self, bus: &str) -> usize {
        self.cds.iter().filter(|cd| cd.bus == bus).count()
    }
}

fn text(path: PathBuf) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

/// Entries of a folder of /sys, in order of their names.
fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut list: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.to_string(), entry.path())))
        .collect();
    list.sort();
    list
}

/// Whether a name is a place on the PCI bus.
fn is_place(name: &str) -> bool {
    name.len() == 12 && name.as_bytes()[4] == b':' && name.as_bytes()[7] == b':' && name.as_bytes()[10] == b'.'
}

/// The last PCI place in a path of /sys.
fn place_of(path: &Path) -> String {
    let parts = path.components().rev().filter_map(|part| part.as_os_str().to_str());
    parts.into_iter().find(|part| is_place(part)).unwrap_or_default().to_string()
}

/// The driver of a device, `""` if it has none.
fn driver_of(device: &Path) -> String {
    let link = fs::read_link(device.join("driver")).unwrap_or_default();
    link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The nearest device above `path` whose driver says which bus this is.
fn bus_of(path: &Path) -> Option<&'static str> {
    path.ancestors().find_map(|device| {
        let driver = driver_of(device);
        BUS_DRIVERS.iter().find(|(name, _)| *name == driver).map(|(_, bus)| *bus)
    })
}

fn read(sys: &Path, dev: &Path) -> Found {
    let mut found = Found::default();
    for (place, path) in entries(&sys.join("bus/pci/devices")) {
        let hex = |file: &str| text(path.join(file)).trim_start_matches("0x").to_string();
        let class = hex("class");
        let bus = match (class.get(..4).unwrap_or_default(), hex("vendor").as_str(), hex("device").as_str()) {
            (_, "15ad", "07c0") => "pvscsi",
            ("0101", ..) => "ide",
            ("0106", ..) => "ahci",
            ("0108", ..) => "nvme",
            ("0c03", ..) => "usb",
            _ => continue,
        };
        found.attached.controllers.push(AttachedController { bus: bus.into(), pci: place });
    }
    let mut nics = Vec::new();
    for (name, path) in entries(&sys.join("class/net")) {
        let Ok(device) = path.join("device").canonicalize() else { continue };
        let place = device.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !is_place(&place) {
            continue;
        }
        let hex = |file: &str| text(device.join(file)).trim_start_matches("0x").to_string();
        let nic = AttachedNic {
            pci: place.clone(),
            vendor: hex("vendor"),
            device: hex("device"),
            mac: text(path.join("address")),
            link: true,
        };
        nics.push((place, name, nic, driver_of(&device)));
    }
    nics.sort_by(|one, other| one.0.cmp(&other.0));
    for (place, name, nic, driver) in nics {
        found.interfaces.push((place, name));
        found.attached.nics.push(nic);
        found.drivers.push(driver);
    }
    for (name, path) in entries(&sys.join("class/block")) {
        let Ok(device) = path.join("device").canonicalize() else { continue };
        if path.join("partition").exists() {
            continue;
        }
        let Some(bus) = bus_of(&device) else { continue };
        if name.starts_with("sr") {
            found.cds.push(Cd { device: dev.join(&name), bus: bus.into() });
            continue;
        }
        let sectors: u64 = text(path.join("size")).parse().unwrap_or(0);
        if sectors == 0 {
            continue;
        }
        found.attached.disks.push(AttachedDisk {
            bus: bus.into(),
            pci: place_of(&device),
            model: text(device.join("model")),
            serial: serial(&device),
            mib: sectors / 2048,
            ssd: text(path.join("queue/rotational")) == "0",
            boot: false,
        });
        found.disks.push(Disk { device: dev.join(&name), name, bytes: sectors * 512 });
    }
    found.storage_interfaces = entries(&sys.join("bus/usb/devices"))
        .iter()
        .filter(|(_, path)| text(path.join("bInterfaceClass")) == "08")
        .count();
    found
}

/// NVMe says its serial number in a file, ATA in page 0x80 of what SCSI calls vital product data, a USB disk in its device.
fn serial(device: &Path) -> String {
    let own = text(device.join("serial"));
    if !own.is_empty() {
        return own;
    }
    if let Ok(page) = fs::read(device.join("vpd_pg80"))
        && let Some(number) = page.get(4..)
        && !number.is_empty()
    {
        return String::from_utf8_lossy(number).trim().trim_end_matches('\0').to_string();
    }
    device.ancestors().take(6).map(|above| text(above.join("serial"))).find(|text| !text.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// A /sys with an e1000, a USB disk behind an xhci controller, an AHCI disk, and a CD on IDE.
    fn sys() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let put = |path: &str, content: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        };
        let link = |path: &str, target: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(root.join(target), path).unwrap();
        };
        let pci = "devices/pci0000:00";
        for (place, class, vendor, device, driver) in [
            ("0000:00:02.0", "0x020000", "0x8086", "0x100e", "e1000"),
            ("0000:00:04.0", "0x0c0330", "0x1033", "0x0194", "xhci_hcd"),
            ("0000:00:05.0", "0x010601", "0x8086", "0x2922", "ahci"),
            ("0000:00:01.1", "0x010180", "0x8086", "0x7010", "ata_piix"),
        ] {
            for (file, content) in [("class", class), ("vendor", vendor), ("device", device)] {
                put(&format!("{pci}/{place}/{file}"), content);
            }
            fs::create_dir_all(root.join("drivers").join(driver)).unwrap();
            link(&format!("{pci}/{place}/driver"), &format!("drivers/{driver}"));
            link(&format!("bus/pci/devices/{place}"), &format!("{pci}/{place}"));
        }
        put(&format!("{pci}/0000:00:02.0/net/eth0/address"), "52:54:00:aa:bb:01\n");
        link(&format!("{pci}/0000:00:02.0/net/eth0/device"), &format!("{pci}/0000:00:02.0"));
        link("class/net/eth0", &format!("{pci}/0000:00:02.0/net/eth0"));
        fs::create_dir_all(root.join("class/net/lo")).unwrap();
        let usb = format!("{pci}/0000:00:04.0/usb1/1-1");
        put(&format!("{usb}/serial"), "BOOT01\n");
        put(&format!("{usb}/1-1:1.0/bInterfaceClass"), "08\n");
        fs::create_dir_all(root.join("drivers/usb-storage")).unwrap();
        link(&format!("{usb}/1-1:1.0/driver"), "drivers/usb-storage");
        link("bus/usb/devices/1-1:1.0", &format!("{usb}/1-1:1.0"));
        for (name, target, sectors) in [
            ("sda", format!("{usb}/1-1:1.0/host2/target2:0:0/2:0:0:0"), "33554432"),
            ("sdb", format!("{pci}/0000:00:05.0/ata1/host0/target0:0:0/0:0:0:0"), "2048"),
            ("sr0", format!("{pci}/0000:00:01.1/ata9/host9/target9:0:0/9:0:0:0"), "800"),
        ] {
            put(&format!("{target}/model"), "QEMU HARDDISK   \n");
            put(&format!("{target}/block/{name}/size"), sectors);
            put(&format!("{target}/block/{name}/queue/rotational"), "1");
            link(&format!("{target}/block/{name}/device"), &target);
            link(&format!("class/block/{name}"), &format!("{target}/block/{name}"));
        }
        put(&format!("{pci}/0000:00:05.0/ata1/host0/target0:0:0/0:0:0:0/vpd_pg80"), "\0\0\0\u{8}DATA01  ");
        dir
    }

    #[test]
    fn cards_disks_and_drives_are_found_with_their_bus() {
        let sys = sys();
        let found = read(sys.path(), Path::new("/dev"));
        assert_eq!(found.interfaces, [("0000:00:02.0".to_string(), "eth0".to_string())]);
        let nic = &found.attached.nics[0];
        assert_eq!((nic.vendor.as_str(), nic.device.as_str(), nic.mac.as_str()), ("8086", "100e", "52:54:00:aa:bb:01"));
        let disks: Vec<_> =
            found.attached.disks.iter().map(|d| (d.bus.as_str(), d.serial.as_str(), d.pci.as_str(), d.mib)).collect();
        assert_eq!(disks, [("usb", "BOOT01", "0000:00:04.0", 16384), ("ahci", "DATA01", "0000:00:05.0", 1)]);
        assert_eq!(found.cds, [Cd { device: "/dev/sr0".into(), bus: "ide".into() }]);
        let buses: Vec<_> = found.attached.controllers.iter().map(|c| c.bus.as_str()).collect();
        assert_eq!(buses, ["ide", "usb", "ahci"]);
        let lines = found.lines();
        assert!(lines.contains(&"DISK sda 17179869184 usb serial=BOOT01 pci=0000:00:04.0".to_string()), "{lines:?}");
        assert!(lines.contains(&"NIC eth0 52:54:00:aa:bb:01 e1000 pci=0000:00:02.0".to_string()), "{lines:?}");
        assert_eq!(found.storage_interfaces, 1);
    }
}
