//! Processor, KVM, QEMU's version, programs.

use super::super::parse::QemuVersion;
use super::*;

#[test]
fn intel_that_has_all_is_found_fit() {
    let machine = intel().machine();
    let report = report(&machine, &two_hosts());
    assert_eq!(report.totals.errors, 0, "{report:#?}");
    assert!(report.accelerator.esxi);
    assert_eq!(report.accelerator.accel, "kvm");
    for id in [
        "cpu.virtualisation",
        "cpu.second_level",
        "kvm.module",
        "kvm.device",
        "kvm.nested",
        "kvm.ept",
        "kvm.ignore_msrs",
    ] {
        assert_eq!(only(&report.findings, id).level, Level::Ok, "{id}");
    }
    assert!(fixes(&report.findings).is_empty());
    assert!(human(&report, 100, false).starts_with("Real ESXi can run on this machine, with KVM"));
}

#[test]
fn nested_off_is_reloaded_only_when_no_machine_uses_the_module() {
    let tree = intel();
    tree.module("kvm_intel", 0, &[("nested", "N"), ("ept", "Y")]);
    let findings = examine(&tree.machine(), &two_hosts());
    let nested = only(&findings, "kvm.nested");
    assert_eq!(nested.level, Level::Error);
    let option = |v: &str| Fix::Modprobe { module: "kvm_intel".into(), parameter: "nested".into(), value: v.into() };
    let again = Fix::Reload { module: "kvm_intel".into(), parameter: "nested".into(), value: "1".into() };
    assert_eq!(nested.fixes, [option("1"), again]);
    let accelerator = accelerator(&tree.machine());
    assert_eq!((accelerator.accel, accelerator.esxi), ("kvm", false));

    tree.module("kvm_intel", 3, &[]);
    let findings = examine(&tree.machine(), &two_hosts());
    let nested = only(&findings, "kvm.nested");
    assert_eq!(nested.fixes, [option("1")], "a module in use is not touched");
    assert!(nested.fix.as_ref().unwrap().contains("kvm_intel is in use (3 "), "{nested:?}");
}

#[test]
fn amd_is_judged_by_npt_and_numbers() {
    let tree = Tree::new("AuthenticAMD", "svm npt");
    tree.module("kvm", 1, &[("ignore_msrs", "N")]);
    tree.module("kvm_amd", 0, &[("nested", "1"), ("npt", "0")]);
    tree.put("dev/kvm", "");
    let findings = examine(&tree.machine(), &two_hosts());
    assert_eq!(only(&findings, "kvm.nested").level, Level::Ok);
    let npt = only(&findings, "kvm.npt");
    assert_eq!(npt.level, Level::Warning);
    assert!(npt.seen.contains("kvm_amd.npt = 0, wanted 1"), "{}", npt.seen);
    none(&findings, "kvm.ept");
    let msrs = only(&findings, "kvm.ignore_msrs");
    assert_eq!(msrs.level, Level::Warning);
    let live = Fix::Parameter { module: "kvm".into(), parameter: "ignore_msrs".into(), value: "1".into() };
    let later = Fix::Modprobe { module: "kvm".into(), parameter: "ignore_msrs".into(), value: "1".into() };
    assert_eq!(msrs.fixes, [live, later]);
    // An absent parameter is absent, not wrong.
    let absent = only(&findings, "kvm.report_ignored_msrs");
    assert_eq!(absent.level, Level::Note);
    assert!(absent.seen.contains("absent") && absent.seen.contains("6.1.0-56-amd64"), "{}", absent.seen);
    assert!(absent.fixes.is_empty());
}

/// The processor says nothing of svm, kvm and kvm_pvm are built in, and /dev/kvm opens all the same.
fn pvm() -> Tree {
    let tree = Tree::new("AuthenticAMD", "hypervisor vmmcall");
    for (module, parameter) in [("kvm", "ignore_msrs"), ("kvm_pvm", "force")] {
        tree.put(&format!("sys/module/{module}/parameters/{parameter}"), "N\n");
    }
    tree.put("dev/kvm", "");
    tree
}

#[test]
fn a_dev_kvm_that_opens_proves_nothing() {
    let machine = pvm().machine();
    assert_eq!(machine.dev_kvm, DevKvm::Opens);
    assert_eq!(machine.modules, None);
    let report = report(&machine, &Need::default());
    assert_eq!((report.accelerator.accel, report.accelerator.esxi), ("tcg", false));
    let cpu = only(&report.findings, "cpu.virtualisation");
    assert_eq!(cpu.level, Level::Error);
    assert!(cpu.seen.contains("no `svm`") && cpu.seen.contains("itself virtual"), "{}", cpu.seen);
    assert!(cpu.why.contains("nested virtualisation is impossible on this machine"), "{}", cpu.why);
    assert!(cpu.why.contains("the stand-in guest can, with software emulation"), "{}", cpu.why);
    let module = only(&report.findings, "kvm.module");
    assert_eq!(module.level, Level::Error);
    assert!(module.seen.contains("kvm, kvm_pvm, but neither kvm_intel nor kvm_amd"), "{}", module.seen);
    let device = only(&report.findings, "kvm.device");
    assert_eq!((device.level, device.seen.as_str()), (Level::Note, "/dev/kvm opens, which proves nothing"));
    let parameters = only(&report.findings, "kvm.parameters");
    assert_eq!(
        parameters.seen,
        "kvm.ignore_msrs = N, kvm.report_ignored_msrs is absent, kvm_amd.nested is absent, kvm_amd.npt is absent"
    );
    assert!(fixes(&report.findings).is_empty(), "nothing here can be fixed by writing parameters");
    assert!(human(&report, 100, false).starts_with("Real ESXi cannot run on this machine"));
}

#[test]
fn a_lab_of_stand_in_guests_needs_no_kvm() {
    let mut need = two_hosts();
    for guest in &mut need.guests {
        guest.esxi = None;
    }
    let report = report(&pvm().machine(), &need);
    assert_eq!(report.totals.errors, 0, "{report:#?}");
    assert_eq!(only(&report.findings, "cpu.virtualisation").level, Level::Note);
    // One real host among them, and it is an error again.
    need.guests[1].esxi = Some("6.5".to_owned());
    assert!(super::super::report(&pvm().machine(), &need).failed());
}

#[test]
fn words_of_other_lines_of_cpuinfo_are_no_flags() {
    let machine = Tree::new("GenuineIntel", "").machine();
    assert!(machine.cpuinfo.as_ref().unwrap().contains("vmx_like"));
    assert_eq!(only(&examine(&machine, &two_hosts()), "cpu.virtualisation").level, Level::Error);
}

#[test]
fn a_flag_without_its_module_is_not_enough() {
    let tree = Tree::new("GenuineIntel", "vmx ept");
    tree.put("proc/modules", "kvm 1146880 0 - Live 0x0\n");
    tree.put("sys/module/kvm/initstate", "live\n");
    tree.put("dev/kvm", "");
    let findings = examine(&tree.machine(), &two_hosts());
    let module = only(&findings, "kvm.module");
    assert_eq!(module.level, Level::Error);
    assert!(module.fix.as_ref().unwrap().contains("modprobe kvm_intel"));
    assert_eq!(accelerator(&tree.machine()).accel, "tcg");
    // The wrong maker's module carries nothing.
    tree.module("kvm_amd", 0, &[("nested", "1")]);
    assert_eq!(accelerator(&tree.machine()).accel, "tcg");
}

#[test]
fn a_module_that_only_proc_modules_shows_is_loaded() {
    let tree = Tree::new("GenuineIntel", "vmx ept");
    tree.put("proc/modules", "kvm_intel 380928 0 - Live 0x0\nkvm 1146880 1 kvm_intel, Live 0x0\n");
    tree.put("dev/kvm", "");
    let machine = tree.machine();
    assert_eq!(accelerator(&machine).accel, "kvm");
    let findings = examine(&machine, &two_hosts());
    let nested = only(&findings, "kvm.nested");
    assert_eq!(nested.level, Level::Note, "what cannot be read is not judged");
    assert!(nested.fixes.is_empty());
}

#[test]
fn a_module_built_in_is_told_by_the_command_line() {
    let tree = Tree::new("GenuineIntel", "vmx ept");
    tree.put("sys/module/kvm/parameters/ignore_msrs", "N\n");
    tree.put("sys/module/kvm_intel/parameters/nested", "N\n");
    tree.put("dev/kvm", "");
    let findings = examine(&tree.machine(), &two_hosts());
    let nested = only(&findings, "kvm.nested");
    assert!(nested.fixes.is_empty());
    assert!(nested.fix.as_ref().unwrap().contains("kvm_intel.nested=1 to the kernel's command line"), "{nested:?}");
    assert_eq!(only(&findings, "kvm.ignore_msrs").fixes.len(), 1, "the live value alone");
    tree.put("sys/module/kvm/parameters/ignore_msrs", "Y\n");
    assert_eq!(
        only(&examine(&tree.machine(), &two_hosts()), "kvm.ignore_msrs").level,
        Level::Note,
        "forgotten at boot"
    );
    tree.put("proc/cmdline", "root=/dev/vda kvm.ignore_msrs=1 quiet\n");
    assert_eq!(only(&examine(&tree.machine(), &two_hosts()), "kvm.ignore_msrs").level, Level::Ok);
}

#[test]
fn lines_of_others_are_shown_and_never_changed() {
    let tree = intel();
    tree.module("kvm_intel", 0, &[("nested", "N")]);
    tree.put("etc/modprobe.d/old.conf", "# from 2017\noptions kvm-intel ept=1 \\\n    nested=0\n");
    let findings = examine(&tree.machine(), &two_hosts());
    let nested = only(&findings, "kvm.nested");
    assert!(nested.fixes.is_empty(), "{nested:?}");
    assert!(nested.fix.as_ref().unwrap().contains("/etc/modprobe.d/old.conf says nested=0"), "{nested:?}");
    // Right now, but not after the next load.
    tree.module("kvm_intel", 0, &[("nested", "Y")]);
    let findings = examine(&tree.machine(), &two_hosts());
    assert_eq!(only(&findings, "kvm.nested").level, Level::Warning);
}

#[test]
fn what_nothing_sets_for_later_boots_is_noted() {
    let tree = intel();
    fs::remove_file(tree.path().join("etc/modprobe.d/kvm.conf")).unwrap();
    let findings = examine(&tree.machine(), &two_hosts());
    let msrs = only(&findings, "kvm.ignore_msrs");
    assert_eq!(msrs.level, Level::Note);
    assert_eq!(
        msrs.fixes,
        [Fix::Modprobe { module: "kvm".into(), parameter: "ignore_msrs".into(), value: "1".into() }]
    );
    assert_eq!(only(&findings, "kvm.nested").level, Level::Ok, "that is what kernels do by themselves");
}

#[test]
fn a_device_that_may_not_be_opened_names_the_group() {
    let mut machine = intel().machine();
    machine.group_file = Some("root:x:0:\nkvm:x:108:\n".to_owned());
    machine.groups = vec![1000];
    machine.dev_kvm = DevKvm::Denied { mode: 0o660, gid: 108 };
    let findings = examine(&machine, &two_hosts());
    let device = only(&findings, "kvm.device");
    assert_eq!(device.level, Level::Error);
    assert!(device.fix.as_ref().unwrap().contains("usermod -aG kvm USER"), "{device:?}");
    assert_eq!(accelerator(&machine).accel, "tcg");
    machine.groups.push(108);
    let findings = examine(&machine, &two_hosts());
    assert!(only(&findings, "kvm.device").fix.as_ref().unwrap().contains("is in that group"));
    // Nobody should be told to join group root.
    machine.dev_kvm = DevKvm::Denied { mode: 0o600, gid: 0 };
    let findings = examine(&machine, &two_hosts());
    assert!(!only(&findings, "kvm.device").fix.as_ref().unwrap().contains("usermod"));
}

#[test]
fn hybrid_processors_get_their_boot_option() {
    let tree = intel();
    none(&examine(&tree.machine(), &two_hosts()), "cpu.hybrid");
    tree.put("sys/devices/cpu_core/cpus", "0-11\n");
    none(&examine(&tree.machine(), &two_hosts()), "cpu.hybrid");
    tree.put("sys/devices/cpu_atom/cpus", "12-19\n");
    let findings = examine(&tree.machine(), &two_hosts());
    let hybrid = only(&findings, "cpu.hybrid");
    assert!(hybrid.seen.contains("performance 0-11, efficiency 12-19"), "{}", hybrid.seen);
    assert!(hybrid.fix.as_ref().unwrap().contains("cpuUniformityHardCheckPanic=FALSE"));
}

#[test]
fn ept_is_found_in_either_line() {
    let tree = intel();
    let text = fs::read_to_string(tree.path().join("proc/cpuinfo")).unwrap().replace(" ept", "");
    tree.put("proc/cpuinfo", &text);
    assert_eq!(only(&examine(&tree.machine(), &two_hosts()), "cpu.second_level").level, Level::Warning);
    tree.put("proc/cpuinfo", &text.replace("bugs", "vmx flags\t: vnmi ept vpid\nbugs"));
    assert_eq!(only(&examine(&tree.machine(), &two_hosts()), "cpu.second_level").level, Level::Ok);
}

#[test]
fn versions_are_numbers() {
    let parse = |text: &str| QemuVersion::parse(text).map(|v| (v.major, v.minor, v.micro));
    assert_eq!(
        parse("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright"),
        Some((10, 0, 2))
    );
    assert_eq!(parse("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"), Some((7, 2, 22)));
    assert_eq!(parse("QEMU emulator version 9.0.50 (v9.0.0-1234-gdeadbeef)"), Some((9, 0, 50)));
    assert_eq!(parse("QEMU emulator version 10.1.0-rc2"), Some((10, 1, 0)));
    assert_eq!(parse("QEMU emulator version 8.2"), Some((8, 2, 0)));
    assert_eq!(parse("qemu: command not found"), None);
    assert_eq!(parse("QEMU emulator version next"), None);
    let version = |text: &str| QemuVersion::parse(&format!("version {text}")).unwrap();
    assert!(version("10.0.0") > version("8.1.0"), "10 is later than 8");
    assert!(version("7.10.0") > version("7.2.0"));
    assert!(version("10.1.0").at_least((6, 0)));
}

#[test]
fn each_version_has_its_own_traps() {
    let mut need = two_hosts();
    need.vmxnet3 = true;
    need.networks = vec![NetworkKind::Sockets];
    let at = |version: &str, need: &Need| {
        let mut tree = intel();
        tree.says("qemu-system-x86_64 --version", &format!("QEMU emulator version {version}\n"));
        let findings = examine(&tree.machine(), need);
        let mut ids: Vec<(String, Level)> =
            findings.into_iter().filter(|f| f.area == Area::Qemu).map(|f| (f.id, f.level)).collect();
        ids.sort();
        ids
    };
    let expect = |list: &[(&str, Level)]| list.iter().map(|(id, level)| ((*id).to_owned(), *level)).collect::<Vec<_>>();
    let frames = ("qemu.vmxnet3_short_frames", Level::Warning);
    assert_eq!(
        at("7.0.0", &need),
        expect(&[
            ("qemu.dgram", Level::Error),
            ("qemu.screenshot", Level::Note),
            ("qemu.version", Level::Error),
            ("qemu.vmxnet3_mtu", Level::Warning)
        ])
    );
    assert_eq!(at("7.2.22", &need), expect(&[("qemu.version", Level::Ok)]));
    assert_eq!(at("8.0.5", &need), expect(&[("qemu.version", Level::Ok)]));
    assert_eq!(at("8.1.0", &need), expect(&[("qemu.version", Level::Ok), frames]));
    assert_eq!(at("10.0.2", &need), expect(&[("qemu.version", Level::Ok), frames]));
    assert_eq!(at("10.1.0", &need), expect(&[("qemu.version", Level::Note), frames]));
    // A lab without a vmxnet3 is not told of its trap.
    need.vmxnet3 = false;
    assert_eq!(at("10.0.2", &need), expect(&[("qemu.version", Level::Ok)]));
    need.qemu_at_least = Some((10, 1));
    assert_eq!(at("10.0.2", &need), expect(&[("qemu.version", Level::Error)]));
    need.qemu_at_least = Some((9, 2));
    assert_eq!(at("10.0.2", &need), expect(&[("qemu.version", Level::Ok)]));
}

#[test]
fn a_qemu_without_kvm_carries_no_esxi() {
    let mut tree = intel();
    tree.says("qemu-system-x86_64 -accel help", "Accelerators supported in QEMU binary:\ntcg\n");
    let report = report(&tree.machine(), &two_hosts());
    assert_eq!(report.accelerator.accel, "tcg");
    assert_eq!(only(&report.findings, "qemu.accelerators").level, Level::Error);
}

#[test]
fn missing_programs_come_with_their_package() {
    let mut tree = intel();
    tree.programs.0.retain(|line, _| !line.starts_with("qemu-img") && !line.starts_with("bridge"));
    let mut need = two_hosts();
    need.builds_iso = true;
    let missing = |need: &Need, tree: &Tree| -> Vec<(String, Level, String)> {
        let findings = examine(&tree.machine(), need).into_iter().filter(|f| f.id == "tools.missing");
        findings.map(|f| (f.seen, f.level, f.fix.unwrap())).collect()
    };
    let line = |program: &str, fix: &str| (format!("{program} is not installed"), Level::Error, fix.to_owned());
    assert_eq!(
        missing(&need, &tree),
        [line("qemu-img", "`apt install qemu-utils`"), line("xorriso", "`apt install xorriso`")]
    );
    tree.put("etc/os-release", "NAME=\"Rocky Linux\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n");
    need.builds_iso = false;
    need.networks = vec![NetworkKind::Bridge];
    assert_eq!(
        missing(&need, &tree),
        [line("qemu-img", "`dnf install qemu-img`"), line("bridge", "`dnf install iproute`")]
    );
    tree.put("etc/os-release", "ID=arch\n");
    need.networks.clear();
    need.builds_iso = true;
    assert_eq!(missing(&need, &tree)[1], line("xorriso", "`pacman -S libisoburn`"));
    tree.put("etc/os-release", "ID=other\n");
    assert!(missing(&need, &tree)[0].2.contains("qemu-utils (Debian)"));
}

#[test]
fn json_has_the_promised_keys() {
    let report = report(&pvm().machine(), &two_hosts());
    let value: serde_json::Value = serde_json::from_str(&json(&report).unwrap()).unwrap();
    assert_eq!(value["accelerator"]["accel"], "tcg");
    assert_eq!(value["accelerator"]["esxi"], false);
    assert_eq!(value["totals"]["errors"], report.totals.errors);
    let findings = value["findings"].as_array().unwrap();
    let nested = findings.iter().find(|f| f["id"] == "cpu.virtualisation").unwrap();
    assert_eq!(
        (&nested["area"], &nested["level"], &nested["confidence"]),
        (&"processor".into(), &"error".into(), &"high".into())
    );
    let tree = intel();
    tree.put("sys/module/kvm/parameters/ignore_msrs", "N\n");
    let value = serde_json::to_value(examine(&tree.machine(), &two_hosts())).unwrap();
    let msrs = value.as_array().unwrap().iter().find(|f| f["id"] == "kvm.ignore_msrs").unwrap();
    assert_eq!(
        msrs["fixes"][0],
        serde_json::json!({"do": "parameter", "module": "kvm", "parameter": "ignore_msrs", "value": "1"})
    );
}

#[test]
fn the_text_has_words_for_levels_and_stays_in_its_width() {
    let mut machine = pvm().machine();
    // What a file says must not move a cursor.
    machine.cpuinfo = machine.cpuinfo.map(|t| t.replace("Test CPU", "Test\u{1b}[31m CPU"));
    let report = report(&machine, &two_hosts());
    let text = human(&report, 80, true);
    assert!(!text.contains('\u{1b}'));
    for word in
        ["\nProcessor\n", "  ERROR  ", "  note   ", "  ok     ", "why: ", "do: ", "known from: ", "confidence: high"]
    {
        assert!(text.contains(word), "{word:?} in\n{text}");
    }
    let total = format!("{} errors", report.totals.errors);
    assert!(text.contains(&total), "{text}");
    for line in text.lines() {
        assert!(line.chars().count() <= 80 || line.split_whitespace().count() <= 2, "{line}");
    }
    assert!(!human(&report, 80, false).contains("known from"));
}
