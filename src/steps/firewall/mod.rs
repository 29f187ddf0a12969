//! The host's firewall. Narrowing the way in that this session uses is done so that it cannot lock us out, and
//! is left for the end of the run.

mod every;
mod plan;
mod spec;
#[cfg(test)]
mod tests;

use crate::esxi::{Command, HostFacts, Output};

use super::network;
use super::step::{About, Change, Kind, Seen, Step, StepError, Verdict, parse_as};

pub use spec::Firewall;
use spec::{Allowed, Target};

/// The kind `firewall`.
pub const KIND: Kind = Kind {
    name: "firewall",
    about: "A ruleset of the host's firewall and who may use it, every open one, or the firewall as a whole.",
    example: "\
- firewall:
    ruleset: ntpClient
    enabled: true
    allowed: [192.0.2.0/24, 10.0.0.5]
",
    parse: parse_as::<Firewall>,
    schema: |g| g.subschema_for::<spec::Written>(),
};

/// The ruleset through which the session comes in.
const SSH: &str = "sshServer";

fn get() -> Command {
    Command::esxcli("network firewall get")
}

fn ruleset_list() -> Command {
    Command::esxcli("network firewall ruleset list")
}

fn allowed_list() -> Command {
    Command::esxcli("network firewall ruleset allowedip list")
}

impl Step for Firewall {
    fn summary(&self) -> String {
        let on = |e: Option<bool>| e.map(|e| if e { "on" } else { "off" }.to_owned());
        match &self.target {
            Target::Ruleset { name, enabled, allowed } => {
                let parts: Vec<String> =
                    on(*enabled).into_iter().chain(allowed.as_ref().map(|a| format!("allowed {a}"))).collect();
                format!("firewall ruleset {name} {}", parts.join(", "))
            }
            Target::Every { .. } => "every open firewall ruleset is open to listed addresses only".to_owned(),
            Target::Whole { enabled, passes } => {
                let action = passes.map(|p| format!("default action {}", if p { "pass" } else { "drop" }));
                let parts: Vec<String> = on(*enabled).into_iter().chain(action).collect();
                format!("firewall {}", parts.join(", "))
            }
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        match &self.target {
            Target::Ruleset { allowed: None, .. } => vec![ruleset_list()],
            Target::Ruleset { .. } | Target::Every { .. } => vec![ruleset_list(), allowed_list()],
            Target::Whole { .. } if self.closes() => vec![get(), ruleset_list(), allowed_list()],
            Target::Whole { .. } => vec![get()],
        }
    }

    fn influences(&self) -> Option<&'static [&'static str]> {
        // A service may start or stop with its ports (its policy `automatic`): what shows services.
        Some(&[
            "esxcli network firewall",
            "esxcli system auditrecords",
            "esxcli system ntp",
            "esxcli system ptp",
            "esxcli system snmp",
            "esxcli system ssh",
            "esxcli system syslog",
            "esxcli system wbem",
        ])
    }

    fn about(&self) -> About {
        match &self.target {
            Target::Ruleset { name, .. } => About::one("ruleset", name),
            Target::Every { .. } | Target::Whole { .. } => About::default(),
        }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        plan::compare(self, seen)
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        // Recorded: "Already allowed all ip". What is set already is no failure; reading again decides. A line of several
        // commands says by its exit code whether one failed for another reason.
        let several = action.text().contains(" && ");
        if output.stdout.to_ascii_lowercase().contains("already") && (output.code == 0 || !several) {
            return Ok(Verdict { note: Some(output.stdout.trim().to_owned()), ..Verdict::default() });
        }
        network::judge_with_advice(
            action,
            output,
            "Some rulesets belong to a service and cannot be switched or narrowed by hand (8.0 U2 and later say so in \
             `esxcli network firewall ruleset list`).",
        )
    }

    fn ends_ssh(&self) -> bool {
        self.closes()
    }
}

impl Firewall {
    /// Whether it can close the way in.
    fn closes(&self) -> bool {
        match &self.target {
            Target::Ruleset { name, enabled, allowed } => {
                name == SSH && (*enabled == Some(false) || matches!(allowed, Some(Allowed::List(_))))
            }
            Target::Every { allowed, except } => !allowed.is_empty() && !except.iter().any(|e| e == SSH),
            Target::Whole { enabled, passes } => *enabled == Some(true) || *passes == Some(false),
        }
    }
}
