//! ESXi versions.

use std::fmt;
use std::str::FromStr;

/// A version such as 6.5.0 or 8.0.3. Orders by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// First number.
    pub major: u16,
    /// Second number.
    pub minor: u16,
    /// Third number; 0 where none was given. 8.0 Update 3 is 8.0.3; 6.5 Update 1 is still 6.5.0.
    pub patch: u16,
}

impl Version {
    /// A version without a third number.
    pub const fn new(major: u16, minor: u16) -> Self {
        Self { major, minor, patch: 0 }
    }

    /// Whether this is 7.0 or later: no vmklinux drivers, so the native ones are the only ones.
    pub fn native_drivers_only(self) -> bool {
        self.major >= 7
    }

    /// First and second number, `6.5`.
    pub fn line(self) -> String {
        format!("{}.{}", self.major, self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The text was not a version.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0:?} is not an ESXi version; write it like \"6.5\" or \"8.0.3\"")]
pub struct BadVersion(pub String);

impl FromStr for Version {
    type Err = BadVersion;

    fn from_str(s: &str) -> Result<Self, BadVersion> {
        let bad = || BadVersion(s.to_owned());
        let mut numbers = s.trim().split('.').map(|n| n.parse::<u16>());
        let mut next = || numbers.next().transpose().map_err(|_| bad());
        let version =
            Self { major: next()?.ok_or_else(bad)?, minor: next()?.unwrap_or(0), patch: next()?.unwrap_or(0) };
        if next()?.is_some() { Err(bad()) } else { Ok(version) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_by_number_and_refuses_words() {
        let v = |s: &str| s.parse::<Version>();
        assert!(v("6.5").unwrap() < v("6.10.0").unwrap());
        assert!(v("8.0.3").unwrap() > v("8.0").unwrap());
        assert!(v("eight").is_err());
        assert!(v("8.0.3.1").is_err());
        assert!(v("").is_err());
    }
}
