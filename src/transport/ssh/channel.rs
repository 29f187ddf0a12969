//! A channel of a russh connection as the session wants it.

use std::sync::Arc;

use async_trait::async_trait;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Sig};

use super::connection::Connection;
use crate::transport::link::{Ask, Message, NotOpened, Pipe, PipeRead, PipeWrite, SHELL, protocol};

/// A channel on which the server has been asked to run `command`, and has not answered yet.
async fn ask(connection: &Connection, command: &str) -> Result<Channel<Msg>, NotOpened> {
    let lost = |error: russh::Error| NotOpened::lost(connection, &error.to_string());
    let channel = match connection.handle.channel_open_session().await {
        Ok(channel) => channel,
        Err(russh::Error::ChannelOpenFailure(failure)) => {
            return Err(NotOpened::Refused(failure.description().to_owned()));
        }
        Err(error) => return Err(lost(error)),
    };
    channel.exec(true, command).await.map_err(lost)?;
    Ok(channel)
}

/// See [`Link::shell`](crate::transport::link::Link::shell).
pub(super) async fn shell(connection: &Connection) -> Result<Pipe, NotOpened> {
    Ok(halves(ask(connection, SHELL).await?))
}

fn halves(channel: Channel<Msg>) -> Pipe {
    let (read, write) = channel.split();
    Pipe { read: Box::new(read), write: Arc::new(write) }
}

/// See [`Link::open`](crate::transport::link::Link::open).
pub(super) async fn open(connection: &Connection, command: &str) -> Result<Pipe, NotOpened> {
    let lost = |what: &str| NotOpened::lost(connection, what);
    let mut channel = ask(connection, command).await?;
    if !granted(&mut channel).await.ok_or_else(|| lost("the server closed it"))? {
        channel.request_shell(true).await.map_err(|error| lost(&error.to_string()))?;
        if !granted(&mut channel).await.ok_or_else(|| lost("the server closed it"))? {
            return Err(NotOpened::Failed(protocol(connection, "it refuses both a command and a shell".to_owned())));
        }
        if command != SHELL {
            // Whoever opens this waits for a first word before sending more: what a shell has read ahead of `exec`
            // would be lost.
            let line = format!("exec {command}\n");
            channel.data_bytes(line.into_bytes()).await.map_err(|error| lost(&error.to_string()))?;
        }
    }
    Ok(halves(channel))
}

/// The answer to a request; `None` when the channel ended instead.
async fn granted(channel: &mut Channel<Msg>) -> Option<bool> {
    loop {
        match channel.wait().await? {
            ChannelMsg::Success => return Some(true),
            ChannelMsg::Failure => return Some(false),
            ChannelMsg::Close => return None,
            _ => {}
        }
    }
}

#[async_trait]
impl PipeRead for ChannelReadHalf {
    async fn wait(&mut self) -> Option<Message> {
        loop {
            return Some(match ChannelReadHalf::wait(self).await? {
                ChannelMsg::Data { data } => Message::Stdout(data.into()),
                ChannelMsg::ExtendedData { data, ext: 1 } => Message::Stderr(data.into()),
                ChannelMsg::ExitStatus { exit_status } => Message::Code(exit_status),
                ChannelMsg::ExitSignal { signal_name, .. } => Message::Signal(format!("{signal_name:?}")),
                ChannelMsg::Failure => Message::NoCommand,
                ChannelMsg::Close => Message::Close,
                _ => continue,
            });
        }
    }
}

#[async_trait]
impl PipeWrite for ChannelWriteHalf<Msg> {
    async fn data(&self, bytes: Vec<u8>) -> Result<(), String> {
        self.data_bytes(bytes).await.map_err(|error| error.to_string())
    }

    async fn eof(&self) -> Result<(), String> {
        ChannelWriteHalf::eof(self).await.map_err(|error| error.to_string())
    }

    async fn signal(&self, signal: Ask) -> bool {
        let signal = match signal {
            Ask::Term => Sig::TERM,
            Ask::Kill => Sig::KILL,
        };
        ChannelWriteHalf::signal(self, signal).await.is_ok()
    }

    async fn close(&self) {
        let _ = ChannelWriteHalf::close(self).await;
    }
}
