//! VLANs that no port group of a standard switch may have.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::esxi::net;
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces};
use super::portgroup::{self, Name, Portgroup, Vlan};
use super::step::{Change, Kind, Seen, Step, StepError, Verdict, parse_as};

/// The kind `portgroup_vlans`.
pub const KIND: Kind = Kind {
    name: "portgroup_vlans",
    about: "VLANs that no port group of a standard switch has.",
    example: "\
- portgroup_vlans:
    forbid: [4095, \"1001-1024\", \"native:1\"]
    set: {VM Network: 20}
",
    parse: parse_as::<PortgroupVlans>,
    schema: |g| g.subschema_for::<Written>(),
};

/// Forbidden VLANs, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct PortgroupVlans {
    forbid: Vec<Forbidden>,
    set: BTreeMap<String, Vlan>,
}

/// VLANs that no port group of a standard switch has. Which one a port group shall have instead only a site knows: `set`
/// says it, and a port group that it does not name is a finding for a person.
///
/// VLAN 0 is no tag at all, and so is never one of the forbidden ones unless it is named. Port groups of distributed
/// switches are judged in vCenter.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PortgroupVlans")]
struct Written {
    /// A VLAN (4095: all, which lets a machine choose), a range (`1001-1024`), or `native:` and the VLAN that the
    /// switch outside leaves untagged. `native:` alone says that it is not known: then nothing can be said of it.
    forbid: Vec<Forbidden>,
    /// The VLAN that each port group gets if it has a forbidden one. For the port group that carries the session it is
    /// set detached on the host, which puts the old one back unless esxprep logs in again within 120 seconds.
    #[serde(default)]
    set: BTreeMap<String, Vlan>,
}

impl TryFrom<Written> for PortgroupVlans {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        if w.forbid.is_empty() {
            return Err("`forbid` is empty".into());
        }
        for (name, vlan) in &w.set {
            Name::try_from(name.clone())?;
            if let Some(forbidden) = w.forbid.iter().find(|f| f.has(vlan.0)) {
                return Err(format!("VLAN {} for {name:?} is forbidden itself ({forbidden})", vlan.0));
            }
        }
        Ok(Self { forbid: w.forbid, set: w.set })
    }
}

/// VLANs that are forbidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "ForbiddenWritten")]
enum Forbidden {
    /// From the first to the last.
    Range(u16, u16),
    /// The one that the switch outside leaves untagged, when it is known.
    Native(Option<u16>),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // only its schema is used
enum ForbiddenWritten {
    /// One VLAN.
    One(u16),
    /// `1001-1024`, `4095`, `native:1`.
    Text(String),
}

impl Forbidden {
    fn has(self, vlan: u16) -> bool {
        match self {
            Self::Range(first, last) => (first..=last).contains(&vlan),
            Self::Native(native) => native == Some(vlan),
        }
    }

    fn read(text: &str) -> Result<Self, String> {
        let vlan = |t: &str| match t.trim().parse::<u16>() {
            Ok(n) if n <= 4095 => Ok(n),
            _ => Err(format!("{text:?} is not a VLAN (0 to 4095), a range (1001-1024) or `native:1`")),
        };
        if let Some(native) = text.trim().strip_prefix("native:") {
            return if native.trim().is_empty() {
                Ok(Self::Native(None))
            } else {
                Ok(Self::Native(Some(vlan(native)?)))
            };
        }
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (vlan(first)?, vlan(last)?),
            None => (vlan(text)?, vlan(text)?),
        };
        if first <= last { Ok(Self::Range(first, last)) } else { Err(format!("the range {text:?} is empty")) }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(4095, 4095) => f.write_str("all VLANs"),
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Native(Some(native)) => write!(f, "the native VLAN {native}"),
            Self::Native(None) => f.write_str("the native VLAN"),
        }
    }
}

impl<'de> Deserialize<'de> for Forbidden {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Forbidden;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a VLAN, a range such as `1001-1024`, or `native:1`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Forbidden, E> {
                Forbidden::read(text).map_err(de::Error::custom)
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Forbidden, E> {
                self.visit_str(&n.to_string())
            }
        }
        d.deserialize_any(Either)
    }
}

impl Step for PortgroupVlans {
    fn summary(&self) -> String {
        let forbidden: Vec<String> = self.forbid.iter().map(Forbidden::to_string).collect();
        format!("no port group with {}", forbidden.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![network::portgroup_list()];
        if !self.set.is_empty() {
            reads.extend(Interfaces::reads());
        }
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(network::OF_SWITCHES)
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let groups = network::read_here(seen, &network::portgroup_list(), net::portgroups)?;
        if groups.is_empty() {
            return Err(StepError::NotApplicable(
                "there is no port group on a standard switch; those of distributed switches are judged in vCenter"
                    .into(),
            ));
        }
        let mut changes = Vec::new();
        for group in &groups {
            let Some(forbidden) = self.forbid.iter().find(|f| f.has(group.vlan)) else { continue };
            match self.set.get(&group.name) {
                Some(vlan) => {
                    let name = Name::try_from(group.name.clone()).map_err(StepError::Refused)?;
                    changes.extend(Portgroup::with_vlan(name, *vlan).compare(seen)?);
                }
                None => changes.push(Change::finding(
                    format!("VLAN of port group {}", group.name),
                    group.vlan.to_string(),
                    format!("not {forbidden}"),
                    format!(
                        "Choose a VLAN that the switch outside carries to this host, and say it: `set: {{{:?}: VLAN}}`.",
                        group.name
                    ),
                )),
            }
        }
        if changes.is_empty() && self.forbid.contains(&Forbidden::Native(None)) {
            let vlans: Vec<String> = groups.iter().map(|g| format!("{} has {}", g.name, g.vlan)).collect();
            return Err(StepError::NotJudged(format!(
                "the native VLAN of the switch outside is not given: look it up there, and write `native:` and its \
                 number. Now {}.",
                vlans.join(", ")
            )));
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        network::judge_with_advice(action, output, portgroup::ABSENT_SWITCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::{self, *};
    use serde_json::json;

    fn host(rows: &[&[&str; 4]]) -> Host {
        Host::recorded_on_6_7().says(&network::portgroup_list(), testing::portgroups(rows))
    }

    #[test]
    fn numbers_and_never_digits() {
        let native = step(&KIND, json!({"forbid": ["native:1"]}));
        let fine: &[&[&str; 4]] = &[
            &["Management VMkernel", "vSwitch0", "1", "0"],
            &["ten", "vSwitch0", "0", "10"],
            &["twenty one", "vSwitch0", "0", "21"],
            &["hundred", "vSwitch0", "0", "100"],
            &["1", "vSwitch0", "0", "4094"],
        ];
        assert!(host(fine).compare(&*native).unwrap().is_empty());
        let late =
            recorded(include_str!("../../fixtures/transcripts/unknown/network-vswitch-standard-portgroup-list.txt"));
        let h = Host::recorded_on_6_7().says(&network::portgroup_list(), late);
        assert!(h.compare(&*native).unwrap().is_empty());
        let three = h.compare(&*step(&KIND, json!({"forbid": [3]}))).unwrap();
        assert_eq!((three[0].summary.as_str(), three[0].before.as_str()), ("VLAN of port group VM_VLAN3", "3"));
        assert!(three[0].actions.is_empty() && three[0].by_hand.as_ref().unwrap().contains("VM_VLAN3"));
    }

    #[test]
    fn ranges_are_whole_and_findings_are_for_a_person() {
        let reserved = step(&KIND, json!({"forbid": ["1001-1024", "3968-4094"]}));
        for (vlan, fails) in
            [("1000", false), ("1001", true), ("1010", true), ("1024", true), ("1025", false), ("3967", false)]
                .into_iter()
                .chain([("3968", true), ("4000", true), ("4094", true), ("4095", false)])
        {
            let found = host(&[&["my net", "vSwitch0", "0", vlan]]).compare(&*reserved).unwrap();
            assert_eq!(!found.is_empty(), fails, "{vlan}");
        }
        let guest = step(&KIND, json!({"forbid": [4095]}));
        let found = host(&[&["trunk", "vSwitch0", "0", "4095"]]).compare(&*guest).unwrap();
        assert_eq!(found[0].after, "not all VLANs");
    }

    #[test]
    fn a_given_vlan_is_set_and_can_come_back() {
        let s = step(
            &KIND,
            json!({"forbid": ["4095", "native:1"], "set": {"my trunk": 20, "Management VMkernel": 7, "other": 9}}),
        );
        let h = host(&[
            &["Management VMkernel", "vSwitch0", "1", "1"],
            &["my trunk", "vSwitch0", "0", "4095"],
            &["other", "vSwitch0", "0", "5"],
        ]);
        assert_eq!(
            h.actions(&*s),
            [
                "detached: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 7",
                "rollback: esxcli network vswitch standard portgroup set -p 'Management VMkernel' -v 1",
                "esxcli network vswitch standard portgroup set -p 'my trunk' -v 20",
            ]
        );
        let undo = h.compare(&*s).unwrap()[1].undo.clone().unwrap();
        assert_eq!((undo.kind.as_str(), &undo.args), ("portgroup", &json!({"name": "my trunk", "vlan": 4095})));
        let after = host(&[&["my trunk", "vSwitch0", "0", "20"]]);
        assert!(after.compare(&*s).unwrap().is_empty());
        assert_eq!(
            after.actions(&*step(&portgroup::KIND, undo.args)),
            ["esxcli network vswitch standard portgroup set -p 'my trunk' -v 4095"]
        );
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        let s = step(&KIND, json!({"forbid": ["native:", 4095]}));
        let text = host(&[&["a", "vSwitch0", "0", "1"]]).compare(&*s).unwrap_err().to_string();
        assert!(text.starts_with("not judged") && text.contains("a has 1"), "{text}");
        // What fails whatever it is still fails.
        assert_eq!(host(&[&["a", "vSwitch0", "0", "4095"]]).compare(&*s).unwrap().len(), 1);
        let none = Host::new(Version::new(8, 0), "192.0.2.11").says(&network::portgroup_list(), "");
        assert!(matches!(none.compare(&*s), Err(StepError::NotApplicable(_))));
    }

    #[test]
    fn wrong_arguments() {
        for (json, word) in [
            (json!({"forbid": []}), "empty"),
            (json!({}), "forbid"),
            (json!({"forbid": [4096]}), "4095"),
            (json!({"forbid": ["10-5"]}), "range"),
            (json!({"forbid": ["native:x"]}), "native:1"),
            (json!({"forbid": [1], "set": {"a": 1}}), "forbidden itself"),
            (json!({"forbid": [1], "set": {"a": 5000}}), "4095"),
            (json!({"forbid": [1], "set": {" a": 2}}), "blank"),
        ] {
            let text = bad(&KIND, json);
            assert!(text.contains(word), "{word}: {text}");
        }
    }
}
