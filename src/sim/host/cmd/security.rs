//! TLS profile, FIPS mode of the reverse proxy, key persistence, sealed configuration, trusted boot.
//!
//! The three lines of `settings encryption get` were seen on a host without a TPM; labels elsewhere are those of
//! the properties that hardening material reads. The words of every refusal are the simulator's own: not verified.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::hardening::TLS;
use super::super::state::Release;

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("hardware trustedboot get", "Get information about trusted boot.", &[], trustedboot),
    Cmd::new("system security fips140 rhttpproxy get", "Get FIPS 140 mode of rhttpproxy.", &[], proxy_get)
        .since(Release::V67)
        .until(Release::V70),
    Cmd::new(
        "system security fips140 rhttpproxy set",
        "Set FIPS 140 mode of rhttpproxy.",
        &["e enable b! Enable or disable FIPS 140 mode."],
        proxy_set,
    )
    .since(Release::V67)
    .until(Release::V70),
    Cmd::new("system security keypersistence get", "Get key persistence state.", &[], keys_get).since(Release::V70),
    Cmd::new("system security keypersistence enable", "Enable key persistence.", &[], keys_enable).since(Release::V70),
    Cmd::new(
        "system security keypersistence disable",
        "Disable key persistence.",
        &["r remove-all-stored-keys f Remove all stored keys."],
        keys_disable,
    )
    .since(Release::V70),
    Cmd::new(
        "system tls server get",
        "Get the TLS settings of this host's servers.",
        &[
            "c show-current-boot-profile f Show the profile of this boot.",
            "d show-profile-defaults f Show the values that the profile stands for.",
        ],
        tls_get,
    )
    .since(Release::V80),
    Cmd::new(
        "system tls server set",
        "Set the TLS profile of this host's servers.",
        &["p profile s! Name of the profile."],
        tls_set,
    )
    .since(Release::V80),
    Cmd::new("system settings encryption get", "Get the encryption mode and policy.", &[], encryption_get)
        .since(Release::V70),
    Cmd::new(
        "system settings encryption set",
        "Set the encryption mode and policy.",
        &[
            "m mode s Encryption mode.",
            "e require-exec-installed-only b Require executables from installed VIBs only.",
            "s require-secure-boot b Require UEFI Secure Boot.",
        ],
        encryption_set,
    )
    .since(Release::V70),
    Cmd::new("system settings encryption recovery list", "List recovery keys.", &[], recovery).since(Release::V70),
];

fn enabled(kind: &'static str, on: bool) -> Reply {
    Reply::One(Rec::new(kind).with("Enabled", on))
}

fn trustedboot(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let newest = ctx.release() >= Release::V67;
    Reply::One(Rec::new("TrustedbootGet").with("Drtm Enabled", false).when(newest, "Tpm Present", ctx.state.guard.tpm))
}

fn proxy_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    enabled("Fips140Get", ctx.state.guard.fips_proxy)
}

fn proxy_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    ctx.state.guard.fips_proxy = args.bool("enable").unwrap_or(false);
    Reply::Nothing
}

fn keys_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    enabled("KeyPersistenceGet", ctx.state.guard.key_persistence)
}

/// The keys are kept in the TPM (documented).
fn keys_enable(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    if !ctx.state.guard.tpm {
        return Reply::fault("Key persistence requires a TPM 2.0, and this host has none.");
    }
    ctx.state.guard.key_persistence = true;
    Reply::Nothing
}

fn keys_disable(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    ctx.state.guard.key_persistence = false;
    Reply::Nothing
}

/// The profile that is configured, or with the option the one that this boot runs with.
fn tls_get(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let guard = &ctx.state.guard;
    let name = if args.has("show-current-boot-profile") { &guard.tls_boot } else { &guard.tls };
    let values = TLS.iter().find(|p| p[0] == name).filter(|_| args.has("show-profile-defaults"));
    let cell = |n: usize| values.map_or("", |v| v[n]);
    Reply::One(
        Rec::new("TlsServerGet")
            .with("Profile", name)
            .with("Cipher List", cell(1))
            .with("Cipher Suite", cell(2))
            .with("Groups", cell(3))
            .with("Protocol Versions", cell(4))
            .with("Reboot Required", guard.tls != guard.tls_boot),
    )
}

fn tls_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let name = args.need("profile");
    if !TLS.iter().any(|p| p[0] == name) {
        return Reply::fault(format!("Invalid TLS profile {name}"));
    }
    if !ctx.state.maintenance {
        return Reply::fault("The host must be in maintenance mode to change the TLS profile.");
    }
    ctx.state.guard.tls = name.to_owned();
    Reply::Nothing
}

fn encryption_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let sealed = &ctx.state.guard.encryption;
    Reply::One(
        Rec::new("EncryptionGet")
            .with("Mode", &sealed.mode)
            .with("Require Executables Only From Installed VIBs", sealed.installed_only)
            .with("Require Secure Boot", sealed.secure_boot),
    )
}

/// Documented: TPM mode needs a TPM and is not left again; what is required is sealed by the TPM, so it needs the
/// mode; installed VIBs only needs the kernel's option first. Secure Boot is not asked for here: without it in the
/// firmware it is the next boot that fails.
fn encryption_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let mut next = ctx.state.guard.encryption.clone();
    if let Some(mode) = args.get("mode") {
        next.mode = match mode.to_ascii_uppercase().as_str() {
            "TPM" if !ctx.state.guard.tpm => {
                return Reply::fault("Failed to set the encryption mode: this host has no TPM 2.0.");
            }
            "NONE" if next.mode == "TPM" => {
                return Reply::fault("Failed to set the encryption mode: TPM mode cannot be left.");
            }
            word @ ("TPM" | "NONE") => word.to_owned(),
            _ => return Reply::fault(format!("Invalid encryption mode {mode}")),
        };
    }
    next.secure_boot = args.bool("require-secure-boot").unwrap_or(next.secure_boot);
    next.installed_only = args.bool("require-exec-installed-only").unwrap_or(next.installed_only);
    if (next.secure_boot || next.installed_only) && next.mode != "TPM" {
        return Reply::fault("Failed to set the encryption policy: the encryption mode is not TPM.");
    }
    let kernel = ctx.state.kernel.get("execInstalledOnly").is_some_and(|v| v.runtime.eq_ignore_ascii_case("true"));
    if next.installed_only && !kernel {
        return Reply::fault(
            "Failed to set the encryption policy: the kernel option execInstalledOnly is not in force.",
        );
    }
    ctx.state.guard.encryption = next;
    Reply::Nothing
}

/// A made-up key of the form that the vendor's documents show.
fn recovery(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    if ctx.state.guard.encryption.mode != "TPM" {
        return Reply::Table(Vec::new());
    }
    let digits: Vec<String> =
        ctx.state.uuid.bytes().take(16).map(|b| format!("{:06}", u32::from(b) * 7919 % 1_000_000)).collect();
    Reply::Table(vec![
        Rec::new("RecoveryKey")
            .with("Recovery ID", format!("{{{}}}", ctx.state.uuid.to_uppercase()))
            .with("Key", digits.join("-")),
    ])
}
