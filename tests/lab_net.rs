//! Networks of a lab, for real: in namespaces of the test's own, so that the machine's network is not touched.
//! Needs root, iproute2, openvswitch-switch, busybox-static and qemu-system-x86.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use esxprep::lab::net::{
    Address, Attachment, Backend, Bridge, Datapath, Mtu, NetError, Netns, Ovs, OvsPort, OvsServer, Place, Request, Tap,
    Thing, Vlan, address_of, addresses, duplicate_macs, fdb, found, layout, link, links, needs_root,
    system_ovs_answers,
};

fn output(program: &str, args: &[&str]) -> std::process::Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap_or_else(|e| {
        panic!("`{program}` cannot be started ({e}): this test needs root and the tools that scripts/test installs")
    })
}

fn run(program: &str, args: &[&str]) -> String {
    let out = output(program, args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A namespace of the test's own; what lives in it ends with it, also if the test fails.
struct Space(String);

impl Space {
    /// Made by the test itself, as a user would have it.
    fn new() -> Self {
        let space = Self::unmade();
        run("ip", &["netns", "add", &space.0]);
        space
    }

    /// Only a name: the code under test makes it.
    fn unmade() -> Self {
        Self(format!("ept{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn place(&self) -> Place {
        Place::netns("demo", &self.0)
    }

    fn ip(&self, args: &str) -> String {
        let args: Vec<_> = ["-n", &self.0].into_iter().chain(args.split(' ')).collect();
        run("ip", &args)
    }

    fn exists(&self) -> bool {
        Path::new("/run/netns").join(&self.0).exists()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if !self.exists() {
            return;
        }
        // Only what was started in this namespace, which nobody else knows.
        let pids = output("ip", &["netns", "pids", &self.0]);
        for pid in String::from_utf8_lossy(&pids.stdout).split_whitespace() {
            let _ = output("kill", &["-9", pid]);
        }
        let _ = output("ip", &["netns", "del", &self.0]);
    }
}

fn tap(place: &Place, name: &str, master: Option<&str>) -> Tap {
    Tap { place: place.clone(), name: name.into(), master: master.map(Into::into), mtu: None, user: None }
}

fn bridge(place: &Place, name: &str) -> Bridge {
    Bridge { place: place.clone(), name: name.into(), mtu: None }
}

fn address(place: &Place, link: &str, address: &str) -> Address {
    Address { place: place.clone(), link: link.into(), address: address.parse().unwrap() }
}

fn make_all(things: &[Thing]) {
    for thing in things {
        thing.make().unwrap_or_else(|e| panic!("{thing:?}: {e}"));
    }
}

fn unmake_all(things: &[Thing]) {
    for thing in things.iter().rev() {
        thing.unmake().unwrap_or_else(|e| panic!("{thing:?}: {e}"));
    }
}

/// Processes one of whose arguments holds this text.
fn processes_of(text: &str) -> Vec<String> {
    let alive = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?.replace('\0', " ");
        stat.contains(text).then_some(stat)
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().into_string().ok());
    entries.filter(|n| n.bytes().all(|b| b.is_ascii_digit())).filter_map(|pid| alive(&pid)).collect()
}

#[test]
fn a_bridge_with_taps_comes_and_goes_without_a_trace() {
    let space = Space::new();
    let place = space.place();
    let before = (space.ip("-j addr"), space.ip("-j -d link"));
    let things = [
        Thing::Bridge(Bridge { mtu: Some(9000), ..bridge(&place, "br0") }),
        Thing::Address(address(&place, "br0", "192.168.101.1/24")),
        Thing::Address(address(&place, "br0", "fd00:e5::1/64")),
        Thing::Tap(Tap { mtu: Some(9000), user: Some(65534), ..tap(&place, "tap0", Some("br0")) }),
        Thing::Tap(tap(&place, "tap1", Some("br0"))),
    ];
    assert_eq!(needs_root(&things).len(), 5);
    make_all(&things);
    make_all(&things);
    let br0 = link(&place, "br0").unwrap().unwrap();
    assert!(br0.is_of("demo") && br0.is_up() && br0.mtu == 9000 && br0.kind() == Some("bridge"), "{br0:?}");
    let said = space.ip("-d link show dev br0");
    assert!(said.contains("stp_state 0") && said.contains("forward_delay 0 "), "{said}");
    let tap0 = link(&place, "tap0").unwrap().unwrap();
    assert_eq!((tap0.master.as_deref(), tap0.mtu, tap0.kind()), (Some("br0"), 9000, Some("tun")));
    let owner = run("ip", &["netns", "exec", &space.0, "cat", "/sys/class/net/tap0/owner"]);
    assert_eq!(owner.trim(), "65534");
    let found = addresses(&place, "br0").unwrap();
    assert_eq!(
        found.iter().find(|a| a.address == "192.168.101.1/24".parse().unwrap()).unwrap().label.as_deref(),
        Some("br0:ep")
    );
    assert!(found.iter().any(|a| a.address == "fd00:e5::1/64".parse().unwrap()));
    unmake_all(&things);
    unmake_all(&things);
    assert_eq!((space.ip("-j addr"), space.ip("-j -d link")), before);
}

#[test]
fn what_was_altered_meanwhile_is_set_as_wanted() {
    let space = Space::new();
    let place = space.place();
    let things = [Thing::Bridge(bridge(&place, "br0")), Thing::Tap(tap(&place, "tap0", Some("br0")))];
    make_all(&things);
    space.ip("link set dev tap0 nomaster");
    space.ip("link set dev tap0 down");
    space.ip("link set dev br0 down");
    make_all(&things);
    let tap0 = link(&place, "tap0").unwrap().unwrap();
    assert!(tap0.master.as_deref() == Some("br0") && tap0.is_up() && link(&place, "br0").unwrap().unwrap().is_up());
}

#[test]
fn a_bridge_that_was_there_keeps_all_but_what_was_added() {
    let space = Space::new();
    let place = space.place();
    space.ip("link add dev br-user type bridge");
    space.ip("link set dev br-user up");
    space.ip("addr add 10.1.0.1/24 dev br-user");
    let before = space.ip("-j addr show dev br-user");
    let added = address(&place, "br-user", "10.2.0.1/24");
    let theirs = address(&place, "br-user", "10.1.0.1/24");
    assert!(!added.already_there().unwrap() && theirs.already_there().unwrap());
    let things = [
        Thing::Address(added),
        Thing::Mtu(Mtu::wanted(&place, "br-user", 1400).unwrap().unwrap()),
        Thing::Tap(tap(&place, "tap0", Some("br-user"))),
    ];
    assert_eq!(Mtu::wanted(&place, "br-user", 1500).unwrap(), None);
    make_all(&things);
    let set = link(&place, "br-user").unwrap().unwrap();
    assert_eq!((set.mtu, set.ifalias), (1400, None));
    // Theirs is neither taken over nor removed, whatever a journal says.
    assert!(theirs.make().unwrap_err().is_not_ours());
    assert!(theirs.unmake().unwrap_err().is_not_ours());
    assert!(bridge(&place, "br-user").make().unwrap_err().is_not_ours());
    assert!(bridge(&place, "br-user").unmake().unwrap_err().is_not_ours());
    unmake_all(&things);
    unmake_all(&things);
    // The state of a bridge follows its ports, and its link-local address comes by itself: neither was added.
    let own = |json: &str| {
        let all: serde_json::Value = serde_json::from_str(json).unwrap();
        let list = all[0]["addr_info"].as_array().unwrap().clone();
        list.into_iter().filter(|a| a["scope"] == "global").collect::<Vec<_>>()
    };
    assert_eq!(own(&space.ip("-j addr show dev br-user")), own(&before));
    assert_eq!(link(&place, "br-user").unwrap().unwrap().mtu, 1500);
    assert!(address_of(&place, "br-user", &"10.1.0.1/24".parse().unwrap()).unwrap().is_some());
}

#[test]
fn interfaces_of_others_are_neither_taken_nor_removed() {
    let space = Space::new();
    let place = space.place();
    space.ip("tuntap add dev theirs mode tap");
    let error = tap(&place, "theirs", None).make().unwrap_err();
    assert!(error.is_not_ours() && error.to_string().contains("no sign of esxprep"), "{error}");
    assert!(tap(&place, "theirs", None).unmake().unwrap_err().is_not_ours());
    let other = Tap { place: Place::netns("other", &space.0), ..tap(&place, "mine", None) };
    other.make().unwrap();
    let error = tap(&place, "mine", None).unmake().unwrap_err();
    assert!(error.is_not_ours() && error.to_string().contains("of lab `other`"), "{error}");
    // Ours by its sign, and not what it should be.
    bridge(&place, "twist").make().unwrap();
    assert!(tap(&place, "twist", None).make().unwrap_err().is_not_ours());
    let names: Vec<_> = links(&place).unwrap().into_iter().map(|l| l.ifname).collect();
    assert!(["theirs", "mine", "twist"].iter().all(|n| names.contains(&(*n).to_owned())), "{names:?}");
}

#[test]
fn a_run_killed_before_the_name_was_given_leaves_nothing() {
    use sha2::Digest;
    let space = Space::new();
    let place = space.place();
    let hash = sha2::Sha256::digest("demo\ntap0");
    let staged = format!("ep{}", hash.iter().take(6).map(|b| format!("{b:02x}")).collect::<String>());
    let before = space.ip("-j link");
    space.ip(&format!("tuntap add dev {staged} mode tap"));
    tap(&place, "tap0", None).make().unwrap();
    assert!(link(&place, &staged).unwrap().is_none() && link(&place, "tap0").unwrap().is_some());
    space.ip(&format!("tuntap add dev {staged} mode tap"));
    tap(&place, "tap0", None).unmake().unwrap();
    assert_eq!(space.ip("-j link"), before);
}

#[test]
fn names_and_missing_masters_are_said() {
    let space = Space::new();
    let place = space.place();
    assert!(matches!(bridge(&place, "a-bridge-too-long").make(), Err(NetError::BadName { .. })));
    assert!(matches!(tap(&place, "tap 0", None).make(), Err(NetError::BadName { .. })));
    let error = tap(&place, "tap0", Some("br9")).make().unwrap_err();
    assert!(matches!(error, NetError::Absent { .. }) && error.to_string().contains("`br9` is not there"), "{error}");
    assert!(link(&place, "tap0").unwrap().is_none());
    let error = address(&place, "br9", "10.0.0.1/24").make().unwrap_err();
    assert!(matches!(error, NetError::Absent { .. }), "{error}");
    address(&place, "br9", "10.0.0.1/24").unmake().unwrap();
}

#[test]
fn a_namespace_comes_and_goes() {
    let space = Space::unmade();
    let netns = Netns { lab: "demo".into(), name: space.0.clone() };
    let place = space.place();
    // In a namespace that is not there, everything is absent.
    tap(&place, "tap0", None).unmake().unwrap();
    address(&place, "lo", "10.0.0.1/24").unmake().unwrap();
    netns.unmake().unwrap();
    netns.make().unwrap();
    netns.make().unwrap();
    let lo = link(&place, "lo").unwrap().unwrap();
    assert!(lo.is_of("demo") && lo.is_up());
    tap(&place, "tap0", None).make().unwrap();
    let other = Netns { lab: "other".into(), ..netns.clone() };
    assert!(other.make().unwrap_err().is_not_ours() && other.unmake().unwrap_err().is_not_ours());
    let mut sleeper = Command::new("ip").args(["netns", "exec", &space.0, "sleep", "600"]).spawn().unwrap();
    while netns.processes().unwrap().is_empty() {
        std::thread::yield_now();
    }
    let busy = netns.unmake();
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert!(matches!(busy, Err(NetError::Busy { .. })), "{busy:?}");
    netns.unmake().unwrap();
    netns.unmake().unwrap();
    assert!(!space.exists());
}

#[test]
fn a_namespace_of_others_is_left_and_one_that_was_half_made_is_not() {
    let space = Space::new();
    let netns = Netns { lab: "demo".into(), name: space.0.clone() };
    space.ip("link set dev lo up");
    assert!(netns.make().unwrap_err().is_not_ours());
    assert!(netns.unmake().unwrap_err().is_not_ours());
    // As new, it may be what a killed run left.
    space.ip("link set dev lo down");
    netns.make().unwrap();
    netns.unmake().unwrap();
    assert!(!space.exists());
    // A kill within `ip netns add` leaves an empty file.
    fs::write(Path::new("/run/netns").join(&space.0), "").unwrap();
    netns.make().unwrap();
    netns.unmake().unwrap();
    fs::write(Path::new("/run/netns").join(&space.0), "").unwrap();
    netns.unmake().unwrap();
    assert!(!space.exists());
}

#[test]
fn the_table_of_a_bridge_is_read() {
    let space = Space::new();
    let place = space.place();
    bridge(&place, "br0").make().unwrap();
    let hosts = [host(&space, "tap0", "10.9.1.1"), host(&space, "tap1", "10.9.1.2")];
    space.ip("link set dev tap0 master br0");
    space.ip("link set dev tap1 master br0");
    hosts[1].ip("link set dev eth0 address 52:54:00:00:00:01");
    assert!(pings(&hosts[0], "10.9.1.2"));
    let table = fdb(&place).unwrap();
    let planned = |port: &str| vec![("52:54:00:00:00:01".to_owned(), port.to_owned())];
    assert_eq!(duplicate_macs(&table, &planned("tap1")).unwrap(), []);
    let clash = duplicate_macs(&table, &planned("tap0")).unwrap();
    assert_eq!(clash[0].ports, ["tap0", "tap1"]);
}

/// A host behind a port: a namespace with one end of a veth, the other end in `space`.
fn host(space: &Space, port: &str, address: &str) -> Space {
    let host = Space::new();
    let args = format!("link add dev {port} type veth peer name eth0 netns {}", host.0);
    space.ip(&args);
    space.ip(&format!("link set dev {port} up"));
    host.ip(&format!("addr add {address}/24 dev eth0"));
    host.ip("link set dev eth0 up");
    host
}

fn pings(from: &Space, to: &str) -> bool {
    output("ip", &["netns", "exec", &from.0, "busybox", "ping", "-c", "2", "-W", "3", to]).status.success()
}

#[test]
fn an_open_vswitch_of_the_labs_own() {
    let space = Space::unmade();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ovs");
    let place = space.place();
    let nic = |tap: &str, tag| Attachment { tap: tap.into(), vlan: Vlan { tag, trunks: Vec::new() } };
    let request = Request {
        place: place.clone(),
        netns_exists: false,
        backend: Backend::Ovs { datapath: Datapath::Userspace, private_dir: dir.clone(), system_answers: true },
        bridge: "br0".into(),
        bridge_exists: false,
        addresses: vec!["10.9.0.1/24".parse().unwrap()],
        mtu: Some(9000),
        user: None,
        nics: vec![nic("tap0", None), nic("tap1", Some(10))],
    };
    let things = layout(&request).unwrap();
    make_all(&things);
    make_all(&things);
    assert_eq!(processes_of(dir.to_str().unwrap()).len(), 2, "{:?}", processes_of(dir.to_str().unwrap()));
    let vsctl = |args: &[&str]| {
        let db = format!("--db=unix:{}/db.sock", dir.display());
        run("ovs-vsctl", &[&[db.as_str(), "--timeout=30"], args].concat()).trim().to_owned()
    };
    assert_eq!(vsctl(&["list-ports", "br0"]), "tap0\ntap1");
    assert_eq!(vsctl(&["get", "port", "tap1", "tag"]), "10");
    assert_eq!(vsctl(&["get", "bridge", "br0", "datapath_type"]), "netdev");
    assert_eq!(link(&place, "br0").unwrap().unwrap().mtu, 9000);
    assert!(address_of(&place, "br0", &"10.9.0.1/24".parse().unwrap()).unwrap().is_some());

    // VLANs keep hosts apart.
    let hosts = [host(&space, "h1", "10.9.0.11"), host(&space, "h2", "10.9.0.12"), host(&space, "h3", "10.9.0.13")];
    let port = |name: &str, tag| {
        let ovs = Ovs::Private(dir.clone());
        OvsPort {
            place: place.clone(),
            ovs,
            bridge: "br0".into(),
            port: name.into(),
            tag,
            trunks: Vec::new(),
            mtu: None,
        }
    };
    for name in ["h1", "h2", "h3"] {
        port(name, None).make().unwrap();
    }
    assert!(pings(&hosts[0], "10.9.0.12") && pings(&hosts[0], "10.9.0.1"));
    port("h1", Some(10)).make().unwrap();
    port("h3", Some(10)).make().unwrap();
    assert!(!pings(&hosts[0], "10.9.0.12"), "VLAN 10 reaches the untagged");
    assert!(pings(&hosts[0], "10.9.0.13"));
    port("h1", None).make().unwrap();
    assert!(pings(&hosts[0], "10.9.0.12"), "the tag was not taken back");

    // Ports and bridges of others.
    vsctl(&["remove", "port", "h2", "external_ids", "esxprep"]);
    assert!(port("h2", None).make().unwrap_err().is_not_ours());
    assert!(port("h2", None).unmake().unwrap_err().is_not_ours());
    vsctl(&["add-br", "theirs", "--", "set", "bridge", "theirs", "datapath_type=netdev"]);
    let Some(Thing::OvsBridge(ours)) = things.iter().find(|t| matches!(t, Thing::OvsBridge(_))) else { panic!() };
    let mut theirs = ours.clone();
    theirs.name = "theirs".into();
    assert!(theirs.make().unwrap_err().is_not_ours() && theirs.unmake().unwrap_err().is_not_ours());
    let error = port("none", None).make().unwrap_err();
    assert!(matches!(error, NetError::Absent { .. }), "{error}");

    drop(hosts);
    unmake_all(&things);
    unmake_all(&things);
    assert!(!space.exists() && !dir.exists());
    assert_eq!(processes_of(dir.to_str().unwrap()), [""; 0]);
}

#[test]
fn daemons_that_were_killed_are_started_again_and_leave_nothing() {
    let space = Space::new();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ovs");
    let server = OvsServer { place: space.place(), dir: dir.clone() };
    server.make().unwrap();
    let pid = |name: &str| fs::read_to_string(dir.join(format!("{name}.pid"))).unwrap().trim().to_owned();
    let first = (pid("ovsdb-server"), pid("ovs-vswitchd"));
    server.make().unwrap();
    assert_eq!((pid("ovsdb-server"), pid("ovs-vswitchd")), first);
    run("kill", &["-9", &first.1]);
    wait_for("the killed daemon to be gone", || !Path::new(&format!("/proc/{}/exe", first.1)).exists());
    server.make().unwrap();
    assert_eq!(pid("ovsdb-server"), first.0);
    assert_ne!(pid("ovs-vswitchd"), first.1);
    let second = pid("ovs-vswitchd");
    run("kill", &["-9", &first.0, &second]);
    // What is not of the switch stays.
    fs::write(dir.join("notes"), "").unwrap();
    server.unmake().unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>(), ["notes"]);
    fs::remove_file(dir.join("notes")).unwrap();
    server.unmake().unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_kernel_datapath_without_its_module_is_explained() {
    if Path::new("/sys/module/openvswitch").exists() {
        // Then there is nothing to explain: it works, and is tried.
        return;
    }
    let space = Space::new();
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("ovs");
    let place = space.place();
    let server = Thing::OvsServer(OvsServer { place: place.clone(), dir: dir.clone() });
    server.make().unwrap();
    let bridge = esxprep::lab::net::OvsBridge {
        place,
        ovs: Ovs::Private(dir),
        name: "br0".into(),
        datapath: Datapath::Kernel,
        mtu: None,
    };
    let error = bridge.make().unwrap_err();
    assert!(matches!(error, NetError::Ovs { .. }) && error.to_string().contains("modprobe openvswitch"), "{error}");
    bridge.unmake().unwrap();
    server.unmake().unwrap();
}

/// What a killed run does: it makes and unmakes a network in the namespace that the environment names, without end.
/// Started as a test it finds no such name, and has nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Ok(name) = std::env::var("LAB_NET_KILLED") else { return };
    let things = network_in(&name);
    loop {
        make_all(&things);
        unmake_all(&things);
    }
}

fn network_in(name: &str) -> Vec<Thing> {
    let place = Place::netns("demo", name);
    vec![
        Thing::Netns(Netns { lab: "demo".into(), name: name.into() }),
        Thing::Bridge(bridge(&place, "br0")),
        Thing::Address(address(&place, "br0", "10.3.0.1/24")),
        Thing::Tap(tap(&place, "tap0", Some("br0"))),
    ]
}

fn start_to_be_killed(variable: &str, value: &str, test: &str) -> std::process::Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test]).env(variable, value).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
}

#[test]
fn killed_at_any_moment_both_ways_on_are_clean() {
    for n in 0..24u64 {
        let space = Space::unmade();
        let mut child = start_to_be_killed("LAB_NET_KILLED", &space.0, "the_process_that_is_killed");
        std::thread::sleep(std::time::Duration::from_millis(20 + n * 7));
        child.kill().unwrap();
        child.wait().unwrap();
        let things = network_in(&space.0);
        if n % 2 == 0 {
            make_all(&things);
            let links: Vec<_> = links(&space.place()).unwrap().into_iter().map(|l| l.ifname).collect();
            assert_eq!(links, ["lo", "br0", "tap0"]);
        }
        unmake_all(&things);
        assert!(!space.exists());
    }
}

#[test]
fn an_open_vswitch_that_was_killed_while_it_was_made() {
    for n in 0..8u64 {
        let space = Space::new();
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("ovs");
        let value = format!("{} {}", space.0, dir.display());
        let mut child = start_to_be_killed("LAB_OVS_KILLED", &value, "the_process_with_a_switch_that_is_killed");
        std::thread::sleep(std::time::Duration::from_millis(20 + n * 25));
        child.kill().unwrap();
        child.wait().unwrap();
        let server = OvsServer { place: space.place(), dir: dir.clone() };
        if n % 2 == 0 {
            server.make().unwrap();
            assert_eq!(processes_of(dir.to_str().unwrap()).len(), 2);
        }
        server.unmake().unwrap();
        assert!(!dir.exists());
        assert_eq!(processes_of(dir.to_str().unwrap()), [""; 0]);
    }
}

/// As [`the_process_that_is_killed`], for an Open vSwitch.
#[test]
fn the_process_with_a_switch_that_is_killed() {
    let Ok(value) = std::env::var("LAB_OVS_KILLED") else { return };
    let (name, dir) = value.split_once(' ').unwrap();
    let server = OvsServer { place: Place::netns("demo", name), dir: dir.into() };
    loop {
        server.make().unwrap();
        server.unmake().unwrap();
    }
}

#[test]
fn what_bears_a_sign_is_found_without_a_journal() {
    let space = Space::unmade();
    let things = network_in(&space.0);
    make_all(&things);
    space.ip("tuntap add dev theirs mode tap");
    let mut mine: Vec<_> = found().unwrap().into_iter().filter(|f| in_space(&f.thing, &space.0)).collect();
    assert_eq!(mine.iter().filter(|f| f.lab == "demo").count(), 3, "{mine:?}");
    mine.sort_by_key(|f| !matches!(f.thing, Thing::Netns(_)));
    for one in mine.iter().rev() {
        one.thing.unmake().unwrap();
    }
    assert!(!space.exists());
}

fn in_space(thing: &Thing, name: &str) -> bool {
    let json = serde_json::to_string(thing).unwrap();
    json.contains(&format!("\"{name}\""))
}

/// The machine's own Open vSwitch is stood in for by one whose folder is where `ovs-vsctl` looks: that is settled by
/// the environment, so this is a process of its own, in a namespace that it takes for the machine's network.
#[test]
fn the_open_vswitch_of_the_machine() {
    let space = Space::new();
    let home = tempfile::tempdir().unwrap();
    let server = OvsServer { place: space.place(), dir: home.path().join("ovs") };
    server.make().unwrap();
    let out = Command::new("ip")
        .args(["netns", "exec", &space.0])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_has_an_open_vswitch", "--nocapture"])
        .env("OVS_RUNDIR", &server.dir)
        .env("LAB_OVS_SYSTEM", "1")
        .output()
        .unwrap();
    server.unmake().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
    assert!(String::from_utf8_lossy(&said).contains("went through"));
}

/// What [`the_open_vswitch_of_the_machine`] starts.
#[test]
fn the_process_that_has_an_open_vswitch() {
    if std::env::var_os("LAB_OVS_SYSTEM").is_none() {
        return;
    }
    assert!(system_ovs_answers());
    let nic = Attachment { tap: "tap0".into(), vlan: Vlan { tag: None, trunks: vec![10, 20] } };
    let request = Request {
        place: Place::host("demo"),
        netns_exists: false,
        backend: Backend::Ovs { datapath: Datapath::Userspace, private_dir: "/nowhere".into(), system_answers: true },
        bridge: "br0".into(),
        bridge_exists: false,
        addresses: vec!["10.9.0.1/24".parse().unwrap()],
        mtu: None,
        user: None,
        nics: vec![nic],
    };
    let before = run("ip", &["-j", "addr"]);
    let things = layout(&request).unwrap();
    assert!(!things.iter().any(|t| matches!(t, Thing::OvsServer(_))));
    make_all(&things);
    make_all(&things);
    assert_eq!(run("ovs-vsctl", &["get", "port", "tap0", "trunks"]).trim(), "[10, 20]");
    assert!(
        found().unwrap().iter().any(|f| f.lab == "demo" && matches!(&f.thing, Thing::OvsBridge(b) if b.name == "br0"))
    );
    unmake_all(&things);
    unmake_all(&things);
    assert_eq!(run("ovs-vsctl", &["list-br"]), "");
    assert_eq!(run("ip", &["-j", "addr"]), before);
    println!("went through");
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !done() {
        assert!(std::time::Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[path = "lab_net/hub.rs"]
mod hub;

/// Where the hub's tests put their sockets: short, since paths of sockets are limited.
fn short_dir() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::Builder::new().prefix("eph").tempdir_in("/tmp").unwrap();
    let dir = home.path().join("s");
    (home, dir)
}
