//! What YAML readers stumble over, each a case of its own.

use super::*;

#[test]
fn row_1_a_misspelt_argument_points_at_the_key() {
    let folder = Folder::new(&[(
        "site.yml",
        "name: lab\nsteps:\n  - name: update the client\n    vib:\n      name: esx-ui\n      acceptence: community\n",
    )]);
    assert_eq!(folder.plain(&[]), "site.yml:6:7: `vib` has no key `acceptence`\n  did you mean `acceptance`?");
    assert_eq!(
        folder.drawn(),
        "  × `vib` has no key `acceptence`
   ╭─[site.yml:6:7]
 5 │       name: esx-ui
 6 │       acceptence: community
   ·       ─────┬────
   ·            ╰── unknown key
   ╰────
  help: did you mean `acceptance`?"
    );
}

#[test]
fn row_2_a_wrong_type_points_at_the_value() {
    let folder = Folder::new(&[("site.yml", "steps:\n  - portgroup: {name: vMotion, vlan: forty}\n")]);
    assert_eq!(
        folder.drawn(),
        "  × `vlan` wants a whole number from 0 to 65535
   ╭─[site.yml:2:38]
 1 │ steps:
 2 │   - portgroup: {name: vMotion, vlan: forty}
   ·                                      ──┬──
   ·                                        ╰── this is `forty`
   ╰────"
    );
    assert!(step_problem("portgroup: {name: a, vlan: \"40\"}").contains("quotes make it text: remove them"));
    assert!(step_problem("portgroup: {name: a, vlan: 70000}").starts_with("site.yml:2:32: `vlan` wants"));
}

#[test]
fn rows_3_and_4_duplicate_keys_show_both_places() {
    let text = "vars:\n  a: 1\n  a: 2\nsteps:\n  - vib:\n      name: x\n      name: y\n";
    let folder = Folder::new(&[("site.yml", text)]);
    assert_eq!(
        folder.plain(&[]),
        "site.yml:3:3: the key `a` is there twice
  keep one of them; nothing is guessed about which one was meant
site.yml:7:7: the key `name` is there twice
  keep one of them; nothing is guessed about which one was meant"
    );
    assert!(folder.drawn().contains("first here") && folder.drawn().contains("again here"));
}

#[test]
fn row_5_anchors_and_merge_keys() {
    let text = "steps:
  - portgroup: &base {name: a, vlan: 5}
  - portgroup: {<<: *base, name: b}
  - portgroup:
      <<: [*base, {ratio: 1.5}]
      vlan: 6
";
    let book = good(text);
    let all: Vec<String> = (0..3).map(|i| bind(&book, i, json!({}))[0].name.clone()).collect();
    assert_eq!(all[1], all[0].replace("\"a\"", "\"b\""));
    assert!(all[2].contains("vlan: Some(6)") && all[2].contains("ratio: Some(1.5)"), "{}", all[2]);
    assert!(step_problem("vib: {<<: 3}").contains("`<<` merges mappings"));
    assert!(plain("steps: *nope\n").starts_with("site.yml:1:8: not valid YAML"));
}

#[test]
fn row_6_switch_words_where_a_boolean_is_wanted() {
    for (word, value) in [("no", false), ("on", true), ("Yes", true), ("OFF", false), ("true", true), ("False", false)]
    {
        let step = made_step(&format!("portgroup: {{name: a, security: {{promiscuous: {word}}}}}"));
        assert!(step.contains(&format!("promiscuous: Some({value})")), "{word}: {step}");
    }
    let quoted = step_problem("portgroup: {name: a, security: {promiscuous: \"no\"}}");
    assert_eq!(quoted, "site.yml:2:50: `promiscuous` wants true or false\n  quotes make it text: remove them");
}

#[test]
fn row_6c_and_7_where_text_is_wanted_it_stays_as_written() {
    for text in ["no", "yes", "on", "true", "8.0", "0123", "1.10", "1_000", "22:30", "12345678901234567890123", "0x1F"]
    {
        let step = made_step(&format!("vib: {{name: {text}}}"));
        assert!(step.contains(&format!("name: \"{text}\"")), "{text}: {step}");
    }
    assert!(made_step("vib: {name: a, state: on}").contains("state: On"));
    assert!(made_step("vib: {name: a, state: absent}").contains("state: Absent"));
}

#[test]
fn row_7b_untyped_values_keep_their_text() {
    for (text, value) in [
        ("0755", r#"String("0755")"#),
        ("1_000", r#"String("1_000")"#),
        ("22:30", r#"String("22:30")"#),
        ("1.10", r#"String("1.10")"#),
        ("no", r#"String("no")"#),
        ("12345678901234567890123", r#"String("12345678901234567890123")"#),
        ("10", "Number(10)"),
        ("true", "Bool(true)"),
        ("\"10\"", r#"String("10")"#),
    ] {
        let step = made_step(&format!("setting: {{name: a, value: {text}}}"));
        assert!(step.contains(&format!("value: {value}")), "{text}: {step}");
    }
}

#[test]
fn a_leading_zero_where_a_number_is_wanted_is_refused_with_the_reason() {
    assert_eq!(
        step_problem("portgroup: {name: a, vlan: 0755}"),
        "site.yml:2:32: `vlan`: is `0755` octal or decimal?
  YAML 1.1 and 1.2 disagree: write 755 if it is meant as decimal, or 493 if it is meant as octal"
    );
    assert_eq!(
        step_problem("portgroup: {name: a, vlan: 22:30}"),
        "site.yml:2:32: `vlan` wants a number, and `22:30` is none
  YAML 1.1 reads it as a number to the base 60, YAML 1.2 as text: write the number itself"
    );
    assert!(made_step("portgroup: {name: a, vlan: 1_000}").contains("vlan: Some(1000)"));
    assert!(made_step("portgroup: {name: a, vlan: 0x10}").contains("vlan: Some(16)"));
    assert!(made_step("portgroup: {name: a, ratio: 1.10}").contains("ratio: Some(1.1)"));
}

#[test]
fn permission_bits_stay_digits() {
    assert!(made_step("file: {path: /a, mode: 0755}").contains("mode: Some(\"0755\")"));
    assert!(made_step("file: {path: /a, mode: 644}").contains("mode: Some(\"644\")"));
}

#[test]
fn row_8_ways_to_write_a_step() {
    assert_eq!(made_step("reboot"), "Reboot { always: None }");
    assert_eq!(made_step("reboot:"), "Reboot { always: None }");
    assert_eq!(made_step("reboot: {}"), "Reboot { always: None }");
    assert_eq!(made_step("run: esxcli system version get"), "Text(\"esxcli system version get\")");
    assert_eq!(
        made_step("run: {command: ls, read_only: yes, codes: [0, 1]}"),
        "Full { command: \"ls\", read_only: Some(true), codes: Some([0, 1]) }"
    );
    assert_eq!(made_step("run: 42"), "Text(\"42\")");
    assert_eq!(
        made_step("run: {command: 5, read_only: on, codes: [1_000]}"),
        "Full { command: \"5\", read_only: Some(true), codes: Some([1000]) }"
    );
    assert!(step_problem("vib: {'{{ x }}': 1, name: a}").contains("templates work in values, not in keys"));
}

#[test]
fn row_8b_an_unknown_kind() {
    assert_eq!(step_problem("vibb: {name: a}"), "site.yml:2:5: there is no kind of step `vibb`\n  did you mean `vib`?");
    assert_eq!(step_problem("rebot"), "site.yml:2:5: there is no kind of step `rebot`\n  did you mean `reboot`?");
    assert!(step_problem("name: nothing else").contains("this step names no kind of step"));
    assert!(step_problem("vib: {name: a}\nwehn: true").contains("did you mean `when`?"));
    assert!(step_problem("vib: {name: a}\nloop: [1]").contains("here it is called `for_each`"));
}

#[test]
fn row_8c_two_kinds_in_one_step() {
    let folder = Folder::new(&[("site.yml", "steps:\n  - vib: {name: a}\n    reboot: {}\n")]);
    assert_eq!(
        folder.drawn(),
        "  × a step does one thing, and this one names `vib` and `reboot`
   ╭─[site.yml:3:5]
 1 │ steps:
 2 │   - vib: {name: a}
   ·     ─┬─
   ·      ╰── the first
 3 │     reboot: {}
   ·     ───┬──
   ·        ╰── a second kind
   ╰────
  help: make two steps of it: start this line with its own `- `"
    );
}

#[test]
fn row_9_tabs_indentation_and_open_quotes() {
    let tab = plain("steps:\n\t- vib: {name: a}\n");
    assert!(tab.starts_with("site.yml:2:") && tab.contains("never with tabs"), "{tab}");
    let indent = plain("steps:\n  - vib:\n      name: a\n     path: b\n");
    assert!(indent.starts_with("site.yml:4:") && indent.contains("not valid YAML"), "{indent}");
    let quote = plain("steps:\n  - vib: {name: \"a}\n");
    assert!(quote.starts_with("site.yml:2:") && quote.contains("quote"), "{quote}");
    let colon = plain("name: a: b\nsteps: []\n");
    assert!(colon.starts_with("site.yml:1:"), "{colon}");
}

#[test]
fn row_10_bombs_are_refused_quickly() {
    let start = std::time::Instant::now();
    let mut laughs = String::from("vars:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..10 {
        let refs = vec![format!("*a{}", i - 1); 10].join(", ");
        laughs.push_str(&format!("  a{i}: &a{i} [{refs}]\n"));
    }
    assert!(plain(&laughs).contains("grows beyond 200000 nodes"), "{}", plain(&laughs));
    let brackets = plain(&format!("vars: {}\n", "[".repeat(10_000)));
    assert!(brackets.contains("64 levels"), "{brackets}");
    let own = plain("vars: &a\n  b: *a\n");
    assert!(own.contains("stands inside the node"), "{own}");
    let big = plain(&format!("name: {}\n", "x".repeat(5 << 20)));
    assert!(big.contains("the limit is 4194304"), "{big}");
    assert!(start.elapsed().as_secs() < 20);
}

#[test]
fn row_11_nothing_where_text_is_wanted() {
    assert_eq!(
        step_problem("vib:\n  name:\n"),
        "site.yml:3:7: `name` wants text\n  nothing is written after the colon: give a value, or remove the key"
    );
    assert!(step_problem("vib: {name: ~}").starts_with("site.yml:2:17: `name` wants text"));
}

#[test]
fn arguments_that_are_not_indented() {
    assert_eq!(
        step_problem("vib:\nname: a"),
        "site.yml:2:5: `vib` needs the key `name`\n  nothing is indented below it: its arguments belong there"
    );
    assert_eq!(step_problem("vib: esx-ui"), "site.yml:2:10: `vib` wants a mapping of keys");
    let form = step_problem("run: {command: [1]}");
    assert!(form.starts_with("site.yml:2:5: `run`: this fits none of its forms"), "{form}");
}

#[test]
fn row_12_a_second_document() {
    assert_eq!(
        plain("steps: []\n---\nsteps: []\n"),
        "site.yml:2:1: a second document in the same file\n  esxprep reads one document a file: remove the `---`, or put it into another file"
    );
}

#[test]
fn rows_13_and_14_not_utf8_and_empty() {
    let folder = Folder::new(&[]);
    std::fs::write(folder.0.path().join("site.yml"), b"name: caf\xe9\nsteps: []\n").unwrap();
    let text = folder.plain(&[]);
    assert!(text.starts_with("site.yml:1:10: ") && text.contains("is not UTF-8 (byte 9 is 0xe9)"), "{text}");
    for empty in ["", "\n# nothing\n", "---\n"] {
        assert!(plain(empty).contains("is empty"), "{empty:?}: {}", plain(empty));
    }
    assert!(Folder::new(&[]).plain(&[]).starts_with("cannot read site.yml: "));
    assert!(plain("- vib: {name: a}\n").contains("put the steps under a key"));
    assert!(plain("steps:\n  - !custom {a: b}\n").contains("the tag `!custom` means nothing here"));
    assert!(plain("steps: []\n? [a, b]\n: c\n").contains("a key that is not a word"));
}
