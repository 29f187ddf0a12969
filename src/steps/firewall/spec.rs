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

/// Either one ruleset, or the firewall as a whole.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Ruleset { name: String, enabled: Option<bool>, allowed: Option<Allowed> },
    Whole { enabled: Option<bool>, passes: Option<bool> },
}

/// With `ruleset`: whether its ports are open, and to whom. Without: the firewall as a whole.
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
