//! Subcommands that change nothing.

use super::common::{Home, SimHosts};

#[test]
fn facts_of_simulated_hosts_for_people_and_programs() {
    let home = Home::new();
    let ran = home.run(&["facts", "--sim", "2", "--sim-version", "7.0", "--json"]).exits(0);
    let facts = ran.events();
    assert_eq!(facts.len(), 2);
    assert!(facts[0]["version"].as_str().unwrap().starts_with("7.0"));
    assert_eq!(facts[0]["persistent"], true);
    let human = home.run(&["facts", "--sim", "1"]).exits(0);
    assert!(human.stdout.contains("Changes Last: yes"), "{}", human.all());
}

#[test]
fn the_simulator_says_where_it_is_and_guards_its_password() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.7", 2, &[]);
    for host in &sim.hosts {
        for key in ["event", "name", "address", "port", "user", "password", "host_key", "version"] {
            assert!(!host[key].is_null(), "{key} in {host}");
        }
        assert_eq!(host["event"], "sim_host");
        assert_eq!(host["address"], "127.0.0.1");
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&sim.inventory).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "others can read the inventory with the password");
}

#[test]
fn references_and_scripts_are_printed() {
    let home = Home::new();
    for what in ["playbook", "inventory", "events"] {
        let schema = home.run(&["schema", what]).exits(0);
        let value: serde_json::Value = serde_json::from_str(&schema.stdout).unwrap();
        assert!(value.is_object(), "{what}");
    }
    assert!(home.run(&["completions", "bash"]).exits(0).stdout.contains("esxprep"));
    assert!(home.run(&["man"]).exits(0).stdout.contains(".TH esxprep"));
    let steps = home.run(&["steps"]).exits(0);
    for kind in ["vib", "module", "setting", "vmknic", "vmotion", "run", "assert", "reboot"] {
        assert!(steps.stdout.lines().any(|l| l.starts_with(kind)), "{kind}: {}", steps.stdout);
    }
}

#[test]
fn the_step_reference_in_the_docs_is_the_one_that_the_code_prints() {
    let home = Home::new();
    let printed = home.run(&["steps", "--markdown"]).exits(0).stdout;
    let file = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/steps.md")).unwrap();
    assert!(printed == file, "docs/steps.md is stale: esxprep steps --markdown > docs/steps.md");
}
