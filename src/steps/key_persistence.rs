//! `key_persistence`: whether keys of encrypted virtual machines are kept in the TPM over a reboot.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{known, record, truth};
use super::secure_boot::{has_tpm, trusted_boot};
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::{Command, HostFacts, Version};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "key_persistence",
    about: "Keys of encrypted virtual machines are kept in the TPM, or not",
    example: "- key_persistence: {enabled: false}\n",
    parse: parse_as::<KeyPersistence>,
    schema: <KeyPersistence as JsonSchema>::json_schema,
};

const SINCE: Version = Version { major: 7, minor: 0, patch: 2 };
const WHAT: &str = "key persistence (Update 2)";

/// Key persistence. Turning it off removes the stored keys: encrypted virtual machines need the key server after the next
/// boot. A host without a TPM has none.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPersistence {
    /// Whether keys are kept.
    enabled: bool,
}

/// The form of its answer is that of the other switches of the namespace; it was not recorded.
fn get() -> Command {
    Command::esxcli("system security keypersistence get")
}

impl Step for KeyPersistence {
    fn summary(&self) -> String {
        format!("keys of virtual machines are {}kept in the TPM", if self.enabled { "" } else { "not " })
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if known(seen, &get(), WHAT, SINCE).is_ok() { vec![trusted_boot()] } else { Vec::new() }
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system security keypersistence"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        known(seen, &get(), WHAT, SINCE)?;
        let now = truth(&record(seen, &get(), WHAT, SINCE)?, "Enabled", &get())?;
        // Kept keys are kept in a TPM, whatever else is said of it.
        if !now && has_tpm(seen) == Some(false) {
            return Err(StepError::NotApplicable("the host has no TPM in which keys could be kept".into()));
        }
        if now == self.enabled {
            return Ok(Vec::new());
        }
        let command = if self.enabled {
            Command::esxcli("system security keypersistence enable")
        } else {
            Command::esxcli("system security keypersistence disable --remove-all-stored-keys")
        };
        Ok(vec![Change {
            summary: "key persistence".into(),
            before: now.to_string(),
            after: self.enabled.to_string(),
            actions: vec![Action::Run(command)],
            // The switch comes back, removed keys do not: the key server gives them again.
            undo: Undo::step("key_persistence", json!({ "enabled": now })),
            ..Change::default()
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step, texts, undone};
    use super::*;

    fn host(on: bool, tpm: bool) -> Host {
        let trusted = format!("   Drtm Enabled: false\n   Tpm Present: {tpm}\n");
        let says = format!("   Enabled: {on}\n");
        Host::with(Version::new(8, 0), &[(get().text(), &says), (trusted_boot().text(), &trusted)])
    }

    #[test]
    fn off_on_and_no_tpm() {
        let off = step(&KIND, json!({"enabled": false}));
        assert!(host(false, true).compare(off.as_ref()).unwrap().is_empty());
        let changes = host(true, true).compare(off.as_ref()).unwrap();
        assert_eq!(texts(&changes), ["esxcli system security keypersistence disable --remove-all-stored-keys"]);
        assert_eq!(undone(&host(false, true), &changes), ["esxcli system security keypersistence enable"]);
        assert!(matches!(host(false, false).compare(off.as_ref()), Err(StepError::NotApplicable(_))));
        let unknown = "Error: Unknown command or namespace system security keypersistence get\n\n";
        let old = Host::with(Version::new(7, 0), &[]).fails(&get(), unknown);
        assert!(matches!(old.compare(off.as_ref()), Err(StepError::NotApplicable(_))));
    }
}
