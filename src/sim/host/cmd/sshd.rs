//! sshd's settings: the file, `esxcli system ssh server config` on it (8.0), FIPS mode, and what `sshd -T` makes of it.

use super::super::esxcli::args::Args;
use super::super::esxcli::model::{Rec, Reply};
use super::super::esxcli::{Cmd, Ctx};
use super::super::factory::hardening::SSHD;
use super::super::state::{HostState, Release};
use super::super::{Answer, Call};

pub(in super::super) const COMMANDS: &[Cmd] = &[
    Cmd::new("system ssh server config list", "Print the SSH server configuration.", &["k key s Filter by key"], list)
        .since(Release::V80),
    Cmd::new(
        "system ssh server config set",
        "Update the SSH server configuration.",
        &["k key s! sshd config key.", "v value s sshd config value.", "r reset f Reset to the default"],
        set,
    )
    .since(Release::V80),
    Cmd::new("system security fips140 ssh get", "Get FIPS 140 mode of ssh.", &[], fips_get).since(Release::V67),
    Cmd::new(
        "system security fips140 ssh set",
        "Set FIPS 140 mode of ssh.",
        &["e enable b! Enable or disable FIPS 140 mode."],
        fips_set,
    )
    .since(Release::V67),
];

const FILE: &str = "/etc/ssh/sshd_config";

fn file(state: &HostState, call: &Call<'_>) -> String {
    std::fs::read_to_string(call.path(FILE)).unwrap_or_else(|_| state.sshd_config())
}

/// Keyword in lower case and value of a line, `None` for comments and empty lines.
fn pair(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let at = line.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(line.len());
    let value = line[at..].trim_start_matches(|c: char| c.is_whitespace() || c == '=').trim_end();
    Some((line[..at].to_ascii_lowercase(), value.trim_matches('"').to_owned()))
}

/// The lines that hold for everybody: those before the first `Match` block.
fn global(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.lines().filter_map(pair).take_while(|(key, _)| key != "match")
}

/// The value of a keyword: the first line that has it wins (sshd_config(5)).
pub(in super::super) fn first(text: &str, key: &str) -> Option<String> {
    global(text).find(|(k, _)| k.eq_ignore_ascii_case(key)).map(|(_, value)| value)
}

/// A table of key and value; a key that is not in the file is not listed. The file is where it is kept.
fn list(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    Reply::Table(
        file(ctx.state, ctx.call)
            .lines()
            .filter_map(pair)
            .filter(|(k, _)| args.get("key").is_none_or(|w| w.eq_ignore_ascii_case(k)))
            .map(|(k, v)| Rec::new("SshServerConfig").with("Key", k).with("Value", v))
            .collect(),
    )
}

/// The file with another value of a keyword: its first line is changed in place, others of it go, and `None` brings
/// the release's own lines back.
fn changed(old: &str, factory: &str, key: &str, value: Option<&str>) -> String {
    let is_key = |line: &&str| pair(line).is_some_and(|(k, _)| k == key);
    let mut new: Vec<String> = match value {
        Some(value) => vec![format!("{key} {value}")],
        None => factory.lines().filter(is_key).map(str::to_owned).collect(),
    };
    let mut out: Vec<String> = Vec::new();
    for line in old.lines() {
        if is_key(&line) {
            out.append(&mut new);
        } else {
            out.push(line.to_owned());
        }
    }
    // sshd reads the first line that matches, and nothing global after a Match block.
    let end = out.iter().position(|l| pair(l).is_some_and(|(k, _)| k == "match")).unwrap_or(out.len());
    out.splice(end..end, new);
    out.join("\n") + "\n"
}

fn write(ctx: &mut Ctx<'_, '_>, key: &str, value: Option<&str>) -> Reply {
    let text = changed(&file(ctx.state, ctx.call), &ctx.state.sshd_config(), key, value);
    match std::fs::write(ctx.call.path(FILE), text) {
        Ok(()) => Reply::Nothing,
        Err(error) => Reply::fault(format!("Unable to write sshd_config: {error}")),
    }
}

/// That `--reset` takes a value away again is not verified; nor is what is refused.
fn set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let key = args.need("key").to_ascii_lowercase();
    let known = SSHD.iter().any(|(k, _)| *k == key) || first(&ctx.state.sshd_config(), &key).is_some();
    if !known || ["match", "include"].contains(&key.as_str()) {
        return Reply::fault(format!("Invalid key '{key}'"));
    }
    match (args.has("reset"), args.get("value")) {
        (true, None) => write(ctx, &key, None),
        (false, Some(value)) if !value.contains('\n') => write(ctx, &key, Some(value)),
        _ => Reply::fault("Either a value or --reset has to be given"),
    }
}

fn fips_get(ctx: &mut Ctx<'_, '_>, _: &Args) -> Reply {
    let on = first(&file(ctx.state, ctx.call), "fipsmode").is_some_and(|v| v.eq_ignore_ascii_case("yes"));
    Reply::One(Rec::new("Fips140Get").with("Enabled", on))
}

fn fips_set(ctx: &mut Ctx<'_, '_>, args: &Args) -> Reply {
    let word = if args.bool("enable").unwrap_or(false) { "yes" } else { "no" };
    // The keyword as the release's own file writes it.
    let old = file(ctx.state, ctx.call);
    let name = if ctx.release() >= Release::V80 { "fipsmode" } else { "FipsMode" };
    let text = changed(&old, "", "fipsmode", Some(word)).replace("fipsmode ", &format!("{name} "));
    match std::fs::write(ctx.call.path(FILE), text) {
        Ok(()) => Reply::Nothing,
        Err(error) => Reply::fault(format!("Unable to write sshd_config: {error}")),
    }
}

/// `sshd -T`: every keyword in lower case with the value that holds. `sshd -t` only checks. Other calls start a
/// daemon on a real host and are refused here.
pub(in super::super) fn program(state: &mut HostState, call: &Call<'_>) -> Answer {
    let letters: String = call.argv.iter().skip(1).filter_map(|a| a.strip_prefix('-')).collect();
    let text = file(state, call);
    let mut errors = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let Some((key, value)) = pair(line) else { continue };
        if key == "match" {
            break;
        }
        let old = [
            "useprivilegeseparation",
            "protocol",
            "rsaauthentication",
            "kerberosauthentication",
            "gssapiauthentication",
        ];
        if !SSHD.iter().any(|(k, _)| *k == key) && !old.contains(&key.as_str()) {
            errors.push(format!(
                "{FILE}: line {}: Bad configuration option: {}",
                n + 1,
                line.split_whitespace().next().unwrap_or("")
            ));
        } else if value.is_empty() && key != "acceptenv" {
            errors.push(format!("{FILE} line {}: missing argument.", n + 1));
        }
    }
    if !errors.is_empty() {
        errors.push(format!("{FILE}: terminating, {} bad configuration options", errors.len()));
        return Answer::err(errors.join("\n") + "\n", 255);
    }
    if letters.contains('t') {
        return Answer::default();
    }
    if !letters.contains('T') {
        return Answer::err("sshd re-exec requires execution with an absolute path\n", 255);
    }
    let mut out = String::new();
    let mut seen = std::collections::BTreeSet::new();
    for (key, default) in SSHD.iter() {
        let many = default.starts_with('*');
        if many && !seen.insert(*key) && global(&text).any(|(k, _)| k == *key) {
            continue;
        }
        let mut values: Vec<String> =
            global(&text).filter(|(k, v)| k == key && !v.is_empty()).map(|(_, v)| v).collect();
        if !many {
            values.truncate(1);
        }
        if values.is_empty() {
            values.extend(Some(default.trim_start_matches('*').to_owned()).filter(|d| !d.is_empty() && d != "-"));
        }
        for value in values {
            out.push_str(&format!("{key} {}\n", shown(key, &value)));
        }
    }
    Answer::out(out)
}

/// sshd prints a choice in lower case and a facility in upper case, whatever the file says.
fn shown(key: &str, value: &str) -> String {
    match key {
        "loglevel" | "syslogfacility" => value.to_ascii_uppercase(),
        _ if ["yes", "no", "none", "any"].contains(&value.to_ascii_lowercase().as_str()) => value.to_ascii_lowercase(),
        _ => value.to_owned(),
    }
}
