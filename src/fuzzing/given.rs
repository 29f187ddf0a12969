//! Targets for what people give along (waivers, variables, expectations), for what is made of a journal, and for the
//! last thing that touches any text before a terminal.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use crate::engine::events::Event;
use crate::engine::journal::{Recorded, RunMeta};
use crate::engine::undo;
use crate::fixture::expect::Expectation;
use crate::playbook::{Playbook, Problems, parse_extra, read_waivers};
use crate::report::{block, json_shown, one_line, shown, steers};

pub(super) const WAIVERS: &[&str] = &[
    "- id: ESXI-80-000005\n  reason: lab\n  until: 2027-06-30\n- {id: 'x.*', reason: \"a: b\", until: 2026-02-29, hosts: [esx1, 'esx*']}\n",
    "[]\n",
    "a: 1\n",
];
pub(super) const VARIABLES: &[&str] =
    &["a=1\0b=[x, {c: 'd'}]\0e=!!str 5\0f=|\n  text\0=x\0no", "@/nonexistent.yml\0a.b=1\0host=x\0lambda=\"{{ y }}\""];
pub(super) const EXPECTATIONS: &[&str] = &[
    "esxprep expectation 1\ncompare: commands\nreads: yes\n# head\n1 setting ok Net.X\n  Net.X: 0 -> 1\n  $ esxcli x\n...\n2 run changed *\nexit 3\n",
    "compare: statuses\n1 vib failed a...b\n",
];
pub(super) const UNDOS: &[&str] = &[
    "{\"event\":\"making\",\"time\":\"t\",\"run\":\"r\",\"host\":\"esx1\",\"step\":2,\"kind\":\"file\",\"name\":\"n\",\"changes\":[{\"summary\":\"file /etc/x\",\"before\":\"a\",\"after\":\"b\",\"commands\":[\"x\"],\"undo\":{\"kind\":\"file\",\"args\":{\"path\":\"/etc/x\",\"content\":\"{{ a }} {% raw %}\\u001b\"}}}]}\n",
    "{\"event\":\"making\",\"time\":\"t\",\"run\":\"r\",\"host\":\"e'\\\"\\u0085\",\"step\":0,\"kind\":\"maintenance\",\"name\":\"n\",\"changes\":[{\"summary\":\"s\",\"before\":\"\",\"after\":\"\",\"commands\":[\"x\"]}]}\n",
];
pub(super) const SHOWN: &[&str] = &[
    "\u{1b}[1;31mred\u{1b}[0m \u{1b}]0;t\u{7}\u{9b}2J\r\n\tx\u{202e}\u{2066}\u{85}",
    "{\"a\": \"\\u001b\u{7f}\u{61c}\"}",
    "999999999999999999999999999999992233720368547758",
];

/// A run that changed hosts.
static META: LazyLock<RunMeta> = LazyLock::new(|| {
    let text = r#"{"run":"20261122-184501-7f3a","started":"2026-11-22T18:45:01Z","playbook":"p.yml","name":"p","mode":"apply","hosts":["esx1"],"argv":[],"resumes":null,"exit_code":0}"#;
    serde_json::from_str(text).unwrap_or_else(|error| panic!("the fixed run is wrong: {error}"))
});

fn told(problems: &Problems) -> usize {
    let plain = problems.plain();
    harmless(&problems.drawn(false, 80));
    harmless(&plain);
    plain.len()
}

fn harmless(text: &str) {
    assert!(!text.contains(|c| steers(c) && c != '\n' && c != '\t'), "{text:?}");
}

/// A file of waivers.
pub(super) fn waivers(bytes: &[u8]) -> usize {
    let Ok(mut file) = tempfile::NamedTempFile::new() else { return 0 };
    if std::io::Write::write_all(&mut file, bytes).is_err() {
        return 0;
    }
    match read_waivers(file.path()) {
        Ok(all) => {
            all.iter().map(|w| usize::from(w.is_about("x.y", "esx1")) + usize::from(w.expired("2026-01-01"))).sum()
        }
        Err(problems) => told(&problems),
    }
}

/// Arguments of `-e`, parted by NUL.
pub(super) fn variables(bytes: &[u8]) -> usize {
    // A name of a file would be read: nothing lies in this folder.
    let of = |part: &[u8]| String::from_utf8_lossy(part).replacen('@', "@/nonexistent/", 1);
    let args: Vec<String> = bytes.split(|byte| *byte == 0).map(of).collect();
    match parse_extra(&args) {
        Ok(vars) => super::size(&vars),
        Err(problems) => told(&problems),
    }
}

/// What is expected of a run.
pub(super) fn expectation(bytes: &[u8]) -> usize {
    super::said(&Expectation::parse(&super::text(bytes)))
}

/// The playbook that takes a journal's run back is one that can be read, or says why not.
pub(super) fn undo(bytes: &[u8]) -> usize {
    let events: Vec<Event> =
        bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let recorded = Recorded { meta: META.clone(), events, unreadable: 0, earlier: None };
    let plan = undo::plan(&recorded);
    let read = Playbook::from_text(Path::new("/nonexistent/undo.yml"), &plan.playbook, &BTreeSet::new());
    let told = read.map_or_else(|problems| told(&problems), |book| book.steps.len());
    plan.playbook.len() + told + plan.left.iter().map(String::len).sum::<usize>()
}

/// Whatever comes, nothing of it steers a terminal, and JSON stays the same JSON.
pub(super) fn edge(bytes: &[u8]) -> usize {
    let text = super::text(bytes);
    let plain = shown(&text, false);
    harmless(&plain);
    harmless(&one_line(&text));
    harmless(&block(&text));
    let painted = shown(&text, true);
    let mut rest = painted.as_ref();
    while let Some(at) = rest.find('\u{1b}') {
        harmless(&rest[..at]);
        let end = rest[at..].find('m').map_or(rest.len(), |end| at + end);
        assert!(rest[at + 2..end].chars().all(|c| c.is_ascii_digit() || c == ';'), "{painted:?}");
        rest = &rest[end..];
    }
    harmless(rest);
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
        let printed = value.to_string();
        let safe = json_shown(&printed);
        harmless(&safe);
        // Both as a reader of JSON takes them: a number of many digits is rounded each time that it is read.
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
        assert!(read(&safe).is_some_and(|again| Some(again) == read(&printed)), "{printed:?} became {safe:?}");
    }
    plain.len()
}
