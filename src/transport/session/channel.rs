//! One far shell on one channel: a task that writes, a task that reads and unpacks the frames. The reader always
//! reads, whether a command is under way or not, since one full channel stops all the others of a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::transport::TransportError;
use crate::transport::frame::{Decoder, Done, FrameError, Framer};
use crate::transport::link::{
    Ask, Link, Message, NotOpened, PipeRead, PipeWrite, SHELL, has_ended, open_within, protocol, within,
};

/// How long a channel that is given up may take to end before it is left to itself.
const LINGER: Duration = Duration::from_millis(600);

/// How much of unexpected output is shown in an error, in bytes.
const SHOWN: usize = 300;

/// What a far shell reports.
#[derive(Debug)]
pub(super) enum Event {
    /// A command ended, and when.
    Done(Done, Instant),
    /// The shell is gone: how that was seen.
    Ended(String),
    /// What came cannot be understood.
    Garbled(FrameError),
    /// The server starts no command; nothing has run.
    NoCommand,
}

/// Why a shell did not say a first word.
#[derive(Debug)]
pub(super) enum NoWord {
    /// The server starts no command; nothing has run.
    NoCommand,
    Failed(TransportError),
}

/// A far shell.
pub(super) struct ShellChannel {
    write: Arc<dyn PipeWrite>,
    input: mpsc::UnboundedSender<Vec<u8>>,
    events: mpsc::UnboundedReceiver<Event>,
    framer: Framer,
    sent: Arc<AtomicU64>,
    /// It has said its first word.
    greeted: bool,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
}

impl Drop for ShellChannel {
    fn drop(&mut self) {
        // The writer ends by itself when its input is dropped, and closes the channel; a reader that has nobody to
        // report to ends as well.
        if self.writer.is_finished() {
            self.reader.abort();
        }
    }
}

impl ShellChannel {
    /// Opens a channel with a shell behind it, without waiting for the shell's first word, nor for the server's
    /// consent to start one unless `consent` is set.
    pub(super) async fn open(link: &dyn Link, consent: bool, limit: Duration) -> Result<Self, NotOpened> {
        let pipe =
            if consent { open_within(link, SHELL, limit).await? } else { within(link, link.shell(), limit).await? };
        let framer = Framer::new();
        let decoder = framer.decoder();
        let (read, write) = (pipe.read, pipe.write);
        let sent = Arc::new(AtomicU64::new(0));
        let (input, waiting) = mpsc::unbounded_channel();
        let (report, events) = mpsc::unbounded_channel();
        let (over, stop) = oneshot::channel();
        let counter = Arc::clone(&sent);
        let reader = tokio::spawn(async move {
            reading(read, decoder, counter, report).await;
            drop(over);
        });
        let writer = tokio::spawn(writing(Arc::clone(&write), waiting, stop));
        let mut shell = Self { write, input, events, framer, sent, greeted: false, reader, writer };
        // Command 0 swallows whatever a login prints before the shell is there.
        shell.send(":", None).map_err(|error| NotOpened::Failed(protocol(link, error.to_string())))?;
        Ok(shell)
    }

    /// Waits for the shell's first word, if it has not said it yet: is there one at all? Gives the time when it came.
    pub(super) async fn ready(&mut self, link: &dyn Link, limit: Duration) -> Result<Instant, NoWord> {
        if self.greeted {
            return Ok(Instant::now());
        }
        let error = match timeout(limit, self.events.recv()).await {
            Ok(Some(Event::Done(_, at))) => {
                self.greeted = true;
                return Ok(at);
            }
            Ok(Some(Event::NoCommand)) => {
                self.write.close().await;
                return Err(NoWord::NoCommand);
            }
            Ok(Some(Event::Garbled(error))) => protocol(link, error.to_string()),
            Ok(Some(Event::Ended(how))) => {
                if has_ended(link).await {
                    TransportError::Lost {
                        host: link.host().to_owned(),
                        during: format!(
                            "right after the login: {} ({how}). An account that may log in but not run a shell looks \
                             like this",
                            link.reason()
                        ),
                    }
                } else {
                    protocol(link, format!("{SHELL} did not stay: {how}"))
                }
            }
            Ok(None) => protocol(link, format!("{SHELL} did not stay")),
            Err(_) => protocol(link, format!("{SHELL} said nothing within {} s", limit.as_secs_f32())),
        };
        Err(NoWord::Failed(error))
    }

    /// Queues a command and gives its number.
    pub(super) fn send(&mut self, script: &str, stdin: Option<&[u8]>) -> Result<u64, FrameError> {
        let framed = self.framer.encode(script, stdin)?;
        Ok(self.queue(framed))
    }

    /// Queues a command of a chain and gives its number: see [`Framer::encode_in_turn`].
    pub(super) fn send_in_turn(&mut self, script: &str, first: bool) -> Result<u64, FrameError> {
        let framed = self.framer.encode_in_turn(script, first)?;
        Ok(self.queue(framed))
    }

    fn queue(&mut self, (number, text): (u64, Vec<u8>)) -> u64 {
        // Before the text is on its way: what comes from now on belongs to a command.
        self.sent.store(number + 1, Ordering::SeqCst);
        // A writer that is gone shows as the end of the shell.
        let _ = self.input.send(text);
        number
    }

    /// The next report.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            match self.events.recv().await {
                Some(Event::Done(done, _)) if done.number == 0 => {}
                Some(event) => return event,
                None => return Event::Ended("it ended".to_owned()),
            }
        }
    }

    /// Whether it can still be used (asked between batches).
    pub(super) fn alive(&mut self) -> bool {
        // Why a shell did not even begin is for the next batch to say.
        if !self.greeted {
            return true;
        }
        loop {
            match self.events.try_recv() {
                Ok(Event::Done(..)) => {}
                Ok(Event::Ended(_) | Event::Garbled(_) | Event::NoCommand) => return false,
                Err(mpsc::error::TryRecvError::Empty) => return !self.writer.is_finished(),
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
    }

    /// Ends a shell that does not answer: asks its processes to end (OpenSSH 7.9 and later pass that on), then
    /// closes, since a server with `MaxSessions 1` counts the channel until they have ended.
    pub(super) async fn abandon(mut self) {
        let write = Arc::clone(&self.write);
        let _ = timeout(LINGER, async {
            if write.signal(Ask::Term).await && timeout(LINGER / 2, self.ended()).await.is_err() {
                write.signal(Ask::Kill).await;
            }
            write.close().await;
            self.ended().await;
        })
        .await;
        self.writer.abort();
        self.reader.abort();
    }

    /// Ends an idle shell and waits until the server has seen it.
    pub(super) async fn finish(mut self) {
        let (gone, _) = mpsc::unbounded_channel();
        self.input = gone; // the writer sends the end of input, the shell exits
        let _ = timeout(LINGER, self.ended()).await;
        let _ = timeout(LINGER, self.write.close()).await;
        self.writer.abort();
        self.reader.abort();
    }

    async fn ended(&mut self) {
        while !matches!(self.events.recv().await, Some(Event::Ended(_)) | None) {}
    }
}

async fn writing(
    write: Arc<dyn PipeWrite>,
    mut waiting: mpsc::UnboundedReceiver<Vec<u8>>,
    stop: oneshot::Receiver<()>,
) {
    let all = async {
        while let Some(text) = waiting.recv().await {
            if write.data(text).await.is_err() {
                return;
            }
        }
        let _ = write.eof().await;
        // The shell ends and the server closes. russh does not report a server's close that comes after its own, so
        // ours must not go first, unless the shell stays.
        sleep(LINGER).await;
        write.close().await;
    };
    // On a channel that is gone, waiting for room in its window would never end.
    tokio::select! {
        () = all => {}
        _ = stop => {}
    }
}

async fn reading(
    mut read: Box<dyn PipeRead>,
    mut decoder: Decoder,
    sent: Arc<AtomicU64>,
    report: mpsc::UnboundedSender<Event>,
) {
    let mut how = None;
    loop {
        let pushed = match read.wait().await {
            Some(Message::Stdout(data)) => decoder.stdout(&data),
            Some(Message::Stderr(data)) => decoder.stderr(&data),
            Some(Message::Code(code)) => {
                how = Some(format!("it exited with code {code}"));
                continue;
            }
            Some(Message::Signal(name)) => {
                how = Some(format!("it was killed by signal {name}"));
                continue;
            }
            Some(Message::NoCommand) => {
                let _ = report.send(Event::NoCommand);
                return;
            }
            Some(Message::Close) | None => break,
        };
        if let Err(error) = pushed.and_then(|()| decoder.check(sent.load(Ordering::SeqCst))) {
            let _ = report.send(Event::Garbled(error));
            return;
        }
        while let Some(done) = decoder.next_done() {
            let _ = report.send(Event::Done(done, Instant::now()));
        }
        if decoder.finished() == sent.load(Ordering::SeqCst) {
            decoder.discard();
        }
    }
    let mut how = how.unwrap_or_else(|| "its channel was closed without an exit code".to_owned());
    if decoder.finished() == 0 {
        // Nothing of the user's was running yet: what came instead of a shell may be shown.
        let (stdout, stderr) = decoder.pending();
        let text = String::from_utf8_lossy(&[stdout, stderr].concat()).trim().to_owned();
        if !text.is_empty() {
            how.push_str(&format!(", saying \"{}\"", text.chars().take(SHOWN).collect::<String>()));
        }
    }
    let _ = report.send(Event::Ended(how));
}
