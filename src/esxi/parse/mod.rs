//! What any ESXi command printed, as JSON.
//!
//! One reader per form of output stands in [`crate::esxi::forms`]; families of commands say which form a command
//! prints. A text that does not have that form is an error, or the error that the command printed.

pub mod errors;
pub mod esxcli;
pub mod family;
pub mod invocation;
mod paste;
mod prepare;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_copies;
pub mod tools;
mod typed;

use serde_json::{Value, json};

pub use family::{Family, Invocation};
pub use typed::typed;

use crate::esxi::failure::{Class, Failure};
use crate::esxi::forms::FormError;
use crate::esxi::output::Output;

/// What an output turned out to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Parsed {
    /// The answer.
    Answer(Value),
    /// The command said that it failed.
    Failed(Failure),
}

impl Parsed {
    /// As `esxprep parse` prints it.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Answer(value) => value.clone(),
            Self::Failed(f) => {
                let message = match &f.class {
                    // `[MemoryError]` comes without a message (recorded on 8.0: error-profile-update-memoryerror).
                    Class::Software(name) if f.message.is_empty() => name,
                    _ => &f.message,
                };
                json!({ "error": { "class": f.class.name(), "message": message } })
            }
        }
    }
}

/// Why an output could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No family knows the command.
    #[error("{0:?} is not a command that can be read; see --list")]
    UnknownCommand(String),
    /// The text is not what the command prints.
    #[error("this is not what `{command}` prints: {error}")]
    Form {
        /// The command.
        command: String,
        /// Where and why.
        error: FormError,
    },
}

/// Reads what a command printed. Values are the printed text, trimmed.
///
/// # Errors
/// An unknown command, and a text that is neither what the command prints nor an error of the command.
pub fn parse(command: &str, output: &Output) -> Result<Parsed, ParseError> {
    let mut all = invocation::invocations(command);
    let Some(last) = all.iter().rposition(readable) else {
        return Err(ParseError::UnknownCommand(all.pop().unwrap_or_default().program));
    };
    let asked = &all[last];
    let read = one(asked, command, output);
    // What several commands printed one after the other cannot be parted for sure: its lines, where it is not all
    // what the last one prints.
    let alone = all.iter().enumerate().all(|(n, i)| n == last || SILENT.contains(&i.program.as_str()) || i == asked);
    match read {
        Err(ParseError::Form { .. }) if !alone && !output.stdout.trim().is_empty() => {
            let text = prepare::prepared(asked, command, &output.stdout).text;
            Ok(Parsed::Answer(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(Value::from).collect()))
        }
        read => read,
    }
}

/// Programs that print nothing when all is well.
const SILENT: [&str; 17] = [
    "cd", "export", "sleep", "set", "unset", "mkdir", "rm", "touch", "sync", "true", ":", "clear", "exit", "umask",
    "test", "[", "chmod",
];

fn readable(invocation: &Invocation) -> bool {
    esxcli(invocation) || tools::find(invocation).is_some()
}

fn esxcli(invocation: &Invocation) -> bool {
    matches!(invocation.program.as_str(), "esxcli" | "localcli" | "esxcli.py")
}

/// Reads what one command printed.
fn one(invocation: &Invocation, command: &str, output: &Output) -> Result<Parsed, ParseError> {
    if !esxcli(invocation) {
        return tools::parsed(command, invocation, output);
    }
    let prepared = prepare::prepared(invocation, command, &output.stdout);
    let output = Output { stdout: prepared.text.clone(), ..output.clone() };
    if let Some(help) = esxcli::help::asked(invocation, &output.stdout) {
        return Ok(Parsed::Answer(help));
    }
    if let Some(failed) = errors::reported(&output, invocation) {
        return Ok(Parsed::Failed(failed));
    }
    match esxcli::read(invocation, &output.stdout) {
        Ok(value) => Ok(Parsed::Answer(value)),
        Err(error) => match errors::sentence(&output.stdout) {
            Some(failed) => Ok(Parsed::Failed(failed)),
            None => Err(prepared.refused(command, error)),
        },
    }
}

/// A line of `--list`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Listed {
    /// The family's name.
    pub name: String,
    /// What it prints and how that becomes JSON.
    pub about: String,
    /// One command line.
    pub example: String,
}

/// All families: esxcli commands, then everything else.
pub fn listed() -> Vec<Listed> {
    let tools = tools::FAMILIES.iter().map(|f| Listed {
        name: f.name.to_owned(),
        about: f.about.to_owned(),
        example: f.example.to_owned(),
    });
    esxcli::listed().into_iter().chain(tools).collect()
}
