//! `--typed`: booleans and integers as JSON ones.

use serde_json::Value;

/// The same value with `true` and `false` (in any case) as booleans and plain decimal integers as numbers. A number
/// with a leading zero, a plus sign, or more digits than 64 bits hold stays a text. Heading lines stay texts.
pub fn typed(value: Value) -> Value {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => items.into_iter().map(typed).collect(),
        Value::Object(map) => {
            map.into_iter().map(|(k, v)| if k == "_heading" { (k, v) } else { (k, typed(v)) }).collect()
        }
        other => other,
    }
}

fn scalar(text: String) -> Value {
    if text.eq_ignore_ascii_case("true") {
        return true.into();
    }
    if text.eq_ignore_ascii_case("false") {
        return false.into();
    }
    let digits = text.strip_prefix('-').unwrap_or(&text);
    let plain = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit())
        && (digits == "0" && digits.len() == text.len() || !digits.starts_with('0'));
    match (text.parse::<i64>(), text.parse::<u64>()) {
        (Ok(n), _) if plain => n.into(),
        (_, Ok(n)) if plain => n.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_plain_integers_and_booleans() {
        let got = typed(json!([
            "TRUE",
            "false",
            "0",
            "-1",
            "00",
            "+1",
            "1.0",
            "0x1",
            "",
            "yes",
            "18446744073709551615",
            "-0",
            "N/A"
        ]));
        assert_eq!(
            got,
            json!([true, false, 0, -1, "00", "+1", "1.0", "0x1", "", "yes", 18446744073709551615u64, "-0", "N/A"])
        );
        assert_eq!(typed(json!({"_heading": "1", "a": "1"})), json!({"_heading": "1", "a": 1}));
    }
}
