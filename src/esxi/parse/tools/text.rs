//! The lines of an output as people and programs hand it over: carriage returns, a prompt in front, blank lines.

use regex::Regex;
use serde_json::{Map, Value};

use crate::esxi::forms::FormError;
use crate::esxi::parse::Invocation;

/// One line of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// 1-based number in the output.
    pub no: usize,
    /// The line without blanks at its end.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// The line without blanks at both ends.
    pub fn body(&self) -> &'a str {
        self.text.trim()
    }

    /// Whether there is nothing on it.
    pub fn blank(&self) -> bool {
        self.body().is_empty()
    }

    /// Columns of white space in front; a tab reaches to the next multiple of eight.
    pub fn indent(&self) -> usize {
        let mut at = 0;
        for c in self.text.chars() {
            match c {
                ' ' => at += 1,
                '\t' => at = at / 8 * 8 + 8,
                _ => break,
            }
        }
        at
    }

    /// An error about this line.
    pub fn fail<T>(&self, problem: &'static str) -> Result<T, FormError> {
        Err(FormError { line: self.no, problem, text: self.text.to_owned() })
    }
}

/// Every line of an output, blank ones too. A prompt with the command itself in front and a bare prompt at the end
/// are left out, as are blank lines at both ends. Of a progress line that overwrites itself with carriage returns
/// the last state counts, which is what stays on the screen.
pub fn all_lines<'a>(invocation: &Invocation, text: &'a str) -> Vec<Line<'a>> {
    let last_state = |l: &'a str| {
        let l = l.trim_end();
        l.rsplit('\r').find(|part| !part.trim().is_empty()).unwrap_or("").trim_end()
    };
    let mut lines: Vec<Line> =
        text.split('\n').enumerate().map(|(n, l)| Line { no: n + 1, text: last_state(l) }).collect();
    let ends = |lines: &mut Vec<Line>| {
        while lines.last().is_some_and(Line::blank) {
            lines.pop();
        }
        let blank = lines.iter().take_while(|l| l.blank()).count();
        lines.drain(..blank);
    };
    ends(&mut lines);
    if lines.first().is_some_and(|l| typed(invocation, l.body())) {
        lines.remove(0);
    }
    if lines.last().is_some_and(|l| after_prompt(l.body()) == Some("")) {
        lines.pop();
    }
    ends(&mut lines);
    lines
}

/// Whether a line is the command itself behind a shell's prompt: `[root@esx1:~] df -h`, `~ # df`, `$ df`.
fn typed(invocation: &Invocation, line: &str) -> bool {
    let name = invocation.program.rsplit('/').next().unwrap_or("");
    let Some(at) = line.find(name).filter(|_| !name.is_empty()) else { return false };
    let (before, after) = (&line[..at], &line[at + name.len()..]);
    // a folder in front of the program
    let before = match before.rsplit_once(' ') {
        Some((prompt, folder)) if folder.starts_with('/') => prompt,
        None if before.starts_with('/') => "",
        _ => before,
    };
    let before = before.trim_end();
    let prompt = before.len() < 80 && before.ends_with(['#', '$', '>', '%', ']']) && before.matches(' ').count() < 3;
    prompt && (after.is_empty() || after.starts_with([' ', '\t']))
}

/// What follows a shell's prompt, for the bare prompt at the end.
fn after_prompt(line: &str) -> Option<&str> {
    if let Some(rest) = line.strip_prefix('[')
        && let Some((inside, rest)) = rest.split_once(']')
        && inside.contains('@')
    {
        let rest = rest.trim_start();
        return Some(rest.strip_prefix(['#', '$']).unwrap_or(rest).trim_start());
    }
    let (before, rest) = line.split_once('#')?;
    let before = before.trim_end();
    ((before == "~" || before.starts_with('/') || before.contains('@')) && !before.contains(' '))
        .then(|| rest.trim_start())
}

/// The lines that are not blank. A line of dots alone, where somebody left a part out, is no line of any form.
pub fn lines<'a>(invocation: &Invocation, text: &'a str) -> Vec<Line<'a>> {
    // `grep -A` and `-B` part their groups with two dashes
    let dots = |l: &Line| matches!(l.body(), "..." | "[...]" | "…") || invocation.filtered() && l.body() == "--";
    all_lines(invocation, text).into_iter().filter(|l| !l.blank() && !dots(l)).collect()
}

/// The lines that are not blank, dots too.
fn said<'a>(invocation: &Invocation, text: &'a str) -> Vec<Line<'a>> {
    all_lines(invocation, text).into_iter().filter(|l| !l.blank()).collect()
}

/// Sentences and progress: nothing is `""`, one line a string, several lines an array of strings.
pub fn sentences(invocation: &Invocation, text: &str) -> Result<Value, FormError> {
    let lines = said(invocation, text);
    Ok(match lines.as_slice() {
        [] => Value::from(""),
        [one] => Value::from(one.body()),
        many => many.iter().map(|l| Value::from(l.body())).collect(),
    })
}

/// Refuses a text with a line that none of the patterns is; behind a filter anything can be left.
///
/// # Errors
/// The first such line.
pub fn only(invocation: &Invocation, text: &str, patterns: &[&str], problem: &'static str) -> Result<(), FormError> {
    let patterns = compiled(patterns);
    match lines(invocation, text).iter().find(|l| !patterns.iter().any(|p| p.is_match(l.body()))) {
        Some(line) if !invocation.filtered() => line.fail(problem),
        _ => Ok(()),
    }
}

/// An array of the lines, however many there are.
pub fn list(invocation: &Invocation, text: &str) -> Result<Value, FormError> {
    Ok(said(invocation, text).iter().map(|l| Value::from(l.body())).collect())
}

/// A row of cells without headings: keys `_1`, `_2`, ...
pub fn numbered<'a>(cells: impl IntoIterator<Item = &'a str>) -> Value {
    let cells = cells.into_iter().enumerate();
    Value::Object(cells.map(|(n, c)| (format!("_{}", n + 1), Value::from(c.trim()))).collect())
}

/// Puts a value under a key; a key that comes again makes an array of its values.
pub fn put(map: &mut Map<String, Value>, key: &str, value: Value) {
    match map.get_mut(key) {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some(Value::Array(all)) => all.push(value),
        Some(one) => {
            let first = one.take();
            *one = Value::Array(vec![first, value]);
        }
    }
}

/// Rows of white-space-parted cells, one a line.
pub fn words(invocation: &Invocation, text: &str) -> Result<Value, FormError> {
    Ok(lines(invocation, text).iter().map(|l| numbered(l.body().split_whitespace())).collect())
}

/// Rows without headings, each line cut by the first pattern that fits; a line that fits none is an error, unless
/// a filter stands behind the command: then it is cut at white space. Groups that did not take part are left out.
pub fn patterned(invocation: &Invocation, text: &str, patterns: &[&str]) -> Result<Value, FormError> {
    let patterns = compiled(patterns);
    let mut rows = Vec::new();
    for line in lines(invocation, text) {
        match patterns.iter().find_map(|p| p.captures(line.body())) {
            Some(found) => rows.push(numbered(found.iter().skip(1).flatten().map(|m| m.as_str()))),
            None if invocation.filtered() => rows.push(numbered(line.body().split_whitespace())),
            None => return line.fail("a row of another form than this command prints"),
        }
    }
    Ok(Value::Array(rows))
}

/// The patterns as one anchored expression each. A pattern of this crate that does not compile fits nothing; a test
/// reads every family's example, so that cannot stay unseen.
pub fn compiled(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().filter_map(|p| Regex::new(&format!("^(?:{p})$")).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(program: &str) -> Invocation {
        Invocation { program: program.into(), ..Invocation::default() }
    }

    #[test]
    fn prompts_and_carriage_returns_are_left_out() {
        for front in [
            "[root@esx1:~] vmware -v",
            "~ # vmware -v",
            "/tmp # vmware -v",
            "# vmware -v",
            "[root@esx1 ~]# vmware -v",
            "  $ /bin/vmware -v",
            "esx1> vmware -v",
        ] {
            let text = format!("{front}\r\nVMware ESXi 8.0\r\n[root@esx1:~]\r\n");
            assert_eq!(lines(&run("vmware"), &text).len(), 1, "{front}");
        }
        let text = "Clone: 1% done.\rClone: 100% done.\r\n";
        assert_eq!(sentences(&run("vmkfstools"), text).unwrap(), "Clone: 100% done.");
        let comment = "#\n# This file is read by cat\n#\n";
        assert_eq!(lines(&run("vi"), comment).len(), 3);
    }

    #[test]
    fn nothing_one_line_and_several() {
        assert_eq!(sentences(&run("x"), "\n\n").unwrap(), "");
        assert_eq!(sentences(&run("x"), " a \n").unwrap(), "a");
        assert_eq!(sentences(&run("x"), "a\nb\n").unwrap(), serde_json::json!(["a", "b"]));
    }
}
