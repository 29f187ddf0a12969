//! Playbooks through the front door of this room, with kinds of steps of their own.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use indexmap::IndexMap;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::load::{Kinds, load};
use super::problem::Problem;
use super::*;
use crate::esxi::{Command, Version};
use crate::steps::{Change, Seen, StepError, parse_as};

macro_rules! test_kind {
    ($t:ty) => {
        impl Step for $t {
            fn summary(&self) -> String {
                format!("{self:?}")
            }
            fn reads(&self, _: &HostFacts) -> Vec<Command> {
                Vec::new()
            }
            fn compare(&self, _: &Seen<'_>) -> Result<Vec<Change>, StepError> {
                Ok(Vec::new())
            }
        }
    };
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Vib {
    name: String,
    path: Option<String>,
    acceptance: Option<String>,
    #[serde(default)]
    state: State,
}
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    #[default]
    Present,
    Absent,
    On,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Portgroup {
    name: String,
    vlan: Option<u16>,
    security: Option<Security>,
    uplinks: Option<Vec<String>>,
    ratio: Option<f64>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Security {
    promiscuous: Option<bool>,
    forged: Option<bool>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Setting {
    name: String,
    value: Value,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct FileStep {
    path: String,
    mode: Option<String>,
    content: Option<String>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum Run {
    Text(String),
    Full { command: String, read_only: Option<bool>, codes: Option<Vec<i32>> },
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Assert {
    command: String,
    matches: Option<String>,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Account {
    name: String,
    password: String,
}
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code)]
struct Reboot {
    always: Option<bool>,
}
test_kind!(Vib);
test_kind!(Portgroup);
test_kind!(Setting);
test_kind!(FileStep);
test_kind!(Run);
test_kind!(Assert);
test_kind!(Account);
test_kind!(Reboot);

const fn kind<T: DeserializeOwned + Step + JsonSchema + 'static>(name: &'static str) -> Kind {
    Kind { name, about: "", example: "", parse: parse_as::<T>, schema: |g| g.subschema_for::<T>() }
}
static KINDS: &[Kind] = &[
    kind::<Vib>("vib"),
    kind::<Portgroup>("portgroup"),
    kind::<Setting>("setting"),
    kind::<FileStep>("file"),
    kind::<Run>("run"),
    kind::<Assert>("assert"),
    kind::<Account>("account"),
    kind::<Reboot>("reboot"),
];

fn kinds() -> Kinds<'static> {
    Kinds { find: &|name| KINDS.iter().find(|k| k.name == name), names: KINDS.iter().map(|k| k.name).collect() }
}

/// Files in a folder of their own; problems show paths relative to it.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(dir)
    }

    fn load(&self, extra: &[&str]) -> Result<Playbook, Vec<Problem>> {
        let extra: BTreeSet<String> = extra.iter().map(|s| (*s).to_owned()).collect();
        load(&self.0.path().join("site.yml"), &extra, &kinds())
    }

    fn short(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.0.path().display()), "")
    }

    fn plain(&self, extra: &[&str]) -> String {
        self.short(&Problems::from(self.load(extra).unwrap_err()).plain())
    }

    fn drawn(&self) -> String {
        let drawn = Problems::from(self.load(&[]).unwrap_err()).drawn(false, 300);
        self.short(&drawn).lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }
}

fn plain(text: &str) -> String {
    Folder::new(&[("site.yml", text)]).plain(&[])
}

/// Problems of a playbook with one step.
fn step_problem(step: &str) -> String {
    let indented = step.replace('\n', "\n    ");
    plain(&format!("steps:\n  - {indented}\n"))
}

fn good(text: &str) -> Playbook {
    match Folder::new(&[("site.yml", text)]).load(&[]) {
        Ok(book) => book,
        Err(problems) => panic!("{}", Problems::from(problems).plain()),
    }
}

fn facts() -> HostFacts {
    HostFacts::example(Version::new(6, 5))
}

fn bind_with(
    book: &Playbook,
    step: usize,
    vars: &IndexMap<String, Value>,
    registered: Value,
) -> Result<Vec<Bound>, Problems> {
    let registered: IndexMap<String, Value> = serde_json::from_value(registered).unwrap();
    let facts = facts();
    let scope = Scope { vars, facts: &facts, inventory_name: "esx1", registered: &registered };
    book.bind(&book.steps[step], &scope)
}

fn bind(book: &Playbook, step: usize, registered: Value) -> Vec<Bound> {
    bind_with(book, step, &book.vars, registered).unwrap_or_else(|p| panic!("{}", p.plain()))
}

/// What one step of a playbook became.
fn made(text: &str) -> String {
    let book = good(text);
    bind(&book, 0, json!({})).into_iter().map(|b| format!("{:?}", b.what.unwrap())).collect::<Vec<_>>().join("\n")
}

fn made_step(step: &str) -> String {
    made(&format!("steps:\n  - {}\n", step.replace('\n', "\n    ")))
}

// --- the table of traps -------------------------------------------------------------------------------------

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

// --- the playbook's own keys ---------------------------------------------------------------------------------

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

// --- templates and names --------------------------------------------------------------------------------------

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

// --- binding --------------------------------------------------------------------------------------------------

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
    assert!(
        step_problem("portgroup: {name: a, vlan: '{{ item }}'}\nfor_each: [1, x]")
            .contains("`vlan` wants a whole number")
    );
    let bad = good("vars: {n: 3}\nsteps:\n  - run: x\n    for_each: n\n");
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
fn the_schema_knows_the_wrapper() {
    let schema = schema();
    assert_eq!(schema["required"], json!(["steps"]));
    let step = &schema["$defs"]["step"]["anyOf"][0];
    assert!(steps::COMMON.iter().all(|k| step["properties"].get(k).is_some()), "{step}");
    for kind in crate::steps::kinds() {
        assert!(step["properties"].get(kind.name).is_some(), "{}", kind.name);
    }
}

fn load_bytes(bytes: &[u8]) -> Result<Playbook, Vec<Problem>> {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("site.yml");
    std::fs::write(&path, bytes).unwrap();
    load(&path, &BTreeSet::new(), &kinds())
}

fn must_not_panic(bytes: &[u8]) {
    if let Err(problems) = load_bytes(bytes) {
        assert!(!problems.is_empty());
        let problems = Problems::from(problems);
        assert!(!problems.drawn(false, 80).is_empty());
        assert!(!problems.plain().is_empty());
    }
}

/// Pieces that meet in odd ways more often than random bytes do.
fn scrap() -> impl Strategy<Value = String> {
    let pieces = [
        "steps:\n",
        "  - ",
        "vib: ",
        "{name: ",
        "}",
        "[",
        "]",
        "'{{ ",
        " }}'",
        "{% if ",
        "%}",
        "name: ",
        "when: ",
        "for_each: ",
        "\n",
        "    ",
        "&a ",
        "*a",
        "<<: ",
        "0755",
        "no",
        "é",
        "\t",
        "\"",
        "'",
        "|\n",
        ">-\n",
        "---\n",
        "vars:\n",
        "  x: ",
        "item",
        "host.version",
        "register: r",
        "!t ",
        "include: site.yml",
        "expect: ",
        "# ",
        "\u{feff}",
        "password: ",
        "portgroup: ",
        "vlan: ",
        "~",
        ": ",
        "? ",
        ",",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..40).prop_map(|v| v.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_load_or_fail_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        must_not_panic(&bytes);
    }

    #[test]
    fn any_scraps_load_or_fail_without_a_panic(text in scrap()) {
        must_not_panic(text.as_bytes());
        must_not_panic(format!("steps:\n  - vib: {text}\n").as_bytes());
    }
}
