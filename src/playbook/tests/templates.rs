//! Templates, names and variables.

use super::*;

#[test]
fn undefined_names_are_found_before_any_host() {
    let text = "vars: {datastore: ds1}\nsteps:\n  - run: 'ls /vmfs/volumes/{{ datastor }}'\n    when: host.versoin is version('>=', '7.0') and nme == 1\n";
    let folder = Folder::new(&[("site.yml", text)]);
    assert_eq!(
        folder.plain(&[]),
        "site.yml:3:31: the variable `datastor` is not defined
  did you mean `datastore`?
site.yml:4:11: there is no fact `host.versoin`
  did you mean `host.version`?
site.yml:4:52: the variable `nme` is not defined
  define it under `vars:`, in the inventory, or with -e nme=..."
    );
    assert!(!folder.plain(&["nme"]).contains("nme"), "names from elsewhere are known");
    assert!(step_problem("run: a\nwhen: no").contains("write false"));
    assert!(step_problem("run: '{{ item }}'").contains("only known in a loop"));
    good("steps:\n  - run: a\n    when: maybe is defined and maybe > 3\n  - run: \"{{ maybe | default('x') }}\"\n");
}

#[test]
fn template_errors_point_into_the_scalar() {
    let folder = Folder::new(&[(
        "site.yml",
        "steps:\n  - file:\n      path: /etc/motd\n      content: |\n        first\n        {{ inventory_hostname | uper }}\n",
    )]);
    assert_eq!(
        folder.drawn(),
        "  × there is no filter `uper`
   ╭─[site.yml:6:33]
 5 │         first
 6 │         {{ inventory_hostname | uper }}
   ·                                 ──┬─
   ·                                   ╰── here
   ╰────
  help: did you mean `upper`?"
    );
    let text = step_problem("run: 'echo {{ a b }}'");
    assert!(text.starts_with("site.yml:2:") && text.contains("template syntax: "), "{text}");
    assert!(step_problem("run: a\nwhen: '{{ true }}'").contains("no braces"));
    assert!(
        step_problem("run: {{ a }}").contains("must be quoted")
            || step_problem("run: {{ a }}").contains("not valid YAML")
    );
}

#[test]
fn registered_values_are_known_only_afterwards() {
    let text = "vars: {v: '{{ ver.stdout }}'}\nsteps:
  - run: '{{ ver.stdout }}'
  - run: vmware -v
    register: ver
  - run: a
    when: ver.changed
  - run: '{{ v }}'
  - setting: {name: '{{ x | default(ver.y) }}', value: 1}
  - run: b
    for_each: ver.lines
    name: 'b {{ item }}'
";
    let plain = plain(text);
    assert_eq!(
        plain,
        "site.yml:3:14: `ver` is registered by step 2, which comes later\n  a value is known to the steps after the one that registers it"
    );
    let book = good(&text.replace("  - run: '{{ ver.stdout }}'\n", ""));
    let uses: Vec<bool> = book.steps.iter().map(|s| s.uses_registered.contains("ver")).collect();
    assert_eq!(uses, [false, true, true, true, true]);
    let self_use = step_problem("run: '{{ me }}'\nregister: me");
    assert!(self_use.contains("is registered by this step itself"), "{self_use}");
    let early = Folder::new(&[(
        "site.yml",
        "vars: {v: '{{ ver.stdout }}'}\nsteps:\n  - run: '{{ v }}'\n  - run: x\n    register: ver\n",
    )]);
    assert!(early.plain(&[]).contains("`ver` (which `v` refers to) is registered by step 2"), "{}", early.plain(&[]));
    assert!(step_problem("run: a\nregister: host").contains("`host` is taken"));
}

#[test]
fn variables_refer_to_each_other_but_not_in_circles() {
    let text = "vars:\n  a: '{{ b }}x'\n  b: '{{ c + 1 }}'\n  c: 4\nsteps:\n  - run: '{{ a }}'\n";
    assert_eq!(made(text), "Text(\"5x\")");
    let circle = plain(&text.replace("c: 4", "c: '{{ a }}'"));
    assert!(
        circle.starts_with("site.yml:2:3: variables refer to each other in a circle\n  a -> b -> c -> a"),
        "{circle}"
    );
    // From outside (`-e`), a circle shows itself only when the step is bound.
    let book = Folder::new(&[("site.yml", "steps:\n  - run: '{{ p }}'\n")]).load(&["p", "q"]).unwrap();
    let vars: IndexMap<String, Value> = [("p".into(), json!("{{ q }}")), ("q".into(), json!("{{ p }}"))].into();
    let problem = bind_with(&book, 0, &vars, json!({})).unwrap_err().plain();
    assert!(problem.contains("circle: p -> q -> p"), "{problem}");
}

#[test]
fn switch_words_in_variables_must_be_made_clear() {
    assert_eq!(
        plain("vars: {strict: no, ok: 'no', mode: 0755, v: 1.10}\nsteps: [reboot]\n"),
        "site.yml:1:16: `strict`: is `no` the word or false?\n  write false, or \"no\" in quotes if the word is meant"
    );
    let book = good("vars: {mode: 0755, v: 1.10, t: 22:30, n: 12, b: true}\nsteps: [reboot]\n");
    assert_eq!(json!(book.vars), json!({"mode": "0755", "v": "1.10", "t": "22:30", "n": 12, "b": true}));
    assert!(plain("vars: {my-nic: 1}\nsteps: [reboot]\n").contains("`my_nic`"));
    assert!(plain("vars: {host: 1}\nsteps: [reboot]\n").contains("`host` is taken"));
    assert!(plain("vars: [a]\nsteps: [reboot]\n").contains("`vars` wants a mapping"));
}

#[test]
fn a_value_known_at_load_is_checked_at_load() {
    let text = "vars: {vlan: forty, n: 5}\nsteps:\n  - portgroup: {name: a, vlan: '{{ vlan }}'}\n";
    let at_load = plain(text);
    assert_eq!(at_load, "site.yml:3:32: `vlan` wants a whole number from 0 to 65535");
    assert!(made(&text.replace("'{{ vlan }}'", "'{{ n * 2 }}'")).contains("vlan: Some(10)"));
    assert!(made(&text.replace("'{{ vlan }}'", "'{{ n }}0'")).contains("vlan: Some(50)"));
    assert!(made("vars: {n: 5}\nsteps:\n  - vib: {name: '{{ n }}'}\n").contains("name: \"5\""));
    // A default that a condition keeps from being used need not fit.
    good("vars: {vlan: ''}\nsteps:\n  - portgroup: {name: a, vlan: '{{ vlan }}'}\n    when: vlan != ''\n");
    good("vars: {vlan: ''}\nsteps:\n  - portgroup: {name: a, vlan: '{{ vlan }}'}\n    when: host.build > 5\n");
    // What the host must say first hides no other mistake.
    let mixed =
        step_problem("portgroup: {name: '{{ host.hostname }}', vlan: '{{ host.build }}', ratoi: 1, uplinks: x}");
    assert!(mixed.contains("has no key `ratoi`") && mixed.contains("`uplinks` wants a list"), "{mixed}");
    assert!(!mixed.contains("`vlan`"), "{mixed}");
    let book = good("steps:\n  - portgroup: {name: a, vlan: '{{ host.build }}'}\n");
    let late = bind_with(&book, 0, &book.vars, json!({})).unwrap_err().plain();
    assert!(late.contains(":2:32: `vlan` wants a whole number from 0 to 65535"), "{late}");
    let missing = step_problem("portgroup: {vlan: '{{ host.build }}'}");
    assert!(missing.contains("`portgroup` needs the key `name`"), "{missing}");
}
