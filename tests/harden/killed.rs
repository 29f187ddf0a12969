//! A hardening run that is killed: its journal still takes it back, whatever it was doing.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::common::{Home, SimHosts, arg};
use super::{SITE, differing, kept};

/// When the run is killed: right after the so-manieth event of a kind.
const MOMENTS: &[(&str, usize)] = &[("making", 1), ("making", 12), ("making", 21), ("host_rebooting", 1)];

#[test]
fn a_killed_run_is_taken_back_from_its_journal() {
    for (event, nth) in MOMENTS {
        let home = Home::new();
        let (state, site) = (home.path("sim"), home.write("site.yml", SITE));
        let given = format!("@{}", site.display());
        let more = ["--state", arg(&state), "--boot-ms", "300", "--hostd-ms", "200"];
        let sim = SimHosts::start(&home, "8.0", 1, &more);
        let factory = kept(&home, &sim, &state);
        let book = "playbooks/hardening/stig-8.0.yml";
        let args = ["apply", book, "-i", sim.inventory(), "-e", &given, "--output", "json"];
        let mut child = home.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (mut run, mut seen) = (String::new(), 0);
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let said: Value = serde_json::from_str(&line.unwrap()).unwrap();
            run = said["run"].as_str().unwrap().to_owned();
            seen += usize::from(said["event"] == *event);
            if seen == *nth {
                break;
            }
        }
        assert_eq!(seen, *nth, "the run ended before {event} {nth}");
        child.kill().unwrap();
        child.wait().unwrap();

        // A host that reboots comes back.
        let until = Instant::now() + Duration::from_secs(60);
        while home.run(&["facts", "-i", sim.inventory(), "esx1"]).code != 0 {
            assert!(Instant::now() < until, "the host does not come back after {event} {nth}");
            std::thread::sleep(Duration::from_millis(300));
        }
        let back = home.run(&["apply", "-i", sim.inventory(), "--undo", &run, "--output", "json"]);
        // A run that was killed before its first command has nothing to take back but the room that can only grow.
        assert!(matches!(back.code, 0 | 2), "{event} {nth}: {}", back.all());
        let now = kept(&home, &sim, &state);
        let differs = differing(factory, now, true);
        assert!(differs.is_empty(), "killed after {event} {nth}:\n{}\n{}", differs.join("\n"), back.all());
    }
}
