//! `secure_boot`: whether the firmware boots the host with Secure Boot. Judged only.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Change, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::failure::{Class, failure};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "secure_boot",
    about: "Checks that the firmware boots the host with Secure Boot",
    example: "- secure_boot: {}\n",
    parse: parse_as::<SecureBoot>,
    schema: <SecureBoot as JsonSchema>::json_schema,
};

/// Secure Boot is on in the firmware. Nothing on the host can turn it on, so a host without it is a finding for a person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecureBoot {}

/// Prints one word (recorded on 7.0: secureboot-py-s-disabled).
pub(super) fn status() -> Command {
    Command::new("/usr/lib/vmware/secureboot/bin/secureBoot.py -s")
}

/// Whether Secure Boot is on.
pub(super) fn is_on(seen: &Seen<'_>) -> Result<bool, StepError> {
    let output = seen.raw(&status())?;
    if failure(output).is_some_and(|f| f.class == Class::NotFound) || output.stderr.contains("No such file") {
        return Err(StepError::NotApplicable(format!(
            "ESXi {} has no secureBoot.py: Secure Boot came with 6.5",
            seen.host.version
        )));
    }
    match seen.output(&status())?.stdout.trim() {
        w if w.eq_ignore_ascii_case("enabled") => Ok(true),
        w if w.eq_ignore_ascii_case("disabled") => Ok(false),
        other => Err(StepError::unreadable(&status(), format!("neither Enabled nor Disabled: {other:?}"))),
    }
}

/// Reads whether there is a TPM.
pub(super) fn trusted_boot() -> Command {
    Command::esxcli("hardware trustedboot get")
}

/// Whether the host has a TPM; `None`: its answer does not say so.
///
/// The label is that of the vendor's guides; its answer was not recorded, and whether a TPM 1.2 counts is not verified.
pub(super) fn has_tpm(seen: &Seen<'_>) -> Option<bool> {
    let record = seen.record(&trusted_boot()).ok()?;
    super::sysargs::truth(record.get("Tpm Present")?)
}

impl Step for SecureBoot {
    fn summary(&self) -> String {
        "Secure Boot is on in the firmware".into()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![status()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        if is_on(seen)? {
            return Ok(Vec::new());
        }
        Ok(vec![Change::finding(
            "Secure Boot in the firmware",
            "Disabled",
            "Enabled",
            "turn it on in the firmware: first see whether `/usr/lib/vmware/secureboot/bin/secureBoot.py -c` says that it can be; with it %firstboot sections of kickstarts do not run",
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step};
    use super::*;
    use crate::esxi::{Output, Version, recorded};

    #[test]
    fn one_word_decides() {
        let judged = step(&KIND, serde_json::json!({}));
        let v = Version::new(7, 0);
        assert!(Host::with(v, &[(status().text(), "Enabled\n")]).compare(judged.as_ref()).unwrap().is_empty());
        let off = recorded(include_str!("../../fixtures/transcripts/7.0/secureboot-py-s-disabled.txt"));
        let changes = Host::with(v, &[(status().text(), &off)]).compare(judged.as_ref()).unwrap();
        assert!(changes[0].by_hand.is_some() && changes[0].actions.is_empty());
        assert!(Host::with(v, &[(status().text(), "")]).compare(judged.as_ref()).is_err());
        let none = Output { code: 127, stderr: "sh: secureBoot.py: not found\n".into(), ..Output::default() };
        let old = Host::with(Version::new(6, 0), &[]).ends(&status(), none);
        assert!(matches!(old.compare(judged.as_ref()), Err(StepError::NotApplicable(_))));
    }
}
