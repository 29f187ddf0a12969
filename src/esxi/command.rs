//! The only maker of command text. Every word that did not come from this code's own literals is quoted.

use std::fmt;
use std::time::Duration;

/// A command line for the host's `/bin/sh`, built from words.
///
/// Literal words (from [`Command::new`] and [`Command::words`]) go in as they are; every argument is quoted
/// when it holds anything beyond a conservative set of characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Command {
    text: String,
    stdin: Option<Vec<u8>>,
    timeout: Option<Duration>,
    secret: bool,
}

impl Command {
    /// Starts a command with literal words, for example `esxcli system module list`.
    pub fn new(words: &'static str) -> Self {
        Self::raw(words)
    }

    /// `esxcli` followed by literal words. Errors and results both come on standard output.
    pub fn esxcli(words: &'static str) -> Self {
        Self::raw(format!("esxcli {words}"))
    }

    /// Text that somebody wrote as a command line on purpose (the `run` step). Never build this from values.
    pub fn raw(text: impl Into<String>) -> Self {
        Self { text: text.into(), stdin: None, timeout: None, secret: false }
    }

    /// Appends one quoted argument.
    pub fn arg(mut self, value: impl AsRef<str>) -> Self {
        self.text.push(' ');
        self.text.push_str(&quote(value.as_ref()));
        self
    }

    /// Appends an option and its value: `-m value`, or `--name=value` for a long option.
    ///
    /// A value that begins with `-` is taken for an option by esxcli, so a long option is always joined
    /// with `=`; give the long form wherever a value may begin with `-`.
    pub fn opt(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.text.push(' ');
        self.text.push_str(name);
        self.text.push(if name.starts_with("--") { '=' } else { ' ' });
        self.text.push_str(&quote(value.as_ref()));
        self
    }

    /// Appends literal words (flags, pipes, redirections).
    pub fn words(mut self, words: &'static str) -> Self {
        self.text.push(' ');
        self.text.push_str(words);
        self
    }

    /// Bytes for the command's standard input. They never appear in a command line, a journal or an event.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// The longest time that the command may take; the engine's default otherwise.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Marks text or output as secret: neither is journalled, recorded or shown.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The text as it goes to the host's shell.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Bytes for standard input, if any.
    pub fn stdin_bytes(&self) -> Option<&[u8]> {
        self.stdin.as_deref()
    }

    /// The time limit, if the command has one of its own.
    pub fn time_limit(&self) -> Option<Duration> {
        self.timeout
    }

    /// Whether text and output must not be shown.
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// The text, or a placeholder for a secret command.
    pub fn shown(&self) -> &str {
        if self.secret { "(command not shown: it carries a secret)" } else { &self.text }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command")
            .field("text", &self.shown())
            .field("stdin", &self.stdin.as_ref().map(Vec::len))
            .finish()
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown())
    }
}

/// Quotes one word for a POSIX shell. Plain words stay as they are so that logs read like typed commands.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_words_stay_and_others_are_quoted() {
        let c = Command::esxcli("network ip interface add").opt("-i", "vmk1").opt("-p", "Management Network (1)");
        assert_eq!(c.text(), "esxcli network ip interface add -i vmk1 -p 'Management Network (1)'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn long_options_are_joined_so_that_a_dash_is_no_option() {
        let c = Command::esxcli("system account set").opt("--description", "-x");
        assert_eq!(c.text(), "esxcli system account set --description=-x");
    }
}
