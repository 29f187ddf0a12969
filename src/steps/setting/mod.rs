//! `setting`: one kind for the VMkernel's advanced settings, hostd's settings and the VMkernel's boot options.
//!
//! All steps share one `esxcli system settings advanced list` and one `esxcli system settings kernel list`: a call
//! costs about a second, whatever it prints. hostd's keys cost one `vim-cmd hostsvc/advopt/view` each; with `bulk` all
//! steps share one dump of hostd's settings, and only what is not in it is asked for by name.

mod hostd;
mod kernel;
mod vmkernel;

#[cfg(test)]
mod tests;

pub(crate) use hostd::in_dump;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::accept::Accept;
use super::sysargs::Scalar;
use super::{About, Change, Effect, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, parse_as};
use crate::esxi::settings::{HostdType, Key, World};
use crate::esxi::{Command, HostFacts, Output};

/// The kind.
pub const KIND: Kind = Kind {
    name: "setting",
    about: "Advanced settings of the VMkernel and of hostd, and kernel boot options, each by its name",
    example: "\
- setting:
    values:
      Net.FollowHardwareMac: 1
      UserVars.SuppressShellWarning: 1
      Security.AccountLockFailures: 5
      VMkernel.Boot.execInstalledOnly: true
",
    parse: parse_as::<Setting>,
    schema: |generator| generator.subschema_for::<SettingSpec>(),
};

/// Which of ESXi's three sets of settings a key belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WorldSpec {
    /// By the key's name (right for every key that the option lists of 6.0 to 9.0 know).
    #[default]
    Auto,
    /// `esxcli system settings advanced`.
    Vmkernel,
    /// `vim-cmd hostsvc/advopt`.
    Hostd,
    /// `esxcli system settings kernel`.
    Kernel,
}

/// The type of a hostd setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TypeSpec {
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A text.
    String,
    /// `true` or `false`.
    Bool,
}

/// One setting (`key` with `value`, or `default: true`), or several at once (`values`).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingSpec {
    /// The name: `Net.FollowHardwareMac` or `/Net/FollowHardwareMac`, `Security.AccountLockFailures`,
    /// `VMkernel.Boot.execInstalledOnly`.
    #[serde(default)]
    key: Option<String>,
    /// The value wanted: a number, a text, or `true`/`false`.
    #[serde(default)]
    value: Option<Scalar>,
    /// Put back to what the host says is the default. hostd's settings do not show theirs.
    #[serde(default)]
    default: bool,
    /// What passes besides `value`. Without a `value` (empty counts as none then) the setting is only judged: what does
    /// not pass is a finding, and a person must say what it shall be.
    #[serde(default)]
    accept: Option<Accept>,
    /// Several settings: name and value.
    #[serde(default)]
    values: IndexMap<String, Scalar>,
    /// Read hostd's settings with one dump for all steps that say so; what is not in the dump is asked for by name.
    #[serde(default)]
    bulk: bool,
    /// Where the setting lives; only needed for keys that esxprep does not place rightly.
    #[serde(default)]
    world: WorldSpec,
    /// The type of a hostd setting; only needed where the host refuses the one that esxprep sends.
    #[serde(default, rename = "type")]
    kind: Option<TypeSpec>,
    /// A release without this setting is no error: a control is not applicable there, another step does nothing.
    #[serde(default)]
    missing_ok: bool,
    /// Whether a change waits for a reboot; esxprep knows it of kernel boot options, of the settings whose
    /// description says so, and of a few others.
    #[serde(default)]
    reboot: Option<bool>,
}

/// What a setting is to be.
#[derive(Debug, Clone, PartialEq)]
enum Wanted {
    Value(Scalar),
    Default,
    /// Nobody said what to set; `accept` alone judges.
    Judged,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SettingSpec")]
pub struct Setting {
    wanted: Vec<(Key, Wanted)>,
    accept: Option<Accept>,
    bulk: bool,
    /// The world that the playbook names.
    world: Option<World>,
    kind: Option<HostdType>,
    missing_ok: bool,
    reboot: Option<bool>,
}

impl TryFrom<SettingSpec> for Setting {
    type Error = String;

    fn try_from(spec: SettingSpec) -> Result<Self, String> {
        let world = match spec.world {
            WorldSpec::Auto => None,
            WorldSpec::Vmkernel => Some(World::Vmkernel),
            WorldSpec::Hostd => Some(World::Hostd),
            WorldSpec::Kernel => Some(World::Kernel),
        };
        let mut wanted: Vec<(Key, Wanted)> = Vec::new();
        if let Some(accept) = &spec.accept {
            accept.check()?;
            if spec.key.is_none() || spec.default {
                return Err("`accept` goes with one `key`, and not with `default: true`".into());
            }
        }
        let given = spec.value.filter(|v| spec.accept.is_none() || !v.to_string().trim().is_empty());
        match (spec.key, given, spec.default) {
            (Some(key), None, false) if spec.accept.is_some() => wanted.push((Key::new(&key, world), Wanted::Judged)),
            (Some(key), Some(value), false) => wanted.push((Key::new(&key, world), Wanted::Value(value))),
            (Some(key), None, true) => wanted.push((Key::new(&key, world), Wanted::Default)),
            (Some(_), Some(_), true) => return Err("give `value` or `default: true`, not both".into()),
            (Some(_), None, false) => {
                return Err("`key` needs a `value`, or `default: true`, or `accept` to judge what is there".into());
            }
            (None, None, false) if !spec.values.is_empty() => {}
            (None, None, false) => return Err("give `key` and `value`, or `values`".into()),
            (None, ..) => return Err("`value` and `default` need a `key`".into()),
        }
        for (name, value) in spec.values {
            let key = Key::new(&name, world);
            if wanted.iter().any(|(k, _)| k.dotted.eq_ignore_ascii_case(&key.dotted)) {
                return Err(format!("{} is given twice", key.dotted));
            }
            wanted.push((key, Wanted::Value(value)));
        }
        if let Some((key, _)) = wanted.iter().find(|(k, _)| !k.dotted.contains('.') || k.dotted.starts_with('.')) {
            return Err(format!(
                "{:?} is not the name of a setting; write it like Net.FollowHardwareMac or /Net/FollowHardwareMac",
                key.dotted
            ));
        }
        let kind = spec.kind.map(|k| match k {
            TypeSpec::Int => HostdType::Int,
            TypeSpec::Long => HostdType::Long,
            TypeSpec::String => HostdType::String,
            TypeSpec::Bool => HostdType::Bool,
        });
        let (accept, bulk) = (spec.accept, spec.bulk);
        Ok(Self { wanted, accept, bulk, world, kind, missing_ok: spec.missing_ok, reboot: spec.reboot })
    }
}

/// What was found of one setting.
#[derive(Debug)]
struct Found {
    /// The value as printed.
    value: String,
    /// What to do about it; `None`: it is as wanted.
    change: Option<Change>,
}

/// Why a setting could not be compared.
#[derive(Debug)]
enum Trouble {
    /// The host does not have it; the text says what it has that is alike.
    Missing(String),
    Error(StepError),
}

impl From<StepError> for Trouble {
    fn from(error: StepError) -> Self {
        Self::Error(error)
    }
}

impl Setting {
    fn look(&self, key: &Key, wanted: &Wanted, seen: &Seen<'_>) -> Result<Found, Trouble> {
        let mut found = match key.world {
            World::Vmkernel => vmkernel::look(key, wanted, seen),
            World::Kernel => kernel::look(key, wanted, seen),
            World::Hostd => hostd::look(key, wanted, self.kind, self.bulk, seen),
        }?;
        let passes = self.accept.as_ref().is_some_and(|accept| accept.passes(&found.value));
        if *wanted == Wanted::Judged {
            found.change = (!passes).then(|| self.finding(key, &found.value));
        } else if passes {
            // What is configured already and waits for the boot does so whatever passes.
            found.change = found.change.filter(Change::waits);
        }
        if let Some(change) = &mut found.change {
            self.complete(change);
        }
        Ok(found)
    }

    fn finding(&self, key: &Key, value: &str) -> Change {
        let after = self.accept.as_ref().map(Accept::describe).unwrap_or_default();
        let advice = format!(
            "the playbook does not say what {} shall be here: give the step a `value` (in the ready playbooks, the \
             variable that it names)",
            key.dotted
        );
        Change::finding(format!("setting {}", key.dotted), shown(value), after, advice)
    }

    /// What the playbook said of the setting also holds for taking the change back.
    fn complete(&self, change: &mut Change) {
        match self.reboot {
            // What is configured and only waits for the reboot is not a matter of opinion.
            Some(reboot) if !change.actions.is_empty() => change.effect.reboot = reboot,
            _ => {}
        }
        let Some(Undo { args: serde_json::Value::Object(args), .. }) = &mut change.undo else { return };
        let world = self.world.map(|w| match w {
            World::Vmkernel => "vmkernel",
            World::Hostd => "hostd",
            World::Kernel => "kernel",
        });
        args.extend(world.map(|w| ("world".to_owned(), json!(w))));
        args.extend(self.kind.map(|k| ("type".to_owned(), json!(k.word()))));
        args.extend(self.reboot.map(|r| ("reboot".to_owned(), json!(r))));
        args.extend(self.bulk.then(|| ("bulk".to_owned(), json!(true))));
    }

    /// Why a setting that the host does not have is an error, if it is one.
    fn missing(&self, key: &Key, alike: &str, seen: &Seen<'_>) -> Option<StepError> {
        let looked = self.read(key);
        // A world that the playbook names and the tables do not: whatever else it says, this is a mistake.
        let by_name = Key::new(&key.dotted, None).world;
        if self.world.is_some() && by_name != key.world {
            return Some(StepError::Refused(format!(
                "ESXi {} does not have the setting {} where the step looks for it (`{}`): by its name it belongs to {}. \
                 Leave `world` out.",
                seen.host.version,
                key.dotted,
                looked.text(),
                match by_name {
                    World::Vmkernel => "the VMkernel (`esxcli system settings advanced`)",
                    World::Hostd => "hostd (`vim-cmd hostsvc/advopt`); esxcli does not know it on any release",
                    World::Kernel => "the VMkernel's boot options (`esxcli system settings kernel`)",
                }
            )));
        }
        (!self.missing_ok).then(|| {
            StepError::Refused(format!(
                "ESXi {} does not have the setting {} (looked in `{}`).{alike} Check the name, or say \
                 `missing_ok: true` if it is right that only some releases have it.",
                seen.host.version,
                key.dotted,
                looked.text(),
            ))
        })
    }

    fn read(&self, key: &Key) -> Command {
        match key.world {
            World::Vmkernel => vmkernel::list(),
            World::Kernel => kernel::list(),
            World::Hostd if self.bulk => hostd::dump(),
            World::Hostd => hostd::view(key),
        }
    }
}

/// A value for a message: texts in quotes, so that an empty one is seen.
fn shown(value: &str) -> String {
    if value.parse::<i64>().is_ok() { value.to_owned() } else { format!("{value:?}") }
}

/// The one change that a setting needs; `undo`: the value that takes it back, where one can be said.
fn change(
    key: &Key,
    (before, after): (&str, &str),
    undo: Option<serde_json::Value>,
    action: Command,
    reboot: bool,
) -> Change {
    Change {
        summary: format!("setting {}", key.dotted),
        before: shown(before),
        after: shown(after),
        actions: vec![super::Action::Run(action)],
        effect: Effect { reboot, ..Effect::default() },
        undo: undo.and_then(|value| Undo::step(KIND.name, json!({"key": key.dotted, "value": value}))),
        ..Change::default()
    }
}

impl Step for Setting {
    fn summary(&self) -> String {
        let one = |(key, wanted): &(Key, Wanted)| match wanted {
            Wanted::Value(v) => format!("{} = {v}", key.dotted),
            Wanted::Default => format!("{} at its default", key.dotted),
            Wanted::Judged => {
                format!("{} is {}", key.dotted, self.accept.as_ref().map(Accept::describe).unwrap_or_default())
            }
        };
        match self.wanted.as_slice() {
            [first] => one(first),
            [first, rest @ ..] => format!("{} and {} more settings", one(first), rest.len()),
            [] => String::new(),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut out: Vec<Command> = Vec::new();
        for command in self.wanted.iter().map(|(key, _)| self.read(key)) {
            if !out.contains(&command) {
                out.push(command);
            }
        }
        out
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if !self.bulk {
            return Vec::new();
        }
        let keys: Vec<&Key> = self.wanted.iter().map(|(key, _)| key).filter(|k| k.world == World::Hostd).collect();
        hostd::not_in_dump(&keys, seen).into_iter().map(hostd::view).collect()
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        let mut missing = Vec::new();
        for (key, wanted) in &self.wanted {
            match self.look(key, wanted, seen) {
                Ok(found) => changes.extend(found.change),
                Err(Trouble::Missing(alike)) => match self.missing(key, &alike, seen) {
                    Some(error) => return Err(error),
                    None => missing.push(key.dotted.as_str()),
                },
                Err(Trouble::Error(error)) => return Err(error),
            }
        }
        if missing.len() == self.wanted.len() {
            let text = format!("ESXi {} does not have {}", seen.host.version, missing.join(", "));
            return Err(StepError::NotApplicable(text));
        }
        Ok(changes)
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // Some of hostd's settings have other faces: `Syslog.` is the syslog configuration, for one. Of these subtrees
        // the faces are known; what vim-cmd and the shell show is read again anyway.
        const KNOWN: &[&str] = &["Annotations.", "Config.", "DCUI.", "Security."];
        let known = |key: &Key| key.world != World::Hostd || KNOWN.iter().any(|p| key.dotted.starts_with(p));
        self.wanted.iter().all(|(key, _)| known(key)).then_some(&[
            "esxcli system settings",
            "esxcli system welcomemsg",
            "esxcli system account",
        ])
    }

    fn about(&self) -> About {
        About { kind: "setting", names: self.wanted.iter().map(|(key, _)| key.dotted.clone()).collect() }
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        if action.text().starts_with("vim-cmd ") { hostd::judge(action, output) } else { default_judge(action, output) }
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let values: serde_json::Map<String, serde_json::Value> = self
            .wanted
            .iter()
            .filter_map(|(key, wanted)| {
                let found = self.look(key, wanted, seen).ok()?;
                Some((key.dotted.clone(), found.value.into()))
            })
            .collect();
        json!({ "value": values.values().next(), "values": values })
    }
}
