//! Where a network's things live (the machine's own network or a namespace), how programs are run there, and
//! which names are possible.

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::NetError;

/// The most bytes of an interface's name (IFNAMSIZ of Linux is 16 with its zero).
const MAX_INTERFACE_NAME: usize = 15;
/// The most bytes of a unix socket's path: `sun_path` of Linux has 108 with its zero.
const MAX_SOCKET_PATH: usize = 107;
/// Where `ip netns` keeps the names of namespaces.
const NETNS_DIR: &str = "/run/netns";

/// Where things live and whose they are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The lab: its name is the sign on everything that is made.
    pub lab: String,
    /// The network namespace in which it all lives; none: the machine's own network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
}

impl Place {
    /// The machine's own network.
    pub fn host(lab: impl Into<String>) -> Self {
        Self { lab: lab.into(), netns: None }
    }

    /// A named namespace.
    pub fn netns(lab: impl Into<String>, netns: impl Into<String>) -> Self {
        Self { lab: lab.into(), netns: Some(netns.into()) }
    }

    /// The sign on interfaces: `esxprep:<lab>`.
    pub fn sign(&self) -> String {
        format!("esxprep:{}", self.lab)
    }

    /// Whether lab and namespace have possible names.
    pub fn check(&self) -> Result<(), NetError> {
        check_lab_name(&self.lab)?;
        self.netns.as_deref().map_or(Ok(()), |name| check_word("a network namespace", name, 64))
    }

    /// Whether the namespace is there (the machine's own network always is).
    pub fn exists(&self) -> bool {
        self.netns.as_deref().is_none_or(|name| is_namespace(&Path::new(NETNS_DIR).join(name)))
    }

    /// What to write before a program so that it runs in the namespace.
    pub fn prefix(&self) -> Vec<String> {
        self.netns.iter().flat_map(|n| ["ip", "netns", "exec", n].map(str::to_owned)).collect()
    }

    /// Runs `ip` in the namespace and gives its standard output.
    pub(super) fn ip(&self, args: &[&str]) -> Result<Vec<u8>, NetError> {
        let mut argv: Vec<&str> = Vec::new();
        if let Some(netns) = &self.netns {
            argv.extend(["-n", netns]);
        }
        argv.extend(args);
        run("ip", &argv, None)
    }

    /// Waits for what a killed run of this lab had begun.
    pub(super) fn settle(&self) {
        super::proc::settle(&["ip"], &self.sign());
    }

    /// Runs several `ip` commands in order in one process; the first that fails ends it. Names have been checked
    /// to hold no blank and no line feed. The lab's sign is one argument more, which `ip` does not look at: so
    /// [`Place::settle`] finds what a killed run had begun.
    pub(super) fn ip_batch(&self, lines: &[String]) -> Result<(), NetError> {
        let mut argv: Vec<&str> = Vec::new();
        if let Some(netns) = &self.netns {
            argv.extend(["-n", netns]);
        }
        let sign = self.sign();
        argv.extend(["-batch", "-", &sign]);
        run("ip", &argv, Some(&(lines.join("\n") + "\n"))).map(drop)
    }
}

/// The argument vector of a program that shall run in the place (`ip netns exec NAME` before it where needed).
pub fn program_argv(place: &Place, program: &str, args: &[String]) -> Vec<String> {
    let mut argv = place.prefix();
    argv.push(program.to_owned());
    argv.extend(args.iter().cloned());
    argv
}

/// Whether a path is a namespace that `ip netns` made. A run killed within `ip netns add` leaves an empty file.
pub(super) fn is_namespace(path: &Path) -> bool {
    /// NSFS_MAGIC of linux/magic.h.
    const NSFS: i64 = 0x6e73_6673;
    #[allow(clippy::unnecessary_cast)] // its type differs by architecture
    rustix::fs::statfs(path).is_ok_and(|fs| fs.f_type as i64 == NSFS)
}

/// Where the name of a namespace is.
pub(super) fn netns_path(name: &str) -> std::path::PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// A name for an interface that does not bear its sign yet: of this lab and this interface alone.
pub(super) fn staging_name(lab: &str, name: &str) -> String {
    let hash = Sha256::digest(format!("{lab}\n{name}"));
    let hex: String = hash.iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("ep{hex}")
}

/// Whether an interface can have this name.
pub fn check_interface_name(name: &str) -> Result<(), NetError> {
    check_word("an interface", name, MAX_INTERFACE_NAME)
}

/// A name for an interface (or a port of esxprep's switch) of a lab: the parts joined by `-` where that fits, else
/// cut and with a piece of their hash behind, so that different parts give different names.
pub fn interface_name(parts: &[&str]) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let joined = parts.join("-");
    let name: String = joined.chars().map(plain).collect();
    if name == joined && check_interface_name(&name).is_ok() {
        return name;
    }
    let hash = Sha256::digest(parts.join("\n"));
    let hex: String = hash.iter().take(3).map(|b| format!("{b:02x}")).collect();
    let begins = if name.starts_with(|c: char| c.is_ascii_alphanumeric()) { "" } else { "e" };
    let kept: String = begins.chars().chain(name.chars()).take(MAX_INTERFACE_NAME - 7).collect();
    format!("{kept}-{hex}")
}

/// Whether a lab can have this name.
pub fn check_lab_name(name: &str) -> Result<(), NetError> {
    check_word("a lab", name, 64)
}

/// Letters, digits, `.`, `_` and `-`, at most `most` bytes, beginning with a letter or digit: such a word needs no
/// quoting anywhere, and is no option and no path.
fn check_word(what: &'static str, name: &str, most: usize) -> Result<(), NetError> {
    let bad = |problem: String| Err(NetError::BadName { what, name: name.to_owned(), problem });
    if name.len() > most {
        return bad(format!("it has {} bytes, the limit is {most}", name.len()));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return bad("it must begin with a letter or a digit".into());
    }
    match name.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
        Some(c) => bad(format!("{c:?} is not allowed; letters, digits, `.`, `_` and `-` are")),
        None => Ok(()),
    }
}

/// Whether a unix socket can be at this path.
pub fn check_socket_path(path: &Path) -> Result<(), NetError> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        return Err(NetError::SocketPath { path: path.to_owned(), length, limit: MAX_SOCKET_PATH });
    }
    Ok(())
}

/// Runs a program to its end; its standard output if it succeeds, else an error with all that it said.
pub(super) fn run(program: &str, args: &[impl AsRef<OsStr>], input: Option<&str>) -> Result<Vec<u8>, NetError> {
    let output = output(program, args, input)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let mut stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if stderr.is_empty() {
        stderr = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    }
    Err(NetError::Command { command: shown(program, args), status: output.status.to_string(), stderr })
}

fn output(program: &str, args: &[impl AsRef<OsStr>], input: Option<&str>) -> Result<Output, NetError> {
    let failed = |source| NetError::Start { program: program.to_owned(), package: package_of(program), source };
    let mut child = Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // A program that ends without reading says why on its standard error.
        let _ = pipe.write_all(input.as_bytes());
    }
    child.wait_with_output().map_err(failed)
}

pub(super) fn shown(program: &str, args: &[impl AsRef<OsStr>]) -> String {
    let words = args.iter().map(|a| a.as_ref().to_string_lossy().into_owned());
    shell_words::join(std::iter::once(program.to_owned()).chain(words))
}

fn package_of(program: &str) -> &'static str {
    match program {
        "ip" | "bridge" => "iproute2",
        p if p.starts_with("ovs") => "openvswitch-switch",
        _ => "see the documentation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_interfaces_have_a_limit() {
        assert!(check_interface_name("esxp-lab0-br123").is_ok());
        let error = check_interface_name("esxp-lab0-br1234").unwrap_err().to_string();
        assert!(error.contains("16 bytes") && error.contains("15"), "{error}");
        for bad in ["", "-x", "a b", "a/b", "br:0", "é"] {
            assert!(check_interface_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn paths_of_sockets_have_a_limit() {
        let fits = format!("/{}", "a".repeat(106));
        assert!(check_socket_path(Path::new(&fits)).is_ok());
        let error = check_socket_path(Path::new(&(fits + "a"))).unwrap_err().to_string();
        assert!(error.contains("108 bytes") && error.contains("shorter"), "{error}");
    }

    #[test]
    fn staging_names_are_short_and_of_one_thing_alone() {
        let one = staging_name("a", "br0");
        assert_eq!(one.len(), 14);
        assert!(check_interface_name(&one).is_ok());
        assert_ne!(one, staging_name("b", "br0"));
        assert_ne!(one, staging_name("a", "br1"));
    }

    #[test]
    fn names_are_made_to_fit() {
        assert_eq!(interface_name(&["demo", "h1", "0"]), "demo-h1-0");
        let long = interface_name(&["my-long-lab", "host-1", "0"]);
        assert!(long.starts_with("my-long-") && long.len() == 15, "{long}");
        assert_ne!(long, interface_name(&["my-long-lab", "host-1", "1"]));
        assert_ne!(interface_name(&["a b"]), interface_name(&["a_b"]));
        for parts in [&["", ""][..], &["-"], &["ß", "x"], &["a/b"], &["123456789012345"], &["1234567890123456"]] {
            let name = interface_name(parts);
            assert!(check_interface_name(&name).is_ok(), "{parts:?}: {name}");
        }
    }

    #[test]
    fn programs_run_in_the_namespace() {
        let argv = program_argv(&Place::netns("l", "n"), "qemu", &["-S".to_owned()]);
        assert_eq!(argv, ["ip", "netns", "exec", "n", "qemu", "-S"]);
        assert_eq!(program_argv(&Place::host("l"), "qemu", &[]), ["qemu"]);
    }
}
