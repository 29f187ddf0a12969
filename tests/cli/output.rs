//! What scripts read: every line of `--output json`, exit codes, JUnit and HTML files, and what people read agrees
//! with them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::common::{Home, Ran, SimHosts, arg};

const QUICK: &[&str] = &["--boot-ms", "300", "--hostd-ms", "200"];

/// Required keys of each event, and the type of every key, from the published schema.
struct Contract(BTreeMap<String, Value>, Value);

impl Contract {
    fn of(home: &Home) -> Self {
        let schema: Value = serde_json::from_str(&home.run(&["schema", "events"]).exits(0).stdout).unwrap();
        let mut kinds = BTreeMap::new();
        for kind in schema["oneOf"].as_array().expect("one schema an event") {
            kinds.insert(kind["properties"]["event"]["const"].as_str().unwrap().to_owned(), kind.clone());
        }
        assert!(kinds.len() >= 11, "{:?}", kinds.keys());
        Self(kinds, schema)
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(path) => self.1.pointer(path.trim_start_matches('#')).unwrap(),
            None => schema,
        }
    }

    fn fits(&self, value: &Value, schema: &Value) -> bool {
        let schema = self.resolve(schema);
        if let Some(all) = schema["oneOf"].as_array().or(schema["anyOf"].as_array()) {
            return all.iter().any(|s| self.fits(value, s));
        }
        if let Some(word) = schema.get("const") {
            return word == value;
        }
        if let Some(words) = schema["enum"].as_array() {
            return words.contains(value);
        }
        let types: Vec<&str> = match &schema["type"] {
            Value::String(one) => vec![one],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => return true,
        };
        types.iter().any(|t| match *t {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            "array" => value.as_array().is_some_and(|items| items.iter().all(|i| self.fits(i, &schema["items"]))),
            "object" => self.object(value, schema),
            _ => false,
        })
    }

    fn object(&self, value: &Value, schema: &Value) -> bool {
        let Some(map) = value.as_object() else { return false };
        schema["required"].as_array().into_iter().flatten().all(|k| map.contains_key(k.as_str().unwrap()))
            && map.iter().all(|(k, v)| schema["properties"].get(k).is_none_or(|s| self.fits(v, s)))
    }

    /// Every line of a run.
    #[track_caller]
    fn check(&self, ran: &Ran) {
        let events = ran.events();
        let run = events[0]["run"].clone();
        for (line, event) in ran.stdout.lines().zip(&events) {
            let keys: Vec<&String> = event.as_object().unwrap().keys().take(3).collect();
            assert_eq!(keys, ["event", "time", "run"], "{line}");
            assert_eq!(event["run"], run, "{line}");
            let time = event["time"].as_str().unwrap();
            assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{line}");
            let schema = &self.0[event["event"].as_str().unwrap()];
            assert!(self.fits(event, schema), "{line}\ndoes not fit\n{schema}");
            for key in event.as_object().unwrap().keys().filter(|k| !["time", "run"].contains(&k.as_str())) {
                let referred = self.resolve(schema);
                assert!(
                    schema["properties"].get(key).is_some() || referred["properties"].get(key).is_some(),
                    "{key} is not in the schema: {line}"
                );
            }
        }
        assert_eq!(events[0]["event"], "run_started");
        let last = events.last().unwrap();
        assert_eq!(last["event"], "run_finished", "{}", ran.all());
        assert_eq!(ran.of("run_finished").len(), 1);
        // The totals are the sums.
        for word in ["ok", "changed", "failed"] {
            let sum: u64 = ran.of("host_finished").iter().map(|h| h[word].as_u64().unwrap()).sum();
            assert_eq!(last[word], sum, "{word}: {}", ran.all());
        }
        let statuses = |host: &Value, wanted: &[&str]| {
            ran.of("step")
                .iter()
                .filter(|s| s["host"] == *host && wanted.contains(&s["status"].as_str().unwrap()))
                .count()
        };
        for host in ran.of("host_finished") {
            assert_eq!(host["changed"], statuses(&host["host"], &["changed", "would_change"]), "{host}");
            assert_eq!(host["ok"], statuses(&host["host"], &["ok"]), "{host}");
            assert_eq!(host["failed"], statuses(&host["host"], &["failed"]), "{host}");
            assert_eq!(host["skipped"], statuses(&host["host"], &["skipped"]), "{host}");
        }
    }
}

const PLAYBOOK: &str = "name: \"Of <all> & \\\"sorts\\\"\"
steps:
  - setting: {key: UserVars.SuppressShellWarning, value: 1}
  - file: {path: /etc/motd.lab, content: \"a\\nb\\n\"}
  - run: {command: date, read_only: true}
    when: host.version is version('>', '99')
  - run: {command: \"printf 'red \\\\033[31m\\\\007 ]]> <x>'; exit 4\"}
    name: \"fails at {{ inventory_hostname }}\"
    when: inventory_hostname == 'esx2'
  - reboot: {when: always}
";

#[test]
fn every_json_line_of_success_failure_check_and_no_host_fits_the_schema_and_the_exit_code() {
    let home = Home::new();
    let contract = Contract::of(&home);
    let sim = SimHosts::start(&home, "6.7", 2, QUICK);
    let playbook = home.write("p.yml", PLAYBOOK);
    let run = |more: &[&str]| {
        let mut args = vec!["apply", arg(&playbook), "-i", sim.inventory(), "--output", "json"];
        args.extend(more);
        home.run(&args)
    };
    let check = run(&["--check", "--limit", "esx1"]).exits(3);
    contract.check(&check);
    assert_eq!(check.of("run_started")[0]["mode"], "check");
    assert!(check.of("host_rebooting").is_empty());

    let failed = run(&[]).exits(1);
    contract.check(&failed);
    assert!(!failed.stdout.contains('\u{1b}') && !failed.stdout.contains('\u{7}'), "{}", failed.all());
    assert_eq!(failed.of("host_rebooting").len(), 1, "{}", failed.all());
    assert_eq!(failed.of("host_back").len(), 1);
    let error = failed.of("step").into_iter().find(|s| s["status"] == "failed").unwrap();
    assert_eq!(error["host"], "esx2");
    assert!(error["error"].as_str().unwrap().contains('4'), "{error}");

    let nobody = home.run(&["apply", arg(&playbook), "-i", "root@127.0.0.1:9", "--output", "json"]).exits(4);
    contract.check(&nobody);
    assert_eq!(nobody.of("run_finished")[0]["unreachable"], 1);
    assert_eq!(nobody.of("host_failed")[0]["unreachable"], true);

    let calm = home.write("calm.yml", "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n");
    let verify = home.run(&["verify", arg(&calm), "-i", sim.inventory(), "--output", "json"]).exits(0);
    contract.check(&verify);
    assert_eq!(verify.of("run_started")[0]["mode"], "verify");
    // One host that is there, one that is not: a host was lost.
    let mixed = home.write(
        "mixed.yml",
        &(std::fs::read_to_string(&sim.inventory).unwrap()
            + "  gone: {address: 127.0.0.1, port: 9, user: root, password: x}\n"),
    );
    let mixed = home.run(&["apply", arg(&calm), "-i", arg(&mixed), "--output", "json"]).exits(1);
    contract.check(&mixed);
}

#[test]
fn the_final_table_the_log_and_the_json_agree() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.7", 2, QUICK);
    let playbook = home.write("p.yml", PLAYBOOK);
    let junit = home.path("out.xml");
    let html = home.path("out.html");
    let outputs = format!("human,junit={},html={}", arg(&junit), arg(&html));
    let human = home.run(&["apply", arg(&playbook), "-i", sim.inventory(), "--diff", "--output", &outputs]).exits(1);
    assert!(!human.all().contains('\u{1b}') && !human.all().contains('\u{7}'), "{:?}", human.all());
    assert!(human.stdout.contains("fails at esx2"), "{}", human.all());

    let stored = home.run(&["log", "last", "--json"]).exits(0);
    for host in stored.of("host_finished") {
        let name = host["host"].as_str().unwrap();
        let row = human
            .stdout
            .lines()
            .find(|l| l.strip_prefix("│ ").is_some_and(|l| l.split_whitespace().next() == Some(name)))
            .unwrap_or_else(|| panic!("{name}: {}", human.all()));
        let numbers: Vec<u64> = row.split_whitespace().filter_map(|w| w.parse().ok()).collect();
        let wanted: Vec<u64> = ["ok", "changed", "failed", "skipped", "reboots", "commands", "round_trips"]
            .iter()
            .map(|k| host[*k].as_u64().unwrap())
            .collect();
        assert_eq!(numbers[..wanted.len()], wanted[..], "{row}\n{host}");
    }
    let log = home.run(&["log", "last", "--diff"]).exits(0);
    assert!(log.stdout.contains("fails at esx2") && log.stdout.contains("SuppressShellWarning"), "{}", log.all());
    assert!(home.run(&["log"]).exits(0).stdout.contains("p.yml") || log.stdout.contains("sorts"));

    let xml = std::fs::read_to_string(&junit).unwrap();
    let count = |needle: &str| xml.matches(needle).count();
    let steps = stored.of("step");
    let failed = steps.iter().filter(|s| s["status"] == "failed").count();
    let skipped = steps.iter().filter(|s| s["status"] == "skipped").count();
    assert_eq!(count("<testcase "), steps.len(), "{xml}");
    assert_eq!(count("<failure"), failed, "{xml}");
    assert_eq!(count("<skipped"), skipped, "{xml}");
    assert!(!xml.contains('\u{1b}') && !xml.contains('\u{7}') && xml.contains("&lt;x&gt;"), "{xml}");
    well_formed(&xml);

    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.contains("Of &lt;all&gt; &amp;") && !page.contains("<all>"), "{page}");
    assert!(page.contains("esx1") && page.contains("esx2"));
}

/// Every element that is opened is closed, in order.
fn well_formed(xml: &str) {
    let mut open = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag that ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        match tag.as_bytes()[0] {
            b'?' | b'!' => {}
            b'/' => assert_eq!(open.pop(), Some(&tag[1..]), "{xml}"),
            _ if tag.ends_with('/') => {}
            _ => open.push(tag.split_whitespace().next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_reader_that_goes_away_does_not_end_the_run() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "8.0", 1, QUICK);
    let playbook = home.write(
        "p.yml",
        "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - file: {path: /etc/motd.lab, content: \"x\\n\"}\n",
    );
    for output in ["json", "human", "junit"] {
        let mut child = home
            .command(&["apply", arg(&playbook), "-i", sim.inventory(), "--output", output])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        if output != "junit" {
            out.read_line(&mut first).unwrap();
        }
        drop(out);
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{output}: {}", String::from_utf8_lossy(&ended.stderr));
    }
    home.run(&["verify", arg(&playbook), "-i", sim.inventory()]).exits(0);
    // Printing commands end quietly too.
    for args in [&["steps", "--markdown"][..], &["schema", "playbook"], &["man"], &["log"], &["completions", "bash"]] {
        let mut child = home.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn two_reports_on_standard_output_and_unwritable_files_are_usage_errors() {
    let home = Home::new();
    for output in ["json,human", "junit,html", "xml", "junit=/not/there/x.xml", "json=x", "ckl", "xccdf=x.xml"] {
        let ran = home.run(&["apply", "playbooks/vmotion.yml", "-i", "root@127.0.0.1:9", "--output", output]).exits(2);
        assert!(!ran.all().contains("cannot reach"), "{}", ran.all());
    }
}
