//! From the file's tree to a [`Lab`].

use std::collections::BTreeSet;
use std::path::Path;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::{DiskWish, HostWish, Hosts, Lab, NetworkKind, NetworkWish, PasswordSource, Settings};
use crate::playbook::typed::{self, Draft};
use crate::playbook::yaml::{self, Node};
use crate::playbook::{Problem, Span, did_you_mean};

/// What is said of the lab itself.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LabKeys {
    /// The lab's name: small letters, digits and `-`. Without it, the file's name.
    #[schemars(regex(pattern = "^[a-z][a-z0-9-]{0,31}$"))]
    pub name: Option<String>,
    /// Networks by name. Without any: `mgmt` (nat), and for more than one host `lan` (hub).
    pub networks: Option<IndexMap<String, Option<NetworkWish>>>,
    /// How many hosts, or their names, or a mapping from names to what is theirs alone. Without it: one.
    pub hosts: Option<Hosts>,
}

/// Keys of the lab itself.
pub const OF_LAB: &[&str] = &["name", "networks", "hosts"];
/// Keys of a host that may be at the top of the file as well.
pub const OF_ALL: &[&str] = &[
    "esxi",
    "iso",
    "guest",
    "cpus",
    "memory",
    "accel",
    "cpu",
    "machine",
    "firmware",
    "install",
    "boot_options",
    "root_password",
    "ssh_keys",
    "console",
    "boot_disk",
    "data_disks",
    "nics",
    "address",
    "gateway",
    "nameservers",
    "apply",
    "stages",
];
/// Keys of one host alone.
pub const OF_HOST: &[&str] = &["clone_from", "clone"];
/// Most hosts of a lab.
pub const MOST_HOSTS: u64 = 64;

/// Loads a file.
pub fn load(path: &Path) -> Result<Lab, Vec<Problem>> {
    let root = yaml::read(path, &path.display().to_string())?;
    // Paths in the file count from its folder, wherever QEMU is started.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    load_root(&path, &root)
}

/// Loads a file that is parsed already.
pub fn load_root(path: &Path, root: &Node) -> Result<Lab, Vec<Problem>> {
    let mut problems = Vec::new();
    let Some(map) = root.map() else {
        let problem =
            Problem::at(&root.span, format!("a lab is a mapping, and this is {}", root.describe()), "not a mapping");
        return Err(vec![problem.help("a whole lab: `esxi: \"8.0\"`, `iso: FILE` and `hosts: 2`, each on its line")]);
    };
    let mut of_lab = typed::constant(root);
    let mut of_all = typed::constant(root);
    for (key, entry) in map {
        let (lab, all) = (OF_LAB.contains(&key.as_str()), OF_ALL.contains(&key.as_str()));
        if !lab && !all {
            let problem = Problem::at(&entry.key, format!("a lab has no key `{key}`"), "unknown key");
            problems.push(problem.help(unknown(key)));
        }
        let empty = entry.node.is_null();
        drop_key(&mut of_lab, key, !lab || empty);
        drop_key(&mut of_all, key, !all || empty);
    }
    no_password(map.get("root_password").map(|e| &e.node), &mut of_all, &[], &mut problems);
    let hosts = map.get("hosts").and_then(|e| e.node.map());
    for (name, entry) in hosts.into_iter().flatten() {
        let password = entry.node.map().and_then(|m| m.get("root_password"));
        no_password(password.map(|e| &e.node), &mut of_lab, &["hosts", name], &mut problems);
    }
    let keys = read::<LabKeys>(root, of_lab, &mut problems).unwrap_or_default();
    let settings = read::<Settings>(root, of_all, &mut problems).unwrap_or_default();
    let lab = Lab {
        name: keys.name.unwrap_or_else(|| name_of(path)),
        path: path.to_owned(),
        hosts: hosts_of(keys.hosts, &settings, root, &mut problems),
        networks: IndexMap::new(),
        root: root.clone(),
    };
    let lab = Lab { networks: networks_of(keys.networks, lab.hosts.len()), ..lab };
    // What could not be read is not checked any further: that would only report what follows from it.
    if problems.is_empty() {
        super::check::check(&lab, &mut problems);
    }
    if problems.is_empty() { Ok(lab) } else { Err(problems) }
}

fn read<T: for<'de> Deserialize<'de>>(root: &Node, value: Value, problems: &mut Vec<Problem>) -> Option<T> {
    let draft = Draft { node: root, key: None, what: "the lab".into(), value, unknown: BTreeSet::new() };
    let outcome = typed::read(draft, &|value| serde_path_to_error::deserialize::<_, T>(value));
    problems.extend(outcome.problems);
    outcome.value
}

fn drop_key(value: &mut Value, key: &str, drop: bool) {
    if drop && let Some(map) = value.as_object_mut() {
        map.shift_remove(key);
    }
}

/// A password that is written down gets a problem of its own: the reader of types shows nothing of secrets.
fn no_password(node: Option<&Node>, value: &mut Value, way: &[&str], problems: &mut Vec<Problem>) {
    let Some(node) = node.filter(|n| n.scalar().is_some_and(|s| s.text != "generated")) else { return };
    let problem = Problem::at(&node.span, "a lab file holds no password", "written down here");
    problems.push(
        problem.help(
            "use {env: NAME}, {file: PATH}, {command: \"...\"} or {prompt: true}; without the key one is generated",
        ),
    );
    let parent = way.iter().try_fold(value, |v, key| v.get_mut(key));
    if let Some(parent) = parent {
        drop_key(parent, "root_password", true);
    }
}

fn unknown(key: &str) -> String {
    match key {
        "ram" | "mem" => "here it is called `memory`".into(),
        "vcpus" | "vcpu" | "smp" | "cores" => "here it is called `cpus`".into(),
        "version" | "release" => "here it is called `esxi`".into(),
        "disks" | "drives" => "here they are `boot_disk` and `data_disks`".into(),
        "playbook" | "playbooks" => "here it is called `apply`".into(),
        "vms" | "nodes" => "here they are called `hosts`".into(),
        "password" => "here it is called `root_password`".into(),
        "clone_from" | "clone" => "it is said of one host: put it below its name, under `hosts`".into(),
        _ => did_you_mean(key, OF_LAB.iter().chain(OF_ALL).copied(), "known keys"),
    }
}

/// A name from the file's name, made to fit.
fn name_of(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().to_lowercase()).unwrap_or_default();
    let fits = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let name: String = stem.chars().map(fits).take(32).collect();
    let name = name.trim_matches('-');
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name.to_owned() } else { format!("lab{name}") }
}

fn hosts_of(
    hosts: Option<Hosts>,
    common: &Settings,
    root: &Node,
    problems: &mut Vec<Problem>,
) -> IndexMap<String, HostWish> {
    let like = || HostWish { settings: common.clone() };
    match hosts {
        None => IndexMap::from([("esx1".to_owned(), like())]),
        Some(Hosts::Count(n)) if (1..=MOST_HOSTS).contains(&n) => {
            (1..=n).map(|i| (format!("esx{i}"), like())).collect()
        }
        Some(Hosts::Count(n)) => {
            let problem = Problem::at(&span(root, &["hosts"]), format!("a lab with {n} hosts"), "here");
            problems.push(problem.help(format!("from 1 to {MOST_HOSTS} are possible")));
            IndexMap::new()
        }
        Some(Hosts::Names(names)) => {
            let mut all = IndexMap::new();
            for (i, name) in names.into_iter().enumerate() {
                if all.insert(name.clone(), like()).is_some() {
                    let at = span(root, &["hosts", &i.to_string()]);
                    problems.push(Problem::at(&at, format!("the host `{name}` is there twice"), "again here"));
                }
            }
            all
        }
        Some(Hosts::Map(map)) => map
            .into_iter()
            .map(|(name, own)| (name, HostWish { settings: merge(common, own.unwrap_or_default()) }))
            .collect(),
    }
}

/// A host's own settings over the lab's. Of the boot disk each key counts for itself; lists are replaced whole.
fn merge(common: &Settings, own: Settings) -> Settings {
    let common = common.clone();
    let boot_disk = match (common.boot_disk, own.boot_disk) {
        (Some(common), Some(own)) => Some(DiskWish {
            size: own.size.or(common.size),
            bus: own.bus.or(common.bus),
            serial: own.serial.or(common.serial),
            ssd: own.ssd.or(common.ssd),
            image: own.image.or(common.image),
        }),
        (common, own) => own.or(common),
    };
    Settings {
        esxi: own.esxi.or(common.esxi),
        iso: own.iso.or(common.iso),
        guest: own.guest.or(common.guest),
        cpus: own.cpus.or(common.cpus),
        memory: own.memory.or(common.memory),
        accel: own.accel.or(common.accel),
        cpu: own.cpu.or(common.cpu),
        machine: own.machine.or(common.machine),
        firmware: own.firmware.or(common.firmware),
        install: own.install.or(common.install),
        boot_options: own.boot_options.or(common.boot_options),
        root_password: own.root_password.or(common.root_password),
        ssh_keys: own.ssh_keys.or(common.ssh_keys),
        console: own.console.or(common.console),
        boot_disk,
        data_disks: own.data_disks.or(common.data_disks),
        nics: own.nics.or(common.nics),
        address: own.address.or(common.address),
        gateway: own.gateway.or(common.gateway),
        nameservers: own.nameservers.or(common.nameservers),
        apply: own.apply.or(common.apply),
        stages: own.stages.or(common.stages),
        clone_from: own.clone_from,
        clone: own.clone,
    }
}

fn networks_of(written: Option<IndexMap<String, Option<NetworkWish>>>, hosts: usize) -> IndexMap<String, NetworkWish> {
    if let Some(written) = written.filter(|w| !w.is_empty()) {
        return written.into_iter().map(|(name, n)| (name, n.unwrap_or_default())).collect();
    }
    let mut networks = IndexMap::from([("mgmt".to_owned(), NetworkWish::default())]);
    if hosts > 1 {
        networks.insert("lan".into(), NetworkWish { kind: NetworkKind::Hub, ..NetworkWish::default() });
    }
    networks
}

/// Where a password comes from, if the file says nothing.
impl Settings {
    /// The source of root's password.
    pub fn password(&self) -> PasswordSource {
        self.root_password.clone().unwrap_or_default()
    }
}

/// The nearest thing in the file on the way to a place.
pub fn span(root: &Node, way: &[&str]) -> Span {
    walk(root, way).0
}

/// The nearest place, and how many parts of the way led there.
fn walk(root: &Node, way: &[&str]) -> (Span, usize) {
    let mut node = root;
    let mut last = root.span.clone();
    for (done, part) in way.iter().enumerate() {
        let (key, next) = match (node.map(), node.seq()) {
            (Some(map), _) => match map.get(*part) {
                Some(entry) => (Some(&entry.key), &entry.node),
                None => return (last, done),
            },
            // An item by its number, or a name in a list of names.
            (_, Some(items)) => match part
                .parse::<usize>()
                .map_or_else(|_| items.iter().find(|n| n.scalar().is_some_and(|s| s.text == *part)), |i| items.get(i))
            {
                Some(item) => (None, item),
                None => return (last, done),
            },
            _ => return (last, done),
        };
        node = next;
        // A value that is a mapping, or nothing, is shown by its key.
        let bare = node.scalar().is_none_or(|s| s.text.is_empty());
        last = if bare && let Some(key) = key { key.clone() } else { node.span.clone() };
    }
    (last, way.len())
}

/// The place of a host's setting: its own, the lab's, or the host itself.
pub fn host_span(root: &Node, host: &str, way: &[&str]) -> Span {
    let mut own = vec!["hosts", host];
    own.extend(way);
    let (at, depth) = walk(root, &own);
    if depth > 2 {
        return at;
    }
    let (common, found) = walk(root, way);
    if found > 0 {
        return common;
    }
    // `hosts: 2`, a name in a list, or the host's key.
    if depth >= 1 { at } else { span(root, &["name"]) }
}
