//! What the network kinds share: their reads, which interface carries the session, and how a change to that
//! interface is made so that it takes itself back.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use crate::esxi::failure::{Class, failure};
use crate::esxi::net::{self, Ipv4, Nic, Portgroup, ReadError, Vmknic, Vswitch};
use crate::esxi::{Command, HostFacts, Output};

use super::step::{Action, Detached, Seen, StepError, Verdict, default_judge};

/// What changes of standard switches and their port groups may alter: all of the network but the firewall, whose rules
/// name neither.
pub(crate) const OF_SWITCHES: &[&str] = &[
    "esxcli network diag",
    "esxcli network ens",
    "esxcli network ip",
    "esxcli network multicast",
    "esxcli network nic",
    "esxcli network port",
    "esxcli network sriovnic",
    "esxcli network vm",
    "esxcli network vswitch",
];

/// The kind of things that standard switches and their port groups are: see [`About`](super::step::About).
pub(crate) const STANDARD_SWITCH: &str = "standard switch";

/// How long the host waits for the confirmation of a change to the session's own network before it rolls back.
pub(crate) const CONFIRM_WITHIN: Duration = Duration::from_secs(120);

/// `esxcli network ip interface list`.
pub(crate) fn vmknic_list() -> Command {
    Command::esxcli("network ip interface list")
}

/// `esxcli network ip interface ipv4 get`: all interfaces at once.
pub(crate) fn ipv4_get() -> Command {
    Command::esxcli("network ip interface ipv4 get")
}

/// `esxcli network nic list`.
pub(crate) fn nic_list() -> Command {
    Command::esxcli("network nic list")
}

/// `esxcli network vswitch standard list`.
pub(crate) fn vswitch_list() -> Command {
    Command::esxcli("network vswitch standard list")
}

/// `esxcli network vswitch standard portgroup list`.
pub(crate) fn portgroup_list() -> Command {
    Command::esxcli("network vswitch standard portgroup list")
}

/// `esxcli network ip interface tag get -i NAME`.
pub(crate) fn tag_get(vmknic: &str) -> Command {
    Command::esxcli("network ip interface tag get").opt("-i", vmknic)
}

/// Reads an output and says clearly when this release does not have the command.
pub(crate) fn read<T>(
    seen: &Seen<'_>,
    command: &Command,
    reader: impl Fn(&str) -> Result<T, ReadError>,
) -> Result<T, StepError> {
    let output = seen.raw(command)?;
    if let Some(f) = failure(output) {
        let said = f.said();
        return Err(failed(seen.host, command, f.class, said));
    }
    reader(&output.stdout).map_err(|e| StepError::unreadable(command, e))
}

/// As [`read`], for what only judges: a release without the command is one on which there is nothing to judge.
pub(crate) fn read_here<T>(
    seen: &Seen<'_>,
    command: &Command,
    reader: impl Fn(&str) -> Result<T, ReadError>,
) -> Result<T, StepError> {
    if failure(seen.raw(command)?).is_some_and(|f| f.class == Class::UnknownCommand) {
        return Err(StepError::NotApplicable(format!("ESXi {} has no `{}`", seen.host.version, command.shown())));
    }
    read(seen, command, reader)
}

fn failed(host: &HostFacts, command: &Command, class: Class, message: String) -> StepError {
    let advice = match class {
        Class::UnknownCommand => Some(format!(
            "ESXi {} does not have this command: this step needs a later release, or leave it out with \
             `when` on this host.",
            host.version
        )),
        Class::HostdDown => Some("hostd does not answer: wait for it, or `/etc/init.d/hostd restart`.".to_owned()),
        _ => None,
    };
    StepError::Command { command: command.shown().to_owned(), message, advice }
}

/// All interfaces and their IPv4 settings.
pub(crate) struct Interfaces {
    pub(crate) vmknics: Vec<Vmknic>,
    pub(crate) ipv4: Vec<Ipv4>,
}

/// Which interface carries the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carrier {
    /// It has the address at which the session came in.
    Proven(String),
    /// No interface has that address (NAT, a port forward, or IPv6): the one that the installer makes for
    /// management, vmk0, or else the first of the default TCP/IP stack.
    Assumed(String),
    /// There is no interface at all.
    Unknown,
}

impl Carrier {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Proven(n) | Self::Assumed(n) => Some(n),
            Self::Unknown => None,
        }
    }

    /// Why this interface counts as the session's, for a message.
    pub(crate) fn reason(&self, host: &HostFacts) -> String {
        match self {
            Self::Proven(n) => format!("{n} carries this session ({})", host.session_address.as_deref().unwrap_or("?")),
            Self::Assumed(n) => format!(
                "{n} is taken to carry this session: no interface has the address at which it came in ({})",
                host.session_address.as_deref().unwrap_or("not known")
            ),
            Self::Unknown => "no interface is known to carry this session".to_owned(),
        }
    }
}

impl Interfaces {
    pub(crate) fn reads() -> Vec<Command> {
        vec![vmknic_list(), ipv4_get()]
    }

    pub(crate) fn observe(seen: &Seen<'_>) -> Result<Self, StepError> {
        Ok(Self { vmknics: read(seen, &vmknic_list(), net::vmknics)?, ipv4: read(seen, &ipv4_get(), net::ipv4)? })
    }

    pub(crate) fn vmknic(&self, name: &str) -> Option<&Vmknic> {
        self.vmknics.iter().find(|v| v.name == name)
    }

    pub(crate) fn ipv4_of(&self, name: &str) -> Option<&Ipv4> {
        self.ipv4.iter().find(|i| i.name == name)
    }

    pub(crate) fn carrier(&self, host: &HostFacts) -> Carrier {
        // Some servers write an IPv4 address that came in over an IPv6 socket as ::ffff:a.b.c.d.
        let came_in = host.session_address.as_deref().map(|a| a.strip_prefix("::ffff:").unwrap_or(a));
        let by_address = self.ipv4.iter().find(|i| i.address.is_some_and(|a| Some(a.to_string().as_str()) == came_in));
        if let Some(i) = by_address {
            return Carrier::Proven(i.name.clone());
        }
        let default_stack = || self.vmknics.iter().filter(|v| v.netstack == net::DEFAULT_NETSTACK);
        default_stack()
            .find(|v| v.name == "vmk0")
            .or_else(|| default_stack().next())
            .or_else(|| self.vmknics.first())
            .map_or(Carrier::Unknown, |v| Carrier::Assumed(v.name.clone()))
    }

    /// The interface that carries the session, as a whole.
    pub(crate) fn carrying(&self, host: &HostFacts) -> Option<&Vmknic> {
        self.carrier(host).name().and_then(|n| self.vmknic(n))
    }
}

pub(crate) fn vswitches(seen: &Seen<'_>) -> Result<Vec<Vswitch>, StepError> {
    read(seen, &vswitch_list(), net::vswitches)
}

pub(crate) fn portgroups(seen: &Seen<'_>) -> Result<Vec<Portgroup>, StepError> {
    read(seen, &portgroup_list(), net::portgroups)
}

pub(crate) fn nics(seen: &Seen<'_>) -> Result<Vec<Nic>, StepError> {
    read(seen, &nic_list(), net::nics)
}

/// A change that can cut the session: detached, with its way back.
pub(crate) fn detached(commands: Vec<Command>, rollback: Vec<Command>, confirm_within: Duration) -> Action {
    Action::Detached(Detached { commands, rollback, new_address: None, confirm_within })
}

/// A command whose failure does not stop what follows it: what it makes may be there already. Only where reading
/// again decides.
pub(crate) fn tolerated(command: &Command) -> Command {
    Command::raw(format!("{{ {} || true; }}", command.text()))
}

/// Commands as plain actions.
pub(crate) fn run_all(commands: Vec<Command>) -> Vec<Action> {
    commands.into_iter().map(Action::Run).collect()
}

/// The default judgement, with advice for a failure.
pub(crate) fn judge_with_advice(action: &Command, output: &Output, advice: &str) -> Result<Verdict, StepError> {
    default_judge(action, output).map_err(|e| match e {
        StepError::Command { command, message, .. } => {
            StepError::Command { command, message, advice: Some(advice.to_owned()) }
        }
        other => other,
    })
}

/// The name of a VMkernel interface: `vmk` and a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
pub(crate) struct VmknicName(#[schemars(regex(pattern = r"^vmk[0-9]{1,3}$"))] String);

impl VmknicName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VmknicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VmknicName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_prefix("vmk").filter(|n| (1..=3).contains(&n.len()));
        match number {
            Some(n) if n.chars().all(|c| c.is_ascii_digit()) => Ok(Self(text)),
            _ => Err(format!("{text:?} is not a VMkernel interface: they are named vmk0, vmk1, ...")),
        }
    }
}

/// An MTU in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
pub(crate) struct Mtu(#[schemars(range(min = 1280, max = 9190))] u32);

impl Mtu {
    pub(crate) fn bytes(self) -> u32 {
        self.0
    }
}

impl TryFrom<u32> for Mtu {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        if (1280..=9190).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(format!("{bytes} is not an MTU that esxprep sets: 1280 to 9190, 1500 and 9000 are usual"))
        }
    }
}

/// Security settings of a vSwitch or a port group, as written. Accepting all three is what nested hosts need on
/// the switch outside; rejecting all three is what hardening guides ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecurityWanted {
    /// Accept promiscuous mode.
    pub(crate) promiscuous: Option<bool>,
    /// Accept MAC address changes.
    pub(crate) mac_changes: Option<bool>,
    /// Accept forged transmits.
    pub(crate) forged_transmits: Option<bool>,
}

impl SecurityWanted {
    /// The three in order, with their words.
    pub(crate) fn all(&self) -> [(&'static str, Option<bool>); 3] {
        [
            ("promiscuous mode", self.promiscuous),
            ("MAC address changes", self.mac_changes),
            ("forged transmits", self.forged_transmits),
        ]
    }
}

/// A list that a site may not have given: nothing and an empty text are an empty list.
pub(crate) fn list_if_given<'de, D: Deserializer<'de>, T: DeserializeOwned>(d: D) -> Result<Vec<T>, D::Error> {
    match serde_json::Value::deserialize(d)? {
        serde_json::Value::Null => Ok(Vec::new()),
        serde_json::Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        given => serde_json::from_value(given).map_err(D::Error::custom),
    }
}

/// `true` or `false`, as every esxcli accepts them.
pub(crate) fn word(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Kind, dns, firewall, hostname, netstack_use, nic, portgroup, portgroup_vlans, security_policy, vmknic,
        vmknic_isolation, vmknic_tags, vmotion, vswitch,
    };

    const KINDS: [&Kind; 13] = [
        &netstack_use::KIND,
        &portgroup_vlans::KIND,
        &security_policy::KIND,
        &vmknic_isolation::KIND,
        &dns::KIND,
        &firewall::KIND,
        &hostname::KIND,
        &nic::KIND,
        &portgroup::KIND,
        &vmknic_tags::KIND,
        &vmknic::KIND,
        &vmotion::KIND,
        &vswitch::KIND,
    ];

    #[test]
    fn every_example_loads_and_fits_its_schema() {
        for kind in KINDS {
            let items: Vec<serde_json::Map<String, serde_json::Value>> =
                serde_saphyr::from_str(kind.example).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
            let arguments = items[0][kind.name].clone();
            let step = (kind.parse)(arguments.clone()).unwrap_or_else(|e| panic!("{}: {e}", kind.name));
            assert!(!step.summary().is_empty());

            let mut generator = schemars::SchemaGenerator::default();
            let root = (kind.schema)(&mut generator);
            let definitions = generator.take_definitions(true);
            let name = root.get("$ref").and_then(|r| r.as_str()).and_then(|r| r.rsplit('/').next()).unwrap_or("");
            let schema = definitions.get(name).unwrap_or_else(|| root.as_value());
            let properties = schema["properties"].as_object().unwrap_or_else(|| panic!("{}: {schema}", kind.name));
            for key in arguments.as_object().unwrap().keys() {
                assert!(properties.contains_key(key), "{}: the schema has no `{key}`", kind.name);
            }
            assert_eq!(schema["additionalProperties"], false, "{}", kind.name);
            for (key, about) in properties {
                let text = about.get("description").and_then(|d| d.as_str()).unwrap_or("");
                assert!(!text.is_empty(), "{}.{key} has no description", kind.name);
            }
        }
    }

    #[test]
    fn schemas_say_the_limits() {
        let mut generator = schemars::SchemaGenerator::default();
        let _ = (vmknic::KIND.schema)(&mut generator);
        let all = serde_json::to_string(generator.definitions()).unwrap();
        for word in ["9190", "3600", "dhcp", "hardware", "netmask"] {
            assert!(all.contains(word), "{word} is not in {all}");
        }
    }
}
