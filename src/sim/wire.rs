//! A client's TCP connection as it may go wrong: cut from outside without a word, silent, slow, or with noise before
//! the SSH identification.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::fault::Kind;
use super::links::Fate;

/// One connection.
pub(super) struct Wire {
    stream: TcpStream,
    token: CancellationToken,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    mute: CancellationToken,
    /// Bytes that are still to be said before anything else.
    noise: Vec<u8>,
    /// One byte at a time, with this pause; and when the next one may go.
    trickle: Option<(Duration, Pin<Box<Sleep>>)>,
    /// Bytes sent so far.
    sent: Arc<AtomicUsize>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, fate: &Fate, faults: &[Kind], sent: Arc<AtomicUsize>) -> Wire {
        let mut wire = Wire {
            stream,
            token: fate.cut.clone(),
            cut: Box::pin(fate.cut.clone().cancelled_owned()),
            mute: fate.mute.clone(),
            noise: Vec::new(),
            trickle: None,
            sent,
        };
        for fault in faults {
            match fault {
                Kind::Noise(text) => wire.noise.extend_from_slice(format!("{text}\r\n").as_bytes()),
                Kind::Trickle(ms) => {
                    let pause = Duration::from_millis(*ms);
                    wire.trickle = Some((pause, Box::pin(tokio::time::sleep(Duration::ZERO))));
                }
                _ => {}
            }
        }
        wire
    }

    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        if self.token.is_cancelled() || self.cut.as_mut().poll(cx).is_ready() {
            let _ = self.stream.set_zero_linger();
            return true;
        }
        false
    }

    /// At most one byte, not before its time.
    fn slowly(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<usize> {
        let Some((pause, due)) = self.trickle.as_mut().filter(|_| length > 0) else { return Poll::Ready(length) };
        if !pause.is_zero() {
            if due.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            due.as_mut().reset(Instant::now() + *pause);
        }
        Poll::Ready(1)
    }
}

fn cut_error() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the simulated host cut the connection")
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(cut_error()));
        }
        if self.mute.is_cancelled() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_cut(cx) {
            return Poll::Ready(Err(cut_error()));
        }
        if self.mute.is_cancelled() {
            return Poll::Pending;
        }
        while !self.noise.is_empty() {
            let noise = std::mem::take(&mut self.noise);
            match Pin::new(&mut self.stream).poll_write(cx, &noise) {
                Poll::Ready(Ok(count)) => self.noise = noise[count..].to_vec(),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.noise = noise;
                    return Poll::Pending;
                }
            }
        }
        let Poll::Ready(length) = self.slowly(cx, buf.len()) else { return Poll::Pending };
        let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..length]);
        if let Poll::Ready(Ok(count)) = &written {
            self.sent.fetch_add(*count, Ordering::SeqCst);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
