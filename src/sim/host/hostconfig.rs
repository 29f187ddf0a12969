//! `vim-cmd hostsvc/hostconfig`: the parts of vim.host.ConfigInfo that the state has, by the names and in the order of
//! the vSphere API. The whole was never recorded: not verified.

use super::advopt;
use super::dump::{D, print};
use super::factory::hardening::service;
use super::state::{HostState, Portgroup, Release, Security, Service};
use super::{Answer, Call};

pub(super) fn config(state: &HostState, call: &Call<'_>) -> Answer {
    let fields = vec![
        ("host", D::raw("'vim.HostSystem:ha-host'")),
        ("product", product(state)),
        ("network", network(state)),
        ("service", services(state)),
        ("firewall", firewall(state)),
        ("option", advopt::all(state, call)),
        ("dateTimeInfo", time(state, call)),
        ("adminDisabled", D::raw(state.guard.lockdown != "lockdownDisabled")),
        ("lockdownMode", D::text(&state.guard.lockdown)),
        ("certificate", D::Unset),
    ];
    Answer::out(print(state.release, &D::Obj("vim.host.ConfigInfo", fields)))
}

fn product(state: &HostState) -> D {
    let line = state.full.rsplit_once('.').map_or(state.full.as_str(), |p| p.0);
    D::Obj(
        "vim.AboutInfo",
        vec![
            ("name", D::text("VMware ESXi")),
            ("fullName", D::text(format!("VMware ESXi {} build-{}", state.full, state.build))),
            ("vendor", D::text("VMware, Inc.")),
            ("version", D::text(&state.full)),
            ("build", D::text(state.build.to_string())),
            ("osType", D::text("vmnix-x86")),
            ("productLineId", D::text("embeddedEsx")),
            ("apiType", D::text("HostAgent")),
            ("apiVersion", D::text(line)),
        ],
    )
}

fn policy(kind: &'static str, promiscuous: Option<bool>, mac: Option<bool>, forged: Option<bool>) -> D {
    let value = |v: Option<bool>| v.map_or(D::Unset, D::raw);
    let security = D::Obj(
        "vim.host.NetworkPolicy.SecurityPolicy",
        vec![("allowPromiscuous", value(promiscuous)), ("macChanges", value(mac)), ("forgedTransmits", value(forged))],
    );
    D::Obj(kind, vec![("security", security)])
}

fn of_switch(security: &Security) -> D {
    policy("vim.host.NetworkPolicy", Some(security.promiscuous), Some(security.mac_change), Some(security.forged))
}

fn of_group(group: &Portgroup, security: &Security) -> D {
    policy(
        "vim.host.NetworkPolicy",
        Some(group.promiscuous.unwrap_or(security.promiscuous)),
        Some(group.mac_change.unwrap_or(security.mac_change)),
        Some(group.forged.unwrap_or(security.forged)),
    )
}

fn network(state: &HostState) -> D {
    let net = &state.net;
    let switches = net.vswitches.iter().map(|v| {
        let groups = net.portgroups.iter().filter(|p| p.vswitch == v.name);
        D::Obj(
            "vim.host.VirtualSwitch",
            vec![
                ("name", D::text(&v.name)),
                ("key", D::text(format!("key-vim.host.VirtualSwitch-{}", v.name))),
                ("numPorts", D::raw(super::cmd::vswitch::total_ports(state))),
                ("mtu", D::raw(v.mtu)),
                ("portgroup", D::texts(groups.map(|p| format!("key-vim.host.PortGroup-{}", p.name)))),
                ("pnic", D::texts(v.uplinks.iter().map(|u| format!("key-vim.host.PhysicalNic-{u}")))),
                (
                    "spec",
                    D::Obj(
                        "vim.host.VirtualSwitch.Specification",
                        vec![("numPorts", D::raw(v.ports)), ("policy", of_switch(&v.security)), ("mtu", D::raw(v.mtu))],
                    ),
                ),
            ],
        )
    });
    let groups = net.portgroups.iter().map(|p| {
        let of = net.vswitches.iter().find(|v| v.name == p.vswitch).map(|v| v.security.clone()).unwrap_or_default();
        D::Obj(
            "vim.host.PortGroup",
            vec![
                ("key", D::text(format!("key-vim.host.PortGroup-{}", p.name))),
                ("vswitch", D::text(format!("key-vim.host.VirtualSwitch-{}", p.vswitch))),
                ("computedPolicy", of_group(p, &of)),
                (
                    "spec",
                    D::Obj(
                        "vim.host.PortGroup.Specification",
                        vec![
                            ("name", D::text(&p.name)),
                            ("vlanId", D::raw(p.vlan)),
                            ("vswitchName", D::text(&p.vswitch)),
                            ("policy", policy("vim.host.NetworkPolicy", p.promiscuous, p.mac_change, p.forged)),
                        ],
                    ),
                ),
            ],
        )
    });
    let vmks = net.vmks.iter().map(|v| {
        let ip = D::Obj(
            "vim.host.IpConfig",
            vec![
                ("dhcp", D::raw(v.kind == "DHCP")),
                ("ipAddress", D::text(&v.address)),
                ("subnetMask", D::text(&v.netmask)),
            ],
        );
        let spec = vec![
            ("ip", ip),
            ("mac", D::text(&v.mac)),
            ("portgroup", D::text(&v.portgroup)),
            ("mtu", D::raw(v.mtu)),
            ("netStackInstanceKey", D::text(&v.netstack)),
        ];
        D::Obj(
            "vim.host.VirtualNic",
            vec![
                ("device", D::text(&v.name)),
                ("key", D::text(format!("key-vim.host.VirtualNic-{}", v.name))),
                ("portgroup", D::text(&v.portgroup)),
                ("spec", D::Obj("vim.host.VirtualNic.Specification", spec)),
            ],
        )
    });
    let dns = D::Obj(
        "vim.host.DnsConfig",
        vec![
            ("dhcp", D::raw(net.vmks.iter().any(|v| v.dhcp_dns))),
            ("hostName", D::text(&state.host)),
            ("domainName", D::text(&state.domain)),
            ("address", D::texts(&net.dns)),
            ("searchDomain", D::texts(&net.search)),
        ],
    );
    D::Obj(
        "vim.host.NetworkInfo",
        vec![
            ("vswitch", D::List("vim.host.VirtualSwitch", switches.collect())),
            ("portgroup", D::List("vim.host.PortGroup", groups.collect())),
            ("vnic", D::List("vim.host.VirtualNic", vmks.collect())),
            ("dnsConfig", dns),
        ],
    )
}

fn one_service(state: &HostState, s: &Service) -> D {
    let shipped = service(&s.script);
    let rulesets = shipped.map(|s| s.rulesets.clone()).unwrap_or_default();
    let known = |name: &&str| state.firewall.rulesets.iter().any(|r| r.name == *name);
    let mut fields = vec![
        ("key", D::text(&s.key)),
        ("label", D::text(&s.label)),
        ("required", D::raw(false)),
        ("uninstallable", D::raw(false)),
        ("running", D::raw(s.running)),
        ("ruleset", D::texts(rulesets.into_iter().filter(known))),
        ("policy", D::text(&s.policy)),
    ];
    let package =
        vec![("sourcePackageName", D::text(shipped.map_or("", |s| s.package))), ("description", D::text("Simulated"))];
    fields.push(("sourcePackage", D::Obj("vim.host.Service.SourcePackage", package)));
    D::Obj("vim.host.Service", fields)
}

fn services(state: &HostState) -> D {
    let list = state.services.iter().filter(|s| !s.key.is_empty()).map(|s| one_service(state, s)).collect();
    D::Obj("vim.host.ServiceInfo", vec![("service", D::List("vim.host.Service", list))])
}

fn firewall(state: &HostState) -> D {
    let firewall = &state.firewall;
    let policy = D::Obj(
        "vim.host.DefaultPolicy",
        vec![("incomingBlocked", D::raw(!firewall.pass)), ("outgoingBlocked", D::raw(!firewall.pass))],
    );
    let rulesets = firewall.rulesets.iter().map(|r| {
        let networks = r.ips.iter().filter_map(|i| i.split_once('/')).map(|(network, bits)| {
            D::Obj("vim.host.Ruleset.IpNetwork", vec![("network", D::text(network)), ("prefixLength", D::raw(bits))])
        });
        let networks: Vec<D> = networks.collect();
        let hosts = vec![
            ("ipAddress", D::texts(r.ips.iter().filter(|i| !i.contains('/')))),
            ("ipNetwork", if networks.is_empty() { D::Unset } else { D::List("vim.host.Ruleset.IpNetwork", networks) }),
            ("allIp", D::raw(r.all)),
        ];
        D::Obj(
            "vim.host.Ruleset",
            vec![
                ("key", D::text(&r.name)),
                ("label", D::text(&r.name)),
                ("required", D::raw(r.name == "sshServer")),
                ("enabled", D::raw(r.enabled)),
                ("allowedHosts", D::Obj("vim.host.Ruleset.IpList", hosts)),
            ],
        )
    });
    D::Obj(
        "vim.host.FirewallInfo",
        vec![("defaultPolicy", policy), ("ruleset", D::List("vim.host.Ruleset", rulesets.collect()))],
    )
}

/// Time zone and NTP. Up to 6.7 the servers are those of /etc/ntp.conf.
fn time(state: &HostState, call: &Call<'_>) -> D {
    let mut known = state.ntp_servers.clone();
    if state.release < Release::V70 {
        let text = std::fs::read_to_string(call.path("/etc/ntp.conf")).unwrap_or_default();
        known = text.lines().filter_map(|l| l.strip_prefix("server ")).map(|s| s.trim().to_owned()).collect();
    }
    let zone = D::Obj(
        "vim.host.DateTimeSystem.TimeZone",
        vec![
            ("key", D::text("UTC")),
            ("name", D::text("UTC")),
            ("description", D::text("UTC")),
            ("gmtOffset", D::raw(0)),
        ],
    );
    let lines = ["restrict default nomodify notrap nopeer noquery", "restrict 127.0.0.1", "restrict -6 ::1"];
    let lines = lines.iter().map(|l| (*l).to_owned());
    let servers = known.iter().map(|s| format!("server {s}"));
    let ntp = D::Obj(
        "vim.host.NtpConfig",
        vec![
            ("server", D::texts(&known)),
            ("configFile", D::texts(lines.chain(servers).chain(["driftfile /etc/ntp.drift".to_owned()]))),
        ],
    );
    let mut fields = vec![("timeZone", zone)];
    if state.release >= Release::V70 {
        fields.push(("systemClockProtocol", D::text("ntp")));
    }
    fields.push(("ntpConfig", ntp));
    if state.release >= Release::V70 {
        fields.push(("enabled", D::raw(state.service("ntpd").is_some_and(|s| s.running))));
    }
    D::Obj("vim.host.DateTimeInfo", fields)
}
