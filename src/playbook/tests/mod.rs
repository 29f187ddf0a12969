//! Playbooks through the front door of this room, with kinds of steps of their own.

mod binding;
mod fuzz;
mod keys;
mod templates;
mod traps;

use std::collections::BTreeSet;
use std::fmt::Debug;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::load::{Kinds, load};
use super::problem::Problem;
use super::*;
use crate::esxi::{Command, Version};
use crate::steps::{Change, Seen, StepError, parse_as};

macro_rules! test_kind {
    ($t:ty) => {
        impl Step for $t {
            fn summary(&self) -> String {
                format!("{self:?}")
            }
            fn reads(&self, _: &HostFacts) -> Vec<Command> {
                Vec::new()
            }
            fn compare(&self, _: &Seen<'_>) -> Result<Vec<Change>, StepError> {
                Ok(Vec::new())
            }
        }
    };
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Vib {
    name: String,
    path: Option<String>,
    acceptance: Option<String>,
    #[serde(default)]
    state: State,
}
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
    On,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Portgroup {
    name: String,
    vlan: Option<u16>,
    security: Option<Security>,
    uplinks: Option<Vec<String>>,
    ratio: Option<f64>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Security {
    promiscuous: Option<bool>,
    forged: Option<bool>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Setting {
    name: String,
    value: Value,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct FileStep {
    path: String,
    mode: Option<String>,
    content: Option<String>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Run {
    Text(String),
    Full { command: String, read_only: Option<bool>, codes: Option<Vec<i32>> },
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Assert {
    command: String,
    matches: Option<String>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Account {
    name: String,
    password: String,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Reboot {
    always: Option<bool>,
}
test_kind!(Vib);
test_kind!(Portgroup);
test_kind!(Setting);
test_kind!(FileStep);
test_kind!(Run);
test_kind!(Assert);
test_kind!(Account);
test_kind!(Reboot);

const fn kind<T: DeserializeOwned + Step + JsonSchema + 'static>(name: &'static str) -> Kind {
    Kind { name, about: "", example: "", parse: parse_as::<T>, schema: |g| g.subschema_for::<T>() }
}
static KINDS: &[Kind] = &[
    kind::<Vib>("vib"),
    kind::<Portgroup>("portgroup"),
    kind::<Setting>("setting"),
    kind::<FileStep>("file"),
    kind::<Run>("run"),
    kind::<Assert>("assert"),
    kind::<Account>("account"),
    kind::<Reboot>("reboot"),
];

fn kinds() -> Kinds<'static> {
    Kinds { find: &|name| KINDS.iter().find(|k| k.name == name), names: KINDS.iter().map(|k| k.name).collect() }
}

/// Files in a folder of their own; problems show paths relative to it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn load(&self, extra: &[&str]) -> Result<Playbook, Vec<Problem>> {
        let extra: BTreeSet<String> = extra.iter().map(|s| (*s).to_owned()).collect();
        load(&self.0.path().join("site.yml"), &extra, &kinds())
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn plain(&self, extra: &[&str]) -> String {
        self.short(&Problems::from(self.load(extra).unwrap_err()).plain())
    }

    fn drawn(&self) -> String {
        let drawn = Problems::from(self.load(&[]).unwrap_err()).drawn(false, 300);
        self.short(&drawn).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

fn plain(text: &str) -> String {
    Folder::new(&[("site.yml", text)]).plain(&[])
}

/// Problems of a playbook with one step.
fn step_problem(step: &str) -> String {
    let indented = step.replace('\n', "\n    ");
    plain(&format!("steps:\n  - {indented}\n"))
}

fn good(text: &str) -> Playbook {
    match Folder::new(&[("site.yml", text)]).load(&[]) {
        Ok(book) => book,
        Err(problems) => panic!("{}", Problems::from(problems).plain()),
    }
}

fn facts() -> HostFacts {
    HostFacts::example(Version::new(6, 5))
}

fn bind_with(
    book: &Playbook,
    step: usize,
    vars: &IndexMap<String, Value>,
    registered: Value,
) -> Result<Vec<Bound>, Problems> {
    let registered: IndexMap<String, Value> = serde_json::from_value(registered).unwrap();
    let facts = facts();
    let scope = Scope { vars, facts: &facts, inventory_name: "esx1", registered: &registered };
    book.bind(&book.steps[step], &scope)
}

fn bind(book: &Playbook, step: usize, registered: Value) -> Vec<Bound> {
    bind_with(book, step, &book.vars, registered).unwrap_or_else(|p| panic!("{}", p.plain()))
}

/// What one step of a playbook became.
fn made(text: &str) -> String {
    let book = good(text);
    bind(&book, 0, json!({})).into_iter().map(|b| format!("{:?}", b.what.unwrap())).collect::<Vec<_>>().join("\n")
}

fn made_step(step: &str) -> String {
    made(&format!("steps:\n  - {}\n", step.replace('\n', "\n    ")))
}
