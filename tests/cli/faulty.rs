//! The binary through a proxy that breaks its connections, in front of OpenSSH's own server and simulated hosts: cut at
//! any byte, half open, a trickle, nobody there. Whatever happens, the run ends by itself and says what was wrong, and
//! the next one brings the host to the same end as if nothing had happened.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::common::{Home, Ran, SimHosts, arg};
use super::openssh::{inside, told};
use super::transport_support::{Sshd, free_port, user};

#[path = "../chaos/end.rs"]
mod end;
#[path = "../common/kept.rs"]
mod kept;
#[path = "../common/faulty.rs"]
mod proxy;
use super::common;
use end::{End, compare};
use proxy::{Fault, Faulty, Plan, Way};

/// Whoever is not done by then hangs.
const HANGS: Duration = Duration::from_secs(90);

/// A little of everything. There are two of it, so that a host that has the one has everything to do for the other.
fn playbook(other: bool) -> String {
    let word = if other { "other" } else { "one" };
    format!(
        r#"name: A little of everything
steps:
  - setting: {{key: UserVars.SuppressShellWarning, value: {}}}
  - module: {{name: iscsi_vmk, loaded: {}}}
  - hostname: {{fqdn: {word}.lab.example}}
  - file: {{path: /etc/motd.lab, content: "it's $HOME, `{word}`\n", mode: "0640"}}
  - file: {{path: /vmfs/volumes/datastore1/big.bin, from: {word}.bin}}
  - run: {{command: "cat >/etc/made", unless: "grep -qx {word} /etc/made", stdin: "{word}\n"}}
"#,
        i32::from(!other),
        !other,
    )
}

/// Its steps.
const STEPS: u64 = 6;

/// Simulated hosts behind one OpenSSH server with a port for each, and a proxy before each port.
struct Fleet {
    home: Home,
    sim: SimHosts,
    sshd: Sshd,
    proxies: Vec<Faulty>,
    state: PathBuf,
    playbooks: [PathBuf; 2],
}

impl Fleet {
    /// `big` is how many bytes the playbook uploads.
    fn start(hosts: usize, big: usize) -> Self {
        let home = Home::new();
        let state = home.path("sim");
        fs::create_dir(home.path("tmp")).unwrap();
        let more = ["--state", arg(&state), "--boot-ms", "300", "--hostd-ms", "200", "--password", "Proxy-4711-a"];
        let sim = SimHosts::start(&home, "8.0", hosts, &more);
        let ports: Vec<u16> = (1..hosts).map(|_| free_port()).collect();
        let mut script = String::from("case \"${SSH_CONNECTION##* }\" in\n");
        let mut config = String::new();
        // The first host has the server's own port, whichever that is.
        for (number, port) in (2..=hosts).zip(ports.iter().map(u16::to_string)).chain([(1, "*".to_owned())]) {
            let root = state.canonicalize().unwrap().join(format!("host{number}/root"));
            let enter = home.write(&format!("enter{number}"), &inside::enter(&root));
            script.push_str(&format!("{port}) exec /bin/sh {} ;;\n", arg(&enter)));
            if number > 1 {
                config.push_str(&format!("Port {port}\n"));
            }
        }
        let enter = home.write("enter", &format!("{script}esac\n"));
        let sshd = Sshd::start_with(&format!("{config}ForceCommand /bin/sh {}", arg(&enter)), &["ecdsa"], "");
        let proxies = [sshd.port].iter().chain(&ports).map(|port| Faulty::start(local(*port))).collect();
        for (word, start) in [("one", 1_usize), ("other", 2)] {
            let bytes: Vec<u8> = (0..big).map(|n| (n.wrapping_mul(2_654_435_761 * start) >> 13) as u8).collect();
            fs::write(home.path(&format!("{word}.bin")), bytes).unwrap();
        }
        let playbooks = [home.write("one.yml", &playbook(false)), home.write("other.yml", &playbook(true))];
        Self { home, sim, sshd, proxies, state, playbooks }
    }

    /// The host as it is reached through its proxy; `login` are further keys of it. Over one channel, so that what is
    /// carried does not depend on how busy the machine is.
    fn inventory(&self, number: usize, login: &str) -> PathBuf {
        let text = format!(
            "defaults: {{connect_timeout: 60s}}\nhosts:\n  esx{number}: {{address: 127.0.0.1, port: {}, user: {}, key: {}, host_key: \"{}\", \
             channels: 1{login}}}\n",
            self.proxies[number - 1].port(),
            user(),
            arg(&self.sshd.path("ecdsa")),
            self.sshd.public("host_ecdsa"),
        );
        self.home.write(&format!("through{number}.yml"), &text)
    }

    /// Applies one of the playbooks to one host.
    fn apply(&self, number: usize, which: usize, login: &str, more: &[&str]) -> Ran {
        let inventory = self.inventory(number, login);
        let mut args = vec!["apply", arg(&self.playbooks[which]), "-i", arg(&inventory), "--output", "json"];
        args.extend(more);
        ended(self.home.command(&args).env("TMPDIR", self.home.path("tmp")), &self.home, number)
    }

    /// Works on all hosts side by side, which are numbered from 1. Gives what went wrong.
    fn side_by_side(&self, work: impl Fn(usize) -> Result<(), String> + Sync) -> Vec<String> {
        let work = &work;
        std::thread::scope(|scope| {
            let all: Vec<_> = (1..=self.proxies.len()).map(|number| scope.spawn(move || work(number))).collect();
            all.into_iter().filter_map(|one| one.join().unwrap().err()).collect()
        })
    }

    /// What each host has kept on its boot disk: not what it would keep if it were asked now.
    fn saved(&self, number: usize) -> BTreeMap<String, String> {
        let all = kept::saved(&self.state.join(format!("host{number}")));
        // But for what no two machines share: esx.conf is made of the rest, a password is salted anew for each.
        let own = |name: &str| ["etc/vmware/esx.conf", "etc/shadow"].iter().any(|end| name.ends_with(end));
        let addresses = regex::Regex::new(r"52:54:00(:[0-9a-f]{2}){3}|192\.0\.2\.1\d").unwrap();
        let alike = |text: String| addresses.replace_all(&text, "ADDRESS").into_owned();
        all.into_iter().filter(|(name, _)| !own(name)).map(|(name, text)| (name, alike(text))).collect()
    }

    /// Files of uploads below the hosts' folders that are no RAM disks.
    fn parts(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for number in 1..=self.proxies.len() {
            let root = self.state.join(format!("host{number}/root"));
            let mut folders = vec![root.join("etc"), root.join("vmfs/volumes")];
            while let Some(folder) = folders.pop() {
                for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                    if path.is_dir() && !path.is_symlink() {
                        folders.push(path);
                    } else if path.to_string_lossy().ends_with(".part") {
                        found.push(path);
                    }
                }
            }
        }
        found
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Runs the binary to its end, and ends it when it hangs.
fn ended(command: &mut std::process::Command, home: &Home, number: usize) -> Ran {
    let file = |kind: &str| home.path(&format!("{kind}{number}"));
    let create = |kind: &str| fs::File::create(file(kind)).unwrap();
    let mut child = command.stdout(create("stdout")).stderr(create("stderr")).stdin(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + HANGS;
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if Instant::now() > until {
            let _ = child.kill();
            let _ = child.wait();
            break -2;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let read = |kind: &str| fs::read_to_string(file(kind)).unwrap();
    Ran { code, stdout: read("stdout"), stderr: read("stderr") }
}

/// The exit code that the events ask for; what else is wrong with a run.
fn contract(ran: &Ran) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {}", ran.all()));
    if ran.code == -2 {
        return wrong("it hangs");
    }
    if ran.stderr.contains("panicked") {
        return wrong("it panicked");
    }
    let failed = ran.of("host_failed");
    let steps = ran.of("step").iter().any(|step| step["status"] == "failed");
    let expected = match failed.first() {
        Some(event) if event["unreachable"] == true => 4,
        Some(_) => 1,
        None => i32::from(steps),
    };
    if ran.code != expected {
        return wrong(&format!("exit {expected} was due"));
    }
    for event in failed {
        if event["error"].as_str().unwrap_or_default().is_empty() {
            return wrong("no reason is given");
        }
    }
    Ok(())
}

/// The errors that a run tells of.
fn errors(ran: &Ran) -> String {
    let all = ran.events().into_iter().filter(|e| e["event"] == "host_failed" || e["status"] == "failed");
    all.filter_map(|e| e["error"].as_str().map(str::to_owned)).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_conversation_that_is_cut_at_any_byte_fails_cleanly_and_the_next_run_converges() {
    const EACH_WAY: usize = 12;
    const HOSTS: usize = 6;
    let fleet = Fleet::start(HOSTS, 30_000);
    // The first host shows what an undisturbed run carries, and what each of the two leaves behind.
    let factory = fleet.saved(1);
    let mut kept = Vec::new();
    for which in [0, 1] {
        let whole = fleet.apply(1, which, "", &[]).exits(0);
        assert_eq!(whole.of("host_finished")[0]["changed"], STEPS, "{}", whole.all());
        kept.push(fleet.saved(1));
    }
    let carried = fleet.proxies[0].carried();
    assert_eq!(carried.len(), 2, "{carried:?}");
    let whole = carried[1];
    let touched: Vec<&String> = kept[1]
        .keys()
        .filter(|key| kept.iter().chain([&factory]).any(|one| one.get(*key) != kept[1].get(*key)))
        .collect();
    assert!(touched.len() >= 5, "{touched:?}");

    let mut points = Vec::new();
    for n in 0..EACH_WAY {
        for (way, bytes) in [(Way::ToHost, whole.to_host), (Way::FromHost, whole.from_host)] {
            let at = bytes * (2 * n as u64 + 1) / (2 * EACH_WAY as u64);
            let fault = if (n + usize::from(way == Way::ToHost)) % 2 == 0 { Fault::Fin } else { Fault::Reset };
            points.push(Plan::at(way, at, fault));
        }
    }
    let wrong = fleet.side_by_side(|number| {
        for (round, point) in points.iter().skip(number - 1).step_by(HOSTS).enumerate() {
            let which = round % 2;
            let about = |problem: String| format!("esx{number} {point:?}: {problem}");
            fleet.proxies[number - 1].next([*point]);
            let first = fleet.apply(number, which, "", &[]);
            contract(&first).map_err(about)?;
            if first.code != 0 && !errors(&first).contains("was lost") {
                return Err(about(format!("it does not say that the connection was lost: {}", first.all())));
            }
            let second = fleet.apply(number, which, "", &[]);
            contract(&second).map_err(about)?;
            if second.code != 0 {
                return Err(about(format!("it does not converge: {}\nfirst: {}", second.all(), first.all())));
            }
            // Nobody has asked the host to save since: what was made is on its boot disk all the same.
            let now = fleet.saved(number);
            for key in &touched {
                let (then, now) = (kept[which].get(*key), now.get(*key));
                if then != now {
                    let runs = format!("first: {}\nsecond: {}", first.all(), second.all());
                    return Err(about(format!("{key} is kept as {now:?}\nundisturbed: {then:?}\n{runs}")));
                }
            }
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{} hosts:\n{}", wrong.len(), wrong.join("\n"));
    let struck: usize = fleet.proxies.iter().map(Faulty::struck).sum();
    assert_eq!(struck, points.len(), "some were not cut");
    same_end(&fleet, 1);
}

/// All hosts are as the playbook says, and nothing is left on them or here.
#[track_caller]
fn same_end(fleet: &Fleet, which: usize) {
    fleet.home.run(&["verify", arg(&fleet.playbooks[which]), "-i", fleet.sim.inventory()]).exits(0);
    let until = Instant::now() + Duration::from_secs(20);
    while !fleet.parts().is_empty() {
        assert!(Instant::now() < until, "left on the hosts: {:?}", fleet.parts());
        std::thread::sleep(Duration::from_millis(20));
    }
    let end = End::of(&fleet.home, &fleet.sim, &fleet.state, fleet.proxies.len());
    let mut wrong = compare(&end, &end); // only what is left over
    wrong.extend(end::left_here(&fleet.home));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// One way to go silent, and what is said about it.
struct Silence {
    /// Keys of the host, and options of the run.
    login: &'static str,
    options: &'static [&'static str],
    plan: Plan,
    code: i32,
    words: &'static str,
}

#[test]
fn a_connection_that_is_half_open_is_given_up_and_the_next_run_converges() {
    // Enough for the upload to be most of what is sent, and more than fits in between.
    const BIG: u64 = 8 << 20;
    let patient = ", silence_timeout: 5s";
    let quick = ", connect_timeout: 2s";
    // In the middle of the first reads.
    const READING: u64 = 12_000;
    let fleet = Fleet::start(8, BIG as usize);
    let whole = {
        fleet.apply(1, 0, "", &[]).exits(0);
        fleet.proxies[0].carried()[0]
    };
    assert!(whole.to_host > BIG && whole.from_host > 2 * READING, "{whole:?}");
    let at = |way, bytes, fault| Plan::at(way, bytes, fault);
    let all = [
        // Before the login: not a byte, half of the identification, in the key exchange.
        Silence { login: quick, options: &[], plan: at(Way::FromHost, 0, Fault::Stall), code: 4, words: "within 2 s" },
        Silence { login: quick, options: &[], plan: at(Way::FromHost, 9, Fault::Stall), code: 4, words: "within 2 s" },
        Silence {
            login: quick,
            options: &[],
            plan: at(Way::ToHost, 700, Fault::StallThisWay),
            code: 4,
            words: "within 2 s",
        },
        // While the host is read: the limit of a command, and the silence itself, heard by one side only, too.
        Silence {
            login: "",
            options: &["--command-timeout", "2s"],
            plan: at(Way::FromHost, READING, Fault::Stall),
            code: 1,
            words: "within 2 s",
        },
        Silence {
            login: patient,
            options: &[],
            plan: at(Way::FromHost, READING, Fault::StallThisWay),
            // Reads change nothing: they are made again over another connection.
            code: 0,
            words: "",
        },
        // In the middle of the upload, with more on the way than the socket takes.
        Silence {
            login: patient,
            options: &[],
            plan: at(Way::ToHost, whole.to_host - BIG / 2, Fault::Stall),
            code: 1,
            words: "no sign of life",
        },
        Silence {
            login: patient,
            options: &[],
            plan: at(Way::ToHost, whole.to_host - BIG / 2, Fault::StallThisWay),
            code: 1,
            words: "no sign of life",
        },
    ];
    let wrong = fleet.side_by_side(|number| {
        let Some(silence) = number.checked_sub(2).and_then(|index| all.get(index)) else { return Ok(()) };
        let about = |problem: String| format!("esx{number} {:?}: {problem}", silence.plan);
        fleet.proxies[number - 1].next([silence.plan]);
        let first = fleet.apply(number, 0, silence.login, silence.options);
        contract(&first).map_err(about)?;
        if first.code != silence.code || !errors(&first).contains(silence.words) {
            return Err(about(format!("exit {}, {:?} was due: {}", silence.code, silence.words, first.all())));
        }
        // The host has not heard of it yet: what it holds for the dead connection does no harm.
        let second = fleet.apply(number, 0, "", &[]);
        contract(&second).map_err(about)?;
        if second.code != 0 {
            return Err(about(format!("it does not converge: {}\nfirst: {}", second.all(), first.all())));
        }
        // Now it hears of it.
        fleet.proxies[number - 1].release();
        Ok(())
    });
    assert!(wrong.is_empty(), "{} hosts:\n{}", wrong.len(), wrong.join("\n"));
    same_end(&fleet, 0);
}

#[test]
fn a_trickle_changes_nothing_but_the_time() {
    // From the other playbook to the first, once each way: the same events then.
    let fleet = Fleet::start(1, 20_000);
    let mut all = Vec::new();
    for plan in [Plan::default(), Plan { pieces: Some(7), ..Plan::default() }] {
        fleet.apply(1, 0, "", &[]).exits(0);
        fleet.apply(1, 1, "", &[]).exits(0);
        fleet.proxies[0].next([plan]);
        let ran = fleet.apply(1, 0, "", &[]).exits(0);
        assert_eq!(ran.of("host_finished")[0]["changed"], STEPS, "{}", ran.all());
        all.push(told(&ran));
    }
    let (plain, trickled) = (&all[0], &all[1]);
    assert_eq!(plain.len(), trickled.len());
    for (plain, trickled) in plain.iter().zip(trickled) {
        assert_eq!(plain, trickled);
    }
    same_end(&fleet, 0);
}

#[test]
fn whoever_does_not_answer_or_hangs_up_at_once_is_unreachable_and_the_reason_is_said() {
    let fleet = Fleet::start(1, 20_000);
    let proxy = &fleet.proxies[0];
    proxy.refuse(true);
    let refused = fleet.apply(1, 0, "", &[]).exits(4);
    assert!(errors(&refused).contains("nothing listens there"), "{}", refused.all());
    proxy.refuse(false);
    for plan in [
        Plan::at(Way::FromHost, 0, Fault::Reset),
        Plan::at(Way::FromHost, 0, Fault::Fin),
        // The identification ends half-way.
        Plan::at(Way::FromHost, 9, Fault::Fin),
        Plan::at(Way::FromHost, 9, Fault::Reset),
    ] {
        proxy.next([plan]);
        let ran = fleet.apply(1, 0, "", &[]).exits(4);
        contract(&ran).unwrap();
        assert!(errors(&ran).contains("was lost during the key exchange"), "{plan:?}: {}", ran.all());
        assert!(errors(&ran).contains("is it an SSH server"), "{plan:?}: {}", ran.all());
    }
    fleet.apply(1, 0, "", &[]).exits(0);
    same_end(&fleet, 0);
}

#[test]
fn a_host_that_comes_up_with_a_bad_line_is_waited_for() {
    let home = Home::new();
    let faults = ["--boot-ms", "1500", "--hostd-ms", "200", "--fault", "hang-up-after-reboot=1"];
    let sim = SimHosts::start(&home, "8.0", 1, &faults);
    let port = |text: &str| text.lines().find_map(|l| l.trim().strip_prefix("port: ")?.parse::<u16>().ok()).unwrap();
    let text = fs::read_to_string(&sim.inventory).unwrap();
    let proxy = Faulty::start(local(port(&text)));
    let inventory = home.write("p-inventory.yml", &text.replace(&port(&text).to_string(), &proxy.port().to_string()));
    let playbook = home.write("p.yml", "steps:\n  - reboot: {when: always, timeout: 60s}\n");
    let faithful = Plan::default();
    proxy.after_down([
        // Looks whether somebody is there.
        Plan::at(Way::FromHost, 0, Fault::Reset),
        Plan::at(Way::FromHost, 9, Fault::Fin),
        Plan::at(Way::FromHost, 5, Fault::Reset),
        // Somebody is; the logins end in the key exchange, and, by the simulator, when the password has been given.
        faithful,
        Plan::at(Way::FromHost, 200, Fault::Reset),
        faithful,
        Plan::at(Way::ToHost, 400, Fault::Fin),
    ]);
    let args = ["apply", arg(&playbook), "-i", arg(&inventory), "--output", "json"];
    let ran = ended(&mut home.command(&args), &home, 1);
    contract(&ran).unwrap();
    assert_eq!((ran.code, proxy.waiting()), (0, 0), "{}", ran.all());
    assert_eq!(ran.of("host_finished")[0]["reboots"], 1, "{}", ran.all());
    home.run(&["facts", "-i", sim.inventory()]).exits(0);
}
