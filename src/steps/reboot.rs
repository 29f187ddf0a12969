//! `reboot`: an explicit barrier. Steps before it that need a reboot share this one; steps after it see the host
//! as it comes back.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::sysargs::Span;
use super::{Barrier, Change, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind.
pub const KIND: Kind = Kind {
    name: "reboot",
    about: "Reboots here: when a step before asked for it, or always",
    example: "\
- reboot:
    when: needed
    timeout: 15m
",
    parse,
    schema: |generator| {
        let full = generator.subschema_for::<Reboot>();
        let word = generator.subschema_for::<When>();
        schemars::json_schema!({ "anyOf": [{ "type": "null" }, word, full] })
    },
};

/// When to reboot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// When a step before asked for it.
    #[default]
    Needed,
    /// On every run.
    Always,
}

/// A reboot at this place of the playbook. `reboot:` alone is one that is made only when needed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reboot {
    /// When to reboot.
    #[serde(default)]
    when: When,
    /// How long to wait until the host is back and its management agent answers.
    #[serde(default = "timeout")]
    timeout: Span,
}

/// Firmware of servers takes minutes before anything of ESXi starts.
fn timeout() -> Span {
    Span(Duration::from_secs(900))
}

fn parse(value: Value) -> Result<Box<dyn Step>, serde_path_to_error::Error<serde_json::Error>> {
    parse_as::<Reboot>(match value {
        Value::Null => Value::Object(serde_json::Map::new()),
        Value::String(word) => serde_json::json!({ "when": word }),
        other => other,
    })
}

impl Step for Reboot {
    fn summary(&self) -> String {
        match self.when {
            When::Needed => "reboot if a step asked for it".into(),
            When::Always => "reboot".into(),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        Vec::new()
    }

    fn compare(&self, _seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        Ok(Vec::new())
    }

    fn barrier(&self) -> Option<Barrier> {
        Some(Barrier::Reboot { always: self.when == When::Always, timeout: self.timeout.0 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn barrier(value: Value) -> Barrier {
        (KIND.parse)(value).unwrap().barrier().unwrap()
    }

    #[test]
    fn every_spelling_is_a_barrier() {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        assert_eq!(barrier(Value::Null), Barrier::Reboot { always: false, timeout: minutes(15) });
        assert_eq!(barrier(json!("always")), Barrier::Reboot { always: true, timeout: minutes(15) });
        assert_eq!(
            barrier(json!({"when": "always", "timeout": "10m"})),
            Barrier::Reboot { always: true, timeout: minutes(10) }
        );
        assert_eq!(barrier(json!({"timeout": 60})), Barrier::Reboot { always: false, timeout: minutes(1) });
        assert!((KIND.parse)(json!({"when": "sometimes"})).is_err());
        assert!((KIND.parse)(json!({"timout": "1m"})).unwrap_err().to_string().contains("timout"));
    }
}
