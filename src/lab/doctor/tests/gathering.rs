//! Facts are taken as they are.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn an_empty_root_gives_no_facts_and_no_panic() {
    let root = tempfile::tempdir().unwrap();
    let machine = gather(root.path(), &Answers::default(), Some(Path::new("/srv/lab")));
    assert_eq!(machine.cpuinfo, None);
    assert_eq!(machine.dev_kvm, DevKvm::Absent);
    assert_eq!(machine.qemu_version, Said::Missing);
    let report = report(&machine, &two_hosts());
    assert_eq!(report.accelerator.accel, "tcg");
    assert_eq!(only(&report.findings, "cpu.virtualisation").seen, "/proc/cpuinfo cannot be read");
    assert_eq!(only(&report.findings, "budget.memory").level, Level::Warning);
    assert!(!human(&report, 100, true).is_empty());
}

#[test]
fn modules_show_whether_they_are_part_of_the_kernel() {
    let tree = intel();
    tree.put("sys/module/kvm_pvm/parameters/force", "N\n");
    tree.put("sys/module/kvmgt/initstate", "live\n");
    let machine = tree.machine();
    let names: Vec<(&str, bool)> = machine.kvm_modules.iter().map(|(name, m)| (name.as_str(), m.built_in())).collect();
    assert_eq!(names, [("kvm", false), ("kvm_intel", false), ("kvm_pvm", true)]);
    assert_eq!(machine.kvm_modules["kvm_intel"].parameters["nested"].as_deref(), Some("Y"));
    assert_eq!(machine.kvm_modules["kvm_intel"].refcnt.as_deref(), Some("0\n"));
}

#[test]
fn files_of_modprobe_come_in_its_order() {
    let tree = intel();
    tree.put("usr/lib/modprobe.d/kvm.conf", "options kvm ignore_msrs=0\n");
    tree.put("usr/lib/modprobe.d/aaa.conf", "# first\n");
    tree.put("etc/modprobe.d/notes.txt", "options kvm ignore_msrs=0\n");
    let machine = tree.machine();
    let files: Vec<&str> = machine.modprobe_d.iter().filter_map(|(path, _)| path.to_str()).collect();
    assert_eq!(files, ["/usr/lib/modprobe.d/aaa.conf", "/etc/modprobe.d/kvm.conf"], "one in /etc hides its namesake");
}

#[test]
fn the_folder_is_looked_at_through_its_nearest_parent() {
    let tree = intel();
    let folder = |tree: &Tree| tree.machine().folder.unwrap();
    assert_eq!(folder(&tree).existing, Path::new("/"));
    tree.put("srv/other", "");
    let facts = folder(&tree);
    assert_eq!((facts.existing.as_path(), facts.exists, facts.empty), (Path::new("/srv"), false, false));
    assert!(facts.space.unwrap().total > 0);
    fs::create_dir(tree.path().join("srv/lab")).unwrap();
    let facts = folder(&tree);
    assert_eq!((facts.existing.as_path(), facts.exists, facts.empty), (Path::new("/srv/lab"), true, true));
    tree.put("srv/lab/file", "");
    assert!(!folder(&tree).empty);
}

#[test]
fn sockets_shared_by_processes_have_all_their_holders() {
    let tree = intel();
    let line = "   0: 0100007F:08AE 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0\n";
    tree.put("proc/net/tcp", line);
    for (pid, name) in [(7, "nginx"), (12, "nginx")] {
        tree.put(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        let fds = tree.path().join(format!("proc/{pid}/fd"));
        fs::create_dir_all(&fds).unwrap();
        for fd in ["3", "4"] {
            symlink("socket:[4711]", fds.join(fd)).unwrap();
        }
        symlink("socket:[9999]", fds.join("5")).unwrap();
    }
    let machine = tree.machine();
    assert_eq!(machine.sockets.len(), 1, "sockets that do not listen are not looked up");
    let pids: Vec<u32> = machine.sockets[&4711].iter().map(|h| h.pid).collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.contains(&7) && pids.contains(&12));
}

#[test]
fn programs_that_fail_or_hang_are_told_apart() {
    let programs = Programs::default();
    assert_eq!(programs.ask("sh", &["-c", "echo hello"]), Said::Text("hello\n".to_owned()));
    assert_eq!(programs.ask("sh", &["-c", "echo why >&2; exit 3"]), Said::Failed("exit status: 3: why".to_owned()));
    assert_eq!(programs.ask("no-such-program-of-esxprep", &[]), Said::Missing);
    let hasty = Programs::with_patience(std::time::Duration::from_millis(50));
    assert!(matches!(hasty.ask("sleep", &["60"]), Said::Failed(why) if why.starts_with("no answer")));
}
