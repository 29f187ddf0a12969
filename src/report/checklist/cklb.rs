//! CKLB, the checklist of STIG Viewer 3: JSON, version 1.0. No schema of it is published; the fields are those that
//! checklists of the viewer and of other tools have in common.
//!
//! Not verified: that the viewer opens it. STIG Manager reads it.

use std::io;

use serde_json::{Value, json};

use super::sheet::{Row, Sheet, plain, program};
use crate::engine::events::ControlVerdict;

/// The whole file.
pub(super) fn render(sheet: &Sheet<'_>) -> io::Result<String> {
    let known = sheet.benchmark;
    let text = |value: Option<&String>| value.map(|v| plain(v)).unwrap_or_default();
    let name = known.map(|b| plain(b.viewer_title())).unwrap_or_default();
    let display = name.replace(" Security Technical Implementation Guide", "");
    let rules: Vec<Value> =
        sheet.rows.iter().filter(|r| r.facts.is_some_and(|f| f.rule.is_some())).map(|row| rule(sheet, row)).collect();
    let comment = match &sheet.release {
        Some((version, build)) => format!("ESXi {version} build {build}; judged by {}", program()),
        None => format!("judged by {}", program()),
    };
    let value = json!({
        "title": format!("{} {}", sheet.host, display).trim(),
        "id": sheet.uuid("checklist"),
        "stigs": [{
            "stig_name": name,
            "display_name": display,
            "stig_id": text(known.and_then(|b| b.stig_id.as_ref())),
            "release_info": known.map(|b| plain(&b.release_info())).unwrap_or_default(),
            "version": text(known.map(|b| &b.version)),
            "uuid": sheet.stig_uuid(),
            "reference_identifier": Value::Null,
            "size": rules.len(),
            "rules": rules,
        }],
        "active": false,
        "mode": 1,
        "has_path": true,
        "target_data": {
            "target_type": "Computing",
            "host_name": sheet.host,
            "ip_address": sheet.address.ip,
            "mac_address": "",
            "fqdn": sheet.address.fqdn,
            "comments": comment,
            "role": "None",
            "is_web_database": false,
            "technology_area": "",
            "web_db_site": "",
            "web_db_instance": "",
            "classification": Value::Null,
        },
        "cklb_version": "1.0",
    });
    serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(io::Error::other)
}

fn rule(sheet: &Sheet<'_>, row: &Row<'_>) -> Value {
    let of = |f: fn(&crate::hardening::Control) -> Option<&String>| {
        row.facts.and_then(f).map(|v| plain(v)).unwrap_or_default()
    };
    let (group, rule) = (of(|f| f.group.as_ref()), of(|f| f.rule.as_ref()));
    let ccis: Vec<String> = row.facts.map(|f| f.ccis.iter().map(|c| plain(c)).collect()).unwrap_or_default();
    json!({
        "uuid": sheet.uuid(&rule),
        "stig_uuid": sheet.stig_uuid(),
        "target_key": Value::Null,
        "stig_ref": Value::Null,
        "group_id": group,
        "group_id_src": group,
        "rule_id": rule.strip_suffix("_rule").unwrap_or(&rule),
        "rule_id_src": rule,
        "weight": "10.0",
        "classification": "UNCLASSIFIED",
        "severity": row.severity().unwrap_or("unknown"),
        "rule_version": plain(row.id),
        "group_title": row.title,
        "rule_title": row.title,
        "fix_text": of(|f| f.change.as_ref()),
        "reference_identifier": Value::Null,
        "check_content": of(|f| f.look.as_ref()),
        "check_content_ref": {"href": "", "name": "M"},
        "discussion": "",
        "false_positives": "",
        "false_negatives": "",
        "documentable": "false",
        "mitigations": "",
        "potential_impacts": "",
        "third_party_tools": "",
        "mitigation_control": "",
        "responsibility": "",
        "security_override_guidance": "",
        "ia_controls": "",
        "legacy_ids": [],
        "ccis": ccis,
        "group_tree": [{"id": group, "title": of(|f| f.srg.as_ref()), "description": ""}],
        "status": status(row.verdict),
        "overrides": {},
        "comments": row.comment,
        "finding_details": row.finding,
    })
}

/// A finding that is accepted stays open, as in a CKL.
fn status(verdict: Option<ControlVerdict>) -> &'static str {
    match verdict {
        Some(ControlVerdict::Pass) => "not_a_finding",
        Some(ControlVerdict::Fail) => "open",
        Some(ControlVerdict::NotApplicable) => "not_applicable",
        Some(ControlVerdict::NotJudged) | None => "not_reviewed",
    }
}
