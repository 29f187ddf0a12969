//! VMkernel network interfaces. The one that carries the session is changed detached on the host, with a timer
//! that puts the old one back: a wrong address must not cost a walk to the machine.

mod build;
mod in_place;
mod plan;
mod spec;
#[cfg(test)]
mod tests;
mod undo;

use crate::esxi::{Command, HostFacts, Output};

use super::network::{self, Interfaces};
use super::step::{Change, Kind, Seen, Step, StepError, Verdict, parse_as};

pub use spec::{Addressing, MacWanted, Presence, Vmknic};

/// The kind `vmknic`.
pub const KIND: Kind = Kind {
    name: "vmknic",
    about: "A VMkernel network interface: port group, MAC address, MTU, TCP/IP stack, IPv4.",
    example: "\
- vmknic:
    name: vmk1
    portgroup: vMotion
    mtu: 9000
    ipv4: {address: 10.10.0.11/24}
",
    parse: parse_as::<Vmknic>,
    schema: |g| g.subschema_for::<Vmknic>(),
};

fn route_list(netstack: Option<&str>) -> Command {
    let list = Command::esxcli("network ip route ipv4 list");
    match netstack {
        Some(stack) => network_opt(list, stack),
        None => list,
    }
}

fn network_opt(command: Command, netstack: &str) -> Command {
    crate::esxi::net::name_opt(command, "-N", "--netstack", netstack)
}

fn netstack_list() -> Command {
    Command::esxcli("network ip netstack list")
}

/// What was not read yet counts as empty, and is remembered: see [`planned`].
fn known<T: Default>(read: Result<T, StepError>, unread: &mut Option<StepError>) -> Result<T, StepError> {
    match read {
        Err(error @ StepError::NotRead { .. }) => {
            *unread = Some(error);
            Ok(T::default())
        }
        other => other,
    }
}

/// No plan is made without what it needs: one that does not know the routes, for example, would lose them.
fn planned(changes: Vec<Change>, unread: Option<StepError>) -> Result<Vec<Change>, StepError> {
    match unread {
        Some(error) if !changes.is_empty() => Err(error),
        _ => Ok(changes),
    }
}

impl Step for Vmknic {
    fn summary(&self) -> String {
        match (self.state, &self.portgroup) {
            (Presence::Absent, _) => format!("no VMkernel interface {}", self.name),
            (Presence::Present, Some(p)) => format!("VMkernel interface {} on {p}", self.name),
            (Presence::Present, None) => format!("VMkernel interface {}", self.name),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Interfaces::reads();
        reads.push(network::tag_get(self.name.as_str()));
        if self.state == Presence::Absent {
            return reads;
        }
        reads.push(network::portgroup_list());
        if self.mac == Some(MacWanted::Hardware) {
            reads.push(network::vswitch_list());
            reads.push(network::nic_list());
        }
        if self.wants_routes() {
            reads.push(route_list(None));
            reads.extend(self.named_stack().map(|s| route_list(Some(s))));
        }
        if self.named_stack().is_some() {
            reads.push(netstack_list());
        }
        reads
    }

    fn only_to_plan(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![netstack_list(), network::tag_get(self.name.as_str())];
        if self.vswitch.is_none() {
            reads.push(network::portgroup_list());
        }
        // A wanted gateway is looked for among the routes.
        if !matches!(self.ipv4, Some(Addressing::Static { gateway: Some(_), .. })) {
            reads.push(route_list(None));
            reads.extend(self.named_stack().map(|s| route_list(Some(s))));
        }
        reads
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        plan::compare(self, seen)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        let advice = match &self.portgroup {
            Some(p) => format!(
                "Is there a port group {p:?} on a standard switch (names compare exactly, blanks and case included)? \
                 A `portgroup` step before this one makes it."
            ),
            None => "See `esxcli network ip interface list` on the host.".to_owned(),
        };
        network::judge_with_advice(action, output, &advice)
    }
}
