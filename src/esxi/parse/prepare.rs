//! What people copy along with an output and is no part of it: colours, a prompt line in front or behind, the
//! seconds of `time`.

use super::ParseError;
use super::family::Invocation;
use super::invocation::Esxcli;
use super::paste::{self, Numbered};
use crate::esxi::forms::FormError;

/// A text to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The lines that the command printed.
    pub text: String,
    /// For each of them its 1-based number in what was given.
    pub numbers: Vec<usize>,
}

impl Prepared {
    /// An error in the text, with the line's number in what was given.
    pub fn refused(&self, command: &str, error: FormError) -> ParseError {
        let line = self.numbers.get(error.line.wrapping_sub(1)).copied().unwrap_or(error.line);
        ParseError::Form { command: command.trim().to_owned(), error: FormError { line, ..error } }
    }
}

/// The text without what stands around it and what a copy did to its lines.
pub fn prepared(invocation: &Invocation, command: &str, text: &str) -> Prepared {
    let esxcli = matches!(invocation.program.as_str(), "esxcli" | "localcli" | "esxcli.py");
    let own = esxcli && {
        let asked = Esxcli::new(&invocation.args);
        asked.formatter.is_none() && asked.name() != "system welcomemsg get"
    };
    let text = paste::plain(text);
    let text = if own { paste::unescaped(&text).unwrap_or(text) } else { text };
    let mut all: Vec<Numbered> =
        text.lines().enumerate().map(|(n, l)| (n + 1, l.trim_end_matches('\r').to_owned())).collect();
    // What a login prints is all that `ssh host` alone prints.
    if invocation.program != "ssh" {
        paste::unframed(&mut all);
    }
    if own {
        // Numbers and times also stand in front of prompts.
        paste::restored(&mut all, &invocation.filters);
    }
    let (numbers, mut lines): (Vec<usize>, Vec<String>) = all.into_iter().unzip();
    // The prompt with the command (some copies have it twice), and its further lines when the terminal broke it.
    for _ in 0..2 {
        let Some(at) = lines.iter().position(|l| !l.trim().is_empty()) else { break };
        let Some(typed) = prompt(&lines[at], invocation, command) else { break };
        lines[at].clear();
        let (wanted, mut typed) = (squeezed(command), squeezed(&typed));
        let mut next = at + 1;
        while typed != wanted
            && wanted.starts_with(&typed)
            && let Some(line) = lines.get_mut(next)
            && !line.trim().is_empty()
            && wanted.starts_with(&(typed.clone() + &squeezed(line)))
        {
            typed += &squeezed(line);
            line.clear();
            next += 1;
        }
    }
    // What was typed next, and all behind it; then a prompt that stands alone.
    if let Some(at) = lines.iter().position(|l| next_command(l.trim())) {
        lines[at..].iter_mut().for_each(String::clear);
    }
    if let Some(at) = lines.iter().rposition(|l| !l.trim().is_empty())
        && bare_prompt(lines[at].trim())
    {
        lines[at].clear();
    }
    if command.trim_start().starts_with("time ") {
        for (taken, line) in lines.iter_mut().rev().filter(|l| !l.trim().is_empty()).enumerate() {
            let word = line.split_whitespace().next().unwrap_or("");
            if taken == 3 || !["real", "user", "sys"].contains(&word) {
                break;
            }
            line.clear();
        }
    }
    let mut out = lines.join("\n");
    out.push('\n');
    Prepared { text: out, numbers }
}

fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// What was typed behind a prompt, when this line is one; the command alone counts too.
fn prompt(line: &str, invocation: &Invocation, command: &str) -> Option<String> {
    let line = line.trim();
    if !command.trim().is_empty()
        && let Some(before) = squeezed(line).strip_suffix(&squeezed(command))
        && (before.is_empty() || before.len() < 120 && before.ends_with(['#', '$', '%', '>', ']']))
    {
        return Some(command.to_owned());
    }
    let typed = behind_prompt(line)?.trim();
    let first = super::invocation::invocation(typed).program;
    (typed.is_empty() || first == invocation.program).then(|| typed.to_owned())
}

/// The text behind a shell's prompt: `[root@esx:~] `, `~ # `, `/vmfs/volumes # `, `root@esx:~# `, `# `, `$ `.
fn behind_prompt(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix('[') {
        let (inside, behind) = rest.split_once(']')?;
        let plain = inside.contains('@') && !inside.chars().any(char::is_control);
        return plain.then(|| behind.trim_start().trim_start_matches(['#', '$']).trim_start());
    }
    for mark in ["# ", "$ ", "> "] {
        if let Some((before, behind)) = line.split_once(mark) {
            let before = before.trim();
            let folder = before.is_empty() || before == "~" || before.starts_with('/') && !before.contains(' ');
            let user = before.contains('@') && !before.contains(' ');
            if folder || user {
                return Some(behind);
            }
        }
    }
    None
}

/// Whether a line is a prompt of 6.0 and later with a command behind it.
fn next_command(line: &str) -> bool {
    let Some((inside, behind)) = line.strip_prefix('[').and_then(|r| r.split_once(']')) else { return false };
    let at = inside.find('@').unwrap_or(0);
    let path = inside.rfind(':').map_or("", |i| &inside[i + 1..]);
    at > 0 && at < inside.len() && (path == "~" || path.starts_with('/')) && behind.starts_with(' ')
}

/// Whether a last line is nothing but a prompt.
fn bare_prompt(line: &str) -> bool {
    if ["~ #", "~#", "/ #"].contains(&line) {
        return true;
    }
    line.starts_with('[')
        && line.contains('@')
        && line.contains(":")
        && (line.ends_with(']') || line.ends_with("]#") || line.ends_with("] #"))
        && !line.contains(' ')
        || behind_prompt(line).is_some_and(|rest| {
            let word = rest.split_whitespace().next().unwrap_or("");
            !line.starts_with(['#', '$', '>']) && (word == "exit" || word == "esxcli")
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::parse::invocation::invocation;

    fn ready(command: &str, text: &str) -> String {
        prepared(&invocation(command), command, text).text.trim().to_owned()
    }

    #[test]
    fn prompts_are_taken_out() {
        let c = "esxcli system maintenanceMode get";
        for text in [
            "% esxcli system maintenanceMode get\nEnabled\n",
            "[root@esx1:/tmp] esxcli system maintenanceMode get\nEnabled\n[root@esx1:/tmp] ls -l\ntotal 3\n",
            "[root@esx1:~] esxcli system maintenanceMode get\n[root@esx1:~] esxcli system maintenanceMode get\nEnabled\n",
            "[root@esx1:~] esxcli system maintenanceMode get\nEnabled\n[root@esx1:~] \n",
            "~ # esxcli system maintenanceMode get\r\nEnabled\r\n~ # ",
            "\u{1b}[01;32mroot@esx:~# esxcli system maintenanceMode get\nEnabled\n",
            "esxcli system maintenanceMode get\nEnabled\n",
            "% esxcli system maintenanceMode get\nEnabled\n",
            "[root@esx1:/tmp] esxcli system maintenanceMode get\nEnabled\n[root@esx1:/tmp] ls -l\ntotal 3\n",
            "[root@esx1:~] esxcli system maintenanceMode get\n[root@esx1:~] esxcli system maintenanceMode get\nEnabled\n",
            "[root@esx1:~] esxcli system mainten\nanceMode get\nEnabled\n",
        ] {
            assert_eq!(ready(c, text), "Enabled", "{text:?}");
        }
        assert_eq!(ready(c, "# a comment\n"), "# a comment");
        assert_eq!(ready("time esxcli x get", "Enabled\nreal\t0m 1s\nuser 0m\nsys 0m\n"), "Enabled");
    }
}
