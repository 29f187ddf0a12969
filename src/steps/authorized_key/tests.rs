use super::super::{Artifact, Artifacts};
use super::*;
use crate::esxi::{Output, Outputs, recorded};

const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDEwdkeJMH+wJOQA9ZEfTMpeNxsptGG7ryjsYnqRme3JTZTJwEy4OgSk7beuxhVI7+ZQrvFk9r5wmp1wEDcOA0Mb7oaikEu1nR708cWRSTVhsCqXelZlG7zM8sPqfbhMQMO/RyC6erex4Y2vb3VTvAKZu1maXugnTL5tONcEFjClu1ZclMi+qnAtos4dW/e48oP/OkH7JEPOm2zfx0QQ755nSQMJfsa/3w6rmMSZFNkEd6N8b2jQZzd5TtrFuLXIJseYs4ksR5QZRN+GMKwUIB0yLOSCn0OCSQ7wuJTQnBViwXTYka8ex959jmIYV8Hu98kdu0fO7WrJKNs3f1LmdcR me@rsa";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBOHXtU2+xuHlJPlf8eIW9eqlVijADgx4vm4l2SQ6nVoXs5KKyCl/uDwtXxTQTOpu44j+//07UH8Crt+nAcV1qZQ= me@ecdsa";
const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMBHhJnW8HcubpAx2vQ2VxxILQq4HTM+2DUM4A2x9l5v me@ed25519";
const SMALL: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDr3Zt20prnM4GLun/cYdsT4zmXs9HyOFSUY293mNRwIjCMnEYpp0wwG0Qpr6yGJb8aBTqmBCG28xRSotxjeRjtwIoy3buv8ZHmoTtC3wHxDwRKYQAN+4RWxmT73s5MBmmjKA6POX+MaW/U9mWpsynhsA6DLw9GNzmJrKHBZcXWiw== small";
const LS: &str = include_str!("../../../fixtures/transcripts/7.0/ls-authorized-keys-sticky.txt");

fn run(json: serde_json::Value, version: &str, text: Option<&str>) -> Result<Vec<Change>, StepError> {
    let step = (KIND.parse)(json).unwrap();
    let host = HostFacts::example(version.parse().unwrap());
    let mut outputs = Outputs::default();
    let output = match text {
        Some(text) => Output::ok(format!("{}{text}", recorded(LS))),
        None => Output {
            code: 1,
            stderr: "ls: /etc/ssh/keys-root/authorized_keys: No such file or directory\n".into(),
            ..Output::default()
        },
    };
    outputs.insert(&step.reads(&host)[0], output);
    let mut artifacts = Artifacts::default();
    let a = Artifact { text: Some(format!("# team\n{RSA}\n{ECDSA}\n")), ..Artifact::default() };
    artifacts.insert(Input::File("team.pub".into()), a);
    step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &artifacts })
}

fn uploaded(changes: &[Change]) -> String {
    let Some(Action::Upload { source: Source::Bytes(b), mode: 0o1600, .. }) = changes[0].actions.last() else {
        panic!("{changes:?}")
    };
    String::from_utf8(b.clone()).unwrap()
}

#[test]
fn a_key_is_added_beside_the_others_once() {
    let json = serde_json::json!({"key": ECDSA});
    let c = run(json.clone(), "7.0", Some(&format!("# mine\n{RSA}\n"))).unwrap();
    assert_eq!(uploaded(&c), format!("# mine\n{RSA}\n{ECDSA}\n"));
    assert!(run(json.clone(), "7.0", Some(&uploaded(&c))).unwrap().is_empty());
    // Another comment and options: the same key.
    let other = format!("from=\"10.0.0.0/8, x\" {}\n", ECDSA.replace("me@ecdsa", "someone else"));
    assert!(run(json.clone(), "7.0", Some(&other)).unwrap().is_empty());
    let c = run(json, "8.0", None).unwrap();
    assert!(matches!(&c[0].actions[0], Action::Run(m) if m.text() == "mkdir -p /etc/ssh/keys-root"));
    assert_eq!(uploaded(&c), format!("{ECDSA}\n"));
}

#[test]
fn exclusive_and_absent() {
    let text = format!("{RSA}\n{ED25519}\n");
    let c = run(serde_json::json!({"key": RSA, "exclusive": true}), "8.0", Some(&text)).unwrap();
    assert_eq!(uploaded(&c), format!("{RSA}\n"));
    let c = run(serde_json::json!({"key": ED25519, "state": "absent"}), "8.0", Some(&text)).unwrap();
    assert_eq!(uploaded(&c), format!("{RSA}\n"));
    assert!(run(serde_json::json!({"key": ECDSA, "state": "absent"}), "8.0", None).unwrap().is_empty());
    let c = run(serde_json::json!({"from": "team.pub"}), "8.0", Some(&text)).unwrap();
    assert_eq!(uploaded(&c), format!("{text}{ECDSA}\n"));
}

#[test]
fn the_file_before_comes_back() {
    let text = format!("{RSA}\n\n{ED25519}");
    let c = run(serde_json::json!({"key": RSA, "exclusive": true}), "8.0", Some(&text)).unwrap();
    let undo = c[0].undo.clone().unwrap();
    assert_eq!((undo.kind.as_str(), &undo.args["content"], &undo.args["mode"]), ("file", &text.into(), &"1600".into()));
    let step = (file::KIND.parse)(undo.args).unwrap();
    let mut outputs = Outputs::default();
    let digest = "0".repeat(64);
    let host = HostFacts::example("8.0".parse().unwrap());
    outputs.insert(&step.reads(&host)[0], Output::ok(format!("{}{digest}  x\n", recorded(LS))));
    let back = step.compare(&Seen { host: &host, outputs: &outputs, artifacts: &Artifacts::default() }).unwrap();
    assert_eq!(uploaded(&back), format!("{RSA}\n\n{ED25519}"));
    let c = run(serde_json::json!({"key": ECDSA}), "8.0", None).unwrap();
    assert_eq!(c[0].undo.as_ref().unwrap().args["state"], "absent");
}

#[test]
fn ed25519_is_refused_where_fips_mode_refuses_it() {
    let json = serde_json::json!({"key": ED25519});
    for version in ["7.0.3", "8.0", "8.0.3", "9.0"] {
        let e = run(json.clone(), version, Some("")).unwrap_err().to_string();
        assert!(e.contains("FIPS") && e.contains("ssh-keygen -t ecdsa") && e.contains("allow_ed25519"), "{e}");
        let sure = serde_json::json!({"key": ED25519, "allow_ed25519": true});
        assert_eq!(run(sure, version, Some("")).unwrap().len(), 1);
    }
    for version in ["6.5", "6.7", "7.0"] {
        assert_eq!(run(json.clone(), version, Some("")).unwrap().len(), 1);
    }
    let e = run(serde_json::json!({"key": SMALL}), "8.0", Some("")).unwrap_err().to_string();
    assert!(e.contains("2048") && e.contains("1024"), "{e}");
    assert_eq!(Key::parse(RSA).unwrap().rsa_bits, Some(2048));
}

#[test]
fn the_text_of_a_key_is_checked_here() {
    for (key, part) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("hello", "no known key type"),
        (&RSA[..100], "cut short"),
        (&ECDSA.replace("ecdsa-sha2-nistp256 ", "ssh-rsa "), "the key inside is"),
        ("ssh-rsa", "missing"),
        ("ssh-rsa AA!A", "damaged"),
        ("", "no key"),
    ] {
        let e = (KIND.parse)(serde_json::json!({"key": key})).unwrap_err().to_string();
        assert!(e.contains(part), "{key}: {e}");
    }
    assert!((KIND.parse)(serde_json::json!({"key": RSA, "user": "../x"})).is_err());
    let example: &str = KIND.example.split('"').nth(1).unwrap();
    Key::parse(example).unwrap();
}
