//! `esxprep parse` through the binary: standard input, options, exit codes.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

struct Parsed {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Parsed {
    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

fn parse(args: &[&str], input: &[u8]) -> Parsed {
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("esxprep"))
        .arg("parse")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A child that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input);
    let out = child.wait_with_output().unwrap();
    Parsed {
        code: out.status.code().unwrap(),
        stdout: String::from_utf8(out.stdout).unwrap(),
        stderr: String::from_utf8(out.stderr).unwrap(),
    }
}

const VERSION: &[u8] =
    b"   Product: VMware ESXi\n   Version: 6.7.0\n   Build: Releasebuild-8169922\n   Update: 0\n   Patch: 0\n";

#[test]
fn the_command_is_several_words_or_one() {
    let several = parse(&["--", "esxcli", "system", "version", "get"], VERSION).exits(0);
    let one = parse(&["--", "esxcli system version get"], VERSION).exits(0);
    assert_eq!(several.stdout, one.stdout);
    assert_eq!(several.json()["Build"], "Releasebuild-8169922");
    assert!(several.stdout.starts_with("{\n  \"Product\": \"VMware ESXi\",\n"), "{}", several.stdout);
}

#[test]
fn one_line_and_typed_values() {
    let ran = parse(&["--compact", "--typed", "--", "esxcli system version get"], VERSION).exits(0);
    assert_eq!(ran.stdout.lines().count(), 1);
    assert_eq!(ran.json()["Update"], 0);
    assert_eq!(ran.json()["Version"], "6.7.0");
}

#[test]
fn a_pipe_is_a_word_or_inside_the_one_word() {
    let rows = b"sshServer              true\nsshClient              false\n";
    let expected = json!([{"Name": "sshServer", "Enabled": "true"}, {"Name": "sshClient", "Enabled": "false"}]);
    let words = ["--", "esxcli", "network", "firewall", "ruleset", "list", "|", "grep", "ssh"];
    assert_eq!(parse(&words, rows).exits(0).json(), expected);
    assert_eq!(parse(&["--", "esxcli network firewall ruleset list | grep ssh"], rows).exits(0).json(), expected);
    let sorted = b"-------------  -------\nName           Enabled\nsshServer         true\n";
    let sorted = parse(&["--", "esxcli network firewall ruleset list | sort"], sorted).exits(0).json();
    assert_eq!(sorted, json!([{"Name": "sshServer", "Enabled": "true"}]));
    let unknown = parse(&["--", "esxcli some thing list | grep ssh"], rows).exits(0).json();
    assert_eq!(unknown[0], json!({"_1": "sshServer", "_2": "true"}));
}

#[test]
fn nothing_printed_is_an_empty_answer() {
    assert_eq!(parse(&["--", "esxcli storage nfs list"], b"").exits(0).json(), json!([]));
    assert_eq!(parse(&["--", "esxcli storage nfs list | grep x"], b"\n").exits(0).json(), json!([]));
    assert_eq!(parse(&["--exit", "1", "--", "esxcli storage nfs list | grep x"], b"").exits(0).json(), json!([]));
    assert_eq!(parse(&["--", "esxcli system version get"], b"").exits(0).json(), json!({}));
}

#[test]
fn an_error_of_the_command_is_json_and_exit_3() {
    let ran =
        parse(&["--", "esxcli network nix list"], b"Error: Unknown command or namespace network nix list\n\n").exits(3);
    assert_eq!(
        ran.json(),
        json!({"error": {"class": "unknown_command", "message": "Unknown command or namespace network nix list"}})
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("stderr");
    std::fs::write(&file, "sh: esxcli: not found\n").unwrap();
    let args = ["--exit", "127", "--stderr", file.to_str().unwrap(), "--", "esxcli network nic list"];
    assert_eq!(parse(&args, b"").exits(3).json()["error"]["class"], "program_not_found");
    let silent = parse(&["--exit", "1", "--", "esxcli network nic list"], b"").exits(3).json();
    assert_eq!(silent["error"], json!({"class": "failed", "message": "exit code 1 and no message"}));
}

#[test]
fn what_the_command_does_not_print_is_exit_1_with_the_line() {
    let ran = parse(&["--", "esxcli network nic list"], VERSION).exits(1);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("line 1") && ran.stderr.contains("Product: VMware ESXi"), "{}", ran.stderr);
}

#[test]
fn usage_is_exit_2() {
    let ran = parse(&["--", "kubectl get pods"], b"").exits(2);
    assert!(ran.stderr.contains("not a command that can be read; see --list"), "{}", ran.stderr);
    parse(&[], b"").exits(2);
    let missing = ["--stderr", "/nonexistent/file", "--", "esxcli network nic list"];
    assert!(parse(&missing, b"").exits(2).stderr.contains("/nonexistent/file"));
}

#[test]
fn bytes_that_are_no_text_do_no_harm() {
    let ran =
        parse(&["--", "esxcli system version get"], b"   Product: \xff\xfe\x00\n   Version: 1\n   Build: 2\n").exits(0);
    assert_eq!(ran.json()["Version"], "1");
    assert_ne!(parse(&["--", "esxcli network nic list"], &[0xc3, 0x28, 0x00, 0x9f]).code, 101);
}

#[test]
fn families_are_listed_for_people_and_as_json() {
    let text = parse(&["--list"], b"").exits(0).stdout;
    assert!(text.contains("esxcli network nic list"), "{text}");
    let all = parse(&["--list", "--json"], b"").exits(0).json();
    let all = all.as_array().unwrap();
    assert!(all.len() > 100);
    for family in all {
        for key in ["name", "about", "example"] {
            assert!(family[key].as_str().is_some_and(|t| !t.is_empty()), "{family}");
        }
    }
}
