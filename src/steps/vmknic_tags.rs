//! Tags: which traffic a VMkernel interface is for. The kind `vmotion` is a short form of this one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::esxi::net;
use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Carrier, Interfaces, VmknicName};
use super::step::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, parse_as};

/// The kind `tags`.
pub const KIND: Kind = Kind {
    name: "vmknic_tags",
    about: "Which traffic a VMkernel interface is for: management, vMotion, vSAN, provisioning, ...",
    example: "\
- vmknic_tags:
    vmknic: vmk1
    tags: [vsan, provisioning]
",
    parse: parse_as::<Tags>,
    schema: |g| g.subschema_for::<Tags>(),
};

/// Spellings in a playbook, ESXi's word, and what it is. ESXi's words are those of
/// `esxcli network ip interface tag add --help` as public documentation has them; not verified on a host.
const WORDS: &[(&[&str], &str)] = &[
    (&["management"], "Management"),
    (&["vmotion"], "VMotion"),
    (&["vsan"], "VSAN"),
    (&["vsan_witness", "vsanwitness"], "VSANWitness"),
    (&["provisioning", "vsphereprovisioning"], "vSphereProvisioning"),
    (&["fault_tolerance", "ft", "faulttolerancelogging"], "faultToleranceLogging"),
    (&["replication", "vspherereplication"], "vSphereReplication"),
    (&["replication_nfc", "vspherereplicationnfc"], "vSphereReplicationNFC"),
];

/// One tag: `management`, `vmotion`, `vsan`, `vsan_witness`, `provisioning`, `fault_tolerance`, `replication`,
/// `replication_nfc`, or ESXi's own word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub(super) struct Tag(&'static str);

impl Tag {
    pub(super) const VMOTION: Self = Self("VMotion");

    /// ESXi's word for it.
    pub(super) fn word(self) -> &'static str {
        self.0
    }
}

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl TryFrom<String> for Tag {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = text.to_ascii_lowercase().replace([' ', '-'], "_");
        let found = WORDS.iter().find(|(spellings, _)| spellings.contains(&plain.as_str()));
        found.map(|(_, word)| Self(word)).ok_or_else(|| {
            let known: Vec<&str> = WORDS.iter().map(|(s, _)| s[0]).collect();
            format!("{text:?} is not a tag; there are {}", known.join(", "))
        })
    }
}

/// The tags of a VMkernel interface. Needs ESXi 5.1 or later (not verified).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tags {
    /// The interface, for example `vmk1`.
    vmknic: VmknicName,
    /// Tags that it has.
    #[serde(default)]
    tags: Vec<Tag>,
    /// Tags that it does not have.
    #[serde(default)]
    without: Vec<Tag>,
    /// Whether all its other tags are removed. Removing Management from the interface that carries the session
    /// is refused.
    #[serde(default)]
    exclusive: bool,
    /// Whether other interfaces lose these tags. Costs one more esxcli call for each interface.
    #[serde(default)]
    only: bool,
}

impl Tags {
    /// vMotion on or off, for the kind `vmotion`.
    pub(super) fn vmotion(vmknic: VmknicName, enabled: bool, only: bool) -> Self {
        let (tags, without) = if enabled { (vec![Tag::VMOTION], vec![]) } else { (vec![], vec![Tag::VMOTION]) };
        Self { vmknic, tags, without, exclusive: false, only }
    }
}

/// Every interface's tags at once, for `only`: a line with the name, then what `tag get` prints.
fn all_tags() -> Command {
    Command::new(
        "for i in $(esxcli network ip interface list | grep '^vmk'); do echo \"$i\"; esxcli network ip interface tag get -i \"$i\"; done",
    )
}

/// Reads [`all_tags`].
fn read_all(text: &str) -> Result<Vec<(String, Vec<String>)>, net::ReadError> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        if line.starts_with("vmk") && !line.contains(':') {
            out.push((line.trim().to_owned(), String::new()));
        } else if let Some((_, body)) = out.last_mut() {
            body.push_str(line);
            body.push('\n');
        }
    }
    out.into_iter().map(|(name, body)| net::tags(&body).map(|t| (name, t))).collect()
}

fn add(vmknic: &str, tag: &str) -> Action {
    Action::Run(Command::esxcli("network ip interface tag add").opt("-i", vmknic).opt("-t", tag))
}

fn remove(vmknic: &str, tag: &str) -> Action {
    Action::Run(Command::esxcli("network ip interface tag remove").opt("-i", vmknic).opt("-t", tag))
}

fn is(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

impl Step for Tags {
    fn summary(&self) -> String {
        let words = |t: &[Tag]| t.iter().map(|t| t.0).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !self.tags.is_empty() || self.exclusive {
            let only = if self.exclusive { "only " } else { "" };
            parts.push(format!("{} has {only}the tags {}", self.vmknic, words(&self.tags)));
        }
        if !self.without.is_empty() {
            parts.push(format!("{} is without {}", self.vmknic, words(&self.without)));
        }
        if parts.is_empty() { format!("tags of {}", self.vmknic) } else { parts.join("; ") }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Interfaces::reads();
        reads.push(if self.only { all_tags() } else { network::tag_get(self.vmknic.as_str()) });
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // Neither the list nor the addresses show tags (recorded on 9.0: network-ip-interface-list-urpf; on 6.7:
        // network-ip-interface-ipv4-get-vmk1-only).
        Some(&["esxcli network ip interface tag"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let faces = Interfaces::observe(seen)?;
        let name = self.vmknic.as_str();
        let carrier = faces.carrier(seen.host);
        let there = faces.vmknic(name);
        let mut others = Vec::new();
        let now = if self.only {
            let all = network::read(seen, &all_tags(), read_all)?;
            others = all.iter().filter(|(n, _)| n != name).cloned().collect();
            all.into_iter().find(|(n, _)| n == name).map(|(_, t)| t).unwrap_or_default()
        } else if there.is_some() {
            network::read(seen, &network::tag_get(name), net::tags)?
        } else {
            // An earlier step may make the interface; if none does, `tag add` says that it is not there.
            Vec::new()
        };
        // An interface in the stack of this name carries vMotion without a tag.
        let by_stack = |tag: &Tag| there.is_some_and(|v| v.netstack == "vmotion") && *tag == Tag::VMOTION;
        if let Some(tag) = self.without.iter().find(|t| by_stack(t)) {
            return Err(StepError::Refused(format!(
                "{name} is in the TCP/IP stack `vmotion`, so it carries {} with or without a tag: make it in another \
                 stack.",
                tag.0
            )));
        }

        let has = |tag: &Tag| now.iter().any(|n| is(n, tag.0)) || by_stack(tag);
        let missing: Vec<&Tag> = self.tags.iter().filter(|t| !has(t)).collect();
        let unwanted = |n: &String| {
            self.without.iter().any(|w| is(n, w.0)) || (self.exclusive && !self.tags.iter().any(|t| is(n, t.0)))
        };
        let extra: Vec<&String> = now.iter().filter(|n| unwanted(n)).collect();
        let mut changes = Vec::new();
        if !missing.is_empty() || !extra.is_empty() {
            guard(seen, &carrier, name, &extra, true)?;
            let mut after: Vec<String> = now.iter().filter(|n| !unwanted(n)).cloned().collect();
            after.extend(missing.iter().map(|t| t.0.to_owned()));
            let added: Vec<&str> = missing.iter().map(|t| t.0).collect();
            let actions = missing.iter().map(|t| add(name, t.0)).chain(extra.iter().map(|t| remove(name, t)));
            changes.push(Change {
                summary: format!("tags of {name}"),
                before: list(&now),
                after: list(&after),
                actions: actions.collect(),
                undo: given_back(name, &extra, &added),
                ..Change::default()
            });
        }
        for (other, tags) in &others {
            let extra: Vec<&String> = tags.iter().filter(|n| self.tags.iter().any(|t| is(n, t.0))).collect();
            if extra.is_empty() {
                continue;
            }
            guard(seen, &carrier, other, &extra, carrier.name() == Some(other.as_str()))?;
            changes.push(Change {
                summary: format!("tags of {other}"),
                before: list(tags),
                after: list(&tags.iter().filter(|t| !extra.contains(t)).cloned().collect::<Vec<_>>()),
                actions: extra.iter().map(|t| remove(other, t)).collect(),
                undo: given_back(other, &extra, &[]),
                ..Change::default()
            });
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = format!("Is there an interface {}? A `vmknic` step before this one makes it.", self.vmknic);
        network::judge_with_advice(action, output, &advice)
    }
}

/// The tags that were taken come back, those that were given go. `None` where one of them has a word that no step knows.
fn given_back(vmknic: &str, taken: &[&String], given: &[&str]) -> Option<Undo> {
    if taken.iter().any(|t| Tag::try_from((*t).clone()).is_err()) {
        return None;
    }
    Undo::step("vmknic_tags", json!({"vmknic": vmknic, "tags": taken, "without": given}))
}

/// Management stays on the interface that carries the session. When no interface has the session's address, an
/// interface that has the tag counts as carrying it.
fn guard(seen: &Seen<'_>, carrier: &Carrier, name: &str, gone: &[&String], own: bool) -> Result<(), StepError> {
    let carries = match carrier {
        Carrier::Proven(n) => n == name,
        _ => own || carrier.name() == Some(name),
    };
    if carries && gone.iter().any(|t| is(t, "Management")) {
        return Err(StepError::Refused(format!(
            "the tag Management is not taken from {name}: {}. Log in over another interface first.",
            carrier.reason(seen.host)
        )));
    }
    Ok(())
}

fn list(tags: &[String]) -> String {
    if tags.is_empty() { "none".into() } else { tags.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::*;
    use serde_json::json;

    fn host(session: &str, vmk0: &str, vmk1: &str) -> Host {
        let stack = net::DEFAULT_NETSTACK;
        Host::new(Version::new(7, 0), session)
            .says(
                &network::vmknic_list(),
                vmknic("vmk0", "00:50:56:00:00:01", "vSwitch0", "Management Network", 1500, stack)
                    + &vmknic("vmk1", "00:50:56:00:00:02", "vSwitch1", "vMotion", 9000, stack)
                    + &vmknic("vmk2", "00:50:56:00:00:03", "vSwitch1", "fast", 9000, "vmotion"),
            )
            .says(
                &network::ipv4_get(),
                recorded(include_str!("../../fixtures/transcripts/unknown/network-ip-interface-ipv4-address-list.txt")),
            )
            .says(&network::tag_get("vmk0"), format!("   Tags: {vmk0}\n"))
            .says(&network::tag_get("vmk1"), format!("   Tags: {vmk1}\n"))
            .says(&network::tag_get("vmk2"), "   Tags: \n")
            .fails(&network::tag_get("vmk9"), "no such interface\n")
            .says(&all_tags(), format!("vmk0\n   Tags: {vmk0}\nvmk1\n   Tags: {vmk1}\nvmk2\n   Tags: \n"))
    }

    const SESSION: &str = "192.168.1.109";

    #[test]
    fn friendly_words_become_esxis() {
        let s =
            step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan", "Fault Tolerance", "replication_nfc", "VMotion"]}));
        assert_eq!(
            host(SESSION, "Management", "VMotion").actions(&*s),
            [
                "esxcli network ip interface tag add -i vmk1 -t VSAN",
                "esxcli network ip interface tag add -i vmk1 -t faultToleranceLogging",
                "esxcli network ip interface tag add -i vmk1 -t vSphereReplicationNFC",
            ]
        );
        let after = host(SESSION, "Management", "VMotion, VSAN, faultToleranceLogging, vSphereReplicationNFC");
        assert!(after.compare(&*s).unwrap().is_empty());
        assert!(bad(&KIND, json!({"vmknic": "vmk1", "tags": ["vmotoin"]})).contains("tags[0]"));
    }

    #[test]
    fn exclusive_without_and_only() {
        let s = step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan"], "exclusive": true}));
        assert_eq!(
            host(SESSION, "Management", "VMotion, VSAN").actions(&*s),
            ["esxcli network ip interface tag remove -i vmk1 -t VMotion"]
        );
        let s = step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan"], "only": true}));
        assert_eq!(
            host(SESSION, "Management, VSAN", "").actions(&*s),
            [
                "esxcli network ip interface tag add -i vmk1 -t VSAN",
                "esxcli network ip interface tag remove -i vmk0 -t VSAN"
            ]
        );
        assert!(host(SESSION, "Management", "VSAN").compare(&*s).unwrap().is_empty());
        let s = step(&KIND, json!({"vmknic": "vmk1", "without": ["management"]}));
        assert_eq!(
            host(SESSION, "Management", "Management").actions(&*s),
            ["esxcli network ip interface tag remove -i vmk1 -t Management"]
        );
    }

    #[test]
    fn management_stays_on_the_sessions_interface() {
        for json in [
            json!({"vmknic": "vmk0", "without": ["management"]}),
            json!({"vmknic": "vmk0", "tags": ["vsan"], "exclusive": true}),
            json!({"vmknic": "vmk1", "tags": ["management"], "only": true}),
        ] {
            let s = step(&KIND, json);
            assert!(host(SESSION, "Management", "").refusal(&*s).contains("192.168.1.109"));
            // Behind NAT nothing proves which one it is.
            assert!(host("203.0.113.1", "Management", "").refusal(&*s).contains("taken to carry"));
        }
        let s = step(&KIND, json!({"vmknic": "vmk1", "without": ["management"]}));
        assert!(host("203.0.113.1", "", "Management").refusal(&*s).contains("vmk1"));
    }

    #[test]
    fn a_release_without_tags_says_so() {
        let h = host(SESSION, "", "")
            .fails(&network::tag_get("vmk1"), "Error: Unknown command or namespace network ip interface tag get\n\n");
        let e = h.compare(&*step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan"]}))).unwrap_err().to_string();
        assert!(e.contains("Unknown command") && e.contains("does not have this command"), "{e}");
    }

    #[test]
    fn the_vmotion_stack_needs_no_tag() {
        let on = Tags::vmotion(VmknicName::try_from("vmk2".to_owned()).unwrap(), true, false);
        assert!(host(SESSION, "Management", "").compare(&on).unwrap().is_empty());
        let off = Tags::vmotion(VmknicName::try_from("vmk2".to_owned()).unwrap(), false, false);
        assert!(host(SESSION, "Management", "").refusal(&off).contains("TCP/IP stack `vmotion`"));
    }

    #[test]
    fn what_was_before_comes_back() {
        let before = host(SESSION, "Management, VSAN", "VMotion");
        let s =
            step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan", "provisioning"], "exclusive": true, "only": true}));
        let undos: Vec<_> =
            before.compare(&*s).unwrap().into_iter().map(|c| step(&KIND, c.undo.unwrap().args)).collect();
        let after = host(SESSION, "Management", "VSAN, vSphereProvisioning");
        assert_eq!(
            after.actions(&*undos[0]),
            [
                "esxcli network ip interface tag add -i vmk1 -t VMotion",
                "esxcli network ip interface tag remove -i vmk1 -t VSAN",
                "esxcli network ip interface tag remove -i vmk1 -t vSphereProvisioning",
            ]
        );
        assert_eq!(after.actions(&*undos[1]), ["esxcli network ip interface tag add -i vmk0 -t VSAN"]);
        assert!(undos.iter().all(|u| before.compare(&**u).unwrap().is_empty()));
        // A tag of a later release, which no step can name.
        let later = host(SESSION, "Management", "VMotion, NVMeTCP");
        let s = step(&KIND, json!({"vmknic": "vmk1", "tags": ["vsan"], "exclusive": true}));
        assert_eq!(later.compare(&*s).unwrap()[0].undo, None);
    }

    #[test]
    fn an_interface_that_is_not_there_yet() {
        let s = step(&KIND, json!({"vmknic": "vmk9", "tags": ["vsan"]}));
        assert_eq!(host(SESSION, "", "").actions(&*s), ["esxcli network ip interface tag add -i vmk9 -t VSAN"]);
        let said = Output { stdout: "no such interface\n".into(), code: 1, ..Output::default() };
        let e = s.judge(&network::tag_get("vmk9"), &said).unwrap_err().to_string();
        assert!(e.contains("A `vmknic` step before this one"), "{e}");
    }
}
