//! Bad input gets a clear error before any host is touched, exit code 2.

use super::common::{Home, arg};

fn refused(text: &str) -> String {
    let home = Home::new();
    let playbook = home.write("bad.yml", text);
    let ran = home.run(&["validate", arg(&playbook)]).exits(2);
    // The same file is refused by apply, before anything is connected to (port 9 would say so).
    let apply = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9"]).exits(2);
    assert!(!apply.all().contains("cannot reach"), "{}", apply.all());
    ran.stderr
}

#[test]
fn a_misspelt_key_is_pointed_at_with_a_suggestion() {
    let said = refused("steps:\n  - setting:\n      key: Mem.ShareForceSalting\n      vaule: 2\n");
    assert!(said.contains("vaule") && said.contains("value"), "{said}");
    assert!(said.contains("bad.yml:4:7"), "{said}");
}

#[test]
fn several_problems_are_reported_at_once() {
    let said = refused(
        "steps:\n  - sett1ng: {key: a, value: 1}\n  - vswitch: {name: v, mtu: forty}\n  - run: 'echo {{ nothing }}'\n",
    );
    for part in ["sett1ng", "forty", "nothing"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn duplicates_bombs_and_cycles_are_errors() {
    assert!(refused("name: a\nname: b\nsteps: []\n").contains("name"));
    let mut bomb = String::from("vars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let previous = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("  a{level}: &a{level} [{previous}]\n"));
    }
    bomb.push_str("steps: []\n");
    refused(&bomb);
    let home = Home::new();
    let one = home.write("one.yml", "steps:\n  - include: two.yml\n");
    home.write("two.yml", "steps:\n  - include: one.yml\n");
    let said = home.run(&["validate", arg(&one)]).exits(2).stderr;
    assert!(said.contains("one.yml") && said.contains("two.yml"), "{said}");
}

#[test]
fn no_hosts_is_a_usage_error() {
    let home = Home::new();
    let ran = home.run(&["apply", "playbooks/vmotion.yml"]).exits(2);
    assert!(ran.stderr.contains("--sim"), "{}", ran.all());
}
