//! Sums, file systems, MACs and ports.

use std::os::unix::fs::symlink;

use super::*;

const GIB: u64 = 1 << 30;

#[test]
fn the_memory_sum_is_shown_and_judged() {
    let tree = intel();
    let at = |mib: u64| {
        let mut need = two_hosts();
        need.guests[0].memory_mib = mib;
        need.guests[1].memory_mib = 1000;
        only(&examine(&tree.machine(), &need), "budget.memory").clone()
    };
    let fits = at(2048);
    assert_eq!(fits.level, Level::Ok);
    assert_eq!(
        fits.seen,
        "h1 2048 + h2 1000 + 2 x 100 for QEMU = 3248 MiB wanted; 6144 MiB of 8192 are available, there is no swap"
    );
    // 90 % of 6144 is 5526 when tenths are whole.
    assert_eq!(at(5526 - 1200).level, Level::Ok);
    assert_eq!(at(5527 - 1200).level, Level::Warning);
    assert_eq!(at(6144 - 1200).level, Level::Warning);
    let much = at(6145 - 1200);
    assert_eq!(much.level, Level::Error);
    assert!(much.why.starts_with("1 MiB too much"), "{}", much.why);
    tree.put("proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\nSwapFree: 1048576 kB\n");
    let swaps = at(6145 - 1200);
    assert_eq!(swaps.level, Level::Warning);
    assert!(swaps.seen.ends_with("1024 MiB of swap are free") && swaps.why.contains("swapped"), "{swaps:?}");
    assert_eq!(at(u64::MAX).level, Level::Error, "sums do not wrap around");
}

#[test]
fn huge_pages_are_counted_apart() {
    let tree = intel();
    none(&examine(&tree.machine(), &two_hosts()), "budget.hugepages");
    tree.put(
        "proc/meminfo",
        "MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\nHugePages_Total: 512\nHugepagesize: 2048 kB\n",
    );
    let findings = examine(&tree.machine(), &two_hosts());
    assert!(only(&findings, "budget.hugepages").seen.starts_with("1024 MiB"));
}

#[test]
fn cpus_are_compared_with_those_there() {
    let tree = intel();
    let mut need = two_hosts();
    let findings = examine(&tree.machine(), &need);
    assert_eq!(only(&findings, "budget.cpus").seen, "h1 2 + h2 2 = 4 virtual CPUs on 4 (1.0 each)");
    assert_eq!(only(&findings, "budget.cpus").level, Level::Ok);
    need.guests[0].vcpus = 6;
    let findings = examine(&tree.machine(), &need);
    assert_eq!(only(&findings, "budget.cpus").level, Level::Note);
    assert_eq!(only(&findings, "budget.guest_cpus").seen, "h1 has 6 CPUs, this machine 4");
    need.guests = (0..9).map(|n| GuestNeed { name: format!("h{n}"), ..need.guests[1].clone() }).collect();
    let findings = examine(&tree.machine(), &need);
    let cpus = only(&findings, "budget.cpus");
    assert_eq!(cpus.level, Level::Warning);
    assert!(cpus.seen.contains("h5 2 + 3 more 6 = 18 virtual CPUs"), "{}", cpus.seen);
}

#[test]
fn disk_sums_are_shown_now_and_at_worst() {
    let mut machine = intel().machine();
    let folder = machine.folder.as_mut().unwrap();
    folder.space = Some(Space { available: 100 * GIB, total: 200 * GIB });
    folder.existing = "/srv".into();
    folder.writable = true;
    let disk = |name: &str, now, worst| DiskNeed { name: name.to_owned(), now, worst };
    let mut need = two_hosts();
    need.disks = vec![disk("h1 boot", 2 * GIB, 40 * GIB), disk("h1 data", 0, 60 * GIB)];
    let findings = examine(&machine, &need);
    let (room, growth) = (only(&findings, "disk.room"), only(&findings, "disk.growth"));
    assert_eq!(room.seen, "h1 boot 2 GiB + h1 data 0 B = 2 GiB at once; 100 GiB of 200 GiB are free on /srv");
    assert_eq!((room.level, growth.level), (Level::Ok, Level::Ok), "what just fits, fits");
    need.disks[1].worst += 1;
    let findings = examine(&machine, &need);
    assert_eq!(only(&findings, "disk.growth").level, Level::Warning);
    assert!(only(&findings, "disk.growth").why.starts_with("1 B more than there is"));
    need.disks[0].now = 101 * GIB;
    let findings = examine(&machine, &need);
    assert_eq!(only(&findings, "disk.room").level, Level::Error);
    assert!(
        only(&findings, "disk.growth").seen.starts_with("h1 boot 101 GiB"),
        "no disk is worst below what it is now"
    );
}

/// What is said of `/srv/lab` when these are mounted.
fn on(mounts: &str, change: impl FnOnce(&mut FolderFacts)) -> Finding {
    let mut machine = intel().machine();
    machine.mountinfo = Some(format!("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n{mounts}"));
    let folder = machine.folder.as_mut().unwrap();
    folder.writable = true;
    folder.existing = "/srv/lab".into();
    folder.exists = true;
    folder.empty = true;
    change(folder);
    let findings = examine(&machine, &two_hosts());
    let found: Vec<&Finding> =
        findings.iter().filter(|f| matches!(f.id.as_str(), "disk.file_system" | "disk.btrfs_nocow")).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

#[test]
fn btrfs_is_advised_by_the_folder() {
    let btrfs = "30 27 0:31 /@srv /srv rw,noatime shared:5 - btrfs /dev/vdb rw,space_cache\n";
    let empty = on(btrfs, |f| f.nocow = Some(false));
    assert_eq!(empty.level, Level::Note);
    assert_eq!(empty.fixes, [Fix::NoCow { folder: "/srv/lab".into() }]);
    let full = on(btrfs, |f| {
        f.nocow = Some(false);
        f.empty = false;
    });
    assert!(full.fixes.is_empty() && full.fix.unwrap().contains("not empty"));
    let absent = on(btrfs, |f| {
        f.nocow = Some(false);
        f.exists = false;
        f.empty = false;
        f.existing = "/srv".into();
    });
    assert_eq!(absent.fix.unwrap(), "`mkdir -p /srv/lab && chattr +C /srv/lab` before the lab's first disk is made");
    assert_eq!(on(btrfs, |f| f.nocow = Some(true)).level, Level::Ok);
    let whole = "30 27 0:31 / /srv rw - btrfs /dev/vdb rw,nodatacow\n";
    assert_eq!(on(whole, |f| f.nocow = Some(false)).level, Level::Ok);
    // A mount beside the folder is not below it, and a later one hides an earlier.
    assert!(on("30 27 0:31 / /srv/labs rw - btrfs /dev/vdb rw\n", |_| {}).seen.contains("ext4"));
    let hidden = format!("{btrfs}31 27 0:32 / /srv rw - tmpfs tmpfs rw\n");
    assert!(on(&hidden, |_| {}).seen.contains("tmpfs"));
}

#[test]
fn other_file_systems_are_named_with_what_they_can_do() {
    assert_eq!(on("", |_| {}).level, Level::Ok);
    let tmpfs = on("30 27 0:31 / /srv/lab rw - tmpfs tmpfs rw\n", |_| {});
    assert_eq!(tmpfs.level, Level::Warning);
    assert!(tmpfs.why.contains("memory"));
    let xfs = "30 27 8:1 / /srv rw - xfs /dev/sda1 rw\n";
    let with = |text: &str| on(xfs, |f| f.xfs_info = Said::Text(text.to_owned()));
    assert!(with("meta-data=/dev/sda1 crc=1 reflink=1 bigtime=1").seen.contains("with reflinks"));
    assert!(with("meta-data=/dev/sda1 crc=1 reflink=0").seen.contains("without reflinks"));
    assert!(on(xfs, |f| f.xfs_info = Said::Missing).seen.contains("not known"));
    assert!(on("30 27 8:1 / /srv rw - bcachefs /dev/sda1 rw\n", |_| {}).why.contains("nothing is known"));
    let space = on("30 27 8:1 / /srv\\040x rw - tmpfs t rw\n", |f| f.existing = "/srv x/lab".into());
    assert!(space.seen.contains("tmpfs"), "{}", space.seen);
}

#[test]
fn a_folder_that_cannot_be_written_is_an_error() {
    let mut machine = intel().machine();
    machine.folder.as_mut().unwrap().writable = true;
    none(&examine(&machine, &two_hosts()), "disk.writable");
    machine.mountinfo = Some("27 1 254:0 / / ro,relatime - ext4 /dev/vda rw\n".to_owned());
    assert!(only(&examine(&machine, &two_hosts()), "disk.writable").why.contains("read-only"));
    machine.mountinfo = None;
    machine.folder.as_mut().unwrap().writable = false;
    assert_eq!(only(&examine(&machine, &two_hosts()), "disk.writable").level, Level::Error);
}

fn wanting(ports: &[u16]) -> Need {
    let port = |port: &u16| PortNeed { port: *port, purpose: "SSH of h1".to_owned() };
    Need { ports: ports.iter().map(port).collect(), ..two_hosts() }
}

#[test]
fn who_holds_a_port_is_named() {
    let tree = intel();
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    tree.put(
        "proc/net/tcp",
        &format!(
            "{head}   0: 0100007F:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0\n   \
             1: 0501A8C0:08AF 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0 100 0 0 10 0\n   \
             2: 0100007F:08B0 0100007F:1000 01 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0\n"
        ),
    );
    tree.put(
        "proc/net/tcp6",
        &format!(
            "{head}   0: 00000000000000000000000000000000:08B1 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  33 0 4714 1 0 100 0 0 10 0\n   \
             1: 00000000000000000000000001000000:08B2 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  33 0 4715 1 0 100 0 0 10 0\n"
        ),
    );
    tree.put("proc/321/comm", "qemu-system-x86\n");
    fs::create_dir_all(tree.path().join("proc/321/fd")).unwrap();
    symlink("socket:[4711]", tree.path().join("proc/321/fd/12")).unwrap();
    symlink("/dev/null", tree.path().join("proc/321/fd/0")).unwrap();
    let machine = tree.machine();
    let seen = |port: u16| {
        let findings = examine(&machine, &wanting(&[port]));
        let found = findings.into_iter().find(|f| f.area == Area::Ports).unwrap();
        (found.id.clone(), found.seen)
    };
    assert_eq!(
        seen(2222),
        (
            "ports.held".to_owned(),
            "port 2222 (SSH of h1) on 127.0.0.1 is held by qemu-system-x86 (process 321)".to_owned()
        )
    );
    let (id, text) = seen(2223);
    assert!(id == "ports.held_elsewhere" && text.contains("192.168.1.5") && text.contains("user 1000"), "{text}");
    assert_eq!(seen(2224).0, "ports.free", "a connection is no listener");
    let (id, text) = seen(2225);
    assert!(id == "ports.held" && text.contains("on :: is held by a process of user 33"), "{text}");
    assert_eq!(seen(2226).0, "ports.held_elsewhere", "::1 is another address");
    let findings = examine(&machine, &wanting(&[2300, 2300]));
    assert_eq!(only(&findings, "ports.wanted_twice").level, Level::Error);
}

#[test]
fn ports_below_the_limit_take_a_capability() {
    let mut machine = intel().machine();
    machine.tcp = Some(String::new());
    machine.uid = 1000;
    machine.self_status = Some("CapEff:\t0000000000000000\n".to_owned());
    let level = |machine: &Machine, port| {
        let findings = examine(machine, &wanting(&[port]));
        findings.iter().find(|f| f.area == Area::Ports).unwrap().id.clone()
    };
    assert_eq!(level(&machine, 443), "ports.privileged");
    assert_eq!(level(&machine, 1024), "ports.free");
    machine.unprivileged_ports = Some("80\n".to_owned());
    assert_eq!(level(&machine, 443), "ports.free");
    machine.unprivileged_ports = Some("1024\n".to_owned());
    machine.self_status = Some("CapEff:\t0000000000000400\n".to_owned());
    assert_eq!(level(&machine, 443), "ports.free");
}

#[test]
fn networks_say_what_takes_root() {
    let mut machine = intel().machine();
    machine.self_status = Some("CapEff:\t0000000000000000\n".to_owned());
    machine.tun = true;
    let with = |machine: &Machine, networks: &[NetworkKind]| {
        examine(machine, &Need { networks: networks.to_vec(), ..two_hosts() })
    };
    let findings = with(&machine, &[NetworkKind::User, NetworkKind::Sockets]);
    assert_eq!(only(&findings, "network.rights").level, Level::Ok);
    let findings = with(&machine, &[NetworkKind::User, NetworkKind::Bridge]);
    assert_eq!(only(&findings, "network.rights").level, Level::Error);
    machine.self_status = Some("CapEff:\t0000000000001000\n".to_owned());
    let findings = with(&machine, &[NetworkKind::Ovs]);
    assert_eq!(only(&findings, "network.rights").level, Level::Ok);
    assert_eq!(only(&findings, "network.ovs_datapath").level, Level::Note);
    none(&findings, "network.tun");
    machine.tun = false;
    assert_eq!(only(&with(&machine, &[NetworkKind::Bridge]), "network.tun").level, Level::Error);
}

const A: &str = "52:54:00:12:34:56";

#[test]
fn equal_macs_are_seen_on_bridges_and_among_neighbours() {
    let mut tree = intel();
    assert_eq!(only(&examine(&tree.machine(), &two_hosts()), "network.macs").level, Level::Ok);
    // Learned on one port, and another port's own; group addresses and a bridge's own entry mean nothing.
    tree.says(
        "bridge -j fdb",
        &format!(
            r#"[{{"mac":"{A}","ifname":"tap0","master":"br0","state":""}},
                {{"mac":"{A}","ifname":"tap1","master":"br0","state":"permanent"}},
                {{"mac":"33:33:00:00:00:01","ifname":"tap0","master":"br0","state":"permanent"}},
                {{"mac":"33:33:00:00:00:01","ifname":"tap1","master":"br0","state":"permanent"}},
                {{"mac":"52:54:00:00:00:07","ifname":"tap1","master":"br0","state":""}},
                {{"mac":"52:54:00:00:00:07","ifname":"br0","master":"br0","state":"permanent"}},
                {{"mac":"52:54:00:00:00:08","ifname":"tap1","master":"br0","vlan":10}},
                {{"mac":"52:54:00:00:00:08","ifname":"tap2","master":"br0","vlan":20}},
                {{"mac":"52:54:00:00:00:09","ifname":"tap1","master":"br0"}},
                {{"mac":"52:54:00:00:00:09","ifname":"tap9","master":"br1"}}]"#
        ),
    );
    tree.says(
        "ip -j neigh",
        &format!(
            r#"[{{"dst":"192.168.101.11","dev":"br0","lladdr":"{A}","state":["REACHABLE"]}},
                {{"dst":"192.168.101.12","dev":"br0","lladdr":"{A}","state":["STALE"]}},
                {{"dst":"fe80::1","dev":"eth0","lladdr":"52:54:00:00:00:0a","state":["STALE"]}},
                {{"dst":"10.0.0.1","dev":"eth0","lladdr":"52:54:00:00:00:0a","state":["STALE"]}},
                {{"dst":"10.0.0.9","dev":"eth0","lladdr":"52:54:00:00:00:0a","state":["FAILED"]}},
                {{"dst":"10.0.0.2","dev":"eth0","state":["INCOMPLETE"]}}]"#
        ),
    );
    let findings = examine(&tree.machine(), &two_hosts());
    none(&findings, "network.macs");
    let ports: Vec<&Finding> = findings.iter().filter(|f| f.id == "network.mac_two_ports").collect();
    assert_eq!(ports.len(), 2, "{ports:#?}");
    assert_eq!(
        (ports[0].level, ports[0].seen.as_str()),
        (Level::Warning, "bridge br0 has 52:54:00:12:34:56 on ports tap0 and tap1")
    );
    assert_eq!(ports[1].level, Level::Note);
    assert!(ports[1].seen.ends_with("in different VLANs"), "{}", ports[1].seen);
    let addresses = only(&findings, "network.mac_two_addresses");
    assert_eq!(addresses.seen, "192.168.101.11 and 192.168.101.12 on br0 all have MAC 52:54:00:12:34:56");
    assert!(addresses.fix.as_ref().unwrap().contains("remove vmk0"));
}

#[test]
fn a_mac_that_moves_between_two_looks_is_two_machines() {
    let look =
        |port: &str| Said::Text(format!(r#"[{{"mac":"{A}","ifname":"{port}","flags":[],"master":"br0","state":""}}]"#));
    let mut machine = intel().machine();
    assert!(machine.fdb_later.is_empty(), "nothing was learned, so there is nothing to look at twice");
    (machine.fdb, machine.fdb_later) = (look("tap0"), vec![look("tap0")]);
    none(&examine(&machine, &two_hosts()), "network.mac_two_ports");
    machine.fdb_later.push(look("tap1"));
    let findings = examine(&machine, &two_hosts());
    let moved = only(&findings, "network.mac_two_ports");
    assert_eq!(
        (moved.level, moved.seen.as_str()),
        (Level::Warning, "bridge br0 has 52:54:00:12:34:56 on ports tap0 and tap1")
    );
}

#[test]
fn wanted_macs_are_compared_with_each_other_and_with_those_there() {
    let mut tree = intel();
    tree.says("ip -j link", r#"[{"ifname":"eth0","address":"52:54:00:00:00:01"},{"ifname":"ppp0"}]"#);
    tree.says("ip -j neigh", r#"[{"dst":"10.0.0.1","dev":"eth0","lladdr":"52:54:00:00:00:02","state":["STALE"]}]"#);
    let need = |macs: &[&str]| {
        let mac = |(n, mac): (usize, &&str)| MacNeed { mac: (*mac).to_owned(), owner: format!("h{n} vmnic0") };
        Need { macs: macs.iter().enumerate().map(mac).collect(), ..two_hosts() }
    };
    let machine = tree.machine();
    let findings = examine(&machine, &need(&["52:54:00:00:00:0F", "52-54-00-00-00-0f"]));
    assert_eq!(
        only(&findings, "network.mac_wanted_twice").seen,
        "52:54:00:00:00:0f is wanted by h0 vmnic0 and h1 vmnic0"
    );
    let findings = examine(&machine, &need(&["52:54:00:00:00:01"]));
    let taken = only(&findings, "network.mac_taken");
    assert_eq!(taken.level, Level::Error);
    assert!(taken.seen.ends_with("this machine's own eth0"), "{}", taken.seen);
    let findings = examine(&machine, &need(&["52:54:00:00:00:02"]));
    let taken = only(&findings, "network.mac_taken");
    assert_eq!(taken.level, Level::Warning);
    assert!(taken.seen.ends_with("neighbour 10.0.0.1 on eth0"), "{}", taken.seen);
    assert_eq!(only(&examine(&machine, &need(&["53:54:00:00:00:01"])), "network.mac_multicast").level, Level::Error);
    assert_eq!(only(&examine(&machine, &need(&["52:54:00"])), "network.mac_form").level, Level::Error);
    let findings = examine(&machine, &need(&["52:54:00:00:00:03", "52:54:00:00:00:04"]));
    assert!(only(&findings, "network.macs").seen.ends_with("none of the 2 wanted is in use"));
}

#[test]
fn what_cannot_be_listed_is_said() {
    let mut tree = intel();
    tree.says("ip -j neigh", "Object \"neigh\" is unknown");
    tree.programs.0.remove("bridge -j fdb");
    let findings = examine(&tree.machine(), &two_hosts());
    let seen: Vec<&str> = findings.iter().filter(|f| f.id == "network.not_seen").map(|f| f.seen.as_str()).collect();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen[0].contains("`bridge -j fdb` is not installed") && seen[1].contains("not understood"), "{seen:?}");
    none(&findings, "network.macs");
}
