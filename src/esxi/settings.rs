//! Which of the three worlds a setting lives in, its type, whether a change waits for a reboot; and the reader
//! of `esxcli system settings advanced list`. Facts as data, each with its source.
//!
//! Sources: the public option lists of 6.0U3, 6.5U2, 6.7U3, 7.0U3, 8.0U3 and 9.0.1 (lamw,
//! esxi-advanced-and-kernel-settings: the column "ESXCLI" says which options the VMkernel owns), and the model of
//! an 8.0 host's esxcli (govmomi).

use super::forms::FormError;

/// Where a setting lives, and so which command reads and sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum World {
    /// The VMkernel: `esxcli system settings advanced`.
    Vmkernel,
    /// The management agent: `vim-cmd hostsvc/advopt`.
    Hostd,
    /// Boot options of the VMkernel: `esxcli system settings kernel`. A change acts at the next boot.
    Kernel,
}

/// The word for a value's type in `vim-cmd hostsvc/advopt/update KEY TYPE VALUE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostdType {
    /// A whole number of 32 bits.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// A text.
    String,
    /// `true` or `false`.
    Bool,
}

impl HostdType {
    /// The word itself.
    pub fn word(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Long => "long",
            Self::String => "string",
            Self::Bool => "bool",
        }
    }
}

/// How sure a fact of a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confidence {
    /// ESXi's own description of the option, or a vendor's document, says so.
    Documented,
    /// Concluded from other facts; not verified on a host.
    Unsure,
}

/// The subtree of the boot options among hostd's names.
const KERNEL: &str = "VMkernel.Boot.";

/// Subtrees that are hostd's on every release (option lists 6.0U3 to 9.0.1, ESXCLI = False for each of their keys).
/// `Annotations.` is in no list; hardening guides read it through hostd only.
const HOSTD_PREFIXES: &[&str] = &[
    "Annotations.",
    "Config.",
    "DCUI.",
    "OSData.",
    "RdmFilter.",
    "ScratchConfig.",
    "Security.",
    "Syslog.",
    "UserVars.HostClient.",
    "VMFS.",
    "Vpx.",
];

/// Single keys of hostd's inside subtrees that are the VMkernel's otherwise (option lists 6.0U3 to 9.0.1).
const HOSTD_KEYS: &[&str] = &[
    "CBRC.Enable",
    "Misc.DsNsMgrTimeout",
    "Misc.HostAgentUpdateLevel",
    "Misc.MetadataUpdateTimeoutMsec",
    "Net.IOControlPnicOptOut",
    "VFLASH.MaxResourceGBForVmCache",
    "VFLASH.ResourceUsageThreshold",
];

/// Types of hostd's keys, for a value that the host shows as `<unset>`, and to tell int from long, which the
/// dump does not. From the defaults in the option lists; `int` for `Security.` is what public scripts send,
/// `long` is recorded for `UserVars.` on 5.5. Not verified for the others.
const HOSTD_TYPES: &[(&str, HostdType)] = &[
    ("Annotations.WelcomeMessage", HostdType::String),
    ("CBRC.Enable", HostdType::Bool),
    ("Config.Etc.", HostdType::String),
    ("Config.HostAgent.log.level", HostdType::String),
    ("Config.HostAgent.plugins.hostsvc.esxAdminsGroupAutoAdd", HostdType::Bool),
    ("Config.HostAgent.plugins.hostsvc.esxAdminsGroupUpdateInterval", HostdType::Int),
    ("Config.HostAgent.plugins.hostsvc.esxAdminsGroup", HostdType::String),
    ("Config.HostAgent.plugins.solo.enableMob", HostdType::Bool),
    ("Config.HostAgent.plugins.vimsvc.authValidateInterval", HostdType::Int),
    ("Config.HostAgent.plugins.vmsvc.allowForensicSnapshots", HostdType::Bool),
    ("Config.HostAgent.vmacore.soap.sessionTimeout", HostdType::Int),
    ("DCUI.Access", HostdType::String),
    ("OSData.", HostdType::String),
    ("ScratchConfig.", HostdType::String),
    ("Security.AccountLockFailures", HostdType::Int),
    ("Security.AccountUnlockTime", HostdType::Int),
    ("Security.DefaultShellAccess", HostdType::Bool),
    ("Security.PasswordHistory", HostdType::Int),
    ("Security.PasswordMaxDays", HostdType::Int),
    ("Security.PasswordQualityControl", HostdType::String),
    ("Security.SshSessionLimit", HostdType::Int),
    ("Syslog.global.auditRecord.remoteEnable", HostdType::Bool),
    ("Syslog.global.auditRecord.storageDirectory", HostdType::String),
    ("Syslog.global.auditRecord.storageEnable", HostdType::Bool),
    ("Syslog.global.certificate.", HostdType::Bool),
    ("Syslog.global.logDirUnique", HostdType::Bool),
    ("Syslog.global.logDir", HostdType::String),
    ("Syslog.global.logHost", HostdType::String),
    ("Syslog.global.logLevel", HostdType::String),
    ("UserVars.", HostdType::Long),
];

/// Keys that act at the next boot, whatever `Impact` and the description say on a release.
const REBOOT_KEYS: &[(&str, Confidence)] = &[
    // The management interface takes the hardware MAC when it changes; seen at the next boot.
    ("Net.FollowHardwareMac", Confidence::Unsure),
    ("ScratchConfig.ConfiguredScratchLocation", Confidence::Documented),
    ("OSData.configuredLocation", Confidence::Unsure),
    // Their own descriptions say so (option lists).
    ("Net.TcpipHeapMax", Confidence::Documented),
    ("Net.TcpipHeapSize", Confidence::Documented),
    ("UserVars.AuditApiCallEnabled", Confidence::Documented),
    // Hardening guides for 6.5 and 7.0 ask for a reboot.
    ("UserVars.ESXiVPsDisabledProtocols", Confidence::Documented),
];

/// A setting's name, in the spelling of each world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Dotted, as hostd names it: `Net.FollowHardwareMac`.
    pub dotted: String,
    /// Where it lives.
    pub world: World,
}

impl Key {
    /// Reads `Net.FollowHardwareMac`, `/Net/FollowHardwareMac` or `Net/FollowHardwareMac`; `world` overrides what
    /// the tables say.
    pub fn new(name: &str, world: Option<World>) -> Self {
        // Blanks may stand on either side of a slash that goes.
        let name = name.trim();
        let around = |c: char| c == '/' || c.is_whitespace();
        let dotted = if name.contains('/') { name.trim_matches(around).replace('/', ".") } else { name.to_owned() };
        let world = world.unwrap_or_else(|| world_of(&dotted));
        let dotted = match world {
            World::Kernel if !starts_with(&dotted, KERNEL) => format!("{KERNEL}{dotted}"),
            _ => dotted,
        };
        Self { dotted, world }
    }

    /// As the VMkernel names it: `/Net/FollowHardwareMac`. Only the first dot parts: no option of the VMkernel has
    /// more than one level (option lists 6.0U3 to 9.0.1).
    pub fn path(&self) -> String {
        format!("/{}", self.dotted.replacen('.', "/", 1))
    }

    /// As the list of boot options names it: `execInstalledOnly`.
    pub fn boot_option(&self) -> &str {
        self.dotted.get(KERNEL.len()..).unwrap_or(&self.dotted)
    }

    /// The type word for hostd, from the table.
    pub fn hostd_type(&self) -> Option<HostdType> {
        HOSTD_TYPES.iter().find(|(k, _)| matches_key(&self.dotted, k)).map(|(_, t)| *t)
    }

    /// Whether a change acts at the next boot only, as far as the tables know.
    pub fn needs_reboot(&self) -> Option<Confidence> {
        if self.world == World::Kernel {
            return Some(Confidence::Documented);
        }
        REBOOT_KEYS.iter().find(|(k, _)| self.dotted.eq_ignore_ascii_case(k)).map(|(_, c)| *c)
    }
}

fn starts_with(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A table's key that ends with a dot stands for a subtree.
fn matches_key(name: &str, key: &str) -> bool {
    if key.ends_with('.') { starts_with(name, key) } else { name.eq_ignore_ascii_case(key) }
}

fn world_of(dotted: &str) -> World {
    if starts_with(dotted, KERNEL) {
        World::Kernel
    } else if HOSTD_PREFIXES.iter().any(|p| starts_with(dotted, p))
        || HOSTD_KEYS.iter().any(|k| dotted.eq_ignore_ascii_case(k))
    {
        World::Hostd
    } else {
        World::Vmkernel
    }
}

/// One option of the VMkernel, as `esxcli system settings advanced list` prints it.
///
/// Recorded on 6.0: settings-advanced-list-usehwtso. 8.0 adds `Host Specific` and `Impact` (model of 8.0).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Advanced<'a> {
    /// `/Net/FollowHardwareMac`.
    pub path: &'a str,
    /// Whether it holds a number (`Type: integer`) and not a text.
    pub is_int: bool,
    /// The number now.
    pub int: Option<i64>,
    /// The number out of the box.
    pub default_int: Option<i64>,
    /// The smallest number allowed.
    pub min: Option<i64>,
    /// The largest number allowed.
    pub max: Option<i64>,
    /// The text now.
    pub string: &'a str,
    /// The text out of the box.
    pub default_string: &'a str,
    /// Characters allowed in the text; empty or `*`: any.
    pub valid_characters: &'a str,
    /// What it is for.
    pub description: &'a str,
    /// `reboot` or `maintenance-mode` (8.0 and later), else empty.
    pub impact: &'a str,
}

impl Advanced<'_> {
    /// Whether the host itself says that a change acts at the next boot only: in `Impact` (8.0 and later) or in
    /// the description, whose wordings are from the option lists.
    pub fn says_reboot(&self) -> bool {
        const WORDINGS: &[&str] = &[
            "requires reboot",
            "requires rebooting",
            "requires a reboot",
            "reboot is required",
            "reboot required",
            "on next reboot",
            "on the next reboot",
        ];
        let description = self.description.to_ascii_lowercase();
        self.impact.eq_ignore_ascii_case("reboot") || WORDINGS.iter().any(|w| description.contains(w))
    }
}

/// Reads the whole list. Labels are taken by their whole name: `Default Int Value` ends with the words of
/// `Int Value`. Lines with unknown labels are passed over.
pub fn advanced(text: &str) -> Result<Vec<Advanced<'_>>, FormError> {
    let mut out: Vec<Advanced<'_>> = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let body = line.trim_end_matches('\r').trim_start();
        let Some((label, value)) = body.split_once(':') else { continue };
        let value = value.strip_prefix(' ').unwrap_or(value);
        if label == "Path" {
            out.push(Advanced { path: value.trim(), ..Advanced::default() });
            continue;
        }
        let Some(option) = out.last_mut() else {
            return Err(FormError { line: n + 1, problem: "a value before the first `Path:`", text: line.to_owned() });
        };
        let number = || value.trim().parse::<i64>().ok();
        match label {
            "Type" => option.is_int = value.trim().eq_ignore_ascii_case("integer"),
            "Int Value" => option.int = number(),
            "Default Int Value" => option.default_int = number(),
            "Min Value" => option.min = number(),
            "Max Value" => option.max = number(),
            "String Value" => option.string = value,
            "Default String Value" => option.default_string = value,
            "Valid Characters" => option.valid_characters = value.trim(),
            "Description" => option.description = value.trim(),
            "Impact" => option.impact = value.trim(),
            _ => {}
        }
    }
    if out.is_empty() && !text.trim().is_empty() {
        let text = text.lines().next().unwrap_or("").to_owned();
        return Err(FormError { line: 1, problem: "no `Path:` line", text });
    }
    Ok(out)
}

/// The option of this path, spelt like this, out of the whole list, which has about a thousand of them: only its own
/// lines are read. `None`: it is not there like this; [`advanced`] tells more.
pub fn advanced_at<'t>(text: &'t str, path: &str) -> Option<Advanced<'t>> {
    let begins = |at: usize| {
        let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
        text[start..at].trim_start().is_empty().then_some(start)
    };
    let (start, value) = text.match_indices(path).find_map(|(at, _)| {
        let label = at.checked_sub("Path: ".len())?;
        let whole = text[at + path.len()..].chars().next().is_none_or(|c| matches!(c, '\r' | '\n'));
        (whole && text.get(label..at) == Some("Path: ")).then(|| begins(label)).flatten().map(|start| (start, at))
    })?;
    let rest = &text[value..];
    let end = rest.match_indices("Path: ").find_map(|(at, _)| begins(value + at)).unwrap_or(text.len());
    advanced(&text[start..end]).ok()?.pop()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::esxi::recorded;

    #[test]
    fn each_world_has_its_spelling() {
        let key = Key::new("/Net/FollowHardwareMac", None);
        assert_eq!((key.world, key.path().as_str()), (World::Vmkernel, "/Net/FollowHardwareMac"));
        assert_eq!(key, Key::new("Net.FollowHardwareMac", None));
        assert_eq!(key, Key::new(" / \u{c}Net/FollowHardwareMac / ", None), "blanks inside the slashes");
        assert_eq!(Key::new("Security.AccountLockFailures", None).world, World::Hostd);
        assert_eq!(Key::new("/Security/AccountLockFailures", None).dotted, "Security.AccountLockFailures");
        assert_eq!(Key::new("Config.HostAgent.level[Vmsvc].logLevel", None).world, World::Hostd);
        assert_eq!(Key::new("UserVars.SuppressShellWarning", None).world, World::Vmkernel);
        assert_eq!(Key::new("UserVars.HostClient.CEIPOptIn", None).world, World::Hostd);
        assert_eq!(Key::new("UserVars.HostClientCEIPOptIn", None).world, World::Vmkernel);
        let boot = Key::new("VMkernel.Boot.execInstalledOnly", None);
        assert_eq!((boot.world, boot.boot_option()), (World::Kernel, "execInstalledOnly"));
        assert_eq!(Key::new("execInstalledOnly", Some(World::Kernel)), boot);
        assert_eq!(Key::new("CBRC.Enable", None).world, World::Hostd);
        assert_eq!(Key::new("CBRC.DCacheSize", None).world, World::Vmkernel);
    }

    #[test]
    fn types_and_reboots_come_from_the_tables() {
        let key = |k: &str| Key::new(k, None);
        assert_eq!(key("Config.Etc.issue").hostd_type(), Some(HostdType::String));
        assert_eq!(key("Config.HostAgent.plugins.hostsvc.esxAdminsGroup").hostd_type(), Some(HostdType::String));
        assert_eq!(key("Config.HostAgent.plugins.hostsvc.esxAdminsGroupAutoAdd").hostd_type(), Some(HostdType::Bool));
        assert_eq!(key("Security.AccountUnlockTime").hostd_type(), Some(HostdType::Int));
        assert_eq!(key("Config.Something.new").hostd_type(), None);
        assert_eq!(key("Net.FollowHardwareMac").needs_reboot(), Some(Confidence::Unsure));
        assert_eq!(key("VMkernel.Boot.autoPartition").needs_reboot(), Some(Confidence::Documented));
        assert_eq!(key("UserVars.SuppressShellWarning").needs_reboot(), None);
    }

    #[test]
    fn reads_options_recorded_on_6_0() {
        let a = recorded(include_str!("../../fixtures/transcripts/6.0/settings-advanced-list-usehwtso.txt"));
        let b = recorded(include_str!("../../fixtures/transcripts/6.0/settings-advanced-list-tcpipdeflro.txt"));
        let both = format!("{a}\n{b}");
        let all = advanced(&both).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!(all[0].path, "/Net/UseHwTSO");
        assert_eq!((all[0].int, all[0].default_int, all[0].min, all[0].max), (Some(0), Some(1), Some(0), Some(1)));
        assert!(all[0].is_int);
        assert_eq!(all[0].string, "");
        assert_eq!(all[1].description, "LRO enabled for TCP/IP");
        assert!(!all[1].says_reboot());
    }

    #[test]
    fn the_host_says_itself_that_it_needs_a_reboot() {
        let text = "   Path: /Net/TcpipHeapMax\n   Type: integer\n   Int Value: 512\n   Description: Max megabytes the tcpip module heap can grow to. (REQUIRES REBOOT!)\n\n   Path: /X/Y\n   Type: string\n   String Value: a: b\n   Impact: reboot\n";
        let all = advanced(text).unwrap();
        assert!(all.iter().all(Advanced::says_reboot));
        assert_eq!(all[1].string, "a: b");
        for option in &all {
            assert_eq!(advanced_at(text, option.path).unwrap(), *option);
            assert_eq!(advanced_at(text, &option.path[..option.path.len() - 1]), None);
        }
        assert_eq!(
            advanced_at("   Path: /A/B\n   Int Value: 1\n   Path: /A/BC\n   Int Value: 2", "/A/BC").unwrap().int,
            Some(2)
        );
        assert_eq!(
            advanced_at("   Path: /A/B\n   Int Value: 1\n   Path: /A/BC\n   Int Value: 2", "/A/B").unwrap().int,
            Some(1)
        );
        assert_eq!(advanced_at("   Description: Path: /A/B\n", "/A/B"), None);
        assert!(advanced("Unable to find option X\n").is_err());
        assert!(advanced("").unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn never_panics(text in "([A-Za-z :/0-9é\n-]|Path: |Int Value: |\n){0,80}", key in "[./A-Za-zé]{0,40}") {
            let _ = advanced(&text);
            for world in [None, Some(World::Kernel), Some(World::Hostd), Some(World::Vmkernel)] {
                let key = Key::new(&key, world);
                let _ = (key.path(), key.boot_option().len(), key.hostd_type(), key.needs_reboot());
            }
        }
    }
}
