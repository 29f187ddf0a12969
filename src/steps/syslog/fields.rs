//! The settings of the syslog service: their labels, their options, and what is the same written otherwise.

use serde_json::json;

use crate::esxi::Version;
use crate::esxi::forms::Record;
use crate::steps::sysargs::truth;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Hosts,
    Folder,
    Word,
    Truth,
    Number,
}

/// One setting: its key in the playbook, its labels in `config get`, its option in `config set`, its form, and the
/// release that it came with, if not all have it.
pub(super) type Field = (&'static str, &'static [&'static str], &'static str, Form, Option<Version>);

/// The release of most options, by the vendor's table of syslog options for 7.0.
const V70U1: Version = Version { major: 7, minor: 0, patch: 1 };

/// Labels recorded on 6.5: system-syslog-config-get; the newer ones are from hardening guides for 7.0 and 8.0.
/// Options are those of the vendor's table of syslog options for 7.0.
pub(super) const FIELDS: &[Field] = &[
    ("loghost", &["Remote Host"], "--loghost", Form::Hosts, None),
    ("logdir", &["Local Log Output"], "--logdir", Form::Folder, None),
    ("unique", &["Log To Unique Subdirectory"], "--logdir-unique", Form::Truth, None),
    ("level", &["Log Level"], "--log-level", Form::Word, Some(V70U1)),
    (
        "check_ssl_certs",
        &["Check SSL Certs", "Enforce SSLCertificates"],
        "--check-ssl-certs",
        Form::Truth,
        Some(Version::new(6, 5)),
    ),
    ("x509_strict", &["Strict X509Compliance"], "--x509-strict", Form::Truth, Some(V70U1)),
    ("rotate", &["Local Logging Default Rotations"], "--default-rotate", Form::Number, None),
    ("size", &["Local Logging Default Rotation Size"], "--default-size", Form::Number, None),
    ("timeout", &["Default Network Retry Timeout"], "--default-timeout", Form::Number, None),
];
/// Labels recorded on 6.5: system-syslog-config-get.
pub(super) const CONFIGURED: &str = "Local Log Output Is Configured";
pub(super) const PERSISTENT: &str = "Local Log Output Is Persistent";
/// As hardening guides for 8.0 print it. Whether switching filters needs the log service to read its settings again is
/// not verified; it does so.
pub(super) const FILTERING: &str = "Log Filtering Enabled";

/// `udp://host:514`. Without the protocol releases differ in what they store, and a second run would find a
/// difference.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let Some((protocol, rest)) = host.split_once("://") else {
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

/// `Label: value` lines. Not the common reader: copies of this output without the indent exist (recorded on 6.5), and
/// a label in one line is all its form.
pub(super) fn labels(text: &str) -> Record {
    let lines = text.lines().filter_map(|l| l.trim().split_once(':'));
    lines.map(|(label, value)| (label.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The hosts of a list as they stand there; `<none>` is none.
pub(super) fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|h| !h.is_empty() && *h != "<none>")
}

/// Hosts in an order and a spelling of their own: protocol's default port said.
pub(super) fn hosts(text: &str) -> Vec<String> {
    let spelt = |h: &str| {
        let h = h.to_ascii_lowercase();
        let bare = h.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches(']').contains(':'));
        match h.split_once(':').map(|(protocol, _)| protocol) {
            Some("udp") if bare => format!("{h}:514"),
            Some("ssl") if bare => format!("{h}:1514"),
            _ => h,
        }
    };
    let mut all: Vec<String> = listed(text).map(spelt).collect();
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

pub(super) fn same(form: Form, now: &str, want: &str, volumes: &[Record]) -> bool {
    match form {
        Form::Hosts => hosts(now) == hosts(want),
        Form::Folder => folder(now, volumes) == folder(want, volumes),
        Form::Word => now.eq_ignore_ascii_case(want),
        Form::Truth => truth(now).is_some() && truth(now) == truth(want),
        Form::Number => now.parse::<u64>().is_ok() && now.parse::<u64>() == want.parse::<u64>(),
    }
}

/// A printed value as an argument says it again.
pub(super) fn argument(form: Form, printed: &str) -> serde_json::Value {
    match form {
        Form::Hosts => json!(listed(printed).collect::<Vec<_>>()),
        Form::Truth => json!(truth(printed)),
        Form::Number => json!(printed.parse::<u64>().ok()),
        Form::Folder | Form::Word => json!(printed),
    }
}
