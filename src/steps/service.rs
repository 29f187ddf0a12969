//! `service`: whether a service runs now, and whether it starts with the host.
//!
//! The two are different things on ESXi: `chkconfig --list` tells the one, `/etc/init.d/NAME status` the other.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::sysargs::nearest_text;
use super::{Action, Change, Effect, Kind, Seen, Step, StepError, Verdict, default_judge, parse_as};
use crate::esxi::services::{Control, Service as Known, chkconfig, is_running, service};
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
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "ServiceSpec")]
pub struct Service {
    /// The init script and the name in chkconfig.
    init: String,
    control: Control,
    running: Option<bool>,
    at_boot: Option<bool>,
}

impl TryFrom<ServiceSpec> for Service {
    type Error = String;

    fn try_from(spec: ServiceSpec) -> Result<Self, String> {
        if spec.running.is_none() && spec.at_boot.is_none() {
            return Err("give `running`, `at_boot`, or both".into());
        }
        let name = spec.name.trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
        let (init, control) = match service(name) {
            Some(Known { init, control, .. }) => ((*init).to_owned(), *control),
            // Others are taken as named: vendors bring their own init scripts.
            None if !name.is_empty() && name.chars().all(plain) => (name.to_owned(), Control::InitScript),
            None => return Err(format!("{name:?} is not the name of a service")),
        };
        Ok(Self { init, control, running: spec.running, at_boot: spec.at_boot })
    }
}

/// The read that tells which services start with the host; all service steps share it.
pub(crate) fn list() -> Command {
    Command::new("chkconfig --list")
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

impl Service {
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
        // The list also tells which services there are, for the error of a misspelt name.
        let mut out = vec![list()];
        if self.running.is_some() {
            out.push(status(&self.init));
        }
        if self.at_boot.is_some() && self.by_esxcli(host.version) {
            out.push(ntp_get());
        }
        out
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        let word = |yes: bool, words: [&str; 2]| words[usize::from(!yes)].to_owned();
        if let Some(want) = self.at_boot
            && self.is_at_boot(seen)? != want
        {
            changes.push(Change {
                summary: format!("service {} at boot", self.init),
                before: word(!want, ["on", "off"]),
                after: word(want, ["on", "off"]),
                actions: vec![Action::Run(self.boot_action(want, seen.host.version))],
                ..Change::default()
            });
        }
        if let Some(want) = self.running
            && running(&self.init, seen)? != want
        {
            changes.push(Change {
                summary: format!("service {} now", self.init),
                before: word(!want, ["running", "stopped"]),
                after: word(want, ["running", "stopped"]),
                actions: vec![Action::Run(self.run_action(want))],
                effect: Effect { transient: true, ..Effect::default() },
                ..Change::default()
            });
        }
        Ok(changes)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        judge(action, output)
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
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
mod tests {
    use super::*;
    use crate::esxi::recorded;
    use crate::steps::testing::{Host, texts};

    fn step(json: serde_json::Value) -> Service {
        serde_json::from_value(json).unwrap()
    }

    fn compare(step: &Service, version: Version, outputs: &[(&str, &str)]) -> Result<Vec<Change>, StepError> {
        Host::with(version, outputs).compare(step)
    }

    const LIST: &str = "hostd                   on\nSSH                     off\nESXShell                off\nslpd                    on\nntpd                    off\n";
    const V65: Version = Version::new(6, 5);
    const V70: Version = Version::new(7, 0);

    #[test]
    fn ssh_goes_through_hostd_and_is_idempotent() {
        let said = recorded(include_str!("../../fixtures/transcripts/6.7/initd-ssh-restart.txt"));
        let (off, on) = said.split_once('\n').unwrap();
        let ssh = step(json!({"name": "TSM-SSH", "running": true, "at_boot": true}));
        let reads: Vec<String> = ssh.reads(&HostFacts::example(V65)).iter().map(|c| c.text().to_owned()).collect();
        assert_eq!(reads, ["chkconfig --list", "/etc/init.d/SSH status"]);
        let changes = compare(&ssh, V65, &[("chkconfig --list", LIST), ("/etc/init.d/SSH status", off)]).unwrap();
        assert_eq!(texts(&changes), ["vim-cmd hostsvc/enable_ssh", "vim-cmd hostsvc/start_ssh"]);
        assert_eq!((changes[1].before.as_str(), changes[1].after.as_str()), ("stopped", "running"));
        assert!(changes[1].effect.transient && !changes[0].effect.transient);
        let list = LIST.replace("SSH                     off", "SSH                     on");
        assert!(compare(&ssh, V65, &[("chkconfig --list", &list), ("/etc/init.d/SSH status", on)]).unwrap().is_empty());
    }

    #[test]
    fn only_stopping_ssh_ends_the_way_in() {
        assert!(step(json!({"name": "ssh", "running": false})).ends_ssh());
        assert!(!step(json!({"name": "ssh", "at_boot": false})).ends_ssh());
        assert!(!step(json!({"name": "shell", "running": false})).ends_ssh());
    }

    #[test]
    fn hostd_recorded_on_5_1_runs() {
        let status = recorded(include_str!("../../fixtures/transcripts/5.x/initd-hostd-status.txt"));
        let outputs = [("chkconfig --list", LIST), ("/etc/init.d/hostd status", status.as_str())];
        let hostd = step(json!({"name": "hostd", "running": true, "at_boot": true}));
        assert!(compare(&hostd, V65, &outputs).unwrap().is_empty());
        let stop = step(json!({"name": "hostd", "running": false}));
        assert_eq!(texts(&compare(&stop, V65, &outputs).unwrap()), ["/etc/init.d/hostd stop"]);
    }

    #[test]
    fn ntpd_is_switched_by_esxcli_from_7_0_on_only() {
        let ntpd = step(json!({"name": "ntpd", "running": true, "at_boot": true}));
        let outputs = [
            ("chkconfig --list", LIST),
            ("/etc/init.d/ntpd status", "ntpd is not running"),
            ("esxcli system ntp get", "   Enabled: false\n   Loglevel: warning\n   Servers: \n"),
        ];
        let at = |v| texts(&compare(&ntpd, v, &outputs).unwrap());
        assert_eq!(at(V70), ["esxcli system ntp set -e true", "/etc/init.d/ntpd start"]);
        assert_eq!(at(V65), ["chkconfig ntpd on", "/etc/init.d/ntpd start"]);
        assert!(!ntpd.reads(&HostFacts::example(V65)).iter().any(|c| c.text().contains("esxcli")));
        let get = recorded(include_str!("../../fixtures/transcripts/7.0/system-ntp-get.txt"));
        let boot = step(json!({"name": "ntp", "at_boot": true}));
        assert!(
            compare(&boot, V70, &[("chkconfig --list", LIST), ("esxcli system ntp get", &get)]).unwrap().is_empty()
        );
    }

    #[test]
    fn an_unknown_service_or_text_is_an_error_that_says_so() {
        let misspelt = step(json!({"name": "slpdd", "at_boot": false}));
        let said = compare(&misspelt, V65, &[("chkconfig --list", LIST)]).unwrap_err().to_string();
        assert!(said.contains("slpdd") && said.contains("Nearest: slpd"), "{said}");
        let slpd = step(json!({"name": "slpd", "running": false}));
        let odd = [("chkconfig --list", LIST), ("/etc/init.d/slpd status", "who knows")];
        assert!(compare(&slpd, V65, &odd).unwrap_err().to_string().contains("who knows"));
        let missing = Output { stderr: "sh: /etc/init.d/slpdd: not found".into(), code: 127, ..Output::default() };
        let host = Host::with(V65, &[("chkconfig --list", LIST)]).ends(&status("slpdd"), missing);
        let said = host.compare(&step(json!({"name": "slpdd", "running": true})));
        assert!(said.unwrap_err().to_string().contains("no /etc/init.d/slpdd"));
        assert!(serde_json::from_value::<Service>(json!({"name": "ssh"})).is_err());
        assert!(serde_json::from_value::<Service>(json!({"name": "a; reboot", "running": true})).is_err());
    }

    #[test]
    fn stopping_what_is_stopped_is_no_failure_but_a_refusal_is() {
        let stop = start_or_stop("slpd", false);
        let said = |text: &str| Output { stdout: text.into(), code: 1, ..Output::default() };
        assert!(judge(&stop, &said("slpd is not running")).is_ok());
        let error = judge(&stop, &said("Failed to stop slpd")).unwrap_err().to_string();
        assert!(error.contains("CIMSLP"), "{error}");
    }
}
