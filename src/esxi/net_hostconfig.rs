//! The network part of hostd's configuration (`vim-cmd hostsvc/hostconfig`), in the names of the vSphere API's
//! `HostNetworkInfo`. No such dump was recorded: its form here is that of vim-cmd's other dumps (not verified).

use super::net::Security;
use super::vimdump::{self, Value};

/// The security policies that hostd tells of standard switches and their port groups: those that count in the end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policies {
    /// Name and policy.
    pub vswitches: Vec<(String, Security)>,
    /// Name, vSwitch and policy.
    pub portgroups: Vec<(String, String, Security)>,
}

/// The policies in a dump; `None` when it is none, or one of them is not told whole.
pub fn policies(text: &str) -> Option<Policies> {
    let dump = vimdump::parse(text).ok()?;
    let network = dump.get("network")?;
    let mut all = Policies::default();
    for switch in network.get("vswitch")?.items() {
        let name = switch.get("name")?.as_str()?.to_owned();
        all.vswitches.push((name, security(switch.get("spec")?.get("policy")?)?));
    }
    for group in network.get("portgroup")?.items() {
        let spec = group.get("spec")?;
        let (name, vswitch) = (spec.get("name")?.as_str()?, spec.get("vswitchName")?.as_str()?);
        all.portgroups.push((name.to_owned(), vswitch.to_owned(), security(group.get("computedPolicy")?)?));
    }
    Some(all)
}

/// All three values; which of them are a port group's own a computed policy does not tell.
fn security(policy: &Value) -> Option<Security> {
    let security = policy.get("security")?;
    let value = |name: &str| security.get(name)?.as_bool();
    Some(Security {
        promiscuous: value("allowPromiscuous")?,
        mac_changes: value("macChanges")?,
        forged_transmits: value("forgedTransmits")?,
        overrides: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dump(group: &str) -> String {
        format!(
            "(vim.host.ConfigInfo) {{\n   network = (vim.host.NetworkInfo) {{\n      vswitch = (vim.host.VirtualSwitch) [\n         (vim.host.VirtualSwitch) {{\n            name = \"vSwitch0\",\n            spec = (vim.host.VirtualSwitch.Specification) {{\n               policy = (vim.host.NetworkPolicy) {{\n                  security = (vim.host.NetworkPolicy.SecurityPolicy) {{\n                     allowPromiscuous = false,\n                     macChanges = true,\n                     forgedTransmits = true\n                  }}\n               }}\n            }}\n         }}\n      ],\n      portgroup = (vim.host.PortGroup) [\n         (vim.host.PortGroup) {{\n            computedPolicy = (vim.host.NetworkPolicy) {{\n               security = (vim.host.NetworkPolicy.SecurityPolicy) {{\n                  allowPromiscuous = false,\n                  macChanges = {group},\n                  forgedTransmits = false\n               }}\n            }},\n            spec = (vim.host.PortGroup.Specification) {{\n               name = \"VM Network\",\n               vswitchName = \"vSwitch0\"\n            }}\n         }}\n      ]\n   }}\n}}\n"
        )
    }

    #[test]
    fn what_counts_is_told_of_both() {
        let told = policies(&dump("false")).unwrap();
        assert_eq!(told.vswitches[0].0, "vSwitch0");
        assert_eq!(told.vswitches[0].1.values(), [false, true, true]);
        let (name, vswitch, security) = &told.portgroups[0];
        assert_eq!((name.as_str(), vswitch.as_str(), security.values()), ("VM Network", "vSwitch0", [false; 3]));
    }

    #[test]
    fn what_is_not_told_whole_is_not_told() {
        assert_eq!(policies(&dump("<unset>")), None);
        assert_eq!(policies(""), None);
        assert_eq!(policies("(vim.host.ConfigInfo) {\n   lockdownMode = \"lockdownDisabled\"\n}\n"), None);
    }
}
