//! From a lab and what is known of this machine to everything that will be made. Pure: no I/O, but for
//! [`look_at_playbooks`], which reads files.

mod facts;
mod host;
mod machine;
mod names;
mod network;
mod playbooks;
mod reasons;
pub mod render;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use std::collections::{BTreeMap, BTreeSet};

pub use facts::*;
pub use names::{IF_PREFIX, choose_ports};
pub use playbooks::look_at_playbooks;
pub use types::*;

use crate::esxi::Version;
use crate::lab::rules::{Book, book};
use crate::lab::spec::{HostWish, Lab};
use crate::playbook::{Problem, Problems};

use reasons::Reasons;

/// Plans a lab for this machine. What cannot work is a problem, at the line that asks for it; what is missing on this
/// machine is a [`Weight::Blocker`] among the plan's notes, so that the plan can still be looked at.
pub fn plan(lab: &Lab, facts: &Facts) -> Result<Plan, Problems> {
    plan_by(book(), lab, facts)
}

fn plan_by(book: &Book, lab: &Lab, facts: &Facts) -> Result<Plan, Problems> {
    if let Some(broken) = &book.broken {
        return Err(Problem::nowhere(format!("the rule base that is built in cannot be read: {broken}")).into());
    }
    let mut reasons = Reasons { book, problems: Vec::new(), notes: Vec::new() };
    let ports = choose_ports(lab, &BTreeSet::new(), &facts.ports);
    let shared = Shared { lab, facts, ports: &ports, macs: &names::macs(lab), nics: &names::all_nics(lab) };
    let addresses = network::addresses(&shared, &mut reasons);
    let mut hosts = Vec::new();
    for (number, (name, wish)) in lab.hosts.iter().enumerate() {
        if let Some(version) = version(lab, facts, name, wish, &mut reasons) {
            hosts.extend(host::host(&shared, &addresses, number, name, version, &mut reasons));
        }
    }
    // A clone comes after the host that it is cloned from; the order of the file stays otherwise.
    hosts.sort_by_key(|h: &Host| (h.clone_from.is_some(), h.number));
    let networks = network::networks(&shared, &hosts);
    network::names_fit(&shared, &hosts, &networks, &mut reasons);
    if !reasons.problems.is_empty() {
        return Err(reasons.problems.into());
    }
    Ok(Plan {
        lab: lab.name.clone(),
        folder: facts.folder.clone(),
        runtime: facts.runtime.clone(),
        qemu: facts.qemu.to_string(),
        networks,
        hosts,
        notes: reasons.notes,
    })
}

/// What every part of the planning looks at.
struct Shared<'a> {
    lab: &'a Lab,
    facts: &'a Facts,
    ports: &'a BTreeMap<ForwardKey, u16>,
    macs: &'a BTreeMap<(String, usize), String>,
    nics: &'a [(&'a str, Vec<crate::lab::spec::NicWish>)],
}

/// The version of a host: as written, or as its ISO says, or that of the host it is cloned from.
fn version(lab: &Lab, facts: &Facts, name: &str, wish: &HostWish, reasons: &mut Reasons<'_>) -> Option<Version> {
    let from = wish.settings.clone_from.as_ref().and_then(|f| lab.hosts.get_key_value(f));
    let (name, wish) = from.map_or((name, wish), |(n, w)| (n.as_str(), w));
    let written = wish.settings.esxi.map(|r| r.0);
    let iso = wish.settings.iso.as_ref().map(|i| lab.resolve(i));
    let found = iso.as_ref().and_then(|i| facts.isos.get(i)).copied();
    match (written, found) {
        (Some(written), Some(found)) if written.line() != found.line() => {
            let at = lab.host_span(name, &["esxi"]);
            let message = format!("the ISO holds ESXi {found}, and this says {}", written.line());
            let problem = Problem::at(&at, message, "not what the ISO holds");
            let problem = problem.also(&lab.host_span(name, &["iso"]), "this ISO");
            reasons.problems.push(problem.help("remove `esxi`, and it is what the ISO says, or give the right ISO"));
            None
        }
        // The ISO knows the third number.
        (_, Some(found)) => Some(found),
        (Some(written), None) => Some(written),
        (None, None) => {
            let at = lab.host_span(name, &["iso"]);
            let problem = Problem::at(&at, "it is not known which ESXi this ISO holds", "not looked at");
            reasons.problems.push(problem.help("is the file there? Or write the version: `esxi: \"8.0\"`"));
            None
        }
    }
}
