//! `esxcli system account` and `permission`. The accounts are in /etc/passwd and /etc/shadow as well.

use sha2::{Digest, Sha256};

use super::super::Effect;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{Account, HostState, Permission, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("system account list", "List local user accounts.", &[], list),
    Cmd::new(
        "system account add",
        "Create a new local user account.",
        &[
            "d description s User description, e.g. full name.",
            "i id s! User ID, e.g. \"administrator\".",
            "p password p User password.",
            "c password-confirmation p Password confirmation. Required if password is specified.",
            "s shell-access b8+ Indicate if the user is allowed shell access.",
        ],
        add,
    ),
    Cmd::new(
        "system account set",
        "Modify an existing local user account.",
        &[
            "d description s User description, e.g. full name.",
            "i id s! User ID, e.g. \"administrator\".",
            "p password p User password.",
            "c password-confirmation p Password confirmation. Required if password is specified.",
            "s shell-access b8+ Indicate if the user is allowed shell access.",
        ],
        set,
    ),
    Cmd::new(
        "system account remove",
        "Remove an existing local user account.",
        &["i id s! ID of user to be removed."],
        remove,
    ),
    Cmd::new("system permission list", "List permissions defined on the host.", &[], permissions),
    Cmd::new(
        "system permission set",
        "Set permission for a user or group.",
        &[
            "g group f Specifies that --id refers to a group.",
            "i id s! ID of user or group. Domain users or groups should be specified as \"DOMAIN\\user_or_group\".",
            "r role s! Name of role that specifies user access rights.",
        ],
        permission_set,
    ),
    Cmd::new(
        "system permission unset",
        "Remove permission for a user or group.",
        &[
            "g group f Specifies that --id refers to a group.",
            "i id s! ID of user or group. Domain users or groups should be specified as \"DOMAIN\\user_or_group\".",
        ],
        permission_unset,
    ),
];

fn list(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let newest = ctx.release() >= Release::V80;
    Reply::Table(
        ctx.state
            .accounts
            .iter()
            .map(|a| {
                Rec::new("Account").with("User ID", &a.id).with("Description", &a.description).when(
                    newest,
                    "Shell Access",
                    a.shell,
                )
            })
            .collect(),
    )
}

/// What the simulator keeps of a password: not a real crypt(3) hash, and never the password.
pub(in super::super) fn hash(id: &str, password: &str) -> String {
    let digest = Sha256::new().chain_update(id).chain_update([0]).chain_update(password).finalize();
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    format!("$sim${hex}")
}

/// Whether a password is good enough for a `Security.PasswordQualityControl` string: the shortest length for one,
/// two, three and four classes of characters is N0, N1, N3 and N4 of `min=`; a leading capital and a trailing digit
/// make no class of their own (pam_passwdqc's rules). Phrases, `similar=` and `retry=` are not looked at.
fn strong(policy: &str, password: &str) -> bool {
    let field = |name: &str| policy.split_whitespace().find_map(|w| w.strip_prefix(name));
    let min: Vec<&str> = field("min=").unwrap_or("disabled,disabled,disabled,7,7").split(',').collect();
    let classes = [
        password.chars().any(|c| c.is_ascii_lowercase()),
        password.chars().skip(1).any(|c| c.is_ascii_uppercase()),
        password.chars().rev().skip(1).any(|c| c.is_ascii_digit()),
        password.chars().any(|c| !c.is_ascii_alphanumeric()),
    ];
    let at = [0, 0, 1, 3, 4][classes.iter().filter(|c| **c).count()];
    let length = password.chars().count();
    let long_enough = min.get(at).and_then(|m| m.parse::<usize>().ok()).is_some_and(|least| length >= least);
    long_enough && field("max=").and_then(|m| m.parse::<usize>().ok()).is_none_or(|most| length <= most)
}

/// The two passwords, when they are given and agree with each other and the host's policy.
fn password<'a>(state: &HostState, args: &'a Args) -> Result<Option<&'a str>, Reply> {
    match (args.get("password"), args.get("password-confirmation")) {
        (None, None) => Ok(None),
        (Some(p), Some(c)) if p == c => {
            if !strong(&state.hostd_option("Security.PasswordQualityControl").unwrap_or_default(), p) {
                return Err(Reply::fault("Weak password: not enough different characters or classes for this length."));
            }
            Ok(Some(p))
        }
        _ => Err(Reply::fault("Password and confirmation do not match.")),
    }
}

/// Rewrites /etc/passwd and the account's line of /etc/shadow; the other lines of shadow stay as they are.
fn write_files(ctx: &mut Ctx<'_, '_>, changed: Option<(&str, &str)>) {
    let _ = std::fs::write(ctx.call.path("/etc/passwd"), ctx.state.passwd());
    let path = ctx.call.path("/etc/shadow");
    let old = std::fs::read_to_string(&path).unwrap_or_default();
    let mut out = String::new();
    for account in &ctx.state.accounts {
        let line = old.lines().find(|l| l.split(':').next() == Some(account.id.as_str()));
        let line = match changed.filter(|c| c.0 == account.id) {
            Some((id, word)) => format!("{id}:{word}:13358:0:99999:7:::"),
            None => line.map_or_else(|| format!("{}:*:13358:0:99999:7:::", account.id), str::to_owned),
        };
        out.push_str(&line);
        out.push('\n');
    }
    let _ = std::fs::write(path, out);
    ctx.effects.push(Effect::KeysChanged);
}

fn add(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let id = args.need("id");
    if ctx.state.accounts.iter().any(|a| a.id == id) {
        return Reply::fault(format!("The specified key, name, or identifier '{id}' already exists."));
    }
    if id.is_empty() || id.len() > 31 || !id.chars().all(|c| c.is_ascii_alphanumeric() || "_-.$".contains(c)) {
        return Reply::fault(format!("Invalid user ID '{id}'"));
    }
    let word = match password(ctx.state, args) {
        Ok(p) => p.map_or_else(|| "*".to_owned(), |p| hash(id, p)),
        Err(reply) => return reply,
    };
    ctx.state.accounts.push(Account {
        id: id.to_owned(),
        description: args.get("description").unwrap_or("").to_owned(),
        shell: args.bool("shell-access").unwrap_or(true),
    });
    write_files(ctx, Some((id, &word)));
    Reply::Nothing
}

fn none(id: &str) -> Reply {
    Reply::fault(format!("The user ID '{id}' does not exist."))
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let id = args.need("id");
    let word = match password(ctx.state, args) {
        Ok(p) => p.map(|p| hash(id, p)),
        Err(reply) => return reply,
    };
    let Some(a) = ctx.state.accounts.iter_mut().find(|a| a.id == id) else { return none(id) };
    if let Some(text) = args.get("description") {
        a.description = text.to_owned();
    }
    if let Some(shell) = args.bool("shell-access") {
        a.shell = shell;
    }
    write_files(ctx, word.as_deref().map(|w| (id, w)));
    Reply::Nothing
}

fn remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let id = args.need("id");
    if ["root", "dcui", "vpxuser"].contains(&id) {
        return Reply::fault(format!("The user '{id}' cannot be removed."));
    }
    let before = ctx.state.accounts.len();
    ctx.state.accounts.retain(|a| a.id != id);
    if ctx.state.accounts.len() == before {
        return none(id);
    }
    ctx.state.permissions.retain(|p| p.principal != id);
    write_files(ctx, None);
    Reply::Nothing
}

fn about(role: &str) -> &'static str {
    match role {
        "Admin" => "Full access rights",
        "ReadOnly" => "See details of objects, but not make changes",
        _ => "Used for restricting granted access",
    }
}

fn permissions(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let mut all: Vec<&Permission> = ctx.state.permissions.iter().collect();
    all.sort_by(|a, b| a.principal.cmp(&b.principal));
    Reply::Table(
        all.into_iter()
            .map(|p| {
                Rec::new("Permission")
                    .with("Principal", &p.principal)
                    .with("Is Group", p.group)
                    .with("Role", &p.role)
                    .with("Role Description", about(&p.role))
            })
            .collect(),
    )
}

fn permission_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let (id, role) = (args.need("id"), args.need("role"));
    if !["Admin", "ReadOnly", "NoAccess"].contains(&role) {
        return Reply::fault(format!("Role '{role}' does not exist."));
    }
    let group = args.has("group");
    if !group && !id.contains('\\') && !ctx.state.accounts.iter().any(|a| a.id == id) {
        return none(id);
    }
    ctx.state.permissions.retain(|p| p.principal != id || p.group != group);
    ctx.state.permissions.push(Permission { principal: id.into(), group, role: role.into() });
    Reply::Nothing
}

fn permission_unset(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let id = args.need("id");
    let before = ctx.state.permissions.len();
    ctx.state.permissions.retain(|p| p.principal != id || p.group != args.has("group"));
    if ctx.state.permissions.len() == before {
        return Reply::fault(format!("No permission is defined for '{id}'."));
    }
    Reply::Nothing
}

#[cfg(test)]
mod tests {
    use super::strong;

    #[test]
    fn the_policy_decides() {
        let (old, stig) = (
            "retry=3 min=disabled,disabled,disabled,7,7",
            "similar=deny retry=3 min=disabled,disabled,disabled,disabled,15",
        );
        for (password, by_old, by_stig) in [
            ("abcdefgh", false, false),
            ("abC1def", true, false),
            ("xY2!abcdefghijklm", true, true),
            ("xY2abcdefghijklmn", true, false),
            ("Xabcdef9", false, false),
        ] {
            assert_eq!((strong(old, password), strong(stig, password)), (by_old, by_stig), "{password}");
        }
        assert!(!strong("min=8,8,8,8,8 max=10", "abcdefghijk") && strong("min=8,8,8,8,8 max=10", "abcdefgh"));
    }
}
