//! `people_accounts`: local accounts beside ESXi's own. People belong into a directory. Judged only.

use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{OWN, accounts};
use super::service::hostconfig;
use super::{Change, Kind, Seen, Step, StepError, given, parse_as};
use crate::esxi::{Command, HostFacts, vimdump};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "people_accounts",
    about: "Checks that no local accounts of people are on the host",
    example: "- people_accounts: {allowed: [backup]}\n",
    parse: parse_as::<PeopleAccounts>,
    schema: <PeopleAccounts as JsonSchema>::json_schema,
};

/// No local accounts beside root, dcui, vpxuser and those that are allowed. Whose account it is, and who may have it, only
/// a person knows; so an account too many is a finding.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeopleAccounts {
    /// Local accounts that may be there: those of services, and one to break the glass.
    #[serde(default, deserialize_with = "given::list")]
    #[schemars(with = "Option<super::sysargs::OneOrMany<String>>")]
    allowed: Vec<String>,
}

impl PeopleAccounts {
    /// Accounts of neither ESXi itself nor the list.
    fn others(&self, seen: &Seen<'_>) -> Result<(Vec<String>, usize), StepError> {
        let rows = seen.table(&accounts())?;
        let names: Vec<&String> = rows.iter().filter_map(|row| row.get("User ID")).collect();
        if !names.iter().any(|name| *name == "root") {
            return Err(StepError::unreadable(&accounts(), "no account root in it"));
        }
        let people: Vec<String> = names.into_iter().filter(|n| !OWN.contains(&n.as_str())).cloned().collect();
        let all = people.len();
        Ok((people.into_iter().filter(|n| !self.allowed.contains(n)).collect(), all))
    }
}

/// The domain that the host is a member of, if it is one (`joinedDomain` of the vSphere API's `HostActiveDirectoryInfo`, in
/// hostd's configuration). esxcli does not tell it. A dump with a domain in it was not recorded.
fn domain(seen: &Seen<'_>) -> Result<Option<String>, StepError> {
    let read = hostconfig();
    let unseen = |why: String| {
        StepError::NotJudged(format!("whether the host is a member of a directory could not be read: {why}"))
    };
    let output = seen.output(&read).map_err(|error| unseen(error.to_string()))?;
    let dump = vimdump::parse(&output.stdout).map_err(|error| unseen(format!("`{read}`: {error}")))?;
    Ok(dump.find("joinedDomain").map(vimdump::Value::text).filter(|d| !d.is_empty()))
}

impl Step for PeopleAccounts {
    fn summary(&self) -> String {
        "no local accounts of people".into()
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![accounts()]
    }

    fn more_reads(&self, seen: &Seen<'_>) -> Vec<Command> {
        if self.others(seen).is_ok_and(|(_, all)| all == 0) { vec![hostconfig()] } else { Vec::new() }
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let (others, all) = self.others(seen)?;
        if !others.is_empty() {
            return Ok(vec![Change::finding(
                "local accounts of people",
                others.join(", "),
                "none",
                "let people log in with accounts of a directory (join the host to one in the host client), then remove these (`account` with `state: absent`); an account that must stay goes on the list `allowed`",
            )]);
        }
        if all == 0 && domain(seen)?.is_none() {
            return Err(StepError::NotApplicable(
                "there are no local accounts beside ESXi's own, and hostd tells of no directory that the host is a member of".into(),
            ));
        }
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step};
    use super::*;
    use crate::esxi::{Version, recorded};

    const PLAIN: &str = include_str!("../../fixtures/transcripts/6.7/system-account-list.txt");
    const LAWRENCE: &str = include_str!("../../fixtures/transcripts/6.7/system-account-list-after-add.txt");

    fn judge(list: &str, allowed: serde_json::Value, domain: &str) -> Result<Vec<Change>, StepError> {
        let dump = format!("(vim.host.ConfigInfo) {{\n   joinedDomain = {domain}, \n}}\n");
        let host = Host::with(Version::new(6, 7), &[(accounts().text(), list), (hostconfig().text(), &dump)]);
        host.compare(step(&KIND, serde_json::json!({ "allowed": allowed })).as_ref())
    }

    #[test]
    fn lists_recorded_on_6_7() {
        let none = serde_json::json!([]);
        let found = judge(&recorded(LAWRENCE), none.clone(), "<unset>").unwrap();
        assert!(found[0].by_hand.is_some() && found[0].before == "lawrence");
        assert!(judge(&recorded(LAWRENCE), "lawrence".into(), "<unset>").unwrap().is_empty());
        assert!(matches!(judge(&recorded(PLAIN), none.clone(), "<unset>"), Err(StepError::NotApplicable(_))));
        assert!(judge(&recorded(PLAIN), serde_json::Value::Null, "\"example.com\"").unwrap().is_empty());
        // No member of a directory is only who was seen to be none.
        let list = recorded(PLAIN);
        let host = Host::with(Version::new(6, 7), &[(accounts().text(), &list), (hostconfig().text(), "no hostd\n")]);
        let unseen = host.compare(step(&KIND, serde_json::json!({ "allowed": [] })).as_ref());
        assert!(matches!(unseen, Err(StepError::NotJudged(_))), "{unseen:?}");
        // An empty answer is no host without accounts.
        assert!(judge("", none, "<unset>").is_err());
    }
}
