//! `esxprep parse`.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::esxi::Output;
use crate::esxi::parse::{self, ParseError, Parsed};

/// Exit code when the command itself had printed an error.
const EXIT_FAILED: u8 = 3;
/// Exit code when the text is not what the command prints.
const EXIT_UNREADABLE: u8 = 1;

/// Shown below the options.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  the answer is on standard output
  1  the text is not what the command prints
  2  usage, or a command that cannot be read
  3  the command itself had failed: {\"error\": {\"class\", \"message\"}} is on standard output";

/// `esxprep parse`.
#[derive(Debug, Args)]
pub struct ParseArgs {
    /// The command as it was typed on the host, in several words or as one; a pipe as `'|'` or inside the one word.
    #[arg(last = true, value_name = "ESXI COMMAND", required_unless_present = "list")]
    command: Vec<String>,
    /// The exit code that the command ended with.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    exit: i32,
    /// A file with what it printed on standard error.
    #[arg(long, value_name = "FILE")]
    stderr: Option<PathBuf>,
    /// Booleans and integers as JSON ones.
    #[arg(long)]
    typed: bool,
    /// One line instead of an indented text.
    #[arg(long)]
    compact: bool,
    /// Name the families of commands that can be read.
    #[arg(long, conflicts_with = "command")]
    list: bool,
    /// With --list: as JSON.
    #[arg(long, requires = "list")]
    json: bool,
}

/// Reads an output from standard input and prints it as JSON.
pub fn parse(args: &ParseArgs) -> ExitCode {
    if args.list {
        return list(args);
    }
    let stderr = match args.stderr.as_ref().map(|f| (f, std::fs::read(f))) {
        Some((file, Err(error))) => return super::fail(&format!("cannot read {}: {error}", file.display())),
        Some((_, Ok(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        None => String::new(),
    };
    if std::io::stdin().is_terminal() {
        tell!("paste what the command printed, then Ctrl-D");
    }
    let mut bytes = Vec::new();
    if let Err(error) = std::io::stdin().lock().read_to_end(&mut bytes) {
        return super::fail(&format!("cannot read standard input: {error}"));
    }
    let stdout = decoded(&bytes);
    let output = Output { stdout, stderr, code: args.exit, seconds: 0.0 };
    let parsed = match parse::parse(&command(&args.command), &output) {
        Ok(parsed) => parsed,
        Err(error @ ParseError::UnknownCommand(_)) => return super::fail(&error.to_string()),
        Err(error @ ParseError::Form { .. }) => {
            tell!("error: {error}");
            return ExitCode::from(EXIT_UNREADABLE);
        }
    };
    let value = parsed.to_json();
    let failed = matches!(parsed, Parsed::Failed(_));
    let value = if args.typed && !failed { parse::typed(value) } else { value };
    let text = if args.compact { value.to_string() } else { format!("{value:#}") };
    let printed = super::print_json(format!("{text}\n"));
    if failed { ExitCode::from(EXIT_FAILED) } else { printed }
}

/// A file's text. PowerShell saves what is redirected as UTF-16 with a mark in front.
fn decoded(bytes: &[u8]) -> String {
    let wide = |join: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|c| join([c[0], c[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// The command line as one text. Several words are taken as they are; only `|` and redirections keep their meaning.
fn command(words: &[String]) -> String {
    if let [one] = words {
        return one.clone();
    }
    let quoted = words.iter().map(|w| {
        let shell = w.starts_with('|') || ["2>&1", "2>/dev/null", ">/dev/null", ";", "&&"].contains(&w.as_str());
        if shell { w.clone() } else { shell_words::quote(w).into_owned() }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

fn list(args: &ParseArgs) -> ExitCode {
    let all = parse::listed();
    if args.json {
        return match serde_json::to_string_pretty(&all) {
            Ok(text) => super::print_json(format!("{text}\n")),
            Err(error) => super::fail(&format!("cannot print the list: {error}")),
        };
    }
    let width = all.iter().map(|f| f.name.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for family in all {
        text.push_str(&format!("{:width$}  {}\n{:width$}  {}\n", family.name, family.about, "", family.example));
    }
    super::print(text)
}
