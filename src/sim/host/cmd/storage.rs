//! `esxcli storage`, `hardware` and `vm process`: what is read, never changed.

use super::super::attach::AttachedDisk;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply, V};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{HostState, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "storage filesystem list",
        "List the volumes available to the host.",
        &["i ignore-errors f Continue processing even if there are errors."],
        filesystems,
    ),
    Cmd::new(
        "storage vmfs extent list",
        "List the VMFS extents available on the host.",
        &["i ignore-errors f Continue processing even if there are errors."],
        extents,
    ),
    Cmd::new(
        "storage core device list",
        "List the devices currently registered with the PSA.",
        &["d device s Filter the output of this command to only show a single device."],
        devices,
    ),
    Cmd::new("storage core adapter list", "List all the SCSI Host Bus Adapters on the system.", &[], adapters),
    Cmd::new("hardware platform get", "Get information about the platform", &[], platform),
    Cmd::new("hardware memory get", "Get information about memory.", &[], memory),
    Cmd::new(
        "hardware cpu global get",
        "List information and configuration parameters globally applied to all CPUs.",
        &[],
        cpu,
    ),
    Cmd::new("hardware clock get", "Display the current hardware clock time.", &[], clock),
    Cmd::new("vm process list", "List the virtual machines on this system.", &[], vms),
];

/// The name of the boot disk, by its controller.
pub(in super::super) fn boot_device(state: &HostState) -> String {
    if let Some((name, _)) = shown_disks(state).into_iter().find(|(_, disk)| disk.boot) {
        return name;
    }
    match state.boot_bus.as_str() {
        "usb" => "mpx.vmhba32:C0:T0:L0".into(),
        _ => format!("t10.ATA_____QEMU_HARDDISK___________________________QM{:05}____________", state.index + 1),
    }
}

fn filesystems(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let state = &*ctx.state;
    if !state.boot_disk_visible() {
        return Reply::Table(Vec::new());
    }
    let volumes = ctx.call.root.join("vmfs/volumes");
    let filled = |uuid: &str| super::super::tools::tree_size(&volumes.join(uuid));
    Reply::Table(
        state
            .mounted()
            .map(|d| {
                Rec::new("FileSystemVolume")
                    .with("Mount Point", format!("/vmfs/volumes/{}", d.uuid))
                    .with("Volume Name", &d.name)
                    .with("UUID", &d.uuid)
                    .with("Mounted", true)
                    .with("Type", &d.kind)
                    .with("Size", i64::try_from(d.size).unwrap_or(i64::MAX))
                    .with("Free", i64::try_from(d.free.saturating_sub(filled(&d.uuid))).unwrap_or(i64::MAX))
            })
            .collect(),
    )
}

fn extents(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let state = &*ctx.state;
    if !state.boot_disk_visible() {
        return Reply::Table(Vec::new());
    }
    Reply::Table(
        state
            .mounted()
            .filter(|d| d.kind.starts_with("VMFS"))
            .map(|d| {
                Rec::new("VmfsExtent")
                    .with("Volume Name", &d.name)
                    .with("VMFS UUID", &d.uuid)
                    .with("Extent Number", 0_i64)
                    .with("Device Name", boot_device(state))
                    .with("Partition", i64::from(d.partition))
            })
            .collect(),
    )
}

/// The disks that are really there and seen, with their names.
fn shown_disks(state: &HostState) -> Vec<(String, AttachedDisk)> {
    let disks = state.attached.iter().flat_map(|attached| attached.disks.clone());
    let named = state.disk_names().into_iter().zip(disks);
    named.filter(|(_, disk)| state.bus_visible(&disk.bus) && !(disk.boot && state.boot_lost)).collect()
}

/// Every disk that the host sees: the ones that are there, or the one that is made up.
fn all_disks(state: &HostState) -> Vec<(String, AttachedDisk)> {
    if state.attached.is_some() {
        return shown_disks(state);
    }
    if !state.boot_disk_visible() {
        return Vec::new();
    }
    let made_up = AttachedDisk {
        bus: state.boot_bus.clone(),
        pci: String::new(),
        model: "QEMU HARDDISK".into(),
        serial: String::new(),
        mib: if state.release < Release::V70 { 40_960 } else { 65_536 },
        ssd: false,
        boot: true,
    };
    vec![(boot_device(state), made_up)]
}

/// Fields recorded on 6.5; 7.0 U3 lacks two of them and 6.0 the one about VVOLs.
fn devices(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let state = &*ctx.state;
    let disks = all_disks(state);
    let wanted = args.get("device");
    if let Some(wanted) = wanted
        && !disks.iter().any(|(name, _)| name == wanted)
    {
        return Reply::fault(format!("Unable to find device {wanted}: Not found"));
    }
    let shown = disks.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == name));
    Reply::List(shown.map(|(name, disk)| device(state, name, disk)).collect())
}

fn device(state: &HostState, name: &str, disk: &AttachedDisk) -> Rec {
    let old = state.release < Release::V70;
    let mid = state.release > Release::V60;
    let usb = disk.bus == "usb";
    let mut seed = state.bios_uuid[..20].to_owned();
    if !disk.boot {
        seed = name.bytes().fold(seed, |seed, byte| format!("{}{:x}", &seed[1..], byte & 0xf));
    }
    Rec::titled("StorageCoreDevice", name)
        .with("Display Name", format!("Local ATA Disk ({name})"))
        .with("Has Settable Display Name", true)
        .with("Size", i64::try_from(disk.mib).unwrap_or(i64::MAX))
        .with("Device Type", "Direct-Access ")
        .with("Multipath Plugin", if old { "NMP" } else { "HPP" })
        .with("Devfs Path", format!("/vmfs/devices/disks/{name}"))
        .with("Vendor", "ATA     ")
        .with("Model", format!("{:<16}", disk.model))
        .with("Revision", "2.5+")
        .with("SCSI Level", 5_i64)
        .with("Is Pseudo", false)
        .with("Status", "on")
        .with("Is RDM Capable", false)
        .with("Is Local", true)
        .with("Is Removable", false)
        .with("Is SSD", disk.ssd)
        .when(mid, "Is VVOL PE", false)
        .with("Is Offline", false)
        .with("Is Perennially Reserved", false)
        .with("Queue Full Sample Size", 0_i64)
        .with("Queue Full Threshold", 0_i64)
        .with("Thin Provisioning Status", "unknown")
        .with("Attached Filters", "")
        .with("VAAI Status", "unsupported")
        .with("Other UIDs", format!("vml.0100000000{seed}"))
        .with("Is Shared Clusterwide", false)
        .when(old, "Is Local SAS Device", false)
        .with("Is SAS", false)
        .with("Is USB", usb)
        .when(old, "Is Boot USB Device", usb && disk.boot)
        .with("Is Boot Device", disk.boot)
        .with("Device Max Queue Depth", if disk.bus == "ahci" { 31_i64 } else { 1 })
        .with("No of outstanding IOs with competing worlds", 32_i64)
        .with("Drive Type", "unknown")
        .with("RAID Level", "unknown")
        .with("Number of Physical Drives", "unknown")
        .with("Protection Enabled", false)
        .with("PI Activated", false)
        .with("PI Type", 0_i64)
        .with("PI Protection Mask", "NO PROTECTION")
        .with("Supported Guard Types", "NO GUARD SUPPORT")
        .with("DIX Enabled", false)
        .with("DIX Guard Type", "NO GUARD SUPPORT")
        .with("Emulated DIX/DIF Enabled", false)
}

fn adapters(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let state = &*ctx.state;
    let row = |name: &str, driver: &str, uid: &str, text: &str| {
        Rec::new("ScsiAdapter")
            .with("HBA Name", name)
            .with("Driver", driver)
            .with("Link State", "link-n/a")
            .with("UID", uid)
            .with("Capabilities", "")
            .with("Description", text)
    };
    let ide = if state.release == Release::V60 { "ata_piix" } else { "vmkata" };
    let made_up = [("ide", "0000:00:01.1"), (state.boot_bus.as_str(), "0000:00:06.0")];
    let controllers: Vec<(&str, &str)> = match &state.attached {
        Some(attached) => attached.controllers.iter().map(|c| (c.bus.as_str(), c.pci.as_str())).collect(),
        None if state.boot_bus == "ide" => made_up[..1].to_vec(),
        None => made_up.to_vec(),
    };
    let loaded = |names: [&'static str; 2]| names.into_iter().find(|name| state.module_loaded(name));
    let mut rows = Vec::new();
    for (bus, pci) in controllers {
        let (driver, text) = match bus {
            "ide" => (Some(ide), format!("({pci}) Intel Corporation PIIX4 for 430TX/440BX/MX IDE Controller")),
            "ahci" => {
                (loaded(["vmw_ahci", "ahci"]), format!("({pci}) Intel Corporation ICH9 6 port SATA AHCI Controller"))
            }
            "usb" => (loaded(["vmkusb", "usb-storage"]), "() USB".to_owned()),
            "nvme" => (loaded(["nvme_pcie", "nvme"]), format!("({pci}) Red Hat, Inc. QEMU NVM Express Controller")),
            _ => (loaded(["pvscsi", "pvscsi"]), format!("({pci}) VMware Inc. PVSCSI SCSI Controller")),
        };
        let Some(driver) = driver else { continue };
        if bus == "usb" {
            // One adapter stands for all USB storage, and only while there is some.
            let storage = state.attached.is_none() || all_disks(state).iter().any(|(_, disk)| disk.bus == "usb");
            if storage && !rows.iter().any(|(name, _)| name == "vmhba32") {
                rows.push(("vmhba32".to_owned(), row("vmhba32", driver, "usb.vmhba32", &text)));
            }
            continue;
        }
        let name = format!("vmhba{}", rows.iter().filter(|(name, _)| name != "vmhba32").count());
        let uid = match bus {
            "ide" => format!("ide.{name}"),
            "ahci" => format!("sata.{name}"),
            _ => format!("{bus}.{name}"),
        };
        rows.push((name.clone(), row(&name, driver, &uid, &text)));
    }
    Reply::Table(rows.into_iter().map(|(_, row)| row).collect())
}

/// Without leading zeros, as recorded (`0x7`, `0xc`). 7.0 and later have two fields more.
fn platform(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let state = &*ctx.state;
    let bytes: Vec<String> = (0..16)
        .map(|i| format!("0x{:x}", u8::from_str_radix(&state.bios_uuid[i * 2..i * 2 + 2], 16).unwrap_or(0)))
        .collect();
    let new = state.release >= Release::V67;
    Reply::One(
        Rec::titled("PlatformGet", "Platform Information")
            .with("UUID", bytes.join(" "))
            .with("Product Name", "Standard PC (i440FX + PIIX, 1996)")
            .with("Vendor Name", "QEMU")
            .with("Serial Number", format!("SIM-{:04}", state.index + 1))
            .when(new, "Enclosure Serial Number", "")
            .when(new, "BIOS Asset Tag", "")
            .with("IPMI Supported", false),
    )
}

fn memory(_: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::One(
        Rec::new("MemoryGet")
            .with("Physical Memory", V::Unit(8_589_398_016, "Bytes"))
            .with("Reliable Memory", V::Unit(0, "Bytes"))
            .with("NUMA Node Count", 1_i64),
    )
}

fn cpu(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let wanted = ctx.state.kernel.get("hyperthreading").is_none_or(|k| k.runtime == "TRUE");
    Reply::One(
        Rec::new("CpuGlobal")
            .with("CPU Packages", 1_i64)
            .with("CPU Cores", 4_i64)
            .with("CPU Threads", 4_i64)
            .with("Hyperthreading Active", false)
            .with("Hyperthreading Supported", false)
            .with("Hyperthreading Enabled", wanted)
            .with("HV Support", 3_i64)
            .with("HV Replay Capable", false)
            .with("HV Replay Disabled Reasons", ""),
    )
}

fn clock(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(format!("{}Z", super::timestamp(ctx.call.now)))
}

/// The blank-separated hex of a VM's UUID, one dash in the middle (recorded on 6.7).
fn vm_uuid(state: &HostState, id: u32) -> String {
    let bytes: Vec<String> = (0..16_u32)
        .map(|i| match i {
            0 => "56".into(),
            1 => "4d".into(),
            _ => format!("{:02x}", (i * 37 + id * 11 + u32::try_from(state.index).unwrap_or(0) * 5) & 0xff),
        })
        .collect();
    format!("{}-{}", bytes[..8].join(" "), bytes[8..].join(" "))
}

fn vms(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let state = &*ctx.state;
    let store = state.stores.first().map(|d| d.uuid.clone()).unwrap_or_default();
    Reply::List(
        state
            .vms
            .iter()
            .filter(|v| v.power == "on")
            .map(|v| {
                Rec::titled("VirtualMachine", v.name.clone())
                    .with("World ID", v.world)
                    .with("Process ID", 0_i64)
                    .with("VMX Cartel ID", v.world - 1)
                    .with("UUID", vm_uuid(state, v.id))
                    .with("Display Name", &v.name)
                    .with("Config File", format!("/vmfs/volumes/{store}/{0}/{0}.vmx", v.name))
            })
            .collect(),
    )
}
