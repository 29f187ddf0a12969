//! The binary as a child that is watched: what it printed, how it ended, how much memory it had at most.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any of these runs needs on a busy machine: a run that is still there then hangs.
const HANGS: Duration = Duration::from_secs(240);

/// A home directory for runs of the binary.
pub struct Home(pub tempfile::TempDir);

/// What a run came to.
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The most memory that was seen, in bytes.
    pub peak: u64,
}

impl Home {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_esxprep"));
        command
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("HOME", self.0.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("TMPDIR", self.0.path())
            .env("ESXPREP_TEST_PASSWORD", "not the right one")
            .stdin(Stdio::null());
        for name in ["SSH_AUTH_SOCK", "ESXPREP_INVENTORY", "ESXPREP_STATE_DIR", "NO_COLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        watched(self.command(args), &mut |_| {})
    }
}

/// Runs a command to its end; `look` is called again and again with its process number.
pub fn watched(mut command: Command, look: &mut dyn FnMut(u32)) -> Ran {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let read = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut all = Vec::new();
            from.read_to_end(&mut all).unwrap();
            all
        })
    };
    let stdout = read(Box::new(child.stdout.take().unwrap()));
    let stderr = read(Box::new(child.stderr.take().unwrap()));
    let (code, peak) = ended(&mut child, look);
    Ran { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap(), peak }
}

fn ended(child: &mut Child, look: &mut dyn FnMut(u32)) -> (i32, u64) {
    let started = Instant::now();
    let mut peak = 0;
    loop {
        peak = peak.max(high_water(child.id()).unwrap_or(0));
        look(child.id());
        if let Some(status) = child.try_wait().unwrap() {
            // A signal has no code: no exit code that is asked for is negative.
            return (status.code().unwrap_or(-1), peak);
        }
        if started.elapsed() > HANGS {
            child.kill().unwrap();
            child.wait().unwrap();
            return (-2, peak);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `VmHWM` of a process, in bytes.
fn high_water(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

impl Ran {
    /// Both streams, for messages of failing tests.
    pub fn all(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(6000)]).into_owned();
        format!("exit {}\n--- stdout\n{:?}\n--- stderr\n{:?}", self.code, text(&self.stdout), text(&self.stderr))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&[self.stdout.as_slice(), &self.stderr].concat()).into_owned()
    }

    /// Nothing that steers a terminal is on either stream.
    #[track_caller]
    pub fn steers_nothing(&self, what: &str) {
        for stream in [&self.stdout, &self.stderr] {
            let text = std::str::from_utf8(stream).unwrap_or_else(|e| panic!("{what}: {e}\n{}", self.all()));
            harmless(text, what);
        }
    }
}

/// Only line ends and tabs, and neither the controls from U+0080 on nor what turns the order of text.
#[track_caller]
pub fn harmless(text: &str, what: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if let Some((at, c)) = text.char_indices().find(|(_, c)| bad(*c)) {
        let from = (0..=at.saturating_sub(80)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
        panic!("{what}: {c:?} would reach the terminal: {:?}", text[from..].chars().take(160).collect::<String>());
    }
}
