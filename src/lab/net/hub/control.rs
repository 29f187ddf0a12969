//! Talking to a running switch: one JSON value a line over a unix socket, a reply for each request.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Capture, Counters, Event, FaultConfig, HubError, Mac, PortConfig};

/// How long a switch may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// Ports and counters.
    Stats,
    /// What was learned.
    Table,
    /// The last things that were worth telling.
    Events,
    /// A new port.
    AddPort {
        /// The port.
        port: PortConfig,
    },
    /// A port less.
    RemovePort {
        /// Its name.
        name: String,
    },
    /// Begins a capture; one that runs ends.
    Capture(Capture),
    /// Ends the capture.
    CaptureOff,
    /// Other faults at a port.
    Faults {
        /// Its name.
        name: String,
        /// The faults.
        faults: FaultConfig,
    },
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done,
    /// It is not done.
    Refused {
        /// Why not.
        problem: String,
    },
    /// To [`Request::Stats`].
    Stats(Stats),
    /// To [`Request::Table`].
    Table {
        /// The rows.
        rows: Vec<TableEntry>,
    },
    /// To [`Request::Events`].
    Events {
        /// The oldest first.
        events: Vec<Event>,
    },
}

/// How a switch is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// The lab.
    pub lab: String,
    /// Its process.
    pub pid: u32,
    /// Milliseconds since it began.
    pub up_ms: u64,
    /// Whether frames are captured.
    pub capturing: bool,
    /// Its ports.
    pub ports: Vec<PortStats>,
}

/// How a port is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PortStats {
    /// Its name.
    pub name: String,
    /// Whether the guest's socket took the last frame.
    pub guest_there: bool,
    /// Frames and bytes.
    pub counters: Counters,
    /// Frames for the guest that were dropped because it does not fetch them (its queue was full).
    pub dropped_full: u64,
    /// Frames for the guest that were dropped because no guest is there.
    pub dropped_absent: u64,
    /// Frames for the guest that were lost on purpose.
    pub dropped_fault: u64,
    /// Frames for the guest that could not be sent for other reasons.
    pub dropped_error: u64,
}

/// A MAC that was learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    /// The VLAN; 0: frames without a tag.
    pub vlan: u16,
    /// The MAC.
    pub mac: Mac,
    /// The port's name.
    pub port: String,
    /// Seconds since it was seen.
    pub age_s: u64,
}

/// Asks a running switch. What it refuses is an error.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply, HubError> {
    let stream = UnixStream::connect(socket).map_err(HubError::io("be reached at", socket))?;
    let talk = |mut stream: UnixStream| -> std::io::Result<String> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut reply = String::new();
        BufReader::new(stream).read_line(&mut reply)?;
        Ok(reply)
    };
    let reply = talk(stream).map_err(HubError::io("answer at", socket))?;
    match serde_json::from_str(&reply) {
        Ok(Reply::Refused { problem }) => Err(HubError::Refused(problem)),
        Ok(reply) => Ok(reply),
        Err(e) => Err(HubError::Reply { path: socket.to_owned(), problem: e.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines_that_people_can_write() {
        let read = |text: &str| serde_json::from_str::<Request>(text).unwrap();
        assert_eq!(read(r#"{"do":"stats"}"#), Request::Stats);
        assert_eq!(
            read(r#"{"do":"add-port","port":{"name":"h3-0","vlan":{"mode":"access","tag":10}}}"#),
            Request::AddPort {
                port: PortConfig { vlan: super::super::VlanMode::Access { tag: 10 }, ..PortConfig::new("h3-0") }
            }
        );
        let capture = read(r#"{"do":"capture","file":"/tmp/a.pcap"}"#);
        assert_eq!(capture, Request::Capture(Capture { file: "/tmp/a.pcap".into(), port: None, max_bytes: 1 << 30 }));
        assert_eq!(serde_json::to_string(&Reply::Done).unwrap(), r#"{"is":"done"}"#);
    }
}
