//! Commands that not every release has.

use super::sysargs;
use super::{Seen, StepError};
use crate::esxi::failure::{Class, failure};
use crate::esxi::forms::Record;
use crate::esxi::{Command, Output, Version};

/// The answer of a command that came with a release. Where an older one does not know it, what it is about (`what`)
/// has no meaning.
pub(crate) fn known<'a>(seen: &Seen<'a>, read: &Command, what: &str, since: Version) -> Result<&'a Output, StepError> {
    match failure(seen.raw(read)?) {
        Some(failed) if failed.class == Class::UnknownCommand && seen.host.version < since => {
            Err(StepError::NotApplicable(format!(
                "ESXi {} does not know `{}`: {what} came with {}.{}",
                seen.host.version,
                read.text(),
                since.major,
                since.minor,
            )))
        }
        _ => seen.output(read),
    }
}

/// The single `Label: value` record of such a command.
pub(crate) fn record(seen: &Seen<'_>, read: &Command, what: &str, since: Version) -> Result<Record, StepError> {
    known(seen, read, what, since)?;
    seen.record(read)
}

/// A truth value of a record, by its label.
pub(crate) fn truth(record: &Record, label: &str, read: &Command) -> Result<bool, StepError> {
    let value = record.get(label).and_then(|v| sysargs::truth(v));
    value.ok_or_else(|| StepError::unreadable(read, format!("no `{label}:` with true or false")))
}
