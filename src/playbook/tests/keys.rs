//! The playbook's and a step's own keys, and includes.

use super::*;

#[test]
fn release_lines_are_taken_as_written() {
    assert_eq!(good("esxi: 7.0\nsteps: [reboot]\n").esxi, ["7.0"]);
    assert_eq!(good("esxi: [6.5, \"6.10\", 8.0]\nsteps: [reboot]\n").esxi, ["6.5", "6.10", "8.0"]);
    assert!(plain("esxi: 8.0.3\nsteps: [reboot]\n").contains("without updates: \"8.0\""));
    assert!(plain("esxi: 7\nsteps: [reboot]\n").contains("\"7.0\""));
    assert!(plain("esxi: seven\nsteps: [reboot]\n").starts_with("site.yml:1:7: `esxi` wants release lines"));
}

#[test]
fn the_keys_of_a_playbook() {
    let book = good(
        "name: lab\nhosts: [lab, '!esx3']\nreboot: never\non_running_vms: suspend\nvars: {a: 1}\nsteps:
  - name: one
    run: ls
    tags: [x, y]
    retries: 3
    delay: 2
    timeout: 5m
    register: one
",
    );
    assert_eq!((book.name.as_str(), book.hosts.len(), book.reboot), ("lab", 2, RebootPolicy::Never));
    assert_eq!(book.on_running_vms, OnRunningVms::Suspend);
    let step = &book.steps[0];
    assert_eq!((step.number, step.retries, step.delay.as_secs()), (1, 3, 2));
    assert_eq!((step.timeout.unwrap().as_secs(), step.tags.join(",")), (300, "x,y".into()));
    assert_eq!(step.register.as_deref(), Some("one"));
    assert_eq!(step.span().place().rsplit('/').next(), Some("site.yml:8:5"));
    assert_eq!(good("steps: [reboot]\n").name, "site");
    assert!(plain("reboot: no\nsteps: []\n").contains("it can be: auto, never"));
    assert!(plain("stesp: []\n").contains("did you mean `steps`?"));
    assert!(plain("steps: []\nvib: {}\n").contains("`vib` is a kind of step"));
    assert!(step_problem("run: a\ntimeout: soon").contains("90, 30s, 5m"));
    assert!(step_problem("run: a\nretries: many").contains("whole number from 0 to 1000"));
}

#[test]
fn several_problems_over_several_files_at_once() {
    let folder = Folder::new(&[
        ("site.yml", "hots: all\nsteps:\n  - vib: {nmae: a, acceptence: b}\n  - include: more/net.yml\n  - runn: ls\n"),
        ("more/net.yml", "- portgroup: {name: a, vlan: x, uplinks: vmnic0}\n- include: other.yml\n"),
        ("more/other.yml", "steps:\n  - run: 'echo {{ nope }}'\n"),
    ]);
    assert_eq!(
        folder.plain(&[]),
        "more/net.yml:1:30: `vlan` wants a whole number from 0 to 65535
more/net.yml:1:42: `uplinks` wants a list
more/other.yml:2:19: the variable `nope` is not defined
  define it under `vars:`, in the inventory, or with -e nope=...
site.yml:1:1: a playbook has no key `hots`
  did you mean `hosts`?
site.yml:3:11: `vib` has no key `nmae`
  did you mean `name`?
site.yml:3:20: `vib` has no key `acceptence`
  did you mean `acceptance`?
site.yml:5:5: there is no kind of step `runn`
  did you mean `run`?"
    );
}

#[test]
fn a_playbook_can_be_shared_between_hosts() {
    fn shared<T: Send + Sync>() {}
    shared::<Playbook>();
    shared::<Problems>();
}

#[test]
fn a_long_playbook_loads_in_moments() {
    let mut text = String::from("vars: {nic: vmnic0, up: '{{ nic }}'}\nsteps:\n");
    for i in 0..5000 {
        text.push_str(&format!("  - name: step {i}\n    portgroup: {{name: p{i}, vlan: 5, uplinks: ['{{{{ up }}}}']}}\n    when: host.build > {i}\n"));
    }
    let start = std::time::Instant::now();
    assert_eq!(good(&text).steps.len(), 5000);
    println!("{:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
}

#[test]
fn includes() {
    let folder = Folder::new(&[
        (
            "site.yml",
            "vars: {who: site}\nsteps:\n  - run: first\n  - include: part/a.yml\n    when: host.build > 5\n    tags: net\n    vars: {given: 7}\n  - run: last\n",
        ),
        (
            "part/a.yml",
            "vars: {own: '{{ given }}', who: file}\nsteps:\n  - run: '{{ who }} {{ given }} {{ own }}'\n    when: host.build > 6\n    tags: b\n",
        ),
    ]);
    let book = folder.load(&[]).unwrap_or_else(|p| panic!("{}", Problems::from(p).plain()));
    assert_eq!(book.steps.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(book.steps[1].tags, ["net", "b"]);
    assert_eq!(bind(&book, 1, json!({}))[0].name, "Text(\"site 7 7\")");

    let circle = Folder::new(&[("site.yml", "steps:\n  - include: a.yml\n"), ("a.yml", "- include: ./site.yml\n")]);
    let text = circle.plain(&[]);
    assert!(text.starts_with("a.yml:1:12: files include each other in a circle\n  site.yml -> a.yml -> "), "{text}");
    let missing = plain("steps:\n  - include: gone.yml\n");
    assert!(missing.starts_with("site.yml:2:14: cannot read gone.yml: "), "{missing}");
    assert!(plain("steps:\n  - include: '{{ a }}.yml'\n").contains("wants a file name, not a template"));
    assert!(plain("steps:\n  - include: a.yml\n    retries: 3\n").contains("an include has no key `retries`"));
}
