//! `maintenance`: enter or leave maintenance mode.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::sysargs::Span;
use super::{Action, Change, Kind, Seen, Step, StepError, Verdict, default_judge, parse_as};
use crate::esxi::{Command, HostFacts, Output};

/// The kind.
pub const KIND: Kind = Kind {
    name: "maintenance",
    about: "Enters or leaves maintenance mode",
    example: "\
- maintenance:
    enabled: true
    timeout: 10m
",
    parse: parse_as::<Maintenance>,
    schema: |generator| generator.subschema_for::<Maintenance>(),
};

/// Maintenance mode. Entering it waits until no virtual machine runs; what is done with running ones is the
/// playbook's `on_running_vms`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// Whether the host is to be in maintenance mode.
    enabled: bool,
    /// The longest time that entering or leaving may take.
    #[serde(default = "timeout")]
    timeout: Span,
}

fn timeout() -> Span {
    Span(Duration::from_secs(600))
}

fn get() -> Command {
    Command::esxcli("system maintenanceMode get")
}

/// One bare word. Recorded on 5.5: maintenancemode-get-enabled and -disabled.
fn now(seen: &Seen<'_>) -> Result<bool, StepError> {
    match seen.output(&get())?.stdout.trim() {
        w if w.eq_ignore_ascii_case("enabled") => Ok(true),
        w if w.eq_ignore_ascii_case("disabled") => Ok(false),
        other => Err(StepError::unreadable(&get(), format!("neither Enabled nor Disabled: {other:?}"))),
    }
}

fn word(on: bool) -> String {
    if on { "in maintenance mode" } else { "not in maintenance mode" }.to_owned()
}

impl Step for Maintenance {
    fn summary(&self) -> String {
        if self.enabled { "enter maintenance mode" } else { "leave maintenance mode" }.to_owned()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        if now(seen)? == self.enabled {
            return Ok(Vec::new());
        }
        let vms = &seen.host.running_vms;
        let waits = if self.enabled && !vms.is_empty() {
            format!(" (waits until these virtual machines are off: {})", vms.join(", "))
        } else {
            String::new()
        };
        let set = Command::esxcli("system maintenanceMode set")
            .opt("-e", if self.enabled { "true" } else { "false" })
            .opt("-t", self.timeout.0.as_secs().to_string())
            // The host gives up by itself first, and says why.
            .timeout(self.timeout.0.saturating_add(Duration::from_secs(30)));
        Ok(vec![Change {
            summary: format!("{}{waits}", self.summary()),
            before: word(!self.enabled),
            after: word(self.enabled),
            actions: vec![Action::Run(set)],
            ..Change::default()
        }])
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        // Recorded on 7.0: maintenancemode-set-already-enabled. The exit code was not.
        let text = output.stdout.to_ascii_lowercase();
        if text.contains("already enabled")
            || text.contains("already disabled")
            || text.contains("already in maintenance")
        {
            return Ok(Verdict { changed: Some(false), ..Verdict::default() });
        }
        default_judge(action, output).map_err(|error| match error {
            StepError::Command { command, message, .. } => StepError::Command {
                command,
                message,
                advice: self.enabled.then(|| {
                    "Virtual machines that still run keep a host out of maintenance mode: shut them down or suspend \
                     them (`on_running_vms` in the playbook does it), or give a longer `timeout`."
                        .into()
                }),
            },
            other => other,
        })
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        serde_json::json!({ "was_enabled": now(seen).ok() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::{Outputs, Version, recorded};
    use crate::steps::Artifacts;

    fn compare(json: serde_json::Value, text: &str, vms: &[&str]) -> Result<Vec<Change>, StepError> {
        let step: Maintenance = serde_json::from_value(json).unwrap();
        let mut host = HostFacts::example(Version::new(5, 5));
        host.running_vms = vms.iter().map(|v| (*v).to_owned()).collect();
        let mut seen = Outputs::default();
        seen.insert(&get(), Output::ok(text));
        step.compare(&Seen { host: &host, outputs: &seen, artifacts: &Artifacts::default() })
    }

    #[test]
    fn words_recorded_on_5_5() {
        let on = recorded(include_str!("../../fixtures/transcripts/5.x/maintenancemode-get-enabled.txt"));
        let off = recorded(include_str!("../../fixtures/transcripts/5.x/maintenancemode-get-disabled.txt"));
        assert!(compare(json!({"enabled": true}), &on, &[]).unwrap().is_empty());
        assert!(compare(json!({"enabled": false}), &off, &[]).unwrap().is_empty());
        let enter = compare(json!({"enabled": true, "timeout": "2m"}), &off, &["web1"]).unwrap();
        let Action::Run(command) = &enter[0].actions[0] else { panic!("not a command") };
        assert_eq!(command.text(), "esxcli system maintenanceMode set -e true -t 120");
        assert_eq!(command.time_limit(), Some(Duration::from_secs(150)));
        assert!(enter[0].summary.contains("web1"));
        assert!(!compare(json!({"enabled": false}), &on, &["web1"]).unwrap()[0].summary.contains("web1"));
        assert!(compare(json!({"enabled": true}), "who knows", &[]).is_err());
    }

    #[test]
    fn being_there_already_is_a_success_and_vms_are_advised_about() {
        let text = recorded(include_str!("../../fixtures/transcripts/7.0/maintenancemode-set-already-enabled.txt"));
        let step: Maintenance = serde_json::from_value(json!({"enabled": true})).unwrap();
        let set = Command::esxcli("system maintenanceMode set -e true");
        let said = |text: &str| Output { stdout: text.into(), code: 1, ..Output::default() };
        assert_eq!(step.judge(&set, &said(&text)).unwrap().changed, Some(false));
        let error = step.judge(&set, &said("Operation timed out.")).unwrap_err().to_string();
        assert!(error.contains("Operation timed out.") && error.contains("on_running_vms"), "{error}");
    }
}
