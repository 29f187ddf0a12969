//! Logins that were refused are not tried again, by whatever host of a run: servers count failures and lock accounts
//! (ESXi after five, hardened after three). Hosts that share a jump host with a wrong password would otherwise try it
//! once each. And a password whose answer never came may have been counted as wrong: whoever waits for a host that
//! comes up, and loses the connection at each login, gives it twice and no more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::target::Credential;
use super::{Target, TransportError};

/// How often in a row a password is given without an answer: hardening baselines lock an account at the third failure.
const UNANSWERED: u32 = 2;

/// Whether a password was given in an attempt, by whatever method.
#[derive(Debug, Clone, Default)]
pub(super) struct Given(Arc<AtomicBool>);

impl Given {
    /// It is about to be sent.
    pub(super) fn note(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn is_noted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// The logins of one run.
#[derive(Clone, Default)]
pub(super) struct Logins(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Seen>>>>>);

/// Who logs in where, and with what: a digest of that, since a map is no place for a password.
type Key = (String, [u8; 32]);

impl std::fmt::Debug for Logins {
    /// Without the digests: a weak password could be found by its own.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Logins")
    }
}

/// What is known of a login.
#[derive(Debug)]
enum Seen {
    /// Nothing, but that its password was given so often in a row without an answer: one attempt at a time.
    Unanswered(u32),
    /// It was not refused: as many at a time as there are.
    Tried,
    /// It was refused, and would be again.
    Refused(TransportError),
}

impl Default for Seen {
    fn default() -> Self {
        Self::Unanswered(0)
    }
}

impl Seen {
    /// What is known after an attempt.
    fn note<T>(&mut self, result: &Result<T, TransportError>, given: &Given) {
        *self = match (&*self, result) {
            (_, Err(error @ TransportError::Refused { .. })) => Self::Refused(error.clone()),
            // Others that were under way at the same time do not make it right.
            (Self::Refused(_), _) => return,
            (Self::Unanswered(before), Err(TransportError::Lost { .. })) if given.is_noted() => {
                Self::Unanswered(before + 1)
            }
            (Self::Tried, Err(TransportError::Lost { .. })) if given.is_noted() => Self::Unanswered(1),
            // Not reached: nothing was counted, and the others need not wait for each other.
            (Self::Unanswered(1..), Err(_)) => return,
            _ => Self::Tried,
        };
    }
}

impl Logins {
    /// Makes an attempt, unless the same was refused before, or its password was given in vain too often. The first one
    /// goes alone: those that come meanwhile wait for what comes of it.
    pub(super) async fn once<T, A: Future<Output = Result<T, TransportError>>>(
        &self,
        target: &Target,
        attempt: impl FnOnce(Given) -> A,
    ) -> Result<T, TransportError> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key(target)).or_default());
        let given = Given::default();
        let mut seen = cell.lock().await;
        match &*seen {
            Seen::Refused(error) => return Err(again(error, target)),
            Seen::Unanswered(UNANSWERED..) => return Err(held_back(target)),
            Seen::Unanswered(_) => {
                let result = attempt(given.clone()).await;
                seen.note(&result, &given);
                return result;
            }
            Seen::Tried => drop(seen),
        }
        let result = attempt(given.clone()).await;
        if result.is_err() {
            cell.lock().await.note(&result, &given);
        }
        result
    }
}

fn key(target: &Target) -> Key {
    let mut digest = Sha256::new();
    // Each part with its length, so that no two lists are alike.
    let mut part = |kind: u8, bytes: &[u8]| {
        digest.update([kind]);
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(bytes);
    };
    for credential in &target.credentials {
        match credential {
            Credential::Password(password) => part(0, password.expose_secret().as_bytes()),
            Credential::Key { path, passphrase } => {
                part(1, path.as_os_str().as_encoded_bytes());
                part(2, passphrase.as_ref().map_or(&[], |text| text.expose_secret().as_bytes()));
            }
            Credential::Agent => part(3, &[]),
        }
    }
    (format!("{}@{}", target.user, target.socket()), digest.finalize().into())
}

/// The refusal as whoever comes later hears of it.
fn again(error: &TransportError, target: &Target) -> TransportError {
    let TransportError::Refused { detail, .. } = error else { return error.clone() };
    TransportError::Refused {
        host: target.name.clone(),
        user: target.user.clone(),
        detail: format!("the same login was refused before in this run and is not tried again: {detail}"),
    }
}

/// What whoever asks again hears when the password was given too often without an answer.
fn held_back(target: &Target) -> TransportError {
    TransportError::Credential {
        host: target.name.clone(),
        detail: format!(
            "the connection was lost {UNANSWERED} times in a row when the password of {} had been given and before it \
             was answered. It may have been counted as wrong each time, and one more can lock the account (hardened hosts \
             lock it at the third failure, others at the fifth), so it is not given again in this run",
            target.user
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn target(name: &str, password: &str) -> Target {
        let mut target = Target::new(name, "192.0.2.1");
        target.credentials = vec![Credential::Password(password.into())];
        target
    }

    fn refused() -> TransportError {
        TransportError::Refused { host: "jump".into(), user: "root".into(), detail: "tried password".into() }
    }

    #[tokio::test]
    async fn a_refused_login_is_made_once_however_many_ask_for_it() {
        let (logins, attempts) = (Logins::default(), AtomicUsize::new(0));
        let attempt = async || {
            attempts.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Err::<(), _>(refused())
        };
        let jump = target("jump", "wrong");
        let all = futures_util::future::join_all((0..20).map(|_| logins.once(&jump, |_| attempt()))).await;
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        assert!(all.iter().all(|one| matches!(one, Err(TransportError::Refused { .. }))));
        let text = all[7].as_ref().unwrap_err().to_string();
        assert!(text.contains("refused before in this run") && text.contains("tried password"), "{text}");
        // Another password is another login.
        logins.once(&target("jump", "right"), |_| async { Ok::<_, TransportError>(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_refused_is_made_side_by_side_and_again() {
        let (logins, jump) = (Logins::default(), target("jump", "right"));
        logins.once(&jump, |_| async { Ok::<_, TransportError>(()) }).await.unwrap();
        // Two that wait for each other: they would never end one after the other.
        let barrier = tokio::sync::Barrier::new(2);
        let meet = async || {
            barrier.wait().await;
            Ok::<_, TransportError>(())
        };
        let (a, b) = tokio::join!(logins.once(&jump, |_| meet()), logins.once(&jump, |_| meet()));
        assert!(a.is_ok() && b.is_ok());
        let lost = TransportError::Lost { host: "jump".into(), during: "x".into() };
        assert!(logins.once(&jump, |_| async { Err::<(), _>(lost) }).await.is_err());
        // The account was locked or its password changed meanwhile: heard once, then no more.
        assert!(logins.once(&jump, |_| async { Err::<(), _>(refused()) }).await.is_err());
        assert!(logins.once(&jump, |_| async { Ok::<_, TransportError>(()) }).await.is_err());
    }

    /// An attempt whose connection is lost, after the password was given or before.
    async fn loses(logins: &Logins, target: &Target, gives: bool) -> TransportError {
        let attempt = async |given: Given| {
            if gives {
                given.note();
            }
            Err::<(), _>(TransportError::Lost { host: "esx1".into(), during: "during the login".into() })
        };
        logins.once(target, attempt).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_password_without_an_answer_is_given_twice_and_no_more() {
        let (logins, host) = (Logins::default(), target("esx1", "right"));
        let fine = || logins.once(&host, |_| async { Ok::<_, TransportError>(()) });
        // What is lost before a password was given counts for nothing, however often.
        for _ in 0..10 {
            assert!(matches!(loses(&logins, &host, false).await, TransportError::Lost { .. }));
        }
        // A login that works starts the count anew, as it does on the host.
        for _ in 0..3 {
            assert!(matches!(loses(&logins, &host, true).await, TransportError::Lost { .. }));
            fine().await.unwrap();
        }
        for gives in [true, false, true] {
            assert!(matches!(loses(&logins, &host, gives).await, TransportError::Lost { .. }));
        }
        for _ in 0..2 {
            let said = loses(&logins, &host, true).await;
            assert!(matches!(said, TransportError::Credential { .. }), "{said}");
            assert!(said.to_string().contains("lost 2 times") && said.to_string().contains("of root"), "{said}");
        }
        assert!(fine().await.is_err(), "a third password was given");
        // Another password is another login, and so is another host.
        assert!(matches!(loses(&logins, &target("esx1", "other"), true).await, TransportError::Lost { .. }));
    }
}
