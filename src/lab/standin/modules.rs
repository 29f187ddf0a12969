//! Which kernel modules the stand-in needs, and an order in which plain insmod takes them.
//!
//! A kernel package that was only unpacked has no modules.dep (depmod makes it at installation), so the dependencies are
//! read from the modules themselves: `.modinfo` holds `depends=a,b`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::StandinError;
use super::error::IoContext;
use super::vmlinux::unpack;

/// Name, whether the stand-in is no use without it, what for.
pub(super) const WANTED: &[(&str, bool, &str)] = &[
    ("xhci_pci", true, "USB 3 controllers (nec-usb-xhci, qemu-xhci)"),
    ("uhci_hcd", true, "the USB controller of machine pc"),
    ("ehci_pci", false, "USB 2 controllers"),
    ("usb_storage", true, "USB disks and sticks"),
    ("uas", false, "USB disks that speak SCSI"),
    ("ahci", true, "SATA disks (q35, ich9-ahci)"),
    ("ata_piix", true, "IDE disks and CDs (machine pc)"),
    ("sd_mod", true, "SCSI disks: every disk but NVMe"),
    ("sr_mod", true, "CD drives"),
    ("nvme", false, "NVMe disks"),
    ("vmw_pvscsi", false, "pvscsi disks"),
    ("e1000", true, "NIC model e1000"),
    ("e1000e", true, "NIC model e1000e"),
    ("vmxnet3", true, "NIC model vmxnet3"),
    ("macvlan", true, "VMkernel interfaces on an uplink"),
    ("8021q", true, "port groups with a VLAN"),
    ("dummy", false, "VMkernel interfaces on a switch without an uplink"),
    ("button", false, "the power button (QMP system_powerdown)"),
    ("evdev", false, "the power button's events"),
];

/// The modules of one kernel: name with underscores → file.
#[derive(Debug)]
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

/// The name under which the kernel knows a module: `crc64-rocksoft.ko.xz` is `crc64_rocksoft`.
fn name_of(file: &str) -> Option<String> {
    let (name, rest) = file.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".gz" | ".zst").then(|| name.replace('-', "_"))
}

impl Modules {
    /// Looks through `lib/modules/VERSION`.
    pub(super) fn of(dir: &Path) -> Result<Modules, StandinError> {
        let mut modules = Modules { files: BTreeMap::new(), builtin: BTreeSet::new() };
        modules.collect(&dir.join("kernel"))?;
        let listed = fs::read_to_string(dir.join("modules.builtin")).unwrap_or_default();
        modules.builtin = listed.lines().filter_map(|line| name_of(line.rsplit('/').next()?)).collect();
        Ok(modules)
    }

    fn collect(&mut self, dir: &Path) -> Result<(), StandinError> {
        for entry in fs::read_dir(dir).doing("list", dir)?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.collect(&path)?;
            } else if let Some(name) = entry.file_name().to_str().and_then(name_of) {
                self.files.insert(name, path);
            }
        }
        Ok(())
    }

    /// What the stand-in cannot do without and this kernel has not.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let has = |name: &str| self.files.contains_key(name) || self.builtin.contains(name);
        WANTED.iter().filter(|(name, needed, _)| *needed && !has(name)).map(|(name, ..)| *name).collect()
    }

    /// The wanted modules and all they depend on, each after its dependencies: file name and unpacked content.
    pub(super) fn in_order(&self) -> Result<Vec<(String, Vec<u8>)>, StandinError> {
        let mut order = Vec::new();
        let mut done = BTreeSet::new();
        for (name, ..) in WANTED {
            self.add(name, &mut done, &mut order)?;
        }
        Ok(order)
    }

    fn add(
        &self,
        name: &str,
        done: &mut BTreeSet<String>,
        order: &mut Vec<(String, Vec<u8>)>,
    ) -> Result<(), StandinError> {
        let Some(path) = self.files.get(name) else { return Ok(()) };
        if !done.insert(name.to_string()) {
            return Ok(());
        }
        let content = unpack(&fs::read(path).doing("read", path)?, path)?;
        for other in depends(&content) {
            self.add(&other, done, order)?;
        }
        order.push((format!("{name}.ko"), content));
        Ok(())
    }
}

/// The modules that a module's own `.modinfo` says it needs.
pub(super) fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let text: Vec<u8> = module[at + KEY.len()..].iter().copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&text).replace('-', "_");
    text.split(',').filter(|name| !name.is_empty()).map(String::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, path: &str, depends: &str) {
        let path = dir.join("kernel").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("\x7fELF\0license=GPL\0depends={depends}\0name=x\0")).unwrap();
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "drivers/scsi/sd_mod.ko", "scsi_mod,t10-pi");
        write(dir.path(), "drivers/scsi/sr_mod.ko", "cdrom,scsi_mod");
        write(dir.path(), "drivers/scsi/scsi_mod.ko", "scsi_common");
        write(dir.path(), "drivers/scsi/scsi_common.ko", "");
        write(dir.path(), "drivers/cdrom/cdrom.ko", "");
        write(dir.path(), "block/t10-pi.ko", "crc-t10dif");
        write(dir.path(), "lib/crc-t10dif.ko", "crct10dif_common");
        write(dir.path(), "crypto/crct10dif_common.ko", "");
        write(dir.path(), "drivers/unwanted.ko", "");
        let order: Vec<String> =
            Modules::of(dir.path()).unwrap().in_order().unwrap().into_iter().map(|(name, _)| name).collect();
        let at = |name: &str| order.iter().position(|n| n == name).unwrap();
        assert!(at("crct10dif_common.ko") < at("crc_t10dif.ko") && at("crc_t10dif.ko") < at("t10_pi.ko"));
        assert!(at("t10_pi.ko") < at("sd_mod.ko") && at("scsi_common.ko") < at("scsi_mod.ko"));
        assert_eq!(order.iter().filter(|n| *n == "scsi_mod.ko").count(), 1);
        assert!(!order.iter().any(|n| n == "unwanted.ko"));
    }

    #[test]
    fn a_kernel_without_the_drivers_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "ahci.ko", "");
        fs::write(dir.path().join("modules.builtin"), "kernel/drivers/scsi/sd_mod.ko\n").unwrap();
        let missing = Modules::of(dir.path()).unwrap().missing();
        assert!(missing.contains(&"e1000") && missing.contains(&"usb_storage"));
        assert!(!missing.contains(&"ahci") && !missing.contains(&"sd_mod") && !missing.contains(&"nvme"));
    }
}
