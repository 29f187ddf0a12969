//! Named network namespaces.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

use super::link::{link, links};
use super::place::{is_namespace, netns_path, run};
use super::{NetError, Owner, Place};

/// A named namespace, made with `ip netns`; its loopback interface bears the lab's sign.
///
/// Namespaces know no names of their own, so between its making and its signing there is a moment in which it
/// cannot be told from another's. One without a sign is ours if the journal says so and it is as new: no
/// interface up, no process in it. Nothing is lost if such a one is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Netns {
    /// The lab.
    pub lab: String,
    /// The namespace's name.
    pub name: String,
}

/// What is under the name.
enum State {
    Absent,
    Ours,
    New,
    Other(Option<String>),
}

impl Netns {
    fn place(&self) -> Place {
        Place::netns(&self.lab, &self.name)
    }

    /// Makes it, with its loopback interface up.
    pub fn make(&self) -> Result<(), NetError> {
        let place = self.place();
        place.check()?;
        match self.state()? {
            State::Other(alias) => return Err(self.not_ours(alias)),
            State::Absent => Place::host(&self.lab).ip_batch(&[format!("netns add {}", self.name)])?,
            State::Ours | State::New => {}
        }
        place.ip_batch(&[format!("link set dev lo alias {}", place.sign()), "link set dev lo up".into()])
    }

    /// Removes it with all interfaces in it. Refused while processes live in it.
    pub fn unmake(&self) -> Result<(), NetError> {
        self.place().check()?;
        match self.state()? {
            State::Absent => return Ok(()),
            State::Other(alias) => return Err(self.not_ours(alias)),
            State::Ours | State::New => {}
        }
        let pids = self.processes()?;
        if !pids.is_empty() {
            return Err(NetError::Busy { name: self.name.clone(), pids });
        }
        match Place::host(&self.lab).ip_batch(&[format!("netns del {}", self.name)]) {
            Err(_) if !netns_path(&self.name).exists() => Ok(()),
            other => other,
        }
    }

    /// The processes that live in it; none if it is not there.
    pub fn processes(&self) -> Result<Vec<u32>, NetError> {
        let path = netns_path(&self.name);
        if !is_namespace(&path) {
            return Ok(Vec::new());
        }
        let pids = run("ip", &["netns", "pids", &self.name], None)?;
        Ok(String::from_utf8_lossy(&pids).split_whitespace().filter_map(|p| p.parse().ok()).collect())
    }

    fn state(&self) -> Result<State, NetError> {
        self.place().settle();
        let path = netns_path(&self.name);
        if !is_namespace(&path) {
            // A killed `ip netns add` leaves an empty file under the name.
            if path.metadata().is_ok_and(|m| m.is_file() && m.len() == 0) {
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => {
                        return Err(NetError::io("remove the stale", &path)(e));
                    }
                    _ => {}
                }
            }
            return Ok(State::Absent);
        }
        let place = self.place();
        match link(&place, "lo")?.map(|lo| lo.owner()) {
            Some(Owner::Lab(lab)) if lab == self.lab => Ok(State::Ours),
            Some(Owner::Lab(lab)) => Ok(State::Other(Some(format!("esxprep:{lab}")))),
            Some(Owner::Other(None)) if links(&place)?.iter().all(|l| !l.is_up()) && self.processes()?.is_empty() => {
                Ok(State::New)
            }
            Some(Owner::Other(alias)) => Ok(State::Other(alias)),
            None => Ok(State::Other(None)),
        }
    }

    fn not_ours(&self, alias: Option<String>) -> NetError {
        NetError::NotOurs {
            what: "network namespace",
            name: self.name.clone(),
            lab: self.lab.clone(),
            owner: alias.map_or("it bears no sign of esxprep and is in use".into(), |a| format!("it bears `{a}`")),
            advice: "choose another name in the lab file",
        }
    }
}
