//! Targets for the launcher: the lab's file, what QEMU and this machine say, images, and what the stand-in guest reads.

use std::collections::BTreeMap;
use std::path::Path;

use super::{fields, said, size, text};
use crate::lab::doctor::{self, DevKvm, FolderFacts, GuestNeed, MacNeed, Machine, ModuleFacts, Need, PortNeed, Said};
use crate::lab::plan::{Accel, Cpu, DirectKernel, Facts, Vendor, plan, render};
use crate::lab::qemu::QemuVersion;
use crate::lab::qmp::{self, human};
use crate::lab::spec::Lab;
use crate::lab::{argv, graph, guest, install, net, rules, state, thing};
use crate::sim::guest::fuzzing as standin;

pub(super) const LABS: &[&str] = &[
    "name: x\nesxi: \"8.0\"\niso: i.iso\nhosts: 2\n",
    "esxi: \"6.5\"\niso: i.iso\nnetworks:\n  lan: {type: ovs, address: 10.9.0.1/24, first: 10.9.0.11}\n  m: ~\nhosts:\n  a: {nics: [{network: lan, vlan: 10}], address: 10.9.0.20/24}\n  b: {clone_from: a, memory: 5GiB}\n",
    "guest: standin\nesxi: \"6.5\"\ncpus: 2\nmemory: 512MiB\nboot_disk: {size: 4GiB, bus: usb, serial: X}\ndata_disks: [{size: 1TiB, bus: ahci}]\nstages:\n  - {name: fix, machine: pc, boot_disk: ide, data_disks: none}\n  - {name: run, machine: q35}\nroot_password: {env: X}\nssh_keys: [\"ssh-ed25519 AAAA me\"]\n",
];
pub(super) const KICKSTARTS: &[&str] = &[
    "accepteula\nrootpw VMware1!\ninstall --firstdisk=usb,local --overwritevmfs\nnetwork --bootproto=static --ip=10.0.2.15 --netmask=255.255.255.0 --gateway=10.0.2.2 --nameserver=10.0.2.3,10.0.2.4 --hostname=h1.lab --addvmportgroup=0\nreboot --noeject\n%pre --interpreter=busybox\necho a > /tmp/x\n%firstboot --interpreter=busybox\nvim-cmd hostsvc/enable_ssh\nesxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1\n",
    "vmaccepteula\r\nrootpw --iscrypted $6$abc$def\r\ninstallorupgrade --disk=/vmfs/devices/disks/mpx.vmhba0:C0:T0:L0\r\nkeyboard 'US Default'\r\nkernelopt=ks=cdrom:/KS.CFG ip=1.2.3.4\r\nbuild=6.7.0-1.28\r\n",
];
pub(super) const REQUESTS: &[&str] = &[
    "GET /0123456789abcdef/ks.cfg HTTP/1.1\r\nHost: 10.0.2.2:8080\r\nUser-Agent: x\r\nConnection: close\r\n\r\n",
    "HEAD http://10.0.2.2/ks.cfg HTTP/1.0\n\n",
];
pub(super) const CONSOLES: &[&str] = &[
    "\u{1b}[2J\u{1b}[01;01HISOLINUX 4.05\r\nLoading /b.b00\r\nLoading VMware ESXi\r\n2026-11-22T08:00:00.000Z cpu0:65536)Boot: 1\r\n\u{1b}]0;t\u{7}running weasel\r\n\tprogress 27%\r\n50%\u{8}\u{8}\u{8}60%\rREADY\n",
    "READY h1.lab version=6.5.0 build=1 bootdisk=visible\nlogin: ",
];
pub(super) const MONITOR: &[&str] = &[
    "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 2, \"minor\": 0, \"major\": 10}, \"package\": \"Debian\"}, \"capabilities\": [\"oob\"]}}\r\n{\"return\": {\"running\": true, \"status\": \"running\"}, \"id\": 7}\n{\"timestamp\": {\"seconds\": 1795887500, \"microseconds\": 232850}, \"event\": \"SHUTDOWN\", \"data\": {\"guest\": false, \"reason\": \"host-qmp-quit\"}}\n{\"id\": 8, \"error\": {\"class\": \"GenericError\", \"desc\": \"x\"}}\n{\"return\": [{\"device\": \"d0\", \"inserted\": {\"drv\": \"qcow2\", \"ro\": false, \"file\": \"/d\", \"image\": {\"format\": \"qcow2\", \"snapshots\": [{\"id\": \"1\", \"name\": \"s\"}]}}}]}\n{\"return\": [{\"id\": \"j\", \"status\": \"concluded\", \"error\": \"no\"}]}\n",
    "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  TCP[HOST_FORWARD]  15       127.0.0.1 20023       10.0.2.15   443     0     0\r\n  UDP[HOST_FORWARD]   8               * 20022       10.0.2.15    22     0     0\r\n  ICMP[4 sec]        20       10.0.2.15  -            10.0.2.2  -       0     0\r\n",
    "tcp:127.0.0.1:8443-10.0.2.15:443",
    "host forwarding rule for tcp:127.0.0.1:20023 removed\r\n",
    "8443:443",
];
pub(super) const PROCESSES: &[&str] = &[
    "11781 (a) R 1 (b) S 1 11781 11781 0 -1 4194560 1 2 3 4 70 30 9 9 20 0 3 0 123456 1 2",
    "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n   1: 00000000:0035 00000000:0000 07 0:0 0:0 0 0 0 77 2\n",
    "qemu-system-x86_64: warning: x\r\nqemu-system-x86_64: -drive file=/d: Failed to get \"write\" lock\n",
    "qemu\0-qmp\0unix:/run/e/x/h1.qmp,server=on,wait=off\0-drive\0file=/a,,b",
];
pub(super) const TABLES: &[&str] = &[
    "[{\"ifindex\":1,\"ifname\":\"lo\",\"flags\":[\"LOOPBACK\",\"UP\"],\"mtu\":65536},{\"ifname\":\"br0\",\"flags\":[],\"mtu\":1500,\"linkinfo\":{\"info_kind\":\"bridge\"},\"ifalias\":\"esxprep:demo\",\"master\":\"x\"}]",
    "[{},{\"ifname\":\"br0\",\"addr_info\":[{\"family\":\"inet\",\"local\":\"10.0.0.1\",\"prefixlen\":24,\"label\":\"br0:ep\"},{\"local\":\"fd00::1\",\"prefixlen\":64}]}]",
    "[{\"mac\":\"52:54:00:00:00:01\",\"ifname\":\"tap2\",\"state\":\"\"},{\"mac\":\"aa:bb\",\"ifname\":\"tap2\",\"state\":\"permanent\"}]",
    "{\"data\":[[[\"map\",[[\"esxprep\",\"demo\"]]]]],\"headings\":[\"external_ids\"]}",
];
pub(super) const SWITCH: &[&str] = &[
    "{\"do\":\"stats\"}\n{\"do\":\"add-port\",\"port\":{\"name\":\"h1-0\",\"vlan\":{\"mode\":\"native-untagged\",\"tag\":10,\"vlans\":[20]},\"faults\":{\"loss\":0.5,\"latency_ms\":10,\"jitter_ms\":5,\"seed\":1}}}\n{\"do\":\"remove-port\",\"name\":\"h1-0\"}\n{\"do\":\"capture\",\"file\":\"/x.pcap\",\"max_bytes\":1000}\n{\"do\":\"faults\",\"name\":\"p\",\"faults\":{\"loss\":1}}\n52:54:00:aa:bb:01\n",
    "{\"is\":\"done\"}\n{\"is\":\"refused\",\"problem\":\"no\"}\n{\"is\":\"table\",\"rows\":[{\"vlan\":10,\"mac\":\"52:54:00:aa:bb:01\",\"port\":\"p\",\"age_s\":3}]}\n{\"is\":\"events\",\"events\":[{\"event\":\"same-mac\",\"mac\":\"52:54:00:aa:bb:01\",\"vlan\":0,\"ports\":[\"a\",\"b\"],\"moves\":2,\"at_ms\":5}]}\n",
    "{\"lab\":\"demo\",\"dir\":\"/run/e/x\",\"ports\":[{\"name\":\"h1-0\",\"vlan\":{\"mode\":\"trunk\",\"vlans\":[0,10]}},{\"name\":\"h2-0\"}],\"ageing_s\":300}",
];
pub(super) const THINGS: &[&str] = &[
    "{\"seq\":1,\"time\":\"t\",\"op\":\"making\",\"thing\":{\"kind\":\"folder\",\"host\":null,\"path\":\"/d\"}}\n{\"seq\":2,\"time\":\"t\",\"op\":\"made\",\"thing\":{\"kind\":\"net\",\"of\":{\"what\":\"bridge\",\"place\":{\"lab\":\"demo\",\"netns\":\"ns\"},\"name\":\"br0\",\"mtu\":9000}}}\n{\"seq\":3,\"time\":\"t\",\"op\":\"made\",\"thing\":{\"kind\":\"process\",\"host\":\"h1\",\"of\":{\"what\":\"socket\",\"path\":\"/run/e/x/h1.qmp\"}}}\n{\"seq\":1,\"time\":\"t\",\"op\":\"unmade\"}\n{\"seq\":7,\"op\":\"odd\"}\n{\"seq\":8,\"time\":\"t\",\"op\":\"ma",
];
/// What a machine says, in the order of [`doctor`]'s fields.
pub(super) const MACHINES: &[&str] = &[
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Test CPU\nflags\t\t: fpu vmx ept lm\nvmx flags\t: ept\n\0MemTotal: 8388608 kB\nMemAvailable: 6291456 kB\nHugePages_Total: 0\n\x0027 1 254:0 / / rw,relatime shared:1 - btrfs /dev/vda rw,compress=zstd\n28 27 0:5 / /srv\\040x ro - ext4 /dev/vdb ro\n\0  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1\n\0   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 77 1\n\0[{\"ifname\":\"br0\",\"address\":\"52:54:00:00:00:01\"}]\0[{\"mac\":\"52:54:00:00:00:01\",\"ifname\":\"tap0\",\"master\":\"br0\"}]\0[{\"mac\":\"52:54:00:00:00:01\",\"ifname\":\"tap1\",\"master\":\"br0\"}]\0[{\"dst\":\"10.0.0.1\",\"dev\":\"br0\",\"lladdr\":\"52-54-00-00-00-01\",\"state\":[\"STALE\"]}]\0QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n\0Accelerators supported in QEMU binary:\ntcg\nkvm\n\0kvm_intel 400 0 - Live 0x0\nkvm 900 1 kvm_intel, Live 0x0\n\0options kvm_intel nested=0 \\\n ept=1\noptions kvm ignore_msrs=1\n\0Uid: 1\nCapEff:\t000001ffffffffff\n\0kvm:x:108:me\nroot:x:0:\n\0ID=debian\nVERSION_ID=\"12\"\n\0Y\n\0meta-data=/dev/vdb reflink=0\n\x001024\n\0always [madvise] never\n\0BOOT_IMAGE=/vmlinuz mitigations=off\n\x000-3\n\x006.1.0-56-amd64\n",
];
pub(super) const VERSIONS: &[&str] = &[
    "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)\nCopyright",
    "8.2.2-rc1",
    "{\"virtual-size\":1099511627776,\"format\":\"qcow2\",\"actual-size\":212992,\"snapshots\":[{\"name\":\"s1\",\"date-sec\":1795887155,\"id\":\"1\",\"vm-state-size\":0}],\"full-backing-filename\":\"/x/a.qcow2\",\"backing-filename\":\"a.qcow2\",\"dirty-flag\":false}",
    "{\"image-end-offset\":327680,\"total-clusters\":16,\"check-errors\":0,\"leaks\":2,\"corruptions\":1}",
];

/// Machines that a lab is planned for.
fn machines() -> [Facts; 2] {
    let kernel = DirectKernel { kernel: "/s/k".into(), initrd: "/s/i".into(), append: "console=ttyS0".into() };
    let able = Facts {
        qemu: QemuVersion { major: 10, minor: 0, micro: 2 },
        kvm: true,
        cpu: Cpu { vendor: Vendor::Intel, ..Cpu::default() },
        folder: "/var/lab".into(),
        runtime: "/run/e/x".into(),
        standin: Some(kernel),
        ovmf: Some(("/o/code.fd".into(), "/o/vars.fd".into())),
        ..Facts::default()
    };
    let poor = Facts { qemu: QemuVersion::OLDEST, kvm: false, standin: None, ovmf: None, ..able.clone() };
    [able, poor]
}

/// A lab's file: read, planned for two machines, shown. What is refused names a line that is there.
pub(super) fn lab_file(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let refused = |problems: &crate::playbook::Problems| {
        let (plain, drawn) = (problems.plain(), problems.drawn(false, 80));
        assert!(!plain.trim().is_empty() && !drawn.trim().is_empty());
        plain.len()
    };
    let lab = match Lab::from_text(Path::new("lab.yml"), &text) {
        Ok(lab) => lab,
        Err(problems) => return refused(&problems),
    };
    let mut all = 0;
    for facts in machines() {
        let planned = match plan(&lab, &facts) {
            Ok(planned) => planned,
            Err(problems) => {
                all += refused(&problems);
                continue;
            }
        };
        let show = render::Show { why: true, ..render::Show::default() };
        let shown = render::human(&planned, rules::book(), show).len() + graph::svg(&planned).len();
        for host in &planned.hosts {
            for stage in &host.stages {
                let words = argv::words(&argv::argv(&stage.machine, argv::Style::default()));
                assert!(words.iter().all(|word| !word.contains(['\n', '\0'])), "{words:?}");
                let runs = facts.kvm || stage.machine.accel == Accel::Tcg || planned.blockers().count() > 0;
                assert!(runs, "KVM where there is none, and no word of it");
            }
        }
        // `hosts: 64` is a lab too, so the answer is measured by the host.
        all += shown / planned.hosts.len().max(1);
    }
    all
}

/// QEMU's monitors: lines of QMP with their typed answers, and what the human monitor says.
pub(super) fn monitor(bytes: &[u8]) -> usize {
    qmp::wire::fuzz(bytes);
    let mut all = 0;
    for line in bytes.split(|b| *b == b'\n') {
        let read = qmp::wire::parse_line(line);
        all += said(&read);
        if let Ok(Some(qmp::wire::Incoming::Return { value, .. })) = read {
            all += said(&serde_json::from_value::<qmp::Status>(value.clone()));
            all += said(&serde_json::from_value::<Vec<qmp::Job>>(value.clone()));
            let devices = serde_json::from_value::<Vec<qmp::BlockDevice>>(value);
            all += devices.iter().flatten().filter_map(qmp::BlockDevice::name).map(str::len).sum::<usize>();
            all += said(&devices);
        }
    }
    let text = text(bytes);
    let connections = human::user_connections(&text);
    for forward in connections.iter().filter_map(human::UserConnection::forward) {
        all += forward.rule().len();
    }
    if let Ok(forward) = text.parse::<human::Forward>() {
        assert_eq!(forward.rule().parse(), Ok(forward));
    }
    if let Ok(word) = human::word(&text) {
        assert!(!word.contains(char::is_whitespace));
    }
    for answer in [human::silence("savevm x", &text), human::removed("hostfwd_remove x", &text)] {
        if let Err(error) = &answer {
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
        }
        all += said(&answer);
    }
    all + size(&connections)
}

/// The version of QEMU, twice, and `qemu-img`'s JSON.
pub(super) fn qemu(bytes: &[u8]) -> usize {
    let text = text(bytes);
    let version = text.parse::<QemuVersion>();
    if let Ok(version) = version {
        assert_eq!(version.to_string().parse(), Ok(version));
    }
    let info = serde_json::from_slice::<crate::lab::disk::Info>(bytes);
    let check = serde_json::from_slice::<crate::lab::disk::Check>(bytes);
    said(&version) + size(&doctor::QemuVersion::parse(&text)) + said(&info) + said(&check)
}

/// A machine made of the input, examined for a lab of two hosts.
pub(super) fn doctor(bytes: &[u8]) -> usize {
    let parts: [_; 23] = fields(bytes);
    let parts = parts.map(|part| Some(part.into_owned()).filter(|part| !part.is_empty()));
    let said = |part: &Option<String>| part.clone().map_or(Said::Missing, Said::Text);
    let module = ModuleFacts {
        initstate: Some("live".into()),
        refcnt: parts[16].clone(),
        parameters: ["nested", "ept", "ignore_msrs"].map(|name| (name.to_owned(), parts[16].clone())).into(),
    };
    let machine = Machine {
        cpuinfo: parts[0].clone(),
        meminfo: parts[1].clone(),
        mountinfo: parts[2].clone(),
        tcp: parts[3].clone(),
        tcp6: parts[4].clone(),
        links: said(&parts[5]),
        fdb: said(&parts[6]),
        fdb_later: vec![said(&parts[7])],
        neighbours: said(&parts[8]),
        qemu_version: said(&parts[9]),
        qemu_accels: said(&parts[10]),
        modules: parts[11].clone(),
        modprobe_d: parts[12].iter().map(|text| ("/etc/modprobe.d/a.conf".into(), text.clone())).collect(),
        self_status: parts[13].clone(),
        group_file: parts[14].clone(),
        os_release: parts[15].clone(),
        sys_module: true,
        kvm_modules: BTreeMap::from(["kvm", "kvm_intel", "kvm_amd"].map(|name| (name.to_owned(), module.clone()))),
        dev_kvm: DevKvm::Denied { mode: 0o660, gid: 108 },
        uid: 1000,
        folder: Some(FolderFacts {
            path: "/srv x/lab".into(),
            existing: "/srv x".into(),
            xfs_info: said(&parts[17]),
            ..FolderFacts::default()
        }),
        unprivileged_ports: parts[18].clone(),
        thp: parts[19].clone(),
        cmdline: parts[20].clone(),
        hybrid: (parts[21].clone(), parts[21].clone()),
        kernel: parts[22].clone(),
        ..Machine::default()
    };
    let guest = |name: &str| GuestNeed { name: name.into(), memory_mib: 8192, vcpus: 4, esxi: Some("8.0".into()) };
    let need = Need {
        guests: vec![guest("h1"), guest("h2")],
        ports: vec![PortNeed { port: 8080, purpose: "SSH of h1".into() }],
        macs: vec![MacNeed { mac: "52:54:00:00:00:01".into(), owner: "h1 vmnic0".into() }],
        networks: vec![doctor::NetworkKind::Bridge, doctor::NetworkKind::User, doctor::NetworkKind::Ovs],
        vmxnet3: true,
        qemu_at_least: Some((7, 2)),
        ..Need::default()
    };
    let report = doctor::report(&machine, &need);
    for finding in &report.findings {
        assert!(!finding.seen.trim().is_empty() && !finding.id.is_empty(), "{finding:?}");
    }
    doctor::human(&report, 80, true).len() + doctor::json(&report).map_or(0, |json| json.len())
}

/// An installer's ISO: as it is, and behind the sectors that come before the first descriptor.
pub(super) fn iso(bytes: &[u8]) -> usize {
    install::fuzzing::iso(bytes) + install::fuzzing::iso(&super::behind_system_area(bytes))
}

/// A screen. A good PNG may be thousands of times larger as pixels, so these are not counted.
pub(super) fn screen(bytes: &[u8]) -> usize {
    install::fuzzing::screen(bytes).min(bytes.len())
}

/// The serial port: the log's lines, and the watcher that follows an installation.
pub(super) fn console(bytes: &[u8]) -> usize {
    guest::fuzzing::serial(bytes) + install::fuzzing::console(bytes)
}

/// A lab's journal, and the values that are kept beside it.
pub(super) fn journal(bytes: &[u8]) -> usize {
    let times = serde_json::from_slice::<state::PhaseTimes>(bytes);
    for (phase, _) in times.iter().flat_map(|times| &times.0) {
        let _ = times.as_ref().map(|times| times.usual(phase));
    }
    state::journal::fuzz::<thing::Thing>(bytes)
        + said(&serde_json::from_slice::<state::Ports>(bytes))
        + said(&serde_json::from_slice::<state::Stages>(bytes))
        + said(&times)
}

/// The kernel's words of a process.
pub(super) fn process(bytes: &[u8]) -> usize {
    guest::fuzzing::proc(bytes)
}

/// What `ip`, `bridge` and `ovs-vsctl` print.
pub(super) fn tables(bytes: &[u8]) -> usize {
    net::fuzzing::tables(bytes)
}

/// Frames through the switch.
pub(super) fn frames(bytes: &[u8]) -> usize {
    net::fuzzing::frames(bytes)
}

/// Requests to the switch.
pub(super) fn switch(bytes: &[u8]) -> usize {
    net::fuzzing::control(bytes)
}

/// A kickstart in the stand-in guest.
pub(super) fn standin_script(bytes: &[u8]) -> usize {
    standin::script(bytes)
}

/// The stand-in's CD and stick.
pub(super) fn standin_media(bytes: &[u8]) -> usize {
    standin::disc(bytes) + standin::stick(bytes)
}

/// The stand-in's saved state.
pub(super) fn standin_state(bytes: &[u8]) -> usize {
    standin::saved(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seeds that are refused from the start would only try the first error.
    #[test]
    fn the_seeds_are_taken() {
        let [able, _] = machines();
        for text in LABS {
            let lab = Lab::from_text(Path::new("lab.yml"), text).unwrap_or_else(|e| panic!("{}", e.plain()));
            let planned = plan(&lab, &able).unwrap_or_else(|e| panic!("{}", e.plain()));
            assert!(!planned.hosts.is_empty());
        }
        assert!(human::user_connections(MONITOR[1]).len() == 2 && MONITOR[2].parse::<human::Forward>().is_ok());
        for line in MONITOR[0].lines() {
            assert!(qmp::wire::parse_line(line.as_bytes()).is_ok_and(|read| read.is_some()), "{line}");
        }
        for line in SWITCH[0].lines().filter(|line| line.starts_with('{')) {
            assert!(serde_json::from_str::<net::hub::Request>(line).is_ok(), "{line}");
        }
        for line in SWITCH[1].lines() {
            assert!(serde_json::from_str::<net::hub::Reply>(line).is_ok(), "{line}");
        }
        assert!(serde_json::from_str::<net::hub::Config>(SWITCH[2]).unwrap().check().is_ok());
        assert_eq!(net::parse_links(TABLES[0].as_bytes()).unwrap().len(), 2);
        assert_eq!(net::parse_addresses(TABLES[1].as_bytes(), "br0").unwrap().len(), 2);
        assert_eq!(MACHINES[0].split('\0').count(), 23);
        assert_eq!(THINGS[0].lines().filter(|l| serde_json::from_str::<Line>(l).is_ok()).count(), 4);
    }

    type Line = state::journal::Entry<thing::Thing>;
}
