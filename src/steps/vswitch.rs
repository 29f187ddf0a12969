//! Standard switches: uplinks, MTU, CDP, security policy.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::esxi::net::{self, name_opt};
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces, Mtu, SecurityWanted};
use super::portgroup::Name;
use super::step::{About, Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};
use super::vmknic::Presence;

/// The kind `vswitch`.
pub const KIND: Kind = Kind {
    name: "vswitch",
    about: "A standard switch: uplinks, MTU, CDP, security policy.",
    example: "\
- vswitch:
    name: vSwitch1
    uplinks: [vmnic1]
    mtu: 9000
    security: {promiscuous: false, mac_changes: false, forged_transmits: false}
",
    parse: parse_as::<Vswitch>,
    schema: |g| g.subschema_for::<Vswitch>(),
};

/// A standard switch. What is left out stays as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vswitch {
    /// Name, for example `vSwitch1`.
    name: Name,
    /// Whether it is there. Removing the one that carries the session is refused.
    #[serde(default)]
    state: Presence,
    /// Exactly these uplinks. Taking the last one, or the last one with a link, from the switch that carries the
    /// session is refused; taking any from it is done detached on the host, which puts them back unless esxprep
    /// logs in again within 120 seconds.
    uplinks: Option<Vec<String>>,
    /// At least these uplinks; others stay.
    uplinks_add: Option<Vec<String>>,
    /// MTU in bytes, 1280 to 9190.
    mtu: Option<Mtu>,
    /// Ports; used only when the switch is made (esxcli cannot change it later; since 5.5 it grows by itself).
    ports: Option<u32>,
    /// Cisco Discovery Protocol.
    cdp: Option<Cdp>,
    /// Security policy; port groups inherit it unless they have their own.
    security: Option<SecurityWanted>,
}

/// What the switch does with the Cisco Discovery Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Cdp {
    /// Nothing.
    Down,
    /// It listens.
    Listen,
    /// It tells.
    Advertise,
    /// It listens and tells.
    Both,
}

impl Cdp {
    fn word(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Listen => "listen",
            Self::Advertise => "advertise",
            Self::Both => "both",
        }
    }
}

fn on(words: &'static str, vswitch: &str) -> Command {
    name_opt(Command::esxcli(words), "-v", "--vswitch-name", vswitch)
}

/// `esxcli network vswitch standard policy security get -v NAME`.
pub(super) fn security_get(vswitch: &str) -> Command {
    on("network vswitch standard policy security get", vswitch)
}

fn uplink(words: &'static str, nic: &str, vswitch: &str) -> Command {
    name_opt(name_opt(Command::esxcli(words), "-u", "--uplink-name", nic), "-v", "--vswitch-name", vswitch)
}

fn add_uplink(nic: &str, vswitch: &str) -> Command {
    uplink("network vswitch standard uplink add", nic, vswitch)
}

fn remove_uplink(nic: &str, vswitch: &str) -> Command {
    uplink("network vswitch standard uplink remove", nic, vswitch)
}

impl Step for Vswitch {
    fn summary(&self) -> String {
        match self.state {
            Presence::Absent => format!("no vSwitch {}", self.name.as_str()),
            Presence::Present => format!("vSwitch {}", self.name.as_str()),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Interfaces::reads();
        reads.push(network::vswitch_list());
        if (self.uplinks.is_some() || self.uplinks_add.is_some()) && self.state == Presence::Present {
            reads.push(network::nic_list());
        }
        if self.security.is_some() && self.state == Presence::Present {
            reads.push(security_get(self.name.as_str()));
        }
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(network::OF_SWITCHES)
    }

    fn about(&self) -> About {
        // A switch that goes takes its port groups along, an uplink may come from another switch, and port groups
        // inherit the security policy. What is left, no port group and no other switch has to do with: a port group on
        // a switch that is not there yet is planned all the same.
        let only_itself = self.state == Presence::Present
            && self.uplinks.is_none()
            && self.uplinks_add.is_none()
            && self.security.is_none();
        if only_itself {
            About::one(network::STANDARD_SWITCH, format!("switch {}", self.name.as_str()))
        } else {
            About::default()
        }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        if self.uplinks.is_some() && self.uplinks_add.is_some() {
            return Err(StepError::Refused("give either `uplinks` (exactly these) or `uplinks_add`, not both".into()));
        }
        let name = self.name.as_str();
        let switches = network::vswitches(seen)?;
        let now = switches.iter().find(|s| s.name == name);
        let faces = Interfaces::observe(seen)?;
        let carries = faces.carrying(seen.host).is_some_and(|v| v.portset == name && v.dvs.is_none());
        let because = || faces.carrier(seen.host).reason(seen.host);
        if self.state == Presence::Absent {
            let Some(now) = now else { return Ok(Vec::new()) };
            if carries {
                return Err(StepError::Refused(format!(
                    "the vSwitch {name} is not removed: {} and is on it. Log in over another interface first.",
                    because()
                )));
            }
            return Ok(vec![Change {
                summary: format!("vSwitch {name}"),
                before: format!("with uplinks {}", list(&now.uplinks)),
                after: "absent".into(),
                actions: vec![Action::Run(on("network vswitch standard remove", name))],
                // Its port groups and policies go with it, and no step says them all.
                undo: None,
                ..Change::default()
            }]);
        }
        let mut changes: Vec<Change> = Vec::new();
        if now.is_none() {
            let add = on("network vswitch standard add", name);
            changes.push(Change {
                summary: format!("vSwitch {name}"),
                before: "absent".into(),
                after: "present".into(),
                actions: vec![Action::Run(match self.ports {
                    Some(ports) => add.opt("-P", ports.to_string()),
                    None => add,
                })],
                ..Change::default()
            });
        }
        changes.extend(self.settings(now));
        changes.extend(self.uplink_change(seen, now, carries, because)?);
        if let Some(wanted) = &self.security {
            let observed = match now {
                Some(_) => Some(network::read(seen, &security_get(name), net::security)?),
                None => None,
            };
            changes.extend(security_change(name, wanted, observed));
        }
        if now.is_none() {
            let made = Undo::step("vswitch", json!({"name": name, "state": "absent"}));
            changes.iter_mut().for_each(|c| c.undo.clone_from(&made));
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = match self.state {
            Presence::Present => {
                "A physical NIC is an uplink of one switch only: `esxcli network vswitch standard list` and \
                 `esxcli network nic list` show who has it and whether it is there."
            }
            Presence::Absent => "A vSwitch with ports in use cannot be removed: move machines and interfaces first.",
        };
        network::judge_with_advice(action, output, advice)
    }
}

impl Vswitch {
    /// MTU and CDP in one command.
    fn settings(&self, now: Option<&net::Vswitch>) -> Option<Change> {
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut old = Map::from_iter([("name".to_owned(), json!(self.name.as_str()))]);
        let mut set = on("network vswitch standard set", self.name.as_str());
        let mtu = self.mtu.map(|m| m.bytes()).filter(|m| now.is_none_or(|n| n.mtu != *m));
        if let Some(mtu) = mtu {
            set = set.opt("-m", mtu.to_string());
            before.push(now.map_or_else(|| "default MTU".to_owned(), |n| format!("MTU {}", n.mtu)));
            after.push(format!("MTU {mtu}"));
            old.insert("mtu".into(), json!(now.map(|n| n.mtu)));
        }
        let cdp = self.cdp.map(Cdp::word).filter(|c| now.is_none_or(|n| !n.cdp.eq_ignore_ascii_case(c)));
        if let Some(cdp) = cdp {
            set = set.opt("-c", cdp);
            before.push(now.map_or_else(|| "default CDP".to_owned(), |n| format!("CDP {}", n.cdp)));
            after.push(format!("CDP {cdp}"));
            old.insert("cdp".into(), json!(now.map(|n| n.cdp.to_ascii_lowercase())));
        }
        (!after.is_empty()).then(|| Change {
            summary: format!("settings of vSwitch {}", self.name.as_str()),
            before: before.join(", "),
            after: after.join(", "),
            actions: vec![Action::Run(set)],
            undo: Undo::step("vswitch", Value::Object(old)),
            ..Change::default()
        })
    }

    fn uplink_change(
        &self,
        seen: &Seen<'_>,
        now: Option<&net::Vswitch>,
        carries: bool,
        because: impl Fn() -> String,
    ) -> Result<Option<Change>, StepError> {
        let Some(wanted) = self.uplinks.as_ref().or(self.uplinks_add.as_ref()) else { return Ok(None) };
        let name = self.name.as_str();
        let have: &[String] = now.map_or(&[], |n| &n.uplinks);
        let missing: Vec<&String> = wanted.iter().filter(|w| !have.contains(w)).collect();
        let extra: Vec<&String> = match &self.uplinks {
            Some(exact) => have.iter().filter(|h| !exact.contains(h)).collect(),
            None => Vec::new(),
        };
        if missing.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        let nics = network::nics(seen)?;
        // Before anything is made. A NIC that another switch has is left to the host: a step before may give it up.
        if let Some(unknown) = missing.iter().find(|m| !nics.iter().any(|n| n.name == ***m)) {
            let names: Vec<String> = nics.iter().map(|n| n.name.clone()).collect();
            return Err(StepError::Refused(format!(
                "there is no physical NIC {unknown} on this host for vSwitch {name}; it has: {}.",
                list(&names)
            )));
        }
        if carries && !extra.is_empty() {
            let linked = |n: &&String| nics.iter().any(|nic| nic.name == **n && nic.link_up);
            if !wanted.iter().any(|w| linked(&w)) {
                return Err(StepError::Refused(format!(
                    "the uplinks of {name} are not reduced to {}: none of them has a link, and {}. Plug one in, or \
                     keep {}.",
                    list(wanted),
                    because(),
                    list(&extra.iter().map(|e| (*e).clone()).collect::<Vec<_>>())
                )));
            }
        }
        // New ones first, so that the switch is never without.
        let commands: Vec<Command> =
            missing.iter().map(|n| add_uplink(n, name)).chain(extra.iter().map(|n| remove_uplink(n, name))).collect();
        let actions = if carries && !extra.is_empty() {
            let rollback = extra
                .iter()
                .map(|n| add_uplink(n, name))
                .chain(missing.iter().map(|n| remove_uplink(n, name)))
                .collect();
            vec![network::detached(commands, rollback, network::CONFIRM_WITHIN)]
        } else {
            network::run_all(commands)
        };
        let mut after: Vec<String> = have.iter().filter(|h| !extra.contains(h)).cloned().collect();
        after.extend(missing.into_iter().cloned());
        Ok(Some(Change {
            summary: format!("uplinks of vSwitch {name}"),
            before: list(have),
            after: list(&after),
            actions,
            // Which uplinks, the oldest first: the newest is printed first (recorded). Teaming is another policy, which no
            // step says: if it names adapters by hand, a returned one may have another place there.
            undo: Undo::step("vswitch", json!({"name": name, "uplinks": have.iter().rev().collect::<Vec<_>>()})),
            ..Change::default()
        }))
    }
}

/// What the security policy of a switch needs; one that is not there yet has none.
pub(super) fn security_change(name: &str, wanted: &SecurityWanted, observed: Option<net::Security>) -> Option<Change> {
    const KEYS: [&str; 3] = ["promiscuous", "mac_changes", "forged_transmits"];
    let values = observed.map(|o| o.values());
    let mut command = on("network vswitch standard policy security set", name);
    let (mut before, mut after, mut old) = (Vec::new(), Vec::new(), Map::new());
    for (n, (what, value)) in wanted.all().into_iter().enumerate() {
        let Some(value) = value.filter(|v| values.is_none_or(|o| o[n] != *v)) else { continue };
        command = command.opt(["-p", "-m", "-f"][n], network::word(value));
        before.push(values.map_or_else(|| format!("{what} by default"), |o| format!("{what} {}", o[n])));
        after.push(format!("{what} {value}"));
        old.insert(KEYS[n].into(), json!(values.map(|o| o[n])));
    }
    (!after.is_empty()).then(|| Change {
        summary: format!("security policy of vSwitch {name}"),
        before: before.join(", "),
        after: after.join(", "),
        actions: vec![Action::Run(command)],
        undo: Undo::step("vswitch", json!({"name": name, "security": old})),
        ..Change::default()
    })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;
    use crate::steps::testing::*;
    use serde_json::json;

    /// Switches and NICs as recorded on 6.7: the session comes in over vmk1 on vSwitch0 (vmnic0).
    fn six(switches: Option<String>) -> Host {
        let recorded_switches =
            recorded(include_str!("../../fixtures/transcripts/6.7/network-vswitch-standard-list.txt"));
        Host::recorded_on_6_7().says(&network::vswitch_list(), switches.unwrap_or(recorded_switches)).says(
            &network::nic_list(),
            recorded(include_str!("../../fixtures/transcripts/6.7/network-nic-list-ntg3.txt")),
        )
    }

    #[test]
    fn settings_and_uplinks_on_recorded_lists() {
        let s = step(&KIND, json!({"name": "vSwitch1", "mtu": 9000, "cdp": "both", "uplinks": ["vmnic1", "vmnic4"]}));
        let with_vmnic4 = |host: Host| {
            let mut nics = recorded(include_str!("../../fixtures/transcripts/6.7/network-nic-list-ntg3.txt"));
            nics.push_str("vmnic4  0000:03:00.0  ntg3    Up            Up            1000  Full    20:67:7c:d9:a1:70  1500  Broadcom\n");
            host.says(&network::nic_list(), nics)
        };
        let unknown = six(None).compare(&*s).unwrap_err().to_string();
        assert!(unknown.contains("vmnic4") && unknown.contains("vmnic0, vmnic1, vmnic2, vmnic3"), "{unknown}");
        assert_eq!(
            with_vmnic4(six(None)).actions(&*s),
            [
                "esxcli network vswitch standard set -v vSwitch1 -m 9000 -c both",
                "esxcli network vswitch standard uplink add -u vmnic4 -v vSwitch1",
                "esxcli network vswitch standard uplink remove -u vmnic3 -v vSwitch1",
                "esxcli network vswitch standard uplink remove -u vmnic2 -v vSwitch1",
            ]
        );
        let after = vswitch("vSwitch1", 9000, "both", "vmnic4, vmnic1", "Server Network");
        assert!(six(Some(after)).compare(&*s).unwrap().is_empty());
        let late = recorded(include_str!("../../fixtures/transcripts/unknown/network-vswitch-standard-list.txt"));
        let storage = step(&KIND, json!({"name": "storage", "mtu": 9000, "uplinks": ["vmnic32"], "cdp": "listen"}));
        assert!(six(Some(late)).compare(&*storage).unwrap().is_empty());
    }

    #[test]
    fn uplinks_add_keeps_the_others() {
        let s = step(&KIND, json!({"name": "vSwitch0", "uplinks_add": ["vmnic0", "vmnic1"]}));
        assert_eq!(six(None).actions(&*s), ["esxcli network vswitch standard uplink add -u vmnic1 -v vSwitch0"]);
        let both = step(&KIND, json!({"name": "vSwitch0", "uplinks_add": [], "uplinks": []}));
        assert!(six(None).refusal(&*both).contains("not both"));
    }

    #[test]
    fn the_sessions_switch_keeps_a_way_out() {
        let refusal = |json| six(None).refusal(&*step(&KIND, json));
        assert!(refusal(json!({"name": "vSwitch0", "uplinks": []})).contains("vmk1 carries this session"));
        assert!(refusal(json!({"name": "vSwitch0", "uplinks": ["vmnic3"]})).contains("none of them has a link"));
        assert!(refusal(json!({"name": "vSwitch0", "state": "absent"})).contains("is not removed"));
        let moved = step(&KIND, json!({"name": "vSwitch0", "uplinks": ["vmnic1"]}));
        assert_eq!(
            six(None).actions(&*moved),
            [
                "detached: esxcli network vswitch standard uplink add -u vmnic1 -v vSwitch0",
                "detached: esxcli network vswitch standard uplink remove -u vmnic0 -v vSwitch0",
                "rollback: esxcli network vswitch standard uplink add -u vmnic0 -v vSwitch0",
                "rollback: esxcli network vswitch standard uplink remove -u vmnic1 -v vSwitch0",
            ]
        );
        // The other switch may be bare.
        let bare = step(&KIND, json!({"name": "vSwitch1", "uplinks": []}));
        assert_eq!(six(None).actions(&*bare).len(), 3);
        let mut nat = six(None);
        nat.facts.session_address = None;
        assert!(nat.refusal(&*step(&KIND, json!({"name": "vSwitch0", "uplinks": []}))).contains("taken to carry"));
    }

    #[test]
    fn made_and_removed() {
        let s = step(
            &KIND,
            json!({"name": "it's new", "ports": 256, "mtu": 1500, "uplinks": ["vmnic1"],
                "security": {"promiscuous": true, "mac_changes": true, "forged_transmits": true}}),
        );
        let host = six(None).fails(&security_get("it's new"), "Unable to find vswitch\n");
        assert_eq!(
            host.actions(&*s),
            [
                "esxcli network vswitch standard add -v 'it'\\''s new' -P 256",
                "esxcli network vswitch standard set -v 'it'\\''s new' -m 1500",
                "esxcli network vswitch standard uplink add -u vmnic1 -v 'it'\\''s new'",
                "esxcli network vswitch standard policy security set -v 'it'\\''s new' -p true -m true -f true",
            ]
        );
        let s = step(&KIND, json!({"name": "vSwitch1", "state": "absent"}));
        assert_eq!(six(None).actions(&*s), ["esxcli network vswitch standard remove -v vSwitch1"]);
        assert!(six(None).compare(&*step(&KIND, json!({"name": "x", "state": "absent"}))).unwrap().is_empty());
    }

    #[test]
    fn security_sets_only_what_differs() {
        let s = step(&KIND, json!({"name": "vSwitch1", "security": {"promiscuous": false, "mac_changes": false}}));
        let policy = |m: bool| {
            format!("   Allow Promiscuous: false\n   Allow MAC Address Change: {m}\n   Allow Forged Transmits: true\n")
        };
        let host = six(None).says(&security_get("vSwitch1"), policy(true));
        assert_eq!(host.actions(&*s), ["esxcli network vswitch standard policy security set -v vSwitch1 -m false"]);
        assert!(six(None).says(&security_get("vSwitch1"), policy(false)).compare(&*s).unwrap().is_empty());
    }

    #[test]
    fn what_was_before_comes_back() {
        let policy = |m: bool| {
            format!("   Allow Promiscuous: false\n   Allow MAC Address Change: {m}\n   Allow Forged Transmits: true\n")
        };
        let s = json!({"name": "vSwitch1", "mtu": 9000, "cdp": "down", "uplinks": ["vmnic0", "vmnic1"],
            "security": {"mac_changes": false}});
        let before = six(None).says(&security_get("vSwitch1"), policy(true));
        let changes = before.compare(&*step(&KIND, s)).unwrap();
        let undos: Vec<_> = changes.into_iter().map(|c| step(&KIND, c.undo.unwrap().args)).collect();
        let after = vswitch("vSwitch1", 9000, "down", "vmnic0, vmnic1", "Server Network");
        let after = six(Some(after)).says(&security_get("vSwitch1"), policy(false));
        assert_eq!(
            undos.iter().flat_map(|u| after.actions(&**u)).collect::<Vec<_>>(),
            [
                "esxcli network vswitch standard set -v vSwitch1 -m 1500 -c listen",
                "esxcli network vswitch standard uplink add -u vmnic2 -v vSwitch1",
                "esxcli network vswitch standard uplink add -u vmnic3 -v vSwitch1",
                "esxcli network vswitch standard uplink remove -u vmnic0 -v vSwitch1",
                "esxcli network vswitch standard policy security set -v vSwitch1 -m true",
            ]
        );
        assert!(undos.iter().all(|u| before.compare(&**u).unwrap().is_empty()));
        // Made: gone again, whatever was set on it. Removed: nothing says all of it.
        let made = step(&KIND, json!({"name": "new", "mtu": 9000, "security": {"promiscuous": true}}));
        let changes = six(None).fails(&security_get("new"), "Unable to find\n").compare(&*made).unwrap();
        assert_eq!(changes.len(), 3);
        let absent = json!({"name": "new", "state": "absent"});
        assert!(changes.iter().all(|c| c.undo.as_ref().is_some_and(|u| u.args == absent)));
        let gone = step(&KIND, json!({"name": "vSwitch1", "state": "absent"}));
        assert_eq!(six(None).compare(&*gone).unwrap()[0].undo, None);
    }
}
