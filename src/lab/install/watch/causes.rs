//! Why an install stands still, as a table: signs, the cause, what to do, and the evidence.

use super::Phase;
use crate::esxi::Version;
use crate::lab::install::screen::Look;
use crate::lab::install::{Confidence, Evidence};

/// What was seen apart from text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// A purple screen, or QEMU's panic event.
    PurpleScreen,
    /// Reset after reset.
    BootLoop,
    /// The machine switched itself off.
    Off,
    /// QEMU ended.
    Exited,
}

/// When a cause is likely.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// One of these pieces of text (in small letters) stands on the console.
    Console(&'static [&'static str]),
    /// This was seen.
    Seen(Sign),
    /// It stands still in this phase.
    StandsIn(Phase),
    /// It stands still in this phase with a blank screen.
    BlankIn(Phase),
}

/// A likely cause.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// A short fixed name.
    pub code: &'static str,
    /// When it is likely.
    pub when: When,
    /// First release line that it is about.
    pub since: (u16, u16),
    /// Last one.
    pub until: Option<(u16, u16)>,
    /// Whether the installer cannot go on after it.
    pub fatal: bool,
    /// The cause.
    pub why: &'static str,
    /// What to do.
    pub fix: &'static str,
    /// Where that is known from.
    pub evidence: Evidence,
}

impl PartialEq for Cause {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code
    }
}

const fn cause(code: &'static str, when: When, why: &'static str, fix: &'static str, evidence: Evidence) -> Cause {
    Cause { code, when, since: (5, 0), until: None, fatal: false, why, fix, evidence }
}

const fn first_hand(source: &'static str) -> Evidence {
    Evidence { source, confidence: Confidence::High }
}
const fn reported(source: &'static str) -> Evidence {
    Evidence { source, confidence: Confidence::Medium }
}
const fn inferred(source: &'static str) -> Evidence {
    Evidence { source, confidence: Confidence::Low }
}

/// The causes; text on the console counts more than a place to stand still in.
pub const CAUSES: &[Cause] = &[
    Cause {
        fatal: true,
        ..cause(
            "ks-on-cd",
            When::Console(&["cannot find kickstart file on cd-rom", "could not find kickstart file on cd"]),
            "the installer cannot read the CD: ESXi does not read a CD on QEMU's AHCI controller",
            "put the CD on IDE (machine `pc`), or hand the script over by HTTP or USB stick",
            first_hand("reported for 7.0 and 8.0.3 by two projects"),
        )
    },
    cause(
        "ks-missing",
        When::Console(&["cannot find kickstart", "could not find kickstart", "error retrieving kickstart"]),
        "the installer did not find the install script where the boot line says",
        "compare letter case and path (`/KS.CFG`), or the network of the NIC that should fetch it",
        reported("public reports"),
    ),
    Cause {
        fatal: true,
        since: (7, 0),
        ..cause(
            "no-nic",
            When::Console(&["no network adapters", "no vmknic tagged", "no compatible network adapter"]),
            "the installer has no driver for the NIC: e1000 has none since 7.0",
            "use e1000e or vmxnet3",
            first_hand("reported for 7.0 by two projects"),
        )
    },
    Cause {
        until: Some((6, 7)),
        ..cause(
            "no-nic-old",
            When::Console(&["no network adapters"]),
            "the installer has no driver for the NIC",
            "use e1000 (6.7 and older), e1000e (6.5 and later) or vmxnet3; virtio and rtl8139 have no driver",
            first_hand("reported by several projects"),
        )
    },
    Cause {
        fatal: true,
        since: (7, 0),
        ..cause(
            "osdata",
            When::Console(&["does not support osdata"]),
            "the boot disk is too small for this release",
            "give it 32 GB at least",
            first_hand("reported for 8.0; the vendor's minimum for 7.0"),
        )
    },
    cause(
        "no-disk",
        When::Console(&["no disk", "no eligible disk", "could not find any disk"]),
        "the installer sees no disk it can use: no driver for the controller, or the filter of `install` fits none",
        "put the disk on IDE or ich9-ahci (6.5.0: IDE), and look at --firstdisk",
        reported("public reports"),
    ),
    cause(
        "cpu-mismatch",
        When::Console(&["fatal cpu mismatch", "cpu uniformity"]),
        "the processor has two kinds of cores and ESXi wants one",
        "add `cpuUniformityHardCheckPanic=FALSE` to the boot line",
        first_hand("several public reports on hybrid processors"),
    ),
    cause(
        "old-cpu",
        When::Console(&["cpu_support error", "cpu in this host is not supported", "unsupported cpu"]),
        "the release has dropped this processor",
        "add `allowLegacyCPU=true` to the boot line and --forceunsupportedinstall to `install`",
        first_hand("several public reports"),
    ),
    cause(
        "memory",
        When::Console(&["memory_size error", "not enough memory", "minimum memory"]),
        "the machine has less memory than the installer wants",
        "give it 4 GB (6.x) or 8 GB (7.0 and later)",
        first_hand("the vendor's minimum"),
    ),
    cause(
        "boot-bank",
        When::Console(&["not a vmware boot bank"]),
        "it was installed under another firmware: BIOS and UEFI cannot be exchanged afterwards",
        "go back to the firmware of the install, or install again",
        first_hand("vendor documentation"),
    ),
    cause(
        "damaged-module",
        When::Console(&["fatal error: 33", "inconsistent data"]),
        "a module on the CD is damaged",
        "compare the ISO's checksum, and rebuild it",
        inferred("public reports of the boot loader's message"),
    ),
    cause(
        "not-bootable",
        When::Console(&["no bootable device", "boot failed: not a bootable disk", "could not read from cdrom"]),
        "the firmware finds nothing that it can boot",
        "look at the ISO's boot entries and at the boot order; BIOS and UEFI need entries of their own",
        first_hand("SeaBIOS's messages, seen on QEMU 10.0.2"),
    ),
    cause(
        "purple",
        When::Seen(Sign::PurpleScreen),
        "ESXi's kernel stopped; under KVM most often at a model-specific register (MSR) that KVM does not have",
        "set kvm.ignore_msrs=1, pass the host's processor through (`-cpu host`), and read the first lines of the screen",
        first_hand("several public reports"),
    ),
    cause(
        "loop",
        When::Seen(Sign::BootLoop),
        "it starts, fails early and resets, again and again",
        "look at the saved screen; often it boots the CD again, or the processor lacks something",
        inferred("no report"),
    ),
    cause(
        "off",
        When::Seen(Sign::Off),
        "a failed install never comes to the script's end; with `poweroff` or `halt` in the script it ends silently",
        "look at the last lines and the screen",
        reported("a nested-lab project's notes on 8.0.3"),
    ),
    cause(
        "exited",
        When::Seen(Sign::Exited),
        "QEMU itself ended",
        "its own messages are in the machine's log",
        inferred("no report needed"),
    ),
    cause(
        "blank-firmware",
        When::BlankIn(Phase::Firmware),
        "no firmware has drawn anything: wrong firmware file, no VGA, or KVM that does not run",
        "`esxprep lab doctor` says whether KVM is usable here; a /dev/kvm that opens proves nothing",
        first_hand("seen on a machine without nested virtualisation"),
    ),
    cause(
        "keys-lost",
        When::StandsIn(Phase::LoadingModules),
        "the boot loader waits, or the installer has stopped while it unpacks modules",
        "look at the screen; if the boot line was typed, keys may be lost: use a rebuilt ISO or HTTP",
        reported("several reports on typed boot lines"),
    ),
    cause(
        "installer-waits",
        When::StandsIn(Phase::Installer),
        "the installer waits for a key: it shows an error, or it was started without its script",
        "look at the screen; `esxprep lab lint-ks` finds what it refuses in the script",
        reported("public reports"),
    ),
    cause(
        "slow-disk",
        When::StandsIn(Phase::Copying),
        "an IDE disk is slow: pauses of five minutes were seen; or the host's disk is full or busy",
        "wait, or look at the host's free space",
        reported("the founding report on 6.5"),
    ),
    cause(
        "eject",
        When::StandsIn(Phase::Installed),
        "the installer tries to eject the CD and waits for a key",
        "write `reboot --noeject`; for now a key on the console goes on",
        reported("a report on 7.0"),
    ),
    cause(
        "boots-cd",
        When::StandsIn(Phase::Rebooting),
        "it boots the CD again, or finds no boot disk",
        "give the disk a lower bootindex than the CD",
        inferred("no report"),
    ),
    Cause {
        since: (8, 0),
        ..cause(
            "firstboot-hangs",
            When::StandsIn(Phase::Booting),
            "%firstboot runs before hostd is ready; vim-cmd in it may hang",
            "move what needs hostd to local.sh; the scripts that esxprep writes do so",
            reported("reported for 8.0.3"),
        )
    },
    cause(
        "no-ssh",
        When::StandsIn(Phase::Booting),
        "it is up but SSH does not answer: SSH is off, the address is another, or vmk0 has another MAC than the NIC",
        "look at the address on the console's screen; install with the MAC that the machine keeps",
        reported("several public reports"),
    ),
];

/// What is known when it stands still.
#[derive(Debug)]
pub(super) struct Situation<'a> {
    pub release: Version,
    pub phase: Phase,
    pub console: &'a str,
    pub look: Option<Look>,
    pub sign: Option<Sign>,
    pub fetched: bool,
}

fn applies(cause: &Cause, release: Version) -> bool {
    let line = (release.major, release.minor);
    cause.since <= line && cause.until.is_none_or(|until| line <= until)
}

fn on_console(cause: &Cause, console: &str) -> bool {
    matches!(cause.when, When::Console(pieces) if pieces.iter().any(|piece| console.contains(piece)))
}

/// A cause on the console after which the installer cannot go on.
pub(super) fn fatal(console: &str, release: Version) -> Option<&'static Cause> {
    CAUSES.iter().find(|c| c.fatal && applies(c, release) && on_console(c, console))
}

/// The likely causes: text first, then signs, then where it stands still.
pub(super) fn likely(situation: &Situation<'_>) -> Vec<&'static Cause> {
    let rank = |cause: &&Cause| match cause.when {
        When::Console(_) => on_console(cause, situation.console).then_some(0),
        When::Seen(sign) => (situation.sign == Some(sign)).then_some(1),
        When::BlankIn(phase) => {
            (situation.sign.is_none() && situation.phase == phase && situation.look == Some(Look::Blank)).then_some(2)
        }
        When::StandsIn(phase) => (situation.sign.is_none() && situation.phase == phase).then_some(3),
    };
    let mut found: Vec<(i32, &'static Cause)> = CAUSES
        .iter()
        .filter(|cause| applies(cause, situation.release))
        // A script that was fetched was not missing.
        .filter(|cause| !(situation.fetched && cause.code == "ks-missing"))
        .filter_map(|cause| rank(&cause).map(|rank| (rank, cause)))
        .collect();
    found.sort_by_key(|(rank, _)| *rank);
    found.dedup_by_key(|(_, cause)| cause.code);
    found.into_iter().map(|(_, cause)| cause).take(4).collect()
}
