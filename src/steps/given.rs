//! Site-specific arguments: a playbook's variable that is null or empty is a value that was not given.

use serde::{Deserialize, Deserializer, de::Error};

#[derive(Deserialize)]
#[serde(untagged)]
enum Raw {
    Number(u64),
    Text(String),
    List(Vec<String>),
}

/// A text; `None` for null and for an empty one.
pub(crate) fn text<'de, D: Deserializer<'de>>(d: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(d)?.filter(|t| !t.trim().is_empty()))
}

/// A list, or one text; none for null and for empty ones.
pub(crate) fn list<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    let items = match Option::<Raw>::deserialize(d)? {
        None => Vec::new(),
        Some(Raw::Number(n)) => vec![n.to_string()],
        Some(Raw::Text(one)) => vec![one],
        Some(Raw::List(items)) => items,
    };
    Ok(items.into_iter().filter(|i| !i.trim().is_empty()).collect())
}

/// A number, in quotes too; `None` for null and for an empty text.
pub(crate) fn number<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u64>, D::Error> {
    match Option::<Raw>::deserialize(d)? {
        None => Ok(None),
        Some(Raw::Number(n)) => Ok(Some(n)),
        Some(Raw::Text(t)) if t.trim().is_empty() => Ok(None),
        Some(Raw::Text(t)) => t.trim().parse().map(Some).map_err(|_| D::Error::custom(format!("{t:?} is no number"))),
        Some(Raw::List(_)) => Err(D::Error::custom("a list where a number should be")),
    }
}
