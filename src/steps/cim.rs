//! `cim`: whether the CIM server answers.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{record, truth};
use super::service::Service;
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};
use crate::esxi::{Command, HostFacts, Output, Version};

/// The kind.
pub const KIND: Kind = Kind {
    name: "cim",
    about: "The CIM server (hardware monitoring through CIM and WS-Management): on or off",
    example: "\
- cim:
    enabled: false
    at_boot: false
",
    parse: parse_as::<Cim>,
    schema: |generator| generator.subschema_for::<CimSpec>(),
};

/// The CIM server. While it is off here, its service (`sfcbd-watchdog`) does not start whoever asks for it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CimSpec {
    /// Whether it is on.
    enabled: bool,
    /// Whether its service runs; as hostd tells it.
    #[serde(default)]
    running: Option<bool>,
    /// Whether its service starts with the host; as hostd tells it. Hosts are installed with a service that does,
    /// although the server is off.
    #[serde(default)]
    at_boot: Option<bool>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "CimSpec")]
pub struct Cim {
    enabled: bool,
    service: Option<Service>,
}

impl From<CimSpec> for Cim {
    fn from(spec: CimSpec) -> Self {
        let CimSpec { enabled, running, at_boot } = spec;
        let asked = running.is_some() || at_boot.is_some();
        Self { enabled, service: asked.then(|| Service::of_hostd("sfcbd-watchdog", running, at_boot)).flatten() }
    }
}

fn get() -> Command {
    Command::esxcli("system wbem get")
}

/// Recorded on 6.5: system-wbem-get-disabled. That 6.0 had no such command is not verified.
fn enabled(seen: &Seen<'_>) -> Result<bool, StepError> {
    let record = record(seen, &get(), "switching the CIM server with esxcli", Version::new(6, 5))?;
    truth(&record, "Enabled", &get())
}

impl Step for Cim {
    fn summary(&self) -> String {
        format!("the CIM server is {}", if self.enabled { "on" } else { "off" })
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        let service = self.service.iter().flat_map(|service| service.reads(host));
        std::iter::once(get()).chain(service).collect()
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        self.service.iter().flat_map(|service| service.more_reads(seen)).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system wbem", "esxcli network firewall"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = enabled(seen)?;
        let word = |on: bool| if on { "on" } else { "off" }.to_owned();
        let mut changes = Vec::new();
        if now != self.enabled {
            let set = if self.enabled { "system wbem set --enable true" } else { "system wbem set --enable false" };
            changes.push(Change {
                summary: "CIM server".into(),
                before: word(now),
                after: word(self.enabled),
                actions: vec![Action::Run(Command::esxcli(set))],
                undo: Undo::step("cim", json!({ "enabled": now })),
                ..Change::default()
            });
        }
        if let Some(service) = &self.service {
            // Switching the server off stops its service, on starts it: only what that does not bring is a change more.
            let switches = !changes.is_empty();
            let more = service.compare(seen)?;
            changes.extend(more.into_iter().filter(|change| !(switches && change.effect.transient)));
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        super::service::judge(action, output)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        enabled(seen).map_or(serde_json::Value::Null, |on| json!({ "enabled": on }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;
    use crate::steps::testing::{Host, step, texts};

    const GET: &str = "esxcli system wbem get";
    const HOSTCONFIG: &str = "vim-cmd hostsvc/hostconfig";
    const V65: Version = Version::new(6, 5);

    fn off() -> String {
        recorded(include_str!("../../fixtures/transcripts/6.5/system-wbem-get-disabled.txt"))
    }

    fn on() -> String {
        recorded(include_str!("../../fixtures/transcripts/6.5/system-wbem-get-enabled.txt"))
    }

    #[test]
    fn recorded_on_6_5_it_is_switched_off_and_on_again() {
        let at = |args: serde_json::Value, get: &str| {
            Host::with(V65, &[(GET, get)]).compare(step(&KIND, args).as_ref()).unwrap()
        };
        assert!(at(json!({"enabled": false}), &off()).is_empty());
        let made = at(json!({"enabled": false}), &on());
        assert_eq!(texts(&made), ["esxcli system wbem set --enable false"]);
        let undo = made[0].undo.clone().unwrap();
        assert_eq!(texts(&at(undo.args.clone(), &off())), ["esxcli system wbem set --enable true"]);
        assert!(at(undo.args, &on()).is_empty());
    }

    #[test]
    fn a_service_that_starts_with_the_host_is_a_second_half() {
        let both = step(&KIND, json!({"enabled": false, "running": false, "at_boot": false}));
        let told = |running, policy| super::super::service::tests::hostconfig(&[("sfcbd-watchdog", running, policy)]);
        let actions =
            |get: String, config: String| Host::with(V65, &[(GET, &get), (HOSTCONFIG, &config)]).actions(both.as_ref());
        assert_eq!(actions(off(), told(false, "on")), ["chkconfig sfcbd-watchdog off"]);
        assert_eq!(
            actions(on(), told(true, "on")),
            ["esxcli system wbem set --enable false", "chkconfig sfcbd-watchdog off"]
        );
        assert!(actions(off(), told(false, "off")).is_empty());
        assert_eq!(actions(off(), told(true, "off")), ["/etc/init.d/sfcbd-watchdog stop"]);
    }

    #[test]
    fn a_release_without_the_command_is_not_judged_by_it() {
        let want = step(&KIND, json!({"enabled": false}));
        let unknown = "Error: Unknown command or namespace system wbem get\n";
        let old = Host::with(Version::new(6, 0), &[]).fails(&get(), unknown);
        assert!(matches!(old.compare(want.as_ref()), Err(StepError::NotApplicable(why)) if why.contains("6.5")));
        let new = Host::with(V65, &[]).fails(&get(), unknown);
        assert!(matches!(new.compare(want.as_ref()), Err(StepError::Command { .. })));
    }
}
