//! `acceptance`: the least acceptance level that a VIB may have on the host.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::software::Acceptance as Level;
use crate::esxi::{Command, HostFacts, Output};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "acceptance",
    about: "The host's acceptance level for VIBs",
    example: "- acceptance: {level: CommunitySupported}\n",
    parse: parse_as::<Acceptance>,
    schema: <Acceptance as JsonSchema>::json_schema,
};

/// Sets the host's acceptance level.
///
/// Levels from strict to lenient: VMwareCertified, VMwareAccepted, PartnerSupported (the default of a new host), CommunitySupported.
/// A host refuses to become stricter than a VIB that it has. CommunitySupported is not compatible with UEFI secure boot.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acceptance {
    /// The level.
    pub level: Level,
    /// Other levels that pass.
    #[serde(default)]
    pub accept: Vec<Level>,
}

fn get() -> Command {
    Command::esxcli("software acceptance get")
}

fn list() -> Command {
    Command::esxcli("software vib list")
}

impl Step for Acceptance {
    fn summary(&self) -> String {
        format!("acceptance level {}", self.level)
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get(), list()]
    }

    fn only_to_plan(&self, _host: &HostFacts) -> Vec<Command> {
        vec![list()]
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli software"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now: Level = seen.output(&get())?.stdout.parse().map_err(|e| StepError::unreadable(&get(), e))?;
        if now == self.level || self.accept.contains(&now) {
            return Ok(Vec::new());
        }
        if self.level > now {
            let vibs = super::vib::read_installed(seen, &list())?;
            let below: Vec<String> = vibs
                .iter()
                .filter(|v| v.acceptance.parse::<Level>().is_ok_and(|l| l < self.level))
                .map(|v| format!("{} ({})", v.name, v.acceptance))
                .collect();
            if !below.is_empty() {
                return Err(StepError::Refused(format!(
                    "the acceptance level cannot be raised from {now} to {}: the host has VIBs below it: {}. Remove them first (`- vib: {{name: ..., state: absent}}`) or ask for a lower level",
                    self.level,
                    below.join(", ")
                )));
            }
        }
        let set = Command::esxcli("software acceptance set").opt("--level", self.level.as_str());
        Ok(vec![Change {
            summary: format!("acceptance level {}", self.level),
            before: now.to_string(),
            after: self.level.to_string(),
            actions: vec![Action::Run(set)],
            undo: Undo::step("acceptance", serde_json::json!({ "level": now.as_str() })),
            ..Change::default()
        }])
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        serde_json::json!({ "level": seen.output(&get()).ok().map(|o| o.stdout.trim()) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Artifacts, Verdict};
    use super::*;
    use crate::esxi::{Outputs, Version, recorded};

    fn compare(level: &str, now: &str, vibs: &str) -> Result<Vec<Change>, StepError> {
        compare_with(serde_json::json!({ "level": level }), now, vibs)
    }

    fn compare_with(step: serde_json::Value, now: &str, vibs: &str) -> Result<Vec<Change>, StepError> {
        let mut outputs = Outputs::default();
        outputs.insert(&get(), Output::ok(format!("{now}\n")));
        outputs.insert(&list(), Output::ok(recorded(vibs)));
        let (host, artifacts) = (HostFacts::example(Version::new(7, 0)), Artifacts::default());
        let step = (KIND.parse)(step).unwrap();
        step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &artifacts })
    }

    const LIST_5: &str = include_str!("../../fixtures/transcripts/5.x/vib-list-head-3.txt");
    const LIST_7: &str = include_str!("../../fixtures/transcripts/7.0/vib-list-vendor-mix.txt");

    #[test]
    fn lowered_raised_or_refused() {
        for list in [LIST_5, LIST_7] {
            assert!(compare("PartnerSupported", "PartnerSupported", list).unwrap().is_empty());
            let c = compare("CommunitySupported", "PartnerSupported", list).unwrap();
            let Action::Run(command) = &c[0].actions[0] else { panic!() };
            assert_eq!(command.text(), "esxcli software acceptance set --level=CommunitySupported");
            assert_eq!(compare("VMwareAccepted", "PartnerSupported", list).unwrap().len(), 1);
        }
        assert_eq!(compare("VMwareCertified", "PartnerSupported", LIST_7).unwrap().len(), 1);
        let e = compare("VMwareCertified", "PartnerSupported", LIST_5).unwrap_err().to_string();
        assert!(e.contains("lsiprovider (VMwareAccepted)"), "{e}");
    }

    #[test]
    fn stricter_levels_pass_where_they_are_named_and_the_old_one_comes_back() {
        let stig = serde_json::json!({"level": "PartnerSupported", "accept": ["VMwareAccepted", "VMwareCertified"]});
        for passes in ["PartnerSupported", "VMwareAccepted", "VMwareCertified"] {
            assert!(compare_with(stig.clone(), passes, LIST_7).unwrap().is_empty(), "{passes}");
        }
        let c = compare_with(stig, "CommunitySupported", LIST_7).unwrap();
        let undo = c[0].undo.clone().unwrap();
        let back = compare_with(undo.args, "PartnerSupported", LIST_7).unwrap();
        let Action::Run(command) = &back[0].actions[0] else { panic!() };
        assert_eq!(command.text(), "esxcli software acceptance set --level=CommunitySupported");
    }

    #[test]
    fn the_hosts_sentence_is_no_failure() {
        let step = (KIND.parse)(serde_json::json!({"level": "CommunitySupported"})).unwrap();
        let said = recorded(include_str!("../../fixtures/transcripts/5.x/software-acceptance-set-community.txt"));
        assert_eq!(step.judge(&get(), &Output::ok(said)).unwrap(), Verdict::default());
        assert!((KIND.parse)(serde_json::json!({"level": "partner"})).is_err());
    }
}
