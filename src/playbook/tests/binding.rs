//! Steps bound to a host.

use super::*;

#[test]
fn conditions() {
    let book = good(
        "vars: {words: 'false', many: [1], text: hello}\nsteps:
  - run: a
    when: host.version is version('>=', '7.0')
  - run: a
    when:
      - host.version is version('<', '7.0')
      - many
  - run: a
    when: words
  - name: 'uses {{ host.running_vms[3].deep }}'
    run: a
    when: text
  - name: 'uses {{ host.hostname }}'
    run: a
    when: false
",
    );
    let why = |i| bind(&book, i, json!({})).remove(0).what.err();
    assert_eq!(why(0).as_deref(), Some("when: host.version is version('>=', '7.0') is false"));
    assert_eq!(why(1), None);
    assert_eq!(why(2).as_deref(), Some("when: words is false"));
    let text = bind_with(&book, 3, &book.vars, json!({})).unwrap_err().plain();
    assert!(text.contains("a condition wants true or false"), "{text}");
    let skipped = bind(&book, 4, json!({})).remove(0);
    assert_eq!((skipped.name.as_str(), skipped.what.err().as_deref()), ("uses esx1", Some("when: false is false")));
}

#[test]
fn loops() {
    let book = good(
        "vars:\n  nics: [vmnic0, vmnic1]\n  ports: {mgmt: 10, vm: 20}\nsteps:
  - run: 'up {{ item }} {{ item_index }}'
    for_each: [vmnic0, '{{ inventory_hostname }}']
  - name: set {{ p.key }}
    portgroup: {name: '{{ p.key }}', vlan: '{{ p.value }}'}
    for_each: '{{ ports }}'
    loop_var: p
  - run: 'x'
    name: fixed
    for_each: nics
    when: item != 'vmnic0'
  - run: '{{ item.a }}'
    for_each: [{a: 0755}, {a: 2}]
",
    );
    let names = |i, reg| bind(&book, i, reg).into_iter().map(|b| b.name).collect::<Vec<_>>();
    assert_eq!(names(0, json!({})), ["Text(\"up vmnic0 0\")", "Text(\"up esx1 1\")"]);
    assert_eq!(names(1, json!({})), ["set mgmt", "set vm"]);
    let third = bind(&book, 2, json!({}));
    assert_eq!(third.iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["fixed [vmnic0]", "fixed [vmnic1]"]);
    assert!(third[0].what.is_err() && third[1].what.is_ok());
    assert_eq!(names(3, json!({})), ["Text(\"0755\")", "Text(\"2\")"]);
    assert!(step_problem("run: x\nfor_each: [yes]").contains("is `yes` the word or true?"));
    assert!(step_problem("run: x\nfor_each: {a: off}").contains("`a`: is `off` the word or false?"));
    assert!(
        step_problem("portgroup: {name: a, vlan: '{{ item }}'}\nfor_each: [1, x]")
            .contains("`vlan` wants a whole number")
    );
    assert!(plain("vars: {n: 3}\nsteps:\n  - run: x\n    for_each: n\n").contains(":4:15: `for_each` wants a list"));
    // A variable that the inventory may set is known with the host only.
    let bad = Folder::new(&[("site.yml", "vars: {n: 3}\nsteps:\n  - run: x\n    for_each: n\n")]).load(&["n"]).unwrap();
    assert!(bind_with(&bad, 0, &bad.vars, json!({})).unwrap_err().plain().contains("`for_each` wants a list"));
}

#[test]
fn loops_over_a_skipped_result_do_not_fail() {
    let book = good(
        "steps:\n  - run: a\n    register: reg\n    when: false\n  - run: x\n    for_each: reg.lines\n    when: not reg.skipped\n",
    );
    let bound = bind(&book, 1, json!({"reg": {"skipped": true}}));
    assert_eq!(bound.len(), 1);
    assert_eq!(bound[0].what.as_ref().err().map(String::as_str), Some("when: not reg.skipped is false"));
    let book = good("steps:\n  - run: a\n    register: reg\n  - run: 'echo {{ reg.stdout }}'\n");
    let text = bind_with(&book, 1, &book.vars, json!({"reg": {"skipped": true}})).unwrap_err().plain();
    assert!(text.contains(":4:19: `reg.stdout` is undefined"), "{text}");
    assert_eq!(bind(&book, 1, json!({"reg": {"stdout": "hi"}}))[0].name, "Text(\"echo hi\")");
}

#[test]
fn expectations() {
    let book = good(
        "steps:
  - run: a
    expect: {command: 'ls {{ inventory_hostname }}', matches: 0755}
  - run: a
    expect: [{command: x}, {command: y}]
",
    );
    let bound = bind(&book, 0, json!({}));
    assert_eq!(bound[0].expect[0].summary(), "Assert { command: \"ls esx1\", matches: Some(\"0755\") }");
    assert_eq!(bind(&book, 1, json!({}))[0].expect.len(), 2);
    assert_eq!(
        step_problem("run: a\nexpect: {comand: x}"),
        "site.yml:3:14: `expect` has no key `comand`\n  did you mean `command`?"
    );
    assert!(step_problem("run: a\nexpect: yes").contains("a mapping or a list of mappings"));
}

#[test]
fn which_variable_wins() {
    let map = |v: Value| serde_json::from_value::<IndexMap<String, Value>>(v).unwrap();
    let merged =
        merge_vars(&map(json!({"a": 1, "b": 1, "c": 1})), &map(json!({"b": 2, "c": 2})), &map(json!({"c": 3})));
    assert_eq!(json!(merged), json!({"a": 1, "b": 2, "c": 3}));
}

#[test]
fn variables_from_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vars.yml");
    std::fs::write(&file, "d: [1, 2]\n").unwrap();
    let parse = |args: &[&str]| parse_extra(&args.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
    let file = format!("@{}", file.display());
    let vars = parse(&["a=5", "b=0755", "c=1.10", "e=", "f=a=b", "g={x: 1}", "h=true", "i='no'", &file]).unwrap();
    assert_eq!(
        json!(vars),
        json!({"a": 5, "b": "0755", "c": "1.10", "e": "", "f": "a=b", "g": {"x": 1}, "h": true, "i": "no", "d": [1, 2]})
    );
    assert!(
        parse(&["strict=no"]).unwrap_err().plain().starts_with("-e strict:1:1: `strict`: is `no` the word or false?")
    );
    assert!(parse(&["novalue"]).unwrap_err().plain().contains("NAME=VALUE"));
    assert!(parse(&["my-var=1"]).unwrap_err().plain().contains("my_var"));
    assert!(parse(&["@/nowhere/vars.yml"]).unwrap_err().plain().contains("cannot read"));
}

#[test]
fn passwords_are_never_shown() {
    let text = "steps:\n  - account: {name: a, password: hunter2, nmae: b}\n  - account:\n      name: b\n      password: |\n        hunter3\n      x: 1\n  - account: {name: c, password: [hunter4]}\n";
    let folder = Folder::new(&[("site.yml", text)]);
    let problems = Problems::from(folder.load(&[]).unwrap_err());
    let all = format!("{}\n{}\n{problems:?}\n{problems}", problems.plain(), problems.drawn(false, 200));
    assert!(!all.contains("hunter"), "{all}");
    assert_eq!(problems.0.len(), 3, "{all}");
    let broken = Folder::new(&[("site.yml", "password: hunter2\nother: [\n")]);
    assert!(!broken.drawn().contains("hunter"), "{}", broken.drawn());
    // A template names a secret, and is worth seeing.
    let named = Folder::new(&[("site.yml", "steps:\n  - account: {name: a, password: '{{ pw }}'}\n")]);
    assert!(named.drawn().contains("{{ pw }}"), "{}", named.drawn());
}

#[test]
fn every_kinds_example_loads() {
    for kind in crate::steps::kinds() {
        let text = format!("steps:\n{}\n", indented(kind.example));
        if let Err(problems) = Playbook::from_text(Path::new("example.yml"), &text, &BTreeSet::new()) {
            panic!("{}: {}\n{text}", kind.name, problems.plain());
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|l| format!("  {l}\n")).collect()
}

#[test]
fn the_schema_knows_the_wrapper() {
    let schema = schema();
    assert_eq!(schema["required"], json!(["steps"]));
    let step = &schema["$defs"]["step"]["anyOf"][0];
    assert!(steps::COMMON.iter().all(|k| step["properties"].get(k).is_some()), "{step}");
    for kind in crate::steps::kinds() {
        assert!(step["properties"].get(kind.name).is_some(), "{}", kind.name);
    }
}
