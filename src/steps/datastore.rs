//! `datastore`: a datastore or a disk is there, with enough room. A check: it never changes anything.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::sysargs::{Size, nearest_text};
use super::{Change, Kind, Seen, Step, StepError, parse_as};
use crate::esxi::forms::Record;
use crate::esxi::{Command, HostFacts, Output};

/// The kind.
pub const KIND: Kind = Kind {
    name: "datastore",
    about: "Checks that a datastore or a disk is visible, with enough free space",
    example: "\
- datastore:
    name: datastore1
    min_free: 10GB
",
    parse: parse_as::<Datastore>,
    schema: |generator| generator.subschema_for::<DatastoreSpec>(),
};

/// A datastore by name, or a disk, that must be visible to the host (or must not).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DatastoreSpec {
    /// The datastore: its name or UUID.
    #[serde(default)]
    name: Option<String>,
    /// The disk: `naa....`, `t10....`, `mpx....`, `eui....` or its display name.
    #[serde(default)]
    disk: Option<String>,
    /// Whether it must be there.
    #[serde(default = "yes", alias = "present")]
    visible: bool,
    /// The least free space.
    #[serde(default)]
    min_free: Option<Size>,
    /// The type of the file system: `VMFS`, `VMFS-6`, `NFS`, `vfat` ...
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone)]
enum What {
    Datastore { name: String, min_free: Option<Size>, kind: Option<String> },
    Disk(String),
}

/// The step.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "DatastoreSpec")]
pub struct Datastore {
    what: What,
    visible: bool,
}

impl TryFrom<DatastoreSpec> for Datastore {
    type Error = String;

    fn try_from(spec: DatastoreSpec) -> Result<Self, String> {
        let DatastoreSpec { name, disk, visible, min_free, kind } = spec;
        let details = min_free.is_some() || kind.is_some();
        if details && (disk.is_some() || !visible) {
            return Err("`min_free` and `type` are for a datastore that must be visible".into());
        }
        let what = match (name, disk) {
            (Some(name), None) => What::Datastore { name, min_free, kind },
            (None, Some(disk)) => What::Disk(disk),
            (Some(_), Some(_)) => return Err("give `name` or `disk`, not both".into()),
            (None, None) => return Err("give the `name` of a datastore, or a `disk`".into()),
        };
        Ok(Self { what, visible })
    }
}

fn volumes() -> Command {
    Command::esxcli("storage filesystem list")
}

fn disks() -> Command {
    Command::esxcli("storage core device list")
}

fn cell<'a>(row: &'a Record, column: &str) -> &'a str {
    row.get(column).map_or("", String::as_str)
}

fn volume<'a>(rows: &'a [Record], name: &str) -> Option<&'a Record> {
    rows.iter().find(|r| cell(r, "Volume Name") == name || cell(r, "UUID") == name)
}

impl Datastore {
    fn check(&self, seen: &Seen<'_>) -> Result<(), StepError> {
        match &self.what {
            What::Datastore { name, min_free, kind } => {
                let rows = seen.table(&volumes())?;
                match (volume(&rows, name), self.visible) {
                    (Some(row), true) => check_volume(row, name, *min_free, kind.as_deref()),
                    (Some(row), false) => {
                        let at = cell(row, "Mount Point");
                        Err(StepError::Unmet(format!("the datastore {name} is visible, at {at}, and must not be")))
                    }
                    (None, true) => {
                        let names = rows.iter().map(|r| cell(r, "Volume Name")).filter(|n| !n.is_empty());
                        Err(not_there(
                            "datastore",
                            name,
                            names.collect(),
                            "a disk whose driver is missing, or a copy of a volume that is not mounted, is not in this list.",
                        ))
                    }
                    (None, false) => Ok(()),
                }
            }
            What::Disk(disk) => {
                let all = seen.records(&disks())?;
                let found = all.iter().any(|(title, r)| {
                    title == disk
                        || cell(r, "Display Name") == disk
                        || cell(r, "Other UIDs").split(", ").any(|u| u == disk)
                });
                match (found, self.visible) {
                    (true, false) => Err(StepError::Unmet(format!("the disk {disk} is visible and must not be"))),
                    (false, true) => {
                        let names = all.iter().map(|(title, _)| title.as_str()).collect();
                        Err(not_there(
                            "disk",
                            disk,
                            names,
                            "check the controller's driver (`esxcli storage core adapter list`).",
                        ))
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

fn not_there(what: &str, name: &str, names: Vec<&str>, hint: &str) -> StepError {
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let nearest = nearest_text(name, names);
    StepError::Unmet(format!(
        "the {what} {name} is not visible; found: {found}.{nearest} If it should be there: {hint}"
    ))
}

fn check_volume(row: &Record, name: &str, min_free: Option<Size>, kind: Option<&str>) -> Result<(), StepError> {
    if cell(row, "Mounted").eq_ignore_ascii_case("false") {
        return Err(StepError::Unmet(format!("the datastore {name} is there but not mounted")));
    }
    let found = cell(row, "Type");
    if let Some(kind) = kind {
        // `VMFS` stands for VMFS-5 and VMFS-6.
        let prefix = found.get(..kind.len()).is_some_and(|p| p.eq_ignore_ascii_case(kind));
        let rest = found.get(kind.len()..).unwrap_or("");
        if !prefix || !(rest.is_empty() || rest.starts_with('-')) {
            return Err(StepError::Unmet(format!("the datastore {name} has the type {found}, not {kind}")));
        }
    }
    if let Some(least) = min_free {
        let free: u64 = cell(row, "Free")
            .parse()
            .map_err(|_| StepError::unreadable(&volumes(), format!("no number under `Free` for {name}")))?;
        if Size(free) < least {
            return Err(StepError::Unmet(format!(
                "the datastore {name} has {} free, less than {least}: make room, or name another datastore",
                Size(free)
            )));
        }
    }
    Ok(())
}

impl Step for Datastore {
    fn summary(&self) -> String {
        let (what, name) = match &self.what {
            What::Datastore { name, .. } => ("datastore", name),
            What::Disk(disk) => ("disk", disk),
        };
        format!("{what} {name} is {}", if self.visible { "visible" } else { "not visible" })
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        vec![if matches!(self.what, What::Disk(_)) { disks() } else { volumes() }]
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        self.check(seen).map(|()| Vec::new())
    }

    fn register(&self, seen: &Seen<'_>, _ran: &[(Command, Output)]) -> serde_json::Value {
        let What::Datastore { name, .. } = &self.what else { return serde_json::Value::Null };
        let rows = seen.table(&volumes()).unwrap_or_default();
        volume(&rows, name).map_or(serde_json::Value::Null, |row| {
            let number = |column| cell(row, column).parse::<u64>().ok();
            json!({
                "path": cell(row, "Mount Point"), "uuid": cell(row, "UUID"), "type": cell(row, "Type"),
                "size": number("Size"), "free": number("Free"),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Outputs, Version, recorded};
    use crate::steps::Artifacts;

    fn run(json: serde_json::Value, text: &str) -> (Result<Vec<Change>, String>, serde_json::Value) {
        let step: Datastore = serde_json::from_value(json).unwrap();
        let host = HostFacts::example(Version::new(6, 7));
        let mut seen = Outputs::default();
        seen.insert(&step.reads(&host)[0], Output::ok(text));
        let seen = Seen { host: &host, outputs: &seen, artifacts: &Artifacts::default() };
        (step.compare(&seen).map_err(|e| e.to_string()), step.register(&seen, &[]))
    }

    fn error(json: serde_json::Value, text: &str) -> String {
        run(json, text).0.unwrap_err()
    }

    #[test]
    fn datastores_recorded_on_6_7() {
        let text = recorded(include_str!("../../fixtures/transcripts/6.7/storage-filesystem-list-empty-names.txt"));
        let (changes, kept) = run(json!({"name": "VMs", "min_free": "500GB", "type": "VMFS"}), &text);
        assert!(changes.unwrap().is_empty());
        assert_eq!(kept["free"], 556_500_254_720_u64);
        assert!(error(json!({"name": "VMs", "min_free": "1TB"}), &text).contains("556.5 GB free, less than 1.0 TB"));
        assert!(error(json!({"name": "VMs", "type": "NFS"}), &text).contains("VMFS-6, not NFS"));
        assert!(error(json!({"name": "VMs", "present": false}), &text).contains("must not be"));
        assert!(run(json!({"name": "gone", "visible": false}), &text).0.is_ok());
    }

    #[test]
    fn what_is_missing_on_8_0_is_named_with_what_is_there() {
        let text = recorded(include_str!("../../fixtures/transcripts/8.0/storage-filesystem-list-vmfsos.txt"));
        let said = error(json!({"name": "datastore2"}), &text);
        assert!(said.contains("DS132_DS01_SATA_1TB") && said.contains("Nearest: datastore1"), "{said}");
        assert!(run(json!({"name": "datastore1", "type": "VMFS-6"}), &text).0.is_ok());
        // VMFSOS is not a VMFS datastore.
        let osdata = json!({"name": "OSDATA-6a91690d-eac44959-2d46-001b21e7d76e", "type": "VMFS"});
        assert!(error(osdata, &text).contains("VMFSOS"));
        assert!(error(json!({"name": "x"}), "").contains("found: none"));
    }

    #[test]
    fn disks_recorded_on_5_0_and_6_5() {
        let lsi = recorded(include_str!("../../fixtures/transcripts/5.x/storage-core-device-list-lsi.txt"));
        let ssd = recorded(include_str!("../../fixtures/transcripts/6.5/storage-core-device-list-ssd.txt"));
        assert!(run(json!({"disk": "naa.600605b001f819701a2d10d113694cbf"}), &lsi).0.is_ok());
        assert!(run(json!({"disk": "Local ATA Disk (t10.ATA_APPLE_SSD_SM256E)"}), &ssd).0.is_ok());
        let both = format!("{lsi}\n{ssd}");
        let said = error(json!({"disk": "naa.1"}), &both);
        assert!(said.contains("naa.600605b001f819701a2d10d113694cbf, t10.ATA_APPLE_SSD_SM256E"), "{said}");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [json!({}), json!({"name": "a", "disk": "b"}), json!({"disk": "b", "min_free": 1})] {
            assert!(serde_json::from_value::<Datastore>(bad).is_err());
        }
    }
}
