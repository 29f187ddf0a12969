//! `certificate`: who issued the host's certificate. Judged only.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Change, Kind, Seen, Step, StepError, given, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "certificate",
    about: "Checks who issued the host's certificate",
    example: "- certificate: {issuer_o: [Example Corp]}\n",
    parse: parse_as::<Certificate>,
    schema: <Certificate as JsonSchema>::json_schema,
};

/// The issuer of the host's certificate. A new certificate needs a certificate authority, so another issuer is a finding
/// for a person.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// Organizations (`O`) of the issuer that pass. None given: not judged.
    #[serde(default, deserialize_with = "given::list")]
    #[schemars(with = "Option<super::sysargs::OneOrMany<String>>")]
    issuer_o: Vec<String>,
}

/// Whether a host's openssl prints this was not recorded; both of openssl's own forms are read.
fn read() -> Command {
    Command::new("openssl x509 -in /etc/vmware/ssl/rui.crt -noout -issuer")
}

/// The parts of a name as openssl prints it: `/C=US/O=X` up to 1.0, `C = US, O = "X, Inc."` and `C=US, O=X\, Inc.` later.
fn parts(name: &str) -> Vec<(String, String)> {
    let name = name.trim();
    let mut words: Vec<String> = vec![String::new()];
    let slashes = name.starts_with('/');
    let (mut quoted, mut chars) = (false, name.trim_start_matches('/').chars());
    while let Some(c) = chars.next() {
        let last = words.last_mut();
        match c {
            '\\' => last.into_iter().for_each(|w| w.extend(chars.next())),
            '"' if !slashes => quoted = !quoted,
            ',' | '+' if !slashes && !quoted => words.push(String::new()),
            '/' if slashes => words.push(String::new()),
            c => last.into_iter().for_each(|w| w.push(c)),
        }
    }
    let mut out: Vec<(String, String)> = Vec::new();
    for word in words {
        match (word.split_once('='), out.last_mut()) {
            (Some((key, value)), _) => out.push((key.trim().to_owned(), value.trim().to_owned())),
            // A slash inside a value.
            (None, Some((_, value))) if slashes => *value = format!("{value}/{word}"),
            _ => {}
        }
    }
    out
}

impl Step for Certificate {
    fn summary(&self) -> String {
        format!("the host's certificate was issued by {}", self.issuer_o.join(" or "))
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![read()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let output = seen.output(&read())?;
        let issuer = output.stdout.lines().find_map(|l| l.trim().strip_prefix("issuer="));
        let issuer = issuer.ok_or_else(|| StepError::unreadable(&read(), "no `issuer=` in it"))?.trim();
        if self.issuer_o.is_empty() {
            return Err(StepError::NotJudged(format!(
                "the certificate was issued by {issuer}: say which organizations are right (`issuer_o`)"
            )));
        }
        let passes = |(key, value): (String, String)| key == "O" && self.issuer_o.iter().any(|o| o.trim() == value);
        if parts(issuer).into_iter().any(passes) {
            return Ok(Vec::new());
        }
        Ok(vec![Change::finding(
            "issuer of the host's certificate",
            issuer,
            format!("O = {}", self.issuer_o.join(" or ")),
            "have a certificate made, put it and its key in the place of /etc/vmware/ssl/rui.crt and rui.key in maintenance mode, and run `services.sh restart`; with a vCenter its certificate mode must be `custom` first",
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step};
    use super::*;
    use crate::esxi::Version;

    fn judge(issuer: &str, want: serde_json::Value) -> Result<Vec<Change>, StepError> {
        let said = format!("issuer={issuer}\n");
        let step = step(&KIND, serde_json::json!({ "issuer_o": want }));
        Host::with(Version::new(8, 0), &[(read().text(), &said)]).compare(step.as_ref())
    }

    #[test]
    fn every_form_of_a_name() {
        for issuer in [
            " /C=US/O=U.S. Government/OU=PKI/CN=CA-59",
            "C = US, O = U.S. Government, OU = PKI, CN = CA-59",
            "C=US, O=U.S. Government, CN=CA",
            " CN = CA, O = \"U.S. Government\"",
        ] {
            assert!(judge(issuer, "U.S. Government".into()).unwrap().is_empty(), "{issuer}");
            assert!(judge(issuer, serde_json::json!(["CA", "PKI"])).unwrap()[0].by_hand.is_some(), "{issuer}");
        }
        assert!(judge("C = US, O = \"Example, Inc.\"", "Example, Inc.".into()).unwrap().is_empty());
        assert!(judge("C=US, O=Example\\, Inc.", "Example, Inc.".into()).unwrap().is_empty());
        assert!(judge("/O=a/b/CN=x", "a/b".into()).unwrap().is_empty());
        assert_eq!(judge("/CN=localhost", "x".into()).unwrap().len(), 1);
    }

    #[test]
    fn without_names_it_is_not_judged_and_an_error_is_no_answer() {
        for none in [serde_json::json!([]), serde_json::json!(""), serde_json::Value::Null] {
            assert!(matches!(judge("/O=x", none), Err(StepError::NotJudged(why)) if why.contains("/O=x")));
        }
        let wanted = step(&KIND, serde_json::json!({"issuer_o": "x"}));
        let host = Host::with(Version::new(8, 0), &[]).fails(&read(), "Can't open /etc/vmware/ssl/rui.crt\n");
        assert!(matches!(host.compare(wanted.as_ref()), Err(StepError::Command { .. })));
    }
}
