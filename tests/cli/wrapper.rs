//! The keys that any step may have, as far as only a host shows them.

use crate::common::{Home, SimHosts, arg};

#[test]
fn a_steps_time_limit_holds_for_what_it_changes_and_what_it_reads() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
    for read_only in ["false", "true"] {
        let text = format!(
            "steps:\n  - name: slow\n    timeout: 1s\n    run: {{command: sleep 30, read_only: {read_only}}}\n"
        );
        let playbook = home.write("slow.yml", &text);
        let before = std::time::Instant::now();
        let ran = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"]).exits(1);
        assert!(before.elapsed().as_secs() < 20, "{}", ran.all());
        assert!(ran.all().contains("sleep 30") && ran.all().contains("within 1 s"), "{}", ran.all());
    }
    sim.stop();
}

#[test]
fn values_of_variables_are_not_in_the_journal() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
    let playbook = home.write("site.yml", "steps:\n  - assert: {command: 'echo x', matches: x}\n");
    for flag in [&["-e", "word=hunter2"][..], &["--extra-var", "word=hunter2"], &["--extra-var=word=hunter2"]] {
        home.run(&[&["apply", arg(&playbook), "-i", sim.inventory()], flag].concat()).exits(0);
        let runs = home.path("state").join("esxprep/runs");
        for run in std::fs::read_dir(runs).unwrap() {
            let meta = std::fs::read_to_string(run.unwrap().path().join("meta.json")).unwrap();
            assert!(meta.contains("word=") && !meta.contains("hunter2"), "{flag:?}: {meta}");
        }
    }
    sim.stop();
}
