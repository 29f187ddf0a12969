//! The machine that the tests run on: what is said must be true of it.

use std::net::TcpListener;
use std::process::Command;

use super::super::hands::RealHands;
use super::*;

/// Counted by grep, which shares no line with the doctor.
fn grep_says(flag: &str) -> bool {
    let output = Command::new("grep")
        .args(["-m1", "-E", &format!("^flags.*[[:space:]]{flag}([[:space:]]|$)"), "/proc/cpuinfo"])
        .output();
    let output = output.expect("these tests need grep");
    assert!(matches!(output.status.code(), Some(0 | 1)), "grep failed: {output:?}");
    output.status.success()
}

#[test]
fn what_is_said_of_virtualisation_is_true_of_this_machine() {
    let machine = gather(Path::new("/"), &Programs::default(), None);
    let report = report(&machine, &Need::default());
    let (vmx, svm) = (grep_says("vmx"), grep_says("svm"));
    let cpu = only(&report.findings, "cpu.virtualisation");
    assert_eq!(cpu.level == Level::Ok, vmx || svm, "{cpu:?}");
    assert_eq!(cpu.why.contains("impossible on this machine"), !(vmx || svm), "{cpu:?}");
    let module = if vmx { "kvm_intel" } else { "kvm_amd" };
    let loaded = Path::new("/sys/module").join(module).is_dir();
    assert_eq!(only(&report.findings, "kvm.module").level == Level::Ok, (vmx || svm) && loaded);
    if !(vmx || svm) || !loaded {
        // Whatever /dev/kvm does.
        assert_eq!((report.accelerator.accel, report.accelerator.esxi), ("tcg", false));
        assert_eq!(only(&report.findings, "kvm.module").level, Level::Error);
    }
}

#[test]
fn a_port_held_by_this_process_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let need = Need { ports: vec![PortNeed { port, purpose: "SSH of h1".to_owned() }], ..Need::default() };
    let findings = examine(&gather(Path::new("/"), &Programs::default(), None), &need);
    let held = only(&findings, "ports.held");
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(
        held.seen,
        format!("port {port} (SSH of h1) on 127.0.0.1 is held by {} (process {})", comm.trim(), std::process::id())
    );
    drop(listener);
    // A child that another test is just starting holds all open files until it becomes its program.
    let free = || {
        let findings = examine(&gather(Path::new("/"), &Programs::default(), None), &need);
        !findings.iter().any(|finding| finding.id == "ports.held")
    };
    assert!((0..50).any(|_| free() || {
        std::thread::sleep(std::time::Duration::from_millis(100));
        false
    }));
}

#[test]
fn sums_and_room_are_those_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let machine = gather(Path::new("/"), &Programs::default(), Some(folder.path()));
    let facts = machine.folder.as_ref().unwrap();
    assert!(facts.exists && facts.empty && facts.writable, "{facts:?}");
    let stat =
        Command::new("stat").args(["-f", "-c", "%b %S"]).arg(folder.path()).output().expect("these tests need stat");
    let text = String::from_utf8(stat.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(facts.space.unwrap().total, numbers[0] * numbers[1]);
    let findings = examine(&machine, &Need::default());
    // `find -printf` asks the kernel's mount table its own way.
    let find = Command::new("find")
        .arg(folder.path())
        .args(["-maxdepth", "0", "-printf", "%F"])
        .output()
        .expect("these tests need find");
    let kind = String::from_utf8(find.stdout).unwrap();
    let disk = findings.iter().find(|f| f.id == "disk.file_system" || f.id == "disk.btrfs_nocow").unwrap();
    assert!(disk.seen.contains(&format!("is on {kind}")), "{kind}: {disk:?}");
}

/// Runs a program that the test cannot do without.
fn must(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|e| panic!("this test needs `{}`: {e}", words[0]));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "`{line}` failed (this test needs root): {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Something that goes away however the test ends.
struct Until(String);

impl Drop for Until {
    fn drop(&mut self) {
        let words: Vec<&str> = self.0.split_whitespace().collect();
        let done = Command::new(words[0]).args(&words[1..]).status();
        if !std::thread::panicking() {
            assert!(done.is_ok_and(|s| s.success()), "`{}` failed", self.0);
        }
    }
}

/// This machine's programs, in a network namespace.
struct Inside(String, Programs);

impl Commands for Inside {
    fn find(&self, program: &str) -> Option<PathBuf> {
        self.1.find(program)
    }

    fn ask(&self, program: &str, arguments: &[&str]) -> Said {
        let mut words = vec!["netns", "exec", &self.0, program];
        words.extend(arguments);
        self.1.ask("ip", &words)
    }
}

#[test]
fn a_real_bridge_and_real_neighbours_are_understood() {
    let name = format!("esxprep-doctor-{}", std::process::id());
    must(&format!("ip netns add {name}"));
    let _gone = Until(format!("ip netns del {name}"));
    for line in [
        "ip link add br0 type bridge stp_state 0",
        "ip link add p0 type veth peer name q0",
        "ip link set p0 master br0 up",
        "ip link set q0 address 52:54:00:aa:bb:01 up",
        "ip link set br0 up",
        "bridge fdb add 52:54:00:aa:bb:02 dev p0 master static",
        "ip addr add 192.168.101.1/24 dev br0",
        "ip neigh add 192.168.101.11 lladdr 52:54:00:12:34:56 dev br0",
        "ip neigh add 192.168.101.12 lladdr 52:54:00:12:34:56 dev br0",
        "ip neigh add 192.168.101.13 lladdr 52:54:00:12:34:57 dev br0",
    ] {
        must(&format!("ip netns exec {name} {line}"));
    }
    let machine = gather(Path::new("/"), &Inside(name, Programs::default()), None);
    let mac = |mac: &str| MacNeed { mac: mac.to_owned(), owner: mac.to_owned() };
    let macs = ["52:54:00:aa:bb:01", "52:54:00:aa:bb:02", "52:54:00:12:34:57", "52:54:00:aa:bb:03"].map(mac).to_vec();
    let findings = examine(&machine, &Need { macs, ..Need::default() });
    none(&findings, "network.not_seen");
    none(&findings, "network.mac_two_ports");
    assert_eq!(
        only(&findings, "network.mac_two_addresses").seen,
        "192.168.101.11 and 192.168.101.12 on br0 all have MAC 52:54:00:12:34:56"
    );
    let taken: Vec<&str> = findings
        .iter()
        .filter(|f| f.id == "network.mac_taken")
        .filter_map(|f| f.seen.split(", wanted").next())
        .collect();
    assert_eq!(taken.len(), 3, "{findings:#?}");
    let seen = |mac: &str| findings.iter().find(|f| f.id == "network.mac_taken" && f.seen.starts_with(mac)).unwrap();
    assert!(seen("52:54:00:aa:bb:01").seen.ends_with("this machine's own q0"));
    assert!(seen("52:54:00:aa:bb:02").seen.ends_with("port p0 of br0"));
    assert!(seen("52:54:00:12:34:57").seen.ends_with("neighbour 192.168.101.13 on br0"));
}

#[test]
fn a_real_btrfs_folder_gets_the_attribute_and_gives_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let (image, point) = (folder.path().join("image"), folder.path().join("mounted"));
    fs::File::create(&image).unwrap().set_len(256 << 20).unwrap();
    fs::create_dir(&point).unwrap();
    must(&format!("mkfs.btrfs -q {}", image.display()));
    must(&format!("mount -o loop {} {}", image.display(), point.display()));
    let _gone = Until(format!("umount {}", point.display()));
    let lab = point.join("lab");
    let look = || examine(&gather(Path::new("/"), &Programs::default(), Some(&lab)), &Need::default());
    let findings = look();
    assert!(only(&findings, "disk.btrfs_nocow").fix.as_ref().unwrap().starts_with("`mkdir -p"), "{findings:#?}");
    fs::create_dir(&lab).unwrap();
    let wanted = fixes(&look());
    let lab_itself = fs::canonicalize(&lab).unwrap();
    let nocow: Vec<Fix> = wanted.into_iter().filter(|f| matches!(f, Fix::NoCow { .. })).collect();
    assert_eq!(nocow, [Fix::NoCow { folder: lab_itself }]);
    let undo_file = folder.path().join("state/undo.json");
    let attributes = || must(&format!("lsattr -d {}", lab.display())).split(' ').next().unwrap().contains('C');
    assert!(!attributes());
    let done = apply(Path::new("/"), &undo_file, &nocow, &mut RealHands::default()).unwrap();
    assert!(matches!(done[0].outcome, Outcome::Done), "{done:?}");
    assert!(attributes());
    assert_eq!(only(&look(), "disk.btrfs_nocow").level, Level::Ok);
    undo(Path::new("/"), &undo_file, &mut RealHands::default()).unwrap();
    assert!(!attributes());
    assert!(!undo_file.exists());
}
