//! Logging in, each credential once. Servers count failures and lock accounts, so a password is given by one method
//! only, and the number of attempts stays below the server's own limit, past which it hangs up without saying what was
//! wrong.
//!
//! What the server takes is not asked first where the library can do without: its answer to the first attempt says it
//! as well, a turn earlier. A password begins with `keyboard-interactive`, the one method that ESXi 8.0.2 takes it by:
//! the request holds no password, so a server that does not know it has judged nothing, and the `password` method may
//! follow. The other way round that could not be told: after a wrong password some servers take the method off their
//! list, and a server without the method writes a failed password into its log at each login.

use std::path::{Path, PathBuf};

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, PrivateKey, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::UnixStream;

use super::error::TransportError;
use super::hostkeys::fingerprint;
use super::logins::Given;
use super::target::{Credential, Target};

/// OpenSSH hangs up at the sixth failure (`MaxAuthTries 6`): five may fail and still leave an answer.
pub(super) const MAX_FAILURES: usize = 5;

/// A keyboard-interactive exchange has one round that asks and perhaps an empty one; more is not a login.
const MAX_ROUNDS: usize = 8;

/// A host asks for a password, perhaps for two; whoever asks for more does not get it as often.
const MAX_PROMPTS: usize = 4;

/// The most that is shown of what a server says, in characters.
const SHOWN: usize = 1000;

/// The end of every refusal.
const NOT_AGAIN: &str = "Nothing is tried again, since repeated failures lock accounts";

/// Why a connection ended, as far as it is known.
#[derive(Debug, Clone)]
pub(super) enum Closed {
    /// The server said so: what it said, where the library passes that on.
    ByServer(Option<String>),
    /// No method is left that this side knows.
    NoMethodLeft,
    /// Anything else.
    Lost(String),
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByServer(Some(message)) => write!(f, "the server hung up, saying \"{}\"", beginning(message)),
            Self::ByServer(None) => f.write_str("the server hung up (this SSH library does not pass on what it said)"),
            Self::NoMethodLeft => f.write_str("the server takes no login that is known here"),
            Self::Lost(reason) => f.write_str(reason),
        }
    }
}

/// A server before the login, as an SSH library shows it. Each call is one attempt, and no more than one.
pub(super) trait Server: Send {
    /// Whether the library does not say what the server takes after a refusal, so that it must be asked before.
    const ASKS: bool;

    /// The `none` request: what would be taken? OpenSSH does not count it as a failure.
    fn none(&mut self, user: &str) -> impl Future<Output = Result<Answer, Gone>> + Send;
    /// The `password` method.
    fn password(&mut self, user: &str, password: &SecretString) -> impl Future<Output = Result<Answer, Gone>> + Send;
    /// The `keyboard-interactive` method.
    fn interactive(&mut self, user: &str, prompts: Prompts) -> impl Future<Output = Result<Answer, Gone>> + Send;
    /// The `publickey` method.
    fn key(&mut self, user: &str, key: PrivateKey) -> impl Future<Output = Result<Answer, Gone>> + Send;
    /// The `publickey` method with a key of the agent.
    fn agent_key(
        &mut self,
        user: &str,
        key: &PublicKey,
        agent: &mut Agent,
    ) -> impl Future<Output = Result<Answer, Gone>> + Send;
    /// Why the connection ended; waits a moment for the reason to be known.
    fn closed(&mut self) -> impl Future<Output = Option<Closed>> + Send;
}

/// An agent that is connected.
pub(super) struct Agent {
    pub(super) client: AgentClient<UnixStream>,
    /// Its socket, when it is not the one in `SSH_AUTH_SOCK`.
    #[cfg(feature = "libssh2")]
    pub(super) socket: Option<PathBuf>,
}

/// What came of one attempt.
#[derive(Debug)]
pub(super) enum Answer {
    Accepted,
    Refused {
        /// What the server would take now; `None` where the library does not pass it on.
        takes: Option<MethodSet>,
        /// It was right, but more is wanted.
        partial: bool,
    },
    /// The server has no such method, or not for this user: it took nothing that it could judge.
    NotTaken {
        takes: MethodSet,
    },
    /// Not an answer for a password: given up, and why.
    GivenUp(String),
    /// Not tried after all, and why.
    NotTried(String),
    /// The agent did not sign.
    NotSigned(String),
}

/// There is no answer.
#[derive(Debug)]
pub(super) enum Gone {
    /// The connection ended instead: [`Server::closed`] knows why.
    HungUp,
    /// It is lost: how.
    Lost(String),
}

/// How the rounds of a keyboard-interactive exchange are answered with a password.
pub(super) struct Prompts {
    password: SecretString,
    given: Given,
    rounds: usize,
    answered: bool,
}

/// One question.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) prompt: String,
    pub(super) echo: bool,
}

impl Prompts {
    /// The answers to one round, or why there are none.
    pub(super) fn answers(&mut self, prompts: &[Prompt]) -> Result<Vec<String>, String> {
        if self.rounds == MAX_ROUNDS {
            return Err(format!("the server asked {MAX_ROUNDS} times"));
        }
        self.rounds += 1;
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        if prompts.len() > MAX_PROMPTS {
            return Err(format!("the server asked {} questions at once: that is no login", prompts.len()));
        }
        if let Some(reason) = unanswerable(prompts, self.answered) {
            return Err(reason);
        }
        self.answered = true;
        self.given.note();
        Ok(prompts.iter().map(|_| self.password.expose_secret().to_owned()).collect())
    }
}

struct Login<'a, S> {
    server: &'a mut S,
    target: &'a Target,
    given: &'a Given,
    /// What the server would take now, once it has said so.
    offered: Option<MethodSet>,
    tried: Vec<String>,
    skipped: Vec<String>,
    problems: Vec<String>,
    failures: usize,
    ed25519_refused: bool,
    /// The last refusal did not say what the server would take now: perhaps it was only the first of two proofs.
    silent: bool,
}

/// Logs in, or says what was tried and what the server would take.
pub(super) async fn login<S: Server>(
    server: &mut S,
    target: &Target,
    agent: Option<&Path>,
    given: &Given,
) -> Result<(), TransportError> {
    let mut login = Login {
        server,
        target,
        given,
        offered: None,
        tried: Vec::new(),
        skipped: Vec::new(),
        problems: Vec::new(),
        failures: 0,
        ed25519_refused: false,
        silent: false,
    };
    if (S::ASKS || target.credentials.is_empty()) && login.ask().await? {
        return Ok(());
    }
    let last = target.credentials.len();
    for (index, credential) in target.credentials.iter().enumerate() {
        let accepted = match credential {
            Credential::Password(password) => login.password(password).await?,
            Credential::Key { path, passphrase } => login.key_file(path, passphrase.as_ref()).await?,
            Credential::Agent => login.agent(agent, last - index - 1).await?,
        };
        if accepted {
            return Ok(());
        }
    }
    // Nothing could be tried; what would be taken is still worth knowing.
    if login.offered.is_none() && login.ask().await? {
        return Ok(());
    }
    Err(login.refused())
}

impl<S: Server> Login<'_, S> {
    /// Whether another attempt may be made; if not, it is noted.
    fn may_try(&mut self, what: &str) -> bool {
        if self.failures < MAX_FAILURES {
            return true;
        }
        self.skipped.push(format!("{what} (not tried: after {MAX_FAILURES} failures the server would hang up)"));
        false
    }

    /// Asks what the server takes; true when that was the login.
    async fn ask(&mut self) -> Result<bool, TransportError> {
        match self.server.none(&self.target.user).await {
            Ok(Answer::Accepted) => Ok(true),
            Ok(Answer::Refused { takes, .. }) => {
                self.offered = Some(takes.unwrap_or_else(MethodSet::empty));
                Ok(false)
            }
            Ok(Answer::NotTaken { takes }) => {
                self.offered = Some(takes);
                Ok(false)
            }
            Ok(Answer::GivenUp(reason) | Answer::NotTried(reason) | Answer::NotSigned(reason))
            | Err(Gone::Lost(reason)) => Err(self.lost(&reason)),
            Err(Gone::HungUp) => Err(self.hung_up("while asking which logins it takes").await),
        }
    }

    /// Whether the server takes the method, as far as is known.
    fn may_take(&self, method: MethodKind) -> bool {
        self.offered.as_ref().is_none_or(|offered| offered.contains(&method))
    }

    fn offers(&mut self, method: MethodKind, what: &str) -> bool {
        if self.may_take(method) {
            return true;
        }
        self.skipped.push(format!("{what} (not tried: the server does not take it)"));
        false
    }

    async fn password(&mut self, password: &SecretString) -> Result<bool, TransportError> {
        if !self.may_try("the password") {
            return Ok(false);
        }
        if self.may_take(MethodKind::KeyboardInteractive)
            && let Some(accepted) = self.interactive(password).await?
        {
            return Ok(accepted);
        }
        if !self.may_try("the password") || !self.offers(MethodKind::Password, "the password") {
            return Ok(false);
        }
        self.given.note();
        let result = self.server.password(&self.target.user, password).await;
        self.settle(result, "password", "while trying password").await
    }

    /// `None`: the server does not know the method, and no password was given.
    async fn interactive(&mut self, password: &SecretString) -> Result<Option<bool>, TransportError> {
        let prompts = Prompts { password: password.clone(), given: self.given.clone(), rounds: 0, answered: false };
        let mut result = self.server.interactive(&self.target.user, prompts).await;
        if let Ok(Answer::NotTaken { takes }) = result {
            if !takes.contains(&MethodKind::KeyboardInteractive) {
                self.failures += 1; // of the connection; the account has none
                self.offered = Some(takes);
                return Ok(None);
            }
            result = Ok(Answer::Refused { takes: Some(takes), partial: false });
        }
        let what = "password by keyboard-interactive";
        self.settle(result, what, "during the login by keyboard-interactive").await.map(Some)
    }

    async fn key_file(&mut self, path: &Path, passphrase: Option<&SecretString>) -> Result<bool, TransportError> {
        let shown = path.display().to_string();
        let key = match load_key(path.to_owned(), passphrase.cloned()).await {
            Ok(key) => key,
            Err(problem) => {
                self.problems.push(problem);
                return Ok(false);
            }
        };
        let what = format!("key {shown} ({} {})", key.algorithm(), fingerprint(key.public_key()));
        if !self.offers(MethodKind::PublicKey, &what) || !self.may_try(&what) {
            return Ok(false);
        }
        let algorithm = key.algorithm();
        let result = self.server.key(&self.target.user, key).await;
        self.settle_key(result, &what, &algorithm).await
    }

    /// `later` attempts are kept for the credentials that come after the agent.
    async fn agent(&mut self, socket: Option<&Path>, later: usize) -> Result<bool, TransportError> {
        let connected = match socket {
            Some(path) => AgentClient::connect_uds(path).await,
            None => AgentClient::connect_env().await,
        };
        let mut agent = match connected {
            Ok(client) => Agent {
                client,
                #[cfg(feature = "libssh2")]
                socket: socket.map(Path::to_owned),
            },
            Err(error) => {
                self.problems.push(format!("no SSH agent: {error}"));
                return Ok(false);
            }
        };
        let identities = match agent.client.request_identities().await {
            Ok(identities) => identities,
            Err(error) => {
                self.problems.push(format!("the SSH agent does not list its keys: {error}"));
                return Ok(false);
            }
        };
        if identities.is_empty() {
            self.problems.push("the SSH agent holds no key (ssh-add adds one)".to_owned());
        }
        let keep = later.min(MAX_FAILURES - 1);
        for (index, identity) in identities.iter().enumerate() {
            let AgentIdentity::PublicKey { key, comment } = identity else {
                self.skipped.push("a certificate of the agent (not supported)".to_owned());
                continue;
            };
            let what = format!("agent key {comment} ({} {})", key.algorithm(), fingerprint(key));
            if !self.offers(MethodKind::PublicKey, &what) {
                break;
            }
            if self.failures + keep >= MAX_FAILURES {
                self.skipped.push(format!(
                    "{} more keys of the agent (not tried: the server hangs up after a few failures, usually 6; \
                     name the right key file in the inventory)",
                    identities.len() - index
                ));
                break;
            }
            let result = self.server.agent_key(&self.target.user, key, &mut agent).await;
            if self.settle_key(result, &what, &key.algorithm()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn settle_key(
        &mut self,
        result: Result<Answer, Gone>,
        what: &str,
        algorithm: &Algorithm,
    ) -> Result<bool, TransportError> {
        let refused = matches!(result, Ok(Answer::Refused { partial: false, .. }));
        self.ed25519_refused |= refused && *algorithm == Algorithm::Ed25519;
        self.settle(result, what, &format!("while trying {what}")).await
    }

    /// Notes what came of an attempt; true when that was the login.
    async fn settle(&mut self, result: Result<Answer, Gone>, what: &str, during: &str) -> Result<bool, TransportError> {
        match result {
            Ok(Answer::Accepted) => return Ok(true),
            Ok(Answer::Refused { takes, partial }) => {
                if partial {
                    self.tried.push(format!("{what} (accepted, but the server wants one more proof)"));
                } else {
                    self.failures += 1;
                    self.tried.push(format!("{what} (refused)"));
                }
                self.silent = takes.is_none();
                if takes.is_some() {
                    self.offered = takes;
                }
            }
            Ok(Answer::NotTaken { takes }) => {
                self.failures += 1;
                self.tried.push(format!("{what} (refused)"));
                self.offered = Some(takes);
            }
            Ok(Answer::GivenUp(reason)) => {
                self.tried.push(format!("{what} (given up: {reason})"));
                return Err(self.refused());
            }
            Ok(Answer::NotTried(reason)) => self.skipped.push(format!("{what} (not tried: {reason})")),
            Ok(Answer::NotSigned(reason)) => {
                self.skipped.push(format!("{what} (the agent did not sign: {reason})"));
                self.failures += 1;
            }
            Err(Gone::HungUp) => {
                self.tried.push(what.to_owned());
                self.failures += 1;
                return Err(self.hung_up(during).await);
            }
            Err(Gone::Lost(reason)) => return Err(self.lost(&reason)),
        }
        Ok(false)
    }

    /// The connection is gone: was it the server's answer, or was it lost?
    async fn hung_up(&mut self, during: &str) -> TransportError {
        match self.server.closed().await {
            Some(Closed::ByServer(message)) => TransportError::Refused {
                host: self.target.name.clone(),
                user: self.target.user.clone(),
                detail: match message {
                    Some(message) => {
                        let said = beginning(&message);
                        format!("the server hung up {during}, saying \"{said}\"{}", self.attempts())
                    }
                    None => format!(
                        "the server hung up {during} (this SSH library does not pass on what it said; often: too many \
                         attempts){}. {NOT_AGAIN}",
                        self.attempts()
                    ),
                },
            },
            Some(Closed::NoMethodLeft) => TransportError::Refused {
                host: self.target.name.clone(),
                user: self.target.user.clone(),
                detail: match self.tried.as_slice() {
                    [] => "the server would take no login that esxprep knows".to_owned(),
                    tried => format!(
                        "tried {} (refused); the server would take nothing more on this connection. {NOT_AGAIN}",
                        tried.join(", ")
                    ),
                },
            },
            Some(Closed::Lost(reason)) => self.lost(&format!("{during}: {reason}")),
            None => self.lost(during),
        }
    }

    fn lost(&self, reason: &str) -> TransportError {
        TransportError::Lost {
            host: self.target.name.clone(),
            during: format!("during the login of {} ({reason}); no credential was judged wrong", self.target.user),
        }
    }

    fn attempts(&self) -> String {
        if self.tried.is_empty() { String::new() } else { format!("; tried: {}", self.tried.join(", ")) }
    }

    fn refused(&self) -> TransportError {
        let (host, user) = (self.target.name.clone(), self.target.user.clone());
        let offered = self.offered.clone().unwrap_or_else(MethodSet::empty);
        let takes = methods(&offered);
        if self.tried.is_empty() && !self.problems.is_empty() {
            let mut detail = self.problems.clone();
            detail.extend(self.skipped.iter().cloned());
            return TransportError::Credential { host, detail: detail.join("; ") };
        }
        if self.target.credentials.is_empty() {
            let detail = format!("there is no password, key or agent for {user}; the server would take {takes}");
            return TransportError::Credential { host, detail };
        }
        let tried = if self.tried.is_empty() { "nothing".to_owned() } else { self.tried.join(", ") };
        let mut detail = format!("tried {tried}; the server would take {takes}");
        for more in self.skipped.iter().chain(&self.problems) {
            detail.push_str("; ");
            detail.push_str(more);
        }
        if self.ed25519_refused && offered.contains(&MethodKind::PublicKey) {
            detail.push_str(
                "; some servers in FIPS mode refuse ed25519 user keys even when they are authorised: try an ECDSA \
                 or RSA key",
            );
        }
        if self.silent && !self.skipped.is_empty() {
            detail.push_str(
                "; a host that wants two proofs, the password first, looks like this over libssh2: write \
                 `transport: russh` for it in the inventory",
            );
        }
        detail.push_str(". ");
        detail.push_str(NOT_AGAIN);
        TransportError::Refused { host, user, detail }
    }
}

fn methods(set: &MethodSet) -> String {
    let names: Vec<String> = set.iter().map(String::from).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// What a server says, no longer than an error may be.
pub(super) fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Why a round of prompts must not be answered with the password.
fn unanswerable(prompts: &[Prompt], answered: bool) -> Option<String> {
    let text = |prompt: &Prompt| beginning(prompt.prompt.trim().trim_end_matches(':'));
    if answered {
        return Some(format!("after the password the server asked for \"{}\"", text(&prompts[0])));
    }
    if let Some(prompt) = prompts.iter().find(|prompt| prompt.echo) {
        return Some(format!("the server asks \"{}\" and would show the answer: that is no password", text(prompt)));
    }
    let new = prompts.iter().find(|prompt| prompt.prompt.to_lowercase().contains("new password"))?;
    Some(format!("the server asks \"{}\": the password has expired; change it on the host's console", text(new)))
}

/// Reading an encrypted key takes a while on purpose, so not on the threads that serve connections.
async fn load_key(path: PathBuf, passphrase: Option<SecretString>) -> Result<PrivateKey, String> {
    let shown = path.display().to_string();
    let has_passphrase = passphrase.is_some();
    let loaded = tokio::task::spawn_blocking(move || {
        russh::keys::load_secret_key(&path, passphrase.as_ref().map(ExposeSecret::expose_secret))
    })
    .await
    .map_err(|error| format!("key {shown}: {error}"))?;
    loaded.map_err(|error| match error {
        russh::keys::Error::IO(error) => format!("key {shown} cannot be read: {error}"),
        russh::keys::Error::KeyIsEncrypted => {
            format!("key {shown} is encrypted and no passphrase is given (`passphrase:` in the inventory, or an agent)")
        }
        // One ECDSA key in 256: its number has a leading zero byte, which ssh-keygen leaves out and the SSH library
        // (ssh-key 0.7.0-rc.11) wants to see. Only the agent has another parser.
        error if error.to_string().contains("length invalid") => format!(
            "key {shown} cannot be read ({error}); about one ECDSA key in 256 has a form that esxprep's SSH library \
             does not take: load it into an SSH agent (ssh-add) or make another key"
        ),
        error if has_passphrase => format!("key {shown}: wrong passphrase, or the file is damaged ({error})"),
        error => format!("key {shown} is not a private key that can be used: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(text: &str, echo: bool) -> Prompt {
        Prompt { prompt: text.to_owned(), echo }
    }

    /// Made by ssh-keygen for this test: its number has 31 bytes.
    const SHORT: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQQ5F/t4MZMy6ygDMxdwHXhPVaIo0bNZ
2d7fttZSuSMahwEUWHT8O/OKP6Bp+/4zM5sgaUj6V/3xObmIxtJAfKtNAAAAoMTTvYTE07
2EAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDkX+3gxkzLrKAMz
F3AdeE9VoijRs1nZ3t+21lK5IxqHARRYdPw784o/oGn7/jMzmyBpSPpX/fE5uYjG0kB8q0
0AAAAfO++Ar70LD4CruE92IRGt+D6EwKJeD5gL0WqSkLjmywAAAAVzaG9ydAECAwQ=
-----END OPENSSH PRIVATE KEY-----
";

    #[tokio::test]
    async fn an_ecdsa_key_that_the_library_cannot_read_gets_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("short");
        std::fs::write(&path, SHORT).unwrap();
        let problem = load_key(path, None).await.unwrap_err();
        assert!(problem.contains("ssh-add"), "{problem}");
    }

    #[test]
    fn questions_without_end_are_not_answered() {
        let mut prompts = Prompts { password: "pw".into(), given: Given::default(), rounds: 0, answered: false };
        let many: Vec<Prompt> = (0..10_000).map(|_| prompt("Password: ", false)).collect();
        assert!(prompts.answers(&many).unwrap_err().contains("10000 questions"));
        let long = "x".repeat(200_000);
        assert!(unanswerable(&[prompt(&long, true)], false).unwrap().len() < 1200);
        let empty = (0..100).find_map(|_| prompts.answers(&[]).err()).unwrap();
        assert!(empty.contains("asked 8 times"), "{empty}");
    }

    #[test]
    fn only_a_hidden_first_question_gets_the_password() {
        assert_eq!(unanswerable(&[prompt("Password: ", false)], false), None);
        assert_eq!(unanswerable(&[prompt("Password: ", false), prompt("Again: ", false)], false), None);
        assert!(unanswerable(&[prompt("Code: ", false)], true).unwrap().contains("Code"));
        assert!(unanswerable(&[prompt("User: ", true)], false).unwrap().contains("no password"));
        assert!(unanswerable(&[prompt("New password: ", false)], false).unwrap().contains("expired"));
    }
}
