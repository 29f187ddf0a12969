//! Logins and host keys: against OpenSSH's server for keys, agent and known_hosts; against a server of our own for
//! what needs passwords, since it can count every attempt.

#[path = "transport_support/counting.rs"]
mod counting;
mod transport_support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use counting::{Counting, Mode, PASSWORD, password};
use esxprep::transport::target::{Credential, HostKeyCheck};
use esxprep::transport::{Connector, Payload, Target, TransportError};
use secrecy::SecretString;
use transport_support::{Sshd, connector, connector_with, libssh2, one, signal, text};

async fn refused(target: &Target) -> TransportError {
    refused_by(connector().as_ref(), target).await
}

async fn refused_by(connector: &dyn Connector, target: &Target) -> TransportError {
    match connector.connect(target).await {
        Ok(_) => panic!("that login should not have worked"),
        Err(error) => error,
    }
}

async fn works(target: &Target) {
    works_with(connector().as_ref(), target).await;
}

async fn works_with(connector: &dyn Connector, target: &Target) {
    let mut shell = connector.connect(target).await.unwrap();
    assert_eq!(text(&one(&mut shell, "echo in").await.unwrap().stdout), "in\n");
    shell.close().await;
}

#[tokio::test]
async fn passwords_by_every_way_a_server_asks() {
    for (mode, expected) in [
        (Mode::ZeroPrompts, vec!["start", "answers 1", "answers 0"]),
        (Mode::Several, vec!["start", "answers 2"]),
        (Mode::PasswordOnly, vec!["password"]),
        (Mode::Both, vec!["start", "answers 1"]),
    ] {
        let far = Counting::start(mode).await;
        works(&far.target).await;
        assert_eq!(far.attempts(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_given_once() {
    for (mode, expected) in [
        (Mode::ZeroPrompts, vec!["start", "answers 1"]),
        (Mode::Several, vec!["start", "answers 2"]),
        (Mode::PasswordOnly, vec!["password"]),
        (Mode::Both, vec!["start", "answers 1"]),
    ] {
        let mut far = Counting::start(mode).await;
        far.target.credentials = vec![password("wrong one")];
        let error = refused(&far.target).await;
        let TransportError::Refused { host, user, detail } = &error else { panic!("{mode:?}: {error}") };
        assert_eq!((host.as_str(), user.as_str()), ("esx-a", "root"));
        assert!(detail.contains("password") && detail.contains("server would take"), "{detail}");
        assert!(!format!("{error:?}").contains("wrong one"), "the error shows the password");
        assert_eq!(far.attempts(), expected, "{mode:?}");
    }
}

#[tokio::test]
async fn the_server_is_asked_for_nothing_that_its_first_answer_says() {
    // libssh2 does not pass on what a refusal says, so it asks before.
    for (mode, library, expected) in [
        (Mode::ZeroPrompts, "russh", vec!["start", "answers 1", "answers 0"]),
        (Mode::PasswordOnly, "russh", vec!["no keyboard-interactive", "password"]),
        (Mode::PasswordOnly, "libssh2", vec!["password"]),
        (Mode::KeysOnly, "russh", vec!["no keyboard-interactive"]),
    ] {
        if (library == "libssh2") == libssh2() {
            let far = Counting::start(mode).await;
            let _ = connector().connect(&far.target).await;
            assert_eq!(far.requests(), expected, "{mode:?}");
        }
    }
}

#[tokio::test]
async fn a_password_that_was_judged_is_not_given_by_another_method() {
    // After a wrong password this server takes the method off its list, as if it had never known it; the other one
    // it keeps.
    for mode in [Mode::Both, Mode::PasswordOnly, Mode::ZeroPrompts] {
        let mut far = Counting::start(mode).await;
        far.target.credentials = vec![password("wrong one")];
        refused(&far.target).await;
        let judged = far.attempts().iter().filter(|what| *what == "password" || *what == "answers 1").count();
        assert_eq!(judged, 1, "{mode:?}: {:?}", far.attempts());
    }
}

#[tokio::test]
async fn questions_that_are_not_for_a_password_stay_without_it() {
    let far = Counting::start(Mode::Echo).await;
    let error = refused(&far.target).await;
    assert!(matches!(&error, TransportError::Refused { detail, .. } if detail.contains("User name")), "{error}");
    assert_eq!(far.attempts(), ["start"]);
    let far = Counting::start(Mode::SecondFactor).await;
    let error = refused(&far.target).await;
    assert!(
        matches!(&error, TransportError::Refused { detail, .. } if detail.contains("Verification code")),
        "{error}"
    );
    assert_eq!(far.attempts(), ["start", "answers 1"]);
}

#[tokio::test]
async fn what_the_server_does_not_take_is_not_sent() {
    let mut far = Counting::start(Mode::KeysOnly).await;
    let error = refused(&far.target).await;
    assert!(
        matches!(&error, TransportError::Refused { detail, .. } if detail.contains("would take publickey")),
        "{error}"
    );
    assert!(far.attempts().is_empty());
    far.target.credentials.clear();
    let error = refused(&far.target).await;
    assert!(matches!(&error, TransportError::Credential { detail, .. } if detail.contains("publickey")), "{error}");
    let mut far = Counting::start(Mode::PasswordOnly).await;
    let key = Credential::Key { path: far.folder.path().join("mine"), passphrase: None };
    far.target.credentials.insert(0, key);
    works(&far.target).await;
    assert_eq!(far.attempts(), ["password"]);
}

#[tokio::test]
async fn two_proofs_are_given_where_two_are_wanted() {
    let mut far = Counting::start(Mode::KeyThenPassword).await;
    let key = Credential::Key { path: far.folder.path().join("mine"), passphrase: None };
    far.target.credentials = vec![key.clone(), password(PASSWORD)];
    works(&far.target).await;
    assert_eq!(far.attempts(), ["key", "signed", "password"]);
    // One of them alone is not judged wrong: it says that more is wanted, and what.
    far.target.credentials = vec![key.clone()];
    let said = refused(&far.target).await.to_string();
    assert!(said.contains("wants one more proof") && said.contains("would take password"), "{said}");

    let mut far = Counting::start(Mode::PasswordThenKey).await;
    far.target.credentials = vec![password(PASSWORD), key];
    if libssh2() {
        // It does not pass on that the password was right, nor what comes next.
        let said = refused(&far.target).await.to_string();
        assert!(said.contains("password (refused)") && said.contains("transport: russh"), "{said}");
        assert_eq!(far.attempts(), ["password"]);
    } else {
        works(&far.target).await;
        assert_eq!(far.attempts(), ["password", "key", "signed"]);
    }

    // OpenSSH wants two different keys.
    let sshd = Sshd::start("AuthenticationMethods publickey,publickey");
    works(&Target { credentials: vec![sshd.key("ecdsa"), sshd.key("ed25519")], ..sshd.target() }).await;
    let error = refused(&Target { credentials: vec![sshd.key("ecdsa")], ..sshd.target() }).await;
    assert!(matches!(error, TransportError::Refused { .. }), "{error}");
}

#[tokio::test]
async fn a_connection_lost_in_a_login_is_no_wrong_password() {
    let far = Counting::start(Mode::HangsUp).await;
    let error = refused(&far.target).await;
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    assert_eq!(far.attempts(), ["password"]);
}

#[tokio::test]
async fn a_server_without_commands_and_with_a_greeting() {
    let far = Counting::start(Mode::ShellOnly).await;
    let mut shell = connector().connect(&far.target).await.unwrap();
    assert_eq!(text(&one(&mut shell, "echo clean").await.unwrap().stdout), "clean\n");
    let to = far.folder.path().join("file");
    let data: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    shell.upload(&Payload::Bytes(data.clone()), to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap();
    assert_eq!(fs::read(to).unwrap(), data);
}

#[tokio::test]
async fn keys_of_every_kind_and_encrypted_ones() {
    let sshd = Sshd::start("");
    for kind in ["ed25519", "ecdsa", "rsa"] {
        works(&Target { credentials: vec![sshd.key(kind)], ..sshd.target() }).await;
    }
    let encrypted = |passphrase: Option<&str>| Target {
        credentials: vec![Credential::Key {
            path: sshd.path("encrypted"),
            passphrase: passphrase.map(|text| SecretString::from(text.to_owned())),
        }],
        ..sshd.target()
    };
    works(&encrypted(Some("open sesame"))).await;
    for (passphrase, words) in [(None, "no passphrase is given"), (Some("close sesame"), "wrong passphrase")] {
        let error = refused(&encrypted(passphrase)).await;
        assert!(matches!(&error, TransportError::Credential { detail, .. } if detail.contains(words)), "{error}");
        assert!(!format!("{error:?}").contains("close sesame"));
    }
    let error = refused(&Target { credentials: vec![sshd.key("nowhere")], ..sshd.target() }).await;
    assert!(matches!(&error, TransportError::Credential { detail, .. } if detail.contains("nowhere")), "{error}");
    // A credential that cannot be used does not stop the next one.
    works(&Target { credentials: vec![sshd.key("nowhere"), sshd.key("stranger"), sshd.key("rsa")], ..sshd.target() })
        .await;
    let error = refused(&Target { credentials: vec![sshd.key("stranger")], ..sshd.target() }).await;
    assert!(error.to_string().contains(&sshd.fingerprint("stranger")), "{error}");
}

/// An ssh-agent of the test's own.
struct Agent {
    pid: u32,
    socket: String,
}

impl Agent {
    fn start(sshd: &Sshd) -> Self {
        let socket = sshd.path("agent").to_str().unwrap().to_owned();
        let out = Command::new("ssh-agent").args(["-a", &socket, "-s"]).output().unwrap();
        let said = text(&out.stdout);
        let pid = said.split("SSH_AGENT_PID=").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        Self { pid, socket }
    }

    fn add(&self, sshd: &Sshd, name: &str) {
        let added = Command::new("ssh-add").arg("-q").arg(sshd.path(name)).env("SSH_AUTH_SOCK", &self.socket).status();
        assert!(added.unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        signal("TERM", self.pid);
    }
}

#[tokio::test]
async fn the_agent_and_its_limits() {
    let sshd = Sshd::start("");
    let agent = Agent::start(&sshd);
    let connector = connector_with(Some(agent.socket.as_ref()), None);
    let target = Target { credentials: vec![Credential::Agent], ..sshd.target() };
    let error = refused_by(connector.as_ref(), &target).await;
    assert!(matches!(&error, TransportError::Credential { detail, .. } if detail.contains("holds no key")), "{error}");
    agent.add(&sshd, "stranger");
    agent.add(&sshd, "rsa");
    works_with(connector.as_ref(), &target).await;

    // More keys than the server has patience for: stop before it hangs up, and say so.
    for n in 0..8 {
        transport_support::keygen(&sshd.path(&format!("other{n}")), "ed25519", "");
    }
    drop(agent);
    std::thread::sleep(Duration::from_millis(100));
    let _ = fs::remove_file(sshd.path("agent"));
    let agent = Agent::start(&sshd);
    for n in 0..8 {
        agent.add(&sshd, &format!("other{n}"));
    }
    let connector = connector_with(Some(agent.socket.as_ref()), None);
    let error = refused_by(connector.as_ref(), &target).await;
    let TransportError::Refused { detail, .. } = &error else { panic!("{error}") };
    assert!(detail.contains("3 more keys of the agent"), "{detail}");
    assert_eq!(detail.matches("(refused)").count(), 5, "{detail}");
    // A place is kept for the credential after it.
    works_with(
        connector.as_ref(),
        &Target { credentials: vec![Credential::Agent, sshd.key("ecdsa")], ..sshd.target() },
    )
    .await;

    let error = refused_by(connector_with(Some(&sshd.path("no agent")), None).as_ref(), &target).await;
    assert!(matches!(&error, TransportError::Credential { detail, .. } if detail.contains("no SSH agent")), "{error}");

    // A server with less patience says so itself.
    let strict = Sshd::start("MaxAuthTries 2");
    let target = Target { credentials: vec![Credential::Agent], ..strict.target() };
    let error = refused_by(connector.as_ref(), &target).await;
    // libssh2 knows that the server said goodbye, but keeps what it said to itself.
    let said = if libssh2() { "the server hung up while trying agent key" } else { "Too many" };
    assert!(matches!(&error, TransportError::Refused { detail, .. } if detail.contains(said)), "{error}");
}

fn checked(sshd: &Sshd, known_hosts: &str) -> Target {
    let file = sshd.path("known_hosts");
    fs::write(&file, known_hosts).unwrap();
    Target { host_key: HostKeyCheck { pin: None, known_hosts: vec![file], accept_new: false }, ..sshd.target() }
}

#[tokio::test]
async fn host_keys_known_hashed_changed_revoked_and_new() {
    let sshd = Sshd::start("");
    let name = format!("[127.0.0.1]:{}", sshd.port);
    // Whatever single type is on record is asked for, though the server has three.
    for kind in ["host_ed25519", "host_ecdsa", "host_rsa"] {
        works(&checked(&sshd, &format!("{name} {}\n", sshd.public(kind)))).await;
    }
    works(&checked(&sshd, &format!("[127.0.0.*]:*\t{}\n", sshd.public("host_rsa").replace(' ', "\t")))).await;
    let target = checked(&sshd, &format!("{name} {}\n", sshd.public("host_rsa")));
    let file = sshd.path("known_hosts");
    let hashed = Command::new("ssh-keygen").args(["-q", "-H", "-f"]).arg(&file).stderr(Stdio::null()).status().unwrap();
    assert!(hashed.success() && fs::read_to_string(&file).unwrap().starts_with("|1|"));
    works(&target).await;

    let error = refused(&checked(&sshd, &format!("# x\n{name} {}\n", sshd.public("stranger")))).await;
    let TransportError::HostKey { host, detail } = &error else { panic!("{error}") };
    assert_eq!(host, "host1");
    for part in [&sshd.fingerprint("stranger"), &sshd.fingerprint("host_ed25519"), "line 2", "known_hosts"] {
        assert!(detail.contains(part), "{part}: {detail}");
    }
    let mut changed = checked(&sshd, &format!("{name} {}\n", sshd.public("stranger")));
    changed.host_key.accept_new = true;
    assert!(matches!(refused(&changed).await, TransportError::HostKey { .. }));

    let line = sshd.public("host_rsa");
    let error = refused(&checked(&sshd, &format!("{name} {line}\n@revoked * {line}\n"))).await;
    assert!(matches!(&error, TransportError::HostKey { detail, .. } if detail.contains("@revoked")), "{error}");

    let mut new = checked(&sshd, "");
    let error = refused(&new).await;
    assert!(error.to_string().contains("--accept-new") && error.to_string().contains(&sshd.fingerprint("host_ecdsa")));
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    new.host_key.accept_new = true;
    works(&new).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{name} {}\n", sshd.public("host_ecdsa")));
    new.host_key.accept_new = false;
    works(&new).await;
}

#[tokio::test]
async fn pinned_keys_are_found_among_several() {
    let sshd = Sshd::start("");
    let pinned = |pin: String| Target {
        host_key: HostKeyCheck { pin: Some(pin), known_hosts: vec![sshd.path("none")], accept_new: true },
        ..sshd.target()
    };
    for kind in ["host_ed25519", "host_ecdsa", "host_rsa"] {
        works(&pinned(sshd.public(kind))).await;
        works(&pinned(sshd.fingerprint(kind))).await;
    }
    for pin in [sshd.public("stranger"), sshd.fingerprint("stranger")] {
        let error = refused(&pinned(pin)).await;
        let TransportError::HostKey { detail, .. } = &error else { panic!("{error}") };
        assert!(detail.contains(&sshd.fingerprint("stranger")) && detail.contains("is pinned"), "{detail}");
    }
    assert!(!sshd.path("none").exists(), "a pinned key needs no file");
}
