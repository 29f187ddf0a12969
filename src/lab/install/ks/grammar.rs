//! The grammar of install scripts as data: commands, their options and the sections, with the release lines that
//! have them. From the vendor's documentation of installation script commands for 6.0 to 8.0 and a public restatement
//! of the text for 9.x; nothing here was tried against an installer.

use crate::lab::install::{Confidence, Evidence};

/// A release line, `(8, 0)`.
pub type Line = (u16, u16);

/// What follows an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: `--overwritevmfs`.
    Nothing,
    /// `=VALUE` is required.
    Value,
    /// `=VALUE` may follow.
    Maybe,
    /// `=` and one of these.
    OneOf(&'static [&'static str]),
    /// `=` and a number in this range.
    Number(u32, u32),
    /// `=` and an IPv4 address or a mask.
    Address,
}

/// An option of a command or a section.
#[derive(Debug, Clone, Copy)]
pub struct OptionRule {
    /// Its name with the dashes.
    pub name: &'static str,
    /// What follows it.
    pub takes: Takes,
    /// The first release line that has it.
    pub since: Line,
    /// The last one, if it is gone.
    pub until: Option<Line>,
    /// Where that is known from.
    pub evidence: Evidence,
}

/// What stands behind a command apart from options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Words {
    /// Nothing.
    None,
    /// Exactly one word, and what it is.
    One(&'static str),
}

/// A command.
#[derive(Debug, Clone, Copy)]
pub struct CommandRule {
    /// Its name.
    pub name: &'static str,
    /// Another name for it.
    pub alias: Option<&'static str>,
    /// Its options.
    pub options: &'static [OptionRule],
    /// What else it takes.
    pub words: Words,
    /// The last release line in which it does something.
    pub until: Option<Line>,
    /// Where that is known from.
    pub evidence: Evidence,
}

/// A section.
#[derive(Debug, Clone, Copy)]
pub struct SectionRule {
    /// Its name with the percent sign.
    pub name: &'static str,
    /// Its options.
    pub options: &'static [OptionRule],
}

const DOCS: Evidence = Evidence { source: "vendor documentation of install scripts", confidence: Confidence::High };
const RESTATED: Evidence =
    Evidence { source: "public restatement of the 9.x documentation", confidence: Confidence::Medium };
const OLD_DOCS: Evidence = Evidence { source: "vendor documentation of 5.x, remembered", confidence: Confidence::Low };

const fn option(name: &'static str, takes: Takes) -> OptionRule {
    OptionRule { name, takes, since: (5, 0), until: None, evidence: DOCS }
}

const fn since(line: Line, evidence: Evidence, rule: OptionRule) -> OptionRule {
    OptionRule { since: line, evidence, ..rule }
}

const fn gone_after(line: Line, rule: OptionRule) -> OptionRule {
    OptionRule { until: Some(line), evidence: OLD_DOCS, ..rule }
}

const INSTALL: &[OptionRule] = &[
    option("--disk", Takes::Value),
    option("--drive", Takes::Value),
    option("--firstdisk", Takes::Maybe),
    option("--ignoressd", Takes::Nothing),
    option("--overwritevmfs", Takes::Nothing),
    option("--preservevmfs", Takes::Nothing),
    option("--novmfsondisk", Takes::Nothing),
    since((5, 5), DOCS, option("--overwritevsan", Takes::Nothing)),
    since((6, 0), RESTATED, option("--forceunsupportedinstall", Takes::Nothing)),
    since((7, 0), RESTATED, option("--systemdisk", Takes::Value)),
    since((7, 0), RESTATED, option("--repartitionsystemdisk", Takes::Nothing)),
    since((7, 0), RESTATED, option("--ignoreprereqwarnings", Takes::Nothing)),
    since((7, 0), RESTATED, option("--ignoreprereqerrors", Takes::Nothing)),
    since((8, 0), RESTATED, option("--dpuPciSlots", Takes::Value)),
    gone_after((5, 5), option("--forcemigrate", Takes::Nothing)),
    gone_after((5, 5), option("--deletecosvmdk", Takes::Nothing)),
];

const NETWORK: &[OptionRule] = &[
    option("--bootproto", Takes::OneOf(&["dhcp", "static"])),
    option("--device", Takes::Value),
    option("--ip", Takes::Address),
    option("--netmask", Takes::Address),
    option("--gateway", Takes::Address),
    option("--nameserver", Takes::Value),
    option("--hostname", Takes::Value),
    option("--vlanid", Takes::Number(0, 4095)),
    option("--addvmportgroup", Takes::OneOf(&["0", "1", "true", "false"])),
];

const PARTITION: &[OptionRule] =
    &[option("--ondisk", Takes::Value), option("--ondrive", Takes::Value), option("--onfirstdisk", Takes::Maybe)];

const CLEARPART: &[OptionRule] = &[
    option("--drives", Takes::Value),
    option("--alldrives", Takes::Nothing),
    option("--ignoredrives", Takes::Value),
    option("--overwritevmfs", Takes::Nothing),
    option("--firstdisk", Takes::Maybe),
];

const fn command(
    name: &'static str,
    alias: Option<&'static str>,
    options: &'static [OptionRule],
    words: Words,
) -> CommandRule {
    CommandRule { name, alias, options, words, until: None, evidence: DOCS }
}

/// The commands.
pub const COMMANDS: &[CommandRule] = &[
    command("accepteula", Some("vmaccepteula"), &[], Words::None),
    command("rootpw", None, &[option("--iscrypted", Takes::Nothing)], Words::One("the password or its hash")),
    command("install", None, INSTALL, Words::None),
    command("upgrade", None, INSTALL, Words::None),
    command("installorupgrade", None, INSTALL, Words::None),
    command("clearpart", None, CLEARPART, Words::None),
    command("network", None, NETWORK, Words::None),
    command("keyboard", None, &[], Words::One("a keyboard's name in quotes, 'US Default'")),
    command("partition", Some("part"), PARTITION, Words::One("the datastore's name")),
    CommandRule {
        until: Some((8, 0)),
        evidence: RESTATED,
        ..command("serialnum", Some("vmserialnum"), &[option("--esx", Takes::Value)], Words::None)
    },
    command("reboot", None, &[option("--noeject", Takes::Nothing)], Words::None),
    command("dryrun", None, &[], Words::None),
    command("paranoid", None, &[], Words::None),
    command("include", Some("%include"), &[], Words::One("a file")),
];

/// Commands of ESX 4 and of Red Hat's kickstart that people carry along, and what to write instead.
pub const FOREIGN: &[(&str, &str)] = &[
    ("autopart", "the installer partitions by itself: `install --firstdisk --overwritevmfs`"),
    ("auth", "not in ESXi; users are made in %firstboot"),
    ("authconfig", "not in ESXi; users are made in %firstboot"),
    ("bootloader", "not in ESXi"),
    ("esxlocation", "not in ESXi 5 and later; use `install --disk=`"),
    ("firewall", "not in ESXi; use `esxcli network firewall` in %firstboot"),
    ("firewallport", "not in ESXi; use `esxcli network firewall` in %firstboot"),
    ("lang", "not in ESXi"),
    ("timezone", "ESXi is always on UTC"),
    ("text", "not in ESXi; an install script is never graphical"),
    ("url", "the installer takes its files from the medium that it was booted from"),
    ("cdrom", "the installer takes its files from the medium that it was booted from"),
    ("zerombr", "not in ESXi; use `install --overwritevmfs`"),
    ("poweroff", "not a command; `%post` with `poweroff -f` ends an install so"),
    ("halt", "not a command; `%post` with `halt` ends an install so"),
    ("user", "not in ESXi; users are made in %firstboot"),
    ("selinux", "not in ESXi"),
    ("%packages", "ESXi has no packages to choose"),
    ("%end", "ESXi's sections end where the next one begins"),
];

const INTERPRETER: OptionRule = option("--interpreter", Takes::OneOf(&["python", "busybox"]));
const UNSUPPORTED: OptionRule = gone_after((5, 5), option("--unsupported", Takes::Nothing));

/// The sections.
pub const SECTIONS: &[SectionRule] = &[
    SectionRule { name: "%pre", options: &[INTERPRETER, UNSUPPORTED] },
    SectionRule {
        name: "%post",
        options: &[
            INTERPRETER,
            option("--timeout", Takes::Number(1, 86_400)),
            option("--ignorefailure", Takes::OneOf(&["true", "false"])),
            UNSUPPORTED,
        ],
    },
    SectionRule {
        name: "%firstboot",
        options: &[INTERPRETER, UNSUPPORTED, gone_after((5, 5), option("--level", Takes::Value))],
    },
];

/// The keyboards (vendor documentation of 6.x to 9.x).
pub const KEYBOARDS: &[&str] = &[
    "Belgian",
    "Brazilian",
    "Croatian",
    "Czechoslovakian",
    "Danish",
    "Estonian",
    "Finnish",
    "French",
    "German",
    "Greek",
    "Icelandic",
    "Italian",
    "Japanese",
    "Latin American",
    "Norwegian",
    "Polish",
    "Portuguese",
    "Russian",
    "Slovenian",
    "Spanish",
    "Swedish",
    "Swiss French",
    "Swiss German",
    "Turkish",
    "UK",
    "Ukrainian",
    "US Default",
    "US Dvorak",
];

/// What differs by release in what a script should do, apart from the grammar.
#[derive(Debug, Clone, Copy)]
pub struct Behaviour {
    /// First release line of the row.
    pub since: Line,
    /// `vim-cmd` works in %firstboot.
    pub vim_cmd_in_firstboot: bool,
    /// sshd takes Ed25519 keys.
    pub ed25519: bool,
    /// Smallest boot disk, GiB.
    pub min_boot_gib: u64,
    /// Where that is known from.
    pub evidence: Evidence,
    /// The reason, for messages.
    pub reason: &'static str,
}

/// Behaviour by release line, oldest first; the last row whose `since` is not later counts.
pub const BEHAVIOUR: &[Behaviour] = &[
    Behaviour {
        since: (5, 0),
        vim_cmd_in_firstboot: true,
        ed25519: true,
        min_boot_gib: 1,
        evidence: Evidence { source: "recipes in use for 6.x and 7.x; vendor minimum", confidence: Confidence::High },
        reason: "hostd answers while %firstboot runs",
    },
    Behaviour {
        since: (7, 0),
        vim_cmd_in_firstboot: true,
        ed25519: true,
        min_boot_gib: 32,
        evidence: Evidence { source: "recipes in use for 7.x; vendor minimum", confidence: Confidence::High },
        reason: "hostd answers while %firstboot runs",
    },
    Behaviour {
        since: (8, 0),
        vim_cmd_in_firstboot: false,
        ed25519: false,
        min_boot_gib: 32,
        evidence: Evidence {
            source: "reported for 8.0.3 by a nested-lab project that installs it in tests; other recipes for 8.0 \
                     call vim-cmd there and say it works",
            confidence: Confidence::Medium,
        },
        reason: "%firstboot runs before hostd is ready, and sshd is in FIPS mode, which knows no Ed25519",
    },
];

/// The row for a release line.
pub fn behaviour(line: Line) -> &'static Behaviour {
    BEHAVIOUR.iter().rev().find(|row| row.since <= line).unwrap_or(&BEHAVIOUR[0])
}

/// The rule of a command, by either name.
pub fn command_rule(name: &str) -> Option<&'static CommandRule> {
    COMMANDS.iter().find(|rule| rule.name == name || rule.alias == Some(name))
}
