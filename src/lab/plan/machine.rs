//! The stages of a host: which chipset, which disk on which bus, and how it is installed.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::host::{bus, chipset};
use super::network;
use super::reasons::{Reasons, Why, because, written};
use super::{
    Accel, Backend, Cd, Chipset, DirectKernel, Disk, DiskSlot, Install, Machine, Nic, Reasoned, Shared, Stage,
    StageKind, Uefi, Weight,
};
use crate::lab::rules::Case;
use crate::lab::spec::{Bus, Console, Delivery, Firmware, Guest, MachineWish, Settings, StageDisks, StageWish, Words};
use crate::playbook::{Problem, Span};

/// Makes the stages of a host.
pub struct Maker<'a> {
    pub shared: &'a Shared<'a>,
    pub name: &'a str,
    pub settings: &'a Settings,
    pub case: &'a Case,
    pub why: &'a Why,
    pub folder: &'a Path,
    pub accel: Accel,
    pub firmware: Firmware,
    pub cpus: u32,
    /// MiB.
    pub memory: u64,
    pub disks: &'a [Disk],
    pub nics: &'a [Nic],
    pub kernel: Option<DirectKernel>,
    pub uuid: String,
}

/// Where the disks of a stage are: a bus for each, or none; boot disk first. With the place in the file of each.
struct Places {
    buses: Vec<Option<Bus>>,
    spans: Vec<Span>,
    why: Why,
}

/// Modules that playbooks of earlier stages disabled; none: it is not known what they do.
#[derive(Default)]
struct Disabled(Option<Vec<String>>);

impl Maker<'_> {
    /// All stages, and how the host is installed.
    pub fn stages(&self, reasons: &mut Reasons<'_>) -> (Option<Install>, Vec<Stage>) {
        let wishes =
            self.settings.stages.clone().filter(|s| !s.is_empty()).unwrap_or_else(|| vec![StageWish::default()]);
        let only = self.settings.stages.as_ref().is_none_or(Vec::is_empty);
        let places: Vec<Places> = wishes.iter().enumerate().map(|(i, w)| self.places(i, w, only, reasons)).collect();
        self.moves(&places, reasons);
        let mut stages = Vec::new();
        let boot = places.first().and_then(|p| p.buses.first().copied().flatten()).unwrap_or(Bus::Ahci);
        let install = self.install(boot, reasons);
        let install = install.map(|(install, stage)| {
            stages.push(stage);
            install
        });
        let mut disabled = Disabled(Some(Vec::new()));
        let last = wishes.len() - 1;
        for (i, (wish, places)) in wishes.iter().zip(&places).enumerate() {
            let mut apply = self.playbooks(&wish.apply);
            let mut at = vec![(i, apply.len())];
            if i == last {
                let more = self.playbooks(&self.settings.apply);
                at.push((usize::MAX, more.len()));
                apply.extend(more);
            }
            self.remark_disks(places, &disabled, reasons);
            let stage_at = |key: &str| {
                if only { self.span(&[key]) } else { self.span(&["stages", &i.to_string(), key]) }
            };
            let machine = self.machine(wish.machine, places, &stage_at, reasons);
            self.check_playbooks(&apply, &at, &mut disabled, reasons);
            let expect_disks = machine.disks.iter().map(|d| d.disk.id.clone()).collect();
            let name = wish.name.clone().unwrap_or_else(|| if only { "run".into() } else { format!("stage{}", i + 1) });
            stages.push(Stage { name, kind: StageKind::Boot, machine, apply, expect_disks });
        }
        (install, stages)
    }

    fn span(&self, way: &[&str]) -> Span {
        self.shared.lab.host_span(self.name, way)
    }

    /// The address under which the guest reaches this machine on its first network.
    fn server(&self) -> Option<Ipv4Addr> {
        let nic = self.nics.first()?;
        let network = self.shared.lab.networks.get(&nic.network)?;
        network::this_machine(network)
    }

    fn playbooks(&self, words: &Option<Words>) -> Vec<PathBuf> {
        words.iter().flat_map(|w| &w.0).map(|w| self.shared.lab.resolve(w)).collect()
    }

    fn places(&self, number: usize, wish: &StageWish, only: bool, reasons: &Reasons<'_>) -> Places {
        let index = number.to_string();
        let mut why = Why::new();
        let mut buses = Vec::new();
        let mut spans = Vec::new();
        let machine = chipset(wish.machine).or(chipset(self.settings.machine));
        let case = self.case.with("machine_wish", machine.unwrap_or("auto"));
        for (d, disk) in self.disks.iter().enumerate() {
            let own = match d {
                0 => self.settings.boot_disk.as_ref().and_then(|b| b.bus),
                _ => self.settings.data_disks.as_ref().and_then(|all| all.get(d - 1)).and_then(|b| b.bus),
            };
            let of_stage: Option<Option<Bus>> = match (d, &wish.data_disks) {
                (0, _) => wish.boot_disk.map(Some),
                (_, Some(StageDisks::All(bus))) => Some(*bus),
                (_, Some(StageDisks::Each(each))) => each.get(d - 1).copied(),
                (_, None) => None,
            };
            let topic = if d == 0 { "boot_bus" } else { "data_bus" };
            let mut here = Why::new();
            let chosen = of_stage
                .unwrap_or_else(|| own.or_else(|| reasons.choose(topic, &case, &mut here).as_deref().and_then(bus)));
            if here.is_empty() {
                written(&mut here, topic);
            }
            here.values().flatten().for_each(|r| because(&mut why, &format!("disk:{}", disk.id), r));
            let at = d.saturating_sub(1).to_string();
            spans.push(match (d, of_stage.is_some() && !only) {
                (0, true) => self.span(&["stages", &index, "boot_disk"]),
                (0, false) => self.span(&["boot_disk", "bus"]),
                (_, true) => self.span(&["stages", &index, "data_disks"]),
                (_, false) => self.span(&["data_disks", &at, "bus"]),
            });
            buses.push(chosen);
        }
        Places { buses, spans, why }
    }

    /// A data disk that changes its controller gets another name.
    fn moves(&self, places: &[Places], reasons: &mut Reasons<'_>) {
        let Some(last) = places.last() else { return };
        for d in 1..self.disks.len() {
            let mut seen: Vec<Bus> = places.iter().filter_map(|p| p.buses.get(d).copied().flatten()).collect();
            seen.dedup();
            let case = self.case.with("data_moves", if seen.len() > 1 { "yes" } else { "no" });
            reasons.remark("data_moves", &case, self.name, &|_| last.spans[d].clone());
        }
    }

    fn remark_disks(&self, places: &Places, disabled: &Disabled, reasons: &mut Reasons<'_>) {
        for ((bus, at), disk) in places.buses.iter().zip(&places.spans).zip(self.disks) {
            let Some(bus) = bus else { continue };
            let mut case = self.case.with("bus", bus.name()).with("ssd", if disk.ssd { "yes" } else { "no" });
            if let Some(modules) = &disabled.0 {
                for (topic, module) in [("vmw_ahci_off", "vmw_ahci"), ("vmkusb_off", "vmkusb")] {
                    case.know(topic, if modules.iter().any(|m| m == module) { "yes" } else { "no" });
                }
            }
            // Whether the chipset has it is asked with the machine.
            reasons.remark_unless("bus", "machine", &case, self.name, &|_| at.clone());
        }
    }

    /// What the playbooks of a stage are for, and what they disable.
    fn check_playbooks(
        &self,
        apply: &[PathBuf],
        at: &[(usize, usize)],
        disabled: &mut Disabled,
        reasons: &mut Reasons<'_>,
    ) {
        let mut all = apply.iter();
        for (stage, count) in at {
            for (i, path) in all.by_ref().take(*count).enumerate() {
                let (stage, item) = (stage.to_string(), i.to_string());
                let at = match *stage {
                    _ if stage == usize::MAX.to_string() => self.span(&["apply", &item]),
                    _ => self.span(&["stages", &stage, "apply", &item]),
                };
                let Some(facts) = self.shared.facts.playbooks.get(path) else {
                    disabled.0 = None;
                    continue;
                };
                if let Some(error) = &facts.error {
                    reasons.problems.push(Problem::at(&at, error.clone(), "this playbook"));
                    continue;
                }
                let line = self.case.esxi.line();
                if !facts.releases.is_empty() && !facts.releases.contains(&line) {
                    let made = facts.releases.join(", ");
                    let problem = Problem::at(
                        &at,
                        format!("this playbook is made for ESXi {made}, and the host is {line}"),
                        "not for it",
                    );
                    reasons.problems.push(problem.help(format!("`{}` has the line `esxi: {made}`", path.display())));
                }
                for module in &facts.disables {
                    let case = self.case.with("disables", module.as_str());
                    reasons.remark("disables", &case, self.name, &|_| at.clone());
                    if let Some(modules) = &mut disabled.0 {
                        modules.push(module.clone());
                    }
                }
            }
        }
    }

    fn machine(
        &self,
        wish: Option<MachineWish>,
        places: &Places,
        at: &dyn Fn(&str) -> Span,
        reasons: &mut Reasons<'_>,
    ) -> Machine {
        let mut why = self.why.clone();
        for (topic, rules) in &places.why {
            rules.iter().for_each(|r| because(&mut why, topic, r));
        }
        let board = self.chipset(wish, &places.buses, &mut why, reasons);
        let mut case = self.case.with("machine", board.name());
        for ((bus, span), disk) in places.buses.iter().zip(&places.spans).zip(self.disks) {
            let Some(bus) = bus else { continue };
            let case = case.with("bus", bus.name());
            let given = chipset(wish).or(chipset(self.settings.machine)).is_some();
            let place = if given { at("machine") } else { span.clone() };
            for rule in reasons.book.remarks("machine", &case).into_iter().filter(|r| r.asks().contains("bus")) {
                let problem = Problem::at(&place, rule.reason.clone(), "here").maybe_help(rule.fix.clone());
                let problem = problem.also(span, "and this disk is there");
                reasons.problems.push(problem.help(format!("the disk `{}` is on `{}`", disk.id, bus.name())));
            }
        }
        for (topic, bus, most) in [
            ("ide_full", Bus::Ide, 3),
            ("ahci_full", Bus::Ahci, 6),
            ("usb_full", Bus::Usb, 4),
            ("nvme_full", Bus::Nvme, 6),
        ] {
            let count = places.buses.iter().filter(|b| **b == Some(bus)).count();
            case.know(topic, if count > most { "yes" } else { "no" });
            reasons.remark(topic, &case, self.name, &|_| at("data_disks"));
        }
        let facts = self.shared.facts;
        let socket = |end: &str| facts.runtime.join(format!("{}.{end}", self.name));
        let slot = |(disk, bus): (&Disk, Option<Bus>)| {
            let bootindex = (disk.id == "boot").then_some(1);
            Some(DiskSlot { disk: disk.clone(), bus: bus?, bootindex })
        };
        let mut cpu_why = Why::new();
        let cpu = match &self.settings.cpu {
            Some(cpu) => {
                written(&mut cpu_why, "cpu");
                cpu.clone()
            }
            None => reasons.choose("cpu", self.case, &mut cpu_why).unwrap_or_else(|| "max".into()),
        };
        why.extend(cpu_why);
        for (topic, set) in [("usb_controller", Bus::Usb), ("stick_controller", Bus::Usb)] {
            if topic == "stick_controller" || places.buses.contains(&Some(set)) {
                let _ = reasons.choose(topic, &case, &mut why);
            }
        }
        Machine {
            name: format!("{}/{}", self.shared.lab.name, self.name),
            uuid: self.uuid.clone(),
            chipset: board,
            accel: self.accel,
            cpu,
            cpus: self.cpus,
            memory: self.memory,
            uefi: match (&self.firmware, &facts.ovmf) {
                (Firmware::Uefi, Some((code, vars))) => {
                    Some(Uefi { code: code.clone(), vars_template: vars.clone(), vars: self.folder.join("vars.qcow2") })
                }
                _ => None,
            },
            disks: self.disks.iter().zip(places.buses.iter().copied()).filter_map(slot).collect(),
            cd: None,
            stick: None,
            nics: self.nics.to_vec(),
            kernel: self.kernel.clone(),
            qmp: socket("qmp"),
            qmp_user: socket("mon"),
            serial: socket("ser"),
            serial_log: self.folder.join("serial.log"),
            pidfile: socket("pid"),
            vnc: (self.settings.console == Some(Console::Vnc)).then(|| socket("vnc")),
            exit_on_reboot: false,
            why,
        }
    }

    fn chipset(
        &self,
        wish: Option<MachineWish>,
        buses: &[Option<Bus>],
        why: &mut Why,
        reasons: &Reasons<'_>,
    ) -> Chipset {
        let given = chipset(wish).or(chipset(self.settings.machine));
        let word = match given {
            Some(word) => {
                written(why, "machine");
                word.to_owned()
            }
            None => {
                let ide = buses.contains(&Some(Bus::Ide));
                let case = self.case.with("needs_ide", if ide { "yes" } else { "no" });
                reasons.choose("machine", &case, why).unwrap_or_default()
            }
        };
        if word == "q35" { Chipset::Q35 } else { Chipset::Pc }
    }

    fn install(&self, boot: Bus, reasons: &mut Reasons<'_>) -> Option<(Install, Stage)> {
        let settings = self.settings;
        let standin = settings.guest == Some(Guest::Standin);
        let wish = settings.install.unwrap_or_default();
        let image = settings.boot_disk.as_ref().is_some_and(|b| b.image.is_some());
        if settings.clone_from.is_some() || image {
            return None;
        }
        if !standin && settings.iso.is_none() {
            let text = "nothing to install it from: `iso: FILE`, `boot_disk: {image: FILE}` or `clone_from: HOST`";
            reasons.note(Weight::Blocker, Some(self.name), text.into(), Some(&self.span(&["iso"])), Vec::new());
            return None;
        }
        let mut why = Why::new();
        let machine_wish = chipset(settings.machine).unwrap_or("auto");
        let mut case = self.case.with("machine_wish", machine_wish);
        let delivery = match wish {
            Delivery::Auto => {
                let word = reasons.choose("delivery", &case, &mut why).unwrap_or_default();
                match word.as_str() {
                    "http" => Delivery::Http,
                    "usb" => Delivery::Usb,
                    "keys" => Delivery::Keys,
                    _ => Delivery::Iso,
                }
            }
            given => {
                written(&mut why, "delivery");
                given
            }
        };
        case.know("delivery", delivery_word(delivery));
        // The installer sees the boot disk alone: it cannot take another one for it.
        let mut buses = vec![Some(boot)];
        buses.resize(self.disks.len(), None);
        let spans = self.disks.iter().map(|_| self.span(&["boot_disk", "bus"])).collect();
        let places = Places { buses, spans, why: Why::new() };
        let machine = match (delivery, chipset(settings.machine)) {
            // A CD that is read by the installer belongs on IDE.
            (Delivery::Iso, None) if self.firmware == Firmware::Bios => MachineWish::Pc,
            _ => settings.machine.unwrap_or_default(),
        };
        let mut machine = self.machine(Some(machine), &places, &|key| self.span(&[key]), reasons);
        if delivery == Delivery::Iso && chipset(settings.machine).is_none() && machine.chipset == Chipset::Pc {
            machine.why.insert("machine".into(), vec!["cd-ide".into(), "cd-not-on-ahci".into()]);
        }
        case.know("machine", machine.chipset.name());
        let cd_bus = reasons.choose("cd_bus", &case, &mut why).as_deref().and_then(bus).unwrap_or(Bus::Ide);
        case.know("cd_bus", cd_bus.name());
        let at = |topic: &str| match topic {
            "nics" => self.span(&["nics"]),
            other => self.span(&[other]),
        };
        reasons.remark("delivery", &case, self.name, &at);
        if let Some(nic) = self.nics.first() {
            let isolated = matches!(nic.backend, Backend::User { isolated: true, .. });
            let case = self
                .case
                .with("delivery", delivery_word(delivery))
                .with("nic", nic.model.name())
                .with("reaches_us", if self.server().is_some() { "yes" } else { "no" })
                .with("isolated", if isolated { "yes" } else { "no" });
            for topic in ["nic", "reaches_us", "isolated"] {
                reasons.remark_both(topic, "delivery", &case, self.name, &at);
            }
        }
        // The stand-in has an ISO of its own, shaped like ESXi's.
        let iso = match standin {
            true => self.shared.facts.standin_iso.clone(),
            false => settings.iso.as_ref().map(|i| self.shared.lab.resolve(i)),
        };
        let own = self.folder.join("install.iso");
        let (cd, rebuild) = match delivery {
            Delivery::Iso | Delivery::Http => (own, true),
            _ => (iso.clone().unwrap_or_else(|| own.clone()), iso.is_none()),
        };
        let stick = (delivery == Delivery::Usb).then(|| self.folder.join("kickstart.img"));
        machine.cd = Some(Cd { file: cd.clone(), bus: cd_bus, bootindex: Some(1) });
        machine.disks.iter_mut().for_each(|d| d.bootindex = Some(2));
        machine.stick = stick.clone();
        machine.exit_on_reboot = true;
        machine.why.extend(why);
        let words = |topic: &str, reasons: &Reasons<'_>| -> Vec<Reasoned> {
            let all = reasons.book.words(topic, &case);
            all.iter().map(|(t, r)| Reasoned { text: (*t).to_owned(), why: vec![r.id.clone()] }).collect()
        };
        let mut boot_options = words("boot_option", reasons);
        for word in settings.boot_options.iter().flat_map(|w| &w.0) {
            boot_options.push(Reasoned { text: word.clone(), why: vec![crate::lab::rules::LAB_FILE.into()] });
        }
        let mut reboot_why = Why::new();
        let reboot = reasons.choose("reboot", &case, &mut reboot_why).unwrap_or_default();
        let install = Install {
            delivery,
            iso,
            cd,
            rebuild,
            stick,
            boot_options,
            install_options: words("install_option", reasons),
            reboot: Reasoned { text: reboot, why: reboot_why.into_values().flatten().collect() },
            server: self.server(),
            no_ed25519: reasons.book.choose("ed25519", &case).is_some_and(|(v, _)| v == "no"),
        };
        let expect_disks = vec!["boot".to_owned()];
        let stage =
            Stage { name: "install".into(), kind: StageKind::Install, machine, apply: Vec::new(), expect_disks };
        Some((install, stage))
    }
}

fn delivery_word(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Auto => "auto",
        Delivery::Iso => "iso",
        Delivery::Http => "http",
        Delivery::Usb => "usb",
        Delivery::Keys => "keys",
    }
}
