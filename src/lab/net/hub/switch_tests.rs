use proptest::prelude::*;

use super::*;

const AGEING: Duration = Duration::from_secs(300);

fn mac(n: u8) -> Mac {
    Mac([0x52, 0x54, 0, 0, 0, n])
}

fn frame(to: Mac, from: Mac, vlan: Option<u16>, length: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = to.0.into_iter().chain(from.0).collect();
    if let Some(vlan) = vlan {
        bytes.extend([0x81, 0x00]);
        bytes.extend(vlan.to_be_bytes());
    }
    bytes.extend([0x08, 0x00]);
    while bytes.len() < length {
        bytes.push(bytes.len() as u8);
    }
    bytes
}

fn switch(modes: &[VlanMode]) -> (Switch, Vec<PortId>) {
    let mut switch = Switch::new(AGEING);
    let add = |(n, vlan): (usize, &VlanMode)| {
        switch.add_port(&PortConfig { vlan: vlan.clone(), ..PortConfig::new(format!("p{n}")) })
    };
    let ids = modes.iter().enumerate().map(add).collect();
    (switch, ids)
}

fn plain(n: usize) -> (Switch, Vec<PortId>) {
    switch(&vec![VlanMode::default(); n])
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ports(out: &[Delivery]) -> Vec<u32> {
    out.iter().map(|(p, _)| p.0).collect()
}

const ALL: Mac = Mac([0xff; 6]);

#[test]
fn unknown_is_flooded_and_known_is_not() {
    let (mut s, p) = plain(3);
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), None, 60), at(0))), [1, 2]);
    assert_eq!(ports(&s.frame(p[1], &frame(mac(1), mac(2), None, 60), at(1))), [0]);
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), None, 60), at(2))), [1]);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), None, 60), at(3))), [1, 2]);
    // A frame for a guest on the same port goes nowhere: nested guests share their host's port.
    s.frame(p[0], &frame(ALL, mac(9), None, 60), at(4));
    assert_eq!(s.frame(p[0], &frame(mac(9), mac(1), None, 60), at(5)), []);
}

#[test]
fn macs_are_forgotten() {
    let (mut s, p) = plain(3);
    s.frame(p[1], &frame(ALL, mac(2), None, 60), at(0));
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), None, 60), at(299))), [1]);
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), None, 60), at(300))), [1, 2]);
    assert_eq!(s.table(at(300)), [(0, mac(1), p[0], Duration::ZERO)]);
}

#[test]
fn a_removed_port_is_learned_no_longer_and_its_number_is_not_used_again() {
    let (mut s, p) = plain(3);
    s.frame(p[1], &frame(ALL, mac(2), None, 60), at(0));
    s.remove_port(p[1]);
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), None, 60), at(1))), [2]);
    assert_eq!(s.frame(p[1], &frame(ALL, mac(2), None, 60), at(2)), []);
    assert_eq!(s.add_port(&PortConfig::new("p1")), PortId(3));
}

#[test]
fn access_ports_are_kept_apart_and_see_no_tags() {
    let access = |tag| VlanMode::Access { tag };
    let (mut s, p) = switch(&[access(10), access(20), access(10), VlanMode::default()]);
    let out = s.frame(p[0], &frame(ALL, mac(1), None, 64), at(0));
    assert_eq!(ports(&out), [2, 3]);
    assert_eq!(*out[0].1, frame(ALL, mac(1), None, 64));
    let mut tagged = frame(ALL, mac(1), Some(10), 18);
    tagged.extend(&frame(ALL, mac(1), None, 64)[14..]);
    assert_eq!(*out[1].1, tagged);
    // A tag from the guest of an access port is refused, its own VLAN's too; a priority alone is not.
    for vlan in [10, 20, 30] {
        assert_eq!(s.frame(p[0], &frame(ALL, mac(1), Some(vlan), 64), at(1)), [], "{vlan}");
    }
    assert_eq!(s.counters(p[0]).unwrap().wrong_vlan, 3);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), Some(0x2000), 64), at(2))), [2, 3]);
}

#[test]
fn a_mac_is_learned_in_its_vlan_alone() {
    let (mut s, p) = plain(3);
    s.frame(p[1], &frame(ALL, mac(2), Some(10), 64), at(0));
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), Some(10), 64), at(1))), [1]);
    assert_eq!(ports(&s.frame(p[0], &frame(mac(2), mac(1), Some(20), 64), at(1))), [1, 2]);
}

#[test]
fn trunks_take_what_they_list() {
    let trunk = |vlans: &[u16]| VlanMode::Trunk { vlans: vlans.to_vec() };
    let (mut s, p) = switch(&[trunk(&[]), trunk(&[10, 20]), trunk(&[0])]);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), Some(10), 64), at(0))), [1]);
    assert_eq!(s.frame(p[0], &frame(ALL, mac(1), Some(30), 64), at(0)), []);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), None, 64), at(0))), [2]);
    assert_eq!(s.frame(p[1], &frame(ALL, mac(2), None, 64), at(0)), []);
    assert_eq!(s.counters(p[1]).unwrap().wrong_vlan, 1);
}

#[test]
fn a_native_vlan_has_no_tag_outside() {
    let native = VlanMode::NativeUntagged { tag: 5, vlans: vec![10] };
    let (mut s, p) = switch(&[native, VlanMode::Access { tag: 5 }, VlanMode::Access { tag: 10 }]);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), None, 64), at(0))), [1]);
    assert_eq!(ports(&s.frame(p[0], &frame(ALL, mac(1), Some(10), 64), at(0))), [2]);
    assert_eq!(*s.frame(p[1], &frame(ALL, mac(2), None, 64), at(0))[0].1, frame(ALL, mac(2), None, 64));
    let out = s.frame(p[2], &frame(ALL, mac(3), None, 64), at(0));
    assert_eq!((ports(&out), &out[0].1[12..16]), (vec![0], &[0x81, 0x00, 0x00, 0x0a][..]));
}

#[test]
fn a_priority_survives() {
    let (mut s, p) = plain(2);
    let out = s.frame(p[0], &frame(ALL, mac(1), Some(0xa00a), 64), at(0));
    assert_eq!(out[0].1[14..16], [0xa0, 0x0a]);
}

#[test]
fn short_frames_are_padded_and_counted() {
    let (mut s, p) = plain(2);
    let out = s.frame(p[0], &frame(ALL, mac(1), None, 42), at(0));
    assert_eq!(out[0].1.len(), 60);
    s.frame(p[0], &frame(ALL, mac(1), None, 60), at(0));
    let counters = s.counters(p[1]).unwrap();
    assert_eq!((counters.padded, counters.sent, counters.sent_bytes), (1, 2, 120));
    assert_eq!(s.counters(p[0]).unwrap().received_bytes, 102);
}

#[test]
fn an_untagged_frame_is_padded_after_its_tag_is_off() {
    let (mut s, p) = switch(&[VlanMode::default(), VlanMode::Access { tag: 10 }]);
    // 60 bytes with the tag are 56 without.
    assert_eq!(s.frame(p[0], &frame(ALL, mac(1), Some(10), 60), at(0))[0].1.len(), 60);
    assert_eq!(s.counters(p[1]).unwrap().padded, 1);
}

#[test]
fn what_is_no_frame_and_what_bridges_keep_is_dropped() {
    let (mut s, p) = plain(2);
    assert_eq!(s.frame(p[0], &[0; 13], at(0)), []);
    assert_eq!(s.frame(p[0], &frame(mac(2), ALL, None, 60), at(0)), []);
    assert_eq!(s.frame(p[0], &frame(Mac([1, 0x80, 0xc2, 0, 0, 0]), mac(1), None, 60), at(0)), []);
    let counters = s.counters(p[0]).unwrap();
    assert_eq!((counters.malformed, counters.link_local), (2, 1));
}

#[test]
fn two_guests_with_one_mac_are_told_once_a_minute() {
    let (mut s, p) = plain(3);
    let say = |s: &mut Switch, port, seconds| drop(s.frame(port, &frame(ALL, mac(1), None, 60), at(seconds)));
    say(&mut s, p[0], 0);
    say(&mut s, p[2], 1);
    assert_eq!(s.take_events(), [], "one move is a guest that was moved");
    say(&mut s, p[0], 2);
    let ports = ["p0".to_owned(), "p2".to_owned()];
    let told = |moves, at_ms| Event::SameMac { mac: mac(1), vlan: 0, ports: ports.clone(), moves, at_ms };
    assert_eq!(s.take_events(), [told(2, 2000)]);
    for seconds in 3..62 {
        say(&mut s, p[if seconds % 2 == 1 { 2 } else { 0 }], seconds);
    }
    assert_eq!(s.take_events(), []);
    say(&mut s, p[0], 62);
    assert_eq!(s.take_events(), [told(62, 62_000)]);
}

#[test]
fn a_guest_that_moves_now_and_then_is_no_clash() {
    let (mut s, p) = plain(2);
    for n in 0..10 {
        s.frame(p[n % 2], &frame(ALL, mac(1), None, 60), at(n as u64 * 40));
    }
    assert_eq!(s.take_events(), []);
}

#[test]
fn a_guest_that_invents_macs_does_not_fill_the_memory() {
    let (mut s, p) = plain(2);
    for n in 0..(MOST_MACS as u32 + 500) {
        let [_, b, c, d] = n.to_be_bytes();
        s.frame(p[0], &frame(ALL, Mac([2, 0, 0, b, c, d]), None, 60), at(0));
    }
    assert_eq!(s.table.len(), MOST_MACS);
    // When those are too old there is room again.
    s.frame(p[1], &frame(ALL, mac(1), None, 60), at(400));
    assert_eq!(s.table(at(400)).len(), 1);
}

fn mode() -> impl Strategy<Value = VlanMode> {
    let vlans = || prop::collection::vec(prop::sample::select(vec![0u16, 10, 20, 30]), 0..3);
    prop_oneof![
        prop::sample::select(vec![10u16, 20]).prop_map(|tag| VlanMode::Access { tag }),
        vlans().prop_map(|vlans| VlanMode::Trunk { vlans }),
        (prop::sample::select(vec![10u16, 20]), vlans())
            .prop_map(|(tag, vlans)| VlanMode::NativeUntagged { tag, vlans }),
    ]
}

type Sent = (usize, u8, u8, Option<u16>, usize);

fn sent() -> impl Strategy<Value = Sent> {
    let vlan = prop::option::of(prop::sample::select(vec![0u16, 10, 20, 30]));
    (0usize..4, 0u8..5, 0u8..5, vlan, 14usize..100)
}

proptest! {
    /// Whatever is said: nothing comes back to where it came from, nobody gets a frame twice, none is shorter than
    /// 60 bytes, and what arrives would be allowed to enter at the port it arrives at, in the same VLAN.
    #[test]
    fn what_leaves_is_what_may(modes in prop::collection::vec(mode(), 4), frames in prop::collection::vec(sent(), 1..60)) {
        let (mut s, p) = switch(&modes);
        for (n, (port, to, from, vlan, length)) in frames.into_iter().enumerate() {
            let to = if to == 4 { ALL } else { mac(to) };
            let bytes = frame(to, mac(from), vlan, length);
            let vlan_in = Frame::parse(&bytes).and_then(|f| enter(&modes[port], f.tag));
            let out = s.frame(p[port], &bytes, at(n as u64));
            let mut seen = ports(&out);
            prop_assert!(!seen.contains(&p[port].0));
            seen.dedup();
            prop_assert_eq!(seen.len(), out.len());
            for (id, bytes) in &out {
                prop_assert!(bytes.len() >= LEAST);
                let arrived = Frame::parse(bytes).unwrap();
                prop_assert_eq!((arrived.to, arrived.from), (to, mac(from)));
                let index = p.iter().position(|i| i == id).unwrap();
                // An access port shows no tag, so its VLAN is what it would give an untagged frame.
                prop_assert_eq!(enter(&modes[index], arrived.tag), vlan_in);
            }
        }
    }

    /// A guest that has spoken is found by everybody of its VLAN, and by nobody else.
    #[test]
    fn who_has_spoken_gets_the_answer_alone(n in 2usize..6, a in 0usize..6, b in 0usize..6) {
        let (a, b) = (a % n, b % n);
        prop_assume!(a != b);
        let (mut s, p) = plain(n);
        s.frame(p[a], &frame(ALL, mac(1), None, 60), at(0));
        let out = s.frame(p[b], &frame(mac(1), mac(2), None, 60), at(1));
        prop_assert_eq!(ports(&out), [p[a].0]);
    }
}
