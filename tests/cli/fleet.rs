//! Many hosts at a time: who is begun, who is not, and what the exit code and the table say; locks; hosts whose
//! management agent or commands do not answer.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::common::{Home, Ran, SimHosts, arg};

const SETTING: &str = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";

fn begun(ran: &Ran) -> BTreeSet<String> {
    ran.of("host_connecting").iter().map(|e| e["host"].as_str().unwrap().to_owned()).collect()
}

fn names(numbers: impl IntoIterator<Item = usize>) -> BTreeSet<String> {
    numbers.into_iter().map(|n| format!("esx{n}")).collect()
}

#[test]
fn twenty_hosts_in_batches_stop_after_two_failures() {
    let home = Home::new();
    let faults = ["esx2", "esx7", "esx9"].map(|h| format!("fail=advanced set:No space left@{h}"));
    let more: Vec<&str> = faults.iter().flat_map(|f| ["--fault", f.as_str()]).collect();
    let sim = SimHosts::start(&home, "8.0", 20, &more);
    let playbook = home.write("p.yml", SETTING);
    let apply = |more: &[&str]| {
        home.run(
            &[&["apply", arg(&playbook), "-i", sim.inventory(), "--forks", "5", "--output", "json"], more].concat(),
        )
    };
    // 25% of 20 is 5 a batch: one failure in the first, the second batch brings more, the third never begins.
    let ran = apply(&["--serial", "25%", "--max-failures", "2"]).exits(1);
    let first = names(1..=5);
    let who = begun(&ran);
    assert!(who.is_superset(&first), "{who:?}");
    assert!(who.is_subset(&names(1..=10)), "{who:?}");
    let finished = ran.of("host_finished");
    assert_eq!(finished.len(), who.len());
    for host in &finished {
        let bad = ["esx2", "esx7", "esx9"].contains(&host["host"].as_str().unwrap());
        assert_eq!(host["failed"].as_u64(), Some(u64::from(bad)), "{host}");
        assert_eq!(host["changed"].as_u64(), Some(u64::from(!bad)), "{host}");
    }
    let end = &ran.of("run_finished")[0];
    assert_eq!((end["hosts"].as_u64(), end["unreachable"].as_u64()), (Some(20), Some(0)), "{end}");
    assert!(end["failed"].as_u64().unwrap() >= 2, "{end}");

    // The batch after the limit was not touched.
    let rest = home.run(&["verify", arg(&playbook), "-i", sim.inventory(), "--limit", "esx1[1-9]", "--output", "json"]);
    assert!(rest.of("host_finished").iter().all(|h| h["changed"] == 1), "{}", rest.all());

    // Without the limit every host has its turn, and people see which three need them.
    let human = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--forks", "5", "--serial", "25%"]).exits(1);
    for n in 1..=20 {
        let row = human.stdout.lines().find(|l| l.contains('│') && l.contains(&format!(" esx{n} ")));
        assert!(row.is_some(), "esx{n}: {}", human.all());
    }
    assert!(human.stdout.contains("3 of 20"), "{}", human.all());
}

#[test]
fn one_host_that_is_away_is_a_failure_and_all_of_them_are_unreachable() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 2, &[]);
    let text = std::fs::read_to_string(&sim.inventory).unwrap();
    let port = sim.hosts[1]["port"].to_string();
    // Port 9 (discard) of this machine.
    let some = home.write("some.yml", &text.replace(&format!("port: {port}"), "port: 9"));
    let playbook = home.write("p.yml", SETTING);
    let ran = home.run(&["apply", arg(&playbook), "-i", arg(&some), "--output", "json"]).exits(1);
    let end = &ran.of("run_finished")[0];
    assert_eq!((end["unreachable"].as_u64(), end["changed"].as_u64()), (Some(1), Some(1)), "{end}");
    assert_eq!(ran.of("host_failed")[0]["host"], "esx2", "{}", ran.all());
    assert_eq!(ran.of("host_failed")[0]["unreachable"], true, "{}", ran.all());
    sim.stop();
    home.run(&["apply", arg(&playbook), "-i", arg(&some)]).exits(4);
}

#[test]
fn the_second_of_two_runs_on_a_host_says_who_holds_it() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let wait =
        home.write("wait.yml", "steps:\n  - run: touch /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done\n");
    let mut first = home
        .command(&["apply", arg(&wait), "-i", sim.inventory(), "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    let run = loop {
        let event: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if event["event"] == "host_connected" {
            break event["run"].as_str().unwrap().to_owned();
        }
    };
    let playbook = home.write("p.yml", SETTING);
    let second = home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(1);
    assert!(second.all().contains(&run) && second.all().contains(&first.id().to_string()), "{}", second.all());
    // Looking does no harm, and is allowed; it also lets the first one end.
    let go = home.write("go.yml", "steps:\n  - run: {command: touch /tmp/go, read_only: true}\n");
    home.run(&["verify", arg(&go), "-i", sim.inventory()]);
    assert!(first.wait().unwrap().success());
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
}

#[test]
fn a_management_agent_that_comes_late_is_waited_for() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &["--fault", "slow-hostd=2500"]);
    let playbook = home.write("p.yml", SETTING);
    let started = Instant::now();
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    assert!(started.elapsed() > Duration::from_millis(1000), "{:?}", started.elapsed());
}

#[test]
fn a_management_agent_that_never_comes_is_said_so() {
    let home = Home::new();
    let down = SimHosts::start(&home, "6.5", 1, &["--fault", "hostd-down"]);
    let setting = home.write("s.yml", SETTING);
    let ran = home.run(&["apply", arg(&setting), "-i", down.inventory(), "--agent-timeout", "1500ms"]).exits(1);
    assert!(ran.all().contains("hostd") && ran.all().contains("/etc/init.d/hostd restart"), "{}", ran.all());
}

#[test]
fn a_command_that_hangs_is_ended_after_its_limit_and_the_host_can_still_be_cleaned_up() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--fault", "hang=system uuid get"]);
    let playbook = home.write(
        "p.yml",
        "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - run: esxcli system uuid get\n    timeout: 2s\n  - run: touch /tmp/behind\n",
    );
    let started = Instant::now();
    let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let steps = ran.of("step");
    assert_eq!(steps.len(), 2, "{}", ran.all());
    let error = steps[1]["error"].as_str().unwrap();
    assert!(error.contains("2 s") && error.contains("system uuid get"), "{error}");
    // The session lived on: the change before it was saved.
    assert!(ran.of("host_failed").is_empty(), "{}", ran.all());
    let saved = ran.of("phase").iter().any(|p| p["doing"].as_str().is_some_and(|d| d.contains("saving")));
    assert!(saved, "{}", ran.all());
    assert_eq!(sim.on_host(&home, "ls /tmp/behind 2>/dev/null | wc -l").trim(), "0");
}

#[test]
fn a_command_that_fails_twice_is_tried_again_with_a_pause() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let step = |retries: usize| {
        format!(
            "steps:\n  - run: n=$(cat /tmp/n 2>/dev/null || echo 0); echo $((n+1)) >/tmp/n; [ $n -ge 2 ] || {{ echo not yet >&2; exit 3; }}\n    retries: {retries}\n    delay: 400ms\n"
        )
    };
    let once = home.write("once.yml", &step(0));
    let ran = home.run(&["apply", arg(&once), "-i", sim.inventory()]).exits(1);
    assert!(ran.all().contains("not yet"), "{}", ran.all());
    sim.on_host(&home, "rm /tmp/n");
    let thrice = home.write("thrice.yml", &step(2));
    let started = Instant::now();
    let ran = home.run(&["apply", arg(&thrice), "-i", sim.inventory(), "--output", "json"]).exits(0);
    assert!(started.elapsed() > Duration::from_millis(800), "{:?}", started.elapsed());
    assert_eq!(ran.of("step").len(), 1);
    assert_eq!(ran.of("note").iter().filter(|n| n["text"].as_str().unwrap().contains("trying again")).count(), 2);
    assert_eq!(sim.on_host(&home, "cat /tmp/n").trim(), "3");
}
