//! What a run costs: reads are batched, and the number of calls sets the time, not the number of steps.

use std::time::Instant;

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};
use super::sixty::sixty_steps;

#[test]
fn sixty_steps_that_match_cost_one_batch_of_reads() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let playbook = home.write("sixty.yml", &sixty_steps());
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert_eq!(ran.of("step").len(), 60);
    let host = &ran.of("host_finished")[0];
    assert_eq!((host["ok"].as_u64(), host["changed"].as_u64()), (Some(60), Some(0)), "{}", ran.all());
    assert!(host["round_trips"].as_u64().unwrap() <= 3, "{host}");
    assert!(host["commands"].as_u64().unwrap() <= 20, "{host}");
}

#[test]
fn calls_set_the_time_not_steps() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--esxcli-ms", "100"]);
    let many = home.write("many.yml", &sixty_steps());
    let one = home.write("one.yml", "steps:\n  - setting: {key: Mem.ShareForceSalting, value: 2}\n");
    let time = |playbook: &std::path::Path| {
        let started = Instant::now();
        home.run(&["apply", arg(playbook), "-i", sim.inventory()]).exits(0);
        started.elapsed().as_secs_f64()
    };
    let one = time(&one);
    let many = time(&many);
    // Sixty calls one after the other would be six seconds more.
    assert!(many < one + 3.0, "one step {one:.2} s, sixty steps {many:.2} s");
}

/// Commands and round trips of the only host.
fn cost(ran: &Ran) -> (u64, u64) {
    let host: &Value = &ran.of("host_finished")[0];
    (host["commands"].as_u64().unwrap(), host["round_trips"].as_u64().unwrap())
}

/// What was sent, in order, from the log.
fn sent(home: &Home) -> Vec<String> {
    let log = std::fs::read_to_string(home.path("log")).unwrap();
    let command = |l: &str| Some(l.split_once("command=")?.1.to_owned());
    log.lines().filter(|l| l.contains("sending")).filter_map(command).collect()
}

fn logged(home: &Home, args: &[&str], code: i32) -> Ran {
    let log = home.path("log");
    let more = ["--output", "json", "--log-file", arg(&log)];
    home.run(&[args, more.as_slice()].concat()).exits(code)
}

const NESTED_LAB: &str = "playbooks/nested-lab.yml";

#[test]
fn the_nested_lab_reads_nothing_that_it_does_not_use() {
    let home = Home::new();
    let state = home.path("hosts");
    let apply = ["apply", NESTED_LAB, "--sim", "1", "--sim-state", arg(&state)];

    let check = logged(&home, &["apply", NESTED_LAB, "--sim", "1", "--check"], 3);
    let (commands, round_trips) = cost(&check);
    assert!(commands <= 21 && round_trips <= 3, "{commands} commands, {round_trips} round trips\n{}", check.all());

    let first = logged(&home, &apply, 0);
    assert_eq!(first.of("host_finished")[0]["changed"], 7, "{}", first.all());
    let all = sent(&home);
    let polls = all.iter().filter(|c| c.as_str() == "vim-cmd hostsvc/hostsummary").count() as u64 - 2;
    let (commands, round_trips) = cost(&first);
    assert!(commands - polls <= 51 && round_trips - polls <= 27, "{commands}, {round_trips}, {polls} polls: {all:#?}");
    let reboot = all.iter().position(|c| c == "reboot").unwrap();
    let early: Vec<&String> = all[..reboot].iter().filter(|c| c.starts_with("esxcli network")).collect();
    assert!(early.is_empty(), "read before the reboot that makes them stale: {early:?}");
    assert_eq!(all.iter().filter(|c| c.contains("auto-backup.sh")).count(), 2, "{all:#?}");

    let again = logged(&home, &apply, 0);
    assert_eq!(again.of("host_finished")[0]["changed"], 0, "{}", again.all());
    let (commands, round_trips) = cost(&again);
    assert!(commands <= 18 && round_trips <= 3, "{commands} commands, {round_trips} round trips: {:#?}", sent(&home));
}

#[test]
fn what_a_change_makes_stale_is_read_together() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    // `run` may have altered anything; the steps after it match and read three outputs.
    let playbook = home.write(
        "stale.yml",
        "steps:\n  - setting: {key: Mem.ShareForceSalting, value: 1}\n  - run: true\n  - setting: {key: UserVars.DcuiTimeOut, value: 600}\n  - portgroup: {name: VM Network, vswitch: vSwitch0, vlan: 0}\n  - module: {name: vmkusb, enabled: true}\n",
    );
    let ran = logged(&home, &["apply", arg(&playbook), "-i", sim.inventory()], 0);
    let all = sent(&home);
    let count = |text: &str| all.iter().filter(|c| c.as_str() == text).count();
    // Before the setting, after it, after `run`.
    assert_eq!(count("esxcli system settings advanced list"), 3, "{all:#?}");
    assert_eq!(count("esxcli system module list"), 1, "{all:#?}");
    // Identify, read, set, look, run, read, save.
    let (_, round_trips) = cost(&ran);
    assert!(round_trips <= 7, "{round_trips}: {all:#?}");
}

#[test]
fn no_change_is_planned_on_what_an_earlier_step_made_stale() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    // The second step wants what the first one undoes: on stale outputs it would find nothing to do.
    let playbook = home.write(
        "undone.yml",
        "steps:\n  - setting: {key: UserVars.DcuiTimeOut, value: 700}\n  - setting: {key: UserVars.DcuiTimeOut, value: 600}\n  - run: esxcli system settings advanced set -o /UserVars/DcuiTimeOut -i 800\n  - setting: {key: UserVars.DcuiTimeOut, value: 600}\n",
    );
    let ran = logged(&home, &["apply", arg(&playbook), "-i", sim.inventory()], 0);
    assert_eq!(ran.of("host_finished")[0]["changed"], 4, "{}", ran.all());
    assert!(
        sim.on_host(&home, "esxcli system settings advanced list -o /UserVars/DcuiTimeOut").contains("Int Value: 600")
    );
}
