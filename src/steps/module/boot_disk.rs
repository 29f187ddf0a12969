//! Drivers whose absence can leave a host without the disk that it boots from.

use crate::esxi::Version;

/// One driver and from when on nothing else drives its disks.
pub struct BootDriver {
    /// Module name.
    pub module: &'static str,
    /// What it drives.
    pub drives: &'static str,
    /// First release on which no other driver takes over.
    pub since: Version,
    /// What happens before that.
    pub before: &'static str,
    /// Where this is known from, and how sure it is.
    pub source: &'static str,
}

const V65: Version = Version::new(6, 5);
const V70: Version = Version::new(7, 0);

/// The table. 7.0 removed the vmklinux drivers, so from there on each class of disks has one driver only.
pub const BOOT_DRIVERS: &[BootDriver] = &[
    BootDriver {
        module: "vmw_ahci",
        drives: "SATA (AHCI) disks",
        since: V70,
        before: "on 6.5 and 6.7 the older ahci driver takes over, which helps where vmw_ahci of 6.5 GA is slow or hangs",
        source: "sure for 6.5 (public posts, a deployment tool limits it to 6.5.0 GA); 7.0 and later: follows from the removal of vmklinux, not tried",
    },
    BootDriver {
        module: "vmkusb",
        drives: "USB disks and sticks",
        since: V70,
        before: "on 6.5 and 6.7 the older xhci, ehci and usb-storage drivers take over",
        source: "sure for 6.5 and 6.7 (public posts); 7.0 and later: follows from the removal of vmklinux, not tried",
    },
    BootDriver {
        module: "vmkata",
        drives: "IDE disks",
        since: V70,
        before: "",
        source: "follows from the removal of vmklinux, not tried",
    },
    BootDriver {
        module: "nvme_pcie",
        drives: "NVMe disks",
        since: V70,
        before: "",
        source: "the only NVMe driver since 7.0; effect not tried",
    },
    BootDriver {
        module: "nvme",
        drives: "NVMe disks",
        since: V65,
        before: "",
        source: "the only NVMe driver of 6.5 and 6.7; effect not tried",
    },
    BootDriver {
        module: "pvscsi",
        drives: "paravirtual SCSI disks (ESXi in a virtual machine)",
        since: V70,
        before: "",
        source: "follows from the removal of vmklinux, not tried",
    },
    BootDriver {
        module: "lsi_mr3",
        drives: "MegaRAID disks",
        since: V70,
        before: "",
        source: "follows from the removal of vmklinux (megaraid_sas), not tried",
    },
    BootDriver {
        module: "lsi_msgpt3",
        drives: "LSI SAS3 disks",
        since: V70,
        before: "",
        source: "follows from the removal of vmklinux, not tried",
    },
    BootDriver {
        module: "lsi_msgpt35",
        drives: "LSI SAS3.5 disks",
        since: V70,
        before: "",
        source: "no other driver known, not tried",
    },
    BootDriver {
        module: "smartpqi",
        drives: "Smart Array and SmartRAID disks",
        since: V65,
        before: "",
        source: "no other driver known, not tried",
    },
    BootDriver {
        module: "nhpsa",
        drives: "HPE Smart Array disks",
        since: V70,
        before: "",
        source: "follows from the removal of vmklinux (hpsa), not tried",
    },
];

/// The driver of this name, if on this release nothing takes over from it.
pub fn irreplaceable(module: &str, version: Version) -> Option<&'static BootDriver> {
    BOOT_DRIVERS.iter().find(|d| d.module == module && version >= d.since)
}
