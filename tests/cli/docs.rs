//! What the documentation shows is true: its YAML loads, its links lead somewhere, its command lines parse, its
//! tables are those of the code. A page that says more than the code can do is a defect of the page.
//!
//! A comment above a block says what it needs: `<!-- docs-test: file NAME -->` keeps the block as a file beside
//! the document's later blocks, `<!-- docs-test: -e NAME=VALUE -->` sets variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::common::{Home, arg};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let mut all = vec![root().join("README.md"), root().join("ARCHITECTURE.md"), root().join("CHANGELOG.md")];
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().path());
    all.extend(docs.filter(|p| p.extension().is_some_and(|e| e == "md")));
    all.sort();
    assert!(all.len() >= 7, "{all:?}");
    all
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A fenced block: its language, its text, its first line's number, and what the comment above it says.
struct Block {
    language: String,
    text: String,
    line: usize,
    note: String,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open: Option<Block> = None;
    let mut note = String::new();
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let note = std::mem::take(&mut note);
                open = Some(Block { language: language.trim().to_owned(), text: String::new(), line: index + 2, note });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => block.text.push_str(&format!("{line}\n")),
            (None, None) => {
                if let Some(said) = line.strip_prefix("<!-- docs-test: ").and_then(|l| l.strip_suffix(" -->")) {
                    note = said.to_owned();
                } else if !line.trim().is_empty() {
                    note.clear();
                }
            }
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

#[derive(Debug, PartialEq)]
enum What {
    Playbook,
    Steps,
    Inventory,
    Lab,
}

/// Keys at the top of a lab file, and of no other.
const OF_LABS: &[&str] = &["iso:", "esxi:", "memory:", "boot_disk:", "stages:", "root_password:"];

fn what(text: &str) -> What {
    let top: Vec<&str> = text.lines().filter(|l| !l.starts_with([' ', '#']) && !l.trim().is_empty()).collect();
    let has = |key: &str| top.iter().any(|l| l.starts_with(key));
    match () {
        () if has("- ") => What::Steps,
        () if has("steps:") => What::Playbook,
        () if OF_LABS.iter().any(|key| has(key)) => What::Lab,
        () if has("hosts:") || has("groups:") || has("defaults:") => What::Inventory,
        () => panic!("neither a playbook nor steps nor an inventory:\n{text}"),
    }
}

#[test]
fn every_yaml_block_loads() {
    let mut seen = Vec::new();
    for document in documents() {
        let home = Home::new();
        let empty = home.write("empty.yml", "steps: []\n");
        for (number, block) in blocks(&read(&document)).into_iter().filter(|b| b.language == "yaml").enumerate() {
            let kind = what(&block.text);
            let text = if kind == What::Steps { format!("steps:\n{}", block.text) } else { block.text.clone() };
            // Variables of the inventories that stand before it count, as in a run.
            let name = block.note.strip_prefix("file ").map_or(format!("block{number}.yml"), str::to_owned);
            let file = home.write(&name, if block.note.starts_with("file ") { &block.text } else { &text });
            if kind == What::Lab {
                lab_loads(&home, &block, &document);
                seen.push(kind);
                continue;
            }
            let mut args = vec!["validate"];
            match kind {
                What::Inventory => args.extend([arg(&empty), "-i", arg(&file)]),
                _ => args.push(arg(&file)),
            }
            let inventory = home.path("inventory.yml");
            if kind == What::Inventory {
                std::fs::write(&inventory, &block.text).unwrap();
            } else if inventory.exists() {
                args.extend(["-i", arg(&inventory)]);
            }
            if block.note.starts_with("-e") {
                args.extend(block.note.split_whitespace());
            }
            // A file that others include has variables of theirs.
            let included = block.note.starts_with("file ");
            let output = home.command(&args).env("ESXI_PASSWORD", "hunter2").output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success() || included, "{}:{}: {said}", document.display(), block.line);
            seen.push(kind);
        }
    }
    for (kind, least) in [(What::Playbook, 8), (What::Steps, 20), (What::Inventory, 2), (What::Lab, 4)] {
        let found = seen.iter().filter(|k| **k == kind).count();
        assert!(found >= least, "{found} of {kind:?}");
    }
}

/// A part of a lab file is made whole with a version and an ISO; its playbooks are the project's.
fn lab_loads(home: &Home, block: &Block, document: &Path) {
    let playbooks = root().join("playbooks").display().to_string();
    let mut text = block.text.replace("../playbooks", &playbooks);
    for (key, line) in [("esxi:", "esxi: \"6.5\"\n"), ("iso:", "iso: installer.iso\n")] {
        if !text.lines().any(|l| l.starts_with(key)) {
            text.push_str(line);
        }
    }
    let file = home.write("lab.yml", &text);
    let output = home.command(&["lab", "validate", arg(&file)]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}:{}: {said}", document.display(), block.line);
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let link = regex::Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for found in link.captures_iter(&text) {
            let target = &found[1];
            if target.starts_with("http") {
                continue;
            }
            count += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: {target} leads nowhere", document.display());
            if !heading.is_empty() {
                let anchors: Vec<String> =
                    read(&path).lines().filter_map(|l| l.strip_prefix('#')).map(anchor).collect();
                assert!(anchors.iter().any(|a| a == heading), "{}: no heading {target}", document.display());
            }
        }
    }
    assert!(count > 30, "{count}");
}

/// A heading's anchor as GitHub makes it.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

/// Command lines that are shown: of shell blocks, of inline code, of the heads of playbooks.
fn command_lines() -> Vec<(String, String)> {
    let inline = regex::Regex::new("`(esxprep [a-z][^`]*)`").unwrap();
    let mut lines = Vec::new();
    for document in documents() {
        let text = read(&document);
        let place = document.display().to_string();
        for block in blocks(&text).into_iter().filter(|b| b.language == "sh") {
            for line in block.text.lines() {
                let line = line.replace("cargo run --release -- ", "esxprep ").replace("cargo run -- ", "esxprep ");
                if let Some(at) = line.find("esxprep ") {
                    lines.push((place.clone(), line[at..].to_owned()));
                }
            }
        }
        lines.extend(inline.captures_iter(&text).map(|c| (place.clone(), c[1].to_owned())));
    }
    for entry in std::fs::read_dir(root().join("playbooks")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            continue;
        }
        for line in read(&path).lines() {
            if let Some(line) = line.strip_prefix("#   ").filter(|l| l.starts_with("esxprep ")) {
                lines.push((path.display().to_string(), line.to_owned()));
            }
        }
    }
    // The first line of a fixture is no command.
    lines.retain(|(_, line)| !line.starts_with("esxprep fixture "));
    lines
}

#[test]
fn every_command_line_shown_is_known() {
    let home = Home::new();
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let lines = command_lines();
    assert!(lines.len() > 20, "{}", lines.len());
    for (place, line) in lines {
        let shown = line.split(" #").next().unwrap().trim_end_matches(['&', ' ']);
        // A comment without a sign stands behind several blanks.
        let shown = shown.split("    ").next().unwrap();
        let words = shell_words::split(shown).unwrap_or_else(|e| panic!("{place}: {line}: {e}"));
        let mut sub: Vec<&str> = vec![&words[1]];
        // Subcommands of their own: the first word that is a name stands for one.
        let nested: &[&str] = &["bundle", "harden", "lab", "ports", "snapshot"];
        while nested.contains(sub.last().unwrap())
            && let Some(word) =
                words.get(1 + sub.len()).filter(|w| w.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
        {
            sub.push(word);
        }
        let help = helps.entry(sub.join(" ")).or_insert_with(|| {
            let args: Vec<&str> = sub.iter().copied().chain(["--help"]).collect();
            home.run(&args).exits(0).stdout
        });
        // Behind `--` stands a command of a host.
        let own = words.iter().skip(2).take_while(|w| *w != "--");
        for flag in own.filter(|w| w.starts_with('-') && w.len() > 1) {
            let flag = flag.split('=').next().unwrap();
            let known = help.split(|c: char| c.is_whitespace() || c == ',').any(|w| w == flag);
            assert!(known, "{place}: `{line}`: {sub:?} has no {flag}");
        }
        if ["schema", "completions"].contains(&sub[0])
            && let Some(value) = words.get(2)
        {
            assert!(help.contains(value.as_str()) || value.chars().all(|c| c.is_uppercase()), "{place}: {line}");
        }
    }
}

#[test]
fn the_faults_are_those_of_the_simulator() {
    let page = read(&root().join("docs/simulator.md"));
    let table: Vec<&str> =
        page.lines().skip_while(|l| *l != "| fault | |").skip(2).take_while(|l| l.starts_with('|')).collect();
    let wanted: Vec<String> =
        esxprep::sim::FAULTS.iter().map(|(form, about)| format!("| `{form}` | {about} |")).collect();
    assert_eq!(table, wanted);
}

#[test]
fn every_option_of_the_simulator_is_in_its_page() {
    let page = read(&root().join("docs/simulator.md"));
    let help = Home::new().run(&["sim", "--help"]).exits(0).stdout;
    let flags: Vec<&str> =
        help.split_whitespace().filter(|w| w.starts_with("--") && !["--help", "--log-file"].contains(w)).collect();
    assert!(flags.len() > 10, "{help}");
    for flag in flags {
        assert!(page.contains(&format!("| `{flag}")), "{flag} is not in docs/simulator.md");
    }
}

/// The schemas are made from the types: each of their keys has a row in the page.
#[test]
fn every_key_of_playbooks_and_inventories_is_in_their_page() {
    let page = read(&root().join("docs/playbooks.md"));
    let home = Home::new();
    for (schema, known) in [("playbook", "on_running_vms"), ("inventory", "connect_timeout")] {
        let text = home.run(&["schema", schema]).exits(0).stdout;
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut keys = Vec::new();
        // Kinds of step have a page of their own.
        let own = |key: &str| esxprep::steps::kind(key).is_some();
        let mut todo = vec![&value];
        while let Some(next) = todo.pop() {
            let serde_json::Value::Object(map) = next else { continue };
            for (name, inner) in map {
                match (name.as_str(), inner) {
                    ("properties", serde_json::Value::Object(properties)) => {
                        keys.extend(properties.keys().filter(|k| !own(k)).cloned());
                        todo.extend(properties.iter().filter(|(k, _)| !own(k)).map(|(_, v)| v));
                    }
                    ("$defs", serde_json::Value::Object(defs)) if schema == "playbook" => {
                        todo.extend(defs.iter().filter(|(k, _)| k.to_lowercase().contains("step")).map(|(_, v)| v));
                    }
                    (_, serde_json::Value::Array(items)) => todo.extend(items),
                    (_, inner) => todo.push(inner),
                }
            }
        }
        assert!(keys.iter().any(|k| k == known), "{schema}: {keys:?}");
        for key in keys {
            assert!(
                page.contains(&format!("`{key}`")) || page.contains(&format!("{{{key}: ")),
                "{schema}: `{key}` is not in docs/playbooks.md"
            );
        }
    }
}

fn comment(line: &str) -> bool {
    line.starts_with("//") || line.starts_with('#')
}

/// Comments that say that something is not verified, by file.
fn markers(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            markers(&path, found);
            continue;
        }
        let name = path.strip_prefix(root()).unwrap().display().to_string();
        let text = read(&path).lines().map(|l| l.trim().to_lowercase()).collect::<Vec<_>>();
        let comments = text
            .chunk_by(|a, b| comment(a) && comment(b))
            .filter(|lines| comment(&lines[0]))
            .map(|lines| lines.join(" ").replace(" /// ", " ").replace(" // ", " "))
            .filter(|said| ["not verified", "not recorded", "no output was recorded"].iter().any(|m| said.contains(m)))
            .count();
        if comments > 0 {
            found.insert(name, comments);
        }
    }
}

#[test]
fn what_is_not_verified_is_on_its_page() {
    let page = read(&root().join("docs/not-verified.md"));
    let rows: Vec<&str> = page.lines().filter(|l| l.starts_with("| ") && !l.starts_with("| ---")).collect();
    let mut found = BTreeMap::new();
    for folder in ["src/steps", "src/esxi", "src/engine", "src/sim", "src/lab", "src/report", "playbooks"] {
        markers(&root().join(folder), &mut found);
    }
    assert!(found.len() > 20, "{found:?}");
    for (file, count) in &found {
        let named = rows.iter().filter(|r| r.contains(&format!("| {file} |"))).count();
        // Of the simulator and the launcher one row a file is enough.
        let wanted = if file.starts_with("src/sim") || file.starts_with("src/lab") { 1 } else { *count };
        assert!(named >= wanted, "{file} says so {count} times, and docs/not-verified.md names it {named} times");
    }
    let path = regex::Regex::new(r"\| ((?:src|playbooks)/\S+) \|").unwrap();
    for row in rows {
        for file in path.captures_iter(row) {
            assert!(found.contains_key(&file[1]), "{} no longer has anything that is not verified", &file[1]);
        }
    }
}
