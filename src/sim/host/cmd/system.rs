//! `esxcli system`: version, names, time, syslog, maintenance mode, shutdown, sshd's settings.

use super::super::Effect;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{HostState, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("system version get", "Display the product name, version and build information.", &[], version),
    Cmd::new("system hostname get", "Get the host, domain or fully qualified name of the ESX host.", &[], hostname_get),
    Cmd::new(
        "system hostname set",
        "This command allows the user to set the hostname, domain name or fully qualified domain name of the ESX host.",
        &[
            "d domain s The domain name to set for the ESX host. This option is mutually exclusive with the --fqdn option.",
            "f fqdn s Set the fully qualified domain name of the ESX host.",
            "H host s The host name to set for the ESX host.",
        ],
        hostname_set,
    ),
    Cmd::new("system uuid get", "Get the system UUID.", &[], uuid),
    Cmd::new("system stats uptime get", "Display the number of microseconds the system has been running.", &[], uptime),
    Cmd::new("system time get", "Display the current system clock time.", &[], time),
    Cmd::new("system ntp get", "Display Network Time Protocol configuration", &[], ntp_get).since(Release::V70),
    Cmd::new(
        "system ntp set",
        "Configures the ESX Network Time Protocol agent.",
        &[
            "e enabled b Start or stop ntpd.",
            "f file s The name of file to be used with the --add option.",
            "l loglevel s System Log verbosity: warning, error, info",
            "n no-servers f Set NTP servers to empty list.",
            "p ptp-only f8+ Stop being an NTP client.",
            "r reset f Revert ntp back to factory settings.",
            "s server l Configure NTP with specified server",
        ],
        ntp_set,
    )
    .since(Release::V70),
    Cmd::new("system syslog config get", "Show the current global configuration values", &[], syslog_get),
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
            "- queue-drop-mark i Message queue capacity after which messages are dropped",
            "- reset s Reset values to default",
        ],
        syslog_set,
    ),
    Cmd::new("system syslog reload", "Reload the log daemon to apply any new configuration options", &[], nothing),
    Cmd::new("system maintenanceMode get", "Get the maintenance mode state of the system.", &[], maintenance_get),
    Cmd::new(
        "system maintenanceMode set",
        "Enable or disable the maintenance mode of the system.",
        &[
            "e enable b! enable maintenance mode",
            "t timeout i Time in seconds to perform operation before timing out (default 0 seconds, don't timeout)",
            "m vsanmode s Action the VSAN service must take before the host can enter maintenance mode",
        ],
        maintenance_set,
    ),
    Cmd::new(
        "system shutdown reboot",
        "Reboot the system. The host must be in maintenance mode.",
        &["d delay i Delay interval in seconds", "r reason s! Reason for performing the operation"],
        reboot,
    ),
    Cmd::new(
        "system shutdown poweroff",
        "Power off the system. The host must be in maintenance mode.",
        &["d delay i Delay interval in seconds", "r reason s! Reason for performing the operation"],
        poweroff,
    ),
    Cmd::new(
        "system ssh server config list",
        "Print the SSH server configuration.",
        &["k key s Filter by key"],
        sshd_list,
    )
    .since(Release::V80),
    Cmd::new(
        "system ssh server config set",
        "Update the SSH server configuration.",
        &["k key s! sshd config key.", "v value s sshd config value.", "r reset f Reset to the default"],
        sshd_set,
    )
    .since(Release::V80),
    Cmd::new(
        "esxcli command list",
        "List all of the available ESXCLI commands on this host.",
        &[],
        super::super::esxcli::command_list,
    ),
];

fn nothing(_: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Nothing
}

fn version(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let s = &*ctx.state;
    Reply::One(
        Rec::new("VersionGet")
            .with("Product", "VMware ESXi")
            .with("Version", &s.full)
            .with("Build", format!("Releasebuild-{}", s.build))
            .with("Update", s.update.to_string())
            .with("Patch", s.patch.to_string()),
    )
}

fn hostname_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let s = &*ctx.state;
    Reply::One(
        Rec::new("HostName")
            .with("Domain Name", &s.domain)
            .with("Fully Qualified Domain Name", s.fqdn())
            .with("Host Name", &s.host),
    )
}

fn hostname_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let good = |text: &str, dots: bool| {
        !text.is_empty()
            && text.len() < 254
            && text.split('.').all(|p| {
                (1..64).contains(&p.len())
                    && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                    && !p.starts_with('-')
                    && !p.ends_with('-')
            })
            && (dots || !text.contains('.'))
    };
    if let Some(fqdn) = args.get("fqdn") {
        if args.has("host") || args.has("domain") {
            return Reply::fault("The --fqdn option cannot be combined with --host or --domain");
        }
        if !good(fqdn, true) {
            return Reply::fault(format!("Invalid host name {fqdn}"));
        }
        let (host, domain) = fqdn.split_once('.').unwrap_or((fqdn, ""));
        ctx.state.host = host.into();
        ctx.state.domain = domain.into();
    }
    if let Some(host) = args.get("host") {
        if !good(host, false) {
            return Reply::fault(format!("Invalid host name {host}"));
        }
        ctx.state.host = host.into();
    }
    if let Some(domain) = args.get("domain") {
        if !domain.is_empty() && !good(domain, true) {
            return Reply::fault(format!("Invalid domain name {domain}"));
        }
        ctx.state.domain = domain.into();
    }
    let _ = std::fs::write(ctx.call.path("/etc/hosts"), ctx.state.hosts_file());
    Reply::Nothing
}

fn uuid(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(ctx.state.uuid.clone())
}

fn uptime(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let up = ctx.call.now.saturating_sub(ctx.state.boot_time);
    Reply::Say((u128::from(up) * 1_000_000).to_string())
}

fn time(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(format!("{}Z", super::timestamp(ctx.call.now)))
}

/// Three fields recorded on 7.0.3; what 8.0 has more is documented without its spelling and left out.
fn ntp_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let running = ctx.state.service("ntpd").is_some_and(|s| s.running);
    Reply::One(
        Rec::new("NtpGet")
            .with("Enabled", running)
            .with("Loglevel", &ctx.state.ntp_loglevel)
            .with("Servers", &ctx.state.ntp_servers),
    )
}

fn ntp_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if args.has("reset") {
        ctx.state.ntp_servers.clear();
        ctx.state.ntp_loglevel = "warning".into();
    }
    if args.has("no-servers") {
        ctx.state.ntp_servers.clear();
    }
    if args.has("server") {
        ctx.state.ntp_servers =
            args.all("server").iter().flat_map(|s| s.split(',')).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    }
    if let Some(level) = args.get("loglevel") {
        if !["warning", "error", "info", "debug"].contains(&level) {
            return Reply::fault(format!("Invalid log level {level}"));
        }
        ctx.state.ntp_loglevel = level.into();
    }
    if let Some(enabled) = args.bool("enabled") {
        if enabled && ctx.state.ntp_servers.is_empty() {
            return Reply::fault("NTP cannot be enabled without a server");
        }
        if let Some(service) = ctx.state.service_mut("ntpd") {
            service.running = enabled;
            service.policy = if enabled { "on" } else { "off" }.into();
        }
    }
    Reply::Nothing
}

fn syslog_value(state: &HostState, key: &str) -> String {
    let default = match key {
        "timeout" => "180",
        "logdir" => "/scratch/log",
        "size" => "1024",
        "rotate" => "8",
        "certs" | "unique" => "false",
        "mark" => "90",
        _ => "",
    };
    state.syslog.get(key).cloned().unwrap_or_else(|| default.to_owned())
}

/// Labels recorded on 6.5; later releases have more lines, which were not recorded.
fn syslog_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let s = &*ctx.state;
    let number = |key: &str| syslog_value(s, key).parse::<i64>().unwrap_or(0);
    let truth = |key: &str| syslog_value(s, key) == "true";
    let logdir = syslog_value(s, "logdir");
    Reply::One(
        Rec::new("SyslogGlobalConfig")
            .with("Default Network Retry Timeout", number("timeout"))
            .with("Dropped Log File Rotation Size", 100_i64)
            .with("Dropped Log File Rotations", 10_i64)
            .with("Enforce SSLCertificates", truth("certs"))
            .with("Local Log Output", &logdir)
            .with("Local Log Output Is Configured", s.syslog.contains_key("logdir"))
            .with("Local Log Output Is Persistent", s.boot_disk_visible())
            .with("Local Logging Default Rotation Size", number("size"))
            .with("Local Logging Default Rotations", number("rotate"))
            .with("Log To Unique Subdirectory", truth("unique"))
            .with("Message Queue Drop Mark", number("mark"))
            .with(
                "Remote Host",
                match syslog_value(s, "loghost") {
                    host if host.is_empty() => "<none>".to_owned(),
                    host => host,
                },
            ),
    )
}

fn syslog_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    if let Some(list) = args.get("reset") {
        let keys: Vec<&str> = list.split(',').collect();
        ctx.state.syslog.retain(|k, _| !keys.contains(&k.as_str()) && !keys.contains(&"all"));
    }
    if let Some(hosts) = args.get("loghost") {
        for host in hosts.split(',').filter(|h| !h.is_empty()) {
            let rest = ["udp://", "tcp://", "ssl://"].iter().find_map(|p| host.strip_prefix(p));
            if rest.is_none() && host.contains("://") {
                return Reply::fault(format!("Invalid remote host {host}: the protocol must be udp, tcp or ssl"));
            }
        }
    }
    if let Some(dir) = args.get("logdir") {
        let known = dir.starts_with("/scratch") || dir.starts_with('[') || ctx.call.path(dir).is_dir();
        if !known {
            return Reply::fault(format!("Log directory {dir} does not exist"));
        }
    }
    for (option, key) in [
        ("loghost", "loghost"),
        ("logdir", "logdir"),
        ("default-rotate", "rotate"),
        ("default-size", "size"),
        ("default-timeout", "timeout"),
        ("queue-drop-mark", "mark"),
    ] {
        if let Some(value) = args.get(option) {
            ctx.state.syslog.insert(key.into(), value.into());
        }
    }
    for (option, key) in [("logdir-unique", "unique"), ("check-ssl-certs", "certs")] {
        if let Some(value) = args.bool(option) {
            ctx.state.syslog.insert(key.into(), value.to_string());
        }
    }
    // The same values are hostd options of another name.
    let loghost = syslog_value(ctx.state, "loghost");
    if loghost.is_empty() {
        ctx.state.hostd.remove("Syslog.global.logHost");
    } else {
        ctx.state.hostd.insert("Syslog.global.logHost".into(), loghost);
    }
    Reply::Nothing
}

fn maintenance_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(if ctx.state.maintenance { "Enabled" } else { "Disabled" }.into())
}

/// Enters or leaves maintenance mode.
///
/// # Errors
/// The sentence of a host that is in that mode already (recorded on 7.0 for entering), or that has running VMs:
/// the real one waits until none runs; here it comes back at once with the sentence recorded on 6.7 for vim-cmd.
pub(in super::super) fn maintenance(state: &mut HostState, on: bool) -> Result<(), String> {
    match (state.maintenance, on) {
        (true, true) => Err("Maintenance mode is already enabled.".into()),
        (false, false) => Err("Maintenance mode is already disabled.".into()),
        (false, true) if state.vms.iter().any(|v| v.power == "on") => Err("Operation timed out.".into()),
        _ => {
            state.maintenance = on;
            Ok(())
        }
    }
}

fn maintenance_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    match maintenance(ctx.state, args.bool("enable").unwrap_or(false)) {
        Ok(()) => Reply::Nothing,
        Err(text) => Reply::Fault(text),
    }
}

fn reboot(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    going_down(ctx, args, |after_ms| Effect::Reboot { after_ms, save: true })
}

fn poweroff(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    going_down(ctx, args, |after_ms| Effect::PowerOff { after_ms, save: true })
}

fn going_down(ctx: &mut Ctx<'_, '_>, args: &Args, effect: impl Fn(u64) -> Effect) -> Reply {
    if !ctx.state.maintenance {
        return Reply::fault(
            "The system is not in maintenance mode. To reboot or power off the system, it must be in maintenance mode.",
        );
    }
    let delay = args.int("delay").unwrap_or(10);
    if !(10..=4_294_967_295).contains(&delay) {
        return Reply::fault("The delay must be between 10 and 4294967295 seconds.");
    }
    ctx.effects.push(effect(u64::try_from(delay).unwrap_or(10) * 1000));
    Reply::Nothing
}

fn sshd_pairs(ctx: &Ctx<'_, '_>) -> Vec<(String, String)> {
    let text =
        std::fs::read_to_string(ctx.call.path("/etc/ssh/sshd_config")).unwrap_or_else(|_| ctx.state.sshd_config());
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.split_once(char::is_whitespace))
        .map(|(k, v)| (k.to_ascii_lowercase(), v.trim().to_owned()))
        .collect()
}

/// A table of key and value; a key that is not in the file is not listed. The file is where it is kept.
fn sshd_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    Reply::Table(
        sshd_pairs(ctx)
            .into_iter()
            .filter(|(k, _)| args.get("key").is_none_or(|w| w.eq_ignore_ascii_case(k)))
            .map(|(k, v)| Rec::new("SshServerConfig").with("Key", k).with("Value", v))
            .collect(),
    )
}

fn sshd_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let key = args.need("key").to_ascii_lowercase();
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Reply::fault(format!("Invalid key '{key}'"));
    }
    let path = ctx.call.path("/etc/ssh/sshd_config");
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| ctx.state.sshd_config());
    let is_key = |l: &str| l.split_whitespace().next().is_some_and(|k| k.eq_ignore_ascii_case(&key));
    let mut lines: Vec<String> = old.lines().filter(|l| !is_key(l)).map(str::to_owned).collect();
    let default = ctx.state.sshd_config().lines().find(|l| is_key(l)).map(str::to_owned);
    match (args.has("reset"), args.get("value")) {
        (true, _) => lines.extend(default),
        (false, Some(value)) => lines.push(format!("{key} {value}")),
        (false, None) => return Reply::fault("A value or --reset has to be given"),
    }
    ctx.state.sshd.insert(key, args.get("value").unwrap_or("").to_owned());
    match std::fs::write(&path, lines.join("\n") + "\n") {
        Ok(()) => Reply::Nothing,
        Err(e) => Reply::fault(format!("Unable to write sshd_config: {e}")),
    }
}
