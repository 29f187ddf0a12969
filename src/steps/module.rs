//! `module`: a kernel module and its parameters, as configured for the next boot and as loaded now.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{About, Action, Change, Effect, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output};

mod boot_disk;
#[cfg(test)]
mod tests;

pub use boot_disk::{BOOT_DRIVERS, BootDriver};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "module",
    about: "A kernel module is enabled or disabled, has these parameters, is loaded or not",
    example: "- module: {name: ixgbe, enabled: true, parameters: {LRO: 0}, missing_ok: true}\n",
    parse: parse_as::<Module>,
    schema: <Spec as JsonSchema>::json_schema,
};

/// Configures a kernel module.
///
/// `enabled` and `parameters` count from the next boot; the step asks for the reboot. A module that is disabled
/// but still loaded waits for it. Whether parameters that are configured already are those that the module was loaded
/// with cannot be seen on a host.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The module's name as `esxcli system module list` shows it, for example `vmw_ahci`.
    pub name: String,
    /// Whether it may be loaded at boot.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Parameters, as a map or as one string `"a=1 b=2"`. Others that are set stay, unless `replace`.
    #[serde(default)]
    pub parameters: Option<Parameters>,
    /// Remove parameters that are not named here (the host itself only knows to replace them all).
    #[serde(default)]
    pub replace: bool,
    /// Load or unload it now, without a reboot.
    #[serde(default)]
    pub loaded: Option<bool>,
    /// A host without this module is fine: nothing to do there.
    #[serde(default)]
    pub missing_ok: bool,
    /// Disable a disk driver although nothing takes over from it on this release. If the host boots from such a
    /// disk it will not see its boot disk any more, run from memory, and forget every change at the next reboot.
    #[serde(default)]
    pub i_know_this_may_lose_the_boot_disk: bool,
}

/// Parameters of a module.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Parameters {
    /// `"a=1 b=2"`.
    Text(String),
    /// By name.
    Map(IndexMap<String, Value>),
}

/// A parameter's value.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// A whole number.
    Number(i64),
    /// A switch: becomes 1 or 0.
    Bool(bool),
    /// Anything else, without blanks; a list is written `"1,2,3"`.
    Text(String),
}

/// The desired state of one module.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Module {
    spec: Spec,
    parameters: Option<IndexMap<String, String>>,
}

impl TryFrom<Spec> for Module {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        if spec.name.is_empty() || spec.name.contains(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c))) {
            return Err("`name` is a module's name, for example `vmw_ahci`".into());
        }
        if spec.enabled.is_none() && spec.parameters.is_none() && spec.loaded.is_none() {
            return Err("say what is wanted: `enabled`, `parameters` or `loaded`".into());
        }
        if spec.enabled == Some(false) && spec.loaded == Some(true) {
            return Err("a module cannot be disabled and loaded: a disabled module cannot be loaded".into());
        }
        let mut parameters = None;
        if let Some(given) = &spec.parameters {
            let mut map = IndexMap::new();
            let pairs: Vec<(String, String)> = match given {
                Parameters::Text(text) => text
                    .split_whitespace()
                    .map(|p| p.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())))
                    .collect::<Option<_>>()
                    .ok_or("`parameters` as a text is `name=value` pairs parted by blanks")?,
                Parameters::Map(map) => map
                    .iter()
                    .map(|(k, v)| {
                        let v = match v {
                            Value::Number(n) => n.to_string(),
                            Value::Bool(b) => u8::from(*b).to_string(),
                            Value::Text(t) => t.clone(),
                        };
                        (k.clone(), v)
                    })
                    .collect(),
            };
            for (name, value) in pairs {
                let bad = |t: &str| t.is_empty() || t.contains(|c: char| c.is_whitespace() || c == '=' || c == '"');
                if bad(&name) || bad(&value) {
                    return Err(format!(
                        "parameter {name:?}: names and values cannot be empty or hold blanks, `=` or quotes"
                    ));
                }
                map.insert(name, value);
            }
            parameters = Some(map);
        }
        Ok(Self { spec, parameters })
    }
}

fn list() -> Command {
    Command::esxcli("system module list")
}

fn yes(row: &Record, column: &str) -> Option<bool> {
    row.get(column).and_then(|v| match v.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    })
}

impl Module {
    fn parameters_command(&self) -> Command {
        Command::esxcli("system module parameters list").opt("-m", &self.spec.name)
    }

    /// Refuses to take away the only driver of a boot disk.
    fn guard(&self, version: crate::esxi::Version) -> Result<(), StepError> {
        let s = &self.spec;
        let driver = boot_disk::irreplaceable(&s.name, version).filter(|_| !s.i_know_this_may_lose_the_boot_disk);
        let Some(d) = driver else { return Ok(()) };
        let helps =
            if d.before.is_empty() { String::new() } else { format!(" (it helps on older releases: {})", d.before) };
        Err(StepError::Refused(format!(
            "disabling {} is refused on ESXi {version}: it is the only driver for {} there{helps}. A host that boots from such a disk would come up without its boot disk, run from memory, and forget every change at each reboot. How sure: {}. Limit the step to older hosts with `when`, or, if this host boots from something else, write `i_know_this_may_lose_the_boot_disk: true`",
            s.name, d.drives, d.source
        )))
    }

    fn compare_enabled(&self, seen: &Seen<'_>, row: &Record) -> Result<Option<Change>, StepError> {
        let s = &self.spec;
        let Some(wanted) = s.enabled else { return Ok(None) };
        let now = yes(row, "Is Enabled").ok_or_else(|| StepError::unreadable(&list(), "no column Is Enabled"))?;
        let loaded = yes(row, "Is Loaded").unwrap_or(false);
        let word = |b: bool| if b { "enabled" } else { "disabled" };
        if now != wanted {
            if !wanted {
                self.guard(seen.host.version)?;
            }
            let set = Command::esxcli("system module set")
                .opt("-m", &s.name)
                .opt("-e", if wanted { "true" } else { "false" });
            // Loading or unloading it in this step makes the reboot unnecessary.
            let reboot = s.loaded != Some(wanted) && loaded != wanted;
            return Ok(Some(Change {
                summary: format!("module {} {}", s.name, word(wanted)),
                before: word(now).into(),
                after: word(wanted).into(),
                actions: vec![Action::Run(set)],
                effect: Effect { reboot, ..Effect::default() },
                undo: self.undo(serde_json::json!({"enabled": now}), seen.host.version),
                ..Change::default()
            }));
        }
        if !wanted && loaded && s.loaded.is_none() {
            return Ok(Some(Change {
                summary: format!("module {} is disabled, but loaded until the reboot", s.name),
                before: "loaded".into(),
                after: "not loaded".into(),
                effect: Effect { reboot: true, ..Effect::default() },
                ..Change::default()
            }));
        }
        Ok(None)
    }

    fn compare_parameters(&self, seen: &Seen<'_>) -> Result<Option<Change>, StepError> {
        let Some(wanted) = &self.parameters else { return Ok(None) };
        let command = self.parameters_command();
        let rows = seen.table(&command)?;
        let known: Vec<&str> = rows.iter().filter_map(|r| r.get("Name")).map(String::as_str).collect();
        for name in wanted.keys() {
            if !known.contains(&name.as_str()) {
                let near = known
                    .iter()
                    .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)))
                    .map_or(String::new(), |n| format!("; did you mean {n}?"));
                return Err(StepError::Refused(format!(
                    "module {} has no parameter {name:?} on this host{near}. It has: {}",
                    self.spec.name,
                    if known.is_empty() { "none".into() } else { known.join(", ") }
                )));
            }
        }
        let mut now: IndexMap<String, String> = IndexMap::new();
        for row in &rows {
            if let (Some(name), Some(value)) = (row.get("Name"), row.get("Value").filter(|v| !v.is_empty())) {
                now.insert(name.clone(), value.clone());
            }
        }
        let mut target = if self.spec.replace { IndexMap::new() } else { now.clone() };
        target.extend(wanted.iter().map(|(k, v)| (k.clone(), v.clone())));
        if target.len() == now.len() && target.iter().all(|(k, v)| now.get(k) == Some(v)) {
            return Ok(None);
        }
        let text =
            |m: &IndexMap<String, String>| m.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
        let shown = |t: String| if t.is_empty() { "none".to_owned() } else { t };
        let set = Command::esxcli("system module parameters set").opt("-m", &self.spec.name).opt("-p", text(&target));
        Ok(Some(Change {
            summary: format!("parameters of module {}", self.spec.name),
            before: shown(text(&now)),
            after: shown(text(&target)),
            actions: vec![Action::Run(set)],
            effect: Effect { reboot: true, ..Effect::default() },
            // As one text: their order stays.
            undo: self.undo(serde_json::json!({"parameters": text(&now), "replace": true}), seen.host.version),
            ..Change::default()
        }))
    }

    /// The step that takes a change of this module back.
    fn undo(&self, mut args: serde_json::Value, version: crate::esxi::Version) -> Option<Undo> {
        let map = args.as_object_mut()?;
        map.insert("name".to_owned(), self.spec.name.clone().into());
        // The host ran without this driver before.
        if map.get("enabled") == Some(&false.into()) && boot_disk::irreplaceable(&self.spec.name, version).is_some() {
            map.insert("i_know_this_may_lose_the_boot_disk".to_owned(), true.into());
        }
        Undo::step(KIND.name, args)
    }

    fn compare_loaded(&self, seen: &Seen<'_>, row: &Record) -> Option<Change> {
        let wanted = self.spec.loaded?;
        let now = yes(row, "Is Loaded").unwrap_or(false);
        let word = |b: bool| if b { "loaded" } else { "not loaded" };
        let command = if wanted {
            Command::esxcli("system module load").opt("-m", &self.spec.name)
        } else {
            Command::new("vmkload_mod -u").arg(&self.spec.name)
        };
        (now != wanted).then(|| Change {
            summary: format!("{} module {}", if wanted { "load" } else { "unload" }, self.spec.name),
            before: word(now).into(),
            after: word(wanted).into(),
            actions: vec![Action::Run(command)],
            effect: Effect { transient: true, ..Effect::default() },
            // What is taken back first is the last change: a disabled module could not be loaded.
            undo: match yes(row, "Is Enabled") {
                Some(true) if now => self.undo(serde_json::json!({"loaded": now, "enabled": true}), seen.host.version),
                _ => self.undo(serde_json::json!({"loaded": now}), seen.host.version),
            },
            ..Change::default()
        })
    }
}

impl Step for Module {
    fn summary(&self) -> String {
        let s = &self.spec;
        let mut parts = Vec::new();
        parts.extend(s.enabled.map(|e| if e { "enabled" } else { "disabled" }));
        parts.extend(s.loaded.map(|l| if l { "loaded" } else { "not loaded" }));
        parts.extend(s.parameters.is_some().then_some("with parameters"));
        format!("module {} {}", s.name, parts.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![list()];
        if self.parameters.is_some() {
            reads.push(self.parameters_command());
        }
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system module"])
    }

    fn about(&self) -> About {
        About::one("module", &self.spec.name)
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let rows = seen.table(&list())?;
        let name = &self.spec.name;
        let Some(row) = rows.iter().find(|r| r.get("Name") == Some(name)) else {
            if self.spec.missing_ok {
                return Ok(Vec::new());
            }
            let near = rows
                .iter()
                .filter_map(|r| r.get("Name"))
                .map(|n| (strsim::jaro_winkler(n, name), n))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(score, _)| *score > 0.8)
                .map_or(String::new(), |(_, n)| format!(" (did you mean {n}?)"));
            return Err(StepError::Refused(format!(
                "there is no module {name} on this host (ESXi {}){near}. If that is fine, write `missing_ok: true`",
                seen.host.version
            )));
        };
        let mut changes = Vec::new();
        changes.extend(self.compare_enabled(seen, row)?);
        changes.extend(self.compare_parameters(seen)?);
        changes.extend(self.compare_loaded(seen, row));
        Ok(changes)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let rows = seen.table(&list()).unwrap_or_default();
        let row = rows.iter().find(|r| r.get("Name") == Some(&self.spec.name));
        serde_json::json!({
            "name": self.spec.name,
            "enabled": row.and_then(|r| yes(r, "Is Enabled")),
            "loaded": row.and_then(|r| yes(r, "Is Loaded")),
        })
    }
}
