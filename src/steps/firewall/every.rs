//! Every open ruleset, limited to listed addresses.

use ipnet::IpNet;
use serde_json::json;

use crate::esxi::{Command, net};

use super::super::network as common;
use super::super::step::{Action, Change, Seen, StepError, Undo};
use super::plan::{AllowedNow, add, again, allowed_change, client, lets_in, set};
use super::spec::{Allowed, network, shown};
use super::{Firewall, SSH, allowed_list, ruleset_list};

pub(super) fn compare(
    want: &Firewall,
    seen: &Seen<'_>,
    allowed: &[IpNet],
    except: &[String],
) -> Result<Vec<Change>, StepError> {
    let lists = common::read_here(seen, &allowed_list(), net::allowed_ips)?;
    let (mut changes, mut nobody_said, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for ruleset in common::read_here(seen, &ruleset_list(), net::rulesets)? {
        // What nobody can change is owned by the system and not asked about (from 8.0 U2 on).
        if !ruleset.enabled || ruleset.addresses_configurable == Some(false) {
            continue;
        }
        let name = ruleset.name.as_str();
        let Some(list) = lists.iter().find(|l| l.ruleset == name) else {
            return Err(StepError::unreadable(&allowed_list(), format!("no row for {name}")));
        };
        if !everybody(&list.addresses) {
            continue;
        }
        if except.iter().any(|e| e == name) {
            left.push(name.to_owned());
        } else if allowed.is_empty() {
            nobody_said.push(name.to_owned());
        } else if name == SSH {
            changes.push(ssh(want, seen, allowed, list.addresses.clone())?);
        } else {
            changes.extend(limit(want, seen, name, allowed, &list.addresses)?);
        }
    }
    let finding = |names: Vec<String>, advice: &str| {
        let before = format!("open to everybody: {}", names.join(", "));
        (!names.is_empty()).then(|| {
            Change::finding("addresses allowed by the open firewall rulesets", before, "listed addresses only", advice)
        })
    };
    changes.extend(finding(
        nobody_said,
        "Say who may use them in `allowed_ips`: the networks of administration, of vCenter and of the other hosts.",
    ));
    changes.extend(finding(
        left,
        "They are left as they are by `except`: limit them by a `firewall` step each, close those that nobody needs, or \
         waive the control with the reason.",
    ));
    Ok(changes)
}

/// Whether a ruleset is open to everybody: by its flag, or by networks that are all addresses together.
fn everybody(now: &AllowedNow) -> bool {
    let Some(texts) = now else { return true };
    let nets: Vec<IpNet> = texts.iter().filter_map(|t| network(t).ok()).collect();
    IpNet::aggregate(&nets).iter().any(|n| n.prefix_len() == 0)
}

/// The way in: with the address that this session comes from, proved by another login.
fn ssh(want: &Firewall, seen: &Seen<'_>, allowed: &[IpNet], now: AllowedNow) -> Result<Change, StepError> {
    let mut nets = allowed.to_vec();
    let mut own = None;
    match client(seen.host) {
        Some(address) if !lets_in(&nets, address) => {
            own = Some(address);
            nets.push(address.into());
        }
        None if !want.allow_lockout => {
            return Ok(Change::finding(
                format!("addresses allowed by firewall ruleset {SSH}"),
                "open to everybody",
                "listed addresses only",
                "The address that this session comes from is not known, so it could be shut out: limit it by a \
                 `firewall` step with `allow_lockout: true`, or at the console.",
            ));
        }
        _ => {}
    }
    let change = allowed_change(want, seen, SSH, &Allowed::List(nets), now)?;
    let change = change.ok_or_else(|| StepError::unreadable(&allowed_list(), "it is limited already"))?;
    let summary = match own {
        Some(address) => format!("{} (with {address}, where this session comes from)", change.summary),
        None => change.summary,
    };
    Ok(Change { summary, ..change })
}

/// Any other ruleset: in one command line, so that nobody is shut out in between; if it fails, all are let in again.
/// The line is finished when the connection is lost too: a list with some of the addresses would look like somebody's own.
fn limit(
    want: &Firewall,
    seen: &Seen<'_>,
    name: &str,
    allowed: &[IpNet],
    now: &AllowedNow,
) -> Result<Option<Change>, StepError> {
    if now.is_some() {
        // A list that is everybody: what is missing is added before what is too much goes.
        return allowed_change(want, seen, name, &Allowed::List(allowed.to_vec()), now.clone());
    }
    let texts: Vec<String> = allowed.iter().map(shown).collect();
    let mut line = set(name).words("-a false").text().to_owned();
    for text in &texts {
        // An address kept from an earlier list can be there again as soon as `all` is off; adding it then fails.
        let listed = allowed_list().opt("--ruleset-id", name).text().to_owned();
        let listed = Command::raw(format!("{listed} | grep -qwF")).opt("-e", text).text().to_owned();
        line.push_str(&format!(" && {{ {} || {listed}; }}", add(name, text).text()));
    }
    let open = set(name).words("-a true");
    let line = format!("trap '' HUP PIPE; {line} || {{ {}; false; }}", open.text());
    Ok(Some(Change {
        summary: format!("addresses allowed by firewall ruleset {name}"),
        before: "all".into(),
        after: texts.join(", "),
        actions: vec![Action::Run(Command::raw(line))],
        undo: Undo::step("firewall", again(want, json!({"ruleset": name, "allowed": "all"}))),
        ..Change::default()
    }))
}
