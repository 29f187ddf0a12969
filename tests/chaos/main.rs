//! Chaos: at every command boundary of a run the connection is cut there, or esxprep is killed there; it runs again, and
//! the hosts end up as if nothing had happened, with nothing left over on them or here.
//!
//! One simulator runs many hosts, each with its fault at a point of its own, and one run of esxprep meets all of them. By
//! default some of the points are tried, others every time; `ESXPREP_CHAOS=all` tries every one (docs/simulator.md).

#[path = "../cli/common.rs"]
#[allow(dead_code)]
mod common;
mod end;
mod faults;
#[path = "../common/kept.rs"]
mod kept;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use common::{Home, Ran, SimHosts, arg};
use end::{End, compare};
use kept::SITE;

/// The same for all hosts and batches, so that their states can be compared.
const PASSWORD: &str = "Chaos-4711-a";

/// What is run.
struct Case {
    playbook: &'static str,
    version: &'static str,
    /// Exit code of a run in which all went well: a hardening playbook ends with findings for a person.
    well: i32,
}

const NESTED: Case = Case { playbook: "playbooks/nested-lab.yml", version: "6.5", well: 0 };
const HARDEN: Case = Case { playbook: "playbooks/hardening/stig-8.0.yml", version: "8.0", well: 3 };

/// One host's fault.
#[derive(Debug, Clone, Copy)]
struct Point {
    fault: &'static str,
    at: usize,
}

/// Hosts with their faults, and the binary in a home of its own.
struct Batch<'c> {
    case: &'c Case,
    home: Home,
    sim: SimHosts,
    state: PathBuf,
    log: PathBuf,
    site: String,
    hosts: usize,
}

impl<'c> Batch<'c> {
    fn start(case: &'c Case, hosts: usize, points: &[Point]) -> Self {
        let home = Home::new();
        let (state, log) = (home.path("sim"), home.path("asked.jsonl"));
        std::fs::create_dir(home.path("tmp")).unwrap();
        let site = format!("@{}", home.write("site.yml", SITE).display());
        let mut more = vec!["--state", arg(&state), "--boot-ms", "300", "--hostd-ms", "200", "--password", PASSWORD];
        more.extend(["--log", arg(&log)]);
        let faults: Vec<String> =
            points.iter().enumerate().map(|(i, point)| format!("{}={}@{}", point.fault, point.at, i + 1)).collect();
        faults.iter().for_each(|fault| more.extend(["--fault", fault]));
        let sim = SimHosts::start(&home, case.version, hosts, &more);
        Self { case, home, sim, state, log, site, hosts }
    }

    fn args(&self, verb: &'static str) -> Vec<&str> {
        let mut args = vec![verb, self.case.playbook, "-i", self.sim.inventory(), "--output", "json"];
        args.extend(["--forks", "200"]);
        if self.case.playbook.contains("hardening") {
            args.extend(["-e", &self.site]);
        }
        args
    }

    fn run(&self, verb: &'static str) -> Ran {
        let output = self.home.command(&self.args(verb)).env("TMPDIR", self.home.path("tmp")).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// What the hosts were asked for: how many things each, and which of them hold something back.
    fn asked(&self) -> (BTreeMap<String, usize>, BTreeSet<String>) {
        let (mut counts, mut held) = (BTreeMap::new(), BTreeSet::new());
        for line in std::fs::read_to_string(&self.log).unwrap().lines() {
            // The last line may still be being written.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let host = line["host"].as_str().unwrap().to_owned();
            if line["held"] == true {
                held.insert(host);
            } else {
                *counts.entry(host).or_default() += 1;
            }
        }
        (counts, held)
    }

    /// Runs until every host is held at its point or done with, and kills esxprep there. Gives its standard error.
    fn run_and_kill(&self) -> String {
        let mut command = self.home.command(&self.args("apply"));
        let mut child = command
            .env("TMPDIR", self.home.path("tmp"))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(self.home.path("stderr")).unwrap())
            .spawn()
            .unwrap();
        let done = Arc::new(Mutex::new(BTreeSet::new()));
        let (out, seen) = (child.stdout.take().unwrap(), Arc::clone(&done));
        let reading = std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
                if event["event"] == "host_finished" {
                    seen.lock().unwrap().insert(event["host"].as_str().unwrap().to_owned());
                }
            }
        });
        let until = Instant::now() + Duration::from_secs(300);
        loop {
            let mut over = self.asked().1;
            over.extend(done.lock().unwrap().iter().cloned());
            if over.len() == self.hosts || child.try_wait().unwrap().is_some() {
                break;
            }
            assert!(Instant::now() < until, "neither held nor finished: all but {over:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = child.kill();
        child.wait().unwrap();
        reading.join().unwrap();
        std::fs::read_to_string(self.home.path("stderr")).unwrap()
    }

    /// Waits until every host answers: some were rebooting when their run ended. One that did not get to its point may
    /// hold back a command of this, until that command's limit is over.
    fn all_up(&self) {
        let until = Instant::now() + Duration::from_secs(300);
        loop {
            let ran = self.home.run(&["facts", "-i", self.sim.inventory()]);
            if ran.code == 0 {
                return;
            }
            assert!(Instant::now() < until, "a host does not come back: {}", ran.all());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// The disturbed hosts of a batch end as the undisturbed ones did. Gives what does not.
fn disturbed(case: &Case, points: &[Point], kill: bool, undisturbed: &End) -> Vec<String> {
    let batch = Batch::start(case, points.len(), points);
    let mut wrong = Vec::new();
    let first = if kill {
        batch.run_and_kill()
    } else {
        let ran = batch.run("apply");
        if !matches!(ran.code, 0 | 1 | 3 | 4) {
            wrong.push(format!("the run that was cut ended with {}: {}", ran.code, ran.stderr));
        }
        ran.stderr
    };
    batch.all_up();
    let second = batch.run("apply");
    for stderr in [&first, &second.stderr] {
        if stderr.contains("panicked") {
            wrong.push(format!("a panic: {stderr}"));
        }
    }
    if second.code != case.well {
        let failed = second
            .events()
            .into_iter()
            .filter(|event| event["event"] == "host_failed" || event["event"] == "step" && event["status"] == "failed");
        let failed: Vec<String> = failed.map(|event| event.to_string()).collect();
        wrong.push(format!("the second run ended with {}: {}\n{}", second.code, failed.join("\n"), second.stderr));
    }
    let end = End::of(&batch.home, &batch.sim, &batch.state, batch.hosts);
    wrong.extend(compare(undisturbed, &end));
    wrong.extend(end::left_here(&batch.home));
    if !wrong.is_empty() {
        let number = |text: &str| {
            points
                .iter()
                .enumerate()
                .filter(|(i, _)| text.contains(&format!("esx{}", i + 1)))
                .map(|(_, p)| format!("{p:?}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        wrong = wrong.into_iter().map(|text| format!("{text}\n   ({} {})", case.playbook, number(&text))).collect();
    }
    wrong
}

const CUTS: [&str; 3] = ["cut-before", "cut-within", "cut-after"];
const KILLS: [&str; 2] = ["hold-before", "hold-after"];

/// Hosts in one batch at most.
const MANY: usize = 20;
/// Points of cuts, and as many of kills, by default.
const FEW: usize = 8;

/// How many points: `ESXPREP_CHAOS` is a number, or `all`.
fn wanted() -> usize {
    match std::env::var("ESXPREP_CHAOS").as_deref() {
        Ok("all") => usize::MAX,
        Ok(number) => number.parse().expect("ESXPREP_CHAOS is a number of points or `all`"),
        Err(_) => FEW,
    }
}

/// Those of the points that have their turn: all, or some, others every time. Which ones is printed, and can be given.
fn chosen(case: &Case, faults: &[&'static str], count: usize) -> Vec<Point> {
    let every: Vec<Point> = faults.iter().flat_map(|fault| (1..=count).map(|at| Point { fault, at })).collect();
    let wanted = wanted().min(every.len());
    let given = std::env::var("ESXPREP_CHAOS_OFFSET").ok().and_then(|text| text.parse().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let offset = given.unwrap_or(now as usize) % every.len();
    eprintln!("{}, {faults:?}: ESXPREP_CHAOS_OFFSET={offset}, {wanted} of {} points", case.playbook, every.len());
    (0..wanted).map(|i| every[(offset + i * every.len() / wanted) % every.len()]).collect()
}

fn chaos(case: &Case) {
    let hosts = wanted().min(MANY);
    let plain = Batch::start(case, hosts, &[]);
    let ran = plain.run("apply");
    assert_eq!(ran.code, case.well, "{}", ran.all());
    // Some ask more often than others whether hostd is back: what each of them gets to.
    let count = plain.asked().0.values().copied().min().unwrap_or(0);
    assert!(count > 20, "{count}: what a run asks for is not counted any more");
    assert_eq!(plain.run("apply").code, case.well);
    let undisturbed = End::of(&plain.home, &plain.sim, &plain.state, hosts);
    drop(plain);

    let (mut wrong, mut tried) = (Vec::new(), 0);
    for (faults, kill) in [(&CUTS[..], false), (&KILLS[..], true)] {
        let points = chosen(case, faults, count);
        tried += points.len();
        for (number, batch) in points.chunks(hosts).enumerate() {
            let found = disturbed(case, batch, kill, &undisturbed);
            if wanted() > FEW {
                eprintln!("{} {faults:?} batch {number}, {} points: {} wrong", case.playbook, batch.len(), found.len());
                found.iter().for_each(|text| eprintln!("{text}"));
            }
            wrong.extend(found);
        }
    }
    assert!(wrong.is_empty(), "{} wrong after {tried} points:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn nested_lab_cut_or_killed_anywhere() {
    chaos(&NESTED);
}

#[test]
fn hardening_cut_or_killed_anywhere() {
    chaos(&HARDEN);
}
