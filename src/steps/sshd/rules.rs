//! Which keywords decide over esxprep's own way in: what is refused, and what is done last.

use super::config::normal;

/// What a change of a keyword may do to a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Danger {
    /// A list of algorithms: one of esxprep's must be in it.
    Offers(&'static [&'static str]),
    /// These values (empty: any) may end the way in: done last. `absent`: so may taking the line out.
    Door { values: &'static [&'static str], absent: bool },
    /// A number below this lets nobody work.
    Least(i64),
    /// The user of the session must be among them.
    Allows,
    /// The user of the session must not be among them.
    Denies,
}

/// What esxprep's default profile offers, by name. A test compares the lists with the transport's own.
const CIPHERS: &[&str] =
    &["aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes128-ctr", "chacha20-poly1305@openssh.com"];
const MACS: &[&str] =
    &["hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512"];
const KEX: &[&str] = &[
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group-exchange-sha256",
];
const HOST_KEYS: &[&str] = &[
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-512",
    "rsa-sha2-256",
    "ssh-ed25519",
];

const NO: &[&str] = &["no"];

/// By keyword, from sshd_config(5), and for ESXi's own: FipsMode refuses Ed25519 keys of users (recorded on 8.0:
/// ssh-ed25519-key-refused); keys are below /etc/ssh/keys-USER, so that without AuthorizedKeysFile none is found, and
/// root logs in by password through PAM (recorded on 8.0: sshd-config-directives).
const DANGERS: &[(&str, Danger)] = &[
    ("ciphers", Danger::Offers(CIPHERS)),
    ("macs", Danger::Offers(MACS)),
    ("kexalgorithms", Danger::Offers(KEX)),
    ("hostkeyalgorithms", Danger::Offers(HOST_KEYS)),
    ("maxsessions", Danger::Least(1)),
    ("maxauthtries", Danger::Least(1)),
    ("allowusers", Danger::Allows),
    ("denyusers", Danger::Denies),
    ("allowgroups", Danger::Door { values: &[], absent: false }),
    ("denygroups", Danger::Door { values: &[], absent: false }),
    // Without the line only keys are left to root.
    (
        "permitrootlogin",
        Danger::Door { values: &["no", "prohibit-password", "without-password", "forced-commands-only"], absent: true },
    ),
    ("passwordauthentication", Danger::Door { values: NO, absent: false }),
    ("pubkeyauthentication", Danger::Door { values: NO, absent: false }),
    ("challengeresponseauthentication", Danger::Door { values: NO, absent: false }),
    ("kbdinteractiveauthentication", Danger::Door { values: NO, absent: false }),
    ("usepam", Danger::Door { values: NO, absent: true }),
    ("authenticationmethods", Danger::Door { values: &[], absent: false }),
    ("authorizedkeysfile", Danger::Door { values: &[], absent: true }),
    ("pubkeyacceptedalgorithms", Danger::Door { values: &[], absent: false }),
    ("pubkeyacceptedkeytypes", Danger::Door { values: &[], absent: false }),
    ("fipsmode", Danger::Door { values: &["yes"], absent: false }),
    ("forcecommand", Danger::Door { values: &[], absent: false }),
    ("chrootdirectory", Danger::Door { values: &[], absent: false }),
];

/// Keywords that cannot be set by one value: each line is one of many, or stands for a part of the file.
const NOT_ONE_VALUE: &[&str] =
    &["hostcertificate", "hostkey", "include", "listenaddress", "match", "port", "setenv", "subsystem"];

fn danger(key: &str) -> Option<Danger> {
    DANGERS.iter().find(|(k, _)| key.eq_ignore_ascii_case(k)).map(|(_, d)| *d)
}

/// Whether a keyword is one that has one value.
pub fn has_one_value(key: &str) -> bool {
    !NOT_ONE_VALUE.iter().any(|k| key.eq_ignore_ascii_case(k))
}

/// Whether what is wanted (`None`: no line) may end the way in, so that it is done last. `anyway`: what would be
/// refused is wanted all the same.
pub fn is_door(key: &str, value: Option<&str>, anyway: bool) -> bool {
    match (danger(key), value) {
        (Some(Danger::Door { absent, .. }), None) => absent,
        (Some(Danger::Door { values, .. }), Some(value)) => {
            values.is_empty() || values.iter().any(|v| normal(value).eq_ignore_ascii_case(v))
        }
        (Some(Danger::Denies | Danger::Allows), Some(_)) => true,
        // What a `-` takes out of the sshd's own list is not known here.
        (Some(Danger::Offers(_)), Some(value)) => anyway || value.trim_start().starts_with('-'),
        (Some(Danger::Least(_)), Some(_)) => anyway,
        _ => false,
    }
}

/// Whether the name of the session's user is needed to judge a keyword.
pub fn needs_user(key: &str) -> bool {
    matches!(danger(key), Some(Danger::Allows | Danger::Denies))
}

/// Why a value is refused: with it nobody, or not esxprep, could log in again.
///
/// # Errors
/// What is wrong, as a part of a sentence that names keyword and value.
pub fn check(key: &str, value: &str, user: &str) -> Result<(), String> {
    let value = normal(value);
    let names = || value.split([',', ' ']).filter(|n| !n.is_empty());
    match danger(key) {
        Some(Danger::Offers(ours)) if !value.starts_with(['+', '-', '^']) => {
            // A pattern may stand for any of them.
            if names().any(|n| n.contains(['*', '?']) || ours.contains(&n)) {
                return Ok(());
            }
            Err(format!("esxprep offers none of these, only {}", ours.join(", ")))
        }
        Some(Danger::Least(least)) => match value.parse::<i64>() {
            Ok(n) if n < least => Err(format!("nobody can work with less than {least}")),
            _ => Ok(()),
        },
        Some(Danger::Allows) if !names().any(|n| is_for(n, user)) => {
            Err(format!("{user}, as whom esxprep is logged in, is not among them"))
        }
        Some(Danger::Denies) if names().any(|n| is_for(n, user)) => {
            Err(format!("{user}, as whom esxprep is logged in, is among them"))
        }
        _ => Ok(()),
    }
}

/// Whether a pattern of users (`*` and `?`, perhaps with `@HOST`) stands for a user, wherever from.
fn is_for(pattern: &str, user: &str) -> bool {
    let name = pattern.split_once('@').map_or(pattern, |(name, _)| name);
    wild(name.as_bytes(), user.as_bytes())
}

fn wild(pattern: &[u8], text: &[u8]) -> bool {
    // The last star may take one more byte whenever the rest does not fit.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, took)) = star else { return false };
                star = Some((at, took + 1));
                p = at + 1;
                t = took + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::algorithms::preferred;
    use crate::transport::target::Algorithms;

    #[test]
    fn the_lists_are_what_the_transport_offers() {
        let all = preferred(Algorithms::Esxi, &[], &[]);
        let names = |list: &[&dyn AsRef<str>]| list.iter().map(|n| n.as_ref().to_owned()).collect::<Vec<_>>();
        let ciphers: Vec<&dyn AsRef<str>> = all.cipher.iter().map(|n| n as &dyn AsRef<str>).collect();
        let macs: Vec<&dyn AsRef<str>> = all.mac.iter().map(|n| n as &dyn AsRef<str>).collect();
        let kex: Vec<&dyn AsRef<str>> = all.kex.iter().map(|n| n as &dyn AsRef<str>).collect();
        let extension = |n: &String| n.starts_with("ext-info") || n.starts_with("kex-strict");
        assert_eq!(names(&ciphers), CIPHERS);
        assert_eq!(names(&macs), MACS);
        assert_eq!(names(&kex).into_iter().filter(|n| !extension(n)).collect::<Vec<_>>(), KEX);
        assert_eq!(all.key.iter().map(ToString::to_string).collect::<Vec<_>>(), HOST_KEYS);
    }

    #[test]
    fn what_locks_out_is_refused_and_what_may_is_done_last() {
        assert!(check("Ciphers", "aes256-gcm@openssh.com,3des-cbc", "root").is_ok());
        assert!(check("ciphers", "3des-cbc,aes192-ctr", "root").unwrap_err().contains("aes256-ctr"));
        assert!(check("ciphers", "+3des-cbc", "root").is_ok() && is_door("ciphers", Some("-aes*"), false));
        assert!(check("MaxSessions", "0", "root").is_err() && check("maxsessions", "1", "root").is_ok());
        assert!(check("AllowUsers", "admin root@192.0.2.*", "root").is_ok());
        assert!(check("AllowUsers", "admin ro?t", "root").is_ok() && check("AllowUsers", "admin", "root").is_err());
        assert!(check("DenyUsers", "*", "root").is_err() && check("DenyUsers", "guest", "root").is_ok());
        for (key, value) in [
            ("PermitRootLogin", "No"),
            ("PasswordAuthentication", "no"),
            ("PubkeyAuthentication", "no"),
            ("AllowGroups", "admins"),
            ("FipsMode", "yes"),
        ] {
            assert!(is_door(key, Some(value), false) && check(key, value, "root").is_ok(), "{key} {value}");
        }
        for (key, value) in [("PermitRootLogin", "yes"), ("GatewayPorts", "no"), ("Ciphers", "aes256-ctr")] {
            assert!(!is_door(key, Some(value), false), "{key} {value}");
        }
        assert!(is_door("permitrootlogin", None, false) && !is_door("banner", None, false));
    }

    #[test]
    fn patterns_are_sshds() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("r*t", "root", true),
            ("r*o", "root", false),
            ("?oot", "root", true),
            ("ro", "root", false),
            ("*a*b*", "xaxxbx", true),
        ] {
            assert_eq!(wild(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
