//! `encryption`: how the host's configuration is sealed, and what a boot must fulfil to unseal it.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{record, truth};
use super::secure_boot::{has_tpm, is_on, status, trusted_boot};
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, parse_as};
use crate::esxi::{Command, HostFacts, Output, Version};

#[cfg(test)]
mod tests;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "encryption",
    about: "The configuration is sealed with the TPM, and needs Secure Boot or installed VIBs only to be unsealed",
    example: "- encryption: {mode: TPM, require_secure_boot: true}\n",
    parse: parse_as::<Encryption>,
    schema: <EncryptionSpec as JsonSchema>::json_schema,
};

const SINCE: Version = Version { major: 7, minor: 0, patch: 2 };
const WHAT: &str = "sealing the configuration (Update 2)";
const INSTALLED: &str = "Require Executables Only From Installed VIBs";
const SECURE: &str = "Require Secure Boot";
const RECOVERY: &str =
    "keep the recovery key outside of the host: `esxcli system settings encryption recovery list` shows it";

/// How the host's configuration is sealed.
///
/// All of it needs a TPM 2.0; a host without one has a finding that only hardware removes. What would make the next boot
/// fail is never set: Secure Boot is required only where it is on, installed VIBs only where the running kernel has
/// `execInstalledOnly`. Mode TPM cannot be left again. Save the recovery key before: without it a changed board or
/// firmware ends in a new installation. It is never read here.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EncryptionSpec {
    /// How the configuration is sealed.
    #[serde(default)]
    mode: Option<Mode>,
    /// Unsealed only by a boot with Secure Boot.
    #[serde(default)]
    require_secure_boot: Option<bool>,
    /// Unsealed only by a boot with `execInstalledOnly`.
    #[serde(default)]
    require_installed_only: Option<bool>,
}

/// How the configuration is sealed. `NONE` is not offered: no host leaves mode TPM (vendor's documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
enum Mode {
    /// With the TPM.
    #[serde(rename = "TPM")]
    Tpm,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "EncryptionSpec")]
pub struct Encryption(EncryptionSpec);

impl TryFrom<EncryptionSpec> for Encryption {
    type Error = String;

    fn try_from(spec: EncryptionSpec) -> Result<Self, String> {
        match (spec.mode, spec.require_secure_boot, spec.require_installed_only) {
            (None, None, None) => Err("say what: `mode`, `require_secure_boot` or `require_installed_only`".into()),
            _ => Ok(Self(spec)),
        }
    }
}

/// Recorded on 7.0: settings-encryption-get-none.
fn get() -> Command {
    Command::esxcli("system settings encryption get")
}

fn kernel() -> Command {
    Command::esxcli("system settings kernel list -o execInstalledOnly")
}

fn set() -> Command {
    Command::esxcli("system settings encryption set")
}

/// What the host has.
struct Now {
    mode: String,
    secure_boot: bool,
    installed_only: bool,
}

impl Now {
    fn read(seen: &Seen<'_>) -> Result<Self, StepError> {
        let record = record(seen, &get(), WHAT, SINCE)?;
        let mode = record.get("Mode").ok_or_else(|| StepError::unreadable(&get(), "no `Mode:` in it"))?;
        Ok(Self {
            mode: mode.to_ascii_uppercase(),
            secure_boot: truth(&record, SECURE, &get())?,
            installed_only: truth(&record, INSTALLED, &get())?,
        })
    }

    fn sealed(&self) -> bool {
        self.mode == "TPM"
    }
}

impl Encryption {
    /// What differs: mode, Secure Boot, installed VIBs only.
    fn differs(&self, now: &Now) -> (bool, Option<bool>, Option<bool>) {
        let s = &self.0;
        (
            s.mode.is_some() && !now.sealed(),
            s.require_secure_boot.filter(|want| *want != now.secure_boot),
            s.require_installed_only.filter(|want| *want != now.installed_only),
        )
    }

    /// Why the next boot or the command would fail; `None`: it would not.
    fn hindrance(
        &self,
        seen: &Seen<'_>,
        now: &Now,
        secure: bool,
        installed: bool,
    ) -> Result<Option<String>, StepError> {
        let tpm = if now.sealed() { Some(true) } else { has_tpm(seen) };
        match tpm {
            Some(true) => {}
            Some(false) => {
                return Ok(Some(
                    "the host has no TPM 2.0: fit one, or record the risk (the STIG lowers this to category III)"
                        .into(),
                ));
            }
            None => {
                return Ok(Some(
                    "`esxcli hardware trustedboot get` does not say whether there is a TPM 2.0: look yourself".into(),
                ));
            }
        }
        if secure && !is_on(seen)? {
            return Ok(Some(
                "Secure Boot is off in the firmware: turn it on there first, else the next boot fails".into(),
            ));
        }
        if installed && !installed_only_runs(seen)? {
            return Ok(Some(
                "the running kernel has no `execInstalledOnly=TRUE`: set it (`setting`) and reboot first, else the next boot fails".into(),
            ));
        }
        Ok(None)
    }

    /// One change, or the finding in its place.
    fn change(&self, what: &str, before: String, after: String, command: Command, why_not: Option<String>) -> Change {
        match why_not {
            Some(why) => Change::finding(what, before, after, why),
            None => Change {
                summary: format!("{what} ({RECOVERY})"),
                before,
                after,
                actions: vec![Action::Run(command)],
                effect: Effect { reboot: true, ..Effect::default() },
                ..Change::default()
            },
        }
    }
}

/// Whether this boot runs with `execInstalledOnly`.
fn installed_only_runs(seen: &Seen<'_>) -> Result<bool, StepError> {
    let rows = seen.table(&kernel())?;
    let runtime = rows.first().and_then(|row| row.get("Runtime")).and_then(|v| super::sysargs::truth(v));
    runtime.ok_or_else(|| StepError::unreadable(&kernel(), "no column `Runtime` with true or false"))
}

impl Step for Encryption {
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.0.mode.map(|_| "mode TPM".to_owned()));
        parts.extend(self.0.require_secure_boot.map(|on| format!("require Secure Boot {on}")));
        parts.extend(self.0.require_installed_only.map(|on| format!("require installed VIBs only {on}")));
        format!("sealed configuration: {}", parts.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        let Ok(now) = Now::read(seen) else { return Vec::new() };
        let (mode, secure, installed) = self.differs(&now);
        let mut reads = Vec::new();
        if !now.sealed() && (mode || secure == Some(true) || installed == Some(true)) {
            reads.push(trusted_boot());
        }
        if secure == Some(true) {
            reads.push(status());
        }
        if installed == Some(true) {
            reads.push(kernel());
        }
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system settings encryption"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = Now::read(seen)?;
        let (mode, secure, installed) = self.differs(&now);
        let mut changes = Vec::new();
        if mode {
            let why_not = self.hindrance(seen, &now, false, false)?;
            let command = set().words("--mode=TPM");
            // No undo: a host cannot leave mode TPM.
            let mut change =
                self.change("mode of the sealed configuration", now.mode.clone(), "TPM".into(), command, why_not);
            change.effect.maintenance = change.by_hand.is_none();
            changes.push(change);
        }
        if let Some(want) = secure {
            let why_not = if want { self.hindrance(seen, &now, true, false)? } else { None };
            let command = set().opt("--require-secure-boot", want.to_string());
            let mut change =
                self.change("require Secure Boot", now.secure_boot.to_string(), want.to_string(), command, why_not);
            change.undo = Undo::step("encryption", json!({ "require_secure_boot": now.secure_boot }))
                .filter(|_| change.by_hand.is_none());
            changes.push(change);
        }
        if let Some(want) = installed {
            let why_not = if want { self.hindrance(seen, &now, false, true)? } else { None };
            let command = set().opt("--require-exec-installed-only", want.to_string());
            let (before, after) = (now.installed_only.to_string(), want.to_string());
            let mut change = self.change("require executables of installed VIBs only", before, after, command, why_not);
            change.undo = Undo::step("encryption", json!({ "require_installed_only": now.installed_only }))
                .filter(|_| change.by_hand.is_none());
            changes.push(change);
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        default_judge(action, output).map_err(|error| match error {
            StepError::Command { command, message, .. } => StepError::Command {
                command,
                message,
                advice: Some("What is required is sealed by the TPM: the mode must be TPM first (`encryption: {mode: TPM}` before this step), and the TPM one that this release supports.".into()),
            },
            other => other,
        })?;
        Ok(Verdict { reboot: true, note: Some(RECOVERY.into()), ..Verdict::default() })
    }
}
