//! What a host is asked, in the words of a fixture. The recorder and the replayer both use this, so that they cannot
//! disagree on what is the same question or the same failure.

use sha2::{Digest, Sha256};

use super::{Request, Target, TransportError};
use crate::fixture::{Ask, Failure, Outcome};

/// Numbers the commands of one host that carry a secret. One for a host and a run: it outlives reconnections.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// Digests of text and input, in the order of first appearance.
    secrets: Vec<[u8; 32]>,
}

impl Asked {
    /// A command. One that carries a secret is known by its number only: neither its text nor its input is kept.
    pub fn command(&mut self, request: &Request) -> Ask {
        if !request.secret {
            let stdin = request.stdin.as_ref().map(|bytes| hex(&Sha256::digest(bytes)));
            return Ask::Run { script: request.script.clone(), stdin };
        }
        let mut digest = Sha256::new();
        digest.update(u64::to_be_bytes(request.script.len() as u64));
        digest.update(&request.script);
        if let Some(bytes) = &request.stdin {
            digest.update(b"\0");
            digest.update(bytes);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let known = self.secrets.iter().position(|d| *d == digest).unwrap_or_else(|| {
            self.secrets.push(digest);
            self.secrets.len() - 1
        });
        Ask::Secret(known + 1)
    }
}

/// `address:port` of the target.
pub fn place(target: &Target) -> String {
    format!("{}:{}", target.address, target.port)
}

/// A login at the target.
pub fn connect(target: &Target) -> Ask {
    Ask::Connect(place(target))
}

/// Whether something speaks SSH at the target.
pub fn listening(target: &Target) -> Ask {
    Ask::Listening(place(target))
}

/// The addresses of the target's name.
pub fn resolve(target: &Target) -> Ask {
    Ask::Resolve(target.address.clone())
}

/// A failure as a fixture keeps it.
pub fn outcome(error: &TransportError) -> Outcome {
    let failed = |failure, text: &str| Outcome::Failed(failure, text.to_owned());
    match error {
        TransportError::Lost { during, .. } => Outcome::Lost(during.clone()),
        TransportError::TimedOut { .. } => Outcome::TimedOut,
        TransportError::Unreachable { reason, .. } => failed(Failure::Unreachable, reason),
        TransportError::NoCommonAlgorithm { what, detail, .. } => {
            Outcome::Failed(Failure::Algorithm, format!("{what}: {detail}"))
        }
        TransportError::HostKey { detail, .. } => failed(Failure::HostKey, detail),
        TransportError::Refused { detail, .. } => failed(Failure::Refused, detail),
        TransportError::Credential { detail, .. } => failed(Failure::Credential, detail),
        TransportError::Upload { reason, .. } => failed(Failure::Refused, reason),
        TransportError::Protocol { detail, .. } => failed(Failure::Protocol, detail),
        TransportError::NotRecorded { problem, .. } => failed(Failure::Protocol, problem),
    }
}

/// What was under way when it failed.
#[derive(Debug, Clone, Copy)]
pub enum Doing<'a> {
    /// A command.
    Command(&'a Request),
    /// An upload to this path.
    Upload(&'a str),
    /// A login.
    Login,
}

/// The failure that a fixture keeps, as a live transport reports it; `None` for an answer that came.
pub fn error(outcome: &Outcome, target: &Target, doing: Doing<'_>) -> Option<TransportError> {
    let host = target.name.clone();
    let detail = |text: &str| text.to_owned();
    Some(match (outcome, doing) {
        (Outcome::Ended { code: 0, .. }, _) | (Outcome::Ended { .. }, Doing::Command(_)) => return None,
        (Outcome::Ended { code, .. }, Doing::Upload(path)) => {
            let reason = format!("the host gave it up with exit code {code}");
            TransportError::Upload { host, path: path.to_owned(), reason }
        }
        (Outcome::Ended { .. }, Doing::Login) => {
            TransportError::Refused { host, user: target.user.clone(), detail: "as recorded".into() }
        }
        (Outcome::Lost(during), doing) if during.is_empty() => {
            let during = match doing {
                Doing::Command(request) => format!("while `{}` was running: it ended", request.shown()),
                Doing::Upload(path) => format!("during the upload of {path}: it ended"),
                Doing::Login => "right after the login: it ended".to_owned(),
            };
            TransportError::Lost { host, during }
        }
        (Outcome::Lost(during), _) => TransportError::Lost { host, during: during.clone() },
        (Outcome::TimedOut, Doing::Command(request)) => {
            TransportError::TimedOut { host, command: request.shown(), seconds: request.timeout.as_secs() }
        }
        (Outcome::TimedOut, Doing::Upload(path)) => {
            TransportError::Upload { host, path: path.to_owned(), reason: "it did not end in time".into() }
        }
        (Outcome::TimedOut, Doing::Login) => {
            let reason = format!("nothing answered within {} s", target.connect_timeout.as_secs());
            TransportError::Unreachable { host, address: target.socket(), reason }
        }
        (Outcome::Failed(Failure::Refused, text), Doing::Upload(path)) => {
            TransportError::Upload { host, path: path.to_owned(), reason: detail(text) }
        }
        (Outcome::Failed(failure, text), _) => match failure {
            Failure::Refused => TransportError::Refused { host, user: target.user.clone(), detail: detail(text) },
            Failure::Unreachable => {
                TransportError::Unreachable { host, address: target.socket(), reason: detail(text) }
            }
            Failure::HostKey => TransportError::HostKey { host, detail: detail(text) },
            Failure::Credential => TransportError::Credential { host, detail: detail(text) },
            Failure::Algorithm => {
                let (what, detail) = text.split_once(": ").unwrap_or(("algorithm", text));
                TransportError::NoCommonAlgorithm { host, what: what.to_owned(), detail: detail.to_owned() }
            }
            Failure::Protocol => TransportError::Protocol { host, detail: detail(text) },
        },
    })
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn request(script: &str, stdin: Option<&[u8]>, secret: bool) -> Request {
        let stdin = stdin.map(<[u8]>::to_vec);
        Request { script: script.into(), stdin, timeout: Duration::from_secs(7), secret, changes: false }
    }

    #[test]
    fn secrets_are_numbered_by_first_appearance_of_text_and_input() {
        let mut asked = Asked::default();
        let mut ask = |script: &str, stdin: Option<&[u8]>| asked.command(&request(script, stdin, true));
        assert_eq!(ask("a", None), Ask::Secret(1));
        assert_eq!(ask("a", Some(b"x")), Ask::Secret(2));
        assert_eq!(ask("a", Some(b"")), Ask::Secret(3));
        assert_eq!(ask("ax", None), Ask::Secret(4));
        assert_eq!(ask("a", Some(b"x")), Ask::Secret(2));
        assert_eq!(ask("a", None), Ask::Secret(1));
    }

    #[test]
    fn what_is_no_secret_is_its_text_and_the_digest_of_its_input() {
        let mut asked = Asked::default();
        let plain = asked.command(&request("cat", Some(b"abc"), false));
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(plain, Ask::Run { script: "cat".into(), stdin: Some(digest.into()) });
    }

    #[test]
    fn a_failure_comes_back_with_the_text_that_it_had() {
        let target = Target::new("esx1", "192.0.2.1");
        let command = request("reboot\nmore", None, false);
        let (host, text) = (|| "esx1".to_owned(), || "the: text".to_owned());
        let path = "/tmp/x".to_owned();
        let cases = [
            (TransportError::Lost { host: host(), during: text() }, Doing::Command(&command)),
            (
                TransportError::TimedOut { host: host(), command: "reboot ...".into(), seconds: 7 },
                Doing::Command(&command),
            ),
            (TransportError::Protocol { host: host(), detail: text() }, Doing::Command(&command)),
            (TransportError::Upload { host: host(), path: path.clone(), reason: text() }, Doing::Upload(&path)),
            (TransportError::Lost { host: host(), during: text() }, Doing::Upload(&path)),
            (TransportError::Refused { host: host(), user: "root".into(), detail: text() }, Doing::Login),
            (
                TransportError::Unreachable { host: host(), address: "192.0.2.1:22".into(), reason: text() },
                Doing::Login,
            ),
            (TransportError::HostKey { host: host(), detail: text() }, Doing::Login),
            (TransportError::Credential { host: host(), detail: text() }, Doing::Login),
            (TransportError::NoCommonAlgorithm { host: host(), what: "cipher".into(), detail: text() }, Doing::Login),
        ];
        for (live, doing) in cases {
            let replayed = error(&outcome(&live), &target, doing).map(|error| error.to_string());
            assert_eq!(replayed, Some(live.to_string()));
        }
        assert!(error(&Outcome::code(1), &target, Doing::Command(&command)).is_none(), "an exit code is an answer");
    }
}
