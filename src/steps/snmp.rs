//! `snmp`: whether the SNMP agent answers, and whether only with version 3.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::release::{record, truth};
use super::service::Service;
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output, Version};

/// The kind.
pub const KIND: Kind = Kind {
    name: "snmp",
    about: "The SNMP agent: off, or with version 3 alone",
    example: "\
- snmp:
    enabled: false
    or_v3_only: true
",
    parse: parse_as::<Snmp>,
    schema: |generator| generator.subschema_for::<SnmpSpec>(),
};

/// The SNMP agent. Its communities, users and targets stay as they are: switched on again, it has them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnmpSpec {
    /// Whether the agent is on.
    enabled: bool,
    /// With `enabled: false`: an agent that is on is right as well when it has no communities and no targets of
    /// versions 1 and 2c, and only users and targets of version 3 who prove who they are.
    #[serde(default)]
    or_v3_only: bool,
    /// Whether the service snmpd starts with the host; as hostd tells it.
    #[serde(default)]
    at_boot: Option<bool>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "SnmpSpec")]
pub struct Snmp {
    enabled: bool,
    or_v3_only: bool,
    service: Option<Service>,
}

impl From<SnmpSpec> for Snmp {
    fn from(spec: SnmpSpec) -> Self {
        let service = spec.at_boot.and_then(|at_boot| Service::of_hostd("snmpd", None, Some(at_boot)));
        Self { enabled: spec.enabled, or_v3_only: spec.or_v3_only && !spec.enabled, service }
    }
}

fn get() -> Command {
    Command::esxcli("system snmp get")
}

/// Labels are the members of the agent's settings in the vendor's host profiles, with a capital; `esxcli system snmp`
/// is as old as 5.1. Of the output itself nothing was recorded: not verified.
fn settings(seen: &Seen<'_>) -> Result<(bool, Record), StepError> {
    let record = record(seen, &get(), "the SNMP agent's own settings", Version::new(5, 1))?;
    Ok((truth(&record, "Enable", &get())?, record))
}

/// Whether only version 3 is spoken, and by nobody without a proof of who it is.
fn v3_only(record: &Record) -> bool {
    let of = |label: &str| record.get(label).map_or("", |v| v.trim());
    let words = |label: &str| of(label).split([',', '/', ' ']).filter(|w| !w.is_empty()).collect::<Vec<_>>();
    let peers: Vec<&str> = ["Users", "Remoteusers", "V3targets"].into_iter().flat_map(words).collect();
    let proves = !matches!(of("Authentication"), "" | "none");
    let old = ["Communities", "Targets"].into_iter().any(|label| !of(label).is_empty());
    !old && proves && !peers.is_empty() && !peers.contains(&"none")
}

impl Step for Snmp {
    fn summary(&self) -> String {
        match (self.enabled, self.or_v3_only) {
            (true, _) => "the SNMP agent is on",
            (false, false) => "the SNMP agent is off",
            (false, true) => "the SNMP agent is off, or speaks version 3 alone",
        }
        .to_owned()
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        let service = self.service.iter().flat_map(|service| service.reads(host));
        std::iter::once(get()).chain(service).collect()
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        self.service.iter().flat_map(|service| service.more_reads(seen)).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // Recorded: the agent opens its ports itself (initd-snmpd-restart).
        Some(&["esxcli system snmp", "esxcli network firewall"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (enabled, record) = settings(seen)?;
        let word = |on: bool| if on { "on" } else { "off" };
        if self.or_v3_only && enabled && v3_only(&record) {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if enabled != self.enabled {
            // What makes it fail is said; a community is half a password and is not.
            let why = if self.or_v3_only { ", and not with version 3 alone" } else { "" };
            changes.push(Change {
                summary: "SNMP agent".into(),
                before: format!("{}{why}", word(enabled)),
                after: word(self.enabled).to_owned(),
                actions: vec![Action::Run(
                    Command::esxcli("system snmp set").opt("-e", if self.enabled { "yes" } else { "no" }),
                )],
                effect: Effect { restarts: self.enabled.then(|| "snmpd".into()), ..Effect::default() },
                undo: Undo::step("snmp", json!({ "enabled": enabled })),
                ..Change::default()
            });
        }
        if let Some(service) = &self.service {
            changes.extend(service.compare(seen)?);
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        super::service::judge(action, output)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        settings(seen).map_or(serde_json::Value::Null, |(on, all)| json!({"enabled": on, "v3_only": v3_only(&all)}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::testing::{Host, step, texts};

    const GET: &str = "esxcli system snmp get";
    const V80: Version = Version::new(8, 0);

    fn said(enable: bool, authentication: &str, communities: &str, users: &str) -> String {
        format!(
            "   Authentication: {authentication}\n   Communities: {communities}\n   Enable: {enable}\n   Engineid: 00000063000000a100000000\n   Hwsrc: indications\n   Largestorage: true\n   Loglevel: warning\n   Notraps: \n   Port: 161\n   Privacy: \n   Remoteusers: \n   Syscontact: \n   Syslocation: \n   Targets: \n   Users: {users}\n   V3targets: \n"
        )
    }

    fn changes(args: serde_json::Value, get: &str) -> Vec<Change> {
        Host::with(V80, &[(GET, get)]).compare(step(&KIND, args).as_ref()).unwrap()
    }

    #[test]
    fn off_is_right_and_an_agent_with_communities_is_switched_off_and_on_again() {
        let want = json!({"enabled": false, "or_v3_only": true});
        let (on, off) = (said(true, "", "secret-community", ""), said(false, "", "secret-community", ""));
        assert!(changes(want.clone(), &off).is_empty());
        let made = changes(want, &on);
        assert_eq!(texts(&made), ["esxcli system snmp set -e no"]);
        assert!(!format!("{made:?}").contains("secret-community"));
        let undo = made[0].undo.clone().unwrap();
        assert_eq!(undo.kind, "snmp");
        assert!(changes(undo.args.clone(), &on).is_empty());
        assert_eq!(texts(&changes(undo.args, &off)), ["esxcli system snmp set -e yes"]);
    }

    #[test]
    fn version_3_alone_passes_only_where_it_is_asked_for_and_everybody_proves_who_it_is() {
        let v3 = said(true, "SHA1", "", "monitor/auth/priv/priv");
        let either = json!({"enabled": false, "or_v3_only": true});
        assert!(changes(either.clone(), &v3).is_empty());
        assert_eq!(changes(json!({"enabled": false}), &v3).len(), 1);
        for bad in [
            said(true, "", "", "monitor/auth/priv/priv"),
            said(true, "SHA1", "public", "monitor/auth/priv/priv"),
            said(true, "SHA1", "", ""),
            said(true, "SHA1", "", "monitor/-/-/none"),
            v3.replace("   Targets: ", "   Targets: 192.0.2.1@162 public"),
        ] {
            assert_eq!(changes(either.clone(), &bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn starting_with_the_host_is_a_second_half() {
        let want = step(&KIND, json!({"enabled": false, "at_boot": false}));
        let hostconfig = super::super::service::tests::hostconfig(&[("snmpd", false, "on")]);
        let host = Host::with(V80, &[(GET, &said(false, "", "", "")), ("vim-cmd hostsvc/hostconfig", &hostconfig)]);
        assert_eq!(host.actions(want.as_ref()), ["chkconfig snmpd off"]);
    }

    #[test]
    fn an_answer_of_another_form_is_no_pass() {
        let want = step(&KIND, json!({"enabled": false}));
        let host = Host::with(V80, &[(GET, "   Communities: \n   Port: 161\n")]);
        assert!(matches!(host.compare(want.as_ref()), Err(StepError::Unreadable { .. })));
        let unknown = Host::with(V80, &[]).fails(&get(), "Error: Unknown command or namespace system snmp get\n");
        assert!(matches!(unknown.compare(want.as_ref()), Err(StepError::Command { .. })));
    }
}
