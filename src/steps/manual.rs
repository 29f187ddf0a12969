//! `manual`: what nothing on the host can show, for the sake of a complete report.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Change, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "manual",
    about: "Something that only a person can judge: never judged, and said so",
    example: "- manual: {todo: \"See that the physical switch port is a trunk without negotiation\"}\n",
    parse: parse_as::<Manual>,
    schema: <ManualSpec as JsonSchema>::json_schema,
};

/// A control that only a person can judge. It reads nothing and is never passed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManualSpec {
    /// What a person must do.
    todo: String,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ManualSpec")]
pub struct Manual(String);

impl TryFrom<ManualSpec> for Manual {
    type Error = String;

    fn try_from(spec: ManualSpec) -> Result<Self, String> {
        if spec.todo.trim().is_empty() { Err("`todo` says what a person must do".into()) } else { Ok(Self(spec.todo)) }
    }
}

impl Step for Manual {
    fn summary(&self) -> String {
        self.0.clone()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        Vec::new()
    }

    fn compare(&self, _seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        Err(StepError::NotJudged(self.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, bad, step};
    use super::*;

    #[test]
    fn never_judged() {
        let manual = step(&KIND, serde_json::json!({"todo": "look"}));
        let host = Host::with(crate::esxi::Version::new(8, 0), &[]);
        assert!(manual.reads(&host.facts).is_empty());
        assert!(matches!(host.compare(manual.as_ref()), Err(StepError::NotJudged(todo)) if todo == "look"));
        assert!(bad(&KIND, serde_json::json!({"todo": " "})).contains("todo"));
    }
}
