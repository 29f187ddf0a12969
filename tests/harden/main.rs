//! The hardening playbooks, whole, on simulated hosts as they come from the installer: judged, made, judged again, and
//! taken back.

mod broken;
#[path = "../cli/common.rs"]
#[allow(dead_code)]
mod common;
mod doors;
#[path = "../common/kept.rs"]
mod kept;
mod killed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use common::{Home, Ran, SimHosts, arg};
use kept::{SITE, saved};

/// Controls that stay findings on a simulated host whatever is given: they are fixed where the hardware is there.
const NO_HARDWARE: &[&str] = &["tpm-configuration", "secureboot", "secureboot-enforcement"];

/// Verdicts by control.
fn verdicts(ran: &Ran) -> BTreeMap<String, String> {
    let word = |v: &Value| v.as_str().unwrap().to_owned();
    ran.of("control").iter().map(|c| (word(&c["id"]), word(&c["verdict"]))).collect()
}

/// What the only host has kept, once it has saved.
fn kept(home: &Home, sim: &SimHosts, state: &Path) -> BTreeMap<String, String> {
    let save = home.write("save.yml", "steps:\n  - run: {command: /sbin/auto-backup.sh}\n");
    home.run(&["apply", arg(&save), "-i", sim.inventory()]).exits(0);
    saved(&state.join("host1"))
}

/// What differs between two kept states; `grown`: but for the room for audit records.
fn differing(mut then: BTreeMap<String, String>, mut now: BTreeMap<String, String>, grown: bool) -> Vec<String> {
    if grown {
        for state in [&mut now, &mut then] {
            let hostd: BTreeMap<String, Value> = serde_json::from_str(&state["hostd"]).unwrap();
            let rest: BTreeMap<_, _> = hostd.into_iter().filter(|(k, _)| !k.ends_with("storageCapacity")).collect();
            state.insert("hostd".into(), serde_json::to_string(&rest).unwrap());
        }
    }
    then.iter()
        .filter(|(k, v)| now.get(*k) != Some(v))
        .map(|(k, v)| format!("{k}: {v}\n  now: {}", now.get(k).map_or("gone", String::as_str)))
        .chain(now.keys().filter(|k| !then.contains_key(*k)).map(|k| format!("{k} is new")))
        .collect()
}

/// From the installer's state: no control that esxprep fixes fails after one apply with one reboot at the most, and the
/// undo brings the installer's state back.
fn there_and_back(release: &str, name: &str) {
    let home = Home::new();
    let (state, site) = (home.path("sim"), home.write("site.yml", SITE));
    let given = format!("@{}", site.display());
    let book = format!("playbooks/hardening/{name}.yml");
    let sim = SimHosts::start(&home, release, 1, &["--state", arg(&state), "--boot-ms", "300", "--hostd-ms", "200"]);
    let factory = kept(&home, &sim, &state);
    let run = |verb: &str, code: i32| {
        home.run(&[verb, &book, "-i", sim.inventory(), "-e", &given, "--output", "json"]).exits(code)
    };
    let data = esxprep::hardening::baseline(name).unwrap();

    let before = run("verify", 3);
    let first = verdicts(&before);
    let ids: BTreeSet<&str> = data.controls.iter().map(|c| c.id.as_str()).collect();
    assert_eq!(first.keys().map(String::as_str).collect::<BTreeSet<_>>(), ids, "every control has one result");
    let finished = &before.of("host_finished")[0];
    assert!(finished["round_trips"].as_u64().unwrap() <= 4, "{finished}");
    let least = data.controls.len() / 4;
    assert!(first.values().filter(|v| *v == "fail").count() > least, "a fresh host is not hard: {first:?}");

    let applied = run("apply", 3);
    let finished = &applied.of("host_finished")[0];
    assert!(finished["reboots"].as_u64().unwrap() <= 1 && finished["failed"] == 0, "{finished}");
    assert!(applied.of("host_failed").is_empty(), "the session is lost: {}", applied.all());

    let after = run("verify", 3);
    let last = verdicts(&after);
    for control in &data.controls {
        use esxprep::hardening::Outcome;
        let verdict = last[&control.id].as_str();
        if NO_HARDWARE.contains(&control.concept.as_str()) {
            continue;
        }
        match control.outcome {
            Outcome::Fixed => {
                assert!(matches!(verdict, "pass" | "not_applicable"), "{} {verdict}: {}", control.id, after.all())
            }
            Outcome::NotJudged => {
                assert!(matches!(verdict, "not_judged" | "not_applicable"), "{} {verdict}", control.id)
            }
            Outcome::Judged => {}
        }
    }
    assert_eq!(verdicts(&applied), last, "what apply says at its end is what verify finds");
    // A second apply changes nothing.
    let again = run("apply", 3);
    assert_eq!(again.of("host_finished")[0]["changed"], 0, "{}", again.all());
    assert_eq!(again.of("making").len(), 0);

    let id = applied.of("run_started")[0]["run"].as_str().unwrap().to_owned();
    let back = home.run(&["apply", "-i", sim.inventory(), "--undo", &id, "--output", "json"]).exits(0);
    let cannot: Vec<&str> = back.stderr.lines().filter(|l| l.contains("cannot take this back")).collect();
    // The room for audit records can only grow, says the vendor; everything else comes back.
    assert!(cannot.iter().all(|l| l.contains("room for audit records")), "{cannot:?}");
    let differs = differing(factory, kept(&home, &sim, &state), !cannot.is_empty());
    assert!(differs.is_empty(), "after the undo:\n{}", differs.join("\n"));
    assert_eq!(verdicts(&run("verify", 3)).len(), ids.len());
}

#[test]
fn stig_8_0_there_and_back() {
    there_and_back("8.0", "stig-8.0");
}

#[test]
fn stig_7_0_there_and_back() {
    there_and_back("7.0", "stig-7.0");
}

#[test]
fn stig_6_7_there_and_back() {
    there_and_back("6.7", "stig-6.7");
}

#[test]
fn scg_8_there_and_back() {
    there_and_back("8.0", "scg-8");
}

#[test]
fn scg_7_there_and_back() {
    there_and_back("7.0", "scg-7");
}

/// One vSwitch, three port groups, one vmk: 40 commands at the most, in three round trips.
#[test]
fn a_verify_of_stig_8_0_is_forty_commands_in_three_round_trips() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let third = home.write("third.yml", "steps:\n  - portgroup: {name: third net, vswitch: vSwitch0, vlan: 30}\n");
    home.run(&["apply", arg(&third), "-i", sim.inventory()]).exits(0);
    let book = "playbooks/hardening/stig-8.0.yml";
    let verify = || {
        let ran = home.run(&["verify", book, "-i", sim.inventory(), "--output", "json"]).exits(3);
        let finished = ran.of("host_finished").remove(0);
        (finished["commands"].as_u64().unwrap(), finished["round_trips"].as_u64().unwrap())
    };
    let (commands, trips) = verify();
    assert!(commands <= 40 && trips <= 3, "as installed: {commands} commands, {trips} round trips");
    home.run(&["apply", book, "-i", sim.inventory()]).exits(3);
    let (commands, trips) = verify();
    assert!(commands <= 40 && trips <= 3, "hardened: {commands} commands, {trips} round trips");
}
