//! `--output json`: one event a line, flushed at once, nothing else. Scripts depend on it.

use std::io::{self, Write};

use super::Reporter;
use super::sink::Stream;
use crate::engine::events::Event;

/// Writes each event as one JSON object a line.
pub struct Json<W> {
    out: Stream<W>,
}

impl Json<io::Stdout> {
    /// On standard output.
    pub fn stdout() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write + Send> Json<W> {
    /// To any writer.
    pub fn new(out: W) -> Self {
        Self { out: Stream::new(out) }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn event(&mut self, event: &Event) {
        // Strings and numbers only: an event always has its JSON.
        if let Ok(line) = event.to_shown_line() {
            self.out.put(&(super::json_shown(&line).into_owned() + "\n"));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::events::{ChangeShown, EventKind};
    use crate::steps::Undo;

    #[test]
    fn how_a_change_is_taken_back_stays_in_the_journal() {
        let change = ChangeShown {
            summary: "file /etc/x".into(),
            undo: Undo::step("file", serde_json::json!({"path": "/etc/x", "contents": "what was in it"})),
            ..ChangeShown::default()
        };
        let kind = EventKind::Making {
            host: "esx1".into(),
            step: 1,
            kind: "file".into(),
            name: "n".into(),
            changes: vec![change],
        };
        let event = Event::now("r", kind);
        assert!(event.to_line().unwrap().contains("what was in it"));
        let mut out = Vec::new();
        Json::new(&mut out).event(&event);
        let said = String::from_utf8(out).unwrap();
        assert!(said.contains("file /etc/x") && !said.contains("what was in it"), "{said}");
    }
}
