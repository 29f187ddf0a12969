//! What can be made to go wrong on a simulated host, so that a person (or a test) can see what the product makes of it.

use std::net::IpAddr;
use std::str::FromStr;

use regex::Regex;

use super::SimError;
use super::moments::{Act, When};

/// Every fault, how it is written and what it does. The front end prints this table.
pub const FAULTS: &[(&str, &str)] = &[
    ("lost-boot-disk", "the host booted without seeing its boot disk: /bootbank is /tmp, nothing is ever saved"),
    ("never-returns", "after its first reboot SSH never comes back"),
    (
        "drop-after=REGEX",
        "the connection is cut (no goodbye) while a command that matches runs; its effect has happened; once",
    ),
    ("hang=REGEX", "a command that matches never ends"),
    ("hostd-down", "the management agent never answers"),
    ("fail=REGEX:MESSAGE", "a command that matches prints MESSAGE and exits 1 (write \\: for a colon in REGEX)"),
    ("tmp-size=BYTES", "size of the /tmp RAM disk (suffix K or M)"),
    ("change-host-key-on-reboot", "the host has other SSH host keys after a reboot"),
    ("max-sessions=N", "sshd's MaxSessions: channels a connection may have open at a time"),
    ("slow-hostd=MS", "the management agent answers only MS milliseconds after SSH"),
    ("no-reboot", "the host says yes to a reboot and stays up"),
    ("lock-seconds=N", "a locked account opens again after N seconds"),
    ("power-cut=REGEX", "unclean stop right after a command that matches; what was not saved is lost; once"),
    ("reject-password", "every password is refused"),
    ("cloned", "the boot disk came from another machine: vmnic0 has a MAC of its own, vmk0 and the system UUID do not"),
    ("vm=NAME", "a virtual machine of this name runs when the simulator starts; a reboot powers it off"),
    ("tpm", "the host has a TPM 2.0 that was added after the installation: the encryption mode is still NONE"),
    ("secure-boot", "Secure Boot is on in the firmware"),
    ("vcenter", "a vCenter Server manages the host, so that lockdown mode can be entered"),
    ("iscsi", "software iSCSI is on: there is an adapter vmhba64"),
    ("slp-in-use", "slpd refuses to stop: something uses it"),
    ("lockdown-exception=USER", "USER keeps the access in lockdown mode"),
    ("deaf=ADDRESS", "nothing can be reached at this vmknic address (where the simulator listens on those)"),
    ("cut-before=WHEN", "the connections are cut before what is asked for runs; WHEN is its number or a REGEX; once"),
    ("cut-within=WHEN", "it runs, half of its output is sent, then the connections are cut; once"),
    ("cut-after=WHEN", "it runs and its output is sent, then the connections are cut; once"),
    ("hold-before=WHEN", "it does not run, and waits until its client is gone (for tests that kill the client); once"),
    ("hold-after=WHEN", "it runs, and its end is not told until its client is gone; once"),
    ("stall=WHEN", "from then on the connections stay open and say no word any more; new ones work; once"),
    ("hostd-restart=WHEN", "the management agent restarts at that moment; once"),
    ("trickle=MS", "what the host sends comes byte by byte, MS milliseconds apart (0: without a pause)"),
    ("refuse-logins=N", "the first N logins are refused although the password is right, and counted as failed ones"),
    (
        "refuse-after-reboot=N",
        "after the first reboot the first N logins are refused although the password is right, and counted as failed ones",
    ),
    (
        "hang-up-after-reboot=N",
        "after the first reboot the first N logins end without an answer to the password, and are counted as failed ones",
    ),
    ("noise=TEXT", "sshd says TEXT in a line of its own before its SSH identification"),
    ("motd=TEXT", "a shell without a terminal says TEXT on both streams before anything else"),
    ("datastore-size=BYTES", "the datastore is a RAM disk of this size, empty after each boot (needs namespaces)"),
    ("corrupt-upload", "the first byte that the first upload brings is altered on the host; once"),
    ("half=REGEX", "a command that matches prints the first half of its output and exits 0; once"),
    ("pretend=REGEX:MESSAGE", "a command that matches does nothing, prints MESSAGE and exits 0"),
    ("clock-back=SECONDS", "after the first reboot the host's clock is this far behind"),
    ("late-bootbank=MS", "SSH answers MS milliseconds before the boot disk is seen: until then /bootbank is /tmp"),
    ("late-datastores=MS", "SSH answers MS milliseconds before the datastores are mounted"),
    (
        "other-host-on-reboot",
        "after the first reboot another host answers: same address, host key and password, other UUID",
    ),
];

/// What goes wrong. See [`FAULTS`].
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    LostBootDisk,
    NeverReturns,
    DropAfter(Regex),
    Hang(Regex),
    HostdDown,
    Fail(Regex, String),
    TmpSize(u64),
    ChangeHostKey,
    MaxSessions(usize),
    SlowHostd(u64),
    NoReboot,
    LockSeconds(u64),
    PowerCut(Regex),
    RejectPassword,
    Cloned,
    Vm(String),
    Tpm,
    SecureBoot,
    Managed,
    Iscsi,
    SlpBusy,
    LockdownException(String),
    Deaf(IpAddr),
    At(Act, When),
    Trickle(u64),
    RefuseLogins(usize),
    RefuseAfterReboot(usize),
    HangUpAfterReboot(usize),
    Noise(String),
    Motd(String),
    StoreSize(u64),
    CorruptUpload,
    Half(Regex),
    Pretend(Regex, String),
    ClockBack(u64),
    LateBootbank(u64),
    LateDatastores(u64),
    OtherHost,
}

/// One fault, on one host or on all: `NAME[=VALUE][@HOST]`, HOST being a name (`esx2`) or a number from 1.
///
/// Regular expressions are matched against a program of ESXi with its arguments (`esxcli software vib install -d /tmp/x.zip`,
/// without its folder) and against the command of an SSH exec request that is not itself such a program; those that have a
/// moment (`cut-*`, `hold-*`, `stall`, `hostd-restart`) also against the scripts that a shell is given.
#[derive(Debug, Clone)]
pub struct Fault {
    pub(crate) kind: Kind,
    pub(crate) host: Option<String>,
}

impl Fault {
    /// Whether the fault is meant for this host; `index` counts from 0.
    pub(crate) fn is_for(&self, label: &str, index: usize) -> bool {
        match &self.host {
            None => true,
            Some(host) => host == label || host.parse() == Ok(index + 1),
        }
    }
}

/// Bytes with an optional suffix K, M or G (powers of 1024).
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix(['K', 'k']) {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(number) => (number, 1 << 20),
            None => match text.strip_suffix(['G', 'g']) {
                Some(number) => (number, 1 << 30),
                None => (text, 1),
            },
        },
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Cuts at the first `:` that is not written `\:`.
fn split_message(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            ':' if !escaped => return Some((text[..at].replace("\\:", ":"), &text[at + 1..])),
            _ => escaped = character == '\\' && !escaped,
        }
    }
    None
}

impl Fault {
    /// What can be broken, for `--help`.
    pub fn help() -> String {
        let mut text = String::from(
            "Break something, NAME[=VALUE][@HOST]; may be given several times. WHEN is a number (of what the host is asked \
             for, from 1) or a REGEX that is matched against it:\n",
        );
        for (form, about) in FAULTS {
            text.push_str(&format!("\n  {form}\n          {about}"));
        }
        text
    }
}

impl FromStr for Fault {
    type Err = SimError;

    fn from_str(given: &str) -> Result<Fault, SimError> {
        let wrong = |reason: &str| SimError::Fault {
            given: given.into(),
            reason: reason.into(),
            known: FAULTS.iter().map(|(form, _)| *form).collect::<Vec<_>>().join(", "),
        };
        let (spec, host) = match given.rsplit_once('@') {
            Some((spec, host))
                if !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) =>
            {
                (spec, Some(host.to_string()))
            }
            _ => (given, None),
        };
        let (name, value) = match spec.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (spec, None),
        };
        let value_of = |what: &str| value.filter(|v| !v.is_empty()).ok_or_else(|| wrong(what));
        let number = |what: &str| value_of(what)?.parse::<u64>().map_err(|_| wrong(what));
        let regex = |text: &str| Regex::new(text).map_err(|e| wrong(&e.to_string()));
        let pattern = || regex(value_of("needs a regular expression: NAME=REGEX")?);
        let moment = |act: Act| -> Result<Kind, SimError> {
            let value = value_of("needs a number from 1 or a regular expression: NAME=N, NAME=REGEX")?;
            let when = match value.parse::<usize>() {
                Ok(0) => return Err(wrong("counts from 1")),
                Ok(nth) => When::Nth(nth),
                Err(_) => When::Is(regex(value)?),
            };
            Ok(Kind::At(act, when))
        };
        let message = || -> Result<(Regex, String), SimError> {
            let needs = "needs REGEX:MESSAGE";
            let (pattern, message) = split_message(value_of(needs)?).ok_or_else(|| wrong(needs))?;
            Ok((regex(&pattern)?, message.to_string()))
        };
        let size = || {
            let needs = "needs a size, as 1M";
            bytes(value_of(needs)?).filter(|n| *n > 0).ok_or_else(|| wrong(needs))
        };
        let kind = match name {
            "lost-boot-disk" => Kind::LostBootDisk,
            "never-returns" => Kind::NeverReturns,
            "drop-after" => Kind::DropAfter(pattern()?),
            "hang" => Kind::Hang(pattern()?),
            "hostd-down" => Kind::HostdDown,
            "fail" => message().map(|(pattern, text)| Kind::Fail(pattern, text))?,
            "tmp-size" => Kind::TmpSize(size()?),
            "change-host-key-on-reboot" => Kind::ChangeHostKey,
            "max-sessions" => Kind::MaxSessions(number("needs a number")? as usize),
            "slow-hostd" => Kind::SlowHostd(number("needs milliseconds")?),
            "no-reboot" => Kind::NoReboot,
            "lock-seconds" => Kind::LockSeconds(number("needs seconds")?),
            "power-cut" => Kind::PowerCut(pattern()?),
            "reject-password" => Kind::RejectPassword,
            "cloned" => Kind::Cloned,
            "vm" => Kind::Vm(value_of("needs a name: vm=NAME")?.to_string()),
            "tpm" => Kind::Tpm,
            "secure-boot" => Kind::SecureBoot,
            "vcenter" => Kind::Managed,
            "iscsi" => Kind::Iscsi,
            "slp-in-use" => Kind::SlpBusy,
            "lockdown-exception" => {
                Kind::LockdownException(value_of("needs a user: lockdown-exception=USER")?.to_string())
            }
            "deaf" => Kind::Deaf(
                value_of("needs an address")?.parse().map_err(|_| wrong("needs an address, as 127.23.0.12"))?,
            ),
            "trickle" => Kind::Trickle(number("needs milliseconds, 0 for none")?),
            "refuse-logins" => Kind::RefuseLogins(number("needs a number")? as usize),
            "refuse-after-reboot" => Kind::RefuseAfterReboot(number("needs a number")? as usize),
            "hang-up-after-reboot" => Kind::HangUpAfterReboot(number("needs a number")? as usize),
            "noise" => Kind::Noise(value_of("needs a text")?.to_string()),
            "motd" => Kind::Motd(value_of("needs a text")?.to_string()),
            "datastore-size" => Kind::StoreSize(size()?),
            "corrupt-upload" => Kind::CorruptUpload,
            "half" => Kind::Half(pattern()?),
            "pretend" => message().map(|(pattern, text)| Kind::Pretend(pattern, text))?,
            "clock-back" => Kind::ClockBack(number("needs seconds")?),
            "late-bootbank" => Kind::LateBootbank(number("needs milliseconds")?),
            "late-datastores" => Kind::LateDatastores(number("needs milliseconds")?),
            "other-host-on-reboot" => Kind::OtherHost,
            _ => match Act::ALL.iter().find(|act| act.name() == name) {
                Some(act) => moment(*act)?,
                None => return Err(wrong("there is no such fault")),
            },
        };
        let takes_value = FAULTS.iter().any(|(form, _)| form.split_once('=').is_some_and(|(known, _)| known == name));
        if value.is_some() && !takes_value {
            return Err(wrong("takes no value"));
        }
        Ok(Fault { kind, host })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_values_messages_and_hosts() {
        let fault: Fault = "fail=vib install.*a\\:b:No: such file@esx2".parse().unwrap();
        assert!(matches!(&fault.kind, Kind::Fail(r, m) if r.as_str() == "vib install.*a:b" && m == "No: such file"));
        assert!(fault.is_for("esx2", 1) && !fault.is_for("esx1", 0));
        let fault: Fault = "tmp-size=1M@1".parse().unwrap();
        assert!(matches!(fault.kind, Kind::TmpSize(1_048_576)));
        assert!(fault.is_for("esx1", 0) && !fault.is_for("esx2", 1));
        let fault: Fault = "drop-after=user@host name".parse().unwrap();
        assert!(matches!(&fault.kind, Kind::DropAfter(r) if r.as_str() == "user@host name") && fault.host.is_none());
    }

    #[test]
    fn every_listed_fault_is_read_and_others_name_the_list() {
        for (form, _) in FAULTS {
            let spec = form.replace("WHEN", "7").replace("TEXT", "hello").replace("SECONDS", "60");
            let spec = spec.replace("REGEX:MESSAGE", "a:b").replace("REGEX", "a").replace("BYTES", "1K");
            let spec = spec.replace("=NAME", "=a").replace("=N", "=3").replace("=MS", "=3");
            let spec = spec.replace("ADDRESS", "127.0.0.1").replace("USER", "root");
            assert!(spec.parse::<Fault>().is_ok(), "{spec}");
        }
        let text = "lost-bootdisk".parse::<Fault>().unwrap_err().to_string();
        assert!(text.contains("no such fault") && text.contains("lost-boot-disk"), "{text}");
        assert!(matches!("stall=3".parse::<Fault>().unwrap().kind, Kind::At(Act::Stall, When::Nth(3))));
        assert!(matches!("stall=vib".parse::<Fault>().unwrap().kind, Kind::At(Act::Stall, When::Is(_))));
        for bad in [
            "cut-after=0",
            "cut-after",
            "cut-before=(",
            "drop-after",
            "drop-after=(",
            "tmp-size=big",
            "no-reboot=1",
            "fail=abc",
        ] {
            assert!(bad.parse::<Fault>().is_err(), "{bad}");
        }
    }
}
