//! Values of a lab file that are more than serde's own: sizes, versions, lists of one, forwards, sources of a password.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use indexmap::IndexMap;
use ipnet::Ipv4Net;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Bus, Ipv4NetText, NicModel, Protocol, Settings};
use crate::esxi::Version;

/// A size in bytes, written such as `8GiB`. Units count by 1024, as QEMU and ESXi themselves count: 1GB and 1GiB are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// The text was no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSize {
    /// Only digits.
    #[error("{0} of what? Write the unit: {0}GiB or {0}MiB")]
    NoUnit(String),
    /// Something else.
    #[error("{0:?} is no size; write it like 8GiB, 512MiB or 1TiB")]
    Form(String),
    /// More than 2^63 bytes.
    #[error("{0:?} is too large")]
    Large(String),
}

impl Size {
    /// Of that many GiB.
    pub const fn gib(n: u64) -> Self {
        Self(n << 30)
    }

    /// In MiB, rounded down.
    pub fn mib(self) -> u64 {
        self.0 >> 20
    }
}

impl FromStr for Size {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim());
        if number.is_empty() {
            return Err(BadSize::Form(text.to_owned()));
        }
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" => return Err(BadSize::NoUnit(text.to_owned())),
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(BadSize::Form(text.to_owned())),
        };
        let large = || BadSize::Large(text.to_owned());
        let number: u64 = number.parse().map_err(|_| large())?;
        number.checked_mul(1 << shift).filter(|n| *n <= i64::MAX as u64).map(Self).ok_or_else(large)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, unit) = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"), (0, "bytes")]
            .into_iter()
            .find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1 << shift))
            .map_or((0, "bytes"), |(shift, unit)| (self.0 >> shift, unit));
        if unit == "bytes" { write!(f, "{n} bytes") } else { write!(f, "{n}{unit}") }
    }
}

/// A type that is written as one text.
macro_rules! from_text {
    ($type:ty, $expecting:literal, $parse:expr, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct TextVisitor;
                impl Visitor<'_> for TextVisitor {
                    type Value = $type;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }
                    fn visit_str<E: Error>(self, text: &str) -> Result<$type, E> {
                        let parse: fn(&str) -> Result<$type, String> = $parse;
                        parse(text).map_err(E::custom)
                    }
                    fn visit_u64<E: Error>(self, n: u64) -> Result<$type, E> {
                        self.visit_str(&n.to_string())
                    }
                }
                deserializer.deserialize_any(TextVisitor)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

from_text!(Size, "a size with its unit, such as 8GiB", |t| t.parse().map_err(|e: BadSize| e.to_string()), {
    "type": "string", "pattern": "^[0-9]+ ?([KMGTkmgt]([iI]?[bB])?)$", "examples": ["8GiB", "512MiB", "1TiB"]
});

/// An ESXi version as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release(pub Version);

from_text!(Release, "an ESXi version such as \"6.5\"", |t| {
    t.parse().map(Release).map_err(|e: crate::esxi::version::BadVersion| e.to_string())
}, {
    "type": ["string", "number"], "pattern": "^[0-9]+([.][0-9]+){0,2}$", "examples": ["6.5", "8.0.3"]
});

from_text!(Ipv4NetText, "an IPv4 address with its prefix, such as 192.168.101.1/24", |t| {
    t.parse().map(Ipv4NetText).map_err(|_| match t.parse::<Ipv4Addr>() {
        Ok(_) => format!("{t} has no prefix; write it like {t}/24"),
        Err(_) => format!("{t:?} is no IPv4 address with a prefix; write it like 192.168.101.1/24"),
    })
}, {
    "type": "string", "pattern": "^[0-9]+([.][0-9]+){3}/[0-9]+$", "examples": ["192.168.101.1/24"]
});

/// An address of a guest, as wished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressWish {
    /// It asks.
    Dhcp,
    /// It is told.
    Static(Ipv4Net),
    /// Nothing is configured.
    None,
}

from_text!(AddressWish, "`dhcp`, `none`, or an IPv4 address with its prefix", |t| match t {
    "dhcp" => Ok(AddressWish::Dhcp),
    "none" => Ok(AddressWish::None),
    _ => t.parse().map(AddressWish::Static).map_err(|_| match t.parse::<Ipv4Addr>() {
        Ok(_) => format!("{t} has no prefix; write it like {t}/24"),
        Err(_) => format!("{t:?} is neither `dhcp` nor an IPv4 address with a prefix such as 192.168.101.11/24"),
    }),
}, {
    "type": "string", "pattern": "^(dhcp|none|[0-9]+([.][0-9]+){3}/[0-9]+)$", "examples": ["dhcp", "192.168.101.11/24"]
});

/// One word or a list of words.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }
            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Words, A::Error> {
                let mut all = Vec::new();
                while let Some(word) = seq.next_element()? {
                    all.push(word);
                }
                Ok(Words(all))
            }
        }
        deserializer.deserialize_any(WordsVisitor)
    }
}

impl JsonSchema for Words {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Words".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

/// The hosts of a lab: how many, or their names, or each with settings of its own.
#[derive(Debug, Clone)]
pub enum Hosts {
    /// So many: `esx1`, `esx2` ...
    Count(u64),
    /// These.
    Names(Vec<String>),
    /// These, with what is theirs alone.
    Map(IndexMap<String, Option<Settings>>),
}

impl<'de> Deserialize<'de> for Hosts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HostsVisitor;
        impl<'de> Visitor<'de> for HostsVisitor {
            type Value = Hosts;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a list of names, or a mapping of names")
            }
            fn visit_u64<E>(self, n: u64) -> Result<Hosts, E> {
                Ok(Hosts::Count(n))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Hosts, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(Hosts::Names(names))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Hosts, A::Error> {
                Deserialize::deserialize(MapAccessDeserializer::new(map)).map(Hosts::Map)
            }
        }
        deserializer.deserialize_any(HostsVisitor)
    }
}

impl JsonSchema for Hosts {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hosts".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let settings = generator.subschema_for::<Option<Settings>>();
        json_schema!({"oneOf": [
            {"type": "integer", "minimum": 1, "maximum": 64},
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {"type": "object", "additionalProperties": settings, "minProperties": 1},
        ]})
    }
}

/// Where the data disks are attached in a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageDisks {
    /// All of them so; `None`: not attached.
    All(Option<Bus>),
    /// One for each, in order.
    Each(Vec<Option<Bus>>),
}

/// A bus, or none.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum BusOrNone {
    Ide,
    Ahci,
    Usb,
    Nvme,
    Pvscsi,
    /// Not attached.
    None,
}

impl BusOrNone {
    fn bus(self) -> Option<Bus> {
        match self {
            Self::Ide => Some(Bus::Ide),
            Self::Ahci => Some(Bus::Ahci),
            Self::Usb => Some(Bus::Usb),
            Self::Nvme => Some(Bus::Nvme),
            Self::Pvscsi => Some(Bus::Pvscsi),
            Self::None => None,
        }
    }
}

impl<'de> Deserialize<'de> for StageDisks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DisksVisitor;
        impl<'de> Visitor<'de> for DisksVisitor {
            type Value = StageDisks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a bus, `none`, or a list with one of these for each data disk")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<StageDisks, E> {
                let bus = BusOrNone::deserialize(serde::de::value::StrDeserializer::<E>::new(text))?;
                Ok(StageDisks::All(bus.bus()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<StageDisks, A::Error> {
                let mut all = Vec::new();
                while let Some(bus) = seq.next_element::<BusOrNone>()? {
                    all.push(bus.bus());
                }
                Ok(StageDisks::Each(all))
            }
        }
        deserializer.deserialize_any(DisksVisitor)
    }
}

impl JsonSchema for StageDisks {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "StageDisks".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<BusOrNone>();
        json_schema!({"oneOf": [one, {"type": "array", "items": one}]})
    }
}

/// A NIC, as wished.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NicWish {
    /// The network that it is attached to; without it the first one.
    pub network: Option<String>,
    /// The emulated card.
    pub model: Option<NicModel>,
    /// Its MAC; without it one is derived from lab, host and number.
    pub mac: Option<String>,
    /// The VLAN that its frames are in, untagged for the guest: `ovs` and `hub`.
    #[schemars(range(min = 1, max = 4094))]
    pub vlan: Option<u16>,
    /// VLANs that pass tagged: `ovs` and `hub`.
    pub trunks: Vec<u16>,
    /// The guest's address on it. Of the first NIC it is vmk0's.
    pub address: Option<AddressWish>,
    /// Ports of this machine that lead to the guest, beside SSH and HTTPS: `nat`.
    pub forwards: Vec<ForwardWish>,
}

/// A forward, as wished: `{guest: 5480}`, `{guest: 22, host: 20022}`, or in short `5480` or `20022:22`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardWish {
    /// In the guest.
    pub guest: u16,
    /// On this machine; none: a free one is chosen and kept.
    pub host: Option<u16>,
    /// TCP or UDP.
    pub protocol: Protocol,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ForwardKeys {
    /// In the guest.
    #[schemars(range(min = 1, max = 65535))]
    guest: u16,
    /// On this machine; without it a free one is chosen and kept.
    #[schemars(range(min = 1, max = 65535))]
    host: Option<u16>,
    /// TCP or UDP.
    #[serde(default)]
    protocol: Protocol,
}

impl<'de> Deserialize<'de> for ForwardWish {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ForwardVisitor;
        fn port<E: Error>(text: &str) -> Result<u16, E> {
            let fits = text.trim().parse::<u16>().ok().filter(|p| *p > 0);
            fits.ok_or_else(|| E::custom(format!("{text:?} is no port; ports go from 1 to 65535")))
        }
        impl<'de> Visitor<'de> for ForwardVisitor {
            type Value = ForwardWish;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port of the guest, `HOST:GUEST`, or {guest: PORT, host: PORT}")
            }
            fn visit_u64<E: Error>(self, n: u64) -> Result<ForwardWish, E> {
                self.visit_str(&n.to_string())
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<ForwardWish, E> {
                let (host, guest) = match text.split_once(':') {
                    Some((host, guest)) => (Some(port(host)?), port(guest)?),
                    None => (None, port(text)?),
                };
                Ok(ForwardWish { guest, host, protocol: Protocol::Tcp })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ForwardWish, A::Error> {
                let keys = ForwardKeys::deserialize(MapAccessDeserializer::new(map))?;
                if keys.guest == 0 || keys.host == Some(0) {
                    return Err(A::Error::custom("0 is no port; ports go from 1 to 65535"));
                }
                Ok(ForwardWish { guest: keys.guest, host: keys.host, protocol: keys.protocol })
            }
        }
        deserializer.deserialize_any(ForwardVisitor)
    }
}

impl JsonSchema for ForwardWish {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Forward".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<ForwardKeys>();
        json_schema!({"oneOf": [
            {"type": "integer", "minimum": 1, "maximum": 65535},
            {"type": "string", "pattern": "^[0-9]+(:[0-9]+)?$"},
            keys,
        ]})
    }
}

/// Where a password comes from: the same forms as in an inventory, but never written down in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PasswordSource {
    /// Made once and kept in the lab's folder.
    #[default]
    Generated,
    /// An environment variable.
    Env(String),
    /// A file, relative to this one; its last line end is cut.
    File(String),
    /// Run by /bin/sh; its first line is the password.
    Command(String),
    /// Asked on the terminal.
    #[schemars(with = "bool")]
    Prompt(bool),
}

impl<'de> Deserialize<'de> for PasswordSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SourceVisitor;
        impl<'de> Visitor<'de> for SourceVisitor {
            type Value = PasswordSource;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "one of {env: NAME}, {file: PATH}, {command: \"...\"}, {prompt: true}, never the password itself",
                )
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<PasswordSource, E> {
                if text == "generated" {
                    return Ok(PasswordSource::Generated);
                }
                Err(E::custom(
                    "a lab file holds no password: use {env: NAME}, {file: PATH}, {command: \"...\"} or {prompt: true}, or leave it out and one is generated",
                ))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PasswordSource, A::Error> {
                const KEYS: &[&str] = &["env", "file", "command", "prompt"];
                let Some(key) = map.next_key::<String>()? else {
                    return Err(A::Error::custom("an empty mapping names no source of a password"));
                };
                let source = match key.as_str() {
                    "env" => PasswordSource::Env(map.next_value()?),
                    "file" => PasswordSource::File(map.next_value()?),
                    "command" => PasswordSource::Command(map.next_value()?),
                    "prompt" if map.next_value::<bool>()? => PasswordSource::Prompt(true),
                    "prompt" => {
                        return Err(A::Error::custom("`prompt: false` leaves no source of the password"));
                    }
                    other => return Err(A::Error::unknown_field(other, KEYS)),
                };
                if map.next_key::<String>()?.is_some() {
                    return Err(A::Error::custom("a password comes from one place, and two are named"));
                }
                Ok(source)
            }
        }
        deserializer.deserialize_any(SourceVisitor)
    }
}
