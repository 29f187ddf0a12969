//! The inventory file: defaults, groups, hosts.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use super::credentials::{Maker, Secret, Wanted};
use super::secret::Source;
use super::select::narrowed;
use super::{Host, Inventory, Surroundings};
use crate::playbook::typed::{self, Draft};
use crate::playbook::yaml::{Entry, Node, NodeValue};
use crate::playbook::{Problem, Problems, Span, did_you_mean, plain_vars, yaml};
use crate::transport::Target;
use crate::transport::target::{Algorithms, Library};

/// The keys that say how to log in; a host, a group and the defaults may all have them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    address: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Source>,
    key: Option<Words>,
    passphrase: Option<Source>,
    agent: Option<bool>,
    host_key: Option<String>,
    known_hosts: Option<Words>,
    accept_new: Option<bool>,
    proxy_jump: Option<Words>,
    algorithms: Option<Algorithms>,
    transport: Option<Library>,
    channels: Option<usize>,
    connect_timeout: Option<Seconds>,
    silence_timeout: Option<Seconds>,
    ssh_config: Option<String>,
    groups: Option<Words>,
    hosts: Option<Words>,
    children: Option<Words>,
}

/// One word or a list of words.
#[derive(Debug, Clone)]
struct Words(Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl<'de> serde::de::Visitor<'de> for WordsVisitor {
            type Value = Words;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words(text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut all = Vec::new();
                while let Some(word) = seq.next_element::<String>()? {
                    all.push(word);
                }
                Ok(Words(all))
            }
        }
        deserializer.deserialize_any(WordsVisitor)
    }
}

/// Seconds, or a time with a unit.
#[derive(Debug, Clone, Copy)]
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SecondsVisitor;
        impl serde::de::Visitor<'_> for SecondsVisitor {
            type Value = Seconds;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds as a number, or a time with a unit such as 30s or 5m")
            }
            fn visit_u64<E>(self, n: u64) -> Result<Seconds, E> {
                Ok(Seconds(Duration::from_secs(n)))
            }
            fn visit_f64<E: serde::de::Error>(self, n: f64) -> Result<Seconds, E> {
                Duration::try_from_secs_f64(n).map(Seconds).map_err(|e| E::custom(e.to_string()))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Seconds, E> {
                humantime::parse_duration(text)
                    .map(Seconds)
                    .map_err(|_| E::invalid_type(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(SecondsVisitor)
    }
}

pub(super) const CONNECTION: &[&str] = &[
    "port",
    "user",
    "password",
    "key",
    "passphrase",
    "agent",
    "known_hosts",
    "accept_new",
    "proxy_jump",
    "algorithms",
    "transport",
    "channels",
    "connect_timeout",
    "silence_timeout",
    "vars",
];
pub(super) const OF_HOST: &[&str] = &["address", "host_key", "groups"];
pub(super) const OF_GROUP: &[&str] = &["hosts", "children"];
pub(super) const OF_DEFAULTS: &[&str] = &["ssh_config"];
const TOP: &[&str] = &["defaults", "groups", "hosts"];

/// One of the defaults, a group or a host, as read.
#[derive(Default)]
struct Section<'n> {
    keys: Keys,
    vars: IndexMap<String, Value>,
    map: Option<&'n IndexMap<String, Entry>>,
    /// What it is called where hosts share it.
    shared: Option<String>,
}

impl Section<'_> {
    fn span(&self, key: &str) -> Option<&Span> {
        self.map?.get(key).map(|e| &e.node.span)
    }
}

fn section<'n>(what: String, key: &Span, node: &'n Node, more: &[&str], problems: &mut Vec<Problem>) -> Section<'n> {
    if node.is_null() {
        return Section::default();
    }
    let Some(map) = node.map() else {
        problems.push(Problem::at(
            &node.span,
            format!("{what} is a mapping of keys"),
            format!("this is {}", node.describe()),
        ));
        return Section::default();
    };
    let mut value = typed::constant(node);
    for (name, entry) in map {
        let fits = CONNECTION.contains(&name.as_str()) || more.contains(&name.as_str());
        if !fits {
            let problem = Problem::at(&entry.key, format!("{what} has no key `{name}`"), "unknown key");
            let known = more.iter().chain(CONNECTION).copied();
            let help = match name.as_str() {
                "ansible_host" | "ip" | "hostname" => "here it is called `address`".into(),
                "ansible_user" | "username" => "here it is called `user`".into(),
                "ansible_password" | "ansible_ssh_pass" => "here it is called `password`".into(),
                "ansible_port" => "here it is called `port`".into(),
                _ => did_you_mean(name, known, "known keys"),
            };
            problems.push(problem.help(help));
        }
        if !fits || name == "vars" {
            value.as_object_mut().map(|m| m.shift_remove(name));
        }
    }
    let vars = match map.get("vars").map(|e| &e.node) {
        Some(vars) if !vars.is_null() => match vars.map() {
            Some(vars) => plain_vars(vars, problems),
            None => {
                problems.push(Problem::at(
                    &vars.span,
                    "`vars` wants a mapping of names and values",
                    format!("this is {}", vars.describe()),
                ));
                IndexMap::new()
            }
        },
        _ => IndexMap::new(),
    };
    let called = what.clone();
    let draft = Draft { node, key: Some(key), what, value, unknown: BTreeSet::new() };
    let outcome = typed::read(draft, &|value| serde_path_to_error::deserialize::<_, Keys>(value));
    problems.extend(outcome.problems);
    let keys = outcome.value.unwrap_or_default();
    let mut refuse = |key: &str, why: Option<(String, &str)>| {
        if let (Some((why, help)), Some(entry)) = (why, map.get(key)) {
            problems.push(Problem::at(&entry.node.span, format!("`{key}`: {why}"), "here").help(help));
        }
    };
    let port = (keys.port == Some(0)).then(|| ("0 is not a port".into(), "ports go from 1 to 65535; SSH has 22"));
    refuse("port", port);
    refuse("address", keys.address.as_deref().and_then(bad_address));
    let pin = keys.host_key.as_deref().and_then(|pin| crate::transport::hostkeys::check_pin(pin).err());
    refuse("host_key", pin.map(|why| (why, "`ssh-keyscan HOST | ssh-keygen -lf -` prints the fingerprints of a host")));
    let shared = (!more.contains(&"address")).then_some(called);
    Section { keys, vars, map: Some(map), shared }
}

/// Why a text is no address, and what to do.
fn bad_address(text: &str) -> Option<(String, &'static str)> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if bare.contains('@') {
        Some((format!("`{text}` has a user in it"), "the user has a key of its own: `user`"))
    } else if bare.is_empty() || bare.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '[' | ']' | ',')) {
        Some((format!("`{text}` is no address"), "write a DNS name, an IPv4 or an IPv6 address"))
    } else if bare.matches(':').count() == 1 {
        Some((format!("`{text}` has a port in it"), "the port has a key of its own: `port`"))
    } else {
        None
    }
}

/// Loads an inventory file.
pub fn load(path: &Path, around: &Surroundings<'_>) -> Result<Inventory, Problems> {
    let shown = path.display().to_string();
    let root = yaml::read(path, &shown).map_err(Problems::from)?;
    load_root(path, &root, around)
}

/// Loads an inventory whose file is parsed already.
pub fn load_root(path: &Path, root: &Node, around: &Surroundings<'_>) -> Result<Inventory, Problems> {
    let mut problems = Vec::new();
    let Some(map) = root.map() else {
        let problem = Problem::at(
            &root.span,
            format!("an inventory is a mapping, and this is {}", root.describe()),
            "not a mapping",
        );
        return Err(problem.help("put the hosts under a key: `hosts:`").into());
    };
    for (key, entry) in map.iter().filter(|(k, _)| !TOP.contains(&k.as_str())) {
        let problem = Problem::at(&entry.key, format!("an inventory has no key `{key}`"), "unknown key");
        problems.push(problem.help(match key.as_str() {
            "all" => "this looks like an Ansible inventory; here it is `defaults`, `groups` and `hosts`".into(),
            _ => did_you_mean(key, TOP.iter().copied(), "known keys"),
        }));
    }
    let defaults = map
        .get("defaults")
        .map(|e| section("`defaults`".into(), &e.key, &e.node, OF_DEFAULTS, &mut problems))
        .unwrap_or_default();
    let mut groups: IndexMap<String, (Section<'_>, &Span)> = IndexMap::new();
    for (name, entry) in named(map.get("groups"), "groups", &mut problems) {
        if let Some(entry) = entry {
            groups.insert(
                name.clone(),
                (section(format!("the group `{name}`"), &entry.key, &entry.node, OF_GROUP, &mut problems), &entry.key),
            );
        }
    }
    let mut hosts: IndexMap<String, Section<'_>> = IndexMap::new();
    for (name, entry) in named(map.get("hosts"), "hosts", &mut problems) {
        let section = match entry {
            Some(entry) => {
                let section = section(format!("the host `{name}`"), &entry.key, &entry.node, OF_HOST, &mut problems);
                // A host without an address is found by its name.
                let wrong = if section.keys.address.is_none() { bad_address(&name) } else { None };
                if let Some((why, help)) = wrong {
                    problems.push(Problem::at(&entry.key, why, "the host's name").help(help));
                }
                section
            }
            None => Section::default(),
        };
        hosts.insert(name, section);
    }
    let listed = map.contains_key("hosts");
    for (group, (section, _)) in &groups {
        for name in section.keys.hosts.iter().flat_map(|w| &w.0) {
            if !listed {
                hosts.entry(name.clone()).or_default();
            } else if !hosts.contains_key(name)
                && let Some(span) = section.span("hosts")
            {
                let problem = Problem::at(
                    span,
                    format!("the group `{group}` names the host `{name}`, which is not under `hosts`"),
                    "this list",
                );
                problems.push(problem.help(did_you_mean(name, hosts.keys().map(String::as_str), "known hosts")));
            }
        }
        for child in section.keys.children.iter().flat_map(|w| &w.0) {
            if !groups.contains_key(child)
                && let Some(span) = section.span("children")
            {
                let problem = Problem::at(
                    span,
                    format!("the group `{group}` names the group `{child}`, which is not there"),
                    "this list",
                );
                problems.push(problem.help(did_you_mean(child, groups.keys().map(String::as_str), "known groups")));
            }
        }
        if below(group, &groups).contains(group)
            && let Some(span) = section.span("children")
        {
            problems.push(Problem::at(span, format!("the group `{group}` is its own child"), "a circle"));
        }
    }
    if hosts.is_empty() && problems.is_empty() {
        let problem = Problem::at(&root.span, "the inventory has no hosts", "no `hosts` here");
        problems.push(problem.help("write `hosts:` and below it one `name:` for each"));
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }

    let base = path.parent().unwrap_or(Path::new(""));
    let mut maker = Maker::new(around, base, defaults.keys.ssh_config.as_deref()).map_err(|why| {
        let span = defaults.span("ssh_config");
        Problems::from(
            span.map_or_else(|| Problem::nowhere(why.clone()), |s| Problem::at(s, why.clone(), "asked for here")),
        )
    })?;
    let mut made = Vec::new();
    for (name, section) in &hosts {
        let mine = groups_of(name, section, &groups);
        let mut layers: Vec<&Section<'_>> = vec![&defaults];
        layers.extend(mine.iter().filter_map(|g| groups.get(g).map(|(s, _)| s)));
        layers.push(section);
        let mut vars = IndexMap::new();
        let mut wanted = Wanted::default();
        for layer in layers {
            vars.extend(layer.vars.clone());
            merge(&mut wanted, layer);
        }
        maker.known.insert(name.clone(), wanted.clone());
        made.push((name.clone(), mine, vars, wanted));
    }
    let mut inventory = Inventory::default();
    for (name, groups, vars, _) in &made {
        let target = Target::new(name, name);
        inventory.hosts.push(Host { name: name.clone(), groups: groups.clone(), vars: vars.clone(), target });
    }
    let opened = narrowed(&inventory, &around.wanted);
    inventory.hosts.clear();
    for (name, groups, vars, wanted) in made {
        maker.closed = !opened.contains(&name);
        match maker.target(&name, &name, &wanted) {
            Ok(target) => inventory.hosts.push(Host { name, groups, vars, target }),
            Err(mut found) => problems.append(&mut found),
        }
    }
    inventory.warnings = maker.warnings();
    if problems.is_empty() { Ok(inventory) } else { Err(problems.into()) }
}

fn named<'n>(entry: Option<&'n Entry>, key: &str, problems: &mut Vec<Problem>) -> Vec<(String, Option<&'n Entry>)> {
    let Some(entry) = entry else { return Vec::new() };
    match &entry.node.value {
        NodeValue::Map(map) => map.iter().map(|(name, e)| (name.clone(), Some(e))).collect(),
        NodeValue::Seq(items) if key == "hosts" => {
            let mut names = Vec::new();
            for item in items {
                match item.scalar().filter(|_| !item.is_null()) {
                    Some(s) => names.push((s.text.clone(), None)),
                    None => {
                        let problem = Problem::at(
                            &item.span,
                            "a list of hosts has names only",
                            format!("this is {}", item.describe()),
                        );
                        problems
                            .push(problem.help("for more than a name, write a mapping: `esx1: {address: 192.0.2.11}`"));
                    }
                }
            }
            names
        }
        _ if entry.node.is_null() => Vec::new(),
        _ => {
            let problem = Problem::at(
                &entry.node.span,
                format!("`{key}` wants a mapping of names"),
                format!("this is {}", entry.node.describe()),
            );
            problems.push(problem);
            Vec::new()
        }
    }
}

/// All groups below one, however deep.
fn below(group: &str, groups: &IndexMap<String, (Section<'_>, &Span)>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut todo = vec![group.to_owned()];
    while let Some(next) = todo.pop() {
        let children = groups.get(&next).and_then(|(s, _)| s.keys.children.as_ref());
        for child in children.iter().flat_map(|w| &w.0) {
            if found.insert(child.clone()) {
                todo.push(child.clone());
            }
        }
    }
    found
}

/// The groups of a host, outer ones first.
fn groups_of(host: &str, section: &Section<'_>, groups: &IndexMap<String, (Section<'_>, &Span)>) -> Vec<String> {
    let own: Vec<String> = section.keys.groups.iter().flat_map(|w| w.0.clone()).collect();
    let direct = |name: &str, s: &Section<'_>| {
        own.iter().any(|g| g == name) || s.keys.hosts.as_ref().is_some_and(|w| w.0.iter().any(|h| h == host))
    };
    let members: Vec<&String> = groups.iter().filter(|(n, (s, _))| direct(n, s)).map(|(n, _)| n).collect();
    let mut all: Vec<(usize, String)> = Vec::new();
    for name in groups.keys() {
        let under = below(name, groups);
        if members.contains(&name) || members.iter().any(|m| under.contains(*m)) {
            all.push((under.len(), name.clone()));
        }
    }
    // A group with more below it is further out: its keys give way.
    all.sort_by_key(|(depth, _)| std::cmp::Reverse(*depth));
    let mut names: Vec<String> = all.into_iter().map(|(_, n)| n).collect();
    names.extend(own.into_iter().filter(|g| !groups.contains_key(g)));
    names
}

fn merge(wanted: &mut Wanted, section: &Section<'_>) {
    let keys = &section.keys;
    let at = |key: &str| section.span(key).cloned();
    let set = |to: &mut Option<String>, from: &Option<String>| {
        if from.is_some() {
            to.clone_from(from);
        }
    };
    set(&mut wanted.address, &keys.address);
    set(&mut wanted.user, &keys.user);
    set(&mut wanted.host_key, &keys.host_key);
    wanted.port = keys.port.or(wanted.port);
    wanted.agent = keys.agent.or(wanted.agent);
    wanted.channels = keys.channels.or(wanted.channels);
    wanted.accept_new = keys.accept_new.unwrap_or(wanted.accept_new);
    wanted.algorithms = keys.algorithms.unwrap_or(wanted.algorithms);
    wanted.library = keys.transport.unwrap_or(wanted.library);
    wanted.connect_timeout = keys.connect_timeout.map(|s| s.0).or(wanted.connect_timeout);
    wanted.silence_timeout = keys.silence_timeout.map(|s| s.0).or(wanted.silence_timeout);
    if let Some(words) = &keys.known_hosts {
        wanted.known_hosts.clone_from(&words.0);
    }
    let secret = |source: &Option<Source>, key: &str| {
        Some(Secret { source: source.clone()?, at: at(key)?, shared: section.shared.clone() })
    };
    wanted.password = secret(&keys.password, "password").or(wanted.password.take());
    wanted.passphrase = secret(&keys.passphrase, "passphrase").or(wanted.passphrase.take());
    if let (Some(words), Some(at)) = (&keys.key, at("key")) {
        wanted.keys = words.0.iter().map(|w| (w.clone(), at.clone())).collect();
    }
    if let (Some(words), Some(at)) = (&keys.proxy_jump, at("proxy_jump")) {
        wanted.jumps = Some((words.0.clone(), at));
    }
}
