//! What only the human monitor can do: forwards of a user network. It answers failures as the text of a success, and
//! reads `80x` as port 80 without a word (seen on QEMU 10.0.2), so nothing but typed values goes into its commands.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::QmpError;

/// A protocol of the user network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A forward from this machine into a guest's user network.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Forward {
    /// The protocol.
    pub protocol: Protocol,
    /// The address listened on. Unset, QEMU would listen on all of them, so it is always set.
    pub host_address: Ipv4Addr,
    /// The port listened on.
    pub host_port: u16,
    /// The guest's address; unset, the first that its DHCP server gives.
    pub guest_address: Option<Ipv4Addr>,
    /// The guest's port.
    pub guest_port: u16,
}

impl Forward {
    /// TCP from a port of 127.0.0.1.
    pub fn local(host_port: u16, guest_port: u16) -> Self {
        Self { protocol: Protocol::Tcp, host_address: Ipv4Addr::LOCALHOST, host_port, guest_address: None, guest_port }
    }

    /// The rule as `hostfwd=` and `hostfwd_add` take it.
    pub fn rule(&self) -> String {
        let guest = self.guest_address.map(|a| a.to_string()).unwrap_or_default();
        format!("{}-{guest}:{}", self.listener(), self.guest_port)
    }

    /// The listening half, as `hostfwd_remove` takes it.
    pub fn listener(&self) -> String {
        format!("{}:{}:{}", self.protocol, self.host_address, self.host_port)
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{} to the guest's port {}", self.protocol, self.host_address, self.host_port, self.guest_port)
    }
}

/// A text that is no forward.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no forward: {problem}; write HOSTPORT:GUESTPORT or tcp|udp:ADDRESS:HOSTPORT-[GUESTADDRESS]:GUESTPORT"
)]
pub struct ForwardError {
    text: String,
    problem: &'static str,
}

impl FromStr for Forward {
    type Err = ForwardError;

    /// `8443:443`, or QEMU's own form; an empty address is this machine alone, not all addresses as in QEMU.
    fn from_str(text: &str) -> Result<Self, ForwardError> {
        let bad = |problem| ForwardError { text: text.to_owned(), problem };
        let port = |text: &str| match text.parse::<u16>() {
            Ok(port) if port > 0 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
            _ => Err(bad("a port is a number from 1 to 65535")),
        };
        let Some((host, guest)) = text.split_once('-') else {
            let (host, guest) = text.split_once(':').ok_or(bad("there is no `:`"))?;
            return Ok(Self::local(port(host)?, port(guest)?));
        };
        let mut parts = host.split(':');
        let (Some(protocol), Some(address_text), Some(host_port), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(bad("before `-` there must be protocol, address and port"));
        };
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err(bad("the protocol is tcp or udp")),
        };
        let address = |text: &str| text.parse::<Ipv4Addr>().map_err(|_| bad("an address has four numbers"));
        let (guest_address, guest_port) = guest.split_once(':').ok_or(bad("after `-` there must be `:`"))?;
        Ok(Self {
            protocol,
            host_address: address(if address_text.is_empty() { "127.0.0.1" } else { address_text })?,
            host_port: port(host_port)?,
            guest_address: if guest_address.is_empty() { None } else { Some(address(guest_address)?) },
            guest_port: port(guest_port)?,
        })
    }
}

/// A word that stays one word in a human monitor command: an id or a snapshot's name.
pub fn word(text: &str) -> Result<&str, QmpError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !text.is_empty() && !text.starts_with('-') && text.len() <= 127 && text.bytes().all(fine) {
        Ok(text)
    } else {
        Err(QmpError::BadWord(text.to_owned()))
    }
}

/// The answer of a command for which silence is success.
pub fn silence(command: &str, said: &str) -> Result<(), QmpError> {
    let said = tidy(said);
    if said.is_empty() { Ok(()) } else { Err(QmpError::HumanRefused { command: command.to_owned(), said }) }
}

/// The answer of `hostfwd_remove`: it tells both success and failure.
pub fn removed(command: &str, said: &str) -> Result<(), QmpError> {
    let said = tidy(said);
    if said.ends_with(" removed") { Ok(()) } else { Err(QmpError::HumanRefused { command: command.to_owned(), said }) }
}

/// One line, without `Error: ` and control characters.
fn tidy(said: &str) -> String {
    let text: Vec<_> = said.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let text = text.join("; ");
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// One line of `info usernet`: a forward that listens, or a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserConnection {
    /// The netdev's id.
    pub netdev: String,
    /// The protocol.
    pub protocol: Protocol,
    /// `HOST_FORWARD` for a forward that listens; a TCP state or an age else.
    pub state: String,
    /// Where it comes from; a forward's listening side.
    pub source: (Ipv4Addr, u16),
    /// Where it goes.
    pub target: (Ipv4Addr, u16),
}

impl UserConnection {
    /// The forward that this line speaks of, if it is one.
    pub fn forward(&self) -> Option<Forward> {
        (self.state == "HOST_FORWARD").then_some(Forward {
            protocol: self.protocol,
            host_address: self.source.0,
            host_port: self.source.1,
            guest_address: Some(self.target.0),
            guest_port: self.target.1,
        })
    }
}

/// Reads `info usernet`. Lines of other kinds (ICMP, headings) are left out. `*` is any address.
pub fn user_connections(text: &str) -> Vec<UserConnection> {
    let mut found = Vec::new();
    let mut netdev = String::new();
    for line in text.lines() {
        if !line.starts_with(' ') {
            // "Hub -1 (n0):", "VLAN -1 (n0):" before QEMU 2.12 or so
            if let Some((_, id)) = line.split_once('(') {
                netdev = id.trim_end().trim_end_matches(':').trim_end_matches(')').to_owned();
            }
            continue;
        }
        found.extend(user_connection(line, &netdev));
    }
    found
}

fn user_connection(line: &str, netdev: &str) -> Option<UserConnection> {
    let (head, rest) = line.trim_start().split_once(']')?;
    let (protocol, state) = head.split_once('[')?;
    let protocol = match protocol {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        _ => return None,
    };
    let address = |text: &str| if text == "*" { Some(Ipv4Addr::UNSPECIFIED) } else { text.parse().ok() };
    // The file descriptor, source, target, and two lengths of queues.
    let words: Vec<_> = rest.split_whitespace().collect();
    let [_, source, source_port, target, target_port, ..] = words[..] else { return None };
    Some(UserConnection {
        netdev: netdev.to_owned(),
        protocol,
        state: state.to_owned(),
        source: (address(source)?, source_port.parse().ok()?),
        target: (address(target)?, target_port.parse().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // As printed by QEMU 10.0.2.
    const USERNET: &str = "Hub -1 (n0):\r\n  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r\n  TCP[HOST_FORWARD]  15       127.0.0.1 20023       10.0.2.15   443     0     0\r\n  TCP[HOST_FORWARD]   8               * 20022       10.0.2.15    22     0     0\r\n  TCP[ESTABLISHED]   19       127.0.0.1 20022       10.0.2.15    22     0     0\r\n  UDP[HOST_FORWARD]  17       127.0.0.1 20053       10.0.2.15    53     0     0\r\n  ICMP[4 sec]        20       10.0.2.15  -            10.0.2.2  -       0     0\r\n";

    #[test]
    fn user_networks_are_read() {
        let found = user_connections(USERNET);
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|c| c.netdev == "n0"));
        let forwards: Vec<_> = found.iter().filter_map(UserConnection::forward).map(|f| f.rule()).collect();
        assert_eq!(
            forwards,
            ["tcp:127.0.0.1:20023-10.0.2.15:443", "tcp:0.0.0.0:20022-10.0.2.15:22", "udp:127.0.0.1:20053-10.0.2.15:53"]
        );
    }

    #[test]
    fn answers_that_mean_failure_are_failures() {
        assert!(silence("savevm x", "").is_ok());
        let error = silence("savevm x", "Error: State blocked by non-migratable device '0000:00:02.0/nvme'\r\n");
        assert_eq!(
            error.unwrap_err().to_string(),
            "QEMU refused `savevm x`: State blocked by non-migratable device '0000:00:02.0/nvme'"
        );
        assert!(removed("r", "host forwarding rule for tcp:127.0.0.1:20023 removed\r\n").is_ok());
        for said in ["host forwarding rule for tcp:127.0.0.1:20023 not found\r\n", "invalid format\r\n", ""] {
            assert!(removed("r", said).is_err(), "{said:?}");
        }
    }

    #[test]
    fn forwards_are_read_and_written() {
        assert_eq!("8443:443".parse::<Forward>().unwrap().rule(), "tcp:127.0.0.1:8443-:443");
        for rule in ["tcp:127.0.0.1:8443-:443", "udp:0.0.0.0:53-10.0.2.15:53"] {
            assert_eq!(rule.parse::<Forward>().unwrap().rule(), rule);
        }
        let open = "tcp::8443-:443".parse::<Forward>().unwrap();
        assert_eq!(open.host_address, Ipv4Addr::LOCALHOST, "an unset address is never all addresses");
        for bad in [
            "",
            "80",
            "0:80",
            "80x:443",
            "+80:443",
            "70000:1",
            "sctp:127.0.0.1:1-:1",
            "tcp:1-:1",
            "tcp:a:1-:1",
            "tcp:127.0.0.1:1-1",
        ] {
            assert!(bad.parse::<Forward>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_stay_words() {
        for bad in ["", "a b", "a;b", "-a", "a\nb", "ä"] {
            assert!(word(bad).is_err(), "{bad:?}");
        }
        assert!(word("esxprep-1.ready_2").is_ok());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let _ = user_connections(&text);
            let _ = text.parse::<Forward>();
            let _ = silence("x", &text);
        }
    }
}
