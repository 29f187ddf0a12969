//! The lines as text, and whether QEMU takes them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::lab::plan::tests::{able, lab};
use crate::lab::plan::{Accel, Facts, Plan, look_at_playbooks, plan};
use crate::lab::qemu;
use crate::lab::rules::{LAB_FILE, book};
use crate::lab::spec::Lab;

/// A lab for each profile of the rule base; together they use every device that the planner knows.
fn profiles() -> Vec<(&'static str, String)> {
    let esxi = |version: &str, more: &str| format!("name: p\nesxi: \"{version}\"\niso: /i/esxi.iso\n{more}");
    let stages = "boot_disk: {bus: usb}\ndata_disks: [{size: 1TiB, bus: ahci, ssd: true}]\nstages:\n  - {name: fix, machine: pc, boot_disk: ide, data_disks: none}\n  - {name: run, machine: q35}\n";
    let tap = |model: &str| {
        format!(
            "networks: {{a: {{type: bridge, address: 10.1.0.1/24}}, b: {{type: ovs, vlan: 5}}}}\nnics: [{{network: a, model: {model}}}, {{network: b, model: {model}}}]\n"
        )
    };
    vec![
        ("6.0", esxi("6.0", "data_disks: [{}]\n")),
        ("6.5", esxi("6.5", "data_disks: [{}, {}]\n")),
        ("6.5 staged", esxi("6.5", stages)),
        ("6.7", esxi("6.7", "nics: [{model: e1000}]\ndata_disks: [{bus: ahci, ssd: true}]\n")),
        ("7.0", esxi("7.0", "data_disks: [{}]\n")),
        ("7.0 http", esxi("7.0", "machine: q35\n")),
        ("8.0", esxi("8.0", "hosts: 2\nconsole: vnc\n")),
        ("8.0 uefi", esxi("8.0", "firmware: uefi\n")),
        ("8.0 keys", esxi("8.0", "install: keys\nnetworks: {a: {type: nat, isolated: true, subnet: 10.9.8.0/24}}\n")),
        ("8.0 vmxnet3 tap", esxi("8.0", &tap("vmxnet3"))),
        ("8.0 e1000e tap", esxi("8.0", &tap("e1000e"))),
        ("9.0", esxi("9.0", "data_disks: [{size: 10GiB, ssd: true}]\n")),
        (
            "8.0 every bus",
            esxi(
                "8.0",
                "boot_disk: {bus: ahci}\ndata_disks: [{bus: usb}, {bus: pvscsi, ssd: true}, {bus: nvme}, {bus: usb}]\n",
            ),
        ),
        ("stand-in, hub", std::fs::read_to_string("labs/standin.yml").unwrap().replace("apply:", "# ")),
        ("stand-in, 8.0", "name: s\nesxi: \"8.0\"\nguest: standin\n".into()),
        ("stand-in, stick", "name: s\nesxi: \"8.0\"\nguest: standin\ninstall: usb\nmachine: pc\n".into()),
    ]
}

fn plans(facts: &Facts) -> BTreeMap<&'static str, Plan> {
    let plan = |text: &str| plan(&lab(text), facts).unwrap_or_else(|e| panic!("{}", e.plain()));
    profiles().into_iter().map(|(name, text)| (name, plan(&text))).collect()
}

/// Every line of every profile, an argument a line.
fn all_lines(qemu: &str) -> String {
    let mut out = String::new();
    for (name, plan) in plans(&able(qemu)) {
        for host in &plan.hosts {
            for stage in &host.stages {
                out.push_str(&format!("\n== {name}: {} {}\n", host.name, stage.name));
                for arg in argv(&stage.machine, Style::default()) {
                    out.push_str(&format!("{}\n", arg.words.join(" ")));
                }
            }
        }
    }
    out
}

/// The lines as they are kept. After a wanted change: `ESXPREP_BLESS=1 cargo test lab::argv`, then look at the difference.
#[test]
fn lines_are_what_they_were() {
    for qemu in ["7.2.22", "10.0.2"] {
        let path = format!("src/lab/argv_golden/qemu-{qemu}.txt");
        let lines = all_lines(qemu);
        if std::env::var_os("ESXPREP_BLESS").is_some() {
            std::fs::write(&path, &lines).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap();
        for (kept, now) in kept.lines().zip(lines.lines()) {
            assert_eq!(kept, now, "{path}");
        }
        assert_eq!(kept.lines().count(), lines.lines().count(), "{path}");
    }
}

#[test]
fn versions_of_qemu_differ_in_the_header_of_vmxnet3_alone() {
    let (old, new) = (all_lines("7.2.22"), all_lines("10.0.2"));
    let differ: Vec<(&str, &str)> = old.lines().zip(new.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(differ.len(), 4, "two NICs in two stages: {differ:?}");
    assert!(differ.iter().all(|(a, b)| format!("{a},vnet_hdr=off") == **b), "{differ:?}");
}

#[test]
fn every_argument_has_a_reason_that_exists() {
    for qemu in ["7.2", "10.0.2"] {
        for (name, plan) in plans(&able(qemu)) {
            for stage in plan.hosts.iter().flat_map(|h| &h.stages) {
                for arg in argv(&stage.machine, Style { daemonize: true, paused: true }) {
                    assert!(!arg.why.is_empty(), "{name}: nothing explains {:?}", arg.words);
                    for id in &arg.why {
                        assert!(id == LAB_FILE || book().rule(id).is_some(), "{name}: no rule {id}");
                    }
                }
            }
        }
    }
}

/// A rule that explains a part of the line is used by some line, else it explains nothing.
#[test]
fn every_explanation_is_used() {
    let mut used: Vec<String> = Vec::new();
    for (_, plan) in plans(&able("10.0.2")) {
        for stage in plan.hosts.iter().flat_map(|h| &h.stages) {
            used.extend(argv(&stage.machine, Style { daemonize: true, paused: true }).into_iter().flat_map(|a| a.why));
        }
    }
    let explains = book().rules().iter().filter(|r| r.explain.is_some());
    let unused: Vec<&str> = explains.map(|r| r.id.as_str()).filter(|id| !used.iter().any(|u| u == id)).collect();
    // This one is about the kickstart, not about the line.
    assert_eq!(unused, ["kickstart-final-mac"]);
}

#[test]
fn commas_in_names_are_doubled_and_forwards_stay_on_loopback() {
    let mut facts = able("10.0.2");
    facts.folder = "/a,b".into();
    facts.runtime = "/r,s".into();
    let plan = plan(&lab("name: x\nesxi: \"6.5\"\nguest: standin\nhosts: 2\n"), &facts).unwrap();
    let line = words(&argv(&plan.hosts[0].stages[0].machine, Style::default())).join("\n");
    for part in [
        "file.filename=/a,,b/hosts/esx1/boot.qcow2",
        "path=/r,,s/esx1.qmp,server=on,wait=off",
        "logfile=/a,,b/hosts/esx1/serial.log,logappend=on",
        "local.path=/r,,s/lan.hub/esx1-1.g,remote.type=unix,remote.path=/r,,s/lan.hub/esx1-1.h",
        // Not an option with keys: as it is.
        "\n/r,s/esx1.pid\n",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert_eq!(line.matches("hostfwd=").count(), 2);
    assert_eq!(line.matches("hostfwd=tcp:127.0.0.1:").count(), 2);
    assert!(line.contains("-10.0.2.15:22"), "{line}");
}

#[test]
fn nics_keep_their_slots_over_stages_and_every_mac_is_given() {
    for (name, plan) in plans(&able("10.0.2")) {
        for host in &plan.hosts {
            let nics = |i: usize| -> Vec<String> {
                let line = words(&argv(&host.stages[i].machine, Style::default()));
                line.into_iter().filter(|w| w.contains("netdev=") && w.contains("mac=")).collect()
            };
            assert_eq!(nics(0).len(), host.nics.len(), "{name}");
            assert!(nics(0).iter().all(|n| n.contains(",addr=0x1") && n.contains("romfile=")), "{name}");
            for i in 1..host.stages.len() {
                assert_eq!(nics(0), nics(i), "{name}");
            }
        }
    }
}

/// A QEMU to try lines with.
struct Trial {
    binary: PathBuf,
    data: Vec<String>,
}

/// The one in PATH, and those of ESXPREP_TEST_QEMU: `BINARY` or `BINARY=DATADIR,DATADIR`, separated by `:`.
fn trials() -> Vec<Trial> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = qemu::find_in(qemu::PROGRAM, &path)
        .expect("this test starts qemu-system-x86_64: install qemu-system-x86 (scripts/test does)");
    let mut all = vec![Trial { binary: found, data: Vec::new() }];
    for item in std::env::var("ESXPREP_TEST_QEMU").unwrap_or_default().split(':').filter(|i| !i.is_empty()) {
        let (binary, data) = item.split_once('=').unwrap_or((item, ""));
        let data = data.split(',').filter(|d| !d.is_empty()).map(str::to_owned).collect();
        all.push(Trial { binary: binary.into(), data });
    }
    all
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a line, paused, and waits until its machine is made. What QEMU said on standard error comes back.
fn start(trial: &Trial, line: &[String], qmp: &Path) -> Result<String, String> {
    let mut command = Command::new(&trial.binary);
    trial.data.iter().for_each(|d| {
        command.args(["-L", d]);
    });
    let child = command.args(line).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut running = Running(child.map_err(|e| e.to_string())?);
    let stderr = |running: &mut Running| {
        let _ = running.0.kill();
        let mut said = String::new();
        running.0.stderr.take().map(|mut e| e.read_to_string(&mut said));
        said
    };
    // A loaded machine is slow: this only keeps a test that cannot succeed from waiting for ever.
    let end = Instant::now() + Duration::from_secs(300);
    while Instant::now() < end {
        if let Ok(stream) = UnixStream::connect(qmp) {
            let status = status(stream).unwrap_or_default();
            let said = stderr(&mut running);
            return if status.contains("prelaunch") { Ok(said) } else { Err(format!("{status}{said}")) };
        }
        if let Ok(Some(status)) = running.0.try_wait() {
            return Err(format!("{status}: {}", stderr(&mut running)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(format!("no monitor: {}", stderr(&mut running)))
}

/// Asks for the state of the machine. The greeting alone proves nothing: a thread of its own sends it, before the
/// devices are made (seen on QEMU 10.0.2); a command is only answered after that.
fn status(mut stream: UnixStream) -> std::io::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(300)))?;
    stream.write_all(b"{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-status\"}\n")?;
    let mut said = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.contains("\"status\"") {
            return Ok(line);
        }
        said.push_str(&line);
    }
    Ok(said)
}

fn qemu_img(args: &[&str]) {
    let output = Command::new("qemu-img").args(args).output();
    let output = output.expect("this test makes images: install qemu-utils (scripts/test does)");
    assert!(output.status.success(), "qemu-img {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes what a line refers to: small images, whatever sizes are planned.
fn make_files(machine: &Machine, image: &Path) {
    let put = |file: &Path, from: Option<&Path>| {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        match from {
            Some(from) => {
                std::fs::copy(from, file).unwrap();
            }
            None => std::fs::write(file, vec![0; 1 << 20]).unwrap(),
        }
    };
    machine.disks.iter().for_each(|d| put(&d.disk.file, Some(image)));
    machine.cd.iter().for_each(|cd| put(&cd.file, None));
    machine.stick.iter().for_each(|stick| put(stick, None));
    if let Some(uefi) = &machine.uefi {
        put(&uefi.vars, None);
        std::fs::remove_file(&uefi.vars).unwrap();
        let (template, vars) = (uefi.vars_template.to_str().unwrap(), uefi.vars.to_str().unwrap());
        qemu_img(&["convert", "-f", "raw", "-O", "qcow2", template, vars]);
    }
}

/// Every line of every profile is accepted by every QEMU at hand. KVM is not asked for: where it cannot run, its
/// device may still open. A tap is made by QEMU itself and goes with it, which takes root.
#[test]
fn qemu_takes_every_line() {
    let ovmf = qemu::find_ovmf(Path::new("/"));
    let ovmf = ovmf.expect("this test starts machines with UEFI: install ovmf (scripts/test does)");
    for trial in trials() {
        let version = qemu::probe(Some(&trial.binary)).unwrap().version;
        let dir = tempfile::Builder::new().prefix("epq").tempdir_in("/tmp").unwrap();
        let image = dir.path().join("image");
        qemu_img(&["create", "-q", "-f", "qcow2", image.to_str().unwrap(), "64M"]);
        let kernel = dir.path().join("kernel");
        // QEMU looks at the kernel's form before it starts: a boot sector with Linux's signature will do.
        let mut bytes = vec![0u8; 4096];
        bytes[0x1f1] = 1;
        bytes[0x202..0x206].copy_from_slice(b"HdrS");
        bytes[0x206..0x208].copy_from_slice(&0x020c_u16.to_le_bytes());
        bytes[0x211] = 1;
        bytes[0x22c..0x230].copy_from_slice(&0x37ff_ffff_u32.to_le_bytes());
        std::fs::write(&kernel, &bytes).unwrap();
        let mut facts = able(&version.to_string());
        facts.kvm = false;
        facts.folder = dir.path().join("l");
        facts.runtime = dir.path().join("r");
        std::fs::create_dir_all(facts.runtime.join("lan.hub")).unwrap();
        if let Some(standin) = &mut facts.standin {
            standin.kernel = kernel.clone();
            standin.initrd = kernel.clone();
        }
        facts.ovmf = Some(ovmf.clone());
        let mut lines = 0;
        for (name, plan) in plans(&facts) {
            for (host, stage) in plan.hosts.iter().flat_map(|h| h.stages.iter().map(move |s| (h, s))) {
                let mut machine = stage.machine.clone();
                let at = |p: &Path| dir.path().join(p.strip_prefix("/").unwrap_or(p));
                if let Some(cd) = machine.cd.as_mut().filter(|cd| !cd.file.starts_with(dir.path())) {
                    cd.file = at(&cd.file);
                }
                (machine.accel, machine.cpu) = (Accel::Tcg, "max".into());
                machine.memory = 64;
                make_files(&machine, &image);
                let line = words(&argv(&machine, Style { paused: true, daemonize: false }));
                let what = format!("{name}, {} {}, QEMU {version}", host.name, stage.name);
                let _ = std::fs::remove_file(&machine.qmp);
                match start(&trial, &line, &machine.qmp) {
                    Ok(said) => {
                        let said: Vec<&str> = said.lines().filter(|l| !l.contains("terminating on signal")).collect();
                        assert!(said.is_empty(), "{what}: {said:?}\n{}", line.join(" "));
                    }
                    Err(why) => panic!("{what}: {why}\n(a tap needs root and /dev/net/tun)\n{}", line.join(" ")),
                }
                assert!(machine.serial_log.exists(), "{what}: no serial log");
                lines += 1;
            }
        }
        assert!(lines >= 30, "{lines} lines only");
    }
}

/// A line that QEMU must refuse is refused: the test above can fail.
#[test]
fn qemu_refuses_what_is_gone() {
    let trial = &trials()[0];
    let dir = tempfile::tempdir().unwrap();
    let line: Vec<String> =
        ["-nodefaults", "-display", "none", "-S", "-accel", "tcg", "-device", "ide-drive"].map(str::to_owned).to_vec();
    let why = start(trial, &line, &dir.path().join("q")).unwrap_err();
    assert!(why.contains("ide-drive"), "{why}");
}

/// Every file in labs/ is a good lab, and plans where it can run and where it cannot.
#[test]
fn ready_labs_are_planned() {
    let mut seen = 0;
    for file in std::fs::read_dir("labs").unwrap() {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let lab = Lab::load(&path).unwrap_or_else(|e| panic!("{}", e.plain()));
        for (qemu, kvm) in [("10.0.2", true), ("7.2.22", false)] {
            let mut facts = able(qemu);
            facts.kvm = kvm;
            facts.playbooks = look_at_playbooks(&lab);
            assert!(facts.playbooks.values().all(|p| p.error.is_none()), "{:?}", facts.playbooks);
            let plan = plan(&lab, &facts).unwrap_or_else(|e| panic!("{}", e.plain()));
            assert_eq!(plan.hosts.len(), 2, "{}", path.display());
            let standin = path.ends_with("standin.yml");
            assert_eq!(plan.blockers().count() == 0, kvm || standin, "{}: {:?}", path.display(), plan.notes);
            assert_eq!(plan.needs_root(), path.ends_with("article.yml"));
        }
        seen += 1;
    }
    assert_eq!(seen, 3);
}
