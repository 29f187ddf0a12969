//! A state of a simulated host, printed by its programs and read by the product, is the same state again.
//!
//! Simulator and product share no parser and no table, so agreement here is between two readings of the same
//! recorded outputs. Cases are random and the same in every run; a failure names release and case.
//!
//! Left out, because a real host's output could not be told apart either: blanks at the ends of names, line breaks in
//! names and values, a port group named `N/A` (what a vmknic without one shows), and in hostd's dumps, whose escapes
//! were never recorded, backslashes and a quote that is followed by what may follow the end of a text.

mod roundtrip;

use std::collections::BTreeMap;

use esxprep::engine::identify::Identify;
use esxprep::esxi::software::{self, Acceptance};
use esxprep::esxi::{Output, Outputs, forms, net, parse, services, settings, vimdump};
use roundtrip::{Dice, Host, RELEASES};
use serde_json::{Value, json};

/// Cases for each release.
const CASES: u64 = 12;

/// Runs a check on random hosts of every release.
fn every(check: impl Fn(&mut Host)) {
    for release in RELEASES {
        for case in 0..CASES {
            let mut dice = Dice::new(release, case);
            let mut host = Host::random(release, &mut dice);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut host)));
            assert!(outcome.is_ok(), "release {release}, case {case}: see above\n{:#}", host.value["net"]);
        }
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

#[test]
fn vmknics_their_addresses_and_tags() {
    every(|host| {
        let wanted = host.value["net"]["vmks"].as_array().unwrap().clone();
        let groups = host.value["net"]["portgroups"].as_array().unwrap().clone();
        let read = net::vmknics(&host.says(&["esxcli", "network", "ip", "interface", "list"])).unwrap();
        let ipv4 = net::ipv4(&host.says(&["esxcli", "network", "ip", "interface", "ipv4", "get"])).unwrap();
        assert_eq!((read.len(), ipv4.len()), (wanted.len(), wanted.len()));
        for ((got, address), want) in read.iter().zip(&ipv4).zip(&wanted) {
            let group = groups.iter().find(|g| g["name"] == want["portgroup"]).unwrap();
            assert_eq!(
                json!([
                    got.name,
                    got.mac.unwrap().to_string(),
                    got.enabled,
                    got.portset,
                    got.portgroup,
                    got.netstack,
                    got.mtu
                ]),
                json!([
                    want["name"],
                    want["mac"],
                    want["enabled"],
                    group["vswitch"],
                    want["portgroup"],
                    want["netstack"],
                    want["mtu"]
                ])
            );
            let shown = |a: &Option<std::net::Ipv4Addr>| a.map_or("0.0.0.0".to_owned(), |a| a.to_string());
            assert_eq!(address.name, got.name);
            assert_eq!(format!("{:?}", address.kind).to_uppercase(), text(&want["kind"]));
            assert_eq!(shown(&address.address), text(&want["address"]));
            assert_eq!(shown(&address.netmask), text(&want["netmask"]));
            assert_eq!(shown(&address.gateway), text(&want["gateway"]));
            assert_eq!(json!(address.dhcp_dns), want["dhcp_dns"]);
            let tags = host.says(&["esxcli", "network", "ip", "interface", "tag", "get", "-i", &got.name]);
            assert_eq!(net::tags(&tags).unwrap(), texts(&want["tags"]));
        }
    });
}

#[test]
fn switches_port_groups_and_their_security() {
    every(|host| {
        let switches = host.value["net"]["vswitches"].as_array().unwrap().clone();
        let read = net::vswitches(&host.says(&["esxcli", "network", "vswitch", "standard", "list"])).unwrap();
        let got: Vec<Value> = read.iter().map(|v| json!([v.name, v.mtu, v.cdp, v.uplinks])).collect();
        let want: Vec<Value> = switches.iter().map(|v| json!([v["name"], v["mtu"], v["cdp"], v["uplinks"]])).collect();
        assert_eq!(got, want);
        for switch in &switches {
            let name = format!("--vswitch-name={}", text(&switch["name"]));
            let said = host.says(&["esxcli", "network", "vswitch", "standard", "policy", "security", "get", &name]);
            let got = net::security(&said).unwrap();
            let want = &switch["security"];
            assert_eq!(
                json!([got.promiscuous, got.mac_changes, got.forged_transmits]),
                json!([want["promiscuous"], want["mac_change"], want["forged"]])
            );
        }
        let mut groups = host.value["net"]["portgroups"].as_array().unwrap().clone();
        groups.sort_by(|a, b| text(&a["name"]).cmp(text(&b["name"])));
        let read =
            net::portgroups(&host.says(&["esxcli", "network", "vswitch", "standard", "portgroup", "list"])).unwrap();
        let got: Vec<Value> = read.iter().map(|g| json!([g.name, g.vswitch, g.vlan])).collect();
        let want: Vec<Value> = groups.iter().map(|g| json!([g["name"], g["vswitch"], g["vlan"]])).collect();
        assert_eq!(got, want);
        for group in &groups {
            let name = format!("--portgroup-name={}", text(&group["name"]));
            let command = ["esxcli", "network", "vswitch", "standard", "portgroup", "policy", "security", "get", &name];
            let got = net::security(&host.says(&command)).unwrap();
            let above = &switches.iter().find(|v| v["name"] == group["vswitch"]).unwrap()["security"];
            let parts = ["promiscuous", "mac_change", "forged"];
            let want = parts.map(|part| if group[part].is_null() { above[part].clone() } else { group[part].clone() });
            assert_eq!(json!([got.promiscuous, got.mac_changes, got.forged_transmits]), json!(want));
            assert_eq!(got.overrides, Some(parts.map(|part| !group[part].is_null())));
        }
    });
}

#[test]
fn nics_stacks_routes_and_names() {
    every(|host| {
        let nics = host.value["nics"].as_array().unwrap().clone();
        let read = net::nics(&host.says(&["esxcli", "network", "nic", "list"])).unwrap();
        assert_eq!(read.len(), nics.len());
        for (got, want) in read.iter().zip(&nics) {
            let link = want["up"] == true && want["link"] == true;
            assert_eq!(
                json!([got.name, got.driver, got.admin_up, got.link_up, got.mac.unwrap().to_string(), got.mtu]),
                json!([want["name"], want["driver"], want["up"], link, want["mac"], want["mtu"]])
            );
            let speed = if link { want["speed"].clone() } else { json!(0) };
            assert_eq!(json!(got.speed), speed);
            assert!(!link || got.full_duplex == (want["duplex"] == "Full"));
        }
        let stacks = texts(&host.value["net"]["netstacks"]);
        assert_eq!(net::netstacks(&host.says(&["esxcli", "network", "ip", "netstack", "list"])).unwrap(), stacks);
        let servers = host.says(&["esxcli", "network", "ip", "dns", "server", "list"]);
        assert_eq!(net::labelled_list(&servers, "DNSServers").unwrap(), texts(&host.value["net"]["dns"]));
        let search = host.says(&["esxcli", "network", "ip", "dns", "search", "list"]);
        assert_eq!(net::labelled_list(&search, "DNSSearch Domains").unwrap(), texts(&host.value["net"]["search"]));
        let all = host.value["net"]["routes"].as_array().unwrap().clone();
        for stack in &stacks {
            let option = format!("--netstack={stack}");
            let said = host.says(&["esxcli", "network", "ip", "route", "ipv4", "list", &option]);
            let read = net::routes(&said).unwrap();
            for want in all.iter().filter(|r| r["netstack"] == **stack) {
                let found = read.iter().any(|got| {
                    let gateway = got.gateway.map_or("0.0.0.0".to_owned(), |a| a.to_string());
                    json!([got.network, got.netmask.to_string(), gateway, got.interface, got.source])
                        == json!([want["network"], want["netmask"], want["gateway"], want["interface"], want["source"]])
                });
                assert!(found, "{want} is not in {read:?}");
            }
        }
    });
}

#[test]
fn modules_services_and_the_firewall() {
    every(|host| {
        let rows = forms::table(&host.says(&["esxcli", "system", "module", "list"])).unwrap();
        let got: Vec<[&str; 3]> =
            rows.iter().map(|r| ["Name", "Is Loaded", "Is Enabled"].map(|c| r[c].as_str())).collect();
        let word = |v: &Value| if v == true { "true" } else { "false" };
        let modules = host.value["modules"].as_array().unwrap().clone();
        let want: Vec<[&str; 3]> =
            modules.iter().map(|m| [text(&m["name"]), word(&m["loaded"]), word(&m["enabled"])]).collect();
        assert_eq!(got, want);

        let list = host.value["services"].as_array().unwrap().clone();
        let said = host.says(&["chkconfig", "--list"]);
        let want: Vec<(&str, bool)> = list.iter().map(|s| (text(&s["script"]), s["policy"] != "off")).collect();
        assert_eq!(services::chkconfig(&said), want);
        for service in &list {
            let script = format!("/etc/init.d/{}", text(&service["script"]));
            if esxprep::sim::host::programs().contains(&script.as_str()) {
                let said = host.prints(&[&script, "status"]).0;
                assert_eq!(json!(services::is_running(&said)), service["running"], "{script}: {said}");
            }
        }

        let firewall = host.value["firewall"].clone();
        let got = net::firewall(&host.says(&["esxcli", "network", "firewall", "get"])).unwrap();
        assert_eq!(json!([got.enabled, got.passes_by_default]), json!([firewall["enabled"], firewall["pass"]]));
        let rulesets = firewall["rulesets"].as_array().unwrap();
        let got = net::rulesets(&host.says(&["esxcli", "network", "firewall", "ruleset", "list"])).unwrap();
        let got: Vec<Value> = got.iter().map(|r| json!([r.name, r.enabled])).collect();
        assert_eq!(got, rulesets.iter().map(|r| json!([r["name"], r["enabled"]])).collect::<Vec<_>>());
        let got =
            net::allowed_ips(&host.says(&["esxcli", "network", "firewall", "ruleset", "allowedip", "list"])).unwrap();
        let got: Vec<Value> = got.iter().map(|r| json!([r.ruleset, r.addresses])).collect();
        let ips = |r: &Value| if r["all"] == true { Value::Null } else { r["ips"].clone() };
        assert_eq!(got, rulesets.iter().map(|r| json!([r["name"], ips(r)])).collect::<Vec<_>>());
    });
}

#[test]
fn settings_of_all_three_worlds() {
    every(|host| {
        let said = host.says(&["esxcli", "system", "settings", "advanced", "list"]);
        let read: BTreeMap<_, _> = settings::advanced(&said).unwrap().into_iter().map(|o| (o.path, o)).collect();
        let set = host.value["advanced"].as_object().unwrap().clone();
        for (path, want) in &set {
            let got = &read[path.as_str()];
            let shown = if got.is_int { got.int.unwrap().to_string() } else { got.string.to_owned() };
            assert_eq!(shown, text(want), "{path}");
        }
        for option in read.values().filter(|o| !set.contains_key(o.path) && o.path != "/Misc/HostName") {
            assert!(option.int == option.default_int && option.string == option.default_string, "{option:?}");
        }
        let rows = forms::table(&host.says(&["esxcli", "system", "settings", "kernel", "list"])).unwrap();
        for (name, want) in host.value["kernel"].as_object().unwrap() {
            let row = rows.iter().find(|r| r["Name"] == *name).unwrap();
            assert_eq!(
                json!([row["Configured"], row["Runtime"]]),
                json!([want["configured"], want["runtime"]]),
                "{name}"
            );
        }
        for (key, want) in host.value["hostd"].as_object().unwrap().clone() {
            let dump = vimdump::parse(&host.says(&["vim-cmd", "hostsvc/advopt/view", &key])).unwrap();
            assert_eq!(dump.find("value").unwrap().text(), text(&want), "{key}");
            assert_eq!(dump.find("key").unwrap().text(), key);
        }
    });
}

#[test]
fn software_accounts_and_datastores() {
    every(|host| {
        let mut vibs = host.value["image"]["vibs"].as_array().unwrap().clone();
        let read =
            software::installed(forms::table(&host.says(&["esxcli", "software", "vib", "list"])).unwrap()).unwrap();
        let mut got: Vec<Value> = read.iter().map(|v| json!([v.name, v.version, v.acceptance])).collect();
        let by_text = |v: &Value| v.to_string();
        got.sort_by_key(by_text);
        let mut want: Vec<Value> = vibs.drain(..).map(|v| json!([v["name"], v["version"], v["level"]])).collect();
        want.sort_by_key(by_text);
        assert_eq!(got, want);
        let level: Acceptance = host.says(&["esxcli", "software", "acceptance", "get"]).parse().unwrap();
        assert_eq!(level.as_str(), text(&host.value["acceptance"]));

        let rows = forms::table(&host.says(&["esxcli", "system", "account", "list"])).unwrap();
        let got: Vec<Value> = rows.iter().map(|r| json!([r["User ID"], r["Description"]])).collect();
        let accounts = host.value["accounts"].as_array().unwrap().clone();
        assert_eq!(got, accounts.iter().map(|a| json!([a["id"], a["description"]])).collect::<Vec<_>>());

        let rows = forms::table(&host.says(&["esxcli", "storage", "filesystem", "list"])).unwrap();
        let got: Vec<[String; 5]> =
            rows.iter().map(|r| ["Volume Name", "UUID", "Type", "Size", "Free"].map(|c| r[c].clone())).collect();
        let stores = host.value["stores"].as_array().unwrap().clone();
        let want: Vec<[String; 5]> = stores
            .iter()
            .map(|s| {
                ["name", "uuid", "kind", "size", "free"].map(|k| s[k].as_str().map_or(s[k].to_string(), str::to_owned))
            })
            .collect();
        assert_eq!(got, want);
    });
}

#[test]
fn the_first_round_trip() {
    every(|host| {
        let identify = Identify::default();
        let mut seen = Outputs::default();
        for command in identify.commands() {
            let words: Vec<&str> = command.text().split(' ').collect();
            if ["vmware", "uname", "vim-cmd", "esxcli"].contains(&words[0]) {
                seen.insert(&command, Output::ok(host.says(&words)));
            }
        }
        let facts = identify.facts(&seen).unwrap();
        let state = &host.value;
        assert_eq!(facts.version.to_string(), text(&state["full"]));
        assert_eq!(json!([facts.build, facts.maintenance]), json!([state["build"], state["maintenance"]]));
        assert_eq!(facts.hostname, host.state.fqdn());
        let boot = humantime::parse_rfc3339(&facts.boot_time).unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
        assert_eq!(boot.as_secs(), host.state.boot_time());
        let vms = state["vms"].as_array().unwrap();
        let running: Vec<&str> = vms.iter().filter(|v| v["power"] == "on").map(|v| text(&v["name"])).collect();
        assert_eq!(facts.running_vms, running);
    });
}

/// The general parser says of a text what the readers of forms say.
fn general(words: &[&str], said: &str, read: &[forms::Record]) {
    // Copies hold widthless characters, tabs and odd blanks that no host printed: it takes them out.
    let odd = |c: char| c != '\n' && (c.is_control() || !c.is_ascii() && (c.is_whitespace() || !c.is_alphanumeric()));
    if said.contains(odd) {
        return;
    }
    let command = format!("esxcli {}", words.join(" "));
    let parsed = parse::parse(&command, &Output::ok(said));
    let Ok(parse::Parsed::Answer(value)) = parsed else { panic!("{command}: {parsed:?}\n{said}") };
    let rows: Vec<&Value> = match &value {
        Value::Array(rows) => rows.iter().collect(),
        Value::Object(map) if map.is_empty() => Vec::new(),
        one => vec![one],
    };
    assert_eq!(rows.len(), read.len(), "{command}\n{said}");
    for (row, record) in rows.iter().zip(read) {
        for (label, text) in record.iter().filter(|(label, _)| !label.contains('/')) {
            let Some(shown) = row[label].as_str() else { continue };
            assert_eq!(shown, text, "{command}: {label}\n{said}");
        }
    }
}

/// Every command that lists or gets something without being told what: its text, read by form, holds what the same
/// command's machine form holds.
#[test]
fn every_list_in_text_is_its_machine_form() {
    let mut compared = 0;
    for release in RELEASES {
        for case in 0..4 {
            let mut host = Host::random(release, &mut Dice::new(release, 1000 + case));
            let commands = forms::table(&host.says(&["esxcli", "esxcli", "command", "list"])).unwrap();
            for row in commands.iter().filter(|row| ["list", "get"].contains(&row["Command"].as_str())) {
                let path = format!("{}.{}", row["Namespace"], row["Command"]);
                let words: Vec<&str> = path.split('.').collect();
                let (said, code) = host.prints(&[&["esxcli"], &words[..]].concat());
                let (machine, _) = host.prints(&[&["esxcli", "--debug", "--formatter=json"], &words[..]].concat());
                let Some(Ok(machine)) = (code == 0).then(|| serde_json::from_str::<Value>(&machine)) else { continue };
                let read: Vec<forms::Record> = match forms::table(&said) {
                    Ok(rows) => rows,
                    Err(_) => match &machine {
                        Value::String(word) => {
                            assert_eq!(said.trim_end_matches('\n'), word);
                            continue;
                        }
                        _ => forms::records(&said).unwrap().into_iter().map(|(_, record)| record).collect(),
                    },
                };
                general(&words, &said, &read);
                let rows: Vec<&Value> = machine.as_array().map_or_else(|| vec![&machine], |rows| rows.iter().collect());
                assert_eq!(read.len(), rows.len(), "{release}, case {case}: {path}\n{said}");
                for (got, want) in read.iter().zip(rows) {
                    for (label, value) in got {
                        let wanted = roundtrip::shown(want, label);
                        // A unit stands behind the number in text only.
                        let fits = *value == wanted
                            || wanted.parse::<i64>().is_ok() && value.split(' ').next() == Some(&wanted);
                        assert!(
                            fits,
                            "{release}, case {case}: {path}: {label}: {value:?}, but {wanted:?} in\n{want}\n{said}"
                        );
                        compared += 1;
                    }
                }
            }
        }
    }
    assert!(compared > 20_000, "only {compared} values were compared");
}
