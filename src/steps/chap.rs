//! `chap`: iSCSI adapters and targets prove to each other who they are.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, given, parse_as};
use crate::esxi::failure::{Class, failure};
use crate::esxi::{Command, HostFacts, Output};

#[cfg(test)]
mod tests;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "chap",
    about: "CHAP of iSCSI adapters, in one or in both directions",
    example: "- chap: {level: required, mutual_level: required}\n",
    parse: parse_as::<Chap>,
    schema: <ChapSpec as JsonSchema>::json_schema,
};

/// CHAP of the host's iSCSI adapters; a host without one needs none.
///
/// The target must know the same names and secrets, so without both a level that is too low is a finding for a person. A
/// secret goes over standard input and is neither shown nor kept; one that the host has cannot be read back, so another
/// secret at the right level is not seen. Software and dependent adapters only know the mutual direction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChapSpec {
    /// The adapter, for example `vmhba64`. Default: every iSCSI adapter.
    #[serde(default, deserialize_with = "given::text")]
    #[schemars(with = "Option<String>")]
    adapter: Option<String>,
    /// How the target has the host prove itself.
    #[serde(default)]
    level: Option<Level>,
    /// The host's name for it.
    #[serde(default)]
    name: Option<String>,
    /// The host's secret, for example `"{{ chap_secret }}"` from an encrypted file.
    #[serde(default)]
    secret: Option<Secret>,
    /// How the host has the target prove itself. Needs `level: required`.
    #[serde(default)]
    mutual_level: Option<Level>,
    /// The target's name for it.
    #[serde(default)]
    mutual_name: Option<String>,
    /// The target's secret; another one than the host's.
    #[serde(default)]
    mutual_secret: Option<Secret>,
}

/// Levels, from none to always (vendor's storage guide).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// Never.
    Prohibited,
    /// Where the target asks for it.
    Discouraged,
    /// Unless the target refuses.
    Preferred,
    /// Always.
    Required,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Prohibited => "prohibited",
            Self::Discouraged => "discouraged",
            Self::Preferred => "preferred",
            Self::Required => "required",
        }
    }
}

/// A secret that does not show itself.
#[derive(Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret not shown)")
    }
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ChapSpec")]
pub struct Chap {
    adapter: Option<String>,
    directions: Vec<Direction>,
}

/// One direction, as it is wanted.
#[derive(Debug, Clone)]
struct Direction {
    /// esxcli's word.
    word: &'static str,
    argument: &'static str,
    level: Level,
    login: Option<(String, Secret)>,
}

impl TryFrom<ChapSpec> for Chap {
    type Error = String;

    fn try_from(spec: ChapSpec) -> Result<Self, String> {
        let login = |name: Option<String>, secret: Option<Secret>, what: &str| match (
            name.filter(|n| !n.is_empty()),
            secret.filter(|s| !s.0.is_empty()),
        ) {
            (Some(name), Some(secret)) if !secret.0.contains(['\n', '\r', '\0']) => Ok(Some((name, secret))),
            (Some(_), Some(_)) => Err(format!("the secret of {what} is one line")),
            (None, None) => Ok(None),
            _ => Err(format!("{what} needs a name and a secret, or neither")),
        };
        let uni = login(spec.name, spec.secret, "the host (`name`, `secret`)")?;
        let mutual = login(spec.mutual_name, spec.mutual_secret, "the target (`mutual_name`, `mutual_secret`)")?;
        if let (Some((_, ours)), Some((_, theirs))) = (&uni, &mutual)
            && ours == theirs
        {
            return Err("`secret` and `mutual_secret` must be two".into());
        }
        let direction =
            |word, argument, level: Option<Level>, login| level.map(|level| Direction { word, argument, level, login });
        let directions = [
            direction("uni", "level", spec.level, uni),
            direction("mutual", "mutual_level", spec.mutual_level, mutual),
        ];
        let directions: Vec<Direction> = directions.into_iter().flatten().collect();
        if directions.is_empty() {
            Err("say what: `level` or `mutual_level`".into())
        } else {
            Ok(Self { adapter: spec.adapter, directions })
        }
    }
}

/// Recorded on 5.5: iscsi-adapter-list.
fn adapters() -> Command {
    Command::esxcli("iscsi adapter list")
}

impl Direction {
    /// Its form was not recorded: `Level:` and `Name:` are the labels of the vendor's reference.
    fn get(&self, adapter: &str) -> Command {
        Command::esxcli("iscsi adapter auth chap get").opt("--adapter", adapter).opt("--direction", self.word)
    }

    fn set(&self, adapter: &str) -> Command {
        let set =
            Command::esxcli("iscsi adapter auth chap set").opt("--adapter", adapter).opt("--direction", self.word);
        let level = |set: Command| set.opt("--level", self.level.word());
        let Some((name, Secret(secret))) = self.login.as_ref().filter(|_| self.level != Level::Prohibited) else {
            return level(set);
        };
        let set = level(set.opt("--authname", name)).words("--secret=\"$s\"");
        // On standard input a secret is in no command line that is shown, recorded or kept by the shell's log.
        Command::raw(format!("IFS= read -r s && {}", set.text())).stdin(format!("{secret}\n"))
    }

    fn compare(&self, seen: &Seen<'_>, adapter: &str) -> Result<Option<Change>, StepError> {
        let read = self.get(adapter);
        let record = seen.record(&read)?;
        let now = record.get("Level").map(|l| l.trim().trim_start_matches("chap").to_ascii_lowercase());
        let now = now.filter(|l| !l.is_empty()).ok_or_else(|| StepError::unreadable(&read, "no `Level:` in it"))?;
        if now == self.level.word() {
            return Ok(None);
        }
        let direction = if self.word == "uni" { "the host proves itself" } else { "the target proves itself" };
        let (summary, after) = (format!("CHAP of {adapter}, {direction}"), self.level.word());
        if self.level != Level::Prohibited && self.login.is_none() {
            let (name, secret) = if self.word == "uni" { ("name", "secret") } else { ("mutual_name", "mutual_secret") };
            return Ok(Some(Change::finding(
                summary,
                now,
                after,
                format!(
                    "set it at the target and on the host: give `{name}` and `{secret}`, or do it in the host client"
                ),
            )));
        }
        // A level that had a secret does not come back without it, and nothing tells the secret.
        let undo = Undo::step("chap", json!({ "adapter": adapter, self.argument: now }));
        let undo = undo.filter(|_| now == Level::Prohibited.word());
        let actions = vec![Action::Run(self.set(adapter))];
        Ok(Some(Change { summary, before: now, after: after.to_owned(), actions, undo, ..Change::default() }))
    }
}

impl Chap {
    fn adapters(&self, seen: &Seen<'_>) -> Result<Vec<String>, StepError> {
        let none = |why: String| Err(StepError::NotApplicable(why));
        // A host whose iSCSI was never asked for may not answer with a table.
        if failure(seen.raw(&adapters())?).is_some_and(|f| f.class == Class::UnknownCommand) {
            return none(format!("ESXi {} does not know `esxcli iscsi`", seen.host.version));
        }
        let names: Vec<String> =
            seen.table(&adapters())?.into_iter().filter_map(|mut r| r.shift_remove("Adapter")).collect();
        match &self.adapter {
            Some(one) if names.contains(one) => Ok(vec![one.clone()]),
            Some(one) => none(format!("the host has no iSCSI adapter {one}")),
            None if names.is_empty() => none("the host has no iSCSI adapter".into()),
            None => Ok(names),
        }
    }
}

impl Step for Chap {
    fn summary(&self) -> String {
        let parts: Vec<String> = self.directions.iter().map(|d| format!("{} {}", d.argument, d.level.word())).collect();
        format!("CHAP of {}: {}", self.adapter.as_deref().unwrap_or("iSCSI adapters"), parts.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![adapters()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        let names = self.adapters(seen).unwrap_or_default();
        names.iter().flat_map(|name| self.directions.iter().map(|d| d.get(name))).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli iscsi"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        for adapter in self.adapters(seen)? {
            for direction in &self.directions {
                changes.extend(direction.compare(seen, &adapter)?);
            }
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        default_judge(action, output)?;
        let note = "sessions that are up keep what they began with: it counts for new ones";
        Ok(Verdict { note: Some(note.into()), ..Verdict::default() })
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        let part = |d: &Direction| if d.word == "uni" { "secret" } else { "mutual_secret" };
        self.directions
            .iter()
            .filter_map(|d| d.login.as_ref().map(|(_, Secret(secret))| (part(d), secret.clone())))
            .collect()
    }
}
