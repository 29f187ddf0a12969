//! Words that steer a terminal, in every answer of a host and in every name of a file, through every subcommand and
//! every form of output.

use esxprep::fixture::{Ask, Fixture, Outcome, store};

use crate::child::Home;
use crate::server::RUDE;

/// A recorded host whose every answer, but for what tells that it is ESXi, ends its lines with escape sequences.
fn rude_host(from: &str) -> Fixture {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut fixture = Fixture::load(&root.join(from)).unwrap();
    let mut changed = 0;
    for host in &mut fixture.hosts {
        for entry in &mut host.entries {
            let Ask::Run { script, .. } = &entry.ask else { continue };
            let identity = ["vmware -vl", "uname -a", "/bootbank", "os-release", "SSH_CONNECTION", "hostsummary"];
            if identity.iter().any(|word| script.contains(word)) {
                continue;
            }
            for answer in &mut entry.answers {
                if let Outcome::Ended { stdout, stderr, .. } = &mut answer.outcome {
                    changed += 1;
                    let text = String::from_utf8_lossy(stdout).into_owned();
                    let rude = text.lines().map(|line| format!("{line}{RUDE}\n")).collect::<String>();
                    *stdout = rude.into_bytes();
                    stderr.extend_from_slice(RUDE.as_bytes());
                }
            }
        }
    }
    assert!(changed > 30, "{changed}");
    fixture
}

#[test]
fn nothing_that_a_host_says_steers_the_terminal() {
    let home = Home::new();
    let fixture = home.path("rude.txt");
    let all = rude_host("fixtures/hosts/esxi-8.0.txt");
    store::write(&fixture, &all, "rude").unwrap();
    let fixture = fixture.to_str().unwrap();
    let mut rude = 0;
    for playbook in ["playbooks/nested-lab.yml", "playbooks/host-client.yml", "playbooks/vmotion.yml"] {
        for output in ["human", "json", "junit", "html"] {
            let ran = home.run(&["test", playbook, "--fixture", fixture, "--output", output]);
            let what = format!("test {playbook} {output}");
            assert!((0..=2).contains(&ran.code), "{what}: {}", ran.all());
            ran.steers_nothing(&what);
            rude += usize::from(ran.text().contains("owned"));
        }
    }
    assert!(rude > 0, "nothing that the host said came through at all");
    for more in [&[][..], &["--json"]] {
        let mut args = vec!["facts", "--fixture", fixture];
        args.extend(more);
        let ran = home.run(&args);
        ran.steers_nothing("facts");
    }
    // The log of nothing, and outputs given by hand.
    home.run(&["log"]).steers_nothing("log");
}

#[test]
fn nothing_in_a_pasted_output_steers_the_terminal() {
    let home = Home::new();
    let command = "esxcli software vib list";
    let text = format!(
        "Name      Version  Vendor  Acceptance Level  Install Date\n--------  -------  ------  ----------------  \
         ------------\nesx{RUDE}  8.0  VMware  VMwareCertified  2023-01-01\n"
    );
    for (what, input) in [("parsed", text.as_str()), ("unreadable", RUDE)] {
        let file = home.write("pasted", input);
        for compact in [false, true] {
            let mut run = home.command(&["parse"]);
            if compact {
                run.arg("--compact");
            }
            run.arg("--").arg(command).stdin(std::fs::File::open(&file).unwrap());
            crate::child::watched(run, &mut |_| {}).steers_nothing(what);
        }
    }
}

#[test]
fn nothing_in_a_file_or_an_argument_steers_the_terminal() {
    let home = Home::new();
    // YAML takes most of these only escaped in double quotes; raw they are an error that shows the line.
    let name = format!("rude{RUDE}.yml");
    let quoted = serde_json::Value::from(RUDE).to_string();
    let playbooks = [
        format!("name: {quoted}\nsteps:\n  - {quoted}: 1\n"),
        format!("name: {quoted}\nsteps:\n  - service: {{name: {quoted}, running: maybe{quoted}}}\n"),
        format!(
            "name: {quoted}\nvars: {{x: {quoted}}}\nsteps:\n  - name: {quoted}\n    service: {{name: '{{{{ y }}}}'}}\n"
        ),
        format!("name: {RUDE}\nsteps: []\n"),
        "name: a\u{9b}31m\u{202e}b\nsteps:\n  - nothing\u{85}: \u{2067}\n".to_owned(),
        format!("# {RUDE}\nname: x\n"),
    ];
    let lab = home.write("lab.yml", &format!("lab: {quoted}\nhosts:\n  {quoted}: {{esxi: {quoted}}}\n"));
    for (n, playbook) in playbooks.iter().enumerate() {
        let file = home.write(&name, playbook);
        let file = file.to_str().unwrap();
        for args in [
            vec!["validate", file],
            vec!["validate", file, "-i", file],
            vec!["verify", file, "-i", file],
            vec!["apply", file, "-i", &format!("root@{RUDE}")],
            vec!["apply", file, "--sim", RUDE],
            vec!["test", file, "--fixture", file],
            vec!["apply", file, "--waivers", file, "-i", "root@127.0.0.1"],
            vec!["validate", file, "-e", &format!("a={RUDE}"), "-e", RUDE],
            vec!["lab", "validate", file],
            vec!["lab", "lint-ks", file, "--esxi", "8.0"],
            vec!["bundle", "inspect", file],
            vec!["log", RUDE],
            vec!["harden", "show", RUDE],
            vec!["steps", RUDE],
            vec![RUDE],
        ] {
            let ran = home.run(&args);
            let what = format!("playbook {n}, {args:?}");
            assert!((0..=4).contains(&ran.code), "{what}: {}", ran.all());
            ran.steers_nothing(&what);
        }
    }
    let ran = home.run(&["lab", "plan", lab.to_str().unwrap()]);
    ran.steers_nothing("lab plan");
}

/// Colours are for a terminal; what they paint is as harmless there.
#[test]
fn colours_are_our_own() {
    let home = Home::new();
    let fixture = home.path("rude.txt");
    store::write(&fixture, &rude_host("fixtures/hosts/esxi-8.0.txt"), "rude").unwrap();
    let mut command = home.command(&["test", "playbooks/host-client.yml", "--fixture", fixture.to_str().unwrap()]);
    command.env("CLICOLOR_FORCE", "1");
    let ran = crate::child::watched(command, &mut |_| {});
    let text = String::from_utf8(ran.stdout.clone()).unwrap();
    assert!(text.contains('\x1b'), "no colour at all: {}", ran.all());
    let ours = regex::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    crate::child::harmless(&ours.replace_all(&text, ""), "with colours");
    assert!(!text.contains("\x1b[31mred"), "the host's own colour came through");
}

/// A name from an inventory is no way out of a folder.
#[test]
fn no_name_leaves_its_folder() {
    let home = Home::new();
    let inside = home.path("inside/deep");
    std::fs::create_dir_all(&inside).unwrap();
    let playbook = home.write(
        "judge.yml",
        "name: judge\nbaseline: stig-8.0\nsteps:\n  - id: ESXI-80-000005\n    setting: {key: Security.AccountLockFailures, value: 3}\n",
    );
    // Nobody listens on port 1: the checklist of a host that was not reached is written all the same.
    for name in ["../../x", "/etc/x", "..", "a/../../../x", "\\u0000/x"] {
        let inventory = home.write(
            "hosts.yml",
            &format!(
                "hosts:\n  \"{name}\": {{address: 127.0.0.1, port: 1, connect_timeout: 2, password: x, known_hosts: {}}}\n",
                home.path("kh").display()
            ),
        );
        for form in ["ckl", "cklb", "xccdf"] {
            let output = format!("{form}={}/r-{{host}}.{form}", inside.display());
            let args = ["verify", playbook.to_str().unwrap(), "-i", inventory.to_str().unwrap(), "--output", &output];
            let ran = home.run(&args);
            assert!([2, 4].contains(&ran.code), "{name}: {}", ran.all());
        }
    }
    let names = |folder: &std::path::Path| {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&home.path("inside")), ["deep"]);
    assert!(names(&inside).iter().all(|name| name.starts_with("r-")), "{:?}", names(&inside));
    assert!(names(&inside).len() >= 3, "no checklist was written: {:?}", names(&inside));
    let top = names(home.0.path());
    assert!(!top.iter().any(|name| name.contains('x') && name.contains("ckl")), "{top:?}");
}
