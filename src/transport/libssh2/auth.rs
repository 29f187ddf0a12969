//! The attempts of a login, by libssh2. It does not pass on what a refusal says, so what the server would take is
//! what it said at the start; only behind a signature that it accepted without letting us in is it asked again.

use std::sync::Arc;

use russh::keys::ssh_key::LineEnding;
use russh::keys::{PrivateKey, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};

use super::code;
use super::wire::Wire;
use super::worker::Worker;
use crate::transport::auth::{Agent, Answer, Closed, Gone, Prompt, Prompts, Server};

/// A connection whose host key has been accepted.
pub(super) struct Peer {
    pub(super) worker: Worker,
    closed: Option<Closed>,
}

/// What came of one attempt, as the thread sees it.
enum Tried {
    Answer(Answer),
    Gone(Closed),
}

impl Peer {
    pub(super) fn new(worker: Worker) -> Self {
        Self { worker, closed: None }
    }

    async fn attempt<F>(&mut self, job: F) -> Result<Answer, Gone>
    where
        F: FnOnce(&ssh2::Session) -> Tried + Send + 'static,
    {
        match self.worker.ask(move |session| job(session)).await {
            Some(Tried::Answer(answer)) => Ok(answer),
            Some(Tried::Gone(closed)) => {
                self.closed = Some(closed);
                Err(Gone::HungUp)
            }
            None => Err(Gone::Lost("the thread of the session ended early".to_owned())),
        }
    }
}

/// What an error of libssh2 means.
fn judge(session: &ssh2::Session, user: &str, result: Result<(), ssh2::Error>) -> Tried {
    let error = match result {
        Ok(()) => return Tried::Answer(Answer::Accepted),
        Err(error) => error,
    };
    let refused = |takes| Tried::Answer(Answer::Refused { takes, partial: false });
    let (code, text) = (code::of(&error), error.message());
    // libssh2 gives a connection that ended the code of a refusal; only its words differ.
    if code::is_socket(code) || text.starts_with("Waiting for") || text.starts_with("Failed getting response") {
        return Tried::Gone(ending(session, user, code, text));
    }
    match code {
        code::AUTHENTICATION_FAILED => refused(None),
        code::PUBLICKEY_UNVERIFIED if text.starts_with("Invalid signature") => match takes(session, user) {
            // It knew the key and has seen it proved: then another proof is wanted, or the signature was not right.
            Some(Ok(takes)) => {
                let partial = !takes.contains(&MethodKind::PublicKey);
                Tried::Answer(Answer::Refused { takes: Some(takes), partial })
            }
            Some(Err(closed)) => Tried::Gone(closed),
            None => Tried::Answer(Answer::Accepted),
        },
        code::PASSWORD_EXPIRED => {
            Tried::Answer(Answer::GivenUp("the password has expired; change it on the host's console".to_owned()))
        }
        _ => Tried::Answer(Answer::NotTried(format!("libssh2: {text}"))),
    }
}

/// The `none` request; `None`: that was the login.
fn takes(session: &ssh2::Session, user: &str) -> Option<Result<MethodSet, Closed>> {
    match session.auth_methods(user) {
        _ if session.authenticated() => None,
        Ok(list) => {
            let known = [
                ("publickey", MethodKind::PublicKey),
                ("password", MethodKind::Password),
                ("keyboard-interactive", MethodKind::KeyboardInteractive),
                ("hostbased", MethodKind::HostBased),
            ];
            let methods: Vec<MethodKind> = list
                .split(',')
                .filter_map(|word| known.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind))
                .collect();
            Some(Ok(MethodSet::from(methods.as_slice())))
        }
        Err(error) => Some(Err(closed(code::of(&error), error.message()))),
    }
}

fn closed(code: i32, text: &str) -> Closed {
    match code {
        code::SOCKET_DISCONNECT => Closed::ByServer(None),
        code::TIMEOUT => Closed::Lost("no answer in time".to_owned()),
        _ => Closed::Lost(text.to_owned()),
    }
}

/// Why the connection is gone. A goodbye of the server is remembered by libssh2 and shows at the next call.
fn ending(session: &ssh2::Session, user: &str, code: i32, text: &str) -> Closed {
    match (closed(code, text), code) {
        (Closed::ByServer(said), _) => Closed::ByServer(said),
        (other, code::TIMEOUT) => other,
        (other, _) => match takes(session, user) {
            Some(Err(Closed::ByServer(said))) => Closed::ByServer(said),
            _ => other,
        },
    }
}

/// Answers libssh2's questions; where there is no answer, the connection is cut so that none is sent.
struct Prompter {
    prompts: Prompts,
    wire: Arc<Wire>,
    given_up: Option<String>,
}

impl ssh2::KeyboardInteractivePrompt for Prompter {
    fn prompt(&mut self, _: &str, _: &str, prompts: &[ssh2::Prompt<'_>]) -> Vec<String> {
        let asked: Vec<Prompt> =
            prompts.iter().map(|asked| Prompt { prompt: asked.text.to_string(), echo: asked.echo }).collect();
        match self.prompts.answers(&asked) {
            Ok(answers) => answers,
            Err(reason) => {
                self.given_up = Some(reason);
                self.wire.shutdown();
                Vec::new()
            }
        }
    }
}

impl Server for Peer {
    const ASKS: bool = true;

    async fn none(&mut self, user: &str) -> Result<Answer, Gone> {
        let user = user.to_owned();
        self.attempt(move |session| match takes(session, &user) {
            None => Tried::Answer(Answer::Accepted),
            Some(Ok(takes)) => Tried::Answer(Answer::Refused { takes: Some(takes), partial: false }),
            Some(Err(closed)) => Tried::Gone(closed),
        })
        .await
    }

    async fn password(&mut self, user: &str, password: &SecretString) -> Result<Answer, Gone> {
        let (user, password) = (user.to_owned(), password.clone());
        self.attempt(move |session| {
            let result = session.userauth_password(&user, password.expose_secret());
            judge(session, &user, result)
        })
        .await
    }

    async fn interactive(&mut self, user: &str, prompts: Prompts) -> Result<Answer, Gone> {
        let (user, wire) = (user.to_owned(), Arc::clone(&self.worker.wire));
        self.attempt(move |session| {
            let mut prompter = Prompter { prompts, wire, given_up: None };
            let result = session.userauth_keyboard_interactive(&user, &mut prompter);
            match prompter.given_up {
                Some(reason) => Tried::Answer(Answer::GivenUp(reason)),
                None => judge(session, &user, result),
            }
        })
        .await
    }

    async fn key(&mut self, user: &str, key: PrivateKey) -> Result<Answer, Gone> {
        let user = user.to_owned();
        self.attempt(move |session| {
            let text = match key.to_openssh(LineEnding::LF) {
                Ok(text) => text,
                Err(error) => return Tried::Answer(Answer::NotTried(format!("it cannot be passed on: {error}"))),
            };
            let result = session.userauth_pubkey_memory(&user, None, &text, None);
            judge(session, &user, result)
        })
        .await
    }

    async fn agent_key(&mut self, user: &str, key: &PublicKey, agent: &mut Agent) -> Result<Answer, Gone> {
        let (user, socket) = (user.to_owned(), agent.socket.clone());
        let wanted = match key.to_bytes() {
            Ok(blob) => blob,
            Err(error) => return Ok(Answer::NotTried(error.to_string())),
        };
        self.attempt(move |session| {
            let not_signed = |error: ssh2::Error| Tried::Answer(Answer::NotSigned(error.message().to_owned()));
            let mut agent = match session.agent() {
                Ok(agent) => agent,
                Err(error) => return not_signed(error),
            };
            let listed = socket
                .map_or(Ok(()), |path| agent.set_identity_path(&path))
                .and_then(|()| agent.connect())
                .and_then(|()| agent.list_identities())
                .and_then(|()| agent.identities());
            let identities = match listed {
                Ok(identities) => identities,
                Err(error) => return not_signed(error),
            };
            let Some(identity) = identities.iter().find(|identity| identity.blob() == wanted.as_slice()) else {
                return Tried::Answer(Answer::NotTried("the agent has no longer got it".to_owned()));
            };
            let result = agent.userauth(&user, identity);
            match judge(session, &user, result) {
                Tried::Answer(Answer::NotTried(reason)) => Tried::Answer(Answer::NotSigned(reason)),
                tried => tried,
            }
        })
        .await
    }

    async fn closed(&mut self) -> Option<Closed> {
        self.closed.clone()
    }
}
