//! `syslog`: where a host's logs go. A change acts only after `esxcli system syslog reload`, so both are one change.

use schemars::JsonSchema;
use serde::Deserialize;

use serde_json::json;

use self::fields::{
    CONFIGURED, FIELDS, FILTERING, Field, Form, PERSISTENT, argument, check_host, hosts, labels, listed, same,
};
use super::release::{record, truth as truth_of};
use super::sysargs::{Given, OneOrMany, truth};
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Undo, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output, Version};

mod fields;

/// The kind.
pub const KIND: Kind = Kind {
    name: "syslog",
    about: "Remote log hosts, the log directory, rotation, certificate checks",
    example: "\
- syslog:
    loghost: [\"ssl://logs.example.com:1514\"]
    check_ssl_certs: true
",
    parse: parse_as::<Syslog>,
    schema: |generator| generator.subschema_for::<SyslogSpec>(),
};

/// The syslog service's own settings. The firewall ruleset `syslog` must be open for remote hosts: that is a
/// `firewall` step.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogSpec {
    /// Remote hosts, all of them: `udp://`, `tcp://` or `ssl://`, the host, and a port. An empty list: none. Null or
    /// an empty text: not given; a host without any is then a finding, and one that has some is for a person to judge.
    #[serde(default, deserialize_with = "super::sysargs::given_list")]
    #[schemars(with = "Option<OneOrMany<String>>")]
    loghost: Given<Vec<String>>,
    /// The log directory: `[datastore] /path` or an absolute path. Null or an empty text: not given.
    #[serde(default, deserialize_with = "super::sysargs::given")]
    #[schemars(with = "Option<String>")]
    logdir: Given<String>,
    /// A directory of its own for each host below `logdir`.
    #[serde(default)]
    unique: Option<bool>,
    /// How much the syslog service itself logs: `debug`, `info`, `warning`, `error` (7.0U1 and later).
    #[serde(default)]
    level: Option<String>,
    /// Whether the certificates of `ssl://` hosts are checked (6.5 and later).
    #[serde(default)]
    check_ssl_certs: Option<bool>,
    /// Whether they are checked strictly (7.0U1 and later).
    #[serde(default, alias = "strict_x509")]
    x509_strict: Option<bool>,
    /// How many old log files are kept.
    #[serde(default)]
    rotate: Option<u32>,
    /// The size of a log file in KiB.
    #[serde(default)]
    size: Option<u32>,
    /// Seconds until a lost remote host is tried again.
    #[serde(default)]
    timeout: Option<u32>,
    /// Whether log filters leave messages out (7.0 and later).
    #[serde(default)]
    filtering: Option<bool>,
    /// The log directory must be where it outlives a reboot. Without `logdir`, one that is not is for a person.
    #[serde(default)]
    persistent: bool,
    /// Has a meaning only on a host that has an `ssl://` log host: on others the step is not applicable.
    #[serde(default)]
    tls_only: bool,
    /// Settings that are not set at all, so that the host's default holds. Others have no mark of having been set.
    #[serde(default)]
    unset: Vec<Unset>,
    /// `loghost` is what a host printed, in whatever form: what an undo gives back.
    #[serde(default)]
    as_printed: bool,
}

/// A setting that can be unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unset {
    /// The log directory.
    Logdir,
    /// The remote hosts.
    Loghost,
}

/// The step: what is wanted of each field.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SyslogSpec")]
pub struct Syslog {
    wanted: Vec<(&'static Field, String)>,
    /// Keys whose value the site has not given.
    open: Vec<&'static str>,
    filtering: Option<bool>,
    persistent: bool,
    tls_only: bool,
    unset: Vec<Unset>,
}

impl TryFrom<SyslogSpec> for Syslog {
    type Error = String;

    fn try_from(spec: SyslogSpec) -> Result<Self, String> {
        let mut open = Vec::new();
        let hosts = match &spec.loghost {
            Given::No => None,
            Given::Empty => {
                open.push("loghost");
                None
            }
            Given::Value(list) => {
                let all = list.iter().flat_map(|h| h.split(',')).map(str::trim).filter(|h| !h.is_empty());
                let all: Vec<&str> = all.collect();
                for host in all.iter().filter(|_| !spec.as_printed) {
                    check_host(host)?;
                }
                // A list of nothing but empty texts is a list of variables without a value.
                if all.is_empty() && !list.is_empty() {
                    open.push("loghost");
                    None
                } else {
                    Some(all.join(","))
                }
            }
        };
        if spec.unset.contains(&Unset::Loghost) && spec.loghost != Given::No {
            return Err("`loghost` is given and to be unset as well".into());
        }
        let logdir = match spec.logdir {
            Given::Value(_) if spec.unset.contains(&Unset::Logdir) => {
                return Err("`logdir` is given and to be unset as well".into());
            }
            Given::Value(dir) if !dir.starts_with(['/', '[']) => {
                return Err(format!(
                    "{dir:?} is not a log directory; write it like \"[datastore1] /logs\" or /scratch/log"
                ));
            }
            Given::Value(dir) => Some(dir),
            Given::Empty => {
                open.push("logdir");
                None
            }
            Given::No => None,
        };
        let number = |n: Option<u32>| n.map(|n| n.to_string());
        let yes_no = |b: Option<bool>| b.map(|b| b.to_string());
        let values = [
            hosts,
            logdir,
            yes_no(spec.unique),
            spec.level,
            yes_no(spec.check_ssl_certs),
            yes_no(spec.x509_strict),
            number(spec.rotate),
            number(spec.size),
            number(spec.timeout),
        ];
        let wanted: Vec<_> = FIELDS.iter().zip(values).filter_map(|(field, value)| Some((field, value?))).collect();
        let SyslogSpec { filtering, persistent, tls_only, unset, .. } = spec;
        if wanted.is_empty() && open.is_empty() && filtering.is_none() && !persistent && unset.is_empty() {
            return Err("nothing is asked for: give `loghost`, `logdir` or another setting".into());
        }
        Ok(Self { wanted, open, filtering, persistent, tls_only, unset })
    }
}

fn get() -> Command {
    Command::esxcli("system syslog config get")
}

fn filter_get() -> Command {
    Command::esxcli("system syslog config logfilter get")
}

/// Names of datastores and what they stand for; the host may print either.
fn volumes() -> Command {
    Command::esxcli("storage filesystem list")
}

impl Unset {
    fn field(self) -> &'static Field {
        match self {
            Self::Loghost => &FIELDS[0],
            Self::Logdir => &FIELDS[1],
        }
    }
}

/// Whether a setting is not set; `None`: the host does not say. (`--reset=loghost` and `--reset=logdir` are what public
/// tools for ESXi use.)
fn is_unset(what: Unset, printed: &Record) -> Option<bool> {
    match what {
        Unset::Loghost => printed.get("Remote Host").map(|now| hosts(now).is_empty()),
        Unset::Logdir => printed.get(CONFIGURED).and_then(|v| truth(v)).map(|set| !set),
    }
}

/// The difference so far: what is set, what it was, what it shall be, and how it comes back.
#[derive(Default)]
struct Plan {
    names: Vec<&'static str>,
    before: Vec<String>,
    after: Vec<String>,
    back: serde_json::Map<String, serde_json::Value>,
}

impl Plan {
    fn differs(&mut self, name: &'static str, now: &str, want: &str) {
        let word = |text: &str| if text.is_empty() { "<none>".to_owned() } else { text.to_owned() };
        self.names.push(name);
        self.before.push(format!("{name} {}", word(now)));
        self.after.push(format!("{name} {}", word(want)));
    }

    fn comes_back(&mut self, name: &str, value: serde_json::Value) {
        self.back.insert(name.to_owned(), value);
    }

    fn unset(&mut self, name: &str) {
        let list = self.back.entry("unset").or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(json!(name));
        }
    }
}

impl Syslog {
    fn wants_folder(&self) -> bool {
        self.wanted.iter().any(|(field, _)| field.3 == Form::Folder)
    }

    /// The printed value of a field. A label that its release does not have yet makes the step not applicable, if the
    /// rest of the output is what it should be.
    fn printed<'p>(&self, field: &Field, printed: &'p Record, seen: &Seen<'_>) -> Result<&'p str, StepError> {
        let (name, labels, _, _, since) = field;
        if let Some(now) = labels.iter().find_map(|l| printed.get(*l)) {
            return Ok(now);
        }
        let said = format!(
            "no `{}`, only: {}",
            labels.join("` or `"),
            printed.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        );
        let known = printed.contains_key("Remote Host") && printed.contains_key("Local Log Output");
        Err(match since.filter(|since| known && seen.host.version < *since) {
            Some(since) => StepError::NotApplicable(format!(
                "the syslog setting `{name}` came with {since}, and `{}` of ESXi {} prints {said}",
                get().text(),
                seen.host.version,
            )),
            None => StepError::unreadable(&get(), said),
        })
    }

    /// What is set with `config set`.
    fn configured(&self, printed: &Record, seen: &Seen<'_>, plan: &mut Plan) -> Result<Option<Command>, StepError> {
        let volumes = if self.wants_folder() { seen.table(&volumes())? } else { Vec::new() };
        let mut set = Command::esxcli("system syslog config set");
        let mut sets = false;
        for (field, want) in &self.wanted {
            let now = self.printed(field, printed, seen)?;
            let (name, _, option, form, _) = field;
            if same(*form, now, want, &volumes) {
                continue;
            }
            plan.differs(name, now, want);
            match form {
                Form::Folder if is_unset(Unset::Logdir, printed) == Some(true) => plan.unset(name),
                Form::Hosts if hosts(now).is_empty() => plan.unset(name),
                Form::Hosts => {
                    plan.comes_back(name, argument(*form, now));
                    // Older hosts keep what they were given: without a protocol, for one.
                    if listed(now).any(|host| check_host(host).is_err()) {
                        plan.comes_back("as_printed", json!(true));
                    }
                }
                _ => plan.comes_back(name, argument(*form, now)),
            }
            set = set.opt(option, want);
            sets = true;
        }
        let mut resets = Vec::new();
        for what in &self.unset {
            let field = what.field();
            let now = self.printed(field, printed, seen)?;
            match is_unset(*what, printed) {
                Some(true) => continue,
                Some(false) => {
                    plan.differs(field.0, now, "not set");
                    plan.comes_back(field.0, argument(field.3, now));
                    resets.push(field.0);
                }
                None => return Err(StepError::unreadable(&get(), format!("no `{CONFIGURED}:`"))),
            }
        }
        if !resets.is_empty() {
            set = set.opt("--reset", resets.join(","));
            sets = true;
        }
        Ok(sets.then_some(set))
    }

    fn filtered(&self, seen: &Seen<'_>, plan: &mut Plan) -> Result<Option<Command>, StepError> {
        let Some(want) = self.filtering else { return Ok(None) };
        let record = record(seen, &filter_get(), "switching log filters with esxcli", Version::new(7, 0))?;
        let now = truth_of(&record, FILTERING, &filter_get())?;
        if now == want {
            return Ok(None);
        }
        plan.differs("filtering", &now.to_string(), &want.to_string());
        plan.comes_back("filtering", json!(now));
        let set = Command::esxcli("system syslog config logfilter set");
        Ok(Some(set.opt("--log-filtering-enabled", want.to_string())))
    }

    /// What fails whatever the site wants, and what only a person can judge.
    fn judged(&self, printed: &Record, seen: &Seen<'_>, changes: &mut Vec<Change>) -> Result<(), StepError> {
        if self.persistent {
            let said = printed.get(PERSISTENT).and_then(|v| truth(v));
            let Some(persistent) = said else {
                return Err(StepError::NotJudged(format!(
                    "`{}` of ESXi {} does not print `{PERSISTENT}`: look where the log directory is",
                    get().text(),
                    seen.host.version
                )));
            };
            // Another directory is being set: what it is will be seen then.
            let moves = self.wants_folder() && !changes.is_empty();
            if !persistent && !moves {
                let at = printed.get("Local Log Output").map_or("", String::as_str);
                changes.push(Change::finding(
                    "log directory",
                    format!("{at}, which a reboot empties"),
                    "a directory on a datastore",
                    "give `logdir` a directory on a datastore, like \"[datastore1] /logs\" (on 8.0 its root), or give the \
                     host a scratch location on a disk",
                ));
            }
        }
        for name in &self.open {
            let Some(field) = FIELDS.iter().find(|field| field.0 == *name) else { continue };
            let now = self.printed(field, printed, seen)?;
            if field.3 == Form::Hosts && hosts(now).is_empty() {
                let advice = "give `loghost` the site's log hosts, like ssl://logs.example.com:1514";
                changes.push(Change::finding("log hosts", "none", "the site's log hosts", advice));
            } else if changes.is_empty() && !(self.persistent && *name == "logdir") {
                return Err(StepError::NotJudged(format!(
                    "{name} is {now}; whether that is right for this site is for a person, or give `{name}` a value"
                )));
            }
        }
        Ok(())
    }
}

impl Step for Syslog {
    fn summary(&self) -> String {
        let mut all: Vec<String> = self.wanted.iter().map(|(field, value)| format!("{} {value}", field.0)).collect();
        all.extend(self.open.iter().map(|name| format!("{name} of the site")));
        all.extend(self.filtering.map(|on| format!("filtering {on}")));
        all.extend(self.persistent.then(|| "persistent".to_owned()));
        all.extend(self.unset.iter().map(|what| format!("{} not set", what.field().0)));
        format!("syslog: {}", all.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![get()];
        reads.extend(self.wants_folder().then(volumes));
        reads.extend(self.filtering.map(|_| filter_get()));
        reads
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // Newer hosts open the port of a log host in the firewall themselves.
        Some(&["esxcli system syslog", "esxcli network firewall"])
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let printed = labels(&seen.output(&get())?.stdout);
        if printed.is_empty() {
            return Err(StepError::unreadable(&get(), "no `Label: value` line"));
        }
        if self.tls_only {
            let Some(now) = printed.get("Remote Host") else {
                return Err(StepError::unreadable(&get(), "no `Remote Host:`"));
            };
            if !hosts(now).iter().any(|host| host.starts_with("ssl://")) {
                return Err(StepError::NotApplicable("no log host is spoken to with TLS (ssl://)".into()));
            }
        }
        let mut plan = Plan::default();
        let sets = [self.configured(&printed, seen, &mut plan)?, self.filtered(seen, &mut plan)?];
        let mut actions: Vec<Action> = sets.into_iter().flatten().map(Action::Run).collect();
        let mut changes = Vec::new();
        if !actions.is_empty() {
            actions.push(Action::Run(Command::esxcli("system syslog reload")));
            changes.push(Change {
                summary: format!("syslog {}", plan.names.join(", ")),
                before: plan.before.join(", "),
                after: plan.after.join(", "),
                actions,
                effect: Effect { restarts: Some("syslog".into()), ..Effect::default() },
                undo: Undo::step("syslog", serde_json::Value::Object(plan.back)),
                ..Change::default()
            });
        }
        self.judged(&printed, seen, &mut changes)?;
        Ok(changes)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        seen.raw(&get()).map_or(serde_json::Value::Null, |o| serde_json::json!(labels(&o.stdout)))
    }
}

#[cfg(test)]
mod tests;
