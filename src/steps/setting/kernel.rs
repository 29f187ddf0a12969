//! Boot options of the VMkernel: `esxcli system settings kernel`. What is configured acts at the next boot.

use super::super::sysargs::{Scalar, nearest_text, truth};
use super::{Change, Found, Trouble, Wanted, change, shown};
use crate::esxi::Command;
use crate::esxi::settings::Key;
use crate::steps::{Effect, Seen, StepError};

/// The read that every boot option shares.
pub fn list() -> Command {
    Command::esxcli("system settings kernel list")
}

/// Whether two printed values are the same: `true` and `TRUE` are (recorded on 5.5: system-settings-kernel-list-o),
/// numbers are compared as numbers, anything else exactly.
fn same(a: &str, b: &str) -> bool {
    let number = |t: &str| match t.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok(),
        None => t.parse().ok(),
    };
    match (truth(a), truth(b), number(a), number(b)) {
        (Some(a), Some(b), ..) => a == b,
        (_, _, Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

pub fn look(key: &Key, wanted: &Wanted, seen: &Seen<'_>) -> Result<Found, Trouble> {
    let rows = seen.table(&list())?;
    let name = key.boot_option();
    // The columns' order differs by release: by heading.
    let cell = |row: &crate::esxi::forms::Record, column: &str| row.get(column).cloned().unwrap_or_default();
    let names: Vec<String> = rows.iter().map(|r| cell(r, "Name")).collect();
    let Some(row) = rows.iter().find(|r| cell(r, "Name").eq_ignore_ascii_case(name)) else {
        return Err(Trouble::Missing(nearest_text(name, names.iter().map(String::as_str))));
    };
    let (configured, running) = (cell(row, "Configured"), cell(row, "Runtime"));
    let is_bool = cell(row, "Type").eq_ignore_ascii_case("bool");
    let want = match wanted {
        Wanted::Judged => return Ok(Found { value: configured, change: None }),
        Wanted::Default => cell(row, "Default"),
        Wanted::Value(value) if is_bool => match value {
            Scalar::Int(n @ (0 | 1)) => Some(*n == 1),
            other => other.as_bool(),
        }
        .map(|b| if b { "TRUE".to_owned() } else { "FALSE".to_owned() })
        .ok_or_else(|| StepError::Refused(format!("setting {}: {value} is not true or false", key.dotted)))?,
        Wanted::Value(value) => {
            let numeric = cell(row, "Type").to_ascii_lowercase().contains("int");
            if numeric && value.as_int().is_none() && !value.to_string().starts_with("0x") {
                let text = format!("setting {}: {value} is not a whole number", key.dotted);
                return Err(StepError::Refused(text).into());
            }
            value.to_string()
        }
    };
    let name = cell(row, "Name");
    let change = if !same(&configured, &want) {
        let set = Command::esxcli("system settings kernel set").opt("-s", name);
        let set = if want.starts_with('-') { set.opt("--value", &want) } else { set.opt("-v", &want) };
        // Taken back before the next boot, it is what runs already.
        let reboot = !row.contains_key("Runtime") || !same(&running, &want);
        // A switch that shows neither true nor false cannot be asked for.
        let undo = (!is_bool || truth(&configured).is_some()).then(|| configured.as_str().into());
        Some(change(key, (&configured, &want), undo, set, reboot))
    } else if !same(&running, &want) && row.contains_key("Runtime") {
        Some(Change {
            summary: format!("setting {} is configured and waits for a reboot", key.dotted),
            before: format!("{} running", shown(&running)),
            after: shown(&want),
            effect: Effect { reboot: true, ..Effect::default() },
            ..Change::default()
        })
    } else {
        None
    };
    Ok(Found { value: configured, change })
}
