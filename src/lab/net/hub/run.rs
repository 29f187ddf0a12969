//! The switch as a process: sockets around the pure core.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, File};
use std::future::Future;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixDatagram, UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::lock::{self, Lock, lock_file};
use super::pcap::Writer;
use super::port::{Drops, Item, QUEUE, send_all};
use super::{
    Capture, Config, Event, FaultConfig, Faults, HubError, PortConfig, PortId, PortStats, Reply, Request, Stats,
    Switch, TableEntry,
};

/// Longer than any frame of any MTU that a NIC of QEMU has.
const MOST_BYTES: usize = 1 << 17;
/// A longer request is no request.
const MOST_LINE: u64 = 1 << 16;
/// Events that are kept for who asks.
const KEPT_EVENTS: usize = 256;

/// Runs a switch until `stop` comes. One at most in a folder, which is made if it is not there.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> Result<(), HubError> {
    let dir = &config.dir;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(HubError::io("create", dir))?;
    match take_lock(dir)? {
        Some(lock) => serve(config, lock, stop).await,
        None => Err(HubError::Gone { path: config.dir }),
    }
}

/// As [`run`], with the configuration from a file `hub.json` in the switch's folder: what the detached process does.
/// The lock comes first: a teardown that holds it has removed the file, and a late start then ends without a trace.
pub async fn run_from(file: &Path, stop: impl Future<Output = ()>) -> Result<(), HubError> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let gone = || HubError::Gone { path: file.to_owned() };
    let lock = if file.exists() { take_lock(dir)?.ok_or_else(gone)? } else { return Err(gone()) };
    let bytes = match fs::read(file) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            let _ = fs::remove_file(lock_file(dir));
            let _ = fs::remove_dir(dir);
            return Err(gone());
        }
        other => other.map_err(HubError::io("read", file))?,
    };
    let config: Config = serde_json::from_slice(&bytes)
        .map_err(|e| HubError::Config { path: file.to_owned(), problem: e.to_string() })?;
    if config.dir != dir {
        let problem = format!("it is for the folder {}", config.dir.display());
        return Err(HubError::Config { path: file.to_owned(), problem });
    }
    serve(config, lock, stop).await
}

/// Comes when the process is told to end (SIGTERM, SIGINT). A terminal that goes away (SIGHUP) ends nothing.
pub async fn until_told() {
    let (Ok(mut term), Ok(mut int), Ok(mut hup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = term.recv() => return,
            _ = int.recv() => return,
            _ = hup.recv() => {}
        }
    }
}

/// The lock with this process's id in it; nothing if there is no folder.
fn take_lock(dir: &Path) -> Result<Option<File>, HubError> {
    let mut file = match lock::take(dir)? {
        Lock::Free(file) => file,
        Lock::NoFolder => return Ok(None),
        Lock::Held(_) => return Err(HubError::Running { dir: dir.to_owned() }),
    };
    let path = lock_file(dir);
    file.set_len(0).map_err(HubError::io("write", &path))?;
    write!(file, "{}", std::process::id()).map_err(HubError::io("write", &path))?;
    Ok(Some(file))
}

async fn serve(config: Config, lock: File, stop: impl Future<Output = ()>) -> Result<(), HubError> {
    config.check()?;
    let hub = Hub::new(&config);
    let served = hub.serve(&config, stop).await;
    hub.core().ports.values().for_each(|p| p.cancel.cancel());
    for socket in hub.sockets().into_iter().chain([config.control()]) {
        let _ = fs::remove_file(socket);
    }
    if let Some(capture) = &mut hub.core().capture {
        let _ = capture.flush();
    }
    drop(lock);
    served
}

/// What tasks share.
#[derive(Clone)]
struct Hub {
    lab: String,
    dir: PathBuf,
    begun: Instant,
    core: Arc<Mutex<Core>>,
}

struct Core {
    switch: Switch,
    ports: BTreeMap<PortId, PortIo>,
    capture: Option<Writer>,
    events: VecDeque<Event>,
}

struct PortIo {
    config: PortConfig,
    faults: Faults,
    queue: mpsc::Sender<Item>,
    last_due: Option<Instant>,
    drops: Arc<Drops>,
    cancel: CancellationToken,
}

impl Hub {
    fn new(config: &Config) -> Self {
        let switch = Switch::new(Duration::from_secs(config.ageing_s));
        let core = Core { switch, ports: BTreeMap::new(), capture: None, events: VecDeque::new() };
        let begun = Instant::now();
        Self { lab: config.lab.clone(), dir: config.dir.clone(), begun, core: Arc::new(Mutex::new(core)) }
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> Vec<PathBuf> {
        self.core().ports.values().map(|p| p.config.hub_socket(&self.dir)).collect()
    }

    async fn serve(&self, config: &Config, stop: impl Future<Output = ()>) -> Result<(), HubError> {
        for port in &config.ports {
            self.add_port(port.clone())?;
        }
        if let Some(capture) = &config.capture {
            match self.capture(capture) {
                // Started again, it goes on without: its first life's capture is worth more.
                Err(HubError::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
                other => other?,
            }
        }
        let control = config.control();
        remove_stale(&control)?;
        let listener = UnixListener::bind(&control).map_err(HubError::io("listen at", &control))?;
        let mut tick = interval(Duration::from_secs(1));
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => return Ok(()),
                _ = tick.tick() => {
                    if let Some(capture) = &mut self.core().capture { let _ = capture.flush(); }
                }
                client = listener.accept() => match client {
                    Ok((stream, _)) => drop(tokio::spawn(self.clone().talk(stream))),
                    // Out of handles: they come back when a client goes.
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            }
        }
    }

    fn add_port(&self, config: PortConfig) -> Result<(), HubError> {
        config.check(&self.dir)?;
        let mut core = self.core();
        if core.switch.port(&config.name).is_some() {
            return Err(HubError::Port { port: config.name, problem: "there is one of this name".into() });
        }
        let path = config.hub_socket(&self.dir);
        remove_stale(&path)?;
        let socket = UnixDatagram::bind(&path).map_err(HubError::io("bind", &path))?;
        let id = core.switch.add_port(&config);
        let (queue, waiting) = mpsc::channel(QUEUE);
        let drops = Arc::new(Drops::default());
        let cancel = CancellationToken::new();
        let sending = send_all(config.guest_socket(&self.dir), waiting, Arc::clone(&drops));
        let stopped = cancel.clone();
        tokio::spawn(async move {
            tokio::select! { () = sending => {}, () = stopped.cancelled() => {} }
        });
        let (hub, stopped) = (self.clone(), cancel.clone());
        tokio::spawn(async move {
            tokio::select! { () = hub.receive(id, socket) => {}, () = stopped.cancelled() => {} }
        });
        let faults = Faults::new(config.faults);
        core.ports.insert(id, PortIo { config, faults, queue, last_due: None, drops, cancel });
        Ok(())
    }

    fn remove_port(&self, name: &str) -> Result<(), HubError> {
        let mut core = self.core();
        let Some(id) = core.switch.port(name) else { return Err(no_port(name)) };
        core.switch.remove_port(id);
        if let Some(port) = core.ports.remove(&id) {
            port.cancel.cancel();
            let _ = fs::remove_file(port.config.hub_socket(&self.dir));
        }
        Ok(())
    }

    async fn receive(self, id: PortId, socket: UnixDatagram) {
        let mut buffer = vec![0; MOST_BYTES];
        loop {
            match socket.recv(&mut buffer).await {
                Ok(length) => self.core().frame(id, &buffer[..length], self.begun.elapsed()),
                // Nothing that a guest does ends its port.
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    fn capture(&self, capture: &Capture) -> Result<(), HubError> {
        let mut core = self.core();
        let port = match &capture.port {
            Some(name) => Some(core.switch.port(name).ok_or_else(|| no_port(name))?),
            None => None,
        };
        let writer = Writer::create(capture, port)?;
        core.end_capture();
        core.capture = Some(writer);
        Ok(())
    }

    fn set_faults(&self, name: &str, faults: FaultConfig) -> Result<(), HubError> {
        faults.check().map_err(|problem| HubError::Port { port: name.to_owned(), problem })?;
        let mut core = self.core();
        let port = core.switch.port(name).and_then(|id| core.ports.get_mut(&id)).ok_or_else(|| no_port(name))?;
        port.faults = Faults::new(faults);
        port.config.faults = faults;
        Ok(())
    }

    /// One client, line by line.
    async fn talk(self, stream: UnixStream) {
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let mut line = Vec::new();
            match (&mut read).take(MOST_LINE).read_until(b'\n', &mut line).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            let whole = line.ends_with(b"\n");
            let reply = match serde_json::from_slice(&line) {
                Ok(request) => self.answer(request),
                Err(e) => Reply::Refused { problem: format!("that is no request: {e}") },
            };
            let Ok(mut text) = serde_json::to_vec(&reply) else { return };
            text.push(b'\n');
            if write.write_all(&text).await.is_err() || !whole {
                return;
            }
        }
    }

    fn answer(&self, request: Request) -> Reply {
        let done = match request {
            Request::Stats => return Reply::Stats(self.stats()),
            Request::Table => return Reply::Table { rows: self.table() },
            Request::Events => return Reply::Events { events: self.core().events.iter().cloned().collect() },
            Request::AddPort { port } => self.add_port(port),
            Request::RemovePort { name } => self.remove_port(&name),
            Request::Capture(capture) => self.capture(&capture),
            Request::CaptureOff => {
                self.core().end_capture();
                Ok(())
            }
            Request::Faults { name, faults } => self.set_faults(&name, faults),
        };
        done.map_or_else(|e| Reply::Refused { problem: e.to_string() }, |()| Reply::Done)
    }

    fn stats(&self) -> Stats {
        let core = self.core();
        let port = |(id, io): (&PortId, &PortIo)| PortStats {
            name: io.config.name.clone(),
            guest_there: io.drops.there.load(Ordering::Relaxed),
            counters: core.switch.counters(*id).unwrap_or_default(),
            dropped_full: io.drops.full.load(Ordering::Relaxed),
            dropped_absent: io.drops.absent.load(Ordering::Relaxed),
            dropped_fault: io.drops.fault.load(Ordering::Relaxed),
            dropped_error: io.drops.error.load(Ordering::Relaxed),
        };
        Stats {
            lab: self.lab.clone(),
            pid: std::process::id(),
            up_ms: self.begun.elapsed().as_millis() as u64,
            capturing: core.capture.is_some(),
            ports: core.ports.iter().map(port).collect(),
        }
    }

    fn table(&self) -> Vec<TableEntry> {
        let core = self.core();
        let row = |(vlan, mac, id, age): (u16, _, PortId, Duration)| {
            let port = core.ports.get(&id)?.config.name.clone();
            Some(TableEntry { vlan, mac, port, age_s: age.as_secs() })
        };
        core.switch.table(self.begun.elapsed()).into_iter().filter_map(row).collect()
    }
}

impl Core {
    fn frame(&mut self, from: PortId, bytes: &[u8], now: Duration) {
        let out = self.switch.frame(from, bytes, now);
        if self.capture.is_some() {
            let incoming = Some((from, bytes));
            self.write_capture(incoming.into_iter().chain(out.iter().map(|(id, b)| (*id, &**b))), from);
        }
        for (id, bytes) in out {
            let Some(port) = self.ports.get_mut(&id) else { continue };
            let Some(late) = port.faults.next_frame() else {
                port.drops.fault.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            // Never before the frame ahead of it: jitter alters no order.
            let due =
                (!late.is_zero()).then(|| Instant::now() + late).max(port.last_due.filter(|d| *d > Instant::now()));
            port.last_due = due;
            if port.queue.try_send((due, bytes)).is_err() {
                port.drops.full.fetch_add(1, Ordering::Relaxed);
            }
        }
        for event in self.switch.take_events() {
            if self.events.len() == KEPT_EVENTS {
                self.events.pop_front();
            }
            tracing::warn!(?event, "the lab's switch");
            self.events.push_back(event);
        }
    }

    /// Without a port: each frame once, as it came. With one: what comes from it and what goes to it.
    fn write_capture<'a>(&mut self, frames: impl Iterator<Item = (PortId, &'a [u8])>, from: PortId) {
        let Some(writer) = &mut self.capture else { return };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let wanted = writer.port.unwrap_or(from);
        for (_, bytes) in frames.filter(|(id, _)| *id == wanted) {
            // A full file or a full disk ends the capture, not the switch.
            if !matches!(writer.write(now, bytes), Ok(true)) {
                return self.end_capture();
            }
        }
    }

    fn end_capture(&mut self) {
        if let Some(mut capture) = self.capture.take() {
            let _ = capture.flush();
        }
    }
}

fn no_port(name: &str) -> HubError {
    HubError::Port { port: name.to_owned(), problem: "there is none of this name".into() }
}

/// A killed switch leaves its sockets; the lock says that none runs here.
fn remove_stale(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(HubError::io("remove the stale", path)),
    }
}
