use super::*;
use crate::esxi::{Version, net, recorded};
use crate::steps::step::{Action, Detached};
use crate::steps::testing::{self, *};
use serde_json::json;

const OLD: &str = "00:50:56:9f:78:3b";
const HW: &str = "20:67:7c:d9:a1:6c";

fn routes(rows: &[&[&str; 5]]) -> String {
    let rows: Vec<&[&str]> = rows.iter().map(|r| r.as_slice()).collect();
    table(&["Network", "Netmask", "Gateway", "Interface", "Source"], &rows)
}

struct Net {
    interfaces: String,
    ipv4: String,
    routes: String,
}

/// vmk0 for management (carries the session) and vmk1, both with generated addresses, NICs as recorded on 6.7.
fn lab(n: &Net) -> Host {
    let tags = |name: &str| network::tag_get(name);
    Host::new(Version::new(6, 7), "192.0.2.11")
        .says(&network::vmknic_list(), n.interfaces.clone())
        .says(&network::ipv4_get(), n.ipv4.clone())
        .says(&tags("vmk0"), "   Tags: Management, VMotion\n")
        .says(&tags("vmk1"), "   Tags: \n")
        .fails(&tags("vmk2"), "Interface vmk2 does not exist\n")
        .says(
            &network::portgroup_list(),
            testing::portgroups(&[
                &["Management Network", "vSwitch0", "1", "0"],
                &["Management Network (1)", "vSwitch0", "0", "0"],
                &["it's storage", "vSwitch1", "1", "20"],
            ]),
        )
        .says(
            &network::vswitch_list(),
            vswitch("vSwitch0", 1500, "listen", "vmnic3, vmnic0", "Management Network")
                + &vswitch("vSwitch1", 1500, "listen", "", "it's storage"),
        )
        .says(
            &network::nic_list(),
            recorded(include_str!("../../../fixtures/transcripts/6.7/network-nic-list-ntg3.txt")),
        )
        .says(&route_list(None), n.routes.clone())
        .fails(&route_list(Some("vmotion")), "Unable to find netstack instance\n")
        .says(
            &netstack_list(),
            "defaultTcpipStack\n   Key: defaultTcpipStack\n   Name: defaultTcpipStack\n   State: 4660\n",
        )
}

fn usual() -> Net {
    Net {
        interfaces: vmknic("vmk0", OLD, "vSwitch0", "Management Network", 1500, net::DEFAULT_NETSTACK)
            + &vmknic("vmk1", "00:50:56:61:00:01", "vSwitch1", "it's storage", 1500, net::DEFAULT_NETSTACK),
        ipv4: testing::ipv4(&[
            &["vmk0", "192.0.2.11", "255.255.255.0", "STATIC", "192.0.2.1", "false"],
            &["vmk1", "10.1.0.12", "255.255.255.0", "STATIC", "0.0.0.0", "false"],
        ]),
        routes: routes(&[
            &["default", "0.0.0.0", "192.0.2.1", "vmk0", "MANUAL"],
            &["10.9.0.0", "255.255.0.0", "192.0.2.3", "vmk0", "MANUAL"],
            &["192.0.2.0", "255.255.255.0", "0.0.0.0", "vmk0", "MANUAL"],
        ]),
    }
}

fn detached(host: &Host, step: &dyn Step) -> Detached {
    let changes = host.compare(step).unwrap();
    match &changes[0].actions[..] {
        [Action::Detached(d)] => d.clone(),
        other => panic!("expected one detached action, got {other:?}"),
    }
}

#[test]
fn the_sessions_interface_gets_the_hardware_address_detached_and_can_come_back() {
    let s = step(&KIND, json!({"name": "vmk0", "mac": "hardware"}));
    let host = lab(&usual());
    let rest = [
        "esxcli network ip interface ipv4 set -i vmk0 -t static -I 192.0.2.11 -N 255.255.255.0 -g 192.0.2.1",
        "esxcli network ip interface tag add -i vmk0 -t Management",
        "esxcli network ip interface tag add -i vmk0 -t VMotion",
        "{ esxcli network ip route ipv4 add -n default -g 192.0.2.1 || true; }",
        "{ esxcli network ip route ipv4 add -n 10.9.0.0/16 -g 192.0.2.3 || true; }",
    ];
    let remove = "esxcli network ip interface remove -i vmk0".to_owned();
    let add = |mac: &str| format!("esxcli network ip interface add -i vmk0 -p 'Management Network' -M {mac} -m 1500");
    let mut expected = vec![format!("detached: {remove}"), format!("detached: {}", add(HW))];
    expected.extend(rest.iter().map(|r| format!("detached: {r}")));
    expected.extend([format!("rollback: {remove}"), format!("rollback: {}", add(OLD))]);
    expected.extend(rest.iter().map(|r| format!("rollback: {r}")));
    assert_eq!(host.actions(&*s), expected);
    let d = detached(&host, &*s);
    assert_eq!((d.new_address, d.confirm_within.as_secs()), (None, 120));
    let c = &host.compare(&*s).unwrap()[0];
    assert_eq!((c.before.clone(), c.after.clone()), (format!("MAC address {OLD}"), format!("MAC address {HW}")));

    let mut after = usual();
    after.interfaces = after.interfaces.replace(OLD, HW);
    assert!(lab(&after).compare(&*s).unwrap().is_empty());
}

#[test]
fn recorded_on_9_0_with_dhcp_the_dns_flag_is_kept() {
    let interfaces = recorded(include_str!("../../../fixtures/transcripts/9.0/network-ip-interface-list-urpf.txt"));
    let mut n = Net { interfaces, ..usual() };
    n.ipv4 = testing::ipv4(&[&["vmk0", "192.0.2.11", "255.255.255.0", "DHCP", "192.0.2.1", "true"]]);
    n.routes = routes(&[&["default", "0.0.0.0", "192.0.2.1", "vmk0", "DHCP"]]);
    let s = step(&KIND, json!({"name": "vmk0", "mac": "hardware", "mtu": 9000, "recreate_confirm": 60}));
    let actions = lab(&n).actions(&*s);
    assert_eq!(
        actions[1..4],
        [
            format!("detached: esxcli network ip interface add -i vmk0 -p 'Management Network' -M {HW} -m 9000"),
            "detached: esxcli network ip interface ipv4 set -i vmk0 -t dhcp -P true".to_owned(),
            "detached: esxcli network ip interface tag add -i vmk0 -t Management".to_owned(),
        ]
    );
    assert!(!actions.iter().any(|a| a.contains("route")), "a route by DHCP comes back by itself");
    assert_eq!(detached(&lab(&n), &*s).confirm_within.as_secs(), 60);
    n.interfaces = n.interfaces.replace(OLD, HW);
    assert!(lab(&n).compare(&*s).unwrap().is_empty());
}

#[test]
fn another_interface_is_recreated_in_the_open() {
    let s = step(&KIND, json!({"name": "vmk1", "portgroup": "Management Network (1)", "mtu": 1400}));
    assert_eq!(
        lab(&usual()).actions(&*s),
        [
            "esxcli network ip interface remove -i vmk1",
            "esxcli network ip interface add -i vmk1 -p 'Management Network (1)' -M 00:50:56:61:00:01 -m 1400",
            "esxcli network ip interface ipv4 set -i vmk1 -t static -I 10.1.0.12 -N 255.255.255.0",
        ]
    );
    let mut after = usual();
    after.interfaces = after.interfaces.replace(
        "Portset: vSwitch1\n   Portgroup: it's storage",
        "Portset: vSwitch0\n   Portgroup: Management Network (1)",
    );
    assert_eq!(lab(&after).actions(&*s), ["esxcli network ip interface set -i vmk1 -m 1400"]);
}

#[test]
fn behind_nat_the_management_tag_decides() {
    let s = step(&KIND, json!({"name": "vmk0", "mac": HW}));
    let mut host = lab(&usual());
    host.facts.session_address = Some("203.0.113.9".into());
    assert!(detached(&host, &*s).new_address.is_none());
    let mut host = lab(&usual()).says(&network::tag_get("vmk0"), "   Tags: VMotion\n");
    host.facts.session_address = Some("203.0.113.9".into());
    assert!(matches!(host.compare(&*s).unwrap()[0].actions[0], Action::Run(_)));
    let mut host = lab(&usual());
    host.facts.session_address = None;
    assert!(host.refusal(&*step(&KIND, json!({"name": "vmk0", "state": "absent"}))).contains("not known"));
}

#[test]
fn a_new_address_is_where_the_login_goes() {
    let s = step(&KIND, json!({"name": "vmk0", "ipv4": {"address": "192.0.2.40/24", "gateway": "192.0.2.254"}}));
    let host = lab(&usual());
    assert_eq!(
        host.actions(&*s),
        [
            "detached: esxcli network ip interface ipv4 set -i vmk0 -t static -I 192.0.2.40 -N 255.255.255.0 -g 192.0.2.254",
            "detached: { esxcli network ip route ipv4 remove -n default -g 192.0.2.1 || true; }",
            "detached: { esxcli network ip route ipv4 add -n default -g 192.0.2.254 || true; }",
            "rollback: esxcli network ip interface ipv4 set -i vmk0 -t static -I 192.0.2.11 -N 255.255.255.0 -g 192.0.2.1",
            "rollback: { esxcli network ip route ipv4 remove -n default -g 192.0.2.254 || true; }",
            "rollback: { esxcli network ip route ipv4 add -n default -g 192.0.2.1 || true; }",
            "rollback: { esxcli network ip route ipv4 add -n 10.9.0.0/16 -g 192.0.2.3 || true; }",
        ]
    );
    assert_eq!(detached(&host, &*s).new_address.as_deref(), Some("192.0.2.40"));
    let mut after = usual();
    after.ipv4 = after.ipv4.replace("192.0.2.11 ", "192.0.2.40 ").replace("192.0.2.1 ", "192.0.2.254 ");
    after.routes = after.routes.replace("192.0.2.1 ", "192.0.2.254 ");
    let mut host = lab(&after);
    host.facts.session_address = Some("192.0.2.40".into());
    let left = host.compare(&*s).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn addresses_without_a_gateway_column() {
    // The shape of 5.x, with the recorded 6.7 row.
    let heads = &["Name", "IPv4 Address", "IPv4 Netmask", "IPv4 Broadcast", "Address Type", "DHCP DNS"];
    let mut n = usual();
    n.ipv4 = table(heads, &[&["vmk0", "192.0.2.11", "255.255.255.0", "192.0.2.255", "STATIC", "false"]]);
    let s =
        step(&KIND, json!({"name": "vmk0", "ipv4": {"address": "192.0.2.11", "prefix": 24, "gateway": "192.0.2.1"}}));
    assert!(lab(&n).compare(&*s).unwrap().is_empty());
    let s =
        step(&KIND, json!({"name": "vmk0", "ipv4": {"address": "192.0.2.11", "prefix": 24, "gateway": "192.0.2.254"}}));
    assert_eq!(
        lab(&n).actions(&*s)[..2],
        [
            "detached: { esxcli network ip route ipv4 remove -n default -g 192.0.2.1 || true; }",
            "detached: { esxcli network ip route ipv4 add -n default -g 192.0.2.254 || true; }"
        ]
    );
}

#[test]
fn recorded_on_6_7_matches_and_dhcp_differs() {
    let mut n = usual();
    n.ipv4 = recorded(include_str!("../../../fixtures/transcripts/6.7/network-ip-interface-ipv4-get-vmk1-only.txt"));
    n.routes = routes(&[&["default", "0.0.0.0", "10.130.2.1", "vmk1", "MANUAL"]]);
    n.interfaces = vmknic("vmk1", "20:67:7c:d9:a1:6c", "vSwitch0", "Management VMkernel", 1500, net::DEFAULT_NETSTACK);
    let mut host = lab(&n);
    host.facts.session_address = Some("10.130.2.122".into());
    let same = json!({"name": "vmk1", "mtu": 1500, "mac": "hardware", "enabled": true,
        "ipv4": {"address": "10.130.2.122", "netmask": "255.255.255.0", "gateway": "10.130.2.1"}});
    assert!(host.compare(&*step(&KIND, same)).unwrap().is_empty());
    let dhcp = step(&KIND, json!({"name": "vmk1", "ipv4": "dhcp"}));
    assert_eq!(host.actions(&*dhcp)[0], "detached: esxcli network ip interface ipv4 set -i vmk1 -t dhcp");
    assert!(host.refusal(&*step(&KIND, json!({"name": "vmk1", "ipv4": "none"}))).contains("10.130.2.122"));
    assert!(host.refusal(&*step(&KIND, json!({"name": "vmk1", "enabled": false}))).contains("carries this session"));
    assert!(host.refusal(&*step(&KIND, json!({"name": "vmk1", "state": "absent"}))).contains("carries this session"));
}

#[test]
fn makes_a_new_one_in_its_own_stack() {
    let s = step(
        &KIND,
        json!({"name": "vmk2", "portgroup": "it's storage", "vswitch": "vSwitch1", "mtu": 9000, "netstack": "vmotion",
            "mac": "00:50:56:00:00:09", "enabled": false,
            "ipv4": {"address": "10.10.0.11/24", "gateway": "10.10.0.1"}}),
    );
    assert_eq!(
        lab(&usual()).actions(&*s),
        [
            "esxcli network ip netstack add -N vmotion",
            "esxcli network ip interface add -i vmk2 -p 'it'\\''s storage' -M 00:50:56:00:00:09 -m 9000 -N vmotion",
            "esxcli network ip interface ipv4 set -i vmk2 -t static -I 10.10.0.11 -N 255.255.255.0 -g 10.10.0.1",
            "{ esxcli network ip route ipv4 add -n default -g 10.10.0.1 -N vmotion || true; }",
            "esxcli network ip interface set -i vmk2 -e false",
        ]
    );
    let mut after = usual();
    after.interfaces += &vmknic("vmk2", "00:50:56:00:00:09", "vSwitch1", "it's storage", 9000, "vmotion")
        .replace("Enabled: true", "Enabled: false");
    after.ipv4 = testing::ipv4(&[&["vmk2", "10.10.0.11", "255.255.255.0", "STATIC", "10.10.0.1", "false"]]);
    let host = lab(&after)
        .says(&network::tag_get("vmk2"), "   Tags: \n")
        .says(&route_list(Some("vmotion")), routes(&[&["default", "0.0.0.0", "10.10.0.1", "vmk2", "MANUAL"]]))
        .says(&netstack_list(), "defaultTcpipStack\n   Key: defaultTcpipStack\n\nvmotion\n   Key: vmotion\n");
    assert!(host.compare(&*s).unwrap().is_empty());
}

#[test]
fn refusals_that_come_before_anything_is_removed() {
    let refusal = |json| lab(&usual()).refusal(&*step(&KIND, json));
    assert!(refusal(json!({"name": "vmk2"})).contains("without `portgroup`"));
    assert!(refusal(json!({"name": "vmk1", "portgroup": "Management network"})).contains("none of that name"));
    assert!(
        refusal(json!({"name": "vmk1", "portgroup": "it's storage", "vswitch": "vSwitch0"})).contains("on vSwitch1")
    );
    assert!(refusal(json!({"name": "vmk1", "mac": "hardware"})).contains("no uplink"));
    assert!(refusal(json!({"name": "vmk1", "mac": OLD})).contains("vmk0 on vSwitch0 has it"));
    assert!(refusal(json!({"name": "vmk2", "portgroup": "new", "mac": "hardware"})).contains("name the `vswitch`"));
    let mut dvs = usual();
    dvs.interfaces = dvs
        .interfaces
        .replace("VDS Name: N/A", "VDS Name: DSwitch")
        .replace("Portgroup: it's storage", "Portgroup: N/A");
    assert!(
        lab(&dvs).refusal(&*step(&KIND, json!({"name": "vmk1", "mac": HW}))).contains("distributed switch (DSwitch)")
    );
    let old = lab(&usual())
        .fails(&network::tag_get("vmk0"), "Error: Unknown command or namespace network ip interface tag get\n\n");
    assert!(old.refusal(&*step(&KIND, json!({"name": "vmk0", "mac": HW}))).contains("cannot tell its tags"));
}

#[test]
fn a_port_group_that_an_earlier_step_will_make_is_only_a_note() {
    let s = step(&KIND, json!({"name": "vmk2", "portgroup": "vMotion", "ipv4": "dhcp"}));
    let change = &lab(&usual()).compare(&*s).unwrap()[0];
    assert_eq!(change.after, "on vMotion (a port group that is not there yet), DHCP");
    let add = Command::esxcli("network ip interface add");
    let said = Output { stdout: "Unable to find portgroup\n".into(), code: 1, ..Output::default() };
    assert!(s.judge(&add, &said).unwrap_err().to_string().contains("`portgroup` step before this one"));
}

#[test]
fn absent_and_already_absent() {
    let remove = step(&KIND, json!({"name": "vmk1", "state": "absent"}));
    assert_eq!(lab(&usual()).actions(&*remove), ["esxcli network ip interface remove -i vmk1"]);
    let gone = step(&KIND, json!({"name": "vmk2", "state": "absent"}));
    assert!(lab(&usual()).compare(&*gone).unwrap().is_empty());
}

#[test]
fn wrong_arguments_say_where() {
    let says = |json, words: &[&str]| {
        let text = bad(&KIND, json);
        words.iter().for_each(|w| assert!(text.contains(w), "{w:?} not in {text}"));
    };
    says(json!({"name": "eth0"}), &["name", "vmk0, vmk1"]);
    says(json!({"name": "vmk0", "mac": "01:00:5e:00:00:01"}), &["mac", "multicast"]);
    says(json!({"name": "vmk0", "mac": "soft"}), &["mac", "hardware"]);
    says(json!({"name": "vmk0", "mtu": 100}), &["mtu", "1280"]);
    says(json!({"name": "vmk0", "recreate_confirm": 1}), &["recreate_confirm", "15"]);
    says(json!({"name": "vmk0", "ipv4": "dhpc"}), &["ipv4", "dhpc", "`dhcp`"]);
    says(json!({"name": "vmk0", "ipv4": {"adress": "10.0.0.5/24"}}), &["ipv4", "adress"]);
    says(json!({"name": "vmk0", "ipv4": {"address": "10.0.0.5"}}), &["mask is missing"]);
    says(json!({"name": "vmk0", "ipv4": {"address": "10.0.0.5/24", "netmask": "255.255.255.0"}}), &["once"]);
    says(json!({"name": "vmk0", "ipv4": {"address": "10.0.0.0/24"}}), &["10.0.0.0/24"]);
    says(json!({"name": "vmk0", "ipv4": {"address": "10.0.0.5", "netmask": "255.0.255.0"}}), &["netmask"]);
    says(
        json!({"name": "vmk0", "ipv4": {"address": "10.0.0.5/24", "gateway": "10.0.1.1"}}),
        &["10.0.1.1", "10.0.0.0/24"],
    );
}

/// The step that takes the first change back.
fn undone(host: &Host, json: serde_json::Value) -> Option<Box<dyn Step>> {
    let undo = host.compare(&*step(&KIND, json)).unwrap().remove(0).undo?;
    assert_eq!(undo.kind, "vmknic");
    Some(step(&KIND, undo.args))
}

#[test]
fn an_interface_made_anew_gets_its_old_self_back() {
    let before = lab(&usual());
    // Only the MAC address: everything else was put back already.
    let back = undone(&before, json!({"name": "vmk0", "mac": "hardware"})).unwrap();
    let mut after = usual();
    after.interfaces = after.interfaces.replace(OLD, HW);
    let actions = lab(&after).actions(&*back);
    let add = format!("detached: esxcli network ip interface add -i vmk0 -p 'Management Network' -M {OLD} -m 1500");
    assert_eq!(actions[1], add);
    assert!(before.compare(&*back).unwrap().is_empty());
    // Port group, MTU, state and address.
    let other = json!({"name": "vmk1", "portgroup": "Management Network (1)", "mtu": 1400, "enabled": false,
        "ipv4": {"address": "10.2.0.12/16"}});
    let back = undone(&before, other).unwrap();
    let mut after = usual();
    after.interfaces = after.interfaces.replace("it's storage", "Management Network (1)");
    after.ipv4 = after.ipv4.replace("10.1.0.12", "10.2.0.12");
    assert_eq!(
        lab(&after).actions(&*back),
        [
            "esxcli network ip interface remove -i vmk1",
            "esxcli network ip interface add -i vmk1 -p 'it'\\''s storage' -M 00:50:56:61:00:01 -m 1500",
            "esxcli network ip interface ipv4 set -i vmk1 -t static -I 10.1.0.12 -N 255.255.255.0",
        ]
    );
    // Made: gone again. Removed: one step does not say all that it had.
    let made = undone(&before, json!({"name": "vmk2", "portgroup": "it's storage"})).unwrap();
    let mut after = usual();
    after.interfaces += &vmknic("vmk2", "00:50:56:61:00:02", "vSwitch1", "it's storage", 1500, net::DEFAULT_NETSTACK);
    let after = lab(&after).says(&network::tag_get("vmk2"), "   Tags: \n");
    assert_eq!(after.actions(&*made), ["esxcli network ip interface remove -i vmk2"]);
    assert!(undone(&before, json!({"name": "vmk1", "state": "absent"})).is_none());
}

#[test]
fn an_address_comes_back_with_its_gateway_or_not_at_all() {
    let before = lab(&usual());
    let back = undone(&before, json!({"name": "vmk0", "ipv4": {"address": "192.0.2.40/24", "gateway": "192.0.2.254"}}));
    let mut after = usual();
    after.ipv4 = after.ipv4.replace("192.0.2.11 ", "192.0.2.40 ").replace("192.0.2.1 ", "192.0.2.254 ");
    after.routes = after.routes.replace("192.0.2.1 ", "192.0.2.254 ");
    let mut after = lab(&after);
    after.facts.session_address = Some("192.0.2.40".into());
    assert_eq!(
        after.actions(&*back.unwrap())[..3],
        [
            "detached: esxcli network ip interface ipv4 set -i vmk0 -t static -I 192.0.2.11 -N 255.255.255.0 -g 192.0.2.1",
            "detached: { esxcli network ip route ipv4 remove -n default -g 192.0.2.254 || true; }",
            "detached: { esxcli network ip route ipv4 add -n default -g 192.0.2.1 || true; }",
        ]
    );
    // Another network loses the route by hand, and no step says routes.
    assert!(undone(&before, json!({"name": "vmk0", "ipv4": {"address": "198.51.100.4/24"}})).is_none());
    // No step takes a gateway away.
    let given = json!({"name": "vmk1", "ipv4": {"address": "10.1.0.12/24", "gateway": "10.1.0.1"}});
    assert!(undone(&before, given).is_none());
    let moved = undone(&before, json!({"name": "vmk1", "ipv4": {"address": "10.3.0.12/24"}, "mtu": 1400}));
    assert!(moved.is_some(), "the MTU comes first");
}

#[test]
fn dhcp_comes_back_with_its_word_on_dns() {
    let mut n = usual();
    n.ipv4 = testing::ipv4(&[
        &["vmk0", "192.0.2.11", "255.255.255.0", "STATIC", "192.0.2.1", "false"],
        &["vmk1", "10.1.0.12", "255.255.255.0", "DHCP", "0.0.0.0", "true"],
    ]);
    let back = undone(&lab(&n), json!({"name": "vmk1", "ipv4": {"address": "10.1.0.9/24"}})).unwrap();
    assert_eq!(lab(&usual()).actions(&*back), ["esxcli network ip interface ipv4 set -i vmk1 -t dhcp -P true"]);
    assert!(lab(&n).compare(&*back).unwrap().is_empty());
    let without = step(&KIND, json!({"name": "vmk1", "ipv4": "dhcp", "dhcp_dns": false}));
    assert_eq!(lab(&n).actions(&*without), ["esxcli network ip interface ipv4 set -i vmk1 -t dhcp -P false"]);
    let change = lab(&n).compare(&*without).unwrap().remove(0);
    assert_eq!(
        (change.before.as_str(), change.after.as_str()),
        ("DHCP, DNS servers by DHCP too", "DHCP, DNS servers by hand")
    );
    // None at all.
    let mut none = usual();
    none.ipv4 = testing::ipv4(&[
        &["vmk0", "192.0.2.11", "255.255.255.0", "STATIC", "192.0.2.1", "false"],
        &["vmk1", "0.0.0.0", "0.0.0.0", "NONE", "0.0.0.0", "false"],
    ]);
    let back = undone(&lab(&none), json!({"name": "vmk1", "ipv4": {"address": "10.1.0.12/24"}})).unwrap();
    assert_eq!(lab(&usual()).actions(&*back), ["esxcli network ip interface ipv4 set -i vmk1 -t none"]);
}
