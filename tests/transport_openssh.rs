//! The transport against OpenSSH's own server: the shell, its limits, its losses, uploads.

mod transport_support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use esxprep::transport::target::{Algorithms, HostKeyCheck};
use esxprep::transport::{Connector, Payload, Request, Target, TransportError};
use transport_support::{
    Sshd, batch, connector, connector_that_waits, connector_with, libssh2, one, request, signal, text,
};

/// `connect`, where an error is expected.
async fn refused(target: &Target) -> TransportError {
    match connector().connect(target).await {
        Ok(_) => panic!("that login should not have worked"),
        Err(error) => error,
    }
}

fn with(mut request: Request, change: impl FnOnce(&mut Request)) -> Request {
    change(&mut request);
    request
}

fn within(request: Request, timeout: Duration) -> Request {
    with(request, |asked| asked.timeout = timeout)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_order_with_both_streams_and_codes() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    assert_eq!(shell.cost().commands, 0);
    let reply = one(&mut shell, "printf out; printf err >&2; exit 3").await.unwrap();
    assert_eq!((text(&reply.stdout), text(&reply.stderr), reply.code), ("out".into(), "err".into(), 3));
    let scripts: Vec<String> =
        (0..60).map(|n| format!("sleep 0.0{}; echo {n}; echo e{n} >&2; exit {n}", n % 7)).collect();
    let requests: Vec<Request> = scripts.iter().map(|script| request(script)).collect();
    let mut ended = Vec::new();
    let replies = shell.batch(&requests, &mut |index| ended.push(index)).await.unwrap();
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!((text(&reply.stdout), text(&reply.stderr)), (format!("{n}\n"), format!("e{n}\n")));
        assert_eq!(reply.code, i32::try_from(n).unwrap());
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..60).collect::<Vec<_>>());
    assert_eq!((shell.cost().commands, shell.cost().round_trips), (61, 2));
    assert!(shell.batch(&[], &mut |_| {}).await.unwrap().is_empty());
    shell.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_take_no_time_stay_on_one_channel() {
    let sshd = Sshd::start("");
    let mut shell = patient().connect(&sshd.target()).await.unwrap();
    let said = batch(&mut shell, &vec!["echo $$"; 60]).await.unwrap();
    let shells: std::collections::BTreeSet<String> = said.iter().map(|reply| text(&reply.stdout)).collect();
    assert_eq!(shells.len(), 1);
}

/// Each of these commands holds the shell until another one has run: on one channel they would never end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_behind_a_slow_command_is_taken_over_and_counted_once() {
    let sshd = Sshd::start("");
    let mut shell = impatient().connect(&sshd.target()).await.unwrap();
    let mark = |n: usize| sshd.path(&format!("ran-{n}")).display().to_string();
    let scripts: Vec<String> = (0..8)
        .map(|n| match n {
            0 => format!("while ! [ -e {} ]; do sleep 0.05; done; echo 0", mark(7)),
            _ => format!("echo x >>{}; echo {n}", mark(n)),
        })
        .collect();
    let requests: Vec<Request> = scripts.iter().map(|script| request(script)).collect();
    let mut ended = Vec::new();
    let replies = shell.batch(&requests, &mut |index| ended.push(index)).await.unwrap();
    let said: Vec<String> = replies.iter().map(|reply| text(&reply.stdout)).collect();
    assert_eq!(said, (0..8).map(|n| format!("{n}\n")).collect::<Vec<_>>());
    ended.sort_unstable();
    assert_eq!(ended, (0..8).collect::<Vec<_>>());
    assert_eq!((shell.cost().commands, shell.cost().round_trips), (8, 1));
    assert_eq!(text(&one(&mut shell, "echo on").await.unwrap().stdout), "on\n");
}

/// A change is not taken over, and runs once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_waits_behind_a_slow_command_runs_once() {
    let sshd = Sshd::start("");
    let mut shell = impatient().connect(&sshd.target()).await.unwrap();
    let mark = sshd.path("changed").display().to_string();
    let mut requests: Vec<Request> = (0..8).map(|n| request(&format!("echo {n}; echo x >>{mark}"))).collect();
    for request in &mut requests {
        request.changes = true;
    }
    requests[0].script = format!("sleep 1; echo x >>{mark}");
    shell.batch(&requests, &mut |_| {}).await.unwrap();
    // All have ended, and so has whatever might have run one twice.
    shell.close().await;
    assert_eq!(fs::read_to_string(&mark).unwrap(), "x\n".repeat(8));
}

/// The transport under test, for which nothing is slow, or everything.
fn patient() -> Box<dyn Connector> {
    connector_that_waits(None, None, Some(Duration::from_secs(600)))
}

fn impatient() -> Box<dyn Connector> {
    connector_that_waits(None, None, Some(Duration::from_millis(1)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_commands_share_the_channels() {
    let sshd = Sshd::start("");
    let mut shell = impatient().connect(&sshd.target()).await.unwrap();
    // Each waits until two shells have been here. At first it is not known that they are slow, then it is.
    for turn in ["a", "b"] {
        let seen = sshd.path(turn).display().to_string();
        let script = format!("echo $$ >>{seen}; while [ $(sort -u {seen} | wc -l) -lt 2 ]; do sleep 0.1; done");
        batch(&mut shell, &vec![script.as_str(); 8]).await.unwrap();
    }
    // One or two commands stay on one channel.
    let replies = batch(&mut shell, &["echo $PPID $$", "echo $PPID $$"]).await.unwrap();
    assert_eq!(replies[0].stdout, replies[1].stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn max_sessions_1_does_everything_on_one_channel() {
    let sshd = Sshd::start("MaxSessions 1\nSubsystem sftp /bin/false");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    for _ in 0..2 {
        let scripts: Vec<String> = (0..20).map(|n| format!("echo {n} $$")).collect();
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        let replies = batch(&mut shell, &scripts).await.unwrap();
        let shells: std::collections::BTreeSet<String> =
            replies.iter().map(|reply| text(&reply.stdout).split(' ').nth(1).unwrap().to_owned()).collect();
        assert_eq!(shells.len(), 1);
    }
    let file = sshd.path("uploaded");
    let data: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    shell.upload(&Payload::Bytes(data.clone()), file.to_str().unwrap(), 0o640, &mut |_| {}).await.unwrap();
    assert_eq!(fs::read(&file).unwrap(), data);
    assert_eq!(text(&one(&mut shell, "echo back").await.unwrap().stdout), "back\n");
    // Giving the one channel up for an upload and taking it back costs no fixed waiting: not 600 ms more than where
    // there is room for both. The quickest of several, since the machine may be busy.
    let roomy = Sshd::start("");
    let mut beside = connector().connect(&roomy.target()).await.unwrap();
    let [mut one_channel, mut two_channels] = [Duration::MAX; 2];
    for n in 0..8 {
        for (shell, sshd, quickest) in [(&mut shell, &sshd, &mut one_channel), (&mut beside, &roomy, &mut two_channels)]
        {
            let (data, to) = (Payload::Bytes(vec![n]), sshd.path("uploaded"));
            let started = Instant::now();
            shell.upload(&data, to.to_str().unwrap(), 0o640, &mut |_| {}).await.unwrap();
            assert_eq!(one(shell, "true").await.unwrap().code, 0);
            *quickest = started.elapsed().min(*quickest);
        }
    }
    assert!(one_channel < two_channels + Duration::from_millis(600), "{one_channel:?}, {two_channels:?}");
    // A command past its limit: its channel is given up, and there is room for another.
    let slow = within(request("sleep 100"), Duration::from_millis(300));
    let error = shell.batch(&[slow], &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, TransportError::TimedOut { .. }), "{error}");
    assert_eq!(text(&one(&mut shell, "echo again").await.unwrap().stdout), "again\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_slow_command_does_not_stop_the_others() {
    let sshd = Sshd::start("");
    let mut shell = impatient().connect(&sshd.target()).await.unwrap();
    let mark = sshd.path("ran-later");
    let mut requests: Vec<Request> = (0..12).map(|n| request(&format!("echo {n}"))).collect();
    requests[0] = within(request("sleep 2"), Duration::from_millis(400));
    // Queued behind the slow one on its channel: must not run once that channel is given up.
    requests[1].script = "true".to_owned();
    let mut ended = Vec::new();
    let started = Instant::now();
    let error = shell.batch(&requests, &mut |index| ended.push(index)).await.unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    let TransportError::TimedOut { host, command, .. } = &error else { panic!("{error}") };
    assert_eq!((host.as_str(), command.as_str()), ("host1", "sleep 2"));
    assert!(ended.len() >= 8 && !ended.contains(&0), "{ended:?}");
    let target = Target { channels: 1, ..sshd.target() };
    let mut single = connector().connect(&target).await.unwrap();
    let queued = vec![
        within(request("trap '' TERM; sleep 1.5"), Duration::from_millis(300)),
        request(&format!("touch {}", mark.display())),
    ];
    assert!(single.batch(&queued, &mut |_| {}).await.is_err());
    tokio::time::sleep(Duration::from_millis(2200)).await;
    assert!(!mark.exists(), "a command that was queued behind a slow one ran after all");
    assert_eq!(one(&mut single, "true").await.unwrap().code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limit_counts_from_the_end_of_the_one_before() {
    let sshd = Sshd::start("");
    let target = Target { channels: 1, ..sshd.target() };
    let mut shell = connector().connect(&target).await.unwrap();
    let requests = vec![within(request("sleep 0.4"), Duration::from_millis(700)); 4];
    let replies = shell.batch(&requests, &mut |_| {}).await.unwrap();
    assert!(replies.iter().all(|reply| reply.seconds > 0.35 && reply.seconds < 0.7), "{replies:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_output_and_large_input() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let reply = one(&mut shell, "head -c 52428800 /dev/zero | tr '\\0' '\\n'; printf end").await.unwrap();
    assert_eq!(reply.stdout.len(), 52_428_800 + 3);
    let data: Vec<u8> = (0..2_000_000u32).map(|n| (n % 256) as u8).collect();
    let cat = with(request("cat"), |asked| asked.stdin = Some(data.clone()));
    assert_eq!(shell.batch(&[cat], &mut |_| {}).await.unwrap()[0].stdout, data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_script_harms_nobody_and_a_background_job_is_not_waited_for() {
    let sshd = Sshd::start("");
    let target = Target { channels: 1, ..sshd.target() };
    let mut shell = connector().connect(&target).await.unwrap();
    let started = Instant::now();
    let replies = batch(&mut shell, &["echo 'x", ")", "sleep 30 & echo $!", "exit 3", "exec echo e", "echo ok # c"])
        .await
        .unwrap();
    let codes: Vec<bool> = replies.iter().map(|reply| reply.code == 0).collect();
    assert_eq!(codes, [false, false, true, false, true, true]);
    assert_eq!(text(&replies[5].stdout), "ok\n");
    assert!(started.elapsed() < Duration::from_secs(5));
    signal("KILL", text(&replies[2].stdout).trim().parse().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_far_shell_is_a_loss_never_success() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let error = one(&mut shell, "kill -9 $$; sleep 5").await.unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    assert!(error.to_string().contains("kill -9 $$"), "{error}");
    // The connection is still there: another shell is opened.
    assert_eq!(one(&mut shell, "echo on").await.unwrap().stdout, b"on\n");
    let secret = with(request("kill -9 $$; echo hunter2"), |asked| asked.secret = true);
    let error = shell.batch(&[secret], &mut |_| {}).await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2") && error.to_string().contains("a secret command"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_process_is_a_loss() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let session: u32 = text(&one(&mut shell, "echo $PPID").await.unwrap().stdout).trim().parse().unwrap();
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        signal("KILL", session);
    });
    let error = one(&mut shell, "sleep 3").await.unwrap_err();
    killer.join().unwrap();
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    assert!(matches!(one(&mut shell, "true").await.unwrap_err(), TransportError::Lost { .. }));
    let started = Instant::now();
    shell.close().await;
    assert!(started.elapsed() < Duration::from_millis(1200));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_comes_with_the_end_of_the_connection_is_not_lost() {
    let sshd = Sshd::start("");
    for _ in 0..5 {
        let (port, hold) = holding_proxy(sshd.port);
        let target = Target { channels: 1, port, ..sshd.target() };
        let mut shell = connector().connect(&target).await.unwrap();
        let session = text(&one(&mut shell, "echo $PPID").await.unwrap().stdout).trim().to_owned();
        hold.store(true, std::sync::atomic::Ordering::SeqCst);
        let script = format!("( sleep 0.3; kill -KILL {session} ) >/dev/null 2>&1 </dev/null &\necho said");
        assert_eq!(text(&one(&mut shell, &script).await.unwrap().stdout), "said\n");
        assert!(matches!(one(&mut shell, "true").await.unwrap_err(), TransportError::Lost { .. }));
    }
}

/// One connection to a server; once told to, it keeps what the server says until the server hangs up.
fn holding_proxy(server: u16) -> (u16, std::sync::Arc<std::sync::atomic::AtomicBool>) {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    let hold = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let told = std::sync::Arc::clone(&hold);
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
        let (mut kept, mut piece) = (Vec::new(), [0; 65536]);
        while let Ok(n @ 1..) = server.read(&mut piece) {
            kept.extend_from_slice(&piece[..n]);
            if !told.load(std::sync::atomic::Ordering::SeqCst) {
                client.write_all(&kept).unwrap();
                kept.clear();
            }
        }
        client.write_all(&kept).unwrap();
        let _ = client.shutdown(Shutdown::Both);
    });
    (port, hold)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_peer_is_noticed() {
    let sshd = Sshd::start("");
    let quick = connector_with(None, Some((Duration::from_millis(300), 2)));
    for big_input in [false, true] {
        let mut shell = quick.connect(&sshd.target()).await.unwrap();
        let session: u32 = text(&one(&mut shell, "echo $PPID").await.unwrap().stdout).trim().parse().unwrap();
        signal("STOP", session);
        let started = Instant::now();
        let stdin = big_input.then(|| vec![b'x'; 20_000_000]);
        let asked = with(request("cat >/dev/null"), |asked| asked.stdin = stdin);
        let error = shell.batch(&[asked], &mut |_| {}).await.unwrap_err();
        let took = started.elapsed();
        let closing = Instant::now();
        shell.close().await;
        assert!(closing.elapsed() < Duration::from_millis(1200));
        signal("CONT", session);
        signal("KILL", session);
        assert!(matches!(error, TransportError::Lost { .. }), "{error}");
        assert!(error.to_string().contains("no sign of life"), "{error}");
        assert!(took < Duration::from_secs(8), "{took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_exact_and_report_progress() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let source = sshd.path("source");
    let mut data = vec![0u8; 100 * 1024 * 1024];
    for (n, byte) in data.iter_mut().enumerate() {
        *byte = (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    fs::write(&source, &data).unwrap();
    let to = sshd.path("it's a $HOME name");
    fs::write(&to, "old").unwrap();
    let mut steps = Vec::new();
    shell.upload(&Payload::File(source), to.to_str().unwrap(), 0o751, &mut |bytes| steps.push(bytes)).await.unwrap();
    assert!(fs::read(&to).unwrap() == data);
    assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, 0o751);
    assert_eq!(steps, (1..=400).map(|n| n * 256 * 1024).collect::<Vec<u64>>());
    assert_eq!(steps.last(), Some(&(data.len() as u64)));
    assert!(shell.cost().round_trips <= 2 && shell.cost().commands == 1, "{:?}", shell.cost());
    // Nothing at all, and a relative name that looks like an option.
    shell.upload(&Payload::Bytes(Vec::new()), to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"");
    assert_eq!(parts(&sshd), 0);
}

fn parts(sshd: &Sshd) -> usize {
    fs::read_dir(sshd.folder.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".part"))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_uploads_say_why_and_leave_nothing() {
    // A limit on file sizes is the full disk that needs no privileges: 512-byte blocks.
    let sshd = Sshd::start_with("", &["ed25519"], "ulimit -f 2048; trap '' XFSZ");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let to = sshd.path("big");
    fs::write(&to, "old").unwrap();
    let data = Payload::Bytes(vec![7; 20_000_000]);
    let error = shell.upload(&data, to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap_err();
    let TransportError::Upload { path, reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("File too large"), "{reason}");
    assert_eq!(path, to.to_str().unwrap());
    assert_eq!(fs::read(&to).unwrap(), b"old");
    assert_eq!(parts(&sshd), 0);
    for (path, words) in [("/nonexistent/x/y", "nonexistent"), ("/tmp", "folder"), ("/tmp/", "path of a file")] {
        let error = shell.upload(&Payload::Bytes(vec![1]), path, 0o600, &mut |_| {}).await.unwrap_err();
        assert!(matches!(&error, TransportError::Upload { reason, .. } if reason.contains(words)), "{path}: {error}");
    }
    let missing = Payload::File(sshd.path("not there"));
    let error = shell.upload(&missing, to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("not there"), "{error}");
    // The session is still good.
    assert_eq!(one(&mut shell, "echo fine").await.unwrap().stdout, b"fine\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_in_an_upload_leaves_nothing_on_the_host() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let session: u32 = text(&one(&mut shell, "echo $PPID").await.unwrap().stdout).trim().parse().unwrap();
    let to = sshd.path("target");
    let data = Payload::Bytes(vec![9; 200_000_000]);
    let mut killed = false;
    let error = shell
        .upload(&data, to.to_str().unwrap(), 0o600, &mut |bytes| {
            if bytes > 5_000_000 && !killed {
                killed = true;
                signal("KILL", session);
            }
        })
        .await
        .unwrap_err();
    assert!(matches!(error, TransportError::Lost { .. }), "{error}");
    let deadline = Instant::now() + Duration::from_secs(5);
    while parts(&sshd) > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((parts(&sshd), to.exists()), (0, false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hardened_server_is_reached_fast_and_a_stranger_is_explained() {
    let nist = "KexAlgorithms ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group-exchange-sha256,diffie-hellman-group16-sha512,diffie-hellman-group18-sha512,diffie-hellman-group14-sha256\nCiphers aes256-gcm@openssh.com,aes128-gcm@openssh.com,aes256-ctr,aes128-ctr\nMACs hmac-sha2-256,hmac-sha2-512\nHostKeyAlgorithms ecdsa-sha2-nistp256,rsa-sha2-256,rsa-sha2-512\nPubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,rsa-sha2-256,rsa-sha2-512";
    let sshd = Sshd::start_with(nist, &["ecdsa", "rsa"], "");
    for algorithms in [Algorithms::Modern, Algorithms::Esxi, Algorithms::Legacy] {
        let target = Target { algorithms, ..sshd.target() };
        let mut shell = connector().connect(&target).await.unwrap();
        assert_eq!(one(&mut shell, "echo in").await.unwrap().stdout, b"in\n");
    }
    let target = Target { credentials: vec![sshd.key("ed25519")], ..sshd.target() };
    let error = refused(&target).await;
    assert!(matches!(error, TransportError::Refused { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains("FIPS") && said.contains("ECDSA") && said.contains(&sshd.fingerprint("ed25519")), "{said}");
    drop(sshd);

    let old = Sshd::start_with(
        "KexAlgorithms diffie-hellman-group14-sha1\nCiphers aes128-cbc\nMACs hmac-sha1\nHostKeyAlgorithms ssh-rsa",
        &["rsa"],
        "",
    );
    let target = Target { credentials: vec![old.key("rsa")], ..old.target() };
    let error = refused(&target).await;
    let TransportError::NoCommonAlgorithm { what, detail, .. } = &error else { panic!("{error}") };
    assert_eq!(what, "key exchange");
    assert!(detail.contains("diffie-hellman-group14-sha1") && detail.contains("algorithms: legacy"), "{detail}");
    let target = Target { algorithms: Algorithms::Legacy, ..target };
    if libssh2() {
        // The build of libssh2 that comes with the crate has no SHA-1.
        let error = refused(&target).await;
        assert!(
            matches!(&error, TransportError::NoCommonAlgorithm { detail, .. } if detail.contains("transport: russh")),
            "{error}"
        );
        return;
    }
    let mut shell = connector().connect(&target).await.unwrap();
    assert_eq!(one(&mut shell, "echo old").await.unwrap().stdout, b"old\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jumps_check_every_key_and_say_which_one_forbids() {
    let (far, near) = (Sshd::start(""), Sshd::start(""));
    let mut target = Target { name: "far".into(), ..far.target() };
    let jump = Target { name: "near".into(), ..near.target() };
    target.jumps = vec![jump.clone(), Target { name: "middle".into(), ..near.target() }];
    let mut shell = connector().connect(&target).await.unwrap();
    let seen = text(&one(&mut shell, "echo $SSH_CONNECTION").await.unwrap().stdout);
    assert!(seen.trim().ends_with(&far.port.to_string()), "{seen}");
    assert!(connector().listening(&target, Duration::from_secs(10)).await);
    shell.close().await;
    let deadline = Instant::now() + Duration::from_secs(5);
    while !(near.sessions().is_empty() && far.sessions().is_empty()) {
        assert!(Instant::now() < deadline, "a server still has a connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(fs::read_to_string(near.path("known_hosts")).unwrap().contains(&format!("[127.0.0.1]:{}", near.port)));
    assert!(fs::read_to_string(far.path("known_hosts")).unwrap().contains(&format!("[127.0.0.1]:{}", far.port)));

    target.jumps = vec![Target {
        host_key: HostKeyCheck { accept_new: false, known_hosts: vec![far.path("none")], pin: None },
        ..jump.clone()
    }];
    assert!(matches!(refused(&target).await, TransportError::HostKey { host, .. } if host == "near"));
    target.jumps = vec![jump.clone()];
    target.port = transport_support::free_port();
    let error = refused(&target).await;
    assert!(matches!(&error, TransportError::Unreachable { reason, .. } if reason.contains("near")), "{error}");

    let closed = Sshd::start("AllowTcpForwarding no");
    target.jumps = vec![Target { name: "closed".into(), ..closed.target() }];
    target.port = far.port;
    let error = refused(&target).await;
    assert!(
        matches!(&error, TransportError::Unreachable { reason, .. } if reason.contains("closed forbids forwarding")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listening_wants_the_banner_and_no_login() {
    let sshd = Sshd::start("");
    let target = Target { credentials: Vec::new(), ..sshd.target() };
    assert!(connector().listening(&target, Duration::from_secs(5)).await);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = Target { port: silent.local_addr().unwrap().port(), ..target };
    let started = Instant::now();
    assert!(!connector().listening(&target, Duration::from_millis(300)).await);
    assert!(started.elapsed() < Duration::from_secs(1));
    let target = Target { port: transport_support::free_port(), ..target };
    assert!(!connector().listening(&target, Duration::from_secs(1)).await);
    let error = refused(&target).await;
    assert!(
        matches!(&error, TransportError::Unreachable { reason, .. } if reason.contains("nothing listens")),
        "{error}"
    );
    let target =
        Target { port: silent.local_addr().unwrap().port(), connect_timeout: Duration::from_millis(300), ..target };
    assert!(matches!(refused(&target).await, TransportError::Lost { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_without_a_shell_is_explained() {
    let sshd = Sshd::start("ForceCommand echo This account has no shell; exit 1");
    // The shell's first word comes with the first answers.
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let error = one(&mut shell, "echo in").await.unwrap_err();
    assert!(matches!(error, TransportError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("has no shell") && error.to_string().contains("code 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_dropped_half_way_does_not_spoil_the_session() {
    for extra in ["", "MaxSessions 1"] {
        let sshd = Sshd::start(extra);
        let mut shell = connector().connect(&sshd.target()).await.unwrap();
        let slow = batch(&mut shell, &["sleep 20", "echo a", "echo b", "echo c"]);
        assert!(tokio::time::timeout(Duration::from_millis(500), slow).await.is_err());
        let replies = batch(&mut shell, &["echo 1", "echo 2", "echo 3"]).await.unwrap();
        let said: String = replies.iter().map(|reply| text(&reply.stdout)).collect();
        assert_eq!(said, "1\n2\n3\n", "{extra}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_session_ends_its_connection() {
    let sshd = Sshd::start("");
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    let session = text(&one(&mut shell, "echo $PPID").await.unwrap().stdout).trim().to_owned();
    let alive = || fs::read_to_string(format!("/proc/{session}/cmdline")).is_ok_and(|line| line.contains("sshd"));
    assert!(alive());
    drop(shell);
    let deadline = Instant::now() + Duration::from_secs(5);
    while alive() {
        assert!(Instant::now() < deadline, "the server still has the connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_without_sha256sum_is_compared_by_what_it_has() {
    let tools = tempfile::tempdir().unwrap();
    for tool in ["cat", "wc", "rm", "mv", "chmod", "sha1sum"] {
        std::os::unix::fs::symlink("/usr/bin/busybox", tools.path().join(tool)).unwrap();
    }
    let sshd = Sshd::start(&format!("SetEnv PATH={}", tools.path().display()));
    let mut shell = connector().connect(&sshd.target()).await.unwrap();
    assert_eq!(one(&mut shell, "sha256sum").await.unwrap().code, 127, "the test's PATH does not hold");
    let to = sshd.path("copy");
    let data = Payload::Bytes(b"by sha1".to_vec());
    shell.upload(&data, to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"by sha1");
    fs::remove_file(tools.path().join("sha1sum")).unwrap();
    let error = shell.upload(&data, to.to_str().unwrap(), 0o600, &mut |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("neither sha256sum nor sha1sum"), "{error}");
    assert_eq!(parts(&sshd), 0);
}
