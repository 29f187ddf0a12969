//! One file a subcommand: arguments in, call, exit code out.

use std::process::ExitCode;

/// Parses the command line, calls the subcommand and returns its exit code.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
