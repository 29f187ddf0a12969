//! The attempts of a login, by russh.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey};
use secrecy::{ExposeSecret, SecretString};

use super::connection::{Client, End};
use crate::transport::auth::{Agent, Answer, Closed, Gone, Prompt, Prompts, Server};
use crate::transport::target::Algorithms;

/// A connection whose host key has been accepted.
pub(super) struct Peer {
    pub(super) handle: Handle<Client>,
    pub(super) end: End,
    pub(super) algorithms: Algorithms,
}

fn answer(result: Result<AuthResult, russh::Error>) -> Result<Answer, Gone> {
    match result {
        Ok(AuthResult::Success) => Ok(Answer::Accepted),
        // The library turns a closed connection into a failure without methods.
        Ok(AuthResult::Failure { remaining_methods, .. }) if remaining_methods.is_empty() => Err(Gone::HungUp),
        Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
            Ok(Answer::Refused { takes: Some(remaining_methods), partial: partial_success })
        }
        Err(error) => Err(Gone::Lost(error.to_string())),
    }
}

impl Server for Peer {
    const ASKS: bool = false;

    async fn none(&mut self, user: &str) -> Result<Answer, Gone> {
        answer(self.handle.authenticate_none(user).await)
    }

    async fn password(&mut self, user: &str, password: &SecretString) -> Result<Answer, Gone> {
        answer(self.handle.authenticate_password(user, password.expose_secret()).await)
    }

    async fn interactive(&mut self, user: &str, mut prompts: Prompts) -> Result<Answer, Gone> {
        let mut step = self.handle.authenticate_keyboard_interactive_start(user, None::<String>).await;
        let mut asked_before = false;
        loop {
            let asked = match step {
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(Answer::Accepted),
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                    return match answer(Ok(AuthResult::Failure { remaining_methods, partial_success })) {
                        Ok(Answer::Refused { takes: Some(takes), partial: false }) if !asked_before => {
                            Ok(Answer::NotTaken { takes })
                        }
                        judged => judged,
                    };
                }
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => prompts,
                Err(_) => return Err(Gone::HungUp),
            };
            asked_before = true;
            let asked: Vec<Prompt> =
                asked.into_iter().map(|asked| Prompt { prompt: asked.prompt, echo: asked.echo }).collect();
            match prompts.answers(&asked) {
                Ok(answers) => step = self.handle.authenticate_keyboard_interactive_respond(answers).await,
                Err(reason) => return Ok(Answer::GivenUp(reason)),
            }
        }
    }

    async fn key(&mut self, user: &str, key: PrivateKey) -> Result<Answer, Gone> {
        let hash = match self.signature_hash(key.public_key()).await? {
            Ok(hash) => hash,
            Err(reason) => return Ok(Answer::NotTried(reason)),
        };
        answer(self.handle.authenticate_publickey(user, PrivateKeyWithHashAlg::new(Arc::new(key), hash)).await)
    }

    async fn agent_key(&mut self, user: &str, key: &PublicKey, agent: &mut Agent) -> Result<Answer, Gone> {
        let hash = match self.signature_hash(key).await? {
            Ok(hash) => hash,
            Err(reason) => return Ok(Answer::NotTried(reason)),
        };
        match self.handle.authenticate_publickey_with(user, key.clone(), hash, &mut agent.client).await {
            Ok(result) => answer(Ok(result)),
            Err(error) if self.handle.is_closed() => Err(Gone::Lost(error.to_string())),
            Err(error) => Ok(Answer::NotSigned(error.to_string())),
        }
    }

    async fn closed(&mut self) -> Option<Closed> {
        self.end.soon().await
    }
}

impl Peer {
    /// The hash for an RSA signature, or why this key must not be tried.
    async fn signature_hash(&mut self, key: &PublicKey) -> Result<Result<Option<HashAlg>, String>, Gone> {
        if !key.algorithm().is_rsa() {
            return Ok(Ok(None));
        }
        let legacy = self.algorithms == Algorithms::Legacy;
        match self.handle.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => Ok(Ok(Some(hash))),
            // The server says that it knows SHA-1 signatures only, or (before OpenSSH 7.2) says nothing.
            Ok(Some(None)) | Ok(None) if legacy => Ok(Ok(None)),
            Ok(None) => Ok(Ok(Some(HashAlg::Sha256))),
            Ok(Some(None)) => {
                Ok(Err("the server takes RSA keys with SHA-1 signatures only; `algorithms: legacy` would \
                                      allow that"
                    .to_owned()))
            }
            Err(error) => Err(Gone::Lost(error.to_string())),
        }
    }
}
