//! Each trick, and each way to look at it: the run ends by itself, with the right exit code and a clear error, in
//! bounded memory, and nothing of what the server said steers the terminal.

use crate::child::{Home, Ran};
use crate::raw::{self, Raw};
use crate::server::{self, Trick};

/// Far above what an honest run needs (20 MiB), far below what the servers send: they do not end at all.
const MEMORY: u64 = 400 << 20;

const PLAYBOOK: &str = "name: look\nsteps:\n  - service: {name: ntpd, running: true}\n";

/// Lets the binary meet a server, once for each of the ways to look.
fn meet(port: u16, what: &str, codes: &[i32], word: &str) {
    let home = Home::new();
    let inventory = home.write(
        "hosts.yml",
        &format!(
            "hosts:\n  esx1:\n    address: 127.0.0.1\n    port: {port}\n    password: {{env: ESXPREP_TEST_PASSWORD}}\n    \
             accept_new: true\n    known_hosts: {}\n    connect_timeout: 3\n",
            home.path("known_hosts").display()
        ),
    );
    let playbook = home.write("look.yml", PLAYBOOK);
    let (inventory, playbook) = (inventory.to_str().unwrap(), playbook.to_str().unwrap());
    let log = home.path("debug.log");
    let run = |name: &str, more: &[&str]| {
        let mut args = vec![name];
        if name != "facts" {
            args.extend([playbook, "--command-timeout", "3s", "--agent-timeout", "3s"]);
        }
        args.extend(["-i", inventory]);
        args.extend(more);
        home.run(&args)
    };
    let looks: [(&str, &[&str]); 2] =
        [("facts", &["--log-file", log.to_str().unwrap()]), ("apply", &["--output", "json"])];
    for (name, more) in looks {
        let ran = run(name, more);
        let what = format!("{what}, {name}");
        judge(&ran, &what, codes, word);
        // The host key is on record now: the next run must not stumble over that.
    }
    let logged = std::fs::read_to_string(&log).unwrap();
    assert!(!logged.contains('\x1b'), "{what}: an escape sequence is in the debug log: {logged:?}");
}

#[track_caller]
fn judge(ran: &Ran, what: &str, codes: &[i32], word: &str) {
    assert!(codes.contains(&ran.code), "{what}: {}", ran.all());
    let text = ran.text();
    assert!(text.contains("esx1") && text.contains(word), "{what}: no word of {word:?} in {}", ran.all());
    assert!(!text.contains("panicked"), "{what}: {}", ran.all());
    assert!(text.len() < 64 * 1024, "{what}: {} bytes of report", text.len());
    ran.steers_nothing(what);
    assert!(ran.peak < MEMORY, "{what}: {} MiB", ran.peak >> 20);
    println!("{what}: exit {}, {} MiB at most", ran.code, ran.peak >> 20);
}

#[test]
fn servers_that_misbehave_before_keys_are_exchanged() {
    // The login never succeeded: exit code 4, each with what was seen.
    for (what, word) in [
        (Raw::Silent, "no answer within"),
        (Raw::EndlessLines, "key exchange"),
        (Raw::EndlessLine, "key exchange"),
        (Raw::EndlessNoise, "key exchange"),
        (Raw::HugePacket, "key exchange"),
        (Raw::EndlessIgnore, "key exchange"),
        (Raw::RudeGoodbye, "key exchange"),
        (Raw::RudeAlgorithms, "share no key exchange"),
        (Raw::BrokenAlgorithms, "key exchange"),
        (Raw::HangsUp, "key exchange"),
    ] {
        meet(raw::start(what), &format!("{what:?}"), &[4], word);
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn servers_that_misbehave_at_the_login() {
    let runtime = runtime();
    for (trick, word) in [
        (Trick::RudeBanner, "refused"),
        (Trick::ManyPrompts, "10000 questions"),
        (Trick::RudePrompt, "would show the answer"),
        (Trick::EndlessRounds, "asked 8 times"),
        (Trick::RudeGoodbye, "hung up"),
    ] {
        let port = runtime.block_on(server::start(trick));
        meet(port, &format!("{trick:?}"), &[1, 4], word);
    }
}

#[test]
fn servers_that_misbehave_on_their_channels() {
    let runtime = runtime();
    for (trick, word) in [
        (Trick::NoChannel, "no answer within"),
        (Trick::NoWindow, "said nothing within"),
        (Trick::Mute, "said nothing within"),
        (Trick::KeepaliveOnly, ""),
        (Trick::RudeShell, "did not stay"),
        (Trick::ForgedMarker, "said nothing within"),
        (Trick::CutMarker, "the shell on the host is gone"),
        (Trick::OutOfOrder, "was due"),
        (Trick::RudeAnswers, ""),
    ] {
        let port = runtime.block_on(server::start(trick));
        meet(port, &format!("{trick:?}"), &[1, 4], word);
    }
}

#[test]
fn servers_that_send_without_end() {
    let runtime = runtime();
    for (trick, word) in [
        (Trick::Flood, "16 MiB"),
        (Trick::FloodErrors, "16 MiB"),
        (Trick::RekeyAlways, ""),
        (Trick::EndlessMarkers, "never sent"),
        (Trick::LongAnswers, "32 MiB"),
    ] {
        let port = runtime.block_on(server::start(trick));
        meet(port, &format!("{trick:?}"), &[1, 4], word);
    }
}
