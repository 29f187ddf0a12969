//! `esxprep test`: what it says of a run, of differences, of unknown commands, and how it ends.

use std::path::PathBuf;

use super::common::{Home, Ran, arg};

const PLAYBOOK: &str = "name: Quiet\nsteps:\n  - name: No warning\n    setting: {key: UserVars.SuppressShellWarning, value: 1}\n  - name: Words\n    run: {command: 'echo {{ word }}', changed_when: false}\n";

/// A recorded host that the playbook above changes.
const HOST: &str = "  version: 6.5.0
  build: 5969303
  address: 192.0.2.65:22

$ vmware -vl
: recorded 6.5/vmware-lv-65u1
| VMware ESXi 6.5.0 build-5969303
| VMware ESXi 6.5.0 Update 1

$ uname -a
| VMkernel esx65 6.5.0 #1 SMP Release build-5969303 x86_64 ESXi

$ cat /etc/os-release 2>/dev/null
: exit 1

$ ls -l /bootbank
| lrwxrwxrwx 1 root root 49 Nov 22 08:00 /bootbank -> /vmfs/volumes/f3512b78-bf3b7cad-7894-c76c8646a5b6

$ vmkfstools -P /bootbank
| Partitions spanned (on \"disks\"):
|         naa.600605b008afce501b05352b89f78b69:5

$ vim-cmd hostsvc/hostsummary
|       bootTime = \"2026-11-22T08:00:00Z\",

$ esxcli vm process list

$ echo \"$SSH_CONNECTION\"
| 192.0.2.200 50000 192.0.2.65 22
";

const SETTING: &str = "
$ esxcli system settings advanced list
|    Path: /UserVars/SuppressShellWarning
|    Type: integer
|    Int Value: 0
|    Default Int Value: 0
|    Min Value: 0
|    Max Value: 1
|    String Value: 
|    Default String Value: 
|    Valid Characters: 
|    Description: Do not show warning for enabled local and remote shell access
: in quiet
|    Path: /UserVars/SuppressShellWarning
|    Type: integer
|    Int Value: 1
|    Default Int Value: 0
|    Min Value: 0
|    Max Value: 1
|    String Value: 
|    Default String Value: 
|    Valid Characters: 
|    Description: Do not show warning for enabled local and remote shell access

$ esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1
: -> quiet; 2.5 s
";

struct Trial {
    home: Home,
    playbook: PathBuf,
    fixture: PathBuf,
}

impl Trial {
    fn new() -> Self {
        Self::with(&[("esx65", "")])
    }

    /// Hosts with more lines at their end.
    fn with(hosts: &[(&str, &str)]) -> Self {
        let home = Home::new();
        // What the engine itself sends comes from a recorded host of the project.
        let whole = std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts/esxi-6.5.txt"),
        )
        .unwrap();
        let entry = |begin: &str| {
            let from = whole.find(&format!("\n$ {begin}")).unwrap();
            let to = whole[from + 2..].find("\n\n").unwrap();
            whole[from..from + 2 + to].to_owned() + "\n"
        };
        let engine = entry("ls -d /tmp/.esxprep-") + &entry("old=$(ls -l");
        let mut text = "esxprep fixture 1\n".to_owned();
        for (name, more) in hosts {
            text.push_str(&format!("\nhost {name}\n{HOST}{engine}{SETTING}\n$ echo hello\n| hello\n{more}"));
        }
        Self { playbook: home.write("quiet.yml", PLAYBOOK), fixture: home.write("hosts.txt", &text), home }
    }

    fn run(&self, more: &[&str]) -> Ran {
        let all = [&["test", arg(&self.playbook), "--fixture", arg(&self.fixture), "-e", "word=hello"], more].concat();
        self.home.run(&all)
    }

    fn expected(&self) -> PathBuf {
        self.home.path("expected/quiet/esx65.txt")
    }

    fn expect(&self, text: &str) {
        std::fs::create_dir_all(self.home.path("expected/quiet")).unwrap();
        std::fs::write(self.expected(), text).unwrap();
    }
}

#[test]
fn without_an_expectation_no_step_may_fail_and_it_says_that_nothing_was_compared() {
    let trial = Trial::new();
    let ran = trial.run(&[]).exits(0);
    assert!(ran.stdout.contains("ran ") && ran.stdout.contains("nothing was compared"), "{}", ran.all());
    assert!(ran.stdout.contains("--update"), "{}", ran.all());
    trial.run(&["--strict"]).exits(1);
}

#[test]
fn update_writes_what_happened_and_from_then_on_that_is_expected() {
    let trial = Trial::new();
    let ran = trial.run(&["--update"]).exits(0);
    assert!(ran.stdout.contains("+1 changed setting: No warning"), "{}", ran.all());
    let text = std::fs::read_to_string(trial.expected()).unwrap();
    let set = "    $ esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1\n";
    let steps = format!(
        "1 changed setting: No warning\n    ~ setting UserVars.SuppressShellWarning: 0 → 1\n{set}2 ok run: Words\n    $ echo hello\n"
    );
    assert!(text.starts_with("esxprep expectation 1\nconnected ESXi 6.5.0 build 5969303\n1 changed"), "{text}");
    assert!(text.contains(&steps) && text.ends_with("exit 0\n"), "{text}");
    assert!(!text.contains("? "), "{text}");
    let ran = trial.run(&[]).exits(0);
    assert!(ran.stdout.contains("1 as expected"), "{}", ran.all());
    assert!(trial.run(&["--update"]).exits(0).stdout.contains("unchanged"));
    // The commands that only look, too.
    trial.run(&["--update", "--reads"]).exits(0);
    let text = std::fs::read_to_string(trial.expected()).unwrap();
    assert!(
        text.contains("    ? vmware -vl\n") && text.contains("    ? esxcli system settings advanced list\n"),
        "{text}"
    );
    trial.run(&[]).exits(0);
    trial.expect(&text.replace("? vmware -vl", "? vmware -v"));
    trial.run(&[]).exits(1);
}

#[test]
fn what_differs_is_shown_as_a_diff_and_explained() {
    let trial = Trial::new();
    trial.expect("# By hand.\n...\n1 ok\n2 ok\n    ...\n...\nexit 0\n");
    let ran = trial.run(&[]).exits(1);
    assert!(ran.stdout.contains("DIFFERS"), "{}", ran.all());
    assert!(ran.stdout.contains("step 1 (setting: No warning) is changed, expected ok (line 3)"), "{}", ran.all());
    assert!(ran.stdout.contains("-1 ok") && ran.stdout.contains("+1 changed setting: No warning"), "{}", ran.all());
    // Rewritten where it differs, and nowhere else.
    trial.run(&["--update"]).exits(0);
    let text = std::fs::read_to_string(trial.expected()).unwrap();
    assert!(text.starts_with("# By hand.\n...\n1 changed setting: No warning\n"), "{text}");
    assert!(text.contains("2 ok\n    ...\n...\nexit 0\n"), "{text}");
    trial.run(&[]).exits(0);
}

#[test]
fn expectations_by_hand_may_say_less() {
    let trial = Trial::new();
    for (text, code) in [
        ("compare: statuses\n1 changed\n2 ok\n", 0),
        ("compare: statuses\n1 changed\n2 changed\n", 1),
        ("compare: changes\n1 changed\n    ~ ...: 0 -> 1\n2 ok\n", 0),
        ("compare: changes\n1 changed\n    ~ ...: 0 -> 2\n2 ok\n", 1),
        ("...\n    $ esxcli system settings advanced set ...\n...\n", 0),
        ("...\n    $ esxcli system settings advanced remove ...\n...\n", 1),
        ("...\nexit 1\n", 1),
        ("...\n2 ok\n...\nexit 0\n", 0),
    ] {
        trial.expect(text);
        trial.run(&[]).exits(code);
    }
    let named = trial.home.write("named.txt", "...\nexit 0\n");
    trial.run(&["--expect", arg(&named)]).exits(0);
}

#[test]
fn a_command_that_the_fixture_does_not_know_is_named_with_its_step_and_the_nearest_one() {
    let trial = Trial::new();
    trial.expect("...\n");
    let ran = trial.run(&["-e", "word=hallo"]).exits(1);
    assert!(ran.stdout.contains("NOT KNOWN"), "{}", ran.all());
    for part in ["`echo hallo`", "(in step 2, run)", "`echo hello`", "Record the host again", "write the answer"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.all());
    }
    // Such a run is nothing to write down.
    trial.run(&["-e", "word=hallo", "--update"]).exits(1);
    assert_eq!(std::fs::read_to_string(trial.expected()).unwrap(), "...\n");
}

#[test]
fn json_is_the_events_of_the_run_and_nothing_else() {
    let trial = Trial::new();
    trial.expect("1 ok\n");
    let ran = trial.run(&["--output", "json"]).exits(1);
    let kinds: Vec<String> = ran.events().iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds.first().unwrap(), "run_started");
    assert_eq!(kinds.last().unwrap(), "run_finished");
    assert_eq!(ran.of("step")[0]["status"], "changed");
    // Virtual time: what was recorded to take 2.5 s says so, and did not.
    assert!(ran.of("step")[0]["seconds"].as_f64().unwrap() >= 2.5, "{}", ran.all());
    assert!(ran.stderr.contains("DIFFERS"), "{}", ran.all());
}

#[test]
fn junit_has_a_suite_for_each_playbook_and_host_with_a_case_for_each_step_and_the_diff() {
    let trial = Trial::with(&[("esx65", ""), ("other", "")]);
    trial.expect("1 ok\n");
    let report = trial.home.path("report.xml");
    let ran = trial.run(&["--output", &format!("junit={}", report.display())]).exits(1);
    assert!(ran.stdout.contains("2 cases"), "{}", ran.all());
    let xml = std::fs::read_to_string(&report).unwrap();
    assert!(xml.contains("<testsuites name=\"esxprep test\" tests=\"6\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<testsuite name=\"quiet on esx65\" tests=\"3\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<testsuite name=\"quiet on other\" tests=\"3\" failures=\"0\""), "{xml}");
    assert!(xml.contains("<testcase name=\"001 No warning\" classname=\"quiet.esx65.setting\""), "{xml}");
    assert!(xml.contains("<testcase name=\"as expected\" classname=\"quiet.esx65\""), "{xml}");
    let failure = &xml[xml.find("<failure").unwrap()..xml.find("</failure>").unwrap()];
    assert!(failure.contains("+1 changed setting: No warning") && failure.contains("-1 ok"), "{xml}");
    let page = trial.run(&["--output", "html"]).exits(1).stdout;
    assert!(page.starts_with("<!") && page.contains("No warning"), "{page}");
}

#[test]
fn the_hosts_that_a_recorded_run_began_begin_again() {
    let trial = Trial::with(&[("a", ""), ("b", ""), ("c", "")]);
    let text = std::fs::read_to_string(&trial.fixture).unwrap();
    // `a` failed, and `c` had begun by then; `b` never did.
    let text = text
        .replacen("| hello\n", ": exit 7\n", 1)
        .replace("  version:", "  run: r1\n  options: --forks 1 --max-failures 1\n  version:");
    let (before, after) = text.split_once("\nhost b\n").unwrap();
    std::fs::write(&trial.fixture, format!("{before}\nhost b\n  begun: no\n{after}")).unwrap();
    let begun = |more: &[&str]| {
        let ran = trial.run(&[&["--output", "json"], more].concat()).exits(1);
        let hosts: Vec<String> =
            ran.of("host_connecting").iter().map(|e| e["host"].as_str().unwrap().to_owned()).collect();
        hosts.join(" ")
    };
    assert_eq!(begun(&[]), "a c");
    // What is said here counts more than what happened then.
    assert_eq!(begun(&["--max-failures", "1"]), "a");
    assert_eq!(begun(&["--own-options"]), "a b c");
}

#[test]
fn resumed_steps_of_a_fixture_are_left_out() {
    let trial = Trial::new();
    let text = std::fs::read_to_string(&trial.fixture).unwrap();
    let with = |line: &str| std::fs::write(&trial.fixture, text.replace("  version:", &format!("{line}\n  version:")));
    with("  resumed: [[1,\"No warning\"]]").unwrap();
    let ran = trial.run(&["--output", "json"]).exits(0);
    let steps = ran.of("step");
    assert_eq!((&steps[0]["status"], &steps[1]["status"]), (&"skipped".into(), &"ok".into()), "{}", ran.all());
    assert_eq!(steps[0]["note"], "done by the resumed run");
    assert_eq!(trial.run(&["--output", "json", "--own-options"]).exits(0).of("step")[0]["status"], "changed");
    with("  resumed: 1").unwrap();
    assert!(trial.run(&[]).exits(2).stderr.contains("the line `resumed: 1`"));
}

#[test]
fn check_and_verify_have_expectations_of_their_own() {
    let trial = Trial::new();
    trial.run(&["--check", "--update"]).exits(0);
    trial.run(&["--verify", "--update"]).exits(0);
    for mode in ["check", "verify"] {
        let text = std::fs::read_to_string(trial.home.path(&format!("expected/quiet/esx65.{mode}.txt"))).unwrap();
        assert!(text.contains("1 would_change setting: No warning") && text.ends_with("exit 3\n"), "{text}");
        assert!(!text.contains("advanced set"), "{text}");
        trial.run(&[&format!("--{mode}")]).exits(0);
    }
    assert!(!trial.expected().exists());
}

#[test]
fn tags_and_limits_choose_and_what_is_left_out_is_said() {
    let trial = Trial::with(&[("esx65", ""), ("other", "")]);
    let ran = trial.run(&["--limit", "other"]).exits(0);
    assert!(ran.stdout.contains("left out   quiet with esx65: --limit other"), "{}", ran.all());
    let ran = trial.run(&["--limit", "other", "--tags", "none", "--output", "json"]).exits(0);
    assert!(ran.of("step").iter().all(|s| s["status"] == "skipped"), "{}", ran.all());
    let seven = trial.home.write("seven.yml", &format!("esxi: \"7.0\"\n{PLAYBOOK}"));
    let both = [arg(&trial.playbook), arg(&seven)];
    let ran = trial.home.run(&["test", both[0], both[1], "-f", arg(&trial.fixture), "-e", "word=hello"]).exits(0);
    assert!(ran.stdout.contains("seven with esx65: the playbook is for ESXi 7.0, the host is 6.5.0"), "{}", ran.all());
    let ran = trial.home.run(&["test", both[1], "-f", arg(&trial.fixture), "-e", "word=hello"]).exits(2);
    assert!(ran.stderr.contains("nothing is left to try") && ran.stderr.contains("ESXi 7.0"), "{}", ran.all());
}

#[test]
fn expectations_in_the_fixture_are_compared_and_rewritten_there() {
    let trial = Trial::new();
    let text = std::fs::read_to_string(&trial.fixture).unwrap();
    let section = "\nexpect quiet\n  # Why.\n  ...\n  1 ok\n      ...\n  ...\n\n$ vmware -vl\n";
    std::fs::write(&trial.fixture, text.replace("\n$ vmware -vl\n", section)).unwrap();
    trial.run(&[]).exits(1);
    trial.run(&["--update"]).exits(0);
    let now = std::fs::read_to_string(&trial.fixture).unwrap();
    let wanted = section.replace("1 ok", "1 changed setting: No warning");
    assert_eq!(now, text.replace("\n$ vmware -vl\n", &wanted));
    trial.run(&[]).exits(0);
    assert!(!trial.expected().exists());
}

#[test]
fn what_does_not_validate_is_found_before_anything_is_tried() {
    let trial = Trial::new();
    let two = |args: &[&str], says: &str| {
        let ran = trial.home.run(args).exits(2);
        assert!(ran.stderr.contains(says), "{says:?}: {}", ran.all());
        assert!(ran.stdout.is_empty(), "{}", ran.all());
    };
    let (playbook, fixture) = (arg(&trial.playbook), arg(&trial.fixture));
    two(&["test", playbook], "--fixture");
    two(&["test", playbook, "-f", "nowhere.txt", "-e", "word=x"], "nowhere.txt cannot be read");
    // A variable without a value.
    two(&["test", playbook, "-f", fixture], "word");
    two(&["test", "nowhere.yml", "-f", fixture], "nowhere.yml");
    let broken = trial.home.write("broken.txt", "esxprep fixture 1\nhost a\n$ ls\n:: what\n");
    two(&["test", playbook, "-f", arg(&broken), "-e", "word=x"], "line 4");
    let named = trial.home.write("named.txt", "1 fine\n");
    two(&["test", playbook, "-f", fixture, "-e", "word=x", "--expect", arg(&named)], "line 1");
    two(&["test", playbook, "-f", fixture, "-e", "word=x", "--expect", "nowhere"], "no expectation nowhere");
    two(&["test", playbook, "-f", fixture, "-e", "word=x", "--output", "json,junit"], "standard output");
    two(&["test", playbook, "-f", fixture, "--reads"], "--update");
    two(&["test", playbook, "-f", fixture, "--check", "--verify"], "cannot be used with");
}

#[test]
fn nothing_leaves_this_machine() {
    let trial = Trial::new();
    let mut args: Vec<&str> = vec!["-n", "--", env!("CARGO_BIN_EXE_esxprep")];
    let inner = ["test", arg(&trial.playbook), "--fixture", arg(&trial.fixture), "-e", "word=hello", "--update"];
    args.extend(inner);
    let unshared = std::process::Command::new("unshare").args(["-n", "true"]).status();
    if unshared.is_ok_and(|s| s.success()) {
        // Without any network interface that is up.
        let out =
            std::process::Command::new("unshare").args(&args).env("HOME", trial.home.dir.path()).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    } else {
        trial.home.run(&inner).exits(0);
    }
    trial.run(&[]).exits(0);
    // Nor is anything kept: no journal, no lock, no cache.
    assert!(!trial.home.path("state").exists() && !trial.home.path("cache").exists());
}

#[test]
fn facts_of_recorded_hosts_are_those_of_hosts() {
    let home = Home::new();
    let ran = home.run(&["facts", "--fixture", "fixtures/hosts/facts-traps.txt"]).exits(0);
    assert!(ran.stdout.contains("Release: VMware ESXi 6.5.0 Update 1 (build 5969303)"), "{}", ran.all());
    // Names that look like other things; one of them like the label of the line.
    assert!(ran.stdout.contains("Running VMs: web (old) [1], Display Name: db\n"), "{}", ran.all());
    assert!(
        ran.stdout
            .contains("Hardware: Example Systems Server 1, Intel(R) Xeon(R) CPU E31220 @ 3.10GHz, 4 cores, 31.8 GiB"),
        "{}",
        ran.all()
    );
    let json = home.run(&["facts", "--fixture", "fixtures/hosts", "esxi-6.0", "esxi-8.0", "--json"]).exits(0);
    let facts = json.events();
    assert_eq!(facts.len(), 2);
    assert_eq!((&facts[0]["host"], &facts[0]["build"]), (&"esxi-6.0".into(), &3_073_146.into()));
    assert_eq!((&facts[1]["version"], &facts[1]["persistent"]), (&"8.0.2".into(), &true.into()));
    assert_eq!(facts[0]["hardware"]["memory"], 17_081_536_512_u64);
    // A host that lets nobody in.
    let ran = home.run(&["facts", "--fixture", "fixtures/hosts/errors-permission.txt", "login-closed"]).exits(4);
    assert!(ran.stderr.contains("refused the login"), "{}", ran.all());
    home.run(&["facts", "--fixture", "fixtures/hosts", "nobody"]).exits(2);
    home.run(&["facts", "--fixture", "fixtures/hosts", "--sim", "1"]).exits(2);
}
