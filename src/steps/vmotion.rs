//! vMotion on a VMkernel interface: the most wanted tag, with a kind of its own.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::esxi::{Command, HostFacts, Output};

use super::network::VmknicName;
use super::step::{Change, Kind, Seen, Step, StepError, Verdict, parse_as};
use super::vmknic_tags::Tags;

/// The kind `vmotion`.
pub const KIND: Kind = Kind {
    name: "vmotion",
    about: "vMotion on a VMkernel interface.",
    example: "\
- vmotion:
    vmknic: vmk0
",
    parse: parse_as::<Vmotion>,
    schema: |g| g.subschema_for::<Written>(),
};

/// vMotion on a VMkernel interface, by the tag VMotion; proved by reading the tags. An interface in the TCP/IP
/// stack `vmotion` carries it without a tag.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Written")]
pub struct Vmotion {
    tags: Tags,
    vmknic: VmknicName,
    enabled: bool,
}

/// vMotion on a VMkernel interface, by the tag VMotion; proved by reading the tags. An interface in the TCP/IP
/// stack `vmotion` carries it without a tag.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Vmotion")]
struct Written {
    /// The interface, for example `vmk0`.
    vmknic: VmknicName,
    /// Whether it carries vMotion.
    #[serde(default = "yes")]
    enabled: bool,
    /// Whether other interfaces lose vMotion. Costs one more esxcli call for each interface.
    #[serde(default)]
    only: bool,
}

fn yes() -> bool {
    true
}

impl From<Written> for Vmotion {
    fn from(w: Written) -> Self {
        Self { tags: Tags::vmotion(w.vmknic.clone(), w.enabled, w.only), vmknic: w.vmknic, enabled: w.enabled }
    }
}

impl Step for Vmotion {
    fn summary(&self) -> String {
        format!("{} on {}", if self.enabled { "vMotion" } else { "no vMotion" }, self.vmknic)
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        self.tags.reads(host)
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        self.tags.influences()
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        self.tags.compare(seen)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        self.tags.judge(action, output)
    }
}

#[cfg(test)]
mod tests {
    use super::super::network::{ipv4_get, tag_get, vmknic_list};
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::*;
    use serde_json::json;

    fn nine(tags: &str) -> Host {
        Host::new(Version::new(9, 0), "192.0.2.11")
            .says(
                &vmknic_list(),
                recorded(include_str!("../../fixtures/transcripts/9.0/network-ip-interface-list-urpf.txt")),
            )
            .says(&ipv4_get(), "")
            .says(&tag_get("vmk0"), tags)
    }

    #[test]
    fn on_and_off_on_a_recorded_9_0() {
        let on = step(&KIND, json!({"vmknic": "vmk0"}));
        assert_eq!(
            nine("   Tags: Management\n").actions(&*on),
            ["esxcli network ip interface tag add -i vmk0 -t VMotion"]
        );
        assert!(nine("   Tags: Management, VMotion\n").compare(&*on).unwrap().is_empty());
        let off = step(&KIND, json!({"vmknic": "vmk0", "enabled": false}));
        assert_eq!(
            nine("   Tags: Management, VMotion\n").actions(&*off),
            ["esxcli network ip interface tag remove -i vmk0 -t VMotion"]
        );
        assert!(nine("   Tags: Management\n").compare(&*off).unwrap().is_empty());
        assert_eq!(on.summary(), "vMotion on vmk0");
        let undo = nine("   Tags: Management\n").compare(&*on).unwrap().remove(0).undo.unwrap();
        let undo = step(crate::steps::kind(&undo.kind).unwrap(), undo.args);
        assert_eq!(
            nine("   Tags: Management, VMotion\n").actions(&*undo),
            ["esxcli network ip interface tag remove -i vmk0 -t VMotion"]
        );
    }

    #[test]
    fn wrong_arguments() {
        assert!(bad(&KIND, json!({"vmknic": "vmnic0"})).contains("vmk0, vmk1"));
        assert!(bad(&KIND, json!({"vmknic": "vmk0", "enable": true})).contains("enable"));
    }
}
