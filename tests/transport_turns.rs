//! How often the client waits for an answer, counted on the wire, beside the `ssh` program on the same server.

#[path = "transport_support/counting.rs"]
mod counting;
mod transport_support;
#[path = "common/turns.rs"]
mod turns;

use std::net::SocketAddr;
use std::time::Duration;

use counting::{Counting, Mode, password};
use esxprep::sim::{Options, Sim};
use esxprep::transport::Target;
use esxprep::transport::target::HostKeyCheck;
use transport_support::{Sshd, batch, connector_that_waits, text};
use turns::{Proxy, Seen};

/// Each way. What comes within this time of what belongs together counts as together.
const DELAY: Duration = Duration::from_millis(50);

/// A busy machine can only make it look like more turns, so the fewest of a few runs are the true number.
const RUNS: usize = 2;

fn through(server: &Target) -> Proxy {
    Proxy::start(SocketAddr::new(server.address.parse().unwrap(), server.port), DELAY)
}

/// What `ssh host true` costs.
fn ssh_true(sshd: &Sshd) -> Seen {
    let proxy = through(&sshd.target());
    sshd.ssh_true(proxy.address().port());
    proxy.only()
}

/// The turns of a login with one batch, and with another.
#[derive(Debug, Clone, Copy)]
struct Spent {
    first: u64,
    second: u64,
}

async fn two_batches(server: &Target) -> Spent {
    let mut fewest = Spent { first: u64::MAX, second: u64::MAX };
    for _ in 0..RUNS {
        let proxy = through(server);
        let (address, port) = (proxy.address().ip().to_string(), proxy.address().port());
        let target = Target { address, port, ..server.clone() };
        // However busy the machine is, it does not make these commands look slow.
        let connector = connector_that_waits(None, None, Some(Duration::from_secs(600)));
        let mut shell = connector.connect(&target).await.unwrap();
        let said = batch(&mut shell, &["echo who", "uname", "echo $PPID"]).await.unwrap();
        assert_eq!(text(&said[0].stdout), "who\n");
        fewest.first = fewest.first.min(proxy.only().turns);
        let scripts: Vec<String> = (0..60).map(|n| format!("echo {n}")).collect();
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let said = batch(&mut shell, &scripts).await.unwrap();
        assert_eq!(text(&said[59].stdout), "59\n");
        fewest.second = fewest.second.min(proxy.only().turns);
        shell.close().await;
    }
    fewest
}

/// What each side can do, which keys it exchanges, the service, whether this key is good, a signature, a channel, the
/// shell, whose start opens the channel's window, and then the batch. `ssh` asks for a login without a key first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_with_a_key_and_a_batch_cost_no_more_turns_than_ssh_spends_on_true() {
    let sshd = Sshd::start("");
    let theirs = (0..RUNS).map(|_| ssh_true(&sshd).turns).min().unwrap();
    for key in ["ecdsa", "rsa"] {
        let ours = two_batches(&Target { credentials: vec![sshd.key(key)], ..sshd.target() }).await;
        assert!(ours.first <= theirs && ours.second <= theirs + 1, "{key}: {ours:?}, ssh {theirs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_with_a_password_costs_what_the_server_asks_for() {
    for (mode, most) in [
        // The question for a prompt is refused, then the password.
        (Mode::PasswordOnly, 7),
        // The question, the answer.
        (Mode::Both, 7),
        // And an empty round, as from PAM.
        (Mode::ZeroPrompts, 8),
    ] {
        let far = Counting::start(mode).await;
        let ours = two_batches(&far.target).await;
        assert!(ours.first <= most && ours.second <= most + 1, "{mode:?}: {ours:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_simulated_host_is_logged_in_to_with_as_few_turns() {
    let sim = Sim::start(Options::default()).await.unwrap();
    let host = &sim.hosts()[0];
    let folder = tempfile::tempdir().unwrap();
    let mut target = Target::new("esx1", &host.address);
    target.port = host.port;
    target.host_key = HostKeyCheck { accept_new: true, known_hosts: vec![folder.path().join("known")], pin: None };
    target.credentials = vec![password(&host.password)];
    let ours = two_batches(&target).await;
    assert!(ours.first <= 8 && ours.second <= 9, "{ours:?}");
    sim.stop().await;
}
