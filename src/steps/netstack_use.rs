//! Whether vMotion and provisioning use the TCP/IP stacks that are made for them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::esxi::{Command, HostFacts};

use super::step::{Change, Kind, Seen, Step, StepError, parse_as};
use super::vmknic_traffic::{self, Carrier, STACKS};

/// The kind `netstack_use`.
pub const KIND: Kind = Kind {
    name: "netstack_use",
    about: "Whether vMotion and provisioning use the TCP/IP stacks of their own.",
    example: "\
- netstack_use:
    traffic: [vmotion, provisioning]
",
    parse: parse_as::<NetstackUse>,
    schema: |g| g.subschema_for::<NetstackUse>(),
};

/// Whether the interfaces for vMotion and for provisioning are in the TCP/IP stacks `vmotion` and `vSphereProvisioning`.
/// It judges and changes nothing: another stack needs a gateway that only a site knows, and the interface made anew
/// (`vmknic` with `netstack`). Where no interface carries either there is nothing to judge.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetstackUse {
    /// Which traffic; both, if left out.
    #[serde(default = "both")]
    traffic: Vec<Traffic>,
}

/// Traffic that has a stack of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Traffic {
    /// vMotion.
    Vmotion,
    /// Cold migration, cloning and snapshots.
    Provisioning,
}

fn both() -> Vec<Traffic> {
    vec![Traffic::Vmotion, Traffic::Provisioning]
}

impl Traffic {
    /// The stack and the tag.
    fn stack(self) -> (&'static str, &'static str) {
        match self {
            Self::Vmotion => STACKS[0],
            Self::Provisioning => STACKS[1],
        }
    }
}

impl Step for NetstackUse {
    fn summary(&self) -> String {
        let stacks: Vec<&str> = self.traffic.iter().map(|t| t.stack().0).collect();
        format!("TCP/IP stacks of their own: {}", stacks.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vmknic_traffic::reads()
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        vmknic_traffic::more_reads(seen)
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&[])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let all = vmknic_traffic::observe(seen)?;
        let stacks = || self.traffic.iter().map(|t| t.stack());
        let carriers: Vec<(&Carrier, &str, &str)> = stacks()
            .flat_map(|(stack, tag)| all.iter().filter(move |c| c.carries(tag)).map(move |c| (c, stack, tag)))
            .collect();
        if carriers.is_empty() {
            let tags: Vec<&str> = stacks().map(|(_, tag)| tag).collect();
            return Err(StepError::NotApplicable(format!("no VMkernel interface carries {}", tags.join(" or "))));
        }
        let wrong = carriers.into_iter().filter(|(c, stack, _)| c.vmknic.netstack != *stack);
        Ok(wrong
            .map(|(c, stack, tag)| {
                Change::finding(
                    format!("TCP/IP stack of {} for {tag}", c.vmknic.name),
                    c.vmknic.netstack.clone(),
                    stack,
                    format!(
                        "Make an interface in the stack {stack} (`vmknic` with `netstack: {stack}`, its address and \
                         gateway), then take the tag {tag} from {}.",
                        c.vmknic.name
                    ),
                )
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::network;
    use super::*;
    use crate::esxi::{Version, net, recorded};
    use crate::steps::testing::*;
    use serde_json::json;

    fn host(tags: &str, second: &str) -> Host {
        Host::new(Version::new(6, 7), "192.0.2.11")
            .says(
                &network::vmknic_list(),
                vmknic("vmk0", "00:50:56:00:00:01", "vSwitch0", "Management Network", 1500, net::DEFAULT_NETSTACK)
                    + &vmknic("vmk1", "00:50:56:00:00:02", "vSwitch0", "vMotion", 1500, second),
            )
            .says(&network::tag_get("vmk0"), format!("   Tags: {tags}\n"))
            .says(&network::tag_get("vmk1"), "   Tags: \n")
    }

    #[test]
    fn in_the_stack_or_not() {
        let s = step(&KIND, json!({}));
        assert!(host("Management", "vmotion").compare(&*s).unwrap().is_empty());
        let found = host("Management, VMotion, vSphereProvisioning", "vmotion").compare(&*s).unwrap();
        let said: Vec<String> = found.iter().map(|c| format!("{}: {}", c.summary, c.before)).collect();
        assert_eq!(
            said,
            [
                "TCP/IP stack of vmk0 for VMotion: defaultTcpipStack",
                "TCP/IP stack of vmk0 for vSphereProvisioning: defaultTcpipStack",
            ]
        );
        assert!(found.iter().all(|c| c.actions.is_empty() && c.by_hand.is_some()));
        let none = host("Management", net::DEFAULT_NETSTACK).compare(&*s);
        assert!(matches!(none, Err(StepError::NotApplicable(_))));
        let provisioning = step(&KIND, json!({"traffic": ["provisioning"]}));
        assert!(matches!(host("VMotion", "vmotion").compare(&*provisioning), Err(StepError::NotApplicable(_))));
        assert!(bad(&KIND, json!({"traffic": ["vsan"]})).contains("vmotion"));
    }

    #[test]
    fn the_names_of_stacks_are_those_of_the_list() {
        let text = recorded(include_str!("../../fixtures/transcripts/unknown/network-ip-netstack-list.txt"));
        assert_eq!(net::netstacks(&text).unwrap(), [net::DEFAULT_NETSTACK]);
    }
}
