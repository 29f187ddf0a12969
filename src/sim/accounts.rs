//! Who may log in: `/etc/shadow` for passwords, `/etc/ssh/keys-USER/authorized_keys` for keys, and the lockout that a
//! wrong password leads to, counted over all connections.
//!
//! A locked account answers as if the password were wrong (6.0 after 10 failures for 120 s, 6.5 and
//! later after 5 for 900 s: defaults of the option lists). Keys are not locked out: not verified on a real host.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use russh::keys::ssh_key::PublicKey;

use super::crypt;

#[derive(Debug, Default)]
struct Tally {
    failures: u32,
    locked_until: Option<Instant>,
}

/// Failed logins by account.
#[derive(Debug, Default)]
pub(crate) struct Tallies {
    by_user: HashMap<String, Tally>,
}

/// What became of a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// Wrong or not, the account is locked; the number of failures so far.
    Locked(u32),
}

impl Tallies {
    /// Judges a login. `limit` 0 never locks.
    pub(crate) fn judge(&mut self, user: &str, right: bool, limit: u32, lock: Duration, now: Instant) -> Verdict {
        let tally = self.by_user.entry(user.to_string()).or_default();
        if tally.locked_until.is_some_and(|until| now >= until) {
            *tally = Tally::default();
        }
        if tally.locked_until.is_some() {
            tally.failures += 1;
            return Verdict::Locked(tally.failures);
        }
        if right {
            tally.failures = 0;
            return Verdict::Right;
        }
        tally.failures += 1;
        if limit > 0 && tally.failures >= limit {
            tally.locked_until = Some(now + lock);
        }
        Verdict::Wrong
    }
}

/// Whether `password` is that of `user` in the host's /etc/shadow. Blocking: about 5,000 hashes.
pub(crate) fn password_matches(root: &Path, user: &str, password: &str) -> bool {
    let shadow = std::fs::read_to_string(root.join("etc/shadow")).unwrap_or_default();
    let mut fields = shadow.lines().map(|line| line.split(':'));
    fields
        .find_map(|mut line| if line.next() == Some(user) { line.next() } else { None })
        .is_some_and(|hash| crypt::matches(password, hash))
}

/// Whether `key` is listed for `user`. Options before the key are understood as far as they are skipped.
pub(crate) fn key_is_listed(root: &Path, user: &str, key: &PublicKey) -> bool {
    if user.contains(['/', '.']) {
        return false;
    }
    let path = root.join("etc/ssh").join(format!("keys-{user}")).join("authorized_keys");
    let listed = std::fs::read_to_string(path).unwrap_or_default();
    listed.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words
            .windows(2)
            .any(|pair| PublicKey::from_openssh(&pair.join(" ")).is_ok_and(|known| known.key_data() == key.key_data()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_after_the_limit_and_opens_after_the_time() {
        let (mut tallies, start, lock) = (Tallies::default(), Instant::now(), Duration::from_secs(900));
        for _ in 0..4 {
            assert_eq!(tallies.judge("root", false, 5, lock, start), Verdict::Wrong);
        }
        assert_eq!(tallies.judge("root", true, 5, lock, start), Verdict::Right);
        for _ in 0..5 {
            assert_eq!(tallies.judge("root", false, 5, lock, start), Verdict::Wrong);
        }
        assert_eq!(tallies.judge("root", true, 5, lock, start), Verdict::Locked(6));
        assert_eq!(tallies.judge("other", true, 5, lock, start), Verdict::Right);
        assert_eq!(tallies.judge("root", true, 5, lock, start + lock), Verdict::Right);
        for _ in 0..50 {
            assert_eq!(tallies.judge("never", false, 0, lock, start), Verdict::Wrong);
        }
    }
}
