//! `esxcli software`: the image, installing and removing VIBs, acceptance level, profile, sources.
//!
//! A live install is in the image at once; another one makes a pending image for the other boot bank, which the
//! next boot makes the image. Both lie on the disk without any save of the configuration.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::state::{HostState, Image, Module, Release, Vib};
use super::sources::{failed, matches, no_match, sources};
use super::vibfile::compare;

const INSTALL: &[&str] = &[
    "d depot l Specifies full remote URLs of the depot index.xml or server file path pointing to an offline bundle .zip file.",
    "- dry-run f Performs a dry-run only. Report the VIB-level operations that would be performed, but do not change anything in the system.",
    "f force f Bypasses checks for package dependencies, conflicts, obsolescence, and acceptance levels. Really not recommended unless you know what you are doing.",
    "- maintenance-mode f Pretends that maintenance mode is in effect. Otherwise, installation will stop for live installs that require maintenance mode.",
    "- no-live-install f Forces an install to /altbootbank even if the VIBs are eligible for live installation or removal.",
    "- no-sig-check f Bypasses acceptance level verification, including signing. Use of this option poses a large security risk.",
    "- proxy s Specifies a proxy server to use for HTTP, FTP, and HTTPS connections. The format is proxy-url:port.",
    "n vibname l Specifies VIBs from a depot, using one of the following forms: name, name:version, vendor:name, or vendor:name:version.",
    "v viburl l Specifies one or more URLs to VIB packages to install. http:, https:, ftp:, and file: are all supported.",
];

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "software vib list",
        "Lists the installed VIB packages",
        &[
            "- rebooting-image f Displays information for the ESXi image which becomes active after a reboot, or nothing if the pending-reboot image has not been created yet.",
        ],
        list,
    ),
    Cmd::new(
        "software vib get",
        "Displays detailed information about one or more installed VIBs",
        &[
            "- rebooting-image f Displays information for the ESXi image which becomes active after a reboot, or nothing if the pending-reboot image has not been created yet.",
            "n vibname l Specifies one or more installed VIBs to display more information about.",
        ],
        get,
    ),
    Cmd::new(
        "software vib install",
        "Installs VIB packages from a URL or depot. VIBs may be installed, upgraded, or downgraded. WARNING: If your installation requires a reboot, you need to disable HA first.",
        INSTALL,
        install,
    ),
    Cmd::new(
        "software vib update",
        "Update installed VIBs to newer VIB packages. No new VIBs will be installed, only updates. WARNING: If your installation requires a reboot, you need to disable HA first.",
        INSTALL,
        update,
    ),
    Cmd::new(
        "software vib remove",
        "Removes VIB packages from the host. WARNING: If your installation requires a reboot, you need to disable HA first.",
        &[
            "- dry-run f Performs a dry-run only.",
            "f force f Bypasses checks for package dependencies, conflicts, obsolescence, and acceptance levels.",
            "- maintenance-mode f Pretends that maintenance mode is in effect.",
            "- no-live-install f Forces an remove to /altbootbank even if the VIBs are eligible for live removal.",
            "n vibname l! Specifies one or more VIBs on the host to remove.",
        ],
        remove,
    ),
    Cmd::new(
        "software acceptance get",
        "Gets the host acceptance level. This controls what VIBs will be allowed on a host.",
        &[],
        acceptance_get,
    ),
    Cmd::new(
        "software acceptance set",
        "Sets the host acceptance level. This controls what VIBs will be allowed on a host.",
        &[
            "- level s! Specifies the acceptance level to set. Should be one of VMwareCertified / VMwareAccepted / PartnerSupported / CommunitySupported.",
        ],
        acceptance_set,
    ),
    Cmd::new(
        "software profile get",
        "Display the installed image profile",
        &["- rebooting-image f Displays information for the ESXi image which becomes active after a reboot."],
        profile_get,
    ),
    Cmd::new(
        "software sources vib list",
        "List all the VIBs from depots.",
        &[
            "d depot l Specifies full remote URLs of the depot index.xml or server file path pointing to an offline bundle .zip file.",
            "v viburl l Specifies one or more URLs to VIB packages.",
            "n vibname l Specifies VIBs from a depot.",
        ],
        sources_list,
    ),
];

const LEVELS: [(&str, &str); 4] = [
    ("CommunitySupported", "community"),
    ("PartnerSupported", "partner"),
    ("VMwareAccepted", "accepted"),
    ("VMwareCertified", "certified"),
];

fn rank(level: &str) -> usize {
    LEVELS.iter().position(|l| l.0 == level).unwrap_or(0)
}

fn short(level: &str) -> &'static str {
    LEVELS[rank(level)].1
}

fn image<'a>(ctx: &'a Ctx<'_, '_>, args: &Args) -> Option<&'a Image> {
    if args.has("rebooting-image") { ctx.state.pending.as_ref() } else { Some(&ctx.state.image) }
}

fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let newest = ctx.release() >= Release::V80;
    let Some(image) = image(ctx, args) else { return Reply::Table(Vec::new()) };
    let mut vibs: Vec<&Vib> = image.vibs.iter().collect();
    // Locker packages stand last, as in the recorded lists; the rest by name.
    vibs.sort_by(|a, b| (a.kind == "locker", &a.name).cmp(&(b.kind == "locker", &b.name)));
    Reply::Table(
        vibs.into_iter()
            .map(|v| {
                Rec::new("VIBSummaryExt")
                    .with("Name", &v.name)
                    .with("Version", &v.version)
                    .with("Vendor", &v.vendor)
                    .with("Acceptance Level", &v.level)
                    .with("Install Date", &v.installed)
                    .when(newest, "Platforms", "host")
                    .with("~ID", v.id())
                    .with("~Status", "")
            })
            .collect(),
    )
}

fn python(b: bool) -> &'static str {
    if b { "True" } else { "False" }
}

fn get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let newest = ctx.release() >= Release::V80;
    let Some(image) = image(ctx, args) else { return Reply::List(Vec::new()) };
    let wanted = args.all("vibname");
    if let Some(spec) = wanted.iter().find(|s| !image.vibs.iter().any(|v| matches(s, v))) {
        return no_match(spec);
    }
    Reply::List(
        image
            .vibs
            .iter()
            .filter(|v| wanted.is_empty() || wanted.iter().any(|s| matches(s, v)))
            .map(|v| {
                Rec::titled("VIBExt", v.id())
                    .with("Name", &v.name)
                    .with("Version", &v.version)
                    .with("Type", &v.kind)
                    .with("Vendor", &v.vendor)
                    .with("Acceptance Level", &v.level)
                    .with("Summary", &v.summary)
                    .with("Description", &v.description)
                    .with("ReferenceURLs", Vec::new())
                    .with("Creation Date", &v.created)
                    .with("Depends", &v.depends)
                    .with("Conflicts", &v.conflicts)
                    .with("Replaces", &v.replaces)
                    .with("Provides", &v.provides)
                    .with("Maintenance Mode Required", python(v.maintenance))
                    .with("Hardware Platforms Required", Vec::new())
                    .with("Live Install Allowed", python(v.live_install))
                    .with("Live Remove Allowed", python(v.live_remove))
                    .with("Stateless Ready", python(v.stateless))
                    .with("Overlay", python(v.overlay))
                    .with("Tags", &v.tags)
                    .with("Payloads", &v.payloads)
                    .when(newest, "Platforms", "host")
            })
            .collect(),
    )
}

/// One change of the image.
#[derive(Default)]
struct Change {
    add: Vec<Vib>,
    remove: Vec<Vib>,
    skip: Vec<Vib>,
}

fn ids(vibs: &[Vib]) -> Vec<String> {
    let mut all: Vec<String> = vibs.iter().map(Vib::id).collect();
    all.sort();
    all
}

/// The result block: the order of its lines changed with 8.0.
fn result(release: Release, title: &str, message: &str, reboot: bool, change: &Change) -> Reply {
    let rec = Rec::titled("InstallationResult", title).with("Message", message);
    let lists = |rec: Rec| {
        rec.with("VIBs Installed", ids(&change.add))
            .with("VIBs Removed", ids(&change.remove))
            .with("VIBs Skipped", ids(&change.skip))
    };
    Reply::One(if release >= Release::V80 {
        lists(rec).with("Reboot Required", reboot).with("DPU Results", "")
    } else {
        lists(rec.with("Reboot Required", reboot))
    })
}

/// Whether something in the image satisfies `name [relation version]`.
fn provided(image: &[Vib], need: &str) -> bool {
    let mut words = need.split_whitespace();
    let name = words.next().unwrap_or("");
    let (relation, version) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let fits = |have: &str| {
        let order = compare(have, version);
        match relation {
            "" => true,
            ">=" => order.is_ge(),
            ">>" | ">" => order.is_gt(),
            "<=" => order.is_le(),
            "<<" | "<" => order.is_lt(),
            _ => order.is_eq(),
        }
    };
    image.iter().any(|v| {
        (v.name == name && fits(&v.version))
            || v.provides.iter().any(|p| {
                let mut parts = p.split_whitespace();
                parts.next() == Some(name) && (relation.is_empty() || fits(parts.nth(1).unwrap_or("")))
            })
    })
}

fn after(image: &Image, change: &Change) -> Vec<Vib> {
    let gone = ids(&change.remove);
    image.vibs.iter().filter(|v| !gone.contains(&v.id())).chain(&change.add).cloned().collect()
}

/// Dependencies and conflicts of the image as it would be.
fn dependencies(image: &[Vib]) -> Option<Reply> {
    for vib in image {
        if let Some(need) = vib.depends.iter().find(|d| !provided(image, d)) {
            return Some(failed(
                "DependencyError",
                &format!(
                    "VIB {} requires {need}, but the requirement cannot be satisfied within the ImageProfile.",
                    vib.id()
                ),
                &[],
            ));
        }
        let others: Vec<Vib> = image.iter().filter(|o| o.name != vib.name).cloned().collect();
        if let Some(bad) = vib.conflicts.iter().find(|c| provided(&others, c)) {
            return Some(failed(
                "DependencyError",
                &format!("VIB {} conflicts with {bad} in the ImageProfile.", vib.id()),
                &[],
            ));
        }
    }
    None
}

/// Carries a change out, or says what it would do.
fn apply(ctx: &mut Ctx<'_, '_>, args: &Args, title: &str, change: Change) -> Reply {
    let release = ctx.release();
    if change.add.is_empty() && change.remove.is_empty() {
        let message = if args.has("dry-run") {
            "Dryrun only, host not changed. The following installers will be applied: []"
        } else {
            "Host is not changed."
        };
        return result(release, title, message, false, &change);
    }
    let live = !args.has("no-live-install")
        && change.add.iter().all(|v| v.live_install)
        && change.remove.iter().all(|v| v.live_remove || change.add.iter().any(|a| a.name == v.name && a.live_install));
    if args.has("dry-run") {
        let installers = if live { "[BootBankInstaller, LiveImageInstaller]" } else { "[BootBankInstaller]" };
        let message = format!("Dryrun only, host not changed. The following installers will be applied: {installers}");
        return result(release, title, &message, !live, &change);
    }
    if ctx.state.pending.is_some() {
        // Documented: skipped with a notice while an image waits for its reboot. The words are built.
        let skipped = Change { skip: change.add, ..Change::default() };
        return result(
            release,
            title,
            "Host is not changed. A previous change is waiting for a reboot.",
            true,
            &skipped,
        );
    }
    let needs = |list: &[Vib]| list.iter().filter(|v| v.maintenance).map(Vib::id).collect::<Vec<_>>();
    let (install, remove) = (needs(&change.add), needs(&change.remove));
    if live && !ctx.state.maintenance && !args.has("maintenance-mode") && (!install.is_empty() || !remove.is_empty()) {
        // Not recorded: class and words are from memory.
        return failed(
            "MaintenanceModeError",
            &format!(
                "MaintenanceMode is required to remove: [{}]; install: [{}].",
                remove.join(", "),
                install.join(", ")
            ),
            &[],
        );
    }
    let today = super::timestamp(ctx.call.now);
    let mut vibs = after(&ctx.state.image, &change);
    for vib in vibs.iter_mut().filter(|v| v.installed.is_empty()) {
        vib.installed = today[..10].to_owned();
    }
    let name = ctx.state.image.profile.trim_start_matches("(Updated) ").to_owned();
    let image = Image { profile: format!("(Updated) {name}"), vendor: ctx.state.fqdn(), modified: today, vibs };
    if live {
        ctx.state.image = image;
        adopt_modules(ctx.state);
        result(release, title, "Operation finished successfully.", false, &change)
    } else {
        ctx.state.pending = Some(image);
        let message =
            "The update completed successfully, but the system needs to be rebooted for the changes to be effective.";
        result(release, title, message, true, &change)
    }
}

/// Modules that a VIB of the image brings are known from then on.
pub(in super::super) fn adopt_modules(state: &mut HostState) {
    let names: Vec<String> = state.image.vibs.iter().flat_map(|v| v.modules.clone()).collect();
    for name in names {
        if !state.modules.iter().any(|m| m.name == name) {
            state.modules.push(Module { name, loaded: false, enabled: true, params: String::new(), present: true });
        }
    }
}

fn install_or_update(ctx: &mut Ctx<'_, '_>, args: &Args, only_updates: bool) -> Reply {
    if args.all("depot").is_empty() && args.all("viburl").is_empty() {
        return failed("ValueError", "At least one VIB URL or depot has to be specified.", &[]);
    }
    let found = match sources(ctx, args) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    let mut change = Change::default();
    let mut files = Vec::new();
    for file in found {
        let present: Vec<Vib> = ctx
            .state
            .image
            .vibs
            .iter()
            .filter(|v| {
                v.name == file.vib.name || file.vib.replaces.iter().any(|r| r.split(' ').next() == Some(&v.name))
            })
            .cloned()
            .collect();
        let same = present.iter().any(|v| v.name == file.vib.name && compare(&v.version, &file.vib.version).is_eq());
        let newer = present.iter().any(|v| v.name == file.vib.name && compare(&file.vib.version, &v.version).is_gt());
        if same || (only_updates && !newer) {
            change.skip.push(file.vib);
            continue;
        }
        change.remove.extend(present);
        change.add.push(file.vib.clone());
        files.push(file);
    }
    let release = ctx.release();
    if !args.has("no-sig-check") && !args.has("force") {
        let host = ctx.state.acceptance.clone();
        if let Some(low) = change.add.iter().find(|v| rank(&v.level) < rank(&host)) {
            // Recorded on 5.5 as a DependencyError; newer releases have a class of their own.
            let class = if release == Release::V60 { "DependencyError" } else { "AcceptanceConfigError" };
            return failed(
                class,
                &format!(
                    "VIB {}'s acceptance level is {}, which is not compliant with the ImageProfile acceptance level {}\nTo change the host acceptance level, use the 'esxcli software acceptance set' command.",
                    low.id(),
                    short(&low.level),
                    short(&host)
                ),
                &[],
            );
        }
    }
    if !args.has("force")
        && let Some(reply) = dependencies(&after(&ctx.state.image, &change))
    {
        return reply;
    }
    if !args.has("no-sig-check")
        && let Some(bad) = files.iter().find(|f| !f.signed && f.vib.level != "CommunitySupported")
    {
        return failed(
            "InstallationError",
            &format!("('{}', 'Could not find a trusted signer.')", bad.vib.id()),
            &[("vibs", format!("['{}']", bad.vib.id()))],
        );
    }
    if let Some((file, payload)) = files.iter().find_map(|f| Some((f, f.broken.as_ref()?))) {
        return failed(
            "InstallationError",
            &format!("('{0}', \"Payload {payload} of VIB {0} does not match its checksum.\")", file.vib.id()),
            &[("vibs", format!("['{}']", file.vib.id()))],
        );
    }
    apply(ctx, args, "Installation Result", change)
}

fn install(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    install_or_update(ctx, args, false)
}

fn update(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    install_or_update(ctx, args, true)
}

fn remove(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let mut change = Change::default();
    for spec in args.all("vibname") {
        match ctx.state.image.vibs.iter().find(|v| matches(spec, v)) {
            Some(vib) => change.remove.push(vib.clone()),
            None => return no_match(spec),
        }
    }
    if !args.has("force")
        && let Some(reply) = dependencies(&after(&ctx.state.image, &change))
    {
        return reply;
    }
    apply(ctx, args, "Removal Result", change)
}

fn acceptance_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    Reply::Say(ctx.state.acceptance.clone())
}

/// A level stricter than an installed VIB is refused (its words are not recorded).
fn acceptance_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let level = args.need("level");
    let Some(level) = LEVELS.iter().find(|l| l.0.eq_ignore_ascii_case(level)).map(|l| l.0) else {
        return failed("ValueError", &format!("Invalid acceptance level '{level}'."), &[]);
    };
    if let Some(low) = ctx.state.image.vibs.iter().find(|v| rank(&v.level) < rank(level)) {
        return failed(
            "AcceptanceConfigError",
            &format!(
                "VIB {}'s acceptance level is {}, which is not compliant with the ImageProfile acceptance level {}",
                low.id(),
                short(&low.level),
                short(level)
            ),
            &[],
        );
    }
    ctx.state.acceptance = level.to_owned();
    Reply::Say(format!("Host acceptance level changed to '{level}'."))
}

/// Recorded on 5.5: the name begins with `(Updated) ` after any change.
fn profile_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let Some(image) = image(ctx, args) else {
        return Reply::One(Rec::titled("ImageProfile", "No pending image profile available."));
    };
    let time =
        if image.modified.contains('T') { image.modified.clone() } else { format!("{}T00:00:00", image.modified) };
    Reply::One(
        Rec::titled("ImageProfile", image.profile.clone())
            .with("Name", &image.profile)
            .with("Vendor", &image.vendor)
            .with("Creation Time", &time)
            .with("Modification Time", &time)
            .with("Stateless Ready", "True")
            .with("Description", "")
            .with("VIBs", ids(&image.vibs)),
    )
}

fn sources_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let found = match sources(ctx, args) {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    Reply::Table(
        found
            .iter()
            .map(|f| {
                let old = ctx.state.image.vibs.iter().find(|v| v.name == f.vib.name);
                let status = match old.map(|o| compare(&f.vib.version, &o.version)) {
                    None => "New",
                    Some(std::cmp::Ordering::Greater) => "Update",
                    Some(std::cmp::Ordering::Less) => "Downgrade",
                    Some(std::cmp::Ordering::Equal) => "Installed",
                };
                Rec::new("VIBSummary")
                    .with("Name", &f.vib.name)
                    .with("Version", &f.vib.version)
                    .with("Vendor", &f.vib.vendor)
                    .with("Creation Date", &f.vib.created)
                    .with("Acceptance Level", &f.vib.level)
                    .with("Status", status)
            })
            .collect(),
    )
}
