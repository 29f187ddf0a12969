//! What can be wrong in a lab file that reads well, whatever the versions are.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;

use super::load::MOST_HOSTS;
use super::{AddressWish, DiskWish, Guest, Lab, NetworkKind, NicWish, Settings, StageDisks};
use crate::esxi::mac::Mac;
use crate::playbook::{Problem, Span, did_you_mean};

/// Most NICs of a host: as many slots are pinned for them.
pub const MOST_NICS: usize = 8;
/// Most data disks of a host.
const MOST_DISKS: usize = 12;
/// Most characters of a serial number: what ATA has.
pub const MOST_SERIAL: usize = 20;

/// Checks a lab.
pub fn check(lab: &Lab, problems: &mut Vec<Problem>) {
    let mut checker = Checker {
        lab,
        problems,
        macs: BTreeMap::new(),
        serials: BTreeMap::new(),
        ports: BTreeMap::new(),
        addresses: BTreeMap::new(),
    };
    checker.names();
    checker.networks();
    for (name, host) in &lab.hosts {
        checker.host(name, &host.settings);
    }
    checker.clones();
}

struct Checker<'a> {
    lab: &'a Lab,
    problems: &'a mut Vec<Problem>,
    macs: BTreeMap<Mac, Span>,
    serials: BTreeMap<String, Span>,
    ports: BTreeMap<u16, Span>,
    addresses: BTreeMap<std::net::Ipv4Addr, Span>,
}

/// Whether a name can be part of file names, interface names and DNS names.
fn good_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

const NAMES: &str =
    "at most 32 small letters, digits and `-`, a letter first: it becomes part of file and interface names";

impl Checker<'_> {
    fn refuse(&mut self, at: &Span, message: impl Into<String>, label: &str, help: impl Into<String>) {
        self.problems.push(Problem::at(at, message, label).help(help));
    }

    fn names(&mut self) {
        if !good_name(&self.lab.name) {
            let at = self.lab.span(&["name"]);
            self.refuse(&at, format!("`{}` cannot be the name of a lab", self.lab.name), "this name", NAMES);
        }
        if self.lab.hosts.len() as u64 > MOST_HOSTS {
            let at = self.lab.span(&["hosts"]);
            let count = self.lab.hosts.len();
            self.refuse(&at, format!("a lab with {count} hosts"), "here", format!("at most {MOST_HOSTS} are possible"));
        }
        if self.lab.hosts.is_empty() {
            let at = self.lab.span(&["hosts"]);
            self.refuse(&at, "the lab has no hosts", "none here", "write `hosts: 2`, or leave the key out for one");
        }
        for name in self.lab.hosts.keys() {
            if !good_name(name) {
                let at = self.lab.host_span(name, &[]);
                self.refuse(&at, format!("`{name}` cannot be the name of a host"), "this name", NAMES);
            }
        }
    }

    fn networks(&mut self) {
        for (name, network) in &self.lab.networks {
            let span = |key: &str| self.lab.span(&["networks", name, key]);
            let kind = network.kind.name();
            let mut wrong: Vec<(Span, String, &str, String)> = Vec::new();
            if !good_name(name) {
                let at = self.lab.span(&["networks", name]);
                wrong.push((at, format!("`{name}` cannot be the name of a network"), "this network", NAMES.into()));
            }
            let mut only = |key: &str, given: bool, kinds: &[NetworkKind], why: &str| {
                if given && !kinds.contains(&network.kind) {
                    let fits: Vec<&str> = kinds.iter().map(|k| k.name()).collect();
                    let message = format!("a network of type `{kind}` has no `{key}`");
                    wrong.push((
                        span(key),
                        message,
                        "not here",
                        format!("{why}; types that have it: {}", fits.join(", ")),
                    ));
                }
            };
            use NetworkKind::{Bridge, Hub, Nat, Ovs};
            only("address", network.address.is_some(), &[Bridge, Ovs], "this machine has no interface on it");
            only("datapath", network.datapath.is_some(), &[Ovs], "it says how Open vSwitch moves frames");
            only("vlan", network.vlan.is_some(), &[Ovs, Hub], "it knows no VLANs");
            only("isolated", network.isolated, &[Nat], "it leads nowhere by itself");
            only(
                "first",
                network.first.is_some(),
                &[Bridge, Ovs, Hub],
                "each guest is alone there, with the same address",
            );
            if let Some(mtu) = network.mtu.filter(|m| !(576..=9000).contains(m)) {
                wrong.push((span("mtu"), format!("an MTU of {mtu}"), "here", "from 576 to 9000 is possible".into()));
            }
            if let Some(vlan) = network.vlan.filter(|v| !(1..=4094).contains(v)) {
                wrong.push((
                    span("vlan"),
                    format!("there is no VLAN {vlan}"),
                    "here",
                    "VLANs go from 1 to 4094".into(),
                ));
            }
            let own = network.address.map(|a| a.0);
            let subnet = network.subnet.map(|s| s.0);
            if let (Some(own), Some(subnet)) = (own, subnet)
                && own.trunc() != subnet.trunc()
            {
                wrong.push((
                    span("subnet"),
                    format!("{own} is not in {subnet}"),
                    "another subnet",
                    "leave `subnet` out: it follows from `address`".into(),
                ));
            }
            for (key, net) in [("address", own), ("subnet", subnet)] {
                if let Some(net) = net.filter(|n| n.prefix_len() > 29 || n.prefix_len() < 8) {
                    wrong.push((
                        span(key),
                        format!("a prefix of {} leaves no sensible room for hosts", net.prefix_len()),
                        "here",
                        "from /8 to /29 is possible".into(),
                    ));
                }
            }
            if let Some(own) = own.filter(|o| o.addr() == o.network() || o.addr() == o.broadcast()) {
                wrong.push((
                    span("address"),
                    format!("{} is not an address of a machine", own.addr()),
                    "here",
                    format!(
                        "it is the network's own; this machine could have {}",
                        own.hosts().next().unwrap_or(own.addr())
                    ),
                ));
            }
            let room = own.or(subnet);
            if let Some(first) = network.first {
                match room {
                    None => wrong.push((
                        span("first"),
                        "`first` without a subnet".into(),
                        "here",
                        "give `address` (this machine's) or `subnet`".into(),
                    )),
                    Some(room) if !room.contains(&first) => wrong.push((
                        span("first"),
                        format!("{first} is not in {room}"),
                        "outside",
                        format!("the subnet is {}", room.trunc()),
                    )),
                    Some(_) => {}
                }
            }
            for (at, message, label, help) in wrong {
                self.refuse(&at, message, label, help);
            }
        }
    }

    fn host(&mut self, name: &str, settings: &Settings) {
        let lab = self.lab;
        let span = |way: &[&str]| lab.host_span(name, way);
        let standin = settings.guest == Some(Guest::Standin);
        if settings.cpus.is_some_and(|c| !(1..=255).contains(&c)) {
            self.refuse(&span(&["cpus"]), "as many CPUs are not possible", "here", "from 1 to 255");
        }
        if let Some(memory) = settings.memory.filter(|m| m.0 % (1 << 20) != 0 || m.0 == 0) {
            self.refuse(
                &span(&["memory"]),
                format!("memory comes in whole MiB, and this is {memory}"),
                "here",
                "write it like 8GiB or 512MiB",
            );
        }
        if standin && settings.iso.is_some() {
            let help = "it has one of its own: remove `iso`, or remove `guest: standin` to install ESXi from it";
            self.refuse(&span(&["iso"]), "the stand-in is not installed from an ISO", "not for a stand-in", help);
        }
        if settings.esxi.is_none() && settings.iso.is_none() && settings.clone_from.is_none() {
            let help = if standin {
                "write the version that it plays: `esxi: \"6.5\"`"
            } else {
                "write `esxi: \"8.0\"`, or `iso: FILE` and it is read from there"
            };
            self.refuse(&span(&["esxi"]), "nothing says which ESXi this is", "no `esxi` and no `iso`", help);
        }
        self.disk(name, settings.boot_disk.as_ref(), &["boot_disk"]);
        for (i, disk) in settings.data_disks.iter().flatten().enumerate() {
            self.disk(name, Some(disk), &["data_disks", &i.to_string()]);
        }
        if settings.data_disks.as_ref().is_some_and(|d| d.len() > MOST_DISKS) {
            self.refuse(&span(&["data_disks"]), "too many data disks", "here", format!("at most {MOST_DISKS}"));
        }
        if let Some(nics) = &settings.nics {
            if nics.is_empty() || nics.len() > MOST_NICS {
                self.refuse(
                    &span(&["nics"]),
                    format!("{} NICs", nics.len()),
                    "here",
                    format!("from 1 to {MOST_NICS} are possible; ESXi does nothing without one"),
                );
            }
            for (i, nic) in nics.iter().enumerate() {
                self.nic(name, i, nic);
            }
        }
        let first = settings.nics.as_ref().and_then(|n| n.first()).and_then(|n| n.address);
        if let (Some(_), Some(AddressWish::Static(_))) = (first, settings.address) {
            self.refuse(
                &span(&["address"]),
                "the first NIC has an address of its own",
                "and this is for it as well",
                "keep one of them",
            );
        }
        if let Some(AddressWish::Static(address)) = settings.address {
            self.address(address, &span(&["address"]), self.network_of(settings.nics.as_deref(), 0));
        }
        self.stages(name, settings);
        for (i, key) in settings.ssh_keys.iter().flat_map(|w| &w.0).enumerate() {
            if key.contains("PRIVATE KEY") {
                let at = span(&["ssh_keys", &i.to_string()]);
                self.refuse(
                    &at,
                    "this is a private key",
                    "here",
                    "give the public one (.pub), and make a new pair: this one is written down",
                );
            }
        }
    }

    fn network_of(&self, nics: Option<&[NicWish]>, number: usize) -> Option<(String, NetworkKind, Option<Ipv4Net>)> {
        let wanted = nics.and_then(|n| n.get(number)).and_then(|n| n.network.as_deref());
        let name = wanted.or_else(|| self.lab.networks.keys().next().map(String::as_str))?;
        let network = self.lab.networks.get(name)?;
        Some((name.to_owned(), network.kind, network.address.or(network.subnet).map(|n| n.0)))
    }

    fn address(&mut self, address: Ipv4Net, at: &Span, network: Option<(String, NetworkKind, Option<Ipv4Net>)>) {
        let Some((name, kind, room)) = network else { return };
        if let Some(room) = room.filter(|r| !r.contains(&address.addr())) {
            self.refuse(
                at,
                format!("{} is not in the network `{name}`", address.addr()),
                "outside",
                format!("it has {}", room.trunc()),
            );
            return;
        }
        if self.lab.networks.get(&name).and_then(|n| n.address).is_some_and(|own| own.0.addr() == address.addr()) {
            self.refuse(
                at,
                format!("{} is this machine's own address on `{name}`", address.addr()),
                "taken",
                "give the guest another one",
            );
            return;
        }
        // Behind `nat` each guest is alone.
        if kind == NetworkKind::Nat {
            return;
        }
        match self.addresses.get(&address.addr()) {
            Some(other) if other.start != at.start => {
                let problem = Problem::at(at, format!("the address {} is there twice", address.addr()), "again here");
                self.problems.push(problem.also(other, "first here").help("each guest needs its own"));
            }
            Some(_) => {
                let problem =
                    Problem::at(at, format!("all hosts get the address {}", address.addr()), "said of all of them");
                self.problems.push(problem.help("give each host its own, or let the network count: `first: ADDRESS`"));
            }
            None => {
                self.addresses.insert(address.addr(), at.clone());
            }
        }
    }

    fn disk(&mut self, host: &str, disk: Option<&DiskWish>, way: &[&str]) {
        let Some(disk) = disk else { return };
        let lab = self.lab;
        let span = |key: &str| lab.host_span(host, &[way, &[key]].concat());
        if let Some(size) = disk.size.filter(|s| s.0 < 1 << 20 || s.0 % 512 != 0 || s.0 > 1 << 46) {
            self.refuse(&span("size"), format!("a disk of {size}"), "here", "from 1MiB to 64TiB is possible");
        }
        if let Some(serial) = &disk.serial {
            let good = (1..=MOST_SERIAL).contains(&serial.len())
                && serial.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
            if !good {
                self.refuse(&span("serial"), format!("`{serial}` cannot be a serial number"), "here", format!("1 to {MOST_SERIAL} letters, digits, `-` or `_`: more does not fit into what a disk says of itself"));
            } else if let Some(other) = self.serials.get(serial) {
                let problem =
                    Problem::at(&span("serial"), format!("the serial number `{serial}` is there twice"), "this one");
                self.problems.push(problem.also(other, "also here").help("leave it out and each disk gets its own"));
            } else {
                self.serials.insert(serial.clone(), span("serial"));
            }
        }
    }

    fn nic(&mut self, host: &str, number: usize, nic: &NicWish) {
        let lab = self.lab;
        let index = number.to_string();
        let span = |key: &str| lab.host_span(host, &["nics", &index, key]);
        if let Some(name) = nic.network.as_ref().filter(|n| !lab.networks.contains_key(*n)) {
            let help = did_you_mean(name, lab.networks.keys().map(String::as_str), "networks");
            self.refuse(&span("network"), format!("there is no network `{name}`"), "unknown network", help);
            return;
        }
        if let Some(text) = &nic.mac {
            match text.parse::<Mac>() {
                Err(bad) => self.refuse(
                    &span("mac"),
                    bad.to_string(),
                    "here",
                    "without `mac` one is derived that is the same on every run",
                ),
                Ok(mac) => match self.macs.get(&mac) {
                    Some(other) => {
                        let problem = Problem::at(&span("mac"), format!("the MAC {mac} is there twice"), "this one");
                        let help =
                            "two NICs with one MAC lose each other's packets: leave `mac` out and each gets its own";
                        self.problems.push(problem.also(other, "also here").help(help));
                    }
                    None => {
                        self.macs.insert(mac, span("mac"));
                    }
                },
            }
        }
        let Some((name, kind, _)) = self.network_of(Some(std::slice::from_ref(nic)), 0) else { return };
        let tagged = matches!(kind, NetworkKind::Ovs | NetworkKind::Hub);
        for (key, given) in [("vlan", nic.vlan.is_some()), ("trunks", !nic.trunks.is_empty())] {
            if given && !tagged {
                self.refuse(
                    &span(key),
                    format!("the network `{name}` is of type `{}`, which knows no VLANs", kind.name()),
                    "not here",
                    "`type: ovs` and `type: hub` know them",
                );
            }
        }
        if nic.vlan.is_some_and(|v| !(1..=4094).contains(&v)) || nic.trunks.iter().any(|v| !(1..=4094).contains(v)) {
            let key = if nic.vlan.is_some_and(|v| !(1..=4094).contains(&v)) { "vlan" } else { "trunks" };
            self.refuse(&span(key), "there is no such VLAN", "here", "VLANs go from 1 to 4094");
        }
        if !nic.forwards.is_empty() && kind != NetworkKind::Nat {
            self.refuse(&span("forwards"), format!("the network `{name}` is of type `{}`: nothing is forwarded there", kind.name()), "not here", "put the forwards on a NIC of a `nat` network; on `bridge` and `ovs` the guest is reached at its own address");
        }
        let mut inside = BTreeSet::new();
        for (i, forward) in nic.forwards.iter().enumerate() {
            let at = lab.host_span(host, &["nics", &index, "forwards", &i.to_string()]);
            if !inside.insert((forward.guest, forward.protocol)) {
                self.refuse(
                    &at,
                    format!("the guest's port {} is forwarded twice", forward.guest),
                    "again here",
                    "one forward to a port is enough",
                );
            }
            let Some(port) = forward.host else { continue };
            match self.ports.get(&port) {
                Some(other) if other.start == at.start => {
                    self.refuse(
                        &at,
                        format!("the port {port} would be forwarded to several hosts"),
                        "said of all of them",
                        "leave `host` out: a free port is chosen for each host, and kept",
                    );
                }
                Some(other) => {
                    let problem =
                        Problem::at(&at, format!("the port {port} of this machine is used twice"), "this one");
                    self.problems.push(
                        problem.also(other, "also here").help("leave `host` out: a free port is chosen, and kept"),
                    );
                }
                None => {
                    self.ports.insert(port, at);
                }
            }
        }
        if let Some(AddressWish::Static(address)) = nic.address {
            self.address(
                address,
                &span("address"),
                Some((name.clone(), kind, lab.networks.get(&name).and_then(|n| n.address.or(n.subnet)).map(|n| n.0))),
            );
        }
    }

    fn stages(&mut self, host: &str, settings: &Settings) {
        let lab = self.lab;
        let Some(stages) = &settings.stages else { return };
        if stages.is_empty() {
            self.refuse(
                &lab.host_span(host, &["stages"]),
                "no stage at all",
                "empty",
                "leave the key out for one hardware",
            );
        }
        let disks = settings.data_disks.as_ref().map_or(0, Vec::len);
        let mut names = BTreeSet::new();
        for (i, stage) in stages.iter().enumerate() {
            let index = i.to_string();
            let span = |key: &str| lab.host_span(host, &["stages", &index, key]);
            if let Some(name) = &stage.name {
                if !good_name(name) || name == "install" {
                    let help = if name == "install" { "the installation has that name" } else { NAMES };
                    self.refuse(&span("name"), format!("`{name}` cannot be the name of a stage"), "this name", help);
                } else if !names.insert(name) {
                    self.refuse(
                        &span("name"),
                        format!("the stage `{name}` is there twice"),
                        "again here",
                        "each needs its own name",
                    );
                }
            }
            let given = match &stage.data_disks {
                Some(StageDisks::Each(each)) => Some(each.len()),
                _ => None,
            };
            if let Some(given) = given.filter(|g| *g != disks) {
                self.refuse(
                    &span("data_disks"),
                    format!("{given} places for {disks} data disks"),
                    "here",
                    "give one for each, or one word for all of them",
                );
            }
        }
    }

    fn clones(&mut self) {
        let lab = self.lab;
        for (name, host) in &lab.hosts {
            let at = || lab.host_span(name, &["clone_from"]);
            let Some(from) = &host.settings.clone_from else {
                if host.settings.clone.is_some() {
                    let at = lab.host_span(name, &["clone"]);
                    self.refuse(
                        &at,
                        "`clone` without `clone_from`",
                        "here",
                        "it says how the disks of another host are copied",
                    );
                }
                continue;
            };
            match lab.hosts.get(from) {
                None => {
                    let help = did_you_mean(from, lab.hosts.keys().map(String::as_str), "hosts");
                    self.refuse(&at(), format!("there is no host `{from}`"), "unknown host", help);
                    continue;
                }
                Some(_) if from == name => {
                    self.refuse(&at(), "a host cannot start from itself", "here", "name another host");
                    continue;
                }
                Some(other) if other.settings.clone_from.is_some() => {
                    self.refuse(
                        &at(),
                        format!("`{from}` is a clone itself"),
                        "here",
                        "clone from the host that was installed",
                    );
                }
                Some(_) => {}
            }
            let own = |way: &[&str]| {
                let at = lab.host_span(name, way);
                let ours = lab.span(&["hosts", name, way[0]]);
                (at.start == ours.start && at.start != lab.span(&["hosts", name]).start).then_some(at)
            };
            for key in ["iso", "install", "boot_options", "esxi", "firmware"] {
                if let Some(at) = own(&[key]) {
                    self.refuse(
                        &at,
                        format!("a clone has the `{key}` of the host that it is cloned from"),
                        "not here",
                        format!("remove it, or say it of `{from}`"),
                    );
                }
            }
        }
    }
}
