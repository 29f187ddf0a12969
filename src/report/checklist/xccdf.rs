//! XCCDF 1.2 (NIST IR 7275, revision 4): a benchmark with its rules in our words and the result of one test. Order and
//! names of the elements are those of the published schema. With a STIG the identifiers are DISA's, so that managers
//! of STIGs find their rules; other controls get identifiers of ours.
//!
//! Not verified: that STIG Viewer imports it. It is valid by the schema, and STIG Manager reads it.

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::sheet::{Row, Sheet, plain, program};
use crate::engine::events::ControlVerdict;

type Out = Writer<Vec<u8>>;

const NAMESPACE: &str = "http://checklists.nist.gov/xccdf/1.2";
/// What our checks and facts are named after; also the namespace of what stands in a check.
const OURS: &str = "urn:esxprep:control";
/// Where DISA's control correlation identifiers are from.
const CCI: &str = "http://cyber.mil/cci";
/// One point for each rule that passes, none for those that were not judged or do not apply.
const SCORING: &str = "urn:xccdf:scoring:flat-unweighted";

/// The whole file.
pub(super) fn render(sheet: &Sheet<'_>) -> io::Result<String> {
    let mut w = Writer::new_with_indent(Vec::new(), b' ', 2);
    w.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let ids = Ids::new(sheet);
    let title = match sheet.benchmark {
        Some(b) => plain(b.viewer_title()),
        None => plain(sheet.playbook),
    };
    let edition = match sheet.benchmark {
        Some(b) => plain(&b.version),
        None => "1".to_owned(),
    };
    w.create_element("Benchmark")
        .with_attribute(("xmlns", NAMESPACE))
        .with_attribute(("id", ids.benchmark.as_str()))
        .with_attribute(("xml:lang", "en"))
        .write_inner_content(|w| {
            text(w, "status", "accepted")?;
            text(w, "title", &title)?;
            text(w, "description", "The titles of the rules are in esxprep's own words.")?;
            if let Some(benchmark) = sheet.benchmark.filter(|b| b.is_stig()) {
                w.create_element("plain-text")
                    .with_attribute(("id", "release-info"))
                    .write_text_content(BytesText::new(&plain(&benchmark.release_info())))?;
            }
            text(w, "version", &edition)?;
            for (row, id) in sheet.rows.iter().zip(&ids.rules) {
                rule(w, row, id)?;
            }
            test(w, sheet, &ids)
        })?;
    String::from_utf8(w.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

fn text(w: &mut Out, name: &str, value: &str) -> io::Result<()> {
    w.create_element(name).write_text_content(BytesText::new(value))?;
    Ok(())
}

/// A rule, in a group of its own where DISA has one.
fn rule(w: &mut Out, row: &Row<'_>, id: &str) -> io::Result<()> {
    let Some(group) = row.facts.and_then(|f| f.group.as_ref()) else { return bare_rule(w, row, id) };
    let group = format!("xccdf_mil.disa.stig_group_{}", name(group));
    w.create_element("Group").with_attribute(("id", group.as_str())).write_inner_content(|w| {
        if let Some(srg) = row.facts.and_then(|f| f.srg.as_ref()) {
            text(w, "title", &plain(srg))?;
        }
        bare_rule(w, row, id)
    })?;
    Ok(())
}

fn bare_rule(w: &mut Out, row: &Row<'_>, id: &str) -> io::Result<()> {
    w.create_element("Rule")
        .with_attribute(("id", id))
        .with_attribute(("severity", row.severity().unwrap_or("unknown")))
        .with_attribute(("weight", "10.0"))
        .write_inner_content(|w| {
            text(w, "version", &plain(row.id))?;
            text(w, "title", &row.title)?;
            idents(w, row)?;
            if let Some(change) = row.facts.and_then(|f| f.change.as_ref()) {
                text(w, "fixtext", &plain(change))?;
            }
            w.create_element("check").with_attribute(("system", OURS)).write_inner_content(|w| {
                match row.facts.and_then(|f| f.look.as_ref()) {
                    Some(look) => text(w, "check-content", &plain(look)),
                    None => Ok(()),
                }
            })?;
            Ok(())
        })?;
    Ok(())
}

fn idents(w: &mut Out, row: &Row<'_>) -> io::Result<()> {
    for cci in row.facts.map(|f| f.ccis.as_slice()).unwrap_or_default() {
        w.create_element("ident").with_attribute(("system", CCI)).write_text_content(BytesText::new(&plain(cci)))?;
    }
    Ok(())
}

fn test(w: &mut Out, sheet: &Sheet<'_>, ids: &Ids) -> io::Result<()> {
    let system = format!("cpe:/a:esxprep:esxprep:{}", env!("CARGO_PKG_VERSION"));
    w.create_element("TestResult")
        .with_attribute(("id", ids.test.as_str()))
        .with_attribute(("start-time", sheet.started.as_str()))
        .with_attribute(("end-time", sheet.ended.as_str()))
        .with_attribute(("test-system", system.as_str()))
        .with_attribute(("version", sheet.benchmark.map(|b| plain(&b.version)).as_deref().unwrap_or("1")))
        .write_inner_content(|w| {
            w.create_element("benchmark")
                .with_attribute(("href", ids.benchmark.as_str()))
                .with_attribute(("id", ids.benchmark.as_str()))
                .write_empty()?;
            text(w, "title", &plain(sheet.playbook))?;
            text(w, "remark", &format!("{}, run {}, by {}", plain(sheet.mode), plain(sheet.run), program()))?;
            text(w, "target", &sheet.host)?;
            if !sheet.address.ip.is_empty() {
                text(w, "target-address", &sheet.address.ip)?;
            }
            w.create_element("target-facts").write_inner_content(|w| facts(w, sheet))?;
            for (row, id) in sheet.rows.iter().zip(&ids.rules) {
                result(w, sheet, row, id)?;
            }
            let (passes, counted) = sheet.score();
            w.create_element("score")
                .with_attribute(("system", SCORING))
                .with_attribute(("maximum", counted.to_string().as_str()))
                .write_text_content(BytesText::new(&passes.to_string()))?;
            Ok(())
        })?;
    Ok(())
}

fn facts(w: &mut Out, sheet: &Sheet<'_>) -> io::Result<()> {
    let mut all = vec![("urn:scap:fact:asset:identifier:host_name", sheet.host.clone())];
    let (ip, fqdn) = (&sheet.address.ip, &sheet.address.fqdn);
    if !fqdn.is_empty() {
        all.push(("urn:scap:fact:asset:identifier:fqdn", fqdn.clone()));
    }
    if !ip.is_empty() {
        let v6 = ip.contains(':');
        let name = if v6 { "urn:scap:fact:asset:identifier:ipv6" } else { "urn:scap:fact:asset:identifier:ipv4" };
        all.push((name, ip.clone()));
    }
    if let Some((version, build)) = &sheet.release {
        all.push(("urn:esxprep:fact:version", version.clone()));
        all.push(("urn:esxprep:fact:build", build.to_string()));
    }
    for (name, value) in all {
        w.create_element("fact")
            .with_attribute(("name", name))
            .with_attribute(("type", "string"))
            .write_text_content(BytesText::new(&value))?;
    }
    Ok(())
}

fn result(w: &mut Out, sheet: &Sheet<'_>, row: &Row<'_>, id: &str) -> io::Result<()> {
    let word = match row.verdict {
        Some(ControlVerdict::Pass) => "pass",
        // What is accepted fails all the same; the message says why it is accepted.
        Some(ControlVerdict::Fail) => "fail",
        Some(ControlVerdict::NotApplicable) => "notapplicable",
        Some(ControlVerdict::NotJudged) => "notchecked",
        None => "notselected",
    };
    w.create_element("rule-result")
        .with_attribute(("idref", id))
        .with_attribute(("time", sheet.ended.as_str()))
        .with_attribute(("severity", row.severity().unwrap_or("unknown")))
        .with_attribute(("weight", "10.0"))
        .write_inner_content(|w| {
            text(w, "result", word)?;
            idents(w, row)?;
            for said in [&row.finding, &row.comment].into_iter().filter(|t| !t.is_empty()) {
                w.create_element("message")
                    .with_attribute(("severity", "info"))
                    .write_text_content(BytesText::new(said))?;
            }
            // STIG managers read what was found and what is to be done from here.
            w.create_element("check").with_attribute(("system", OURS)).write_inner_content(|w| {
                w.create_element("check-content").with_attribute(("xmlns:e", OURS)).write_inner_content(|w| {
                    text(w, "e:detail", &row.finding)?;
                    text(w, "e:comment", &row.comment)
                })?;
                Ok(())
            })?;
            Ok(())
        })?;
    Ok(())
}

/// The identifiers of a file. They are names as XML knows them, and each is there once.
struct Ids {
    benchmark: String,
    test: String,
    rules: Vec<String>,
}

impl Ids {
    fn new(sheet: &Sheet<'_>) -> Self {
        let benchmark = match sheet.benchmark.and_then(|b| b.stig_id.as_deref()) {
            Some(stig) => format!("xccdf_mil.disa.stig_benchmark_{}", name(stig)),
            None => format!("xccdf_esxprep_benchmark_{}", name(sheet.baseline.unwrap_or(sheet.playbook))),
        };
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let rules = sheet
            .rows
            .iter()
            .map(|row| {
                let id = match row.facts.and_then(|f| f.rule.as_deref()) {
                    Some(rule) => format!("xccdf_mil.disa.stig_rule_{}", name(rule)),
                    None => format!("xccdf_esxprep_rule_{}", name(row.id)),
                };
                let n = taken.entry(id.clone()).or_default();
                *n += 1;
                if *n == 1 { id } else { format!("{id}.{n}") }
            })
            .collect();
        let test = format!("xccdf_esxprep_testresult_{}-{}", name(sheet.run), name(&sheet.host));
        Self { benchmark, test, rules }
    }
}

/// A text as a part of an XML name: what it cannot hold becomes `_`.
fn name(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' }).collect();
    if name.is_empty() { "_".to_owned() } else { name }
}
