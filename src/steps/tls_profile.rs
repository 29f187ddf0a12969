//! `tls_profile`: the set of TLS versions and ciphers that the host's services offer.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{record, truth};
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, parse_as};
use crate::esxi::{Command, HostFacts, Output, Version};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "tls_profile",
    about: "The TLS profile of the host's services (8.0 Update 3 and later)",
    example: "- tls_profile: {profile: NIST_2024}\n",
    parse: parse_as::<TlsProfile>,
    schema: <TlsProfile as JsonSchema>::json_schema,
};

/// TLS profiles came with 8.0 Update 3.
const SINCE: Version = Version { major: 8, minor: 0, patch: 3 };
const WHAT: &str = "the TLS profile (Update 3)";

/// The TLS profile of the host's services. It is configured in maintenance mode and counts from the next boot on.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsProfile {
    /// The profile: `COMPATIBLE` (the default), `NIST_2024`; 9.1 knows `NIST_2024_TLS_13_ONLY` too.
    #[schemars(length(min = 1))]
    profile: String,
}

/// The profile that this boot runs with.
///
/// Whether `Profile:` is then the current one also while another waits is not verified: while `Reboot Required` is true,
/// what is configured is read by itself.
fn current() -> Command {
    Command::esxcli("system tls server get --show-profile-defaults --show-current-boot-profile")
}

/// The profile that is configured.
fn configured() -> Command {
    Command::esxcli("system tls server get")
}

/// Profile, and whether a change waits for the reboot.
fn read(seen: &Seen<'_>, command: &Command) -> Result<(String, bool), StepError> {
    let record = record(seen, command, WHAT, SINCE)?;
    let profile = record.get("Profile").filter(|p| !p.is_empty());
    let profile = profile.ok_or_else(|| StepError::unreadable(command, "no `Profile:` in it"))?.clone();
    let waits = record.contains_key("Reboot Required") && truth(&record, "Reboot Required", command)?;
    Ok((profile, waits))
}

impl Step for TlsProfile {
    fn summary(&self) -> String {
        format!("TLS profile {}", self.profile)
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![current()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        read(seen, &current()).into_iter().filter(|(_, waits)| *waits).map(|_| configured()).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system tls"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (now, waits) = read(seen, &current())?;
        let next = if waits { read(seen, &configured())?.0 } else { now.clone() };
        let set = next != self.profile;
        if !set && !waits {
            return Ok(Vec::new());
        }
        let action = Command::esxcli("system tls server set").opt("-p", &self.profile);
        Ok(vec![Change {
            summary: if set { "TLS profile".into() } else { "TLS profile (configured, this boot runs another)".into() },
            before: if waits { format!("{now}, {next} after the reboot") } else { now },
            after: self.profile.clone(),
            actions: if set { vec![Action::Run(action)] } else { Vec::new() },
            effect: Effect { reboot: true, maintenance: set, ..Effect::default() },
            // A profile `MANUAL` has values of its own beside its name, which nothing here keeps.
            undo: Undo::step("tls_profile", json!({ "profile": next })).filter(|_| set && next != "MANUAL"),
            ..Change::default()
        }])
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        default_judge(action, output)?;
        Ok(Verdict { reboot: true, ..Verdict::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step, texts, undone};
    use super::*;

    const CURRENT: &str = "esxcli system tls server get --show-profile-defaults --show-current-boot-profile";
    const CONFIGURED: &str = "esxcli system tls server get";

    /// In the form that the hardening guides show; no output was recorded.
    fn said(profile: &str, reboot: bool) -> String {
        format!(
            "   Profile: {profile}\n   Cipher List: ECDHE+AESGCM\n   Cipher Suite: TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384\n   \
             Groups: prime256v1:secp384r1:secp521r1\n   Protocol Versions: tls1.2,tls1.3\n   Reboot Required: {reboot}\n"
        )
    }

    fn host(current: &str, next: &str) -> Host {
        let waits = current != next;
        Host::with(SINCE, &[(CURRENT, &said(current, waits)), (CONFIGURED, &said(next, waits))])
    }

    fn wanted() -> Box<dyn Step> {
        step(&KIND, json!({"profile": "NIST_2024"}))
    }

    #[test]
    fn configured_and_current_are_two_things() {
        assert!(host("NIST_2024", "NIST_2024").compare(wanted().as_ref()).unwrap().is_empty());
        let changes = host("COMPATIBLE", "COMPATIBLE").compare(wanted().as_ref()).unwrap();
        assert_eq!(texts(&changes), ["esxcli system tls server set -p NIST_2024"]);
        assert!(changes[0].effect.maintenance && changes[0].effect.reboot && !changes[0].waits());
        let pending = host("COMPATIBLE", "NIST_2024");
        let waiting = pending.compare(wanted().as_ref()).unwrap();
        assert!(waiting[0].waits(), "{waiting:?}");
        assert_eq!(undone(&pending, &changes), ["esxcli system tls server set -p COMPATIBLE"]);
        assert_eq!(undone(&host("NIST_2024", "NIST_2024"), &changes).len(), 1);
        // Right now, and gone with the next boot.
        assert_eq!(host("NIST_2024", "COMPATIBLE").actions(wanted().as_ref()).len(), 1);
    }

    #[test]
    fn what_is_configured_is_read_only_while_something_waits() {
        let more = |host: &Host| {
            let artifacts = super::super::Artifacts::default();
            let seen = Seen { host: &host.facts, outputs: &host.outputs, artifacts: &artifacts };
            wanted().more_reads(&seen).iter().map(|c| c.text().to_owned()).collect::<Vec<_>>()
        };
        assert!(more(&host("COMPATIBLE", "COMPATIBLE")).is_empty());
        assert_eq!(more(&host("COMPATIBLE", "NIST_2024")), [CONFIGURED]);
        // Both of the same name, as a guide shows it: configured, and it waits.
        let both = Host::with(SINCE, &[(CURRENT, &said("NIST_2024", true)), (CONFIGURED, &said("NIST_2024", true))]);
        assert!(both.compare(wanted().as_ref()).unwrap()[0].waits());
    }

    #[test]
    fn before_update_3_it_has_no_meaning() {
        let unknown = "Error: Unknown command or namespace system tls server get\n\n";
        for version in [Version::new(7, 0), Version { major: 8, minor: 0, patch: 2 }] {
            let old = Host::with(version, &[]).fails(&current(), unknown);
            assert!(matches!(old.compare(wanted().as_ref()), Err(StepError::NotApplicable(_))), "{version}");
        }
    }
}
