//! Port groups of standard switches.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::esxi::net::{self, Security, name_opt};
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces, SecurityWanted};
use super::step::{Action, Change, Kind, Seen, Step, StepError, Verdict, parse_as};
use super::vmknic::Presence;

/// The kind `portgroup`.
pub const KIND: Kind = Kind {
    name: "portgroup",
    about: "A port group of a standard switch: VLAN and security policy.",
    example: "\
- portgroup:
    name: vMotion
    vswitch: vSwitch0
    vlan: 20
",
    parse: parse_as::<Portgroup>,
    schema: |g| g.subschema_for::<Portgroup>(),
};

/// A port group of a standard switch. What is left out stays as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portgroup {
    /// Name, compared exactly: blanks and case count. Unique on a host.
    name: Name,
    /// The vSwitch that it is on. Needed to make it; refused when it is on another.
    vswitch: Option<Name>,
    /// VLAN: 0 none, 1 to 4094, 4095 all (trunk). Another VLAN for the port group that carries the session is set
    /// detached on the host, which puts the old one back unless esxprep logs in again within 120 seconds.
    vlan: Option<Vlan>,
    /// Whether it is there. Removing the one that carries the session is refused.
    #[serde(default)]
    state: Presence,
    /// Security settings of its own, or `inherit` for those of the vSwitch.
    security: Option<SecurityOrInherit>,
}

/// A name that is not empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(super) struct Name(#[schemars(length(min = 1))] String);

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim().is_empty() {
            Err("the name is empty".into())
        } else if text.trim() != text {
            Err(format!("{text:?} begins or ends with a blank, which ESXi's lists do not show"))
        } else if text.chars().any(char::is_control) {
            Err(format!("{text:?} has a control character in it"))
        } else {
            Ok(Self(text))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
struct Vlan(#[schemars(range(min = 0, max = 4095))] u16);

impl TryFrom<u32> for Vlan {
    type Error = String;

    fn try_from(id: u32) -> Result<Self, String> {
        match u16::try_from(id) {
            Ok(id) if id <= 4095 => Ok(Self(id)),
            _ => Err(format!("{id} is not a VLAN: 0 for none, 1 to 4094, 4095 for all")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
enum SecurityOrInherit {
    /// As the vSwitch has it.
    Inherit(InheritWord),
    /// Its own.
    Own(SecurityWanted),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum InheritWord {
    /// As the vSwitch has it.
    Inherit,
}

impl<'de> Deserialize<'de> for SecurityOrInherit {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = SecurityOrInherit;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`inherit` or {promiscuous, mac_changes, forged_transmits}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecurityOrInherit, E> {
                match text {
                    "inherit" => Ok(SecurityOrInherit::Inherit(InheritWord::Inherit)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<SecurityOrInherit, A::Error> {
                SecurityWanted::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(SecurityOrInherit::Own)
            }
        }
        d.deserialize_any(Either)
    }
}

const PG: (&str, &str) = ("-p", "--portgroup-name");

fn on(words: &'static str, portgroup: &str) -> Command {
    name_opt(Command::esxcli(words), PG.0, PG.1, portgroup)
}

fn security_get(portgroup: &str) -> Command {
    on("network vswitch standard portgroup policy security get", portgroup)
}

fn set_vlan(portgroup: &str, vlan: u16) -> Command {
    on("network vswitch standard portgroup set", portgroup).opt("-v", vlan.to_string())
}

impl Step for Portgroup {
    fn summary(&self) -> String {
        match (self.state, &self.vswitch) {
            (Presence::Absent, _) => format!("no port group {}", self.name.0),
            (Presence::Present, Some(v)) => format!("port group {} on {}", self.name.0, v.0),
            (Presence::Present, None) => format!("port group {}", self.name.0),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Interfaces::reads();
        reads.push(network::portgroup_list());
        if self.security.is_some() && self.state == Presence::Present {
            reads.push(security_get(&self.name.0));
        }
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli network"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let name = self.name.as_str();
        let groups = network::portgroups(seen)?;
        let now = groups.iter().find(|p| p.name == name);
        let faces = Interfaces::observe(seen)?;
        let carrier = faces.carrier(seen.host);
        let carries = faces.carrying(seen.host).is_some_and(|v| v.portgroup == name && v.dvs.is_none());
        if let (Some(wanted), Some(now)) = (&self.vswitch, now)
            && wanted.0 != now.vswitch
        {
            return Err(StepError::Refused(format!(
                "the port group {name:?} is on {}, not on {}: names are unique on a host. Remove it there first, or \
                 take another name.",
                now.vswitch, wanted.0
            )));
        }
        if self.state == Presence::Absent {
            let Some(now) = now else { return Ok(Vec::new()) };
            if carries {
                return Err(StepError::Refused(format!(
                    "the port group {name:?} is not removed: {} and is on it. Log in over another interface first.",
                    carrier.reason(seen.host)
                )));
            }
            let remove = on("network vswitch standard portgroup remove", name);
            return Ok(vec![Change {
                summary: format!("port group {name}"),
                before: format!("on {}, {} port(s) in use", now.vswitch, now.clients),
                after: "absent".into(),
                actions: vec![Action::Run(name_opt(remove, "-v", "--vswitch-name", &now.vswitch))],
                ..Change::default()
            }]);
        }
        let mut changes = Vec::new();
        let wanted_vlan = self.vlan.map(|v| v.0);
        match now {
            None => {
                let Some(vswitch) = &self.vswitch else {
                    return Err(StepError::Refused(format!(
                        "the port group {name:?} is not there, and without `vswitch` it cannot be made."
                    )));
                };
                let add = on("network vswitch standard portgroup add", name);
                let mut commands = vec![name_opt(add, "-v", "--vswitch-name", &vswitch.0)];
                commands.extend(wanted_vlan.filter(|v| *v != 0).map(|v| set_vlan(name, v)));
                changes.push(Change {
                    summary: format!("port group {name}"),
                    before: "absent".into(),
                    after: format!("on {}, VLAN {}", vswitch.0, wanted_vlan.unwrap_or(0)),
                    actions: network::run_all(commands),
                    ..Change::default()
                });
            }
            Some(now) => {
                if let Some(vlan) = wanted_vlan.filter(|v| *v != now.vlan) {
                    let (set, back) = (set_vlan(name, vlan), set_vlan(name, now.vlan));
                    let action = if carries {
                        network::detached(vec![set], vec![back], network::CONFIRM_WITHIN)
                    } else {
                        Action::Run(set)
                    };
                    changes.push(Change {
                        summary: format!("VLAN of port group {name}"),
                        before: now.vlan.to_string(),
                        after: vlan.to_string(),
                        actions: vec![action],
                        ..Change::default()
                    });
                }
            }
        }
        if let Some(wanted) = &self.security {
            let observed = match now {
                Some(_) => Some(network::read(seen, &security_get(name), net::security)?),
                None => None,
            };
            changes.extend(security_change(name, *wanted, observed));
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = match self.state {
            Presence::Present => "Is the vSwitch there? A `vswitch` step before this one makes it.",
            Presence::Absent => "A port group in use cannot be removed: move its machines and interfaces first.",
        };
        network::judge_with_advice(action, output, advice)
    }
}

/// What the security policy needs. A port group that is not there yet inherits everything.
fn security_change(name: &str, wanted: SecurityOrInherit, observed: Option<Security>) -> Option<Change> {
    let set = || on("network vswitch standard portgroup policy security set", name);
    let overrides = observed.map_or([false; 3], |o| o.overrides);
    let values = observed.map(|o| [o.promiscuous, o.mac_changes, o.forged_transmits]);
    let shown = |n: usize| match values {
        Some(v) if overrides[n] => network::word(v[n]).to_owned(),
        Some(v) => format!("{} (inherited)", v[n]),
        None => "inherited".to_owned(),
    };
    match wanted {
        SecurityOrInherit::Inherit(_) => overrides.contains(&true).then(|| Change {
            summary: format!("security policy of port group {name}"),
            before: "its own".into(),
            after: "as the vSwitch".into(),
            actions: vec![Action::Run(set().words("-u"))],
            ..Change::default()
        }),
        SecurityOrInherit::Own(own) => {
            let options = ["-o", "-m", "-f"];
            let (mut command, mut before, mut after) = (set(), Vec::new(), Vec::new());
            for (n, (what, value)) in own.all().into_iter().enumerate() {
                let Some(value) = value else { continue };
                if overrides[n] && values.is_some_and(|v| v[n] == value) {
                    continue;
                }
                command = command.opt(options[n], network::word(value));
                before.push(format!("{what} {}", shown(n)));
                after.push(format!("{what} {value}"));
            }
            (!after.is_empty()).then(|| Change {
                summary: format!("security policy of port group {name}"),
                before: before.join(", "),
                after: after.join(", "),
                actions: vec![Action::Run(command)],
                ..Change::default()
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;
    use crate::steps::testing::{self, *};
    use proptest::prelude::*;
    use serde_json::json;

    /// Port groups as recorded on 6.7, the session on "Management VMkernel".
    fn six(groups: Option<String>) -> Host {
        let recorded_groups =
            recorded(include_str!("../../fixtures/transcripts/6.7/network-vswitch-standard-portgroup-list.txt"));
        Host::recorded_on_6_7().says(&network::portgroup_list(), groups.unwrap_or(recorded_groups))
    }

    fn policy(values: [bool; 3], overrides: [bool; 3]) -> String {
        let [p, m, f] = values;
        let [a, b, c] = overrides;
        format!(
            "   Allow Promiscuous: {p}\n   Allow MAC Address Change: {m}\n   Allow Forged Transmits: {f}\n   Override vSwitch Allow Promiscuous: {a}\n   Override vSwitch Allow MAC Address Change: {b}\n   Override vSwitch Allow Forged Transmits: {c}\n"
        )
    }

    #[test]
    fn vlan_on_recorded_lists() {
        let s = step(&KIND, json!({"name": "Server Network", "vswitch": "vSwitch1", "vlan": 30}));
        assert_eq!(six(None).actions(&*s), ["esxcli network vswitch standard portgroup set -p 'Server Network' -v 30"]);
        let after = testing::portgroups(&[&["Server Network", "vSwitch1", "3", "30"]]);
        assert!(six(Some(after)).compare(&*s).unwrap().is_empty());
        let late =
            recorded(include_str!("../../fixtures/transcripts/unknown/network-vswitch-standard-portgroup-list.txt"));
        let trunk = step(&KIND, json!({"name": "VM_VLAN3", "vlan": 4095}));
        assert_eq!(
            six(Some(late.clone())).actions(&*trunk),
            ["esxcli network vswitch standard portgroup set -p VM_VLAN3 -v 4095"]
        );
        assert!(six(Some(late)).compare(&*step(&KIND, json!({"name": "VM_VLAN3", "vlan": 3}))).unwrap().is_empty());
    }

    #[test]
    fn the_sessions_vlan_is_changed_detached() {
        let s = step(&KIND, json!({"name": "Management VMkernel", "vlan": 7}));
        assert_eq!(
            six(None).actions(&*s),
            [
                "detached: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 7",
                "rollback: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 0",
            ]
        );
        let mut nat = six(None);
        nat.facts.session_address = None;
        assert!(nat.actions(&*s)[0].starts_with("detached"));
        let gone = step(&KIND, json!({"name": "Management VMkernel", "state": "absent"}));
        assert!(six(None).refusal(&*gone).contains("vmk1 carries this session (10.130.2.122)"));
    }

    #[test]
    fn made_removed_and_on_another_switch() {
        let s = step(&KIND, json!({"name": "Management", "vswitch": "vSwitch0", "vlan": 5}));
        assert_eq!(
            six(None).actions(&*s),
            [
                "esxcli network vswitch standard portgroup add -p Management -v vSwitch0",
                "esxcli network vswitch standard portgroup set -p Management -v 5",
            ]
        );
        let s = step(&KIND, json!({"name": "Server Network", "state": "absent"}));
        assert_eq!(
            six(None).actions(&*s),
            ["esxcli network vswitch standard portgroup remove -p 'Server Network' -v vSwitch1"]
        );
        assert!(six(None).compare(&*step(&KIND, json!({"name": "x", "state": "absent"}))).unwrap().is_empty());
        let s = step(&KIND, json!({"name": "Server Network", "vswitch": "vSwitch0"}));
        assert!(six(None).refusal(&*s).contains("is on vSwitch1, not on vSwitch0"));
        assert!(six(None).refusal(&*step(&KIND, json!({"name": "new"}))).contains("without `vswitch`"));
    }

    #[test]
    fn security_of_its_own_and_inherited() {
        let own =
            step(&KIND, json!({"name": "Server Network", "security": {"promiscuous": true, "forged_transmits": true}}));
        let get = security_get("Server Network");
        let host = six(None).says(&get, policy([false, true, true], [false; 3]));
        assert_eq!(
            host.actions(&*own),
            ["esxcli network vswitch standard portgroup policy security set -p 'Server Network' -o true -f true"]
        );
        let after = six(None).says(&get, policy([true, true, true], [true, false, true]));
        assert!(after.compare(&*own).unwrap().is_empty());
        let inherit = step(&KIND, json!({"name": "Server Network", "security": "inherit"}));
        assert_eq!(
            after.actions(&*inherit),
            ["esxcli network vswitch standard portgroup policy security set -p 'Server Network' -u"]
        );
        assert!(host.compare(&*inherit).unwrap().is_empty());
        let new = step(&KIND, json!({"name": "n", "vswitch": "vSwitch1", "security": {"promiscuous": false}}));
        let host = six(None).fails(&security_get("n"), "Unable to find portgroup n\n");
        assert_eq!(
            host.actions(&*new)[1],
            "esxcli network vswitch standard portgroup policy security set -p n -o false"
        );
    }

    #[test]
    fn wrong_arguments() {
        for (json, word) in [
            (json!({"name": "a", "vlan": 4096}), "4095"),
            (json!({"name": " a"}), "blank"),
            (json!({"name": ""}), "empty"),
            (json!({"name": "a", "security": "inherited"}), "`inherit`"),
            (json!({"name": "a", "security": {"promisc": true}}), "promisc"),
        ] {
            let text = bad(&KIND, json);
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    proptest! {
        #[test]
        fn any_name_is_one_word_and_found_again(name in "[!-~][ -~]{0,20}[!-~]") {
            let s = step(&KIND, json!({"name": name.clone(), "vswitch": "vSwitch0"}));
            let actions = six(None).actions(&*s);
            let words = shell_words::split(&actions[0]).unwrap();
            let value = words.iter().any(|w| *w == name || *w == format!("--portgroup-name={name}"));
            prop_assert!(value, "{:?}", words);
            let listed = testing::portgroups(&[&["Management Network", "vSwitch0", "1", "0"], &[&name, "vSwitch0", "0", "0"]]);
            prop_assert!(six(Some(listed)).compare(&*s).unwrap().is_empty());
        }
    }
}
