//! `patch_level`: the host's build is not older than the one that the site holds for current. Judged only.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Change, Kind, Seen, Step, StepError, given, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "patch_level",
    about: "Checks that the host's build is not older than this one",
    example: "- patch_level: {build_at_least: 24674464}\n",
    parse: parse_as::<PatchLevel>,
    schema: <PatchLevel as JsonSchema>::json_schema,
};

/// The host's build. Builds grow within one release only, so a playbook that names one is for one release. A `vib` step
/// with an offline bundle installs a patch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchLevel {
    /// The least build number that passes. Not given: not judged.
    #[serde(default, deserialize_with = "given::number")]
    #[schemars(with = "Option<u64>")]
    build_at_least: Option<u64>,
}

impl Step for PatchLevel {
    fn summary(&self) -> String {
        match self.build_at_least {
            Some(build) => format!("build {build} or later"),
            None => "the current patches".into(),
        }
    }

    /// None: the build is known before any step.
    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        Vec::new()
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = seen.host.build;
        let Some(least) = self.build_at_least else {
            return Err(StepError::NotJudged(format!(
                "the host is {} build {now}: compare with the vendor's list of builds and give `build_at_least`",
                seen.host.version
            )));
        };
        if now >= least {
            return Ok(Vec::new());
        }
        Ok(vec![Change::finding(
            "patch level",
            format!("build {now}"),
            format!("build {least} or later"),
            "install the patch: a `vib` step with the offline bundle, or vCenter",
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, bad, step};
    use super::*;
    use crate::esxi::Version;

    #[test]
    fn builds_are_numbers() {
        let mut host = Host::with(Version::new(8, 0), &[]);
        host.facts.build = 24_674_464;
        let judge =
            |least: serde_json::Value| host.compare(step(&KIND, serde_json::json!({"build_at_least": least})).as_ref());
        assert!(judge(24_674_464.into()).unwrap().is_empty() && judge("9999999".into()).unwrap().is_empty());
        assert!(judge(24_674_465.into()).unwrap()[0].by_hand.is_some());
        for none in [serde_json::Value::Null, "".into()] {
            assert!(matches!(judge(none), Err(StepError::NotJudged(_))));
        }
        assert!(bad(&KIND, serde_json::json!({"build_at_least": "new"})).contains("number"));
    }
}
