//! Which keys make a text, on a US keyboard: what the ESXi installer's boot prompt and console expect.
//! Names are QEMU's `QKeyCode` (QEMU, qapi/ui.json).

use super::QmpError;

/// Keys pressed together, such as `shift` and `a`.
pub type Chord = Vec<&'static str>;

/// (character, key, with shift)
const SIGNS: &[(char, &str, bool)] = &[
    (' ', "spc", false),
    ('\n', "ret", false),
    ('\t', "tab", false),
    ('\u{1b}', "esc", false),
    ('\u{8}', "backspace", false),
    ('-', "minus", false),
    ('_', "minus", true),
    ('=', "equal", false),
    ('+', "equal", true),
    ('[', "bracket_left", false),
    ('{', "bracket_left", true),
    (']', "bracket_right", false),
    ('}', "bracket_right", true),
    (';', "semicolon", false),
    (':', "semicolon", true),
    ('\'', "apostrophe", false),
    ('"', "apostrophe", true),
    ('`', "grave_accent", false),
    ('~', "grave_accent", true),
    ('\\', "backslash", false),
    ('|', "backslash", true),
    (',', "comma", false),
    ('<', "comma", true),
    ('.', "dot", false),
    ('>', "dot", true),
    ('/', "slash", false),
    ('?', "slash", true),
    ('!', "1", true),
    ('@', "2", true),
    ('#', "3", true),
    ('$', "4", true),
    ('%', "5", true),
    ('^', "6", true),
    ('&', "7", true),
    ('*', "8", true),
    ('(', "9", true),
    (')', "0", true),
];

/// Letters and digits are named by themselves.
const PLAIN: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w",
    "x", "y", "z", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9",
];

/// The keys for each character of a text, in order.
pub fn chords(text: &str) -> Result<Vec<Chord>, QmpError> {
    text.chars().map(|c| chord(c).ok_or(QmpError::NoKey(c))).collect()
}

/// The keys for one character.
fn chord(c: char) -> Option<Chord> {
    let with = |key, shift| if shift { vec!["shift", key] } else { vec![key] };
    if let Some((_, key, shift)) = SIGNS.iter().find(|(sign, ..)| *sign == c) {
        return Some(with(key, *shift));
    }
    let lower = c.to_ascii_lowercase();
    let key = PLAIN.iter().find(|key| key.len() == lower.len_utf8() && key.starts_with(lower))?;
    Some(with(key, c.is_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_line_becomes_keys() {
        let keys = chords("ks=Usb:/K\n").unwrap();
        assert_eq!(
            keys,
            [
                vec!["k"],
                vec!["s"],
                vec!["equal"],
                vec!["shift", "u"],
                vec!["s"],
                vec!["b"],
                vec!["shift", "semicolon"],
                vec!["slash"],
                vec!["shift", "k"],
                vec!["ret"],
            ]
        );
    }

    #[test]
    fn every_printable_ascii_character_has_its_own_keys() {
        let mut seen = std::collections::BTreeMap::new();
        for c in ' '..='~' {
            let chord = chord(c).unwrap_or_else(|| panic!("{c:?} has no key"));
            assert_eq!(seen.insert(chord, c), None, "{c:?}");
        }
        assert_eq!(seen.len(), 95);
    }

    #[test]
    fn what_no_key_makes_is_refused() {
        for text in ["ä", "a€", "\u{0}", "\r"] {
            assert!(matches!(chords(text), Err(QmpError::NoKey(_))), "{text:?}");
        }
    }
}
