//! `esxcli system settings`: advanced options of the VMkernel and kernel (boot) settings.

use super::super::esxcli::args::{Args, boolean};
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::tables::{ADVANCED, Advanced, KERNEL, advanced, kernel};
use super::super::state::{HostState, KernelValue, Release};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new(
        "system settings advanced list",
        "List the advanced options available from the VMkernel.",
        &[
            "d delta f Only display options whose values differ from their default.",
            "o option s Only get the information for a single VMkernel advanced option.",
            "t tree s Limit the list of advanced option to a specific sub tree.",
        ],
        list,
    ),
    Cmd::new(
        "system settings advanced set",
        "Set the value of an advanced option.",
        &[
            "d default f Reset the option to its default value.",
            "i int-value i If the option is an integer value use this option.",
            "o option s! The name of the option to set the value of. Example: \"/Misc/HostName\"",
            "s string-value s If the option is a string use this option.",
        ],
        set,
    ),
    Cmd::new(
        "system settings kernel list",
        "List VMkernel kernel settings.",
        &[
            "d delta f Only display the settings whose values differ from their default.",
            "o option s Only get the information for a single VMkernel setting.",
        ],
        kernel_list,
    ),
    Cmd::new(
        "system settings kernel set",
        "Set a VMkernel setting.",
        &["s setting s! The name of the VMkernel setting to set.", "v value s! Value of the VMkernel setting to set."],
        kernel_set,
    ),
];

fn record(state: &HostState, option: &Advanced, default: &str, value: &str) -> Rec {
    let newest = state.release >= Release::V80;
    let rec = Rec::new("SettingsAdvancedOption").with("Path", option.path);
    let rec = if option.integer {
        rec.with("Type", "integer")
            .with("Int Value", value.parse::<i64>().unwrap_or(0))
            .with("Default Int Value", default.parse::<i64>().unwrap_or(0))
            .with("Min Value", option.min)
            .with("Max Value", option.max)
            .with("String Value", "")
            .with("Default String Value", "")
            .with("Valid Characters", "")
    } else {
        rec.with("Type", "string")
            .with("Int Value", 0_i64)
            .with("Default Int Value", 0_i64)
            .with("Min Value", 0_i64)
            .with("Max Value", 0_i64)
            .with("String Value", value)
            .with("Default String Value", default)
            .with("Valid Characters", "*")
    };
    rec.with("Description", &option.description)
        .when(newest, "Host Specific", option.path == "/Misc/HostName")
        .when(newest, "Impact", "none")
}

/// Recorded in audit material: `Unable to find option NAME`; newer builds print a block with NoMatchError.
fn unknown(release: Release, name: &str) -> Reply {
    let text = format!("Unable to find option {}", name.rsplit('/').next().unwrap_or(name));
    if release >= Release::V80 { Reply::fault(format!(" [NoMatchError]\n {text}")) } else { Reply::Fault(text) }
}

fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    if let Some(wanted) = args.get("option") {
        let Some((option, default)) = advanced(wanted).and_then(|o| Some((o, o.default(release)?))) else {
            return unknown(release, wanted);
        };
        let value = ctx.state.advanced(option.path).unwrap_or_default();
        return Reply::List(vec![record(ctx.state, option, default, &value)]);
    }
    let tree = args.get("tree").map(|t| format!("{}/", t.trim_end_matches('/').to_ascii_lowercase()));
    let mut out = Vec::new();
    for option in ADVANCED.iter() {
        let Some(default) = option.default(release) else { continue };
        if tree.as_ref().is_some_and(|t| !option.path.to_ascii_lowercase().starts_with(t.as_str())) {
            continue;
        }
        let value = ctx.state.advanced(option.path).unwrap_or_default();
        if args.has("delta") && value == default {
            continue;
        }
        out.push(record(ctx.state, option, default, &value));
    }
    Reply::List(out)
}

/// Changes an advanced option. `text` is `None` for its default.
///
/// # Errors
/// The message for an unknown option, or a value that does not fit (its words are not recorded).
pub(in super::super) fn change(state: &mut HostState, path: &str, text: Option<&str>) -> Result<String, String> {
    let found = advanced(path).and_then(|o| Some((o, o.default(state.release)?)));
    let Some((option, default)) = found else {
        return Err(format!("Unable to find option {}", path.rsplit('/').next().unwrap_or(path)));
    };
    let value = text.unwrap_or(default);
    if option.integer {
        match value.parse::<i64>() {
            Err(_) => return Err(format!("Invalid value for integer option {}: {value}", option.path)),
            Ok(n) if n < option.min || n > option.max => {
                return Err(format!(
                    "Unable to set value of {}: {n} is out of range, valid values are {} to {}",
                    option.path, option.min, option.max
                ));
            }
            Ok(_) => {}
        }
    }
    if option.path == "/Misc/HostName" {
        let (host, domain) = value.split_once('.').unwrap_or((value, ""));
        state.host = host.to_owned();
        state.domain = domain.to_owned();
    } else if value == default {
        state.advanced.remove(option.path);
    } else {
        state.advanced.insert(option.path.to_owned(), value.to_owned());
    }
    Ok(value.to_owned())
}

fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    let path = args.need("option");
    let Some(option) = advanced(path).filter(|o| o.default(release).is_some()) else { return unknown(release, path) };
    let value = match (args.has("default"), args.get("int-value"), args.get("string-value")) {
        (true, None, None) => None,
        (false, Some(n), None) if option.integer => Some(n),
        (false, None, Some(s)) if !option.integer => Some(s),
        (false, None, None) => return Reply::fault("A value or --default has to be given"),
        (false, Some(_), None) => {
            return Reply::fault(format!("Option {} is a string option: use --string-value", option.path));
        }
        (false, None, Some(_)) => {
            return Reply::fault(format!("Option {} is an integer option: use --int-value", option.path));
        }
        _ => return Reply::fault("Only one of --default, --int-value and --string-value can be given"),
    };
    match change(ctx.state, path, value) {
        Ok(_) => Reply::Nothing,
        Err(text) => Reply::Fault(text),
    }
}

/// Column order: Description third up to 6.0 (recorded on 5.5), last from 6.5 (documented).
fn kernel_list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    let mut rows = Vec::new();
    for setting in KERNEL.iter() {
        let Some(default) = setting.default(release) else { continue };
        if args.get("option").is_some_and(|o| !o.eq_ignore_ascii_case(setting.name)) {
            continue;
        }
        let value = ctx
            .state
            .kernel
            .get(setting.name)
            .cloned()
            .unwrap_or_else(|| KernelValue { configured: default.to_owned(), runtime: default.to_owned() });
        if args.has("delta") && value.configured.eq_ignore_ascii_case(default) && value.runtime == default {
            continue;
        }
        let early = release == Release::V60;
        rows.push(
            Rec::new("KernelSetting")
                .with("Name", setting.name)
                .with("Type", setting.kind)
                .when(early, "Description", &setting.description)
                .with("Configured", value.configured)
                .with("Runtime", value.runtime)
                .with("Default", default)
                .when(!early, "Description", &setting.description),
        );
    }
    match args.get("option") {
        Some(name) if rows.is_empty() => Reply::fault(format!("Invalid option: {name}")),
        _ => Reply::Table(rows),
    }
}

fn kernel_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let release = ctx.release();
    let (name, value) = (args.need("setting"), args.need("value"));
    let Some((setting, default)) = kernel(name).and_then(|k| Some((k, k.default(release)?))) else {
        return Reply::fault(format!("Invalid option: {name}"));
    };
    let fits = match setting.kind {
        "Bool" => boolean(value).is_some(),
        "uint32" => value.parse::<u32>().is_ok(),
        _ => true,
    };
    if !fits {
        return Reply::fault(format!(
            "Invalid value '{value}' for kernel setting {} of type {}",
            setting.name, setting.kind
        ));
    }
    let entry = ctx
        .state
        .kernel
        .entry(setting.name.to_owned())
        .or_insert_with(|| KernelValue { configured: default.to_owned(), runtime: default.to_owned() });
    entry.configured = value.to_owned();
    ctx.state.forget_kernel_defaults();
    Reply::Nothing
}
