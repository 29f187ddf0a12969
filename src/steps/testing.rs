//! A host made of texts, for the tests of the kinds.

use super::network;
use super::step::{Action, Artifacts, Change, Seen, Step, StepError};
use crate::esxi::net::DEFAULT_NETSTACK;
use crate::esxi::{Command, HostFacts, Output, Outputs, Version, recorded};

pub(crate) struct Host {
    pub(crate) facts: HostFacts,
    pub(crate) outputs: Outputs,
}

impl Host {
    /// A host at this session address.
    pub(crate) fn new(version: Version, session: &str) -> Self {
        let mut facts = HostFacts::example(version);
        facts.session_address = Some(session.to_owned());
        Self { facts, outputs: Outputs::default() }
    }

    pub(crate) fn says(mut self, command: &Command, text: impl Into<String>) -> Self {
        self.outputs.insert(command, Output::ok(text));
        self
    }

    pub(crate) fn fails(self, command: &Command, text: &str) -> Self {
        self.ends(command, Output { stdout: text.to_owned(), code: 1, ..Output::default() })
    }

    pub(crate) fn ends(mut self, command: &Command, output: Output) -> Self {
        self.outputs.insert(command, output);
        self
    }

    pub(crate) fn compare(&self, step: &dyn Step) -> Result<Vec<Change>, StepError> {
        for read in step.reads(&self.facts) {
            assert!(self.outputs.get(&read).is_some(), "the test has no output of `{}`", read.text());
        }
        compare(step, &self.facts, &self.outputs, &Artifacts::default())
    }

    /// A host of this version that printed these texts, by command text.
    pub(crate) fn with(version: Version, outputs: &[(&str, &str)]) -> Self {
        let host = Self { facts: HostFacts::example(version), outputs: Outputs::default() };
        outputs.iter().fold(host, |host, (command, text)| host.says(&Command::raw(*command), *text))
    }

    /// The host recorded on 6.7: the session comes in over vmk1 on vSwitch0 (vmnic0).
    pub(crate) fn recorded_on_6_7() -> Self {
        Self::new(Version::new(6, 7), "10.130.2.122")
            .says(
                &network::vmknic_list(),
                vmknic("vmk1", "20:67:7c:d9:a1:6c", "vSwitch0", "Management VMkernel", 1500, DEFAULT_NETSTACK),
            )
            .says(
                &network::ipv4_get(),
                recorded(include_str!("../../fixtures/transcripts/6.7/network-ip-interface-ipv4-get-vmk1-only.txt")),
            )
    }

    /// The texts of all actions; a detached one as `detached: ...` and `rollback: ...` lines.
    pub(crate) fn actions(&self, step: &dyn Step) -> Vec<String> {
        texts(&self.compare(step).unwrap())
    }

    pub(crate) fn refusal(&self, step: &dyn Step) -> String {
        match self.compare(step).unwrap_err() {
            StepError::Refused(text) => text,
            other => panic!("expected a refusal, got {other}"),
        }
    }
}

/// Compares; and proves that what is read only to plan a change is not missed as long as none is planned.
pub(crate) fn compare(
    step: &dyn Step,
    facts: &HostFacts,
    outputs: &Outputs,
    artifacts: &Artifacts,
) -> Result<Vec<Change>, StepError> {
    let compared = step.compare(&Seen { host: facts, outputs, artifacts });
    let mut shows = outputs.clone();
    for plans in step.only_to_plan(facts) {
        shows.retain(|text| text != plans.text());
    }
    let planned = |c: &Result<Vec<Change>, StepError>| !c.as_ref().is_ok_and(Vec::is_empty);
    let first = step.compare(&Seen { host: facts, outputs: &shows, artifacts });
    assert_eq!(planned(&first), planned(&compared), "{step:?}: {first:?} before its planning reads, then {compared:?}");
    compared
}

pub(crate) fn texts(changes: &[Change]) -> Vec<String> {
    let mut out = Vec::new();
    for action in changes.iter().flat_map(|c| &c.actions) {
        match action {
            Action::Run(c) => out.push(c.text().to_owned()),
            Action::Detached(d) => {
                out.extend(d.commands.iter().map(|c| format!("detached: {}", c.text())));
                out.extend(d.rollback.iter().map(|c| format!("rollback: {}", c.text())));
            }
            Action::Upload { .. } => panic!("an upload where none was expected"),
        }
    }
    out
}

/// What taking these changes back does on a host that is in the state after them: the undo steps in reverse order.
pub(crate) fn undone(after: &Host, changes: &[Change]) -> Vec<String> {
    changes.iter().rev().flat_map(|change| texts(&taken_back(change, after))).collect()
}

/// A step from YAML-like JSON, as the playbook makes it.
pub(crate) fn step(kind: &crate::steps::Kind, json: serde_json::Value) -> Box<dyn Step> {
    (kind.parse)(json).unwrap_or_else(|e| panic!("{e}"))
}

/// What the step that takes a change back finds on a host: the host is in the state that the change made.
pub(crate) fn taken_back(change: &Change, host: &Host) -> Vec<Change> {
    let undo = change.undo.as_ref().unwrap_or_else(|| panic!("nothing takes `{}` back", change.summary));
    let kind = crate::steps::kind(&undo.kind).expect("no such kind");
    host.compare(step(kind, undo.args.clone()).as_ref()).unwrap()
}

/// The message and path of a refused argument.
pub(crate) fn bad(kind: &crate::steps::Kind, json: serde_json::Value) -> String {
    (kind.parse)(json).err().map(|e| e.to_string()).expect("these arguments should be refused")
}

/// A table as esxcli prints it.
pub(crate) fn table(heads: &[&str], rows: &[&[&str]]) -> String {
    let width = |n: usize| rows.iter().map(|r| r[n].chars().count()).chain([heads[n].len()]).max().unwrap();
    let line = |cells: &[&str]| {
        let cells: Vec<String> = cells.iter().enumerate().map(|(n, c)| format!("{c:<w$}", w = width(n))).collect();
        format!("{}\n", cells.join("  "))
    };
    let rule: Vec<String> = (0..heads.len()).map(|n| "-".repeat(width(n))).collect();
    let mut out = line(heads) + &rule.join("  ") + "\n";
    rows.iter().for_each(|r| out.push_str(&line(r)));
    out
}

/// One interface in the form of `network ip interface list`, recorded on 9.0.
pub(crate) fn vmknic(name: &str, mac: &str, portset: &str, portgroup: &str, mtu: u32, netstack: &str) -> String {
    format!(
        "{name}\n   Name: {name}\n   MAC Address: {mac}\n   Enabled: true\n   Portset: {portset}\n   Portgroup: {portgroup}\n   Netstack Instance: {netstack}\n   VDS Name: N/A\n   VDS UUID: N/A\n   VDS Port: N/A\n   VDS Connection: -1\n   MTU: {mtu}\n   TSO MSS: 65535\n   Port ID: 67108875\n\n"
    )
}

/// Rows for `ipv4 get`: name, address, mask, type, gateway, DHCP DNS.
pub(crate) fn ipv4(rows: &[&[&str; 6]]) -> String {
    let rows: Vec<Vec<&str>> = rows.iter().map(|r| vec![r[0], r[1], r[2], "192.0.2.255", r[3], r[4], r[5]]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    table(&["Name", "IPv4 Address", "IPv4 Netmask", "IPv4 Broadcast", "Address Type", "Gateway", "DHCP DNS"], &rows)
}

/// Rows for `portgroup list`: name, vSwitch, clients, VLAN.
pub(crate) fn portgroups(rows: &[&[&str; 4]]) -> String {
    let rows: Vec<&[&str]> = rows.iter().map(|r| r.as_slice()).collect();
    table(&["Name", "Virtual Switch", "Active Clients", "VLAN ID"], &rows)
}

/// One switch in the form recorded on 6.7.
pub(crate) fn vswitch(name: &str, mtu: u32, cdp: &str, uplinks: &str, portgroups: &str) -> String {
    format!(
        "{name}\n   Name: {name}\n   Class: cswitch\n   Num Ports: 4736\n   Used Ports: 4\n   Configured Ports: 128\n   MTU: {mtu}\n   CDP Status: {cdp}\n   Beacon Enabled: false\n   Beacon Interval: 1\n   Beacon Threshold: 3\n   Beacon Required By: \n   Uplinks: {uplinks}\n   Portgroups: {portgroups}\n\n"
    )
}
