//! One SSH channel with a process inside the host behind it: both directions with back pressure, exit code or signal.
//!
//! As with OpenSSH without a terminal, the exit code is told when the program ends, and the channel closes when nobody
//! holds its output open any more, so a background process that keeps standard output keeps the channel. If the client
//! goes away the process group gets SIGHUP: `nohup` and `setsid` survive, until the next reboot.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use russh::server::{Handle, Msg};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;
use tokio_util::sync::CancellationToken;

use super::answers::ExecFault;
use super::disk::SFTP_SERVER;
use super::fault::Kind;
use super::machine::SimHost;
use super::moments::{Act, Asked, Pieces};
use super::sshd::Argv;
use super::turns::{Gate, Turns};

/// What to run on a channel, and for whom.
pub(crate) struct Job {
    pub(crate) host: Arc<SimHost>,
    pub(crate) argv: Argv,
    pub(crate) pty: bool,
    pub(crate) user: String,
    pub(crate) ssh_connection: String,
    pub(crate) handle: Handle,
    /// The channel or the connection is gone.
    pub(crate) closed: CancellationToken,
    /// Sessions open on the connection.
    pub(crate) open: Arc<AtomicUsize>,
    /// Bytes that the connection has sent.
    pub(crate) sent: Arc<AtomicUsize>,
}

impl Job {
    /// Whether scripts come on standard input, for a shell that no person types to.
    fn is_shell(&self) -> bool {
        match &self.argv {
            Argv::Shell => !self.pty,
            Argv::Exec(command) => matches!(command.trim(), "sh" | "/bin/sh"),
            Argv::Sftp => false,
        }
    }

    /// A command line of its own is one of the things that a host is asked for.
    fn asked(&self) -> Option<Act> {
        match &self.argv {
            Argv::Exec(command) if !self.is_shell() => self.host.asked(Asked::Exec, command),
            _ => None,
        }
    }
}

type Output = Arc<ChannelWriteHalf<Msg>>;

/// Runs the job to its end and closes the channel.
pub(crate) async fn run(job: Job, channel: Channel<Msg>) {
    let (input, output) = channel.split();
    let output = Arc::new(output);
    let act = job.asked();
    let fault = if let Argv::Exec(command) = &job.argv { job.host.exec_fault(command) } else { None };
    if act == Some(Act::Stall) {
        job.host.mute_all();
    }
    match &fault {
        _ if act == Some(Act::CutBefore) => job.host.cut_all(),
        _ if act == Some(Act::HoldBefore) => {
            job.host.held();
            job.closed.cancelled().await;
        }
        Some(ExecFault::Hang) => job.closed.cancelled().await,
        Some(ExecFault::Fail(message)) => {
            let _ = output.data_bytes(format!("{message}\n").into_bytes()).await;
            let _ = output.exit_status(1).await;
        }
        _ => {
            if let Err(error) = talk(&job, input, &output, fault.as_ref(), act).await {
                let _ = output.extended_data_bytes(1, format!("{error}\n").into_bytes()).await;
                let _ = output.exit_status(255).await;
            }
        }
    }
    // The place is free before the client hears of the close: the next channel may come at once.
    job.open.fetch_sub(1, Ordering::SeqCst);
    if !job.closed.is_cancelled() {
        let _ = output.eof().await;
    }
    let _ = output.close().await;
    if matches!(fault, Some(ExecFault::PowerCut)) {
        job.host.reboot(Duration::ZERO, false);
    }
}

async fn talk(
    job: &Job,
    input: ChannelReadHalf,
    output: &Output,
    fault: Option<&ExecFault>,
    act: Option<Act>,
) -> Result<(), String> {
    let argv: Vec<&str> = match &job.argv {
        Argv::Shell if job.pty => vec!["sh", "-i"],
        Argv::Shell => vec!["sh"],
        Argv::Exec(command) => vec!["sh", "-c", command],
        Argv::Sftp => vec![SFTP_SERVER],
    };
    let mut command = job.host.command(&argv)?;
    let user = if job.user.is_empty() { "root" } else { job.user.as_str() };
    command.env("USER", user).env("LOGNAME", user).env("SHELL", "/bin/sh").env("SSH_CONNECTION", &job.ssh_connection);
    command.env("SSH_CLIENT", job.ssh_connection.split(' ').take(2).collect::<Vec<_>>().join(" ") + " 22");
    if job.pty {
        let name = job.host.with_state(|state, _| state.name().to_string());
        command.env("SIM_TTY", "1").env("TERM", "xterm").env("PS1", format!("[{user}@{name}:\\w] "));
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = tokio::process::Command::from(command).spawn().map_err(|error| error.to_string())?;
    let group = child.id().and_then(|id| Pid::from_raw(id as i32));

    let echoes = job.pty && matches!(job.argv, Argv::Shell);
    if echoes {
        let motd = job.host.with_state(|state, _| state.shell_login_banner());
        let _ = output.data_bytes(crlf(motd.as_bytes())).await;
    }
    if job.is_shell() {
        for text in job.host.faults.iter().filter_map(|f| if let Kind::Motd(text) = f { Some(text) } else { None }) {
            let _ = output.data_bytes(format!("{text}\n").into_bytes()).await;
            let _ = output.extended_data_bytes(1, format!("{text}\n").into_bytes()).await;
        }
    }
    let turns = (job.is_shell() && job.host.counts()).then(Turns::new);
    let way_in = WayIn {
        host: Arc::clone(&job.host),
        stdin: child.stdin.take(),
        group,
        echo: echoes.then(|| Arc::clone(output)),
        closed: job.closed.clone(),
        gate: turns.clone().map(|turns| Gate::new(Arc::clone(&job.host), turns)),
        within: act == Some(Act::CutWithin),
        is_exec: matches!(job.argv, Argv::Exec(_)) && !job.is_shell(),
    };
    if act == Some(Act::CutWithin) {
        job.host.halve_next();
    }
    let feeding = tokio::spawn(feed(input, way_in));
    // busybox greets and complains that there is no real terminal; ESXi's own does neither.
    let prompt = echoes.then(|| format!("[{user}@"));
    let (to, sent) = (Arc::clone(output), Arc::clone(&job.sent));
    let way_out = WayOut { host: Arc::clone(&job.host), to, sent, stream: None, terminal: job.pty, start: prompt };
    let out = tokio::spawn(pump(child.stdout.take(), way_out, turns));
    // A terminal knows one stream only.
    let complaint = echoes.then(|| "job control turned off\n".to_string());
    let (to, sent) = (Arc::clone(output), Arc::clone(&job.sent));
    let stream = (!job.pty).then_some(1);
    let way_out = WayOut { host: Arc::clone(&job.host), to, sent, stream, terminal: job.pty, start: complaint };
    let err = tokio::spawn(pump(child.stderr.take(), way_out, None));
    if matches!(fault, Some(ExecFault::Drop)) {
        let _ = tokio::time::timeout(Duration::from_millis(50), child.wait()).await;
        job.host.cut_all();
    }
    let mut pumps = Box::pin(async {
        let _ = tokio::join!(out, err);
    });
    let status = tokio::select! {
        status = child.wait() => status.map_err(|error| error.to_string())?,
        () = job.closed.cancelled() => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::HUP);
            }
            feeding.abort();
            // Reaped in the background, if it ever ends.
            tokio::spawn(async move { child.wait().await });
            return Ok(());
        }
    };
    let drained = tokio::time::timeout(Duration::from_millis(100), &mut pumps).await.is_ok();
    match act {
        Some(Act::CutAfter) => job.host.cut_all(),
        Some(Act::HoldAfter) => {
            job.host.held();
            job.closed.cancelled().await;
        }
        _ => tell(job, output, status).await,
    }
    if !drained {
        tokio::select! {
            () = &mut pumps => {}
            () = job.closed.cancelled() => {}
        }
    }
    feeding.abort();
    Ok(())
}

async fn tell(job: &Job, output: &Output, status: ExitStatus) {
    match status.signal() {
        Some(number) => {
            let name = match number {
                1 => Sig::HUP,
                2 => Sig::INT,
                3 => Sig::QUIT,
                4 => Sig::ILL,
                6 => Sig::ABRT,
                8 => Sig::FPE,
                9 => Sig::KILL,
                11 => Sig::SEGV,
                13 => Sig::PIPE,
                14 => Sig::ALRM,
                15 => Sig::TERM,
                other => Sig::Custom(other.to_string()),
            };
            let _ = job.handle.exit_signal_request(output.id(), name, false, String::new(), String::new()).await;
        }
        None => {
            let _ = output.exit_status(u32::try_from(status.code().unwrap_or(255)).unwrap_or(255)).await;
        }
    }
}

/// From a client to a process.
struct WayIn {
    host: Arc<SimHost>,
    stdin: Option<ChildStdin>,
    group: Option<Pid>,
    /// A terminal shows what is typed.
    echo: Option<Output>,
    closed: CancellationToken,
    /// Lets scripts in one by one, where anything counts them.
    gate: Option<Gate>,
    /// Half of the first message comes in, then the connections are cut.
    within: bool,
    is_exec: bool,
}

impl WayIn {
    /// To the process; false when nothing more can come. What comes after it closed its input is thrown away.
    async fn write(&mut self, bytes: &[u8]) -> bool {
        let Some(pipe) = self.stdin.as_mut() else { return true };
        let written = tokio::select! {
            written = pipe.write_all(bytes) => written.is_ok(),
            () = self.closed.cancelled() => return false,
        };
        if !written {
            self.stdin = None;
        }
        true
    }

    /// One message; false when nothing more can come.
    async fn data(&mut self, data: &[u8]) -> bool {
        if let Some(gate) = &mut self.gate {
            gate.push(data);
            return true;
        }
        if self.within {
            self.write(&data[..data.len() / 2]).await;
            self.host.cut_all();
            return false;
        }
        if self.is_exec && !data.is_empty() && self.host.corrupts() {
            let mut altered = data.to_vec();
            altered[0] ^= 1;
            return self.write(&altered).await;
        }
        let Some(output) = self.echo.clone() else { return self.write(data).await };
        let typed: Vec<u8> = data.iter().map(|b| if *b == b'\r' { b'\n' } else { *b }).collect();
        if typed.contains(&4) {
            self.stdin = None;
            return true;
        }
        let _ = output.data_bytes(crlf(&typed)).await;
        self.write(&typed).await
    }
}

/// Client to process. Ends with the client's EOF.
async fn feed(mut input: ChannelReadHalf, mut way: WayIn) {
    loop {
        let message = tokio::select! {
            message = input.wait() => message,
            script = Gate::next(way.gate.as_mut()) => {
                match script {
                    Some(script) if way.write(&script).await => {}
                    Some(_) => return,
                    None => way.stdin = None,
                }
                continue;
            }
            () = way.closed.cancelled() => None,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                if !way.data(&data).await {
                    return;
                }
            }
            Some(ChannelMsg::Eof) => match &mut way.gate {
                Some(gate) => gate.end(),
                None => way.stdin = None,
            },
            Some(ChannelMsg::Signal { signal }) => {
                let signal = match signal {
                    Sig::HUP => Signal::HUP,
                    Sig::INT => Signal::INT,
                    Sig::KILL => Signal::KILL,
                    Sig::QUIT => Signal::QUIT,
                    _ => Signal::TERM,
                };
                if let Some(group) = way.group {
                    let _ = kill_process_group(group, signal);
                }
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// From a process to a client.
struct WayOut {
    host: Arc<SimHost>,
    to: Output,
    sent: Arc<AtomicUsize>,
    stream: Option<u32>,
    terminal: bool,
    /// What comes before this within the first bytes is left out; itself too if it ends a line.
    start: Option<String>,
}

impl WayOut {
    /// False when the client is gone.
    async fn send(&self, bytes: Vec<u8>) -> bool {
        match self.stream {
            None => self.to.data_bytes(bytes).await.is_ok(),
            Some(number) => self.to.extended_data_bytes(number, bytes).await.is_ok(),
        }
    }

    /// Sends this, and cuts the connections when it is on its way.
    async fn last_words(&self, bytes: &[u8]) {
        let enough = self.sent.load(Ordering::SeqCst) + bytes.len();
        if self.send(bytes.to_vec()).await {
            let on_its_way = async {
                while self.sent.load(Ordering::SeqCst) < enough {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            let _ = tokio::time::timeout(Duration::from_secs(2), on_its_way).await;
        }
        self.host.cut_all();
    }
}

/// Process to client, no faster than the client's window opens.
async fn pump<R: AsyncRead + Unpin>(from: Option<R>, mut way: WayOut, turns: Option<Arc<Turns>>) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    let mut held = Vec::new();
    let mut said = Pieces::said();
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut chunk = &buffer[..count];
        if let Some(text) = &way.start {
            held.extend_from_slice(chunk);
            let at = held.windows(text.len()).position(|window| window == text.as_bytes());
            if at.is_none() && held.len() < 400 {
                continue;
            }
            let from = at.map_or(0, |at| if text.ends_with('\n') { at + text.len() } else { at });
            chunk = &held[from..];
            way.start = None;
        }
        let bytes = if way.terminal { crlf(chunk) } else { chunk.to_vec() };
        if bytes.is_empty() {
            continue;
        }
        if way.host.halves() {
            return way.last_words(&bytes[..bytes.len() / 2]).await;
        }
        let Some(turns) = &turns else {
            if !way.send(bytes).await {
                return;
            }
            continue;
        };
        said.push(&bytes);
        let act = turns.act();
        if !matches!(act, Some(Act::CutWithin | Act::CutAfter | Act::HoldAfter)) {
            if !way.send(bytes).await {
                return;
            }
            while said.next().is_some() {
                turns.answered();
            }
        } else if let Some(answer) = said.next() {
            match act {
                Some(Act::CutWithin) => way.last_words(&answer[..answer.len() / 2]).await,
                Some(Act::CutAfter) => way.last_words(&answer).await,
                _ => way.host.held(),
            }
            return;
        }
    }
}

/// A terminal's line ends.
fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for byte in bytes {
        if *byte == b'\n' {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}
