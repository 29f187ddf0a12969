use super::*;
use crate::esxi::recorded;
use proptest::prelude::*;

#[test]
fn nics_on_every_recorded_release() {
    let v5 =
        nics(&recorded(include_str!("../../fixtures/transcripts/5.x/network-nic-list-trailing-blanks.txt"))).unwrap();
    assert_eq!(v5.len(), 2);
    assert_eq!((v5[0].admin_up, v5[0].link_up, v5[0].speed, v5[0].full_duplex), (None, true, 1000, true));
    assert_eq!(v5[1].mac.unwrap().to_string(), "68:5b:35:91:47:85");
    let v6 = nics(&recorded(include_str!("../../fixtures/transcripts/6.0/network-nic-list-10g.txt"))).unwrap();
    assert_eq!((v6[1].admin_up, v6[1].speed, v6[1].mtu, v6[1].driver.as_str()), (Some(true), 10000, 9000, "ixgbe"));
    let v67 = nics(&recorded(include_str!("../../fixtures/transcripts/6.7/network-nic-list-ntg3.txt"))).unwrap();
    assert_eq!((v67[2].admin_up, v67[2].link_up, v67[2].speed, v67[2].full_duplex), (Some(true), false, 0, false));
    let v7 = nics(&recorded(include_str!("../../fixtures/transcripts/7.0/network-nic-list-short-dashes.txt"))).unwrap();
    assert_eq!((v7[1].name.as_str(), v7[1].driver.as_str()), ("vmnic1", "igbn"));
}

#[test]
fn vmknics_and_their_addresses() {
    let nine =
        vmknics(&recorded(include_str!("../../fixtures/transcripts/9.0/network-ip-interface-list-urpf.txt"))).unwrap();
    assert_eq!(
        nine,
        vec![Vmknic {
            name: "vmk0".into(),
            mac: Some("00:50:56:9f:78:3b".parse().unwrap()),
            enabled: true,
            portset: "vSwitch0".into(),
            portgroup: "Management Network".into(),
            netstack: DEFAULT_NETSTACK.into(),
            mtu: 9000,
            dvs: None,
        }]
    );
    let six =
        ipv4(&recorded(include_str!("../../fixtures/transcripts/6.7/network-ip-interface-ipv4-get-vmk1-only.txt")))
            .unwrap();
    assert_eq!(six[0].name, "vmk1");
    assert_eq!(six[0].address, Some(Ipv4Addr::new(10, 130, 2, 122)));
    assert_eq!((six[0].kind.clone(), six[0].gateway), (AddressType::Static, Some(Ipv4Addr::new(10, 130, 2, 1))));
    let late =
        ipv4(&recorded(include_str!("../../fixtures/transcripts/unknown/network-ip-interface-ipv4-address-list.txt")))
            .unwrap();
    assert_eq!((late[1].gateway, late[1].knows_gateway), (None, true));
    // The shape of 5.x: no Gateway column.
    let old = ipv4("Name  IPv4 Address  IPv4 Netmask   IPv4 Broadcast  Address Type  DHCP DNS\n----  ------------  -------------  --------------  ------------  --------\nvmk0  192.0.2.11    255.255.255.0  192.0.2.255     DHCP              true\n").unwrap();
    assert_eq!((old[0].knows_gateway, old[0].kind.clone(), old[0].dhcp_dns), (false, AddressType::Dhcp, true));
}

#[test]
fn switches_and_port_groups() {
    let s =
        vswitches(&recorded(include_str!("../../fixtures/transcripts/6.7/network-vswitch-standard-list.txt"))).unwrap();
    assert_eq!(s[1].uplinks, ["vmnic3", "vmnic2", "vmnic1"]);
    let s =
        vswitches(&recorded(include_str!("../../fixtures/transcripts/unknown/network-vswitch-standard-list-mtu.txt")))
            .unwrap();
    assert_eq!((s[0].name.as_str(), s[0].mtu, s[0].cdp.as_str()), ("defvSwitch", 1500, "listen"));
    let p = portgroups(&recorded(include_str!(
        "../../fixtures/transcripts/unknown/network-vswitch-standard-portgroup-list.txt"
    )))
    .unwrap();
    assert_eq!(p[3], Portgroup { name: "VM_VLAN3".into(), vswitch: "vSwitch0".into(), clients: 1, vlan: 3 });
    let p = portgroups(&recorded(include_str!(
        "../../fixtures/transcripts/6.7/network-vswitch-standard-portgroup-list.txt"
    )))
    .unwrap();
    assert_eq!(p[0].name, "Management VMkernel");
}

#[test]
fn one_line_lists() {
    let read = |t: &str, l| labelled_list(&recorded(t), l).unwrap();
    assert_eq!(
        read(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-server-list.txt"), "DNSServers"),
        ["192.168.1.30"]
    );
    assert!(
        read(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-server-list-none.txt"), "DNSServers")
            .is_empty()
    );
    assert_eq!(
        read(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-search-list.txt"), "DNSSearch Domains"),
        ["test.com"]
    );
    assert_eq!(labelled_list("   DNSServers: 10.0.0.1, 10.0.0.2\n", "DNSServers").unwrap(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(tags("   Tags: Management, VMotion\n").unwrap(), ["Management", "VMotion"]);
    assert!(tags("   Tags: \n").unwrap().is_empty());
    assert!(tags("something else\n").is_err());
}

#[test]
fn a_missing_label_names_itself() {
    let e = vmknics("vmk0\n   Name: vmk0\n   MTU: 1500\n").unwrap_err();
    assert_eq!(e.to_string(), "vmk0 has no `Enabled`");
    let e = vmknics("vmk0\n   Name: vmk0\n   Enabled: perhaps\n   MTU: 1500\n").unwrap_err();
    assert_eq!(e.to_string(), "`Enabled` of vmk0 is \"perhaps\"");
}

#[test]
fn firewall_forms() {
    let f = firewall(&recorded(include_str!("../../fixtures/transcripts/5.x/network-firewall-get.txt"))).unwrap();
    assert_eq!(f, Firewall { passes_by_default: false, enabled: true });
    let r = rulesets(&recorded(include_str!("../../fixtures/transcripts/5.x/firewall-ruleset-list-r.txt"))).unwrap();
    assert_eq!(r, [Ruleset { name: "remoteSerialPort".into(), enabled: false, addresses_configurable: None }]);
    let r = rulesets(&recorded(include_str!("../../fixtures/transcripts/6.0/firewall-ruleset-list-gdbserver.txt")))
        .unwrap();
    assert!(r[0].enabled);
    let a = allowed_ips("Ruleset    Allowed IP Addresses\n---------  --------------------\nsshServer  192.0.2.0/24, 10.0.0.5\nsnmp       All\n").unwrap();
    assert_eq!(a[0].addresses.as_deref(), Some(&["192.0.2.0/24".to_owned(), "10.0.0.5".to_owned()][..]));
    assert_eq!(a[1], AllowedIps { ruleset: "snmp".into(), addresses: None });
}

#[test]
fn default_routes_have_one_name() {
    let t = "Network    Netmask        Gateway   Interface  Source\n---------  -------------  --------  ---------  ------\ndefault    0.0.0.0        10.1.5.1  vmk0       MANUAL\n10.1.5.0   255.255.255.0  0.0.0.0   vmk0       MANUAL\n";
    let r = routes(t).unwrap();
    assert_eq!((r[0].network.as_str(), r[0].gateway), ("default", Some(Ipv4Addr::new(10, 1, 5, 1))));
    assert_eq!(r[1].gateway, None);
    assert_eq!(routes(&t.replace("default", "0.0.0.0")).unwrap()[0].network, "default");
}

proptest! {
    #[test]
    fn any_name_stays_one_word(name in "\\PC{1,30}|[ -~\\n\\t]{1,30}") {
        let c = name_opt(Command::esxcli("network vswitch standard portgroup add"), "-p", "--portgroup-name", &name);
        let words = shell_words::split(c.text()).unwrap();
        if name.starts_with('-') {
            prop_assert_eq!(words.len(), 7);
            prop_assert_eq!(words[6].as_str(), format!("--portgroup-name={name}"));
        } else {
            prop_assert_eq!(words.len(), 8);
            prop_assert_eq!(words[7].as_str(), name);
        }
    }
}
