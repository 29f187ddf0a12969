//! A file onto the host with nothing there but a shell: a channel of its own, the bytes on standard input, their end
//! marked by the end of input. The far side itself checks size and checksum, sets the mode, moves the file into place
//! and removes what is incomplete, so that it does so when the connection is lost too.

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::sums::{self, Sum};
use super::{REOPEN, Session};
use crate::transport::frame::quoted;
use crate::transport::link::{Message, NotOpened, Pipe, PipeWrite, has_ended, open_within};
use crate::transport::progress::Milestones;
use crate::transport::{Payload, Request, TransportError};

/// Bytes sent in one go.
const PIECE: usize = 256 * 1024;

/// How many pieces of a file are read ahead of what is being sent.
const AHEAD: usize = 4;

/// How long nothing at all may happen: not a byte taken, no word from the far side (it may be computing a checksum).
const STALL: Duration = Duration::from_secs(600);
/// For the far side's reason to arrive, after it stopped taking bytes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How much of the far side's words is kept.
const KEPT: usize = 4096;

/// See [`Shell::upload`](crate::transport::Shell::upload).
pub(super) async fn upload(
    session: &mut Session,
    payload: &Payload,
    path: &str,
    mode: u32,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), TransportError> {
    let failed =
        |host: &str, reason: String| TransportError::Upload { host: host.to_owned(), path: path.to_owned(), reason };
    let host = session.link.host().to_owned();
    if path.contains('\0') || path.is_empty() || path.ends_with('/') {
        return Err(failed(&host, "that is not the path of a file".to_owned()));
    }
    for sum in [Sum::Sha256, Sum::Sha1] {
        let (size, digest) = sums::measure(payload, sum).await.map_err(|reason| failed(&host, reason))?;
        let nonce = format!("{:032x}", rand::random::<u128>());
        let part = format!("{path}.esxprep-{nonce}.part");
        let plan = Plan { path, part: &part, mode, size, sum, digest: &digest, nonce: &nonce };
        match attempt(session, payload, &plan, progress).await {
            Ok(()) => return Ok(()),
            Err(Trouble::NoProgram) if sum == Sum::Sha256 => {
                tracing::warn!("{host} has no sha256sum: comparing uploads by SHA-1");
            }
            Err(Trouble::NoProgram) => {
                let reason = "the host has neither sha256sum nor sha1sum, so the copy cannot be compared".to_owned();
                return Err(failed(&host, reason));
            }
            Err(Trouble::Transport(error)) => return Err(error),
            Err(Trouble::Failed(reason)) => {
                // The far side has cleaned up; this is for the case that it was killed.
                let request = Request {
                    script: format!("rm -f -- {}", quoted(&part)),
                    stdin: None,
                    timeout: Duration::from_secs(20),
                    secret: false,
                    changes: true,
                };
                let removed = session
                    .run(&[request], &mut |_| {})
                    .await
                    .is_ok_and(|replies| replies.first().is_some_and(|reply| reply.code == 0));
                let note = if removed { String::new() } else { format!("; {part} may be left on the host") };
                return Err(failed(&host, format!("{reason}{note}")));
            }
        }
    }
    Err(failed(&host, "no way to compare the copy".to_owned()))
}

struct Plan<'a> {
    path: &'a str,
    part: &'a str,
    mode: u32,
    size: u64,
    sum: Sum,
    digest: &'a str,
    nonce: &'a str,
}

enum Trouble {
    NoProgram,
    Transport(TransportError),
    Failed(String),
}

impl Plan<'_> {
    /// What the far side runs. It says READY when the bytes may come and DONE when the file is in place.
    fn script(&self) -> String {
        let Self { nonce, size, digest, mode, .. } = self;
        let (path, part, program) = (quoted(&rooted(self.path)), quoted(&rooted(self.part)), self.sum.program());
        format!(
            r#"p={part} d={path}
if [ -d "$d" ]; then echo "it is a folder" >&2; exit 21; fi
{program} </dev/null >/dev/null 2>&1 || {{ echo "NOPROGRAM {nonce}"; exit 27; }}
umask 077
( set -C; : >"$p" ) || exit 22
trap 'rm -f "$p"; exit 20' HUP INT TERM
trap '' PIPE
gone() {{ rm -f "$p"; [ -z "$2" ] || echo "$2" >&2; exit "$1"; }}
echo "READY {nonce}"
cat >>"$p" || gone 23
s=$({program} <"$p") || gone 25
s=${{s%% *}}
if [ "$s" != {digest} ]; then
  n=$(wc -c <"$p")
  [ "$n" -eq {size} ] || gone 24 "$n of {size} bytes arrived"
  gone 26 "the copy has the {program} $s, the original {digest}"
fi
chmod {mode:04o} "$p" && mv -f "$p" "$d" || gone 28
echo "DONE {nonce}"
"#
        )
    }
}

/// A path that no program takes for an option.
fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("./{path}") }
}

async fn attempt(
    session: &mut Session,
    payload: &Payload,
    plan: &Plan<'_>,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<(), Trouble> {
    let command = format!("/bin/sh -c {}", quoted(&plan.script()));
    let Pipe { mut read, write } = open(session, &command).await.map_err(Trouble::Transport)?;
    session.cost.commands += 1;
    session.cost.round_trips += 2; // until ready, until done
    let link = std::sync::Arc::clone(&session.link);
    let mut far = Far::default();
    let ready = format!("READY {}", plan.nonce);
    let starting = async { while !far.said(&ready) && far.hear(read.wait().await) {} };
    if timeout(session.timeout, starting).await.is_err() {
        write.close().await;
        return Err(Trouble::Failed("the host did not get ready to receive".to_owned()));
    }
    if far.said(&ready) {
        let mut last_move = Instant::now();
        let mut milestones = Milestones::default();
        let (report, mut moved) = mpsc::unbounded_channel();
        let sending = async {
            let sent = send(payload, write.as_ref(), &report).await;
            drop(report);
            sent
        };
        tokio::pin!(sending);
        let mut sent = None;
        loop {
            tokio::select! {
                result = &mut sending, if sent.is_none() => {
                    let stop = result.is_err();
                    sent = Some(result);
                    last_move = Instant::now();
                    if stop {
                        // Why the host takes no more may still be on its way.
                        let _ = timeout(LAST_WORDS, async { while far.hear(read.wait().await) {} }).await;
                        // Not the end of input: what came so far must not pass for the whole.
                        write.close().await;
                        break;
                    }
                }
                Some(bytes) = moved.recv() => {
                    last_move = Instant::now();
                    milestones.reached(bytes, progress);
                }
                message = read.wait() => {
                    last_move = Instant::now();
                    if !far.hear(message) {
                        break;
                    }
                }
                () = sleep_until(last_move + STALL) => {
                    write.close().await;
                    return Err(Trouble::Failed(format!("nothing moved for {} s", STALL.as_secs())));
                }
            }
        }
        while let Ok(bytes) = moved.try_recv() {
            milestones.reached(bytes, progress);
        }
        if matches!(sent, Some(Ok(()))) {
            milestones.whole(plan.size, progress);
        }
        if let Some(Err(reason)) = sent
            && far.code.is_none()
            && !has_ended(link.as_ref()).await
        {
            return Err(Trouble::Failed(reason));
        }
    }
    write.close().await;
    if far.said(&format!("DONE {}", plan.nonce)) {
        return Ok(());
    }
    if far.said(&format!("NOPROGRAM {}", plan.nonce)) {
        return Err(Trouble::NoProgram);
    }
    let untold = far.code.is_none() && far.signal.is_none();
    if link.is_closed() || (untold && has_ended(link.as_ref()).await) {
        return Err(Trouble::Transport(TransportError::Lost {
            host: link.host().to_owned(),
            during: format!("during the upload of {}: {}", plan.path, link.reason()),
        }));
    }
    Err(Trouble::Failed(far.explain()))
}

/// A channel beside the shells; where the server allows one only, instead of them.
async fn open(session: &mut Session, command: &str) -> Result<Pipe, TransportError> {
    let deadline = Instant::now() + REOPEN;
    let mut first = true;
    loop {
        match open_within(session.link.as_ref(), command, session.timeout).await {
            Ok(channel) => return Ok(channel),
            Err(NotOpened::Failed(error)) => return Err(error),
            Err(NotOpened::Refused(_)) if first => {
                first = false;
                session.limit = 1;
                session.end_shells().await;
            }
            Err(NotOpened::Refused(reason)) => session.make_room(deadline, &reason).await?,
        }
    }
}

/// Sends everything and the end of input, as fast as the far side takes it.
async fn send(payload: &Payload, write: &dyn PipeWrite, report: &mpsc::UnboundedSender<u64>) -> Result<(), String> {
    let stopped = |error: String| format!("the host stopped taking bytes: {error}");
    let mut sent = 0;
    match payload {
        Payload::Bytes(bytes) => {
            for piece in bytes.chunks(PIECE) {
                write.data(piece.to_vec()).await.map_err(stopped)?;
                sent += piece.len() as u64;
                let _ = report.send(sent);
            }
        }
        Payload::File(path) => {
            // Read by a thread of its own, a little ahead, so that neither the disk nor the network waits.
            let (filled, mut pieces) = mpsc::channel(AHEAD);
            let from = path.clone();
            let reading = tokio::task::spawn_blocking(move || read_ahead(&from, &filled));
            while let Some(piece) = pieces.recv().await {
                let n = piece.len() as u64;
                write.data(piece).await.map_err(stopped)?;
                sent += n;
                let _ = report.send(sent);
            }
            let unreadable = |error: String| format!("cannot read {}: {error}", path.display());
            reading.await.map_err(|error| unreadable(error.to_string()))?.map_err(|e| unreadable(e.to_string()))?;
        }
    }
    write.eof().await.map_err(stopped)
}

/// Reads a file piece by piece until its end, or until nobody takes them any more.
fn read_ahead(path: &Path, to: &mpsc::Sender<Vec<u8>>) -> std::io::Result<()> {
    let mut file = std::fs::File::open(path)?;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() || to.blocking_send(piece).is_err() {
            return Ok(());
        }
    }
}

/// What the far side has said.
#[derive(Default)]
struct Far {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    code: Option<u32>,
    signal: Option<String>,
}

impl Far {
    /// Takes a message; false at the end.
    fn hear(&mut self, message: Option<Message>) -> bool {
        match message {
            Some(Message::Stdout(data)) => keep(&mut self.stdout, &data),
            Some(Message::Stderr(data)) => keep(&mut self.stderr, &data),
            Some(Message::Code(code)) => self.code = Some(code),
            Some(Message::Signal(name)) => self.signal = Some(name),
            Some(Message::NoCommand) => {}
            Some(Message::Close) | None => return false,
        }
        true
    }

    fn said(&self, line: &str) -> bool {
        self.stdout.split(|byte| *byte == b'\n').any(|said| said == line.as_bytes())
    }

    fn explain(&self) -> String {
        let words = String::from_utf8_lossy(&self.stderr).trim().replace('\n', "; ");
        match (words.is_empty(), self.code, &self.signal) {
            (false, _, _) => words,
            (true, Some(code), _) => format!("the host gave it up with exit code {code}"),
            (true, None, Some(signal)) => format!("the process on the host was killed by signal {signal}"),
            (true, None, None) => "the host closed the channel".to_owned(),
        }
    }
}

fn keep(all: &mut Vec<u8>, more: &[u8]) {
    all.extend_from_slice(more);
    if all.len() > KEPT {
        all.drain(..all.len() - KEPT);
    }
}
