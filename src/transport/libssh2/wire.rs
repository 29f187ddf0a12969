//! The byte stream under a session, and how its thread is woken.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

/// TCP to the host, or one end of a pair whose other end goes through a jump host.
#[derive(Debug)]
pub(super) enum Wire {
    Tcp(TcpStream),
    Tunnel(UnixStream),
}

impl Wire {
    /// Ends it for all that hold it: whoever waits for it returns.
    pub(super) fn shutdown(&self) {
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Self::Tunnel(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tunnel(stream) => stream.as_fd(),
        }
    }
}

/// The number of a descriptor that the session's thread owns, for libssh2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) RawFd);

impl AsRawFd for Number {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

/// Wakes a thread that waits in `poll`.
#[derive(Debug)]
pub(super) struct Waker(UnixStream);

/// The end that the thread waits for.
#[derive(Debug)]
pub(super) struct Wakes(UnixStream);

/// A connected pair that never blocks.
pub(super) fn waker() -> io::Result<(Waker, Wakes)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    Ok((Waker(near), Wakes(far)))
}

impl Waker {
    pub(super) fn wake(&self) {
        // When it is full the thread has reason enough to wake.
        let _ = (&self.0).write(&[1]);
    }
}

impl Wakes {
    pub(super) fn forget(&self) {
        let mut piece = [0; 256];
        while matches!((&self.0).read(&mut piece), Ok(n) if n == piece.len()) {}
    }
}

impl AsFd for Wakes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
