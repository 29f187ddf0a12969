//! `esxcli system syslog` and `system auditrecords`. The values are hostd's options; those that a release has no
//! option for are kept by their label.
//!
//! Labels of 6.5 are recorded; later ones, and all of `auditrecords`, follow the names of the properties in public
//! scripts. What `set` writes runs only after `reload` (documented); audit records need none.

use std::collections::BTreeMap;

use super::super::advopt;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply, V};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::hardening::{Syslog, syslog};
use super::super::state::{HostState, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("system syslog config get", "Show the current global configuration values", &[], get),
    Cmd::new(
        "system syslog config set",
        "Set global configuration and default values",
        &[
            "- loghost s The remote host(s) to send logs to",
            "- logdir s The directory to output local logs to",
            "- logdir-unique b Place logs in a unique subdirectory of logdir, based on hostname",
            "- default-rotate i Default number of log rotations to keep",
            "- default-size i Default size of logs before rotation, in KiB",
            "- default-timeout i Default network retry timeout in seconds if a remote server fails to respond",
            "- check-ssl-certs b Verify remote SSL certificates against the local CA Store",
            "- crl-check b7+ Check the revocation of remote SSL certificates",
            "- x509-strict b7+ Check the CA certificates of remote hosts strictly",
            "- log-level s7+ Level of the log daemon's own messages",
            "- remote-host-max-msg-len i7+ Maximum length of a message for a remote host, in bytes",
            "- vsan-backing b7+ Allow logs on vSAN",
            "- drop-log-rotate i Number of dropped message log rotations to keep",
            "- drop-log-size i Size of the dropped message log before rotation, in KiB",
            "- queue-drop-mark i Message queue capacity after which messages are dropped",
            "- reset s Reset values to default",
        ],
        set,
    ),
    Cmd::new("system syslog reload", "Reload the log daemon to apply any new configuration options", &[], reload),
    Cmd::new("system syslog config logfilter get", "Show the current log filter configuration values", &[], filter_get)
        .since(Release::V70),
    Cmd::new(
        "system syslog config logfilter set",
        "Set log filtering configuration options",
        &["- log-filtering-enabled b! Enable or disable log filtering"],
        filter_set,
    )
    .since(Release::V70),
    Cmd::new("system auditrecords get", "Show the current audit record configuration", &[], audit_get)
        .since(Release::V70),
    Cmd::new("system auditrecords local enable", "Enable the storage of audit records on this host", &[], |ctx, _| {
        audit(ctx, "storageEnable", "true")
    })
    .since(Release::V70),
    Cmd::new(
        "system auditrecords local disable",
        "Disable the storage of audit records on this host",
        &[],
        |ctx, _| audit(ctx, "storageEnable", "false"),
    )
    .since(Release::V70),
    Cmd::new(
        "system auditrecords local set",
        "Set the parameters of the audit record storage",
        &["d directory s Directory of the audit records", "s size i Capacity of the audit record storage, in MiB"],
        audit_set,
    )
    .since(Release::V70),
    Cmd::new(
        "system auditrecords remote enable",
        "Enable the transmission of audit records to the remote hosts",
        &[],
        |ctx, _| audit(ctx, "remoteEnable", "true"),
    )
    .since(Release::V70),
    Cmd::new(
        "system auditrecords remote disable",
        "Disable the transmission of audit records to the remote hosts",
        &[],
        |ctx, _| audit(ctx, "remoteEnable", "false"),
    )
    .since(Release::V70),
];

/// hostd's option of a line, where the release has it.
fn key_of(release: Release, line: &Syslog) -> Option<&'static str> {
    line.key.filter(|key| super::super::factory::tables::hostd(key).is_some_and(|o| o.default(release).is_some()))
}

fn value(state: &HostState, line: &Syslog) -> String {
    match key_of(state.release, line) {
        Some(key) => state.hostd_option(key).unwrap_or_default(),
        None => state.syslog.get(line.label).cloned().unwrap_or_else(|| line.default.to_owned()),
    }
}

/// A directory in hostd's notation (`[] /scratch/log`, `[datastore1] /logs`) as a path.
fn path_of(state: &HostState, text: &str) -> String {
    let Some((store, rest)) = text.strip_prefix('[').and_then(|t| t.split_once(']')) else { return text.to_owned() };
    let rest = rest.trim_start();
    if store.is_empty() {
        return rest.to_owned();
    }
    let uuid = state.stores.iter().find(|d| d.name == store).map_or(store, |d| d.uuid.as_str());
    format!("/vmfs/volumes/{uuid}/{}", rest.trim_start_matches('/')).trim_end_matches('/').to_owned()
}

/// A directory that outlives a reboot: on a volume that the host sees, and not a RAM disk.
fn persistent(state: &HostState, path: &str) -> bool {
    let kept = ["/scratch", "/vmfs/volumes/", "/bootbank", "/locker", "/var/core"];
    state.boot_disk_visible() && kept.iter().any(|root| path.starts_with(root))
}

/// Every value of `config get`, by label, in its order.
fn lines(state: &HostState) -> Vec<(&'static str, V)> {
    let mut out = Vec::new();
    let mut dir = String::new();
    for line in syslog(state.release) {
        let text = value(state, line);
        let shown = match line.kind {
            "int" => V::I(text.parse().unwrap_or(0)),
            "bool" => V::B(text.eq_ignore_ascii_case("true")),
            "dir" => {
                dir = path_of(state, &text);
                V::S(dir.clone())
            }
            "hosts" => V::S(if text.is_empty() { "<none>".into() } else { text }),
            "computed" if line.label.ends_with("Configured") => V::B(state.hostd.contains_key("Syslog.global.logDir")),
            "computed" => V::B(persistent(state, &dir)),
            _ => V::S(text),
        };
        out.push((line.label, shown));
    }
    out
}

/// What is configured now: what the log daemon runs with once it is loaded.
pub(in super::super) fn configured(state: &HostState) -> BTreeMap<String, String> {
    let text = |value: V| match value {
        V::I(n) => n.to_string(),
        V::B(b) => b.to_string(),
        V::S(s) => s,
        _ => String::new(),
    };
    lines(state).into_iter().map(|(label, value)| (label.to_owned(), text(value))).collect()
}

fn get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let mut rec = Rec::new("SyslogGlobalConfig");
    rec.fields = lines(ctx.state);
    Reply::One(rec)
}

/// Writes one line's value.
fn put(ctx: &mut Ctx<'_, '_>, line: &Syslog, text: &str) -> Result<(), String> {
    match key_of(ctx.release(), line) {
        Some(key) => {
            let text =
                if line.kind == "dir" && !text.starts_with('[') { format!("[] {text}") } else { text.to_owned() };
            advopt::set(ctx.state, ctx.call, key, &text)
        }
        None if text == line.default => {
            ctx.state.syslog.remove(line.label);
            Ok(())
        }
        None => {
            ctx.state.syslog.insert(line.label.to_owned(), text.to_owned());
            Ok(())
        }
    }
}

fn default_of(release: Release, line: &Syslog) -> String {
    let hostd = key_of(release, line).and_then(super::super::factory::tables::hostd);
    hostd.and_then(|o| o.default(release)).unwrap_or(line.default).to_owned()
}

/// Refuses what cannot be; the words are not recorded.
fn check(ctx: &Ctx<'_, '_>, args: &Args) -> Option<String> {
    if let Some(hosts) = args.get("loghost") {
        let list: Vec<&str> = hosts.split(',').filter(|h| !h.is_empty()).collect();
        if list.len() > 5 {
            return Some("No more than five remote hosts can be given".into());
        }
        for host in list {
            let rest = ["udp://", "tcp://", "ssl://"].iter().find_map(|p| host.trim().strip_prefix(p));
            if rest.is_none() && host.contains("://") {
                return Some(format!("Invalid remote host {host}: the protocol must be udp, tcp or ssl"));
            }
        }
    }
    if let Some(dir) = args.get("logdir") {
        let path = path_of(ctx.state, dir);
        let store = dir.strip_prefix('[').and_then(|t| t.split_once(']')).map_or("", |t| t.0);
        let known = match store {
            "" => path.starts_with("/scratch") || ctx.call.path(&path).is_dir(),
            name => ctx.state.datastores().iter().any(|d| d.0 == name || d.1 == name),
        };
        if !known {
            return Some(format!("Log directory {dir} does not exist"));
        }
    }
    match args.get("log-level") {
        Some(word) if !["error", "warning", "info", "debug"].contains(&word) => {
            Some(format!("Invalid log level {word}"))
        }
        _ => None,
    }
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if let Some(refusal) = check(ctx, args) {
        return Reply::Fault(refusal);
    }
    let release = ctx.release();
    let reset: Vec<String> = args.get("reset").map(|l| l.split(',').map(str::to_owned).collect()).unwrap_or_default();
    for line in syslog(release).filter(|l| l.kind != "computed") {
        let text = match args.get(line.option) {
            Some(_) if line.kind == "bool" => args.bool(line.option).unwrap_or(false).to_string(),
            Some(text) => text.to_owned(),
            None if reset.iter().any(|word| word == line.option || word == "all") => default_of(release, line),
            None => continue,
        };
        if let Err(text) = put(ctx, line, &text) {
            return Reply::Fault(text);
        }
    }
    Reply::Nothing
}

fn reload(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    ctx.state.guard.syslog_running = configured(ctx.state);
    Reply::Nothing
}

const FILTERS: &str = "Syslog.global.logFiltersEnable";

fn filter_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let on = ctx.state.hostd_option(FILTERS).as_deref() == Some("True");
    Reply::One(Rec::new("LogFilterConfig").with("Log Filtering Enabled", on))
}

fn filter_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let on = args.bool("log-filtering-enabled").unwrap_or(false);
    said(advopt::set(ctx.state, ctx.call, FILTERS, &on.to_string()))
}

fn said(result: Result<(), String>) -> Reply {
    match result {
        Ok(()) => Reply::Nothing,
        Err(text) => Reply::Fault(text),
    }
}

fn audit_key(leaf: &str) -> String {
    format!("Syslog.global.auditRecord.{leaf}")
}

/// The capacity is in MiB from 7.0 U1 on (KiB before, by the option's description).
fn audit_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let get = |leaf: &str| ctx.state.hostd_option(&audit_key(leaf)).unwrap_or_default();
    Reply::One(
        Rec::new("AuditRecords")
            .with("Audit Record Remote Transmission Active", get("remoteEnable") == "True")
            .with("Audit Record Storage Active", get("storageEnable") == "True")
            .with("Audit Record Storage Capacity", get("storageCapacity").parse::<i64>().unwrap_or(0))
            .with("Audit Record Storage Directory", path_of(ctx.state, &get("storageDirectory"))),
    )
}

fn audit(ctx: &mut Ctx<'_, '_>, leaf: &str, text: &str) -> Reply {
    said(advopt::set(ctx.state, ctx.call, &audit_key(leaf), text))
}

fn audit_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if !args.has("size") && !args.has("directory") {
        return Reply::fault("A size or a directory has to be given");
    }
    if let Some(dir) = args.get("directory") {
        let path = path_of(ctx.state, dir);
        if !path.starts_with("/scratch") && !ctx.call.path(&path).is_dir() {
            return Reply::fault(format!("Audit record storage directory {dir} does not exist"));
        }
        let text = if dir.starts_with('[') { dir.to_owned() } else { format!("[] {dir}") };
        if let Err(text) = advopt::set(ctx.state, ctx.call, &audit_key("storageDirectory"), &text) {
            return Reply::Fault(text);
        }
    }
    match args.get("size") {
        Some(size) => audit(ctx, "storageCapacity", size),
        None => Reply::Nothing,
    }
}
