//! The stand-in guest in real virtual machines, with software emulation: installed from a kickstart, restarted by itself,
//! reached over SSH, moved to other hardware, with and without what that hardware needs.
//!
//! Needs qemu-system-x86_64, qemu-img, xorriso, busybox, xz, ssh, and a general Linux kernel (docs/standin.md). Command
//! lines of QEMU are written by hand here: this file tests the guest, not the launcher.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use esxprep::lab::standin::{self, Artifacts, Options};

const PASSWORD: &str = "Stand-in.1";
const MAC: &str = "52:54:00:aa:bb:01";
/// Machines that emulate a processor on two busy cores are slow: this is for the worst of them.
const PATIENCE: Duration = Duration::from_secs(400);

fn artifacts(release: &str, kickstart: Option<&str>, boot_options: &[&str]) -> Artifacts {
    let options = Options {
        esxprep: Some(env!("CARGO_BIN_EXE_esxprep").into()),
        release: release.into(),
        kickstart: kickstart.map(String::from),
        boot_options: boot_options.iter().map(|word| (*word).to_string()).collect(),
        ..Options::default()
    };
    standin::prepare(&options, &mut |what| eprintln!("{what}")).unwrap_or_else(|error| panic!("{error}"))
}

fn kickstart(network: &str) -> String {
    format!(
        "accepteula\nrootpw {PASSWORD}\ninstall --firstdisk --overwritevmfs\nnetwork {network}\nreboot --noeject\n\
         %firstboot --interpreter=busybox\nvim-cmd hostsvc/enable_ssh\nvim-cmd hostsvc/start_ssh\n"
    )
}

/// A folder with a disk and the way to log in.
struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    fn new(gib: u32) -> Lab {
        let lab = Lab { dir: tempfile::tempdir().unwrap() };
        let askpass = lab.path("askpass");
        fs::write(&askpass, format!("#!/bin/sh\necho {PASSWORD}\n")).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o755)).unwrap();
        for (name, size) in [("boot", format!("{gib}G")), ("data", "2G".to_string())] {
            let made = Command::new("qemu-img")
                .args(["create", "-q", "-f", "qcow2"])
                .arg(lab.path(name))
                .arg(size)
                .status()
                .expect("this test needs qemu-img (qemu-utils)");
            assert!(made.success());
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn drive(&self, id: &str) -> String {
        format!("file={},if=none,id={id},format=qcow2", self.path(id).display())
    }

    /// Starts a machine; `hardware` is what differs between them.
    fn start(&self, artifacts: &Artifacts, machine: &str, nic: &str, append: &str, hardware: &[&str]) -> Vm {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let serial = self.path("serial");
        let _ = fs::remove_file(&serial);
        let qmp = self.path("qmp");
        let mut command = Command::new("qemu-system-x86_64");
        command.args(["-machine", machine, "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "384"]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        command.arg("-serial").arg(format!("file:{}", serial.display()));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", qmp.display()));
        command.arg("-kernel").arg(&artifacts.kernel).arg("-initrd").arg(&artifacts.initrd);
        command.arg("-append").arg(format!("{} {append}", artifacts.append.join(" ")));
        command.arg("-netdev").arg(format!("user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22"));
        command.arg("-device").arg(format!("{nic},netdev=n0,mac={MAC},addr=0x10"));
        command.args(hardware).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("this test needs qemu-system-x86_64 (qemu-system-x86)");
        Vm { child, port, serial, qmp, askpass: self.path("askpass"), seen: 0 }
    }
}

/// A running virtual machine; it ends with the test.
struct Vm {
    child: Child,
    port: u16,
    serial: PathBuf,
    qmp: PathBuf,
    askpass: PathBuf,
    /// Bytes of the console that were looked at.
    seen: usize,
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Vm {
    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.serial).unwrap_or_default()).into_owned()
    }

    /// The next line of the console that begins with `word`.
    fn wait_for(&mut self, word: &str) -> String {
        let start = Instant::now();
        loop {
            let console = self.console();
            let mut at = self.seen;
            for line in console.get(self.seen..).unwrap_or_default().split_inclusive('\n') {
                at += line.len();
                if line.starts_with(word) && line.ends_with('\n') {
                    self.seen = at;
                    return line.trim_end().to_string();
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "QEMU ended ({ended:?}) before {word:?}:\n{console}");
            assert!(start.elapsed() < PATIENCE, "no line {word:?} on the console:\n{console}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Runs a command over SSH: what it printed on either stream, and its exit code.
    fn ssh(&self, command: &str) -> (String, i32) {
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "NumberOfPasswordPrompts=1", "-o", "ConnectTimeout=60"]);
        ssh.args(["-o", "PreferredAuthentications=keyboard-interactive", "-T", "-p"]);
        ssh.arg(self.port.to_string()).args(["root@127.0.0.1", command]).stdin(Stdio::null());
        ssh.env("SSH_ASKPASS", &self.askpass).env("SSH_ASKPASS_REQUIRE", "force").env_remove("SSH_AUTH_SOCK");
        let output = ssh.output().expect("this test needs ssh (openssh-client)");
        let text = [output.stdout, output.stderr].concat();
        (String::from_utf8_lossy(&text).into_owned(), output.status.code().unwrap_or(-1))
    }

    fn good(&self, command: &str) -> String {
        let (text, code) = self.ssh(command);
        assert_eq!(code, 0, "{command}: {text}\n{}", self.console());
        text
    }

    /// Presses the power button and waits until the machine is off.
    fn press_power(mut self) -> String {
        let stream = UnixStream::connect(&self.qmp).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        lines.next().unwrap().unwrap();
        for command in ["qmp_capabilities", "system_powerdown"] {
            writeln!(&stream, "{{\"execute\":\"{command}\"}}").unwrap();
            lines.next().unwrap().unwrap();
        }
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < PATIENCE, "the machine does not go off:\n{}", self.console());
            std::thread::sleep(Duration::from_millis(100));
        }
        self.console()
    }
}

const OPTION: &str = "/UserVars/SuppressShellWarning";

fn int_value(vm: &Vm) -> String {
    let text = vm.good(&format!("esxcli system settings advanced list -o {OPTION}"));
    let line = text.lines().find(|line| line.trim_start().starts_with("Int Value:")).unwrap_or_default();
    line.trim().to_string()
}

/// The founding article's evening: 6.5 is installed on IDE, then the disk moves to controllers whose drivers do not show
/// it, where every setting is forgotten, until the drivers are switched off while the disk is still seen.
#[test]
fn a_6_5_forgets_on_the_final_hardware_until_its_drivers_are_off() {
    let lab = Lab::new(16);
    let network = format!(
        "--bootproto=static --device={MAC} --ip=10.0.2.15 --netmask=255.255.255.0 --gateway=10.0.2.2 --hostname=h1.lab"
    );
    let files = artifacts("6.5", Some(&kickstart(&network)), &["ks=cdrom:/KS.CFG"]);
    let (boot, data, cd) = (
        lab.drive("boot"),
        lab.drive("data"),
        format!("file={},if=none,id=cd,media=cdrom,readonly=on", files.iso.display()),
    );
    let ide = ["-drive", &boot, "-device", "ide-hd,drive=boot,bus=ide.0,serial=BOOT1"];
    let with_cd = [&ide[..], &["-drive", &cd, "-device", "ide-cd,drive=cd,bus=ide.1"]].concat();
    let ahci = [
        "-device",
        "ich9-ahci,id=ahci,addr=0x6",
        "-drive",
        &boot,
        "-device",
        "ide-hd,drive=boot,bus=ahci.0,serial=BOOT1",
    ];
    let usb = [
        "-device",
        "nec-usb-xhci,id=xhci,addr=0x5",
        "-drive",
        &boot,
        "-device",
        "usb-storage,drive=boot,bus=xhci.0,serial=BOOT1",
        "-device",
        "ich9-ahci,id=ahci,addr=0x6",
        "-drive",
        &data,
        "-device",
        "ide-hd,drive=data,bus=ahci.0,serial=DATA1",
    ];

    // Installed and restarted without a hand.
    let mut vm = lab.start(&files, "pc", "e1000", "", &with_cd);
    let line = vm.wait_for("DISK ");
    assert!(line.contains(" ide serial=BOOT1"), "{line}");
    let line = vm.wait_for("INSTALLED ");
    assert!(line.contains("build=6.5.0-") && line.ends_with(&format!("vmk0={MAC}")), "{line}");
    let line = vm.wait_for("READY ");
    assert!(line.starts_with("READY h1.lab version=6.5.0 "), "{line}");
    assert!(
        line.contains("bootdisk=visible ssh=on") && line.contains(MAC) && line.contains("address=10.0.2.15"),
        "{line}"
    );
    let text = vm.good("vmware -v; esxcli network nic list; esxcli network ip interface list");
    assert!(text.starts_with("VMware ESXi 6.5.0 ") && text.contains("e1000"), "{text}");
    assert!(text.matches(MAC).count() >= 2, "{text}");
    let text = vm.good("vmkping -I vmk0 -c 2 10.0.2.2");
    assert!(text.contains("icmp_seq=0") && text.contains(" 0% packet loss"), "{text}");
    let (text, code) = vm.ssh("vmkping -c 1 -W 1 10.0.2.77");
    assert!(code != 0 && text.contains("100% packet loss"), "{text}");
    vm.good(&format!("esxcli system settings advanced set -o {OPTION} -i 1"));
    let console = vm.press_power();
    assert!(console.contains("\nSAVED ") && console.contains("POWEROFF"), "{console}");

    // On AHCI the native driver has the controller: the host runs, and forgets even what would mend it.
    let mut vm = lab.start(&files, "q35", "e1000", "", &ahci);
    let line = vm.wait_for("READY ");
    assert!(line.contains("bootdisk=lost"), "{line}");
    assert_eq!(int_value(&vm), "Int Value: 1", "the button saved it");
    let text = vm.good("esxcli storage core device list; esxcli system module set -m vmw_ahci -e false");
    assert!(!text.contains("BOOT1"), "{text}");
    let (text, code) = vm.ssh("/sbin/auto-backup.sh");
    assert!(code != 0 && text.contains("/bootbank"), "{text}");
    vm.good("reboot");
    let line = vm.wait_for("READY ");
    assert!(line.contains("bootdisk=lost"), "{line}");
    let text = vm.good("esxcli system module list");
    let line = text.lines().find(|line| line.starts_with("vmw_ahci ")).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["vmw_ahci", "true", "true"], "loaded and enabled: the setting was forgotten");
    drop(vm);

    // Where the disk is seen the same setting stays.
    let mut vm = lab.start(&files, "pc", "e1000", "", &ide);
    vm.wait_for("READY ");
    vm.good("esxcli system module set -m vmw_ahci -e false && esxcli system module set -m vmkusb -e false");
    vm.good("/sbin/auto-backup.sh");
    // A power cut right after the save.
    drop(vm);
    let mut vm = lab.start(&files, "q35", "e1000", "", &usb);
    let line = vm.wait_for("READY ");
    assert!(line.contains("bootdisk=visible"), "{line}");
    let text = vm.good("esxcli storage core device list; esxcli storage core adapter list");
    assert!(text.contains("mpx.vmhba32:C0:T0:L0") && text.contains("Size: 16384"), "{text}");
    assert!(text.contains("DATA1") && text.contains("Size: 2048") && text.contains("sata.vmhba"), "{text}");
}

/// ESXi 8 finds no kickstart on a CD of an AHCI controller, and no NIC with e1000; from a web server it installs.
#[test]
fn an_8_0_takes_its_kickstart_from_a_server_where_the_cd_is_out_of_reach() {
    let lab = Lab::new(40);
    let script = kickstart(&format!("--bootproto=dhcp --device={MAC}"));
    let files = artifacts("8.0", Some(&script), &["ks=cdrom:/KS.CFG"]);
    let (boot, cd) = (lab.drive("boot"), format!("file={},if=none,id=cd,media=cdrom,readonly=on", files.iso.display()));
    let sata = [
        "-device",
        "ich9-ahci,id=ahci,addr=0x6",
        "-drive",
        &boot,
        "-device",
        "ide-hd,drive=boot,bus=ahci.0,serial=BOOT1",
        "-drive",
        &cd,
        "-device",
        "ide-cd,drive=cd,bus=ahci.1",
    ];
    let mut vm = lab.start(&files, "q35", "vmxnet3", "", &sata);
    let line = vm.wait_for("INSTALL FAILED ");
    assert!(line.contains("cannot find kickstart file on cd-rom"), "{line}");
    drop(vm);

    let (address, server) = serve_once(script);
    let append = format!("ks=http://10.0.2.2:{}/token/ks.cfg", address.rsplit(':').next().unwrap());
    let mut vm = lab.start(&files, "q35", "e1000", &append, &sata);
    let line = vm.wait_for("INSTALL FAILED ");
    assert!(line.contains("No Network Adapters"), "{line}");
    drop(vm);

    let mut vm = lab.start(&files, "q35", "vmxnet3", &append, &sata);
    vm.wait_for("INSTALLED build=8.0");
    assert!(server.join().unwrap().starts_with("GET /token/ks.cfg "));
    let line = vm.wait_for("READY ");
    assert!(line.contains("bootdisk=visible ssh=on") && line.contains("address=10.0.2.15"), "{line}");
    // A new vmk0 gets another MAC address, and the session that asked for it is cut; the host is found again. With DHCP
    // QEMU's server would give the new MAC address another lease, and the forward leads to the first one.
    let text = vm.good("esxcli network ip interface list; esxcli network nic list");
    assert!(text.contains(MAC) && text.contains("nvmxnet3"), "{text}");
    vm.ssh(
        "cd /tmp; printf 'sleep 1\\nesxcli network ip interface remove -i vmk0\\n\
         esxcli network ip interface add -i vmk0 -p \"Management Network\"\\n\
         esxcli network ip interface ipv4 set -i vmk0 -t static -I 10.0.2.15 -N 255.255.255.0 -g 10.0.2.2\\n' > r.sh; setsid nohup sh r.sh > r.log 2>&1 &",
    );
    std::thread::sleep(Duration::from_secs(3));
    let start = Instant::now();
    let text = loop {
        let (text, code) = vm.ssh("esxcli network ip interface list; cat /tmp/r.log");
        if code == 0 && text.contains("MAC Address: 00:50:56:6") {
            break text;
        }
        assert!(start.elapsed() < PATIENCE, "{text}\n{}", vm.console());
        std::thread::sleep(Duration::from_secs(1));
    };
    assert!(!text.contains(MAC), "{text}");
    let text = vm.good("vmkping -I vmk0 -c 1 10.0.2.2");
    assert!(text.contains(" 0% packet loss"), "{text}");
}

/// A vanilla ISO, the kickstart on a FAT stick; disks on every other bus are seen; without --noeject 7.0 waits.
#[test]
fn a_7_0_takes_its_kickstart_from_a_stick_and_waits_without_noeject() {
    let lab = Lab::new(40);
    let files = artifacts("7.0", None, &[]);
    let tree = lab.path("tree");
    fs::create_dir_all(&tree).unwrap();
    let script = kickstart("--bootproto=dhcp").replace(" --noeject", "");
    fs::write(tree.join("KS.CFG"), format!("{script}%post --interpreter=busybox\nvsish -e set /system/log PO''ST\n"))
        .unwrap();
    let made = Command::new("qemu-img")
        .args(["convert", "-f", "vvfat", "-O", "raw"])
        .arg(format!("fat:{}", tree.display()))
        .arg(lab.path("stick"))
        .status();
    assert!(made.unwrap().success());
    let (boot, cd, data) = (
        lab.drive("boot"),
        format!("file={},if=none,id=cd,media=cdrom,readonly=on", files.iso.display()),
        lab.drive("data"),
    );
    let stick = format!("file={},if=none,id=stick,format=raw", lab.path("stick").display());
    let hardware = [
        "-drive",
        &boot,
        "-device",
        "pvscsi,id=pv,addr=0x7",
        "-device",
        "scsi-hd,drive=boot,bus=pv.0,serial=BOOT1",
        "-drive",
        &cd,
        "-device",
        "ide-cd,drive=cd,bus=ide.1",
        "-usb",
        "-drive",
        &stick,
        "-device",
        "usb-storage,drive=stick",
        "-drive",
        &data,
        "-device",
        "nvme,drive=data,serial=NVME1,addr=0x8",
    ];
    let mut vm = lab.start(&files, "pc", "e1000e", "ks=usb:/KS.CFG logPort=com1", &hardware);
    vm.wait_for("INSTALLING build=7.0.");
    vm.wait_for("POST");
    let line = vm.wait_for("INSTALLED ");
    assert!(line.ends_with(&format!("vmk0={MAC}")), "{line}");
    vm.wait_for("WAITING ");
    let console = vm.press_power();
    for (bus, serial) in [("pvscsi", "BOOT1"), ("nvme", "NVME1"), ("usb", "")] {
        let wanted = format!(" {bus} serial={serial}");
        assert!(console.lines().any(|line| line.starts_with("DISK ") && line.contains(&wanted)), "{wanted}: {console}");
    }
}

/// Answers one request for a kickstart on a loopback port and gives what was asked.
fn serve_once(body: String) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let task = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = String::new();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        reader.read_line(&mut asked).unwrap();
        // To the end of the request: closing on unread bytes would reset the connection under the answer.
        let mut rest = String::new();
        while reader.read_line(&mut rest).unwrap() > 2 {}
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        asked
    });
    (address, task)
}

/// The second call takes everything from the cache; nothing in it is rewritten.
#[test]
fn artifacts_are_made_once() {
    let first = artifacts("6.7", None, &[]);
    let files = |files: &Artifacts| {
        [&files.kernel, &files.initrd, &files.iso].map(|path: &PathBuf| Path::new(path).metadata().unwrap().ino())
    };
    let made = files(&first);
    let again = artifacts("6.7", None, &[]);
    assert_eq!((&first, made), (&again, files(&again)));
    assert!(fs::read(&first.kernel).unwrap().starts_with(b"\x7fELF"));
}
