//! The simulated host as a client sees it: through OpenSSH's own `ssh`, and through russh where ssh is too polite.
//!
//! Needs Linux, `ssh` and `ssh-keygen`, and either root or user namespaces. Every test ends with its simulator stopped;
//! the last checks of [`leaves_nothing_behind`] look for processes and folders that outlived it.

mod common;

use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{gone_and_back, start};
use esxprep::sim::{Fault, Options, Sim};

fn fault(spec: &str) -> Vec<Fault> {
    vec![spec.parse().unwrap()]
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_has_both_streams_and_the_exit_code() {
    let (sim, ssh) = start(Options::default()).await;
    let out = ssh.run("echo out; echo err >&2; exit 42").await;
    assert_eq!((out.stdout.as_str(), out.stderr.as_str(), out.code), ("out\n", "err\n", Some(42)));
    let out = ssh.run("nosuch --thing").await;
    assert_eq!(out.code, Some(127));
    assert!(out.stderr.contains("not found"), "{}", out.stderr);
    let out = ssh.run("kill -9 $$").await;
    assert_eq!(out.code, Some(255), "ssh's code for a signal: {out:?}");
    let out = ssh.run("echo $HOME $PATH; pwd; ls -d /bootbank /vmfs/volumes/datastore1").await;
    assert!(out.stdout.starts_with("/ /bin:/sbin:/usr/bin:/usr/sbin\n/\n"), "{}", out.stdout);
    assert!(out.stdout.contains("/bootbank\n/vmfs/volumes/datastore1\n"), "{}", out.stdout);
    let out = ssh.run("ls -l /bootbank").await;
    assert!(out.stdout.contains("/bootbank -> /vmfs/volumes/"), "{}", out.stdout);
    // Programs of the simulator win over tools of the same name, and the machine stays out of reach.
    let out = ssh.run("uname -a; ls /proc /home /root 2>&1").await;
    assert!(out.stdout.starts_with("VMkernel "), "{}", out.stdout);
    assert!(out.stdout.contains("/home: No such file"), "{}", out.stdout);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_shell_takes_many_commands_and_stdin_is_nobody_elses() {
    let (sim, ssh) = start(Options::default()).await;
    // As the product does: commands on the standard input of one shell. A program must not eat the script.
    let mut script = String::new();
    for i in 0..40 {
        script.push_str(&format!(
            "( uname -a >/dev/null; echo out{i} ) </dev/null; echo end{i} $?; esxcli nonsense >/dev/null\n"
        ));
    }
    script.push_str("exit 3\n");
    let start = Instant::now();
    let out = ssh.run_with("sh", script.as_bytes()).await;
    let took = start.elapsed();
    let wanted: String = (0..40).map(|i| format!("out{i}\nend{i} 0\n")).collect();
    assert_eq!((out.stdout, out.code), (wanted, Some(3)));
    assert!(took < Duration::from_secs(5), "80 programs took {took:?}");
    // A shell without a terminal and without a command.
    let out = ssh.run_with("", b"echo \"$0 $SSH_CONNECTION\"\nexit 4\n").await;
    assert_eq!(out.code, Some(4));
    assert!(out.stdout.contains(" 22\n"), "{}", out.stdout);
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_megabytes_arrive_whole() {
    use sha2::{Digest, Sha256};
    let (sim, ssh) = start(Options::default()).await;
    let data: Vec<u8> = (0..50u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let wanted: String = Sha256::digest(&data).iter().map(|b| format!("{b:02x}")).collect();
    let out = ssh.run_with("cat > /vmfs/volumes/datastore1/big && sha256sum /vmfs/volumes/datastore1/big", &data).await;
    assert_eq!(out.stdout.split_whitespace().next(), Some(wanted.as_str()), "{out:?}");
    // And back again, both ways at once.
    let out = ssh.run_bytes("cat", &data).await;
    assert!(out == data, "{} of {} bytes came back", out.len(), data.len());
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_ram_disk_is_full() {
    let options = Options { faults: fault("tmp-size=1M"), ..Options::default() };
    let (sim, ssh) = start(options).await;
    let out = ssh.run_with("cat > /tmp/big", &vec![7; 3 << 20]).await;
    assert_eq!(out.code, Some(1), "{out:?}");
    assert!(out.stderr.contains("No space left") || out.stderr.contains("File too large"), "{}", out.stderr);
    assert_eq!(ssh.run_with("cat > /vmfs/volumes/datastore1/big", &vec![7; 3 << 20]).await.code, Some(0));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_wrong_passwords_lock_root_out() {
    let options = Options { faults: fault("lock-seconds=1"), ..Options::default() };
    let (sim, mut ssh) = start(options).await;
    let right = ssh.password.clone();
    ssh.password = "wrong".into();
    for _ in 0..5 {
        assert!(ssh.run("true").await.stderr.contains("Permission denied"));
    }
    ssh.password = right;
    let locked = ssh.run("true").await;
    assert!(locked.stderr.contains("Permission denied"), "locked, the right password is wrong too: {locked:?}");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(ssh.run("grep -c 'has been locked for 1 seconds' /var/log/vobd.log").await.stdout, "1\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_is_asked_for() {
    let (sim, mut ssh) = start(Options::default()).await;
    // Made with `openssl passwd -6 -salt abcdefgh changed`.
    let hash = "$6$abcdefgh$gYJzhpg52sHV3/KAxB1IoGD348YuslgdBmCfIthgn7QcnY.adX5dbbcw/2UMkdEPSFI.QACXg0W7jQBxYar.B/";
    let script = format!("sed -i 's|^root:[^:]*:|root:{hash}:|' /etc/shadow; grep -cF '{hash}' /etc/shadow");
    let out = ssh.run(&script).await;
    assert_eq!(out.stdout, "1\n", "{out:?}");
    assert!(ssh.run("true").await.stderr.contains("Permission denied"));
    ssh.password = "changed".into();
    assert_eq!(ssh.run("echo in").await.stdout, "in\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reboot_keeps_what_was_saved_and_forgets_the_rest() {
    let options = Options { boot_ms: 300, hostd_ms: 400, ..Options::default() };
    let (sim, ssh) = start(options).await;
    let script = "echo saved > /etc/motd; echo fresh > /etc/not-sticky; echo here > /vmfs/volumes/datastore1/f; \
                  esxcli system settings advanced set -o /UserVars/SuppressShellWarning -i 1; \
                  /sbin/auto-backup.sh; echo lost > /etc/issue; echo x > /tmp/x; setsid sleep 1000 </dev/null >/dev/null 2>&1 &";
    assert_eq!(ssh.run(script).await.code, Some(0));
    let before = ssh.run("stat -c %Y.%s /bootbank/state.tgz").await;
    assert_eq!(before.code, Some(0), "{before:?}");
    ssh.run("reboot -f").await;
    gone_and_back(&ssh).await;
    // SSH first, hostd later.
    let early = ssh.run("vim-cmd hostsvc/hostsummary >/dev/null").await;
    assert_ne!(early.code, Some(0), "hostd answered at once");
    let script =
        "cat /etc/motd /vmfs/volumes/datastore1/f; cat /etc/issue; ls /etc/not-sticky /tmp/x 2>&1 | grep -c 'No such'";
    let out = ssh.run(script).await;
    assert_eq!(out.stdout, "saved\nhere\n2\n", "{out:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ssh.run("vim-cmd hostsvc/hostsummary >/dev/null").await.code, Some(0));
    let script = "esxcli system settings advanced list -o /UserVars/SuppressShellWarning | grep '^ *Int Value'";
    assert_eq!(ssh.run(script).await.stdout, "   Int Value: 1\n");
    // A clean reboot saves.
    ssh.run("echo clean > /etc/motd; reboot").await;
    gone_and_back(&ssh).await;
    assert_eq!(ssh.run("cat /etc/motd").await.stdout, "clean\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_its_boot_disk_forgets_everything() {
    let options = Options { boot_ms: 100, faults: fault("lost-boot-disk"), ..Options::default() };
    let (sim, ssh) = start(options).await;
    assert!(ssh.run("ls -l /bootbank").await.stdout.trim_end().ends_with("/bootbank -> /tmp"));
    ssh.run("echo mine > /etc/motd; /sbin/auto-backup.sh; reboot").await;
    gone_and_back(&ssh).await;
    assert_ne!(ssh.run("cat /etc/motd").await.stdout, "mine\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fips_refuses_ed25519_keys_that_are_listed() {
    let (sim, mut ssh) = start(Options { version: "8.0".into(), ..Options::default() }).await;
    let (ed, ec) = (ssh.keygen("ed25519"), ssh.keygen("ecdsa"));
    let keys = format!(
        "{}{}",
        std::fs::read_to_string(ed.with_extension("pub")).unwrap(),
        std::fs::read_to_string(ec.with_extension("pub")).unwrap()
    );
    ssh.run_with("cat > /etc/ssh/keys-root/authorized_keys", keys.as_bytes()).await;
    ssh.password = "none of yours".into();
    ssh.key = Some(ed.clone());
    assert!(ssh.run("true").await.stderr.contains("Permission denied"));
    ssh.key = Some(ec);
    assert_eq!(ssh.run("echo in").await.stdout, "in\n");
    sim.stop().await;
    // 6.5 has no such mode.
    let (sim, mut ssh) = start(Options::default()).await;
    let keys = std::fs::read_to_string(ed.with_extension("pub")).unwrap();
    ssh.run_with("cat > /etc/ssh/keys-root/authorized_keys", keys.as_bytes()).await;
    ssh.key = Some(ed);
    ssh.password = "none of yours".into();
    assert_eq!(ssh.run("echo in").await.stdout, "in\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_programs_at_once_are_all_answered() {
    let (sim, ssh) = start(Options { esxcli_ms: 200, ..Options::default() }).await;
    let start = Instant::now();
    let script = "for i in 1 2 3 4; do ( esxcli system version get > /tmp/o$i; echo $? ) & done; wait; cat /tmp/o? | grep -c Version";
    let out = ssh.run(script).await;
    assert_eq!(out.stdout, "0\n0\n0\n0\n4\n", "{out:?}");
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Duration::from_millis(1500), "{took:?}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_do_what_they_say() {
    let specs = ["drop-after=maintenanceMode", "fail=system uuid:No such thing", "hang=uptime", "no-reboot"];
    let faults = specs.iter().map(|spec| spec.parse().unwrap()).collect();
    let (sim, ssh) = start(Options { faults, ..Options::default() }).await;
    let cut = ssh.run("esxcli system maintenanceMode get; echo after").await;
    assert_eq!((cut.code, cut.stdout.as_str()), (Some(255), ""), "{cut:?}");
    let whole = ssh.run("esxcli system maintenanceMode get >/dev/null; echo after").await;
    assert_eq!((whole.code, whole.stdout.as_str()), (Some(0), "after\n"), "only once: {whole:?}");
    let failed = ssh.run("esxcli system uuid get").await;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), "No such thing\n"));
    let hung = tokio::time::timeout(Duration::from_millis(700), ssh.run("esxcli system stats uptime get")).await;
    assert!(hung.is_err());
    ssh.run("reboot").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ssh.run("echo still here").await.stdout, "still here\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_over_a_removed_vmknic_is_cut() {
    let (sim, mut ssh) = start(Options { listen_on_vmknics: true, ..Options::default() }).await;
    let set =
        |address: &str| format!("esxcli network ip interface ipv4 set -i vmk0 -t static -I {address} -N 255.0.0.0");
    let first = ssh.run(&format!("{}; echo after", set("127.0.91.11"))).await;
    assert_eq!((first.code, first.stdout.as_str()), (Some(255), ""), "{first:?}");
    ssh.address = "127.0.91.11".into();
    let out = ssh.run("echo $SSH_CONNECTION").await;
    assert!(out.stdout.ends_with(" 127.0.91.11 22\n"), "{out:?}");
    // Detached work goes on after the session is gone.
    let job = format!("setsid sh -c 'sleep 0.2; {}' </dev/null >/dev/null 2>&1 & echo started", set("127.0.91.12"));
    assert_eq!(ssh.run(&job).await.stdout, "started\n");
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(ssh.run("true").await.stderr.contains("refused"));
    ssh.address = "127.0.91.12".into();
    assert_eq!(ssh.run("echo moved").await.stdout, "moved\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cuts_and_keys_that_change() {
    let faults = ["power-cut=system uuid", "change-host-key-on-reboot"].map(|spec| spec.parse().unwrap());
    let (sim, ssh) = start(Options { faults: faults.to_vec(), boot_ms: 200, ..Options::default() }).await;
    let before = common::host_key(&ssh);
    assert_eq!(before, sim.hosts()[0].host_key);
    let out = ssh.run("echo unsaved > /etc/motd; esxcli system uuid get; echo after").await;
    assert_eq!((out.code, out.stdout.as_str()), (Some(255), ""), "{out:?}");
    common::back(&ssh).await;
    assert_ne!(ssh.run("cat /etc/motd").await.stdout, "unsaved\n");
    let after = common::host_key(&ssh);
    assert!(after.starts_with("ecdsa-sha2-nistp256 ") && after != before, "{after}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_may_never_return() {
    let (sim, ssh) = start(Options { faults: fault("never-returns@esx1"), boot_ms: 0, ..Options::default() }).await;
    ssh.run("reboot").await;
    common::gone(&ssh).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(ssh.run("true").await.stderr.contains("refused"));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_ssh_keeps_the_session_that_is_open() {
    let (sim, ssh) = start(Options::default()).await;
    let mut child = ssh
        .command("/etc/init.d/SSH stop >/dev/null; sleep 0.6; echo still here")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(ssh.run("true").await.stderr.contains("refused"));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(text, "still here\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firewall_sshd_config_and_lockdown_decide_who_comes_in() {
    let (sim, ssh) = start(Options { version: "8.0".into(), faults: fault("vcenter"), ..Options::default() }).await;
    let set = "esxcli network firewall ruleset set -r sshServer -a";
    let add = "esxcli network firewall ruleset allowedip add -r sshServer -i";
    // Both in one line: the session lives. Then nobody but a stranger: it freezes, and nobody comes in.
    assert_eq!(ssh.run(&format!("{set} false; {add} 127.0.0.0/8; sleep 1.5; echo alive")).await.stdout, "alive\n");
    let only = format!("esxcli network firewall ruleset allowedip remove -r sshServer -i 127.0.0.0/8; {add} 192.0.2.1");
    let undo = format!("(sleep 3; {set} true) >/dev/null 2>&1 &");
    let out = ssh.run(&format!("setsid sh -c '{undo}'; {only}; sleep 2; echo alive")).await;
    assert_eq!((out.code, out.stdout.as_str()), (Some(255), ""), "{out:?}");
    assert_eq!(ssh.run("true").await.code, Some(255));
    tokio::time::sleep(Duration::from_millis(3000)).await;
    let config = "esxcli system ssh server config set -k";
    let out =
        ssh.run(&format!("{config} banner -v none; echo Keep out > /etc/issue; {config} permitrootlogin -v no")).await;
    assert_eq!(out.code, Some(0), "{out:?}");
    let refused = ssh.run("true").await;
    assert!(refused.stderr.contains("Permission denied") && !refused.stderr.contains("Keep out"), "{refused:?}");
    sim.stop().await;

    let (sim, ssh) = start(Options { faults: fault("vcenter"), ..Options::default() }).await;
    let out = ssh.run("vim-cmd -U dcui vimsvc/auth/lockdown_mode_enter; echo in; sleep 3; echo still").await;
    assert_eq!((out.code, out.stdout.as_str()), (Some(255), "in\n"), "sessions end soon after: {out:?}");
    assert!(ssh.run("true").await.stderr.contains("Permission denied"));
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_gets_the_message_of_the_day_and_a_prompt() {
    let (sim, mut ssh) = start(Options::default()).await;
    ssh.terminal = true;
    let out = ssh.run_with("", b"echo one two | wc -w\nexit 7\n").await;
    assert_eq!(out.code, Some(7));
    assert!(out.stdout.starts_with("The time and date of this login"), "{out:?}");
    assert!(out.stdout.contains("[root@") && out.stdout.contains("~] 2\r\n"), "{out:?}");
    assert!(!out.stdout.contains("BusyBox") && !out.stdout.contains("job control"), "{out:?}");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sftp_and_the_password_method_are_there_when_asked_for() {
    for on in [false, true] {
        let options = Options { sftp: on, password_method: Some(on), ..Options::default() };
        let (sim, mut ssh) = match Sim::start(options.clone()).await {
            // A machine without OpenSSH's server has no SFTP server to lend.
            Err(error) if on && error.to_string().contains("sftp-server") => return,
            Err(error) => panic!("{error}"),
            Ok(sim) => {
                sim.stop().await;
                start(options).await
            }
        };
        ssh.methods = "password".into();
        assert_eq!(ssh.run("echo in").await.stdout, if on { "in\n" } else { "" });
        ssh.methods = "keyboard-interactive".into();
        let listing = ssh.sftp("ls /vmfs/volumes").await;
        assert_eq!(listing.stdout.contains("datastore1"), on, "{listing:?}");
        sim.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_release_lets_ssh_in() {
    for (version, full) in [("6.0", "6.0.0"), ("6.5", "6.5.0"), ("6.7", "6.7.0"), ("7.0", "7.0."), ("8.0", "8.0.")] {
        let (sim, mut ssh) = start(Options { version: version.into(), ..Options::default() }).await;
        assert!(sim.hosts()[0].version.starts_with(full), "{:?}", sim.hosts());
        // 6.0 has no host key that today's ssh takes without being told.
        ssh.host_keys = "+ssh-rsa".into();
        assert_eq!(ssh.run("echo in").await.stdout, "in\n", "{version}");
        sim.stop().await;
    }
    assert!(Sim::start(Options { version: "5.5".into(), ..Options::default() }).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_sessions_refuses_the_second_channel() {
    let (sim, ssh) = start(Options { max_sessions: Some(1), ..Options::default() }).await;
    let handle = common::russh_login(&ssh).await;
    let mut first = handle.channel_open_session().await.unwrap();
    assert!(handle.channel_open_session().await.is_err());
    first.exec(true, "exit 5").await.unwrap();
    let mut code = None;
    while let Some(message) = first.wait().await {
        if let russh::ChannelMsg::ExitStatus { exit_status } = message {
            code = Some(exit_status);
        }
    }
    assert_eq!(code, Some(5));
    let second = handle.channel_open_session().await.unwrap();
    assert!(second.request_subsystem(true, "sftp").await.is_ok());
    sim.stop().await;
    // The same from the host's own sshd_config.
    let (sim, ssh) = start(Options::default()).await;
    let handle = common::russh_login(&ssh).await;
    let (_one, _two) = (handle.channel_open_session().await.unwrap(), handle.channel_open_session().await.unwrap());
    ssh.run("echo 'MaxSessions 1' > /etc/ssh/sshd_config").await;
    let handle = common::russh_login(&ssh).await;
    let _one = handle.channel_open_session().await.unwrap();
    assert!(handle.channel_open_session().await.is_err());
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_channel_ends_its_processes_but_not_detached_ones() {
    let (sim, ssh) = start(Options::default()).await;
    // Both wait for the same word, so that nothing hangs on how long a login takes.
    let wait = "while [ ! -e /tmp/go ]; do sleep 0.1; done";
    let mut child = ssh
        .command(&format!(
            "setsid sh -c '{wait}; echo x > /tmp/detached' </dev/null >/dev/null 2>&1 & echo $$ >/tmp/begun; {wait}; echo y > /tmp/attached"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = async |what: &str| {
        for _ in 0..300 {
            if ssh.run(&format!("if {what}; then echo so; fi")).await.stdout == "so\n" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came to: {what}");
    };
    until("[ -s /tmp/begun ]").await;
    assert_eq!(ssh.run("kill -0 $(cat /tmp/begun) && echo there").await.stdout, "there\n");
    child.kill().unwrap();
    child.wait().unwrap();
    until("! kill -0 $(cat /tmp/begun) 2>/dev/null").await;
    ssh.run("touch /tmp/go").await;
    until("[ -s /tmp/detached ]").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(ssh.run("cd /tmp; ls attached detached 2>/dev/null").await.stdout, "detached\n");
    sim.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_directory_keeps_hosts_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { state: Some(dir.path().to_path_buf()), hosts: 2, ..Options::default() };
    let (sim, ssh) = start(options()).await;
    assert!(Sim::start(options()).await.is_err(), "two simulators on one state directory");
    let (password, key) = (sim.hosts()[0].password.clone(), sim.hosts()[0].host_key.clone());
    assert_ne!(sim.hosts()[1].host_key, key);
    ssh.run("echo kept > /etc/motd").await;
    sim.stop().await;
    let (sim, ssh) = start(options()).await;
    assert_eq!((sim.hosts()[0].password.clone(), sim.hosts()[0].host_key.clone()), (password, key));
    assert_eq!(ssh.run("cat /etc/motd").await.stdout, "kept\n");
    sim.stop().await;
}

/// The ways of a machine without busybox and without namespaces. Plain chroot needs root.
#[tokio::test(flavor = "multi_thread")]
async fn other_machines_have_other_tools() {
    let plain_chroot = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let options = Options {
        without_busybox: true,
        plain_chroot,
        boot_ms: 200,
        faults: fault("tmp-size=1M"),
        ..Options::default()
    };
    let (sim, ssh) = start(options).await;
    let script = "uname -a; echo a b | awk '{print $2}' | sed s/b/c/; printf x | sha256sum | cut -c1-8; \
                  esxcli system version get | grep -c Version; nohup sh -c 'exit 6'";
    let out = ssh.run(script).await;
    assert!(out.stdout.starts_with("VMkernel ") && out.stdout.ends_with("\nc\n2d711642\n1\n"), "{out:?}");
    assert_eq!(out.code, Some(6));
    assert_ne!(ssh.run_with("cat > /tmp/big", &vec![7; 3 << 20]).await.code, Some(0));
    ssh.run("setsid sleep 1000 </dev/null >/dev/null 2>&1 &").await;
    ssh.run("reboot").await;
    gone_and_back(&ssh).await;
    let root = sim.root_of(0).unwrap();
    let left = common::processes_in(&root);
    assert!(!left.iter().any(|line| line.contains("sleep 1000")), "{left:?}");
    sim.stop().await;
    assert!(common::processes_in(&root).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn leaves_nothing_behind() {
    for stop in [true, false] {
        let (sim, ssh) = start(Options::default()).await;
        let root = sim.root_of(0).unwrap();
        ssh.run("setsid sleep 1000 </dev/null >/dev/null 2>&1 &").await;
        assert!(!common::processes_in(&root).is_empty());
        if stop {
            sim.stop().await;
        } else {
            drop(sim);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(common::processes_in(&root), Vec::<String>::new());
        assert!(!root.parent().unwrap().exists(), "{} is left", root.display());
    }
}
