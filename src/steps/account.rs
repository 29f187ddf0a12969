//! `account`: a local user, its role and its password hash.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::sysargs::truth;
use super::{Action, Change, Kind, Seen, Step, StepError, Undo, Verdict, default_judge, file, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output, Version};

#[cfg(test)]
mod tests;

/// The kind, for the registry.
pub const KIND: Kind = Kind {
    name: "account",
    about: "A local user with a role and a password hash, or no such user",
    example: "- account: {name: backup, description: Backup user, role: ReadOnly}\n",
    parse: parse_as::<Account>,
    schema: <Spec as JsonSchema>::json_schema,
};

/// Accounts that ESXi needs for itself.
pub(super) const OWN: [&str; 3] = ["root", "dcui", "vpxuser"];

/// The column of 8.0 and later.
const SHELL: &str = "Shell Access";

/// Configures a local user.
///
/// A password is given as its hash only: a hash has a random salt, so a password in clear could never be compared
/// with what the host has. `openssl passwd -6` makes one. Neither the hash nor anything derived from it is
/// shown, logged or put into a command line. That a new user may be added without a password, and that 7.0 and later
/// take the hash from /etc/shadow at once, is not verified on a host.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The user's name.
    pub name: String,
    /// The description, for example the full name.
    #[serde(default)]
    pub description: Option<String>,
    /// The role: `Admin`, `ReadOnly`, `NoAccess` or one made on the host; `none` takes the permission away. A
    /// user without the role Admin cannot log in over SSH.
    #[serde(default)]
    pub role: Option<String>,
    /// The password's hash in crypt form, `$6$salt$...`, from `openssl passwd -6`.
    #[serde(default)]
    pub password_hash: Option<Hash>,
    /// Whether the user exists.
    #[serde(default)]
    pub state: file::State,
    /// Whether the user may use the shell (8.0 and later).
    #[serde(default)]
    pub shell_access: Option<bool>,
}

/// A password hash that does not show itself.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Hash(String);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash not shown)")
    }
}

/// The desired state of one local user.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Account(Spec);

impl TryFrom<Spec> for Account {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        let first = spec.name.chars().next().unwrap_or('-');
        if !(first.is_ascii_alphabetic() || first == '_')
            || spec.name.len() > 32
            || !spec.name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        {
            return Err("`name` is a user's name: letters, digits, `_`, `-` and `.`, at most 32, a letter first".into());
        }
        if let Some(Hash(hash)) = &spec.password_hash {
            // Never repeat the value: it may be the password itself.
            let parts: Vec<&str> = hash.split('$').collect();
            let form = parts.len() >= 4
                && parts[0].is_empty()
                && ["1", "5", "6"].contains(&parts[1])
                && parts[parts.len() - 1].len() >= 22
                && hash.chars().all(|c| c.is_ascii_alphanumeric() || "$./=,".contains(c));
            if !form {
                return Err(
                    "`password_hash` is not a hash in crypt form (`$6$salt$...`); make one with `openssl passwd -6`"
                        .into(),
                );
            }
        }
        if spec.state == file::State::Absent {
            if OWN.contains(&spec.name.as_str()) {
                return Err(format!("{} belongs to ESXi itself and cannot be removed", spec.name));
            }
            if spec.description.is_some()
                || spec.role.is_some()
                || spec.password_hash.is_some()
                || spec.shell_access.is_some()
            {
                return Err("`state: absent` takes nothing but `name`".into());
            }
        }
        if spec.name == "root" && spec.shell_access == Some(false) {
            return Err("root keeps its shell access: without it nobody could give it back to anyone".into());
        }
        if spec.name == "root" && spec.role.as_ref().is_some_and(|r| r != "Admin") {
            return Err("root keeps the role Admin: without it nobody could log in".into());
        }
        Ok(Self(spec))
    }
}

pub(super) fn accounts() -> Command {
    Command::esxcli("system account list")
}

pub(super) fn permissions() -> Command {
    Command::esxcli("system permission list")
}

fn same(row: &Record, column: &str, value: &str) -> bool {
    row.get(column).is_some_and(|v| v == value)
}

impl Account {
    /// The digest of the hash that the host has: the hash itself stays there.
    fn hash_command(&self) -> Command {
        Command::new("awk -F:")
            .opt("-v", format!("u={}", self.0.name))
            .words("'$1==u{print $2}' /etc/shadow | sha256sum")
            .secret()
    }

    /// Rewrites the user's line in /etc/shadow: a copy with the same mode is changed and moved into place, so
    /// there is never half a file. The new hash comes on standard input, never in an argument.
    fn set_hash(&self, hash: &Hash) -> Command {
        Command::new("t=/etc/shadow.esxprep; trap 'rm -f \"$t\"' EXIT; cp -p /etc/shadow \"$t\" && awk -F:")
            .opt("-v", "OFS=:")
            .opt("-v", format!("u={}", self.0.name))
            .words("'NR==FNR{if(NR==1)h=$0;next} $1==u{$2=h;n++} {print} END{exit !(n==1&&length(h)>0)}' - /etc/shadow >\"$t\" && mv \"$t\" /etc/shadow")
            .stdin(format!("{}\n", hash.0))
            .secret()
    }

    fn removal(&self, exists: bool, permission: Option<&Record>) -> Vec<Change> {
        let name = &self.0.name;
        let mut actions = Vec::new();
        if permission.is_some() {
            actions.push(Action::Run(Command::esxcli("system permission unset").opt("-i", name)));
        }
        if exists {
            actions.push(Action::Run(Command::esxcli("system account remove").opt("-i", name)));
        }
        if actions.is_empty() {
            return Vec::new();
        }
        vec![Change {
            summary: format!("remove account {name}"),
            before: "present".into(),
            after: "absent".into(),
            actions,
            // No undo: nothing keeps the password.
            ..Change::default()
        }]
    }

    /// Whether nothing but the shell access is asked for.
    fn only_shell(&self) -> bool {
        let s = &self.0;
        s.shell_access.is_some() && s.description.is_none() && s.role.is_none() && s.password_hash.is_none()
    }

    /// What the host says of the shell access; an error where its accounts have no such thing.
    fn shell_now(
        &self,
        version: Version,
        rows: &[Record],
        account: Option<&Record>,
    ) -> Result<Option<bool>, StepError> {
        if rows.iter().any(|row| row.contains_key(SHELL)) {
            return Ok(account.and_then(|r| r.get(SHELL)).and_then(|v| truth(v)));
        }
        let why = format!("accounts of ESXi {version} have no shell access of their own, those of 8.0 and later do");
        Err(if self.only_shell() {
            StepError::NotApplicable(why)
        } else {
            StepError::Refused(format!(
                "{why}: give the user a role other than Admin, leave `shell_access` out, or limit the step with `when`"
            ))
        })
    }
}

impl Step for Account {
    fn summary(&self) -> String {
        match self.0.state {
            file::State::Present => format!("account {}", self.0.name),
            file::State::Absent => format!("no account {}", self.0.name),
        }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = vec![accounts()];
        if self.0.role.is_some() || self.0.state == file::State::Absent {
            reads.push(permissions());
        }
        if self.0.password_hash.is_some() {
            reads.push(self.hash_command());
        }
        reads
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let s = &self.0;
        let name = &s.name;
        let rows = seen.table(&accounts())?;
        let account = rows.iter().find(|r| same(r, "User ID", name));
        if s.state == file::State::Absent {
            let permissions = seen.table(&permissions())?;
            return Ok(self.removal(account.is_some(), permissions.iter().find(|r| same(r, "Principal", name))));
        }
        if account.is_none() && OWN.contains(&name.as_str()) {
            return Err(StepError::NotApplicable(format!("the host has no account {name}, which ESXi makes itself")));
        }
        let mut changes = Vec::new();
        // What is done to an account that was not there is taken back by removing it.
        let undo = |args: serde_json::Value| match account {
            None => Undo::step("account", json!({ "name": name, "state": "absent" })),
            Some(_) => Undo::step("account", args),
        };
        let mut change = |summary: String, before: String, after: String, command: Command, undo: Option<Undo>| {
            let actions = vec![Action::Run(command)];
            changes.push(Change { summary, before, after, actions, undo, ..Change::default() });
        };
        let set = || Command::esxcli("system account set").opt("-i", name);
        match account {
            None => {
                let mut add = Command::esxcli("system account add").opt("-i", name);
                if let Some(d) = &s.description {
                    add = add.opt("--description", d);
                }
                change(format!("add account {name}"), "absent".into(), "present".into(), add, undo(json!({})));
            }
            Some(row) => {
                let now = row.get("Description").map_or("", String::as_str);
                if let Some(d) = s.description.as_ref().filter(|d| d.trim() != now) {
                    let command = set().opt("--description", d);
                    let undo = undo(json!({ "name": name, "description": now }));
                    change(format!("description of account {name}"), now.into(), d.clone(), command, undo);
                }
            }
        }
        if let Some(shell) = s.shell_access {
            let now = self.shell_now(seen.host.version, &rows, account)?;
            if now != Some(shell) {
                let before = now.map_or("unknown".into(), |b| b.to_string());
                let command = set().opt("-s", if shell { "true" } else { "false" });
                let undo = undo(json!({ "name": name, "shell_access": now }));
                let undo = undo.filter(|_| now.is_some() || account.is_none());
                change(format!("shell access of account {name}"), before, shell.to_string(), command, undo);
            }
        }
        if let Some(hash) = &s.password_hash {
            let command = self.hash_command();
            let said = &seen.output(&command)?.stdout;
            let now = said.split_whitespace().next().filter(|w| w.len() == 64);
            let now = now.ok_or_else(|| StepError::unreadable(&command, "no SHA-256 in it"))?;
            let want: String =
                Sha256::digest(format!("{}\n", hash.0).as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
            if now != want {
                let (before, after) = ("another password hash".into(), "the password hash given (not shown)".into());
                // The hash before is a secret, which no journal keeps.
                let undo = undo(json!({})).filter(|_| account.is_none());
                change(format!("password of account {name}"), before, after, self.set_hash(hash), undo);
            }
        }
        if let Some(role) = &s.role {
            let rows = seen.table(&permissions())?;
            let now = rows.iter().find(|r| same(r, "Principal", name)).and_then(|r| r.get("Role")).cloned();
            let wanted = (role != "none").then_some(role);
            if now.as_ref() != wanted {
                let command = match wanted {
                    Some(role) => Command::esxcli("system permission set").opt("-i", name).opt("-r", role),
                    None => Command::esxcli("system permission unset").opt("-i", name),
                };
                let now = now.unwrap_or_else(|| "none".into());
                let undo = undo(json!({ "name": name, "role": now }));
                change(format!("role of account {name}"), now, role.clone(), command, undo);
            }
        }
        Ok(changes)
    }

    fn secrets(&self) -> Vec<(&'static str, String)> {
        self.0.password_hash.iter().map(|Hash(hash)| ("password_hash", hash.clone())).collect()
    }

    fn judge(&self, action: &Command, output: &Output) -> Result<Verdict, StepError> {
        if action.is_secret() && output.code != 0 {
            // Its output is not repeated: awk could quote its input.
            return Err(StepError::Command {
                command: action.shown().to_owned(),
                message: format!("writing the password hash of {} ended with code {}", self.0.name, output.code),
                advice: Some(format!(
                    "/etc/shadow is unchanged. Is there exactly one line for {} in it, and space left in /etc (see `vdf -h`)?",
                    self.0.name
                )),
            });
        }
        default_judge(action, output)
    }
}
