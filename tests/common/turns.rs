//! A TCP proxy that counts turns: how often a client waited for an answer before it went on. It can add a delay each
//! way, so no privileges are needed for a line with a long round trip, and it can cut its connections. Nothing but
//! the standard library, so that tests and benches can include it by path.
//!
//! A turn is not a change of direction, which would depend on how the bytes happen to be cut into pieces. What a
//! client sends is one turn later than the latest that it has seen, and what a server sends belongs to the latest turn
//! that the server has seen. A delay of some ten milliseconds keeps what belongs together apart from what follows.
//! A server's greeting (its identification) belongs to no turn: it is sent without being asked for, and whether it
//! comes before or after the client's is only a matter of how fast a server process starts.
#![allow(dead_code)] // not every user of it uses all

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What one connection has cost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often the client has waited for an answer; the TCP handshake is not among them.
    pub turns: u64,
    /// Bytes from the client to the server.
    pub sent: u64,
    /// Bytes from the server to the client.
    pub received: u64,
    /// The latest turn that has reached the server.
    asked: u64,
}

#[derive(Default)]
struct Line {
    seen: Mutex<Seen>,
    ends: Mutex<Vec<TcpStream>>,
}

/// A running proxy. It ends with the process.
pub struct Proxy {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Arc<Line>>>>,
}

impl Proxy {
    /// Starts one on a free port of 127.0.0.1, with so much delay for each direction (half a round trip). A new
    /// connection takes one more round trip, as it would on a long line.
    pub fn start(server: SocketAddr, delay: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines: Arc<Mutex<Vec<Arc<Line>>>> = Arc::default();
        let all = Arc::clone(&lines);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let line = Arc::new(Line::default());
                all.lock().unwrap().push(Arc::clone(&line));
                thread::spawn(move || carry(client, server, delay, &line));
            }
        });
        Self { address, lines }
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All connections so far, oldest first.
    pub fn connections(&self) -> Vec<Seen> {
        self.lines.lock().unwrap().iter().map(|line| *line.seen.lock().unwrap()).collect()
    }

    /// The only connection there was.
    pub fn only(&self) -> Seen {
        let all = self.connections();
        assert_eq!(all.len(), 1, "{all:?}");
        all[0]
    }

    /// Cuts all connections that there are: both sides see an end without a goodbye.
    pub fn cut(&self) {
        for line in self.lines.lock().unwrap().iter() {
            for end in line.ends.lock().unwrap().iter() {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }
}

/// Bytes on their way: when they arrive, and their turn.
type Piece = (Instant, u64, Vec<u8>);

fn carry(client: TcpStream, server: SocketAddr, delay: Duration, line: &Arc<Line>) {
    let known = Instant::now() + 2 * delay; // when the client would know that it is connected
    let (up, to_server) = channel();
    let (down, to_client) = channel();
    let keep = |end: &TcpStream| {
        end.set_nodelay(true).unwrap();
        line.ends.lock().unwrap().push(end.try_clone().unwrap());
        end.try_clone().unwrap()
    };
    let from_client = keep(&client);
    let seen = Arc::clone(line);
    thread::spawn(move || {
        read(from_client, known, delay, &up, |bytes| {
            let mut seen = seen.seen.lock().unwrap();
            seen.sent += bytes.len() as u64;
            (0, seen.turns + 1)
        });
    });
    wait_for(known + delay);
    let Ok(server) = TcpStream::connect(server) else {
        let _ = client.shutdown(Shutdown::Both);
        return;
    };
    let from_server = keep(&server);
    let seen = Arc::clone(line);
    thread::spawn(move || {
        write(server, &to_server, |turn| {
            let mut seen = seen.seen.lock().unwrap();
            seen.asked = seen.asked.max(turn);
        });
    });
    let seen = Arc::clone(line);
    thread::spawn(move || {
        let mut greeted = false;
        read(from_server, known, delay, &down, |bytes| {
            let mut seen = seen.seen.lock().unwrap();
            seen.received += bytes.len() as u64;
            let greeting = match bytes.iter().position(|byte| *byte == b'\n') {
                _ if greeted => 0,
                Some(end) => end + 1,
                None => bytes.len(),
            };
            greeted |= greeting < bytes.len() || bytes.ends_with(b"\n");
            (greeting, seen.asked)
        });
    });
    write(client, &to_client, |turn| {
        let mut seen = line.seen.lock().unwrap();
        seen.turns = seen.turns.max(turn);
    });
}

/// Reads to the end; nothing counts as sent before `known`. `turn` gets the bytes, and gives how many of them belong to
/// no turn, and the turn of the others.
fn read(
    mut from: TcpStream,
    known: Instant,
    delay: Duration,
    to: &Sender<Piece>,
    mut turn: impl FnMut(&[u8]) -> (usize, u64),
) {
    let mut piece = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut piece) {
        let due = Instant::now().max(known) + delay;
        let (before, turn) = turn(&piece[..n]);
        for (turn, bytes) in [(0, &piece[..before]), (turn, &piece[before..n])] {
            if !bytes.is_empty() && to.send((due, turn, bytes.to_vec())).is_err() {
                return;
            }
        }
    }
}

/// Writes each piece when it is due; `arrives` is told its turn just before.
fn write(mut to: TcpStream, from: &Receiver<Piece>, arrives: impl Fn(u64)) {
    while let Ok((due, turn, bytes)) = from.recv() {
        wait_for(due);
        arrives(turn);
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn wait_for(due: Instant) {
    let left = due.saturating_duration_since(Instant::now());
    if !left.is_zero() {
        thread::sleep(left);
    }
}
