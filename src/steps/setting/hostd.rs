//! Settings of the management agent: `vim-cmd hostsvc/advopt`. esxcli does not know them on any release.

use super::super::sysargs::Scalar;
use super::{Found, Trouble, Wanted, change};
use crate::esxi::failure::{Class, failure};
use crate::esxi::settings::{HostdType, Key};
use crate::esxi::vimdump::{self, Value};
use crate::esxi::{Command, Output};
use crate::steps::{Seen, StepError, Verdict, default_judge};

/// The read of one key.
pub fn view(key: &Key) -> Command {
    Command::new("vim-cmd hostsvc/advopt/view").arg(&key.dotted)
}

/// The read of all keys at once. That it holds every key of `view`, `Security.` and `Config.` too, is not verified:
/// whatever is not in it is asked for by name.
pub fn dump() -> Command {
    Command::new("vim-cmd hostsvc/advopt/settings")
}

/// The value of a key in a dump of settings; `None`: it is not there, or this is no dump.
pub(crate) fn in_dump(text: &str, key: &str) -> Option<Value> {
    let all = vimdump::parse(text).ok()?;
    value_of(&all, key).cloned()
}

fn value_of<'a>(all: &'a Value, key: &str) -> Option<&'a Value> {
    let item = all.items().iter().find(|item| item.get("key").and_then(Value::as_str) == Some(key))?;
    item.get("value")
}

/// Those of the keys that the dump does not have; all of them when it was refused or cannot be read.
pub fn not_in_dump<'k>(keys: &[&'k Key], seen: &Seen<'_>) -> Vec<&'k Key> {
    let Ok(output) = seen.raw(&dump()) else { return Vec::new() };
    let all = vimdump::parse(&output.stdout).ok().filter(|_| failure(output).is_none());
    keys.iter().filter(|key| all.as_ref().and_then(|all| value_of(all, &key.dotted)).is_none()).copied().collect()
}

/// The value now: out of the dump if there is one and it has it, else by name.
fn now(key: &Key, bulk: bool, seen: &Seen<'_>) -> Result<Value, Trouble> {
    if bulk {
        let output = seen.raw(&dump())?;
        if failure(output).is_none()
            && let Some(value) = in_dump(&output.stdout, &key.dotted)
        {
            return Ok(value);
        }
    }
    let read = view(key);
    let output = seen.raw(&read)?;
    let dump = vimdump::parse(&output.stdout);
    let value = dump.as_ref().ok().filter(|d| d.find("key").is_some()).and_then(|d| d.find("value"));
    value.cloned().ok_or_else(|| no_value(&read, output))
}

pub fn look(
    key: &Key,
    wanted: &Wanted,
    kind: Option<HostdType>,
    bulk: bool,
    seen: &Seen<'_>,
) -> Result<Found, Trouble> {
    let found = now(key, bulk, seen)?;
    let now = &found;
    let value = match wanted {
        Wanted::Value(value) => value,
        Wanted::Judged => return Ok(Found { value: now.text(), change: None }),
        Wanted::Default => {
            return Err(refused(key, "hostd does not show its defaults; give the value itself").into());
        }
    };
    let undo = match (now, kind) {
        (Value::Text(text), _) => Some(text.as_str().into()),
        (Value::Bool(b), _) => Some((*b).into()),
        (Value::Number(n), _) => Some((*n).into()),
        // A text that is not set reads like an empty one; a number or a switch cannot be unset again.
        (Value::Unset, kind) if kind.or_else(|| key.hostd_type()) == Some(HostdType::String) => Some("".into()),
        _ => None,
    };
    let kind = kind.unwrap_or_else(|| match (now, key.hostd_type()) {
        (Value::Text(_), _) => HostdType::String,
        (Value::Bool(_), _) => HostdType::Bool,
        (Value::Number(_), Some(HostdType::Long)) => HostdType::Long,
        (Value::Number(_), _) => HostdType::Int,
        (_, Some(kind)) => kind,
        (_, None) => match value {
            Scalar::Bool(_) => HostdType::Bool,
            Scalar::Int(_) => HostdType::Int,
            Scalar::Float(_) | Scalar::Text(_) => HostdType::String,
        },
    });
    let now = now.text();
    let (want, same) = match kind {
        HostdType::Bool => {
            let want = value.as_bool().ok_or_else(|| refused(key, "hostd keeps true or false here"))?;
            (want.to_string(), super::super::sysargs::truth(&now) == Some(want))
        }
        HostdType::Int | HostdType::Long => {
            let want = value.as_int().ok_or_else(|| refused(key, "hostd keeps a whole number here"))?;
            (want.to_string(), now.parse() == Ok(want))
        }
        HostdType::String => {
            if let Scalar::Bool(b) = value {
                return Err(refused(
                    key,
                    &format!("hostd keeps a text here; write \"{b}\" in quotes if that is meant"),
                )
                .into());
            }
            let want = value.to_string();
            // Config.Etc.issue and motd are files: the line break at their end is not part of the value.
            let same = now.trim_end_matches('\n') == want.trim_end_matches('\n');
            (want, same)
        }
    };
    let change = (!same).then(|| {
        let update = Command::new("vim-cmd hostsvc/advopt/update").arg(&key.dotted).arg(kind.word()).arg(&want);
        change(key, (&now, &want), undo, update, key.needs_reboot().is_some())
    });
    Ok(Found { value: now, change })
}

fn refused(key: &Key, text: &str) -> StepError {
    StepError::Refused(format!("setting {}: {text}", key.dotted))
}

/// A read without a value: a key that hostd does not have, or hostd itself in trouble. What vim-cmd prints for an
/// unknown key was not recorded: the API's fault for it is `InvalidName`.
fn no_value(read: &Command, output: &Output) -> Trouble {
    let text = format!("{}\n{}", output.stdout, output.stderr);
    let failed = failure(output);
    if failed.as_ref().is_none_or(|f| f.class == Class::Other)
        && ["InvalidName", "nvalid name", "not found", "does not exist", "Unable to find"]
            .iter()
            .any(|w| text.contains(w))
    {
        return Trouble::Missing(String::new());
    }
    let message = match failed {
        Some(f) => f.said(),
        None if text.trim().is_empty() => return Trouble::Missing(String::new()),
        None => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    Trouble::Error(StepError::Command { command: read.shown().to_owned(), message, advice: None })
}

/// A fault is a dump of its own (`(vmodl.fault.InvalidArgument) {`), whatever the exit code.
pub fn judge(action: &Command, output: &Output) -> Result<Verdict, StepError> {
    let text = format!("{}\n{}", output.stdout, output.stderr);
    let advice = || {
        Some(
            "If the host wants another type, say `type: long`, `int`, `string` or `bool` in the step. A key that the \
             host only shows (ScratchConfig.CurrentScratchLocation, for one) cannot be set."
                .to_owned(),
        )
    };
    if text.contains("fault.") {
        let message = text.split_whitespace().collect::<Vec<_>>().join(" ");
        return Err(StepError::Command { command: action.shown().to_owned(), message, advice: advice() });
    }
    default_judge(action, output).map_err(|error| match error {
        StepError::Command { command, message, .. } => StepError::Command { command, message, advice: advice() },
        other => other,
    })
}
