//! Logging in, each credential once. Servers count failures and lock accounts, so the server is first asked what it
//! takes (the `none` request is not counted by OpenSSH), a password is given by one method only, and the number of
//! attempts stays below the server's own limit, past which it hangs up without saying what was wrong.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse, Prompt};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use russh::{MethodKind, MethodSet};
use secrecy::{ExposeSecret, SecretString};

use super::error::TransportError;
use super::hostkeys::fingerprint;
use super::target::{Algorithms, Credential, Target};

/// OpenSSH hangs up at the sixth failure (`MaxAuthTries 6`): five may fail and still leave an answer.
pub(super) const MAX_FAILURES: usize = 5;

/// A keyboard-interactive exchange has one round that asks and perhaps an empty one; more is not a login.
const MAX_ROUNDS: usize = 8;

/// The end of every refusal.
const NOT_AGAIN: &str = "Nothing is tried again, since repeated failures lock accounts";

/// Why a connection ended, as far as it is known.
#[derive(Debug, Clone)]
pub(super) enum Closed {
    /// The server said so: what it said.
    ByServer(String),
    /// No method is left that this side knows.
    NoMethodLeft,
    /// Anything else.
    Lost(String),
}

/// What the connection can say about its own end.
pub(super) trait Ending: Sync {
    /// Waits a moment for the reason to be known.
    fn closed(&self) -> impl Future<Output = Option<Closed>> + Send;
}

struct Login<'a, H: Handler, E> {
    handle: &'a mut Handle<H>,
    target: &'a Target,
    ending: &'a E,
    /// What the server would take now.
    offered: MethodSet,
    tried: Vec<String>,
    skipped: Vec<String>,
    problems: Vec<String>,
    failures: usize,
    ed25519_refused: bool,
}

/// Logs in, or says what was tried and what the server would take.
pub(super) async fn login<H: Handler, E: Ending>(
    handle: &mut Handle<H>,
    target: &Target,
    agent: Option<&Path>,
    ending: &E,
) -> Result<(), TransportError> {
    let mut login = Login {
        handle,
        target,
        ending,
        offered: MethodSet::empty(),
        tried: Vec::new(),
        skipped: Vec::new(),
        problems: Vec::new(),
        failures: 0,
        ed25519_refused: false,
    };
    let asked = login.handle.authenticate_none(target.user.clone()).await;
    match asked {
        Ok(AuthResult::Success) => return Ok(()),
        Ok(AuthResult::Failure { remaining_methods, .. }) if !remaining_methods.is_empty() => {
            login.offered = remaining_methods;
        }
        Ok(AuthResult::Failure { .. }) => return Err(login.hung_up("while asking which logins it takes").await),
        Err(error) => return Err(login.lost(&error.to_string())),
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
    Err(login.refused())
}

impl<H: Handler, E: Ending> Login<'_, H, E> {
    /// Whether another attempt may be made; if not, it is noted.
    fn may_try(&mut self, what: &str) -> bool {
        if self.failures < MAX_FAILURES {
            return true;
        }
        self.skipped.push(format!("{what} (not tried: after {MAX_FAILURES} failures the server would hang up)"));
        false
    }

    fn offers(&mut self, method: MethodKind, what: &str) -> bool {
        if self.offered.contains(&method) {
            return true;
        }
        self.skipped.push(format!("{what} (not tried: the server does not take it)"));
        false
    }

    async fn password(&mut self, password: &SecretString) -> Result<bool, TransportError> {
        if !self.may_try("the password") {
            return Ok(false);
        }
        if self.offered.contains(&MethodKind::KeyboardInteractive) {
            return self.interactive(password).await;
        }
        if !self.offers(MethodKind::Password, "the password") {
            return Ok(false);
        }
        let result =
            self.handle.authenticate_password(self.target.user.clone(), password.expose_secret().to_owned()).await;
        self.settle(result, "password").await
    }

    async fn interactive(&mut self, password: &SecretString) -> Result<bool, TransportError> {
        let what = "password by keyboard-interactive";
        let mut answered = false;
        let mut step =
            self.handle.authenticate_keyboard_interactive_start(self.target.user.clone(), None::<String>).await;
        for _ in 0..MAX_ROUNDS {
            let prompts = match step {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(true),
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                    let result = AuthResult::Failure { remaining_methods, partial_success };
                    return self.settle(Ok(result), what).await;
                }
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
                Err(_) => return Err(self.hung_up("during the login by keyboard-interactive").await),
            };
            let answers = if prompts.is_empty() {
                Vec::new()
            } else {
                if let Some(reason) = unanswerable(&prompts, answered) {
                    self.tried.push(format!("{what} (given up: {reason})"));
                    return Err(self.refused());
                }
                answered = true;
                prompts.iter().map(|_| password.expose_secret().to_owned()).collect()
            };
            step = self.handle.authenticate_keyboard_interactive_respond(answers).await;
        }
        self.tried.push(format!("{what} (given up: the server asked {MAX_ROUNDS} times)"));
        Err(self.refused())
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
        let Some(hash) = self.signature_hash(key.public_key(), &what).await? else {
            return Ok(false);
        };
        let algorithm = key.algorithm();
        let signer = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
        let result = self.handle.authenticate_publickey(self.target.user.clone(), signer).await;
        self.settle_key(result, &what, &algorithm).await
    }

    /// `later` attempts are kept for the credentials that come after the agent.
    async fn agent(&mut self, socket: Option<&Path>, later: usize) -> Result<bool, TransportError> {
        let connected = match socket {
            Some(path) => AgentClient::connect_uds(path).await,
            None => AgentClient::connect_env().await,
        };
        let mut client = match connected {
            Ok(client) => client,
            Err(error) => {
                self.problems.push(format!("no SSH agent: {error}"));
                return Ok(false);
            }
        };
        let identities = match client.request_identities().await {
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
            let Some(hash) = self.signature_hash(key, &what).await? else {
                continue;
            };
            let result =
                self.handle.authenticate_publickey_with(self.target.user.clone(), key.clone(), hash, &mut client).await;
            let result = match result {
                Ok(result) => result,
                Err(error) if self.handle.is_closed() => return Err(self.lost(&error.to_string())),
                Err(error) => {
                    self.skipped.push(format!("{what} (the agent did not sign: {error})"));
                    self.failures += 1;
                    continue;
                }
            };
            if self.settle_key(Ok(result), &what, &key.algorithm()).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The hash for an RSA signature; `None`: do not try this key.
    async fn signature_hash(&mut self, key: &PublicKey, what: &str) -> Result<Option<Option<HashAlg>>, TransportError> {
        if !key.algorithm().is_rsa() {
            return Ok(Some(None));
        }
        let legacy = self.target.algorithms == Algorithms::Legacy;
        match self.handle.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => Ok(Some(Some(hash))),
            // The server says that it knows SHA-1 signatures only, or (before OpenSSH 7.2) says nothing.
            Ok(Some(None)) | Ok(None) if legacy => Ok(Some(None)),
            Ok(None) => Ok(Some(Some(HashAlg::Sha256))),
            Ok(Some(None)) => {
                self.skipped.push(format!(
                    "{what} (not tried: the server takes RSA keys with SHA-1 signatures only; `algorithms: legacy` \
                     would allow that)"
                ));
                Ok(None)
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    async fn settle_key(
        &mut self,
        result: Result<AuthResult, russh::Error>,
        what: &str,
        algorithm: &Algorithm,
    ) -> Result<bool, TransportError> {
        let accepted = self.settle(result, what).await?;
        if !accepted && *algorithm == Algorithm::Ed25519 {
            self.ed25519_refused = true;
        }
        Ok(accepted)
    }

    async fn settle(&mut self, result: Result<AuthResult, russh::Error>, what: &str) -> Result<bool, TransportError> {
        match result {
            Ok(AuthResult::Success) => Ok(true),
            // The library turns a closed connection into a failure without methods.
            Ok(AuthResult::Failure { remaining_methods, .. }) if remaining_methods.is_empty() => {
                self.tried.push(what.to_owned());
                self.failures += 1;
                Err(self.hung_up(&format!("while trying {what}")).await)
            }
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                if partial_success {
                    self.tried.push(format!("{what} (accepted, but the server wants one more proof)"));
                } else {
                    self.failures += 1;
                    self.tried.push(format!("{what} (refused)"));
                }
                self.offered = remaining_methods;
                Ok(false)
            }
            Err(error) => Err(self.lost(&error.to_string())),
        }
    }

    /// The connection is gone: was it the server's answer, or was it lost?
    async fn hung_up(&self, during: &str) -> TransportError {
        match self.ending.closed().await {
            Some(Closed::ByServer(message)) => TransportError::Refused {
                host: self.target.name.clone(),
                user: self.target.user.clone(),
                detail: format!("the server hung up {during}, saying \"{message}\"{}", self.attempts()),
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
        let takes = methods(&self.offered);
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
        if self.ed25519_refused && self.offered.contains(&MethodKind::PublicKey) {
            detail.push_str(
                "; some servers in FIPS mode refuse ed25519 user keys even when they are authorised: try an ECDSA \
                 or RSA key",
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

/// Why a round of prompts must not be answered with the password.
fn unanswerable(prompts: &[Prompt], answered: bool) -> Option<String> {
    let text = |prompt: &Prompt| prompt.prompt.trim().trim_end_matches(':').to_owned();
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
    fn only_a_hidden_first_question_gets_the_password() {
        assert_eq!(unanswerable(&[prompt("Password: ", false)], false), None);
        assert_eq!(unanswerable(&[prompt("Password: ", false), prompt("Again: ", false)], false), None);
        assert!(unanswerable(&[prompt("Code: ", false)], true).unwrap().contains("Code"));
        assert!(unanswerable(&[prompt("User: ", true)], false).unwrap().contains("no password"));
        assert!(unanswerable(&[prompt("New password: ", false)], false).unwrap().contains("expired"));
    }
}
