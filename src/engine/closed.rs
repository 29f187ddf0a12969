//! A host that cannot be reached because an earlier run closed its way in, as its playbook asked: the journal knows.

use std::collections::{BTreeSet, HashMap};

use super::events::EventKind;
use super::journal::{Recorded, RunInfo, StateDir};

/// Runs looked at, the newest first: who hardened a fleet longer ago than that knows it by other means.
const RUNS: usize = 50;

/// A command that closes a way in, what that means, and the command that opens it again.
struct Door {
    closes: &'static str,
    opens: &'static str,
    means: &'static str,
}

/// Commands are those of the steps `service`, `lockdown`, `firewall` and `setting`.
const DOORS: &[Door] = &[
    Door { closes: "hostsvc/stop_ssh", opens: "hostsvc/start_ssh", means: "the SSH service was stopped" },
    Door { closes: "auth/lockdown_mode_enter", opens: "auth/lockdown_mode_exit", means: "lockdown mode was entered" },
    Door {
        closes: "ruleset set -r sshServer -a false",
        opens: "ruleset set -r sshServer -a true",
        means: "the firewall lets only listed addresses in",
    },
    Door {
        closes: "-o /UserVars/ESXiShellTimeOut -i ",
        opens: "-o /UserVars/ESXiShellTimeOut -i 0",
        means: "SSH closes by itself some time after each start (UserVars.ESXiShellTimeOut)",
    },
];

/// What a person does about it. Menus: the vendor's documentation of the direct console and of the host client.
const ADVICE: &str = "That is what the playbook asked for. To come in again, enable SSH at the console (DCUI: F2, Troubleshooting \
     Options, Enable SSH), in the host client (Host, Actions, Services) or in vCenter; lockdown mode is left first, at the console \
     or in vCenter";

/// Why hosts may be closed: for each, by the newest run that closed something of it and opened it not again. All hosts
/// at once: every journal is read one time, however many hosts cannot be reached.
pub(super) fn explain(state: &StateDir, hosts: &BTreeSet<String>) -> HashMap<String, String> {
    let mut all = HashMap::new();
    let runs = state.list().unwrap_or_default();
    let changed = |run: &&RunInfo| run.meta.mode == "apply" && run.meta.hosts.iter().any(|h| hosts.contains(h));
    for run in runs.iter().filter(changed).take(RUNS) {
        let Ok(recorded) = state.load(&run.meta.run) else { continue };
        for (host, why) in by(&recorded) {
            all.entry(host).or_insert(why);
        }
    }
    all
}

/// The same for one run: of the hosts of which it closed something. A run that opened everything ends the search with no
/// answer only if nothing older closed it, which nobody can tell from here: that is worth no guess.
fn by(run: &Recorded) -> HashMap<String, String> {
    let mut closed: HashMap<&str, Vec<&Door>> = HashMap::new();
    for event in &run.events {
        let EventKind::Making { host, changes, .. } = &event.kind else { continue };
        for command in changes.iter().flat_map(|change| &change.commands) {
            for door in DOORS {
                if command.contains(door.opens) {
                    closed.entry(host).or_default().retain(|d| !std::ptr::eq(*d, door));
                } else if command.contains(door.closes) {
                    closed.entry(host).or_default().push(door);
                }
            }
        }
    }
    let name = if run.meta.name.is_empty() { String::new() } else { format!(" ({})", run.meta.name) };
    let said = |(host, mut doors): (&str, Vec<&Door>)| {
        doors.dedup_by(|a, b| std::ptr::eq(*a, *b));
        let means: Vec<&str> = doors.iter().map(|door| door.means).collect();
        (host.to_owned(), format!("SSH was closed by run {}{name}: {}. {ADVICE}", run.meta.run, means.join("; ")))
    };
    closed.into_iter().filter(|(_, doors)| !doors.is_empty()).map(said).collect()
}

#[cfg(test)]
mod tests {
    use super::super::events::{ChangeShown, Event};
    use super::super::journal::{NewRun, RunMeta};
    use super::*;

    fn by(run: &Recorded, host: &str) -> Option<String> {
        super::by(run).remove(host)
    }

    fn run(commands: &[&str]) -> Recorded {
        let event = |command: &&str| {
            let change = ChangeShown { commands: vec![(*command).to_owned()], ..ChangeShown::default() };
            let kind = EventKind::Making {
                host: "esx1".into(),
                step: 1,
                kind: "service".into(),
                name: "n".into(),
                changes: vec![change],
            };
            Event::now("r", kind)
        };
        let meta = RunMeta::new("20261128-r".into(), &NewRun { name: "STIG".into(), ..NewRun::default() });
        Recorded { meta, events: commands.iter().map(event).collect(), unreadable: 0, earlier: None }
    }

    #[test]
    fn what_closed_it_is_said_and_what_was_opened_again_is_not() {
        let said = by(&run(&["vim-cmd hostsvc/disable_ssh", "vim-cmd hostsvc/stop_ssh"]), "esx1").unwrap();
        assert!(said.contains("20261128-r") && said.contains("STIG") && said.contains("Enable SSH"), "{said}");
        assert_eq!(by(&run(&["vim-cmd hostsvc/stop_ssh"]), "esx2"), None);
        assert_eq!(by(&run(&["vim-cmd hostsvc/stop_ssh", "vim-cmd hostsvc/start_ssh"]), "esx1"), None);
        let set = |n: &str| format!("esxcli system settings advanced set -o /UserVars/ESXiShellTimeOut -i {n}");
        assert!(by(&run(&[&set("600")]), "esx1").unwrap().contains("by itself"));
        assert_eq!(by(&run(&[&set("600"), &set("0")]), "esx1"), None);
        assert_eq!(by(&run(&["esxcli system settings advanced set -o /UserVars/DcuiTimeOut -i 600"]), "esx1"), None);
    }
}
