//! What is measured.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use esxprep::engine::identify::Identify;
use esxprep::esxi::{HostFacts, Version};
use esxprep::playbook::{Playbook, Scope};
use esxprep::transport::{Connector, Payload, RusshConnector};
use indexmap::IndexMap;

use super::clients::{Client, Cost, Peers, Work, esxprep, floor, run, ssh_program};
use super::hosts::{Field, Front, Many};
use super::sixty::sixty_steps;
use super::support::{Outcome, median, timed};
use super::transport_support::user;

/// The most rounds of the peers, which take seconds.
const PEER_ROUNDS: usize = 2;
/// Bytes of the upload.
const UPLOAD: usize = 300 << 20;

type Costs = Vec<(Client, Vec<Cost>)>;

/// All clients in turns, so that what else the machine does falls on all alike; a first round only warms up.
fn rounds(most: usize, clients: &[Client], mut once: impl FnMut(Client) -> Outcome<Cost>) -> Outcome<Costs> {
    let mut costs: Costs = clients.iter().map(|client| (*client, Vec::new())).collect();
    for round in 0..=most {
        for (client, all) in &mut costs {
            if client.is_peer() && round > PEER_ROUNDS {
                continue;
            }
            let cost = once(*client)?;
            if round > 0 {
                all.push(cost);
            }
        }
    }
    Ok(costs)
}

fn clients(peers: Option<&Peers>) -> Vec<Client> {
    let mut all = vec![Client::Floor, Client::Ssh, Client::Esxprep];
    if peers.is_some() {
        all.extend([Client::Pyinfra, Client::Ansible]);
    }
    all
}

fn middle(costs: &[Cost], of: impl Fn(&Cost) -> f64) -> f64 {
    median(costs.iter().map(of).collect())
}

/// A line for each client; ratios are medians over the pairs of a round.
fn print(title: &str, costs: &Costs) {
    println!(
        "\n{title:<46} {:>8} {:>8} {:>8} {:>8} {:>7} {:>6} {:>6} {:>8}",
        "wall s", "/ floor", "/ ssh", "CPU s", "MiB", "conn.", "turns", "KiB"
    );
    for (client, all) in costs {
        let name = match client {
            Client::Floor => "the transport alone (floor)",
            Client::Ssh => "ssh, all in one line",
            Client::Esxprep => "esxprep apply",
            Client::Pyinfra => "pyinfra",
            Client::Ansible => "ansible-core, raw, pipelining, ControlPersist",
        };
        let ratio = |to: Client| {
            let pairs = costs.iter().filter(|(client, _)| *client == to).flat_map(|(_, floor)| all.iter().zip(floor));
            median(pairs.map(|(one, floor)| one.seconds / floor.seconds).collect())
        };
        let wire = |of: fn(&Cost) -> f64| match middle(all, of) {
            0.0 => "-".to_owned(),
            value => format!("{value:.0}"),
        };
        println!(
            "{name:<46} {:>8.3} {:>8.2} {:>8.2} {:>8.2} {:>7.1} {:>6} {:>6} {:>8}",
            middle(all, |cost| cost.seconds),
            ratio(Client::Floor),
            ratio(Client::Ssh),
            middle(all, |cost| cost.cpu),
            middle(all, |cost| cost.memory),
            wire(|cost| cost.connections as f64),
            wire(|cost| cost.turns as f64),
            wire(|cost| cost.bytes as f64 / 1024.0),
        );
    }
}

/// The reads of each step, and of all and of the look at the host each once.
fn reads(book: &str) -> Outcome<(Vec<String>, String)> {
    let work = Work::new(book, &[], String::new(), 0)?;
    let book = Playbook::load(&work.path("book.yml"), &BTreeSet::new())?;
    let facts = HostFacts::example(Version::new(8, 0));
    let none = IndexMap::new();
    let scope = Scope { vars: &book.vars, facts: &facts, inventory_name: "esx1", registered: &none };
    let mut all: Vec<String> = Identify::default().commands().iter().map(|c| c.text().to_owned()).collect();
    let mut steps = Vec::new();
    for step in &book.steps {
        for bound in book.bind(step, &scope)? {
            let reads: Vec<String> = bound.what?.reads(&facts).iter().map(|c| c.text().to_owned()).collect();
            steps.push(format!("{}\ntrue", reads.join("\n")));
            all.extend(reads);
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|command| seen.insert(command.clone()));
    Ok((steps, format!("{}\ntrue", all.join("\n"))))
}

/// Connect, log in, one command.
pub fn login(front: &Front, most: usize) -> Outcome<()> {
    let one = "steps:\n  - setting: {key: UserVars.SuppressShellWarning, value: 0}\n";
    let work = Work::new(one, &[], "true".to_owned(), 1)?;
    for delay in [0, 20] {
        let field = front.field(1, Duration::from_millis(delay))?;
        let costs = rounds(most, &clients(None), |client| run(client, &field, &work, None))?;
        print(&format!("login and one command, round trip {delay} ms"), &costs);
    }
    Ok(())
}

/// Runs that find nothing to do.
pub fn converged(front: &Front, peers: Option<&Peers>, most: usize) -> Outcome<()> {
    let sixty = sixty_steps();
    // A name and `steps:` come before them.
    let twenty: String = sixty.lines().take(22).map(|line| format!("{line}\n")).collect();
    for (steps, book) in [(20, twenty), (60, sixty)] {
        let (lines, once) = reads(&book)?;
        let work = Work::new(&book, &lines, once, 3)?;
        for delay in [0, 20, 100] {
            let field = front.field(1, Duration::from_millis(delay))?;
            let costs = rounds(most, &clients(peers), |client| run(client, &field, &work, peers))?;
            print(&format!("{steps} steps that match, round trip {delay} ms"), &costs);
        }
    }
    Ok(())
}

/// A resource that needs no reboot: its step with a value, and how the shell reads and sets it.
struct Resource {
    step: &'static str,
    read: &'static str,
    set: &'static str,
    values: [&'static str; 2],
}

macro_rules! option {
    ($key:literal, $path:literal, $first:literal, $second:literal) => {
        Resource {
            step: concat!("setting: {key: ", $key, ", value: VALUE}"),
            read: concat!("esxcli system settings advanced list -o ", $path, " | grep -q '^ *Int Value: VALUE$'"),
            set: concat!("esxcli system settings advanced set -o ", $path, " -i VALUE"),
            values: [$first, $second],
        }
    };
}

const TEN: [Resource; 10] = [
    option!("UserVars.SuppressHyperthreadWarning", "/UserVars/SuppressHyperthreadWarning", "1", "0"),
    option!("UserVars.SuppressShellWarning", "/UserVars/SuppressShellWarning", "1", "0"),
    option!("UserVars.ESXiShellTimeOut", "/UserVars/ESXiShellTimeOut", "300", "0"),
    option!("UserVars.ESXiShellInteractiveTimeOut", "/UserVars/ESXiShellInteractiveTimeOut", "300", "0"),
    option!("UserVars.DcuiTimeOut", "/UserVars/DcuiTimeOut", "300", "600"),
    option!("Mem.ShareForceSalting", "/Mem/ShareForceSalting", "1", "2"),
    option!("UserVars.HostClientSessionTimeout", "/UserVars/HostClientSessionTimeout", "1800", "900"),
    Resource {
        step: "portgroup: {name: VM Network, vswitch: vSwitch0, vlan: VALUE}",
        read: "esxcli network vswitch standard portgroup list | grep -q '^VM Network .* VALUE *$'",
        set: "esxcli network vswitch standard portgroup set -p 'VM Network' -v VALUE",
        values: ["9", "0"],
    },
    Resource {
        step: "vswitch: {name: vSwitch0, mtu: VALUE}",
        read: "esxcli network vswitch standard list -v vSwitch0 | grep -q '^ *MTU: VALUE$'",
        set: "esxcli network vswitch standard set -v vSwitch0 -m VALUE",
        values: ["1600", "1500"],
    },
    Resource {
        step: "firewall: {ruleset: syslog, enabled: VALUE}",
        read: "esxcli network firewall ruleset list -r syslog | grep -qi '^syslog .*VALUE'",
        set: "esxcli network firewall ruleset set -r syslog -e VALUE",
        values: ["true", "false"],
    },
];

/// Ten resources with their first or their second value.
fn ten(which: usize) -> Outcome<Work> {
    let mut book = String::from("steps:\n");
    let mut lines = Vec::new();
    for resource in &TEN {
        let with = |text: &str| text.replace("VALUE", resource.values[which]);
        let _ = writeln!(book, "  - {}", with(resource.step));
        lines.push(format!("{} || {}", with(resource.read), with(resource.set)));
    }
    let once = lines.join("; ");
    Work::new(&book, &lines, once, 3)
}

/// Ten resources: all of them to change, and again with nothing to do.
pub fn resources(front: &Front, peers: Option<&Peers>, hosts: &[usize], most: usize) -> Outcome<()> {
    let works = [ten(0)?, ten(1)?];
    for hosts in hosts {
        for delay in [0, 100] {
            let field = front.field(*hosts, Duration::from_millis(delay))?;
            let mut turn = 0;
            let mut again: Costs = Vec::new();
            let changing = rounds(most, &clients(peers), |client| {
                // The floor does not change anything; for all others a run undoes the one before.
                if client != Client::Floor {
                    turn += 1;
                }
                let work = &works[turn % 2];
                let changed = run(client, &field, work, peers)?;
                let same = run(client, &field, work, peers)?;
                match again.iter_mut().find(|(known, _)| *known == client) {
                    Some((_, all)) => all.push(same),
                    None => again.push((client, Vec::new())), // the round that warms up
                }
                Ok(changed)
            })?;
            print(&format!("ten changes, {hosts} hosts, round trip {delay} ms"), &changing);
            print(&format!("the same again, {hosts} hosts, round trip {delay} ms"), &again);
        }
    }
    Ok(())
}

/// Many simulated hosts: what esxprep costs beside the logins alone.
pub fn many(hosts: usize, most: usize) -> Outcome<()> {
    let started = Instant::now();
    let many = Many::start(hosts)?;
    println!("\n{hosts} simulated hosts started in {:.0} s", started.elapsed().as_secs_f64());
    println!(
        "{:>6} {:>9} {:>9} {:>7} {:>9} {:>9} {:>7} {:>8} {:>8} {:>8} {:>12} {:>12}",
        "hosts",
        "logins s",
        "esxprep s",
        "/",
        "CPU s",
        "CPU s",
        "/",
        "peak MiB",
        "anon MiB",
        "anon MiB",
        "CPU ms/host",
        "KiB/host"
    );
    let work = ten(1)?;
    let mut first: Option<(usize, f64, f64)> = None;
    for count in many.counts() {
        let inventory = many.inventory(count);
        let (mut floors, mut ours) = (Vec::new(), Vec::new());
        // Long ones are rare enough to be steady.
        let pairs = if count > 100 { 1 } else { most };
        for round in 0..=pairs {
            let pair = (floor(&inventory, 0)?, esxprep(many.dir(), &inventory, &work.path("book.yml"))?);
            if round > 0 || pairs == 1 {
                floors.push(pair.0);
                ours.push(pair.1);
            }
        }
        let ratio =
            |of: fn(&Cost) -> f64| median(ours.iter().zip(&floors).map(|(our, floor)| of(our) / of(floor)).collect());
        let (cpu, memory) = (middle(&ours, |cost| cost.cpu), middle(&ours, |cost| cost.anonymous));
        let slope = match first {
            Some((hosts, first_cpu, first_memory)) => {
                let more = (count - hosts) as f64;
                format!("{:>12.2} {:>12.0}", (cpu - first_cpu) * 1000.0 / more, (memory - first_memory) * 1024.0 / more)
            }
            None => format!("{:>12} {:>12}", "-", "-"),
        };
        first.get_or_insert((count, cpu, memory));
        println!(
            "{count:>6} {:>9.3} {:>9.3} {:>7.2} {:>9.2} {cpu:>9.2} {:>7.2} {:>8.1} {:>8.1} {memory:>8.1} {slope}",
            middle(&floors, |cost| cost.seconds),
            middle(&ours, |cost| cost.seconds),
            ratio(|cost| cost.seconds),
            middle(&floors, |cost| cost.cpu),
            ratio(|cost| cost.cpu.max(0.01)),
            middle(&ours, |cost| cost.memory),
            middle(&floors, |cost| cost.anonymous),
        );
    }
    println!("(each first column of two: the logins alone; the second: esxprep. Slopes from the first line on.)");
    Ok(())
}

/// One big file.
pub fn upload(front: &Front, most: usize) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let big = dir.path().join("big.bin");
    let data: Vec<u8> = (0..UPLOAD as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(&big, data)?;
    let machine = front.machine()?;
    let host = front.field(1, Duration::ZERO)?;
    let there = dir.path().join("there");
    let path = "/vmfs/volumes/datastore1/big.bin";
    let book = format!("steps:\n  - file: {{path: {path}, from: {}}}\n", big.display());
    let work = Work::new(&book, &[], String::new(), 0)?;
    let cat = |field: &Field, to: &str| -> Outcome<f64> {
        let mut command = ssh_program("ssh", field, &field.doors[0]);
        command.arg(format!("{}@127.0.0.1", user())).arg(format!("cat > {to}"));
        timed(command.stdin(fs::File::open(&big)?))
    };
    let volumes = front.file("vmfs/volumes");
    let stored = volumes.join(fs::read_link(volumes.join("datastore1"))?).join("big.bin");
    let runtime = tokio::runtime::Runtime::new()?;
    let names = [
        "ssh 'cat > file'",
        "scp -O",
        "the transport, with checksums",
        "ssh 'cat > file', simulated host",
        "esxprep apply, `file` step, simulated host",
    ];
    let mut took: [Vec<f64>; 5] = Default::default();
    for round in 0..=most {
        let there = there.to_string_lossy().into_owned();
        let by_cat = cat(&machine, &there)?;
        let mut scp = ssh_program("scp", &machine, &machine.doors[0]);
        let by_scp = timed(scp.arg("-O").arg(&big).arg(format!("{}@127.0.0.1:{there}", user())))?;
        let by_transport = runtime.block_on(async {
            let started = Instant::now();
            let mut shell = RusshConnector::default().connect(&front.sshds[0].target()).await?;
            shell.upload(&Payload::File(big.clone()), &there, 0o600, &mut |_| {}).await?;
            shell.close().await;
            Outcome::Ok(started.elapsed().as_secs_f64())
        })?;
        let into_host = cat(&host, path)?;
        fs::remove_file(&stored)?;
        let by_step = esxprep(host.dir.path(), &host.path("hosts.yml"), &work.path("book.yml"))?.seconds;
        fs::remove_file(&stored)?;
        if round > 0 {
            for (all, one) in took.iter_mut().zip([by_cat, by_scp, by_transport, into_host, by_step]) {
                all.push(one);
            }
        }
    }
    println!("\n{:<46} {:>8} {:>8} {:>8}", "300 MiB up", "wall s", "MiB/s", "/ cat");
    for (n, name) in names.iter().enumerate() {
        let floor = &took[if n < 3 { 0 } else { 3 }];
        let ratio = median(took[n].iter().zip(floor).map(|(one, floor)| one / floor).collect());
        let seconds = median(took[n].clone());
        println!("{name:<46} {seconds:>8.3} {:>8.0} {ratio:>8.2}", (UPLOAD >> 20) as f64 / seconds);
    }
    Ok(())
}
