//! What a run costs: reads are batched, and the number of calls sets the time, not the number of steps.

use std::time::Instant;

use super::common::{Home, SimHosts, arg};

#[path = "../common/sixty.rs"]
mod sixty;
use sixty::sixty_steps;

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
