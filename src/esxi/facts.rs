//! What esxprep knows of a host before any step: read in one round trip, by the same commands on every version.

use super::version::Version;

/// Facts of one host, as identified at the start of a run and again after every reboot.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HostFacts {
    /// The version, from `vmware -v`.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    pub version: Version,
    /// The build number, from `vmware -v`.
    pub build: u64,
    /// The release line, from `vmware -l`, for example `VMware ESXi 6.5.0 Update 1`.
    pub release: String,
    /// The host name, from `uname -n`.
    pub hostname: String,
    /// hostd's boot time as printed; empty when hostd did not answer. A reboot is proved by its change.
    pub boot_time: String,
    /// Whether the host is in maintenance mode.
    pub maintenance: bool,
    /// Where `/bootbank` points. A host that lost its boot disk has it in `/tmp` and forgets every change.
    pub bootbank: String,
    /// Whether changes will last: `/bootbank` is on a disk that is really there.
    pub persistent: bool,
    /// Names of the virtual machines that run now.
    pub running_vms: Vec<String>,
    /// The host's own address at which this session came in, from `SSH_CONNECTION`.
    pub session_address: Option<String>,
    /// The address from which this session came, as the host sees it: the first word of `SSH_CONNECTION`. Behind
    /// NAT it is the gateway's. Steps that narrow the firewall must keep it.
    pub client_address: Option<String>,
    /// Whether a vCenter manages the host: the summary's `managementServerIp`. `None`: hostd did not say.
    #[serde(skip)]
    pub managed: Option<bool>,
    /// What the host runs on, from hostd's summary; its parts are missing when hostd did not answer.
    pub hardware: Hardware,
    /// Files that a killed run of esxprep left on the host.
    #[serde(skip)]
    pub leftovers: Vec<String>,
}

/// What a host runs on, as `vim-cmd hostsvc/hostsummary` says (recorded on 6.0: hostsummary-grep-cpumodel; the names of
/// the other fields are those of the vSphere API's `HostHardwareSummary`).
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Hardware {
    /// Who made it; empty when not known.
    pub vendor: String,
    /// Its model; empty when not known.
    pub model: String,
    /// The CPU's model; empty when not known.
    pub cpu: String,
    /// CPU cores.
    pub cores: Option<u32>,
    /// Memory in bytes.
    pub memory: Option<u64>,
    /// Network interfaces.
    pub nics: Option<u32>,
    /// The system's UUID, empty when not known: by it a host that came back is told from another one at its address.
    #[serde(skip)]
    pub uuid: String,
}

impl Hardware {
    /// One line for people; `None` when nothing is known.
    pub fn describe(&self) -> Option<String> {
        let machine = format!("{} {}", self.vendor, self.model).trim().to_owned();
        // 1 GiB; a host has a fraction less than what is built in.
        let memory = self.memory.map(|m| format!("{:.1} GiB", m as f64 / f64::from(1_u32 << 30)));
        let parts = [
            Some(machine).filter(|m| !m.is_empty()),
            Some(self.cpu.clone()).filter(|c| !c.is_empty()),
            self.cores.map(|n| format!("{n} cores")),
            memory,
            self.nics.map(|n| format!("{n} NICs")),
        ];
        let known: Vec<String> = parts.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join(", "))
    }
}

fn as_text<S: serde::Serializer>(v: &Version, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(v)
}

fn of_text<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Version, D::Error> {
    let text: String = serde::Deserialize::deserialize(from)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl HostFacts {
    /// A few indented lines for people.
    pub fn describe(&self) -> String {
        let yes = |b: bool| if b { "yes" } else { "no" };
        let or = |s: &str| if s.is_empty() { "not known".to_owned() } else { s.to_owned() };
        let lasts = if self.persistent { "yes" } else { "NO: the next boot forgets them" };
        let vms = if self.running_vms.is_empty() { "none".to_owned() } else { self.running_vms.join(", ") };
        format!(
            "   Release: {} (build {})\n   Host Name: {}\n   Boot Time: {}\n   Maintenance Mode: {}\n   Bootbank: {}\n   \
             Changes Last: {lasts}\n   Running VMs: {vms}\n   Hardware: {}\n",
            self.release,
            self.build,
            or(&self.hostname),
            or(&self.boot_time),
            yes(self.maintenance),
            or(&self.bootbank),
            self.hardware.describe().unwrap_or_else(|| "not known".to_owned()),
        )
    }

    /// Facts for tests: a healthy host of this version with no virtual machines.
    pub fn example(version: Version) -> Self {
        Self {
            version,
            build: 5_969_303,
            release: format!("VMware ESXi {version}"),
            hostname: "esx1".into(),
            boot_time: "2026-11-22T08:00:00Z".into(),
            maintenance: false,
            bootbank: "/vmfs/volumes/f3512b78-bf3b7cad-7894-c76c8646a5b6".into(),
            persistent: true,
            running_vms: Vec::new(),
            session_address: Some("192.0.2.11".into()),
            client_address: Some("192.0.2.200".into()),
            managed: Some(false),
            hardware: Hardware::default(),
            leftovers: Vec::new(),
        }
    }
}
