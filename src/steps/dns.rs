//! DNS: the servers that the host asks, in their order, and the domains that it searches.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::esxi::{Command, HostFacts, net};

use super::network;
use super::step::{Change, Kind, Seen, Step, StepError, Undo, parse_as};

/// The kind `dns`.
pub const KIND: Kind = Kind {
    name: "dns",
    about: "The DNS servers that the host asks, in order, and the domains that it searches.",
    example: "\
- dns:
    servers: [192.0.2.53, 192.0.2.54]
    search: [lab.example]
",
    parse: parse_as::<Dns>,
    schema: |g| g.subschema_for::<Dns>(),
};

/// DNS servers and search domains. Servers that DHCP sets come back with the next lease: give the interface a
/// static address, or let DHCP say the servers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dns {
    /// Servers in the order in which they are asked, IPv4 or IPv6 addresses. Left out: not looked at.
    servers: Option<Vec<IpAddr>>,
    /// Domains that are tried behind a short name, in order. Left out: not looked at.
    search: Option<Vec<Domain>>,
    /// Whether others are removed (and the order is set). With `false` only what is missing is added.
    #[serde(default = "yes")]
    exclusive: bool,
}

fn yes() -> bool {
    true
}

/// A DNS domain.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
struct Domain(#[schemars(regex(pattern = r"^[A-Za-z0-9._-]+$"))] String);

impl TryFrom<String> for Domain {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        super::hostname::check_domain(&text)?;
        Ok(Self(text))
    }
}

fn server_list() -> Command {
    Command::esxcli("network ip dns server list")
}

fn search_list() -> Command {
    Command::esxcli("network ip dns search list")
}

impl Step for Dns {
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        if let Some(s) = &self.servers {
            parts.push(format!("DNS servers {}", list(&s.iter().map(IpAddr::to_string).collect::<Vec<_>>())));
        }
        if let Some(s) = &self.search {
            parts.push(format!("search domains {}", list(&s.iter().map(|d| d.0.clone()).collect::<Vec<_>>())));
        }
        if parts.is_empty() { "DNS (nothing asked for)".into() } else { parts.join(", ") }
    }

    fn reads(&self, _host: &HostFacts) -> Vec<Command> {
        let mut reads = Vec::new();
        if self.servers.is_some() {
            reads.push(server_list());
        }
        if self.search.is_some() {
            reads.push(search_list());
        }
        reads
    }

    fn compare(&self, seen: &Seen<'_>) -> Result<Vec<Change>, StepError> {
        let mut changes = Vec::new();
        if let Some(servers) = &self.servers {
            let now = network::read(seen, &server_list(), |t| net::labelled_list(t, "DNSServers"))?;
            let wanted: Vec<String> = servers.iter().map(IpAddr::to_string).collect();
            let undo = Undo::step("dns", json!({"servers": now}));
            changes.extend(self.difference("DNS servers", undo, &now, &wanted, |verb, value| {
                match verb {
                    Verb::Add => Command::esxcli("network ip dns server add"),
                    Verb::Remove => Command::esxcli("network ip dns server remove"),
                }
                .opt("-s", value)
            }));
        }
        if let Some(domains) = &self.search {
            let now = network::read(seen, &search_list(), |t| net::labelled_list(t, "DNSSearch Domains"))?;
            let wanted: Vec<String> = domains.iter().map(|d| d.0.clone()).collect();
            let undo = Undo::step("dns", json!({"search": now}));
            changes.extend(self.difference("DNS search domains", undo, &now, &wanted, |verb, value| {
                match verb {
                    Verb::Add => Command::esxcli("network ip dns search add"),
                    Verb::Remove => Command::esxcli("network ip dns search remove"),
                }
                .opt("-d", value)
            }));
        }
        Ok(changes)
    }
}

enum Verb {
    Add,
    Remove,
}

impl Dns {
    /// Lists are kept in order by esxcli (`add` puts an entry at the end: not verified), so what follows the first
    /// difference is taken out and put in again.
    fn difference(
        &self,
        what: &str,
        undo: Option<Undo>,
        now: &[String],
        wanted: &[String],
        command: impl Fn(Verb, &str) -> Command,
    ) -> Option<Change> {
        let mut commands = Vec::new();
        if self.exclusive {
            let same = now.iter().zip(wanted).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
            commands.extend(now[same..].iter().map(|v| command(Verb::Remove, v)));
            commands.extend(wanted[same..].iter().map(|v| command(Verb::Add, v)));
        } else {
            let missing = wanted.iter().filter(|w| !now.iter().any(|n| n.eq_ignore_ascii_case(w)));
            commands.extend(missing.map(|v| command(Verb::Add, v)));
        }
        (!commands.is_empty()).then(|| Change {
            summary: what.to_owned(),
            before: list(now),
            after: if self.exclusive { list(wanted) } else { format!("{} among them", list(wanted)) },
            actions: network::run_all(commands),
            undo,
            ..Change::default()
        })
    }
}

fn list(values: &[String]) -> String {
    if values.is_empty() { "none".into() } else { values.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::esxi::{Version, recorded};
    use crate::steps::testing::*;
    use serde_json::json;

    fn host(servers: &str, search: &str) -> Host {
        Host::new(Version::new(5, 0), "192.0.2.11").says(&server_list(), servers).says(&search_list(), search)
    }

    #[test]
    fn recorded_on_5_0_and_set() {
        let servers = recorded(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-server-list.txt"));
        let search = recorded(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-search-list.txt"));
        let s = step(&KIND, json!({"servers": ["192.168.1.1", "192.168.1.30"], "search": ["lab.example"]}));
        assert_eq!(
            host(&servers, &search).actions(&*s),
            [
                "esxcli network ip dns server remove -s 192.168.1.30",
                "esxcli network ip dns server add -s 192.168.1.1",
                "esxcli network ip dns server add -s 192.168.1.30",
                "esxcli network ip dns search remove -d test.com",
                "esxcli network ip dns search add -d lab.example",
            ]
        );
        // The form with its leading blanks, after the change.
        let after = host("   DNSServers: 192.168.1.1, 192.168.1.30\n", "   DNSSearch Domains: lab.example\n");
        assert!(after.compare(&*s).unwrap().is_empty());
    }

    #[test]
    fn none_set_and_not_exclusive() {
        let none = recorded(include_str!("../../fixtures/transcripts/5.x/network-ip-dns-server-list-none.txt"));
        let s = step(&KIND, json!({"servers": ["10.0.0.1"], "exclusive": false}));
        assert_eq!(host(&none, "").actions(&*s), ["esxcli network ip dns server add -s 10.0.0.1"]);
        assert!(host("   DNSServers: 10.0.0.9, 10.0.0.1\n", "").compare(&*s).unwrap().is_empty());
        let empty = step(&KIND, json!({"servers": []}));
        assert_eq!(
            host("   DNSServers: 10.0.0.9\n", "").actions(&*empty),
            ["esxcli network ip dns server remove -s 10.0.0.9"]
        );
    }

    #[test]
    fn what_was_before_comes_back_in_its_order() {
        let before = host("   DNSServers: 10.0.0.1, 2001:db8::1\n", "   DNSSearch Domains: \n");
        let s = step(&KIND, json!({"servers": ["10.0.0.9", "10.0.0.1"], "search": ["lab.example"]}));
        let undos: Vec<_> =
            before.compare(&*s).unwrap().into_iter().map(|c| step(&KIND, c.undo.unwrap().args)).collect();
        let after = host("   DNSServers: 10.0.0.9, 10.0.0.1\n", "   DNSSearch Domains: lab.example\n");
        assert_eq!(
            after.actions(&*undos[0]),
            [
                "esxcli network ip dns server remove -s 10.0.0.9",
                "esxcli network ip dns server remove -s 10.0.0.1",
                "esxcli network ip dns server add -s 10.0.0.1",
                "esxcli network ip dns server add -s 2001:db8::1",
            ]
        );
        assert_eq!(after.actions(&*undos[1]), ["esxcli network ip dns search remove -d lab.example"]);
        let more = step(&KIND, json!({"servers": ["10.0.0.7"], "exclusive": false}));
        let undo = step(&KIND, before.compare(&*more).unwrap().remove(0).undo.unwrap().args);
        let after = host("   DNSServers: 10.0.0.1, 2001:db8::1, 10.0.0.7\n", "");
        assert_eq!(after.actions(&*undo), ["esxcli network ip dns server remove -s 10.0.0.7"]);
    }

    #[test]
    fn wrong_arguments() {
        assert!(bad(&KIND, json!({"servers": ["dns1"]})).contains("servers[0]"));
        assert!(bad(&KIND, json!({"search": ["a b"]})).contains("search[0]"));
        assert!(bad(&KIND, json!({"server": []})).contains("server"));
    }
}
