//! What a command line asks for, and the families of commands whose output can be read.

use serde_json::Value;

use crate::esxi::forms::FormError;

/// A command line taken apart: the program that prints, its arguments, and the filters behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Invocation {
    /// The program's name without its folder; `/etc/init.d/NAME` keeps its whole path.
    pub program: String,
    /// Its arguments, unquoted.
    pub args: Vec<String>,
    /// The words of each filter in the pipe behind it (`grep -i x`, `head -3`, `awk ...`).
    pub filters: Vec<Vec<String>>,
}

impl Invocation {
    /// Whether a filter stands between the program and the output: heading lines or parts may be missing.
    pub fn filtered(&self) -> bool {
        !self.filters.is_empty()
    }

    /// Whether one of the arguments is this word.
    pub fn has(&self, word: &str) -> bool {
        self.args.iter().any(|a| a == word)
    }
}

/// Commands whose output has the same form and meaning.
pub struct Family {
    /// A short name for `--list`, for example `esxcfg-vmknic`.
    pub name: &'static str,
    /// What it prints and how that becomes JSON, one line.
    pub about: &'static str,
    /// One command line of it.
    pub example: &'static str,
    /// Whether a command line belongs here.
    pub matches: fn(&Invocation) -> bool,
    /// Reads the text that it printed (already known not to be an error of the command). Values are the printed
    /// text, trimmed: always strings, never numbers or booleans.
    pub read: fn(&Invocation, &str) -> Result<Value, FormError>,
}
