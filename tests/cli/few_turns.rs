//! How often a run waits for an answer, counted on the wire before OpenSSH's own server, beside the `ssh` program.

use std::net::SocketAddr;
use std::time::Duration;

use super::common::{Ran, arg};
use super::openssh::Front;
use super::sixty::sixty_steps;
use super::transport_support::user;

#[path = "../common/turns.rs"]
mod turns;
use turns::Proxy;

/// Each way: enough to tell turns apart on a busy machine.
const DELAY: Duration = Duration::from_millis(50);

/// Ten changes of four kinds.
const TEN: &str = "\
steps:
  - setting: {key: UserVars.SuppressHyperthreadWarning, value: N}
  - setting: {key: UserVars.SuppressShellWarning, value: N}
  - setting: {key: UserVars.ESXiShellTimeOut, value: 30N}
  - setting: {key: UserVars.ESXiShellInteractiveTimeOut, value: 30N}
  - setting: {key: UserVars.DcuiTimeOut, value: 30N}
  - setting: {key: Mem.ShareForceSalting, value: N}
  - setting: {key: UserVars.HostClientSessionTimeout, value: 180N}
  - portgroup: {name: VM Network, vswitch: vSwitch0, vlan: N}
  - vswitch: {name: vSwitch0, mtu: 150N}
  - firewall: {ruleset: syslog, enabled: E}
";

struct Line {
    front: Front,
    proxy: Proxy,
}

impl Line {
    fn new() -> Self {
        let front = Front::plain();
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], front.sshd.port)), DELAY);
        Self { front, proxy }
    }

    /// The turns of the connection that was made meanwhile.
    fn turns<T>(&self, run: impl FnOnce() -> T) -> (T, u64) {
        let before = self.proxy.connections().len();
        let done = run();
        let all = self.proxy.connections();
        assert_eq!(all.len(), before + 1, "connections");
        (done, all[before].turns)
    }

    fn apply(&self, playbook: &str) -> (Ran, u64) {
        let (key, pin) = (self.front.key("ecdsa"), self.front.sshd.public("host_ecdsa"));
        let port = self.proxy.address().port();
        // A busy machine must not look like a slow host, whose reads are spread over channels.
        let inventory = format!(
            "hosts:\n  esx1: {{address: 127.0.0.1, port: {port}, user: {}, key: {key}, host_key: \"{pin}\", channels: 1}}\n",
            user()
        );
        let inventory = self.front.home.write("proxied.yml", &inventory);
        let playbook = self.front.home.write("p.yml", playbook);
        self.turns(|| {
            self.front.home.run(&["apply", arg(&playbook), "-i", arg(&inventory), "--output", "json"]).exits(0)
        })
    }

    /// `ssh host true`.
    fn ssh_true(&self) -> u64 {
        self.turns(|| self.front.sshd.ssh_true(self.proxy.address().port())).1
    }
}

/// A busy machine can only make it look like more turns, so the fewest of a few are the true number.
fn fewest(tries: usize, turns: impl FnMut(usize) -> u64) -> u64 {
    (0..tries).map(turns).min().unwrap()
}

#[test]
fn sixty_steps_that_match_take_no_more_turns_than_ssh_needs_for_nothing() {
    let line = Line::new();
    let theirs = fewest(2, |_| line.ssh_true());
    let sixty = sixty_steps();
    let (first, at_first) = line.apply(&sixty);
    assert_eq!(first.of("step").len(), 60);
    // Who it is is not known before: one more.
    let known = fewest(3, |_| line.apply(&sixty).1);
    assert!(known <= theirs && at_first <= theirs + 4, "known {known}, at first {at_first}, ssh {theirs}");
}

#[test]
fn ten_changes_take_ten_turns() {
    let line = Line::new();
    let with = |n: usize| {
        TEN.replace('N', &n.to_string()).replace("enabled: E", if n == 1 { "enabled: true" } else { "enabled: false" })
    };
    let apply = |n| {
        let (ran, turns) = line.apply(&with(n));
        let changed = ran.of("step").iter().filter(|s| s["status"] == "changed").count();
        assert!(changed >= 9, "{}", ran.all());
        turns
    };
    let first = apply(1);
    let known = fewest(3, |n| apply(n % 2));
    assert!(known <= 10 && first <= 14, "known {known}, at first {first}");
}
