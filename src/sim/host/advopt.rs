//! `vim-cmd hostsvc/advopt`: hostd's options, the VMkernel's under their dotted names, and what stands behind them.
//!
//! Some options are another face of something else: `Config.Etc.issue` and `Config.Etc.motd` of files, the two
//! switches for certificate checks of each other, `Syslog.global.*` of `esxcli system syslog config` and
//! `auditrecords`, which read them here.

use super::dump::{D, print};
use super::factory::tables;
use super::state::{HostState, KernelValue, Release};
use super::vimcmd::fault;
use super::{Answer, Call};

/// The file behind an option.
fn file_of(key: &str) -> Option<&'static str> {
    match key {
        "Config.Etc.issue" => Some("/etc/issue"),
        "Config.Etc.motd" => Some("/etc/motd"),
        _ => None,
    }
}

/// The value of an option of hostd, or of an advanced option of the VMkernel under its dotted name, or of a kernel
/// setting below `VMkernel.Boot.`, with the word for its type.
fn option(state: &HostState, call: &Call<'_>, key: &str) -> Option<(&'static str, String)> {
    if let Some(name) = key.strip_prefix("VMkernel.Boot.") {
        let setting = tables::kernel(name)?;
        let default = setting.default(state.release)?;
        let value = state.kernel.get(setting.name).map_or_else(|| default.to_owned(), |k| k.configured.clone());
        let kind = match setting.kind {
            "Bool" => "bool",
            "uint32" => "int",
            _ => "string",
        };
        return Some((kind, value));
    }
    if let Some(o) = tables::hostd(key) {
        let value = state.hostd_option(key)?;
        let value = match file_of(key) {
            Some(path) => std::fs::read_to_string(call.path(path)).unwrap_or_default(),
            None => value,
        };
        return Some((o.kind, value));
    }
    let path = format!("/{}", key.replacen('.', "/", 1));
    let o = tables::advanced(&path)?;
    Some((if o.integer { "long" } else { "string" }, state.advanced(o.path)?))
}

fn object(key: &str, kind: &str, value: String) -> D {
    let value = match kind {
        "bool" => D::Raw(value.to_ascii_lowercase()),
        "string" => D::Text(value),
        _ => D::Raw(value),
    };
    D::Obj("vim.option.OptionValue", vec![("key", D::text(key)), ("value", value)])
}

fn unknown(key: &str) -> Answer {
    fault("vim.fault.InvalidName", &format!("The name '{key}' is invalid."))
}

/// `advopt/view KEY`.
pub(super) fn view(state: &HostState, call: &Call<'_>, args: &[&str]) -> Answer {
    let Some(key) = args.first() else {
        return Answer::coded("Insufficient arguments.\nUsage: advopt/view key\n", 1);
    };
    match option(state, call, key) {
        Some((kind, value)) => {
            let list = D::List("vim.option.OptionValue", vec![object(key, kind, value)]);
            Answer::out(print(state.release, &list))
        }
        None => unknown(key),
    }
}

/// Every option that the release has, sorted, with its present value.
fn keys() -> Vec<String> {
    let mut keys: Vec<String> = tables::HOSTD.iter().map(|o| o.key.to_owned()).collect();
    keys.extend(tables::ADVANCED.iter().map(|o| o.path[1..].replacen('/', ".", 1)));
    keys.extend(tables::KERNEL.iter().map(|o| format!("VMkernel.Boot.{}", o.name)));
    keys.sort();
    keys
}

/// The list that `advopt/settings` prints and that is part of hostconfig. That it holds hostd's own options on
/// every release is not verified.
pub(super) fn all(state: &HostState, call: &Call<'_>) -> D {
    let items = keys().into_iter().filter_map(|key| {
        let (kind, value) = option(state, call, &key)?;
        Some(object(&key, kind, value))
    });
    D::List("vim.option.OptionValue", items.collect())
}

/// `advopt/options`: the definitions. The form follows the vSphere API, not verified.
pub(super) fn definitions(state: &HostState, call: &Call<'_>) -> Answer {
    let items = keys().into_iter().filter_map(|key| {
        let (kind, _) = option(state, call, &key)?;
        let advanced = tables::advanced(&format!("/{}", key.replacen('.', "/", 1)));
        let default = match (advanced, tables::hostd(&key)) {
            (Some(o), _) => o.default(state.release),
            (_, Some(o)) => o.default(state.release),
            _ => key.strip_prefix("VMkernel.Boot.").and_then(tables::kernel).and_then(|o| o.default(state.release)),
        }?;
        let mut fields = vec![("valueIsReadonly", D::raw(key == "ScratchConfig.CurrentScratchLocation"))];
        let kind = match kind {
            "bool" => {
                fields.push(("supported", D::raw(true)));
                fields.push(("defaultValue", D::raw(default.to_ascii_lowercase())));
                "vim.option.BoolOption"
            }
            "string" => {
                fields.push(("defaultValue", D::text(default)));
                "vim.option.StringOption"
            }
            number => {
                let (min, max) = advanced.map_or((0, i64::from(i32::MAX)), |o| (o.min, o.max));
                fields.extend([("min", D::raw(min)), ("max", D::raw(max)), ("defaultValue", D::raw(default))]);
                if number == "long" { "vim.option.LongOption" } else { "vim.option.IntOption" }
            }
        };
        let about = advanced.map_or_else(|| "Simulated".to_owned(), |o| o.description.clone());
        Some(D::Obj(
            "vim.option.OptionDef",
            vec![
                ("label", D::text(key.rsplit('.').next().unwrap_or_default())),
                ("summary", D::text(about)),
                ("key", D::text(&key)),
                ("optionType", D::Obj(kind, fields)),
            ],
        ))
    });
    Answer::out(print(state.release, &D::List("vim.option.OptionDef", items.collect())))
}

fn wrong(key: &str) -> Answer {
    fault("vmodl.fault.InvalidArgument", &format!("A specified parameter was not correct: {key}"))
}

/// `advopt/update KEY TYPE VALUE`. A type word that is not the option's is a fault: that it is one is documented,
/// its words are built. That hostd tells `int` from `long` (its own options are int, the VMkernel's long) is not
/// verified.
pub(super) fn update(state: &mut HostState, call: &Call<'_>, args: &[&str]) -> Answer {
    let [key, kind, rest @ ..] = args else {
        return Answer::coded("Insufficient arguments.\nUsage: advopt/update key type value\n", 1);
    };
    let value = rest.first().copied().unwrap_or("");
    let Some((wanted, _)) = option(state, call, key) else { return unknown(key) };
    let fits = *kind == wanted
        && match wanted {
            "int" | "long" => value.parse::<i64>().is_ok(),
            "bool" => matches!(value.to_ascii_lowercase().as_str(), "true" | "false"),
            _ => true,
        };
    if !fits || *key == "ScratchConfig.CurrentScratchLocation" {
        return wrong(key);
    }
    if let Some(name) = key.strip_prefix("VMkernel.Boot.") {
        let default = tables::kernel(name).and_then(|k| k.default(state.release)).unwrap_or("").to_owned();
        let name = tables::kernel(name).map_or(name, |k| k.name).to_owned();
        let entry =
            state.kernel.entry(name).or_insert_with(|| KernelValue { configured: default.clone(), runtime: default });
        entry.configured = value.to_owned();
        state.forget_kernel_defaults();
        return Answer::default();
    }
    if tables::hostd(key).is_some() {
        return match set(state, call, key, value) {
            Ok(()) => {
                // hostd tells the log daemon at once: only esxcli leaves that to a second command.
                if key.starts_with("Syslog.") {
                    state.guard.syslog_running = super::cmd::syslog::configured(state);
                }
                Answer::default()
            }
            Err(_) => wrong(key),
        };
    }
    let path = format!("/{}", key.replacen('.', "/", 1));
    match super::cmd::settings::change(state, &path, Some(value)) {
        Ok(_) => Answer::default(),
        Err(_) => wrong(key),
    }
}

/// Gives one of hostd's options a value, and its other faces too.
///
/// # Errors
/// What is documented for audit records: the storage can grow and not shrink (4 to 1000 MiB), and its directory
/// cannot change while it is in use. The words are not recorded.
pub(super) fn set(state: &mut HostState, call: &Call<'_>, key: &str, value: &str) -> Result<(), String> {
    let now = state.hostd_option(key).unwrap_or_default();
    match key {
        "Syslog.global.auditRecord.storageCapacity" => {
            let (new, old) = (value.parse::<i64>().unwrap_or(0), now.parse::<i64>().unwrap_or(0));
            if !(4..=1000).contains(&new) {
                return Err(format!(
                    "Invalid audit record storage capacity {value}: it must be between 4 and 1000 MiB"
                ));
            }
            if new < old {
                return Err(format!("The audit record storage capacity cannot be reduced from {old} to {new} MiB"));
            }
        }
        "Syslog.global.auditRecord.storageDirectory"
            if value != now
                && state.hostd_option("Syslog.global.auditRecord.storageEnable").as_deref() == Some("True") =>
        {
            return Err(
                "The audit record storage directory cannot be changed while audit record storage is enabled".into()
            );
        }
        _ => {}
    }
    if let Some(path) = file_of(key) {
        return std::fs::write(call.path(path), value).map_err(|error| format!("Unable to write {path}: {error}"));
    }
    let mut keys = vec![key];
    if state.release >= Release::V70 {
        const CHECKS: [&str; 2] = ["Syslog.global.logCheckSSLCerts", "Syslog.global.certificate.checkSSLCerts"];
        keys.extend(CHECKS.into_iter().filter(|other| CHECKS.contains(&key) && *other != key));
    }
    for key in keys {
        let Some(option) = tables::hostd(key) else { continue };
        let default = option.default(state.release).unwrap_or("");
        let value = match (option.kind, value.to_ascii_lowercase().as_str()) {
            ("bool", "true") => "True",
            ("bool", _) => "False",
            _ => value,
        };
        if value == default {
            state.hostd.remove(key);
        } else {
            state.hostd.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(())
}
