//! `assert`: a pattern or a value in what a command prints must hold. Also what `expect` on any step takes.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::sysargs::{OneOrMany, Pattern, Scalar, nearest_text};
use super::{Change, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::failure::failure;
use crate::esxi::forms::{self, Record};
use crate::esxi::{Command, HostFacts, Output, vimdump};

/// The kind.
pub const KIND: Kind = Kind {
    name: "assert",
    about: "Checks a pattern or a value in what a command prints",
    example: "\
- assert:
    command: esxcli network ip interface list
    where: {Name: vmk0}
    field: MTU
    value: 1500
",
    parse: parse_as::<Assert>,
    schema: |generator| generator.subschema_for::<AssertSpec>(),
};

/// A command that changes nothing, and what must hold of its output. Tables, records and vim-cmd's object dumps are
/// read; every condition given must hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AssertSpec {
    /// The command line. It must change nothing: it is run with `--check` too.
    command: String,
    /// A regular expression that the output (or the `field`) must match; `^` and `$` match at every line.
    #[serde(default)]
    matches: Option<Pattern>,
    /// A regular expression that the output (or the `field`) must not match.
    #[serde(default)]
    not_matches: Option<Pattern>,
    /// What the whole output must be, blanks around it aside.
    #[serde(default)]
    equals: Option<Scalar>,
    /// The exit codes that are right. Without this one a command that fails does not pass.
    #[serde(default)]
    exit: Option<OneOrMany<i32>>,
    /// The row: column headings or labels, and their values. The title line above a record goes by the name `title`.
    #[serde(default, rename = "where")]
    wherein: IndexMap<String, Scalar>,
    /// A column of the row, a label of the record (`Outer/Inner` for nested ones), or a member of an object dump
    /// (`runtime.bootTime`, or its last name alone).
    #[serde(default)]
    field: Option<String>,
    /// What the field must be: a value, or a list of which one must be it.
    #[serde(default)]
    value: Option<OneOrMany<Scalar>>,
    /// The least that the field may be, as a number.
    #[serde(default)]
    at_least: Option<f64>,
    /// The most that the field may be, as a number.
    #[serde(default)]
    at_most: Option<f64>,
    /// There must be no such row.
    #[serde(default)]
    absent: bool,
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "AssertSpec")]
pub struct Assert {
    spec: AssertSpec,
}

impl TryFrom<AssertSpec> for Assert {
    type Error = String;

    fn try_from(spec: AssertSpec) -> Result<Self, String> {
        let of_field = spec.value.is_some() || spec.at_least.is_some() || spec.at_most.is_some();
        let of_text = spec.matches.is_some() || spec.not_matches.is_some();
        if spec.command.trim().is_empty() {
            return Err("`command` is empty".into());
        }
        if of_field && spec.field.is_none() {
            return Err("`value`, `at_least` and `at_most` need a `field`".into());
        }
        if spec.field.is_some() && !of_field && !of_text {
            return Err("`field` needs a `value`, `at_least`, `at_most`, `matches` or `not_matches`".into());
        }
        if spec.absent && (spec.wherein.is_empty() || spec.field.is_some()) {
            return Err("`absent` goes with `where` and without `field`".into());
        }
        let nothing = !of_text && spec.equals.is_none() && spec.exit.is_none() && spec.wherein.is_empty();
        if nothing && spec.field.is_none() {
            return Err(
                "nothing is checked: give `matches`, `not_matches`, `equals`, `exit`, `where` or `field`".into()
            );
        }
        Ok(Self { spec })
    }
}

/// A text cut short for an error.
fn short(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() {
        return "nothing".into();
    }
    let cut: String = text.chars().take(400).collect();
    if cut.len() < text.len() { format!("{cut:?} ...") } else { format!("{cut:?}") }
}

/// Rows of a table, or records with their title as one more column.
fn rows(text: &str) -> Result<Vec<Record>, forms::FormError> {
    let no_table = match forms::table(text) {
        Ok(rows) => return Ok(rows),
        Err(error) => error,
    };
    let records = forms::records(text)?;
    if records.iter().all(|(_, record)| record.is_empty()) {
        return Err(no_table);
    }
    let titled = records.into_iter().map(|(title, mut record)| {
        record.entry("title".to_owned()).or_insert(title);
        record
    });
    Ok(titled.collect())
}

fn shown(conditions: &IndexMap<String, Scalar>) -> String {
    conditions.iter().map(|(k, v)| format!("{k} = {v}")).collect::<Vec<_>>().join(", ")
}

/// A column by its heading, in any case.
fn column<'a>(row: &'a Record, name: &str) -> Option<&'a str> {
    let any_case = || row.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v);
    row.get(name).or_else(any_case).map(String::as_str)
}

impl Assert {
    fn command(&self) -> Command {
        Command::raw(self.spec.command.trim())
    }

    fn unmet(&self, text: impl std::fmt::Display) -> StepError {
        StepError::Unmet(format!("`{}`: {text}", self.command()))
    }

    /// The one row that `where` names, or the only one.
    fn row(&self, rows: &[Record]) -> Result<Record, StepError> {
        let conditions = &self.spec.wherein;
        for name in conditions.keys().filter(|_| !rows.is_empty()) {
            if !rows.iter().any(|r| column(r, name).is_some()) {
                return Err(self.no_column(name, &rows[0]));
            }
        }
        let mut found =
            rows.iter().filter(|r| conditions.iter().all(|(k, v)| column(r, k).is_some_and(|c| v.equals(c))));
        match (found.next(), found.next()) {
            (Some(row), None) => Ok(row.clone()),
            (None, _) => {
                let (name, value) = conditions.first().map(|(k, v)| (k.as_str(), v.to_string())).unwrap_or_default();
                let cells: Vec<&str> = rows.iter().filter_map(|r| column(r, name)).filter(|c| !c.is_empty()).collect();
                let has = if cells.is_empty() { "no rows".to_owned() } else { format!("{name}: {}", cells.join(", ")) };
                let nearest = nearest_text(&value, cells);
                Err(self.unmet(format!("no row with {}; found {has}.{nearest}", shown(conditions))))
            }
            (Some(_), Some(_)) if conditions.is_empty() => {
                Err(self.unmet(format!("{} rows; say which one with `where`", rows.len())))
            }
            (Some(_), Some(_)) => {
                Err(self.unmet(format!("more than one row with {}; add a column to `where`", shown(conditions))))
            }
        }
    }

    fn no_column(&self, name: &str, row: &Record) -> StepError {
        let names: Vec<&str> = row.keys().map(String::as_str).collect();
        let nearest = nearest_text(name, names.iter().copied());
        self.unmet(format!("there is no {name:?}; found: {}.{nearest}", names.join(", ")))
    }

    /// The value of `field`.
    fn field(&self, field: &str, text: &str) -> Result<String, StepError> {
        // A bracket alone is no dump: a changed profile is called `(Updated) ESXi-...` (recorded on 5.5). And a dump
        // may have a heading (`Listsummary:`).
        if text.lines().any(|l| l.starts_with('(') && l.trim_end().ends_with(['{', '['])) {
            let dump = vimdump::parse(text.trim_start()).map_err(|e| StepError::unreadable(&self.command(), e))?;
            let found = dump.get(field).or_else(|| dump.find(field));
            return found.map(vimdump::Value::text).ok_or_else(|| self.unmet(format!("the object has no {field:?}")));
        }
        let rows = rows(text).map_err(|e| StepError::unreadable(&self.command(), e))?;
        let row = self.row(&rows)?;
        column(&row, field).map(str::to_owned).ok_or_else(|| self.no_column(field, &row))
    }

    fn check_field(&self, field: &str, text: &str) -> Result<(), StepError> {
        let found = self.field(field, text)?;
        let place = if self.spec.wherein.is_empty() {
            field.to_owned()
        } else {
            format!("{field} where {}", shown(&self.spec.wherein))
        };
        if let Some(value) = &self.spec.value
            && !value.items().iter().any(|v| v.equals(&found))
        {
            let wanted: Vec<String> = value.items().iter().map(|v| format!("{:?}", v.to_string())).collect();
            return Err(self.unmet(format!("{place} is {found:?}, expected {}", wanted.join(" or "))));
        }
        if self.spec.at_least.is_some() || self.spec.at_most.is_some() {
            let number: f64 =
                found.trim().parse().map_err(|_| self.unmet(format!("{place} is {found:?}, which is no number")))?;
            if self.spec.at_least.is_some_and(|least| number < least) {
                return Err(
                    self.unmet(format!("{place} is {found}, less than {}", self.spec.at_least.unwrap_or_default()))
                );
            }
            if self.spec.at_most.is_some_and(|most| number > most) {
                return Err(
                    self.unmet(format!("{place} is {found}, more than {}", self.spec.at_most.unwrap_or_default()))
                );
            }
        }
        self.check_text(&place, &found)
    }

    fn check_text(&self, place: &str, text: &str) -> Result<(), StepError> {
        if let Some(pattern) = &self.spec.matches
            && !pattern.is_match(text)
        {
            return Err(self.unmet(format!("{place} does not match /{pattern}/; found {}", short(text))));
        }
        match &self.spec.not_matches {
            Some(pattern) if pattern.is_match(text) => {
                Err(self.unmet(format!("{place} matches /{pattern}/ and must not; found {}", short(text))))
            }
            _ => Ok(()),
        }
    }

    fn check(&self, output: &Output) -> Result<(), StepError> {
        let text = &output.stdout;
        match &self.spec.exit {
            Some(codes) if !codes.items().contains(&output.code) => {
                let wanted: Vec<String> = codes.items().iter().map(i32::to_string).collect();
                let said = short(&format!("{text}{}", output.stderr));
                return Err(self.unmet(format!(
                    "exit code {}, expected {}; it printed {said}",
                    output.code,
                    wanted.join(" or ")
                )));
            }
            Some(_) => {}
            None => {
                if let Some(found) = failure(output) {
                    return Err(StepError::Command {
                        command: self.command().shown().to_owned(),
                        message: found.message,
                        advice: Some("If that is what is expected, say `exit`.".into()),
                    });
                }
            }
        }
        if let Some(value) = &self.spec.equals
            && !value.equals(text)
        {
            return Err(self.unmet(format!("expected {:?}, found {}", value.to_string(), short(text))));
        }
        match &self.spec.field {
            Some(field) => return self.check_field(field, text),
            None if !self.spec.wherein.is_empty() => {
                let rows = rows(text).map_err(|e| StepError::unreadable(&self.command(), e))?;
                let matching =
                    |r: &Record| self.spec.wherein.iter().all(|(k, v)| column(r, k).is_some_and(|c| v.equals(c)));
                match (rows.iter().any(matching), self.spec.absent) {
                    (true, true) => {
                        return Err(self.unmet(format!("there is a row with {}", shown(&self.spec.wherein))));
                    }
                    // Any number of rows will do; the search for one tells best what is wrong.
                    (false, false) => return self.row(&rows).map(|_| ()),
                    _ => {}
                }
            }
            None => {}
        }
        self.check_text("the output", text)
    }
}

impl Step for Assert {
    fn summary(&self) -> String {
        format!("check {}", self.command())
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![self.command()]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        self.check(seen.raw(&self.command())?).map(|()| Vec::new())
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let Ok(output) = seen.raw(&self.command()) else { return serde_json::Value::Null };
        let value = self.spec.field.as_ref().and_then(|f| self.field(f, &output.stdout).ok());
        json!({ "value": value, "stdout": output.stdout, "code": output.code })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Outputs, Version, recorded};
    use crate::steps::Artifacts;

    fn run(mut json: serde_json::Value, code: i32, text: &str) -> Result<(), String> {
        json["command"] = "x".into();
        let step: Assert = serde_json::from_value(json).unwrap();
        let host = HostFacts::example(Version::new(6, 7));
        let mut seen = Outputs::default();
        seen.insert(&step.reads(&host)[0], Output { stdout: text.into(), code, ..Output::default() });
        let seen = Seen { host: &host, outputs: &seen, artifacts: &Artifacts::default() };
        let changes = step.compare(&seen).map_err(|e| e.to_string())?;
        assert!(changes.is_empty());
        Ok(())
    }

    fn error(json: serde_json::Value, text: &str) -> String {
        run(json, 0, text).unwrap_err()
    }

    #[test]
    fn rows_of_tables_recorded_on_6_7_and_8_0() {
        let old = recorded(include_str!("../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"));
        let new = recorded(include_str!("../../fixtures/transcripts/8.0/storage-filesystem-list-vmfsos.txt"));
        run(json!({"where": {"Volume Name": "VMs"}, "field": "Type", "value": "VMFS-6"}), 0, &old).unwrap();
        run(
            json!({"where": {"volume name": "datastore1"}, "field": "free", "at_least": 1e9, "at_most": 1e12}),
            0,
            &new,
        )
        .unwrap();
        run(json!({"where": {"Type": "vfat"}}), 0, &old).unwrap();
        run(json!({"where": {"Volume Name": "gone"}, "absent": true}), 0, &old).unwrap();
        run(json!({"where": {"Volume Name": "VMs"}, "field": "Mounted", "value": true}), 0, &old).unwrap();
        let said = error(json!({"where": {"Volume Name": "datastore2"}, "field": "Type", "value": "VMFS-6"}), &new);
        assert!(said.contains("BOOTBANK1") && said.contains("Nearest: datastore1"), "{said}");
        let said = error(json!({"where": {"Volume Name": "VMs"}, "field": "Type", "value": ["NFS", "vfat"]}), &old);
        assert!(said.contains("\"VMFS-6\", expected \"NFS\" or \"vfat\""), "{said}");
        let said = error(json!({"where": {"Volumename": "VMs"}, "field": "Type", "value": "x"}), &old);
        assert!(said.contains("Nearest: Volume Name"), "{said}");
        assert!(
            error(json!({"where": {"Type": "vfat"}, "field": "Free", "at_least": 1}), &old)
                .contains("more than one row")
        );
        assert!(error(json!({"where": {"Type": "vfat"}, "absent": true}), &old).contains("there is a row"));
        assert!(
            error(json!({"where": {"Volume Name": "VMs"}, "field": "Free", "at_least": 1e12}), &old)
                .contains("less than")
        );
        assert!(error(json!({"where": {"Name": "vmk0"}}), "").contains("no rows"));
    }

    #[test]
    fn records_recorded_on_7_0_and_6_5() {
        let ntp = recorded(include_str!("../../fixtures/transcripts/7.0/system-ntp-get.txt"));
        run(json!({"field": "Enabled", "value": true}), 0, &ntp).unwrap();
        run(json!({"field": "Servers", "matches": "2\\.nl", "not_matches": "ubuntu"}), 0, &ntp).unwrap();
        assert!(error(json!({"field": "Server", "value": "x"}), &ntp).contains("Nearest: Servers"));
        let ssd = recorded(include_str!("../../fixtures/transcripts/6.5/storage-core-device-list-ssd.txt"));
        run(json!({"where": {"title": "t10.ATA_APPLE_SSD_SM256E"}, "field": "Is SSD", "value": "true"}), 0, &ssd)
            .unwrap();
        run(json!({"field": "Size", "value": 239372}), 0, &ssd).unwrap();
        assert!(error(json!({"field": "Is SSD", "value": false}), &ssd).contains("\"true\", expected \"false\""));
    }

    #[test]
    fn object_dumps_words_and_patterns() {
        let dump = recorded(include_str!("../../fixtures/transcripts/5.x/advopt-view-scratch.txt"));
        run(json!({"field": "value", "matches": "\\.locker$"}), 0, &dump).unwrap();
        run(json!({"field": "0.key", "value": "ScratchConfig.ConfiguredScratchLocation"}), 0, &dump).unwrap();
        assert!(error(json!({"field": "nothing", "value": 1}), &dump).contains("has no"));
        // Its first line begins with a bracket, and it is a record below a title.
        let profile = recorded(include_str!("../../fixtures/transcripts/5.x/software-profile-get-updated.txt"));
        run(json!({"field": "Vendor", "value": "macm.local.com"}), 0, &profile).unwrap();
        let headed = "Listsummary:\n\n(vim.vm.Summary) {\n   name = \"a\", \n}\n";
        run(json!({"field": "name", "value": "a"}), 0, headed).unwrap();
        let off = recorded(include_str!("../../fixtures/transcripts/5.x/maintenancemode-get-disabled.txt"));
        run(json!({"equals": "Disabled"}), 0, &off).unwrap();
        assert!(error(json!({"equals": "Enabled"}), &off).contains("found \"Disabled\""));
        let summary = recorded(include_str!("../../fixtures/transcripts/6.0/hostsummary-grep-cpumodel.txt"));
        run(json!({"matches": "^ *cpuModel = .*E31220", "not_matches": "AMD"}), 0, &summary).unwrap();
        assert!(error(json!({"not_matches": "Intel"}), &summary).contains("must not"));
        assert!(error(json!({"field": "a", "value": 1}), "neither this nor that").contains("unexpected"));
    }

    #[test]
    fn a_failure_does_not_pass_unless_it_is_expected() {
        assert!(run(json!({"matches": ""}), 1, "Error: Unknown command or namespace x\n").is_err());
        run(json!({"exit": 1}), 1, "Error: Unknown command or namespace x\n").unwrap();
        assert!(run(json!({"exit": [1, 2]}), 0, "fine").unwrap_err().contains("expected 1 or 2"));
    }

    #[test]
    fn what_checks_nothing_is_refused() {
        for bad in [
            json!({"command": "x"}),
            json!({"command": "", "exit": 0}),
            json!({"command": "x", "value": 1}),
            json!({"command": "x", "field": "a"}),
            json!({"command": "x", "field": "a", "value": 1, "where": {"a": 1}, "absent": true}),
            json!({"command": "x", "matches": "("}),
        ] {
            assert!(serde_json::from_value::<Assert>(bad).is_err());
        }
    }
}
