//! JUnit XML for CI: a test suite for each host, a test case for each step. Made to the schema that Jenkins' xUnit
//! plugin publishes (junit-10.xsd), which other CI systems read too.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::Reporter;
use super::collect::{Collected, HostRecord};
use super::sink::Sink;
use super::text::xml;
use crate::engine::events::{Event, Status, StepEvent};

/// Gathers the run and writes the XML at its end.
pub struct Junit {
    sink: Sink,
    run: Collected,
}

/// What one host counts.
#[derive(Default)]
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
    skipped: usize,
    seconds: f64,
}

impl Junit {
    pub(super) fn new(sink: Sink) -> Self {
        Self { sink, run: Collected::default() }
    }

    fn render(&self) -> io::Result<String> {
        let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
        writer.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let counts: Vec<_> = self.run.hosts.iter().map(|(name, host)| self.count(name, host)).collect();
        let sum = |f: fn(&Counts) -> usize| counts.iter().map(f).sum::<usize>().to_string();
        let seconds = self.run.seconds.unwrap_or_else(|| counts.iter().map(|c| c.seconds).fold(0.0, f64::max));
        writer
            .create_element("testsuites")
            .with_attribute(("name", &*xml(&self.run.playbook)))
            .with_attribute(("tests", sum(|c| c.tests).as_str()))
            .with_attribute(("failures", sum(|c| c.failures).as_str()))
            .with_attribute(("errors", sum(|c| c.errors).as_str()))
            .with_attribute(("time", time(seconds).as_str()))
            .write_inner_content(|w| {
                for ((name, host), counts) in self.run.hosts.iter().zip(&counts) {
                    self.suite(w, name, host, counts)?;
                }
                Ok(())
            })?;
        let text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
        Ok(text + "\n")
    }

    fn suite(&self, w: &mut Writer<Vec<u8>>, name: &str, host: &HostRecord, counts: &Counts) -> io::Result<()> {
        let started = host.since.as_deref().unwrap_or(&self.run.started);
        w.create_element("testsuite")
            .with_attribute(("name", &*xml(name)))
            .with_attribute(("tests", counts.tests.to_string().as_str()))
            .with_attribute(("failures", counts.failures.to_string().as_str()))
            .with_attribute(("errors", counts.errors.to_string().as_str()))
            .with_attribute(("skipped", counts.skipped.to_string().as_str()))
            .with_attribute(("time", time(counts.seconds).as_str()))
            .with_attribute(("timestamp", &*xml(started)))
            .with_attribute(("hostname", &*xml(host.address.as_deref().unwrap_or(name))))
            .write_inner_content(|w| {
                self.properties(w, name, host)?;
                for (_, step) in &host.steps {
                    self.case(w, name, step)?;
                }
                if let Some(error) = &host.error {
                    let kind = if error.unreachable { "unreachable" } else { "lost" };
                    self.error_case(w, name, kind, &error.text)?;
                } else if host.result.is_none() {
                    self.error_case(w, name, "unfinished", "the run broke off before this host was finished")?;
                }
                if !host.notes.is_empty() {
                    w.create_element("system-out").write_text_content(BytesText::new(&xml(&host.notes.join("\n"))))?;
                }
                Ok(())
            })?;
        Ok(())
    }

    fn properties(&self, w: &mut Writer<Vec<u8>>, name: &str, host: &HostRecord) -> io::Result<()> {
        let result = host.result(name);
        let mut properties = vec![("run", self.run.run.clone()), ("mode", self.run.mode.clone())];
        if let Some(version) = &host.version {
            properties.push(("esxi_version", version.clone()));
            properties.push(("esxi_build", host.build.to_string()));
        }
        properties.push(("changed", result.changed.to_string()));
        properties.push(("reboots", result.reboots.to_string()));
        properties.push(("commands", result.commands.to_string()));
        properties.push(("round_trips", result.round_trips.to_string()));
        w.create_element("properties").write_inner_content(|w| {
            for (name, value) in &properties {
                w.create_element("property")
                    .with_attribute(("name", *name))
                    .with_attribute(("value", &*xml(value)))
                    .write_empty()?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn case(&self, w: &mut Writer<Vec<u8>>, host: &str, step: &StepEvent) -> io::Result<()> {
        let case = w
            .create_element("testcase")
            .with_attribute(("name", &*xml(&format!("{:03} {}", step.step, step.name))))
            .with_attribute(("classname", &*xml(&format!("{host}.{}", step.kind))))
            .with_attribute(("time", time(step.seconds).as_str()));
        let shown = changes(step);
        let verdict = match step.status {
            Status::Failed => {
                let error = step.error.as_deref().unwrap_or("the step failed and gave no reason");
                Some(("failure", Some("failed"), error.lines().next().unwrap_or_default(), error))
            }
            Status::WouldChange if self.drift(step) => {
                Some(("failure", Some("drift"), "does not match the playbook", shown.as_str()))
            }
            Status::Skipped => Some(("skipped", None, step.note.as_deref().unwrap_or("skipped"), "")),
            _ => None,
        };
        let mut out = if self.drift(step) { String::new() } else { shown.clone() };
        if let Some(note) = step.note.as_deref().filter(|_| step.status != Status::Skipped) {
            out.push_str(note);
            out.push('\n');
        }
        if verdict.is_none() && out.is_empty() {
            case.write_empty()?;
            return Ok(());
        }
        case.write_inner_content(|w| {
            if let Some((element, kind, message, text)) = verdict {
                let mut element = w.create_element(element);
                if let Some(kind) = kind {
                    element = element.with_attribute(("type", kind));
                }
                let element = element.with_attribute(("message", &*xml(message)));
                if text.is_empty() {
                    element.write_empty()?;
                } else {
                    element.write_text_content(BytesText::new(&xml(text)))?;
                }
            }
            if !out.is_empty() {
                w.create_element("system-out").write_text_content(BytesText::new(&xml(&out)))?;
            }
            Ok(())
        })?;
        Ok(())
    }

    fn error_case(&self, w: &mut Writer<Vec<u8>>, host: &str, kind: &str, text: &str) -> io::Result<()> {
        w.create_element("testcase")
            .with_attribute(("name", "the host is there to the end"))
            .with_attribute(("classname", &*xml(&format!("{host}.host"))))
            .with_attribute(("time", "0.000"))
            .write_inner_content(|w| {
                w.create_element("error")
                    .with_attribute(("type", kind))
                    .with_attribute(("message", &*xml(text.lines().next().unwrap_or_default())))
                    .write_text_content(BytesText::new(&xml(text)))?;
                Ok(())
            })?;
        Ok(())
    }

    /// `verify` asks whether hosts match: a difference is a failed test. `--check` only announces what it would do.
    fn drift(&self, step: &StepEvent) -> bool {
        self.run.mode == "verify" && step.status == Status::WouldChange
    }

    fn count(&self, name: &str, host: &HostRecord) -> Counts {
        let mut counts = Counts::default();
        for (_, step) in &host.steps {
            counts.tests += 1;
            counts.failures += usize::from(step.status == Status::Failed || self.drift(step));
            counts.skipped += usize::from(step.status == Status::Skipped);
            counts.seconds += step.seconds;
        }
        if host.error.is_some() || host.result.is_none() {
            counts.tests += 1;
            counts.errors += 1;
        }
        let whole = host.result(name).seconds;
        counts.seconds = if whole > 0.0 { whole } else { counts.seconds };
        counts
    }
}

impl Reporter for Junit {
    fn event(&mut self, event: &Event) {
        self.run.event(event);
    }

    fn finish(&mut self) -> io::Result<()> {
        self.sink.write(&self.render()?)
    }
}

/// The changes of a step, one or more lines each.
fn changes(step: &StepEvent) -> String {
    let mut out = String::new();
    for change in &step.changes {
        if change.before.contains('\n') || change.after.contains('\n') {
            out.push_str(&format!("{}:\n", change.summary));
            super::diff::unified(&change.before, &change.after).iter().for_each(|l| out.push_str(&format!("  {l}\n")));
        } else {
            let value = |v: &str| if v.is_empty() { "(none)".to_owned() } else { v.to_owned() };
            out.push_str(&format!("{}: {} → {}\n", change.summary, value(&change.before), value(&change.after)));
        }
    }
    out
}

/// Seconds as the schema wants them: no sign, no exponent.
fn time(seconds: f64) -> String {
    format!("{:.3}", if seconds.is_finite() { seconds.max(0.0) } else { 0.0 })
}
