//! CKL, the checklist of STIG Viewer 2. Order and names of the elements are those of its schema (version 2.5 of
//! 2021-11-05, which comes with the viewer).
//!
//! Not verified: that the viewer opens a file without the STIG's own texts and without a target key. The schema allows
//! both, and STIG Manager reads it.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event as Xml};

use super::sheet::{Row, Sheet, plain, program};
use crate::engine::events::ControlVerdict;

type Out = Writer<Vec<u8>>;

/// The whole file.
pub(super) fn render(sheet: &Sheet<'_>) -> io::Result<String> {
    let mut w = Writer::new_with_indent(Vec::new(), b'\t', 1);
    w.write_event(Xml::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    // Some readers expect a comment before the root.
    w.write_event(Xml::Comment(BytesText::new(&program())))?;
    w.create_element("CHECKLIST").write_inner_content(|w| {
        w.create_element("ASSET").write_inner_content(|w| asset(w, sheet))?;
        w.create_element("STIGS").write_inner_content(|w| {
            w.create_element("iSTIG").write_inner_content(|w| {
                w.create_element("STIG_INFO").write_inner_content(|w| info(w, sheet))?;
                for row in sheet.rows.iter().filter(|r| r.facts.is_some_and(|f| f.rule.is_some())) {
                    w.create_element("VULN").write_inner_content(|w| vuln(w, sheet, row))?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(())
    })?;
    String::from_utf8(w.into_inner()).map(|text| text + "\n").map_err(io::Error::other)
}

fn text(w: &mut Out, name: &str, value: &str) -> io::Result<()> {
    let element = w.create_element(name);
    if value.is_empty() { element.write_empty() } else { element.write_text_content(BytesText::new(value)) }?;
    Ok(())
}

fn asset(w: &mut Out, sheet: &Sheet<'_>) -> io::Result<()> {
    let comment = match &sheet.release {
        Some((version, build)) => format!("ESXi {version} build {build}"),
        None => String::new(),
    };
    for (name, value) in [
        ("ROLE", "None"),
        ("ASSET_TYPE", "Computing"),
        ("HOST_NAME", &sheet.host),
        ("HOST_IP", &sheet.address.ip),
        // No event tells the address of a network card.
        ("HOST_MAC", ""),
        ("HOST_FQDN", &sheet.address.fqdn),
        ("TARGET_COMMENT", &comment),
        ("TECH_AREA", ""),
        ("TARGET_KEY", ""),
        ("WEB_OR_DATABASE", "false"),
        ("WEB_DB_SITE", ""),
        ("WEB_DB_INSTANCE", ""),
    ] {
        text(w, name, value)?;
    }
    Ok(())
}

fn info(w: &mut Out, sheet: &Sheet<'_>) -> io::Result<()> {
    let known = sheet.benchmark;
    let get = |f: fn(&crate::hardening::Baseline) -> String| known.map(|b| plain(&f(b))).unwrap_or_default();
    for (name, value) in [
        ("version", get(|b| b.version.clone())),
        ("classification", "UNCLASSIFIED".to_owned()),
        ("customname", String::new()),
        ("stigid", get(|b| b.stig_id.clone().unwrap_or_default())),
        ("description", "Judged by esxprep; titles, checks and fixes are in its own words.".to_owned()),
        ("filename", String::new()),
        ("releaseinfo", get(|b| b.release_info())),
        ("title", get(|b| b.viewer_title().to_owned())),
        ("uuid", sheet.stig_uuid()),
        ("notice", "terms-of-use".to_owned()),
        ("source", "STIG.DOD.MIL".to_owned()),
    ] {
        w.create_element("SI_DATA").write_inner_content(|w| {
            text(w, "SID_NAME", name)?;
            if value.is_empty() { Ok(()) } else { text(w, "SID_DATA", &value) }
        })?;
    }
    Ok(())
}

fn vuln(w: &mut Out, sheet: &Sheet<'_>, row: &Row<'_>) -> io::Result<()> {
    let of = |f: fn(&crate::hardening::Control) -> Option<&String>| {
        row.facts.and_then(f).map(|v| plain(v)).unwrap_or_default()
    };
    let reference =
        sheet.benchmark.map(|b| plain(&format!("{} :: Version {}, {}", b.viewer_title(), b.version, b.release_info())));
    let mut data = |name: &str, value: &str| -> io::Result<()> {
        w.create_element("STIG_DATA").write_inner_content(|w| {
            text(w, "VULN_ATTRIBUTE", name)?;
            text(w, "ATTRIBUTE_DATA", value)
        })?;
        Ok(())
    };
    data("Vuln_Num", &of(|f| f.group.as_ref()))?;
    data("Severity", row.severity().unwrap_or_default())?;
    data("Group_Title", &of(|f| f.srg.as_ref()))?;
    data("Rule_ID", &of(|f| f.rule.as_ref()))?;
    data("Rule_Ver", &plain(row.id))?;
    data("Rule_Title", &row.title)?;
    data("Vuln_Discuss", "")?;
    data("IA_Controls", "")?;
    data("Check_Content", &of(|f| f.look.as_ref()))?;
    data("Fix_Text", &of(|f| f.change.as_ref()))?;
    data("False_Positives", "")?;
    data("False_Negatives", "")?;
    data("Documentable", "false")?;
    for name in [
        "Mitigations",
        "Potential_Impact",
        "Third_Party_Tools",
        "Mitigation_Control",
        "Responsibility",
        "Security_Override_Guidance",
        "Check_Content_Ref",
    ] {
        data(name, "")?;
    }
    data("Weight", "10.0")?;
    data("Class", "Unclass")?;
    data("STIGRef", reference.as_deref().unwrap_or_default())?;
    data("TargetKey", "")?;
    data("STIG_UUID", &sheet.stig_uuid())?;
    for cci in row.facts.map(|f| f.ccis.as_slice()).unwrap_or_default() {
        data("CCI_REF", &plain(cci))?;
    }
    text(w, "STATUS", status(row.verdict))?;
    text(w, "FINDING_DETAILS", &row.finding)?;
    text(w, "COMMENTS", &row.comment)?;
    text(w, "SEVERITY_OVERRIDE", "")?;
    text(w, "SEVERITY_JUSTIFICATION", "")
}

/// A finding that is accepted stays open: a checklist says what is there, the comment says why it is accepted.
fn status(verdict: Option<ControlVerdict>) -> &'static str {
    match verdict {
        Some(ControlVerdict::Pass) => "NotAFinding",
        Some(ControlVerdict::Fail) => "Open",
        Some(ControlVerdict::NotApplicable) => "Not_Applicable",
        Some(ControlVerdict::NotJudged) | None => "Not_Reviewed",
    }
}
