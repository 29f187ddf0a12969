//! The exact command line of a machine, argument by argument, each with the rules that explain it. Pure.
//!
//! Names that changed since the articles of 2017 (`ide-drive`, `server,nowait`, `--enable-kvm`) are used in the form
//! that QEMU 6.2 to 10.0 take. Started with `-S` under QEMU 7.2.22 and 10.0.2 by this project's tests.

use std::path::Path;

use crate::lab::plan::{Backend, Cd, DiskSlot, Machine, Nic};
use crate::lab::rules::RuleId;
use crate::lab::spec::{Bus, NicModel};

/// Words that belong together, and why they are there.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Arg {
    /// An option with its value, as QEMU gets them.
    pub words: Vec<String>,
    /// The rules behind it; [`crate::lab::rules::LAB_FILE`] where the lab file says so.
    pub why: Vec<RuleId>,
}

/// What is asked of a line beside the machine itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Style {
    /// `-daemonize`: QEMU goes to the background once its devices are made, and its exit code says whether it started.
    pub daemonize: bool,
    /// `-S`: the guest waits for `cont` on a monitor.
    pub paused: bool,
}

/// PCI slots, the same on both chipsets' root bus; NICs have 0x10 to 0x17 ([`Nic::slot`]). Pinned, since ESXi names
/// vmnics and vmhbas by their place.
mod slot {
    pub const VGA: u8 = 0x02;
    pub const AHCI: u8 = 0x08;
    pub const XHCI: u8 = 0x09;
    pub const UHCI: u8 = 0x0a;
    pub const PVSCSI: u8 = 0x0b;
    pub const NVME: u8 = 0x18;
}

/// A name of a file inside an option: QEMU takes a comma for the next key unless it is doubled.
fn quoted(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

struct Line<'a> {
    machine: &'a Machine,
    args: Vec<Arg>,
}

/// The arguments of a machine, without the program's name.
pub fn argv(machine: &Machine, style: Style) -> Vec<Arg> {
    let mut line = Line { machine, args: Vec::new() };
    line.board(style);
    line.firmware();
    line.ports();
    line.disks();
    if let Some(cd) = &machine.cd {
        line.cd(cd);
    }
    line.stick();
    for (i, nic) in machine.nics.iter().enumerate() {
        line.nic(i, nic);
    }
    line.kernel();
    line.args
}

/// The same as plain words.
pub fn words(args: &[Arg]) -> Vec<String> {
    args.iter().flat_map(|a| a.words.iter().cloned()).collect()
}

impl Line<'_> {
    /// Adds an argument; `why` are rules, or with a `:` in front topics of the machine.
    fn add(&mut self, words: &[&str], why: &[&str]) {
        let mut rules: Vec<RuleId> = Vec::new();
        for w in why {
            let of_topic = w.strip_prefix(':').and_then(|topic| self.machine.why.get(topic));
            let found = match of_topic {
                Some(found) => found.clone(),
                None if w.starts_with(':') => Vec::new(),
                None => vec![(*w).to_owned()],
            };
            rules.extend(found.into_iter().filter(|r| !rules.contains(r)).collect::<Vec<_>>());
        }
        self.args.push(Arg { words: words.iter().map(|w| (*w).to_owned()).collect(), why: rules });
    }

    fn board(&mut self, style: Style) {
        let m = self.machine;
        self.add(&["-name", &format!("guest={}", m.name.replace(',', ",,"))], &["name-arg"]);
        self.add(&["-nodefaults"], &["no-defaults"]);
        self.add(&["-no-user-config"], &["no-defaults"]);
        if style.daemonize {
            self.add(&["-daemonize"], &["daemonize"]);
        }
        if style.paused {
            self.add(&["-S"], &["paused"]);
        }
        self.add(&["-machine", m.chipset.name()], &[":machine"]);
        self.add(&["-accel", m.accel.name()], &[":accel"]);
        self.add(&["-cpu", &m.cpu], &[":cpu"]);
        let smp = format!("cpus={0},sockets=1,cores={0},threads=1", m.cpus);
        self.add(&["-smp", &smp], &[":cpus", "smp-one-socket"]);
        self.add(&["-m", &format!("size={}M", m.memory)], &[":memory"]);
        self.add(&["-uuid", &m.uuid], &["uuid-derived"]);
        self.add(&["-rtc", "base=utc"], &["rtc-utc"]);
        self.add(&["-boot", "menu=off,strict=on"], &["boot-strict"]);
        if m.exit_on_reboot {
            self.add(&["-no-reboot"], &["exit-on-reboot"]);
        }
        self.add(&["-pidfile", &m.pidfile.display().to_string()], &["pidfile"]);
    }

    fn firmware(&mut self) {
        let Some(uefi) = &self.machine.uefi else { return };
        let code = format!("if=pflash,unit=0,format=raw,readonly=on,file={}", quoted(&uefi.code));
        self.add(&["-drive", &code], &[":firmware", "uefi-vars"]);
        let vars = format!("if=pflash,unit=1,format=qcow2,file={}", quoted(&uefi.vars));
        self.add(&["-drive", &vars], &[":firmware", "uefi-vars"]);
    }

    /// Monitors, serial port, screen.
    fn ports(&mut self) {
        let m = self.machine;
        for (id, path) in [("qmp", &m.qmp), ("mon", &m.qmp_user)] {
            let chardev = format!("socket,id={id},path={},server=on,wait=off", quoted(path));
            self.add(&["-chardev", &chardev, "-mon", &format!("chardev={id},mode=control")], &["qmp-two"]);
        }
        let serial = format!(
            "socket,id=ser,path={},server=on,wait=off,logfile={},logappend=on",
            quoted(&m.serial),
            quoted(&m.serial_log)
        );
        self.add(&["-chardev", &serial, "-serial", "chardev:ser"], &["serial-socket-log"]);
        self.add(&["-device", &format!("VGA,id=video,addr=0x{:02x}", slot::VGA)], &["vga-always"]);
        self.add(&["-display", "none"], &["no-window"]);
        if let Some(vnc) = &m.vnc {
            self.add(&["-vnc", &format!("unix:{}", quoted(vnc))], &["vnc-unix"]);
        }
    }

    fn image(&mut self, node: &str, file: &Path, format: &str, read_only: bool, why: &[&str]) {
        let more = if read_only { ",read-only=on" } else { ",discard=unmap" };
        let blockdev =
            format!("driver={format},node-name={node}{more},file.driver=file,file.filename={}", quoted(file));
        self.add(&["-blockdev", &blockdev], why);
    }

    fn has(&self, bus: Bus) -> bool {
        self.machine.disks.iter().any(|d| d.bus == bus)
    }

    /// The AHCI controller: an own one, so that it is at the same place on both chipsets.
    fn ahci(&mut self) {
        let cd = self.machine.cd.as_ref().is_some_and(|cd| cd.bus == Bus::Ahci);
        if self.has(Bus::Ahci) || cd {
            self.add(&["-device", &format!("ich9-ahci,id=ahci,addr=0x{:02x}", slot::AHCI)], &["hba-slot-pinned"]);
        }
    }

    fn disks(&mut self) {
        self.ahci();
        if self.has(Bus::Usb) {
            let device = format!("nec-usb-xhci,id=xhci,addr=0x{:02x}", slot::XHCI);
            self.add(&["-device", &device], &[":usb_controller", "hba-slot-pinned"]);
        }
        if self.has(Bus::Pvscsi) {
            self.add(&["-device", &format!("pvscsi,id=scsi,addr=0x{:02x}", slot::PVSCSI)], &["hba-slot-pinned"]);
        }
        let disks = &self.machine.disks;
        for (i, disk) in disks.iter().enumerate() {
            let number = disks[..i].iter().filter(|d| d.bus == disk.bus).count();
            self.disk(number, disk);
        }
    }

    /// A disk, the `number`th on its bus.
    fn disk(&mut self, number: usize, slot: &DiskSlot) {
        let disk = &slot.disk;
        let topic = format!(":disk:{}", disk.id);
        self.image(&disk.id, &disk.file, "qcow2", false, &["disk-by-device"]);
        let place = match slot.bus {
            // The third place is the CD's.
            Bus::Ide => {
                let (bus, unit) = [(0, 0), (0, 1), (1, 1)].get(number).copied().unwrap_or((1, 0));
                format!("ide-hd,bus=ide.{bus},unit={unit}")
            }
            Bus::Ahci => format!("ide-hd,bus=ahci.{number}"),
            Bus::Usb => format!("usb-storage,bus=xhci.0,port={}", number + 1),
            Bus::Nvme => format!("nvme,addr=0x{:02x}", slot::NVME + number as u8),
            Bus::Pvscsi => format!("scsi-hd,bus=scsi.0,scsi-id={number}"),
        };
        let mut device = format!("{place},id=disk-{0},drive={0},serial={1}", disk.id, disk.serial);
        let mut why = vec![topic.as_str(), "disk-by-device", "disk-serial"];
        // USB disks and NVMe have neither of these (seen on QEMU 10.0.2).
        if matches!(slot.bus, Bus::Ide | Bus::Ahci | Bus::Pvscsi) {
            device.push_str(&format!(",wwn=0x{:016x}", disk.wwn));
            if disk.ssd {
                device.push_str(",rotation_rate=1");
                why.push("disk-ssd");
            }
        }
        if let Some(index) = slot.bootindex {
            device.push_str(&format!(",bootindex={index}"));
            why.push("boot-strict");
        }
        self.add(&["-device", &device], &why);
    }

    fn cd(&mut self, cd: &Cd) {
        self.image("cd", &cd.file, "raw", true, &["disk-by-device"]);
        let used = self.machine.disks.iter().filter(|d| d.bus == Bus::Ahci).count();
        let bus = match cd.bus {
            Bus::Ahci => format!("ahci.{}", used.min(5)),
            _ => "ide.1,unit=0".to_owned(),
        };
        let boot = cd.bootindex.map(|i| format!(",bootindex={i}")).unwrap_or_default();
        self.add(&["-device", &format!("ide-cd,bus={bus},id=cdrom,drive=cd{boot}")], &[":cd_bus", ":delivery"]);
    }

    fn stick(&mut self) {
        let Some(stick) = &self.machine.stick else { return };
        self.image("stick", stick, "raw", true, &[":stick_controller"]);
        let uhci = format!("piix3-usb-uhci,id=uhci,addr=0x{:02x}", slot::UHCI);
        self.add(&["-device", &uhci], &[":stick_controller", "hba-slot-pinned"]);
        self.add(&["-device", "usb-storage,bus=uhci.0,port=1,id=usb-stick,drive=stick,removable=on"], &[":delivery"]);
    }

    fn nic(&mut self, number: usize, nic: &Nic) {
        let id = &nic.id;
        let mut why: Vec<String> = Vec::new();
        let netdev = match &nic.backend {
            Backend::User { subnet, guest, isolated } => {
                let mut text = format!("user,id={id}");
                if let Some(subnet) = subnet {
                    text.push_str(&format!(",net={subnet}"));
                }
                if *isolated {
                    text.push_str(",restrict=on");
                    why.push("nat-restrict".into());
                }
                for f in &nic.forwards {
                    let protocol = f.protocol.name();
                    text.push_str(&format!(",hostfwd={protocol}:127.0.0.1:{}-{guest}:{}", f.host_port, f.guest_port));
                    why.push("forward-loopback".into());
                }
                text
            }
            Backend::Tap { ifname, vnet_hdr_off } => {
                why.push("tap-no-script".into());
                let vnet = if *vnet_hdr_off { ",vnet_hdr=off" } else { "" };
                why.push(format!(":vnet_hdr:net{number}"));
                format!("tap,id={id},ifname={ifname},script=no,downscript=no{vnet}")
            }
            Backend::Dgram { local, remote } => {
                why.push("dgram-hub".into());
                let (local, remote) = (quoted(local), quoted(remote));
                format!("dgram,id={id},local.type=unix,local.path={local},remote.type=unix,remote.path={remote}")
            }
        };
        let why: Vec<&str> = why.iter().map(String::as_str).collect();
        self.add(&["-netdev", &netdev], &why);
        let model = match nic.model {
            NicModel::Virtio => "virtio-net-pci",
            other => other.name(),
        };
        let device = format!("{model},id=nic{number},netdev={id},mac={},addr=0x{:02x},romfile=", nic.mac, nic.slot);
        let (of_model, of_mac) = (format!(":nic:net{number}"), format!(":mac:net{number}"));
        self.add(&["-device", &device], &[&of_model, &of_mac, "nic-slot-pinned", "nic-no-rom"]);
    }

    fn kernel(&mut self) {
        let Some(kernel) = &self.machine.kernel else { return };
        let path = |p: &Path| p.display().to_string();
        self.add(&["-kernel", &path(&kernel.kernel)], &["kernel-direct"]);
        self.add(&["-initrd", &path(&kernel.initrd)], &["kernel-direct"]);
        self.add(&["-append", &kernel.append], &["kernel-direct"]);
    }
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
