//! One plain HTTP GET, for a kickstart from the launcher's own server.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A kickstart is a small file.
const LARGEST: u64 = 1 << 20;

/// Host with port and path of an `http://` address.
pub(super) fn split(url: &str) -> Option<(String, String)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    if host.is_empty() || host.contains('@') {
        return None;
    }
    let host = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
    Some((host, format!("/{path}")))
}

/// The body of the answer 200.
pub(super) fn get(url: &str) -> Result<String, String> {
    let (host, path) = split(url).ok_or_else(|| format!("{url}: only http://HOST[:PORT]/PATH can be fetched here"))?;
    let fail = |error: std::io::Error| format!("{url}: {error}");
    let mut stream = TcpStream::connect(&host).map_err(fail)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(fail)?;
    // In one piece, as most clients send it: some servers close once they have read the first line.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut bytes = Vec::new();
    stream.take(LARGEST).read_to_end(&mut bytes).map_err(fail)?;
    body(&bytes).map_err(|reason| format!("{url}: {reason}"))
}

pub(super) fn body(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").ok_or("no whole HTTP answer")?;
    let mut lines = head.lines();
    let status = lines.next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        return Err(format!("the server said {status:?}"));
    }
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    match length {
        Some(length) if body.len() < length => Err(format!("{} of {length} bytes came", body.len())),
        _ => Ok(body.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_split() {
        assert_eq!(split("http://10.0.2.2:8080/t/ks.cfg"), Some(("10.0.2.2:8080".into(), "/t/ks.cfg".into())));
        assert_eq!(split("http://h"), Some(("h:80".into(), "/".into())));
        assert_eq!(split("https://h/x"), None);
    }

    #[test]
    fn only_a_whole_200_counts() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc").unwrap(), "abc");
        assert!(body(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").unwrap_err().contains("3 of 4"));
        assert!(body(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap_err().contains("404"));
        assert!(body(b"SSH-2.0").is_err());
    }

    #[test]
    fn a_real_server_is_asked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 512];
            let count = stream.read(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\naccepteula\n").unwrap();
            String::from_utf8_lossy(&asked[..count]).into_owned()
        });
        assert_eq!(get(&format!("http://{address}/token/ks.cfg")).unwrap(), "accepteula\n");
        assert!(server.join().unwrap().starts_with("GET /token/ks.cfg HTTP/1.0\r\n"));
    }
}
