//! Whether a kind of VMkernel traffic has an interface, a port group and a VLAN of its own.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::esxi::net::{self, Portgroup};
use crate::esxi::{Command, HostFacts};

use super::network::{self, VmknicName};
use super::step::{Change, Kind, Seen, Step, StepError, parse_as};
use super::vmknic_tags::Tag;
use super::vmknic_traffic::{self, Carrier};

/// The kind `vmknic_isolation`.
pub const KIND: Kind = Kind {
    name: "vmknic_isolation",
    about: "Whether vMotion, management or IP storage has a VMkernel interface, a port group and a VLAN of its own.",
    example: "\
- vmknic_isolation:
    traffic: vmotion
",
    parse: parse_as::<VmknicIsolation>,
    schema: |g| g.subschema_for::<VmknicIsolation>(),
};

/// Whether a kind of VMkernel traffic is kept apart from everything else. It judges and changes nothing: which
/// interface, port group and VLAN is right only a site knows.
///
/// Judged of every interface that carries the traffic (by its tag, by the TCP/IP stack `vmotion` or
/// `vSphereProvisioning`, or because `vmknics` names it): it has no tag of another traffic; no other interface and no
/// virtual machine is in its port group; and no other port group of a standard switch on this host has the VLAN of its
/// port group, unless that too has only interfaces for this traffic. Without a VLAN (0) counts as a VLAN.
///
/// Not judged: whether the switches outside keep the VLAN apart and who routes into it. An interface on a distributed
/// switch is not judged either, because its VLAN is known to vCenter alone; what its tags say is.
///
/// Where nothing carries the traffic there is nothing to judge. IP storage (iSCSI, NFS, NVMe over TCP) has no tag:
/// without `vmknics` only the interfaces for vSAN are known, and the rest is for a person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VmknicIsolation {
    /// `management`, `vmotion`, `storage`, or another tag that `vmknic_tags` knows.
    traffic: Traffic,
    /// Interfaces that carry it although no tag says so, for example those of iSCSI and NFS.
    #[serde(default, deserialize_with = "network::list_if_given")]
    vmknics: Vec<VmknicName>,
}

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
enum Traffic {
    /// iSCSI, NFS, NVMe over TCP, vSAN.
    Storage,
    /// What a tag says.
    Tagged(Tag),
}

impl TryFrom<String> for Traffic {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("storage") {
            return Ok(Self::Storage);
        }
        Tag::try_from(text).map(Self::Tagged).map_err(|e| format!("{e}, and storage"))
    }
}

/// The tag of the one storage traffic that has one.
const VSAN: &str = "VSAN";

impl Traffic {
    fn tag(self) -> &'static str {
        match self {
            Self::Storage => VSAN,
            Self::Tagged(tag) => tag.word(),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Storage => "IP storage",
            Self::Tagged(tag) if tag.word() == "Management" => "management",
            Self::Tagged(tag) if tag.word() == "VMotion" => "vMotion",
            Self::Tagged(tag) => tag.word(),
        }
    }
}

impl VmknicIsolation {
    fn is_for_it(&self, carrier: &Carrier) -> bool {
        carrier.carries(self.traffic.tag()) || self.vmknics.iter().any(|n| n.as_str() == carrier.vmknic.name)
    }

    /// Why there is nothing that could be judged.
    fn nobody(&self) -> StepError {
        let traffic = self.traffic.word();
        if !self.vmknics.is_empty() {
            let names: Vec<&str> = self.vmknics.iter().map(VmknicName::as_str).collect();
            return StepError::NotJudged(format!(
                "none of the interfaces that `vmknics` names is on this host ({}): see \
                 `esxcli network ip interface list`",
                names.join(", ")
            ));
        }
        match self.traffic {
            Traffic::Storage => StepError::NotJudged(STORAGE.into()),
            // Whoever manages the host comes in somewhere.
            Traffic::Tagged(tag) if tag.word() == "Management" => StepError::NotJudged(
                "no VMkernel interface has the tag Management: look at which one carries it, and name it in `vmknics`"
                    .into(),
            ),
            Traffic::Tagged(_) => StepError::NotApplicable(format!("no VMkernel interface carries {traffic}")),
        }
    }

    /// What is wrong with the tags of an interface that carries the traffic.
    fn tags(&self, carrier: &Carrier) -> Option<Change> {
        let more: Vec<&str> = carrier
            .traffic
            .iter()
            .filter(|t| !t.eq_ignore_ascii_case(self.traffic.tag()))
            .map(String::as_str)
            .collect();
        let name = &carrier.vmknic.name;
        (!more.is_empty()).then(|| {
            Change::finding(
                format!("traffic of {name}"),
                format!("{} and {}", self.traffic.word(), more.join(", ")),
                format!("{} alone", self.traffic.word()),
                format!(
                    "Give {} an interface of its own on this host (steps `portgroup`, `vmknic`, `vmknic_tags`), then take \
                     its tag from {name}.",
                    more.join(" and ")
                ),
            )
        })
    }

    /// What is wrong with its port group and VLAN; an error where that cannot be seen from the host.
    fn vlan(&self, carrier: &Carrier, all: &[Carrier], groups: &[Portgroup]) -> Result<Option<Change>, String> {
        let vmknic = &carrier.vmknic;
        let group = match groups.iter().find(|g| g.name == vmknic.portgroup) {
            Some(group) if vmknic.dvs.is_none() => group,
            _ => {
                return Err(format!(
                    "{} is on {}, whose VLANs only vCenter shows: look there whether the VLAN is for {} alone",
                    vmknic.name,
                    vmknic.dvs.as_deref().unwrap_or(&vmknic.portset),
                    self.traffic.word()
                ));
            }
        };
        let on = |g: &Portgroup| all.iter().filter(|c| c.vmknic.portgroup == g.name).collect::<Vec<_>>();
        let machines = |g: &Portgroup| usize::try_from(g.clients).unwrap_or(usize::MAX).saturating_sub(on(g).len());
        let alone = |g: &Portgroup| !on(g).is_empty() && machines(g) == 0 && on(g).iter().all(|c| self.is_for_it(c));
        let mut shared: Vec<String> =
            on(group).into_iter().filter(|c| !self.is_for_it(c)).map(|c| c.vmknic.name.clone()).collect();
        if machines(group) > 0 {
            shared.push(format!("{} other port(s) of {}", machines(group), group.name));
        }
        let others = groups.iter().filter(|g| g.name != group.name && g.vlan == group.vlan && !alone(g));
        shared.extend(others.map(|g| format!("port group {}", g.name)));
        Ok((!shared.is_empty()).then(|| {
            Change::finding(
                format!("VLAN of {}", vmknic.name),
                format!("{}, shared with {}", vlan(group.vlan), shared.join(", ")),
                format!("a VLAN for {} alone", self.traffic.word()),
                "Give this traffic a port group with a VLAN of its own, see that the switches outside keep that VLAN \
                 apart, and move the interface there (steps `portgroup` and `vmknic`).",
            )
        }))
    }
}

fn vlan(id: u16) -> String {
    if id == 0 { "no VLAN".to_owned() } else { format!("VLAN {id}") }
}

/// What a person does where no tag tells which interfaces carry IP storage.
const STORAGE: &str = "which interfaces carry IP storage no tag tells: look at `esxcli iscsi networkportal list`, \
                       `esxcli storage nfs list`, `esxcli storage nfs41 list` and `esxcli nvme adapter list`, and name \
                       those interfaces in `vmknics`";

impl Step for VmknicIsolation {
    fn summary(&self) -> String {
        format!("{} on a VMkernel interface and VLAN of its own", self.traffic.word())
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vmknic_traffic::reads();
        reads.push(network::portgroup_list());
        reads
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        vmknic_traffic::more_reads(seen)
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&[])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let all = vmknic_traffic::observe(seen)?;
        let groups = network::read_here(seen, &network::portgroup_list(), net::portgroups)?;
        let carriers: Vec<&Carrier> = all.iter().filter(|c| self.is_for_it(c)).collect();
        if carriers.is_empty() {
            return Err(self.nobody());
        }
        let (mut findings, mut unknown) = (Vec::new(), Vec::new());
        for carrier in carriers {
            findings.extend(self.tags(carrier));
            match self.vlan(carrier, &all, &groups) {
                Ok(finding) => findings.extend(finding),
                Err(why) => unknown.push(why),
            }
        }
        if self.traffic == Traffic::Storage && self.vmknics.is_empty() {
            unknown.push(STORAGE.into());
        }
        // What fails fails, whatever else cannot be seen.
        if findings.is_empty() && !unknown.is_empty() {
            return Err(StepError::NotJudged(unknown.join("; ")));
        }
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::{self, *};
    use serde_json::json;

    const DEFAULT: &str = net::DEFAULT_NETSTACK;

    struct Face(&'static str, &'static str, &'static str, &'static str);

    /// Interfaces (name, port group, stack, tags) and port groups.
    fn host(faces: &[Face], groups: &[&[&str; 4]]) -> Host {
        let list: String = faces.iter().map(|f| vmknic(f.0, "00:50:56:00:00:01", "vSwitch0", f.1, 1500, f.2)).collect();
        let host = Host::new(Version::new(8, 0), "192.0.2.11")
            .says(&network::vmknic_list(), list)
            .says(&network::portgroup_list(), testing::portgroups(groups));
        faces.iter().fold(host, |h, f| h.says(&network::tag_get(f.0), format!("   Tags: {}\n", f.3)))
    }

    fn of(traffic: &str) -> Box<dyn Step> {
        step(&KIND, json!({"traffic": traffic}))
    }

    fn found(host: &Host, traffic: &str) -> Vec<String> {
        let changes = host.compare(&*of(traffic)).unwrap();
        assert!(changes.iter().all(|c| c.actions.is_empty() && c.by_hand.is_some()));
        changes.into_iter().map(|c| format!("{}: {}", c.summary, c.before)).collect()
    }

    const GROUPS: &[&[&str; 4]] = &[
        &["Management Network", "vSwitch0", "1", "0"],
        &["VM Network", "vSwitch0", "3", "10"],
        &["vMotion net", "vSwitch0", "1", "100"],
    ];

    #[test]
    fn kept_apart() {
        let h = host(
            &[
                Face("vmk0", "Management Network", DEFAULT, "Management"),
                Face("vmk1", "vMotion net", DEFAULT, "VMotion"),
            ],
            GROUPS,
        );
        assert!(found(&h, "management").is_empty() && found(&h, "vmotion").is_empty());
        // In its stack it needs no tag.
        let h = host(
            &[Face("vmk0", "Management Network", DEFAULT, "Management"), Face("vmk1", "vMotion net", "vmotion", "")],
            GROUPS,
        );
        assert!(found(&h, "vmotion").is_empty());
        let more: Vec<String> = {
            let seen = Seen { host: &h.facts, outputs: &h.outputs, artifacts: &Default::default() };
            of("vmotion").more_reads(&seen).iter().map(|c| c.text().to_owned()).collect()
        };
        assert_eq!(
            more,
            ["esxcli network ip interface tag get -i vmk0", "esxcli network ip interface tag get -i vmk1"]
        );
    }

    #[test]
    fn a_fresh_host_shares_its_only_vlan() {
        let text = recorded(include_str!("../../fixtures/transcripts/9.0/network-ip-interface-list-urpf.txt"));
        let h = Host::new(Version::new(9, 0), "192.0.2.11")
            .says(&network::vmknic_list(), text)
            .says(&network::tag_get("vmk0"), "   Tags: Management\n")
            .says(
                &network::portgroup_list(),
                testing::portgroups(&[
                    &["VM Network", "vSwitch0", "0", "0"],
                    &["Management Network", "vSwitch0", "1", "0"],
                ]),
            );
        assert_eq!(found(&h, "management"), ["VLAN of vmk0: no VLAN, shared with port group VM Network"]);
        let none = h.compare(&*of("vmotion")).unwrap_err().to_string();
        assert_eq!(none, "not applicable: no VMkernel interface carries vMotion");
    }

    #[test]
    fn other_traffic_other_interfaces_and_machines() {
        let h = host(
            &[
                Face("vmk0", "Management Network", DEFAULT, "Management, VMotion"),
                Face("vmk1", "Management Network", DEFAULT, ""),
            ],
            &[
                &["Management Network", "vSwitch0", "4", "7"],
                &["lab", "vSwitch1", "0", "7"],
                &["x", "vSwitch0", "0", "70"],
            ],
        );
        assert_eq!(
            found(&h, "vmotion"),
            [
                "traffic of vmk0: vMotion and Management",
                "VLAN of vmk0: VLAN 7, shared with vmk1, 2 other port(s) of Management Network, port group lab",
            ]
        );
        // Two interfaces for the same traffic share with nobody.
        let h = host(
            &[Face("vmk1", "vMotion A", DEFAULT, "VMotion"), Face("vmk2", "vMotion B", DEFAULT, "VMotion")],
            &[&["vMotion A", "vSwitch0", "1", "20"], &["vMotion B", "vSwitch1", "1", "20"]],
        );
        assert!(found(&h, "vmotion").is_empty());
    }

    #[test]
    fn storage_is_named_or_for_a_person() {
        let faces = [
            Face("vmk0", "Management Network", DEFAULT, "Management"),
            Face("vmk1", "vMotion net", DEFAULT, "VMotion"),
            Face("vmk2", "VM Network", DEFAULT, ""),
        ];
        let h = host(&faces, GROUPS);
        let said = h.compare(&*of("storage")).unwrap_err().to_string();
        assert!(said.starts_with("not judged") && said.contains("networkportal") && said.contains("vmknics"), "{said}");
        let named = step(&KIND, json!({"traffic": "storage", "vmknics": ["vmk2"]}));
        let changes = h.compare(&*named).unwrap();
        assert_eq!(changes[0].before, "VLAN 10, shared with 2 other port(s) of VM Network");
        let alone = host(&faces, &[GROUPS[0], &["VM Network", "vSwitch0", "1", "10"], GROUPS[2]]);
        assert!(alone.compare(&*named).unwrap().is_empty());
        let gone = step(&KIND, json!({"traffic": "storage", "vmknics": ["vmk7"]}));
        assert!(matches!(h.compare(&*gone), Err(StepError::NotJudged(_))));
        // vSAN has a tag: what is wrong with it is found, what is right is not all there is.
        let vsan = |tags| host(&[Face("vmk2", "vMotion net", DEFAULT, tags)], GROUPS);
        assert!(matches!(vsan("VSAN").compare(&*of("storage")), Err(StepError::NotJudged(_))));
        assert_eq!(found(&vsan("VSAN, VMotion"), "storage"), ["traffic of vmk2: IP storage and VMotion"]);
        let empty = step(&KIND, json!({"traffic": "storage", "vmknics": null}));
        assert!(matches!(h.compare(&*empty), Err(StepError::NotJudged(_))));
    }

    #[test]
    fn a_distributed_switch_is_for_a_person_and_an_old_release_for_nobody() {
        let h = host(&[Face("vmk0", "Management Network", DEFAULT, "Management")], GROUPS);
        let dvs = vmknic("vmk0", "00:50:56:00:00:01", "DvsPortset-0", "N/A", 1500, DEFAULT)
            .replace("VDS Name: N/A", "VDS Name: prod switch");
        let h = h.says(&network::vmknic_list(), dvs);
        let said = h.compare(&*of("management")).unwrap_err().to_string();
        assert!(said.starts_with("not judged") && said.contains("prod switch") && said.contains("vCenter"), "{said}");
        let h = h.says(&network::tag_get("vmk0"), "   Tags: Management, VMotion\n");
        assert_eq!(found(&h, "management"), ["traffic of vmk0: management and VMotion"]);
        let unknown = "Error: Unknown command or namespace network ip interface tag get\n\n";
        let h = h.fails(&network::tag_get("vmk0"), unknown);
        assert!(matches!(h.compare(&*of("management")), Err(StepError::NotApplicable(_))));
        let h = h.says(&network::tag_get("vmk0"), "   Tags: \n");
        assert!(matches!(h.compare(&*of("management")), Err(StepError::NotJudged(_))));
    }

    #[test]
    fn wrong_arguments() {
        assert!(bad(&KIND, json!({"traffic": "vmotoin"})).contains("storage"));
        assert!(bad(&KIND, json!({"traffic": "storage", "vmknics": ["eth0"]})).contains("vmk0, vmk1"));
        assert!(bad(&KIND, json!({})).contains("traffic"));
    }
}
