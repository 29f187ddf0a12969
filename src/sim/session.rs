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
use super::machine::SimHost;
use super::sshd::Argv;

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
}

type Output = Arc<ChannelWriteHalf<Msg>>;

/// Runs the job to its end and closes the channel.
pub(crate) async fn run(job: Job, channel: Channel<Msg>) {
    let (input, output) = channel.split();
    let output = Arc::new(output);
    let fault = if let Argv::Exec(command) = &job.argv { job.host.exec_fault(command) } else { None };
    match &fault {
        Some(ExecFault::Hang) => job.closed.cancelled().await,
        Some(ExecFault::Fail(message)) => {
            let _ = output.data_bytes(format!("{message}\n").into_bytes()).await;
            let _ = output.exit_status(1).await;
        }
        _ => {
            if let Err(error) = talk(&job, input, &output, fault.as_ref()).await {
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

async fn talk(job: &Job, input: ChannelReadHalf, output: &Output, fault: Option<&ExecFault>) -> Result<(), String> {
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
    let echo = echoes.then(|| Arc::clone(output));
    let stdin = child.stdin.take();
    let feeding = tokio::spawn(feed(input, stdin, group, echo, job.closed.clone()));
    // busybox greets and complains that there is no real terminal; ESXi's own does neither.
    let prompt = echoes.then(|| format!("[{user}@"));
    let out = tokio::spawn(pump(child.stdout.take(), Arc::clone(output), None, job.pty, prompt));
    // A terminal knows one stream only.
    let complaint = echoes.then(|| "job control turned off\n".to_string());
    let err = tokio::spawn(pump(child.stderr.take(), Arc::clone(output), (!job.pty).then_some(1), job.pty, complaint));
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
    tell(job, output, status).await;
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

/// Client to process. Ends with the client's EOF; what comes after the process closed its input is thrown away.
async fn feed(
    mut input: ChannelReadHalf,
    mut stdin: Option<ChildStdin>,
    group: Option<Pid>,
    echo: Option<Output>,
    closed: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            message = input.wait() => message,
            () = closed.cancelled() => None,
        };
        match message {
            Some(ChannelMsg::Data { data }) => {
                let Some(pipe) = stdin.as_mut() else { continue };
                let bytes = match &echo {
                    None => data,
                    Some(output) => {
                        let typed: Vec<u8> = data.iter().map(|b| if *b == b'\r' { b'\n' } else { *b }).collect();
                        if typed.contains(&4) {
                            stdin = None;
                            continue;
                        }
                        let _ = output.data_bytes(crlf(&typed)).await;
                        typed.into()
                    }
                };
                let written = tokio::select! {
                    written = pipe.write_all(&bytes) => written.is_ok(),
                    () = closed.cancelled() => return,
                };
                if !written {
                    stdin = None;
                }
            }
            Some(ChannelMsg::Eof) => stdin = None,
            Some(ChannelMsg::Signal { signal }) => {
                let signal = match signal {
                    Sig::HUP => Signal::HUP,
                    Sig::INT => Signal::INT,
                    Sig::KILL => Signal::KILL,
                    Sig::QUIT => Signal::QUIT,
                    _ => Signal::TERM,
                };
                if let Some(group) = group {
                    let _ = kill_process_group(group, signal);
                }
            }
            Some(_) => {}
            None => return,
        }
    }
}

/// Process to client, no faster than the client's window opens.
///
/// What comes before `start` within the first bytes is left out; `start` itself too if it ends a line.
async fn pump<R: AsyncRead + Unpin>(
    from: Option<R>,
    to: Output,
    stream: Option<u32>,
    terminal: bool,
    mut start: Option<String>,
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 32 * 1024];
    let mut held = Vec::new();
    loop {
        let count = match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut chunk = &buffer[..count];
        if let Some(text) = &start {
            held.extend_from_slice(chunk);
            let at = held.windows(text.len()).position(|window| window == text.as_bytes());
            if at.is_none() && held.len() < 400 {
                continue;
            }
            let from = at.map_or(0, |at| if text.ends_with('\n') { at + text.len() } else { at });
            chunk = &held[from..];
            start = None;
        }
        let bytes = if terminal { crlf(chunk) } else { chunk.to_vec() };
        if bytes.is_empty() {
            continue;
        }
        let sent = match stream {
            None => to.data_bytes(bytes).await,
            Some(number) => to.extended_data_bytes(number, bytes).await,
        };
        if sent.is_err() {
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
