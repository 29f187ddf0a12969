//! What any kind of step has around it: values kept for later, loops, conditions, tags, includes, expectations.

use super::common::{Home, Ran, arg, reachable};
use super::kinds::{RELEASES, host, refused, run};

fn statuses(ran: &Ran) -> Vec<String> {
    ran.of("step").iter().map(|s| s["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn values_facts_and_loops() {
    for release in RELEASES.into_iter().filter(reachable) {
        let home = Home::new();
        let sim = host(&home, release, &[]);
        let file = home.write(
            "p.yml",
            "vars:\n  quiet: [UserVars.SuppressShellWarning, Net.FollowHardwareMac]\nsteps:\n\
             \x20 - run: {command: hostname, read_only: true}\n    register: host_name\n\
             \x20 - file: {path: /etc/who, content: \"{{ host_name.stdout | trim }} {{ inventory_name | default('') }}\\n\"}\n    register: who\n\
             \x20 - run: touch /etc/only-once\n    when: who.changed\n\
             \x20 - setting: {key: \"{{ item }}\", value: 1}\n    for_each: \"{{ quiet }}\"\n\
             \x20 - file: {path: /etc/new, content: \"new\\n\"}\n    when: host.version is version('>=', '7.0')\n\
             \x20 - file: {path: /etc/old, content: \"old\\n\"}\n    when: host.version is version('<', '7.0')\n",
        );
        let args = ["apply", arg(&file), "-i", sim.inventory(), "--output", "json"];
        let first = home.run(&args).exits(0);
        let again = home.run(&args).exits(0);
        let new = ["7.0", "8.0"].contains(&release);
        let which = |yes: &'static str| if new { [yes, "skipped"] } else { ["skipped", yes] };
        assert_eq!(statuses(&first)[..4], ["ok", "changed", "changed", "changed"], "{release}: {}", first.all());
        assert_eq!(statuses(&first)[5..], which("changed"), "{release}: {}", first.all());
        assert_eq!(statuses(&again)[..3], ["ok", "ok", "skipped"], "{release}: {}", again.all());
        assert_eq!(statuses(&again)[5..], which("ok"), "{release}: {}", again.all());
        assert!(sim.on_host(&home, "cat /etc/who").starts_with("esx1"), "{release}");
        let there = sim.on_host(&home, "ls /etc/new /etc/old 2>/dev/null; true");
        assert_eq!(there.trim(), if new { "/etc/new" } else { "/etc/old" });
    }
}

#[test]
fn run_is_guarded_and_judged() {
    let home = Home::new();
    let sim = host(&home, "6.7", &[]);
    let steps = [
        "run: {command: 'echo a >> /tmp/made', creates: /tmp/made}",
        "run: {command: 'echo b >> /tmp/two', unless: 'grep -q b /tmp/two'}",
        "run: {command: 'echo same', changed_when: {stdout: different}}",
        "run: {command: 'echo done', changed_when: false}",
        "run: {command: 'cat /etc/hosts', read_only: true, expect: {stdout: localhost}}",
        "run: {command: 'exit 3', read_only: true, expect: {exit: [0, 3]}}",
    ];
    let check = run(&home, &sim, &["apply", "--check"], &steps).exits(3);
    assert_eq!(statuses(&check)[..2], ["would_change", "would_change"], "{}", check.all());
    assert_eq!(statuses(&check)[4..], ["ok", "ok"], "{}", check.all());
    assert_eq!(sim.on_host(&home, "ls /tmp/made /tmp/two 2>/dev/null; true").trim(), "");
    let first = run(&home, &sim, &["apply"], &steps).exits(0);
    assert_eq!(statuses(&first), ["changed", "changed", "ok", "ok", "ok", "ok"], "{}", first.all());
    let again = run(&home, &sim, &["apply"], &steps).exits(0);
    assert_eq!(statuses(&again), ["ok"; 6], "{}", again.all());
    assert_eq!(sim.on_host(&home, "cat /tmp/made /tmp/two").split_whitespace().collect::<String>(), "ab");
    // A read that does not hold fails a check run as well.
    let bad = "run: {command: 'cat /etc/hosts', read_only: true, expect: {stdout: nosuchhost}}";
    let ran = run(&home, &sim, &["apply", "--check"], &[bad]).exits(1);
    assert!(ran.stdout.contains("nosuchhost"), "{}", ran.all());
}

#[test]
fn an_expectation_on_a_step_is_looked_at_after_it() {
    let home = Home::new();
    let sim = host(&home, "8.0", &[]);
    let step = |value: u32| {
        format!(
            "vswitch: {{name: vSwitch5, mtu: 9000}}\nexpect:\n  command: esxcli network vswitch standard list -v vSwitch5\n  field: MTU\n  value: {value}"
        )
    };
    let error = refused(&home, &sim, &[&step(1500)]);
    assert!(error.contains("expected after the step") && error.contains("9000") && error.contains("1500"), "{error}");
    run(&home, &sim, &["apply"], &[&step(9000)]).exits(0);
    run(&home, &sim, &["verify"], &[&step(9000)]).exits(0);
}

#[test]
fn tags_choose_and_includes_get_their_variables() {
    let home = Home::new();
    let sim = host(&home, "7.0", &[]);
    home.write("part.yml", "steps:\n  - file: {path: \"/etc/{{ which }}\", content: \"{{ which }}\\n\"}\n");
    let file = home.write(
        "p.yml",
        "steps:\n  - include: part.yml\n    vars: {which: one}\n    tags: [first]\n\
         \x20 - include: part.yml\n    vars: {which: two}\n    tags: [second]\n\
         \x20 - file: {path: /etc/three, content: \"three\\n\"}\n",
    );
    let there = || {
        let out = sim.on_host(&home, "cd /etc; ls one two three 2>/dev/null; true");
        out.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let apply = |more: &[&str]| {
        let mut args = vec!["apply", arg(&file), "-i", sim.inventory(), "--output", "json"];
        args.extend(more);
        statuses(&home.run(&args).exits(0))
    };
    assert_eq!(apply(&["--tags", "second"]), ["skipped", "changed", "skipped"]);
    assert_eq!(there(), ["two"]);
    assert_eq!(apply(&["--skip-tags", "first"]), ["skipped", "ok", "changed"]);
    assert_eq!(there(), ["three", "two"]);
    assert_eq!(apply(&[]), ["changed", "ok", "ok"]);
    assert_eq!(sim.on_host(&home, "cat /etc/one").trim(), "one");
}
