//! Every fault of the simulator through the binary: what esxprep says, and that it converges when it runs again.

use super::common::{Home, Ran, SimHosts, arg};

const SETTING: &str = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";
const MOTD: &str = "steps:\n  - file: {path: /etc/motd.lab, content: \"hello\\n\"}\n";
const REBOOT: &str =
    "steps:\n  - reboot: {when: always, timeout: 60s}\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";

/// One host with faults, and a playbook for it.
struct Broken {
    home: Home,
    sim: SimHosts,
    playbook: String,
    /// The same without its reboots.
    state: String,
}

impl Broken {
    fn start(text: &str, faults: &[&str]) -> Self {
        let home = Home::new();
        let mut more = vec!["--boot-ms", "300", "--hostd-ms", "200"];
        faults.iter().for_each(|fault| more.extend(["--fault", fault]));
        let sim = SimHosts::start(&home, "8.0", 1, &more);
        let playbook = arg(&home.write("p.yml", text)).to_owned();
        let state: Vec<&str> = text.lines().filter(|line| !line.contains("reboot:")).collect();
        let state = arg(&home.write("state.yml", &state.join("\n"))).to_owned();
        Self { home, sim, playbook, state }
    }

    fn apply(&self) -> Ran {
        let ran = self.home.run(&["apply", &self.playbook, "-i", self.sim.inventory(), "--output", "json"]);
        assert!(!ran.stderr.contains("panicked"), "{}", ran.all());
        ran
    }

    /// The run fails with these words, and the next one puts it right.
    #[track_caller]
    fn fails_then_converges(&self, code: i32, words: &[&str]) {
        let ran = self.apply().exits(code);
        for word in words {
            assert!(ran.all().contains(word), "{word:?}: {}", ran.all());
        }
        self.converges();
    }

    /// Runs until it is well: a fault may last a while.
    #[track_caller]
    fn converges_in_time(&self) {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(120);
        loop {
            let ran = self.apply();
            if ran.code == 0 {
                break;
            }
            assert!(std::time::Instant::now() < until, "it does not converge: {}", ran.all());
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        self.converges();
    }

    #[track_caller]
    fn converges(&self) {
        self.apply().exits(0);
        self.home.run(&["verify", &self.state, "-i", self.sim.inventory()]).exits(0);
        let left = self.sim.on_host(&self.home, "ls -1AR /tmp /etc /vmfs/volumes | grep -c esxprep-");
        assert_eq!(left.trim(), "0", "something is left on the host");
    }
}

#[test]
fn a_connection_cut_before_within_and_after_a_change() {
    for (fault, made) in [("cut-before", false), ("cut-within", true), ("cut-after", true)] {
        // The program itself, and not the script that it is in.
        let broken = Broken::start(SETTING, &[&format!("{fault}=^esxcli system settings advanced set")]);
        let ran = broken.apply().exits(1);
        assert!(ran.all().contains("lost") && ran.all().contains("Looked again"), "{fault}: {}", ran.all());
        let again = broken.apply().exits(0);
        let changed = again.of("host_finished")[0]["changed"].as_u64().unwrap();
        assert_eq!(changed, u64::from(!made), "{fault}: {}", again.all());
        broken.converges();
    }
}

#[test]
fn a_connection_cut_by_count_at_the_very_first_thing() {
    for fault in ["cut-before=1", "cut-within=1", "cut-after=1"] {
        let broken = Broken::start(SETTING, &[fault]);
        let ran = broken.apply();
        // Whether the host counts as reached depends on how far the login was.
        assert!(matches!(ran.code, 1 | 4) && ran.all().contains("was lost"), "{fault}: {}", ran.all());
        broken.converges();
    }
}

#[test]
fn a_connection_that_stays_and_says_nothing() {
    let playbook = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n    timeout: 2s\n";
    Broken::start(playbook, &["stall=^esxcli system settings advanced set"]).fails_then_converges(1, &["2 s"]);
}

#[test]
fn a_slow_trickle_noise_before_the_identification_and_a_motd_change_nothing() {
    let faults = ["trickle=0", "noise=Authorised use only", "motd=Welcome, stranger"];
    let broken = Broken::start(SETTING, &faults);
    let ran = broken.apply().exits(0);
    assert!(!ran.all().contains("stranger") && !ran.all().contains("Authorised"), "{}", ran.all());
    broken.converges();
}

#[test]
fn a_refused_login_is_not_tried_again_and_the_next_run_is_let_in() {
    let broken = Broken::start(SETTING, &["refuse-logins=3"]);
    for _ in 0..3 {
        let ran = broken.apply().exits(4);
        assert!(ran.all().contains("refused the login"), "{}", ran.all());
    }
    // Three runs were three attempts: the account would be locked after five.
    broken.converges();
}

#[test]
fn a_full_datastore_and_a_full_tmp_say_so_and_keep_nothing() {
    for (folder, fault) in [("/vmfs/volumes/datastore1", "datastore-size=256K"), ("/tmp", "tmp-size=256K")] {
        let playbook = format!("steps:\n  - file: {{path: {folder}/big.bin, from: big.bin}}\n");
        let broken = Broken::start(&playbook, &[fault]);
        let big = broken.home.path("big.bin");
        std::fs::write(&big, vec![b'x'; 1 << 20]).unwrap();
        let ran = broken.apply().exits(1);
        assert!(ran.all().contains("No space left") || ran.all().contains("File too large"), "{}", ran.all());
        std::fs::write(&big, vec![b'x'; 100_000]).unwrap();
        broken.converges();
    }
}

#[test]
fn an_upload_that_arrives_altered_is_not_put_in_place() {
    let broken = Broken::start(MOTD, &["corrupt-upload"]);
    let ran = broken.apply().exits(1);
    assert!(ran.all().contains("the copy has the sha256sum"), "{}", ran.all());
    assert_eq!(broken.sim.on_host(&broken.home, "ls /etc | grep -c motd.lab").trim(), "0");
    broken.converges();
}

#[test]
fn a_management_agent_that_restarts_in_the_middle() {
    let broken = Broken::start(SETTING, &["hostd-restart=^esxcli system settings advanced set"]);
    let ran = broken.apply();
    assert!(ran.code == 0 || ran.all().contains("Connection failure"), "{}", ran.all());
    broken.converges_in_time();
}

#[test]
fn half_an_output_is_no_output() {
    let broken = Broken::start(SETTING, &["half=^esxcli system settings advanced list"]);
    let ran = broken.apply().exits(1);
    assert!(ran.of("host_finished")[0]["changed"] == 0, "what is not understood changes nothing: {}", ran.all());
    broken.converges();
}

#[test]
fn an_error_text_with_exit_code_0_is_an_error() {
    let playbook = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 1}\n";
    for text in ["Unable to complete Sysinfo operation", "Nothing like an error"] {
        let broken = Broken::start(playbook, &[&format!("pretend=^esxcli system settings advanced set:{text}")]);
        let ran = broken.apply().exits(1);
        assert_eq!(ran.of("step")[0]["status"], "failed", "{}", ran.all());
    }
}

#[test]
fn a_clock_that_jumps_back_does_not_hide_a_reboot() {
    let broken = Broken::start(REBOOT, &["clock-back=86400"]);
    let ran = broken.apply().exits(0);
    assert_eq!(ran.of("host_finished")[0]["reboots"], 1, "{}", ran.all());
}

#[test]
fn a_boot_disk_that_comes_late_is_waited_for_after_a_reboot() {
    let broken = Broken::start(SETTING, &["late-bootbank=600000"]);
    let ran = broken.apply().exits(1);
    assert!(ran.all().contains("/bootbank") && ran.all().contains("forget"), "{}", ran.all());
    let broken = Broken::start(REBOOT, &["late-bootbank=2500"]);
    std::thread::sleep(std::time::Duration::from_millis(3500));
    let ran = broken.apply().exits(0);
    assert!(ran.all().contains("waiting for the boot disk"), "{}", ran.all());
    broken.converges();
}

#[test]
fn a_datastore_that_comes_late() {
    let playbook = "steps:\n  - file: {path: /vmfs/volumes/datastore1/x, content: x}\n";
    let broken = Broken::start(playbook, &["late-datastores=600000"]);
    let ran = broken.apply().exits(1);
    assert!(ran.all().contains("datastore1"), "{}", ran.all());
    Broken::start(playbook, &["late-datastores=700"]).converges_in_time();
}

#[test]
fn another_host_in_place_of_the_one_that_rebooted_is_left_alone() {
    let broken = Broken::start(REBOOT, &["other-host-on-reboot"]);
    let ran = broken.apply().exits(1);
    assert!(ran.all().contains("another machine answers") && ran.all().contains("UUID"), "{}", ran.all());
    assert_eq!(ran.of("host_finished")[0]["changed"], 0, "{}", ran.all());
    broken.converges();

    let broken = Broken::start(REBOOT, &["change-host-key-on-reboot"]);
    let ran = broken.apply().exits(1);
    assert!(ran.all().contains("after the reboot") && ran.all().matches("SHA256:").count() >= 2, "{}", ran.all());
}

#[test]
fn a_login_refused_after_the_reboot_is_not_repeated_and_the_next_run_goes_on() {
    let broken = Broken::start(REBOOT, &["refuse-after-reboot=2"]);
    let ran = broken.apply().exits(1);
    for word in ["after the reboot", "refused the login", "wait a few minutes and run this again", "locked account"] {
        assert!(ran.all().contains(word), "{word:?}: {}", ran.all());
    }
    // One attempt a run: were it two, this one would be let in.
    let ran = broken.apply().exits(4);
    assert!(ran.all().contains("refused the login"), "{}", ran.all());
    broken.converges();
}

#[test]
fn a_password_without_an_answer_after_the_reboot_is_given_twice_at_most() {
    let broken = Broken::start(REBOOT, &["hang-up-after-reboot=3"]);
    let ran = broken.apply().exits(1);
    for word in ["after the reboot", "lost 2 times in a row", "can lock the account", "run this again"] {
        assert!(ran.all().contains(word), "{word:?}: {}", ran.all());
    }
    // The third was left for this one.
    let ran = broken.apply().exits(4);
    assert!(ran.all().contains("no credential was judged wrong"), "{}", ran.all());
    broken.converges();
    // One that is lost on the way is no reason to give up.
    let ran = Broken::start(REBOOT, &["hang-up-after-reboot=1"]).apply().exits(0);
    assert_eq!(ran.of("host_finished")[0]["reboots"], 1, "{}", ran.all());
}

#[test]
fn what_an_earlier_run_could_not_save_is_saved_by_the_next() {
    // With the changes, and once more over another connection.
    let cuts = ["cut-before=^auto-backup", "cut-before=^auto-backup", "power-cut=^esxcli system version get"];
    let broken = Broken::start(SETTING, &cuts);
    broken.apply().exits(1);
    // The change is there; that the host would forget it at its next boot does not show.
    let ran = broken.apply().exits(0);
    assert_eq!(ran.of("host_finished")[0]["changed"], 0, "{}", ran.all());
    let fuse =
        broken.home.write("fuse.yml", "steps:\n  - run: {command: esxcli system version get, read_only: true}\n");
    broken.home.run(&["verify", arg(&fuse), "-i", broken.sim.inventory()]);
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while broken.home.run(&["facts", "-i", broken.sim.inventory()]).code != 0 {
        assert!(std::time::Instant::now() < until, "the host does not come back");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    broken.home.run(&["verify", &broken.playbook, "-i", broken.sim.inventory()]).exits(0);
}
