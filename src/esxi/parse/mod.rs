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
    let silent = |i: &Invocation| SILENT.contains(&i.program.as_str());
    let same = |i: &Invocation| i.program == all[last].program && i.args.first() == all[last].args.first();
    let asked = &all[last];
    if all.iter().enumerate().all(|(n, i)| n == last || silent(i) || same(i) && i.args.get(..3) == asked.args.get(..3))
    {
        return one(asked, command, output);
    }
    let before = match &all[..last] {
        [only] if readable(only) => Some(only),
        _ => None,
    };
    let behind = all[last + 1..].iter().any(|i| !silent(i));
    match several(before, asked, behind, command, output) {
        Some(parsed) => Ok(parsed),
        None => match one(asked, command, output) {
            Err(_) if !output.stdout.trim().is_empty() => {
                let text = prepare::prepared(asked, command, &output.stdout).text;
                Ok(Parsed::Answer(forms_lines(&text)))
            }
            other => other,
        },
    }
}

/// Programs that print nothing when all is well.
const SILENT: [&str; 17] = [
    "cd", "export", "sleep", "set", "unset", "mkdir", "rm", "touch", "sync", "true", ":", "clear", "exit", "umask",
    "test", "[", "chmod",
];

fn readable(invocation: &Invocation) -> bool {
    esxcli(invocation) || tools::FAMILIES.iter().any(|f| (f.matches)(invocation))
}

fn esxcli(invocation: &Invocation) -> bool {
    matches!(invocation.program.as_str(), "esxcli" | "localcli" | "esxcli.py")
}

fn forms_lines(text: &str) -> Value {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(Value::from).collect()
}

/// Most lines of other commands that are taken away to find the answer of one.
const OTHERS: usize = 60;

/// The answer of one of several commands whose outputs follow one another: the longest text that is one, where what
/// stands before it is what the command before prints.
fn several(
    before: Option<&Invocation>,
    asked: &Invocation,
    behind: bool,
    command: &str,
    output: &Output,
) -> Option<Parsed> {
    let text = prepare::prepared(asked, command, &output.stdout).text;
    let lines: Vec<&str> = text.lines().collect();
    let most = if text.len() > 200_000 { 5 } else { OTHERS };
    let answer = |invocation: &Invocation, part: &[&str]| {
        let part = Output { stdout: part.join("\n") + "\n", stderr: String::new(), code: 0, seconds: 0.0 };
        one(invocation, "", &part).ok().filter(|p| matches!(p, Parsed::Answer(_)))
    };
    let blank = |part: &[&str]| part.iter().all(|l| l.trim().is_empty());
    for cut in 0..=(if behind { most.min(8) } else { 0 }) {
        let end = lines.len().checked_sub(cut)?;
        for start in (1..=most.min(end)).chain([0]) {
            let (front, rest) = lines[..end].split_at(start);
            if blank(rest) || start > 0 && (blank(front) || rest[0].trim().is_empty()) {
                continue;
            }
            if start > 0 && before.is_some_and(|b| answer(b, front).is_none()) {
                continue;
            }
            if let Some(found) = answer(asked, rest) {
                return Some(found);
            }
        }
    }
    None
}

/// Reads what one command printed.
fn one(invocation: &Invocation, command: &str, output: &Output) -> Result<Parsed, ParseError> {
    let esxcli = esxcli(invocation);
    let family = tools::FAMILIES.iter().find(|f| (f.matches)(invocation));
    let prepared = prepare::prepared(invocation, command, &output.stdout);
    let output = Output { stdout: prepared.text, ..output.clone() };
    if esxcli && let Some(help) = esxcli::help::asked(invocation, &output.stdout) {
        return Ok(Parsed::Answer(help));
    }
    if let Some(failed) = errors::reported(&output, invocation) {
        return Ok(Parsed::Failed(failed));
    }
    let read = match family {
        Some(family) if !esxcli => (family.read)(invocation, &output.stdout),
        _ => esxcli::read(invocation, &output.stdout),
    };
    match read {
        Ok(value) => Ok(Parsed::Answer(value)),
        Err(error) => match errors::sentence(&output.stdout) {
            Some(failed) => Ok(Parsed::Failed(failed)),
            None => {
                let line = prepared.numbers.get(error.line.wrapping_sub(1)).copied().unwrap_or(error.line);
                Err(ParseError::Form { command: command.trim().to_owned(), error: FormError { line, ..error } })
            }
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
