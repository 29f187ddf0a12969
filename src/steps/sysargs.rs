//! Argument types that several kinds of step share: durations, patterns, plain values, one-or-many lists.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// A number, a truth value or a text.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a number, a text, or true/false")]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Float(f64),
    /// A text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(b) => write!(f, "{b}"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Float(n) => write!(f, "{n}"),
            Self::Text(s) => f.write_str(s),
        }
    }
}

impl Scalar {
    /// The whole number that this is or spells.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Text(s) => s.trim().parse().ok(),
            Self::Bool(_) | Self::Float(_) => None,
        }
    }

    /// The truth value that this is or spells (`true`, `false` in any case).
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Text(s) => truth(s),
            Self::Int(_) | Self::Float(_) => None,
        }
    }

    /// Whether a printed value is this one: numbers as numbers, truth values in any case, texts exactly.
    pub fn equals(&self, printed: &str) -> bool {
        let printed = printed.trim();
        match self {
            Self::Bool(b) => truth(printed) == Some(*b),
            Self::Int(n) => printed.parse() == Ok(*n) || printed == n.to_string(),
            Self::Float(n) => printed.parse() == Ok(*n),
            Self::Text(s) => printed == s.trim() || (truth(s).is_some() && truth(s) == truth(printed)),
        }
    }
}

/// `true` and `false` in any case.
pub fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        t if t.eq_ignore_ascii_case("true") => Some(true),
        t if t.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    }
}

/// One item or a list of them.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected one value or a list of them")]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// Several.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The items.
    pub fn items(&self) -> &[T] {
        match self {
            Self::One(item) => std::slice::from_ref(item),
            Self::Many(items) => items,
        }
    }
}

/// A value that a site gives: its key may be absent, or there and empty because the site's variable is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Given<T> {
    /// The key is not there: nothing is asked.
    #[default]
    No,
    /// The key is there without a value (null or an empty text): what is right is not known.
    Empty,
    /// The value.
    Value(T),
}

/// Helper for a field of [`Given`]: a text.
pub(crate) fn given<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Given<String>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    Ok(text.filter(|t| !t.trim().is_empty()).map_or(Given::Empty, Given::Value))
}

/// Helper for a field of [`Given`]: a text or a list of them. A list without items is a value.
pub(crate) fn given_list<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Given<Vec<String>>, D::Error> {
    Ok(match Option::<OneOrMany<String>>::deserialize(from)? {
        None => Given::Empty,
        Some(OneOrMany::One(text)) if text.trim().is_empty() => Given::Empty,
        Some(list) => Given::Value(list.items().to_vec()),
    })
}

/// A length of time: `30s`, `10m`, `1h 30m`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(with = "Scalar")]
pub struct Span(pub Duration);

impl TryFrom<Scalar> for Span {
    type Error = String;

    fn try_from(value: Scalar) -> Result<Self, String> {
        let bad = || format!("{value} is not a length of time; write it like \"30s\", \"10m\" or \"1h 30m\"");
        match &value {
            Scalar::Int(n) => u64::try_from(*n).map(Duration::from_secs).map(Self).map_err(|_| bad()),
            Scalar::Text(s) if s.trim().parse::<u64>().is_ok() => {
                s.trim().parse().map(Duration::from_secs).map(Self).map_err(|_| bad())
            }
            Scalar::Text(s) => humantime::parse_duration(s).map(Self).map_err(|_| bad()),
            Scalar::Bool(_) | Scalar::Float(_) => Err(bad()),
        }
    }
}

/// A regular expression; `^` and `$` match at every line.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct Pattern(regex::Regex);

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let built = regex::RegexBuilder::new(&text).multi_line(true).build();
        built.map(Self).map_err(|e| format!("{text:?} is not a regular expression: {e}"))
    }
}

impl Pattern {
    /// Whether the text has a match.
    pub fn is_match(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

/// An amount of storage: `10GB`, `512MiB`, or a number of bytes. `K`, `M`, `G`, `T` with or without `iB` count by
/// 1024, with `B` alone by 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(try_from = "Scalar")]
#[schemars(with = "Scalar")]
pub struct Size(pub u64);

impl TryFrom<Scalar> for Size {
    type Error = String;

    fn try_from(value: Scalar) -> Result<Self, String> {
        let text = value.to_string();
        let bad = || format!("{text} is not an amount of storage; write it like \"10GB\" or \"512MiB\"");
        let body = text.trim();
        let digits = body.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(body.len());
        let (number, unit) = body.split_at(digits);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim().to_ascii_lowercase();
        let base: f64 = if unit.len() == 2 && unit.ends_with('b') { 1000.0 } else { 1024.0 };
        let power = match unit.trim_end_matches("ib").trim_end_matches('b') {
            "" => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            _ => return Err(bad()),
        };
        Ok(Self((number * base.powi(power)) as u64))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
        match units.iter().find(|(_, size)| self.0 as f64 >= *size) {
            Some((unit, size)) => write!(f, "{:.1} {unit}", self.0 as f64 / size),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// The names nearest to a misspelt one, for an error message: at most three.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_ascii_lowercase();
    let mut scored: Vec<(f64, &str)> =
        names.into_iter().map(|n| (strsim::jaro_winkler(&wanted, &n.to_ascii_lowercase()), n)).collect();
    scored.retain(|(score, _)| *score > 0.75);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(3).map(|(_, n)| n).collect()
}

/// ` Nearest: A, B.`, or nothing.
pub fn nearest_text<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let found = nearest(wanted, names);
    if found.is_empty() { String::new() } else { format!(" Nearest: {}.", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str) -> Result<Span, String> {
        Span::try_from(Scalar::Text(text.into()))
    }

    #[test]
    fn spans_sizes_and_patterns_say_what_is_wrong_with_them() {
        assert_eq!(span("10m").unwrap().0.as_secs(), 600);
        assert_eq!(span("90").unwrap().0.as_secs(), 90);
        assert_eq!(Span::try_from(Scalar::Int(5)).unwrap().0.as_secs(), 5);
        assert!(span("soon").unwrap_err().contains("30s"));
        assert!(Span::try_from(Scalar::Int(-1)).is_err());
        let size = |s: &str| Size::try_from(Scalar::Text(s.into())).map(|s| s.0);
        assert_eq!(size("10GB"), Ok(10_000_000_000));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        assert_eq!(size("2g"), Ok(2 << 30));
        assert_eq!(size("1.5 kB"), Ok(1500));
        assert_eq!(size("7"), Ok(7));
        assert!(size("much").is_err());
        assert!(Pattern::try_from("(".to_owned()).unwrap_err().contains("regular expression"));
    }

    #[test]
    fn the_examples_of_these_kinds_load_and_have_a_schema() {
        use crate::steps::{assert, datastore, maintenance, ntp, reboot, run, service, setting, syslog};
        let kinds = [
            setting::KIND,
            service::KIND,
            ntp::KIND,
            syslog::KIND,
            datastore::KIND,
            maintenance::KIND,
            reboot::KIND,
            run::KIND,
            assert::KIND,
        ];
        for kind in kinds {
            let items: Vec<serde_json::Value> = serde_saphyr::from_str(kind.example).unwrap();
            let step = (kind.parse)(items[0][kind.name].clone()).unwrap();
            assert!(!step.summary().is_empty(), "{}", kind.name);
            let schema = (kind.schema)(&mut schemars::SchemaGenerator::default());
            assert_ne!(schema, schemars::json_schema!(true), "{}", kind.name);
        }
    }

    #[test]
    fn a_wrong_type_is_told_by_what_was_meant_and_where() {
        let parse = crate::steps::setting::KIND.parse;
        let said = parse(serde_json::json!({"values": {"Net.X": [1]}})).unwrap_err();
        assert_eq!(said.path().to_string(), "values.Net.X");
        assert!(said.to_string().contains("a number, a text, or true/false"), "{said}");
    }

    #[test]
    fn printed_values_compare_by_kind() {
        assert!(Scalar::Bool(true).equals("TRUE"));
        assert!(Scalar::Int(1000).equals(" 1000 "));
        assert!(!Scalar::Int(1).equals("10"));
        assert!(Scalar::Text("true".into()).equals("True"));
        assert!(!Scalar::Text("Abc".into()).equals("abc"));
    }
}
