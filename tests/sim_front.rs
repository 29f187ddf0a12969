//! The front of `esxprep sim`: announces hosts, writes an inventory only its owner can read, and ends on SIGTERM.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use esxprep::sim::{Options, front};

#[tokio::test(flavor = "multi_thread")]
async fn runs_until_terminated_and_writes_an_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("inventory.yml");
    let options = Options { hosts: 2, ..Options::default() };
    let running = tokio::spawn(front::run(options, Some(path.clone())));
    let end = Instant::now() + Duration::from_secs(20);
    let inventory: serde_json::Value = loop {
        assert!(Instant::now() < end && !running.is_finished(), "no inventory");
        // A file that is still being written does not parse, or lacks the last host.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match serde_saphyr::from_str::<serde_json::Value>(&text) {
            Ok(value) if value["hosts"]["esx2"]["host_key"].is_string() => break value,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let port = inventory["hosts"]["esx1"]["port"].as_u64().unwrap() as u16;
    tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM).unwrap();
    running.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err(), "still there after the end");
}
