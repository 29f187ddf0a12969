//! Typing the boot line of a vanilla ISO over QMP, the last resort: keys get lost and layouts differ, so each step ends
//! with a look at the screen. This is only the plan; who holds the monitor carries it out.
//!
//! `Shift+O` opens the installer's boot line within five seconds of its boot loader's screen (vendor documentation);
//! the keyboard is a US one there.

use std::time::Duration;

use super::screen::{Look, Screen};

/// Keys that go down together, by QEMU's names (`shift`, `o`), for `send-key` or `input-send-event`.
pub type Chord = Vec<&'static str>;

/// One step of typing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Wait until the screen changes from blank, at most this long, then until it is still.
    WaitForScreen {
        /// What is awaited, for messages.
        what: &'static str,
        /// At most this long.
        most: Duration,
    },
    /// Press these chords one after the other, with a pause after each.
    Press {
        /// The chords.
        chords: Vec<Chord>,
        /// Each is held so long.
        hold: Duration,
        /// And so long a pause follows.
        pause: Duration,
    },
    /// Take a screen and compare it with the one before: it must have changed, else the keys were lost.
    MustChange {
        /// What should have happened, for messages.
        what: &'static str,
    },
}

/// Why something cannot be typed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No key of a US keyboard makes this character.
    #[error("the boot line holds {0:?}, which no key of a US keyboard makes; hand the script over another way")]
    NoKey(char),
    /// An empty line.
    #[error("there is nothing to type")]
    Empty,
}

/// Characters of a US keyboard that need no letter or digit: character, key, with shift.
const SYMBOLS: &[(char, &str, bool)] = &[
    (' ', "spc", false),
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

const LETTERS: [&str; 26] = [
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u", "v", "w",
    "x", "y", "z",
];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The keys for a character on a US keyboard.
pub fn chord(c: char) -> Result<Chord, KeyError> {
    let (key, shift) = match c {
        'a'..='z' => (LETTERS[c as usize - 'a' as usize], false),
        'A'..='Z' => (LETTERS[c as usize - 'A' as usize], true),
        '0'..='9' => (DIGITS[c as usize - '0' as usize], false),
        '\n' => ("ret", false),
        _ => {
            SYMBOLS.iter().find(|(s, _, _)| *s == c).map(|(_, key, shift)| (*key, *shift)).ok_or(KeyError::NoKey(c))?
        }
    };
    Ok(if shift { vec!["shift", key] } else { vec![key] })
}

/// The keys for a text.
pub fn chords(text: &str) -> Result<Vec<Chord>, KeyError> {
    text.chars().map(chord).collect()
}

/// Backspaces sent to empty the installer's line: it holds `runweasel cdromBoot`, and more do no harm.
const BACKSPACES: usize = 40;

/// Pause after a key, and how long it is held, on a machine with KVM.
const PACE: Duration = Duration::from_millis(60);

/// How to start the installer of a vanilla ISO with this boot line. `slowness` is 1 with KVM and 10 or more under
/// software emulation: QEMU's keyboard queue has 16 bytes, and a guest that does not empty it in time loses keys
/// (seen on QEMU 10.0.2 under software emulation, with a busy host).
pub fn type_boot_line(line: &str, slowness: f64) -> Result<Vec<Step>, KeyError> {
    if line.trim().is_empty() {
        return Err(KeyError::Empty);
    }
    let pace = PACE.mul_f64(if slowness.is_finite() { slowness.clamp(1.0, 20.0) } else { 1.0 });
    let press = |chords| Step::Press { chords, hold: pace, pause: pace };
    Ok(vec![
        Step::WaitForScreen { what: "the boot loader's screen", most: Duration::from_secs(120) },
        press(vec![vec!["shift", "o"]]),
        Step::MustChange { what: "the boot line should have opened" },
        press(vec![vec!["backspace"]; BACKSPACES]),
        press(chords(line)?),
        Step::MustChange { what: "the boot line should show what was typed" },
        press(vec![vec!["ret"]]),
        Step::MustChange { what: "the installer should have started" },
    ])
}

/// Whether keys had an effect: the screen changed by more than a cursor.
pub fn has_changed(before: &Screen, after: &Screen) -> bool {
    before.difference(after) > 0.0005
}

/// Whether something can be typed at: the screen shows something and has been still since the last look.
pub fn is_ready(before: &Screen, now: &Screen) -> bool {
    now.look() != Look::Blank && !has_changed(before, now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_line_becomes_keys() {
        assert_eq!(
            chords("aZ0:/\n").unwrap(),
            [vec!["a"], vec!["shift", "z"], vec!["0"], vec!["shift", "semicolon"], vec!["slash"], vec!["ret"]]
        );
        assert_eq!(chord('ä'), Err(KeyError::NoKey('ä')));
        for c in ' '..='~' {
            let keys = chord(c).unwrap();
            assert_eq!(keys.len() == 2, c.is_ascii_uppercase() || "_+{}:\"~|<>?!@#$%^&*()".contains(c), "{c}");
        }
        // No two characters share a chord.
        let all: std::collections::BTreeSet<Chord> = (' '..='~').map(|c| chord(c).unwrap()).collect();
        assert_eq!(all.len(), (' '..='~').count());
    }

    #[test]
    fn the_line_is_opened_emptied_typed_and_sent() {
        let steps = type_boot_line("runweasel ks=usb:/KS.CFG", 1.0).unwrap();
        let pressed: Vec<&Vec<Chord>> =
            steps.iter().filter_map(|s| if let Step::Press { chords, .. } = s { Some(chords) } else { None }).collect();
        assert_eq!(*pressed[0], [vec!["shift", "o"]]);
        assert_eq!(pressed[2].len(), "runweasel ks=usb:/KS.CFG".len());
        assert_eq!(*pressed[3], [vec!["ret"]]);
        // Every press but the backspaces is followed by a look.
        assert_eq!(steps.iter().filter(|s| matches!(s, Step::MustChange { .. })).count(), 3);
        assert_eq!(type_boot_line("  ", 1.0), Err(KeyError::Empty));
        let slow = type_boot_line("x", 10.0).unwrap();
        assert!(slow.iter().any(|s| matches!(s, Step::Press { pause, .. } if *pause == PACE * 10)));
    }

    #[test]
    fn a_cursor_is_no_change() {
        let screen = |f: &dyn Fn(u32) -> u8| Screen {
            width: 100,
            height: 100,
            rgb: (0..10_000).flat_map(|n| [f(n); 3]).collect(),
        };
        let (empty, cursor, text) =
            (screen(&|_| 0), screen(&|n| 255 * u8::from(n < 3)), screen(&|n| 255 * u8::from(n % 9 == 0)));
        assert!(!has_changed(&empty, &cursor));
        assert!(has_changed(&empty, &text));
        assert!(!is_ready(&empty, &empty), "a blank screen");
        assert!(is_ready(&text, &text));
        assert!(!is_ready(&empty, &text));
    }
}
