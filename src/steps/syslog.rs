//! `syslog`: where a host's logs go. A change acts only after `esxcli system syslog reload`, so both are one change.

use schemars::JsonSchema;
use serde::Deserialize;

use super::sysargs::{OneOrMany, truth};
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output};

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
    /// Remote hosts, all of them: `udp://`, `tcp://` or `ssl://`, the host, and a port. An empty list: none.
    #[serde(default)]
    loghost: Option<OneOrMany<String>>,
    /// The log directory: `[datastore] /path` or an absolute path.
    #[serde(default)]
    logdir: Option<String>,
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
    #[serde(default)]
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
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Hosts,
    Folder,
    Word,
    Truth,
    Number,
}

/// One setting: its key in the playbook, its labels in `config get`, its option in `config set`, its form.
type Field = (&'static str, &'static [&'static str], &'static str, Form);

/// Labels recorded on 6.5: system-syslog-config-get; the newer ones are from hardening guides for 7.0 and 8.0.
/// Options are those of the vendor's table of syslog options for 7.0.
const FIELDS: &[Field] = &[
    ("loghost", &["Remote Host"], "--loghost", Form::Hosts),
    ("logdir", &["Local Log Output"], "--logdir", Form::Folder),
    ("unique", &["Log To Unique Subdirectory"], "--logdir-unique", Form::Truth),
    ("level", &["Log Level"], "--log-level", Form::Word),
    ("check_ssl_certs", &["Check SSL Certs", "Enforce SSLCertificates"], "--check-ssl-certs", Form::Truth),
    ("x509_strict", &["Strict X509Compliance"], "--x509-strict", Form::Truth),
    ("rotate", &["Local Logging Default Rotations"], "--default-rotate", Form::Number),
    ("size", &["Local Logging Default Rotation Size"], "--default-size", Form::Number),
    ("timeout", &["Default Network Retry Timeout"], "--default-timeout", Form::Number),
];

/// The step: what is wanted of each field.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "SyslogSpec")]
pub struct Syslog {
    wanted: Vec<(&'static Field, String)>,
}

impl TryFrom<SyslogSpec> for Syslog {
    type Error = String;

    fn try_from(spec: SyslogSpec) -> Result<Self, String> {
        if let Some(hosts) = &spec.loghost {
            for host in hosts.items().iter().flat_map(|h| h.split(',')) {
                check_host(host.trim())?;
            }
        }
        if let Some(dir) = &spec.logdir
            && !dir.starts_with(['/', '['])
        {
            return Err(format!(
                "{dir:?} is not a log directory; write it like \"[datastore1] /logs\" or /scratch/log"
            ));
        }
        let hosts = spec.loghost.map(|h| {
            let all = h.items().iter().flat_map(|h| h.split(',')).map(str::trim).filter(|h| !h.is_empty());
            all.collect::<Vec<_>>().join(",")
        });
        let number = |n: Option<u32>| n.map(|n| n.to_string());
        let yes_no = |b: Option<bool>| b.map(|b| b.to_string());
        let values = [
            hosts,
            spec.logdir,
            yes_no(spec.unique),
            spec.level,
            yes_no(spec.check_ssl_certs),
            yes_no(spec.x509_strict),
            number(spec.rotate),
            number(spec.size),
            number(spec.timeout),
        ];
        let wanted: Vec<_> = FIELDS.iter().zip(values).filter_map(|(field, value)| Some((field, value?))).collect();
        if wanted.is_empty() {
            return Err("nothing is asked for: give `loghost`, `logdir` or another setting".into());
        }
        Ok(Self { wanted })
    }
}

/// `udp://host:514`. Without the protocol releases differ in what they store, and a second run would find a
/// difference.
fn check_host(host: &str) -> Result<(), String> {
    let Some((protocol, rest)) = host.split_once("://") else {
        if host.is_empty() {
            return Ok(());
        }
        return Err(format!("the log host {host:?} has no protocol; write udp://{host}:514 or ssl://{host}:1514"));
    };
    if !matches!(protocol, "udp" | "tcp" | "ssl") {
        return Err(format!("the log host {host:?} has the protocol {protocol:?}; ESXi knows udp, tcp and ssl"));
    }
    let port = rest.rsplit_once(':').filter(|(name, _)| !name.contains(':') || name.ends_with(']')).map(|(_, p)| p);
    if rest.is_empty() || port.is_some_and(|p| p.parse::<u16>().is_err()) {
        return Err(format!("{host:?} is not a log host; write it like udp://logs.example.com:514"));
    }
    Ok(())
}

fn get() -> Command {
    Command::esxcli("system syslog config get")
}

/// Names of datastores and what they stand for; the host may print either.
fn volumes() -> Command {
    Command::esxcli("storage filesystem list")
}

/// `Label: value` lines. Not the common reader: copies of this output without the indent exist (recorded on 6.5), and
/// a label in one line is all its form.
fn labels(text: &str) -> Record {
    let lines = text.lines().filter_map(|l| l.trim().split_once(':'));
    lines.map(|(label, value)| (label.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Hosts in an order and a spelling of their own: protocol's default port said, `<none>` is none.
fn hosts(text: &str) -> Vec<String> {
    let spelt = |h: &str| {
        let h = h.to_ascii_lowercase();
        let bare = h.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches(']').contains(':'));
        match h.split_once(':').map(|(protocol, _)| protocol) {
            Some("udp") if bare => format!("{h}:514"),
            Some("ssl") if bare => format!("{h}:1514"),
            _ => h,
        }
    };
    let all = text.split(',').map(str::trim).filter(|h| !h.is_empty() && *h != "<none>");
    let mut all: Vec<String> = all.map(spelt).collect();
    all.sort();
    all
}

/// `[ds] /logs` and `/vmfs/volumes/ds/logs` and the same by UUID are one directory.
fn folder(text: &str, volumes: &[Record]) -> String {
    let text = text.trim();
    let path = match text.strip_prefix('[').and_then(|t| t.split_once(']')) {
        Some(("", path)) => path.trim().to_owned(),
        Some((name, path)) => format!("/vmfs/volumes/{}/{}", name.trim(), path.trim().trim_start_matches('/')),
        None => text.to_owned(),
    };
    let path = path.trim_end_matches('/');
    let Some(rest) = path.strip_prefix("/vmfs/volumes/") else { return path.to_owned() };
    let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
    let same = |r: &&Record| !name.is_empty() && r.get("Volume Name").is_some_and(|n| n == name);
    let uuid = volumes.iter().find(same).and_then(|r| r.get("UUID")).map_or(name, String::as_str);
    format!("/vmfs/volumes/{uuid}/{below}").trim_end_matches('/').to_owned()
}

fn same(form: Form, now: &str, want: &str, volumes: &[Record]) -> bool {
    match form {
        Form::Hosts => hosts(now) == hosts(want),
        Form::Folder => folder(now, volumes) == folder(want, volumes),
        Form::Word => now.eq_ignore_ascii_case(want),
        Form::Truth => truth(now).is_some() && truth(now) == truth(want),
        Form::Number => now.parse::<u64>().is_ok() && now.parse::<u64>() == want.parse::<u64>(),
    }
}

impl Syslog {
    fn wants_folder(&self) -> bool {
        self.wanted.iter().any(|(field, _)| field.3 == Form::Folder)
    }
}

impl Step for Syslog {
    fn summary(&self) -> String {
        let all: Vec<String> = self.wanted.iter().map(|(field, value)| format!("{} {value}", field.0)).collect();
        format!("syslog: {}", all.join(", "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        if self.wants_folder() { vec![get(), volumes()] } else { vec![get()] }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let printed = labels(&seen.output(&get())?.stdout);
        if printed.is_empty() {
            return Err(StepError::unreadable(&get(), "no `Label: value` line"));
        }
        let volumes = if self.wants_folder() { seen.table(&volumes())? } else { Vec::new() };
        let mut set = Command::esxcli("system syslog config set");
        let (mut names, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        for ((name, labels, option, form), want) in &self.wanted {
            let Some(now) = labels.iter().find_map(|l| printed.get(*l)) else {
                return Err(StepError::Refused(format!(
                    "ESXi {} does not have the syslog setting `{name}`: `{}` prints no `{}`, only: {}",
                    seen.host.version,
                    get().text(),
                    labels.join("` or `"),
                    printed.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
                )));
            };
            if !same(*form, now, want, &volumes) {
                set = set.opt(option, want);
                names.push(*name);
                before.push(format!("{name} {}", if now.is_empty() { "<none>" } else { now }));
                after.push(format!("{name} {}", if want.is_empty() { "<none>" } else { want }));
            }
        }
        if names.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Change {
            summary: format!("syslog {}", names.join(", ")),
            before: before.join(", "),
            after: after.join(", "),
            actions: vec![Action::Run(set), Action::Run(Command::esxcli("system syslog reload"))],
            effect: Effect { restarts: Some("syslog".into()), ..Effect::default() },
            ..Change::default()
        }])
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        seen.raw(&get()).map_or(serde_json::Value::Null, |o| serde_json::json!(labels(&o.stdout)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::{Host, texts};

    fn step(json: serde_json::Value) -> Syslog {
        serde_json::from_value(json).unwrap()
    }

    fn compare(step: &Syslog, outputs: &[(&str, &str)]) -> Result<Vec<Change>, StepError> {
        Host::with(Version::new(6, 5), outputs).compare(step)
    }

    const GET: &str = "esxcli system syslog config get";
    const VOLUMES: &str = "esxcli storage filesystem list";

    #[test]
    fn hosts_recorded_on_6_5_are_compared_as_a_set() {
        let two = recorded(include_str!("../../fixtures/transcripts/6.5/system-syslog-config-get-two-hosts.txt"));
        let one = recorded(include_str!("../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
        let both = step(json!({"loghost": ["udp://192.168.1.106", "tcp://10.0.0.6:5004"]}));
        assert!(compare(&both, &[(GET, &two)]).unwrap().is_empty());
        let changes = compare(&both, &[(GET, &one)]).unwrap();
        assert_eq!(
            texts(&changes),
            [
                "esxcli system syslog config set --loghost=udp://192.168.1.106,tcp://10.0.0.6:5004",
                "esxcli system syslog reload"
            ]
        );
        assert_eq!(changes[0].before, "loghost udp://192.168.1.106:514");
        let none = step(json!({"loghost": []}));
        assert_eq!(texts(&compare(&none, &[(GET, &one)]).unwrap())[0], "esxcli system syslog config set --loghost=''");
        assert!(compare(&none, &[(GET, "   Remote Host: <none>\n")]).unwrap().is_empty());
    }

    #[test]
    fn several_settings_are_one_call_and_one_reload() {
        let one = recorded(include_str!("../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
        let many = step(json!({"check_ssl_certs": true, "rotate": 8, "size": 2048, "unique": false}));
        let changes = compare(&many, &[(GET, &one)]).unwrap();
        assert_eq!(
            texts(&changes),
            [
                "esxcli system syslog config set --check-ssl-certs=true --default-size=2048",
                "esxcli system syslog reload"
            ]
        );
        // The label of newer releases, and the indent that the recorded copy lost.
        let newer = "   Check SSL Certs: true\n   Local Logging Default Rotation Size: 2048\n   Local Logging Default Rotations: 8\n   Log To Unique Subdirectory: false\n";
        assert!(compare(&many, &[(GET, newer)]).unwrap().is_empty());
    }

    #[test]
    fn a_setting_that_the_release_lacks_is_an_error_that_lists_what_it_has() {
        let one = recorded(include_str!("../../fixtures/transcripts/6.5/system-syslog-config-get.txt"));
        let said = compare(&step(json!({"level": "info"})), &[(GET, &one)]).unwrap_err().to_string();
        assert!(
            said.contains("6.5.0") && said.contains("Log Level") && said.contains("Enforce SSLCertificates"),
            "{said}"
        );
    }

    #[test]
    fn a_directory_is_the_same_by_name_and_by_uuid() {
        let volumes = recorded(include_str!("../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"));
        let now = "   Local Log Output: /vmfs/volumes/5bc7459f-967eeb48-b3f7-20677cd9a16c/logs\n";
        let dir = |d: &str| step(json!({ "logdir": d }));
        let outputs = [(GET, now), (VOLUMES, volumes.as_str())];
        assert_eq!(dir("[VMs] logs").reads(&HostFacts::example(Version::new(6, 7))).len(), 2);
        assert!(compare(&dir("[VMs] logs"), &outputs).unwrap().is_empty());
        assert!(compare(&dir("/vmfs/volumes/VMs/logs/"), &outputs).unwrap().is_empty());
        assert_eq!(
            texts(&compare(&dir("[VMs] /other"), &outputs).unwrap())[0],
            "esxcli system syslog config set --logdir='[VMs] /other'"
        );
        let scratch = [(GET, "   Local Log Output: /scratch/log\n"), outputs[1]];
        assert!(compare(&dir("[] /scratch/log"), &scratch).unwrap().is_empty());
    }

    #[test]
    fn hosts_without_a_protocol_and_nonsense_are_refused_with_the_right_spelling() {
        let error = |j: serde_json::Value| serde_json::from_value::<Syslog>(j).unwrap_err().to_string();
        assert!(error(json!({"loghost": "10.0.0.1"})).contains("udp://10.0.0.1:514"));
        assert!(error(json!({"loghost": "http://10.0.0.1"})).contains("udp, tcp and ssl"));
        assert!(error(json!({"loghost": "udp://x:port"})).contains("udp://logs"));
        assert!(serde_json::from_value::<Syslog>(json!({"loghost": "udp://[2001:db8::1]:514"})).is_ok());
        assert!(error(json!({"logdir": "logs"})).contains("[datastore1]"));
        assert!(error(json!({})).contains("nothing"));
    }
}
