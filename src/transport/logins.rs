//! Logins that were refused are not tried again, by whatever host of a run: servers count failures and lock accounts
//! (ESXi after five). Hosts that share a jump host with a wrong password would otherwise try it once each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::target::Credential;
use super::{Target, TransportError};

/// The logins of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Logins(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<Seen>>>>>);

/// Who logs in where, and with what: a digest of that, since a map is no place for a password.
type Key = (String, [u8; 32]);

/// What is known of a login.
#[derive(Debug, Default)]
enum Seen {
    /// Nothing: one attempt at a time.
    #[default]
    Nothing,
    /// It was not refused: as many at a time as there are.
    Tried,
    /// It was refused, and would be again.
    Refused(TransportError),
}

impl Logins {
    /// Makes an attempt, unless the same was refused before. The first one goes alone: those that come meanwhile wait
    /// for what comes of it.
    pub(super) async fn once<T>(
        &self,
        target: &Target,
        attempt: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(key(target)).or_default());
        let mut seen = cell.lock().await;
        match &*seen {
            Seen::Refused(error) => return Err(again(error, target)),
            Seen::Tried => drop(seen),
            Seen::Nothing => {
                let result = attempt.await;
                *seen = match &result {
                    Err(error @ TransportError::Refused { .. }) => Seen::Refused(error.clone()),
                    // Not reached: nothing was counted, and the others need not wait for each other.
                    _ => Seen::Tried,
                };
                return result;
            }
        }
        let result = attempt.await;
        if let Err(error @ TransportError::Refused { .. }) = &result {
            *cell.lock().await = Seen::Refused(error.clone());
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
        let all = futures_util::future::join_all((0..20).map(|_| logins.once(&jump, attempt()))).await;
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
        assert!(all.iter().all(|one| matches!(one, Err(TransportError::Refused { .. }))));
        let text = all[7].as_ref().unwrap_err().to_string();
        assert!(text.contains("refused before in this run") && text.contains("tried password"), "{text}");
        // Another password is another login.
        logins.once(&target("jump", "right"), async { Ok::<_, TransportError>(()) }).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_not_refused_is_made_side_by_side_and_again() {
        let (logins, jump) = (Logins::default(), target("jump", "right"));
        logins.once(&jump, async { Ok::<_, TransportError>(()) }).await.unwrap();
        // Two that wait for each other: they would never end one after the other.
        let barrier = tokio::sync::Barrier::new(2);
        let meet = async || {
            barrier.wait().await;
            Ok::<_, TransportError>(())
        };
        let (a, b) = tokio::join!(logins.once(&jump, meet()), logins.once(&jump, meet()));
        assert!(a.is_ok() && b.is_ok());
        let lost = TransportError::Lost { host: "jump".into(), during: "x".into() };
        assert!(logins.once(&jump, async { Err::<(), _>(lost) }).await.is_err());
        // The account was locked or its password changed meanwhile: heard once, then no more.
        assert!(logins.once(&jump, async { Err::<(), _>(refused()) }).await.is_err());
        assert!(logins.once(&jump, async { Ok::<_, TransportError>(()) }).await.is_err());
    }
}
