//! Every ready-made playbook on every recorded host: as expected, on every release that it claims, and quickly.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::common::Home;

const FIXTURES: &str = "fixtures/hosts";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn playbooks() -> Vec<String> {
    let mut all: Vec<String> = std::fs::read_dir(root().join("playbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml"))
        .map(|path| format!("playbooks/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    all.sort();
    assert!(all.len() >= 4, "{all:?}");
    all
}

/// Host name and version of every recorded host, with its file.
fn hosts() -> Vec<(PathBuf, String, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(root().join(FIXTURES)).unwrap() {
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

#[test]
fn every_playbook_does_with_every_recorded_host_what_is_expected() {
    let home = Home::new();
    let playbooks = playbooks();
    let mut args = vec!["test", "--fixture", FIXTURES, "--strict"];
    args.extend(playbooks.iter().map(String::as_str));
    let started = Instant::now();
    let ran = home.run(&args).exits(0);
    let took = started.elapsed();
    println!("{} playbooks in {took:?}\n{}", playbooks.len(), ran.stdout);
    // Measured: 0.7 s unoptimised on a machine of two busy cores.
    assert!(took < Duration::from_secs(5), "{took:?}");
    let cases = ran.stdout.lines().filter(|l| l.starts_with("ok ")).count();
    assert!(cases >= 50, "{}", ran.all());
}

#[test]
fn a_playbook_without_an_expectation_for_a_release_that_it_claims_is_found() {
    let hosts = hosts();
    let mut tested: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for playbook in playbooks() {
        let stem = Path::new(&playbook).file_stem().unwrap().to_str().unwrap().to_owned();
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

#[test]
fn an_expectation_of_a_host_or_a_playbook_that_is_gone_is_found() {
    let known: BTreeSet<String> = hosts().into_iter().map(|(_, name, _)| name).collect();
    let stems: BTreeSet<String> =
        playbooks().iter().map(|p| Path::new(p).file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    for folder in std::fs::read_dir(root().join("playbooks/expected")).unwrap() {
        let folder = folder.unwrap().path();
        assert!(stems.contains(folder.file_name().unwrap().to_str().unwrap()), "{}", folder.display());
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
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
    for (path, ..) in hosts() {
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
        }
    }
    assert!(compared > 80, "only {compared} compared");
}
