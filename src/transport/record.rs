//! Writes down what hosts are asked and what they answer, while a run goes on as it would without: everything passes
//! through unchanged, at the same cost, with the same errors.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use indexmap::IndexMap;

use super::asked::{self, Asked};
use super::{Chained, Connector, Cost, Payload, Reply, Request, Shell, Target, TransportError};
use crate::fixture::{Ask, Growing, HostFixture, Observed, Origin, Outcome};

/// Bytes of one stream of one answer that are kept. The longest output of ESXi that steps read (`esxcli system
/// settings advanced list` on 8.0) has about 0.5 MiB.
pub const MOST: usize = 8 << 20;

/// Makes sessions through another connector and writes down what happens in them.
pub struct RecordingConnector {
    inner: Arc<dyn Connector>,
    tapes: Mutex<IndexMap<String, Arc<Mutex<Tape>>>>,
}

/// What one host was asked and answered.
struct Tape {
    growing: Growing,
    asked: Asked,
    /// Standard inputs by their digest: they must be looked through before their digest may be written down.
    inputs: HashMap<String, Vec<u8>>,
}

fn locked<T>(tape: &Mutex<T>) -> MutexGuard<'_, T> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A recorded host before anything was taken out of it, and the inputs of its commands by digest.
pub struct Raw {
    /// The host.
    pub host: HostFixture,
    /// The inputs.
    pub inputs: HashMap<String, Vec<u8>>,
}

impl Raw {
    /// A host of which nothing is known yet.
    pub fn of(target: &Target) -> Self {
        let mut host = HostFixture { name: target.name.clone(), ..HostFixture::default() };
        host.meta.insert("address".into(), asked::place(target));
        Self { host, inputs: HashMap::new() }
    }
}

impl RecordingConnector {
    /// Records what goes through `inner`.
    pub fn new(inner: Arc<dyn Connector>) -> Self {
        Self { inner, tapes: Mutex::new(IndexMap::new()) }
    }

    /// What is known of every host so far, in the order in which they were first met. It holds secrets.
    pub fn recorded(&self) -> Vec<Raw> {
        let tapes = locked(&self.tapes);
        let raw = |tape: &Arc<Mutex<Tape>>| {
            let tape = locked(tape);
            Raw { host: tape.growing.host().clone(), inputs: tape.inputs.clone() }
        };
        tapes.values().map(raw).collect()
    }

    fn tape(&self, target: &Target) -> Arc<Mutex<Tape>> {
        let mut tapes = locked(&self.tapes);
        let new = || {
            let growing = Growing::new(Raw::of(target).host, Origin::Recorded(String::new()));
            Arc::new(Mutex::new(Tape { growing, asked: Asked::default(), inputs: HashMap::new() }))
        };
        tapes.entry(target.name.clone()).or_insert_with(new).clone()
    }
}

impl Tape {
    fn observe(&mut self, ask: &Ask, outcome: Outcome, since: Instant) {
        self.growing.observe(ask, Observed { outcome, seconds: since.elapsed().as_secs_f64(), ..Observed::default() });
    }

    /// The questions of a batch, in order: secret ones are numbered in it.
    fn questions(&mut self, requests: &[Request]) -> Vec<Ask> {
        let mut asks = Vec::with_capacity(requests.len());
        for request in requests {
            let ask = self.asked.command(request);
            if let (Ask::Run { stdin: Some(digest), .. }, Some(bytes)) = (&ask, &request.stdin) {
                self.inputs.insert(digest.clone(), bytes.clone());
            }
            asks.push(ask);
        }
        asks
    }
}

impl Tape {
    fn answered(&mut self, asks: &[Ask], requests: &[Request], replies: &[Reply]) {
        for ((ask, request), reply) in asks.iter().zip(requests).zip(replies) {
            let outcome = Outcome::Ended { stdout: kept(&reply.stdout), stderr: kept(&reply.stderr), code: reply.code };
            let seen = Observed { outcome, seconds: reply.seconds, changes: request.changes, ..Observed::default() };
            self.growing.observe(ask, seen);
        }
    }

    fn broken(&mut self, ask: &Ask, changes: bool, error: &TransportError, since: Instant) {
        let seen = Observed {
            outcome: asked::outcome(error),
            seconds: since.elapsed().as_secs_f64(),
            changes,
            ..Observed::default()
        };
        self.growing.observe(ask, seen);
    }
}

/// An output as far as it is kept.
fn kept(bytes: &[u8]) -> Vec<u8> {
    if bytes.len() <= MOST {
        return bytes.to_vec();
    }
    let end = bytes[..MOST].iter().rposition(|b| *b == b'\n').map_or(MOST, |i| i + 1);
    let mut out = bytes[..end].to_vec();
    out.extend(format!("(esxprep: {} more bytes were not recorded)\n", bytes.len() - end).into_bytes());
    out
}

#[async_trait]
impl Connector for RecordingConnector {
    async fn connect(&self, target: &Target) -> Result<Box<dyn Shell>, TransportError> {
        let tape = self.tape(target);
        let since = Instant::now();
        let connected = self.inner.connect(target).await;
        let outcome = connected.as_ref().map_or_else(asked::outcome, |_| Outcome::code(0));
        locked(&tape).observe(&asked::connect(target), outcome, since);
        Ok(Box::new(RecordingShell { inner: connected?, tape }))
    }

    async fn listening(&self, target: &Target, within: Duration) -> bool {
        let tape = self.tape(target);
        let since = Instant::now();
        let listens = self.inner.listening(target, within).await;
        locked(&tape).observe(&asked::listening(target), Outcome::code(i32::from(!listens)), since);
        listens
    }

    async fn addresses(&self, target: &Target) -> Option<Vec<IpAddr>> {
        let tape = self.tape(target);
        let since = Instant::now();
        let found = self.inner.addresses(target).await;
        let outcome = match &found {
            Some(all) => Outcome::printed(all.iter().map(|a| format!("{a}\n")).collect::<String>()),
            None => Outcome::code(1),
        };
        locked(&tape).observe(&asked::resolve(target), outcome, since);
        found
    }
}

/// A session that is written down.
struct RecordingShell {
    inner: Box<dyn Shell>,
    tape: Arc<Mutex<Tape>>,
}

/// The request at which a batch ended early: the one that the error names, else the first that had not ended.
fn broken_at(requests: &[Request], ended: &[bool], error: &TransportError) -> Option<usize> {
    let named = match error {
        TransportError::TimedOut { command, .. } => Some(command.clone()),
        TransportError::Lost { during, .. } => Some(during.clone()),
        TransportError::Protocol { detail, .. } => Some(detail.clone()),
        _ => None,
    };
    let open = || (0..requests.len()).filter(|i| !ended[*i]);
    let named = named.and_then(|text| open().find(|i| text.contains(&requests[*i].shown())));
    named.or_else(|| open().next()).or(requests.len().checked_sub(1))
}

#[async_trait]
impl Shell for RecordingShell {
    async fn batch(
        &mut self,
        requests: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Result<Vec<Reply>, TransportError> {
        let asks = locked(&self.tape).questions(requests);
        let since = Instant::now();
        let mut ended = vec![false; requests.len()];
        let replies = self
            .inner
            .batch(requests, &mut |index| {
                if let Some(ended) = ended.get_mut(index) {
                    *ended = true;
                }
                done(index);
            })
            .await;
        let mut tape = locked(&self.tape);
        match &replies {
            Ok(replies) => tape.answered(&asks, requests, replies),
            Err(error) => {
                if let Some(at) = broken_at(requests, &ended, error) {
                    tape.broken(&asks[at], requests[at].changes, error, since);
                }
            }
        }
        drop(tape);
        replies
    }

    async fn in_turn(
        &mut self,
        requests: &[Request],
        behind: &[Request],
        done: &mut (dyn FnMut(usize) + Send),
    ) -> Chained {
        let since = Instant::now();
        let chained = self.inner.in_turn(requests, behind, done).await;
        let began = (chained.replies.len() + usize::from(chained.broken.is_some())).min(requests.len());
        let mut tape = locked(&self.tape);
        let asks = tape.questions(&requests[..began]);
        tape.answered(&asks, requests, &chained.replies);
        if let (Some(error), Some(at)) = (&chained.broken, began.checked_sub(1)) {
            tape.broken(&asks[at], requests[at].changes, error, since);
        }
        if !chained.behind.is_empty() {
            let asks = tape.questions(behind);
            tape.answered(&asks, behind, &chained.behind);
        }
        drop(tape);
        chained
    }

    async fn upload(
        &mut self,
        payload: &Payload,
        path: &str,
        mode: u32,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), TransportError> {
        let since = Instant::now();
        let mut sent = 0;
        let uploaded = self
            .inner
            .upload(payload, path, mode, &mut |bytes| {
                sent = bytes;
                progress(bytes);
            })
            .await;
        let outcome = uploaded.as_ref().map_or_else(asked::outcome, |()| Outcome::code(0));
        let seen = Observed {
            outcome,
            seconds: since.elapsed().as_secs_f64(),
            changes: true,
            size: Some(sent),
            mode: Some(mode),
        };
        locked(&self.tape).growing.observe(&Ask::Upload(path.to_owned()), seen);
        uploaded
    }

    fn cost(&self) -> Cost {
        self.inner.cost()
    }

    async fn close(&mut self) {
        self.inner.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_output_is_cut_at_a_line_and_says_so() {
        let long = b"0123456789abcde\n".repeat(MOST / 16 + 10);
        let out = kept(&long);
        let text = String::from_utf8(out).unwrap();
        assert!(text.len() < MOST + 100 && text.ends_with("(esxprep: 160 more bytes were not recorded)\n"));
        assert_eq!(kept(b"short"), b"short");
    }

    #[test]
    fn the_request_that_broke_a_batch_is_found() {
        let request = |script: &str| Request {
            script: script.into(),
            stdin: None,
            timeout: Duration::from_secs(1),
            secret: false,
            changes: false,
        };
        let all = [request("a one"), request("b two"), request("c three")];
        let lost = |during: &str| TransportError::Lost { host: "h".into(), during: during.into() };
        assert_eq!(broken_at(&all, &[true, false, false], &lost("while `c three` was running: x")), Some(2));
        assert_eq!(broken_at(&all, &[true, false, false], &lost("somehow")), Some(1));
        assert_eq!(broken_at(&all, &[true, true, true], &lost("somehow")), Some(2));
    }
}
