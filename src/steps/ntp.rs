//! `ntp`: which time servers a host follows, and whether it does.
//!
//! From 7.0 on `esxcli system ntp` holds both. Before, the servers stand in `/etc/ntp.conf` and the daemon is a
//! service like any other.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::service::{
    By, Service, at_boot, has_ntp_namespace, hostconfig, judge, list, ntp_get, running, start_or_stop, status, told,
};
use super::sysargs::{Given, OneOrMany, truth};
use super::{Action, Change, Effect, Kind, Seen, Source, Step, StepError, Undo, Verdict, parse_as};
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
    /// The servers, all of them: others are taken out. Names or addresses; their order does not matter. Null, an empty
    /// text or an empty list: not given; a host without any is then a finding, and one that has some is for a person to
    /// judge.
    #[serde(default, deserialize_with = "super::sysargs::given_list")]
    #[schemars(with = "Option<OneOrMany<String>>")]
    servers: Given<Vec<String>>,
    /// No servers at all (7.0 and later): what an undo gives back.
    #[serde(default)]
    no_servers: bool,
    /// The whole text of /etc/ntp.conf (before 7.0): what an undo gives back.
    #[serde(default)]
    conf: Option<String>,
    /// Whether the time service runs and starts with the host.
    #[serde(default)]
    enabled: Option<bool>,
    /// Who tells whether the service runs: `init`, the init script (before 7.0; later only esxcli's setting is looked
    /// at), or `hostd`.
    #[serde(default)]
    by: By,
    /// A host whose time comes from the PTP service instead is for a person to judge; needs `by: hostd`.
    #[serde(default)]
    or_ptp: bool,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "NtpSpec")]
pub struct Ntp {
    servers: Servers,
    enabled: Option<bool>,
    by: By,
    or_ptp: bool,
    /// The service as hostd tells of it, on releases with `esxcli system ntp` and on those without.
    halves: Option<(Service, Service)>,
}

/// What is wanted of the servers.
#[derive(Debug, Clone, PartialEq)]
enum Servers {
    NotAsked,
    /// The site has not given them.
    Open,
    These(Vec<String>),
    None,
    /// The whole file.
    Conf(String),
}

impl TryFrom<NtpSpec> for Ntp {
    type Error = String;

    fn try_from(spec: NtpSpec) -> Result<Self, String> {
        let NtpSpec { servers, no_servers, conf, enabled, by, or_ptp } = spec;
        let servers = match (servers, no_servers, conf) {
            (Given::No, false, None) if enabled.is_none() => return Err("give `servers`, `enabled`, or both".into()),
            (Given::No, false, None) => Servers::NotAsked,
            (Given::No, true, None) => Servers::None,
            (Given::No, false, Some(text)) => Servers::Conf(text),
            (Given::Empty, false, None) => Servers::Open,
            (Given::Value(list), false, None) => {
                let list: Vec<String> = list.into_iter().filter(|s| !s.is_empty()).collect();
                let bad = |s: &&String| s.starts_with('-') || s.contains(|c: char| c.is_whitespace() || c == ',');
                if let Some(bad) = list.iter().find(bad) {
                    return Err(format!("{bad:?} is not the name or address of a server"));
                }
                if list.is_empty() { Servers::Open } else { Servers::These(list) }
            }
            _ => return Err("give one of `servers`, `no_servers` and `conf`".into()),
        };
        if or_ptp && by != By::Hostd {
            return Err("`or_ptp` needs `by: hostd`: only hostd tells of the PTP service".into());
        }
        let halves = enabled.filter(|_| by == By::Hostd).and_then(|on| {
            let newer = Service::of_hostd("ntpd", Some(on), None)?;
            Some((newer, Service::of_hostd("ntpd", Some(on), Some(on))?))
        });
        Ok(Self { servers, enabled, by, or_ptp, halves })
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

fn shown(list: &[String]) -> String {
    if list.is_empty() { "none".to_owned() } else { list.join(", ") }
}

fn servers_change(before: &[String], after: &[String], actions: Vec<Action>, undo: Option<Undo>) -> Change {
    Change {
        summary: "time servers".into(),
        before: shown(before),
        after: shown(after),
        actions,
        effect: Effect { restarts: Some("ntpd".into()), ..Effect::default() },
        undo,
        ..Change::default()
    }
}

fn enabled_change(before: String, after: bool, actions: Vec<Action>, undo: Option<Undo>) -> Change {
    Change { summary: "time service".into(), before, after: on_off(after), actions, undo, ..Change::default() }
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
    fn halves(&self, seen: &Seen<'_>) -> Option<&Service> {
        let (newer, older) = self.halves.as_ref()?;
        Some(if has_ntp_namespace(seen.host.version) { newer } else { older })
    }

    /// Whether the daemon has to read its file again.
    fn runs(&self, seen: &Seen<'_>) -> Result<bool, StepError> {
        match told("ntpd", seen).filter(|_| self.by == By::Hostd) {
            Some(told) => Ok(told.running),
            None => running("ntpd", seen),
        }
    }

    /// Servers that the site has not given, on a host with these.
    fn open(&self, now: &[String]) -> Option<Change> {
        let none = self.servers == Servers::Open && now.is_empty();
        none.then(|| {
            Change::finding("time servers", "none", "the site's time servers", "give `servers` the site's own")
        })
    }

    fn compare_esxcli(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (enabled, now) = by_esxcli(seen)?;
        let mut changes = Vec::new();
        let back = || match now.as_slice() {
            [] => Undo::step("ntp", json!({"no_servers": true})),
            now => Undo::step("ntp", json!({ "servers": now })),
        };
        match &self.servers {
            Servers::These(want) if !same(&now, want) => {
                // `-s` takes the place of the whole list. (Not verified: no set was recorded.)
                let set = want.iter().fold(Command::esxcli("system ntp set"), |c, s| c.opt("-s", s));
                changes.push(servers_change(&now, want, vec![Action::Run(set)], back()));
            }
            Servers::None if !now.is_empty() => {
                // The only way to an empty list that public scripts use. That it brings the log level back to its
                // default (warning) is not verified.
                let mut actions = vec![Action::Run(Command::esxcli("system ntp set --reset"))];
                let record = seen.record(&ntp_get())?;
                if let Some(level) = record.get("Loglevel").filter(|level| *level != "warning") {
                    actions.push(Action::Run(Command::esxcli("system ntp set").opt("-l", level)));
                }
                changes.push(servers_change(&now, &[], actions, back()));
            }
            Servers::Conf(_) => {
                return Err(StepError::Refused("`conf` is for releases before 7.0; give `servers`".into()));
            }
            _ => {}
        }
        // Without a server there is nothing to follow: the finding says it all.
        if let Some(finding) = self.open(&now) {
            return Ok(vec![finding]);
        }
        if let Some(want) = self.enabled
            && enabled != want
        {
            let set = Command::esxcli("system ntp set").opt("-e", if want { "true" } else { "false" });
            let undo = Undo::step("ntp", json!({ "enabled": enabled }));
            changes.push(enabled_change(on_off(enabled), want, vec![Action::Run(set)], undo));
        } else if let Some(service) = self.halves(seen) {
            changes.extend(service.compare(seen)?);
        }
        self.judged(&now, changes)
    }

    fn compare_conf(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        let runs = self.runs(seen)?;
        let output = seen.raw(&conf())?;
        let missing = output.stderr.contains("No such file") || output.stdout.contains("No such file");
        let asked = self.servers != Servers::NotAsked;
        let text = if missing || !asked { "" } else { seen.output(&conf())?.stdout.as_str() };
        let now = servers_in(text);
        let none = Vec::new();
        let (want, after) = match &self.servers {
            Servers::These(want) if !same(&now, want) => (want, Some(rewritten(text, want))),
            Servers::None if !now.is_empty() => (&none, Some(rewritten(text, &none))),
            Servers::Conf(want) => (&none, Some(want.clone()).filter(|want| want != text)),
            _ => (&none, None),
        };
        if let Some(after) = after {
            let want = if let Servers::Conf(_) = self.servers { &servers_in(&after) } else { want };
            // Sticky: only such files below /etc are saved to the boot bank.
            let mut actions = vec![Action::Upload {
                source: Source::Bytes(after.clone().into_bytes()),
                path: "/etc/ntp.conf".into(),
                mode: 0o1644,
            }];
            if runs {
                actions.push(Action::Run(Command::new("/etc/init.d/ntpd restart")));
            }
            // The whole file: its lines have options that a list of servers does not tell.
            let undo = if missing {
                Undo::step("file", json!({"path": "/etc/ntp.conf", "state": "absent"}))
            } else {
                Undo::step("ntp", json!({ "conf": text }))
            };
            changes.push(servers_change(&now, want, actions, undo));
        }
        if let Some(finding) = self.open(&now) {
            return Ok(vec![finding]);
        }
        if let Some(service) = self.halves(seen) {
            changes.extend(service.compare(seen)?);
        } else if let Some(want) = self.enabled {
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
                let undo = Undo::step("service", json!({"name": "ntpd", "running": runs, "at_boot": boot}));
                changes.push(enabled_change(before, want, actions, undo));
            }
        }
        self.judged(&now, changes)
    }

    /// What only a person can judge, when nothing is left to change.
    fn judged(&self, now: &[String], changes: Vec<Change>) -> Result<Vec<Change>, StepError> {
        if self.servers == Servers::Open && changes.is_empty() {
            return Err(StepError::NotJudged(format!(
                "the time comes from {}; whether these are the site's servers is for a person, or give `servers`",
                shown(now)
            )));
        }
        Ok(changes)
    }
}

impl Step for Ntp {
    fn summary(&self) -> String {
        let service = |on: bool| format!("time service {}", on_off(on));
        let servers = match &self.servers {
            Servers::NotAsked => return service(self.enabled.unwrap_or_default()),
            Servers::These(servers) if self.enabled == Some(false) => {
                return format!("time servers {}, service off", servers.join(", "));
            }
            Servers::These(servers) => format!("time from {}", servers.join(", ")),
            Servers::Open => "time from the site's servers".to_owned(),
            Servers::None => "no time servers".to_owned(),
            Servers::Conf(_) => "an earlier /etc/ntp.conf".to_owned(),
        };
        match self.enabled.filter(|on| !on || !matches!(self.servers, Servers::These(_))) {
            Some(on) => format!("{servers}, {}", service(on)),
            None => servers,
        }
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        match (has_ntp_namespace(host.version), self.by) {
            (true, By::Init) => vec![ntp_get()],
            (true, By::Hostd) => vec![ntp_get(), hostconfig()],
            (false, By::Init) => vec![conf(), list(), status("ntpd")],
            (false, By::Hostd) => vec![conf(), hostconfig()],
        }
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if self.by == By::Init || seen.raw(&hostconfig()).is_err() {
            return Vec::new();
        }
        // What esxcli says is not as wanted needs no second opinion.
        let differs = has_ntp_namespace(seen.host.version)
            && by_esxcli(seen).is_ok_and(|(enabled, _)| self.enabled.is_some_and(|want| want != enabled));
        let halves = self.halves(seen).filter(|_| !differs);
        let mut out = halves.map(|service| service.more_reads(seen)).unwrap_or_default();
        if !has_ntp_namespace(seen.host.version) && told("ntpd", seen).is_none() {
            out.extend([list(), status("ntpd")]);
        }
        out
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        Some(&["esxcli system ntp", "esxcli network firewall"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let changes =
            if has_ntp_namespace(seen.host.version) { self.compare_esxcli(seen) } else { self.compare_conf(seen) }?;
        let ptp = || told("ptpd", seen).is_some_and(|ptpd| ptpd.running && ptpd.policy == "on");
        if self.or_ptp && !changes.is_empty() && ptp() {
            return Err(StepError::NotJudged(
                "the time comes from PTP (ptpd runs and starts with the host): whether from the right source is for a \
                 person"
                    .into(),
            ));
        }
        Ok(changes)
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
mod tests;
