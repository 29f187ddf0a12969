//! `accept`: what passes besides the very value that a step would set.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::sysargs::{Scalar, truth};

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
    /// Fields parted by blanks, `name=value` or a bare name, that say the same in any order. This is how a password
    /// policy (Security.PasswordQualityControl) is written; a field that is left out is not filled in with the
    /// host's default.
    #[serde(default)]
    pub fields_of: Option<String>,
}

impl Accept {
    /// Refuses what no value, or every value, would pass.
    ///
    /// # Errors
    /// A sentence for the writer of the playbook.
    pub fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err("`accept` is empty: say what passes, for example `accept: {max: 900}`".into());
        }
        if let (Some(min), Some(max)) = (self.min, self.max)
            && min > max
        {
            return Err(format!("`accept`: nothing is between min {min} and max {max}"));
        }
        if self.contains.as_deref() == Some("") {
            return Err("`accept`: every text contains an empty one".into());
        }
        if self.fields_of.as_deref().is_some_and(|f| fields(f).is_empty()) {
            return Err("`accept`: `fields_of` has no fields".into());
        }
        Ok(())
    }

    /// In words, for a finding.
    pub fn describe(&self) -> String {
        let list = |all: &[Scalar]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        match (self.min, self.max) {
            (Some(min), Some(max)) => parts.push(format!("{min} to {max}")),
            (Some(min), None) => parts.push(format!("at least {min}")),
            (None, Some(max)) => parts.push(format!("at most {max}")),
            (None, None) => {}
        }
        if !self.none_of.is_empty() {
            let nothing = self.none_of.iter().all(|v| v.to_string().is_empty());
            parts.push(if nothing { "not empty".to_owned() } else { format!("not {}", list(&self.none_of)) });
        }
        parts.extend(self.contains.as_ref().map(|text| format!("a text that contains {text:?}")));
        if !self.subset_of.is_empty() {
            parts.push(format!("only of {}", self.subset_of.join(", ")));
        }
        if !self.set_of.is_empty() {
            parts.push(format!("just {}, in any order", self.set_of.join(", ")));
        }
        parts.extend(self.fields_of.as_ref().map(|text| format!("the fields {text}, in any order")));
        let all = parts.join(" and ");
        match (all.is_empty(), self.any_of.is_empty()) {
            (_, true) => all,
            (true, false) => format!("any of {}", list(&self.any_of)),
            (false, false) => format!("{all}, or any of {}", list(&self.any_of)),
        }
    }

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
        if let Some(text) = &self.fields_of {
            tests.push(fields(value) == fields(text));
        }
        !tests.is_empty() && tests.into_iter().all(|held| held)
    }
}

/// Numbers as numbers, truth values in any case, anything else exactly.
fn same(a: &str, b: &str) -> bool {
    let b = b.trim();
    match (a.parse::<i64>(), b.parse::<i64>(), truth(a), truth(b)) {
        (Ok(a), Ok(b), ..) => a == b,
        (_, _, Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// The fields of a policy by name. pam_passwdqc reads them in turn, so that the last of a name counts; the order of the
/// parts of one field (`min=N0,N1,...`) has a meaning of its own.
fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.split_whitespace().map(|word| word.split_once('=').unwrap_or((word, ""))).collect()
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
    fn a_password_policy_is_compared_field_by_field() {
        let policy = accept(json!({"fields_of": "similar=deny retry=3 min=disabled,disabled,disabled,disabled,15"}));
        assert!(policy.passes("similar=deny retry=3 min=disabled,disabled,disabled,disabled,15"));
        assert!(policy.passes("  retry=3 min=disabled,disabled,disabled,disabled,15  similar=deny "));
        for bad in [
            "",
            "retry=3 min=disabled,disabled,disabled,7,7",
            "retry=3 min=disabled,disabled,disabled,disabled,15",
            "retry=3 min=disabled,disabled,disabled,15,disabled similar=deny",
            "retry=3 min=disabled,disabled,disabled,disabled,15 similar=deny max=64",
            "retry=3 min=disabled,disabled,disabled,disabled,15 similar=permit similar=deny retry=5",
            "Similar=deny retry=3 min=disabled,disabled,disabled,disabled,15",
        ] {
            assert!(!policy.passes(bad), "{bad}");
        }
        let pwquality = accept(json!({"fields_of": "retry=3 minlen=15 enforce_for_root"}));
        assert!(pwquality.passes("enforce_for_root minlen=15 retry=3") && !pwquality.passes("minlen=15 retry=3"));
    }

    #[test]
    fn what_makes_no_sense_is_told_and_the_rest_is_said_in_words() {
        for bad in [json!({}), json!({"min": 5, "max": 4}), json!({"contains": ""}), json!({"fields_of": " "})] {
            assert!(accept(bad.clone()).check().is_err(), "{bad}");
        }
        for (good, said) in [
            (json!({"min": 1, "max": 900}), "1 to 900"),
            (json!({"any_of": ["info", "verbose"]}), "any of info, verbose"),
            (json!({"max": 5, "any_of": [9]}), "at most 5, or any of 9"),
            (json!({"none_of": ["ESX Admins"]}), "not ESX Admins"),
            (json!({"none_of": [""]}), "not empty"),
            (json!({"fields_of": "a=1 b"}), "the fields a=1 b, in any order"),
        ] {
            assert!(accept(good.clone()).check().is_ok(), "{good}");
            assert_eq!(accept(good).describe(), said);
        }
    }

    #[test]
    fn words_and_nothing_at_all() {
        let yes = accept(json!({"any_of": [true, 5]}));
        assert!(yes.passes("True") && yes.passes("5") && !yes.passes("FALSE") && !yes.passes("05x"));
        assert!(accept(json!({"any_of": ["info", "verbose"]})).passes("verbose"));
        assert!(!accept(json!({"none_of": ["ESX Admins"]})).passes("ESX Admins"));
        assert!(accept(json!({"none_of": ["ESX Admins"]})).passes("lab admins"));
        assert!(accept(json!({"contains": "accessing"})).passes("You are accessing this"));
        assert!(!Accept::default().passes("anything"));
    }
}
