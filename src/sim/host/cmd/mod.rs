//! The commands of esxcli, by namespace.

pub(super) mod accounts;
mod agents;
pub(super) mod firewall;
pub(super) mod ipstack;
pub(super) mod modules;
pub(super) mod network;
pub(super) mod nics;
mod security;
pub(super) mod settings;
pub(super) mod software;
mod sources;
pub(super) mod sshd;
pub(super) mod storage;
pub(super) mod syslog;
pub(super) mod system;
pub(super) mod vibfile;
pub(super) mod vswitch;

use super::esxcli::Cmd;

/// Every table of commands.
pub(super) static TABLES: [&[Cmd]; 15] = [
    accounts::COMMANDS,
    agents::COMMANDS,
    firewall::COMMANDS,
    ipstack::COMMANDS,
    modules::COMMANDS,
    network::COMMANDS,
    nics::COMMANDS,
    security::COMMANDS,
    settings::COMMANDS,
    software::COMMANDS,
    sshd::COMMANDS,
    storage::COMMANDS,
    syslog::COMMANDS,
    system::COMMANDS,
    vswitch::COMMANDS,
];

/// Seconds since 1970 as `2024-06-25T11:40:28`.
pub(super) fn timestamp(seconds: u64) -> String {
    let days = (seconds / 86_400) as i64;
    let rest = seconds % 86_400;
    // Days to a date: the usual civil calendar computation, with years that begin in March.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Whether a text is an IPv4 address.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.parse::<std::net::Ipv4Addr>().is_ok()
}

/// Whether a text is six pairs of hex digits, not a group address.
pub(super) fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    parts.len() == 6
        && parts.iter().all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok())
        && u8::from_str_radix(parts[0], 16).is_ok_and(|b| b & 1 == 0)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dates() {
        assert_eq!(super::timestamp(0), "1970-01-01T00:00:00");
        assert_eq!(super::timestamp(1_719_315_628), "2024-06-25T11:40:28");
    }

    #[test]
    fn macs() {
        assert!(super::is_mac("00:50:56:aa:bb:cc"));
        assert!(!super::is_mac("01:50:56:aa:bb:cc"), "a group address");
        assert!(!super::is_mac("00:50:56:aa:bb"));
    }
}
