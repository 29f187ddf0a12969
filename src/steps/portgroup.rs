//! Port groups of standard switches.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::esxi::net::{self, Security, name_opt};
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces};
use super::step::{About, Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};
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

/// A VLAN: 0 none, 1 to 4094, 4095 all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
pub(super) struct Vlan(#[schemars(range(min = 0, max = 4095))] pub(super) u16);

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
pub(super) enum SecurityOrInherit {
    /// As the vSwitch has it.
    Inherit(InheritWord),
    /// Its own.
    Own(OwnSecurity),
}

/// Security settings of a port group's own. Accepting all three is what nested hosts need on the switch outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnSecurity {
    /// Accept promiscuous mode.
    promiscuous: Option<bool>,
    /// Accept MAC address changes.
    mac_changes: Option<bool>,
    /// Accept forged transmits.
    forged_transmits: Option<bool>,
    /// Whether what is not said here is inherited from the vSwitch; otherwise it stays as it is.
    #[serde(default)]
    others_inherit: bool,
}

impl OwnSecurity {
    /// Just these of its own, the others as they are: promiscuous mode, MAC address changes, forged transmits.
    pub(super) fn of([promiscuous, mac_changes, forged_transmits]: [Option<bool>; 3]) -> Self {
        Self { promiscuous, mac_changes, forged_transmits, others_inherit: false }
    }

    fn all(&self) -> [Option<bool>; 3] {
        [self.promiscuous, self.mac_changes, self.forged_transmits]
    }
}

/// What a port group has of its own and what it inherits, as a step says it.
fn security_as_it_is(name: &str, now: &Security) -> Option<Undo> {
    let (values, overrides) = (now.values(), now.overrides?);
    if overrides == [false; 3] {
        return Undo::step("portgroup", json!({"name": name, "security": "inherit"}));
    }
    let mut own = serde_json::Map::new();
    for (n, key) in ["promiscuous", "mac_changes", "forged_transmits"].into_iter().enumerate() {
        if overrides[n] {
            own.insert(key.into(), json!(values[n]));
        }
    }
    own.insert("others_inherit".into(), json!(true));
    Undo::step("portgroup", json!({"name": name, "security": own}))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum InheritWord {
    /// As the vSwitch has it.
    Inherit,
}

impl<'de> Deserialize<'de> for SecurityOrInherit {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = SecurityOrInherit;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`inherit` or {promiscuous, mac_changes, forged_transmits, others_inherit}")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SecurityOrInherit, E> {
                match text {
                    "inherit" => Ok(SecurityOrInherit::Inherit(InheritWord::Inherit)),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<SecurityOrInherit, A::Error> {
                OwnSecurity::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(SecurityOrInherit::Own)
            }
        }
        d.deserialize_any(Either)
    }
}

/// What to look at when a port group cannot be made or changed.
pub(super) const ABSENT_SWITCH: &str = "Is the vSwitch there? A `vswitch` step before this one makes it.";

const PG: (&str, &str) = ("-p", "--portgroup-name");

fn on(words: &'static str, portgroup: &str) -> Command {
    name_opt(Command::esxcli(words), PG.0, PG.1, portgroup)
}

/// `esxcli network vswitch standard portgroup policy security get -p NAME`.
pub(super) fn security_get(portgroup: &str) -> Command {
    on("network vswitch standard portgroup policy security get", portgroup)
}

fn set_vlan(portgroup: &str, vlan: u16) -> Command {
    on("network vswitch standard portgroup set", portgroup).opt("-v", vlan.to_string())
}

impl Portgroup {
    /// The port group of this name, with this VLAN.
    pub(super) fn with_vlan(name: Name, vlan: Vlan) -> Self {
        Self { name, vswitch: None, vlan: Some(vlan), state: Presence::Present, security: None }
    }
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
        Some(network::OF_SWITCHES)
    }

    fn about(&self) -> About {
        About::one(network::STANDARD_SWITCH, format!("port group {}", self.name.as_str()))
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
                // Its teaming, shaping and security policies go with it, and no step says them all.
                undo: None,
                ..Change::default()
            }]);
        }
        let mut changes = Vec::new();
        let made = now.is_none().then(|| Undo::step("portgroup", json!({"name": name, "state": "absent"}))).flatten();
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
                    undo: made.clone(),
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
                        undo: Undo::step("portgroup", json!({"name": name, "vlan": now.vlan})),
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
            let change = security_change(name, *wanted, observed)?;
            changes.extend(change.map(|c| Change { undo: made.or(c.undo), ..c }));
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = match self.state {
            Presence::Present => ABSENT_SWITCH,
            Presence::Absent => "A port group in use cannot be removed: move its machines and interfaces first.",
        };
        network::judge_with_advice(action, output, advice)
    }
}

/// What the security policy needs. A port group that is not there yet inherits everything.
pub(super) fn security_change(
    name: &str,
    wanted: SecurityOrInherit,
    observed: Option<Security>,
) -> Result<Option<Change>, StepError> {
    const WHAT: [&str; 3] = ["promiscuous mode", "MAC address changes", "forged transmits"];
    let set = || on("network vswitch standard portgroup policy security set", name);
    let overrides = match &observed {
        None => [false; 3],
        Some(o) => o.overrides.ok_or_else(|| {
            StepError::unreadable(&security_get(name), "it does not say which values are the port group's own")
        })?,
    };
    let values = observed.map(|o| o.values());
    let shown = |n: usize| match values {
        Some(v) if overrides[n] => network::word(v[n]).to_owned(),
        Some(v) => format!("{} (inherited)", v[n]),
        None => "inherited".to_owned(),
    };
    let own = match wanted {
        SecurityOrInherit::Inherit(_) => OwnSecurity { others_inherit: true, ..OwnSecurity::default() },
        SecurityOrInherit::Own(own) => own,
    };
    // One value alone cannot be given back: all of them are, and those that stay its own are set again.
    let resets = own.others_inherit && (0..3).any(|n| overrides[n] && own.all()[n].is_none());
    let (mut command, mut sets, mut before, mut after) = (set(), false, Vec::new(), Vec::new());
    for (n, value) in own.all().into_iter().enumerate() {
        match value {
            Some(value) if resets || !overrides[n] || values.is_none_or(|v| v[n] != value) => {
                command = command.opt(["-o", "-m", "-f"][n], network::word(value));
                sets = true;
                before.push(format!("{} {}", WHAT[n], shown(n)));
                after.push(format!("{} {value}", WHAT[n]));
            }
            None if resets && overrides[n] => {
                before.push(format!("{} {}", WHAT[n], shown(n)));
                after.push(format!("{} inherited", WHAT[n]));
            }
            _ => {}
        }
    }
    let commands = resets.then(|| set().words("-u")).into_iter().chain(sets.then_some(command));
    Ok((!after.is_empty()).then(|| Change {
        summary: format!("security policy of port group {name}"),
        before: before.join(", "),
        after: after.join(", "),
        actions: network::run_all(commands.collect()),
        undo: observed.as_ref().and_then(|o| security_as_it_is(name, o)),
        ..Change::default()
    }))
}

#[cfg(test)]
mod tests;
