//! A TCP proxy that breaks connections by script: cut after so many bytes one way or the other (with a FIN or a RST),
//! half open (the sockets stay, nothing is carried any more), a few bytes at a time, nobody listening, cut right after
//! it was accepted. Small, and without a runtime, so that tests can include it by path.
//!
//! Each connection takes the next of the scripted plans; without one it is carried faithfully. Bytes are counted on
//! the wire, so that a test can measure an undisturbed run and spread its points over it.
#![allow(dead_code)] // not every user of it uses all

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How often a waiting thread looks around.
const LOOK: Duration = Duration::from_millis(5);

/// How long a connection that was ended with a FIN waits for the other sides to end theirs.
const LINGER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToHost,
    FromHost,
}

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides see an orderly end.
    Fin,
    /// Both sides see a reset.
    Reset,
    /// Nothing is carried any more, either way. Nobody is told.
    Stall,
    /// The same in the direction of the point only.
    StallThisWay,
}

/// What becomes of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// After so many bytes of this direction were carried.
    pub at: Option<(Way, u64, Fault)>,
    /// So many bytes at a time, each in a packet of its own.
    pub pieces: Option<usize>,
}

impl Plan {
    pub fn at(way: Way, bytes: u64, fault: Fault) -> Self {
        Self { at: Some((way, bytes, fault)), pieces: None }
    }
}

/// What one connection has carried, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Carried {
    pub to_host: u64,
    pub from_host: u64,
}

#[derive(Default)]
struct Shared {
    plans: Mutex<VecDeque<Plan>>,
    after_down: Mutex<VecDeque<Plan>>,
    /// The host was seen not to listen.
    down: AtomicBool,
    listens: AtomicBool,
    lines: Mutex<Vec<Arc<Line>>>,
    refusing: AtomicBool,
    /// Stalled connections end.
    released: AtomicBool,
    over: AtomicBool,
}

/// A running proxy; it ends with the test.
pub struct Faulty {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        self.shared.released.store(true, Ordering::SeqCst);
    }
}

impl Faulty {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(host: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let all = Arc::clone(&shared);
        thread::spawn(move || accept(listener, address, host, &all));
        Self { address, shared }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The next connections go by these plans, one each.
    pub fn next(&self, plans: impl IntoIterator<Item = Plan>) {
        self.shared.plans.lock().unwrap().extend(plans);
    }

    /// The same for the connections that reach the host after it was seen not to listen.
    pub fn after_down(&self, plans: impl IntoIterator<Item = Plan>) {
        self.shared.after_down.lock().unwrap().extend(plans);
    }

    /// How many plans no connection has taken yet.
    pub fn waiting(&self) -> usize {
        self.shared.plans.lock().unwrap().len() + self.shared.after_down.lock().unwrap().len()
    }

    /// What the connections so far have carried, oldest first.
    pub fn carried(&self) -> Vec<Carried> {
        self.shared.lines.lock().unwrap().iter().map(|line| line.carried()).collect()
    }

    /// To how many connections something has happened.
    pub fn struck(&self) -> usize {
        self.shared.lines.lock().unwrap().iter().filter(|line| line.struck.lock().unwrap().is_some()).count()
    }

    /// From now on nobody listens, or somebody does again. Connections stay.
    pub fn refuse(&self, refusing: bool) {
        self.shared.refusing.store(refusing, Ordering::SeqCst);
        let until = Instant::now() + Duration::from_secs(10);
        while self.shared.listens.load(Ordering::SeqCst) == refusing {
            assert!(Instant::now() < until, "the proxy does not follow");
            thread::sleep(LOOK);
        }
    }

    /// Ends stalled connections towards both sides, as when one side has given up at last and the other hears of it.
    pub fn release(&self) {
        self.shared.released.store(true, Ordering::SeqCst);
    }
}

fn accept(listener: TcpListener, address: SocketAddr, host: SocketAddr, shared: &Arc<Shared>) {
    let mut listener = Some(listener);
    while !shared.over.load(Ordering::SeqCst) {
        if shared.refusing.load(Ordering::SeqCst) {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        shared.listens.store(listener.is_some(), Ordering::SeqCst);
        let Some(open) = &listener else {
            thread::sleep(LOOK);
            continue;
        };
        open.set_nonblocking(true).unwrap();
        match open.accept() {
            Ok((client, _)) => {
                client.set_nonblocking(false).unwrap();
                let shared = Arc::clone(shared);
                thread::spawn(move || carry(client, host, &shared));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// One connection. Each socket is one descriptor, so that it is closed when the last thread lets go of it.
struct Line {
    plan: Plan,
    to_host: AtomicU64,
    from_host: AtomicU64,
    /// What happened to it.
    struck: Mutex<Option<(Way, Fault)>>,
}

impl Line {
    fn carried(&self) -> Carried {
        Carried { to_host: self.to_host.load(Ordering::SeqCst), from_host: self.from_host.load(Ordering::SeqCst) }
    }

    fn counter(&self, way: Way) -> &AtomicU64 {
        if way == Way::ToHost { &self.to_host } else { &self.from_host }
    }

    /// How many bytes may still go this way before something happens.
    fn left(&self, way: Way) -> u64 {
        match self.plan.at {
            Some((at, bytes, _)) if at == way => bytes.saturating_sub(self.counter(way).load(Ordering::SeqCst)),
            _ => u64::MAX,
        }
    }

    /// What has happened, as far as it concerns this direction.
    fn struck(&self, way: Way) -> Option<Fault> {
        let struck = *self.struck.lock().unwrap();
        struck.filter(|(at, fault)| *fault != Fault::StallThisWay || *at == way).map(|(_, fault)| fault)
    }
}

fn carry(client: TcpStream, host: SocketAddr, shared: &Arc<Shared>) {
    let Ok(server) = TcpStream::connect(host) else {
        shared.down.store(true, Ordering::SeqCst);
        return;
    };
    let plans = if shared.down.load(Ordering::SeqCst) { &shared.after_down } else { &shared.plans };
    let plan = plans.lock().unwrap().pop_front().unwrap_or_default();
    let line =
        Arc::new(Line { plan, to_host: AtomicU64::new(0), from_host: AtomicU64::new(0), struck: Mutex::new(None) });
    shared.lines.lock().unwrap().push(Arc::clone(&line));
    for end in [&client, &server] {
        end.set_nodelay(true).unwrap();
        end.set_read_timeout(Some(LOOK)).unwrap();
        end.set_write_timeout(Some(LOOK)).unwrap();
    }
    let (client, server) = (Arc::new(client), Arc::new(server));
    let back = {
        let (from, to, line, shared) =
            (Arc::clone(&server), Arc::clone(&client), Arc::clone(&line), Arc::clone(shared));
        thread::spawn(move || one_way(&from, &to, Way::FromHost, &line, &shared))
    };
    one_way(&client, &server, Way::ToHost, &line, shared);
    let _ = back.join();
}

/// Carries one direction until it ends or something happens to it.
fn one_way(mut from: &TcpStream, to: &TcpStream, way: Way, line: &Line, shared: &Shared) {
    let mut piece = vec![0; line.plan.pieces.unwrap_or(16 * 1024)];
    loop {
        if line.left(way) == 0 {
            let (at, _, fault) = line.plan.at.unwrap();
            line.struck.lock().unwrap().get_or_insert((at, fault));
        }
        if let Some(fault) = line.struck(way) {
            return strike(from, to, fault, shared);
        }
        if shared.over.load(Ordering::SeqCst) {
            return;
        }
        let room = usize::try_from(line.left(way)).unwrap_or(usize::MAX).min(piece.len());
        match from.read(&mut piece[..room]) {
            Ok(0) => break,
            Ok(n) => {
                if !write(to, &piece[..n], way, line, shared) {
                    return;
                }
                line.counter(way).fetch_add(n as u64, Ordering::SeqCst);
                if line.plan.pieces.is_some() {
                    // Long enough for the other side to see each piece alone.
                    thread::sleep(Duration::from_micros(50));
                }
            }
            Err(error) if is_pause(&error) => {}
            Err(_) => {
                // One side reset the connection: so does this one.
                reset(to);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn write(mut to: &TcpStream, mut bytes: &[u8], way: Way, line: &Line, shared: &Shared) -> bool {
    while !bytes.is_empty() {
        if shared.over.load(Ordering::SeqCst) || line.struck(way).is_some() {
            return true; // the caller sees what it was
        }
        match to.write(bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(error) if is_pause(&error) => {}
            Err(_) => return false,
        }
    }
    true
}

fn is_pause(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn strike(mut from: &TcpStream, to: &TcpStream, fault: Fault, shared: &Shared) {
    match fault {
        Fault::Reset => {
            reset(from);
            reset(to);
        }
        Fault::Fin => {
            // What still comes is read and thrown away: closed with something unread, a socket resets.
            let _ = from.shutdown(Shutdown::Write);
            let _ = to.shutdown(Shutdown::Write);
            let until = Instant::now() + LINGER;
            let mut waste = [0; 4096];
            while Instant::now() < until && !shared.over.load(Ordering::SeqCst) {
                match from.read(&mut waste) {
                    Ok(0) => return,
                    Err(error) if !is_pause(&error) => return,
                    _ => {}
                }
            }
        }
        Fault::Stall | Fault::StallThisWay => {
            while !shared.released.load(Ordering::SeqCst) {
                thread::sleep(LOOK);
            }
            for end in [from, to] {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Closed from now on, this socket resets its connection. The standard library has no word for it.
fn reset(end: &TcpStream) {
    if let Ok(again) = end.try_clone() {
        let _ = tokio::net::TcpSocket::from_std_stream(again).set_zero_linger();
    }
}
