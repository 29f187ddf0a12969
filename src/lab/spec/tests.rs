//! Lab files, good and wrong ones; of the wrong ones each problem is wanted at its line and column.

use std::path::Path;

use super::load::{LabKeys, OF_ALL, OF_HOST, OF_LAB};
use super::*;

fn good(text: &str) -> Lab {
    Lab::from_text(Path::new("lab.yml"), text).unwrap_or_else(|e| panic!("{}", e.plain()))
}

/// The problems of a wrong file, one line each with its help indented.
fn wrong(text: &str) -> String {
    Lab::from_text(Path::new("lab.yml"), text).expect_err("it should be refused").plain()
}

/// Exactly these places have problems, and the words are said of them.
fn places(text: &str, wanted: &[(&str, &str)]) {
    let said = wrong(text);
    let found: Vec<&str> = said.lines().filter(|l| !l.starts_with(' ')).collect();
    assert_eq!(found.len(), wanted.len(), "{said}");
    for ((place, words), line) in wanted.iter().zip(&found) {
        assert!(line.starts_with(&format!("lab.yml:{place}: ")), "wanted {place}: {line}\n{said}");
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
}

const V: &str = "name: x\nesxi: \"8.0\"\n";

#[test]
fn hosts_are_a_number_or_names_or_a_mapping() {
    let names = |text: &str| good(text).hosts.keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(names(V), "esx1");
    assert_eq!(names(&format!("{V}hosts: 3\n")), "esx1 esx2 esx3");
    assert_eq!(names(&format!("{V}hosts: [b, a]\n")), "b a");
    assert_eq!(names(&format!("{V}hosts: {{b: , a: {{cpus: 8}}}}\n")), "b a");
    places(&format!("{V}hosts: 0\n"), &[("3:8", "from 1 to 64")]);
    places(&format!("{V}hosts: 65\n"), &[("3:8", "a lab with 65 hosts")]);
    places(&format!("{V}hosts: two\n"), &[("3:8", "a number, a list of names, or a mapping")]);
    places(&format!("{V}hosts: [a, a]\n"), &[("3:12", "is there twice")]);
    places(&format!("{V}hosts: {{}}\n"), &[("3:1", "no hosts")]);
}

#[test]
fn a_host_has_the_labs_settings_with_its_own_on_top() {
    let lab = good(
        "esxi: 6.5\nmemory: 4 GiB\nboot_disk: {size: 20G, bus: usb}\nnics: [{}, {}]\nhosts:\n  a:\n  b:\n    esxi: 6.7\n    memory: 6144MB\n    boot_disk: {bus: ahci}\n    nics: [{}]\n",
    );
    assert_eq!(lab.name, "lab", "from the file's name");
    let (a, b) = (&lab.hosts["a"].settings, &lab.hosts["b"].settings);
    assert_eq!((a.memory, b.memory), (Some(Size::gib(4)), Some(Size::gib(6))));
    assert_eq!((a.esxi.unwrap().0.line(), b.esxi.unwrap().0.line()), ("6.5".into(), "6.7".into()));
    let disk = |s: &Settings| s.boot_disk.as_ref().map(|d| (d.size, d.bus));
    assert_eq!(disk(a), Some((Some(Size::gib(20)), Some(Bus::Usb))));
    assert_eq!(disk(b), Some((Some(Size::gib(20)), Some(Bus::Ahci))));
    assert_eq!((a.nics.as_ref().unwrap().len(), b.nics.as_ref().unwrap().len()), (2, 1));
}

#[test]
fn versions_are_read_whether_quoted_or_not() {
    let version = |text: &str| good(&format!("esxi: {text}\n")).hosts["esx1"].settings.esxi.unwrap().0.to_string();
    assert_eq!(version("\"8.0\""), "8.0.0");
    assert_eq!(version("8.0"), "8.0.0");
    assert_eq!(version("8"), "8.0.0");
    assert_eq!(version("8.0.3"), "8.0.3");
    places("esxi: eight\n", &[("1:7", "is not an ESXi version")]);
}

#[test]
fn sizes_want_a_unit() {
    let size = |text: &str| text.parse::<Size>();
    assert_eq!(size("8GiB"), Ok(Size::gib(8)));
    assert_eq!(size("8 gb"), Ok(Size::gib(8)));
    assert_eq!(size("1T"), Ok(Size::gib(1024)));
    assert_eq!(size("512M"), Ok(Size(512 << 20)));
    assert!(matches!(size("8"), Err(words::BadSize::NoUnit(_))));
    for bad in ["", "GiB", "8XB", "8.5GiB", "-8G"] {
        assert!(matches!(size(bad), Err(words::BadSize::Form(_))), "{bad}");
    }
    assert!(matches!(size("99999999999999999999G"), Err(words::BadSize::Large(_))));
    assert!(matches!(size("16777216T"), Err(words::BadSize::Large(_))));
    assert_eq!(Size::gib(1024).to_string(), "1TiB");
    assert_eq!(Size(1536 << 20).to_string(), "1536MiB");
    places(&format!("{V}memory: 8192\n"), &[("3:9", "8192GiB or 8192MiB")]);
    places(&format!("{V}memory: 100KiB\n"), &[("3:9", "whole MiB")]);
    places(&format!("{V}boot_disk: {{size: 100TiB}}\n"), &[("3:19", "64TiB")]);
}

#[test]
fn misspelt_keys_and_words_get_a_suggestion() {
    places(&format!("{V}hsts: 2\n"), &[("3:1", "did you mean `hosts`?")]);
    places(&format!("{V}ram: 4GiB\n"), &[("3:1", "here it is called `memory`")]);
    places(&format!("{V}hosts: {{a: {{memry: 4GiB}}}}\n"), &[("3:13", "did you mean `memory`?")]);
    places(
        &format!("{V}boot_disk: {{bus: sata, sise: 1GiB}}\n"),
        &[("3:18", "it can be: ide, ahci"), ("3:24", "did you mean `size`?")],
    );
    places(&format!("{V}networks: {{a: {{type: brige}}}}\n"), &[("3:22", "did you mean `bridge`?")]);
    places(&format!("{V}nics: [{{network: mgnt}}]\n"), &[("3:18", "did you mean `mgmt`?")]);
    places(&format!("{V}stages: [{{data_disks: ahcii}}]\n"), &[("3:23", "did you mean `ahci`?")]);
    places(&format!("{V}clone_from: a\n"), &[("3:1", "under `hosts`")]);
    places(&format!("{V}accel: hvf\n"), &[("3:8", "cannot be `hvf`")]);
}

#[test]
fn all_problems_come_at_once_even_in_several_hosts() {
    let text = "name: Big Lab\nesxi: \"8.0\"\nfoo: 1\nmemory: lots\nhosts:\n  a: {cpu_count: 2, memory: 1}\n  b: {machine: q36}\n";
    let said = wrong(text);
    for place in ["3:1", "4:9", "6:7", "6:29", "7:16"] {
        assert!(said.contains(&format!("lab.yml:{place}: ")), "{place}: {said}");
    }
    // The name is looked at once the rest reads well.
    places("name: Big Lab\nesxi: \"8.0\"\n", &[("1:7", "small letters")]);
}

#[test]
fn passwords_are_never_written_down_and_never_shown() {
    let source = |text: &str| good(&format!("{V}root_password: {text}\n")).hosts["esx1"].settings.password();
    assert_eq!(source("{env: LAB}"), PasswordSource::Env("LAB".into()));
    assert_eq!(source("{file: pw}"), PasswordSource::File("pw".into()));
    assert_eq!(source("{command: pass show lab}"), PasswordSource::Command("pass show lab".into()));
    assert_eq!(source("{prompt: true}"), PasswordSource::Prompt(true));
    assert_eq!(good(V).hosts["esx1"].settings.password(), PasswordSource::Generated);
    for text in ["root_password: VMware1!\n", "hosts: {a: {root_password: VMware1!}}\n"] {
        let problems = Lab::from_text(Path::new("lab.yml"), &format!("{V}{text}")).unwrap_err();
        assert!(problems.plain().contains("a lab file holds no password"), "{}", problems.plain());
        assert!(!problems.drawn(false, 100).contains("VMware1!"), "{}", problems.drawn(false, 100));
    }
    assert!(wrong(&format!("{V}root_password: {{vault: x}}\n")).contains("3:17"));
    let key = format!("{V}ssh_keys: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n");
    places(&key, &[("4:3", "private key")]);
}

#[test]
fn names_become_part_of_other_names() {
    for name in ["Esx", "1a", "a_b", "a.b", "a-", "abcdefghijklmnopqrstuvwxyzabcdefg"] {
        assert!(wrong(&format!("{V}hosts: [{name}]\n")).contains("cannot be the name of a host"), "{name}");
        assert!(wrong(&format!("name: {name}\nesxi: \"8.0\"\n")).contains("cannot be the name of a lab"), "{name}");
    }
    assert!(wrong(&format!("{V}networks: {{LAN: {{type: hub}}}}\n")).contains("cannot be the name of a network"));
    let named = |file: &str| Lab::from_text(Path::new(file), "esxi: \"8.0\"\n").unwrap().name;
    assert_eq!(named("d/My Lab_2.yml"), "my-lab-2");
    assert_eq!(named("7.yml"), "lab7");
}

#[test]
fn macs_are_unicast_not_empty_and_there_once() {
    let nic = |mac: &str| format!("{V}nics: [{{mac: \"{mac}\"}}]\n");
    good(&nic("de:ad:be:ef:00:01"));
    places(&nic("01:00:00:00:00:01"), &[("3:14", "multicast")]);
    places(&nic("00:00:00:00:00:00"), &[("3:14", "empty MAC")]);
    places(&nic("de:ad:be:ef:00"), &[("3:14", "is not a MAC address")]);
    let twice = format!(
        "{V}hosts:\n  a: {{nics: [{{mac: \"52:54:00:00:00:01\"}}]}}\n  b: {{nics: [{{}}, {{mac: \"52-54-00-00-00-01\"}}]}}\n"
    );
    places(&twice, &[("5:24", "is there twice")]);
    // Said at the top it would be every host's.
    places(&format!("{V}hosts: 2\nnics: [{{mac: \"52:54:00:00:00:01\"}}]\n"), &[("4:14", "is there twice")]);
}

#[test]
fn networks_have_what_their_kind_has() {
    let network = |text: &str| format!("{V}networks: {{a: {{{text}}}}}\n");
    good(&network("type: ovs, address: 10.0.0.1/24, mtu: 9000, datapath: userspace, vlan: 7, first: 10.0.0.50"));
    good(&network("type: hub, subnet: 10.9.0.0/24, vlan: 7"));
    good(&network("type: nat, isolated: true, subnet: 10.7.0.0/24"));
    places(&network("type: nat, address: 10.0.0.1/24"), &[("3:36", "has no `address`")]);
    places(&network("type: bridge, vlan: 5"), &[("3:36", "has no `vlan`")]);
    places(&network("type: hub, isolated: true"), &[("3:37", "has no `isolated`")]);
    places(&network("type: bridge, datapath: kernel"), &[("3:40", "has no `datapath`")]);
    places(&network("type: bridge, address: 10.0.0.1"), &[("3:39", "10.0.0.1/24")]);
    places(&network("type: bridge, address: 10.0.0.0/24"), &[("3:39", "10.0.0.1")]);
    places(&network("type: bridge, address: 10.0.0.1/30"), &[("3:39", "no sensible room")]);
    places(&network("type: bridge, address: 10.0.0.1/24, first: 10.0.1.5"), &[("3:59", "10.0.0.0/24")]);
    places(&network("type: bridge, first: 10.0.1.5"), &[("3:37", "without a subnet")]);
    places(&network("type: bridge, mtu: 90"), &[("3:35", "from 576 to 9000")]);
    places(&network("type: ovs, vlan: 4095"), &[("3:33", "1 to 4094")]);
}

#[test]
fn nics_have_what_their_network_has() {
    let nic = |text: &str| format!("{V}networks: {{n: {{type: nat}}, o: {{type: ovs}}}}\nnics: [{{{text}}}]\n");
    good(&nic("network: o, vlan: 5, trunks: [6, 7]"));
    good(&nic("network: n, forwards: [902, 8080:80, {guest: 902, protocol: udp}, {guest: 5480, host: 5480}]"));
    places(&nic("network: n, vlan: 5"), &[("4:27", "knows no VLANs")]);
    places(&nic("network: o, forwards: [80]"), &[("4:21", "nothing is forwarded there")]);
    places(&nic("network: n, forwards: [0]"), &[("4:32", "from 1 to 65535")]);
    places(&nic("network: n, forwards: [80, 81:80]"), &[("4:36", "forwarded twice")]);
    places(&nic("network: n, forwards: [9000:80, 9000:81]"), &[("4:41", "is used twice")]);
    places(&format!("{}hosts: 2\n", nic("network: n, forwards: [9000:80]")), &[("4:32", "several hosts")]);
    places(&format!("{V}nics: []\n"), &[("3:1", "from 1 to 8")]);
}

#[test]
fn addresses_are_in_their_network_and_there_once() {
    let lab = |text: &str| format!("{V}networks: {{lan: {{type: bridge, address: 10.0.0.1/24}}}}\n{text}");
    good(&lab("hosts: {a: {address: 10.0.0.5/24}, b: {address: dhcp}}\n"));
    places(&lab("hosts: {a: {address: 10.0.1.5/24}}\n"), &[("4:22", "it has 10.0.0.0/24")]);
    places(&lab("hosts: {a: {address: 10.0.0.1/24}}\n"), &[("4:22", "this machine's own address")]);
    places(&lab("hosts: {a: {address: 10.0.0.5/24}, b: {address: 10.0.0.5/24}}\n"), &[("4:49", "is there twice")]);
    places(&lab("address: 10.0.0.5/24\nhosts: 2\n"), &[("4:10", "first: ADDRESS")]);
    places(&lab("address: 10.0.0.5\n"), &[("4:10", "10.0.0.5/24")]);
    places(&lab("address: 10.0.0.5/24\nnics: [{address: 10.0.0.6/24}]\n"), &[("4:10", "keep one of them")]);
}

#[test]
fn disks_and_stages_fit_together() {
    places(&format!("{V}boot_disk: {{serial: ABCDEFGHIJKLMNOPQRSTU}}\n"), &[("3:21", "1 to 20")]);
    places(&format!("{V}boot_disk: {{serial: \"a,b\"}}\n"), &[("3:21", "cannot be a serial number")]);
    places(&format!("{V}data_disks: [{{serial: A}}, {{serial: A}}]\n"), &[("3:36", "is there twice")]);
    places(&format!("{V}stages: []\n"), &[("3:1", "no stage at all")]);
    places(&format!("{V}stages: [{{name: a}}, {{name: a}}]\n"), &[("3:28", "is there twice")]);
    places(&format!("{V}stages: [{{name: install}}]\n"), &[("3:17", "the installation has that name")]);
    places(
        &format!("{V}data_disks: [{{}}, {{}}]\nstages: [{{data_disks: [ide]}}]\n"),
        &[("4:11", "1 places for 2 data disks")],
    );
    let lab =
        good(&format!("{V}data_disks: [{{}}, {{}}]\nstages: [{{data_disks: none}}, {{data_disks: [ide, none]}}]\n"));
    let stages = lab.hosts["esx1"].settings.stages.clone().unwrap();
    assert_eq!(stages[0].data_disks, Some(StageDisks::All(None)));
    assert_eq!(stages[1].data_disks, Some(StageDisks::Each(vec![Some(Bus::Ide), None])));
}

#[test]
fn clones_are_of_another_host_that_is_installed() {
    let hosts = |text: &str| format!("{V}hosts:\n  a:\n{text}");
    good(&hosts("  b: {clone_from: a, clone: full, memory: 9GiB}\n"));
    places(&hosts("  b: {clone_from: c}\n"), &[("5:19", "there is no host `c`")]);
    places(&hosts("  b: {clone_from: b}\n"), &[("5:19", "cannot start from itself")]);
    places(&hosts("  b: {clone_from: a}\n  c: {clone_from: b}\n"), &[("6:19", "is a clone itself")]);
    places(&hosts("  b: {clone: full}\n"), &[("5:14", "without `clone_from`")]);
    places(&hosts("  b: {clone_from: a, iso: x}\n"), &[("5:27", "a clone has the `iso`")]);
}

#[test]
fn nothing_says_which_esxi() {
    places("name: x\n", &[("1:7", "nothing says which ESXi this is")]);
    good("name: x\niso: i.iso\n");
    places("name: x\nguest: standin\nhosts: [a]\n", &[("3:9", "the version that it plays")]);
    assert!(wrong("- a\n").contains("a lab is a mapping, and this is a list"));
    assert!(wrong("").contains("is empty"));
}

#[test]
fn playbooks_and_isos_count_from_the_files_folder() {
    let text =
        format!("{V}iso: ../i.iso\napply: [p.yml, q.yml]\nstages: [{{apply: p.yml}}, {{apply: /abs.yml}}]\nhosts: 2\n");
    let lab = Lab::from_text(Path::new("dir/lab.yml"), &text).unwrap();
    let shown: Vec<String> = lab.playbooks().iter().map(|(p, at)| format!("{} {}", p.display(), at.place())).collect();
    assert_eq!(shown, ["dir/p.yml dir/lab.yml:4:9", "dir/q.yml dir/lab.yml:4:16", "/abs.yml dir/lab.yml:5:34"]);
    assert_eq!(lab.isos(), [Path::new("dir/../i.iso")]);
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let problems = Lab::load(Path::new("/nowhere/lab.yml")).unwrap_err();
    assert!(problems.plain().contains("cannot read /nowhere/lab.yml"), "{}", problems.plain());
}

/// Every key of the types is known to the reader, and the schema has all of them.
#[test]
fn the_keys_the_types_and_the_schema_agree() {
    let keys = |schema: schemars::Schema| -> Vec<String> {
        schema.to_value()["properties"].as_object().unwrap().keys().cloned().collect()
    };
    let mut settings: Vec<String> = OF_ALL.iter().chain(OF_HOST).map(|k| (*k).to_owned()).collect();
    let mut of_type = keys(schemars::schema_for!(Settings));
    settings.sort();
    of_type.sort();
    assert_eq!(settings, of_type);
    let mut lab = keys(schemars::schema_for!(LabKeys));
    lab.sort();
    let mut of_lab: Vec<&str> = OF_LAB.to_vec();
    of_lab.sort_unstable();
    assert_eq!(lab, of_lab);
    let schema = schema();
    for key in OF_LAB.iter().chain(OF_ALL) {
        assert!(schema["properties"][*key].is_object(), "{key}");
    }
    // Every reference leads somewhere, and every key says what it is.
    let text = schema.to_string();
    for part in text.split("#/$defs/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schema["$defs"][name].is_object(), "{name}");
    }
    assert_eq!(schema["$defs"]["Settings"]["properties"]["clone_from"]["type"], serde_json::json!(["string", "null"]));
    for (key, property) in schema["properties"].as_object().unwrap() {
        assert!(property["description"].is_string(), "{key}: {property}");
    }
}
