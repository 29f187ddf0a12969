//! What a plain scalar may mean. YAML 1.1 and 1.2 disagree about `no`, `0755`, `1.10`, `1_000` and `22:30`, and
//! a writer rarely knows either by heart. So nothing but what all agree on is taken for a boolean or a number
//! at first; the rest stays text, and becomes something else only where the step wants something else.

use serde_json::{Number, Value};

/// Nothing, `~` or `null`.
pub fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether the text has a template in it.
pub fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// What a plain scalar is taken for when nobody says what is wanted: `true`, `false`, null and whole numbers
/// as everybody writes them; everything else is text. `1.10` is text: it is more often a version than a number.
pub fn untyped(text: &str) -> Value {
    match text {
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_null(text) => Value::Null,
        _ => canonical_integer(text).map_or_else(|| Value::String(text.to_owned()), Value::Number),
    }
}

/// The YAML 1.1 words that YAML 1.2 reads as text.
pub fn switch_word(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// A boolean in either YAML.
pub fn boolean(text: &str) -> Option<bool> {
    switch_word(text).or_else(|| untyped(text).as_bool())
}

fn canonical_integer(text: &str) -> Option<Number> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let fine = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" || !digits.starts_with('0'))
        && text != "-0";
    if !fine {
        return None;
    }
    text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from)).ok()
}

/// `0755`: octal in YAML 1.1, decimal in YAML 1.2.
pub fn has_leading_zero(text: &str) -> bool {
    let digits = text.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// `22:30`: 1350 in YAML 1.1, text in YAML 1.2.
pub fn is_base_sixty(text: &str) -> bool {
    let mut parts = text.trim_start_matches(['-', '+']).split(':');
    let head = parts.next().is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    let mut rest = parts.peekable();
    head && rest.peek().is_some() && rest.all(|p| matches!(p.len(), 1 | 2) && p.parse::<u8>().is_ok_and(|n| n < 60))
}

/// A whole number where one is wanted: also `1_000`, `0x1F`, `0o17` and `+5`. Never `0755` or `22:30`.
pub fn integer(text: &str) -> Option<Number> {
    let text = text.trim();
    if has_leading_zero(text) {
        return None;
    }
    let radix = |prefix: &str, radix| {
        text.strip_prefix(prefix).and_then(|d| u64::from_str_radix(d, radix).ok()).map(Number::from)
    };
    let plain = text.strip_prefix('+').unwrap_or(text);
    let grouped = plain.contains('_') && plain.split('_').all(|g| !g.is_empty() && !g.starts_with(['-', '+']));
    let joined = if grouped { plain.replace('_', "") } else { plain.to_owned() };
    canonical_integer(&joined).or_else(|| radix("0x", 16)).or_else(|| radix("0o", 8))
}

/// A number with a fraction where one is wanted.
pub fn decimal(text: &str) -> Option<Number> {
    let fine = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
    if fine { text.parse::<f64>().ok().and_then(Number::from_f64) } else { None }
}

/// Octal digits as a number, for permission bits.
pub fn octal(text: &str) -> Option<Number> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u64::from_str_radix(digits, 8).ok().map(Number::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_all_agree_on_is_not_text() {
        for (text, value) in [
            ("true", json!(true)),
            ("FALSE", json!(false)),
            ("~", json!(null)),
            ("", json!(null)),
            ("42", json!(42)),
            ("-7", json!(-7)),
            ("0", json!(0)),
            ("18446744073709551615", json!(u64::MAX)),
            ("no", json!("no")),
            ("on", json!("on")),
            ("0755", json!("0755")),
            ("1.10", json!("1.10")),
            ("1_000", json!("1_000")),
            ("22:30", json!("22:30")),
            ("0x1F", json!("0x1F")),
            ("-0", json!("-0")),
            ("12345678901234567890123", json!("12345678901234567890123")),
            (".inf", json!(".inf")),
        ] {
            assert_eq!(untyped(text), value, "{text}");
        }
    }

    #[test]
    fn where_a_number_is_wanted() {
        assert_eq!(integer("1_000"), Some(1000.into()));
        assert_eq!(integer("0x1F"), Some(31.into()));
        assert_eq!(integer("0o17"), Some(15.into()));
        assert_eq!(integer("+5"), Some(5.into()));
        assert_eq!(integer("0755"), None);
        assert_eq!(integer("22:30"), None);
        assert_eq!(integer("1__0"), None);
        assert_eq!(decimal("1.10"), Number::from_f64(1.1));
        assert_eq!(decimal("inf"), None);
        assert_eq!(octal("0755"), Some(493.into()));
        assert!(has_leading_zero("0755") && !has_leading_zero("0") && !has_leading_zero("0.5"));
        assert!(is_base_sixty("22:30") && !is_base_sixty("22:75") && !is_base_sixty("aa:30") && !is_base_sixty("22"));
    }
}
