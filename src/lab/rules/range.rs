//! Ranges of versions, as the table writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A range such as `>=6.5 <7.0`, `=6.5` (every 6.5.x) or `any`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Range(Vec<Bound>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bound {
    sign: Sign,
    /// As many numbers as are written.
    numbers: Vec<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    AtLeast,
    Below,
    Within,
}

/// The text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no range of versions; write it like >=6.5 <7.0, =6.5 or any")]
pub struct BadRange(String);

impl Range {
    /// Whether a version is in it.
    pub fn contains(&self, version: [u16; 3]) -> bool {
        self.0.iter().all(|bound| {
            // Only the numbers that are written count: 6.5.2 is `=6.5`, and 8.1 is `>=8`.
            let ours = &version[..bound.numbers.len()];
            match bound.sign {
                Sign::AtLeast => ours >= &bound.numbers[..],
                Sign::Below => ours < &bound.numbers[..],
                Sign::Within => ours == &bound.numbers[..],
            }
        })
    }

    /// Whether it says anything.
    pub fn is_any(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Range {
    type Err = BadRange;

    fn from_str(text: &str) -> Result<Self, BadRange> {
        let bad = || BadRange(text.to_owned());
        if text.trim() == "any" {
            return Ok(Self::default());
        }
        let mut bounds = Vec::new();
        for word in text.split_whitespace() {
            let (sign, rest) = [(">=", Sign::AtLeast), ("<", Sign::Below), ("=", Sign::Within)]
                .into_iter()
                .find_map(|(mark, sign)| word.strip_prefix(mark).map(|rest| (sign, rest)))
                .ok_or_else(bad)?;
            let numbers: Result<Vec<u16>, _> = rest.split('.').map(str::parse).collect();
            let numbers = numbers.map_err(|_| bad())?;
            if numbers.len() > 3 {
                return Err(bad());
            }
            bounds.push(Bound { sign, numbers });
        }
        if bounds.is_empty() { Err(bad()) } else { Ok(Self(bounds)) }
    }
}

impl TryFrom<String> for Range {
    type Error = BadRange;

    fn try_from(text: String) -> Result<Self, BadRange> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("any");
        }
        for (i, bound) in self.0.iter().enumerate() {
            let sign = match bound.sign {
                Sign::AtLeast => ">=",
                Sign::Below => "<",
                Sign::Within => "=",
            };
            let numbers: Vec<String> = bound.numbers.iter().map(u16::to_string).collect();
            write!(f, "{}{sign}{}", if i > 0 { " " } else { "" }, numbers.join("."))?;
        }
        Ok(())
    }
}
