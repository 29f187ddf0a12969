//! The switch itself: frames in, frames out. Pure: no socket, no clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::frame::{Frame, LEAST, Mac, Tci};
use super::{PortConfig, VlanMode};

/// The most MACs that are remembered; guests that invent more are flooded to.
const MOST_MACS: usize = 4096;
/// A MAC that goes to another port and back within this time has two owners (or the ports are joined outside).
const FLAP_WINDOW: Duration = Duration::from_secs(30);
/// The same flapping MAC is told again after this time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A port's number: never used again after the port is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PortId(pub u32);

/// A frame for a port. Shared: a flooded frame is one piece of memory.
pub type Delivery = (PortId, Arc<[u8]>);

/// What a port has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Frames from the guest.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Frames for the guest.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Frames for the guest that were padded to 60 bytes.
    pub padded: u64,
    /// Frames from the guest that are no Ethernet: cut, or from a group's address.
    pub malformed: u64,
    /// Frames from the guest of a VLAN that the port is not in.
    pub wrong_vlan: u64,
    /// Frames from the guest that a bridge does not forward (spanning tree, LLDP).
    pub link_local: u64,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Frames with one source MAC come from two ports in turn: two guests have the same MAC, or the ports are
    /// joined by a loop outside. Answers then reach one of them at random.
    SameMac {
        /// The MAC.
        mac: Mac,
        /// The VLAN.
        vlan: u16,
        /// The two ports' names.
        ports: [String; 2],
        /// How often it has moved so far.
        moves: u64,
        /// When, since the switch began, in milliseconds.
        at_ms: u64,
    },
}

#[derive(Debug)]
struct Port {
    name: String,
    vlan: VlanMode,
    counters: Counters,
}

#[derive(Debug)]
struct Learned {
    port: PortId,
    seen: Duration,
    /// The port before this one, and when it moved.
    moved: Option<(PortId, Duration)>,
    moves: u64,
    told: Option<Duration>,
}

/// A learning switch.
#[derive(Debug)]
pub struct Switch {
    ports: BTreeMap<PortId, Port>,
    table: HashMap<(u16, Mac), Learned>,
    events: Vec<Event>,
    ageing: Duration,
    next: u32,
}

impl Switch {
    /// Without ports; MACs are forgotten after this time.
    pub fn new(ageing: Duration) -> Self {
        Self { ports: BTreeMap::new(), table: HashMap::new(), events: Vec::new(), ageing, next: 0 }
    }

    /// Adds a port.
    pub fn add_port(&mut self, config: &PortConfig) -> PortId {
        let id = PortId(self.next);
        self.next += 1;
        let port = Port { name: config.name.clone(), vlan: config.vlan.clone(), counters: Counters::default() };
        self.ports.insert(id, port);
        id
    }

    /// Removes a port and what was learned there.
    pub fn remove_port(&mut self, id: PortId) {
        self.ports.remove(&id);
        self.table.retain(|_, l| l.port != id);
    }

    /// The port of this name.
    pub fn port(&self, name: &str) -> Option<PortId> {
        self.ports.iter().find(|(_, p)| p.name == name).map(|(id, _)| *id)
    }

    /// What a port has seen.
    pub fn counters(&self, id: PortId) -> Option<Counters> {
        self.ports.get(&id).map(|p| p.counters)
    }

    /// What was learned and is not too old: VLAN, MAC, port, age.
    pub fn table(&self, now: Duration) -> Vec<(u16, Mac, PortId, Duration)> {
        let alive = self.table.iter().filter(|(_, l)| self.is_fresh(l, now));
        let mut rows: Vec<_> = alive.map(|((v, m), l)| (*v, *m, l.port, now.saturating_sub(l.seen))).collect();
        rows.sort();
        rows
    }

    /// What was worth telling since the last call.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Takes a frame from a port; gives the frames to deliver. `now` is the time since the switch began.
    pub fn frame(&mut self, from: PortId, bytes: &[u8], now: Duration) -> Vec<Delivery> {
        let Some(port) = self.ports.get_mut(&from) else { return Vec::new() };
        port.counters.received += 1;
        port.counters.received_bytes += bytes.len() as u64;
        let Some(frame) = Frame::parse(bytes).filter(|f| !f.from.is_group()) else {
            port.counters.malformed += 1;
            return Vec::new();
        };
        let Some(vlan) = enter(&port.vlan, frame.tag) else {
            port.counters.wrong_vlan += 1;
            return Vec::new();
        };
        if frame.to.is_link_local() {
            port.counters.link_local += 1;
            return Vec::new();
        }
        self.learn(vlan, frame.from, from, now);
        match self.table.get(&(vlan, frame.to)).filter(|l| self.is_fresh(l, now)).map(|l| l.port) {
            // It is on the side that the frame came from.
            Some(to) if to == from => Vec::new(),
            Some(to) => self.deliver(&frame, vlan, &[to]),
            None => {
                let all: Vec<_> = self.ports.keys().copied().filter(|id| *id != from).collect();
                self.deliver(&frame, vlan, &all)
            }
        }
    }

    fn is_fresh(&self, learned: &Learned, now: Duration) -> bool {
        now.saturating_sub(learned.seen) < self.ageing
    }

    fn deliver(&mut self, frame: &Frame<'_>, vlan: u16, to: &[PortId]) -> Vec<Delivery> {
        // Made once each, however many ports get them.
        let mut tagged: Option<Arc<[u8]>> = None;
        let mut plain: Option<Arc<[u8]>> = None;
        let mut out = Vec::with_capacity(to.len());
        for id in to {
            let Some(port) = self.ports.get_mut(id) else { continue };
            let Some(with_tag) = leave(&port.vlan, vlan) else { continue };
            let tag = with_tag.then(|| frame.tag.unwrap_or(Tci(0)).with_vlan(vlan));
            let made = if with_tag { &mut tagged } else { &mut plain };
            let bytes = Arc::clone(made.get_or_insert_with(|| frame.with_tag(tag).into()));
            port.counters.sent += 1;
            port.counters.sent_bytes += bytes.len() as u64;
            port.counters.padded += u64::from(frame.length(tag.is_some()) < LEAST);
            out.push((*id, bytes));
        }
        out
    }

    fn learn(&mut self, vlan: u16, mac: Mac, port: PortId, now: Duration) {
        if self.table.len() >= MOST_MACS && !self.table.contains_key(&(vlan, mac)) {
            let ageing = self.ageing;
            self.table.retain(|_, l| now.saturating_sub(l.seen) < ageing);
            if self.table.len() >= MOST_MACS {
                return;
            }
        }
        let fresh = Learned { port, seen: now, moved: None, moves: 0, told: None };
        let learned = self.table.entry((vlan, mac)).or_insert(fresh);
        learned.seen = now;
        if learned.port == port {
            return;
        }
        // One move is a guest that was moved; there and back in short time is two guests.
        let back = learned.moved.is_some_and(|(was, at)| was == port && now.saturating_sub(at) < FLAP_WINDOW);
        let other = learned.port;
        learned.moved = Some((other, now));
        learned.port = port;
        learned.moves += 1;
        if back && learned.told.is_none_or(|at| now.saturating_sub(at) >= TELL_AGAIN) {
            learned.told = Some(now);
            let moves = learned.moves;
            let name = |id: PortId| self.ports.get(&id).map(|p| p.name.clone()).unwrap_or_default();
            let mut ports = [name(other), name(port)];
            ports.sort();
            self.events.push(Event::SameMac { mac, vlan, ports, moves, at_ms: now.as_millis() as u64 });
        }
    }
}

/// The VLAN of a frame that comes from a guest; nothing if the port does not take it.
fn enter(mode: &VlanMode, tag: Option<Tci>) -> Option<u16> {
    // A tag of VLAN 0 holds a priority alone.
    let vlan = tag.map_or(0, Tci::vlan);
    match mode {
        VlanMode::Access { tag } => (vlan == 0).then_some(*tag),
        VlanMode::NativeUntagged { tag, .. } if vlan == 0 => Some(*tag),
        VlanMode::NativeUntagged { tag, vlans } => (vlan == *tag || allows(vlans, vlan)).then_some(vlan),
        VlanMode::Trunk { vlans } => allows(vlans, vlan).then_some(vlan),
    }
}

/// Whether a frame of a VLAN leaves through the port, and with a tag.
fn leave(mode: &VlanMode, vlan: u16) -> Option<bool> {
    match mode {
        VlanMode::Access { tag } => (vlan == *tag).then_some(false),
        VlanMode::NativeUntagged { tag, .. } if vlan == *tag => Some(false),
        // Without tag it would come out in the native VLAN.
        VlanMode::NativeUntagged { vlans, .. } => (vlan != 0 && allows(vlans, vlan)).then_some(true),
        VlanMode::Trunk { vlans } => allows(vlans, vlan).then_some(vlan != 0),
    }
}

fn allows(vlans: &[u16], vlan: u16) -> bool {
    vlans.is_empty() || vlans.contains(&vlan)
}

#[cfg(test)]
#[path = "switch_tests.rs"]
mod tests;
