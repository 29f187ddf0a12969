//! Commands by name, with typed answers.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::{QemuVersion, Qmp, USUAL_LIMIT};
use super::human::{self, Forward, UserConnection};
use super::{QmpError, keys};

/// The first QEMU whose `screendump` writes PNG.
const PNG_SINCE: QemuVersion = QemuVersion { major: 7, minor: 1, micro: 0 };

/// What QEMU says of its machine.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Whether the guest's processors run.
    pub running: bool,
    /// QEMU's word: `running`, `paused`, `prelaunch`, `shutdown`, `guest-panicked`, `save-vm`, ...
    pub status: String,
}

/// The form of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScreenFormat {
    /// PNG.
    Png,
    /// Portable pixmap, from QEMU before 7.1.
    Ppm,
}

/// A picture of the guest's screen, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screenshot {
    /// The file.
    pub path: PathBuf,
    /// Its form.
    pub format: ScreenFormat,
}

/// A drive as the guest has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BlockDevice {
    /// The name given with `-drive id=`; empty for `-blockdev`.
    #[serde(default)]
    pub device: String,
    /// The device's path in QEMU's object tree, when a device uses it.
    #[serde(default)]
    pub qdev: Option<String>,
    /// The medium; a CD drive may have none.
    #[serde(default)]
    pub inserted: Option<Image>,
}

impl BlockDevice {
    /// The name that block commands take.
    pub fn name(&self) -> Option<&str> {
        if self.device.is_empty() { self.inserted.as_ref()?.node_name.as_deref() } else { Some(&self.device) }
    }
}

/// A medium.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// Its node.
    #[serde(default)]
    pub node_name: Option<String>,
    /// QEMU's driver: `qcow2`, `raw`, `file`, ...
    pub drv: String,
    /// The file, as given to QEMU.
    #[serde(default)]
    pub file: String,
    /// Whether the guest cannot write it.
    pub ro: bool,
    /// What is known of the image.
    #[serde(default)]
    pub image: ImageInfo,
}

/// What is known of an image, from `query-block` or from `qemu-img info --output=json`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ImageInfo {
    /// Its format.
    pub format: String,
    /// Size that the guest sees, in bytes.
    pub virtual_size: u64,
    /// Bytes taken on the disk.
    pub actual_size: u64,
    /// Internal snapshots.
    pub snapshots: Vec<Snapshot>,
}

/// An internal snapshot of an image.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snapshot {
    /// QEMU's number for it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Bytes of memory and devices in it; 0 for a snapshot of the disk alone, and on all disks but the first.
    #[serde(default)]
    pub vm_state_size: u64,
    /// When, in seconds since 1970.
    #[serde(default)]
    pub date_sec: i64,
}

/// A job of QEMU.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: String,
    /// `running`, `concluded`, ...
    pub status: String,
    /// Why it failed, if it did.
    #[serde(default)]
    pub error: Option<String>,
}

impl Qmp {
    async fn ask<T: DeserializeOwned>(&self, command: &str, arguments: Value) -> Result<T, QmpError> {
        let answer = self.execute(command, arguments).await?;
        serde_json::from_value(answer).map_err(|e| QmpError::Odd { doing: command.to_owned(), problem: e.to_string() })
    }

    async fn tell(&self, command: &str, arguments: Value) -> Result<(), QmpError> {
        self.execute(command, arguments).await.map(|_| ())
    }

    /// Whether the guest runs.
    pub async fn status(&self) -> Result<Status, QmpError> {
        self.ask("query-status", Value::Null).await
    }

    /// Presses the guest's power button. A guest that does not listen ignores it, and nothing says so.
    pub async fn powerdown(&self) -> Result<(), QmpError> {
        self.tell("system_powerdown", Value::Null).await
    }

    /// Presses the guest's reset button.
    pub async fn reset(&self) -> Result<(), QmpError> {
        self.tell("system_reset", Value::Null).await
    }

    /// Ends QEMU at once; what the guest has not written to its disks is lost. A connection that ends before the
    /// answer is what was asked for.
    pub async fn quit(&self) -> Result<(), QmpError> {
        match self.tell("quit", Value::Null).await {
            Err(QmpError::Lost { .. }) => Ok(()),
            other => other,
        }
    }

    /// Halts the guest's processors.
    pub async fn stop(&self) -> Result<(), QmpError> {
        self.tell("stop", Value::Null).await
    }

    /// Lets them run on.
    pub async fn cont(&self) -> Result<(), QmpError> {
        self.tell("cont", Value::Null).await
    }

    /// Saves the guest's screen to `stem` with `.png` added, or `.ppm` before QEMU 7.1. The path is QEMU's to open,
    /// so make it absolute.
    pub async fn screendump(&self, stem: &Path) -> Result<Screenshot, QmpError> {
        let format = if self.version() >= PNG_SINCE { ScreenFormat::Png } else { ScreenFormat::Ppm };
        let ending = if format == ScreenFormat::Png { ".png" } else { ".ppm" };
        let mut path = stem.as_os_str().to_owned();
        path.push(ending);
        let path = PathBuf::from(path);
        let mut arguments = json!({"filename": path.to_string_lossy()});
        if format == ScreenFormat::Png {
            arguments["format"] = "png".into();
        }
        self.tell("screendump", arguments).await?;
        Ok(Screenshot { path, format })
    }

    /// Presses keys together and lets them go. `hold` is how long the guest sees them down.
    pub async fn press(&self, chord: &[&str], hold: Duration) -> Result<(), QmpError> {
        let keys: Vec<_> = chord.iter().map(|key| json!({"type": "qcode", "data": key})).collect();
        let hold_ms = u64::try_from(hold.as_millis()).unwrap_or(100);
        self.tell("send-key", json!({"keys": keys, "hold-time": hold_ms})).await
    }

    /// Types a text on a US keyboard, `\n` being Enter. `pace` is the time from key to key; half of it a key is held.
    /// Guests are known to lose keys that come faster than they look, so check the screen afterwards.
    pub async fn type_text(&self, text: &str, pace: Duration) -> Result<(), QmpError> {
        // Refused as a whole before the first key.
        for chord in keys::chords(text)? {
            self.press(&chord, pace / 2).await?;
            sleep(pace).await;
        }
        Ok(())
    }

    /// Carries out a line of the human monitor; its answer. Failures come as text of a success: see
    /// [`human::silence`].
    pub async fn human(&self, line: &str, limit: Duration) -> Result<String, QmpError> {
        let arguments = json!({"command-line": line});
        let answer = self.execute_within("human-monitor-command", arguments, limit).await?;
        answer
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| QmpError::Odd { doing: line.to_owned(), problem: "it is no text".to_owned() })
    }

    /// A line for which silence is success.
    async fn human_silent(&self, line: &str, limit: Duration) -> Result<(), QmpError> {
        human::silence(line, &self.human(line, limit).await?)
    }

    /// Saves memory, devices and all writable disks under a name; one of that name is replaced. The guest stands
    /// still meanwhile. Grows the first writable disk by the memory in use.
    pub async fn savevm(&self, name: &str, limit: Duration) -> Result<(), QmpError> {
        self.human_silent(&format!("savevm {}", human::word(name)?), limit).await
    }

    /// Goes back to such a save. The machine must have the devices that it had.
    pub async fn loadvm(&self, name: &str, limit: Duration) -> Result<(), QmpError> {
        self.human_silent(&format!("loadvm {}", human::word(name)?), limit).await
    }

    /// Removes such a save from all disks. QEMU 10.0.2 says nothing when there is none.
    pub async fn delvm(&self, name: &str, limit: Duration) -> Result<(), QmpError> {
        self.human_silent(&format!("delvm {}", human::word(name)?), limit).await
    }

    /// As [`Qmp::savevm`], by QEMU's job of newer versions (since 6.0) and on the nodes named alone.
    pub async fn snapshot_save(
        &self,
        name: &str,
        vmstate: &str,
        nodes: &[String],
        limit: Duration,
    ) -> Result<(), QmpError> {
        let arguments = json!({"tag": name, "vmstate": vmstate, "devices": nodes});
        self.run_job("snapshot-save", arguments, limit).await
    }

    /// As [`Qmp::loadvm`], by a job. The guest must be stopped and stays so.
    pub async fn snapshot_load(
        &self,
        name: &str,
        vmstate: &str,
        nodes: &[String],
        limit: Duration,
    ) -> Result<(), QmpError> {
        let arguments = json!({"tag": name, "vmstate": vmstate, "devices": nodes});
        self.run_job("snapshot-load", arguments, limit).await
    }

    /// As [`Qmp::delvm`], by a job.
    pub async fn snapshot_delete(&self, name: &str, nodes: &[String], limit: Duration) -> Result<(), QmpError> {
        self.run_job("snapshot-delete", json!({"tag": name, "devices": nodes}), limit).await
    }

    /// Starts a job and waits for its end; a job that failed is an error. It is dismissed in any case.
    async fn run_job(&self, command: &str, mut arguments: Value, limit: Duration) -> Result<(), QmpError> {
        let id = format!("esxprep-{:08x}", rand::random::<u32>());
        arguments["job-id"] = id.clone().into();
        self.tell(command, arguments).await?;
        let deadline = Instant::now() + limit;
        loop {
            let jobs: Vec<Job> = self.ask("query-jobs", Value::Null).await?;
            match jobs.into_iter().find(|job| job.id == id) {
                Some(job) if job.status == "concluded" => {
                    self.tell("job-dismiss", json!({"id": id})).await?;
                    return match job.error {
                        Some(error) => Err(QmpError::Job { job: command.to_owned(), error }),
                        None => Ok(()),
                    };
                }
                None => {
                    let problem = format!("its job {id} has vanished");
                    return Err(QmpError::Odd { doing: command.to_owned(), problem });
                }
                Some(_) if Instant::now() >= deadline => {
                    return Err(QmpError::Silent { doing: command.to_owned(), waited: limit });
                }
                Some(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// The drives.
    pub async fn block_devices(&self) -> Result<Vec<BlockDevice>, QmpError> {
        self.ask("query-block", Value::Null).await
    }

    /// All block nodes, those without a device too.
    pub async fn block_nodes(&self) -> Result<Vec<Image>, QmpError> {
        self.ask("query-named-block-nodes", json!({"flat": true})).await
    }

    /// What keeps the memory from being saved, in QEMU's words; empty when nothing is known to (since QEMU 6.0). A
    /// writable disk that cannot hold snapshots is not among it.
    pub async fn save_blockers(&self) -> Result<Vec<String>, QmpError> {
        let answer = self.execute("query-migrate", Value::Null).await?;
        let reasons = answer["blocked-reasons"].as_array().cloned().unwrap_or_default();
        Ok(reasons.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// Takes a snapshot of these disks' contents, all at one instant or none.
    pub async fn snapshot_disks(&self, name: &str, devices: &[String]) -> Result<(), QmpError> {
        let actions: Vec<_> = devices
            .iter()
            .map(|d| json!({"type": "blockdev-snapshot-internal-sync", "data": {"device": d, "name": name}}))
            .collect();
        self.tell("transaction", json!({"actions": actions})).await
    }

    /// Removes a snapshot from one disk.
    pub async fn unsnapshot_disk(&self, name: &str, device: &str) -> Result<(), QmpError> {
        self.tell("blockdev-snapshot-delete-internal-sync", json!({"device": device, "name": name})).await
    }

    /// Adds a forward to the user network `netdev`.
    pub async fn add_forward(&self, netdev: &str, forward: &Forward) -> Result<(), QmpError> {
        let line = format!("hostfwd_add {} {}", human::word(netdev)?, forward.rule());
        self.human_silent(&line, USUAL_LIMIT).await
    }

    /// Takes one away. Connections through it live on.
    pub async fn remove_forward(&self, netdev: &str, forward: &Forward) -> Result<(), QmpError> {
        let line = format!("hostfwd_remove {} {}", human::word(netdev)?, forward.listener());
        human::removed(&line, &self.human(&line, USUAL_LIMIT).await?)
    }

    /// What goes through the user networks: forwards that listen, and connections.
    pub async fn user_connections(&self) -> Result<Vec<UserConnection>, QmpError> {
        Ok(human::user_connections(&self.human("info usernet", USUAL_LIMIT).await?))
    }

    /// The forwards that listen now, with their netdevs.
    pub async fn forwards(&self) -> Result<Vec<(String, Forward)>, QmpError> {
        let connections = self.user_connections().await?;
        Ok(connections.into_iter().filter_map(|c| Some((c.netdev.clone(), c.forward()?))).collect())
    }

    /// Whether a forward on this machine's address and port listens already.
    pub async fn has_forward(&self, address: Ipv4Addr, port: u16) -> Result<bool, QmpError> {
        Ok(self.forwards().await?.iter().any(|(_, f)| (f.host_address, f.host_port) == (address, port)))
    }
}
