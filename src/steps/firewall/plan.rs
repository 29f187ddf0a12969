//! From what the firewall lets through to what it shall let through.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::esxi::net::{self, name_opt};
use crate::esxi::{Command, HostFacts};

use super::super::network as common;
use super::super::step::{Action, Change, Seen, StepError, Undo};
use super::every;
use super::spec::{Allowed, Target, network, shown};
use super::{Firewall, SSH, allowed_list, get, ruleset_list};
use serde_json::json;

/// Who may use a ruleset now: `None` is everybody.
pub(super) type AllowedNow = Option<Vec<String>>;

pub(super) fn compare(want: &Firewall, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
    match &want.target {
        Target::Ruleset { name, enabled, allowed } => ruleset(want, seen, name, *enabled, allowed.as_ref()),
        Target::Every { allowed, except } => every::compare(want, seen, allowed, except),
        Target::Whole { enabled, passes } => whole(want, seen, *enabled, *passes),
    }
}

fn find(seen: &Seen<'_>, name: &str) -> Result<net::Ruleset, StepError> {
    let all = common::read(seen, &ruleset_list(), net::rulesets)?;
    if let Some(found) = all.iter().find(|r| r.name == name) {
        return Ok(found.clone());
    }
    let near = all.iter().max_by(|a, b| {
        let score = |r: &net::Ruleset| strsim::jaro_winkler(&r.name.to_lowercase(), &name.to_lowercase());
        score(a).total_cmp(&score(b))
    });
    Err(StepError::Refused(format!(
        "there is no firewall ruleset {name:?} on this host{}. Some come with a VIB or exist on other releases only.",
        near.map(|r| format!("; the nearest name is {}", r.name)).unwrap_or_default()
    )))
}

fn allowed_now(seen: &Seen<'_>, name: &str) -> Result<AllowedNow, StepError> {
    let all = common::read(seen, &allowed_list(), net::allowed_ips)?;
    all.into_iter()
        .find(|a| a.ruleset == name)
        .map(|a| a.addresses)
        .ok_or_else(|| StepError::unreadable(&allowed_list(), format!("no row for {name}")))
}

pub(super) fn set(name: &str) -> Command {
    name_opt(Command::esxcli("network firewall ruleset set"), "-r", "--ruleset-id", name)
}

fn ip(words: &'static str, name: &str, address: &str) -> Command {
    name_opt(Command::esxcli(words), "-r", "--ruleset-id", name).opt("-i", address)
}

pub(super) fn add(name: &str, address: &str) -> Command {
    ip("network firewall ruleset allowedip add", name, address)
}

fn remove(name: &str, address: &str) -> Command {
    ip("network firewall ruleset allowedip remove", name, address)
}

/// The address that this session comes from.
pub(super) fn client(host: &HostFacts) -> Option<IpAddr> {
    let text = host.client_address.as_deref()?;
    text.strip_prefix("::ffff:").unwrap_or(text).split('%').next()?.parse().ok()
}

pub(super) fn lets_in<'a>(nets: impl IntoIterator<Item = &'a IpNet>, client: IpAddr) -> bool {
    nets.into_iter().any(|n| n.contains(&client))
}

fn locked_out(what: &str, host: &HostFacts) -> StepError {
    StepError::Refused(format!(
        "{what}: the address that this session comes from ({}) would not get in again. Let it in, or say \
         `allow_lockout: true`.",
        host.client_address.as_deref().unwrap_or("not known")
    ))
}

fn ruleset(
    want: &Firewall,
    seen: &Seen<'_>,
    name: &str,
    enabled: Option<bool>,
    allowed: Option<&Allowed>,
) -> Result<Vec<Change>, StepError> {
    let now = find(seen, name)?;
    let ssh = name == SSH;
    if ssh && enabled == Some(false) && now.enabled && !want.allow_lockout {
        return Err(locked_out("the ruleset sshServer is not closed", seen.host));
    }
    let switch = enabled.filter(|e| *e != now.enabled).map(|e| {
        let shown = |e: bool| if e { "open" } else { "closed" }.to_owned();
        Change {
            summary: format!("firewall ruleset {name}"),
            before: shown(now.enabled),
            after: shown(e),
            actions: vec![Action::Run(set(name).opt("-e", common::word(e)))],
            undo: Undo::step("firewall", again(want, json!({"ruleset": name, "enabled": now.enabled}))),
            ..Change::default()
        }
    });
    let narrowed = match allowed {
        Some(allowed) => allowed_change(want, seen, name, allowed, allowed_now(seen, name)?)?,
        None => None,
    };
    // Opened only to those who may, closed before anything else.
    Ok(match enabled {
        Some(false) => switch.into_iter().chain(narrowed).collect(),
        _ => narrowed.into_iter().chain(switch).collect(),
    })
}

pub(super) fn allowed_change(
    want: &Firewall,
    seen: &Seen<'_>,
    name: &str,
    allowed: &Allowed,
    now: AllowedNow,
) -> Result<Option<Change>, StepError> {
    let (commands, rollback) = match (allowed, &now) {
        (Allowed::All, None) => return Ok(None),
        // What was listed is taken out behind it, for it would count again the next time that `all` is off. Whether
        // that can be done while all are allowed nobody saw (not verified), so it may fail.
        (Allowed::All, Some(texts)) => {
            let gone = texts.iter().map(|t| common::tolerated(&remove(name, t)));
            (std::iter::once(set(name).words("-a true")).chain(gone).collect::<Vec<_>>(), Vec::new())
        }
        // An address is refused while everybody is allowed, so that goes first (not verified).
        (Allowed::List(nets), None) => {
            let first = vec![set(name).words("-a false")];
            let adds = nets.iter().map(|n| add(name, &shown(n)));
            (first.into_iter().chain(adds).collect(), vec![set(name).words("-a true")])
        }
        (Allowed::List(nets), Some(texts)) => {
            let is = |text: &String, net: &IpNet| network(text).is_ok_and(|n| n == *net);
            let missing: Vec<String> = nets.iter().filter(|n| !texts.iter().any(|t| is(t, n))).map(shown).collect();
            let extra: Vec<&String> = texts.iter().filter(|t| !nets.iter().any(|n| is(t, n))).collect();
            if missing.is_empty() && extra.is_empty() {
                return Ok(None);
            }
            let commands = missing.iter().map(|m| add(name, m)).chain(extra.iter().map(|e| remove(name, e)));
            let back = extra.iter().map(|e| add(name, e)).chain(missing.iter().map(|m| remove(name, m)));
            (commands.collect(), back.collect())
        }
    };
    let mut actions = common::run_all(commands.clone());
    if let (SSH, Allowed::List(nets)) = (name, allowed) {
        // An address kept from an earlier list can be there again as soon as `all` is off, and adding it then fails:
        // that must not stop the rest. Who is let in is proved by logging in and by reading again.
        let mut rest = commands.iter();
        let first = rest.next().cloned();
        let commands: Vec<Command> = first.into_iter().chain(rest.map(common::tolerated)).collect();
        if client(seen.host).is_some_and(|c| lets_in(nets, c)) {
            // Between the first command and the last nobody is let in: the host does them all by itself.
            actions = vec![common::detached(commands, rollback, common::CONFIRM_WITHIN)];
        } else if want.allow_lockout {
            let texts: Vec<&str> = commands.iter().map(Command::text).collect();
            actions = vec![Action::Run(Command::raw(texts.join(" && ")))];
        } else {
            return Err(locked_out(&format!("the ruleset sshServer is not narrowed to {allowed}"), seen.host));
        }
    }
    let before = match &now {
        None => Some(json!("all")),
        // That nobody is let in no step says.
        Some(texts) if texts.is_empty() => None,
        Some(texts) => Some(json!(texts)),
    };
    Ok(Some(Change {
        summary: format!("addresses allowed by firewall ruleset {name}"),
        undo: before.and_then(|b| Undo::step("firewall", again(want, json!({"ruleset": name, "allowed": b})))),
        before: now.map_or_else(|| "all".to_owned(), |t| if t.is_empty() { "none".into() } else { t.join(", ") }),
        after: allowed.to_string(),
        actions,
        ..Change::default()
    }))
}

fn whole(
    want: &Firewall,
    seen: &Seen<'_>,
    enabled: Option<bool>,
    passes: Option<bool>,
) -> Result<Vec<Change>, StepError> {
    let now = common::read(seen, &get(), net::firewall)?;
    let (e, p) = (enabled.filter(|e| *e != now.enabled), passes.filter(|p| *p != now.passes_by_default));
    if e.is_none() && p.is_none() {
        return Ok(Vec::new());
    }
    let command = |e: Option<bool>, p: Option<bool>| {
        let mut set = Command::esxcli("network firewall set");
        if let Some(p) = p {
            set = set.opt("-d", common::word(p));
        }
        if let Some(e) = e {
            set = set.opt("-e", common::word(e));
        }
        set
    };
    let set = command(e, p);
    let closes = e == Some(true) || p == Some(false);
    let action = if closes && !want.allow_lockout {
        if !ssh_is_open(seen)? {
            return Err(locked_out("the firewall is not closed", seen.host));
        }
        let back = command(e.map(|e| !e), p.map(|p| !p));
        common::detached(vec![set], vec![back], common::CONFIRM_WITHIN)
    } else {
        Action::Run(set)
    };
    let mut old = json!({});
    if e.is_some() {
        old["enabled"] = json!(now.enabled);
    }
    if p.is_some() {
        old["default_action"] = json!(if now.passes_by_default { "pass" } else { "drop" });
    }
    let shown = |e: bool, p: bool| {
        format!("{}, default action {}", if e { "on" } else { "off" }, if p { "pass" } else { "drop" })
    };
    Ok(vec![Change {
        summary: "firewall".into(),
        before: shown(now.enabled, now.passes_by_default),
        after: shown(enabled.unwrap_or(now.enabled), passes.unwrap_or(now.passes_by_default)),
        actions: vec![action],
        undo: Undo::step("firewall", again(want, old)),
        ..Change::default()
    }])
}

/// Arguments of a step that takes this one back: with the same word about being locked out.
pub(super) fn again(want: &Firewall, mut args: serde_json::Value) -> serde_json::Value {
    if want.allow_lockout {
        args["allow_lockout"] = json!(true);
    }
    args
}

/// Whether the ruleset sshServer lets this session's address in.
fn ssh_is_open(seen: &Seen<'_>) -> Result<bool, StepError> {
    if !find(seen, SSH)?.enabled {
        return Ok(false);
    }
    Ok(match (allowed_now(seen, SSH)?, client(seen.host)) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(texts), Some(client)) => {
            let nets: Vec<IpNet> = texts.iter().filter_map(|t| network(t).ok()).collect();
            lets_in(&nets, client)
        }
    })
}
