//! What a command printed.

use std::collections::HashMap;
use std::sync::Arc;

use super::command::Command;

/// The whole result of one command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The exit code; esxcli knows only 0 and 1, and exits 0 for a usage text.
    pub code: i32,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Output {
    /// A successful output with this text, for tests and readers.
    pub fn ok(stdout: impl Into<String>) -> Self {
        Self { stdout: stdout.into(), ..Self::default() }
    }
}

/// Outputs by command text: what was observed of a host.
#[derive(Debug, Clone, Default)]
pub struct Outputs {
    by_text: HashMap<String, Arc<Output>>,
}

impl Outputs {
    /// Stores the output of a command, replacing an older one. One that several of these share is in memory once.
    pub fn insert(&mut self, command: &Command, output: impl Into<Arc<Output>>) {
        self.by_text.insert(command.text().to_owned(), output.into());
    }

    /// The output of a command, if it was read.
    pub fn get(&self, command: &Command) -> Option<&Output> {
        self.by_text.get(command.text()).map(Arc::as_ref)
    }

    /// Keeps the outputs of commands for whose text `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.by_text.retain(|text, _| keep(text));
    }

    /// How many outputs are stored.
    pub fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Whether nothing was read.
    pub fn is_empty(&self) -> bool {
        self.by_text.is_empty()
    }
}
