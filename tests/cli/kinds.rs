//! Every kind of step against every release: what a run says, does, proves, and leaves alone the second time.

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};

/// The releases that can be simulated.
pub const RELEASES: [&str; 5] = ["6.0", "6.5", "6.7", "7.0", "8.0"];

/// A step as YAML, and what its change must name. An empty name: the step has nothing to change.
pub type Case<'a> = (&'a str, &'a str);

/// One quick simulated host.
pub fn host(home: &Home, release: &str, more: &[&str]) -> SimHosts {
    let mut args = vec!["--boot-ms", "300", "--hostd-ms", "200"];
    args.extend(more);
    SimHosts::start(home, release, 1, &args)
}

/// A playbook of these steps.
pub fn playbook(home: &Home, steps: &[&str]) -> String {
    let mut text = String::from("steps:\n");
    for step in steps {
        text.push_str("  - ");
        text.push_str(&step.replace('\n', "\n    "));
        text.push('\n');
    }
    arg(&home.write("kinds.yml", &text)).to_owned()
}

/// Runs these steps; JSON events on standard output.
pub fn run(home: &Home, sim: &SimHosts, args: &[&str], steps: &[&str]) -> Ran {
    let file = playbook(home, steps);
    let mut all = vec![args[0], &file, "-i", sim.inventory(), "--output", "json"];
    all.extend(&args[1..]);
    home.run(&all)
}

/// The error of the one step that fails; exit code 1.
#[track_caller]
pub fn refused(home: &Home, sim: &SimHosts, steps: &[&str]) -> String {
    let ran = run(home, sim, &["apply"], steps).exits(1);
    let failed: Vec<Value> = ran.of("step").into_iter().filter(|s| s["status"] == "failed").collect();
    assert_eq!(failed.len(), 1, "{}", ran.all());
    failed[0]["error"].as_str().unwrap().to_owned()
}

/// What is wrong with how this step is refused, if anything: its error must have all these words.
pub fn complaint(home: &Home, sim: &SimHosts, release: &str, step: &str, says: &[&str]) -> Option<String> {
    let ran = run(home, sim, &["apply"], &[step]);
    let failed = ran.of("step").into_iter().find(|s| s["status"] == "failed");
    let error = failed.as_ref().and_then(|s| s["error"].as_str()).unwrap_or_default();
    let missing: Vec<_> = says.iter().filter(|word| !error.contains(**word)).collect();
    (ran.code != 1 || !missing.is_empty())
        .then(|| format!("{release}: {step}\nexit {}, no {missing:?} in: {error}\n{}", ran.code, ran.stderr))
}

/// `--check` names every change and makes none, `apply` makes them, a second one has nothing to do and asks once,
/// `verify` agrees.
#[track_caller]
pub fn converges(home: &Home, sim: &SimHosts, release: &str, cases: &[Case<'_>]) {
    let steps: Vec<&str> = cases.iter().map(|c| c.0).collect();
    let statuses = |ran: &Ran, wanted: &str| {
        let events = ran.of("step");
        assert_eq!(events.len(), cases.len(), "{release}: {}", ran.all());
        for (event, (step, names)) in events.iter().zip(cases) {
            let status = if names.is_empty() { "ok" } else { wanted };
            assert_eq!(event["status"], status, "{release}: {step}\n{event}");
            let changes = event["changes"].to_string();
            assert!(names.is_empty() || wanted == "ok" || changes.contains(names), "{release}: {step}\n{changes}");
        }
    };
    for _ in 0..2 {
        let check = run(home, sim, &["apply", "--check"], &steps).exits(3);
        statuses(&check, "would_change");
        assert!(check.of("host_rebooting").is_empty(), "{release}: {}", check.all());
    }
    run(home, sim, &["verify"], &steps).exits(3);
    statuses(&run(home, sim, &["apply"], &steps).exits(0), "changed");
    let again = run(home, sim, &["apply"], &steps).exits(0);
    statuses(&again, "ok");
    let finished = &again.of("host_finished")[0];
    assert!(finished["round_trips"].as_u64().unwrap() <= 3, "{release}: {finished}");
    assert_eq!(finished["reboots"], 0, "{release}: {finished}");
    statuses(&run(home, sim, &["verify"], &steps).exits(0), "ok");
}

/// The kinds that the other files of this folder go through are all that there are.
#[test]
fn no_kind_is_forgotten() {
    let home = Home::new();
    let printed = home.run(&["steps"]).exits(0).stdout;
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    let mut tests = String::new();
    for file in ["kinds_network.rs", "kinds_system.rs", "kinds_flow.rs", "vib.rs"] {
        tests.push_str(&std::fs::read_to_string(dir.join(file)).unwrap());
    }
    // Those of hardening go through whole playbooks in the test target `harden`, and through these on recorded hosts.
    for file in ["fixtures/playbooks/hardening.yml", "fixtures/playbooks/logging.yml"] {
        tests.push_str(&std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap());
    }
    let mut kinds = 0;
    for kind in printed.lines().filter_map(|l| l.split_whitespace().next()) {
        if !kind.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            continue;
        }
        kinds += 1;
        assert!(
            tests.contains(&format!("{kind}:")) || tests.contains(&format!("\"{kind}\"")),
            "no test of kind {kind}"
        );
    }
    assert_eq!(kinds, esxprep::steps::kinds().len(), "{printed}");
}
