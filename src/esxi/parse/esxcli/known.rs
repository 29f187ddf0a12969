//! Commands of esxcli that are known, as data: which form they print, what every release prints of it, and headings
//! that are the same on all releases.
//!
//! Sources: recorded outputs of 5.0 to 9.0, and the formatting hints of the client itself (a table, or a list of
//! blocks under a heading, is fixed in the command's model). A column or label stands here only where releases agree.

/// The form of a command's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A table: an array, one object a row.
    Table,
    /// Blocks under heading lines: an array, also for one block.
    Blocks,
    /// Blocks without heading lines, one after the other: an array, also for one block.
    Records,
    /// One block under a heading line: an object with `_heading`.
    Block,
    /// One block without a heading line: an object.
    Record,
    /// A bare word or line: a string.
    Line,
}

/// A known command.
#[derive(Debug)]
pub struct Known {
    /// Namespaces and command.
    pub path: &'static str,
    /// What it prints.
    pub form: Form,
    /// Headings or labels that every release prints.
    pub must: &'static [&'static str],
    /// The whole heading line of each release that differs; for rows whose heading line a filter took.
    pub headings: &'static [&'static [&'static str]],
}

const fn known(
    path: &'static str,
    form: Form,
    must: &'static [&'static str],
    headings: &'static [&'static [&'static str]],
) -> Known {
    Known { path, form, must, headings }
}

/// The known command with this path.
pub fn find(path: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|k| k.path == path)
}

/// All known commands.
pub const KNOWN: &[Known] = &[
    known("device alias list", Form::Table, &["Alias"], &[&["Bus Type", "Bus Address", "Alias"]]),
    known("esxcli command list", Form::Table, &["Namespace", "Command"], &[&["Namespace", "Command"]]),
    known("hardware clock get", Form::Line, &[], &[]),
    known("hardware cpu global get", Form::Record, &[], &[]),
    known("hardware cpu list", Form::Blocks, &["Id", "Package Id"], &[]),
    known("hardware memory get", Form::Record, &["Physical Memory"], &[]),
    known("hardware pci list", Form::Blocks, &["Vendor Name"], &[]),
    known("hardware pci pcipassthru list", Form::Table, &["Device ID", "Enabled"], &[&["Device ID", "Enabled"]]),
    known("hardware platform get", Form::Block, &["Product Name"], &[]),
    known("iscsi adapter discovery sendtarget list", Form::Table, &["Adapter"], &[]),
    known(
        "iscsi adapter list",
        Form::Table,
        &["Adapter", "Driver", "State"],
        &[&["Adapter", "Driver", "State", "UID", "Description"]],
    ),
    known(
        "iscsi adapter param get",
        Form::Table,
        &["Name", "Current", "Default"],
        &[&["Name", "Current", "Default", "Min", "Max", "Settable", "Inherit"]],
    ),
    known("iscsi networkportal list", Form::Blocks, &["Adapter", "Vmknic"], &[]),
    known("iscsi session list", Form::Blocks, &["Adapter"], &[]),
    known("iscsi software get", Form::Line, &[], &[]),
    known("network diag ping", Form::Record, &["Summary"], &[]),
    known("network firewall get", Form::Record, &["Default Action", "Enabled", "Loaded"], &[]),
    known(
        "network firewall ruleset allowedip list",
        Form::Table,
        &["Ruleset", "Allowed IP Addresses"],
        &[&["Ruleset", "Allowed IP Addresses"]],
    ),
    known(
        "network firewall ruleset list",
        Form::Table,
        &["Name", "Enabled"],
        &[&["Name", "Enabled"], &["Name", "Enabled", "Enable/Disable configurable", "Allowed IP configurable"]],
    ),
    known(
        "network firewall ruleset rule list",
        Form::Table,
        &["Ruleset", "Direction", "Protocol"],
        &[&["Ruleset", "Direction", "Protocol", "Port Type", "Port Begin", "Port End"]],
    ),
    known(
        "network ip connection list",
        Form::Table,
        &["Proto", "Local Address", "Foreign Address"],
        &[
            &[
                "Proto",
                "Recv Q",
                "Send Q",
                "Local Address",
                "Foreign Address",
                "State",
                "World ID",
                "CC Algo",
                "World Name",
            ],
            &["Proto", "Recv Q", "Send Q", "Local Address", "Foreign Address", "State", "World ID", "World Name"],
        ],
    ),
    known("network ip dns search list", Form::Record, &["DNSSearch Domains"], &[]),
    known("network ip dns server list", Form::Record, &["DNSServers"], &[]),
    known("network ip get", Form::Record, &["IPv6 Enabled"], &[]),
    known(
        "network ip interface ipv4 address list",
        Form::Table,
        &["Name", "IPv4 Address", "IPv4 Netmask"],
        &[&["Name", "IPv4 Address", "IPv4 Netmask", "IPv4 Broadcast", "Address Type", "Gateway", "DHCP DNS"]],
    ),
    known(
        "network ip interface ipv4 get",
        Form::Table,
        &["Name", "IPv4 Address", "IPv4 Netmask"],
        &[
            &["Name", "IPv4 Address", "IPv4 Netmask", "IPv4 Broadcast", "Address Type", "DHCP DNS"],
            &["Name", "IPv4 Address", "IPv4 Netmask", "IPv4 Broadcast", "Address Type", "Gateway", "DHCP DNS"],
        ],
    ),
    known("network ip interface ipv6 address list", Form::Table, &["Interface", "Address"], &[]),
    known("network ip interface list", Form::Blocks, &["Name", "MTU"], &[]),
    known(
        "network ip neighbor list",
        Form::Table,
        &["Neighbor", "Mac Address"],
        &[
            &["Neighbor", "Mac Address", "Vmknic", "Expiry", "State"],
            &["Neighbor", "Mac Address", "Vmknic", "Expiry", "State", "Type"],
        ],
    ),
    known("network ip netstack list", Form::Blocks, &["Key", "Name"], &[]),
    known(
        "network ip route ipv4 list",
        Form::Table,
        &["Network", "Gateway", "Interface"],
        &[&["Network", "Netmask", "Gateway", "Interface", "Source"]],
    ),
    known("network ip route ipv6 list", Form::Table, &["Gateway", "Interface"], &[]),
    known("network nic get", Form::Record, &["Driver Info"], &[]),
    known(
        "network nic list",
        Form::Table,
        &["Name", "Driver", "MAC Address"],
        &[
            &["Name", "PCI Device", "Driver", "Link", "Speed", "Duplex", "MAC Address", "MTU", "Description"],
            &[
                "Name",
                "PCI Device",
                "Driver",
                "Admin Status",
                "Link Status",
                "Speed",
                "Duplex",
                "MAC Address",
                "MTU",
                "Description",
            ],
        ],
    ),
    known("network nic ring current get", Form::Record, &["RX", "TX"], &[]),
    known("network nic ring preset get", Form::Record, &[], &[]),
    known("network nic software list", Form::Table, &["NIC"], &[]),
    known("network nic stats get", Form::Block, &["Packets received", "Packets sent"], &[]),
    known("network nic tso get", Form::Table, &["NIC", "Value"], &[&["NIC", "Value"]]),
    known("network port stats get", Form::Block, &[], &[]),
    known("network sriovnic list", Form::Table, &["Name"], &[]),
    known("network vm list", Form::Table, &["World ID", "Name"], &[&["World ID", "Name", "Num Ports", "Networks"]]),
    known("network vswitch dvs vmware list", Form::Blocks, &["Name", "Class"], &[]),
    known("network vswitch standard list", Form::Blocks, &["Name", "Class", "MTU"], &[]),
    known("network vswitch standard policy failover get", Form::Record, &["Load Balancing"], &[]),
    known("network vswitch standard policy security get", Form::Record, &["Allow Promiscuous"], &[]),
    known("network vswitch standard policy shaping get", Form::Record, &[], &[]),
    known(
        "network vswitch standard portgroup list",
        Form::Table,
        &["Name", "Virtual Switch", "VLAN ID"],
        &[&["Name", "Virtual Switch", "Active Clients", "VLAN ID"]],
    ),
    known("network vswitch standard portgroup policy failover get", Form::Record, &[], &[]),
    known("network vswitch standard portgroup policy security get", Form::Record, &["Allow Promiscuous"], &[]),
    known("network vswitch standard portgroup policy shaping get", Form::Record, &[], &[]),
    known("sched swap system get", Form::Record, &[], &[]),
    known("software acceptance get", Form::Line, &[], &[]),
    known("software apply", Form::Block, &[], &[]),
    known("software baseimage get", Form::Block, &[], &[]),
    known("software component apply", Form::Block, &[], &[]),
    known("software component list", Form::Table, &["Name", "Version", "Vendor"], &[]),
    known("software component remove", Form::Block, &[], &[]),
    known("software profile get", Form::Block, &["Name", "Vendor"], &[]),
    known("software profile install", Form::Block, &[], &[]),
    known("software profile update", Form::Block, &[], &[]),
    known(
        "software sources profile list",
        Form::Table,
        &["Name", "Vendor", "Acceptance Level"],
        &[
            &["Name", "Vendor", "Acceptance Level"],
            &["Name", "Vendor", "Acceptance Level", "Creation Time", "Modification Time"],
        ],
    ),
    known("software sources vib list", Form::Table, &["Name", "Version", "Vendor"], &[]),
    known("software vib get", Form::Blocks, &["Name", "Version", "Vendor"], &[]),
    known("software vib install", Form::Block, &[], &[]),
    known(
        "software vib list",
        Form::Table,
        &["Name", "Version", "Vendor", "Acceptance Level"],
        &[
            &["Name", "Version", "Vendor", "Acceptance Level", "Install Date"],
            &["Name", "Version", "Vendor", "Acceptance Level", "Install Date", "Platforms"],
        ],
    ),
    known("software vib remove", Form::Block, &[], &[]),
    known("software vib update", Form::Block, &[], &[]),
    known(
        "storage core adapter list",
        Form::Table,
        &["HBA Name", "Driver", "UID"],
        &[&["HBA Name", "Driver", "Link State", "UID", "Capabilities", "Description"]],
    ),
    known("storage core claimrule list", Form::Table, &["Rule Class", "Rule", "Class", "Type"], &[]),
    known("storage core device detached list", Form::Table, &["Device UID", "State"], &[&["Device UID", "State"]]),
    known("storage core device list", Form::Blocks, &["Display Name"], &[]),
    known("storage core device partition list", Form::Table, &["Device", "Partition"], &[]),
    known("storage core device partition showguid", Form::Table, &["Device", "Partition"], &[]),
    known("storage core device smart get", Form::Table, &["Parameter", "Value"], &[]),
    known("storage core device stats get", Form::Blocks, &[], &[]),
    known("storage core device vaai status get", Form::Blocks, &["ATS Status"], &[]),
    known("storage core device world list", Form::Table, &["Device", "World ID"], &[]),
    known("storage core path list", Form::Blocks, &["UID"], &[]),
    known("storage core path stats get", Form::Blocks, &[], &[]),
    known("storage core plugin list", Form::Table, &[], &[]),
    known(
        "storage core plugin registration list",
        Form::Table,
        &["Module Name", "Plugin Name"],
        &[&["Module Name", "Plugin Name", "Plugin Class", "Dependencies", "Full Path"]],
    ),
    known(
        "storage filesystem list",
        Form::Table,
        &["Mount Point", "UUID", "Type"],
        &[&["Mount Point", "Volume Name", "UUID", "Mounted", "Type", "Size", "Free"]],
    ),
    known("storage nfs list", Form::Table, &["Volume Name", "Host", "Share"], &[]),
    known("storage nfs41 list", Form::Table, &["Volume Name", "Share"], &[]),
    known("storage nmp device list", Form::Blocks, &["Device Display Name", "Storage Array Type"], &[]),
    known("storage nmp path list", Form::Blocks, &[], &[]),
    known("storage nmp psp list", Form::Table, &["Name", "Description"], &[&["Name", "Description"]]),
    known("storage nmp psp roundrobin deviceconfig get", Form::Record, &["Device"], &[]),
    known(
        "storage nmp satp list",
        Form::Table,
        &["Name", "Default PSP", "Description"],
        &[&["Name", "Default PSP", "Description"]],
    ),
    known(
        "storage nmp satp rule list",
        Form::Table,
        &["Name"],
        &[&[
            "Name",
            "Device",
            "Vendor",
            "Model",
            "Driver",
            "Transport",
            "Options",
            "Rule Group",
            "Claim Options",
            "Default PSP",
            "PSP Options",
            "Description",
        ]],
    ),
    known(
        "storage vmfs extent list",
        Form::Table,
        &["Volume Name", "VMFS UUID", "Device Name"],
        &[&["Volume Name", "VMFS UUID", "Extent Number", "Device Name", "Partition"]],
    ),
    known("storage vmfs reclaim config get", Form::Record, &[], &[]),
    known("storage vmfs snapshot list", Form::Blocks, &["Volume Name"], &[]),
    known("system account list", Form::Table, &["User ID", "Description"], &[]),
    known("system boot device get", Form::Record, &[], &[]),
    known("system coredump file get", Form::Record, &[], &[]),
    known("system coredump file list", Form::Table, &["Path", "Active", "Configured"], &[]),
    known("system coredump network get", Form::Record, &["Enabled"], &[]),
    known("system coredump partition get", Form::Record, &["Active", "Configured"], &[]),
    known(
        "system coredump partition list",
        Form::Table,
        &["Name", "Path", "Active", "Configured"],
        &[&["Name", "Path", "Active", "Configured"]],
    ),
    known("system hostname get", Form::Record, &["Host Name"], &[]),
    known("system maintenanceMode get", Form::Line, &[], &[]),
    known(
        "system module list",
        Form::Table,
        &["Name", "Is Loaded", "Is Enabled"],
        &[&["Name", "Is Loaded", "Is Enabled"]],
    ),
    known(
        "system module parameters list",
        Form::Table,
        &["Name", "Type", "Value", "Description"],
        &[&["Name", "Type", "Value", "Description"]],
    ),
    known("system ntp get", Form::Record, &["Enabled"], &[]),
    known(
        "system permission list",
        Form::Table,
        &["Principal", "Is Group", "Role"],
        &[&["Principal", "Is Group", "Role", "Role Description"]],
    ),
    known("system security certificatestore list", Form::Line, &[], &[]),
    known("system settings advanced list", Form::Records, &["Path", "Type"], &[]),
    known(
        "system settings kernel list",
        Form::Table,
        &["Name", "Type", "Configured", "Runtime"],
        &[&["Name", "Type", "Description", "Configured", "Runtime", "Default"]],
    ),
    known("system snmp get", Form::Record, &["Enable", "Communities"], &[]),
    known("system stats installtime get", Form::Line, &[], &[]),
    known("system stats uptime get", Form::Line, &[], &[]),
    known("system syslog config get", Form::Record, &[], &[]),
    known("system time get", Form::Line, &[], &[]),
    known("system uuid get", Form::Line, &[], &[]),
    known("system version get", Form::Record, &["Product", "Version", "Build"], &[]),
    known("system visorfs get", Form::Record, &[], &[]),
    known("system visorfs ramdisk list", Form::Table, &["Ramdisk Name"], &[]),
    known("system welcomemsg get", Form::Line, &[], &[]),
    known("vm process list", Form::Blocks, &["World ID", "Process ID", "VMX Cartel ID"], &[]),
    known("vsan cluster get", Form::Block, &["Enabled"], &[]),
    known("vsan health cluster list", Form::Table, &["Status"], &[]),
    known("vsan storage list", Form::Blocks, &["Device"], &[]),
];
