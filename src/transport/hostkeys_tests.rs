//! known_hosts in all its forms. Hashed lines are made by `ssh-keygen -H`, so they are not our own echo.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

const A: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";

struct Keys {
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn make(&self, name: &str, kind: &str) -> PublicKey {
        let path = self.folder.path().join(name);
        let made = Command::new("ssh-keygen").args(["-q", "-N", "", "-t", kind, "-f"]).arg(&path).status().unwrap();
        assert!(made.success());
        PublicKey::from_openssh(&fs::read_to_string(path.with_extension("pub")).unwrap()).unwrap()
    }

    fn policy(&self, text: &str, address: &str, port: u16, accept_new: bool) -> Policy {
        let file = self.folder.path().join("known_hosts");
        fs::write(&file, text).unwrap();
        let check = HostKeyCheck { pin: None, known_hosts: vec![file], accept_new };
        Policy::new(&check, address, port).unwrap()
    }
}

fn line(key: &PublicKey) -> String {
    key.to_openssh().unwrap().split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[test]
fn plain_patterns_ports_tabs_and_comments() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    for (text, address, port, known) in [
        (format!("esx1 {A}\n"), "esx1", 22, true),
        (format!("esx1 {A}\n"), "ESX1", 22, true),
        (format!("esx1\t{}\n", A.replace(' ', "\t")), "esx1", 22, true),
        (format!("  esx1   {A} a comment # here\n"), "esx1", 22, true),
        (format!("esx1 {A}\n"), "esx1", 2222, false),
        (format!("[esx1]:2222 {A}\n"), "esx1", 2222, true),
        (format!("[esx1]:2222 {A}\n"), "esx1", 22, false),
        (format!("esx1,10.0.0.1 {A}\n"), "10.0.0.1", 22, true),
        (format!("*.lab,!bad.lab {A}\n"), "good.lab", 22, true),
        (format!("*.lab,!bad.lab {A}\n"), "bad.lab", 22, false),
        (format!("!bad.lab,*.lab {A}\n"), "bad.lab", 22, false),
        (format!("esx? {A}\n"), "esx7", 22, true),
        (format!("esx? {A}\n"), "esx77", 22, false),
        (format!("[*.lab]:99 {A}\n"), "x.lab", 99, true),
        (format!("# esx1 {A}\n"), "esx1", 22, false),
        (format!("garbage\nesx1 1024 35 1234\n@nonsense esx1 {A}\nesx1 {A}"), "esx1", 22, true),
    ] {
        let verdict = keys.policy(&text, address, port, false).check(&key);
        assert_eq!(verdict.is_ok(), known, "{text:?} {address}:{port}: {verdict:?}");
    }
}

#[test]
fn hashed_names_match() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    let file = keys.folder.path().join("known_hosts");
    fs::write(&file, format!("esx1 {A}\n[esx2]:2222 {A}\n")).unwrap();
    assert!(Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).status().unwrap().success());
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("|1|") && !text.contains("esx1"));
    for (address, port, known) in [("esx1", 22, true), ("esx2", 2222, true), ("esx2", 22, false), ("esx3", 22, false)] {
        assert_eq!(keys.policy(&text, address, port, false).check(&key).is_ok(), known, "{address}:{port}");
    }
}

#[test]
fn unknown_names_the_fingerprint_and_the_way_out() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    let rejected = keys.policy("", "esx1", 2222, false).check(&key).unwrap_err();
    assert!(rejected.detail.contains(&fingerprint(&key)), "{rejected:?}");
    assert!(rejected.detail.contains("--accept-new") && rejected.detail.contains("[esx1]:2222"));
}

#[test]
fn changed_names_both_file_and_line_and_is_never_accepted() {
    let keys = Keys::new();
    let (old, new, other) = (keys.make("old", "ed25519"), keys.make("new", "ed25519"), keys.make("other", "ecdsa"));
    let policy = keys.policy(&format!("# first\nesx1 {}\n", line(&old)), "esx1", 22, true);
    for shown in [&new, &other] {
        let detail = policy.check(shown).unwrap_err().detail;
        for part in [&fingerprint(&old), &fingerprint(shown), "line 2", "known_hosts", "ssh-keygen -R 'esx1'"] {
            assert!(detail.contains(part), "{part} not in {detail}");
        }
    }
    assert_eq!(policy.check(&old), Ok(Accepted::Known));
    assert_eq!(policy.types(), vec![Algorithm::Ed25519]);
}

#[test]
fn several_keys_of_a_host_are_all_good() {
    let keys = Keys::new();
    let (a, b) = (keys.make("a", "ed25519"), keys.make("b", "ed25519"));
    let policy = keys.policy(&format!("esx1 {}\nesx1 {}\n", line(&a), line(&b)), "esx1", 22, false);
    assert_eq!((policy.check(&a), policy.check(&b)), (Ok(Accepted::Known), Ok(Accepted::Known)));
}

#[test]
fn revoked_wins_over_everything() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    let text = format!("esx1 {A}\n@revoked\t* {A}\n");
    let detail = keys.policy(&text, "esx1", 22, true).check(&key).unwrap_err().detail;
    assert!(detail.contains("@revoked") && detail.contains("line 2"), "{detail}");
    let file = keys.folder.path().join("known_hosts");
    let check = HostKeyCheck { pin: Some(A.to_owned()), known_hosts: vec![file], accept_new: false };
    assert!(Policy::new(&check, "esx1", 22).unwrap().check(&key).is_err());
}

#[test]
fn a_certificate_authority_is_not_a_host_key() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    let policy = keys.policy(&format!("@cert-authority *.lab {A}\n"), "x.lab", 22, false);
    assert!(policy.check(&key).unwrap_err().detail.contains("certificate authority"));
    assert!(policy.types().is_empty());
}

#[test]
fn pins() {
    let keys = Keys::new();
    let (key, other) = (PublicKey::from_openssh(A).unwrap(), keys.make("o", "ecdsa"));
    let none = keys.folder.path().join("none");
    let with = |pin: &str| {
        let check = HostKeyCheck { pin: Some(pin.to_owned()), known_hosts: vec![none.clone()], accept_new: true };
        Policy::new(&check, "esx1", 22)
    };
    for pin in [A.to_owned(), format!("{A} comment"), fingerprint(&key)] {
        let policy = with(&pin).unwrap();
        assert_eq!(policy.check(&key), Ok(Accepted::Known), "{pin}");
        let rejected = policy.check(&other).unwrap_err();
        assert!(rejected.detail.contains(&fingerprint(&key)) && rejected.detail.contains(&fingerprint(&other)));
        assert_eq!(rejected.other_key_may_do, pin.starts_with("SHA256:"));
    }
    assert!(with("MD5:00").unwrap_err().contains("neither"));
}

#[test]
fn a_new_key_is_stored_once_and_privately() {
    let keys = Keys::new();
    let key = keys.make("k", "ecdsa");
    let file = keys.folder.path().join("new/ssh/known_hosts");
    let check = HostKeyCheck { pin: None, known_hosts: vec![file.clone()], accept_new: true };
    let policy = Policy::new(&check, "esx1", 2022).unwrap();
    assert_eq!(policy.check(&key), Ok(Accepted::New));
    policy.store(&key).unwrap();
    policy.store(&key).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("[esx1]:2022 {}\n", line(&key)));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(Policy::new(&check, "esx1", 2022).unwrap().check(&key), Ok(Accepted::Known));
    let found = Command::new("ssh-keygen").args(["-F", "[esx1]:2022", "-f"]).arg(&file).output().unwrap();
    assert!(found.status.success(), "OpenSSH does not find what was stored");
}

#[test]
fn a_missing_last_newline_is_mended() {
    let keys = Keys::new();
    let key = PublicKey::from_openssh(A).unwrap();
    let file = keys.folder.path().join("known_hosts");
    let policy = keys.policy("other ssh-ed25519 AAAA", "esx1", 22, true);
    policy.store(&key).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("other ssh-ed25519 AAAA\nesx1 {A}\n"));
}
