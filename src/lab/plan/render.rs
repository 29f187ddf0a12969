//! What `lab plan` prints: for people, and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Value, json};

use super::{Backend, Endpoint, GuestAddress, Host, Network, Nic, Plan, Stage, Weight};
use crate::lab::argv::{Arg, Style, argv};
use crate::lab::rules::{Book, LAB_FILE};
use crate::lab::spec::{CloneMode, Delivery, Firmware, Guest, NetworkKind, Size};

/// How a plan is shown.
#[derive(Debug, Clone, Copy)]
pub struct Show<'a> {
    /// The program, as it is started.
    pub program: &'a str,
    /// Whether every argument is explained.
    pub why: bool,
    /// How machines are started.
    pub style: Style,
}

impl Default for Show<'_> {
    fn default() -> Self {
        Self { program: crate::lab::qemu::PROGRAM, why: false, style: Style::default() }
    }
}

/// A plan for people: networks, hosts, stages with their command lines, notes; with `why` the rules behind all of it.
pub fn human(plan: &Plan, book: &Book, show: Show<'_>) -> String {
    let mut out = Out { text: String::new(), book, show, used: BTreeSet::new() };
    let (hosts, s) = (plan.hosts.len(), if plan.hosts.len() == 1 { "" } else { "s" });
    out.line(0, &format!("Lab {}: {hosts} host{s}, for QEMU {}", plan.lab, plan.qemu));
    out.line(0, &format!("  files in {}, sockets in {}", plan.folder.display(), plan.runtime.display()));
    if plan.needs_root() {
        out.line(0, "  needs root, for bridges and taps");
    }
    out.line(0, "\nNetworks");
    plan.networks.iter().for_each(|n| out.network(n));
    plan.hosts.iter().for_each(|h| out.host(h));
    out.notes(plan);
    if show.why {
        out.rules();
    }
    out.text
}

/// A plan as JSON: the plan itself, the line of every stage with the rules of every argument, and these rules.
pub fn json(plan: &Plan, book: &Book, show: Show<'_>) -> Value {
    let mut used = BTreeSet::new();
    let mut lines = Vec::new();
    for host in &plan.hosts {
        for stage in &host.stages {
            let args = argv(&stage.machine, show.style);
            used.extend(args.iter().flat_map(|a| a.why.clone()));
            lines.push(json!({"host": host.name, "stage": stage.name, "program": show.program, "args": args}));
        }
    }
    used.extend(plan.notes.iter().flat_map(|n| n.why.clone()));
    let rules: Vec<&crate::lab::rules::Rule> = used.iter().filter_map(|id| book.rule(id)).collect();
    json!({"plan": plan, "lines": lines, "rules": rules})
}

/// A word for a shell; `=` and `,` need no quotes, and without them a line of QEMU is easier to read.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { shell_words::quote(word).into_owned() }
}

/// A line for a shell, an argument a line.
pub fn command_line(program: &str, args: &[Arg]) -> String {
    let mut out = quote(program);
    for arg in args {
        let words: Vec<_> = arg.words.iter().map(|w| quote(w)).collect();
        let _ = write!(out, " \\\n  {}", words.join(" "));
    }
    out
}

struct Out<'a> {
    text: String,
    book: &'a Book,
    show: Show<'a>,
    used: BTreeSet<String>,
}

impl Out<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn network(&mut self, network: &Network) {
        let mut parts = vec![network.kind.name().to_owned()];
        parts.extend(network.bridge.clone());
        match (network.address, network.subnet) {
            (Some(address), _) => parts.push(format!("this machine has {address}")),
            (None, Some(subnet)) => parts.push(subnet.to_string()),
            (None, None) => {}
        }
        parts.extend(network.mtu.map(|m| format!("MTU {m}")));
        parts.extend(network.vlan.map(|v| format!("VLAN {v}")));
        parts.extend(network.datapath.map(|d| format!("{d:?} datapath").to_lowercase()));
        if network.isolated {
            parts.push("isolated".into());
        }
        if network.kind == NetworkKind::Hub {
            parts.push("switched by esxprep".into());
        }
        let (name, count) = (&network.name, network.ports.len());
        self.line(2, &format!("{name:<12} {}; {count} NICs", parts.join(", ")));
    }

    fn host(&mut self, host: &Host) {
        let what = match host.guest {
            Guest::Esxi => format!("ESXi {}", host.esxi),
            Guest::Standin => format!("the stand-in, as ESXi {}", host.esxi),
        };
        let firmware = match host.firmware {
            Firmware::Bios => "BIOS",
            Firmware::Uefi => "UEFI",
        };
        let size = host.last().map(|s| (s.machine.cpus, s.machine.memory, s.machine.accel.name()));
        let (cpus, memory, accel) = size.unwrap_or((0, 0, ""));
        let memory = Size(memory << 20);
        let s = if cpus == 1 { "" } else { "s" };
        self.line(0, &format!("\n{}: {what}, {firmware}, {cpus} CPU{s}, {memory}, {accel}", host.name));
        if let Some(from) = &host.clone_from {
            let how = match from.mode {
                CloneMode::Auto => "the cheapest way that the file system allows",
                CloneMode::Linked => "linked",
                CloneMode::Reflink => "sharing blocks",
                CloneMode::Full => "a full copy",
            };
            self.line(2, &format!("clone of {}, {how}", from.host));
        }
        if let Some(install) = &host.install {
            let how = match install.delivery {
                Delivery::Iso => "inside a rebuilt ISO",
                Delivery::Http => "over HTTP, from this machine's loopback",
                Delivery::Usb => "on a USB stick",
                Delivery::Keys => "typed",
                Delivery::Auto => "somehow",
            };
            let iso = install.iso.as_ref().map_or_else(|| "an ISO of its own".into(), |i| i.display().to_string());
            self.line(2, &format!("installed from {iso}, kickstart {how}"));
            let mut words: Vec<(&str, &[String])> = Vec::new();
            for (kind, all) in [("boot line", &install.boot_options), ("install line", &install.install_options)] {
                words.extend(all.iter().map(|r| (kind, r.why.as_slice())));
                let all: Vec<&str> = all.iter().map(|r| r.text.as_str()).collect();
                if !all.is_empty() {
                    self.line(4, &format!("{kind}: {}", all.join(" ")));
                }
            }
            self.line(4, &format!("at its end: {}", install.reboot.text));
            let why: Vec<String> = words.iter().flat_map(|(_, w)| w.iter().cloned()).collect();
            self.reasons(6, &why);
            self.reasons(6, &install.reboot.why);
        }
        for disk in &host.disks {
            let more = if disk.ssd { ", no rotation" } else { "" };
            let size = Size(disk.size).to_string();
            let from = disk.image.as_ref().map(|i| format!(", from {}", i.display())).unwrap_or_default();
            self.line(2, &format!("disk {:<6} {size:>8}  serial {}{more}{from}", disk.id, disk.serial));
        }
        for nic in &host.nics {
            self.nic(nic);
        }
        for (name, at) in [("SSH", &host.ssh), ("web", &host.https)] {
            let at = match (name, at) {
                ("SSH", Endpoint::Forward { port }) => format!("ssh -p {port} root@127.0.0.1"),
                ("SSH", Endpoint::Address { address, .. }) => format!("ssh root@{address}"),
                (_, Endpoint::Forward { port }) => format!("https://127.0.0.1:{port}/"),
                (_, Endpoint::Address { address, .. }) => format!("https://{address}/"),
                (_, Endpoint::Unknown) => "known once it runs: it asks for its address".into(),
            };
            self.line(2, &format!("{name:<4} {at}"));
        }
        host.stages.iter().for_each(|s| self.stage(s));
    }

    fn nic(&mut self, nic: &Nic) {
        let to = match &nic.backend {
            Backend::User { .. } => String::new(),
            Backend::Tap { ifname, .. } => format!(", tap {ifname}"),
            Backend::Dgram { .. } => String::new(),
        };
        let address = match &nic.address {
            GuestAddress::Dhcp => ", asks for its address".to_owned(),
            GuestAddress::Static { address, .. } => format!(", {address}"),
            GuestAddress::None => String::new(),
        };
        let (id, model, network) = (&nic.id, nic.model.name(), &nic.network);
        self.line(2, &format!("NIC  {id:<6} {model} {} on {network}{address}{to}", nic.mac));
        for f in &nic.forwards {
            let protocol = if f.protocol.name() == "udp" { "/udp" } else { "" };
            self.line(14, &format!("127.0.0.1:{}{protocol} to {} ({})", f.host_port, f.guest_port, f.name));
        }
    }

    fn stage(&mut self, stage: &Stage) {
        let machine = &stage.machine;
        let mut parts = vec![machine.chipset.name().to_owned()];
        parts.extend(machine.disks.iter().map(|d| format!("{} on {}", d.disk.id, d.bus.name())));
        parts.extend(machine.cd.as_ref().map(|cd| format!("CD on {}", cd.bus.name())));
        self.line(2, &format!("stage {}: {}", stage.name, parts.join(", ")));
        for playbook in &stage.apply {
            self.line(4, &format!("then apply {}", playbook.display()));
        }
        let args = argv(machine, self.show.style);
        if !self.show.why {
            let line = command_line(self.show.program, &args);
            line.lines().for_each(|l| self.line(4, l));
            return;
        }
        self.line(4, self.show.program);
        for arg in &args {
            let words: Vec<_> = arg.words.iter().map(|w| quote(w)).collect();
            self.line(6, &words.join(" "));
            self.reasons(10, &arg.why);
        }
    }

    fn reasons(&mut self, indent: usize, why: &[String]) {
        if !self.show.why {
            return;
        }
        for id in why {
            self.used.insert(id.clone());
            match self.book.rule(id) {
                Some(rule) => self.line(indent, &format!("# {id}: {}", rule.reason)),
                None if id == LAB_FILE => self.line(indent, "# the lab file says so"),
                None => self.line(indent, &format!("# {id}")),
            }
        }
    }

    fn notes(&mut self, plan: &Plan) {
        if plan.notes.is_empty() {
            return;
        }
        self.line(0, "\nNotes");
        let mut notes: Vec<_> = plan.notes.iter().collect();
        notes.sort_by_key(|n| std::cmp::Reverse(n.weight));
        for note in notes {
            let weight = match note.weight {
                Weight::Blocker => "stops `up`",
                Weight::Warning => "warning",
                Weight::Info => "note",
            };
            let host = note.host.as_ref().map(|h| format!(" ({h})")).unwrap_or_default();
            let place = note.place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default();
            self.line(2, &format!("{weight}{host}: {place}{}", note.text));
            self.used.extend(note.why.iter().cloned());
            for id in &note.why {
                self.line(6, &format!("rule {id}"));
            }
        }
    }

    /// What the rules stand on.
    fn rules(&mut self) {
        self.line(0, "\nRules");
        let used: Vec<String> = self.used.iter().cloned().collect();
        for rule in used.iter().filter_map(|id| self.book.rule(id)) {
            let versions = match (rule.esxi.is_any(), rule.qemu.is_any()) {
                (true, true) => String::new(),
                (false, true) => format!(" [ESXi {}]", rule.esxi),
                (true, false) => format!(" [QEMU {}]", rule.qemu),
                (false, false) => format!(" [ESXi {}, QEMU {}]", rule.esxi, rule.qemu),
            };
            self.line(2, &format!("{}{versions}: {}", rule.id, rule.reason));
            self.line(6, &format!("{}; source: {}", rule.standing(), rule.source));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{able, lab};
    use super::*;
    use crate::lab::plan::plan;
    use crate::lab::rules::book;

    fn shown(why: bool) -> String {
        let text = "name: x\nesxi: \"8.0\"\niso: my iso.iso\nhosts: 2\nnetworks: {lan: {type: bridge, address: 10.1.0.1/24, mtu: 9000}}\nnics: [{model: vmxnet3}]\n";
        let plan = plan(&lab(text), &able("10.0.2")).unwrap();
        human(&plan, book(), Show { why, ..Show::default() })
    }

    #[test]
    fn people_see_everything_and_can_paste_the_line() {
        let text = shown(false);
        for part in [
            "Lab x: 2 hosts, for QEMU 10.0.2",
            "needs root",
            "this machine has 10.1.0.1/24, MTU 9000; 2 NICs",
            "esx1: ESXi 8.0.0, BIOS, 4 CPUs, 8GiB, kvm",
            "installed from my iso.iso, kickstart inside a rebuilt ISO",
            "boot line: logPort=com1 gdbPort=none systemMediaSize=min",
            "ssh root@10.1.0.12",
            "stage run: pc, boot on ahci",
            "no datastore is left",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // What is printed is what a shell would start.
        let start = text.find("    qemu-system-x86_64 \\").unwrap();
        let line: String = text[start..].split("\n  stage").next().unwrap().replace("\\\n", " ");
        let words = shell_words::split(&line).unwrap();
        let lab = lab(
            "name: x\nesxi: \"8.0\"\niso: my iso.iso\nhosts: 2\nnetworks: {lan: {type: bridge, address: 10.1.0.1/24, mtu: 9000}}\nnics: [{model: vmxnet3}]\n",
        );
        let plan = plan(&lab, &able("10.0.2")).unwrap();
        let args = crate::lab::argv::words(&argv(&plan.hosts[0].stages[0].machine, Style::default()));
        assert_eq!(words[1..], args[..]);
        assert!(!text.contains("# "), "{text}");
    }

    #[test]
    fn why_explains_with_source_and_confidence() {
        let text = shown(true);
        for part in [
            "# vmxnet3-tap-vnet-hdr: since 8.1 QEMU counts",
            "# the lab file says so",
            "vmxnet3-tap-vnet-hdr [QEMU >=8.1]",
            "boot-size-8-least",
            "source: QEMU commit c445f200ad24",
            "confidence high; verified: lengths measured",
            "not verified",
        ] {
            // The least size refuses nothing here, and is not spoken of.
            assert_eq!(text.contains(part), part != "boot-size-8-least", "{part}: {text}");
        }
    }

    #[test]
    fn json_has_the_lines_and_their_rules() {
        let plan = plan(&lab("name: x\nesxi: \"6.5\"\nguest: standin\n"), &able("10.0.2")).unwrap();
        let value = json(&plan, book(), Show::default());
        assert_eq!(value["lines"][0]["host"], "esx1");
        assert_eq!(value["lines"][0]["args"][0]["words"][0], "-name");
        let rules: Vec<&str> = value["rules"].as_array().unwrap().iter().filter_map(|r| r["id"].as_str()).collect();
        assert!(rules.contains(&"machine-ide-pc") && rules.contains(&"qmp-two"), "{rules:?}");
        assert_eq!(serde_json::from_value::<Plan>(value["plan"].clone()).unwrap(), plan);
    }
}
