//! The power button, as Linux reports it: key events of the ACPI button device. Needs the modules `button` and `evdev`.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

const KEY_EVENT: u16 = 1;
const KEY_POWER: u16 = 116;
/// Bytes of an input event on a 64-bit kernel: time (16), type (2), code (2), value (4).
const EVENT: usize = 24;

/// Calls `pressed` each time the button is pressed, from a thread of its own. Without a button nothing happens.
pub(super) fn watch(pressed: impl Fn() + Send + Sync + 'static) {
    let pressed = std::sync::Arc::new(pressed);
    for device in buttons(Path::new("/sys/class/input"), Path::new("/dev/input")) {
        let pressed = std::sync::Arc::clone(&pressed);
        std::thread::spawn(move || {
            let Ok(mut file) = File::open(&device) else { return };
            let mut event = [0; EVENT];
            while file.read_exact(&mut event).is_ok() {
                if is_press(&event) {
                    pressed();
                }
            }
        });
    }
}

fn buttons(class: &Path, dev: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(class).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let label = fs::read_to_string(entry.path().join("device/name")).unwrap_or_default();
        if name.to_string_lossy().starts_with("event") && label.trim() == "Power Button" {
            found.push(dev.join(name));
        }
    }
    found
}

fn is_press(event: &[u8; EVENT]) -> bool {
    let half = |at: usize| u16::from_le_bytes([event[at], event[at + 1]]);
    half(16) == KEY_EVENT && half(18) == KEY_POWER && half(20) == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_press_of_the_power_key_counts() {
        let mut event = [0; EVENT];
        event[16] = 1;
        event[18] = 116;
        event[20] = 1;
        assert!(is_press(&event));
        event[20] = 0;
        assert!(!is_press(&event), "the release");
        event[20] = 1;
        event[18] = 30;
        assert!(!is_press(&event), "another key");
    }

    #[test]
    fn the_button_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        for (event, name) in [("event0", "AT keyboard"), ("event1", "Power Button")] {
            let device = dir.path().join(event).join("device");
            fs::create_dir_all(&device).unwrap();
            fs::write(device.join("name"), format!("{name}\n")).unwrap();
        }
        assert_eq!(buttons(dir.path(), Path::new("/dev/input")), [Path::new("/dev/input/event1")]);
    }
}
