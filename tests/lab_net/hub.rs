//! esxprep's own switch, with datagram sockets as guests, and as a process.

use std::io::Write;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use esxprep::lab::net::Thing;
use esxprep::lab::net::hub::{
    Capture, Config, Event, FaultConfig, HubError, HubProcess, PortConfig, PortStats, Reply, Request, Stats, VlanMode,
    ask, run, run_from, until_told,
};
use tokio_util::sync::CancellationToken;

use super::{processes_of, short_dir, wait_for};

/// A switch in a thread of the test, which ends with it.
struct Hub {
    config: Config,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<Result<(), HubError>>>,
    _home: tempfile::TempDir,
}

impl Hub {
    fn start(ports: &[PortConfig]) -> Self {
        let (home, dir) = short_dir();
        let config = Config { ports: ports.to_vec(), ..Config::new("demo", dir) };
        let (stop, to_run) = (CancellationToken::new(), config.clone());
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(run(to_run, stopped.cancelled_owned()))
        });
        let hub = Self { config, stop, thread: Some(thread), _home: home };
        wait_for("the switch", || ask(&hub.config.control(), &Request::Stats).is_ok());
        hub
    }

    fn guest(&self, port: &str) -> Guest {
        Guest::new(&self.config.dir, port)
    }

    fn ask(&self, request: &Request) -> Reply {
        ask(&self.config.control(), request).unwrap()
    }

    fn stats(&self) -> Stats {
        match self.ask(&Request::Stats) {
            Reply::Stats(stats) => stats,
            other => panic!("{other:?}"),
        }
    }

    fn port(&self, name: &str) -> PortStats {
        self.stats().ports.into_iter().find(|p| p.name == name).unwrap()
    }

    fn end(&mut self) -> Result<(), HubError> {
        self.stop.cancel();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What QEMU does with `-netdev dgram`.
struct Guest {
    socket: UnixDatagram,
    to: PathBuf,
}

impl Guest {
    fn new(dir: &Path, port: &str) -> Self {
        let port = PortConfig::new(port);
        let own = port.guest_socket(dir);
        let _ = fs::remove_file(&own);
        let socket = UnixDatagram::bind(own).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, to: port.hub_socket(dir) }
    }

    fn send(&self, frame: &[u8]) {
        self.socket.send_to(frame, &self.to).unwrap();
    }

    fn receive(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let length = self.socket.recv(&mut buffer).expect("no frame came");
        buffer.truncate(length);
        buffer
    }
}

fn ports(names: &[&str]) -> Vec<PortConfig> {
    names.iter().map(|n| PortConfig::new(*n)).collect()
}

fn frame(to: u8, from: u8, mark: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    if to != 0xff {
        bytes = vec![0x52, 0x54, 0, 0, 0, to];
    }
    bytes.extend([0x52, 0x54, 0, 0, 0, from, 0x08, 0x06, mark]);
    bytes.resize(length, 0);
    bytes
}

#[test]
fn frames_reach_who_they_are_for_and_are_never_short() {
    let mut hub = Hub::start(&ports(&["a", "b", "c"]));
    let (a, b, c) = (hub.guest("a"), hub.guest("b"), hub.guest("c"));
    a.send(&frame(0xff, 1, 1, 42));
    for guest in [&b, &c] {
        let got = guest.receive();
        assert_eq!((got.len(), got[14]), (60, 1));
    }
    b.send(&frame(1, 2, 2, 9014));
    assert_eq!(a.receive(), frame(1, 2, 2, 9014));
    // The answer went to `a` alone: the next that `c` gets is the broadcast.
    b.send(&frame(0xff, 2, 3, 60));
    assert_eq!((c.receive()[14], a.receive()[14]), (3, 3));
    let stats = hub.port("c");
    assert_eq!((stats.counters.sent, stats.counters.padded, stats.guest_there), (2, 1, true));
    match hub.ask(&Request::Table) {
        Reply::Table { rows } => {
            let seen: Vec<_> = rows.iter().map(|r| (r.mac.to_string(), r.port.as_str())).collect();
            assert_eq!(seen, [("52:54:00:00:00:01".into(), "a"), ("52:54:00:00:00:02".into(), "b")]);
        }
        other => panic!("{other:?}"),
    }
    let dir = hub.config.dir.clone();
    hub.end().unwrap();
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|n| n.ends_with(".h") || n.ends_with(".sock")), "{left:?}");
}

#[test]
fn a_guest_may_be_late_go_away_and_come_back() {
    let hub = Hub::start(&ports(&["a", "b"]));
    let a = hub.guest("a");
    a.send(&frame(0xff, 1, 1, 60));
    wait_for("the frame to be dropped", || hub.port("b").dropped_absent == 1);
    let b = hub.guest("b");
    a.send(&frame(0xff, 1, 2, 60));
    assert_eq!(b.receive()[14], 2);
    drop(b);
    a.send(&frame(0xff, 1, 3, 60));
    wait_for("the frame to be dropped", || hub.port("b").dropped_absent == 2);
    assert!(!hub.port("b").guest_there);
    // QEMU starts again: a new socket under the old path.
    let b = hub.guest("b");
    a.send(&frame(0xff, 1, 4, 60));
    assert_eq!(b.receive()[14], 4);
    let again = hub.guest("b");
    drop(b);
    a.send(&frame(0xff, 1, 5, 60));
    assert_eq!(again.receive()[14], 5);
}

#[test]
fn a_guest_that_fetches_nothing_harms_nobody() {
    const FRAMES: usize = 4000;
    let hub = Hub::start(&ports(&["a", "deaf", "b"]));
    let (a, deaf, b) = (hub.guest("a"), hub.guest("deaf"), hub.guest("b"));
    for n in 0..FRAMES {
        a.send(&frame(0xff, 1, n as u8, 60));
        assert_eq!(b.receive()[14], n as u8);
    }
    wait_for("frames to be dropped", || hub.port("deaf").dropped_full > 0);
    assert_eq!(hub.port("b").dropped_full, 0);
    // It wakes up: what waited comes, and what comes next.
    let mut got = 0;
    deaf.socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    while deaf.socket.recv(&mut [0; 100]).is_ok() {
        got += 1;
    }
    let port = hub.port("deaf");
    assert!(got >= 10, "{got}");
    assert_eq!(got + port.dropped_full + port.dropped_error + port.dropped_absent, FRAMES as u64);
    a.send(&frame(0xff, 1, 99, 60));
    assert_eq!(deaf.receive()[14], 99);
}

#[test]
fn vlans_ports_and_captures_can_be_altered_while_it_runs() {
    let access = |name: &str, tag| PortConfig { vlan: VlanMode::Access { tag }, ..PortConfig::new(name) };
    let hub = Hub::start(&[access("a", 10), access("b", 20), PortConfig::new("trunk")]);
    let (a, b, trunk) = (hub.guest("a"), hub.guest("b"), hub.guest("trunk"));
    let capture = hub.config.dir.join("all.pcap");
    let wanted = Request::Capture(Capture { file: capture.clone(), port: None, max_bytes: 1 << 20 });
    assert_eq!(hub.ask(&wanted), Reply::Done);
    assert!(hub.stats().capturing);
    a.send(&frame(0xff, 1, 1, 60));
    let tagged = trunk.receive();
    assert_eq!((tagged.len(), &tagged[12..16]), (64, &[0x81, 0x00, 0x00, 10][..]));
    assert_eq!(hub.ask(&Request::AddPort { port: access("c", 10) }), Reply::Done);
    let c = hub.guest("c");
    a.send(&frame(0xff, 1, 2, 60));
    assert_eq!(c.receive(), frame(0xff, 1, 2, 60));
    assert_eq!(trunk.receive()[18], 2);
    // What comes to `b` first is the frame of its own VLAN, sent last.
    trunk.send(&[&frame(0xff, 3, 0, 60)[..12], &[0x81, 0, 0, 20, 8, 6, 3], &[0; 60]].concat());
    assert_eq!(b.receive()[14], 3);
    assert_eq!(hub.port("b").counters.sent, 1);
    assert_eq!(hub.ask(&Request::CaptureOff), Reply::Done);
    let bytes = fs::read(&capture).unwrap();
    assert_eq!(bytes.len(), 24 + 3 * 16 + 60 + 60 + 79, "two frames of 60 bytes and one of 79");
    let again = ask(&hub.config.control(), &wanted);
    assert!(matches!(again, Err(HubError::Refused(ref said)) if said.contains("all.pcap")), "{again:?}");

    assert_eq!(hub.ask(&Request::RemovePort { name: "c".into() }), Reply::Done);
    assert!(!PortConfig::new("c").hub_socket(&hub.config.dir).exists());
    for request in [
        Request::RemovePort { name: "c".into() },
        Request::AddPort { port: PortConfig::new("a") },
        Request::Faults { name: "c".into(), faults: FaultConfig::default() },
    ] {
        assert!(matches!(ask(&hub.config.control(), &request), Err(HubError::Refused(_))), "{request:?}");
    }
}

#[test]
fn one_port_can_be_captured_both_ways() {
    let hub = Hub::start(&ports(&["a", "b", "c"]));
    let (a, b, c) = (hub.guest("a"), hub.guest("b"), hub.guest("c"));
    let file = hub.config.dir.join("b.pcap");
    let capture = Capture { file: file.clone(), port: Some("b".into()), max_bytes: 1 << 20 };
    hub.ask(&Request::Capture(capture));
    a.send(&frame(0xff, 1, 1, 42));
    assert_eq!(b.receive()[14], 1);
    b.send(&frame(1, 2, 2, 42));
    a.receive();
    // Between others: not in it.
    a.send(&frame(3, 1, 3, 60));
    c.receive();
    b.receive();
    c.send(&frame(1, 3, 4, 60));
    a.receive();
    hub.ask(&Request::CaptureOff);
    // To `b` padded, from `b` as it came, and the frame that was flooded.
    assert_eq!(fs::read(file).unwrap().len(), 24 + 3 * 16 + 60 + 42 + 60);
}

#[test]
fn faults_lose_and_delay_in_order() {
    let hub = Hub::start(&ports(&["a", "b"]));
    let (a, b) = (hub.guest("a"), hub.guest("b"));
    let set = |loss, latency_ms, jitter_ms| {
        let faults = FaultConfig { loss, latency_ms, jitter_ms, seed: 1 };
        assert_eq!(hub.ask(&Request::Faults { name: "b".into(), faults }), Reply::Done);
    };
    set(1.0, 0, 0);
    a.send(&frame(0xff, 1, 1, 60));
    wait_for("the loss", || hub.port("b").dropped_fault == 1);
    set(0.0, 20, 30);
    let begun = std::time::Instant::now();
    for n in 0..50 {
        a.send(&frame(0xff, 1, n, 60));
    }
    for n in 0..50 {
        assert_eq!(b.receive()[14], n);
    }
    assert!(begun.elapsed() >= Duration::from_millis(20), "nothing was late");
    assert!(matches!(
        ask(
            &hub.config.control(),
            &Request::Faults { name: "b".into(), faults: FaultConfig { loss: 2.0, ..FaultConfig::default() } }
        ),
        Err(HubError::Refused(_))
    ));
}

#[test]
fn two_guests_with_one_mac_are_named() {
    let hub = Hub::start(&ports(&["h1-0", "h2-0", "c"]));
    let (one, two, c) = (hub.guest("h1-0"), hub.guest("h2-0"), hub.guest("c"));
    for n in 0..2 {
        one.send(&frame(0xff, 7, n, 60));
        c.receive();
        two.send(&frame(0xff, 7, n, 60));
        c.receive();
    }
    let Reply::Events { events } = hub.ask(&Request::Events) else { panic!() };
    let [Event::SameMac { mac, ports, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((mac.to_string().as_str(), ports), ("52:54:00:00:00:07", &["h1-0".to_owned(), "h2-0".to_owned()]));
}

#[test]
fn nonsense_at_the_control_socket_is_answered_and_harms_nothing() {
    let hub = Hub::start(&ports(&["a", "b"]));
    let mut stream = UnixStream::connect(hub.config.control()).unwrap();
    stream.write_all(b"stats please\n").unwrap();
    let mut said = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stream.try_clone().unwrap()), &mut said).unwrap();
    assert!(said.contains(r#""is":"refused""#), "{said}");
    // A line without end is cut off.
    let _ = stream.write_all(&vec![b'x'; 1 << 17]);
    drop(stream);
    let (a, b) = (hub.guest("a"), hub.guest("b"));
    a.send(b"");
    a.send(b"short");
    a.send(&frame(0xff, 1, 1, 60));
    assert_eq!(b.receive()[14], 1);
    assert_eq!(hub.port("a").counters.malformed, 2);
}

#[test]
fn one_switch_in_a_folder() {
    let hub = Hub::start(&ports(&["a"]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let second = runtime.block_on(run(hub.config.clone(), std::future::pending()));
    assert!(matches!(second, Err(HubError::Running { .. })), "{second:?}");
    assert_eq!(hub.stats().ports.len(), 1);
}

/// What [`HubProcess`] starts in these tests: this test of this program, with the configuration's path behind.
/// Started as a test it has no such path, and nothing to do.
#[test]
fn the_process_of_a_switch() {
    let Some(path) = std::env::args().next_back().filter(|a| a.ends_with("/hub.json")) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Err(e) = runtime.block_on(run_from(Path::new(&path), until_told())) {
        eprintln!("{e}");
        std::process::exit(1);
    }
}

/// A switch as a thing; unmade when it goes, also if the test fails.
struct Process {
    hub: HubProcess,
    _home: tempfile::TempDir,
}

impl Process {
    fn new(ports: &[PortConfig]) -> Self {
        let (home, dir) = short_dir();
        Self { hub: process_in(&dir, ports), _home: home }
    }

    fn dir(&self) -> &Path {
        &self.hub.config.dir
    }

    fn processes(&self) -> usize {
        processes_of(self.dir().to_str().unwrap()).len()
    }
}

fn process_in(dir: &Path, ports: &[PortConfig]) -> HubProcess {
    let args = ["--exact", "hub::the_process_of_a_switch", "--nocapture", "--test-threads=2"];
    let config = Config { ports: ports.to_vec(), ..Config::new("demo", dir) };
    let program = std::env::current_exe().unwrap();
    HubProcess { program, args: args.map(str::to_owned).to_vec(), config }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.hub.unmake();
    }
}

#[test]
fn a_switch_in_a_process_of_its_own() {
    let mut process = Process::new(&ports(&["a", "b"]));
    let thing = Thing::Hub(process.hub.clone());
    assert_eq!(thing.needs_root(), None);
    thing.unmake().unwrap();
    thing.make().unwrap();
    let first = process.hub.pid().unwrap().unwrap();
    thing.make().unwrap();
    assert_eq!(process.hub.pid().unwrap(), Some(first), "it was started again for nothing");
    assert_eq!(process.processes(), 1);
    let (a, b) = (Guest::new(process.dir(), "a"), Guest::new(process.dir(), "b"));
    a.send(&frame(0xff, 1, 1, 42));
    assert_eq!(b.receive().len(), 60);
    // Another configuration: started again, and the guests need not know.
    process.hub.config.ports.push(PortConfig::new("c"));
    process.hub.make().unwrap();
    assert_ne!(process.hub.pid().unwrap(), Some(first));
    assert_eq!(process.processes(), 1);
    a.send(&frame(0xff, 1, 2, 60));
    assert_eq!(b.receive()[14], 2);
    // Another lab's is not ended.
    let mut other = process.hub.clone();
    other.config.lab = "other".into();
    assert!(other.make().unwrap_err().is_not_ours() && other.unmake().unwrap_err().is_not_ours());
    process.hub.unmake().unwrap();
    process.hub.unmake().unwrap();
    assert!(!process.dir().exists());
    assert_eq!(process.processes(), 0);
}

#[test]
fn a_killed_switch_is_started_again_and_leaves_nothing() {
    let process = Process::new(&ports(&["a", "b"]));
    process.hub.make().unwrap();
    let first = process.hub.pid().unwrap().unwrap();
    let kill = |pid: u32| assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    kill(first);
    wait_for("the lock to be free", || process.hub.pid().unwrap().is_none());
    assert!(process.hub.config.control().exists(), "a killed switch leaves its socket");
    process.hub.make().unwrap();
    let second = process.hub.pid().unwrap().unwrap();
    assert_ne!(first, second);
    let (a, b) = (Guest::new(process.dir(), "a"), Guest::new(process.dir(), "b"));
    a.send(&frame(0xff, 1, 1, 60));
    assert_eq!(b.receive()[14], 1);
    kill(second);
    process.hub.unmake().unwrap();
    assert!(!process.dir().exists());
}

/// What a killed run does: it starts and ends a switch in the folder that the environment names, without end.
#[test]
fn the_process_that_is_killed() {
    let Ok(dir) = std::env::var("LAB_HUB_KILLED") else { return };
    let hub = process_in(Path::new(&dir), &ports(&["a", "b"]));
    loop {
        hub.make().unwrap();
        hub.unmake().unwrap();
    }
}

#[test]
fn killed_while_it_starts_a_switch_both_ways_on_are_clean() {
    for n in 0..16u64 {
        let process = Process::new(&ports(&["a", "b"]));
        let dir = process.dir().to_str().unwrap().to_owned();
        let mut child = super::start_to_be_killed("LAB_HUB_KILLED", &dir, "hub::the_process_that_is_killed");
        thread::sleep(Duration::from_millis(15 + n * 6));
        child.kill().unwrap();
        child.wait().unwrap();
        if n % 2 == 0 {
            process.hub.make().unwrap();
            assert!(process.hub.pid().unwrap().is_some());
        }
        process.hub.unmake().unwrap();
        // One that was started and had not begun yet finds nothing, and ends.
        wait_for("a late switch to end", || process.processes() == 0);
        assert!(!process.dir().exists(), "{n}");
    }
}

#[test]
fn a_switch_that_starts_after_the_teardown_ends_at_once() {
    let process = Process::new(&ports(&["a"]));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let late = runtime.block_on(run_from(&process.hub.config.file(), std::future::pending()));
    assert!(matches!(late, Err(HubError::Gone { .. })), "{late:?}");
    assert!(!process.dir().exists());
}

#[test]
fn a_process_that_does_not_start_says_why() {
    let mut process = Process::new(&ports(&["a"]));
    process.hub.program = "/bin/false".into();
    let error = process.hub.make().unwrap_err().to_string();
    assert!(error.contains("it ended (exit status: 1)") && error.contains("hub.log"), "{error}");
    process.hub.unmake().unwrap();
    process.hub.program = "/nowhere/esxprep".into();
    assert!(process.hub.make().unwrap_err().to_string().contains("/nowhere/esxprep"));
    process.hub.unmake().unwrap();
    assert!(!process.dir().exists());
}

/// QEMU takes the port's `-netdev` as it is, and its NIC answers through the switch: SeaBIOS's network boot sends
/// DHCP requests.
#[test]
fn a_guest_of_qemu_speaks_through_the_switch() {
    struct Ended(std::process::Child);
    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let hub = Hub::start(&ports(&["vm", "b"]));
    let b = hub.guest("b");
    b.socket.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    let netdev = PortConfig::new("vm").netdev(&hub.config.dir, "n0");
    let qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "tcg", "-nodefaults", "-no-user-config", "-display", "none", "-m", "64", "-boot", "n"])
        .args(["-netdev", &netdev, "-device", "e1000,netdev=n0,mac=52:54:00:00:00:42"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("`qemu-system-x86_64` cannot be started ({e}): install qemu-system-x86"));
    let _qemu = Ended(qemu);
    let got = b.receive();
    assert_eq!(got[6..12], [0x52, 0x54, 0, 0, 0, 0x42]);
    assert!(got.len() >= 60);
}
