//! The report for people. Plain lines, stable enough for `grep`, and on a terminal live bars below them.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use super::bars::Bars;
use super::collect::Collected;
use super::lines::Lines;
use super::sink::Stream;
use super::{ReportOptions, Reporter, shown, summary};
use crate::engine::events::{Event, EventKind};

/// Lines wait at most this long before they appear above the bars, so that 200 hosts do not redraw for each.
const PATIENCE: Duration = Duration::from_millis(150);

/// Writes lines as steps end, the final table and the closing sentence.
pub struct Human<W> {
    out: Stream<W>,
    options: ReportOptions,
    lines: Lines,
    bars: Option<Bars>,
    pub(super) run: Collected,
    pending: String,
    since: Instant,
    closed: bool,
}

impl Human<io::Stdout> {
    /// Lines on standard output, bars on standard error if that is a terminal.
    pub fn stdout(options: &ReportOptions) -> Self {
        let mut human = Self::new(io::stdout(), options);
        human.bars = options.terminal.then(|| Bars::new(options));
        human
    }
}

impl<W: Write + Send> Human<W> {
    /// Lines to any writer, without bars.
    pub fn new(out: W, options: &ReportOptions) -> Self {
        Self {
            out: Stream::new(out),
            options: *options,
            lines: Lines::new(options),
            bars: None,
            run: Collected::default(),
            pending: String::new(),
            since: Instant::now(),
            closed: false,
        }
    }

    /// The same with a line a step, however many hosts there are.
    pub(super) fn in_full(self) -> Self {
        Self { lines: self.lines.in_full(), ..self }
    }

    fn flush(&mut self) {
        self.since = Instant::now();
        if self.pending.is_empty() {
            return;
        }
        let text = std::mem::take(&mut self.pending);
        let text = shown(&text, self.options.color);
        match &self.bars {
            Some(bars) => bars.above(|| self.out.put(&text)),
            None => self.out.put(&text),
        }
    }

    fn close(&mut self, ended: bool) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.flush();
        if let Some(mut bars) = self.bars.take() {
            bars.clear();
        }
        if !self.run.run.is_empty() {
            let end = summary::render(&self.run, &self.options, &self.lines, ended);
            self.out.put(&shown(&end, self.options.color));
        }
    }
}

impl<W: Write + Send> Reporter for Human<W> {
    fn event(&mut self, event: &Event) {
        self.run.event(event);
        self.pending.push_str(&self.lines.event(event));
        if let Some(bars) = &mut self.bars {
            bars.event(event);
        }
        if self.bars.is_none() || self.since.elapsed() > PATIENCE {
            self.flush();
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.close(true);
        }
    }

    fn tick(&mut self) {
        self.flush();
        if let Some(bars) = &mut self.bars {
            bars.tick();
        }
    }

    /// Without a `run_finished` before it, the table shows how far the run came.
    fn finish(&mut self) -> io::Result<()> {
        self.close(false);
        self.out.finish()
    }
}
