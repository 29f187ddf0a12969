//! Which library speaks SSH: the inventory's word, the command line's, and a build that has only one.

use super::common::{Home, SimHosts, arg};
use super::transport_support::{Sshd, user};

/// The debug log of OpenSSH's server says which library a client is.
fn who_came(sshd: &Sshd) -> String {
    sshd.log().lines().filter_map(|line| line.split("remote software version ").nth(1)).collect::<Vec<_>>().join(" ")
}

fn inventory(home: &Home, sshd: &Sshd, transport: &str) -> std::path::PathBuf {
    home.write(
        "hosts.yml",
        &format!(
            "hosts:\n  esx1: {{address: 127.0.0.1, port: {}, user: {}, key: {}, accept_new: true, known_hosts: {}, \
             transport: {transport}}}\n",
            sshd.port,
            user(),
            arg(&sshd.path("ecdsa")),
            arg(&sshd.path("known_hosts"))
        ),
    )
}

#[test]
fn the_command_line_wins_over_the_inventory() {
    let (home, sshd) = (Home::new(), Sshd::start("LogLevel DEBUG1"));
    let libssh2 = inventory(&home, &sshd, "libssh2");
    // The machine of this test is no ESXi host: that is found behind the login.
    let ran = home.run(&["facts", "-i", arg(&libssh2), "--transport", "russh"]);
    assert!(!ran.stderr.contains("libssh2"), "{}", ran.all());
    let came = who_came(&sshd);
    assert!(came.contains("russh") && !came.contains("libssh2"), "{came}");
}

#[test]
fn libssh2_is_used_where_it_is_asked_for_and_missed_before_any_host_is_touched() {
    let (home, sshd) = (Home::new(), Sshd::start("LogLevel DEBUG1"));
    let (libssh2, russh) = (inventory(&home, &sshd, "libssh2"), Sshd::start("LogLevel DEBUG1"));
    let by_inventory = home.run(&["facts", "-i", arg(&libssh2)]);
    let other = inventory(&home, &russh, "russh");
    let by_option = home.run(&["facts", "-i", arg(&other), "--transport", "libssh2"]);
    if cfg!(feature = "libssh2") {
        for server in [&sshd, &russh] {
            assert!(who_came(server).contains("libssh2"), "{}\n{}", by_inventory.all(), by_option.all());
        }
        return;
    }
    for ran in [by_inventory, by_option] {
        let ran = ran.exits(2);
        assert!(ran.stderr.contains("cargo build --release --features libssh2"), "{}", ran.all());
    }
    assert_eq!(who_came(&sshd) + &who_came(&russh), "");
}

#[test]
fn a_host_that_libssh2_cannot_talk_to_is_sent_to_the_other_library() {
    let home = Home::new();
    let sim = SimHosts::start(&home, "6.0", 1, &["--boot-ms", "300", "--hostd-ms", "200"]);
    home.run(&["facts", "-i", sim.inventory(), "--transport", "russh"]).exits(0);
    let ran = home.run(&["facts", "-i", sim.inventory(), "--transport", "libssh2"]);
    if cfg!(feature = "libssh2") {
        let ran = ran.exits(4);
        assert!(ran.stderr.contains("ssh-rsa") && ran.stderr.contains("write `transport: russh` for"), "{}", ran.all());
    } else {
        ran.exits(2);
    }
    sim.stop();
}
