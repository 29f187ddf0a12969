//! A port's way out: a bounded queue and a socket to the guest, so that a guest that is not there, went away or
//! fetches nothing costs nobody else anything.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Frames that wait for a guest. The kernel itself keeps about 10 (`net.unix.max_dgram_qlen`).
pub(super) const QUEUE: usize = 1024;
/// How long one frame may wait at a socket whose guest fetches nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long is waited when the kernel is out of memory for sockets.
const OUT_OF_BUFFERS: Duration = Duration::from_millis(2);

/// A frame and when it is due.
pub(super) type Item = (Option<Instant>, Arc<[u8]>);

/// What the way out counts.
#[derive(Debug, Default)]
pub(super) struct Drops {
    pub there: AtomicBool,
    pub full: AtomicU64,
    pub absent: AtomicU64,
    pub fault: AtomicU64,
    pub error: AtomicU64,
}

/// Sends what is queued, for as long as the queue has another end.
pub(super) async fn send_all(path: PathBuf, mut queue: mpsc::Receiver<Item>, drops: Arc<Drops>) {
    let mut socket: Option<UnixDatagram> = None;
    while let Some((due, frame)) = queue.recv().await {
        if let Some(due) = due {
            sleep_until(due).await;
        }
        let count = match send(&path, &mut socket, &frame).await {
            Ok(()) => {
                drops.there.store(true, Ordering::Relaxed);
                continue;
            }
            Err(e) if e.kind() == ErrorKind::TimedOut => &drops.full,
            Err(e) if is_absent(&e) => &drops.absent,
            Err(_) => &drops.error,
        };
        drops.there.store(false, Ordering::Relaxed);
        socket = None;
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Nobody is at the path, or who was there is gone.
fn is_absent(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::NotConnected
    )
}

async fn send(path: &PathBuf, socket: &mut Option<UnixDatagram>, frame: &[u8]) -> io::Result<()> {
    let had_one = socket.is_some();
    match send_once(path, socket, frame).await {
        // The guest may have started again: another socket under the same path.
        Err(e) if had_one && is_absent(&e) => {
            *socket = None;
            send_once(path, socket, frame).await
        }
        other => other,
    }
}

async fn send_once(path: &PathBuf, socket: &mut Option<UnixDatagram>, frame: &[u8]) -> io::Result<()> {
    let connected = match socket {
        Some(connected) => connected,
        None => {
            let new = UnixDatagram::unbound()?;
            // Connected: only so does the kernel say when there is room in the guest's queue.
            new.connect(path)?;
            socket.insert(new)
        }
    };
    let sent = timeout(PATIENCE, async {
        loop {
            match connected.send(frame).await {
                Err(e) if e.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    sleep(OUT_OF_BUFFERS).await;
                }
                other => return other.map(drop),
            }
        }
    });
    sent.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
