//! `signed_modules`: kernel modules are signed. Judged only.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Change, Kind, Seen, Step, StepError, given, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "signed_modules",
    about: "Checks that kernel modules are signed",
    example: "- signed_modules: {modules: [vmkfc, ntg3]}\n",
    parse: parse_as::<SignedModules>,
    schema: <SignedModules as JsonSchema>::json_schema,
};

/// Kernel modules are signed. A host answers for one module at a time, about a second each, and has more than a hundred:
/// without `modules` or `every_loaded` nothing is read and nothing judged.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignedModules {
    /// The modules to look at.
    #[serde(default, deserialize_with = "given::list")]
    #[schemars(with = "Option<super::sysargs::OneOrMany<String>>")]
    modules: Vec<String>,
    /// Look at every module that is loaded.
    #[serde(default)]
    every_loaded: bool,
}

fn list() -> Command {
    Command::esxcli("system module list")
}

/// Holds `Signed Status:` (benchmarks for 6.7 and 7.0); the words in it are not verified.
fn get(module: &str) -> Command {
    Command::esxcli("system module get").opt("-m", module)
}

impl SignedModules {
    fn names(&self, seen: &Seen<'_>) -> Result<Vec<String>, StepError> {
        if !self.every_loaded {
            return Ok(self.modules.clone());
        }
        let loaded = seen.table(&list())?.into_iter();
        let loaded = loaded.filter(|r| r.get("Is Loaded").is_some_and(|v| v.eq_ignore_ascii_case("true")));
        Ok(loaded.filter_map(|r| r.get("Name").cloned()).collect())
    }
}

impl Step for SignedModules {
    fn summary(&self) -> String {
        match (self.every_loaded, self.modules.len()) {
            (true, _) => "every loaded kernel module is signed".into(),
            (_, 0) => "kernel modules are signed".into(),
            _ => format!("kernel modules are signed: {}", self.modules.join(", ")),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        if self.every_loaded { vec![list()] } else { self.modules.iter().map(|m| get(m)).collect() }
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        self.names(seen).unwrap_or_default().iter().map(|m| get(m)).collect()
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let names = self.names(seen)?;
        if names.is_empty() {
            return Err(StepError::NotJudged(
                "a host answers for one module at a time: name the `modules`, or ask for `every_loaded` and wait"
                    .into(),
            ));
        }
        let mut unsigned = Vec::new();
        for name in names {
            let read = get(&name);
            let record = seen.record(&read)?;
            let status = record.get("Signed Status").map(|s| s.trim().to_ascii_lowercase());
            match status.as_deref() {
                Some(s) if s.contains("unsigned") || s.contains("not signed") => unsigned.push(name),
                Some(s) if s.contains("signed") => {}
                _ => return Err(StepError::unreadable(&read, "no `Signed Status:` with a known word")),
            }
        }
        if unsigned.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Change::finding(
            "kernel modules without a signature",
            unsigned.join(", "),
            "none",
            "remove the VIB that brings it, or keep it from loading: `- module: {name: ..., enabled: false}` and a reboot",
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step, table};
    use super::*;
    use crate::esxi::Version;

    fn said(status: &str) -> String {
        format!("   Module: x\n   License: ThirdParty:VMware\n   Signed Status: {status}\n")
    }

    #[test]
    fn named_ones_or_all_that_are_loaded() {
        let modules = table(
            &["Name", "Is Loaded", "Is Enabled"],
            &[&["ntg3", "true", "true"], &["odd", "true", "true"], &["off", "false", "false"]],
        );
        let (ntg3, odd) = (get("ntg3"), get("odd"));
        let host = Host::with(
            Version::new(7, 0),
            &[(list().text(), &modules), (ntg3.text(), &said("VMware Signed")), (odd.text(), &said("Unsigned"))],
        );
        let judge = |json| host.compare(step(&KIND, json).as_ref());
        assert!(judge(serde_json::json!({"modules": "ntg3"})).unwrap().is_empty());
        let found = judge(serde_json::json!({"every_loaded": true})).unwrap();
        assert!(found[0].by_hand.is_some() && found[0].before == "odd");
        assert!(matches!(judge(serde_json::json!({})), Err(StepError::NotJudged(_))));
        let host = Host::with(Version::new(7, 0), &[(ntg3.text(), &said(""))]);
        assert!(host.compare(step(&KIND, serde_json::json!({"modules": ["ntg3"]})).as_ref()).is_err());
    }
}
