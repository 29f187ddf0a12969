//! What the commands without a host cost, each beside a floor that does no more than start and read the same bytes:
//! `cargo bench --bench local`. Nothing is asserted; ratios are what to compare.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

mod support;
use support::{Outcome, median, only_builds, ticks_of_children, timed, watched};

/// Rounds of each measurement; the median counts. The first round only warms up.
const ROUNDS: usize = 11;

/// Bytes of the playbook.
const PLAYBOOK: usize = 1024 * 1024;

/// Bytes of the output that is parsed.
const OUTPUT: usize = 5 * 1024 * 1024;

/// A measurement: its name, the floor, and esxprep's arguments; the input, if any, is both's standard input.
struct Case {
    name: &'static str,
    floor: (&'static str, Vec<OsString>),
    arguments: Vec<OsString>,
    input: Option<PathBuf>,
}

impl Case {
    fn command(&self, program: &str, arguments: &[OsString], home: &Path) -> Outcome<Command> {
        let mut command = Command::new(program);
        command.args(arguments).env("HOME", home).env("XDG_STATE_HOME", home).env("XDG_CACHE_HOME", home);
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(match &self.input {
            Some(path) => File::open(path)?.into(),
            None => Stdio::null(),
        });
        Ok(command)
    }

    fn measure(&self, home: &Path) -> Outcome<()> {
        let program = env!("CARGO_BIN_EXE_esxprep");
        let (mut floors, mut ours, mut ratios, mut ticks) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
        for round in 0..=ROUNDS {
            let floor = timed(&mut self.command(self.floor.0, &self.floor.1, home)?)?;
            let before = ticks_of_children();
            let our = timed(&mut self.command(program, &self.arguments, home)?)?;
            if round > 0 {
                floors.push(floor);
                ours.push(our);
                ratios.push(our / floor);
                ticks += ticks_of_children() - before;
            }
        }
        let memory = watched(&mut self.command(program, &self.arguments, home)?)?.memory;
        println!(
            "{:<34} {:>9.2} {:>9.2} {:>9.1} {:>8.0} {memory:>8.1}",
            self.name,
            median(floors) * 1000.0,
            median(ours) * 1000.0,
            median(ratios),
            ticks * 10.0 / ROUNDS as f64
        );
        Ok(())
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The files of a folder with this ending, in order.
fn files(folder: &Path, ending: &str) -> Outcome<Vec<OsString>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            all.push(path.into_os_string());
        }
    }
    all.sort();
    Ok(all)
}

/// Different steps, as many as fit.
fn playbook() -> String {
    let mut text = String::from("name: Long\nsteps:\n");
    let mut number = 0;
    while text.len() < PLAYBOOK {
        number += 1;
        let _ = writeln!(text, "  - name: Port group {number}");
        let _ = writeln!(text, "    portgroup: {{name: PG {number}, vswitch: vSwitch0, vlan: {}}}", number % 4094);
    }
    text
}

/// A recorded block of `esxcli system settings advanced list` again and again, as a host with many options prints it.
fn output() -> String {
    let recorded = include_str!("../fixtures/transcripts/6.0/settings-advanced-list-usehwtso.txt");
    // Its header says where it comes from; an empty line ends it.
    let (_, block) = recorded.split_once("\n\n").unwrap_or_default();
    let mut text = String::new();
    while text.len() < OUTPUT {
        text.push_str(block.trim_end());
        text.push_str("\n\n");
    }
    text
}

fn main() -> Outcome<()> {
    if only_builds() {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let home = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (long, printed) = (home.join("long.yml"), home.join("printed.txt"));
    std::fs::write(&long, playbook())?;
    std::fs::write(&printed, output())?;
    let playbooks = files(&root.join("playbooks"), "yml")?;
    let hosts = root.join("fixtures/hosts");
    let mut test = words(&["test", "--fixture"]);
    test.push(hosts.clone().into());
    test.extend(playbooks.iter().cloned());
    let cases = [
        Case { name: "--version", floor: ("/bin/true", Vec::new()), arguments: words(&["--version"]), input: None },
        Case {
            name: "test, all playbooks and hosts",
            floor: ("cat", [playbooks, files(&hosts, "txt")?].concat()),
            arguments: test,
            input: None,
        },
        Case {
            name: "validate, playbook of 1 MiB",
            floor: ("cat", vec![long.clone().into()]),
            arguments: vec!["validate".into(), long.into()],
            input: None,
        },
        Case {
            name: "parse, output of 5 MiB",
            floor: ("cat", Vec::new()),
            arguments: words(&["parse", "--", "esxcli system settings advanced list"]),
            input: Some(printed),
        },
    ];
    println!(
        "medians of {ROUNDS} pairs{:>24} {:>9} {:>9} {:>8} {:>8}",
        "floor ms", "esxprep", "ratio", "CPU ms", "MiB"
    );
    for case in cases {
        case.measure(home)?;
    }
    Ok(())
}
