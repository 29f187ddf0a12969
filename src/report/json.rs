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
        if let Ok(line) = event.to_line() {
            self.out.put(&(line + "\n"));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.finish()
    }
}
