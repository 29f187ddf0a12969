//! Input that is wrong in every way that a person, an editor or a generator can make it: always exit code 2, a place,
//! and what was meant; never a panic, a hang, memory without end, or a secret on the screen.

use std::time::{Duration, Instant};

use super::common::{Home, arg};

/// Validates bytes, and applies them to a host that must not be asked for.
fn refused(text: impl AsRef<[u8]>) -> String {
    let home = Home::new();
    let playbook = home.path("bad.yml");
    std::fs::write(&playbook, text).unwrap();
    let started = Instant::now();
    let ran = home.run(&["validate", arg(&playbook)]).exits(2);
    assert!(started.elapsed() < Duration::from_secs(8), "took {:?}: {}", started.elapsed(), ran.all());
    assert!(ran.stdout.is_empty(), "{}", ran.all());
    let apply = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9"]).exits(2);
    assert!(!apply.all().contains("127.0.0.1"), "{}", apply.all());
    for bad in ["panicked", "RUST_BACKTRACE", "overflow", "memory allocation"] {
        assert!(!ran.stderr.contains(bad), "{}", ran.all());
    }
    ran.stderr
}

/// The inventory is refused, whatever the playbook is.
fn refused_inventory(text: &str) -> String {
    let home = Home::new();
    let inventory = home.write("hosts.yml", text);
    let playbook = home.write("good.yml", "steps:\n  - run: {command: date, read_only: true}\n");
    home.run(&["apply", arg(&playbook), "-i", arg(&inventory)]).exits(2);
    home.run(&["validate", arg(&playbook), "-i", arg(&inventory)]).exits(2).stderr
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    // Long messages are folded for the terminal.
    let flat = said.replace("\n  │", "").split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(flat.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn misspelt_keys_at_every_level_are_found_in_one_go() {
    let said = refused(
        "nmae: x\nsteps:\n  - setting: {key: Mem.ShareForceSalting, value: 2}\n    whem: true\n  - vswitch: {name: v, security: {promiscous: true}}\n  - vmotoin: {vmknic: vmk0}\n  - include: x.yml\n    wehn: true\n",
    );
    says(&said, &["bad.yml:1:1", "`name`?", "bad.yml:4:5", "`when`?", "bad.yml:5:35", "`promiscuous`?"]);
    says(&said, &["bad.yml:6:5", "`vmotion`?", "bad.yml:8:5", "x.yml"]);
}

#[test]
fn two_kinds_or_none_in_one_step() {
    says(&refused("steps:\n  - vib: {name: x}\n    reboot: {}\n"), &["`vib` and `reboot`", "bad.yml:3:5"]);
    says(&refused("steps:\n  - name: nothing\n"), &["names no kind of step", "bad.yml:2:5"]);
}

#[test]
fn a_list_is_not_taken_for_fields_in_their_order() {
    let said = refused("steps:\n  - account: [alice, bob]\n  - vib: [esx-ui]\n  - service: [true, true]\n");
    says(&said, &["`account` wants a mapping", "`vib` wants a mapping", "`service` wants a mapping"]);
}

#[test]
fn undefined_names_wherever_a_template_or_condition_can_be() {
    let said = refused(
        "steps:\n  - run: 'echo {{ aa }}'\n    when: bb == 1\n    name: 'x {{ cc }}'\n    for_each: '{{ dd }}'\n    expect: {command: date, matches: '{{ ee }}'}\n  - run: 'echo {{ item }}'\n  - run: 'echo {{ host.vresion }}'\n",
    );
    for name in ["aa", "bb", "cc", "dd", "ee"] {
        says(&said, &[&format!("the variable `{name}` is not defined")]);
    }
    says(&said, &["only known in a loop", "did you mean `host.version`?"]);
    let said = refused("steps:\n  - run: 'echo {{ r.stdout }}'\n  - run: date\n    register: r\n");
    says(&said, &["registered by step 2, which comes later", "bad.yml:2:"]);
}

#[test]
fn loops_limits_and_conditions_that_are_none() {
    let said = refused(
        "vars: {n: 3}\nsteps:\n  - run: x\n    for_each: 5\n  - run: x\n    for_each: n\n  - run: x\n    for_each: '{{ true }}'\n",
    );
    assert_eq!(said.matches("`for_each` wants a list").count(), 3, "{said}");
    let said = refused("steps:\n  - run: x\n    retries: -1\n    delay: soon\n    timeout: banana\n");
    says(&said, &["bad.yml:3:14", "from 0 to 1000", "bad.yml:4:12", "bad.yml:5:14", "30s, 5m"]);
    let said =
        refused("steps:\n  - run: x\n    when: 'a ='\n  - run: x\n    when: '{{ a }}'\n  - run: x\n    when: {a: b}\n");
    says(&said, &["bad.yml:3:", "has no braces", "write: a", "`when` wants text"]);
}

#[test]
fn broken_templates_and_filters_that_do_not_exist() {
    let said = refused(
        "steps:\n  - run: '{{ a b }}'\n  - run: '{% if true %}'\n  - run: '{{'\n  - run: '{{ 1 | uper }}'\n  - run: '{{ 1 is evn }}'\n",
    );
    assert!(said.matches("template syntax").count() >= 3, "{said}");
    says(&said, &["`upper`?", "`even`?"]);
}

#[test]
fn templates_that_would_never_end_or_fill_the_memory_are_stopped() {
    for text in [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}xxxxxxxxxxxxxxxxxxxxxxxxxxx{% endfor %}{% endfor %}",
        "{% set n = namespace(a=1) %}{% set n.a = 'x' %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}{{ n.a }}",
        "{{ 'a' | indent(9999999999) }}",
        "{{ 'x' * 10000000000 }}",
        "{{ range(10**9) | list }}",
    ] {
        says(&refused(format!("steps:\n  - run: \"echo {text}\"\n")), &["bad.yml:2:"]);
    }
    // A billion laughs in variables.
    let mut laughs = String::from("vars:\n  a0: xxxxxxxxxx\n");
    for level in 1..12 {
        laughs.push_str(&format!("  a{level}: \"{}\"\n", format!("{{{{ a{} }}}}", level - 1).repeat(10)));
    }
    says(&refused(laughs + "steps:\n  - run: 'echo {{ a11 }}'\n"), &["more work"]);
}

#[test]
fn long_and_deep_expressions_do_not_end_the_stack() {
    for text in [
        format!("steps:\n  - run: x\n    when: {}true\n", "not ".repeat(20_000)),
        format!("steps:\n  - run: '{{{{ {}1 }}}}'\n", "1+".repeat(100_000)),
        format!("steps:\n  - run: '{{{{ [1]{} }}}}'\n", "|list".repeat(20_000)),
        format!("steps:\n  - run: '{{{{ {}1{} }}}}'\n", "(".repeat(5_000), ")".repeat(5_000)),
        format!("steps:\n  - run: '{{% if true %}}{}{{% endif %}}'\n", "{% elif true %}".repeat(20_000)),
        format!("steps:\n  - run: '{}'\n", "{% if true %}".repeat(5_000)),
        format!("steps: {}{}\n", "[".repeat(5_000), "]".repeat(5_000)),
    ] {
        says(&refused(text), &["bad.yml:"]);
    }
}

#[test]
fn includes_out_of_nowhere() {
    let said = refused(
        "steps:\n  - include: nothere.yml\n  - include: /dev/zero\n  - include: /tmp\n  - include: '{{ x }}.yml'\n  - include: /etc/passwd\n",
    );
    says(&said, &["bad.yml:2:14", "nothere.yml", "bad.yml:3:14", "bad.yml:4:14", "a directory", "not a template"]);
    // Only the line where a foreign file begins is shown.
    assert!(said.lines().filter(|l| l.contains(":/")).count() <= 4, "{said}");
}

#[test]
fn files_that_are_no_yaml_or_not_one_document() {
    let table: &[(&[u8], &[&str])] = &[
        (b"", &["is empty"]),
        (b"# only a comment\n", &["is empty", "bad.yml:1:1"]),
        (b"~\n", &["a playbook is a mapping", "bad.yml:1:1"]),
        (b"- run: x\n", &["a playbook is a mapping", "`steps:`"]),
        (b"steps: []\n---\nsteps: []\n", &["a second document", "bad.yml:2:1"]),
        (b"steps:\n\t- run: x\n", &["never with tabs", "bad.yml:2:"]),
        (b"name: \"abc\nsteps: []\n", &["never closed", "bad.yml:1:7"]),
        (b"steps:\n  - run: 'it's'\n", &["written twice", "bad.yml:2:"]),
        (b"name: caf\xe9\nsteps: []\n", &["not UTF-8", "0xe9", "bad.yml:1:10", "iconv"]),
        (b"\xff\xfes\0t\0", &["not UTF-8"]),
        (b"steps:\n  - run: *nope\n", &["anchor", "bad.yml:2:10"]),
        (b"vars: &a\n  x: *a\nsteps: []\n", &["alias", "bad.yml:2:6"]),
        (b"? [a]\n: b\nsteps: []\n", &["a key that is not a word"]),
        (b"steps:\n  - run: !!python/object x\n", &["remove the tag"]),
        (b"\xef\xbb\xbfsteps:\r\n  - rnu: x\r\n", &["`run`?", "bad.yml:2:5"]),
    ];
    for (text, parts) in table {
        says(&refused(text), parts);
    }
    let big = format!("steps:\n{}", "  - run: x\n".repeat(500_000));
    says(&refused(big), &["the limit is"]);
}

#[test]
fn thousands_of_problems_are_not_all_drawn() {
    let said = refused(format!("steps:\n{}", "  - rnu: x\n".repeat(3_000)));
    assert!(said.contains("more problems") && said.len() < 60_000, "{} bytes", said.len());
}

#[test]
fn yaml_1_1_traps_mean_what_was_written_or_are_refused() {
    let said = refused(
        "vars: {a: no}\nesxi: 6.5.1\nsteps:\n  - vswitch: {name: a, mtu: 0o2734}\n  - vswitch: {name: a, mtu: 1.5e3}\n  - run:\n  - run: ~\n",
    );
    says(&said, &["is `no` the word or false?", "\"6.5\"", "bad.yml:5:29", "needs the key `command`"]);
}

#[test]
fn what_would_move_the_cursor_is_not_printed() {
    let said = refused("steps:\n  - run: x\n    \"b\\e[31mad\": 1\n");
    assert!(!said.contains('\u{1b}'), "{said:?}");
    let said = refused("steps:\n  - run: x \u{1b}[2J\n    bogus: 1\n");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn secrets_are_blanked_where_the_line_is_shown_even_under_a_misspelt_key() {
    for line in [
        "account: {name: x, pasword: hunter2, bogus: 1}",
        "account: {name: x, bogus: 1, password: \"hunter2\"}",
        "account: {name: x, bogus: 1, password_hash: hunter2}",
        "account: {name: x, bogus: 1, pasword_hsah: hunter2}",
        "account:\n      name: x\n      bogus: 1\n      password: |\n        hunter2\n        hunter2",
        "account: {name: x, password: [hunter2]}",
    ] {
        let said = refused(format!("steps:\n  - {line}\n"));
        assert!(said.contains("account") && !said.contains("hunter2"), "{said}");
    }
}

#[test]
fn inventories_that_cannot_be_used() {
    let table: &[(&str, &[&str])] = &[
        ("hosts:\n  a: {adress: 192.0.2.1}\ndefalts: {}\n", &["`address`?", "`defaults`?", "hosts.yml:2:7"]),
        ("hosts:\n  a: {}\n  a: {}\n", &["there twice", "hosts.yml:3:3"]),
        ("hosts:\n  a: {}\ngroups:\n  g: {children: [h]}\n  h: {children: [g]}\n", &["`g` is its own child"]),
        ("hosts:\n  a: {}\ngroups:\n  g: {hosts: [b], children: [c]}\n", &["the host `b`", "the group `c`"]),
        (
            "hosts:\n  a: {port: 70000}\n  b: {port: 0}\n  c: {port: ssh}\n",
            &["hosts.yml:2:13", "hosts.yml:3:13", "hosts.yml:4:13"],
        ),
        (
            "hosts:\n  a: {host_key: 'SHA256:nonsense'}\n  b: {host_key: rubbish}\n",
            &["43 characters", "hosts.yml:3:17"],
        ),
        (
            "hosts:\n  a: {address: 'x y'}\n  b: {address: '192.0.2.1:22'}\n  c: {address: root@x}\n  'd e': {}\n",
            &["no address", "`port`", "`user`", "hosts.yml:5:3"],
        ),
        ("hosts:\n  a: {key: /not/there}\n", &["there is no key file", "hosts.yml:2:12"]),
        ("hosts:\n  a: {proxy_jump: b}\n  b: {proxy_jump: a}\n", &["a -> b -> a"]),
        ("hosts:\n  a: {password: {env: ESXPREP_NOT_SET}}\n", &["ESXPREP_NOT_SET is not set", "hosts.yml:2:"]),
        ("hosts:\n  a: {password: {file: /not/there}}\n", &["/not/there", "hosts.yml:2:"]),
        ("hosts:\n  a: {password: {command: 'echo hunter2; exit 3'}}\n", &["exit status: 3", "hosts.yml:2:"]),
        ("hosts:\n  a: {password: {command: 'true'}}\n", &["is empty"]),
        ("hosts:\n  a: {password: {enviroment: X}}\n", &["`enviroment`"]),
        (
            "hosts:\n  a: {channels: lots, connect_timeout: banana, algorithms: old}\n",
            &["channels", "30s or 5m", "modern, esxi, legacy"],
        ),
        ("hosts:\n  a: {vars: {host: 1}}\n", &["`host` is taken"]),
        ("hosts: {}\n", &["no hosts"]),
        ("- a\n", &["an inventory is a mapping"]),
    ];
    for (text, parts) in table {
        let said = refused_inventory(text);
        says(&said, parts);
    }
    let said = refused_inventory("hosts:\n  a: {address: 192.0.2.1, bogus: 1, pasword: hunter2}\n");
    assert!(said.contains("bogus") && !said.contains("hunter2"), "{said}");
}

#[test]
fn ipv6_addresses_are_addresses_and_a_pattern_for_nobody_is_an_error() {
    let home = Home::new();
    let inventory = home.write(
        "hosts.yml",
        "hosts:\n  a: {address: 'fe80::1%eth0'}\n  b: {address: '[2001:db8::1]'}\n  2001:db8::2: {}\n",
    );
    let playbook = home.write("p.yml", "steps:\n  - run: {command: date, read_only: true}\n");
    home.run(&["validate", arg(&playbook), "-i", arg(&inventory)]).exits(0);
    let ran = home.run(&["apply", arg(&playbook), "-i", arg(&inventory), "--limit", "nobody*"]).exits(2);
    says(&ran.stderr, &["nobody*"]);
    let other = home.write("q.yml", "hosts: [nowhere]\nsteps:\n  - reboot: {when: always}\n");
    says(&home.run(&["apply", arg(&other), "-i", arg(&inventory)]).exits(2).stderr, &["nowhere"]);
    for list in ["a,a", "root:hunter2@esx1", "esx1:99999", "a b"] {
        let ran = home.run(&["apply", arg(&playbook), "-i", list]).exits(2);
        assert!(!ran.all().contains("hunter2"), "{}", ran.all());
    }
}
