//! `ntp`: which time servers a host follows, and whether it does.
//!
//! From 7.0 on `esxcli system ntp` holds both. Before, the servers stand in `/etc/ntp.conf` and the daemon is a
//! service like any other.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::{at_boot, has_ntp_namespace, judge, list, ntp_get, running, start_or_stop, status};
use super::sysargs::truth;
use super::{Action, Change, Effect, Kind, Seen, Source, Step, StepError, Verdict, parse_as};
use crate::esxi::{Command, HostFacts, Output};

/// The kind.
pub const KIND: Kind = Kind {
    name: "ntp",
    about: "Time servers, and whether the time service runs and starts with the host",
    example: "\
- ntp:
    servers: [0.pool.ntp.org, 1.pool.ntp.org]
    enabled: true
",
    parse: parse_as::<Ntp>,
    schema: |generator| generator.subschema_for::<NtpSpec>(),
};

/// Time servers and the state of the time service. The firewall ruleset `ntpClient` must be open as well; enabling
/// the service through esxcli (7.0 and later) opens it, on older releases it takes a `firewall` step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NtpSpec {
    /// The servers, all of them: others are taken out. Names or addresses; their order does not matter.
    #[serde(default)]
    servers: Option<Vec<String>>,
    /// Whether the time service runs and starts with the host.
    #[serde(default)]
    enabled: Option<bool>,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "NtpSpec")]
pub struct Ntp {
    servers: Option<Vec<String>>,
    enabled: Option<bool>,
}

impl TryFrom<NtpSpec> for Ntp {
    type Error = String;

    fn try_from(spec: NtpSpec) -> Result<Self, String> {
        match &spec.servers {
            None if spec.enabled.is_none() => return Err("give `servers`, `enabled`, or both".into()),
            Some(servers) if servers.is_empty() => {
                return Err("an empty list of servers; to stop following time servers say `enabled: false`".into());
            }
            Some(servers) => {
                let bad = |s: &&String| {
                    s.is_empty() || s.starts_with('-') || s.contains(|c: char| c.is_whitespace() || c == ',')
                };
                if let Some(bad) = servers.iter().find(bad) {
                    return Err(format!("{bad:?} is not the name or address of a server"));
                }
            }
            None => {}
        }
        Ok(Self { servers: spec.servers, enabled: spec.enabled })
    }
}

fn conf() -> Command {
    Command::new("cat /etc/ntp.conf")
}

fn same(a: &[String], b: &[String]) -> bool {
    let norm = |list: &[String]| {
        let mut list: Vec<String> = list.iter().map(|s| s.to_ascii_lowercase()).collect();
        list.sort();
        list.dedup();
        list
    };
    norm(a) == norm(b)
}

fn on_off(on: bool) -> String {
    if on { "enabled" } else { "disabled" }.to_owned()
}

fn servers_change(before: &[String], after: &[String], actions: Vec<Action>) -> Change {
    let shown = |list: &[String]| if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    Change {
        summary: "time servers".into(),
        before: shown(before),
        after: shown(after),
        actions,
        effect: Effect { restarts: Some("ntpd".into()), ..Effect::default() },
        ..Change::default()
    }
}

fn enabled_change(before: String, after: bool, actions: Vec<Action>) -> Change {
    Change { summary: "time service".into(), before, after: on_off(after), actions, ..Change::default() }
}

/// What 7.0 and later hold. Labels recorded on 7.0: system-ntp-get.
fn by_esxcli(seen: &Seen<'_>) -> Result<(bool, Vec<String>), StepError> {
    let record = seen.record(&ntp_get())?;
    let enabled = record.get("Enabled").and_then(|v| truth(v));
    let enabled = enabled.ok_or_else(|| StepError::unreadable(&ntp_get(), "no `Enabled:` with true or false"))?;
    let servers = record.get("Servers").or_else(|| record.get("NTP Servers")).map_or("", String::as_str);
    let split = servers.split([',', ' ']).map(str::trim).filter(|s| !s.is_empty() && *s != "<none>");
    Ok((enabled, split.map(str::to_owned).collect()))
}

/// The servers of an ntp.conf: the second word of `server` and `pool` lines, but no reference clocks.
fn servers_in(conf: &str) -> Vec<String> {
    conf.lines().filter_map(server_of).map(str::to_owned).collect()
}

fn server_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let is_server = matches!(words.next(), Some("server" | "pool"));
    words.next().filter(|name| is_server && !name.starts_with("127.127."))
}

/// The file with these servers: lines of wanted ones stay as they are (with their options), others go, new ones
/// come after the last `server` line; every other line is kept.
fn rewritten(conf: &str, servers: &[String]) -> String {
    let wanted = |line: &str| server_of(line).is_none_or(|s| servers.iter().any(|w| w.eq_ignore_ascii_case(s)));
    let had = servers_in(conf);
    let new = servers.iter().filter(|s| !had.iter().any(|h| h.eq_ignore_ascii_case(s)));
    let new: Vec<String> = new.map(|s| format!("server {s}")).collect();
    let last = conf.lines().filter(|l| server_of(l).is_some()).count();
    let mut out: Vec<&str> = Vec::new();
    let mut passed = 0;
    for line in conf.lines() {
        if wanted(line) {
            out.push(line);
        }
        if server_of(line).is_some() {
            passed += 1;
            if passed == last {
                out.extend(new.iter().map(String::as_str));
            }
        }
    }
    if last == 0 {
        out.extend(new.iter().map(String::as_str));
    }
    out.join("\n") + "\n"
}

impl Ntp {
    fn compare_esxcli(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (enabled, now) = by_esxcli(seen)?;
        let mut changes = Vec::new();
        if let Some(want) = &self.servers
            && !same(&now, want)
        {
            // `-s` takes the place of the whole list. (Not verified: no set was recorded.)
            let set = want.iter().fold(Command::esxcli("system ntp set"), |c, s| c.opt("-s", s));
            changes.push(servers_change(&now, want, vec![Action::Run(set)]));
        }
        if let Some(want) = self.enabled
            && enabled != want
        {
            let set = Command::esxcli("system ntp set").opt("-e", if want { "true" } else { "false" });
            changes.push(enabled_change(on_off(enabled), want, vec![Action::Run(set)]));
        }
        Ok(changes)
    }

    fn compare_conf(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        let runs = running("ntpd", seen)?;
        if let Some(want) = &self.servers {
            let output = seen.raw(&conf())?;
            let missing = output.stderr.contains("No such file") || output.stdout.contains("No such file");
            let text = if missing { "" } else { seen.output(&conf())?.stdout.as_str() };
            let now = servers_in(text);
            if !same(&now, want) {
                // Sticky: only such files below /etc are saved to the boot bank.
                let mut actions = vec![Action::Upload {
                    source: Source::Bytes(rewritten(text, want).into_bytes()),
                    path: "/etc/ntp.conf".into(),
                    mode: 0o1644,
                }];
                if runs {
                    actions.push(Action::Run(Command::new("/etc/init.d/ntpd restart")));
                }
                changes.push(servers_change(&now, want, actions));
            }
        }
        if let Some(want) = self.enabled {
            let boot = at_boot("ntpd", seen)?;
            let mut actions = Vec::new();
            if boot != want {
                let on = if want { "on" } else { "off" };
                actions.push(Action::Run(Command::new("chkconfig ntpd").arg(on)));
            }
            if runs != want {
                actions.push(Action::Run(start_or_stop("ntpd", want)));
            }
            if !actions.is_empty() {
                let word = |yes: bool, words: [&'static str; 2]| words[usize::from(!yes)];
                let before = format!("{}, {} at boot", word(runs, ["running", "stopped"]), word(boot, ["on", "off"]));
                changes.push(enabled_change(before, want, actions));
            }
        }
        Ok(changes)
    }
}

impl Step for Ntp {
    fn summary(&self) -> String {
        match (&self.servers, self.enabled) {
            (Some(servers), None | Some(true)) => format!("time from {}", servers.join(", ")),
            (Some(servers), Some(false)) => format!("time servers {}, service off", servers.join(", ")),
            (None, enabled) => format!("time service {}", on_off(enabled.unwrap_or_default())),
        }
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        if has_ntp_namespace(host.version) { vec![ntp_get()] } else { vec![conf(), list(), status("ntpd")] }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        if has_ntp_namespace(seen.host.version) { self.compare_esxcli(seen) } else { self.compare_conf(seen) }
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        judge(action, output)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        if has_ntp_namespace(seen.host.version) {
            by_esxcli(seen).map_or(serde_json::Value::Null, |(on, servers)| json!({"enabled": on, "servers": servers}))
        } else {
            json!({
                "enabled": at_boot("ntpd", seen).ok(),
                "servers": seen.raw(&conf()).map(|o| servers_in(&o.stdout)).unwrap_or_default(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::Host;

    fn step(json: serde_json::Value) -> Ntp {
        serde_json::from_value(json).unwrap()
    }

    fn compare(step: &Ntp, version: Version, outputs: &[(&str, &str)]) -> Vec<Change> {
        Host::with(version, outputs).compare(step).unwrap()
    }

    fn actions(changes: &[Change]) -> Vec<String> {
        let text = |a: &Action| match a {
            Action::Run(c) => c.text().to_owned(),
            Action::Upload { source: Source::Bytes(b), path, mode } => {
                format!("{path} {mode:o}\n{}", String::from_utf8_lossy(b))
            }
            other => panic!("{other:?}"),
        };
        changes.iter().flat_map(|c| &c.actions).map(text).collect()
    }

    const V70: Version = Version::new(7, 0);
    const V65: Version = Version::new(6, 5);

    #[test]
    fn recorded_on_7_0_it_is_as_wanted_whatever_the_order() {
        let get = recorded(include_str!("../../fixtures/transcripts/7.0/system-ntp-get.txt"));
        let outputs = [("esxcli system ntp get", get.as_str())];
        let same = step(json!({"servers": ["2.nl.pool.org", "1.nl.pool.org", "3.NL.pool.org"], "enabled": true}));
        assert_eq!(same.reads(&HostFacts::example(V70)).len(), 1);
        assert!(compare(&same, V70, &outputs).is_empty());
        let other = step(json!({"servers": ["a.example", "b.example"], "enabled": false}));
        let changes = compare(&other, V70, &outputs);
        assert_eq!(
            actions(&changes),
            ["esxcli system ntp set -s a.example -s b.example", "esxcli system ntp set -e false"]
        );
        assert_eq!(changes[0].before, "1.nl.pool.org, 2.nl.pool.org, 3.nl.pool.org");
    }

    #[test]
    fn before_7_0_the_file_keeps_its_other_lines() {
        let conf = "restrict default nomodify\nserver old.example iburst\nserver keep.example prefer\ndriftfile /etc/ntp.drift\n";
        let list = "ntpd   off\n";
        let outputs = [
            ("cat /etc/ntp.conf", conf),
            ("chkconfig --list", list),
            ("/etc/init.d/ntpd status", "ntpd is not running"),
        ];
        let ntp = step(json!({"servers": ["keep.example", "new.example"], "enabled": true}));
        let changes = compare(&ntp, V65, &outputs);
        let wanted =
            "restrict default nomodify\nserver keep.example prefer\nserver new.example\ndriftfile /etc/ntp.drift\n";
        assert_eq!(
            actions(&changes),
            [format!("/etc/ntp.conf 1644\n{wanted}").as_str(), "chkconfig ntpd on", "/etc/init.d/ntpd start"]
        );
        let after = [
            ("cat /etc/ntp.conf", wanted),
            ("chkconfig --list", "ntpd   on\n"),
            ("/etc/init.d/ntpd status", "ntpd is running"),
        ];
        assert!(compare(&ntp, V65, &after).is_empty());
        // A running daemon has to read the file again.
        let running = [("cat /etc/ntp.conf", conf), after[1], after[2]];
        assert_eq!(actions(&compare(&ntp, V65, &running))[1], "/etc/init.d/ntpd restart");
    }

    #[test]
    fn a_file_without_servers_gets_them_and_clocks_are_left_alone() {
        let servers = ["a".to_owned()];
        assert_eq!(rewritten("", &servers), "server a\n");
        assert_eq!(rewritten("server 127.127.1.0\n", &servers), "server 127.127.1.0\nserver a\n");
        assert_eq!(rewritten("server b\nserver c\n", &servers), "server a\n");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [json!({}), json!({"servers": []}), json!({"servers": ["a b"]}), json!({"servers": ["-x"]})] {
            assert!(serde_json::from_value::<Ntp>(bad).is_err());
        }
    }
}
