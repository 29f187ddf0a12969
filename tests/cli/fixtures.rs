//! Every ready-made playbook on every recorded host: as expected, on every release that it claims, and quickly. And every
//! kind of step on what real hosts printed, in playbooks that are there for that alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::common::Home;

const FIXTURES: &str = "fixtures/hosts";
/// Playbooks that exercise the kinds of step, and their hosts.
const OF_STEPS: &str = "fixtures/playbooks";
const RECORDED: &str = "fixtures/recorded";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn playbooks_in(folder: &str) -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .map(|path| format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 4, "{all:?}");
    all
}

fn playbooks() -> Vec<String> {
    playbooks_in("playbooks")
}

fn stem(playbook: &str) -> String {
    Path::new(playbook).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The files below `expected` of a folder of playbooks: the playbook's stem, and the file.
fn expected_in(folder: &str) -> Vec<(String, PathBuf)> {
    let mut all = Vec::new();
    for playbook in std::fs::read_dir(root().join(folder).join("expected")).unwrap() {
        let playbook = playbook.unwrap().path();
        let stem = playbook.file_name().unwrap().to_str().unwrap().to_owned();
        for file in std::fs::read_dir(&playbook).unwrap() {
            all.push((stem.clone(), file.unwrap().path()));
        }
    }
    all
}

/// Host name and version of every recorded host, with its file.
fn hosts_in(folder: &str) -> Vec<(PathBuf, String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for block in text.split("\nhost ").skip(1) {
            let name = block.lines().next().unwrap().trim().to_owned();
            let version = block.lines().find_map(|l| l.strip_prefix("  version: ")).unwrap().to_owned();
            all.push((path.clone(), name, version));
        }
    }
    all
}

fn hosts() -> Vec<(PathBuf, String, String)> {
    hosts_in(FIXTURES)
}

#[test]
fn every_playbook_does_with_every_recorded_host_what_is_expected() {
    let home = Home::new();
    let started = Instant::now();
    let mut runs = Vec::new();
    for (playbooks, hosts, least) in [(playbooks(), FIXTURES, 50), (playbooks_in(OF_STEPS), RECORDED, 80)] {
        let mut args = vec!["test", "--fixture", hosts, "--strict"];
        args.extend(playbooks.iter().map(String::as_str));
        runs.push((home.run(&args).exits(0), least));
    }
    let took = started.elapsed();
    for (ran, least) in runs {
        println!("{took:?}\n{}", ran.stdout);
        let cases = ran.stdout.lines().filter(|l| l.starts_with("ok ")).count();
        assert!(cases >= least, "{}", ran.all());
    }
    // Measured: 1.2 s of work, unoptimised, on a machine of two busy cores.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_playbook_without_an_expectation_for_a_release_that_it_claims_is_found() {
    let hosts = hosts();
    let mut tested: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for playbook in playbooks() {
        let stem = stem(&playbook);
        let text = std::fs::read_to_string(root().join(&playbook)).unwrap();
        let claimed: Vec<&str> = match text.lines().find_map(|l| l.strip_prefix("esxi: ")) {
            Some(line) => ["6.0", "6.5", "6.7", "7.0", "8.0"].into_iter().filter(|v| line.contains(v)).collect(),
            None => vec!["6.0", "6.5", "6.7", "7.0", "8.0"],
        };
        assert!(!claimed.is_empty(), "{playbook}");
        for line in claimed {
            for right in [false, true] {
                let name = if right { format!("esxi-{line}-right") } else { format!("esxi-{line}") };
                assert!(hosts.iter().any(|(_, n, version)| *n == name && version.starts_with(line)), "{name}");
                let file = root().join("playbooks/expected").join(&stem).join(format!("{name}.txt"));
                assert!(
                    file.is_file(),
                    "{} is missing: esxprep test {playbook} --fixture {FIXTURES} --update",
                    file.display()
                );
            }
            tested.entry(stem.clone()).or_default().insert(line.to_owned());
        }
    }
    assert_eq!(tested["vmotion"].len(), 5, "{tested:?}");
    assert_eq!(tested["nested-lab"].iter().collect::<Vec<_>>(), ["6.5"]);
}

#[test]
fn a_host_that_is_right_already_is_not_changed_and_one_that_needs_everything_is() {
    let expected = root().join("playbooks/expected");
    let mut seen = 0;
    for folder in std::fs::read_dir(&expected).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let changes = text.lines().any(|l| l.trim_start().starts_with("$ "));
            if name.ends_with("-right") {
                assert!(!changes, "{}", path.display());
                seen += 1;
            } else if name.starts_with("esxi-") {
                assert!(changes && text.ends_with("exit 0\n"), "{}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen}");
}

/// A new kind comes with a playbook in `fixtures/playbooks` that finds it right on a host, and not right on one.
#[test]
fn every_kind_of_step_is_tried_on_recorded_hosts() {
    let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, file) in expected_in(OF_STEPS) {
        for line in std::fs::read_to_string(&file).unwrap().lines() {
            // `3 changed vib: Another VIB`
            let mut words = line.split(' ');
            let (Some(number), Some(status), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
            if let (Ok(_), Some(kind)) = (number.parse::<usize>(), kind.strip_suffix(':')) {
                seen.entry(kind.to_owned()).or_default().insert(status.to_owned());
            }
        }
    }
    for kind in esxprep::steps::kinds() {
        let statuses = seen.remove(kind.name).unwrap_or_default();
        // These only judge; that they find both is tested beside them.
        let judges = [
            "vmknic_isolation",
            "netstack_use",
            "secure_boot",
            "certificate",
            "people_accounts",
            "permission",
            "patch_level",
            "signed_modules",
            "manual",
        ];
        if judges.contains(&kind.name) {
            let one = ["ok", "would_change", "skipped"].into_iter().any(|status| statuses.contains(status));
            assert!(one && !statuses.contains("changed"), "{}: {statuses:?}", kind.name);
            continue;
        }
        // These two change nothing: there a failure shows that they look.
        let other = if ["assert", "datastore"].contains(&kind.name) { "failed" } else { "changed" };
        for wanted in ["ok", other] {
            assert!(statuses.contains(wanted), "nothing in {OF_STEPS} expects a {} to be {wanted}", kind.name);
        }
    }
    assert!(seen.is_empty(), "no kinds of step: {seen:?}");
}

#[test]
fn the_kinds_of_step_are_tried_on_every_release() {
    let versions: BTreeMap<String, String> = hosts_in(RECORDED).into_iter().map(|(_, name, v)| (name, v)).collect();
    let mut releases: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (stem, file) in expected_in(OF_STEPS) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let version = versions.get(name).unwrap_or_else(|| panic!("{} has no host", file.display()));
        releases.entry(stem).or_default().insert(version.split('.').take(2).collect::<Vec<_>>().join("."));
    }
    for topic in ["commands", "identity", "maintenance", "network", "services", "settings", "software", "storage"] {
        let on: Vec<&str> = releases[topic].iter().map(String::as_str).collect();
        assert_eq!(on, ["6.0", "6.5", "6.7", "7.0", "8.0"], "{topic}");
    }
}

#[test]
fn an_expectation_of_a_host_or_a_playbook_that_is_gone_is_found() {
    for (folder, fixtures) in [("playbooks", FIXTURES), (OF_STEPS, RECORDED)] {
        let known: BTreeSet<String> = hosts_in(fixtures).into_iter().map(|(_, name, _)| name).collect();
        let stems: BTreeSet<String> = playbooks_in(folder).iter().map(|p| stem(p)).collect();
        for (playbook, path) in expected_in(folder) {
            assert!(stems.contains(&playbook), "{}", path.display());
            let name = path.file_stem().unwrap().to_str().unwrap();
            let name = name.trim_end_matches(".check").trim_end_matches(".verify");
            assert!(known.contains(name), "{}", path.display());
        }
    }
}

/// Every answer says where it is from, and what is said to be recorded, verbatim, is what the recorded output holds.
#[test]
fn what_is_called_recorded_was_recorded() {
    let mut compared = 0;
    let mut sources = BTreeSet::new();
    let files: BTreeSet<PathBuf> = [FIXTURES, RECORDED].into_iter().flat_map(hosts_in).map(|(path, ..)| path).collect();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, l)| l.starts_with(':')) {
            let place = format!("{}:{}", path.display(), at + 1);
            assert!(line.contains("recorded ") || line.contains("built"), "{place} says not where it is from");
            let Some(source) = line.split("; ").find_map(|a| a.trim_start_matches(": ").strip_prefix("recorded "))
            else {
                continue;
            };
            let (name, remark) = source.split_once([' ', ',']).unwrap_or((source, ""));
            // Two outputs, or a part of one, are looked at by people.
            if remark.contains("and ") || remark.contains("second line") {
                continue;
            }
            let file = root().join("fixtures/transcripts").join(format!("{name}.txt"));
            let recorded =
                std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{place}: {}: {e}", file.display()));
            let recorded: Vec<&str> = recorded.lines().skip_while(|l| l.starts_with("# ")).skip(1).collect();
            let printed: Vec<&str> = lines[at + 1..]
                .iter()
                .take_while(|l| l.starts_with('|'))
                .map(|l| l.strip_prefix("| ").unwrap_or(l.trim_start_matches('|')))
                .collect();
            let trimmed = |mut all: Vec<&str>| {
                while all.last().is_some_and(|l| l.is_empty()) {
                    all.pop();
                }
                all.join("\n")
            };
            assert_eq!(trimmed(printed), trimmed(recorded), "{place}: {name}");
            compared += 1;
            sources.insert(name.to_owned());
        }
    }
    assert!(compared > 600, "only {compared} compared");
    assert!(sources.len() >= 225, "only {} recorded outputs are used", sources.len());
}

/// The numbers in the page on fixtures are those of the files.
#[test]
fn the_page_says_how_many_hosts_and_answers_there_are() {
    fn recorded(line: &str) -> bool {
        line.starts_with(": recorded ") || (line.starts_with(':') && line.contains("; recorded "))
    }
    let count = |folder: &str, wanted: fn(&str) -> bool| -> usize {
        let files = std::fs::read_dir(root().join(folder)).unwrap();
        let texts = files.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        texts.map(|text| text.lines().filter(|l| wanted(l)).count()).sum()
    };
    let page = std::fs::read_to_string(root().join("docs/fixtures.md")).unwrap();
    let has = |what: &str, wanted: fn(&str) -> bool| {
        let row = format!("| {what} | {} | {} |", count(FIXTURES, wanted), count(RECORDED, wanted));
        assert!(page.contains(&row), "docs/fixtures.md has not: {row}");
    };
    has("hosts", |l| l.starts_with("host "));
    has("answers that were recorded", recorded);
    has("answers that were built", |l| l.starts_with(':') && !recorded(l));
}

/// The recording that stands in the project as an example.
#[test]
fn the_example_of_a_recording_replays_and_says_where_it_comes_from() {
    let home = Home::new();
    let file = "fixtures/examples/recorded-from-a-simulated-8.0.txt";
    let ran = home.run(&["test", "playbooks/vmotion.yml", "--fixture", file, "--output", "json"]).exits(0);
    let finished = &ran.of("host_finished")[0];
    assert_eq!((&finished["changed"], &finished["failed"]), (&1.into(), &0.into()), "{}", ran.all());
    let text = std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    assert!(text.contains("simulated host") && text.contains("source: recorded by esxprep"), "{file}");
    assert_eq!(esxprep::fixture::Fixture::parse(&text).unwrap().hosts.len(), 1);
}
