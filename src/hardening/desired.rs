//! The grammar of what a control asks for, and what satisfies two controls at once.
//!
//! | written | means |
//! | --- | --- |
//! | `text` | exactly that; numbers as numbers, booleans in any case |
//! | `>=N`, `A..B` | a number of at least N; from A to B, both included |
//! | `one-of(a,b)`, `not(a,b)`, `not(A..B,c)` | one of these; none of these |
//! | `contains(text)` | the text occurs in it |
//! | `set-equals(a,b)`, `subset-of(a,b)` | a list with just these, in any order; a list with nothing else |
//! | `empty` | nothing |
//! | `site(what)` | the site must say it |
//! | `k=v,k=v` | several values, each in this grammar |

use std::fmt;

/// What a control asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// Exactly this.
    Exact(String),
    /// A number of at least this.
    AtLeast(i64),
    /// A number from the first to the second, both included.
    Range(i64, i64),
    /// One of these.
    OneOf(Vec<String>),
    /// None of these; each is a text or `A..B`.
    Not(Vec<String>),
    /// Text that holds this.
    Contains(String),
    /// A list with just these.
    SetEquals(Vec<String>),
    /// A list with nothing but these.
    SubsetOf(Vec<String>),
    /// Nothing.
    Empty,
    /// What the site must say.
    Site(String),
    /// Several values.
    Pairs(Vec<(String, Desired)>),
}

impl Desired {
    /// Reads what a control asks for. Everything means something: what has no form is exact text.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if text == "empty" {
            return Self::Empty;
        }
        if let Some(least) = text.strip_prefix(">=").and_then(|n| n.trim().parse().ok()) {
            return Self::AtLeast(least);
        }
        if let Some((from, to)) = range(text) {
            return Self::Range(from, to);
        }
        for (word, make) in FORMS {
            let inside = text.strip_prefix(word).and_then(|t| t.strip_prefix('(')).and_then(|t| t.strip_suffix(')'));
            if let Some(inside) = inside {
                return make(inside);
            }
        }
        pairs(text).map_or_else(|| Self::Exact(text.to_owned()), Self::Pairs)
    }

    /// Whether a value is what is asked; `None` where only the site can say.
    pub fn passes(&self, value: &str) -> Option<bool> {
        let number = || value.trim().parse::<i64>().ok();
        Some(match self {
            Self::Exact(text) => same(text, value),
            Self::AtLeast(least) => number().is_some_and(|n| n >= *least),
            Self::Range(from, to) => number().is_some_and(|n| (*from..=*to).contains(&n)),
            Self::OneOf(all) => all.iter().any(|one| same(one, value)),
            Self::Not(all) => !all.iter().any(|one| match range(one) {
                Some((from, to)) => number().is_some_and(|n| (from..=to).contains(&n)),
                None => same(one, value),
            }),
            Self::Contains(text) => value.contains(text.as_str()),
            Self::SetEquals(all) => sorted(&list(value)) == sorted(all),
            Self::SubsetOf(all) => {
                let list = list(value);
                !list.is_empty() && list.iter().all(|one| all.contains(one))
            }
            Self::Empty => value.trim().is_empty(),
            Self::Site(_) => return None,
            Self::Pairs(_) => Self::parse(value) == *self,
        })
    }

    /// What satisfies this and the other, where something does.
    pub fn both(&self, other: &Self) -> Option<Self> {
        use Desired::{AtLeast, Contains, Empty, Exact, Not, OneOf, Pairs, Range, SetEquals, Site, SubsetOf};
        if self == other {
            return Some(self.clone());
        }
        match (self, other) {
            (Site(_), one) | (one, Site(_)) => Some(one.clone()),
            (Exact(text), one) | (one, Exact(text)) => one.passes(text)?.then(|| Exact(text.clone())),
            (Empty, one) | (one, Empty) => one.passes("")?.then_some(Empty),
            (AtLeast(a), AtLeast(b)) => Some(AtLeast(*a.max(b))),
            (AtLeast(least), Range(from, to)) | (Range(from, to), AtLeast(least)) => narrow(*least.max(from), *to),
            (Range(a, b), Range(c, d)) => narrow(*a.max(c), *b.min(d)),
            (OneOf(all), one) | (one, OneOf(all)) => {
                let left: Vec<String> = all.iter().filter(|v| one.passes(v) == Some(true)).cloned().collect();
                match left.as_slice() {
                    [] => None,
                    [single] => Some(Exact(single.clone())),
                    _ => Some(OneOf(left)),
                }
            }
            (Not(a), Not(b)) => Some(Not(a.iter().chain(b.iter().filter(|v| !a.contains(v))).cloned().collect())),
            (SetEquals(all), one) | (one, SetEquals(all)) => {
                one.passes(&all.join(","))?.then(|| SetEquals(all.clone()))
            }
            (SubsetOf(a), SubsetOf(b)) => {
                let left: Vec<String> = a.iter().filter(|v| b.contains(v)).cloned().collect();
                (!left.is_empty()).then_some(SubsetOf(left))
            }
            (Pairs(a), Pairs(b)) => {
                let mut all = a.clone();
                for (key, wanted) in b {
                    match all.iter_mut().find(|(k, _)| k == key) {
                        Some((_, mine)) => *mine = mine.both(wanted)?,
                        None => all.push((key.clone(), wanted.clone())),
                    }
                }
                Some(Pairs(all))
            }
            // A text that holds one thing may hold another; whether it does is not decided here.
            (Contains(_), _) | (_, Contains(_)) => None,
            _ => None,
        }
    }
}

impl fmt::Display for Desired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => f.write_str(text),
            Self::AtLeast(least) => write!(f, ">={least}"),
            Self::Range(from, to) => write!(f, "{from}..{to}"),
            Self::OneOf(all) => write!(f, "one-of({})", all.join(",")),
            Self::Not(all) => write!(f, "not({})", all.join(",")),
            Self::Contains(text) => write!(f, "contains({text})"),
            Self::SetEquals(all) => write!(f, "set-equals({})", all.join(",")),
            Self::SubsetOf(all) => write!(f, "subset-of({})", all.join(",")),
            Self::Empty => f.write_str("empty"),
            Self::Site(what) => write!(f, "site({what})"),
            Self::Pairs(all) => {
                for (i, (key, wanted)) in all.iter().enumerate() {
                    write!(f, "{}{key}={wanted}", if i == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

/// Makes a form from what stands in its parentheses.
type Make = fn(&str) -> Desired;

/// The forms that are a word with parentheses.
const FORMS: &[(&str, Make)] = &[
    ("one-of", |t| Desired::OneOf(list(t))),
    ("not", |t| Desired::Not(list(t))),
    ("contains", |t| Desired::Contains(t.to_owned())),
    ("set-equals", |t| Desired::SetEquals(list(t))),
    ("subset-of", |t| Desired::SubsetOf(list(t))),
    ("site", |t| Desired::Site(t.to_owned())),
];

fn range(text: &str) -> Option<(i64, i64)> {
    let (from, to) = text.split_once("..")?;
    Some((from.trim().parse().ok()?, to.trim().parse().ok()?))
}

fn narrow(from: i64, to: i64) -> Option<Desired> {
    match from.cmp(&to) {
        std::cmp::Ordering::Less => Some(Desired::Range(from, to)),
        std::cmp::Ordering::Equal => Some(Desired::Exact(from.to_string())),
        std::cmp::Ordering::Greater => None,
    }
}

/// `k=v,k=v`. A password policy has `=` and commas too, but its parts are not all `k=v`, or they hold blanks.
fn pairs(text: &str) -> Option<Vec<(String, Desired)>> {
    let word = |key: &str| !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric());
    let parts: Vec<(&str, &str)> = text.split(',').map(|part| part.split_once('=')).collect::<Option<_>>()?;
    if !parts.iter().all(|(key, _)| word(key.trim())) || matches!(parts.as_slice(), [(_, one)] if one.contains(' ')) {
        return None;
    }
    Some(parts.into_iter().map(|(key, value)| (key.trim().to_owned(), Desired::parse(value))).collect())
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()
}

fn sorted(all: &[String]) -> Vec<&str> {
    let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
    all.sort_unstable();
    all
}

fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.trim(), b.trim());
    let boolean = |t: &str| t.eq_ignore_ascii_case("true") || t.eq_ignore_ascii_case("false");
    if boolean(a) && boolean(b) {
        return a.eq_ignore_ascii_case(b);
    }
    match (a.parse::<i64>(), b.parse::<i64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(a: &str, b: &str) -> Option<String> {
        Desired::parse(a).both(&Desired::parse(b)).map(|d| d.to_string())
    }

    #[test]
    fn every_form_is_read_and_written_back() {
        for text in [
            "3",
            ">=5",
            "1..900",
            "one-of(a,b)",
            "not(1001..1024,3968..4094)",
            "contains(You are accessing)",
            "set-equals(sslv3,tlsv1)",
            "subset-of(aes256-ctr,aes128-ctr)",
            "empty",
            "site(log hosts)",
            "running=false,policy=off",
            "similar=deny retry=3 min=disabled,disabled,disabled,disabled,15",
            "retry=3 dcredit=-1 minlen=15 enforce_for_root",
        ] {
            assert_eq!(Desired::parse(text).to_string(), text);
        }
        assert!(matches!(Desired::parse("similar=deny retry=3 min=disabled,15"), Desired::Exact(_)));
        assert!(matches!(Desired::parse("running=true,policy=on"), Desired::Pairs(p) if p.len() == 2));
    }

    #[test]
    fn values_pass_as_the_grammar_says() {
        for (asked, value, passes) in [
            ("3", "3", true),
            ("3", "5", false),
            ("true", "TRUE", true),
            ("info", "Info", false),
            (">=5", "7", true),
            (">=5", "4", false),
            ("1..900", "0", false),
            ("1..900", "900", true),
            ("1..900", "never", false),
            ("one-of(PartnerSupported,VMwareAccepted)", "VMwareAccepted", true),
            ("one-of(PartnerSupported,VMwareAccepted)", "CommunitySupported", false),
            ("not(ESX Admins)", "ESX Admins", false),
            ("not(1001..1024,1)", "1010", false),
            ("not(1001..1024,1)", "10", true),
            ("set-equals(sslv3,tlsv1)", "tlsv1,sslv3", true),
            ("set-equals(sslv3,tlsv1)", "sslv3", false),
            ("subset-of(a,b)", "b", true),
            ("subset-of(a,b)", "b,c", false),
            ("subset-of(a,b)", "", false),
            ("empty", "", true),
            ("empty", "x", false),
        ] {
            assert_eq!(Desired::parse(asked).passes(value), Some(passes), "{asked} with {value}");
        }
        assert_eq!(Desired::parse("site(build)").passes("1"), None);
    }

    #[test]
    fn what_satisfies_both_is_found_and_nothing_else() {
        assert_eq!(both("120", "1..900").as_deref(), Some("120"));
        assert_eq!(both("1..600", "1..900").as_deref(), Some("1..600"));
        assert_eq!(both("900", "1..900").as_deref(), Some("900"));
        assert_eq!(both(">=5", "5").as_deref(), Some("5"));
        assert_eq!(both(">=900", "1..900").as_deref(), Some("900"));
        assert_eq!(both("90", "9999"), None);
        assert_eq!(both("info", "error"), None);
        assert_eq!(both("30", "1..10"), None);
        assert_eq!(both("site(banner)", "contains(x)").as_deref(), Some("contains(x)"));
        assert_eq!(both("running=false,policy=off", "running=false").as_deref(), Some("running=false,policy=off"));
        assert_eq!(both("running=false", "running=true"), None);
        assert_eq!(both("set-equals(b,a)", "subset-of(a,b,c)").as_deref(), Some("set-equals(b,a)"));
        assert_eq!(both("not(4095)", "not(1)").as_deref(), Some("not(4095,1)"));
    }
}
