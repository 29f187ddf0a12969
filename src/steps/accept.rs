//! `accept`: what passes besides the very value that a step would set.

use schemars::JsonSchema;
use serde::Deserialize;

use super::sysargs::Scalar;

/// What a value may be, besides the one that would be set. All that is given must hold, but for `any_of`, which is
/// enough by itself.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accept {
    /// The least number that passes.
    #[serde(default)]
    pub min: Option<i64>,
    /// The greatest number that passes.
    #[serde(default)]
    pub max: Option<i64>,
    /// Any of these passes.
    #[serde(default)]
    pub any_of: Vec<Scalar>,
    /// None of these passes; anything else does.
    #[serde(default)]
    pub none_of: Vec<Scalar>,
    /// A text that holds this one passes.
    #[serde(default)]
    pub contains: Option<String>,
    /// A list with commas, of which every part is one of these.
    #[serde(default)]
    pub subset_of: Vec<String>,
    /// A list with commas of just these parts, in any order.
    #[serde(default)]
    pub set_of: Vec<String>,
}

impl Accept {
    /// Whether a printed value passes.
    pub fn passes(&self, value: &str) -> bool {
        let value = value.trim();
        if self.any_of.iter().any(|v| same(value, &v.to_string())) {
            return true;
        }
        let parts = || value.split(',').map(str::trim).filter(|p| !p.is_empty());
        let mut tests = Vec::new();
        if self.min.is_some() || self.max.is_some() {
            let number: Option<i64> = value.parse().ok();
            tests.push(number.is_some_and(|n| self.min.is_none_or(|m| n >= m) && self.max.is_none_or(|m| n <= m)));
        }
        if !self.none_of.is_empty() {
            tests.push(!self.none_of.iter().any(|v| same(value, &v.to_string())));
        }
        if let Some(text) = &self.contains {
            tests.push(value.contains(text.as_str()));
        }
        if !self.subset_of.is_empty() {
            tests.push(parts().next().is_some() && parts().all(|p| self.subset_of.iter().any(|w| w == p)));
        }
        if !self.set_of.is_empty() {
            tests.push(parts().all(|p| self.set_of.iter().any(|w| w == p)));
            tests.push(self.set_of.iter().all(|w| parts().any(|p| p == w)));
        }
        !tests.is_empty() && tests.into_iter().all(|held| held)
    }
}

/// Numbers as numbers, anything else exactly.
fn same(a: &str, b: &str) -> bool {
    match (a.parse::<i64>(), b.trim().parse::<i64>()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn accept(value: serde_json::Value) -> Accept {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn ranges_are_numbers_and_never_text() {
        let range = accept(json!({"min": 1, "max": 900}));
        assert!(range.passes("1") && range.passes("900") && range.passes(" 600 "));
        for bad in ["0", "901", "", "x", "1 day"] {
            assert!(!range.passes(bad), "{bad}");
        }
        assert!(accept(json!({"min": 5})).passes("24") && !accept(json!({"min": 5})).passes("4"));
    }

    #[test]
    fn lists_are_compared_part_by_part() {
        let subset = accept(json!({"subset_of": ["aes256-ctr", "aes128-ctr"]}));
        assert!(subset.passes("aes128-ctr") && subset.passes("aes128-ctr, aes256-ctr"));
        assert!(!subset.passes("") && !subset.passes("aes128-ctr,3des-cbc"));
        let set = accept(json!({"set_of": ["sslv3", "tlsv1"]}));
        assert!(set.passes("tlsv1,sslv3") && !set.passes("sslv3") && !set.passes("sslv3,tlsv1,tlsv1.1"));
    }

    #[test]
    fn words_and_nothing_at_all() {
        assert!(accept(json!({"any_of": ["info", "verbose"]})).passes("verbose"));
        assert!(!accept(json!({"none_of": ["ESX Admins"]})).passes("ESX Admins"));
        assert!(accept(json!({"none_of": ["ESX Admins"]})).passes("lab admins"));
        assert!(accept(json!({"contains": "accessing"})).passes("You are accessing this"));
        assert!(!Accept::default().passes("anything"));
    }
}
