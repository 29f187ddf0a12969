//! Physical NICs: on or off, speed and duplex.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::json;

use crate::esxi::forms;
use crate::esxi::net::{Nic as Observed, Vswitch};
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces};
use super::step::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};

/// The kind `nic`.
pub const KIND: Kind = Kind {
    name: "nic",
    about: "A physical NIC: on or off, speed and duplex.",
    example: "\
- nic:
    name: vmnic1
    link: up
    speed: auto
",
    parse: parse_as::<Nic>,
    schema: |g| g.subschema_for::<Nic>(),
};

/// A physical NIC. What is left out stays as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// Name, for example `vmnic0`.
    name: NicName,
    /// `up` or `down`. Taking down the only working uplink of the switch that carries the session is refused.
    /// ESXi 5.x shows only the link, so there `up` needs a cable that works.
    link: Option<Link>,
    /// `auto`, or Mbit/s such as 1000. A speed that is set while there is no link cannot be seen on the host.
    speed: Option<Speed>,
    /// For a fixed speed.
    #[serde(default)]
    duplex: Duplex,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct NicName(#[schemars(regex(pattern = r"^[A-Za-z]+[0-9]+$"))] String);

impl TryFrom<String> for NicName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let good = number.len() < text.len() && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        if good { Ok(Self(text)) } else { Err(format!("{text:?} is not a physical NIC: vmnic0, vmnic1, vusb0 ...")) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Link {
    /// Switched on.
    Up,
    /// Switched off.
    Down,
}

/// `auto`, or Mbit/s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "SpeedWritten")]
enum Speed {
    Auto,
    Fixed(u32),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // only its schema is used
enum SpeedWritten {
    /// `auto`
    Word(String),
    /// Mbit/s
    Fixed(u32),
}

impl<'de> Deserialize<'de> for Speed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Speed;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`auto` or a speed in Mbit/s such as 1000")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Speed, E> {
                match text {
                    "auto" => Ok(Speed::Auto),
                    _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Speed, E> {
                match u32::try_from(n) {
                    Ok(n) if (10..=400_000).contains(&n) => Ok(Speed::Fixed(n)),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(n), &self)),
                }
            }
        }
        d.deserialize_any(Either)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Duplex {
    /// Both ways at once.
    #[default]
    Full,
    /// One way at a time.
    Half,
}

fn nic_get(name: &str) -> Command {
    Command::esxcli("network nic get").opt("-n", name)
}

fn set_speed(name: &str, speed: u32, full: bool) -> Command {
    let set = Command::esxcli("network nic set").opt("-n", name).opt("-S", speed.to_string());
    set.opt("-D", if full { "full" } else { "half" })
}

fn set_auto(name: &str) -> Command {
    Command::esxcli("network nic set").opt("-n", name).words("-a")
}

impl Step for Nic {
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.link.map(|l| if l == Link::Up { "up".to_owned() } else { "down".to_owned() }));
        parts.extend(self.speed.map(|s| match s {
            Speed::Auto => "speed auto".to_owned(),
            Speed::Fixed(n) => format!("{n} Mbit/s"),
        }));
        format!("{} {}", self.name.0, parts.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Interfaces::reads();
        reads.push(network::nic_list());
        reads.push(network::vswitch_list());
        if self.speed.is_some() {
            reads.push(nic_get(&self.name.0));
        }
        reads
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let name = &self.name.0;
        let nics = network::nics(seen)?;
        let Some(now) = nics.iter().find(|n| n.name == *name) else {
            let there: Vec<&str> = nics.iter().map(|n| n.name.as_str()).collect();
            return Err(StepError::Refused(format!(
                "there is no physical NIC {name} on this host; there are {}. Is its driver loaded?",
                if there.is_empty() { "none".to_owned() } else { there.join(", ") }
            )));
        };
        let faces = Interfaces::observe(seen)?;
        let switches = network::vswitches(seen)?;
        let only_way = only_way(seen, &faces, &switches, &nics, now);
        let mut changes = Vec::new();
        let up = now.admin_up.unwrap_or(now.link_up);
        if let Some(link) = self.link
            && (link == Link::Up) != up
        {
            if link == Link::Down && only_way {
                return Err(StepError::Refused(format!(
                    "{name} is not taken down: it is the only uplink with a link of the switch behind {}. Add \
                     another uplink first.",
                    faces.carrier(seen.host).reason(seen.host)
                )));
            }
            let (command, before, after) = match link {
                Link::Up => (Command::esxcli("network nic up"), "down", "up"),
                Link::Down => (Command::esxcli("network nic down"), "up", "down"),
            };
            changes.push(Change {
                summary: format!("link of {name}"),
                before: before.into(),
                after: after.into(),
                actions: vec![Action::Run(command.opt("-n", name))],
                undo: Undo::step("nic", json!({"name": name, "link": before})),
                ..Change::default()
            });
        }
        if let Some(speed) = self.speed {
            changes.extend(self.speed_change(seen, now, speed, only_way)?);
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = "Many drivers take only some speeds, or `auto` alone: `esxcli network nic get -n` lists them \
                      as Advertised Link Modes.";
        network::judge_with_advice(action, output, advice)
    }
}

impl Nic {
    fn speed_change(
        &self,
        seen: &Seen<'_>,
        now: &Observed,
        speed: Speed,
        only_way: bool,
    ) -> Result<Option<Change>, StepError> {
        let name = &self.name.0;
        let get = network::read(seen, &nic_get(name), |t| Ok(forms::record(t)?))?;
        let says = |label: &str| get.get(label).map(|v| v.eq_ignore_ascii_case("true"));
        let Some(negotiates) = says("Auto Negotiation") else {
            return Err(StepError::unreadable(&nic_get(name), "no `Auto Negotiation` in it"));
        };
        // Drivers print `Auto Negotiation: false` while they negotiate (ixgben without a link; ne1000 recorded on
        // 6.5 says so beside `Advertised Auto Negotiation: true`): either line is enough for `auto`.
        let auto = negotiates || says("Advertised Auto Negotiation") == Some(true);
        let full = self.duplex == Duplex::Full;
        let shown = |n: &Observed| {
            if n.link_up {
                format!("{} Mbit/s {} duplex", n.speed, if n.full_duplex { "full" } else { "half" })
            } else {
                "no link".to_owned()
            }
        };
        let (same, set, after) = match speed {
            Speed::Auto => (auto, set_auto(name), "auto".to_owned()),
            Speed::Fixed(n) => {
                let seen_so = !now.link_up || (now.speed == n && now.full_duplex == full);
                let after = format!("{n} Mbit/s {} duplex", if full { "full" } else { "half" });
                (!negotiates && seen_so, set_speed(name, n, full), after)
            }
        };
        if same {
            return Ok(None);
        }
        let back = if auto { set_auto(name) } else { set_speed(name, now.speed, now.full_duplex) };
        // Without a link the host does not show what speed was set.
        let undo = match (auto, now.link_up, now.full_duplex) {
            (true, ..) => Undo::step("nic", json!({"name": name, "speed": "auto"})),
            (false, true, full) => {
                let duplex = if full { "full" } else { "half" };
                Undo::step("nic", json!({"name": name, "speed": now.speed, "duplex": duplex}))
            }
            (false, false, _) => None,
        };
        let action =
            if only_way { network::detached(vec![set], vec![back], network::CONFIRM_WITHIN) } else { Action::Run(set) };
        Ok(Some(Change {
            summary: format!("speed of {name}"),
            before: if auto { format!("auto ({})", shown(now)) } else { shown(now) },
            after,
            actions: vec![action],
            undo,
            ..Change::default()
        }))
    }
}

/// Whether this NIC is the only working uplink of the switch that carries the session.
fn only_way(seen: &Seen<'_>, faces: &Interfaces, switches: &[Vswitch], nics: &[Observed], nic: &Observed) -> bool {
    let Some(switch) = faces.carrying(seen.host).and_then(|v| switches.iter().find(|s| s.name == v.portset)) else {
        return false;
    };
    let linked = |n: &&String| nics.iter().any(|o| o.name == **n && o.link_up);
    switch.uplinks.contains(&nic.name) && !switch.uplinks.iter().filter(linked).any(|u| *u != nic.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::recorded;
    use crate::steps::testing::*;
    use serde_json::json;

    const SIX: &str = include_str!("../../fixtures/transcripts/6.7/network-nic-list-ntg3.txt");
    const FIVE: &str = include_str!("../../fixtures/transcripts/5.x/network-nic-list-tg3.txt");
    const SEVEN: &str = include_str!("../../fixtures/transcripts/7.0/network-nic-list-short-dashes.txt");

    fn host(nics: String, uplinks: &str) -> Host {
        let get = recorded(include_str!("../../fixtures/transcripts/6.5/network-nic-get-vmnic0.txt"));
        Host::recorded_on_6_7()
            .says(&network::vswitch_list(), vswitch("vSwitch0", 1500, "listen", uplinks, "Management VMkernel"))
            .says(&network::nic_list(), nics)
            .says(&nic_get("vmnic0"), get.clone())
            .says(
                &nic_get("vmnic1"),
                get.replace("Advertised Auto Negotiation: true", "Advertised Auto Negotiation: false"),
            )
            .says(&nic_get("vmnic2"), get.replace("Auto Negotiation: false", "Auto Negotiation: true"))
    }

    #[test]
    fn link_on_recorded_lists() {
        let down = step(&KIND, json!({"name": "vmnic1", "link": "down"}));
        assert_eq!(host(recorded(SIX), "vmnic0").actions(&*down), ["esxcli network nic down -n vmnic1"]);
        let after = recorded(SIX)
            .replace("0000:02:00.1  ntg3    Up            Up  ", "0000:02:00.1  ntg3    Down          Down");
        assert!(host(after.clone(), "vmnic0").compare(&*down).unwrap().is_empty());
        let up = step(&KIND, json!({"name": "vmnic1", "link": "up"}));
        assert_eq!(host(after, "vmnic0").actions(&*up), ["esxcli network nic up -n vmnic1"]);
        // No link, but switched on: nothing to do from 6.0 on.
        let up = step(&KIND, json!({"name": "vmnic2", "link": "up"}));
        assert!(host(recorded(SIX), "vmnic0").compare(&*up).unwrap().is_empty());
        for text in [FIVE, SEVEN] {
            let up = step(&KIND, json!({"name": "vmnic0", "link": "up"}));
            assert!(host(recorded(text), "vmnic0").compare(&*up).unwrap().is_empty());
            assert_eq!(host(recorded(text), "vmnic0").actions(&*down), ["esxcli network nic down -n vmnic1"]);
        }
    }

    #[test]
    fn the_only_working_uplink_stays_up() {
        let down = step(&KIND, json!({"name": "vmnic0", "link": "down"}));
        // vmnic3 is an uplink too, but has no link.
        for uplinks in ["vmnic0", "vmnic3, vmnic0"] {
            assert!(host(recorded(SIX), uplinks).refusal(&*down).contains("vmk1 carries this session"));
        }
        assert_eq!(host(recorded(SIX), "vmnic1, vmnic0").actions(&*down), ["esxcli network nic down -n vmnic0"]);
        assert!(host(recorded(SIX), "").refusal(&*step(&KIND, json!({"name": "vmnic9"}))).contains("vmnic0, vmnic1"));
    }

    #[test]
    fn speeds() {
        let nics = || recorded(SIX);
        let auto = |n: &str| step(&KIND, json!({"name": n, "speed": "auto"}));
        assert!(host(nics(), "vmnic0").compare(&*auto("vmnic0")).unwrap().is_empty());
        assert_eq!(host(nics(), "vmnic0").actions(&*auto("vmnic1")), ["esxcli network nic set -n vmnic1 -a"]);
        let fixed = |n: &str, s: u32| step(&KIND, json!({"name": n, "speed": s}));
        assert!(host(nics(), "vmnic0").compare(&*fixed("vmnic1", 1000)).unwrap().is_empty());
        assert_eq!(
            host(nics(), "vmnic0").actions(&*step(&KIND, json!({"name": "vmnic1", "speed": 100, "duplex": "half"}))),
            ["esxcli network nic set -n vmnic1 -S 100 -D half"]
        );
        assert_eq!(
            host(nics(), "vmnic0").actions(&*fixed("vmnic2", 1000)),
            ["esxcli network nic set -n vmnic2 -S 1000 -D full"]
        );
        assert_eq!(
            host(nics(), "vmnic0").actions(&*fixed("vmnic0", 100)),
            [
                "detached: esxcli network nic set -n vmnic0 -S 100 -D full",
                "rollback: esxcli network nic set -n vmnic0 -a"
            ]
        );
    }

    #[test]
    fn what_was_before_comes_back() {
        let undone = |h: &Host, json| {
            let undo = h.compare(&*step(&KIND, json)).unwrap().remove(0).undo.unwrap();
            assert_eq!(undo.kind, "nic");
            step(&KIND, undo.args)
        };
        let before = host(recorded(SIX), "vmnic0");
        let down = recorded(SIX)
            .replace("0000:02:00.1  ntg3    Up            Up  ", "0000:02:00.1  ntg3    Down          Down");
        let up = undone(&before, json!({"name": "vmnic1", "link": "down"}));
        assert_eq!(host(down.clone(), "vmnic0").actions(&*up), ["esxcli network nic up -n vmnic1"]);
        let down_again = undone(&host(down, "vmnic0"), json!({"name": "vmnic1", "link": "up"}));
        assert_eq!(before.actions(&*down_again), ["esxcli network nic down -n vmnic1"]);
        // vmnic1 was set by hand, vmnic2 negotiated.
        let fixed = undone(&before, json!({"name": "vmnic1", "speed": "auto"}));
        let auto = recorded(include_str!("../../fixtures/transcripts/6.5/network-nic-get-vmnic0.txt"))
            .replace("Auto Negotiation: false", "Auto Negotiation: true");
        let after = host(recorded(SIX), "vmnic0").says(&nic_get("vmnic1"), auto);
        assert_eq!(after.actions(&*fixed), ["esxcli network nic set -n vmnic1 -S 1000 -D full"]);
        let auto = undone(&before, json!({"name": "vmnic0", "speed": 100}));
        let hand = recorded(include_str!("../../fixtures/transcripts/6.5/network-nic-get-vmnic0.txt"))
            .replace("Advertised Auto Negotiation: true", "Advertised Auto Negotiation: false");
        let after = host(recorded(SIX), "vmnic1, vmnic0").says(&nic_get("vmnic0"), hand);
        assert_eq!(after.actions(&*auto), ["esxcli network nic set -n vmnic0 -a"]);
    }

    #[test]
    fn wrong_arguments() {
        assert!(bad(&KIND, json!({"name": "vmnic0", "speed": "fast"})).contains("`auto`"));
        assert!(bad(&KIND, json!({"name": "vmnic0", "speed": 3})).contains("Mbit/s"));
        assert!(bad(&KIND, json!({"name": "nic-0"})).contains("vmnic0"));
    }
}
