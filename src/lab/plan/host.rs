//! One host: what is the same in all its stages.

use std::path::PathBuf;

use super::machine::Maker;
use super::network::{self, Addresses};
use super::reasons::{Reasons, Why, because, written};
use super::{
    Backend, CloneOf, DirectKernel, Disk, Endpoint, Forward, GuestAddress, Host, Nic, Shared, Vendor, Weight, names,
};
use crate::esxi::Version;
use crate::lab::rules::Case;
use crate::lab::spec::{
    AccelWish, Bus, DiskWish, Firmware, FirmwareWish, Guest, MachineWish, NicModel, Settings, Size,
};
use crate::playbook::{Problem, Span};

/// PCI slot of the first NIC, on either chipset's root bus. Nothing else is put from here on.
const FIRST_NIC_SLOT: u8 = 0x10;

/// Plans a host. Problems are collected; what cannot be planned any further is left out.
pub fn host(
    shared: &Shared<'_>,
    addresses: &Addresses,
    number: usize,
    name: &str,
    esxi: Version,
    reasons: &mut Reasons<'_>,
) -> Option<Host> {
    let lab = shared.lab;
    let settings = &lab.hosts.get(name)?.settings;
    // A clone has the firmware of the host whose disks it has.
    let source = settings.clone_from.as_ref().and_then(|f| lab.hosts.get(f)).map(|h| &h.settings);
    let guest = settings.guest.unwrap_or_default();
    let folder = shared.facts.folder.join("hosts").join(name);
    let at = |topic: &str| place(shared, name, topic);
    let mut why = Why::new();
    let mut case = case(shared, guest, esxi);
    reasons.remark("", &case, name, &at);
    case.know("clone", if source.is_some() { "yes" } else { "no" });
    reasons.remark("clone", &case, name, &at);

    let accel = accel(shared, settings, &mut case, &mut why, name, reasons);
    let firmware = firmware(shared, source.unwrap_or(settings), &mut case, &mut why, name, reasons);
    let cpus = match settings.cpus {
        Some(cpus) => {
            written(&mut why, "cpus");
            cpus
        }
        None => reasons.choose("cpus", &case, &mut why).and_then(|c| c.parse().ok()).unwrap_or(1),
    };
    if let Some((least, rule)) = reasons.book.least("cpus", &case)
        && least.parse::<u32>().is_ok_and(|least| cpus < least)
    {
        let problem = Problem::at(&at("cpus"), rule.reason.clone(), "too few").help(format!("{least} or more"));
        reasons.problems.push(problem);
    }
    let memory = match settings.memory {
        Some(memory) => {
            written(&mut why, "memory");
            memory
        }
        None => Size(reasons.choose_size("memory", &case, &mut why)),
    };
    reasons.at_least("memory", "memory", memory, &case, &at("memory"));

    let disks = disks(shared, settings, source, name, &folder, &case, &mut why, reasons);
    let nics = nics(shared, addresses, name, &case, &mut why, reasons);
    let kernel = kernel(shared, guest, name, reasons);
    let maker = Maker {
        shared,
        name,
        settings,
        case: &case,
        why: &why,
        folder: &folder,
        accel,
        firmware,
        cpus,
        memory: memory.mib(),
        disks: &disks,
        nics: &nics,
        kernel,
        uuid: names::uuid(&lab.name, name),
    };
    let (install, stages) = maker.stages(reasons);
    let root_password = source.unwrap_or(settings).password();
    Some(Host {
        name: name.to_owned(),
        number,
        guest,
        esxi: esxi.to_string(),
        uuid: maker.uuid.clone(),
        firmware,
        install,
        clone_from: settings.clone_from.clone().map(|host| CloneOf { host, mode: settings.clone.unwrap_or_default() }),
        root_password,
        ssh_keys: keys(shared, settings, name, &case, reasons),
        ssh: endpoint(&nics, "ssh", 22),
        https: endpoint(&nics, "https", 443),
        stages,
        disks,
        nics,
        folder,
    })
}

/// Where a message about a topic of a host belongs.
pub fn place(shared: &Shared<'_>, host: &str, topic: &str) -> Span {
    let way: &[&str] = match topic {
        "bus" | "boot_disk" => &["boot_disk", "bus"],
        other => &[other],
    };
    shared.lab.host_span(host, way)
}

fn case(shared: &Shared<'_>, guest: Guest, esxi: Version) -> Case {
    let yes = |is: bool| if is { "yes" } else { "no" };
    let facts = shared.facts;
    let mut case = Case { esxi, qemu: facts.qemu, known: std::collections::BTreeMap::new() };
    case.know("guest", if guest == Guest::Standin { "standin" } else { "esxi" });
    case.know("kvm", yes(facts.kvm));
    case.know("hybrid", yes(facts.cpu.hybrid));
    case.know("legacy_cpu", yes(facts.cpu.legacy));
    case.know(
        "vendor",
        match facts.cpu.vendor {
            Vendor::Intel => "intel",
            Vendor::Amd => "amd",
            Vendor::Other => "other",
        },
    );
    case
}

fn accel(
    shared: &Shared<'_>,
    settings: &Settings,
    case: &mut Case,
    why: &mut Why,
    host: &str,
    reasons: &mut Reasons<'_>,
) -> super::Accel {
    let at = place(shared, host, "accel");
    let chosen = match settings.accel.unwrap_or_default() {
        AccelWish::Auto => reasons.choose("accel", case, why).unwrap_or_default(),
        AccelWish::Kvm => {
            written(why, "accel");
            "kvm".into()
        }
        AccelWish::Tcg => {
            written(why, "accel");
            "tcg".into()
        }
    };
    let kvm = chosen != "tcg";
    case.know("accel", if kvm { "kvm" } else { "tcg" });
    if settings.accel == Some(AccelWish::Tcg) {
        reasons.remark("accel", case, host, &|_| at.clone());
    }
    if kvm && !shared.facts.kvm {
        let rule = reasons.book.choose("accel", case).map(|(_, r)| r).filter(|r| r.fix.is_some());
        let text = match rule {
            Some(rule) => format!("{}; {}", rule.reason, rule.fix.clone().unwrap_or_default()),
            None => "`accel: kvm` is asked for, and there is no usable KVM here; `esxprep lab doctor` says why".into(),
        };
        let ids = rule.map(|r| vec![r.id.clone()]).unwrap_or_default();
        reasons.note(Weight::Blocker, Some(host), text, Some(&at), ids);
    }
    if kvm { super::Accel::Kvm } else { super::Accel::Tcg }
}

fn firmware(
    shared: &Shared<'_>,
    settings: &Settings,
    case: &mut Case,
    why: &mut Why,
    host: &str,
    reasons: &mut Reasons<'_>,
) -> Firmware {
    let at = place(shared, host, "firmware");
    let wish = match settings.firmware.unwrap_or_default() {
        FirmwareWish::Auto => None,
        FirmwareWish::Bios => Some("bios".to_owned()),
        FirmwareWish::Uefi => Some("uefi".to_owned()),
    };
    if wish.is_some() {
        written(why, "firmware");
    }
    let chosen = wish.or_else(|| reasons.choose("firmware", case, why)).unwrap_or_default();
    let uefi = chosen == "uefi";
    case.know("firmware", if uefi { "uefi" } else { "bios" });
    reasons.remark("firmware", case, host, &|_| at.clone());
    if uefi && shared.facts.ovmf.is_none() {
        let text = "UEFI needs OVMF, which is not here; install it (Debian, Ubuntu: ovmf; Fedora: edk2-ovmf)";
        reasons.note(Weight::Blocker, Some(host), text.into(), Some(&at), Vec::new());
    }
    if uefi { Firmware::Uefi } else { Firmware::Bios }
}

#[allow(clippy::too_many_arguments)]
fn disks(
    shared: &Shared<'_>,
    settings: &Settings,
    source: Option<&Settings>,
    host: &str,
    folder: &std::path::Path,
    case: &Case,
    why: &mut Why,
    reasons: &mut Reasons<'_>,
) -> Vec<Disk> {
    let lab = shared.lab;
    let disk = |id: String, wish: &DiskWish, size: u64| Disk {
        file: folder.join(format!("{id}.qcow2")),
        size,
        serial: wish.serial.clone().unwrap_or_else(|| names::serial(&lab.name, host, &id)),
        wwn: names::wwn(&lab.name, host, &id),
        ssd: wish.ssd.unwrap_or(false),
        image: wish.image.as_ref().map(|i| lab.resolve(i)),
        id,
    };
    let boot = settings.boot_disk.clone().unwrap_or_default();
    // A clone's boot disk has the size of the disk that it is a copy of.
    let size = boot.size.or(source.and_then(|s| s.boot_disk.as_ref()).and_then(|d| d.size));
    let size = match size {
        Some(size) => {
            written(why, "boot_size");
            size
        }
        None => Size(reasons.choose_size("boot_size", case, why)),
    };
    let at = lab.host_span(host, &["boot_disk", "size"]);
    if boot.image.is_none() {
        reasons.at_least("boot_size", "a boot disk", size, case, &at);
    }
    let data = settings.data_disks.as_deref().unwrap_or_default();
    let yes = |is: bool| if is { "yes" } else { "no" };
    let sized = case
        .with("boot_below_32", yes(size < Size::gib(32)))
        .with("boot_below_70", yes(size < Size::gib(70)))
        .with("data_disks", data.len().to_string());
    reasons.remark("boot_below_32", &sized, host, &|_| at.clone());
    reasons.remark("boot_below_70", &sized, host, &|_| at.clone());
    let mut all = vec![disk("boot".into(), &boot, size.0)];
    for (i, wish) in data.iter().enumerate() {
        let size = match wish.size {
            Some(size) => size.0,
            None => reasons.choose_size("data_size", case, why),
        };
        all.push(disk(format!("data{i}"), wish, size));
    }
    all
}

fn nics(
    shared: &Shared<'_>,
    addresses: &Addresses,
    host: &str,
    case: &Case,
    why: &mut Why,
    reasons: &mut Reasons<'_>,
) -> Vec<Nic> {
    let lab = shared.lab;
    let Some((_, wishes)) = shared.nics.iter().find(|(n, _)| *n == host) else { return Vec::new() };
    let mut all = Vec::new();
    for (i, wish) in wishes.iter().enumerate() {
        let index = i.to_string();
        let Some((network, wanted)) = wish.network.as_ref().and_then(|n| lab.networks.get_key_value(n)) else {
            continue;
        };
        let address = addresses.get(&(host.to_owned(), i)).cloned().unwrap_or(GuestAddress::None);
        let mut backend = network::backend(shared, host, i, network, &address);
        let mut topics = Why::new();
        let jumbo = wanted.mtu.is_some_and(|m| m > 1500);
        let mut case = case
            .with("backend", backend.kind())
            .with("jumbo", if jumbo { "yes" } else { "no" })
            .with("nic_number", index.clone())
            .with("isolated", if wanted.isolated { "yes" } else { "no" });
        let model = match wish.model {
            Some(model) => {
                written(&mut topics, "nic");
                model
            }
            None => {
                let word = reasons.choose("nic", &case, &mut topics).unwrap_or_default();
                serde_json::from_value(serde_json::Value::String(word)).unwrap_or(NicModel::E1000e)
            }
        };
        case.know("nic", model.name());
        let at = |topic: &str| match topic {
            "network_type" => lab.span(&["networks", network, "type"]),
            "mtu" => lab.span(&["networks", network, "mtu"]),
            _ => lab.host_span(host, &["nics", &index, "model"]),
        };
        reasons.remark("nic", &case, host, &at);
        for topic in ["backend", "nic_number"] {
            // What asks about the model as well was said already.
            reasons.remark_unless(topic, "nic", &case, host, &at);
        }
        if let Backend::Tap { vnet_hdr_off, .. } = &mut backend {
            *vnet_hdr_off = reasons.choose("vnet_hdr", &case, &mut topics).as_deref() == Some("off");
        }
        let mut forwards = Vec::new();
        for (n, (name, forward)) in names::forwards(lab, wishes, i).into_iter().enumerate() {
            let key = super::ForwardKey {
                host: host.to_owned(),
                nic: i,
                protocol: forward.protocol,
                guest_port: forward.guest,
            };
            let Some(port) = shared.ports.get(&key).copied() else {
                let text = format!("no port of this machine is free for `{name}` of `{host}`");
                reasons.problems.push(Problem::nowhere(text).help("close some programs, or write `host: PORT`"));
                continue;
            };
            let low = case.with("privileged", if port < 1024 { "yes" } else { "no" });
            let span = lab.host_span(host, &["nics", &index, "forwards", &n.to_string()]);
            reasons.remark("privileged", &low, host, &|_| span.clone());
            forwards.push(Forward { name, protocol: forward.protocol, host_port: port, guest_port: forward.guest });
        }
        if wish.mac.is_some() {
            written(&mut topics, "mac");
        } else {
            because(&mut topics, "mac", "mac-derived");
        }
        for (topic, rules) in topics {
            let of_nic = format!("{topic}:net{i}");
            rules.iter().for_each(|r| because(why, &of_nic, r));
        }
        let mac = shared.macs.get(&(host.to_owned(), i)).cloned().unwrap_or_default();
        all.push(Nic {
            id: format!("net{i}"),
            network: network.clone(),
            model,
            mac,
            slot: FIRST_NIC_SLOT + i as u8,
            backend,
            forwards,
            address,
            mtu: wanted.mtu,
        });
    }
    all
}

fn kernel(shared: &Shared<'_>, guest: Guest, host: &str, reasons: &mut Reasons<'_>) -> Option<DirectKernel> {
    if guest != Guest::Standin {
        return None;
    }
    if shared.facts.standin.is_none() {
        let text = "the stand-in's kernel and files are not there yet";
        reasons.note(Weight::Blocker, Some(host), text.into(), Some(&place(shared, host, "guest")), Vec::new());
    }
    shared.facts.standin.clone()
}

fn endpoint(nics: &[Nic], name: &str, port: u16) -> Endpoint {
    if let Some(forward) = nics.iter().flat_map(|n| &n.forwards).find(|f| f.name == name) {
        return Endpoint::Forward { port: forward.host_port };
    }
    match nics.first().map(|n| &n.address) {
        Some(GuestAddress::Static { address, .. }) => Endpoint::Address { address: address.addr(), port },
        _ => Endpoint::Unknown,
    }
}

/// Public keys as they are, files resolved.
fn keys(shared: &Shared<'_>, settings: &Settings, host: &str, case: &Case, reasons: &mut Reasons<'_>) -> Vec<String> {
    let rule = reasons.book.choose("ed25519", case).filter(|(v, _)| *v == "no").map(|(_, r)| r.clone());
    let mut all = Vec::new();
    for (i, key) in settings.ssh_keys.iter().flat_map(|w| &w.0).enumerate() {
        let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|start| key.starts_with(start)) && key.contains(' ');
        if let Some(rule) = rule.as_ref().filter(|_| is_key && key.starts_with("ssh-ed25519")) {
            let at = shared.lab.host_span(host, &["ssh_keys", &i.to_string()]);
            let problem = Problem::at(&at, rule.reason.clone(), "an Ed25519 key").maybe_help(rule.fix.clone());
            reasons.problems.push(problem);
        }
        let file = || -> PathBuf { if key.starts_with("~/") { PathBuf::from(key) } else { shared.lab.resolve(key) } };
        all.push(if is_key { key.clone() } else { file().display().to_string() });
    }
    all
}

/// The chipset that a wish names.
pub fn chipset(wish: Option<MachineWish>) -> Option<&'static str> {
    match wish.unwrap_or_default() {
        MachineWish::Auto => None,
        MachineWish::Pc => Some("pc"),
        MachineWish::Q35 => Some("q35"),
    }
}

/// A bus by its word in the table.
pub fn bus(word: &str) -> Option<Bus> {
    [Bus::Ide, Bus::Ahci, Bus::Usb, Bus::Nvme, Bus::Pvscsi].into_iter().find(|b| b.name() == word)
}

impl Backend {
    /// Its word in the table.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User { .. } => "user",
            Self::Tap { .. } => "tap",
            Self::Dgram { .. } => "dgram",
        }
    }
}
