//! `esxcli system`: version, names, time, welcome message, maintenance mode, shutdown.

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
    Cmd::new("system welcomemsg get", "Get the message on the console's welcome screen.", &[], welcome_get),
    Cmd::new(
        "system welcomemsg set",
        "Set the message on the console's welcome screen.",
        &["m message s The message of the welcome screen."],
        welcome_set,
    ),
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
        "esxcli command list",
        "List all of the available ESXCLI commands on this host.",
        &[],
        super::super::esxcli::command_list,
    ),
];

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
        super::super::vimcmd::switch(ctx.state, "ntpd", enabled);
        if let Some(service) = ctx.state.service_mut("ntpd") {
            service.policy = if enabled { "on" } else { "off" }.into();
        }
    }
    Reply::Nothing
}

const WELCOME: &str = "Annotations.WelcomeMessage";

/// The same text as hostd's option `Annotations.WelcomeMessage`: documented as what the console shows, not verified.
fn welcome_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(ctx.state.hostd_option(WELCOME).unwrap_or_default())
}

fn welcome_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    match super::super::advopt::set(ctx.state, ctx.call, WELCOME, args.get("message").unwrap_or("")) {
        Ok(()) => Reply::Nothing,
        Err(text) => Reply::Fault(text),
    }
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
