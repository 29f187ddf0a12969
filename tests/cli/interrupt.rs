//! Interrupted and killed runs: the change in hand is finished, the journal knows, and the next run comes to the same end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Home, SimHosts, arg};

const QUICK: [&str; 4] = ["--boot-ms", "300", "--hostd-ms", "200"];

/// A run whose events can be followed while it works.
struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    events: Vec<Value>,
}

impl Running {
    fn start(home: &Home, args: &[&str]) -> Self {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, events: Vec::new() }
    }

    fn next(&mut self) -> Option<Value> {
        let event: Value = serde_json::from_str(&self.lines.next()?.ok()?).ok()?;
        self.events.push(event.clone());
        Some(event)
    }

    /// Reads until an event that is meant.
    #[track_caller]
    fn until(&mut self, meant: impl Fn(&Value) -> bool) -> Value {
        while let Some(event) = self.next() {
            if meant(&event) {
                return event;
            }
        }
        panic!("it ended before: {:#?}", self.events)
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Its exit code, and all of its events.
    fn end(mut self) -> (i32, Vec<Value>) {
        while self.next().is_some() {}
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        (code, self.events)
    }
}

fn phase(event: &Value, word: &str) -> bool {
    event["event"] == "phase" && event["doing"].as_str().is_some_and(|d| d.contains(word))
}

fn of(events: &[Value], kind: &str) -> Vec<Value> {
    events.iter().filter(|e| e["event"] == kind).cloned().collect()
}

const THREE: &str = "name: Three\nsteps:\n  - name: first\n    setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - name: second\n    run: touch /tmp/begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo x >>/tmp/done\n  - name: third\n    setting: {key: UserVars.DcuiTimeOut, value: 700}\n";

/// Interrupts while the second of three steps works.
fn interrupted_in_the_middle(signal: &str) {
    let home = Home::new();
    let sim = SimHosts::start(&home, "7.0", 1, &QUICK);
    let playbook = home.write("three.yml", THREE);
    let go = home.write("go.yml", "steps:\n  - run: {command: touch /tmp/go, read_only: true}\n");
    let mut run = Running::start(&home, &["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]);
    let id = run.until(|e| phase(e, "touch /tmp/begun"))["run"].as_str().unwrap().to_owned();
    run.signal(signal);
    home.run(&["verify", arg(&go), "-i", sim.inventory()]);
    let (code, events) = run.end();
    assert_eq!(code, 130, "{events:#?}");
    let steps = of(&events, "step");
    // The change in hand was finished and reported, the one behind it was not begun.
    assert_eq!(steps.len(), 2, "{steps:#?}");
    assert!(steps.iter().all(|s| s["status"] == "changed"), "{steps:#?}");
    // What was changed was saved.
    assert!(events.iter().any(|e| phase(e, "saving")), "{events:#?}");

    let list = home.run(&["log"]).exits(0).stdout;
    let line = list.lines().find(|l| l.contains(&id)).unwrap_or_else(|| panic!("{id}: {list}"));
    assert!(line.contains("130") || line.contains("interrupted"), "{line}");

    let resume = ["apply", arg(&playbook), "-i", sim.inventory(), "--resume", &id, "--output", "json"];
    let resumed = home.run(&resume).exits(0);
    let status: Vec<_> = resumed.of("step").iter().map(|s| s["status"].as_str().unwrap().to_owned()).collect();
    assert_eq!(status, ["skipped", "skipped", "changed"], "{}", resumed.all());
    assert_eq!(sim.on_host(&home, "wc -l </tmp/done").trim(), "1");
}

#[test]
fn an_interrupt_finishes_the_change_in_hand_and_the_run_can_be_resumed() {
    interrupted_in_the_middle("INT");
}

#[test]
fn a_request_to_terminate_does_the_same() {
    interrupted_in_the_middle("TERM");
}

#[test]
fn an_interrupt_ends_the_wait_for_other_hosts() {
    let home = Home::new();
    // One reboots for an hour, the other waits for it.
    let sim = SimHosts::start(&home, "8.0", 2, &["--boot-ms", "3600000"]);
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always}\n");
    let args = ["apply", arg(&playbook), "-i", sim.inventory(), "--max-down", "1", "--output", "json"];
    let mut run = Running::start(&home, &args);
    run.until(|e| phase(e, "waits: 1 host is down"));
    if of(&run.events, "host_rebooting").is_empty() {
        run.until(|e| e["event"] == "host_rebooting");
    }
    run.signal("INT");
    let (code, events) = run.end();
    assert_eq!(code, 130, "{events:#?}");
    assert_eq!((of(&events, "host_finished").len(), of(&events, "host_rebooting").len()), (2, 1), "{events:#?}");
}

#[test]
fn an_interrupt_while_a_host_reboots_ends_at_once_and_the_next_run_goes_on() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &["--boot-ms", "4000", "--hostd-ms", "100"]);
    let playbook = "playbooks/nested-lab.yml";
    let mut run = Running::start(&home, &["apply", playbook, "-i", sim.inventory(), "--output", "json"]);
    let id = run.until(|e| e["event"] == "host_rebooting")["run"].as_str().unwrap().to_owned();
    let started = Instant::now();
    run.signal("INT");
    let (code, events) = run.end();
    assert_eq!(code, 130, "{events:#?}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(of(&events, "host_back").is_empty(), "{events:#?}");
    // The host is on its way; once it is back the rest is done, without another reboot.
    let place = format!("{}:{}", sim.hosts[0]["address"].as_str().unwrap(), sim.hosts[0]["port"]);
    std::thread::sleep(Duration::from_millis(1500));
    let until = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(&place).is_err() {
        assert!(Instant::now() < until, "it did not come back");
        std::thread::sleep(Duration::from_millis(50));
    }
    let ran = home.run(&["apply", playbook, "-i", sim.inventory(), "--resume", &id, "--output", "json"]).exits(0);
    assert_eq!(ran.of("host_finished")[0]["reboots"], 0, "{}", ran.all());
    home.run(&["verify", playbook, "-i", sim.inventory()]).exits(0);
}

#[test]
fn killed_at_any_moment_and_run_again_it_comes_to_the_same_end() {
    let home = Home::new();
    // With the Host Client's update in it, as `--sim` runs it.
    let playbook = "playbooks/nested-lab.yml";
    let more = [&QUICK[..], &["--esxcli-ms", "20", "--fault", "cloned"]].concat();
    // Moments by what the run has just said, from the first read to the last change.
    let moments: [(&str, &str); 8] = [
        ("host_connected", ""),
        ("phase", "uploading"),
        ("phase", "update VIB"),
        ("step", "Host Client"),
        ("phase", "vmw_ahci"),
        ("phase", "saving"),
        ("host_rebooting", ""),
        ("host_back", ""),
    ];
    let hosts = moments.len();
    let sim = SimHosts::start(&home, "6.5", hosts, &more);
    std::thread::scope(|scope| {
        for (number, (kind, word)) in moments.iter().enumerate() {
            let (home, sim) = (&home, &sim);
            scope.spawn(move || {
                let host = format!("esx{}", number + 1);
                let args = ["apply", playbook, "-i", sim.inventory(), "--limit", &host, "--output", "json"];
                let mut run = Running::start(home, &args);
                run.until(|e| {
                    e["event"] == *kind
                        && [&e["doing"], &e["name"]].iter().any(|t| t.as_str().unwrap_or("").contains(word))
                });
                run.child.kill().unwrap();
                run.child.wait().unwrap();
            });
        }
    });
    // Those that were rebooting come back first.
    let until = Instant::now() + Duration::from_secs(20);
    std::thread::sleep(Duration::from_millis(2500));
    for host in &sim.hosts {
        while std::net::TcpStream::connect(format!("127.0.0.1:{}", host["port"])).is_err() {
            assert!(Instant::now() < until, "{host} did not come back");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    home.run(&["apply", playbook, "-i", sim.inventory()]).exits(0);
    home.run(&["verify", playbook, "-i", sim.inventory()]).exits(0);
    let left = home.write(
        "left.yml",
        "steps:\n  - assert:\n      command: ls -a /tmp /etc /vmfs/volumes/datastore1 | grep -e esxprep -e '[.]part$' | wc -l\n      matches: '^0$'\n",
    );
    home.run(&["verify", arg(&left), "-i", sim.inventory()]).exits(0);
}

#[test]
fn what_a_killed_run_left_is_cleared_and_what_is_in_use_is_not() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.5", 1, &QUICK);
    sim.on_host(
        &home,
        "cd /tmp; echo x >esxprep-0123456789ab-old.vib; echo x >/etc/motd.esxprep-00.part; \
         mkdir .esxprep-20260101-000000-0000-0; echo rolledback >.esxprep-20260101-000000-0000-0/state; \
         mkdir -p /vmfs/volumes/datastore1/.esxprep; echo x >/vmfs/volumes/datastore1/.esxprep/esxprep-0123456789ab-big.zip; \
         esxcli system maintenanceMode set -e true; touch .esxprep-maintenance; \
         echo x >iso.esxprep-11.part; setsid sh -c 'while sleep 1; do echo x >>/tmp/iso.esxprep-11.part; done' >/dev/null 2>&1 &",
    );
    let playbook = home.write("p.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n");
    home.run(&["apply", arg(&playbook), "-i", sim.inventory()]).exits(0);
    let left = sim.on_host(
        &home,
        "ls -d /tmp/.esxprep* /tmp/esxprep* /tmp/*.part /etc/*.part /vmfs/volumes/datastore1/.esxprep 2>/dev/null",
    );
    assert_eq!(left.trim(), "/tmp/iso.esxprep-11.part");
    assert_eq!(sim.on_host(&home, "esxcli system maintenanceMode get").trim(), "Disabled");
}
