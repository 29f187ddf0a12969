//! One script after the other into a shell, so that a fault can have its moment between two of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::machine::SimHost;
use super::moments::{Act, Asked, Pieces};

/// What the way into a shell and the way out of it know of each other.
pub(super) struct Turns {
    answered: watch::Sender<usize>,
    act: Mutex<Option<Act>>,
}

impl Turns {
    pub(super) fn new() -> Arc<Turns> {
        Arc::new(Turns { answered: watch::Sender::new(0), act: Mutex::new(None) })
    }

    /// What becomes of the script that has its turn.
    pub(super) fn act(&self) -> Option<Act> {
        *self.act.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The script that has its turn is over.
    pub(super) fn answered(&self) {
        self.answered.send_modify(|count| *count += 1);
    }
}

/// Lets a script in when those before it are over.
pub(super) struct Gate {
    host: Arc<SimHost>,
    turns: Arc<Turns>,
    pieces: Pieces,
    waiting: VecDeque<Vec<u8>>,
    let_in: usize,
    ended: bool,
}

impl Gate {
    pub(super) fn new(host: Arc<SimHost>, turns: Arc<Turns>) -> Gate {
        Gate { host, turns, pieces: Pieces::given(), waiting: VecDeque::new(), let_in: 0, ended: false }
    }

    /// More of what the client sends.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pieces.push(bytes);
        while let Some(script) = self.pieces.next() {
            self.waiting.push_back(script);
        }
    }

    /// The client sends nothing more.
    pub(super) fn end(&mut self) {
        let rest = self.pieces.rest();
        if !rest.is_empty() {
            self.waiting.push_back(rest);
        }
        self.ended = true;
    }

    /// The next script when it may run; `None` once after the last one. Never without a gate, and never when a fault
    /// keeps the script out. Nothing is lost when this is dropped while it waits.
    pub(super) async fn next(gate: Option<&mut Gate>) -> Option<Vec<u8>> {
        let Some(gate) = gate else { return std::future::pending().await };
        if gate.waiting.is_empty() && !gate.ended {
            return std::future::pending().await;
        }
        let let_in = gate.let_in;
        let mut answered = gate.turns.answered.subscribe();
        if answered.wait_for(|count| *count >= let_in).await.is_err() {
            return std::future::pending().await;
        }
        let Some(script) = gate.waiting.pop_front() else {
            gate.ended = false;
            return None;
        };
        gate.let_in += 1;
        let act = gate.host.asked(Asked::Script, &String::from_utf8_lossy(&script));
        *gate.turns.act.lock().unwrap_or_else(PoisonError::into_inner) = act;
        match act {
            Some(Act::CutBefore) => gate.host.cut_all(),
            Some(Act::HoldBefore) => gate.host.held(),
            Some(Act::Stall) => {
                gate.host.mute_all();
                return Some(script);
            }
            _ => return Some(script),
        }
        // What is waiting is let in no more: the connection ends.
        gate.waiting.clear();
        gate.let_in = usize::MAX;
        std::future::pending().await
    }
}
