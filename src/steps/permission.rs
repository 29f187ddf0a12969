//! `permission`: an account does not have a certain role. Judged only; `account` sets roles.

use schemars::JsonSchema;
use serde::Deserialize;

use super::account::{OWN, permissions};
use super::{Change, Kind, Seen, Step, StepError, given, parse_as};
use crate::esxi::{Command, HostFacts};

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "permission",
    about: "Checks that an account does not have a role",
    example: "- permission: {account: cimuser, not_role: Admin}\n",
    parse: parse_as::<Permission>,
    schema: <Permission as JsonSchema>::json_schema,
};

/// An account, a CIM agent's for one, has less than this role. Which role it needs instead, only a person knows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Permission {
    /// The account. Not given: not judged as soon as any account beside ESXi's own has the role.
    #[serde(default, deserialize_with = "given::text")]
    #[schemars(with = "Option<String>")]
    account: Option<String>,
    /// The role that it must not have.
    not_role: String,
}

impl Step for Permission {
    fn summary(&self) -> String {
        format!("{} does not have the role {}", self.account.as_deref().unwrap_or("the account"), self.not_role)
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![permissions()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let rows = seen.table(&permissions())?;
        let has = |name: &str| {
            let mine = rows.iter().filter(|r| r.get("Principal").is_some_and(|p| p == name));
            mine.filter_map(|r| r.get("Role")).any(|role| role.eq_ignore_ascii_case(&self.not_role))
        };
        let Some(account) = &self.account else {
            let names = rows.iter().filter_map(|r| r.get("Principal")).filter(|n| !OWN.contains(&n.as_str()));
            let holders: Vec<&str> = names.map(String::as_str).filter(|n| has(n)).collect();
            return Err(if holders.is_empty() {
                StepError::NotApplicable(format!("no account beside ESXi's own has the role {}", self.not_role))
            } else {
                StepError::NotJudged(format!(
                    "the role {} belongs to {}: say which account this is about (`account`)",
                    self.not_role,
                    holders.join(", ")
                ))
            });
        };
        if !has(account) {
            return Ok(Vec::new());
        }
        Ok(vec![Change::finding(
            format!("role of {account}"),
            self.not_role.clone(),
            format!("not {}", self.not_role),
            format!("give it what it needs and no more, for example `- account: {{name: {account}, role: ReadOnly}}`"),
        )])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Host, step};
    use super::*;
    use crate::esxi::{Version, recorded};

    fn judge(account: serde_json::Value, list: &str) -> Result<Vec<Change>, StepError> {
        let step = step(&KIND, serde_json::json!({"account": account, "not_role": "Admin"}));
        Host::with(Version::new(6, 7), &[(permissions().text(), list)]).compare(step.as_ref())
    }

    #[test]
    fn a_list_recorded_on_6_7() {
        let list = recorded(include_str!("../../fixtures/transcripts/6.7/system-permission-list.txt"));
        assert!(judge("lawrence".into(), &list).unwrap()[0].by_hand.is_some());
        assert!(judge("nobody".into(), &list).unwrap().is_empty());
        assert!(matches!(judge("".into(), &list), Err(StepError::NotJudged(why)) if why.contains("lawrence")));
        let less = list.replace("lawrence      false  Admin ", "lawrence      false  NoAcc ");
        assert!(judge("lawrence".into(), &less).unwrap().is_empty());
        assert!(matches!(judge(serde_json::Value::Null, &less), Err(StepError::NotApplicable(_))));
    }
}
