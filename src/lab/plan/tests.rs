//! What a plan must and must not be: every trap that is known of ESXi under QEMU, as a lab that asks for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::lab::qemu::QemuVersion;
use crate::lab::spec::{Bus, Delivery, Firmware, Guest, NicModel};

/// A machine that can do everything.
pub fn able(qemu: &str) -> Facts {
    Facts {
        qemu: qemu.parse().unwrap(),
        kvm: true,
        cpu: Cpu { vendor: Vendor::Intel, ..Cpu::default() },
        folder: "/var/lab".into(),
        runtime: "/run/e/x".into(),
        standin: Some(DirectKernel {
            kernel: "/s/vmlinux".into(),
            initrd: "/s/initrd".into(),
            append: "console=ttyS0".into(),
        }),
        ovmf: Some(("/o/code.fd".into(), "/o/vars.fd".into())),
        ..Facts::default()
    }
}

pub fn lab(text: &str) -> Lab {
    Lab::from_text(Path::new("lab.yml"), text).unwrap_or_else(|e| panic!("{}", e.plain()))
}

fn planned(text: &str) -> Plan {
    plan(&lab(text), &able("10.0.2")).unwrap_or_else(|e| panic!("{}", e.plain()))
}

fn refused_by(text: &str, facts: &Facts) -> String {
    match Lab::from_text(Path::new("lab.yml"), text) {
        Err(problems) => problems.plain(),
        Ok(lab) => plan(&lab, facts).expect_err("it should be refused").plain(),
    }
}

/// The lab is refused, at this line and column, with these words.
fn refused(text: &str, place: &str, words: &[&str]) {
    let said = refused_by(text, &able("10.0.2"));
    assert!(said.starts_with(&format!("lab.yml:{place}: ")), "wanted {place}: {said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in {said}");
    }
}

fn notes(plan: &Plan) -> Vec<&str> {
    plan.notes.iter().flat_map(|n| &n.why).map(String::as_str).collect()
}

const V8: &str = "name: x\nesxi: \"8.0\"\niso: i.iso\n";

#[test]
fn four_lines_are_a_whole_lab() {
    let plan = planned(&format!("{V8}hosts: 2\n"));
    assert_eq!(plan.hosts.len(), 2);
    assert_eq!(plan.networks.iter().map(|n| n.name.as_str()).collect::<Vec<_>>(), ["mgmt", "lan"]);
    assert!(!plan.needs_root());
    assert_eq!(plan.blockers().count(), 0);
    let host = plan.host("esx1").unwrap();
    assert_eq!(host.esxi, "8.0.0");
    assert_eq!(host.firmware, Firmware::Bios);
    assert_eq!(host.disks[0].size, 40 << 30);
    assert_eq!(host.disks[0].file, PathBuf::from("/var/lab/hosts/esx1/boot.qcow2"));
    assert_eq!(host.nics.iter().map(|n| n.model).collect::<Vec<_>>(), [NicModel::E1000e; 2]);
    assert_eq!(host.nics[0].forwards.iter().map(|f| f.guest_port).collect::<Vec<_>>(), [22, 443]);
    assert!(matches!(host.ssh, Endpoint::Forward { port } if port == host.nics[0].forwards[0].host_port));
    assert_eq!(host.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["install", "run"]);
    let run = &host.stages[1].machine;
    assert_eq!((run.accel, run.cpu.as_str(), run.cpus, run.memory), (Accel::Kvm, "host,+vmx", 4, 8192));
    assert_eq!(run.disks[0].bus, Bus::Ahci);
    assert_eq!(run.cd, None);
}

#[test]
fn an_installation_reads_its_cd_on_ide_and_cannot_run_twice() {
    let plan = planned(&format!("{V8}data_disks: [{{size: 1TiB}}]\n"));
    let host = &plan.hosts[0];
    let (install, stage) = (host.install.as_ref().unwrap(), &host.stages[0]);
    assert_eq!(install.delivery, Delivery::Iso);
    assert_eq!(stage.machine.chipset, Chipset::Pc);
    let cd = stage.machine.cd.as_ref().unwrap();
    assert_eq!((cd.bus, cd.file.to_str()), (Bus::Ide, Some("/var/lab/hosts/esx1/install.iso")));
    assert!(install.rebuild && stage.machine.exit_on_reboot);
    // The installer sees no data disk that it could take for the boot disk.
    assert_eq!(stage.expect_disks, ["boot"]);
    assert_eq!(host.stages[1].expect_disks, ["boot", "data0"]);
    assert!(!host.stages[1].machine.exit_on_reboot);
    assert_eq!(install.reboot.text, "reboot --noeject");
    let options: Vec<&str> = install.boot_options.iter().map(|o| o.text.as_str()).collect();
    assert_eq!(options, ["logPort=com1 gdbPort=none", "systemMediaSize=min"]);
    assert!(install.no_ed25519);
}

#[test]
fn the_installer_is_told_of_hybrid_and_old_processors() {
    let mut facts = able("10.0.2");
    facts.cpu = Cpu { vendor: Vendor::Amd, hybrid: true, legacy: true };
    let options = |version: &str| {
        let lab = lab(&format!("name: x\nesxi: \"{version}\"\niso: i.iso\nboot_options: a=b\n"));
        let install = plan(&lab, &facts).unwrap().hosts.remove(0).install.unwrap();
        let words = |all: &[Reasoned]| all.iter().map(|o| o.text.clone()).collect::<Vec<_>>().join(" ");
        (words(&install.boot_options), words(&install.install_options))
    };
    let (boot, install) = options("8.0");
    assert!(boot.contains("cpuUniformityHardCheckPanic=FALSE allowLegacyCPU=true a=b"), "{boot}");
    assert!(install.contains("--forceunsupportedinstall"), "{install}");
    assert_eq!(options("6.7"), ("logPort=com1 gdbPort=none a=b".into(), String::new()));
    facts.cpu = Cpu { vendor: Vendor::Amd, ..Cpu::default() };
    let plain = lab("name: x\nesxi: \"9.0\"\niso: i.iso\n");
    let plan = plan(&plain, &facts).unwrap();
    assert!(plan.hosts[0].install.as_ref().unwrap().boot_options.iter().any(|o| o.text.starts_with("cpuUniformity")));
    assert_eq!(plan.hosts[0].stages[0].machine.cpu, "host,+svm");
}

#[test]
fn nine_takes_its_kickstart_from_a_stick_and_uefi_over_http() {
    let nine = planned("name: x\nesxi: \"9.0\"\niso: d/i.iso\n");
    let (install, machine) = (nine.hosts[0].install.as_ref().unwrap(), &nine.hosts[0].stages[0].machine);
    assert_eq!((install.delivery, install.rebuild), (Delivery::Usb, false));
    assert_eq!(machine.chipset, Chipset::Q35);
    assert_eq!(machine.cd.as_ref().unwrap().file, PathBuf::from("d/i.iso"), "the ISO as it is");
    assert_eq!(machine.stick, Some("/var/lab/hosts/esx1/kickstart.img".into()));
    let uefi = planned(&format!("{V8}firmware: uefi\n"));
    let machine = &uefi.hosts[0].stages[0].machine;
    assert_eq!(uefi.hosts[0].install.as_ref().unwrap().delivery, Delivery::Http);
    assert_eq!(machine.cd.as_ref().unwrap().bus, Bus::Ahci);
    assert_eq!(machine.uefi.as_ref().unwrap().vars, PathBuf::from("/var/lab/hosts/esx1/vars.qcow2"));
    assert!(notes(&uefi).contains(&"firmware-uefi-unsure"));
}

#[test]
fn a_kickstart_over_http_must_be_reachable() {
    let text = |network: &str| format!("{V8}install: http\nnetworks: {{a: {{{network}}}}}\n");
    let server = |network: &str| planned(&text(network)).hosts[0].install.as_ref().unwrap().server.unwrap().to_string();
    assert_eq!(server("type: nat"), "10.0.2.2");
    assert_eq!(server("type: bridge, address: 10.1.0.1/24"), "10.1.0.1");
    refused(&text("type: nat, isolated: true"), "4:10", &["keeps the guest from this machine as well"]);
    refused(&text("type: bridge"), "4:10", &["cannot reach this machine"]);
    planned(&text("type: bridge").replace("http", "iso"));
}

#[test]
fn staged_hardware_keeps_every_identity() {
    let text = std::fs::read_to_string("labs/article.yml").unwrap();
    let lab = Lab::from_text(Path::new("labs/article.yml"), &text).unwrap();
    let mut facts = able("10.0.2");
    facts.playbooks = look_at_playbooks(&lab);
    let plan = plan(&lab, &facts).unwrap_or_else(|e| panic!("{}", e.plain()));
    for host in &plan.hosts {
        let machines: Vec<&Machine> = host.stages.iter().map(|s| &s.machine).collect();
        assert_eq!(host.stages.iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["install", "fix", "run"]);
        let buses: Vec<Vec<Bus>> = machines.iter().map(|m| m.disks.iter().map(|d| d.bus).collect()).collect();
        assert_eq!(buses, [vec![Bus::Ide], vec![Bus::Ide], vec![Bus::Usb, Bus::Ahci]]);
        assert_eq!(machines.iter().map(|m| m.chipset).collect::<Vec<_>>(), [Chipset::Pc, Chipset::Pc, Chipset::Q35]);
        for machine in &machines {
            assert_eq!(machine.disks[0].disk, host.disks[0]);
            assert_eq!(machine.nics, host.nics);
            assert_eq!(machine.uuid, host.uuid);
            assert_eq!(machine.qmp, machines[0].qmp);
        }
        assert_eq!(host.disks[1].size, 1 << 40);
        assert_eq!(host.stages[1].apply.len(), 1);
    }
    // The drivers are disabled before the hardware that they hide: nothing to warn of.
    assert!(!notes(&plan).iter().any(|n| n.ends_with("-hidden")), "{:?}", plan.notes);
    assert!(plan.needs_root());
    let addresses: Vec<&Endpoint> = plan.hosts.iter().map(|h| &h.ssh).collect();
    assert_eq!(format!("{addresses:?}").matches("192.168.101.1").count(), 2, "{addresses:?}");
}

#[test]
fn six_five_is_warned_where_nothing_lets_it_see_its_disks() {
    let text = "name: x\nesxi: \"6.5\"\niso: i.iso\nboot_disk: {bus: usb}\ndata_disks: [{bus: ahci}]\n";
    let plan = planned(text);
    assert!(notes(&plan).contains(&"usb-6.5-hidden") && notes(&plan).contains(&"ahci-6.5-hidden"), "{:?}", plan.notes);
    let place = plan.notes.iter().find(|n| n.why == ["usb-6.5-hidden"]).unwrap().place.clone();
    assert_eq!(place.as_deref(), Some("lab.yml:4:18"));
    // What it gets when nothing is asked for is what it sees.
    let plan = planned("name: x\nesxi: \"6.5\"\niso: i.iso\ndata_disks: [{}]\n");
    assert_eq!(plan.hosts[0].stages[1].machine.disks.iter().map(|d| d.bus).collect::<Vec<_>>(), [Bus::Ide; 2]);
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
}

#[test]
fn fixes_for_six_five_are_refused_on_seven_and_later() {
    let text = "name: x\nesxi: \"7.0\"\niso: i.iso\nstages:\n  - boot_disk: ahci\n    apply: [fix.yml]\n  - {}\n";
    let lab = lab(text);
    let mut facts = able("10.0.2");
    let disables = PlaybookFacts { disables: vec!["vmw_ahci".into()], ..PlaybookFacts::default() };
    facts.playbooks.insert("fix.yml".into(), disables.clone());
    let said = plan(&lab, &facts).unwrap_err().plain();
    assert!(said.starts_with("lab.yml:6:13: disabling vmw_ahci or vmkusb is for 6.5"), "{said}");
    facts
        .playbooks
        .insert("fix.yml".into(), PlaybookFacts { releases: vec!["6.5".into()], ..PlaybookFacts::default() });
    let said = plan(&lab, &facts).unwrap_err().plain();
    assert!(said.starts_with("lab.yml:6:13: this playbook is made for ESXi 6.5, and the host is 7.0"), "{said}");
    facts.playbooks.insert("fix.yml".into(), PlaybookFacts { error: Some("no such file".into()), ..disables });
    assert!(plan(&lab, &facts).unwrap_err().plain().starts_with("lab.yml:6:13: no such file"));
    facts.playbooks.insert("fix.yml".into(), PlaybookFacts::default());
    plan(&lab, &facts).unwrap();
}

#[test]
fn nics_that_the_version_has_no_driver_for_are_refused() {
    let nic = |version: &str, model: &str| {
        format!("name: x\nesxi: \"{version}\"\niso: i.iso\nnics:\n  - {{network: mgmt, model: {model}}}\n")
    };
    refused(&nic("7.0", "e1000"), "5:28", &["vmklinux", "e1000e", "rule nic-e1000-gone", "packer-maas"]);
    refused(&nic("8.0.3", "e1000"), "5:28", &["no driver for e1000"]);
    refused(&nic("6.5", "virtio"), "5:28", &["ESXi has no driver for it"]);
    refused(&nic("8.0", "rtl8139"), "5:28", &["no driver"]);
    refused(&nic("8.0", "e100e"), "5:28", &["cannot be `e100e`", "did you mean `e1000e`"]);
    planned(&nic("6.7", "e1000"));
    assert!(notes(&planned(&nic("8.0", "igb"))).contains(&"nic-igb-unknown"));
    assert!(refused_by(&nic("8.0", "igb"), &able("7.2")).contains("QEMU has igb since 8.0"));
    assert!(notes(&planned(&nic("6.0", "e1000e"))).contains(&"nic-e1000e-6.0"));
}

#[test]
fn vmxnet3_depends_on_qemu_and_on_the_network() {
    let text = |kind: &str| {
        format!(
            "{V8}networks:\n  a: {{type: nat}}\n  b: {{type: {kind}}}\nnics:\n  - {{network: a}}\n  - {{network: b, model: vmxnet3}}\n"
        )
    };
    let nic = |kind: &str, qemu: &str| plan(&lab(&text(kind)), &able(qemu)).map(|p| p.hosts[0].nics[1].clone());
    let off = |n: Nic| matches!(n.backend, Backend::Tap { vnet_hdr_off: true, .. });
    for kind in ["bridge", "ovs"] {
        assert!(off(nic(kind, "10.0.2").unwrap()) && off(nic(kind, "8.1").unwrap()));
        assert!(!off(nic(kind, "8.0.4").unwrap()) && !off(nic(kind, "7.2").unwrap()));
    }
    refused(&text("hub"), "9:25", &["42 bytes", "vmxnet3-hub-short-frames", "verified: lengths measured"]);
    nic("hub", "7.2").unwrap();
    nic("nat", "10.0.2").unwrap();
    // e1000e keeps the header, which costs nothing and is not broken.
    let plain = text("bridge").replace(", model: vmxnet3", "");
    assert!(!off(planned(&plain).hosts[0].nics[1].clone()));
}

#[test]
fn hubs_need_a_qemu_with_datagrams_and_are_not_for_management() {
    let text = format!("{V8}networks: {{a: {{type: nat}}, b: {{type: hub}}}}\n");
    plan(&lab(&text), &able("7.2")).unwrap();
    let said = refused_by(&text, &able("6.2"));
    assert!(said.starts_with("lab.yml:4:38: a network of type `hub` needs"), "{said}");
    refused(
        &format!("{V8}nics: [{{network: b}}]\nnetworks: {{b: {{type: hub}}}}\n"),
        "4:8",
        &["nothing here could reach vmk0"],
    );
}

#[test]
fn sizes_below_the_least_are_refused() {
    refused(&format!("{V8}boot_disk: {{size: 31GiB}}\n"), "4:19", &["OSDATA", "32GiB or more", "boot-size-8-least"]);
    refused(&format!("{V8}memory: 4GiB\n"), "4:9", &["8GiB or more"]);
    refused(&format!("{V8}cpus: 1\n"), "4:7", &["2 or more"]);
    refused("name: x\nesxi: \"6.5\"\niso: i.iso\nmemory: 2GiB\n", "4:9", &["4GiB or more"]);
    refused("name: x\nesxi: \"6.5\"\nguest: standin\nmemory: 64MiB\n", "4:9", &["192MiB or more"]);
    let seven = planned("name: x\nesxi: \"7.0\"\niso: i.iso\nboot_disk: {size: 16GiB}\n");
    assert!(notes(&seven).contains(&"boot-size-7.0-small"));
    assert!(notes(&planned(V8)).contains(&"boot-disk-without-datastore"));
    assert!(!notes(&planned(&format!("{V8}data_disks: [{{}}]\n"))).contains(&"boot-disk-without-datastore"));
    assert!(!notes(&planned(&format!("{V8}boot_disk: {{size: 80GiB}}\n"))).contains(&"boot-disk-without-datastore"));
}

#[test]
fn no_cd_on_ahci_and_no_ide_on_q35() {
    refused(
        &format!("{V8}machine: q35\ninstall: iso\n"),
        "4:10",
        &["cannot find kickstart file on cd-rom", "install: http"],
    );
    let http = planned(&format!("{V8}machine: q35\n"));
    assert_eq!(http.hosts[0].install.as_ref().unwrap().delivery, Delivery::Http);
    refused(
        "name: x\nesxi: \"6.5\"\niso: i.iso\nmachine: q35\n",
        "4:10",
        &["q35 has no PIIX IDE", "the disk `boot` is on `ide`"],
    );
    refused(&format!("{V8}stages:\n  - {{machine: q35, boot_disk: ide}}\n"), "5:15", &["q35 has no PIIX IDE"]);
    let many = format!("name: x\nesxi: \"6.5\"\niso: i.iso\ndata_disks: [{}]\n", ["{bus: ide}"; 3].join(", "));
    refused(&many, "4:1", &["IDE has four places"]);
    let many = format!("{V8}data_disks: [{}]\n", ["{bus: ahci}"; 6].join(", "));
    refused(&many, "4:1", &["AHCI controller has six ports"]);
    let fits = format!("{V8}boot_disk: {{bus: usb}}\ndata_disks: [{}]\n", ["{bus: ahci}"; 6].join(", "));
    assert!(notes(&planned(&fits)).contains(&"usb-7-unreported"));
}

#[test]
fn esxi_without_kvm_is_planned_but_not_started() {
    let mut facts = able("10.0.2");
    facts.kvm = false;
    let plan8 = plan(&lab(V8), &facts).unwrap();
    let blocker = plan8.blockers().next().unwrap();
    assert_eq!(blocker.why, ["esxi-needs-kvm"]);
    assert!(blocker.text.contains("nested virtualisation") && blocker.text.contains("lab doctor"));
    let said = refused_by(&format!("{V8}accel: tcg\n"), &facts);
    assert!(said.starts_with("lab.yml:4:8: ESXi does not run under software emulation"), "{said}");
    let standin = "name: x\nesxi: \"6.5\"\nguest: standin\n";
    let free = plan(&lab(standin), &facts).unwrap();
    let machine = &free.hosts[0].stages[0].machine;
    assert_eq!((machine.accel, machine.cpu.as_str(), machine.memory, machine.cpus), (Accel::Tcg, "max", 256, 1));
    assert_eq!(free.blockers().count(), 0);
    let asked = plan(&lab(&format!("{standin}accel: kvm\n")), &facts).unwrap();
    assert!(asked.blockers().next().unwrap().text.contains("`accel: kvm` is asked for"));
    facts.standin = None;
    assert!(plan(&lab(standin), &facts).unwrap().blockers().any(|b| b.text.contains("stand-in's kernel")));
}

#[test]
fn the_stand_in_is_installed_from_an_iso_of_its_own() {
    refused(
        "name: x\nesxi: \"6.5\"\nguest: standin\niso: i.iso\n",
        "4:6",
        &["the stand-in is not installed from an ISO"],
    );
    refused("name: x\nesxi: \"6.5\"\nguest: standin\nfirmware: uefi\n", "4:11", &["PVH"]);
    let text = "name: x\nesxi: \"8.0\"\nguest: standin\n";
    let with = |delivery: &str| {
        let plan = planned(&format!("{text}install: {delivery}\n"));
        let machine = plan.hosts[0].stages[0].machine.clone();
        assert!(machine.kernel.is_some() && machine.cd.is_some());
        let install = plan.hosts[0].install.clone().unwrap();
        (machine.chipset, machine.cd.unwrap().bus, machine.stick.is_some(), install.rebuild)
    };
    assert_eq!(with("auto"), (Chipset::Pc, Bus::Ide, false, true));
    assert_eq!(with("http"), (Chipset::Q35, Bus::Ahci, false, true));
    assert_eq!(with("usb"), (Chipset::Q35, Bus::Ahci, true, true), "its own ISO is made for it");
    // It plays the installer that cannot read a CD on AHCI.
    refused(&format!("{text}machine: q35\ninstall: iso\n"), "4:10", &["cannot find kickstart file on cd-rom"]);
    let mut facts = able("10.0.2");
    facts.standin_iso = Some("/c/standin.iso".into());
    let plan = plan(&lab(&format!("{text}install: usb\n")), &facts).unwrap();
    let install = plan.hosts[0].install.as_ref().unwrap();
    assert_eq!((install.cd.to_str(), install.rebuild), (Some("/c/standin.iso"), false));
    assert_eq!(planned(text).hosts[0].guest, Guest::Standin);
}

#[test]
fn the_iso_decides_what_it_holds() {
    let mut facts = able("10.0.2");
    facts.isos.insert("i.iso".into(), "8.0.3".parse().unwrap());
    let esxi = |text: &str| plan(&lab(text), &facts).map(|p| p.hosts[0].esxi.clone()).map_err(|e| e.plain());
    assert_eq!(esxi("name: x\niso: i.iso\n"), Ok("8.0.3".into()));
    assert_eq!(esxi(V8), Ok("8.0.3".into()));
    let said = esxi("name: x\nesxi: \"7.0\"\niso: i.iso\n").unwrap_err();
    assert!(said.starts_with("lab.yml:2:7: the ISO holds ESXi 8.0.3, and this says 7.0"), "{said}");
    let said = esxi("name: x\niso: other.iso\n").unwrap_err();
    assert!(said.starts_with("lab.yml:2:6: it is not known which ESXi this ISO holds"), "{said}");
    refused("name: x\nesxi: \"5.5\"\niso: i.iso\n", "2:7", &["nothing is known here of ESXi before 6.0"]);
    assert!(notes(&planned("name: x\nesxi: \"9.1\"\niso: i.iso\n")).contains(&"esxi-after-9.0"));
    assert!(planned("name: x\nesxi: \"8.0\"\n").blockers().any(|b| b.text.contains("nothing to install it from")));
}

#[test]
fn clones_come_after_their_source_and_are_not_installed() {
    let plan = planned("name: x\nesxi: \"8.0\"\niso: i.iso\nhosts:\n  b: {clone_from: a, clone: linked}\n  a:\n");
    assert_eq!(plan.hosts.iter().map(|h| h.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let clone = plan.host("b").unwrap();
    assert_eq!(clone.clone_from.as_ref().unwrap().host, "a");
    assert_eq!((clone.install.is_none(), clone.stages.len()), (true, 1));
    assert_ne!(clone.nics[0].mac, plan.host("a").unwrap().nics[0].mac);
    assert_ne!(clone.uuid, plan.host("a").unwrap().uuid);
    assert!(notes(&plan).contains(&"clone-unsupported"));
}

#[test]
fn addresses_count_up_past_taken_ones() {
    let text = "name: x\nesxi: \"6.5\"\niso: i.iso\nnetworks: {lan: {type: bridge, address: 10.1.0.1/24, first: 10.1.0.5}}\nhosts: {a: , b: {address: 10.1.0.5/24}, c: }\n";
    let plan = planned(text);
    let address = |host: &str| match &plan.host(host).unwrap().nics[0].address {
        GuestAddress::Static { address, gateway, .. } => format!("{address} {gateway:?}"),
        other => format!("{other:?}"),
    };
    assert_eq!(address("a"), "10.1.0.6/24 Some(10.1.0.1)");
    assert_eq!(address("b"), "10.1.0.5/24 Some(10.1.0.1)");
    assert_eq!(address("c"), "10.1.0.7/24 Some(10.1.0.1)");
    assert_eq!(plan.networks[0].ports.iter().map(|p| p.host.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let full = "name: x\nesxi: \"6.5\"\niso: i.iso\nnetworks: {lan: {type: bridge, address: 10.1.0.1/29, first: 10.1.0.6}}\nhosts: 2\n";
    refused(full, "4:61", &["no address is left for `esx2`"]);
}

#[test]
fn long_names_are_refused_before_linux_does() {
    let mut facts = able("10.0.2");
    facts.runtime = format!("/{}", "r".repeat(100)).into();
    let said = refused_by(V8, &facts);
    assert!(said.contains("bytes, and Linux allows 107") && said.contains("shorter folder"), "{said}");
    let long = "a-very-long-name-of-a-host-indee";
    let plan = planned(&format!(
        "{V8}networks: {{lan-lan-lan-lan-lan: {{type: bridge}}}}\nhosts: [{long}, {}x]\n",
        &long[..31]
    ));
    let names: BTreeSet<String> = plan.networks[0]
        .ports
        .iter()
        .filter_map(|p| if let Backend::Tap { ifname, .. } = &p.backend { Some(ifname.clone()) } else { None })
        .chain(plan.networks[0].bridge.clone())
        .collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|n| n.len() <= 15 && n.starts_with(IF_PREFIX)), "{names:?}");
}

#[test]
fn risky_hardware_is_named() {
    let disk = |bus: &str| planned(&format!("{V8}data_disks: [{{bus: {bus}, ssd: true}}]\n"));
    assert!(notes(&disk("nvme")).contains(&"nvme-no-freeze") && notes(&disk("nvme")).contains(&"ssd-no-flag"));
    assert!(notes(&disk("pvscsi")).contains(&"pvscsi-unreported"));
    assert!(!notes(&disk("ahci")).contains(&"ssd-no-flag"));
    let moved =
        "name: x\nesxi: \"8.0\"\niso: i.iso\ndata_disks: [{}]\nstages: [{data_disks: usb}, {data_disks: ahci}]\n";
    assert!(notes(&planned(moved)).contains(&"disk-controller-moves-datastore"));
    let low = format!("{V8}nics: [{{forwards: [443:443]}}]\n");
    assert!(notes(&planned(&low)).contains(&"forward-privileged"));
    refused(&format!("{V8}networks: {{a: {{type: nat, mtu: 9000}}}}\n"), "4:32", &["carries 1500 bytes"]);
    assert!(notes(&planned(&format!("{V8}install: keys\n"))).contains(&"delivery-keys-last"));
    let ed = format!("{V8}ssh_keys: [ssh-ed25519 AAAA me]\n");
    refused(&ed, "4:12", &["refuses Ed25519"]);
}

#[test]
fn a_note_about_all_hosts_is_said_once() {
    let plan = planned(&format!("{V8}hosts: 3\nfirmware: uefi\n"));
    let same: Vec<&Note> = plan.notes.iter().filter(|n| n.why == ["firmware-uefi-unsure"]).collect();
    assert_eq!((same.len(), same[0].host.clone()), (1, None));
}

#[test]
fn a_plan_survives_being_saved() {
    let plan = planned(&format!("{V8}hosts: 2\nroot_password: {{env: X}}\n"));
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = "name: x\nesxi: \"8.0\"\niso: i.iso\nmemory: 1GiB\nboot_disk: {size: 2GiB}\nnics: [{model: e1000}, {model: virtio}]\n";
    let said = refused_by(text, &able("10.0.2"));
    for place in ["lab.yml:4:9", "lab.yml:5:19", "lab.yml:6:16", "lab.yml:6:32"] {
        assert!(said.contains(place), "{place}: {said}");
    }
}

#[test]
fn why_names_rules_that_exist() {
    for qemu in ["6.2", "7.2", "8.1", "10.0.2", "11.0"] {
        for version in ["6.0", "6.5", "6.7", "7.0", "8.0", "9.0"] {
            let text =
                format!("name: x\nesxi: \"{version}\"\niso: i.iso\nnetworks: {{a: {{type: nat}}, b: {{type: ovs}}}}\n");
            let facts = Facts { qemu: qemu.parse::<QemuVersion>().unwrap(), ..able(qemu) };
            let plan = plan(&lab(&text), &facts).unwrap();
            for stage in &plan.hosts[0].stages {
                for id in stage.machine.why.values().flatten() {
                    assert!(id == crate::lab::rules::LAB_FILE || book().rule(id).is_some(), "{id}");
                }
            }
        }
    }
}

/// Whatever is missing from a file or there twice: problems with a place, or a plan; never a panic.
#[test]
fn damaged_files_are_refused_in_order() {
    let damaged = |text: &str| {
        let lab = Lab::from_text(Path::new("lab.yml"), text).map_err(|e| e.plain())?;
        plan(&lab, &able("10.0.2")).map_err(|e| e.plain())
    };
    let mut refused = 0;
    for file in ["labs/article.yml", "labs/two-node-8.yml", "labs/standin.yml"] {
        let text: String = std::fs::read_to_string(file).unwrap();
        let text: String = text.lines().filter(|l| !l.starts_with('#')).map(|l| format!("{l}\n")).collect();
        let lines: Vec<&str> = text.lines().collect();
        let without = (0..lines.len()).map(|i| [&lines[..i], &lines[i + 1..]].concat().join("\n"));
        let twice = (0..lines.len()).map(|i| [&lines[..=i], &lines[i..]].concat().join("\n"));
        let cut = (0..text.len()).step_by(5).map(|i| text[..i].to_owned());
        let swapped =
            ["ovs:", "usb", "8.0", "none", "[]", "{}", "-1", "99999999999999999999"].iter().flat_map(|word| {
                text.match_indices(": ").map(|(i, _)| format!("{}: {word}\n", &text[..i])).collect::<Vec<_>>()
            });
        for text in without.chain(twice).chain(cut).chain(swapped) {
            if let Err(said) = damaged(&text) {
                assert!(said.starts_with("lab.yml:") || said.contains("is empty"), "{said}\n{text}");
                refused += 1;
            }
        }
    }
    assert!(refused > 100, "{refused}");
}
