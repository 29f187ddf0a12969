//! What closes the way in: last, provable through the open session, and explained to whoever comes back.

use super::common::{Home, SimHosts, arg};

#[test]
fn a_host_whose_ssh_was_closed_by_policy_is_explained() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
    let book = "playbooks/hardening/stig-8.0.yml";
    let closing = ["apply", book, "-i", sim.inventory(), "-e", "close_ssh=true", "--output", "json"];
    let ran = home.run(&closing).exits(3);
    let of = |id: &str| ran.of("control").into_iter().find(|c| c["id"] == id).unwrap();
    assert_eq!(of("ESXI-80-000193")["verdict"], "pass", "{}", ran.all());
    // It is the very last thing.
    let last = ran.of("step").pop().unwrap();
    assert_eq!((last["id"].as_str(), last["status"].as_str()), (Some("ESXI-80-000193"), Some("changed")), "{last}");

    let again = home.run(&["verify", book, "-i", sim.inventory()]).exits(4);
    let said = again.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let run = ran.of("run_started")[0]["run"].as_str().unwrap().to_owned();
    assert!(said.contains(&run) && said.contains("SSH was closed") && said.contains("console"), "{}", again.all());
}

#[test]
fn a_way_in_that_is_closed_for_another_reason_is_not_explained_away() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &[]);
    let book = home.write("book.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n");
    home.run(&["apply", arg(&book), "-i", sim.inventory()]).exits(0);
    let inventory = std::fs::read_to_string(sim.inventory()).unwrap();
    let kept = home.write("kept.yml", &inventory);
    sim.stop();
    let ran = home.run(&["verify", arg(&book), "-i", arg(&kept)]).exits(4);
    assert!(!ran.stdout.contains("SSH was closed"), "{}", ran.all());
}
