//! Where VIBs come from: files, offline bundles and URLs; and how a failure of the software commands looks.

use super::super::esxcli::Ctx;
use super::super::esxcli::args::Args;
use super::super::esxcli::model::Reply;
use super::super::state::Vib;
use super::vibfile::{self, VibFile};

/// A failure of the software commands: ` [Class]`, the message, ` key = value`, the pointer to the log.
pub(super) fn failed(class: &str, message: &str, details: &[(&str, String)]) -> Reply {
    let mut lines = vec![format!(" [{class}]")];
    lines.extend(message.lines().map(|l| format!(" {l}")));
    lines.extend(details.iter().map(|(k, v)| format!("        {k} = {v}")));
    lines.push(" Please refer to the log file for more details.".into());
    Reply::Fault(lines.join("\n"))
}

/// `name`, `name:version`, `vendor:name` or `vendor:name:version`.
pub(super) fn matches(spec: &str, vib: &Vib) -> bool {
    let parts: Vec<&str> = spec.split(':').collect();
    match parts.as_slice() {
        [name] => vib.name == *name,
        [a, b] => (vib.name == *a && vib.version == *b) || (vib.vendor == *a && vib.name == *b),
        [vendor, name, version] => vib.vendor == *vendor && vib.name == *name && vib.version == *version,
        _ => false,
    }
}

pub(super) fn no_match(spec: &str) -> Reply {
    failed("NoMatchError", &format!("No VIB matching VIB search specification '{spec}'."), &[("id", spec.to_owned())])
}

/// Fetches `http://HOST[:PORT]/PATH`, as the host does through its own firewall.
fn download(ctx: &Ctx<'_, '_>, url: &str) -> Result<Vec<u8>, String> {
    use std::io::{Read, Write};
    use std::net::ToSocketAddrs;
    let f = &ctx.state.firewall;
    let open = f.rulesets.iter().any(|r| r.name == "httpClient" && r.enabled);
    if f.enabled && f.loaded && !f.pass && !open {
        return Err("<urlopen error [Errno 110] Connection timed out>".into());
    }
    let rest = url.strip_prefix("http://").ok_or("<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED]>")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let go = || -> std::io::Result<Vec<u8>> {
        let limit = std::time::Duration::from_secs(10);
        let target = address.to_socket_addrs()?.next().ok_or_else(|| std::io::Error::other("no address"))?;
        let mut stream = std::net::TcpStream::connect_timeout(&target, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET /{path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut out = Vec::new();
        stream.take(1 << 30).read_to_end(&mut out)?;
        Ok(out)
    };
    let answer = go().map_err(|e| format!("<urlopen error {e}>"))?;
    let at = answer.windows(4).position(|w| w == b"\r\n\r\n").ok_or("<urlopen error no answer>")?;
    let status = String::from_utf8_lossy(&answer[..at]).lines().next().unwrap_or("").to_owned();
    if status.split(' ').nth(1) == Some("200") {
        Ok(answer[at + 4..].to_vec())
    } else {
        Err(format!("HTTP Error {}", status.split_once(' ').map_or("", |s| s.1)))
    }
}

/// Reads every VIB that was named. A relative path of a depot is looked up below /var/log/vmware.
pub(super) fn sources(ctx: &Ctx<'_, '_>, args: &Args) -> Result<Vec<VibFile>, Reply> {
    let mut out = Vec::new();
    for depot in args.all("depot") {
        if depot.contains("://") && depot.ends_with(".zip") {
            return Err(failed(
                "ValueError",
                "Only server local file path is supported for offline bundles. (zip:) or (/path/to/depot.zip)",
                &[("url", depot.clone())],
            ));
        }
        if depot.contains("://") {
            return Err(failed(
                "MetadataDownloadError",
                &format!(
                    "Could not download from depot at {depot}, skipping (('{depot}', '', '<urlopen error [Errno 110] Connection timed out>'))"
                ),
                &[("url", depot.clone())],
            ));
        }
        let path = if depot.starts_with('/') { depot.clone() } else { format!("/var/log/vmware/{depot}") };
        let url = format!("zip:{path}?index.xml");
        let download = |why: String| {
            failed(
                "MetadataDownloadError",
                &format!(
                    "Could not download from depot at {url}, skipping (('{url}', '', \"Error extracting index.xml from {path}: {why}\"))"
                ),
                &[("url", url.clone())],
            )
        };
        let bytes = std::fs::read(ctx.call.path(&path))
            .map_err(|_| download(format!("[Errno 2] No such file or directory: '{path}'")))?;
        let found = vibfile::bundle(&bytes).map_err(download)?;
        let wanted = args.all("vibname");
        if let Some(spec) = wanted.iter().find(|s| !found.iter().any(|v| matches(s, &v.vib))) {
            return Err(no_match(spec));
        }
        out.extend(found.into_iter().filter(|v| wanted.is_empty() || wanted.iter().any(|s| matches(s, &v.vib))));
    }
    for url in args.all("viburl") {
        let broken = |why: String| {
            failed(
                "VibDownloadError",
                &format!("('{url}', '/tmp/vib_unknown', '{why}')"),
                &[("url", url.clone()), ("localfile", "/tmp/vib_unknown".into())],
            )
        };
        let bytes = if url.starts_with("http:") || url.starts_with("https:") || url.starts_with("ftp:") {
            download(ctx, url).map_err(broken)?
        } else {
            let path = url.strip_prefix("file://").or_else(|| url.strip_prefix("file:")).unwrap_or(url);
            if !path.starts_with('/') {
                return Err(broken(format!("unknown url type: {path}")));
            }
            std::fs::read(ctx.call.path(path))
                .map_err(|_| broken(format!("<urlopen error [Errno 2] No such file or directory: {path}>")))?
        };
        out.push(vibfile::read(&bytes).map_err(|why| {
            failed("VibFormatError", &format!("('{url}', 'Invalid VIB: {why}')"), &[("filename", url.clone())])
        })?);
    }
    Ok(out)
}
