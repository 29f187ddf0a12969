//! How a program of ESXi in the host's root reaches the simulator: a small shell script, a request file and two FIFOs.
//!
//! The script writes its arguments to a file, opens a FIFO of its own for the answer, and only then writes its number to
//! the common FIFO; so nothing waits for a reader that is not there, and any number of programs run at once. It never
//! touches standard input, which may be the calling script itself, except for `esxcli system account` with a password
//! option that has no value, where the real one asks for it: then it reads the lines that the real one would.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

use super::SimError;
use super::error::IoContext;
use super::host;
use super::machine::SimHost;
use super::toolbox::script;

const BODY: &str = r#"b=/.sim/q/$$
mkfifo "$b.f" || exit 127
exec 9<> "$b.f"
t=0
[ -z "$SIM_TTY" ] || t=1
case " $* " in
*" account "*" -p "-*|*" account "*" -p "|*" account "*" --password "-*|*" account "*" --password ")
    IFS= read -r x && printf '%s\n' "$x" > "$b.i" && IFS= read -r x && printf '%s\n' "$x" >> "$b.i" ;;
esac
printf '%s\0' "$p" "$SSH_CONNECTION" "$t" "$@" > "$b.a"
echo $$ > /.sim/req
read -r c o e <&9
exec 9<&-
[ "$o" = 0 ] || cat "$b.o"
[ "$e" = 0 ] || cat "$b.e" >&2
rm -f "$b".*
exit "$c"
"#;

/// Writes the scripts and the common FIFO into a root directory.
pub(crate) fn install(root: &Path) -> Result<(), SimError> {
    let queue = root.join(".sim/q");
    fs::create_dir_all(&queue).doing("create", &queue)?;
    let request = root.join(".sim/req");
    mknodat(CWD, &request, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .map_err(std::io::Error::from)
        .doing("create the FIFO", &request)?;
    for program in host::programs() {
        let path = root.join(program.trim_start_matches('/'));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).doing("create", folder)?;
        }
        let _ = fs::remove_file(&path);
        script(&path, &format!("p={program}\n{BODY}"))?;
    }
    Ok(())
}

/// One program waiting for its answer.
#[derive(Debug)]
pub(crate) struct Request {
    base: PathBuf,
    /// The program's absolute path and its arguments.
    pub(crate) argv: Vec<String>,
    /// What was read from standard input.
    pub(crate) stdin: Vec<u8>,
    /// SSH_CONNECTION of the session it belongs to.
    pub(crate) ssh_connection: String,
    /// Whether it prints on a terminal.
    pub(crate) tty: bool,
}

impl Request {
    fn read(root: &Path, id: &str) -> Option<Request> {
        if id.is_empty() || !id.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let base = root.join(".sim/q").join(id);
        let bytes = fs::read(base.with_extension("a")).ok()?;
        let mut fields =
            bytes.strip_suffix(b"\0")?.split(|b| *b == 0).map(|field| String::from_utf8_lossy(field).into_owned());
        let (program, ssh_connection, tty) = (fields.next()?, fields.next()?, fields.next()? == "1");
        let argv = std::iter::once(program).chain(fields).collect();
        let stdin = fs::read(base.with_extension("i")).unwrap_or_default();
        Some(Request { base, argv, stdin, ssh_connection, tty })
    }

    /// The command as people write it: the program without its folder, then its arguments.
    pub(crate) fn line(&self) -> String {
        let name = self.argv[0].rsplit('/').next().unwrap_or_default();
        let mut line = name.to_string();
        for word in &self.argv[1..] {
            line.push(' ');
            line.push_str(word);
        }
        line
    }

    /// Whether the script that waits for the answer ends within half a second.
    pub(crate) async fn abandoned(&self) -> bool {
        for _ in 0..50 {
            let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
            // Without a reader it cannot be opened.
            if fs::OpenOptions::new().write(true).custom_flags(flags).open(self.base.with_extension("f")).is_err() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Hands the answer to the waiting script. A script that was killed meanwhile is no error.
    pub(crate) fn reply(&self, stdout: &[u8], stderr: &[u8], code: i32) {
        let write = || -> std::io::Result<()> {
            if !stdout.is_empty() {
                fs::write(self.base.with_extension("o"), stdout)?;
            }
            if !stderr.is_empty() {
                fs::write(self.base.with_extension("e"), stderr)?;
            }
            let fifo = self.base.with_extension("f");
            let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
            let mut fifo = fs::OpenOptions::new().write(true).custom_flags(flags).open(fifo)?;
            let line = format!("{} {} {}\n", code & 255, stdout.len(), stderr.len());
            std::io::Write::write_all(&mut fifo, line.as_bytes())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "the caller of {} is gone", self.argv[0]);
        }
    }
}

/// Answers requests until the host goes down. Each runs as a task of its own.
pub(crate) async fn serve(host: Arc<SimHost>, root: PathBuf, power: CancellationToken) {
    let fifo = root.join(".sim/req");
    // Open for reading and writing, so that the end of one writer is not the end of the file.
    let receiver = match tokio::net::unix::pipe::OpenOptions::new().read_write(true).open_receiver(&fifo) {
        Ok(receiver) => receiver,
        Err(error) => {
            tracing::error!(%error, "cannot open {}", fifo.display());
            return;
        }
    };
    let mut lines = BufReader::new(receiver).lines();
    loop {
        let line = tokio::select! {
            () = power.cancelled() => return,
            line = lines.next_line() => line,
        };
        match line {
            Ok(Some(id)) => {
                let Some(request) = Request::read(&root, id.trim()) else { continue };
                let (host, power) = (Arc::clone(&host), power.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = power.cancelled() => {}
                        () = host.serve_request(request) => {}
                    }
                });
            }
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}
