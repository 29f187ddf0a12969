//! Settings of the VMkernel: `esxcli system settings advanced`.

use serde_json::json;

use super::super::sysargs::{Scalar, nearest_text};
use super::{Change, Found, Trouble, Undo, Wanted, change};
use crate::esxi::Command;
use crate::esxi::settings::{Advanced, Key, advanced, advanced_at};
use crate::steps::{Seen, StepError};

/// The read that every setting of this world shares.
pub fn list() -> Command {
    Command::esxcli("system settings advanced list")
}

fn set() -> Command {
    Command::esxcli("system settings advanced set")
}

pub fn look(key: &Key, wanted: &Wanted, seen: &Seen<'_>) -> Result<Found, Trouble> {
    let output = seen.output(&list())?;
    let path = key.path();
    let option = match advanced_at(&output.stdout, &path) {
        Some(option) => option,
        None => any_case(&output.stdout, &path)?,
    };
    let option = &option;
    let reboot = key.needs_reboot().is_some() || option.says_reboot();
    if *wanted == Wanted::Judged {
        return Ok(Found { value: printed(option), change: None });
    }
    let made = if option.is_int { int(key, option, wanted, reboot) } else { string(key, option, wanted, reboot) };
    let change = made?.map(|mut change| {
        // 8.0 and later say so in `Impact`.
        change.effect.maintenance = option.impact.eq_ignore_ascii_case("maintenance-mode");
        change
    });
    Ok(Found { value: printed(option), change })
}

/// esxcfg-advcfg takes a path in any case (recorded on 7.0: esxcfg-advcfg-s-hostname); the host's spelling is sent.
fn any_case<'t>(text: &'t str, path: &str) -> Result<Advanced<'t>, Trouble> {
    let mut all = advanced(text).map_err(|e| StepError::unreadable(&list(), e))?;
    if let Some(at) = all.iter().position(|option| option.path.eq_ignore_ascii_case(path)) {
        return Ok(all.swap_remove(at));
    }
    // Near names as playbooks write them.
    let names: Vec<String> = all.iter().map(|o| o.path.trim_start_matches('/').replacen('/', ".", 1)).collect();
    let wanted = path.trim_start_matches('/').replacen('/', ".", 1);
    Err(Trouble::Missing(nearest_text(&wanted, names.iter().map(String::as_str))))
}

fn printed(option: &Advanced<'_>) -> String {
    if option.is_int { option.int.map(|n| n.to_string()).unwrap_or_default() } else { option.string.to_owned() }
}

fn refused(key: &Key, text: String) -> StepError {
    StepError::Refused(format!("setting {}: {text}", key.dotted))
}

fn int(key: &Key, option: &Advanced<'_>, wanted: &Wanted, reboot: bool) -> Result<Option<Change>, StepError> {
    let Some(now) = option.int else {
        return Err(StepError::unreadable(&list(), format!("no `Int Value` for {}", option.path)));
    };
    let set = set().opt("-o", option.path);
    let (want, action) = match wanted {
        Wanted::Default => {
            let Some(default) = option.default_int else {
                return Err(refused(key, "the host does not say what its default is".into()));
            };
            (default, set.words("-d"))
        }
        Wanted::Judged => return Ok(None),
        Wanted::Value(value) => {
            let want = match value {
                // A switch may be written as one.
                Scalar::Bool(b) if option.min == Some(0) && option.max == Some(1) => i64::from(*b),
                other => other.as_int().ok_or_else(|| {
                    refused(
                        key,
                        format!("{other:?} is not a whole number, and the host keeps a number here ({now} now)"),
                    )
                })?,
            };
            // `-i -1` would be read as an option; `--int-value=-1` is not.
            let text = want.to_string();
            (want, if want < 0 { set.opt("--int-value", text) } else { set.opt("-i", text) })
        }
    };
    // Some options print 0 for both limits.
    let outside = |n: i64| {
        option.min < option.max && (option.min.is_some_and(|min| n < min) || option.max.is_some_and(|max| n > max))
    };
    if outside(want) && *wanted != Wanted::Default {
        let limit = |n: Option<i64>| n.map_or("?".to_owned(), |n| n.to_string());
        let text =
            format!("{want} is outside of {} to {}, which this host allows", limit(option.min), limit(option.max));
        return Err(refused(key, text));
    }
    // What the host would not take as a value cannot be given back as one.
    let undo = (!outside(now)).then(|| now.into());
    let made = || change(key, (&now.to_string(), &want.to_string()), undo, action, reboot);
    Ok((now != want).then(|| or_default(made(), key, option.default_int == Some(now))))
}

/// The default can be asked for although its value cannot.
fn or_default(mut change: Change, key: &Key, was_default: bool) -> Change {
    if change.undo.is_none() && was_default {
        change.undo = Undo::step(super::KIND.name, json!({"key": key.dotted, "default": true}));
    }
    change
}

fn string(key: &Key, option: &Advanced<'_>, wanted: &Wanted, reboot: bool) -> Result<Option<Change>, StepError> {
    let set = set().opt("-o", option.path);
    let (want, action) = match wanted {
        Wanted::Default => (option.default_string.to_owned(), set.words("-d")),
        Wanted::Judged => return Ok(None),
        Wanted::Value(Scalar::Bool(b)) => {
            let text = format!(
                "the host keeps a text here ({:?} now); write \"{b}\" in quotes if that is meant",
                option.string
            );
            return Err(refused(key, text));
        }
        Wanted::Value(value) => {
            let want = value.to_string();
            let dash = want.starts_with('-');
            let action = if dash { set.opt("--string-value", &want) } else { set.opt("-s", &want) };
            (want, action)
        }
    };
    if want.contains(['\n', '\r']) {
        return Err(refused(key, "a value of more than one line cannot be kept here".into()));
    }
    if let Some(bad) = outside(option.valid_characters, &want) {
        let text = format!("{want:?} has {bad:?}; this host allows only these characters: {}", option.valid_characters);
        return Err(refused(key, text));
    }
    // Blanks at the end do not survive being printed and read.
    let same = option.string.trim_end() == want.trim_end();
    let undo = outside(option.valid_characters, option.string).is_none().then(|| option.string.into());
    let made = || change(key, (option.string, &want), undo, action, reboot);
    Ok((!same).then(|| or_default(made(), key, option.default_string == option.string)))
}

/// The first character that `Valid Characters` does not allow. The field is empty or `*` where any may be used, and
/// a list of characters otherwise; other forms were not recorded, so a list with a range or a class is not judged.
fn outside(valid: &str, value: &str) -> Option<char> {
    if valid.is_empty() || valid == "*" || valid.len() < 8 || valid.contains(['[', '-', '*', '\\', ' ']) {
        return None;
    }
    value.chars().find(|c| !valid.contains(*c))
}

#[cfg(test)]
mod tests {
    use super::outside;

    #[test]
    fn only_plain_lists_of_characters_are_judged() {
        assert_eq!(outside("*", "any thing"), None);
        assert_eq!(outside("", "any thing"), None);
        assert_eq!(outside("0123456789.:abcdef", "10.0.0.1"), None);
        assert_eq!(outside("0123456789.:abcdef", "10.0.0.x"), Some('x'));
        assert_eq!(outside("[a-z0-9]*", "X"), None);
    }
}
