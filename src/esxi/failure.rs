//! How a command says that it failed. esxcli prints errors on standard output and exits 0 for a usage text, so
//! the text decides, not the exit code alone.

use super::output::Output;

/// A failure that the command itself reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure it is.
    pub class: Class,
    /// The message, joined to one line where it was hard-wrapped.
    pub message: String,
}

impl Failure {
    /// The message; where the host printed none, what its form says (recorded on 8.0: error-profile-update-memoryerror
    /// has a class and not a word).
    pub fn said(&self) -> String {
        if !self.message.trim().is_empty() {
            return self.message.clone();
        }
        match &self.class {
            Class::Software(name) => format!("[{name}] without a message"),
            Class::UnknownCommand => "unknown command".into(),
            Class::Usage | Class::UsageText => "a usage error without a message".into(),
            Class::HostdDown => "hostd does not answer".into(),
            Class::NotFound => "the shell does not know the program".into(),
            _ => "it failed without a message".into(),
        }
    }
}

/// Kinds of failure, told apart by form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// `Error: Unknown command or namespace ...`: this release does not have the command.
    UnknownCommand,
    /// Any other `Error: ...` usage error.
    Usage,
    /// A usage text alone, exit code 0: the command was incomplete.
    UsageText,
    /// A ` [ClassName]` block of `esxcli software`, with the name.
    Software(String),
    /// `Connect to localhost failed: Connection failure`: hostd is down or still starting.
    HostdDown,
    /// The shell does not know the program.
    NotFound,
    /// No session: the host that esxcli was pointed at does not answer, or is not trusted.
    Connection,
    /// The user name or password was refused.
    Login,
    /// The user may not do this.
    PermissionDenied,
    /// The program died: a traceback instead of an answer.
    Crashed,
    /// The host refused or could not do it: a sentence without a class.
    Fault,
    /// Anything else that ended with a non-zero exit code.
    Other,
}

impl Class {
    /// A stable word for scripts: lower case, words joined by `_`. A class of `esxcli software` is its own name in
    /// that form (`NoMatchError`: `no_match_error`).
    pub fn name(&self) -> String {
        let word = match self {
            Self::UnknownCommand => "unknown_command",
            Self::Usage => "usage",
            Self::UsageText => "usage",
            Self::Software(name) => return snake(name),
            Self::HostdDown => "hostd_down",
            Self::NotFound => "program_not_found",
            Self::Connection => "connection_failed",
            Self::Login => "login_failed",
            Self::PermissionDenied => "permission_denied",
            Self::Crashed => "crashed",
            Self::Fault => "fault",
            Self::Other => "failed",
        };
        word.to_owned()
    }
}

fn snake(name: &str) -> String {
    let mut out = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && lower {
            out.push('_');
        }
        lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// The failure in an output, or `None` when it is an answer.
///
/// Sources: the esxcli client's own code (errors on standard output, `Error: ` for usage errors, exit code 1)
/// and recorded outputs of 5.x to 8.0.
pub fn failure(output: &Output) -> Option<Failure> {
    let text = output.stdout.trim_start_matches(['\r', '\n']);
    let first = text.lines().next().unwrap_or("").trim_end();
    let make = |class, message: String| Some(Failure { class, message });

    if text.contains("Connect to localhost failed") || output.stderr.contains("Connect to localhost failed") {
        return make(Class::HostdDown, "Connect to localhost failed: Connection failure".into());
    }
    // The title of a record is a name that somebody gave. Errors and usage texts are followed by an empty line or by
    // deeper lines (recorded: error-missing-required-three), a title by `   Label: value`.
    let titled = output.code == 0
        && text
            .lines()
            .nth(1)
            .and_then(|l| l.strip_prefix("   "))
            .is_some_and(|l| !l.starts_with(' ') && l.contains(':'));
    if titled && (first.starts_with("Error: ") || first.starts_with("Usage: ")) {
        return None;
    }
    if let Some(rest) = first.strip_prefix("Error: ") {
        let mut message = rest.to_owned();
        for line in text.lines().skip(1).take_while(|l| l.starts_with("       ")) {
            message.push_str("; ");
            message.push_str(line.trim());
        }
        let class = if rest.starts_with("Unknown command") { Class::UnknownCommand } else { Class::Usage };
        return make(class, message);
    }
    if let Some(name) = first.trim().strip_prefix('[').and_then(|r| r.strip_suffix(']'))
        && first.starts_with(' ')
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        let lines: Vec<&str> = text
            .lines()
            .skip(1)
            .map(str::trim)
            .filter(|l| !l.is_empty() && !l.starts_with("Please refer to the log file"))
            .collect();
        return make(Class::Software(name.to_owned()), lines.join(" "));
    }
    if first.starts_with("Usage: esxcli") && output.code == 0 {
        return make(Class::UsageText, incomplete(first));
    }
    if output.code == 127 || output.stderr.contains(": not found") && output.code != 0 {
        return make(Class::NotFound, output.stderr.trim().to_owned());
    }
    if output.code != 0 {
        let said = [text, output.stderr.as_str()].map(|t| t.split_whitespace().collect::<Vec<_>>().join(" ")).join(" ");
        let said = said.trim();
        let message =
            if said.is_empty() { format!("exit code {} and no message", output.code) } else { said.to_owned() };
        return make(Class::Other, message);
    }
    None
}

/// The message for a usage text in the place of an answer, with its first line.
pub fn incomplete(usage: &str) -> String {
    format!("the command was incomplete, it printed its usage. {}", usage.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn out(stdout: &str, code: i32) -> Output {
        Output { stdout: stdout.into(), code, ..Output::default() }
    }

    #[test]
    fn tells_the_forms_apart() {
        // 6.0/error-unknown-command-sources-profile-update
        let f = failure(&out("Error: Unknown command or namespace software sources profile update\n\n", 1)).unwrap();
        assert_eq!(f.class, Class::UnknownCommand);
        // unknown/error-missing-required-three
        let f = failure(&out(
            "Error: Missing required parameter -t|--trusted\n       Missing required parameter -v|--vfid\n\nUsage: esxcli intnet\n",
            1,
        ))
        .unwrap();
        assert_eq!(f.class, Class::Usage);
        assert!(f.message.contains("--vfid"));
        // 8.0/error-profile-update-memoryerror
        let f = failure(&out(" [MemoryError]\n Please refer to the log file for more details.\n", 1)).unwrap();
        assert_eq!(f, Failure { class: Class::Software("MemoryError".into()), message: String::new() });
        assert_eq!(f.said(), "[MemoryError] without a message");
        assert_eq!(failure(&out("", 127)).unwrap().said(), "the shell does not know the program");
        // 5.x/error-hostd-down-connection-failure
        assert_eq!(
            failure(&out("Connect to localhost failed: Connection failure\n", 1)).unwrap().class,
            Class::HostdDown
        );
        // 6.0/execution-fault-plain-text
        assert_eq!(failure(&out("Cannot use _ALL_DS as default datastore.\n", 1)).unwrap().class, Class::Other);
        assert_eq!(failure(&out("Usage: esxcli network {cmd} [cmd options]\n", 0)).unwrap().class, Class::UsageText);
        assert!(failure(&out("Enabled\n", 0)).is_none());
        // A vSwitch of that name.
        assert!(failure(&out("Error: x\n   Name: Error: x\n   Class: cswitch\n", 0)).is_none());
        assert!(failure(&out("Error: x\n\n", 0)).is_some());
        assert!(failure(&out("", 0)).is_none());
    }
}
