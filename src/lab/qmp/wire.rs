//! QMP's lines: pure, for text from outside. Each message is one JSON object on a line (QEMU, docs/interop/qmp-spec).

use serde::Deserialize;
use serde_json::Value;

/// Longest line taken, in bytes. The longest seen, `query-qmp-schema` of QEMU 10.0.2, has under 1 MiB.
pub const MAX_LINE: usize = 16 * 1024 * 1024;

/// What comes from QEMU.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// The first line.
    Greeting {
        /// Version: major, minor, micro.
        version: (u32, u32, u32),
        /// The distribution's words.
        package: String,
    },
    /// A command went well.
    Return {
        /// The command's number, when it had one.
        id: Option<u64>,
        /// The answer.
        value: Value,
    },
    /// A command failed.
    Error {
        /// The command's number, when it had one.
        id: Option<u64>,
        /// QEMU's class.
        class: String,
        /// QEMU's words.
        desc: String,
    },
    /// Something happened in the guest or in QEMU.
    Event(Event),
}

/// Something that happened in the guest or in QEMU.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `SHUTDOWN`, `RESET`, `POWERDOWN`, ...
    pub name: String,
    /// What goes with it; null when nothing does.
    pub data: Value,
    /// Seconds since 1970; 0 when QEMU did not know.
    pub seconds: i64,
    /// Microseconds of that second.
    pub micros: i64,
}

/// A line that is not QMP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No JSON, or not an object of the kinds above.
    #[error("not a QMP message: {problem}: {text:?}")]
    NotQmp {
        /// What is wrong with it.
        problem: String,
        /// Its beginning.
        text: String,
    },
    /// Longer than [`MAX_LINE`].
    #[error("a line of more than {MAX_LINE} bytes")]
    TooLong,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(rename = "QMP")]
    qmp: Option<RawGreeting>,
    event: Option<String>,
    #[serde(default)]
    data: Value,
    timestamp: Option<RawTime>,
    // `Some(null)` and absent are not the same.
    #[serde(default, deserialize_with = "present")]
    r#return: Option<Value>,
    error: Option<RawError>,
    id: Option<Value>,
}

#[derive(Deserialize)]
struct RawGreeting {
    version: RawVersion,
}

#[derive(Deserialize)]
struct RawVersion {
    qemu: RawTriple,
    #[serde(default)]
    package: String,
}

#[derive(Deserialize)]
struct RawTriple {
    major: u32,
    minor: u32,
    micro: u32,
}

#[derive(Deserialize)]
struct RawTime {
    seconds: i64,
    microseconds: i64,
}

#[derive(Deserialize)]
struct RawError {
    class: String,
    desc: String,
}

fn present<'de, D: serde::Deserializer<'de>>(d: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(d).map(Some)
}

/// Reads one line, without its end. An empty one is nothing.
pub fn parse_line(line: &[u8]) -> Result<Option<Incoming>, WireError> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let not = |problem: String| WireError::NotQmp {
        problem,
        text: String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned(),
    };
    let raw: Raw = serde_json::from_slice(line).map_err(|e| not(e.to_string()))?;
    let id = raw.id.as_ref().and_then(Value::as_u64);
    Ok(Some(if let Some(greeting) = raw.qmp {
        let v = greeting.version;
        Incoming::Greeting { version: (v.qemu.major, v.qemu.minor, v.qemu.micro), package: v.package }
    } else if let Some(name) = raw.event {
        let (seconds, micros) = raw.timestamp.map_or((0, 0), |t| (t.seconds, t.microseconds));
        Incoming::Event(Event { name, data: raw.data, seconds, micros })
    } else if let Some(error) = raw.error {
        Incoming::Error { id, class: error.class, desc: error.desc }
    } else if let Some(value) = raw.r#return {
        Incoming::Return { id, value }
    } else {
        return Err(not("neither greeting, return, error nor event".to_owned()));
    }))
}

/// Cuts bytes into lines, in pieces of any size.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no line feed.
    searched: usize,
}

impl Lines {
    /// Takes bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub fn next_line(&mut self) -> Result<Option<Vec<u8>>, WireError> {
        match self.buffer[self.searched..].iter().position(|b| *b == b'\n') {
            Some(at) => {
                let end = self.searched + at;
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                self.searched = 0;
                line.truncate(end);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                if line.len() > MAX_LINE { Err(WireError::TooLong) } else { Ok(Some(line)) }
            }
            None if self.buffer.len() > MAX_LINE => Err(WireError::TooLong),
            None => {
                self.searched = self.buffer.len();
                Ok(None)
            }
        }
    }
}

/// Body of the fuzz target: any bytes, cut anywhere, neither panic nor depend on where they were cut.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    let all = |chunks: &mut dyn Iterator<Item = &[u8]>| {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            lines.feed(chunk);
            while let Ok(Some(line)) = lines.next_line() {
                found.push(parse_line(&line));
            }
        }
        found
    };
    let whole = all(&mut std::iter::once(data));
    let pieces = all(&mut data.chunks(3));
    assert!(whole == pieces, "cut differently, read differently");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As printed by QEMU 10.0.2.
    const GREETING: &str = r#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "Debian 1:10.0.2"}, "capabilities": ["oob"]}}"#;
    const EVENT: &str = r#"{"timestamp": {"seconds": 1795887500, "microseconds": 232850}, "event": "SHUTDOWN", "data": {"guest": false, "reason": "host-qmp-quit"}}"#;

    #[test]
    fn every_kind_of_message_is_read() {
        assert_eq!(
            parse_line(GREETING.as_bytes()).unwrap(),
            Some(Incoming::Greeting { version: (10, 0, 2), package: "Debian 1:10.0.2".into() })
        );
        let Some(Incoming::Event(event)) = parse_line(EVENT.as_bytes()).unwrap() else { panic!() };
        assert_eq!((event.name.as_str(), event.seconds, event.micros), ("SHUTDOWN", 1795887500, 232850));
        assert_eq!(event.data["reason"], "host-qmp-quit");
        let read = |line: &str| parse_line(line.as_bytes()).unwrap().unwrap();
        assert_eq!(read(r#"{"return": {}, "id": 7}"#), Incoming::Return { id: Some(7), value: serde_json::json!({}) });
        assert_eq!(read(r#"{"return": null}"#), Incoming::Return { id: None, value: Value::Null });
        assert_eq!(
            read(r#"{"id": 8, "error": {"class": "CommandNotFound", "desc": "The command x has not been found"}}"#),
            Incoming::Error {
                id: Some(8),
                class: "CommandNotFound".into(),
                desc: "The command x has not been found".into()
            }
        );
        assert_eq!(parse_line(b" \r").unwrap(), None);
        for bad in ["{}", "[]", "hello", r#"{"error": {}}"#, r#"{"QMP": {}}"#] {
            assert!(parse_line(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let mut lines = Lines::default();
        lines.feed(&vec![b'x'; MAX_LINE]);
        assert_eq!(lines.next_line(), Ok(None));
        lines.feed(b"yy");
        assert_eq!(lines.next_line(), Err(WireError::TooLong));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_bytes_cut_anywhere(data in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), Just(b'}'), any::<u8>()], 0..300)) {
            fuzz(&data);
        }

        #[test]
        fn messages_cut_anywhere(at in 0usize..300) {
            let text = format!("{GREETING}\r\n{EVENT}\r\n");
            let mut lines = Lines::default();
            let at = at.min(text.len());
            let mut found = 0;
            for part in [&text.as_bytes()[..at], &text.as_bytes()[at..]] {
                lines.feed(part);
                while let Some(line) = lines.next_line().unwrap() {
                    prop_assert!(parse_line(&line).unwrap().is_some());
                    found += 1;
                }
            }
            prop_assert_eq!(found, 2);
        }
    }
}
