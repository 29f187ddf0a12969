//! Forms of `file` that look at the text: an empty file, lines that must not be there, a line that must be.

use serde_json::json;

use super::{File, Listed, STICKY};
use crate::esxi::Command;
use crate::steps::{Action, Change, Effect, Source, StepError, Undo};

/// Files whose contents no journal should keep.
fn holds_secrets(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    name.contains("shadow") || ["key", ".pem", "keytab"].iter().any(|end| name.ends_with(end))
}

/// Arguments of a step that wants this text (`None`: whatever is there) and just this mode.
pub(in crate::steps) fn as_it_is(path: &str, text: Option<&str>, mode: u32) -> serde_json::Value {
    let mut args = json!({ "path": path, "mode": format!("{mode:04o}") });
    if let (Some(text), Some(map)) = (text, args.as_object_mut()) {
        map.insert("content".into(), text.into());
    }
    if let Some(map) = args.as_object_mut().filter(|_| path.starts_with("/etc/")) {
        map.insert("persist".into(), (mode & STICKY != 0).into());
    }
    args
}

/// The step that brings this text and mode back; `None` for secrets, which no journal keeps, and for bytes that are no
/// text.
pub(in crate::steps) fn earlier(path: &str, text: &str, mode: u32) -> Option<Undo> {
    Undo::step("file", as_it_is(path, Some(text), mode)).filter(|_| !holds_secrets(path) && !text.contains('\u{fffd}'))
}

impl File {
    /// What the forms by text differ in. `None`: the file is to be empty, and what is left to do is the same as for
    /// any other contents.
    pub(super) fn compare_text(
        &self,
        now: Option<(Listed, &str)>,
        effect: Effect,
    ) -> Result<Option<Vec<Change>>, StepError> {
        let path = &self.0.path;
        if let Some(pattern) = &self.0.contains {
            let found = now.is_some_and(|(_, text)| text.lines().any(|line| pattern.is_match(line)));
            let before = if now.is_some() { "no such line" } else { "no such file" };
            let advice =
                format!("write the line into {path} by hand: what else the file needs, only a person can tell");
            let finding = Change::finding(format!("a line in {path}"), before, pattern.to_string(), advice);
            return Ok(Some(if found { Vec::new() } else { vec![finding] }));
        }
        let Some((listed, text)) = now else {
            return Ok(self.0.without_lines.is_some().then(Vec::new));
        };
        let kept: String = match &self.0.without_lines {
            Some(pattern) => text
                .split_inclusive('\n')
                .filter(|line| !pattern.is_match(line.trim_end_matches(['\n', '\r'])))
                .collect(),
            None => String::new(),
        };
        if kept == text {
            // An empty file of the image is empty after any boot, saved or not.
            let asked = self.0.mode.is_some() || self.0.persist == Some(true);
            return Ok((!asked || self.0.without_lines.is_some()).then(Vec::new));
        }
        if text.contains('\u{fffd}') && !kept.is_empty() {
            return Err(StepError::Refused(format!(
                "{path} holds bytes that are no UTF-8 text: lines cannot be taken out of it without a loss"
            )));
        }
        let mode = self.mode(Some(listed.mode)).unwrap_or(listed.mode);
        let mut actions = Vec::new();
        if kept.is_empty() {
            // In place: owner and mode stay.
            actions.push(Action::Run(Command::new("echo -n >").arg(path)));
            if mode != listed.mode {
                actions.push(Action::Run(Command::new("chmod").arg(format!("{mode:04o}")).arg(path)));
            }
        } else {
            actions.push(Action::Upload { source: Source::Bytes(kept.clone().into_bytes()), path: path.clone(), mode });
        }
        let gone = text.lines().count() - kept.lines().count();
        Ok(Some(vec![Change {
            summary: if kept.is_empty() { format!("empty {path}") } else { format!("lines of {path}") },
            before: format!("{} bytes, {gone} line(s) too many", text.len()),
            after: format!("{} bytes", kept.len()),
            actions,
            effect,
            undo: earlier(path, text, listed.mode),
            ..Change::default()
        }]))
    }
}
