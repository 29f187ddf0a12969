//! An SSH server of the tests' own, which asks for passwords in many ways and counts every attempt.

#![allow(dead_code)] // not every test file uses all of it

use std::borrow::Cow;
use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use esxprep::transport::Target;
use esxprep::transport::target::{Credential, HostKeyCheck};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, Response, Session};
use russh::{Channel, ChannelId, MethodKind, MethodSet};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::ChildStdin;

use super::transport_support::keygen;

/// The only right one.
pub const PASSWORD: &str = "s3cret $#' word";

/// How the server of our own behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A hidden prompt, then a round without any.
    ZeroPrompts,
    /// Two hidden prompts in one round.
    Several,
    /// A prompt whose answer would be shown.
    Echo,
    /// A code after the password.
    SecondFactor,
    /// The password method only.
    PasswordOnly,
    /// Both ways to give a password.
    Both,
    /// Nothing but keys.
    KeysOnly,
    /// A key, and then a password as well.
    KeyThenPassword,
    /// A password, and then a key as well.
    PasswordThenKey,
    /// The connection ends while the password is being judged.
    HangsUp,
    /// No command, only a shell, which greets.
    ShellOnly,
}

#[derive(Clone)]
struct Far {
    mode: Mode,
    attempts: Arc<Mutex<Vec<String>>>,
    inputs: Arc<Mutex<HashMap<ChannelId, ChildStdin>>>,
}

impl Mode {
    fn methods(self) -> &'static [MethodKind] {
        match self {
            Self::PasswordOnly | Self::PasswordThenKey | Self::HangsUp => &[MethodKind::Password],
            Self::Both => &[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive],
            Self::KeysOnly | Self::KeyThenPassword => &[MethodKind::PublicKey],
            _ => &[MethodKind::PublicKey, MethodKind::KeyboardInteractive],
        }
    }
}

impl Far {
    /// russh hands on requests for methods that are off as well. They hold nothing that could be judged, and are
    /// noted as what they are.
    fn is_off(&self, method: MethodKind) -> bool {
        let off = !self.mode.methods().contains(&method);
        if off {
            self.note(&format!("no {}", <&str>::from(&method)));
        }
        off
    }

    fn note(&self, attempt: &str) {
        self.attempts.lock().unwrap().push(attempt.to_owned());
    }

    fn verdict(&self, good: bool) -> Auth {
        if good { Auth::Accept } else { Auth::Reject { proceed_with_methods: None, partial_success: false } }
    }

    async fn shell(&self, channel: ChannelId, session: &mut Session, command: &str) {
        let mut child = tokio::process::Command::new("/bin/sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.inputs.lock().unwrap().insert(channel, child.stdin.take().unwrap());
        let (mut out, mut err, handle) = (child.stdout.take().unwrap(), child.stderr.take().unwrap(), session.handle());
        let stderr_handle = handle.clone();
        let stderr = tokio::spawn(async move {
            let mut piece = vec![0; 4096];
            while let Ok(n @ 1..) = err.read(&mut piece).await {
                let _ = stderr_handle.extended_data(channel, 1, piece[..n].to_vec()).await;
            }
        });
        tokio::spawn(async move {
            let mut piece = vec![0; 4096];
            while let Ok(n @ 1..) = out.read(&mut piece).await {
                let _ = handle.data(channel, piece[..n].to_vec()).await;
            }
            let _ = stderr.await;
            let code = child.wait().await.unwrap().code().unwrap_or(255);
            let _ = handle.exit_status_request(channel, code as u32).await;
            let _ = handle.close(channel).await;
        });
    }
}

fn prompts(list: &[(&'static str, bool)]) -> Auth {
    let list: Vec<(Cow<'static, str>, bool)> = list.iter().map(|(text, echo)| (Cow::Borrowed(*text), *echo)).collect();
    Auth::Partial { name: "".into(), instructions: "".into(), prompts: list.into() }
}

/// Right so far, but this is wanted as well.
fn one_more(method: MethodKind) -> Auth {
    Auth::Reject { proceed_with_methods: Some(MethodSet::from([method].as_slice())), partial_success: true }
}

impl server::Handler for Far {
    type Error = russh::Error;

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, russh::Error> {
        self.note("password");
        if self.mode == Mode::HangsUp {
            return Err(russh::Error::Disconnect);
        }
        if self.mode == Mode::PasswordThenKey && password == PASSWORD {
            return Ok(one_more(MethodKind::PublicKey));
        }
        Ok(self.verdict(password == PASSWORD))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        if self.is_off(MethodKind::KeyboardInteractive) {
            return Ok(Auth::reject());
        }
        let Some(response) = response else {
            self.note("start");
            return Ok(match self.mode {
                Mode::Several => prompts(&[("Password: ", false), ("Repeat: ", false)]),
                Mode::Echo => prompts(&[("User name: ", true)]),
                _ => prompts(&[("Password: ", false)]),
            });
        };
        let answers: Vec<String> = response.map(|answer| String::from_utf8_lossy(&answer).into_owned()).collect();
        self.note(&format!("answers {}", answers.len()));
        let good = answers.iter().all(|answer| answer == PASSWORD);
        Ok(match (self.mode, answers.len()) {
            (Mode::ZeroPrompts, 1) if good => prompts(&[]),
            (Mode::SecondFactor, 1) if good => prompts(&[("Verification code: ", false)]),
            (Mode::Several, 2) | (Mode::Both | Mode::ShellOnly, 1) | (Mode::ZeroPrompts, 0) => self.verdict(good),
            _ => self.verdict(false),
        })
    }

    async fn auth_publickey_offered(&mut self, _: &str, _: server::PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        if self.mode != Mode::PasswordThenKey && self.is_off(MethodKind::PublicKey) {
            return Ok(Auth::reject());
        }
        self.note("key");
        Ok(self.verdict(matches!(self.mode, Mode::KeyThenPassword | Mode::PasswordThenKey)))
    }

    async fn auth_publickey(&mut self, _: &str, _: server::VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        self.note("signed");
        Ok(match self.mode {
            Mode::KeyThenPassword => one_more(MethodKind::Password),
            _ => self.verdict(self.mode == Mode::PasswordThenKey),
        })
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        reply.accept().await;
        Ok(())
    }

    async fn exec_request(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), russh::Error> {
        if self.mode == Mode::ShellOnly {
            return session.channel_failure(id);
        }
        session.channel_success(id)?;
        self.shell(id, session, std::str::from_utf8(data).unwrap()).await;
        Ok(())
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), russh::Error> {
        session.channel_success(id)?;
        self.shell(id, session, "echo 'The time and date of this login have been sent to the logs.'; exec /bin/sh")
            .await;
        Ok(())
    }

    async fn data(&mut self, id: ChannelId, data: &[u8], _: &mut Session) -> Result<(), russh::Error> {
        let input = self.inputs.lock().unwrap().remove(&id);
        if let Some(mut input) = input {
            let _ = input.write_all(data).await;
            self.inputs.lock().unwrap().insert(id, input);
        }
        Ok(())
    }

    async fn channel_eof(&mut self, id: ChannelId, _: &mut Session) -> Result<(), russh::Error> {
        self.inputs.lock().unwrap().remove(&id);
        Ok(())
    }
}

/// A running server of our own: a target for it, and what was tried on it.
pub struct Counting {
    pub target: Target,
    attempts: Arc<Mutex<Vec<String>>>,
    pub folder: tempfile::TempDir,
}

impl Counting {
    pub async fn start(mode: Mode) -> Self {
        let folder = tempfile::tempdir().unwrap();
        keygen(&folder.path().join("host"), "ecdsa", "");
        keygen(&folder.path().join("mine"), "ed25519", "");
        let key = russh::keys::load_secret_key(folder.path().join("host"), None).unwrap();
        let config = Arc::new(server::Config {
            keys: vec![key],
            methods: MethodSet::from(mode.methods()),
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..server::Config::default()
        });
        let attempts = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let far = Far { mode, attempts: Arc::clone(&attempts), inputs: Arc::default() };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (config, far) = (Arc::clone(&config), far.clone());
                tokio::spawn(async move {
                    if let Ok(session) = server::run_stream(config, stream, far).await {
                        let _ = session.await;
                    }
                });
            }
        });
        let mut target = Target::new("esx-a", "127.0.0.1");
        target.port = port;
        target.host_key = HostKeyCheck { accept_new: true, known_hosts: vec![folder.path().join("known")], pin: None };
        target.credentials = vec![password(PASSWORD)];
        Self { target, attempts, folder }
    }

    /// What was given so far, in order.
    pub fn attempts(&self) -> Vec<String> {
        self.requests().into_iter().filter(|request| !request.starts_with("no ")).collect()
    }

    /// The same with the requests for methods that are off.
    pub fn requests(&self) -> Vec<String> {
        self.attempts.lock().unwrap().clone()
    }
}

pub fn password(text: &str) -> Credential {
    Credential::Password(SecretString::from(text.to_owned()))
}
