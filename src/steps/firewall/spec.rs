//! How the firewall is written in a playbook.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

/// The firewall, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct Firewall {
    pub(super) target: Target,
    pub(super) allow_lockout: bool,
}

/// One ruleset, every open one, or the firewall as a whole.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Every { allowed: Vec<IpNet>, except: Vec<String> },
    Ruleset { name: String, enabled: Option<bool>, allowed: Option<Allowed> },
    Whole { enabled: Option<bool>, passes: Option<bool> },
}

/// With `ruleset`: whether its ports are open, and to whom. With `every_enabled`: to whom every open ruleset is open.
/// Without either: the firewall as a whole.
///
/// `every_enabled` is about the rulesets that are open to everybody, all at once: those get the list `allowed_ips`,
/// each in one command line that opens it again when it fails. A ruleset that has a list of its own already keeps it.
/// The address that this session comes from is added for `sshServer` if no network of the list has it. Without
/// `allowed_ips` they are findings for a person, and so are those of `except` in any case. What the release does not
/// let anybody change (8.0 U2 and later say so in `esxcli network firewall ruleset list`) is no finding.
/// Take care on hosts of a cluster: `vMotion`, `NFC`, `HBR`, the rulesets of vSAN (`cmmds`, `rdt`) and of high
/// availability must be open to the other hosts and to vCenter. Name all their networks, or put the rulesets into
/// `except`; `dhcp` and `DHCPv6` answers come from wherever the server is.
///
/// Closing or narrowing `sshServer`, switching the firewall on and the default action `drop` run at the end of
/// the playbook. They are refused when the address that this session comes from would no longer get in, unless
/// `allow_lockout` says so.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Firewall")]
pub(super) struct Written {
    /// The ruleset, for example `ntpClient` or `sshServer`.
    ruleset: Option<String>,
    /// Whether the ruleset is open, or, without `ruleset`, whether the firewall is on.
    enabled: Option<bool>,
    /// Who may use the ruleset: `all`, or a list of addresses and networks (exactly these).
    allowed: Option<Allowed>,
    /// Without `ruleset`: what happens to traffic that no ruleset names.
    default_action: Option<DefaultAction>,
    /// Every ruleset that is open has to be open to listed addresses only; always `true`.
    every_enabled: Option<bool>,
    /// With `every_enabled`: the addresses and networks. Empty: not given.
    #[serde(default, deserialize_with = "crate::steps::network::list_if_given")]
    allowed_ips: Vec<String>,
    /// With `every_enabled`: rulesets that stay as they are.
    #[serde(default, deserialize_with = "crate::steps::network::list_if_given")]
    except: Vec<String>,
    /// Do it although this session's way in is closed by it.
    #[serde(default)]
    allow_lockout: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum DefaultAction {
    /// It is dropped, as on a fresh host.
    Drop,
    /// It passes.
    Pass,
}

impl TryFrom<Written> for Firewall {
    type Error = String;

    fn try_from(w: Written) -> Result<Self, String> {
        if let Some(every) = w.every_enabled {
            if w.ruleset.is_some() || w.enabled.is_some() || w.allowed.is_some() || w.default_action.is_some() {
                return Err("`every_enabled` goes with `allowed_ips` and `except` alone".into());
            }
            if !every {
                return Err("`every_enabled` can only be true: leave the step out instead".into());
            }
            let mut allowed = Vec::new();
            for text in &w.allowed_ips {
                let net = network(text)?;
                if net.prefix_len() == 0 {
                    return Err(format!("{text} is everybody: name the networks that shall get in"));
                }
                if !allowed.contains(&net) {
                    allowed.push(net);
                }
            }
            let target = Target::Every { allowed, except: w.except };
            return Ok(Self { target, allow_lockout: w.allow_lockout });
        }
        if !w.allowed_ips.is_empty() || !w.except.is_empty() {
            return Err("`allowed_ips` and `except` belong to `every_enabled: true`".into());
        }
        let target = match w.ruleset {
            Some(_) if w.default_action.is_some() => {
                return Err("`default_action` belongs to the firewall as a whole: leave `ruleset` out".into());
            }
            Some(_) if w.enabled.is_none() && w.allowed.is_none() => {
                return Err("say `enabled`, `allowed` or both for the ruleset".into());
            }
            Some(name) if name.trim().is_empty() => return Err("`ruleset` is empty".into()),
            Some(name) => Target::Ruleset { name, enabled: w.enabled, allowed: w.allowed },
            None if w.allowed.is_some() => return Err("`allowed` belongs to a ruleset: name it in `ruleset`".into()),
            None if w.enabled.is_none() && w.default_action.is_none() => {
                return Err("name a `ruleset`, or say `enabled` or `default_action` for the firewall as a whole".into());
            }
            None => Target::Whole { enabled: w.enabled, passes: w.default_action.map(|a| a == DefaultAction::Pass) },
        };
        Ok(Self { target, allow_lockout: w.allow_lockout })
    }
}

/// Who may use a ruleset.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "AllowedWritten")]
pub(super) enum Allowed {
    All,
    List(Vec<IpNet>),
}

/// `all`, or addresses and networks.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code)] // only its schema is used
enum AllowedWritten {
    /// `all`
    Word(String),
    /// Addresses (`10.0.0.5`) and networks (`192.0.2.0/24`).
    List(Vec<String>),
}

/// An address or a network; an address is a network of one.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet =
        text.parse().map_err(|_| format!("{text:?} is neither an address nor a network (192.0.2.0/24)"))?;
    if net.trunc() == net { Ok(net) } else { Err(format!("{text:?} has bits behind its mask: write {}", net.trunc())) }
}

/// As esxcli takes and prints it: an address without a mask.
pub(super) fn shown(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::List(nets) => f.write_str(&nets.iter().map(shown).collect::<Vec<_>>().join(", ")),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Allowed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of addresses and networks")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Allowed, E> {
                if text.eq_ignore_ascii_case("all") {
                    return Ok(Allowed::All);
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Allowed, A::Error> {
                let mut nets = Vec::new();
                while let Some(text) = seq.next_element::<String>()? {
                    let net = network(&text).map_err(de::Error::custom)?;
                    if !nets.contains(&net) {
                        nets.push(net);
                    }
                }
                if nets.is_empty() {
                    return Err(de::Error::custom("an empty list lets nobody in: say `enabled: false` instead"));
                }
                Ok(Allowed::List(nets))
            }
        }
        d.deserialize_any(Either)
    }
}
