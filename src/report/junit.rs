//! JUnit XML for CI: a test suite for each host, a test case for each control, and for each step that is no part of
//! one. Made to the schema that Jenkins' xUnit plugin publishes (junit-10.xsd), which other CI systems read too.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::collect::{Collected, HostRecord};
use super::controls::{self, Baselines, Outcome, Shown};
use super::sink::Sink;
use super::text::xml;
use super::{Reporter, block};
use crate::engine::events::{Event, Status, StepEvent};

/// Gathers the run and writes the XML at its end.
pub struct Junit {
    sink: Sink,
    pub(super) run: Collected,
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
        let known = controls::baselines(&self.run);
        let counts: Vec<_> = self.run.hosts.iter().map(|(name, host)| self.count(name, host, &known)).collect();
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
                    self.suite(w, name, host, counts, &known)?;
                }
                Ok(())
            })?;
        let text = String::from_utf8(writer.into_inner()).map_err(io::Error::other)?;
        Ok(text + "\n")
    }

    fn suite(
        &self,
        w: &mut Writer<Vec<u8>>,
        name: &str,
        host: &HostRecord,
        counts: &Counts,
        known: &Baselines,
    ) -> io::Result<()> {
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
                for step in own_steps(host) {
                    self.case(w, name, step)?;
                }
                for control in controls::shown(host, known) {
                    control_case(w, name, host, &control)?;
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

    fn count(&self, name: &str, host: &HostRecord, known: &Baselines) -> Counts {
        let mut counts = Counts { seconds: host.steps.iter().map(|(_, s)| s.seconds).sum(), ..Counts::default() };
        for step in own_steps(host) {
            counts.tests += 1;
            counts.failures += usize::from(step.status == Status::Failed || self.drift(step));
            counts.skipped += usize::from(step.status == Status::Skipped);
        }
        for control in controls::shown(host, known) {
            counts.tests += 1;
            match case_of(&control) {
                Case::Failure(_) => counts.failures += 1,
                Case::Error => counts.errors += 1,
                Case::Skipped(_) => counts.skipped += 1,
                Case::Passed => {}
            }
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

/// The steps that are no part of a control that has a case of its own.
fn own_steps(host: &HostRecord) -> impl Iterator<Item = &StepEvent> {
    let judged = |step: &StepEvent| step.id.as_ref().is_some_and(|id| host.controls.iter().any(|c| c.id == *id));
    host.steps.iter().map(|(_, step)| step).filter(move |step| !judged(step))
}

/// What a control is as a test.
enum Case {
    Passed,
    /// Why in a word, for the element's `type`.
    Failure(&'static str),
    /// Something went wrong while it was judged.
    Error,
    /// Why in a word.
    Skipped(&'static str),
}

fn case_of(control: &Shown<'_>) -> Case {
    match control.outcome {
        Outcome::NotJudged if control.broken => Case::Error,
        Outcome::Fail if control.broken => Case::Failure("failed"),
        Outcome::Fail => Case::Failure("finding"),
        Outcome::Pending => Case::Failure("pending reboot"),
        Outcome::NotJudged => Case::Skipped("not judged"),
        Outcome::NotApplicable => Case::Skipped("not applicable"),
        Outcome::Waived => Case::Skipped("waived"),
        Outcome::Pass | Outcome::Fixed => Case::Passed,
    }
}

fn control_case(w: &mut Writer<Vec<u8>>, host: &str, record: &HostRecord, control: &Shown<'_>) -> io::Result<()> {
    let id = control.event.id.as_str();
    let seconds = record.steps.iter().filter(|(_, s)| s.id.as_deref() == Some(id)).map(|(_, s)| s.seconds).sum();
    // With the severity as its class, a tree of classes sorts findings by how bad they are.
    let severity = control.severity().map_or("control", |s| s.word());
    let found = control.found();
    let mut lines = vec![found.clone()];
    lines.extend(control.waiver());
    let text = lines.iter().filter(|l| !l.is_empty()).cloned().collect::<Vec<_>>().join("\n");
    let first = |text: &str, otherwise: &str| {
        let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or(otherwise);
        block(line).into_owned()
    };
    let case = w
        .create_element("testcase")
        .with_attribute(("name", &*xml(&format!("{id} {}", block(control.title()).replace('\n', " ")))))
        .with_attribute(("classname", &*xml(&format!("{host}.{severity}"))))
        .with_attribute(("time", time(seconds).as_str()));
    let (element, kind, message, inner) = match case_of(control) {
        Case::Failure(kind) => ("failure", Some(kind), first(&found, "not as asked"), text),
        Case::Error => ("error", Some("failed"), first(&found, "it could not be judged"), text),
        Case::Skipped(kind) => {
            let why = if kind == "waived" { control.waiver() } else { Some(found.clone()).filter(|f| !f.is_empty()) };
            let message = why.map_or_else(|| kind.to_owned(), |why| format!("{kind}: {}", first(&why, "")));
            ("skipped", None, message, text)
        }
        Case::Passed if text.is_empty() => {
            case.write_empty()?;
            return Ok(());
        }
        Case::Passed => ("system-out", None, String::new(), text),
    };
    case.write_inner_content(|w| {
        let mut element = w.create_element(element);
        if let Some(kind) = kind {
            element = element.with_attribute(("type", kind));
        }
        if !message.is_empty() {
            element = element.with_attribute(("message", &*xml(&message)));
        }
        element.write_text_content(BytesText::new(&xml(&inner)))?;
        Ok(())
    })?;
    Ok(())
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
