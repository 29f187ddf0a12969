//! `fips`: whether sshd and the reverse proxy run in FIPS 140 mode.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{known, record, truth};
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::{Command, HostFacts, Version};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "fips",
    about: "FIPS 140 mode of sshd and of the reverse proxy",
    example: "- fips: {ssh: true}\n",
    parse: parse_as::<Fips>,
    schema: <FipsSpec as JsonSchema>::json_schema,
};

/// FIPS 140 mode of the host's services.
///
/// Both are on by default. sshd in this mode refuses Ed25519 keys without a word. The switch of the reverse proxy has no
/// meaning on 8.0 and later (hardening guides and tools leave it out there).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FipsSpec {
    /// Of sshd.
    #[serde(default)]
    ssh: Option<bool>,
    /// Of the reverse proxy in front of hostd, before 8.0.
    #[serde(default)]
    rhttpproxy: Option<bool>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "FipsSpec")]
pub struct Fips(FipsSpec);

impl TryFrom<FipsSpec> for Fips {
    type Error = String;

    fn try_from(spec: FipsSpec) -> Result<Self, String> {
        match (spec.ssh, spec.rhttpproxy) {
            (None, None) => Err("say which: `ssh`, `rhttpproxy` or both".into()),
            _ => Ok(Self(spec)),
        }
    }
}

/// A service with such a switch. That `get` prints `Enabled: true` alone is what hardening guides show; it was not recorded.
struct Switch {
    argument: &'static str,
    what: &'static str,
    get: &'static str,
    set: &'static str,
    since: Version,
    until: Option<Version>,
}

const SSH: Switch = Switch {
    argument: "ssh",
    what: "FIPS 140 mode of sshd",
    get: "system security fips140 ssh get",
    set: "system security fips140 ssh set",
    since: Version::new(6, 7),
    until: None,
};

const PROXY: Switch = Switch {
    argument: "rhttpproxy",
    what: "FIPS 140 mode of the reverse proxy",
    get: "system security fips140 rhttpproxy get",
    set: "system security fips140 rhttpproxy set",
    since: Version::new(6, 7),
    until: Some(Version::new(8, 0)),
};

impl Switch {
    fn get(&self) -> Command {
        Command::esxcli(self.get)
    }

    fn gone(&self, version: Version) -> bool {
        self.until.is_some_and(|until| version >= until)
    }

    fn compare(&self, seen: &Seen<'_>, want: bool) -> Result<Option<Change>, StepError> {
        if self.gone(seen.host.version) {
            return Err(StepError::NotApplicable(format!(
                "{} has no switch of its own from 8.0 on, this host is {}",
                self.what, seen.host.version
            )));
        }
        known(seen, &self.get(), self.what, self.since)?;
        let now = truth(&record(seen, &self.get(), self.what, self.since)?, "Enabled", &self.get())?;
        Ok((now != want).then(|| Change {
            summary: self.what.to_owned(),
            before: now.to_string(),
            after: want.to_string(),
            actions: vec![Action::Run(Command::esxcli(self.set).opt("-e", want.to_string()))],
            undo: Undo::step("fips", json!({ self.argument: now })),
            ..Change::default()
        }))
    }
}

impl Fips {
    fn wanted(&self) -> impl Iterator<Item = (Switch, bool)> {
        [self.0.ssh.map(|w| (SSH, w)), self.0.rhttpproxy.map(|w| (PROXY, w))].into_iter().flatten()
    }
}

impl Step for Fips {
    fn summary(&self) -> String {
        let word = |on: bool| if on { "on" } else { "off" };
        let parts: Vec<String> = self.wanted().map(|(s, want)| format!("{} {}", s.argument, word(want))).collect();
        format!("FIPS 140 mode: {}", parts.join(", "))
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        self.wanted().filter(|(s, _)| !s.gone(host.version)).map(|(s, _)| s.get()).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system security fips140"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (mut changes, mut applies, mut not) = (Vec::new(), false, None);
        for (switch, want) in self.wanted() {
            match switch.compare(seen, want) {
                Err(error @ StepError::NotApplicable(_)) => not = Some(error),
                other => {
                    applies = true;
                    changes.extend(other?);
                }
            }
        }
        match not {
            Some(error) if !applies => Err(error),
            _ => Ok(changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, bad, step, texts, undone};
    use super::*;

    const GET: &str = "esxcli system security fips140 ssh get";
    const PROXY_GET: &str = "esxcli system security fips140 rhttpproxy get";
    const ON: &str = "   Enabled: true\n";
    const OFF: &str = "   Enabled: false\n";

    #[test]
    fn on_off_and_back() {
        let v = Version::new(8, 0);
        let ssh = step(&KIND, json!({"ssh": true}));
        assert!(Host::with(v, &[(GET, ON)]).compare(ssh.as_ref()).unwrap().is_empty());
        let off = Host::with(v, &[(GET, OFF)]);
        let changes = off.compare(ssh.as_ref()).unwrap();
        assert_eq!(texts(&changes), ["esxcli system security fips140 ssh set -e true"]);
        let back = undone(&Host::with(v, &[(GET, ON)]), &changes);
        assert_eq!(back, ["esxcli system security fips140 ssh set -e false"]);
        assert!(Host::with(v, &[(GET, "what\n")]).compare(ssh.as_ref()).is_err());
    }

    #[test]
    fn the_proxys_switch_is_of_7_0_and_before() {
        let proxy = step(&KIND, json!({"rhttpproxy": true}));
        let old = Host::with(Version::new(7, 0), &[(PROXY_GET, OFF)]);
        assert_eq!(old.actions(proxy.as_ref()), ["esxcli system security fips140 rhttpproxy set -e true"]);
        let new = Host::with(Version::new(8, 0), &[(GET, OFF)]);
        assert!(matches!(new.compare(proxy.as_ref()), Err(StepError::NotApplicable(_))));
        let both = step(&KIND, json!({"rhttpproxy": true, "ssh": true}));
        assert_eq!(new.actions(both.as_ref()).len(), 1);
        let unknown = "Error: Unknown command or namespace system security fips140 ssh get\n\n";
        let old = Host::with(Version::new(6, 5), &[]).fails(&Command::raw(GET), unknown);
        let ssh = step(&KIND, json!({"ssh": true}));
        assert!(matches!(old.compare(ssh.as_ref()), Err(StepError::NotApplicable(_))));
        assert!(bad(&KIND, json!({})).contains("which"));
    }
}
