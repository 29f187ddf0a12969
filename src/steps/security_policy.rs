//! The security policy of every standard switch and port group of a host, whatever their names are.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::esxi::net::{self, Security, Vswitch};
use crate::esxi::net_hostconfig;
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, SecurityWanted};
use super::portgroup::{self, InheritWord, OwnSecurity, SecurityOrInherit};
use super::service::hostconfig;
use super::step::{Change, Kind, Seen, Step, StepError, Verdict, parse_as};
use super::vswitch;

/// The kind `security_policy`.
pub const KIND: Kind = Kind {
    name: "security_policy",
    about: "The security policy of every standard switch and every port group on one.",
    example: "\
- security_policy:
    promiscuous: false
    mac_changes: false
    forged_transmits: false
",
    parse: parse_as::<SecurityPolicy>,
    schema: |g| g.subschema_for::<Written>(),
};

/// The security policy of every standard switch and port group, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct SecurityPolicy {
    wanted: SecurityWanted,
    vswitches: bool,
    portgroups: bool,
    bulk: bool,
}

/// The security policy of every standard switch and every port group on one. Distributed switches are judged in
/// vCenter; a host without a standard switch has nothing to judge.
///
/// A vSwitch gets the values. A port group is right when the values that count on it are, its own or inherited. One
/// whose own value is wrong is made to inherit all three again, if its vSwitch is right (or will be) and no value that
/// this step does not name would change by it; otherwise the wrong values alone are set on it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "SecurityPolicy")]
struct Written {
    /// Accept promiscuous mode.
    promiscuous: Option<bool>,
    /// Accept MAC address changes.
    mac_changes: Option<bool>,
    /// Accept forged transmits.
    forged_transmits: Option<bool>,
    /// What it is about: both, if left out.
    #[serde(default = "both")]
    every: Vec<Every>,
    /// One long read of hostd's configuration (`vim-cmd hostsvc/hostconfig`) tells all of them; only what is not right
    /// there is asked of esxcli as well.
    #[serde(default)]
    bulk: bool,
}

/// A kind of network object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Every {
    /// Standard switches.
    Vswitches,
    /// Port groups of standard switches.
    Portgroups,
}

fn both() -> Vec<Every> {
    vec![Every::Vswitches, Every::Portgroups]
}

impl TryFrom<Written> for SecurityPolicy {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        let wanted = SecurityWanted {
            promiscuous: w.promiscuous,
            mac_changes: w.mac_changes,
            forged_transmits: w.forged_transmits,
        };
        if wanted == SecurityWanted::default() {
            return Err("say `promiscuous`, `mac_changes` or `forged_transmits`".into());
        }
        if w.every.is_empty() {
            return Err("`every` is empty: say `vswitches`, `portgroups` or both".into());
        }
        let has = |e| w.every.contains(&e);
        Ok(Self { wanted, vswitches: has(Every::Vswitches), portgroups: has(Every::Portgroups), bulk: w.bulk })
    }
}

/// A port group, and what it has.
struct Group {
    name: String,
    vswitch: String,
    now: Security,
}

/// Everything that has a policy.
struct Everything {
    switches: Vec<(String, Security)>,
    groups: Vec<Group>,
}

impl SecurityPolicy {
    fn wanted(&self) -> [Option<bool>; 3] {
        self.wanted.all().map(|(_, value)| value)
    }

    fn switches(&self, seen: &Seen<'_>) -> Result<Vec<Vswitch>, StepError> {
        network::read_here(seen, &network::vswitch_list(), net::vswitches)
    }

    /// What hostd tells, if it is to be asked and answers in the known form.
    fn told(&self, seen: &Seen<'_>) -> Option<Everything> {
        if !self.bulk {
            return None;
        }
        let told = net_hostconfig::policies(&seen.raw(&hostconfig()).ok()?.stdout)?;
        let groups = told.portgroups.into_iter().filter(|_| self.portgroups);
        Some(Everything {
            switches: told.vswitches,
            groups: groups.map(|(name, vswitch, now)| Group { name, vswitch, now }).collect(),
        })
    }

    fn fails(&self, now: &Security) -> bool {
        self.wanted().into_iter().zip(now.values()).any(|(want, value)| want.is_some_and(|want| want != value))
    }

    /// The reads that say more of what hostd tells is not right: whose value it is, and whether hostd is up to date.
    fn doubts(&self, told: &Everything) -> Vec<Command> {
        let switches = told.switches.iter().filter(|(_, now)| self.fails(now));
        let groups = told.groups.iter().filter(|group| self.fails(&group.now));
        switches
            .map(|(name, _)| vswitch::security_get(name))
            .chain(groups.map(|group| portgroup::security_get(&group.name)))
            .collect()
    }

    fn everything(&self, seen: &Seen<'_>) -> Result<Everything, StepError> {
        if let Some(mut told) = self.told(seen) {
            for (name, now) in &mut told.switches {
                if self.fails(now) {
                    *now = network::read_here(seen, &vswitch::security_get(name), net::security)?;
                }
            }
            for group in &mut told.groups {
                if self.fails(&group.now) {
                    group.now = network::read_here(seen, &portgroup::security_get(&group.name), net::security)?;
                }
            }
            return Ok(told);
        }
        let mut all = Everything { switches: Vec::new(), groups: Vec::new() };
        for switch in self.switches(seen)? {
            let now = network::read_here(seen, &vswitch::security_get(&switch.name), net::security)?;
            all.switches.push((switch.name, now));
        }
        for is in if self.portgroups { network::portgroups(seen)? } else { Vec::new() } {
            let now = network::read_here(seen, &portgroup::security_get(&is.name), net::security)?;
            all.groups.push(Group { name: is.name, vswitch: is.vswitch, now });
        }
        Ok(all)
    }

    /// What a switch has when this step is done.
    fn after(&self, now: &Security) -> [bool; 3] {
        let mut values = now.values();
        if self.vswitches {
            self.wanted().into_iter().enumerate().for_each(|(n, w)| values[n] = w.unwrap_or(values[n]));
        }
        values
    }

    /// What a port group on a switch that has `switch` in the end needs itself.
    fn portgroup_needs(&self, group: &Group, switch: [bool; 3]) -> Option<SecurityOrInherit> {
        let (wanted, values) = (self.wanted(), group.now.values());
        let own = |n: usize| group.now.overrides.is_none_or(|o| o[n]);
        let left = |n: usize| wanted[n].filter(|w| values[n] != *w && (own(n) || switch[n] != *w));
        if (0..3).all(|n| left(n).is_none()) {
            return None;
        }
        let inherits = (0..3).all(|n| switch[n] == wanted[n].unwrap_or(values[n]));
        Some(if inherits {
            SecurityOrInherit::Inherit(InheritWord::Inherit)
        } else {
            SecurityOrInherit::Own(OwnSecurity::of([left(0), left(1), left(2)]))
        })
    }
}

impl SecurityPolicy {
    /// The lists of esxcli.
    fn lists(&self) -> Vec<Command> {
        let groups = self.portgroups.then(network::portgroup_list);
        std::iter::once(network::vswitch_list()).chain(groups).collect()
    }
}

impl Step for SecurityPolicy {
    fn summary(&self) -> String {
        let values = self.wanted.all().into_iter().filter_map(|(what, v)| v.map(|v| (what, v)));
        let values: Vec<String> =
            values.map(|(what, v)| format!("{what} {}", if v { "accepted" } else { "rejected" })).collect();
        let on = match (self.vswitches, self.portgroups) {
            (true, true) => "every vSwitch and port group",
            (true, false) => "every vSwitch",
            (false, _) => "every port group",
        };
        format!("{} on {on}", values.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        if self.bulk { vec![hostconfig()] } else { self.lists() }
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if self.bulk {
            if let Some(told) = self.told(seen) {
                return self.doubts(&told);
            }
            if self.lists().iter().any(|list| seen.raw(list).is_err()) {
                return self.lists();
            }
        }
        let switches = self.switches(seen).unwrap_or_default();
        let groups = if self.portgroups { network::portgroups(seen).unwrap_or_default() } else { Vec::new() };
        let switches = switches.iter().map(|s| vswitch::security_get(&s.name));
        switches.chain(groups.iter().map(|g| portgroup::security_get(&g.name))).collect()
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli network vswitch standard"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let Everything { switches, groups } = self.everything(seen)?;
        if switches.is_empty() {
            return Err(StepError::NotApplicable(
                "there is no standard switch on this host; distributed switches are judged in vCenter".into(),
            ));
        }
        let mut changes = Vec::new();
        for (name, now) in switches.iter().filter(|_| self.vswitches) {
            if let Some(change) = vswitch::security_change(name, &self.wanted, Some(*now)) {
                // Those that inherit are made right by this change too.
                let (wanted, inherits) = (self.wanted(), |g: &Group, n: usize| g.now.overrides.is_some_and(|o| !o[n]));
                let fails =
                    |g: &Group| (0..3).any(|n| inherits(g, n) && wanted[n].is_some_and(|w| w != g.now.values()[n]));
                let with: Vec<&str> =
                    groups.iter().filter(|g| g.vswitch == *name && fails(g)).map(|g| g.name.as_str()).collect();
                let summary = match with.is_empty() {
                    true => change.summary,
                    false => format!("{}, inherited by {}", change.summary, with.join(", ")),
                };
                changes.push(Change { summary, ..change });
            }
        }
        for group in &groups {
            let Some((_, switch)) = switches.iter().find(|(name, _)| *name == group.vswitch) else {
                let problem = format!("{} is on {}, which is not listed", group.name, group.vswitch);
                return Err(StepError::unreadable(&network::portgroup_list(), problem));
            };
            if let Some(needs) = self.portgroup_needs(group, self.after(switch)) {
                // Where it is not said which values are its own, any may be, and nobody knows what to bring back.
                let told = group.now.overrides.is_some();
                let now = Security { overrides: group.now.overrides.or(Some([true; 3])), ..group.now };
                let change = portgroup::security_change(&group.name, needs, Some(now))?;
                changes.extend(change.map(|c| Change { undo: c.undo.filter(|_| told), ..c }));
            }
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = "`esxcli network vswitch standard list` shows what there is now.";
        network::judge_with_advice(action, output, advice)
    }
}

#[cfg(test)]
mod tests;
