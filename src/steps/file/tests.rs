use super::super::{Artifact, Artifacts};
use super::*;
use crate::esxi::{Outputs, Version, recorded};

const LS: &str = include_str!("../../../fixtures/transcripts/7.0/ls-authorized-keys-sticky.txt");
/// SHA-256 of `hello\n`.
const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn run(json: serde_json::Value, output: Output) -> Result<Vec<Change>, StepError> {
    let step = (KIND.parse)(json).unwrap();
    let host = HostFacts::example(Version::new(7, 0));
    let mut outputs = Outputs::default();
    outputs.insert(&step.reads(&host)[0], output);
    let mut artifacts = Artifacts::default();
    let a = Artifact { path: "/book/hello".into(), sha256: HELLO.into(), size: 6, ..Artifact::default() };
    artifacts.insert(Input::File("hello".into()), a);
    step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &artifacts })
}

fn there(mode: &str, sha: &str) -> Output {
    Output::ok(format!("{mode}    1 root     root             6 Jan 18 11:50 /etc/motd\n{sha}  /etc/motd\n"))
}

fn missing() -> Output {
    Output { code: 1, stderr: "ls: /etc/motd: No such file or directory\n".into(), ..Output::default() }
}

#[test]
fn modes_are_read_from_a_recorded_line() {
    assert_eq!(listed(&recorded(LS)), Some(Listed { kind: '-', mode: 0o1600 }));
    assert_eq!(listed("drwxr-xr-t    1 root"), Some(Listed { kind: 'd', mode: 0o1755 }));
    assert_eq!(listed("-rwsr-xr-x 1"), Some(Listed { kind: '-', mode: 0o4755 }));
    assert_eq!(listed("total 0"), None);
}

#[test]
fn below_etc_the_sticky_bit_is_part_of_the_mode() {
    let json = serde_json::json!({"path": "/etc/motd", "content": "hello\n"});
    assert!(run(json.clone(), there("-rw-r--r-T", HELLO)).unwrap().is_empty());
    let c = run(json.clone(), there("-rw-r--r--", HELLO)).unwrap();
    let Action::Run(command) = &c[0].actions[0] else { panic!() };
    assert_eq!(command.text(), "chmod 1644 /etc/motd");
    assert!(c[0].summary.contains("saved") && !c[0].effect.transient);
    let off = serde_json::json!({"path": "/etc/motd", "content": "hello\n", "persist": false});
    assert!(run(off, there("-rw-r--r--", HELLO)).unwrap().is_empty());
}

#[test]
fn other_contents_are_uploaded() {
    for json in [
        serde_json::json!({"path": "/etc/motd", "content": "hello\n"}),
        serde_json::json!({"path": "/etc/motd", "from": "hello"}),
    ] {
        let c = run(json.clone(), there("-rw-r-----", &"0".repeat(64))).unwrap();
        let [Action::Upload { path, mode, .. }] = &c[0].actions[..] else { panic!("{c:?}") };
        assert_eq!((path.as_str(), *mode), ("/etc/motd", 0o1640));
        let c = run(json, missing()).unwrap();
        let [Action::Run(mkdir), Action::Upload { mode, .. }] = &c[0].actions[..] else { panic!("{c:?}") };
        assert_eq!((mkdir.text(), *mode), ("mkdir -p /etc", 0o1644));
        assert_eq!(c[0].before, "absent");
    }
}

#[test]
fn absent_and_what_is_no_file() {
    let json = serde_json::json!({"path": "/etc/motd", "state": "absent"});
    assert!(run(json.clone(), missing()).unwrap().is_empty());
    let c = run(json.clone(), there("-rw-r--r--", HELLO)).unwrap();
    let Action::Run(command) = &c[0].actions[0] else { panic!() };
    assert_eq!(command.text(), "rm -f /etc/motd");
    let link = Output::ok("lrwxrwxrwx    1 root root 12 Jan 18 11:50 /etc/motd -> /tmp/motd\n");
    assert!(run(json.clone(), link).unwrap_err().to_string().contains("/tmp/motd"));
    let denied = Output { code: 1, stderr: "ls: /etc/motd: Permission denied\n".into(), ..Output::default() };
    assert!(run(json, denied).unwrap_err().to_string().contains("Permission denied"));
    let mode = serde_json::json!({"path": "/etc/motd", "mode": "0600"});
    assert!(run(mode, missing()).is_err());
}

#[test]
fn traps_are_refused_with_a_reason() {
    for (json, part) in [
        (serde_json::json!({"path": "/etc/x", "content": "", "mode": 644}), "quotes"),
        (serde_json::json!({"path": "/etc/x", "content": "", "mode": "0999"}), "octal"),
        (serde_json::json!({"path": "etc/x", "content": ""}), "absolute"),
        (serde_json::json!({"path": "/etc/../x", "content": ""}), ".."),
        (serde_json::json!({"path": "/tmp/x", "content": "", "persist": true}), "cannot survive"),
        (serde_json::json!({"path": "/tmp/x", "content": "", "from": "y"}), "not both"),
        (serde_json::json!({"path": "/tmp/x"}), "say what"),
    ] {
        let e = (KIND.parse)(json.clone()).unwrap_err().to_string();
        assert!(e.contains(part), "{json}: {e}");
    }
    assert!((KIND.parse)(serde_json::json!({"path": "/vmfs/volumes/ds/x", "content": "", "persist": true})).is_ok());
}

/// A file's line and its text.
fn with_text(mode: &str, text: &str) -> Output {
    Output::ok(format!("{mode}    1 root     root             6 Jan 18 11:50 /etc/vmware/config\n{text}"))
}

const CONFIG: &str =
    "libdir = \"/usr/lib/vmware\"\nvmx.log.keepOld = \"10\"\n# vmx.log is fine here\n\n vmx.log = x\nvmx.logs";

#[test]
fn lines_are_taken_out_and_come_back() {
    let json = serde_json::json!({"path": "/etc/vmware/config", "without_lines": "^vmx\\.log"});
    let step = (KIND.parse)(json.clone()).unwrap();
    let reads = step.reads(&HostFacts::example(Version::new(8, 0)));
    assert_eq!(reads[0].text(), "ls -ld /etc/vmware/config && cat /etc/vmware/config");
    let c = run(json.clone(), with_text("-rw-r--r-T", CONFIG)).unwrap();
    let [Action::Upload { source: Source::Bytes(bytes), mode, .. }] = &c[0].actions[..] else { panic!("{c:?}") };
    let kept = "libdir = \"/usr/lib/vmware\"\n# vmx.log is fine here\n\n vmx.log = x\n";
    assert_eq!((std::str::from_utf8(bytes).unwrap(), *mode), (kept, 0o1644));
    assert!(run(json.clone(), with_text("-rw-r--r-T", kept)).unwrap().is_empty());
    // What is right needs no other mode; nor does a file that is not there.
    assert!(run(json.clone(), with_text("-rw-r--r--", kept)).unwrap().is_empty());
    assert!(run(json.clone(), with_text("-rw-r--r-T", "")).unwrap().is_empty());
    assert!(run(json.clone(), missing()).unwrap().is_empty());
    assert!(
        run(json.clone(), with_text("-rw-r--r-T", "vmx.log\u{fffd}\nx\n")).unwrap_err().to_string().contains("UTF-8")
    );
    let undo = c[0].undo.clone().unwrap();
    let other = there("-rw-r--r-T", &"0".repeat(64));
    let back = run(undo.args, other).unwrap();
    let [Action::Upload { source: Source::Bytes(bytes), mode, .. }] = &back[0].actions[..] else { panic!("{back:?}") };
    assert_eq!((std::str::from_utf8(bytes).unwrap(), *mode), (CONFIG, 0o1644));
}

#[test]
fn a_file_that_must_be_empty() {
    let json = serde_json::json!({"path": "/etc/vmware/settings", "contents": ""});
    assert!(run(json.clone(), with_text("-rw-r--r-T", "")).unwrap().is_empty());
    assert!(run(json.clone(), with_text("-rw-r--r--", "")).unwrap().is_empty());
    let c = run(json.clone(), with_text("-rw-r--r--", "a = \"b\"\n")).unwrap();
    let texts: Vec<&str> =
        c[0].actions.iter().map(|a| if let Action::Run(c) = a { c.text() } else { panic!() }).collect();
    assert_eq!(texts, ["echo -n > /etc/vmware/settings", "chmod 1644 /etc/vmware/settings"]);
    // The mode before comes back with the text, sticky bit and all.
    assert_eq!(
        c[0].undo.as_ref().unwrap().args,
        serde_json::json!({"path": "/etc/vmware/settings", "content": "a = \"b\"\n", "mode": "0644", "persist": false})
    );
    let back = run(c[0].undo.clone().unwrap().args, there("-rw-r--r-T", &"0".repeat(64))).unwrap();
    let [Action::Upload { mode: 0o644, .. }] = &back[0].actions[..] else { panic!("{back:?}") };
    let secret = serde_json::json!({"path": "/etc/shadow", "content": ""});
    assert!(run(secret, with_text("-rw-------", "root:x\n")).unwrap()[0].undo.is_none());
    let keys = serde_json::json!({"path": "/etc/ssh/keys-root/authorized_keys", "without_lines": "^"});
    assert!((KIND.parse)(keys.clone()).unwrap().ends_ssh());
    assert!(
        run(keys.clone(), missing()).unwrap().is_empty()
            && run(keys.clone(), with_text("-rw------T", "")).unwrap().is_empty()
    );
    let c = run(keys, with_text("-rw------T", "ssh-rsa A\n\n")).unwrap();
    assert_eq!(c[0].actions.len(), 1);
    // A new one is taken away again.
    let c = run(json, missing()).unwrap();
    assert_eq!(
        c[0].undo.as_ref().unwrap().args,
        serde_json::json!({"path": "/etc/vmware/settings", "state": "absent"})
    );
}

#[test]
fn a_line_that_must_be_there_is_for_a_person() {
    let json = serde_json::json!({"path": "/etc/pam.d/passwd", "contains": "^password\\s+sufficient\\s.*\\bsha512\\b"});
    let right = "#%PAM-1.0\npassword   sufficient   /lib/security/$ISA/pam_unix.so use_authtok nullok shadow sha512 remember=5\n";
    assert!(run(json.clone(), with_text("-rw-r--r-T", right)).unwrap().is_empty());
    for wrong in [with_text("-rw-r--r-T", &right.replace("sha512", "md5")), missing()] {
        let c = run(json.clone(), wrong).unwrap();
        assert!(c[0].by_hand.is_some() && c[0].actions.is_empty());
    }
    for bad in [
        serde_json::json!({"path": "/etc/x", "contains": "a", "content": "b"}),
        serde_json::json!({"path": "/etc/x", "contains": "a", "without_lines": "b"}),
        serde_json::json!({"path": "/etc/x", "without_lines": "("}),
    ] {
        assert!((KIND.parse)(bad).is_err());
    }
}

#[test]
fn a_mode_comes_back_exactly() {
    let json = serde_json::json!({"path": "/etc/motd", "mode": "0600"});
    let c = run(json, there("-rw-r--r--", HELLO)).unwrap();
    let back = run(c[0].undo.clone().unwrap().args, there("-rw------T", HELLO)).unwrap();
    let Action::Run(command) = &back[0].actions[0] else { panic!() };
    assert_eq!(command.text(), "chmod 0644 /etc/motd");
}
