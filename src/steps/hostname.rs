//! The host's name and domain.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::esxi::{Command, HostFacts};

use super::network;
use super::step::{Action, Change, Kind, Seen, Step, StepError, Undo, parse_as};

/// The kind `hostname`.
pub const KIND: Kind = Kind {
    name: "hostname",
    about: "The host's name and domain.",
    example: "\
- hostname:
    fqdn: esx1.lab.example
",
    parse: parse_as::<Hostname>,
    schema: |g| g.subschema_for::<Written>(),
};

/// The host's name. Names compare without regard to case, as DNS does.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Hostname {
    host: Option<String>,
    domain: Option<String>,
    by_fqdn: bool,
}

/// The host's name: either `fqdn`, or `host` and `domain` or one of them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The name without a domain, at most 63 characters.
    host: Option<String>,
    /// The domain; an empty text removes it.
    domain: Option<String>,
    /// Name and domain in one, for example `esx1.lab.example`.
    fqdn: Option<String>,
}

impl TryFrom<Written> for Hostname {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        let made = match (w.fqdn, w.host, w.domain) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => {
                return Err("give either `fqdn` or `host` and `domain`, not both".into());
            }
            (None, None, None) => return Err("give `fqdn`, or `host`, `domain` or both".into()),
            (Some(fqdn), None, None) => {
                let (host, domain) = fqdn
                    .split_once('.')
                    .ok_or_else(|| format!("{fqdn:?} has no domain: write `host: {fqdn}` or add the domain"))?;
                Self { host: Some(host.to_owned()), domain: Some(domain.to_owned()), by_fqdn: true }
            }
            (None, host, domain) => Self { host, domain, by_fqdn: false },
        };
        if let Some(host) = &made.host {
            check_label(host)?;
        }
        if let Some(domain) = made.domain.as_deref().filter(|d| !d.is_empty()) {
            check_domain(domain)?;
        }
        Ok(made)
    }
}

/// One label of a name, after RFC 1123.
fn check_label(label: &str) -> Result<(), String> {
    let good = (1..=63).contains(&label.len())
        && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        && !label.starts_with('-')
        && !label.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(format!("{label:?} is not a host name: letters, digits and inner hyphens, 1 to 63 characters, no dots"))
    }
}

/// A domain: labels with dots. Underscores are let through, because Active Directory has them.
pub(super) fn check_domain(domain: &str) -> Result<(), String> {
    for label in domain.split('.') {
        check_label(&label.replace('_', "x")).map_err(|_| format!("{domain:?} is not a domain"))?;
    }
    if domain.len() > 253 { Err(format!("{domain:?} is longer than 253 characters")) } else { Ok(()) }
}

fn get() -> Command {
    Command::esxcli("system hostname get")
}

impl Hostname {
    fn fqdn(&self) -> String {
        match (&self.host, self.domain.as_deref().filter(|d| !d.is_empty())) {
            (Some(h), Some(d)) => format!("{h}.{d}"),
            (Some(h), None) => h.clone(),
            (None, d) => format!("domain {}", d.unwrap_or("(none)")),
        }
    }
}

impl Step for Hostname {
    fn summary(&self) -> String {
        format!("host name {}", self.fqdn())
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![get()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let now = network::read(seen, &get(), |t| Ok(crate::esxi::forms::record(t)?))?;
        let read = |label: &str| now.get(label).map(String::as_str).unwrap_or_default();
        let host_now =
            now.get("Host Name").ok_or_else(|| StepError::unreadable(&get(), "no `Host Name` in it"))?.as_str();
        let domain_now = read("Domain Name");
        let differs =
            |wanted: &Option<String>, now: &str| wanted.as_ref().is_some_and(|w| !w.eq_ignore_ascii_case(now));
        let (host, domain) = (differs(&self.host, host_now), differs(&self.domain, domain_now));
        if !host && !domain {
            return Ok(Vec::new());
        }
        let mut set = Command::esxcli("system hostname set");
        if self.by_fqdn {
            set = set.opt("--fqdn", self.fqdn());
        } else {
            if let Some(h) = self.host.as_ref().filter(|_| host) {
                set = set.opt("--host", h);
            }
            if let Some(d) = self.domain.as_ref().filter(|_| domain) {
                set = set.opt("--domain", d);
            }
        }
        let mut old = json!({});
        if host {
            old["host"] = json!(host_now);
        }
        if domain {
            old["domain"] = json!(domain_now);
        }
        let full = |h: &str, d: &str| if d.is_empty() { h.to_owned() } else { format!("{h}.{d}") };
        Ok(vec![Change {
            summary: "host name".into(),
            before: full(host_now, domain_now),
            after: full(self.host.as_deref().unwrap_or(host_now), self.domain.as_deref().unwrap_or(domain_now)),
            actions: vec![Action::Run(set)],
            undo: Undo::step("hostname", old),
            ..Change::default()
        }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::*;
    use serde_json::json;

    fn nine() -> Host {
        let text = recorded(include_str!("../../fixtures/transcripts/9.0/system-hostname-get-fqdn.txt"));
        Host::new(Version::new(9, 0), "192.0.2.11").says(&get(), text)
    }

    #[test]
    fn recorded_on_9_0() {
        assert!(nine().compare(&*step(&KIND, json!({"fqdn": "vcf-esx3.lab.local"}))).unwrap().is_empty());
        assert!(nine().compare(&*step(&KIND, json!({"host": "VCF-esx3"}))).unwrap().is_empty());
        let s = step(&KIND, json!({"fqdn": "esx1.lab.example"}));
        assert_eq!(nine().actions(&*s), ["esxcli system hostname set --fqdn=esx1.lab.example"]);
        let s = step(&KIND, json!({"host": "esx1", "domain": "lab.local"}));
        assert_eq!(nine().actions(&*s), ["esxcli system hostname set --host=esx1"]);
        let change = &nine().compare(&*s).unwrap()[0];
        assert_eq!((change.before.as_str(), change.after.as_str()), ("vcf-esx3.lab.local", "esx1.lab.local"));
    }

    #[test]
    fn a_fresh_5_5_host_without_a_domain() {
        let text = "   Domain Name: \n   Fully Qualified Domain Name: localhost\n   Host Name: localhost\n";
        let host = Host::new(Version::new(5, 5), "192.0.2.11").says(&get(), text);
        let s = step(&KIND, json!({"host": "esx1", "domain": "lab.example"}));
        assert_eq!(host.actions(&*s), ["esxcli system hostname set --host=esx1 --domain=lab.example"]);
        assert!(host.compare(&*step(&KIND, json!({"host": "localhost", "domain": ""}))).unwrap().is_empty());
    }

    #[test]
    fn what_was_before_comes_back() {
        let text = |domain: &str, host: &str| {
            format!("   Domain Name: {domain}\n   Fully Qualified Domain Name: {host}.{domain}\n   Host Name: {host}\n")
        };
        let with = |domain, host| Host::new(Version::new(7, 0), "192.0.2.11").says(&get(), text(domain, host));
        for (wanted, back) in [
            (json!({"fqdn": "esx1.lab.example"}), "esxcli system hostname set --host=localhost --domain=''"),
            (json!({"domain": "lab.example"}), "esxcli system hostname set --domain=''"),
            (json!({"host": "esx1"}), "esxcli system hostname set --host=localhost"),
        ] {
            let undo = with("", "localhost").compare(&*step(&KIND, wanted)).unwrap().remove(0).undo.unwrap();
            assert_eq!(with("lab.example", "esx1").actions(&*step(&KIND, undo.args)), [back]);
        }
    }

    #[test]
    fn wrong_arguments() {
        for wrong in [
            json!({"fqdn": "esx1"}),
            json!({"fqdn": "esx1.lab", "host": "esx1"}),
            json!({"host": "a b"}),
            json!({"host": "-a"}),
            json!({"host": "esx1.lab"}),
            json!({}),
            json!({"name": "esx1"}),
        ] {
            assert!(!bad(&KIND, wrong).is_empty());
        }
    }
}
