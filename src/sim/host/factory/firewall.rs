//! The firewall rulesets of a fresh host. Names and the default on/off follow a recorded list of 5.5 and the
//! documented ports; the selection is ours.

use super::super::state::Release;

/// A ruleset as it ships.
pub(in super::super) struct Shipped {
    pub name: &'static str,
    pub enabled: bool,
    pub since: Release,
    /// `direction protocol port-type begin end`, joined by `;`.
    pub rules: &'static str,
}

const fn r(name: &'static str, enabled: bool, since: Release, rules: &'static str) -> Shipped {
    Shipped { name, enabled, since, rules }
}

/// The rulesets, in the order a host lists them.
pub(in super::super) static RULESETS: [Shipped; 32] = [
    r("sshServer", true, Release::V60, "Inbound TCP Dst 22 22"),
    r("sshClient", false, Release::V60, "Outbound TCP Dst 22 22"),
    r("nfsClient", false, Release::V60, "Outbound TCP Dst 0 65535"),
    r("nfs41Client", false, Release::V60, "Outbound TCP Dst 0 65535"),
    r("dhcp", true, Release::V60, "Outbound UDP Dst 67 67;Inbound UDP Dst 68 68"),
    r("dns", true, Release::V60, "Outbound UDP Dst 53 53;Outbound TCP Dst 53 53;Inbound UDP Src 53 53"),
    r("snmp", true, Release::V60, "Inbound UDP Dst 161 161"),
    r("ntpClient", false, Release::V60, "Outbound UDP Dst 123 123"),
    r("CIMHttpServer", true, Release::V60, "Inbound TCP Dst 5988 5988"),
    r("CIMHttpsServer", true, Release::V60, "Inbound TCP Dst 5989 5989"),
    r("CIMSLP", true, Release::V60, "Inbound UDP Dst 427 427;Inbound TCP Dst 427 427;Outbound UDP Dst 427 427"),
    r("iSCSI", false, Release::V60, "Outbound TCP Dst 3260 3260"),
    r("vpxHeartbeats", true, Release::V60, "Outbound UDP Dst 902 902"),
    r("updateManager", false, Release::V60, "Outbound TCP Dst 80 80;Outbound TCP Dst 9000 9100"),
    r("faultTolerance", true, Release::V60, "Inbound TCP Dst 8300 8300;Outbound TCP Dst 8300 8300"),
    r("webAccess", true, Release::V60, "Inbound TCP Dst 80 80"),
    r("vMotion", true, Release::V60, "Inbound TCP Dst 8000 8000;Outbound TCP Dst 8000 8000"),
    r("vSphereClient", true, Release::V60, "Inbound TCP Dst 902 902;Inbound TCP Dst 443 443"),
    r(
        "activeDirectoryAll",
        false,
        Release::V60,
        "Outbound TCP Dst 88 88;Outbound TCP Dst 389 389;Outbound TCP Dst 445 445",
    ),
    r("NFC", true, Release::V60, "Inbound TCP Dst 902 902;Outbound TCP Dst 902 902"),
    r("HBR", true, Release::V60, "Outbound TCP Dst 31031 31031;Outbound TCP Dst 44046 44046"),
    r("ftpClient", false, Release::V60, "Outbound TCP Dst 21 21;Inbound TCP Src 20 20"),
    r("httpClient", false, Release::V60, "Outbound TCP Dst 80 80;Outbound TCP Dst 443 443"),
    r("gdbserver", false, Release::V60, "Inbound TCP Dst 1000 9999;Inbound TCP Dst 50000 50999"),
    r("DVFilter", false, Release::V60, "Inbound TCP Dst 2222 2222"),
    r("DHCPv6", true, Release::V60, "Outbound UDP Dst 547 547;Inbound UDP Dst 546 546"),
    r("DVSSync", true, Release::V60, "Outbound UDP Dst 8301 8302;Inbound UDP Dst 8301 8302"),
    r("syslog", false, Release::V60, "Outbound UDP Dst 514 514;Outbound TCP Dst 514 514;Outbound TCP Dst 1514 1514"),
    r("WOL", true, Release::V60, "Outbound UDP Dst 9 9"),
    r("vSPC", false, Release::V60, "Outbound TCP Dst 0 65535"),
    r(
        "remoteSerialPort",
        false,
        Release::V60,
        "Outbound TCP Dst 0 65535;Inbound TCP Dst 23 23;Inbound TCP Dst 1024 65535",
    ),
    r("rdt", true, Release::V60, "Inbound TCP Dst 2233 2233;Outbound TCP Dst 2233 2233"),
];

/// The rules of a ruleset.
pub(in super::super) fn rules(name: &str) -> Vec<[&'static str; 5]> {
    RULESETS
        .iter()
        .filter(|s| s.name == name)
        .flat_map(|s| s.rules.split(';'))
        .filter_map(|rule| {
            let words: Vec<&str> = rule.split(' ').collect();
            <[&str; 5]>::try_from(words).ok()
        })
        .collect()
}
