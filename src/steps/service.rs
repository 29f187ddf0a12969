//! `service`: whether a service runs now, and whether it starts with the host.
//!
//! The two are different things on ESXi: `chkconfig --list` tells the one, `/etc/init.d/NAME status` the other. hostd
//! tells both, of all services at once.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::sysargs::nearest_text;
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, parse_as};
use crate::esxi::services::{Control, Service as Known, Told, chkconfig, is_running, service, told_by_hostd};
use crate::esxi::{Command, HostFacts, Output, Version};

/// The kind.
pub const KIND: Kind = Kind {
    name: "service",
    about: "A service: running now, and starting with the host",
    example: "\
- service:
    name: ntpd
    running: true
    at_boot: true
",
    parse: parse_as::<Service>,
    schema: |generator| generator.subschema_for::<ServiceSpec>(),
};

/// A service by any of its names, and what is wanted of it. Stopping SSH is done after all other steps and
/// verified through the session that is still open.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// `ssh`, `shell`, `ntpd`, `slpd`, `snmpd`, `sfcbd-watchdog` ...; hostd's names (`TSM-SSH`, `TSM`) and those of
    /// the init scripts (`SSH`, `ESXShell`) do as well.
    name: String,
    /// Whether it runs now.
    #[serde(default)]
    running: Option<bool>,
    /// Whether it starts with the host.
    #[serde(default)]
    at_boot: Option<bool>,
    /// Who is asked: the init script and chkconfig (`init`), or hostd, which answers once for all services (`hostd`).
    #[serde(default)]
    by: By,
    /// A host that does not have this service is right as it is.
    #[serde(default)]
    missing_ok: bool,
}

/// Who is asked about a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// The init script and chkconfig.
    #[default]
    Init,
    /// hostd; the init script and chkconfig where hostd does not tell.
    Hostd,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ServiceSpec")]
pub struct Service {
    /// The init script and the name in chkconfig.
    init: String,
    control: Control,
    /// The name in hostd's list.
    key: String,
    running: Option<bool>,
    at_boot: Option<bool>,
    by: By,
    missing_ok: bool,
}

impl TryFrom<ServiceSpec> for Service {
    type Error = String;

    fn try_from(spec: ServiceSpec) -> Result<Self, String> {
        if spec.running.is_none() && spec.at_boot.is_none() {
            return Err("give `running`, `at_boot`, or both".into());
        }
        let name = spec.name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let (init, key, control) = match service(name) {
            Some(Known { init, hostd, control, .. }) => ((*init).to_owned(), (*hostd).to_owned(), *control),
            // Others are taken as named: vendors bring their own init scripts.
            None if !name.is_empty() && name.chars().all(plain) => {
                (name.to_owned(), name.to_owned(), Control::InitScript)
            }
            None => return Err(format!("{name:?} is not the name of a service")),
        };
        let ServiceSpec { running, at_boot, by, missing_ok, .. } = spec;
        Ok(Self { init, key, control, running, at_boot, by, missing_ok })
    }
}

/// The read that tells which services start with the host; all service steps share it.
pub(crate) fn list() -> Command {
    Command::new("chkconfig --list")
}

/// The read that tells of all services at once. It is long: one read of it serves all steps.
pub(crate) fn hostconfig() -> Command {
    Command::new("vim-cmd hostsvc/hostconfig")
}

/// What hostd tells of a service, by hostd's name of it. `None`: hostd did not answer in a known form, or has no such
/// service.
pub(crate) fn told(key: &str, seen: &Seen<'_>) -> Option<Told> {
    let output = seen.raw(&hostconfig()).ok()?;
    told_by_hostd(&output.stdout)?.into_iter().find(|service| service.key == key)
}

pub(crate) fn status(init: &str) -> Command {
    Command::raw(script(init)).words("status")
}

fn script(init: &str) -> String {
    crate::esxi::command::quote(&format!("/etc/init.d/{init}"))
}

pub(crate) fn start_or_stop(init: &str, start: bool) -> Command {
    Command::raw(script(init)).words(if start { "start" } else { "stop" })
}

pub(crate) fn ntp_get() -> Command {
    Command::esxcli("system ntp get")
}

/// `esxcli system ntp` came with 7.0.
pub(crate) fn has_ntp_namespace(version: Version) -> bool {
    version >= Version::new(7, 0)
}

/// Whether an init script's service runs, from its status.
pub(crate) fn running(init: &str, seen: &Seen<'_>) -> Result<bool, StepError> {
    let read = status(init);
    let output = seen.raw(&read)?;
    let text = format!("{}\n{}", output.stdout, output.stderr);
    if output.code == 127 || output.code == 126 || text.contains(": not found") || text.contains("No such file") {
        let all = seen.raw(&list()).map(|o| o.stdout.clone()).unwrap_or_default();
        return Err(StepError::Refused(format!(
            "ESXi {} has no service {init} (there is no /etc/init.d/{init}).{}",
            seen.host.version,
            nearest_text(init, chkconfig(&all).into_iter().map(|(name, _)| name)),
        )));
    }
    is_running(&text)
        .ok_or_else(|| StepError::unreadable(&read, format!("neither running nor stopped is said: {:?}", text.trim())))
}

/// Whether chkconfig starts it with the host.
pub(crate) fn at_boot(init: &str, seen: &Seen<'_>) -> Result<bool, StepError> {
    let output = seen.output(&list())?;
    let all = chkconfig(&output.stdout);
    match all.iter().find(|(name, _)| *name == init) {
        Some((_, on)) => Ok(*on),
        None if all.is_empty() => Err(StepError::unreadable(&list(), "no line with a name and `on` or `off`")),
        None => Err(StepError::Refused(format!(
            "ESXi {} has no service {init} in `chkconfig --list`.{}",
            seen.host.version,
            nearest_text(init, all.iter().map(|(name, _)| *name)),
        ))),
    }
}

/// Both halves of a service as they are.
#[derive(Debug, Clone, Default)]
struct Now {
    running: Option<bool>,
    /// `on`, `off`; hostd also says `automatic`.
    at_boot: Option<String>,
}

impl Now {
    fn is(&self, running: Option<bool>, at_boot: Option<bool>) -> bool {
        running.is_none_or(|want| self.running == Some(want))
            && at_boot.is_none_or(|want| self.at_boot.as_deref() == Some(on_off(want)))
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl Service {
    /// The halves of a well-known service, asked of hostd.
    pub(crate) fn of_hostd(name: &'static str, running: Option<bool>, at_boot: Option<bool>) -> Option<Self> {
        let spec = ServiceSpec { name: name.to_owned(), running, at_boot, by: By::Hostd, missing_ok: true };
        Self::try_from(spec).ok()
    }

    /// What the init script, chkconfig and esxcli are asked.
    fn init_reads(&self, version: Version) -> Vec<Command> {
        // The list also tells which services there are, for the error of a misspelt name.
        let mut out = vec![list()];
        let halves = self.half_reads(version, self.running.is_some(), self.at_boot.is_some());
        out.extend(halves.into_iter().filter(|read| read.text() != list().text()));
        out
    }

    /// What tells of these halves.
    fn half_reads(&self, version: Version, running: bool, at_boot: bool) -> Vec<Command> {
        let boot = if self.by_esxcli(version) { ntp_get() } else { list() };
        at_boot.then_some(boot).into_iter().chain(running.then(|| status(&self.init))).collect()
    }

    fn told(&self, seen: &Seen<'_>) -> Option<Now> {
        let told = if self.by == By::Hostd { told(&self.key, seen)? } else { return None };
        Some(Now { running: Some(told.running), at_boot: Some(told.policy) })
    }

    /// Whether what hostd tells must be asked once more: hostd need not have noticed what was done with an init script
    /// (its API has a call to look again; no source says when it does by itself: not verified). What it does itself it
    /// knows.
    fn doubts(&self, told: &Now) -> bool {
        !matches!(self.control, Control::Hostd(_)) && !told.is(self.running, self.at_boot)
    }

    fn now(&self, seen: &Seen<'_>) -> Result<Now, StepError> {
        let word = |on| on_off(on).to_owned();
        let Some(mut now) = self.told(seen) else {
            let missing = |error| match error {
                StepError::Refused(why) if self.missing_ok => StepError::NotApplicable(why),
                other => other,
            };
            return Ok(Now {
                at_boot: self.at_boot.map(|_| self.is_at_boot(seen)).transpose().map_err(missing)?.map(word),
                running: self.running.map(|_| running(&self.init, seen)).transpose().map_err(missing)?,
            });
        };
        if self.doubts(&now) {
            now.running = running(&self.init, seen).ok().or(now.running);
            // chkconfig does not know `automatic`: a service that starts with its ports is on there.
            let at_boot = self.is_at_boot(seen).ok().filter(|on| !on || now.at_boot.as_deref() != Some("automatic"));
            now.at_boot = at_boot.map(word).or(now.at_boot);
        }
        Ok(now)
    }

    /// The step that brings one half back.
    fn undo(&self, half: &str, value: bool) -> Option<Undo> {
        let mut args = json!({"name": self.init, half: value});
        if self.by == By::Hostd {
            args["by"] = json!("hostd");
        }
        Undo::step("service", args)
    }

    fn by_esxcli(&self, version: Version) -> bool {
        self.control == Control::Ntp && has_ntp_namespace(version)
    }

    fn is_at_boot(&self, seen: &Seen<'_>) -> Result<bool, StepError> {
        if !self.by_esxcli(seen.host.version) {
            return at_boot(&self.init, seen);
        }
        let record = seen.record(&ntp_get())?;
        record
            .get("Enabled")
            .and_then(|v| super::sysargs::truth(v))
            .ok_or_else(|| StepError::unreadable(&ntp_get(), "no `Enabled: true` or `Enabled: false`"))
    }

    fn boot_action(&self, on: bool, version: Version) -> Command {
        match self.control {
            Control::Hostd(word) => hostd(if on { "enable" } else { "disable" }, word),
            Control::Ntp if self.by_esxcli(version) => {
                Command::esxcli("system ntp set").opt("-e", if on { "true" } else { "false" })
            }
            Control::Ntp | Control::InitScript => {
                Command::new("chkconfig").arg(&self.init).arg(if on { "on" } else { "off" })
            }
        }
    }

    fn run_action(&self, start: bool) -> Command {
        match self.control {
            Control::Hostd(word) => hostd(if start { "start" } else { "stop" }, word),
            Control::Ntp | Control::InitScript => start_or_stop(&self.init, start),
        }
    }
}

fn hostd(verb: &str, word: &str) -> Command {
    Command::new("vim-cmd").arg(format!("hostsvc/{verb}_{word}"))
}

impl Step for Service {
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(on) = self.running {
            parts.push(if on { "runs" } else { "does not run" });
        }
        if let Some(on) = self.at_boot {
            parts.push(if on { "starts with the host" } else { "does not start with the host" });
        }
        format!("service {} {}", self.init, parts.join(" and "))
    }

    fn reads(&self, host: &HostFacts) -> Vec<Command> {
        if self.by == By::Hostd && !self.key.is_empty() { vec![hostconfig()] } else { self.init_reads(host.version) }
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if self.by == By::Init || seen.raw(&hostconfig()).is_err() {
            return Vec::new();
        }
        match self.told(seen) {
            Some(told) if !self.doubts(&told) => Vec::new(),
            // Only the half that is not as wanted is asked for once more.
            Some(told) => {
                self.half_reads(seen.host.version, !told.is(self.running, None), !told.is(None, self.at_boot))
            }
            None => self.init_reads(seen.host.version),
        }
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // A service has its ports and its own settings. What a vendor's does, and hostd starting anew, nobody knows.
        let own = service(&self.init).is_some() && !matches!(self.init.as_str(), "hostd" | "vpxa");
        if own { Some(&["esxcli network firewall", "esxcli system"]) } else { None }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = self.now(seen)?;
        let mut changes = Vec::new();
        if let Some(want) = self.at_boot
            && !now.is(None, Some(want))
        {
            let before = now.at_boot.clone().unwrap_or_default();
            // No command of the shell sets `automatic` again.
            let undo = (before == on_off(!want)).then(|| self.undo("at_boot", !want)).flatten();
            changes.push(Change {
                summary: format!("service {} at boot", self.init),
                before,
                after: on_off(want).to_owned(),
                actions: vec![Action::Run(self.boot_action(want, seen.host.version))],
                undo,
                ..Change::default()
            });
        }
        if let Some(want) = self.running
            && !now.is(Some(want), None)
        {
            let word = |runs: bool| if runs { "running" } else { "stopped" }.to_owned();
            changes.push(Change {
                summary: format!("service {} now", self.init),
                before: word(!want),
                after: word(want),
                actions: vec![Action::Run(self.run_action(want))],
                effect: Effect { transient: true, ..Effect::default() },
                undo: self.undo("running", !want),
                ..Change::default()
            });
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        judge(action, output)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        if let Some(now) = self.told(seen) {
            return json!({"running": now.running, "at_boot": now.at_boot.map(|word| word == "on")});
        }
        json!({
            "running": self.running.and_then(|_| running(&self.init, seen).ok()),
            "at_boot": self.is_at_boot(seen).ok(),
        })
    }

    fn ends_ssh(&self) -> bool {
        self.init == "SSH" && self.running == Some(false)
    }
}

/// Starting what runs and stopping what does not is no failure, whatever exit code the script ends with.
pub(crate) fn judge(action: &Command, output: &Output) -> Result<Verdict, StepError> {
    let text = format!("{}\n{}", output.stdout, output.stderr).to_ascii_lowercase();
    let already = match action.text() {
        t if t.ends_with(" start") => text.contains("already running"),
        t if t.ends_with(" stop") => text.contains("not running") || text.contains("already stopped"),
        _ => false,
    };
    if already {
        return Ok(Verdict::default());
    }
    // Recorded on 6.5: initd-sfcbd-start-disabled.
    if text.contains("administratively disabled") {
        return Err(StepError::Command {
            command: action.shown().to_owned(),
            message: "it is switched off for good (administratively disabled)".into(),
            advice: Some("Switch the server on first: a `cim` step, `esxcli system wbem set --enable true`.".into()),
        });
    }
    default_judge(action, output).map_err(|error| match error {
        StepError::Command { command, message, .. } if action.text().contains("slpd") => StepError::Command {
            command,
            message,
            advice: Some(
                "slpd refuses to stop while something uses it: close the firewall ruleset CIMSLP, keep it from \
                 starting with the host, and reboot."
                    .into(),
            ),
        },
        other => other,
    })
}

#[cfg(test)]
pub(crate) mod tests;
