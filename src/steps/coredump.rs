//! `coredump`: whether a host that crashes can leave a core dump: on a partition, or over the network.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::sysargs::{Given, truth};
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::{Command, HostFacts, Output};

/// The kind.
pub const KIND: Kind = Kind {
    name: "coredump",
    about: "Core dumps of a host that crashes: a partition for them, or a server",
    example: "\
- coredump:
    configured: true
",
    parse: parse_as::<Coredump>,
    schema: |generator| generator.subschema_for::<CoredumpSpec>(),
};

/// Where core dumps go. A dump file on a datastore is not looked at.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CoredumpSpec {
    /// `true`: a partition is active, or dumps go to a server. `false`: no partition is active.
    configured: bool,
    /// The partition to use when none is active: a device and the number of a partition, `naa.600...:7`. With
    /// `configured: false`: the one that stays configured; without it none does.
    #[serde(default, deserialize_with = "super::sysargs::given")]
    #[schemars(with = "Option<String>")]
    partition: Given<String>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "CoredumpSpec")]
pub struct Coredump {
    configured: bool,
    partition: Option<String>,
}

impl TryFrom<CoredumpSpec> for Coredump {
    type Error = String;

    fn try_from(spec: CoredumpSpec) -> Result<Self, String> {
        let partition = match spec.partition {
            Given::Value(name) => Some(name),
            Given::No | Given::Empty => None,
        };
        let numbered = |name: &String| name.rsplit_once(':').is_some_and(|(_, n)| n.parse::<u32>().is_ok());
        match &partition {
            Some(name) if !numbered(name) => {
                Err(format!("{name:?} is not a partition; write the device and the number, like naa.600...:7"))
            }
            _ => Ok(Self { configured: spec.configured, partition }),
        }
    }
}

fn partition_get() -> Command {
    Command::esxcli("system coredump partition get")
}

fn network_get() -> Command {
    Command::esxcli("system coredump network get")
}

fn set(option: &'static str) -> Action {
    Action::Run(Command::esxcli("system coredump partition set").words(option))
}

fn take(partition: &str) -> Action {
    Action::Run(Command::esxcli("system coredump partition set").opt("--partition", partition))
}

/// The active and the configured partition; empty: none. Recorded on 6.0: system-coredump-partition-get.
fn partitions(seen: &Seen<'_>) -> Result<(String, String), StepError> {
    let record = seen.record(&partition_get())?;
    let of = |label: &str| {
        let value = record.get(label).map(|v| v.trim().to_owned());
        value.ok_or_else(|| StepError::unreadable(&partition_get(), format!("no `{label}:`")))
    };
    Ok((of("Active")?, of("Configured")?))
}

/// Whether dumps go to a server. The label is that of the property in the vendor's own scripts; the text form is not
/// verified.
fn to_server(seen: &Seen<'_>) -> Result<bool, StepError> {
    let record = seen.record(&network_get())?;
    let enabled = record.get("Enabled").and_then(|v| truth(v));
    enabled.ok_or_else(|| StepError::unreadable(&network_get(), "no `Enabled:` with true or false"))
}

fn shown(active: &str, configured: &str) -> String {
    match (active, configured) {
        ("", "") => "none".to_owned(),
        ("", configured) => format!("{configured}, not active"),
        (active, configured) if active == configured => active.to_owned(),
        (active, configured) => format!("{active}, configured {configured}"),
    }
}

impl Coredump {
    fn on(&self, active: &str, configured: &str) -> Vec<Change> {
        let advice = "give `partition` the device and number of a dump partition (`esxcli system coredump partition list`), \
                      or set up a dump server with `esxcli system coredump network set`";
        let before = shown(active, configured);
        let (mut actions, after) = match &self.partition {
            Some(name) if name != configured => (vec![take(name)], name.clone()),
            _ if configured.is_empty() => {
                return vec![Change::finding("core dumps", before, "a partition or a server", advice)];
            }
            _ => (Vec::new(), configured.to_owned()),
        };
        // In two calls: the guide for 6.7 sets the partition first and enables it then.
        actions.push(set("--enable=true"));
        let mut args = json!({"configured": false});
        if !configured.is_empty() {
            args["partition"] = json!(configured);
        }
        vec![Change {
            summary: "core dumps".into(),
            before,
            after,
            actions,
            undo: Undo::step("coredump", args),
            ..Change::default()
        }]
    }

    fn off(&self, active: &str, configured: &str) -> Vec<Change> {
        let mut actions = Vec::new();
        if !active.is_empty() {
            actions.push(set("--enable=false"));
        }
        match &self.partition {
            Some(name) if name != configured => actions.push(take(name)),
            // Not verified: that nothing is active or configured then, at once.
            None if !configured.is_empty() => actions.push(set("--unconfigure")),
            _ => {}
        }
        if actions.is_empty() {
            return Vec::new();
        }
        let mut args = json!({"configured": true});
        if !configured.is_empty() {
            args["partition"] = json!(configured);
        }
        vec![Change {
            summary: "core dumps".into(),
            before: shown(active, configured),
            after: shown("", self.partition.as_deref().unwrap_or_default()),
            actions,
            // A partition that was configured alone comes back as configured alone.
            undo: match active {
                "" => Undo::step("coredump", json!({"configured": false, "partition": configured})),
                _ => Undo::step("coredump", args),
            },
            ..Change::default()
        }]
    }
}

impl Step for Coredump {
    fn summary(&self) -> String {
        match (self.configured, &self.partition) {
            (true, None) => "a place for core dumps".to_owned(),
            (true, Some(name)) => format!("a place for core dumps, {name} if there is none"),
            (false, _) => "no partition for core dumps".to_owned(),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        if self.configured { vec![partition_get(), network_get()] } else { vec![partition_get()] }
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system coredump"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (active, configured) = partitions(seen)?;
        Ok(match self.configured {
            true if !active.is_empty() || to_server(seen)? => Vec::new(),
            true => self.on(&active, &configured),
            false => self.off(&active, &configured),
        })
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        partitions(seen).map_or(serde_json::Value::Null, |(active, set)| json!({"active": active, "configured": set}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::{Host, bad, step, texts};

    const PART: &str = "esxcli system coredump partition get";
    const NET: &str = "esxcli system coredump network get";
    const NO_NET: &str = "   Enabled: false\n   Host VNic: \n   Is Using IPv6: false\n   Network Server IP: \n   Network Server Port: 0\n";
    const NONE: &str = "   Active: \n   Configured: \n";
    const IDLE: &str = "   Active: \n   Configured: naa.1:9\n";

    fn changes(args: serde_json::Value, part: &str, net: &str) -> Vec<Change> {
        Host::with(Version::new(6, 7), &[(PART, part), (NET, net)]).compare(step(&KIND, args).as_ref()).unwrap()
    }

    #[test]
    fn an_active_partition_or_a_server_is_right() {
        let recorded = recorded(include_str!("../../fixtures/transcripts/6.0/system-coredump-partition-get.txt"));
        assert!(changes(json!({"configured": true}), &recorded, NO_NET).is_empty());
        let server = NO_NET.replace("Enabled: false", "Enabled: true");
        assert!(changes(json!({"configured": true, "partition": null}), NONE, &server).is_empty());
    }

    #[test]
    fn one_that_is_configured_is_enabled_and_one_that_is_given_is_taken() {
        let on = json!({"configured": true});
        let made = changes(on.clone(), IDLE, NO_NET);
        assert_eq!(texts(&made), ["esxcli system coredump partition set --enable=true"]);
        let active = "   Active: naa.1:9\n   Configured: naa.1:9\n";
        assert!(changes(on.clone(), active, NO_NET).is_empty());
        let undo = made[0].undo.clone().unwrap().args;
        assert_eq!(
            texts(&changes(undo.clone(), active, NO_NET)),
            ["esxcli system coredump partition set --enable=false"]
        );
        assert!(changes(undo, IDLE, NO_NET).is_empty());

        let made = changes(json!({"configured": true, "partition": "naa.1:9"}), NONE, NO_NET);
        assert_eq!(
            texts(&made),
            [
                "esxcli system coredump partition set --partition=naa.1:9",
                "esxcli system coredump partition set --enable=true"
            ]
        );
        let undo = made[0].undo.clone().unwrap().args;
        assert_eq!(
            texts(&changes(undo.clone(), active, NO_NET)),
            [
                "esxcli system coredump partition set --enable=false",
                "esxcli system coredump partition set --unconfigure"
            ]
        );
        assert!(changes(undo, NONE, NO_NET).is_empty());
    }

    #[test]
    fn without_any_it_is_for_a_person() {
        let found = changes(json!({"configured": true}), NONE, NO_NET);
        assert!(found[0].by_hand.as_ref().unwrap().contains("partition list") && found[0].actions.is_empty());
        assert!(bad(&KIND, json!({"configured": true, "partition": "naa.1"})).contains("naa.600"));
    }
}
