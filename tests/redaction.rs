//! A redacted host does what it did before: every recorded host that comes with esxprep, with every playbook, in every
//! mode; and hosts that are called by words of ESXi.

use std::collections::BTreeSet;
use std::path::Path;

use esxprep::engine::{Mode, RunOptions};
use esxprep::fixture::gather::gather;
use esxprep::fixture::redact::{self, redact};
use esxprep::fixture::trial::{claimed, tried};
use esxprep::fixture::{Ask, Fixture, HostFixture, Outcome};
use esxprep::playbook::Playbook;

fn root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn load(path: &Path, fixture: &Fixture) -> Playbook {
    let known: BTreeSet<String> = fixture.hosts.iter().flat_map(|h| h.vars.keys().cloned()).collect();
    Playbook::load(path, &known).unwrap_or_else(|p| panic!("{p}"))
}

/// What a playbook came to with each host: number, kind and status of each step, and what was not known.
fn came_to(fixture: &Fixture, playbook: Playbook) -> (Vec<String>, Vec<String>) {
    let tried = tried(fixture, playbook, RunOptions::new(Mode::Apply, std::env::temp_dir())).unwrap();
    let steps = tried.seen.events.iter().filter_map(|event| {
        let line: serde_json::Value = serde_json::from_str(&event.to_line().unwrap()).unwrap();
        match line["event"].as_str().unwrap() {
            "step" => Some(format!("{} {} {}", line["step"], line["kind"], line["status"])),
            "host_connected" => Some(format!("{} {}", line["version"], line["build"])),
            _ => None,
        }
    });
    (steps.collect(), tried.unknown.iter().map(|(unknown, _)| unknown.to_string()).collect())
}

#[test]
fn every_host_with_every_playbook_does_the_same_after_redaction() {
    let (files, _) = gather(&root("fixtures/hosts")).unwrap();
    let mut pairs = 0;
    for name in ["clone-fixup", "host-client", "nested-lab", "vmotion"] {
        let path = root(&format!("playbooks/{name}.yml"));
        for file in &files {
            let playbook = load(&path, &file.fixture);
            let text = playbook.text();
            let (hosts, _) = claimed(&file.fixture, &playbook, None);
            let fixture = Fixture { hosts, ..file.fixture.clone() };
            if fixture.hosts.is_empty() {
                continue;
            }
            let before = came_to(&fixture, playbook);
            for mode in [redact::Mode::Default, redact::Mode::Strict] {
                let mut other = fixture.clone();
                redact(&mut other, mode, &text);
                assert_eq!(came_to(&other, load(&path, &other)), before, "{name} {} {mode:?}", file.path.display());
                pairs += 1;
            }
        }
    }
    assert!(pairs > 60, "{pairs}");
}

/// The fixture with another name for its host, wherever a host says its name.
fn called(fixture: &Fixture, name: &str) -> Fixture {
    let mut fixture = fixture.clone();
    for host in &mut fixture.hosts {
        let old = own_name(host);
        for entry in &mut host.entries {
            let Ask::Run { script, .. } = &entry.ask else { continue };
            if !matches!(script.as_str(), "hostname" | "uname -n" | "hostname -s") && !script.contains("hostname get") {
                continue;
            }
            for answer in &mut entry.answers {
                if let Outcome::Ended { stdout, .. } = &mut answer.outcome {
                    *stdout = String::from_utf8_lossy(stdout).replace(&old, name).into_bytes();
                }
            }
        }
        name.clone_into(&mut host.name);
    }
    fixture
}

fn own_name(host: &HostFixture) -> String {
    let said = host.entries.iter().find_map(|entry| match (&entry.ask, &entry.answers.first()?.outcome) {
        (Ask::Run { script, .. }, Outcome::Ended { stdout, .. }) if script == "hostname" => {
            Some(String::from_utf8_lossy(stdout).trim().split('.').next()?.to_owned())
        }
        _ => None,
    });
    said.unwrap_or_else(|| host.name.clone())
}

#[test]
fn a_host_called_by_a_word_of_esxi_keeps_its_commands() {
    let path = root("playbooks/nested-lab.yml");
    let fixture = Fixture::load(&root("fixtures/hosts/esxi-6.5.txt")).unwrap();
    let before = came_to(&fixture, load(&path, &fixture));
    assert!(before.1.is_empty(), "{before:?}");
    for name in [
        "state",
        "net",
        "mem",
        "Net",
        "esx-ui",
        "vmw_ahci",
        "vmw-ahci",
        "vmkusb",
        "boot",
        "setting",
        "module",
        "config",
        "hostname",
        "vib",
        "esx-base",
        "vmk0",
        "imgdb",
        "auto-backup",
        "nested-lab",
        "motd",
        "uservars",
        "tgz",
        "vmx",
        "summary",
        "hostsvc",
        "vmsvc",
        "vim-cmd",
        "ping",
        "cat",
        "stat",
        "name",
    ] {
        for mode in [redact::Mode::Default, redact::Mode::Strict] {
            let mut other = called(&fixture, name);
            let text = load(&path, &other).text();
            redact(&mut other, mode, &text);
            assert_eq!(came_to(&other, load(&path, &other)), before, "{name} {mode:?}");
        }
    }
    // A name that tells whose host it is goes, and the host still does the same.
    let mut other = called(&fixture, "fra-esx07-acme");
    redact(&mut other, redact::Mode::Default, "");
    assert!(!other.to_string().contains("fra-esx07"), "{other}");
}
