//! Servers that exchange keys properly and misbehave afterwards: at the login, on channels, in the answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, EcdsaCurve, PrivateKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session};
use russh::{Channel, ChannelId, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, MethodKind, MethodSet};
use tokio::net::TcpListener;

/// What would do harm on a terminal.
pub const RUDE: &str = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\u{9b}31m\u{85}\rover\u{202e}txt\u{2066}\x08";

/// What such a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trick {
    /// A banner of escape sequences, then every login is refused.
    RudeBanner,
    /// Ten thousand questions with escape sequences.
    ManyPrompts,
    /// One question with escape sequences whose answer would be shown.
    RudePrompt,
    /// Rounds without a question, without end.
    EndlessRounds,
    /// Lets in, then hangs up with escape sequences.
    RudeGoodbye,
    /// No channel is ever opened.
    NoChannel,
    /// A channel whose window is never opened.
    NoWindow,
    /// A channel that is never answered on.
    Mute,
    /// Standard output without end instead of a shell.
    Flood,
    /// The same on standard error.
    FloodErrors,
    /// Requests for a sign of life without end, and nothing else.
    KeepaliveOnly,
    /// New keys after every few bytes, while standard output has no end.
    RekeyAlways,
    /// Escape sequences instead of a shell, then the end without an exit code.
    RudeShell,
    /// A shell that ends in the middle of a marker.
    CutMarker,
    /// A shell that answers the second command first.
    OutOfOrder,
    /// Markers with another nonce, then nothing.
    ForgedMarker,
    /// End after end, for commands that nobody sent.
    EndlessMarkers,
    /// A shell that ends every command with as much output as one command may have.
    LongAnswers,
    /// A shell whose every answer is escape sequences.
    RudeAnswers,
}

/// Starts one on the running runtime; it lives as long as that.
pub async fn start(trick: Trick) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 })
        .unwrap();
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::KeyboardInteractive);
    methods.push(MethodKind::Password);
    let rekey = if trick == Trick::RekeyAlways { 1 << 14 } else { 1 << 30 };
    let config = Arc::new(Config {
        methods,
        keys: vec![key],
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        window_size: if trick == Trick::NoWindow { 0 } else { 1 << 21 },
        keepalive_interval: (trick == Trick::KeepaliveOnly).then_some(Duration::from_millis(1)),
        keepalive_max: usize::MAX,
        limits: russh::Limits::new(rekey, rekey, Duration::from_secs(3600)),
        ..Config::default()
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                let hostile = Hostile { trick, channels: Vec::new(), held: Vec::new() };
                if let Ok(running) = russh::server::run_stream(config, stream, hostile).await {
                    let _ = running.await;
                }
            });
        }
    });
    port
}

struct Hostile {
    trick: Trick,
    channels: Vec<Channel<Msg>>,
    held: Vec<ChannelOpenHandle>,
}

impl Handler for Hostile {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok((self.trick == Trick::RudeBanner).then(|| RUDE.repeat(2000)))
    }

    async fn auth_password(&mut self, _: &str, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::reject())
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let ask = |prompts: Vec<(Cow<'static, str>, bool)>| {
            Ok(Auth::Partial { name: RUDE.into(), instructions: RUDE.into(), prompts: prompts.into() })
        };
        let answered = response.is_some_and(|mut answers| answers.next().is_some());
        match self.trick {
            Trick::RudeBanner => Ok(Auth::reject()),
            Trick::ManyPrompts => ask(vec![(Cow::from("\x1b[2JPassword: "), false); 10_000]),
            Trick::RudePrompt => ask(vec![(RUDE.into(), true)]),
            Trick::EndlessRounds => ask(Vec::new()),
            _ if answered => Ok(Auth::Accept),
            _ => ask(vec![("Password: ".into(), false)]),
        }
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), Self::Error> {
        if self.trick == Trick::RudeGoodbye {
            session.disconnect(Disconnect::ByApplication, &RUDE.repeat(500), "")?;
        }
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.trick == Trick::NoChannel {
            self.held.push(reply);
            return Ok(());
        }
        self.channels.push(channel);
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        let Some(at) = self.channels.iter().position(|channel| channel.id() == id) else {
            return session.channel_failure(id);
        };
        let channel = self.channels.remove(at);
        session.channel_success(id)?;
        let trick = self.trick;
        tokio::spawn(async move {
            let (input, output) = channel.split();
            let _ = play(trick, input, &output).await;
        });
        Ok(())
    }
}

type Output = ChannelWriteHalf<Msg>;

async fn play(trick: Trick, mut input: ChannelReadHalf, output: &Output) -> Result<(), russh::Error> {
    let much = RUDE.repeat(700).into_bytes();
    match trick {
        Trick::Flood | Trick::RekeyAlways => loop {
            output.data_bytes(much.clone()).await?;
        },
        Trick::FloodErrors => loop {
            output.extended_data_bytes(1, much.clone()).await?;
        },
        Trick::RudeShell => {
            output.data_bytes(much).await?;
            output.extended_data_bytes(1, RUDE.as_bytes().to_vec()).await?;
            output.close().await
        }
        Trick::CutMarker | Trick::OutOfOrder | Trick::EndlessMarkers | Trick::LongAnswers | Trick::RudeAnswers => {
            shell(trick, input, output).await
        }
        Trick::ForgedMarker => {
            let nonce = "0123456789abcdef".repeat(2);
            output.data_bytes(format!("\n{nonce} 0 0\n").into_bytes()).await?;
            output.extended_data_bytes(1, format!("\n{nonce} 0\n").into_bytes()).await?;
            while input.wait().await.is_some() {}
            Ok(())
        }
        _ => {
            while input.wait().await.is_some() {}
            Ok(())
        }
    }
}

/// Reads the ends of commands out of what is sent, and answers in a shell's place.
async fn shell(trick: Trick, mut input: ChannelReadHalf, output: &Output) -> Result<(), russh::Error> {
    let end = regex::bytes::Regex::new("echo \"\n([0-9a-f]{32}) ([0-9]+) ").unwrap();
    let mut sent = Vec::new();
    let mut waiting: Vec<(String, u64)> = Vec::new();
    while let Some(message) = input.wait().await {
        let ChannelMsg::Data { data } = message else { continue };
        sent.extend_from_slice(&data);
        while let Some(found) = end.captures(&sent) {
            let part = |n: usize| String::from_utf8_lossy(&found[n]).into_owned();
            waiting.push((part(1), part(2).parse().unwrap()));
            let upto = found.get(0).unwrap().end();
            sent.drain(..upto);
        }
        // The first word of a shell comes as it should, whatever comes then.
        for (nonce, number) in std::mem::take(&mut waiting) {
            let stdout = |number: u64| format!("\n{nonce} {number} 0\n").into_bytes();
            let stderr = |number: u64| format!("\n{nonce} {number}\n").into_bytes();
            if number > 0 {
                match trick {
                    Trick::CutMarker => {
                        let marker = stdout(number);
                        output.data_bytes(marker[..20].to_vec()).await?;
                        return output.close().await;
                    }
                    Trick::OutOfOrder => {
                        output.data_bytes(stdout(number + 1)).await?;
                        continue;
                    }
                    Trick::EndlessMarkers => {
                        for number in number.. {
                            output.data_bytes(stdout(number)).await?;
                        }
                    }
                    Trick::LongAnswers => {
                        let piece = vec![b'x'; 1 << 20];
                        for _ in 0..15 {
                            output.data_bytes(piece.clone()).await?;
                        }
                    }
                    _ => {
                        output.data_bytes(RUDE.repeat(20).into_bytes()).await?;
                        output.extended_data_bytes(1, RUDE.as_bytes().to_vec()).await?;
                    }
                }
            }
            output.data_bytes(stdout(number)).await?;
            output.extended_data_bytes(1, stderr(number)).await?;
        }
    }
    Ok(())
}
