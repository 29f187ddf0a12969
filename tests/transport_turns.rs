//! How often the client waits for an answer, counted on the wire, beside the `ssh` program on the same server.

#[path = "common/turns.rs"]
mod turns;

mod transport_support;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use esxprep::transport::Target;
use transport_support::{Sshd, batch, connector_that_waits, text};
use turns::{Proxy, Seen};

/// Each way. What comes within this time of what belongs together counts as together.
const DELAY: Duration = Duration::from_millis(50);

/// A busy machine can only make it look like more turns, so the fewest of a few runs are the true number.
const RUNS: usize = 3;

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// What `ssh host true` costs.
fn ssh_true(sshd: &Sshd) -> Seen {
    let proxy = Proxy::start(address(sshd.port), DELAY);
    let status = Command::new("ssh")
        .args(["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
        .args(["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-T"])
        .arg("-i")
        .arg(sshd.path("ecdsa"))
        .args(["-p", &proxy.address().port().to_string()])
        .arg(format!("{}@127.0.0.1", transport_support::user()))
        .arg("true")
        .env_remove("SSH_AUTH_SOCK")
        .stdin(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    proxy.only()
}

/// What a login and two batches cost, one after the other.
async fn two_batches(server: u16, target: Target) -> Seen {
    let proxy = Proxy::start(address(server), DELAY);
    let mut shell = connector_that_waits(None, None, Some(Duration::from_secs(600)))
        .connect(&Target { port: proxy.address().port(), ..target })
        .await
        .unwrap();
    let said = batch(&mut shell, &["echo who", "uname", "echo $PPID"]).await.unwrap();
    assert_eq!(text(&said[0].stdout), "who\n");
    let scripts: Vec<String> = (0..60).map(|n| format!("echo {n}")).collect();
    let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let said = batch(&mut shell, &scripts).await.unwrap();
    assert_eq!(text(&said[59].stdout), "59\n");
    let seen = proxy.only();
    shell.close().await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_with_a_key_and_two_batches_cost_no_more_turns_than_ssh_spends_on_true() {
    let sshd = Sshd::start("");
    let mut theirs = u64::MAX;
    let mut ours = u64::MAX;
    for _ in 0..RUNS {
        theirs = theirs.min(ssh_true(&sshd).turns);
        ours = ours.min(two_batches(sshd.port, sshd.target()).await.turns);
    }
    assert!(ours <= theirs, "{ours} turns, ssh {theirs}");
    println!("{ours} {theirs}");
}
