//! Printed outputs against recorded ones: the state is set to the values of the recording.

use super::*;

macro_rules! file {
    ($path:literal) => {
        output(include_str!(concat!("../../../../fixtures/transcripts/", $path, ".txt")))
    };
}

#[test]
fn nic_lists() {
    let mut h = Host::new("6.7");
    let text = "Broadcom Corporation NetXtreme BCM5719 Gigabit Ethernet";
    h.state.nics = (0..4)
        .map(|n| {
            let mac = format!("20:67:7c:d9:a1:6{}", ["c", "d", "e", "f"][n]);
            nic(&format!("vmnic{n}"), &format!("0000:02:00.{n}"), "ntg3", n < 2, 1000, &mac, text)
        })
        .collect();
    assert_eq!(h.run("esxcli network nic list").0, file!("6.7/network-nic-list-ntg3"));

    let mut h = Host::new("7.0");
    let text = "Intel Corporation I210 Gigabit Network Connection";
    h.state.nics = vec![
        nic("vmnic0", "0000:04:00.0", "igbn", true, 1000, "04:d4:c4:5a:e2:78", text),
        nic("vmnic1", "0000:05:00.0", "igbn", true, 1000, "04:d4:c4:5a:e2:77", text),
    ];
    assert_eq!(h.run("esxcli network nic list").0, file!("7.0/network-nic-list-short-dashes"));

    let mut h = Host::new("6.0");
    let intel = "Intel Corporation Ethernet Controller 10 Gigabit X540-AT2";
    h.state.nics = vec![
        nic(
            "vmnic0",
            "0000:01:00.0",
            "tg3",
            true,
            1000,
            "68:5b:35:c9:96:10",
            "Broadcom Corporation NetXtreme BCM57766 Gigabit Ethernet",
        ),
        nic("vmnic1", "0000:09:00.0", "ixgbe", true, 10000, "00:30:93:0c:05:c6", intel),
        nic("vmnic2", "0000:09:00.1", "ixgbe", true, 10000, "00:30:93:0c:05:c7", intel),
    ];
    h.state.nics[1].mtu = 9000;
    h.state.nics[2].mtu = 9000;
    let text = h.run("esxcli network nic list").0;
    // This source lost the trailing blanks; that 5.x and 6.x have them is another recording.
    assert_eq!(trimmed(&text), trimmed(&file!("6.0/network-nic-list-10g")));
    let old = file!("5.x/network-nic-list-trailing-blanks");
    let tail = |t: &str| {
        let lines: Vec<usize> = t.lines().map(str::len).collect();
        lines.windows(2).all(|w| w[0] == w[1])
    };
    assert!(tail(&old) && tail(&text));
}

#[test]
fn nic_in_the_machine_forms() {
    let mut h = Host::new("8.0");
    let text = "Intel(R) Ethernet Controller X550";
    h.state.nics = vec![
        nic("vmnic0", "0000:18:00.0", "ixgben", true, 10000, "78:ac:44:07:b2:c4", text),
        nic("vmnic1", "0000:18:00.1", "ixgben", true, 10000, "78:ac:44:07:b2:c5", text),
        nic(
            "vmnic2",
            "0000:19:00.0",
            "igbn",
            false,
            1000,
            "78:ac:44:07:b2:c6",
            "Intel(R) I350 Gigabit Network Connection",
        ),
    ];
    assert_eq!(h.run("esxcli --formatter=keyvalue network nic list").0, file!("8.0/network-nic-list-keyvalue"));
    h.state.nics.truncate(1);
    let xml = h.run("esxcli --formatter=xml network nic list").0;
    assert_eq!(
        xml.strip_prefix("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n").unwrap().trim_end(),
        file!("8.0/network-nic-list-xml").trim_end()
    );
    // Columns by property name, a comma at the end of every line; asked fields in the asked order.
    assert_eq!(
        h.run("esxcli --formatter=csv network nic list").0,
        "AdminStatus,DPUId,Description,Driver,Duplex,Link,LinkStatus,MACAddress,MTU,Name,PCIDevice,Speed,\n\
         Up,N/A,Intel(R) Ethernet Controller X550,ixgben,Full,Up,Up,78:ac:44:07:b2:c4,1500,vmnic0,0000:18:00.0,10000,\n"
    );
    let a =
        h.answer(&["esxcli", "--formatter=csv", "--format-param=fields=Name,MAC Address", "network", "nic", "list"]);
    assert_eq!(String::from_utf8(a.stdout).unwrap(), "Name,MACAddress,\nvmnic0,78:ac:44:07:b2:c4,\n");
    h.state.nics.clear();
    assert_eq!(h.run("esxcli network nic list"), (String::new(), 0));
    assert_eq!(h.run("esxcli --formatter=csv network nic list").0, "");
}

#[test]
fn nic_get() {
    let mut h = Host::new("6.5");
    h.state.nics =
        vec![nic("vmnic0", "0000:00:1f.6", "ne1000", true, 1000, "70:5a:0f:00:00:01", "Intel Corporation I219-V")];
    let text = h.run("esxcli network nic get -n vmnic0").0;
    let version = |t: &str| {
        trimmed(t)
            .lines()
            .map(|l| match l.trim_start() {
                v if v.starts_with("Version:") || v.starts_with("Firmware") => l.split(':').next().unwrap().to_owned(),
                _ => l.to_owned(),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(version(&text), version(&file!("6.5/network-nic-get-vmnic0")));
    assert!(text.contains("   Transceiver: \n"), "an empty value keeps its blank");
    assert_eq!(h.run("esxcli network nic get -n vmnic9").1, 1);
}

#[test]
fn switches_and_port_groups() {
    let mut h = Host::new("6.7");
    let net = &mut h.state.net;
    net.portgroups.truncate(1);
    net.portgroups[0].name = "Management VMkernel".into();
    net.vmks[0].portgroup = "Management VMkernel".into();
    let mut other = net.vswitches[0].clone();
    other.name = "vSwitch1".into();
    other.ports = 1024;
    other.uplinks = vec!["vmnic3".into(), "vmnic2".into(), "vmnic1".into()];
    net.vswitches.push(other);
    let mut group = net.portgroups[0].clone();
    group.name = "Server Network".into();
    group.vswitch = "vSwitch1".into();
    group.vm_clients = 3;
    net.portgroups.push(group);
    assert_eq!(h.run("esxcli network vswitch standard list").0, file!("6.7/network-vswitch-standard-list"));
    assert_eq!(
        h.run("esxcli network vswitch standard portgroup list").0,
        file!("6.7/network-vswitch-standard-portgroup-list").replace("  ", "  ")
    );
    let v = &mut h.state.net.vmks[0];
    v.name = "vmk1".into();
    v.kind = "STATIC".into();
    v.address = "10.130.2.122".into();
    v.gateway = "10.130.2.1".into();
    v.dhcp_dns = false;
    assert_eq!(h.run("esxcli network ip interface ipv4 get").0, file!("6.7/network-ip-interface-ipv4-get-vmk1-only"));
}

#[test]
fn filesystems() {
    for (version, recorded) in [
        ("6.7", file!("6.7/storage-filesystem-list-empty-names")),
        ("8.0", file!("8.0/storage-filesystem-list-vmfsos")),
    ] {
        let mut h = Host::new(version);
        // The values are read back from the recording by its ruler, the printing is what is tested.
        let lines: Vec<&str> = recorded.lines().collect();
        let mut starts = vec![0];
        starts.extend(
            lines[1].char_indices().filter(|(i, c)| *c == '-' && lines[1][..*i].ends_with(' ')).map(|(i, _)| i),
        );
        h.state.stores = lines[2..]
            .iter()
            .map(|l| {
                let cell = |n: usize| l[starts[n]..starts.get(n + 1).map_or(l.len(), |e| *e)].trim();
                store(cell(1), cell(2), cell(4), cell(5).parse().unwrap(), cell(6).parse().unwrap())
            })
            .collect();
        assert_eq!(h.run("esxcli storage filesystem list").0, recorded);
    }
}

#[test]
fn records() {
    let mut h = Host::new("6.0");
    (h.state.build, h.state.update, h.state.patch) = (3_073_146, 1, 20);
    assert_eq!(h.run("esxcli system version get").0, file!("6.0/system-version-get-601-p20"));
    h.quiet("esxcli system settings advanced set -o /Net/TcpipDefLROEnabled -i 0");
    let text = h.run("esxcli system settings advanced list -o /Net/TcpipDefLROEnabled").0;
    assert_eq!(trimmed(&text), trimmed(&file!("6.0/settings-advanced-list-tcpipdeflro")));
    assert!(text.contains("   String Value: \n"));
    assert_eq!(
        h.run("esxcli network firewall ruleset rule list -r gdbserver").0,
        file!("6.0/firewall-ruleset-rule-list-gdbserver")
    );
    let mut h = Host::new("6.7");
    assert_eq!(trimmed(&h.run("esxcli system account list").0), trimmed(&file!("6.7/system-account-list")));
    h.quiet("esxcli system account add -i lawrence -d administrator");
    h.quiet("esxcli system permission set -i lawrence -r Admin");
    assert_eq!(trimmed(&h.run("esxcli system permission list").0), trimmed(&file!("6.7/system-permission-list")));
    assert_eq!(h.state.shell_login_banner(), file!("6.7/ssh-login-banner"));
    h.state.stores[0].uuid = "5bc7459f-967eeb48-b3f7-20677cd9a16c".into();
    h.state.vms = vec![vm(1, "gns3_vm", 4_455_345), vm(2, "ubuntu_gns3", 4_455_488)];
    let drop_uuid = |t: &str| t.lines().filter(|l| !l.contains("UUID:")).collect::<Vec<_>>().join("\n");
    assert_eq!(drop_uuid(&h.run("esxcli vm process list").0), drop_uuid(&file!("6.7/vm-process-list")));
    let mut h = Host::new("7.0");
    h.quiet("esxcli system ntp set -s 1.nl.pool.org -s 2.nl.pool.org -s 3.nl.pool.org -e true");
    assert_eq!(h.run("esxcli system ntp get").0, file!("7.0/system-ntp-get"));
    h.state.bootbanks.0 = "10096f8b-d044b0e9-8697-0c6ccda4bf06".into();
    h.state.stores.push(store(
        "BOOTBANK2",
        "10096f8b-d044b0e9-8697-0c6ccda4bf06",
        "vfat",
        4_293_591_040,
        4_120_444_928,
    ));
    let device = |t: &str| t.lines().filter(|l| !l.starts_with([' ', '\t'])).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(device(&h.run("vmkfstools -P /bootbank").0), device(&file!("7.0/vmkfstools-p-bootbank2")));
    let mut h = Host::new("8.0");
    let config = std::fs::read_to_string(h.root.path().join("etc/ssh/sshd_config")).unwrap();
    let directives: String = config.split_inclusive('\n').filter(|l| !l.starts_with('#')).collect();
    assert_eq!(directives, file!("8.0/sshd-config-directives"));
    (h.state.full, h.state.build) = ("8.0.2".into(), 22_380_479);
    (h.state.host, h.state.domain) = ("localhost".into(), "home-life.hub".into());
    let uname = h.run("uname -a").0.replace("Jun  7 2024 11:40:28", "Sep  4 2023 15:00:49");
    assert_eq!(format!("CONNECTED\n{uname}{}", h.run("vmware -v").0), file!("8.0/uname-a-and-vmware-v"));
}

#[test]
fn errors_and_usage() {
    let mut h = Host::new("6.7");
    assert_eq!(
        h.run("esxcli software sources profile update -p x"),
        ("Error: Unknown command or namespace software sources profile update\n\n".into(), 1)
    );
    let (text, code) = h.run("esxcli network ip interface ipv4 set");
    assert_eq!(code, 1);
    assert!(text.starts_with(
        "Error: Missing required parameter -i|--interface-name\n       Missing required parameter -t|--type\n\nUsage: esxcli network ip interface ipv4 set [cmd options]\n\nDescription: \n  set                   Configure"
    ), "{text}");
    let recorded = file!("unknown/error-argument-type-mismatch-bool");
    let said = recorded.lines().next().unwrap().replace("'-l'", "'-e'");
    let (text, code) = h.run("esxcli network firewall set -e Falsefff");
    assert_eq!((text.lines().next().unwrap(), code), (said.as_str(), 1));
    assert_eq!(trimmed(&h.run("esxcli system account add --help").0), trimmed(&file!("6.7/system-account-add-help")));
    let (text, code) = h.run("esxcli network firewall");
    assert!(
        code == 0 && text.starts_with("Usage: esxcli network firewall {cmd} [cmd options]\n\nAvailable Namespaces:\n")
    );
    assert_eq!(
        h.run("esxcli network firewall ruleset set -r snmp -a true").0,
        file!("unknown/firewall-ruleset-set-already-allowed-all")
    );
    h.hostd_up = false;
    assert_eq!(h.run("esxcli network"), ("Connect to localhost failed: Connection failure\n".into(), 1));
    assert_eq!(h.run("vim-cmd hostsvc/hostsummary").1, 1);
    assert_eq!(h.run("localcli system maintenanceMode get"), ("Disabled\n".into(), 0));
}
