//! The machine that the tests run on: what is said must be true of it.

use std::net::TcpListener;
use std::process::Command;

use super::*;

/// Counted by grep, which shares no line with the doctor.
fn grep_says(flag: &str) -> bool {
    let output = Command::new("grep").args(["-m1", "-E", &format!("^flags.*[[:space:]]{flag}([[:space:]]|$)"), "/proc/cpuinfo"]).output();
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
    let findings = examine(&gather(Path::new("/"), &Programs::default(), None), &need);
    none(&findings, "ports.held");
}

#[test]
fn sums_and_room_are_those_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let machine = gather(Path::new("/"), &Programs::default(), Some(folder.path()));
    let facts = machine.folder.as_ref().unwrap();
    assert!(facts.exists && facts.empty && facts.writable, "{facts:?}");
    let stat = Command::new("stat").args(["-f", "-c", "%b %S"]).arg(folder.path()).output().expect("these tests need stat");
    let text = String::from_utf8(stat.stdout).unwrap();
    let numbers: Vec<u64> = text.split_whitespace().map(|n| n.parse().unwrap()).collect();
    assert_eq!(facts.space.unwrap().total, numbers[0] * numbers[1]);
    let findings = examine(&machine, &Need::default());
    // `find -printf` asks the kernel's mount table its own way.
    let find = Command::new("find").arg(folder.path()).args(["-maxdepth", "0", "-printf", "%F"]).output().expect("these tests need find");
    let kind = String::from_utf8(find.stdout).unwrap();
    let disk = findings.iter().find(|f| f.id == "disk.file_system" || f.id == "disk.btrfs_nocow").unwrap();
    assert!(disk.seen.contains(&format!("is on {kind}")), "{kind}: {disk:?}");
}
